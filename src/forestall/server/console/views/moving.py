"""Clients coming and going: lists imported with preview and undo; everything of a client exported; a client removed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import cast
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import FileResponse, Http404, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import slugify

from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.console.views.client_forms import PlainForm
from forestall.server.evidence.log_key import log_key_read
from forestall.server.home import current_home
from forestall.server.metrics.store import open_store
from forestall.server.people import queries as people
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission
from forestall.server.runbooks.queries import authority_is_installed, root_envelope
from forestall.server.transfer import leaving, queries, services
from forestall.server.transfer.leaving import LeavingError
from forestall.server.transfer.rules import KINDS, MOST_BYTES, MOST_LINES, Kind, TableError, decode, template

A_PAGE = 50
LINES_SHOWN = 200
ACTS = {"create": ("pass", "new"), "change": ("warn", "changed"), "error": ("fail", "cannot be taken")}
CLIENTS = SafeString('<a href="/clients/">Clients</a>')
HOME = SafeString('<a href="/clients/">Clients</a> › <a href="/import/">Import</a>')


@page(permission=Permission.CLIENT_VIEW)
def imports(request: PageRequest) -> HttpResponse:
    """What can be imported, and what was."""
    now = timezone.now()
    found = queries.imports(scope=request.scope)
    pages, stretch = parts.pages_of(request.GET, found.count(), A_PAGE)
    rows = [
        Row(
            key=f"import-{run.pk}",
            cells=[
                parts.text(KINDS[run.kind].title, run.filename),
                f"{run.created} new, {run.changed} changed, {run.same} as they were",
                parts.moment(run.at, now),
                run.by,
                format_html("undone by {}, {}", run.undone_by, parts.moment(run.undone_at, now))
                if run.undone_at
                else format_html('<a href="/import/{}/undo">Undo</a>', run.pk),
            ],
        )
        for run in found[stretch]
    ]
    context = {
        "crumbs": CLIENTS,
        "sentence": "Bring clients, sites, contacts, people and assets from a spreadsheet. You see what each line "
        "would do before anything happens, and can take it back.",
        "kinds": KINDS.values(),
        "table": Table(
            caption="Imports",
            columns=[
                Column("List", "lead"),
                Column("What it did", "second"),
                Column("When"),
                Column("By"),
                Column("Undo"),
            ],
            rows=rows,
            empty=Empty("Nothing was imported yet", "Choose a kind of list above; an example shows its columns."),
            query=request.GET,
            pages=pages,
        ),
    }
    return render_page(request, "imports", context, section="clients", title="Import", live=False)


@page(permission=Permission.CLIENT_VIEW)
def import_template(request: PageRequest, slug: str) -> HttpResponse:
    """An example of a list."""
    answer = HttpResponse(template(_kind(slug)), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{slug}.csv"'
    return answer


@page(permission=Permission.CLIENT_VIEW, methods=("GET", "HEAD", "POST"))
def import_try(request: PageRequest, slug: str) -> HttpResponse:
    """Upload a list, see what it would do, do it. The list travels in the page: nothing is kept of it before."""
    kind, now = _kind(slug), timezone.now()
    context: dict[str, object] = {
        "crumbs": HOME,
        "sentence": kind.words,
        "kind": kind,
        "most_lines": f"{MOST_LINES:,}",
    }
    if request.method == "POST":
        content, filename = _uploaded(request)
        try:
            if not content:
                raise TableError("Choose a file, or paste the lines.")
            preview = services.import_preview(kind=slug, content=content, scope=request.scope, now=now)
            context |= {
                "content": decode(content),
                "filename": filename,
                "preview": preview,
                "wrong": preview.count("error"),
                "does_something": preview.count("create") + preview.count("change"),
                "lines": _lines(preview),
            }
            if "apply" in request.POST and not preview.count("error"):
                run = services.import_apply(kind=slug, content=content, filename=filename, scope=request.scope, now=now)
                messages.success(request, f"Imported: {run.created} new, {run.changed} changed.")
                return HttpResponseRedirect("/import/")
        except TableError as refusal:
            context["refused"] = str(refusal)
    return render_page(
        request, "import_try", context, section="clients", title=f"Import {kind.title.lower()}", live=False
    )


@page(permission=Permission.CLIENT_VIEW, methods=("GET", "HEAD", "POST"))
def import_undo(request: PageRequest, import_id: int) -> HttpResponse:
    run = queries.imports(scope=request.scope).get(pk=import_id)
    refused = ""
    if request.method == "POST":
        try:
            services.import_undo(run=run, scope=request.scope, now=timezone.now())
        except ValueError as refusal:
            refused = f"{str(refusal)[:1].upper()}{str(refusal)[1:]}. Nothing was taken back."
        else:
            messages.success(request, f"{run} is undone.")
            return HttpResponseRedirect("/import/")
    names = [item["name"] for item in run.items if item["act"] == "create"]
    lines = [
        f"{words.plural(run.created, 'thing')} it made will be gone: {words.listing(names)}." if names else "",
        f"{words.plural(run.changed, 'thing')} it changed will be as before." if run.changed else "",
        "All of it or nothing: if something was changed since, or rests on it by now, you are told what.",
    ]
    context = {
        "crumbs": HOME,
        "sentence": f"{KINDS[run.kind].title} from {run.filename or 'a list'}, imported by {run.by}.",
        "lines": [line for line in lines if line],
        "button": "" if run.undone_at else "Undo this import",
        "refused": refused or (f"It was undone already, by {run.undone_by}." if run.undone_at else ""),
        "back": "/import/",
    }
    return render_page(request, "ask", context, section="clients", title="Undo an import", live=False)


@page(permission=Permission.CLIENT_EXPORT, methods=("GET", "HEAD", "POST"), fresh=True)
def client_export(request: PageRequest, client_id: UUID) -> HttpResponse:
    """Everything kept of a client, as a ZIP."""
    client = people.clients(scope=request.scope).get(pk=client_id)
    request.scope.require(Permission.CLIENT_EXPORT, on=client)
    if request.method == "POST":
        home = current_home()
        file = tempfile.NamedTemporaryFile(suffix=".zip")  # noqa: SIM115 - the answer closes it
        leaving.client_export(
            client=client,
            path=Path(file.name),
            scope=request.scope,
            now=timezone.now(),
            log_key=log_key_read(home=home),
            store=open_store(home),
            root=root_envelope() if authority_is_installed() else None,
        )
        return cast(
            HttpResponse, FileResponse(file, as_attachment=True, filename=f"{slugify(client.name) or client.pk}.zip")
        )
    context = {
        "crumbs": _crumbs(client),
        "sentence": "One ZIP with everything that is kept of this client.",
        "lines": [
            "Each kind of thing as lines of JSON; samples as CSV; service reports as PDF.",
            "The evidence log whole: anybody can check it offline with “forestall verify evidence.bundle”.",
            "It holds personal data. That it was exported, and by whom, goes on record.",
        ],
        "button": "Export everything",
        "back": f"/clients/{client.pk}/",
    }
    return render_page(request, "ask", context, section="clients", title=f"Export {client.name}", live=False)


class RemovalForm(PlainForm):
    reason = forms.CharField(label="Reason", max_length=500, help_text="Goes on record for good.")
    confirm = forms.CharField(label="The client's name, letter by letter", max_length=200)


@page(permission=Permission.CLIENT_REMOVE, methods=("GET", "HEAD", "POST"), fresh=True)
def client_remove(request: PageRequest, client_id: UUID) -> HttpResponse:
    """Remove a client for good."""
    client = people.clients(scope=request.scope).get(pk=client_id)
    counts = leaving.removal_counts(client=client, scope=request.scope)
    form = RemovalForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            removed = leaving.client_remove(
                client=client,
                confirm=form.cleaned_data["confirm"],
                reason=form.cleaned_data["reason"],
                scope=request.scope,
                now=timezone.now(),
            )
        except LeavingError as refusal:
            form.refuse(refusal)
        else:
            messages.success(request, f"{client.name} is removed. Evidence: {removed.reference}.")
            return HttpResponseRedirect("/clients/")
    listed = ", ".join(
        words.plural(number, _one_of(what), what) for what, number in sorted(counts.items(), key=lambda one: -one[1])
    )
    context = {
        "crumbs": _crumbs(client),
        "sentence": "This cannot be undone. Take its data along before.",
        "lines": [
            f"Deleted for good: {listed}." if listed else "It has no data to delete.",
            "Its devices can no longer check in. Its own people can no longer sign in.",
            "Its evidence stays with every proof, and so do its service reports.",
            format_html('Before: <a href="/clients/{}/export">export everything</a>.', client.pk),
        ],
        "form": form,
        "button": f"Remove {client.name} for good",
        "back": f"/clients/{client.pk}/",
    }
    return render_page(request, "ask", context, section="clients", title=f"Remove {client.name}", live=False)


def _one_of(many: str) -> str:
    """``routing rules``: ``routing rule``."""
    return f"{many.removesuffix('ies')}y" if many.endswith("ies") else many.removesuffix("s")


def _crumbs(client: Client) -> SafeString:
    return format_html('<a href="/clients/">Clients</a> › <a href="/clients/{}/">{}</a>', client.pk, client.name)


def _kind(slug: str) -> Kind:
    if slug not in KINDS:
        raise Http404
    return KINDS[slug]


def _uploaded(request: PageRequest) -> tuple[bytes, str]:
    file = request.FILES.get("file")
    if file is not None and not isinstance(file, list):
        if file.size is not None and file.size > MOST_BYTES:
            return b"x" * (MOST_BYTES + 1), ""  # refused by its size, with the limit
        return file.read(), str(file.name or "")
    return request.POST.get("content", "").encode(), request.POST.get("filename", "")[:200]


def _lines(preview: services.Preview) -> Table:
    notable = [one for one in preview.lines if one.act != "same"]
    shown = sorted(notable, key=lambda one: one.act != "error")[:LINES_SHOWN]
    rows = []
    for one in shown:
        shape, word = ACTS[one.act]
        changes = (
            parts.joined(
                format_html("{}: {} → <b>{}</b>", field, old or "nothing", new or "nothing")
                for field, (old, new) in one.changes.items()
            )
            if one.act == "change"
            else ""
        )
        rows.append(Row(cells=[str(one.line), parts.status(shape, word), one.name, one.error or changes]))
    left = len(notable) - len(shown)
    return Table(
        caption=f"What each line would do{f' (the first {LINES_SHOWN}; {left} more)' if left else ''}",
        columns=[Column("Line", "num"), Column("What", "second"), Column("Which", "lead"), Column("Why", "wide below")],
        rows=rows,
        empty=Empty("Nothing would change", "Every line is as it is already."),
    )
