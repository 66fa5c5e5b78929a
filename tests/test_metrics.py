"""Metrics against slow loops, scipy and a tree that is climbed step by step."""

from math import sqrt
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    precision_recall_fscore_support,
)

from treehead.evaluation import metrics


@st.composite
def answers(draw):
    """Predictions and labels (n,), and the parent of each class."""
    parent_of = draw(st.lists(st.integers(0, 3), min_size=1, max_size=9))
    labels = st.lists(st.integers(0, len(parent_of) - 1), min_size=1, max_size=40)
    label = draw(labels)
    predicted = draw(
        st.lists(st.integers(0, len(parent_of) - 1), min_size=len(label), max_size=len(label))
    )
    return np.array(predicted), np.array(label), np.array(parent_of)


def ancestors(fine: int, parent_of: np.ndarray) -> list[tuple[str, int]]:
    """The path from a class to the root of its tree."""
    return [("class", fine), ("parent", int(parent_of[fine])), ("root", 0)]


def severity_by_climbing(predicted, label, parent_of) -> float:
    heights = []
    for guess, truth in zip(predicted, label, strict=True):
        if guess != truth:
            path = ancestors(truth, parent_of)
            met = next(node for node in ancestors(guess, parent_of) if node in path)
            heights.append(path.index(met))
    return sum(heights) / len(heights) if heights else 0


@given(answers())
def test_mistake_severity_is_the_mean_height_of_the_lowest_common_ancestor(answer):
    assert metrics.mistake_severity(*answer) == pytest.approx(severity_by_climbing(*answer))


def test_a_mistake_within_a_parent_is_half_as_severe_as_one_across():
    parent_of = np.array([0, 0, 1, 1])
    assert metrics.mistake_severity(np.array([1, 3]), np.array([0, 2]), parent_of) == 1
    assert metrics.mistake_severity(np.array([2, 0]), np.array([0, 3]), parent_of) == 2
    assert metrics.mistake_severity(np.array([1, 2]), np.array([0, 0]), parent_of) == 1.5


def test_a_right_answer_is_no_mistake_of_any_severity():
    """It is the mean over mistakes alone: right answers don't dilute it."""
    parent_of = np.array([0, 0, 1])
    assert metrics.mistake_severity(np.array([2]), np.array([0]), parent_of) == 2
    assert metrics.mistake_severity(np.array([2, 1, 0]), np.array([0, 1, 0]), parent_of) == 2
    assert metrics.mistake_severity(np.array([0, 1]), np.array([0, 1]), parent_of) == 0


@given(answers())
def test_accuracy_is_the_share_of_right_answers(answer):
    predicted, label, _ = answer
    right = sum(guess == truth for guess, truth in zip(predicted, label, strict=True))
    assert metrics.accuracy(predicted, label) == pytest.approx(right / len(label))


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
@given(answers())
def test_shares_are_those_of_scikit_learn(answer):
    """Classes that are absent from the labels, from the predictions, or from both among them."""
    predicted, label, _ = answer
    assert metrics.shares(predicted, label) == pytest.approx(
        {
            "accuracy": accuracy_score(label, predicted),
            "balanced_accuracy": balanced_accuracy_score(label, predicted),
            "macro_f1": f1_score(label, predicted, average="macro", zero_division=0),
        }
    )


@pytest.mark.filterwarnings("ignore", category=UndefinedMetricWarning)
@given(answers())
def test_figures_of_a_class_are_those_of_scikit_learn_where_they_are_defined(answer):
    predicted, label, parent_of = answer
    classes = len(parent_of)
    precision, recall, f1, support = precision_recall_fscore_support(
        label, predicted, labels=range(classes), zero_division=np.nan
    )
    found = metrics.by_class(predicted, label, classes)
    np.testing.assert_array_equal(found.support, support)
    np.testing.assert_allclose(found.precision, precision)
    np.testing.assert_allclose(found.recall, recall)
    np.testing.assert_allclose(found.f1, f1)


def test_a_rare_class_counts_as_much_as_a_frequent_one():
    """Nine of one class are right, and the one of the other is taken for it."""
    label, predicted = np.array([0] * 9 + [1]), np.zeros(10, int)
    found = metrics.shares(predicted, label)
    assert found["accuracy"] == 0.9
    assert found["balanced_accuracy"] == 0.5
    assert found["macro_f1"] == pytest.approx((18 / 19 + 0) / 2)


def test_a_class_without_images_is_no_class_that_is_always_missed():
    """Class 2 of 4 has no image but is predicted; class 3 is neither there nor predicted."""
    label, predicted = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    assert metrics.shares(predicted, label)["balanced_accuracy"] == 0.75
    found = metrics.by_class(predicted, label, 4)
    np.testing.assert_array_equal(found.recall, [0.5, 1, np.nan, np.nan])
    np.testing.assert_array_equal(found.precision, [1, 1, 0, np.nan])
    np.testing.assert_array_equal(found.f1, [2 / 3, 1, 0, np.nan])


@given(answers())
def test_on_a_balanced_split_balanced_accuracy_is_accuracy(answer):
    predicted, _, parent_of = answer
    label = np.resize(np.arange(len(parent_of)), len(predicted) * len(parent_of))
    found = metrics.shares(np.resize(predicted, len(label)), label)
    assert found["balanced_accuracy"] == pytest.approx(found["accuracy"])


def test_balance_says_how_unequal_classes_are_and_which_are_absent():
    expected = {"imbalance_ratio": 2.5, "classes_without_images": 2}
    assert metrics.balance(np.array([1] * 5 + [3] * 2), 4) == expected
    assert metrics.balance(np.arange(3), 3)["imbalance_ratio"] == 1


def test_accuracy_of_nothing_is_zero():
    nothing = np.array([], dtype=np.int64)
    assert metrics.accuracy(nothing, nothing) == 0


@settings(deadline=None)  # the first call imports scipy.stats
@given(n=st.integers(1, 20_000), share=st.floats(0, 1))
def test_the_wilson_interval_is_that_of_the_formula(n: int, share: float):
    """Wilson (JASA 1927): the shares p with |p - right / n| <= z sqrt(p (1 - p) / n)."""
    right = round(share * n)
    z = NormalDist().inv_cdf(0.975)
    center = right / n + z**2 / (2 * n)
    half = z * sqrt(right / n * (1 - right / n) / n + z**2 / (4 * n**2))
    expected = ((center - half) / (1 + z**2 / n), (center + half) / (1 + z**2 / n))
    low, high = metrics.wilson_interval(right, n)
    assert (low, high) == pytest.approx(expected, rel=0, abs=1e-12)
    assert 0 <= low < high <= 1


def test_the_interval_of_all_right_answers_ends_at_one():
    """And of none it starts at zero; n / (n + z^2) is the other end (z^2 = 3.8415)."""
    assert metrics.wilson_interval(25, 25) == (pytest.approx(25 / 28.8415, abs=1e-5), 1)
    assert metrics.wilson_interval(0, 25) == (0, pytest.approx(3.8415 / 28.8415, abs=1e-5))


@given(answers())
def test_confusion_counts_truth_in_rows_and_prediction_in_columns(answer):
    predicted, label, parent_of = answer
    expected = np.zeros((len(parent_of), len(parent_of)), dtype=int)
    for guess, truth in zip(predicted, label, strict=True):
        expected[truth, guess] += 1
    counted = metrics.confusion(predicted, label, len(parent_of))
    np.testing.assert_array_equal(counted, expected)


def test_an_asymmetric_confusion_is_not_transposed():
    counts = metrics.confusion(np.array([2, 2, 1]), np.array([0, 0, 1]), 3)
    assert counts.tolist() == [[0, 0, 2], [0, 1, 0], [0, 0, 0]]


def right_answers(n: int) -> np.ndarray:
    """Shares over seeds of right answers for each image, (n,)."""
    return np.random.default_rng(n).integers(0, 6, n) / 5


@pytest.mark.parametrize("n", [1, 2, 7, 100, 2000])
def test_the_bootstrap_interval_contains_the_mean(n: int):
    values = right_answers(n)
    low, high = metrics.bootstrap_interval(values, seed=0)
    assert values.min() <= low <= values.mean() <= high <= values.max()


def test_the_same_seed_draws_the_same_images():
    values = right_answers(100)
    intervals = [metrics.bootstrap_interval(values, seed) for seed in (3, 3, 4)]
    assert intervals[0] == intervals[1] != intervals[2]


@pytest.mark.parametrize("n", [200, 2000])
def test_the_bootstrap_interval_of_many_images_is_nearly_the_normal_one(n: int):
    values = right_answers(n)
    low, high = metrics.bootstrap_interval(values, seed=0)
    half = 1.96 * values.std() / n**0.5
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_four_times_the_images_halve_the_bootstrap_interval():
    values = right_answers(300)
    few, many = (metrics.bootstrap_interval(np.tile(values, times), 0) for times in (1, 4))
    assert many[1] - many[0] == pytest.approx((few[1] - few[0]) / 2, rel=0.1)


@given(st.integers(0, 40), st.integers(1, 5), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_calibration_error_is_the_mean_gap_of_confidence_and_accuracy_over_bins(
    n: int, classes: int, bins: int, seed: int
):
    rng = np.random.default_rng(seed)
    logits, label = 2 * rng.normal(size=(n, classes)), rng.integers(0, classes, n)
    logits[:, 1:][rng.random((n, classes - 1)) < 0.2] = -np.inf
    members = [[] for _ in range(bins)]
    for row, truth in zip(logits, label, strict=True):
        share = np.exp(row) / np.exp(row).sum()
        confidence, right = share.max(), share.argmax() == truth
        members[min(int(confidence * bins), bins - 1)].append((confidence, right))
    gaps = [len(some) / n * abs(np.subtract(*np.mean(some, axis=0))) for some in members if some]
    assert metrics.calibration_error(logits, label, bins) == pytest.approx(sum(gaps), abs=1e-12)


@given(st.integers(1, 9), st.integers(1, 9))
def test_a_head_that_is_right_as_often_as_it_says_is_perfectly_calibrated(right, wrong):
    """Of two classes: it says `share` of the first, which is true for just that share."""
    right, wrong = max(right, wrong), min(right, wrong)
    share = right / (right + wrong)
    logits = np.tile(np.log([share, 1 - share]), (right + wrong, 1))
    label = np.array([0] * right + [1] * wrong)
    assert metrics.calibration_error(logits, label) == pytest.approx(0, abs=1e-12)


def test_a_head_that_is_sure_and_wrong_is_not_calibrated_at_all():
    logits = np.array([[0, -np.inf], [0, -np.inf], [-np.inf, 0], [-np.inf, 0]])
    assert metrics.calibration_error(logits, np.array([1, 1, 0, 0])) == 1
    assert metrics.calibration_error(logits, np.array([0, 1, 0, 1])) == 0.5
    assert metrics.calibration_error(logits, np.array([0, 0, 1, 1])) == 0
