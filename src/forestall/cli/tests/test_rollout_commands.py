"""``forestall rollout``: look, start, watch, decide."""

from __future__ import annotations

import json

import pytest

from forestall.server.patching.models import Rollout, UpdateHold
from forestall.server.patching.tests.fleet import SYSTEM, Fleet


@pytest.fixture
def fleet(device) -> Fleet:
    return Fleet("Bolt", count=20)


@pytest.fixture
def said(forestall):
    def run(*arguments: str, answer: str = "") -> str:
        done = forestall("rollout", *arguments, answer=answer)
        assert done.exception is None, (done.exception, done.output)
        return done.output

    return run


def test_ada_looks_starts_and_follows_a_rollout(said, forestall, fleet) -> None:
    assert "No rollout yet" in said("list")
    seen = said("start", "--client", "Bolt", "--dry-run")
    assert "openssl 3.0.18-1" in seen
    assert not Rollout.objects.visible_to(SYSTEM).exists()
    assert json.loads(said("start", "--client", "Bolt", "--dry-run", "--json"))["devices"] == 20
    assert forestall("rollout", "start", "--client", "Bolt", answer="n\n").exception is not None
    said("start", "--client", "Bolt", "--name", "Monday", "--approve-each", "--pilot", "bolt-0007", answer="y\n")
    assert "Monday" in said()
    assert "1 of 1 needed" not in said("show", "Monday")
    rollout = Rollout.objects.visible_to(SYSTEM).get()
    assert [one.device.name for one in fleet.members(rollout, 1)] == ["bolt-0007"]
    fleet.ring_goes_well(rollout, 1)
    assert "1 of 1 needed" in said("show", str(rollout.pk)[:8])
    assert "Ring 2 is open" in said("promote", "Monday")
    assert "Paused" in said("pause", "Monday", "--reason", "stocktaking")
    assert "goes on" in said("resume", "Monday")
    assert "Ended" in said("cancel", "Monday", "--reason", "enough")
    assert "cancelled" in said("show", "Monday", "--watch")
    assert json.loads(said("show", "Monday", "--json"))["state"] == "cancelled"
    assert forestall("rollout", "show", "nothing").exception is not None


def test_a_halt_has_exit_code_1_and_its_hold_is_decided_about(said, forestall, fleet) -> None:
    rollout = fleet.start(name="Monday")
    [first] = fleet.members(rollout, 1)
    fleet.answer(fleet.take(first.device), state="failed", why="dpkg: error")
    fleet.tick()
    shown = forestall("rollout", "show", "Monday")
    assert shown.return_value == 1
    assert "dpkg: error" in shown.output
    hold = str(UpdateHold.objects.get().pk)
    assert "it went wrong elsewhere" in said("holds")
    assert forestall("rollout", "holds", "--override", hold, "--reason", "x").exception is not None
    assert "Bolt installs openssl" in said("holds", "--override", hold, "--client", "Bolt", "--reason", "urgent")
    assert "held no more" in said("holds", "--end", hold, "--reason", "a broken disk")
    assert "No update is held" in said("holds")
    assert json.loads(said("holds", "--ended", "--json"))[0]["overridden_by"][0]["name"] == "Bolt"
