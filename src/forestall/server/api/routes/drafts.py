"""Drafts of runbooks: written here, signed where the catalogue's key is."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ninja import Field

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, page
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.people.scope import Permission
from forestall.server.runbooks import draft_services as services
from forestall.server.runbooks import queries
from forestall.server.runbooks.models import RunbookDraft, RunbookDraftVersion

router = Routes(tags=["runbooks and jobs"])


class DraftProblemOut(Schema):
    path: str = Field(description="Where: `$.steps[0].action`.")
    what: str


class DraftVersionOut(Schema):
    number: int
    text: str = Field(description="JSON as it was written, sound or not.")
    problems: list[DraftProblemOut] = Field(description="Empty: it can be signed.")
    note: str
    at: datetime
    by: str


class DraftOut(Schema):
    slug: str
    state: str
    base_version: int | None = Field(description="The signed version it was begun from; null: a new runbook.")
    created_at: datetime
    created_by: str
    changed_at: datetime
    changed_by: str
    newest: DraftVersionOut


class DraftDifferenceOut(Schema):
    lines: list[str] = Field(description="Unified diff to the signed runbook; empty when nothing differs.")


class DraftNewIn(Schema):
    slug: str = Field(max_length=60)
    text: str | None = Field(
        default=None, max_length=262_144, description="JSON; null: of the signed runbook of that name, or an example."
    )
    note: str = Field(default="", max_length=300)


class DraftSaveIn(Schema):
    text: str = Field(max_length=262_144)
    note: str = Field(default="", max_length=300)
    expected: int | None = Field(default=None, description="The version that was read before; another is refused.")


class DraftUndoIn(Schema):
    to: int | None = Field(default=None, description="Go back to this version; null: to the one before the newest.")


@router.get(
    "/runbook-drafts", allow=Permission.RUNBOOK_CHANGE, response=Page[DraftOut], summary="List drafts of runbooks"
)
def runbook_draft_list(request: ApiRequest, paging: PagingQuery) -> dict[str, Any]:
    found = queries.drafts(scope=request.scope)
    return page(found, shape=_draft, cursor=paging.cursor, limit=paging.limit, order=("slug",))


@router.post(
    "/runbook-drafts", allow=Permission.RUNBOOK_CHANGE, response=DraftOut, summary="Begin a draft of a runbook"
)
def runbook_draft_create(request: ApiRequest, body: DraftNewIn) -> dict[str, Any]:
    scope = request.scope
    services.draft_create(scope=scope, slug=body.slug, text=body.text, note=body.note, now=current_time())
    return _draft(queries.draft(scope=scope, slug=body.slug))


@router.get("/runbook-drafts/{draft_slug}", allow=Permission.RUNBOOK_CHANGE, response=DraftOut, summary="Show a draft")
def runbook_draft_show(request: ApiRequest, draft_slug: str) -> dict[str, Any]:
    return _draft(queries.draft(scope=request.scope, slug=draft_slug))


@router.put(
    "/runbook-drafts/{draft_slug}",
    allow=Permission.RUNBOOK_CHANGE,
    response=DraftOut,
    summary="Save one more version of a draft; what is wrong with it is in the answer",
)
def runbook_draft_save(request: ApiRequest, draft_slug: str, body: DraftSaveIn) -> dict[str, Any]:
    scope = request.scope
    services.draft_save(
        scope=scope, slug=draft_slug, text=body.text, note=body.note, expected=body.expected, now=current_time()
    )
    return _draft(queries.draft(scope=scope, slug=draft_slug))


@router.get(
    "/runbook-drafts/{draft_slug}/versions",
    allow=Permission.RUNBOOK_CHANGE,
    response=list[DraftVersionOut],
    summary="Every version of a draft, newest first",
)
def runbook_draft_versions(request: ApiRequest, draft_slug: str) -> Any:
    return list(queries.draft(scope=request.scope, slug=draft_slug).versions.all())


@router.get(
    "/runbook-drafts/{draft_slug}/difference",
    allow=Permission.RUNBOOK_CHANGE,
    response=DraftDifferenceOut,
    summary="How a draft differs from the signed runbook",
)
def runbook_draft_difference(request: ApiRequest, draft_slug: str) -> Any:
    draft = queries.draft(scope=request.scope, slug=draft_slug)
    return {"lines": queries.draft_difference(draft=draft)}


@router.post(
    "/runbook-drafts/{draft_slug}/undo",
    allow=Permission.RUNBOOK_CHANGE,
    response=DraftOut,
    summary="Go back to an earlier version of a draft",
)
def runbook_draft_undo(request: ApiRequest, draft_slug: str, body: DraftUndoIn) -> dict[str, Any]:
    scope = request.scope
    services.draft_undo(scope=scope, slug=draft_slug, to=body.to, now=current_time())
    return _draft(queries.draft(scope=scope, slug=draft_slug))


@router.post(
    "/runbook-drafts/{draft_slug}/drop",
    allow=Permission.RUNBOOK_CHANGE,
    response=DraftOut,
    summary="Put a draft away; its versions stay",
)
def runbook_draft_drop(request: ApiRequest, draft_slug: str) -> dict[str, Any]:
    scope = request.scope
    services.draft_drop(scope=scope, slug=draft_slug, now=current_time())
    return _draft(queries.draft(scope=scope, slug=draft_slug))


def _draft(draft: RunbookDraft) -> dict[str, Any]:
    fields = ("slug", "state", "created_at", "created_by", "changed_at", "changed_by")
    return {
        **{name: getattr(draft, name) for name in fields},
        "base_version": None if draft.base is None else draft.base.version,
        "newest": _version(next(iter(draft.versions.all()))),
    }


def _version(version: RunbookDraftVersion) -> dict[str, Any]:
    return {name: getattr(version, name) for name in ("number", "text", "problems", "note", "at", "by")}
