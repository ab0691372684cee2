"""Every page: with nothing, with one device, with a fleet; what it says, and what it costs."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from forestall.server.certificates import certificates_ensure
from forestall.server.console.tests import fleet as fleets
from forestall.server.home import intake_address
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.people.scope import Scope
from forestall.server.runbooks.models import Job
from forestall.server.tickets.models import Ticket
from forestall.verify import verify_bundle

SYSTEM = Scope.system("test")
PAGES = (
    "/",
    "/devices/",
    "/checks/",
    "/checks/policies/",
    "/coverage/",
    "/coverage/gaps/",
    "/coverage/exceptions/",
    "/health/",
    "/tickets/",
    "/updates/",
    "/runbooks/",
    "/runbooks/drafts/",
    "/jobs/",
    "/reports/",
    "/evidence/",
    "/vulnerabilities/",
    "/vulnerabilities/feeds/",
    "/recovery/",
    "/recovery/suggestions/",
)
OTHER = ("/search?q=web", "/keys", "/styleguide", "/devices/enrol", "/runbooks/free-disk-space/", "/tickets/?show=done")
EXPECTED = {
    "": "/ is 93",
    "metrics/": "Processor",
    "updates/": "Security archive",
    "software/": "package-0001",
    "services/": "nginx.service",
    "storage/": "/dev/sda1",
    "access/": "group sudo",
    "backups/": "/srv/backup/nightly",
    "vulnerabilities/": "No software known yet",
    "evidence/": "Alert raised",
}
"""Tab of a device → something that only its facts can have put there."""
TABS = tuple(EXPECTED)

QUERIES = {
    # The page's own, besides those for session, its line on the list, person, second factor and roles. More is a
    # defect, fewer is news: write it here.
    "/": 15,
    "/devices/": 11,
    "/checks/": 5,
    "/configuration/": 2,
    "/configuration/controls/": 2,
    "/configuration/deviations/": 2,
    "/access/": 13,
    "/access/accounts/": 3,
    "/access/changes/": 2,
    "/checks/policies/": 5,
    "/coverage/": 15,
    "/coverage/gaps/": 14,
    "/coverage/exceptions/": 3,
    "/health/": 3,
    "/tickets/": 4,
    "/updates/": 5,
    "/runbooks/": 2,
    "/runbooks/drafts/": 2,
    "/jobs/": 3,
    "/reports/": 1,
    "/evidence/": 5,
    "/vulnerabilities/": 7,
    "/vulnerabilities/feeds/": 1,
    "/recovery/": 2,
    "device": 10,
    "ticket": 27,
}
SIGNED_IN_QUERIES = 5


def page(browser, address: str) -> str:
    answer = browser.get(address)
    assert answer.status_code == 200, f"{address}: {answer.status_code}"
    return answer.content.decode()


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


@pytest.mark.parametrize("address", PAGES + OTHER)
def test_a_page_without_any_device_says_what_would_be_here(ada, address):
    html = page(ada, address)
    assert "<h1>" in html
    assert 'id="main"' in html


def test_the_first_page_of_a_new_house_offers_the_first_step(ada):
    html = page(ada, "/")
    assert "no device has checked in" in html
    assert 'href="/devices/enrol"' in html


def test_a_device_that_waits_for_approval_is_approved_from_today(ada, fleet):
    device = fleet.devices[0]
    Device.objects.visible_to(SYSTEM).filter(pk=device.pk).update(status=DeviceStatus.PENDING, approved_at=None)
    assert f"Approve {device.name}" in words(page(ada, "/"))
    ada.post(f"/devices/{device.pk}/approve")
    device.refresh_from_db()
    assert device.status == DeviceStatus.APPROVED
    assert device.approved_by == "ada"


def test_many_devices_are_approved_at_once_and_one_that_cannot_be_stops_all(ada, fleet):
    first, second, third = fleet.devices[:3]
    pending = Device.objects.visible_to(SYSTEM).filter(pk__in=[first.pk, second.pk])
    pending.update(status=DeviceStatus.PENDING, approved_at=None)
    refused = ada.post("/devices/approve", {"pick": [str(first.pk), str(third.pk)]}, follow=True)
    assert "only a pending device can be approved" in refused.content.decode()
    assert pending.filter(status=DeviceStatus.PENDING).count() == 2
    ada.post("/devices/approve", {"pick": [str(first.pk), str(second.pk)]})
    assert pending.filter(status=DeviceStatus.APPROVED).count() == 2


def test_today_says_in_one_sentence_what_needs_a_person(ada, fleet):
    said = words(page(ada, "/"))
    open_tickets = Ticket.objects.visible_to(SYSTEM).exclude(state__in=["resolved", "closed"]).count()
    assert open_tickets > 5
    assert f"{open_tickets} things need you" in said
    assert "1 device is silent" in said
    assert "Disk space: / on files-01" in said  # grows, is not full yet: it will break next


@pytest.mark.parametrize("tab", TABS)
def test_each_tab_of_a_device_shows_what_it_reported(ada, fleet, tab):
    html = page(ada, f"/devices/{fleet.devices[0].pk}/{tab}")
    assert fleet.devices[0].name in html
    assert EXPECTED[tab] in html


def test_a_device_alone_in_the_house_has_all_its_pages(ada, house):
    only = fleets.build(1, now=datetime.now(UTC), days=1).devices[0]
    for tab in TABS:
        page(ada, f"/devices/{only.pk}/{tab}")
    for address in PAGES:
        page(ada, address)


def test_devices_are_filtered_sorted_and_found_by_the_address(ada, fleet):
    def names(question: str) -> list[str]:
        return re.findall(r'<td class="lead"><a href="/devices/[^"]+">([^<]+)<', page(ada, f"/devices/?{question}"))

    assert len(names("")) == 12
    assert names("q=gateway") == ["gateway-01"]
    assert names("state=silent") == ["gateway-01"]
    assert set(names("updates=security")) == {"web-01", "mail-01", "erp-01"}
    assert names("sort=name") == sorted(names(""))
    assert names("sort=-name") == sorted(names(""), reverse=True)
    assert names("state=fail") == names("state=fail&sort=-state")
    assert names("q=nothing-is-called-so") == []
    assert names("client=not-an-id") == []


def test_a_saved_view_is_there_again_and_can_be_forgotten(ada, fleet):
    ada.post("/devices/views", {"name": "Mine to fix", "query": "state=fail&q=web"})
    html = page(ada, "/devices/?state=fail&q=web")
    assert "Mine to fix" in html
    ada.post("/devices/views", {"forget": "Mine to fix"})
    assert "Mine to fix" not in page(ada, "/devices/")


def test_a_ticket_is_worked_from_its_page(ada, fleet):
    ticket = Ticket.objects.visible_to(SYSTEM).get(device=fleet.devices[0], kind="disk_space")
    address = f"/tickets/{ticket.number}/"
    assert "Free disk space on web-01" in words(page(ada, address))
    ada.post(f"{address}acknowledge")
    ada.post(f"{address}start")
    ada.post(f"{address}comment", {"text": "Logs again.\n<script>alert(1)</script>"})
    html = page(ada, address)
    assert "&lt;script&gt;" in html
    assert "<script>alert" not in html
    refused = ada.post(f"{address}acknowledge", follow=True)
    assert "was acknowledged by ada already" in refused.content.decode()
    ada.post(f"{address}wait", {"text": "The client has to free the share."})
    ada.post(f"{address}resume")
    ada.post(f"{address}resolve", {"text": "Cleaned up by hand."})
    ticket.refresh_from_db()
    assert ticket.state == "resolved"
    ada.post(f"{address}reopen", {"text": "It is full again."})
    ticket.refresh_from_db()
    assert not ticket.is_done


def test_the_proposed_runbook_is_prepared_and_says_how_it_is_signed(ada, fleet):
    ticket = Ticket.objects.visible_to(SYSTEM).get(device=fleet.devices[0], kind="disk_space")
    html = page(ada, f"/tickets/{ticket.number}/")
    form = re.search(rf'action="(/tickets/{ticket.number}/prepare/free-disk-space/\d+)"', html)
    assert form is not None
    ada.post(form[1])
    job = Job.objects.visible_to(SYSTEM).get()
    assert job.state == "awaiting_signature"
    assert job.parameters == {"volume": "/"}
    command = f"forestall sign {job.pk}"
    assert command in page(ada, f"/tickets/{ticket.number}/")
    assert command in page(ada, f"/jobs/{job.pk}/")
    assert "1 job</b></a> waits for a signature" in page(ada, "/jobs/")
    ada.post(f"/jobs/{job.pk}/cancel", {"reason": "No need."})
    job.refresh_from_db()
    assert job.state == "cancelled"


def test_a_check_says_why_in_place_and_can_be_accepted_only_where_that_makes_sense(ada, fleet):
    check = fleet.devices[0].checks.get(kind="disk_space", target="/")
    html = page(ada, f"/checks/{check.pk}/panel")
    assert check.reason in words(html).replace("&lt;", "<")
    assert "<html" not in html
    assert "Accept as it is" not in html
    assert check.reason in words(page(ada, f"/checks/?check={check.pk}"))
    ada.post(f"/checks/{check.pk}/accept", {"reason": "It may."})
    check.refresh_from_db()
    assert check.accepted_at is None


def test_a_token_is_shown_once_with_the_one_command(ada, fleet, house):
    certificates_ensure(home=house, address=intake_address(), now=datetime.now(UTC))
    answer = ada.post("/devices/enrol", {"site": str(fleet.sites[0].pk)})
    html = answer.content.decode()
    token = re.search(r"FORESTALL_ENROLMENT_TOKEN=(fse1\.\S+) forestall agent enrol --server https://", html)
    assert token is not None
    assert answer["Cache-Control"] == "no-store"
    assert token[1] not in page(ada, "/devices/enrol")


def test_the_evidence_leaves_as_a_bundle_that_verifies(ada, fleet, tmp_path):
    answer = ada.get(f"/evidence/bundle/{fleet.clients[0].pk}")
    file = tmp_path / "bundle.jsonl"
    file.write_bytes(b"".join(answer.streaming_content))
    assert verify_bundle(file).valid


def test_series_come_as_json_and_as_csv_with_the_same_numbers(ada, fleet):
    base = f"/devices/{fleet.devices[0].pk}/series"
    plain = ada.get(f"{base}.json?chart=cpu&range=6h").json()
    assert plain["unit"] == "%"
    assert {line["value"] for line in plain["thresholds"]} == {90}
    rows = ada.get(f"{base}.csv?chart=cpu&range=6h").content.decode().splitlines()
    assert rows[0].startswith("time,used (%)")
    known = [value for value in plain["series"][0]["mean"] if value is not None]
    assert len(rows) - 1 == len(known)
    assert ada.get(f"{base}.json?chart=no-such-chart").status_code == 404


def test_a_gap_is_a_gap(ada, fleet):
    plain = ada.get(f"/devices/{fleet.devices[0].pk}/series.json?chart=cpu&range=7d").json()
    assert None in plain["series"][0]["mean"]


def test_an_open_page_is_sent_again_only_when_it_says_something_else(ada, fleet):
    first = ada.get("/devices/", headers={"X-Live": "none"})
    digest = re.search(r'data-digest="([0-9a-f]{16})"', first.content.decode())[1]
    assert "<html" not in first.content.decode()
    assert ada.get("/devices/", headers={"X-Live": digest}).status_code == 204
    fleet.devices[0].checks.filter(kind="cpu").update(status="fail")
    assert ada.get("/devices/", headers={"X-Live": digest}).status_code == 200


def test_each_page_keeps_to_its_number_of_queries_whatever_the_number_of_devices(ada, fleet):
    ticket = Ticket.objects.visible_to(SYSTEM).filter(device=fleet.devices[0]).first()
    addresses = {name: name for name in QUERIES if name.startswith("/")}
    addresses |= {"device": f"/devices/{fleet.devices[0].pk}/", "ticket": f"/tickets/{ticket.number}/"}
    page(ada, "/")  # the first request of a session notes the session
    page(ada, "/vulnerabilities/")  # and the first of a process reads the ranks
    assert _spent(ada, addresses) == QUERIES
    fleets.copies(fleet, 60, datetime.now(UTC))
    assert _spent(ada, addresses) == QUERIES


def _spent(browser, addresses: dict[str, str]) -> dict[str, int]:
    found = {}
    for name, address in addresses.items():
        with CaptureQueriesContext(connection) as spent:
            page(browser, address)
        found[name] = len(spent) - SIGNED_IN_QUERIES
    return found


def test_what_a_device_calls_itself_is_never_markup(ada, fleet):
    evil = "<img src=x onerror=alert(1)>\"'&"
    device = fleet.devices[0]
    Device.objects.visible_to(SYSTEM).filter(pk=device.pk).update(name=evil, os_name=evil)
    device.checks.update(reason=evil)
    ticket = Ticket.objects.visible_to(SYSTEM).filter(device=device).first()
    check = device.checks.first()
    for address in (
        *PAGES,
        f"/devices/{device.pk}/",
        f"/tickets/{ticket.number}/",
        f"/checks/{check.pk}/panel",
        "/search?q=img",
    ):
        assert "<img" not in page(ada, address), address


def test_pages_forbid_scripts_and_styles_that_are_not_files_of_ours(ada, fleet):
    for address in ("/", "/styleguide", f"/devices/{fleet.devices[0].pk}/metrics/"):
        answer = ada.get(address)
        policy = answer["Content-Security-Policy"]
        assert "script-src 'self'" in policy
        assert "style-src 'self'" in policy
        html = answer.content.decode()
        assert " style=" not in html
        assert "<style" not in html
        assert not re.search(r"<script(?![^>]* src=)", html)
        assert not re.search(r"\son[a-z]+=", html)
