"""Dormant accounts: what nobody used for long, and what cannot be told."""

from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, ago, judged, known_with
from forestall.wire.facts import Access, Account, Gap

LASTLOG = ("/var/log/lastlog",)


def person(name, **more):
    return Account(
        **{"name": name, "uid": 1000, "login": True, "password": "set", "kind": "person", "ssh_keys": 0, **more}
    )


def dormant(*accounts, sources=LASTLOG, gaps=(), previous=None, **policy):
    return judged(
        "dormant_account",
        known_with(Access(accounts=accounts, sources=sources, gaps=gaps)),
        previous=previous,
        **policy,
    )


def test_an_account_that_nobody_used_for_long_warns_and_an_administrators_fails():
    eve = person("eve", last_login=ago(days=120), administrator=True, administrator_because=("group sudo",))
    results = dormant(person("ada", last_login=ago(days=2)), person("bob", last_login=ago(days=100)), eve)
    assert {target: result.status for target, result in results.items()} == {"": PASS, "bob": WARN, "eve": FAIL}
    assert results["bob"].reason == "bob last signed in on 2026-08-15, 100 days ago, and can still sign in."


def test_never_signed_in_counts_from_the_password_where_the_record_says_never():
    (result,) = dormant(person("bob", password_changed_at=ago(days=200))).values()
    assert (result.status, "has never signed in" in result.reason) == (WARN, True)


def test_a_log_that_begins_late_says_nothing_of_those_it_does_not_name():
    result = dormant(person("bob", password_changed_at=ago(days=200)), sources=("/var/log/wtmp",))["never seen"]
    assert (result.status, "bob" in result.reason) == (UNKNOWN, True)


def test_without_any_record_it_is_unknown_and_not_pass():
    gap = Gap(what="last logins", why="this system keeps neither /var/log/lastlog nor /var/log/wtmp")
    assert dormant(person("bob", last_login=None), gaps=(gap,))[""].status is UNKNOWN


def test_locked_ended_and_service_accounts_are_not_asked_about():
    old = ago(days=400)
    results = dormant(
        person("gone", disabled=True, last_login=old),
        person("locked", password="locked", last_login=old),
        person("postgres", kind="service", last_login=old),
        person("root", last_login=old, uid=0),
    )
    assert results == {}
    assert dormant(person("postgres", kind="service", last_login=old), services=True)["postgres"].status is WARN


def test_one_that_is_used_again_passes_by_name():
    assert dormant(person("bob", last_login=ago(days=1)), previous={"bob": WARN})["bob"].status is PASS
