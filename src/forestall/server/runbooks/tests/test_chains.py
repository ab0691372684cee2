"""Automation from end to end: a device reports, a check fails, a standing order answers, the real agent acts, a fresh
check verifies; and where it did not help, the ticket stays with what was tried.

The loop's own table routes the events; the agent is the real one, with its state in a folder. Disk, service and backup
on a whole installation: ``forestall drill --all`` (tests/whole).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from forestall.agent.act import ActState, execute
from forestall.agent.act.context import Places
from forestall.agent.collect.host import LocalHost
from forestall.server.checks.models import Check
from forestall.server.inventory.services import facts_receive
from forestall.server.loop import HANDLERS
from forestall.server.outbox.services import events_route
from forestall.server.runbooks import queries, services
from forestall.server.runbooks.models import Job
from forestall.server.tickets.models import Ticket
from forestall.trust.sign import sign_statement
from forestall.trust.statements import StepResult
from forestall.wire.checkin import FactsReport
from forestall.wire.codec import facts_digest
from forestall.wire.facts import Antivirus, AntivirusProduct, BackupRepository, Backups, Document, Service, Services


@dataclass
class Agent:
    """The agent of the office's device."""

    office: object
    folder: Path
    places: Places = field(default_factory=Places)

    def __post_init__(self) -> None:
        office = self.office
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state = ActState.create(
            self.folder,
            device_id=str(office.device.pk),
            client_id=str(office.client.pk),
            pinned_key_id=queries.root_key_id(),
            root=queries.root_envelope(),
            now=office.now,
        )

    def check_in(self) -> None:
        """Take what waits, run it, answer."""
        commands, documents = self.office.deliveries()
        assert self.state.accept_documents(documents, now=self.office.now) == []
        for envelope in commands:
            execute(envelope, self.state, LocalHost(), self.office.now, places=self.places)
        for result in self.state.results_waiting():
            self.office.receive(sign_statement(result, [self.office.device_key]))
            self.state.result_spooled(result)


def report(office, document: Document) -> None:
    """What the device says, and all that follows from it."""
    facts_receive(
        device=office.device,
        report=FactsReport(document=document, digest=facts_digest(document), collected_at=office.now),
        now=office.now,
    )
    settle(office)


def settle(office) -> None:
    while events_route(table=HANDLERS, now=office.now):
        pass


def the_check(office, kind: str, target: str) -> Check:
    return Check.objects.visible_to(office.scope).get(device=office.device, kind=kind, target=target)


def jobs(office) -> list[Job]:
    return list(Job.objects.visible_to(office.scope).select_related("runbook").order_by("created_at"))


def open_tickets(office, kind: str) -> list[Ticket]:
    return [
        one
        for one in Ticket.objects.visible_to(office.scope).filter(kind=kind)
        if one.state not in ("resolved", "closed")
    ]


# --- a service that was stopped ---


@pytest.fixture
def printing(office, tmp_path):
    """A service with an init script, and the agent beside it."""
    scripts = tmp_path / "init.d"
    scripts.mkdir()
    state = tmp_path / "cupsd.state"
    (scripts / "cupsd").write_text(
        f'#!/bin/sh\ncase "$1" in start|restart) touch {state} ;; status) test -e {state} || exit 3 ;; esac\n'
    )
    (scripts / "cupsd").chmod(0o755)
    agent = Agent(office, tmp_path / "agent", Places(init_scripts=str(scripts), systemd=str(tmp_path / "none")))
    state.touch()

    def look() -> Services:
        running = state.exists()
        service = Service(name="cupsd", enabled=True, state="running" if running else "stopped")
        return Services(services=(service,))

    return agent, state, look


def test_a_service_that_stopped_is_started_and_a_fresh_check_says_so(office, printing, monkeypatch):
    monkeypatch.setattr("forestall.agent.act.actions.service_restart.SETTLE_SECONDS", 0.0)
    agent, state, look = printing
    office.install(office.order(slug="restart-service", trigger="service_down", allowed={"service": ["cupsd"]}))
    report(office, look())
    assert not open_tickets(office, "service_down")

    state.unlink()
    office.later(minutes=5)
    report(office, look())
    office.later(minutes=15)
    report(office, look())
    assert the_check(office, "service_down", "cupsd").status == "fail"
    services.orders_consider_waiting(now=office.now)
    [job] = jobs(office)
    assert job.runbook.slug == "restart-service"

    agent.check_in()
    assert state.exists()
    office.later(minutes=1)
    report(office, look())
    assert the_check(office, "service_down", "cupsd").status == "pass"
    job.refresh_from_db()
    assert (job.state, job.result_code) == ("succeeded", "done")
    assert job.evidence_reference


# --- a backup that failed ---


def backups(office, *, ok: bool, age_hours: float) -> Backups:
    at = office.now - timedelta(hours=age_hours)
    repository = BackupRepository(name="documents", tool="restic", location="/srv/backup", last_success_at=at)
    if not ok:
        repository = msgspec.structs.replace(
            repository, last_run_at=office.now, last_run_ok=False, last_run_detail="locked"
        )
    return Backups(tools=("restic",), repositories=(repository,))


@pytest.mark.parametrize("works", [True, False])
def test_a_backup_that_failed_is_run_again_once_and_else_the_ticket_stays(office, tmp_path, works):
    agent = Agent(office, tmp_path / "agent")
    ran = tmp_path / "ran"
    command = f"echo run >> {ran}; exit {0 if works else 7}"
    (agent.folder / "backups.toml").write_text(
        '[[backup]]\nname = "documents"\ntool = "restic"\nrepository = "/srv/backup"\n'
        f'rerun = ["sh", "-c", "{command}"]\n'
    )
    (agent.folder / "backups.toml").chmod(0o600)
    order = office.order(slug="rerun-backup", trigger="backup_age", allowed={"backup": ["documents"]}, runs_per_day=1)
    office.install(order)
    report(office, backups(office, ok=True, age_hours=60))
    services.orders_consider_waiting(now=office.now)
    [job] = jobs(office)
    assert job.parameters == {"backup": "documents"}
    agent.check_in()
    settle(office)
    assert ran.read_text() == "run\n"

    office.later(minutes=40)
    report(office, backups(office, ok=works, age_hours=0.5 if works else 61))
    services.orders_consider_waiting(now=office.now)
    agent.check_in()
    settle(office)
    # Once inside the policy, whatever came of it.
    assert ran.read_text() == "run\n"
    job.refresh_from_db()
    if works:
        assert job.state == "succeeded"
        assert the_check(office, "backup_age", "documents").status == "pass"
        return
    assert (job.state, job.result_code) == ("failed", "backup_failed")
    [ticket] = open_tickets(office, "backup_age")
    said = " ".join(ticket.events.values_list("text", flat=True))
    assert "Failed on web-01 (backup_failed)" in said


# --- antivirus: two remedies, one after the other ---


def antivirus(office, *, running: bool, age_days: float) -> Antivirus:
    product = AntivirusProduct(
        name="ClamAV",
        version="1.4",
        running=running,
        real_time=True,
        definitions_at=office.now - timedelta(days=age_days),
    )
    return Antivirus(products=(product,))


def answer(office, job: Job, **changes) -> None:
    given = {"steps": (StepResult(action="antivirus.update", ok=True, summary="updated"),), "detail": "updated"}
    office.receive(office.answer(job.pk, **{**given, **changes}))
    settle(office)


def test_old_definitions_are_updated_and_when_that_does_not_help_the_other_remedy_is_tried(office):
    for slug in ("update-antivirus-definitions", "start-antivirus"):
        office.install(office.order(slug=slug, trigger="antivirus", allowed={"product": ["ClamAV"]}))
        office.later(seconds=1)
    report(office, antivirus(office, running=False, age_days=9))
    services.orders_consider_waiting(now=office.now)
    [first] = jobs(office)
    assert first.runbook.slug == "update-antivirus-definitions"
    assert first.parameters == {"product": "ClamAV"}
    answer(office, first, outcome="failed", code="definitions_unchanged", detail="still of last week")

    office.later(minutes=31)
    report(office, antivirus(office, running=False, age_days=9))
    services.orders_consider_waiting(now=office.now)
    second = jobs(office)[-1]
    assert second.runbook.slug == "start-antivirus"
    answer(office, second)

    office.later(minutes=5)
    report(office, antivirus(office, running=True, age_days=0.1))
    assert the_check(office, "antivirus", "ClamAV").status == "pass"
    assert len(jobs(office)) == 2


def test_what_nothing_helped_stays_a_ticket_that_says_what_was_tried(office):
    office.install(
        office.order(slug="start-antivirus", trigger="antivirus", allowed={"product": ["ClamAV"]}, runs_per_day=1)
    )
    report(office, antivirus(office, running=False, age_days=9))
    services.orders_consider_waiting(now=office.now)
    answer(office, jobs(office)[0], outcome="failed", code="service_died", detail="started and died")
    office.later(minutes=45)
    report(office, antivirus(office, running=False, age_days=9))
    assert services.orders_consider_waiting(now=office.now) == 0
    [ticket] = open_tickets(office, "antivirus")
    assert "started and died" in " ".join(ticket.events.values_list("text", flat=True))
