"""How far one operator reaches, what a revoked key is still worth, and that older documents keep their bytes."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from forestall.trust import dsse
from forestall.trust.authorise import (
    Refused,
    RefusedBecause,
    Situation,
    Veto,
    accept_root,
    accept_roots,
    authorise_command,
    authorise_job,
    authorise_order,
    operators_counted,
    operators_needed,
    read_revocation,
    read_runbook,
)
from forestall.trust.keys import key_id, new_key, public_bytes
from forestall.trust.sign import new_root, role_of, sign_revocation, sign_statement
from forestall.trust.statements import (
    Invocation,
    Job,
    JobResult,
    OperatorLimits,
    Revocation,
    RiskClass,
    Root,
    Runbook,
    StandingOrder,
    read_statement,
    statement_bytes,
    statement_digest,
)
from forestall.trust.tests.conftest import CLIENT, DEVICE, NOW, RUNBOOK

replace = msgspec.structs.replace
KINDS = {
    "root": Root, "runbook": Runbook, "job": Job, "order": StandingOrder, "invocation": Invocation,
    "revocation": Revocation, "empty_revocation": Revocation, "result": JobResult,
}  # fmt: skip


@pytest.fixture(scope="module")
def recorded():
    return json.loads((Path(__file__).parent / "recorded" / "first-release.json").read_text())


def name(key) -> str:
    return key_id(public_bytes(key))


def limited(world, *, ada=None, grace=None, **changes) -> Root:
    limits = {name(key): given for key, given in ((world.ada, ada), (world.grace, grace)) if given is not None}
    return replace(world.root, limits=limits, **changes)


def run(world, root, *keys, situation=None, **changes):
    return authorise_job(
        root=root,
        runbooks=world.runbooks,
        envelope=world.signed(world.job(**changes), *keys),
        situation=situation or world.situation(),
    )


def why(call, *args, **kwargs) -> RefusedBecause:
    with pytest.raises(Refused) as caught:
        call(*args, **kwargs)
    return caught.value.because


# --- documents of the first release ---


@pytest.mark.parametrize("kind", KINDS)
def test_documents_of_the_first_release_keep_their_bytes(recorded, kind):
    body = dsse.decode(recorded[kind].encode()).body()
    assert statement_bytes(read_statement(body, KINDS[kind])) == body


def test_documents_of_the_first_release_still_carry_authority(recorded):
    now = datetime.fromisoformat(recorded["now"])
    root = accept_root(current=None, pinned_key_id=recorded["root_key_id"], envelope=recorded["root"].encode(), now=now)
    runbook, digest = read_runbook(root=root, envelope=recorded["runbook"].encode())
    order = recorded["order"].encode()
    given = {"root": root, "runbooks": {digest: runbook}, "orders": {}}
    situation = Situation(
        device_id=recorded["device_id"], client_id=recorded["client_id"], now=now, local=now, last_counter=4
    )
    job = authorise_command(envelope=recorded["job"].encode(), situation=situation, **given)
    assert not job.dry_run
    _, order_digest, _ = authorise_order(root=root, runbooks=given["runbooks"], envelope=order, situation=situation)
    given["orders"] = {order_digest: order}
    assert authorise_command(envelope=recorded["invocation"].encode(), situation=situation, **given).order
    assert read_revocation(root=root, envelope=recorded["revocation"].encode()).orders == (order_digest,)


def test_new_fields_stand_in_the_bytes_only_when_they_are_used(world):
    plain = statement_bytes(world.root) + statement_bytes(world.job())
    assert b"limits" not in plain
    assert b"single_signature_devices" not in plain
    assert b"dry_run" not in plain
    # One meaning has one spelling: the default written out is not canonical.
    for statement, extra in ((world.root, b'"limits":{},'), (world.job(), b'"dry_run":false,')):
        body = statement_bytes(statement)
        anchor = b'"operator"' if isinstance(statement, Root) else b'"expires_at"'
        with pytest.raises(ValueError, match="canonical"):
            read_statement(body.replace(anchor, extra + anchor, 1), type(statement))


# --- limits of an operator ---


@pytest.mark.parametrize(
    ("limits", "holds"),
    [
        (OperatorLimits(), True),
        (OperatorLimits(risk=(RiskClass.CHANGE,), clients=(CLIENT,), most_devices=1), True),
        (OperatorLimits(risk=(RiskClass.DESTRUCTIVE,)), False),
        (OperatorLimits(clients=("another",)), False),
        (OperatorLimits(most_devices=1), True),
    ],
)
def test_v3_a_signature_reaches_as_far_as_its_operator(world, limits, holds):
    root = limited(world, ada=limits)
    if holds:
        assert run(world, root, world.ada).signers == {name(world.ada)}
    else:
        assert why(run, world, root, world.ada) == RefusedBecause.BEYOND_LIMITS
    # Grace has no limits, and hers alone is counted where Ada's does not reach.
    assert run(world, root, world.ada, world.grace).signers >= {name(world.grace)}
    assert run(world, root, world.grace).signers == {name(world.grace)}


def test_v3_the_device_cap_counts_the_devices_a_statement_names(world):
    root = limited(world, ada=OperatorLimits(most_devices=2))
    devices = {DEVICE: 5, "b": 1}
    assert run(world, root, world.ada, devices=devices)
    assert why(run, world, root, world.ada, devices={**devices, "c": 1}) == RefusedBecause.BEYOND_LIMITS
    order = world.order(devices=(DEVICE, "b", "c"))
    given = {"root": root, "runbooks": world.runbooks, "situation": world.situation()}
    assert why(authorise_order, envelope=world.signed(order, world.ada), **given) == RefusedBecause.BEYOND_LIMITS
    # One device written three times is one device.
    twice = world.order(devices=(DEVICE, DEVICE, "b"))
    assert authorise_order(envelope=world.signed(twice, world.ada), **given)


def test_v1_many_devices_need_two_operators(world):
    root = replace(world.root, single_signature_devices=2)
    few, many = {DEVICE: 5, "b": 1}, {DEVICE: 5, "b": 1, "c": 1}
    assert run(world, root, world.ada, devices=few)
    assert why(run, world, root, world.ada, devices=many) == RefusedBecause.SIGNATURES_MISSING
    assert len(run(world, root, world.ada, world.grace, devices=many).signers) == 2
    assert [operators_needed(root, RiskClass.CHANGE, devices) for devices in (1, 2, 3)] == [1, 1, 2]
    assert operators_needed(root, RiskClass.OBSERVE, 99) == 0
    assert operators_needed(root, RiskClass.DESTRUCTIVE, 99) == 2
    assert operators_needed(replace(root, operator=role_of([world.ada] * 1, 1)), RiskClass.CHANGE) == 1


def test_v1_of_two_needed_signatures_both_must_reach(world):
    fierce = replace(RUNBOOK, risk=RiskClass.DESTRUCTIVE)
    root = limited(world, ada=OperatorLimits(risk=(RiskClass.CHANGE,)))
    job = world.job(runbook=statement_digest(fierce), risk=RiskClass.DESTRUCTIVE)
    given = {"runbooks": {statement_digest(fierce): fierce}, "situation": world.situation()}
    envelope = world.signed(job, world.ada, world.grace)
    assert why(authorise_job, root=root, envelope=envelope, **given) == RefusedBecause.BEYOND_LIMITS
    assert len(authorise_job(root=world.root, envelope=envelope, **given).signers) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"limits": {"0" * 64: OperatorLimits()}},
        {"single_signature_devices": 0},
    ],
)
def test_v2_limits_that_bind_nobody_are_refused(world, changes):
    root = replace(world.root, **changes)
    assert why(take, world, root) == RefusedBecause.LIMITS_UNSOUND


@pytest.mark.parametrize("limits", [OperatorLimits(risk=(RiskClass.TRUST,)), OperatorLimits(most_devices=0)])
def test_v2_limits_no_statement_could_keep_are_refused(world, limits):
    assert why(take, world, limited(world, ada=limits)) == RefusedBecause.LIMITS_UNSOUND


def take(world, root) -> Root:
    envelope = world.signed(root, world.root_key)
    return accept_root(current=None, pinned_key_id=name(world.root_key), envelope=envelope, now=NOW)


def test_a_sound_root_with_limits_is_accepted(world):
    root = limited(world, ada=OperatorLimits(clients=(CLIENT,), most_devices=3), single_signature_devices=5)
    assert take(world, root) == root
    made = new_root(
        root=root.root, operator=root.operator, catalogue=root.catalogue, now=NOW,
        limits=root.limits, single_signature_devices=5,
    )  # fmt: skip
    assert made == root


# --- revoked keys ---


def test_v3_a_revoked_key_counts_no_more(world):
    situation = world.situation(revoked_keys={name(world.ada)})
    assert why(run, world, world.root, world.ada, situation=situation) == RefusedBecause.KEY_REVOKED
    assert run(world, world.root, world.ada, world.grace, situation=situation).signers == {name(world.grace)}
    order = world.signed(world.order(), world.ada)
    given = {"root": world.root, "runbooks": world.runbooks, "situation": situation}
    assert why(authorise_order, envelope=order, **given) == RefusedBecause.KEY_REVOKED
    # Not signed at all is not told as a revoked signature.
    assert why(run, world, world.root, world.eve, situation=situation) == RefusedBecause.SIGNATURES_MISSING


def test_v3_a_key_that_is_revoked_and_limited_counts_once_as_revoked(world):
    root = limited(world, ada=OperatorLimits(clients=("another",)))
    given = {"root": root, "risk": RiskClass.CHANGE, "client_id": CLIENT, "devices": 1}
    both = {name(world.ada), name(world.grace)}
    assert operators_counted(signed_by=both, **given) == {name(world.grace)}
    assert operators_counted(signed_by=both, revoked_keys=both, **given) == frozenset()
    situation = world.situation(revoked_keys={name(world.ada)})
    assert why(run, world, root, world.ada, situation=situation) == RefusedBecause.KEY_REVOKED


def test_v3_keys_are_revoked_by_the_root_role_alone(world):
    other = new_key()
    root = replace(world.root, root=role_of([world.root_key, other, new_key()], threshold=2))
    revocation = Revocation(issued_at=NOW, orders=(), keys=(name(world.ada),), reason="stolen laptop")
    for keys in ((world.grace,), (world.root_key,), (world.root_key, world.grace), (world.eve,)):
        envelope = world.signed(revocation, *keys)
        assert why(read_revocation, root=root, envelope=envelope) == RefusedBecause.SIGNATURES_MISSING
    envelope = world.signed(revocation, world.root_key, other)
    assert read_revocation(root=root, envelope=envelope).keys == (name(world.ada),)


def test_v3_who_may_end_an_order(world):
    def stop(key):
        return sign_revocation(orders=["a" * 64], reason="stop", now=NOW, keys=[key.private_bytes_raw()])

    given = {"root": limited(world, ada=OperatorLimits(clients=("another",))), "client_id": CLIENT}
    assert read_revocation(envelope=stop(world.grace), **given)
    assert why(read_revocation, envelope=stop(world.ada), **given) == RefusedBecause.BEYOND_LIMITS
    assert read_revocation(root=given["root"], envelope=stop(world.ada))  # where the client is not known
    assert read_revocation(root=world.root, envelope=stop(world.ada), client_id=CLIENT)
    revoked = {"revoked_keys": {name(world.grace)}}
    assert why(read_revocation, envelope=stop(world.grace), **given, **revoked) == RefusedBecause.KEY_REVOKED


# --- succession, dry runs, veto ---


def test_v2_a_successor_needs_the_thresholds_of_both_roots(world):
    keys = [new_key() for _ in range(3)]
    first = replace(world.root, root=role_of(keys, threshold=2))
    second = replace(first, version=2, operator=role_of([world.grace]))
    given = {"current": first, "pinned_key_id": name(keys[0]), "now": NOW}
    for some in (keys[:1], keys[1:2], [keys[0], world.ada]):
        envelope = sign_statement(second, some)
        assert why(accept_root, envelope=envelope, **given) == RefusedBecause.SIGNATURES_MISSING
    for some in (keys[:2], keys[1:], keys):
        assert accept_root(envelope=sign_statement(second, some), **given) == second
    # The old keys alone cannot hand over to a role they do not fill, nor the new ones take it.
    fresh = [new_key() for _ in range(3)]
    third = replace(second, version=3, root=role_of(fresh, threshold=2))
    given["current"] = second
    assert why(accept_root, envelope=sign_statement(third, keys), **given) == RefusedBecause.SIGNATURES_MISSING
    assert why(accept_root, envelope=sign_statement(third, fresh), **given) == RefusedBecause.SIGNATURES_MISSING
    both = sign_statement(third, [*keys[:2], *fresh[1:]])
    assert accept_roots(current=second, pinned_key_id="", envelopes=[both], now=NOW) == third


def test_a_dry_run_needs_the_same_signatures_and_says_so(world):
    assert run(world, world.root, world.ada, dry_run=True).dry_run
    assert why(run, world, world.root, world.eve, dry_run=True) == RefusedBecause.SIGNATURES_MISSING
    signed = world.signed(world.job(dry_run=True), world.ada)
    real = replace(dsse.decode(signed), payload=dsse.decode(world.signed(world.job(), world.ada)).payload)
    altered = msgspec.json.encode(real, order="deterministic")
    given = {"root": world.root, "runbooks": world.runbooks, "situation": world.situation()}
    assert why(authorise_job, envelope=altered, **given) == RefusedBecause.SIGNATURES_MISSING


@pytest.mark.parametrize(
    ("forbidden", "holds"), [({"files.*"}, False), ({"files.delete_older"}, False), ({"script.*", "file.*"}, True)]
)
def test_v1_the_customer_may_forbid_actions(world, forbidden, holds):
    situation = world.situation(veto=Veto(forbid_actions=frozenset(forbidden)))
    if holds:
        assert run(world, world.root, world.ada, situation=situation)
    else:
        assert why(run, world, world.root, world.ada, situation=situation) == RefusedBecause.VETO_ACTION


def test_v3_withheld_revocations_end_with_what_was_signed(world):
    """The server keeps the news of Ada's stolen key to itself: 24 hours later her jobs are over, after 30 days all."""
    job = world.job(not_before=NOW, expires_at=NOW + timedelta(hours=24))
    order = world.order(not_before=NOW, expires_at=NOW + timedelta(days=30))
    given = {"root": world.root, "runbooks": world.runbooks}

    def at(**later):
        return world.situation(now=NOW + timedelta(**later))

    signed_job, signed_order = world.signed(job, world.ada), world.signed(order, world.ada)
    assert authorise_job(envelope=signed_job, situation=at(hours=23, minutes=59), **given)
    assert why(authorise_job, envelope=signed_job, situation=at(hours=24), **given) == RefusedBecause.EXPIRED
    assert authorise_order(envelope=signed_order, situation=at(days=29), **given)
    assert why(authorise_order, envelope=signed_order, situation=at(days=30), **given) == RefusedBecause.EXPIRED
    longer = world.signed(replace(job, expires_at=NOW + timedelta(hours=24, seconds=1)), world.ada)
    assert why(authorise_job, envelope=longer, situation=at(), **given) == RefusedBecause.LIFE_TOO_LONG
