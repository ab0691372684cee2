"""Runs of a backup read out of its log, by the owner's rules: what time, good or bad, how large."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from forestall.agent.collect.backup_settings import LogRules
from forestall.agent.collect.backups.common import stamp
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.redaction import redact

ToUtc = Callable[[datetime], datetime]
MOST_LOGS = 30
_MOST_BYTES = 4 * 1024 * 1024
"""Of each log, its end."""
_LINE_CHARACTERS = 2000
_UNITS = {
    "": 1, "b": 1, "byte": 1, "bytes": 1, "k": 1024, "kib": 1024, "kb": 1000, "m": 1024**2, "mib": 1024**2,
    "mb": 1000**2, "g": 1024**3, "gib": 1024**3, "gb": 1000**3, "t": 1024**4, "tib": 1024**4, "tb": 1000**4,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a backup."""

    at: datetime
    ok: bool | None
    """None: the log does not say (it runs still, or was cut)."""
    detail: str = ""
    size: int | None = None
    seconds: float | None = None
    exit_code: int | None = None


def bytes_of(number: str, unit: str) -> int:
    """``1,234.5`` and ``GB`` in bytes. ValueError for a unit that is none."""
    factor = _UNITS.get(unit.strip().lower())
    if factor is None:
        raise ValueError(f"{unit!r} is no unit of size")
    return round(float(number.replace(",", "").replace("'", "")) * factor)


def runs_in(text: str, rules: LogRules, *, file_at: datetime | None, to_utc: ToUtc) -> list[Run]:
    """The runs in a log, oldest first. ValueError names a time or size that cannot be read, or that there is no time.

    ``to_utc`` turns times without a zone into UTC.
    """
    start = re.compile(rules.start) if rules.start else None
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if start is not None and start.search(line[:_LINE_CHARACTERS]):
            blocks.append([])
        blocks[-1].append(line[:_LINE_CHARACTERS])
    # What stands before the first beginning is the end of a run whose log was cut.
    blocks = [block for block in (blocks[1:] if start is not None else blocks) if any(map(str.strip, block))]
    return [_run(block, rules, file_at=file_at, to_utc=to_utc) for block in blocks]


def _run(lines: Sequence[str], rules: LogRules, *, file_at: datetime | None, to_utc: ToUtc) -> Run:
    at, size, seconds, ok, detail = None, None, None, None, ""
    for line in lines:
        if rules.time and (found := re.search(rules.time, line)):
            at = _time(found[1] if found.re.groups else found[0], rules, to_utc, near=file_at)
        if rules.size and (found := re.search(rules.size, line)):
            size = bytes_of(found[1], (found[2] or "") if found.re.groups > 1 else "")
        if rules.seconds and (found := re.search(rules.seconds, line)):
            seconds = float(found[1].replace(",", ""))
        if rules.fail and re.search(rules.fail, line):
            if ok is not False:
                detail = redact(line.strip())[:300]
            ok = False
        elif rules.ok and ok is None and re.search(rules.ok, line):
            ok = True
    if ok is None and not rules.ok and rules.fail:
        ok = True  # the owner names only what is wrong
    if ok is None and rules.ok:
        detail = "the log does not say that it ended well"
    at = at or file_at
    if at is None:
        raise ValueError(f"no line of a run has a time: {lines[0][:80]!r}")
    return Run(at=at, ok=ok, detail=detail, size=size, seconds=seconds)


def _time(text: str, rules: LogRules, to_utc: ToUtc, *, near: datetime | None) -> datetime:
    """``near`` gives the year to a format that has none: the newest that is not after it. ValueError."""
    # Without a zone it is the device's own.
    at = datetime.strptime(text, rules.time_format) if rules.time_format else datetime.fromisoformat(text)  # noqa: DTZ007
    if rules.time_format and "%y" not in rules.time_format.lower() and not re.search("%[cxGs]", rules.time_format):
        if near is None:
            raise ValueError(f"{text!r} has no year")
        at = at.replace(year=near.year)
        if at.replace(tzinfo=UTC) > near + timedelta(days=1):
            at = at.replace(year=near.year - 1)
    if not 1980 <= at.year <= 2999:
        raise ValueError(f"{text!r} is no time of a backup")
    return to_utc(at) if at.tzinfo is None else at.astimezone(UTC)


def read_runs(notes: Notes, rules: LogRules) -> list[Run]:
    """Every run that the logs (and the exit code's file) tell of, newest first. HostError, ValueError."""
    found: list[Run] = []
    if rules.file:
        paths = notes.host.glob(rules.file) if re.search(r"[*?\[]", rules.file) else [rules.file]
        stamped = sorted(((notes.host.status(path).modified_ns, path) for path in paths), reverse=True)
        for modified, path in stamped[:MOST_LOGS]:
            size = notes.host.status(path).size
            data = notes.host.read_bytes(path, offset=max(0, size - _MOST_BYTES), limit=_MOST_BYTES)
            notes.used(path)
            found += reversed(
                runs_in(data.decode(errors="replace"), rules, file_at=stamp(modified), to_utc=notes.host.local_to_utc)
            )
    found.sort(key=lambda run: run.at, reverse=True)
    if rules.exit_code_file:
        found = _with_exit_code(notes, rules, found)
    return found


def _with_exit_code(notes: Notes, rules: LogRules, found: list[Run]) -> list[Run]:
    text = notes.host.read_text(rules.exit_code_file).strip()
    notes.used(rules.exit_code_file)
    if not re.fullmatch(r"-?\d{1,5}", text):
        raise ValueError(f"{rules.exit_code_file}: {text[:40]!r} is no exit code")
    code = int(text)
    good = code in rules.good_exit_codes
    last = found[0] if found else Run(at=stamp(notes.host.status(rules.exit_code_file).modified_ns), ok=None)
    # The worse word counts: a log that says "done" does not make a failed program good.
    ok = good and last.ok is not False and not (rules.ok and found and last.ok is None)
    detail = "" if ok else " ".join(filter(None, (f"exit code {code}" if not good else "", last.detail)))
    return [Run(last.at, ok, detail, last.size, last.seconds, code), *found[1:]]
