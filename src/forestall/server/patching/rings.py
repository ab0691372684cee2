"""Rings: who is touched when, what counts as failure, and when the next ring may begin. Decisions without I/O.

All times are Unix seconds by the *server's* clock (when something was heard, never when a device says it was), so that
a device's wrong clock moves nothing. The same functions judge real devices (``rollouts.py``) and simulated ones
(``bench/rollout.py``: 500 fault models of 10,000 devices), and the rules below were tuned there:

- In the *strict* rings (the first two) one failure halts the rollout.
- Later, and for devices of rings that were promoted already, failures are compared with what would have failed anyway:
  the rollout halts when so many would come by chance less than once in ``1 / alarm`` looks, of all devices touched or
  of those of one model, site, system or role.
- Silence is failure. A device that is always on (server, network, cloud) and is not heard of for ``silence_minutes``
  has failed. A device that people close and carry about is *away* after as long (once it came back well: after three
  days), which halts a rollout as soon as more are away than on any day; it does not count as healthy.
- What did not begin (refused by a pre-check, nothing changed; not delivered) is neither healthy nor failed. It counts
  as not observed, and a ring that was not observed enough is not promoted.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

Percent = Annotated[int, Meta(ge=0, le=100)]
Minutes = Annotated[int, Meta(ge=0, le=60 * 24 * 60)]


class RingTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ring: how large, how long it is watched, and how much of it has to be seen well."""

    percent: Percent = 0
    """Of all devices of the rollout, rounded down."""
    least: Annotated[int, Meta(ge=1, le=1000)] = 1
    """At least so many devices, whatever the percentage says."""
    soak_minutes: Minutes = 60
    """How long a device is watched after its updates are in, before it counts as healthy."""
    observed_percent: Annotated[int, Meta(ge=1, le=100)] = 80
    """How much of the ring has to be healthy before the next may begin, rounded up."""


DEFAULT_RINGS = (
    RingTerms(percent=0, least=1, soak_minutes=60, observed_percent=100),
    RingTerms(percent=1, least=5, soak_minutes=180, observed_percent=80),
    RingTerms(percent=10, least=5, soak_minutes=1440, observed_percent=60),
    RingTerms(percent=50, least=5, soak_minutes=1440, observed_percent=50),
    RingTerms(percent=100, least=5, soak_minutes=1440, observed_percent=50),
)

WATCHED_KINDS = (
    "service_down",
    "memory",
    "cpu",
    "disk_space",
    "inodes",
    "firewall",
    "antivirus",
    "sshd_settings",
    "clock_drift",
)
"""Kinds of checks that an update can make fail. A backup that is too old or a certificate that ends is none of it."""


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By what a rollout goes: its rings, what is failure, and who promotes."""

    rings: Annotated[tuple[RingTerms, ...], Meta(min_length=1, max_length=10)] = DEFAULT_RINGS
    promotion: Literal["automatic", "approval"] = "automatic"
    """``approval``: a person promotes each healthy ring."""
    strict_rings: Annotated[int, Meta(ge=1, le=10)] = 2
    """So many rings tolerate no failure at all."""
    answer_minutes: Annotated[int, Meta(ge=5, le=2880)] = 180
    """A run that was taken and has no answer for so long has failed."""
    silence_minutes: Annotated[int, Meta(ge=5, le=2880)] = 90
    """Nothing heard of a device for so long, after it took the run: failed (always on) or away (carried about)."""
    reboot_minutes: Annotated[int, Meta(ge=5, le=10080)] = 1440
    """An update that needs a reboot and has had none for so long has failed."""
    verify_minutes: Annotated[int, Meta(ge=5, le=10080)] = 240
    """An update that no fresh scan shows as installed for so long has failed."""
    carried_minutes: Annotated[int, Meta(ge=0, le=20160)] = 4320
    """So much longer a device that people carry about may take for its answer, reboot and scan: it may be closed, over
    a weekend too. One that came back well and is not heard of for as long is away."""
    confirm_minutes: Annotated[int, Meta(ge=0, le=1440)] = 60
    """A check that got worse has to stay so for so long; until then it holds the ring, and does not halt it."""
    quiet_days: Annotated[int, Meta(ge=0, le=90)] = 7
    """A check that changed in so many days before the update is not held against it: it comes and goes anyway."""
    kinds: tuple[str, ...] = WATCHED_KINDS
    """Kinds of checks that count when they fail after the update and did not before."""
    background: Annotated[float, Meta(ge=0, le=100)] = 2.0
    """Failures that 1,000 devices have in a day without any update: what later rings are compared with."""
    away_percent: Percent = 10
    """Of devices that people carry about: how many are away on any day."""
    alarm: Annotated[float, Meta(gt=0, le=0.1)] = 0.0001
    """How seldom chance alone may halt a later ring, at each look."""


def terms_read(values: Mapping[str, Any]) -> Terms:
    """Terms from plain values; what is missing keeps its default. ValueError names the bad value."""
    try:
        terms = msgspec.convert(dict(values), Terms)
    except msgspec.ValidationError as error:
        raise ValueError(f"terms: {error}") from None
    percents = [ring.percent for ring in terms.rings]
    if percents != sorted(percents):
        raise ValueError(f"terms.rings: percentages {percents} must not fall")
    if percents[-1] != 100:
        raise ValueError(f"terms.rings: the last ring is {percents[-1]} %, and has to be 100 %")
    if terms.strict_rings > len(terms.rings):
        raise ValueError(f"terms.strict_rings: {terms.strict_rings} of {len(terms.rings)} rings")
    return terms


# --- caps and assignment ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cap:
    """A ring of a rollout of so many devices."""

    number: int
    """From 1, without gaps."""
    most: int
    """Devices touched when the ring is done, the earlier rings' included: never more."""
    terms: RingTerms


def caps(total: int, terms: Terms) -> tuple[Cap, ...]:
    """The rings of a rollout of ``total`` devices.

    A ring's cap is its percentage of the total, rounded down, but at least ``least``, and never more than there are.
    A ring that would add nobody is left out, so that each one tests something: 20 devices have rings of 1, 5, 10, 20.
    """
    found: list[Cap] = []
    for ring in terms.rings:
        most = min(total, max(ring.least, total * ring.percent // 100))
        if most > (found[-1].most if found else 0):
            found.append(Cap(number=len(found) + 1, most=most, terms=ring))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A device to be put into a ring."""

    id: str
    groups: tuple[str, ...] = ()
    """What it has in common with others: ``site:…``, ``role:…``, ``system:…``, ``model:…``."""
    pilot: bool = False
    """Named by a person to go first."""
    steady: bool = True
    """Always on. Such devices go before the others: their silence says something."""
    here: bool = True
    """Heard of lately."""


def assign(devices: Collection[Candidate], terms: Terms, seed: str) -> dict[str, int]:
    """Device id → ring. Named pilots first; then each ring is spread over sites, roles, systems and models.

    The same devices and seed give the same rings, in whatever order the devices come.
    """
    order = _spread(devices, seed)
    rings = caps(len(order), terms)
    found: dict[str, int] = {}
    number = 0
    for position, device in enumerate(order):
        while position >= rings[number].most:
            number += 1
        found[device.id] = rings[number].number
    return found


GREEDY = 400
"""How many places are given out one by one, each to who adds most that was not there before. Then in turn."""


def _spread(devices: Collection[Candidate], seed: str) -> list[Candidate]:
    """Pilots, then those that are always on and here, then the rest; each part spread over its groups."""

    def key(device: Candidate) -> bytes:
        return hashlib.sha256(f"{seed}|{device.id}".encode()).digest()

    ordered: list[Candidate] = []
    seen: dict[str, int] = {}
    parts: list[list[Candidate]] = [[], [], [], []]
    for device in sorted(devices, key=key):
        rank = 0 if device.pilot else 1 if device.steady and device.here else 2 if device.here else 3
        parts[rank].append(device)
    for part in parts:
        strata: dict[tuple[str, ...], list[Candidate]] = {}
        for device in part:
            strata.setdefault(device.groups, []).append(device)
        for queue in strata.values():
            queue.reverse()  # taken from the end
        room = GREEDY
        while strata and room:
            best = min(strata, key=lambda groups: sum(seen.get(one, 0) for one in groups) / (len(groups) or 1))
            device = strata[best].pop()
            if not strata[best]:
                del strata[best]
            for one in device.groups:
                seen[one] = seen.get(one, 0) + 1
            ordered.append(device)
            room -= 1
        # In proportion: the k-th of n of a stratum goes to (k + ½) / n of the way, so that every stretch is a sample.
        rest: list[tuple[float, bytes, Candidate]] = [
            ((index + 0.5) / len(queue), key(device), device)
            for queue in strata.values()
            for index, device in enumerate(reversed(queue))
        ]
        rest.sort(key=lambda each: each[:2])
        ordered += [device for _, _, device in rest]
    return ordered


def may_touch(*, member_ring: int | None, open_ring: int, running: bool) -> bool:
    """Whether a device may be touched: it is in a ring that was opened, and the rollout runs."""
    return running and member_ring is not None and member_ring <= open_ring


def places_free(rings: Sequence[Cap], ring: int, tallies: Mapping[int, Tally], terms: Terms) -> int:
    """How many devices of later rings are to move up into this one, in the place of those that are left out.

    Only in the strict rings: without them they would prove too little, or, with the one device of the first ring
    refused by a pre-check, never anything.
    """
    if not 1 <= ring <= min(terms.strict_rings, len(rings)):
        return 0
    before = rings[ring - 2].most if ring > 1 else 0
    own = tallies.get(ring) or Tally()
    return max(0, rings[ring - 1].most - before - (own.members - own.left_out))


# --- one device -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Observation:
    """What is known of a device in a rollout. Times in Unix seconds of the server's clock; None: not yet."""

    steady: bool = True
    touched_at: float | None = None
    """A run was made for it."""
    delivered_at: float | None = None
    answered_at: float | None = None
    outcome: str = ""
    """``done``, ``failed``; ``blocked``: it ended before it changed anything. Empty: no answer yet."""
    outcome_why: str = ""
    needs_reboot: bool = False
    rebooted_at: float | None = None
    verified_at: float | None = None
    """A fresh scan shows the updates, and what ran before runs again."""
    last_heard_at: float | None = None
    worse_since: float | None = None
    """Since when a watched check fails that did not before the update; None: none does now."""
    worse_why: str = ""
    site_is_silent: bool = False
    """The devices of its site that were not touched are silent, too: it is the line."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a device of a rollout is."""

    state: Literal[
        "waiting", "sent", "running", "soaking", "doubtful", "healthy", "failed", "silent", "away", "left out"
    ]
    why: str = ""
    again_at: float | None = None
    """When time alone may change it; None: only news does."""


_WAITING = Verdict("waiting")


def judge_device(seen: Observation, terms: Terms, soak_minutes: int, now: float) -> Verdict:
    """How a device is, by what was heard of it until ``now``."""
    if seen.touched_at is None:
        return _WAITING
    if seen.outcome == "blocked":
        return Verdict("left out", seen.outcome_why or "a pre-check refused, and nothing was changed")
    if seen.outcome == "failed":
        return Verdict("failed", seen.outcome_why or "its run failed")
    if seen.worse_since is not None:
        sure_at = seen.worse_since + terms.confirm_minutes * MINUTE
        if now >= sure_at:
            return Verdict("failed", seen.worse_why or "a check fails that did not before")
        return Verdict("doubtful", seen.worse_why or "a check fails that did not before", sure_at)
    if seen.delivered_at is None:
        return Verdict("sent", "its run was not taken yet")
    silent = _silence(seen, terms)
    if now >= silent:
        minutes = _span((now - _heard(seen)) / MINUTE)
        if seen.site_is_silent:
            return Verdict("doubtful", f"not heard of for {minutes}, as the rest of its site", now + 5 * MINUTE)
        if seen.steady:
            return Verdict("silent", f"not heard of for {minutes} after it took the run")
        return Verdict("away", f"not heard of for {minutes}; such a device may be closed and carried away")
    longer = 0.0 if seen.steady else terms.carried_minutes * MINUTE
    if seen.answered_at is None:
        late = seen.delivered_at + terms.answer_minutes * MINUTE + longer
        if now >= late:
            return Verdict("failed", f"its run has had no answer for {_span((now - seen.delivered_at) / MINUTE)}")
        return Verdict("running", "its run is under way", min(silent, late))
    if seen.needs_reboot and seen.rebooted_at is None:
        late = seen.answered_at + terms.reboot_minutes * MINUTE + longer
        if now >= late:
            return Verdict(
                "failed", f"it needs a reboot and has had none for {_span((now - seen.answered_at) / MINUTE)}"
            )
        return Verdict("running", "installed; it needs a reboot", min(silent, late))
    in_at = max(seen.answered_at, seen.rebooted_at or 0.0)
    if seen.verified_at is None:
        late = in_at + terms.verify_minutes * MINUTE + longer
        if now >= late:
            return Verdict("failed", f"no fresh scan shows it installed after {_span((now - in_at) / MINUTE)}")
        return Verdict("running", "installed; a fresh scan has to show it", min(silent, late))
    well_at = max(in_at, seen.verified_at) + soak_minutes * MINUTE
    if now < well_at:
        return Verdict("soaking", "verified; watched for a while", min(silent, well_at))
    if (seen.last_heard_at or 0.0) < well_at:
        # Nobody has heard of it since: that it was well at the end has still to be seen.
        return Verdict("soaking", "verified; to be heard of once more", silent)
    return Verdict("healthy", "", silent if seen.steady else None)


def _silence(seen: Observation, terms: Terms) -> float:
    """When its silence counts. From when it came back well after the update, people may close what they carry about."""
    closed = seen.verified_at is not None and not seen.steady
    return _heard(seen) + (terms.carried_minutes if closed else terms.silence_minutes) * MINUTE


def _heard(seen: Observation) -> float:
    return max(seen.last_heard_at or 0.0, seen.delivered_at or 0.0)


def _span(minutes: float) -> str:
    return f"{minutes / 60:.0f} h" if minutes >= 120 else f"{minutes:.0f} min"


# --- the rollout ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """Devices counted, of a ring or of a group. Kept up by ``move``, or counted at once from the database."""

    members: int = 0
    """Devices in it, those left out included."""
    waiting: int = 0
    sent: int = 0
    """A run was made, and not taken yet: nothing was changed."""
    running: int = 0
    soaking: int = 0
    doubtful: int = 0
    healthy: int = 0
    failed: int = 0
    silent: int = 0
    away: int = 0
    left_out: int = 0
    """Removed, excluded, or refused by a pre-check: nothing was changed, so its place in the ring is free again."""
    touched: int = 0
    touched_sum: float = 0.0
    """Sum of the times at which they were touched: with ``touched`` it gives the days they were watched."""
    carried: int = 0
    """Touched devices that people carry about."""
    why: str = ""
    """Of the first failure."""

    @property
    def bad(self) -> int:
        return self.failed + self.silent

    def device_days(self, now: float) -> float:
        return max(0.0, (self.touched * now - self.touched_sum) / DAY)

    def touch(self, *, at: float, steady: bool) -> None:
        self.touched += 1
        self.touched_sum += at
        self.carried += not steady

    def move(self, old: str, new: str, why: str = "") -> None:
        """One device is no longer ``old``, but ``new``."""
        old, new = old.replace(" ", "_"), new.replace(" ", "_")
        setattr(self, old, getattr(self, old) - 1)
        setattr(self, new, getattr(self, new) + 1)
        if new in ("failed", "silent") and not self.why:
            self.why = why

    def __iadd__(self, other: Tally) -> Tally:
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.why = self.why or other.why
        return self


_COUNTS = (
    "members", "waiting", "sent", "running", "soaking", "doubtful", "healthy", "failed", "silent", "away", "left_out",
    "touched", "touched_sum", "carried",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Promote:
    """The ring is healthy: the next may begin."""

    ring: int
    """The next one's number."""
    why: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The last ring is healthy: the rollout is done."""

    why: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Neither enough is known yet, nor is anything wrong."""

    why: str


@dataclass(frozen=True, slots=True)
class Halt:
    """Something is wrong: nothing more is touched."""

    why: str


Step = Promote | Finish | Wait | Halt


def next_step(
    *,
    terms: Terms,
    rings: Sequence[Cap],
    ring: int,
    tallies: Mapping[int, Tally],
    groups: Mapping[str, Tally],
    now: float,
) -> Step:
    """What a rollout whose ring number ``ring`` is under way does now.

    ``tallies``: ring → its devices; ``groups``: ``site:…``, ``model:…`` → theirs, over all rings.
    """
    own = tallies.get(ring) or Tally()
    halt = _halt(terms, ring, own, tallies, groups, now)
    if halt is not None:
        return halt
    doubtful = sum(tally.doubtful for tally in tallies.values())
    if doubtful and _would_halt(terms, ring, own, tallies, now):
        return Wait(f"{_devices(doubtful)} in doubt: waits until it is clear")
    counted = own.members - own.left_out
    needed = needed_healthy(rings[ring - 1].terms, counted)
    last = ring == len(rings)
    if own.members and not counted:
        return Wait("every device of this ring is left out: a person has to look")
    if last:
        open_ = own.waiting + own.sent + own.running + own.soaking + own.away
        if open_ and own.healthy < counted:
            return Wait(f"{own.healthy} of {counted} devices healthy; {open_} to go")
        return Finish(f"{own.healthy} of {counted} devices of the last ring healthy")
    unclear = own.running + own.soaking
    if ring <= terms.strict_rings and own.healthy >= needed and unclear:
        # Whoever took the run in a strict ring is waited for: one failure among the last would be one too many.
        return Wait(f"{own.healthy} of {counted} devices healthy; waits for {_devices(unclear)} that took the run")
    if own.healthy >= needed:
        return Promote(ring + 1, f"{own.healthy} of {counted} devices healthy ({needed} needed), none of them in doubt")
    return Wait(f"{own.healthy} of {counted} devices healthy, {needed} needed; {own.soaking} are watched")


def needed_healthy(ring: RingTerms, counted: int) -> int:
    """Devices of a ring that have to be healthy: its share, rounded up, and at least one."""
    return max(1, -(-counted * ring.observed_percent // 100))


def _halt(
    terms: Terms,
    ring: int,
    own: Tally,
    tallies: Mapping[int, Tally],
    groups: Mapping[str, Tally],
    now: float,
) -> Halt | None:
    if ring <= terms.strict_rings and own.bad:
        return Halt(f"{_devices(own.bad)} of ring {ring} failed: {own.why or 'no reason given'}")
    if ring == 1 and own.away:
        return Halt(f"{_devices(own.away)} of ring 1 took the run and was not heard of again")
    everything = Tally()
    for tally in tallies.values():
        everything += tally
    if everything.bad and too_many(terms, everything, now, terms.alarm):
        return Halt(f"{_devices(everything.bad)} of {everything.touched} failed, more than by chance: {everything.why}")
    if everything.away and too_many_away(terms, everything, terms.alarm):
        return Halt(f"{_devices(everything.away)} of {everything.carried} carried about were not heard of again")
    alarm = terms.alarm / max(1, len(groups))
    for name, group in groups.items():
        if group.bad >= LEAST and too_many(terms, group, now, alarm):
            return Halt(
                f"{_devices(group.bad)} of {group.touched} of {_group(name)} failed, more than by chance: {group.why}"
            )
        if group.away >= LEAST and too_many_away(terms, group, alarm):
            return Halt(f"{_devices(group.away)} of {group.carried} of {_group(name)} were not heard of again")
    return None


LEAST = 3
"""Fewer failures than this are never more than chance, after the strict rings."""


def _would_halt(terms: Terms, ring: int, own: Tally, tallies: Mapping[int, Tally], now: float) -> bool:
    """Whether the rollout would halt if everything in doubt had failed."""
    if ring <= terms.strict_rings:
        return own.doubtful > 0
    worst = Tally()
    for tally in tallies.values():
        worst += tally
    worst.failed += worst.doubtful
    return too_many(terms, worst, now, terms.alarm)


def too_many(terms: Terms, tally: Tally, now: float, alarm: float) -> bool:
    """Whether so many failures come by chance less than once in ``1 / alarm``, in so many days of so many devices."""
    return tally.bad >= LEAST and poisson_tail(tally.bad, terms.background / 1000 * tally.device_days(now)) <= alarm


def too_many_away(terms: Terms, tally: Tally, alarm: float) -> bool:
    """Whether so many devices are away by chance less than once in ``1 / alarm``."""
    return tally.away >= LEAST and binomial_tail(tally.away, tally.carried, terms.away_percent / 100) <= alarm


def poisson_tail(count: int, mean: float) -> float:
    """Probability of ``count`` or more where ``mean`` are expected."""
    if count <= 0:
        return 1.0
    if mean <= 0:
        return 0.0
    if count <= mean:
        return 1.0  # not worth an exact figure: as many as expected are never too many
    term = math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))
    return _sum_up(term, lambda k: mean / (k + 1), count)


def binomial_tail(count: int, of: int, share: float) -> float:
    """Probability of ``count`` or more out of ``of``, each with probability ``share``."""
    if count <= 0:
        return 1.0
    if share <= 0 or count > of:
        return 0.0
    if share >= 1 or count <= of * share:
        return 1.0
    logged = math.lgamma(of + 1) - math.lgamma(count + 1) - math.lgamma(of - count + 1)
    term = math.exp(logged + count * math.log(share) + (of - count) * math.log1p(-share))
    return _sum_up(term, lambda k: (of - k) / (k + 1) * share / (1 - share), count)


def _sum_up(term: float, ratio: Callable[[int], float], count: int) -> float:
    total = 0.0
    while term > total * 1e-9:
        total += term
        term *= ratio(count)
        count += 1
    return min(1.0, total)


def _devices(count: int) -> str:
    return f"{count} device" if count == 1 else f"{count} devices"


def _group(name: str) -> str:
    kind, _, what = name.partition(":")
    return f"{kind} {what}" if what else kind


def tallied(rows: Iterable[tuple[int, str, float | None, bool, str]]) -> dict[int, Tally]:
    """Tallies by ring from rows of (ring, state, touched at, steady, why)."""
    found: dict[int, Tally] = {}
    for ring, state, touched_at, steady, why in rows:
        add(found.setdefault(ring, Tally()), state, touched_at, why, steady=steady)
    return found


def add(tally: Tally, state: str, touched_at: float | None, why: str, *, steady: bool) -> None:
    """Count one device more."""
    tally.members += 1
    name = state.replace(" ", "_")
    setattr(tally, name, getattr(tally, name) + 1)
    if touched_at is not None:
        tally.touch(at=touched_at, steady=steady)
    if state in ("failed", "silent") and not tally.why:
        tally.why = why


__all__ = [
    "DEFAULT_RINGS",
    "WATCHED_KINDS",
    "Candidate",
    "Cap",
    "Finish",
    "Halt",
    "Observation",
    "Promote",
    "RingTerms",
    "Step",
    "Tally",
    "Terms",
    "Verdict",
    "Wait",
    "add",
    "assign",
    "caps",
    "judge_device",
    "may_touch",
    "needed_healthy",
    "next_step",
    "tallied",
    "terms_read",
]
