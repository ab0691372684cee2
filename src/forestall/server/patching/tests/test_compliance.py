"""Compliance at any date: beside a model that replays what happened hour by hour, and as an auditor reads it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forestall.server.calendar.services import window_create
from forestall.server.inventory.models import Device
from forestall.server.patching.compliance import (
    Change,
    Counted,
    Ledger,
    Outcome,
    Report,
    Tally,
    _histories,
    compliance_at,
    explained,
    fingerprint,
    trend,
)
from forestall.server.patching.models import Deployment, DeploymentChange, ObligationException
from forestall.server.patching.obligation_queries import Book, Known, Score
from forestall.server.patching.obligation_services import exception_grant, obligation_rule_set
from forestall.server.patching.obligations import BUILT_IN, Deadline, Leave, Terms
from forestall.server.people.models import Site
from forestall.server.people.roles import ROLE_PERMISSIONS, Role
from forestall.server.people.scope import Scope
from forestall.server.people.services import client_create, site_create

SYSTEM = Scope.system("tests")
START = datetime(2026, 9, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CLIENT, SITE, DEVICE = uuid4(), uuid4(), uuid4()


def at(hours: int) -> datetime:
    return START + hours * HOUR


# --- beside a model that replays it -----------------------------------------------------------------------------

Version = dict[str, Any]
"""``begins``, ``released`` (hours), ``states`` (hour, state), ``ends`` (hour, how) or None."""


@st.composite
def timelines(draw: st.DrawFn) -> list[Version]:
    """Versions of one package on one device, one after the other: each is verified, withdrawn or replaced."""
    versions: list[Version] = []
    hour = draw(st.integers(0, 100))
    for _ in range(draw(st.integers(1, 5))):
        begins = hour
        states = [(begins, draw(st.sampled_from(["planned", "blocked"])))]
        for _ in range(draw(st.integers(0, 3))):
            hour += draw(st.integers(1, 60))
            states.append((hour, draw(st.sampled_from(["planned", "failed", "skipped", "installing", "installed"]))))
        hour += draw(st.integers(1, 200))
        how = draw(st.sampled_from(["verified", "superseded", "superseded", "withdrawn", "found newer", None]))
        versions.append(
            {
                "begins": begins,
                "released": begins - draw(st.integers(0, 100)),
                "states": states,
                "ends": None if how is None else (hour, how),
            }
        )
        if how is None:
            break
        if how != "superseded":
            hour += draw(st.integers(2, 300))
    return versions


rules = st.lists(st.tuples(st.integers(-2000, 1500), st.integers(1, 900), st.integers(1, 600)), min_size=1, max_size=4)
"""(from, lasts, hours allowed): the client's own rule over time, never two at once."""
leaves = st.lists(st.tuples(st.integers(-50, 1500), st.integers(1, 500), st.none() | st.integers(1, 400)), max_size=3)


def as_rows(found: list[tuple[int, int, int]]) -> list[tuple[str, dict[str, Any], datetime, datetime | None]]:
    rows: list[tuple[str, dict[str, Any], datetime, datetime | None]] = [
        (slug, {"off": True}, at(-9000), None) for slug in BUILT_IN
    ]
    hour = -2000
    for begins, lasts, hours in sorted(found):
        hour = max(hour, begins)
        terms = Terms(title="own", deadline=Deadline(kind="after", hours=hours)).plain()
        rows.append(("own", terms, at(hour), at(hour + lasts)))
        hour += lasts
    return rows


def as_ledger(versions: list[Version], rows: Any, found: list[tuple[int, int, int | None]]) -> Ledger:
    known, changes = [], {}
    for number, version in enumerate(versions):
        end = version["ends"]
        state = "planned" if end is None else "superseded" if end[1] == "found newer" else end[1]
        known.append(
            Known(
                number, CLIENT, SITE, DEVICE, "apt", "openssl", "amd64", f"1.{number}", "system", True, "high", [],
                at(version["released"]), at(version["begins"]), state, "", None, None if end is None else at(end[0]),
                None, None, None, "", False,
            )
        )  # fmt: skip
        changes[number] = [Change(at(hour), one, "why", "worker") for hour, one in version["states"]]
        if end is not None:
            changes[number].append(Change(at(end[0]), state, "why", "worker"))
    granted = []
    for number, (since, lasts, ended) in enumerate(found):
        over = None if ended is None else at(min(since + ended, since + lasts))
        leave = Leave(number, "", at(since), at(since + lasts), over)
        granted.append((ObligationException(client_id=CLIENT), leave))
    book = Book(rows={CLIENT: rows}, leaves={CLIENT: granted} if granted else {}, timezones={CLIENT: "UTC"})
    return Ledger(_histories(known, changes, {}), book)


def replayed(
    versions: list[Version], rows: Any, found: list[tuple[int, int, int | None]], asked: int, days: int
) -> list[tuple[str, Outcome]]:
    """The straightforward model: replay what happened, one version after the other, with one clock."""
    rule = [r for r in rows if r[0] == "own" and r[2] <= at(asked) and (r[3] is None or at(asked) < r[3])]
    if not rule:
        return []
    hours = rule[0][1]["deadline"]["hours"]
    clock: int | None = None
    answers: list[tuple[str, Outcome]] = []
    for number, version in enumerate(versions):
        if version["begins"] > asked:
            break
        clock = version["released"] if clock is None else min(clock, version["released"])
        due = clock + hours
        in_time_until, original = due, due
        granted = [
            (since, since + lasts if ended is None or min(since + ended, since + lasts) > asked
             else min(since + ended, since + lasts))
            for since, lasts, ended in found if since <= asked
        ]  # fmt: skip
        while any(since <= in_time_until < end for since, end in granted):
            in_time_until += 1
        excepted = any(since <= asked < end for since, end in granted)
        end = version["ends"]
        over = end is not None and end[0] <= asked
        replaced = over and end[1] == "superseded" and number + 1 < len(versions)
        if replaced:
            continue
        if over:
            clock = None
            if end[0] <= asked - 24 * days or (end[1] == "withdrawn" and end[0] <= in_time_until):
                continue
            answers.append((f"1.{number}", Outcome.MET if end[0] <= in_time_until else Outcome.MET_LATE))
        elif asked < original:
            answers.append((f"1.{number}", Outcome.OPEN))
        else:
            answers.append((f"1.{number}", Outcome.EXCEPTED if excepted else Outcome.LATE))
    return answers


@settings(max_examples=300, deadline=None)
@given(
    versions=timelines(), found=rules, granted=leaves, asked=st.integers(0, 1800), days=st.sampled_from([1, 7, 30, 400])
)
def test_as_the_model_that_replays_what_happened(
    versions: list[Version],
    found: list[tuple[int, int, int]],
    granted: list[tuple[int, int, int | None]],
    asked: int,
    days: int,
) -> None:
    rows = as_rows(found)
    report = as_ledger(versions, rows, granted).report(at(asked), days=days)
    told = [(row.known.candidate, row.outcome) for row in report.rows]
    assert sorted(told) == sorted(replayed(versions, rows, granted, asked, days))
    assert report.total().total == len({row.known.pk for row in report.rows}), "each update once"


@settings(max_examples=60, deadline=None)
@given(
    versions=timelines(), found=rules, granted=leaves, asked=st.lists(st.integers(0, 1800), max_size=6),
    days=st.sampled_from([1, 7, 30, 400]), exploited=st.none() | st.integers(-5, 60),
)  # fmt: skip
def test_many_dates_in_one_pass_are_as_each_date_by_itself(
    versions: Any, found: Any, granted: Any, asked: list[int], days: int, exploited: int | None
) -> None:
    own = [row for row in as_rows(found) if row[0] != "kev"]

    def ledger() -> Ledger:
        made = as_ledger(versions, own, granted)
        if exploited is not None:
            day = (START + exploited * DAY).date()
            made.book.scores["CVE-2026-1"] = Score("high", 8.0, day, None)
            made.histories = [replace(one, known=one.known._replace(cves=["CVE-2026-1"])) for one in made.histories]
        return made

    ends = [at(one) for one in asked]
    together = [tally.counts for tally in ledger().totals(ends, days=days)]
    assert together == [ledger().report(end, days=days).total().counts for end in ends]


@pytest.mark.soak
@settings(max_examples=20_000, deadline=None)
@given(
    versions=timelines(), found=rules, granted=leaves, asked=st.integers(0, 1800), days=st.sampled_from([1, 7, 30, 400])
)
def test_as_the_model_at_length(versions: Any, found: Any, granted: Any, asked: int, days: int) -> None:
    rows = as_rows(found)
    report = as_ledger(versions, rows, granted).report(at(asked), days=days)
    told = [(row.known.candidate, row.outcome) for row in report.rows]
    assert sorted(told) == sorted(replayed(versions, rows, granted, asked, days))


# --- as an auditor reads it -------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@pytest.fixture
def leeds(db: None) -> Site:
    return site_create(client=client_create(name="Acme Ltd", timezone="UTC"), name="Leeds")


def device_at(site: Site, name: str = "web", **said: Any) -> Device:
    values = {"last_check_in_at": NOW, "status": "approved"} | said
    return Device.objects.create(
        client=site.client, site=site, name=name, enrolled_at=START, approved_at=START,
        public_key=uuid4().bytes * 2, **values,
    )  # fmt: skip


def lived(device: Device, *states: tuple[float, str, str], name: str = "openssl", **said: Any) -> Deployment:
    """A deployment with its history: (days before now, state, why), the earliest first."""
    began = NOW - states[0][0] * DAY
    state, last = states[-1][1], NOW - states[-1][0] * DAY
    values: dict[str, Any] = {
        "manager": "apt", "name": name, "candidate": "3.0.17", "security": True, "severity": "critical",
        "first_seen_at": began, "released_at": began, "state": state, "state_since": last, "why": states[-1][2],
        "settled_at": last if state in {"verified", "superseded", "withdrawn"} else None,
        "verified_at": last if state == "verified" else None, "skip_by": "ada" if state == "skipped" else "",
    } | said  # fmt: skip
    made: Deployment = Deployment.objects.create(
        client_id=device.client_id, site_id=device.site_id, device=device, **values
    )
    was = ""
    for days, one, why in states:
        DeploymentChange.objects.create(deployment=made, at=NOW - days * DAY, was=was, state=one, why=why, actor="ada")
        was = one
    return made


def told(site: Site, when: datetime = NOW, **said: Any) -> tuple[Report, list[Counted]]:
    report, ledger = compliance_at(scope=SYSTEM, at=when, client=site.client_id, **said)
    return report, explained(report.binding, ledger, at=when, now=NOW)


def test_what_was_late_then_is_not_what_is_late_now(leeds: Site) -> None:
    lived(device_at(leeds), (20, "planned", ""), (18, "verified", ""))
    lived(device_at(leeds, "db"), (20, "planned", ""), (10, "verified", ""))
    lived(device_at(leeds, "erp"), (20, "planned", ""))
    outcomes = {
        days: sorted(row.outcome.name for row in told(leeds, NOW - days * DAY)[0].binding) for days in (21, 19, 15, 0)
    }
    assert outcomes == {
        21: [],
        19: ["OPEN", "OPEN", "OPEN"],
        15: ["LATE", "LATE", "MET"],
        0: ["LATE", "MET", "MET_LATE"],
    }
    assert told(leeds)[0].total().percent == pytest.approx(100 / 3)
    assert told(leeds, NOW - 19 * DAY)[0].total().percent is None, "nothing was due yet"
    assert [tally.counts[Outcome.LATE] for tally in trend(scope=SYSTEM, ends=[NOW - 15 * DAY, NOW])] == [2, 1]


def test_it_counts_by_the_rules_that_were_in_force_then(leeds: Site) -> None:
    lived(device_at(leeds), (5, "planned", ""))
    assert told(leeds, NOW - DAY)[0].total().counts[Outcome.LATE] == 1
    obligation_rule_set(
        client=leeds.client, slug="contract", terms={"off": True}, reason="A new contract.", scope=SYSTEM, now=NOW
    )
    assert told(leeds, NOW - DAY)[0].total().counts[Outcome.LATE] == 1, "what held then still counts then"
    assert told(leeds, NOW + HOUR)[0].total().counts == {**Tally().counts, Outcome.OPEN: 1}


def test_an_exception_is_shown_as_one_and_counts_again_when_it_expires(leeds: Site) -> None:
    web = device_at(leeds)
    lived(web, (2, "planned", ""))
    exception_grant(
        client=leeds.client, device_id=web.pk, obligation="", reason="r", compensating_control="c",
        expires_at=NOW + 20 * DAY, scope=SYSTEM, now=NOW,
    )  # fmt: skip
    for days, outcome in ((-1, Outcome.OPEN), (10, Outcome.EXCEPTED), (21, Outcome.LATE)):
        assert told(leeds, NOW + days * DAY)[0].total().counts[outcome] == 1, days


def test_every_late_one_is_explained(leeds: Site) -> None:
    window_create(
        site=leeds, name="Night", starts_on=date(2026, 9, 1), starts_at="22:00", minutes=60, rrule="FREQ=DAILY",
        scope=SYSTEM, now=START,
    )  # fmt: skip
    studio = site_create(client=leeds.client, name="Studio")
    web = device_at(leeds)
    cases = {
        "approval": (web, [(10, "blocked", "Waits for approval."), (2, "planned", "")]),
        "failing": (web, [(9, "planned", ""), (8, "failed", "x"), (7, "planned", ""), (6, "failed", "No space left.")]),
        "excluded": (web, [(9, "skipped", "The ERP needs it.")]),
        "reboot": (web, [(9, "planned", ""), (8, "installing", ""), (8, "pending_reboot", ""), (1, "verified", "")]),
        "nowindow": (device_at(studio, "mac"), [(9, "blocked", "No maintenance window is planned for this device.")]),
        "silent": (device_at(leeds, "gone", last_check_in_at=NOW - 5 * DAY), [(9, "planned", "")]),
    }  # fmt: skip
    for name, (device, states) in cases.items():
        lived(device, *states, name=name)
    lived(web, (5, "planned", ""), name="old", released_at=NOW - 60 * DAY)
    why = {row.known.name: row.why for row in told(leeds)[1]}
    assert why == {
        "approval": "waited for approval 8 days; waited 2 days for its window.",
        "failing": "failed twice: No space left; waited 2 days for its window.",
        "excluded": "deferred or excluded 9 days by ada: The ERP needs it.",
        "reboot": "waited for a reboot 7 days; waited 24 h for its window.",
        "nowindow": "no window between 14 Nov 09:00 and 17 Nov 09:00; blocked 9 days: No maintenance window is planned "
        "for this device.",
        "silent": "waited 9 days for its window; the device is silent since 18 Nov 09:00.",
        "old": "its deadline had passed when it was first seen 18 Nov 09:00; waited 5 days for its window.",
    }


def test_it_adds_up_by_device_client_severity_and_obligation(leeds: Site) -> None:
    web = device_at(leeds)
    lived(web, (9, "planned", ""), name="critical")
    lived(web, (9, "planned", ""), (8, "verified", ""), name="unrated", severity="")
    lived(device_at(leeds, "db"), (9, "planned", ""), name="plain", severity="", security=False)
    report = told(leeds)[0]
    assert {slug: tally.counts[Outcome.LATE] for slug, tally in report.by_obligation().items()} == {
        "contract": 1, "cyber-essentials": 0, "routine-monthly": 0,
    }  # fmt: skip
    assert {one: tally.total for one, tally in report.by_severity().items()} == {"critical": 1, "high": 1, "": 1}
    assert {one: tally.percent for one, tally in report.by_client().items()} == {leeds.client_id: 50}
    assert report.by_device()[web.pk].total == 2
    assert sum(tally.total for tally in report.by_device().values()) == 3


def test_a_site_is_seen_by_those_who_see_it(leeds: Site) -> None:
    other = site_create(client=client_create(name="Bolt", timezone="UTC"), name="York")
    lived(device_at(leeds), (9, "planned", ""))
    lived(device_at(other, "db"), (9, "planned", ""))
    tina = Scope.at("tina", 1, ROLE_PERMISSIONS[Role.TECHNICIAN], clients=[leeds.client_id])
    report, _ledger = compliance_at(scope=tina, at=NOW)
    assert {row.known.client_id for row in report.rows} == {leeds.client_id}
    with pytest.raises(ValueError, match="days: 0"):
        compliance_at(scope=tina, at=NOW, days=0)


def test_devices_that_left_owe_nothing_from_then_on(leeds: Site) -> None:
    lived(device_at(leeds, status="revoked", revoked_at=NOW - DAY, revoked_reason="sold"), (9, "planned", ""))
    assert told(leeds)[0].total().total == 0
    assert told(leeds, NOW - 2 * DAY)[0].total().counts[Outcome.LATE] == 1


def test_what_was_counted_is_counted_again_when_something_changed(leeds: Site) -> None:
    before = fingerprint(scope=SYSTEM)
    assert fingerprint(scope=SYSTEM) == before
    lived(device_at(leeds), (9, "planned", ""))
    assert fingerprint(scope=SYSTEM) != before


def test_few_questions_however_many_updates(leeds: Site, django_assert_max_num_queries: Any) -> None:
    for number in range(40):
        lived(device_at(leeds, f"web-{number}"), (9, "planned", ""), (8, "failed", "No space left."))
    with django_assert_max_num_queries(9):
        report, ledger = compliance_at(scope=SYSTEM, at=NOW)
        assert len(explained(report.rows, ledger, at=NOW, now=NOW)) == 120
