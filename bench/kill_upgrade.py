"""Kill things in the middle of upgrades of a real Debian, and see whether what the agent says afterwards is true.

    python -m bench.kill_upgrade [--runs 100] [--seed 20261124]

Each run takes a fresh copy of a Debian (debootstrap, from this machine's own mirror), upgrades it from its security
pocket as a job would, in the agent's own child process, and at a random moment kills that child, or the package
manager with all it started, or the network (open connections end, and new ones go to an
address at which nobody listens). Then it asks:

- are ``software`` and ``updates`` what dpkg itself says, package by package, and does an unfinished package show?
- does ``repair-packages`` end well, with nothing unfinished; or does its failure name what a person must do?
- after that, does ``install-updates`` bring the machine to where an undisturbed upgrade would have brought it?

Needs root, debootstrap and the mirror. One run takes some seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from forestall.agent.act.actions import ACTIONS
from forestall.agent.act.context import ActionFailed
from forestall.agent.apart import Apart
from forestall.agent.collect import software, updates
from forestall.agent.tests.chroot import Debian, base_system, debian, why_not

TARGETS = ("agent", "manager", "network")
_SLOW = "ca-certificates perl-base tzdata"
"""Their hooks and many small files take four fifths of an upgrade's time: without them the moments lie closer."""
_UPDATES = {"manager": "apt", "choose": "security", "packages": "", "exclude": _SLOW}


@dataclass(frozen=True)
class Outcome:
    run: int
    target: str
    at: float
    """Seconds from the start to the kill while fetching, else steps that dpkg had noted."""
    fetching: bool
    moment: str
    """What was going on then: ``download``, ``unpack``, ``configure``, ``done``."""
    unfinished: int
    """Packages that were unfinished then."""
    upgraded: int
    """Packages that had their new version by then."""
    truth: bool
    repaired: str
    """``not needed``, ``repaired``, or the words with which it failed."""
    ended: bool
    """Whether an upgrade afterwards brought the machine to its end."""
    wrong: str = ""


def campaign(folder: Path, *, runs: int, seed: int, tell=lambda _outcome: None) -> list[Outcome]:  # type: ignore[no-untyped-def]
    """``runs`` runs below ``folder``; each target in turn, moments drawn by ``seed``."""
    chance = random.Random(seed)
    outcomes = []
    # What the lists brought lies between the Debian that is kept and the copies.
    lower = f"{folder}/base/upper:{base_system()}"
    with debian(folder / "base") as base:
        base.offer_security()
        ACTIONS["updates.download"].run(_UPDATES, base.host, base.context())
        before = base.installed()
        expected, steps = _undisturbed(folder / "whole", lower)
        for number in range(runs):
            target = TARGETS[number % len(TARGETS)]
            # A third while lists and packages are fetched, by the clock; the rest while packages are changed, by the
            # steps that dpkg has noted: so the moments are spread over the upgrade however slow the machine is.
            fetching = number % 3 == 2 or number % 12 == 0
            at = chance.uniform(0.05, 6.0) if fetching else float(chance.randrange(steps))
            with debian(folder / f"run-{number}", lower=lower) as machine:
                outcome = _one(
                    machine, number, target, at, before, expected, fetching=fetching, lag=chance.random() / 5
                )
            outcomes.append(outcome)
            tell(outcome)
    return outcomes


def _undisturbed(folder: Path, lower: str) -> tuple[dict[str, tuple[str, str]], int]:
    """What an upgrade leads to, and how many steps dpkg notes on the way."""
    with debian(folder, lower=lower) as machine:
        began = _steps(machine)
        _upgrade(machine, download=False)
        return machine.installed(), _steps(machine) - began


def _steps(machine: Debian) -> int:
    with contextlib.suppress(FileNotFoundError):
        return (machine.root / "var/log/dpkg.log").read_bytes().count(b"\n")
    return 0


def _upgrade(machine: Debian, *, download: bool) -> None:
    for name in ("updates.download", "updates.install") if download else ("updates.install",):
        ACTIONS[name].run(_UPDATES, machine.host, machine.context())


def _one(
    machine: Debian,
    number: int,
    target: str,
    at: float,
    before: dict[str, tuple[str, str]],
    expected: dict[str, tuple[str, str]],
    *,
    fetching: bool,
    lag: float,
) -> Outcome:
    if fetching:
        for archive in (machine.root / "var/cache/apt/archives").glob("*.deb"):
            archive.unlink()
    steps = _steps(machine)
    child = Apart(lambda _tell: _upgrade(machine, download=fetching))
    began = time.monotonic()
    while not _has_ended(child):
        done = time.monotonic() - began if fetching else _steps(machine) - steps
        if done > at:
            break
        time.sleep(0.002)
    if not fetching:
        time.sleep(lag)
    moment = _moment(machine)
    if target == "agent":
        os.kill(child.pid, signal.SIGKILL)
        # The package manager goes on by itself, and the truth is told once it has ended.
    elif target == "manager":
        for pid in _workers(machine):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    else:
        _cut(machine)
    while not child.advance():
        pass
    _wait_for_workers(machine)
    now = machine.installed()
    wrong = _lies(machine)
    _mend(machine)
    unfinished = [name for name, (state, _) in now.items() if state != "ii"]
    repaired = _repair(machine)
    ended = ""
    try:
        _upgrade(machine, download=fetching)
    except ActionFailed as failed:
        ended = str(failed)
    return Outcome(
        run=number,
        target=target,
        at=round(at, 2),
        fetching=fetching,
        moment=moment,
        unfinished=len(unfinished),
        upgraded=sum(1 for name, (_, version) in now.items() if before.get(name, ("", ""))[1] != version),
        truth=not wrong,
        repaired=repaired,
        ended=machine.installed() == expected,
        wrong=wrong or ended,
    )


def _lies(machine: Debian) -> str:
    """Where the documents and dpkg disagree; empty when they do not."""
    said = {each.name: each.version for each in software.collect(machine.host).packages}
    real = machine.installed()
    if said != {name: version for name, (_, version) in real.items()}:
        return f"software: {sorted(set(said.items()) ^ {(name, row[1]) for name, row in real.items()})[:5]}"
    document = updates.collect(machine.host)
    provider = next(each for each in document.providers if each.name == "apt")
    if provider.unknown_why:
        return f"updates: {provider.unknown_why}"
    told = {each.partition(":")[0] for each in provider.unfinished} - {"dpkg"}
    half = {name for name, (state, _) in real.items() if state != "ii"}
    if told != half:
        return f"unfinished: {sorted(told)} told, {sorted(half)} are"
    audit = machine.run("dpkg", "--audit", check=False)
    if bool(audit.strip()) and not provider.unfinished:
        return f"dpkg --audit complains, nothing is told: {audit[:200]}"
    simulated = machine.run("apt-get", "--simulate", "dist-upgrade", check=False)
    upgrades = {line.split()[1] for line in simulated.splitlines() if line.startswith("Inst ")}
    pending = {each.name for each in document.pending if not each.manager}
    # What is unpacked in its new version is no pending update any more: it is unfinished, which is told.
    if not half and upgrades != pending:
        return f"pending: {sorted(pending ^ upgrades)[:5]}"
    return ""


def _repair(machine: Debian) -> str:
    provider = next(each for each in updates.collect(machine.host).providers if each.name == "apt")
    if not provider.unfinished:
        return "not needed"
    try:
        ACTIONS["updates.repair"].run({"manager": "apt"}, machine.host, machine.context())
    except ActionFailed as failed:
        return str(failed)
    return "repaired"


def _has_ended(child: Apart) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return ") Z " in Path(f"/proc/{child.pid}/stat").read_text()
    return True


def _workers(machine: Debian) -> list[int]:
    """Processes that run in the copy's root."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(path / "root") == str(machine.root):  # noqa: PTH115
                found.append(int(path.name))
        except OSError:
            continue
    return found


def _wait_for_workers(machine: Debian) -> None:
    deadline = time.monotonic() + 120
    while _workers(machine) and time.monotonic() < deadline:
        time.sleep(0.05)


def _moment(machine: Debian) -> str:
    """What the package manager is doing, by its own log."""
    workers = []
    for pid in _workers(machine):
        with contextlib.suppress(OSError):
            workers.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
    for word, moment in (("--configure", "configure"), ("--unpack", "unpack"), ("methods/http", "download")):
        if any(word in each for each in workers):
            return moment
    return "between" if workers else "idle"


def _cut(machine: Debian) -> None:
    """From now on no connection of the copy's downloads succeeds: those that are open end, new ones find nobody."""
    (machine.root / "etc/apt/apt.conf.d/99-cut").write_text('Acquire::http::Proxy "http://127.0.0.1:9/";\n')
    for pid in _workers(machine):
        with contextlib.suppress(OSError):
            if "methods/http" in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)


def _mend(machine: Debian) -> None:
    (machine.root / "etc/apt/apt.conf.d/99-cut").unlink(missing_ok=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--json", type=Path, help="write every run here")
    options = parser.parse_args()
    if reason := why_not():
        sys.stderr.write(f"cannot run here: {reason}\n")
        return 1

    def tell(outcome: Outcome) -> None:
        good = "true" if outcome.truth and outcome.ended else f"WRONG {outcome.wrong}"
        print(
            f"{outcome.run:4d} {outcome.target:8s} {outcome.at:6.2f} {outcome.moment:10s} "
            f"{outcome.upgraded:3d} upgraded {outcome.unfinished:3d} unfinished  {outcome.repaired[:60]:12s} {good}",
            flush=True,
        )

    with tempfile.TemporaryDirectory(prefix="kill-upgrade-", dir="/var/tmp") as made:
        outcomes = campaign(Path(made), runs=options.runs, seed=options.seed, tell=tell)
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in outcomes], indent=1))
    print(f"\n{len(outcomes)} runs, seed {options.seed}")
    print(f"the state told was the true one: {sum(each.truth for each in outcomes)}")
    print(f"ended by a later upgrade:        {sum(each.ended for each in outcomes)}")
    for name, counted in (("killed", "target"), ("moment", "moment"), ("repair", "repaired")):
        print(f"{name}: {dict(Counter(str(getattr(each, counted))[:40] for each in outcomes))}")
    return 0 if all(each.truth and each.ended for each in outcomes) else 1


if __name__ == "__main__":
    raise SystemExit(main())
