"""Tests of significance against binomial sums, the step-down procedure and textbook limits."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treehead.evaluation import significance

# For each image whether the head and the baseline are right.
some_images = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60).map(
    lambda pairs: np.array(pairs, dtype=bool).reshape(-1, 2).T
)
# Multiples of 1/64, of which sums and products are exact.
some_p = st.lists(st.integers(0, 64), min_size=1, max_size=12).map(lambda p: np.array(p) / 64)
differences = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=2, max_size=40)


def coin_tosses(gained: int, lost: int) -> float:
    """Probability, under a fair coin, of a result that is at most as likely as this one."""
    ways = [math.comb(gained + lost, heads) for heads in range(gained + lost + 1)]
    return sum(way for way in ways if way <= ways[gained]) / sum(ways)


def rejected(p: list[float], level: float) -> set[int]:
    """Tests that Holm's procedure rejects: the smallest p first, until one is kept."""
    left, out = sorted(range(len(p)), key=lambda test: p[test]), set()
    while left and p[left[0]] * len(left) <= level:
        out.add(left.pop(0))
    return out


@settings(deadline=None)
@given(some_images)
def test_mcnemar_tosses_a_coin_for_each_image_that_one_head_alone_gets_right(images):
    right, baseline = images
    gained = sum(mine and not theirs for mine, theirs in images.T)
    lost = sum(theirs and not mine for mine, theirs in images.T)
    expected = pytest.approx(coin_tosses(gained, lost))
    assert significance.mcnemar(right, baseline) == expected
    assert significance.mcnemar(baseline, right) == expected


def test_images_on_which_two_heads_agree_say_nothing_about_their_difference():
    right, baseline = np.array([1, 0, 0, 0, 0], bool), np.array([0, 1, 1, 1, 1], bool)
    both = np.arange(100) < 70
    alone = significance.mcnemar(right, baseline)
    assert alone == pytest.approx(12 / 32)
    assert significance.mcnemar(np.append(right, both), np.append(baseline, both)) == alone


@settings(deadline=None)
@given(some_images)
def test_a_head_that_is_not_worse_has_no_loss(images):
    right, baseline = images
    worse = right.sum() < baseline.sum()
    expected = significance.mcnemar(right, baseline) if worse else 1
    assert significance.p_of_loss(right, baseline) == expected


def test_a_clear_gain_is_no_loss():
    right, baseline = np.ones(50, bool), np.zeros(50, bool)
    assert significance.p_of_loss(right, baseline) == 1
    assert significance.p_of_loss(baseline, right) == pytest.approx(2 / 2**50)


@given(some_p, st.integers(0, 63))
def test_holm_rejects_at_every_level_what_the_step_down_procedure_rejects(p, level: int):
    adjusted = significance.holm(p)
    assert set(np.flatnonzero(adjusted <= level / 64)) == rejected(p.tolist(), level / 64)


@given(some_p, st.randoms())
def test_holm_does_not_depend_on_the_order_of_the_tests(p, random):
    order = np.array(random.sample(range(len(p)), len(p)))
    np.testing.assert_array_equal(significance.holm(p[order]), significance.holm(p)[order])


@given(some_p)
def test_an_adjusted_p_is_never_smaller_and_keeps_its_rank(p):
    adjusted = significance.holm(p)
    assert ((p <= adjusted) & (adjusted <= 1)).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()


def test_three_tests_adjusted_by_hand():
    adjusted = significance.holm(np.array([0.02, 0.01, 0.5]))
    np.testing.assert_allclose(adjusted, [0.04, 0.03, 0.5])


@settings(deadline=None)
@given(differences, st.floats(0.001, 0.5), st.sampled_from([0.9, 0.95, 0.99]))
def test_noninferior_is_a_lower_limit_above_the_margin(difference, margin, confidence):
    z = statistics.NormalDist().inv_cdf(confidence)
    error = statistics.stdev(difference) / math.sqrt(len(difference))
    low = statistics.mean(difference) - z * error
    found = significance.noninferior(np.array(difference), margin, confidence)
    assert found == (low > -margin) or low == pytest.approx(-margin)


@settings(deadline=None)
@given(differences, st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_wider_margin_never_makes_a_head_inferior(difference, margin, more):
    difference = np.array(difference)
    narrow = significance.noninferior(difference, margin)
    assert narrow <= significance.noninferior(difference, margin + more)


def test_the_same_answers_are_not_inferior_at_any_margin_above_zero():
    assert significance.noninferior(np.zeros(100), 1e-9)


def test_a_loss_of_more_than_the_margin_is_inferior_however_sure():
    for n in (10, 1000, 100_000):
        difference = np.where(np.arange(n) % 10 < 1, -1.0, 0.0)
        assert not significance.noninferior(difference, 0.09)


def test_a_loss_within_the_margin_is_not_inferior_once_there_are_images_enough():
    found = [
        significance.noninferior(np.where(np.arange(n) % 100 < 1, -1.0, 0.0), 0.02)
        for n in (100, 1000)
    ]
    assert found == [False, True]
