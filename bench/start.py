"""From a clean clone to a ready console: seconds, split into install and start.

Clones this checkout's HEAD into a temporary folder, runs ``make setup`` there (install), then ``forestall up`` until
``first-run.json`` stands (first start), stops, and starts once more (next start). Install depends on the network and
on what pip has cached; start does not.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def until_ready(clone: Path, environment: dict[str, str]) -> float:
    first_run = Path(environment["FORESTALL_HOME"]) / "first-run.json"
    began = time.monotonic()
    process = subprocess.Popen(
        [clone / ".venv/bin/forestall", "up"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        time.sleep(0.5)  # it hides the file of the start before, first of all
        while not first_run.exists():
            if process.poll() is not None:
                raise SystemExit(f"forestall up ended:\n{process.stdout.read().decode() if process.stdout else ''}")
            time.sleep(0.05)
        return time.monotonic() - began
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="forestall-bench-") as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "-q", str(PROJECT), str(clone)], check=True)
        began = time.monotonic()
        subprocess.run(["make", "setup"], cwd=clone, check=True)
        install = time.monotonic() - began
        environment = {
            **os.environ,
            "FORESTALL_HOME": str(Path(folder) / "home"),
            "FORESTALL_CONSOLE": f"127.0.0.1:{free_port()}",
            "FORESTALL_INTAKE": f"127.0.0.1:{free_port()}",
        }
        first = until_ready(clone, environment)
        again = until_ready(clone, environment)
    results = {
        "install_seconds": round(install, 1),
        "first_start_seconds": round(first, 1),
        "next_start_seconds": round(again, 1),
    }
    print(f"make setup from a clean clone   {install:6.1f} s")
    print(f"first start to ready console    {first:6.1f} s   (keys, database, enrolment, baseline of this machine)")
    print(f"next start to ready console     {again:6.1f} s")
    (PROJECT / "bench/results").mkdir(exist_ok=True)
    (PROJECT / "bench/results/start.json").write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
