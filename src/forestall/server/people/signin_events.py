"""The log of what happens to people's sign-ins, fed by allauth's signals."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from allauth.account import signals as account
from allauth.account.authentication import get_authentication_records
from allauth.account.internal.flows.login import record_authentication
from allauth.mfa import signals as mfa
from allauth.mfa.models import Authenticator
from allauth.socialaccount import signals as social
from django.http import HttpRequest
from django.utils import timezone

from forestall.server.people.models import Person
from forestall.server.people.signin_models import SignInEvent, SignInEventKind
from forestall.server.people.signin_sessions import SessionStore, session_seen

KEPT = timedelta(days=400)
"""Events are personal data: older ones go when the person's next one comes."""

METHODS = {
    "password": "password",
    "totp": "authenticator app",
    "webauthn": "passkey",
    "recovery_codes": "recovery code",
    "socialaccount": "single sign-on",
    "password_reset": "password reset",
}


def note(*, person: Person, kind: SignInEventKind, detail: str = "", request: HttpRequest | None = None) -> SignInEvent:
    """Write an event down."""
    now = timezone.now()
    event = SignInEvent.objects.create(
        person=person,
        kind=kind,
        at=now,
        address=str(request.META.get("REMOTE_ADDR", ""))[:45] if request is not None else "",
        user_agent=request.headers.get("User-Agent", "")[:200] if request is not None else "",
        detail=detail[:200],
    )
    SignInEvent.objects.filter(person=person, at__lt=now - KEPT).delete()
    return event


def methods_of(request: HttpRequest, person: Person) -> str:
    """By what this session was signed in, in words: ``password and authenticator app``."""
    names: list[str] = []
    for record in get_authentication_records(request, person):
        name = METHODS.get(str(record.get("type") or record.get("method")), str(record.get("method")))
        if record.get("method") == "socialaccount":
            name = f"single sign-on ({record.get('provider')})"
        if name not in names and not record.get("reauthenticated"):
            names.append(name)
    return " and ".join(names)


def connect() -> None:
    """Listen to allauth; once, when the application starts."""
    for signal, receiver in (
        (account.user_logged_in, _signed_in),
        (account.user_logged_out, _signed_out),
        (account.password_changed, _password_changed),
        (account.password_set, _password_changed),
        (account.password_reset, _password_reset),
        (account.authentication_step_completed, _step),
        (mfa.authenticator_added, _factor_added),
        (mfa.authenticator_removed, _factor_removed),
        (mfa.authenticator_reset, _codes_made),
        (mfa.authenticator_used, _factor_used),
        (mfa.authentication_failed, _factor_failed),
        (social.social_account_added, _sso_linked),
        (social.social_account_removed, _sso_unlinked),
    ):
        signal.connect(receiver, dispatch_uid=f"forestall.{receiver.__name__}")


def _signed_in(request: HttpRequest, user: Person, **_: Any) -> None:
    # On the list from its first moment: a session that was never used yet can be ended too.
    session_seen(request=request, now=timezone.now(), by_hand=True)
    SessionStore.clear_expired()
    note(person=user, kind=SignInEventKind.IN, detail=methods_of(request, user), request=request)


def _signed_out(request: HttpRequest, user: Person | None, **_: Any) -> None:
    if user is not None and user.pk:
        note(person=user, kind=SignInEventKind.OUT, request=request)


def _password_changed(request: HttpRequest, user: Person, **_: Any) -> None:
    # The session goes on under a new key.
    session_seen(request=request, now=timezone.now(), by_hand=True)
    note(person=user, kind=SignInEventKind.PASSWORD_CHANGED, detail="other sessions ended", request=request)


def _password_reset(request: HttpRequest, user: Person, **_: Any) -> None:
    note(person=user, kind=SignInEventKind.PASSWORD_RESET, detail="by mail; all sessions ended", request=request)


def _step(request: HttpRequest, user: Person, method: str, **more: Any) -> None:
    if more.get("reauthenticated"):
        name = METHODS.get(str(more.get("type") or method), method)
        note(person=user, kind=SignInEventKind.CONFIRMED, detail=name, request=request)


def _named(authenticator: Authenticator) -> str:
    if authenticator.type == Authenticator.Type.WEBAUTHN:
        return f"passkey “{authenticator.wrap().name}”"
    return METHODS.get(authenticator.type, str(authenticator.type))


def _factor_added(request: HttpRequest, user: Person, authenticator: Authenticator, **_: Any) -> None:
    codes = authenticator.type == Authenticator.Type.RECOVERY_CODES
    kind = SignInEventKind.CODES_MADE if codes else SignInEventKind.FACTOR_ADDED
    note(person=user, kind=kind, detail="" if codes else _named(authenticator), request=request)
    if not codes:
        # Whoever has just set it up has it in hand: they are not asked for it again at the next click.
        record_authentication(request, user, "mfa", id=authenticator.pk, type=authenticator.type)


def _factor_removed(request: HttpRequest, user: Person, authenticator: Authenticator, **_: Any) -> None:
    if authenticator.type != Authenticator.Type.RECOVERY_CODES:
        note(person=user, kind=SignInEventKind.FACTOR_REMOVED, detail=_named(authenticator), request=request)


def _codes_made(request: HttpRequest, user: Person, **_: Any) -> None:
    note(person=user, kind=SignInEventKind.CODES_MADE, detail="the earlier ones no longer work", request=request)


def _factor_used(request: HttpRequest, user: Person, authenticator: Authenticator, **_: Any) -> None:
    if authenticator.type == Authenticator.Type.RECOVERY_CODES:
        left = len(authenticator.wrap().get_unused_codes())
        note(person=user, kind=SignInEventKind.CODE_USED, detail=f"{left} left", request=request)


def _factor_failed(request: HttpRequest, user: Person, authenticator: Authenticator, **_: Any) -> None:
    note(person=user, kind=SignInEventKind.FACTOR_FAILED, detail="wrong code", request=request)


def _sso_linked(request: HttpRequest, sociallogin: Any, **_: Any) -> None:
    account_ = sociallogin.account
    note(
        person=sociallogin.user,
        kind=SignInEventKind.SSO_LINKED,
        detail=f"{account_.provider}: {account_.uid}",
        request=request,
    )


def _sso_unlinked(request: HttpRequest, socialaccount: Any, **_: Any) -> None:
    note(
        person=socialaccount.user,
        kind=SignInEventKind.SSO_UNLINKED,
        detail=f"{socialaccount.provider}: {socialaccount.uid}",
        request=request,
    )
