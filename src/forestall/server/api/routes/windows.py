"""Maintenance windows: when work is expected, and alerts wait."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from django.db.models import Q
from ninja import Field
from pydantic import StringConstraints

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.calendar import queries, services
from forestall.server.calendar.models import MaintenanceWindow
from forestall.server.calendar.queries import Upcoming, window_rule
from forestall.server.calendar.recurrence import blackout_notes, clock_change_notes, recurrence_words
from forestall.server.calendar.windows import next_window
from forestall.server.clients.queries import sites_served
from forestall.server.inventory import queries as inventory
from forestall.server.people.models import Site
from forestall.server.people.scope import Permission, Scope
from forestall.server.tickets import queries as tickets
from forestall.server.tickets.models import Ticket
from forestall.server.tickets.windows import still_open, ticket_plan, ticket_planned, ticket_unplan, ticket_windows

router = Routes(tags=["windows"])

MOST_DAYS = 400
RULE = "RFC 5545 RRULE value on the site's wall clock, such as `FREQ=WEEKLY;BYDAY=SU`; empty: once."


class WindowOut(Schema):
    id: int
    name: str
    purpose: str
    client: Named
    site: Named
    device: UUID | None = Field(description="Null: every device of the site.")
    timezone: str = Field(description="The site's: start and rule are on its wall clock.")
    starts_on: date
    starts_at: str
    minutes: int
    rrule: str = Field(description=RULE)
    words: str = Field(description="The rule in words: `every Sunday`.")
    notice_hours: int = Field(description="How long before each time the client's people are told by mail; 0: never.")
    notice_first_only: bool = Field(description="They are told of its first time alone.")
    missed: str = Field(description="What becomes of work whose device missed it: `next` time, or `catch_up`.")
    catch_up_hours: int = Field(description="So many hours after it a device that missed it may be worked on.")
    needs_approval: bool = Field(description="Only proposed, and no window, until the client's people approve it.")
    answer: str = Field(description="The client's: `approved`, `declined`; empty: none yet, or changed since.")
    answered_at: datetime | None
    answered_by: str
    answer_reason: str
    created_at: datetime
    created_by: str
    ended_at: datetime | None
    ended_by: str
    next_start: datetime | None = Field(description="When it opens next; null: never again.")
    next_end: datetime | None


class WindowShownOut(WindowOut):
    clock_changes: list[str] = Field(description="Where a clock change meets it within 400 days, in words.")
    blackouts: list[str] = Field(description="Where a blackout keeps it shut, or cuts it, within 400 days, in words.")


class WindowTimeOut(Schema):
    window: int
    name: str
    client: Named
    site: Named
    device: UUID | None
    timezone: str
    start: datetime
    end: datetime
    cut: str = Field(description="The blackout that closes it early; empty: none does.")


class WindowFields(Schema):
    purpose: str = Field("", max_length=300, description="What is done in it.")
    rrule: str = Field("", max_length=200, description=RULE)
    notice_hours: int = Field(0, ge=0, le=services.LONGEST_NOTICE_HOURS)
    notice_first_only: bool = False
    catch_up_hours: int = Field(0, ge=0, le=services.LONGEST_CATCH_UP_HOURS)
    needs_approval: bool = Field(default=False, description="The client's people have to approve it first.")


StartsAt = Annotated[str, StringConstraints(max_length=5)]


class WindowIn(WindowFields):
    site: UUID
    device: UUID | None = Field(None, description="Null: every device of the site.")
    name: str = Field(max_length=100)
    starts_on: date
    starts_at: StartsAt = Field(description="`22:00`, the site's wall clock.")
    minutes: int = Field(ge=1, description="Length in elapsed minutes.")


class WindowChangeIn(Schema):
    """What is not named stays as it is."""

    name: str | None = Field(None, max_length=100)
    purpose: str | None = Field(None, max_length=300)
    starts_on: date | None = None
    starts_at: StartsAt | None = None
    minutes: int | None = Field(None, ge=1)
    rrule: str | None = Field(None, max_length=200, description=RULE)
    notice_hours: int | None = Field(None, ge=0, le=services.LONGEST_NOTICE_HOURS)
    notice_first_only: bool | None = None
    catch_up_hours: int | None = Field(None, ge=0, le=services.LONGEST_CATCH_UP_HOURS)
    needs_approval: bool | None = None


class TicketWindowIn(Schema):
    window: int
    starts_at: datetime | None = Field(None, description="Start of one of its times; left out: the next.")
    minutes: int = Field(ge=1, description="How long the work takes; no longer than the window is open.")


class PlannedWorkOut(Schema):
    window: int
    name: str
    starts_at: datetime
    minutes: int
    planned_at: datetime
    planned_by: str
    still_open: bool = Field(description="False: the window was moved, ended or shut since.")


class TicketWindowOut(Schema):
    planned: PlannedWorkOut | None
    next_times: list[WindowTimeOut] = Field(description="When windows of its device or site open next.")


VOLATILE = {"next_start", "next_end", "clock_changes", "blackouts"}


@router.get("/windows", allow=Permission.DEVICE_VIEW, response=Page[WindowOut], summary="List maintenance windows")
def window_list(
    request: ApiRequest,
    paging: PagingQuery,
    client: UUID | None = None,
    site: UUID | None = None,
    device: UUID | None = None,
    ended: bool = False,  # noqa: FBT001, FBT002 - a query parameter
) -> dict[str, Any]:
    now = current_time()
    found = queries.windows(scope=request.scope)
    if client is not None:
        found = found.filter(site__client=client)
    if site is not None:
        found = found.filter(site=site)
    if device is not None:
        found = found.filter(Q(device_id=device) | Q(device_id=None, site__devices=device)).distinct()
    found = found.exclude(ended_at=None) if ended else found.filter(ended_at=None)
    # Once for all of them: which blackouts count does not depend on who asks.
    book = queries.Blackouts.load(found.order_by().values_list("site__client_id", flat=True).distinct())
    return page(
        found,
        shape=lambda row: _window(row, now, book),
        cursor=paging.cursor,
        limit=paging.limit,
        order=("site__client__name", "site__name", "name", "pk"),
    )


@router.get(
    "/window-times",
    allow=Permission.DEVICE_VIEW,
    response=list[WindowTimeOut],
    summary="When windows are open in the next days, earliest first",
)
def window_times(
    request: ApiRequest, days: int = 30, client: UUID | None = None, site: UUID | None = None
) -> list[dict[str, Any]]:
    if not 1 <= days <= MOST_DAYS:
        raise ValueError(f"days: {days} is not between 1 and {MOST_DAYS}")
    now = current_time()
    found = queries.windows(scope=request.scope).filter(queries.COUNTING, Q(ended_at=None) | Q(ended_at__gt=now))
    if client is not None:
        found = found.filter(site__client=client)
    if site is not None:
        found = found.filter(site=site)
    times = queries.upcoming(windows=found, since=now, until=now + timedelta(days=days))
    return [_time(one) for one in times[:1000]]


@router.post(
    "/windows", allow=Permission.WINDOW_CHANGE, response={201: WindowShownOut}, summary="Plan a maintenance window"
)
def window_create(request: ApiRequest, body: WindowIn) -> tuple[int, dict[str, Any]]:
    scope, now = request.scope, current_time()
    site = sites_served(scope=scope).get(pk=body.site)
    _require_device(scope, site, body.device)
    made = services.window_create(
        site=site, device_id=body.device, scope=scope, now=now, **body.model_dump(exclude={"site", "device"})
    )
    return 201, _shown(made, now)


@router.get(
    "/windows/{window_id}",
    allow=Permission.DEVICE_VIEW,
    response=WindowShownOut,
    summary="Show a maintenance window",
    volatile=VOLATILE,
)
def window_show(request: ApiRequest, window_id: int) -> dict[str, Any]:
    return _shown(queries.windows(scope=request.scope).get(pk=window_id), current_time())


@router.patch(
    "/windows/{window_id}",
    allow=Permission.WINDOW_CHANGE,
    response=WindowShownOut,
    summary="Change a maintenance window",
)
def window_change(request: ApiRequest, window_id: int, body: WindowChangeIn) -> dict[str, Any]:
    scope, now = request.scope, current_time()
    found = queries.windows(scope=scope).get(pk=window_id)
    return _shown(services.window_change(window=found, scope=scope, now=now, **body.model_dump(exclude_none=True)), now)


@router.post(
    "/windows/{window_id}/end",
    allow=Permission.WINDOW_CHANGE,
    response=WindowShownOut,
    summary="End a window for good; if it is open, now",
)
def window_end(request: ApiRequest, window_id: int) -> dict[str, Any]:
    scope, now = request.scope, current_time()
    found = queries.windows(scope=scope).get(pk=window_id)
    return _shown(services.window_end(window=found, scope=scope, now=now), now)


@router.get(
    "/tickets/{number}/window",
    allow=Permission.TICKET_VIEW,
    response=TicketWindowOut,
    summary="When work on a ticket is planned, and when its windows open next",
    volatile={"next_times"},
)
def ticket_window_show(request: ApiRequest, number: int) -> dict[str, Any]:
    scope, now = request.scope, current_time()
    return _ticket_window(scope, tickets.ticket(scope=scope, number=number), now)


@router.put(
    "/tickets/{number}/window",
    allow=Permission.TICKET_WORK,
    response=TicketWindowOut,
    summary="Plan work on a ticket into a window; its SLA clocks go on",
)
def ticket_window_plan(request: ApiRequest, number: int, body: TicketWindowIn) -> dict[str, Any]:
    scope, now = request.scope, current_time()
    ticket = tickets.ticket(scope=scope, number=number)
    # Another client's window and one that is not there are the same: none of what the ticket is about (V8).
    window = queries.windows(scope=scope).filter(pk=body.window).first()
    if window is None:
        scope.require(Permission.TICKET_WORK, on=ticket)
        raise ValueError(f"window: {body.window} is none of what ticket {number} is about")
    ticket_plan(ticket=ticket, window=window, starts_at=body.starts_at, minutes=body.minutes, scope=scope, now=now)
    return _ticket_window(scope, ticket, now)


@router.delete("/tickets/{number}/window", allow=Permission.TICKET_WORK, summary="Take back what is planned")
def ticket_window_unplan(request: ApiRequest, number: int) -> tuple[int, None]:
    scope = request.scope
    ticket_unplan(ticket=tickets.ticket(scope=scope, number=number), scope=scope, now=current_time())
    return 204, None


def _ticket_window(scope: Scope, ticket: Ticket, now: datetime) -> dict[str, Any]:
    planned = ticket_planned(scope=scope, ticket=ticket)
    shown = None
    if planned is not None:
        plain = ("starts_at", "minutes", "planned_at", "planned_by")
        shown = {
            "window": planned.window_id,
            "name": planned.window.name,
            "still_open": still_open(planned, now=now),
            **{name: getattr(planned, name) for name in plain},
        }
    return {"planned": shown, "next_times": [_time(one) for one in ticket_windows(scope=scope, ticket=ticket, now=now)]}


def _require_device(scope: Scope, site: Site, device: UUID | None) -> None:
    if device is not None and inventory.devices(scope=scope).get(pk=device).site_id != site.pk:
        raise ValueError(f"device: {device} is not a device of {site.name}")


def _window(window: MaintenanceWindow, now: datetime, book: queries.Blackouts | None = None) -> dict[str, Any]:
    upcoming = next_window([window_rule(window, book)], now)
    plain = (
        "notice_first_only", "missed", "catch_up_hours", "name",
        "purpose", "starts_on", "minutes", "rrule", "notice_hours", "created_at", "created_by", "ended_at",
        "ended_by", "site", "needs_approval", "answer", "answered_at", "answered_by", "answer_reason",
    )  # fmt: skip
    return {
        "id": window.pk,
        "client": window.site.client,
        "device": window.device_id,
        "timezone": window.site.zone,
        "starts_at": f"{window.starts_at:%H:%M}",
        "words": recurrence_words(window.rrule, window.starts_on),
        "next_start": upcoming.start if upcoming else None,
        "next_end": upcoming.end if upcoming else None,
        **{name: getattr(window, name) for name in plain},
    }


def _shown(window: MaintenanceWindow, now: datetime) -> dict[str, Any]:
    rule, counts = window_rule(window), window.ended_at is None
    return {
        **_window(window, now),
        "clock_changes": clock_change_notes(rule, now) if counts else [],
        "blackouts": blackout_notes(rule, now) if counts else [],
    }


def _time(one: Upcoming) -> dict[str, Any]:
    window = one.window
    return {
        "window": window.pk,
        "name": window.name,
        "client": window.site.client,
        "site": window.site,
        "device": window.device_id,
        "timezone": window.site.zone,
        "start": one.occurrence.start,
        "end": one.occurrence.end,
        "cut": one.occurrence.cut,
    }
