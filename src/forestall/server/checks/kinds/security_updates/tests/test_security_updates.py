"""Security updates: 72 hours from when they are first seen."""

from datetime import timedelta

from forestall.server.checks.result import Risk
from forestall.server.checks.tests.story import FAIL, NOW, PASS, UNKNOWN, WARN, ago, judged, known_with
from forestall.wire.facts import Update, Updates

OPENSSL = Update(name="openssl", installed="3.0.16-1", candidate="3.0.18-1", security=True, origin="stable-security")
BASH = Update(name="bash", installed="5.2-1", candidate="5.2-2", security=False)


def updates(*pending, seen=None, refreshed=NOW, sources=True, manager="apt", history=True, **policy):
    document = Updates(manager=manager, pending=pending, lists_refreshed_at=refreshed, security_sources=sources)
    first = {} if seen is None else {f"updates:{each.name}={each.candidate}": seen for each in pending}
    known = known_with(document, first_seen=first, **({} if history else {"enrolled_at": None}))
    return judged("security_updates", known, **policy)[""]


def test_none_pending_in_fresh_lists_passes():
    result = updates(BASH)
    assert (result.status, result.value) == (PASS, 0)
    assert "0 security updates" in result.reason


def test_pending_within_the_obligation_warns_with_the_deadline():
    result = updates(OPENSSL, seen=ago(hours=10))
    assert result.status is WARN
    assert result.value == 1
    assert "openssl 3.0.18-1" in result.reason
    assert "To be installed by 2026-11-25 23:00 UTC (62 h left)" in result.reason


def test_past_the_obligation_fails():
    result = updates(OPENSSL, seen=ago(hours=73))
    assert (result.status, result.risk) == (FAIL, Risk.HIGH)
    assert "1 past the obligation of 72 h: openssl" in result.reason
    assert updates(OPENSSL, seen=ago(hours=72)).status is FAIL
    assert updates(OPENSSL, seen=ago(hours=71, minutes=59)).status is WARN


def test_the_clock_of_a_newer_fix_starts_when_it_is_seen():
    older = {"updates:openssl=3.0.17-1": ago(days=30)}
    known = known_with(
        Updates(manager="apt", pending=(OPENSSL,), lists_refreshed_at=NOW, security_sources=True), first_seen=older
    )
    assert judged("security_updates", known)[""].status is WARN


def test_old_lists_cannot_say_that_nothing_is_pending():
    result = updates(refreshed=ago(days=3))
    assert result.status is UNKNOWN
    assert "cannot be known: the package lists are 3 days old" in result.reason
    assert "apt-get update" in result.remedy


def test_lists_that_nobody_fetches_any_more_fail():
    assert updates(refreshed=ago(days=20)).status is FAIL


def test_without_a_security_source_nothing_can_be_known_and_it_fails():
    result = updates(sources=False)
    assert result.status is FAIL
    assert "no security source is configured" in result.reason


def test_what_is_known_to_be_late_fails_however_old_the_lists_are():
    result = updates(OPENSSL, seen=ago(days=9), refreshed=ago(days=8))
    assert result.status is FAIL
    assert "There may be more" in result.reason


def test_no_package_manager_no_sources_and_no_date_are_unknown():
    assert updates(manager="").status is UNKNOWN
    assert updates(sources=None).status is UNKNOWN
    assert updates(refreshed=None).status is UNKNOWN


def test_an_audit_without_history_warns_and_says_that_it_cannot_know_since_when():
    result = updates(OPENSSL, history=False)
    assert (result.status, result.risk) == (WARN, Risk.HIGH)
    assert "Since when is not known" in result.reason


def test_a_client_may_ask_for_a_stricter_obligation():
    assert updates(OPENSSL, seen=ago(hours=25), obligation_hours=24).status is FAIL


def test_held_packages_are_named():
    held = Update(name="linux-image", installed="1", candidate="2", security=True, held=True)
    assert "Held back: linux-image." in updates(held, seen=NOW - timedelta(hours=1)).reason
