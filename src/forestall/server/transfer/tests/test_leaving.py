"""Acme leaves. It takes everything along; what stays is the proof that it was served."""

from __future__ import annotations

import hashlib
import json
import zipfile
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings

from forestall.server.alerts.tests.desk_world import SYSTEM
from forestall.server.clients.services import contact_add
from forestall.server.evidence.log_key import log_key_read
from forestall.server.home import current_home, read_or_make_secret
from forestall.server.inventory.labels import devices_tag, group_create
from forestall.server.inventory.models import Device
from forestall.server.metrics.embedded import EmbeddedStore
from forestall.server.metrics.store import Batch
from forestall.server.outbox.events import Event
from forestall.server.people import queries as people
from forestall.server.people.models import Grant
from forestall.server.people.queries import scope_of
from forestall.server.people.roles import ROLE_PERMISSIONS, Role
from forestall.server.people.scope import NotAllowedError, Scope
from forestall.server.people.services import person_create, token_create
from forestall.server.reports import services as reports
from forestall.server.tickets import services as tickets
from forestall.server.tickets.models import Ticket
from forestall.server.tickets.tests.desk_story import Story
from forestall.server.transfer import leaving
from forestall.server.transfer.leaving import LeavingError, client_export, client_remove, rows_of, scoped_models
from forestall.verify.bundle import verify_bundle

pytestmark = pytest.mark.django_db


class LeavingStory(Story):
    def table(self) -> dict:
        table = super().table()
        table[Event.TICKET_RESOLVED].append(
            lambda event, now: reports.service_report_make_by_id(ticket_id=event.subject, now=now)
        )
        return table


@pytest.fixture
def story(db) -> LeavingStory:
    read_or_make_secret(settings.HOME.log_key)
    story = LeavingStory()
    story.at("09:00").report("fail", "/ is 93 % full")
    story.report("fail", "/ is 99 % full", device=story.leeds_box)
    ticket = story.ticket()
    tickets.ticket_resolve(ticket=ticket, reason="Deleted old logs of Carla.", scope=SYSTEM, now=story.now)
    story.route()
    story.at("10:00").report("fail", "hangs", kind="service_down", target="nginx")
    devices_tag(devices=[story.web], add=["vip"], scope=SYSTEM, now=story.now)
    group_create(name="Servers", client=story.acme, devices=[story.web], scope=SYSTEM, now=story.now)
    contact_add(client=story.acme, name="Carla", email="carla@acme.example", scope=SYSTEM, now=story.now)
    return story


def export(
    story: LeavingStory, path: Path, scope: Scope = SYSTEM, store: EmbeddedStore | None = None
) -> zipfile.ZipFile:
    client_export(
        client=story.acme,
        path=path,
        scope=scope,
        now=story.now,
        log_key=log_key_read(home=current_home()),
        store=store or EmbeddedStore(path.parent / "samples.sqlite3"),
    )
    return zipfile.ZipFile(path)


def test_everything_of_one_client_and_nothing_of_another(story, tmp_path):
    store = EmbeddedStore(tmp_path / "s.sqlite3")
    for device in (story.web, story.leeds_box):
        at = int((story.now - timedelta(minutes=5)).timestamp() * 1000)
        store.append([Batch(device.pk, ("cpu.used_percent",), [at], np.array([[42.0]]))])
    archive = export(story, tmp_path / "acme.zip", store=store)
    manifest = json.loads(archive.read("manifest.json"))
    for name, said in manifest.items():
        content = archive.read(name)
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (said["sha256"], said["bytes"])
    everything = b"".join(archive.read(name) for name in archive.namelist())
    assert b"leeds" not in everything.lower()
    assert b"Bolt" not in everything
    assert str(story.leeds_box.pk).encode() not in everything
    devices = [json.loads(line)["name"] for line in archive.read("data/inventory.device.jsonl").splitlines()]
    assert sorted(devices) == ["reception-pc", "web-01"]
    assert b"carla@acme.example" in archive.read("data/people.contact.jsonl")
    assert b"cpu.used_percent" in archive.read(f"samples/{story.web.pk}.csv")
    assert archive.read("reports/SR-000001.pdf").startswith(b"%PDF")
    (tmp_path / "evidence.bundle").write_bytes(archive.read("evidence.bundle"))
    verdict = verify_bundle(tmp_path / "evidence.bundle")
    assert [client.name for client in verdict.clients] == ["Acme"]
    labels = {f"data/{model._meta.label_lower}.jsonl" for model in scoped_models()}
    assert {name for name in labels if "/evidence." not in name} <= set(archive.namelist())


def test_only_who_may_export_does_and_it_is_on_record(story, tmp_path):
    tina = Scope.at("tina", 1, ROLE_PERMISSIONS[Role.TECHNICIAN])
    with pytest.raises(NotAllowedError):
        export(story, tmp_path / "x.zip", tina)
    manager = Scope.at("max", 1, ROLE_PERMISSIONS[Role.SERVICE_MANAGER], clients=[story.acme.pk])
    export(story, tmp_path / "acme.zip", manager)
    last = story.acme.evidence.order_by("-index").first()
    assert (last.kind, last.payload) == ("client:exported", {"by": "max"})
    stranger = Scope.at("bo", 2, ROLE_PERMISSIONS[Role.OWNER], clients=[story.bolt.pk])
    with pytest.raises(type(story.acme).DoesNotExist):
        export(story, tmp_path / "x.zip", stranger)


def test_a_client_leaves_and_the_proofs_stay(story, tmp_path):
    carla = person_create(username="carla", password="a long password", role=Role.CLIENT_MANAGER, client=story.acme)
    carla.home_client = story.acme
    carla.save()
    token_create(person=carla, name="phone")
    uwe = person_create(username="uwe", password="a long password", role=Role.TECHNICIAN, client=story.acme)
    before = story.acme.evidence.count()
    said = leaving.removal_counts(client=story.acme, scope=SYSTEM)
    assert said["devices"] == 2
    for confirm, reason, complaint in (
        ("acme", "moved", "'acme' is not the client's name"),
        ("Acme", " ", "reason: empty"),
    ):
        with pytest.raises(LeavingError, match=complaint):
            client_remove(client=story.acme, confirm=confirm, reason=reason, scope=SYSTEM, now=story.now)
    manager = Scope.at("max", 1, ROLE_PERMISSIONS[Role.SERVICE_MANAGER])
    with pytest.raises(NotAllowedError):
        client_remove(client=story.acme, confirm="Acme", reason="moved", scope=manager, now=story.now)
    removed = client_remove(client=story.acme, confirm="Acme", reason="moved away", scope=SYSTEM, now=story.now)
    assert removed.rows["devices"] == 1
    left = {model._meta.label_lower: n for model in scoped_models() if (n := rows_of(model, story.acme).count())}
    assert left.pop("evidence.entry") == before + 1
    assert left.pop("evidence.lognode") > 0
    left.pop("evidence.checkpointrecord", None)
    assert left == {
        "people.client": 1, "people.site": 1, "evidence.clientlog": 1, "reports.servicereport": 1, "tickets.ticket": 1,
        "inventory.device": 1,
    }  # fmt: skip
    kept = Ticket.objects.visible_to(SYSTEM).get(client=story.acme)
    assert (kept.device.status, kept.device.hostname, kept.resolution, kept.owner) == ("revoked", "", "", None)
    assert list(people.clients(scope=SYSTEM)) == [story.bolt]
    assert list(people.clients_removed(scope=SYSTEM)) == [story.acme]
    carla.refresh_from_db()
    assert not carla.is_active
    assert not carla.api_tokens.exists()
    assert scope_of(uwe).place().is_empty
    assert not Grant.objects.filter(client=story.acme).exists()
    assert Device.objects.visible_to(SYSTEM).get(client=story.bolt) == story.leeds_box, "Bolt's are as they were"
    assert story.ticket(device=story.leeds_box) is not None
    (tmp_path / "b").write_bytes(b"".join(leaving.bundle_lines(
        scope=SYSTEM, client_id=story.acme.pk, now=story.now, log_key=log_key_read(home=current_home())
    )))  # fmt: skip
    verdict = verify_bundle(tmp_path / "b")
    assert [client.name for client in verdict.clients] == ["Acme"]


def test_its_samples_are_dropped_by_the_worker(story, tmp_path):
    store = EmbeddedStore(tmp_path / "s.sqlite3")
    at = int(story.now.timestamp() * 1000)
    for device in (story.web, story.leeds_box):
        store.append([Batch(device.pk, ("cpu.used_percent",), [at], np.array([[42.0]]))])
    client_remove(client=story.acme, confirm="Acme", reason="moved", scope=SYSTEM, now=story.now)
    assert store.series_names(device_id=story.web.pk) == ["cpu.used_percent"]
    assert leaving.samples_forget(store=store) == 2
    assert store.series_names(device_id=story.web.pk) == []
    assert store.series_names(device_id=story.leeds_box.pk) == ["cpu.used_percent"]
    assert leaving.samples_forget(store=store) == 0
