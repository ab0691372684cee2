"""Reads of baselines, their results, deviations, drift and assessments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from forestall.server.configuration.controls import Control, Judged, Outcome, controls
from forestall.server.configuration.models import (
    BaselineAssignment,
    Deviation,
    DeviceConfiguration,
    Drift,
    ImportedAssessment,
)
from forestall.server.configuration.rules import Chosen, Overlap, level_of, overlap
from forestall.server.inventory.models import Device
from forestall.server.people.scope import Permission, Scope


def configurations(*, scope: Scope) -> QuerySet[DeviceConfiguration]:
    """How devices stand, with device, client and site; the worst first."""
    found: QuerySet[DeviceConfiguration] = (
        DeviceConfiguration.objects.visible_to(scope)
        .select_related("device", "client", "site")
        .defer("present", "accepted")
        .order_by("-failed", "-drifted", "device__name")
    )
    return found


def configuration_of(*, scope: Scope, device: Device | UUID) -> DeviceConfiguration | None:
    """How a device stands; None: it has not been judged yet."""
    found: DeviceConfiguration | None = (
        DeviceConfiguration.objects.visible_to(scope)
        .select_related("device", "client", "site")
        .filter(device=device)
        .first()
    )
    return found


def assignments(*, scope: Scope) -> QuerySet[BaselineAssignment]:
    """Choices of a baseline's level, ended ones too, the newest first."""
    found: QuerySet[BaselineAssignment] = BaselineAssignment.objects.visible_to(scope).select_related(
        "client", "device"
    )
    return found if scope.everywhere(Permission.DEVICE_VIEW) else found.filter(_of_seen(scope))


def assignments_in_force(*, scope: Scope) -> QuerySet[BaselineAssignment]:
    return assignments(scope=scope).filter(ended_at=None)


def deviations(*, scope: Scope) -> QuerySet[Deviation]:
    """Deviations with leave, ended ones too, the newest first; of one device only with the device."""
    found: QuerySet[Deviation] = Deviation.objects.visible_to(scope).select_related("client", "device")
    return found if scope.everywhere(Permission.DEVICE_VIEW) else found.filter(_of_seen(scope))


def deviations_in_force(*, scope: Scope, now: datetime) -> QuerySet[Deviation]:
    return deviations(scope=scope).filter(ended_at=None, ends_at__gt=now)


def drifts(*, scope: Scope) -> QuerySet[Drift]:
    """Differences from what was accepted, settled ones too, the newest first."""
    found: QuerySet[Drift] = Drift.objects.visible_to(scope).select_related("device", "client")
    return found


def drifts_open(*, scope: Scope) -> QuerySet[Drift]:
    return drifts(scope=scope).filter(settled_at=None)


def assessments(*, scope: Scope) -> QuerySet[ImportedAssessment]:
    """Runs of other tools, the newest first."""
    found: QuerySet[ImportedAssessment] = ImportedAssessment.objects.visible_to(scope).select_related(
        "device", "client"
    )
    return found


def _of_seen(scope: Scope) -> Q:
    return Q(device=None) | Q(device__in=Device.objects.visible_to(scope).values("pk"))


def level_for(*, scope: Scope, device: Device) -> Chosen:
    """The level that holds for a device, and why."""
    rows = BaselineAssignment.objects.visible_to(scope).filter(client=device.client_id, ended_at=None)
    found = [(role, str(of or ""), level) for role, of, level in rows.values_list("role", "device_id", "level")]
    return level_of(role=device.role, device=str(device.pk), assigned=found)


def deviating_controls(*, scope: Scope, device: Device, now: datetime) -> dict[str, Deviation]:
    """Controls that this device need not meet now → the leave; one of the device itself before one of the client."""
    found = (
        Deviation.objects.visible_to(scope)
        .filter(client=device.client_id, ended_at=None, ends_at__gt=now)
        .filter(Q(device=None) | Q(device=device))
    )
    return {one.control: one for one in sorted(found, key=lambda one: one.device_id is not None)}


def results_of(row: DeviceConfiguration) -> list[tuple[Control, Judged]]:
    """The controls of the last judgement with what became of them; controls that are no more are left out."""
    known = controls()
    return [
        (known[control], Judged(control, Outcome(outcome), why))
        for control, outcome, why in row.results
        if control in known
    ]


def overlap_of(row: DeviceConfiguration, assessment: ImportedAssessment) -> Overlap:
    """How an assessment and the controls' results meet."""
    judged = [one for _, one in results_of(row)]
    return overlap(tool=assessment.tool, findings=assessment.findings, results=judged, known=controls())


def latest_assessments(*, scope: Scope, device: Device) -> Sequence[ImportedAssessment]:
    """The last run of each tool and profile on a device."""
    seen: dict[tuple[str, str], ImportedAssessment] = {}
    for one in assessments(scope=scope).filter(device=device)[:100]:
        seen.setdefault((one.tool, one.profile), one)
    return list(seen.values())
