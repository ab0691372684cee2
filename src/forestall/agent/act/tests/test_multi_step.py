"""Runbooks of several steps on a real machine: conditions, approvals, and a failing step that undoes the others."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from forestall.agent.act import suspended
from forestall.agent.act.execute import LEAST_RISK
from forestall.agent.act.policy import parse_policy, policy_words
from forestall.agent.act.suspended import SUSPENDED_FILE, read_suspended
from forestall.agent.act.tests.test_changes import service
from forestall.trust.proofs import RestoreProof
from forestall.trust.statements import (
    Continuation,
    Parameter,
    RiskClass,
    Step,
    StepResult,
    UndoStep,
    When,
    result_digest,
)

replace = msgspec.structs.replace


def stop(**changes) -> Step:
    return Step(action="service.stop", arguments={"service": "cupsd", "disable": False}, **changes)


def start(name="cupsd", **changes) -> Step:
    return Step(action="service.start", arguments={"service": name, "enable": False}, **changes)


def sweep(machine, **changes) -> Step:
    return Step(
        action="files.delete_older",
        arguments={"folder": str(machine.temporary), "older_than_days": 7, "pattern": "*"},
        **changes,
    )


def parts(result) -> list[tuple[str, str]]:
    return [(step.action, "" if step.part is msgspec.UNSET else step.part) for step in result.steps]


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setattr("forestall.agent.act.actions.service_start.SETTLE_SECONDS", 0.0)


# --- conditions ---


def test_a_service_starts_again_only_because_it_was_stopped(machine):
    state = service(machine)
    steps = (stop(name="stop"), sweep(machine), start(when=When(step="stop", outcome="changed")))
    result = machine.run(*steps)
    assert (result.outcome, result.code) == ("succeeded", "done")
    assert parts(result)[2] == ("service.start", "")
    assert state.exists()

    state.unlink()  # somebody stopped it before: then it is not ours to start
    result = machine.run(*steps)
    assert parts(result)[2] == ("service.start", "skipped")
    assert result.steps[2].summary == "service.start was skipped: only if stop changed"
    assert not state.exists()


def test_what_comes_after_a_failure_and_after_a_skipped_step(machine):
    state = service(machine, running=False)
    result = machine.run(
        Step(action="service.restart", arguments={"service": "absent"}, name="restart", go_on=True),
        start(name="cupsd", when=When(step="restart", outcome="failed")),
        Step(
            action="service.restart",
            arguments={"service": "absent"},
            name="never",
            when=When(step="restart", outcome="succeeded"),
        ),
        sweep(machine, when=When(step="never", outcome="skipped")),
    )
    assert [step.part for step in result.steps] == [msgspec.UNSET, msgspec.UNSET, "skipped", msgspec.UNSET]
    assert state.exists()
    # The run counts as failed all the same: a step failed.
    assert (result.outcome, result.code) == ("failed", "service_unknown")


def test_a_dry_run_says_every_step_and_its_condition(machine):
    state = service(machine)
    runbook = machine.runbook(
        stop(name="stop"), start(when=When(step="stop", outcome="changed"), approval="Ready?"), slug="dry"
    )
    machine.know(runbook)
    result = machine.execute(machine.signed(machine.job(runbook, dry_run=True)))
    assert result.code == "dry_run"
    assert [step.summary for step in result.steps] == [
        "would stop cupsd",
        "after an approval: only if stop changed: cupsd runs; nothing to do",
    ]
    assert state.exists()
    assert read_suspended(machine.folder) == {}


# --- approvals ---


@pytest.fixture
def waiting(machine):
    """A run that stopped the service and waits before it sweeps."""
    service(machine)
    runbook = machine.runbook(
        stop(name="stop"),
        sweep(machine, approval="Nobody prints?", name="sweep"),
        start(when=When(step="stop", outcome="changed")),
        slug="sweep-quietly",
        parameters=(Parameter(name="why", kind="text", description="", default="dust"),),
    )
    machine.know(runbook)
    result = machine.execute(machine.signed(machine.job(runbook)))
    return runbook, result


def approval(machine, runbook, result, **changes):
    given = {"continues": Continuation(job=result.job_id, step=1, result=result_digest(result))}
    return machine.job(runbook, **{**given, **changes})


def test_a_run_stops_before_what_must_be_approved_and_goes_on_once_it_is(machine, waiting):
    runbook, stopped = waiting
    old = machine.file("old")
    state = machine.temporary.parent / "init.d" / "cupsd.state"
    assert (stopped.outcome, stopped.code) == ("awaiting_approval", "awaiting_approval")
    assert parts(stopped) == [("service.stop", ""), ("files.delete_older", "approval")]
    assert stopped.steps[1].summary == "waits for an approval: Nobody prints?"
    assert not state.exists()
    assert old.exists()

    machine.reopen()  # the machine was restarted meanwhile
    envelope = machine.signed(approval(machine, runbook, stopped))
    result = machine.execute(envelope)
    assert (result.outcome, result.code) == ("succeeded", "done")
    assert parts(result) == [("files.delete_older", ""), ("service.start", "")]
    assert not old.exists()
    assert state.exists()
    assert machine.execute(envelope) is None
    again = machine.execute(machine.signed(approval(machine, runbook, stopped)))
    assert (again.outcome, again.code) == ("refused", "approval_unknown")


def test_only_an_operator_who_saw_this_result_lets_it_go_on(machine, waiting):
    runbook, stopped = waiting
    forged = machine.execute(machine.signed(approval(machine, runbook, stopped), machine.eve))
    assert forged.code == "signatures_missing"
    other = Continuation(job=stopped.job_id, step=1, result="ab" * 32)
    assert machine.execute(machine.signed(approval(machine, runbook, stopped, continues=other))).code == (
        "approval_mismatch"
    )
    wrong = approval(machine, runbook, stopped, parameters={"why": "spite"})
    assert machine.execute(machine.signed(wrong)).code == "approval_mismatch"
    # None of these used it up.
    assert machine.execute(machine.signed(approval(machine, runbook, stopped))).outcome == "succeeded"


def test_an_approval_comes_within_a_week(machine, waiting):
    runbook, stopped = waiting
    late = approval(
        machine,
        runbook,
        stopped,
        not_before=machine.now + timedelta(days=8) - timedelta(minutes=5),
        expires_at=machine.now + timedelta(days=8, hours=1),
    )
    machine.now += timedelta(days=8)
    assert machine.execute(machine.signed(late)).code == "approval_expired"


def test_runs_whose_approval_is_overdue_are_forgotten(machine, waiting):
    _, stopped = waiting
    kept = read_suspended(machine.folder)[stopped.job_id]
    later = replace(kept, job_id="later", stopped_at=kept.stopped_at + timedelta(days=8))
    suspended.suspend(machine.folder, later, now=later.stopped_at)
    assert set(read_suspended(machine.folder)) == {"later"}
    suspended.forget(machine.folder, "nobody")
    assert set(read_suspended(machine.folder)) == {"later"}


def test_a_damaged_memory_lets_nothing_go_on(machine, waiting):
    runbook, stopped = waiting
    (machine.folder / SUSPENDED_FILE).write_text("{")
    assert machine.execute(machine.signed(approval(machine, runbook, stopped))).code == "approval_unknown"


def test_a_failure_before_the_approval_is_not_forgotten_after_it(machine):
    runbook = machine.runbook(
        Step(action="service.restart", arguments={"service": "absent"}, go_on=True),
        sweep(machine, approval="Go on without the service?"),
        slug="half",
    )
    machine.know(runbook)
    stopped = machine.execute(machine.signed(machine.job(runbook)))
    assert stopped.outcome == "awaiting_approval"
    result = machine.execute(machine.signed(approval(machine, runbook, stopped)))
    assert (result.outcome, result.code) == ("failed", "service_unknown")
    assert parts(result) == [("files.delete_older", "")]


def test_a_run_under_a_standing_order_waits_too_and_a_signed_job_lets_it_go_on(machine):
    runbook = machine.runbook(sweep(machine, approval="Sweep now?"), slug="ask-first")
    machine.know(runbook)
    order = machine.order(runbook)
    assert machine.state.accept_documents([machine.signed(order)], now=machine.now) == []
    stopped = machine.execute(machine.invocation(order))
    assert stopped.outcome == "awaiting_approval"
    old = machine.file("old")
    continues = Continuation(job=stopped.job_id, step=0, result=result_digest(stopped))
    result = machine.execute(machine.signed(machine.job(runbook, continues=continues)))
    assert result.outcome == "succeeded"
    assert not old.exists()


# --- undoing ---


def settings(machine) -> Path:
    folder = machine.temporary.parent / "etc"
    folder.mkdir(exist_ok=True)
    path = folder / "app.conf"
    path.write_text("before\n")
    return path


@pytest.fixture
def change_a_file(machine, monkeypatch):
    """An action that changes a setting through the journal, as those of this agent do."""
    from forestall.agent.act.actions import ACTIONS

    class Change:
        NAME, RISK, DRY_RUN, ARGUMENTS = "test.change", RiskClass.CHANGE, False, {"path": str}

        @staticmethod
        def run(args, host, ctx):
            ctx.changes.file_replace(args["path"], f"after step {ctx.step}\n".encode())
            return StepResult(action="test.change", ok=True, summary="changed", changed={"files": 1})

    monkeypatch.setitem(ACTIONS, "test.change", Change)
    monkeypatch.setitem(LEAST_RISK, "test.change", RiskClass.CHANGE)
    path = settings(machine)
    return path, Step(action="test.change", arguments={"path": str(path)})


def test_a_failing_step_puts_back_what_the_others_changed(machine, change_a_file):
    path, change = change_a_file
    state = service(machine)
    failing = Step(action="service.restart", arguments={"service": "absent"})
    again = UndoStep(action="service.start", arguments={"service": "cupsd", "enable": False})
    result = machine.run(stop(undo=again), change, failing, undo_on_failure=True)
    assert (result.outcome, result.code) == ("failed", "service_unknown")
    assert parts(result) == [
        ("service.stop", ""),
        ("test.change", ""),
        ("service.restart", ""),
        ("changes.undo", "undo"),
        ("service.start", "undo"),
    ]
    assert result.steps[1].changed == {"files": 1, "undoable": 1}
    assert path.read_text() == "before\n"
    assert state.exists()
    # And there is nothing left to undo.
    assert machine.run_library("undo-change", job=result.job_id).code == "undone_already"


def test_without_that_word_it_stays_as_far_as_it_came(machine, change_a_file):
    path, change = change_a_file
    result = machine.run(change, Step(action="service.restart", arguments={"service": "absent"}))
    assert parts(result)[-1] == ("service.restart", "")
    assert path.read_text() == "after step 0\n"


@pytest.mark.runbook("undo-change")
def test_bob_undoes_a_job_and_then_the_undoing(machine, change_a_file):
    path, change = change_a_file
    done = machine.run(change)
    dry = machine.run_library("undo-change", dry_run=True, job=done.job_id)
    assert dry.code == "dry_run"
    assert path.read_text() == "after step 0\n"
    undone = machine.run_library("undo-change", job=done.job_id)
    assert (undone.outcome, undone.steps[0].changed) == ("succeeded", {"files": 1, "others": 0, "undoable": 1})
    assert path.read_text() == "before\n"
    assert machine.run_library("undo-change", job=undone.job_id).outcome == "succeeded"
    assert path.read_text() == "after step 0\n"
    path.write_text("Bob's own\n")
    refused = machine.run_library("undo-change", job=undone.job_id)
    assert refused.code == "undone_already"
    assert machine.run_library("undo-change", job=str(uuid4())).code == "nothing_to_undo"


def test_undo_says_what_was_changed_since(machine, change_a_file):
    path, change = change_a_file
    done = machine.run(change)
    path.write_text("Bob's own\n")
    refused = machine.run_library("undo-change", job=done.job_id)
    assert (refused.outcome, refused.code) == ("failed", "changed_since")
    assert refused.detail == f"nothing was put back: {path} was changed since"
    assert path.read_text() == "Bob's own\n"


def test_a_failure_after_the_approval_puts_back_both_halves(machine, change_a_file):
    path, change = change_a_file
    runbook = machine.runbook(
        change,
        replace(change, approval="Looks right?"),
        Step(action="service.restart", arguments={"service": "absent"}),
        slug="halves",
        undo_on_failure=True,
    )
    machine.know(runbook)
    stopped = machine.execute(machine.signed(machine.job(runbook)))
    assert path.read_text() == "after step 0\n"
    result = machine.execute(machine.signed(approval(machine, runbook, stopped)))
    assert parts(result)[-1] == ("changes.undo", "undo")
    assert result.steps[-1].ok
    assert path.read_text() == "before\n"


def test_a_failure_with_nothing_changed_undoes_nothing(machine):
    result = machine.run(Step(action="service.restart", arguments={"service": "absent"}), undo_on_failure=True)
    assert parts(result) == [("service.restart", "")]


def test_a_first_half_is_put_back_when_the_second_changed_nothing(machine, change_a_file):
    path, change = change_a_file
    runbook = machine.runbook(
        change,
        Step(action="service.restart", arguments={"service": "absent"}, approval="Restart?"),
        slug="first-half",
        undo_on_failure=True,
    )
    machine.know(runbook)
    stopped = machine.execute(machine.signed(machine.job(runbook)))
    result = machine.execute(machine.signed(approval(machine, runbook, stopped)))
    assert parts(result) == [("service.restart", ""), ("changes.undo", "undo")]
    assert path.read_text() == "before\n"


def test_a_damaged_journal_is_said_in_the_result(machine, change_a_file, monkeypatch):
    _, change = change_a_file

    def restart_fails(args, host, ctx):
        (machine.folder / "changes" / ctx.job_id / "journal.json").write_text("{")
        from forestall.agent.act.context import ActionFailed

        raise ActionFailed("broke", "broke on purpose")

    monkeypatch.setattr("forestall.agent.act.actions.service_restart.run", restart_fails)
    failing = Step(action="service.restart", arguments={"service": "absent"})
    result = machine.run(change, failing, undo_on_failure=True)
    assert result.code == "broke"
    assert not result.steps[-1].ok
    assert "cannot be read" in result.steps[-1].summary


def test_a_job_whose_id_is_no_name_for_a_folder_is_kept_under_its_digest(machine, change_a_file):
    _, change = change_a_file
    runbook = machine.runbook(change, slug="odd")
    machine.know(runbook)
    result = machine.execute(machine.signed(machine.job(runbook, job_id="../../odd id")))
    assert result.outcome == "succeeded"
    assert result.steps[0].changed["undoable"] == 1
    assert all(len(found.name) == 64 for found in (machine.folder / "changes").iterdir())


def test_what_a_proof_says_is_cleaned_like_everything_else(machine, monkeypatch):
    from forestall.agent.act.actions import ACTIONS

    proof = RestoreProof(
        backup="documents", tool="restic", level="whole", ok=False, snapshot="a", snapshot_at=None,
        started_at=machine.now, seconds=1.0, files=1, compared=1, bytes=1,
        detail="opened with hunter2-secret\x1b[31m", differences=("/a: hunter2-secret",),
    )  # fmt: skip

    class Prove:
        NAME, RISK, DRY_RUN, ARGUMENTS = "test.prove", RiskClass.CHANGE, False, {}

        @staticmethod
        def run(args, host, ctx):
            ctx.secrets.add("hunter2-secret")
            return StepResult(action="test.prove", ok=True, summary="proved", proof=proof)

    monkeypatch.setitem(ACTIONS, "test.prove", Prove)
    monkeypatch.setitem(LEAST_RISK, "test.prove", RiskClass.CHANGE)
    shown = machine.run(Step(action="test.prove")).steps[0].proof
    assert "hunter2" not in shown.detail + shown.differences[0]
    assert "\x1b" not in shown.detail


def test_a_policy_says_when_the_machine_may_reboot():
    words = policy_words(parse_policy('reboot_hours = ["22:00-05:00"]'))
    assert words[0] == "Reboots only, on this device's clock:"
