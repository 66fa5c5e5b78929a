"""Packed heads are read as they were written, and are as small as counting by hand says."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from treehead import artifacts
from treehead.heads import linear, packing
from treehead.heads.head import Head

SHAPES = array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=7)
BITS = st.sampled_from(sorted(packing.PRECISIONS.values()))

whole = st.one_of(
    arrays(np.bool_, SHAPES),
    arrays(np.int8, SHAPES),
    arrays(np.int8, SHAPES, elements=st.integers(-1, 1)),
    arrays(np.uint16, SHAPES, elements=st.integers(0, 99)),
    arrays(np.uint16, SHAPES, elements=st.integers(700, 702)),
    arrays(np.uint16, SHAPES, elements=st.integers(0, 65_534)),
)
some_weights = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=7),
    elements=st.floats(-1000, 1000, width=32),
)


def named(of: st.SearchStrategy) -> st.SearchStrategy:
    """Heads of such arrays under names, in any order."""
    return st.dictionaries(st.text("abz_", min_size=1, max_size=8), of, max_size=4)


def gaussian(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


HEAD = {
    "weight": gaussian(4, 5),
    "bias": gaussian(4),
    "mask": np.eye(3, dtype=bool),
    "place": np.array([5, 0, 99], np.uint16),
}


def assert_same(one: artifacts.Tensors, other: artifacts.Tensors) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert (array.dtype, array.shape) == (other[name].dtype, other[name].shape)
        assert array.tobytes() == other[name].tobytes()


@settings(deadline=None)
@given(named(whole), BITS)
def test_masks_places_and_whole_weights_lose_nothing_at_any_precision(head, bits: int):
    assert_same(packing.unpack(packing.pack(Head(head), bits)).arrays, head)


@settings(deadline=None)
@given(named(arrays(np.float32, SHAPES)))
def test_floats_of_32_bits_lose_nothing(head):
    assert_same(packing.unpack(packing.pack(Head(head), 32)).arrays, head)


def test_places_may_span_all_that_16_bits_hold():
    head = {"place": np.array([0, 65_535, 3], np.uint16)}
    assert_same(packing.unpack(packing.pack(Head(head), 8)).arrays, head)


@settings(deadline=None)
@given(some_weights, st.integers(2, 8))
def test_a_weight_that_is_not_clipped_is_off_by_half_a_scale_at_most(weight, bits: int):
    numbers, scale = packing.quantize(weight, bits)
    limit, unit = 2 ** (bits - 1) - 1, scale.astype(np.float32)[:, None]
    clipped = np.abs(weight) > limit * unit
    off = np.abs(numbers * unit - weight) / unit
    assert off[~clipped].max(initial=0) <= 0.5001
    np.testing.assert_array_equal(numbers[clipped], limit * np.sign(weight[clipped]))
    assert (np.abs(numbers) <= limit).all()


@settings(deadline=None)
@given(some_weights, st.integers(2, 8))
def test_a_packed_weight_is_its_whole_numbers_times_the_scale_of_its_row(weight, bits: int):
    numbers, scale = packing.quantize(weight, bits)
    expected = numbers.astype(np.float32) * scale.astype(np.float32)[:, None]
    assert_same(packing.unpack(packing.pack(Head({"w": weight}), bits)).arrays, {"w": expected})


@settings(deadline=None)
@given(some_weights, st.integers(2, 8))
def test_a_row_is_as_close_as_with_the_scale_of_its_largest_weight_or_closer(weight, bits: int):
    numbers, scale = packing.quantize(weight, bits)
    error = np.square(numbers * scale.astype(np.float64)[:, None] - weight).sum(1)
    for row, ours in zip(weight, error, strict=True):
        largest = max(np.abs(row).max(initial=0) / (2 ** (bits - 1) - 1), 6.2e-5)
        plain = np.float64(np.float16(largest))
        assert ours <= np.square(np.rint(row / plain) * plain - row).sum() * 1.001 + 1e-6


def test_clipping_the_largest_weights_brings_few_bits_closer():
    weight = gaussian(20, 300)
    numbers, scale = packing.quantize(weight, 3)
    largest = np.abs(weight).max(1, keepdims=True) / 3
    error = np.square(numbers * scale[:, None].astype(np.float32) - weight).mean()
    assert error < 0.6 * np.square(np.rint(weight / largest) * largest - weight).mean()


def test_each_bit_more_halves_the_error_or_nearly():
    weight = gaussian(20, 300)
    error = [
        np.square(packing.unpack(packing.pack(Head({"w": weight}), bits))["w"] - weight).mean()
        ** 0.5
        for bits in (2, 3, 4, 5, 6, 7, 8, 32)
    ]
    assert all(more < 0.62 * less for less, more in pairwise(error))


def test_a_row_of_zeros_stays_zero():
    weight = np.zeros((2, 3), np.float32)
    weight[1] = 5
    np.testing.assert_array_equal(packing.unpack(packing.pack(Head({"w": weight}), 2))["w"], weight)


@pytest.mark.parametrize("array", [gaussian(40), gaussian(2, 3, 4)])
def test_biases_have_16_bits_below_float32(array: np.ndarray):
    expected = array.astype(np.float16).astype(np.float32)
    assert_same(packing.unpack(packing.pack(Head({"bias": array}), 2)).arrays, {"bias": expected})


@pytest.mark.parametrize(
    ("array", "bits", "size"),
    [
        (gaussian(40, 50), 32, 4 * 2000),
        (gaussian(40, 50), 8, 2000 + 40 * 2),
        (gaussian(40, 50), 4, 2000 / 2 + 40 * 2),
        (gaussian(40, 50), 2, 2000 / 5 + 40 * 2),
        (gaussian(50), 32, 4 * 50),
        (gaussian(50), 4, 2 * 50),
        (gaussian(40, 50) > 0, 32, 2000 / 8),
        (np.clip(gaussian(40, 50), -1, 1).astype(np.int8), 8, 2000 / 5),
        (np.arange(2000, dtype=np.uint16) % 100, 4, 2000 * 7 / 8),
        (np.full(2000, 7, np.uint16), 4, 0),
    ],
)
def test_the_file_has_the_size_that_counting_predicts_beside_a_small_header(array, bits, size):
    header = len(packing.pack(Head({"array": array[:0]}), bits))
    assert header < 32
    assert len(packing.pack(Head({"array": array}), bits)) == header + size


@pytest.mark.parametrize("bits", [2, 4, 32])
@pytest.mark.fault("a packed head is cut at any place", "one sentence")
def test_every_truncated_file_is_named(tmp_path, bits: int):
    path, data = tmp_path / "int4-0.bin", packing.pack(Head(HEAD), bits)
    for length in range(len(data)):
        with pytest.raises(
            artifacts.InputError, match=r"int4-0\.bin is not a (complete )?packed head"
        ):
            packing.unpack(data[:length], path)


@pytest.mark.parametrize("more", [b"\0", b"treehead1"])
@pytest.mark.fault("bytes behind the end of a packed head", "one sentence")
def test_a_file_that_goes_on_after_its_end_is_named(tmp_path, more: bytes):
    path = tmp_path / "int4-0.bin"
    path.write_bytes(packing.pack(Head(HEAD), 4) + more)
    with pytest.raises(artifacts.InputError, match=r"int4-0\.bin has bytes after its end"):
        packing.read(path)


def test_the_file_of_another_program_is_named(tmp_path):
    artifacts.write_tensors(tmp_path / "head.bin", HEAD)
    with pytest.raises(artifacts.InputError, match=r"head\.bin is not a packed head"):
        packing.read(tmp_path / "head.bin")


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.fault("a byte of a packed head changes", "one sentence, or other weights")
def test_a_damaged_byte_gives_other_arrays_or_an_input_error():
    data = packing.pack(Head({"w": gaussian(2, 3), "p": np.array([5, 0, 99], np.uint16)}), 4)
    refused = 0
    for place in range(len(data)):
        for value in range(256):
            try:
                packing.unpack(data[:place] + bytes([value]) + data[place + 1 :])
            except artifacts.InputError:
                refused += 1
    assert refused > 9 * 255


def test_the_same_arrays_in_any_order_are_the_same_bytes():
    turned = dict(reversed(HEAD.items()))
    turned["weight"] = np.asfortranarray(turned["weight"])
    assert packing.pack(Head(turned), 4) == packing.pack(Head(HEAD), 4)


def test_the_name_of_a_file_says_its_precision_and_seed():
    path = "results/heads/lowrank-relu-25/int4-13.bin"
    assert packing.precision_and_seed(path) == ("int4", 13)


def test_weights_biases_and_scales_are_parameters_but_places_and_masks_are_not():
    assert packing.parameters(Head(HEAD)) == 4 * 5 + 4
    assert packing.parameters(Head({"code": np.ones((3, 7), np.int8), "scale": gaussian(3)})) == 24


@pytest.mark.parametrize("bits", [2, 4, 8, 32])
def test_a_head_on_disk_predicts_as_its_unpacked_arrays(tmp_path, bits: int):
    weight, bias, features = gaussian(4, 5), gaussian(4), gaussian(9, 5)
    packing.write(tmp_path / "head.bin", Head({"weight": weight, "bias": bias}), bits)
    logits = linear.predict(packing.read(tmp_path / "head.bin"), features)
    if bits < 32:
        numbers, scale = packing.quantize(weight, bits)
        weight, bias = numbers * scale.astype(np.float32)[:, None], bias.astype(np.float16)
    np.testing.assert_allclose(logits, features @ weight.T + bias, rtol=1e-5, atol=1e-5)


some_settings = st.one_of(
    st.booleans(),
    st.integers(0, 65_535),
    st.floats(width=32, allow_nan=False),
    st.sampled_from(["features", "parent_logits", ""]),
    st.lists(st.floats(width=32, allow_nan=False), max_size=4),
)


@settings(deadline=None)
@given(named(some_settings), named(whole))
def test_settings_come_back_as_they_were_beside_the_arrays(chosen, arrays):
    again = packing.unpack(packing.pack(Head(arrays, chosen), 32))
    assert again.settings == chosen
    assert {name: type(value) for name, value in again.settings.items()} == {
        name: type(value) for name, value in chosen.items()
    }
    assert_same(again.arrays, arrays)


def test_a_file_of_another_version_is_named(tmp_path):
    data = packing.pack(Head(HEAD), 4)
    path = tmp_path / "int4-0.bin"
    path.write_bytes(data[:8] + b"1" + data[9:])
    with pytest.raises(artifacts.InputError, match=r"int4-0\.bin has version b'1' of the packed"):
        packing.read(path)


def test_weights_are_read_as_the_whole_numbers_that_are_stored(tmp_path: Path):
    """Without a second rounding: they are those of `quantize`, and give the weights of `read`."""
    packing.write(tmp_path / "int4-0.bin", Head(HEAD, {"k": 2}), 4)
    arrays, settings = packing.read_stored(tmp_path / "int4-0.bin")
    numbers, scale = packing.quantize(HEAD["weight"], 4)
    np.testing.assert_array_equal(arrays["weight"].numbers, numbers)
    np.testing.assert_array_equal(arrays["weight"].scale, scale)
    assert arrays["weight"].numbers.dtype == np.int8
    read = packing.read(tmp_path / "int4-0.bin")
    np.testing.assert_array_equal(arrays["weight"].weight(), read["weight"])
    np.testing.assert_array_equal(arrays["mask"], HEAD["mask"])
    assert settings == {"k": 2}
