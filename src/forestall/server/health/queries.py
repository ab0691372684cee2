"""Reads of coverage and health: the matrix, its gaps, scores with the checks behind them, and past runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from django.db.models import Count, Max, QuerySet

from forestall.server.access.queries import ReviewStanding, review_standings
from forestall.server.checks.models import Check
from forestall.server.checks.result import Risk, Status
from forestall.server.checks.rules import WORST_FIRST
from forestall.server.health.models import CoverageException, HealthRun
from forestall.server.health.rules import (
    KINDS_OF,
    NOT_FOR,
    Cell,
    Column,
    Excepted,
    Judged,
    Score,
    agent_cell,
    client_score,
    gap_points,
    gap_risk,
    monitoring_cell,
    score_of,
)
from forestall.server.inventory.models import Asset, Device, DeviceStatus
from forestall.server.patching.models import PatchPolicy
from forestall.server.people.scope import Scope
from forestall.server.plaintext import cell_inert
from forestall.server.recovery import queries as recovery

_ORDER = {status: rank for rank, status in enumerate(WORST_FIRST)}
_COLUMN_OF = {kind: column for column, kinds in KINDS_OF.items() for kind in kinds}


@dataclass(frozen=True, slots=True)
class Subject:
    """A row of the matrix: a device, a machine that nobody watches, or a protected system."""

    sort: str
    """``device``, ``asset`` or ``system``."""
    id: str
    name: str
    client_id: UUID
    client: str
    site_id: UUID
    site: str
    href: str
    role: str = ""
    importance: str = ""
    """Of a protected system."""
    device_id: UUID | None = None
    system_id: int | None = None


@dataclass(slots=True)
class Line:
    subject: Subject
    cells: dict[Column, Cell] = field(default_factory=dict)

    @property
    def gaps(self) -> int:
        return sum(cell.is_gap for cell in self.cells.values())


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that is not covered, and how much that matters."""

    subject: Subject
    column: Column
    cell: Cell
    points: float

    @property
    def risk(self) -> Risk:
        return gap_risk(self.points)


@dataclass(frozen=True, slots=True)
class _Worst:
    """The worst check of a column."""

    status: Status
    check_id: int
    judged_at: datetime
    reason: str


@dataclass(slots=True)
class _Device:
    """A device while its cells are made."""

    subject: Subject
    approved: bool
    last_check_in_at: datetime | None
    counts: dict[str, int] = field(default_factory=dict)
    judged_at: datetime | None = None
    worst: dict[Column, _Worst] = field(default_factory=dict)


def coverage(
    *, scope: Scope, now: datetime, client: UUID | None = None, devices: Collection[UUID] | None = None
) -> list[Line]:
    """Every device, unwatched machine and protected system in scope × every column; of one client, or of some devices.

    A fixed number of queries, however many there are. By client and name.
    """
    found = _devices(scope, client, devices)
    _judge(found, scope, client, devices)
    policies = _policies(scope, client)
    reviews = {one.device_id: one for one in _reviews(scope, now, client, devices)}
    systems = _systems(scope, now, client, devices)
    by_device: dict[UUID, list[recovery.Standing]] = {}
    for standing in systems:
        by_device.setdefault(standing.device_id, []).append(standing)
    excepted = exceptions_in_force(scope=scope, now=now, client=client)
    lines = [
        Line(one.subject, _cells(one, policies, reviews.get(pk), by_device.get(pk, []), now))
        for pk, one in found.items()
    ]
    lines += [_system_line(standing, found) for standing in systems]
    if devices is None:
        lines += _unwatched(scope, client)
    for line in lines:
        _except(line, excepted)
    return sorted(lines, key=lambda line: (line.subject.client, line.subject.name.lower(), line.subject.sort))


def gaps(lines: Iterable[Line]) -> list[Gap]:
    """Every gap, the one that matters most first."""
    found = []
    for line in lines:
        one = line.subject
        for column, cell in line.cells.items():
            if cell.is_gap and cell.status is not None:
                points = gap_points(column, cell.status, role=one.role, importance=one.importance)
                found.append(Gap(one, column, cell, points))
    return sorted(found, key=lambda gap: (-gap.points, gap.subject.client, gap.subject.name.lower(), gap.column))


def _devices(scope: Scope, client: UUID | None, devices: Collection[UUID] | None) -> dict[UUID, _Device]:
    rows = Device.objects.visible_to(scope).exclude(status=DeviceStatus.REVOKED).filter(client__removed_at=None)
    if client is not None:
        rows = rows.filter(client=client)
    if devices is not None:
        rows = rows.filter(pk__in=devices)
    names = ("pk", "name", "role", "status", "last_check_in_at", "client_id", "client__name", "site_id", "site__name")
    found = {}
    for pk, name, role, status, seen, client_id, client_name, site_id, site_name in rows.order_by().values_list(*names):
        subject = Subject(
            sort="device", id=str(pk), name=name, client_id=client_id, client=client_name, site_id=site_id,
            site=site_name, href=f"/devices/{pk}/", role=role, device_id=pk,
        )  # fmt: skip
        found[pk] = _Device(subject, status == DeviceStatus.APPROVED, seen)
    return found


def _judge(found: dict[UUID, _Device], scope: Scope, client: UUID | None, devices: Collection[UUID] | None) -> None:
    rows = Check.objects.visible_to(scope).filter(gone_at=None).order_by()
    if client is not None:
        rows = rows.filter(device__client=client)
    if devices is not None:
        rows = rows.filter(device__in=devices)
    # Counted by the database; and of the kinds that columns rest on only what ranks them. Times and reasons are fetched
    # for the worst of each column alone: turning thousands of times into Python's costs more than all the rest.
    for device_id, status, number, judged_at in (
        rows.values("device_id", "status")
        .annotate(number=Count("pk"), at=Max("judged_at"))
        .values_list("device_id", "status", "number", "at")
    ):
        one = found.get(device_id)
        if one is not None:
            one.counts[status] = number
            if one.judged_at is None or judged_at > one.judged_at:
                one.judged_at = judged_at
    order = {status.value: rank for status, rank in _ORDER.items()}
    risks = {risk.value: risk.rank for risk in Risk}
    ranked: dict[tuple[UUID, Column], tuple[int, int, int]] = {}
    chosen: dict[tuple[UUID, Column], tuple[int, str]] = {}
    for device_id, kind, status, risk, pk in rows.filter(kind__in=_COLUMN_OF).values_list(
        "device_id", "kind", "status", "risk", "pk"
    ):
        key = (device_id, _COLUMN_OF[kind])
        rank = (order[status], risks[risk], pk)
        if device_id in found and (key not in ranked or rank < ranked[key]):
            ranked[key], chosen[key] = rank, (pk, status)
    said: dict[int, tuple[datetime, str]] = {}
    wanted = [pk for pk, _ in chosen.values()]
    for start in range(0, len(wanted), 5000):  # a statement takes only so many parameters
        part = Check.objects.visible_to(scope).filter(pk__in=wanted[start : start + 5000]).order_by()
        said.update((pk, (at, reason)) for pk, at, reason in part.values_list("pk", "judged_at", "reason"))
    for (device_id, column), (pk, status) in chosen.items():
        if pk in said:
            found[device_id].worst[column] = _Worst(Status(status), pk, *said[pk])


def _policies(scope: Scope, client: UUID | None) -> dict[tuple[UUID, UUID | None], str]:
    rows = PatchPolicy.objects.visible_to(scope)
    if client is not None:
        rows = rows.filter(client=client)
    return {
        (client_id, site_id): choose
        for client_id, site_id, choose in rows.order_by().values_list("client_id", "site_id", "choose")
    }


def _reviews(
    scope: Scope, now: datetime, client: UUID | None, devices: Collection[UUID] | None
) -> list[ReviewStanding]:
    if client is not None and devices is None:
        devices = list(Device.objects.visible_to(scope).filter(client=client).values_list("pk", flat=True))
    return review_standings(scope=scope, now=now, devices=devices)


def _systems(
    scope: Scope, now: datetime, client: UUID | None, devices: Collection[UUID] | None
) -> list[recovery.Standing]:
    rows = recovery.systems(scope=scope).filter(client__removed_at=None)
    if client is not None:
        rows = rows.filter(client=client)
    if devices is not None:
        rows = rows.filter(device__in=devices)
    return recovery.standings(scope=scope, now=now, systems_of=rows)


def _cells(
    one: _Device,
    policies: dict[tuple[UUID, UUID | None], str],
    review: ReviewStanding | None,
    systems: Sequence[recovery.Standing],
    now: datetime,
) -> dict[Column, Cell]:
    subject = one.subject
    cells = {
        Column.AGENT: agent_cell(
            approved=one.approved, last_check_in_at=one.last_check_in_at, now=now, href=subject.href
        ),
        Column.MONITORING: monitoring_cell(counts=one.counts, judged_at=one.judged_at, href=subject.href),
        Column.PATCHING: _patching(one, policies),
        Column.BACKUP: _backup(one, systems),
        Column.RECOVERY: _recovery(one, systems),
        Column.ANTIVIRUS: _checked(one, Column.ANTIVIRUS, "Nothing is known of an antivirus there yet."),
        Column.DISKS: _checked(one, Column.DISKS, "Nothing is known of its disks yet."),
        Column.ACCESS: _access(one, review),
    }
    for column in NOT_FOR.get(subject.role, ()):
        if column not in one.worst and not (column in {Column.BACKUP, Column.RECOVERY} and systems):
            cells[column] = Cell(None, f"Does not apply to a device of the role {subject.role}.")
    return cells


def _checked(one: _Device, column: Column, unknown: str) -> Cell:
    """By the worst check of the column's kinds."""
    row = one.worst.get(column)
    if row is None:
        return Cell(Status.UNKNOWN, unknown, one.subject.href, "Look at the device")
    href = f"{one.subject.href}?check={row.check_id}"
    return Cell(row.status, row.reason, href, "Open the check", row.judged_at, row.check_id)


def _patching(one: _Device, policies: dict[tuple[UUID, UUID | None], str]) -> Cell:
    subject = one.subject
    choose = policies.get((subject.client_id, subject.site_id)) or policies.get((subject.client_id, None))
    cell = _checked(one, Column.PATCHING, "Its updates are not known yet.")
    if choose is None or choose == "nothing":
        why = "No patch policy covers it" if choose is None else "Its patch policy installs nothing"
        return Cell(
            Status.FAIL, f"{why}: nothing is installed by itself.", f"/clients/{subject.client_id}/updates/",
            "Set a patch policy", cell.at,
        )  # fmt: skip
    return (
        replace(cell, fix="Open the check")
        if cell.status is Status.PASS
        else replace(cell, href=f"{subject.href}updates/", fix="Its updates")
    )


def _backup(one: _Device, systems: Sequence[recovery.Standing]) -> Cell:
    cell = _checked(one, Column.BACKUP, "Nothing is known of backups there yet.")
    bare = next((each for each in systems if not each.covered), None)
    if bare is not None and (cell.status is not Status.FAIL):
        return Cell(
            Status.FAIL, f"No backup holds all of {bare.system.name}.", bare.href, "Open what must be recoverable"
        )
    return cell


def _recovery(one: _Device, systems: Sequence[recovery.Standing]) -> Cell:
    if not systems:
        cell = one.worst.get(Column.RECOVERY)
        heavy = one.subject.role in {"server", "cloud"}
        return Cell(
            Status.FAIL if heavy else Status.UNKNOWN,
            "Nobody has said what must be recoverable there.",
            f"/recovery/?device={one.subject.device_id}",
            "Say what must be recoverable",
            cell.judged_at if cell else None,
        )
    worst = min(systems, key=lambda each: (_ORDER[each.status], each.system.name))
    many = f"{len(systems)} protected systems; the worst: " if len(systems) > 1 else ""
    return Cell(worst.status, f"{many}{worst.system.name}: {worst.why}", worst.href, "Open its proofs", worst.proved_at)


def _access(one: _Device, review: ReviewStanding | None) -> Cell:
    if review is None:
        return Cell(Status.UNKNOWN, "Not approved, so its accounts are not reviewed.", one.subject.href, "Approve it")
    return Cell(review.status, review.why, review.href, "Open the review", review.reviewed_at)


def _system_line(standing: recovery.Standing, found: dict[UUID, _Device]) -> Line:
    system = standing.system
    subject = Subject(
        sort="system", id=str(system.pk), name=system.name, client_id=system.client_id, client=system.client.name,
        site_id=system.site_id, site=system.site.name, href=standing.href, importance=system.importance,
        device_id=system.device_id, system_id=system.pk, role="",
    )  # fmt: skip
    covered = standing.covered
    gap = next((one for one in standing.judged.gaps), None)
    cells = {column: Cell(None, f"Of its device {system.device.name}.") for column in Column}
    cells[Column.BACKUP] = Cell(
        Status.PASS
        if covered and standing.status is Status.PASS
        else Status.FAIL
        if not covered
        else _backup_status(standing),
        "A backup holds all of it." if covered else gap.sentence if gap else "No backup holds all of it.",
        standing.href,
        "Open what must be recoverable",
        standing.judged.backup_at,
    )
    cells[Column.RECOVERY] = Cell(standing.status, standing.why, standing.href, "Open its proofs", standing.proved_at)
    return Line(subject, {column: cells[column] for column in Column})


def _backup_status(standing: recovery.Standing) -> Status:
    """Of a system that is covered: whether the newest good backup is young enough."""
    age = standing.backup_age
    if age is None:
        return Status.UNKNOWN
    rpo = standing.system.rpo_minutes * 60
    return Status.PASS if age.total_seconds() <= rpo else Status.FAIL


def _unwatched(scope: Scope, client: UUID | None) -> list[Line]:
    """Machines that a list names and no agent watches."""
    rows = Asset.objects.visible_to(scope).filter(device=None, client__removed_at=None).exclude(role="other")
    if client is not None:
        rows = rows.filter(client=client)
    lines = []
    names = ("pk", "name", "role", "client_id", "client__name", "site_id", "site__name")
    for pk, name, role, client_id, client_name, site_id, site_name in rows.order_by().values_list(*names):
        subject = Subject(
            sort="asset", id=str(pk), name=name, client_id=client_id, client=client_name, site_id=site_id,
            site=site_name, href=f"/assets/{pk}/", role=role,
        )  # fmt: skip
        cells = {column: Cell(None, "Not known: no agent runs there.") for column in Column}
        cells[Column.AGENT] = Cell(
            Status.FAIL, "It is on the list of assets, and no agent runs there.", "/devices/enrol", "Enrol it"
        )
        lines.append(Line(subject, cells))
    return lines


def _except(line: Line, excepted: Sequence[Excepted]) -> None:
    one = line.subject
    for leave in excepted:
        cell = line.cells[leave.column]
        if cell.status in {None, Status.PASS}:
            continue
        if leave.covers(
            column=leave.column, client_id=one.client_id, site_id=one.site_id,
            device_id=one.device_id if one.sort == "device" else None, system_id=one.system_id,
        ):  # fmt: skip
            line.cells[leave.column] = replace(
                cell, excepted_until=leave.until, exception_id=leave.id, exception_reason=leave.reason
            )


# --- exceptions -------------------------------------------------------------------------------------------------


def exceptions(*, scope: Scope, in_force_at: datetime | None = None) -> QuerySet[CoverageException]:
    """Exceptions, the newest first; only those in force at a time."""
    found: QuerySet[CoverageException] = CoverageException.objects.visible_to(scope).select_related(
        "client", "site", "device", "system"
    )
    return found if in_force_at is None else found.filter(ended_at=None, expires_at__gt=in_force_at)


def exceptions_in_force(*, scope: Scope, now: datetime, client: UUID | None = None) -> list[Excepted]:
    rows = CoverageException.objects.visible_to(scope).filter(ended_at=None, expires_at__gt=now)
    if client is not None:
        rows = rows.filter(client=client)
    columns = ("pk", "column", "client_id", "site_id", "device_id", "system_id", "expires_at", "reason")
    known = set(Column)
    return [
        Excepted(pk, Column(column), client_id, site_id, device_id, system_id, until, reason)
        for pk, column, client_id, site_id, device_id, system_id, until, reason in rows.order_by(
            "expires_at"
        ).values_list(*columns)
        if column in known
    ]


# --- health -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    device_id: UUID
    name: str
    role: str
    client_id: UUID
    client: str
    site: str
    score: Score


@dataclass(frozen=True, slots=True)
class ClientHealth:
    client_id: UUID
    name: str
    score: float | None
    """0 to 100; None: it has no device."""
    devices: tuple[DeviceHealth, ...]
    """The least healthy first."""

    @property
    def value(self) -> int | None:
        return None if self.score is None else int(self.score + 1e-9)


def health(*, scope: Scope, client: UUID | None = None, devices: Collection[UUID] | None = None) -> list[ClientHealth]:
    """The score of each client in scope and of its devices, with the checks behind every lost point. Three queries."""
    rows = Device.objects.visible_to(scope).filter(status=DeviceStatus.APPROVED, client__removed_at=None)
    checks = Check.objects.visible_to(scope).filter(gone_at=None, device__status=DeviceStatus.APPROVED)
    if client is not None:
        rows, checks = rows.filter(client=client), checks.filter(device__client=client)
    if devices is not None:
        rows, checks = rows.filter(pk__in=devices), checks.filter(device__in=devices)
    statuses, risks = {one.value: one for one in Status}, {one.value: one for one in Risk}
    judged: dict[UUID, list[Judged]] = {}
    passing = dict(
        checks.filter(status=Status.PASS)
        .order_by()
        .values("device_id")
        .annotate(n=Count("pk"))
        .values_list("device_id", "n")
    )
    names = ("device_id", "pk", "kind", "target", "status", "answered", "risk")
    failing = checks.exclude(status=Status.PASS).order_by()
    for device_id, pk, kind, target, status, answered, risk in failing.values_list(*names):
        one = Judged(pk, kind, target, statuses[status], answered, risks[risk])
        judged.setdefault(device_id, []).append(one)
    by_client: dict[tuple[str, UUID], list[DeviceHealth]] = {}
    about = ("pk", "name", "role", "client_id", "client__name", "site__name")
    for pk, name, role, client_id, client_name, site in rows.order_by().values_list(*about):
        found = DeviceHealth(
            pk, name, role, client_id, client_name, site, score_of(judged.get(pk, ()), passing=passing.get(pk, 0))
        )
        by_client.setdefault((client_name, client_id), []).append(found)
    return [
        ClientHealth(
            client_id,
            client_name,
            client_score([(one.score.exact, one.role) for one in own]),
            tuple(sorted(own, key=lambda one: (one.score.exact, one.name.lower()))),
        )
        for (client_name, client_id), own in sorted(by_client.items(), key=lambda item: item[0][0].lower())
    ]


def reasons_of(*, scope: Scope, checks: Collection[int]) -> dict[int, str]:
    """Why each of these checks says what it says."""
    rows = Check.objects.visible_to(scope).filter(pk__in=list(checks)).order_by()
    return dict(rows.values_list("pk", "reason"))


def runs(*, scope: Scope) -> QuerySet[HealthRun]:
    """Past health runs, the newest first. For those who see the client as a whole."""
    found: QuerySet[HealthRun] = HealthRun.objects.visible_to(scope).select_related("client")
    return found


def csv_of(lines: Iterable[Line]) -> str:
    """The matrix as CSV: a row a cell that applies, so that it can be filtered and counted anywhere."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        [
            "client", "site", "thing", "name", "role", "column", "status", "why", "seen_at", "risk", "excepted_until",
            "exception",
        ]
    )  # fmt: skip
    for line in lines:
        one = line.subject
        for column, cell in line.cells.items():
            if cell.status is None:
                continue
            points = gap_points(column, cell.status, role=one.role, importance=one.importance)
            row = [
                one.client, one.site, one.sort, one.name, one.role or one.importance, column.value, cell.status.value,
                cell.why, cell.at.isoformat(timespec="seconds") if cell.at else "",
                gap_risk(points).value if cell.is_gap else "",
                cell.excepted_until.isoformat(timespec="seconds") if cell.excepted_until else "", cell.exception_reason,
            ]  # fmt: skip
            writer.writerow([cell_inert(value) for value in row])
    return out.getvalue()
