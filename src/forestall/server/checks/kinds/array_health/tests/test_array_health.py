"""RAID and pools: degraded is one disk from losing data, however well it still works."""

import pytest

from forestall.server.checks.result import Risk
from forestall.server.checks.rules import PolicyError
from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, ago, judged, known_with
from forestall.wire.facts import Array, ArrayMember, Arrays, Controller, Gap


def arrays(*items, controllers=(), previous=None, gaps=(), **policy):
    known = known_with(Arrays(arrays=items, controllers=controllers, gaps=gaps))
    return judged("array_health", known, previous=previous, **policy)


def mirror(**fields):
    return Array(**{"name": "md0", "kind": "mdadm", "level": "raid1", "state": "ok", "size_bytes": 10**12, **fields})


GOOD, BAD = ArrayMember(name="sda1", state="active", ok=True), ArrayMember(name="sdb1", state="failed", ok=False)


def test_a_whole_mirror_passes():
    result = arrays(mirror(members=(GOOD, GOOD)))["md0"]
    assert (result.status, result.reason) == (PASS, "md0 (software RAID raid1 1 TB) is whole, 2 members.")


def test_a_degraded_mirror_is_critical_and_names_the_disk():
    result = arrays(mirror(state="degraded", members=(GOOD, BAD)))["md0"]
    assert (result.status, result.risk) == (FAIL, Risk.CRITICAL)
    assert "it is degraded: sdb1 (failed)" in result.reason
    assert arrays(mirror(state="failed", detail="insufficient replicas"))["md0"].reason.endswith(
        "it has failed (insufficient replicas)."
    )


def test_a_rebuild_warns_until_it_is_done():
    result = arrays(mirror(state="rebuilding", progress_percent=41.5))["md0"]
    assert result.status is WARN
    assert "41.5 % done" in result.reason


def test_a_pool_that_fills_up_and_one_with_damage():
    pool = Array(name="tank", kind="zfs", state="ok", used_percent=85)
    assert arrays(pool)["tank"].status is WARN
    assert (
        arrays(Array(name="tank", kind="zfs", state="ok", used_percent=79), previous={"tank": WARN})["tank"].status
        is WARN
    )
    damaged = Array(name="tank", kind="zfs", state="ok", errors=3)
    assert arrays(damaged)["tank"].status is FAIL
    assert "3 errors in its data" in arrays(damaged)["tank"].reason
    assert "Restore what is damaged" in arrays(damaged)["tank"].remedy


def test_a_thin_pool_counts_its_metadata_and_a_full_volume_group_is_meant_so():
    thin = Array(name="vg0/thin", kind="lvm", level="thin-pool", state="ok", used_percent=40, metadata_percent=95)
    assert arrays(thin)["vg0/thin"].status is FAIL
    group = Array(name="vg0", kind="lvm", state="ok", used_percent=100)
    assert arrays(group)["vg0"].status is PASS
    assert arrays(group, group_full=True)["vg0"].status is FAIL


def test_members_with_errors_and_an_old_scrub_warn():
    member = ArrayMember(name="sdc", state="online", ok=True, checksum_errors=4)
    assert "sdc (0 read, 0 write, 4 checksum)" in arrays(mirror(members=(member,)))["md0"].reason
    assert arrays(mirror(scrub_at=ago(days=50)))["md0"].status is WARN
    assert arrays(mirror(scrub_at=ago(days=40)))["md0"].status is PASS


def test_controllers_and_their_batteries():
    bad = Controller(name="c0", model="PERC H710P", ok=True, battery="Failed", battery_ok=False)
    assert arrays(controllers=(bad,))["controller c0"].status is WARN
    dead = Controller(name="c0", state="Needs Attention", ok=False)
    assert arrays(controllers=(dead,))["controller c0"].status is FAIL
    assert arrays(controllers=(Controller(name="c0"),))["controller c0"].status is UNKNOWN
    assert arrays(controllers=(Controller(name="c0", ok=True, state="Optimal"),))["controller c0"].status is PASS


def test_unknown_is_never_pass_and_nothing_there_is_nothing():
    assert arrays(mirror(state="unknown"))["md0"].status is UNKNOWN
    assert arrays(gaps=(Gap(what="LVM", why="needs root"),))[""].status is UNKNOWN
    assert arrays() == {}


def test_a_policy_that_cannot_be_is_refused():
    with pytest.raises(PolicyError, match="used_warn_percent"):
        arrays(used_warn_percent=95)
    with pytest.raises(PolicyError, match="scrub_days"):
        arrays(scrub_days=0)
