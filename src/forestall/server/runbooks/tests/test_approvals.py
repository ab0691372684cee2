"""Jobs of several steps as the server sees them: approvals, undoing, budgets."""

from __future__ import annotations

import msgspec
import pytest

from forestall.server.runbooks import queries, rules, services
from forestall.server.runbooks.models import Job, JobState
from forestall.trust.dsse import decode
from forestall.trust.keys import new_key, private_bytes, private_key
from forestall.trust.sign import sign_statement
from forestall.trust.statements import (
    Job as JobStatement,
)
from forestall.trust.statements import (
    JobResult,
    RiskClass,
    Runbook,
    Step,
    StepResult,
    read_statement,
    result_digest,
    statement_digest,
)

CAREFUL = Runbook(
    slug="sweep-carefully",
    version=1,
    title="Sweep carefully",
    description="Sweeps after somebody has looked.",
    risk=RiskClass.CHANGE,
    parameters=(),
    steps=(
        Step(action="diagnostics.collect", arguments={"about": "disk"}, name="look"),
        Step(
            action="files.delete_older",
            arguments={"folder": "/var/tmp", "older_than_days": 7, "pattern": "*"},
            approval="Nothing of value in the list?",
        ),
        Step(action="logs.rotate", arguments={"name": ""}, approval="Rotate as well?"),
    ),
    undo="Cannot be undone.",
)
replace = msgspec.structs.replace
DID = StepResult(action="diagnostics.collect", ok=True, summary="looked")
WAITS = StepResult(action="files.delete_older", ok=True, summary="waits for an approval: …", part="approval")


@pytest.fixture
def careful(office):
    from forestall.server.runbooks.operator import runbooks_sign

    [path] = runbooks_sign(folder=office.operator.folder, runbooks=[CAREFUL]) or [None]
    services.runbook_publish(
        scope=office.scope,
        envelope=(office.operator.folder / "runbooks" / "sweep-carefully-1.json").read_bytes(),
        now=office.now,
    )
    assert path is None or path.exists()
    return office


@pytest.fixture(autouse=True)
def clean_folder(operator_folder):
    yield
    (operator_folder / "runbooks" / "sweep-carefully-1.json").unlink(missing_ok=True)


def run(office, **result):
    job = services.job_prepare(
        scope=office.scope,
        runbook="sweep-carefully",
        device=office.device,
        parameters={},
        reason="full",
        now=office.now,
    )
    office.submit(office.sign(job))
    given = {"outcome": "awaiting_approval", "code": "awaiting_approval", "steps": (DID, WAITS),
             "runbook": statement_digest(CAREFUL)}  # fmt: skip
    return office.receive(office.answer(job.pk, **{**given, **result}))


def approval_of(office, job) -> Job:
    return queries.continuation(scope=office.scope, job=job)


def test_a_run_that_stops_prepares_its_own_approval_for_an_operator_to_sign(careful):
    office = careful
    stopped = run(office)
    assert stopped.state == JobState.AWAITING_APPROVAL
    prepared = approval_of(office, stopped)
    assert prepared.state == JobState.AWAITING_SIGNATURE
    assert prepared.reason == "Approve: Nothing of value in the list?"
    statement = read_statement(bytes(prepared.statement), JobStatement)
    result = read_statement(decode(bytes(stopped.result_envelope)).body(), JobResult)
    assert (statement.continues.job, statement.continues.step) == (str(stopped.pk), 1)
    assert statement.continues.result == result_digest(result)
    words = queries.job_words(scope=office.scope, job=prepared)
    assert any("Nothing of value in the list?" in line for line in words)

    office.submit(office.sign(prepared))
    stopped.refresh_from_db()
    assert stopped.state == JobState.CONTINUED
    again = office.receive(
        office.answer(
            prepared.pk,
            outcome="awaiting_approval",
            code="awaiting_approval",
            steps=(
                msgspec.structs.replace(WAITS, part=msgspec.UNSET),
                msgspec.structs.replace(WAITS, action="logs.rotate"),
            ),
        )
    )
    # The second approval is of the third step: the continuation's own steps are counted from where it went on.
    second = approval_of(office, again)
    assert read_statement(bytes(second.statement), JobStatement).continues.step == 2
    assert second.reason == "Approve: Rotate as well?"


def test_another_job_of_the_device_goes_first_and_the_approval_still_names_what_it_approves(careful):
    office = careful
    prepared = approval_of(office, run(office))
    before = read_statement(bytes(prepared.statement), JobStatement)
    other = office.prepare()
    office.submit(office.sign(other))
    prepared.refresh_from_db()
    after = read_statement(bytes(prepared.statement), JobStatement)
    assert after.continues == before.continues
    assert after.devices != before.devices


def test_declining_an_approval_ends_the_run(careful):
    office = careful
    stopped = run(office)
    services.job_cancel(job=approval_of(office, stopped), scope=office.scope, reason="not today", now=office.now)
    stopped.refresh_from_db()
    assert stopped.state == JobState.CANCELLED
    assert stopped.events.last().text.startswith("The approval was declined: not today.")


def test_an_approval_that_nobody_gave_can_be_prepared_again_within_a_week(careful):
    office = careful
    stopped = run(office)
    with pytest.raises(services.RunbooksError, match="its approval is awaiting signature already"):
        services.job_continue(job=stopped, scope=office.scope, now=office.now)
    services.jobs_expire(now=office.later(hours=24))
    stopped.refresh_from_db()
    assert stopped.state == JobState.AWAITING_APPROVAL
    again = services.job_continue(job=stopped, scope=office.scope, now=office.now)
    assert again.state == JobState.AWAITING_SIGNATURE
    services.jobs_expire(now=office.later(days=7))
    with pytest.raises(services.RunbooksError, match="the device has forgotten it"):
        services.job_continue(job=stopped, scope=office.scope, now=office.now)
    with pytest.raises(services.RunbooksError, match="does not wait for an approval"):
        services.job_continue(job=again, scope=office.scope, now=office.now)


def test_an_approval_taken_back_or_refused_leaves_the_run_waiting(careful):
    office = careful
    stopped = run(office)
    signed = office.submit(office.sign(approval_of(office, stopped)))
    services.job_cancel(job=signed, scope=office.scope, now=office.now)
    stopped.refresh_from_db()
    assert stopped.state == JobState.AWAITING_APPROVAL
    again = services.job_continue(job=stopped, scope=office.scope, now=office.now)
    office.submit(office.sign(again))
    office.receive(office.answer(again.pk, outcome="refused", code="veto_hours", steps=()))
    stopped.refresh_from_db()
    assert stopped.state == JobState.AWAITING_APPROVAL


@pytest.mark.parametrize("steps", [(DID,), (DID,) * 9])
def test_a_device_cannot_ask_for_an_approval_that_its_runbook_does_not_ask_for(careful, steps):
    with pytest.raises(services.ResultRefusedError, match="asks for nothing"):
        run(careful, steps=steps)


def test_the_parameters_of_an_approval_stay(careful):
    office = careful
    prepared = approval_of(office, run(office))
    with pytest.raises(services.RunbooksError, match="its parameters cannot be others"):
        services.job_change(job=prepared, scope=office.scope, parameters={"x": 1}, reason="x", now=office.now)
    services.job_change(job=prepared, scope=office.scope, parameters={}, reason="looked twice", now=office.now)


def test_a_ticket_gets_no_second_job_while_its_run_waits_for_an_approval(careful):
    office = careful
    _, ticket = office.failing()
    job = services.job_prepare(
        scope=office.scope, runbook="sweep-carefully", device=office.device, parameters={}, reason="full",
        ticket_id=ticket.pk, now=office.now,
    )  # fmt: skip
    office.submit(office.sign(job))
    office.install(office.order())
    office.receive(office.answer(job.pk, outcome="awaiting_approval", code="awaiting_approval", steps=(DID, WAITS)))
    assert services.orders_consider_by_id(ticket_id=ticket.pk, now=office.now) is None


# --- undoing ---


CHANGED = StepResult(action="service.stop", ok=True, summary="stopped", changed={"services": 1, "undoable": 1})


def test_what_a_job_changed_can_be_undone_by_a_job_of_its_own(office):
    job = office.prepare()
    with pytest.raises(services.RunbooksError, match="once it has ended"):
        services.job_undo_prepare(job=job, scope=office.scope, reason="wrong one", now=office.now)
    office.submit(office.sign(job))
    done = office.receive(office.answer(job.pk, steps=(CHANGED,)))
    assert queries.undoable(done) == 1
    undo = services.job_undo_prepare(job=done, scope=office.scope, reason="wrong one", now=office.now)
    assert (undo.runbook.slug, undo.parameters) == ("undo-change", {"job": str(job.pk)})
    assert queries.undone_by(done) == undo
    with pytest.raises(services.RunbooksError, match="was undone already"):
        services.job_undo_prepare(job=done, scope=office.scope, reason="again", now=office.now)


def test_what_has_nothing_in_the_journal_cannot_be_undone(office):
    job = office.prepare()
    office.submit(office.sign(job))
    done = office.receive(office.answer(job.pk))
    with pytest.raises(services.RunbooksError, match=r"nothing that job .* changed"):
        services.job_undo_prepare(job=done, scope=office.scope, reason="x", now=office.now)


def test_what_undid_itself_has_nothing_left_and_what_was_cut_short_may_have(office):
    job = office.prepare()
    office.submit(office.sign(job))
    undid = StepResult(action="changes.undo", ok=True, summary="put back", part="undo")
    done = office.receive(office.answer(job.pk, outcome="failed", code="x", steps=(CHANGED, undid)))
    assert queries.undoable(done) == 0
    done.result_code = "interrupted"
    assert queries.undoable(done) == 1
    done.dry_run = True
    assert queries.undoable(done) == 0


def test_an_approved_half_counts_the_first(careful):
    office = careful
    stopped = run(office, steps=(msgspec.structs.replace(DID, changed={"undoable": 2}), WAITS))
    prepared = approval_of(office, stopped)
    office.submit(office.sign(prepared))
    done = office.receive(office.answer(prepared.pk, steps=(CHANGED,)))
    assert queries.undoable(done) == 3


# --- the budget of an order ---


def three_devices(office):
    return [office.device, *(office.new_device(name)[0] for name in ("web-02", "web-03"))]


def test_an_order_reaches_no_more_devices_an_hour_than_it_says(office):
    devices = three_devices(office)
    order = office.install(office.order(devices=devices, devices_per_hour=2, allowed={"volume": ["/"]}))
    assert order.devices_per_hour == 2
    jobs = []
    for device in devices:
        _, ticket = office.failing(device=device)
        jobs.append(services.orders_consider_by_id(ticket_id=ticket.pk, now=office.now))
    assert [job is not None for job in jobs] == [True, True, False]
    assert queries.devices_this_hour(order=order, now=office.now) == 2
    # The clock asks again; an hour later it is the third one's turn.
    assert services.orders_consider_waiting(now=office.later(minutes=59)) == 0
    assert services.orders_consider_waiting(now=office.later(minutes=2)) >= 1
    assert Job.objects.visible_to(office.scope).filter(device=devices[2], order=order).exists()


def test_the_same_device_again_takes_nothing_from_the_budget(office):
    content = queries.order_content(office.install(office.order(devices_per_hour=1)))
    assert rules.budget_refuses(order=content, devices_this_hour=0) == ""
    assert rules.budget_refuses(order=content, devices_this_hour=1) == (
        "the standing order's budget is used up: it ran on 1 device in the last hour, at most 1"
    )


def test_an_order_without_a_budget_reaches_all(office):
    content = queries.order_content(office.install(office.order()))
    assert rules.budget_refuses(order=content, devices_this_hour=10_000) == ""


def test_patching_keeps_to_the_budget_and_says_so(office):
    devices = three_devices(office)
    office.install(office.order(slug="reboot", trigger="patching", devices=devices, devices_per_hour=1, allowed={}))
    given = {"slug": "reboot", "parameters": {}, "because": "updates", "now": office.now}
    services.order_run(device=devices[0], **given)
    with pytest.raises(services.NoOrderError, match="ran on 1 device in the last hour, at most 1"):
        services.order_run(device=devices[1], **given)


def test_a_forged_approval_goes_nowhere(careful):
    office = careful
    prepared = approval_of(office, run(office))
    with pytest.raises(services.RunbooksError):
        office.submit(office.sign(prepared, [private_bytes(new_key())]))
    body = read_statement(bytes(prepared.statement), JobStatement)
    other = msgspec.structs.replace(body, continues=None)
    envelope = sign_statement(other, [private_key(raw) for raw in office.operator.operator_keys()])
    with pytest.raises(services.StatementChangedError):
        office.submit(envelope)


def test_the_dry_run_of_a_job_is_found_beside_it(office):
    job = office.prepare()
    assert queries.dry_run_of(scope=office.scope, job=job, now=office.now) is None
    dry = services.job_prepare(
        scope=office.scope, runbook="free-disk-space", device=office.device, parameters={"volume": "/"},
        reason="look first", dry_run=True, now=office.now,
    )  # fmt: skip
    office.submit(office.sign(dry))
    office.receive(office.answer(dry.pk, code="dry_run", detail="would delete 3 files"))
    job.refresh_from_db()
    assert queries.dry_run_of(scope=office.scope, job=job, now=office.now).result_detail == "would delete 3 files"
