"""Balanced clusters against brute-force swaps and planted blocks."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treehead.data import clusters
from treehead.data.rows import Rows

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(1, 12)


def random_similarity(classes: int, seed: int) -> np.ndarray:
    """Symmetric (classes, classes) with nothing on the diagonal."""
    upper = np.triu(np.random.default_rng([seed, classes]).exponential(size=(classes,) * 2), 1)
    return upper + upper.T


def within(alike: np.ndarray, cluster: np.ndarray) -> float:
    """Similarity of the pairs that share a cluster."""
    pairs = combinations(range(len(cluster)), 2)
    return sum(alike[one, other] for one, other in pairs if cluster[one] == cluster[other])


def assert_balanced(cluster: np.ndarray, groups: int) -> None:
    sizes = np.bincount(cluster, minlength=groups)
    assert len(sizes) == groups
    assert sizes.max() - sizes.min() <= 1


@settings(deadline=None, max_examples=50)
@given(SIZES, SIZES, SEEDS)
def test_sizes_of_clusters_differ_by_one_at_most(classes: int, groups: int, seed: int):
    assert_balanced(clusters.random(classes, groups, seed), groups)
    alike = random_similarity(classes, seed)
    assert_balanced(clusters.balanced(alike, groups, seed, restarts=2), groups)


@settings(deadline=None, max_examples=50)
@given(SIZES, SIZES, SEEDS)
def test_no_swap_of_two_classes_makes_clusters_more_alike(classes: int, groups: int, seed: int):
    alike = random_similarity(classes, seed)
    cluster = clusters.balanced(alike, groups, seed, restarts=2)
    for one, other in combinations(range(classes), 2):
        swapped = cluster.copy()
        swapped[[one, other]] = cluster[[other, one]]
        assert within(alike, swapped) <= within(alike, cluster) + 1e-6


@settings(deadline=None, max_examples=50)
@given(SIZES, SIZES, SEEDS)
def test_clusters_are_numbered_by_their_first_class(classes: int, groups: int, seed: int):
    cluster = clusters.balanced(random_similarity(classes, seed), groups, seed, restarts=2)
    assert list(dict.fromkeys(cluster.tolist())) == list(range(min(classes, groups)))


@pytest.mark.parametrize(("classes", "groups"), [(100, 10), (100, 20), (33, 4), (10, 5), (6, 1)])
def test_planted_blocks_are_found(classes: int, groups: int):
    planted = clusters.random(classes, groups, seed=1)
    alike = random_similarity(classes, 0) + 10 * (planted[:, None] == planted)
    np.fill_diagonal(alike, 0)
    found = clusters.balanced(alike, groups, seed=0)
    together, expected = found[:, None] == found, planted[:, None] == planted
    np.testing.assert_array_equal(together, expected)


def test_the_best_of_more_searches_is_no_worse():
    alike = random_similarity(30, 0)
    found = [within(alike, clusters.balanced(alike, 5, 0, restarts)) for restarts in (1, 5, 25)]
    assert found[0] < found[1] <= found[2]


def test_the_same_seed_gives_the_same_clusters():
    alike = random_similarity(40, 0)
    same = [clusters.balanced(alike, 5, seed=3, restarts=1).tolist() for _ in range(2)]
    assert same[0] == same[1] != clusters.balanced(alike, 5, seed=4, restarts=1).tolist()
    drawn = [clusters.random(40, 5, seed=3).tolist() for _ in range(2)]
    assert drawn[0] == drawn[1] != clusters.random(40, 5, seed=4).tolist()


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), max_size=30), SEEDS)
def test_confusion_is_the_mean_probability_over_the_images_of_a_class(labels, seed: int):
    logits = 5 * np.random.default_rng(seed).normal(size=(len(labels), 5))
    confused = clusters.confusion(Rows(logits), np.array(labels, dtype=np.int64))
    for fine, row in enumerate(confused):
        mine = [np.exp(logits[image]) for image, label in enumerate(labels) if label == fine]
        expected = np.mean([each / each.sum() for each in mine], axis=0) if mine else np.zeros(5)
        np.testing.assert_allclose(row, expected, atol=1e-5)
        assert row.sum() == pytest.approx(1 if mine else 0)


def test_similarity_ignores_which_of_two_classes_is_taken_for_the_other():
    confused = np.array([[0.8, 0.2, 0.0], [0.0, 0.9, 0.1], [0.0, 0.0, 1.0]])
    alike = clusters.similarity(confused)
    np.testing.assert_array_equal(alike, alike.T)
    np.testing.assert_array_equal(alike, clusters.similarity(confused.T))
    assert np.diagonal(alike).tolist() == [0, 0, 0]
    assert alike[0, 1] > alike[1, 2] > alike[0, 2] == 0
