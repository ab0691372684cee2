"""What intake knows of the main database, read anew each second in a thread: devices, what waits for them, checkpoints.

The event loop only ever looks at the last whole picture. A revocation, an approval, a new job or a new checkpoint is
in the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from forestall.server.checks.services import levels_for_intake
from forestall.server.evidence import queries as evidence
from forestall.server.inventory.models import Device, DeviceStatus, FactsWanted, JournalPosition
from forestall.server.people.scope import Scope
from forestall.server.runbooks import queries as runbooks
from forestall.trust import dsse
from forestall.wire.checkin import CheckpointUpdate

LEVELS_EVERY_SECONDS = 5.0
SIZES_KEPT_SECONDS = 3600.0
"""How long the checkpoint of a device that has gone silent is still kept ready for it."""

_SCOPE = Scope.system("intake")


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device as intake needs it."""

    device_id: UUID
    status: str
    public_key: bytes
    client: UUID

    @property
    def is_approved(self) -> bool:
        return self.status == DeviceStatus.APPROVED


@dataclass(frozen=True, slots=True)
class Delivery:
    """What waits for a device."""

    jobs: list[bytes]
    documents: list[bytes]
    job_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """The main database at one moment."""

    at: float
    """Monotonic seconds."""
    devices: Mapping[bytes, KnownDevice] = field(default_factory=dict)
    deliveries: Mapping[bytes, Delivery] = field(default_factory=dict)
    wanted: Mapping[bytes, list[str]] = field(default_factory=dict)
    checkpoints: Mapping[UUID, tuple[int, bytes]] = field(default_factory=dict)
    """Client → size and envelope of its latest checkpoint."""
    proofs: Mapping[tuple[UUID, int], list[bytes]] = field(default_factory=dict)
    """(client, size an agent holds) → consistency proof to the latest checkpoint."""
    levels: Mapping[str, Sequence[float]] = field(default_factory=dict)
    applied: tuple[str, int] = ("", 0)
    """Journal name and row up to which the worker has applied it."""


class Watch:
    """Takes pictures. ``take`` runs in a thread, everything else on the event loop."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sizes: dict[bytes, tuple[int, float]] = {}
        self._levels: Mapping[str, Sequence[float]] = {}
        self._levels_at = float("-inf")
        self.picture = Picture(at=float("-inf"))

    def checkpoint_noted(self, *, device: bytes, size: int) -> None:
        """A device holds its client's checkpoint of this size: it will need a proof from there to the next."""
        self._sizes[device] = (size, self._clock())

    def checkpoint_for(self, *, device: bytes, client: UUID, held: int) -> CheckpointUpdate | None:
        """The checkpoint to send to a device that holds one of size ``held``; None when there is none newer, or the
        proof is not ready yet (it will be at the next check-in)."""
        latest = self.picture.checkpoints.get(client)
        if latest is None or latest[0] <= held:
            return None
        proof = [] if held <= 0 else self.picture.proofs.get((client, held))
        if proof is None:
            return None
        return CheckpointUpdate(envelope=latest[1], consistency=proof)

    def take(self) -> Picture:
        """Read the main database. Its errors are the caller's: the last picture stays."""
        now = self._clock()
        devices = self._devices()
        if now - self._levels_at >= LEVELS_EVERY_SECONDS:
            self._levels, self._levels_at = levels_for_intake(), now
        approved = [one.device_id for one in devices.values() if one.is_approved]
        checkpoints = self._checkpoints({one.client for one in devices.values()})
        wanted: dict[bytes, list[str]] = {}
        for device_id, name in FactsWanted.objects.visible_to(_SCOPE).values_list("device_id", "name"):
            wanted.setdefault(device_id.bytes, []).append(name)
        return Picture(
            at=now,
            devices=devices,
            deliveries={
                device_id.bytes: Delivery(list(jobs), list(documents), tuple(map(job_id_of, jobs)))
                for device_id, (jobs, documents) in runbooks.deliveries_for(device_ids=approved).items()
                if jobs or documents
            },
            wanted=wanted,
            checkpoints=checkpoints,
            proofs=self._proofs(devices, checkpoints, now),
            levels=self._levels,
            applied=JournalPosition.objects.values_list("journal", "row").first() or ("", 0),
        )

    def _devices(self) -> dict[bytes, KnownDevice]:
        found: dict[bytes, KnownDevice] = {}
        rows = Device.objects.visible_to(_SCOPE).order_by()
        for device_id, status, public_key, client in rows.values_list("id", "status", "public_key", "client_id"):
            found[device_id.bytes] = KnownDevice(device_id, status, bytes(public_key), client)
        return found

    def _checkpoints(self, clients: set[UUID]) -> dict[UUID, tuple[int, bytes]]:
        found = {client: evidence.checkpoint_latest(client_id=client) for client in clients}
        return {client: (one.size, bytes(one.envelope)) for client, one in found.items() if one is not None}

    def _proofs(
        self, devices: Mapping[bytes, KnownDevice], checkpoints: Mapping[UUID, tuple[int, bytes]], now: float
    ) -> dict[tuple[UUID, int], list[bytes]]:
        before = self.picture
        proofs: dict[tuple[UUID, int], list[bytes]] = {}
        for device, (size, seen) in list(self._sizes.items()):
            known = devices.get(device)
            if known is None or now - seen > SIZES_KEPT_SECONDS:
                self._sizes.pop(device, None)
                continue
            latest = checkpoints.get(known.client)
            key = (known.client, size)
            if latest is None or not 0 < size < latest[0] or key in proofs:
                continue
            old = before.proofs.get(key) if before.checkpoints.get(known.client) == latest else None
            proofs[key] = old or list(evidence.consistency(client_id=known.client, old_size=size, new_size=latest[0]))
        return proofs


class _Named(msgspec.Struct):
    job_id: str


def job_id_of(envelope: bytes) -> str:
    """The job id inside a signed job or invocation."""
    return msgspec.json.decode(dsse.decode(envelope).body(), type=_Named).job_id
