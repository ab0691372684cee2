"""Alerts: checks that do not pass."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Router, Schema

from forestall.server.alerts import queries
from forestall.server.alerts.models import Alert, AlertState
from forestall.server.api.asking import PagingQuery, scope_of_request
from forestall.server.api.paging import Page, page
from forestall.server.people.scope import Permission

router = Router(tags=["alerts"])


class AlertOut(Schema):
    id: int
    device: UUID
    check: int | None
    kind: str
    target: str
    status: str
    risk: str
    reason: str
    state: str = Field(description="`open`, `muted` or `cleared`.")
    first_seen_at: datetime
    raised_at: datetime | None
    cleared_at: datetime | None
    cleared_because: str
    muted_because: str
    ticket: int | None


@router.get("/alerts", response=Page[AlertOut], summary="List alerts, newest first")
def alert_list(
    request: HttpRequest, paging: PagingQuery, state: AlertState | None = None, device: UUID | None = None
) -> dict[str, Any]:
    scope = scope_of_request(request, Permission.DEVICE_VIEW)
    found = queries.alerts(scope=scope).select_related("ticket_alert")
    if state:
        found = found.filter(state=state)
    if device is not None:
        found = found.filter(device=device)
    return page(found, shape=_alert, cursor=paging.cursor, limit=paging.limit)


def _alert(alert: Alert) -> dict[str, Any]:
    fields = (
        "kind", "target", "status", "risk", "reason", "state", "first_seen_at", "raised_at", "cleared_at",
        "cleared_because", "muted_because",
    )  # fmt: skip
    joined = getattr(alert, "ticket_alert", None)
    return {
        "id": alert.pk,
        "device": alert.device_id,
        "check": alert.check_row_id,
        "ticket": joined.ticket_id if joined else None,
        **{name: getattr(alert, name) for name in fields},
    }
