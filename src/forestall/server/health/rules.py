"""What coverage and health mean: columns of the matrix, how gaps are ranked, how a score comes about. No I/O.

**Coverage** asks whether somebody looks at all; **health** asks what they see. A gap is a cell that does not pass and
that nobody has excepted. A score begins at 100 and loses points to checks alone: every lost point can be opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from forestall.server.checks.result import Risk, Status


class Column(StrEnum):
    """What a device or protected system is to be covered by, in the order of the page."""

    AGENT = "agent"
    MONITORING = "monitoring"
    PATCHING = "patching"
    BACKUP = "backup"
    RECOVERY = "recovery"
    ANTIVIRUS = "antivirus"
    DISKS = "disks"
    ACCESS = "access"

    @property
    def heading(self) -> str:
        return _HEADINGS[self][0]

    @property
    def question(self) -> str:
        return _HEADINGS[self][1]


_HEADINGS: Mapping[Column, tuple[str, str]] = {
    Column.AGENT: ("Agent", "Does an agent run there, approved, and has it checked in?"),
    Column.MONITORING: ("Monitoring", "Is it judged, and by fresh facts?"),
    Column.PATCHING: ("Patching", "Does a policy install updates, and is what is demanded in?"),
    Column.BACKUP: ("Backup", "Does a good backup hold it, young enough?"),
    Column.RECOVERY: ("Verified recovery", "Was it brought back, lately, to the level that is wanted?"),
    Column.ANTIVIRUS: ("Antivirus", "Is an antivirus seen running, with fresh definitions?"),
    Column.DISKS: ("Disk health", "Are its disks, arrays and file systems well?"),
    Column.ACCESS: ("Access review", "Has somebody signed who may get in, within the quarter?"),
}

KINDS_OF: Mapping[Column, tuple[str, ...]] = {
    Column.PATCHING: ("security_updates", "other_updates", "reboot_pending"),
    Column.BACKUP: ("backup_age", "backup_size", "backup_chain", "backup_tampering", "backup_exposure"),
    Column.RECOVERY: ("backup_restore_verified",),
    Column.ANTIVIRUS: ("antivirus",),
    Column.DISKS: ("disk_health", "disk_self_test", "array_health", "file_system_errors"),
}
"""Kinds of checks that a column rests on."""
NOT_FOR: Mapping[str, frozenset[Column]] = {
    "network": frozenset({Column.RECOVERY, Column.ANTIVIRUS, Column.DISKS}),
    "printer": frozenset({Column.BACKUP, Column.RECOVERY, Column.ANTIVIRUS, Column.DISKS, Column.ACCESS}),
}
"""Role → columns that do not apply where nothing of the kind is judged either."""

COLUMN_WEIGHT: Mapping[Column, int] = {
    Column.AGENT: 10, Column.BACKUP: 9, Column.RECOVERY: 8, Column.PATCHING: 8, Column.ANTIVIRUS: 8,
    Column.MONITORING: 6, Column.DISKS: 5, Column.ACCESS: 4,
}  # fmt: skip
ROLE_WEIGHT: Mapping[str, float] = {"server": 3, "cloud": 3, "network": 2, "endpoint": 1.5}
"""Others: 1."""
IMPORTANCE_WEIGHT: Mapping[str, float] = {"critical": 4, "high": 3, "medium": 2, "low": 1}
"""Of a protected system, in place of its device's role."""
STATUS_WEIGHT: Mapping[Status, float] = {
    Status.FAIL: 1.0, Status.UNKNOWN: 0.6, Status.STALE: 0.6, Status.WARN: 0.4, Status.PASS: 0.0,
}  # fmt: skip
"""Not knowing ranks above a warning: nobody can say how bad it is."""
RISK_FROM: Sequence[tuple[float, Risk]] = ((24, Risk.CRITICAL), (14, Risk.HIGH), (6, Risk.MEDIUM), (0, Risk.LOW))

SILENT_WARN, SILENT_FAIL = timedelta(minutes=5), timedelta(minutes=30)
MOST_BLIND = 0.25
"""Share of a device's checks that may be unknown or stale before monitoring itself is a warning."""
LONGEST_EXCEPTION = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Cell:
    """How one thing stands in one column."""

    status: Status | None
    """None: does not apply."""
    why: str
    href: str = ""
    """Where it is fixed: one click."""
    fix: str = ""
    """What that click is called."""
    at: datetime | None = None
    """When this was last seen to be so."""
    check_id: int | None = None
    excepted_until: datetime | None = None
    exception_id: int | None = None
    exception_reason: str = ""

    @property
    def is_gap(self) -> bool:
        return self.status not in {None, Status.PASS} and self.excepted_until is None


def gap_points(column: Column, status: Status, *, role: str = "", importance: str = "") -> float:
    """How much a gap matters: weight of the column x of the thing x of the status. 0 to 40."""
    thing = IMPORTANCE_WEIGHT.get(importance, 1.0) if importance else ROLE_WEIGHT.get(role, 1.0)
    return COLUMN_WEIGHT[column] * thing * STATUS_WEIGHT[status]


def gap_risk(points: float) -> Risk:
    return next(risk for least, risk in RISK_FROM if points >= least)


def agent_cell(*, approved: bool, last_check_in_at: datetime | None, now: datetime, href: str) -> Cell:
    """Whether the agent there speaks."""
    if not approved:
        return Cell(Status.FAIL, "It enrolled and waits to be approved.", href, "Approve it", None)
    if last_check_in_at is None:
        return Cell(Status.FAIL, "Approved, and it has never checked in.", href, "Look at the device", None)
    silent = now - last_check_in_at
    if silent > SILENT_WARN:
        status = Status.FAIL if silent > SILENT_FAIL else Status.WARN
        return Cell(status, "Its agent is silent.", href, "Look at the device", last_check_in_at)
    return Cell(Status.PASS, "Its agent checks in.", href, "Look at the device", last_check_in_at)


def monitoring_cell(*, counts: Mapping[str, int], judged_at: datetime | None, href: str) -> Cell:
    """Whether it is judged, and by something: many answers that are none are no monitoring."""
    total = sum(counts.values())
    fix = "Look at its checks"
    if not total:
        return Cell(Status.FAIL, "Nothing is judged yet.", href, fix)
    unknown, stale = counts.get(Status.UNKNOWN, 0), counts.get(Status.STALE, 0)
    said = f"{total} checks, {unknown} unknown, {stale} stale."
    if unknown + stale == total:
        return Cell(
            Status.STALE if stale else Status.UNKNOWN,
            f"None of its {total} checks has an answer.",
            href,
            fix,
            judged_at,
        )
    status = Status.WARN if unknown + stale > MOST_BLIND * total else Status.PASS
    return Cell(status, said, href, fix, judged_at)


# --- score ------------------------------------------------------------------------------------------------------

LOSS: Mapping[Risk, float] = {Risk.CRITICAL: 0.40, Risk.HIGH: 0.20, Risk.MEDIUM: 0.10, Risk.LOW: 0.04}
"""What a failing check of that risk takes of the points that are left."""
SHARE: Mapping[Status, float] = {
    Status.PASS: 0.0, Status.UNKNOWN: 0.25, Status.STALE: 0.25, Status.WARN: 0.5, Status.FAIL: 1.0,
}  # fmt: skip
"""How much of that each answer takes. Unknown and stale take what the last definite answer took, if that is more: not
knowing any more never makes a device healthier."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A check, as the score sees it."""

    check_id: int
    kind: str
    target: str
    status: Status
    answered: str
    """The last of pass, warn and fail; empty: there was none."""
    risk: Risk
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """Points that one kind of check costs: by its worst check, the others of the kind named with it."""

    points: float
    check: Judged
    others: tuple[Judged, ...] = ()
    """More checks of this kind that do not pass: they cost nothing more, and one repair does not bring the points
    back while they are there."""


@dataclass(frozen=True, slots=True)
class Score:
    """0 to 100. ``exact`` is 100 minus the sum of what is lost."""

    exact: float
    lost: tuple[Lost, ...]
    checks: int

    @property
    def value(self) -> int:
        """Rounded down: 100 is only where nothing is lost."""
        return int(self.exact + 1e-9)


def share_lost(check: Judged) -> float:
    """What share of the points that are left this check takes: 0 to 0.4."""
    share = SHARE[check.status]
    if check.status in {Status.UNKNOWN, Status.STALE} and check.answered in {Status.WARN, Status.FAIL}:
        share = max(share, SHARE[Status(check.answered)])
    return LOSS[check.risk] * share


def score_of(checks: Iterable[Judged], *, passing: int = 0) -> Score:
    """The score of one device by its checks; ``passing``: so many more that pass. Without any: 0, nothing is known.

    Of each kind the worst check counts, so that forty open sockets are not forty findings. The worst kind takes its
    share of 100, the next its share of what is left, and so on: bounded, and never better for a worse answer.
    """
    by_kind: dict[str, list[Judged]] = {}
    total = passing
    for check in checks:
        total += 1
        by_kind.setdefault(check.kind, []).append(check)
    if not total:
        return Score(0.0, (), 0)
    worst: list[tuple[float, Judged, tuple[Judged, ...]]] = []
    for own in by_kind.values():
        ordered = sorted(own, key=lambda one: (-share_lost(one), one.target))
        losing = [one for one in ordered if share_lost(one) > 0]
        if losing:
            worst.append((share_lost(losing[0]), losing[0], tuple(losing[1:])))
    worst.sort(key=lambda item: (-item[0], item[1].kind))
    left, lost = 100.0, []
    for share, check, others in worst:
        points = left * share
        left -= points
        lost.append(Lost(points, check, others))
    return Score(left, tuple(lost), total)


def client_score(devices: Sequence[tuple[float, str]]) -> float | None:
    """The mean of devices' scores (score, role), a server counting twice. None without devices."""
    weights = [device_weight(role) for _, role in devices]
    total = sum(weights)
    return sum(score * weight for (score, _), weight in zip(devices, weights, strict=True)) / total if total else None


def device_weight(role: str) -> float:
    """How much a device counts in its client's score."""
    return 2.0 if role in {"server", "cloud"} else 1.0


# --- exceptions -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Excepted:
    """An exception in force: of one device, asset or protected system, or of a whole site or client."""

    id: int
    column: Column
    client_id: UUID
    site_id: UUID | None
    device_id: UUID | None
    system_id: int | None
    until: datetime
    reason: str

    def covers(
        self, *, column: Column, client_id: UUID, site_id: UUID, device_id: UUID | None, system_id: int | None
    ) -> bool:
        if self.column is not column or self.client_id != client_id:
            return False
        if self.system_id is not None:
            return self.system_id == system_id
        if self.device_id is not None:
            return self.device_id == device_id and system_id is None
        return self.site_id in {None, site_id}
