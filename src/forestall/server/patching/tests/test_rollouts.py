"""Rollouts as stories: Ada starts one, rings follow each other, a bad update stops, and Bolt never learns of Acme."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.core import serializers

from forestall.ledger.merkle import leaf_hash, root_of
from forestall.server.database.walls import wall_of
from forestall.server.evidence.models import Entry
from forestall.server.outbox.models import OutboxEvent
from forestall.server.patching import rollout_queries as queries
from forestall.server.patching import rollouts
from forestall.server.patching.models import Deployment, Rollout, RolloutDevice, RolloutRing, UpdateHold
from forestall.server.patching.rollouts import RolloutError
from forestall.server.patching.tests.fleet import OPENSSL, SYSTEM, Fleet
from forestall.server.people.scope import NotAllowedError, Permission, Scope
from forestall.server.runbooks.models import Job
from forestall.server.webhooks.subjects import subject_of

pytestmark = pytest.mark.django_db
QUICK = {"rings": [{"percent": 0}, {"percent": 10, "least": 5}, {"percent": 50}, {"percent": 100}]}


@pytest.fixture
def acme() -> Fleet:
    return Fleet()


def ada(fleet: Fleet) -> Scope:
    return Scope.at("ada", 1, [Permission.DEVICE_VIEW, Permission.PATCH_CHANGE], clients=[fleet.client.pk])


def fresh(rollout: Rollout) -> Rollout:
    return Rollout.objects.visible_to(SYSTEM).get(pk=rollout.pk)


def ring(rollout: Rollout, number: int) -> RolloutRing:
    return RolloutRing.objects.visible_to(SYSTEM).get(rollout=rollout, number=number)


def allowed(fleet: Fleet, device) -> tuple[bool, str]:
    manager, name, candidate = OPENSSL
    return tuple(
        rollouts.device_allowed(
            scope=SYSTEM, device_id=device.pk, manager=manager, name=name, candidate=candidate, now=fleet.now
        )
    )


# --- preview and start ---


def test_ada_sees_which_device_would_be_in_which_ring_before_she_starts(acme):
    pilot = acme.devices[7]
    seen = rollouts.rollout_preview(scope=ada(acme), client=acme.client, pilots=[pilot.pk], now=acme.now)
    assert [(cap.most, len(devices)) for cap, devices in seen.rings] == [(1, 1), (5, 4), (10, 5), (20, 10)]
    assert seen.rings[0][1] == [pilot]
    assert seen.updates == [OPENSSL]
    assert not Rollout.objects.visible_to(SYSTEM).exists()
    rollout = acme.start(scope=ada(acme), pilots=[pilot.pk])
    assert [one.device for one in acme.members(rollout, 1)] == [pilot]
    assert Deployment.objects.visible_to(SYSTEM).filter(rollout=rollout).count() == 20
    assert OutboxEvent.objects.filter(name="rollout.changed", subject=str(rollout.pk)).count() == 1


def test_what_is_excluded_or_without_a_policy_is_left_out_with_why(acme):
    Deployment.objects.visible_to(SYSTEM).filter(device=acme.devices[0]).update(
        state="skipped", why="breaks the till", skip_by="ada"
    )
    seen = rollouts.rollout_preview(scope=SYSTEM, client=acme.client, now=acme.now)
    assert [(device.name, why) for device, why in seen.left_out] == [("acme-0000", "breaks the till")]
    acme.client.patch_policies.all().delete()
    Deployment.objects.visible_to(SYSTEM).filter(device=acme.devices[0]).delete()
    with pytest.raises(RolloutError, match="no patch policy"):
        rollouts.rollout_preview(scope=SYSTEM, client=acme.client, now=acme.now)


def test_who_may_not_plan_there_or_everywhere_starts_nothing(acme):
    bolt = Fleet("Bolt", count=1)
    with pytest.raises(NotAllowedError):
        acme.start(scope=ada(bolt))
    with pytest.raises(NotAllowedError):
        acme.start(scope=ada(acme), client=None)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"choose": "some"}, "choose: 'some'"),
        ({"choose": "chosen"}, "packages: none"),
        ({"choose": "chosen", "packages": ["vim"]}, "no update fits"),
        ({"pilots": [uuid4()]}, "has nothing pending"),
        ({"terms": {"rings": []}}, "terms"),
    ],
)
def test_what_cannot_be_rolled_out_is_said(acme, said, why):
    with pytest.raises(ValueError, match=why):
        acme.start(**said)


def test_an_update_is_in_one_rollout_at_a_time(acme):
    acme.start()
    with pytest.raises(RolloutError, match="nothing is pending"):
        acme.start()


# --- rings follow each other ---


def test_only_the_open_ring_may_be_touched_and_the_rest_is_told_why(acme):
    rollout = acme.start(name="OpenSSL")
    [first] = acme.members(rollout, 1)
    assert allowed(acme, first.device) == (True, "")
    later = acme.members(rollout, 3)[0].device
    assert allowed(acme, later) == (False, "waits for ring 3 of rollout “OpenSSL”; ring 1 is under way")
    assert acme.take(later) is None
    assert RolloutDevice.objects.visible_to(SYSTEM).filter(touched_at__isnull=False).count() == 0


def test_healthy_rings_promote_by_themselves_to_the_end_and_never_beyond_their_caps(acme):
    rollout = acme.start()
    for number, cap in ((1, 1), (2, 5), (3, 10), (4, 20)):
        assert fresh(rollout).ring == number
        for device in acme.devices:  # every worker tries every device, all the time
            if acme.row(device).get().state == "planned":
                job = acme.take(device)
                if job is not None:
                    acme.answer(job)
        touched = RolloutDevice.objects.visible_to(SYSTEM).filter(touched_at__isnull=False).count()
        assert touched == cap == ring(rollout, number).cap
        acme.tick()
        assert fresh(rollout).ring == number, "it is watched first"
        acme.tick(hours=25)
    assert fresh(rollout).state == "finished"
    assert fresh(rollout).ended_at is not None
    entries = Entry.objects.visible_to(SYSTEM).filter(client=acme.client, kind="rollout:changed").order_by("index")
    said = [json.loads(entry.content)["payload"] for entry in entries]
    assert [one["what"] for one in said] == ["started", "promoted", "promoted", "promoted", "finished"]
    assert said[1]["results_root"] == ring(rollout, 1).results_root


def test_with_approval_each_healthy_ring_waits_for_a_person(acme):
    rollout = acme.start(terms={"promotion": "approval"})
    with pytest.raises(RolloutError, match="ring 1 is not ready"):
        rollouts.rollout_promote(scope=SYSTEM, rollout=rollout, now=acme.now)
    acme.ring_goes_well(rollout, 1)
    assert fresh(rollout).state == "awaiting_promotion"
    assert (fresh(rollout).ring, acme.take(acme.members(rollout, 2)[0].device)) == (1, None)
    rollouts.rollout_promote(scope=ada(acme), rollout=rollout, now=acme.now)
    assert (fresh(rollout).state, fresh(rollout).ring, ring(rollout, 1).promoted_by) == ("running", 2, "ada")


def test_a_device_that_comes_later_joins_the_last_ring_and_one_that_goes_is_left_out(acme):
    rollout = acme.start()
    late = Fleet("Late", count=1)
    device = late.devices[0]
    type(device).objects.visible_to(SYSTEM).filter(pk=device.pk).update(client=acme.client, site=acme.sites[0])
    Deployment.objects.visible_to(SYSTEM).filter(device=device).update(client=acme.client, site=acme.sites[0])
    gone = acme.members(rollout, 4)[0].device
    type(device).objects.visible_to(SYSTEM).filter(pk=gone.pk).update(
        status="revoked", revoked_at=acme.now, revoked_reason="sold"
    )
    acme.tick()
    assert RolloutDevice.objects.visible_to(SYSTEM).get(device=device).ring == 4
    assert [one.cap for one in rollout.rings.order_by("number")] == [1, 5, 10, 21]
    assert RolloutDevice.objects.visible_to(SYSTEM).get(device=gone).state == "left out"


def test_a_pilot_refused_by_a_precheck_makes_room_for_another(acme):
    rollout = acme.start()
    [first] = acme.members(rollout, 1)
    job = acme.take(first.device)
    acme.answer(job, state="blocked", why="Not fit to be updated: 80 MB free")
    acme.tick()
    states = {one.device: one.state for one in acme.members(rollout, 1)}
    assert states.pop(first.device) == "left out"
    assert list(states.values()) == ["waiting"]
    acme.install(*states)
    assert RolloutDevice.objects.visible_to(SYSTEM).filter(touched_at__isnull=False).count() == 1


# --- and stop ---


def test_a_failed_run_halts_and_holds_the_update_for_everyone(acme):
    rollout = acme.start()
    [first] = acme.members(rollout, 1)
    acme.answer(acme.take(first.device), state="failed", why="dpkg: error")
    rollouts.rollout_follow_device(device_id=first.device_id, now=acme.now)
    found = fresh(rollout)
    assert found.state == "halted"
    assert "1 device of ring 1 failed: openssl 3.0.18-1: dpkg: error" in found.why
    assert ring(rollout, 1).verdict == "failed"
    assert UpdateHold.objects.get().why == rollouts.HOLD_WHY
    assert acme.take(acme.members(rollout, 2)[0].device) is None


@pytest.mark.parametrize("state", ["installed", "pending_reboot"])
def test_what_is_never_verified_or_never_rebooted_halts(acme, state):
    rollout = acme.start()
    acme.answer(acme.take(acme.members(rollout, 1)[0].device), state=state)
    acme.tick(hours=3)
    assert fresh(rollout).state == "running"
    acme.tick(hours=22)
    assert fresh(rollout).state == "halted"


def test_silence_halts_and_the_silence_of_a_whole_site_waits(acme):
    rollout = acme.start()
    [first] = acme.members(rollout, 1)
    acme.take(first.device)
    devices = type(first.device).objects.visible_to(SYSTEM)
    acme.now += timedelta(minutes=100)
    rollouts.rollouts_tick(now=acme.now)
    assert fresh(rollout).state == "running", "nobody of its site was heard of"
    devices.exclude(pk=first.device_id).update(last_check_in_at=acme.now)
    rollouts.rollouts_tick(now=acme.now)
    assert fresh(rollout).state == "halted"
    assert RolloutDevice.objects.visible_to(SYSTEM).get(device=first.device).state == "silent"


def test_a_service_that_ran_before_and_does_not_halts_once_it_is_sure(acme):
    rollout = acme.start()
    [first] = acme.members(rollout, 1)
    acme.install(first.device)
    acme.tick(minutes=5)
    acme.worse(first.device)
    acme.tick(minutes=30)
    assert fresh(rollout).state == "running"
    assert "in doubt" in fresh(rollout).why
    acme.tick(minutes=31)
    assert "nginx does not run" in fresh(rollout).why
    assert fresh(rollout).state == "halted"


def test_a_check_that_comes_and_goes_anyway_is_not_held_against_the_update(acme):
    check = acme.worse(acme.devices[0], since=acme.now - timedelta(days=2))
    rollout = acme.start(pilots=[acme.devices[0].pk])
    acme.install(acme.devices[0])
    check.since = acme.now + timedelta(minutes=5)
    check.save()
    acme.tick(hours=4)
    assert (fresh(rollout).state, fresh(rollout).ring) == ("running", 2)


def test_a_late_failure_of_a_promoted_ring_is_seen(acme):
    rollout = acme.start()
    for number in (1, 2):
        acme.ring_goes_well(rollout, number)
    assert fresh(rollout).ring == 3
    for one in (*acme.members(rollout, 1), *acme.members(rollout, 2)):
        acme.worse(one.device)
    acme.tick(minutes=61)
    assert fresh(rollout).state == "halted"
    assert not UpdateHold.objects.exists(), "only the first rings hold it for everyone"


def test_a_halt_takes_back_what_no_device_has_taken(acme):
    rollout = acme.start()
    acme.ring_goes_well(rollout, 1)
    one, two = (member.device for member in acme.members(rollout, 2)[:2])
    waiting = acme.take(one)
    Job.objects.visible_to(SYSTEM).filter(pk=waiting.pk).update(state="queued", delivered_at=None)
    acme.answer(acme.take(two), state="failed", why="broken")
    acme.tick()
    assert fresh(rollout).state == "halted"
    assert Job.objects.visible_to(SYSTEM).get(pk=waiting.pk).state == "cancelled"
    assert acme.row(one).get().state == "planned"


# --- a person's acts ---


def test_pause_resume_and_cancel_say_why_and_are_taken_once(acme):
    rollout = acme.start()
    with pytest.raises(RolloutError, match="reason"):
        rollouts.rollout_pause(scope=SYSTEM, rollout=rollout, reason=" ", now=acme.now)
    rollouts.rollout_pause(scope=ada(acme), rollout=rollout, reason="stocktaking", now=acme.now)
    first = acme.members(rollout, 1)[0].device
    assert allowed(acme, first)[1].endswith("is paused")
    with pytest.raises(RolloutError, match="paused"):
        rollouts.rollout_pause(scope=SYSTEM, rollout=rollout, reason="again", now=acme.now)
    rollouts.rollout_resume(scope=SYSTEM, rollout=rollout, now=acme.now)
    assert allowed(acme, first) == (True, "")
    rollouts.rollout_cancel(scope=SYSTEM, rollout=rollout, reason="not now", now=acme.now)
    assert allowed(acme, first) == (True, ""), "it decides nothing any more"
    assert not Deployment.objects.visible_to(SYSTEM).filter(rollout=rollout).exists()
    with pytest.raises(RolloutError):
        rollouts.rollout_resume(scope=SYSTEM, rollout=rollout, now=acme.now)


def test_a_halted_rollout_goes_on_only_after_the_hold_and_without_what_failed(acme):
    rollout = acme.start()
    [first] = acme.members(rollout, 1)
    acme.answer(acme.take(first.device), state="failed", why="dpkg: error")
    acme.tick()
    with pytest.raises(RolloutError, match="reason"):
        rollouts.rollout_resume(scope=SYSTEM, rollout=rollout, now=acme.now)
    with pytest.raises(RolloutError, match="held for everyone"):
        rollouts.rollout_resume(scope=SYSTEM, rollout=rollout, reason="its disk", now=acme.now)
    rollouts.hold_end(scope=SYSTEM, hold=UpdateHold.objects.get(), reason="a broken disk", now=acme.now)
    rollouts.rollout_resume(scope=SYSTEM, rollout=rollout, reason="its disk", now=acme.now)
    acme.tick()
    assert [one.state for one in acme.members(rollout, 1)] == ["left out", "waiting"]
    assert fresh(rollout).state == "running"


def test_two_workers_that_saw_the_same_do_it_once(acme):
    rollout = acme.start(terms={"promotion": "approval"})
    acme.ring_goes_well(rollout, 1)
    stale = fresh(rollout)
    rollouts.rollout_promote(scope=SYSTEM, rollout=rollout, now=acme.now)
    with pytest.raises(RolloutError):
        rollouts.rollout_promote(scope=SYSTEM, rollout=stale, now=acme.now)
    with pytest.raises(RolloutError):
        rollouts._move(stale, ["awaiting_promotion"], "running", why="", now=acme.now, ring=2)
    assert fresh(rollout).ring == 2


# --- the root of the results ---


def test_a_ring_is_promoted_on_the_merkle_root_of_its_signed_results(acme):
    rollout = acme.start()
    acme.ring_goes_well(rollout, 1)
    acme.install(*(one.device for one in acme.members(rollout, 2)))
    acme.tick()
    acme.tick(hours=25)
    kept = ring(rollout, 2).results_root
    ids = sorted(job for one in acme.members(rollout, 2) for job in one.jobs)
    envelopes = [bytes(Job.objects.visible_to(SYSTEM).get(pk=one).result_envelope) for one in ids]
    assert len(envelopes) == 4
    assert kept == root_of([leaf_hash(envelope) for envelope in envelopes]).hex()
    assert kept == rollouts.results_root(rollout=rollout, ring=2)
    third = acme.members(rollout, 3)[0].device
    assert rollouts.job_reason(device_id=third.pk, updates=[OPENSSL], now=acme.now) == (
        f"ring 3 of rollout {str(rollout.pk)[:8]}, after results {kept}"
    )
    Job.objects.visible_to(SYSTEM).filter(pk=ids[2]).update(result_envelope=b"forged")
    assert rollouts.results_root(rollout=rollout, ring=2) != kept, "edited"
    member = next(one for one in acme.members(rollout, 2) if ids[0] in one.jobs)
    member.in_root = []
    member.save()
    assert rollouts.results_root(rollout=rollout, ring=2) != kept, "lost"


# --- across clients ---


def test_what_fails_at_acme_is_held_at_bolt_and_bolt_never_learns_where(acme):
    bolt = Fleet("Bolt", count=3)
    rollout = acme.start()
    [first] = acme.members(rollout, 1)
    acme.answer(acme.take(first.device), state="failed", why="acme-0000 said no")
    acme.tick()
    ok, why = allowed(bolt, bolt.devices[0])
    assert (ok, why) == (False, f"held: {rollouts.HOLD_WHY}")
    assert bolt.take(bolt.devices[0]) is None
    shown = serializers.serialize("json", queries.holds(scope=ada(bolt))) + why
    shown += serializers.serialize("json", queries.rollouts(scope=ada(bolt)))
    shown += " ".join(Entry.objects.visible_to(SYSTEM).filter(client=bolt.client).values_list("content", flat=True))
    for canary in ("Acme", "acme", str(acme.client.pk), str(first.device_id), str(rollout.pk)):
        assert canary not in shown


def test_bolt_installs_a_held_update_all_the_same_with_a_reason_on_record(acme):
    bolt = Fleet("Bolt", count=3)
    hold = UpdateHold.objects.create(manager="apt", name="openssl", candidate="3.0.18-1", why="x", since=acme.now)
    with pytest.raises(NotAllowedError):
        rollouts.hold_override(scope=ada(acme), hold=hold, client=bolt.client, reason="urgent", now=acme.now)
    rollouts.hold_override(scope=ada(bolt), hold=hold, client=bolt.client, reason="urgent", now=acme.now)
    with pytest.raises(RolloutError, match="already"):
        rollouts.hold_override(scope=ada(bolt), hold=hold, client=bolt.client, reason="urgent", now=acme.now)
    assert allowed(bolt, bolt.devices[0]) == (True, "")
    assert allowed(acme, acme.devices[0])[0] is False
    entry = Entry.objects.visible_to(SYSTEM).filter(client=bolt.client, kind="rollout:changed").get()
    assert json.loads(entry.content)["payload"]["reason"] == "urgent"
    with pytest.raises(NotAllowedError):
        rollouts.hold_end(scope=ada(bolt), hold=hold, reason="fixed", now=acme.now)
    rollouts.hold_end(scope=SYSTEM, hold=hold, reason="fixed", now=acme.now)
    assert allowed(acme, acme.devices[0]) == (True, "")
    with pytest.raises(RolloutError, match="ended"):
        rollouts.hold_end(scope=SYSTEM, hold=hold, reason="fixed", now=acme.now)


def test_a_rollout_across_clients_tells_each_client_of_its_own_devices_alone(acme):
    bolt = Fleet("Bolt", count=10)
    rollout = acme.start(client=None, name="Acme and Bolt", pilots=[acme.devices[0].pk])
    assert not queries.rollouts(scope=ada(bolt)).exists()
    assert "a rollout across clients" in allowed(bolt, bolt.devices[0])[1]
    acme.answer(acme.take(acme.devices[0]), state="failed", why="acme-0000 said no")
    acme.tick()
    assert fresh(rollout).state == "halted"
    contents = " ".join(Entry.objects.visible_to(SYSTEM).filter(client=bolt.client).values_list("content", flat=True))
    assert "halted" in contents
    for canary in ("Acme", "acme", str(acme.client.pk), str(acme.devices[0].pk)):
        assert canary not in contents
    own = queries.members(scope=ada(bolt), rollout=rollout)
    assert {one.client_id for one in own} == {bolt.client.pk}


def test_counts_of_10000_devices_come_from_three_queries(django_assert_max_num_queries):
    fleet = Fleet(count=300)
    rollout = fleet.start()
    with django_assert_max_num_queries(2):
        counts = queries.ring_counts(scope=SYSTEM, rollout=rollout)
    assert [(one.members, one.ring.cap, one.needed) for one in counts] == [
        (1, 1, 1), (4, 5, 4), (25, 30, 15), (120, 150, 60), (150, 300, 75),
    ]  # fmt: skip


def test_the_database_hides_a_rollout_across_clients_from_who_sees_one_client():
    wall = wall_of(Rollout)
    assert "IS NULL" not in wall.read
    assert wall.read == wall.write


def test_other_programs_hear_of_a_rollout_under_its_client_and_of_one_across_clients_under_none(acme):
    bolt = Fleet("Bolt", count=3)
    own = subject_of(event="rollout.changed", subject=str(bolt.start(name="Monday").pk), detail={})
    assert (own.kind, own.name, own.client) == ("rollout", "Monday", "Bolt")
    across = subject_of(event="rollout.changed", subject=str(acme.start(client=None).pk), detail={})
    assert (across.client_id, across.client) == (None, "")
