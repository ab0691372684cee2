"""Backup sizes: what shrank, what is empty, what grows."""

from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, ago, judged, known_with
from forestall.wire.facts import BackupRepository, Backups, BackupSnapshot, Gap

GB = 1_000_000_000


def sizes(*newest_first, tool="restic", gaps=(), **policy):
    history = tuple(
        each
        if isinstance(each, BackupSnapshot)
        else BackupSnapshot(id=f"s{number}", at=ago(days=number), size_bytes=each)
        for number, each in enumerate(newest_first)
    )
    repository = BackupRepository(name="nightly", tool=tool, location="/srv/backup", history=history)
    return judged("backup_size", known_with(Backups(repositories=(repository,), gaps=gaps)), **policy)


def test_half_of_it_gone_fails_a_quarter_warns():
    result = sizes(4 * GB, 10 * GB, 10 * GB, 9 * GB)["nightly"]
    assert result.status is FAIL
    assert "4 GB; the 3 before it 10 GB: smaller by 60 %" in result.reason
    assert sizes(7 * GB, 10 * GB)["nightly"].status is WARN
    assert sizes(9 * GB, 10 * GB)["nightly"].status is PASS
    assert sizes(7 * GB, 10 * GB, shrink_warn_percent=40)["nightly"].status is PASS


def test_an_empty_backup_fails_at_once():
    assert sizes(0)["nightly"].status is FAIL
    assert "is empty" in sizes(0, 500)["nightly"].reason
    no_file = BackupSnapshot(id="s0", at=ago(hours=1), size_bytes=400, files=0)
    assert "holds no file" in sizes(no_file)["nightly"].reason


def test_three_times_as_much_warns():
    assert sizes(30 * GB, 10 * GB, 10 * GB)["nightly"].status is WARN
    assert sizes(20 * GB, 10 * GB)["nightly"].status is PASS


def test_growth_is_told_as_a_trend():
    assert sizes(14 * GB, 13 * GB, 12 * GB, 11 * GB)["nightly"].reason.endswith("grows by 1 GB a day.")
    assert sizes(*[10 * GB] * 5)["nightly"].reason.endswith("steady.")


def test_small_backups_vary_and_the_first_has_nothing_before_it():
    assert sizes(100, 900_000)["nightly"].status is PASS
    assert "nothing to compare" in sizes(4 * GB)["nightly"].reason


def test_series_in_one_repository_are_compared_with_themselves():
    def of(group, days, size, kind=""):
        return BackupSnapshot(id=f"{group}{days}", at=ago(days=days), size_bytes=size, group=group, kind=kind)

    well = [of("etc", 0, 5_000_000), of("srv", 0.1, 9 * GB), of("etc", 1, 5_000_000), of("srv", 1.1, 9 * GB)]
    assert sizes(*well)["nightly"].status is PASS
    shrunk = [of("etc", 0, 5_000_000), of("srv", 0.1, GB), of("etc", 1, 5_000_000), of("srv", 1.1, 9 * GB)]
    result = sizes(*shrunk)["nightly"]
    assert result.status is FAIL
    assert "nightly (restic), srv," in result.reason
    ended = [of("etc", 0, 5_000_000), of("etc", 1, 5_000_000), of("old", 90, GB), of("old", 91, 9 * GB)]
    assert sizes(*ended)["nightly"].status is PASS
    tapes = [of("", 0, 2_000_000, "incremental"), of("", 1, 2_000_000, "incremental"), of("", 2, 9 * GB, "full")]
    assert sizes(*tapes)["nightly"].status is PASS


def test_sizes_that_could_not_be_read_are_unknown_and_tools_that_tell_none_are_not_judged():
    gap = Gap(what="sizes in /srv/backup", why="no answer within 60 s")
    assert sizes(None, gaps=(gap,))["nightly"].status is UNKNOWN
    assert sizes(None, tool="rsync") == {}
