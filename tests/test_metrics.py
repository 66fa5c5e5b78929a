"""Metrics against slow loops, scipy and a tree that is climbed step by step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from treehead import metrics


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


def test_accuracy_of_nothing_is_zero():
    nothing = np.array([], dtype=np.int64)
    assert metrics.accuracy(nothing, nothing) == 0


@given(n=st.integers(1, 20_000), share=st.floats(0, 1), confidence=st.sampled_from([0.9, 0.95]))
def test_the_wilson_interval_is_scipys(n: int, share: float, confidence: float):
    right = round(share * n)
    expected = binomtest(right, n).proportion_ci(confidence, method="wilson")
    low, high = metrics.wilson_interval(right / n, n, confidence)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= low < high <= 1


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
