"""File systems that count errors: quiet losses, until they turn read-only."""

import pytest

from forestall.server.checks.rules import PolicyError
from forestall.server.checks.tests.story import FAIL, PASS, WARN, ago, judged, known_with
from forestall.wire.facts import Volume, Volumes


def volume(**fields):
    one = Volume(**{"mountpoint": "/srv", "device": "/dev/sdb1", "filesystem": "ext4", **fields})
    return judged("file_system_errors", known_with(Volumes(volumes=(one,)))).get("/srv")


def test_no_errors_pass_and_who_does_not_count_is_not_judged():
    assert volume(errors=0).status is PASS
    assert volume(filesystem="vfat") is None


def test_new_errors_fail_and_old_ones_warn():
    result = volume(errors=3, last_error_at=ago(days=2))
    assert (result.status, result.value, result.unit) == (FAIL, 3, "errors")
    assert result.reason == "/srv (ext4 on /dev/sdb1): 3 errors counted, the last one 2026-11-21 09:00 UTC."
    assert volume(errors=3, last_error_at=ago(days=31)).status is WARN
    assert volume(errors=1).status is FAIL


def test_a_file_system_that_went_read_only_fails():
    assert volume(state="remounted read-only after errors").status is FAIL
    assert volume(errors=0, state="needs a check").status is WARN
    assert volume(errors=3, last_error_at=ago(days=31), state="remounted read-only after errors").status is FAIL


def test_a_policy_that_cannot_be_is_refused():
    with pytest.raises(PolicyError, match="recent_days"):
        judged("file_system_errors", known_with(Volumes()), recent_days=-1)
