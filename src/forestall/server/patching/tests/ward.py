"""A client with a device whose documents and answers a test writes, and the loop turned by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from forestall.server.calendar.services import window_create
from forestall.server.inventory.models import Device
from forestall.server.inventory.services import facts_affirm, facts_receive
from forestall.server.loop import HANDLERS
from forestall.server.outbox.services import events_route
from forestall.server.patching import installing, planning, services
from forestall.server.patching.models import Deployment
from forestall.server.people.scope import Scope
from forestall.server.runbooks import services as runbooks
from forestall.server.runbooks.models import Job
from forestall.server.runbooks.tests.conftest import Office
from forestall.trust.statements import PackageChange, StepResult
from forestall.wire.checkin import FactsAffirmed, FactsReport
from forestall.wire.codec import facts_digest
from forestall.wire.facts import (
    Document,
    Package,
    Restarts,
    Service,
    Services,
    Software,
    System,
    Update,
    UpdateProvider,
    Updates,
)

SYSTEM = Scope.system("tests")
CAN = ("list", "download", "install", "security_only", "chosen", "hold", "roll_back", "repair")
OPENSSL = Update(name="openssl", installed="3.0.17-1", candidate="3.0.18-1", security=True, architecture="amd64")
NANO = Update(name="nano", installed="7.2-1", candidate="7.2-2", security=False, architecture="amd64")


class Ward:
    """Turns the wheel: a device reports, the loop runs, a window is open, the device answers a run."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.device: Device = office.device
        self.packages: dict[str, str] = {"openssl": "3.0.17-1", "nano": "7.2-1", "libc6": "2.36-9"}
        self.pending: list[Update] = [OPENSSL, NANO]
        self.provider: dict[str, Any] = {}
        self.boot, self.reboot_required, self.reasons = "boot-1", False, ()
        self.booted_at = office.now - timedelta(days=5)
        self.running: dict[str, str] = {"ssh": "running", "nginx": "running"}
        self.restarts: Restarts | None = Restarts()
        self.backups: Document | None = None

    @property
    def now(self):
        return self.office.now

    def documents(self) -> Sequence[Document]:
        found: list[Document] = [
            Updates(
                manager="apt",
                pending=tuple(self.pending),
                providers=(UpdateProvider(name="apt", version="2.6.1", can=CAN, **self.provider),),
            ),
            Software(
                manager="dpkg",
                packages=tuple(
                    Package(name=name, version=version, architecture="amd64")
                    for name, version in sorted(self.packages.items())
                ),
            ),
            System(
                hostname="web-01", os_id="debian", os_name="Debian 12", os_version="12.11", boot_id=self.boot,
                booted_at=self.booted_at, reboot_required=self.reboot_required, reboot_reasons=tuple(self.reasons),
            ),
            Services(
                manager="systemd",
                services=tuple(
                    Service(name=name, state=state, enabled=True) for name, state in sorted(self.running.items())
                ),
            ),
        ]  # fmt: skip
        return [*found, *(one for one in (self.restarts, self.backups) if one is not None)]

    def report(self, *, turn: bool = True, **span: float) -> None:
        """Time passes, the device checks in with all its documents, and the loop hears of what changed."""
        self.office.later(**(span or {"minutes": 2}))
        for document in self.documents():
            digest = facts_digest(document)
            affirmed = FactsAffirmed(name=document.name(), digest=digest, collected_at=self.now)
            if not facts_affirm(device=self.device, affirmed=affirmed, now=self.now):
                report = FactsReport(document=document, digest=digest, collected_at=self.now)
                facts_receive(device=self.device, report=report, now=self.now)
        Device.objects.visible_to(SYSTEM).filter(pk=self.device.pk).update(last_check_in_at=self.now)
        self.device.refresh_from_db()
        if turn:
            self.turn()

    def turn(self) -> None:
        """The loop and the schedule, until nothing moves."""
        while events_route(table=HANDLERS, now=self.now):
            pass
        services.deployments_tick(now=self.now)
        installing.deployments_deploy(now=self.now)
        while events_route(table=HANDLERS, now=self.now):
            pass

    def policy(self, **said: Any):
        """A policy; without rings unless the story is about them: with them a rollout has to begin first."""
        said["terms"] = {"rings": False, **(said.get("terms") or {})}
        return planning.policy_set(scope=self.office.scope, client=self.office.client, now=self.now, **said)

    def window(self, **changes: Any):
        """A window that opens in an hour, for two."""
        start = self.now + timedelta(hours=1)
        return window_create(
            **{
                "scope": self.office.scope, "site": self.office.site, "name": "Night", "starts_on": start.date(),
                "starts_at": f"{start:%H:%M}", "minutes": 120, "rrule": "FREQ=DAILY",
                "now": self.now, **changes,
            }
        )  # fmt: skip

    def order(self, **allowed: Sequence[Any]) -> None:
        self.office.install(
            self.office.order(
                slug="install-updates",
                trigger="patching",
                allowed={"choose": ["chosen"], "packages": ["*"], **allowed},
                runs_per_day=10,
            )
        )

    def row(self, name: str = "openssl", candidate: str | None = None) -> Deployment:
        rows = Deployment.objects.visible_to(SYSTEM).filter(device=self.device, name=name)
        return rows.filter(candidate=candidate).latest("pk") if candidate else rows.latest("pk")

    def states(self) -> Mapping[str, str]:
        rows = Deployment.objects.visible_to(SYSTEM).filter(device=self.device).order_by("pk")
        return {row.name: row.state for row in rows}

    def job(self) -> Job:
        return Job.objects.visible_to(SYSTEM).select_related("device", "runbook").latest("created_at")

    def answers(self, job: Job | None = None, *, outcome="succeeded", fail="", action="updates.install", **done: str):
        """The device carries a run out: what is in ``done`` changed to these versions, by its own records."""
        job = job or self.job()
        runbooks.job_delivered(job_id=job.pk, device=self.device, now=self.now)
        self.office.later(minutes=3)
        changes = tuple(
            PackageChange(manager="apt", name=name, architecture="amd64", before=self.packages[name], after=version)
            for name, version in done.items()
        )
        for name, version in done.items():
            self.packages[name] = version
            self.pending = [one for one in self.pending if (one.name, one.candidate) != (name, version)]
        steps = [
            StepResult(action="updates.check", ok=not (fail and action == "updates.check"), summary=fail or "fit"),
            StepResult(action="updates.download", ok=True, summary="downloaded 2 packages"),
            StepResult(
                action="updates.install", ok=not fail, summary=fail or f"{len(changes)} packages changed",
                output="dpkg: error processing package" if fail else "", packages=changes,
            ),
        ]  # fmt: skip
        if fail and action == "updates.check":
            steps = steps[:1]
        self.office.receive(
            self.office.answer(
                job.pk, outcome="failed" if fail else outcome, code="failed" if fail else "done", detail=fail,
                steps=tuple(steps),
            )
        )  # fmt: skip
        self.turn()
