"""``changes.undo``: put back what an earlier job changed, as the undo journal has it. Everything or nothing.

Before anything is put back, everything is looked at: what somebody changed since stays theirs, and then nothing at all
is put back, because half of a job undone is a state that nobody ever tested. Undoing is itself written into the
journal of the job that undoes, so it can be undone too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from forestall.agent.act.changes import FileChange, FileState, Journal, Noted, file_state
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.undo import UNDOERS
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "changes.undo"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"job": str}


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """``job``: the id of the job that is undone; with it the one it continued."""
    journal = ctx.changes.of(str(args["job"])).journal()
    if not journal.entries and not journal.continues:
        raise ActionFailed("nothing_to_undo", f"nothing is kept of what job {journal.job_id} changed, if it did")
    if journal.undone_by:
        raise ActionFailed("undone_already", f"job {journal.job_id} was undone already, by job {journal.undone_by}")
    return undo(journal.job_id, host, ctx)


def undo(job_id: str, host: Host, ctx: Context) -> StepResult:
    """Put back what a job changed, newest change first. ActionFailed ``changed_since`` names what stands in the way."""
    journals = _chain(ctx.changes.of(job_id).journal(), ctx)
    entries = [(journal, entry) for journal in journals for entry in reversed(journal.entries)]
    notes = [entry for _, entry in entries if isinstance(entry, Noted)]
    before, reasons = _files_before([(journal.job_id, one) for journal, one in entries if isinstance(one, FileChange)])
    reasons += [why for note in notes if (why := _note_in_the_way(note, host, ctx))]
    if reasons:
        more = f"; and {len(reasons) - 5} more" if len(reasons) > 5 else ""
        raise ActionFailed("changed_since", f"nothing was put back: {'; '.join(reasons[:5])}{more}")
    done = [_put_back(file, ctx) for file in before if file.now != file.wanted]
    files = len(done)
    last = {(note.kind, tuple(sorted(note.state.items()))): note for note in notes if UNDOERS[note.kind].LAST}
    for note in [*(note for note in notes if not UNDOERS[note.kind].LAST), *last.values()]:
        done.append(_undo_note(note, host, ctx))
    if not ctx.dry_run:
        for journal in journals:
            ctx.changes.of(journal.job_id).mark_undone(ctx.job_id)
    would = "would put back" if ctx.dry_run else "put back"
    return StepResult(
        action=NAME,
        ok=True,
        summary=f"{would} what job {job_id} changed: {'; '.join(done[:6])}{'; …' if len(done) > 6 else ''}",
        output="\n".join(done),
        changed={} if ctx.dry_run else {"files": files, "others": len(notes)},
    )


def _chain(journal: Journal, ctx: Context) -> list[Journal]:
    """The journal and those of the jobs it continued, newest first; those that were undone are left out."""
    found = [journal]
    while found[-1].continues and len(found) < 100:
        found.append(ctx.changes.of(found[-1].continues).journal())
    return [one for one in found if not one.undone_by]


@dataclass(slots=True)
class _File:
    """A file that the job changed."""

    path: str
    now: FileState | None
    wanted: FileState | None
    """As it was before the job."""
    content_of: str = ""
    """The job in whose journal its former content lies."""


def _files_before(changes: list[tuple[str, FileChange]]) -> tuple[list[_File], list[str]]:
    """Every changed file as it is to be, and what somebody changed since. ``changes``: newest first, with their job."""
    by_content = {change.path for _, change in changes if _has_content(change)}
    files: dict[str, _File] = {}
    reasons: list[str] = []
    for job_id, change in changes:
        if change.path not in files:
            now = _now(change.path, content=change.path in by_content)
            files[change.path] = _File(path=change.path, now=now, wanted=now)
        file = files[change.path]
        # A change of mode says nothing about the content; it stays what later changes make of it.
        before, after, found = change.before, change.after, file.wanted
        if not _has_content(change) and found is not None:
            before, after = _with_digest(before, found.digest), _with_digest(after, found.digest)
        if found not in (before, after):
            reasons.append(_difference(change.path, after, found))
        file.wanted = before
        if _has_content(change):
            file.content_of = job_id
    return list(files.values()), list(dict.fromkeys(reasons))


def _has_content(change: FileChange) -> bool:
    return any(state is not None and state.digest for state in (change.before, change.after))


def _with_digest(state: FileState | None, digest: str) -> FileState | None:
    return None if state is None else msgspec.structs.replace(state, digest=digest)


def _now(path: str, *, content: bool) -> FileState | None:
    try:
        return file_state(path, content=content)
    except ActionFailed:
        # No file any more (a folder, a link): neither as it was nor as the job left it.
        return FileState(mode=0, uid=-1, gid=-1, digest="unknown")


def _difference(path: str, left: FileState | None, now: FileState | None) -> str:
    if now is None:
        return f"{path} is gone since"
    if left is None:
        return f"{path} is there again since"
    return f"{path} was changed since" if now.digest != left.digest else f"{path} has another mode or owner since"


def _note_in_the_way(note: Noted, host: Host, ctx: Context) -> str:
    undoer = UNDOERS.get(note.kind)
    return f"this agent cannot undo {note.kind!r}" if undoer is None else undoer.refuses(note.state, host, ctx)


def _put_back(file: _File, ctx: Context) -> str:
    wanted = file.wanted
    if not ctx.dry_run:
        if wanted is None:
            ctx.changes.file_remove(file.path)
        elif file.content_of:
            data = ctx.changes.of(file.content_of).content(wanted)
            ctx.changes.file_replace(file.path, data, wanted.mode, uid=wanted.uid, gid=wanted.gid)
        else:
            ctx.changes.file_mode(file.path, wanted.mode, uid=wanted.uid, gid=wanted.gid)
    return f"{file.path} {'removed' if wanted is None else 'as before'}"


def _undo_note(note: Noted, host: Host, ctx: Context) -> str:
    words = " ".join(str(value) for value in note.state.values())
    if ctx.dry_run:
        return f"{note.kind} {words}".strip()
    return UNDOERS[note.kind].undo(note.state, host, ctx)
