"""A report of a whole story: from the sample to the signature."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from django.conf import settings

from forestall.server.alerts.tests.desk_world import SYSTEM
from forestall.server.evidence.models import Entry
from forestall.server.home import read_or_make_secret
from forestall.server.inventory.services import device_approve, device_enrol, enrolment_token_create
from forestall.server.outbox.events import Event
from forestall.server.reports import queries, services
from forestall.server.reports.body import body_read
from forestall.server.reports.models import ServiceReport
from forestall.server.reports.services import RenderError, ReportError, service_report_make
from forestall.server.runbooks import queries as runbooks
from forestall.server.runbooks import services as jobs
from forestall.server.runbooks.operator import OperatorFolder, operator_init
from forestall.server.tickets import queries as tickets
from forestall.server.tickets.tests.desk_story import Story
from forestall.trust.keys import new_key, public_bytes
from forestall.trust.sign import sign_job, sign_statement
from forestall.trust.statements import JobResult, StepResult

pytestmark = pytest.mark.django_db


class ReportStory(Story):
    """The desk's story, in which resolved tickets get their report."""

    def table(self) -> dict:
        table = super().table()
        table[Event.TICKET_RESOLVED].append(
            lambda event, now: services.service_report_make_by_id(ticket_id=event.subject, now=now)
        )
        return table

    def reports(self) -> list[ServiceReport]:
        return list(queries.reports(scope=SYSTEM).order_by("pk"))


@pytest.fixture
def story(db) -> ReportStory:
    read_or_make_secret(settings.HOME.log_key)
    return ReportStory()


def test_the_report_of_a_story_from_sample_to_signature(story: ReportStory, tmp_path) -> None:
    story.at("08:30")
    jobs.authority_install(bundle=operator_init(folder=tmp_path / "operator", now=story.now), now=story.now)
    operator = OperatorFolder.open(tmp_path / "operator")
    key = new_key()
    token = enrolment_token_create(
        site=story.munich, scope=SYSTEM, now=story.now, ca_fingerprint="0" * 64, root_fingerprint="0" * 64
    )
    device = device_enrol(
        token_secret=token.split(".")[1],
        public_key=public_bytes(key),
        hostname="db-01",
        machine_id="m",
        agent_version="0",
        now=story.now,
    )
    device_approve(device=device, scope=SYSTEM, now=story.now)

    story.at("09:00").report("pass", "/ is 41 % full", device=device)
    story.at("09:10").report("fail", "/ is 93 % full (fails at 90 %)", device=device, value=93, unit="%")
    ticket = story.ticket(device)
    bob = story.scope(story.bob)
    job = jobs.job_prepare(
        scope=bob,
        runbook=runbooks.runbook(scope=bob, slug="free-disk-space"),
        device=device,
        parameters={"volume": "/"},
        reason="/ is 93 % full",
        ticket_id=ticket.number,
        now=story.now,
    )
    signed = sign_job(bytes(job.statement), operator.operator_keys())
    jobs.job_submit_signed(scope=bob, envelope=signed, now=story.now)
    story.at("09:12")
    result = JobResult(
        job_id=str(job.pk),
        device_id=str(device.pk),
        client_id=str(story.acme.pk),
        outcome="succeeded",
        code="done",
        detail="deleted 214 files, 1.2 GB",
        runbook=job.runbook.digest,
        started_at=story.now,
        finished_at=story.now,
        steps=(
            StepResult(action="temporary.delete_older", ok=True, summary="deleted 214 files", changed={"files": 214}),
        ),
    )
    jobs.job_result_receive(device=device, envelope=sign_statement(result, [key]), now=story.now)
    story.at("09:13").report("pass", "/ is 61 % full", device=device, value=61, unit="%")

    (report,) = story.reports()
    body = body_read(report.body)
    assert (body.number, body.ticket, body.state, body.device.name) == ("SR-000001", ticket.number, "resolved", "db-01")
    (seen,) = body.seen
    assert (seen.reason, seen.value, seen.status) == ("/ is 93 % full (fails at 90 %)", 93, "fail")
    (done,) = body.done
    assert done.outcome == "succeeded"
    assert done.authority.startswith("asked for by Bob Baker, signed by operator ")
    assert [(step.summary, step.changed) for step in done.steps] == [("deleted 214 files", {"files": 214})]
    assert done.reference == Entry.objects.visible_to(SYSTEM).get(kind="job:result").reference
    assert (body.verification.state, body.verification.reason) == ("verified", "/ is 61 % full")
    assert body.verification.evidence == ["df -B1"]
    assert [(clock.kind, clock.state, clock.used_seconds) for clock in body.sla] == [
        ("response", "kept", 180),
        ("resolution", "kept", 180),
    ]
    kinds = [entry.kind for entry in body.evidence]
    assert kinds.index("alert:raised") < kinds.index("ticket:opened") < kinds.index("job:result")
    assert kinds.index("job:result") < kinds.index("alert:cleared") < kinds.index("ticket:resolved")
    assert [entry.kind for entry in body.evidence if entry.signed_by_device] == ["job:result"]
    for entry in body.evidence:
        stored = Entry.objects.visible_to(SYSTEM).get(client=story.acme, index=entry.index)
        assert bytes(stored.leaf_hash).hex() == entry.leaf_hash
        assert entry.index < body.checkpoint.size

    pdf = bytes(queries.report(scope=SYSTEM, number="SR-000001").pdf)
    assert pdf.startswith(b"%PDF-")
    issued = Entry.objects.visible_to(SYSTEM).get(kind="report:issued")
    assert issued.payload["pdf_sha256"] == hashlib.sha256(pdf).hexdigest() == report.pdf_sha256
    assert issued.reference == report.reference


def test_what_people_did_is_told_with_their_words(story: ReportStory) -> None:
    story.at("09:00").report("fail", "93 %")
    story.at("09:10").acknowledge(story.bob)
    story.at("09:20").wait(story.bob, "may we delete the dumps?")
    story.at("10:20").resume(story.bob)
    story.at("10:30").report("pass", "50 %")
    body = body_read(story.reports()[0].body)
    assert [(done.who, done.text) for done in body.done] == [
        ("Bob Baker", "acknowledged"),
        ("Bob Baker", "may we delete the dumps?"),
        ("Bob Baker", "work resumed"),
    ]
    resolution = body.sla[1]
    assert [(part.why, part.end - part.start) for part in resolution.stretches] == [
        ("counted", timedelta(minutes=20)),
        ("paused: waiting for client", timedelta(hours=1)),
        ("counted", timedelta(minutes=10)),
    ]


def test_events_that_come_late_change_nothing_of_what_was_seen_when(story: ReportStory) -> None:
    story.at("09:00").report("warn", "82 %", value=82, unit="%", late=2)
    story.at("09:10").report("fail", "93 %", value=93, unit="%", late=2)
    story.at("09:20").report("pass", "50 %", late=2)
    body = body_read(story.reports()[0].body)
    (seen,) = body.seen
    assert (f"{seen.first_seen_at:%H:%M:%S}", seen.reason, seen.value) == ("08:00:00", "93 %", 93)
    assert f"{body.opened_at:%H:%M:%S}" == "08:00:02"
    lines = [row.kind for row in tickets.timeline(scope=SYSTEM, ticket=story.ticket()) if row.source == "check"]
    assert lines == ["new → warn", "warn → fail", "fail → pass"]


def test_a_ticket_that_closed_itself_has_a_report_too(story: ReportStory) -> None:
    story.at("09:00").report("fail")
    story.at("09:10").report("pass")
    (report,) = story.reports()
    assert report.body["state"] == "closed"
    assert report.body["done"] == []


def test_a_hasty_resolution_is_reported_as_unverified_and_the_check_brings_the_next_report(story: ReportStory) -> None:
    story.at("09:00").report("fail", "93 %")
    story.at("09:10").resolve(story.bob)
    story.at("09:11")
    story.at("09:20").report("pass", "50 %")
    first, second = story.reports()
    assert first.body["verification"] == {
        "state": "unverified",
        "at": "2026-11-23T08:00:00Z",
        "status": "fail",
        "reason": "93 %",
        "value": None,
        "unit": "",
        "evidence": ["df -B1"],
    }
    assert second.body["verification"]["state"] == "verified"
    assert (second.supersedes, second.body["supersedes"]) == (first, "SR-000001")


def test_making_it_twice_makes_one(story: ReportStory) -> None:
    story.at("09:00").report("fail")
    story.at("09:10").report("pass")
    (report,) = story.reports()
    assert service_report_make(ticket=report.ticket, now=story.now) == report
    assert len(story.reports()) == 1


def test_an_open_ticket_has_no_report(story: ReportStory) -> None:
    story.at("09:00").report("fail")
    with pytest.raises(ReportError, match="is open"):
        service_report_make(ticket=story.ticket(), now=story.now)
    assert services.service_report_make_by_id(ticket_id=story.ticket().number, now=story.now) is None


def test_when_it_cannot_be_rendered_nothing_is_issued(story: ReportStory) -> None:
    story.at("09:00").report("fail")
    ticket = story.ticket()
    story.table = super(ReportStory, story).table
    story.at("09:10").report("pass")

    def fail(page, made_at) -> bytes:
        raise RenderError("no paper")

    with pytest.raises(RenderError):
        service_report_make(ticket=ticket, now=story.now, render=fail)
    assert story.reports() == []
    assert not Entry.objects.visible_to(SYSTEM).filter(kind="report:issued").exists()


def test_charlie_sees_no_report_of_acme(story: ReportStory) -> None:
    story.at("09:00").report("fail")
    story.at("09:10").report("pass")
    assert queries.report_of(scope=story.scope(story.dora), ticket=story.ticket()).number == "SR-000001"
    charlie = story.scope(story.charlie)
    assert not queries.reports(scope=charlie).exists()
    assert queries.report_of(scope=charlie, ticket=story.ticket()) is None
    with pytest.raises(ServiceReport.DoesNotExist):
        queries.report(scope=charlie, number="SR-000001")


def test_hostile_words_from_a_device_become_a_report_all_the_same(story: ReportStory) -> None:
    story.at("09:00").report("fail", '#read("/etc/passwd") \u202e日 ' + "x" * 5000, target='"}]#panic()' + "é" * 300)
    story.at("09:10").report("pass", "$ok$", target='"}]#panic()' + "é" * 300)
    (report,) = story.reports()
    assert bytes(queries.report(scope=SYSTEM, number=report.number).pdf).startswith(b"%PDF-")
