"""Ada plans windows by other rules from a terminal, freezes the year's end, and reads her calendar elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import icalendar
from django.test import Client as Browser

from forestall.cli.tests.test_client_commands import ada, refused, said  # noqa: F401 - the fixture

PLAN = ("--plan", "--client", "Acme", "--site", "Munich", "--first", "2026-11-01", "--at", "22:00", "--lasts", "2h")


def test_windows_by_every_rule_a_contract_asks_for(ada):  # noqa: F811
    for name, options, words in (
        ("A", ("--patch-tuesday", "3"), "3 days after Patch Tuesday, on Friday"),
        ("B", ("--month-end", "workday"), "on the last Monday to Friday of each month"),
        ("C", ("--month-end", "day", "--interval", "3"), "on the last day of every 3rd month, from November"),
        ("D", ("--month-day", "15"), "on day 15 of each month"),
        ("E", ("--every", "su", "--interval", "2"), "every 2nd week on Sunday"),
    ):
        assert words in said("windows", name, *PLAN, *options)
    out = said("windows", "A", "--notice", "48", "--notice-first", "--catch-up", "36")
    assert "told 48 h before its first time" in out
    assert "worked on within 36 h after" in out
    assert "exclude each other" in refused("windows", "A", "--month-day", "1", "--patch-tuesday", "3")
    assert "--interval goes with" in refused("windows", "A", "--interval", "2")


def test_a_blackout_is_set_listed_and_taken_back(ada, tmp_path: Path):  # noqa: F811
    said("windows", "Nightly", *PLAN, "--every", "day")
    freeze = ("calendar", "blackout", "Freeze", "--from", "2099-12-20 18:00", "--until", "2100-01-03")
    assert "nothing was changed" in refused(*freeze)
    out = said(*freeze, "--yes", "--yearly")
    assert out.startswith("No window opens at every client from 20 December 18:00 until 3 January 00:00, every year")
    number = json.loads(said("calendar", "blackout", "--json"))[0]["id"]
    assert "Freeze" in said("calendar", "list", "--client", "Acme")
    assert "counts no longer" in said("calendar", "blackout", "--end", str(number))
    assert "No blackouts" in said("calendar", "blackout")
    assert "expected a date" in refused("calendar", "blackout", "x", "--from", "soon", "--until", "2099-01-01")
    assert "4 h" in said("calendar", "limit", "Acme", "4h")
    assert "longer than the 240 minutes" in refused("windows", "Nightly", "--lasts", "5h")
    assert "No limit was agreed" in said("calendar", "limit", "Acme", "--none")
    file = tmp_path / "windows.ics"
    assert "events in" in said("calendar", "--ics", str(file))
    assert icalendar.Calendar.from_ical(file.read_bytes()).walk("VEVENT")


def test_an_address_is_made_and_taken_back(ada):  # noqa: F811
    made = json.loads(said("calendar", "feed", "new", "my phone", "--client", "Acme", "--json"))
    path = made["address"][made["address"].index("/calendar/") :]
    assert Browser().get(path).status_code == 200
    assert "my phone" in said("calendar", "feed")
    said("calendar", "feed", "revoke", str(made["id"]))
    assert Browser().get(path).status_code == 404
