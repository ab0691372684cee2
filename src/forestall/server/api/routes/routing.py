"""Who is told, and who gets the ticket: notification routes and routing rules."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from ninja import Field

from forestall.server.alerts import queries as alerts
from forestall.server.alerts import routes
from forestall.server.alerts.models import NotificationRoute
from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.checks.result import Risk
from forestall.server.clients.queries import served, sites_served
from forestall.server.people import queries as people
from forestall.server.people.models import Person
from forestall.server.people.scope import Permission, Scope
from forestall.server.tickets import routing
from forestall.server.tickets.models import RoutingRule

router = Routes(tags=["routing"])

EVERY = "Null: every client."
ADDRESS = "An address that apprise understands: `mailtos://…`, `msteams://…`. Sealed, and never shown whole again."


class RouteOut(Schema):
    id: int
    name: str
    client: Named | None = Field(description=EVERY)
    address: str = Field(description="Without its secrets.")
    minimum_risk: Risk = Field(description="Nothing below this is sent.")
    enabled: bool
    created_at: datetime
    created_by: str


class RouteIn(Schema):
    name: str = Field(max_length=100)
    client: UUID | None = Field(None, description=EVERY)
    address: str = Field(max_length=routes.LONGEST_ADDRESS, description=ADDRESS)
    minimum_risk: Risk = Risk.LOW


class RouteChangeIn(Schema):
    """What is not named stays as it is."""

    name: str | None = Field(None, max_length=100)
    address: str | None = Field(None, max_length=routes.LONGEST_ADDRESS, description=ADDRESS)
    minimum_risk: Risk | None = None
    enabled: bool | None = None


class TriedOut(Schema):
    delivered: bool
    words: str


class RuleOut(Schema):
    id: int
    client: Named | None = Field(description=EVERY)
    site: Named | None = Field(description="Null: every site.")
    kind: str = Field(description="Slug of a kind of check, or `request`; empty: everything.")
    minimum_risk: Risk | None = Field(description="Null: any risk.")
    owner: str = Field(description="User name of who gets the ticket.")
    order: int = Field(description="Decides between rules that are equally particular; lower first.")
    words: str


class RuleFields(Schema):
    kind: str = Field("", max_length=40)
    minimum_risk: Risk | None = None
    owner: str = Field(max_length=150, description="User name of somebody who may work tickets there.")
    order: int = Field(0, ge=-1000, le=1000)


class RuleIn(RuleFields):
    client: UUID | None = Field(None, description=EVERY)
    site: UUID | None = Field(None, description="A site says its client.")


class AnswerOut(Schema):
    owner: str | None = Field(description="Null: nobody; somebody must take it.")
    rule: int | None = Field(description="Null: no rule fits.")
    why: str


@router.get(
    "/notification-routes",
    allow=Permission.CLIENT_VIEW,
    response=Page[RouteOut],
    summary="List where notifications go",
)
def notification_route_list(request: ApiRequest, paging: PagingQuery, client: UUID | None = None) -> dict[str, Any]:
    found = alerts.routes(scope=request.scope)
    if client is not None:
        found = found.filter(client=client)
    return page(found, shape=_route, cursor=paging.cursor, limit=paging.limit, order=("name", "pk"))


@router.post(
    "/notification-routes",
    allow=Permission.CLIENT_CHANGE,
    response={201: RouteOut},
    summary="Add a place to send notifications to",
)
def notification_route_create(request: ApiRequest, body: RouteIn) -> tuple[int, dict[str, Any]]:
    scope = request.scope
    made = routes.route_create(
        name=body.name,
        url=body.address,
        minimum_risk=body.minimum_risk,
        client=served(scope=scope).get(pk=body.client) if body.client else None,
        scope=scope,
        now=current_time(),
    )
    return 201, _route(made)


@router.get(
    "/notification-routes/{route_id}",
    allow=Permission.CLIENT_VIEW,
    response=RouteOut,
    summary="Show a notification route",
)
def notification_route_show(request: ApiRequest, route_id: int) -> dict[str, Any]:
    return _route(alerts.routes(scope=request.scope).get(pk=route_id))


@router.patch(
    "/notification-routes/{route_id}",
    allow=Permission.CLIENT_CHANGE,
    response=RouteOut,
    summary="Change a notification route, or switch it on or off",
)
def notification_route_change(request: ApiRequest, route_id: int, body: RouteChangeIn) -> dict[str, Any]:
    found = alerts.routes(scope=request.scope).get(pk=route_id)
    changed = routes.route_change(
        route=found,
        name=body.name,
        url=body.address,
        minimum_risk=body.minimum_risk,
        enabled=body.enabled,
        scope=request.scope,
        now=current_time(),
    )
    return _route(changed)


@router.delete("/notification-routes/{route_id}", allow=Permission.CLIENT_CHANGE, summary="Remove a notification route")
def notification_route_delete(request: ApiRequest, route_id: int) -> tuple[int, None]:
    found = alerts.routes(scope=request.scope).get(pk=route_id)
    routes.route_remove(route=found, scope=request.scope, now=current_time())
    return 204, None


@router.post(
    "/notification-routes/{route_id}/test",
    allow=Permission.CLIENT_CHANGE,
    response=TriedOut,
    summary="Really send a test message",
)
def notification_route_test(request: ApiRequest, route_id: int) -> Any:
    found = alerts.routes(scope=request.scope).get(pk=route_id)
    return routes.route_test(route=found, scope=request.scope, now=current_time())


@router.get(
    "/routing-rules", allow=Permission.CLIENT_VIEW, response=Page[RuleOut], summary="List who gets which ticket"
)
def routing_rule_list(request: ApiRequest, paging: PagingQuery, client: UUID | None = None) -> dict[str, Any]:
    found = routing.routing_rules(scope=request.scope)
    if client is not None:
        found = found.filter(client=client)
    return page(found, shape=_rule, cursor=paging.cursor, limit=paging.limit, order=("order", "pk"))


@router.post(
    "/routing-rules", allow=Permission.CLIENT_CHANGE, response={201: RuleOut}, summary="Say who gets which ticket"
)
def routing_rule_create(request: ApiRequest, body: RuleIn) -> tuple[int, dict[str, Any]]:
    scope = request.scope
    site = sites_served(scope=scope).get(pk=body.site) if body.site else None
    if site is not None and body.client not in (None, site.client_id):
        raise ValueError(f"site: {site.name} is not a site of that client")
    made = routing.routing_rule_add(
        owner=_owner(scope, body.owner),
        client=served(scope=scope).get(pk=body.client) if body.client else None,
        site=site,
        kind=body.kind,
        minimum_risk=body.minimum_risk,
        order=body.order,
        scope=scope,
        now=current_time(),
    )
    return 201, _rule(made)


@router.get("/routing-rules/{rule_id}", allow=Permission.CLIENT_VIEW, response=RuleOut, summary="Show a routing rule")
def routing_rule_show(request: ApiRequest, rule_id: int) -> dict[str, Any]:
    return _rule(routing.routing_rules(scope=request.scope).get(pk=rule_id))


@router.put("/routing-rules/{rule_id}", allow=Permission.CLIENT_CHANGE, response=RuleOut, summary="Change a rule")
def routing_rule_change(request: ApiRequest, rule_id: int, body: RuleFields) -> dict[str, Any]:
    """Its place stays: remove it and add another."""
    scope = request.scope
    changed = routing.routing_rule_change(
        rule=routing.routing_rules(scope=scope).get(pk=rule_id),
        owner=_owner(scope, body.owner),
        kind=body.kind,
        minimum_risk=body.minimum_risk,
        order=body.order,
        scope=scope,
        now=current_time(),
    )
    return _rule(changed)


@router.delete("/routing-rules/{rule_id}", allow=Permission.CLIENT_CHANGE, summary="Remove a routing rule")
def routing_rule_delete(request: ApiRequest, rule_id: int) -> tuple[int, None]:
    found = routing.routing_rules(scope=request.scope).get(pk=rule_id)
    routing.routing_rule_remove(rule=found, scope=request.scope, now=current_time())
    return 204, None


@router.get(
    "/routing-answer",
    allow=Permission.CLIENT_VIEW,
    response=AnswerOut,
    summary="Who would get a ticket of a kind and risk at a site, and why",
)
def routing_answer(request: ApiRequest, site: UUID, kind: str, risk: Risk = Risk.HIGH) -> dict[str, Any]:
    place = sites_served(scope=request.scope).get(pk=site)
    routing.require_kind(kind)
    answer = routing.who_gets(client=place.client, site=place, kind=kind, risk=risk)
    # A rule for every client is not shown to who sees one alone; that it exists is no secret, its number leads nowhere.
    return {
        "owner": answer.owner.username if answer.owner else None,
        "rule": answer.rule.pk if answer.rule else None,
        "why": answer.why,
    }


def _owner(scope: Scope, username: str) -> Person:
    found = people.persons(scope=scope).filter(username=username).first()
    if found is None:
        raise routing.RoutingError(f"owner: {username[:80]!r} is nobody you may see")
    return found


def _route(route: NotificationRoute) -> dict[str, Any]:
    return {
        "id": route.pk,
        "name": route.name,
        "client": route.client,
        "address": route.shown_url,
        "minimum_risk": route.minimum_risk,
        "enabled": route.enabled,
        "created_at": route.created_at,
        "created_by": route.created_by,
    }


def _rule(rule: RoutingRule) -> dict[str, Any]:
    return {
        "id": rule.pk,
        "client": rule.client,
        "site": rule.site,
        "kind": rule.kind,
        "minimum_risk": rule.minimum_risk or None,
        "owner": rule.owner.username,
        "order": rule.order,
        "words": routing.rule_words(rule),
    }
