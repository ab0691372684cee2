"""Uwe and Carla of Acme at their own terminals, Tina at the provider's; the API behind them is the real one."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from django.test import Client as Browser

from forestall.cli.client import Api, ApiError
from forestall.cli.errors import CommandError
from forestall.cli.main import cli
from forestall.server.people.services import token_create
from forestall.server.tickets.tests.portal_story import PortalStory

CANARY = "CANARY-09aa-internal"


@pytest.fixture
def sit(db, monkeypatch):
    """``sit(person)``: who sits at the terminal."""
    story = PortalStory()
    tokens: dict[int, str] = {}

    def at(person):
        token = tokens.setdefault(person.pk, token_create(person=person, name="terminal"))

        def raw(self: Api, method: str, path: str, body: object = None, **_: object) -> bytes:
            more = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
            answer = Browser().generic(method, f"/api/v1{path}", headers={"authorization": f"Bearer {token}"}, **more)
            if answer.status_code >= 400:
                raise ApiError(answer.status_code, answer.json()["detail"])
            return answer.content

        monkeypatch.setattr(Api, "raw", raw)
        monkeypatch.setattr(Api, "connect", classmethod(lambda cls: cls(url="http://here", token=token)))

    at.story = story
    return at


def run(*arguments: str):
    return CliRunner().invoke(cli, arguments, standalone_mode=False, env={"COLUMNS": "200"})


def said(*arguments: str) -> str:
    done = run(*arguments)
    assert done.exception is None, done.exception
    return done.output


def test_from_a_request_to_its_rating(sit):
    story = sit.story
    sit(story.uwe)
    said("portal", "tickets", "--open", "Blank pages", "--urgency", "one", "--site", "Munich")
    number = str(json.loads(said("portal", "tickets", "--json"))[0]["number"])
    assert "received" in said("portal", "tickets")
    sit(story.tina)
    told = said("tickets", number, "--comment", f"{CANARY}: worn out", "--to-client", "On it.")
    assert f"internal note: {CANARY}: worn out" in told, "nobody has to guess who reads it"
    assert "to the client: On it." in told
    said("tickets", number, "--ask-approval", "Replace it?", "--what", "A new one.", "--cost", "390 EUR", "--days", "2")
    sit(story.carla)
    shown = said("portal", "tickets", number, "--approve", "--reason", "Yes.")
    assert "Approved: Replace it?" in shown
    assert "Tina Tauber" in shown
    assert CANARY not in shown
    sit(story.tina)
    said("tickets", number, "--resolve", "It prints.")
    sit(story.uwe)
    assert "Rated 5 of 5: quick" in said("portal", "tickets", number, "--rate", "5", "--because", "quick")
    assert "Not done yet: blank again" in said("portal", "tickets", number, "--reopen", "blank again")
    assert "thanks" in said("portal", "tickets", number, "--comment", "thanks")


def test_devices_and_windows(sit):
    story = sit.story
    story.report("fail")
    sit(story.carla)
    out = said("portal", "devices")
    assert "web-01" in out
    assert "has a fault" in out
    assert "leeds-01" not in out
    assert "No work at your sites is planned." in said("portal", "windows")


def test_staff_open_a_ticket_by_hand(sit):
    sit(sit.story.tina)
    out = said("tickets", "--open", "Call from reception", "--device", "reception-pc", "--for", "ulla")
    assert "Call from reception" in out
    listed = said("tickets")
    assert "reception-pc" in listed
    said("tickets", "--open", "Question", "--site", "Lab", "--urgency", "question")
    assert "Lab" in said("tickets")


@pytest.mark.parametrize(
    "arguments",
    [
        ("portal", "tickets", "--approve"),
        ("portal", "tickets", "12", "--open", "x"),
        ("portal", "windows", "--approve"),
        ("tickets", "12", "--ask-approval", "x"),
        ("tickets", "12", "--open", "x"),
    ],
)
def test_what_does_not_go_together_is_said(sit, arguments):
    sit(sit.story.carla)
    assert run(*arguments).exception is not None


def test_a_name_that_is_none_is_said_with_those_that_are(sit):
    sit(sit.story.uwe)
    done = run("portal", "tickets", "--open", "x", "--site", "Leeds")
    assert isinstance(done.exception, CommandError)
    assert "known: Lab, Munich" in str(done.exception)
