"""Logs and bundles made in memory: honest ones, and those of a server that holds the log's key and lies."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forestall.ledger import bundle, merkle, records
from forestall.ledger.signed import signed_text
from forestall.trust.keys import private_key, public_bytes
from forestall.trust.statements import Checkpoint, CheckpointRef, DeviceNotice, JobResult

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Record:
    """A record before it is in a log."""

    at: datetime
    kind: str
    salt: bytes
    content: bytes
    envelope: bytes = b""
    signer: bytes = b""
    erased: bool = False

    @property
    def commitment(self) -> bytes:
        return records.commitment_of(salt=self.salt, content=self.content, envelope=self.envelope, signer=self.signer)


@dataclass
class Device:
    id: str
    key: Ed25519PrivateKey


@dataclass
class ClientLog:
    bench: Workbench
    name: str
    id: str
    records: list[Record] = field(default_factory=list)
    checkpoints: list[tuple[int, datetime]] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)

    def append(self, kind: str, payload: dict[str, object], **about: object) -> int:
        device = about.get("device")
        content = records.content_bytes(
            payload=payload,
            device=device if device is None or isinstance(device, str) else device.id,  # type: ignore[attr-defined]
            site=None,
            ticket=about.get("ticket"),  # type: ignore[arg-type]
            job=str(about.get("job", "")),
        )
        self.records.append(
            Record(
                at=self.bench.tick(),
                kind=kind,
                salt=self.bench.chance.randbytes(32),
                content=content,
                envelope=about.get("envelope", b""),  # type: ignore[arg-type]
                signer=about.get("signer", b""),  # type: ignore[arg-type]
            )
        )
        return len(self.records) - 1

    def enrol(self) -> Device:
        device = Device(id=str(self.bench.uuid()), key=self.bench.key())
        self.devices.append(device)
        public = public_bytes(device.key).hex()
        self.append("device:enrolled", {"device_id": device.id, "public_key": public}, device=device)
        return device

    def seen(self) -> CheckpointRef | None:
        """What an agent that took every checkpoint holds now."""
        if not self.checkpoints:
            return None
        size = self.checkpoints[-1][0]
        return CheckpointRef(size=size, root=self.root(size).hex())

    def result(self, device: Device, *, payload: dict[str, object] | None = None, **other: object) -> int:
        """A job's result in the device's own words; ``other`` overrides what it signs."""
        said = {
            "job_id": "job-1",
            "device_id": device.id,
            "client_id": self.id,
            "outcome": "succeeded",
            "code": "done",
            "detail": "deleted 214 files",
            "runbook": "ab" * 32,
            "started_at": self.bench.now,
            "finished_at": self.bench.now,
            "steps": (),
            "checkpoint": self.seen(),
            **other,
        }
        return self.append(
            "job:result",
            {"outcome": "succeeded", "code": "done"} if payload is None else payload,
            device=device,
            job="job-1",
            envelope=signed_text(JobResult(**said), device.key).encode(),  # type: ignore[arg-type]
            signer=public_bytes(device.key),
        )

    def notice(self, device: Device) -> int:
        said = DeviceNotice(
            device_id=device.id,
            client_id=self.id,
            at=self.bench.now,
            event="spool_gap",
            detail="12 check-ins",
            checkpoint=self.seen(),
        )
        return self.append(
            "device:notice",
            {"event": "spool_gap"},
            device=device,
            envelope=signed_text(said, device.key).encode(),
            signer=public_bytes(device.key),
        )

    def erase(self, index: int) -> int:
        self.records[index] = replace(self.records[index], erased=True)
        return self.append("evidence:erased", {"index": index, "reason": "asked for", "by": "ada"})

    def checkpoint(self) -> None:
        if self.records and (not self.checkpoints or self.checkpoints[-1][0] < len(self.records)):
            self.checkpoints.append((len(self.records), self.bench.tick()))

    # What the log's key makes of it

    def leaves(self) -> list[bytes]:
        return [
            records.leaf_bytes(index=n, at=r.at, kind=r.kind, client=self.id, commitment=r.commitment)
            for n, r in enumerate(self.records)
        ]

    def root(self, size: int) -> bytes:
        return merkle.root_of([merkle.leaf_hash(leaf) for leaf in self.leaves()[:size]])

    def checkpoint_envelope(self, number: int = -1) -> str:
        size, at = self.checkpoints[number]
        said = Checkpoint(client_id=self.id, size=size, root=self.root(size).hex(), at=at)
        return signed_text(said, self.bench.log_key)

    def lines(self) -> Iterator[bytes]:
        leaves = self.leaves()
        nodes: dict[tuple[int, int], bytes] = {}
        frontier = merkle.EMPTY
        roots = []
        for leaf in leaves:
            frontier, done = frontier.append(merkle.leaf_hash(leaf))
            nodes |= {(node.level, node.index): node.hash for node in done}
            roots.append(frontier.root().hex())

        def node(level: int, index: int) -> bytes:
            return nodes[level, index]

        before = 0
        for size, at in self.checkpoints:
            said = Checkpoint(client_id=self.id, size=size, root=roots[size - 1], at=at)
            proof = merkle.consistency_proof(old_size=before, new_size=size, node=node)
            yield bundle.line_bytes(
                bundle.CheckpointLine(
                    envelope=signed_text(said, self.bench.log_key), consistency=tuple(p.hex() for p in proof)
                )
            )
            before = size
        for index, record in enumerate(self.records):
            path = merkle.inclusion_proof(index=index, size=len(leaves), node=node)
            yield bundle.line_bytes(
                bundle.EntryLine(
                    leaf=leaves[index].decode(),
                    salt=None if record.erased else record.salt.hex(),
                    content=None if record.erased else record.content.decode(),
                    envelope=record.envelope.decode() if record.envelope and not record.erased else None,
                    signer=record.signer.hex() if record.signer and not record.erased else None,
                    proof=tuple(piece.hex() for piece in path),
                )
            )


class Workbench:
    """Everything needed to make bundles; the same seed makes the same bundle."""

    def __init__(self, seed: int = 1) -> None:
        self.chance = random.Random(seed)
        self.now = START
        self.log_key = self.key()
        self.logs: list[ClientLog] = []

    def key(self) -> Ed25519PrivateKey:
        return private_key(self.chance.randbytes(32))

    def uuid(self) -> uuid.UUID:
        return uuid.UUID(bytes=self.chance.randbytes(16), version=4)

    def tick(self) -> datetime:
        self.now += timedelta(seconds=self.chance.randint(1, 9), microseconds=self.chance.randrange(1_000_000))
        return self.now

    def client(self, name: str) -> ClientLog:
        log = ClientLog(bench=self, name=name, id=str(self.uuid()))
        self.logs.append(log)
        return log

    def header(self, logs: Sequence[ClientLog], **other: object) -> bundle.BundleHeader:
        said = {
            "exported_at": self.now,
            "exported_by": "ada",
            "covers": "every client" if len(logs) == len(self.logs) else "chosen clients",
            "clients": tuple(
                bundle.BundleClient(
                    id=log.id, name=log.name, checkpoints=len(log.checkpoints), entries=len(log.records)
                )
                for log in logs
            ),
            "root": None,
            **other,
        }
        return bundle.BundleHeader(**said)  # type: ignore[arg-type]

    def bundle(self, logs: Sequence[ClientLog] | None = None, **header: object) -> bytes:
        chosen = self.logs if logs is None else logs
        for log in chosen:
            log.checkpoint()
        sections = (line for log in chosen for line in log.lines())
        return b"".join(bundle.sealed(header=self.header(chosen, **header), log_key=self.log_key, lines=sections))

    def kept(self, logs: Sequence[ClientLog] | None = None) -> bytes:
        """The file of checkpoints that a customer keeps."""
        envelopes = tuple(log.checkpoint_envelope() for log in (self.logs if logs is None else logs))
        return bundle.line_bytes(
            bundle.KeptCheckpoints(
                format=bundle.CHECKPOINTS_FORMAT, log_key=public_bytes(self.log_key).hex(), checkpoints=envelopes
            )
        )


def reseal(bench: Workbench, raw: bytes, lines: Sequence[bytes]) -> bytes:
    """What a server that holds the log's key makes of altered lines: counts and digest of the seal are right again."""
    head = bundle.line_read(raw.splitlines(keepends=True)[0])
    assert isinstance(head, bundle.HeaderLine)
    from forestall.ledger.signed import signed_read

    header = signed_read(
        head.envelope.encode(), bundle.BundleHeader, key=public_bytes(bench.log_key), whose="the log's key"
    )
    return b"".join(bundle.sealed(header=header, log_key=bench.log_key, lines=lines))


def honest(seed: int, *, steps: int = 25, clients: int = 2) -> Workbench:
    """A working life: devices enrol, tickets open, jobs run, checkpoints are signed, something is erased."""
    bench = Workbench(seed)
    chance = bench.chance
    logs = [bench.client(f"client {n}") for n in range(clients)]
    for log in logs:
        log.enrol()
    for _ in range(steps):
        log = chance.choice(logs)
        act = chance.randrange(10)
        if act == 0:
            log.enrol()
        elif act <= 3:
            log.result(chance.choice(log.devices))
        elif act == 4:
            log.notice(chance.choice(log.devices))
        elif act == 5:
            log.checkpoint()
        elif act == 6:
            still = [n for n, r in enumerate(log.records) if not r.erased and r.kind not in records.LASTING_KINDS]
            if still:
                log.erase(chance.choice(still))
        else:
            ticket = chance.randrange(1, 99)
            log.append("ticket:opened", {"title": f"disk {ticket} fills – soon", "used": 0.5}, ticket=ticket)
    return bench


def write(folder: Path, content: bytes, name: str = "bundle") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path
