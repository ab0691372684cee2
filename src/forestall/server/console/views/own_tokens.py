"""Your API tokens: make one (shown once), see which are used, revoke them."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.middleware.csrf import get_token
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.console import parts, words
from forestall.server.console.access import SIGNED_IN, PageRequest, page
from forestall.server.console.parts import Column, Empty, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.people import queries
from forestall.server.people.models import ApiToken, Client, Site
from forestall.server.people.persons import token_revoke
from forestall.server.people.roles import PERMISSION_WORDS
from forestall.server.people.scope import Permission
from forestall.server.people.tokens import TokenError, token_make, tokens_own

LIFETIMES = {"7": "7 days", "30": "30 days", "90": "90 days", "365": "a year", "": "never"}
USUAL = "90"


@page(permission=SIGNED_IN, methods=("GET", "HEAD", "POST"), fresh=True)
def own_tokens(request: PageRequest) -> HttpResponse:
    """All of them, and the form for a new one. Whoever has a token has its owner's rights, so the page asks first
    that they prove who they are."""
    now = timezone.now()
    made, refused = "", ""
    if request.method == "POST":
        try:
            made = _make(request, now)
        except TokenError as error:
            refused = str(error)
    said = request.POST if request.method == "POST" and not made else {}
    chosen = set(request.POST.getlist("may")) if said else set()
    mine = request.scope.permissions
    context = {
        "crumbs": SafeString(f'<a href="{reverse("console:account")}">Your account</a> › Tokens'),
        "sentence": "A program with a token of yours may what you may, and no more: less, if you say so here.",
        "made": made,
        "refused": refused,
        "name": said.get("name", ""),
        "lifetimes": [(value, words, value == said.get("lifetime", USUAL)) for value, words in LIFETIMES.items()],
        "places": _places(request, said.get("place", "")),
        "permissions": [
            (one.value, words, one.value in chosen) for one, words in PERMISSION_WORDS.items() if one in mine
        ],
        "table": _table(request, now),
    }
    response = render_page(request, "own_tokens", context, section="account", title="Your tokens", live=False)
    response["Cache-Control"] = "no-store"
    return response


@page(permission=SIGNED_IN, methods=("POST",))
def own_token_revoke(request: PageRequest, pk: int) -> HttpResponse:
    row = tokens_own(scope=request.scope).get(pk=pk)
    token_revoke(token=row, scope=request.scope, now=timezone.now())
    messages.success(request, f"{row.name} opens nothing any more.")
    return HttpResponseRedirect(reverse("console:own_tokens"))


def _make(request: PageRequest, now: datetime) -> str:
    days = request.POST.get("lifetime", USUAL)
    if days not in LIFETIMES:
        raise TokenError(f"lifetime: {days[:20]!r} is none of the choices")
    client, site = _place(request, request.POST.get("place", ""))
    unknown = [one for one in request.POST.getlist("may") if one not in set(Permission)]
    if unknown:
        raise TokenError(f"permissions: {unknown[0][:40]!r} is not known")
    _, token = token_make(
        person=request.person,
        name=request.POST.get("name", "")[:100],
        permissions=[Permission(one) for one in request.POST.getlist("may")],
        client=client,
        site=site,
        expires_at=now + timedelta(days=int(days)) if days else None,
        scope=request.scope,
        now=now,
    )
    return token


def _place(request: PageRequest, chosen: str) -> tuple[Client | None, Site | None]:
    kind, _, key = chosen.partition(":")
    if not kind:
        return None, None
    try:
        if kind == "client":
            return queries.clients(scope=request.scope).get(pk=UUID(key)), None
        return None, queries.sites(scope=request.scope).get(pk=UUID(key))
    except ValueError:
        raise TokenError(f"place: {chosen[:60]!r} is none of the choices") from None


def _places(request: PageRequest, chosen: str) -> list[tuple[str, str, bool]]:
    found = [(f"client:{one.pk}", one.name) for one in queries.clients(scope=request.scope)]
    found += [(f"site:{one.pk}", f"{one.client.name} · {one.name}") for one in queries.sites(scope=request.scope)]
    return [("", "wherever you may", not chosen)] + [
        (value, words, value == chosen) for value, words in sorted(found, key=lambda one: one[1].casefold())
    ]


def _table(request: PageRequest, now: datetime) -> Table:
    return Table(
        caption="Tokens",
        columns=[
            Column("Token", "lead"),
            Column("State", "second"),
            Column("May"),
            Column("Where"),
            Column("Last used"),
            Column("Made"),
        ],
        rows=[
            Row(
                [
                    row.name,
                    format_html("{}{}", _state(row, now), _revoke(request, row) if row.revoked_at is None else ""),
                    _may(row),
                    str(row.site or row.client or "wherever you may"),
                    parts.moment(row.last_used_at, now),
                    parts.moment(row.created_at, now),
                ]
            )
            for row in tokens_own(scope=request.scope)
        ],
        empty=Empty("No token yet", "Make one for a program or a command line: forestall profile add, for one."),
    )


def _state(row: ApiToken, now: datetime) -> parts.Html:
    if row.revoked_at is not None:
        return format_html("revoked {}", parts.moment(row.revoked_at, now))
    if row.expires_at is None:
        return "good, never ends"
    return format_html("{} {}", "ended" if row.expires_at <= now else "good, ends", parts.moment(row.expires_at, now))


def _may(row: ApiToken) -> parts.Html:
    if not row.permissions:
        return "all that you may"
    return format_html(
        '<span title="{}">{}</span>', ", ".join(row.permissions), words.plural(len(row.permissions), "permission")
    )


def _revoke(request: PageRequest, row: ApiToken) -> SafeString:
    return format_html(
        '<form method="post" action="{}"><input type="hidden" name="csrfmiddlewaretoken" value="{}">'
        '<button class="small">Revoke<span class="visually-hidden"> {}</span></button></form>',
        reverse("console:own_token_revoke", args=[row.pk]),
        get_token(request),
        row.name,
    )
