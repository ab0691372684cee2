"""What matching costs, beside debsecan and beside the straightforward loop with univers, in the same run.

One host of 3,000 packages and a tracker file of 60,000 lines for its release (the size of Debian's for a stable
release; 8,000 of them the kernel's), both made by a seed; where the recorded feeds lie beside the repository they are
read too. All three are given the same, must find the same, and each runs in a process of its own.

Then 10,000 hosts of 3,000 packages, which share 12,000 versions as a fleet does, after a feed changed: the file is
read, the index made, the packages found of which something else is said, their versions matched, and the hosts found
that have one of those. Hosts are sorted lists of 32-bit numbers of versions, as the server keeps them.

Seconds are CPU seconds; all of it runs on one core.

``python -m bench.vulns [--hosts N]``
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "vuln-feeds"
SEED = 20261124
SOURCES, PACKAGES, LINES, KERNEL_LINES = 6_000, 3_000, 52_000, 8_000
VERSIONS_EACH = 4
AIM = {"one host, index opened, s": 0.050, "10,000 hosts after a feed changed, s": 60.0}


# --- what is matched ---------------------------------------------------------------------------------------


def version(chance: random.Random, *, late: bool = False) -> str:
    """A version; ``late``: of a host that is kept up to date, newer than about 19 of 20 fixes."""
    part = chance.choice((19, 19, 20)) if late else chance.randint(0, 19)
    upstream = f"1:3.{part}.{chance.randint(0, 20)}"
    return f"{upstream}-{chance.randint(1, 9)}{chance.choice(['', '+deb12u1', '+deb12u2', '~deb12u1'])}"


def tracker(chance: random.Random) -> dict[str, dict[str, Any]]:
    """Debian's tracker, as its JSON has it: source → vulnerability → releases."""
    made: dict[str, dict[str, Any]] = {f"source{number}": {} for number in range(SOURCES)}
    weights = [1 / (rank + 20) for rank in range(SOURCES)]
    places = chance.choices(range(SOURCES), weights, k=LINES)
    for number, place in enumerate(places):
        name = f"CVE-{2010 + number % 17}-{10000 + number}"
        made[f"source{place}"][name] = line(chance, version(chance))
    made["linux"] = {
        f"CVE-2025-{30000 + number}": line(chance, f"6.1.{100 + number * 90 // KERNEL_LINES}-1")
        for number in range(KERNEL_LINES)
    }
    return made


def line(chance: random.Random, fixed: str) -> dict[str, Any]:
    open_ = chance.random() < 0.03
    status = {"status": "open", "urgency": "low"} if open_ else {"status": "resolved", "fixed_version": fixed}
    return {"description": "A fault.", "releases": {"bookworm": {"urgency": "not yet assigned", **status}}}


def packages(chance: random.Random) -> list[tuple[str, str, str]]:
    """Name, source, version: 3,000 binary packages of 1,500 sources, and the kernel."""
    sources = chance.sample(range(SOURCES), PACKAGES // 2)
    found = [("linux-image-amd64", "linux", "6.1.178-1")]
    for source in sources:
        installed = version(chance, late=True)
        found += [
            (f"source{source}", f"source{source}", installed),
            (f"libsource{source}", f"source{source}", installed),
        ]
    return found[:PACKAGES]


def lay_out(folder: Path) -> None:
    """The same for all: a tracker file, one of debsecan's format, a dpkg status file."""
    chance = random.Random(SEED)
    made, installed = tracker(chance), packages(chance)
    (folder / "feeds").mkdir()
    (folder / "feeds" / "tracker.json").write_text(json.dumps(made))
    changed = dict(made)
    for source in chance.sample(sorted(made), 50):  # a day's work of the tracker
        new = {f"CVE-2026-{90000 + number}": line(chance, "1:3.20.5-1") for number in range(3)}
        changed[source] = {**made[source], **new}
    (folder / "changed").mkdir()
    (folder / "changed" / "tracker.json").write_text(json.dumps(changed))
    (folder / "debsecan").mkdir()
    (folder / "debsecan" / "bookworm").write_bytes(zlib.compress(for_debsecan(made, installed).encode()))
    status = "".join(
        f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nSource: {source}\nVersion: {one}\n\n"
        for name, source, one in installed
    )
    (folder / "status").write_text(status)


def for_debsecan(made: dict[str, dict[str, Any]], installed: list[tuple[str, str, str]]) -> str:
    """Debsecan's data of a release: names; package, name, flags, fixed in unstable, other fixed versions; binaries.

    The fixed version of the release stands where unstable's would: the comparison is the same.
    """
    names: list[str] = []
    lines: list[str] = []
    for source, entries in made.items():
        for name, entry in entries.items():
            fixed = entry["releases"]["bookworm"].get("fixed_version", "")
            lines.append(f"{source},{len(names)},S  F,{fixed},")
            names.append(f"{name},  ,A fault.")
    binaries: dict[str, list[str]] = {}
    for name, source, _ in installed:
        binaries.setdefault(source, []).append(name)
    mapped = [f"{source},{' '.join(each)}" for source, each in binaries.items()]
    return "VERSION 1\n" + "\n".join([*names, "", *lines, "", *mapped, ""]) + "\n"


# --- parts, each in a process of its own -------------------------------------------------------------------


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.process_time()
    result = run()
    return time.process_time() - begun, result


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def part_index(folder: Path) -> dict[str, Any]:
    """Read every feed and make the index."""
    from forestall.server.vulnerabilities.feeds import Advisory, read_feeds
    from forestall.server.vulnerabilities.index import Index

    shared = (
        [SHARED / name for name in ("osv", "debian-tracker", "windows", "kev", "formats")] if SHARED.exists() else []
    )
    reading, feeds = timed(lambda: read_feeds([folder / "feeds", *shared]))
    making, index = timed(lambda: Index.build(feeds.records))
    saving, _ = timed(lambda: index.save(folder / "index"))
    size = sum(one.stat().st_size for one in (folder / "index").iterdir())
    advisories = sum(isinstance(one, Advisory) for one in feeds.records)
    return {
        "advisories": advisories,
        "read s": reading,
        "make s": making,
        "save s": saving,
        "MiB on disk": size / 2**20,
        "peak MiB": peak_mib(),
    }


def part_ours(folder: Path) -> dict[str, Any]:
    """Open the index, match the host: the first time, and again."""
    from forestall.server.vulnerabilities.hosts import read_host
    from forestall.server.vulnerabilities.index import Index
    from forestall.server.vulnerabilities.matching import match_host

    host = read_host(folder / "status", system="debian:12")
    opening, index = timed(lambda: Index.open(folder / "index"))
    cold, found = timed(lambda: match_host(index, host))
    warm = statistics.median(timed(lambda: match_host(index, host))[0] for _ in range(9))
    return {
        "packages": len(host.packages),
        "open s": opening,
        "first s": cold,
        "again s": warm,
        "peak MiB": peak_mib(),
        "pairs": sorted((one.package, cve) for one in found for cve in one.cves),
    }


def part_univers(folder: Path) -> dict[str, Any]:
    """What one writes first: for each package, for each line about its source, compare two versions."""
    from univers.versions import DebianVersion

    from forestall.server.vulnerabilities.hosts import read_host

    host = read_host(folder / "status", system="debian:12")
    reading, made = timed(lambda: json.loads((folder / "feeds" / "tracker.json").read_text()))

    def loop() -> list[tuple[str, str]]:
        found = []
        for package in host.packages:
            installed = DebianVersion(package.source_version or package.version)
            for name, entry in made.get(package.source or package.name, {}).items():
                release = entry["releases"].get("bookworm")
                if release is None:
                    continue
                fixed = release.get("fixed_version")
                if release["status"] == "open" or installed < DebianVersion(fixed):
                    found.append((package.name, name))
        return found

    matching, found = timed(loop)
    return {"read s": reading, "match s": matching, "peak MiB": peak_mib(), "pairs": sorted(found)}


def part_fleet(folder: Path, hosts: int) -> dict[str, Any]:
    """A fleet, matched whole, and again after a feed changed."""
    import numpy as np

    from forestall.server.vulnerabilities.feeds import read_feeds
    from forestall.server.vulnerabilities.index import Index

    chance = random.Random(SEED + 1)
    sources = [f"source{number}" for number in range(PACKAGES)]
    versions = [(name, version(chance, late=True)) for name in sources for _ in range(VERSIONS_EACH)]
    generator = np.random.default_rng(SEED)
    offsets = np.arange(PACKAGES, dtype=np.uint32) * VERSIONS_EACH
    fleet = generator.integers(0, VERSIONS_EACH, (hosts, PACKAGES), dtype=np.uint32) + offsets
    held = peak_mib()

    before = Index.open(folder / "index")

    def whole() -> int:
        counts = np.array([len(before.findings_of("Debian:12", name, one)) for name, one in versions], dtype=np.uint32)
        return int(counts[fleet].sum())

    matching, findings = timed(whole)
    reading, feeds = timed(lambda: read_feeds([folder / "changed"]))
    making, after = timed(lambda: Index.build(feeds.records))

    def changed() -> tuple[int, int, int]:
        names = {
            name
            for name in before.names_of("Debian:12") | after.names_of("Debian:12")
            if before.digest_of("Debian:12", name) != after.digest_of("Debian:12", name)
        }
        again = [place for place, (name, _) in enumerate(versions) if name in names]
        now_open = [place for place in again if after.findings_of("Debian:12", *versions[place])]
        flags = np.zeros(len(versions), dtype=bool)
        flags[now_open] = True
        touched = int(flags[fleet].any(axis=1).sum())
        return len(names), len(again), touched

    following, (names, again, touched) = timed(changed)
    return {
        "hosts": hosts,
        "distinct versions": len(versions),
        "all versions, and each host's findings counted, s": matching,
        "findings": findings,
        "read the changed feed s": reading,
        "make its index s": making,
        "follow s": following,
        "packages changed": names,
        "versions matched again": again,
        "hosts touched": touched,
        "changed whole s": reading + making + following,
        "MiB for the fleet alone": held,
        "peak MiB": peak_mib(),
    }


def part(name: str, folder: Path, *more: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.vulns", "--part", name, "--folder", str(folder), *more],
        check=True,
        capture_output=True,
        text=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def run_alone(command: list[str]) -> tuple[dict[str, Any], str]:
    """A program from start to end: CPU seconds, peak memory, and what it wrote."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}")
    figures = {
        "whole s": usage.ru_utime + usage.ru_stime,
        "peak MiB": usage.ru_maxrss / 1024,
    }
    return figures, text


def debsecan(folder: Path) -> dict[str, Any] | None:
    program = shutil.which("debsecan")
    if program is None:
        return None
    config = folder / "debsecan.conf"
    config.write_text("")
    command = [program, f"--config={config}", f"--source=file://{folder}/debsecan/", "--suite=bookworm"]
    figures, text = run_alone([*command, f"--status={folder}/status", "--format=simple"])
    figures["pairs"] = sorted((words[1], words[0]) for words in map(str.split, text.splitlines()))
    return figures


def command_line(folder: Path) -> dict[str, Any]:
    """Ours from files to findings, as a program: what debsecan does."""
    command = [sys.executable, "-m", "forestall.cli.main", "vulns", "match", "--host", str(folder / "status")]
    figures, text = run_alone([*command, "--os", "debian:12", "--feeds", str(folder / "feeds"), "--json", "-"])
    figures["pairs"] = sorted((one["package"], cve) for one in json.loads(text) for cve in one["cves"])
    return figures


# --- the whole ---------------------------------------------------------------------------------------------


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.vulns")
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--part", choices=("index", "ours", "univers", "fleet"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.part:
        more = (options.hosts,) if options.part == "fleet" else ()
        print(json.dumps(globals()[f"part_{options.part}"](options.folder, *more)))
        return 0
    with tempfile.TemporaryDirectory(prefix="forestall-bench-") as name:
        folder = Path(name)
        lay_out(folder)
        results = {
            "index": part("index", folder),
            "ours": part("ours", folder),
            "ours, as a program": command_line(folder),
            "univers": part("univers", folder),
            "debsecan": debsecan(folder),
            "fleet": part("fleet", folder, "--hosts", str(options.hosts)),
        }
    pairs = {who: [tuple(pair) for pair in one.pop("pairs")] for who, one in results.items() if one and "pairs" in one}
    reference = pairs["ours"]
    same = {who: each == reference for who, each in pairs.items()}
    results["pairs found"] = len(reference)
    results["the same found"] = same
    show(results)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "vulns.json").write_text(json.dumps(rounded(results), indent=2) + "\n")
    slow = []
    if results["ours"]["first s"] > AIM["one host, index opened, s"]:
        slow.append("one host")
    if results["fleet"]["changed whole s"] > AIM["10,000 hosts after a feed changed, s"]:
        slow.append("the fleet")
    if slow:
        print(f"slower than aimed at: {', '.join(slow)}", file=sys.stderr)
    if not all(same.values()):
        print(f"not the same was found: {same}", file=sys.stderr)
    return 1 if slow or not all(same.values()) else 0


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def show(results: dict[str, Any]) -> None:
    index, ours, univers, fleet = (results[name] for name in ("index", "ours", "univers", "fleet"))
    program, other = results["ours, as a program"], results["debsecan"]
    print(
        f"index of {index['advisories']:,} advisories: read {index['read s']:.2f} s, made {index['make s']:.2f} s, ",
        end="",
    )
    print(f"{index['MiB on disk']:.1f} MiB on disk, peak {index['peak MiB']:.0f} MiB\n")
    print(f"one host of {ours['packages']:,} packages, {results['pairs found']:,} pairs of package and vulnerability")
    print(f"{'':34}{'match s':>10}{'whole s':>10}{'peak MiB':>10}")
    print(
        f"{'Forestall, index opened, first':34}{ours['first s']:>10.4f}{ours['open s'] + ours['first s']:>10.4f}",
        end="",
    )
    print(f"{ours['peak MiB']:>10.0f}")
    print(f"{'Forestall, again':34}{ours['again s']:>10.4f}")
    print(f"{'Forestall, from the feed file':34}{'':>10}{program['whole s']:>10.2f}{program['peak MiB']:>10.0f}")
    whole = univers["read s"] + univers["match s"]
    print(f"{'loop with univers':34}{univers['match s']:>10.4f}{whole:>10.2f}{univers['peak MiB']:>10.0f}")
    if other:
        print(f"{'debsecan, from its feed file':34}{'':>10}{other['whole s']:>10.2f}{other['peak MiB']:>10.0f}")
    else:
        print("debsecan is not installed")
    print(f"the same found: {results['the same found']}\n")
    print(f"{fleet['hosts']:,} hosts, {fleet['distinct versions']:,} versions:")
    for key, value in fleet.items():
        print(f"  {key:52}{value:>14,.4g}" if isinstance(value, float) else f"  {key:52}{value:>14,}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
