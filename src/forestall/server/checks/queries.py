"""Reads of checks, and all that a rule may know of a device."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds import CHECK_KINDS
from forestall.server.checks.models import Check, CheckChange, PolicyChange, PolicyOverride
from forestall.server.checks.result import Known, Risk, Series, Status
from forestall.server.checks.rules import WORST_FIRST, policy_of
from forestall.server.home import Home, current_home
from forestall.server.inventory import queries as inventory
from forestall.server.inventory.models import Device, DeviceStatus, FactsDocument
from forestall.server.metrics.store import Store, open_store
from forestall.server.people.scope import Permission, Scope
from forestall.wire.facts import Document, Facts


def checks(*, scope: Scope) -> QuerySet[Check]:
    """The checks that ``scope`` may see, with their devices. Those whose target is gone are left out."""
    found: QuerySet[Check] = Check.objects.visible_to(scope).filter(gone_at=None)
    return found.select_related("device__client", "device__site")


def changes(*, scope: Scope, device: Device | UUID | None = None) -> QuerySet[CheckChange]:
    """Changes of status, newest first; of one device, or of all in scope."""
    found: QuerySet[CheckChange] = CheckChange.objects.visible_to(scope).select_related("check_row")
    return found if device is None else found.filter(check_row__device=device)


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of one device: the worst of its checks."""

    status: Status
    check_id: int
    target: str
    reason: str
    risk: Risk
    judged_at: datetime
    count: int
    """Checks of this kind on the device."""
    not_passing: int


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """One device of the matrix."""

    device: Device
    cells: dict[str, Cell] = field(default_factory=dict)
    """By slug of the kind. No cell: nothing of this kind is there to judge."""

    @property
    def status(self) -> Status | None:
        """The worst of the row."""
        return min((cell.status for cell in self.cells.values()), key=WORST_FIRST.index, default=None)


def matrix(*, scope: Scope, devices: Collection[UUID] | None = None) -> list[MatrixRow]:
    """Devices × kinds, by client and name; of ``devices`` only, or of all. Two queries, however many there are."""
    found_devices = inventory.devices(scope=scope).exclude(status=DeviceStatus.REVOKED)
    own_checks = Check.objects.visible_to(scope).filter(gone_at=None)
    if devices is not None:
        found_devices, own_checks = found_devices.filter(pk__in=devices), own_checks.filter(device__in=devices)
    rows = {device.pk: MatrixRow(device=device) for device in found_devices}
    columns = ("device_id", "kind", "status", "pk", "target", "reason", "risk", "judged_at")
    order = {status.value: index for index, status in enumerate(WORST_FIRST)}
    risks = {risk.value: risk.rank for risk in Risk}
    found: dict[tuple[UUID, str], list[tuple[Any, ...]]] = {}

    def key(row: tuple[Any, ...]) -> tuple[int, int, str]:
        return order[row[2]], risks[row[6]], row[4]

    for each in own_checks.values_list(*columns):
        found.setdefault((each[0], each[1]), []).append(each)
    for (device_id, kind), own in found.items():
        if device_id not in rows:
            continue
        _, _, status, pk, target, reason, risk, judged_at = min(
            own, key=lambda one: (order[one[2]], risks[one[6]], one[4])
        )
        rows[device_id].cells[kind] = Cell(
            status=Status(status), check_id=pk, target=target, reason=reason, risk=Risk(risk), judged_at=judged_at,
            count=len(own), not_passing=sum(one[2] != Status.PASS for one in own),
        )  # fmt: skip
    return list(rows.values())


def overrides_of(*, scope: Scope, client_id: UUID) -> list[PolicyOverride]:
    """All policies set for a client, its sites and devices."""
    return list(PolicyOverride.objects.visible_to(scope).filter(client_id=client_id))


def policy_list(*, scope: Scope) -> QuerySet[PolicyOverride]:
    """Every policy that was set for a client, site or device in scope."""
    found: QuerySet[PolicyOverride] = PolicyOverride.objects.visible_to(scope)
    return found.select_related("client", "site", "device")


def policy_changes(*, scope: Scope) -> QuerySet[PolicyChange]:
    """Who changed which policy and why, newest first."""
    found: QuerySet[PolicyChange] = PolicyChange.objects.visible_to(scope)
    return found.select_related("client", "site", "device")


def override_values(
    overrides: Sequence[PolicyOverride], *, kind: CheckKind, site_id: UUID | None, device_id: UUID | None
) -> list[Mapping[str, Any]]:
    """Those that hold for a device (or for a site, or a client), widest scope first."""
    fitting = [
        each
        for each in overrides
        if each.kind == kind.slug and (each.device_id in {None, device_id}) and (each.site_id in {None, site_id})
    ]
    return [
        each.values for each in sorted(fitting, key=lambda each: (each.site_id is not None, each.device_id is not None))
    ]


def policies(*, scope: Scope, device: Device) -> dict[str, Any]:
    """Slug of each kind → the policy by which this device is judged."""
    own = overrides_of(scope=scope, client_id=device.client_id)
    return {
        slug: policy_of(kind, override_values(own, kind=kind, site_id=device.site_id, device_id=device.pk))
        for slug, kind in CHECK_KINDS.items()
    }


def known_of(
    *, scope: Scope, device: Device, now: datetime, kinds: Iterable[CheckKind] | None = None,
    rows: Sequence[Check] | None = None,
) -> Known:  # fmt: skip
    """All that the rules of ``kinds`` (None: of all) may know of a device.

    Only the documents and series that these kinds ask for are read. ``rows``: the device's checks, if they are at
    hand (for what was accepted, and since when a reboot is pending).
    """
    if (
        not scope.everywhere(Permission.DEVICE_VIEW)
        and not inventory.devices(scope=scope).filter(pk=device.pk).exists()
    ):
        return Known()  # nothing is known of a device that the scope does not see
    wanted = list(CHECK_KINDS.values() if kinds is None else kinds)
    if rows is None:
        rows = list(Check.objects.visible_to(scope).filter(device=device, gone_at=None))
    names = {name for kind in wanted for name in kind.rests_on} | _also_read(wanted)
    facts, collected_at = _facts(scope=scope, device=device, names=names)
    slugs = {kind.slug for kind in wanted}
    first_seen: dict[str, datetime] = {}
    if slugs & {"security_updates", "other_updates", "new_administrator"}:
        first_seen.update(inventory.first_seen(scope=scope, device=device))
    for row in rows:
        if row.kind == "reboot_pending" and row.problem_since is not None:
            first_seen["reboot:"] = row.problem_since
    return Known(
        facts=facts,
        collected_at=collected_at,
        samples=_samples(device=device, kinds=wanted, now=now),
        enrolled_at=device.enrolled_at,
        approved=device.status == DeviceStatus.APPROVED,
        role=device.role,
        last_check_in_at=device.last_check_in_at,
        clock_offset_seconds=device.clock_offset_seconds,
        first_seen=first_seen,
        accepted=frozenset(f"{row.kind}:{row.target}" for row in rows if row.accepted_at is not None),
    )


def _facts(*, scope: Scope, device: Device, names: set[str]) -> tuple[Facts, dict[str, datetime]]:
    """The named documents, decoded, and when each document (named or not) was last collected.

    Documents seldom change and are judged often: the body is fetched and decoded only when its digest is new here.
    """
    rows = FactsDocument.objects.visible_to(scope).filter(device=device)
    collected_at: dict[str, datetime] = {}
    digests: dict[str, bytes] = {}
    for name, digest, collected in rows.values_list("name", "digest", "collected_at"):
        collected_at[name] = collected
        if name in names:
            digests[name] = bytes(digest)
    found: dict[str, Any] = {}
    missing = []
    for name, digest in digests.items():
        if (name, digest) in _decoded:
            found[name] = _decoded[name, digest]
        else:
            missing.append(name)
    for name, body in rows.filter(name__in=missing).values_list("name", "body") if missing else ():
        found[name] = inventory.decode_document(name=name, body=body)
        if len(_decoded) >= DECODED_KEPT:
            _decoded.clear()
        _decoded[name, digests[name]] = found[name]
    return Facts(**found), collected_at


DECODED_KEPT = 6000
"""Documents kept decoded in a process; a few kB each. Then all are dropped: simpler than choosing, and as good."""
_decoded: dict[tuple[str, bytes], Document] = {}


def _also_read(kinds: Iterable[CheckKind]) -> set[str]:
    """Documents that a rule looks at when they are there."""
    return {name for kind in kinds for name in kind.also_reads}


HOUR_SECONDS = 3600
RAW_SPAN = 6 * HOUR_SECONDS
"""Longer spans are read as hourly means: a trend of days needs no minutes."""


@cache
def _store_of(home: Home) -> Store:
    return open_store(home)


def _samples(*, device: Device, kinds: Iterable[CheckKind], now: datetime) -> dict[str, Series]:
    """The series the kinds ask for, each over the longest span any of them wants, ending with its newest sample."""
    spans: dict[str, int] = {}
    for kind in kinds:
        for metric in kind.metrics:
            spans[metric] = max(spans.get(metric, 0), kind.history_seconds)
    if not spans:
        return {}
    store = _store_of(current_home())
    newest = store.latest(device_ids=[device.pk], metrics=list(spans)).get(device.pk, {})
    by_span: dict[int, list[str]] = {}
    for name in newest:
        by_span.setdefault(spans[name.partition("{")[0]], []).append(name)
    found = {name: Series.of([at], [value]) for name, (at, value) in newest.items()}
    for seconds, names in by_span.items():
        if not seconds:
            continue
        points = store.range(
            device_id=device.pk, names=names, start=now - timedelta(seconds=seconds), end=now + timedelta(seconds=1),
            step_seconds=HOUR_SECONDS if seconds > RAW_SPAN else None,
        )  # fmt: skip
        for name, each in points.items():
            at, value = newest[name]
            earlier = [pair for pair in zip(each.times.tolist(), each.mean.tolist(), strict=True) if pair[0] < at]
            found[name] = Series.of(*zip(*earlier, (at, value), strict=True))
    return found
