"""Accuracy of logistic regression on the raw pixels of demo100: how hard the task is."""

import argparse

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from treehead.data.dataset import Pixels, labels


def main() -> None:
    """Print its accuracy on test for some strengths of regularisation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="resources/datasets/demo100", help="folder of demo100")
    folder = parser.parse_args().data
    (x, y), (u, v) = (
        (Pixels(f"{file}.npy")[:].reshape(-1, 3 * 32 * 32) / 255, labels(f"{file}.parquet"))
        for file in (f"{folder}/train", f"{folder}/test")
    )
    for strength in (1e-5, 1e-4, 1e-3):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=500))
        accuracy = model.fit(x, y).score(u, v)
        print(
            f"logistic regression on pixels, C = {strength:g}: {100 * accuracy:.1f} %", flush=True
        )


if __name__ == "__main__":
    main()
