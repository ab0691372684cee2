"""Sign-in by django-allauth, with its open doors shut: nobody signs up; the first person is made by a local command.

allauth asks these adapters what to do where it leaves the choice to us.
"""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.forms import AddWebAuthnForm
from django import forms
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from forestall.server.people.models import Person
from forestall.server.people.queries import mfa_is_required
from forestall.server.people.signin import SECOND_FACTORS, has_second_factor, is_fresh
from forestall.server.people.signin_browsers import browser_name
from forestall.server.people.signin_events import note
from forestall.server.people.signin_limits import TooManyTriesError, Tries, count_try, remember_browser
from forestall.server.people.signin_models import SignInEventKind
from forestall.server.sealing import seal, unseal

log = logging.getLogger(__name__)

FACTOR_PURPOSE = "second factor"


class ClosedAccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Passwords, limits, mails and what counts as a fresh proof of who sits there."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "username_password_mismatch": "This user name and password do not fit together.",
        "enter_current_password": "This is not your current password.",
        "incorrect_password": "This is not your password.",
        "too_many_login_attempts": "Too many wrong tries. Wait 5 minutes, then try again.",
        "rate_limited": "Too many tries. Wait 5 minutes, then try again.",
        "account_inactive": "This account is switched off.",
    }

    _tries: Tries | None = None

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """The address that ``ProxyMiddleware`` found."""
        return str(request.META.get("REMOTE_ADDR") or "0.0.0.0")  # noqa: S104 - an address that nobody has

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count a try before the password is looked at; refuse it, and say until when, when there were too many."""
        try:
            self._tries = count_try(request=request, name=str(credentials.get("username", "")))
        except TooManyTriesError as refusal:
            raise ValidationError(
                f"Too many wrong tries. Try again {again_words(refusal)}, or sign in with a passkey.",
                code="too_many_login_attempts",
            ) from None

    def _rollback_login_failed_rl_usage(self) -> None:
        if self._tries is not None:
            self._tries.take_back()

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        person = Person.objects.filter(username__iexact=str(credentials.get("username", ""))).first()
        # A name that nobody has is not kept: it may be a password in the wrong field.
        if person is not None:
            note(person=person, kind=SignInEventKind.FAILED, detail="wrong password", request=request)

    def post_login(self, request: HttpRequest, user: Person, **how: Any) -> HttpResponse:
        response: HttpResponse = super().post_login(request, user, **how)
        remember_browser(request=request, response=response, name=user.username)
        return response

    def respond_user_inactive(self, request: HttpRequest, user: Person) -> HttpResponse:
        note(person=user, kind=SignInEventKind.REFUSED, detail="switched off", request=request)
        response: HttpResponse = super().respond_user_inactive(request, user)
        return response

    def is_reauthentication_required(self, *, app: str, **_: Any) -> bool:
        return not is_fresh(self.request)

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, Any]]:
        """By a second factor where there is one: then the password alone proves too little."""
        methods: list[dict[str, Any]] = super().get_reauthentication_methods(user)
        if user.is_authenticated and has_second_factor(person=user):
            methods = [method for method in methods if method["id"] != "reauthenticate"]
        words = {
            "reauthenticate": "Use your password",
            "mfa_reauthenticate": "Use a code from your authenticator app, or a recovery code",
            "mfa_reauthenticate:webauthn": "Use a passkey",
        }
        # A passkey is one touch: first.
        methods.sort(key=lambda method: method["id"] != "mfa_reauthenticate:webauthn")
        return [{**method, "description": words.get(method["id"], method["description"])} for method in methods]

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """A mail about somebody's sign-in. One that cannot be sent is noted, and stops nothing."""
        try:
            super().send_mail(template_prefix, email, context)
        except OSError as error:
            log.warning("mail %s could not be sent: %s", template_prefix, error)
            person = Person.objects.filter(email=email).first()
            if person is not None:
                note(person=person, kind=SignInEventKind.MAIL_FAILED, detail=template_prefix, request=self.request)

    def get_reset_password_from_key_url(self, key: str) -> str:
        """By the console's public address, where there is one: not by what a request says the host is."""
        address = str(super().get_reset_password_from_key_url(key))
        return address if settings.PUBLIC_URL is None else f"{settings.PUBLIC_URL}{urlsplit(address).path}"

    def format_email_subject(self, subject: str) -> str:
        return f"[Forestall] {subject}"


class SealedMfaAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Second factors; their secrets are sealed under the server's key."""

    error_messages = DefaultMFAAdapter.error_messages | {
        "incorrect_code": "This code is not right, or was used already. Take the next one.",
        "cannot_delete_authenticator": "Your role needs a second factor: set up another one first.",
    }

    def encrypt(self, text: str) -> str:
        return seal(text, purpose=FACTOR_PURPOSE)

    def decrypt(self, encrypted_text: str) -> str:
        return unseal(encrypted_text, purpose=FACTOR_PURPOSE)

    def can_delete_authenticator(self, authenticator: Authenticator) -> bool:
        """The last second factor stays while a role needs one."""
        others = Authenticator.objects.filter(user=authenticator.user, type__in=SECOND_FACTORS)
        return others.exclude(pk=authenticator.pk).exists() or not mfa_is_required(person=authenticator.user)

    def generate_authenticator_name(self, user: Person, type: Authenticator.Type) -> str:  # noqa: A002 - allauth's name
        return browser_name(self.request.headers.get("User-Agent", ""))

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """For whom passkeys are made: the host's name people open the console by."""
        host = self.request.get_host()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        return {"id": settings.PASSKEY_HOST or name, "name": "Forestall"}


class _CodeOnce:
    """A code from an authenticator app counts once, for as long as it could be valid."""

    user: Any
    authenticator: Authenticator

    def clean_code(self) -> str:
        code: str = super().clean_code()  # type: ignore[misc]
        if self.authenticator.type == Authenticator.Type.TOTP:
            seconds = 30 * (2 * settings.MFA_TOTP_TOLERANCE + 1)
            if not cache.add(f"forestall.totp:{self.user.pk}:{code.strip()}", "used", timeout=seconds):
                raise SealedMfaAdapter().validation_error("incorrect_code")
        return code


class CodeForm(_CodeOnce, AuthenticateForm):  # type: ignore[misc]
    """The second step of a sign-in."""


class ConfirmCodeForm(_CodeOnce, ReauthenticateForm):  # type: ignore[misc]
    """A code that proves again who sits there."""


class PasskeyForm(AddWebAuthnForm):  # type: ignore[misc]
    """A new passkey: by default one that signs in alone, without name and password."""

    name = forms.CharField(required=False, max_length=60, label="Name")
    passwordless = forms.BooleanField(
        required=False,
        initial=True,
        label="Sign in with it alone",
        help_text="Without user name and password. The device asks for your finger, face or PIN instead.",
    )


def again_words(refusal: TooManyTriesError) -> str:
    """When the next try is allowed: ``in 4 min (at 21:40 UTC)``."""
    seconds = max(1, round((refusal.again_at - timezone.now()).total_seconds()))
    wait = f"in {seconds} s" if seconds < 90 else f"in {-(-seconds // 60)} min"
    return f"{wait} (at {refusal.again_at:%H:%M:%S} UTC)"
