"""A new user runs `forestall up` and looks around."""

from __future__ import annotations

import json
import stat
import urllib.error
import urllib.request
from dataclasses import replace
from typing import Any

import pytest
from installation import Installation, eventually

from forestall.wire.facts import DOCUMENT_BY_NAME

pytestmark = [pytest.mark.serial, pytest.mark.timeout(300)]


def test_first_run_tells_everything_and_only_its_owner(installed: Installation) -> None:
    path = installed.home / "first-run.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(installed.first_run) == {
        "console_url", "username", "password", "api_token", "intake_url", "ca_file", "device_id",
    }  # fmt: skip


def test_this_machine_is_there_and_judged(installed: Installation) -> None:
    devices = installed.api.get("/devices")["items"]
    assert [device["id"] for device in devices] == [installed.first_run["device_id"]]
    assert devices[0]["status"] == "approved"
    assert devices[0]["checks"].get("pass", 0) >= 3
    facts = installed.api.get(f"/devices/{devices[0]['id']}/facts")
    assert {document["name"] for document in facts} == set(DOCUMENT_BY_NAME)


def test_samples_arrive_and_can_be_read(installed: Installation) -> None:
    device = installed.first_run["device_id"]
    latest = eventually(lambda: installed.api.get(f"/devices/{device}/samples/latest"), seconds=10, what="samples")
    assert 0 <= latest["disk.used_percent{volume=/}"] <= 100
    columns = installed.api.get(f"/devices/{device}/samples", series="memory.available_percent")
    assert len(columns["memory.available_percent"]["times"]) >= 1


def test_the_console_asks_for_a_sign_in(installed: Installation) -> None:
    with urllib.request.urlopen(installed.first_run["console_url"]) as answer:  # noqa: S310 - its own http address
        assert "/accounts/login/" in answer.url
        assert answer.headers["Content-Security-Policy"]


def test_the_agent_listens_on_no_port(installed: Installation) -> None:
    import psutil

    agent = psutil.Process(installed.parts()["agent"])
    for process in (agent, *agent.children(recursive=True)):
        assert [one for one in process.net_connections() if one.status == psutil.CONN_LISTEN] == []


def test_a_second_up_says_that_it_runs_already(installed: Installation) -> None:
    again = installed.forestall("up")
    assert "runs already" in again.stdout
    assert installed.first_run["console_url"] in again.stdout


def test_every_command_reads_the_api(installed: Installation) -> None:
    for command in ("today", "devices", "checks", "alerts", "tickets", "jobs", "reports"):
        plain = installed.forestall(command)
        assert plain.stdout.strip(), command
        json.loads(installed.forestall(command, "--json").stdout)
    name = installed.api.get("/devices")["items"][0]["name"]
    assert "Disk space" in installed.forestall("devices", name).stdout
    assert "worker" in installed.forestall("status").stdout


def test_a_wrong_name_is_said_and_not_guessed(installed: Installation) -> None:
    wrong = installed.forestall("devices", "no-such-device", check=False)
    assert wrong.returncode == 2
    assert "no device is called 'no-such-device'" in wrong.stderr
    wrong = installed.forestall("tickets", "999999", check=False)
    assert wrong.returncode == 2
    assert "There is no such thing here" in wrong.stderr


def test_a_second_device_is_enrolled_approved_and_revoked(installed: Installation) -> None:
    """By the command line alone; it bears the same host name as the first, so that its id tells them apart."""
    token = json.loads(installed.forestall("enrol", "--site", "Main site", "--json").stdout)["token"]
    second = replace(installed, extra={"FORESTALL_AGENT_HOME": str(installed.home / "second-agent")})
    server = f"https://{installed.intake}"
    told = second.forestall("agent", "enrol", "--server", server, "--token", token).stdout
    assert "forestall devices NAME --approve" in told
    device = json.loads(second.forestall("agent", "status", "--json", check=False).stdout)["device_id"]
    assert device[:8] in installed.forestall("devices", "--status", "pending").stdout
    assert "is approved" in installed.forestall("devices", device[:8], "--approve").stdout
    again = installed.forestall("devices", device[:8], "--approve", check=False)
    assert (again.returncode, "only a pending device" in again.stderr) == (2, True)
    assert "is revoked" in installed.forestall("devices", device[:8], "--revoke", "only a trial").stdout
    assert installed.api.get(f"/devices/{device}")["status"] == "revoked"
    used = second.forestall("agent", "enrol", "--force", "--server", server, "--token", token, check=False)
    assert (used.returncode, "token_unusable" in used.stderr) == (2, True)


def test_what_an_operator_signs_runs_once_and_tells_the_truth(installed: Installation) -> None:
    """A service that is not there: the device verifies the signature, tries, and says that it failed."""
    device = installed.first_run["device_id"]
    asked = ("--prepare", "restart-service", "--device", device, "--set", "service=no-such-service", "--reason", "test")
    job = json.loads(installed.forestall("jobs", *asked, "--json").stdout)
    assert job["state"] == "awaiting_signature"
    installed.forestall("agent", "check-in")
    assert installed.api.get(f"/jobs/{job['id']}")["state"] == "awaiting_signature", "nothing runs unsigned"
    shown = installed.forestall("sign", job["id"], "--yes").stdout
    assert "Restarts the service no-such-service" in shown

    def finished() -> dict[str, Any] | None:
        installed.forestall("agent", "check-in")
        found: dict[str, Any] = installed.api.get(f"/jobs/{job['id']}")
        return found if found["finished_at"] else None

    done = eventually(finished, seconds=30, what="the job's result", every=1)
    assert done["state"] == "failed"
    assert "no-such-service" in done["detail"]
    assert done["evidence"]


def test_evidence_is_exported_and_holds(installed: Installation) -> None:
    bundle = installed.home / "all.bundle"
    installed.forestall("evidence", "export", "--out", str(bundle))
    assert installed.forestall("verify", str(bundle), check=False).returncode == 0
    content = bundle.read_bytes()
    middle = len(content) // 2
    bundle.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    broken = installed.forestall("verify", str(bundle), check=False)
    assert broken.returncode == 1


def test_a_killed_console_leaves_no_worker_behind(installed: Installation) -> None:
    """It would keep the port, and answer with what it knew, beside the new one and after the stop."""
    import psutil

    console = psutil.Process(installed.parts()["console"])
    workers = console.children(recursive=True)
    assert workers
    console.kill()
    psutil.wait_procs([console, *workers], timeout=5)
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)
    eventually(lambda: installed.parts()["console"] != console.pid, seconds=10, what="another console")
    eventually(lambda: _answers(installed.first_run["console_url"]), seconds=10, what="the console answers")


def test_stopped_and_started_again_it_is_the_same_installation(installed: Installation) -> None:
    before = installed.first_run
    entries = installed.api.get("/evidence/logs")[0]["entries"]
    assert installed.forestall("down").stdout == "Stopped.\n"
    assert installed.forestall("status", check=False).returncode == 1
    installed.start()
    assert installed.first_run == before
    assert installed.api.get("/evidence/logs")[0]["entries"] >= entries
    assert [one["status"] for one in installed.api.get("/devices")["items"]].count("approved") == 1


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url):  # noqa: S310 - its own http address
            return True
    except urllib.error.URLError:
        return False
