"""Backup tampering: traces of an attack, each with a result of its own."""

from forestall.server.checks.result import Risk
from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, ago, judged, known_with
from forestall.wire.facts import BackupRepository, Backups, BackupSnapshot, BackupWarning

MB = 1_000_000


def night(days, *, added=40 * MB, stored=14 * MB, new=5, changed=20, removed=2, files=1000, **others):
    return BackupSnapshot(
        id=f"s{days}", at=ago(days=days), added_bytes=added, stored_bytes=stored, new_files=new, changed_files=changed,
        removed_files=removed, files=files, **others,
    )  # fmt: skip


CALM = tuple(night(days) for days in range(1, 6))


def traces(*history, warnings=(), accepted=frozenset(), unknown_why="", **policy):
    repository = BackupRepository(
        name="nightly", tool="restic", location="/b", history=history, warnings=warnings, unknown_why=unknown_why
    )
    return judged("backup_tampering", known_with(Backups(repositories=(repository,)), accepted=accepted), **policy)


def test_calm_nights_pass():
    results = traces(night(0), *CALM)
    assert list(results) == ["nightly"]
    assert results["nightly"].status is PASS
    assert "no trace of an attack in 6 snapshots" in results["nightly"].reason


def test_new_data_that_can_no_longer_be_compressed_fails():
    results = traces(night(0, stored=40 * MB), *CALM)
    trace = results["nightly: entropy 2026-11-23"]
    assert (trace.status, trace.risk) == (FAIL, Risk.HIGH)
    assert "could be compressed to 100 % only, those before to 35 %" in trace.reason
    assert results["nightly"].status is PASS


def test_photos_never_could_be_compressed():
    photos = [night(days, stored=40 * MB) for days in range(6)]
    assert list(traces(*photos)) == ["nightly"]


def test_little_new_data_says_nothing():
    assert list(traces(night(0, added=1000, stored=1000), *CALM)) == ["nightly"]


def test_nearly_every_file_changed_warns():
    trace = traces(night(0, new=1000, changed=0, removed=1000), *CALM)["nightly: churn 2026-11-23"]
    assert (trace.status, trace.risk) == (WARN, Risk.MEDIUM)
    assert "1,000 files are new, 0 changed, 1,000 gone, of 1,000; usual are 2.7 %" in trace.reason
    assert list(traces(night(0, changed=600), *CALM, churn_percent=80)) == ["nightly"]


def test_the_first_snapshot_is_new_from_end_to_end():
    first = night(5, new=1000, changed=0, removed=0)
    assert list(traces(night(4), first)) == ["nightly"]


def test_snapshots_gone_against_the_rule_are_critical_until_somebody_accepts():
    gone = BackupWarning(kind="removed", detail="5 of 7 snapshots are gone at once", snapshot="a", at=ago(days=1))
    target = "nightly: snapshots gone 2026-11-22"
    trace = traces(night(0), *CALM, warnings=(gone,))[target]
    assert (trace.status, trace.risk) == (FAIL, Risk.CRITICAL)
    accepted = traces(night(0), *CALM, warnings=(gone,), accepted=frozenset({f"backup_tampering:{target}"}))
    assert accepted[target].status is PASS


def test_files_that_came_back_under_another_name_are_told_for_a_fortnight():
    renamed = BackupWarning(kind="encrypted_names", detail="600 files are gone and came back as NAME.locked",
                            snapshot="s0", at=ago(days=1))  # fmt: skip
    trace = traces(night(0), *CALM, warnings=(renamed,))["nightly: renamed files 2026-11-22"]
    assert (trace.status, trace.risk) == (FAIL, Risk.CRITICAL)
    old = BackupWarning(kind="encrypted_names", detail="…", snapshot="s0", at=ago(days=15))
    assert list(traces(night(0), *CALM, warnings=(old,))) == ["nightly"]


def test_what_could_not_be_opened_is_unknown():
    assert traces(unknown_why="password needed")["nightly"].status is UNKNOWN
