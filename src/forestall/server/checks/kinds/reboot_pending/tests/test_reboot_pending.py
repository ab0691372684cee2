"""Reboot pending."""

import msgspec

from forestall.server.checks.tests.story import DEBIAN, FAIL, PASS, UNKNOWN, WARN, ago, judged, known_with
from forestall.wire.facts import Gap


def reboot(required, *, reasons=(), since=None, gaps=()):
    system = msgspec.structs.replace(DEBIAN, reboot_required=required, reboot_reasons=reasons, gaps=gaps)
    first = {"reboot:": since} if since else {}
    return judged("reboot_pending", known_with(system, first_seen=first))[""]


def test_a_new_kernel_warns_and_is_named():
    result = reboot(True, reasons=("kernel 6.1.0-39 runs, 6.1.0-40 installed",))
    assert result.status is WARN
    assert "kernel 6.1.0-39 runs, 6.1.0-40 installed" in result.reason


def test_after_a_fortnight_it_fails():
    result = reboot(True, since=ago(days=15))
    assert (result.status, result.value) == (FAIL, 15)
    assert "for 15 days" in result.reason
    assert reboot(True, since=ago(days=13)).status is WARN


def test_none_pending_passes_and_says_since_when_it_runs():
    result = reboot(False)
    assert result.status is PASS
    assert "It last started on 2026-11-20" in result.reason


def test_a_system_that_cannot_say_is_unknown_with_why():
    gap = Gap(what="whether a reboot is due", why="no installed kernel is the running one")
    result = reboot(None, gaps=(gap,))
    assert result.status is UNKNOWN
    assert "no installed kernel is the running one" in result.reason
