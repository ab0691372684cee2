"""Ada's provider runs a chat program that wants to hear of tickets. It is a real HTTP server on this machine: it checks
every signature, and at times it fails, hangs, or lies."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.db import transaction

from forestall.server.alerts.tests.desk_world import World
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.models import Entry
from forestall.server.jobs import SCHEDULE
from forestall.server.loop import HANDLERS
from forestall.server.outbox.events import Event
from forestall.server.outbox.models import OutboxEvent
from forestall.server.outbox.services import event_record, events_route
from forestall.server.people.scope import NotAllowedError, Permission, Scope
from forestall.server.tickets import services as tickets
from forestall.server.webhooks import queries, rules, sending, services
from forestall.server.webhooks.models import Delivery, DeliveryState, Webhook, WebhookState
from forestall.server.webhooks.rules import WebhookError

SYSTEM = Scope.system("test")
OWNER = Scope.at("ada", None, Permission)
NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


class Receiver:
    """What a client's own programmer would write: it believes nothing that is not signed."""

    def __init__(self) -> None:
        self.secret, self.now = "", NOW
        self.answer: int | None = 200
        self.heard: list[dict] = []
        self.refused: list[str] = []
        self.hang = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                header = self.headers["Forestall-Signature"]
                if rules.signature_holds(secret=receiver.secret, body=body, header=header, now=receiver.now):
                    receiver.heard.append(json.loads(body) | {"_headers": dict(self.headers), "_path": self.path})
                else:
                    receiver.refused.append(header)
                if receiver.answer is None:
                    receiver.hang.wait(20)
                    return
                self.send_response(receiver.answer)
                if 300 <= receiver.answer < 400:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.hang.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def chat():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def world(db) -> World:
    return World()


def hook(chat: Receiver, client=None, **more) -> Webhook:
    row, chat.secret = services.webhook_make(
        name="chat", url=f"{chat.url}/hook?room=7", client=client, scope=OWNER, now=NOW, **more
    )
    return row


def tell(event: Event, subject: object, now: datetime = NOW, **detail: object) -> None:
    with transaction.atomic():
        event_record(event=event, subject=str(subject), at=now, detail=detail)
    events_route(table={event: (services.event_tell,)}, now=now)


def latest(webhook: Webhook) -> Delivery:
    return queries.deliveries(scope=SYSTEM).filter(webhook=webhook).first()


def ticket_of(world: World, device):
    world.report("fail", "/ is 93 % full", device=device)
    opened = tickets.ticket_open_or_join(alert=world.alert(device=device), now=NOW)
    OutboxEvent.objects.all().delete()
    return opened


def test_the_loop_tells_a_webhook_of_a_ticket_and_the_signature_holds(world, chat):
    ticket = ticket_of(world, world.web)
    row = hook(chat, events=[Event.TICKET_OPENED])
    tell(Event.TICKET_OPENED, ticket.number)
    assert services.deliveries_send(now=NOW) == 1
    assert chat.refused == []
    (heard,) = chat.heard
    assert heard["event"] == "ticket.opened"
    assert heard["client"] == {"id": str(world.acme.pk), "name": "Acme"}
    assert heard["subject"] == {"kind": "ticket", "id": str(ticket.number), "name": ticket.title}
    assert heard["url"].endswith(f"/tickets/{ticket.number}/")
    assert heard["_path"] == "/hook?room=7"
    assert heard["_headers"]["Forestall-Event"] == "ticket.opened"
    sent = latest(row)
    assert (sent.state, sent.status, sent.attempts) == (DeliveryState.DONE, 200, 1)
    assert sent.milliseconds is not None
    assert services.deliveries_send(now=NOW) == 0, "once is enough"


def test_every_event_is_told_on_and_the_schedule_sends(db):
    assert all(handlers[-1].__name__ == "other_programs_are_told" for handlers in HANDLERS.values())
    assert set(HANDLERS) == set(Event)
    assert {"tell other programs", "forget what was told and answered long ago"} <= {line.name for line in SCHEDULE}


@pytest.mark.parametrize("event", list(Event))
def test_an_event_whose_subject_is_gone_or_strange_stops_nothing(world, chat, event):
    hook(chat)
    tell(event, "7b0c9f3e-5a44-4a53-9d8e-0d6a3c1f2b11")
    tell(event, "no such thing")
    assert services.deliveries_send(now=NOW) == 2
    assert [one["client"] for one in chat.heard] == [None, None]


def test_a_client_s_webhook_hears_of_that_client_alone(world, chat):
    acme, bolt = ticket_of(world, world.web), ticket_of(world, world.leeds_box)
    hook(chat, client=world.bolt)
    tell(Event.TICKET_OPENED, acme.number)
    tell(Event.DEVICE_APPROVED, world.web.pk)
    tell(Event.TICKET_OPENED, bolt.number)
    tell(Event.JOB_FINISHED, "gone")
    services.deliveries_send(now=NOW)
    assert [one["client"]["name"] for one in chat.heard] == ["Bolt"]


def test_what_is_chosen_is_heard_and_nothing_secret_is_in_it(world, chat):
    hook(chat, events=[Event.SAMPLES_CROSSED])
    tell(Event.DEVICE_APPROVED, world.web.pk)
    tell(Event.SAMPLES_CROSSED, world.web.pk, metrics=["disk.used_percent"], password="hunter2")
    services.deliveries_send(now=NOW)
    (heard,) = chat.heard
    assert heard["detail"]["metrics"] == ["disk.used_percent"]
    assert "hunter2" not in json.dumps(heard)


def test_what_was_not_sent_is_tried_later_and_later_for_a_day(world, chat):
    chat.answer = 503
    row = hook(chat, events=[Event.DEVICE_APPROVED])
    tell(Event.DEVICE_APPROVED, world.web.pk)
    moments, now = [], NOW
    while True:
        services.deliveries_send(now=now)
        sent = latest(row)
        if sent.next_at is None:
            break
        assert services.deliveries_send(now=sent.next_at - timedelta(seconds=1)) == 0
        moments.append(sent.next_at)
        now = sent.next_at
    waits = [round((later - earlier).total_seconds()) for earlier, later in zip([NOW, *moments], moments, strict=False)]
    assert waits[:4] == [10, 20, 40, 80]
    assert max(waits) == 7200
    assert timedelta(hours=21) < moments[-1] - NOW <= timedelta(hours=24)
    assert (sent.state, sent.status) == (DeliveryState.FAILED, 503)
    assert len({one["id"] for one in chat.heard}) == 1, "the same message each time, under one id"
    chat.answer = 200
    services.delivery_repeat(delivery=sent, scope=OWNER, now=now)
    services.deliveries_send(now=now)
    assert latest(row).again_of_id == sent.pk
    assert latest(row).state == DeliveryState.DONE
    assert chat.heard[-1]["id"] == chat.heard[0]["id"]
    with pytest.raises(WebhookError, match="still waits"):
        services.delivery_repeat(
            delivery=services.webhook_ping(webhook=row, scope=OWNER, now=now), scope=OWNER, now=now
        )


def test_a_receiver_that_hangs_or_is_gone_or_sends_elsewhere_is_named(world, chat, monkeypatch):
    monkeypatch.setattr(sending, "TIMEOUT_SECONDS", 0.2)
    row = hook(chat)
    chat.answer = None
    services.webhook_ping(webhook=row, scope=OWNER, now=NOW)
    services.deliveries_send(now=NOW)
    assert latest(row).error == "no answer within 0 s"
    chat.hang.set()
    chat.answer = 302
    services.deliveries_send(now=NOW + timedelta(seconds=10))
    assert "redirect" in latest(row).error
    assert [one["_path"] for one in chat.heard] == ["/hook?room=7"] * 2, "never where the redirect leads"
    services.webhook_change(webhook=row, url="http://127.0.0.1:1/", scope=OWNER, now=NOW)
    services.deliveries_send(now=NOW + timedelta(seconds=60))
    assert latest(row).error == "nothing listens there"
    assert latest(row).status is None


def test_a_webhook_that_fails_for_days_is_switched_off_and_says_so(world, chat):
    chat.answer = 500
    row = hook(chat)
    for hours in range(0, 24 * 4, 6):
        now = NOW + timedelta(hours=hours)
        tell(Event.DEVICE_APPROVED, world.web.pk, now)
        services.deliveries_send(now=now)
    row.refresh_from_db()
    assert row.state == WebhookState.DISABLED
    assert row.disabled_because == "Nothing arrived since 2026-03-02 08:00 UTC: it answers HTTP 500"
    assert not queries.deliveries(scope=SYSTEM).filter(state=DeliveryState.WAITING).exists()
    told = Entry.objects.visible_to(SYSTEM).filter(kind=EvidenceKind.CLIENT_CHANGED, client=world.acme).last()
    assert told.payload["act"] == "disabled"
    with pytest.raises(WebhookError, match="resume it first"):
        services.webhook_ping(webhook=row, scope=OWNER, now=now)
    chat.answer = 200
    services.webhook_resume(webhook=row, scope=OWNER, now=now)
    services.webhook_ping(webhook=row, scope=OWNER, now=now)
    services.deliveries_send(now=now)
    row.refresh_from_db()
    assert (row.state, row.failing_since, row.last_success_at) == (WebhookState.ACTIVE, None, now)


def test_a_paused_webhook_hears_nothing_of_the_meantime(world, chat):
    row = hook(chat)
    services.webhook_ping(webhook=row, scope=OWNER, now=NOW)
    services.webhook_pause(webhook=row, scope=OWNER, now=NOW)
    tell(Event.DEVICE_APPROVED, world.web.pk)
    assert services.deliveries_send(now=NOW) == 0
    services.webhook_resume(webhook=row, scope=OWNER, now=NOW)
    assert services.deliveries_send(now=NOW) == 0
    assert chat.heard == []


def test_a_killed_worker_s_message_goes_out_again(world, chat):
    row = hook(chat)
    services.webhook_ping(webhook=row, scope=OWNER, now=NOW)
    services._claim(NOW, 10)
    assert services.deliveries_send(now=NOW) == 0, "somebody is at it"
    assert services.deliveries_send(now=NOW + services.LEASE) == 1
    assert latest(row).attempts == 2


def test_one_slow_receiver_leaves_room_for_the_others(world, chat):
    rows = [hook(chat) for _ in range(3)]
    for _ in range(20):
        services.webhook_ping(webhook=rows[0], scope=OWNER, now=NOW)
    services.webhook_ping(webhook=rows[1], scope=OWNER, now=NOW)
    claimed = services._claim(NOW, 8)
    assert [one.webhook_id for one in claimed].count(rows[0].pk) == services.EACH_AT_ONCE
    assert rows[1].pk in {one.webhook_id for one in claimed}


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("ftp://example.org/", "'ftp' is not taken"),
        ("https://", "names no host"),
        ("https://user:pass@example.org/", "no user and password"),
        ("https://example.org/#x", "#"),
        ("https://example.org/ x", "spaces"),
        ("https://example.org:99999/", "no address"),
        ("https://example.org/" + "x" * 2000, "2000"),
        ("javascript:alert(1)", "'javascript'"),
    ],
)
def test_an_address_that_cannot_be_is_refused_with_the_reason(world, url, named):
    with pytest.raises(WebhookError, match="url: ") as refusal:
        services.webhook_make(name="x", url=url, client=world.acme, scope=OWNER, now=NOW)
    assert named in str(refusal.value)


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "169.254.1.1", "fe80::1%eth0", "::ffff:169.254.169.254", "fd00:ec2::254", "0.0.0.0", "::",  # noqa: S104
     "100.100.100.200", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "224.0.0.1", "255.255.255.255"],
)  # fmt: skip
def test_no_webhook_reaches_where_a_cloud_keeps_its_credentials(world, chat, address, monkeypatch):
    assert rules.is_refused(address)
    found = [(2, 1, 6, "", (address, 80))]
    monkeypatch.setattr(sending.socket, "getaddrinfo", lambda *args, **named: found)
    row = hook(chat)
    services.webhook_ping(webhook=row, scope=OWNER, now=NOW)
    services.deliveries_send(now=NOW)
    assert "no webhook goes to link-local" in latest(row).error
    assert chat.heard == []


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "192.168.1.1", "8.8.8.8", "2606:4700::1111", "::1"])
def test_other_addresses_are_the_operator_s_choice(address):
    assert not rules.is_refused(address)


def test_a_signature_holds_for_what_was_sent_and_for_nothing_else():
    secret, body = "fsw_secret", b'{"event":"ticket.opened"}'
    header = rules.signature(secret=secret, body=body, at=NOW)
    assert rules.signature_holds(secret=secret, body=body, header=header, now=NOW)
    assert not rules.signature_holds(secret="other", body=body, header=header, now=NOW)
    assert not rules.signature_holds(secret=secret, body=body + b" ", header=header, now=NOW)
    assert not rules.signature_holds(secret=secret, body=body, header=header, now=NOW + timedelta(minutes=6))
    late = header.replace(f"t={int(NOW.timestamp())}", f"t={int(NOW.timestamp()) + 300}")
    assert not rules.signature_holds(secret=secret, body=body, header=late, now=NOW + timedelta(minutes=6))
    for nonsense in ("", "t=,v1=", "v1=x", "t=1e9,v1=x", "t=1"):
        assert not rules.signature_holds(secret=secret, body=body, header=nonsense, now=NOW)


def test_the_database_knows_neither_address_nor_secret(world, chat):
    row = hook(chat)
    kept = " ".join(str(value) for value in Webhook.objects.visible_to(SYSTEM).values_list().get(pk=row.pk))
    assert "room=7" not in kept
    assert chat.secret not in kept
    assert row.host == chat.url
    before = chat.secret
    _, chat.secret = services.webhook_rotate(webhook=row, scope=OWNER, now=NOW)
    assert chat.secret != before
    services.webhook_ping(webhook=row, scope=OWNER, now=NOW)
    services.deliveries_send(now=NOW)
    assert len(chat.heard) == 1


def test_who_may_make_one_where(world, chat):
    bob = Scope.at("bob", None, [Permission.CLIENT_CHANGE], clients=[world.bolt.pk])
    charlie = Scope.at("charlie", None, [Permission.CLIENT_CHANGE])
    make = {"name": "x", "url": chat.url, "now": NOW}
    own, _ = services.webhook_make(client=world.bolt, scope=bob, **make)
    for scope, client in ((bob, world.acme), (bob, None), (charlie, None)):
        with pytest.raises(NotAllowedError):
            services.webhook_make(client=client, scope=scope, **make)
    everybody, _ = services.webhook_make(client=None, scope=OWNER, **make)
    assert list(queries.webhooks(scope=bob)) == [own]
    with pytest.raises(Webhook.DoesNotExist):
        services.webhook_remove(webhook=everybody, scope=bob, now=NOW)
    with pytest.raises(NotAllowedError):
        services.webhook_pause(webhook=everybody, scope=charlie, now=NOW)
    assert not queries.may_change(webhook=everybody, scope=charlie)
    services.webhook_ping(webhook=everybody, scope=OWNER, now=NOW)
    assert list(queries.deliveries(scope=bob)) == [], "what all clients' webhook heard is nothing for one of them"
    services.webhook_remove(webhook=everybody, scope=OWNER, now=NOW)
    for client in (world.acme, world.bolt):
        acts = [
            one.payload["act"] for one in Entry.objects.visible_to(SYSTEM).filter(client=client, kind="client:changed")
        ]
        assert acts[-1] == "removed", "each client has on record what took its events out of the house"


def test_the_log_forgets_after_thirty_days(world, chat):
    row = hook(chat)
    services.webhook_ping(webhook=row, scope=OWNER, now=NOW)
    services.deliveries_send(now=NOW)
    assert services.deliveries_forget(now=NOW + timedelta(days=29)) == 0
    assert services.deliveries_forget(now=NOW + timedelta(days=31)) == 1
