"""Which columns vary, and by how much: numpy's own float32 deviation of a constant is not 0."""

import numpy as np
import pytest

from treehead.data.moments import moments, varying


@pytest.mark.parametrize("value", [0.0, 0.1, 3.7, -113.3, 1e-6, 3e7])
@pytest.mark.parametrize("n", [1, 50, 20_000])
def test_a_constant_has_no_deviation(n: int, value: float):
    x = np.full((n, 2), value, np.float32)
    assert not varying(x).any()
    assert moments(x)[1].tolist() == [0, 0]


@pytest.mark.parametrize("value", [3.7, -113.3, 1e-6])
def test_what_varies_by_steps_of_rounding_is_constant(value: float):
    """One step of float32, and a millionth; a thousandth is a deviation."""
    x = np.full((100, 3), value, np.float32)
    x[::2, 0] = np.nextafter(x[0, 0], np.float32(np.inf))
    x[::2, 1] *= 1 + 1e-6
    x[::2, 2] *= 1 + 1e-3
    assert varying(x).tolist() == [False, False, True]
    _, std = moments(x)
    assert std[:2].tolist() == [0, 0]
    assert std[2] == pytest.approx(5e-4 * abs(value), rel=1e-3)


def test_a_small_deviation_of_a_large_number_is_exact():
    """In float32 it would be 0.03 in place of 0.005."""
    x = (113.3 + 0.005 * np.random.default_rng(0).normal(size=(20_000, 3))).astype(np.float32)
    assert x.std(0).max() > 0.01
    mean, std = moments(x)
    np.testing.assert_allclose(std, x.std(0, dtype=np.float64), rtol=1e-5)
    np.testing.assert_allclose(mean, x.mean(0, dtype=np.float64), rtol=1e-7)


@pytest.mark.parametrize("n", [4, 300, 5000])
def test_of_ordinary_features_all_bits_are_numpys(n: int):
    x = np.random.default_rng(n).normal(1, 1, (n, 200)).astype(np.float32)
    x[:, ::2] = np.maximum(x[:, ::2], 0) * np.exp2(np.arange(100) % 30 - 15)
    x[:, 0] = 0
    mean, std = moments(x)
    assert mean.tobytes() == x.mean(0).tobytes()
    assert std.tobytes() == x.std(0).tobytes()
    assert std.dtype == np.float32
