"""Webhooks: addresses that are told of events, signed, with a log of every message."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from ninja import Field

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, ordered, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.outbox.events import Event
from forestall.server.people.queries import clients
from forestall.server.people.scope import Permission
from forestall.server.webhooks import queries, services
from forestall.server.webhooks.models import Delivery, DeliveryState, Webhook, WebhookState

router = Routes(tags=["webhooks"])


class WebhookOut(Schema):
    id: UUID
    name: str
    host: str = Field(description="Scheme, name and port of its address; the rest is shown to nobody.")
    client: Named | None = Field(description="Null: of all clients.")
    events: list[str] = Field(description="Empty: all.")
    state: str = Field(description="`active`, `paused`, or `disabled` after days of failure.")
    disabled_because: str
    failing_since: datetime | None
    last_success_at: datetime | None
    created_at: datetime
    created_by: str


class NewWebhookOut(WebhookOut):
    secret: str = Field(description="Key of its signatures. Shown once.")


class WebhookIn(Schema):
    name: str = Field(min_length=1, max_length=100, description="Who listens.", examples=["chat of the desk"])
    url: str = Field(min_length=8, max_length=2000, description="https, or http inside your own network.",
                     examples=["https://hooks.example.org/forestall"])  # fmt: skip
    client: UUID | None = Field(None, description="Null: of all clients, which takes `settings.change` everywhere.")
    events: list[Event] = Field(default_factory=list, max_length=50, description="None: all.")


class WebhookChangeIn(Schema):
    name: str | None = Field(None, min_length=1, max_length=100)
    url: str | None = Field(None, min_length=8, max_length=2000)
    events: list[Event] | None = Field(None, max_length=50, description="Empty: all.")


class DeliveryOut(Schema):
    id: UUID
    event: str
    state: str = Field(description="`waiting`, `done` or `failed`.")
    made_at: datetime
    attempts: int
    next_at: datetime | None = Field(description="When it is tried again.")
    tried_at: datetime | None
    status: int | None = Field(description="HTTP status of the latest answer; null: none came.")
    milliseconds: int | None
    error: str
    again_of: UUID | None


class WholeDeliveryOut(DeliveryOut):
    body: str = Field(description="The very text that is signed and sent.")


@router.get("/webhooks", allow=Permission.CLIENT_CHANGE, response=Page[WebhookOut], summary="List webhooks")
def webhook_list(
    request: ApiRequest,
    paging: PagingQuery,
    client: UUID | None = None,
    state: WebhookState | None = None,
    ordering: Literal["name", "-name", "created_at", "-created_at"] = "name",
) -> dict[str, Any]:
    found = queries.webhooks(scope=request.scope)
    wanted = {"client": client, "state": state}
    found = found.filter(**{name: value for name, value in wanted.items() if value is not None})
    return page(found, shape=_webhook, cursor=paging.cursor, limit=paging.limit, order=ordered(ordering))


@router.post(
    "/webhooks", allow=Permission.CLIENT_CHANGE, response={201: NewWebhookOut}, summary="Make a webhook: secret once"
)
def webhook_make(request: ApiRequest, body: WebhookIn) -> dict[str, Any]:
    client = clients(scope=request.scope).get(pk=body.client) if body.client is not None else None
    row, secret = services.webhook_make(
        name=body.name, url=body.url, events=body.events, client=client, scope=request.scope, now=current_time()
    )
    return {**_webhook(row), "secret": secret}


@router.get(
    "/webhooks/{webhook_id}",
    allow=Permission.CLIENT_CHANGE,
    response=WebhookOut,
    summary="Show a webhook",
    volatile={"last_success_at", "failing_since"},
)
def webhook_show(request: ApiRequest, webhook_id: UUID) -> dict[str, Any]:
    return _webhook(queries.webhooks(scope=request.scope).get(pk=webhook_id))


@router.patch("/webhooks/{webhook_id}", allow=Permission.CLIENT_CHANGE, response=WebhookOut, summary="Change a webhook")
def webhook_change(request: ApiRequest, webhook_id: UUID, body: WebhookChangeIn) -> dict[str, Any]:
    row = queries.webhooks(scope=request.scope).get(pk=webhook_id)
    changed = services.webhook_change(
        webhook=row, name=body.name, url=body.url, events=body.events, scope=request.scope, now=current_time()
    )
    return _webhook(changed)


@router.delete("/webhooks/{webhook_id}", allow=Permission.CLIENT_CHANGE, summary="Remove a webhook with its log")
def webhook_remove(request: ApiRequest, webhook_id: UUID) -> None:
    row = queries.webhooks(scope=request.scope).get(pk=webhook_id)
    services.webhook_remove(webhook=row, scope=request.scope, now=current_time())


@router.post(
    "/webhooks/{webhook_id}/rotate",
    allow=Permission.CLIENT_CHANGE,
    response=NewWebhookOut,
    summary="Change the secret of its signatures: shown once",
)
def webhook_rotate(request: ApiRequest, webhook_id: UUID) -> dict[str, Any]:
    row = queries.webhooks(scope=request.scope).get(pk=webhook_id)
    row, secret = services.webhook_rotate(webhook=row, scope=request.scope, now=current_time())
    return {**_webhook(row), "secret": secret}


@router.post(
    "/webhooks/{webhook_id}/pause",
    allow=Permission.CLIENT_CHANGE,
    response=WebhookOut,
    summary="Tell a webhook nothing for the time being",
)
def webhook_pause(request: ApiRequest, webhook_id: UUID) -> dict[str, Any]:
    row = queries.webhooks(scope=request.scope).get(pk=webhook_id)
    return _webhook(services.webhook_pause(webhook=row, scope=request.scope, now=current_time()))


@router.post(
    "/webhooks/{webhook_id}/resume",
    allow=Permission.CLIENT_CHANGE,
    response=WebhookOut,
    summary="Tell a paused or disabled webhook of what happens from now on",
)
def webhook_resume(request: ApiRequest, webhook_id: UUID) -> dict[str, Any]:
    row = queries.webhooks(scope=request.scope).get(pk=webhook_id)
    return _webhook(services.webhook_resume(webhook=row, scope=request.scope, now=current_time()))


@router.post(
    "/webhooks/{webhook_id}/ping",
    allow=Permission.CLIENT_CHANGE,
    response=DeliveryOut,
    summary="Send a message that says nothing, as a test",
)
def webhook_ping(request: ApiRequest, webhook_id: UUID) -> dict[str, Any]:
    row = queries.webhooks(scope=request.scope).get(pk=webhook_id)
    return _delivery(services.webhook_ping(webhook=row, scope=request.scope, now=current_time()))


@router.get(
    "/webhooks/{webhook_id}/deliveries",
    allow=Permission.CLIENT_CHANGE,
    response=Page[DeliveryOut],
    summary="A webhook's log of the last thirty days, newest first",
)
def delivery_list(
    request: ApiRequest,
    webhook_id: UUID,
    paging: PagingQuery,
    state: DeliveryState | None = None,
    event: str | None = None,
) -> dict[str, Any]:
    row = queries.webhooks(scope=request.scope).get(pk=webhook_id)
    found = queries.deliveries(scope=request.scope).filter(webhook=row)
    wanted = {"state": state, "event": event}
    found = found.filter(**{name: value for name, value in wanted.items() if value is not None})
    return page(found, shape=_delivery, cursor=paging.cursor, limit=paging.limit, order=("-made_at", "pk"))


@router.get(
    "/webhooks/{webhook_id}/deliveries/{delivery_id}",
    allow=Permission.CLIENT_CHANGE,
    response=WholeDeliveryOut,
    summary="Show a message with its text",
)
def delivery_show(request: ApiRequest, webhook_id: UUID, delivery_id: UUID) -> dict[str, Any]:
    row = queries.deliveries(scope=request.scope).get(pk=delivery_id, webhook=webhook_id)
    return {**_delivery(row), "body": row.body}


@router.post(
    "/webhooks/{webhook_id}/deliveries/{delivery_id}/repeat",
    allow=Permission.CLIENT_CHANGE,
    response=DeliveryOut,
    summary="Send the same message again, under the id it had",
)
def delivery_repeat(request: ApiRequest, webhook_id: UUID, delivery_id: UUID) -> dict[str, Any]:
    row = queries.deliveries(scope=request.scope).get(pk=delivery_id, webhook=webhook_id)
    return _delivery(services.delivery_repeat(delivery=row, scope=request.scope, now=current_time()))


def _webhook(row: Webhook) -> dict[str, Any]:
    fields = (
        "id", "name", "host", "client", "events", "state", "disabled_because", "failing_since", "last_success_at",
        "created_at", "created_by",
    )  # fmt: skip
    return {name: getattr(row, name) for name in fields}


def _delivery(row: Delivery) -> dict[str, Any]:
    fields = (
        "id", "event", "state", "made_at", "attempts", "next_at", "tried_at", "status", "milliseconds", "error",
    )  # fmt: skip
    return {**{name: getattr(row, name) for name in fields}, "again_of": row.again_of_id}
