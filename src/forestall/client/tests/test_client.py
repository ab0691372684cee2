"""Bob writes a program against the typed client. The server behind it is the real one; the documents' examples run."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from forestall.client import (
    ApiError,
    ChangedError,
    Client,
    NotAllowedError,
    NotFoundError,
    NotSignedInError,
    UnreachableError,
    WrongRequestError,
    core,
)
from forestall.server.alerts.tests.desk_world import World
from forestall.server.people.roles import Role
from forestall.server.people.scope import Scope
from forestall.server.people.services import person_create, token_create
from forestall.server.tickets import services as tickets
from forestall.server.tickets.models import TicketEvent
from forestall.server.webhooks.rules import signature

ROOT = Path(__file__).resolve().parents[4]
DOCS = ROOT / "docs"
SYSTEM = Scope.system("test")


@pytest.fixture
def world(transactional_db) -> World:
    world = World()
    world.now = datetime.now(UTC)
    for device in (world.web, world.leeds_box):
        world.report("fail", "/ is 93 % full", device=device)
        tickets.ticket_open_or_join(alert=world.alert(device=device), now=world.now)
    return world


@pytest.fixture
def bob(world, live_server, monkeypatch):
    person = person_create(username="bob", password="a long password", role=Role.OWNER)
    token = token_create(person=person, name="program")
    monkeypatch.setenv("FORESTALL_URL", live_server.url)
    monkeypatch.setenv("FORESTALL_TOKEN", token)
    with Client(live_server.url, token=token) as client:
        yield client


def test_lists_are_walked_to_their_end_and_typed(world, bob):
    devices = list(bob.device_list(limit=1))
    assert [one.name for one in devices] == ["leeds-01", "reception-pc", "web-01"]
    assert devices[0].client.id == world.bolt.pk
    assert isinstance(devices[0].enrolled_at, datetime)
    assert [one.name for one in bob.device_list(client=world.acme.pk, ordering="-name")] == ["web-01", "reception-pc"]


def test_what_is_left_out_is_not_sent_and_none_is(bob):
    usual = bob.token_make_own(name="usual")
    assert usual.expires_at is not None
    assert bob.token_make_own(name="for ever", expires_at=None).expires_at is None
    assert bob.token_remove(usual.id) is None


def test_a_refusal_is_an_exception_with_the_servers_words(world, bob, live_server):
    with pytest.raises(NotFoundError, match="no such thing"):
        bob.device_show(uuid4())
    with pytest.raises(WrongRequestError) as wrong:
        bob.device_revoke(world.web.pk, reason="")
    assert wrong.value.errors[0]["where"].endswith("reason")
    with pytest.raises(NotSignedInError):
        Client(live_server.url, token="fsp_wrong").kind_list()
    bob.device_show(world.web.pk)
    seen = bob.etag
    bob.device_revoke(world.web.pk, reason="sold")
    with pytest.raises(ChangedError):
        bob.device_revoke(world.web.pk, reason="stolen", if_match=seen)
    narrow = bob.token_make_own(name="narrow", permissions=["device.view"])
    with pytest.raises(NotAllowedError, match=r"ticket\.view"):
        list(Client(live_server.url, token=narrow.token).ticket_list())
    assert issubclass(ChangedError, ApiError)


def test_a_request_whose_answer_was_lost_is_sent_again_and_done_once(world, bob, monkeypatch):
    number = next(iter(bob.ticket_list())).number
    monkeypatch.setattr(core, "PAUSE_SECONDS", 0)
    getting = bob._connection.getresponse
    lost = []

    def first_is_lost():
        answer = getting()
        if not lost:
            lost.append(answer.read())
            raise ConnectionResetError("lost")
        return answer

    monkeypatch.setattr(bob._connection, "getresponse", first_is_lost)
    assert bob.ticket_comment(number, text="once").text == "once"
    assert lost
    assert TicketEvent.objects.visible_to(SYSTEM).filter(kind="commented").count() == 1


def test_a_server_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(core, "PAUSE_SECONDS", 0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UnreachableError, match="does not answer"):
        Client(f"http://127.0.0.1:{port}", token="x").kind_list()
    with pytest.raises(ValueError, match="no address"):
        Client("forestall.example.org", token="x")


def test_an_answer_that_is_no_problem_is_a_refusal_all_the_same(monkeypatch):
    """A proxy in between, which has its own words."""
    monkeypatch.setattr(core, "PAUSE_SECONDS", 0)
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        for _ in range(core.ATTEMPTS):
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\nConnection: close\r\n\r\noops")

    threading.Thread(target=answer, daemon=True).start()
    with pytest.raises(ApiError, match="Bad Gateway") as refusal:
        Client(f"http://127.0.0.1:{server.getsockname()[1]}", token="x").kind_list()
    assert refusal.value.status == 502
    server.close()


def examples(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


@pytest.mark.skipif(not DOCS.is_dir(), reason="installed without the docs")
def test_the_documents_examples_run(bob, capsys):
    names: dict = {}
    for example in examples("api.md"):
        exec(compile(example, "docs/api.md", "exec"), names)  # noqa: S102 - our own document
    out = capsys.readouterr().out
    assert "web-01 Acme" in out
    assert "2 devices" in out or "1 devices" in out


@pytest.mark.skipif(not DOCS.is_dir(), reason="installed without the docs")
def test_the_documents_receiver_believes_us_and_nobody_else():
    names: dict = {}
    exec(compile(examples("protocol/webhooks.md")[0], "webhooks.md", "exec"), names)  # noqa: S102 - our own document
    body = b'{"event":"ticket.opened"}'
    header = signature(secret="fsw_x", body=body, at=datetime.now(UTC))
    assert names["is_from_forestall"]("fsw_x", header, body)
    assert not names["is_from_forestall"]("fsw_y", header, body)
    assert not names["is_from_forestall"]("fsw_x", header, body + b" ")


@pytest.mark.skipif(not (ROOT / "tools" / "client.py").exists(), reason="installed without the tools")
def test_the_client_is_as_the_api_says():
    environment = {name: value for name, value in os.environ.items() if name != "FORESTALL_DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, "tools/client.py", "--check"], cwd=ROOT, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
