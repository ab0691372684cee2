"""Sums over samples agree with the plain arithmetic."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from forestall.server.metrics.rules import hour_rollup, points_raw, points_step

VALUES = st.one_of(st.floats(-1e9, 1e9), st.just(float("nan")))


@given(arrays(np.float64, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=10), elements=VALUES))
def test_a_rollup_says_what_the_hour_held(values):
    low, mean, high, last, count = hour_rollup(values).reshape(5, -1)
    for column in range(values.shape[1]):
        there = values[:, column][~np.isnan(values[:, column])]
        assert count[column] == there.size
        if not there.size:
            assert np.isnan([low[column], mean[column], high[column], last[column]]).all()
            continue
        assert (low[column], high[column], last[column]) == (there.min(), there.max(), there[-1])
        assert low[column] <= mean[column] <= high[column]
        np.testing.assert_allclose(mean[column], there.mean(), rtol=1e-6, atol=1e-6)


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.floats(-1e6, 1e6)), min_size=1, max_size=50, unique_by=lambda s: s[0]),
    st.integers(1, 1000),
)
def test_steps_hold_every_sample_once(samples, step):
    times = np.array([time for time, _ in samples], dtype=np.int64)
    values = np.array([value for _, value in samples])
    points = points_step(points_raw(times, values), step)
    assert points.count.sum() == len(samples)
    np.testing.assert_allclose((points.mean * points.count).sum(), values.sum(), rtol=1e-6, atol=1e-3)
    for begin, low, high in zip(points.times, points.min, points.max, strict=True):
        inside = values[(times / 1000 >= begin) & (times / 1000 < begin + step)]
        assert (low, high) == (inside.min(), inside.max())
