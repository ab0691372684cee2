"""Priorities, SLA clocks, routing and ranking. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from forestall.server.alerts.rules import subject_of
from forestall.server.calendar.rules import Pause, Segment, WorkingTime
from forestall.server.checks.result import Risk, Status


class Priority(StrEnum):
    URGENT = "urgent"
    STANDARD = "standard"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 is most urgent."""
        return list(Priority).index(self)


class Urgency(StrEnum):
    """How bad it is, as who asks sees it."""

    EVERYBODY = "everybody"
    ONE = "one"
    HINDERED = "hindered"
    QUESTION = "question"

    @property
    def words(self) -> str:
        return _URGENCY_WORDS[self]


_URGENCY_WORDS = {
    Urgency.EVERYBODY: "Several of us cannot work",
    Urgency.ONE: "One of us cannot work",
    Urgency.HINDERED: "We can work, but something is wrong",
    Urgency.QUESTION: "A question or a wish",
}


class ClockKind(StrEnum):
    RESPONSE = "response"
    """From opening until a person acknowledges, or until it is resolved with verification."""
    RESOLUTION = "resolution"
    """From opening until it is resolved; stands still while waiting for the client."""


class ClockState(StrEnum):
    RUNNING = "running"
    RESTING = "resting"
    """Outside working hours."""
    PAUSED = "paused"
    """Waiting for the client."""
    BREACHED = "breached"
    """Past its time, and not stopped yet."""
    KEPT = "kept"
    """Stopped in time."""
    MISSED = "missed"
    """Stopped too late."""


REQUEST_KIND = "request"
"""Kind of a ticket that a person opened; every other kind is a kind of check."""

DEFAULT_TARGETS: dict[Priority, tuple[int, int]] = {
    # Working minutes until response and until resolution. The response targets are the field's default
    # (urgent < 4 h, standard < 8 h); resolution allows the same again for urgent, about three working days for
    # standard and about two weeks for low.
    Priority.URGENT: (4 * 60, 8 * 60),
    Priority.STANDARD: (8 * 60, 24 * 60),
    Priority.LOW: (16 * 60, 80 * 60),
}

WARNINGS = (50, 75, 90, 100)
"""Per cent of an SLA time at which people are told; 100 is the breach."""

AT_RISK_PERCENT = 50

OUTAGE_KINDS = frozenset({"offline", "service_down", "disk_space", "inodes", "memory"})
"""Kinds whose failure stops a machine from serving."""

SERVING_ROLES = frozenset({"server", "network", "cloud"})
"""Device roles on which several people depend."""


def priority_of(*, risk: Risk, status: Status, kind: str, device_role: str) -> Priority:
    """How urgent a ticket is.

    Urgent: critical risk, or a machine that many depend on has stopped serving. Low: low risk, or medium risk that
    only warns or lost its proof. Standard: the rest.
    """
    if risk is Risk.CRITICAL:
        return Priority.URGENT
    if kind in OUTAGE_KINDS and status is Status.FAIL and device_role in SERVING_ROLES and risk is Risk.HIGH:
        return Priority.URGENT
    if risk is Risk.LOW or (risk is Risk.MEDIUM and status is not Status.FAIL):
        return Priority.LOW
    return Priority.STANDARD


REQUEST_LEVELS: dict[Urgency, tuple[Priority, Risk]] = {
    Urgency.EVERYBODY: (Priority.URGENT, Risk.HIGH),
    Urgency.ONE: (Priority.STANDARD, Risk.MEDIUM),
    Urgency.HINDERED: (Priority.STANDARD, Risk.LOW),
    Urgency.QUESTION: (Priority.LOW, Risk.LOW),
}


def priority_of_request(urgency: Urgency) -> tuple[Priority, Risk]:
    """How urgent a request is, and the risk by which it is routed and told.

    The client says how bad it is, the rule says what that means: the same words are the same priority for everybody.
    """
    return REQUEST_LEVELS[urgency]


RATING_CHANGEABLE = timedelta(days=14)
"""So long after it was given a rating may be changed by who gave it."""

REOPENABLE = timedelta(days=30)
"""So long after it was done the client may open a request again; later it is a new one."""


def public_title(*, kind: str, title: str) -> str:
    """A ticket's title as the client reads it: their own words, or what a check looks at without its target, which
    may be the name of an account or of a program."""
    return title if kind == REQUEST_KIND else subject_of(kind=kind, target="")


def rating_is_open(*, given_at: datetime | None, now: datetime) -> bool:
    """Whether a done ticket may be rated now, or its rating changed."""
    return given_at is None or now - given_at <= RATING_CHANGEABLE


def has_lapsed(*, answer_by: datetime | None, now: datetime) -> bool:
    """Whether a question to the client can no longer be answered."""
    return answer_by is not None and answer_by <= now


def sla_targets(*, policies: Mapping[Priority, tuple[int, int]], priority: Priority) -> tuple[int, int]:
    """Working minutes until response and until resolution: the client's own, else the defaults."""
    return policies.get(priority, DEFAULT_TARGETS[priority])


@dataclass(frozen=True, slots=True)
class Clock:
    """An SLA clock as the rules see it. Times are aware datetimes; ``total_seconds`` is working time."""

    kind: ClockKind
    started_at: datetime
    total_seconds: int
    stopped_at: datetime | None = None
    pauses: tuple[Pause, ...] = ()


@dataclass(frozen=True, slots=True)
class ClockView:
    """An SLA clock as people see it."""

    kind: ClockKind
    used_seconds: float
    total_seconds: int
    percent: float
    """Used of total; above 100 once breached."""
    due_at: datetime | None
    """When it will be, or was, used up (UTC); None while it is paused without end."""
    state: ClockState
    resumes_at: datetime | None
    """When it counts again (UTC): outside working hours only."""
    text: str
    """``2 h 10 min left, resumes Monday 09:00``."""
    note: str = ""
    """What is missing from the calendar it counts by; empty when nothing is."""

    @property
    def left_seconds(self) -> float:
        """Working time left; below zero once breached."""
        return self.total_seconds - self.used_seconds


def clock_view(*, clock: Clock, work: WorkingTime, now: datetime) -> ClockView:
    """What the clock shows at ``now``. The target is "less than": at 100 % it is breached."""
    until = clock.stopped_at if clock.stopped_at is not None else now
    used = work.seconds_between(clock.started_at, until, clock.pauses)
    due = work.due_at(clock.started_at, clock.total_seconds, clock.pauses)
    state = _state(clock, work, used, until)
    resumes = work.resumes_at(now, clock.pauses) if state is ClockState.RESTING else None
    return ClockView(
        kind=clock.kind,
        used_seconds=used,
        total_seconds=clock.total_seconds,
        percent=round(100 * used / clock.total_seconds, 1),
        due_at=due,
        state=state,
        resumes_at=resumes,
        text=_text(clock, state, used, resumes, work.timezone, now),
        note=work.note,
    )


def used_percent(*, clock: Clock, work: WorkingTime, now: datetime) -> float:
    """Used of a clock's total, as ``clock_view`` says it, without the rest of what that looks for."""
    until = clock.stopped_at if clock.stopped_at is not None else now
    return 100 * work.seconds_between(clock.started_at, until, clock.pauses) / clock.total_seconds


def _state(clock: Clock, work: WorkingTime, used: float, until: datetime) -> ClockState:
    late = used >= clock.total_seconds
    if clock.stopped_at is not None:
        return ClockState.MISSED if late else ClockState.KEPT
    if late:
        return ClockState.BREACHED
    if any(pause.start <= until and (pause.end is None or until < pause.end) for pause in clock.pauses):
        return ClockState.PAUSED
    return ClockState.RUNNING if work.resumes_at(until) == until else ClockState.RESTING


def _text(clock: Clock, state: ClockState, used: float, resumes: datetime | None, timezone: str, now: datetime) -> str:
    left = clock.total_seconds - used
    if state is ClockState.KEPT:
        return f"kept: {span(used)} of {span(clock.total_seconds)}"
    if state is ClockState.MISSED:
        return f"missed by {span(-left)}"
    if state is ClockState.BREACHED:
        return f"breached by {span(-left)}" if -left >= 60 else "breached"
    if state is ClockState.PAUSED:
        why = next(pause.why for pause in clock.pauses if pause.end is None or now < pause.end)
        return f"{span(left)} left, paused: {why}"
    if state is ClockState.RESTING and resumes is not None:
        return f"{span(left)} left, resumes {day_and_time(resumes, timezone, now)}"
    return f"{span(left)} left"


def span(seconds: float) -> str:
    """Working time in words: ``2 h 10 min``, ``45 min``, ``under a minute``. Hours, never days: a working day is not
    the same length for every client."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return "under a minute"
    hours, rest = divmod(minutes, 60)
    if not hours:
        return f"{rest} min"
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def day_and_time(at: datetime, timezone: str, now: datetime) -> str:
    """``09:00`` today, ``Monday 09:00`` within six days, else ``Mon 30 Nov 09:00``; in the client's time zone."""
    zone = ZoneInfo(timezone)
    local, today = at.astimezone(zone), now.astimezone(zone).date()
    ahead = (local.date() - today).days
    if ahead == 0:
        return f"{local:%H:%M}"
    if 0 < ahead < 7:
        return f"{local:%A %H:%M}"
    return f"{local:%a} {local.day} {local:%b %H:%M}"


def clock_explain(*, clock: Clock, work: WorkingTime, now: datetime) -> list[Segment]:
    """Every minute from the clock's start to its stop (or ``now``), with why it counted or not."""
    until = clock.stopped_at if clock.stopped_at is not None else now
    return work.explain(clock.started_at, until, clock.pauses)


def warning_due(*, percent: float, warned: int) -> int | None:
    """The highest warning step that is reached and was not given yet; None when there is none.

    After an outage of the server several steps may be due at once: only the highest is worth telling.
    """
    reached = [step for step in WARNINGS if warned < step <= percent]
    return reached[-1] if reached else None


@dataclass(frozen=True, slots=True)
class Routing:
    """A routing rule; an empty field takes everything."""

    owner_id: int
    client_id: object | None = None
    site_id: object | None = None
    kind: str = ""
    minimum_risk: Risk | None = None
    order: int = 0
    """Breaks ties; lower first."""


def owner_by_rules(
    *, rules: Sequence[Routing], client_id: object, site_id: object, kind: str, risk: Risk
) -> int | None:
    """The owner of the most particular rule that takes this: site before client, then kind, then risk."""
    ordered = routing_order(rules=dict(enumerate(rules)), client_id=client_id, site_id=site_id, kind=kind, risk=risk)
    return rules[ordered[0]].owner_id if ordered else None


def routing_order(
    *, rules: Mapping[int, Routing], client_id: object, site_id: object, kind: str, risk: Risk
) -> list[int]:
    """Keys of the rules that take this, the most particular first."""
    fitting = {
        key: rule
        for key, rule in rules.items()
        if rule.client_id in {None, client_id}
        and rule.site_id in {None, site_id}
        and rule.kind in {"", kind}
        and (rule.minimum_risk is None or risk.rank <= rule.minimum_risk.rank)
    }
    return sorted(
        fitting,
        key=lambda key: (
            fitting[key].site_id is None,
            fitting[key].client_id is None,
            not fitting[key].kind,
            fitting[key].minimum_risk is None,
            fitting[key].order,
            key,
        ),
    )


def rank_key(*, priority: Priority, view: ClockView, opened_at: datetime) -> tuple[int, float, int, datetime]:
    """Sort key of the queue, first is next: breached, then what runs, then what is paused; within these the least
    working time left, counted heavier for urgent work, then the older."""
    group = {ClockState.BREACHED: 0, ClockState.PAUSED: 2}.get(view.state, 1)
    weight = {Priority.URGENT: 1.0, Priority.STANDARD: 2.0, Priority.LOW: 4.0}[priority]
    left = view.left_seconds * weight if view.left_seconds > 0 else view.left_seconds / weight
    return (group, left, priority.rank, opened_at)


def rank_reason(*, priority: Priority, view: ClockView) -> str:
    """Why a ticket stands where it stands, in words."""
    return f"{priority}; {view.kind}: {view.text}"


def next_step(*, state: str, owner: bool) -> str:
    """What a person has to do next with a ticket in this state."""
    if state == "open":
        return "acknowledge" if owner else "take over: it has no owner"
    return {
        "acknowledged": "start work",
        "in_progress": "fix it; the check's pass resolves it",
        "waiting": "hear from the client",
    }.get(state, "nothing")
