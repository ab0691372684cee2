"""Secret addresses of calendars, and what stands in them. Whoever has an address reads the calendar, so it is kept like
a token: as a digest alone."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models import Q
from django.http import HttpRequest

from forestall.server.calendar import queries
from forestall.server.calendar.blackouts import closed_times
from forestall.server.calendar.ics import MOST_EVENTS, Entry, calendar_file, window_uid
from forestall.server.calendar.models import Blackout, CalendarFeed, ClosedDay, MaintenanceWindow
from forestall.server.calendar.queries import Upcoming, blackout_rule, upcoming
from forestall.server.calendar.recurrence import blackout_words, recurrence_words
from forestall.server.calendar.rules import CalendarError
from forestall.server.people.grants import concerned
from forestall.server.people.models import ApiToken, Client, Person, Site
from forestall.server.people.queries import scope_of
from forestall.server.people.record import Act, act_record
from forestall.server.people.rules import within
from forestall.server.people.scope import EVERYWHERE, Permission, Place, Scope
from forestall.server.people.services import token_digest
from forestall.server.people.voice import reading_scope

MOST = 20
"""Addresses of one person that are good at the same time."""
LAST_USED_GRAIN = timedelta(minutes=5)
PREFIX = "cal_"
BACK, AHEAD = timedelta(days=60), timedelta(days=400)
"""How much of the past and of the future a calendar holds."""


@transaction.atomic
def feed_make(
    *,
    person: Person,
    name: str,
    portal: bool,
    client: Client | None = None,
    site: Site | None = None,
    issuer: ApiToken | None = None,
    scope: Scope,
    now: datetime,
) -> tuple[CalendarFeed, str]:
    """A new address of one's own calendar: its row, and the secret in it, which nobody sees a second time.

    ``portal``: what the portal shows, else what the console does. ``client`` or ``site`` (visible to ``scope``) cut it
    down. ``issuer``: the API token that asks: what it makes stays within its place, and ends with it. CalendarError.
    """
    client = client or (site.client if site is not None else None)
    if not name.strip():
        raise CalendarError("name: say which program will read it")
    place = _place(client, site)
    permission = Permission.PORTAL_VIEW if portal else Permission.DEVICE_VIEW
    if (scope.place(permission) & place).is_empty:
        at = f" at {site or client}" if client else ""
        raise CalendarError(f"place: you see no {'portal' if portal else 'windows'}{at}")
    if issuer is not None and not within(place, _place(issuer.client, issuer.site)):
        raise CalendarError(f"place: this token is for {issuer.site or issuer.client} only; name that, or a part of it")
    Person.objects.select_for_update().get(pk=person.pk)
    if CalendarFeed.objects.filter(person=person, revoked_at=None).exclude(expires_at__lte=now).count() >= MOST:
        raise CalendarError(f"feeds: {MOST} addresses are good at the moment; revoke some first")
    secret = PREFIX + secrets.token_urlsafe(32)
    made = CalendarFeed.objects.create(
        person=person,
        name=name.strip()[:100],
        digest=token_digest(secret),
        portal=portal,
        client=client,
        site=site,
        created_at=now,
        expires_at=None if issuer is None else issuer.expires_at,
    )
    _recorded(made, scope, now, made=True)
    return made, secret


@transaction.atomic
def feed_revoke(*, feed: CalendarFeed, scope: Scope, now: datetime) -> None:
    """Nothing is read under this address any more. Twice changes nothing. One's own alone."""
    found = CalendarFeed.objects.select_related("person", "client", "site").get(pk=feed.pk, person=scope.person_id)
    if CalendarFeed.objects.filter(pk=found.pk, revoked_at=None).update(revoked_at=now):
        _recorded(found, scope, now, made=False)


def feed_of(*, secret: str, now: datetime) -> CalendarFeed | None:
    """The address with this secret; None when it is nobody's, was revoked, has ended, or its person is switched off."""
    found = (
        CalendarFeed.objects.select_related("person", "client", "site")
        .filter(digest=token_digest(secret), revoked_at=None)
        .first()
    )
    if found is None or not found.person.is_active or (found.expires_at is not None and found.expires_at <= now):
        return None
    if found.last_used_at is None or now - found.last_used_at > LAST_USED_GRAIN:
        try:
            CalendarFeed.objects.filter(pk=found.pk).update(last_used_at=now)
        except OperationalError:
            # A full disk, above all: whoever reads the calendar needs it all the same.
            return found
    return found


def feed_scope(*, feed: CalendarFeed, now: datetime) -> Scope:
    """What the address shows at this moment: what its person may see now, cut down to what it was made for."""
    return scope_of(feed.person, now=now).narrowed(place=_place(feed.client, feed.site))


def feed_address(request: HttpRequest, secret: str) -> str:
    """The address that another program is given."""
    path = f"/calendar/feed/{secret}.ics"
    public: str | None = getattr(settings, "PUBLIC_URL", None)
    return f"{public}{path}" if public else request.build_absolute_uri(path)


# --- what stands in a calendar --------------------------------------------------------------------------------


def feed_file(*, feed: CalendarFeed, now: datetime, site_url: str = "") -> bytes | None:
    """The calendar under an address, as bytes of RFC 5545; None when its person may see nothing of it any more."""
    scope = feed_scope(feed=feed, now=now)
    scope = reading_scope(scope) if feed.portal else scope
    permission = Permission.PORTAL_VIEW if feed.portal else Permission.DEVICE_VIEW
    if scope.place(permission).is_empty:
        return None
    entries = calendar_entries(scope=scope, permission=permission, now=now, site_url=site_url)
    where = feed.site or feed.client
    return calendar_file(entries, name=f"Forestall: {where}" if where else "Forestall")


def calendar_entries(*, scope: Scope, permission: Permission, now: datetime, site_url: str = "") -> list[Entry]:
    """Windows, blackouts and closed days that ``scope`` may see with this permission, the nearest events first to
    stay when there are more than ``MOST_EVENTS``; in order. ``site_url``: of the console, for links."""
    since, until = now - BACK, now + AHEAD
    is_portal = permission is Permission.PORTAL_VIEW
    seen = queries.windows_for_client(scope=scope) if is_portal else queries.windows(scope=scope)
    found = seen.filter(Q(ended_at=None) | Q(ended_at__gt=since)).exclude(answer="declined")
    times = upcoming(windows=found, since=since, until=until)
    # Further away than the nearest so many: a program asks again long before they matter.
    times = sorted(times, key=lambda one: abs(one.occurrence.start - now))[:MOST_EVENTS]
    entries = [_window_entry(one, site_url, is_portal=is_portal) for one in times]
    entries += _blackout_entries(queries.blackouts(scope=scope, by=permission), since, until)
    closed = queries.closed_days(scope=scope).filter(client__in=scope.place(permission).touched_clients)
    if scope.place(permission).everywhere:
        closed = queries.closed_days(scope=scope)
    entries += _closed_entries(closed.filter(day__gte=since.date(), day__lte=until.date()).select_related("client"))
    return sorted(entries, key=lambda one: (f"{one.start:%Y%m%d%H%M}", one.uid))


def _window_entry(one: Upcoming, site_url: str, *, is_portal: bool) -> Entry:
    window, occurrence = one.window, one.occurrence
    site = window.site
    said = [
        f"{recurrence_words(window.rrule, window.starts_on)}, {window.starts_at:%H:%M} ({site.zone})",
        window.purpose,
        f"It closes early: {occurrence.cut}." if occurrence.cut else "",
        "Only proposed: the client has not approved it." if _is_proposed(window) else "",
    ]
    path = "/portal/calendar/" if is_portal else f"/windows/{window.pk}/"
    return Entry(
        uid=window_uid(window.pk, occurrence.start),
        title=window.name if is_portal else f"{window.name} ({site.client.name})",
        start=occurrence.start,
        end=occurrence.end,
        category="Maintenance window",
        changed_at=window.changed_at or window.created_at,
        text="\n".join(line for line in said if line),
        where=f"{site.client.name}, {site.name}",
        url=f"{site_url}{path}" if site_url else "",
        status="TENTATIVE" if _is_proposed(window) else "CONFIRMED",
        sequence=0 if window.changed_at is None else int(window.changed_at.timestamp() // 60) % 2**31,
    )


def _is_proposed(window: MaintenanceWindow) -> bool:
    return window.needs_approval and not window.answer


def _blackout_entries(rows: Iterable[Blackout], since: datetime, until: datetime) -> list[Entry]:
    found = []
    for row in rows:
        rule = blackout_rule(row)
        zone_name = row.site.zone if row.site else row.client.timezone if row.client else ""
        for one in closed_times([rule], zone_name or "UTC", since, until):
            # Of every client: at each site by its own wall clock, so no instant is right for all.
            start, end = (at if zone_name else at.replace(tzinfo=None) for at in (one.start, one.end))
            found.append(
                Entry(
                    uid=f"blackout-{row.pk}-{one.start:%Y%m%d}@forestall",
                    title=f"No work: {row.why}",
                    start=start,
                    end=end,
                    category="Blackout",
                    changed_at=row.ended_at or row.created_at,
                    text=f"No window is open {blackout_words(rule)}.",
                    where=str(row.site or row.client or ""),
                )
            )
    return found


def _closed_entries(rows: Iterable[ClosedDay]) -> list[Entry]:
    return [
        Entry(
            uid=f"closed-{row.client_id}-{row.day:%Y%m%d}@forestall",
            title=f"Closed: {row.why} ({row.client.name})",
            start=row.day,
            end=row.day + timedelta(days=1),
            category="Closed",
            # A closed day is set, never changed: its own day is as good a mark as any, and stays the same.
            changed_at=datetime.combine(row.day, datetime.min.time(), UTC),
            where=row.client.name,
        )
        for row in rows
    ]


def _place(client: Client | None, site: Site | None) -> Place:
    if site is not None:
        return Place(sites={site.pk: site.client_id})
    return EVERYWHERE if client is None else Place(clients=frozenset({client.pk}))


def _recorded(feed: CalendarFeed, scope: Scope, now: datetime, *, made: bool) -> None:
    permission = Permission.PORTAL_VIEW if feed.portal else Permission.DEVICE_VIEW
    shown = {"calendar": feed.name, "portal": feed.portal, "where": str(feed.site or feed.client or "everywhere")}
    act_record(
        clients=concerned(scope.place(permission) & _place(feed.client, feed.site)),
        kind=Act.TOKEN_CHANGED,
        what="calendar address",
        name=feed.person.username,
        before=None if made else shown,
        after=shown if made else None,
        by=scope.who,
        now=now,
    )
