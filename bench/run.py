"""``make bench``: every benchmark, one after the other, on this machine in this run.

Each prints its own table and writes ``bench/results/NAME.json``. Quote ratios and CPU seconds, not rates: they
travel between machines, rates do not. ``python -m bench.run NAME…`` runs some of them.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
BENCHMARKS = ("intake", "console", "agent", "agent_day", "vulns", "start")


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark is called {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    RESULTS.mkdir(exist_ok=True)
    machine = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
    (RESULTS / "machine.json").write_text(json.dumps(machine, indent=2) + "\n")
    print(f"{machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}, {machine['at']}\n")
    failed = []
    for name in names or BENCHMARKS:
        print(f"== {name} " + "=" * (70 - len(name)), flush=True)
        if subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode != 0:
            failed.append(name)
        print(flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
