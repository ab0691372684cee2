"""The matrix: everybody × every route × each relation. What is expected follows from the route table, the roles and
the places alone; a new route is in it without anybody's doing.

Relations: a thing of one's own site, of a sibling site, of another client, and one that is not there.
Four outcomes: allowed; refused (403) for what one sees and may not do; absent (404), byte for byte as if it had never
been; refused outright for those who may it nowhere.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction

from forestall.server.api.routing import Route, route_table
from forestall.server.api.urls import api
from forestall.server.certificates import certificates_ensure
from forestall.server.home import intake_address, read_or_make_secret
from forestall.server.people.scope import Permission
from forestall.server.tests.matrix_world import CALLERS, NOW, Caller, Matrix, Thing, build, caller

pytestmark = pytest.mark.django_db

ONES_OWN = frozenset({"token_show", "token_remove", "calendar_feed_revoke"})
"""Routes that know one's own things alone, whatever one's roles."""
RELATIONS = ("own", "sibling", "other")
DENIED = frozenset({401, 403, 404, 405})

BODIES: dict[str, dict[str, Any]] = {
    # Where the description alone does not make up a body that reaches the question of who may.
    "asset_create": {"site": "{site_id}", "name": "x"},
    "device_group_create": {"client": "{client_id}", "name": "x"},
    "device_tag_change": {"devices": ["{device_id}"], "add": ["x"]},
    "token_create": {"site": "{site_id}"},
    "job_prepare": {"device": "{device_id}", "runbook": "free-disk-space", "reason": "because"},
    "notification_route_create": {"client": "{client_id}", "name": "x", "address": "json://localhost/"},
    "routing_rule_create": {"site": "{site_id}", "owner": "worker-bee"},
    "window_create": {
        "site": "{site_id}", "name": "x", "starts_on": "2026-12-24", "starts_at": "21:00", "minutes": 60,
    },
    "blackout_create": {"site": "{site_id}", "why": "x", "starts_on": "2026-12-24", "ends_on": "2026-12-25"},
    "ticket_open": {"site": "{site_id}", "title": "x"},
    "portal_ticket_open": {"site": "{site_id}", "title": "x"},
    "webhook_make": {"client": "{client_id}", "name": "x", "url": "http://127.0.0.1:9/"},
    "person_create": {"username": "new", "grants": [{"role": "auditor", "client": "{client_id}", "site": "{site_id}"}]},
    "rollout_start": {"client": "{client_id}"},
    "rollout_preview": {"client": "{client_id}"},
    "hold_override": {"client": "{client_id}", "hold": 1, "reason": "because"},
    "protected_system_add": {"device": "{device_id}", "kind": "folder", "what": "/srv/another"},
    "access_change_accept": {"device": "{device_id}", "changes": ["{access_change_id}"], "reason": "because"},
    "access_review_begin": {"client": "{client_id}", "site": "{site_id}"},
    "access_review_decide": {"items": ["{review_item_id}"], "decision": "keep"},
    "review_plan_set": {"client": "{client_id}", "site": "{site_id}"},
    "patch_policy_set": {"site": "{site_id}"},
    "baseline_assign": {"client": "{client_id}", "device": "{device_id}", "level": 2, "reason": "because"},
    "drift_accept": {"reason": "because"},
    "deviation_accept": {
        "client": "{client_id}", "device": "{device_id}", "control": "shell-timeout", "reason": "because",
        "ends_at": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
    },
    "assessment_import": {
        "device": "{device_id}", "tool": "lynis", "findings": [{"id": "X-2", "result": "warning"}],
    },
    "health_run_start": {"client": "{client_id}"},
    "coverage_exception_grant": {
        "column": "backup", "device": "{device_id}", "reason": "because",
        "expires_at": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
    },
    "check_policy_set": {"device": "{device_id}", "kind": "disk_space", "values": {}, "reason": "because"},
    "update_decide": {"device": "{device_id}", "decision": "approve", "name": "bash"},
    "obligation_rule_set": {
        "client": "{client_id}", "slug": "contract", "reason": "because",
        "terms": {"deadline": {"kind": "after", "hours": 24}},
    },
    "exception_grant": {
        "client": "{client_id}", "device": "{device_id}", "reason": "because", "compensating_control": "a wall",
        "expires_at": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
    },
    "emergency_window_open": {"site": "{site_id}"},
    "vulnerability_mark": {"device": "{device_id}", "mark": "false_positive", "reason": "because"},
    "vulnerability_feed_make": {"slug": "another"},
    "runbook_draft_create": {"slug": "another"},
    "vulnerability_feed_upload": {"offset": 0, "content": "e30=", "last": False},
    "grant_create": {"role": "auditor", "client": "{client_id}", "site": "{site_id}"},
}  # fmt: skip
"""Names in braces are things of the world: such a body is about them as much as an address is."""
QUERIES = {
    "samples_list": "?series=cpu.used_percent",
    "person_why": "?permission=device.view&client={client_id}&site={site_id}",
    "routing_answer": "?kind=disk_space&site={site_id}",
    "bundle_download": "?client={client_id}",
}
WHOLE_INSTALLATION = frozenset(
    {
        "client_create", "sla_tier_create", "sla_tier_change", "sla_tier_delete", "runbook_publish", "role_create",
        "role_change", "role_delete", "proposal_list", "proposal_submit", "proposal_show", "proposal_withdraw",
        "vulnerability_feed_make", "vulnerability_feed_change", "vulnerability_feed_remove",
        "vulnerability_feed_refresh", "vulnerability_feed_upload", "runbook_draft_create", "runbook_draft_save",
        "runbook_draft_undo", "runbook_draft_drop",
    }
)  # fmt: skip
"""Routes that concern every client: only for those who may it everywhere."""
WHOLE_CLIENT = frozenset({"bundle_download", "client_removal", "contact_change", "contact_delete", "contact_remove"})
"""Routes for those alone who may it at the client as a whole, whatever part of it they name."""
LEFT_OUT = {
    # Name of a route → why the rule of the matrix does not fit it; each has tests of its own.
    "bulk_do": "each request in it is a case of its own route",
}


@pytest.fixture(scope="module")
def world(django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[Matrix]:
    # The end of a request must not close the connection that the world lives in.
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
    try:
        with django_db_blocker.unblock(), transaction.atomic():
            read_or_make_secret(settings.HOME.log_key)
            certificates_ensure(home=settings.HOME, address=intake_address(), now=NOW)
            yield build(tmp_path_factory.mktemp("matrix"))
            transaction.set_rollback(True)
    finally:
        request_started.connect(close_old_connections)
        request_finished.connect(close_old_connections)


@functools.cache
def table() -> tuple[Route, ...]:
    return tuple(route_table(api))


@functools.cache
def _schema() -> dict[str, Any]:
    return api.get_openapi_schema()


def body_for(route: Route, values: dict[str, object], world: Matrix, relation: str) -> dict[str, Any] | None:
    """The least the route takes, made from its description."""
    operation = _schema()["paths"][f"/api/v1{route.path}"][route.method.lower()]
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    return {**_made(content["schema"], world, relation), **_filled(BODIES.get(route.name, {}), values)}


def _filled(body: Any, values: dict[str, object]) -> Any:
    if isinstance(body, dict):
        return {name: _filled(value, values) for name, value in body.items()}
    if isinstance(body, list):
        return [_filled(value, values) for value in body]
    return body.format(**values) if isinstance(body, str) else body


def names_of(route: Route) -> list[str]:
    """The things a request is about: those in its address, its body and its question."""
    text = json.dumps(BODIES.get(route.name, {})) + QUERIES.get(route.name, "")
    return list(dict.fromkeys([*route.parameters, *re.findall(r"{(\w+_id)}", text)]))


def _made(schema: dict[str, Any], world: Matrix, relation: str) -> Any:
    if "$ref" in schema:
        schema = _schema()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if schema.get("properties"):
        required = schema.get("required", ())
        return {
            name: _value(name, part, world, relation) for name, part in schema["properties"].items() if name in required
        }
    return {}


def _value(name: str, schema: dict[str, Any], world: Matrix, relation: str) -> Any:
    things = world.things[relation]
    named = {
        "client": "client_id", "site": "site_id", "device": "device_id", "person": "person_id", "devices": "device_id",
    }  # fmt: skip
    if name in named:
        value = str(things[named[name]].value)
        return [value] if schema.get("type") == "array" else value
    fixed = {
        "timezone": "UTC", "owner": "worker-bee", "runbook": "free-disk-space", "url": "http://127.0.0.1:9/",
        "envelope": "AAAA", "confirm": "no such name", "kind": "clients", "role": "auditor", "content": "name\nX\n",
        "starts_on": "2026-12-24", "starts_at": "21:00", "day": "2026-12-24", "permission": "device.view",
        "priority": "urgent", "until": "2099-01-01T00:00:00Z", "answer": "approve", "urgency": "normal",
        "username": "somebody-new",
    }  # fmt: skip
    if name in fixed:
        return [fixed[name]] if schema.get("type") == "array" else fixed[name]
    if "$ref" in schema:
        target = _schema()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return target["enum"][0] if "enum" in target else _made(schema, world, relation)
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _value(name, schema["anyOf"][0], world, relation)
    kind = schema.get("type")
    if kind == "integer" or kind == "number":
        return max(int(schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)), 1)
    if kind == "boolean":
        return True
    if kind == "array":
        return [_value(name, schema.get("items", {}), world, relation)] if schema.get("minItems") else []
    if kind == "object":
        return {"monday": [["09:00", "17:00"]]} if name == "hours" else {}
    return "because"


def address(route: Route, values: dict[str, object]) -> str:
    return (route.path + QUERIES.get(route.name, "")).format(**values)


def things_of(route: Route, world: Matrix, relation: str) -> dict[str, Thing]:
    found = {name: world.shared.get(name) or world.things[relation][name] for name in names_of(route)}
    if route.name in ONES_OWN:
        return {name: replace(thing, private=True) for name, thing in found.items()}
    if route.name in WHOLE_CLIENT:
        return {name: replace(thing, whole_for_acts=True) for name, thing in found.items()}
    return found


def expected(route: Route, things: dict[str, Thing], who: Caller) -> str:
    """``refused``, ``absent`` or ``allowed``: from the route's declaration, the places and the roles alone."""
    scope = who.scope
    permission = route.allow if isinstance(route.allow, Permission) else None
    if permission is not None and scope.place(permission).is_empty:
        return "refused"
    if route.name in WHOLE_INSTALLATION:
        return "allowed" if permission is not None and scope.everywhere(permission) else "refused"
    if permission is not None and permission.is_portal:
        return expected_in_the_portal(route, things, who)
    if not all(thing.seen_by(scope) for thing in things.values()):
        return "absent"
    # Who is not there (a client, where a site or a device of it is meant) decides nothing beside what is.
    closer = bool({"site_id", "device_id"} & things.keys())
    asked = [thing for name, thing in things.items() if name != "client_id" or not closer]
    reads = route.is_read
    return "allowed" if all(thing.allowed_to(scope, permission, reads=reads) for thing in asked) else "refused"


def expected_in_the_portal(route: Route, things: dict[str, Thing], who: Caller) -> str:
    """A client's manager sees all of their places, a user what they asked for themselves (nothing, in this world).
    Staff may look through the client's eyes, and never speak for it."""
    scope = who.scope
    is_staff = any(not permission.is_portal for permission in scope.permissions)
    by = Permission.PORTAL_VIEW if is_staff or "number" not in things else Permission.PORTAL_APPROVE
    if not all(replace(thing, view=by).seen_by(scope) for thing in things.values()):
        return "absent"
    if not route.is_read and is_staff:
        return "refused"
    allow = route.allow if isinstance(route.allow, Permission) else None
    allowed = all(thing.allowed_to(scope, allow, reads=route.is_read) for thing in things.values())
    return "allowed" if allowed else "refused"


def answered(status: int) -> str:
    return {401: "refused", 403: "refused", 404: "absent"}.get(status, "allowed")


def tried(who: Caller, method: str, path: str, body: Any) -> tuple[int, bytes, list[tuple[str, str]]]:
    """The answer; whatever it changed is taken back."""
    with transaction.atomic():
        answer = who.ask(method, path, body)
        content = b"".join(answer.streaming_content) if answer.streaming else answer.content
        transaction.set_rollback(True)
    return answer.status_code, content, sorted(answer.headers.items())


def test_every_parameter_of_every_route_is_in_the_world(world):
    known = set(world.things["own"]) | set(world.shared)
    assert {name for route in table() for name in route.parameters} - known == set()
    assert all(set(world.things[relation]) == set(world.things["own"]) for relation in RELATIONS)


def test_the_least_body_of_every_route_can_be_read(world, django_db_blocker):
    """Else the matrix would see a 422 where it looks for a 403 or 404."""
    with django_db_blocker.unblock():
        ada = caller(world, "owner everywhere")
        wrong = {}
        for route in table():
            values = {name: thing.value for name, thing in things_of(route, world, "own").items()}
            body = body_for(route, values, world, "own")
            status, content, _ = tried(ada, route.method, address(route, values), body)
            spoken_for = route.path.startswith("/portal/") and not route.is_read
            if status in {401, 403, 404, 422, 500} and not spoken_for and route.name not in {*LEFT_OUT, *ONES_OWN}:
                wrong[route.name] = (status, content[:200])
        ada.person.delete()
    assert not wrong, "\n".join(f"{name}: {said}" for name, said in wrong.items())


@pytest.mark.parametrize("name", CALLERS)
def test_v8_each_route_answers_each_person_as_their_roles_and_places_say(world, name, django_db_blocker):
    """Also V9: no answer holds a word of a place that its reader does not see."""
    mismatches, cases, leaks = [], 0, []
    with django_db_blocker.unblock():
        who = caller(world, name)
        may_read = who.sees()
        for route in table():
            if route.name in LEFT_OUT:
                continue
            names = names_of(route)
            absent: dict[str, object] = {one: world.absent(one) for one in names}
            gone = None
            for relation in RELATIONS if names else ("own",):
                things = things_of(route, world, relation)
                values = {one: thing.value for one, thing in things.items()}
                body = body_for(route, values, world, relation)
                status, content, headers = tried(who, route.method, address(route, values), body)
                want, got = expected(route, things, who), answered(status)
                cases += 1
                if names and gone is None:
                    body = body_for(route, absent, world, relation)
                    gone = tried(who, route.method, address(route, absent), body)
                    cases += 1
                if got != want:
                    mismatches.append((route.method, route.path, relation, want, status, content[:120]))
                elif want == "absent" and (status, content, headers) != gone:
                    mismatches.append((route.method, route.path, relation, "differs from absent", status, gone[:2]))
                leaks += [
                    (route.method, route.path, relation, canary)
                    for canary in who.canaries
                    if canary not in may_read and canary.lower().encode() in content.lower()
                ]
        who.person.delete()
    assert not mismatches, "\n".join(map(str, mismatches))
    assert not leaks, "\n".join(map(str, leaks))
    assert cases > 500, cases
