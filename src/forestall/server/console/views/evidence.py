"""The evidence log as a list one can read: what is in it, how far it is signed, how to take it away and verify it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import slugify

from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.evidence import queries
from forestall.server.evidence.bundle import bundle_lines
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.models import Entry
from forestall.server.home import current_home
from forestall.server.inventory import queries as inventory
from forestall.server.people import queries as people
from forestall.server.people.scope import Permission
from forestall.server.runbooks.queries import authority_is_installed, root_envelope
from forestall.trust.keys import key_id, private_key, public_bytes

A_PAGE = 100


@page(permission=Permission.EVIDENCE_VIEW)
def evidence(request: PageRequest) -> HttpResponse:
    scope, now = request.scope, timezone.now()
    logs = queries.logs(scope=scope)
    get = request.GET.get
    found = queries.entries(scope=scope).order_by("-at", "-index")
    kind, client, ref = get("kind", ""), get("client", ""), get("ref", "").strip()
    if kind in set(EvidenceKind):
        found = found.filter(kind=kind)
    if client:
        found = found.filter(client_id=_uuid(client))
    if ref:
        found = _by_reference(found, ref, logs)
    total = found.count()
    pages, stretch = parts.pages_of(request.GET, total, A_PAGE)
    rows = list(found[stretch])
    names = dict(
        inventory.devices(scope=scope)
        .filter(pk__in={r.device_id for r in rows if r.device_id})
        .values_list("pk", "name")
    )
    choices = [
        parts.choice("kind", "Kind", [("", "Every kind"), *((k.value, _words(k.value)) for k in EvidenceKind)], kind)
    ]
    clients = list(people.clients(scope=scope).values_list("pk", "name"))
    if len(clients) > 1:
        choices.insert(
            0,
            parts.choice("client", "Client", [("", "All clients"), *((str(pk), name) for pk, name in clients)], client),
        )
    context = {
        "sentence": _sentence(logs),
        "logs": _logs_table(logs, now, request),
        "table": entries_table(rows, now, names=names, pages=pages),
        "filters": parts.Filters(choices, search=ref, placeholder="Reference: client/#17"),
        "verify": f"forestall verify --log-key {key_id(public_bytes(_log_key()))} evidence.jsonl",
    }
    newest = max((log.checkpoint.at for log in logs if log.checkpoint), default=None)
    return render_page(request, "evidence", context, section="evidence", title="Evidence", data_at=newest)


def _sentence(logs: Sequence[queries.LogState]) -> parts.Html:
    if not logs:
        return "Nothing is on record yet."
    total = sum(log.entries for log in logs)
    open_ = sum(log.uncovered for log in logs)
    covered = (
        "all of them under a signed checkpoint" if not open_ else f"{open_} of them waiting for the next checkpoint"
    )
    return format_html(
        "<b>{}</b> on record, {}. Nobody can change one without it being found.", words.plural(total, "act"), covered
    )


def _logs_table(logs: Sequence[queries.LogState], now: datetime, request: PageRequest) -> Table:
    return Table(
        caption="Logs",
        columns=[
            Column("Log", "lead"),
            Column("Records", "second num"),
            Column("Signed up to", "num"),
            Column("Checkpoint"),
            Column("Root"),
            Column("Take away"),
        ],
        rows=[
            Row(
                [
                    log.client.name,
                    f"{log.entries:,}",
                    f"{log.checkpoint.size:,}"
                    if log.checkpoint
                    else parts.none("signed within 60 s of the first record", "none yet"),
                    parts.moment(log.checkpoint.at if log.checkpoint else None, now, "none yet"),
                    format_html(
                        '<code title="{}">{}…</code>',
                        bytes(log.checkpoint.root).hex(),
                        bytes(log.checkpoint.root).hex()[:16],
                    )
                    if log.checkpoint
                    else "",
                    format_html('<a href="/evidence/bundle/{}" download>Export bundle</a>', log.client.pk)
                    if queries.sees_whole_client(scope=request.scope, client_id=log.client.pk)
                    else parts.none(
                        "a log can only be had whole, and you see a part of this client", "not yours alone"
                    ),
                ]
            )
            for log in logs
        ],
        empty=Empty("No record yet", "The first is written when a device enrols, in the same transaction as the act."),
    )


def entries_table(
    rows: Sequence[Entry], now: datetime, *, names: dict[UUID, str] | None = None, pages: parts.Pages | None = None
) -> Table:
    """Records, newest first, each with what it says."""

    def about(entry: Entry) -> parts.Html:
        links: list[parts.Html] = []
        if entry.device_id and names is not None:
            name = names.get(entry.device_id)
            links.append(parts.link(f"/devices/{entry.device_id}/", name) if name else "a device that is gone")
        if entry.ticket_id:
            links.append(parts.link(f"/tickets/{entry.ticket_id}/", f"#{entry.ticket_id}"))
        if entry.job_id:
            links.append(parts.link(f"/jobs/{entry.job_id}/", "job"))
        return parts.joined(links)

    return Table(
        caption="Records",
        columns=[
            Column("Record", "lead"),
            Column("Reference", "quiet nowrap"),
            Column("When", "second"),
            Column("What it says", "wide"),
            Column("About"),
            Column("Signed"),
        ],
        rows=[
            Row(
                key=f"entry-{entry.pk}",
                cells=[
                    _words(entry.kind),
                    entry.reference,
                    parts.moment(entry.at, now),
                    _says(entry),
                    about(entry),
                    parts.tag("by the device", "accent")
                    if entry.has_signature
                    else parts.none("the server's word; held by the log", "by the log"),
                ],
            )
            for entry in rows
        ],
        empty=Empty(
            "No record fits", "Records are written as things happen: enrolments, changes of checks, tickets, jobs."
        ),
        pages=pages,
    )


def _log_key() -> Ed25519PrivateKey:
    return private_key(current_home().log_key.read_bytes())


def _words(kind: str) -> str:
    """``job:result`` → ``Job result``."""
    return kind.replace(":", " ").replace("_", " ").capitalize()


def _says(entry: Entry) -> parts.Html:
    if entry.erased_by is not None:
        return parts.none(f"erased by record {entry.erased_by}; the proof holds without it", "erased")
    payload = entry.payload
    for key in ("reason", "text", "detail", "summary", "title"):
        if payload.get(key):
            by = f" ({payload['by']})" if payload.get("by") else ""
            return f"{str(payload[key])[:240]}{by}"
    if payload.get("first_judged"):
        return f"{words.plural(len(payload['first_judged']), 'check')} judged for the first time"
    if {"what", "name", "act", "before", "after"} <= payload.keys():
        return _change_says(payload)
    told = [f"{key.replace('_', ' ')} {_short(value)}" for key, value in payload.items() if _is_readable(value)]
    return ", ".join(told[:4])


def _change_says(payload: Mapping[str, Any]) -> str:
    """``role (bob) removed by ada: place Acme, role technician``: what was made or is now, or what is gone."""
    values = payload["before"] if payload["act"] == "removed" else payload["after"]
    shown = [f"{key.replace('_', ' ')} {_short(value)}" for key, value in (values or {}).items() if _is_readable(value)]
    by = f" by {payload['by']}" if payload.get("by") else ""
    said = f"{payload['what']} ({payload['name']}) {payload['act']}{by}"
    return f"{said}: {', '.join(shown[:4])}" if shown else said


def _is_readable(value: Any) -> bool:
    """Whether a value says something to a person: no digests, no keys, no lists of them."""
    return isinstance(value, bool | int) or (isinstance(value, str) and 0 < len(value) < 64)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _by_reference(found: Any, ref: str, logs: Sequence[queries.LogState]) -> Any:
    slug, _, number = ref.partition("/#")
    number = number or slug.lstrip("#")
    index = parts.number_typed(number)
    if index is None:
        return found.none()
    found = found.filter(index=index)
    named = [log.client.pk for log in logs if (slugify(log.client.name) or str(log.client.pk)) == slug]
    return found.filter(client__in=named) if named else found if slug.lstrip("#") == number else found.none()


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Http404 from None


@page(permission=Permission.EVIDENCE_VIEW)
def bundle(request: PageRequest, client_id: UUID) -> Any:
    """A client's log as a file that can be verified without this server. Written as it is read: it may be large."""
    client = people.clients(scope=request.scope).get(pk=client_id)
    if not queries.sees_whole_client(scope=request.scope, client_id=client.pk):
        raise Http404
    now = timezone.now()
    lines = bundle_lines(
        scope=request.scope,
        client_id=client.pk,
        now=now,
        log_key=_log_key(),
        root=root_envelope() if authority_is_installed() else None,
    )
    name = f"evidence-{slugify(client.name) or client.pk}-{now:%Y%m%d}.jsonl"
    return StreamingHttpResponse(
        lines,
        content_type="application/x-ndjson",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )
