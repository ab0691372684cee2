"""Reads of deployments, patch policies and decisions."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db.models import Count, F, Q, QuerySet

from forestall.server.inventory.models import Device
from forestall.server.patching.models import (
    SETTLED,
    Deployment,
    DeploymentChange,
    DeploymentState,
    PatchPolicy,
    UpdateDecision,
)
from forestall.server.people.models import Site
from forestall.server.people.scope import Scope

OPEN_STATES = tuple(state for state in DeploymentState.values if state not in SETTLED)


def deployments(*, scope: Scope, late_at: datetime | None = None) -> QuerySet[Deployment]:
    """Deployments that ``scope`` may see, with device, site and client.

    ``late_at``: only those whose deadline had passed then while they were open, or that were installed after it.
    """
    found: QuerySet[Deployment] = Deployment.objects.visible_to(scope).select_related("device", "site", "client")
    if late_at is None:
        return found
    installed_late = Q(state=DeploymentState.VERIFIED, due_at__lt=F("installed_at"))
    return found.filter(Q(settled_at=None, due_at__lt=late_at) | installed_late)


def changes_of(*, scope: Scope, deployment: Deployment) -> QuerySet[DeploymentChange]:
    """The history of a deployment, oldest first."""
    found: QuerySet[DeploymentChange] = DeploymentChange.objects.visible_to(scope).filter(deployment=deployment)
    return found.order_by("at", "pk")


def states_of(*, scope: Scope, device: Device | UUID) -> dict[str, int]:
    """State → how many deployments of a device are in it; only states that some are in."""
    rows = Deployment.objects.visible_to(scope).filter(device=device).order_by()
    return dict(rows.values_list("state").annotate(Count("pk")))


def policies(*, scope: Scope) -> QuerySet[PatchPolicy]:
    """Patch policies that ``scope`` may see: those of clients, and of the sites that it sees."""
    found: QuerySet[PatchPolicy] = PatchPolicy.objects.visible_to(scope).select_related("client", "site")
    seen = Site.objects.visible_to(scope, by=PatchPolicy.SCOPE_VIEW)
    return found.filter(Q(site=None) | Q(site__in=seen.values("pk")))


def policy_for(*, scope: Scope, device: Device) -> PatchPolicy | None:
    """The policy that covers a device: its site's, else its client's."""
    rows = PatchPolicy.objects.visible_to(scope).filter(client=device.client_id)
    found: PatchPolicy | None = (
        rows.filter(Q(site=None) | Q(site=device.site_id)).order_by(F("site").asc(nulls_last=True)).first()
    )
    return found


def decisions(*, scope: Scope, in_force_at: datetime | None = None) -> QuerySet[UpdateDecision]:
    """Decisions about updates that ``scope`` may see: those for clients, and for devices that it sees.

    ``in_force_at``: only those that hold then.
    """
    found: QuerySet[UpdateDecision] = UpdateDecision.objects.visible_to(scope).select_related("client")
    found = found.filter(Q(device_id=None) | Q(device_id__in=Device.objects.visible_to(scope).values("pk")))
    if in_force_at is None:
        return found
    return found.filter(Q(until=None) | Q(until__gt=in_force_at), ended_at=None)
