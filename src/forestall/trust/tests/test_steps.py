"""Steps with conditions, approvals and undoing: what is sound, what continues what, and that older bytes stay."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from forestall.trust.authorise import (
    MAX_APPROVAL_WAIT,
    MAX_SCRIPT,
    MAX_TEXT,
    Refused,
    RefusedBecause,
    Suspended,
    Veto,
    authorise_job,
    authorise_order,
    filled_steps,
    holds,
    require_actions,
    require_sound_runbook,
)
from forestall.trust.sign import new_order
from forestall.trust.statements import (
    CheckpointRef,
    Continuation,
    Job,
    JobResult,
    Parameter,
    RiskClass,
    Runbook,
    Step,
    StepResult,
    UndoStep,
    When,
    read_statement,
    result_digest,
    statement_bytes,
    statement_digest,
)
from forestall.trust.tests.conftest import CLIENT, DEVICE, NOW, RUNBOOK
from forestall.trust.words import describe, step_words

replace = msgspec.structs.replace

MIGRATE = Runbook(
    slug="migrate",
    version=1,
    title="Migrate",
    description="Stops a service, changes it, starts it.",
    risk=RiskClass.CHANGE,
    parameters=(Parameter(name="service", kind="service", description="Whose"),),
    steps=(
        Step(
            name="look",
            action="service.look",
            arguments={"service": "{service}"},
            go_on=True,
        ),
        Step(
            name="stop",
            action="service.stop",
            arguments={"service": "{service}"},
            when=When(step="look", outcome="succeeded"),
            undo=UndoStep(action="service.start", arguments={"service": "{service}"}),
        ),
        Step(
            action="service.change",
            arguments={"service": "{service}"},
            approval="The service is stopped; nobody works with it?",
            when=When(step="stop", outcome="changed"),
        ),
    ),
    undo="Start the service.",
    undo_on_failure=True,
)
DIGEST = statement_digest(MIGRATE)
STOPPED = Suspended(
    job_id="6d9e0000-0000-4000-8000-00000000000a",
    runbook=DIGEST,
    parameters={"service": "nginx"},
    step=2,
    result="ab" * 32,
    stopped_at=NOW - timedelta(hours=1),
    outcomes={"look": ("succeeded", "unchanged"), "stop": ("succeeded", "changed")},
    ran=(0, 1),
)


def test_what_was_signed_before_these_fields_keeps_its_bytes(world):
    """Digests of the release before: a device and a log of then must go on naming the same things."""
    order = world.order()
    result = JobResult(
        job_id="j",
        device_id=DEVICE,
        client_id=CLIENT,
        outcome="succeeded",
        code="done",
        detail="d",
        runbook=statement_digest(RUNBOOK),
        started_at=NOW,
        finished_at=NOW,
        steps=(StepResult(action="a", ok=True, summary="s", changed={"files": 1}),),
    )
    assert {
        "runbook": statement_digest(RUNBOOK),
        "job": statement_digest(world.job()),
        "dry run": statement_digest(world.job(dry_run=True)),
        "order": statement_digest(order),
        "invocation": statement_digest(world.invocation(order)),
        "result": statement_digest(result),
    } == {
        "runbook": "f90ca2a832334f2502f548ee1a89eb5f7b83977abcb592edc27779e76371407a",
        "job": "57f1737ef196ceb2bbea0ec37aac74927dd98b2e67d717484ca9145e216cf3b9",
        "dry run": "6ce5f4e47ca5abaf08bb053268cf1d98b6d433091f64ae941a119da6cc32a1b1",
        "order": "15c5f6be4a3f6ddc44ccc1ff14419ad26c2ba2264845a443f60b4344f0eda9ac",
        "invocation": "60756089d58457c820876862b752c7adfd8cef4a68573713ccebf0f1b0c2ec11",
        "result": "6794e110eec23662e57d759fafaaa461cb841c89cf174b598f98fe47f1f9091d",
    }
    # And a result is named alike whichever checkpoint it was signed with.
    assert result_digest(replace(result, checkpoint=CheckpointRef(size=1, root="ab"))) == result_digest(result)


def test_new_fields_come_back_from_their_bytes():
    assert read_statement(statement_bytes(MIGRATE), Runbook) == MIGRATE
    require_sound_runbook(MIGRATE)
    filled = filled_steps(MIGRATE, {"service": "nginx"})
    assert filled[1].undo.arguments == {"service": "nginx"}


def step(**changes) -> Step:
    return Step(action="x", **changes)


@pytest.mark.parametrize(
    ("steps", "what"),
    [
        ((step(name="a"), step(name="a")), "'a' is misnamed or named twice"),
        ((step(name="A b"),), "is misnamed"),
        ((step(when=When(step="later", outcome="failed")), step(name="later")), "no earlier one has that name"),
        ((step(name="a", when=When(step="a", outcome="failed")),), "no earlier one has that name"),
        ((step(name="a"), step(when=When(step="a", outcome="failed"))), "never runs: the run ends when 'a' fails"),
        ((step(approval=" "),), "without a line that says of what"),
        ((step(approval="a\nb"),), "without a line that says of what"),
        ((step(approval="x" * (MAX_TEXT + 1)),), "without a line that says of what"),
        ((step(undo=UndoStep(action="y", timeout_seconds=0)),), "step 'y' has a timeout of 0 s"),
        ((step(undo=UndoStep(action="y", arguments={"a": "{nobody}"})),), "uses the parameter 'nobody'"),
        ((step(arguments={"script": "x" * (MAX_SCRIPT + 1)}),), "argument of 65537 characters, at most 65536"),
    ],
)
def test_a_runbook_that_cannot_be_carried_out_as_written_is_refused(steps, what):
    with pytest.raises(Refused, match=what) as refused:
        require_sound_runbook(replace(RUNBOOK, steps=steps))
    assert refused.value.because is RefusedBecause.RUNBOOK_UNSOUND


def test_what_is_just_sound():
    require_sound_runbook(
        replace(
            RUNBOOK,
            steps=(
                step(name="a", go_on=True, approval="x" * MAX_TEXT, arguments={"script": "x" * MAX_SCRIPT}),
                step(when=When(step="a", outcome="failed")),
            ),
        )
    )


def test_a_condition_holds_only_on_what_is_known():
    conditional = MIGRATE.steps[1]
    assert holds(MIGRATE.steps[0], {})
    assert holds(conditional, {"look": ("succeeded", "unchanged")})
    assert not holds(conditional, {"look": ("failed",)})
    assert not holds(conditional, {})


def test_what_undoes_is_bound_like_what_does(world):
    known = {"service.look": RiskClass.CHANGE, "service.stop": RiskClass.CHANGE, "service.change": RiskClass.CHANGE}
    with pytest.raises(Refused, match=r"no action 'service.start'"):
        require_actions(MIGRATE, known)
    with pytest.raises(Refused, match=r"service.start is destructive"):
        require_actions(MIGRATE, {**known, "service.start": RiskClass.DESTRUCTIVE})
    require_actions(MIGRATE, {**known, "service.start": RiskClass.CHANGE})
    with pytest.raises(Refused) as refused:
        approve(world, veto=Veto(forbid_actions=frozenset({"service.start"})))
    assert refused.value.because is RefusedBecause.VETO_ACTION


# --- approvals ---


def job(world, **changes) -> Job:
    given = {
        "runbook": DIGEST,
        "parameters": {"service": "nginx"},
        "continues": Continuation(job=STOPPED.job_id, step=2, result=STOPPED.result),
    }
    return world.job(**{**given, **changes})


def approve(world, *keys, stopped=STOPPED, veto=None, runbooks=None, **changes):
    return authorise_job(
        root=world.root,
        runbooks={DIGEST: MIGRATE, **(runbooks or {})},
        envelope=world.signed(job(world, **changes), *(keys or (world.ada,))),
        situation=world.situation(suspended={STOPPED.job_id: stopped}, veto=veto or Veto()),
    )


def test_ada_approves_the_run_that_stopped(world):
    authorised = approve(world)
    assert authorised.continues == STOPPED
    assert authorised.parameters == {"service": "nginx"}


def test_a_run_of_its_own_continues_none(world):
    assert approve(world, continues=None).continues is None


def test_nobody_without_an_operators_key_approves(world):
    with pytest.raises(Refused) as refused:
        approve(world, world.eve)
    assert refused.value.because is RefusedBecause.SIGNATURES_MISSING


OTHER = replace(MIGRATE, version=2)


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"continues": Continuation(job="another", step=2, result=STOPPED.result)}, "approval_unknown"),
        ({"continues": Continuation(job=STOPPED.job_id, step=1, result=STOPPED.result)}, "approval_mismatch"),
        ({"continues": Continuation(job=STOPPED.job_id, step=2, result="cd" * 32)}, "approval_mismatch"),
        ({"runbook": statement_digest(OTHER)}, "approval_mismatch"),
        ({"parameters": {"service": "apache2"}}, "approval_mismatch"),
        ({"dry_run": True}, "approval_mismatch"),
        ({"stopped": replace(STOPPED, job_id="another")}, "approval_mismatch"),
        ({"stopped": replace(STOPPED, step=3), "continues": Continuation(job=STOPPED.job_id, step=3, result="ab" * 32)},
         "approval_mismatch"),
        ({"stopped": replace(STOPPED, step=-1),
          "continues": Continuation(job=STOPPED.job_id, step=-1, result="ab" * 32)}, "approval_mismatch"),
        ({"stopped": replace(STOPPED, stopped_at=NOW - MAX_APPROVAL_WAIT - timedelta(seconds=1))}, "approval_expired"),
        ({"stopped": replace(STOPPED, stopped_at=NOW + MAX_APPROVAL_WAIT + timedelta(seconds=1))},
         "approval_expired"),
        ({"devices": {DEVICE: 4}}, "counter_passed"),
        ({"expires_at": NOW}, "expired"),
    ],
)  # fmt: skip
def test_only_the_very_run_that_stopped_goes_on(world, changes, because):
    with pytest.raises(Refused) as refused:
        approve(world, runbooks={statement_digest(OTHER): OTHER}, **changes)
    assert refused.value.because == because


def test_an_approval_just_in_time(world):
    stopped = replace(STOPPED, stopped_at=NOW - MAX_APPROVAL_WAIT)
    assert approve(world, stopped=stopped).continues == stopped
    assert approve(world, stopped=replace(STOPPED, stopped_at=NOW)).continues


def test_the_first_step_may_wait_too(world):
    first = replace(MIGRATE, steps=(replace(MIGRATE.steps[0], approval="Ready?"),))
    digest = statement_digest(first)
    stopped = replace(STOPPED, runbook=digest, step=0)
    continues = Continuation(job=STOPPED.job_id, step=0, result=STOPPED.result)
    assert approve(world, stopped=stopped, runbook=digest, runbooks={digest: first}, continues=continues).continues


def test_equal_values_of_another_type_are_another_parameter(world):
    flag = replace(
        MIGRATE, parameters=(Parameter(name="deep", kind="boolean", description=""),), steps=(Step(action="x"),)
    )
    digest = statement_digest(flag)
    stopped = replace(STOPPED, runbook=digest, step=0, parameters={"deep": 1})
    continues = Continuation(job=STOPPED.job_id, step=0, result=STOPPED.result)
    with pytest.raises(Refused, match="another parameter"):
        approve(
            world,
            stopped=stopped,
            runbook=digest,
            runbooks={digest: flag},
            continues=continues,
            parameters={"deep": True},
        )


# --- the budget of an order ---


@pytest.mark.parametrize(("devices", "sound"), [(0, False), (1, True)])
def test_an_order_reaches_one_device_an_hour_at_least(world, devices, sound):
    envelope = world.signed(world.order(devices_per_hour=devices), world.ada)
    given = {"root": world.root, "runbooks": world.runbooks, "situation": world.situation()}
    if sound:
        order, _, _ = authorise_order(envelope=envelope, **given)
        assert order.devices_per_hour == 1
        return
    with pytest.raises(Refused, match="allows 0 devices an hour") as refused:
        authorise_order(envelope=envelope, **given)
    assert refused.value.because is RefusedBecause.ORDER_UNSOUND


def test_a_new_order_says_its_budget_or_leaves_it_out():
    given = {
        "runbook": RUNBOOK,
        "trigger": "disk_space",
        "client_id": CLIENT,
        "devices": [DEVICE],
        "allowed": {"folder": ["/var/tmp"]},
        "runs_per_day": 1,
        "life": timedelta(days=1),
        "now": NOW,
    }
    plain = new_order(**given)
    assert plain.devices_per_hour is msgspec.UNSET
    assert b"devices_per_hour" not in statement_bytes(plain)
    bounded = new_order(**given, devices_per_hour=3)
    assert "On at most 3 devices in any hour; the server keeps to that" in describe(bounded, runbook=RUNBOOK)
    assert not [line for line in describe(plain, runbook=RUNBOOK) if "in any hour" in line]


# --- words ---


def test_steps_in_words():
    look, stop, change = step_words(MIGRATE, {"service": "nginx"})
    assert look.startswith("[look] Does 'service.look' with service = nginx")
    assert stop.startswith("[stop] Only if look succeeded: Does 'service.stop'")
    assert " Undone by: Does 'service.start' with service = nginx" in stop
    assert change.startswith(
        "WAITS FOR AN OPERATOR'S APPROVAL (The service is stopped; nobody works with it?), then: "
        "Only if stop changed something: "
    )


def test_an_approval_in_words(world):
    lines = describe(job(world), runbook=MIGRATE)
    assert f"APPROVES what job {STOPPED.job_id} waits for: The service is stopped; nobody works with it?" in lines
    assert any("The steps before step 3 have run" in line for line in lines)
    assert "When a step fails, it puts back by itself what its steps changed." in lines
    for wrong in (1, 7, -1):
        with pytest.raises(ValueError, match="waits for no approval"):
            describe(job(world, continues=Continuation(job="x", step=wrong, result="y")), runbook=MIGRATE)


def test_a_script_is_shown_line_by_line_and_harmless():
    script = Step(
        action="script.run",
        arguments={"interpreter": "sh", "run_as": "nobody", "script": "set -e\necho \x1b[31mhello\n"},
    )
    words = step_words(replace(RUNBOOK, steps=(script,)), {})[0]
    assert words.splitlines()[1:] == ["    set -e", "    echo �[31mhello"]
