"""Who is signed in how: how fresh it is, whether a second factor is needed and there, and what changes it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.account.authentication import get_authentication_records
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

from forestall.server.people.models import Person
from forestall.server.people.signin_events import note
from forestall.server.people.signin_limits import forget_tries
from forestall.server.people.signin_models import SignInEvent, SignInEventKind
from forestall.server.people.signin_sessions import sessions_end

FRESH_SECONDS = 15 * 60
"""So long after they last proved who they are, a person may do dangerous things without being asked again."""

SECOND_FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


def has_second_factor(*, person: Person) -> bool:
    """An authenticator app or a passkey. Recovery codes alone are none."""
    return bool(Authenticator.objects.filter(user=person, type__in=SECOND_FACTORS).exists())


def is_fresh(request: HttpRequest) -> bool:
    """Whether whoever sits there proved within the last 15 min who they are.

    With a second factor, only that counts (or single sign-on, which is followed by it): a password alone may have
    been looked over a shoulder.
    """
    person = request.user
    if not person.is_authenticated:
        return False
    records = get_authentication_records(request, person)
    if has_second_factor(person=person):
        records = [record for record in records if record.get("method") == "mfa"]
    last = max((float(record["at"]) for record in records), default=0.0)
    return 0 <= time.time() - last < FRESH_SECONDS


def confirm_first(request: HttpRequest) -> HttpResponseBase:
    """Ask who sits there, then come back: to this address, or for a form that was sent, to the page it is on."""
    back = request.get_full_path()
    if request.method not in {"GET", "HEAD"}:
        back = request.headers.get("Referer", "/")
        if not url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}):
            back = "/"
        messages.info(request, "Nothing was changed yet: once you have confirmed who you are, send the form again.")
    return HttpResponseRedirect(f"{reverse('account_reauthenticate')}?{urlencode({'next': back})}")


def fresh(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A view of allauth's that changes how somebody signs in: only soon after they proved who they are."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated and not is_fresh(request):
            return confirm_first(request)
        return view(request, *args, **kwargs)

    return guarded


def signin_events(*, person: Person, limit: int = 50) -> list[SignInEvent]:
    """What happened to this person's sign-in, the newest first."""
    return list(SignInEvent.objects.filter(person=person)[:limit])


def passkeys(*, person: Person) -> list[Authenticator]:
    """The passkeys of ``person``, the first made first."""
    return list(Authenticator.objects.filter(user=person, type=Authenticator.Type.WEBAUTHN).order_by("created_at"))


def linked_accounts(*, person: Person) -> list[SocialAccount]:
    """Accounts elsewhere with which ``person`` may sign in."""
    return list(SocialAccount.objects.filter(user=person).order_by("provider", "pk"))


# --- changes by whoever administers -----------------------------------------------------------------------------


@transaction.atomic
def person_set_active(*, person: Person, active: bool, who: str, request: HttpRequest | None = None) -> None:
    """Let someone in again, or keep them out: at once, in every session and with every token."""
    Person.objects.filter(pk=person.pk).update(is_active=active)
    person.is_active = active
    if not active:
        sessions_end(person=person)
    kind = SignInEventKind.ENABLED if active else SignInEventKind.DISABLED
    note(person=person, kind=kind, detail=f"by {who}", request=request)


@transaction.atomic
def person_set_password(*, person: Person, password: str, who: str) -> None:
    """A new password, given by somebody else; ends every session. ValueError says what is wrong with it."""
    try:
        validate_password(password, user=person)
    except ValidationError as error:
        raise ValueError("password: " + " ".join(error.messages)) from None
    person.set_password(password)
    person.save(update_fields=["password"])
    sessions_end(person=person)
    forget_tries(name=person.username)
    note(person=person, kind=SignInEventKind.PASSWORD_CHANGED, detail=f"by {who}; all sessions ended")


@transaction.atomic
def person_reset_factors(*, person: Person, who: str) -> int:
    """Take away the second factors and recovery codes of someone who lost them; how many. Ends every session."""
    number, _ = Authenticator.objects.filter(user=person).delete()
    sessions_end(person=person)
    note(person=person, kind=SignInEventKind.FACTOR_RESET, detail=f"by {who}; all sessions ended")
    return int(number)


def person_unlock(*, person: Person, who: str) -> None:
    """Forget the wrong tries that keep this person waiting."""
    forget_tries(name=person.username)
    note(person=person, kind=SignInEventKind.UNLOCKED, detail=f"by {who}")


def passkeys_work(request: HttpRequest) -> bool:
    """Browsers make passkeys for names, not for numbers, and only over https or on this machine."""
    name = request.get_host()
    host = name.rpartition(":")[0] if name.rpartition(":")[2].isdecimal() and ":" in name else name
    numbers = host.strip("[]").replace(".", "").replace(":", "")
    is_name = not (numbers.isdecimal() or host.startswith("["))
    return is_name and (request.is_secure() or host == "localhost")


def mail_is_set_up() -> bool:
    """Whether this server can send mail: without, nobody can reset a password by it."""
    return bool(settings.MAIL_IS_SET)
