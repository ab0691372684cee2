"""What is around every page: navigation, theme, how old the data is; and how a page updates in place.

A page's template is its content alone. Asked for by a browser, it comes inside ``console/shell.html``; asked for by
the page itself some seconds later (header ``X-Live``), it comes alone, or not at all (204) when it says the same.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone

from forestall.server.people.scope import NotAllowedError, Permission
from forestall.server.people.voice import is_staff

if TYPE_CHECKING:
    from forestall.server.console.access import PageRequest

THEMES = ("system", "light", "dark")
LIVE_HEADER = "X-Live"
_TIME_TEXT = re.compile(rb"(<time\b[^>]*>)[^<]*")


@dataclass(frozen=True, slots=True)
class NavItem:
    """A line of the navigation."""

    key: str
    """Pressed after ``g``."""
    section: str
    title: str
    href: str
    on_phone: bool = False
    """One of the few that stay at the thumb; the others are behind "More"."""
    needs: Permission | None = None
    """Shown to those who hold it; None: to all of the staff."""
    group: str = ""
    """Heading above it; lines of one group stand together."""


NAVIGATION = (
    NavItem("t", "today", "Today", "/", on_phone=True),
    NavItem("d", "devices", "Devices", "/devices/", on_phone=True),
    NavItem("c", "checks", "Checks", "/checks/", on_phone=True),
    NavItem("m", "coverage", "Coverage", "/coverage/"),
    NavItem("q", "health", "Health", "/health/"),
    NavItem("k", "tickets", "Tickets", "/tickets/", on_phone=True),
    NavItem("p", "updates", "Updates", "/updates/", group="Upkeep"),
    NavItem("i", "rollouts", "Rollouts", "/rollouts/", group="Upkeep"),
    NavItem("u", "vulnerabilities", "Vulnerabilities", "/vulnerabilities/", group="Upkeep"),
    NavItem("b", "recovery", "Recovery", "/recovery/", group="Upkeep"),
    NavItem("y", "access", "Access", "/access/", group="Upkeep"),
    NavItem("f", "configuration", "Configuration", "/configuration/", group="Upkeep"),
    NavItem("r", "runbooks", "Runbooks", "/runbooks/", group="Work"),
    NavItem("j", "jobs", "Jobs", "/jobs/", group="Work"),
    NavItem("w", "windows", "Windows", "/windows/", group="Work"),
    NavItem("a", "calendar", "Calendar", "/calendar/", group="Work"),
    NavItem("e", "evidence", "Evidence", "/evidence/", group="Proof"),
    NavItem("s", "reports", "Reports", "/reports/", group="Proof"),
    NavItem("l", "clients", "Clients", "/clients/", group="Who"),
    NavItem("o", "people", "People", "/people/", group="Who"),
    NavItem("h", "webhooks", "Webhooks", "/webhooks/", group="Who"),
    NavItem("v", "portal", "Client's portal", "/portal/", needs=Permission.PORTAL_VIEW, group="Who"),
)


PORTAL_NAVIGATION = (
    NavItem("", "portal", "Overview", "/portal/", on_phone=True),
    NavItem("", "tickets", "Tickets", "/portal/tickets/", on_phone=True),
    NavItem("", "devices", "Devices", "/portal/devices/", on_phone=True),
    NavItem("", "calendar", "Calendar", "/portal/calendar/", on_phone=True),
    NavItem("", "reports", "Reports", "/portal/reports/", on_phone=True),
)


@dataclass(frozen=True, slots=True)
class PortalFrame:
    """What is around a page of the portal."""

    query: str = ""
    """``?client=…``: which client's portal a member of staff looks at, kept from page to page."""
    preview: str = ""
    """Name of the client whose portal is only looked at; empty: it is one's own."""


@cache
def has_bundle() -> bool:
    """Whether the chart scripts were built with this installation."""
    return (Path(__file__).parent / "static/forestall/bundle/charts.js").exists()


def theme_of(request: HttpRequest) -> str:
    chosen = request.COOKIES.get("theme", "system")
    return chosen if chosen in THEMES else "system"


def render_page(
    request: PageRequest,
    template: str,
    context: dict[str, Any],
    *,
    section: str,
    title: str,
    data_at: datetime | None = None,
    live: bool = True,
    status: int = 200,
    portal: PortalFrame | None = None,
) -> HttpResponse:
    """A page of the console; with ``portal`` a page of the client's portal.

    ``data_at``: when the newest of what it shows was true. ``live``: whether it asks for itself again while it is
    open; off for pages that keep what a person typed, or draw charts that refresh themselves.
    A client's own people get every page, their account's too, inside the portal: they never see the staff's frame.
    """
    if portal is None and not is_staff(request.scope) and request.scope.may(Permission.PORTAL_VIEW):
        portal = PortalFrame()
    asked_digest = request.headers.get(LIVE_HEADER) if live else None
    context = {
        **context,
        "scope": request.scope,
        "now": timezone.now(),
        "data_at": data_at,
        "title": title,
        "is_live": live,
        "section": section,
    }
    content = render_to_string(f"console/{template}.html", context, request=request)
    digest = content_digest(content)
    if asked_digest == digest:
        return _private(HttpResponse(status=204))
    context |= {"content": content, "digest": digest}
    if asked_digest is not None:
        return _private(HttpResponse(render_to_string("console/live.html", context)))
    context |= {
        "navigation": [one for one in NAVIGATION if one.needs is None or request.scope.may(one.needs)],
        "theme": theme_of(request),
        "has_bundle": has_bundle(),
        "person": request.person,
    }
    frame = "console/shell.html"
    if portal is not None:
        frame = "console/portal/shell.html"
        context |= {"navigation": PORTAL_NAVIGATION, "portal": portal}
    return _private(HttpResponse(render_to_string(frame, context, request=request), status=status))


def content_digest(content: str) -> str:
    """What a page says, in 16 characters. "3 min ago" becoming "4 min ago" is not news: the browser counts itself."""
    plain = _TIME_TEXT.sub(rb"\1", content.encode())
    plain = re.sub(rb'name="csrfmiddlewaretoken" value="[^"]*"', b"", plain)
    return hashlib.blake2b(plain, digest_size=8).hexdigest()


def render_absent(request: HttpRequest) -> HttpResponse:
    """Not there, or not yours: the same bytes for both."""
    return _private(HttpResponse(render_to_string("console/absent.html", {"theme": theme_of(request)}), status=404))


def render_refused(request: HttpRequest, refusal: NotAllowedError) -> HttpResponse:
    context = {"theme": theme_of(request), "permission": str(refusal.permission)}
    return _private(HttpResponse(render_to_string("console/refused.html", context), status=403))


def _private(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "private, no-cache" if response.status_code == 200 else "no-store"
    response["Vary"] = f"Cookie, {LIVE_HEADER}"
    return response


def static_address(name: str) -> str:
    """Address of one of our own files."""
    return f"{settings.STATIC_URL}forestall/{name}"
