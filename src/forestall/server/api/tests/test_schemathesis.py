"""Somebody's program that has read the description, and sends all that fits it, and much that does not. Nothing is a
server's error, and every answer is as described: to Alice, who may everything, and to Dora, who may little.

Each example is undone after its answer, so that none of them depends on another.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from forestall.server.alerts.tests.desk_world import World
from forestall.server.api.routing import route_table
from forestall.server.api.urls import api
from forestall.server.certificates import certificates_ensure
from forestall.server.checks.models import Check
from forestall.server.home import current_home, intake_address, write_private
from forestall.server.people.models import ApiToken, Contact
from forestall.server.people.roles import Role
from forestall.server.people.scope import Scope
from forestall.server.people.services import person_create, token_create
from forestall.server.runbooks.operator import operator_init
from forestall.server.runbooks.services import authority_install
from forestall.server.tickets import services as tickets
from forestall.server.webhooks.services import webhook_make, webhook_ping
from forestall.trust.keys import new_key, private_bytes

SYSTEM = Scope.system("test")
EXAMPLES = int(os.environ.get("FORESTALL_API_EXAMPLES", "20"))
"""For each operation. The project's own checks on every change ask for 200."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@functools.cache
def operations() -> dict[str, object]:
    schema = schemathesis.openapi.from_wsgi(
        "/api/v1/openapi.json", get_wsgi_application(), headers={"Host": "testserver"}
    )
    return {one.definition.raw["operationId"]: one for one in (found.ok() for found in schema.get_all_operations())}


class Callers:
    """Who asks, and what there is to ask for."""

    def __init__(self) -> None:
        world = World()
        world.now = now = datetime.now(UTC)
        for device in (world.web, world.leeds_box):
            world.report("fail", "/ is 93 % full", device=device)
            ticket = tickets.ticket_open_or_join(alert=world.alert(device=device), now=now)
        alice = person_create(username="alice", password="a long password", role=Role.OWNER)
        dora = person_create(username="dora", password="a long password", role=Role.TECHNICIAN, site=world.munich)
        self.tokens = {
            "alice": token_create(person=alice, name="a"),
            "dora": token_create(person=dora, name="d"),
        }
        webhook, _ = webhook_make(name="x", url="http://127.0.0.1:9/", client=world.acme, scope=SYSTEM, now=now)
        delivery = webhook_ping(webhook=webhook, scope=SYSTEM, now=now)
        contact = Contact.objects.create(client=world.acme, name="Carla")
        self.known = {
            "client_id": world.acme.pk,
            "site_id": world.munich.pk,
            "device_id": world.web.pk,
            "check_id": Check.objects.visible_to(SYSTEM).get(device=world.web).pk,
            "number": ticket.number,
            "person_id": dora.pk,
            "contact_id": contact.pk,
            "webhook_id": webhook.pk,
            "delivery_id": delivery.pk,
            "token_id": ApiToken.objects.get(person=dora).pk,
        }


@pytest.fixture(scope="module")
def callers(django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[Callers]:
    # As Django's own test client does: the end of a request must not close the connection that the test lives in.
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
    try:
        with django_db_blocker.unblock(), transaction.atomic():
            home = current_home()
            write_private(home.log_key, private_bytes(new_key()))
            certificates_ensure(home=home, address=intake_address(), now=datetime.now(UTC))
            folder = tmp_path_factory.mktemp("operator") / "keys"
            authority_install(bundle=operator_init(folder=folder, now=datetime.now(UTC)), now=datetime.now(UTC))
            yield Callers()
            transaction.set_rollback(True)
    finally:
        request_started.connect(close_old_connections)
        request_finished.connect(close_old_connections)


def plain(case):
    """Without what only few requests have, and nearly all of which is refused when it is made up."""
    for name in ("cursor", "fields"):
        (case.query or {}).pop(name, None)
    for name in ("If-Match", "If-None-Match"):
        (case.headers or {}).pop(name, None)
    return case


@pytest.mark.django_db
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(route.name for route in route_table(api)))
def test_every_answer_is_as_described(callers, name, caplog, django_db_blocker):
    caplog.set_level("CRITICAL")
    operation = operations()[name]
    known = {one.name: str(callers.known[one.name]) for one in operation.path_parameters if one.name in callers.known}
    fitting = operation.as_strategy(path_parameters=known or None).map(plain)
    cases = fitting | operation.as_strategy() | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, who=st.sampled_from(["alice", "alice", "dora"]))
    def ask(case, who) -> None:
        token = callers.tokens[who]
        with django_db_blocker.unblock(), transaction.atomic():
            answer = case.call(headers={"Authorization": f"Bearer {token}", "Host": "testserver"})
            transaction.set_rollback(True)
        case.validate_response(answer, checks=CHECKS)

    ask()
