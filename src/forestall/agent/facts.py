"""Which facts to collect now, and collecting them in a child.

A document is collected when the agent starts, when its trigger says that it may have changed, when its time is over,
and when somebody asks: the server, a job that has run, a person (``forestall agent check-in``).

A trigger that changes now and then is followed at once. One that never rests (a build machine's sockets) may be
followed a few times on end, and then only as often as the document is cheap: see ``BURST`` and ``REST_FACTOR``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from forestall.agent.apart import Apart, Tell
from forestall.agent.clock import Clock
from forestall.agent.collect.host import Host

BURST = 3
"""Times that a trigger is followed at once."""
REST_FACTOR = 6000.0
"""One of those times comes back after this many times what the document took: 5 minutes for one of 50 ms, so that a
document whose trigger never rests costs 0.01 s a minute."""
RETRY_SECONDS = 900.0
"""After a collector failed."""
ASKED_AGAIN_SECONDS = 300.0
"""A server that asks for a document just sent has not come to apply it yet."""
NICENESS = 10


class CollectorLike(Protocol):
    """What a ``collect.registry.Collector`` offers."""

    @property
    def name(self) -> str: ...
    @property
    def every_seconds(self) -> int: ...
    def trigger(self, host: Host, /) -> str: ...


class Found(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A document that was collected; the child tells one for each."""

    name: str
    collected_at: datetime
    seconds: float
    digest: bytes = b""
    report: bytes = b""
    """Encoded ``FactsReport``; empty when the digest is the one known."""
    error: str = ""
    """Why there is none."""


_found_decoder = msgspec.msgpack.Decoder(Found)


def found_read(message: bytes) -> Found:
    return _found_decoder.decode(message)


class _State:
    """What is known of one document."""

    __slots__ = (
        "answering",
        "asked",
        "collected_at",
        "earned_at",
        "fingerprint",
        "resent_at",
        "rest",
        "times",
        "tried_at",
    )

    def __init__(self) -> None:
        self.fingerprint: str | None = None
        self.collected_at = float("-inf")
        self.tried_at = float("-inf")
        self.rest = 0.0
        """Seconds in which one more time to follow the trigger is earned."""
        self.times: float = BURST
        """How often the trigger may be followed now."""
        self.earned_at = 0.0
        self.resent_at = float("-inf")
        self.asked = False
        self.answering = False
        """Whether the collection under way was asked for."""

    def may_follow(self, now: float) -> bool:
        """Whether the trigger may be followed once more; counts as done."""
        earned = (now - self.earned_at) / self.rest if self.rest else BURST
        self.times, self.earned_at = min(BURST, self.times + earned), now
        if self.times < 1:
            return False
        self.times -= 1
        return True


class FactsPlan:
    """Decides which documents are due."""

    def __init__(self, *, collectors: Sequence[CollectorLike], host: Host, clock: Clock) -> None:
        self._collectors = collectors
        self._host = host
        self._clock = clock
        self._states = {collector.name: _State() for collector in collectors}

    def ask(self, names: Iterable[str]) -> None:
        """Collect these as soon as may be, and say even what is unchanged. Unknown names are another version's."""
        for name in names:
            if name in self._states:
                self._states[name].asked = True

    def ask_again(self, names: Iterable[str]) -> list[str]:
        """The server wants these whole. The ones that were not sent for it a moment ago."""
        now = self._clock.monotonic()
        wanted = [
            name
            for name in dict.fromkeys(names)
            if name in self._states and now - self._states[name].resent_at >= ASKED_AGAIN_SECONDS
        ]
        for name in wanted:
            self._states[name].resent_at = now
        self.ask(wanted)
        return wanted

    def due(self, *, at_once: bool = False) -> list[str]:
        """The documents to collect now; they count as begun. ``at_once``: follow every trigger that has changed."""
        now = self._clock.monotonic()
        names = []
        for collector in self._collectors:
            state = self._states[collector.name]
            fingerprint = collector.trigger(self._host)
            changed = fingerprint != state.fingerprint
            if changed:
                changed = state.may_follow(now) or at_once
            over = now - state.collected_at >= collector.every_seconds
            if over and now - state.tried_at < min(RETRY_SECONDS, collector.every_seconds):
                over = False
            if state.asked or over or changed:
                # Noted before looking: what changes while the collector looks makes it look again.
                state.fingerprint, state.tried_at = fingerprint, now
                state.answering, state.asked = state.asked, False
                names.append(collector.name)
        return names

    def done(self, found: Found) -> bool:
        """Note what the child told. True when somebody asked for the document."""
        state = self._states[found.name]
        now = self._clock.monotonic()
        state.rest = REST_FACTOR * found.seconds
        if not found.error:
            state.collected_at = now
        return state.answering

    def lost(self, names: Iterable[str]) -> None:
        """The child ended without telling of these: their triggers wait longer."""
        for name in names:
            self._states[name].rest = RETRY_SECONDS


def collect_apart(names: Sequence[str], *, known: dict[str, bytes], host: Host) -> Apart:
    """Collect documents in a child; it tells a ``Found`` for each. ``known``: digests of what the server has."""
    return Apart(lambda tell: collect(names, known=known, host=host, tell=tell), niceness=NICENESS)


def collect(
    names: Sequence[str],
    *,
    known: dict[str, bytes],
    host: Host,
    tell: Tell,
    look: Callable[[str, Host], object] | None = None,
) -> None:
    """Collect documents here. A collector that breaks loses only its own document."""
    from time import perf_counter

    from forestall.agent.collect.registry import collect_one
    from forestall.wire.checkin import FactsReport
    from forestall.wire.codec import facts_digest

    for name in names:
        began = perf_counter()
        collected_at = host.now()
        try:
            document = (look or collect_one)(name, host)
            digest = facts_digest(document)  # type: ignore[arg-type]
            report = b""
            if known.get(name) != digest:
                report = msgspec.msgpack.encode(
                    FactsReport(collected_at=collected_at, digest=digest, document=document)  # type: ignore[arg-type]
                )
        except Exception as error:  # noqa: BLE001 - a bug in one collector must not cost the other documents
            found = Found(
                name=name,
                collected_at=collected_at,
                seconds=perf_counter() - began,
                error=f"{type(error).__name__}: {error}",
            )
        else:
            found = Found(
                name=name, collected_at=collected_at, seconds=perf_counter() - began, digest=digest, report=report
            )
        tell(msgspec.msgpack.encode(found))
