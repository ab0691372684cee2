"""The very edges of the rules, where one more or one less would be another rule."""

from __future__ import annotations

import dataclasses
import inspect
from datetime import timedelta
from types import ModuleType

import msgspec
import pytest

from forestall.trust import authorise, dsse, keyfile, statements
from forestall.trust.authorise import (
    MAX_COUNTER_JUMP,
    MAX_STEP_SECONDS,
    MAX_TEXT,
    Hours,
    Refused,
    RefusedBecause,
    accept_root,
    authorise_command,
    authorise_job,
    authorise_order,
    require_sound_runbook,
    require_value,
)
from forestall.trust.keys import key_id, public_bytes
from forestall.trust.statements import OperatorLimits, Parameter, Step, statement_digest
from forestall.trust.tests.conftest import NOW, RUNBOOK

replace = msgspec.structs.replace


def holds(call, *args, **kwargs) -> bool:
    try:
        call(*args, **kwargs)
    except Refused:
        return False
    return True


def structs(module: ModuleType) -> list[type]:
    found = vars(module).values()
    return [one for one in found if inspect.isclass(one) and one.__module__ == module.__name__]


@pytest.mark.parametrize("kind", [one for one in structs(statements) if issubclass(one, msgspec.Struct)])
def test_what_is_signed_cannot_be_changed_and_holds_nothing_unread(kind):
    assert kind.__struct_config__.frozen
    assert kind.__struct_config__.forbid_unknown_fields
    later = {"Root", "OperatorLimits", "Job", "Revocation"}  # have fields that came later, left out while unused
    assert kind.__struct_config__.omit_defaults == (kind.__name__ in later)


def test_what_is_judged_cannot_be_changed_while_it_is():
    assert keyfile.Sealed.__struct_config__.forbid_unknown_fields
    assert all(kind.__struct_config__.frozen for kind in (dsse.Envelope, dsse.Signature, keyfile.Sealed))
    judged = [one for one in structs(authorise) if dataclasses.is_dataclass(one)]
    assert {one.__name__ for one in judged} == {"Hours", "Veto", "Situation", "Authorised"}
    assert all(one.__dataclass_params__.frozen for one in judged)


@pytest.mark.parametrize(("seconds", "sound"), [(0, False), (1, True), (MAX_STEP_SECONDS, True), (86_401, False)])
def test_a_step_takes_a_second_to_a_day(seconds, sound):
    runbook = replace(RUNBOOK, steps=(Step(action="apt.clean", timeout_seconds=seconds),))
    assert holds(require_sound_runbook, runbook) == sound


def test_a_parameter_that_may_be_left_out_has_a_default():
    optional = Parameter(name="days", kind="integer", description="", required=False, default=7)
    assert holds(require_sound_runbook, replace(RUNBOOK, steps=(Step(action="x"),), parameters=(optional,)))
    without = replace(optional, default=None)
    assert not holds(require_sound_runbook, replace(RUNBOOK, steps=(Step(action="x"),), parameters=(without,)))


@pytest.mark.parametrize(("jump", "fits"), [(1, True), (1_000_000, True), (1_000_001, False), (0, False)])
def test_an_invocation_jumps_a_million_at_most(world, jump, fits):
    assert MAX_COUNTER_JUMP == 1_000_000
    order = world.order()
    orders = {statement_digest(order): world.signed(order, world.ada)}
    envelope = world.signed(world.invocation(order, counter=4 + jump))
    given = {"root": world.root, "runbooks": world.runbooks, "orders": orders, "situation": world.situation()}
    assert holds(authorise_command, envelope=envelope, **given) == fits


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({"not_before": NOW}, True),
        ({"not_before": NOW + timedelta(microseconds=1)}, False),
        ({"expires_at": NOW + timedelta(microseconds=1)}, True),
        ({"expires_at": NOW}, False),
        ({"not_before": NOW, "expires_at": NOW + timedelta(hours=24)}, True),
        ({"not_before": NOW, "expires_at": NOW + timedelta(hours=24, microseconds=1)}, False),
    ],
)
def test_a_job_lives_from_its_first_moment_to_its_last_but_one(world, changes, fits):
    envelope = world.signed(world.job(**changes), world.ada)
    given = {"root": world.root, "runbooks": world.runbooks, "situation": world.situation()}
    assert holds(authorise_job, envelope=envelope, **given) == fits


@pytest.mark.parametrize(
    ("kind", "value", "bounds", "fits"),
    [
        ("text", "x" * MAX_TEXT, {}, True),
        ("text", "x" * (MAX_TEXT + 1), {}, False),
        ("integer", 1, {"minimum": 1, "maximum": 1}, True),
        ("integer", 0, {"minimum": 1}, False),
        ("integer", 2, {"maximum": 1}, False),
        ("service", "a" * 200, {}, True),
        ("service", "a" * 201, {}, False),
    ],
)
def test_values_at_their_bounds(kind, value, bounds, fits):
    assert holds(require_value, Parameter(name="x", kind=kind, description="", **bounds), value) == fits


def test_the_codes_of_the_protocol_are_these():
    """A code that vanishes or changes its spelling breaks every record of the past."""
    assert len(RefusedBecause) == 45
    assert all(code == code.name.lower() for code in RefusedBecause)


@pytest.mark.parametrize(
    ("text", "holds_for_it"),
    [
        ("00:00-24:00", True), ("00:00-24:01", False), ("23:59-00:00", True), ("24:00-01:00", False),
        ("01:60-02:00", False), ("01:00-02:60", False), ("01:00-01:00", False), ("01:59-02:59", True),
    ],
)  # fmt: skip
def test_hours_end_at_midnight(text, holds_for_it):
    try:
        Hours.parse(text)
    except ValueError:
        assert not holds_for_it
    else:
        assert holds_for_it


def test_the_least_limits_are_sound(world):
    ada = key_id(public_bytes(world.ada))
    least = replace(world.root, limits={ada: OperatorLimits(most_devices=1)}, single_signature_devices=1)
    pinned = key_id(public_bytes(world.root_key))
    given = {"current": None, "pinned_key_id": pinned, "now": NOW}
    assert accept_root(envelope=world.signed(least, world.root_key), **given) == least


def test_what_a_runbook_leaves_out_is_the_careful_choice():
    step, parameter = Step(action="x"), Parameter(name="x", kind="text", description="")
    assert (step.go_on, step.timeout_seconds, step.arguments) == (False, 300, {})
    assert (parameter.required, parameter.default, parameter.pattern) == (True, None, "")
    assert (parameter.minimum, parameter.maximum) == (None, None)


@pytest.mark.parametrize(("runs", "sound"), [(0, False), (1, True)])
def test_an_order_runs_once_a_day_at_least(world, runs, sound):
    envelope = world.signed(world.order(runs_per_day=runs), world.ada)
    given = {"root": world.root, "runbooks": world.runbooks, "situation": world.situation()}
    assert holds(authorise_order, envelope=envelope, **given) == sound


@pytest.mark.parametrize(("names", "sound"), [(("a",), True), (("A",), False), (("a", "a"), False), (("a", "b"), True)])
def test_a_parameter_has_one_plain_name(names, sound):
    parameters = tuple(Parameter(name=one, kind="text", description="") for one in names)
    runbook = replace(RUNBOOK, parameters=parameters, steps=(Step(action="x"),))
    assert holds(require_sound_runbook, runbook) == sound
