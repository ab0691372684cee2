"""The state of a device in words, from its checks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from forestall.server.checks.result import Status
from forestall.server.console import parts, words
from forestall.server.inventory.models import Device, DeviceStatus

SILENT_AFTER = timedelta(minutes=5)
"""The field's default: a device that has not checked in for five minutes is offline."""


def is_silent(device: Device, now: datetime) -> bool:
    return device.last_check_in_at is None or now - device.last_check_in_at > SILENT_AFTER


def worst(counts: Mapping[str, int]) -> Status | None:
    """The status that decides: worst first; None when nothing was judged."""
    order = (Status.FAIL, Status.WARN, Status.UNKNOWN, Status.STALE, Status.PASS)
    return next((status for status in order if counts.get(status)), None)


def state_in_words(device: Device, counts: Mapping[str, int], now: datetime) -> parts.Html:
    """``■ 2 checks fail``, ``◍ silent for 3 h``, ``● all 14 pass``. Unknown and stale are never shown as pass."""
    if device.status == DeviceStatus.PENDING:
        return parts.status(Status.UNKNOWN, "waits for approval")
    if device.status == DeviceStatus.REVOKED:
        return parts.none("its access was ended", "revoked")
    if is_silent(device, now):
        seen = device.last_check_in_at
        silent = f"silent for {words.span_short(now - seen)}" if seen else "never checked in"
        return parts.status(Status.FAIL if counts.get(Status.FAIL) else Status.STALE, silent)
    status = worst(counts)
    if status is None:
        return parts.status(Status.UNKNOWN, "not judged yet")
    number = counts[status]
    text = {
        Status.FAIL: f"{words.plural(number, 'check')} {words.does(number, 'fail')}",
        Status.WARN: f"{words.plural(number, 'check')} {words.does(number, 'warn')}",
        Status.UNKNOWN: f"{number} unknown",
        Status.STALE: f"{number} stale",
        Status.PASS: "all pass" if number > 1 else "passes",
    }[status]
    return parts.status(status, text)
