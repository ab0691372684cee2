"""What a system's backups and proofs are worth at a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forestall.server.checks.result import Status
from forestall.server.recovery.matching import Backup, Cover, Holding, Wanted, match, same_host
from forestall.server.recovery.rules import Shown, Terms, judge, surviving
from forestall.trust.proofs import PROOF_LEVELS, at_least

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
WEB, NAS = UUID(int=1), UUID(int=2)
FOLDER = Wanted(WEB, ("web-01.acme.example", "web-01"), "folder", "/srv/data")
TERMS = Terms(
    rpo=timedelta(hours=26), rto=timedelta(hours=4), retention=timedelta(0), copies=2, off_site=True, offline=True,
    level="sample", every=timedelta(days=90), created_at=NOW - timedelta(days=400),
)  # fmt: skip


def holding(device: UUID = WEB, **said) -> Holding:
    known = {
        "name": "nightly", "tool": "restic", "location": "/backup", "told": True, "protects": ("/srv",),
        "last_success_at": NOW - timedelta(hours=5), "last_run_ok": True, "remote": True, "immutable": True,
        "offline": False, "size_bytes": 1_000_000,
    }  # fmt: skip
    return Holding(device, "web-01", Backup(**{**known, **said}), NOW - timedelta(days=300), NOW - timedelta(hours=1))


def shown(level="sample", *, days: float = 10, ok=True, device=WEB, backup="nightly", seconds=60.0, **said) -> Shown:
    return Shown(
        level=level, ok=ok, at=NOW - timedelta(days=days), source="signed", device=device, backup=backup,
        seconds=seconds, **{"bytes": 1_000_000, **said},
    )  # fmt: skip


def codes(judged) -> list[str]:
    return [gap.code for gap in judged.gaps]


# --- what holds what ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protects", "cover"),
    [
        (("/srv",), Cover.WHOLE),
        (("/srv/data",), Cover.WHOLE),
        (("/srv/data/",), Cover.WHOLE),
        (("/",), Cover.WHOLE),
        (("/srv/data/mail", "/etc"), Cover.PART),
        (("/srv/database",), Cover.NONE),
        (("/etc",), Cover.NONE),
        (("postgresql:shop",), Cover.NONE),
        (("vm:web-01",), Cover.WHOLE),
        (("vm:web-010",), Cover.NONE),
        ((), Cover.UNSAID),
    ],
)
def test_a_folder_is_looked_for_in_the_paths_of_a_backup(protects, cover) -> None:
    assert match(FOLDER, holding(protects=protects)).cover is cover


@pytest.mark.parametrize(
    ("tool", "protects", "cover"),
    [
        ("pg_dump", ("postgresql:shop",), Cover.WHOLE),
        ("pg_basebackup", ("postgres:*",), Cover.WHOLE),
        ("pg_dump", ("postgresql:blog",), Cover.NONE),
        ("pg_dump", (), Cover.UNSAID),
        ("mariadb_dump", (), Cover.NONE),
        ("mariadb_dump", ("mysql:shop",), Cover.NONE),
        ("restic", ("/",), Cover.PART),
        ("restic", ("/var/lib/postgresql/15",), Cover.NONE),
        ("restic", ("/var",), Cover.PART),
        ("btrfs", ("/var",), Cover.WHOLE),
        ("proxmox", ("vm:web-01",), Cover.WHOLE),
    ],
)
def test_a_database_is_held_by_its_dump_and_never_by_the_files_of_a_running_one(tool, protects, cover) -> None:
    wanted = Wanted(WEB, ("web-01",), "database", "postgresql:shop")
    assert match(wanted, holding(tool=tool, protects=protects)).cover is cover


def test_windows_paths_do_not_tell_case_apart() -> None:
    wanted = Wanted(WEB, ("files",), "folder", r"C:\Data\Mail")
    assert match(wanted, holding(protects=(r"c:\data",))).cover is Cover.WHOLE
    assert match(wanted, holding(protects=("C:",))).cover is Cover.WHOLE
    assert match(wanted, holding(protects=("D:",))).cover is Cover.NONE
    assert match(wanted, holding(protects=("/",))).cover is Cover.NONE


def test_a_backup_of_another_machine_holds_this_one_only_when_it_names_it() -> None:
    assert match(FOLDER, holding(NAS, protects=("/srv",))).cover is Cover.NONE
    assert match(FOLDER, holding(NAS, protects=("/srv",), hosts=("web-01",))).cover is Cover.WHOLE
    assert match(FOLDER, holding(NAS, protects=("/srv",), hosts=("db-01",))).cover is Cover.NONE
    # And what this machine keeps of another is not its own.
    assert match(FOLDER, holding(WEB, protects=("/srv",), hosts=("db-01",))).cover is Cover.NONE


def test_a_person_who_names_a_backup_is_believed_and_nothing_else_counts_then() -> None:
    wanted = Wanted(WEB, ("web-01",), "machine", named=frozenset({(NAS, "tapes")}))
    assert match(wanted, holding(NAS, name="tapes", protects=())).cover is Cover.WHOLE
    assert match(wanted, holding(WEB, protects=("/",))).cover is Cover.NONE


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("web-01", "WEB-01.acme.example", True),
        ("web-01.acme.example", "web-01.bolt.example", False),
        ("web-1", "web-10", False),
        ("", "", False),
    ],
)
def test_names_of_one_machine(one, other, same) -> None:
    assert same_host(one, other) is same is same_host(other, one)


PATHS = st.lists(st.sampled_from(["srv", "data", "mail", "etc", "DATA", "a b"]), max_size=4).map(
    lambda names: "/" + "/".join(names)
)


@given(path=PATHS, folder=PATHS)
def test_what_holds_a_folder_holds_all_in_it_and_nothing_beside_it(path, folder) -> None:
    found = match(Wanted(WEB, ("web-01",), "folder", path), holding(protects=(folder,))).cover
    inside = path == folder or folder == "/" or path.startswith(f"{folder}/")
    around = folder.startswith(f"{path}/") or (path == "/" and folder != "/")
    assert found is (Cover.WHOLE if inside else Cover.PART if around else Cover.NONE)


# --- how a system stands ------------------------------------------------------------------------------------------


def test_all_is_well_only_with_a_fresh_backup_and_a_fresh_restore() -> None:
    judged = judge(FOLDER, TERMS, [holding()], [shown()], NOW)
    assert judged.status is Status.PASS
    assert judged.bring_back == "yes"
    assert judged.why == (
        "Sample files were restored and compared 10 days ago; its newest backup is 5 h old (objective 26 h)."
    )
    assert (judged.level, judged.copies, judged.off_site, judged.offline) == ("sample", 2, True, True)


def test_what_no_job_covers_fails_and_says_so() -> None:
    judged = judge(FOLDER, TERMS, [holding(protects=("/etc",))], [], NOW)
    assert (judged.status, judged.bring_back, judged.covered) == (Status.FAIL, "no", False)
    assert codes(judged) == ["no_backup"]
    assert judged.test_due_at is None


def test_a_backup_that_does_not_say_what_is_in_it_is_unknown_and_never_pass() -> None:
    judged = judge(FOLDER, TERMS, [holding(protects=())], [shown()], NOW)
    assert (judged.status, judged.bring_back) == (Status.UNKNOWN, "no")
    assert codes(judged) == ["unsaid"]


@pytest.mark.parametrize(
    ("hours", "status"), [(26, Status.PASS), (26.5, Status.WARN), (28.6, Status.WARN), (28.7, Status.FAIL)]
)
def test_age_against_the_recovery_point_objective(hours, status) -> None:
    old = holding(last_success_at=NOW - timedelta(hours=hours))
    assert judge(FOLDER, TERMS, [old], [shown()], NOW).status is status


def test_the_newest_of_several_backups_counts_and_the_others_failures_only_warn() -> None:
    broken = holding(name="old", location="/old", chain_ok=False, last_success_at=NOW - timedelta(days=9))
    judged = judge(FOLDER, TERMS, [broken, holding()], [shown()], NOW)
    assert judged.status is Status.WARN
    assert codes(judged) == ["chain"]
    assert judge(FOLDER, TERMS, [broken], [shown(backup="old")], NOW).status is Status.FAIL


def test_a_clock_that_is_wrong_is_not_a_fresh_backup() -> None:
    ahead = holding(last_success_at=NOW + timedelta(days=3))
    judged = judge(FOLDER, TERMS, [ahead], [shown()], NOW)
    assert judged.status is Status.UNKNOWN
    assert judged.backup_at is None


def test_a_silent_device_is_stale() -> None:
    quiet = Holding(WEB, "web-01", holding().backup, NOW - timedelta(days=300), NOW - timedelta(days=2))
    assert judge(FOLDER, TERMS, [quiet], [shown()], NOW).status is Status.STALE


def test_a_proof_counts_for_its_level_and_then_falls_to_what_is_newer() -> None:
    proofs = [shown("whole", days=89), shown("integrity", days=3)]
    assert judge(FOLDER, TERMS, [holding()], proofs, NOW).level == "whole"
    later = NOW + timedelta(days=2)
    fresh = holding(last_success_at=later - timedelta(hours=2))
    fresh = Holding(WEB, "web-01", fresh.backup, fresh.first_seen_at, later)
    judged = judge(FOLDER, TERMS, [fresh], proofs, later)
    assert judged.level == "integrity"
    assert judged.status is Status.FAIL
    assert judged.why == (
        "Its proof at level sample lapsed on 2026-11-24: now only that the repository was checked is shown."
    )
    assert judged.verified is not None
    assert judged.verified.level == "whole"
    assert [rung.state for rung in judged.rungs] == ["proved", "proved", "lapsed", "lapsed", "never"]


def test_a_restore_that_failed_takes_away_what_older_ones_showed() -> None:
    judged = judge(FOLDER, TERMS, [holding()], [shown(days=30), shown(days=2, ok=False, detail="2 files differ")], NOW)
    assert judged.status is Status.FAIL
    assert judged.bring_back == "no"
    assert judged.why == "The proof of nightly at level sample failed on 2026-11-21 09:00 UTC: 2 files differ."
    again = judge(FOLDER, TERMS, [holding()], [shown(days=2, ok=False), shown(days=1)], NOW)
    assert again.status is Status.PASS


def test_a_failure_of_one_backup_says_nothing_of_another() -> None:
    second = holding(NAS, name="tapes", location="nas:/tapes", hosts=("web-01",))
    proofs = [shown(days=2, ok=False), shown(device=NAS, backup="tapes", days=40)]
    judged = judge(FOLDER, TERMS, [holding(), second], proofs, NOW)
    assert (judged.status, judged.bring_back) == (Status.WARN, "yes")


def test_recovery_time_is_measured_by_a_whole_restore_and_else_worked_out() -> None:
    slow = judge(FOLDER, TERMS, [holding()], [shown("whole", seconds=5 * 3600)], NOW)
    assert slow.status is Status.FAIL
    assert slow.why == "Bringing it back took 5 h on 2026-11-13; the objective is 4 h."
    guessed = judge(FOLDER, TERMS, [holding(size_bytes=1_000_000_000)], [shown(seconds=30)], NOW)
    assert guessed.recovery is not None
    assert (guessed.recovery.measured, guessed.recovery.seconds) == (False, 30_000)
    assert guessed.status is Status.WARN
    unknown = judge(FOLDER, TERMS, [holding(size_bytes=None)], [shown(seconds=30)], NOW)
    assert (unknown.status, codes(unknown)) == (Status.UNKNOWN, ["time_unknown"])


def test_three_two_one() -> None:
    here = holding(remote=False, immutable=False, offline=False)
    judged = judge(FOLDER, TERMS, [here], [shown()], NOW)
    assert set(codes(judged)) == {"off_site", "offline"}
    assert judged.status is Status.FAIL
    unknown = judge(FOLDER, TERMS, [holding(remote=None, immutable=None, offline=None)], [shown()], NOW)
    assert unknown.status is Status.UNKNOWN
    three = Terms(**{name: getattr(TERMS, name) for name in TERMS.__slots__} | {"copies": 3})
    assert codes(judge(FOLDER, three, [holding()], [shown()], NOW)) == ["copies"]
    second = holding(name="tapes", location="/tapes", offline=True)
    assert judge(FOLDER, three, [holding(), second], [shown()], NOW).status is Status.PASS


def test_a_proof_that_is_about_to_lapse_warns_and_its_test_is_due_before() -> None:
    judged = judge(FOLDER, TERMS, [holding()], [shown(days=84)], NOW)
    assert (judged.status, codes(judged)) == (Status.WARN, ["lapsing"])
    assert judged.test_due_at == NOW - timedelta(days=84) + timedelta(days=76)


SHOWN = st.builds(
    shown,
    level=st.sampled_from(PROOF_LEVELS),
    days=st.integers(0, 400).map(float),
    ok=st.booleans(),
    backup=st.sampled_from(["nightly", "tapes"]),
)
MANY = st.lists(SHOWN, max_size=8)


@settings(max_examples=150)
@given(proofs=MANY, days=st.integers(0, 200))
def test_without_anything_new_a_system_never_gets_better_with_time(proofs, days) -> None:
    backups = [holding(), holding(name="tapes", location="/tapes")]
    before = judge(FOLDER, TERMS, backups, proofs, NOW)
    after = judge(FOLDER, TERMS, backups, proofs, NOW + timedelta(days=days))
    rank = {None: -1, **{level: number for number, level in enumerate(PROOF_LEVELS)}}
    assert rank[after.level] <= rank[before.level]
    if before.lapses_at is None:
        assert after.lapses_at is None


@settings(max_examples=150)
@given(proofs=MANY)
def test_pass_means_a_good_proof_at_the_wanted_level_in_time_that_nothing_contradicts(proofs) -> None:
    judged = judge(FOLDER, TERMS, [holding(), holding(name="tapes", location="/tapes")], proofs, NOW)
    if judged.status is not Status.PASS:
        assert judged.gaps
        return
    good = [one for one in proofs if one.ok and at_least(one.level, "sample") and one.at + TERMS.every > NOW]
    assert any(
        not any(
            not bad.ok and bad.key == one.key and at_least(one.level, bad.level) and bad.at >= one.at for bad in proofs
        )
        for one in good
    )


@settings(max_examples=150)
@given(proofs=MANY, extra=SHOWN)
def test_one_more_failure_never_makes_a_system_better(proofs, extra) -> None:
    failure = shown(extra.level, days=(NOW - extra.at).days, ok=False, backup=extra.backup)
    backups = [holding(), holding(name="tapes", location="/tapes")]
    before, after = (judge(FOLDER, TERMS, backups, found, NOW) for found in (proofs, [*proofs, failure]))
    rank = {None: -1, **{level: number for number, level in enumerate(PROOF_LEVELS)}}
    assert rank[after.level] <= rank[before.level]
    order = {"yes": 2, "perhaps": 1, "no": 0}
    assert order[after.bring_back] <= order[before.bring_back]


@given(proofs=MANY)
def test_surviving_proofs_are_good_and_failures_are_those_not_made_good(proofs) -> None:
    standing, failed = surviving(proofs)
    assert all(one.ok for one in standing)
    assert not any(one.ok for one in failed)
    for fail in failed:
        assert not any(one.key == fail.key and at_least(one.level, fail.level) and one.at > fail.at for one in standing)
