"""Damaged backups never pass, healthy ones never fail. The whole campaign is a soak test; a sample runs every time."""

from __future__ import annotations

import shutil

import pytest
from bench.backup_faults import campaign, faults, line_of

PROGRAMS = ("restic", "borg", "rsync", "rsnapshot", "pg_dump", "mariadbd", "initdb", "tar")


def missing() -> list[str]:
    from forestall.agent.act.backups.servers import postgres_programs
    from forestall.agent.act.context import ActionFailed

    found = [name for name in PROGRAMS if name != "initdb" and not shutil.which(name, path="/usr/sbin:/usr/bin:/bin")]
    try:
        postgres_programs()
    except ActionFailed:
        found.append("initdb")
    return found


def require(outcomes) -> None:
    wrong = [line_of(outcome) for outcome in outcomes if not outcome.is_right or outcome.left_behind]
    assert not wrong, "\n".join(wrong)


def test_there_are_a_hundred_faults_and_each_has_its_level():
    found = faults()
    assert len(found) >= 100
    assert len({(fault.kind, fault.name) for fault in found}) == len(found)


@pytest.mark.skipif(bool(missing()), reason=f"not installed: {', '.join(missing())}")
def test_a_sample_of_damaged_backups_is_found_and_healthy_ones_pass():
    kinds = ("restic", "borg", "tar", "pg_dump", "mariadb_dump")
    require(campaign(healthy=len(kinds), seed=1, most=6, kinds=kinds))


@pytest.mark.soak
@pytest.mark.skipif(bool(missing()), reason=f"not installed: {', '.join(missing())}")
def test_every_fault_is_found_at_its_level_and_none_of_a_hundred_healthy_backups_fails():
    outcomes = campaign(healthy=100, seed=1)
    require(outcomes)
