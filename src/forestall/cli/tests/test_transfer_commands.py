"""Mia moves a client in from a terminal, tags what came, and lets a client go with all its data."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from click.testing import CliRunner
from django.conf import settings
from django.test import Client as Browser

from forestall.cli.client import Api, ApiError
from forestall.cli.main import cli
from forestall.server.home import read_or_make_secret
from forestall.server.inventory.models import Device
from forestall.server.people.models import Client, Person, Site
from forestall.server.people.roles import Role
from forestall.server.people.scope import Scope
from forestall.server.people.services import client_create, person_create, site_create, token_create

SYSTEM = Scope.system("test")
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


@pytest.fixture
def mia(transactional_db, monkeypatch) -> Person:
    read_or_make_secret(settings.HOME.log_key)
    person = person_create(username="mia", password="a long password", role=Role.OWNER)
    token = token_create(person=person, name="terminal")
    browser = Browser(raise_request_exception=False)

    def raw(self: Api, method: str, path: str, body: object = None, **_: object) -> bytes:
        more = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        answer = browser.generic(method, f"/api/v1{path}", headers={"authorization": f"Bearer {token}"}, **more)
        content = b"".join(answer.streaming_content) if answer.streaming else answer.content
        if answer.status_code >= 400:
            raise ApiError(answer.status_code, json.loads(content)["detail"])
        return content

    monkeypatch.setattr(Api, "raw", raw)
    monkeypatch.setattr(Api, "connect", classmethod(lambda cls: cls(url="http://here", token=token)))
    return person


@pytest.fixture
def munich(mia) -> Site:
    return site_create(client=client_create(name="Acme", timezone="UTC"), name="Munich")


def run(*arguments: str, answer: str = ""):
    return CliRunner().invoke(cli, arguments, standalone_mode=False, input=answer, env={"COLUMNS": "200"})


def said(*arguments: str, answer: str = "") -> str:
    done = run(*arguments, answer=answer)
    assert done.exception is None, done.exception
    return done.output


def device(site: Site, name: str, role: str = "server") -> Device:
    return Device.objects.create(
        client=site.client, site=site, name=name, role=role, status="approved", approved_at=NOW, enrolled_at=NOW,
        public_key=uuid4().bytes * 2,
    )  # fmt: skip


def test_a_list_is_tried_imported_and_taken_back(mia, tmp_path):
    example = tmp_path / "clients.csv"
    example.write_text(said("import", "clients", "--template").split("  name:")[0])
    with example.open("a") as file:
        file.write("Bolt,Mars/Base\n")
    done = run("import", "clients", str(example))
    assert "■ cannot be taken" in done.output
    assert "'Mars/Base'" in done.output
    assert "1 of 2 lines cannot be taken: nothing was imported" in str(done.exception)
    example.write_text("name,timezone\nBolt,Europe/London\n")
    shown = said("import", "clients", str(example))
    assert "● new" in shown
    assert "Nothing was changed. To do it, add --apply." in shown
    assert not Client.objects.visible_to(SYSTEM).exists()
    done = said("import", "clients", str(example), "--apply")
    assert "To take it back: forestall import --undo" in done
    number = done.split()[-1]
    assert "clients.csv" in said("import")
    assert said("import", "--undo", number) == f"Import {number} is undone: 1 taken away, 0 as they were.\n"
    assert "undone by mia" in said("import")


def test_devices_are_tagged_and_grouped(munich):
    device(munich, "web-01"), device(munich, "web-02"), device(munich, "till-01", "endpoint")
    assert said("tags", "web-01", "till-01", "--add", "VIP") == "2 of 2 devices changed.\n"
    assert "vip" in said("tags")
    out = said("groups", "VIP servers", "--create", "--role", "server", "--tag", "vip", "--device", "web-02")
    assert out == "VIP servers holds 2 devices: server tagged vip.\n"
    shown = said("groups", "VIP servers")
    assert "web-01" in shown
    assert "till-01" not in shown
    assert "across clients" in said("groups")
    assert said("groups", "VIP servers", "--delete") == "The group VIP servers is gone; its devices stay.\n"
    assert "tag: 'a,b' is not a word" in str(run("tags", "web-01", "--add", "a,b").exception)


def test_assets_are_listed_with_what_nobody_watches(munich):
    device(munich, "till-01")
    assert "it is the device till-01" in said("assets", "till-01", "--add", "Munich", "--set", "serial=S-1")
    assert "nobody watches it yet" in said("assets", "printer", "--add", "Munich", "--set", "role=printer")
    assert "till-01" not in said("assets", "--unwatched")
    assert said("assets", "S-1", "--set", "warranty_until=2020-01-01") == "till-01 is changed.\n"
    assert "2020-01-01 ■ over" in said("assets")
    assert "no site is called 'Graz'" in str(run("assets", "x", "--add", "Graz").exception)
    assert said("assets", "printer", "--remove") == "printer is off the list.\n"


def test_a_client_takes_its_data_along_and_goes(munich, tmp_path):
    device(munich, "web-01")
    path = tmp_path / "acme.zip"
    assert "It holds personal data" in said("export", "Acme", "--out", str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    archive = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    assert b"web-01" in archive.read("data/inventory.device.jsonl")
    assert "is there already" in str(run("export", "Acme", "--out", str(path)).exception)
    refused = run("remove-client", "Acme", "--reason", "moved", answer="acme\n")
    assert "'acme' is not the client's name" in str(refused.exception)
    assert "devices" in refused.output
    out = said("remove-client", "Acme", "--reason", "moved", answer="Acme\n")
    assert "Acme is removed. Evidence: acme/#" in out
    assert "no client is called 'Acme'" in str(run("export", "Acme").exception)
    assert not Device.objects.visible_to(SYSTEM).exists()
