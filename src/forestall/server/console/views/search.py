"""Search and commands: one place from which everything can be reached."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone

from forestall.server.console.access import STAFF, PageRequest, page
from forestall.server.console.parts import number_typed
from forestall.server.console.shell import NAVIGATION, render_page
from forestall.server.inventory import queries as inventory
from forestall.server.people import queries as people
from forestall.server.people.scope import Permission
from forestall.server.runbooks import queries as runbooks
from forestall.server.tickets import queries as tickets

MOST = 8


@dataclass(frozen=True, slots=True)
class Found:
    title: str
    href: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    title: str
    found: list[Found]


@page(permission=STAFF)
def search(request: PageRequest) -> HttpResponse:
    """The page; with ``palette``, the dialog's content or its results alone."""
    asked = request.GET.get("q", "").strip()[:100]
    context = {"asked": asked, "groups": find(request, asked)}
    form = request.GET.get("palette", "")
    if form:
        template = "parts/palette_results.html" if form == "results" else "parts/palette.html"
        return HttpResponse(render_to_string(template, context), headers={"Cache-Control": "no-store"})
    return render_page(request, "search", context, section="", title="Search", live=False)


def find(request: PageRequest, asked: str) -> list[Group]:
    """What fits: commands first when nothing is asked, else what is named so."""
    scope, words = request.scope, asked.lower().split()
    commands = [Found(f"Go to {item.title}", item.href, f"g {item.key}") for item in NAVIGATION]
    if scope.may(Permission.DEVICE_APPROVE):
        commands.append(Found("Enrol a device", "/devices/enrol"))
    if scope.may(Permission.DEVICE_VIEW):
        commands.append(Found("Devices with failing checks", "/devices/?state=fail"))
        commands.append(Found("Silent devices", "/devices/?state=silent"))
    if scope.may(Permission.PEOPLE_VIEW):
        commands.append(Found("People without a second factor", "/people/?factor=no"))
        commands.append(Found("Roles", "/roles/"))
    if scope.may(Permission.PEOPLE_CHANGE):
        commands.append(Found("Invite somebody", "/people/invite"))
    commands += [
        Found("Keys", "/keys", "?"),
        Found("Change password", "/accounts/password/change/"),
        Found("Style guide", "/styleguide"),
    ]
    fitting = [each for each in commands if all(word in each.title.lower() for word in words)]
    groups = [Group("Commands", fitting)]
    if not words:
        return groups
    if scope.may(Permission.DEVICE_VIEW):
        devices = inventory.devices(scope=scope)
        for word in words:
            devices = devices.filter(
                Q(name__icontains=word) | Q(client__name__icontains=word) | Q(os_name__icontains=word)
            )
        found = [Found(d.name, f"/devices/{d.pk}/", f"{d.client.name} · {d.site.name}") for d in devices[:MOST]]
        clients = people.clients(scope=scope).filter(name__icontains=asked)[:MOST]
        groups = [
            Group("Devices", found),
            Group("Clients", [Found(c.name, f"/devices/?client={c.pk}") for c in clients]),
            *groups,
        ]
    if scope.may(Permission.TICKET_VIEW):
        rows = tickets.tickets(scope=scope)
        number = number_typed(asked.lstrip("#"))
        if number is not None:
            rows = rows.filter(number=number)
        else:
            for word in words:
                rows = rows.filter(Q(title__icontains=word) | Q(device__name__icontains=word))
        groups.insert(
            1,
            Group(
                "Tickets",
                [Found(f"#{t.number} {t.title}", f"/tickets/{t.number}/", t.about) for t in rows[:MOST]],
            ),
        )
    if scope.may(Permission.PEOPLE_VIEW):
        near = people.persons_found(scope=scope, now=timezone.now(), words=asked)[:MOST]
        groups.append(Group("People", [Found(p.username, f"/people/{p.pk}/", p.display_name) for p in near]))
    if scope.may(Permission.RUNBOOK_VIEW):
        slugs: dict[str, Found] = {}
        for record in runbooks.runbooks(scope=scope).filter(title__icontains=asked)[:MOST]:
            slugs.setdefault(record.slug, Found(record.title, f"/runbooks/{record.slug}/"))
        groups.append(Group("Runbooks", list(slugs.values())))
    return [group for group in groups if group.found]
