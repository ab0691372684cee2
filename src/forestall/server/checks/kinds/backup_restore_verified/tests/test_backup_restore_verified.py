"""A backup counts once it was restored: at least once a quarter, and Forestall's own each night."""

import pytest

from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, ago, judged, known_with
from forestall.wire.facts import BackupJob, BackupRepository, Backups


def repository(**fields) -> BackupRepository:
    return BackupRepository(name="nightly", tool="restic", location="/backup", last_success_at=ago(hours=3), **fields)


def own(**fields) -> BackupJob:
    return BackupJob(name="forestall", tool="forestall", location="/srv/backups", **fields)


def results(*repositories, jobs=(), **policy):
    known = known_with(Backups(repositories=repositories, jobs=jobs))
    return judged("backup_restore_verified", known, **policy)


def test_once_a_quarter():
    ages = [results(repository(restored_at=ago(days=d), restored_ok=True)) for d in (1, 79, 80, 89, 90)]
    assert [one["nightly"].status for one in ages] == [PASS, PASS, WARN, WARN, FAIL]
    assert ages[0]["nightly"].reason == "nightly (restic): last restored 1 day ago (2026-11-22 09:00 UTC)."


def test_forestalls_own_is_restored_as_it_is_made():
    said = [
        results(jobs=(own(last_success_at=ago(hours=2), restored_at=ago(days=d), restored_ok=True),))["forestall"]
        for d in (0.1, 1.9, 2, 4)
    ]
    assert [one.status for one in said] == [PASS, PASS, WARN, FAIL]
    never = results(jobs=(own(last_success_at=ago(hours=2)),))["forestall"]
    assert (never.status, never.reason) == (
        FAIL,
        "Forestall's own backup has never been restored to see that it works.",
    )


def test_one_that_could_not_be_restored_fails_and_says_why():
    job = own(restored_at=ago(hours=1), restored_ok=False, restored_detail="table people_person: 3 rows, 4 were saved")
    result = results(jobs=(job,))["forestall"]
    assert result.status is FAIL
    assert "could not be restored on 2026-11-23 08:00 UTC: table people_person" in result.reason


def test_where_nobody_speaks_of_restoring_nothing_is_said():
    assert results(repository()) == {}
    assert results() == {}
    assert results(jobs=(own(first_due_at=ago(minutes=-5)),)) == {}


def test_not_known_and_a_wrong_clock_do_not_pass():
    assert results(repository(restored_at=ago(days=1)))["nightly"].status is UNKNOWN
    assert results(repository(restored_at=ago(days=-1), restored_ok=True))["nightly"].status is UNKNOWN


def test_a_policy_that_cannot_be_names_its_setting():
    with pytest.raises(ValueError, match="own_warn_days: 9 must be above 0 and at most own_fail_days"):
        results(repository(), own_warn_days=9)
