"""``forestall access`` against a real server: Ada reviews who may get in."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from django.db import transaction

from forestall.cli.tests.conftest import ADA
from forestall.server.access import services
from forestall.server.access.models import AccessChange, AccessReview
from forestall.server.inventory.services import facts_receive
from forestall.wire.checkin import FactsReport
from forestall.wire.codec import facts_digest
from forestall.wire.facts import Access, Account, PasswordPolicy


def tell(device, *names):
    now = datetime.now(UTC)
    accounts = tuple(
        Account(name=name, uid=1000 + number, login=True, password="set", kind="person", ssh_keys=0, disabled=False)
        for number, name in enumerate(names)
    )
    document = Access(accounts=accounts, sudo_rules=(), password_policy=PasswordPolicy(min_length=8))
    facts_receive(
        device=device, report=FactsReport(document=document, digest=facts_digest(document), collected_at=now), now=now
    )
    with transaction.atomic():  # as the loop does
        services.device_follow_by_id(device_id=device.pk, documents=["access"], now=now)


@pytest.fixture
def web(forestall, device):
    tell(device, "ada", "bob")
    return device


def test_a_review_from_beginning_to_sign_off(forestall, web, tmp_path):
    assert "No review yet" in forestall("access", "reviews").output
    begun = forestall("access", "begin", "Acme Ltd")
    assert "2 accounts to decide by" in begun.output, begun.exception
    number = str(AccessReview.objects.visible_to(ADA).get().pk)
    assert forestall("access", "review", number).return_value == 1
    assert "'carol' is not in this review" in str(forestall("access", "decide", number, "keep", "carol").exception)
    assert "ada on web-01: keep" in forestall("access", "decide", number, "keep", "ada@web-01").output
    refused = forestall("access", "sign", number)
    assert "1 account not decided yet: bob on web-01" in str(refused.exception)
    removed = forestall("access", "decide", number, "remove", "bob", "--reason", "left")
    assert "bob on web-01: remove, run" in removed.output, removed.output
    assert "waits for a signature" in removed.output
    signed = forestall("access", "sign", number, "--note", "autumn")
    assert "Signed off: 2 accounts, 1 still to be removed" in signed.output, signed.exception
    file = tmp_path / "review.csv"
    assert forestall("access", "review", number, "--csv", str(file)).return_value == 0
    assert "web-01,bob,remove,left,ada" in file.read_text().replace("api token of ", "")
    assert json.loads(forestall("access", "reviews", "--json").output)[0]["state"] == "signed"
    shown = forestall("access", "standings")
    assert (shown.return_value, "still to be" in " ".join(shown.output.split())) == (0, True)


def test_changes_wait_for_an_answer(forestall, web):
    assert forestall("access", "changes").return_value == 0
    tell(web, "ada", "bob", "eve")
    found = forestall("access", "changes")
    assert (found.return_value, "account eve is new" in found.output) == (1, True)
    number = str(AccessChange.objects.visible_to(ADA).get().pk)
    assert "say who asked for it" in str(forestall("access", "changes", "--accept", number).exception)
    done = forestall("access", "changes", "--accept", number, "--reason", "new colleague")
    assert "Accepted: account eve is new" in done.output
    assert forestall("access", "changes").return_value == 0


def test_accounts_and_plans(forestall, web):
    listed = forestall("access", "accounts", "--client", "Acme Ltd").output
    assert "bob" in listed
    assert forestall("access", "accounts", "--administrators").output.startswith("No account")
    assert "every three months" in forestall("access", "plan").output
    assert "1 months" in forestall("access", "plan", "Acme Ltd", "--site", "Head office", "--months", "1").output
    begun = forestall("access", "begin", "Acme Ltd", "--site", "Head office")
    assert "has begun" in begun.output, begun.exception
    number = str(AccessReview.objects.visible_to(ADA).get().pk)
    assert "none is undecided and unchanged" in str(forestall("access", "decide", number, "keep-unchanged").exception)
    assert "Ended" in forestall("access", "end", number, "--reason", "by mistake").output
