"""Reads of working hours and maintenance windows."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import islice
from uuid import UUID

from django.db.models import Q, QuerySet

from forestall.server.calendar import blackouts as rules_of_blackouts
from forestall.server.calendar.models import (
    Blackout,
    CalendarFeed,
    ClosedDay,
    MaintenanceWindow,
    NoticeWish,
    PlannedWork,
    WindowLimit,
    WorkingWeek,
)
from forestall.server.calendar.rules import DEFAULT_WEEK, CalendarError, Week, WorkingTime, public_holidays
from forestall.server.calendar.windows import (
    Allowed,
    Fate,
    Occurrence,
    Window,
    allowed_at,
    fates,
    next_window,
    occurrences,
    window_at,
)
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission, Scope

log = logging.getLogger(__name__)


def working_times(
    *, scope: Scope, clients: Iterable[Client] = (), sites: Iterable[Site] = ()
) -> dict[UUID, WorkingTime]:
    """Id of the client or site → its working time, in two queries however many there are (load sites with clients).

    A site has its client's hours and closed days, in its own time zone and with its own public holidays.
    """
    places = [Place.of_client(client) for client in clients] + [Place.of_site(site) for site in sites]
    wanted = {place.client_id for place in places}
    weeks = {
        week.client_id: Week.parse(week.hours)
        for week in WorkingWeek.objects.visible_to(scope).filter(client__in=wanted)
    }
    closed: dict[UUID, dict[date, str]] = defaultdict(dict)
    for one in ClosedDay.objects.visible_to(scope).filter(client__in=wanted):
        closed[one.client_id][one.day] = one.why
    times = {}
    for place in places:
        note = ""
        try:
            holidays = public_holidays(place.country, place.region)
        except CalendarError as error:
            # A clock that counts a holiday too many is better than no clock; it says so wherever it is shown.
            log.warning("%s: %s", place.pk, error)
            holidays, note = {}, str(error)
        times[place.pk] = WorkingTime(
            timezone=place.timezone,
            week=weeks.get(place.client_id, DEFAULT_WEEK),
            holidays=holidays,
            closed=closed.get(place.client_id, {}),
            note=note,
        )
    return times


@dataclass(frozen=True, slots=True)
class Place:
    """Where a clock counts: time zone and public holidays."""

    pk: UUID
    client_id: UUID
    timezone: str
    country: str
    region: str

    @classmethod
    def of_client(cls, client: Client) -> Place:
        return cls(client.pk, client.pk, client.timezone, client.country, client.region)

    @classmethod
    def of_site(cls, site: Site) -> Place:
        # A country of its own comes with its own region: a client's Bavaria is no part of Austria.
        at = site if site.country else site.client
        return cls(site.pk, site.client_id, site.zone, at.country, at.region)


def working_time(*, scope: Scope, client: Client) -> WorkingTime:
    """The working time of one client."""
    return working_times(scope=scope, clients=[client])[client.pk]


def working_time_of_site(*, scope: Scope, site: Site) -> WorkingTime:
    """The working time at one site: its client's hours in its own time zone, with its own public holidays."""
    return working_times(scope=scope, sites=[site])[site.pk]


def working_week(*, scope: Scope, client: Client) -> WorkingWeek | None:
    """The hours that were set for a client; None while it has the usual ones (``DEFAULT_WEEK``)."""
    found: WorkingWeek | None = WorkingWeek.objects.visible_to(scope).filter(client=client).first()
    return found


def closed_days(*, scope: Scope) -> QuerySet[ClosedDay]:
    """The closed days that ``scope`` may see, earliest first."""
    found: QuerySet[ClosedDay] = ClosedDay.objects.visible_to(scope)
    return found


def windows(*, scope: Scope) -> QuerySet[MaintenanceWindow]:
    """The maintenance windows that ``scope`` may see, with site and client."""
    found: QuerySet[MaintenanceWindow] = MaintenanceWindow.objects.visible_to(scope).select_related("site__client")
    return found


COUNTING = Q(needs_approval=False) | Q(answer="approved")
"""``windows.window_counts`` as a question to the database."""


BOOK = Scope.system("calendar")
"""Which blackouts count does not depend on who asks: a window is open for everybody, or for nobody."""


@dataclass(frozen=True, slots=True)
class Blackouts:
    """The blackouts of some places, loaded once."""

    everywhere: tuple[rules_of_blackouts.Blackout, ...] = ()
    clients: Mapping[UUID, tuple[rules_of_blackouts.Blackout, ...]] = field(default_factory=dict)
    sites: Mapping[UUID, tuple[rules_of_blackouts.Blackout, ...]] = field(default_factory=dict)

    @classmethod
    def load(cls, clients: Iterable[UUID]) -> Blackouts:
        """Those that count at these clients, in one query; none at all without clients."""
        wanted = set(clients)
        if not wanted:
            return cls()
        rows = Blackout.objects.visible_to(BOOK).filter(Q(client=None) | Q(client__in=wanted))
        everywhere: list[rules_of_blackouts.Blackout] = []
        of_client: dict[UUID, tuple[rules_of_blackouts.Blackout, ...]] = defaultdict(tuple)
        of_site: dict[UUID, tuple[rules_of_blackouts.Blackout, ...]] = defaultdict(tuple)
        for row in rows:
            rule = blackout_rule(row)
            if row.site_id is not None:
                of_site[row.site_id] += (rule,)
            elif row.client_id is not None:
                of_client[row.client_id] += (rule,)
            else:
                everywhere.append(rule)
        return cls(everywhere=tuple(everywhere), clients=dict(of_client), sites=dict(of_site))

    def at(self, client_id: UUID, site_id: UUID) -> tuple[rules_of_blackouts.Blackout, ...]:
        """Those that count at one site."""
        return (*self.everywhere, *self.clients.get(client_id, ()), *self.sites.get(site_id, ()))


def blackout_rule(row: Blackout) -> rules_of_blackouts.Blackout:
    """A blackout as the rules see it."""
    return rules_of_blackouts.Blackout(
        why=row.why,
        first=datetime.combine(row.starts_on, row.starts_at),
        last=datetime.combine(row.ends_on, row.ends_at),
        yearly=row.yearly,
        ended_at=row.ended_at,
        key=row.pk,
    )


def blackouts(*, scope: Scope, by: Permission = Permission.DEVICE_VIEW) -> QuerySet[Blackout]:
    """The blackouts that count where ``scope`` may see windows, with client and site: its own, those of the clients as
    a whole, and those of every client. Those that were taken back included."""
    place = scope.place(by)
    if place.is_empty:
        return Blackout.objects.visible_to(scope, by=by)  # type: ignore[no-any-return]
    here = Q(client__in=place.touched_clients, site=None) | Q(client__in=place.clients) | Q(site__in=list(place.sites))
    found = Blackout.objects.visible_to(BOOK).select_related("client", "site__client")
    return found if place.everywhere else found.filter(Q(client=None) | here)  # type: ignore[no-any-return]


def window_rules(windows: Iterable[MaintenanceWindow]) -> dict[int, Window]:
    """Number of the window → the window as the rules see it, with its blackouts (load them with site and client).

    One query, however many there are; none when there are none.
    """
    rows = list(windows)
    book = Blackouts.load(row.site.client_id for row in rows)
    return {row.pk: _window_rule(row, book) for row in rows}


def window_rule(window: MaintenanceWindow, book: Blackouts | None = None) -> Window:
    """One window as the rules see it, with its blackouts (load it with its site and client); ``book``: where they were
    loaded already. Of many: ``window_rules``."""
    return _window_rule(window, Blackouts.load([window.site.client_id]) if book is None else book)


def _window_rule(window: MaintenanceWindow, book: Blackouts) -> Window:
    return Window(
        name=window.name,
        timezone=window.site.zone,
        first=datetime.combine(window.starts_on, window.starts_at),
        minutes=window.minutes,
        recurrence=window.rrule,
        ended_at=window.ended_at,
        key=window.pk,
        blackouts=book.at(window.site.client_id, window.site_id),
        catch_up_hours=window.catch_up_hours,
    )


def windows_for(*, scope: Scope, site_id: UUID, device_id: UUID | None, since: datetime) -> list[Window]:
    """Windows that cover a device (None: the site as a whole) and were not ended before ``since``, with blackouts.

    One query, and one more where there are windows. Of many devices: ``WindowBook``.
    """
    covering = windows(scope=scope).filter(
        COUNTING, Q(device_id=None) | Q(device_id=device_id), Q(ended_at=None) | Q(ended_at__gt=since), site_id=site_id
    )
    return list(window_rules(covering).values())


@dataclass(frozen=True, slots=True)
class WindowBook:
    """The windows of many devices, loaded once: two queries, however many devices are asked about."""

    sites: Mapping[UUID, list[Window]]
    devices: Mapping[UUID, list[Window]]

    @classmethod
    def load(cls, *, scope: Scope, since: datetime, sites: Iterable[UUID] | None = None) -> WindowBook:
        """The windows that count and were not ended before ``since``; of these sites, or of all that are seen."""
        found = windows(scope=scope).filter(COUNTING, Q(ended_at=None) | Q(ended_at__gt=since))
        rows = list(found if sites is None else found.filter(site__in=list(sites)))
        rules = window_rules(rows)
        of_site: dict[UUID, list[Window]] = defaultdict(list)
        of_device: dict[UUID, list[Window]] = defaultdict(list)
        for row in rows:
            if row.device_id is None:
                of_site[row.site_id].append(rules[row.pk])
            else:
                of_device[row.device_id].append(rules[row.pk])
        return cls(sites=dict(of_site), devices=dict(of_device))

    def covering(self, site_id: UUID, device_id: UUID | None) -> list[Window]:
        """The windows that cover a device."""
        own = [] if device_id is None else self.devices.get(device_id, [])
        return [*self.sites.get(site_id, []), *own]

    def now(self, site_id: UUID, device_id: UUID | None, at: datetime) -> Occurrence | None:
        """As ``window_now``."""
        return window_at(self.covering(site_id, device_id), at)

    def next(self, site_id: UUID, device_id: UUID | None, at: datetime) -> Occurrence | None:
        """As ``window_next``."""
        return next_window(self.covering(site_id, device_id), at)

    def allowed(self, site_id: UUID, device_id: UUID | None, at: datetime) -> Allowed | None:
        """As ``work_allowed``."""
        return allowed_at(self.covering(site_id, device_id), at)


@dataclass(frozen=True, slots=True)
class Upcoming:
    """One time that a window will be, or is, open."""

    window: MaintenanceWindow
    occurrence: Occurrence


MOST_UPCOMING = 500
"""So many times of one window at most: a daily one for more than a year."""


def upcoming(
    *,
    windows: Iterable[MaintenanceWindow],
    since: datetime,
    until: datetime,
    rules: Mapping[int, Window] | None = None,
) -> list[Upcoming]:
    """Every time these windows (loaded with site and client) are open between two instants, the earliest first.

    ``rules``: what ``window_rules`` says of them, where it was asked already.
    """
    rows = list(windows)
    rules = window_rules(rows) if rules is None else rules
    found = [
        Upcoming(window=window, occurrence=occurrence)
        for window in rows
        for occurrence in islice(occurrences(rules[window.pk], since, until), MOST_UPCOMING)
    ]
    return sorted(found, key=lambda one: (one.occurrence.start, one.window.name))


@dataclass(frozen=True, slots=True)
class Shut:
    """One time that a window stays shut, or closes early, because of a blackout."""

    window: MaintenanceWindow
    fate: Fate


def kept_shut(
    *,
    windows: Iterable[MaintenanceWindow],
    since: datetime,
    until: datetime,
    rules: Mapping[int, Window] | None = None,
) -> list[Shut]:
    """Every time between two instants that a blackout takes from these windows, or cuts, the earliest first."""
    rows = list(windows)
    rules = window_rules(rows) if rules is None else rules
    found = [
        Shut(window=window, fate=fate)
        for window in rows
        for fate in islice(fates(rules[window.pk], since, until), MOST_UPCOMING)
        if fate.blackout is not None
    ]
    return sorted(found, key=lambda one: (one.fate.start, one.window.name))


def next_by_client(*, scope: Scope, now: datetime, within: timedelta = timedelta(days=400)) -> dict[UUID, Upcoming]:
    """Client id → the next time one of its windows opens, or the one that is open now. Two queries."""
    found: dict[UUID, Upcoming] = {}
    rows = list(windows(scope=scope).filter(COUNTING, Q(ended_at=None) | Q(ended_at__gt=now)))
    rules = window_rules(rows)
    for window in rows:
        first = next(occurrences(rules[window.pk], now, now + within), None)
        client = window.site.client_id
        if first is not None and (client not in found or first.start < found[client].occurrence.start):
            found[client] = Upcoming(window=window, occurrence=first)
    return found


def work_allowed(*, scope: Scope, site_id: UUID, device_id: UUID | None, now: datetime) -> Allowed | None:
    """Leave to work on a device now; None: it waits for its next window (``window_next``).

    ``caught_up`` is leave for what was missed alone: the caller takes it only for a device on which no work was done
    since ``Allowed.start``, because it was away. Nobody may work in a blackout, caught up or not.
    """
    return allowed_at(windows_for(scope=scope, site_id=site_id, device_id=device_id, since=now), now)


def windows_between(
    *, scope: Scope, site_id: UUID, device_id: UUID | None, since: datetime, until: datetime
) -> list[Occurrence]:
    """Every time a window of the device is open between two instants, the earliest first."""
    found = [
        one
        for window in windows_for(scope=scope, site_id=site_id, device_id=device_id, since=since)
        for one in islice(occurrences(window, since, until), MOST_UPCOMING)
    ]
    return sorted(found, key=lambda one: (one.start, one.end))


def window_now(*, scope: Scope, site_id: UUID, device_id: UUID | None, now: datetime) -> Occurrence | None:
    """The maintenance window that covers a device now; None when there is none."""
    return window_at(windows_for(scope=scope, site_id=site_id, device_id=device_id, since=now), now)


def window_next(*, scope: Scope, site_id: UUID, device_id: UUID | None, now: datetime) -> Occurrence | None:
    """The next maintenance window of a device; None when none is planned within 400 days."""
    return next_window(windows_for(scope=scope, site_id=site_id, device_id=device_id, since=now), now)


def holidays_of(time: WorkingTime, year: int) -> list[tuple[date, str]]:
    """The public holidays of a working time in one year, earliest first."""
    day, found = date(year, 1, 1), []
    while day.year == year:
        name = time.holidays.get(day)
        if name is not None:
            found.append((day, name))
        day += timedelta(days=1)
    return found


def windows_for_client(*, scope: Scope) -> QuerySet[MaintenanceWindow]:
    """The windows that a person of a client may see in the portal (``people.voice.reading_scope``), proposals too."""
    found: QuerySet[MaintenanceWindow] = MaintenanceWindow.objects.visible_to(scope, by=Permission.PORTAL_VIEW)
    return found.select_related("site__client")


def windows_to_answer(*, scope: Scope, now: datetime) -> QuerySet[MaintenanceWindow]:
    """The windows that wait for this person's answer (``portal.approve``), the earliest made first."""
    found: QuerySet[MaintenanceWindow] = MaintenanceWindow.objects.visible_to(scope, by=Permission.PORTAL_APPROVE)
    waiting = found.filter(Q(ended_at=None) | Q(ended_at__gt=now), needs_approval=True, answer="")
    return waiting.select_related("site__client").order_by("created_at", "pk")


def window_limits(*, scope: Scope) -> QuerySet[WindowLimit]:
    """How long windows may be, where that was agreed."""
    found: QuerySet[WindowLimit] = WindowLimit.objects.visible_to(scope).select_related("client", "site")
    return found


def longest_minutes(*, scope: Scope, site: Site) -> int | None:
    """The most that a window of this site may last: the site's own limit, else its client's; None: none was agreed.

    Read as the product itself: a limit of the client binds those, too, who see one site of it.
    """
    del scope  # whoever may plan a window at the site is bound by it
    limits = WindowLimit.objects.visible_to(BOOK).filter(Q(site=site) | Q(site=None), client=site.client_id)
    by_site = {row.site_id: row.longest_minutes for row in limits}
    return by_site.get(site.pk, by_site.get(None))


def planned_work(*, scope: Scope) -> QuerySet[PlannedWork]:
    """Work that is planned into windows, with window, site and client; what was planned otherwise left out."""
    found: QuerySet[PlannedWork] = PlannedWork.objects.visible_to(scope).filter(ended_at=None)
    return found.select_related("window__site__client")


def feeds_own(*, scope: Scope) -> QuerySet[CalendarFeed]:
    """One's own calendar addresses, newest first, the revoked ones included."""
    return CalendarFeed.objects.filter(person=scope.person_id).select_related("client", "site")


def wants_mails(*, scope: Scope) -> bool:
    """Whether this person is told of planned work by mail: their own wish; without one, whether they approve for the
    client."""
    wish = NoticeWish.objects.filter(person=scope.person_id).first()
    return scope.may(Permission.PORTAL_APPROVE) if wish is None else wish.wanted
