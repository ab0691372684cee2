"""Who may open which page. A view that declares no permission stops the server from starting.

``@page(permission=...)`` is the only way to a view: it asks for sign-in, reads the person's scope afresh from the
database, refuses what the scope lacks, and turns "may not see it" and "is not there" into the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, cast

from django.contrib.auth.views import redirect_to_login
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import BadRequest, ObjectDoesNotExist
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import URLPattern, URLResolver

from forestall.server.console.shell import render_absent, render_refused
from forestall.server.database.binding import bind, tried_again
from forestall.server.people.models import Person
from forestall.server.people.queries import scope_of
from forestall.server.people.scope import NotAllowedError, Permission, Scope
from forestall.server.people.signin import confirm_first, is_fresh
from forestall.server.people.voice import is_staff

View = Callable[..., HttpResponse]

DECLARED = "forestall_permission"
"""Attribute of a view that says who may open it."""

DECLARATION = "forestall_declared"
"""Attribute of a view with all that ``@page`` was told."""


class SignedIn:
    """The permission of a page that any signed-in person may open, whatever their role."""


SIGNED_IN = SignedIn()


class Staff:
    """The permission of a page for whoever works here, in any role; to a client's own people it is not there."""


STAFF = Staff()


@dataclass(frozen=True, slots=True)
class Declared:
    """What ``@page`` was told about a view: the matrix makes its expectations from it."""

    permission: Permission | SignedIn | Staff
    change: Permission | None
    methods: tuple[str, ...]
    fresh: bool


class PageRequest(HttpRequest):
    """What a view of the console receives."""

    scope: Scope
    person: Person


def page(
    *,
    permission: Permission | SignedIn | Staff,
    methods: Sequence[str] = ("GET", "HEAD"),
    change: Permission | None = None,
    fresh: bool = False,
) -> Callable[[View], View]:
    """Declare who may open a view; ``change`` is asked for besides when the request changes something (POST).

    ``fresh``: the page does something dangerous. Whoever has not proved who they are within the last 15 min is asked
    to, and then comes back; a form that was sent is shown again, and nothing was done yet.
    """

    def declare(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            if request.method not in methods:
                return HttpResponseNotAllowed(methods)
            if any("\0" in value for typed in (request.GET, request.POST) for one in typed.lists() for value in one[1]):
                raise BadRequest("a zero byte is in no text")  # PostgreSQL keeps none; SQLite must not differ
            asked = cast(PageRequest, request)
            asked.person, asked.scope = request.user, scope_of(request.user)
            bind(asked.scope)
            try:
                if isinstance(permission, Permission):
                    asked.scope.require(permission)
                if isinstance(permission, Staff) and not is_staff(asked.scope):
                    return render_absent(asked)
                if change is not None and request.method == "POST":
                    asked.scope.require(change)
                if fresh and not is_fresh(asked):
                    return cast(HttpResponse, confirm_first(asked))
                return tried_again(lambda: view(asked, *args, **kwargs))
            except NotAllowedError as refusal:
                return render_refused(asked, refusal)
            except (ObjectDoesNotExist, Http404):
                # One answer for "not yours" and "not there": whoever guesses an address learns nothing (V8).
                return render_absent(asked)

        setattr(guarded, DECLARED, permission)
        setattr(guarded, DECLARATION, Declared(permission, change, tuple(methods), fresh))
        return guarded

    return declare


@register()
def every_view_declares_a_permission(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """System check: an address of the console whose view is not declared with ``@page``."""
    from forestall.server.console import urls

    return [
        Error(f"the view of {where!r} declares no permission: use @page(permission=...)", id="console.E001")
        for where, view in _views(urls.urlpatterns)
        if not hasattr(view, DECLARED)
    ]


def _views(patterns: Sequence[URLPattern | URLResolver], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for pattern in patterns:
        where = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            found += _views(pattern.url_patterns, where)
        else:
            found.append((where, pattern.callback))
    return found
