"""How a system is set up, and what Lynis and OpenSCAP found: on files made for it, and by the real programs."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from forestall.agent.collect import assessments, hardening
from forestall.agent.collect.assessments import AssessmentError, parse_lynis, parse_xccdf
from forestall.agent.collect.captures import captures
from forestall.agent.collect.captures.capture import CapturedFile
from forestall.agent.collect.host import Denied, LocalHost
from forestall.agent.collect.tests.recorded_host import RecordedHost

KERNEL = {
    "/proc/sys/kernel/randomize_va_space": "2\n",
    "/proc/sys/net/ipv4/ip_forward": "1\n",
    "/proc/sys/kernel/osrelease": "6.1.0-40-amd64\n",
}


def settings(**more):
    document = hardening.collect(RecordedHost(**more))
    return {(one.area, one.name): one for one in document.settings}, document


def test_kernel_settings_say_what_holds_and_what_will_hold_after_a_restart():
    found, _ = settings(files={
        **KERNEL,
        "/usr/lib/sysctl.d/50-default.conf": "net.ipv4.ip_forward = 1\n",
        "/etc/sysctl.d/90-own.conf": "# closed\n-net/ipv4/ip_forward=0\nkernel.randomize_va_space = 2\n",
    })  # fmt: skip
    assert (found["kernel", "net.ipv4.ip_forward"].value, found["kernel", "net.ipv4.ip_forward"].configured) == (
        "1",
        "0",
    )
    assert found["kernel", "kernel.randomize_va_space"].configured == ""
    assert found["kernel", "kernel.kptr_restrict"].value == "absent"


def test_a_file_in_etc_takes_the_place_of_one_of_the_same_name():
    found, _ = settings(files={
        **KERNEL,
        "/usr/lib/sysctl.d/90-own.conf": "net.ipv4.ip_forward=7\n",
        "/etc/sysctl.d/90-own.conf": "\n",
    })  # fmt: skip
    assert found["kernel", "net.ipv4.ip_forward"].configured == ""


def test_mounts_modules_and_files():
    found, document = settings(
        files={
            **KERNEL,
            "/proc/self/mounts": "/dev/mapper/root / ext4 rw 0 0\ntmpfs /tmp tmpfs rw,nosuid,nodev 0 0\n",
            "/proc/modules": "udf 1 0 - Live 0x0\n",
            "/lib/modules/6.1.0-40-amd64/modules.dep": "kernel/fs/hfs/hfs.ko.xz:\nkernel/net/dccp/dccp.ko:\n",
            "/lib/modules/6.1.0-40-amd64/modules.builtin": "kernel/fs/squashfs/squashfs.ko\n",
            "/etc/modprobe.d/own.conf": "install dccp /bin/false\nblacklist hfs\n",
            "/etc/passwd": "root:x:0:0::/root:/bin/bash\nada:x:1000:1000::/home/ada:/bin/bash\n",
            "/etc/group": "root:x:0:\n",
            "/etc/shadow": "secret",
            "/sys/block/dm-0/dm/name": "root\n",
            "/sys/block/dm-0/dm/uuid": "LVM-abc\n",
            "/sys/block/dm-0/slaves/dm-1": "",
            "/sys/block/dm-1/dm/uuid": "CRYPT-LUKS2-1\n",
        },
        modes={"/etc/shadow": 0o100644},
        owners={"/etc/shadow": 1000},
    )
    assert found["mount", "/tmp"].value == "rw,nosuid,nodev"
    assert found["mount", "/home"].value == "absent"
    modules = {name: one.value for (area, name), one in found.items() if area == "module"}
    assert {name: modules[name] for name in ("udf", "hfs", "squashfs", "dccp", "cramfs")} == {
        "udf": "loaded", "hfs": "available", "squashfs": "built in", "dccp": "blocked", "cramfs": "absent",
    }  # fmt: skip
    assert found["file", "/etc/shadow"].value == "0644 ada:root"
    assert "secret" not in repr(document), "permissions are looked at, contents are not sent"
    assert found["encryption", "/"].value == "encrypted", "the volume lies on a device that is encrypted"


def test_a_kernel_that_loads_no_modules_has_none_to_block():
    found, document = settings(files={**KERNEL, "/proc/filesystems": "nodev\tproc\n\tsquashfs\n"})
    assert (found["module", "hfs"].value, found["module", "squashfs"].value) == ("absent", "built in")
    assert [gap for gap in document.gaps if "modules" in gap.what] == []


def test_what_cannot_be_read_is_a_gap_and_no_setting():
    found, document = settings(files=KERNEL, denied=["/proc/sys/kernel/randomize_va_space"], is_root=False)
    assert ("kernel", "kernel.randomize_va_space") not in found
    assert ("kernel setting kernel.randomize_va_space", "needs root") in {(one.what, one.why) for one in document.gaps}


def test_secure_boot_by_its_variable():
    variable = "/sys/firmware/efi/efivars/SecureBoot-8be4df61"
    assert settings(files={variable: b"\x06\0\0\0\x01"})[0]["boot", "secure_boot"].value == "on"
    assert settings(files={variable: b"\x06\0\0\0\x00"})[0]["boot", "secure_boot"].value == "off"
    assert settings()[0]["boot", "secure_boot"].value == "absent"


def test_tls_defaults_are_those_that_openssl_conf_reaches():
    text = (
        "openssl_conf = start\n[start]\nssl_conf = ssl\n[ssl]\nsystem_default = all\n"
        "[all]\nMinProtocol = TLSv1.2 # ok\n[other]\nMinProtocol = TLSv1\n"
    )
    assert settings(files={"/etc/ssl/openssl.cnf": text})[0]["tls", "openssl MinProtocol"].value == "TLSv1.2"
    bare = settings(files={"/etc/ssl/openssl.cnf": "[all]\nMinProtocol = TLSv1.2\n"})[0]
    assert bare["tls", "openssl MinProtocol"].value == "absent"


def test_sign_in_banners_logs_and_processes():
    found, _ = settings(
        files={
            "/etc/login.defs": "PASS_MAX_DAYS\t90\nUMASK 027\n",
            "/etc/profile.d/timeout.sh": "# TMOUT=5\nreadonly TMOUT=900\n",
            "/etc/issue": "Debian GNU/Linux 12 \\n \\l\n",
            "/etc/issue.net": "Authorised use only.\n",
            "/etc/security/limits.conf": "* hard core 0\n",
            "/etc/systemd/journald.conf": "[Journal]\n#Storage=auto\nStorage=volatile\n",
            "/etc/pam.d/su": "auth required pam_wheel.so use_uid\n",
        },
        programs=["journalctl", "auditd"],
    )
    assert found["login", "PASS_MAX_DAYS"].value == "90"
    assert found["login", "shell timeout"].value == "900"
    assert found["login", "banner /etc/issue"].value == "tells the system"
    assert found["login", "banner /etc/issue.net"].value == "set"
    assert found["login", "su"].value == "limited to a group"
    assert found["process", "core dumps"].value == "off"
    assert found["logging", "journal"].value == "volatile"
    assert found["logging", "auditd"].value == "installed"


def test_this_machine_is_looked_at_without_a_program():
    document = hardening.collect(LocalHost())
    assert document.value("kernel", "kernel.randomize_va_space") in {"0", "1", "2"}
    assert len(document.settings) > 60


# --- what other tools found -------------------------------------------------------------------------------------

REPORT = """\
# Lynis Report
report_datetime_end=2026-11-24 04:02:45
lynis_version=3.0.8
warning[]=FIRE-1|No rules|-|-|
suggestion[]=KRNL-1|Some settings differ||text|
suggestion[]=BANN-1|Add a banner|/etc/issue|-|
details[]=KRNL-1|sysctl|desc:sysctl key x;field:kernel.sysrq;prefval:0;value:176;|
tests_executed=FIRE-1|KRNL-1|AUTH-9|
tests_skipped=DNS-2|
hardening_index=59
"""


def test_a_report_of_lynis_names_what_was_wrong_and_what_passed():
    found = parse_lynis(REPORT)
    assert (found.version, found.score, found.at) == ("3.0.8", 59.0, datetime(2026, 11, 24, 4, 2, 45, tzinfo=UTC))
    assert [(one.id, one.result) for one in found.findings] == [
        ("FIRE-1", "warning"), ("KRNL-1", "suggestion"), ("BANN-1", "suggestion"), ("AUTH-9", "pass"),
        ("DNS-2", "not_applicable"),
    ]  # fmt: skip
    assert found.findings[1].detail == "kernel.sysrq is 176, wanted 0"


XCCDF = """<?xml version="1.0"?>
<Benchmark xmlns="http://checklists.nist.gov/xccdf/1.2" id="b">
  <Group id="g"><title>Not this</title>
    <Rule id="r1" severity="high"><title>No root <b xmlns="x">by</b> SSH</title></Rule>
    <Rule id="r2" severity="low"><title>Second</title></Rule>
  </Group>
  <TestResult id="t" end-time="2026-11-24T04:02:46+00:00" test-system="cpe:/a:redhat:openscap:1.3.7">
    <profile idref="standard"/>
    <rule-result idref="r1" severity="high"><result>fail</result></rule-result>
    <rule-result idref="r2"><result>notapplicable</result></rule-result>
    <rule-result idref="r3"><result>notselected</result></rule-result>
    <score system="x" maximum="100">41.5</score>
  </TestResult>
</Benchmark>"""


def test_results_of_openscap_have_their_titles():
    found = parse_xccdf(XCCDF.encode())
    assert (found.tool, found.version, found.profile, found.score) == ("openscap", "1.3.7", "standard", 41.5)
    assert [(one.id, one.title, one.result, one.severity) for one in found.findings] == [
        ("r1", "No root by SSH", "fail", "high"),
        ("r2", "Second", "not_applicable", "low"),
    ]


BOMB = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>"""
OUTSIDE = """<?xml version="1.0"?><!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>"""


@pytest.mark.parametrize(("text", "why"), [
    (BOMB, "declares a document type"), (OUTSIDE, "declares a document type"), ("<a>" * 200, "nested too deeply"),
    (XCCDF[:600], "not whole XML"), ("<a/>", "no TestResult"), ("Dear Ada", "not whole XML"), ("", "not whole XML"),
])  # fmt: skip
def test_xml_that_is_damaged_or_hostile_is_refused(text, why):
    with pytest.raises(AssessmentError, match=why):
        parse_xccdf(text.encode())


def test_reports_are_found_and_the_newest_of_a_profile_counts():
    older = XCCDF.replace("2026-11-24", "2026-10-01").replace(">fail<", ">pass<")
    host = RecordedHost(files={
        assessments.LYNIS: REPORT, "/var/log/openscap/b.xml": older, "/var/log/openscap/a.xml": XCCDF,
        "/var/log/openscap/c.xml": BOMB,
    })  # fmt: skip
    document = assessments.collect(host)
    assert [(one.tool, one.findings[0].result) for one in document.assessments] == [
        ("lynis", "warning"),
        ("openscap", "fail"),
    ]
    assert [gap.what for gap in document.gaps] == ["results in /var/log/openscap/c.xml"]
    assert assessments.collect(RecordedHost()).gaps == ()
    closed = RecordedHost(files={assessments.LYNIS: REPORT}, denied=[assessments.LYNIS], is_root=False)
    assert assessments.collect(closed).gaps[0].why == Denied("x", is_root=False).why


@pytest.mark.root
def test_the_real_oscap_leaves_results_that_can_be_read(tmp_path):
    content = Path("/usr/share/xml/scap/ssg/content/ssg-debian11-ds.xml")
    if shutil.which("oscap") is None or not content.exists():
        pytest.skip("oscap or its content for Debian is not installed")
    for option, name in (("--results", "xccdf.xml"), ("--results-arf", "arf.xml")):
        subprocess.run(
            ["oscap", "xccdf", "eval", "--profile", "xccdf_org.ssgproject.content_profile_standard",
             option, str(tmp_path / name), str(content)],
            capture_output=True, check=False, timeout=120,
        )  # fmt: skip
        parsed = captures()["openscap"].parse([CapturedFile(name, (tmp_path / name).read_bytes())])
        assert parsed.document is not None, parsed.unread
        found = parsed.document.assessments[0]
        assert found.profile.endswith("_standard")
        assert len(found.findings) > 20
        assert all(one.title for one in found.findings)


@pytest.mark.root
@pytest.mark.soak
def test_the_real_lynis_leaves_a_report_that_can_be_read(tmp_path):
    if shutil.which("lynis") is None:
        pytest.skip("lynis is not installed")
    report = tmp_path / "report.dat"
    subprocess.run(
        ["lynis", "audit", "system", "--quick", "--no-colors", "--report-file", str(report), "--logfile",
         str(tmp_path / "log")], capture_output=True, check=False, timeout=300,
    )  # fmt: skip
    parsed = captures()["lynis"].parse([CapturedFile("report.dat", report.read_bytes())])
    assert parsed.document is not None, parsed.unread
    found = parsed.document.assessments[0]
    assert found.score is not None
    assert sum(one.result == "pass" for one in found.findings) > 50


def test_saved_outputs_of_sshd_and_sysctl():
    kinds = captures()
    said = b"port 2222\npermitrootlogin without-password\npasswordauthentication no\nsubsystem sftp /usr/lib/sftp\n"
    sshd = kinds["sshd"].parse([CapturedFile("sshd", said)])
    assert sshd.document is not None
    assert sshd.document.settings["permitrootlogin"] == "prohibit-password"
    sysctl = kinds["sysctl"].parse([CapturedFile("all", b"net.ipv4.ip_forward = 0\nabi.x = 1\nwhat is this\n")])
    assert sysctl.document is not None
    assert sysctl.document.value("kernel", "net.ipv4.ip_forward") == "0"
    assert [one.line for one in sysctl.unread] == [3]
    assert kinds["sshd"].parse([CapturedFile("x", b"Dear Ada")]).document is None
