"""The real agent process, the real command line, and a stand-in server behind real TLS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from forestall.agent.config import AgentError, AgentHome, enrolment_read
from forestall.agent.link.enrol import enrol, token_read
from forestall.agent.tests.standin import DEVICE, StandIn, SystemTime, TlsDoor, authority_make
from forestall.trust.keys import key_id, new_key, public_bytes


class Site:
    """A server, a token, and a folder for one agent."""

    def __init__(self, folder):
        self.standin = StandIn(clock=SystemTime())
        self.authority = authority_make(folder / "tls")
        self.door = TlsDoor(self.standin, self.authority)
        self.home = AgentHome(str(folder / "agent"))
        self.root_key_id = key_id(public_bytes(self.standin.root_key))
        self.token = f"fse1.{self.standin.token}.{self.authority.fingerprint}.{self.root_key_id}"
        self.environment = {**os.environ, "FORESTALL_AGENT_HOME": self.home.folder}
        self.processes = []

    def enrol(self, **more):
        token = token_read(more.pop("token", self.token))
        return enrol(home=self.home, server=self.door.url, token=token, now=datetime.now(UTC), **more)

    def start(self):
        process = subprocess.Popen(
            [sys.executable, "-m", "forestall.agent.main"],
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def forestall(self, *arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "forestall.cli.main", *arguments],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def until(self, condition, seconds=60):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds} s"
            time.sleep(0.02)

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
        self.door.close()


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.close()


def test_enrolment_makes_the_key_here_and_pins_authority_root_and_log(site):
    done = site.enrol(hostname="till-3")
    assert done.status == "approved"
    kept = enrolment_read(site.home)
    assert kept.device_id == DEVICE
    assert kept.root_key_id == site.root_key_id
    assert kept.log_key == public_bytes(site.standin.log_key)
    assert Path(site.home.identity_key).stat().st_mode & 0o777 == 0o600
    assert Path(site.home.folder).stat().st_mode & 0o077 == 0
    assert json.loads(Path(f"{site.home.folder}/trust.json").read_text())["pinned_key_id"] == site.root_key_id


def test_a_server_of_another_authority_is_sent_nothing(site):
    other = f"fse1.{site.standin.token}.{'0' * 64}.{site.root_key_id}"
    with pytest.raises(AgentError, match="not the server the token is for"):
        site.enrol(token=other)
    assert site.standin.requests == ["/v1/authority"]


def test_a_root_that_the_token_does_not_name_is_refused_and_nothing_is_kept(site):
    other = f"fse1.{site.standin.token}.{site.authority.fingerprint}.{key_id(public_bytes(new_key()))}"
    with pytest.raises(AgentError, match="nothing was kept"):
        site.enrol(token=other)
    assert not Path(site.home.enrolment).exists()
    # The token was used by this machine's key: with the right token the same machine may try again.
    assert site.enrol().status == "approved"


def test_a_used_token_is_refused_with_the_servers_words(site):
    site.standin.token = "another"
    with pytest.raises(AgentError, match="token_unusable"):
        site.enrol()
    assert not Path(site.home.enrolment).exists()


def test_enrolling_again_needs_force_and_then_makes_a_new_identity(site):
    site.enrol()
    before = Path(site.home.identity_key).read_bytes()
    with pytest.raises(AgentError, match="--force"):
        site.enrol()
    assert Path(site.home.identity_key).read_bytes() == before
    site.standin.public_key = None
    site.enrol(force=True)
    assert Path(site.home.identity_key).read_bytes() != before


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("", "four parts"),
        ("fse1.x.y", "four parts"),
        ("fse2.a.b.c", "four parts"),
        (f"fse1.secret.{'g' * 64}.{'0' * 64}", "authority's fingerprint"),
        (f"fse1.secret.{'0' * 64}.12", "root key id"),
    ],
)
def test_a_damaged_token_is_told_apart_and_its_secret_is_not_repeated(token, says):
    with pytest.raises(AgentError, match=says) as raised:
        token_read(token)
    assert "secret" not in str(raised.value)


def test_the_running_agent_checks_in_listens_on_nothing_and_ends_cleanly(site):
    site.enrol()
    process = site.start()
    site.until(lambda: len(site.standin.documents_taken) >= 10)
    running = psutil.Process(process.pid)
    assert [one for one in running.net_connections() if one.status == psutil.CONN_LISTEN] == []
    for child in running.children(recursive=True):
        assert [one for one in child.net_connections() if one.status == psutil.CONN_LISTEN] == []
    assert any(one.status == psutil.CONN_ESTABLISHED for one in running.net_connections())
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert "ended" in process.stderr.read()


def test_check_in_on_request_and_status(site):
    site.enrol()
    assert site.forestall("agent", "status").returncode == 1
    process = site.start()
    site.until(lambda: site.standin.taken)
    before = len(site.standin.taken)
    done = site.forestall("agent", "check-in")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Checked in at ")
    assert len(site.standin.taken) > before
    report = json.loads(site.forestall("agent", "status", "--json").stdout)
    assert report["running"] is True
    assert report["pid"] == process.pid
    assert report["device_id"] == DEVICE
    assert report["spool"]["check_ins"] == 0
    assert report["pinned"]["authority"] == site.authority.fingerprint
    words = site.forestall("agent", "status")
    assert words.returncode == 0
    assert f"runs (process {process.pid})" in words.stdout
    site.standin.status = "revoked"
    refused = site.forestall("agent", "check-in")
    assert refused.returncode == 2
    assert "device_revoked" in refused.stderr


def test_a_second_agent_in_the_same_folder_is_refused(site):
    site.enrol()
    first = site.start()
    site.until(lambda: site.standin.taken)
    second = site.start()
    assert second.wait(20) == 2
    assert f"process {first.pid}" in second.stderr.read()


def test_killed_at_any_moment_nothing_acknowledged_is_doubled_and_numbers_have_no_holes(site):
    site.enrol()
    site.standin.interval = 1
    for round_ in range(8):
        process = site.start()
        reached = site.standin.expected + 1
        site.until(lambda reached=reached: site.standin.expected >= reached)
        time.sleep(0.03 * round_)
        process.kill()
        process.wait()
    process = site.start()
    reached = site.standin.expected + 3
    site.until(lambda: site.standin.expected >= reached)
    assert [one.sequence for one in site.standin.taken] == list(range(1, site.standin.expected))
    times = site.standin.sample_times
    assert times == sorted(set(times))


def test_the_command_line_enrols_with_the_token_from_the_environment(site):
    done = site.forestall("agent", "enrol", "--server", site.door.url, FORESTALL_ENROLMENT_TOKEN=site.token)
    assert done.returncode == 0, done.stderr
    assert DEVICE in done.stdout
    again = site.forestall("agent", "enrol", "--server", site.door.url, "--token", site.token)
    assert again.returncode == 2
    assert "--force" in again.stderr


def test_what_a_person_can_mend_is_one_line_and_exit_code_2(site, tmp_path):
    not_enrolled = site.forestall("agent", "status")
    assert not_enrolled.returncode == 2
    assert "not enrolled" in not_enrolled.stderr
    wrong = site.forestall("agent", "enrol", "--server", "http://x:1", "--token", site.token)
    assert wrong.returncode == 2
    assert "https://HOST:PORT" in wrong.stderr
    nobody = site.forestall("agent", "enrol", "--server", "https://127.0.0.1:1", "--token", site.token)
    assert nobody.returncode == 2
    assert "127.0.0.1:1" in nobody.stderr
    site.enrol()
    Path(site.home.identity_key).chmod(0o644)
    process = site.start()
    assert process.wait(20) == 2
    assert "may be read by others" in process.stderr.read()
    missing = site.forestall("agent", "check-in")
    assert missing.returncode == 2
    assert "does not run" in missing.stderr


def test_a_command_that_nobody_signed_is_refused_once_with_a_signed_result(site):
    site.enrol()
    site.standin.interval = 1
    site.standin.jobs = [b"do as I say"]
    site.start()
    site.until(lambda: site.standin.results)
    reached = site.standin.expected + 3
    site.until(lambda: site.standin.expected >= reached)
    (result,) = site.standin.results
    assert result.outcome == "refused"
    assert result.code == "malformed"
    # The act state has forgotten what the spool took over.
    state = Path(f"{site.home.folder}/trust.json")
    site.until(lambda: json.loads(state.read_text()).get("waiting", []) == [])


def test_without_a_disk_for_its_spool_the_agent_goes_on_in_memory_and_moves_to_the_disk_later(site):
    site.enrol()
    site.standin.interval = 1
    Path(site.home.spool).mkdir()
    process = site.start()
    site.until(lambda: site.standin.expected >= 3)
    Path(site.home.spool).rmdir()
    site.until(lambda: Path(site.home.spool).is_file())
    reached = site.standin.expected + 3
    site.until(lambda: site.standin.expected >= reached)
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    assert "going on without" in process.stderr.read()
    assert [one.sequence for one in site.standin.taken] == list(range(1, site.standin.expected))
    times = site.standin.sample_times
    assert times == sorted(set(times))
