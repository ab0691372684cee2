"""People: who there is, what each may do and why, and what of it can be changed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import F
from django.http import HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Fact, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.console.views.account import EVENT_WORDS, WARNING
from forestall.server.console.views.evidence import entries_table
from forestall.server.evidence import queries as evidence
from forestall.server.people import grants, queries, signin
from forestall.server.people.access_review import access_review_csv
from forestall.server.people.custom_roles import role_named
from forestall.server.people.models import Client, CustomRole, Grant, Person, Site
from forestall.server.people.roles import PERMISSION_WORDS, Role
from forestall.server.people.scope import Permission, Scope
from forestall.server.people.signin_browsers import browser_name
from forestall.server.people.signin_models import SignInEventKind
from forestall.server.people.signin_sessions import sessions_of
from forestall.server.tickets.handover import tickets_owned

A_PAGE = 100
LATELY = timedelta(days=7)
LATELY_SHOWN = 10
EVENTS_SHOWN = 10
QUIET = timedelta(days=90)
"""Who has not signed in for so long is named: an account nobody uses is one nobody misses when it is stolen."""
SORTS = {"name": "username", "seen": "last_login", "state": "is_active"}


def when(at: datetime) -> str:
    """``31 Jan 2027, 18:00 UTC``."""
    return f"{at:%-d %b %Y, %H:%M} UTC"


def grant_said(grant: Grant, *, with_end: bool = True) -> str:
    """``technician at Acme, Munich, until 31 Jan 2027, 18:00 UTC``."""
    where = queries.grant_where(grant)
    said = f"{grant.role_name} {where}" if grant.client_id is None else f"{grant.role_name} at {where}"
    return f"{said}, until {when(grant.until)}" if with_end and grant.until else said


# --- the list ---------------------------------------------------------------------------------------------------


@page(permission=Permission.PEOPLE_VIEW)
def people(request: PageRequest) -> HttpResponse:
    scope, now, asked = request.scope, timezone.now(), request.GET
    roles: list[Role | CustomRole] = [*Role, *queries.custom_roles(scope=scope)]
    clients = list(queries.clients(scope=scope))
    role = next((one for one in roles if role_id(one) == asked.get("role")), None)
    client = next((one for one in clients if str(one.pk) == asked.get("client")), None)
    found = queries.persons_found(
        scope=scope, now=now, words=asked.get("q", ""), role=role, client=client.pk if client else None
    )
    state, factor = asked.get("state", ""), asked.get("factor", "")
    if state in {"active", "off"}:
        found = found.filter(is_active=state == "active")
    if state == "quiet":
        found = found.filter(is_active=True).exclude(last_login__gte=now - QUIET)
    if factor in {"yes", "no"}:
        found = found.filter(has_factor=factor == "yes")
    sort = asked.get("sort", "name")
    column = F(SORTS.get(sort.removeprefix("-"), "username"))
    order = column.desc(nulls_last=True) if sort.startswith("-") else column.asc(nulls_first=True)
    found = found.order_by(order, "username")
    pages, stretch = parts.pages_of(asked, found.count(), A_PAGE)
    shown = list(found[stretch])
    table = Table(
        caption="People",
        columns=[
            Column("Person", "lead", sort="name"),
            Column("Roles", "second wide"),
            Column("Second factor"),
            Column("Last sign-in", sort="seen", hint="newest"),
            Column("State", sort="state"),
        ],
        rows=_rows(shown, scope, now),
        empty=Empty("Nobody fits", "Take a part of the filter away."),
        query=asked,
        sort=sort,
        pages=pages,
    )
    context = {"sentence": _sentence(scope, now), "table": table, "filters": _filters(request, roles, clients)}
    acts = '<a class="button" href="/people/review.csv" download>Access review</a>'
    if scope.may(Permission.PEOPLE_CHANGE):
        acts += '<a class="button primary" href="/people/invite">Invite</a>'
    context["actions"] = SafeString(acts)
    return render_page(request, "people", context, section="people", title="People", data_at=now)


def _rows(shown: list[Any], scope: Scope, now: datetime) -> list[Row]:
    held = queries.grants_by_person(shown, scope=scope, now=now)
    return [
        Row(
            key=f"person-{one.pk}",
            cells=[
                parts.link(f"/people/{one.pk}/", one.username, one.display_name or one.email),
                roles_said(held[one.pk], one),
                "yes" if one.has_factor else parts.none("neither an authenticator app nor a passkey"),
                parts.moment(one.last_login, now),
                "active" if one.is_active else parts.tag("switched off"),
            ],
        )
        for one in shown
    ]


def roles_said(held: list[Grant], person: Person) -> parts.Html:
    """``technician at Acme`` and, for a client's own person, whose."""
    said = [grant_said(grant) for grant in held]
    listed: parts.Html = words.listing(said, 3) if said else parts.none("may nothing", "no role")
    return parts.text(listed, f"of {person.home_client}") if person.home_client_id else listed


def _sentence(scope: Scope, now: datetime) -> str:
    everybody = queries.with_second_factor(queries.persons(scope=scope))
    active = everybody.filter(is_active=True)
    number, bare = active.count(), active.filter(has_factor=False).count()
    quiet = active.exclude(last_login__gte=now - QUIET).count()
    off = everybody.filter(is_active=False).count()
    said = [f"{words.plural(number, 'person', 'people')} can sign in"]
    if bare:
        said.append(f"{bare} without a second factor")
    if quiet:
        said.append(f"{quiet} {words.does(quiet, 'have')} not for {QUIET.days} days")
    if off:
        said.append(f"{off} {words.does(off, 'are')} switched off")
    return "; ".join(said) + "."


def _filters(request: PageRequest, roles: list[Role | CustomRole], clients: list[Client]) -> parts.Filters:
    asked = request.GET
    return parts.Filters(
        search=asked.get("q", ""),
        placeholder="Name or e-mail",
        choices=[
            parts.choice(
                "role",
                "Role",
                [("", "All roles"), *((role_id(one), role_name(one)) for one in roles)],
                asked.get("role", ""),
            ),
            parts.choice(
                "client",
                "Client",
                [("", "All clients"), *((str(one.pk), one.name) for one in clients)],
                asked.get("client", ""),
            ),
            parts.choice(
                "state",
                "State",
                [("", "Any state"), ("active", "Active"), ("quiet", "Long not seen"), ("off", "Switched off")],
                asked.get("state", ""),
            ),
            parts.choice(
                "factor",
                "Second factor",
                [("", "Any factor"), ("no", "Without second factor"), ("yes", "With second factor")],
                asked.get("factor", ""),
            ),
        ],
        keep=[("sort", asked["sort"])] if "sort" in asked else (),
    )


@page(permission=Permission.PEOPLE_VIEW)
def review(request: PageRequest) -> HttpResponse:
    """Every grant as CSV: what somebody who is responsible goes through."""
    now = timezone.now()
    answer = HttpResponse(access_review_csv(scope=request.scope, now=now), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="access-review-{now:%Y%m%d}.csv"'
    answer["Cache-Control"] = "no-store"
    return answer


# --- one person -------------------------------------------------------------------------------------------------


@page(permission=Permission.PEOPLE_VIEW)
def person(request: PageRequest, person_id: int) -> HttpResponse:
    scope, now = request.scope, timezone.now()
    one = queries.persons(scope=scope).select_related("home_client").get(pk=person_id)
    held = list(queries.grants(scope=scope).filter(person=one))
    sees_whole = queries.sees_whole(one, scope=scope, now=now)
    may_change = one.pk in queries.changeable([one], scope=scope, now=now)
    factor = signin.has_second_factor(person=one)
    context = {
        "one": one,
        "crumbs": format_html('<a href="/people/">People</a> › {}', one.username),
        "sentence": _about(one, held, now, factor=factor),
        "facts": _facts(one, held, now, factor=factor),
        "roles": _roles_table(one, held, scope, now),
        "allowed": _allowed(held, now),
        "tokens": _tokens_table(one, now, may_change=may_change) if sees_whole else None,
        "sessions": _sessions_table(one, now) if sees_whole else None,
        "events": _events_table(one, now) if sees_whole else None,
        "tickets": tickets_owned(person=one, scope=scope).order_by("number")[:20],
        "lately": _lately(one, scope, now),
        "may_give": scope.may(Permission.PEOPLE_CHANGE) and one.pk != scope.person_id,
        "may_change": may_change,
        "is_self": one.pk == scope.person_id,
        "has_factor": factor,
        "permissions": [(value.value, said) for value, said in PERMISSION_WORDS.items()],
        "places": places_to_choose(scope, by=Permission.PEOPLE_VIEW, everywhere=False),
    }
    return render_page(request, "person", context, section="people", title=one.shown_name, data_at=now)


def _about(one: Person, held: list[Grant], now: datetime, *, factor: bool) -> str:
    live = [grant_said(grant, with_end=False) for grant in held if grant.until is None or grant.until > now]
    may = words.listing(live, 3) if live else "nothing here"
    if not one.is_active:
        return f"Switched off: may nothing. Switched on again, {one.username} would be {may}."
    said = f"{one.username} is {may}" if live else f"{one.username} may do nothing that you see"
    return f"{said}. They sign in {'with' if factor else 'without'} a second factor."


def _facts(one: Person, held: list[Grant], now: datetime, *, factor: bool) -> list[Fact]:
    needs = queries.mfa_is_required(person=one)
    asked = "their role asks for one" if needs else "no role of theirs asks for one"
    return [
        Fact("User name", one.username),
        Fact("E-mail", one.email or parts.none("a password can then not be reset by mail")),
        Fact("Person of", one.home_client.name if one.home_client else "the provider"),
        Fact("State", "active" if one.is_active else parts.tag("switched off")),
        Fact("Second factor", f"yes; {asked}" if factor else parts.joined([parts.none(asked), asked], "; ")),
        Fact("Last sign-in", parts.moment(one.last_login, now)),
        Fact("Made", parts.moment(one.date_joined, now)),
    ]


def _roles_table(one: Person, held: list[Grant], scope: Scope, now: datetime) -> Table:
    changes = scope.may(Permission.PEOPLE_CHANGE)

    def acts(grant: Grant) -> parts.Html:
        if not changes or not grants.can_take(grant=grant, scope=scope, now=now):
            return ""
        path = f"/people/{one.pk}/roles/{grant.pk}"
        end: parts.Html = "" if one.pk == scope.person_id else format_html('<a href="{}/end">Move end</a>', path)
        return parts.joined([end, format_html('<a href="{}/take">Take away</a>', path)])

    def until(grant: Grant) -> parts.Html:
        if grant.until is None:
            return "for good"
        if grant.until <= now:
            return parts.text(parts.tag("ended"), parts.moment(grant.until, now))
        return parts.exact_moment(grant.until, f"until {when(grant.until)}")

    return Table(
        caption="Roles",
        columns=[Column("Role", "lead"), Column("Where", "second"), Column("Given"), Column("Ends")],
        rows=[
            Row(
                key=f"grant-{grant.pk}",
                cells=[
                    parts.link(f"/roles/{grant.role or grant.custom_id}/", grant.role_name),
                    parts.text(queries.grant_where(grant), acts(grant)),
                    parts.text(parts.moment(grant.granted_at, now), f"by {grant.granted_by or 'the server'}"),
                    until(grant),
                ],
            )
            for grant in held
        ],
        empty=Empty("No role", "Without one a person can sign in and see nothing."),
    )


def _allowed(held: list[Grant], now: datetime) -> list[tuple[str, str]]:
    """What the grants let them do, each with where: ``Work on tickets`` → ``Acme; Bolt, Leeds``."""
    places: dict[Permission, list[str]] = {}
    for grant in held:
        if grant.until is None or grant.until > now:
            for permission in queries.role_permissions(grant):
                places.setdefault(permission, []).append(queries.grant_where(grant))
    return [
        (said, "; ".join(dict.fromkeys(places[permission])))
        for permission, said in PERMISSION_WORDS.items()
        if permission in places
    ]


def _tokens_table(one: Person, now: datetime, *, may_change: bool) -> Table:
    def state(token: Any) -> parts.Html:
        if token.revoked_at:
            return parts.tag("revoked")
        if token.expires_at and token.expires_at <= now:
            return parts.tag("expired")
        return format_html("ends {}", parts.moment(token.expires_at, now)) if token.expires_at else "never ends"

    return Table(
        caption="Tokens",
        columns=[Column("Token", "lead"), Column("May"), Column("Last used", "second"), Column("State")],
        rows=[
            Row(
                [
                    parts.text(
                        token.name,
                        format_html('<a href="/people/{}/tokens/{}/revoke">Revoke</a>', one.pk, token.pk)
                        if may_change and not token.revoked_at
                        else "",
                    ),
                    parts.text(
                        words.listing(sorted(token.permissions), 3) if token.permissions else "all that they may",
                        f"at {token.site or token.client}" if token.client else "",
                    ),
                    parts.moment(token.last_used_at, now),
                    state(token),
                ]
            )
            for token in one.api_tokens.select_related("client", "site")
        ],
        empty=Empty("No tokens", "Programs sign in with one; each person makes their own."),
    )


def _sessions_table(one: Person, now: datetime) -> Table:
    return Table(
        caption="Sessions",
        columns=[Column("Browser", "lead"), Column("From"), Column("Since"), Column("Last used", "second")],
        rows=[
            Row(
                [
                    browser_name(session.user_agent),
                    str(session.ip),
                    parts.moment(session.created_at, now),
                    parts.moment(session.last_seen_at, now),
                ]
            )
            for session in sessions_of(person=one)
        ],
        empty=Empty("Signed in nowhere", "A session lasts some hours; none is open."),
    )


def _events_table(one: Person, now: datetime) -> Table:
    return Table(
        caption="Sign-ins",
        columns=[Column("What", "lead"), Column("When", "second"), Column("From"), Column("How", "quiet")],
        rows=[
            Row(
                [
                    parts.status("warn", EVENT_WORDS[kind]) if kind in WARNING else EVENT_WORDS[kind],
                    parts.moment(event.at, now),
                    event.address or "the server",
                    event.detail,
                ]
            )
            for event in signin.signin_events(person=one, limit=EVENTS_SHOWN)
            for kind in [SignInEventKind(event.kind)]
        ],
        empty=Empty("Nothing yet", "Sign-ins, wrong passwords and changes of factors are listed here."),
    )


def _lately(one: Person, scope: Scope, now: datetime) -> Table | None:
    if not scope.may(Permission.EVIDENCE_VIEW):
        return None
    found = evidence.entries_by(scope=scope, who=one.username, since=now - LATELY, most=LATELY_SHOWN)
    return entries_table(found, now) if found else None


# --- why --------------------------------------------------------------------------------------------------------


@page(permission=Permission.PEOPLE_VIEW)
def why(request: PageRequest, person_id: int) -> HttpResponse:
    """Why somebody may, or may not, do something at a place."""
    scope, now = request.scope, timezone.now()
    one = queries.persons(scope=scope).get(pk=person_id)
    asked = request.GET.get("permission", "")
    client, site = place_chosen(request.GET.get("place", ""), scope)
    if asked not in set(Permission) or client is None:
        raise Person.DoesNotExist
    permission = Permission(asked)
    answer = queries.explain(person=one, permission=permission, client=client, site=site, scope=scope, now=now)
    where = f"{client.name}, {site.name}" if site else client.name
    table = Table(
        caption="Grants",
        columns=[Column("Gives it", "lead"), Column("Role"), Column("Where"), Column("Why", "second wide")],
        rows=[
            Row(
                [
                    parts.status("pass", "yes") if reason.gives else parts.none(reason.why, "no"),
                    reason.grant.role_name,
                    queries.grant_where(reason.grant),
                    reason.why,
                ]
            )
            for reason in answer.reasons
        ],
        empty=Empty("No grant", "None that you see, and none that gives it."),
    )
    context = {
        "one": one,
        "crumbs": format_html('<a href="/people/">People</a> › <a href="/people/{}/">{}</a>', one.pk, one.username),
        "sentence": f"{answer.why} ({PERMISSION_WORDS[permission]}.)",
        "table": table,
        "asked": asked,
        "place": request.GET.get("place", ""),
        "permissions": [(value.value, said) for value, said in PERMISSION_WORDS.items()],
        "places": places_to_choose(scope, by=Permission.PEOPLE_VIEW, everywhere=False),
    }
    title = f"{'May' if answer.may else 'May not'}: {permission} at {where}"
    return render_page(request, "why", context, section="people", title=title, data_at=now)


# --- places and roles to choose ---------------------------------------------------------------------------------


def places_to_choose(scope: Scope, *, by: Permission, everywhere: bool = True) -> list[tuple[str, str]]:
    """Places for a choice: value and words; of those where the scope holds ``by``."""
    place = scope.place(by)
    chosen = [("all", "Everywhere")] if everywhere and place.everywhere else []
    sites: dict[UUID, list[Site]] = {}
    for site in queries.sites(scope=scope):
        sites.setdefault(site.client_id, []).append(site)
    for client in queries.clients(scope=scope):
        if place.covers(client.pk):
            chosen.append((f"client:{client.pk}", client.name))
        chosen += [
            (f"site:{site.pk}", f"{client.name} · {site.name}")
            for site in sites.get(client.pk, ())
            if place.covers(client.pk, site.pk)
        ]
    return chosen


def place_chosen(value: str, scope: Scope) -> tuple[Client | None, Site | None]:
    """The client and site of a choice; neither: everywhere. DoesNotExist for what is no choice."""
    kind, _, number = value.partition(":")
    try:
        if kind == "client":
            return queries.clients(scope=scope).get(pk=UUID(number)), None
        if kind == "site":
            site = queries.sites(scope=scope).get(pk=UUID(number))
            return site.client, site
    except ValueError:
        raise Client.DoesNotExist from None
    return None, None


def mark(*, yes: bool) -> parts.Html:
    """A cell of a table of permissions."""
    return SafeString('<span aria-hidden="true">●</span><span class="visually-hidden">yes</span>') if yes else ""


def role_id(role: Role | CustomRole) -> str:
    return role.value if isinstance(role, Role) else str(role.pk)


def role_name(role: Role | CustomRole) -> str:
    return role.words if isinstance(role, Role) else role.name


def role_chosen(value: str, scope: Scope) -> Role | CustomRole:
    return role_named(value, scope=scope)


def roles_to_choose(scope: Scope, *, portal: bool | None) -> Iterable[tuple[str, str]]:
    """Roles for a choice that ``scope`` holds at least somewhere; of a client's portal, of staff, or (None) both."""
    own: list[Role | CustomRole] = list(queries.custom_roles(scope=scope))
    for role in [*Role, *own]:
        permissions = grants.permissions_of(role)
        is_portal = bool(permissions) and all(one.is_portal for one in permissions)
        if (portal is None or portal == is_portal) and permissions <= scope.permissions:
            yield role_id(role), role_name(role)
