"""Scores and gaps: bounded, never better for a worse answer, and every lost point names a check."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestall.server.checks.result import Risk, Status
from forestall.server.health.rules import (
    Cell,
    Column,
    Excepted,
    Judged,
    agent_cell,
    client_score,
    gap_points,
    gap_risk,
    monitoring_cell,
    score_of,
    share_lost,
)

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
ACME, LEEDS, YORK, WEB = (UUID(int=number) for number in range(1, 5))
ANSWERS = [Status.PASS, Status.WARN, Status.FAIL]
BLIND = [Status.UNKNOWN, Status.STALE]


@st.composite
def checks(draw, kinds="abcde"):
    status = draw(st.sampled_from(Status))
    answered = status.value if status in ANSWERS else draw(st.sampled_from(["", *(each.value for each in ANSWERS)]))
    return Judged(
        check_id=draw(st.integers(1, 10**6)), kind=draw(st.sampled_from(kinds)), target=draw(st.sampled_from("xyz")),
        status=status, answered=answered, risk=draw(st.sampled_from(Risk)),
    )  # fmt: skip


LISTS = st.lists(checks(), min_size=1, max_size=30)


def check(status, risk=Risk.HIGH, *, kind="disk_space", answered=None, target="", check_id=1):
    known = answered if answered is not None else status.value if status in ANSWERS else ""
    return Judged(check_id, kind, target, status, known, risk)


@given(LISTS)
def test_a_score_is_bounded_and_every_lost_point_names_a_check(them):
    score = score_of(them)
    assert 0 <= score.value <= 100
    assert 0 < score.exact <= 100
    assert score.exact + sum(lost.points for lost in score.lost) == pytest.approx(100)
    known = {id(each) for each in them}
    for lost in score.lost:
        assert lost.points > 0
        assert lost.check.status is not Status.PASS
        assert id(lost.check) in known
        assert all(other.kind == lost.check.kind for other in lost.others)
    named = [each for lost in score.lost for each in (lost.check, *lost.others)]
    assert sorted(map(id, named)) == sorted(id(each) for each in them if each.status is not Status.PASS)


@given(LISTS, st.data())
def test_a_worse_answer_never_raises_the_score(them, data):
    number = data.draw(st.integers(0, len(them) - 1))
    before = them[number]
    worse = {Status.PASS: [Status.WARN, Status.FAIL], Status.WARN: [Status.FAIL]}.get(before.status, [Status.FAIL])
    status = data.draw(st.sampled_from(worse))
    after = [*them[:number], replace(before, status=status, answered=status.value), *them[number + 1 :]]
    assert score_of(after).exact <= score_of(them).exact + 1e-9


@given(LISTS, st.data())
def test_not_knowing_never_raises_the_score(them, data):
    number = data.draw(st.integers(0, len(them) - 1))
    blind = replace(them[number], status=data.draw(st.sampled_from(BLIND)))
    assert score_of([*them[:number], blind, *them[number + 1 :]]).exact <= score_of(them).exact + 1e-9


@given(LISTS, checks(kinds="abcdefg"))
def test_one_more_check_never_raises_the_score_and_its_order_does_not_matter(them, more):
    assert score_of([*them, more]).exact <= score_of(them).exact + 1e-9
    assert score_of([more, *reversed(them)]).exact == pytest.approx(score_of([*them, more]).exact)


@given(LISTS, st.data())
def test_a_graver_risk_never_raises_the_score(them, data):
    number = data.draw(st.integers(0, len(them) - 1))
    graver = replace(them[number], risk=Risk.CRITICAL)
    assert score_of([*them[:number], graver, *them[number + 1 :]]).exact <= score_of(them).exact + 1e-9


def test_the_documented_points():
    assert score_of([check(Status.FAIL, Risk.CRITICAL)]).value == 60
    assert score_of([check(Status.FAIL)]).value == 80
    assert score_of([check(Status.WARN)]).value == 90
    assert score_of([check(Status.UNKNOWN)]).value == 95
    assert score_of([check(Status.STALE, answered="fail")]).value == 80, "still broken, as far as anybody knows"
    assert score_of([check(Status.FAIL, Risk.LOW)]).value == 96
    assert score_of([check(Status.PASS)]).value == 100


def test_a_hundred_is_only_where_nothing_is_lost():
    assert score_of([check(Status.UNKNOWN, Risk.LOW)]).value == 99


def test_nothing_judged_is_no_health():
    assert score_of([]).value == 0


def test_many_of_one_kind_are_one_finding_with_the_others_named():
    sockets = [check(Status.WARN, Risk.MEDIUM, kind="open_socket", target=str(n), check_id=n) for n in range(40)]
    score = score_of(sockets)
    assert score.value == 95
    assert len(score.lost) == 1
    assert len(score.lost[0].others) == 39


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from(["server", "endpoint", "printer", ""])), max_size=20))
def test_a_clients_score_lies_between_its_devices(devices):
    score = client_score(devices)
    if not devices:
        assert score is None
    else:
        assert min(each for each, _ in devices) - 1e-6 <= score <= max(each for each, _ in devices) + 1e-6


def test_a_server_counts_twice():
    assert client_score([(40.0, "server"), (100.0, "endpoint")]) == pytest.approx(60)


def test_share_lost_is_bounded():
    assert {share_lost(check(status, risk)) for status in ANSWERS for risk in Risk} <= {
        0.0, 0.02, 0.04, 0.05, 0.1, 0.2, 0.4,
    }  # fmt: skip


# --- gaps -------------------------------------------------------------------------------------------------------


def test_gaps_of_servers_and_of_what_nobody_sees_rank_first():
    backup = gap_points(Column.BACKUP, Status.FAIL, role="server")
    assert (
        backup
        > gap_points(Column.BACKUP, Status.UNKNOWN, role="server")
        > gap_points(Column.BACKUP, Status.WARN, role="server")
    )
    assert backup > gap_points(Column.BACKUP, Status.FAIL, role="endpoint")
    assert gap_points(Column.RECOVERY, Status.FAIL, importance="critical") > backup
    assert gap_risk(backup) is Risk.CRITICAL
    assert gap_risk(gap_points(Column.ACCESS, Status.WARN, role="endpoint")) is Risk.LOW


@given(st.sampled_from(Column), st.sampled_from(["server", "endpoint", "printer", ""]))
def test_a_pass_is_no_gap_and_worse_is_never_less(column, role):
    points = [
        gap_points(column, status, role=role) for status in (Status.PASS, Status.WARN, Status.UNKNOWN, Status.FAIL)
    ]
    assert points[0] == 0
    assert points == sorted(points)


def test_silence_is_a_gap():
    def cell(**age):
        return agent_cell(approved=True, last_check_in_at=NOW - timedelta(**age), now=NOW, href="/").status

    assert [cell(minutes=1), cell(minutes=10), cell(hours=1)] == [Status.PASS, Status.WARN, Status.FAIL]
    assert agent_cell(approved=True, last_check_in_at=None, now=NOW, href="/").status is Status.FAIL
    assert agent_cell(approved=False, last_check_in_at=NOW, now=NOW, href="/").status is Status.FAIL


def test_many_answers_that_are_none_are_no_monitoring():
    def cell(**counts):
        return monitoring_cell(counts={Status(name): n for name, n in counts.items()}, judged_at=NOW, href="/").status

    assert cell() is Status.FAIL
    assert cell(**{"pass": 20, "unknown": 2}) is Status.PASS
    assert cell(**{"pass": 6, "unknown": 4}) is Status.WARN
    assert cell(unknown=4) is Status.UNKNOWN
    assert cell(stale=4, unknown=1) is Status.STALE


def test_an_exception_covers_its_place_and_nothing_else():
    def leave(**place):
        values = {"site_id": None, "device_id": None, "system_id": None, **place}
        return Excepted(1, Column.ANTIVIRUS, ACME, until=NOW, reason="x", **values)

    def covers(one, column=Column.ANTIVIRUS, site=LEEDS, device=WEB, system=None):
        return one.covers(column=column, client_id=ACME, site_id=site, device_id=device, system_id=system)

    assert covers(leave())
    assert not covers(leave(), column=Column.BACKUP)
    assert covers(leave(site_id=LEEDS))
    assert not covers(leave(site_id=YORK))
    assert covers(leave(site_id=LEEDS, device_id=WEB))
    assert not covers(leave(site_id=LEEDS, device_id=WEB), device=YORK)
    assert not covers(leave(site_id=LEEDS, system_id=3))
    assert covers(leave(site_id=LEEDS, system_id=3), system=3)


def test_a_cell_that_is_excepted_is_no_gap_and_one_that_does_not_apply_neither():
    assert Cell(Status.FAIL, "x").is_gap
    assert not Cell(Status.FAIL, "x", excepted_until=NOW).is_gap
    assert not Cell(None, "x").is_gap
    assert not Cell(Status.PASS, "x").is_gap
