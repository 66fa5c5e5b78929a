"""The table of heads against loops over rows and seeds, and a frontier that asks every pair."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treehead.data.embeddings import Embeddings
from treehead.evaluation import comparison, heads, metrics, significance
from treehead.heads import packing
from treehead.heads.head import Head

N, SEEDS = 60, (0, 7)
# Share of right answers of each head, by precision.
SHARES = {
    "linear": {"float32": 0.9, "int4": 0.85},
    "mlp": {"float32": 0.95, "int4": 0.95},
    "small": {"float32": 0.6, "int4": 0.5},
}


def report(head: str, precisions: list[str]) -> dict:
    """What `heads.evaluate` says of a head, and its name."""
    known = {"accuracy": 0.5, "accuracy_sd": 0.01, "val_accuracy": 0.4, "mistake_severity": 1.5}
    known |= {"macs_mean": 10, "macs_p99": 12, "macs_worst": 15, "other_ops": 3, "parameters": 8}
    known |= {"accuracies": [0.5] * len(SEEDS), "accuracy_ci95": [0.4, 0.6], "bytes": 32}
    known |= {"expected_calibration_error": 0.1, "balanced_accuracy": 0.45, "macro_f1": 0.35}
    about = {"head": head, "module": "lowrank", "setting": "rank=3" if head == "small" else ""}
    return about | {"imbalance_ratio": 2.0, "precisions": dict.fromkeys(precisions, known)}


def predictions(right: dict[str, np.ndarray]) -> pd.DataFrame:
    """Answers that are right for the images marked in each column."""
    fine = np.arange(len(next(iter(right.values())))) % 5
    return pd.DataFrame({"fine": fine, **{name: fine + ~mark for name, mark in right.items()}})


def random_marks(shares: dict[str, float], seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"{p}-{s}": rng.random(N) < share for p, share in shares.items() for s in SEEDS}


MARKS = {head: random_marks(shares, seed) for seed, (head, shares) in enumerate(SHARES.items())}


def table(marks: dict[str, dict[str, np.ndarray]], baselines=("linear",), margin=0.1):
    """The table of heads by which images they get right."""
    reports = [
        report(head, list(dict.fromkeys(name.split("-")[0] for name in columns)))
        for head, columns in marks.items()
    ]
    measured = [
        comparison.Measured(report, predictions(columns))
        for place, (report, columns) in enumerate(zip(reports, marks.values(), strict=True))
    ]
    return comparison.table(measured, baselines=list(baselines), margin=margin)


def p_of_seed(head: str, precision: str, baseline: str, seed: int) -> float:
    right = MARKS[head][f"{precision}-{seed}"]
    return significance.p_of_loss(right, MARKS[baseline][f"float32-{seed}"])


def test_a_row_for_each_head_and_precision():
    frame = table(MARKS)
    assert list(frame.columns[: len(comparison.COLUMNS)]) == comparison.COLUMNS
    rows = list(zip(frame["head"], frame["precision"], strict=True))
    assert rows == [(head, precision) for head in SHARES for precision in ("float32", "int4")]
    assert frame["setting"].tolist()[-3:] == ["int4", "rank=3, float32", "rank=3, int4"]
    assert set(frame["seeds"]) == {2}


def test_a_row_has_the_figures_of_its_c_only_if_it_was_measured():
    cost = dict(zip(comparison.ON_DEVICE, (700, 90, 5000.5, 6000), strict=True))
    told = {"precisions": {"float32": {"reason": "floats have no C"}, "int4": cost}}
    right = predictions(MARKS["linear"])
    head = comparison.Measured(report("linear", ["float32", "int4"]), right)
    frame, without = (
        comparison.table([one], baselines=["linear"], margin=0.1)
        for one in (head._replace(instructions=told), head)
    )
    assert frame[comparison.ON_DEVICE].isna().all(axis=1).tolist() == [True, False]
    assert frame[comparison.ON_DEVICE].iloc[1].to_dict() == cost
    assert frame.drop(columns=comparison.ON_DEVICE).equals(without)


@pytest.mark.parametrize("baseline", ["linear", "mlp"])
def test_p_is_the_least_over_seeds_against_the_first_precision_of_the_same_seed(baseline: str):
    frame = table(MARKS, ["linear", "mlp"])
    found = frame["p_value" if baseline == "linear" else "p_value_mlp"]
    for p, head, precision in zip(found, frame["head"], frame["precision"], strict=True):
        assert p == min(p_of_seed(head, precision, baseline, seed) for seed in SEEDS)
    assert 1 in found.to_numpy()
    assert found.min() < comparison.LEVEL


def test_a_head_is_compared_with_the_baseline_of_its_own_seed():
    """The seeds differ from each other as much as can be."""
    first = np.arange(N) < N / 2
    same = {"float32-0": first, "float32-7": ~first}
    frame = table({"linear": same, "twin": same})
    assert frame["p_value"].tolist() == [1, 1]
    assert frame["noninferior"].tolist() == [True, True]


def test_holm_adjusts_for_all_rows_within_a_seed():
    frame = table(MARKS, ["linear", "mlp"])
    rows = [(head, precision) for head in SHARES for precision in ("float32", "int4")]
    adjusted = [
        significance.holm(np.array([p_of_seed(*row, "linear", seed) for row in rows]))
        for seed in SEEDS
    ]
    np.testing.assert_array_equal(frame["p_holm"], np.min(adjusted, axis=0))
    assert (frame["p_holm"] >= frame["p_value"]).all()
    assert "p_holm_mlp" not in frame


@pytest.mark.parametrize("margin", [0.02, 0.1, 0.5])
def test_noninferior_asks_the_mean_over_seeds_of_each_image(margin: float):
    frame = table(MARKS, margin=margin)
    for found, head, precision in zip(
        frame["noninferior"], frame["head"], frame["precision"], strict=True
    ):
        difference = [
            np.mean(
                [
                    float(MARKS[head][f"{precision}-{seed}"][image])
                    - float(MARKS["linear"][f"float32-{seed}"][image])
                    for seed in SEEDS
                ]
            )
            for image in range(N)
        ]
        assert found == significance.noninferior(np.array(difference), margin)


def test_a_row_says_what_the_evaluation_measured(tmp_path):
    rng = np.random.default_rng(0)
    fine, files = rng.integers(0, 3, N), {}
    test = Embeddings(rng.normal(size=(1, N, 4)).astype(np.float32), fine)
    for seed in SEEDS:
        weight = rng.normal(size=(3, 4)).astype(np.float32)
        arrays = {"weight": weight, "bias": weight[:, 0], "exponent": np.zeros(4, np.int8)}
        head = Head(arrays)
        files["float32", seed] = str(tmp_path / f"float32-{seed}.bin")
        packing.write(files["float32", seed], head, 32)
    measured, answers = heads.evaluate("linear", files, np.zeros(3, int), test, test)
    about = {"head": "linear", "module": "linear", "setting": ""}
    predicted = pd.DataFrame({"fine": fine, **answers})
    known = [comparison.Measured(about | measured, predicted)]
    (row,) = comparison.table(known, baselines=["linear"], margin=0.01).itertuples()
    figures = measured["precisions"]["float32"]
    right = [predicted[f"float32-{seed}"] == fine for seed in SEEDS]
    assert row.accuracy_mean == row.val_accuracy == pytest.approx(np.mean(right))
    each = [metrics.shares(predicted[f"float32-{seed}"].to_numpy(), fine) for seed in SEEDS]
    assert row.balanced_accuracy == pytest.approx(
        np.mean([one["balanced_accuracy"] for one in each])
    )
    assert row.macro_f1 == pytest.approx(np.mean([one["macro_f1"] for one in each]))
    assert row.imbalance_ratio == np.bincount(fine).max() / np.bincount(fine).min()
    assert row.accuracy_sd == pytest.approx(np.std(np.mean(right, axis=1), ddof=1))
    assert (row.accuracy_low, row.accuracy_high) == figures["accuracy_ci95"]
    assert (row.macs_mean, row.macs_p99, row.macs_worst, row.parameters) == (12, 12, 12, 15)
    assert row.bytes == (tmp_path / "float32-0.bin").stat().st_size
    assert (row.p_value, row.p_holm, row.noninferior) == (1, 1, True)


rows = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.sampled_from([0.01, 0.05, 1])))


def framed(rows: list[tuple[int, int, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["macs_mean", "accuracy_mean", "p_value"])


@settings(deadline=None)
@given(rows)
def test_the_frontier_is_of_the_rows_that_no_other_beats(rows):
    def beats(other: int, one: int) -> bool:
        """As cheap and as accurate, and better in one of both or, if alike, listed first."""
        (cost, accuracy, _), (most, least, _) = rows[other], rows[one]
        better = (cost, -accuracy, other) < (most, -least, one)
        return cost <= most and accuracy >= least and better

    kept = [one for one in range(len(rows)) if not any(beats(o, one) for o in range(len(rows)))]
    found = comparison.frontier(framed(rows), "macs_mean")
    assert found.index.tolist() == sorted(kept, key=lambda one: rows[one][0])


@settings(deadline=None)
@given(rows)
def test_the_smallest_without_loss_is_the_cheapest_that_is_not_significantly_worse(rows):
    found = comparison.smallest_without_loss(framed(rows), "macs_mean")
    costs = [cost for cost, _, p in rows if p >= 0.05]
    assert (found is None) == (not costs)
    assert not costs or (found["macs_mean"] == min(costs) and found["p_value"] >= 0.05)


def test_records_are_the_best_heads_in_each_respect():
    columns = ["head", "precision", "accuracy_mean", "macs_mean", "bytes", "p_value", "p_value_mlp"]
    heads = [
        ("linear", "float32", 0.75, 900, 3600, 1.0, 0.2),
        ("linear", "int4", 0.74, 900, 450, 0.3, 0.01),
        ("mlp", "float32", 0.76, 5000, 20000, 1.0, 1.0),
        ("half", "float32", 0.745, 450, 1800, 0.06, 0.04),
        ("tiny", "float32", 0.5, 90, 360, 0.0, 0.0),
        ("tiny", "int4", 0.74, 90, 45, 0.9, 0.9),
    ]
    frame = pd.DataFrame(heads, columns=columns).assign(setting="", accuracy_sd=0.0)
    found = comparison.records(frame, 800)
    assert (found["head"] + " of " + found["bytes"].astype(str)).to_dict() == {
        "full head": "linear of 3600",
        "most accurate at 800 MACs": "half of 1800",
        "fewest MACs, no loss against linear": "half of 1800",
        "fewest bytes, no loss against linear": "tiny of 45",
        "fewest MACs, no loss against mlp": "linear of 3600",
        "fewest bytes, no loss against mlp": "tiny of 45",
    }
    assert "most accurate at 50 MACs" not in comparison.records(frame, 50).index
    frame["instructions_mean"] = [np.nan, 1800, np.nan, np.nan, np.nan, 2000]
    frame["flash_bytes"] = [np.nan, 1450, np.nan, np.nan, np.nan, 1045]
    found = comparison.records(frame, 800)["head"]
    assert found["fewest instructions, no loss against linear"] == "linear"
    assert found["fewest flash bytes, no loss against linear"] == "tiny"
    assert found["fewest instructions, no loss against mlp"] == "tiny"
