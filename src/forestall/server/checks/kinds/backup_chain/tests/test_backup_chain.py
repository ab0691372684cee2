"""Backup chains: what an incremental builds on, locks that were left, wrong clocks."""

from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, ago, judged, known_with
from forestall.wire.facts import BackupLock, BackupRepository, Backups, BackupSnapshot, BackupWarning


def chain(**fields):
    history = (BackupSnapshot(id="a", at=ago(hours=3)),)
    repository = BackupRepository(**{"name": "nightly", "tool": "tar", "location": "/b", "history": history, **fields})
    return judged("backup_chain", known_with(Backups(repositories=(repository,))))["nightly"]


def test_a_chain_without_its_full_backup_fails():
    result = chain(chain_ok=False, chain_detail="incr-2.tar is incremental, and no full archive is left")
    assert result.status is FAIL
    assert "incr-2.tar is incremental" in result.reason
    assert chain(chain_ok=True, chain_detail="full-1.tar and 1 incremental ones after it").status is PASS
    assert chain().status is PASS


def test_a_lock_whose_process_is_gone_blocks_the_next_run():
    left = BackupLock(who="process 4711 on web-01", since=ago(hours=30), exclusive=True, stale=True)
    result = chain(locks=(left,))
    assert (result.status, result.value) == (FAIL, 1)
    assert "still locked by process 4711 on web-01 for 30 h" in result.reason
    shared = BackupLock(who="process 4711 on web-01", since=ago(hours=30), stale=True)
    assert chain(locks=(shared,)).status is WARN


def test_a_running_backup_holds_a_lock_and_one_of_a_day_is_asked_about():
    assert chain(locks=(BackupLock(who="process 1 on web-01", since=ago(hours=1), stale=False),)).status is PASS
    result = chain(locks=(BackupLock(who="process 1 on db-01", since=ago(hours=25)),))
    assert result.status is WARN
    assert "does that still run?" in result.reason


def test_a_snapshot_from_the_future_is_a_wrong_clock():
    wrong = BackupWarning(kind="clock", detail="is from the future: 2027-01-01 02:00 UTC", snapshot="f0")
    result = chain(warnings=(wrong,))
    assert result.status is FAIL
    assert "snapshot f0 of nightly (tar) is from the future" in result.reason


def test_what_could_not_be_opened_is_unknown():
    assert chain(history=(), unknown_why="password needed").status is UNKNOWN
