"""Roles: what each may do, side by side; roles of one's own; whom a second factor is asked of."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Fact, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.console.views.people import grant_said, mark, role_id, role_name
from forestall.server.console.views.people_acts import REFUSALS, acting, ask, refusal_words
from forestall.server.people import custom_roles, grants, queries
from forestall.server.people.models import CustomRole
from forestall.server.people.roles import PERMISSION_WORDS, ROLE_WORDS, Role
from forestall.server.people.scope import NotAllowedError, Permission, Scope

HOLDERS_SHOWN = 50


@page(permission=Permission.PEOPLE_VIEW)
def roles(request: PageRequest) -> HttpResponse:
    scope, now = request.scope, timezone.now()
    own = list(queries.custom_roles(scope=scope))
    every: list[Role | CustomRole] = [*Role, *own]
    held = queries.holders_of_roles(scope=scope, now=now)
    asking = queries.roles_asking_for_factor()
    table = Table(
        caption="Roles",
        columns=[
            Column("Role", "lead"),
            Column("What for", "below wide"),
            Column("May", "num"),
            Column("People", "num"),
            Column("Second factor"),
        ],
        rows=[
            Row(
                [
                    parts.link(f"/roles/{role_id(one)}/", role_name(one), "" if isinstance(one, Role) else "your own"),
                    ROLE_WORDS[one] if isinstance(one, Role) else one.description,
                    str(len(grants.permissions_of(one))),
                    format_html('<a href="/people/?role={}">{}</a>', role_id(one), held.get(role_id(one), 0)),
                    "asked for" if role_id(one) in asking else parts.none("nobody is asked", "not asked for"),
                ]
            )
            for one in every
        ],
        empty=Empty("No role", ""),
    )
    context = {
        "sentence": f"{words.plural(len(Role), 'role')} are built in, {len(own)} your own. A role counts where it is "
        "given, and nowhere else.",
        "table": table,
        "matrix": _matrix(every),
    }
    if scope.everywhere(Permission.PEOPLE_CHANGE):
        context["actions"] = SafeString('<a class="button primary" href="/roles/new">Make a role</a>')
    return render_page(request, "roles", context, section="people", title="Roles", data_at=now)


def _matrix(every: list[Role | CustomRole]) -> Table:
    allowed = [grants.permissions_of(one) for one in every]
    return Table(
        caption="What each role may do",
        columns=[Column("", "lead"), *(Column(role_name(one), "mark") for one in every)],
        rows=[
            Row(
                [
                    parts.text(said, permission.value),
                    *(mark(yes=permission in one) for one in allowed),
                ]
            )
            for permission, said in PERMISSION_WORDS.items()
        ],
        empty=Empty("", ""),
        keep=True,
    )


@page(permission=Permission.PEOPLE_VIEW)
def role(request: PageRequest, role: str) -> HttpResponse:
    scope, now = request.scope, timezone.now()
    one = custom_roles.role_named(role, scope=scope)
    every: list[Role | CustomRole] = [*Role, *queries.custom_roles(scope=scope)]
    beside = next((other for other in every if role_id(other) == request.GET.get("beside")), None)
    held = [
        grant
        for grant in queries.grants(scope=scope, now=now)
        if (grant.custom_id if isinstance(one, CustomRole) else grant.role)
        == (one.pk if isinstance(one, CustomRole) else one)
    ]
    asked = role_id(one) in queries.roles_asking_for_factor()
    mine, theirs = grants.permissions_of(one), grants.permissions_of(beside) if beside else frozenset()
    columns = [Column("", "lead"), Column(role_name(one), "second mark")]
    if beside:
        columns.append(Column(role_name(beside), "mark"))
    table = Table(
        caption="What it may do",
        columns=columns,
        rows=[
            Row(
                [
                    parts.text(said, value.value),
                    mark(yes=value in mine),
                    *([mark(yes=value in theirs)] if beside else []),
                ]
            )
            for value, said in PERMISSION_WORDS.items()
            if value in mine or value in theirs
        ],
        empty=Empty("Nothing", "A role without permissions."),
    )
    people = Table(
        caption="Who holds it",
        columns=[Column("Person", "lead"), Column("Where", "second"), Column("Given by")],
        rows=[
            Row(
                [
                    parts.link(f"/people/{grant.person_id}/", grant.person.username),
                    queries.grant_where(grant),
                    grant.granted_by or "the server",
                ]
            )
            for grant in held[:HOLDERS_SHOWN]
        ],
        empty=Empty("Nobody holds it", "It is given on a person's page."),
    )
    description = ROLE_WORDS[one] if isinstance(one, Role) else one.description
    context = {
        "one": one,
        "path": f"/roles/{role_id(one)}/",
        "crumbs": format_html('<a href="/people/">People</a> › <a href="/roles/">Roles</a> › {}', role_name(one)),
        "sentence": f"{description or 'A role of your own.'} {_held(held)}",
        "table": table,
        "people": people,
        "more": max(0, len(held) - HOLDERS_SHOWN),
        "asked": asked,
        "facts": _facts(one, asked=asked),
        "may_change": isinstance(one, CustomRole) and custom_roles.can_change(role=one, scope=scope),
        "may_ask": scope.everywhere(Permission.SETTINGS_CHANGE),
        "others": [
            (role_id(other), role_name(other), other == beside) for other in every if role_id(other) != role_id(one)
        ],
    }
    return render_page(request, "role", context, section="people", title=role_name(one).capitalize(), data_at=now)


def _held(held: list[Any]) -> str:
    number = len({grant.person_id for grant in held})
    return f"{words.plural(number, 'person', 'people')} {words.does(number, 'hold')} it."


def _facts(one: Role | CustomRole, *, asked: bool) -> list[Fact]:
    facts = [Fact("Second factor", "asked for" if asked else "not asked for")]
    if isinstance(one, CustomRole):
        return [*facts, Fact("Made", f"{one.created_at:%-d %b %Y} by {one.created_by or 'the server'}")]
    return [*facts, Fact("Kind", "built in: it cannot be changed")]


@acting
def role_edit(request: PageRequest, role: str = "") -> HttpResponse:
    """Make a role, or change one: choose permissions, read what changes for whom, press."""
    scope, now, refused = request.scope, timezone.now(), ""
    scope.require_everywhere(Permission.PEOPLE_CHANGE)
    one = _own(role, scope) if role else None
    kept = grants.permissions_of(one) if one else frozenset()
    chosen = kept
    said = {"name": one.name if one else "", "description": one.description if one else ""}
    if request.method == "POST":
        chosen = frozenset(Permission(value) for value in request.POST.getlist("may") if value in set(Permission))
        said = {key: request.POST.get(key, "") for key in said}
        try:
            if one is None:
                made = custom_roles.role_create(permissions=chosen, scope=scope, now=now, **said)
                messages.success(request, f"{made.name} is made. Nobody holds it yet.")
                return HttpResponseRedirect(f"/roles/{made.pk}/")
            changed = custom_roles.role_change(role=one, permissions=chosen, scope=scope, now=now, **said)
        except REFUSALS as error:
            refused = refusal_words(error)
        else:
            messages.success(request, f"{changed.name} is changed, from the next click of whoever holds it on.")
            return HttpResponseRedirect(f"/roles/{changed.pk}/")
    held = queries.grants(scope=scope, now=now).filter(custom=one) if one else []
    context = {
        "crumbs": format_html('<a href="/people/">People</a> › <a href="/roles/">Roles</a> › {}', one or "New"),
        "sentence": "Whoever holds it may this wherever it is given to them. You can put in what you hold yourself.",
        "said": said,
        "groups": _groups(chosen, scope),
        "held": [f"{grant.person.username}: {grant_said(grant)}" for grant in held][:10],
        "button": f"Change {one.name}" if one else "Make this role",
        "back": f"/roles/{one.pk}/" if one else "/roles/",
        "refused": refused,
    }
    title = f"Change {one.name}" if one else "Make a role"
    return render_page(request, "role_edit", context, section="people", title=title, live=False)


def _groups(chosen: frozenset[Permission], scope: Scope) -> list[tuple[str, list[tuple[str, str, bool, bool]]]]:
    """The permissions of staff and those of clients' own people: value, words, chosen, whether one may give it."""

    def lines(*, portal: bool) -> list[tuple[str, str, bool, bool]]:
        return [
            (value.value, said, value in chosen, scope.everywhere(value))
            for value, said in PERMISSION_WORDS.items()
            if value.is_portal == portal
        ]

    return [("For staff", lines(portal=False)), ("For clients’ own people, in the portal", lines(portal=True))]


@acting
def role_delete(request: PageRequest, role: str) -> HttpResponse:
    """Delete a role that nobody holds."""
    one, refused = _own(role, request.scope), ""
    if request.method == "POST":
        try:
            custom_roles.role_delete(role=one, scope=request.scope)
        except REFUSALS as error:
            refused = refusal_words(error)
        else:
            messages.success(request, f"The role {one.name} is gone.")
            return HttpResponseRedirect("/roles/")
    return ask(
        request,
        title=f"Delete the role {one.name}",
        crumbs=format_html('<a href="/people/">People</a> › <a href="/roles/">Roles</a> › {}', one.name),
        sentence="Only a role that nobody holds can be deleted. To have it again, make it again.",
        button=f"Delete {one.name}",
        back=f"/roles/{one.pk}/",
        refused=refused,
    )


@page(permission=Permission.SETTINGS_CHANGE, methods=("POST",), fresh=True)
def role_factor(request: PageRequest, role: str) -> HttpResponse:
    """Ask a second factor of everybody who holds a role, or no longer."""
    one = custom_roles.role_named(role, scope=request.scope)
    asked = request.POST.get("asked") == "yes"
    try:
        custom_roles.policy_set(role=one, mfa_required=asked, scope=request.scope, now=timezone.now())
    except NotAllowedError as error:
        messages.error(request, refusal_words(error))
    else:
        told = "reaches nothing before they have a second factor" if asked else "is no longer asked for a second factor"
        messages.success(request, f"Whoever is {role_name(one)} {told}, from the next click on.")
    return HttpResponseRedirect(f"/roles/{role_id(one)}/")


def _own(role: str, scope: Scope) -> CustomRole:
    found = custom_roles.role_named(role, scope=scope)
    if isinstance(found, Role):
        raise CustomRole.DoesNotExist
    return found
