"""Reads of protected systems, what covers them, and how they stand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.db.models import F, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from forestall.server.checks.result import Risk, Status
from forestall.server.inventory import queries as inventory
from forestall.server.inventory.models import Device, DeviceStatus, FactsDocument
from forestall.server.people.scope import Permission, Scope
from forestall.server.recovery.matching import MACHINES, Backup, Cover, Holding, Wanted, engine_and_name, match
from forestall.server.recovery.models import Attachment, KnownBackup, Proof, ProtectedSystem
from forestall.server.recovery.rules import Judged, RecoveryGap, Shown, judge, rank
from forestall.server.recovery.terms import terms_of, wanted_of
from forestall.server.runbooks.models import OPEN_STATES, Job
from forestall.trust.proofs import ProofLevel
from forestall.wire.facts import Network

SELF = Scope.system("recovery")
RUNBOOK = "prove-backup"
"""The runbook of restore tests."""
ELSEWHERE = "a device elsewhere"
_PORTS = {5432: "postgresql", 3306: "mariadb", 1433: "mssql", 27017: "mongodb"}
"""Listening port → engine of the database behind it."""


def systems(*, scope: Scope, archived: bool = False) -> QuerySet[ProtectedSystem]:
    """Protected systems that ``scope`` may see, with client, site and device; the archived ones only when asked."""
    found: QuerySet[ProtectedSystem] = ProtectedSystem.objects.visible_to(scope).select_related(
        "client", "site", "device"
    )
    return found if archived else found.filter(archived_at=None)


def proofs(*, scope: Scope) -> QuerySet[Proof]:
    """Proofs, the newest first: those that failed and those that were withdrawn too."""
    found: QuerySet[Proof] = Proof.objects.visible_to(scope).select_related("client", "device", "system", "attachment")
    return found


def attachment_of(*, scope: Scope, proof: Proof) -> Attachment | None:
    """The file that was handed in with a proof; None: there is none. Proof.DoesNotExist when the scope sees it not."""
    return proofs(scope=scope).get(pk=proof.pk).attachment


def backups(*, scope: Scope) -> QuerySet[KnownBackup]:
    """Backups that devices tell of now, with the device."""
    found: QuerySet[KnownBackup] = KnownBackup.objects.visible_to(scope).select_related("device", "client", "site")
    return found.filter(gone_at=None)


class _DeviceName(NamedTuple):
    name: str
    hostname: str
    site_id: UUID
    visible: bool


@dataclass(slots=True)
class Book:
    """What protected systems are judged by, loaded once for many.

    Every backup of their clients counts, whoever asks: how a system stands is one truth. What the scope does not see
    is not named.
    """

    own: dict[UUID, list[Holding]] = field(default_factory=dict)
    """Device → the backups it tells of."""
    roaming: dict[UUID, list[Holding]] = field(default_factory=dict)
    """Client → backups that may hold other machines than the one that tells of them."""
    by_key: dict[tuple[UUID, str], Holding] = field(default_factory=dict)
    shown: dict[tuple[UUID, str], list[Shown]] = field(default_factory=dict)
    attested: dict[int, list[Shown]] = field(default_factory=dict)
    sites: dict[UUID, UUID] = field(default_factory=dict)
    """Device → its site."""
    namesakes: dict[tuple[UUID, str], set[UUID]] = field(default_factory=dict)
    """Client and first label of a name → its devices of that name."""
    within_sites: bool = False

    @classmethod
    def load(cls, *, clients: Collection[UUID], scope: Scope, within_sites: bool = False) -> Book:
        """For the systems of these clients, as ``scope`` may read of them. ``within_sites``: also as whoever sees a
        system's site alone may read of it (tickets)."""
        book = cls(within_sites=within_sites)
        rows = KnownBackup.objects.visible_to(SELF).filter(client__in=clients, gone_at=None)
        devices = dict(_device_names(clients, scope))
        for pk, (client, names) in devices.items():
            book.sites[pk] = names.site_id
            for name in {names.name, names.hostname} - {""}:
                book.namesakes.setdefault((client, _label(name)), set()).add(pk)
        told = dict(
            FactsDocument.objects.visible_to(SELF)
            .filter(device__client__in=clients, name="backups")
            .values_list("device_id", "collected_at")
        )
        for client, device, state, first in rows.values_list("client_id", "device_id", "state", "first_seen_at"):
            backup = msgspec.convert(state, Backup)
            names = devices[device][1]
            holding = Holding(
                device=device,
                device_name=names.name if names.visible else ELSEWHERE,
                backup=backup,
                first_seen_at=first,
                collected_at=told.get(device),
                hidden=not names.visible,
            )
            book.own.setdefault(device, []).append(holding)
            book.by_key[holding.key] = holding
            if backup.hosts or any(item.partition(":")[0].lower() in MACHINES for item in backup.protects):
                book.roaming.setdefault(client, []).append(holding)
        for system, shown in _shown(clients):
            if system is not None:
                book.attested.setdefault(system, []).append(shown)
            else:
                book.shown.setdefault(shown.key, []).append(shown)
        return book

    def judge(self, system: ProtectedSystem, now: datetime) -> Judged:
        """How a system stands."""
        wanted = wanted_of(system)
        if wanted.named:
            holdings = [self.by_key[key] for key in sorted(wanted.named, key=str) if key in self.by_key]
        else:
            own = self.own.get(system.device_id, [])
            holdings = [*own, *(one for one in self._others(system) if one.device != system.device_id)]
        if self.within_sites:
            holdings = [one if self.sites.get(one.device) == system.site_id else _masked(one) for one in holdings]
        found = [shown for one in holdings for shown in self.shown.get(one.key, ())]
        return judge(wanted, terms_of(system), holdings, [*found, *self.attested.get(system.pk, ())], now)

    def _others(self, system: ProtectedSystem) -> Iterable[Holding]:
        """Backups of other machines that may hold this one. Where several devices of a client have its name, a backup
        is about the one at its own site."""
        roaming = self.roaming.get(system.client_id)
        if not roaming:
            return
        names = {name for name in (system.device.name, system.device.hostname) if name}
        alike = set().union(*(self.namesakes.get((system.client_id, _label(name)), set()) for name in names))
        for holding in roaming:
            if len(alike) <= 1 or self.sites.get(holding.device) == system.site_id:
                yield holding


def _masked(holding: Holding) -> Holding:
    return replace(holding, hidden=True, device_name=ELSEWHERE)


def _label(name: str) -> str:
    return name.strip().lower().split(".")[0]


def _device_names(clients: Collection[UUID], scope: Scope) -> Iterable[tuple[UUID, tuple[UUID, _DeviceName]]]:
    place = scope.place(Permission.DEVICE_VIEW)
    rows = Device.objects.visible_to(SELF).filter(client__in=clients).order_by()
    for pk, client, site, name, hostname in rows.values_list("pk", "client_id", "site_id", "name", "hostname"):
        yield pk, (client, _DeviceName(name, hostname, site, place.covers(client, site)))


def _shown(clients: Collection[UUID]) -> Iterable[tuple[int | None, Shown]]:
    """The newest good and the newest failed proof of each backup (or system) and level: older ones decide nothing."""
    newest = Window(
        RowNumber(),
        partition_by=[F("device_id"), F("backup"), F("system_id"), F("level"), F("ok"), F("source")],
        order_by=[F("at").desc(), F("pk").desc()],
    )
    rows = Proof.objects.visible_to(SELF).filter(client__in=clients, withdrawn_at=None).annotate(row=newest)
    fields = ("system_id", "level", "ok", "at", "source", "device_id", "backup", "seconds", "bytes", "detail", "pk")
    for system, *values in rows.filter(row=1).order_by().values_list(*fields):
        yield system, Shown(*values)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a protected system stands now, with its row."""

    system: ProtectedSystem
    judged: Judged
    now: datetime

    @property
    def device_id(self) -> UUID:
        return self.system.device_id

    @property
    def site_id(self) -> UUID:
        return self.system.site_id

    @property
    def client_id(self) -> UUID:
        return self.system.client_id

    @property
    def covered(self) -> bool:
        """Whether a backup holds all of it."""
        return self.judged.covered

    @property
    def backup_age(self) -> timedelta | None:
        """Of the newest good backup that holds it; None: there is none."""
        return None if self.judged.backup_at is None else max(timedelta(0), self.now - self.judged.backup_at)

    @property
    def proof_level(self) -> ProofLevel | None:
        return self.judged.level

    @property
    def proved_at(self) -> datetime | None:
        return self.judged.proved_at

    @property
    def status(self) -> Status:
        return self.judged.status

    @property
    def why(self) -> str:
        return self.judged.why

    @property
    def href(self) -> str:
        return f"/recovery/{self.system.pk}/"

    @property
    def proofs(self) -> Q:
        """Which proofs are about it: of the backups that hold it, and what was attested of it."""
        found = Q(system=self.system)
        for one in self.judged.covering:
            if one.is_whole:
                found |= Q(device=one.holding.device, backup=one.holding.backup.name, system=None)
        return found


def standings(*, scope: Scope, now: datetime, systems_of: QuerySet[ProtectedSystem] | None = None) -> list[Standing]:
    """How every protected system (or those of ``systems_of``) that the scope sees stands: in five queries."""
    rows = list(systems(scope=scope) if systems_of is None else systems_of)
    if not rows:
        return []
    book = Book.load(clients={row.client_id for row in rows}, scope=scope)
    return [Standing(row, book.judge(row, now), now) for row in rows]


def standing_of(*, scope: Scope, system: ProtectedSystem, now: datetime) -> Standing:
    """How one system stands. ProtectedSystem.DoesNotExist when the scope sees none such."""
    row = systems(scope=scope, archived=True).get(pk=system.pk)
    return Standing(row, Book.load(clients=[row.client_id], scope=scope).judge(row, now), now)


def proofs_of(*, scope: Scope, standing: Standing, most: int = 100) -> list[Proof]:
    """The history of proofs of a system: of the backups that cover it, and what was attested of it, newest first."""
    return list(proofs(scope=scope).filter(standing.proofs)[:most])


def restore_test_open(*, scope: Scope, standing: Standing) -> Job | None:
    """A restore test of one of its backups that is prepared, queued or under way; None: there is none."""
    names = {one.holding.key for one in standing.judged.covering}
    jobs = Job.objects.visible_to(scope).filter(
        device__in={device for device, _ in names}, runbook__slug=RUNBOOK, state__in=OPEN_STATES, dry_run=False
    )
    return next((job for job in jobs if (job.device_id, job.parameters.get("backup")) in names), None)


def gaps(*, scope: Scope, now: datetime) -> list[tuple[Standing, RecoveryGap]]:
    """Every gap of every system in scope, the worst of the most important first."""
    found = [(one, gap) for one in standings(scope=scope, now=now) for gap in one.judged.gaps]
    return sorted(found, key=lambda item: (rank(item[1].status), _importance(item[0].system), item[0].system.name))


def _importance(system: ProtectedSystem) -> int:
    return Risk(system.importance).rank


# --- what nobody named ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Something that looks as if it had to be recoverable, and that nobody has named."""

    device: Device
    kind: str
    what: str
    name: str
    why: str

    @property
    def key(self) -> str:
        return f"{self.device.pk}:{self.kind}:{self.what}"


def suggestions(*, scope: Scope, client: UUID | None = None) -> list[Suggestion]:
    """Devices without a protected system, and databases that run or are backed up and are none. By client and name."""
    devices = inventory.devices(scope=scope).filter(
        status=DeviceStatus.APPROVED, role__in=["server", "endpoint", "cloud"]
    )
    if client is not None:
        devices = devices.filter(client=client)
    rows = list(devices)
    named: dict[UUID, list[ProtectedSystem]] = defaultdict(list)
    # One that was archived was thought about: it is not suggested again.
    for system in systems(scope=scope, archived=True):
        named[system.device_id].append(system)
    held: dict[UUID, set[str]] = defaultdict(set)
    for device_id, state in backups(scope=scope).values_list("device_id", "state"):
        for item in state.get("protects", ()):
            if ":" in item and engine_and_name(item)[0] in _PORTS.values() and not state.get("hosts"):
                held[device_id].add(":".join(engine_and_name(item)))
    servers = [row.pk for row in rows if row.role != "endpoint"]
    networks = inventory.documents_of(scope=scope, kind=Network, devices=servers)
    found = []
    for device in rows:
        own = named.get(device.pk, [])
        if not own and device.role != "endpoint":
            found.append(Suggestion(device, "machine", "", device.name, f"a {device.role}, and nothing of it is named"))
        engines = {engine_and_name(one.what)[0] for one in own if one.kind == "database"}
        databases = {one.what for one in own if one.kind == "database"}
        for item in sorted(held.get(device.pk, ())):
            engine, name = engine_and_name(item)
            if item not in databases and f"{engine}:*" not in databases and name not in {"", "*"}:
                found.append(Suggestion(device, "database", item, f"{name} on {device.name}", "a backup of it is made"))
                engines.add(engine)
        network = networks.get(device.pk)
        running = {_PORTS[one.port] for one in network.listening if one.port in _PORTS} if network else set()
        for engine in sorted(running - engines):
            found.append(
                Suggestion(
                    device, "database", f"{engine}:*", f"{engine} on {device.name}", f"{engine} listens on this device"
                )
            )
    return found


def covering_matches(*, system: ProtectedSystem, scope: Scope) -> list[tuple[KnownBackup, Cover]]:
    """Every backup of its client that the scope sees, with how much of the system it would hold by its content."""
    wanted = wanted_of(system)
    free = Wanted(device=wanted.device, names=wanted.names, kind=wanted.kind, what=wanted.what)
    rows = []
    for row in backups(scope=scope).filter(client=system.client_id):
        holding = Holding(row.device_id, row.device.name, msgspec.convert(row.state, Backup), row.first_seen_at, None)
        rows.append((row, match(free, holding).cover))
    order = list(Cover)
    return sorted(rows, key=lambda item: (order.index(item[1]), item[0].device.name, item[0].name))


def losing_proof(*, scope: Scope, now: datetime, within: timedelta) -> QuerySet[ProtectedSystem]:
    """Systems whose proof at the wanted level lapses within this time, the soonest first: as they were last judged,
    some minutes ago at most, so that asking costs one query."""
    near = systems(scope=scope).filter(lapses_at__gt=now, lapses_at__lte=now + within)
    return near.order_by("lapses_at", "pk")
