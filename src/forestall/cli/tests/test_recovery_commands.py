"""``forestall recovery`` against a real server: Ada names what must come back and tests it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from forestall.cli.tests.conftest import ADA
from forestall.server.inventory.services import facts_receive
from forestall.server.recovery import services
from forestall.server.recovery.models import Proof, ProtectedSystem
from forestall.server.runbooks.models import Job
from forestall.wire.checkin import FactsReport
from forestall.wire.facts import BackupRepository, Backups


@pytest.fixture
def web(forestall, device):
    """web-01 with a nightly backup of everything, two hours old."""
    now = datetime.now(UTC)
    nightly = BackupRepository(
        name="nightly", tool="restic", location="/backup", told=True, protects=("/", "postgresql:shop"), remote=True,
        immutable=True, last_success_at=now - timedelta(hours=2), last_run_ok=True,
    )  # fmt: skip
    document = Backups(repositories=(nightly,))
    report = FactsReport(document=document, digest=hashlib.sha256(b"backups").digest(), collected_at=now)
    facts_receive(device=device, report=report, now=now)
    services.backups_follow(device=device, now=now)
    return device


def test_ada_names_what_is_suggested_and_reads_how_it_stands(forestall, web):
    assert "Nothing is named as recoverable yet" in forestall("recovery", "list").output
    assert "postgresql:shop" in forestall("recovery", "suggest").output
    added = forestall("recovery", "suggest", "--add").output
    assert "web-01" in added
    assert "shop on web-01" in added
    assert "is named" in forestall("recovery", "suggest").output
    listed = forestall("recovery", "list", "--client", "Acme Ltd")
    assert "◌ perhaps" in listed.output
    assert "was never proved at level" in " ".join(listed.output.split())
    story = forestall("recovery", "show", "shop").output
    assert "● proved reported" in story
    assert "○ never database" in story
    assert "nightly" in story
    assert json.loads(forestall("recovery", "show", "shop", "--json").output)["wanted_level"] == "database"
    assert "several systems are called 'web'" in str(forestall("recovery", "show", "web").exception)


def test_ada_changes_archives_and_takes_back(forestall, web):
    done = forestall("recovery", "add", "web-01", "--folder", "/srv/mail", "--name", "Mail", "--time", "4h")
    assert "Mail (system" in done.output, done.exception
    changed = forestall(
        "recovery", "change", "Mail", "--point", "4h", "--time", "none", "--level", "whole", "--every", "30",
        "--copies", "2", "--no-offline", "--no-tests", "--backup", "nightly",
    )  # fmt: skip
    assert changed.exception is None, changed.exception
    row = ProtectedSystem.objects.visible_to(ADA).get()
    assert (row.rpo_minutes, row.rto_minutes, row.wanted_level, row.test_every_days) == (240, None, "whole", 30)
    assert (row.copies, row.offline, row.test_by_itself) == (2, False, False)
    assert row.backups == [{"device": str(web.pk), "backup": "nightly"}]
    assert forestall("recovery", "gaps").return_value == 0, "it is young: the missing proof only warns"
    forestall("recovery", "change", "Mail", "--backup", "")
    assert ProtectedSystem.objects.visible_to(ADA).get().backups == []
    assert "nothing to change" in str(forestall("recovery", "change", "Mail").exception)
    assert "say why" in str(forestall("recovery", "remove", "Mail").exception)
    assert "is archived" in forestall("recovery", "remove", "Mail", "--why", "It moved").output
    assert "Mail" not in forestall("recovery", "list").output
    assert "Mail (archived)" in forestall("recovery", "list", "--archived").output
    assert "is asked for again" in forestall("recovery", "remove", "Mail", "--undo").output


def test_ada_tests_a_restore_and_attests_another(forestall, web, tmp_path):
    forestall("recovery", "add", "web-01", "--copies", "2")
    prepared = forestall("recovery", "test", "web-01", "--level", "whole")
    assert "Sign: forestall sign" in prepared.output, prepared.exception
    assert Job.objects.visible_to(ADA).get().parameters["level"] == "whole"
    assert "is awaiting signature: job" in str(forestall("recovery", "test", "web-01").exception)
    protocol = tmp_path / "protocol.txt"
    protocol.write_text("All came back.")
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    done = forestall(
        "recovery", "attest", "web-01", "--level", "whole", "--at", yesterday, "--took", "1h30", "--detail",
        "Restored to the spare server.", "--attach", str(protocol),
    )  # fmt: skip
    assert "On record under your name" in done.output, done.exception
    proof = Proof.objects.visible_to(ADA).get()
    assert "ada" in proof.by
    assert (proof.seconds, proof.attachment_name) == (5400, "protocol.txt")
    assert "● yes" in forestall("recovery", "list").output
    assert "attested by a person" in forestall("recovery", "proofs", "web-01").output
    forestall("recovery", "withdraw", str(proof.pk), "--why", "The wrong server")
    assert "- withdrawn" in forestall("recovery", "proofs").output
    assert "expected 2026-11-24" in str(
        forestall("recovery", "attest", "web-01", "--level", "whole", "--at", "now", "--detail", "x").exception
    )


def test_what_could_not_be_brought_back_is_an_exit_code(forestall, device):
    forestall("recovery", "add", "web-01", "--database", "mysql:shop")
    assert forestall("recovery", "list").return_value == 1
    failing = forestall("recovery", "gaps")
    assert failing.return_value == 1
    assert "No job covers it" in failing.output
    assert "say one" in str(forestall("recovery", "add", "web-01", "--folder", "/a", "--database", "b:c").exception)
