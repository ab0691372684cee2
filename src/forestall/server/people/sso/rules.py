"""Whom a single sign-on lets in: only persons who are here, active, and linked; never a new one."""

from __future__ import annotations

import logging
from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialLogin
from allauth.socialaccount.providers.base import AuthError, AuthProcess
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from requests import RequestException

from forestall.server.people.models import Person
from forestall.server.people.signin_events import note
from forestall.server.people.signin_models import SignInEventKind
from forestall.server.people.sso.adapter import SsoRefusedError
from forestall.server.sealing import unseal

log = logging.getLogger(__name__)

SECRET_PURPOSE = "single sign-on secret"  # noqa: S105 - what the seal is for
SEALED = "sealed_secret"
LINK_BY_EMAIL = "link_by_email"
"""Of a provider's settings: a verified address that one active person has links that person."""
EMAIL_DOMAINS = "email_domains"
NO_ANSWER = "The provider did not answer this server. Try again in a minute."


class LinkedPersonsAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """allauth asks it at each step of a single sign-on."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return False

    def list_apps(self, request: HttpRequest, provider: Any = None, client_id: Any = None) -> list[SocialApp]:
        apps: list[SocialApp] = super().list_apps(request, provider, client_id)
        for app in apps:
            # Opened in memory alone, for the one request to the provider that needs it.
            sealed = app.settings.get(SEALED, "")
            app.secret = unseal(sealed, purpose=SECRET_PURPOSE) if sealed else ""
        return apps

    def authenticate_by_email(self, sociallogin: SocialLogin) -> None:
        """allauth's own way would take the person's password away; ours is in ``pre_social_login``."""

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Refuse whoever is not here or switched off; link by address where an administrator allowed it."""
        if sociallogin.state.get("process") == AuthProcess.CONNECT:
            return
        name = sociallogin.provider.name
        if not sociallogin.is_existing:
            person = person_by_address(sociallogin)
            if person is None:
                refuse(
                    request,
                    "Nobody here goes by that account",
                    f"You signed in at {name}{_as(sociallogin)}, but no person here is linked to that account. "
                    "Sign in in another way and link it on your account page, or ask whoever looks after people here.",
                )
            sociallogin.connect(request, person)
        if not sociallogin.user.is_active:
            note(person=sociallogin.user, kind=SignInEventKind.REFUSED, detail=f"{name}: switched off", request=request)
            refuse(
                request,
                "This account is switched off",
                f"You signed in at {name}, but your account here is switched off. Ask whoever looks after people here.",
            )

    def validate_disconnect(self, account: SocialAccount, accounts: Any) -> None:
        """The last way in stays."""
        if not account.user.has_usable_password() and accounts.count() <= 1:
            raise ValidationError("Set a password first: this is your only way to sign in.")

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: Any = None,
    ) -> None:
        """Say plainly what went wrong; the log knows more."""
        log.warning("single sign-on by %s failed: %s %s", provider.sub_id, error, exception or "")
        refuse(request, *failure_words(provider.name, error, exception, bool((extra_context or {}).get("state"))))


def failure_words(name: str, error: Any, exception: Exception | None, had_state: bool) -> tuple[str, str]:  # noqa: FBT001
    """Headline and explanation of a sign-in that failed."""
    if isinstance(exception, SsoRefusedError):
        return "This sign-in was refused", str(exception)
    if isinstance(exception, RequestException):
        return f"{name} cannot be reached", NO_ANSWER
    if isinstance(exception, OAuth2Error):
        return f"{name} refused", "The provider did not accept the sign-in: the code was used or has expired."
    if error == AuthError.CANCELLED:
        return "You stopped the sign-in", f"{name} says that you went no further. Nothing was changed."
    if not had_state:
        return (
            "This sign-in is not known here",
            "It took longer than 10 minutes, was begun in another browser, or was finished already. Start again.",
        )
    return f"{name} reported an error", "The provider did not sign you in. Try again, or sign in in another way."


def refuse(request: HttpRequest, headline: str, why: str) -> None:
    """End the sign-in with a page that says why. Raises."""
    raise ImmediateHttpResponse(refusal(request, headline, why))


def refusal(request: HttpRequest, headline: str, why: str) -> HttpResponse:
    """The page that says why a sign-in ended."""
    return render(request, "socialaccount/authentication_error.html", {"headline": headline, "why": why}, status=403)


def person_by_address(sociallogin: SocialLogin) -> Person | None:
    """The one active person with the verified address of this sign-in, where the provider's settings allow that."""
    settings = sociallogin.provider.app.settings
    if not settings.get(LINK_BY_EMAIL):
        return None
    domains = [domain.lower() for domain in settings.get(EMAIL_DOMAINS, [])]
    # ``is True``: some providers send the string "false".
    addresses = [one.email for one in sociallogin.email_addresses if one.verified is True]
    for address in addresses:
        if domains and address.rpartition("@")[2].lower() not in domains:
            continue
        found = list(Person.objects.filter(email__iexact=address, is_active=True)[:2])
        if len(found) == 1:
            return found[0]
    return None


def _as(sociallogin: SocialLogin) -> str:
    return f" as {sociallogin.email_addresses[0].email}" if sociallogin.email_addresses else ""
