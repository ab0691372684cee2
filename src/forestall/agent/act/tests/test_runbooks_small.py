"""The small runbooks of the library, each run as published on real services, logs and programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from forestall.agent.act.actions import service_start
from forestall.agent.act.tests.test_changes import service


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setattr(service_start, "SETTLE_SECONDS", 0.0)


@pytest.mark.runbook("stop-service")
def test_a_service_is_stopped_and_its_undoing_starts_it(machine):
    state = service(machine)
    assert machine.run_library("stop-service", dry_run=True, service="cupsd").detail == "would stop cupsd"
    done = machine.run_library("stop-service", service="cupsd")
    assert (done.outcome, done.detail) == ("succeeded", "stopped: cupsd")
    assert not state.exists()
    assert machine.run_library("stop-service", service="cupsd").detail == "cupsd does not run; nothing to do"
    undone = machine.run_library("undo-change", job=done.job_id)
    assert undone.outcome == "succeeded"
    assert state.exists()


def test_the_ways_into_the_machine_are_never_stopped(machine):
    service(machine, "ssh")
    assert machine.run_library("stop-service", service="ssh").code == "service_protected"
    assert machine.run_library("stop-service", service="nobody-knows").code == "service_unknown"


def test_a_service_that_will_not_stop_is_said(machine):
    service(machine)
    script = machine.temporary.parent / "init.d" / "cupsd"
    script.write_text("#!/bin/sh\nexit 0\n")
    assert machine.run_library("stop-service", service="cupsd").code == "service_runs_on"
    script.write_text('#!/bin/sh\n[ "$1" = status ] || { echo no; exit 4; }\n')
    failed = machine.run_library("stop-service", service="cupsd")
    assert (failed.code, failed.steps[0].output) == ("service_failed", "no\n")


@pytest.mark.runbook("start-service")
def test_a_service_is_started_and_its_undoing_stops_it(machine):
    state = service(machine, running=False)
    assert machine.run_library("start-service", dry_run=True, service="cupsd").detail == "would start cupsd"
    done = machine.run_library("start-service", service="cupsd")
    assert done.detail == "started: cupsd"
    assert state.exists()
    assert machine.run_library("start-service", service="cupsd").detail == "cupsd runs; nothing to do"
    machine.run_library("undo-change", job=done.job_id)
    assert not state.exists()


def test_a_service_that_dies_at_once_is_put_back_by_itself(machine):
    service(machine, running=False)
    script = machine.temporary.parent / "init.d" / "cupsd"
    script.write_text('#!/bin/sh\n[ "$1" != status ] || exit 3\n')
    failed = machine.run_library("start-service", service="cupsd")
    assert (failed.code, failed.steps[-1].part) == ("service_died", "undo")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("update-rc.d") is None, reason="needs root and update-rc.d")
@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="systemd owns the services here")
def test_whether_it_starts_with_the_machine_is_changed_and_put_back(machine):
    """With a service of our own in the machine's real folders, which Debian's own tool links."""
    name = f"forestall-test-{os.getpid()}"
    script = Path("/etc/init.d", name)
    state = Path("/run", name)
    script.write_text(
        "#!/bin/sh\n### BEGIN INIT INFO\n"
        f"# Provides: {name}\n# Required-Start:\n# Required-Stop:\n# Default-Start: 2 3 4 5\n# Default-Stop: 0 1 6\n"
        "### END INIT INFO\n"
        f'case "$1" in start) touch {state} ;; stop) rm -f {state} ;; status) test -e {state} || exit 3 ;; esac\n'
    )
    script.chmod(0o755)
    machine.places = type(machine.places)(systemd="/nonexistent")

    def starts_with_the_machine() -> bool:
        return any(list(Path("/etc", f"rc{level}.d").glob(f"S??{name}")) for level in (2, 3, 4, 5))

    try:
        subprocess.run(["update-rc.d", name, "defaults"], check=True, capture_output=True)
        state.touch()
        assert starts_with_the_machine()
        done = machine.run_library("stop-service", service=name, disable=True)
        assert done.detail == f"stopped and kept from starting: {name}"
        assert not starts_with_the_machine()
        assert machine.run_library("undo-change", job=done.job_id).outcome == "succeeded"
        assert starts_with_the_machine()
        assert state.exists()
        machine.run_library("stop-service", service=name, disable=True)
        done = machine.run_library("start-service", service=name, enable=True)
        assert done.detail == f"started and starts with the machine: {name}"
        assert starts_with_the_machine()
    finally:
        state.unlink(missing_ok=True)
        script.unlink()
        subprocess.run(["update-rc.d", name, "remove"], check=True, capture_output=True)


@pytest.mark.runbook("rotate-logs")
@pytest.mark.skipif(
    shutil.which("logrotate") is None and not Path("/usr/sbin/logrotate").exists(), reason="no logrotate"
)
def test_logs_are_rotated_as_the_machine_says(machine):
    etc, log = machine.temporary.parent / "etc", machine.temporary.parent / "log" / "app.log"
    (etc / "logrotate.d").mkdir(parents=True)
    log.write_text("a line\n")
    for file in (etc / "logrotate.conf", etc / "logrotate.d" / "app"):
        file.write_text(f"{log} {{\n  rotate 3\n  monthly\n  missingok\n  create\n}}\n")
        file.chmod(0o644)
    machine.environment["HOME"] = str(etc)
    dry = machine.run_library("rotate-logs", dry_run=True, name="app")
    assert (dry.code, dry.detail) == ("dry_run", f"would rotate 1 log: {log}")
    assert log.read_text() == "a line\n"
    done = machine.run_library("rotate-logs", name="app")
    assert done.detail == f"rotated 1 log: {log}"
    assert (log.parent / "app.log.1").read_text() == "a line\n"
    assert log.read_text() == ""
    assert machine.run_library("rotate-logs", name="nobody").code == "settings_missing"
    (etc / "logrotate.d" / "app").write_text("include /nowhere/at/all\n")
    assert machine.run_library("rotate-logs", name="app").code == "rotate_failed"


@pytest.mark.runbook("collect-diagnostics")
def test_diagnostics_say_what_a_person_would_look_at(machine):
    done = machine.run_library("collect-diagnostics", about="disk")
    assert done.outcome == "succeeded"
    assert "$ df -hPT" in done.steps[0].output
    everything = machine.run_library("collect-diagnostics")
    assert everything.detail.startswith("looked at load, memory, disk, network, log with ")
    assert "$ ps" in everything.steps[0].output or "more lines" in everything.steps[0].output
    assert machine.run_library("collect-diagnostics", about="secrets").code == "parameter_out_of_bounds"
