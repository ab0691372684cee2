"""A health run of this machine beside ``lynis audit system --quick`` and ``oscap`` with Debian's profile, in one run.

Ours collects every document, judges it by every check kind and by the baseline (level 2), in a process of its own.
Wall time, CPU seconds of it and its children, and the largest process's memory. Then the findings are laid beside
theirs, and each difference is explained: a difference without an explanation is named as such.

SCAP content for Debian 12 is not packaged; that for 11 calls every rule not applicable elsewhere. So its check of the
release is pointed at this one in a copy, and nothing else is changed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from forestall.agent.collect.assessments import parse_lynis, parse_xccdf

RESULTS = Path(__file__).parent / "results"
CONTENT = Path("/usr/share/xml/scap/ssg/content/ssg-debian11-ds.xml")
PROFILE = "xccdf_org.ssgproject.content_profile_standard"
EXPLAINED = {
    # Findings of Lynis that no control of ours has, and why.
    "LYNIS": "is about the age of Lynis itself",
    "DEB-0280": "suggests a package (libpam-tmpdir)", "DEB-0810": "suggests a package (apt-listbugs)",
    "DEB-0811": "suggests a package (apt-listchanges)", "DEB-0880": "suggests a package (fail2ban)",
    "DEB-0831": "the document `restarts` and the runbook restart-outdated-services do what it asks for",
    "BOOT-5180": "could not tell the run level: there is no systemd as process 1 here",
    "BOOT-5264": "asks for a look at each unit's sandbox; systemd does not run here",
    "KRNL-5788": "looks for /vmlinuz; this virtual machine is started with a kernel from outside",
    "AUTH-9262": "password quality is the check `password_policy`",
    "AUTH-9284": "locked accounts are the checks of access, and its reviews",
    "FILE-6354": "old files in /tmp are what the runbook free-disk-space removes",
    "STRG-1846": "the module firewire-ohci is in the document `hardening`; no control asks for it",
    "NAME-4028": "the name of the DNS domain is no matter of hardening",
    "PKGS-7370": "suggests a package (debsums)", "PKGS-7394": "suggests a package; updates are checks of their own",
    "PKGS-7420": "updates are installed by Forestall's own policies",
    "PKGS-7346": "old packages are a matter of updates",
    "PKGS-7392": "updates that wait are the check `security_updates`",
    "LOGG-2138": "klogd is of a syslog from before journald", "LOGG-2190": "deleted files in use: document `restarts`",
    "ACCT-9622": "process accounting; auditd is what level 2 asks for",
    "ACCT-9626": "suggests sysstat; samples measure it",
    "TOOL-5002": "looks for Puppet and the like; Forestall is the tool here",
    "HOME-9304": "home folders are a matter of the check `open_path`; /root is a control and is well",
    "USB-1000": "asks for the driver to be blocked; this kernel loads none at all, so the control does not fail",
    "NETW-3200": "asks for protocols to be blocked; this kernel loads none at all, so the controls do not fail",
    "LOGG-2130": "wants a syslog daemon; the journal is kept on disk, which the control asks for",
    "AUTH-9230": "wants rounds of the hash named; the control asks for a slow algorithm",
    "KRNL-6000": "has stricter wishes of its own beside ours",
    "PROC-3612": "counts processes that wait for disks just now; samples measure that",
    "file_permissions_systemmap": "asks for rights of the kernel's symbol table; no control does",
    "HRDN-7230": "malware scanners are the check `antivirus`",
    "FIRE-4512": "no rules are loaded",
    "SSH-7408": "has wishes of its own beside ours",
}  # fmt: skip

OURS = {
    # Controls that fail although a test of theirs at the same thing ran and found no fault, and why.
    ("lynis", "shm-options"): "Lynis notes it in its log and makes no suggestion of it.",
    ("lynis", "cron-allowed"): "Lynis accepts that nobody is named.",
    ("lynis", "no-rsync-server"): "Lynis lists services and judges none.",
    ("lynis", "time-synchronised"): "Lynis is content with a daemon that is installed.",
}


def measured(argv: list[str], **more: Any) -> dict[str, float]:
    """Run a program: seconds, CPU seconds of it and its children, the largest process's memory in MB."""
    began = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
    _, _, usage = os.wait4(process.pid, 0)
    return {
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "memory_mb": round(usage.ru_maxrss / 1024, 1),
    }


def inside(target: str) -> None:
    """What the measured process does: collect, judge, write down how it stands."""
    from datetime import UTC, datetime

    from forestall.agent.collect.host import LocalHost
    from forestall.agent.collect.registry import collect_all
    from forestall.server.checks.judging import judge_kind
    from forestall.server.checks.kinds import CHECK_KINDS
    from forestall.server.checks.result import Known
    from forestall.server.checks.rules import policy_of
    from forestall.server.configuration.controls import baseline, judge

    facts, now = collect_all(LocalHost()), datetime.now(UTC)
    known = Known(facts=facts, collected_at=dict.fromkeys(facts.FIELDS, now))
    results = [
        one.status.value
        for kind in CHECK_KINDS.values()
        if not kind.about_link
        for one in judge_kind(kind, known, policy_of(kind, []), now, {})
    ]
    controls = [(one.control, one.outcome.value, one.why) for one in judge(facts, baseline("server", 2))]
    Path(target).write_text(json.dumps({"checks": Counter(results), "controls": controls}))


def main() -> int:
    """Measure, compare, print, and keep the figures."""
    from forestall.server.configuration.controls import Judged, Outcome, controls
    from forestall.server.configuration.rules import overlap

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        figures = {"forestall": measured([sys.executable, "-m", "bench.health", "--inside", str(work / "ours.json")])}
        ours = json.loads((work / "ours.json").read_text())
        lynis = oscap = None
        if shutil.which("lynis"):
            report = work / "report.dat"
            argv = ["lynis", "audit", "system", "--quick", "--no-colors", "--report-file", str(report)]
            figures["lynis"] = measured([*argv, "--logfile", str(work / "log")])
            lynis = parse_lynis(report.read_text(errors="replace"))
        if shutil.which("oscap") and CONTENT.exists():
            copy = work / "content.xml"
            copy.write_text(CONTENT.read_text().replace("^11", "^12"))
            argv = ["oscap", "xccdf", "eval", "--profile", PROFILE, "--results", str(work / "results.xml"), str(copy)]
            figures["oscap"] = measured(argv)
            oscap = parse_xccdf((work / "results.xml").read_bytes())
    outcomes = Counter(one[1] for one in ours["controls"])
    print(f"{'':12}{'seconds':>9}{'CPU s':>9}{'memory MB':>11}   found")
    found = {
        "forestall": f"{sum(ours['checks'].values())} results of checks; {len(ours['controls'])} controls: "
        + ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in sorted(outcomes.items())),
        "lynis": lynis and _found(lynis.findings),
        "oscap": oscap and _found(oscap.findings),
    }
    for name, one in figures.items():
        print(f"{name:12}{one['seconds']:9.2f}{one['cpu_seconds']:9.2f}{one['memory_mb']:11.1f}   {found[name]}")
    kept: dict[str, Any] = {"figures": figures, "found": found}
    judged = [Judged(control, Outcome(outcome), why) for control, outcome, why in ours["controls"]]
    for tool, assessment in (("lynis", lynis), ("openscap", oscap)):
        if assessment is None:
            continue
        plain = [{"id": one.id, "result": one.result} for one in assessment.findings]
        met = overlap(tool=tool, findings=plain, results=judged, known=controls())
        kept[tool] = {
            "agree": met.agree, "only_here": met.only_here, "only_there": met.only_there,
            "no_counterpart": met.no_counterpart, "not_known_there": met.not_known_there,
        }  # fmt: skip
        print(f"\nBeside {tool}: both find fault with {len(met.agree)} controls")
        why = {one.control: one.why for one in judged}
        for control in met.only_here:
            print(f"  we alone:  {control}: {why[control]} {OURS.get((tool, control), 'NOT EXPLAINED')}")
        for control, test in met.only_there:
            print(f"  it alone:  {test} / {control}: {EXPLAINED.get(test, 'NOT EXPLAINED')} ({why[control]})")
        for test in met.no_counterpart:
            print(f"  no control: {test}: {EXPLAINED.get(test, 'NOT EXPLAINED')}")
        print(f"  it does not look at: {', '.join(met.not_known_there)}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "health.json").write_text(json.dumps(kept, indent=2) + "\n")
    return 0


def _found(findings: Any) -> str:
    counted = Counter(one.result for one in findings)
    return ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in sorted(counted.items()))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2])
    else:
        sys.exit(main())
