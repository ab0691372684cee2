"""Changes of obligations: the clocks of deployments, clients' own rules, exceptions, emergency windows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import transaction

from forestall.server.calendar.models import MaintenanceWindow
from forestall.server.calendar.services import window_create
from forestall.server.evidence.changes import change_record
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.inventory.models import Device
from forestall.server.patching.models import Deployment, ObligationException, ObligationRule
from forestall.server.patching.obligation_queries import (
    AT_ONCE,
    SELF,
    Book,
    Way,
    earlier_versions,
    exceptions,
    known_deployments,
    open_deployments,
)
from forestall.server.patching.obligations import BUILT_IN, ObligationError, Terms, is_slug
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Permission, Scope

LONGEST_EXCEPTION = timedelta(days=366)
EMERGENCY_MINUTES = 120
EMERGENCY_HOUR = 22
"""An emergency window is proposed for the evening (the site's clock) where the deadline leaves one, else for now."""


def obligations_refresh(
    *, device_ids: Collection[UUID] | None = None, client_ids: Collection[UUID] | None = None, now: datetime
) -> int:
    """Bring the clocks of open deployments up to date (``due_at``, ``bound_by``, ``misses``); how many changed.

    Of these devices, of these clients, or of all. Changes nothing else, and leaves no evidence: a clock follows from
    rules, exceptions, windows and ratings, each of which leaves its own.
    """
    found = open_deployments(scope=SELF)
    if device_ids is not None:
        found = found.filter(device__in=device_ids)
    if client_ids is not None:
        found = found.filter(client__in=client_ids)
    rows = known_deployments(found)
    if not rows:
        return 0
    earlier = earlier_versions(rows, now=now)
    cves = {cve for one in rows for cve in one.cves} | {
        cve for older in earlier.values() for one in older for cve in one.cves
    }
    book = Book.load(clients={one.client_id for one in rows}, cves=cves)
    way = Way.load(rows, book, now=now)
    # Rows that come to the same answer are written together: many updates share a release, and so a deadline.
    changed: dict[tuple[datetime | None, str, bool], list[int]] = defaultdict(list)
    for one in rows:
        bound = book.binding(one, now, earlier.get(one.key, ()))
        due, slug = (bound.due_at, bound.slug) if bound else (None, "")
        misses = bool(way.why_missed(one, due))
        if (one.due_at, one.bound_by, one.misses) != (due, slug, misses):
            changed[due, slug, misses].append(one.pk)
    with transaction.atomic():
        for (due, slug, misses), pks in changed.items():
            for start in range(0, len(pks), AT_ONCE):
                Deployment.objects.visible_to(SELF).filter(pk__in=pks[start : start + AT_ONCE]).update(
                    due_at=due, bound_by=slug, misses=misses
                )
    return sum(map(len, changed.values()))


# --- clients' own rules -----------------------------------------------------------------------------------------


@transaction.atomic
def obligation_rule_set(
    *, client: Client, slug: str, terms: Mapping[str, Any], reason: str, scope: Scope, now: datetime
) -> ObligationRule:
    """Give a client its own terms of a built-in obligation, or one of its own, from now on.

    ``terms``: what is not named stays as it is in force now (of a new one: nothing is). ``{"off": True}`` switches it
    off. What was in force until now stays on record. ObligationError names what is wrong.
    """
    seen = _client(client, scope)
    if not is_slug(slug):
        raise ObligationError(f"slug: {slug!r}: expected small letters, digits and hyphens, at most 60")
    reason = _said("reason", reason, "say why, for whoever reads compliance later")
    rows = ObligationRule.objects.visible_to(scope).filter(client=seen, slug=slug, in_force_until=None)
    open_row = rows.select_for_update().first()
    before = open_row.terms if open_row else None
    if terms.get("off"):
        if slug not in BUILT_IN and open_row is None:
            raise ObligationError(f"slug: {slug!r} is not in force at {seen.name}")
        kept: dict[str, Any] = {"off": True}
    else:
        base = Terms.parse(before) if before and not before.get("off") else BUILT_IN.get(slug)
        parsed = Terms.parse(terms, base=base)
        if parsed.test_device:
            _device(client=seen, device_id=UUID(parsed.test_device), scope=scope)
        kept = parsed.plain()
    if open_row is not None:
        open_row.in_force_until, open_row.ended_by = now, scope.who
        open_row.save(update_fields=["in_force_until", "ended_by"])
    made: ObligationRule = ObligationRule.objects.create(
        client=seen, slug=slug, terms=kept, reason=reason, in_force_from=now, created_by=scope.who
    )
    _rule_recorded(made, before=before, after={**kept, "reason": reason}, scope=scope, now=now)
    obligations_refresh(client_ids=[seen.pk], now=now)
    return made


@transaction.atomic
def obligation_rule_end(*, rule: ObligationRule, scope: Scope, now: datetime) -> ObligationRule:
    """End a client's own rule: the built-in one of that name holds again, or none. ObligationError when it has."""
    found: ObligationRule = (
        ObligationRule.objects.visible_to(scope)
        .select_for_update(of=("self",))
        .select_related("client")
        .get(pk=rule.pk)
    )
    scope.require(Permission.RISK_ACCEPT, on=found)
    if found.in_force_until is not None:
        raise ObligationError(f"rule {found.pk}: ended by {found.ended_by} already")
    found.in_force_until, found.ended_by = now, scope.who
    found.save(update_fields=["in_force_until", "ended_by"])
    _rule_recorded(found, before=found.terms, after=None, scope=scope, now=now)
    obligations_refresh(client_ids=[found.client_id], now=now)
    return found


def _rule_recorded(
    rule: ObligationRule,
    *,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    scope: Scope,
    now: datetime,
) -> None:
    change_record(
        client=rule.client,
        kind=EvidenceKind.OBLIGATION_CHANGED,
        what="obligation",
        name=rule.slug,
        before=before,
        after=after,
        by=scope.who,
        now=now,
    )


# --- exceptions -------------------------------------------------------------------------------------------------


@transaction.atomic
def exception_grant(
    *,
    client: Client,
    reason: str,
    compensating_control: str,
    expires_at: datetime,
    scope: Scope,
    now: datetime,
    device_id: UUID | None = None,
    manager: str = "",
    name: str = "",
    candidate: str = "",
    obligation: str = "",
) -> ObligationException:
    """Leave to miss an obligation until ``expires_at``, at most a year: then it counts again.

    Of one device or (None) all of the client; of the packages that ``manager``, ``name`` (``*`` at its end stands for
    anything) and ``candidate`` name, empty: of all; of one obligation, empty: of whichever binds. ObligationError
    names what is wrong.
    """
    seen = Client.objects.visible_to(scope).filter(removed_at=None).get(pk=client.pk)
    if device_id is None:
        scope.require(Permission.RISK_ACCEPT, on=seen)
        device = None
    else:
        device = _device(client=seen, device_id=device_id, scope=scope)
        scope.require(Permission.RISK_ACCEPT, on=device)
    reason = _said("reason", reason, "say why it is missed")
    control = _said("compensating_control", compensating_control, "say what is done instead until then")
    if not now < expires_at <= now + LONGEST_EXCEPTION:
        raise ObligationError(f"expires_at: {expires_at:%Y-%m-%d %H:%M} is not within a year from now")
    if obligation and obligation not in BUILT_IN:
        own = ObligationRule.objects.visible_to(SELF).filter(client=seen, slug=obligation, in_force_until=None)
        if not own.exists():
            raise ObligationError(f"obligation: {obligation!r} is not in force at {seen.name}")
    for field, value, most in (("manager", manager, 20), ("name", name, 200), ("candidate", candidate, 200)):
        if len(value) > most:
            raise ObligationError(f"{field}: {len(value)} characters, at most {most}")
    made: ObligationException = ObligationException.objects.create(
        client=seen, device_id=device_id, manager=manager, name=name, candidate=candidate, obligation=obligation,
        reason=reason, compensating_control=control, granted_at=now, granted_by=scope.who, expires_at=expires_at,
    )  # fmt: skip
    _exception_recorded(made, device, before=None, after=exception_plain(made), scope=scope, now=now)
    obligations_refresh(client_ids=[seen.pk], device_ids=None if device_id is None else [device_id], now=now)
    return made


@transaction.atomic
def exception_end(*, exception: ObligationException, scope: Scope, now: datetime) -> ObligationException:
    """End an exception before its time: its obligations count from now. ObligationError when it is over."""
    found: ObligationException = exceptions(scope=scope).select_for_update(of=("self",)).get(pk=exception.pk)
    device = (
        Device.objects.visible_to(scope).filter(pk=found.device_id).first() if found.device_id is not None else None
    )
    scope.require(Permission.RISK_ACCEPT, on=device or found)
    if found.ended_at is not None:
        raise ObligationError(f"exception {found.pk}: ended by {found.ended_by} already")
    if found.expires_at <= now:
        raise ObligationError(f"exception {found.pk}: expired {found.expires_at:%Y-%m-%d %H:%M} already")
    found.ended_at, found.ended_by = now, scope.who
    found.save(update_fields=["ended_at", "ended_by"])
    _exception_recorded(found, device, before=exception_plain(found), after=None, scope=scope, now=now)
    obligations_refresh(client_ids=[found.client_id], now=now)
    return found


def exception_plain(one: ObligationException) -> dict[str, Any]:
    """An exception as it goes on record."""
    return {
        "device": str(one.device_id or ""),
        "manager": one.manager,
        "name": one.name,
        "candidate": one.candidate,
        "obligation": one.obligation,
        "reason": one.reason,
        "compensating_control": one.compensating_control,
        "expires_at": one.expires_at.isoformat(),
    }


def _exception_recorded(
    one: ObligationException,
    device: Device | None,
    *,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    scope: Scope,
    now: datetime,
) -> None:
    change_record(
        client=one.client,
        kind=EvidenceKind.EXCEPTION_CHANGED,
        what="exception",
        name=f"{one.pk}: {one.name or 'every update'}, {one.obligation or 'every obligation'}",
        before=before,
        after=after,
        by=scope.who,
        now=now,
        site_id=None if device is None else device.site_id,
        device_id=one.device_id,
    )


# --- emergency windows ------------------------------------------------------------------------------------------


def emergency_start(*, due_at: datetime | None, now: datetime, timezone: str) -> datetime:
    """When an emergency window is proposed to begin: this evening at 22:00 of the site's clock where it ends before the
    deadline, else now (to the minute)."""
    local = now.astimezone(ZoneInfo(timezone))
    evening = local.replace(hour=EMERGENCY_HOUR, minute=0, second=0, microsecond=0)
    if local < evening and due_at is not None and evening + timedelta(minutes=EMERGENCY_MINUTES) <= due_at:
        return evening.astimezone(now.tzinfo)
    return now.replace(second=0, microsecond=0)


@transaction.atomic
def emergency_window(
    *,
    site: Site,
    scope: Scope,
    now: datetime,
    device: Device | None = None,
    starts_at: datetime | None = None,
    minutes: int = EMERGENCY_MINUTES,
    reason: str = "",
) -> MaintenanceWindow:
    """A maintenance window for what would miss its obligation: at a site, or for one device of it, now or later.

    CalendarError for a length that no window may have; NotAllowedError without the permission to plan windows.
    """
    start = (starts_at or now.replace(second=0, microsecond=0)).astimezone(ZoneInfo(site.zone))
    if starts_at is not None and starts_at + timedelta(minutes=minutes) <= now:
        raise ObligationError(f"starts_at: {starts_at:%Y-%m-%d %H:%M} is over already")
    made = window_create(
        site=site,
        device_id=None if device is None else device.pk,
        name=f"Emergency updates{f' of {device.name}' if device else ''}"[:100],
        purpose=(reason.strip() or "Updates that would miss their obligation otherwise.")[:300],
        starts_on=start.date(),
        starts_at=f"{start:%H:%M}",
        minutes=minutes,
        scope=scope,
        now=now,
    )
    # The windows of a site concern every device there; a client has few sites.
    obligations_refresh(client_ids=[site.client_id], now=now)
    return made


def _client(client: Client, scope: Scope) -> Client:
    seen: Client = Client.objects.visible_to(scope).filter(removed_at=None).get(pk=client.pk)
    scope.require(Permission.RISK_ACCEPT, on=seen)
    return seen


def _device(*, client: Client, device_id: UUID, scope: Scope) -> Device:
    found: Device | None = Device.objects.visible_to(scope).filter(pk=device_id, client=client).first()
    if found is None:
        raise ObligationError(f"device: {device_id} is not a device of {client.name}")
    return found


def _said(field: str, value: str, hint: str) -> str:
    value = value.strip()
    if not value:
        raise ObligationError(f"{field}: {hint}")
    if len(value) > 2000:
        raise ObligationError(f"{field}: {len(value)} characters, at most 2000")
    return value
