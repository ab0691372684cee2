"""Reads: what is open where, by action, by vulnerability and by device; now and at any past moment.

A *picture* is what all three are made of: pairs of device and vulnerable version, and of each version the ids of its
vulnerabilities. Today's is made from the lists of the devices (``DeviceSoftware``) and the totals on the versions, a
past one from the rows with their times; what is asked of it is the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from django.db.models import Q, QuerySet, Subquery

from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.people.scope import Scope
from forestall.server.vulnerabilities import ranking, versions
from forestall.server.vulnerabilities.models import (
    DeviceSoftware,
    DeviceVulnerability,
    Feed,
    PackageVersion,
    PackageVulnerability,
    Upkeep,
    Vulnerability,
    VulnerabilityMark,
)
from forestall.server.vulnerabilities.rules import Mark

IDS = np.dtype("<u4")
CHUNK = 900
Ints = np.ndarray[Any, Any]
NOTHING: Ints = np.zeros(0, np.int64)


# --- ranks: the same for everybody, kept in memory while they are true -----------------------------------------------


@dataclass(frozen=True)
class Ranks:
    """Of every vulnerability, by its id."""

    score: Ints
    severity: Ints
    """Place in ``ranking.SEVERITIES``."""
    exploited: Ints


_ranks: dict[tuple[int | None, int | None], Ranks] = {}
"""By revision of the upkeep and newest vulnerability: a restored database may have a revision that was there before."""


def ranks() -> Ranks:
    """As of now; read again only after upkeep has changed something."""
    revision = Subquery(Upkeep.objects.filter(pk=1).values("revision")[:1])
    newest = Vulnerability.objects.order_by("-pk").annotate(revision=revision).values_list("revision", "pk")
    now: tuple[int | None, int | None] = newest.first() or (None, None)
    if now not in _ranks:
        rows = Vulnerability.objects.order_by().values_list("pk", "score", "severity", "kev_added_on")
        found = list(rows)
        size = max((row[0] for row in found), default=0) + 1
        score, severity = np.zeros(size, np.int16), np.full(size, len(ranking.SEVERITIES) - 1, np.int8)
        exploited = np.zeros(size, bool)
        for pk, points, word, added in found:
            score[pk], exploited[pk] = points, added is not None
            severity[pk] = ranking.SEVERITIES.index(word) if word in ranking.SEVERITIES else len(ranking.SEVERITIES) - 1
        _ranks.clear()
        _ranks[now] = Ranks(score, severity, exploited)
    return _ranks[now]


# --- a picture ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Version:
    """A vulnerable version of a package."""

    pk: int
    ecosystem: str
    name: str
    version: str
    source: str
    module: str
    fix: str
    fixable: Ints
    """Ids of vulnerabilities, sorted."""
    unfixable: Ints


@dataclass(frozen=True, slots=True)
class Cell:
    """Devices that have the same of a version."""

    version: Version
    running: bool
    devices: Ints
    """Places in ``Picture.devices``."""
    fixable: Ints
    unfixable: Ints
    exposed: bool


@dataclass
class Picture:
    """What is open in a scope at a moment."""

    at: datetime
    devices: list[UUID]
    clients: list[UUID]
    """Of each device."""
    cells: list[Cell]
    ranks: Ranks
    known: int = 0
    """Devices whose software is known, vulnerable or not."""
    marked: int = 0
    """Findings (device and vulnerability in a package) that a mark takes out."""
    exposures: dict[tuple[UUID, int], str] = field(default_factory=dict)


def picture(
    *,
    scope: Scope,
    now: datetime,
    at: datetime | None = None,
    client: UUID | None = None,
    site: UUID | None = None,
    device: UUID | None = None,
    with_marked: bool = False,
) -> Picture:
    """What is open in ``scope`` now, or was ``at`` a past moment. ``with_marked``: as if nobody had marked anything."""
    wanted: dict[str, Any] = {"client_id": client, "site_id": site, "pk": device}
    filters = {f"device__{name}": value for name, value in wanted.items() if value is not None}
    moment = now if at is None else at
    rows = DeviceVulnerability.objects.visible_to(scope).filter(**filters).order_by()
    if at is None:
        devices, clients, place, package = _pairs_now(scope, filters)
        rows = rows.filter(gone_at=None)
        marks_at_all = rows.filter(Q(only_running=True) | ~Q(exposed=""))
        special = list(marks_at_all.values_list("device_id", "package_id", "only_running", "exposed"))
        vulnerable = _versions_now(np.unique(package))
    else:
        rows = rows.filter(first_seen_at__lte=at).filter(Q(gone_at=None) | Q(gone_at__gt=at))
        # By the number of the device's software: tens of thousands of long ids would take most of the time.
        listed = list(rows.values_list("device__software_versions", "package_id", "only_running", "exposed"))
        own = DeviceSoftware.objects.visible_to(scope).filter(**filters).order_by()
        known = {pk: (one, of) for pk, one, of in own.values_list("pk", "device_id", "device__client_id")}
        index: dict[int, int] = {}
        for row in listed:
            if row[0] in known and row[0] not in index:
                index[row[0]] = len(index)
        listed = [row for row in listed if row[0] in index]
        devices = [known[pk][0] for pk in index]
        clients = [known[pk][1] for pk in index]
        place = np.array([index[row[0]] for row in listed], np.int64)
        package = np.array([row[1] for row in listed], np.int64)
        special = [(devices[index[row[0]]], row[1], row[2], row[3]) for row in listed if row[2] or row[3]]
        vulnerable = _versions_then(np.unique(package), at)
    found = Picture(at=moment, devices=devices, clients=clients, cells=[], ranks=ranks(), known=len(devices))
    marks = [] if with_marked else _marks_in_force(scope, moment)
    _cells(found, place, package, vulnerable, special, marks)
    return found


def _pairs_now(scope: Scope, filters: Mapping[str, Any]) -> tuple[list[UUID], list[UUID], Ints, Ints]:
    rows = (
        DeviceSoftware.objects.visible_to(scope)
        .filter(device__status=DeviceStatus.APPROVED, **filters)
        .order_by()
        .values_list("device_id", "device__client_id", "packages")
    )
    listed = list(rows)
    blobs = [bytes(one[2]) for one in listed]
    sizes = [len(one) // IDS.itemsize for one in blobs]
    packages = np.frombuffer(b"".join(blobs), IDS).astype(np.int64)
    return [one[0] for one in listed], [one[1] for one in listed], np.repeat(np.arange(len(listed)), sizes), packages


_FIELDS = ("pk", "ecosystem", "name", "version", "source", "module", "fix")


def _versions_now(used: Ints) -> dict[int, Version]:
    found = {}
    empty = Q(fixable=b"") & Q(unfixable=b"")
    for start in range(0, len(used), CHUNK * 10):
        some = used[start : start + CHUNK * 10].tolist()
        rows = PackageVersion.objects.filter(pk__in=some).exclude(empty).order_by()
        for row in rows.values_list(*_FIELDS, "fixable", "unfixable"):
            found[row[0]] = _version(row, row[6], _ids(row[7]), _ids(row[8]))
    return found


def _version(row: Sequence[Any], fix: str, fixable: Ints, unfixable: Ints) -> Version:
    return Version(row[0], row[1], row[2], row[3], row[4], row[5], fix, fixable, unfixable)


def _ids(blob: bytes) -> Ints:
    return np.frombuffer(bytes(blob), IDS).astype(np.int64)


def _versions_then(used: Ints, at: datetime) -> dict[int, Version]:
    """With what was known of them at that moment."""
    fixes: dict[int, dict[int, str]] = defaultdict(dict)
    best: dict[int, set[str]] = defaultdict(set)
    names: dict[int, tuple[Any, ...]] = {}
    for start in range(0, len(used), CHUNK):
        some = used[start : start + CHUNK].tolist()
        known = PackageVulnerability.objects.filter(package__in=some, known_at__lte=at).order_by()
        known = known.filter(Q(gone_at=None) | Q(gone_at__gt=at))
        for package, vulnerability, fixed in known.values_list("package_id", "vulnerability_id", "fixed"):
            fixes[package][vulnerability] = fixes[package].get(vulnerability) or fixed
            if fixed:
                best[package].add(fixed)
        for row in PackageVersion.objects.filter(pk__in=some).values_list(*_FIELDS):
            names[row[0]] = row
    found = {}
    for package, own in fixes.items():
        ecosystem = names[package][1]
        found[package] = _version(
            names[package],
            max(best[package], key=versions.key_of(ecosystem), default=""),
            np.array(sorted(pk for pk, fixed in own.items() if fixed), np.int64),
            np.array(sorted(pk for pk, fixed in own.items() if not fixed), np.int64),
        )
    return found


def _cells(
    found: Picture,
    place: Ints,
    package: Ints,
    vulnerable: Mapping[int, Version],
    special: Sequence[tuple[UUID, int, bool, str]],
    marks: Sequence[tuple[Mark, int]],
) -> None:
    """Group pairs into cells: one a version, more where some of its devices differ (it only runs, it listens, a mark
    takes something out)."""
    if not len(package):
        return
    table = np.zeros(int(package.max()) + 1, bool)
    for pk in vulnerable:
        table[pk] = True
    kept = table[package]
    place, package = place[kept], package[kept]
    order = np.argsort(package, kind="stable")
    place, package = place[order], package[order]
    where = {device: number for number, device in enumerate(found.devices)}
    apart: dict[int, dict[int, tuple[bool, str]]] = defaultdict(dict)
    for device, pk, running, exposed in special:
        if device in where:
            apart[pk][where[device]] = (running, exposed)
            if exposed:
                found.exposures[device, pk] = exposed
    by_vulnerability: dict[int, list[Mark]] = defaultdict(list)
    for mark, vulnerability in marks:
        by_vulnerability[vulnerability].append(mark)
    marked_ids = np.array(sorted(by_vulnerability), np.int64)
    firsts = np.searchsorted(package, sorted(vulnerable))
    lasts = np.searchsorted(package, sorted(vulnerable), "right")
    for pk, first, last in zip(sorted(vulnerable), firsts.tolist(), lasts.tolist(), strict=True):
        if first == last:
            continue
        version, devices = vulnerable[pk], place[first:last]
        own = apart.get(pk, {})
        kinds: dict[tuple[bool, bool], list[int]] = defaultdict(list)
        if own:
            plain: list[int] = []
            for one in devices.tolist():
                running, exposed = own.get(one, (False, ""))
                (kinds[running, bool(exposed)] if running or exposed else plain).append(one)
            devices = np.array(plain, np.int64)
        groups = [((False, False), devices), *((key, np.array(some, np.int64)) for key, some in kinds.items())]
        touched = np.concatenate(
            [np.intersect1d(version.fixable, marked_ids), np.intersect1d(version.unfixable, marked_ids)]
        )
        for (running, is_exposed), some in groups:
            if not len(some):
                continue
            if not len(touched):
                found.cells.append(Cell(version, running, some, version.fixable, version.unfixable, is_exposed))
                continue
            taken: dict[tuple[int, ...], list[int]] = defaultdict(list)
            for one in some.tolist():
                out = tuple(
                    int(v)
                    for v in touched
                    if any(_applies(m, found.clients[one], found.devices[one], version) for m in by_vulnerability[v])
                )
                taken[out].append(one)
            for out, those in taken.items():
                gone = np.array(out, np.int64)
                fixable, unfixable = np.setdiff1d(version.fixable, gone), np.setdiff1d(version.unfixable, gone)
                found.marked += len(out) * len(those)
                if len(fixable) or len(unfixable):
                    found.cells.append(
                        Cell(version, running, np.array(those, np.int64), fixable, unfixable, is_exposed)
                    )


def _applies(mark: Mark, client: UUID, device: UUID, version: Version) -> bool:
    return (
        mark.client == client and mark.device in (None, device) and mark.package in ("", version.name, version.source)
    )


def _marks_in_force(scope: Scope, moment: datetime) -> list[tuple[Mark, int]]:
    """With the ids of the vulnerabilities they are about. All marks of the clients count, whoever may read them."""
    rows = VulnerabilityMark.objects.visible_to(scope).filter(at__lte=moment).order_by()
    rows = rows.filter(Q(expires_at=None) | Q(expires_at__gt=moment), Q(ended_at=None) | Q(ended_at__gt=moment))
    found = [
        Mark(*one)
        for one in rows.values_list(
            "client_id", "device_id", "vulnerability", "package", "at", "expires_at", "ended_at"
        )
    ]
    if not found:
        return []
    ids = dict(Vulnerability.objects.filter(name__in={one.vulnerability for one in found}).values_list("name", "pk"))
    return [(one, ids[one.vulnerability]) for one in found if one.vulnerability in ids]


# --- what is asked of it --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wish:
    """Which findings are meant."""

    severities: frozenset[str] = frozenset()
    """None: of every severity."""
    exploited: bool = False
    fixable: bool | None = None
    q: str = ""
    """Part of a package's or a vulnerability's name."""
    package: str = ""
    """Name of the package itself, or of its source."""
    ecosystem: str = ""

    @property
    def is_empty(self) -> bool:
        return self == Wish()


def narrowed(found: Picture, wish: Wish) -> Picture:
    """Of a picture only what a wish means."""
    if wish.is_empty:
        return found
    keep = np.ones(len(found.ranks.score), bool)
    if wish.severities:
        places = [number for number, word in enumerate(ranking.SEVERITIES) if word in wish.severities]
        keep &= np.isin(found.ranks.severity, places)
    if wish.exploited:
        keep &= found.ranks.exploited
    named = np.zeros(len(keep), bool)
    q = wish.q.strip().lower()
    if q:
        for pk in Vulnerability.objects.filter(name__icontains=q).values_list("pk", flat=True):
            if pk < len(named):
                named[pk] = True
    cells = []
    for cell in found.cells:
        version = cell.version
        if wish.package and wish.package not in (version.name, version.source):
            continue
        if wish.ecosystem and wish.ecosystem != version.ecosystem:
            continue
        mask = keep if not q or q in version.name.lower() or q in version.source.lower() else keep & named
        fixable = _kept(cell.fixable, mask) if wish.fixable in (None, True) or cell.running else NOTHING
        unfixable = _kept(cell.unfixable, mask) if wish.fixable in (None, False) else NOTHING
        if len(fixable) or len(unfixable):
            cells.append(Cell(version, cell.running, cell.devices, fixable, unfixable, cell.exposed))
    return Picture(
        found.at, found.devices, found.clients, cells, found.ranks, found.known, found.marked, found.exposures
    )


def _kept(ids: Ints, mask: Ints) -> Ints:
    kept: Ints = ids[mask[ids]]
    return kept


UPGRADE, RESTART, MITIGATE, RELEASE = "upgrade", "restart", "mitigate", "release"


@dataclass(slots=True)
class Action:
    """One thing to do, and what it removes."""

    kind: str
    """``upgrade``, ``restart``, ``mitigate`` (no fix yet), ``release`` (the whole system gets no more fixes)."""
    ecosystem: str
    package: str
    """What is upgraded together: the source package."""
    fix: str
    """The version that has every fix."""
    devices: list[UUID]
    vulnerabilities: int
    """Different ones that it removes (of ``mitigate``: that stay)."""
    exploited: int
    critical: int
    findings: int
    """Vulnerabilities times devices."""
    score: int
    exposed: int
    """Devices on which the package itself listens beyond the machine."""
    first: list[int]
    """Ids of its gravest vulnerabilities."""
    why: str = ""
    """Of ``release``: what the check says."""

    @property
    def sentence(self) -> str:
        """What to do, in one line."""
        number = len(self.devices)
        where = f"on {number:,} device{'' if number == 1 else 's'}"
        if self.kind == UPGRADE:
            return f"Upgrade {self.package} to {self.fix} {where}"
        if self.kind == RESTART:
            what = (
                "Reboot into the installed kernel" if is_kernel(self.package) else f"Restart what uses {self.package}"
            )
            return f"{what} {where}"
        if self.kind == RELEASE:
            return f"Upgrade the release of {self.package} {where}"
        return f"No fix yet for {self.package} {where}: mitigate"

    @property
    def effect(self) -> str:
        """What that brings."""
        if self.kind == RELEASE:
            return self.why
        many = "vulnerability" if self.vulnerabilities == 1 else "vulnerabilities"
        verb = "stays open" if self.vulnerabilities == 1 else "stay open"
        said = (
            f"{self.vulnerabilities:,} {many} {verb}"
            if self.kind == MITIGATE
            else f"removes {self.vulnerabilities:,} {many}"
        )
        if self.exploited:
            said += f", {self.exploited:,} known exploited"
        if self.critical:
            said += f", {self.critical:,} critical"
        return said


def is_kernel(name: str) -> bool:
    return name == "linux" or name.startswith(("linux-", "kernel"))


@dataclass(frozen=True, slots=True)
class OldRelease:
    """A device whose system gets no more fixes: what the check ``end_of_life`` says of it."""

    device: UUID
    system: str
    why: str
    ended: bool
    """False: it ends soon, or only part of it gets fixes still."""


def actions(found: Picture, *, old_releases: Iterable[OldRelease] = ()) -> list[Action]:
    """Everything that can be done, what matters most first."""
    groups: dict[tuple[str, str, str, str], list[tuple[Cell, Ints]]] = defaultdict(list)
    for cell in found.cells:
        version = cell.version
        name = version.source or version.name
        if cell.running:
            both = np.union1d(cell.fixable, cell.unfixable)
            groups[RESTART, version.ecosystem, name, version.module].append((cell, both))
            continue
        if len(cell.fixable):
            groups[UPGRADE, version.ecosystem, name, version.module].append((cell, cell.fixable))
        if len(cell.unfixable):
            groups[MITIGATE, version.ecosystem, name, version.module].append((cell, cell.unfixable))
    listed = []
    for (kind, ecosystem, name, _), own in groups.items():
        ids = np.unique(np.concatenate([some for _, some in own]))
        places = np.unique(np.concatenate([cell.devices for cell, _ in own]))
        exposed = np.unique(np.concatenate([cell.devices for cell, _ in own if cell.exposed] or [NOTHING]))
        scores = found.ranks.score[ids]
        fixes = {cell.version.fix for cell, _ in own if cell.version.fix} if kind == UPGRADE else set()
        top = ids[np.argsort(-scores.astype(np.int64), kind="stable")[:5]]
        listed.append(
            Action(
                kind=kind,
                ecosystem=ecosystem,
                package=name,
                fix=max(fixes, key=versions.key_of(ecosystem), default=""),
                devices=[found.devices[one] for one in places.tolist()],
                vulnerabilities=len(ids),
                exploited=int(found.ranks.exploited[ids].sum()),
                critical=int((found.ranks.severity[ids] == 0).sum()),
                findings=sum(len(some) * len(cell.devices) for cell, some in own),
                score=int(scores.max()) + ranking.EXPOSED * bool(len(exposed)) + ranking.FIXABLE * (kind != MITIGATE),
                exposed=len(exposed),
                first=top.tolist(),
            )
        )
    listed += _releases(old_releases)
    listed.sort(key=lambda one: (one.kind == MITIGATE and not one.exploited, -one.score, -one.findings, one.package))
    return listed


ENDED_SCORE, ENDING_SCORE = ranking.SEVERITY["critical"] + ranking.FIXABLE, ranking.SEVERITY["low"]


def _releases(old: Iterable[OldRelease]) -> list[Action]:
    groups: dict[tuple[str, bool], list[OldRelease]] = defaultdict(list)
    for one in old:
        groups[one.system, one.ended].append(one)
    return [
        Action(
            kind=RELEASE, ecosystem="", package=system, fix="", devices=[one.device for one in own], vulnerabilities=0,
            exploited=0, critical=0, findings=0, score=ENDED_SCORE if ended else ENDING_SCORE, exposed=0, first=[],
            why=own[0].why,
        )
        for (system, ended), own in groups.items()
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rank:
    """A vulnerability in a picture."""

    pk: int
    score: int
    devices: int
    fixable: bool
    exposed: bool
    only_running: bool


def vulnerabilities(found: Picture) -> list[Rank]:
    """Every open vulnerability, what matters most first. ``devices`` is filled in by ``counted`` for those shown."""
    size = len(found.ranks.score)
    there, fixed, exposed = np.zeros(size, bool), np.zeros(size, bool), np.zeros(size, bool)
    installed = np.zeros(size, bool)
    for cell in found.cells:
        for ids, has_fix in ((cell.fixable, True), (cell.unfixable, False)):
            there[ids] = True
            if has_fix or cell.running:
                fixed[ids] = True
            if cell.exposed:
                exposed[ids] = True
            if not cell.running:
                installed[ids] = True
    ids = np.flatnonzero(there)
    score = found.ranks.score[ids] + ranking.EXPOSED * exposed[ids] + ranking.FIXABLE * fixed[ids]
    order = np.lexsort((-ids, -score))
    return [
        Rank(pk, points, 0, bool(fixed[pk]), bool(exposed[pk]), not installed[pk])
        for pk, points in zip(ids[order].tolist(), score[order].tolist(), strict=True)
    ]


def counted(found: Picture, shown: Sequence[Rank]) -> list[Rank]:
    """With the exact number of devices."""
    lists: dict[int, list[Ints]] = {one.pk: [] for one in shown}
    wanted = np.array(sorted(lists), np.int64)
    for cell in found.cells:
        for ids in (cell.fixable, cell.unfixable):
            for pk in np.intersect1d(ids, wanted, assume_unique=True).tolist():
                lists[pk].append(cell.devices)
    numbers = {pk: len(np.unique(np.concatenate(own))) if own else 0 for pk, own in lists.items()}
    return [Rank(one.pk, one.score, numbers[one.pk], one.fixable, one.exposed, one.only_running) for one in shown]


@dataclass(slots=True)
class DeviceTotal:
    """A device in a picture."""

    device: UUID
    score: int = 0
    vulnerabilities: int = 0
    fixable: int = 0
    exploited: int = 0
    critical: int = 0
    packages: int = 0


def devices(found: Picture) -> list[DeviceTotal]:
    """Devices with something open, what matters most first. What several packages of one source share counts once."""
    totals = np.zeros((6, len(found.devices)), np.int64)
    groups: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in found.cells:
        groups[cell.version.ecosystem, cell.version.source or cell.version.name].append(cell)
    for cells in groups.values():
        for cell in cells:
            both = np.concatenate([cell.fixable, cell.unfixable])
            top = int(found.ranks.score[both].max())
            top += ranking.EXPOSED * cell.exposed + ranking.FIXABLE * bool(len(cell.fixable))
            totals[0, cell.devices] = np.maximum(totals[0, cell.devices], top)
        for own, both, fixable in _joined(cells):
            totals[1, own] += len(both)
            totals[2, own] += len(fixable)
            totals[3, own] += int(found.ranks.exploited[both].sum())
            totals[4, own] += int((found.ranks.severity[both] == 0).sum())
            totals[5, own] += 1
    open_ = np.flatnonzero(totals[1])
    order = open_[np.lexsort((-totals[1, open_], -totals[0, open_]))]
    return [DeviceTotal(found.devices[one], *totals[:, one].tolist()) for one in order.tolist()]


def _joined(cells: Sequence[Cell]) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Of the cells of one source: devices that have the same of them, with all the ids and those with a fix."""
    if len(cells) == 1:
        kinds: dict[tuple[int, ...], Ints] = {(0,): cells[0].devices}
    else:
        places = np.concatenate([cell.devices for cell in cells])
        numbers = np.concatenate([np.full(len(cell.devices), number) for number, cell in enumerate(cells)])
        gathered: dict[int, list[int]] = defaultdict(list)
        for place, number in zip(places.tolist(), numbers.tolist(), strict=True):
            gathered[place].append(number)
        listed: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for place, having in gathered.items():
            listed[tuple(having)].append(place)
        kinds = {same: np.array(some, np.int64) for same, some in listed.items()}
    for same, devices_ in kinds.items():
        fixable = [cells[one].fixable for one in same]
        fixable += [cells[one].unfixable for one in same if cells[one].running]
        both = [*fixable, *(cells[one].unfixable for one in same)]
        yield devices_, np.unique(np.concatenate(both)), np.unique(np.concatenate(fixable))


@dataclass(frozen=True, slots=True)
class Summary:
    """A picture in numbers."""

    devices: int
    """With something open."""
    known: int
    vulnerabilities: int
    exploited: int
    exploited_devices: int
    exploited_fixable: int
    critical: int
    findings: int


def summary(found: Picture) -> Summary:
    size = len(found.ranks.score)
    there, fixed = np.zeros(size, bool), np.zeros(size, bool)
    hit, struck = np.zeros(len(found.devices), bool), np.zeros(len(found.devices), bool)
    findings = 0
    for cell in found.cells:
        both = np.concatenate([cell.fixable, cell.unfixable])
        there[both] = True
        fixed[both if cell.running else cell.fixable] = True
        hit[cell.devices] = True
        if found.ranks.exploited[both].any():
            struck[cell.devices] = True
        findings += len(both) * len(cell.devices)
    bad = there & found.ranks.exploited
    return Summary(
        devices=int(hit.sum()),
        known=found.known,
        vulnerabilities=int(there.sum()),
        exploited=int(bad.sum()),
        exploited_devices=int(struck.sum()),
        exploited_fixable=int((bad & fixed).sum()),
        critical=int((there & (found.ranks.severity == 0)).sum()),
        findings=findings,
    )


def open_at(*, scope: Scope, at: datetime, **where: UUID | None) -> Picture:
    """What was open at a past moment, as it was known then: marks in force then are taken out. A vulnerability is
    weighed by what is known of it today."""
    return picture(scope=scope, now=at, at=at, **where)  # type: ignore[arg-type]


# --- single things --------------------------------------------------------------------------------------------------


def names_of(ids: Collection[int]) -> dict[int, Vulnerability]:
    return Vulnerability.objects.in_bulk(list(ids))


def vulnerability(*, scope: Scope, name: str) -> Vulnerability:
    """One that a device in scope has or had. Vulnerability.DoesNotExist for every other, whether there is one or not:
    what other clients have is nobody else's business."""
    found = Vulnerability.objects.get(name=name)
    if not _rows_of(scope, found).exists():
        raise Vulnerability.DoesNotExist
    return found


def _rows_of(scope: Scope, found: Vulnerability) -> QuerySet[DeviceVulnerability]:
    packages = PackageVulnerability.objects.filter(vulnerability=found).order_by().values("package_id")
    rows: QuerySet[DeviceVulnerability] = DeviceVulnerability.objects.visible_to(scope).filter(package__in=packages)
    return rows


@dataclass(frozen=True, slots=True)
class Place:
    """A device that has, or had, a vulnerability in a package."""

    device: Device
    package: PackageVersion
    advisory: str
    fixed: str
    binaries: tuple[str, ...]
    only_running: bool
    exposed: str
    since: datetime
    gone_at: datetime | None
    mark: VulnerabilityMark | None


_PLACE = ("client", "device", "package", "binaries", "only_running", "exposed", "first_seen_at", "gone_at")


def places_of(*, scope: Scope, found: Vulnerability, now: datetime) -> list[Place]:
    """Where it is, and where it was; open ones first, then the newest."""
    known: dict[int, list[PackageVulnerability]] = defaultdict(list)
    for one in PackageVulnerability.objects.filter(vulnerability=found).order_by("known_at", "pk"):
        known[one.package_id].append(one)
    own = [m for m in marks(scope=scope, name=found.name) if _mark_of(m).holds(now)]
    listed = []
    rows = _rows_of(scope, found).select_related("device__client", "package")
    shown = (*_PLACE, *(f"device__{name}" for name in ("name", "client", "site", "client__name")))
    for row in rows.only(*shown, *(f"package__{name}" for name in ("name", "version", "source"))):
        spans = known[row.package_id]
        since = max(row.first_seen_at, min(one.known_at for one in spans))
        taken_back = max((one.gone_at for one in spans if one.gone_at), default=None)
        ended = None if any(one.gone_at is None for one in spans) else taken_back
        gone_at = min((one for one in (row.gone_at, ended) if one is not None), default=None)
        if gone_at is not None and gone_at <= since:
            continue  # it had it before anybody knew, and not after
        latest = next((one for one in reversed(spans) if one.gone_at is None), spans[-1])
        mark = next((m for m in own if _fits(m, row)), None)
        listed.append(
            Place(
                row.device, row.package, latest.advisory, latest.fixed, tuple(row.binaries), row.only_running,
                row.exposed, since, gone_at, mark,
            )
        )  # fmt: skip
    listed.sort(key=lambda one: (one.gone_at is not None, -one.since.timestamp(), one.device.name))
    return listed


def _mark_of(row: VulnerabilityMark) -> Mark:
    return Mark(
        row.client_id, row.device_id, row.vulnerability, row.package, row.at, row.expires_at, row.ended_at
    )  # fmt: skip


def _fits(mark: VulnerabilityMark, row: DeviceVulnerability) -> bool:
    return (
        mark.client_id == row.client_id
        and mark.device_id in (None, row.device_id)
        and mark.package in ("", row.package.name, row.package.source)
    )


def marks(*, scope: Scope, name: str = "", in_force_at: datetime | None = None) -> QuerySet[VulnerabilityMark]:
    """Marks that ``scope`` may read, newest first: those of clients as a whole, and those of devices it sees."""
    own = Device.objects.visible_to(scope).values("pk")
    found: QuerySet[VulnerabilityMark] = (
        VulnerabilityMark.objects.visible_to(scope)
        .filter(Q(device_id=None) | Q(device_id__in=own))
        .select_related("client")
    )
    if name:
        found = found.filter(vulnerability=name)
    if in_force_at is not None:
        found = found.filter(at__lte=in_force_at)
        found = found.filter(Q(expires_at=None) | Q(expires_at__gt=in_force_at))
        found = found.filter(Q(ended_at=None) | Q(ended_at__gt=in_force_at))
    return found


@dataclass(frozen=True, slots=True)
class Finding:
    """A vulnerability in a package of one device."""

    vulnerability: Vulnerability
    row: DeviceVulnerability
    advisory: str
    fixed: str
    mark: VulnerabilityMark | None


def findings_of(*, scope: Scope, device: Device, now: datetime) -> list[Finding]:
    """Everything open on one device, marked ones too; what matters most first."""
    rows = list(
        DeviceVulnerability.objects.visible_to(scope).filter(device=device, gone_at=None).select_related("package")
    )
    by_package: dict[int, list[DeviceVulnerability]] = defaultdict(list)
    for row in rows:
        by_package[row.package_id].append(row)
    own = [one for one in marks(scope=scope, in_force_at=now) if one.client_id == device.client_id]
    found: dict[tuple[int, int], Finding] = {}
    known = PackageVulnerability.objects.filter(package__in=list(by_package), gone_at=None)
    for one in known.select_related("vulnerability").order_by("pk"):
        for row in by_package[one.package_id]:
            key = (one.vulnerability_id, row.pk)
            if key in found and found[key].fixed:
                continue
            name = one.vulnerability.name
            mark = next((m for m in own if m.vulnerability == name and _fits(m, row)), None)
            found[key] = Finding(one.vulnerability, row, one.advisory, one.fixed, mark)
    return sorted(
        found.values(),
        key=lambda one: (
            one.mark is not None,
            -one.vulnerability.score - ranking.EXPOSED * bool(one.row.exposed) - ranking.FIXABLE * bool(one.fixed),
            one.row.package.name,
            one.vulnerability.name,
        ),
    )


def feeds() -> QuerySet[Feed]:
    return Feed.objects.order_by("slug")


@dataclass(frozen=True, slots=True)
class FeedsState:
    """Whether what is shown rests on something."""

    feeds: int
    in_force: int
    failing: int
    newest: datetime | None
    oldest: datetime | None
    """Of those in force: when the one that waits longest was last seen to be current."""


def feeds_state() -> FeedsState:
    rows = list(Feed.objects.filter(enabled=True).values_list("index", "error", "good_at"))
    good = [at for index, _, at in rows if index and at is not None]
    return FeedsState(
        feeds=len(rows),
        in_force=sum(bool(index) for index, _, _ in rows),
        failing=sum(bool(error) for _, error, _ in rows),
        newest=max(good, default=None),
        oldest=min(good, default=None),
    )


def why(row: Vulnerability, now: datetime, own: Rank | None = None) -> list[str]:
    """The rank of a vulnerability in words; with ``own`` of what it is in a picture, else of it alone."""
    said = ranking.why_of(
        ranking.Facts(row.severity, row.cvss, row.epss, row.kev_added_on, row.kev_due_on, row.ransomware),
        now.date(),
        exposed="the package listens beyond the machine" if own is not None and own.exposed else "",
        fix="a newer version" if own is not None and own.fixable else "",
        only_running=own is not None and own.only_running,
        devices=0 if own is None else own.devices,
    )
    return said if own is not None else said[:-1]


def action_why(one: Action, rows: Mapping[int, Vulnerability], now: datetime) -> list[str]:
    """The rank of an action in words: that of its gravest vulnerability, and where it is exposed."""
    if one.kind == RELEASE:
        return [one.why]
    gravest = rows.get(one.first[0]) if one.first else None
    said = [] if gravest is None else [f"{gravest.name}: {', '.join(why(gravest, now)[:3])}"]
    if one.exposed:
        said.append(f"it listens beyond the machine on {one.exposed} of these devices")
    return said
