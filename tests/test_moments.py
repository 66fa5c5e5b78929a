"""Which columns vary, and by how much: numpy's own float32 deviation of a constant is not 0."""

import numpy as np
import pytest

from treehead.data.moments import moments


@pytest.mark.parametrize("value", [0.0, 0.1, 3.7, -113.3, 1e-6, 3e7])
@pytest.mark.parametrize("n", [1, 50, 20_000])
def test_a_constant_has_no_deviation(n: int, value: float):
    x = np.full((n, 2), value, np.float32)
    found = moments([x])
    assert not found.varies.any()
    assert found.deviation.tolist() == [0, 0]


@pytest.mark.parametrize("value", [3.7, -113.3, 1e-6])
def test_what_varies_by_steps_of_rounding_is_constant(value: float):
    """One step of float32, and a millionth; a thousandth is a deviation."""
    x = np.full((100, 3), value, np.float32)
    x[::2, 0] = np.nextafter(x[0, 0], np.float32(np.inf))
    x[::2, 1] *= 1 + 1e-6
    x[::2, 2] *= 1 + 1e-3
    _, _, std, varies = moments([x])
    assert varies.tolist() == [False, False, True]
    assert std[:2].tolist() == [0, 0]
    assert std[2] == pytest.approx(5e-4 * abs(value), rel=1e-3)


@pytest.mark.parametrize("parts", [1, 3, 700])
def test_in_any_parts_they_are_those_of_float64(parts: int):
    """Of 113.3 with a deviation of 0.005 float32 would find 0.03, or worse."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 40)) * np.exp2(np.arange(40) - 20)
    x[:, 0], x[:, 1] = 113.3 + 0.005 * rng.normal(size=20_000), 0
    x = x.astype(np.float32)
    assert x.std(0)[0] > 0.01
    n, mean, deviation, varies = moments(np.array_split(x, parts))
    assert n == 20_000
    np.testing.assert_allclose(mean, x.mean(0, dtype=np.float64), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(deviation, x.std(0, dtype=np.float64), rtol=1e-9)
    assert np.flatnonzero(~varies).tolist() == [1]
