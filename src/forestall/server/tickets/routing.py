"""Routing rules: who gets a ticket, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from forestall.server.checks.kinds import CHECK_KINDS
from forestall.server.checks.result import Risk
from forestall.server.evidence.changes import change_record
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.people.models import Client, Grant, Person, Site
from forestall.server.people.queries import scope_of
from forestall.server.people.roles import Role
from forestall.server.people.scope import Permission, Scope
from forestall.server.tickets.models import RoutingRule
from forestall.server.tickets.rules import Routing, routing_order

_SELF = Scope.system("desk")

REQUEST_KIND = "request"
"""Of a ticket that a person opened."""


class RoutingError(ValueError):
    """A rule that cannot hold; the message names the bad value."""


# Reads


def routing_rules(*, scope: Scope) -> QuerySet[RoutingRule]:
    """The rules that ``scope`` may see, with their place and owner. Rules for every client are for those who see every
    client."""
    found: QuerySet[RoutingRule] = RoutingRule.objects.visible_to(scope).select_related("client", "site", "owner")
    return found


def require_kind(kind: str) -> None:
    """RoutingError unless tickets of this kind can be."""
    if kind not in CHECK_KINDS and kind != REQUEST_KIND:
        raise RoutingError(f"kind: {kind[:80]!r} is no kind of check, nor {REQUEST_KIND!r}")


@dataclass(frozen=True, slots=True)
class Answer:
    """Who would get a ticket, and why."""

    owner: Person | None
    rule: RoutingRule | None
    why: str
    """``rule 3: everything at Acme goes to bob``."""


def who_gets(*, client: Client, site: Site, kind: str, risk: Risk) -> Answer:
    """Who gets a ticket of this kind and risk at a site: the owner by the most particular rule, else the first owner
    of the place, else nobody. The caller has looked whether the asker may see the site."""
    rows = {
        rule.pk: rule for rule in routing_rules(scope=_SELF).filter(Q(client=None) | Q(client=client)).order_by("pk")
    }
    active = {pk: as_routing(rule) for pk, rule in rows.items() if rule.owner.is_active}
    ordered = routing_order(rules=active, client_id=client.pk, site_id=site.pk, kind=kind, risk=risk)
    if ordered:
        rule = rows[ordered[0]]
        more = f"; {len(ordered) - 1} less particular also would fit" if len(ordered) > 1 else ""
        return Answer(owner=rule.owner, rule=rule, why=f"{rule_words(rule)}: the most particular rule that fits{more}")
    first = first_owner(client=client, site=site)
    if first is not None:
        return Answer(owner=first, rule=None, why=f"no rule fits, and {first.username} is the first owner of the place")
    return Answer(owner=None, rule=None, why="no rule fits, and nobody has the role owner here: someone must take it")


def first_owner(*, client: Client, site: Site) -> Person | None:
    """The first person with the role owner at a site."""
    grant = (
        Grant.objects.filter(role=Role.OWNER, person__is_active=True)
        .filter(Q(client=None) | Q(client=client, site=None) | Q(site=site), Q(until=None) | Q(until__gt=Now()))
        .select_related("person")
        .order_by("person_id")
        .first()
    )
    return grant.person if grant else None


def as_routing(rule: RoutingRule) -> Routing:
    """A row as the rules see it."""
    return Routing(
        owner_id=rule.owner_id,
        client_id=rule.client_id,
        site_id=rule.site_id,
        kind=rule.kind,
        minimum_risk=Risk(rule.minimum_risk) if rule.minimum_risk else None,
        order=rule.order,
    )


def rule_words(rule: RoutingRule) -> str:
    """``Disk space of high risk or worse at Leeds goes to bob``."""
    if not rule.kind:
        what = "Everything"
    else:
        what = CHECK_KINDS[rule.kind].texts.title if rule.kind in CHECK_KINDS else f"Each {rule.kind}"
    risk = f" of {rule.minimum_risk} risk{'' if rule.minimum_risk == Risk.CRITICAL else ' or worse'}"
    where = f"at {rule.site.name} of {rule.client.name}" if rule.site and rule.client else ""
    where = where or (f"at {rule.client.name}" if rule.client else "at every client")
    return f"{what}{risk if rule.minimum_risk else ''} {where} goes to {rule.owner.username}"


# Changes


@transaction.atomic
def routing_rule_add(
    *,
    owner: Person,
    scope: Scope,
    now: datetime,
    client: Client | None = None,
    site: Site | None = None,
    kind: str = "",
    minimum_risk: Risk | None = None,
    order: int = 0,
) -> RoutingRule:
    """Who gets which tickets. A rule for every client needs a scope of every client.

    ``owner`` must be able to work tickets at that place. ``order`` decides between rules that are equally particular,
    lower first. RoutingError names what is wrong.
    """
    if site is not None:
        site = Site.objects.visible_to(scope).select_related("client").get(pk=site.pk)
        client = site.client if site else None
        scope.require(Permission.CLIENT_CHANGE, on=site)
    elif client is not None:
        client = Client.objects.visible_to(scope).get(pk=client.pk)
        scope.require(Permission.CLIENT_CHANGE, on=client)
    elif not scope.everywhere(Permission.CLIENT_CHANGE):
        scope.require(Permission.CLIENT_CHANGE)
        raise RoutingError("client: only someone responsible for every client can route all of them")
    rule = RoutingRule(client=client, site=site)
    _fill(rule, owner=owner, kind=kind, minimum_risk=minimum_risk, order=order)
    rule.save()
    _recorded(rule, before=None, after=rule_plain(rule), scope=scope, now=now)
    return rule


@transaction.atomic
def routing_rule_change(
    *,
    rule: RoutingRule,
    owner: Person,
    kind: str,
    minimum_risk: Risk | None,
    order: int,
    scope: Scope,
    now: datetime,
) -> RoutingRule:
    """Change what a rule takes and who gets it. Its place stays: remove it and add another."""
    found = _changeable(rule, scope)
    before = rule_plain(found)
    _fill(found, owner=owner, kind=kind, minimum_risk=minimum_risk, order=order)
    found.save()
    _recorded(found, before=before, after=rule_plain(found), scope=scope, now=now)
    return found


@transaction.atomic
def routing_rule_remove(*, rule: RoutingRule, scope: Scope, now: datetime) -> None:
    """Take a rule away. Tickets keep the owner they have."""
    found = _changeable(rule, scope)
    _recorded(found, before=rule_plain(found), after=None, scope=scope, now=now)
    found.delete()


def _changeable(rule: RoutingRule, scope: Scope) -> RoutingRule:
    found: RoutingRule = routing_rules(scope=scope).get(pk=rule.pk)
    if found.client_id is None:
        scope.require_everywhere(Permission.CLIENT_CHANGE)
    else:
        scope.require(Permission.CLIENT_CHANGE, on=found)
    return found


def _fill(rule: RoutingRule, *, owner: Person, kind: str, minimum_risk: Risk | None, order: int) -> None:
    if kind:
        require_kind(kind)
    if not -1000 <= order <= 1000:
        raise RoutingError(f"order: {order} is not between -1000 and 1000")
    theirs = scope_of(owner)
    if rule.client is None:
        works = theirs.everywhere(Permission.TICKET_WORK)
    else:
        works = theirs.may(Permission.TICKET_WORK, on=rule.site or rule.client)
    if not works:
        where = rule.site or rule.client or "every client"
        raise RoutingError(f"owner: {owner.username} may not work tickets at {where}: give them a role there first")
    rule.owner, rule.kind, rule.minimum_risk, rule.order = owner, kind, minimum_risk or "", order


def rule_plain(rule: RoutingRule) -> dict[str, Any]:
    """A rule in plain values, as evidence keeps it."""
    return {
        "id": rule.pk,
        "site": rule.site.name if rule.site else "",
        "for every client": rule.client_id is None,
        "kind": rule.kind,
        "minimum_risk": rule.minimum_risk,
        "owner": rule.owner.username,
        "order": rule.order,
    }


def _recorded(
    rule: RoutingRule, *, before: dict[str, Any] | None, after: dict[str, Any] | None, scope: Scope, now: datetime
) -> None:
    # What holds for every client is on record at every client.
    clients = [rule.client] if rule.client else Client.objects.visible_to(_SELF).filter(removed_at=None)
    for client in clients:
        change_record(
            client=client,
            kind=EvidenceKind.CLIENT_CHANGED,
            what="routing rule",
            name=rule_words(rule),
            before=before,
            after=after,
            by=scope.who,
            now=now,
            site_id=rule.site_id,
        )
