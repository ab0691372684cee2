"""What the agent costs a device in a day while every collector is on: CPU seconds and memory.

Two parts, added. *Collecting*: each collector runs as the agent runs it, in a forked child, some times over; the
median of its CPU seconds, the programs it starts included, times how often its cadence lets it run in a day. *Being
there*: the real agent against a real intake for some minutes, its samples, check-ins and looks at triggers; what it
collects meanwhile counts there too, so that the sum is rather too high. What changes on a device (packages, accounts,
services) makes a collector run once more; that is not in it.

``python -m bench.agent_day [--times N] [--seconds N] [--warm N]``
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median

from bench.agent import RESULTS, measure, our_agent, print_log, server
from forestall.agent.collect.host import LocalHost
from forestall.agent.collect.registry import COLLECTORS, Collector

DAY = 86_400


@dataclass(frozen=True)
class Cost:
    """Of one collector."""

    name: str
    runs_a_day: float
    cpu_seconds: float
    """Of one run."""
    wall_seconds: float
    peak_mib: float
    """Resident memory of the child or of a program it started, whichever was more."""

    @property
    def cpu_seconds_a_day(self) -> float:
        return self.cpu_seconds * self.runs_a_day


def cost_of(collector: Collector, times: int) -> Cost:
    runs = [run_once(collector) for _ in range(times)]
    return Cost(
        name=collector.name,
        runs_a_day=DAY / collector.every_seconds,
        cpu_seconds=median(run[0] for run in runs),
        wall_seconds=median(run[1] for run in runs),
        peak_mib=max(run[2] for run in runs),
    )


def run_once(collector: Collector) -> tuple[float, float, float]:
    """CPU seconds, seconds and peak MiB of one run in a child."""
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        try:
            collector.collect(LocalHost())
        except BaseException as error:  # noqa: BLE001 - the child must not come back into the bench
            print(f"{collector.name} broke: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    _, status, used = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"collector {collector.name} broke")
    return used.ru_utime + used.ru_stime, time.monotonic() - began, used.ru_maxrss / 1024


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.agent_day", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--times", type=int, default=3, help="runs of each collector (default 3)")
    parser.add_argument("--seconds", type=float, default=600, help="how long the agent is watched (default 600)")
    parser.add_argument("--warm", type=float, default=90, help="seconds before that (default 90)")
    options = parser.parse_args(arguments)
    costs = [cost_of(collector, options.times) for collector in COLLECTORS]
    with tempfile.TemporaryDirectory(prefix="forestall-bench-") as name:
        folder = Path(name)
        with server(folder) as environment:
            agent = our_agent(folder, environment)
            try:
                print(f"{options.warm:g} s to warm up, then {options.seconds:g} s", flush=True)
                time.sleep(options.warm)
                measure([agent], options.seconds)
            finally:
                agent.process.send_signal(signal.SIGTERM)
                agent.process.wait(20)
        print_log(folder)
    being_there = agent.cpu_seconds / options.seconds * DAY
    print(f"\n{'document':<16}{'a day':>7}{'CPU s once':>12}{'CPU s a day':>13}{'peak MiB':>10}")
    for one in sorted(costs, key=lambda one: -one.cpu_seconds_a_day):
        print(
            f"{one.name:<16}{one.runs_a_day:>7.0f}{one.cpu_seconds:>12.3f}{one.cpu_seconds_a_day:>13.1f}"
            f"{one.peak_mib:>10.1f}"
        )
    collecting = sum(one.cpu_seconds_a_day for one in costs)
    total = collecting + being_there
    print(f"\ncollecting {collecting:.0f} CPU s a day, being there {being_there:.0f}: {total:.0f} in all")
    print(f"that is {total / DAY:.2%} of one core")
    print(f"memory between collections {fmean(agent.alone):.1f} MiB (PSS alone), most {max(agent.alone):.1f} MiB")
    RESULTS.mkdir(exist_ok=True)
    result = {
        "collectors": [{**asdict(one), "cpu_seconds_a_day": one.cpu_seconds_a_day} for one in costs],
        "collecting_cpu_seconds_a_day": collecting,
        "being_there_cpu_seconds_a_day": being_there,
        "pss_alone_mib": fmean(agent.alone),
        "pss_alone_most_mib": max(agent.alone),
    }
    (RESULTS / "agent_day.json").write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
