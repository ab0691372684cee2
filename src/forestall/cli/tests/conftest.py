"""Ada with her operator's folder and a token, a server with one device."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from forestall.cli.main import cli
from forestall.server.inventory.services import device_approve, device_enrol, enrolment_token_create
from forestall.server.people.roles import Role
from forestall.server.people.scope import Scope
from forestall.server.people.services import client_create, person_create, site_create, token_create
from forestall.server.runbooks import queries, services
from forestall.server.runbooks.operator import operator_init
from forestall.trust.keys import new_key, public_bytes

ADA = Scope.system("ada")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "operator"
    operator_init(folder=folder, now=datetime.now(UTC))
    monkeypatch.setenv("FORESTALL_OPERATOR", str(folder))
    return folder


@pytest.fixture
def device(db, transactional_db, folder):
    now = datetime.now(UTC)
    site = site_create(client=client_create(name="Acme Ltd", timezone="UTC"), name="Head office")
    services.authority_install(bundle=operator_init(folder=folder, now=now), now=now)
    token = enrolment_token_create(
        site=site, scope=ADA, now=now, ca_fingerprint="0" * 64, root_fingerprint=queries.root_key_id()
    )
    device = device_enrol(
        token_secret=token.split(".")[1],
        public_key=public_bytes(new_key()),
        hostname="web-01",
        machine_id="m",
        agent_version="0",
        now=now,
    )
    device_approve(device=device, scope=ADA, now=now)
    return device


@pytest.fixture
def forestall(device, live_server, monkeypatch):
    """Run a command as Ada."""
    person = person_create(username="ada", password="correct horse battery", role=Role.OWNER)
    monkeypatch.setenv("FORESTALL_URL", live_server.url)
    monkeypatch.setenv("FORESTALL_TOKEN", token_create(person=person, name="test"))

    def run(*arguments: str, answer: str = ""):
        return CliRunner().invoke(cli, arguments, input=answer, standalone_mode=False, env={"COLUMNS": "200"})

    return run
