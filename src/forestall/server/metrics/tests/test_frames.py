"""A frame gives back exactly what went in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from forestall.server.metrics.frames import FrameError, frame_decode, frame_encode

NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True, width=64),
    st.integers(-(2**60), 2**60).map(float),
    st.integers(-(10**7), 10**7).map(lambda whole: whole / 100),
    st.integers(-(10**7), 10**7).map(lambda whole: np.nextafter(whole / 1000, np.inf)),
    st.sampled_from([float("nan"), 0.0, -0.0, 5e-324, 0.13399999999999998]),
)


@given(
    arrays(np.float64, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=NUMBERS),
    st.integers(0, 2**41),
    st.integers(1, 10**6),
)
def test_every_table_of_numbers_comes_back_equal(values, start, step):
    times = np.arange(values.shape[0], dtype=np.int64) * step + start
    back_times, back = frame_decode(frame_encode(times, values))
    np.testing.assert_array_equal(back_times, times)
    np.testing.assert_array_equal(back, values)


def test_an_hour_of_ordinary_samples_takes_under_two_bytes_each():
    random = np.random.default_rng(7)
    gauges = np.round(50 + np.cumsum(random.normal(0, 1, (60, 40)), axis=0), 2)
    counters = np.cumsum(random.poisson(1000, (60, 30)), axis=0) + random.integers(10**6, 10**9, 30)
    sizes = 4096.0 * (10**6 + np.cumsum(random.integers(-50, 50, (60, 20)), axis=0))
    steady = np.full((60, 10), 3.0)
    values = np.hstack([gauges, counters.astype(float), sizes, steady])
    times = np.arange(60, dtype=np.int64) * 60_000
    assert len(frame_encode(times, values)) < 2 * values.size


def test_means_with_noise_in_their_last_bits_take_no_more_than_a_byte_more():
    clean = np.round(np.random.default_rng(7).normal(50, 5, (60, 20)), 3)
    noisy = np.nextafter(clean, np.where(np.random.default_rng(8).random(clean.shape) < 0.3, np.inf, clean))
    times = np.arange(60, dtype=np.int64) * 60_000
    assert (noisy != clean).any()
    assert len(frame_encode(times, noisy)) < len(frame_encode(times, clean)) + 0.5 * clean.size


@pytest.mark.parametrize("wrong", [b"", b"no frame", frame_encode(np.array([1]), np.array([[1.0]]))[:-3]])
def test_what_is_no_frame_is_said_so(wrong):
    with pytest.raises(FrameError, match="not a frame"):
        frame_decode(wrong)


def test_times_and_rows_must_be_as_many():
    with pytest.raises(ValueError, match="2 times for 1 rows"):
        frame_encode(np.array([1, 2]), np.array([[1.0]]))
