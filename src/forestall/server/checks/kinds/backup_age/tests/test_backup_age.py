"""Backups: a day, two hours of grace, and the last run."""

from forestall.server.checks.result import Risk
from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, ago, judged, known_with
from forestall.wire.facts import BackupJob, BackupRepository, Backups, Gap


def repository(**fields) -> BackupRepository:
    return BackupRepository(**{"name": "nightly", "tool": "restic", "location": "/backup/nightly", **fields})


def backups(*repositories, tools=(), gaps=(), previous=None, **policy):
    known = known_with(Backups(repositories=repositories, tools=tools, gaps=gaps))
    return judged("backup_age", known, previous=previous, **policy)


def test_no_backup_at_all_protects_nothing():
    result = backups(tools=("restic",))[""]
    assert (result.status, result.risk) == (FAIL, Risk.HIGH)
    assert "Nothing protects this device" in result.reason
    assert "restic" in result.reason


def test_no_backup_found_where_not_all_could_be_seen_is_unknown():
    result = backups(gaps=(Gap(what="repositories in /root", why="needs root"),))[""]
    assert result.status is UNKNOWN
    assert "needs root" in result.reason


def test_age_counts_24_hours_and_two_of_grace():
    assert [backups(repository(last_success_at=ago(hours=h)))["nightly"].status for h in (1, 23.9, 24, 25.9, 26)] == [
        PASS, PASS, WARN, WARN, FAIL,
    ]  # fmt: skip
    assert "30 h old" in backups(repository(last_success_at=ago(hours=30)))["nightly"].reason


def test_a_failed_last_run_fails_however_young_the_last_good_one_is():
    result = backups(
        repository(
            last_success_at=ago(hours=3),
            last_run_at=ago(hours=1),
            last_run_ok=False,
            last_run_detail="it is locked",
        )
    )["nightly"]
    assert result.status is FAIL
    assert "failed on 2026-11-23 08:00 UTC: it is locked. The last good backup is 3 h old" in result.reason


def test_a_failure_before_the_last_success_is_over():
    run = repository(last_success_at=ago(hours=1), last_run_at=ago(hours=3), last_run_ok=False)
    assert backups(run)["nightly"].status is PASS


def test_a_repository_that_cannot_be_read_is_unknown():
    result = backups(repository(unknown_why="password needed"))["nightly"]
    assert result.status is UNKNOWN
    assert "password needed" in result.reason


def test_a_repository_without_any_backup_fails():
    assert "never completed" in backups(repository())["nightly"].reason
    assert backups(repository())["nightly"].status is FAIL


def test_a_backup_from_the_future_is_a_wrong_clock_and_does_not_pass():
    assert backups(repository(last_success_at=ago(hours=-5)))["nightly"].status is UNKNOWN


def test_the_first_backup_ends_the_complaint_that_there_is_none():
    results = backups(repository(last_success_at=ago(hours=1)), previous={"": FAIL})
    assert {target: result.status for target, result in results.items()} == {"": PASS, "nightly": PASS}


def test_protected_in_another_way_by_policy():
    assert backups(required=False)[""].status is PASS


def own(**fields) -> BackupJob:
    return BackupJob(**{"name": "forestall", "tool": "forestall", "location": "/srv/backups", **fields})


def with_own(job, *repositories, **policy):
    return judged("backup_age", known_with(Backups(repositories=repositories, jobs=(job,))), **policy)


def test_forestalls_own_backup_is_judged_like_any_other_and_protects_only_itself():
    results = with_own(own(last_success_at=ago(hours=3), last_run_at=ago(hours=3), last_run_ok=True, snapshots=7))
    assert {target: one.status for target, one in results.items()} == {"": FAIL, "forestall": PASS}
    assert "Nothing protects this device" in results[""].reason
    assert results["forestall"].reason == (
        "Forestall's own backup: the last good backup is 3 h old (2026-11-23 06:00 UTC); 7 kept."
    )
    assert with_own(own(last_success_at=ago(hours=30)), required=False)["forestall"].status is FAIL


def test_forestalls_own_backup_that_failed_says_why():
    failed = own(last_success_at=ago(hours=20), last_run_at=ago(hours=1), last_run_ok=False, last_run_detail="no room")
    result = with_own(failed, repository(last_success_at=ago(hours=1)))["forestall"]
    assert result.status is FAIL
    assert "failed on 2026-11-23 08:00 UTC: no room" in result.reason


def test_a_new_installation_is_not_blamed_for_the_backup_that_is_not_due_yet():
    assert "forestall" not in with_own(own(first_due_at=ago(minutes=-5)))
    assert "forestall" not in with_own(own(first_due_at=ago(minutes=20), last_run_at=ago(minutes=20)))
    assert with_own(own(first_due_at=ago(hours=2)))["forestall"].status is FAIL
    assert with_own(own(unknown_why="needs root", first_due_at=ago(hours=-1)))["forestall"].status is UNKNOWN


def test_a_run_that_has_not_come_is_missed_long_before_a_day_is_over():
    def hourly(**fields):
        return backups(repository(name="hourly", **fields))["hourly"]

    result = hourly(last_success_at=ago(hours=5), last_due_at=ago(hours=3))
    assert result.status is FAIL
    assert "the run due on 2026-11-23 06:00 UTC has not come; the last good backup is 5 h old" in result.reason
    early = hourly(last_success_at=ago(hours=3, minutes=2), last_due_at=ago(hours=3), last_run_seconds=90.0)
    assert early.status is PASS
    assert early.reason.endswith("the last run took 90 s.")
    assert hourly(last_success_at=ago(hours=2), last_due_at=ago(hours=1)).status is PASS
