"""Your account: how you sign in, where you are signed in, and what happened to both."""

from __future__ import annotations

from dataclasses import dataclass

from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import get_adapter
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.middleware.csrf import get_token
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.console import parts
from forestall.server.console.access import SIGNED_IN, PageRequest, page
from forestall.server.console.parts import Column, Empty, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.people import signin, signin_sessions
from forestall.server.people.models import Person, SignInEvent
from forestall.server.people.queries import mfa_is_required
from forestall.server.people.signin import passkeys_work
from forestall.server.people.signin_browsers import browser_name
from forestall.server.people.signin_events import note
from forestall.server.people.signin_models import SignInEventKind

EVENTS_SHOWN = 30

EVENT_WORDS: dict[SignInEventKind, str] = {
    SignInEventKind.IN: "Signed in",
    SignInEventKind.OUT: "Signed out",
    SignInEventKind.FAILED: "Sign-in failed",
    SignInEventKind.REFUSED: "Sign-in refused",
    SignInEventKind.CONFIRMED: "Confirmed who you are",
    SignInEventKind.PASSWORD_CHANGED: "Password changed",
    SignInEventKind.PASSWORD_RESET: "Password reset",
    SignInEventKind.FACTOR_ADDED: "Second factor added",
    SignInEventKind.FACTOR_REMOVED: "Second factor removed",
    SignInEventKind.FACTOR_FAILED: "Second factor failed",
    SignInEventKind.FACTOR_RESET: "Second factors taken away",
    SignInEventKind.CODES_MADE: "Recovery codes made",
    SignInEventKind.CODE_USED: "Recovery code used",
    SignInEventKind.SESSION_ENDED: "Session ended",
    SignInEventKind.SSO_LINKED: "Single sign-on linked",
    SignInEventKind.SSO_UNLINKED: "Single sign-on unlinked",
    SignInEventKind.MAIL_FAILED: "A mail to you could not be sent",
    SignInEventKind.DISABLED: "Switched off",
    SignInEventKind.ENABLED: "Switched on",
    SignInEventKind.UNLOCKED: "Unlocked",
}
WARNING = frozenset(
    {
        SignInEventKind.FAILED,
        SignInEventKind.REFUSED,
        SignInEventKind.FACTOR_FAILED,
        SignInEventKind.MAIL_FAILED,
        SignInEventKind.DISABLED,
    }
)


@dataclass(frozen=True, slots=True)
class Way:
    """A way to sign in, or a part of one: a line of the page."""

    title: str
    state: parts.Html
    acts: parts.Html = ""


@page(permission=SIGNED_IN)
def account(request: PageRequest) -> HttpResponse:
    person = request.person
    sessions = signin_sessions.sessions_of(person=person)
    factor = signin.has_second_factor(person=person)
    context = {
        "sentence": _sentence(person, len(sessions), factor=factor),
        "needs_factor": mfa_is_required(person=person),
        "ways": [_password(person), _app(person), *_passkeys(request), _codes(person), *_sso(request)],
        "sessions": _sessions_table(request, sessions),
        "others": len(sessions) - 1,
        "events": events_table(signin.signin_events(person=person, limit=EVENTS_SHOWN)),
    }
    return render_page(request, "account", context, section="account", title="Your account", live=False)


@page(permission=SIGNED_IN)
def secure(request: PageRequest) -> HttpResponse:
    """Where somebody lands whose role needs a second factor and who has none."""
    if signin.has_second_factor(person=request.person) or not mfa_is_required(person=request.person):
        return HttpResponseRedirect(reverse("console:account"))
    roles = sorted({grant.role_name for grant in request.person.grants.select_related("custom")})
    context = {"roles": roles, "passkeys_work": passkeys_work(request)}
    return render_page(request, "account_secure", context, section="account", title="One more step", live=False)


@page(permission=SIGNED_IN, methods=("POST",))
def session_end(request: PageRequest, pk: int) -> HttpResponse:
    """Sign one other browser out."""
    session = UserSession.objects.get(pk=pk, user=request.person)
    name = browser_name(session.user_agent)
    signin_sessions.session_end(session=session)
    note(person=request.person, kind=SignInEventKind.SESSION_ENDED, detail=f"{name}, {session.ip}", request=request)
    messages.success(request, f"{name} is signed out.")
    return HttpResponseRedirect(reverse("console:account"))


@page(permission=SIGNED_IN, methods=("POST",))
def sessions_end(request: PageRequest) -> HttpResponse:
    """Sign out everywhere but here."""
    number = signin_sessions.sessions_end(person=request.person, but=request.session.session_key)
    note(person=request.person, kind=SignInEventKind.SESSION_ENDED, detail=f"{number} others", request=request)
    messages.success(request, "You are signed out everywhere but here.")
    return HttpResponseRedirect(reverse("console:account"))


def events_table(events: list[SignInEvent]) -> Table:
    """What happened to somebody's sign-in, as a table: for themselves, and for administrators."""
    now = timezone.now()
    return Table(
        caption="Sign-in events",
        columns=[Column("What", "lead"), Column("When", "second"), Column("By"), Column("Browser"), Column("Address")],
        rows=[
            Row(
                [
                    _event_words(event),
                    parts.moment(event.at, now),
                    event.detail or parts.none("nothing more is known", "–"),
                    browser_name(event.user_agent) if event.user_agent else parts.none("a command on the server", "–"),
                    event.address or parts.none("a command on the server", "this server"),
                ]
            )
            for event in events
        ],
        empty=Empty("Nothing happened yet", "Sign-ins, failed tries and changes of how you sign in are listed here."),
    )


def _event_words(event: SignInEvent) -> SafeString:
    kind = SignInEventKind(event.kind)
    return parts.status("warn", EVENT_WORDS[kind]) if kind in WARNING else format_html("{}", EVENT_WORDS[kind])


def _sentence(person: Person, sessions: int, *, factor: bool) -> SafeString:
    where = "in this browser alone" if sessions <= 1 else f"in {sessions} browsers"
    if factor:
        return format_html("You are signed in {}. A stolen password alone does not open your account.", where)
    return format_html(
        "You are signed in {}. <b>Your password alone opens your account</b>: add an authenticator app or a passkey.",
        where,
    )


def _act(name: str, words: str, *, primary: bool = False, **kwargs: int) -> SafeString:
    return format_html(
        '<a class="button small{}" href="{}">{}</a>',
        " primary" if primary else "",
        reverse(name, kwargs=kwargs),
        words,
    )


def _password(person: Person) -> Way:
    if person.has_usable_password():
        return Way("Password", "Set", _act("account_change_password", "Change"))
    return Way("Password", parts.none("you sign in without one"), _act("account_set_password", "Set one"))


def _app(person: Person) -> Way:
    now = timezone.now()
    found = Authenticator.objects.filter(user=person, type=Authenticator.Type.TOTP).first()
    if found is None:
        return Way(
            "Authenticator app",
            parts.text("Off", "Codes from an app on your phone, besides the password."),
            _act("mfa_activate_totp", "Set up", primary=not signin.has_second_factor(person=person)),
        )
    used = format_html(
        "since {}, last used {}", parts.moment(found.created_at, now), parts.moment(found.last_used_at, now)
    )
    return Way("Authenticator app", parts.text("On", used), _act("mfa_deactivate_totp", "Remove"))


def _passkeys(request: PageRequest) -> list[Way]:
    now = timezone.now()
    found = signin.passkeys(person=request.person)
    ways = []
    for key in found:
        alone = "signs in alone" if key.wrap().is_passwordless else "second factor"
        used = format_html(
            "{}, made {}, last used {}", alone, parts.moment(key.created_at, now), parts.moment(key.last_used_at, now)
        )
        acts = format_html(
            "{} {}", _act("mfa_edit_webauthn", "Rename", pk=key.pk), _act("mfa_remove_webauthn", "Remove", pk=key.pk)
        )
        ways.append(Way("Passkey", parts.text(key.wrap().name, used), acts))
    if passkeys_work(request):
        words = parts.text("Add another" if found else "None", "Your finger, face or PIN instead of a password.")
        ways.append(Way("Passkeys", words, _act("mfa_add_webauthn", "Add a passkey")))
    elif not found:
        why = "Browsers make them for names over https, or for localhost: open the console by such an address."
        ways.append(Way("Passkeys", parts.text(parts.none("not at this address", "Not here"), why)))
    return ways


def _codes(person: Person) -> Way:
    found = Authenticator.objects.filter(user=person, type=Authenticator.Type.RECOVERY_CODES).first()
    if found is None:
        return Way("Recovery codes", parts.text("None", "They come with the first second factor."))
    left = len(found.wrap().get_unused_codes())
    state = parts.status("warn", f"{left} left") if left < 4 else f"{left} left"
    return Way(
        "Recovery codes",
        parts.text(state, "For the day the phone is gone. Each works once."),
        _act("mfa_generate_recovery_codes", "Make new ones"),
    )


def _sso(request: PageRequest) -> list[Way]:
    linked = signin.linked_accounts(person=request.person)
    ways = []
    providers = {provider.sub_id: provider for provider in get_adapter().list_providers(request)}
    for account_ in linked:
        provider = providers.pop(account_.provider, None)
        known = account_.extra_data.get("userinfo", {})
        name = known.get("email") or known.get("preferred_username") or account_.uid
        unlink = format_html(
            '<form method="post" action="{}"><input type="hidden" name="csrfmiddlewaretoken" value="{}">'
            '<input type="hidden" name="account" value="{}"><button class="small">Unlink</button></form>',
            reverse("socialaccount_connections"),
            get_token(request),
            account_.pk,
        )
        ways.append(Way(provider.name if provider else account_.provider, parts.text("Linked", str(name)), unlink))
    for provider in providers.values():
        link = format_html(
            '<a class="button small" href="{}">Link</a>', provider.get_login_url(request, process="connect")
        )
        ways.append(Way(provider.name, parts.text("Not linked", "Single sign-on."), link))
    return ways


def _sessions_table(request: PageRequest, sessions: list[UserSession]) -> Table:
    now = timezone.now()
    here = signin_sessions.session_digest(request.session.session_key or "")
    rows = []
    for session in sessions:
        end = format_html(
            '<form method="post" action="{}"><input type="hidden" name="csrfmiddlewaretoken" value="{}">'
            '<button class="small">Sign out</button></form>',
            reverse("console:account_session_end", kwargs={"pk": session.pk}),
            get_token(request),
        )
        current = session.session_key == here
        rows.append(
            Row(
                [
                    parts.text(browser_name(session.user_agent), f"from {session.ip}"),
                    parts.tag("this browser", "accent") if current else end,
                    parts.moment(session.last_seen_at, now),
                    parts.moment(session.created_at, now),
                ]
            )
        )
    return Table(
        caption="Sessions",
        columns=[Column("Browser", "lead"), Column("", "second"), Column("Last used"), Column("Signed in")],
        rows=rows,
        empty=Empty("No session", "You are signed in nowhere."),
    )
