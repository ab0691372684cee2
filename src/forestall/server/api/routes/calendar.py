"""When a client works: hours, closed days, public holidays."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from ninja import Field
from pydantic import StringConstraints

from forestall.server.api.asking import current_time
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.calendar import queries, services
from forestall.server.calendar.rules import DEFAULT_WEEK, Week
from forestall.server.clients.queries import served, sites_served
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, Scope

router = Routes(tags=["calendar"])

PREVIEW_DAYS = 7
FIRST_YEAR, LAST_YEAR = 2000, 2100
Clock = Annotated[str, StringConstraints(max_length=5)]
Hours = dict[str, list[list[Clock]]]


class DayOut(Schema):
    day: date
    words: str = Field(description="`09:00 to 17:30`, `public holiday: Christmas Day`, `closed: move`, `weekend`.")


class WorkingHoursOut(Schema):
    hours: Hours = Field(description="Weekday → spans; a weekday that is not named is free.")
    is_usual: bool = Field(description="Nobody has set any: Monday to Friday 09:00–17:30.")
    timezone: str
    note: str = Field(description="What is missing from the calendar; empty when nothing is.")
    next_days: list[DayOut] = Field(description="Today and six more, in words.")


class WorkingHoursIn(Schema):
    hours: Hours = Field(
        description='`{"monday": [["09:00", "12:30"], ["13:00", "17:30"]], …}`, wall clock of each site.'
    )


class ClosedDayOut(Schema):
    day: date
    why: str


class ClosedDayIn(Schema):
    day: date
    why: str = Field(max_length=100)


class HolidayOut(Schema):
    day: date
    name: str


@router.get(
    "/clients/{client_id}/working-hours",
    allow=Permission.CLIENT_VIEW,
    response=WorkingHoursOut,
    summary="A client's working hours, and its next seven days in words",
    volatile={"next_days"},
)
def working_hours_show(request: ApiRequest, client_id: UUID) -> dict[str, Any]:
    return _hours(served(scope=request.scope).get(pk=client_id), request.scope)


@router.put(
    "/clients/{client_id}/working-hours",
    allow=Permission.CLIENT_CHANGE,
    response=WorkingHoursOut,
    summary="Set a client's working hours",
)
def working_hours_set(request: ApiRequest, client_id: UUID, body: WorkingHoursIn) -> dict[str, Any]:
    client = served(scope=request.scope).get(pk=client_id)
    services.working_week_set(client=client, hours=body.hours, scope=request.scope, now=current_time())
    return _hours(client, request.scope)


@router.get(
    "/clients/{client_id}/closed-days",
    allow=Permission.CLIENT_VIEW,
    response=list[ClosedDayOut],
    summary="The days on which a client is closed besides public holidays, earliest first",
)
def closed_day_list(request: ApiRequest, client_id: UUID, since: date | None = None) -> Any:
    client = served(scope=request.scope).get(pk=client_id)
    found = queries.closed_days(scope=request.scope).filter(client=client)
    return found if since is None else found.filter(day__gte=since)


@router.post(
    "/clients/{client_id}/closed-days",
    allow=Permission.CLIENT_CHANGE,
    response={201: ClosedDayOut},
    summary="Close a client for a day",
)
def closed_day_create(request: ApiRequest, client_id: UUID, body: ClosedDayIn) -> tuple[int, Any]:
    client = served(scope=request.scope).get(pk=client_id)
    return 201, services.closed_day_add(
        client=client, day=body.day, why=body.why, scope=request.scope, now=current_time()
    )


@router.delete("/clients/{client_id}/closed-days/{day}", allow=Permission.CLIENT_CHANGE, summary="Open that day again")
def closed_day_delete(request: ApiRequest, client_id: UUID, day: date) -> tuple[int, None]:
    client = served(scope=request.scope).get(pk=client_id)
    closed = queries.closed_days(scope=request.scope).get(client=client, day=day)
    services.closed_day_remove(closed=closed, scope=request.scope, now=current_time())
    return 204, None


@router.get(
    "/clients/{client_id}/holidays",
    allow=Permission.CLIENT_VIEW,
    response=list[HolidayOut],
    summary="Public holidays of a client, or of one site of it, in a year",
)
def holiday_list(
    request: ApiRequest, client_id: UUID, year: int | None = None, site: UUID | None = None
) -> list[dict[str, Any]]:
    client = served(scope=request.scope).get(pk=client_id)
    asked = current_time().year if year is None else year
    if not FIRST_YEAR <= asked <= LAST_YEAR:
        raise ValueError(f"year: {asked} is not between {FIRST_YEAR} and {LAST_YEAR}")
    if site is None:
        time = queries.working_time(scope=request.scope, client=client)
    else:
        place = sites_served(scope=request.scope).get(pk=site, client=client)
        time = queries.working_time_of_site(scope=request.scope, site=place)
    return [{"day": day, "name": name} for day, name in queries.holidays_of(time, asked)]


def _hours(client: Client, scope: Scope) -> dict[str, Any]:
    week = queries.working_week(scope=scope, client=client)
    time = queries.working_time(scope=scope, client=client)
    today = current_time().astimezone(ZoneInfo(client.timezone)).date()
    days = [today + timedelta(days=number) for number in range(PREVIEW_DAYS)]
    return {
        "hours": (Week.parse(week.hours) if week else DEFAULT_WEEK).plain(),
        "is_usual": week is None,
        "timezone": client.timezone,
        "note": time.note,
        "next_days": [{"day": day, "words": time.day_in_words(day)} for day in days],
    }
