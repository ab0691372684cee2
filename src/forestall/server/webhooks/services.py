"""Making webhooks, telling them, and giving up in time."""

from __future__ import annotations

import json
import logging
import secrets
import uuid
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import evidence_append
from forestall.server.outbox.events import Event
from forestall.server.outbox.models import OutboxEvent
from forestall.server.people.models import Client
from forestall.server.people.queries import clients
from forestall.server.people.scope import Permission, Scope
from forestall.server.sealing import SealError, seal, unseal
from forestall.server.webhooks import queries, rules
from forestall.server.webhooks.models import Delivery, DeliveryState, Webhook, WebhookState
from forestall.server.webhooks.rules import WebhookError
from forestall.server.webhooks.sending import Outcome, send
from forestall.server.webhooks.subjects import subject_of

log = logging.getLogger(__name__)

_SELF = Scope.system("webhooks")
PING = "webhook.ping"
ADDRESS, SECRET = "webhook address", "webhook secret"
SECRET_PREFIX = "fsw_"  # noqa: S105 - a recognisable beginning, for secret scanners
LEASE = timedelta(seconds=60)
THREADS = 8
MOST_AT_ONCE = 32
EACH_AT_ONCE = 4
"""So many messages of one webhook at a time: one slow receiver leaves room for the others."""
MOST = 200
"""Webhooks there may be."""


@transaction.atomic
def webhook_make(
    *, name: str, url: str, events: Collection[str] = (), client: Client | None, scope: Scope, now: datetime
) -> tuple[Webhook, str]:
    """A new webhook, and the secret of its signatures, which nobody sees a second time.

    ``events``: names, none for all. ``client`` None: of all clients, for whoever may change the installation's
    settings. WebhookError names what is wrong.
    """
    _require(client, scope)
    if Webhook.objects.visible_to(_SELF).count() >= MOST:
        raise WebhookError(f"webhooks: there are {MOST}; remove one first")
    secret = SECRET_PREFIX + secrets.token_urlsafe(32)
    row: Webhook = Webhook.objects.create(
        client=client,
        name=_name(name),
        host=rules.address_check(url),
        sealed_address=seal(url, purpose=ADDRESS),
        sealed_secret=seal(secret, purpose=SECRET),
        events=_events(events),
        created_at=now,
        created_by=scope.who,
    )
    _recorded(row, "made", scope, now)
    return row, secret


@transaction.atomic
def webhook_change(
    *,
    webhook: Webhook,
    name: str | None = None,
    url: str | None = None,
    events: Collection[str] | None = None,
    scope: Scope,
    now: datetime,
) -> Webhook:
    """Another name, address or choice of events; None: as it was."""
    row = _locked(webhook, scope)
    if name is not None:
        row.name = _name(name)
    if url is not None:
        row.host, row.sealed_address = rules.address_check(url), seal(url, purpose=ADDRESS)
    if events is not None:
        row.events = _events(events)
    row.save()
    _recorded(row, "changed", scope, now)
    return row


@transaction.atomic
def webhook_rotate(*, webhook: Webhook, scope: Scope, now: datetime) -> tuple[Webhook, str]:
    """A new secret; the old one signs nothing any more."""
    row = _locked(webhook, scope)
    secret = SECRET_PREFIX + secrets.token_urlsafe(32)
    row.sealed_secret = seal(secret, purpose=SECRET)
    row.save(update_fields=["sealed_secret"])
    _recorded(row, "secret changed", scope, now)
    return row, secret


@transaction.atomic
def webhook_pause(*, webhook: Webhook, scope: Scope, now: datetime) -> Webhook:
    """Tell it nothing for the time being. What happens meanwhile it never hears of."""
    row = _locked(webhook, scope)
    if row.state != WebhookState.ACTIVE:
        raise WebhookError(f"state: {row.name} is {row.state} already")
    _stop(row, WebhookState.PAUSED, "")
    _recorded(row, "paused", scope, now)
    return row


@transaction.atomic
def webhook_resume(*, webhook: Webhook, scope: Scope, now: datetime) -> Webhook:
    """Tell it of what happens from now on."""
    row = _locked(webhook, scope)
    if row.state == WebhookState.ACTIVE:
        raise WebhookError(f"state: {row.name} is active already")
    row.state, row.disabled_because, row.failing_since = WebhookState.ACTIVE, "", None
    row.save(update_fields=["state", "disabled_because", "failing_since"])
    _recorded(row, "resumed", scope, now)
    return row


@transaction.atomic
def webhook_remove(*, webhook: Webhook, scope: Scope, now: datetime) -> None:
    """Remove it, with its log."""
    row = _locked(webhook, scope)
    _recorded(row, "removed", scope, now)
    row.delete()


@transaction.atomic
def webhook_ping(*, webhook: Webhook, scope: Scope, now: datetime) -> Delivery:
    """Send it a message that says nothing, to see whether it arrives."""
    row = _locked(webhook, scope)
    if row.state != WebhookState.ACTIVE:
        raise WebhookError(f"state: {row.name} is {row.state}; resume it first")
    client = {"id": str(row.client_id), "name": row.client.name} if row.client is not None else None
    body = {
        "id": str(uuid.uuid4()), "event": PING, "at": now.isoformat(), "client": client,
        "subject": {"kind": "webhook", "id": str(row.pk), "name": row.name}, "url": _url("/webhooks/"), "detail": {},
    }  # fmt: skip
    return _deliver(row, PING, body, now)


@transaction.atomic
def delivery_repeat(*, delivery: Delivery, scope: Scope, now: datetime) -> Delivery:
    """Send the same message again, under the id it had: a receiver that knows it can leave it."""
    row = queries.deliveries(scope=scope).get(pk=delivery.pk)
    webhook = _locked(row.webhook, scope)
    if webhook.state != WebhookState.ACTIVE:
        raise WebhookError(f"state: {webhook.name} is {webhook.state}; resume it first")
    if row.state == DeliveryState.WAITING:
        raise WebhookError("delivery: it still waits to be sent")
    again: Delivery = Delivery.objects.create(
        webhook=webhook, event=row.event, body=row.body, made_at=now, next_at=now, again_of=row
    )
    return again


def event_tell(event: OutboxEvent, now: datetime) -> None:
    """Write a message to every webhook that wants to hear of this event, in the event's own transaction."""
    wanting = [
        one
        for one in Webhook.objects.visible_to(_SELF).filter(state=WebhookState.ACTIVE)
        if not one.events or event.name in one.events
    ]
    if not wanting:
        return
    subject = subject_of(event=event.name, subject=event.subject, detail=event.detail)
    # From the event's own row, so that the same event has the same id for whoever hears of it twice.
    key = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{event.pk} {event.name} {event.subject} {event.at.isoformat()}"))
    body = {
        "id": key,
        "event": event.name,
        "at": event.at.isoformat(),
        "client": None if subject.client_id is None else {"id": str(subject.client_id), "name": subject.client},
        "subject": {"kind": subject.kind, "id": subject.id, "name": subject.name},
        "url": _url(subject.path),
        "detail": dict(subject.detail),
    }
    for webhook in wanting:
        if webhook.client_id is None or webhook.client_id == subject.client_id:
            _deliver(webhook, event.name, body, now)


def deliveries_send(*, now: datetime, most: int = MOST_AT_ONCE) -> int:
    """Send what is due; how many attempts were made.

    Each message is claimed by a conditional update, sent outside of any transaction, and written down: of a killed
    worker the lease ends, and the message goes out again under the same id.
    """
    claimed = _claim(now, most)
    if not claimed:
        return 0
    with ThreadPoolExecutor(max_workers=min(THREADS, len(claimed))) as pool:
        sent = [(one, pool.submit(_send, one, now)) for one in claimed]
        outcomes = [(one, future.result()) for one, future in sent]
    for delivery, outcome in outcomes:
        _settle(delivery, outcome, now)
    return len(outcomes)


def deliveries_forget(*, now: datetime) -> int:
    """Forget deliveries that are over for thirty days; how many."""
    old = Delivery.objects.visible_to(_SELF).filter(made_at__lt=now - rules.KEPT).exclude(state=DeliveryState.WAITING)
    return int(old.delete()[0])


def _claim(now: datetime, most: int) -> list[Delivery]:
    free = Q(leased_until=None) | Q(leased_until__lte=now)
    due = Delivery.objects.visible_to(_SELF).filter(free, state=DeliveryState.WAITING, next_at__lte=now)
    wanting = list(due.order_by("webhook_id").values_list("webhook_id", flat=True).distinct())
    # Another one first each time, so that nobody always comes last.
    turn = int(now.timestamp()) % len(wanting) if wanting else 0
    claimed: list[Delivery] = []
    for webhook_id in wanting[turn:] + wanting[:turn]:
        oldest = due.filter(webhook=webhook_id).select_related("webhook").order_by("next_at", "made_at")
        for one in oldest[: min(EACH_AT_ONCE, most - len(claimed))]:
            mine = Delivery.objects.visible_to(_SELF).filter(free, pk=one.pk, attempts=one.attempts)
            mine = mine.filter(state=DeliveryState.WAITING)
            if mine.update(leased_until=now + LEASE, attempts=F("attempts") + 1):
                one.attempts += 1
                claimed.append(one)
    return claimed


def _send(delivery: Delivery, now: datetime) -> Outcome:
    # In a thread of the pool: nothing here may touch the database.
    webhook = delivery.webhook
    try:
        url, secret = unseal(webhook.sealed_address, purpose=ADDRESS), unseal(webhook.sealed_secret, purpose=SECRET)
    except SealError as error:
        return Outcome(None, 0, str(error)[:300])
    return send(
        url=url,
        secret=secret,
        body=delivery.body.encode(),
        event=delivery.event,
        delivery=str(delivery.pk),
        webhook=str(webhook.pk),
        now=now,
    )


@transaction.atomic
def _settle(delivery: Delivery, outcome: Outcome, now: datetime) -> None:
    webhook = Webhook.objects.visible_to(_SELF).select_for_update().filter(pk=delivery.webhook_id).first()
    row = Delivery.objects.visible_to(_SELF).select_for_update().filter(pk=delivery.pk).first()
    if webhook is None or row is None:
        return  # removed while it was on its way
    row.tried_at, row.status, row.milliseconds = now, outcome.status, outcome.milliseconds
    row.error, row.leased_until = outcome.error, None
    if outcome.status is not None and rules.is_success(outcome.status):
        row.state, row.next_at = DeliveryState.DONE, None
        webhook.failing_since, webhook.last_success_at = None, now
        webhook.save(update_fields=["failing_since", "last_success_at"])
    elif row.state == DeliveryState.WAITING:
        row.next_at = rules.next_attempt(made_at=row.made_at, attempts=row.attempts, now=now)
        if row.next_at is None:
            row.state = DeliveryState.FAILED
        _failing(webhook, outcome, now)
        if webhook.state != WebhookState.ACTIVE:
            row.state, row.next_at = DeliveryState.FAILED, None
    row.save()


def _failing(webhook: Webhook, outcome: Outcome, now: datetime) -> None:
    if webhook.failing_since is None:
        webhook.failing_since = now
        webhook.save(update_fields=["failing_since"])
        return
    if webhook.state == WebhookState.ACTIVE and now - webhook.failing_since >= rules.DISABLED_AFTER:
        why = outcome.error or f"it answers HTTP {outcome.status}"
        _stop(
            webhook, WebhookState.DISABLED, f"Nothing arrived since {webhook.failing_since:%Y-%m-%d %H:%M} UTC: {why}"
        )
        _recorded(webhook, "disabled", _SELF, now)
        log.warning("webhook %s (%s) is disabled: %s", webhook.name, webhook.host, webhook.disabled_because)


def _stop(webhook: Webhook, state: WebhookState, why: str) -> None:
    webhook.state, webhook.disabled_because = state, why[:300]
    webhook.save(update_fields=["state", "disabled_because"])
    waiting = Delivery.objects.visible_to(_SELF).filter(webhook=webhook, state=DeliveryState.WAITING)
    waiting.update(state=DeliveryState.FAILED, next_at=None, error=f"the webhook was {state}")


def _deliver(webhook: Webhook, event: str, body: dict[str, Any], now: datetime) -> Delivery:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    row: Delivery = Delivery.objects.create(webhook=webhook, event=event, body=text, made_at=now, next_at=now)
    return row


def _locked(webhook: Webhook, scope: Scope) -> Webhook:
    row: Webhook = queries.webhooks(scope=scope).get(pk=webhook.pk)
    _require(row.client, scope)
    Webhook.objects.visible_to(_SELF).select_for_update().get(pk=row.pk)
    return row


def _require(client: Client | None, scope: Scope) -> None:
    if client is None:
        scope.require_everywhere(Permission.SETTINGS_CHANGE)
    else:
        scope.require(Permission.CLIENT_CHANGE, on=client)


def _name(name: str) -> str:
    if not name.strip() or len(name) > 100:
        raise WebhookError("name: 1 to 100 characters that say who listens")
    return name.strip()


def _events(events: Collection[str]) -> list[str]:
    unknown = sorted(set(events) - set(Event))
    if unknown:
        raise WebhookError(f"events: {unknown[0][:80]!r} is not known; known: {', '.join(Event)}")
    return sorted(set(events))


def _url(path: str) -> str:
    public = getattr(settings, "PUBLIC_URL", None)
    return f"{public or ''}{path}"


def _recorded(webhook: Webhook, act: str, scope: Scope, now: datetime) -> None:
    # It takes a client's events out of the house: each client concerned has it on record.
    payload = {
        "what": "webhook", "name": webhook.name, "act": act, "by": scope.who, "to": webhook.host,
        "events": webhook.events or "all", "clients": "this one" if webhook.client_id else "all",
    }  # fmt: skip
    for client in [webhook.client] if webhook.client is not None else clients(scope=_SELF):
        evidence_append(client=client, kind=EvidenceKind.CLIENT_CHANGED, payload=payload, now=now)
