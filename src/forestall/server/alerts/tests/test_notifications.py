"""Sending: once, later again when it fails, and never a secret where people look."""

from __future__ import annotations

import http.server
import json
import threading
from datetime import timedelta

import pytest
from django.db import connection

from forestall.server.alerts import services
from forestall.server.alerts.models import Notification, NotificationRoute
from forestall.server.alerts.routes import (
    RouteError,
    route_change,
    route_create,
    route_enable,
    route_remove,
    route_test,
)
from forestall.server.alerts.sealing import SealError, seal, unseal
from forestall.server.alerts.services import MOST_ATTEMPTS, notifications_send
from forestall.server.alerts.tests.desk_world import SYSTEM, World
from forestall.server.checks.result import Risk
from forestall.server.evidence.models import Entry
from forestall.server.people.roles import ROLE_PERMISSIONS, Role
from forestall.server.people.scope import NotAllowedError, Scope

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(db) -> World:
    return World()


def newest() -> Notification:
    return Notification.objects.visible_to(SYSTEM).order_by("-pk").first()


def test_v19_the_address_is_sealed_and_never_shown_whole(world: World) -> None:
    route = world.telephone()
    assert "hunter2secret" in NotificationRoute.objects.visible_to(SYSTEM).get(pk=route.pk).url
    world.at("09:00").report("fail")
    with connection.cursor() as cursor:
        for table in ("alerts_notificationroute", "alerts_notification"):
            cursor.execute(f"SELECT * FROM {table}")  # noqa: S608 - two names of ours
            assert "hunter2secret" not in repr(cursor.fetchall())
    assert "localhost" in route.shown_url


def test_another_servers_secret_does_not_open_it(settings) -> None:
    sealed = seal("json://x")
    assert unseal(sealed) == "json://x"
    settings.SECRET_KEY = "another"
    with pytest.raises(SealError, match="enter it again"):
        unseal(sealed)


def test_a_route_that_cannot_be_opened_fails_and_the_others_are_sent(world: World) -> None:
    broken = world.telephone(name="a")
    world.telephone(name="b")
    NotificationRoute.objects.visible_to(SYSTEM).filter(pk=broken.pk).update(sealed_url="rubbish")
    world.at("09:00").report("fail")
    assert len(world.send()) == 1
    states = {one.sent_to[0]: (one.state, one.result) for one in world.notifications()}
    assert states == {"a": ("waiting", "not delivered: SealError"), "b": ("sent", "delivered")}


def test_what_is_not_delivered_is_tried_again_later_and_later_and_then_given_up(world: World) -> None:
    world.telephone()
    world.at("09:00").report("fail")
    waits = []
    for attempt in range(1, MOST_ATTEMPTS + 1):
        assert notifications_send(now=world.now, send=lambda *_: False) == 0
        one = newest()
        assert one.attempts == attempt
        if attempt < MOST_ATTEMPTS:
            assert one.state == "waiting"
            waits.append((one.not_before - world.now).total_seconds())
            assert notifications_send(now=world.now, send=lambda *_: True) == 0  # not before its time
            world.now = one.not_before
    assert waits == [30, 60, 120, 240, 480]
    assert (newest().state, newest().result) == (
        "failed",
        "not delivered: the service refused it or could not be reached",
    )
    world.now += timedelta(days=1)
    assert notifications_send(now=world.now, send=lambda *_: True) == 0


def test_an_error_keeps_no_secret(world: World, caplog) -> None:
    world.telephone()
    world.at("09:00").report("fail")

    def explode(url: str, title: str, text: str) -> bool:
        raise OSError(f"cannot reach {url}")

    notifications_send(now=world.now, send=explode)
    assert newest().result == "not delivered: OSError"
    assert "hunter2secret" not in caplog.text


def test_a_worker_that_died_while_sending_leaves_it_to_another(world: World) -> None:
    world.telephone()
    world.at("09:00").report("fail")
    with pytest.raises(KeyboardInterrupt):
        notifications_send(now=world.now, send=lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert newest().state == "sending"
    assert notifications_send(now=world.now, send=lambda *_: True) == 0
    assert notifications_send(now=world.now + services.SEND_LEASE, send=lambda *_: True) == 1


def test_a_removed_route_is_not_tried_again(world: World) -> None:
    route = world.telephone()
    world.at("09:00").report("fail")
    NotificationRoute.objects.visible_to(SYSTEM).filter(pk=route.pk).delete()
    assert world.send() == []
    assert (newest().state, newest().result) == ("failed", "the route was removed")


def test_it_arrives_at_a_real_service(world: World) -> None:
    received = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.handle_request, daemon=True)
        thread.start()
        route_create(
            name="hook",
            url=f"json://127.0.0.1:{server.server_port}/x",
            minimum_risk=Risk.LOW,
            scope=SYSTEM,
            now=world.now,
        )
        world.at("09:00").report("fail", "<b>93 %</b> full")
        assert notifications_send(now=world.now) == 1
        thread.join(timeout=10)
    assert (received[0]["title"], received[0]["message"]) == ("FAIL: Disk space: / on web-01", "<b>93 %</b> full")


def test_who_may_set_a_route(world: World) -> None:
    def scope(role: Role, everywhere: bool) -> Scope:
        places = None if everywhere else frozenset({world.acme.pk})
        return Scope.at("x", 1, ROLE_PERMISSIONS[role], clients=places)

    def make(scope: Scope, **more) -> NotificationRoute:
        return route_create(name="r", url="json://h/", minimum_risk=Risk.LOW, scope=scope, now=world.now, **more)

    assert make(scope(Role.OWNER, everywhere=True)).client is None
    assert make(scope(Role.OWNER, everywhere=False), client=world.acme).client == world.acme
    with pytest.raises(RouteError, match="every client"):
        make(scope(Role.OWNER, everywhere=False))
    with pytest.raises(type(world.bolt).DoesNotExist):
        make(scope(Role.OWNER, everywhere=False), client=world.bolt)
    with pytest.raises(NotAllowedError):
        make(scope(Role.TECHNICIAN, everywhere=True))


def test_a_bad_address_is_refused_without_being_repeated(world: World) -> None:
    with pytest.raises(RouteError) as refused:
        route_create(name="r", url="bogus://hunter2secret", minimum_risk=Risk.LOW, scope=SYSTEM, now=world.now)
    assert "hunter2secret" not in str(refused.value)
    with pytest.raises(RouteError, match="needs a name"):
        route_create(name=" ", url="json://h/", minimum_risk=Risk.LOW, scope=SYSTEM, now=world.now)


def test_a_switched_off_route_can_be_switched_on_again(world: World) -> None:
    route = world.telephone()
    route_enable(route=route, enabled=False, scope=SYSTEM, now=world.now)
    world.at("09:00").report("fail")
    assert world.notifications() == []
    route_enable(route=route, enabled=True, scope=SYSTEM, now=world.now)
    world.at("09:10").report("fail", target="/var")
    assert len(world.notifications()) == 1


def test_a_route_is_tried_for_real_changed_and_removed_and_its_secret_is_in_no_record(world: World) -> None:
    alice = Scope.at("alice", 1, ROLE_PERMISSIONS[Role.SERVICE_MANAGER], clients=[world.acme.pk])
    route = route_create(
        name="phone", url="json://bob:hunter2secret@h/", minimum_risk=Risk.HIGH, scope=alice, now=world.now,
        client=world.acme,
    )  # fmt: skip
    sent: list[tuple[str, str, str]] = []
    tried = route_test(route=route, scope=alice, now=world.now, send=lambda *what: sent.append(what) or True)
    assert tried.delivered
    assert "hunter2secret" not in tried.words
    assert sent[0][0] == "json://bob:hunter2secret@h/"
    assert "alice tried the route 'phone'" in sent[0][2]

    def explode(url: str, title: str, text: str) -> bool:
        raise OSError(f"cannot reach {url}")

    assert route_test(route=route, scope=alice, now=world.now, send=explode).words == "not delivered: OSError"
    route_change(route=route, url="json://bob:hunter3secret@h/", scope=alice, now=world.now)
    route_change(route=route, minimum_risk=Risk.LOW, name="pager", scope=alice, now=world.now)
    route_remove(route=route, scope=alice, now=world.now)
    entries = list(Entry.objects.visible_to(SYSTEM).filter(client=world.acme, kind="client:changed").order_by("index"))
    assert [entry.payload["act"] for entry in entries] == ["made", "changed", "changed", "removed"]
    assert entries[2].payload["before"] == {"name": "phone", "minimum_risk": "high"}
    assert "secret" not in str([entry.payload for entry in entries])
    assert not NotificationRoute.objects.visible_to(SYSTEM).exists()


def test_a_route_of_another_client_is_not_there_and_one_of_all_clients_is_not_ones_own(world: World) -> None:
    alice = Scope.at("alice", 1, ROLE_PERMISSIONS[Role.SERVICE_MANAGER], clients=[world.acme.pk])
    common = route_create(name="all", url="json://h/", minimum_risk=Risk.LOW, scope=SYSTEM, now=world.now)
    theirs = route_create(
        name="bolt", url="json://h/", minimum_risk=Risk.LOW, scope=SYSTEM, now=world.now, client=world.bolt
    )
    for route in (common, theirs):
        for act in (route_test, route_remove):
            with pytest.raises(NotificationRoute.DoesNotExist):
                act(route=route, scope=alice, now=world.now)
    seen = {entry.client_id for entry in Entry.objects.visible_to(SYSTEM).filter(kind="client:changed")}
    assert seen == {world.acme.pk, world.bolt.pk}, "what holds for every client is on record at every client"


def test_the_servers_own_screen_is_no_route(world: World) -> None:
    with pytest.raises(RouteError, match="only reach the server"):
        route_create(name="r", url="syslog://", minimum_risk=Risk.LOW, scope=SYSTEM, now=world.now)
