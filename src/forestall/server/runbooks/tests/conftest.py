"""A client with a device, an operator's folder with Ada's keys, and a device that answers with its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forestall.server.alerts.models import Alert
from forestall.server.checks.models import Check
from forestall.server.inventory.models import Device
from forestall.server.inventory.services import device_approve, device_enrol, enrolment_token_create
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Scope
from forestall.server.people.services import client_create, site_create
from forestall.server.runbooks import queries, services
from forestall.server.runbooks.operator import OperatorFolder, operator_init
from forestall.server.tickets.models import Ticket, TicketAlert
from forestall.trust.keys import new_key, public_bytes
from forestall.trust.sign import sign_job, sign_order, sign_statement
from forestall.trust.statements import JobResult, StepResult

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@dataclass
class Office:
    """Where the story takes place."""

    client: Client
    site: Site
    device: Device
    device_key: Ed25519PrivateKey
    operator: OperatorFolder
    scope: Scope
    now: datetime = NOW

    def later(self, **span) -> datetime:
        self.now += timedelta(**span)
        return self.now

    def prepare(self, slug="free-disk-space", ticket=None, device=None, **parameters):
        return services.job_prepare(
            scope=self.scope,
            runbook=queries.runbook(scope=self.scope, slug=slug),
            device=device or self.device,
            parameters=parameters or {"volume": "/"},
            reason="/ is 93 % full",
            ticket_id=None if ticket is None else ticket.pk,
            now=self.now,
        )

    def sign(self, job, keys=None) -> bytes:
        return sign_job(bytes(job.statement), keys or self.operator.operator_keys())

    def submit(self, envelope: bytes):
        return services.job_submit_signed(scope=self.scope, envelope=envelope, now=self.now)

    def order(
        self, slug="free-disk-space", trigger="disk_space", allowed=None, devices=None, keys=None, **changes
    ) -> bytes:
        return sign_order(
            **{
                "runbook": self.operator.runbook_called(slug),
                "trigger": trigger,
                "client_id": str(self.client.pk),
                "devices": [str(device.pk) for device in devices or [self.device]],
                "allowed": {"volume": ["/", "/srv"]} if allowed is None else allowed,
                "runs_per_day": 2,
                "life": timedelta(days=30),
                "now": self.now,
                "keys": keys or self.operator.operator_keys(),
                **changes,
            }
        )

    def install(self, envelope: bytes):
        return services.order_install(scope=self.scope, envelope=envelope, now=self.now)

    def failing(self, kind="disk_space", target="/", status="fail", device=None):
        """A failing check with its alert and ticket."""
        device = device or self.device
        check = Check.objects.create(
            device=device,
            kind=kind,
            target=target,
            status=status,
            reason=f"{target} is 93 % full (fails at 90 %).",
            risk="high",
            since=self.now,
            judged_at=self.now,
            due_at=self.now,
        )
        alert = Alert.objects.create(
            check_row=check,
            device=device,
            kind=kind,
            target=target,
            status=status,
            risk="high",
            reason=check.reason,
            state="open",
            group=f"{device.pk} {kind}",
            first_seen_at=self.now,
            raised_at=self.now,
        )
        ticket = Ticket.objects.create(
            client=device.client,
            site=device.site,
            device=device,
            kind=kind,
            target=target,
            condition=f"{kind} {target}",
            title=check.reason,
            risk="high",
            priority="standard",
            first_seen_at=self.now,
            opened_at=self.now,
            response_minutes=480,
            resolution_minutes=960,
        )
        TicketAlert.objects.create(ticket=ticket, alert=alert, joined_at=self.now)
        return check, ticket

    def answer(self, job_id, *, outcome="succeeded", code="done", key=None, **changes) -> bytes:
        result = {
            "job_id": str(job_id),
            "device_id": str(self.device.pk),
            "client_id": str(self.client.pk),
            "outcome": outcome,
            "code": code,
            "detail": "deleted 214 files, 1.2 GB",
            "runbook": "",
            "started_at": self.now,
            "finished_at": self.now,
            "steps": (StepResult(action="temporary.delete_older", ok=True, summary="deleted 214 files"),),
            **changes,
        }
        return sign_statement(JobResult(**result), [key or self.device_key])

    def receive(self, envelope: bytes, device=None):
        return services.job_result_receive(device=device or self.device, envelope=envelope, now=self.now)

    def deliveries(self, device=None):
        device = device or self.device
        return queries.deliveries_for(device_ids=[device.pk]).get(device.pk, ([], []))

    def new_device(self, name, site=None):
        key = new_key()
        token = enrolment_token_create(
            site=site or self.site, scope=self.scope, now=self.now, ca_fingerprint="0" * 64, root_fingerprint="0" * 64
        )
        device = device_enrol(
            token_secret=token.split(".")[1],
            public_key=public_bytes(key),
            hostname=name,
            machine_id=name,
            agent_version="0",
            now=self.now,
        )
        device_approve(device=device, scope=self.scope, now=self.now)
        return device, key


@pytest.fixture(scope="session")
def operator_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("operator") / "operator"
    operator_init(folder=folder, now=NOW)
    return folder


@pytest.fixture
def office(db, operator_folder) -> Office:
    scope = Scope.system("ada")
    client = client_create(name="Acme Ltd", timezone="Europe/London")
    site = site_create(client=client, name="Head office")
    services.authority_install(bundle=operator_init(folder=operator_folder, now=NOW), now=NOW)
    office = Office(
        client=client,
        site=site,
        device=None,
        device_key=None,
        operator=OperatorFolder.open(operator_folder),
        scope=scope,
    )
    office.device, office.device_key = office.new_device("web-01")
    return office
