"""From the journal to the database, exactly once: run by the worker, killed at any time.

Samples go to their store first, where writing the same again changes nothing. Everything else and the journal
position move in one transaction of the main database. What cannot be applied is set aside with its error, in that
same transaction: one bad row never stops the others, and nothing vanishes.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import msgspec
import numpy as np
from django.db import InterfaceError, OperationalError, connection, transaction

from forestall.server.evidence.forked import device_word_append
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.home import Home
from forestall.server.intake.app import RefusalCount
from forestall.server.intake.journal import EntryKind
from forestall.server.intake.records import record_read
from forestall.server.inventory.models import Device, JournalPosition, SetAside
from forestall.server.inventory.services import facts_affirm, facts_receive, refusals_note, spool_gap_note
from forestall.server.metrics.store import Batch, Store
from forestall.server.outbox.events import Event
from forestall.server.outbox.services import event_record
from forestall.server.people.scope import Scope
from forestall.server.runbooks.services import job_delivered, job_result_receive
from forestall.trust.statements import JobResult, plain
from forestall.wire import codec
from forestall.wire.checkin import CheckIn

log = logging.getLogger(__name__)

_SCOPE = Scope.system("intake")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the journal."""

    row: int
    kind: EntryKind
    device: bytes
    sequence: int
    received_at: int
    sent_at: int | None
    crossed: str
    body: bytes

    @property
    def received(self) -> datetime:
        return datetime.fromtimestamp(self.received_at / 1000, UTC)


@dataclass(slots=True)
class _DeviceNews:
    """What the newest check-in of a device says about the device itself."""

    received: datetime
    made_at: datetime
    boot_id: str
    agent_version: str
    offset: float | None


@dataclass(slots=True)
class _Applied:
    """What one page changes, gathered before the transaction writes it."""

    devices: Mapping[bytes, Device]
    news: dict[bytes, _DeviceNews] = field(default_factory=dict)
    crossed: dict[bytes, dict[str, None]] = field(default_factory=dict)


def journal_apply(*, home: Home, store: Store, now: datetime, most: int = 500) -> int:
    """Apply up to ``most`` rows of the journal; how many were.

    Errors of a database are raised: nothing has moved then, and the next call begins where this one did.
    """
    if not home.journal.exists():
        return 0  # intake has not started yet
    with closing(sqlite3.connect(f"file:{home.journal}?mode=ro", uri=True, timeout=10)) as journal:
        name, rows = _read(journal, most)
        if not rows:
            return 0
        check_ins = {row.row: _decode(row) for row in rows if row.kind is EntryKind.CHECK_IN}
        lost: set[int] = set()
        store.append(list(_batches(journal, store, rows, check_ins, lost)))
    with transaction.atomic():
        applied = _Applied(_devices(rows))
        for row in rows:
            _apply(row, check_ins.get(row.row), applied, now)
            if row.row in lost:
                _set_aside(row, applied.devices.get(row.device), "samples", "the catalogue of its series is lost", now)
        for device, metrics in applied.crossed.items():
            event_record(
                event=Event.SAMPLES_CROSSED,
                subject=applied.devices[device].pk,
                at=now,
                detail={"metrics": list(metrics)},
            )
        _update_devices(applied)
        JournalPosition.objects.update_or_create(pk=1, defaults={"journal": name, "row": rows[-1].row})
    return len(rows)


def _read(journal: sqlite3.Connection, most: int) -> tuple[str, list[Row]]:
    """The journal's name, and its next rows."""
    (name,) = journal.execute("SELECT name FROM journal").fetchone()
    position = JournalPosition.objects.filter(pk=1).first()
    # Rows are counted per journal file: after a loss of the file, the new one begins at 1 again.
    after = position.row if position is not None and position.journal == name else 0
    found = journal.execute(
        "SELECT row, kind, device, sequence, received_at, sent_at, crossed, body FROM entry"
        " WHERE row > ? ORDER BY row LIMIT ?",
        (after, most),
    )
    return name, [Row(row, EntryKind(kind), *rest) for row, kind, *rest in found]


def _decode(row: Row) -> CheckIn | codec.WireError:
    try:
        return codec.decode_check_in(codec.expand(row.body))
    except codec.WireError as error:
        # Intake decoded it once; a version of this program with narrower bounds may not.
        return error


def _batches(
    journal: sqlite3.Connection,
    store: Store,
    rows: Sequence[Row],
    check_ins: Mapping[int, CheckIn | codec.WireError],
    lost: set[int],
) -> Iterator[Batch]:
    """The samples of these rows. A row whose catalogue is neither in it, nor in the store, nor in the journal is put
    into ``lost``."""
    for row in rows:
        check_in = check_ins.get(row.row)
        if not isinstance(check_in, CheckIn) or check_in.samples is None:
            continue
        block = check_in.samples
        names = tuple(block.names) if block.names is not None else store.catalogue(block.catalogue)
        if names is None:
            found = journal.execute("SELECT names FROM catalogue WHERE id = ?", (block.catalogue,)).fetchone()
            if found is None:
                lost.add(row.row)
                continue
            names = tuple(found[0].split("\n"))
        values = np.frombuffer(block.values, dtype="<f8").reshape(len(block.times), len(names))
        yield Batch(UUID(bytes=row.device), names, block.times, values)


def _devices(rows: Sequence[Row]) -> dict[bytes, Device]:
    ids = {UUID(bytes=row.device) for row in rows if row.device}
    # Their rows are taken first, and in one order: what people do to a device meanwhile waits, and so do we.
    taken = Device.objects.visible_to(_SCOPE).select_for_update(of=("self",), no_key=True).order_by("pk")
    found = taken.select_related("client").filter(pk__in=ids)
    return {device.pk.bytes: device for device in found}


def _apply(row: Row, check_in: CheckIn | codec.WireError | None, applied: _Applied, now: datetime) -> None:
    if row.kind is EntryKind.REFUSALS:
        _apart(row, None, "refusals", now, lambda: _refusals(row))
        return
    device = applied.devices.get(row.device)
    if device is None:
        _set_aside(row, None, "check-in", f"no device {UUID(bytes=row.device)} is known", now)
        return
    if row.kind is EntryKind.DELIVERED:
        for job_id in msgspec.msgpack.decode(row.body, type=list[str]):
            delivered = partial(job_delivered, job_id=job_id, device=device, now=row.received)
            _apart(row, device, f"delivery:{job_id}", now, delivered)
        return
    if not isinstance(check_in, CheckIn):
        _set_aside(row, device, "check-in", str(check_in), now)
        return
    before = applied.news.get(row.device)
    offset = before.offset if before is not None else None
    if row.sent_at is not None:
        offset = (row.sent_at - row.received_at) / 1000
    applied.news[row.device] = _DeviceNews(
        received=row.received,
        made_at=check_in.made_at,
        boot_id=check_in.boot_id[:64],
        agent_version=check_in.agent_version[:40],
        offset=offset,
    )
    if row.crossed:
        applied.crossed.setdefault(row.device, {}).update(dict.fromkeys(row.crossed.split("\n")))
    for part, act in _parts(row, device, check_in, now):
        _apart(row, device, part, now, act)


def _parts(row: Row, device: Device, check_in: CheckIn, now: datetime) -> Iterator[tuple[str, Callable[[], object]]]:
    """What a check-in says beside its samples, each with the act that applies it."""
    received = row.received
    for report in check_in.facts:
        yield f"facts:{report.document.name()}", partial(facts_receive, device=device, report=report, now=received)
    for affirmed in check_in.affirmed:
        yield f"affirmed:{affirmed.name:.20}", partial(facts_affirm, device=device, affirmed=affirmed, now=received)
    for index, envelope in enumerate(check_in.records):
        yield f"record:{index}", partial(_record, device=device, envelope=envelope, now=now)
    if check_in.gap is not None:
        yield "gap", partial(spool_gap_note, device=device, gap=check_in.gap, now=received)


def _record(*, device: Device, envelope: bytes, now: datetime) -> None:
    statement, _ = record_read(envelope, bytes(device.public_key))
    if isinstance(statement, JobResult):
        job_result_receive(device=device, envelope=envelope, now=now)
        return
    device_word_append(
        client=device.client,
        kind=EvidenceKind.DEVICE_NOTICE,
        payload=plain(statement),
        now=now,
        device_id=device.pk,
        site_id=device.site_id,
        envelope=envelope,
        signer=bytes(device.public_key),
    )


def _refusals(row: Row) -> None:
    for count in msgspec.msgpack.decode(row.body, type=list[RefusalCount]):
        refusals_note(
            device_id=UUID(bytes=count.device),
            code=count.code,
            detail=count.detail,
            count=count.count,
            at=datetime.fromtimestamp(count.at / 1000, UTC),
        )


def _apart(row: Row, device: Device | None, part: str, now: datetime, act: Callable[[], object]) -> None:
    """Do one part in a savepoint of its own. A part that fails is set aside; a database that fails is not its fault."""
    try:
        with transaction.atomic():
            act()
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        log.exception("check-in %s of device %s: %s could not be applied", row.sequence, device, part)
        _set_aside(row, device, part, f"{type(error).__name__}: {error}", now)


def _set_aside(row: Row, device: Device | None, part: str, error: str, now: datetime) -> None:
    SetAside.objects.create(
        device=device, sequence=row.sequence, part=part[:40], error=error[:500], body=row.body, at=now
    )


def _update_devices(applied: _Applied) -> None:
    """One statement for the devices of a page: the ORM's way costs more per check-in than intake itself."""
    table = Device._meta.db_table
    with connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {table} SET last_check_in_at = %s, last_made_at = %s, boot_id = %s, agent_version = %s,"  # noqa: S608
            " clock_offset_seconds = COALESCE(%s, clock_offset_seconds) WHERE id = %s",
            [
                (
                    connection.ops.adapt_datetimefield_value(news.received),
                    connection.ops.adapt_datetimefield_value(news.made_at),
                    news.boot_id,
                    news.agent_version,
                    news.offset,
                    Device._meta.pk.get_db_prep_value(applied.devices[device].pk, connection),
                )
                for device, news in applied.news.items()
            ],
        )
