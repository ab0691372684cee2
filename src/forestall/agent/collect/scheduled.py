"""The ``scheduled`` document: cron's tables and systemd's timers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.redaction import redact
from forestall.agent.collect.services import SYSTEMD_RUNS
from forestall.wire.facts import Scheduled, ScheduledJob

_PERIODS = ("hourly", "daily", "weekly", "monthly", "yearly")
_USER_TABLES = ("/var/spool/cron/crontabs", "/var/spool/cron")
"""Debian's folder of people's own tables, and Red Hat's."""
_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*\s*=")
_RUN_PARTS_NAME = re.compile(r"[A-Za-z0-9_-]+")
"""Names that run-parts(8) runs: none with a dot, such as .placeholder or script.dpkg-old."""
_CALENDAR = re.compile(r"OnCalendar=(.*?) ;")
_MONOTONIC = re.compile(r"(On\w+)USec=(.*?) ;")


def collect(host: Host) -> Scheduled:
    notes = Notes(host)
    jobs = [*_system_tables(notes), *_user_tables(notes), *_periodic(notes), *_timers(notes)]
    ordered = sorted(set(jobs), key=lambda job: (job.source, job.schedule, job.command, job.user))
    return Scheduled(jobs=tuple(ordered), sources=notes.sources, gaps=notes.gaps)


def parse_crontab(text: str, source: str, *, user: str = "") -> Iterator[ScheduledJob]:
    """Jobs of a crontab(5). With ``user`` it is that person's own table; without, each line names its user."""
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#") or _ASSIGNMENT.match(line):
            continue
        times = 1 if line.startswith("@") else 5
        fields = line.split(None, times if user else times + 1)
        if len(fields) <= (times if user else times + 1):
            continue  # cron takes no such line either
        yield ScheduledJob(
            source=source,
            schedule=" ".join(fields[:times]),
            command=redact(fields[-1]),
            user=user or fields[times],
        )


def parse_anacrontab(text: str) -> Iterator[ScheduledJob]:
    """Jobs of anacrontab(5)."""
    for raw in text.splitlines():
        line = raw.strip()
        fields = line.split(None, 3)
        if len(fields) == 4 and not line.startswith("#") and not _ASSIGNMENT.match(line):
            schedule = fields[0] if fields[0].startswith("@") else f"every {fields[0]} days"
            yield ScheduledJob(source="/etc/anacrontab", schedule=schedule, command=redact(fields[3]), user="root")


def parse_timers(text: str) -> Iterator[ScheduledJob]:
    """Timers in the output of ``systemctl show *.timer`` with our properties. Inactive ones run nothing."""
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = [line.partition("=")[::2] for line in block.splitlines()]
        unit = dict(lines)
        if unit.get("ActiveState") != "active" or not unit.get("Id"):
            continue
        schedules = [
            f"OnCalendar={each}"
            for name, value in lines
            if name == "TimersCalendar"
            for each in _CALENDAR.findall(value)
        ]
        schedules += [
            f"{each}={span}"
            for name, value in lines
            if name == "TimersMonotonic"
            for each, span in _MONOTONIC.findall(value)
        ]
        yield ScheduledJob(source=unit["Id"], schedule=" ".join(sorted(schedules)), command=unit.get("Unit", ""))


def _system_tables(notes: Notes) -> Iterator[ScheduledJob]:
    for path in ["/etc/crontab", *notes.host.glob("/etc/cron.d/*")]:
        name = path.rpartition("/")[2]
        if _RUN_PARTS_NAME.fullmatch(name) and notes.host.glob(path):
            yield from parse_crontab(notes.read(path, what=f"jobs in {path}") or "", path)
    anacrontab = notes.read("/etc/anacrontab")
    if anacrontab:
        yield from parse_anacrontab(anacrontab)


def _user_tables(notes: Notes) -> Iterator[ScheduledJob]:
    for folder in _USER_TABLES:
        if not notes.host.glob(folder):
            continue
        try:
            names = notes.host.list_dir(folder)
        except HostError as error:
            notes.gap("people's own crontabs", error.why)
            return
        notes.used(folder)
        for name in names:
            path = f"{folder}/{name}"
            if name == "crontabs":
                continue
            yield from parse_crontab(notes.read(path, what=f"crontab of {name}") or "", path, user=name)
        return


def _periodic(notes: Notes) -> Iterator[ScheduledJob]:
    for period in _PERIODS:
        paths = [
            path
            for path in notes.host.glob(f"/etc/cron.{period}/*")
            if _RUN_PARTS_NAME.fullmatch(path.rpartition("/")[2])
        ]
        if paths:
            notes.used(f"/etc/cron.{period}")
        for path in paths:
            yield ScheduledJob(source=f"/etc/cron.{period}", schedule=period, command=path, user="root")


def _timers(notes: Notes) -> Iterator[ScheduledJob]:
    if not notes.host.glob(SYSTEMD_RUNS):
        return
    argv = [
        "systemctl",
        "show",
        "*.timer",
        "--no-pager",
        "--property=Id,Unit,ActiveState,TimersCalendar,TimersMonotonic",
    ]
    result = notes.run(argv, what="systemd timers", source="systemctl show *.timer")
    if result is None:
        return
    if result.exit_code != 0:
        notes.gap("systemd timers", complaint(result))
    yield from parse_timers(result.stdout)
