"""Pages about the console itself: theme, keys, style guide."""

from __future__ import annotations

from datetime import timedelta

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme

from forestall.server.console.access import SIGNED_IN, STAFF, PageRequest, page
from forestall.server.console.shell import THEMES, render_page
from forestall.server.console.specimens import specimens

YEAR = 365 * 86400
LIMIT_SECONDS = 60


@page(permission=SIGNED_IN, methods=("POST",))
def theme(request: PageRequest) -> HttpResponse:
    """Remember a theme in this browser, without scripts."""
    chosen = request.POST.get("theme", "system")
    back = request.headers.get("Referer", "/")
    here = url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()})
    response = HttpResponseRedirect(back if here else "/")
    if chosen in THEMES:
        response.set_cookie("theme", chosen, max_age=YEAR, samesite="Lax")
    return response


@page(permission=STAFF)
def keys(request: PageRequest) -> HttpResponse:
    return render_page(request, "keys", {}, section="", title="Keys", live=False)


@page(permission=STAFF)
def styleguide(request: PageRequest) -> HttpResponse:
    """Every part in every state, in both themes."""
    return render_page(request, "styleguide", {"specimens": specimens()}, section="", title="Style guide", live=False)


def too_many(request: HttpRequest) -> HttpResponse:
    """allauth's limits, all of them per minute: said with when to try again."""
    again = timezone.now() + timedelta(seconds=LIMIT_SECONDS)
    response = render(request, "429.html", {"again": again}, status=429)
    response["Retry-After"] = str(LIMIT_SECONDS)
    response["Cache-Control"] = "no-store"
    return response
