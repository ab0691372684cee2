"""Inodes: a volume that takes no more files."""

from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, judged, known_with, series
from forestall.wire.facts import Volume, Volumes


def volume(**others) -> Volume:
    return Volume(
        **{"mountpoint": "/", "device": "/dev/sda1", "filesystem": "ext4", "total_inodes": 1_000_000, **others}
    )


def inodes(used, *volumes, previous=None):
    samples = {} if used is None else {"inodes.used_percent{volume=/}": series(used)}
    return judged("inodes", known_with(Volumes(volumes=volumes or (volume(),)), samples=samples), previous=previous)


def test_a_mail_queue_of_a_million_files_fails_and_says_what_is_left():
    result = inodes(97.5)["/"]
    assert result.status is FAIL
    assert "97.5 % of the inodes of / are used" in result.reason
    assert "room for about 25,000 more files" in result.reason


def test_thresholds_have_a_band():
    assert [inodes(used)["/"].status for used in (79, 80, 90)] == [PASS, WARN, FAIL]
    assert inodes(89, previous={"/": FAIL})["/"].status is FAIL
    assert inodes(87, previous={"/": FAIL})["/"].status is WARN


def test_a_file_system_without_a_fixed_number_has_none_to_run_out_of():
    assert inodes(50, volume(filesystem="btrfs", total_inodes=0)) == {}


def test_without_samples_it_is_unknown():
    assert inodes(None)["/"].status is UNKNOWN
