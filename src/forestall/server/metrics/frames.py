"""A frame: a table of samples (rows of one time, columns of one series) as few bytes. No I/O.

A column whose values are decimal fractions of at most six places is kept as whole numbers, as the differences from
row to row; the bytes of all columns are then laid out by significance and compressed together. A value that lies beside
its decimal fraction by the last few bits (0.13399999999999998, the mean of some 0.134s) keeps that distance in a byte.
Other columns are kept as they are, laid out alike. Every value comes back equal. Why this and not a ready codec:
docs/decisions/0003-samples-frames.md.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MAX_PLACES = 6
BESIDE = 0x40
"""Set in a column's places: its values lie beside decimal fractions, by steps of the last bit that follow."""
AS_IS = 255
LEVEL = 6
_HEAD = struct.Struct("<BIIB")
_VERSION = 1
_EXACT = float(2**53)


class FrameError(ValueError):
    """Bytes that are no frame."""


def frame_encode(times: Integers, values: Floats) -> bytes:
    """``times``: rows, whole numbers, rising. ``values``: rows x columns; NaN where there is no sample."""
    rows, columns = values.shape
    if times.shape != (rows,) or not rows:
        raise ValueError(f"{times.shape[0]} times for {rows} rows of values")
    missing = np.isnan(values)
    gaps = bool(missing.any())
    table = _filled(values, missing) if gaps else values
    table = np.ascontiguousarray(table.T)
    places = np.full(columns, AS_IS, dtype=np.uint8)
    whole = np.zeros((columns, rows), dtype=np.int64)
    beside = np.zeros((columns, rows), dtype=np.int8)
    rest = np.arange(columns)
    for place in range(MAX_PLACES + 1):
        if not rest.size:
            break
        scale = 10.0**place
        picked = table[rest]
        with np.errstate(over="ignore", invalid="ignore"):
            # What is too large for this becomes infinite here, does not fit, and is kept as it is.
            # (Adding zero makes a negative zero a plain one, as it will be when it comes back from a whole number.)
            scaled = np.rint(picked * scale) + 0.0
            near = scaled / scale
            steps = np.where(near == picked, 0, picked.view(np.int64) - near.view(np.int64))
            fits = ((np.abs(scaled) < _EXACT) & (steps >= -127) & (steps <= 127)).all(axis=1)
        chosen = rest[fits]
        places[chosen] = place + BESIDE * steps[fits].any(axis=1)
        whole[chosen] = scaled[fits].astype(np.int64)
        beside[chosen] = steps[fits].astype(np.int8)
        rest = rest[~fits]
    parts = [
        _HEAD.pack(_VERSION, rows, columns, gaps),
        _planes(_differences(times[None, :])),
        places.tobytes(),
        np.packbits(missing.T).tobytes() if gaps else b"",
        _planes(_differences(whole[places != AS_IS])),
        beside[(places != AS_IS) & (places >= BESIDE)].tobytes(),
        _planes(table[places == AS_IS].view(np.uint64)),
    ]
    return zlib.compress(b"".join(parts), LEVEL)


def frame_decode(data: bytes) -> tuple[Integers, Floats]:
    """Times and values of an encoded frame. FrameError for anything else."""
    try:
        raw = zlib.decompress(data)
        version, rows, columns, gaps = _HEAD.unpack_from(raw)
    except (zlib.error, struct.error) as error:
        raise FrameError(f"not a frame: {error}") from None
    if version != _VERSION:
        raise FrameError(f"a frame of version {version}, expected {_VERSION}")
    at = _HEAD.size
    times = _sums(_from_planes(raw, at, 1, rows))[0]
    at += 8 * rows
    places = np.frombuffer(raw, dtype=np.uint8, count=columns, offset=at)
    at += columns
    missing = None
    if gaps:
        size = (rows * columns + 7) // 8
        bits = np.unpackbits(np.frombuffer(raw, dtype=np.uint8, count=size, offset=at), count=rows * columns)
        missing = bits.astype(bool).reshape(columns, rows)
        at += size
    decimal = places != AS_IS
    count = int(decimal.sum())
    table = np.empty((columns, rows), dtype=np.float64)
    if count:
        scales = 10.0 ** (places[decimal] % BESIDE).astype(np.float64)
        table[decimal] = _sums(_from_planes(raw, at, count, rows)) / scales[:, None]
        at += 8 * rows * count
    corrected = decimal & (places >= BESIDE)
    if extra := int(corrected.sum()):
        aside = np.frombuffer(raw, dtype=np.int8, count=extra * rows, offset=at).reshape(extra, rows)
        exact = np.ascontiguousarray(table[corrected]).view(np.int64) + aside
        table[corrected] = exact.view(np.float64)
        at += rows * extra
    if count < columns:
        table[~decimal] = _from_planes(raw, at, columns - count, rows).view(np.float64)
    if missing is not None:
        table[missing] = np.nan
    return times, table.T


def _filled(values: Floats, missing: NDArray[np.bool_]) -> Floats:
    """Each missing value as the last one before it (0 before the first): a difference of nothing."""
    last = np.where(missing, -1, np.arange(values.shape[0])[:, None])
    np.maximum.accumulate(last, axis=0, out=last)
    filled = np.take_along_axis(values, np.maximum(last, 0), axis=0)
    return np.where(last < 0, 0.0, filled)


def _differences(table: Integers) -> NDArray[np.uint64]:
    """Differences along rows, small ones of either sign as small numbers (zigzag)."""
    steps = np.diff(table, axis=1, prepend=0)
    return ((steps << 1) ^ (steps >> 63)).view(np.uint64)


def _sums(steps: NDArray[np.uint64]) -> Integers:
    signed = (steps >> np.uint64(1)).view(np.int64) ^ -(steps & np.uint64(1)).view(np.int64)
    return np.cumsum(signed, axis=1)


def _planes(table: NDArray[np.uint64]) -> bytes:
    """All lowest bytes, then all next ones, up to the highest: alike bytes stand together."""
    flat = np.ascontiguousarray(table, dtype="<u8").reshape(-1)
    return np.ascontiguousarray(flat.view(np.uint8).reshape(-1, 8).T).tobytes()


def _from_planes(raw: bytes, at: int, columns: int, rows: int) -> NDArray[np.uint64]:
    planes = np.frombuffer(raw, dtype=np.uint8, count=8 * columns * rows, offset=at).reshape(8, -1)
    return np.ascontiguousarray(planes.T).view("<u8").reshape(columns, rows)
