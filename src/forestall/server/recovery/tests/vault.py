"""A client whose devices tell of their backups and answer restore tests, with the loop turned by hand."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from forestall.server.calendar.services import window_create
from forestall.server.inventory.models import Device
from forestall.server.inventory.services import facts_affirm, facts_receive
from forestall.server.loop import HANDLERS
from forestall.server.outbox.services import events_route
from forestall.server.people.scope import Scope
from forestall.server.recovery import queries, services
from forestall.server.recovery.models import Proof, ProtectedSystem
from forestall.server.recovery.queries import Standing
from forestall.server.runbooks import services as runbooks
from forestall.server.runbooks.models import Job
from forestall.server.runbooks.tests.conftest import Office
from forestall.server.tickets.models import Ticket
from forestall.trust.proofs import RestoreProof
from forestall.trust.statements import StepResult
from forestall.wire.checkin import FactsAffirmed, FactsReport
from forestall.wire.codec import facts_digest
from forestall.wire.facts import BackupProof, BackupRepository, Backups, Document

SYSTEM = Scope.system("tests")


class Vault:
    """Turns the wheel: a device tells of its backups, the loop runs, a window opens, a restore test is answered."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.device: Device = office.device
        self.told: dict[Any, dict[str, BackupRepository]] = {}

    @property
    def now(self) -> datetime:
        return self.office.now

    def backup(self, name: str = "nightly", *, device: Device | None = None, **said: Any) -> BackupRepository:
        """What the device tells of a backup from now on; it was made just now unless ``last_success_at`` says else."""
        device = device or self.device
        known = {
            "tool": "restic",
            "location": f"/srv/backup/{name}",
            "protects": ("/",),
            "last_success_at": self.now - timedelta(hours=1),
            "last_run_ok": True,
            "told": True,
            "remote": True,
            "immutable": True,
            "offline": False,
            "size_bytes": 10_000_000_000,
        }
        made = BackupRepository(name=name, **{**known, **said})
        self.told.setdefault(device.pk, {})[name] = made
        return made

    def drop(self, name: str, device: Device | None = None) -> None:
        self.told[(device or self.device).pk].pop(name)

    def report(self, *more: Document, device: Device | None = None, **span: float) -> None:
        """Time passes, the device checks in, and the loop hears of it."""
        device = device or self.device
        self.office.later(**(span or {"minutes": 2}))
        for document in (Backups(tools=("restic",), repositories=tuple(self.told.get(device.pk, {}).values())), *more):
            digest = facts_digest(document)
            affirmed = FactsAffirmed(name=document.name(), digest=digest, collected_at=self.now)
            if not facts_affirm(device=device, affirmed=affirmed, now=self.now):
                facts_receive(
                    device=device,
                    report=FactsReport(document=document, digest=digest, collected_at=self.now),
                    now=self.now,
                )
        Device.objects.visible_to(SYSTEM).filter(pk=device.pk).update(last_check_in_at=self.now)
        device.refresh_from_db()
        self.turn()

    def nightly(self, days: int, **said: Any) -> None:
        """So many nights pass, each with a good backup."""
        for _ in range(days):
            self.office.later(days=1)
            self.backup(**said)
            self.report(minutes=0)

    def turn(self) -> None:
        while events_route(table=HANDLERS, now=self.now):
            pass
        services.restore_tests_schedule(now=self.now)
        services.recovery_tick(now=self.now)
        while events_route(table=HANDLERS, now=self.now):
            pass

    def add(
        self, kind: str = "machine", what: str = "", device: Device | None = None, name: str = "", **terms: Any
    ) -> ProtectedSystem:
        return services.system_add(
            device=device or self.device, kind=kind, what=what, name=name, terms={"copies": 2, **terms},
            scope=self.office.scope, now=self.now,
        )  # fmt: skip

    def standing(self, system: ProtectedSystem, scope: Scope = SYSTEM) -> Standing:
        return queries.standing_of(scope=scope, system=system, now=self.now)

    def gaps(self, system: ProtectedSystem) -> list[str]:
        return [gap.code for gap in self.standing(system).judged.gaps]

    def window(self, **changes: Any) -> Any:
        """A window every day that opens in an hour, for two."""
        start = self.now + timedelta(hours=1)
        return window_create(
            **{
                "scope": self.office.scope, "site": self.office.site, "name": "Night", "starts_on": start.date(),
                "starts_at": f"{start:%H:%M}", "minutes": 120, "rrule": "FREQ=DAILY", "now": self.now, **changes,
            }
        )  # fmt: skip

    def order(self, **changes: Any) -> None:
        self.office.install(
            self.office.order(
                slug="prove-backup",
                trigger="restore_test",
                allowed={
                    "backup": ["nightly"], "level": ["sample", "whole"], "most_mb": [2000], "rate_kb": [0],
                    "sample": [20], **changes,
                },
                runs_per_day=3,
            )
        )  # fmt: skip

    def jobs(self) -> list[Job]:
        return list(Job.objects.visible_to(SYSTEM).select_related("device", "runbook").order_by("created_at", "pk"))

    def proof(self, **said: Any) -> RestoreProof:
        known = {
            "backup": "nightly", "tool": "restic", "level": "sample", "ok": True, "snapshot": "4bba301e",
            "snapshot_at": self.now - timedelta(hours=2), "started_at": self.now, "seconds": 12.5, "files": 20,
            "compared": 20, "bytes": 50_000_000, "detail": "20 files restored and compared",
        }  # fmt: skip
        return RestoreProof(**{**known, **said})

    def answers(self, job: Job, **said: Any) -> None:
        """The device carries a restore test out and signs what it found."""
        runbooks.job_delivered(job_id=job.pk, device=job.device, now=self.now)
        self.office.later(minutes=3)
        proof = self.proof(**said)
        steps = (StepResult(action="backup.prove", ok=proof.ok, summary=proof.detail, proof=proof),)
        outcome = {"outcome": "succeeded"} if proof.ok else {"outcome": "failed", "code": "restore_differs"}
        self.office.receive(self.office.answer(job.pk, detail=proof.detail, steps=steps, **outcome))
        self.turn()

    def seen(self, **said: Any) -> BackupProof:
        """A proof as the device's facts report it."""
        known = {"level": "sample", "at": self.now, "ok": True, "seconds": 12.5, "files": 20, "compared": 20}
        return BackupProof(**{**known, **said})

    def proofs(self) -> list[Proof]:
        return list(Proof.objects.visible_to(SYSTEM).order_by("at", "pk"))

    def tickets(self) -> list[Ticket]:
        return list(Ticket.objects.visible_to(SYSTEM).filter(kind="recovery").order_by("number"))

    def attest(self, system: ProtectedSystem, **said: Any) -> Proof:
        known = {"level": "whole", "ok": True, "at": self.now, "detail": "Restored to the spare server; compared."}
        return services.proof_attest(system=system, scope=self.office.scope, now=self.now, **{**known, **said})
