"""The whole loop on real faults: found, ticketed, repaired under a signed order, verified, reported, proven."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from installation import Installation

pytestmark = [pytest.mark.serial, pytest.mark.timeout(600)]

STORY = [
    "Order", "Prepared", "Healthy", "Fault", "Detected", "Ticket", "Job", "Repaired", "Verified", "Resolved", "Report",
]  # fmt: skip


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a volume and installing a service need root")
@pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed")
def test_all_drills_close_the_loop(installed: Installation) -> None:
    done = installed.forestall("drill", "--all", "--json", timeout=500, check=False)
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stdout + done.stderr
    assert [step["step"] for step in steps] == STORY * 3

    _nothing_is_left()
    jobs = installed.api.get("/jobs")["items"]
    assert [job["state"] for job in jobs] == ["succeeded"] * 3
    for job in jobs:
        ticket = installed.api.get(f"/tickets/{job['ticket']}")
        assert (ticket["state"], bool(ticket["verified_at"])) == ("resolved", True)
        number = installed.api.get("/reports", ticket=job["ticket"])["items"][0]["number"]
        assert installed.api.get(f"/reports/{number}")["ticket"] == job["ticket"]
        assert installed.api.raw("GET", f"/reports/{number}/pdf").startswith(b"%PDF-")

    bundle = installed.home / "drills.bundle"
    installed.forestall("evidence", "export", "--out", str(bundle))
    verdict = installed.forestall("verify", "--json", str(bundle), check=False)
    assert verdict.returncode == 0, verdict.stdout
    signed = [entry for entry in installed.api.get("/evidence", limit=500)["items"] if entry["signed_by_device"]]
    assert len([entry for entry in signed if entry["kind"] == "job:result"]) == 3


@pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed")
def test_an_order_that_was_revoked_repairs_nothing_more(installed: Installation) -> None:
    """Each drill revokes its order at the end: the console lists none in force."""
    installed.forestall("drill", "backup", timeout=200)
    assert installed.api.get("/orders", state="in_force")["items"] == []


def test_a_drill_without_a_server_says_what_to_do(tmp_path: Path) -> None:
    nowhere = Installation(home=tmp_path / "home")
    nowhere.home.mkdir()
    done = nowhere.forestall("drill", "backup", check=False)
    assert done.returncode == 2
    assert "forestall up" in done.stderr


def _nothing_is_left() -> None:
    assert "/var/tmp/forestall-drill" not in Path("/proc/mounts").read_text()
    assert not Path("/etc/init.d/forestall-drill").exists()
    assert not Path("/var/tmp/forestall-drill").exists()
    listed = subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=False).stdout
    assert "forestall-drill" not in listed
