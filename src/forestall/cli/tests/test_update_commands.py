"""``forestall updates``: what waits, obligations, exceptions, compliance."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from forestall.server.patching.models import Deployment, DeploymentChange
from forestall.server.patching.obligation_services import obligations_refresh


@pytest.fixture
def late(device):
    """openssl, five days old: past the contract's 72 hours."""
    now = datetime.now(UTC)
    began = now - timedelta(days=5)
    made = Deployment.objects.create(
        client=device.client, site=device.site, device=device, manager="apt", name="openssl", candidate="3.0.17",
        security=True, severity="critical", first_seen_at=began, released_at=began, state="blocked",
        state_since=began, why="Waits for approval.",
    )  # fmt: skip
    DeploymentChange.objects.create(deployment=made, at=began, state="blocked", why=made.why, actor="worker")
    obligations_refresh(now=now)
    return made


@pytest.fixture
def said(forestall):
    def run(*arguments: str) -> str:
        done = forestall("updates", *arguments)
        assert done.exception is None, (done.exception, done.output)
        return done.output

    return run


def test_ada_sees_what_waits_and_why_it_is_late(said, late) -> None:
    listed = said("list")
    assert "openssl" in listed
    assert "1 late" in listed
    assert "No update waits." in said("list", "--misses")
    assert "waited for approval 5 days" in said("show", "openssl", "--json")
    assert "web-01" in said("show", "openssl")
    assert json.loads(said("list", "--json"))[0]["late"] == 1


def test_a_clients_terms_are_set_listed_and_ended(said, forestall, late) -> None:
    def deadlines(*arguments: str) -> dict[str, str]:
        found = json.loads(said("obligations", *arguments, "--json"))
        return {one["slug"]: one["deadline"]["words"] for one in found}

    assert "contract" in said("obligations")
    assert deadlines()["contract"] == "72 h after vendor release"
    set_contract = ("Acme Ltd", "--set", "contract", "--within", "24h", "--reason", "Agreed in March")
    assert deadlines(*set_contract)["contract"] == "24 h after vendor release"
    said("obligations", "Acme Ltd", "--set", "cyber-essentials", "--off", "--reason", "Not certified")
    assert "cyber-essentials" not in deadlines("Acme Ltd")
    own = ("Acme Ltd", "--set", "patch-day", "--weekday", "2-tu", "--security", "--reason", "Theirs")
    assert deadlines(*own)["patch-day"].startswith("the second Tuesday of a month")
    firmware = ("--set", "firmware-quarterly", "--test-device", "web-01", "--reason", "The lab's")
    assert 'needs_test": true' in said("obligations", "Acme Ltd", *firmware, "--json")
    history = said("obligations", "Acme Ltd", "--history")
    assert "switched off" in history
    assert "March" in history
    assert deadlines("Acme Ltd", "--set", "contract", "--built-in")["contract"].startswith("72 h")
    for wrong in (
        ("--set", "contract", "--within", "soon", "--reason", "r"),
        ("--set", "contract", "--within", "24h"),
        ("--set", "contract", "--reason", "r"),
        ("--set", "contract", "--within", "24h", "--monthly", "--reason", "r"),
        ("--within", "24h"),
    ):
        assert forestall("updates", "obligations", "Acme Ltd", *wrong).exception is not None, wrong


def test_an_exception_and_its_end(said, forestall, late) -> None:
    granted = said(
        "except", "openssl", "--device", "web-01", "--until", "14d", "--reason", "The vendor checks it", "--instead",
        "The port is shut", "--json",
    )  # fmt: skip
    number = str(json.loads(granted)["id"])
    assert "openssl" in said("exceptions")
    assert "has ended" in said("exceptions", "--end", number, "--yes")
    assert "No exception is in force." in said("exceptions")
    assert "ended" in said("exceptions", "--all")
    both = ("except", "--device", "web-01", "--client", "Acme Ltd", "--until", "14d", "--reason", "r", "--instead", "c")
    assert forestall("updates", *both).exception is not None


def test_an_emergency_window(said, late) -> None:
    assert "Emergency updates of web-01" in said("emergency-window", "--device", "web-01", "--for", "90min")
    later = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT20:00")
    assert "20:00 to 22:00 UTC" in said(
        "emergency-window", "--client", "Acme Ltd", "--site", "Head office", "--start", later
    )


def test_compliance_now_then_and_as_a_file(said, forestall, late, tmp_path) -> None:
    assert "0 % in time" in said("compliance")
    then = (datetime.now(UTC) - timedelta(days=4)).strftime("%Y-%m-%dT%H:%M")
    assert "nothing was due" in said("compliance", "--at", then)
    assert "waited for approval" in said("compliance", "--outcome", "late", "--json")
    assert "web-01" in said("compliance", "--outcome", "late")
    file = tmp_path / "compliance.csv"
    assert ": 1 " in said("compliance", "--csv", str(file), "--client", "Acme Ltd")
    assert "openssl" in file.read_text()
    assert forestall("updates", "compliance", "--at", "yesterday").exception is not None
