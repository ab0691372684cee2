"""The list of devices: filter, sort, search, saved views, approve."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import django_filters
from django.contrib import messages
from django.db import transaction
from django.db.models import (
    Aggregate,
    Case,
    Count,
    F,
    FloatField,
    IntegerField,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from django.http import HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.checks import queries as checks_queries
from forestall.server.checks.result import Status
from forestall.server.console import parts, words
from forestall.server.console.access import STAFF, PageRequest, page
from forestall.server.console.models import SavedView
from forestall.server.console.parts import Column, Empty, Row, Table
from forestall.server.console.samples import sparks
from forestall.server.console.shell import render_page
from forestall.server.console.status_words import SILENT_AFTER, state_in_words
from forestall.server.inventory import queries as inventory
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.inventory.services import DeviceStateError, device_approve
from forestall.server.people import queries as people
from forestall.server.people.scope import Permission, Scope

A_PAGE = 100
UPDATE_KINDS = ("security_updates", "other_updates")
STATES = (
    ("fail", "Checks fail"),
    ("warn", "Checks warn"),
    ("unknown", "Checks unknown"),
    ("silent", "Silent"),
    ("pending", "Wait for approval"),
    ("pass", "All pass"),
)
SORTS = {
    "name": ("name",),
    "client": ("client__name", "name"),
    "state": ("-fails", "-warns", "name"),
    "seen": ("last_check_in_at", "name"),
    "os": ("os_name", "name"),
    "updates": ("security", "other", "name"),
    "backup": ("backup_hours", "name"),
}


Devices = QuerySet[Any]
"""Devices with the numbers that ``with_counts`` adds."""


class DeviceFilter(django_filters.FilterSet):  # type: ignore[misc]
    """What the filter bar asks, as the address says it."""

    q = django_filters.CharFilter(method="search")
    client = django_filters.UUIDFilter(field_name="client_id")
    role = django_filters.CharFilter(field_name="role")
    os = django_filters.CharFilter(field_name="os_name", lookup_expr="icontains")
    state = django_filters.CharFilter(method="in_state")
    updates = django_filters.CharFilter(method="with_updates")
    tag = django_filters.CharFilter(method="with_tag")
    group = django_filters.CharFilter(method="of_group")

    class Meta:
        model = Device
        fields: Sequence[str] = ()

    def search(self, devices: Devices, name: str, value: str) -> Devices:
        for word in value.split()[:6]:
            devices = devices.filter(
                Q(name__icontains=word)
                | Q(client__name__icontains=word)
                | Q(site__name__icontains=word)
                | Q(os_name__icontains=word)
            )
        return devices

    def in_state(self, devices: Devices, name: str, value: str) -> Devices:
        now: datetime = self.request.now
        if value == "pending":
            return devices.filter(status=DeviceStatus.PENDING)
        if value == "silent":
            return devices.filter(
                Q(last_check_in_at=None) | Q(last_check_in_at__lt=now - SILENT_AFTER), status=DeviceStatus.APPROVED
            )
        if value == "pass":
            return devices.filter(status=DeviceStatus.APPROVED, others=0)
        counted = {"fail": "fails", "warn": "warns", "unknown": "unknowns"}.get(value)
        return devices.filter(**{f"{counted}__gt": 0}) if counted else devices

    def with_tag(self, devices: Devices, name: str, value: str) -> Devices:
        return devices.filter(pk__in=inventory.devices(scope=self.request.scope).filter(tags__name=value).values("pk"))

    def of_group(self, devices: Devices, name: str, value: str) -> Devices:
        scope: Scope = self.request.scope
        found = inventory.groups(scope=scope).filter(pk=parts.number_typed(value) or 0).first()
        if found is None:
            return devices.none()
        return devices.filter(pk__in=inventory.group_devices(scope=scope, group=found).values("pk"))

    def with_updates(self, devices: Devices, name: str, value: str) -> Devices:
        if value == "security":
            return devices.filter(security__gt=0)
        return devices.filter(Q(security__gt=0) | Q(other__gt=0)) if value == "any" else devices


def with_counts(devices: Devices, scope: Scope) -> Devices:
    """Devices with the numbers by which the list is filtered and sorted."""

    def number(**kinds: Any) -> Coalesce:
        found = checks_queries.checks(scope=scope).filter(device=OuterRef("pk"), **kinds).order_by().values("device")
        return Coalesce(Subquery(found.annotate(n=Count("pk")).values("n"), output_field=IntegerField()), 0)

    def value(kind: str, of: type[Aggregate] = Sum) -> Subquery:
        found = checks_queries.checks(scope=scope).filter(device=OuterRef("pk"), kind=kind).order_by().values("device")
        return Subquery(found.annotate(n=of("value")).values("n"), output_field=FloatField())

    counted: Devices = devices.annotate(
        fails=number(status=Status.FAIL),
        warns=number(status=Status.WARN),
        unknowns=number(status__in=[Status.UNKNOWN, Status.STALE]),
        others=number(status__in=[s.value for s in Status if s is not Status.PASS]),
        security=value("security_updates"),
        other=value("other_updates"),
        backup_hours=value("backup_age", Max),
    )
    return counted


@page(permission=Permission.DEVICE_VIEW)
def devices(request: PageRequest) -> HttpResponse:
    now = timezone.now()
    request.now = now  # type: ignore[attr-defined]
    scope = request.scope
    asked = DeviceFilter(
        request.GET,
        queryset=with_counts(inventory.devices(scope=scope).exclude(status=DeviceStatus.REVOKED), scope),
        request=request,
    )
    found = asked.qs if asked.form.is_valid() else asked.queryset.none()
    sort = request.GET.get("sort", "-state")
    found = found.order_by(*_order(sort))
    total = found.count()
    pages, stretch = parts.pages_of(request.GET, total, A_PAGE)
    shown = list(found[stretch])
    clients = list(people.clients(scope=scope).values_list("pk", "name"))
    fleet = _fleet(scope, now)
    table = Table(
        caption="Devices",
        columns=[
            Column("Device", "lead", sort="name"),
            Column("Client", "quiet", sort="client"),
            Column("State", "second", sort="state"),
            Column("Last check-in", sort="seen"),
            Column("Operating system", sort="os"),
            Column("Updates", sort="updates", hint="security fixes first"),
            Column("Last backup", sort="backup"),
            Column("Load, 24 h"),
        ],
        rows=_rows(shown, scope, now),
        empty=_empty(request, fleet["all"]),
        query=request.GET,
        sort=sort,
        pages=pages,
        pickable=bool(shown) and (scope.may(Permission.DEVICE_APPROVE) or scope.may(Permission.DEVICE_CHANGE)),
    )
    context = {
        "sentence": fleet_sentence(fleet),
        "table": table,
        "filters": _filters(request, clients),
        "views": list(SavedView.objects.filter(person=request.person, section="devices")),
        "query": request.GET.urlencode(),
        "may_approve": scope.may(Permission.DEVICE_APPROVE) and any(d.status == DeviceStatus.PENDING for d in shown),
        "may_change": scope.may(Permission.DEVICE_CHANGE),
    }
    context["actions"] = format_html(
        '<a class="button" href="/groups/">Groups</a><a class="button" href="/assets/">Assets</a>{}',
        SafeString('<a class="button" href="/devices/enrol">Enrol a device</a>')
        if scope.may(Permission.DEVICE_APPROVE)
        else "",
    )
    return render_page(request, "devices", context, section="devices", title="Devices", data_at=fleet["newest"])


def _order(sort: str) -> list[Any]:
    descending, name = sort.startswith("-"), sort.removeprefix("-")
    if name == "state":  # worst first is what "-state" means: the counts already fall
        order: list[Any] = [
            Case(When(status=DeviceStatus.PENDING, then=Value(0)), default=Value(1)),
            *SORTS["state"],
        ]
        return order if descending else ["fails", "warns", "name"]
    columns = SORTS.get(name, SORTS["name"])
    first = F(columns[0])
    return [first.desc(nulls_last=True) if descending else first.asc(nulls_first=True), *columns[1:]]


def _rows(shown: Sequence[Device], scope: Scope, now: datetime) -> list[Row]:
    counts: dict[UUID, dict[str, int]] = defaultdict(dict)
    own = checks_queries.checks(scope=scope).filter(device__in=[device.pk for device in shown]).order_by()
    for device_id, status, number in own.values_list("device_id", "status").annotate(n=Count("pk")):
        counts[device_id][status] = number
    tags: dict[UUID, list[str]] = defaultdict(list)
    for device_id, name in inventory.tags_of(scope=scope, devices=[device.pk for device in shown]):
        tags[device_id].append(name)
    loads = sparks(device_ids=[device.pk for device in shown], now=now)
    return [
        Row(
            key=f"device-{device.pk}",
            pick=str(device.pk),
            pick_label=f"pick {device.name}",
            cells=[
                parts.link(f"/devices/{device.pk}/", device.name, _tags(tags[device.pk])),
                f"{device.client.name} · {device.site.name}",
                state_in_words(device, counts[device.pk], now),
                parts.moment(device.last_check_in_at, now),
                device.os_name or parts.none("it has not reported its system yet", "unknown"),
                _updates(device),
                _backup(device),
                loads.get(device.pk, "") or parts.none("no samples of the last day", "no samples"),
            ],
        )
        for device in shown
    ]


def _tags(names: Sequence[str]) -> parts.Html:
    return parts.joined((parts.tag(name) for name in names), separator=" ")


def _updates(device: Any) -> parts.Html:
    if device.security is None and device.other is None:
        return parts.none("the device has not said", "unknown")
    security, other = int(device.security or 0), int(device.other or 0)
    if not security and not other:
        return SafeString("0")
    said = [
        format_html("<b>{} security</b>", security) if security else "",
        f"{other} other" if other else "",
    ]
    return format_html('<a href="/devices/{}/updates/">{}</a>', device.pk, parts.joined(said, separator=", "))


def _backup(device: Any) -> parts.Html:
    if device.backup_hours is None:
        return parts.none("no good backup is known", "none known")
    hours = float(device.backup_hours)
    age = f"{hours:.0f} h ago" if hours < 48 else f"{hours / 24:.0f} days ago"
    return format_html('<a href="/devices/{}/backups/">{}</a>', device.pk, age)


def _fleet(scope: Scope, now: datetime) -> dict[str, Any]:
    """Numbers over all devices in scope, whatever the filter shows."""
    everything = inventory.devices(scope=scope).exclude(status=DeviceStatus.REVOKED).order_by()
    approved = Q(status=DeviceStatus.APPROVED)
    numbers = everything.aggregate(
        all=Count("pk"),
        pending=Count("pk", filter=Q(status=DeviceStatus.PENDING)),
        silent=Count("pk", filter=approved & (Q(last_check_in_at=None) | Q(last_check_in_at__lt=now - SILENT_AFTER))),
    )
    seen = everything.exclude(last_check_in_at=None).order_by("-last_check_in_at")
    numbers["newest"] = seen.values_list("last_check_in_at", flat=True).first()
    failing = checks_queries.checks(scope=scope).filter(status=Status.FAIL).order_by()
    numbers["failing"] = failing.aggregate(n=Count("device", distinct=True))["n"]
    return numbers


def fleet_sentence(fleet: dict[str, Any]) -> parts.Html:
    """The answer before the list."""
    number = fleet["all"]
    if not number:
        return "No device has enrolled yet."
    said = []
    if fleet["failing"]:
        does = words.does(fleet["failing"], "have")
        said.append(
            format_html(
                '<a href="?state=fail"><b>{} of {}</b></a> {} a failing check',
                fleet["failing"],
                words.plural(number, "device"),
                does,
            )
        )
    else:
        said.append(format_html("No check fails on {}", words.plural(number, "device")))
    if fleet["silent"]:
        is_ = words.does(fleet["silent"], "are")
        said.append(format_html('<a href="?state=silent">{} {} silent</a>', fleet["silent"], is_))
    if fleet["pending"]:
        verb = words.does(fleet["pending"], "wait")
        said.append(format_html('<a href="?state=pending">{} {} for approval</a>', fleet["pending"], verb))
    return format_html("{}.", parts.joined(said, separator="; "))


def _filters(request: PageRequest, clients: Sequence[tuple[UUID, str]]) -> parts.Filters:
    get = request.GET.get
    choices = [
        parts.choice("state", "State", [("", "Any state"), *STATES], get("state", "")),
        parts.choice(
            "updates",
            "Updates",
            [("", "Any updates"), ("security", "Security fixes pending"), ("any", "Updates pending")],
            get("updates", ""),
        ),
        parts.choice(
            "role",
            "Role",
            [("", "Any role")] + [(r, r) for r in ("server", "endpoint", "network", "printer", "cloud")],
            get("role", ""),
        ),
    ]
    if len(clients) > 1:
        options = [("", "All clients"), *((str(pk), name) for pk, name in clients)]
        choices.insert(0, parts.choice("client", "Client", options, get("client", "")))
    tags = list(inventory.tags(scope=request.scope))
    if tags:
        choices.append(parts.choice("tag", "Tag", [("", "Any tag"), *((one, one) for one in tags)], get("tag", "")))
    groups = list(inventory.groups(scope=request.scope))
    if groups:
        named = [("", "Any group"), *((str(one.pk), str(one)) for one in groups)]
        choices.append(parts.choice("group", "Group", named, get("group", "")))
    keep = [("sort", get("sort", ""))] if get("sort") else []
    return parts.Filters(choices, search=get("q", ""), placeholder="Filter devices", keep=keep)


def _empty(request: PageRequest, all_devices: int) -> Empty:
    if all_devices:
        return Empty("No device fits", "Every device is left out by the filter above.", href="?", action="Show all")
    if not request.scope.may(Permission.DEVICE_APPROVE):
        return Empty("No devices yet", "A device appears here once its agent has enrolled at a site you may see.")
    return Empty(
        "No devices yet",
        "A device appears here once its agent has enrolled. Make a token for its site, and run one command on it.",
        href="/devices/enrol",
        action="Enrol a device",
    )


@page(permission=Permission.DEVICE_VIEW, methods=("POST",), change=Permission.DEVICE_APPROVE)
def approve(request: PageRequest) -> HttpResponse:
    """Approve the picked devices: all, or none when one of them cannot be."""
    now = timezone.now()
    picked = [_uuid(text) for text in request.POST.getlist("pick")]
    found = list(inventory.devices(scope=request.scope).filter(pk__in=[pk for pk in picked if pk]))
    if not found or len(found) != len(picked):
        raise Device.DoesNotExist
    try:
        with transaction.atomic():
            for device in found:
                device_approve(device=device, scope=request.scope, now=now)
    except DeviceStateError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, f"Approved {words.listing([device.name for device in found])}.")
    back = request.POST.get("back", "")
    return HttpResponseRedirect(back if _is_own(back) else "/devices/")


@page(permission=STAFF, methods=("POST",))
def save_view(request: PageRequest) -> HttpResponse:
    """Keep the filter that is set, under a name; or forget one."""
    query = request.POST.get("query", "")[:1000]
    if "forget" in request.POST:
        SavedView.objects.filter(person=request.person, section="devices", name=request.POST["forget"]).delete()
        return HttpResponseRedirect("/devices/")
    name = request.POST.get("name", "").strip()[:60]
    if not name:
        messages.error(request, "Give the view a name.")
    else:
        SavedView.objects.update_or_create(
            person=request.person, section="devices", name=name, defaults={"query": query}
        )
    return HttpResponseRedirect(f"/devices/?{query}")


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _is_own(address: str) -> bool:
    return address.startswith("/devices/") and "//" not in address
