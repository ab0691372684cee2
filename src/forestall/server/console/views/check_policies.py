"""Policies of checks: what differs from the defaults and where, how often kinds are judged, and the history."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from forestall.server.checks import queries, services
from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds import CHECK_KINDS
from forestall.server.checks.models import PolicyChange, PolicyOverride
from forestall.server.checks.rules import EVERY_MINUTES, PolicyError, cadence_of, policy_of, settings_of
from forestall.server.checks.words import span
from forestall.server.clients.queries import served, sites_served
from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.inventory import queries as inventory
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission, Scope

CRUMBS = SafeString('<a href="/checks/">Checks</a>')
METHODS = ("GET", "HEAD", "POST")
CHANGES_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Place:
    """Where a policy holds."""

    client: Client
    site: Site | None = None
    device: Any = None

    @property
    def key(self) -> str:
        if self.device is not None:
            return f"device:{self.device.pk}"
        return f"site:{self.site.pk}" if self.site is not None else f"client:{self.client.pk}"

    @property
    def name(self) -> str:
        if self.device is not None:
            return f"the device {self.device.name}"
        return f"the site {self.site.name}" if self.site is not None else f"all of {self.client.name}"

    @property
    def only(self) -> dict[str, Any]:
        """As the service wants it: the narrowest alone."""
        if self.device is not None:
            return {"device": self.device}
        return {"site": self.site} if self.site is not None else {"client": self.client}


@dataclass(frozen=True, slots=True)
class Field:
    """One setting in the form."""

    name: str
    help: str
    here: str
    """What is set here; empty: as in the wider scope."""
    wider: str
    """What holds if nothing is set here."""


def place_of(scope: Scope, key: str) -> Place | None:
    """``client:…``, ``site:…`` or ``device:…``; None for nothing named. ObjectDoesNotExist for what is not there."""
    sort, _, text = key.partition(":")
    try:
        pk = UUID(text)
    except ValueError:
        return None
    if sort == "device":
        device = inventory.devices(scope=scope).get(pk=pk)
        return Place(device.client, device.site, device)
    if sort == "site":
        site = sites_served(scope=scope).select_related("client").get(pk=pk)
        return Place(site.client, site)
    return Place(served(scope=scope).get(pk=pk)) if sort == "client" else None


@page(permission=Permission.DEVICE_VIEW, change=Permission.CHECK_CHANGE, methods=METHODS)
def check_policies(request: PageRequest) -> HttpResponse:
    """What is set where; with a kind and a place, the form; and who changed what."""
    scope, now = request.scope, timezone.now()
    typed = request.POST if request.method == "POST" else request.GET
    kind = CHECK_KINDS.get(typed.get("kind", ""))
    place = place_of(scope, typed.get("place", ""))
    if request.method == "POST":
        return _set(request, kind, place, now)
    found = list(queries.policy_list(scope=scope).order_by("kind", "client__name", "site__name", "pk"))
    if kind is not None:
        found = [one for one in found if one.kind == kind.slug]
    if place is not None:
        found = [one for one in found if one.client_id == place.client.pk]
    changes = queries.policy_changes(scope=scope)
    if kind is not None:
        changes = changes.filter(kind=kind.slug)
    if place is not None:
        changes = changes.filter(client=place.client)
    may = scope.may(Permission.CHECK_CHANGE)
    context = {
        "crumbs": CRUMBS,
        "sentence": _in_words(found),
        "table": _table(found, now),
        "history": _history(list(changes.order_by("-pk")[:CHANGES_SHOWN]), now),
        "undoable": _undoable(scope) if may else [],
        "may": may,
        "kinds": [(one.slug, one.texts.title) for one in CHECK_KINDS.values()],
        "kind": kind,
        "place": place,
        "places": _places(scope, place) if may else [],
        "fields": _fields(scope, kind, place) if may and kind is not None and place is not None else [],
    }
    return render_page(request, "check_policies", context, section="checks", title="Policies of checks", live=False)


def _in_words(found: list[PolicyOverride]) -> str:
    if not found:
        return "Every check is judged by its defaults, as often as its kind says."
    slower = sum(EVERY_MINUTES in one.values for one in found)
    said = f"{words.plural(len(found), 'policy', 'policies')} {words.does(len(found), 'differ')} from the defaults"
    return f"{said}; {slower} of them {words.does(slower, 'set')} how often a kind is judged." if slower else f"{said}."


def _places(scope: Scope, chosen: Place | None) -> list[tuple[str, str]]:
    found = [(f"client:{one.pk}", f"all of {one.name}") for one in served(scope=scope).order_by("name")]
    found += [
        (f"site:{one.pk}", f"{one.client.name}, {one.name}")
        for one in sites_served(scope=scope).select_related("client").order_by("client__name", "name")
    ]
    if chosen is not None and chosen.key not in {key for key, _ in found}:
        found.insert(0, (chosen.key, chosen.name))
    return found


def _fields(scope: Scope, kind: CheckKind, place: Place) -> list[Field]:
    every = queries.overrides_of(scope=scope, client_id=place.client.pk)
    site_id, device_id = (place.site.pk if place.site else None), (place.device.pk if place.device else None)
    here: Mapping[str, Any] = next(
        (
            each.values
            for each in every
            if each.kind == kind.slug and (each.site_id, each.device_id) == (site_id, device_id)
        ),
        {},
    )
    others = [each for each in every if (each.site_id, each.device_id) != (site_id, device_id)]
    wider = queries.override_values(others, kind=kind, site_id=site_id, device_id=device_id)
    policy = policy_of(kind, wider)
    fields = [
        Field(
            EVERY_MINUTES,
            "How often it is judged at least, in minutes. What changes on the device is judged at once all the same.",
            _written(here.get(EVERY_MINUTES)),
            span(cadence_of(kind, wider)),
        )
    ]
    return fields + [
        Field(
            one.name,
            one.text.replace("``", '"'),
            _written(here.get(one.name)),
            _written(getattr(policy, one.name)) or "none",
        )
        for one in settings_of(kind)
    ]


def _written(value: Any) -> str:
    """A setting as a person types it; empty for none."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return json.dumps(value) if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _read(kind: CheckKind, typed: Mapping[str, str]) -> dict[str, Any]:
    """Settings out of a form: empty ones stay as in the wider scope; lists are divided by commas."""
    lists = {one.name for one in settings_of(kind) if isinstance(one.default, tuple)}
    values: dict[str, Any] = {}
    for name in (EVERY_MINUTES, *(one.name for one in settings_of(kind))):
        text = typed.get(f"set-{name}", "").strip()
        if not text:
            continue
        if name in lists:
            values[name] = [word.strip() for word in text.split(",") if word.strip()]
            continue
        try:
            values[name] = json.loads(text)
        except (ValueError, RecursionError):
            values[name] = text
    return values


def _set(request: PageRequest, kind: CheckKind | None, place: Place | None, now: datetime) -> HttpResponse:
    post, scope = request.POST, request.scope
    if place is None:
        raise Client.DoesNotExist
    scope.require(Permission.CHECK_CHANGE, on=place.device or place.site or place.client)
    back = f"/checks/policies/?{urlencode({'kind': kind.slug if kind else '', 'place': place.key})}"
    reason = post.get("reason", "").strip()
    if kind is None:
        messages.error(request, "Choose a kind of check.")
    elif not reason:
        messages.error(request, "Say why: it goes on record.")
    else:
        try:
            values = {} if "default" in post else _read(kind, post)
            made = services.policy_set(kind=kind.slug, values=values, scope=scope, now=now, reason=reason, **place.only)
        except PolicyError as refusal:
            messages.error(request, f"{refusal}.")
        else:
            what = "is judged by what is set here" if made is not None else "is judged as in the wider scope again"
            messages.success(request, f"{kind.texts.title} on {place.name} {what}; devices are judged anew at once.")
    return HttpResponseRedirect(back)


def _settings_in_words(kind: str, values: Mapping[str, Any]) -> parts.Html:
    if not values:
        return parts.none("as in the wider scope", "defaults")
    said = [
        format_html("judged every {}", span(60 * value))
        if name == EVERY_MINUTES and isinstance(value, int)
        else format_html("<code>{}</code> {}", name, _written(value) or "none")
        for name, value in values.items()
    ]
    return parts.joined(said, separator=", ")


def _title(slug: str) -> str:
    return CHECK_KINDS[slug].texts.title if slug in CHECK_KINDS else slug


def _where(one: PolicyOverride | PolicyChange) -> parts.Html:
    if one.device is not None:
        return parts.link(f"/devices/{one.device_id}/", one.device.name, one.client.name)
    return parts.text(one.site.name if one.site is not None else "every site", one.client.name)


def _key(one: PolicyOverride | PolicyChange) -> str:
    return Place(one.client, one.site, one.device).key


def _table(found: list[PolicyOverride], now: datetime) -> Table:
    return Table(
        caption="Policies that differ from the defaults",
        columns=[
            Column("Check", "lead"),
            Column("Where"),
            Column("Settings", "second wide"),
            Column("Why", "wide"),
            Column("Set"),
        ],
        rows=[
            Row(
                key=f"policy-{one.pk}",
                cells=[
                    parts.link(f"?{urlencode({'kind': one.kind, 'place': _key(one)})}#set", _title(one.kind)),
                    _where(one),
                    _settings_in_words(one.kind, one.values),
                    one.reason or parts.none("it was not asked for then", "not said"),
                    parts.text(parts.moment(one.set_at, now), one.set_by),
                ],
            )
            for one in found
        ],
        empty=Empty(
            "Nothing differs from the defaults",
            "Thresholds, ages and how often a kind is judged can be set for a client, a site or a device; the narrower "
            "one wins, setting by setting.",
        ),
    )


def _undoable(scope: Scope) -> list[PolicyChange]:
    """The newest change of each place and kind: what can be undone."""
    newest: dict[tuple[Any, ...], PolicyChange] = {}
    for one in queries.policy_changes(scope=scope).order_by("-pk")[: 4 * CHANGES_SHOWN]:
        newest.setdefault((one.kind, one.client_id, one.site_id, one.device_id), one)
    return list(newest.values())[:CHANGES_SHOWN]


def _history(changes: list[PolicyChange], now: datetime) -> Table:
    return Table(
        caption="Who changed what",
        columns=[
            Column("Check", "lead"),
            Column("Where"),
            Column("Before"),
            Column("After", "second"),
            Column("Why", "wide"),
            Column("When"),
        ],
        rows=[
            Row(
                key=f"change-{one.pk}",
                cells=[
                    parts.text(_title(one.kind), f"#{one.pk}"),
                    _where(one),
                    _settings_in_words(one.kind, one.old),
                    _settings_in_words(one.kind, one.new),
                    one.reason or parts.none("it was not asked for then", "not said"),
                    parts.text(parts.moment(one.at, now), one.by),
                ],
            )
            for one in changes
        ],
        empty=Empty("No change yet", "Each one will stand here with who made it and why, and can be undone."),
    )


@page(permission=Permission.DEVICE_VIEW, change=Permission.CHECK_CHANGE, methods=("POST",))
def check_policy_undo(request: PageRequest, check_policy_change_id: int) -> HttpResponse:
    """Set a policy back to what it was before its newest change."""
    found = queries.policy_changes(scope=request.scope).get(pk=check_policy_change_id)
    try:
        services.policy_undo(change=found, scope=request.scope, now=timezone.now())
    except PolicyError as refusal:
        messages.error(request, f"{refusal}.")
    else:
        messages.success(request, f"{_title(found.kind)} on the {found.where} is as it was before change #{found.pk}.")
    return HttpResponseRedirect("/checks/policies/")
