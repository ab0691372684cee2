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
from forestall.agent.act.context import ActionFailed, Context, Places
from forestall.agent.act.programs import MAX_OUTPUT
from forestall.agent.act.state import ActState
from forestall.agent.collect.host import Host
from forestall.agent.collect.redaction import HIDDEN, redact
from forestall.trust.authorise import Authorised, Refused, RefusedBecause, require_actions
from forestall.trust.dsse import decode
from forestall.trust.statements import Invocation, Job, JobResult, Step, StepResult, read_statement

log = logging.getLogger(__name__)

LEAST_RISK = {name: action.RISK for name, action in ACTIONS.items()}
MAX_SUMMARY = 1_000
DRY_RUN = "dry_run"
"""Code of a dry run that came to its end: nothing was changed."""

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
        job_id=authorised.job_id,
    )
    steps, code = _run_steps(authorised, host, context)
    result = JobResult(
        job_id=authorised.job_id,
        device_id=state.device_id,
        client_id=state.client_id,
        outcome="succeeded" if code in ("done", DRY_RUN) else "failed",
        code=code,
        detail="; ".join(step.summary for step in steps)[:MAX_SUMMARY],
        runbook=authorised.digest,
        started_at=now,
        finished_at=host.now(),
        steps=steps,
    )
    state.finish(result)
    return result


def collect_after(state: ActState, result: JobResult) -> tuple[str, ...]:
    """Facts documents to collect again after this result, so that its effect is judged at once."""
    runbook = state.runbook(result.runbook)
    if runbook is None or result.outcome == "refused" or result.code == DRY_RUN:
        return ()
    return runbook.collect_after


def _run_steps(authorised: Authorised, host: Host, context: Context) -> tuple[tuple[StepResult, ...], str]:
    """What each step did, and ``done`` or the code of the first that failed."""
    results: list[StepResult] = []
    code = "done"
    for number, step in enumerate(authorised.steps):
        ctx = replace_fields(context, timeout_seconds=step.timeout_seconds, secrets=set(), step=number)
        result, step_code = _run_step(step, host, ctx)
        undoable = ctx.changes.count(number)
        if undoable:
            result = msgspec.structs.replace(result, changed={**result.changed, UNDOABLE: undoable})
        results.append(_presentable(result, ctx.secrets))
        if step_code != "done":
            code = step_code if code == "done" else code
            if not step.go_on:
                break
    return tuple(results), DRY_RUN if context.dry_run and code == "done" else code


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
