"""Ada takes on a client from a terminal; the API behind it is the real one, asked without a socket."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from django.test import Client as Browser

from forestall.cli.client import Api, ApiError
from forestall.cli.clients import minutes
from forestall.cli.errors import CommandError
from forestall.cli.main import cli
from forestall.server.alerts import routes
from forestall.server.calendar.models import MaintenanceWindow
from forestall.server.people.models import Client, Contact, Grant, Person, Site
from forestall.server.people.roles import Role
from forestall.server.people.scope import Scope
from forestall.server.people.services import client_create, site_create, token_create
from forestall.server.tickets.sla_models import SlaTier

SYSTEM = Scope.system("test")


@pytest.fixture
def ada(db, monkeypatch) -> Person:
    person = Person.objects.create(username="ada", password="!")
    Grant.objects.create(person=person, role=Role.OWNER)
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
    SlaTier.objects.get_or_create(slug="standard", defaults={"name": "Standard"})
    site_create(client=client_create(name="Acme", timezone="Europe/Berlin"), name="Munich")
    return person


def run(*arguments: str, answer: str = ""):
    return CliRunner().invoke(cli, arguments, standalone_mode=False, env={"COLUMNS": "200"}, input=answer)


def said(*arguments: str, answer: str = "") -> str:
    done = run(*arguments, answer=answer)
    assert done.exception is None, done.exception
    return done.output


def refused(*arguments: str) -> str:
    done = run(*arguments)
    assert done.exception is not None, done.output
    return str(done.exception)


def test_a_client_is_taken_on_placed_and_shown(ada):
    assert "Cove is a client" in said("clients", "Cove", "--create", "--timezone", "Europe/London", "--country", "GB")
    place = ("--timezone", "Europe/Berlin", "--country", "DE", "--region", "BY")
    assert "Europe/Berlin DE BY" in said("clients", "Cove", *place, "--model", "hourly", "--reference", "C-1")
    assert "Who works" in said("clients", "C-1")
    found = json.loads(said("clients", "Cove", "--json"))
    assert (found[0]["region"], found[0]["overview"]["devices"]) == ("BY", 0)
    listed = said("clients")
    assert "Acme" in listed
    assert "Europe/Atlantis" in refused("clients", "Cove", "--timezone", "Europe/Atlantis")
    assert "no client is called 'Nobody'" in refused("clients", "Nobody")
    assert "name the client" in refused("clients", "--timezone", "UTC")


def test_sites_and_contacts_of_a_client(ada):
    assert said("sites", "Acme", "Leeds", "--add", "--timezone", "Europe/London") == "Leeds of Acme: Europe/London.\n"
    said("sites", "Acme", "Leeds", "--country", "GB", "--rename", "Leeds 1")
    site = Site.objects.visible_to(SYSTEM).get(name="Leeds 1")
    assert (site.country, site.timezone) == ("GB", "Europe/London")
    assert "Leeds 1" in said("sites", "Acme")
    said("contacts", "Acme", "Bea Berg", "--add", "--phone", "+49 89 1", "--site", "Munich")
    said("contacts", "Acme", "Jan", "--add", "--primary")
    assert "Jan (first)" in said("contacts")
    assert "nothing was changed" in refused("contacts", "Acme", "Bea Berg", "--forget")
    assert "no contact any more" in said("contacts", "Acme", "Bea Berg", "--forget", answer="y\n")
    assert [one.name for one in Contact.objects.visible_to(SYSTEM).all()] == ["Jan"]
    assert "no one contact called 'Bea Berg'" in refused("contacts", "Acme", "Bea Berg")


def test_hours_are_set_by_days_and_a_day_is_closed(ada):
    out = said("hours", "Acme", "--set", "mon-thu=08:00-12:00,13:00-17:00", "--set", "fri=08:00-14:00")
    assert "08:00 to 12:00, 13:00 to 17:00" in out
    assert json.loads(said("hours", "Acme", "--json"))["hours"]["friday"] == [["08:00", "14:00"]]
    assert "stocktaking" in said("hours", "Acme", "--close", "2099-12-28", "--why", "stocktaking")
    assert "stocktaking" not in said("hours", "Acme", "--open", "2099-12-28")
    assert "has no country" in said("hours", "Acme", "--holidays", "2026")
    assert "'xyz' is no weekday" in refused("hours", "Acme", "--set", "xyz=08:00-09:00")
    assert "hours.monday[0]" in refused("hours", "Acme", "--set", "mon=8-9")
    assert "needs --why" in refused("hours", "Acme", "--close", "2099-12-28")


def test_a_window_is_planned_found_changed_and_ended(ada):
    plan = ("windows", "Patches", "--plan", "--client", "Acme", "--site", "Munich", "--first", "2026-11-01",
            "--at", "02:30", "--lasts", "1h30")  # fmt: skip
    out = said(*plan, "--every", "su,we")
    assert "every Wednesday and Sunday from 02:30 for 1 h 30 min, Europe/Berlin" in out
    assert "Patches" in said("windows", "--client", "Acme")
    assert "on the second Tuesday of each month" in said("windows", "Patches", "--monthly", "2-tu")
    assert "no answer of the client yet" in said("windows", "Patches", "--ask")
    listed = said("windows", "--client", "Acme")
    assert "Only proposed" in listed
    assert "waits for an answer" in listed
    assert "nothing was changed" in refused("windows", "Patches", "--end")
    assert "Ended by ada." in said("windows", "Patches", "--end", "--yes")
    assert MaintenanceWindow.objects.visible_to(SYSTEM).exclude(ended_at=None).count() == 1
    assert "'fr,xx'" in refused(*plan, "--every", "fr,xx")
    assert "--monthly '9-tu'" in refused(*plan, "--monthly", "9-tu")
    assert "exclude each other" in refused(*plan, "--every", "day", "--rule", "FREQ=DAILY")
    assert "no window is called 'Nothing'" in refused("windows", "Nothing")


def test_tiers_and_what_one_client_agreed_on(ada):
    assert said("sla", "gold", "--create", "--urgent", "30min/4h").startswith("Gold: urgent 30 min, 4 h; standard 8 h")
    said("clients", "Acme", "--tier", "gold")
    assert "agreed with it" in said("sla", "--client", "Acme", "--low", "1h/8h")
    assert "agreed with it" not in said("sla", "--client", "Acme", "--usual", "low")
    assert "in use: Acme" in refused("sla", "gold", "--remove", "--yes")
    assert "gold" in said("sla")
    assert "expected two times" in refused("sla", "gold", "--urgent", "4h")
    said("clients", "Acme", "--tier", "standard")
    assert "is gone" in said("sla", "gold", "--remove", "--yes")


def test_routes_are_tried_for_real_and_rules_say_who_gets_a_ticket(ada, monkeypatch):
    sent: list[str] = []
    monkeypatch.setattr(routes.route_test, "__kwdefaults__", {"send": lambda url, *_: sent.append(url) or True})
    out = said("routes", "pager", "--add", "json://u:hunter2secret@h/", "--client", "Acme", "--risk", "high")
    assert "hunter2secret" not in out
    assert "delivered to" in said("routes", "pager", "--test")
    assert sent == ["json://u:hunter2secret@h/"]
    assert "pager is off" in said("routes", "pager", "--off")
    assert "high risk or worse" in said("routes")
    assert "Rule" in said("routing", "--add", "ada", "--client", "Acme", "--kind", "disk_space")
    asked = said("routing", "--who", "--client", "Acme", "--site", "Munich", "--kind", "disk_space")
    assert asked.startswith("ada gets it: Disk space at Acme goes to ada")
    number = json.loads(said("routing", "--json"))[0]["id"]
    assert "is gone" in said("routing", str(number), "--remove")
    assert "is gone" in said("routes", "pager", "--remove", "--yes")
    assert "needs --client, --site and --kind" in refused("routing", "--who")


@pytest.mark.parametrize(("text", "number"), [("4h", 240), ("30min", 30), ("1h30", 90), ("90", 90), ("2 h 5 min", 125)])
def test_times_as_they_are_typed(text, number):
    assert minutes(text) == number


@pytest.mark.parametrize("text", ["", "soon", "4 days", "-1h"])
def test_what_is_no_time_is_named(text):
    with pytest.raises(CommandError, match="is not a time like"):
        minutes(text)


def test_a_client_that_is_not_there_is_not_made_by_a_slip(ada):
    before = Client.objects.visible_to(SYSTEM).count()
    refused("clients", "Acmee", "--timezone", "UTC")
    assert Client.objects.visible_to(SYSTEM).count() == before
