"""Alerts: checks that do not pass."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from ninja import Field

from forestall.server.alerts import queries
from forestall.server.alerts.models import Alert, AlertState
from forestall.server.api.asking import KnownKind, PagingQuery
from forestall.server.api.paging import Page, ordered, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.checks.result import Risk
from forestall.server.people.scope import Permission

router = Routes(tags=["alerts"])


class AlertOut(Schema):
    id: int
    device: Named
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


@router.get("/alerts", allow=Permission.DEVICE_VIEW, response=Page[AlertOut], summary="List alerts, newest first")
def alert_list(
    request: ApiRequest,
    paging: PagingQuery,
    state: AlertState | None = None,
    client: UUID | None = None,
    device: UUID | None = None,
    kind: KnownKind | None = None,
    risk: Risk | None = None,
    ordering: Literal["-id", "id", "-first_seen_at", "first_seen_at"] = "-id",
) -> dict[str, Any]:
    scope = request.scope
    found = queries.alerts(scope=scope).select_related("ticket_alert")
    if state:
        found = found.filter(state=state)
    wanted = {"device__client": client, "device": device, "kind": kind, "risk": risk}
    found = found.filter(**{name: value for name, value in wanted.items() if value is not None})
    return page(found, shape=_alert, cursor=paging.cursor, limit=paging.limit, order=ordered(ordering))


def _alert(alert: Alert) -> dict[str, Any]:
    fields = (
        "kind", "target", "status", "risk", "reason", "state", "first_seen_at", "raised_at", "cleared_at",
        "cleared_because", "muted_because",
    )  # fmt: skip
    joined = getattr(alert, "ticket_alert", None)
    return {
        "id": alert.pk,
        "device": alert.device,
        "check": alert.check_row_id,
        "ticket": joined.ticket_id if joined else None,
        **{name: getattr(alert, name) for name in fields},
    }
