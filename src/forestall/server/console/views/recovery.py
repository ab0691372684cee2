"""What could not be brought back today: protected systems, what covers them, their proofs and restore tests."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpResponse, HttpResponseRedirect, QueryDict
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.checks.result import Risk, Status
from forestall.server.checks.words import size, span
from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Fact, Row, Table
from forestall.server.console.proposals import sign_command
from forestall.server.console.shell import render_page
from forestall.server.console.views.client_forms import PlainForm
from forestall.server.inventory import queries as inventory
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.people import queries as people
from forestall.server.people.scope import Permission, Scope
from forestall.server.plaintext import cell_inert
from forestall.server.recovery import queries, services
from forestall.server.recovery.models import Proof, ProtectedSystem
from forestall.server.recovery.queries import Standing, Suggestion
from forestall.server.recovery.rules import LEVEL_WORDS, LEVELS_OF, Covering, Rung, rank
from forestall.server.recovery.services import BOUNDS, MOST_ATTACHED, RecoveryError
from forestall.server.runbooks.models import Job, JobState, RunbookRecord
from forestall.server.runbooks.services import RunbooksError

A_PAGE = 100
PROOFS_SHOWN = 50
CRUMBS = SafeString('<a href="/recovery/">Recovery</a>')
BACK = {"no": ("fail", "no"), "perhaps": ("unknown", "perhaps"), "yes": ("pass", "yes")}
"""Whether it could be brought back → shape and word."""
_ORDER = ("no", "perhaps", "yes")
RUNGS = {"proved": "pass", "lapsed": "stale", "failed": "fail"}
SOURCES = {"signed": "signed by the device", "reported": "reported by the device", "attested": "attested"}


# --- the list ---------------------------------------------------------------------------------------------------


@page(permission=Permission.DEVICE_VIEW)
def recovery(request: PageRequest) -> HttpResponse:
    """What could we not bring back today?"""
    scope, now, get = request.scope, timezone.now(), request.GET
    archived = get.get("show") == "archived"
    every = queries.standings(scope=scope, now=now)
    shown = _asked(_archived(scope, now) if archived else every, get)
    pages, stretch = parts.pages_of(get, len(shown), A_PAGE)
    clients = list(people.clients(scope=scope).order_by("name").values_list("pk", "name"))
    may = scope.may(Permission.RECOVERY_CHANGE)
    context = {
        "sentence": recovery_sentence(every),
        "actions": SafeString('<a class="button primary" href="/recovery/new">Name what must come back</a>')
        if may
        else "",
        "filters": parts.Filters(
            [
                parts.choice(
                    "client",
                    "Client",
                    [("", "All clients"), *((str(pk), name) for pk, name in clients)],
                    get.get("client", ""),
                ),
                parts.choice(
                    "show",
                    "Show",
                    [
                        ("", "All"),
                        ("no", "Could not be brought back"),
                        ("perhaps", "Never proved, or no longer"),
                        ("fail", "Something fails"),
                        ("archived", "Archived"),
                    ],
                    get.get("show", ""),
                ),
            ],
            search=get.get("q", ""),
            placeholder="Name, device, folder, database",
        ),
        "table": _systems_table(shown[stretch], now, pages, get, any_at_all=bool(every), may=may),
        "csv": f"/recovery/systems.csv{parts.address(get, page=None)}",
    }
    return render_page(
        request,
        "recovery",
        context,
        section="recovery",
        title="Recovery",
        data_at=_told_at(every),
        live=bool(every),  # of nothing there is no age
    )


@page(permission=Permission.DEVICE_VIEW)
def recovery_csv(request: PageRequest) -> HttpResponse:
    """The list as CSV."""
    scope, now, get = request.scope, timezone.now(), request.GET
    found = _archived(scope, now) if get.get("show") == "archived" else queries.standings(scope=scope, now=now)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        ["id", "client", "site", "device", "kind", "what", "name", "importance", "back_today", "status", "why",
         "backup_at", "point_objective_minutes", "level", "wanted_level", "proved_at", "proved_by", "lapses_at",
         "last_restored_at", "last_restored_level", "recovery_seconds", "time_objective_minutes", "copies", "off_site",
         "offline"]
    )  # fmt: skip
    for one in _asked(found, get):
        row, judged = one.system, one.judged
        cells: list[object] = [
            row.pk, row.client.name, row.site.name, row.device.name, row.kind, row.what, row.name, row.importance,
            judged.bring_back, judged.status, judged.why, _iso(judged.backup_at), row.rpo_minutes, judged.level or "",
            row.wanted_level, _iso(judged.proved_at), judged.proved_by, _iso(judged.lapses_at),
            _iso(judged.verified.at if judged.verified else None), judged.verified.level if judged.verified else "",
            round(judged.recovery.seconds) if judged.recovery else "",
            "" if row.rto_minutes is None else row.rto_minutes, judged.copies, _word(judged.off_site),
            _word(judged.offline),
        ]  # fmt: skip
        writer.writerow([cell_inert(str(cell)) for cell in cells])
    answer = HttpResponse(out.getvalue(), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="recovery-{now:%Y-%m-%d}.csv"'
    return answer


def _newest_restore(found: Sequence[Standing]) -> datetime | None:
    """When any of those that can be brought back last was."""
    verified = [one.judged.verified for one in found if one.judged.bring_back == "yes"]
    return max((one.at for one in verified if one is not None), default=None)


def _iso(at: datetime | None) -> str:
    return "" if at is None else at.astimezone(UTC).isoformat(timespec="seconds")


def _word(value: bool | None) -> str:  # noqa: FBT001 - one of three words
    return "not known" if value is None else "yes" if value else "no"


def recovery_sentence(every: Sequence[Standing]) -> parts.Html:
    """The answer to the page's one question."""
    if not every:
        return "Nothing is named yet that must be recoverable, so nobody knows what could be brought back."
    counts = Counter(one.judged.bring_back for one in every)
    total = words.plural(len(every), "protected system")
    if counts["no"]:
        lost = sorted((one for one in every if one.judged.bring_back == "no"), key=_worst_first)
        names = words.listing([one.system.name for one in lost[:3]])
        more = f" and {counts['no'] - 3} more" if counts["no"] > 3 else ""
        first = format_html(
            '<b>Today we could not bring back <a href="?show=no">{} of {}</a></b>: {}{}', counts["no"], total, names,
            more,
        )  # fmt: skip
    else:
        first = format_html("<b>Nothing of {} is without a backup</b>", total)
    said = [first]
    if counts["perhaps"]:
        said.append(
            format_html(
                '<a href="?show=perhaps">{} perhaps</a>: no restore that counts shows it', f"{counts['perhaps']:,}"
            )
        )
    if counts["yes"]:
        newest = _newest_restore(every)
        when = f", the last on {newest.astimezone(UTC):%-d %b %Y}" if newest else ""
        said.append(
            format_html("{} {} shown to come back{}", f"{counts['yes']:,}", words.does(counts["yes"], "are"), when)
        )
    return format_html("{}.", parts.joined(said, separator="; "))


def _archived(scope: Scope, now: datetime) -> list[Standing]:
    rows = queries.systems(scope=scope, archived=True).exclude(archived_at=None)
    return queries.standings(scope=scope, now=now, systems_of=rows)


def _asked(found: Sequence[Standing], get: QueryDict) -> list[Standing]:
    show, client = get.get("show", ""), get.get("client", "")
    if show in BACK:
        found = [one for one in found if one.judged.bring_back == show]
    if show == "fail":
        found = [one for one in found if one.status is Status.FAIL]
    if client:
        found = [one for one in found if str(one.client_id) == client]
    for word in get.get("q", "").lower().split()[:6]:
        found = [
            one
            for one in found
            if word in f"{one.system.name} {one.system.what} {one.system.device.name} {one.system.client.name}".lower()
        ]
    return sorted(found, key=_worst_first)


def _worst_first(one: Standing) -> tuple[int, int, int, str, int]:
    importance = Risk(one.system.importance).rank
    return _ORDER.index(one.judged.bring_back), rank(one.status), importance, one.system.name, one.system.pk


def _told_at(found: Sequence[Standing]) -> datetime | None:
    """When the newest of what is shown was told."""
    times = [one.holding.collected_at for standing in found for one in standing.judged.covering]
    return max((at for at in times if at is not None), default=None)


def _systems_table(
    shown: Sequence[Standing], now: datetime, pages: parts.Pages | None, get: QueryDict, *, any_at_all: bool, may: bool
) -> Table:
    if any_at_all or get.get("show") == "archived":
        empty = Empty("Nothing of that kind", "No protected system fits this filter.", href="?", action="All of them")
    else:
        empty = Empty(
            "Nothing is named yet",
            "Name each machine, folder and database whose loss would hurt, with how old its backup may be and how soon "
            "it must be back. Forestall then shows which backups hold it, tests restores, and says what is missing.",
            command="forestall recovery suggest",
            href="/recovery/suggestions/" if may else "",
            action="See what looks as if it had to be" if may else "",
        )
    return Table(
        caption="Protected systems",
        columns=[
            Column("System", "lead"),
            Column("Back today?", "second"),
            Column("Proved"),
            Column("Last restored"),
            Column("Newest backup"),
            Column("Stands", "wide"),
        ],
        rows=[_system_row(one, now) for one in shown],
        empty=empty,
        query=get,
        pages=pages,
    )


def _system_row(one: Standing, now: datetime) -> Row:
    judged, row = one.judged, one.system
    what = f"{row.what} on {row.device.name}" if row.what else f"{row.kind}"
    shape, word = BACK[judged.bring_back]
    return Row(
        key=f"system-{row.pk}",
        cells=[
            parts.link(f"/recovery/{row.pk}/", row.name, f"{what} · {row.client.name}"),
            parts.status(shape, word),
            _proved(one, now),
            parts.text(parts.moment(judged.verified.at, now), judged.verified.level)
            if judged.verified
            else parts.none("nothing of it was ever brought back", "never"),
            parts.moment(judged.backup_at, now, "none"),
            parts.text(parts.status(judged.status), judged.why),
        ],
    )


def _proved(one: Standing, now: datetime) -> parts.Html:
    judged = one.judged
    if judged.level is None:
        return parts.none("nothing is shown", "nothing")
    return parts.text(
        judged.level, format_html("{}, {}", SOURCES[judged.proved_by], parts.moment(judged.proved_at, now))
    )


# --- one system -------------------------------------------------------------------------------------------------


@page(permission=Permission.DEVICE_VIEW)
def system(request: PageRequest, protected_system_id: int) -> HttpResponse:
    """One protected system: what is missing, its ladder of proofs, what covers it."""
    return _system_page(request, _standing(request, protected_system_id))


def _standing(request: PageRequest, pk: int) -> Standing:
    row = queries.systems(scope=request.scope, archived=True).get(pk=pk)
    return queries.standing_of(scope=request.scope, system=row, now=timezone.now())


def _system_page(
    request: PageRequest, one: Standing, *, attest: AttestForm | None = None, archive: EndForm | None = None
) -> HttpResponse:
    scope, now, row = request.scope, timezone.now(), one.system
    may = scope.may(Permission.RECOVERY_CHANGE, on=row)
    history = queries.proofs_of(scope=scope, standing=one, most=PROOFS_SHOWN)
    open_test = queries.restore_test_open(scope=scope, standing=one) if scope.may(Permission.RUNBOOK_VIEW) else None
    why_not = services.why_untestable(one)
    can_test = may and row.archived_at is None and not why_not and open_test is None
    context = {
        "crumbs": format_html(
            '{} › <a href="/recovery/?client={}">{}</a> › <a href="/devices/{}/backups/">{}</a>',
            CRUMBS,
            row.client_id,
            row.client.name,
            row.device_id,
            row.device.name,
        ),
        "sentence": system_sentence(one),
        "system": row,
        "may": may,
        "can_test": can_test,
        "test_words": _test_words(one) if can_test else "",
        "why_not": "" if can_test or row.archived_at else _why_no_test(one, open_test, why_not, now),
        "sign": sign_command(open_test)
        if open_test is not None and open_test.state == JobState.AWAITING_SIGNATURE
        else "",
        "open_test": open_test,
        "gaps": _gaps_table(one) if one.judged.gaps else None,
        "ladder": _ladder(one, now),
        "covering": _covering_table(one, now),
        "history": _history(history, now, scope),
        "facts": _facts(one, now),
        "attest": attest or AttestForm(kind=row.kind, name="attest"),
        "archive": archive or EndForm(name="archive"),
        "levels": LEVELS_OF[row.kind][1:],
        "withdrawable": [
            proof for proof in history if may and proof.source == "attested" and proof.withdrawn_at is None
        ],
    }
    return render_page(
        request,
        "recovery_system",
        context,
        section="recovery",
        title=row.name,
        data_at=_told_at([one]),
        live=attest is None and archive is None and not may,
    )


def system_sentence(one: Standing) -> parts.Html:
    """Whether it could be brought back, and why or why not."""
    row, judged = one.system, one.judged
    if row.archived_at is not None:
        return f"It need not be recoverable any more, says {row.archived_by}: {row.archived_why}"
    answer = {
        "yes": "It can be brought back",
        "perhaps": "Perhaps it can be brought back: no restore that counts shows it",
        "no": "Today it could not be brought back",
    }[judged.bring_back]
    more = len(judged.gaps) - 1
    tail = f" And {words.plural(more, 'other thing')} {words.does(more, 'are')} missing." if more > 0 else ""
    return format_html("<b>{}.</b> {}{}", answer, judged.why, tail)


def _test_words(one: Standing) -> str:
    chosen = services.backup_to_test(one)
    if chosen is None:
        return ""
    row = one.system
    rate = f", reading at most {row.test_rate_kb:,} kB/s" if row.test_rate_kb else ""
    return (
        f"Restores {chosen.holding.backup.name} on {chosen.holding.device_name} at level {row.wanted_level} into a "
        f"scratch folder, at most {row.test_most_mb:,} MB{rate}; compares it with what was backed up, and removes it. "
        "The live data is not touched."
    )


def _why_no_test(one: Standing, job: Job | None, why_not: str, now: datetime) -> parts.Html:
    if job is not None:
        return format_html(
            'A restore test is <a href="/jobs/{}/">{}</a> since {}.', job.pk, job.get_state_display(),
            parts.moment(job.created_at, now),
        )  # fmt: skip
    return f"No restore test can run: {why_not}." if why_not else ""


def _gaps_table(one: Standing) -> Table:
    return Table(
        caption="What is missing",
        columns=[Column("Status", "second"), Column("What", "lead wide"), Column("What to do", "wide")],
        rows=[Row(cells=[parts.status(gap.status), gap.sentence, gap.fix]) for gap in one.judged.gaps],
        empty=Empty("Nothing is missing", one.judged.why),
    )


def _ladder(one: Standing, now: datetime) -> Table:
    return Table(
        caption="Ladder of proofs, the strongest first",
        columns=[Column("Level", "lead"), Column("State", "second"), Column("Shown"), Column("Counts until")],
        rows=[_rung(rung, now) for rung in reversed(one.judged.rungs)],
        empty=Empty("", ""),
    )


def _rung(rung: Rung, now: datetime) -> Row:
    wanted = format_html(" {}", parts.tag("wanted")) if rung.wanted else ""
    shown: parts.Html = parts.none("nobody has shown it", "never")
    if rung.proof is not None:
        by = SOURCES[rung.proof.source]
        higher = f", by level {rung.proof.level}" if rung.proof.level != rung.level else ""
        shown = parts.text(parts.moment(rung.proof.at, now), f"{by}{higher}")
    until: parts.Html = ""
    if rung.until is not None:
        over = rung.until <= now
        until = parts.text(parts.exact_moment(rung.until, f"{rung.until:%-d %b %Y}"), "over" if over else "")
    state = parts.status(RUNGS[rung.state], rung.state) if rung.state in RUNGS else parts.none("never shown", "never")
    return Row(
        cells=[parts.text(format_html("{}{}", rung.level, wanted), LEVEL_WORDS[rung.level]), state, shown, until]
    )


def _covering_table(one: Standing, now: datetime) -> Table:
    return Table(
        caption="Backups that hold it",
        columns=[
            Column("Backup", "lead"),
            Column("Holds", "second"),
            Column("Last good"),
            Column("Last run"),
            Column("Size", "num"),
            Column("Where it lies"),
        ],
        rows=[_covering_row(covering, now) for covering in one.judged.covering],
        empty=Empty(
            "No job covers it",
            "No device of this client tells of a backup in which it is. Set one up, name it with its `paths` or "
            "`databases` in the agent's backups.toml, and it is found here by itself within an hour.",
            command="forestall agent status",
        ),
    )


def _covering_row(one: Covering, now: datetime) -> Row:
    holding, backup = one.holding, one.holding.backup
    shape = {"whole": "pass", "part": "fail", "unsaid": "unknown"}[one.match.cover]
    word = {"whole": "all of it", "part": "a part", "unsaid": "not known"}[one.match.cover]
    ran = (
        parts.none("the tool does not say", "unknown")
        if backup.last_run_ok is None
        else parts.status("pass", "ran well")
        if backup.last_run_ok
        else parts.text(parts.status("fail", "failed"), backup.last_run_detail)
    )
    where = [
        "elsewhere" if holding.hidden or backup.remote else "on this device" if backup.remote is False else "",
        "offline" if backup.offline else "",
        "immutable" if backup.immutable else "",
        "encrypted" if backup.encrypted else "",
    ]
    told = (
        format_html("told by {}", holding.device_name)
        if holding.hidden
        else format_html('told by <a href="/devices/{}/backups/">{}</a>', holding.device, holding.device_name)
    )
    return Row(
        cells=[
            parts.text(holding.shown, told),
            parts.text(parts.status(shape, word), one.match.why),
            parts.moment(backup.last_success_at, now, "never"),
            ran,
            parts.none("the tool does not say", "unknown") if backup.size_bytes is None else size(backup.size_bytes),
            ", ".join(part for part in where if part) or parts.none("nobody has said", "unknown"),
        ]
    )


def _history(found: Sequence[Proof], now: datetime, scope: Scope) -> Table:
    return Table(
        caption="Proofs, the newest first",
        columns=[
            Column("When", "lead"),
            Column("Outcome", "second"),
            Column("Level"),
            Column("On whose word"),
            Column("Took", "num"),
            Column("Compared", "num"),
            Column("What was found", "wide"),
        ],
        rows=[_proof_row(proof, now, scope) for proof in found],
        empty=Empty(
            "Nothing was put to the proof yet",
            "A restore test restores into a scratch folder, compares, measures the time and cleans up. One done by "
            "hand can be attested.",
        ),
    )


def _proof_row(proof: Proof, now: datetime, scope: Scope) -> Row:
    outcome = parts.status("pass", "came back") if proof.ok else parts.status("fail", "failed")
    if proof.withdrawn_at is not None:
        outcome = parts.text(
            parts.none("it counts no more", "withdrawn"), f"{proof.withdrawn_by}: {proof.withdrawn_why}"
        )
    elif proof.ok and proof.source == "reported":
        outcome = parts.status("pass", "came back, it says")
    behind: list[parts.Html] = []
    if proof.job_id is not None and scope.may(Permission.RUNBOOK_VIEW):
        behind.append(format_html('<a href="/jobs/{}/">signed result</a>', proof.job_id))
    if proof.attachment is not None:
        behind.append(
            format_html(
                '<a href="/recovery/proofs/{}/attachment" download>{}</a> <span class="muted">{}, SHA-256 {}…</span>',
                proof.pk, proof.attachment_name, size(proof.attachment.size), proof.attachment.sha256[:12],
            )
        )  # fmt: skip
    behind += [f"{path}" for path in proof.differences[:5]]
    who = f"{SOURCES[proof.source]} by {proof.by}" if proof.by else SOURCES[proof.source]
    return Row(
        key=f"proof-{proof.pk}",
        cells=[
            parts.text(parts.moment(proof.at, now), proof.backup or "by hand"),
            outcome,
            proof.level,
            who,
            parts.none("not measured", "–") if proof.seconds is None else span(proof.seconds),
            f"{proof.compared:,} of {proof.files:,}" if proof.files else parts.none("no files", "–"),
            parts.text(proof.detail or parts.none("it says nothing", "–"), parts.joined(behind)),
        ],
    )


def _facts(one: Standing, now: datetime) -> list[Fact]:
    row, judged = one.system, one.judged
    age = one.backup_age
    recovery_time: parts.Html = parts.none("no restore of all of it was measured", "never measured")
    if judged.recovery is not None:
        took = span(judged.recovery.seconds)
        how = "measured" if judged.recovery.measured else "worked out from a sample"
        within = judged.recovery.within
        told = took if within is None else parts.status("pass" if within else "fail", took)
        recovery_time = parts.text(told, f"{how} {judged.recovery.at:%-d %b %Y}")
    due: parts.Html = parts.none("no backup of it can be tested", "none")
    if judged.test_due_at is not None:
        due = (
            "now"
            if judged.test_due_at <= now
            else parts.exact_moment(judged.test_due_at, f"{judged.test_due_at:%-d %b %Y}")
        )
    facts = [
        Fact("Lives on", parts.link(f"/devices/{row.device_id}/backups/", row.device.name, row.site.name)),
        Fact("What", row.what or "the machine as a whole"),
        Fact("Importance", row.importance),
        Fact(
            "Recovery point",
            parts.text(
                parts.none("no good backup", "no backup") if age is None else f"{span(age)} old",
                f"objective {span(timedelta(minutes=row.rpo_minutes))}",
            ),
        ),
        Fact(
            "Recovery time",
            parts.text(
                recovery_time,
                f"objective {span(timedelta(minutes=row.rto_minutes))}" if row.rto_minutes else "no objective",
            ),
        ),
        Fact("Last verified recovery", _verified(one, now)),
        Fact("Copies", f"{judged.copies} of {row.copies}, the live one included"),
        Fact("Off-site", _yes(judged.off_site, wanted=row.off_site)),
        Fact("Out of reach", _yes(judged.offline, wanted=row.offline)),
        Fact("Kept", f"{row.retention_days} days wanted" if row.retention_days else "no demand"),
        Fact(
            "Restore tests",
            parts.text(
                f"level {row.wanted_level}, every {row.test_every_days} days",
                "by itself, in maintenance windows" if row.test_by_itself else "when somebody asks",
            ),
        ),
        Fact("Next test due", due),
    ]
    if row.tried_why:
        facts.append(Fact("Last try", parts.text(parts.moment(row.tried_at, now), row.tried_why)))
    if row.ticket_id:
        facts.append(Fact("Ticket", parts.link(f"/tickets/{row.ticket_id}/", f"#{row.ticket_id}")))
    if row.note:
        facts.append(Fact("Note", row.note))
    return facts


def _verified(one: Standing, now: datetime) -> parts.Html:
    verified = one.judged.verified
    if verified is None:
        return parts.none("nothing of it was ever brought back", "never")
    return parts.text(parts.moment(verified.at, now), f"level {verified.level}, {SOURCES[verified.source]}")


def _yes(value: bool | None, *, wanted: bool) -> parts.Html:  # noqa: FBT001 - three states read from facts
    if value:
        return parts.status("pass", "yes")
    if not wanted:
        return "not asked for"
    return parts.status("unknown", "not known") if value is None else parts.status("fail", "no")


# --- forms ------------------------------------------------------------------------------------------------------


LENGTHS = (
    (60, "1 hour"), (4 * 60, "4 hours"), (8 * 60, "8 hours"), (24 * 60, "24 hours"), (26 * 60, "26 hours (nightly)"),
    (48 * 60, "2 days"), (7 * 24 * 60 + 1440, "8 days (weekly)"), (31 * 24 * 60, "31 days"),
)  # fmt: skip


class SystemForm(PlainForm):
    """What is demanded of a system; of a new one also what it is."""

    device = forms.ChoiceField(label="Device")
    kind = forms.ChoiceField(
        label="What of it",
        choices=[("machine", "The machine as a whole"), ("folder", "A folder"), ("database", "A database")],
    )
    what = forms.CharField(
        label="Which folder or database",
        max_length=500,
        required=False,
        help_text="/srv/mail, C:\\Data; of a database its engine first: postgresql:shop, mariadb:*",
    )
    name = forms.CharField(
        label="Name", max_length=200, required=False, help_text="Left empty, it is made from the above."
    )
    importance = forms.ChoiceField(label="How bad is its loss", choices=[(one.value, one.value) for one in Risk])
    rpo_minutes = forms.TypedChoiceField(
        label="How old may its backup be", coerce=int, help_text="The recovery point objective."
    )
    rto_minutes = forms.TypedChoiceField(
        label="How soon must it be back",
        coerce=int,
        empty_value=None,
        required=False,
        help_text="The recovery time objective; whole restores measure it.",
    )
    wanted_level = forms.ChoiceField(label="What must be proved")
    test_every_days = forms.IntegerField(
        label="A proof counts for (days)", min_value=1, max_value=BOUNDS["test_every_days"][1]
    )
    test_by_itself = forms.BooleanField(label="Test restores by itself, in maintenance windows", required=False)
    test_most_mb = forms.IntegerField(
        label="A test restores at most (MB)", min_value=1, max_value=BOUNDS["test_most_mb"][1]
    )
    test_rate_kb = forms.IntegerField(
        label="and reads at most (kB/s)", min_value=0, max_value=BOUNDS["test_rate_kb"][1], help_text="0: no bound."
    )
    test_sample = forms.IntegerField(label="Files of a sample", min_value=1, max_value=BOUNDS["test_sample"][1])
    copies = forms.IntegerField(label="Copies, the live one included", min_value=1, max_value=20)
    off_site = forms.BooleanField(label="One copy lies on another machine", required=False)
    offline = forms.BooleanField(label="One copy is offline or immutable", required=False)
    retention_days = forms.IntegerField(
        label="One can go back (days)", min_value=0, max_value=BOUNDS["retention_days"][1], help_text="0: no demand."
    )
    backups = forms.MultipleChoiceField(
        label="Backups that hold it",
        required=False,
        help_text="Choose none: they are found by what they say is in them. Chosen ones are believed.",
    )
    note = forms.CharField(
        label="Note", max_length=2000, required=False, widget=forms.Textarea(attrs={"rows": 2}), strip=True
    )

    def __init__(self, data: Any = None, *, scope: Scope, system: ProtectedSystem | None, **more: Any) -> None:
        super().__init__(data, **more)
        fields: dict[str, Any] = self.fields
        row = system or ProtectedSystem()
        levels = LEVELS_OF[row.kind] if system else (*LEVELS_OF["machine"][:-1], "database", "application")
        fields["wanted_level"].choices = [(level, f"{level}: {LEVEL_WORDS[level]}") for level in levels]
        fields["rpo_minutes"].choices = _lengths(row.rpo_minutes)
        fields["rto_minutes"].choices = [("", "no objective"), *_lengths(row.rto_minutes)]
        if system is None:
            may = Device.objects.visible_to(scope, by=Permission.RECOVERY_CHANGE).values("pk")
            devices = inventory.devices(scope=scope).filter(status=DeviceStatus.APPROVED, pk__in=may)
            devices = devices.order_by("client__name", "name")
            fields["device"].choices = [(str(one.pk), f"{one.name} ({one.client.name})") for one in devices]
            del fields["backups"]
        else:
            for name in ("device", "kind", "what"):
                del fields[name]
            found = queries.covering_matches(system=system, scope=scope)
            fields["backups"].choices = [
                (f"{backup.device_id}:{backup.name}", f"{backup.name} ({backup.tool}) on {backup.device.name}")
                for backup, _ in found
            ]
            fields["backups"].widget.attrs["size"] = min(max(len(found), 2), 8)
        for name in self.fields:
            if name == "backups":
                self.initial[name] = [f"{one['device']}:{one['backup']}" for one in row.backups]
            elif hasattr(row, name) and name not in {"device"}:
                self.initial.setdefault(name, getattr(row, name))
        if system is None:
            self.initial["rpo_minutes"] = services.DEFAULT_RPO

    def terms(self) -> dict[str, Any]:
        """What was typed, as the service takes it."""
        values = {name: value for name, value in self.cleaned_data.items() if name not in {"device", "kind", "what"}}
        if "backups" in values:
            pairs = [one.partition(":") for one in values["backups"]]
            values["backups"] = [{"device": device, "backup": name} for device, _, name in pairs]
        return values


def _lengths(own: int | None) -> list[tuple[int, str]]:
    """Usual lengths of time, and the one that is set."""
    found = dict(LENGTHS)
    if own and own not in found:
        found[own] = span(timedelta(minutes=own))
    return sorted(found.items())


class AttestForm(PlainForm):
    """A restore test done by hand."""

    level = forms.ChoiceField(label="What was shown")
    outcome = forms.ChoiceField(label="Outcome", choices=[("ok", "It came back"), ("failed", "It did not come back")])
    on = forms.DateField(
        label="On", required=False, widget=forms.DateInput(attrs={"type": "date"}), help_text="Left empty: today."
    )
    minutes = forms.IntegerField(
        label="The restore took (minutes)", required=False, min_value=1, max_value=BOUNDS["rto_minutes"][1]
    )
    detail = forms.CharField(
        label="What was restored, where to, how compared", max_length=2000, widget=forms.Textarea(attrs={"rows": 3})
    )
    file = forms.FileField(
        label="Protocol or picture",
        required=False,
        help_text=f"Up to {size(MOST_ATTACHED)}. It is kept as it is, under its SHA-256, and that goes on record.",
    )

    def __init__(self, data: Any = None, *, kind: str, **more: Any) -> None:
        super().__init__(data, **more)
        level: Any = self.fields["level"]
        level.choices = [(one, f"{one}: {LEVEL_WORDS[one]}") for one in reversed(LEVELS_OF[kind])]


class EndForm(PlainForm):
    why = forms.CharField(label="Why", max_length=2000)


@page(permission=Permission.DEVICE_VIEW, methods=("GET", "HEAD", "POST"), change=Permission.RECOVERY_CHANGE)
def system_new(request: PageRequest) -> HttpResponse:
    """Name something that must be recoverable."""
    scope = request.scope
    asked = {name: request.GET[name] for name in ("device", "kind", "what", "name") if request.GET.get(name)}
    if asked.get("kind") == "database":
        asked["wanted_level"] = "database"
    form = SystemForm(request.POST if request.method == "POST" else None, scope=scope, system=None, initial=asked)
    if request.method == "POST" and request.POST.get("device"):
        # Whoever names a device they do not see learns nothing of it.
        named = inventory.devices(scope=scope).get(pk=_uuid(request.POST["device"]))
        scope.require(Permission.RECOVERY_CHANGE, on=named)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            made = services.system_add(
                device=inventory.devices(scope=scope).get(pk=given["device"]), kind=given["kind"], what=given["what"],
                name=given["name"], terms={k: v for k, v in form.terms().items() if k != "name"}, scope=scope,
                now=timezone.now(),
            )  # fmt: skip
        except RecoveryError as refusal:
            form.refuse(refusal)
        else:
            messages.success(request, f"{made.name} is named: from now on its backups and restores are watched.")
            return HttpResponseRedirect(f"/recovery/{made.pk}/")
    context = {
        "crumbs": CRUMBS,
        "sentence": "What is named here is asked for every day: which backup holds it, how old that is, and when it "
        "was last brought back.",
        "form": form,
        "button": "Name it" if scope.may(Permission.RECOVERY_CHANGE) else "",
        "back": "/recovery/",
    }
    return render_page(request, "ask", context, section="recovery", title="Name what must come back", live=False)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Http404 from None


@page(permission=Permission.DEVICE_VIEW, methods=("GET", "HEAD", "POST"), change=Permission.RECOVERY_CHANGE)
def system_change(request: PageRequest, protected_system_id: int) -> HttpResponse:
    """Change what is demanded of a system, and the backups that are named for it."""
    scope = request.scope
    row = queries.systems(scope=scope, archived=True).get(pk=protected_system_id)
    if request.method == "POST":
        scope.require(Permission.RECOVERY_CHANGE, on=row)
    form = SystemForm(request.POST if request.method == "POST" else None, scope=scope, system=row)
    if request.method == "POST" and form.is_valid():
        try:
            services.system_change(system=row, values=form.terms(), scope=scope, now=timezone.now())
        except RecoveryError as refusal:
            form.refuse(refusal)
        else:
            messages.success(request, "Kept.")
            return HttpResponseRedirect(f"/recovery/{row.pk}/")
    context = {
        "crumbs": format_html('{} › <a href="/recovery/{}/">{}</a>', CRUMBS, row.pk, row.name),
        "sentence": f"{row.what or 'The machine as a whole'} on {row.device.name}, {row.client.name}.",
        "form": form,
        "button": "Keep" if scope.may(Permission.RECOVERY_CHANGE, on=row) and row.archived_at is None else "",
        "back": f"/recovery/{row.pk}/",
    }
    return render_page(request, "ask", context, section="recovery", title=f"Change {row.name}", live=False)


@page(permission=Permission.DEVICE_VIEW, change=Permission.RECOVERY_CHANGE, methods=("POST",))
def system_test(request: PageRequest, protected_system_id: int) -> HttpResponse:
    """Begin a restore test now."""
    row = queries.systems(scope=request.scope, archived=True).get(pk=protected_system_id)
    try:
        job = services.restore_test_prepare(
            system=row, level=request.POST.get("level", ""), scope=request.scope, now=timezone.now()
        )
    except (RecoveryError, RunbooksError) as refusal:
        messages.error(request, f"{str(refusal)[:1].upper()}{str(refusal)[1:]}")
    except RunbookRecord.DoesNotExist:
        messages.error(request, f"The runbook {queries.RUNBOOK} is not published here.")
    else:
        waits = job.state == JobState.AWAITING_SIGNATURE
        messages.success(
            request, "The restore test is prepared: sign it." if waits else "The restore test is on its way."
        )
    return HttpResponseRedirect(f"/recovery/{row.pk}/")


@page(permission=Permission.DEVICE_VIEW, change=Permission.RECOVERY_CHANGE, methods=("POST",))
def system_attest(request: PageRequest, protected_system_id: int) -> HttpResponse:
    """Put a restore test done by hand on record."""
    one = _standing(request, protected_system_id)
    request.scope.require(Permission.RECOVERY_CHANGE, on=one.system)
    form = AttestForm(request.POST, files=request.FILES, kind=one.system.kind, name="attest")
    if form.is_valid():
        given, now = form.cleaned_data, timezone.now()
        on = given["on"]
        at = now if on is None or on >= now.date() else datetime(on.year, on.month, on.day, 12, tzinfo=UTC)
        try:
            services.proof_attest(
                system=one.system, level=given["level"], ok=given["outcome"] == "ok", at=at, detail=given["detail"],
                seconds=None if given["minutes"] is None else given["minutes"] * 60.0,
                attachment=_uploaded(given["file"]), scope=request.scope, now=now,
            )  # fmt: skip
        except RecoveryError as refusal:
            form.refuse(RecoveryError(str(refusal).replace("attachment: ", "file: ", 1)))
        else:
            messages.success(request, "On record, under your name.")
            return HttpResponseRedirect(f"/recovery/{one.system.pk}/#proofs")
    return _system_page(request, one, attest=form)


def _uploaded(file: UploadedFile[Any] | None) -> tuple[str, bytes] | None:
    if file is None:
        return None
    if file.size is not None and file.size > MOST_ATTACHED:
        raise RecoveryError(f"attachment: {file.size:,} bytes, at most {MOST_ATTACHED:,}")
    return str(file.name or "attachment"), file.read()


@page(permission=Permission.DEVICE_VIEW, change=Permission.RECOVERY_CHANGE, methods=("POST",))
def system_archive(request: PageRequest, protected_system_id: int) -> HttpResponse:
    """It need not be recoverable any more."""
    one = _standing(request, protected_system_id)
    request.scope.require(Permission.RECOVERY_CHANGE, on=one.system)
    form = EndForm(request.POST, name="archive")
    if form.is_valid():
        try:
            services.system_archive(
                system=one.system, why=form.cleaned_data["why"], scope=request.scope, now=timezone.now()
            )
        except RecoveryError as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, f"{one.system.name} is asked for no more. It can be taken back here.")
        return HttpResponseRedirect(f"/recovery/{one.system.pk}/")
    return _system_page(request, one, archive=form)


@page(permission=Permission.DEVICE_VIEW, change=Permission.RECOVERY_CHANGE, methods=("POST",))
def system_restore(request: PageRequest, protected_system_id: int) -> HttpResponse:
    """Take an archived system back."""
    row = queries.systems(scope=request.scope, archived=True).get(pk=protected_system_id)
    try:
        services.system_restore(system=row, scope=request.scope, now=timezone.now())
    except RecoveryError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, f"{row.name} is asked for again.")
    return HttpResponseRedirect(f"/recovery/{row.pk}/")


@page(permission=Permission.DEVICE_VIEW, change=Permission.RECOVERY_CHANGE, methods=("POST",))
def proof_withdraw(request: PageRequest, proof_id: int) -> HttpResponse:
    """Take an attested proof back."""
    proof = queries.proofs(scope=request.scope).get(pk=proof_id)
    try:
        services.proof_withdraw(proof=proof, why=request.POST.get("why", ""), scope=request.scope, now=timezone.now())
    except RecoveryError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, "It counts no more, and stays on record.")
    return HttpResponseRedirect(f"/recovery/{proof.system_id}/#proofs" if proof.system_id else "/recovery/")


@page(permission=Permission.DEVICE_VIEW)
def proof_attachment(request: PageRequest, proof_id: int) -> HttpResponse:
    """The file that was handed in with a proof: never shown by the browser, always saved."""
    found = queries.proofs(scope=request.scope).get(pk=proof_id)
    if found.attachment is None:
        raise Http404
    answer = HttpResponse(bytes(found.attachment.content), content_type="application/octet-stream")
    answer["Content-Disposition"] = f'attachment; filename="{found.attachment_name}"'
    answer["X-Content-Type-Options"] = "nosniff"
    return answer


# --- what nobody named ------------------------------------------------------------------------------------------


@page(permission=Permission.DEVICE_VIEW, methods=("GET", "HEAD", "POST"), change=Permission.RECOVERY_CHANGE)
def suggestions(request: PageRequest) -> HttpResponse:
    """Devices and databases that look as if they had to be recoverable, and that nobody has named."""
    scope, now = request.scope, timezone.now()
    found = queries.suggestions(scope=scope)
    if request.method == "POST":
        picked = set(request.POST.getlist("pick"))
        return _named(request, [one for one in found if one.key in picked], now)
    may = scope.may(Permission.RECOVERY_CHANGE)
    pages, stretch = parts.pages_of(request.GET, len(found), A_PAGE)
    number = words.plural(len(found), "thing")
    context = {
        "crumbs": CRUMBS,
        "sentence": f"{number} {words.does(len(found), 'look')} as if somebody would miss it, and nobody has named it."
        if found
        else "Everything that looks as if it had to be recoverable is named.",
        "may": may and bool(found),
        "table": Table(
            caption="Not named yet",
            columns=[Column("What", "lead"), Column("Why", "second"), Column("Device"), Column("Client")],
            rows=[_suggestion_row(one) for one in found[stretch]],
            empty=Empty(
                "Nothing is left out",
                "Servers without a protected system, databases that listen and databases in backups would be here.",
                href="/recovery/",
                action="Protected systems",
            ),
            query=request.GET,
            pages=pages,
            pickable=may,
        ),
    }
    return render_page(
        request, "recovery_suggestions", context, section="recovery", title="What nobody has named", live=False
    )


def _suggestion_row(one: Suggestion) -> Row:
    label = f"{one.what or 'the whole machine'} of {one.device.name}"
    return Row(
        key=one.key,
        pick=one.key,
        pick_label=label,
        cells=[
            parts.text(one.name, one.what or one.kind),
            one.why,
            parts.link(f"/devices/{one.device.pk}/backups/", one.device.name),
            one.device.client.name,
        ],
    )


def _named(request: PageRequest, chosen: Sequence[Suggestion], now: datetime) -> HttpResponse:
    if not chosen:
        messages.error(request, "Tick at least one.")
    made = 0
    for one in chosen:
        try:
            services.system_add(
                device=one.device, kind=one.kind, what=one.what, name=one.name, scope=request.scope, now=now
            )
            made += 1
        except RecoveryError as refusal:
            messages.error(request, str(refusal))
    if made:
        messages.success(
            request, f"{words.plural(made, 'system')} named, with the usual objectives: change them on its page."
        )
    return HttpResponseRedirect("/recovery/" if made else "/recovery/suggestions/")


# --- a device's tab ---------------------------------------------------------------------------------------------


def device_sections(*, scope: Scope, device: Device, now: datetime) -> tuple[Table, Table]:
    """What must be recoverable on a device, and what was proved of the backups it tells of."""
    rows = queries.systems(scope=scope).filter(device=device)
    found = sorted(queries.standings(scope=scope, now=now, systems_of=rows), key=_worst_first)
    may = scope.may(Permission.RECOVERY_CHANGE, on=device)
    systems = Table(
        caption="What must be recoverable here",
        columns=[
            Column("System", "lead"),
            Column("Back today?", "second"),
            Column("Proved"),
            Column("Last restored"),
            Column("Newest backup"),
            Column("Stands", "wide"),
        ],
        rows=[_system_row(one, now) for one in found],
        empty=Empty(
            "Nothing of this device is named",
            "Name what of it must come back: then its backups are asked for, tested and proved.",
            href=f"/recovery/new?device={device.pk}" if may else "",
            action="Name it" if may else "",
        ),
    )
    proofs = list(queries.proofs(scope=scope).filter(device=device)[:20])
    return systems, _history(proofs, now, scope)
