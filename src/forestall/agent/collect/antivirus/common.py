"""What readers of antivirus products have in common: times, yes and no, fields of a list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from forestall.agent.collect.captures.capture import CapturedFile, Reading
from forestall.agent.collect.notes import Notes, complaint

MOST_DETECTIONS = 50
MOST_EXCLUSIONS = 200
_FIELD = re.compile(r"^\s*(?:-\s+)?([A-Za-z][\w ./()'-]*?)\s*[:=]\s*(.*?)\s*$")
_FORMATS = (
    "%Y-%m-%d %H:%M:%S", "%b %d, %Y at %I:%M:%S %p", "%a %b %d %H:%M:%S %Y", "%d/%m/%Y, %H:%M:%S", "%Y%m%d",
    "%Y-%m-%dT%H:%M:%S", "%d.%m.%Y %H:%M:%S", "%Y:%m:%d %H:%M:%S", "%Y-%m-%d",
)  # fmt: skip


def reading_of(name: str, text: str) -> Reading:
    return Reading(CapturedFile(name, text.replace("\x00", "").encode()))


def fields_of(reading: Reading) -> dict[str, str]:
    """``Name: value`` and ``Name = value`` lines; the first of each name. Takes the lines."""
    found: dict[str, str] = {}
    for line in [*reading]:
        match = _FIELD.match(line.text)
        if match:
            found.setdefault(match[1].strip(), match[2].strip().strip('"'))
            reading.take(line)
    return found


def yes(value: Any) -> bool | None:
    """True, False, or None for what is neither."""
    if isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return yes(value.get("value"))
    word = str(value).strip().strip('"').lower().rstrip(".")
    if word in (
        "true",
        "yes",
        "on",
        "enabled",
        "1",
        "running",
        "started",
        "active",
        "ok",
        "ready",
        "block",
        "connected",
    ):
        return True
    if word in ("false", "no", "off", "disabled", "0", "not running", "stopped", "inactive", "audit", "disconnected"):
        return False
    return None


def moment(value: Any) -> datetime | None:
    """A time in any of the ways these products write it, in UTC; without a zone it is taken as UTC."""
    if isinstance(value, Mapping):  # PowerShell: {"value": "/Date(…)/", "DateTime": "…"}
        value = value.get("value")
    text = str(value or "").strip().strip('"')
    milliseconds = re.match(r"^\\?/Date\((-?\d{1,15})", text)
    if milliseconds:
        return _sane(datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(milliseconds[1])))
    zone = UTC
    offset = re.search(r"\s+(?:GMT|UTC)\s*([+-]\d{1,2})(?::?(\d{2}))?$", text)
    if offset:
        hours = max(-14, min(14, int(offset[1])))
        zone = timezone(timedelta(hours=hours, minutes=int(offset[2] or 0) * (-1 if hours < 0 else 1)))
        text = text[: offset.start()]
    text = re.sub(r"\s+(?:GMT|UTC|Z)$", "", text).replace(" at ", " ") if " at " in text and "," not in text else text
    text = " ".join(text.split())
    try:
        exact = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text.replace("Z", "+00:00")))
        return _sane((exact if exact.tzinfo else exact.replace(tzinfo=zone)).astimezone(UTC))
    except (ValueError, OverflowError):
        pass
    for form in _FORMATS:
        try:
            return _sane(datetime.strptime(text, form).replace(tzinfo=zone).astimezone(UTC))
        except (ValueError, OverflowError):
            continue
    return None


def _sane(at: datetime) -> datetime | None:
    """Products write the year 1601 or 1 for never."""
    return at if 1990 <= at.year <= 2200 else None


def whole_text(notes: Notes, argv: list[str], what: str) -> str | None:
    """A product's answer; None, and a gap, when it gives none."""
    result = notes.run(argv, what=what, timeout=30)
    if result is None:
        return None
    if not result.stdout.strip():
        notes.gap(what, complaint(result))
        return None
    return result.stdout


def installed(notes: Notes, *paths: str) -> str | None:
    """The first of these files that is there, or the first program of that name."""
    for path in paths:
        if path.startswith("/"):
            if notes.host.glob(path):
                return path
        elif notes.host.find_program(path):
            return path
    return None
