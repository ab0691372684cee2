"""When a backup is due, what is kept, and how much room one needs. Decisions without I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from pathlib import Path

from forestall.wire.backup_status import BackupStatus

FIRST_AFTER = timedelta(minutes=10)
"""The first backup of an installation waits until its baseline is taken."""
AGAIN_AFTER = timedelta(hours=1)
"""A backup that failed is tried again after this."""
RESERVE_BYTES = 256 * 1024 * 1024
RESERVE_SHARE = 0.05
"""What a backup leaves free on a volume: this share of it, at most ``RESERVE_BYTES``. Above what intake needs to go on
taking check-ins (2 %, at most 64 MiB)."""

_NAME = re.compile(r"forestall-(\d{8}T\d{6}Z)\.tar\.gz\.age")


class SettingError(ValueError):
    """A setting that cannot be; names it and the bad value."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator may set."""

    folder: Path
    at: time | None = time(2, 30)
    """Time of day on the server's clock; None: never by itself."""
    keep_daily: int = 7
    keep_weekly: int = 4

    @classmethod
    def read(cls, environment: Mapping[str, str], *, default_folder: Path) -> Settings:
        """The settings in the environment. SettingError."""
        named = environment.get("FORESTALL_BACKUP_TO")
        folder = Path(named).expanduser() if named else default_folder
        if not folder.is_absolute():
            raise SettingError(f"FORESTALL_BACKUP_TO={named!r} is not an absolute path")
        return cls(
            folder=folder,
            at=_time_of_day(environment.get("FORESTALL_BACKUP_AT") or "02:30"),
            keep_daily=_count(environment, "FORESTALL_BACKUP_KEEP_DAILY", 7),
            keep_weekly=_count(environment, "FORESTALL_BACKUP_KEEP_WEEKLY", 4),
        )


def _time_of_day(text: str) -> time | None:
    if text == "off":
        return None
    if re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text) is None:
        raise SettingError(f"FORESTALL_BACKUP_AT={text!r} is neither a time such as 02:30 nor off")
    return time(int(text[:2]), int(text[3:]))


def _count(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if re.fullmatch(r"\d{1,4}", text) is None:
        raise SettingError(f"{name}={text!r} is not a number of backups")
    return int(text)


def file_name(made_at: datetime) -> str:
    """Name of the backup that holds the data of ``made_at``."""
    return f"forestall-{made_at.astimezone(UTC):%Y%m%dT%H%M%SZ}.tar.gz.age"


def made_at(name: str) -> datetime | None:
    """When the backup of that name was made; None: it is not the name of a backup."""
    found = _NAME.fullmatch(name)
    return datetime.strptime(found[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) if found else None


def next_due(status: BackupStatus, settings: Settings, *, installed_at: datetime, zone: tzinfo) -> datetime | None:
    """When the next scheduled backup is to begin; None: never. In the past: now."""
    if settings.at is None:
        return None
    if status.last_run_at is None:
        return installed_at + FIRST_AFTER
    if status.last_run_ok is not True:
        return status.last_run_at + AGAIN_AFTER
    local = status.last_run_at.astimezone(zone)
    due = datetime.combine(local.date(), settings.at, zone)
    # Counted by the calendar, not by 24 hours: the time of day holds on days that begin or end summer time.
    return due if due > local else datetime.combine(local.date() + timedelta(days=1), settings.at, zone)


def to_prune(names: Iterable[str], settings: Settings, *, zone: tzinfo) -> list[str]:
    """The backups that are no longer kept: all but the newest of each of the last days that have one, and the newest
    of each of the last weeks that have one. The newest of all is always kept. Other files are never named."""
    times = sorted(((at, name) for name in names if (at := made_at(name)) is not None), reverse=True)
    kept = {name for _, name in times[:1]}
    for count, label in ((settings.keep_daily, _day), (settings.keep_weekly, _week)):
        seen: dict[str, str] = {}
        for at, name in times:
            seen.setdefault(label(at.astimezone(zone)), name)
        kept.update(list(seen.values())[:count])
    return [name for _, name in times if name not in kept]


def _day(local: datetime) -> str:
    return f"{local:%Y-%m-%d}"


def _week(local: datetime) -> str:
    return "{}-{:02}".format(*local.isocalendar()[:2])


def reserve(total_bytes: int) -> int:
    """Bytes to leave free on a volume of that size."""
    return min(RESERVE_BYTES, int(total_bytes * RESERVE_SHARE))
