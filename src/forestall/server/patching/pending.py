"""Lists of the updates that wait: by update, by device, by obligation; filtered, counted in the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Case, Count, F, IntegerField, Max, Min, Q, QuerySet, Value, When, Window

from forestall.server.calendar.queries import COUNTING, windows
from forestall.server.patching.models import Deployment, DeploymentState, PatchPolicy
from forestall.server.patching.obligation_queries import SELF, open_deployments
from forestall.server.people.scope import Scope

SHOWS = ("", "late", "misses")
OPEN_STATES = tuple(
    state.value for state in DeploymentState if state.value not in {"verified", "superseded", "withdrawn", "regressed"}
)
RANKS = ("critical", "high", "unrated", "medium", "low")
"""As severities are shown, the worst first. A security update that nobody rated stands beside the high ones."""
_RANK = Case(
    When(severity="critical", then=Value(0)),
    When(severity="high", then=Value(1)),
    When(severity="", security=True, then=Value(2)),
    When(severity="medium", then=Value(3)),
    When(severity="low", then=Value(4)),
    default=Value(5),
    output_field=IntegerField(),
)

_LAST_PAGE = 10**9
"""Beyond this, a page typed into an address is more than the database counts."""
_GROUPS = Window(Count("*"))
"""How many groups there are: said with each, so that a page of them needs no question of its own for the number."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What of the waiting updates is asked for. Empty: everything."""

    client: UUID | None = None
    device: UUID | None = None
    security: bool = False
    show: str = ""
    """``late``, or ``misses``: those that will miss their deadline as things stand."""
    state: str = ""
    provider: str = ""
    obligation: str = ""
    search: str = ""
    """In the package's name, the device's, the client's, a CVE's."""


def waiting(*, scope: Scope, asked: Asked, now: datetime) -> QuerySet[Deployment]:
    """The open deployments that are asked for."""
    found = open_deployments(scope=scope)
    for field, value in (
        ("client", asked.client),
        ("device", asked.device),
        ("state", asked.state),
        ("manager", asked.provider),
        ("bound_by", asked.obligation),
    ):
        if value:
            found = found.filter(**{field: value})
    if asked.security:
        found = found.filter(security=True)
    if asked.show == "late":
        found = found.filter(due_at__lte=now)
    elif asked.show == "misses":
        found = found.filter(misses=True, due_at__gt=now)
    for word in asked.search.split()[:6]:
        found = found.filter(
            Q(name__icontains=word)
            | Q(device__name__icontains=word)
            | Q(client__name__icontains=word)
            | Q(cves__icontains=word)
        )
    return found


def counted(now: datetime) -> dict[str, Any]:
    """What is counted of each group."""
    return {
        "updates": Count("pk"),
        "devices": Count("device", distinct=True),
        "late": Count("pk", filter=Q(due_at__lte=now)),
        "misses": Count("pk", filter=Q(misses=True, due_at__gt=now)),
        "fixes": Count("pk", filter=Q(security=True)),
        "earliest": Min("due_at"),
        "rank": Min(_RANK),
    }


def totals(found: QuerySet[Deployment], now: datetime) -> dict[str, Any]:
    """The numbers over all of them, in one question."""
    return found.order_by().aggregate(
        **counted(now), seen=Max("state_since"), first_provider=Min("manager"), last_provider=Max("manager")
    )


def providers(found: QuerySet[Deployment], whole: dict[str, Any]) -> list[str]:
    """The package managers of all of them; ``whole``: their ``totals``, which spare the question where one is all."""
    first, last = whole["first_provider"], whole["last_provider"]
    if first is None or first == last:
        return [] if first is None else [first]
    return sorted(found.order_by().values_list("manager", flat=True).distinct())


def by_update(found: Any, now: datetime) -> Any:
    """One row for each version of a package, with one of its deployments (``sample``): the latest first, then the
    earliest due, then the worst."""
    states = {f"in_{state}": Count("pk", filter=Q(state=state)) for state in OPEN_STATES}
    return (
        found.order_by()
        .values("manager", "name", "candidate")
        .annotate(**counted(now), **states, sample=Min("pk"), groups=_GROUPS)
        .order_by(F("earliest").asc(nulls_last=True), "rank", "name", "manager", "candidate")
    )


def by_device(found: Any, now: datetime) -> Any:
    """One row for each device."""
    return (
        found.order_by()
        .values("device_id", "device__name", "client__name", "site__name", "device__last_check_in_at")
        .annotate(
            **counted(now),
            blocked=Count("pk", filter=Q(state="blocked")),
            failed=Count("pk", filter=Q(state="failed")),
            reboots=Count("pk", filter=Q(state="pending_reboot")),
            groups=_GROUPS,
        )
        .order_by(F("earliest").asc(nulls_last=True), "rank", "device__name", "device_id")
    )


def by_obligation(found: Any, now: datetime) -> Any:
    """One row for each obligation that binds any of them; the empty slug: none does."""
    return found.order_by().values("bound_by").annotate(**counted(now)).order_by("bound_by")


def lacking(*, scope: Scope, now: datetime) -> list[str]:
    """What none of the updates that will miss their deadlines has, in words: a window, a patch policy. Empty: each of
    both is there for some."""
    found: Any = waiting(scope=scope, asked=Asked(show="misses"), now=now).order_by()
    planned = windows(scope=SELF).filter(COUNTING, Q(ended_at=None) | Q(ended_at__gt=now)).order_by()
    own = Q(device_id=None) | Q(device_id__in=found.values("device_id"))
    policies = PatchPolicy.objects.visible_to(SELF).filter(client__in=found.values("client_id"))
    said = []
    if not planned.filter(own, site__in=found.values("site_id")).exists():
        said.append("no maintenance window is planned")
    if not policies.exists():
        said.append("no patch policy covers them")
    return said


def page_of(groups: Any, number: int, size: int) -> tuple[list[dict[str, Any]], int]:
    """The rows of page ``number`` (from 1; the last one where there are not so many), and how many groups there are."""
    start = (min(max(number, 1), _LAST_PAGE) - 1) * size
    rows = list(groups[start : start + size])
    if rows or not start:
        return rows, rows[0]["groups"] if rows else 0
    total = groups.count()
    last = max(total - 1, 0) // size * size
    return list(groups[last : last + size]), total


def missed_windows(*, scope: Scope, now: datetime) -> list[dict[str, Any]]:
    """For each obligation, what waits beyond its next window, the earliest deadline first. One question."""
    found: Any = waiting(scope=scope, asked=Asked(show="misses"), now=now)
    rows = (
        found.order_by()
        .values("bound_by")
        .annotate(updates=Count("pk"), devices=Count("device", distinct=True), earliest=Min("due_at"))
    )
    return sorted(rows, key=lambda row: row["earliest"])
