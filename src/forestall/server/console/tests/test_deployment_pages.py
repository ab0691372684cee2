"""Ada looks at what became of updates on the pages, decides about one, takes it back, and sets a policy."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from forestall.server.inventory.models import Device
from forestall.server.patching import services
from forestall.server.patching.models import Deployment, PatchPolicy, UpdateDecision
from forestall.server.people.scope import Scope
from forestall.server.runbooks.models import Job

SYSTEM = Scope.system("tests")
pytestmark = pytest.mark.django_db


@pytest.fixture
def web(fleet) -> Device:
    """A device of the fleet whose updates were followed."""
    for device in fleet.devices:
        services.deployments_follow_scan(device_id=device.pk, now=datetime.now(UTC))
        if Deployment.objects.visible_to(SYSTEM).filter(device=device, security=True, settled_at=None).exists():
            return device
    raise LookupError("no device of the fleet has a security update")


def one(web: Device) -> Deployment:
    return Deployment.objects.visible_to(SYSTEM).filter(device=web, security=True).order_by("pk").first()


def text(answer) -> str:
    assert answer.status_code == 200, answer.status_code
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def test_the_tab_says_what_waits_and_why(ada, web) -> None:
    shown = text(ada.get(f"/devices/{web.pk}/updates/"))
    assert "nothing is installed by itself" in shown
    assert one(web).name in shown
    assert "No patch policy covers this device" in shown or "only lists" in shown
    assert "Settled" in shown
    assert "Nothing was settled yet" in text(ada.get(f"/devices/{web.pk}/updates/?show=settled"))


def test_one_update_tells_its_story_and_ada_leaves_it_out_and_takes_it_back(ada, web) -> None:
    row = one(web)
    address = f"/deployments/{row.pk}/"
    assert "What happened" in text(ada.get(address))
    refused = ada.post(address, {"act": "decide", "decision": "exclude", "where": "device"})
    assert "Empty; say why it is excluded" in text(refused)
    ada.post(address, {"act": "decide", "decision": "exclude", "where": "device", "reason": "The till needs it"})
    assert "The till needs it" in text(ada.get(address))
    assert one(web).state == "skipped" or not one(web).why.startswith("No patch policy")
    decision = UpdateDecision.objects.visible_to(SYSTEM).get()
    assert "Take it back" in text(ada.get(f"/clients/{web.client_id}/updates/"))
    ada.post(address, {"act": "undo", "decision": decision.pk})
    assert UpdateDecision.objects.visible_to(SYSTEM).get().ended_at is not None
    assert one(web).state == "blocked"


def test_the_policy_of_a_client_is_set_changed_and_removed(ada, web) -> None:
    address = f"/clients/{web.client_id}/updates/"
    shown = text(ada.get(address))
    assert "No patch policy: nothing is installed by itself." in shown
    form = {
        "act": "keep", "choose": "all", "approval": "automatic", "defer_days": "3", "reboot": "next_window",
        "warn_minutes": "10", "sessions": "ignore", "on_battery": "block", "snapshot": "never", "backup": "block",
        "backup_hours": "24", "backup_restored_days": "90", "least_free_mb": "500", "minutes_needed": "15",
    }  # fmt: skip
    bad = ada.post(address, {**form, "warn_minutes": "2000"})
    assert "less than or equal to 1440" in text(bad)
    ada.post(address, form)
    policy = PatchPolicy.objects.visible_to(SYSTEM).get()
    assert (policy.choose, policy.terms["reboot"], policy.terms["rings"]) == ("all", "next_window", False)
    shown = text(ada.get(address))
    assert "every update, 3 days after release" in shown
    assert "forestall order patching" in shown
    ada.post(address, {"act": "remove"})
    assert not PatchPolicy.objects.visible_to(SYSTEM).exists()


def test_installing_now_prepares_the_run_or_says_why_not(ada, web) -> None:
    answer = ada.post(f"/devices/{web.pk}/deploy", {"choose": "security"}, follow=True)
    shown = text(answer)
    job = Job.objects.visible_to(SYSTEM).filter(runbook__slug="install-updates").first()
    assert (job is not None and "prepared: sign the run" in shown) or "nothing to install now" in shown.lower()
    assert ada.post(f"/devices/{web.pk}/deploy", {"choose": "everything"}).status_code == 404


def test_who_only_looks_changes_nothing(auditor, web) -> None:
    row = one(web)
    assert "Approve, defer or leave out" not in text(auditor.get(f"/deployments/{row.pk}/"))
    assert auditor.post(f"/deployments/{row.pk}/", {"act": "decide", "decision": "approve"}).status_code == 403
    assert auditor.post(f"/devices/{web.pk}/deploy", {"choose": "all"}).status_code == 403
    assert auditor.post(f"/clients/{web.client_id}/updates/", {"act": "remove"}).status_code == 403
    assert not UpdateDecision.objects.visible_to(SYSTEM).exists()
