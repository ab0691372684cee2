"""Each stage by itself: what it looks at, what it decides. No database: the first six touch nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from forestall.server.alerts import stages
from forestall.server.alerts.models import Alert, NotificationRoute
from forestall.server.alerts.rules import (
    FLAPPING_CALM,
    FLAPPING_CHANGES,
    FLAPPING_LONGEST,
    condition_of,
    flapping_until,
    group_of,
    is_sent,
    is_trouble,
    is_worse,
)
from forestall.server.alerts.stages import ALERT_STAGES, Case, Intent
from forestall.server.calendar.windows import Occurrence
from forestall.server.checks.kinds import CHECK_KINDS
from forestall.server.checks.models import Check
from forestall.server.checks.result import Risk, Status
from forestall.server.inventory.models import Device

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def case(status: str = "fail", **more) -> Case:
    device = Device(name="web-01")
    kind = more.pop("kind", "disk_space")
    check = Check(device=device, kind=kind, target="/", status=status, risk="high", reason="r", since=NOW)
    nothing = {
        "alert": None, "passed_before": True, "changes": 1, "window": None, "device_is_offline": False,
        "group_told_at": None, "possible_routes": (),
    }  # fmt: skip
    return Case(check=check, now=NOW, **{**nothing, **more})


def alert(state: str = "open", status: str = "fail", **more) -> Alert:
    return Alert(state=state, status=status, first_seen_at=more.pop("first_seen_at", NOW), **more)


WINDOW = Occurrence(name="Patch Sunday", start=NOW, end=NOW + timedelta(hours=2))


def test_the_stages_are_these_in_this_order() -> None:
    assert [stage.__name__ for stage in ALERT_STAGES] == [
        "drop_if_unchanged",
        "mute_in_maintenance_window",
        "wait_out_flapping",
        "group_by_device_and_condition",
        "mute_if_device_is_offline",
        "route",
        "notify",
        "record",
    ]


@pytest.mark.parametrize(
    ("status", "before", "passed_before", "intent"),
    [
        ("pass", None, True, Intent.NOTHING),
        ("fail", None, True, Intent.RAISE),
        ("warn", None, False, Intent.RAISE),
        ("unknown", None, True, Intent.RAISE),
        ("unknown", None, False, Intent.NOTHING),
        ("stale", None, True, Intent.NOTHING),
        ("pass", alert(), False, Intent.CLEAR),
        ("pass", alert("muted"), False, Intent.CLEAR),
        ("fail", alert(), False, Intent.UPDATE),
        ("fail", alert(status="warn"), False, Intent.WORSEN),
        ("warn", alert(), False, Intent.UPDATE),
        ("unknown", alert(), False, Intent.UPDATE),
        ("stale", alert(), False, Intent.UPDATE),
        ("fail", alert(status="unknown"), False, Intent.WORSEN),
        ("fail", alert("muted"), False, Intent.RAISE),
        ("stale", alert("muted"), False, Intent.MUTE),
    ],
)
def test_drop_if_unchanged(status, before, passed_before, intent) -> None:
    found = stages.drop_if_unchanged(case(status, alert=before, passed_before=passed_before))
    assert found.intent is intent


def test_mute_in_maintenance_window() -> None:
    muted = stages.mute_in_maintenance_window(case(intent=Intent.RAISE, window=WINDOW))
    assert (muted.intent, muted.muted_until) == (Intent.MUTE, WINDOW.end)
    assert muted.muted_because == "maintenance window: Patch Sunday"
    for intent in set(Intent) - {Intent.RAISE}:
        assert stages.mute_in_maintenance_window(case(intent=intent, window=WINDOW)).intent is intent
    assert stages.mute_in_maintenance_window(case(intent=Intent.RAISE)).intent is Intent.RAISE


def test_wait_out_flapping() -> None:
    flapping = {"changes": FLAPPING_CHANGES}
    held = stages.wait_out_flapping(case(intent=Intent.RAISE, **flapping))
    assert (held.intent, held.muted_until) == (Intent.MUTE, NOW + FLAPPING_CALM)
    assert stages.wait_out_flapping(case(intent=Intent.RAISE, changes=FLAPPING_CHANGES - 1)).intent is Intent.RAISE
    later = stages.wait_out_flapping(case("pass", intent=Intent.CLEAR, alert=alert(), **flapping))
    assert (later.intent, later.muted_until) == (Intent.CLEAR_LATER, NOW + FLAPPING_CALM)
    assert stages.wait_out_flapping(case(intent=Intent.RAISE, look_again=True, **flapping)).intent is Intent.RAISE
    long_ago = alert("muted", first_seen_at=NOW - FLAPPING_LONGEST)
    assert stages.wait_out_flapping(case(intent=Intent.RAISE, alert=long_ago, **flapping)).intent is Intent.RAISE


def test_an_unknown_waits_even_when_looked_at_again_too_early() -> None:
    young = alert("muted", first_seen_at=NOW - timedelta(minutes=10))
    held = stages.wait_out_flapping(case("unknown", intent=Intent.RAISE, alert=young, look_again=True))
    assert (held.intent, held.muted_until) == (Intent.MUTE, NOW + timedelta(minutes=50))


def test_mute_if_device_is_offline() -> None:
    muted = stages.mute_if_device_is_offline(case(intent=Intent.RAISE, device_is_offline=True))
    assert (muted.intent, muted.muted_because, muted.muted_until) == (Intent.MUTE, "the device is offline", None)
    offline = case(kind="offline", intent=Intent.RAISE, device_is_offline=True)
    assert stages.mute_if_device_is_offline(offline).intent is Intent.RAISE
    assert stages.mute_if_device_is_offline(case(intent=Intent.RAISE)).intent is Intent.RAISE


def test_group_by_device_and_condition() -> None:
    found = stages.group_by_device_and_condition(case())
    assert found.group == f"{found.check.device_id}/disk_space:/"


def test_route() -> None:
    routes = tuple(NotificationRoute(name=risk, minimum_risk=risk) for risk in Risk)
    chosen = stages.route(case(intent=Intent.RAISE, possible_routes=routes)).routes
    assert [one.name for one in chosen] == ["high", "medium", "low"]
    assert stages.route(case(intent=Intent.UPDATE, possible_routes=routes)).routes == ()


def test_notify_writes_for_each_route_and_keeps_quiet_in_a_group() -> None:
    routes = (NotificationRoute(name="on call", minimum_risk="low", shown_url="json://localhost"),)
    (made,) = stages.notify(case(intent=Intent.RAISE, routes=routes)).notifications
    assert (made.title, made.sent_to) == ("FAIL: Disk space: / on web-01", "on call (json://localhost)")
    just_told = case(intent=Intent.RAISE, routes=routes, group_told_at=NOW - timedelta(minutes=9))
    assert stages.notify(just_told).notifications == ()
    assert stages.notify(replace(just_told, group_told_at=NOW - timedelta(minutes=10))).notifications != ()
    for intent in (Intent.MUTE, Intent.UPDATE, Intent.CLEAR_LATER):
        assert stages.notify(case(intent=intent, routes=routes)).notifications == ()


def test_a_case_with_nothing_to_do_touches_no_database() -> None:
    assert stages.run(case("pass")).intent is Intent.NOTHING


@pytest.mark.parametrize("status", list(Status))
def test_what_is_trouble_by_itself(status) -> None:
    assert is_trouble(status=status, passed_before=False) == (status in {Status.WARN, Status.FAIL})
    assert is_trouble(status=status, passed_before=True) == (status in {Status.WARN, Status.FAIL, Status.UNKNOWN})


def test_worse_is_only_up() -> None:
    assert is_worse(now=Status.FAIL, before=Status.WARN)
    assert is_worse(now=Status.WARN, before=Status.UNKNOWN)
    assert not is_worse(now=Status.WARN, before=Status.FAIL)
    assert not is_worse(now=Status.STALE, before=Status.UNKNOWN)


def test_flapping_waits_no_longer_than_it_may() -> None:
    first = NOW - FLAPPING_LONGEST + timedelta(minutes=2)
    assert flapping_until(changes=9, first_seen_at=first, now=NOW) == NOW + timedelta(minutes=2)
    assert flapping_until(changes=9, first_seen_at=NOW - FLAPPING_LONGEST, now=NOW) is None


def test_a_risk_is_sent_to_who_wants_it_or_less() -> None:
    assert is_sent(risk=Risk.HIGH, minimum=Risk.MEDIUM)
    assert is_sent(risk=Risk.HIGH, minimum=Risk.HIGH)
    assert not is_sent(risk=Risk.MEDIUM, minimum=Risk.HIGH)


def test_conditions_and_groups() -> None:
    assert condition_of(kind="disk_space", target="/var") == "disk_space:/var"
    assert condition_of(kind="open_socket", target="tcp/22") == "open_socket"
    assert condition_of(kind="cpu", target="") == "cpu"
    assert group_of(device_id="d", kind="cpu", target="") == "d/cpu"


def test_the_kinds_named_in_the_rules_exist() -> None:
    from forestall.server.alerts import rules

    assert set(CHECK_KINDS) >= rules.ONE_PIECE_OF_WORK | rules.JUDGED_ABOUT_THE_LINK
