"""What people say of devices: names, roles, tags, groups; and the list of assets, watched or not."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db.models import F, Q, QuerySet
from django.http import HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.console.views.client_forms import PlainForm
from forestall.server.inventory import assets as asset_services
from forestall.server.inventory import labels, queries
from forestall.server.inventory.label_rules import ASSET_ROLES, DEVICE_ROLES, GroupRule
from forestall.server.inventory.models import Asset, Device, DeviceGroup
from forestall.server.people import queries as people
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission, Scope

A_PAGE = 100
DEVICES = SafeString('<a href="/devices/">Devices</a>')
SOON_DAYS = 60
"""A warranty that ends within so many days is named."""


# --- a device ----------------------------------------------------------------------------------------------------


class DescriptionForm(PlainForm):
    name = forms.CharField(label="Name", max_length=200)
    role = forms.ChoiceField(label="Role", choices=[(role, role) for role in DEVICE_ROLES])
    tags = forms.CharField(
        label="Tags", required=False, help_text="Words, separated by blanks or commas. Groups and filters go by them."
    )


@page(permission=Permission.DEVICE_VIEW, methods=("GET", "HEAD", "POST"), change=Permission.DEVICE_CHANGE)
def describe(request: PageRequest, device_id: UUID) -> HttpResponse:
    """Name, role and tags of a device."""
    device = queries.devices(scope=request.scope).get(pk=device_id)
    had = list(device.tags.values_list("name", flat=True))
    form = DescriptionForm(
        request.POST if request.method == "POST" else None,
        initial={"name": device.name, "role": device.role, "tags": " ".join(had)},
    )
    if request.method == "POST" and form.is_valid():
        now, wanted = timezone.now(), _words(form.cleaned_data["tags"])
        try:
            labels.device_describe(
                device=device,
                name=form.cleaned_data["name"],
                role=form.cleaned_data["role"],
                scope=request.scope,
                now=now,
            )
            labels.devices_tag(
                devices=[device], add=wanted, remove=[one for one in had if one not in wanted], scope=request.scope,
                now=now,
            )  # fmt: skip
        except labels.LabelError as refusal:
            form.refuse(refusal)
        else:
            messages.success(request, f"{form.cleaned_data['name']} is described.")
            return HttpResponseRedirect(f"/devices/{device.pk}/")
    context = {
        "crumbs": format_html("{} › {}", DEVICES, parts.link(f"/devices/{device.pk}/", device.name)),
        "form": form,
        "button": "Save",
        "back": f"/devices/{device.pk}/",
    }
    return render_page(request, "ask", context, section="devices", title=f"Describe {device.name}", live=False)


@page(permission=Permission.DEVICE_VIEW, methods=("POST",), change=Permission.DEVICE_CHANGE)
def tag_picked(request: PageRequest) -> HttpResponse:
    """Put tags on the picked devices, or take them off: all or none."""
    picked = request.POST.getlist("pick")
    found = list(queries.devices(scope=request.scope).filter(pk__in=_ids(picked)))
    if not found or len(found) != len(set(picked)):
        raise Device.DoesNotExist
    tags = _words(request.POST.get("tags", ""))
    add, remove = ([], tags) if "remove" in request.POST else (tags, [])
    try:
        if not tags:
            raise labels.LabelError("Write the tags first.")
        changed = labels.devices_tag(devices=found, add=add, remove=remove, scope=request.scope, now=timezone.now())
    except labels.LabelError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, f"{words.plural(changed, 'device')} changed.")
    back = request.POST.get("back", "")
    return HttpResponseRedirect(back if back.startswith("/devices/") and "//" not in back else "/devices/")


# --- groups ------------------------------------------------------------------------------------------------------


class GroupForm(PlainForm):
    name = forms.CharField(label="Name", max_length=80)
    description = forms.CharField(label="What it is for", max_length=300, required=False)
    client = forms.ChoiceField(label="Of", required=False)
    roles = forms.MultipleChoiceField(
        label="Devices of these roles", choices=[(role, role) for role in DEVICE_ROLES], required=False,
        widget=forms.CheckboxSelectMultiple, help_text="None: of any role.",
    )  # fmt: skip
    tags = forms.CharField(label="With all of these tags", required=False)
    system = forms.CharField(
        label="Whose system's name holds", max_length=100, required=False, help_text="“debian”, “windows 11” …"
    )
    devices = forms.MultipleChoiceField(
        label="And these, whatever the rule says", required=False,
        widget=forms.SelectMultiple(attrs={"size": 8}),
    )  # fmt: skip

    def __init__(self, data: Any = None, *, scope: Scope, group: DeviceGroup | None = None) -> None:
        initial: dict[str, Any] = {}
        if group is not None:
            rule = GroupRule.parse(group.rule)
            initial = {
                "name": group.name, "description": group.description, "client": str(group.client_id or ""),
                "roles": list(rule.roles), "tags": " ".join(rule.tags), "system": rule.system,
                "devices": [str(one.pk) for one in group.devices.visible_to(scope)],
            }  # fmt: skip
        super().__init__(data, initial=initial)
        clients = [(str(one.pk), one.name) for one in _changeable(scope)]
        across = [("", "Across clients")] if scope.everywhere(Permission.DEVICE_CHANGE) else []
        self.fields["client"].choices = [*across, *clients]  # type: ignore[attr-defined]
        devices = queries.devices(scope=scope).order_by("client__name", "name")
        if group is not None:
            del self.fields["client"]
            if group.client_id is not None:
                devices = devices.filter(client=group.client_id)
        self.fields["devices"].choices = [  # type: ignore[attr-defined]
            (str(one.pk), f"{one.name} ({one.client.name})") for one in devices
        ]

    def rule(self) -> dict[str, Any]:
        given = self.cleaned_data
        return {"roles": given["roles"], "tags": _words(given["tags"]), "system": given["system"]}


@page(permission=Permission.DEVICE_VIEW)
def groups(request: PageRequest) -> HttpResponse:
    scope = request.scope
    found = queries.groups(scope=scope)
    pages, stretch = parts.pages_of(request.GET, found.count(), A_PAGE)
    rows = [
        Row(
            key=f"group-{group.pk}",
            cells=[
                parts.link(f"/groups/{group.pk}/", group.name, group.description),
                f"{queries.group_devices(scope=scope, group=group).count():,}",
                GroupRule.parse(group.rule).in_words(),
                group.client.name if group.client else "across clients",
            ],
        )
        for group in found[stretch]
    ]
    context: dict[str, Any] = {
        "crumbs": DEVICES,
        "sentence": "A group holds devices under one name: by a rule, chosen one by one, or both.",
        "table": Table(
            caption="Groups",
            columns=[Column("Group", "lead"), Column("Devices", "num second"), Column("Holds", "wide"), Column("Of")],
            rows=rows,
            empty=Empty(
                "No groups yet",
                "“VIP servers”, “tills”, “pilots for updates”: what you look at or work on together.",
                href="/groups/new",
                action="Make a group",
            )
            if scope.may(Permission.DEVICE_CHANGE)
            else Empty("No groups yet", "Those who may change devices can make them."),
            query=request.GET,
            pages=pages,
        ),
    }
    if rows and scope.may(Permission.DEVICE_CHANGE):
        context["actions"] = SafeString('<a class="button primary" href="/groups/new">Make a group</a>')
    return render_page(request, "listing", context, section="devices", title="Groups", live=False)


@page(permission=Permission.DEVICE_VIEW)
def group(request: PageRequest, group_id: int) -> HttpResponse:
    scope, now = request.scope, timezone.now()
    found = queries.groups(scope=scope).get(pk=group_id)
    members = queries.group_devices(scope=scope, group=found).order_by("client__name", "name")
    pages, stretch = parts.pages_of(request.GET, members.count(), A_PAGE)
    rows = [
        Row(
            key=f"device-{one.pk}",
            cells=[
                parts.link(f"/devices/{one.pk}/", one.name),
                f"{one.client.name} · {one.site.name}",
                one.role,
                one.os_name or parts.none("it has not reported its system yet", "unknown"),
                parts.moment(one.last_check_in_at, now),
            ],
        )
        for one in members[stretch]
    ]
    context: dict[str, Any] = {
        "crumbs": format_html('{} › <a href="/groups/">Groups</a>', DEVICES),
        "sentence": f"{words.plural(members.count(), 'device')}: {GroupRule.parse(found.rule).in_words()}"
        + (f", at {found.client.name}." if found.client else ", across clients."),
        "table": Table(
            caption="Devices of the group",
            columns=[
                Column("Device", "lead"),
                Column("Client", "quiet"),
                Column("Role"),
                Column("Operating system"),
                Column("Last check-in", "second"),
            ],
            rows=rows,
            empty=Empty("It holds no device", "No device fits its rule, and none was chosen."),
            query=request.GET,
            pages=pages,
        ),
    }
    if _may_change(found, scope):
        context["actions"] = format_html(
            '<a class="button" href="/groups/{}/delete">Delete</a>'
            '<a class="button" href="/groups/{}/change">Change</a>', found.pk, found.pk,
        )  # fmt: skip
    return render_page(request, "listing", context, section="devices", title=found.name, live=False)


@page(permission=Permission.DEVICE_VIEW, methods=("GET", "HEAD", "POST"), change=Permission.DEVICE_CHANGE)
def group_edit(request: PageRequest, group_id: int | None = None) -> HttpResponse:
    """Make a group, or change one."""
    scope = request.scope
    found = queries.groups(scope=scope).get(pk=group_id) if group_id is not None else None
    form = GroupForm(request.POST if request.method == "POST" else None, scope=scope, group=found)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        chosen = list(queries.devices(scope=scope).filter(pk__in=given["devices"]))
        try:
            if found is None:
                client = people.clients(scope=scope).get(pk=given["client"]) if given["client"] else None
                saved = labels.group_create(
                    name=given["name"], description=given["description"], client=client, devices=chosen,
                    rule=form.rule(), scope=scope, now=timezone.now(),
                )  # fmt: skip
            else:
                saved = labels.group_change(
                    group=found, name=given["name"], description=given["description"], devices=chosen,
                    rule=form.rule(), scope=scope,
                )  # fmt: skip
        except labels.LabelError as refusal:
            form.refuse(refusal)
        else:
            return HttpResponseRedirect(f"/groups/{saved.pk}/")
    context = {
        "crumbs": format_html('{} › <a href="/groups/">Groups</a>', DEVICES),
        "sentence": "Everything that is set in the rule must hold. With no rule, only what you choose belongs to it.",
        "form": form,
        "button": "Save" if found else "Make the group",
        "back": f"/groups/{found.pk}/" if found else "/groups/",
    }
    title = f"Change {found.name}" if found else "Make a group"
    return render_page(request, "ask", context, section="devices", title=title, live=False)


@page(permission=Permission.DEVICE_VIEW, methods=("GET", "HEAD", "POST"), change=Permission.DEVICE_CHANGE)
def group_delete(request: PageRequest, group_id: int) -> HttpResponse:
    found = queries.groups(scope=request.scope).get(pk=group_id)
    if request.method == "POST":
        labels.group_delete(group=found, scope=request.scope)
        messages.success(request, f"The group {found.name} is gone; its devices stay.")
        return HttpResponseRedirect("/groups/")
    context = {
        "crumbs": format_html('{} › <a href="/groups/">Groups</a>', DEVICES),
        "sentence": "The group goes, its devices stay as they are.",
        "button": f"Delete {found.name}",
        "back": f"/groups/{found.pk}/",
    }
    return render_page(request, "ask", context, section="devices", title=f"Delete {found.name}", live=False)


# --- assets ------------------------------------------------------------------------------------------------------


class AssetForm(PlainForm):
    site = forms.ChoiceField(label="Site")
    name = forms.CharField(label="Name", max_length=200)
    role = forms.ChoiceField(label="Role", choices=[(role, role) for role in ASSET_ROLES])
    manufacturer = forms.CharField(label="Manufacturer", max_length=100, required=False)
    model = forms.CharField(label="Model", max_length=100, required=False)
    serial = forms.CharField(label="Serial number", max_length=100, required=False)
    location = forms.CharField(label="Room, rack", max_length=200, required=False)
    bought_on = forms.DateField(label="Bought on", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    warranty_until = forms.DateField(
        label="Warranty until", required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    device = forms.ChoiceField(label="It is the device", required=False)
    notes = forms.CharField(label="Notes", max_length=5000, required=False, widget=forms.Textarea)

    def __init__(self, data: Any = None, *, scope: Scope, asset: Asset | None = None) -> None:
        initial: dict[str, Any] = {}
        if asset is not None:
            initial = {name: getattr(asset, name) for name in self.base_fields if name not in {"site", "device"}}
            initial |= {name: value.isoformat() for name, value in initial.items() if isinstance(value, date)}
            initial["device"] = str(asset.device_id or "")
        super().__init__(data, initial=initial)
        if asset is None:
            del self.fields["device"]
            sites = Site.objects.visible_to(scope, by=Permission.DEVICE_CHANGE).select_related("client")
            self.fields["site"].choices = [  # type: ignore[attr-defined]
                (str(one.pk), f"{one.client.name} · {one.name}") for one in sites.filter(client__removed_at=None)
            ]
        else:
            del self.fields["site"]
            free = queries.devices(scope=scope).filter(Q(asset=None) | Q(asset=asset), client=asset.client)
            self.fields["device"].choices = [  # type: ignore[attr-defined]
                ("", "nobody watches it"),
                *((str(one.pk), one.name) for one in free.order_by("name")),
            ]


@page(permission=Permission.DEVICE_VIEW)
def assets(request: PageRequest) -> HttpResponse:
    scope, today, get = request.scope, timezone.localdate(), request.GET.get
    every = queries.assets(scope=scope)
    found = _asked_assets(every, request, today)
    total = found.count()
    pages, stretch = parts.pages_of(request.GET, total, A_PAGE)
    rows = [
        Row(
            key=f"asset-{one.pk}",
            cells=[
                parts.link(f"/assets/{one.pk}/", one.name, f"{one.manufacturer} {one.model}".strip()),
                f"{one.client.name} · {one.site.name}",
                one.role,
                one.serial or parts.none("no serial number on the list"),
                _warranty(one, today),
                parts.link(f"/devices/{one.device_id}/", one.device.name)
                if one.device
                else parts.status("unknown", "nobody watches it"),
            ],
        )
        for one in found[stretch]
    ]
    clients = list(people.clients(scope=scope).values_list("pk", "name"))
    watched = [("", "Watched or not"), ("no", "Nobody watches it"), ("yes", "Watched")]
    over = [("", "Any warranty"), ("soon", f"Ends within {SOON_DAYS} days"), ("over", "Over")]
    choices = [
        parts.choice("watched", "Watched", watched, get("watched", "")),
        parts.choice("warranty", "Warranty", over, get("warranty", "")),
    ]
    if len(clients) > 1:
        options = [("", "All clients"), *((str(pk), name) for pk, name in clients)]
        choices.insert(0, parts.choice("client", "Client", options, get("client", "")))
    context: dict[str, Any] = {
        "crumbs": DEVICES,
        "sentence": _asset_sentence(every, today),
        "filters": parts.Filters(choices, search=get("q", ""), placeholder="Filter assets"),
        "table": Table(
            caption="Assets",
            columns=[
                Column("Asset", "lead"),
                Column("Client", "quiet"),
                Column("Role"),
                Column("Serial number"),
                Column("Warranty", sort="warranty"),
                Column("Device", "second"),
            ],
            rows=rows,
            empty=Empty("No asset fits", "Take a part of the filter away.", href="?", action="Show all")
            if every.exists()
            else Empty(
                "No assets yet",
                "What a client owns, from its own list: then you see what nobody watches, and what loses its warranty.",
                href="/import/assets/",
                action="Import a list",
            ),
            query=request.GET,
            sort=get("sort", ""),
            pages=pages,
        ),
    }
    if scope.may(Permission.DEVICE_CHANGE):
        context["actions"] = SafeString(
            '<a class="button" href="/import/assets/">Import</a><a class="button" href="/assets/new">Add one</a>'
        )
    return render_page(request, "listing", context, section="devices", title="Assets", live=False)


@page(permission=Permission.DEVICE_VIEW, methods=("GET", "HEAD", "POST"), change=Permission.DEVICE_CHANGE)
def asset_edit(request: PageRequest, asset_id: int | None = None) -> HttpResponse:
    """Put an asset on the list, or change one."""
    scope = request.scope
    found = queries.assets(scope=scope).get(pk=asset_id) if asset_id is not None else None
    form = AssetForm(request.POST if request.method == "POST" else None, scope=scope, asset=found)
    if request.method == "POST" and form.is_valid():
        values = dict(form.cleaned_data)
        try:
            if found is None:
                site = people.sites(scope=scope).get(pk=values.pop("site"))
                saved = asset_services.asset_create(site=site, values=values, scope=scope, now=timezone.now())
            else:
                device = values.pop("device")
                values["device"] = queries.devices(scope=scope).get(pk=device) if device else None
                saved = asset_services.asset_change(asset=found, values=values, scope=scope)
        except asset_services.AssetError as refusal:
            form.refuse(refusal)
        else:
            messages.success(request, f"{saved.name} is on the list.")
            return HttpResponseRedirect("/assets/")
    may = found is None or scope.may(Permission.DEVICE_CHANGE, on=found)
    context: dict[str, Any] = {
        "crumbs": format_html('{} › <a href="/assets/">Assets</a>', DEVICES),
        "sentence": f"{found.client.name} · {found.site.name}. An asset stays at its site." if found else "",
        "form": form,
        "button": ("Save" if found else "Put it on the list") if may else "",
        "back": "/assets/",
    }
    if found is not None and may:
        context["actions"] = format_html('<a class="button" href="/assets/{}/remove">Take off the list</a>', found.pk)
    return render_page(
        request, "ask", context, section="devices", title=found.name if found else "Add an asset", live=False
    )


@page(permission=Permission.DEVICE_VIEW, methods=("GET", "HEAD", "POST"), change=Permission.DEVICE_CHANGE)
def asset_remove(request: PageRequest, asset_id: int) -> HttpResponse:
    found = queries.assets(scope=request.scope).get(pk=asset_id)
    if request.method == "POST":
        asset_services.asset_delete(asset=found, scope=request.scope)
        messages.success(request, f"{found.name} is off the list.")
        return HttpResponseRedirect("/assets/")
    context = {
        "crumbs": format_html('{} › <a href="/assets/">Assets</a>', DEVICES),
        "sentence": "The device itself, if an agent watches it, stays."
        if found.device_id
        else "Nothing else rests on it.",
        "button": f"Take {found.name} off the list",
        "back": f"/assets/{found.pk}/",
    }
    return render_page(request, "ask", context, section="devices", title=f"Take {found.name} off", live=False)


# --- parts -------------------------------------------------------------------------------------------------------


def _asked_assets(every: QuerySet[Asset], request: PageRequest, today: date) -> QuerySet[Asset]:
    get, found = request.GET.get, every
    for word in get("q", "").split()[:6]:
        wanted = Q()
        for field in ("name", "serial", "manufacturer", "model", "client__name", "site__name", "location"):
            wanted |= Q(**{f"{field}__icontains": word})
        found = found.filter(wanted)
    if get("client"):
        found = found.filter(client__in=_ids([get("client", "")]))
    if get("watched") in {"yes", "no"}:
        found = found.filter(device__isnull=get("watched") == "no")
    soon = date.fromordinal(today.toordinal() + SOON_DAYS)
    if get("warranty") == "over":
        found = found.filter(warranty_until__lt=today)
    if get("warranty") == "soon":
        found = found.filter(warranty_until__gte=today, warranty_until__lte=soon)
    if get("sort", "").removeprefix("-") == "warranty":
        column = F("warranty_until")
        down = get("sort", "").startswith("-")
        found = found.order_by(column.desc(nulls_last=True) if down else column.asc(nulls_last=True), "name")
    return found


def _asset_sentence(every: QuerySet[Asset], today: date) -> parts.Html:
    number = every.count()
    if not number:
        return ""
    alone, over = every.filter(device=None).count(), every.filter(warranty_until__lt=today).count()
    said = [
        format_html('<a href="?watched=no"><b>{} of {}</b></a> watched by nobody', alone, words.plural(number, "asset"))
        if alone
        else f"All {words.plural(number, 'asset')} are watched",
        format_html('<a href="?warranty=over">{} without warranty</a>', over) if over else "",
    ]
    return format_html("{}.", parts.joined([one for one in said if one], separator="; "))


def _warranty(asset: Asset, today: date) -> parts.Html:
    if asset.warranty_until is None:
        return parts.none("the list does not say", "unknown")
    left = (asset.warranty_until - today).days
    if left < 0:
        return parts.status("fail", f"over since {asset.warranty_until}")
    return parts.status("warn", f"until {asset.warranty_until}") if left <= SOON_DAYS else str(asset.warranty_until)


def _changeable(scope: Scope) -> QuerySet[Client]:
    place = scope.place(Permission.DEVICE_CHANGE)
    found = people.clients(scope=scope)
    return found if place.everywhere else found.filter(pk__in=place.clients)


def _may_change(group: DeviceGroup, scope: Scope) -> bool:
    if group.client is None:
        return scope.everywhere(Permission.DEVICE_CHANGE)
    return scope.may(Permission.DEVICE_CHANGE, on=group.client)


def _words(text: str) -> list[str]:
    return [word for word in text.replace(",", " ").split() if word]


def _ids(texts: list[str]) -> list[UUID]:
    found = []
    for text in texts:
        try:
            found.append(UUID(text))
        except ValueError:
            continue
    return found
