"""What is promised to whom: SLA tiers, and what one client agreed on besides.

A ticket keeps the times that held when it was opened: whatever changes here holds for tickets opened from then on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from forestall.server.evidence.changes import change_record
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, Scope
from forestall.server.tickets.models import SlaPolicy
from forestall.server.tickets.rules import DEFAULT_TARGETS, Priority
from forestall.server.tickets.sla_models import SlaTarget, SlaTier

STANDARD = "standard"
"""The tier that a client has until somebody chooses another."""
LONGEST_MINUTES = 366 * 24 * 60
_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_SELF = Scope.system("desk")

Targets = Mapping[Priority, tuple[int, int]]
"""Working minutes until response and until resolution."""


class SlaError(ValueError):
    """A tier or target that is none; the message names the bad value."""


# Reads


def tiers() -> QuerySet[SlaTier]:
    """Every tier with its targets. They are the provider's offer, no client's data: whoever is staff may read them."""
    return SlaTier.objects.prefetch_related("targets")


def tier_targets(tier: SlaTier | None) -> dict[Priority, tuple[int, int]]:
    """The times of a tier for every priority, the default where it names none."""
    named = {} if tier is None else _times(tier.targets.all())
    return {**DEFAULT_TARGETS, **named}


def own_targets(*, scope: Scope, client: Client) -> dict[Priority, tuple[int, int]]:
    """What was agreed with a client besides its tier."""
    return _times(SlaPolicy.objects.visible_to(scope).filter(client=client))


def targets_of(*, client: Client) -> dict[Priority, tuple[int, int]]:
    """The times that hold for a client's tickets opened now: its own, else its tier's, else the default."""
    tier = tiers().filter(slug=client.sla_tier).first()
    return {**tier_targets(tier), **own_targets(scope=_SELF, client=client)}


def clients_of(*, tier: SlaTier, scope: Scope) -> QuerySet[Client]:
    """The clients that have this tier."""
    found: QuerySet[Client] = Client.objects.visible_to(scope).filter(sla_tier=tier.slug, removed_at=None)
    return found


def _times(rows: Iterable[SlaTarget | SlaPolicy]) -> dict[Priority, tuple[int, int]]:
    return {Priority(row.priority): (row.response_minutes, row.resolution_minutes) for row in rows}


def plain(targets: Targets) -> dict[str, dict[str, int]]:
    """Targets as evidence and the API name them."""
    return {
        str(priority): {"response_minutes": targets[priority][0], "resolution_minutes": targets[priority][1]}
        for priority in Priority
        if priority in targets
    }


# Changes


@transaction.atomic
def tier_create(
    *, slug: str, name: str, targets: Targets, scope: Scope, now: datetime, description: str = ""
) -> SlaTier:
    """A new level of service. SlaError names what is wrong; NotAllowedError unless one may change every client."""
    scope.require_everywhere(Permission.CLIENT_CHANGE)
    if not _SLUG.match(slug) or len(slug) > 40:
        raise SlaError(f"slug: {slug[:60]!r} is not small letters, digits and hyphens, at most 40 of them")
    if SlaTier.objects.filter(slug=slug).exists():
        raise SlaError(f"slug: there is a tier {slug!r} already")
    _check(targets)
    tier = SlaTier(slug=slug)
    _name(tier, name, description)
    tier.save()
    _targets_write(tier, targets)
    return tier


@transaction.atomic
def tier_change(
    *,
    tier: SlaTier,
    scope: Scope,
    now: datetime,
    name: str | None = None,
    description: str | None = None,
    targets: Targets | None = None,
) -> SlaTier:
    """Change a tier; None leaves as it is, and so does ``targets`` what it does not name.

    On record at every client that has it. NotAllowedError unless one may change every client.
    """
    scope.require_everywhere(Permission.CLIENT_CHANGE)
    found = SlaTier.objects.select_for_update().get(pk=tier.pk)
    before = _tier_plain(found)
    _name(found, found.name if name is None else name, found.description if description is None else description)
    found.save()
    if targets is not None:
        _check(targets)
        _targets_write(found, targets)
    found = tiers().get(pk=found.pk)
    for client in clients_of(tier=found, scope=_SELF):
        change_record(
            client=client,
            kind=EvidenceKind.CLIENT_CHANGED,
            what="SLA tier",
            name=found.slug,
            before=before,
            after=_tier_plain(found),
            by=scope.who,
            now=now,
        )
    return found


@transaction.atomic
def tier_remove(*, tier: SlaTier, scope: Scope) -> None:
    """Take a tier away. SlaError while a client has it, and for ``standard``."""
    scope.require_everywhere(Permission.CLIENT_CHANGE)
    found = SlaTier.objects.select_for_update().get(pk=tier.pk)
    if found.slug == STANDARD:
        raise SlaError("the tier 'standard' is what a client has until another is chosen: it stays")
    names = list(clients_of(tier=found, scope=_SELF).values_list("name", flat=True)[:4])
    if names:
        raise SlaError(f"tier {found.slug!r} is in use: {', '.join(names)}")
    found.delete()


@transaction.atomic
def sla_policy_set(
    *,
    client: Client,
    priority: Priority,
    response_minutes: int,
    resolution_minutes: int,
    scope: Scope,
    now: datetime,
) -> SlaPolicy:
    """What was agreed with a client for a priority, in working minutes, instead of its tier's. Holds for tickets opened
    from now on."""
    _check({priority: (response_minutes, resolution_minutes)})
    seen = _client(client, scope)
    before = own_targets(scope=_SELF, client=seen)
    policy, _made = SlaPolicy.objects.visible_to(_SELF).update_or_create(
        client=seen,
        priority=priority,
        defaults={"response_minutes": response_minutes, "resolution_minutes": resolution_minutes},
    )
    _policy_recorded(seen, before, scope, now)
    found: SlaPolicy = policy
    return found


@transaction.atomic
def sla_policy_remove(*, client: Client, priority: Priority, scope: Scope, now: datetime) -> None:
    """From now on a client has its tier's times for this priority again. Nothing happens when it has them already."""
    seen = _client(client, scope)
    before = own_targets(scope=_SELF, client=seen)
    SlaPolicy.objects.visible_to(_SELF).filter(client=seen, priority=priority).delete()
    _policy_recorded(seen, before, scope, now)


def _client(client: Client, scope: Scope) -> Client:
    seen: Client = Client.objects.visible_to(scope).filter(removed_at=None).get(pk=client.pk)
    scope.require(Permission.CLIENT_CHANGE, on=seen)
    return seen


def _policy_recorded(client: Client, before: Targets, scope: Scope, now: datetime) -> None:
    change_record(
        client=client,
        kind=EvidenceKind.CLIENT_CHANGED,
        what="SLA of its own",
        name=client.name,
        before=plain(before),
        after=plain(own_targets(scope=_SELF, client=client)),
        by=scope.who,
        now=now,
    )


def _check(targets: Targets) -> None:
    for priority, (response, resolution) in targets.items():
        if not 0 < response <= LONGEST_MINUTES:
            raise SlaError(f"{priority}.response_minutes: {response} is not between 1 and {LONGEST_MINUTES}")
        if not response <= resolution <= LONGEST_MINUTES:
            raise SlaError(
                f"{priority}.resolution_minutes: {resolution} is not between response_minutes ({response}) "
                f"and {LONGEST_MINUTES}"
            )


def _name(tier: SlaTier, name: str, description: str) -> None:
    name, description = name.strip(), description.strip()
    if not 0 < len(name) <= 60:
        raise SlaError(f"name: {name[:70]!r} is not 1 to 60 characters long")
    if len(description) > 300:
        raise SlaError(f"description: {len(description)} characters, at most 300")
    if SlaTier.objects.filter(name__iexact=name).exclude(pk=tier.pk).exists():
        raise SlaError(f"name: there is a tier called {name!r} already")
    tier.name, tier.description = name, description


def _targets_write(tier: SlaTier, targets: Targets) -> None:
    for priority, (response, resolution) in targets.items():
        SlaTarget.objects.update_or_create(
            tier=tier,
            priority=priority,
            defaults={"response_minutes": response, "resolution_minutes": resolution},
        )


def _tier_plain(tier: SlaTier) -> dict[str, Any]:
    return {"name": tier.name, "description": tier.description, **plain(tier_targets(tiers().get(pk=tier.pk)))}


@transaction.atomic
def sla_policies_set(*, client: Client, targets: Targets, scope: Scope, now: datetime) -> None:
    """All that was agreed with a client besides its tier, at once: what is not named has its tier's times again."""
    _check(targets)
    seen = _client(client, scope)
    before = own_targets(scope=_SELF, client=seen)
    SlaPolicy.objects.visible_to(_SELF).filter(client=seen).exclude(priority__in=list(targets)).delete()
    for priority, (response, resolution) in targets.items():
        SlaPolicy.objects.visible_to(_SELF).update_or_create(
            client=seen,
            priority=priority,
            defaults={"response_minutes": response, "resolution_minutes": resolution},
        )
    _policy_recorded(seen, before, scope, now)
