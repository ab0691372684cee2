"""Guessing passwords: Mallory tries, Ada must get in all the same."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.core.cache import cache, caches
from django.test import Client as Browser

from forestall.server.console.tests import fleet as fleets
from forestall.server.console.tests.signing_in import PASSWORD, is_in, sign_in
from forestall.server.people.signin import person_unlock

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


@pytest.fixture
def ada(house):
    return fleets.owner()


@pytest.fixture
def clock():
    with time_machine.travel(START, tick=False) as travelled:
        yield travelled


def words(browser: Browser) -> str:
    return browser.answer.content.decode()


def test_after_five_wrong_tries_one_waits_and_is_told_until_when(ada, clock):
    for _ in range(5):
        assert "do not fit together" in words(sign_in("ada", "wrong", REMOTE_ADDR="192.0.2.7"))
    clock.shift(timedelta(seconds=30))
    refused = sign_in("ada", PASSWORD, REMOTE_ADDR="192.0.2.7")
    assert "Too many wrong tries. Try again in 5 min (at 09:05:00 UTC)" in words(refused)
    clock.shift(timedelta(minutes=4, seconds=31))
    assert is_in(sign_in("ada", PASSWORD, REMOTE_ADDR="192.0.2.7"))


def test_nobody_is_kept_out_by_the_guesses_of_others(ada, clock):
    known = sign_in("ada", REMOTE_ADDR="192.0.2.7")
    known.post("/accounts/logout/")
    for number in range(150):
        clock.shift(timedelta(seconds=2))
        sign_in("ada", "wrong", REMOTE_ADDR=f"198.51.100.{number}")
    # From elsewhere, a browser that nobody knows waits: that many guesses are a siege.
    assert "Too many wrong tries" in words(sign_in("ada", REMOTE_ADDR="203.0.113.9"))
    # Ada's own browser goes in, wherever it is.
    sign_in("ada", browser=known)
    assert is_in(known)


def test_a_browser_known_for_one_name_is_a_stranger_for_another(ada, clock):
    mallory = Browser(REMOTE_ADDR="192.0.2.66")
    fleets.person_create(username="mallory", password=PASSWORD, role=fleets.Role.AUDITOR)
    sign_in("mallory", browser=mallory)
    mallory.post("/accounts/logout/")
    for _ in range(5):
        sign_in("ada", "wrong", browser=mallory)
    assert "Too many wrong tries" in words(sign_in("ada", browser=mallory))


def test_a_forged_cookie_is_no_known_browser(ada, clock):
    for _ in range(5):
        sign_in("ada", "wrong", REMOTE_ADDR="192.0.2.7")
    forged = Browser(REMOTE_ADDR="192.0.2.7")
    forged.cookies["forestall_known"] = "eyJhZGEiOiJ4In0:1abcde:" + "x" * 43
    assert "Too many wrong tries" in words(sign_in("ada", browser=forged))


def test_the_server_can_forget_the_tries(ada, clock):
    for _ in range(5):
        sign_in("ada", "wrong", REMOTE_ADDR="192.0.2.7")
    person_unlock(person=ada, who="a command on the server")
    assert is_in(sign_in("ada", REMOTE_ADDR="192.0.2.7"))


def test_one_address_that_tries_many_names_is_slowed(house, clock):
    for number in range(10):
        sign_in(f"person-{number}", "wrong", REMOTE_ADDR="192.0.2.7")
    assert "Too many wrong tries" in words(sign_in("person-11", "wrong", REMOTE_ADDR="192.0.2.7"))
    clock.shift(timedelta(seconds=61))
    assert "do not fit together" in words(sign_in("person-11", "wrong", REMOTE_ADDR="192.0.2.7"))


def test_requests_beyond_the_limit_are_told_when_to_come_back(house, clock):
    browser = Browser(REMOTE_ADDR="192.0.2.7")
    for _ in range(31):
        answer = browser.post("/accounts/login/", {"login": "x", "password": ""})
    assert answer.status_code == 429
    assert answer["Retry-After"] == "60"
    assert re.search(r"Try again at 09:01:00 UTC", answer.content.decode())


def test_right_passwords_use_up_no_tries(ada, clock):
    for _ in range(12):
        clock.shift(timedelta(seconds=10))
        assert is_in(sign_in("ada", REMOTE_ADDR="192.0.2.7"))


def test_tries_survive_a_restart_and_are_shared_by_processes(ada, clock):
    for _ in range(5):
        sign_in("ada", "wrong", REMOTE_ADDR="192.0.2.7")
    # A new connection to the cache is all that a new process has.
    del caches["default"]
    assert "Too many wrong tries" in words(sign_in("ada", REMOTE_ADDR="192.0.2.7"))


@pytest.mark.django_db(transaction=True)
def test_of_threads_that_use_one_code_only_one_gets_it(transactional_db):
    from django.db import connection

    got: list[bool] = []
    start = threading.Barrier(4)

    def use() -> None:
        start.wait()
        got.append(cache.add("forestall.totp:1:123456", "used", timeout=90))
        connection.close()

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False, False, False, True]
