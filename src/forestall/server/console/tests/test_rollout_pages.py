"""The pages of rollouts: nothing, a start, a halt, a hold; and what 10,000 devices cost."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from forestall.server.patching.models import Rollout, UpdateHold
from forestall.server.patching.tests.fleet import SYSTEM, Fleet

SIGNED_IN_QUERIES = 5
QUERIES = {"list": 3, "show": 4}


@pytest.fixture
def acme(ada) -> Fleet:
    return Fleet()


def words(answer) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def test_with_no_rollout_the_page_teaches_what_one_is(ada):
    said = words(ada.get("/rollouts/"))
    assert "No rollout yet" in said
    assert "one device first, then to 1 %, 10 %, 50 % and all" in said


def test_ada_looks_at_the_rings_and_starts(ada, acme):
    seen = words(ada.get(f"/rollouts/new?client={acme.client.pk}&choose=security"))
    assert "openssl 3.0.18-1 to 20 devices" in seen
    assert "Start with acme-" in seen
    assert not Rollout.objects.visible_to(SYSTEM).exists()
    done = ada.post("/rollouts/new", {"client": acme.client.pk, "choose": "security", "name": "Monday"}, follow=True)
    said = words(done)
    assert "Ring 1 of 4 is under way : 0 of 20 devices touched" in said
    assert "When 1 of 1 device is healthy, each watched for 1 h, ring 2 opens: up to 5 devices" in said
    assert "Monday" in words(ada.get("/rollouts/"))


def test_what_cannot_be_started_is_said_in_place(ada, acme):
    said = words(ada.get(f"/rollouts/new?client={acme.client.pk}&choose=chosen&packages=vim"))
    assert "no update fits" in said
    assert ada.get("/rollouts/new?client=nobody").status_code == 404


def test_a_halt_is_told_with_its_cause_and_the_hold_is_decided_about(ada, acme):
    rollout = acme.start()
    [first] = acme.members(rollout, 1)
    acme.answer(acme.take(first.device), state="failed", why="dpkg: error")
    acme.tick()
    said = words(ada.get(f"/rollouts/{rollout.pk}/"))
    assert "Halted in ring 1 of 4" in said
    assert "dpkg: error" in said
    assert "it went wrong elsewhere" in words(ada.get("/rollouts/"))
    hold = UpdateHold.objects.get()
    refused = ada.post(f"/rollouts/{rollout.pk}/resume", {"reason": "its disk"}, follow=True)
    assert "is held for everyone" in words(refused)
    given = {"client": acme.client.pk, "hold": hold.pk, "reason": "urgent"}
    assert "installs openssl 3.0.18-1 all the same" in words(ada.post("/rollouts/holds/override", given, follow=True))
    assert "already" in words(ada.post("/rollouts/holds/override", given, follow=True))
    ended = ada.post(f"/rollouts/holds/{hold.pk}/end", {"reason": "a broken disk"}, follow=True)
    assert "held no more" in words(ended)
    assert "ended already" in words(ada.post(f"/rollouts/holds/{hold.pk}/end", {"reason": "again"}, follow=True))
    assert "It goes on" in words(ada.post(f"/rollouts/{rollout.pk}/resume", {"reason": "its disk"}, follow=True))


def test_pause_promote_and_end_by_hand(ada, acme):
    rollout = acme.start(terms={"promotion": "approval"})
    address = f"/rollouts/{rollout.pk}/"
    assert "is not ready" in words(ada.post(f"{address}promote", follow=True))
    assert "Paused" in words(ada.post(f"{address}pause", {"reason": "stocktaking"}, follow=True))
    assert "stocktaking" in words(ada.get(address))
    ada.post(f"{address}resume")
    acme.ring_goes_well(rollout, 1)
    assert "Open the next ring" in words(ada.get(address))
    assert "Ring 2 of 4 is under way" in words(ada.post(f"{address}promote", follow=True))
    assert "promoted by ada" in words(ada.get(address))
    assert "Ended in ring 2" in words(ada.post(f"{address}cancel", {"reason": "enough"}, follow=True))


def test_the_list_of_devices_is_filtered_and_paged_and_costs_few_queries(ada, acme):
    big = Fleet("Big", count=400)
    rollout = big.start()
    address = f"/rollouts/{rollout.pk}/"
    ada.get(address)
    with CaptureQueriesContext(connection) as asked:
        said = words(ada.get(address))
    assert len(asked) - SIGNED_IN_QUERIES == QUERIES["show"], [one["sql"][:160] for one in asked.captured_queries]
    assert "1–50 of 400" in said
    assert "1–50 of 200" in words(ada.get(f"{address}?ring=5"))
    assert "No device fits" in words(ada.get(f"{address}?state=failed"))
    with CaptureQueriesContext(connection) as asked:
        ada.get("/rollouts/")
    assert len(asked) - SIGNED_IN_QUERIES == QUERIES["list"], [one["sql"][:160] for one in asked.captured_queries]
