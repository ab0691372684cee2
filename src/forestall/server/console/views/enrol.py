"""Enrolling a device: a token, shown once, and the one command that uses it."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.certificates import ca_fingerprint
from forestall.server.console import parts
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.home import current_home, intake_address
from forestall.server.inventory import queries
from forestall.server.inventory.services import enrolment_token_create
from forestall.server.people import queries as people
from forestall.server.people.models import Site
from forestall.server.people.scope import Permission
from forestall.server.runbooks.queries import NoAuthorityError, root_key_id

TOKENS_SHOWN = 20


@page(permission=Permission.DEVICE_APPROVE, methods=("GET", "HEAD", "POST"))
def enrol(request: PageRequest) -> HttpResponse:
    scope, now = request.scope, timezone.now()
    sites = list(people.sites(scope=scope))
    made, refused = "", ""
    chosen = request.POST.get("site", "")
    if request.method == "POST":
        try:
            site: Site = people.sites(scope=scope).get(pk=UUID(chosen))
        except ValueError:
            raise Site.DoesNotExist from None
        try:
            made = enrolment_token_create(
                site=site,
                scope=scope,
                now=now,
                ca_fingerprint=ca_fingerprint(current_home()),
                root_fingerprint=root_key_id(),
            )
        except (NoAuthorityError, FileNotFoundError) as reason:
            refused = f"A token cannot be made yet: {reason}"
    tokens = list(queries.enrolment_tokens(scope=scope)[:TOKENS_SHOWN])
    context = {
        "crumbs": SafeString('<a href="/devices/">Devices</a> › Enrol'),
        "sentence": "A token lets one device enrol at one site, once, within 24 hours. It then awaits your approval.",
        "sites": sites,
        "chosen": chosen,
        "command": f"FORESTALL_ENROLMENT_TOKEN={made} forestall agent enrol --server https://{intake_address()}"
        if made
        else "",
        "refused": refused,
        "table": Table(
            caption="Tokens",
            columns=[Column("Site", "lead"), Column("State", "second"), Column("Made"), Column("By")],
            rows=[
                Row(
                    [
                        parts.text(token.site.name, token.site.client.name),
                        format_html("used by {}", parts.link(f"/devices/{token.used_by_id}/", token.used_by.name))
                        if token.used_by
                        else "expired"
                        if token.expires_at <= now
                        else format_html("unused, expires {}", parts.moment(token.expires_at, now)),
                        parts.moment(token.created_at, now),
                        token.created_by,
                    ]
                )
                for token in tokens
            ],
            empty=Empty("No token was made yet", "Only its digest is kept: the token itself is shown once, above."),
        ),
    }
    response = render_page(request, "enrol", context, section="devices", title="Enrol a device", live=False)
    response["Cache-Control"] = "no-store"  # the token is shown once, and not kept by the browser either
    return response


def _command(token: str) -> str:
    """The token goes through the environment: command lines can be read by every user of a machine."""
    return f"FORESTALL_ENROLMENT_TOKEN={token} forestall agent enrol --server https://{intake_address()}"
