"""By when an update has to be in: the strictest obligation binds, whatever else is agreed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestall.server.patching.obligations import (
    BUILT_IN,
    DEADLINES,
    KINDS,
    SEVERITIES,
    Ahead,
    Deadline,
    Exploit,
    Leave,
    ObligationError,
    Rated,
    Rule,
    Terms,
    binding,
    covers,
    dues_of,
    miss,
    moved,
    rules_in_force,
)

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
RULES = rules_in_force([], NOW)


def fix(**said: object) -> Rated:
    return replace(
        Rated(kind="system", security=True, severity="", first_seen_at=NOW, released_at=NOW),
        **said,  # type: ignore[arg-type]
    )


def test_the_contracts_72_hours_bind_a_critical_fix_and_cyber_essentials_binds_a_high_one() -> None:
    critical = binding(fix(severity="critical"), RULES, NOW)
    assert critical is not None
    assert (critical.slug, critical.due_at) == ("contract", NOW + timedelta(hours=72))
    assert critical.why == "72 h, released 23 Nov 2026"
    assert [due.slug for due in critical.dues] == ["contract", "routine-monthly", "cyber-essentials"]
    high = binding(fix(severity="high"), RULES, NOW)
    assert high is not None
    assert (high.slug, high.due_at) == ("cyber-essentials", NOW + timedelta(days=14))


@pytest.mark.parametrize(
    ("update", "binds"),
    [
        (fix(severity="medium"), "routine-monthly"),
        (fix(severity="medium", cvss=7.0), "cyber-essentials"),
        (fix(severity="medium", cvss=6.9), "routine-monthly"),
        (fix(), "cyber-essentials"),
        (fix(security=False), "routine-monthly"),
        (fix(kind="language", security=False), None),
        (fix(kind="firmware", severity="high"), "cyber-essentials"),
        (fix(kind="firmware", security=False), "firmware-quarterly"),
        (fix(exploits=(Exploit("CVE-2026-1", date(2026, 11, 20), date(2026, 11, 24)),)), "kev"),
        (fix(exploits=(Exploit("CVE-2026-1", date(2026, 11, 24)),)), "cyber-essentials"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_binds_follows_from_what_is_known_of_the_update(update: Rated, binds: str | None) -> None:
    """An unrated security fix counts as high; a medium one with CVSS 7 counts too; what nobody exploits yet is not."""
    bound = binding(update, RULES, NOW)
    assert (bound.slug if bound else None) == binds


def test_where_the_release_is_not_known_the_clock_counts_from_first_sight_and_says_so() -> None:
    bound = binding(fix(released_at=None, severity="critical"), RULES, NOW)
    assert bound is not None
    assert (bound.counted_from, bound.why) == (NOW, "72 h, first seen 23 Nov 2026, its release is not known")


def test_months_and_quarters_end_at_midnight_of_the_clients_clock() -> None:
    """Released on 23 November: the month's end is too near, so December's; in Berlin an hour before UTC's."""
    routine = binding(fix(security=False), RULES, NOW, timezone="Europe/Berlin")
    assert routine is not None
    assert routine.due_at == datetime(2026, 12, 31, 23, 0, tzinfo=UTC)
    firmware = binding(fix(kind="firmware", security=False), RULES, NOW + timedelta(days=30))
    assert firmware is not None
    assert firmware.due_at == datetime(2027, 1, 1, tzinfo=UTC)
    patch_day = Terms(title="Patch day", deadline=Deadline(kind="weekday", nth=2, weekday=1, least_days=3))
    second_tuesday = binding(fix(), [Rule("patch-day", patch_day)], NOW)
    assert second_tuesday is not None
    assert second_tuesday.due_at == datetime(2026, 12, 9, tzinfo=UTC)
    last_friday = Terms(title="Last Friday", deadline=Deadline(kind="weekday", nth=-1, weekday=4))
    assert dues_of(fix(), [Rule("last", last_friday)], NOW)[0].due_at == datetime(2026, 11, 28, tzinfo=UTC)


def test_a_due_date_of_the_catalogue_ends_with_its_day_and_two_weeks_stand_in_for_one() -> None:
    named = fix(exploits=(Exploit("CVE-2026-1", date(2026, 11, 1), date(2026, 11, 22)),))
    assert [d.due_at for d in dues_of(named, RULES, NOW) if d.slug == "kev"] == [datetime(2026, 11, 23, tzinfo=UTC)]
    unnamed = fix(exploits=(Exploit("CVE-2026-1", date(2026, 11, 1)),))
    found = next(d for d in dues_of(unnamed, RULES, NOW) if d.slug == "kev")
    assert (found.due_at, found.why) == (
        datetime(2026, 11, 16, tzinfo=UTC),
        "CVE-2026-1 is known to be exploited since 1 Nov 2026, due 15 Nov 2026",
    )


def test_a_newer_version_never_restarts_the_clock() -> None:
    """Ann's browser gets a new version each week: the first that was never installed still counts."""
    older = fix(severity="high", released_at=NOW - timedelta(days=10))
    bound = binding(fix(severity="high"), RULES, NOW, earlier=[older])
    assert bound is not None
    assert bound.due_at == NOW + timedelta(days=4)
    assert "counted from an older version that was never installed" in bound.why


# --- clients' own rules -----------------------------------------------------------------------------------------


def test_a_clients_own_row_replaces_switches_off_or_adds_from_when_it_begins_until_it_ends() -> None:
    day = timedelta(days=1)
    tighter = replace(BUILT_IN["contract"], deadline=Deadline(kind="after", hours=24)).plain()
    rows = [
        ("contract", tighter, NOW - 3 * day, NOW - day),
        ("cyber-essentials", {"off": True}, NOW - 2 * day, None),
        ("bank", Terms(title="The bank's", deadline=Deadline(kind="after", hours=48)).plain(), NOW + day, None),
    ]
    then = {rule.slug: rule for rule in rules_in_force(rows, NOW - 2 * day)}
    assert then["contract"].terms.deadline.hours == 24
    assert then["contract"].own
    assert "cyber-essentials" not in then
    today = {rule.slug: rule for rule in rules_in_force(rows, NOW)}
    assert today["contract"].terms.deadline.hours == 72
    assert "bank" not in today
    assert "bank" in {rule.slug for rule in rules_in_force(rows, NOW + day)}


@pytest.mark.parametrize(
    ("plain", "names"),
    [
        ({"deadline": {"kind": "after", "hours": 0}}, "hours: 0"),
        ({"deadline": {"kind": "someday"}}, "'someday'"),
        ({"deadline": {"kind": "weekday", "nth": 5}}, "nth, weekday: 5"),
        ({"deadline": {"kind": "after", "hours": 1, "counts_from": "birth"}}, "'birth'"),
        ({"deadline": {"hours": 3}}, "expected kind"),
        ({"deadline": {"kind": "kev"}}, "kev goes with exploited"),
        ({"severities": ["dire"]}, "'dire'"),
        ({"kinds": ["soft"]}, "'soft'"),
        ({"cvss_at_least": 11}, "cvss_at_least: 11"),
        ({"test_device": "pc-1"}, "'pc-1'"),
        ({"titel": "x"}, "titel: unknown"),
        ({"title": ""}, "title"),
    ],
)
def test_terms_that_are_none_are_refused_by_name(plain: dict[str, object], names: str) -> None:
    with pytest.raises(ObligationError, match=names.replace("(", r"\(")):
        Terms.parse(plain, base=BUILT_IN["contract"])


def test_terms_are_kept_as_plain_values_and_read_again() -> None:
    for terms in BUILT_IN.values():
        terms.check()
        assert Terms.parse(terms.plain()) == terms


# --- exceptions -------------------------------------------------------------------------------------------------


def leave(start: int, end: int, *, slug: str = "", ended: int | None = None) -> Leave:
    days = timedelta(days=1)
    return Leave(1, slug, NOW + start * days, NOW + end * days, None if ended is None else NOW + ended * days)


def test_leave_that_was_granted_in_time_moves_the_deadline_and_leave_afterwards_undoes_no_lateness() -> None:
    due, day = NOW + timedelta(days=10), timedelta(days=1)
    in_time = leave(5, 30)
    assert moved(due, [in_time], NOW) == (due, None), "not granted yet"
    assert moved(due, [in_time], NOW + 6 * day) == (NOW + 30 * day, NOW + 30 * day)
    assert moved(due, [in_time], NOW + 31 * day) == (NOW + 30 * day, None), "it has expired and counts again"
    afterwards = leave(12, 30)
    assert moved(due, [afterwards], NOW + 13 * day) == (due, NOW + 30 * day)
    assert moved(due, [afterwards], NOW + 31 * day) == (due, None)
    ended = leave(5, 30, ended=15)
    assert moved(due, [ended], NOW + 14 * day) == (NOW + 30 * day, NOW + 30 * day)
    assert moved(due, [ended], NOW + 16 * day) == (NOW + 15 * day, None), "ended early: it counts from then"


# --- what always holds ------------------------------------------------------------------------------------------

instants = st.integers(-90 * 24, 90 * 24).map(lambda hours: NOW + timedelta(hours=hours))
severities = st.sampled_from(["", *SEVERITIES])
deadlines = st.builds(
    Deadline,
    kind=st.sampled_from([kind for kind in DEADLINES if kind != "kev"]),
    hours=st.integers(1, 2000),
    least_days=st.integers(0, 60),
    nth=st.sampled_from([1, 2, 3, 4, -1]),
    weekday=st.integers(0, 6),
    counts_from=st.sampled_from(["release", "first_seen"]),
)
all_terms = st.builds(
    Terms,
    title=st.just("t"),
    deadline=deadlines,
    security=st.booleans(),
    kinds=st.lists(st.sampled_from(KINDS), max_size=2).map(tuple),
    severities=st.lists(st.sampled_from(SEVERITIES), max_size=2).map(tuple),
    cvss_at_least=st.none() | st.floats(0, 10),
    unrated=st.booleans(),
)
updates = st.builds(
    Rated,
    kind=st.sampled_from(KINDS),
    security=st.booleans(),
    severity=severities,
    first_seen_at=instants,
    released_at=st.none() | instants,
    cvss=st.none() | st.floats(0, 10),
    exploits=st.lists(
        st.builds(
            Exploit,
            cve=st.just("CVE-1"),
            added_on=instants.map(datetime.date),
            due_on=st.none() | instants.map(datetime.date),
        ),
        max_size=2,
    ).map(tuple),
)
rule_lists = st.lists(all_terms, max_size=4).map(
    lambda found: [*RULES, *(Rule(f"own-{number}", terms) for number, terms in enumerate(found))]
)
zones = st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Auckland", "America/New_York"])
leaves = st.lists(
    st.builds(
        leave,
        start=st.integers(-60, 0),
        end=st.integers(1, 60),
        slug=st.sampled_from(["", "contract", "cyber-essentials", "kev", "own-0"]),
    ),
    max_size=3,
)


@given(update=updates, rules=rule_lists, zone=zones, excepted=leaves)
def test_the_strictest_wins(update: Rated, rules: list[Rule], zone: str, excepted: list[Leave]) -> None:
    bound = binding(update, rules, NOW, timezone=zone, leaves=excepted)
    dues = dues_of(update, rules, NOW, timezone=zone, leaves=excepted)
    if bound is None:
        assert not dues
        return
    assert bound.due_at == min(due.due_at for due in dues)
    assert bound.slug in {due.slug for due in dues}
    assert bound.dues == dues


@given(update=updates, rules=rule_lists, more=all_terms, zone=zones, excepted=leaves)
def test_adding_a_rule_never_loosens(
    update: Rated, rules: list[Rule], more: Terms, zone: str, excepted: list[Leave]
) -> None:
    before = binding(update, rules, NOW, timezone=zone, leaves=excepted)
    after = binding(update, [*rules, Rule("more", more)], NOW, timezone=zone, leaves=excepted)
    if before is not None:
        assert after is not None
        assert after.due_at <= before.due_at


@given(update=updates, rules=rule_lists, excepted=leaves)
def test_an_exception_moves_its_own_obligation_and_no_other_and_never_forward(
    update: Rated, rules: list[Rule], excepted: list[Leave]
) -> None:
    without = {due.slug: due for due in dues_of(update, rules, NOW)}
    slugs = {one.obligation for one in excepted}
    for due in dues_of(update, rules, NOW, leaves=excepted):
        assert due.original_due_at == without[due.slug].due_at
        assert due.due_at >= due.original_due_at
        if "" not in slugs and due.slug not in slugs:
            assert due == without[due.slug]


@given(update=updates, rules=rule_lists)
def test_what_is_rated_worse_later_is_due_no_later(update: Rated, rules: list[Rule]) -> None:
    """With obligations that name every severity from theirs upwards, as the built-in ones do."""
    upwards = [rule for rule in rules if rule.slug in BUILT_IN]
    dues = []
    for severity in ("low", "medium", "high", "critical"):
        bound = binding(replace(update, severity=severity), upwards, NOW)
        dues.append(bound.due_at if bound else datetime.max.replace(tzinfo=UTC))
    assert dues == sorted(dues, reverse=True)


@given(update=updates, rules=rule_lists, older=st.lists(updates, max_size=3))
def test_older_versions_only_tighten(update: Rated, rules: list[Rule], older: list[Rated]) -> None:
    alone, chained = binding(update, rules, NOW), binding(update, rules, NOW, earlier=older)
    if alone is not None:
        assert chained is not None
        assert chained.due_at <= alone.due_at


@given(start=instants, terms=all_terms, zone=zones)
def test_no_deadline_lies_before_what_it_counts_from(start: datetime, terms: Terms, zone: str) -> None:
    update = Rated(kind="system", security=True, severity="critical", first_seen_at=start, cvss=10.0)
    for due in dues_of(update, [Rule("one", terms)], NOW, timezone=zone):
        assert due.due_at > due.counted_from
        assert due.due_at - due.counted_from <= timedelta(days=2000 / 24) or terms.deadline.kind != "after"


# --- whether the next window misses it --------------------------------------------------------------------------

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("ahead", "why"),
    [
        (Ahead(opens_at=NOW + HOUR), ""),
        (Ahead(opens_at=NOW + 71.75 * HOUR), ""),
        (Ahead(opens_at=NOW + 72 * HOUR), "the next window opens Thu 26 Nov 09:00 UTC, after its deadline"),
        (Ahead(opens_at=NOW + 71 * HOUR, needed=2 * HOUR), "the next window opens"),
        (Ahead(opens_at=None), "no window is planned"),
        (Ahead(opens_at=NOW, skipped=True), "it is excluded"),
        (Ahead(opens_at=NOW, skipped=True, skip_until=NOW + 80 * HOUR), "it is deferred until"),
        (Ahead(opens_at=NOW, skipped=True, skip_until=NOW + 10 * HOUR), ""),
        (Ahead(opens_at=NOW, kept="it waits for approval"), "it waits for approval"),
        (Ahead(opens_at=NOW, waits_for_test="it is not verified on the test device yet"), "it is not verified"),
        (Ahead(opens_at=None, nothing_to_install=True), ""),
    ],
)
def test_the_next_window_is_early_enough_or_it_is_said_why_not(ahead: Ahead, why: str) -> None:
    found = miss(NOW + 72 * HOUR, ahead, NOW)
    assert found.startswith(why)
    assert bool(found) == bool(why)


def test_what_is_past_its_deadline_is_late_whatever_is_planned() -> None:
    assert miss(NOW, Ahead(opens_at=NOW), NOW) == "it is late since Mon 23 Nov 09:00 UTC"


def test_a_pattern_covers_by_provider_package_and_version() -> None:
    openssl = ("apt", "openssl", "3.0.17")
    assert covers(("", "", ""), openssl)
    assert covers(("apt", "open*", ""), openssl)
    assert not covers(("dnf", "open*", ""), openssl)
    assert not covers(("", "open", ""), openssl)
    assert not covers(("", "openssl", "3.0.16"), openssl)
