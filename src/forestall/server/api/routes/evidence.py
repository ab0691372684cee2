"""The evidence log: its entries, its checkpoints, and a bundle to check offline."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import StreamingHttpResponse
from ninja import Field

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.evidence import queries
from forestall.server.evidence.bundle import bundle_lines
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.log_key import log_key_read
from forestall.server.evidence.models import Entry
from forestall.server.home import current_home
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission
from forestall.server.runbooks.queries import root_envelope

router = Routes(tags=["evidence"])


class EntryOut(Schema):
    reference: str = Field(description="By which reports name it: `client/#index`.")
    client: Named
    index: int
    kind: str
    at: datetime
    device: UUID | None
    ticket: int | None
    job: str
    leaf_hash: str
    signed_by_device: bool
    erased: bool
    payload: dict[str, Any]


class LogOut(Schema):
    client: Named
    entries: int
    checkpoint_size: int = Field(description="Entries under the newest signed checkpoint.")
    checkpoint_root: str
    checkpoint_at: datetime | None


@router.get("/evidence", allow=Permission.EVIDENCE_VIEW, response=Page[EntryOut], summary="List evidence, newest first")
def entry_list(
    request: ApiRequest,
    paging: PagingQuery,
    client: UUID | None = None,
    device: UUID | None = None,
    ticket: int | None = None,
    kind: EvidenceKind | None = None,
) -> dict[str, Any]:
    scope = request.scope
    found = queries.entries(scope=scope)
    wanted = {"client": client, "device_id": device, "ticket_id": ticket, "kind": kind}
    found = found.filter(**{name: value for name, value in wanted.items() if value is not None})
    return page(found, shape=_entry, cursor=paging.cursor, limit=paging.limit)


@router.get(
    "/evidence/logs",
    allow=Permission.EVIDENCE_VIEW,
    response=list[LogOut],
    summary="Each client's log and its newest checkpoint",
)
def log_list(request: ApiRequest) -> list[dict[str, Any]]:
    scope = request.scope
    return [
        {
            "client": log.client,
            "entries": log.entries,
            "checkpoint_size": log.checkpoint.size if log.checkpoint else 0,
            "checkpoint_root": bytes(log.checkpoint.root).hex() if log.checkpoint else "",
            "checkpoint_at": log.checkpoint.at if log.checkpoint else None,
        }
        for log in queries.logs(scope=scope)
    ]


@router.get(
    "/evidence/bundle",
    files="application/x-ndjson",
    allow=Permission.EVIDENCE_VIEW,
    summary="The evidence as a bundle: check it with `forestall verify`",
)
def bundle_download(request: ApiRequest, client: UUID | None = None) -> StreamingHttpResponse:
    scope = request.scope
    if client is not None:
        # A removed client's evidence stays, and can be had.
        Client.objects.visible_to(scope, by=Permission.EVIDENCE_VIEW).get(pk=client)
    lines = bundle_lines(
        scope=scope,
        client_id=client,
        now=current_time(),
        log_key=log_key_read(home=current_home()),
        root=root_envelope(),
    )
    answer = StreamingHttpResponse(lines, content_type="application/x-ndjson")
    answer["Content-Disposition"] = 'attachment; filename="evidence.bundle"'
    return answer


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "reference": entry.reference,
        "client": entry.client,
        "index": entry.index,
        "kind": entry.kind,
        "at": entry.at,
        "device": entry.device_id,
        "ticket": entry.ticket_id,
        "job": entry.job_id,
        "leaf_hash": bytes(entry.leaf_hash).hex(),
        "signed_by_device": entry.has_signature,
        "erased": entry.erased_by is not None,
        "payload": entry.payload,
    }
