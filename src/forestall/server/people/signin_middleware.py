"""Who asks, before any page is looked up: the client's real address, the session's life, the second factor."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone

from forestall.server.people.queries import mfa_is_required
from forestall.server.people.signin import has_second_factor
from forestall.server.people.signin_sessions import session_end, session_seen

log = logging.getLogger(__name__)

Answer = Callable[[HttpRequest], HttpResponseBase]
FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_FORWARDED")

WHILE_FACTOR_IS_MISSING = frozenset(
    {
        "console:account_secure",
        "console:theme",
        "account_logout",
        "account_reauthenticate",
        "mfa_reauthenticate",
        "mfa_reauthenticate_webauthn",
        "mfa_activate_totp",
        "mfa_add_webauthn",
        "mfa_view_recovery_codes",
        # Whoever signs in by nothing else confirms by it who they are.
        "openid_connect_login",
        "openid_connect_callback",
    }
)
"""All that somebody reaches whose role needs a second factor, before they set one up."""


class ProxyMiddleware:
    """Believe a reverse proxy's word about the client's address and scheme; nobody else's."""

    def __init__(self, get_response: Answer) -> None:
        self._get_response = get_response
        self._trusted = [ipaddress.ip_network(one, strict=False) for one in settings.TRUSTED_PROXIES]

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        said = {name: request.META.pop(name, "") for name in FORWARDED}
        # Some servers give the port too.
        peer = str(request.META.get("REMOTE_ADDR", ""))
        if self._is_trusted(peer):
            request.META["REMOTE_ADDR"] = self._client(peer, said["HTTP_X_FORWARDED_FOR"].split(","))
            if said["HTTP_X_FORWARDED_PROTO"].strip().lower() == "https":
                # What SECURE_PROXY_SSL_HEADER looks at: set by us alone.
                request.META["HTTP_X_FORWARDED_PROTO"] = "https"
        response = self._get_response(request)
        if request.is_secure():
            # Here, outside of what sets them.
            for name in (settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME):
                if name in response.cookies:
                    response.cookies[name]["secure"] = True
        return response

    def _is_trusted(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._trusted)

    def _client(self, peer: str, chain: Sequence[str]) -> str:
        """The last address in the chain that is no trusted proxy: what stands left of it, anybody may have written."""
        client = peer
        for entry in reversed([one.strip().strip("[]") for one in chain]):
            try:
                client = str(ipaddress.ip_address(entry))
            except ValueError:
                break
            if not self._is_trusted(client):
                break
        return client


class SignInMiddleware:
    """End sessions that are too old or lay idle; let nobody past who lacks the second factor their role needs."""

    def __init__(self, get_response: Answer) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.user.is_authenticated:
            self._look_at_session(request)
        return self._get_response(request)

    def _look_at_session(self, request: HttpRequest) -> None:
        now = timezone.now()
        # A page that asks for itself again is not somebody at work.
        by_hand = "X-Live" not in request.headers
        session = session_seen(request=request, now=now, by_hand=by_hand)
        idle = getattr(session, "last_seen_before", session.last_seen_at)
        why = ""
        if now - session.created_at > timedelta(seconds=settings.SESSION_COOKIE_AGE):
            why = f"A session lasts {settings.SESSION_COOKIE_AGE / 3600:g} hours: sign in again."
        elif now - idle > timedelta(seconds=settings.SESSION_IDLE_SECONDS):
            minutes = settings.SESSION_IDLE_SECONDS / 60
            why = f"You were signed out after {minutes:g} minutes without use."
        if why:
            session_end(session=session)
            logout(request)
            messages.info(request, why)

    def process_view(
        self, request: HttpRequest, view: Any, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        person = request.user
        where = request.resolver_match.view_name if request.resolver_match else ""
        # Programs come with tokens, never with a session: the API asks for itself.
        if not person.is_authenticated or where.startswith("api"):
            return None
        if where in WHILE_FACTOR_IS_MISSING and request.GET.get("process") != "connect":
            return None
        if not mfa_is_required(person=person) or has_second_factor(person=person):
            return None
        if request.method == "GET" and "X-Live" not in request.headers and "HX-Request" not in request.headers:
            return HttpResponseRedirect(reverse("console:account_secure"))
        return HttpResponse("Your role needs a second factor: set one up first.", status=403, content_type="text/plain")
