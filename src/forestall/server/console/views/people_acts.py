"""What is done with people: each act says in words what will happen, and happens on the second press.

All of it asks first who sits there, when that was proved more than 15 min ago.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.shell import render_page
from forestall.server.console.views.people import (
    grant_said,
    place_chosen,
    places_to_choose,
    role_chosen,
    roles_to_choose,
    when,
)
from forestall.server.people import grants, persons, queries
from forestall.server.people.models import ApiToken, Grant, Person
from forestall.server.people.roles import PERMISSION_WORDS
from forestall.server.people.rules import PeopleError
from forestall.server.people.scope import NotAllowedError, Permission, Scope
from forestall.server.people.signin_sessions import sessions_of
from forestall.server.tickets.handover import person_leave, tickets_owned
from forestall.server.tickets.services import TicketError

acting = page(permission=Permission.PEOPLE_CHANGE, methods=("GET", "HEAD", "POST"), fresh=True)
REFUSALS = (PeopleError, TicketError, NotAllowedError)


class GiveForm(forms.Form):
    """A role, a place, an end."""

    role = forms.ChoiceField(label="Role")
    place = forms.ChoiceField(label="Where")
    until = forms.DateTimeField(
        label="Until",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
        help_text="In UTC. Empty: for good.",
    )

    def __init__(self, scope: Scope, one: Person | None, *args: Any, needed: bool = True, **more: Any) -> None:
        super().__init__(*args, **more)
        portal = None if one is None else one.home_client_id is not None
        empty = [] if needed else [("", "No role yet")]
        places = places_to_choose(scope, by=Permission.PEOPLE_CHANGE)
        if one is not None and one.home_client is not None:
            own = {f"client:{one.home_client_id}", *(f"site:{site.pk}" for site in one.home_client.sites.all())}
            places = [(value, said) for value, said in places if value in own]
        _choices(self, "role", [*(empty or [("", "Choose a role")]), *roles_to_choose(scope, portal=portal)])
        _choices(self, "place", [("", "Choose where"), *places])
        self.fields["role"].required = self.fields["place"].required = needed

    def clean(self) -> dict[str, Any]:
        said: dict[str, Any] = super().clean() or {}
        # Never everywhere because nobody chose.
        if said.get("role") and not said.get("place") and "place" not in self.errors:
            self.add_error("place", "Choose where the role counts.")
        return said


class InviteForm(GiveForm):
    """Somebody new, and their first role."""

    username = forms.CharField(label="User name", max_length=80, help_text="Letters a-z, digits, . _ @ + -")
    display_name = forms.CharField(label="Name", max_length=150, required=False)
    email = forms.EmailField(label="E-mail", required=False, help_text="By which they can reset their password.")
    home_client = forms.ChoiceField(
        label="Person of",
        required=False,
        help_text="A client's own person can only have portal roles, at that client.",
    )
    field_order = ("username", "display_name", "email", "home_client", "role", "place", "until")

    def __init__(self, scope: Scope, *args: Any, **more: Any) -> None:
        super().__init__(scope, None, *args, needed=False, **more)
        clients = [(str(client.pk), client.name) for client in queries.clients(scope=scope)]
        _choices(self, "home_client", [("", "The provider"), *clients])


class ChangeForm(forms.Form):
    """How somebody is called and reached."""

    display_name = forms.CharField(label="Name", max_length=150, required=False)
    email = forms.EmailField(label="E-mail", required=False, help_text="By which they can reset their password.")


class EndForm(forms.Form):
    """When a role ends."""

    until = forms.DateTimeField(
        label="Until",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
        help_text="In UTC. Empty: for good.",
    )


class LeaveForm(forms.Form):
    """Who takes over."""

    successor = forms.ChoiceField(label="Their open tickets go to", required=False)


def _choices(form: forms.Form, name: str, choices: Sequence[tuple[str, str]]) -> None:
    field = form.fields[name]
    assert isinstance(field, forms.ChoiceField)  # noqa: S101 - the forms above
    field.choices = choices


def ask(
    request: PageRequest,
    *,
    title: str,
    crumbs: parts.Html,
    button: str,
    sentence: parts.Html = "",
    told: str = "",
    lines: Sequence[parts.Html] = (),
    form: forms.Form | None = None,
    hidden: Sequence[tuple[str, str]] = (),
    back: str,
    refused: str = "",
    secret: str = "",
    section: str = "people",
) -> HttpResponse:
    """A step: what will happen, what is still to be said, and one button named by what it does."""
    context = {
        "crumbs": crumbs,
        "sentence": sentence,
        "told": told,
        "lines": lines,
        "form": form,
        "hidden": hidden,
        "button": button,
        "back": back,
        "refused": refused,
        "secret": secret,
    }
    answer = render_page(request, "ask", context, section=section, title=title, live=False)
    answer["Cache-Control"] = "no-store"
    return answer


def _crumbs(one: Person, what: str) -> parts.Html:
    return format_html('<a href="/people/">People</a> › <a href="/people/{}/">{}</a> › {}', one.pk, one.username, what)


def _seen(request: PageRequest, person_id: int) -> Person:
    return queries.persons(scope=request.scope).select_related("home_client").get(pk=person_id)


def refusal_words(error: Exception) -> str:
    said = str(error)
    if isinstance(error, NotAllowedError):
        where = f" at {error.where}" if error.where else ""
        return f"That exceeds what you may: you lack “{PERMISSION_WORDS[error.permission]}”{where}."
    return f"{said[:1].upper()}{said[1:]}."


def _done(request: PageRequest, said: parts.Html, path: str) -> HttpResponse:
    messages.success(request, said)
    return HttpResponseRedirect(path)


def powers_in_words(permissions: Sequence[Permission]) -> list[str]:
    return [PERMISSION_WORDS[one] for one in permissions]


# --- roles of a person ------------------------------------------------------------------------------------------


@acting
def give(request: PageRequest, person_id: int) -> HttpResponse:
    """Give a role: choose, read what they gain, press."""
    scope, now, one = request.scope, timezone.now(), _seen(request, person_id)
    path = f"/people/{one.pk}/"
    step: dict[str, Any] = {"title": f"Give {one.username} a role", "crumbs": _crumbs(one, "Give a role"), "back": path}
    if request.method != "POST":
        form = GiveForm(scope, one, initial={name: request.GET.get(name, "") for name in ("role", "place", "until")})
        return ask(request, form=form, button="Go on", **step)
    form = GiveForm(scope, one, request.POST)
    if not form.is_valid():
        return ask(request, form=form, button="Go on", **step)
    wanted = _wanted(form, scope)
    try:
        if "sure" in request.POST:
            made = grants.grant_give(person=one, scope=scope, now=now, **wanted)
            undo = parts.link(f"{path}roles/{made.pk}/take", "Take it back")
            said = format_html("{} is {}, from their next click on. {}", one.username, grant_said(made), undo)
            return _done(request, said, path)
        proposed = grants.grant_proposed(person=one, scope=scope, now=now, **wanted)
    except REFUSALS as error:
        return ask(request, form=form, button="Go on", refused=refusal_words(error), **step)
    gained = powers_in_words(grants.only_by(proposed, now=now))
    sentence = f"{one.username} will be {grant_said(proposed)}, from their next click on."
    return ask(
        request,
        sentence=sentence,
        told="New, at that place:" if gained else "Nothing new: other roles of theirs give it already.",
        lines=gained,
        hidden=[*((name, request.POST.get(name, "")) for name in ("role", "place", "until")), ("sure", "yes")],
        button=f"Make {one.username} {proposed.role_name}",
        **step,
    )


def _wanted(form: GiveForm, scope: Scope) -> dict[str, Any]:
    client, site = place_chosen(form.cleaned_data["place"], scope)
    return {
        "role": role_chosen(form.cleaned_data["role"], scope),
        "client": client,
        "site": site,
        "until": form.cleaned_data["until"],
    }


def _grant(request: PageRequest, one: Person, grant_id: int) -> Grant:
    return queries.grants(scope=request.scope).get(pk=grant_id, person=one)


@acting
def take(request: PageRequest, person_id: int, grant_id: int) -> HttpResponse:
    """Take a role away: read what they lose, press."""
    scope, now, one = request.scope, timezone.now(), _seen(request, person_id)
    grant, path = _grant(request, one, grant_id), f"/people/{one.pk}/"
    said, refused = grant_said(grant), ""
    lost = powers_in_words(grants.only_by(grant, now=now))
    if request.method == "POST":
        again = {
            "role": grant.role or str(grant.custom_id),
            "place": f"site:{grant.site_id}"
            if grant.site_id
            else f"client:{grant.client_id}"
            if grant.client_id
            else "all",
            "until": f"{grant.until.astimezone(UTC):%Y-%m-%dT%H:%M}" if grant.until else "",
        }
        try:
            grants.grant_take(grant=grant, scope=scope, now=now)
        except REFUSALS as error:
            refused = refusal_words(error)
        else:
            back = parts.link(f"{path}give?{urlencode(again)}", "Give it back")
            return _done(request, format_html("{} is no longer {}. {}", one.username, said, back), path)
    return ask(
        request,
        title=f"Take a role from {one.username}",
        crumbs=_crumbs(one, "Take away"),
        sentence=f"{one.username} will no longer be {said}, from their next click on.",
        told="Loses, at that place:" if lost else "Loses nothing: other roles of theirs give it too.",
        lines=lost,
        button=f"Take {grant.role_name} from {one.username}",
        back=path,
        refused=refused,
    )


@acting
def end(request: PageRequest, person_id: int, grant_id: int) -> HttpResponse:
    """Move the end of a role."""
    scope, now, one = request.scope, timezone.now(), _seen(request, person_id)
    grant, path, refused = _grant(request, one, grant_id), f"/people/{one.pk}/", ""
    form = EndForm(request.POST) if request.method == "POST" else EndForm(initial={"until": grant.until})
    if request.method == "POST" and form.is_valid():
        until = form.cleaned_data["until"]
        try:
            grants.grant_change(grant=grant, until=until, scope=scope, now=now)
        except REFUSALS as error:
            refused = refusal_words(error)
        else:
            ends = f"ends on {when(until)}" if until else "does not end by itself"
            return _done(request, f"{one.username} as {grant_said(grant, with_end=False)}: {ends}.", path)
    return ask(
        request,
        title=f"When {one.username} stops being {grant.role_name}",
        crumbs=_crumbs(one, "Move end"),
        sentence=f"{one.username} is {grant_said(grant)}{'' if grant.until else ', for good'}.",
        form=form,
        button="Move the end",
        back=path,
        refused=refused,
    )


# --- the person -------------------------------------------------------------------------------------------------


@acting
def invite(request: PageRequest) -> HttpResponse:
    """Somebody new; their page then offers the first password."""
    scope, now, refused = request.scope, timezone.now(), ""
    form = InviteForm(scope, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        said = form.cleaned_data
        home = said["home_client"]
        try:
            first = [persons.FirstGrant(**_wanted(form, scope))] if said["role"] else []
            made = persons.person_invite(
                username=said["username"],
                display_name=said["display_name"],
                email=said["email"],
                home_client=queries.clients(scope=scope).get(pk=home) if home else None,
                grants=first,
                without_grant=not first,
                scope=scope,
                now=now,
            )
        except REFUSALS as error:
            refused = refusal_words(error)
        else:
            return _done(request, f"{made.username} is made. Now they need a password.", f"/people/{made.pk}/password")
    return ask(
        request,
        title="Invite somebody",
        crumbs=SafeString('<a href="/people/">People</a> › Invite'),
        sentence="You can give what you hold yourself. They choose their password by a link that is good once.",
        form=form,
        button="Make this person",
        back="/people/",
        refused=refused,
    )


@acting
def change(request: PageRequest, person_id: int) -> HttpResponse:
    """How somebody is called and reached."""
    one, refused = _seen(request, person_id), ""
    kept = {"display_name": one.display_name, "email": one.email}
    form = ChangeForm(request.POST) if request.method == "POST" else ChangeForm(initial=kept)
    if request.method == "POST" and form.is_valid():
        try:
            persons.person_change(person=one, scope=request.scope, now=timezone.now(), **form.cleaned_data)
        except REFUSALS as error:
            refused = refusal_words(error)
        else:
            return _done(request, f"{one.username} is changed.", f"/people/{one.pk}/")
    return ask(
        request,
        title=f"Change {one.username}",
        crumbs=_crumbs(one, "Change"),
        form=form,
        button="Save",
        back=f"/people/{one.pk}/",
        refused=refused,
    )


@acting
def off(request: PageRequest, person_id: int) -> HttpResponse:
    """Switch somebody off, and hand over their open tickets in the same step."""
    scope, now, one, refused = request.scope, timezone.now(), _seen(request, person_id), ""
    path = f"/people/{one.pk}/"
    tickets = list(tickets_owned(person=one, scope=scope).order_by("number"))
    form = LeaveForm(request.POST if request.method == "POST" else None)
    able = _successors(one, tickets, scope, now)
    _choices(
        form, "successor", [("", "Nobody yet: their name stays on them"), *((p.username, p.username) for p in able)]
    )
    if request.method == "POST" and form.is_valid():
        chosen = next((p for p in able if p.username == form.cleaned_data["successor"]), None)
        try:
            given = person_leave(person=one, successor=chosen, scope=scope, now=now)
        except REFUSALS as error:
            refused = refusal_words(error)
        else:
            handed = f" {words.plural(given, 'ticket')} went to {chosen.username}." if chosen and given else ""
            back = parts.link(f"{path}on", "Switch on again")
            return _done(request, format_html("{} is switched off.{} {}", one.username, handed, back), path)
    held = queries.grants(scope=scope, now=now).filter(person=one)
    sessions = len(sessions_of(person=one))
    live = one.api_tokens.filter(revoked_at=None).count()
    lines: list[parts.Html] = [
        f"Cannot sign in; {words.plural(sessions, 'open session')} {words.does(sessions, 'end')}.",
        f"{words.plural(live, 'API token')} of theirs {words.does(live, 'open')} nothing.",
        f"Keeps, for when they come back: {words.listing([grant_said(grant) for grant in held], 5) or 'no role'}.",
    ]
    lines += [
        format_html('Owns <a href="/tickets/{}/">#{} {}</a>', one_.number, one_.number, one_.title)
        for one_ in tickets[:10]
    ]
    if len(tickets) > 10:
        lines.append(f"Owns {len(tickets) - 10} more open tickets")
    return ask(
        request,
        title=f"Switch {one.username} off",
        crumbs=_crumbs(one, "Switch off"),
        sentence=f"{one.username} will reach nothing from their next click on.",
        lines=lines,
        form=form if tickets else None,
        button=f"Switch {one.username} off",
        back=path,
        refused=refused,
    )


def _successors(one: Person, tickets: Sequence[Any], scope: Scope, now: datetime) -> list[Person]:
    """Who can work on every one of these tickets."""
    able: list[Person] | None = None
    seen = set(queries.persons(scope=scope).values_list("pk", flat=True))
    for client_id, site_id in {(ticket.client_id, ticket.site_id) for ticket in tickets}:
        here = queries.holders(permission=Permission.TICKET_WORK, client=client_id, site=site_id, now=now)
        able = [person for person in here if able is None or person in able]
    return [person for person in able or () if person != one and person.pk in seen]


@acting
def on(request: PageRequest, person_id: int) -> HttpResponse:
    """Switch somebody on again, with the roles they still have."""
    scope, now, one, refused = request.scope, timezone.now(), _seen(request, person_id), ""
    if request.method == "POST":
        try:
            persons.person_activate(person=one, scope=scope, now=now)
        except REFUSALS as error:
            refused = refusal_words(error)
        else:
            return _done(request, f"{one.username} is switched on.", f"/people/{one.pk}/")
    held = queries.grants(scope=scope, now=now).filter(person=one)
    return ask(
        request,
        title=f"Switch {one.username} on",
        crumbs=_crumbs(one, "Switch on"),
        sentence=f"{one.username} can sign in again, with the password and second factor they had.",
        lines=[f"Will be {grant_said(grant)}" for grant in held] or ["Will have no role."],
        button=f"Switch {one.username} on",
        back=f"/people/{one.pk}/",
        refused=refused,
    )


@acting
def password(request: PageRequest, person_id: int) -> HttpResponse:
    """A link by which they choose a password; or, where no link can reach them, a password shown once."""
    scope, now, one = request.scope, timezone.now(), _seen(request, person_id)
    path, refused, secret, sentence = f"/people/{one.pk}/", "", "", ""
    if request.method == "POST":
        try:
            if "shown" in request.POST:
                secret = persons.password_show(person=one, scope=scope, now=now)
                sentence = f"The password of {one.username}, shown only now. Their sessions have ended."
            else:
                link = persons.password_link(person=one, scope=scope, now=now)
                secret = request.build_absolute_uri(link)
                sentence = f"Send {one.username} this link. It is good once, for an hour, and shown only now."
        except REFUSALS as error:
            refused = refusal_words(error)
    return ask(
        request,
        title=f"A password for {one.username}",
        crumbs=_crumbs(one, "Password"),
        sentence=sentence or f"{one.username} chooses a password by a link that is good once, for an hour.",
        button="" if secret else "Make a link",
        back=path,
        refused=refused,
        secret=secret,
    )


@acting
def reset_factors(request: PageRequest, person_id: int) -> HttpResponse:
    """Take away second factors that somebody lost."""
    scope, now, one, refused = request.scope, timezone.now(), _seen(request, person_id), ""
    if request.method == "POST":
        try:
            persons.factors_reset(person=one, scope=scope, now=now)
        except REFUSALS as error:
            refused = refusal_words(error)
        else:
            return _done(request, f"{one.username} has no second factor now.", f"/people/{one.pk}/")
    return ask(
        request,
        title=f"Take away the second factors of {one.username}",
        crumbs=_crumbs(one, "Second factors"),
        sentence="For somebody who lost their phone or key. Make sure by another way that it is them who asks.",
        lines=[
            "Authenticator app, passkeys and recovery codes are gone for good.",
            "Every session of theirs ends. They sign in with the password alone.",
            "If a role of theirs asks for a second factor, they set one up before anything else.",
        ],
        button="Take them away",
        back=f"/people/{one.pk}/",
        refused=refused,
    )


@page(permission=Permission.PEOPLE_CHANGE, methods=("POST",), fresh=True)
def end_sessions(request: PageRequest, person_id: int) -> HttpResponse:
    """Sign somebody out everywhere."""
    one = _seen(request, person_id)
    try:
        number = persons.sessions_end(person=one, scope=request.scope, now=timezone.now())
    except REFUSALS as error:
        messages.error(request, refusal_words(error))
        return HttpResponseRedirect(f"/people/{one.pk}/")
    return _done(request, f"{words.plural(number, 'session')} of {one.username} ended.", f"/people/{one.pk}/")


@acting
def token_revoke(request: PageRequest, person_id: int, token_id: int) -> HttpResponse:
    """Revoke a token of somebody's."""
    scope, now, one, refused = request.scope, timezone.now(), _seen(request, person_id), ""
    if not queries.sees_whole(one, scope=scope, now=now):
        raise ApiToken.DoesNotExist
    token = ApiToken.objects.select_related("person").get(pk=token_id, person=one)
    if request.method == "POST":
        try:
            persons.token_revoke(token=token, scope=scope, now=now)
        except REFUSALS as error:
            refused = refusal_words(error)
        else:
            return _done(request, f"The token {token.name} opens nothing any more.", f"/people/{one.pk}/")
    return ask(
        request,
        title=f"Revoke the token {token.name}",
        crumbs=_crumbs(one, "Revoke a token"),
        sentence=f"What signs in with {token.name} as {one.username} is refused from its next request on, for good.",
        button="Revoke the token",
        back=f"/people/{one.pk}/",
        refused=refused,
    )
