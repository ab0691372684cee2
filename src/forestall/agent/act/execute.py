"""Carrying out a command: authorise, note, run the steps, answer. Every command gets an answer."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import replace as replace_fields
from datetime import datetime
from typing import Literal

import msgspec

from forestall.agent.act.actions import ACTIONS
from forestall.agent.act.changes import Changes
from forestall.agent.act.context import ActionFailed, Context, Places
from forestall.agent.act.programs import MAX_OUTPUT
from forestall.agent.act.state import ActState
from forestall.agent.collect.host import Host
from forestall.agent.collect.redaction import HIDDEN, redact
from forestall.trust.authorise import Authorised, Refused, RefusedBecause, Suspended, holds, require_actions
from forestall.trust.dsse import decode
from forestall.trust.statements import (
    Invocation,
    Job,
    JobResult,
    Outcome,
    ParameterValue,
    Step,
    StepResult,
    read_statement,
    result_digest,
)

log = logging.getLogger(__name__)

LEAST_RISK = {name: action.RISK for name, action in ACTIONS.items()}
MAX_SUMMARY = 1_000
DRY_RUN = "dry_run"
"""Code of a dry run that came to its end: nothing was changed."""

AWAITING_APPROVAL = "awaiting_approval"
"""Code of a run that stopped before a step which operators have to approve."""
UNDO_SECONDS = 300
UNDO_STEP = -1
"""Number of the step that what was put back is noted under."""
UNDOABLE = "undoable"
"""In ``StepResult.changed``: how many changes of the step the undo journal holds."""


def execute(
    envelope: bytes,
    state: ActState,
    host: Host,
    now: datetime,
    *,
    places: Places | None = None,
    environment: Mapping[str, str] | None = None,
) -> JobResult | None:
    """Run a command, or refuse it; None when this very command was answered before.

    The result is also kept in the state (``results_waiting``) until the spool has it. OSError when the state cannot
    be kept (a full disk): before the first step, then nothing ran and the command is taken when it comes again; or
    after the last, then it never runs again and is answered as interrupted once the state is opened anew.
    ``places`` and ``environment`` are for actions; the defaults are this machine's own.
    """
    if state.was_answered(envelope):
        return None
    policy = state.policy()
    try:
        authorised = state.authorise(envelope, now=now, local=now.astimezone(), policy=policy)
        require_actions(authorised.runbook, LEAST_RISK)
    except Refused as refusal:
        return _refuse(envelope, state, refusal, now)
    except Exception as error:
        # Fail closed: a check that breaks has not said yes.
        log.exception("the authorisation check failed")
        return _refuse(envelope, state, Refused(RefusedBecause.CHECK_FAILED, f"{type(error).__name__}: {error}"), now)
    state.begin(envelope, authorised, now=now)
    context = Context(
        agent_home=state.folder,
        timeout_seconds=0,
        delete_below=policy.delete_below,
        reboot_hours=policy.reboot_hours,
        places=places or Places(),
        environment=environment or {},
        dry_run=authorised.dry_run,
        job_id=Changes.name_for(authorised.job_id),
        parameters=authorised.parameters,
    )
    if authorised.continues is not None:
        context.changes.continue_from(authorised.continues.job_id)
    run = _Run(authorised, host, context)
    run.go()
    result = JobResult(
        job_id=authorised.job_id,
        device_id=state.device_id,
        client_id=state.client_id,
        outcome=run.outcome,
        code=run.code,
        detail="; ".join(step.summary for step in run.results)[:MAX_SUMMARY],
        runbook=authorised.digest,
        started_at=now,
        finished_at=host.now(),
        steps=tuple(run.results),
    )
    state.finish(result, stopped=run.stopped(result))
    return result


def collect_after(state: ActState, result: JobResult) -> tuple[str, ...]:
    """Facts documents to collect again after this result, so that its effect is judged at once."""
    runbook = state.runbook(result.runbook)
    if runbook is None or result.outcome == "refused" or result.code == DRY_RUN:
        return ()
    return runbook.collect_after


class _Run:
    """One run of the steps: from the first, or from where an approval lets it go on."""

    def __init__(self, authorised: Authorised, host: Host, context: Context) -> None:
        self._authorised, self._host, self._context = authorised, host, context
        before = authorised.continues
        self.results: list[StepResult] = []
        self.code = "done" if before is None else before.code
        self._begin = 0 if before is None else before.step
        self._outcomes: dict[str, tuple[Outcome, ...]] = {} if before is None else dict(before.outcomes)
        self._ran: list[int] = [] if before is None else list(before.ran)
        self._stopped_before: int | None = None
        self._failed_with = "done"

    @property
    def outcome(self) -> Literal["succeeded", "failed", "awaiting_approval"]:
        if self._stopped_before is not None:
            return "awaiting_approval"
        return "succeeded" if self.code in ("done", DRY_RUN) else "failed"

    def go(self) -> None:
        """Run the steps until the last, one that fails, or one that waits for an approval; then undo if need be."""
        for number, step in enumerate(self._authorised.steps[self._begin :], start=self._begin):
            if not self._context.dry_run and not holds(step, self._outcomes):
                self._skip(step)
                continue
            approved = number == self._begin and self._authorised.continues is not None
            if step.approval is not msgspec.UNSET and not approved and not self._context.dry_run:
                self._stopped_before = number
                words = f"waits for an approval: {step.approval}"
                self.results.append(StepResult(action=step.action, ok=True, summary=words, part="approval"))
                break
            if not self._run(number, step) and not step.go_on:
                break
        if self._stopped_before is not None:
            self._failed_with, self.code = self.code, AWAITING_APPROVAL
        elif self.code != "done" and self._authorised.runbook.undo_on_failure is True and not self._context.dry_run:
            self._undo()
        elif self._context.dry_run and self.code == "done":
            self.code = DRY_RUN

    def stopped(self, result: JobResult) -> Suspended | None:
        """Where it waits for an approval; None when it does not."""
        if self._stopped_before is None:
            return None
        return Suspended(
            job_id=self._authorised.job_id,
            runbook=self._authorised.digest,
            parameters=self._authorised.parameters,
            step=self._stopped_before,
            result=result_digest(result),
            stopped_at=result.finished_at,
            outcomes=self._outcomes,
            ran=tuple(self._ran),
            code=self._failed_with,
        )

    def _skip(self, step: Step) -> None:
        if step.name is not msgspec.UNSET:
            self._outcomes[step.name] = ("skipped",)
        self.results.append(StepResult(action=step.action, ok=True, summary=_only_if(step), part="skipped"))

    def _run(self, number: int, step: Step) -> bool:
        ctx = replace_fields(self._context, timeout_seconds=step.timeout_seconds, secrets=set(), step=number)
        self._ran.append(number)
        result, code = _run_step(step, self._host, ctx)
        if ctx.dry_run:
            result = msgspec.structs.replace(result, summary=_dry_words(step, result.summary))
        self._note(step, result, code)
        undoable = ctx.changes.undoable(number)
        if undoable:
            result = msgspec.structs.replace(result, changed={**result.changed, UNDOABLE: undoable})
        self.results.append(_presentable(result, ctx.secrets))
        return code == "done"

    def _note(self, step: Step, result: StepResult, code: str) -> None:
        if code != "done" and self.code == "done":
            self.code = code
        if step.name is not msgspec.UNSET:
            effect: Outcome = "changed" if any(result.changed.values()) else "unchanged"
            self._outcomes[step.name] = ("succeeded", effect) if code == "done" else ("failed",)

    def _undo(self) -> None:
        """Put back what was changed: first what the journal has, then what the steps themselves say, last first."""
        context = self._context
        if context.changes.has_any():
            self._undo_by("changes.undo", {"job": context.job_id}, UNDO_SECONDS)
        for number in reversed(self._ran):
            step = self._authorised.steps[number]
            if step.undo is not msgspec.UNSET:
                self._undo_by(step.undo.action, step.undo.arguments, step.undo.timeout_seconds)

    def _undo_by(self, action: str, arguments: dict[str, ParameterValue], seconds: int) -> None:
        ctx = replace_fields(self._context, timeout_seconds=seconds, secrets=set(), step=UNDO_STEP)
        result, _ = _run_step(Step(action=action, arguments=arguments), self._host, ctx)
        self.results.append(_presentable(msgspec.structs.replace(result, part="undo"), ctx.secrets))


def _only_if(step: Step) -> str:
    asked = "" if step.when is msgspec.UNSET else f": only if {step.when.step} {step.when.outcome}"
    return f"{step.action} was skipped{asked}"


def _dry_words(step: Step, summary: str) -> str:
    # What a step before will come to is not known in a dry run, so that every step says what it would do.
    if step.when is not msgspec.UNSET:
        summary = f"only if {step.when.step} {step.when.outcome}: {summary}"
    return f"after an approval: {summary}" if step.approval is not msgspec.UNSET else summary


def _run_step(step: Step, host: Host, ctx: Context) -> tuple[StepResult, str]:
    action = ACTIONS[step.action]
    wanted = {name: kind.__name__ for name, kind in action.ARGUMENTS.items()}
    given = {name: type(value).__name__ for name, value in step.arguments.items()}
    if wanted != given:
        summary = f"{step.action} takes {_listed(wanted)}, the runbook gives {_listed(given)}"
        return StepResult(action=step.action, ok=False, summary=summary), "argument_wrong"
    if ctx.dry_run and not action.DRY_RUN:
        return StepResult(action=step.action, ok=True, summary=f"{step.action} cannot say what it would do"), "done"
    try:
        return action.run(step.arguments, host, ctx), "done"
    except ActionFailed as error:
        failed = StepResult(
            action=step.action,
            ok=False,
            summary=error.sentence,
            output=error.output,
            changed=error.changed,
            packages=msgspec.UNSET if error.packages is None else error.packages,
            proof=msgspec.UNSET if error.proof is None else error.proof,
        )
        return failed, error.code
    except Exception as error:
        # Whatever an action trips over, the server hears of it: a job without an answer helps nobody.
        log.exception("action %s failed", step.action)
        summary = f"{type(error).__name__}: {error}"
        return StepResult(action=step.action, ok=False, summary=summary), "action_broke"


def _listed(arguments: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in sorted(arguments.items())) or "nothing"


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _presentable(result: StepResult, secrets: set[str]) -> StepResult:
    """Without secrets and control characters, output cut to its end of 8 kB."""

    def clean(text: str) -> str:
        # The longest first: one secret may be part of another.
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return _CONTROL.sub("", redact(text))

    output = clean(result.output).encode()[-MAX_OUTPUT:].decode(errors="ignore")
    proof = result.proof
    if proof is not msgspec.UNSET:
        proof = msgspec.structs.replace(
            proof,
            detail=clean(proof.detail)[:MAX_SUMMARY],
            differences=tuple(clean(line)[:MAX_SUMMARY] for line in proof.differences),
        )
    return msgspec.structs.replace(result, summary=clean(result.summary)[:MAX_SUMMARY], output=output, proof=proof)


def _refuse(envelope: bytes, state: ActState, refusal: Refused, now: datetime) -> JobResult:
    job_id, runbook = _claimed(envelope)
    outcome: Literal["refused"] = "refused"
    result = JobResult(
        job_id=job_id,
        device_id=state.device_id,
        client_id=state.client_id,
        outcome=outcome,
        code=refusal.because.value,
        detail=refusal.sentence[:MAX_SUMMARY],
        runbook=runbook,
        started_at=now,
        finished_at=now,
        steps=(),
    )
    state.refuse(envelope, result)
    log.warning("command %s refused: %s", job_id or "without id", refusal)
    return result


def _claimed(envelope: bytes) -> tuple[str, str]:
    """Job id and runbook that a refused command claims, for the record alone; empty when it does not say."""
    try:
        decoded = decode(envelope)
        if decoded.payloadType == Job.PAYLOAD_TYPE:
            job = read_statement(decoded.body(), Job)
            return job.job_id[:64], job.runbook[:64]
        if decoded.payloadType == Invocation.PAYLOAD_TYPE:
            return read_statement(decoded.body(), Invocation).job_id[:64], ""
    except ValueError:  # EnvelopeError is one
        pass  # the refusal itself says what is malformed
    return "", ""
