"""Rollouts of bad and good updates to 10,000 simulated devices: do they halt, how soon, and do good ones go through?

``python -m bench.rollout`` runs 500 fault models and 500 good updates and prints the figures. The rules under test are
the product's own (``forestall.server.patching.rings``); simulated are the devices, the line and the clock.

The noise (all of it goes on while bad updates are rolled out, too), per device unless it says otherwise:

- carried about (three in four): on 6 to 12 hours a day, 4 of 5 of them not at weekends, 3 % of days not at all; 3 % are
  closed during the run
- always on (one in four): off alone for 1 to 8 hours once in 20 years, for under 50 min once in 50 days
- a whole site is cut off for 1 to 6 hours once a year; the server itself is down for 45 min once a rollout
- 2 % are refused by a pre-check; 2 of 100,000 runs fail by themselves after they began to change something
- watched checks that passed for a week fail by themselves once in 10 years, for 2 hours on average; and for 1 to 25 min
  once in 50 days (those that come and go more often are told by their own history, and never counted)
- answers arrive up to 10 min late, in any order, 5 % of them twice; devices' clocks are wrong (nothing reads them)
- 1 device in 200 is removed while the rollout runs
"""

from __future__ import annotations

import heapq
import math
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache

from forestall.server.patching.rings import (
    DAY,
    HOUR,
    LEAST,
    MINUTE,
    Candidate,
    Finish,
    Halt,
    Observation,
    Promote,
    Tally,
    Terms,
    Verdict,
    assign,
    caps,
    judge_device,
    may_touch,
    next_step,
    places_free,
    too_many,
)

DEVICES = 10_000
MODELS = 500
TICK = 10 * MINUTE
LONGEST = 45 * DAY

FAULTS = ("install", "unverified", "boot", "no reboot", "service", "delayed", "slow", "dark")
REACH = ("all", "model", "site", "system", "role")


@dataclass(frozen=True, slots=True)
class Fault:
    """A bad update: what it does, to whom, and when."""

    kind: str
    reach: str
    group: str
    """The group it hits: ``model:…``; empty: every one."""
    share: float
    """Of the devices it reaches, how many it hits."""
    delay: float
    """Seconds from being installed until it shows."""

    @property
    def is_silent(self) -> bool:
        return self.kind in ("boot", "dark")


@dataclass(slots=True)
class Machine:
    """A simulated device."""

    steady: bool
    groups: tuple[str, ...]
    site: int
    on_from: float
    """Second of the day at which it is switched on, if it is carried about."""
    on_for: float
    weekends: bool


@dataclass(slots=True)
class Outcome:
    """How one rollout went."""

    fault: Fault | None
    halted: bool
    ring: int
    touched: int
    cap: int
    """Of the ring that was under way at the end."""
    harmed: int
    hours: float
    why: str
    over_cap: int
    """Devices touched beyond the cap of the ring under way: has to be 0."""
    missed: int
    """Rings promoted although the fault could be seen in them: has to be 0."""


@cache
def fleet(devices: int, seed: int) -> tuple[list[Machine], tuple[str, ...]]:
    """Devices of one provider: 40 sites, 6 systems, 24 models of unequal size; and the names of all groups."""
    chance = random.Random(f"fleet {seed}")
    sites, systems = (
        max(2, min(40, devices // 20)),
        ("debian-12", "ubuntu-24.04", "rhel-9", "win-11", "suse-15", "deb-11"),
    )
    found = []
    for _ in range(devices):
        steady = chance.random() < 0.25
        kind = "rack" if steady else "book"
        site = min(sites - 1, int(chance.paretovariate(1.0) - 1) if chance.random() < 0.5 else chance.randrange(sites))
        model = f"model:{kind}-{min(11, int(chance.expovariate(0.35)))}"
        system = f"system:{chance.choices(systems, (40, 25, 10, 15, 6, 4))[0]}"
        groups = (f"site:{site}", f"role:{'server' if steady else 'endpoint'}", system, model)
        found.append(
            Machine(
                steady, groups, site, chance.uniform(6, 10) * HOUR, chance.uniform(6, 12) * HOUR, chance.random() < 0.2
            )
        )
    return found, tuple(sorted({group for machine in found for group in machine.groups}))


def fault_models(count: int, seed: int, devices: int = DEVICES) -> list[Fault]:
    """``count`` bad updates, each kind and reach in turn."""
    machines, names = fleet(devices, seed)
    sizes = Counter(group for machine in machines for group in machine.groups)
    found = []
    for index in range(count):
        chance = random.Random(f"fault {seed} {index}")
        kind, reach = FAULTS[index % len(FAULTS)], REACH[index // len(FAULTS) % len(REACH)]
        group = ""
        if reach != "all":
            # A fault of so few devices that its end is the end of the rollout shows nothing about rings.
            choice = [name for name in names if name.startswith(f"{reach}:") and sizes[name] >= devices * 0.01]
            group = chance.choice(choice)
        share = chance.choice((1.0, 1.0, 0.6, 0.3))
        delay = {"delayed": chance.uniform(0.5, 36) * HOUR, "dark": chance.uniform(0, 12) * HOUR}.get(kind, 0.0)
        found.append(Fault(kind, reach, group, share, delay))
    return found


class Rollout:
    """One update on its way through the fleet."""

    def __init__(
        self, *, fault: Fault | None, seed: str, devices: int = DEVICES, terms: Terms | None = None, noise: float = 1.0
    ) -> None:
        self.terms, self.fault, self.noise = terms or Terms(), fault, noise
        self.machines, self.names = fleet(devices, 1)
        self.chance = random.Random(seed)
        self.now = self.chance.randrange(5) * DAY + 9 * HOUR
        self.done_at = math.inf
        candidates = [
            Candidate(id=str(index), groups=one.groups, steady=one.steady, here=self._online(one, self.now))
            for index, one in enumerate(self.machines)
        ]
        placed = assign(candidates, self.terms, seed)
        self.rings = caps(devices, self.terms)
        self.ring_of = [placed[str(index)] for index in range(devices)]
        self.members: dict[int, list[int]] = {}
        for index, ring in enumerate(self.ring_of):
            self.members.setdefault(ring, []).append(index)
        self.seen = [Observation(steady=one.steady) for one in self.machines]
        self.state = ["waiting"] * devices
        self.hit = [False] * devices
        self.in_at: list[float | None] = [None] * devices
        self.shows_at: list[float] = [math.inf] * devices
        self.dark_from: list[float] = [math.inf] * devices
        self.tallies = {ring: Tally(members=len(own), waiting=len(own)) for ring, own in self.members.items()}
        self.groups = {name: Tally() for name in self.names}
        for one in self.machines:
            for name in one.groups:
                tally = self.groups[name]
                tally.members += 1
                tally.waiting += 1
        self.events: list[tuple[float, int, int, str]] = []
        self.sent = 0
        self.ring, self.running, self.touched, self.over_cap, self.missed = 0, True, 0, 0, 0
        self.touched_sum = 0.0
        site_count = 1 + max(one.site for one in self.machines)
        self.cuts = [self._cuts(site) for site in range(site_count)]
        start = self.chance.uniform(0, 3 * DAY)
        self.server_down = (start, start + 45 * MINUTE)
        self.alone = {}
        for index, one in enumerate(self.machines):
            if one.steady and self.chance.random() < noise * LONGEST / (20 * 365 * DAY):
                start = self.chance.uniform(0, LONGEST)
                self.alone[index] = (start, start + self.chance.uniform(1, 8) * HOUR)
        self.worse: dict[int, tuple[float, float]] = {}

    # --- the world ---

    def _cuts(self, site: int) -> list[tuple[float, float]]:
        found = []
        if self.chance.random() < LONGEST / (365 * DAY):
            start = self.chance.uniform(0, LONGEST)
            found.append((start, start + self.chance.uniform(1, 6) * HOUR))
        return found

    def _online(self, machine: Machine, at: float) -> bool:
        if machine.steady:
            return True
        weekend = int(at // DAY) % 7 in (5, 6)
        return (not weekend or machine.weekends) and 0 <= at % DAY - machine.on_from < machine.on_for

    def _when_online(self, index: int, at: float) -> float:
        """When it next talks to the server, from ``at`` on."""
        machine = self.machines[index]
        if not machine.steady and self.chance.random() < 0.03:
            at += DAY
        while not self._online(machine, at):
            into = at % DAY
            at += machine.on_from - into + (1 if into < machine.on_from else DAY + 1)
        for start, end in (*self.cuts[machine.site], self.server_down, self.alone.get(index, (0.0, 0.0))):
            if start <= at < end:
                at = end + self.chance.uniform(0, 2) * MINUTE
        return at

    def _heard(self, index: int, at: float) -> float:
        """When the server heard of it last, as of ``at``."""
        machine = self.machines[index]
        last = min(at, self.dark_from[index])
        while not self._online(machine, last):
            into, end = last % DAY, machine.on_from + machine.on_for
            last += end - 1 - into if into >= end else end - 1 - into - DAY
        for start, end in (*self.cuts[machine.site], self.server_down, self.alone.get(index, (0.0, 0.0))):
            if start < last < end:
                last = start
        return last

    def _line_is_down(self, index: int, at: float) -> bool:
        down = (*self.cuts[self.machines[index].site], self.server_down)
        return any(start <= at < end + MINUTE for start, end in down)

    # --- the rollout ---

    def later(self, at: float, index: int, what: str) -> None:
        self.sent += 1
        heapq.heappush(self.events, (at, self.sent, index, what))

    def open_ring(self, number: int) -> None:
        self.ring = number
        for index in self.members[number]:
            # Workers make its run in its own window, within the next hours; the carried-about take it when on.
            self.later(self.now + self.chance.uniform(0, 4) * HOUR, index, "claim")

    def refill(self) -> None:
        """Devices of the next ring move up into places that are free."""
        for _ in range(places_free(self.rings, self.ring, self.tallies, self.terms)):
            for ring in range(self.ring + 1, len(self.rings) + 1):
                waiting = [index for index in self.members[ring] if self.state[index] == "waiting"]
                if waiting:
                    index = min(waiting, key=lambda one: not self.machines[one].steady)
                    self.members[ring].remove(index)
                    self.members[self.ring].append(index)
                    self.ring_of[index] = self.ring
                    for tally, step in ((self.tallies[ring], -1), (self.tallies[self.ring], 1)):
                        tally.members += step
                        tally.waiting += step
                    self.later(self.now + self.chance.uniform(0, 1) * HOUR, index, "claim")
                    break

    def claim(self, index: int) -> None:
        """A worker would touch a device: the gate decides by what is true now, whatever the worker believes."""
        if self.seen[index].touched_at is not None or self.state[index] == "left out":
            return
        if not may_touch(member_ring=self.ring_of[index], open_ring=self.ring, running=self.running):
            return
        machine, at = self.machines[index], self.now
        self.seen[index].touched_at = at
        self.touched += 1
        # A run that a pre-check refused changed nothing: its device counts as touched until it says so.
        self.over_cap = max(self.over_cap, self.touched - self.rings[self.ring - 1].most)
        self.touched_sum += at
        for tally in (self.tallies[self.ring_of[index]], *(self.groups[name] for name in machine.groups)):
            tally.touch(at=at, steady=machine.steady)
        taken = self._when_online(index, at + self.chance.uniform(0, 2) * MINUTE)
        self.later(taken, index, "deliver")

    def deliver(self, index: int) -> None:
        if not self.running:
            return  # taken back before it was delivered
        seen, chance, fault, machine = self.seen[index], self.chance, self.fault, self.machines[index]
        seen.delivered_at = self.now
        took = chance.uniform(2, 25) * MINUTE
        answer = self.now + took
        if not machine.steady and chance.random() < 0.03:
            answer = self._when_online(index, self.now + 14 * HOUR)  # the lid was closed
            self.dark_from[index] = self.now
        noise = chance.random()
        if noise < 0.02:
            seen.outcome = ""
            self.later(self._late(answer), index, "blocked")
            return
        hit = fault is not None and (not fault.group or fault.group in machine.groups) and chance.random() < fault.share
        self.hit[index] = hit
        kind = fault.kind if hit and fault else ""
        if kind == "install" or noise > 1 - 0.00002 * self.noise:
            if kind == "install":
                self.shows_at[index] = answer
            self.later(self._late(answer), index, "failed")
            return
        reboot = chance.random() < 0.4 or kind in ("boot", "no reboot")
        seen.needs_reboot = reboot
        self.later(self._late(answer), index, "done")
        if chance.random() < 0.05:
            self.later(self._late(answer), index, "done")
        up = answer + (chance.uniform(3, 40) * MINUTE if reboot else 0.0)
        self.in_at[index] = up
        if kind == "boot":
            self.dark_from[index] = answer
            self.shows_at[index] = answer
            return
        if kind == "no reboot":
            self.shows_at[index] = answer
            return
        if reboot:
            self.later(self._late(up), index, "rebooted")
        if kind == "unverified":
            self.shows_at[index] = up
        else:
            # Collected right after the run, and again each hour: the scan may well be known before the answer is.
            self.later(self._when_online(index, up + chance.uniform(-2, 12) * MINUTE), index, "verified")
        delay = fault.delay if fault else 0.0
        if kind == "dark":
            self.dark_from[index] = self.shows_at[index] = up + delay
        elif kind in ("service", "delayed"):
            self.shows_at[index] = up + delay
        elif kind == "slow":
            self.shows_at[index] = up + chance.uniform(2, 48) * HOUR
        if kind in ("service", "delayed", "slow"):
            self.later(self._when_online(index, self.shows_at[index] + chance.uniform(0, 5) * MINUTE), index, "worse")
        watched = 10 * DAY
        if chance.random() < self.noise * watched / (10 * 365 * DAY):
            self.later(up + chance.uniform(0, watched), index, "worse by itself")
        if chance.random() < watched / (50 * DAY):
            at = up + chance.uniform(0, watched)
            self.later(at, index, "worse for a while")

    def _late(self, at: float) -> float:
        start, end = self.server_down
        at += self.chance.uniform(0, 10) * MINUTE
        return end + self.chance.uniform(0, 2) * MINUTE if start <= at < end else at

    def hear(self, index: int, what: str) -> None:
        """News of a device arrives."""
        seen, now = self.seen[index], self.now
        if what == "blocked" and not seen.outcome:
            self.touched -= 1
        if what == "claim":
            self.claim(index)
        elif what == "deliver":
            self.deliver(index)
        elif what in ("done", "failed", "blocked"):
            if not seen.outcome:  # the first answer counts; a second changes nothing
                seen.outcome, seen.outcome_why, seen.answered_at = what, f"simulated: {what}", now
                if self.dark_from[index] < now and not (self.hit[index] and self.fault and self.fault.is_silent):
                    self.dark_from[index] = math.inf  # the lid is open again
        elif what == "rebooted":
            seen.rebooted_at = seen.rebooted_at or now
        elif what == "verified":
            seen.verified_at = seen.verified_at or now
        elif what == "worse":
            if seen.worse_since is None:
                seen.worse_since, seen.worse_why = now, "simulated: a service does not run"
        elif what in ("worse for a while", "worse by itself"):
            if seen.worse_since is None:
                lasts = (
                    self.chance.uniform(1, 25) * MINUTE if what.endswith("while") else self.chance.expovariate(1 / 2)
                )
                seen.worse_since = now
                self.later(now + (lasts if what.endswith("while") else lasts * HOUR), index, "well again")
        elif what == "well again":
            if not self.hit[index]:
                seen.worse_since = None
        elif what == "removed":
            if self.state[index] in ("waiting", "sent"):
                seen.touched_at = seen.touched_at or None
                self.become(index, Verdict("left out", "removed"))
            return
        self.judge(index)

    def judge(self, index: int) -> None:
        seen, now = self.seen[index], self.now
        if self.state[index] in ("left out", "failed", "silent"):
            return
        if seen.delivered_at is not None:
            seen.last_heard_at = self._heard(index, now)
            seen.site_is_silent = self._line_is_down(index, now)
        ring = self.ring_of[index]
        verdict = judge_device(seen, self.terms, self.rings[ring - 1].terms.soak_minutes, now)
        self.become(index, verdict)
        again = verdict.again_at
        if verdict.state == "healthy":
            again = again if self.dark_from[index] < math.inf or index in self.alone else None
        if verdict.state == "soaking" and again is not None and again <= now:
            again = now + 5 * MINUTE
        if verdict.state == "soaking" and verdict.why.endswith("once more"):
            again = min(again or math.inf, max(self._when_online(index, now), now + 30 * MINUTE))
        if verdict.state == "away" and self.dark_from[index] == math.inf:
            again = max(self._when_online(index, now), now + 30 * MINUTE)
        if again is not None and again > now:
            # A device talks each minute; simulated is only what may change its verdict: its silence, and time.
            self.later(max(again, now + MINUTE), index, "look")

    def become(self, index: int, verdict: Verdict) -> None:
        old, new = self.state[index], verdict.state
        if old == new:
            return
        self.state[index] = new
        for tally in (self.tallies[self.ring_of[index]], *(self.groups[name] for name in self.machines[index].groups)):
            tally.move(old, new, verdict.why)

    def could_be_seen(self) -> bool:
        """Whether the ring about to be promoted held the fault in plain sight: by the truth, not by the rules."""
        if self.fault is None:
            return False
        terms, now = self.terms, self.now
        soak = self.rings[self.ring - 1].terms.soak_minutes * MINUTE
        if self.ring <= terms.strict_rings:
            for index in self.members[self.ring]:
                own = self.in_at[index] if self.in_at[index] is not None else self.shows_at[index]
                if not self.hit[index] or self.seen[index].delivered_at is None or own is None:
                    continue
                certain = self.machines[index].steady or not self.fault.is_silent
                if certain and self.shows_at[index] - own + terms.confirm_minutes * MINUTE < soak and own < now:
                    return True
        settle = max(terms.verify_minutes, terms.reboot_minutes if self.fault.kind == "no reboot" else 0) * MINUTE
        shown = Tally(touched=self.touched, touched_sum=self.touched_sum)
        for index, at in enumerate(self.shows_at):
            if (
                at + settle + 24 * HOUR < now
                and self.hit[index]
                and (self.machines[index].steady or not self.fault.is_silent)
            ):
                shown.failed += 1
        return shown.failed >= LEAST and too_many(terms, shown, now, terms.alarm)

    def run(self) -> Outcome:
        for index in range(len(self.machines)):
            if self.chance.random() < 0.005:
                self.later(self.chance.uniform(0, 5 * DAY), index, "removed")
        started = self.now
        self.open_ring(1)
        why, halted = "", False
        tick = self.now
        while self.now < LONGEST:
            while self.events and self.events[0][0] <= tick:
                at, _, index, what = heapq.heappop(self.events)
                self.now = max(self.now, at)
                self.hear(index, what)
            self.now = tick
            # A worker that was asleep since the last ring, or runs ahead, tries a device at random.
            self.claim(self.chance.randrange(len(self.machines)) if self.ring < len(self.rings) else 0)
            step = next_step(
                terms=self.terms, rings=self.rings, ring=self.ring, tallies=self.tallies, groups=self.groups, now=tick
            )
            self.refill()
            if isinstance(step, Halt):
                why, halted, self.running = step.why, True, False
                break
            if isinstance(step, Promote):
                self.missed += self.could_be_seen()
                self.open_ring(step.ring)
            if isinstance(step, Finish):
                why = step.why
                break
            tick += TICK
            last = self.tallies[len(self.rings)]
            if self.done_at == math.inf and last.healthy >= 0.9 * last.members:
                self.done_at = tick
            if tick >= self.done_at + 8 * DAY:
                why = "nearly all of the last ring healthy, and watched on"
                break
        harmed = sum(1 for index, hit in enumerate(self.hit) if hit)
        return Outcome(
            self.fault, halted, self.ring, self.touched, self.rings[self.ring - 1].most, harmed,
            (self.now - started) / HOUR, why, self.over_cap, self.missed,
        )  # fmt: skip


def one(task: tuple[Fault | None, str, int, float]) -> Outcome:
    fault, seed, devices, noise = task
    return Rollout(fault=fault, seed=seed, devices=devices, noise=noise).run()


def campaign(tasks: Iterable[tuple[Fault | None, str, int, float]], workers: int = 2) -> list[Outcome]:
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(one, tasks, chunksize=5))


def bad_tasks(count: int = MODELS, seed: int = 1, devices: int = DEVICES) -> list[tuple[Fault | None, str, int, float]]:
    return [(fault, f"bad {seed} {index}", devices, 1.0) for index, fault in enumerate(fault_models(count, 1, devices))]


def good_tasks(
    count: int = MODELS, seed: int = 1, devices: int = DEVICES, noise: float = 1.0
) -> list[tuple[Fault | None, str, int, float]]:
    return [(None, f"good {seed} {index}", devices, noise) for index in range(count)]


def figures(bad: Sequence[Outcome], good: Sequence[Outcome]) -> str:
    """The campaign in words."""
    lines = [
        f"bad updates: {len(bad)}, halted {sum(each.halted for each in bad)}; "
        f"over a ring's cap: {sum(each.over_cap > 0 for each in bad)}; "
        f"promoted although the fault could be seen: {sum(each.missed for each in bad)}",
        f"good updates: {len(good)}, halted {sum(each.halted for each in good)} "
        f"({100 * sum(each.halted for each in good) / max(1, len(good)):.1f} %); "
        f"over a ring's cap: {sum(each.over_cap > 0 for each in good)}; "
        f"hours until done: median {statistics.median(each.hours for each in good):.0f}" if good else "",
        "",
        "| fault | rollouts | halted in ring 1 / 2 / 3 / 4 / 5 | touched: median, most | hit: median, most |",
        "|---|---|---|---|---|",
    ]  # fmt: skip
    for kind in FAULTS:
        own = [each for each in bad if each.fault and each.fault.kind == kind]
        if own:
            rings = " / ".join(str(sum(each.halted and each.ring == ring for each in own)) for ring in range(1, 6))
            touched, harmed = [each.touched for each in own], [each.harmed for each in own]
            lines.append(
                f"| {kind} | {len(own)} | {rings} | {statistics.median(touched):,.0f}, {max(touched):,} "
                f"| {statistics.median(harmed):,.0f}, {max(harmed):,} |"
            )
    return "\n".join(lines)


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else MODELS
    began = time.monotonic()
    bad = campaign(bad_tasks(count))
    middle = time.monotonic()
    good = campaign(good_tasks(count))
    end = time.monotonic()
    print(figures(bad, good))
    print(f"\n{DEVICES:,} devices each; bad ones took {middle - began:.0f} s, good ones {end - middle:.0f} s")
    for each in bad:
        if not each.halted or each.missed or each.over_cap > 0:
            print("!", each)
    for each in good:
        if each.halted:
            print("false halt:", each.ring, each.why)
    for times in (2.0, 5.0):
        noisy = campaign(good_tasks(max(20, count // 5), seed=2, noise=times))
        print(
            f"false halts with {times:.0f} × the noise: {100 * sum(each.halted for each in noisy) / len(noisy):.1f} %"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
