"""Pictures that train shares with a held-out part: identical, nearly so, and not at all."""

import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits

from treehead.data import leaks
from treehead.data.leaks import Leak, digest, find


def photographs(count: int, seed: int, size: int = 32) -> np.ndarray:
    """Pictures with the spectrum of photographs, each different, uint8 (count, 3, size, size)."""
    noise = np.random.default_rng(seed).normal(size=(count, 3, size, size))
    noise[:, 1:] = 0.7 * noise[:, :1] + 0.3 * noise[:, 1:]
    smooth = sum(gaussian_filter(noise, (0, 0, s, s), mode="wrap") * s**1.2 for s in (1, 2, 4))
    return np.clip(128 + 45 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def by_pillow(change):
    def changed(images: np.ndarray) -> np.ndarray:
        pillow = [change(Image.fromarray(image.transpose(1, 2, 0))) for image in images]
        return np.stack([np.asarray(image).transpose(2, 0, 1) for image in pillow])

    return changed


def jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=75)
    return Image.open(file)


def cropped(image: Image.Image) -> Image.Image:
    """Without 2 % of each side, at the same size."""
    edge = 0.02 * image.width
    box = (edge, edge, image.width - edge, image.height - edge)
    return image.resize(image.size, Image.Resampling.BICUBIC, box=box)


def scaled(image: Image.Image) -> Image.Image:
    smaller = image.resize((image.width * 3 // 4,) * 2, Image.Resampling.BICUBIC)
    return smaller.resize(image.size, Image.Resampling.BICUBIC)


def brighter(images: np.ndarray) -> np.ndarray:
    return np.clip(images.astype(int) + 5, 0, 255).astype(np.uint8)


def moved(images: np.ndarray) -> np.ndarray:
    return np.roll(images, (1, -1), axis=(2, 3))


def test_an_identical_picture_leaks_and_another_does_not():
    train, held_out = photographs(6, 0), photographs(4, 1)
    held_out[2] = train[5]
    assert find(train, held_out) == [Leak(5, 2, "identical")]


@pytest.mark.parametrize(
    "change",
    [by_pillow(jpeg), brighter, moved, by_pillow(cropped), by_pillow(scaled)],
    ids=["JPEG of quality 75", "brightness + 5", "a pixel aside", "cropped by 2 %", "scaled"],
)
@pytest.mark.parametrize("size", [32, 96])
def test_another_version_of_a_picture_is_near(change, size):
    train = photographs(20, 2, size)
    held_out = photographs(30, 3, size)
    held_out[10:] = change(train)
    found = find(train, held_out)
    assert found == [Leak(row, row + 10, "near") for row in range(20)]


def test_a_mirror_image_does_not_count():
    """A mirrored b is a d."""
    train = photographs(10, 4)
    assert not find(train, np.ascontiguousarray(train[..., ::-1]))


def test_a_picture_in_other_colours_does_not_count():
    """A green pepper is not a red one, though the shop has painted one photograph twice."""
    grey = photographs(10, 5)[:, :1]
    red, blue = (grey * np.reshape(ink, (3, 1, 1)) for ink in ([1, 0.5, 0.5], [0.5, 0.5, 1]))
    assert not find(red.astype(np.uint8), blue.astype(np.uint8))
    assert len(find(red.astype(np.uint8), (0.9 * red).astype(np.uint8))) == 10


@pytest.mark.parametrize("size", [8, 28, 64])
def test_one_digit_in_two_hands_is_not_near(size):
    """Simple pictures of one class are alike, and that is no evidence of a copy."""
    digits = (load_digits().images * 15.9).astype(np.uint8)
    sized = [np.asarray(Image.fromarray(digit).resize((size, size))) for digit in digits]
    images = np.repeat(np.stack(sized)[:, None], 3, axis=1)
    assert not [leak for leak in find(images[:1200], images[1200:]) if leak.kind == "near"]


def test_one_outline_with_another_filling_is_not_near():
    """Two products on a white ground, as in a shop's catalogue, share their outline alone."""
    disc = np.hypot(*(np.mgrid[:32, :32] - 15.5)) < 10
    plain = np.full((2, 3, 32, 32), 250, np.uint8)
    plain[0, :, disc], plain[1, :, disc] = photographs(2, 6)[:, :, disc].transpose(0, 2, 1) // 2
    assert not find(plain[:1], plain[1:])


@pytest.mark.parametrize("noise", [0, 1, 2])
def test_flat_pictures_are_near_to_nothing(noise):
    """There is no detail in them to compare, so only identical ones leak."""
    rng = np.random.default_rng(0)
    grey = 40 + 8 * np.arange(20)[:, None, None, None]
    flat = (grey + rng.integers(-noise, noise + 1, (20, 3, 32, 32))).astype(np.uint8)
    again = (grey + rng.integers(-noise, noise + 1, (20, 3, 32, 32))).astype(np.uint8)
    found = find(flat, again)
    assert {leak.kind for leak in found} == ({"identical"} if noise == 0 else set())
    ramps = np.broadcast_to(np.linspace(0, 1, 32)[:, None], (10, 3, 32, 32))
    slopes = np.linspace(60, 240, 10)[:, None, None, None]
    assert not find(photographs(3, 7), (ramps * slopes).astype(np.uint8))


def test_every_copy_leaks_on_both_sides_though_not_every_pair_is_listed():
    train, held_out = photographs(8, 8), photographs(7, 9)
    train[[1, 4, 6]], held_out[[0, 3]] = train[1], train[1]
    train[7], held_out[5] = brighter(train[:1])[0], moved(train[:1])[0]
    found = find(train, held_out)
    assert {leak.train for leak in found if leak.kind == "identical"} == {1, 4, 6}
    assert {leak.held_out for leak in found if leak.kind == "identical"} == {0, 3}
    assert {leak[:2] for leak in found if leak.kind == "near"} == {(0, 5), (7, 5)}


def test_the_sizes_of_the_parts_may_be_zero():
    nothing = np.zeros((0, 3, 32, 32), np.uint8)
    assert find(nothing, photographs(2, 10)) == find(photographs(2, 10), nothing) == []


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 99),
    size=st.integers(20, 70),
    read=st.integers(1, 2**16),
    block=st.integers(1, 9),
)
def test_chunks_do_not_change_the_result(seed, size, read, block):
    train, held_out = photographs(11, seed, size), photographs(13, seed + 100, size)
    held_out[4:9] = brighter(train[2:7])
    held_out[9] = train[3]
    expected = find(train, held_out)
    assert Leak(3, 9, "identical") in expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leaks, "_BYTES", read)
        patch.setattr(leaks, "_BLOCK", block)
        assert find(train, held_out) == expected


class File:
    """Pictures that count how many are read at once."""

    def __init__(self, images: np.ndarray):
        self.images, self.shape, self.largest = images, images.shape, 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows) -> np.ndarray:
        self.largest = max(self.largest, len(self.images[rows]))
        return self.images[rows]


def test_pictures_are_read_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(leaks, "_BYTES", 5 * 3 * 32 * 32)
    files = File(photographs(40, 11)), File(brighter(photographs(40, 11)))
    assert len(find(*files)) == 40
    assert max(file.largest for file in files) <= 5


@given(
    shape=st.tuples(*[st.integers(1, 4)] * 3),
    seed=st.integers(0, 9),
)
def test_the_digest_is_of_pixels_and_shape(shape, seed):
    image = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    assert re.fullmatch("[0-9a-f]{32}", digest(image))
    assert digest(image) == digest(np.asfortranarray(image))
    assert digest(image) != digest(image[None])
    other = image.copy()
    other.flat[-1] ^= 1
    assert digest(image) != digest(other)
