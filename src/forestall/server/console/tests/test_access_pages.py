"""The pages of access: what changed, who may get in where, and the review in which every account is decided."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from forestall.server.access import services
from forestall.server.access.models import AccessChange, AccessReview, ReviewItem
from forestall.server.access.tests.house import ADA, BOB, DAEMON, ROOT, account
from forestall.server.console.tests.conftest import browser_of
from forestall.server.inventory.models import Device
from forestall.server.inventory.services import facts_receive
from forestall.server.people.models import Client
from forestall.server.people.roles import Role
from forestall.server.people.scope import Scope
from forestall.server.people.services import person_create
from forestall.wire.checkin import FactsReport
from forestall.wire.codec import facts_digest
from forestall.wire.facts import Access, PasswordPolicy

pytestmark = pytest.mark.django_db
SYSTEM = Scope.system("tests")


def tell(device, *accounts):
    document = Access(accounts=accounts, sudo_rules=(), password_policy=PasswordPolicy(min_length=8))
    now = datetime.now(UTC)
    facts_receive(
        device=device, report=FactsReport(document=document, digest=facts_digest(document), collected_at=now), now=now
    )
    services.device_follow_by_id(device_id=device.pk, documents=["access"], now=now)


@pytest.fixture
def devices(house):
    site = Client.objects.visible_to(SYSTEM).first().sites.first()
    now = datetime.now(UTC)
    made = []
    for name in ("books-01", "mail-01"):
        device = Device.objects.create(
            client=site.client, site=site, name=name, hostname=name, status="approved", enrolled_at=now,
            approved_at=now, public_key=name.encode().ljust(32), last_check_in_at=now,
        )  # fmt: skip
        tell(device, ROOT, ADA, BOB, DAEMON)
        made.append(device)
    return made


@pytest.fixture
def ada(house):
    return browser_of(person_create(username="ada", password="a long password", role=Role.OWNER))


def page(browser, address):
    answer = browser.get(address)
    assert answer.status_code == 200, (address, answer.status_code)
    return answer.content.decode()


def test_without_a_device_the_page_says_what_would_be_here(ada):
    assert "No device is approved yet" in page(ada, "/access/")
    assert "No device tells its accounts yet." in page(ada, "/access/accounts/")
    assert "Every change of access was answered." in page(ada, "/access/changes/")


def test_a_review_from_its_beginning_to_the_sign_off(ada, devices):
    client = devices[0].client
    answer = ada.post("/access/begin", {"place": f"client:{client.pk}", "act": "begin"})
    review = AccessReview.objects.visible_to(SYSTEM).get()
    assert answer.headers["Location"] == f"/access/reviews/{review.pk}/"
    shown = page(ada, f"/access/reviews/{review.pk}/")
    assert "<b>6</b> of 6 accounts still to decide" in shown
    assert "disabled>Sign the review off" in shown
    ids = {row.pk: row.account for row in ReviewItem.objects.visible_to(SYSTEM)}
    bobs = [pk for pk, name in ids.items() if name == "bob"]
    decide = f"/access/reviews/{review.pk}/decide"
    ada.post(decide, {"pick": [pk for pk in ids if pk not in bobs], "decision": "keep"})
    refused = ada.post(decide, {"pick": bobs, "decision": "remove"}, follow=True).content.decode()
    assert "say why it is to be removed" in refused
    ada.post(decide, {"pick": bobs, "decision": "remove", "reason": "left in May"})
    shown = page(ada, f"/access/reviews/{review.pk}/?group=person")
    assert "Every account is decided: sign it off." in shown
    assert shown.index("bob") < shown.index("root")
    ada.post(f"/access/reviews/{review.pk}/sign", {"note": "second quarter"})
    assert "2 of 2 to be removed or changed are still as before" in page(ada, f"/access/reviews/{review.pk}/")
    csv = ada.get(f"/access/reviews/{review.pk}/accounts.csv").content.decode()
    assert csv.count("left in May") == 2
    assert "signed off" in page(ada, "/access/")
    assert "Signed off on" in page(ada, f"/devices/{devices[0].pk}/access/")


def test_a_change_is_accepted_with_its_reason(ada, devices):
    tell(devices[0], ROOT, ADA, BOB, DAEMON, account("eve", 1009))
    shown = page(ada, "/access/")
    assert "account eve is new" in shown
    (change,) = AccessChange.objects.visible_to(SYSTEM)
    ada.post("/access/changes/accept", {"pick": change.pk, "reason": "new colleague"})
    change.refresh_from_db()
    assert (change.state, change.settled_by, change.reason) == ("accepted", "ada", "new colleague")


def test_one_line_a_name_across_devices(ada, devices):
    shown = page(ada, "/access/accounts/")
    assert "administrator of 2" in shown
    assert "daemon" not in shown
    assert "daemon" in page(ada, "/access/accounts/?show=all")
    assert "bob" not in page(ada, "/access/accounts/?show=administrators")


def test_a_review_of_four_hundred_accounts_takes_few_queries(ada, devices):
    tell(devices[0], ROOT, *[account(f"user{number:03}", 3000 + number) for number in range(400)])
    review = services.review_begin(client=devices[0].client, scope=SYSTEM, now=datetime.now(UTC))
    page(ada, "/access/")
    with CaptureQueriesContext(connection) as spent:
        shown = page(ada, f"/access/reviews/{review.pk}/")
    assert len(spent) <= 12
    assert shown.count('name="pick"') == 100
    assert page(ada, f"/access/reviews/{review.pk}/?all=1").count('name="pick"') == 404


def test_an_auditor_reads_and_decides_nothing(devices, house):
    review = services.review_begin(client=devices[0].client, scope=SYSTEM, now=datetime.now(UTC))
    auditor = browser_of(person_create(username="rea", password="a long password", role=Role.AUDITOR))
    shown = page(auditor, f"/access/reviews/{review.pk}/")
    assert 'name="pick"' not in shown
    item = ReviewItem.objects.visible_to(SYSTEM).first()
    answer = auditor.post(f"/access/reviews/{review.pk}/decide", {"pick": item.pk, "decision": "keep"})
    assert answer.status_code == 403
