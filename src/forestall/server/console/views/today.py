"""Today: what needs a person, what will break next, what was repaired without anyone, and what we cannot see."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Max, Q
from django.http import HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.alerts import queries as alerts
from forestall.server.checks import queries as checks
from forestall.server.checks.models import Check
from forestall.server.checks.result import Status
from forestall.server.console import parts, titles, words
from forestall.server.console.access import SIGNED_IN, PageRequest, page
from forestall.server.console.clocks import clock_part, is_at_risk
from forestall.server.console.parts import Empty
from forestall.server.console.proposals import sign_command
from forestall.server.console.shell import render_page
from forestall.server.console.status_words import SILENT_AFTER
from forestall.server.health import queries as health
from forestall.server.health.models import HealthRun
from forestall.server.inventory import queries as inventory
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.patching import pending as pending_updates
from forestall.server.patching.obligations import BUILT_IN
from forestall.server.people.scope import Permission, Scope
from forestall.server.people.voice import is_staff
from forestall.server.recovery import queries as recovery
from forestall.server.runbooks import queries as runbooks
from forestall.server.runbooks.models import Job
from forestall.server.tickets import queries as tickets
from forestall.server.tickets.models import Ticket
from forestall.server.tickets.queries import QueueRow

QUEUE_SHOWN = 12
LINES_SHOWN = 10
SILENT_SHOWN = 5
PROOFS_SHOWN = 5
PROOFS_AHEAD = timedelta(days=14)
AHEAD = timedelta(days=30)
THIS_WEEK = timedelta(days=7)
YESTERDAY = timedelta(hours=36)
"""Reaches back over the night and the day before, however early one looks."""


@dataclass(frozen=True, slots=True)
class Need:
    """A line of the queue: something only a person can move on."""

    key: str
    title: str
    href: str
    why: parts.Html
    clock: parts.Clock | None
    owner: str
    next: str
    act: str = ""
    """Where its button posts to; empty: the next step is more than a press."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of one of the other lists."""

    lead: parts.Html
    text: parts.Html
    tail: parts.Html = ""


@page(permission=SIGNED_IN)
def today(request: PageRequest) -> HttpResponse:
    if not is_staff(request.scope) and request.scope.may(Permission.PORTAL_VIEW):
        # A client's own people land in their portal.
        return HttpResponseRedirect("/portal/")
    scope, now = request.scope, timezone.now()
    queue = tickets.queue(scope=scope, now=now) if scope.may(Permission.TICKET_VIEW) else []
    waiting = (
        list(runbooks.jobs_awaiting_signature(scope=scope)[:QUEUE_SHOWN]) if scope.may(Permission.RUNBOOK_VIEW) else []
    )
    devices = inventory.devices(scope=scope).exclude(status=DeviceStatus.REVOKED).order_by()
    can_see = scope.may(Permission.DEVICE_VIEW)
    pending = list(devices.filter(status=DeviceStatus.PENDING)[:QUEUE_SHOWN]) if can_see else []
    newest = devices.aggregate(at=Max("last_check_in_at"))["at"] if can_see else None
    needs = _needs(queue, waiting, pending, scope, now)
    soon = _soon(scope, now) if can_see else []
    done = _done(scope, now)
    unseen, silent = _unseen(scope, now) if can_see else ([], 0)
    context = {
        "sentence": today_sentence(needs, queue, soon, silent, now, any_device=newest is not None or bool(pending)),
        "needs": needs[:QUEUE_SHOWN],
        "needs_total": len(needs),
        "needs_more": len(needs) - QUEUE_SHOWN,
        "soon": [
            *(_missed_lines(scope, now) if can_see else []),
            *(_losing_lines(scope, now) if can_see else []),
            *(_soon_line(check, now) for check in soon[:LINES_SHOWN]),
        ],
        "done": done,
        "unseen": [*(_uncovered_lines(scope, now) if can_see else []), *unseen[:LINES_SHOWN]],
        "unseen_more": len(unseen) - LINES_SHOWN,
        "may_work": scope.may(Permission.TICKET_WORK),
        "nobody_yet": Empty(
            "No device yet",
            "Forestall shows what it measures. Enrol the first device and this page fills within a minute.",
            href="/devices/enrol",
            action="Enrol a device",
        )
        if can_see and newest is None and not pending and scope.may(Permission.DEVICE_APPROVE)
        else None,
    }
    return render_page(request, "today", context, section="today", title="Today", data_at=newest)


def _needs(
    queue: Sequence[QueueRow], waiting: Sequence[Job], pending: Sequence[Device], scope: Scope, now: datetime
) -> list[Need]:
    signed_for = {job.ticket_id: job for job in waiting}
    reasons: dict[int, str] = {}
    first = [row.ticket.number for row in queue[:QUEUE_SHOWN]]
    about = alerts.alerts(scope=scope).filter(ticket_alert__ticket__in=first).order_by("-ticket_alert__pk")
    for number, reason in about.values_list("ticket_alert__ticket_id", "reason"):
        reasons[number] = reason
    needs = []
    for row in queue:
        ticket, job = row.ticket, signed_for.pop(row.ticket.number, None)
        unanswered = ticket.acknowledged_at is None
        next_step = f"sign: {sign_command(job)}" if job else row.next_step
        needs.append(
            Need(
                key=f"ticket-{ticket.number}",
                title=f"#{ticket.number} {ticket.title}",
                href=f"/tickets/{ticket.number}/",
                why=_why(ticket, reasons.get(ticket.number, "")),
                clock=clock_part(row.clock),
                owner=ticket.owner.username if ticket.owner else "",
                next=next_step,
                act=f"/tickets/{ticket.number}/acknowledge" if unanswered and scope.may(Permission.TICKET_WORK) else "",
            )
        )
    for job in signed_for.values():
        needs.append(
            Need(
                key=f"job-{job.pk}",
                title=f"Sign: {job.runbook.title} on {job.device.name}",
                href=f"/jobs/{job.pk}/",
                why=f"prepared by {job.created_by}: {job.reason}",
                clock=None,
                owner="",
                next=sign_command(job),
            )
        )
    for device in pending:
        needs.append(
            Need(
                key=f"device-{device.pk}",
                title=f"Approve {device.name}",
                href=f"/devices/{device.pk}/",
                why=f"enrolled {words.ago(device.enrolled_at, now)} at {device.client.name} · {device.site.name}",
                clock=None,
                owner="",
                next="approve",
            )
        )
    return needs


def _why(ticket: Ticket, reason: str) -> parts.Html:
    return format_html(
        '{} · {} · {}<span class="reason">{}</span>',
        ticket.about,
        ticket.client.name,
        ticket.priority,
        reason or ticket.text[:200],
    )


def today_sentence(
    needs: Sequence[Need],
    queue: Sequence[QueueRow],
    soon: Sequence[Check],
    silent: int,
    now: datetime,
    *,
    any_device: bool,
) -> parts.Html:
    """The whole state of the house in one sentence."""
    if not any_device:
        return "Nothing is watched yet: no device has checked in."
    number = len(needs)
    said = [
        format_html('<a href="#needs"><b>{} {} you</b></a>', words.plural(number, "thing"), words.does(number, "need"))
        if number
        else SafeString("<b>Nothing needs you</b> now")
    ]
    week = [check for check in soon if check.forecast_at and check.forecast_at <= now + THIS_WEEK]
    if week:
        said.append(format_html('<a href="#soon">{} will break within a week</a>', words.plural(len(week), "thing")))
    else:
        said.append(SafeString("nothing is forecast to break this week"))
    at_risk = [row for row in queue if is_at_risk(row.clock)]
    breached = sum(row.clock.percent >= 100 for row in at_risk)
    if breached:
        said.append(format_html("{} past the SLA", words.plural(breached, "ticket")))
    running = [row for row in at_risk if row.clock.percent < 100 and row.clock.due_at]
    if running:
        first = min(running, key=lambda row: row.clock.due_at or now)
        assert first.clock.due_at is not None  # noqa: S101 - filtered above
        at = words.clock_time(first.clock.due_at, now, first.ticket.client.timezone)
        said.append(format_html("{} at risk, the first at {}", words.plural(len(running), "SLA"), at))
    if silent:
        said.append(
            format_html('<a href="#unseen">{} {} silent</a>', words.plural(silent, "device"), words.does(silent, "are"))
        )
    return format_html("{}.", parts.joined(said, separator="; "))


def _soon(scope: Scope, now: datetime) -> list[Check]:
    """What is not failing yet and will, soonest first."""
    found = checks.checks(scope=scope).filter(forecast_at__gte=now, forecast_at__lte=now + AHEAD)
    return list(found.order_by("forecast_at")[:50])


def _soon_line(check: Check, now: datetime) -> Line:
    assert check.forecast_at is not None  # noqa: S101 - filtered by it
    return Line(
        lead=parts.moment(check.forecast_at, now),
        text=format_html(
            '<a href="/devices/{}/?check={}">{}</a> on {}. <span class="muted">{}</span>',
            check.device_id,
            check.pk,
            titles.check_title(check.kind, check.target),
            check.device.name,
            check.reason,
        ),
        tail=parts.status(check.status),
    )


def _missed_lines(scope: Scope, now: datetime) -> list[Line]:
    """Updates whose next window misses their deadline, one line for each obligation, the earliest deadline first."""
    rows = pending_updates.missed_windows(scope=scope, now=now)
    return [
        Line(
            lead=parts.moment(row["earliest"], now),
            text=format_html(
                '<a href="/updates/?by=each&show=misses&obligation={}">The next window misses the deadline of {}</a> '
                'on {}. <span class="muted">{}</span>',
                row["bound_by"],
                words.plural(row["updates"], "update"),
                words.plural(row["devices"], "device"),
                BUILT_IN[row["bound_by"]].title if row["bound_by"] in BUILT_IN else row["bound_by"],
            ),
            tail=parts.status(Status.WARN, "misses its deadline"),
        )
        for row in rows
    ]


def _losing_lines(scope: Scope, now: datetime) -> list[Line]:
    """Backups losing their proof, the soonest first."""
    found = list(recovery.losing_proof(scope=scope, now=now, within=PROOFS_AHEAD)[:200])
    lines = [
        Line(
            lead=parts.moment(one.lapses_at, now),
            text=format_html(
                '<a href="/recovery/{}/">The proof of {} lapses</a> on {}. <span class="muted">{}</span>',
                one.pk,
                one.name,
                one.device.name,
                one.client.name,
            ),
            tail=parts.status(Status.WARN, "losing its proof"),
        )
        for one in found[:PROOFS_SHOWN]
    ]
    more = len(found) - len(lines)
    if more > 0:
        text = format_html('<a href="/recovery/">{} more lose their proof</a>', words.plural(more, "system"))
        lines.append(Line("", text))
    return lines


def _done(scope: Scope, now: datetime) -> list[Line]:
    """What the loop repaired since yesterday, or what ended by itself; each with how it was verified."""
    if not scope.may(Permission.TICKET_VIEW):
        return []
    since = now - YESTERDAY
    ended = tickets.tickets(scope=scope).filter(resolved_at__gte=since).filter(Q(remediated=True) | Q(state="closed"))
    return [_done_line(ticket, now) for ticket in ended.order_by("-resolved_at")[:LINES_SHOWN]]


def _done_line(ticket: Ticket, now: datetime) -> Line:
    how = "repaired by a job" if ticket.remediated else "passed again by itself"
    proof = parts.status("pass", "verified") if ticket.verified_at else parts.status("unknown", "not verified")
    return Line(
        lead=parts.moment(ticket.resolved_at, now),
        text=format_html(
            '<a href="/tickets/{}/">#{} {}</a> on {}, {}.',
            ticket.number,
            ticket.number,
            ticket.title,
            ticket.about,
            how,
        ),
        tail=proof,
    )


def _uncovered_lines(scope: Scope, now: datetime) -> list[Line]:
    """What the newest health run of each client found left uncovered, in one line: the matrix itself is a page away."""
    newest: dict[UUID, HealthRun] = {}
    for run in health.runs(scope=scope).filter(at__gte=now - YESTERDAY).order_by("-at")[:200]:
        newest.setdefault(run.client_id, run)
    open_gaps = {run.client.name: run.gaps for run in newest.values() if run.gaps}
    if not open_gaps:
        return []
    scored = [run for run in newest.values() if run.score is not None]
    lowest = min(scored, key=lambda run: run.score or 0.0, default=None)
    return [
        Line(
            lead=parts.moment(max(run.at for run in newest.values()), now),
            text=format_html(
                '<a href="/coverage/gaps/">{}</a> by the last health runs. <span class="muted">{}</span> {}',
                words.plural(sum(open_gaps.values()), "gap of coverage", "gaps of coverage"),
                words.listing(sorted(open_gaps, key=lambda name: (-open_gaps[name], name))),
                format_html(
                    '<a href="/health/?client={}">{} stands lowest, at {} of 100</a>',
                    lowest.client_id,
                    lowest.client.name,
                    int((lowest.score or 0.0) + 1e-9),
                )
                if lowest is not None
                else "",
            ),
            tail=parts.status(Status.UNKNOWN, "not covered"),
        )
    ]


def _unseen(scope: Scope, now: datetime) -> tuple[list[Line], int]:
    """Silent devices first, then what is unknown or stale on the others, by kind of check."""
    devices = inventory.devices(scope=scope).filter(status=DeviceStatus.APPROVED)
    silent = list(
        devices.filter(Q(last_check_in_at=None) | Q(last_check_in_at__lt=now - SILENT_AFTER)).order_by(
            "last_check_in_at"
        )[:200]
    )
    lines = [
        Line(
            lead=parts.moment(device.last_check_in_at, now),
            text=format_html(
                '<a href="/devices/{}/">{}</a> is silent. <span class="muted">{} · {}</span>',
                device.pk,
                device.name,
                device.client.name,
                device.site.name,
            ),
            tail=parts.status(Status.STALE, "silent"),
        )
        for device in silent[:SILENT_SHOWN]
    ]
    if len(silent) > SILENT_SHOWN:
        more = len(silent) - SILENT_SHOWN
        lines.append(
            Line("", format_html('<a href="/devices/?state=silent">{} more</a>', words.plural(more, "silent device")))
        )
    gone = {device.pk for device in silent}
    blind = checks.checks(scope=scope).filter(status__in=[Status.UNKNOWN, Status.STALE]).order_by("device__name")
    by_kind: dict[tuple[str, str], dict[UUID, str]] = defaultdict(dict)
    since: dict[tuple[str, str], datetime] = {}
    for device_id, name, kind, status, at in blind.values_list("device_id", "device__name", "kind", "status", "since"):
        if device_id not in gone:
            by_kind[kind, status][device_id] = name
            since[kind, status] = max(since.get((kind, status), at), at)
    # By kind, not by device: a tool that is missing everywhere is one thing to know, not forty.
    for (kind, status), found in sorted(by_kind.items(), key=lambda item: -len(item[1])):
        only = next(iter(found))
        where = (
            parts.link(f"/devices/{only}/", found[only])
            if len(found) == 1
            else format_html(
                '<a href="/checks/?show=unknown">{}</a> <span class="muted">{}</span>',
                words.plural(len(found), "device"),
                words.listing(sorted(found.values())),
            )
        )
        lines.append(
            Line(
                lead=parts.moment(since[kind, status], now),
                text=format_html("{} on {}", titles.kind_title(kind), where),
                tail=parts.status(status),
            )
        )
    return lines, len(silent)
