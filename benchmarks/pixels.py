"""Accuracy of logistic regression on the raw pixels of demo100: how hard the task is."""

import argparse

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from treehead.data import dataset


def main() -> None:
    """Print its accuracy on test for some strengths of regularisation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="resources/datasets/demo100", help="folder of demo100")
    folder = parser.parse_args().data
    (x, y), (u, v) = (
        (dataset.images(file, 32).reshape(-1, 3 * 32 * 32) / 255, dataset.labels(file)[0])
        for file in (f"{folder}/train.parquet", f"{folder}/test.parquet")
    )
    for strength in (1e-5, 1e-4, 1e-3):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=500))
        accuracy = model.fit(x, y).score(u, v)
        print(
            f"logistic regression on pixels, C = {strength:g}: {100 * accuracy:.1f} %", flush=True
        )


if __name__ == "__main__":
    main()
