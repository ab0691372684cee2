"""Where notifications go: making, changing, testing and removing routes. Each change is on record at its clients.

An address often holds a password. It is sealed, never shown whole again, and in no record: what is kept and shown is
its form without secrets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import apprise
from django.db import transaction

from forestall.server.alerts.models import NotificationRoute
from forestall.server.checks.result import Risk
from forestall.server.evidence.changes import change_record
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, Scope

_SELF = Scope.system("alerts")

HERE = frozenset({"dbus", "gio", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"})
"""Services of the machine that sends: they would reach the server's own desktop or log, and nobody else."""
LONGEST_ADDRESS = 2000


class RouteError(ValueError):
    """An address that no notification service understands, or another value that cannot be."""


Sender = Callable[[str, str, str], bool]
"""Takes address, title and text; whether it was delivered."""


def send_by_apprise(url: str, title: str, text: str) -> bool:
    """Send through the service the address names. Text only: nothing in it is markup to any service."""
    notifier = apprise.Apprise()
    if not notifier.add(url):
        raise RouteError("the address is not one that a notification service understands")
    return bool(notifier.notify(title=title, body=text, body_format=apprise.NotifyFormat.TEXT))


@transaction.atomic
def route_create(
    *, name: str, url: str, minimum_risk: Risk, scope: Scope, now: datetime, client: Client | None = None
) -> NotificationRoute:
    """A new place to send to. RouteError (without the address, which may hold a secret) when no service knows it."""
    if client is None and not scope.everywhere(Permission.CLIENT_CHANGE):
        scope.require(Permission.CLIENT_CHANGE)
        raise RouteError("client: only someone responsible for every client can set a route for all of them")
    seen = Client.objects.visible_to(scope).filter(removed_at=None).get(pk=client.pk) if client else None
    if seen is not None:
        scope.require(Permission.CLIENT_CHANGE, on=seen)
    route = NotificationRoute(client=seen, minimum_risk=minimum_risk, created_at=now, created_by=scope.who)
    _fill(route, name=name, url=url)
    route.save()
    _recorded(route, before=None, after=route_plain(route), scope=scope, now=now)
    return route


@transaction.atomic
def route_change(
    *,
    route: NotificationRoute,
    scope: Scope,
    now: datetime,
    name: str | None = None,
    url: str | None = None,
    minimum_risk: Risk | None = None,
    enabled: bool | None = None,
) -> NotificationRoute:
    """Change a route; None leaves as it is. Which client it is for stays: remove it and make another."""
    found = changeable(route, scope)
    before = route_plain(found)
    _fill(found, name=found.name if name is None else name, url=url)
    if minimum_risk is not None:
        found.minimum_risk = minimum_risk
    if enabled is not None:
        found.enabled = enabled
    found.save()
    after = route_plain(found)
    if url is not None:
        # Two addresses may look the same without their secrets.
        before, after = {**before, "address changed": False}, {**after, "address changed": True}
    _recorded(found, before=before, after=after, scope=scope, now=now)
    return found


def route_enable(*, route: NotificationRoute, enabled: bool, scope: Scope, now: datetime) -> NotificationRoute:
    """Switch a route on or off."""
    return route_change(route=route, enabled=enabled, scope=scope, now=now)


@transaction.atomic
def route_remove(*, route: NotificationRoute, scope: Scope, now: datetime) -> None:
    """Take a route away, and its sealed address with it. What was sent over it stays listed."""
    found = changeable(route, scope)
    _recorded(found, before=route_plain(found), after=None, scope=scope, now=now)
    found.delete()


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a test."""

    delivered: bool
    words: str


def route_test(*, route: NotificationRoute, scope: Scope, now: datetime, send: Sender = send_by_apprise) -> Tried:
    """Really send a message over a route, now, whether or not it is enabled. May take some seconds."""
    found = changeable(route, scope)
    title = "Test from Forestall"
    whom = found.client.name if found.client else "every client"
    text = (
        f"{scope.who} tried the route {found.name!r} on {now:%Y-%m-%d at %H:%M} UTC. "
        f"Alerts of {found.minimum_risk} risk or worse at {whom} arrive here."
    )
    try:
        delivered = send(found.url, title, text)
    except Exception as error:  # noqa: BLE001 - shown to who asked
        # Only the type: the message may hold the address and with it a secret.
        return Tried(delivered=False, words=f"not delivered: {type(error).__name__}")
    if not delivered:
        return Tried(delivered=False, words="not delivered: the service refused it or could not be reached")
    return Tried(delivered=True, words=f"delivered to {found.shown_url}")


def changeable(route: NotificationRoute, scope: Scope) -> NotificationRoute:
    """The route as it is now, for someone who may change it."""
    found: NotificationRoute = NotificationRoute.objects.visible_to(scope).select_related("client").get(pk=route.pk)
    if found.client_id is None:
        scope.require_everywhere(Permission.CLIENT_CHANGE)
    else:
        scope.require(Permission.CLIENT_CHANGE, on=found)
    return found


def _fill(route: NotificationRoute, *, name: str, url: str | None) -> None:
    if url is not None:
        if len(url) > LONGEST_ADDRESS:
            raise RouteError(f"url: {len(url)} characters, at most {LONGEST_ADDRESS}")
        service = apprise.Apprise.instantiate(url)
        if service is None:
            raise RouteError("url: not an address that a notification service understands")
        if url.partition(":")[0].strip().lower() in HERE:
            raise RouteError(f"url: {url.partition(':')[0].strip().lower()} would only reach the server's own screen")
        # Without what follows "?": how to send, not where to.
        route.shown_url = str(service.url(privacy=True)).partition("?")[0][:500]  # type: ignore[no-untyped-call]
        route.url = url
    if not name.strip():
        raise RouteError("name: a route needs a name")
    if len(name.strip()) > 100:
        raise RouteError(f"name: {len(name.strip())} characters, at most 100")
    route.name = name.strip()


def route_plain(route: NotificationRoute) -> dict[str, Any]:
    """A route in plain values without its secrets, as evidence keeps it."""
    return {
        "id": route.pk,
        "name": route.name,
        "address": route.shown_url,
        "minimum_risk": str(route.minimum_risk),
        "enabled": route.enabled,
        "for every client": route.client_id is None,
    }


def _recorded(
    route: NotificationRoute,
    *,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    scope: Scope,
    now: datetime,
) -> None:
    # What holds for every client is on record at every client.
    clients = [route.client] if route.client else Client.objects.visible_to(_SELF).filter(removed_at=None)
    for client in clients:
        change_record(
            client=client,
            kind=EvidenceKind.CLIENT_CHANGED,
            what="notification route",
            name=route.name,
            before=before,
            after=after,
            by=scope.who,
            now=now,
        )
