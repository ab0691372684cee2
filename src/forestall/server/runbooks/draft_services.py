"""Changes of drafts of runbooks: written by people, run by nobody, signed elsewhere by the catalogue's key.

Every save is a version that stays; an undo is one more. Whoever signs reads the newest version again, where the key
is: what stands here is only an offer.
"""

from __future__ import annotations

import re
from datetime import datetime

import msgspec
from django.db import transaction

from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import evidence_append
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, Scope
from forestall.server.runbooks import drafting, queries
from forestall.server.runbooks.models import DraftState, RunbookDraft, RunbookDraftVersion, RunbookRecord
from forestall.server.runbooks.services import RunbooksError
from forestall.trust.statements import Runbook
from forestall.wire.facts import DOCUMENT_BY_NAME

_SLUG = re.compile(r"[a-z][a-z0-9-]{0,59}")
_EVERYWHERE = Scope.system("drafts")
MAX_VERSIONS = 500
"""Of one draft."""


@transaction.atomic
def draft_create(*, scope: Scope, slug: str, text: str | None = None, note: str = "", now: datetime) -> RunbookDraft:
    """Begin a draft: of ``text``, else of the signed runbook of that name, else of an example.

    RunbooksError when the name is none, or a draft of it is open. One that was signed or dropped is opened anew, its
    versions stay.
    """
    scope.require_everywhere(Permission.RUNBOOK_CHANGE)
    if _SLUG.fullmatch(slug) is None:
        raise RunbooksError(f"slug: {slug!r} is not lower-case words with hyphens, such as 'restart-print-server'")
    signed = RunbookRecord.objects.filter(slug=slug).order_by("-version").first()
    draft = RunbookDraft.objects.select_for_update(of=("self",)).filter(slug=slug).first()
    if draft is not None and draft.state == DraftState.OPEN:
        raise RunbooksError(f"a draft of {slug} is open already, by {draft.created_by}: change that one")
    if draft is None:
        draft = RunbookDraft(slug=slug, created_at=now, created_by=scope.who)
    draft.state, draft.base, draft.changed_at, draft.changed_by = DraftState.OPEN, signed, now, scope.who
    draft.save()
    if text is None:
        content = drafting.EXAMPLE if signed is None else queries.runbook_content(signed)
        version = 1 if signed is None else signed.version + 1
        text = drafting.pretty(msgspec.structs.replace(content, slug=slug, version=version))
    _add(
        draft,
        text=text,
        note=note or ("begun" if signed is None else f"from version {signed.version}"),
        by=scope,
        now=now,
    )
    return draft


@transaction.atomic
def draft_save(
    *, scope: Scope, slug: str, text: str, note: str = "", expected: int | None = None, now: datetime
) -> RunbookDraftVersion:
    """Keep one more version, sound or not; what is wrong with it stands beside it.

    ``expected``: the version that was read before. RunbooksError when somebody saved another meanwhile, or the draft
    is not open; RunbookDraft.DoesNotExist.
    """
    draft = _open(slug, scope)
    newest = draft.versions.first()
    if expected is not None and newest is not None and newest.number != expected:
        raise RunbooksError(
            f"version {newest.number} was saved by {newest.by} since you read version {expected}: read that first"
        )
    if len(text) > drafting.MAX_TEXT:
        raise RunbooksError(f"text: {len(text)} characters, at most {drafting.MAX_TEXT}")
    if newest is not None and newest.text == text:
        return newest
    return _add(draft, text=text, note=note, by=scope, now=now)


@transaction.atomic
def draft_undo(*, scope: Scope, slug: str, to: int | None = None, now: datetime) -> RunbookDraftVersion:
    """Go back to an earlier version (the one before, unless ``to`` names it) by saving it again as the newest."""
    draft = _open(slug, scope)
    newest = draft.versions.first()
    earlier = draft.versions.filter(number=to) if to is not None else draft.versions.all()[1:2]
    found = earlier.first() if to is not None else next(iter(earlier), None)
    if newest is None or found is None or found.number == newest.number:
        raise RunbooksError(
            f"the draft of {slug} has no {'version ' + str(to) if to else 'earlier version'} to go back to"
        )
    return _add(draft, text=found.text, note=f"back to version {found.number}", by=scope, now=now)


@transaction.atomic
def draft_drop(*, scope: Scope, slug: str, now: datetime) -> RunbookDraft:
    """Put a draft away; its versions stay, and it can be begun anew."""
    draft = _open(slug, scope)
    draft.state, draft.changed_at, draft.changed_by = DraftState.DROPPED, now, scope.who
    draft.save()
    return draft


def drafts_signed(*, runbook: Runbook, now: datetime) -> None:
    """Close the draft of a runbook that was just published, when that is what it says; note the draft on record."""
    draft = RunbookDraft.objects.filter(slug=runbook.slug, state=DraftState.OPEN).first()
    newest = None if draft is None else draft.versions.first()
    if draft is None or newest is None or newest.problems:
        return
    if drafting.read_draft(newest.text) != runbook:
        return
    draft.state, draft.changed_at = DraftState.SIGNED, now
    draft.save()
    writers = sorted(set(draft.versions.values_list("by", flat=True)))
    payload = {"slug": runbook.slug, "version": runbook.version, "written_by": writers, "draft": newest.number}
    for client in Client.objects.visible_to(_EVERYWHERE).order_by("pk"):
        evidence_append(client=client, kind=EvidenceKind.RUNBOOK_DRAFTED, payload=payload, now=now)


def _open(slug: str, scope: Scope) -> RunbookDraft:
    scope.require_everywhere(Permission.RUNBOOK_CHANGE)
    draft = RunbookDraft.objects.select_for_update(of=("self",)).get(slug=slug)
    if draft.state != DraftState.OPEN:
        raise RunbooksError(f"the draft of {slug} is {draft.get_state_display()}: begin it anew")
    return draft


def _add(draft: RunbookDraft, *, text: str, note: str, by: Scope, now: datetime) -> RunbookDraftVersion:
    newest = draft.versions.first()
    number = 1 if newest is None else newest.number + 1
    if number > MAX_VERSIONS:
        raise RunbooksError(f"the draft of {draft.slug} has {MAX_VERSIONS} versions: sign it, or drop it")
    problems = drafting.draft_problems(
        text, slug=draft.slug, newest=queries.version_newest(draft.slug), documents=frozenset(DOCUMENT_BY_NAME)
    )
    draft.changed_at, draft.changed_by = now, by.who
    draft.save(update_fields=["changed_at", "changed_by"])
    version: RunbookDraftVersion = draft.versions.create(
        number=number,
        text=text,
        problems=[{"path": problem.path, "what": problem.what} for problem in problems],
        note=note[:300],
        at=now,
        by=by.who,
    )
    return version
