"""The editor of runbooks: drafts with their versions, what is wrong with them, and how they differ from what is
signed. Nothing here can run: the catalogue's key signs elsewhere."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Fact, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.people.scope import Permission
from forestall.server.runbooks import draft_services as services
from forestall.server.runbooks import drafting, queries
from forestall.server.runbooks.models import DraftState, RunbookDraft, RunbookDraftVersion
from forestall.server.runbooks.services import RunbooksError
from forestall.trust.words import ACTION_WORDS, step_words


@page(permission=Permission.RUNBOOK_CHANGE)
def drafts(request: PageRequest) -> HttpResponse:
    now = timezone.now()
    found = list(queries.drafts(scope=request.scope))
    being_written = [draft for draft in found if draft.state == DraftState.OPEN]
    ready = [draft for draft in being_written if not _newest(draft).problems]
    context = {
        "crumbs": SafeString('<a href="/runbooks/">Runbooks</a> › Drafts'),
        "sentence": format_html(
            "{} being written, {} of them ready to be signed.", words.plural(len(being_written), "draft"), len(ready)
        )
        if being_written
        else "Nobody is writing a runbook.",
        "table": Table(
            caption="Drafts",
            columns=[
                Column("Draft", "lead"),
                Column("State", "second"),
                Column("From"),
                Column("Versions", "num"),
                Column("Changed"),
            ],
            rows=[
                Row(
                    key=f"draft-{draft.slug}",
                    cells=[
                        parts.link(f"/runbooks/drafts/{draft.slug}/", draft.slug, _newest(draft).note),
                        _state(draft),
                        "new" if draft.base is None else f"version {draft.base.version}",
                        str(_newest(draft).number),
                        format_html("{} by {}", parts.moment(draft.changed_at, now), draft.changed_by),
                    ],
                )
                for draft in found
            ],
            empty=Empty(
                "No draft yet",
                "A draft is a runbook while it is written: checked at every save, every version kept. Begin one below, "
                "or with:",
                command="forestall runbook new my-runbook",
            ),
        ),
        "known": sorted(set(queries.runbooks(scope=request.scope).values_list("slug", flat=True))),
        "may_write": request.scope.everywhere(Permission.RUNBOOK_CHANGE),
    }
    return render_page(request, "drafts", context, section="runbooks", title="Drafts of runbooks", data_at=now)


@page(permission=Permission.RUNBOOK_CHANGE, methods=("POST",), change=Permission.RUNBOOK_CHANGE)
def draft_new(request: PageRequest) -> HttpResponse:
    slug = request.POST.get("name", "").strip()
    try:
        services.draft_create(scope=request.scope, slug=slug, now=timezone.now())
    except RunbooksError as refusal:
        messages.error(request, f"{refusal}.")
        return HttpResponseRedirect("/runbooks/drafts/")
    return HttpResponseRedirect(f"/runbooks/drafts/{slug}/")


@page(permission=Permission.RUNBOOK_CHANGE)
def draft(request: PageRequest, draft_slug: str) -> HttpResponse:
    found = queries.draft(scope=request.scope, slug=draft_slug)
    number = request.GET.get("version", "")
    versions = list(found.versions.all())
    shown = next((one for one in versions if number.isdecimal() and one.number == int(number)), versions[0])
    return _render(request, found, shown, shown.text)


@page(permission=Permission.RUNBOOK_CHANGE, methods=("POST",), change=Permission.RUNBOOK_CHANGE)
def draft_save(request: PageRequest, draft_slug: str) -> HttpResponse:
    # Browsers send line ends as CR LF; what is kept has LF alone.
    text = request.POST.get("text", "").replace("\r\n", "\n")
    expected = request.POST.get("expected", "")
    try:
        saved = services.draft_save(
            scope=request.scope,
            slug=draft_slug,
            text=text,
            note=request.POST.get("note", ""),
            expected=int(expected) if expected.isdecimal() else None,
            now=timezone.now(),
        )
    except RunbooksError as refusal:
        found = queries.draft(scope=request.scope, slug=draft_slug)
        return _render(request, found, _newest(found), text, refused=f"Not saved: {refusal}.")
    wrong = len(saved.problems)
    more = f"; {words.plural(wrong, 'thing')} to mend" if wrong else ""
    messages.success(request, f"Version {saved.number} is saved{more}.")
    return HttpResponseRedirect(f"/runbooks/drafts/{draft_slug}/")


@page(permission=Permission.RUNBOOK_CHANGE, methods=("POST",), change=Permission.RUNBOOK_CHANGE)
def draft_undo(request: PageRequest, draft_slug: str) -> HttpResponse:
    to = request.POST.get("to", "")
    try:
        services.draft_undo(
            scope=request.scope, slug=draft_slug, to=int(to) if to.isdecimal() else None, now=timezone.now()
        )
        messages.success(request, "The earlier version is the newest again; nothing is lost.")
    except RunbooksError as refusal:
        messages.error(request, f"{refusal}.")
    return HttpResponseRedirect(f"/runbooks/drafts/{draft_slug}/")


@page(permission=Permission.RUNBOOK_CHANGE, methods=("POST",), change=Permission.RUNBOOK_CHANGE)
def draft_drop(request: PageRequest, draft_slug: str) -> HttpResponse:
    try:
        services.draft_drop(scope=request.scope, slug=draft_slug, now=timezone.now())
        messages.success(request, "The draft is put away; its versions stay.")
    except RunbooksError as refusal:
        messages.error(request, f"{refusal}.")
    return HttpResponseRedirect("/runbooks/drafts/")


def _newest(draft: RunbookDraft) -> RunbookDraftVersion:
    newest: RunbookDraftVersion = next(iter(draft.versions.all()))
    return newest


def _state(draft: RunbookDraft) -> parts.Html:
    if draft.state != DraftState.OPEN:
        return parts.tag(str(DraftState(draft.state).label))
    wrong = len(_newest(draft).problems)
    if wrong:
        return parts.status("warn", f"{words.plural(wrong, 'thing')} to mend")
    return parts.status("pass", "ready to be signed")


def _render(
    request: PageRequest, found: RunbookDraft, shown: RunbookDraftVersion, text: str, refused: str = ""
) -> HttpResponse:
    now = timezone.now()
    versions = list(found.versions.all())
    newest = versions[0]
    problems = shown.problems
    try:
        content = drafting.read_draft(shown.text)
        said = step_words(
            content, {p.name: f"the {p.name} given" if p.default is None else p.default for p in content.parameters}
        )
    except ValueError:
        said = []
    is_open = found.state == DraftState.OPEN
    if not is_open:
        sentence = f"This draft is {DraftState(found.state).label}. Begin it anew to change it."
    elif problems:
        sentence = f"{words.plural(len(problems), 'thing')} to mend before it can be signed."
    else:
        sentence = "Nothing is wrong with it. It runs nowhere until the catalogue's key has signed it."
    context = {
        "draft": found,
        "crumbs": format_html(
            '<a href="/runbooks/">Runbooks</a> › <a href="/runbooks/drafts/">Drafts</a> › {}', found.slug
        ),
        "sentence": sentence,
        "refused": refused,
        "shown": shown,
        "newest": newest,
        "text": text,
        "problems": problems,
        "steps": said,
        "difference": [
            (_diff_shape(line), line) for line in queries.draft_difference(draft=found, number=shown.number)
        ],
        "versions": [(one, parts.moment(one.at, now)) for one in versions[:50]],
        "command": f"forestall runbook sign {found.slug}" if is_open and not newest.problems else "",
        "actions_known": sorted(ACTION_WORDS.items()),
        "facts": [
            Fact("State", _state(found)),
            Fact("From", "a new runbook" if found.base is None else f"signed version {found.base.version}"),
            Fact("Begun", format_html("{} by {}", parts.moment(found.created_at, now), found.created_by)),
            Fact("Changed", format_html("{} by {}", parts.moment(found.changed_at, now), found.changed_by)),
        ],
        "is_open": is_open,
        "may_write": is_open and request.scope.everywhere(Permission.RUNBOOK_CHANGE),
    }
    status = 409 if refused else 200
    return render_page(
        request,
        "draft",
        context,
        section="runbooks",
        title=f"Draft of {found.slug}",
        data_at=shown.at,
        live=False,
        status=status,
    )


def _diff_shape(line: str) -> str:
    if line.startswith(("+++", "---", "@@")):
        return "place"
    return {"+": "added", "-": "gone"}.get(line[:1], "same")
