"""Blackouts, how long windows may be, secret addresses of one's own calendar, and the calendar behind one."""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from allauth.core.internal import ratelimit
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseNotFound
from ninja import Field
from pydantic import StringConstraints

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.declared import DECLARED
from forestall.server.api.paging import Page, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import SIGNED_IN, ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.calendar import feeds, queries, services
from forestall.server.calendar.ics import calendar_file
from forestall.server.calendar.models import Blackout, CalendarFeed, WindowLimit
from forestall.server.calendar.queries import blackout_rule
from forestall.server.calendar.recurrence import blackout_words
from forestall.server.calendar.windows import LONGEST_MINUTES
from forestall.server.clients.queries import served, sites_served
from forestall.server.database.binding import bind
from forestall.server.people import queries as people
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission, Scope

router = Routes(tags=["calendar"])

Clock = Annotated[str, StringConstraints(max_length=5)]


class BlackoutOut(Schema):
    id: int
    why: str
    client: Named | None = Field(description="Null: every client.")
    site: Named | None = Field(description="Null: every site.")
    starts_on: date
    starts_at: str
    ends_on: date
    ends_at: str
    yearly: bool
    words: str = Field(description="`from 20 December 18:00 until 3 January 08:00, every year from 2026`.")
    created_at: datetime
    created_by: str
    ended_at: datetime | None
    ended_by: str


class BlackoutIn(Schema):
    why: str = Field(max_length=200, description="Shown wherever a window stays shut.")
    client: UUID | None = Field(None, description="Null, with no site: every client.")
    site: UUID | None = None
    starts_on: date
    starts_at: Clock = Field("00:00", description="The wall clock of each site.")
    ends_on: date
    ends_at: Clock = Field("00:00", description="From here on windows open again.")
    yearly: bool = Field(default=False, description="The same days every year.")


class WindowLimitOut(Schema):
    client: Named
    site: Named | None = Field(description="Null: every site that has none of its own.")
    longest_minutes: int
    set_at: datetime
    set_by: str


class WindowLimitIn(Schema):
    longest_minutes: int | None = Field(None, ge=1, le=LONGEST_MINUTES, description="Null: no limit any more.")
    site: UUID | None = None


class CalendarFeedOut(Schema):
    id: int
    name: str
    portal: bool = Field(description="Whether it shows what the portal shows.")
    client: Named | None = Field(description="Null: wherever its person may.")
    site: Named | None
    created_at: datetime
    expires_at: datetime | None = Field(description="With the token that made it; null: never.")
    last_used_at: datetime | None = Field(description="To within five minutes.")
    revoked_at: datetime | None


class NewFeedOut(CalendarFeedOut):
    address: str = Field(description="Shown once. Whoever has it reads the calendar.")


class CalendarFeedIn(Schema):
    name: str = Field(min_length=1, max_length=100, description="Which program reads it.", examples=["my phone"])
    portal: bool = Field(default=False, description="What the portal shows, as to the client's own people.")
    client: UUID | None = Field(None, description="Only there.")
    site: UUID | None = Field(None, description="Only there.")


@router.get(
    "/blackouts",
    allow=Permission.DEVICE_VIEW,
    response=Page[BlackoutOut],
    summary="List the blackouts that count where you see windows",
)
def blackout_list(
    request: ApiRequest,
    paging: PagingQuery,
    client: UUID | None = None,
    ended: bool = False,  # noqa: FBT001, FBT002 - a query parameter
) -> dict[str, Any]:
    found = queries.blackouts(scope=request.scope)
    if client is not None:
        found = found.filter(client=client) | found.filter(client=None)
    found = found.exclude(ended_at=None) if ended else found.filter(ended_at=None)
    return page(found, shape=_blackout, cursor=paging.cursor, limit=paging.limit, order=("starts_on", "pk"))


@router.post(
    "/blackouts", allow=Permission.WINDOW_CHANGE, response={201: BlackoutOut}, summary="Open no window for a time"
)
def blackout_create(request: ApiRequest, body: BlackoutIn) -> tuple[int, dict[str, Any]]:
    client, site = _where(request.scope, body.client, body.site)
    made = services.blackout_add(
        client=client,
        site=site,
        scope=request.scope,
        now=current_time(),
        **body.model_dump(exclude={"client", "site"}),
    )
    return 201, _blackout(made)


@router.post(
    "/blackouts/{blackout_id}/end",
    allow=Permission.WINDOW_CHANGE,
    response=BlackoutOut,
    summary="Take a blackout back from now on",
)
def blackout_end(request: ApiRequest, blackout_id: int) -> dict[str, Any]:
    found = queries.blackouts(scope=request.scope).get(pk=blackout_id)
    return _blackout(services.blackout_end(blackout=found, scope=request.scope, now=current_time()))


@router.get(
    "/clients/{client_id}/window-limits",
    allow=Permission.DEVICE_VIEW,
    response=list[WindowLimitOut],
    summary="How long windows of a client may be at most",
)
def window_limit_list(request: ApiRequest, client_id: UUID) -> list[WindowLimit]:
    client = people.clients(scope=request.scope).get(pk=client_id)
    return list(queries.window_limits(scope=request.scope).filter(client=client).order_by("site__name"))


@router.put(
    "/clients/{client_id}/window-limits",
    allow=Permission.WINDOW_CHANGE,
    response=list[WindowLimitOut],
    summary="Agree how long windows of a client, or of one site, may be at most",
)
def window_limit_set(request: ApiRequest, client_id: UUID, body: WindowLimitIn) -> list[WindowLimit]:
    client = people.clients(scope=request.scope).get(pk=client_id)
    site = None if body.site is None else sites_served(scope=request.scope).get(pk=body.site, client=client)
    services.window_limit_set(
        client=client, site=site, minutes=body.longest_minutes, scope=request.scope, now=current_time()
    )
    return window_limit_list(request, client_id)


@router.get(
    "/calendar-feeds",
    allow=SIGNED_IN,
    response=Page[CalendarFeedOut],
    summary="List the secret addresses of your calendar, newest first",
)
def calendar_feed_list(request: ApiRequest, paging: PagingQuery) -> dict[str, Any]:
    return page(queries.feeds_own(scope=request.scope), shape=_feed, cursor=paging.cursor, limit=paging.limit)


@router.post(
    "/calendar-feeds",
    allow=SIGNED_IN,
    response={201: NewFeedOut},
    summary="Make a secret address of your calendar for another program: shown this once",
)
def calendar_feed_create(request: ApiRequest, body: CalendarFeedIn) -> tuple[int, dict[str, Any]]:
    client, site = _where(request.scope, body.client, body.site)
    made, secret = feeds.feed_make(
        person=request.person,
        name=body.name,
        portal=body.portal,
        client=client,
        site=site,
        issuer=request.token,
        scope=request.scope,
        now=current_time(),
    )
    return 201, {**_feed(made), "address": feeds.feed_address(request, secret)}


@router.delete("/calendar-feeds/{feed_id}", allow=SIGNED_IN, summary="Revoke an address of your calendar")
def calendar_feed_revoke(request: ApiRequest, feed_id: int) -> tuple[int, None]:
    feed = queries.feeds_own(scope=request.scope).get(pk=feed_id)
    feeds.feed_revoke(feed=feed, scope=request.scope, now=current_time())
    return 204, None


@router.get(
    "/calendar.ics",
    files="text/calendar",
    allow=Permission.DEVICE_VIEW,
    summary="Windows, blackouts and closed days as a calendar file (RFC 5545)",
)
def calendar_download(request: ApiRequest) -> HttpResponse:
    entries = feeds.calendar_entries(scope=request.scope, permission=Permission.DEVICE_VIEW, now=current_time())
    return _file(calendar_file(entries, name="Forestall"))


def _where(scope: Scope, client: UUID | None, site: UUID | None) -> tuple[Client | None, Site | None]:
    place = None if site is None else sites_served(scope=scope).get(pk=site)
    of = None if client is None else served(scope=scope).get(pk=client)
    if place is not None and of is not None and place.client_id != of.pk:
        raise ValueError(f"site: {place} is no site of {of}")
    return of, place


def _blackout(row: Blackout) -> dict[str, Any]:
    plain = ("why", "client", "site", "starts_on", "ends_on", "yearly", "created_at", "created_by", "ended_at",
             "ended_by")  # fmt: skip
    return {
        "id": row.pk,
        "starts_at": f"{row.starts_at:%H:%M}",
        "ends_at": f"{row.ends_at:%H:%M}",
        "words": blackout_words(blackout_rule(row)),
        **{name: getattr(row, name) for name in plain},
    }


def _feed(row: CalendarFeed) -> dict[str, Any]:
    plain = ("name", "portal", "client", "site", "created_at", "expires_at", "last_used_at", "revoked_at")
    return {"id": row.pk, **{name: getattr(row, name) for name in plain}}


# --- the calendar behind a secret address ---------------------------------------------------------------------

WRONG_TRIES = {"calendar-feed": "30/m/ip"}
"""A secret has 256 random bits, so nobody finds one; this keeps those who try from costing anything."""

SECRET_ADDRESS = "the secret in the address, of a person whose scope is read afresh"  # noqa: S105 - words


def calendar_feed(request: HttpRequest, secret: str) -> HttpResponse:
    """The calendar under a secret address. One answer for what is wrong, revoked, ended, or shows nothing any more.

    The address is a secret: it stands in no log of ours (V19).
    """
    if request.method not in {"GET", "HEAD"}:
        return _unlogged(HttpResponseNotAllowed(["GET", "HEAD"]))
    now = current_time()
    feed = feeds.feed_of(secret=secret, now=now)
    content = None
    if feed is not None:
        bind(feeds.feed_scope(feed=feed, now=now))
        content = feeds.feed_file(feed=feed, now=now, site_url=getattr(settings, "PUBLIC_URL", None) or "")
    if content is None:
        usage = ratelimit.consume(request, app="forestall", action="calendar-feed", config=WRONG_TRIES, limit_get=True)
        if usage is None:
            return _unlogged(HttpResponse("Too many tries. Wait a minute.\n", status=429, content_type="text/plain"))
        return _unlogged(HttpResponseNotFound("There is no calendar under this address.\n", content_type="text/plain"))
    answer = _file(content)
    if request.headers.get("If-None-Match") == answer["ETag"]:
        same = HttpResponse(status=304)
        same["ETag"] = answer["ETag"]
        return same
    return answer


setattr(calendar_feed, DECLARED, SECRET_ADDRESS)


def _file(content: bytes) -> HttpResponse:
    answer = HttpResponse(content, content_type="text/calendar; charset=utf-8")
    answer["Content-Disposition"] = 'inline; filename="forestall.ics"'
    answer["Cache-Control"] = "private, no-cache"
    answer["ETag"] = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    answer["Referrer-Policy"] = "no-referrer"
    return answer


def _unlogged(answer: HttpResponse) -> HttpResponse:
    # Django writes the address of a refusal into its log; this one holds the secret, or what somebody took for it.
    answer._has_been_logged = True  # type: ignore[attr-defined]
    answer["Cache-Control"] = "no-store"
    return answer
