"""Other updates: monthly is soon enough."""

from forestall.server.checks.tests.story import FAIL, NOW, PASS, UNKNOWN, WARN, ago, judged, known_with
from forestall.wire.facts import Update, Updates

BASH = Update(name="bash", installed="5.2-1", candidate="5.2-2", security=False)
HELD = Update(name="mysql", installed="8.0", candidate="8.4", security=False, held=True)


def updates(*pending, seen=None, refreshed=NOW, manager="apt", history=True):
    document = Updates(manager=manager, pending=pending, lists_refreshed_at=refreshed, security_sources=True)
    first = {} if seen is None else {f"updates:{each.name}={each.candidate}": seen for each in pending}
    known = known_with(document, first_seen=first, **({} if history else {"enrolled_at": None}))
    return judged("other_updates", known)[""]


def test_within_the_month_they_pass_with_the_date():
    result = updates(BASH, seen=ago(days=10))
    assert (result.status, result.value) == (PASS, 1)
    assert "To be installed by 2026-12-13" in result.reason


def test_after_a_month_they_fail():
    result = updates(BASH, seen=ago(days=31))
    assert result.status is FAIL
    assert "1 of them for more than 30 days: bash" in result.reason


def test_held_packages_stay_on_purpose():
    assert updates(HELD, seen=ago(days=90)).status is PASS


def test_old_lists_are_unknown_and_so_is_a_missing_manager():
    assert updates(refreshed=ago(days=5)).status is UNKNOWN
    assert updates(refreshed=None).status is UNKNOWN
    assert updates(manager="").status is UNKNOWN


def test_an_audit_warns_as_it_cannot_know_since_when():
    assert updates(BASH, history=False).status is WARN
