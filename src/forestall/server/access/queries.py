"""Reads about access: what changed, which reviews there are, how devices stand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count, Max, Q, QuerySet

from forestall.server.access import rules
from forestall.server.access.models import (
    AccessChange,
    AccessReview,
    AccessSeen,
    ReviewDevice,
    ReviewItem,
    ReviewPlan,
    ReviewState,
)
from forestall.server.checks.result import Status
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.inventory.queries import documents_of
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Scope
from forestall.wire.facts import Access, Account


@dataclass(frozen=True, slots=True)
class ReviewStanding:
    """How one device stands with its access reviews."""

    device_id: UUID
    site_id: UUID
    client_id: UUID
    reviewed_at: datetime | None
    """When every account of it was last signed off."""
    due_at: datetime | None
    """By when it is to be signed off again, or for the first time; None: its accounts are not known."""
    status: Status
    why: str
    href: str


@dataclass(frozen=True, slots=True)
class Plan:
    """How often a device is reviewed: its site's plan, its client's, or the default."""

    every_months: int = rules.EVERY_MONTHS
    answer_days: int = rules.ANSWER_DAYS
    own: ReviewPlan | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """What one review is about: a site with a plan of its own, or the rest of a client."""

    client: Client
    site: Site | None
    plan: Plan
    without_sites: frozenset[UUID] = frozenset()
    """Of a client as a whole: sites that have plans of their own."""

    def holds(self, device: Device) -> bool:
        if self.site is not None:
            return device.site_id == self.site.pk
        return device.client_id == self.client.pk and device.site_id not in self.without_sites


class Plans:
    """All plans in scope, so that many devices are asked about with one query."""

    def __init__(self, rows: Iterable[ReviewPlan]) -> None:
        self._sites: dict[UUID, ReviewPlan] = {}
        self._clients: dict[UUID, ReviewPlan] = {}
        for row in rows:
            if row.site_id is not None:
                self._sites[row.site_id] = row
            else:
                self._clients[row.client_id] = row

    def of(self, *, client_id: UUID, site_id: UUID | None) -> Plan:
        row = self._sites.get(site_id) if site_id is not None else None
        row = row or self._clients.get(client_id)
        return Plan(row.every_months, row.answer_days, row) if row is not None else Plan()

    def sites_of(self, client_id: UUID) -> frozenset[UUID]:
        """Sites of a client that are reviewed on their own."""
        return frozenset(pk for pk, row in self._sites.items() if row.client_id == client_id)


def changes(*, scope: Scope) -> QuerySet[AccessChange]:
    """What changed, the newest first."""
    found: QuerySet[AccessChange] = AccessChange.objects.visible_to(scope).select_related("device", "client")
    return found


def plans(*, scope: Scope) -> QuerySet[ReviewPlan]:
    """Plans that clients and sites have of their own."""
    found: QuerySet[ReviewPlan] = ReviewPlan.objects.visible_to(scope).select_related("client", "site", "assigned_to")
    return found.filter(client__removed_at=None).order_by("client__name", "site__name", "pk")


def reviews(*, scope: Scope) -> QuerySet[AccessReview]:
    """Reviews, the newest first."""
    found: QuerySet[AccessReview] = AccessReview.objects.visible_to(scope)
    return found.select_related("client", "site", "assigned_to")


def reviews_counted(*, scope: Scope) -> QuerySet[AccessReview]:
    """Reviews with the numbers of their accounts: ``asked``, ``open_items``, ``removals``, ``undone``."""
    still = Q(items__gone_at=None)
    undone = Q(items__decision__in=["remove", "change"], items__done_at=None)
    return reviews(scope=scope).annotate(
        asked=Count("items"),
        open_items=Count("items", filter=Q(items__decision="") & still),
        removals=Count("items", filter=Q(items__decision__in=["remove", "change"])),
        undone=Count("items", filter=undone),
    )


def items(*, scope: Scope, review: AccessReview | None = None) -> QuerySet[ReviewItem]:
    """Accounts in reviews, by device and name."""
    found: QuerySet[ReviewItem] = ReviewItem.objects.visible_to(scope).select_related("device", "client", "review")
    return found.filter(review=review) if review is not None else found


def undone(*, scope: Scope) -> QuerySet[ReviewItem]:
    """Accounts that are to be removed or changed, and are as before."""
    return items(scope=scope).filter(decision__in=["remove", "change"], done_at=None)


def reviewed_at(*, scope: Scope, devices: Iterable[UUID] | None = None) -> dict[UUID, datetime]:
    """When each device was last signed off; without those that never were."""
    rows = ReviewDevice.objects.visible_to(scope).filter(signed_at__isnull=False)
    if devices is not None:
        rows = rows.filter(device__in=list(devices))
    return dict(rows.values("device").annotate(at=Max("signed_at")).values_list("device", "at"))


def review_standings(*, scope: Scope, now: datetime, devices: Iterable[UUID] | None = None) -> list[ReviewStanding]:
    """How each approved device stands with its access reviews; of these devices, or of all in scope.

    A fixed number of queries, however many devices there are.
    """
    rows = Device.objects.visible_to(scope).filter(status=DeviceStatus.APPROVED)
    seen = AccessSeen.objects.visible_to(scope)
    todo = undone(scope=scope)
    if devices is not None:
        wanted = list(devices)
        rows, seen, todo = rows.filter(pk__in=wanted), seen.filter(device__in=wanted), todo.filter(device__in=wanted)
    first = dict(seen.values_list("device_id", "first_at"))
    signed = reviewed_at(scope=scope, devices=devices)
    known_plans = Plans(plans(scope=scope))
    open_reviews: dict[tuple[UUID, UUID | None], int] = {
        (client_id, site_id): pk
        for pk, client_id, site_id in AccessReview.objects.visible_to(scope)
        .filter(state=ReviewState.OPEN)
        .values_list("pk", "client_id", "site_id")
    }
    since = now - timedelta(days=rules.FOLLOW_DAYS)
    waiting: dict[UUID, tuple[int, int]] = {
        device_id: (number, late)
        for device_id, number, late in todo.filter(review__state=ReviewState.SIGNED)
        .order_by()
        .values("device_id")
        .annotate(number=Count("pk"), late=Count("pk", filter=Q(decided_at__lte=since)))
        .values_list("device_id", "number", "late")
    }
    found = []
    for device_id, site_id, client_id in rows.order_by("pk").values_list("pk", "site_id", "client_id"):
        plan = known_plans.of(client_id=client_id, site_id=site_id)
        review = open_reviews.get((client_id, site_id))
        if review is None and site_id not in known_plans.sites_of(client_id):
            review = open_reviews.get((client_id, None))
        counts_from = signed.get(device_id) or first.get(device_id)
        due = rules.months_later(counts_from, plan.every_months) if counts_from else None
        number, late = waiting.get(device_id, (0, 0))
        status, why = rules.standing(
            known=device_id in first,
            reviewed_at=signed.get(device_id),
            due_at=due,
            waiting=number,
            late=late,
            open_review=review is not None,
            now=now,
        )
        href = f"/access/reviews/{review}/?device={device_id}" if review else f"/devices/{device_id}/access/"
        found.append(ReviewStanding(device_id, site_id, client_id, signed.get(device_id), due, status, why, href))
    return found


@dataclass(frozen=True, slots=True)
class KnownAccount:
    """An account of a device, as its newest facts tell it."""

    device: Device
    account: Account
    asked: bool
    """Whether reviews ask about it."""


def accounts(*, scope: Scope, devices: Iterable[Device], name: str = "") -> list[KnownAccount]:
    """The accounts of devices, by device and name; only those called ``name`` where one is given."""
    rows = list(devices)
    documents = documents_of(scope=scope, kind=Access, devices=[one.pk for one in rows])
    found = []
    for device in rows:
        document = documents.get(device.pk)
        if document is None:
            continue
        asked = rules.asked_accounts(document)
        found += [
            KnownAccount(device, one, one.name in asked)
            for one in sorted(document.accounts, key=lambda one: one.name)
            if not name or one.name == name
        ]
    return found
