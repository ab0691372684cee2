"""Export: a client's log, or every one, as one file that anyone can verify offline."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db.models import QuerySet

from forestall.ledger import bundle as lines
from forestall.ledger import merkle
from forestall.server.evidence import queries
from forestall.server.evidence.models import CheckpointRecord, Entry
from forestall.server.evidence.services import checkpoints_sign
from forestall.server.people.models import Client
from forestall.server.people.scope import NotAllowedError, Permission, Scope
from forestall.trust.keys import public_bytes

Progress = Callable[[int, int], None]
"""Called with entries written and entries in all."""

_SELF = Scope.system("evidence export")
_ROWS = 500
"""Entries read from the database at a time."""


class NothingToExportError(ValueError):
    """There is no evidence yet of what was to be exported."""


class ErasedMeanwhileError(RuntimeError):
    """A content was erased while the bundle was being written, by an entry after the bundle's end: export again."""


@dataclass(frozen=True, slots=True)
class _Section:
    client: Client
    size: int
    checkpoints: int


def bundle_lines(
    *,
    scope: Scope,
    client_id: UUID | None,
    now: datetime,
    log_key: Ed25519PrivateKey,
    root: bytes | None = None,
    on_progress: Progress | None = None,
) -> Iterator[bytes]:
    """The lines of a bundle of one client, or of every client that ``scope`` may see, as they are read.

    Signs fresh checkpoints first, so that the bundle ends with the newest entry. ``root`` is the envelope of the root
    of authority in force. Everything that can be refused is refused before the first line: NotAllowedError without
    ``evidence.view`` or when the scope does not see the whole of a client (its log cannot be had in part);
    NothingToExportError. While lines are being read, ErasedMeanwhileError may end them.
    """
    scope.require(Permission.EVIDENCE_VIEW)
    clients = Client.objects.visible_to(scope, by=Permission.EVIDENCE_VIEW).order_by("name")
    chosen = list(clients if client_id is None else clients.filter(pk=client_id))
    for client in chosen:
        if not queries.sees_whole_client(scope=scope, client_id=client.pk):
            raise NotAllowedError(Permission.EVIDENCE_VIEW, scope.who)
    sections: list[_Section] = []
    for client in chosen:
        checkpoints_sign(now=now, log_key=log_key, client_id=client.pk)
        last = queries.checkpoint_latest(client_id=client.pk)
        if last is not None:
            count = _checkpoints(client, last.size).count()
            sections.append(_Section(client=client, size=last.size, checkpoints=count))
    if not sections:
        raise NothingToExportError(
            "there is no evidence yet" if client_id is None else "this client has no evidence yet"
        )
    header = lines.BundleHeader(
        exported_at=now,
        exported_by=scope.who,
        covers="every client" if client_id is None and scope.everywhere(Permission.EVIDENCE_VIEW) else "chosen clients",
        clients=tuple(
            lines.BundleClient(
                id=str(section.client.pk),
                name=section.client.name,
                checkpoints=section.checkpoints,
                entries=section.size,
            )
            for section in sections
        ),
        root=None if root is None else root.decode(),
    )
    return lines.sealed(header=header, log_key=log_key, lines=_sections(sections, on_progress))


def bundle_write(
    *,
    scope: Scope,
    client_id: UUID | None,
    path: Path,
    now: datetime,
    log_key: Ed25519PrivateKey,
    root: bytes | None = None,
    on_progress: Progress | None = None,
) -> int:
    """Write a bundle to ``path``, whole or not at all; its size in bytes. Raises what ``bundle_lines`` raises."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    content = bundle_lines(
        scope=scope, client_id=client_id, now=now, log_key=log_key, root=root, on_progress=on_progress
    )
    try:
        # Evidence may hold personal data: readable by who exported it, and by whom they give it to.
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            for line in content:
                file.write(line)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return size


def kept_checkpoints(*, scope: Scope, now: datetime, log_key: Ed25519PrivateKey) -> bytes:
    """The small file a customer keeps: the newest checkpoint of every client that ``scope`` may see.

    Whoever rewrites a log later cannot match it. NotAllowedError without ``evidence.view``; NothingToExportError.
    """
    scope.require(Permission.EVIDENCE_VIEW)
    for client in Client.objects.visible_to(scope, by=Permission.EVIDENCE_VIEW):
        checkpoints_sign(now=now, log_key=log_key, client_id=client.pk)
    newest = [state.checkpoint for state in queries.logs(scope=scope)]
    if not newest:
        raise NothingToExportError("there is no evidence yet")
    return lines.line_bytes(
        lines.KeptCheckpoints(
            format=lines.CHECKPOINTS_FORMAT,
            log_key=public_bytes(log_key).hex(),
            checkpoints=tuple(bytes(record.envelope).decode() for record in newest if record is not None),
        )
    )


def _checkpoints(client: Client, size: int) -> QuerySet[CheckpointRecord]:
    found: QuerySet[CheckpointRecord] = CheckpointRecord.objects.visible_to(_SELF).filter(client=client, size__lte=size)
    return found.order_by("size")


def _sections(sections: list[_Section], on_progress: Progress | None) -> Iterator[bytes]:
    total, done = sum(section.size for section in sections), 0
    for section in sections:
        node = queries.block_reader(client_id=section.client.pk)
        before = 0
        for record in _checkpoints(section.client, section.size).iterator(chunk_size=_ROWS):
            proof = merkle.consistency_proof(old_size=before, new_size=record.size, node=node)
            yield lines.line_bytes(
                lines.CheckpointLine(envelope=bytes(record.envelope).decode(), consistency=_hex(proof))
            )
            before = record.size
        for begin in range(0, section.size, _ROWS):
            end = min(begin + _ROWS, section.size)
            rows = Entry.objects.visible_to(_SELF).filter(client=section.client, index__gte=begin, index__lt=end)
            for entry in rows.order_by("index"):
                proof = merkle.inclusion_proof(index=entry.index, size=section.size, node=node)
                yield lines.line_bytes(_entry_line(entry, section, _hex(proof)))
            done += end - begin
            if on_progress is not None:
                on_progress(done, total)


def _entry_line(entry: Entry, section: _Section, proof: tuple[str, ...]) -> lines.EntryLine:
    if entry.erased_by is None:
        return lines.EntryLine(
            leaf=entry.leaf,
            salt=bytes(entry.salt).hex(),
            content=entry.content,
            envelope=bytes(entry.envelope).decode() or None,
            signer=bytes(entry.signer).hex() or None,
            proof=proof,
        )
    if entry.erased_by >= section.size:
        raise ErasedMeanwhileError(f"{entry.reference} was erased while the bundle was being written; export again")
    return lines.EntryLine(leaf=entry.leaf, salt=None, content=None, envelope=None, signer=None, proof=proof)


def _hex(proof: list[bytes]) -> tuple[str, ...]:
    return tuple(piece.hex() for piece in proof)
