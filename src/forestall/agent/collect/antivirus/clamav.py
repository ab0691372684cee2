"""ClamAV: its daemons, the age of its definitions by their headers, what its logs found, what it leaves out."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from forestall.agent.collect.antivirus.common import MOST_DETECTIONS, MOST_EXCLUSIONS
from forestall.agent.collect.host import HostError
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.processes import processes, runs
from forestall.wire.facts import AntivirusProduct, Detection

NAME = "ClamAV"
DATABASE = "/var/lib/clamav"
LOGS = "/var/log/clamav/*.log"
SETTINGS = ("/etc/clamav/clamd.conf", "/etc/clamd.conf", "/etc/clamd.d/scan.conf", "/usr/local/etc/clamd.conf")
SERVICES = ("clamav-daemon", "clamd@scan", "clamd", "clamav-clamd")
_HEADER_BYTES = 512
"""A CVD or CLD file begins with its header, padded to this length; the rest is compressed."""
_LOG_TAIL_BYTES = 64 * 1024
_PROGRAMS = ("clamscan", "clamd", "clamdscan")
_OWN = ("hdb", "hsb", "ndb", "ldb", "yar", "yara", "hdu", "ndu")
_FOUND_DATED = re.compile(
    r"^(\w{3} \w{3}\s+\d+ [\d:]{8} \d{4}) -> (?:instream\([^)]*\)|(.+?)): (\S+?)(?:\([0-9a-f:]+\))? FOUND$"
)
_FOUND = re.compile(r"^(/.+?): (\S+) FOUND$")
_MOVED = re.compile(r"^(?:/.+?): (?:moved to|copied to|Removed)")


def find(notes: Notes) -> AntivirusProduct | None:
    host = notes.host
    program = next((name for name in _PROGRAMS if host.find_program(name)), None)
    if program is None:
        return None
    running = list(processes(host))
    notes.used("/proc/*/cmdline")
    result = notes.run([program, "--version"], what="version of ClamAV", timeout=60)
    settings = _settings(notes)
    folder = next((value for name, value in settings if name == "DatabaseDirectory"), DATABASE)
    version, built = _definitions(notes, folder)
    runs_now = runs(host, running, "clamd")
    service = next((name for name in SERVICES if _is_service(notes, name)), "")
    return AntivirusProduct(
        name=NAME,
        version=parse_version(result.stdout) if result else "",
        running=runs_now,
        real_time=runs(host, running, "clamonacc"),
        definitions_version=version,
        definitions_at=built,
        last_scan_at=_last_scan(notes),
        enabled=_enabled(notes, service) if service else None,
        service=service,
        exclusions=tuple(value for name, value in settings if name in ("ExcludePath", "OnAccessExcludePath"))[
            :MOST_EXCLUSIONS
        ]
        if settings
        else None,
        detections=tuple(_detections(notes))[:MOST_DETECTIONS],
        status="no daemon is installed: it scans only when called" if runs_now is False and not service else "",
    )


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


def parse_settings(text: str) -> list[tuple[str, str]]:
    """``Name value`` lines of clamd.conf, comments left out; a name may come several times."""
    found = []
    for line in text.splitlines():
        name, _, value = line.strip().partition(" ")
        if name and not name.startswith("#") and name != "Example":
            found.append((name, value.strip().strip('"')))
    return found


def parse_log(text: str) -> list[tuple[str, str, datetime | None]]:
    """Path, signature and local time (None: undated) of what a log of clamd, clamonacc or clamscan found, in order.

    A file that clamscan moved away or removed is left out: that is done with.
    """
    found: list[tuple[str, str, datetime | None]] = []
    for line in text.splitlines():
        if match := _FOUND_DATED.match(line):
            found.append((match[2] or "", match[3], datetime.strptime(match[1], "%a %b %d %H:%M:%S %Y")))  # noqa: DTZ007
        elif match := _FOUND.match(line):
            found.append((match[1], match[2], None))
        elif _MOVED.match(line):
            path = line.partition(": ")[0]
            found = [each for each in found if each[0] != path]
    return found


def _settings(notes: Notes) -> list[tuple[str, str]]:
    for path in SETTINGS:
        text = notes.read(path)
        if text is not None:
            return parse_settings(text)
    return []


def _definitions(notes: Notes, folder: str) -> tuple[str, datetime | None]:
    newest: tuple[str, datetime] | None = None
    for path in [path for kind in ("cvd", "cld") for path in notes.host.glob(f"{folder}/*.{kind}")]:
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
    if newest is not None:
        return newest
    own = [path for kind in _OWN for path in notes.host.glob(f"{folder}/*.{kind}")]
    # Signatures of one's own say nothing of their age: the time of the file is that of a copy.
    notes.gap(
        "antivirus definitions", f"no database of ClamAV's own in {folder}" if own else f"no database in {folder}"
    )
    return ("own signatures only" if own else ""), None


def _last_scan(notes: Notes) -> datetime | None:
    ends = []
    for path, text in _logs(notes, "scans"):
        end = parse_scan_end(text)
        if end is not None:
            notes.used(path)
            ends.append(notes.host.local_to_utc(end))
    return max(ends, default=None)


def _logs(notes: Notes, what: str) -> list[tuple[str, str]]:
    found = []
    for path in notes.host.glob(LOGS):
        try:
            size = notes.host.status(path).size
            tail = notes.host.read_bytes(path, offset=max(0, size - _LOG_TAIL_BYTES)).decode(errors="replace")
        except HostError as error:
            notes.gap(f"{what} in {path}", error.why)
            continue
        notes.used(path)
        found.append((path, tail))
    return found


def _detections(notes: Notes) -> list[Detection]:
    found: dict[tuple[str, str], Detection] = {}
    for _, text in _logs(notes, "detections"):
        for path, name, local in parse_log(text):
            at = notes.host.local_to_utc(local) if local is not None else None
            # A file that is gone was dealt with, by whomever.
            gone = bool(path) and not notes.host.glob(_literal(path))
            found[path, name] = Detection(
                name=name, path=path, at=at, action="gone" if gone else "found", handled=gone if path else None
            )
    return sorted(found.values(), key=lambda each: each.at.timestamp() if each.at else 0.0, reverse=True)


def _literal(path: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", path)


def _is_service(notes: Notes, name: str) -> bool:
    paths = (f"/etc/init.d/{name}", f"/lib/systemd/system/{name}.service", f"/usr/lib/systemd/system/{name}.service",
             f"/etc/systemd/system/{name}.service")  # fmt: skip
    return any(notes.host.glob(path) for path in paths)


def _enabled(notes: Notes, name: str) -> bool:
    wants = notes.host.glob(f"/etc/systemd/system/*.wants/{name}.service")
    return bool(wants or notes.host.glob(f"/etc/rc[2-5].d/S[0-9][0-9]{name}"))
