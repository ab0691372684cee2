"""The ``time`` document: who keeps the clock, and whether it is kept.

The offset is rounded to 0.1 s: it moves with every reading, and less than that is nobody's concern here.
"""

from __future__ import annotations

import re

from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.processes import find, processes
from forestall.agent.collect.services import SYSTEMD_RUNS
from forestall.wire.facts import Time

DAEMONS = ("chronyd", "systemd-timesyncd", "ntpd", "phc2sys")
"""Programs that keep the clock (openntpd and ntpsec are called ntpd as well)."""


def collect(host: Host) -> Time:
    notes = Notes(host)
    daemon = _daemon(notes)
    synchronised: bool | None = None
    offset: float | None = None
    if daemon == "chronyd" and (result := notes.run(["chronyc", "-c", "-n", "tracking"], what="chrony's state")):
        synchronised, offset = parse_chronyc(result.stdout)
    elif daemon == "ntpd" and (result := notes.run(["ntpq", "-c", "rv 0 stratum,leap,offset"], what="ntpd's state")):
        synchronised, offset = parse_ntpq_rv(result.stdout)
    elif host.glob(SYSTEMD_RUNS):
        if result := notes.run(["timedatectl", "show", "--property=NTPSynchronized"]):
            synchronised = parse_timedatectl(result.stdout)
        if daemon == "systemd-timesyncd" and (result := notes.run(["timedatectl", "timesync-status"])):
            offset = parse_timesync_status(result.stdout)
    if synchronised is None:
        synchronised = host.kernel_clock_synchronised()
        if synchronised is None:
            notes.gap("whether the clock is synchronised", "neither a time service nor the kernel tells")
        else:
            notes.used("adjtimex(2)")
    return Time(
        daemon=daemon,
        synchronised=synchronised,
        offset_seconds=None if offset is None else round(offset, 1) + 0.0,
        sources=notes.sources,
        gaps=notes.gaps,
    )


def parse_chronyc(text: str) -> tuple[bool | None, float | None]:
    """Output of ``chronyc -c tracking``: whether synchronised, and the offset of the system clock in seconds.

    Comma-separated in the order of chronyc(1): reference id, its name, stratum, reference time, system time offset
    (positive: slow), …, leap status at the end.
    """
    fields = text.strip().split(",")
    if len(fields) < 14:
        return None, None
    return fields[-1] != "Not synchronised", -float(fields[4])


def parse_ntpq_rv(text: str) -> tuple[bool | None, float | None]:
    """Output of ``ntpq -c 'rv 0 stratum,leap,offset'``; ntpd counts offsets in milliseconds."""
    leap = re.search(r"\bleap=(\d+)", text)
    offset = re.search(r"\boffset=(-?[\d.]+)", text)
    # leap 11 (binary) is the alarm "not synchronised" (RFC 5905, 7.3).
    return (None if leap is None else leap[1] not in ("11", "3")), (float(offset[1]) / 1000 if offset else None)


def parse_timedatectl(text: str) -> bool | None:
    """``NTPSynchronized`` in the output of ``timedatectl show``."""
    found = re.search(r"^NTPSynchronized=(yes|no)$", text, re.MULTILINE)
    return found[1] == "yes" if found else None


def parse_timesync_status(text: str) -> float | None:
    """``Offset: +1.5ms`` in the output of ``timedatectl timesync-status``, in seconds."""
    found = re.search(r"^\s*Offset: (.+)$", text, re.MULTILINE)
    if found is None:
        return None
    units = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
    parts = re.findall(r"([\d.]+)(us|ms|s|min|h|d)\b", found[1])
    seconds = sum(float(number) * units[unit] for number, unit in parts)
    return -seconds if found[1].startswith("-") else seconds


def _daemon(notes: Notes) -> str:
    notes.used("/proc/*/cmdline")
    found = find(processes(notes.host), *DAEMONS)
    return found.program if found else ""
