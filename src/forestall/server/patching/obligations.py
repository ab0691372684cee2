"""Obligations: by when an update has to be installed, who says so, and which of several binds. No I/O.

An obligation is data (``Terms``): which updates it is about, and its deadline. The built-in ones hold at every client;
a client's own rows (``ObligationRule``) replace one, switch it off or add another. The strictest wins: the earliest of
all deadlines binds, and nothing that is added can loosen it. An exception moves the deadline of its own obligation
and no other.

An update that fixes vulnerabilities and that nobody has rated (the usual case with apt) counts as ``high``: Cyber
Essentials includes what is not rated, and what is unknown is not harmless.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

SEVERITIES = ("critical", "high", "medium", "low")
KINDS = ("system", "application", "firmware", "language")
COUNTS_FROM = ("release", "first_seen")
KEV_GRACE = timedelta(days=14)
"""Where the catalogue names no due date: BOD 22-01 allows two weeks for vulnerabilities of 2021 and later."""
LONGEST_HOURS = 366 * 24
MOST_LEAST_DAYS = 92
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
LEAST_WINDOW = timedelta(minutes=15)
"""A window shorter than this is not counted on: fetching, installing and looking again take their time."""


class ObligationError(ValueError):
    """Terms that cannot be an obligation's; names the bad value."""


DeadlineKind = Literal["after", "kev", "month_end", "quarter_end", "weekday"]
DEADLINES: tuple[DeadlineKind, ...] = ("after", "kev", "month_end", "quarter_end", "weekday")


@dataclass(frozen=True, slots=True)
class Deadline:
    """By when. Calendar days end at midnight of the client's time zone."""

    kind: DeadlineKind
    """``after``: so many ``hours`` after. ``kev``: the due date of CISA's catalogue. ``month_end``, ``quarter_end``,
    ``weekday``: the first end of a month, of a quarter, or of the ``nth`` ``weekday`` of a month that is at least
    ``least_days`` after."""
    hours: int = 0
    least_days: int = 0
    nth: int = 0
    """1 to 4; -1: the month's last."""
    weekday: int = 0
    """0: Monday."""
    counts_from: str = "release"
    """``release``: the vendor's; where that is not known, first sight. ``first_seen``: first sight on the device."""

    def check(self) -> None:
        """ObligationError for a deadline that is none."""
        if self.kind not in DEADLINES:
            raise ObligationError(f"deadline: {self.kind!r} is not one of {', '.join(DEADLINES)}")
        if self.counts_from not in COUNTS_FROM:
            raise ObligationError(f"counts_from: {self.counts_from!r} is not one of {', '.join(COUNTS_FROM)}")
        if self.kind == "after" and not 0 < self.hours <= LONGEST_HOURS:
            raise ObligationError(f"hours: {self.hours} is not between 1 and {LONGEST_HOURS}")
        if not 0 <= self.least_days <= MOST_LEAST_DAYS:
            raise ObligationError(f"least_days: {self.least_days} is not between 0 and {MOST_LEAST_DAYS}")
        if self.kind == "weekday" and (self.nth not in {1, 2, 3, 4, -1} or not 0 <= self.weekday <= 6):
            raise ObligationError(f"nth, weekday: {self.nth}, {self.weekday}: expected 1 to 4 or -1, and 0 to 6")

    @property
    def words(self) -> str:
        since = "vendor release" if self.counts_from == "release" else "first sight"
        if self.kind == "after":
            return f"{span_words(self.hours)} after {since}"
        if self.kind == "kev":
            return "the due date in CISA's catalogue"
        if self.kind == "weekday":
            nth = "last" if self.nth == -1 else ("first", "second", "third", "fourth")[self.nth - 1]
            end = f"the {nth} {WEEKDAYS[self.weekday].capitalize()} of a month"
        else:
            end = "the end of the month" if self.kind == "month_end" else "the end of the quarter"
        return f"{end}, at least {self.least_days} days after {since}" if self.least_days else f"{end} after {since}"


@dataclass(frozen=True, slots=True)
class Terms:
    """An obligation: which updates it is about, and by when.

    ``kinds``, ``security`` and ``exploited`` must hold together; of ``severities``, ``cvss_at_least`` and ``unrated``,
    where any is given, one is enough.
    """

    title: str
    deadline: Deadline
    source: str = ""
    """Who demands it: contract, directive, scheme."""
    clause: str = ""
    """Where that is written, and what it says."""
    security: bool = False
    """Only updates that fix vulnerabilities."""
    exploited: bool = False
    """Only fixes of vulnerabilities that CISA knows exploited."""
    kinds: tuple[str, ...] = ()
    """Empty: every kind."""
    severities: tuple[str, ...] = ()
    cvss_at_least: float | None = None
    unrated: bool = False
    needs_test: bool = False
    """To be verified on the client's named test device before any other gets it."""
    test_device: str = ""
    """Id of that device; a client's own rule names it."""

    def check(self) -> None:
        """ObligationError unless they are an obligation."""
        if not self.title.strip() or len(self.title) > 100:
            raise ObligationError(f"title: {self.title[:110]!r}: expected 1 to 100 characters")
        for name, most in (("source", 300), ("clause", 1000)):
            if len(getattr(self, name)) > most:
                raise ObligationError(f"{name}: {len(getattr(self, name))} characters, at most {most}")
        for what, values, known in (("kinds", self.kinds, KINDS), ("severities", self.severities, SEVERITIES)):
            for one in values:
                if one not in known:
                    raise ObligationError(f"{what}: {one!r} is not one of {', '.join(known)}")
        if self.cvss_at_least is not None and not 0 <= self.cvss_at_least <= 10:
            raise ObligationError(f"cvss_at_least: {self.cvss_at_least:g} is not between 0 and 10")
        if self.test_device:
            try:
                UUID(self.test_device)
            except ValueError:
                raise ObligationError(f"test_device: {self.test_device!r} is not the id of a device") from None
        if self.deadline.kind == "kev" and not self.exploited:
            raise ObligationError("deadline: kev goes with exploited: nothing else has a due date in CISA's catalogue")
        self.deadline.check()

    def plain(self) -> dict[str, Any]:
        """As plain values, to be kept as JSON."""
        found = asdict(self)
        return {**found, "kinds": list(self.kinds), "severities": list(self.severities)}

    @classmethod
    def parse(cls, plain: Mapping[str, Any], *, base: Terms | None = None) -> Terms:
        """From plain values; what is not named stays as in ``base``. ObligationError names what is wrong."""
        known = {one.name for one in fields(cls)}
        for name in plain:
            if name not in known:
                raise ObligationError(f"{name}: unknown; expected one of {', '.join(sorted(known))}")
        given: dict[str, Any] = {**(base.plain() if base else {}), **plain}
        deadline = given.pop("deadline", None)
        if isinstance(deadline, Mapping):
            strange = set(deadline) - {one.name for one in fields(Deadline)}
            if strange or "kind" not in deadline:
                raise ObligationError(f"deadline: {dict(deadline)!r}: expected kind, hours, least_days, nth, weekday …")
            deadline = Deadline(**deadline)
        if not isinstance(deadline, Deadline):
            raise ObligationError("deadline: missing")
        try:
            terms = cls(
                **{
                    **given,
                    "deadline": deadline,
                    "kinds": tuple(given.get("kinds", ())),
                    "severities": tuple(given.get("severities", ())),
                }
            )
            terms.check()
        except TypeError as error:
            raise ObligationError(f"terms: {error}") from None
        return terms

    @property
    def about(self) -> str:
        """Which updates it is about, in words."""
        rated = [*self.severities]
        if self.cvss_at_least is not None:
            rated.append(f"CVSS {self.cvss_at_least:g} or more")
        if self.unrated:
            rated.append("not rated")
        kinds = " and ".join(self.kinds) if self.kinds else ""
        what = "security updates" if self.security else "updates"
        said = f"{kinds} {what}".strip() if kinds else what if self.security else "every update"
        if rated:
            last = f"{', ' if len(rated) > 2 else ' '}or {rated[-1]}"
            said += f" rated {', '.join(rated[:-1])}{last}" if len(rated) > 1 else f" rated {rated[0]}"
        if self.exploited:
            said += " of vulnerabilities known to be exploited"
        return said


@dataclass(frozen=True, slots=True)
class Rule:
    """An obligation in force at a client."""

    slug: str
    terms: Terms
    own: bool = False
    """The client's own, or its own terms of a built-in one."""


BUILT_IN: Mapping[str, Terms] = {
    "contract": Terms(
        title="Contract: critical within 72 h",
        source="The service agreement between provider and client",
        clause="Critical security updates are installed within 72 hours of their release.",
        security=True,
        severities=("critical",),
        deadline=Deadline(kind="after", hours=72),
    ),
    "routine-monthly": Terms(
        title="Routine: monthly",
        source="The service agreement between provider and client",
        clause="Other updates of operating systems and applications are installed monthly.",
        kinds=("system", "application"),
        deadline=Deadline(kind="month_end", least_days=14),
    ),
    "firmware-quarterly": Terms(
        title="Firmware: quarterly, tested first",
        source="The service agreement between provider and client",
        clause="Firmware is updated quarterly, after a pre-change test on a named test device.",
        kinds=("firmware",),
        deadline=Deadline(kind="quarter_end", least_days=14),
        needs_test=True,
    ),
    "cyber-essentials": Terms(
        title="Cyber Essentials: 14 days",
        source="NCSC, Cyber Essentials: Requirements for IT Infrastructure v3.2",
        clause=(
            "Security update management: updates are installed within 14 days of release where they fix "
            "vulnerabilities that the vendor rates critical or high, with a CVSS v3 base score of 7 or above, or whose "
            "level the vendor does not say. Firmware of routers and firewalls included."
        ),
        security=True,
        severities=("critical", "high"),
        cvss_at_least=7.0,
        unrated=True,
        deadline=Deadline(kind="after", hours=14 * 24),
    ),
    "kev": Terms(
        title="Known exploited: CISA's due date",
        source="CISA, Binding Operational Directive 22-01",
        clause=(
            "Vulnerabilities in the catalogue of known exploited vulnerabilities are remediated by the due date "
            "that the catalogue names; where it names none, within two weeks."
        ),
        security=True,
        exploited=True,
        deadline=Deadline(kind="kev"),
    ),
}
"""Obligations that hold at every client without a row.

- ``contract``, ``routine-monthly``, ``firmware-quarterly``: what a managed-service agreement promises by default.
- ``cyber-essentials``: NCSC, *Requirements for IT Infrastructure* v3.2, "Security update management".
- ``kev``: CISA, Binding Operational Directive 22-01, and the due dates of its catalogue.
"""


@dataclass(frozen=True, slots=True)
class Exploit:
    """A line of CISA's catalogue about a vulnerability that an update fixes."""

    cve: str
    added_on: date
    due_on: date | None = None


@dataclass(frozen=True, slots=True)
class Rated:
    """An update on a device, with what is known of the vulnerabilities it fixes."""

    kind: str
    security: bool
    """Marked as a security update, or fixes a vulnerability that has a name."""
    severity: str
    """The worst of the vendor's rating and its vulnerabilities'; empty: unrated."""
    first_seen_at: datetime
    released_at: datetime | None = None
    cvss: float | None = None
    """The highest base score."""
    exploits: tuple[Exploit, ...] = ()

    @property
    def counted_severity(self) -> str:
        """As compliance counts it: a security update that nobody rated counts as high."""
        return self.severity or ("high" if self.security else "")


@dataclass(frozen=True, slots=True)
class Leave:
    """An exception as the rules see it."""

    pk: int
    obligation: str
    """Slug; empty: every obligation."""
    granted_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None

    def end_known_at(self, at: datetime) -> datetime:
        """When it ends, as far as was known at ``at``."""
        return self.ended_at if self.ended_at is not None and self.ended_at <= at else self.expires_at


@dataclass(frozen=True, slots=True)
class Due:
    """What one obligation demands of one update."""

    slug: str
    title: str
    due_at: datetime
    """With exceptions in force; see ``original_due_at``."""
    original_due_at: datetime
    binding_due_at: datetime
    """Until when it is in time: moved only by what was granted before the deadline passed."""
    counted_from: datetime
    why: str
    excepted_until: datetime | None = None
    """An exception is in force until then."""
    earlier: bool = False
    """It counts from an older version that was never installed."""


@dataclass(frozen=True, slots=True)
class Binding:
    """The strictest of an update's obligations, and all of them for explanation."""

    slug: str
    due_at: datetime
    counted_from: datetime
    why: str
    dues: tuple[Due, ...] = field(default=())


def rules_in_force(
    rows: Iterable[tuple[str, Mapping[str, Any], datetime, datetime | None]], at: datetime
) -> list[Rule]:
    """The obligations in force at a client at ``at``: the built-in ones, as its own rows (slug, terms, from, until)
    replace them, switch them off or add to them."""
    own = {slug: terms for slug, terms, since, until in rows if since <= at and (until is None or at < until)}
    found = [Rule(slug, terms) for slug, terms in BUILT_IN.items() if slug not in own]
    found += [Rule(slug, Terms.parse(terms), own=True) for slug, terms in own.items() if not terms.get("off")]
    order = {slug: number for number, slug in enumerate(BUILT_IN)}
    return sorted(found, key=lambda rule: (order.get(rule.slug, len(order)), rule.slug))


def applies(terms: Terms, update: Rated, at: datetime) -> bool:
    """Whether the obligation is about this update, by what was known at ``at``."""
    if terms.kinds and update.kind not in terms.kinds:
        return False
    if terms.security and not update.security:
        return False
    if terms.exploited and not any(one.added_on <= at.astimezone(UTC).date() for one in update.exploits):
        return False
    if not (terms.severities or terms.cvss_at_least is not None or terms.unrated):
        return True
    return (
        update.severity in terms.severities
        or (terms.cvss_at_least is not None and update.cvss is not None and update.cvss >= terms.cvss_at_least)
        or (terms.unrated and not update.severity and update.cvss is None)
    )


def due_of(terms: Terms, update: Rated, at: datetime, timezone: str = "UTC") -> tuple[datetime, datetime, str]:
    """(due, counted from, why) of an obligation that applies. Calendar deadlines end in the client's ``timezone``."""
    deadline = terms.deadline
    released = update.released_at is not None and deadline.counts_from == "release"
    start = update.released_at if released and update.released_at is not None else update.first_seen_at
    since = f"released {_day(start)}" if released else f"first seen {_day(start)}"
    if not released and deadline.counts_from == "release" and deadline.kind != "kev":
        since += ", its release is not known"
    if deadline.kind == "kev":
        known = [one for one in update.exploits if one.added_on <= at.astimezone(UTC).date()]
        first = min(known, key=_kev_due)
        added = datetime.combine(first.added_on, time(), UTC)
        why = f"{first.cve} is known to be exploited since {_day(added)}, due {_kev_due(first):%-d %b %Y}"
        return datetime.combine(_kev_due(first) + timedelta(days=1), time(), UTC), added, why
    if deadline.kind == "after":
        return start + timedelta(hours=deadline.hours), start, f"{span_words(deadline.hours)}, {since}"
    due = _calendar_end(deadline, start, timezone)
    return due, start, f"{deadline.words.split(',')[0].removesuffix(' after vendor release')}, {since}"


def moved(due: datetime, leaves: Iterable[Leave], at: datetime) -> tuple[datetime, datetime | None]:
    """A deadline as exceptions move it, by what was known at ``at``; and until when one is in force (None: none is).

    One granted before the deadline moves it to its end, for good: what is installed within is in time. One granted
    after it is leave from then on, and undoes no lateness.
    """
    known = sorted((one for one in leaves if one.granted_at <= at), key=lambda one: one.granted_at)
    for one in known:
        if one.granted_at <= due < one.end_known_at(at):
            due = one.end_known_at(at)
    in_force = [one.end_known_at(at) for one in known if at < one.end_known_at(at)]
    return due, max(in_force, default=None)


def binding(
    update: Rated,
    rules: Sequence[Rule],
    at: datetime,
    *,
    timezone: str = "UTC",
    leaves: Sequence[Leave] = (),
    earlier: Sequence[Rated] = (),
) -> Binding | None:
    """The obligation that binds an update: the one with the earliest deadline; None when none is about it.

    ``leaves``: the exceptions that cover this update. ``earlier``: older versions that it replaced before they were
    installed: a newer version never restarts a clock.
    """
    dues = dues_of(update, rules, at, timezone=timezone, leaves=leaves, earlier=earlier)
    if not dues:
        return None
    first = min(dues, key=lambda due: due.due_at)
    return Binding(first.slug, first.due_at, first.counted_from, first.why, dues)


def dues_of(
    update: Rated,
    rules: Sequence[Rule],
    at: datetime,
    *,
    timezone: str = "UTC",
    leaves: Sequence[Leave] = (),
    earlier: Sequence[Rated] = (),
) -> tuple[Due, ...]:
    """What each obligation that is about the update demands, in the order of the rules."""
    found = []
    for rule in rules:
        best: tuple[datetime, datetime, str, bool] | None = None
        for one, is_earlier in [(update, False), *((older, True) for older in earlier)]:
            if applies(rule.terms, one, at):
                due, start, why = due_of(rule.terms, one, at, timezone)
                if best is None or due < best[0]:
                    best = (due, start, why, is_earlier)
        if best is None:
            continue
        due, start, why, is_earlier = best
        if is_earlier:
            why += ", counted from an older version that was never installed"
        own = [leave for leave in leaves if leave.obligation in {"", rule.slug}]
        later, until = moved(due, own, at) if own else (due, None)
        now_due = max(later, until) if until is not None else later
        if now_due > due:
            why += f", moved to {_day(now_due)} by an exception"
        found.append(Due(rule.slug, rule.terms.title, now_due, due, later, start, why, until, is_earlier))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Ahead:
    """What lies between a device and the update: the next window, and what stands in the way."""

    opens_at: datetime | None
    """When the next window that is long enough opens, or now while one is open; None: none is planned."""
    skipped: bool = False
    skip_until: datetime | None = None
    """Null while ``skipped``: without end."""
    kept: str = ""
    """What keeps it from being installed in any window, until somebody acts: no policy, no approval, a hold."""
    waits_for_test: str = ""
    """Why the pre-change test is still missing."""
    needed: timedelta = LEAST_WINDOW
    """A window with less than that left is not begun with: as the patch policy says."""
    nothing_to_install: bool = False
    """It is installed and only to be verified."""


def miss(due_at: datetime, ahead: Ahead, now: datetime) -> str:
    """Why the next approved window misses the deadline, in words; empty: it does not."""
    if due_at <= now:
        return f"it is late since {_moment(due_at)}"
    if ahead.nothing_to_install:
        return ""
    if ahead.skipped and ahead.skip_until is None:
        return "it is excluded"
    if ahead.skipped and ahead.skip_until is not None and ahead.skip_until + ahead.needed > due_at:
        return f"it is deferred until {_moment(ahead.skip_until)}, beyond its deadline"
    if ahead.kept:
        return ahead.kept
    if ahead.waits_for_test:
        return ahead.waits_for_test
    if ahead.opens_at is None:
        return "no window is planned"
    if ahead.opens_at + ahead.needed > due_at:
        return f"the next window opens {_moment(ahead.opens_at)}, after its deadline"
    return ""


def covers(pattern: tuple[str, str, str], update: tuple[str, str, str]) -> bool:
    """Whether (manager, name, candidate) of a decision or exception covers an update's. Empty: every one; a ``*`` at
    the end of the name stands for anything."""
    manager, name, candidate = pattern
    if manager and manager != update[0]:
        return False
    if candidate and candidate != update[2]:
        return False
    return not name or name == update[1] or (name.endswith("*") and update[1].startswith(name[:-1]))


def is_slug(text: str) -> bool:
    """Whether an obligation may be called so."""
    return re.fullmatch(r"[a-z][a-z0-9-]{0,59}", text) is not None


def worst(severities: Iterable[str]) -> str:
    """The worst of these ratings; empty when there is none."""
    known = [SEVERITIES.index(one) for one in severities if one in SEVERITIES]
    return SEVERITIES[min(known)] if known else ""


def span_words(hours: int) -> str:
    """``72 h``, ``14 days``."""
    days, rest = divmod(hours, 24)
    return f"{days} days" if not rest and days > 3 else f"{hours} h"


def _day(at: datetime) -> str:
    return f"{at.astimezone(UTC):%-d %b %Y}"


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%a %-d %b %H:%M} UTC"


def _kev_due(one: Exploit) -> date:
    return one.due_on or one.added_on + KEV_GRACE


@lru_cache(maxsize=20_000)
def _calendar_end(deadline: Deadline, start: datetime, timezone: str) -> datetime:
    """Midnight after the first fitting day that is at least ``least_days`` after ``start``, as UTC."""
    zone = ZoneInfo(timezone)
    earliest = (start + timedelta(days=deadline.least_days)).astimezone(zone).date()
    year, month = earliest.year, earliest.month
    for _ in range(30):
        if deadline.kind != "quarter_end" or month % 3 == 0:
            day = _day_in_month(deadline, year, month)
            if day is not None and day >= earliest:
                return datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    raise ObligationError(
        f"deadline: {deadline} has no date after {earliest}"
    )  # pragma: no cover - every month has one


def _day_in_month(deadline: Deadline, year: int, month: int) -> date | None:
    last = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
    if deadline.kind != "weekday":
        return last
    if deadline.nth == -1:
        return last - timedelta(days=(last.weekday() - deadline.weekday) % 7)
    first = date(year, month, 1)
    return first + timedelta(days=(deadline.weekday - first.weekday()) % 7 + 7 * (deadline.nth - 1))
