"""Reads of the evidence log."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import OuterRef, Q, QuerySet, Subquery

from forestall.ledger import merkle
from forestall.server.evidence.models import CheckpointRecord, ClientLog, Entry, LogNode
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, Scope

_SELF = Scope.system("evidence")


def entries(*, scope: Scope) -> QuerySet[Entry]:
    """The entries that ``scope`` may see, with their clients.

    A site's entries are for those who see the site; an entry of the client as a whole is for those who see the client
    as a whole.
    """
    found: QuerySet[Entry] = Entry.objects.visible_to(scope).select_related("client")
    return found


def sees_whole_client(*, scope: Scope, client_id: UUID) -> bool:
    """Whether ``scope`` sees every site of the client, and thus may hold its whole log."""
    return scope.place(Permission.EVIDENCE_VIEW).covers(client_id)


class LogDamagedError(RuntimeError):
    """Rows of a log are missing from the database: it was changed from outside. Restore a backup."""


@dataclass(frozen=True, slots=True)
class LogState:
    """A client's log in one line."""

    client: Client
    entries: int
    checkpoint: CheckpointRecord | None
    """The newest."""

    @property
    def uncovered(self) -> int:
        """Entries that wait for a checkpoint."""
        return self.entries - (self.checkpoint.size if self.checkpoint else 0)


def logs(*, scope: Scope) -> list[LogState]:
    """The logs of the clients that ``scope`` may see, by client name; clients without any evidence are left out."""
    newest = CheckpointRecord.objects.filter(client=OuterRef("client")).order_by("-size").values("pk")[:1]
    found = ClientLog.objects.visible_to(scope).exclude(size=0).select_related("client").order_by("client__name")
    rows = list(found.annotate(newest=Subquery(newest)))
    checkpoints = CheckpointRecord.objects.visible_to(scope).in_bulk([row.newest for row in rows if row.newest])
    return [LogState(client=row.client, entries=row.size, checkpoint=checkpoints.get(row.newest)) for row in rows]


def checkpoint_latest(*, client_id: UUID) -> CheckpointRecord | None:
    """The newest checkpoint of the client's log. Naming the client is the scope: for its own agents and faces."""
    checkpoints = CheckpointRecord.objects.visible_to(_SELF).filter(client=client_id).order_by("-size")
    found: CheckpointRecord | None = checkpoints.first()
    return found


def consistency(*, client_id: UUID, old_size: int, new_size: int) -> list[bytes]:
    """The RFC 6962 proof that the client's log of ``new_size`` entries begins with the one of ``old_size``.

    ValueError when the log never had these sizes in this order.
    """
    log = ClientLog.objects.visible_to(_SELF).filter(client=client_id).first()
    if new_size > (log.size if log else 0):
        raise ValueError(f"the log of client {client_id} has {log.size if log else 0} entries, not {new_size}")
    return merkle.consistency_proof(old_size=old_size, new_size=new_size, node=node_reader(client_id=client_id))


def inclusion(*, entry: Entry, size: int) -> list[bytes]:
    """The RFC 6962 proof that ``entry`` is in the first ``size`` entries of its log; ValueError when it is not."""
    return merkle.inclusion_proof(index=entry.index, size=size, node=node_reader(client_id=entry.client_id))


def node_reader(*, client_id: UUID) -> Callable[[int, int], bytes]:
    """``node(level, index)`` of the client's log, one read each: for the few nodes of a single proof."""

    def node(level: int, index: int) -> bytes:
        leaves = Entry.objects.visible_to(_SELF).filter(client=client_id, index=index)
        inner = LogNode.objects.visible_to(_SELF).filter(client=client_id, level=level, index=index)
        found = inner.values_list("hash", flat=True) if level else leaves.values_list("leaf_hash", flat=True)
        value: bytes | None = found.first()
        if value is None:
            raise LogDamagedError(f"the log of client {client_id} lacks its node {index} of level {level}")
        return bytes(value)

    return node


BLOCK_LEVELS = 10
"""``block_reader`` reads nodes in blocks of 2**10 leaves."""
BLOCKS_HELD = 8


def block_reader(*, client_id: UUID) -> Callable[[int, int], bytes]:
    """``node(level, index)`` of the client's log, read in blocks: for many proofs that lie side by side.

    Holds a few blocks of about 2,000 hashes, and every node above them that was asked for: one for 1,024 entries.
    """
    single = node_reader(client_id=client_id)
    above: dict[tuple[int, int], bytes] = {}
    blocks: OrderedDict[int, dict[tuple[int, int], bytes]] = OrderedDict()

    def node(level: int, index: int) -> bytes:
        if level > BLOCK_LEVELS:
            if (level, index) not in above:
                above[level, index] = single(level, index)
            return above[level, index]
        number = index >> (BLOCK_LEVELS - level)
        if number not in blocks:
            blocks[number] = _block(client_id, number)
        blocks.move_to_end(number)
        if len(blocks) > BLOCKS_HELD:
            blocks.popitem(last=False)
        value = blocks[number].get((level, index))
        return single(level, index) if value is None else value

    return node


def _block(client_id: UUID, number: int) -> dict[tuple[int, int], bytes]:
    def span(level: int) -> tuple[int, int]:
        width = 1 << (BLOCK_LEVELS - level)
        return number * width, (number + 1) * width - 1

    leaves = Entry.objects.visible_to(_SELF).filter(client=client_id, index__range=span(0))
    inside = Q()
    for level in range(1, BLOCK_LEVELS + 1):
        inside |= Q(level=level, index__range=span(level))
    inner = LogNode.objects.visible_to(_SELF).filter(inside, client=client_id)
    found = {(0, index): bytes(value) for index, value in leaves.values_list("index", "leaf_hash").order_by()}
    return found | {(level, index): bytes(value) for level, index, value in inner.values_list("level", "index", "hash")}


def entries_by(*, scope: Scope, who: str, since: datetime, most: int) -> list[Entry]:
    """The newest entries that ``scope`` may see of acts that say they were done by ``who``, ``most`` at most.

    It reads every entry since then: name a few days, not years.
    """
    said = json.dumps({"by": who}, ensure_ascii=False, separators=(",", ":"))[1:-1]
    found = entries(scope=scope).filter(at__gte=since, content__contains=said).order_by("-at", "-pk")
    return list(found[:most])
