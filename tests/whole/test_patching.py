"""Patching from the offer to the proof: real packages, a real apt and dpkg, a real agent's hands, the whole loop.

The device is a root of its own with apt and dpkg in it; what it reports is read there by the agent's collectors, and
what runs there was authorised by the agent from the operators' signatures alone. Only the network between is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from forestall.agent.act import ActState, execute
from forestall.agent.collect.registry import collect_one
from forestall.agent.tests.apt_world import MISSING, AptWorld, Repositories
from forestall.server.evidence.bundle import bundle_write
from forestall.server.patching.tests.ward import SYSTEM, Ward
from forestall.server.people.services import client_create, site_create
from forestall.server.runbooks import queries, services
from forestall.server.runbooks.operator import OperatorFolder, operator_init
from forestall.server.runbooks.tests.conftest import Office
from forestall.server.tickets.models import Ticket
from forestall.trust.dsse import decode
from forestall.trust.keys import new_key
from forestall.trust.sign import sign_statement
from forestall.trust.statements import Root, read_statement
from forestall.verify.bundle import verify_bundle
from forestall.wire.facts import Document

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.serial,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]


class Server(Ward):
    """Ada's server: its packages are real, its agent carries out what operators signed."""

    def __init__(self, office: Office, world: AptWorld, state: ActState) -> None:
        super().__init__(office)
        self.world, self.state = world, state
        self.booted_at = datetime.now(UTC) - timedelta(days=3)

    def documents(self) -> list[Document]:
        real = [collect_one(name, self.world.host) for name in ("updates", "software")]
        return [*real, *(one for one in super().documents() if one.name() in ("system", "services", "restarts"))]

    def look(self) -> None:
        """The device reports what it sees now."""
        self.office.now = datetime.now(UTC)
        self.report(microseconds=1)

    def works(self) -> None:
        """The device fetches what waits for it, carries it out, and answers."""
        commands, documents = queries.deliveries_for(device_ids=[self.device.pk])[self.device.pk]
        assert self.state.accept_documents(documents, now=datetime.now(UTC)) == []
        for command in commands:
            job = self.job()
            services.job_delivered(job_id=job.pk, device=self.device, now=datetime.now(UTC))
            context = self.world.context()
            result = execute(
                command, self.state, self.world.host, datetime.now(UTC), places=context.places,
                environment=self.world.environment,
            )  # fmt: skip
            assert result is not None
            self.office.now = datetime.now(UTC)
            self.office.receive(sign_statement(result, [self.office.device_key]))
        self.turn()


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repositories]:
    made = Repositories(tmp_path_factory.mktemp("repositories"))
    yield made
    made.close()


@pytest.fixture
def server(db: None, repositories: Repositories, tmp_path: Path) -> Server:
    now = datetime.now(UTC)
    world = AptWorld(tmp_path / "machine", repositories).prepare()
    client = client_create(name="Acme Ltd", timezone="Europe/London")
    site = site_create(client=client, name="Head office")
    bundle = operator_init(folder=tmp_path / "operator", now=now)
    services.authority_install(bundle=bundle, now=now)
    office = Office(
        client=client, site=site, device=None, device_key=None,  # type: ignore[arg-type]
        operator=OperatorFolder.open(tmp_path / "operator"), scope=SYSTEM, now=now,
    )  # fmt: skip
    office.device, office.device_key = office.new_device("web-01")
    root = read_statement(decode(bundle.root).body(), Root)
    state = ActState.create(
        tmp_path / "machine" / "agent", device_id=str(office.device.pk), client_id=str(client.pk),
        pinned_key_id=next(iter(root.root.keys)), root=bundle.root, now=now,
    )  # fmt: skip
    one = Server(office, world, state)
    one.policy(choose="security", terms={"least_free_mb": 1, "backup": "ignore", "rings": False})
    one.order(least_free_mb=[1])
    opened = now - timedelta(minutes=1)
    local = opened.astimezone(ZoneInfo(site.zone))
    one.window(starts_on=local.date(), starts_at=f"{local:%H:%M}", rrule="", minutes=180)
    return one


def test_a_security_fix_is_found_installed_in_the_window_and_verified(server: Server, tmp_path: Path) -> None:
    server.world.offer("security", "updates")
    server.look()
    assert server.states()["lib-a"] == "installing"
    assert server.row("tool").state == "blocked"  # no security fix
    server.works()
    row = server.row("lib-a")
    assert (row.state, row.candidate) == ("installed", "1.0-1+sec1"), (row.why, row.log_excerpt)
    assert server.world.installed()["lib-a"] == "1.0-1+sec1"
    server.look()
    row = server.row("lib-a")
    assert (row.state, row.why) == ("verified", "")
    assert server.world.installed()["tool"] == "1:1.0-1"
    assert not Ticket.objects.visible_to(SYSTEM).filter(kind="patching").exists()
    bundle = tmp_path / "evidence.bundle"
    bundle_write(path=bundle, scope=SYSTEM, client_id=None, now=datetime.now(UTC), log_key=new_key())
    assert verify_bundle(bundle).valid
    assert b"deployment:changed" in bundle.read_bytes()


def test_a_package_that_fails_says_so_keeps_its_log_and_opens_a_ticket(server: Server) -> None:
    server.world.offer("security", "broken")
    server.world.run("apt-mark", "hold", "hanging")  # it would take its ten minutes
    server.look()
    server.works()
    assert server.row("lib-a").state == "installed"
    failed = server.row("failing")
    assert failed.state == "failed", (failed.why, failed.candidate, server.job().result_steps)
    assert "the database does not answer" in failed.log_excerpt
    (ticket,) = Ticket.objects.visible_to(SYSTEM).filter(kind="patching")
    assert failed.ticket_id == ticket.number
    server.look()
    assert server.row("lib-a").state == "verified"
    assert server.row("failing").state == "failed"
    assert server.row("hanging").state == "blocked"
