"""``forestall deploy`` and ``forestall order patching`` against a real server."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from forestall.cli.tests.conftest import ADA
from forestall.server.inventory.models import Device
from forestall.server.inventory.services import facts_receive
from forestall.server.patching import services
from forestall.server.patching.models import Deployment, PatchPolicy, UpdateDecision
from forestall.server.runbooks.models import OrderRecord
from forestall.wire.checkin import FactsReport
from forestall.wire.facts import Update, UpdateProvider, Updates

OPENSSL = Update(name="openssl", installed="3.0.17-1", candidate="3.0.18-1", security=True, architecture="amd64")
NANO = Update(name="nano", installed="7.2-1", candidate="7.2-2", security=False, architecture="amd64")


@pytest.fixture
def web(forestall, device):
    """web-01 with two updates pending."""
    now = datetime.now(UTC)
    apt = UpdateProvider(name="apt", can=("list", "download", "install", "chosen"))
    document = Updates(manager="apt", pending=(OPENSSL, NANO), providers=(apt,))
    report = FactsReport(document=document, digest=hashlib.sha256(b"updates").digest(), collected_at=now)
    facts_receive(device=device, report=report, now=now)
    Device.objects.visible_to(ADA).filter(pk=device.pk).update(last_check_in_at=now)
    services.deployments_follow_scan(device_id=device.pk, now=now)
    return device


def row(name: str = "openssl") -> Deployment:
    return Deployment.objects.visible_to(ADA).get(name=name)


def test_ada_lists_what_waits_and_reads_the_story_of_one(forestall, web):
    listed = forestall("deploy", "list").output
    assert "openssl" in listed
    assert "No patch policy covers" in listed
    assert "nano" not in forestall("deploy", "list", "--package", "openssl", "--device", "web-01").output
    assert "No update waits" in forestall("deploy", "list", "--state", "verified").output
    story = forestall("deploy", "show", str(row().pk)).output
    assert "openssl 3.0.18-1 on web-01" in story
    assert "scan" in story
    assert json.loads(forestall("deploy", "list", "--json").output)[0]["device"]["name"] == "web-01"


def test_ada_defers_leaves_out_approves_and_takes_it_back(forestall, web):
    assert "say where" in str(forestall("deploy", "approve", "openssl").exception)
    done = forestall("deploy", "defer", "openssl", "--device", "web-01", "--until", "7d", "--reason", "Month end")
    assert "Deferred: openssl" in done.output, done.exception
    assert row().state == "skipped"
    assert row().skip_until - datetime.now(UTC) > timedelta(days=6)
    forestall("deploy", "exclude", "na*", "--client", "Acme Ltd", "--reason", "Nobody uses it")
    assert row("nano").state == "skipped"
    assert "Month end" in forestall("deploy", "decisions").output
    for decision in UpdateDecision.objects.visible_to(ADA):
        assert "Taken back" in forestall("deploy", "undo", str(decision.pk)).output
    assert "Nothing was decided" in forestall("deploy", "decisions").output
    assert "Approved: nano" in forestall("deploy", "approve", "nano", "--client", "Acme Ltd").output
    wrong = forestall("deploy", "defer", "nano", "--client", "Acme Ltd", "--until", "soon", "--reason", "x")
    assert "expected a day such as" in str(wrong.exception)


def test_ada_sets_a_policy_and_signs_it_as_a_standing_order(forestall, web):
    assert "No patch policy" in forestall("deploy", "policy").output
    assert "has no patch policy" in str(forestall("order", "patching", "Acme Ltd").exception)
    done = forestall("deploy", "policy", "Acme Ltd", "--choose", "all", "--set", "reboot=next_window")
    assert "reboot=next_window" in done.output, done.exception
    forestall("deploy", "policy", "Acme Ltd", "--defer-days", "3", "--set", "warn_minutes=10")
    policy = PatchPolicy.objects.visible_to(ADA).get()
    assert (policy.choose, policy.defer_days, policy.terms["reboot"]) == ("all", 3, "next_window")
    signed = forestall("order", "patching", "Acme Ltd", answer="y\ny\n")
    assert signed.return_value == 0, signed.exception or signed.output
    assert "Whenever a patch policy has updates to install" in signed.output
    assert "packages is whatever the server chooses at that time" in " ".join(signed.output.split())
    orders = {order.runbook.slug: order for order in OrderRecord.objects.visible_to(ADA).select_related("runbook")}
    assert set(orders) == {"install-updates", "reboot"}
    assert orders["install-updates"].allowed["packages"] == ["*"]
    assert orders["install-updates"].allowed["warn_minutes"] == [10]
    assert orders["install-updates"].trigger == "patching"
    assert "Removed" in forestall("deploy", "policy", "Acme Ltd", "--remove", "--yes").output


def test_ada_installs_now(forestall, web):
    done = forestall("deploy", "now", "web-01", "--security", "--reason", "Zero day")
    assert "1 update prepared on web-01. Sign: forestall sign" in done.output, done.exception
    assert "nothing to install now" in str(forestall("deploy", "now", "web-01", "--package", "openssl").exception)
    assert "'vim' has no pending update" in str(forestall("deploy", "now", "web-01", "--package", "vim").exception)
