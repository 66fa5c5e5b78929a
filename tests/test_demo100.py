"""The drawn data set: fixed to the byte, with a real taxonomy, neither trivial nor impossible."""

import hashlib
import warnings
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from treehead.data.demo100 import classes

PARENTS = np.array(classes.SUPERCLASS_OF)


def test_there_are_twenty_superclasses_of_five():
    assert len(classes.FINE_NAMES) == len(classes.SUPERCLASS_OF) == 100
    assert Counter(classes.SUPERCLASS_OF) == dict.fromkeys(range(20), 5)


@pytest.mark.parametrize("names", [classes.FINE_NAMES, classes.SUPERCLASS_NAMES])
def test_names_are_unique_and_alphabetical(names):
    assert all(first < second for first, second in pairwise(names))


def test_a_class_is_named_after_its_superclass():
    for name, parent in zip(classes.FINE_NAMES, classes.SUPERCLASS_OF, strict=True):
        assert name.endswith(f" {classes.SUPERCLASS_NAMES[parent]}")


def test_fine_labels_are_not_grouped_by_superclass():
    """A program that assumes the superclass `fine // 5` must fail here as on CIFAR-100."""
    assert (np.arange(100) // 5 == PARENTS).mean() < 0.2


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    split=st.sampled_from(sorted(classes.SPLITS)),
    fine=st.integers(0, 99),
    index=st.integers(0, 1000),
)
def test_an_image_is_decided_by_its_seed_split_class_and_index(seed, split, fine, index):
    pixels = classes.image(seed, split, fine, index)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert pixels.std() > 1
    np.testing.assert_array_equal(pixels, classes.image(seed, split, fine, index))


def test_changing_any_of_the_four_changes_the_image():
    one = classes.image(0, "train", 3, 7)
    for other in ((1, "train", 3, 7), (0, "test", 3, 7), (0, "train", 4, 7), (0, "train", 3, 8)):
        assert (classes.image(*other) != one).any()


def test_the_pixels_are_those_that_published_numbers_were_measured_on():
    digest = hashlib.sha256()
    for fine in range(100):
        digest.update(classes.image(0, "test", fine, 0).tobytes())
    assert digest.hexdigest() == (
        "e63e34203ed3ac522dd2bf0201db38747ab7d280fbc7a7caf0077aabca244352"
    )


def test_an_unknown_split_is_refused():
    with pytest.raises(KeyError, match="validation"):
        classes.image(0, "validation", 0, 0)


def test_examples_hold_every_class_equally_often():
    labels = [fine for _, fine in classes.examples(0, "test", 2)]
    assert Counter(labels) == dict.fromkeys(range(100), 2)


def test_examples_are_the_images_with_their_channels_first():
    for image, fine in classes.examples(5, "test", 1):
        assert image.shape == (3, 32, 32)
        drawn = classes.image(5, "test", fine, 0)
        np.testing.assert_array_equal(image.transpose(1, 2, 0), drawn)


def drawn(seed: int, split: str, per_class: int) -> list[tuple[bytes, int]]:
    """The bytes and the label of each example."""
    return [(image.tobytes(), fine) for image, fine in classes.examples(seed, split, per_class)]


def test_examples_are_the_same_each_time_and_shuffled():
    one = drawn(0, "test", 1)
    assert one == drawn(0, "test", 1)
    assert one != drawn(1, "test", 1)
    labels = [fine for _, fine in one]
    assert labels != sorted(labels)


def test_a_larger_set_holds_the_images_of_a_smaller_one():
    small = {image for image, _ in drawn(0, "train", 1)}
    large = {image for image, _ in drawn(0, "train", 2)}
    assert len(small) == 100
    assert len(large) == 200
    assert small < large


def test_figures_are_mirrored_as_often_as_not():
    """Training flips images, so handedness must not distinguish classes."""
    grids = [classes.placed(np.random.default_rng(seed), angle=0, tilt=0) for seed in range(200)]
    mirrored = np.mean([grid.x[0, -1] < grid.x[0, 0] for grid in grids])
    assert 0.4 < mirrored < 0.6


@pytest.fixture(scope="module")
def sample():
    """Images (n, 32, 32, 3) in 0..1 and labels (n,): 20 train and 10 test images of each class."""
    drawn = {}
    for split, per_class in (("train", 20), ("test", 10)):
        labels, indices = np.divmod(np.arange(100 * per_class), per_class)
        pairs = zip(labels.tolist(), indices.tolist(), strict=True)
        drawn[split] = np.stack([classes.image(0, split, *pair) for pair in pairs]) / 255, labels
    return drawn


def linear_accuracy(train, test):
    """Test accuracy of a logistic regression on standardised features (n, d) with labels (n,)."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, tol=1e-3, max_iter=30))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(*train).score(*test)


def spectra(images):
    """Log magnitudes (n, 32 * 17) of the grey images' spectra, which ignore a figure's position."""
    grey = images.mean(axis=3)
    grey -= grey.mean(axis=(1, 2), keepdims=True)
    return np.log(np.abs(np.fft.rfft2(grey)) + 0.1).reshape(len(images), -1)


def test_raw_pixels_and_a_linear_model_do_not_solve_the_task(sample):
    train, test = ((images.reshape(len(images), -1), labels) for images, labels in sample.values())
    assert linear_accuracy(train, test) < 0.35


def test_parents_are_found_well_over_chance_and_more_often_than_classes(sample):
    train, test = ((spectra(images), labels) for images, labels in sample.values())
    parents = linear_accuracy((train[0], PARENTS[train[1]]), (test[0], PARENTS[test[1]]))
    assert parents > 3 / 20
    assert parents > linear_accuracy(train, test) > 3 / 100
