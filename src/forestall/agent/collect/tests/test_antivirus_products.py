"""Antivirus products by what they print; ClamAV for real, with a small database of our own."""

# ruff: noqa: E501 - recorded outputs keep their lines
from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from forestall.agent.collect import antivirus
from forestall.agent.collect.antivirus.common import moment
from forestall.agent.collect.captures import captures
from forestall.agent.collect.captures.capture import CapturedFile
from forestall.agent.collect.host import LocalHost
from forestall.agent.collect.processes import find, processes
from forestall.agent.collect.tests.recorded_host import RecordedHost, process

GLPI = Path(__file__).parents[6] / "shared/data/command-outputs/glpi-agent"


def parse(kind, *texts):
    given = [text if isinstance(text, bytes) else text.encode() for text in texts]
    parsed = captures()[kind].parse([CapturedFile(f"{number}.txt", data) for number, data in enumerate(given)])
    assert parsed.document is not None, parsed.unread
    assert parsed.unread == ()
    (product,) = parsed.document.products
    return product


HEALTH = {
    "healthy": False, "healthIssues": ["cloud connectivity issue"], "licensed": True, "engineVersion": "1.1.23100.2009",
    "appVersion": "101.23102.0003", "passiveModeEnabled": {"value": False}, "realTimeProtectionEnabled": {"value": True},
    "tamperProtection": {"value": "disabled"}, "definitionsUpdated": "Nov 22, 2026 at 03:12:11 AM",
    "definitionsVersion": "1.403.57.0", "definitionsStatus": {"$type": "upToDate"},
}  # fmt: skip


def test_defender_on_linux():
    host = RecordedHost(
        outputs={
            "mdatp health": json.dumps(HEALTH),
            "mdatp threat list": json.dumps(
                [{"name": "EICAR-Test-File", "status": "quarantined", "filePath": "/tmp/e"}]
            ),
            "mdatp exclusion list": '=====\nExcluded folder\nPath: "/var/lib/docker"\n---\n',
        }
    )
    (product,) = antivirus.collect(host).products
    assert (product.name, product.running, product.real_time, product.tamper_protection) == (
        "Microsoft Defender",
        True,
        True,
        False,
    )
    assert (product.definitions_at, product.definitions_current) == (
        datetime(2026, 11, 22, 3, 12, 11, tzinfo=UTC),
        True,
    )
    assert (product.status, product.exclusions) == ("cloud connectivity issue", ("/var/lib/docker",))
    assert [(each.name, each.handled) for each in product.detections] == [("EICAR-Test-File", True)]
    silent = antivirus.collect(RecordedHost(outputs={"mdatp": "Error: service not running\n"}))
    assert (silent.products[0].unknown_why, silent.gaps[0].why) == ("mdatp does not answer", "mdatp printed no JSON")


STATUS = {
    "AMEngineVersion": "1.1.24090.11", "AMProductVersion": "4.18.24090.11", "AMRunningMode": "Normal", "AMServiceEnabled": True,
    "AntivirusEnabled": True, "AntivirusSignatureLastUpdated": "/Date(1732406400000)/", "AntivirusSignatureVersion": "1.421.1",
    "RealTimeProtectionEnabled": False, "IsTamperProtected": True, "QuickScanEndTime": "/Date(1732410000000)/",
    "FullScanEndTime": None, "DefenderSignaturesOutOfDate": False,
}  # fmt: skip


def test_defender_on_windows_by_three_of_its_commands():
    preferences = {"ExclusionPath": ["C:\\Users"], "ExclusionExtension": ["ps1"], "ExclusionProcess": None}
    threats = [
        {
            "ThreatName": "Virus:DOS/EICAR_Test_File",
            "Resources": ["file:_C:\\x.com"],
            "IsActive": True,
            "InitialDetectionTime": "/Date(1732406400000)/",
        }
    ]
    product = parse("defender", json.dumps(STATUS), json.dumps(preferences), json.dumps(threats))
    assert (product.running, product.real_time, product.tamper_protection) == (True, False, True)
    assert product.definitions_at == datetime(2024, 11, 24, tzinfo=UTC)
    assert product.last_scan_at == datetime(2024, 11, 24, 1, tzinfo=UTC)
    assert product.exclusions == ("C:\\Users", "*.ps1")
    assert [(each.path, each.handled) for each in product.detections] == [("C:\\x.com", False)]
    listed = "\r\n".join(f"{name:<32}: {value}" for name, value in STATUS.items())
    assert parse("defender", listed.encode("utf-16")).real_time is False
    assert parse("defender", json.dumps({**STATUS, "AMRunningMode": "Passive Mode"})).real_time is False


def test_windows_security_center():
    text = "displayName=Example AV\r\nproductState=397568\r\n"
    product = parse("windows-security-center", text)
    assert (product.running, product.real_time, product.definitions_current) == (True, True, True)
    assert parse("windows-security-center", text.replace("397568", "393488")).definitions_current is False
    assert parse("windows-security-center", text.replace("397568", "393472")).running is False


SAVD = """\
Sophos Anti-Virus is active
On-access scanning is running
Copyright 1989-2021 Sophos Limited. All rights reserved.
Sophos Anti-Virus       = 10.5.2
Threat detection engine = 3.84.1
Threat data             = 5.99
Last update             = Sun Nov 22 11:48:44 2026
"""


def test_sophos():
    product = parse("sophos", SAVD)
    assert (product.version, product.running, product.real_time) == ("10.5.2", True, True)
    assert product.definitions_at == datetime(2026, 11, 22, 11, 48, 44, tzinfo=UTC)
    assert parse("sophos", "Sophos Anti-Virus is inactive\n").running is False
    newer = antivirus.collect(
        RecordedHost(
            files={
                "/opt/sophos-spl/base/etc/x": "",
                "/proc/1/comm": "init",
                **process(9, "/opt/sophos-spl/base/bin/sophos_watchdog"),
            }
        )
    )
    assert (newer.products[0].running, newer.products[0].unknown_why) == (
        True,
        "it tells its state to Sophos Central alone",
    )


MODULES = """\
/opt/eset/efs/bin/upd (efs) 10.1.98.0
EM000 1078 (20220607) Update module
EM001 1089 (20261101) Antivirus and antispyware scanner module
EM002 27123 (20261120) Detection engine
"""


def test_eset():
    product = parse("eset", MODULES)
    assert (product.version, product.definitions_version, product.definitions_at) == (
        "10.1.98.0",
        "27123",
        datetime(2026, 11, 20, tzinfo=UTC),
    )
    host = RecordedHost(
        files={"/opt/eset/efs/bin/upd": "", "/proc/1/comm": "init", **process(7, "/opt/eset/efs/sbin/startd")},
        outputs={"/opt/eset/efs/bin/upd --list-modules": MODULES},
    )
    (product,) = antivirus.collect(host).products
    assert (product.running, product.real_time, product.service) == (True, False, "efs")


def test_crowdstrike():
    answer = 'aid="0123456789abcdef", version = 7.10.16303.0\nrfm-state=true, rfm-reason=Unspecified, code=0x0.\n'
    product = parse("crowdstrike", answer)
    assert (product.version, product.real_time, product.managed) == ("7.10.16303.0", False, True)
    assert product.status == "reduced functionality: Unspecified"
    assert parse("crowdstrike", 'aid="", version = 7.10.16303.0\nrfm-state=false\n').managed is False
    stats = "=== agent_info ===\nversion: 6.39.1\nagentID: ABC\nSensor operational: true\n=== CloudInfo ===\nState: connected\n"
    mac = parse("crowdstrike", stats)
    assert (mac.running, mac.managed) == (True, True)


@pytest.mark.skipif(not GLPI.is_dir(), reason="the recorded outputs are not here")
def test_recorded_outputs_of_bitdefender_sentinelone_and_cortex():
    product = parse("bitdefender", (GLPI / "linux/antivirus/bduitool-7.0.3.2239").read_bytes())
    assert (product.version, product.running, product.real_time, product.definitions_current) == (
        "7.0.3.2239",
        True,
        True,
        True,
    )
    assert product.definitions_at == datetime(2023, 8, 24, 9, 44, 37, tzinfo=UTC)
    product = parse("sentinelone", (GLPI / "linux/antivirus/sentinelone-30.1.1.10").read_bytes())
    assert (product.version, product.running, product.tamper_protection, product.managed) == (
        "30.1.1.10",
        True,
        True,
        True,
    )
    product = parse("sentinelone", (GLPI / "macos/antivirus/sentinelone-epp-24.1.2.7444-status").read_bytes())
    assert (product.version, product.running, product.real_time, product.managed) == ("24.1.2.7444", True, True, True)
    files = [
        (GLPI / "linux/antivirus" / f"cortex-xdr-8.2.1.120305-{name}-query").read_bytes()
        for name in ("runtime", "info")
    ]
    product = parse("cortex", *files)
    assert (product.running, product.definitions_version) == (True, "1270-120305")


def test_a_stopped_part_of_cortex_is_told():
    rows = "   Name   PID   User   Status   Command\n    pmd  1092   root  Running  /opt/traps/bin/pmd\n   dypd  1707   root  Stopped  /opt/traps/bin/dypdng\n"
    product = parse("cortex", rows)
    assert (product.running, product.real_time, product.status) == (True, False, "does not run: dypd")


@pytest.mark.parametrize(
    "kind",
    [
        "clamav",
        "defender",
        "sophos",
        "eset",
        "bitdefender",
        "sentinelone",
        "crowdstrike",
        "cortex",
        "windows-security-center",
    ],
)
def test_a_letter_is_none_of_them(kind):
    parsed = captures()[kind].parse([CapturedFile("letter.txt", b"Dear Bob,\nthe printer is on fire.\n")])
    assert parsed.document is None
    assert parsed.unread[0].file == "letter.txt"


def test_times_as_products_write_them():
    assert moment("2023-08-24 at 11:44:37 GMT+2") == datetime(2023, 8, 24, 9, 44, 37, tzinfo=UTC)
    assert moment("2026-11-22T10:00:00+02:00") == datetime(2026, 11, 22, 8, tzinfo=UTC)
    assert moment({"value": "/Date(0)/"}) is None
    assert moment("never") is moment("") is moment("0001-01-01T00:00:00") is None


def test_logs_settings_and_databases_of_clamav():
    log = (
        "Sun Nov 22 10:00:00 2026 -> /srv/a: Eicar-Test-Signature FOUND\n"
        "/srv/b: Own.Test.UNOFFICIAL FOUND\n/srv/c: Own.Test.UNOFFICIAL FOUND\n/srv/c: moved to '/q/c'\n"
        "----------- SCAN SUMMARY -----------\nInfected files: 2\nEnd Date:   2026:11:22 11:00:00\n"
    )
    product = parse(
        "clamav",
        "ClamAV 1.4.1/27465/Sat Nov 21 08:34:22 2026\n",
        log,
        "DatabaseDirectory /var/lib/clamav\nExcludePath ^/home/\n",
    )
    assert (product.version, product.definitions_version) == ("1.4.1", "27465")
    assert product.definitions_at == datetime(2026, 11, 21, 8, 34, 22, tzinfo=UTC)
    assert [(each.path, each.name) for each in product.detections] == [
        ("/srv/b", "Own.Test.UNOFFICIAL"),
        ("/srv/a", "Eicar-Test-Signature"),
    ]
    assert (product.last_scan_at, product.exclusions) == (datetime(2026, 11, 22, 11, tzinfo=UTC), ("^/home/",))
    header = parse(
        "clamav", b"ClamAV-VDB:16 Sep 2024 04-32 -0400:27400:2067000:90:x:y:builder:1".ljust(600, b" ") + b"\x00"
    )
    assert header.definitions_at == datetime(2024, 9, 16, 8, 32, tzinfo=UTC)


# --- ClamAV itself ------------------------------------------------------------------------------------------

needs_clamav = pytest.mark.skipif(
    not shutil.which("clamd") or not shutil.which("clamscan"), reason="needs clamd and clamscan"
)


class Moved(LocalHost):
    """This machine, with ClamAV's settings and logs in another folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def _there(self, path):
        for name in ("/etc/clamav", "/var/log/clamav"):
            if path.startswith(name):
                return f"{self.folder}{path.removeprefix(name)}"
        return path

    def read_bytes(self, path, **others):
        return super().read_bytes(self._there(path), **others)

    def status(self, path):
        return super().status(self._there(path))

    def glob(self, pattern):
        return super().glob(self._there(pattern))


def eicar() -> bytes:
    """The test file of the antivirus industry, put together here so that no scanner minds this source."""
    return b"".join([b"X5O!P%@AP[4\\PZX54(P^)7CC)7}", b"$EICAR-STANDARD-", b"ANTIVIRUS-TEST-FILE!$H+H*"])


@pytest.fixture
def clamd(tmp_path):
    """A clamd of our own with one signature, on a socket in a folder; ended at the end."""
    if find(processes(LocalHost()), "clamd"):
        pytest.skip("a clamd of somebody else runs here")
    database = tmp_path / "db"
    database.mkdir()
    (database / "own.hdb").write_text(
        f"{hashlib.md5(eicar(), usedforsecurity=False).hexdigest()}:{len(eicar())}:Own.Test\n"
    )
    settings = tmp_path / "clamd.conf"
    settings.write_text(
        f"DatabaseDirectory {database}\nLocalSocket {tmp_path}/socket\nLogFile {tmp_path}/clamd.log\nLogTime yes\n"
        f"Foreground yes\nExcludePath ^{tmp_path}/left-out\nUser root\n"
    )
    server = subprocess.Popen(
        ["clamd", "--config-file", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 20
    while not (tmp_path / "socket").exists() and server.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if not (tmp_path / "socket").exists():
        server.kill()
        pytest.skip("clamd does not start here")
    yield tmp_path, server
    server.kill()
    server.wait()


@needs_clamav
@pytest.mark.xdist_group("clamd")
def test_a_real_clamd_finds_a_real_file_and_is_then_silently_stopped(clamd):
    folder, server = clamd
    bad = folder / "invoice.com"
    bad.write_bytes(eicar())
    host = Moved(folder)
    (before,) = (each for each in antivirus.collect(host).products if each.name == "ClamAV")
    assert (before.running, before.definitions_version, before.detections) == (True, "own signatures only", ())
    assert before.exclusions == (f"^{folder}/left-out",)
    assert before.version

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(folder / "socket"))
        connection.sendall(f"nSCAN {bad}\n".encode())
        answer = connection.recv(1000)
    assert b"FOUND" in answer
    (after,) = (each for each in antivirus.collect(host).products if each.name == "ClamAV")
    (detection,) = after.detections
    assert (detection.name, detection.path, detection.handled) == ("Own.Test.UNOFFICIAL", str(bad), False)
    assert abs(detection.at.timestamp() - time.time()) < 600
    bad.unlink()
    (gone,) = (each for each in antivirus.collect(host).products if each.name == "ClamAV")
    assert [each.handled for each in gone.detections] == [True]

    server.kill()
    server.wait()
    (stopped,) = (each for each in antivirus.collect(host).products if each.name == "ClamAV")
    assert stopped.running is False


@needs_clamav
def test_a_real_scan_leaves_its_end_and_its_findings_in_a_log(tmp_path):
    (tmp_path / "own.hdb").write_text(
        f"{hashlib.md5(eicar(), usedforsecurity=False).hexdigest()}:{len(eicar())}:Own.Test\n"
    )
    share = tmp_path / "share"
    share.mkdir()
    (share / "x.com").write_bytes(eicar())
    (share / "letter.txt").write_text("Dear Bob\n")
    log = tmp_path / "scan.log"
    result = subprocess.run(
        ["clamscan", "-r", "-d", str(tmp_path / "own.hdb"), f"--log={log}", str(share)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stdout + result.stderr
    (product,) = (each for each in antivirus.collect(Moved(tmp_path)).products if each.name == "ClamAV")
    assert [each.path for each in product.detections] == [str(share / "x.com")]
    assert abs(product.last_scan_at.timestamp() - time.time()) < 600
