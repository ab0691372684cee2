"""Keeping what devices have and what feeds say together: which versions are vulnerable, and which devices have those.

Work is rows, so that it can be killed at any moment: a device whose documents changed is ``stale``, a version whose
advisories changed bears another digest than theirs, a vulnerability whose catalogues changed likewise. One round does
what there is to do, in batches of one transaction each, and ends when its time is up; the next goes on from there.
Whoever works on a batch holds the one row of ``Upkeep``: two workers never match the same.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
from django.db import connection, models, transaction
from django.db.models import F

from forestall.server.home import Home
from forestall.server.inventory import queries as inventory
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.outbox.events import Event
from forestall.server.outbox.services import event_record
from forestall.server.people.scope import Scope
from forestall.server.vulnerabilities import ranking, versions
from forestall.server.vulnerabilities.exposure import sockets_of
from forestall.server.vulnerabilities.hosts import host_of
from forestall.server.vulnerabilities.index import Index, VersionFinding
from forestall.server.vulnerabilities.matching import Lookup, lookups
from forestall.server.vulnerabilities.models import (
    DeviceSoftware,
    DeviceVulnerability,
    PackageVersion,
    PackageVulnerability,
    Upkeep,
    Vulnerability,
)
from forestall.server.vulnerabilities.rules import is_beside_the_kernel
from forestall.server.vulnerabilities.taking import feeds_in_force, feeds_to_remake
from forestall.wire.facts import Network, Software, System

_SELF = Scope.system("vulnerabilities")
DEVICES_A_BATCH = 100
VERSIONS_A_BATCH = 1000
RATED_A_BATCH = 5000
CHUNK = 500
"""Values of one ``IN``."""
BUDGET_SECONDS = 20.0
MOST_TOLD = 20
"""Events of one client and round: whoever installs a first feed is not told of thousands of old ones."""
DOCUMENTS = frozenset({"software", "system", "network"})
IDS = np.dtype("<u4")

Key = tuple[str, str, str, str]
"""Ecosystem, name, version, module."""


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """What a device has of one package version. Short on the disk: a device has hundreds."""

    package: int
    running: bool = False
    """It only runs, and is not installed any more."""
    binaries: tuple[str, ...] = ()
    exposed: str = ""


_pieces = msgspec.msgpack.Decoder(tuple[Piece, ...])
_encode = msgspec.msgpack.Encoder().encode


# --- what is in force ---------------------------------------------------------------------------------------------


@dataclass
class Engine:
    """The indexes in force, opened."""

    indexes: list[Index] = field(default_factory=list)
    digest: str = ""
    """Of all of them."""
    catalogues: str = ""
    """Of those that say something of vulnerabilities themselves."""
    _digests: dict[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def open(cls, home: Home) -> Engine:
        found = cls()
        marks, rating = [], []
        for feed, folder in feeds_in_force(home):
            index = _opened(folder)
            found.indexes.append(index)
            marks.append(f"{feed.slug} {feed.index}")
            if not feed.ecosystem:
                rating.append(marks[-1])
        found.digest = _sha("\n".join(marks)) if marks else ""
        found.catalogues = _sha("\n".join(rating)) if rating else ""
        return found

    def digest_of(self, ecosystem: str, name: str) -> str:
        """Of what all indexes know of a package; empty: none knows it."""
        key = (ecosystem, name)
        if key not in self._digests:
            parts = [index.digest_of(ecosystem, name) for index in self.indexes]
            self._digests[key] = _sha("\n".join(parts)) if any(parts) else ""
        return self._digests[key]

    def findings_of(self, key: Key) -> list[VersionFinding]:
        return [one for index in self.indexes for one in index.findings_of(*key)]


_open: dict[Path, Index] = {}


def _opened(folder: Path) -> Index:
    """Opened once: a folder's name is its content's digest. Those of other data folders and gone ones are let go."""
    if folder not in _open:
        for gone in [one for one in _open if not one.exists()]:
            del _open[gone]
        _open[folder] = Index.open(folder)
    return _open[folder]


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# --- a round ------------------------------------------------------------------------------------------------------


def device_note(*, device_id: str | UUID, documents: Iterable[str], now: datetime) -> None:
    """A device sent documents: what rests on them is made anew in the next round."""
    if not DOCUMENTS & set(documents):
        return
    rows = DeviceSoftware.objects.visible_to(_SELF)
    if rows.filter(device=device_id).update(stale=True) == 0 and (
        Device.objects.visible_to(_SELF).filter(pk=device_id).exists()
    ):
        rows.get_or_create(device_id=device_id, defaults={"stale": True, "at": now})


def upkeep(
    *, home: Home, now: datetime, budget: float = BUDGET_SECONDS, clock: Callable[[], float] = time.monotonic
) -> int:
    """One round; how many devices, versions and vulnerabilities it went through. 0: everything is up to date, or has
    to wait for an index that is being made again."""
    if feeds_to_remake(home):
        # Without it all that its feed said would be taken back, and told as news a minute later.
        return 0
    until = clock() + budget
    state = upkeep_state()
    stale = DeviceSoftware.objects.visible_to(_SELF).filter(stale=True)
    engine = Engine.open(home)
    mark = _sha(f"{engine.catalogues} {now.astimezone(UTC).date()}")
    work: tuple[tuple[Callable[[], bool], Callable[[], int]], ...] = (
        (stale.exists, lambda: _follow_devices(engine, now)),
        (lambda: state.indexes != engine.digest, lambda: _rematch(engine, now, until, clock)),
        (Vulnerability.objects.exclude(rated_with=mark).exists, lambda: _rate(engine, mark, now)),
    )
    done = 0
    for is_there, do in work:
        if not is_there():
            continue
        while clock() < until and (number := do()):
            done += number
        state.refresh_from_db()
    return done


def upkeep_state() -> Upkeep:
    """The one row. It begins to count anywhere: what is kept in memory of another database never fits."""
    return Upkeep.objects.get_or_create(pk=1, defaults={"revision": secrets.randbelow(2**40)})[0]


def _hold() -> Upkeep:
    return Upkeep.objects.select_for_update().get(pk=1)


# --- devices ------------------------------------------------------------------------------------------------------


@transaction.atomic
def _follow_devices(engine: Engine, now: datetime) -> int:
    """Make the versions and rows of some stale devices anew; how many devices."""
    _hold()
    rows = list(
        DeviceSoftware.objects.visible_to(_SELF)
        .filter(stale=True)
        .select_related("device")
        .order_by("pk")[:DEVICES_A_BATCH]
    )
    if not rows:
        return 0
    ids = [row.device_id for row in rows]
    software = inventory.documents_of(scope=_SELF, kind=Software, devices=ids)
    system = inventory.documents_of(scope=_SELF, kind=System, devices=ids)
    network = inventory.documents_of(scope=_SELF, kind=Network, devices=ids)
    found: dict[UUID, dict[tuple[Key, bool], set[str]]] = {}
    sources: dict[tuple[str, str], str] = {}
    for row in rows:
        if row.device_id in software and row.device_id in system:
            every = lookups(host_of(system[row.device_id], software[row.device_id]))
            asked = [one for one in every if not is_beside_the_kernel(one.package.name)]
            found[row.device_id] = _keys(asked)
            # Where advisories name source packages, the name is the source already.
            sources |= {
                (one.ecosystem, one.name): one.package.source
                for one in asked
                if one.package.source and one.name == one.package.name
            }
    packages = _versions({key for own in found.values() for key, _ in own}, sources)
    due = [one for one in packages.values() if _is_due(one, engine)]
    _match(due, engine, now)
    for row in rows:
        own = found.get(row.device_id, {})
        sockets = sockets_of(network.get(row.device_id))
        pieces = []
        for (key, running), binaries in own.items():
            names = tuple(sorted(binaries))
            pieces.append(Piece(packages[key].pk, running, names, sockets.of((key[1], *names)) if sockets else ""))
        pieces.sort(key=lambda one: (one.package, one.running))
        row.detail = _encode(pieces)
        row.packages = np.unique(np.array([one.package for one in pieces], IDS)).tobytes()
        row.digest = hashlib.sha256(row.detail).digest()
        row.kernel = system[row.device_id].kernel[:100] if row.device_id in system else ""
        row.stale, row.at = False, now
    _update_many(DeviceSoftware, rows, ("detail", "packages", "digest", "kernel", "stale", "at"))
    _device_rows(rows, {one.pk: one for one in packages.values()}, now)
    if due:
        Upkeep.objects.filter(pk=1).update(revision=F("revision") + 1)
    return len(rows)


def _keys(asked: Sequence[Lookup]) -> dict[tuple[Key, bool], set[str]]:
    """What is asked of the index, with the installed packages each question is about."""
    found: dict[tuple[Key, bool], set[str]] = {}
    for one in asked:
        key = (one.ecosystem[:60], one.name[:200], one.version[:200], one.module[:100])
        found.setdefault((key, one.only_running), set()).add(one.package.name)
    return found


def _versions(keys: set[Key], sources: Mapping[tuple[str, str], str]) -> dict[Key, PackageVersion]:
    """The rows of these versions; made where there are none yet."""
    found = _versions_known(keys)
    missing = [key for key in keys if key not in found]
    if missing:
        PackageVersion.objects.bulk_create(
            [
                PackageVersion(ecosystem=e, name=n, version=v, module=m, source=sources.get((e, n), n)[:200])
                for e, n, v, m in sorted(missing)
            ],
            ignore_conflicts=True,
            batch_size=CHUNK,
        )
        found |= _versions_known(set(missing))
    return found


def _versions_known(keys: set[Key]) -> dict[Key, PackageVersion]:
    names: dict[str, set[str]] = defaultdict(set)
    for ecosystem, name, _, _ in keys:
        names[ecosystem].add(name)
    found = {}
    for ecosystem, those in names.items():
        for chunk in _chunks(sorted(those)):
            for row in PackageVersion.objects.filter(ecosystem=ecosystem, name__in=chunk):
                key = (row.ecosystem, row.name, row.version, row.module)
                if key in keys:
                    found[key] = row
    return found


def _device_rows(software: Sequence[DeviceSoftware], packages: Mapping[int, PackageVersion], now: datetime) -> None:
    """Open, change and close the rows of devices whose software was made anew."""
    by_device = {row.device_id: row for row in software}
    known: dict[UUID, dict[tuple[int, bool], DeviceVulnerability]] = defaultdict(dict)
    for row in DeviceVulnerability.objects.visible_to(_SELF).filter(device__in=list(by_device), gone_at=None):
        known[row.device_id][row.package_id, row.only_running] = row
    opened: list[DeviceVulnerability] = []
    changed: list[DeviceVulnerability] = []
    gone: list[int] = []
    for device_id, own in by_device.items():
        there = known[device_id]
        wanted = {(one.package, one.running): one for one in _pieces.decode(own.detail)}
        gone += [row.pk for key, row in there.items() if key not in wanted]
        for key, piece in wanted.items():
            row = there.get(key)
            if row is not None:
                if (tuple(row.binaries), row.exposed) != (piece.binaries, piece.exposed):
                    row.binaries, row.exposed = list(piece.binaries), piece.exposed
                    changed.append(row)
            elif packages[piece.package].fixable or packages[piece.package].unfixable:
                opened.append(_row(own.device, piece, now))
    for chunk in _chunks(gone):
        DeviceVulnerability.objects.visible_to(_SELF).filter(pk__in=chunk).update(gone_at=now)
    _update_many(DeviceVulnerability, changed, ("binaries", "exposed"))
    _opened_rows(opened, now)


def _row(device: Device, piece: Piece, now: datetime) -> DeviceVulnerability:
    return DeviceVulnerability(
        client_id=device.client_id,
        site_id=device.site_id,
        device_id=device.pk,
        package_id=piece.package,
        binaries=list(piece.binaries),
        only_running=piece.running,
        exposed=piece.exposed,
        first_seen_at=now,
    )


def _opened_rows(opened: Sequence[DeviceVulnerability], now: datetime) -> None:
    """Keep new rows, and tell of what is new to their clients and cannot wait."""
    if not opened:
        return
    by_package: dict[int, dict[UUID, int]] = defaultdict(lambda: defaultdict(int))
    for row in opened:
        by_package[row.package_id][row.client_id] += 1
    told = _notable(by_package, now)
    _insert_many(DeviceVulnerability, opened)
    _tell(told, now)


# --- versions -----------------------------------------------------------------------------------------------------


def _is_due(row: PackageVersion, engine: Engine) -> bool:
    return row.matched_with != engine.digest_of(row.ecosystem, row.name)


def _rematch(engine: Engine, now: datetime, until: float, clock: Callable[[], float]) -> int:
    """Match the versions in use whose advisories changed, and open rows where one became vulnerable; how many."""
    fleet = Fleet.read()
    done = 0
    while clock() < until:
        with transaction.atomic():
            state = _hold()
            if state.indexes == engine.digest:
                break
            batch = fleet.used[np.searchsorted(fleet.used, state.after, "right") :][:VERSIONS_A_BATCH].tolist()
            if not batch:
                Upkeep.objects.filter(pk=1).update(indexes=engine.digest, after=0, revision=F("revision") + 1)
                break
            due = []
            for chunk in _chunks(batch):
                due += [one for one in PackageVersion.objects.filter(pk__in=chunk) if _is_due(one, engine)]
            newly = _match(due, engine, now)
            if newly:
                fleet.open_rows(newly, now)
            Upkeep.objects.filter(pk=1).update(after=batch[-1], revision=F("revision") + 1)
            done += max(len(due), 1)
    return done


@dataclass
class Fleet:
    """The versions of all devices, as arrays: 10,000 devices of 3,000 packages are 120 MB."""

    rows: list[int]
    """Primary keys of ``DeviceSoftware``."""
    ends: np.ndarray[Any, Any]
    """Where the versions of each end in ``packages``."""
    packages: np.ndarray[Any, Any]
    used: np.ndarray[Any, Any]
    """Every version that some device has, sorted."""

    @classmethod
    def read(cls) -> Fleet:
        rows, sizes, blobs = [], [], []
        found = DeviceSoftware.objects.visible_to(_SELF).exclude(device__status=DeviceStatus.REVOKED)
        for pk, blob in found.order_by("pk").values_list("pk", "packages").iterator(chunk_size=2000):
            rows.append(pk)
            blobs.append(bytes(blob))
            sizes.append(len(blobs[-1]) // IDS.itemsize)
        packages = np.frombuffer(b"".join(blobs), IDS)
        return cls(rows, np.cumsum(np.array(sizes, np.int64)), packages, np.unique(packages))

    def having(self, packages: Iterable[int]) -> list[int]:
        """Rows of those that have one of these versions."""
        wanted = np.array(sorted(packages), IDS)
        if not len(self.rows):
            return []
        largest = int(self.used[-1]) if len(self.used) else 0
        table = np.zeros(largest + 1, bool)
        table[wanted[wanted <= largest]] = True
        hits = np.flatnonzero(table[self.packages])
        return [self.rows[one] for one in np.unique(np.searchsorted(self.ends, hits, "right")).tolist()]

    def open_rows(self, newly: set[int], now: datetime) -> None:
        """Rows of devices that have a version which was not vulnerable before."""
        for chunk in _chunks(self.having(newly), 2000):
            opened = []
            software = DeviceSoftware.objects.visible_to(_SELF).filter(pk__in=chunk).select_related("device")
            there = set(
                DeviceVulnerability.objects.visible_to(_SELF)
                .filter(package__in=sorted(newly), gone_at=None, device__software_versions__in=chunk)
                .values_list("device_id", "package_id", "only_running")
            )
            for row in software.defer("packages", "digest", "kernel"):
                for piece in _pieces.decode(row.detail):
                    if piece.package in newly and (row.device_id, piece.package, piece.running) not in there:
                        opened.append(_row(row.device, piece, now))
            _opened_rows(opened, now)


def _match(rows: Sequence[PackageVersion], engine: Engine, now: datetime) -> set[int]:
    """Match versions with the indexes and keep what is new and what was taken back; those that had nothing before and
    have something now."""
    if not rows:
        return set()
    wanted: dict[int, dict[tuple[str, str], VersionFinding]] = {}
    about: dict[str, VersionFinding] = {}
    for row in rows:
        own: dict[tuple[str, str], VersionFinding] = {}
        for finding in engine.findings_of((row.ecosystem, row.name, row.version, row.module)):
            for name in finding.cves or (finding.advisory,):
                own[name[:60], finding.advisory[:100]] = finding
                about.setdefault(name[:60], finding)
        wanted[row.pk] = own
    ids = _vulnerabilities(about, now)
    standing: dict[int, dict[tuple[int, str], tuple[int, str, str]]] = defaultdict(dict)
    found = PackageVulnerability.objects.filter(gone_at=None)
    for chunk in _chunks([row.pk for row in rows]):
        for pk, package, vulnerability, advisory, fixed, severity in found.filter(package__in=chunk).values_list(
            "pk", "package_id", "vulnerability_id", "advisory", "fixed", "severity"
        ):
            standing[package][vulnerability, advisory] = (pk, fixed, severity)
    fresh: list[PackageVulnerability] = []
    back: list[int] = []
    newly: set[int] = set()
    news: dict[int, set[int]] = defaultdict(set)
    for row in rows:
        own, before = wanted[row.pk], standing[row.pk]
        had = bool(row.fixable or row.unfixable)
        kept = {(ids[name], advisory): finding for (name, advisory), finding in own.items()}
        for key, finding in kept.items():
            there = before.get(key)
            if there is not None and there[1:] == (finding.fixed[:200], finding.severity):
                continue
            if there is not None:
                # Another fix or rating: what was known until now stays true of the past.
                back.append(there[0])
            elif had:
                news[key[0]].add(row.pk)
            fresh.append(
                PackageVulnerability(
                    package_id=row.pk, vulnerability_id=key[0], advisory=key[1], fixed=finding.fixed[:200],
                    severity=finding.severity, known_at=now,
                )
            )  # fmt: skip
        back += [there[0] for key, there in before.items() if key not in kept]
        _sum_up(row, own, ids)
        row.matched_with = engine.digest_of(row.ecosystem, row.name)
        if not had and own:
            newly.add(row.pk)
    for chunk in _chunks(back):
        PackageVulnerability.objects.filter(pk__in=chunk).update(gone_at=now)
    PackageVulnerability.objects.bulk_create(fresh, batch_size=2000)
    _update_many(PackageVersion, rows, ("fixable", "unfixable", "fix", "matched_with"))
    _tell_of_matches(news, now)
    return newly


def _sum_up(row: PackageVersion, own: Mapping[tuple[str, str], VersionFinding], ids: Mapping[str, int]) -> None:
    """Copy onto the version what totals are made of."""
    fixes: dict[int, str] = {}
    for (name, _), finding in own.items():
        pk = ids[name]
        fixes[pk] = fixes.get(pk) or finding.fixed
    row.fixable = np.array(sorted(pk for pk, fixed in fixes.items() if fixed), IDS).tobytes()
    row.unfixable = np.array(sorted(pk for pk, fixed in fixes.items() if not fixed), IDS).tobytes()
    key = versions.key_of(row.ecosystem)
    row.fix = max({one.fixed for one in own.values() if one.fixed}, key=key, default="")[:200]


def _vulnerabilities(about: Mapping[str, VersionFinding], now: datetime) -> dict[str, int]:
    """Ids of vulnerabilities by name; rows for those met for the first time."""
    ids: dict[str, int] = {}
    for chunk in _chunks(sorted(about)):
        ids |= dict(Vulnerability.objects.filter(name__in=chunk).values_list("name", "pk"))
    missing = [name for name in sorted(about) if name not in ids]
    if missing:
        Vulnerability.objects.bulk_create(
            [
                Vulnerability(
                    name=name,
                    title=about[name].title,
                    severity=about[name].severity,
                    score=ranking.score_of(ranking.Facts(about[name].severity), now.date()),
                    published_at=about[name].published_at,
                    changed_at=now,
                )
                for name in missing
            ],
            ignore_conflicts=True,
            batch_size=CHUNK,
        )
        for chunk in _chunks(missing):
            ids |= dict(Vulnerability.objects.filter(name__in=chunk).values_list("name", "pk"))
    return ids


# --- what catalogues say ------------------------------------------------------------------------------------------


def _rate(engine: Engine, mark: str, now: datetime) -> int:
    """Bring severity, likelihood and exploitation of some vulnerabilities up to date; how many were looked at."""
    exploited: dict[str, Any] = {}
    likely: dict[str, Any] = {}
    rated: dict[str, Any] = {}
    for index in engine.indexes:
        exploited |= index.exploited
        likely |= index.likelihoods
        rated |= index.ratings
    today, done = now.astimezone(UTC).date(), 0
    while True:
        with transaction.atomic():
            _hold()
            rows = list(Vulnerability.objects.exclude(rated_with=mark).order_by("pk")[:RATED_A_BATCH])
            if not rows:
                return done
            vendors = _vendors([row.pk for row in rows])
            news: list[int] = []
            for row in rows:
                known, chance, rating = exploited.get(row.name), likely.get(row.name), rated.get(row.name)
                if known is not None and row.kev_added_on is None:
                    news.append(row.pk)
                row.kev_added_on = known.added_on if known else None
                row.kev_due_on = known.due_on if known else None
                row.ransomware = bool(known and known.ransomware)
                row.epss = chance.probability if chance else None
                row.epss_percentile = chance.percentile if chance else None
                row.cvss = rating.cvss if rating else row.cvss
                row.cvss_vector = (rating.vector[:200] if rating else "") or row.cvss_vector
                row.title = (rating.title if rating else "") or row.title or (known.title if known else "")
                row.severity = ranking.worst_of([vendors.get(row.pk, "")]) or (rating.severity if rating else "")
                if not row.severity and row.cvss is not None:
                    row.severity = ranking.severity_of_cvss(row.cvss)
                row.score = ranking.score_of(facts_of(row), today)
                row.rated_with, row.changed_at = mark, now
            _update_many(
                Vulnerability,
                rows,
                (
                    "kev_added_on", "kev_due_on", "ransomware", "epss", "epss_percentile", "cvss", "cvss_vector",
                    "title", "severity", "score", "rated_with", "changed_at",
                ),
            )  # fmt: skip
            _tell_of_exploited(news, now)
            Upkeep.objects.filter(pk=1).update(revision=F("revision") + 1)
            done += len(rows)


def facts_of(row: Vulnerability) -> ranking.Facts:
    """What its rank rests on."""
    return ranking.Facts(
        severity=row.severity,
        cvss=row.cvss,
        epss=row.epss,
        kev_added_on=row.kev_added_on,
        kev_due_on=row.kev_due_on,
        ransomware=row.ransomware,
    )


def _vendors(ids: Sequence[int]) -> dict[int, str]:
    """The worst rating that vendors of packages with these vulnerabilities give them."""
    found: dict[int, list[str]] = defaultdict(list)
    for chunk in _chunks(ids):
        rows = PackageVulnerability.objects.filter(vulnerability__in=chunk, gone_at=None).order_by()
        for pk, severity in rows.values_list("vulnerability_id", "severity").distinct():
            found[pk].append(severity)
    return {pk: ranking.worst_of(said) for pk, said in found.items()}


# --- news ---------------------------------------------------------------------------------------------------------

News = dict[tuple[UUID, int], int]
"""(client, vulnerability) → on how many devices."""


def _notable(by_package: Mapping[int, Mapping[UUID, int]], now: datetime) -> News:
    """Of new rows: vulnerabilities that cannot wait and that their clients had nowhere until now."""
    serious = PackageVulnerability.objects.filter(gone_at=None).filter(
        models.Q(vulnerability__kev_added_on__isnull=False) | models.Q(vulnerability__severity="critical")
    )
    found: News = defaultdict(int)
    for chunk in _chunks(sorted(by_package)):
        for package, vulnerability in serious.filter(package__in=chunk).values_list("package_id", "vulnerability_id"):
            for client, number in by_package[package].items():
                found[client, vulnerability] = max(found[client, vulnerability], number)
    known = _known_at_clients({vulnerability for _, vulnerability in found})
    return {key: number for key, number in found.items() if key not in known}


def _known_at_clients(vulnerabilities: Iterable[int]) -> set[tuple[UUID, int]]:
    """Which clients have which of these now."""
    found: set[tuple[UUID, int]] = set()
    for chunk in _chunks(sorted(set(vulnerabilities))):
        packages: dict[int, set[int]] = defaultdict(set)
        for package, vulnerability in PackageVulnerability.objects.filter(
            vulnerability__in=chunk, gone_at=None
        ).values_list("package_id", "vulnerability_id"):
            packages[package].add(vulnerability)
        for some in _chunks(sorted(packages)):
            rows = DeviceVulnerability.objects.visible_to(_SELF).filter(package__in=some, gone_at=None).order_by()
            for client, package in rows.values_list("client_id", "package_id").distinct():
                found |= {(client, one) for one in packages[package]}
    return found


def _tell_of_matches(news: Mapping[int, set[int]], now: datetime) -> None:
    """Of versions that had other vulnerabilities before: their devices' rows are there, and nothing else tells."""
    if news:
        serious = Vulnerability.objects.filter(models.Q(kev_added_on__isnull=False) | models.Q(severity="critical"))
        found = [
            pk for chunk in _chunks(sorted(news)) for pk in serious.filter(pk__in=chunk).values_list("pk", flat=True)
        ]
        _tell_where_known(found, news, now)


def _tell_of_exploited(ids: Sequence[int], now: datetime) -> None:
    """Of vulnerabilities that are now known to be exploited."""
    packages: dict[int, set[int]] = defaultdict(set)
    for chunk in _chunks(ids):
        for package, vulnerability in PackageVulnerability.objects.filter(
            vulnerability__in=chunk, gone_at=None
        ).values_list("package_id", "vulnerability_id"):
            packages[vulnerability].add(package)
    _tell_where_known(ids, packages, now)


def _tell_where_known(ids: Sequence[int], packages: Mapping[int, set[int]], now: datetime) -> None:
    told: News = {}
    for pk in ids:
        rows = DeviceVulnerability.objects.visible_to(_SELF).filter(package__in=packages.get(pk, ()), gone_at=None)
        counted = rows.order_by().values("client_id").annotate(number=models.Count("device", distinct=True))
        told |= {(one["client_id"], pk): one["number"] for one in counted}
    _tell(told, now)


def _tell(news: News, now: datetime) -> None:
    """An event for each client and vulnerability, exploited ones first; the rest of many is only counted."""
    if not news:
        return
    about = Vulnerability.objects.in_bulk({vulnerability for _, vulnerability in news})
    by_client: dict[UUID, list[tuple[int, int]]] = defaultdict(list)
    for (client, vulnerability), number in news.items():
        by_client[client].append((vulnerability, number))
    for client, own in by_client.items():
        own.sort(key=lambda one: (-about[one[0]].score, about[one[0]].name))
        for vulnerability, number in own[:MOST_TOLD]:
            row = about[vulnerability]
            event_record(
                event=Event.VULNERABILITY_FOUND,
                subject=f"{client}/{row.name}",
                at=now,
                detail={
                    "client": str(client), "vulnerability": row.name, "severity": row.severity,
                    "known_exploited": row.kev_added_on is not None, "devices": number,
                    "more": max(len(own) - MOST_TOLD, 0),
                },
            )  # fmt: skip


# --- rows by the thousand -----------------------------------------------------------------------------------------


def _chunks(values: Sequence[Any], size: int = CHUNK) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _update_many(model: type[models.Model], rows: Sequence[models.Model], names: Sequence[str]) -> None:
    """Write some fields of many rows back: a statement prepared once, where ``bulk_update`` builds one of thousands
    of branches."""
    if not rows:
        return
    quote = connection.ops.quote_name
    fields: list[Any] = [model._meta.get_field(name) for name in names]
    sets = ", ".join(f"{quote(one.column)} = %s" for one in fields)
    statement = f"UPDATE {quote(model._meta.db_table)} SET {sets} WHERE id = %s"  # noqa: S608 - names of our own
    values = [
        [*(one.get_db_prep_save(getattr(row, one.attname), connection) for one in fields), row.pk] for row in rows
    ]
    with connection.cursor() as cursor:
        cursor.executemany(statement, values)


def _insert_many(model: type[models.Model], rows: Sequence[models.Model]) -> None:
    """New rows by one statement prepared once: a third of the time of ``bulk_create``. Their keys stay unknown."""
    quote = connection.ops.quote_name
    fields: list[Any] = [one for one in model._meta.concrete_fields if not one.primary_key]
    columns, marks = ", ".join(quote(one.column) for one in fields), ", ".join(["%s"] * len(fields))
    statement = f"INSERT INTO {quote(model._meta.db_table)} ({columns}) VALUES ({marks})"  # noqa: S608 - our own names
    values = [[one.get_db_prep_save(getattr(row, one.attname), connection) for one in fields] for row in rows]
    with connection.cursor() as cursor:
        cursor.executemany(statement, values)
