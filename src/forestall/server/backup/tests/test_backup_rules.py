"""Daily at half past two, seven days and four weeks kept, and never on a full volume."""

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from forestall.server.backup.rules import SettingError, Settings, file_name, made_at, next_due, to_prune
from forestall.wire.backup_status import BackupStatus

BERLIN = ZoneInfo("Europe/Berlin")
FOLDER = Path("/srv/backups")
INSTALLED = datetime(2026, 11, 1, 12, tzinfo=UTC)


def due(settings=None, **status):
    return next_due(BackupStatus(**status), settings or Settings(FOLDER), installed_at=INSTALLED, zone=BERLIN)


def test_the_first_backup_comes_ten_minutes_after_the_installation():
    assert due() == INSTALLED + timedelta(minutes=10)


def test_then_daily_at_half_past_two_of_the_servers_clock_across_the_end_of_summer_time():
    ran = datetime(2026, 10, 24, 0, 30, tzinfo=UTC)  # 02:30 in summer
    assert due(last_run_at=ran, last_run_ok=True).astimezone(UTC) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    later = datetime(2026, 10, 25, 12, tzinfo=UTC)
    assert due(last_run_at=later, last_run_ok=True).astimezone(UTC) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_one_made_by_hand_at_noon_does_not_push_the_night_away():
    assert due(last_run_at=datetime(2026, 11, 3, 11, tzinfo=UTC), last_run_ok=True) == datetime(
        2026, 11, 4, 2, 30, tzinfo=BERLIN
    )


def test_a_failed_one_is_tried_again_after_an_hour_and_so_is_one_that_never_ended():
    at = datetime(2026, 11, 3, 1, 30, tzinfo=UTC)
    assert due(last_run_at=at, last_run_ok=False) == due(last_run_at=at) == at + timedelta(hours=1)


def test_switched_off():
    assert due(Settings(FOLDER, at=None)) is None


def test_seven_days_and_four_weeks_are_kept():
    nights = [datetime(2026, 11, 23, 1, 30, tzinfo=UTC) - timedelta(days=n) for n in range(60)]
    names = [file_name(at) for at in nights]
    gone = set(to_prune([*names, "notes.txt", "forestall-2026.age"], Settings(FOLDER), zone=BERLIN))
    kept = [made_at(name) for name in names if name not in gone]
    assert [at.day for at in kept[:7]] == [23, 22, 21, 20, 19, 18, 17]
    # The newest of this week and of the three before it: the 23rd is a Monday.
    assert [(at.month, at.day) for at in kept[7:]] == [(11, 15), (11, 8)]
    assert "notes.txt" not in gone


def test_several_a_day_count_as_one_day_and_the_newest_stays_even_if_none_is_to_be_kept():
    hours = [file_name(datetime(2026, 11, 23, hour, tzinfo=UTC)) for hour in range(5)]
    assert set(to_prune(hours, Settings(FOLDER), zone=UTC)) == set(hours[:4])
    assert set(to_prune(hours, Settings(FOLDER, keep_daily=0, keep_weekly=0), zone=UTC)) == set(hours[:4])


def test_settings_name_what_is_wrong():
    read = Settings.read({"FORESTALL_BACKUP_TO": "/mnt/nas", "FORESTALL_BACKUP_AT": "23:15"}, default_folder=FOLDER)
    assert (read.folder, read.at) == (Path("/mnt/nas"), time(23, 15))
    assert Settings.read({"FORESTALL_BACKUP_AT": "off"}, default_folder=FOLDER).at is None
    for name, value in (
        ("FORESTALL_BACKUP_AT", "25:00"),
        ("FORESTALL_BACKUP_AT", "0230"),
        ("FORESTALL_BACKUP_TO", "backups"),
        ("FORESTALL_BACKUP_KEEP_DAILY", "-1"),
        ("FORESTALL_BACKUP_KEEP_WEEKLY", "many"),
    ):
        with pytest.raises(SettingError, match=f"{name}={value!r}"):
            Settings.read({name: value}, default_folder=FOLDER)
