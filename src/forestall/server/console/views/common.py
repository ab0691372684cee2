"""Pages about the console itself: theme, keys, style guide."""

from __future__ import annotations

from django.http import HttpResponse, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme

from forestall.server.console.access import SIGNED_IN, PageRequest, page
from forestall.server.console.shell import THEMES, render_page
from forestall.server.console.specimens import specimens

YEAR = 365 * 86400


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


@page(permission=SIGNED_IN)
def keys(request: PageRequest) -> HttpResponse:
    return render_page(request, "keys", {}, section="", title="Keys", live=False)


@page(permission=SIGNED_IN)
def styleguide(request: PageRequest) -> HttpResponse:
    """Every part in every state, in both themes."""
    return render_page(request, "styleguide", {"specimens": specimens()}, section="", title="Style guide", live=False)
