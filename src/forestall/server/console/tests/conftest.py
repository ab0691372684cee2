"""A data folder of its own for each test, and people who look."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from django.test import Client as Browser

from forestall.server.console.tests import fleet as fleets
from forestall.server.home import current_home, read_or_make_secret, write_private
from forestall.server.people.models import Person
from forestall.server.people.roles import Role
from forestall.server.people.services import person_create
from forestall.server.runbooks.operator import operator_init
from forestall.server.runbooks.services import authority_install
from forestall.trust.keys import new_key, private_bytes


@pytest.fixture
def house(tmp_path, monkeypatch, db):
    """An installation as `forestall up` prepares it, without any device."""
    monkeypatch.setenv("FORESTALL_HOME", str(tmp_path))
    home = current_home()
    home.server.mkdir(parents=True, exist_ok=True)
    read_or_make_secret(home.secret_key)
    write_private(home.log_key, private_bytes(new_key()))
    now = datetime.now(UTC)
    fleets.places()
    authority_install(bundle=operator_init(folder=home.operator, now=now), now=now)
    return home


def browser_of(person: Person) -> Browser:
    browser = Browser()
    browser.force_login(person)
    return browser


def proven(browser: Browser) -> Browser:
    """The browser of somebody who has just proved who they are, as dangerous pages ask."""
    session = browser.session
    session["account_authentication_methods"] = [{"method": "password", "at": time.time()}]
    session["account_authentication_methods_user"] = session["_auth_user_id"]
    session.save()
    return browser


@pytest.fixture
def ada(house) -> Browser:
    """The owner's browser."""
    return browser_of(fleets.owner())


@pytest.fixture
def auditor(house) -> Browser:
    """Someone who may look at everything and change nothing."""
    return browser_of(person_create(username="ines", password=fleets.PASSWORD, role=Role.AUDITOR))


@pytest.fixture
def fleet(house) -> fleets.Fleet:
    """Twelve devices in all states."""
    return fleets.build(12, now=datetime.now(UTC), days=2)
