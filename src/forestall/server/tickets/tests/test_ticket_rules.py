"""Priorities, owners, clocks and ranks as pure rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestall.server.calendar.rules import Pause, WorkingTime
from forestall.server.checks.kinds import CHECK_KINDS
from forestall.server.checks.result import Risk, Status
from forestall.server.tickets.rules import (
    DEFAULT_TARGETS,
    OUTAGE_KINDS,
    WARNINGS,
    Clock,
    ClockKind,
    ClockState,
    Priority,
    Routing,
    clock_explain,
    clock_view,
    owner_by_rules,
    priority_of,
    rank_key,
    span,
    warning_due,
)

MONDAY_NINE = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
WORK = WorkingTime(timezone="UTC")


@pytest.mark.parametrize(
    ("risk", "status", "kind", "role", "priority"),
    [
        ("critical", "warn", "cpu", "endpoint", "urgent"),
        ("high", "fail", "disk_space", "server", "urgent"),
        ("high", "fail", "disk_space", "endpoint", "standard"),
        ("high", "warn", "disk_space", "server", "standard"),
        ("high", "fail", "security_updates", "server", "standard"),
        ("medium", "fail", "offline", "server", "standard"),
        ("medium", "warn", "offline", "server", "low"),
        ("medium", "unknown", "backup_age", "server", "low"),
        ("high", "unknown", "backup_age", "server", "standard"),
        ("low", "fail", "disk_space", "server", "low"),
    ],
)
def test_priorities(risk, status, kind, role, priority) -> None:
    found = priority_of(risk=Risk(risk), status=Status(status), kind=kind, device_role=role)
    assert found == priority


def test_the_defaults_of_the_field() -> None:
    assert DEFAULT_TARGETS[Priority.URGENT][0] == 4 * 60
    assert DEFAULT_TARGETS[Priority.STANDARD][0] == 8 * 60
    assert WARNINGS == (50, 75, 90, 100)
    assert all(response <= resolution for response, resolution in DEFAULT_TARGETS.values())
    assert set(CHECK_KINDS) >= OUTAGE_KINDS


RULES = [
    Routing(owner_id=1),
    Routing(owner_id=2, client_id="acme"),
    Routing(owner_id=3, client_id="acme", kind="backup_age"),
    Routing(owner_id=4, client_id="acme", site_id="munich"),
    Routing(owner_id=5, minimum_risk=Risk.CRITICAL),
    Routing(owner_id=6, client_id="acme", order=-1),
]


@pytest.mark.parametrize(
    ("client", "site", "kind", "risk", "owner"),
    [
        ("bolt", "leeds", "cpu", "high", 1),
        ("bolt", "leeds", "cpu", "critical", 5),
        ("acme", "berlin", "cpu", "high", 6),
        ("acme", "berlin", "backup_age", "high", 3),
        ("acme", "munich", "backup_age", "critical", 4),
    ],
)
def test_the_most_particular_rule_wins(client, site, kind, risk, owner) -> None:
    assert owner_by_rules(rules=RULES, client_id=client, site_id=site, kind=kind, risk=Risk(risk)) == owner


def test_no_rule_no_owner() -> None:
    assert owner_by_rules(rules=RULES[4:5], client_id="a", site_id="s", kind="cpu", risk=Risk.LOW) is None


def clock(hours: int = 4, **more) -> Clock:
    return Clock(kind=ClockKind.RESPONSE, started_at=MONDAY_NINE, total_seconds=hours * 3600, **more)


@pytest.mark.parametrize(
    ("after", "state", "text"),
    [
        (timedelta(0), ClockState.RUNNING, "4 h left"),
        (timedelta(hours=1, minutes=50), ClockState.RUNNING, "2 h 10 min left"),
        (timedelta(hours=3, minutes=59, seconds=30), ClockState.RUNNING, "under a minute left"),
        (timedelta(hours=4), ClockState.BREACHED, "breached"),
        (timedelta(hours=5, minutes=5), ClockState.BREACHED, "breached by 1 h 5 min"),
    ],
)
def test_what_a_clock_shows(after, state, text) -> None:
    view = clock_view(clock=clock(), work=WORK, now=MONDAY_NINE + after)
    assert (view.state, view.text, view.due_at) == (state, text, MONDAY_NINE + timedelta(hours=4))


@given(
    st.integers(0, 20 * 24 * 60),
    st.integers(1, 60),
    st.lists(st.tuples(st.integers(0, 9000), st.integers(1, 3000)), max_size=3),
)
def test_a_clock_is_breached_exactly_from_its_due_time_on(minutes, hours, waits) -> None:
    pauses = tuple(
        Pause(start=MONDAY_NINE + timedelta(minutes=a), end=MONDAY_NINE + timedelta(minutes=a + b), why="waiting")
        for a, b in waits
    )
    now = MONDAY_NINE + timedelta(minutes=minutes)
    one = clock(hours, pauses=pauses)
    view = clock_view(clock=one, work=WORK, now=now)
    assert (view.state is ClockState.BREACHED) == (now >= view.due_at)
    explained = clock_explain(clock=one, work=WORK, now=now)
    assert sum(part.seconds for part in explained if part.counted) == view.used_seconds
    if view.state is ClockState.RESTING:
        assert view.resumes_at > now
        assert clock_view(clock=one, work=WORK, now=view.resumes_at).state is not ClockState.RESTING


@given(st.floats(0, 300), st.sampled_from((0, *WARNINGS)))
def test_a_warning_is_the_highest_step_reached_and_never_given_before(percent, warned) -> None:
    step = warning_due(percent=percent, warned=warned)
    if step is None:
        assert not [one for one in WARNINGS if warned < one <= percent]
    else:
        assert warned < step <= percent
        assert not [one for one in WARNINGS if step < one <= percent]


def test_ranks() -> None:
    def rank(priority: str, hours_ago: float, **more):
        now = MONDAY_NINE + timedelta(hours=6)
        start = now - timedelta(hours=hours_ago)
        one = Clock(kind=ClockKind.RESPONSE, started_at=start, total_seconds=4 * 3600, **more)
        return rank_key(priority=Priority(priority), view=clock_view(clock=one, work=WORK, now=now), opened_at=start)

    pause = (Pause(start=MONDAY_NINE, end=None, why="waiting for client"),)
    order = [
        rank("urgent", 6),  # breached for longest
        rank("urgent", 5),
        rank("low", 5),  # breached, but low
        rank("urgent", 3),
        rank("standard", 3),
        rank("urgent", 1),
        rank("low", 1),
        rank("urgent", 6, pauses=pause),
    ]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("seconds", "words"), [(59, "under a minute"), (60, "1 min"), (7800, "2 h 10 min"), (28800, "8 h")]
)
def test_working_time_in_words(seconds, words) -> None:
    assert span(seconds) == words
