"""Alice looks after people from a terminal; the API behind it is the real one, asked without a socket."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner
from django.test import Client as Browser

from forestall.cli.client import Api, ApiError
from forestall.cli.main import cli
from forestall.server.people.models import CustomRole, Grant, Person
from forestall.server.people.roles import Role
from forestall.server.people.services import client_create, person_create, site_create, token_create


@pytest.fixture
def alice(db, monkeypatch) -> Person:
    person = person_create(username="alice", password="a long password", role=Role.OWNER)
    token = token_create(person=person, name="terminal")
    browser = Browser(raise_request_exception=False)

    def raw(self: Api, method: str, path: str, body: object = None, **_: object) -> bytes:
        more = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        answer = browser.generic(method, f"/api/v1{path}", headers={"authorization": f"Bearer {token}"}, **more)
        if answer.status_code >= 400:
            raise ApiError(answer.status_code, answer.json()["detail"])
        return answer.content

    monkeypatch.setattr(Api, "raw", raw)
    monkeypatch.setattr(Api, "connect", classmethod(lambda cls: cls(url="http://here", token=token)))
    acme = client_create(name="Acme", timezone="UTC")
    site_create(client=acme, name="Munich")
    return person


def run(*arguments: str):
    return CliRunner().invoke(cli, arguments, standalone_mode=False, env={"COLUMNS": "200"})


def said(*arguments: str) -> str:
    done = run(*arguments)
    assert done.exception is None, done.exception
    return done.output


def test_whoever_gets_a_portal_role_is_the_clients_own_person(alice):
    assert "carla is made: client manager at Acme." in said(
        "people", "invite", "carla", "--role", "client manager", "--client", "Acme"
    )
    assert str(Person.objects.get(username="carla").home_client) == "Acme"


def test_somebody_is_invited_given_a_role_asked_about_and_switched_off(alice):
    out = said("people", "invite", "bob", "--called", "Bob Brown", "--role", "auditor", "--client", "Acme")
    assert "bob is made: auditor at Acme." in out
    assert re.search(r"http://testserver/accounts/password/reset/key/\S+", out)
    assert run("people", "why", "bob", "ticket.work", "--client", "Acme", "--site", "Munich").return_value == 1
    given = said("people", "give", "bob", "on-call", "--client", "Acme", "--site", "Munich", "--until", "2099-01-31")
    assert given == "bob is on-call at Acme, Munich from their next request on.\n"
    done = run("people", "why", "bob", "ticket.work", "--client", "Acme", "--site", "Munich")
    assert done.return_value == 0
    assert "on-call (Acme, Munich) gives it" in done.output
    assert "on-call at Acme, Munich" in said("people", "show", "bob")
    assert "2099-01-31 23:59 UTC" in said("grants", "--person", "bob")
    number = str(Grant.objects.get(role="on_call").pk)
    assert said("grants", "--until", number, "never") == f"Grant {number} ends never by itself.\n"
    assert "no longer on-call" in said("people", "take", "bob", "on-call", "--client", "Acme", "--site", "Munich")
    assert said("people", "off", "bob", "--tickets-to", "alice") == (
        "bob is switched off; 0 open tickets went to alice.\n"
    )
    assert "bob" in said("people", "list", "--state", "inactive")
    assert "auditor at Acme" in said("people", "on", "bob")
    said("people", "change", "bob", "--email", "bob@example.org")
    assert Person.objects.get(username="bob").email == "bob@example.org"
    shown = said("people", "password", "bob", "--shown").split()[-1]
    assert Person.objects.get(username="bob").check_password(shown)
    assert said("people", "reset-factors", "bob").startswith("0 taken from bob")


def test_tokens_and_sessions_of_others(alice):
    assert "terminal" in said("people", "tokens", "alice")
    bob = person_create(username="bob", password="a long password", role=Role.AUDITOR)
    token_create(person=bob, name="script")
    said("people", "tokens", "bob", "--revoke", str(bob.api_tokens.get().pk))
    assert bob.api_tokens.get().revoked_at
    assert "signed in nowhere" in said("people", "sessions", "bob")
    assert said("people", "sessions", "bob", "--end") == "0 sessions of bob have ended.\n"


def test_roles_of_ones_own(alice):
    assert "service manager" in said("roles")
    assert "ticket.work" in said("roles", "permissions")
    assert "nobody holds it yet" in said("roles", "create", "Night watch", "--may", "ticket.view")
    said("roles", "change", "night watch", "--add", "ticket.work", "--remove", "ticket.view")
    assert CustomRole.objects.get().permissions == ["ticket.work"]
    compared = said("roles", "show", "Night watch", "--compare", "technician")
    assert len(re.findall("ticket.work +● +●", compared)) == 1
    said("roles", "factor", "Night watch", "on")
    assert CustomRole.objects.get().policy.mfa_required
    assert said("roles", "delete", "Night watch") == "Night watch is deleted.\n"


def test_the_access_review_is_saved(alice, tmp_path):
    said("grants", "--csv", str(tmp_path / "review.csv"))
    assert "alice" in (tmp_path / "review.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("people", "show", "nobody"), "you see nobody called 'nobody'"),
        (("people", "give", "alice", "auditor", "--client", "Bolt"), "no client is called 'Bolt'; known: Acme"),
        (("people", "give", "alice", "auditor", "--site", "Munich"), "--site needs --client"),
        (("people", "give", "alice", "auditor", "--until", "soon"), "'soon' is no date"),
        (("people", "give", "alice", "auditor"), "cannot give roles to themselves"),
        (("people", "take", "alice", "auditor"), "has: owner everywhere"),
        (("people", "take", "alice", "owner"), "last owner"),
        (("people", "invite", "bob"), "without_grant"),
        (("roles", "show", "king"), "no role is called 'king'"),
        (("roles", "change", "technician", "--remove", "people.view"), "people.view is not in technician"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_value(alice, arguments, words):
    done = run(*arguments)
    assert words in str(done.exception.format_message()), done.exception
