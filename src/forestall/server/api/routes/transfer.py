"""Clients coming and going: lists imported with preview and undo, everything of one exported, one removed."""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from django.http import FileResponse
from django.utils.text import slugify
from ninja import Field

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, page
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.evidence.log_key import log_key_read
from forestall.server.home import current_home
from forestall.server.metrics.store import open_store
from forestall.server.people import queries as people
from forestall.server.people.scope import Permission
from forestall.server.runbooks.queries import authority_is_installed, root_envelope
from forestall.server.transfer import leaving, queries, services
from forestall.server.transfer.models import ImportRun
from forestall.server.transfer.rules import KINDS, MOST_BYTES, Kind, template

router = Routes(tags=["clients"])

ListKind = Literal["clients", "sites", "contacts", "people", "assets"]
BODY_BYTES = 4 * MOST_BYTES
"""A list as JSON text, where each byte may take several."""


class ColumnOut(Schema):
    name: str
    words: str
    required: bool
    also: list[str] = Field(description="Other headings it is known by.")


class ListKindOut(Schema):
    slug: str
    title: str
    words: str
    columns: list[ColumnOut]
    template: str = Field(description="An example as CSV.")


class ListIn(Schema):
    kind: ListKind
    content: str = Field(max_length=MOST_BYTES, description="CSV with a heading.")
    filename: str = Field("", max_length=200)


class ListLineOut(Schema):
    line: int
    act: Literal["create", "change", "same", "error"]
    name: str
    changes: dict[str, list[Any]] = Field(description="Field → what it was and what it becomes.")
    error: str


class PreviewOut(Schema):
    sentence: str
    created: int
    changed: int
    same: int
    errors: int
    lines: list[ListLineOut]


class ImportOut(Schema):
    id: int
    kind: str
    filename: str
    at: datetime
    by: str
    created: int
    changed: int
    same: int
    undone_at: datetime | None
    undone_by: str


class RemovalOut(Schema):
    """What a removal would delete. Evidence and service reports stay."""

    deleted: dict[str, int]


class RemovalIn(Schema):
    confirm: str = Field(max_length=200, description="The client's name, letter by letter.")
    reason: str = Field(min_length=1, max_length=500)


class RemovedOut(RemovalOut):
    reference: str = Field(description="The evidence record of it.")


@router.get(
    "/imports/kinds", allow=Permission.CLIENT_VIEW, response=list[ListKindOut], summary="What lists can be imported"
)
def import_kinds(request: ApiRequest) -> list[dict[str, Any]]:
    return [_kind(kind) for kind in KINDS.values()]


@router.post(
    "/imports/preview",
    allow=Permission.CLIENT_VIEW,
    response=PreviewOut,
    body_bytes=BODY_BYTES,
    repeatable=True,
    summary="What importing a list would do, line by line",
)
def import_preview(request: ApiRequest, body: ListIn) -> dict[str, Any]:
    found = services.import_preview(
        kind=body.kind, content=body.content.encode(), scope=request.scope, now=current_time()
    )
    return {
        "sentence": found.sentence,
        "created": found.count("create"),
        "changed": found.count("change"),
        "same": found.count("same"),
        "errors": found.count("error"),
        "lines": [
            {
                "line": one.line,
                "act": one.act,
                "name": one.name,
                "changes": {field: [_shown(value) for value in pair] for field, pair in one.changes.items()},
                "error": one.error,
            }
            for one in found.lines
        ],
    }


@router.post(
    "/imports",
    allow=Permission.CLIENT_VIEW,
    response={201: ImportOut},
    body_bytes=BODY_BYTES,
    summary="Import a list: all of it or nothing",
)
def import_create(request: ApiRequest, body: ListIn) -> tuple[int, ImportRun]:
    return 201, services.import_apply(
        kind=body.kind,
        content=body.content.encode(),
        filename=body.filename,
        scope=request.scope,
        now=current_time(),
    )


@router.get("/imports", allow=Permission.CLIENT_VIEW, response=Page[ImportOut], summary="List imports, newest first")
def import_list(request: ApiRequest, paging: PagingQuery) -> dict[str, Any]:
    return page(queries.imports(scope=request.scope), shape=lambda row: row, cursor=paging.cursor, limit=paging.limit)


@router.get("/imports/{import_id}", allow=Permission.CLIENT_VIEW, response=ImportOut, summary="Show an import")
def import_show(request: ApiRequest, import_id: int) -> ImportRun:
    return queries.imports(scope=request.scope).get(pk=import_id)


@router.post(
    "/imports/{import_id}/undo",
    allow=Permission.CLIENT_VIEW,
    response=ImportOut,
    summary="Take an import back: all of it or nothing",
)
def import_undo(request: ApiRequest, import_id: int) -> ImportRun:
    run = queries.imports(scope=request.scope).get(pk=import_id)
    return services.import_undo(run=run, scope=request.scope, now=current_time())


@router.post(
    "/clients/{client_id}/export",
    allow=Permission.CLIENT_EXPORT,
    files="application/zip",
    repeatable=True,
    summary="Everything kept of a client, as a ZIP",
)
def client_export(request: ApiRequest, client_id: UUID) -> FileResponse:
    client = people.clients(scope=request.scope).get(pk=client_id)
    file = tempfile.NamedTemporaryFile(suffix=".zip")  # noqa: SIM115 - the answer closes it
    home = current_home()
    leaving.client_export(
        client=client,
        path=Path(file.name),
        scope=request.scope,
        now=current_time(),
        log_key=log_key_read(home=home),
        store=open_store(home),
        root=root_envelope() if authority_is_installed() else None,
    )
    return FileResponse(file, as_attachment=True, filename=f"{slugify(client.name) or client.pk}.zip")


@router.get(
    "/clients/{client_id}/removal",
    allow=Permission.CLIENT_REMOVE,
    response=RemovalOut,
    summary="What removing a client would delete",
)
def client_removal(request: ApiRequest, client_id: UUID) -> dict[str, Any]:
    client = people.clients(scope=request.scope).get(pk=client_id)
    return {"deleted": leaving.removal_counts(client=client, scope=request.scope)}


@router.post(
    "/clients/{client_id}/remove",
    allow=Permission.CLIENT_REMOVE,
    response=RemovedOut,
    summary="Remove a client for good; its proofs stay",
)
def client_remove(request: ApiRequest, client_id: UUID, body: RemovalIn) -> dict[str, Any]:
    client = people.clients(scope=request.scope).get(pk=client_id)
    removed = leaving.client_remove(
        client=client, confirm=body.confirm, reason=body.reason, scope=request.scope, now=current_time()
    )
    return {"deleted": removed.rows, "reference": removed.reference}


def _shown(value: Any) -> Any:
    return value if value is None or isinstance(value, bool) else str(value)


def _kind(kind: Kind) -> dict[str, Any]:
    return {
        "slug": kind.slug,
        "title": kind.title,
        "words": kind.words,
        "columns": [
            {"name": one.name, "words": one.words, "required": one.required, "also": list(one.also)}
            for one in kind.columns
        ],
        "template": template(kind),
    }
