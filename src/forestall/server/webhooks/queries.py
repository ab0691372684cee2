"""Reads of webhooks and their log."""

from __future__ import annotations

from django.db.models import QuerySet

from forestall.server.people.scope import Permission, Scope
from forestall.server.webhooks.models import Delivery, DeliveryState, Webhook


def webhooks(*, scope: Scope) -> QuerySet[Webhook]:
    """The webhooks at the clients that ``scope`` may change; those of all clients for whoever may change them all."""
    found: QuerySet[Webhook] = Webhook.objects.visible_to(scope).select_related("client")
    return found


def deliveries(*, scope: Scope) -> QuerySet[Delivery]:
    """What was sent to these webhooks, newest first."""
    found: QuerySet[Delivery] = Delivery.objects.visible_to(scope).select_related("webhook__client")
    return found


def waiting(*, webhook: Webhook, scope: Scope) -> int:
    """How many messages wait to be sent."""
    return deliveries(scope=scope).filter(webhook=webhook, state=DeliveryState.WAITING).count()


def may_change(*, webhook: Webhook, scope: Scope) -> bool:
    """Whether they may change it: at its client, or for all clients with the settings of the installation."""
    if webhook.client is None:
        return scope.everywhere(Permission.SETTINGS_CHANGE)
    return scope.may(Permission.CLIENT_CHANGE, on=webhook.client)
