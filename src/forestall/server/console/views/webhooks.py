"""Webhooks: which programs are told of what, and what became of each message."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.middleware.csrf import get_token
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.console import parts
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.outbox.events import Event
from forestall.server.people.models import Client
from forestall.server.people.queries import clients
from forestall.server.people.scope import Permission
from forestall.server.webhooks import queries, services
from forestall.server.webhooks.models import Delivery, DeliveryState, Webhook, WebhookState
from forestall.server.webhooks.rules import KEPT, WebhookError

SHOWN = 100
STATES = {WebhookState.ACTIVE: "pass", WebhookState.PAUSED: "unknown", WebhookState.DISABLED: "fail"}
DELIVERIES = {DeliveryState.DONE: "pass", DeliveryState.WAITING: "unknown", DeliveryState.FAILED: "fail"}
ACTS = ("ping", "pause", "resume", "rotate", "remove")


@page(permission=Permission.CLIENT_CHANGE)
def webhooks(request: PageRequest) -> HttpResponse:
    now = timezone.now()
    found = list(queries.webhooks(scope=request.scope))
    off = [one.name for one in found if one.state == WebhookState.DISABLED]
    context = {
        "sentence": _sentence(found, off),
        "actions": SafeString('<a class="button primary" href="/webhooks/new">Make a webhook</a>'),
        "table": Table(
            caption="Webhooks",
            columns=[Column("Webhook", "lead"), Column("State", "second"), Column("Of"), Column("Events"),
                     Column("Last arrived")],
            rows=[
                Row(
                    [
                        parts.link(reverse("console:webhook", args=[one.pk]), one.name, one.host),
                        _state(one),
                        str(one.client or "all clients"),
                        _events(one),
                        parts.moment(one.last_success_at, now),
                    ],
                    key=str(one.pk),
                )
                for one in found
            ],
            empty=Empty(
                "No program is told of anything",
                "A webhook sends a signed message to an address of yours when something happens here.",
                "forestall webhooks make NAME --url https://…",
            ),
        ),
    }  # fmt: skip
    return render_page(
        request,
        "webhooks",
        context,
        section="webhooks",
        title="Webhooks",
        data_at=now,
    )


@page(permission=Permission.CLIENT_CHANGE, methods=("GET", "HEAD", "POST"), fresh=True)
def webhook_new(request: PageRequest) -> HttpResponse:
    """The form. What a webhook tells leaves the house, so the page asks first that they prove who they are."""
    refused = ""
    if request.method == "POST":
        try:
            row, secret = services.webhook_make(
                name=request.POST.get("name", ""),
                url=request.POST.get("url", ""),
                events=request.POST.getlist("event"),
                client=_client(request, request.POST.get("client", "")),
                scope=request.scope,
                now=timezone.now(),
            )
            return _show(request, row, secret)
        except WebhookError as error:
            refused = str(error)
    chosen = set(request.POST.getlist("event"))
    scope = request.scope
    context = {
        "crumbs": _crumbs("New"),
        "sentence": "It is told what happened, to whom and where to look; never a secret, and never more than that.",
        "refused": refused,
        "said": request.POST,
        "events": [(one.value, one.value.replace(".", " "), one.value in chosen) for one in Event],
        "clients": [one for one in clients(scope=scope) if scope.may(Permission.CLIENT_CHANGE, on=one)],
        "may_all": scope.everywhere(Permission.SETTINGS_CHANGE),
    }
    return render_page(request, "webhook_new", context, section="webhooks", title="New webhook", live=False)


@page(permission=Permission.CLIENT_CHANGE)
def webhook(request: PageRequest, webhook_id: UUID) -> HttpResponse:
    return _show(request, queries.webhooks(scope=request.scope).get(pk=webhook_id), "")


@page(permission=Permission.CLIENT_CHANGE, methods=("POST",), fresh=True)
def webhook_act(request: PageRequest, webhook_id: UUID, act: str) -> HttpResponse:
    row = queries.webhooks(scope=request.scope).get(pk=webhook_id)
    scope, now = request.scope, timezone.now()
    try:
        if act == "rotate":
            row, secret = services.webhook_rotate(webhook=row, scope=scope, now=now)
            return _show(request, row, secret)
        if act == "remove":
            services.webhook_remove(webhook=row, scope=scope, now=now)
            messages.success(request, f"{row.name} is removed.")
            return HttpResponseRedirect(reverse("console:webhooks"))
        if act == "ping":
            services.webhook_ping(webhook=row, scope=scope, now=now)
            messages.success(request, "A test message is on its way; the log below says when it arrived.")
        elif act == "pause":
            services.webhook_pause(webhook=row, scope=scope, now=now)
        else:
            services.webhook_resume(webhook=row, scope=scope, now=now)
    except WebhookError as error:
        messages.error(request, str(error))
    return HttpResponseRedirect(reverse("console:webhook", args=[webhook_id]))


@page(permission=Permission.CLIENT_CHANGE, methods=("POST",))
def delivery_repeat(request: PageRequest, webhook_id: UUID, delivery_id: UUID) -> HttpResponse:
    row = queries.deliveries(scope=request.scope).get(pk=delivery_id, webhook=webhook_id)
    try:
        services.delivery_repeat(delivery=row, scope=request.scope, now=timezone.now())
        messages.success(request, "The message is on its way again, under the id it had.")
    except WebhookError as error:
        messages.error(request, str(error))
    return HttpResponseRedirect(reverse("console:webhook", args=[webhook_id]))


def _show(request: PageRequest, row: Webhook, secret: str) -> HttpResponse:
    may = queries.may_change(webhook=row, scope=request.scope)
    found = list(queries.deliveries(scope=request.scope).filter(webhook=row)[:SHOWN])
    active = row.state == WebhookState.ACTIVE
    context = {
        "crumbs": _crumbs(row.name),
        "sentence": f"{row.host} is told of {_events(row)} of {row.client or 'all clients'}.",
        "webhook": row,
        "state": _state(row),
        "secret": secret,
        "may": may,
        "acts": [("ping", "Send a test")] * active
        + [("pause", "Pause") if active else ("resume", "Resume"), ("rotate", "New secret"), ("remove", "Remove")],
        "kept": KEPT.days,
        "table": _log(request, row, found, may=may and active),
    }
    newest = max((one.tried_at or one.made_at for one in found), default=None)
    response = render_page(
        request, "webhook", context, section="webhooks", title=row.name, live=not secret, data_at=newest
    )
    if secret:
        response["Cache-Control"] = "no-store"
    return response


def _log(request: PageRequest, row: Webhook, found: list[Delivery], *, may: bool) -> Table:
    now = timezone.now()
    return Table(
        caption="Messages",
        columns=[Column("Event", "lead"), Column("Result", "second"), Column("Made"), Column("Attempts", "num"),
                 Column("Answer"), Column("Took", "num"), Column("")],
        rows=[
            Row(
                [
                    parts.text(one.event, one.error or ("sent again" if one.again_of_id else "")),
                    parts.status(DELIVERIES[DeliveryState(one.state)], one.get_state_display()),
                    parts.moment(one.made_at, now),
                    str(one.attempts),
                    _answer(one),
                    parts.none("no attempt yet", "–") if one.milliseconds is None else f"{one.milliseconds} ms",
                    _repeat(request, one) if may and one.state != DeliveryState.WAITING else "",
                ],
                key=str(one.pk),
            )
            for one in found
        ],
        empty=Empty("Nothing was sent yet", "Send a test, or wait for something to happen."),
    )  # fmt: skip


def _answer(one: Delivery) -> parts.Html:
    return f"HTTP {one.status}" if one.status else parts.none("none came", "–")


def _repeat(request: PageRequest, one: Delivery) -> SafeString:
    return format_html(
        '<form method="post" action="{}"><input type="hidden" name="csrfmiddlewaretoken" value="{}">'
        '<button class="small">Send again</button></form>',
        reverse("console:delivery_repeat", args=[one.webhook_id, one.pk]),
        get_token(request),
    )


def _state(row: Webhook) -> SafeString:
    if row.state == WebhookState.ACTIVE and row.failing_since is not None:
        return parts.status("warn", "failing")
    return parts.status(STATES[WebhookState(row.state)], row.get_state_display())


def _events(row: Webhook) -> str:
    if not row.events:
        return "all events"
    return row.events[0] if len(row.events) == 1 else f"{len(row.events)} kinds of events"


def _client(request: PageRequest, chosen: str) -> Client | None:
    if not chosen:
        return None
    try:
        return clients(scope=request.scope).get(pk=UUID(chosen))
    except ValueError:
        raise WebhookError(f"client: {chosen[:60]!r} is none of the choices") from None


def _crumbs(here: str) -> SafeString:
    return format_html('<a href="{}">Webhooks</a> › {}', reverse("console:webhooks"), here)


def _sentence(found: list[Webhook], off: list[str]) -> str:
    if off:
        return f"{', '.join(off)} switched off after days without an answer: nothing is told there any more."
    failing = sum(one.failing_since is not None for one in found)
    if failing:
        return f"{failing} of {len(found)} do not take messages at the moment; each message is tried for a day."
    return "Programs of yours that are told when something happens, signed, so that they can tell it is true."
