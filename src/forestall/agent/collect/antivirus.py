"""The ``antivirus`` document: ClamAV, its daemons, and the age of its definitions."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.processes import processes, runs
from forestall.wire.facts import Antivirus, AntivirusProduct

DATABASE = "/var/lib/clamav"
LOGS = "/var/log/clamav/*.log"
_HEADER_BYTES = 512
"""A CVD or CLD file begins with its header, padded to this length; the rest is compressed."""
_LOG_TAIL_BYTES = 64 * 1024
_PROGRAMS = ("clamscan", "clamd", "clamdscan")


def collect(host: Host) -> Antivirus:
    notes = Notes(host)
    program = next((name for name in _PROGRAMS if host.find_program(name)), None)
    if program is None:
        return Antivirus(sources=("clamscan, clamd and clamdscan: none installed",))
    running = list(processes(host))
    notes.used("/proc/*/cmdline")
    result = notes.run([program, "--version"], what="version of ClamAV", timeout=60)
    version, built = _definitions(notes)
    product = AntivirusProduct(
        name="ClamAV",
        version=parse_version(result.stdout) if result else "",
        running=runs(host, running, "clamd"),
        real_time=runs(host, running, "clamonacc"),
        definitions_version=version,
        definitions_at=built,
        last_scan_at=_last_scan(notes),
    )
    return Antivirus(products=(product,), sources=notes.sources, gaps=notes.gaps)


def parse_version(text: str) -> str:
    """``1.0.7`` of ``ClamAV 1.0.7/27400/Mon Sep 16 08:32:02 2024``."""
    found = re.match(r"ClamAV ([^/\s]+)", text)
    return found[1] if found else ""


def parse_definitions_header(data: bytes) -> tuple[str, datetime]:
    """Version and build time in the first bytes of a ClamAV database (``.cvd``, ``.cld``).

    ``ClamAV-VDB:16 Sep 2024 04-32 -0400:27400:…``; hours and minutes are parted by a hyphen because a colon parts the
    fields. ValueError when it is no such header.
    """
    fields = data[:_HEADER_BYTES].decode("ascii", errors="replace").split(":")
    if fields[0] != "ClamAV-VDB" or len(fields) < 4:
        raise ValueError(f"not a ClamAV database: it begins with {data[:16]!r}")
    try:
        built = datetime.strptime(fields[1].strip(), "%d %b %Y %H-%M %z")
    except ValueError:
        raise ValueError(f"not a build time of a ClamAV database: {fields[1]!r}") from None
    return fields[2], built.astimezone(UTC)


def parse_scan_end(text: str) -> datetime | None:
    """The last ``End Date: 2024:09:16 08:32:02`` in a log of clamscan; a time of the wall clock, without zone."""
    found = re.findall(r"^End Date:\s+(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)", text, re.MULTILINE)
    return datetime(*(int(part) for part in found[-1])) if found else None  # type: ignore[arg-type]  # noqa: DTZ001


def _definitions(notes: Notes) -> tuple[str, datetime | None]:
    newest: tuple[str, datetime] | None = None
    for path in [path for kind in ("cvd", "cld") for path in notes.host.glob(f"{DATABASE}/*.{kind}")]:
        if path.rpartition("/")[2].partition(".")[0] not in ("daily", "main"):
            continue
        try:
            found = parse_definitions_header(notes.host.read_bytes(path, limit=_HEADER_BYTES))
        except HostError as error:
            notes.gap(f"definitions in {path}", error.why)
            continue
        except ValueError as error:
            notes.gap(f"definitions in {path}", str(error))
            continue
        notes.used(path)
        if newest is None or found[1] > newest[1]:
            newest = found
    if newest is None:
        notes.gap("antivirus definitions", f"no database in {DATABASE}")
        return "", None
    return newest


def _last_scan(notes: Notes) -> datetime | None:
    ends = []
    for path in notes.host.glob(LOGS):
        try:
            size = notes.host.status(path).size
            tail = notes.host.read_bytes(path, offset=max(0, size - _LOG_TAIL_BYTES)).decode(errors="replace")
        except HostError as error:
            notes.gap(f"scans in {path}", error.why)
            continue
        notes.used(path)
        end = parse_scan_end(tail)
        if end is not None:
            ends.append(notes.host.local_to_utc(end))
    return max(ends, default=None)
