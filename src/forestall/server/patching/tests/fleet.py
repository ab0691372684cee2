"""Clients with many devices for which an update is pending, and what becomes of it, written by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from forestall.server.checks.models import Check, CheckChange
from forestall.server.inventory.models import Device
from forestall.server.patching import rollouts
from forestall.server.patching.models import Deployment, PatchPolicy, Rollout, RolloutDevice
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Scope
from forestall.server.runbooks.models import Job, JobEvent, RunbookRecord

SYSTEM = Scope.system("tests")
START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
OPENSSL = ("apt", "openssl", "3.0.18-1")


class Fleet:
    """Acme (or who is named) with servers that need openssl."""

    def __init__(self, name: str = "Acme", count: int = 20, role: str = "server", now: datetime = START) -> None:
        self.now = now
        self.client: Client = Client.objects.create(name=name, timezone="UTC")
        self.sites: list[Site] = [
            Site.objects.create(client=self.client, name=f"{name} {place}", timezone="UTC")
            for place in ("here", "there")
        ]
        PatchPolicy.objects.create(
            client=self.client, created_at=now, created_by="ada", changed_at=now, changed_by="ada"
        )
        self.devices: list[Device] = Device.objects.bulk_create(
            [
                Device(
                    client=self.client, site=self.sites[index % 2], name=f"{name.lower()}-{index:04}", role=role,
                    status="approved", public_key=index.to_bytes(32), enrolled_at=now, approved_at=now,
                    last_check_in_at=now, os_name="Debian 12",
                )
                for index in range(count)
            ]
        )  # fmt: skip
        self.pending(*self.devices)

    def pending(self, *devices: Device, update=OPENSSL, security=True, state="planned", why="") -> None:
        manager, name, candidate = update
        Deployment.objects.bulk_create(
            [
                Deployment(
                    client_id=device.client_id, site_id=device.site_id, device=device, manager=manager, name=name,
                    candidate=candidate, installed="1", security=security, first_seen_at=self.now, state=state,
                    state_since=self.now, why=why, skip_by="ada" if state == "skipped" else "",
                )
                for device in devices
            ]
        )  # fmt: skip

    def start(self, scope: Scope = SYSTEM, **said) -> Rollout:
        return rollouts.rollout_start(**{"scope": scope, "client": self.client, "now": self.now, **said})

    def later(self, **span) -> None:
        """Time passes, and every device is heard of."""
        self.now += timedelta(**span)
        Device.objects.visible_to(SYSTEM).update(last_check_in_at=self.now)

    def tick(self, **span) -> None:
        self.later(**(span or {"minutes": 1}))
        rollouts.rollouts_tick(now=self.now)

    def members(self, rollout: Rollout, ring: int) -> list[RolloutDevice]:
        own = RolloutDevice.objects.visible_to(SYSTEM).filter(rollout=rollout, ring=ring)
        return list(own.select_related("device").order_by("pk"))

    def take(self, device: Device) -> Job | None:
        """A worker makes the device's run, and the device takes it; None when rings or holds say no."""
        runbook, _ = RunbookRecord.objects.get_or_create(
            slug="install-updates", version=1,
            defaults={"digest": "d" * 64, "envelope": b"", "title": "Install", "risk": "change",
                      "published_at": self.now, "published_by": "ada"},
        )  # fmt: skip
        job_id = uuid4()
        if not rollouts.device_claim(device_id=device.pk, updates=[OPENSSL], job_id=job_id, now=self.now).ok:
            return None
        counter = Job.objects.visible_to(SYSTEM).filter(device=device).count() + 1
        job = Job.objects.create(
            id=job_id, client_id=device.client_id, site_id=device.site_id, device=device, runbook=runbook,
            reason="tests", state="delivered", counter=counter, statement=b"", envelope=b"signed", created_at=self.now,
            created_by="ada", expires_at=self.now + timedelta(hours=8), queued_at=self.now, delivered_at=self.now,
        )  # fmt: skip
        self.row(device).update(job_id=job.pk, state="installing", state_since=self.now)
        return job

    def row(self, device: Device):
        return Deployment.objects.visible_to(SYSTEM).filter(device=device, name="openssl")

    def answer(self, job: Job, state: str = "verified", why: str = "") -> None:
        """The device's signed answer comes, and the deployment follows it."""
        outcome = "failed" if state == "failed" else "succeeded"
        Job.objects.visible_to(SYSTEM).filter(pk=job.pk).update(
            state=outcome, result_envelope=f"answer of {job.device.name}".encode(), finished_at=self.now
        )
        JobEvent.objects.create(job=job, at=self.now, what=outcome, actor="device", text="")
        in_place = state in ("verified", "installed", "pending_reboot")
        self.row(job.device).update(
            state=state, why=why, state_since=self.now, installed_at=self.now if in_place else None,
            verified_at=self.now if state == "verified" else None, settled_at=self.now if state == "verified" else None,
        )  # fmt: skip

    def install(self, *devices: Device) -> None:
        for device in devices:
            job = self.take(device)
            assert job is not None, device
            self.answer(job)

    def ring_goes_well(self, rollout: Rollout, ring: int) -> None:
        """Every device of the ring takes it, and is well until it was watched long enough."""
        self.install(*(one.device for one in self.members(rollout, ring)))
        self.tick(minutes=1)
        self.tick(hours=25)

    def worse(self, device: Device, kind="service_down", target="nginx", since=None) -> Check:
        check = Check.objects.create(
            device=device, kind=kind, target=target, status="fail", reason=f"{target} does not run", risk="high",
            since=since or self.now, judged_at=self.now, due_at=self.now,
        )  # fmt: skip
        CheckChange.objects.create(check_row=check, old="pass", new="fail", reason="x", at=since or self.now)
        return check
