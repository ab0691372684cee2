"""What a device lets run, told as who tries what. Ada and Grace are operators, Eve is not."""

from __future__ import annotations

import base64
import random
import re
from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forestall.trust import authorise, dsse
from forestall.trust.authorise import (
    MAX_COUNTER_JUMP,
    Hours,
    Refused,
    RefusedBecause,
    Veto,
    accept_root,
    accept_roots,
    authorise_command,
    authorise_invocation,
    authorise_job,
    authorise_order,
    read_revocation,
    read_runbook,
    require_actions,
)
from forestall.trust.keys import key_id, new_key, public_bytes
from forestall.trust.sign import role_of, sign_job, sign_order, sign_revocation, sign_statement, wrap_invocation
from forestall.trust.statements import (
    Job,
    Parameter,
    Revocation,
    RiskClass,
    RoleKeys,
    Runbook,
    StandingOrder,
    Step,
    statement_bytes,
    statement_digest,
)

replace = msgspec.structs.replace
Because = RefusedBecause


class refused:  # noqa: N801 - reads as a sentence: with refused(...)
    def __init__(self, because: RefusedBecause) -> None:
        self.because = because

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace) -> bool:
        assert isinstance(error, Refused), f"expected a refusal {self.because}, got {error!r}"
        assert error.because == self.because, str(error)
        assert error.sentence
        self.sentence = error.sentence
        return True


def run_job(world, envelope, root=None, runbooks=None, **situation):
    return authorise_job(
        root=root or world.root,
        runbooks=world.runbooks if runbooks is None else runbooks,
        envelope=envelope,
        situation=world.situation(**situation),
    )


# --- jobs ---


def test_a_job_that_ada_signed_runs_with_its_parameters_in_place(world):
    authorised = run_job(world, world.signed(world.job(), world.ada))
    assert authorised.counter == 5
    assert authorised.order == ""
    assert authorised.signers == {key_id(public_bytes(world.ada))}
    assert authorised.parameters == {
        "folder": "/var/tmp/reports", "days": 30, "pattern": "*", "deep": False, "service": "nginx",
    }  # fmt: skip
    assert authorised.steps[0].arguments == {"folder": "/var/tmp/reports", "older_than_days": 30, "pattern": "*"}


def test_an_unsigned_job_is_refused(world):
    with refused(Because.SIGNATURES_MISSING):
        run_job(world, world.signed(world.job()))


def test_a_job_that_eve_signed_is_refused(world):
    with refused(Because.SIGNATURES_MISSING):
        run_job(world, world.signed(world.job(), world.eve))


def test_neither_root_nor_catalogue_may_sign_jobs(world):
    for key in (world.root_key, world.catalogue):
        with refused(Because.SIGNATURES_MISSING):
            run_job(world, world.signed(world.job(), key))


def test_a_destructive_job_needs_two_operators_and_ada_twice_is_one(world):
    runbook = replace(authorised_runbook(world), risk=RiskClass.DESTRUCTIVE)
    runbooks = {statement_digest(runbook): runbook}
    job = world.job(runbook=statement_digest(runbook), risk=RiskClass.DESTRUCTIVE)
    for keys in ([world.ada], [world.ada, world.ada], [world.ada, world.eve]):
        with refused(Because.SIGNATURES_MISSING):
            run_job(world, world.signed(job, *keys), runbooks=runbooks)
    assert len(run_job(world, world.signed(job, world.ada, world.grace), runbooks=runbooks).signers) == 2


def authorised_runbook(world) -> Runbook:
    return next(iter(world.runbooks.values()))


def test_the_roles_own_threshold_counts_when_it_is_higher(world):
    root = replace(world.root, operator=role_of([world.ada, world.grace], threshold=2))
    with refused(Because.SIGNATURES_MISSING):
        run_job(world, world.signed(world.job(), world.ada), root=root)
    run_job(world, world.signed(world.job(), world.ada, world.grace), root=root)


def test_operators_cannot_authorise_trust(world):
    with refused(Because.RISK_NOT_FOR_OPERATORS):
        run_job(world, world.signed(world.job(risk=RiskClass.TRUST), world.ada, world.grace))


def test_observe_needs_no_operator(world):
    runbook = replace(authorised_runbook(world), risk=RiskClass.OBSERVE)
    job = world.job(runbook=statement_digest(runbook), risk=RiskClass.OBSERVE)
    run_job(world, world.signed(job), runbooks={statement_digest(runbook): runbook})


def test_a_risk_class_below_the_runbooks_own_is_refused(world):
    with refused(Because.RISK_MISMATCH):
        run_job(world, world.signed(world.job(risk=RiskClass.OBSERVE)))


def test_a_job_for_another_client_or_device_is_refused(world):
    with refused(Because.CLIENT_WRONG):
        run_job(world, world.signed(world.job(client_id="another"), world.ada))
    with refused(Because.DEVICE_NOT_NAMED):
        run_job(world, world.signed(world.job(devices={"another": 5}), world.ada))


def test_a_job_runs_from_its_first_moment_until_just_before_its_last(world):
    job = world.job()
    envelope = world.signed(job, world.ada)
    with refused(Because.NOT_YET_VALID):
        run_job(world, envelope, now=job.not_before - timedelta(microseconds=1))
    run_job(world, envelope, now=job.not_before)
    run_job(world, envelope, now=job.expires_at - timedelta(microseconds=1))
    with refused(Because.EXPIRED):
        run_job(world, envelope, now=job.expires_at)


def test_a_job_that_would_live_longer_than_a_day_is_refused(world):
    job = world.job()
    run_job(world, world.signed(world.job(expires_at=job.not_before + timedelta(hours=24)), world.ada))
    with refused(Because.LIFE_TOO_LONG):
        run_job(world, world.signed(world.job(expires_at=job.not_before + timedelta(hours=24, seconds=1)), world.ada))


def test_a_time_without_zone_is_refused(world):
    job = world.job(expires_at=world.job().expires_at.replace(tzinfo=None))
    with refused(Because.MALFORMED):
        run_job(world, world.signed(job, world.ada))


@pytest.mark.parametrize(("counter", "runs"), [(3, False), (4, False), (5, True), (9, True)])
def test_only_a_counter_above_the_last_runs(world, counter, runs):
    envelope = world.signed(world.job(devices={"5a4c0000-0000-4000-8000-000000000001": counter}), world.ada)
    if runs:
        assert run_job(world, envelope).counter == counter
    else:
        with refused(Because.COUNTER_PASSED):
            run_job(world, envelope)


def test_nothing_runs_under_an_expired_root(world):
    with refused(Because.ROOT_EXPIRED):
        run_job(world, world.signed(world.job(), world.ada), now=world.root.expires_at)


def test_an_unknown_runbook_is_refused(world):
    with refused(Because.RUNBOOK_UNKNOWN):
        run_job(world, world.signed(world.job(), world.ada), runbooks={})


def test_v4_a_runbook_that_was_altered_where_it_is_kept_is_refused(world):
    digest, runbook = next(iter(world.runbooks.items()))
    altered = replace(runbook, steps=(replace(runbook.steps[0], arguments={"folder": "/var/tmp"}),))
    with refused(Because.RUNBOOK_ALTERED):
        run_job(world, world.signed(world.job(), world.ada), runbooks={digest: altered})


# --- parameters ---


@pytest.mark.parametrize(
    ("parameters", "because"),
    [
        ({}, Because.PARAMETER_MISSING),
        ({"folder": "/var/tmp", "shell": "rm"}, Because.PARAMETER_UNKNOWN),
        ({"folder": 7}, Because.PARAMETER_WRONG_TYPE),
        ({"folder": "/var/tmp", "days": True}, Because.PARAMETER_WRONG_TYPE),
        ({"folder": "/var/tmp", "days": "7"}, Because.PARAMETER_WRONG_TYPE),
        ({"folder": "/var/tmp", "deep": 1}, Because.PARAMETER_WRONG_TYPE),
        ({"folder": "/var/tmp", "days": 0}, Because.PARAMETER_OUT_OF_BOUNDS),
        ({"folder": "/var/tmp", "days": 366}, Because.PARAMETER_OUT_OF_BOUNDS),
        ({"folder": "/etc"}, Because.PARAMETER_OUT_OF_BOUNDS),
        ({"folder": "var/tmp"}, Because.PARAMETER_OUT_OF_BOUNDS),
        ({"folder": "/var/tmp/../../etc"}, Because.PARAMETER_OUT_OF_BOUNDS),
        ({"folder": "/var/tmp/"}, Because.PARAMETER_OUT_OF_BOUNDS),
        ({"folder": "//var/tmp"}, Because.PARAMETER_OUT_OF_BOUNDS),
        ({"folder": "/var/tmp/a\x00b"}, Because.PARAMETER_OUT_OF_BOUNDS),
        ({"folder": "/var/tmp/a\nb"}, Because.PARAMETER_OUT_OF_BOUNDS),
        ({"folder": "/var/tmp/" + "a" * 5000}, Because.PARAMETER_OUT_OF_BOUNDS),
        ({"folder": "/var/tmp", "service": "--now"}, Because.PARAMETER_OUT_OF_BOUNDS),
        ({"folder": "/var/tmp", "service": "a b"}, Because.PARAMETER_OUT_OF_BOUNDS),
        ({"folder": "/var/tmp", "service": "../nginx"}, Because.PARAMETER_OUT_OF_BOUNDS),
    ],
)
def test_parameters_out_of_line_are_refused(world, parameters, because):
    with refused(because):
        run_job(world, world.signed(world.job(parameters=parameters), world.ada))


def test_a_parameters_value_is_never_expanded_again(world):
    job = world.job(parameters={"folder": "/var/tmp", "pattern": "{folder}"})
    assert run_job(world, world.signed(job, world.ada)).steps[0].arguments["pattern"] == "{folder}"


# --- the customer's veto ---


def test_v1_no_signature_overrides_the_veto(world):
    envelope = world.signed(world.job(), world.ada, world.grace)
    for veto, because in (
        (Veto(forbid_risk=frozenset({RiskClass.CHANGE})), Because.VETO_RISK),
        (Veto(forbid_runbooks=frozenset({"tidy-up"})), Because.VETO_RUNBOOK),
        (Veto(allowed_hours=(Hours.parse("22:00-06:00"),)), Because.VETO_HOURS),
        (Veto(unreadable="policy.toml: line 1"), Because.VETO_UNREADABLE),
    ):
        with refused(because):
            run_job(world, envelope, veto=veto)
    run_job(world, envelope, veto=Veto(allowed_hours=(Hours.parse("22:00-06:00"), Hours.parse("Mon 08:00-10:00"))))


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("22:00-06:00", ["Mon 22:00", "Tue 05:59", "Sun 23:59"], ["Mon 06:00", "Mon 21:59"]),
        ("Sat-Sun 00:00-24:00", ["Sat 00:00", "Sun 23:59"], ["Fri 23:59", "Mon 00:00"]),
        ("Fri 18:00-02:00", ["Fri 18:00", "Sat 01:59"], ["Fri 01:00", "Sat 02:00", "Sat 18:00"]),
        ("Sat-Mon 08:00-09:00", ["Sat 08:30", "Sun 08:30", "Mon 08:30"], ["Tue 08:30", "Fri 08:30"]),
    ],
)
def test_hours_past_midnight_belong_to_the_day_they_began(text, inside, outside):
    hours = Hours.parse(text)
    for words, expected in [(words, True) for words in inside] + [(words, False) for words in outside]:
        day, clock = words.split()
        number = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].index(day)
        local = datetime.fromisoformat(f"2026-11-{23 + number}T{clock}")
        assert hours.cover(local) is expected, words


@pytest.mark.parametrize(
    "text",
    [
        "",
        "22-06",
        "Xyz 08:00-09:00",
        "Mon-Xyz 08:00-09:00",
        "24:00-25:00",
        "08:60-09:00",
        "08:00-08:00",
        "08:00-24:01",
        "08:00-09:99",
    ],
)
def test_hours_that_are_none_are_named(text):
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        Hours.parse(text)


# --- standing orders ---


def invoke(world, order, invocation=None, *, order_envelope=None, **situation):
    return authorise_invocation(
        root=world.root,
        runbooks=world.runbooks,
        orders={statement_digest(order): order_envelope or world.signed(order, world.ada)},
        envelope=wrap_invocation(invocation or world.invocation(order)),
        situation=world.situation(**situation),
    )


def test_a_run_within_adas_standing_order_runs(world):
    order = world.order()
    authorised = invoke(world, order)
    assert authorised.order == statement_digest(order)
    assert authorised.parameters["days"] == 7
    assert authorised.signers == {key_id(public_bytes(world.ada))}


def test_the_server_cannot_sign_an_order_nor_widen_one(world):
    order = world.order()
    with refused(Because.SIGNATURES_MISSING):
        invoke(world, order, order_envelope=world.signed(order, world.eve))
    wider = world.order(runs_per_day=1000)
    with refused(Because.ORDER_UNKNOWN):  # a genuine order kept under another's name
        invoke(world, wider, order_envelope=world.signed(order, world.ada))


def test_values_that_the_order_does_not_list_are_refused(world):
    order = world.order()
    for parameters in (
        {"folder": "/var/tmp"},
        {"folder": "/var/tmp/reports", "days": 8},
        {"folder": "/var/tmp/reports", "pattern": "*.log"},  # not listed: keeps its default
    ):
        with refused(Because.PARAMETER_NOT_ALLOWED):
            invoke(world, order, world.invocation(order, parameters=parameters))
    with refused(Because.PARAMETER_MISSING):
        invoke(world, order, world.invocation(order, parameters={}))


def test_a_parameter_without_default_that_the_order_does_not_list_cannot_be_given(world):
    order = world.order(allowed={})
    with refused(Because.PARAMETER_NOT_ALLOWED):
        invoke(world, order)


def test_the_device_itself_counts_the_runs_of_a_day(world):
    order = world.order()
    digest = statement_digest(order)
    invoke(world, order, runs={digest: 1, "another": 50})
    with refused(Because.RATE_LIMIT):
        invoke(world, order, runs={digest: 2})


def test_v3_a_revoked_order_ends_at_once(world):
    order = world.order()
    with refused(Because.ORDER_REVOKED):
        invoke(world, order, revoked_orders=[statement_digest(order)])


def test_v3_an_order_ends_when_its_signer_leaves_the_operator_role(world):
    order = world.order()
    without_ada = replace(world.root, operator=role_of([world.grace]))
    with refused(Because.SIGNATURES_MISSING):
        authorise_invocation(
            root=without_ada,
            runbooks=world.runbooks,
            orders={statement_digest(order): world.signed(order, world.ada)},
            envelope=wrap_invocation(world.invocation(order)),
            situation=world.situation(),
        )


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"client_id": "another"}, Because.CLIENT_WRONG),
        ({"devices": ("another",)}, Because.DEVICE_NOT_NAMED),
        ({"expires_at": datetime.fromisoformat("2026-11-23T09:00:00Z")}, Because.EXPIRED),
        ({"not_before": datetime.fromisoformat("2026-11-23T09:00:01Z")}, Because.NOT_YET_VALID),
        ({"expires_at": datetime.fromisoformat("2026-12-23T09:00:01Z")}, Because.LIFE_TOO_LONG),
        ({"runbook": "0" * 64}, Because.RUNBOOK_UNKNOWN),
        ({"risk": RiskClass.OBSERVE}, Because.RISK_MISMATCH),
        ({"risk": RiskClass.DESTRUCTIVE}, Because.SIGNATURES_MISSING),
        ({"runs_per_day": 0}, Because.ORDER_UNSOUND),
        ({"allowed": {"shell": ("rm",)}}, Because.PARAMETER_UNKNOWN),
        ({"allowed": {"folder": ("/etc",)}}, Because.PARAMETER_OUT_OF_BOUNDS),
    ],
)
def test_orders_out_of_line_are_refused_even_when_ada_signs(world, changes, because):
    order = world.order(**changes)
    with refused(because):
        authorise_order(
            root=world.root,
            runbooks=world.runbooks,
            envelope=world.signed(order, world.ada),
            situation=world.situation(),
        )


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"device_id": "another"}, Because.DEVICE_NOT_NAMED),
        ({"order": "0" * 64}, Because.ORDER_UNKNOWN),
        ({"counter": 4}, Because.COUNTER_PASSED),
        ({"counter": 5 + MAX_COUNTER_JUMP}, Because.COUNTER_JUMPS),
        ({"expires_at": datetime.fromisoformat("2026-11-23T09:00:00Z")}, Because.EXPIRED),
        ({"expires_at": datetime.fromisoformat("2026-11-24T09:00:01Z")}, Because.LIFE_TOO_LONG),
    ],
)
def test_invocations_out_of_line_are_refused(world, changes, because):
    order = world.order()
    with refused(because):
        invoke(world, order, world.invocation(order, **changes))


def test_the_veto_holds_for_orders_too(world):
    with refused(Because.VETO_RISK):
        invoke(world, world.order(), veto=Veto(forbid_risk=frozenset({RiskClass.CHANGE})))


def test_a_command_is_told_by_its_type(world):
    order = world.order()
    given = {
        "root": world.root,
        "runbooks": world.runbooks,
        "orders": {statement_digest(order): world.signed(order, world.ada)},
        "situation": world.situation(),
    }
    job = authorise_command(envelope=world.signed(world.job(), world.ada), **given)
    run = authorise_command(envelope=wrap_invocation(world.invocation(order)), **given)
    assert (job.order, run.order) == ("", statement_digest(order))
    with refused(Because.WRONG_TYPE):  # a genuine order is not a job
        authorise_command(envelope=world.signed(order, world.ada), **given)
    with refused(Because.MALFORMED):
        authorise_command(envelope=b"{}", **given)


# --- revocations ---


def test_any_one_operator_may_stop_what_two_started(world):
    root = replace(world.root, operator=role_of([world.ada, world.grace], threshold=2))
    envelope = sign_revocation(orders=["a" * 64], reason="stop", now=world.root.issued_at, keys=[raw(world.grace)])
    assert read_revocation(root=root, envelope=envelope).orders == ("a" * 64,)
    with refused(Because.SIGNATURES_MISSING):
        read_revocation(
            root=root, envelope=world.signed(Revocation(issued_at=root.issued_at, orders=(), reason=""), world.eve)
        )


def raw(key) -> bytes:
    return key.private_bytes_raw()


# --- runbooks ---


def test_a_runbook_counts_only_with_the_catalogues_signature(world):
    runbook = authorised_runbook(world)
    assert read_runbook(root=world.root, envelope=world.signed(runbook, world.catalogue)) == (
        runbook,
        statement_digest(runbook),
    )
    for key in (world.eve, world.ada, world.root_key):
        with refused(Because.SIGNATURES_MISSING):
            read_runbook(root=world.root, envelope=world.signed(runbook, key))


TEXT = {"kind": "text", "description": ""}


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"slug": "Tidy Up"}, Because.RUNBOOK_UNSOUND),
        ({"steps": ()}, Because.RUNBOOK_UNSOUND),
        ({"steps": (Step(action="a", timeout_seconds=0),)}, Because.RUNBOOK_UNSOUND),
        ({"steps": (Step(action="a", arguments={"x": "{nobody}"}),)}, Because.RUNBOOK_UNSOUND),
        ({"parameters": (Parameter(name="A", **TEXT),)}, Because.RUNBOOK_UNSOUND),
        ({"parameters": (Parameter(name="a", **TEXT), Parameter(name="a", **TEXT))}, Because.RUNBOOK_UNSOUND),
        ({"parameters": (Parameter(name="a", pattern="(", **TEXT),)}, Because.RUNBOOK_UNSOUND),
        ({"parameters": (Parameter(name="a", required=False, **TEXT),)}, Because.RUNBOOK_UNSOUND),
        ({"parameters": (Parameter(name="a", default=7, **TEXT),)}, Because.PARAMETER_WRONG_TYPE),
    ],
)
def test_an_unsound_runbook_is_refused_even_when_signed(world, changes, because):
    runbook = replace(authorised_runbook(world), **changes)
    with refused(because):
        read_runbook(root=world.root, envelope=world.signed(runbook, world.catalogue))


def test_a_runbook_of_observe_reaches_no_action_that_changes(world):
    runbook = authorised_runbook(world)
    require_actions(runbook, {"files.delete_older": RiskClass.CHANGE})
    with refused(Because.ACTION_ABOVE_RISK):
        require_actions(replace(runbook, risk=RiskClass.OBSERVE), {"files.delete_older": RiskClass.CHANGE})
    with refused(Because.ACTION_UNKNOWN):
        require_actions(runbook, {})


# --- the root ---


def take(world, envelope, current=None, pinned=None):
    return accept_root(
        current=current,
        pinned_key_id=pinned or key_id(public_bytes(world.root_key)),
        envelope=envelope,
        now=world.situation().now,
    )


def test_the_first_root_must_be_signed_by_the_pinned_key(world):
    assert take(world, world.signed(world.root, world.root_key)) == world.root
    with refused(Because.ROOT_NOT_PINNED):
        take(world, world.signed(world.root, world.root_key), pinned="0" * 64)
    with refused(Because.SIGNATURES_MISSING):
        take(world, world.signed(world.root, world.eve))


def test_eves_own_root_is_refused_though_it_is_sound(world):
    eves = replace(world.root, root=role_of([world.eve]), operator=role_of([world.eve]))
    with refused(Because.ROOT_NOT_PINNED):
        take(world, world.signed(eves, world.eve))
    with refused(Because.SIGNATURES_MISSING):
        take(world, world.signed(replace(eves, version=2), world.eve), current=world.root)


def test_the_same_root_again_changes_nothing(world):
    assert take(world, world.signed(world.root, world.root_key), current=world.root) is not None


def test_a_new_root_needs_the_old_and_the_new_keys_and_the_next_version(world):
    new_root_key = new_key()
    successor = replace(world.root, version=2, root=role_of([new_root_key]))
    assert take(world, world.signed(successor, world.root_key, new_root_key), current=world.root).version == 2
    for keys in ([world.root_key], [new_root_key], [world.ada, new_root_key]):
        with refused(Because.SIGNATURES_MISSING):
            take(world, world.signed(successor, *keys), current=world.root)
    for version in (1, 3):
        with refused(Because.ROOT_VERSION_WRONG):
            other = replace(successor, version=version)
            take(world, world.signed(other, world.root_key, new_root_key), current=world.root)


def test_the_first_version_is_at_least_one(world):
    with refused(Because.ROOT_VERSION_WRONG):
        take(world, world.signed(replace(world.root, version=0), world.root_key))


def test_a_root_of_two_of_three_needs_two(world):
    keys = [world.root_key, new_key(), new_key()]
    root = replace(world.root, root=role_of(keys, threshold=2))
    take(world, world.signed(root, *keys[:2]))
    with refused(Because.SIGNATURES_MISSING):
        take(world, world.signed(root, keys[0], keys[0]))
    with refused(Because.ROOT_NOT_PINNED):
        take(world, world.signed(root, *keys[1:]))


@pytest.mark.parametrize("role", ["root", "operator", "catalogue"])
@pytest.mark.parametrize("threshold", [0, -1, 2])
def test_v2_threshold_zero_or_out_of_reach_is_refused_in_every_role(world, role, threshold):
    root = replace(world.root, **{role: role_of([world.root_key], threshold=threshold)})
    with refused(Because.THRESHOLD_INVALID):
        take(world, world.signed(root, world.root_key))


@pytest.mark.parametrize("role", ["root", "operator", "catalogue"])
def test_v2_twin_and_misnamed_keys_are_refused_in_every_role(world, role):
    public = public_bytes(world.root_key)
    twins = RoleKeys(keys={key_id(public): public.hex(), "0" * 64: public.hex().upper()}, threshold=2)
    misnamed = RoleKeys(keys={"0" * 64: public_bytes(world.eve).hex()}, threshold=1)
    short = RoleKeys(keys={key_id(b"abc"): b"abc".hex()}, threshold=1)
    no_hex = RoleKeys(keys={key_id(public): "zz"}, threshold=1)
    for keys, because in (
        (twins, Because.TWIN_KEYS),
        (misnamed, Because.KEY_MISNAMED),
        (short, Because.KEY_MISNAMED),
        (no_hex, Because.KEY_MISNAMED),
    ):
        with refused(because):
            take(world, world.signed(replace(world.root, **{role: keys}), world.root_key))


def test_an_expired_root_is_refused_but_a_chain_through_one_is_not(world):
    now = world.situation().now
    second = replace(world.root, version=2, expires_at=now)
    third = replace(world.root, version=3)
    envelopes = [world.signed(root, world.root_key) for root in (world.root, second, third)]
    with refused(Because.ROOT_EXPIRED):
        take(world, envelopes[1], current=world.root)
    pinned = key_id(public_bytes(world.root_key))
    assert accept_roots(current=None, pinned_key_id=pinned, envelopes=envelopes, now=now) == third
    with refused(Because.ROOT_MISSING):
        accept_roots(current=None, pinned_key_id=pinned, envelopes=[], now=now)


# --- any alteration ---


def situations_of_all_kinds(world):
    """(name, body, payload type, keys, reader): each genuine statement and who reads it."""
    order = world.order()
    successor = replace(world.root, version=2)
    return [
        (world.job(), [world.ada], lambda e: run_job(world, e)),
        (
            order,
            [world.ada],
            lambda e: authorise_order(
                root=world.root, runbooks=world.runbooks, envelope=e, situation=world.situation()
            ),
        ),
        (authorised_runbook(world), [world.catalogue], lambda e: read_runbook(root=world.root, envelope=e)),
        (successor, [world.root_key], lambda e: take(world, e, current=world.root)),
        (
            Revocation(issued_at=world.root.issued_at, orders=("a" * 64,), reason="stop"),
            [world.ada],
            lambda e: read_revocation(root=world.root, envelope=e),
        ),
    ]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_v1_any_single_alteration_of_a_genuine_document_is_refused(world, data):
    statement, keys, read = data.draw(st.sampled_from(situations_of_all_kinds(world)))
    genuine = sign_statement(statement, keys)
    read(genuine)
    kind = data.draw(st.sampled_from(["envelope byte", "body byte", "cut", "insert", "type"]))
    if kind == "envelope byte":
        at, value = data.draw(st.integers(0, len(genuine) - 1)), data.draw(st.integers(0, 255))
        altered = genuine[:at] + bytes([value]) + genuine[at + 1 :]
    elif kind == "cut":
        at = data.draw(st.integers(0, len(genuine) - 1))
        altered = genuine[:at] + genuine[at + 1 :]
    elif kind == "insert":
        at = data.draw(st.integers(0, len(genuine)))
        altered = genuine[:at] + bytes([data.draw(st.integers(0, 255))]) + genuine[at:]
    else:
        envelope = dsse.decode(genuine)
        if kind == "type":
            altered_envelope = replace(envelope, payloadType=envelope.payloadType + "x")
        else:
            body = envelope.body()
            at, value = data.draw(st.integers(0, len(body) - 1)), data.draw(st.integers(0, 255))
            body = body[:at] + bytes([value]) + body[at + 1 :]
            altered_envelope = replace(envelope, payload=base64.b64encode(body).decode())
        altered = msgspec.json.encode(altered_envelope, order="deterministic")
    if altered == genuine:
        return
    with pytest.raises(Refused):
        read(altered)


def test_an_envelope_has_one_spelling(world):
    """Base64 leaves bits unused at its end: a second spelling of the same bytes would be a second envelope."""
    envelope = dsse.decode(world.signed(world.job(), world.ada))
    signature = envelope.signatures[0]
    assert signature.sig.endswith("==")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    respelled = signature.sig[:-3] + alphabet[alphabet.index(signature.sig[-3]) ^ 1] + "=="
    assert base64.b64decode(respelled) == base64.b64decode(signature.sig)
    altered = replace(envelope, signatures=(replace(signature, sig=respelled),))
    with refused(Because.SIGNATURES_MISSING):
        run_job(world, msgspec.json.encode(altered, order="deterministic"))
    for payload in ("YR==", "YQ", "é==="):
        altered = replace(envelope, payload=payload)
        with refused(Because.MALFORMED):
            run_job(world, msgspec.json.encode(altered, order="deterministic"))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_v4_an_operators_signature_never_fits_another_job(world, data):
    """Whatever field is changed to whatever else, the signature over the first statement does not carry over."""
    changes = data.draw(
        st.fixed_dictionaries(
            {},
            optional={
                "job_id": st.text(max_size=40),
                "runbook": st.sampled_from(["0" * 64, *world.runbooks]),
                "parameters": st.fixed_dictionaries(
                    {"folder": st.sampled_from(["/var/tmp", "/var/tmp/reports"]), "days": st.integers(1, 365)}
                ),
                "devices": st.dictionaries(
                    st.sampled_from(["5a4c0000-0000-4000-8000-000000000001", "b"]), st.integers(0, 99)
                ),
                "reason": st.text(max_size=40),
            },
        )
    )
    job = world.job()
    other = replace(job, **changes)
    if other == job:
        return
    signed = dsse.decode(world.signed(job, world.ada))
    forged = replace(signed, payload=base64.b64encode(statement_bytes(other)).decode())
    with pytest.raises(Refused):
        run_job(world, msgspec.json.encode(forged, order="deterministic"))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    # Half of the time from what the order allows: else hardly one would ever run, and the test would show nothing.
    parameters=st.one_of(
        st.fixed_dictionaries(
            {"folder": st.sampled_from(["/var/tmp/reports", "/var/tmp/scans", "/var/tmp", "/etc"])},
            optional={
                "days": st.sampled_from([7, 30, 8, True, "7"]),
                "pattern": st.sampled_from(["*", "*.log"]),
                "deep": st.sampled_from([False, True, 0]),
                "service": st.sampled_from(["nginx", "cron"]),
            },
        ),
        st.dictionaries(
            st.sampled_from(["folder", "days", "pattern", "deep", "service", "shell"]),
            st.one_of(st.text(max_size=20), st.integers(-5, 400), st.booleans(), st.sampled_from(["/var/tmp/reports"])),
        ),
    ),
    counter=st.one_of(st.integers(4, 7), st.integers(-5, 2_000_000)),
    runs=st.integers(0, 3),
)
def test_an_invocation_never_gets_beyond_its_order(world, parameters, counter, runs):
    order = world.order()
    invocation = world.invocation(order, parameters=parameters, counter=counter)
    try:
        authorised = invoke(world, order, invocation, runs={statement_digest(order): runs})
    except Refused:
        return
    assert runs < order.runs_per_day
    assert counter > 4
    assert authorised.parameters["folder"] in order.allowed["folder"]
    assert authorised.parameters["days"] in order.allowed["days"]
    assert (authorised.parameters["pattern"], authorised.parameters["service"]) == ("*", "nginx")
    assert authorised.parameters["deep"] is False


def test_v3_a_stolen_operator_key_stays_within_its_class_and_client_and_ends_with_the_root_that_names_it(world):
    """1,000 interleavings: Eve signs with Ada's key, time passes, the key leaves the role, or that is withheld."""
    chance = random.Random(3)
    outcomes = {True: 0, False: 0}
    for _ in range(1_000):
        risk = chance.choice([RiskClass.CHANGE, RiskClass.CHANGE, RiskClass.DESTRUCTIVE, RiskClass.TRUST])
        runbook = replace(authorised_runbook(world), risk=risk)
        ours, removed = chance.random() < 0.8, chance.random() < 0.3
        signed_at, hours = world.situation().now, chance.randint(1, 30)
        job = world.job(
            runbook=statement_digest(runbook),
            risk=risk,
            client_id=world.situation().client_id if ours else "another",
            not_before=signed_at,
            expires_at=signed_at + timedelta(hours=hours),
        )
        root = replace(world.root, version=2, operator=role_of([world.grace])) if removed else world.root
        later = signed_at + timedelta(hours=chance.randint(0, 48))
        if chance.random() < 0.05:
            later = root.expires_at  # nobody renewed the root: everything under it ends
        expected = (
            risk is RiskClass.CHANGE and ours and not removed and hours <= 24 and later < job.expires_at
        ) and later < root.expires_at
        try:
            envelope = world.signed(job, world.ada)
            run_job(world, envelope, root=root, runbooks={statement_digest(runbook): runbook}, now=later)
            ran = True
        except Refused:
            ran = False
        assert ran == expected, (job, root.version, later)
        outcomes[ran] += 1
    assert min(outcomes.values()) > 50


# --- signing ---


def test_what_the_signer_makes_the_device_takes(world):
    job = world.job()
    assert run_job(world, sign_job(statement_bytes(job), [raw(world.ada)])).job_id == job.job_id
    with pytest.raises(ValueError, match="not a Job statement"):
        sign_job(statement_bytes(world.order()), [raw(world.ada)])
    envelope = sign_order(
        runbook=authorised_runbook(world),
        trigger="disk_space",
        client_id=world.situation().client_id,
        devices=[world.situation().device_id],
        allowed={"folder": ["/var/tmp/reports"]},
        runs_per_day=3,
        life=timedelta(days=30),
        now=world.situation().now,
        keys=[raw(world.ada)],
    )
    order, digest, _ = authorise_order(
        root=world.root, runbooks=world.runbooks, envelope=envelope, situation=world.situation()
    )
    assert isinstance(order, StandingOrder)
    assert digest == statement_digest(order)


def test_codes_are_never_renamed():
    """The codes are in evidence and in the protocol: this list only grows."""
    assert {code.value for code in RefusedBecause} >= {
        "malformed", "wrong_type", "signatures_missing", "threshold_invalid", "twin_keys", "key_misnamed",
        "root_missing", "root_not_pinned", "root_version_wrong", "root_expired", "runbook_unsound", "runbook_unknown",
        "runbook_altered", "risk_mismatch", "risk_not_for_operators", "client_wrong", "device_not_named",
        "not_yet_valid", "expired", "life_too_long", "counter_passed", "counter_jumps", "parameter_unknown",
        "parameter_missing", "parameter_wrong_type", "parameter_out_of_bounds", "parameter_not_allowed",
        "order_unknown", "order_unsound", "order_revoked", "rate_limit", "action_unknown", "action_above_risk",
        "veto_unreadable", "veto_risk", "veto_runbook", "veto_hours", "check_failed",
    }  # fmt: skip
    assert isinstance(authorise.MAX_JOB_LIFE, timedelta)
    assert Job.PAYLOAD_TYPE.endswith("+json")
