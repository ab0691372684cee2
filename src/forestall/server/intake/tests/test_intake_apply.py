"""From the journal to the database: exactly once, whatever fails on the way."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import OperationalError

sys.path.insert(0, str(Path(__file__).parent))
from near_intake import NAMES, NearIntake

from forestall.server.home import Home
from forestall.server.intake import apply
from forestall.server.inventory import queries, services
from forestall.server.inventory.models import Device, JournalPosition, SetAside
from forestall.server.metrics.store import open_store
from forestall.server.outbox.models import OutboxEvent
from forestall.server.people.scope import Scope
from forestall.server.people.services import client_create, site_create
from forestall.trust.keys import public_bytes
from forestall.wire import codec
from forestall.wire.checkin import FactsAffirmed, FactsReport
from forestall.wire.facts import Package, Software, System

pytestmark = pytest.mark.django_db(transaction=True)
SCOPE = Scope.system("test")


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path)
    home.server.mkdir()
    return home


@pytest.fixture
def store(home):
    store = open_store(home)
    yield store
    store.close()


@pytest.fixture
def near(home):
    """Intake beside a database that knows its devices."""
    near = NearIntake(home.journal)
    site = site_create(client=client_create(name="Acme", timezone="UTC"), name="Main site")
    for device_id, key in zip(near.devices, near.keys, strict=True):
        Device.objects.create(
            id=device_id,
            client=site.client,
            site=site,
            name=f"pc-{device_id.int}",
            public_key=public_bytes(key),
            enrolled_at=datetime.now(UTC),
        )
    return near


def post(near, *messages):
    """Send check-ins (device number, message) and stop intake."""

    async def run():
        async with near.running():
            for device, message in messages:
                status, answer = await near.post(device, codec.pack(message))
                assert status == 200, answer

    asyncio.run(run())


def report(document):
    return FactsReport(collected_at=datetime.now(UTC), digest=codec.facts_digest(document), document=document)


def samples(store, near, device=0):
    now = datetime.now(UTC)
    found = store.range(
        device_id=near.devices[device], names=NAMES, start=now - timedelta(hours=1), end=now + timedelta(hours=1)
    )
    return found[NAMES[0]].mean.tolist() if found else []


def run(home, store, most=500):
    return apply.journal_apply(home=home, store=store, now=datetime.now(UTC), most=most)


def test_before_intake_has_started_there_is_nothing_to_apply(home, store):
    assert run(home, store) == 0


def test_rows_are_applied_once_in_pages(home, store, near):
    post(near, *((0, near.message(number, value=float(number))) for number in range(1, 8)))
    assert [run(home, store, most=3) for _ in range(4)] == [3, 3, 1, 0]
    assert samples(store, near) == [1, 2, 3, 4, 5, 6, 7]
    device = queries.devices(scope=SCOPE).get(pk=near.devices[0])
    assert (device.boot_id, device.agent_version) == ("b", "1")
    assert datetime.now(UTC) - device.last_check_in_at < timedelta(seconds=30)


def test_a_worker_that_dies_between_samples_and_database_applies_again_and_doubles_nothing(
    home, store, near, monkeypatch
):
    software = Software(packages=(Package(name="libc6", version="1"),))
    post(near, (0, near.message(1, facts=[report(software)])), (0, near.message(2, value=95.0)))

    def dies(applied):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(apply, "_update_devices", dies)
        with pytest.raises(KeyboardInterrupt):
            run(home, store)
    assert samples(store, near) == [10.0, 95.0], "samples went first"
    assert not JournalPosition.objects.exists()
    assert not OutboxEvent.objects.exists()
    assert queries.facts_meta(scope=SCOPE, device=near.devices[0]) == {}
    assert run(home, store) == 2
    assert run(home, store) == 0
    assert samples(store, near) == [10.0, 95.0]
    assert sorted(OutboxEvent.objects.values_list("name", flat=True)) == ["facts.changed", "samples.crossed"]


def test_a_part_that_cannot_be_applied_is_set_aside_and_stops_no_other(home, store, near, monkeypatch):
    poison, good = System(hostname="h", os_id="d", os_name="D", os_version="1"), Software(manager="dpkg")
    post(
        near,
        (0, near.message(1, facts=[report(poison), report(good)])),
        (1, near.message(1, value=20.0)),
    )
    honest = services._copy_system

    def defect(device, system):
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(services, "_copy_system", defect)
    assert run(home, store) == 2
    monkeypatch.setattr(services, "_copy_system", honest)
    (row,) = queries.set_aside(scope=SCOPE)
    assert (row.part, row.error, row.device_id) == ("facts:system", "ZeroDivisionError: a defect", near.devices[0])
    assert codec.decode_check_in(codec.expand(bytes(row.body))).facts[0].document == poison
    # The failed part left nothing behind, its neighbours are whole.
    assert set(queries.facts_meta(scope=SCOPE, device=near.devices[0])) == {"software"}
    assert samples(store, near, 1) == [20.0]


def test_a_database_that_fails_is_not_the_check_ins_fault(home, store, near, monkeypatch):
    post(near, (0, near.message(1, facts=[report(Software(manager="dpkg"))])))

    def locked(**arguments):
        raise OperationalError("database is locked")

    with monkeypatch.context() as broken:
        broken.setattr(apply, "facts_receive", locked)
        with pytest.raises(OperationalError):
            run(home, store)
    assert not SetAside.objects.visible_to(SCOPE).exists()
    assert run(home, store) == 1
    assert set(queries.facts_meta(scope=SCOPE, device=near.devices[0])) == {"software"}


def test_a_device_that_is_gone_from_the_database_blocks_nobody(home, store, near):
    post(near, (2, near.message(1)), (0, near.message(1)))
    Device.objects.visible_to(SCOPE).filter(pk=near.devices[2]).delete()
    assert run(home, store) == 2
    (row,) = SetAside.objects.visible_to(SCOPE)
    assert row.error == f"no device {near.devices[2]} is known"


def test_a_new_journal_file_is_counted_from_its_beginning(home, store, near):
    post(near, (0, near.message(1)), (0, near.message(2)))
    assert run(home, store) == 2
    for file in home.server.glob("journal.sqlite3*"):
        file.unlink()
    again = NearIntake(home.journal)
    post(again, (0, again.message(1, value=33.0)))
    assert run(home, store) == 1
    assert samples(store, near)[-1] == 33.0


def test_a_document_the_server_does_not_hold_is_asked_for(home, store, near):
    wrong = FactsAffirmed(name="software", collected_at=datetime.now(UTC), digest=b"x" * 32)
    post(near, (0, near.message(1, affirmed=[wrong])))
    run(home, store)
    assert list(
        Device.objects.visible_to(SCOPE).get(pk=near.devices[0]).facts_wanted.values_list("name", flat=True)
    ) == ["software"]
