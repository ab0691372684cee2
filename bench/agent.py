"""What the agent costs a device, beside Debian's zabbix-agent2 and prometheus-node-exporter, in the same run.

Our agent checks in every 60 s with everything on: TLS 1.3 to the real intake, spool, all facts, all samples. Zabbix's
agent is asked for 20 keys every 60 s, the node exporter is scraped every 15 s. All three run at the same time; each is
measured as a tree of processes, children that have ended included, after a minute of warming up.

CPU: seconds per minute, from /proc/PID/stat. Memory: PSS from smaps, the mean of readings every 5 s, of the whole tree.
Our agent shares Python's files with the server on this machine, which would flatter it: *PSS alone* counts every file
in full, for all three, but the C library, which every process of any machine shares. RSS is the bound from above.

``python -m bench.agent [--seconds N] [--warm N]``
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

RESULTS = Path(__file__).parent / "results"
TICKS = os.sysconf("SC_CLK_TCK")
READ_EVERY_SECONDS = 5.0
ZABBIX_EVERY_SECONDS = 60.0
SCRAPE_EVERY_SECONDS = 15.0
ZABBIX_KEYS = (
    "system.cpu.util", "system.cpu.load[all,avg1]", "system.cpu.load[all,avg5]", "system.cpu.load[all,avg15]",
    "vm.memory.size[total]", "vm.memory.size[available]", "vm.memory.size[pavailable]", "system.swap.size[,free]",
    "vfs.fs.size[/,total]", "vfs.fs.size[/,free]", "vfs.fs.size[/,pused]", "vfs.fs.inode[/,pused]",
    "proc.num[]", "proc.num[,,run]", "system.uptime", "system.hostname", "net.if.in[{interface}]",
    "net.if.out[{interface}]", "vfs.dev.read[,ops]", "agent.ping",
)  # fmt: skip
AIM = {"pss": 1.5, "cpu": 0.5}
"""Our agent against zabbix-agent2: at most these ratios."""
SHARED_BY_ALL = ("/libc.so", "/libm.so", "/libpthread.so", "/libdl.so", "/ld-linux")


@dataclass
class Tree:
    """A process and all below it."""

    name: str
    process: subprocess.Popen[Any]
    pss: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    cpu_before: float = 0.0
    cpu_seconds: float = 0.0

    def pids(self) -> list[int]:
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    queue += [int(child) for child in (task / "children").read_text().split()]
        return found

    def cpu(self) -> float:
        """CPU seconds so far: user and system time of what lives, and of the children that have ended."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += sum(int(one) for one in fields[11:15])
        return total / TICKS

    def read_memory(self) -> None:
        pss = alone = rss = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                one = memory_of(pid)
                pss, alone, rss = pss + one[0], alone + one[1], rss + one[2]
        self.pss.append(pss / 1024)
        self.alone.append(alone / 1024)
        self.rss.append(rss / 1024)


def memory_of(pid: int) -> tuple[int, int, int]:
    """PSS, PSS with files counted in full, and RSS, in KiB."""
    pss = alone = rss = 0
    in_full = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first, _, rest = line.partition(" ")
        if "-" in first and not first.endswith(":"):
            path = rest.rpartition(" ")[2]
            in_full = path.startswith("/") and not any(name in path for name in SHARED_BY_ALL)
        elif first == "Rss:":
            size = int(rest.split()[0])
            rss += size
            alone += size if in_full else 0
        elif first == "Pss:":
            size = int(rest.split()[0])
            pss += size
            alone += 0 if in_full else size
    return pss, alone, rss


# --- the three ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def server(folder: Path) -> Iterator[dict[str, str]]:
    """An installation with intake and worker, and this machine enrolled and approved. Yields the environment."""
    environment = {
        **os.environ,
        "FORESTALL_HOME": str(folder / "home"),
        "FORESTALL_INTAKE": f"127.0.0.1:{free_port()}",
        "FORESTALL_CONSOLE": f"127.0.0.1:{free_port()}",
        "DJANGO_SETTINGS_MODULE": "forestall.server.settings",
    }

    def installation(step: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "forestall.server.installation", step],
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def part(name: str) -> subprocess.Popen[bytes]:
        log = (folder / f"{name}.log").open("wb")
        return subprocess.Popen(
            [sys.executable, "-m", f"forestall.server.{name}"], env=environment, stdout=log, stderr=log
        )

    installation("prepare")
    parts = [part("intake"), part("worker")]
    try:
        host, _, port = environment["FORESTALL_INTAKE"].rpartition(":")
        wait_for_port(host, int(port))
        installation("enrol")
        yield environment
    finally:
        for process in parts:
            process.send_signal(signal.SIGTERM)
        for process in parts:
            process.wait(20)


def our_agent(folder: Path, environment: dict[str, str]) -> Tree:
    log = (folder / "agent.log").open("wb")
    environment = {**environment, "PYTHONUNBUFFERED": "1"}
    # As a person starts it; it replaces itself by the agent alone.
    command = [sys.executable, "-m", "forestall.cli.main", "agent", "run"]
    return Tree("forestall agent", subprocess.Popen(command, env=environment, stdout=log, stderr=log))


def zabbix_agent(folder: Path) -> tuple[Tree, Callable[[], None]] | None:
    program = shutil.which("zabbix_agent2") or "/usr/sbin/zabbix_agent2"
    if not Path(program).exists():
        return None
    port = free_low_port()
    config = folder / "zabbix.conf"
    config.write_text(
        f"PidFile={folder}/zabbix.pid\nLogType=console\nServer=127.0.0.1\nListenIP=127.0.0.1\nListenPort={port}\n"
        f"Hostname=bench\nControlSocket={folder}/zabbix.sock\nPluginSocket={folder}/zabbix-plugin.sock\n"
    )
    log = (folder / "zabbix.log").open("wb")
    process = subprocess.Popen([program, "-f", "-c", str(config)], stdout=log, stderr=log)
    wait_for_port("127.0.0.1", port)
    keys = [key.format(interface=interface()) for key in ZABBIX_KEYS]

    def ask() -> None:
        for key in keys:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(b"ZBXD\x01" + struct.pack("<Q", len(key)) + key.encode())
                answer = b""
                while part := connection.recv(65536):
                    answer += part
            if not answer.startswith(b"ZBXD") or b"ZBX_NOTSUPPORTED" in answer:
                raise SystemExit(f"zabbix-agent2 does not know {key}: {answer!r}")

    return Tree("zabbix-agent2", process), ask


def node_exporter(folder: Path) -> tuple[Tree, Callable[[], None]] | None:
    program = shutil.which("prometheus-node-exporter")
    if program is None:
        return None
    port = free_port()
    log = (folder / "node-exporter.log").open("wb")
    process = subprocess.Popen([program, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    wait_for_port("127.0.0.1", port)

    def scrape() -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            if b"node_cpu_seconds_total" not in answer.read():
                raise SystemExit("the node exporter answers without samples")

    return Tree("prometheus-node-exporter", process), scrape


# --- the run --------------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.agent", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=300, help="length of the measurement (default 300)")
    parser.add_argument("--warm", type=float, default=60, help="seconds before it (default 60)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="forestall-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        environment = stack.enter_context(server(folder))
        trees = [our_agent(folder, environment)]
        stop = threading.Event()
        for made, every in (
            (zabbix_agent(folder), ZABBIX_EVERY_SECONDS),
            (node_exporter(folder), SCRAPE_EVERY_SECONDS),
        ):
            if made is not None:
                trees.append(made[0])
                threading.Thread(target=keep_asking, args=(made[1], every, stop), daemon=True).start()
        missing = {"zabbix-agent2", "prometheus-node-exporter"} - {tree.name for tree in trees}
        try:
            print(f"{options.warm:g} s to warm up, then {options.seconds:g} s", flush=True)
            time.sleep(options.warm)
            before, collected_before = check_ins(environment)
            measure(trees, options.seconds)
            after, collected_after = check_ins(environment)
        finally:
            stop.set()
            for tree in trees:
                tree.process.send_signal(signal.SIGTERM)
            for tree in trees:
                tree.process.wait(20)
        print_log(folder)
    said = after - before
    collected = {
        name: times - collected_before.get(name, 0)
        for name, times in collected_after.items()
        if times > collected_before.get(name, 0)
    }
    if said < options.seconds // 60:
        print(f"the agent checked in only {said} times in {options.seconds:g} s", file=sys.stderr)
        return 1
    return report(trees, seconds=options.seconds, said=said, collected=collected, missing=missing)


def measure(trees: list[Tree], seconds: float) -> None:
    for tree in trees:
        tree.cpu_before = tree.cpu()
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        for tree in trees:
            tree.read_memory()
        time.sleep(min(READ_EVERY_SECONDS, left))
    for tree in trees:
        if tree.process.poll() is not None:
            raise SystemExit(f"{tree.name} ended with {tree.process.returncode}")
        tree.cpu_seconds = tree.cpu() - tree.cpu_before


def report(trees: list[Tree], *, seconds: float, said: int, collected: dict[str, int], missing: set[str]) -> int:
    ours = trees[0]
    results: dict[str, Any] = {
        "seconds": seconds,
        "check_ins": said,
        "collected": collected,
        "processes": {},
        "ratios": {},
    }
    print(f"\n{'':<26}{'CPU s/min':>10}{'PSS MiB':>9}{'PSS alone':>11}{'most':>7}{'RSS MiB':>9}")
    for tree in trees:
        row = {
            "cpu_seconds_per_minute": round(tree.cpu_seconds / seconds * 60, 4),
            "pss_mib": round(fmean(tree.pss), 1),
            "pss_alone_mib": round(fmean(tree.alone), 1),
            "pss_alone_most_mib": round(max(tree.alone), 1),
            "rss_mib": round(fmean(tree.rss), 1),
        }
        results["processes"][tree.name] = row
        print(
            f"{tree.name:<26}{row['cpu_seconds_per_minute']:>10.4f}{row['pss_mib']:>9.1f}{row['pss_alone_mib']:>11.1f}"
            f"{row['pss_alone_most_mib']:>7.1f}{row['rss_mib']:>9.1f}"
        )
    busy = ", ".join(f"{name} {times}×" for name, times in collected.items())
    print(f"\n{said} check-ins in {seconds:g} s; facts collected meanwhile: {busy or 'none, for nothing changed'}")
    print("ours against:")
    for tree in trees[1:]:
        ratio = {
            "pss": round(fmean(ours.alone) / fmean(tree.alone), 2),
            "cpu": round(ours.cpu_seconds / tree.cpu_seconds, 2) if tree.cpu_seconds else None,
        }
        results["ratios"][tree.name] = ratio
        aim = f"   (aim: {AIM['pss']} and {AIM['cpu']})" if tree.name == "zabbix-agent2" else ""
        print(f"  {tree.name:<26}PSS alone {ratio['pss']}×, CPU {ratio['cpu']}×{aim}")
    for name in sorted(missing):
        print(f"  {name} is not installed: apt-get install {name}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "agent.json").write_text(json.dumps(results, indent=2) + "\n")
    return 0


def check_ins(environment: dict[str, str]) -> tuple[int, dict[str, int]]:
    """Check-ins acknowledged so far, and how often each document was collected, as the agent knows."""
    path = Path(environment["FORESTALL_HOME"]) / "agent" / "spool.sqlite3"
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as spool:
        row = spool.execute("SELECT value FROM meta WHERE key = 'last_sequence'").fetchone()
        waiting = spool.execute("SELECT count(*) FROM check_ins WHERE sequence IS NOT NULL").fetchone()[0]
        status = spool.execute("SELECT value FROM meta WHERE key = 'status'").fetchone()
    return (int(row[0]) - waiting if row else 0), json.loads(status[0])["collected"] if status else {}


def keep_asking(ask: Callable[[], None], every: float, stop: threading.Event) -> None:
    while not stop.is_set():
        ask()
        stop.wait(every)


def print_log(folder: Path) -> None:
    complaints = [
        line for line in (folder / "agent.log").read_text().splitlines() if "failed" in line or "broke" in line
    ]
    if complaints:
        print("the agent's log:", *complaints[:10], sep="\n  ")


def interface() -> str:
    """The first network interface that is not the loopback."""
    names = [line.partition(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]]
    return next((name for name in names if name != "lo"), "lo")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def free_low_port() -> int:
    """Zabbix's agent takes ports up to 32767 only."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


def wait_for_port(host: str, port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise SystemExit(f"nothing answers on {host}:{port}") from None
            time.sleep(0.05)
        else:
            return


if __name__ == "__main__":
    sys.exit(main())
