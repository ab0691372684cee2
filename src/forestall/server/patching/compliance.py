"""Compliance with obligations at any date: what was due, what was met, and why what is late is late.

At a date D an update counts by the obligations, exceptions and ratings of exploitation that were known at D, and by the
state it was in at D, out of its history. It is *done* when it is verified, never before. A version that a newer one
replaced before it was installed is not counted: the newer one goes on with its clock. Severity and CVSS are those known
today: feeds keep no history of ratings.
"""

from __future__ import annotations

import csv
import io
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import NamedTuple, TypeVar
from uuid import UUID

from django.db.models import Max, Q

from forestall.server.calendar.queries import WindowBook
from forestall.server.calendar.windows import occurrences
from forestall.server.inventory.models import Device
from forestall.server.patching.models import Deployment, DeploymentChange, ObligationException, ObligationRule
from forestall.server.patching.obligation_queries import SELF, Book, Known, known_deployments
from forestall.server.patching.obligations import LEAST_WINDOW, Due
from forestall.server.people.scope import Scope
from forestall.server.plaintext import cell_inert
from forestall.server.vulnerabilities.models import Vulnerability

K = TypeVar("K")

DAYS = 90
"""What was met longer ago than this does not count any more."""
MOST_DAYS = 1100
SILENT_AFTER = timedelta(minutes=30)
CAUSES_SHOWN = 3


class Outcome(StrEnum):
    """What became of what one obligation demanded of one update, as of a date."""

    MET = "met in time"
    MET_LATE = "met late"
    LATE = "open, late"
    OPEN = "open, in time"
    EXCEPTED = "excepted"


class Change(NamedTuple):
    """A deployment came to a state."""

    at: datetime
    state: str
    why: str
    actor: str


@dataclass(frozen=True, slots=True)
class History:
    """A deployment, and all its changes, the earliest first."""

    known: Known
    changes: Sequence[Change]
    carried: bool = False
    """A newer version took its place and goes on with its clock."""
    earlier: tuple[Known, ...] = ()
    """Older versions whose clocks it goes on with."""
    gone_at: datetime | None = None
    """When its device was revoked."""

    @property
    def began_at(self) -> datetime:
        return self.changes[0].at

    def upto(self, at: datetime) -> Sequence[Change]:
        """The changes until ``at``."""
        return [change for change in self.changes if change.at <= at]


@dataclass(frozen=True, slots=True)
class Counted:
    """What one obligation demanded of one update, and what became of it."""

    known: Known
    severity: str
    """As it counts: see ``Rated.counted_severity``."""
    due: Due
    outcome: Outcome
    binds: bool
    """It is the strictest of the update's obligations."""
    done_at: datetime | None = None
    why: str = ""
    """Of late ones, once explained."""


@dataclass(slots=True)
class Tally:
    """How many came to which outcome."""

    counts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))

    def add(self, outcome: Outcome) -> None:
        self.counts[outcome] += 1

    @property
    def due(self) -> int:
        """Those whose time was up, and those met before: what the percentage is of."""
        return self.counts[Outcome.MET] + self.counts[Outcome.MET_LATE] + self.counts[Outcome.LATE]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def percent(self) -> float | None:
        """Met in time, of those that were due; None while none was."""
        return 100 * self.counts[Outcome.MET] / self.due if self.due else None


@dataclass(frozen=True, slots=True)
class Report:
    """Compliance at a date."""

    at: datetime
    days: int
    rows: Sequence[Counted]
    """One for each obligation and update."""

    @property
    def binding(self) -> Iterator[Counted]:
        """One for each update: by its strictest obligation."""
        return (row for row in self.rows if row.binds)

    def total(self) -> Tally:
        """Each update once."""
        return next(iter(self._by(lambda _row: "").values()), Tally())

    def by_device(self) -> dict[UUID, Tally]:
        return self._by(lambda row: row.known.device_id)

    def by_client(self) -> dict[UUID, Tally]:
        return self._by(lambda row: row.known.client_id)

    def by_severity(self) -> dict[str, Tally]:
        return self._by(lambda row: row.severity)

    def by_obligation(self) -> dict[str, Tally]:
        """Each obligation by itself, also where another binds."""
        found: dict[str, Tally] = defaultdict(Tally)
        for row in self.rows:
            found[row.due.slug].add(row.outcome)
        return dict(found)

    def _by(self, key: Callable[[Counted], K]) -> dict[K, Tally]:
        found: dict[K, Tally] = defaultdict(Tally)
        for row in self.binding:
            found[key(row)].add(row.outcome)
        return dict(found)


# --- judging, without I/O ---------------------------------------------------------------------------------------


def done_at(history: History, at: datetime) -> datetime | None:
    """Since when nothing was left to do, as of ``at``; None: it was open."""
    last = history.upto(at)[-1]
    if last.state in {"verified", "regressed"}:
        return next(change.at for change in history.changes if change.state == "verified")
    if last.state in {"withdrawn", "superseded"}:
        return last.at
    return None


def counts_at(history: History, at: datetime, days: int) -> bool:
    """Whether the update is counted at ``at``: seen by then, not replaced, not done longer ago than ``days``."""
    if not history.changes or history.began_at > at:
        return False
    last = history.upto(at)[-1]
    if last.state == "superseded" and history.carried:
        return False
    done = done_at(history, at)
    if done is None:
        return history.gone_at is None or history.gone_at > at
    return done > at - timedelta(days=days)


def outcome_of(due: Due, *, done: datetime | None, at: datetime) -> Outcome:
    """What became of a demand: see ``Outcome``."""
    in_time_until = due.binding_due_at
    if done is not None:
        return Outcome.MET if done <= in_time_until else Outcome.MET_LATE
    if at < due.original_due_at:
        return Outcome.OPEN
    return Outcome.EXCEPTED if due.excepted_until is not None else Outcome.LATE


def count(history: History, dues: Sequence[Due], severity: str, at: datetime) -> list[Counted]:
    """What each obligation demanded of an update, and what became of it."""
    if not dues:
        return []
    done = done_at(history, at)
    last = history.upto(at)[-1]
    strictest = min(dues, key=lambda due: due.due_at)
    found = []
    for due in dues:
        outcome = outcome_of(due, done=done, at=at)
        if last.state == "withdrawn" and outcome is Outcome.MET:
            continue  # taken back before its time was up: nothing was owed
        found.append(Counted(history.known, severity, due, outcome, due is strictest, done))
    return found


def binding_outcome(history: History, dues: Sequence[Due], at: datetime) -> Outcome | None:
    """What became of the strictest demand, as ``count`` has it; None: none is counted."""
    if not dues:
        return None
    strictest = min(dues, key=lambda due: due.due_at) if len(dues) > 1 else dues[0]
    outcome = outcome_of(strictest, done=done_at(history, at), at=at)
    if outcome is Outcome.MET and history.upto(at)[-1].state == "withdrawn":
        return None
    return outcome


# --- why it is late ---------------------------------------------------------------------------------------------


def explain(
    row: Counted,
    history: History,
    at: datetime,
    *,
    windows: Sequence[tuple[datetime, datetime]] = (),
    silent_since: datetime | None = None,
) -> str:
    """Why an update was late, or is, in words. ``windows``: those open between first sight and the deadline."""
    due, end = row.due.binding_due_at, row.done_at or at
    said: list[str] = []
    if history.began_at >= due:
        said.append(f"its deadline had passed when it was first seen {_day(history.began_at)}")
    elif not any(closes - max(opens, history.began_at) >= LEAST_WINDOW for opens, closes in windows):
        said.append(f"no window between {_day(history.began_at)} and {_day(due)}")
    changes = history.upto(end)
    failed = [change for change in changes if change.state == "failed"]
    if failed:
        times = {1: "once", 2: "twice"}.get(len(failed), f"{len(failed)} times")
        said.append(f"failed {times}: {_plain(failed[-1].why)}")
    said += _waits(changes, end)
    if silent_since is not None and row.done_at is None:
        said.append(f"the device is silent since {_day(silent_since)}")
    return "; ".join(said[: CAUSES_SHOWN + 1]) + "."


def _waits(changes: Sequence[Change], end: datetime) -> list[str]:
    """What it waited for, the longest first."""
    spans: dict[tuple[str, str], timedelta] = defaultdict(timedelta)
    by: dict[tuple[str, str], str] = {}
    for number, change in enumerate(changes):
        until = changes[number + 1].at if number + 1 < len(changes) else end
        key = (change.state, _plain(change.why))
        spans[key] += until - change.at
        by[key] = change.actor
    found = []
    for (state, why), length in sorted(spans.items(), key=lambda item: -item[1]):
        if length < timedelta(hours=1):
            continue
        lasted = _span(length)
        if state == "blocked" and why.lower() == "waits for approval":
            found.append(f"waited for approval {lasted}")
        elif state == "blocked":
            found.append(f"blocked {lasted}: {why}")
        elif state == "skipped":
            found.append(f"deferred or excluded {lasted} by {by[state, why]}: {why}")
        elif state == "pending_reboot":
            found.append(f"waited for a reboot {lasted}")
        elif state == "installed":
            found.append(f"installed and not verified for {lasted}{f': {why}' if why else ''}")
        elif state == "planned":
            found.append(f"waited {lasted} for its window")
        elif state in {"staged", "installing"}:
            found.append(f"was {state} for {lasted}")
    return found[:CAUSES_SHOWN]


def _plain(why: str) -> str:
    return " ".join(why.split()).rstrip(".")[:200] or "no cause was recorded"


def _span(length: timedelta) -> str:
    hours = int(length.total_seconds() // 3600)
    if hours < 48:
        return f"{hours} h"
    return f"{hours // 24} days"


def _day(at: datetime) -> str:
    return f"{at.astimezone(UTC):%-d %b %H:%M}"


# --- reading ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Ledger:
    """Everything that compliance rests on, loaded once and asked about at many dates."""

    histories: Sequence[History]
    book: Book
    _asked: dict[tuple[int, tuple[int, ...], int], tuple[tuple[Due, ...], str]] = field(default_factory=dict)
    _added: dict[int, list[date] | None] = field(default_factory=dict)
    _in_force: dict[tuple[UUID, datetime], tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def load(
        cls,
        *,
        scope: Scope,
        since: datetime,
        until: datetime,
        client: UUID | None = None,
        device: UUID | None = None,
    ) -> Ledger:
        """For every date from ``since`` to ``until``; of one client or device, or of all that ``scope`` sees."""
        found = Deployment.objects.visible_to(scope).filter(Q(settled_at=None) | Q(settled_at__gte=since))
        changes = DeploymentChange.objects.visible_to(scope).filter(
            Q(deployment__settled_at=None) | Q(deployment__settled_at__gte=since), at__lte=until
        )
        gone = Device.objects.visible_to(scope).filter(revoked_at__lte=until)
        if client is not None:
            found, changes = found.filter(client=client), changes.filter(deployment__client=client)
        if device is not None:
            found, changes = found.filter(device=device), changes.filter(deployment__device=device)
        rows = known_deployments(found)
        by_row: dict[int, list[Change]] = defaultdict(list)
        for pk, *rest in changes.order_by("at", "pk").values_list("deployment_id", "at", "state", "why", "actor"):
            by_row[pk].append(Change(*rest))
        histories = _histories(rows, by_row, dict(gone.values_list("pk", "revoked_at")))
        book = Book.load(clients={row.client_id for row in rows}, cves={cve for row in rows for cve in row.cves})
        return cls(histories, book)

    def report(self, at: datetime, *, days: int = DAYS) -> Report:
        """Compliance at a date."""
        rows: list[Counted] = []
        for history in self.histories:
            if counts_at(history, at, days):
                dues, severity = self._dues(history, at)
                rows += count(history, dues, severity, at)
        return Report(at, days, rows)

    def totals(self, ends: Sequence[datetime], *, days: int = DAYS) -> list[Tally]:
        """``report(end).total()`` of each date, in one pass over the histories: each is looked at for those dates
        alone between its first sight and the time at which it does not count any more."""
        order = sorted(range(len(ends)), key=lambda number: ends[number])
        dates = [ends[number] for number in order]
        tallies = [Tally() for _ in ends]
        for history in self.histories:
            first, last = history.changes[0].at, history.changes[-1]
            begin, stop = bisect_left(dates, first), len(dates)
            if last.state in {"verified", "regressed", "withdrawn", "superseded"}:
                stop = bisect_left(dates, last.at + timedelta(days=days))
            for number in range(begin, stop):
                at = dates[number]
                if not counts_at(history, at, days):
                    continue
                dues = self._dues(history, at)[0]
                outcome = binding_outcome(history, dues, at)
                if outcome is not None:
                    tallies[order[number]].add(outcome)
        return tallies

    def _dues(self, history: History, at: datetime) -> tuple[tuple[Due, ...], str]:
        """What is demanded of it at ``at``. Asked once for all dates at which the same rules are in force and the same
        exploits known, for nothing else makes a difference where no exception is about it."""
        known = history.known
        if known.pk not in self._added:
            self._added[known.pk] = None if self.book.leaves_of(known) else self._exploits(history)
        added = self._added[known.pk]
        if added is None:
            return self._ask(history, at)
        key = (known.pk, self._rows_in_force(known.client_id, at), bisect_right(added, at.astimezone(UTC).date()))
        found = self._asked.get(key)
        if found is None:
            found = self._asked[key] = self._ask(history, at)
        return found

    def _exploits(self, history: History) -> list[date]:
        """When each exploit of what it fixes became known, the earliest first."""
        scores = self.book.scores
        return sorted(
            score.kev_added_on
            for one in (history.known, *history.earlier)
            for cve in one.cves
            if (score := scores.get(cve)) is not None and score.kev_added_on
        )

    def _rows_in_force(self, client: UUID, at: datetime) -> tuple[int, ...]:
        """Which of the client's own rules are in force."""
        key = (client, at)
        if key not in self._in_force:
            self._in_force[key] = tuple(
                number
                for number, (_slug, _terms, since, until) in enumerate(self.book.rows.get(client, ()))
                if since <= at and (until is None or at < until)
            )
        return self._in_force[key]

    def _ask(self, history: History, at: datetime) -> tuple[tuple[Due, ...], str]:
        return self.book.dues(history.known, at, history.earlier), self.book.rated(history.known).counted_severity


def _histories(
    rows: Sequence[Known], changes: Mapping[int, Sequence[Change]], gone: Mapping[UUID, datetime]
) -> list[History]:
    by_key: dict[tuple[object, ...], list[Known]] = defaultdict(list)
    for row in rows:
        if changes.get(row.pk):
            by_key[row.key].append(row)
    found = []
    for versions in by_key.values():
        versions.sort(key=lambda row: (changes[row.pk][0].at, row.pk))
        chain: tuple[Known, ...] = ()
        for number, row in enumerate(versions):
            own = changes[row.pk]
            carried = row.state == "superseded" and any(
                changes[later.pk][0].at <= own[-1].at + timedelta(minutes=1) for later in versions[number + 1 :]
            )
            found.append(History(row, own, carried, chain, gone.get(row.device_id)))
            chain = (*chain, row) if carried else () if row.state in {"verified", "withdrawn", "superseded"} else chain
    return found


def compliance_at(
    *,
    scope: Scope,
    at: datetime,
    days: int = DAYS,
    client: UUID | None = None,
    device: UUID | None = None,
) -> tuple[Report, Ledger]:
    """Compliance at a date, and what it rests on (for ``explained``)."""
    if not 1 <= days <= MOST_DAYS:
        raise ValueError(f"days: {days} is not between 1 and {MOST_DAYS}")
    ledger = Ledger.load(scope=scope, since=at - timedelta(days=days), until=at, client=client, device=device)
    return ledger.report(at, days=days), ledger


def trend(*, scope: Scope, ends: Sequence[datetime], days: int = 30, client: UUID | None = None) -> list[Tally]:
    """The tally at each of these dates, over the ``days`` before each; loaded once."""
    if not ends:
        return []
    first = min(ends) - timedelta(days=days)
    ledger = Ledger.load(scope=scope, since=first, until=max(ends), client=client)
    return ledger.totals(ends, days=days)


def explained(rows: Iterable[Counted], ledger: Ledger, *, at: datetime, now: datetime) -> list[Counted]:
    """The rows with late ones explained in words."""
    wanted = list(rows)
    late = [row for row in wanted if row.outcome in {Outcome.LATE, Outcome.MET_LATE}]
    if not late:
        return wanted
    histories = {history.known.pk: history for history in ledger.histories}
    earliest = min(histories[row.known.pk].began_at for row in late)
    book = WindowBook.load(scope=SELF, since=earliest, sites={row.known.site_id for row in late})
    silent: dict[UUID, datetime | None] = {}
    if at > now - SILENT_AFTER:
        devices = Device.objects.visible_to(SELF).filter(
            Q(last_check_in_at=None) | Q(last_check_in_at__lt=now - SILENT_AFTER),
            pk__in={row.known.device_id for row in late[:4000]},
        )
        silent = dict(devices.values_list("pk", "last_check_in_at"))
    open_times: dict[tuple[object, ...], list[tuple[datetime, datetime]]] = {}
    found = []
    for row in wanted:
        if row.outcome not in {Outcome.LATE, Outcome.MET_LATE}:
            found.append(row)
            continue
        history, due = histories[row.known.pk], row.due.binding_due_at
        own = row.known.device_id if row.known.device_id in book.devices else None
        key = (row.known.site_id, own, history.began_at, due)
        if key not in open_times:
            open_times[key] = [
                (one.start, one.end)
                for window in (book.covering(row.known.site_id, own) if history.began_at < due else ())
                for one in islice(occurrences(window, history.began_at, due), 50)
            ]
        why = explain(row, history, at, windows=open_times[key], silent_since=silent.get(row.known.device_id))
        found.append(Counted(row.known, row.severity, row.due, row.outcome, row.binds, row.done_at, why))
    return found


def fingerprint(*, scope: Scope) -> tuple[object, ...]:
    """Changes whenever something that compliance rests on did: for keeping what was counted."""
    changes = DeploymentChange.objects.visible_to(scope).aggregate(last=Max("pk"))["last"]
    rules = ObligationRule.objects.visible_to(scope).aggregate(last=Max("pk"), ended=Max("in_force_until"))
    leaves = ObligationException.objects.visible_to(scope).aggregate(last=Max("pk"), ended=Max("ended_at"))
    rated = Vulnerability.objects.aggregate(last=Max("changed_at"))["last"]
    gone = Device.objects.visible_to(scope).aggregate(last=Max("revoked_at"))["last"]
    return (changes, *rules.values(), *leaves.values(), rated, gone)


CSV_COLUMNS = (
    "client", "device", "provider", "package", "version", "severity", "obligation", "binds", "counted_from", "due",
    "outcome", "done", "why",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Names:
    """Names of the devices and clients in rows."""

    devices: Mapping[UUID, str]
    clients: Mapping[UUID, str]

    @classmethod
    def load(cls, rows: Iterable[Counted], *, scope: Scope) -> Names:
        """In one query."""
        wanted = {row.known.device_id for row in rows}
        found = Device.objects.visible_to(scope)
        if len(wanted) < 4000:
            found = found.filter(pk__in=wanted)
        devices, clients = {}, {}
        for pk, name, client, client_name in found.values_list("pk", "name", "client_id", "client__name"):
            devices[pk], clients[client] = name, client_name
        return cls(devices, clients)


def plain_row(row: Counted, names: Names) -> dict[str, str]:
    """A row as an auditor's table has it: ``CSV_COLUMNS`` → text, times in UTC."""
    known = row.known
    return {
        "client": names.clients.get(known.client_id, ""),
        "device": names.devices.get(known.device_id, ""),
        "provider": known.manager,
        "package": known.name,
        "version": known.candidate,
        "severity": row.severity,
        "obligation": row.due.slug,
        "binds": "yes" if row.binds else "no",
        "counted_from": _iso(row.due.counted_from),
        "due": _iso(row.due.binding_due_at),
        "outcome": row.outcome.value,
        "done": _iso(row.done_at) if row.done_at else "",
        "why": row.why,
    }


def csv_of(rows: Iterable[Counted], names: Names) -> str:
    """Rows as CSV with a heading; a cell that a spreadsheet would take for a formula begins with an apostrophe."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: cell_inert(value) for name, value in plain_row(row, names).items()})
    return out.getvalue()


def _iso(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
