"""The pages of recovery: Ada asks what could not be brought back today, tests a restore, and attests another."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext

from forestall.server.console.tests import fleet as fleets
from forestall.server.inventory.models import Device
from forestall.server.people.scope import Scope
from forestall.server.recovery import services
from forestall.server.recovery.models import KnownBackup, Proof, ProtectedSystem
from forestall.server.runbooks.models import Job

SYSTEM = Scope.system("test")


def page(browser, address: str) -> str:
    answer = browser.get(address)
    assert answer.status_code == 200, f"{address}: {answer.status_code}"
    return answer.content.decode()


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


@pytest.fixture
def web(ada, fleet) -> Device:
    """web-01 with a nightly backup of all of it, as its agent's settings name it."""
    device = fleet.devices[0]
    tell(device)
    return device


def tell(device: Device, **said) -> None:
    now = datetime.now(UTC)
    state = {
        "name": "nightly", "tool": "restic", "location": "/srv/backup/nightly", "told": True, "protects": ["/"],
        "last_success_at": (now - timedelta(hours=3)).isoformat(), "last_run_ok": True, "remote": True,
        "immutable": True, "size_bytes": 40_000_000_000, **said,
    }  # fmt: skip
    KnownBackup.objects.visible_to(SYSTEM).update_or_create(
        device=device, name="nightly",
        defaults={"client": device.client, "site": device.site, "tool": "restic", "told": True, "state": state,
                  "first_seen_at": now, "seen_at": now},
    )  # fmt: skip


def name(device: Device, **terms) -> ProtectedSystem:
    return services.system_add(
        device=device, kind="machine", terms={"copies": 2, **terms}, scope=SYSTEM, now=datetime.now(UTC)
    )


def test_an_empty_house_is_taught_what_would_be_here(ada):
    html = words(page(ada, "/recovery/"))
    assert "nobody knows what could be brought back" in html
    assert "forestall recovery suggest" in html
    assert "Everything that looks as if it had to be recoverable is named" in words(page(ada, "/recovery/suggestions/"))


def test_the_list_answers_what_could_not_be_brought_back_today(ada, fleet, web):
    name(web)
    lost = services.system_add(
        device=web, kind="database", what="postgresql:shop", name="The <shop>", scope=SYSTEM, now=datetime.now(UTC)
    )
    html = page(ada, "/recovery/")
    assert "Today we could not bring back 1 of 2 protected systems : The &lt;shop&gt;" in words(html)
    assert "1 perhaps : no restore that counts shows it" in words(html)
    assert "Only a part of it is in a backup" in html
    assert "<shop>" not in html
    assert f'href="/recovery/{lost.pk}/"' not in page(ada, "/recovery/?show=perhaps")
    assert f'href="/recovery/{lost.pk}/"' in page(ada, "/recovery/?q=shop&show=no")
    rows = list(csv.DictReader(io.StringIO(ada.get("/recovery/systems.csv").content.decode())))
    assert [(row["name"], row["back_today"]) for row in rows] == [("The <shop>", "no"), (web.name, "perhaps")]


def test_ada_names_what_is_suggested(ada, fleet, web):
    html = page(ada, "/recovery/suggestions/")
    keys = re.findall(r'name="pick" value="([^"]+)"', html)
    assert keys
    ada.post("/recovery/suggestions/", {"pick": keys[:2]})
    assert ProtectedSystem.objects.visible_to(SYSTEM).count() == 2
    assert "Tick at least one" in ada.post("/recovery/suggestions/", {}, follow=True).content.decode()


def test_ada_names_a_folder_by_the_form_and_changes_it(ada, fleet, web):
    form = page(ada, f"/recovery/new?device={web.pk}&kind=folder&what=/srv/mail")
    assert 'value="/srv/mail"' in form
    given = {
        "device": str(web.pk), "kind": "folder", "what": "srv/mail", "name": "Mail", "importance": "critical",
        "rpo_minutes": "1560", "rto_minutes": "", "wanted_level": "sample", "test_every_days": "90",
        "test_most_mb": "500", "test_rate_kb": "0", "test_sample": "10", "copies": "2", "off_site": "on",
        "offline": "on", "retention_days": "0", "test_by_itself": "on", "note": "",
    }  # fmt: skip
    assert "is no whole path" in ada.post("/recovery/new", given).content.decode()
    done = ada.post("/recovery/new", {**given, "what": "/srv/mail"})
    row = ProtectedSystem.objects.visible_to(SYSTEM).get()
    assert done["Location"] == f"/recovery/{row.pk}/"
    assert (row.what, row.importance, row.rto_minutes, row.test_most_mb) == ("/srv/mail", "critical", None, 500)
    changed = {**given, "rto_minutes": "240", "backups": [f"{web.pk}:nightly"], "wanted_level": "whole"}
    assert ada.post(f"/recovery/{row.pk}/change", changed).status_code == 302
    row.refresh_from_db()
    assert (row.rto_minutes, row.wanted_level) == (240, "whole")
    assert row.backups == [{"device": str(web.pk), "backup": "nightly"}]
    assert "named by a person" in page(ada, f"/recovery/{row.pk}/")


def test_a_system_says_what_is_missing_and_its_test_is_prepared_and_signed(ada, fleet, web):
    row = name(web)
    html = words(page(ada, f"/recovery/{row.pk}/"))
    assert "Perhaps it can be brought back: no restore that counts shows it. It was never proved" in html
    assert "Restores nightly on web-01 at level sample into a scratch folder, at most 2,000 MB" in html
    assert "The live data is not touched" in html
    ada.post(f"/recovery/{row.pk}/test")
    job = Job.objects.visible_to(SYSTEM).get()
    html = words(page(ada, f"/recovery/{row.pk}/"))
    assert "A restore test is awaiting signature" in html
    assert f"forestall sign {job.pk}" in html
    again = ada.post(f"/recovery/{row.pk}/test", follow=True)
    assert "is awaiting signature: job" in again.content.decode()


def test_ada_attests_with_a_protocol_and_takes_it_back(ada, auditor, fleet, web):
    row = name(web)
    given = {"level": "whole", "outcome": "ok", "minutes": "95", "detail": "Restored to the spare server.", "on": ""}
    refused = ada.post(f"/recovery/{row.pk}/attest", {**given, "detail": ""})
    assert "This field is required" in refused.content.decode()
    big = SimpleUploadedFile("big.bin", b"x" * 5_000_001)
    assert "at most 5,000,000" in ada.post(f"/recovery/{row.pk}/attest", {**given, "file": big}).content.decode()
    file = SimpleUploadedFile("evil.html", b"<script>alert(1)</script>", content_type="text/html")
    assert ada.post(f"/recovery/{row.pk}/attest", {**given, "file": file}).status_code == 302
    proof = Proof.objects.visible_to(SYSTEM).get()
    assert (proof.by, proof.seconds) == ("ada", 5700)
    html = page(ada, f"/recovery/{row.pk}/")
    assert "It can be brought back" in html
    assert "attested by ada" in html
    # Whoever may look gets the file, and never as a page of ours.
    saved = auditor.get(f"/recovery/proofs/{proof.pk}/attachment")
    assert saved.content == b"<script>alert(1)</script>"
    assert saved["Content-Type"] == "application/octet-stream"
    assert saved["Content-Disposition"].startswith("attachment;")
    assert auditor.post(f"/recovery/{row.pk}/attest", given).status_code == 403
    ada.post(f"/recovery/proofs/{proof.pk}/withdraw", {"why": "The wrong server"})
    assert "Perhaps it can be brought back" in page(ada, f"/recovery/{row.pk}/")
    assert "The wrong server" in page(ada, f"/recovery/{row.pk}/")


def test_what_a_device_reports_is_not_shown_as_signed(ada, fleet, web):
    row = name(web)
    now = datetime.now(UTC)
    Proof.objects.create(
        client=web.client, site=web.site, device=web, backup="nightly", tool="restic", level="sample", ok=True,
        at=now - timedelta(days=1), source="reported", recorded_at=now,
    )  # fmt: skip
    html = words(page(ada, f"/recovery/{row.pk}/"))
    assert "came back, it says" in html
    assert "reported by the device" in html
    assert "signed by the device" not in html


def test_archived_and_asked_for_again(ada, fleet, web):
    row = name(web)
    ada.post(f"/recovery/{row.pk}/archive", {"why": "It was switched off"})
    html = page(ada, f"/recovery/{row.pk}/")
    assert "need not be recoverable any more, says ada: It was switched off" in words(html)
    assert f"/recovery/{row.pk}/" in page(ada, "/recovery/?show=archived")
    ada.post(f"/recovery/{row.pk}/restore")
    row.refresh_from_db()
    assert row.archived_at is None


def test_today_names_backups_that_lose_their_proof_and_the_device_its_systems(ada, fleet, web):
    row = name(web)
    now = datetime.now(UTC)
    services.proof_attest(
        system=row, level="whole", ok=True, at=now - timedelta(days=84), detail="Restored.", scope=SYSTEM, now=now
    )
    assert "The proof of web-01 lapses" in words(page(ada, "/"))
    html = words(page(ada, f"/devices/{web.pk}/backups/"))
    assert "What must be recoverable" in html
    assert "web-01 machine" in html
    assert "Nothing of this device is named" in page(ada, f"/devices/{fleet.devices[1].pk}/backups/")


def test_five_hundred_systems_cost_no_more_queries_than_one(ada, fleet, web):
    row = name(web)
    page(ada, "/recovery/")

    def spent(address: str) -> int:
        with CaptureQueriesContext(connection) as found:
            page(ada, address)
        return len(found)

    few = spent("/recovery/"), spent(f"/recovery/{row.pk}/")
    fleets.copies(fleet, 60, datetime.now(UTC))
    now = datetime.now(UTC)
    for device in fleet.devices[1:60]:
        tell(device)
    ProtectedSystem.objects.bulk_create(
        ProtectedSystem(
            client_id=device.client_id, site_id=device.site_id, device=device, kind="machine", name=device.name,
            rpo_minutes=1560, created_at=now, created_by="x", changed_at=now, changed_by="x",
        )
        for device in fleet.devices[1:60]
    )  # fmt: skip
    assert (spent("/recovery/"), spent(f"/recovery/{row.pk}/")) == few
    assert few[0] - 5 <= 6, few
