"""Reads of alerts, routes and what was sent."""

from __future__ import annotations

from django.db.models import QuerySet

from forestall.server.alerts.models import Alert, AlertState, Notification, NotificationRoute
from forestall.server.people.scope import Scope


def alerts(*, scope: Scope) -> QuerySet[Alert]:
    """Every alert, newest first, with check and device."""
    found: QuerySet[Alert] = Alert.objects.visible_to(scope).select_related(
        "check_row", "device__client", "device__site"
    )
    return found


def alerts_open(*, scope: Scope) -> QuerySet[Alert]:
    """Alerts that are raised and not cleared."""
    return alerts(scope=scope).filter(state=AlertState.OPEN)


def alerts_muted(*, scope: Scope) -> QuerySet[Alert]:
    """Alerts that wait, each with ``muted_because`` and ``muted_until``."""
    return alerts(scope=scope).filter(state=AlertState.MUTED)


def notifications(*, scope: Scope) -> QuerySet[Notification]:
    """What was or will be sent, newest first."""
    found: QuerySet[Notification] = Notification.objects.visible_to(scope).select_related("alert", "client")
    return found


def routes(*, scope: Scope) -> QuerySet[NotificationRoute]:
    """Where notifications go. Routes of every client are visible only to someone who sees every client."""
    found: QuerySet[NotificationRoute] = NotificationRoute.objects.visible_to(scope).select_related("client")
    return found
