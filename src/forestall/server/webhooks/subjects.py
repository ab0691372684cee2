"""What an event is about: whose it is, what it is called, and where to look at it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.core.exceptions import ObjectDoesNotExist, ValidationError

from forestall.server.alerts.models import Alert
from forestall.server.calendar.models import MaintenanceWindow
from forestall.server.checks.models import CheckChange
from forestall.server.health.models import HealthRun
from forestall.server.inventory.models import Device
from forestall.server.patching.models import Rollout
from forestall.server.people.models import Client
from forestall.server.people.scope import Scope
from forestall.server.recovery.models import Proof
from forestall.server.runbooks.models import Job
from forestall.server.tickets.models import Ticket

_SELF = Scope.system("webhooks")

TOLD = (
    "verified",
    "documents",
    "metrics",
    "old",
    "new",
    "state",
    "runbook",
    "severity",
    "known_exploited",
    "devices",
    "more",
    "states",
)
"""What is passed on of an event's own detail: plain words, no secrets."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One thing of one client."""

    kind: str
    id: str
    name: str
    client_id: UUID | None
    client: str
    path: str
    """In the console."""
    detail: Mapping[str, Any]


def subject_of(*, event: str, subject: str, detail: Mapping[str, Any]) -> Subject:
    """What an event is about. Of what is gone, or of a kind nobody here knows, no client is known."""
    find = _FINDERS.get(event.partition(".")[0])
    told = {name: detail[name] for name in TOLD if name in detail}
    try:
        found = find(subject) if find is not None else None
    except (ObjectDoesNotExist, ValidationError, ValueError):
        found = None
    if found is None:
        return Subject(event.partition(".")[0], subject, "", None, "", "/", told)
    return Subject(
        found.kind, found.id, found.name, found.client_id, found.client, found.path, {**found.detail, **told}
    )


def _device(key: str) -> Subject:
    row = Device.objects.visible_to(_SELF).select_related("client").get(pk=key)
    detail = {"site": str(row.site_id), "status": row.status}
    return Subject("device", str(row.pk), row.name, row.client_id, row.client.name, f"/devices/{row.pk}/", detail)


def _deployment(key: str) -> Subject:
    """Updates of a device that came to another state, told together."""
    found = _device(key)
    return replace(found, path=f"/devices/{key}/updates/")


def _check(key: str) -> Subject:
    change = CheckChange.objects.visible_to(_SELF).select_related("check_row__device__client").get(pk=key)
    row = change.check_row
    name = f"{row.kind} {row.target}".strip()
    detail = {"kind": row.kind, "target": row.target, "device": str(row.device_id), "device_name": row.device.name}
    path = f"/checks/?device={row.device_id}"
    return Subject("check", str(row.pk), name, row.device.client_id, row.device.client.name, path, detail)


def _alert(key: str) -> Subject:
    row = Alert.objects.visible_to(_SELF).select_related("device__client").get(pk=key)
    detail = {
        "kind": row.kind, "target": row.target, "risk": row.risk, "state": row.state,
        "device": str(row.device_id), "device_name": row.device.name,
    }  # fmt: skip
    name = f"{row.kind} {row.target}".strip()
    path = f"/devices/{row.device_id}/"
    return Subject("alert", str(row.pk), name, row.device.client_id, row.device.client.name, path, detail)


def _ticket(key: str) -> Subject:
    row = Ticket.objects.visible_to(_SELF).select_related("client").get(number=key)
    detail = {"priority": row.priority, "state": row.state}
    path = f"/tickets/{row.number}/"
    return Subject("ticket", str(row.number), row.title, row.client_id, row.client.name, path, detail)


def _job(key: str) -> Subject:
    row = Job.objects.visible_to(_SELF).select_related("client", "runbook", "device").get(pk=key)
    detail = {"device": str(row.device_id), "device_name": row.device.name, "state": row.state}
    return Subject("job", str(row.pk), row.runbook.slug, row.client_id, row.client.name, f"/jobs/{row.pk}/", detail)


def _window(key: str) -> Subject:
    row: Any = MaintenanceWindow.objects.visible_to(_SELF).select_related("client").get(pk=key)
    return Subject("window", str(row.pk), row.name, row.client_id, row.client.name, "/windows/", {})


def _rollout(key: str) -> Subject:
    """One across clients is about none: only a webhook of the installation hears of it."""
    row = Rollout.objects.visible_to(_SELF).select_related("client").get(pk=key)
    name = "" if row.client is None else row.client.name
    detail = {"state": row.state, "ring": row.ring}
    return Subject("rollout", str(row.pk), row.name, row.client_id, name, f"/rollouts/{row.pk}/", detail)


def _vulnerability(key: str) -> Subject:
    client_id, _, name = key.partition("/")
    client = Client.objects.visible_to(_SELF).get(pk=client_id)
    return Subject("vulnerability", name, name, client.pk, client.name, f"/vulnerabilities/{name}/", {})


def _health(key: str) -> Subject:
    """A health run of a client."""
    row: Any = HealthRun.objects.visible_to(_SELF).select_related("client").get(pk=key)
    detail = {"score": row.score, "gaps": row.gaps, "day": row.day.isoformat()}
    path = f"/health/?client={row.client_id}"
    return Subject("health", str(row.pk), f"{row.client.name} {row.day}", row.client_id, row.client.name, path, detail)


def _proof(key: str) -> Subject:
    row = Proof.objects.visible_to(_SELF).select_related("client", "device", "system").get(pk=key)
    name = row.system.name if row.system is not None else f"{row.backup} on {row.device.name}"
    detail = {
        "device": str(row.device_id), "backup": row.backup, "level": row.level, "ok": row.ok, "source": row.source,
    }  # fmt: skip
    path = f"/devices/{row.device_id}/backups/" if row.system_id is None else f"/recovery/{row.system_id}/"
    return Subject("proof", str(row.pk), name, row.client_id, row.client.name, path, detail)


_FINDERS: Mapping[str, Callable[[str], Subject]] = {
    "device": _device,
    "deployment": _deployment,
    "facts": _device,
    "samples": _device,
    "check": _check,
    "alert": _alert,
    "ticket": _ticket,
    "job": _job,
    "window": _window,
    "rollout": _rollout,
    "vulnerability": _vulnerability,
    "health": _health,
    "proof": _proof,
}
