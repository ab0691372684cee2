"""Antivirus and disks repaired: real clamd, clamscan and freshclam on a database of our own; a scripted smartctl."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import stat
import time
from pathlib import Path

import pytest

from forestall.agent.act import antivirus
from forestall.agent.act.actions import antivirus_start
from forestall.agent.collect.host import CommandResult, LocalHost
from forestall.agent.collect.processes import find, processes
from forestall.agent.collect.tests.test_antivirus_products import Moved, eicar

needs_clamav = pytest.mark.skipif(
    not all(shutil.which(program) for program in ("clamd", "clamscan", "freshclam")), reason="needs ClamAV"
)
# Whether ClamAV runs is a matter of the whole machine: one such test at a time.
alone = pytest.mark.xdist_group("clamd")


def signature(name: str = "Own.Test") -> str:
    return f"{hashlib.md5(eicar(), usedforsecurity=False).hexdigest()}:{len(eicar())}:{name}\n"


@pytest.fixture
def clamav(machine, tmp_path):
    """ClamAV's settings and database in a folder; the machine looks there."""
    (tmp_path / "db").mkdir()
    (tmp_path / "db/own.hdb").write_text(signature())
    (tmp_path / "clamd.conf").write_text(
        f"DatabaseDirectory {tmp_path}/db\nLocalSocket {tmp_path}/socket\nPidFile {tmp_path}/pid\n"
        f"LogFile {tmp_path}/clamd.log\nUser root\n"
    )
    machine.host = Moved(tmp_path)
    return tmp_path


@needs_clamav
@alone
@pytest.mark.root
@pytest.mark.runbook("start-antivirus")
def test_a_clamd_that_was_killed_is_started_and_the_product_runs(machine, clamav, monkeypatch):
    if find(processes(LocalHost()), "clamd"):
        pytest.skip("a clamd of somebody else runs here")
    monkeypatch.setattr(antivirus_start, "SETTLE_SECONDS", 0.3)
    monkeypatch.setattr(antivirus_start, "PATIENCE_SECONDS", 20.0)
    script = Path(machine.places.init_scripts, "clamav-daemon")
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(
        f"#!/bin/sh\nPID={clamav}/pid\ncase $1 in\nstart) exec clamd --config-file={clamav}/clamd.conf ;;\n"
        'stop) kill "$(cat $PID)" ;;\nstatus) [ -f $PID ] && kill -0 "$(cat $PID)" 2>/dev/null || exit 3 ;;\nesac\n'
    )
    script.chmod(0o755)
    try:
        assert machine.run_library("start-antivirus", dry_run=True).detail == "would start clamav-daemon of ClamAV"
        done = machine.run_library("start-antivirus")
        assert (done.outcome, done.detail) == ("succeeded", "started clamav-daemon; ClamAV runs")
        assert machine.run_library("start-antivirus").detail == "ClamAV runs; nothing to do"

        os.kill(int((clamav / "pid").read_text()), signal.SIGKILL)
        while find(processes(LocalHost()), "clamd"):
            time.sleep(0.02)
        assert machine.run_library("start-antivirus").detail == "started clamav-daemon; ClamAV runs"
    finally:
        if (clamav / "pid").exists():
            os.kill(int((clamav / "pid").read_text()), signal.SIGKILL)


@needs_clamav
@alone
@pytest.mark.root
def test_one_that_does_not_come_up_is_a_failure(machine, clamav, monkeypatch):
    if find(processes(LocalHost()), "clamd"):
        pytest.skip("a clamd of somebody else runs here")
    monkeypatch.setattr(antivirus_start, "PATIENCE_SECONDS", 0.3)
    assert machine.run_library("start-antivirus").code == "service_unknown"
    script = Path(machine.places.init_scripts, "clamav-daemon")
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    assert machine.run_library("start-antivirus").code == "service_died"


@needs_clamav
@pytest.mark.runbook("scan-for-malware")
def test_a_folder_is_scanned_and_the_finding_is_a_fact(machine, clamav, monkeypatch):
    monkeypatch.setattr(antivirus, "CLAMSCAN_OPTIONS", ("-d", str(clamav / "db")))
    share = clamav / "share"
    share.mkdir()
    (share / "letter.txt").write_text("Dear Bob\n")
    assert machine.run_library("scan-for-malware", folder=str(share)).detail == (
        f"ClamAV looked through {share}: 1 files seen, nothing found"
    )
    (share / "x.com").write_bytes(eicar())
    done = machine.run_library("scan-for-malware", folder=str(share))
    assert (done.outcome, done.detail) == ("succeeded", f"ClamAV looked through {share}: 2 files seen, 1 found")
    assert "x.com: Own.Test.UNOFFICIAL FOUND" in done.steps[0].output
    assert (share / "x.com").exists()
    log = Path(machine.places.logs, "clamav/forestall-scan.log")
    shutil.copy(log, clamav / "scan.log")
    product = antivirus.product_now("ClamAV", machine.host)
    assert [each.path for each in product.detections] == [str(share / "x.com")]
    assert product.last_scan_at is not None
    assert machine.run_library("scan-for-malware", folder=str(share / "nowhere")).code == "argument_wrong"
    assert machine.run_library("scan-for-malware", folder=str(share), product="SentinelOne").code == "not_possible"
    assert machine.run_library("scan-for-malware", folder=str(share), product="Rubber Duck").code == "product_unknown"
    assert machine.run_library("scan-for-malware", folder=str(share), product="ESET").code == "product_missing"


@needs_clamav
@pytest.mark.runbook("update-antivirus-definitions")
def test_a_real_freshclam_fetches_new_signatures(machine, clamav, monkeypatch):
    """From a file: the vendor's servers cannot be had here, and a test must not need them."""
    mirror = clamav / "mirror"
    mirror.mkdir()
    (mirror / "new.hdb").write_text(signature("Newer.Test"))
    settings = clamav / "freshclam.conf"
    settings.write_text(
        f"DatabaseDirectory {clamav}/db\nDatabaseOwner {'root' if os.geteuid() == 0 else os.environ.get('USER', '')}\n"
        f"DatabaseCustomURL file://{mirror}/new.hdb\nDatabaseMirror localhost\n"
        "ExcludeDatabase main\nExcludeDatabase daily\nExcludeDatabase bytecode\nTestDatabases no\n"
    )
    monkeypatch.setattr(antivirus, "FRESHCLAM_OPTIONS", (f"--config-file={settings}",))
    assert machine.run_library("update-antivirus-definitions", dry_run=True).detail == (
        "would let ClamAV update its definitions, own signatures only now"
    )
    done = machine.run_library("update-antivirus-definitions")
    assert done.outcome == "succeeded", done
    assert (clamav / "db/new.hdb").read_text() == signature("Newer.Test")
    (mirror / "new.hdb").unlink()
    (clamav / "db/new.hdb").unlink()
    failed = machine.run_library("update-antivirus-definitions")
    assert (failed.outcome, failed.code) == ("failed", "update_failed")
    assert machine.run_library("update-antivirus-definitions", product="CrowdStrike Falcon").code == "not_possible"


class WithSmartctl(LocalHost):
    """This machine, with a smartctl that answers as told."""

    def __init__(self, report, exit_code=0):
        super().__init__()
        self.report, self.exit_code, self.asked = report, exit_code, []

    def run(self, argv, **others):
        self.asked.append(list(argv))
        return CommandResult(json.dumps(self.report), "", self.exit_code)


ABLE = {
    "device": {"name": "/dev/sda"},
    "ata_smart_data": {"self_test": {"status": {"value": 0}, "polling_minutes": {"short": 2, "extended": 255}}},
}


@pytest.fixture
def smartctl(machine, tmp_path):
    """A smartctl in a folder that is searched first; it writes down how it was called."""
    program = tmp_path / "bin/smartctl"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/called\n'
        f"[ -f {tmp_path}/refuse ] && {{ cat {tmp_path}/refuse; exit 4; }}\nexit 64\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    machine.environment["PATH"] = f"{program.parent}:/usr/bin:/bin"
    machine.host = WithSmartctl(ABLE)
    return tmp_path


@pytest.mark.runbook("test-disk")
def test_a_disk_is_told_to_test_itself(machine, smartctl):
    assert machine.run_library("test-disk", dry_run=True, device="/dev/sda").detail == (
        "would let /dev/sda run its long test, about 255 minutes"
    )
    done = machine.run_library("test-disk", device="/dev/bus/0 megaraid,16", kind="short")
    assert (done.outcome, done.detail) == ("succeeded", "/dev/bus/0 megaraid,16 runs its short test, about 2 minutes")
    assert (smartctl / "called").read_text() == "--json -t short -d megaraid,16 /dev/bus/0\n"
    (smartctl / "refuse").write_text(json.dumps({"smartctl": {"messages": [{"string": "Self-tests not supported"}]}}))
    refused = machine.run_library("test-disk", device="/dev/sda")
    assert (refused.code, "Self-tests not supported" in refused.detail) == ("test_refused", True)


def test_a_disk_at_its_test_or_gone_is_left_alone(machine, smartctl):
    machine.host.report = {
        "device": {},
        "ata_smart_data": {"self_test": {"status": {"value": 249, "string": "in progress, 90% remaining"}}},
    }
    assert machine.run_library("test-disk", device="/dev/sda").code == "test_runs"
    machine.host.report, machine.host.exit_code = (
        {"smartctl": {"messages": [{"string": "/dev/sda: No such device"}]}},
        2,
    )
    gone = machine.run_library("test-disk", device="/dev/sda")
    assert (gone.code, "No such device" in gone.detail) == ("test_refused", True)
    assert machine.run_library("test-disk", device="/dev/../etc").code != ""
    assert not (smartctl / "called").exists()
