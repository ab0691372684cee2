"""The agent's loop: ``python -m forestall.agent.main``.

    sample → collect what changed → spool → check in → run what was delivered → its result → check in again

One process, one thread; children for what is heavy. It dials out and never listens.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import math
import os
import random
import select
import signal
import sqlite3
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from forestall.agent import facts, jobs
from forestall.agent.apart import ApartError
from forestall.agent.clock import Clock, SystemClock
from forestall.agent.config import (
    VERSION,
    AgentError,
    AgentHome,
    Limits,
    current_home,
    enrolment_read,
)
from forestall.agent.link.checkin import Exchange, Link, is_barred, retry_seconds
from forestall.agent.link.spool import IN_MEMORY, Draft, Spool, SpoolError
from forestall.agent.link.transport import LinkError
from forestall.agent.log import say
from forestall.wire.checkin import FactsAffirmed, SampleBlock
from forestall.wire.codec import catalogue_id

FACTS_BYTES = 1024 * 1024
"""Most encoded facts in one check-in: a quarter of what a server takes."""
RECORDS_AT_ONCE = 16
_NEVER = math.inf


class Child(Protocol):
    """Work that goes on beside the loop; see ``Apart``."""

    error: ApartError | None

    def fileno(self) -> int: ...
    def messages(self) -> list[bytes]: ...
    def advance(self) -> bool: ...
    def end(self) -> None: ...


class Sampler(Protocol):
    def read(self) -> tuple[Sequence[str], Sequence[float]]:
        """Names of the series, and their values in the same order."""


class Status(msgspec.Struct, kw_only=True):
    """What ``forestall agent status`` shows of the running agent; kept in the spool."""

    pid: int = 0
    version: str = VERSION
    started_at: datetime | None = None
    last_check_in_at: datetime | None = None
    last_attempt_at: datetime | None = None
    last_refusal: str = ""
    """Why the last attempt failed, or the last there was; with its time."""
    last_refusal_at: datetime | None = None
    failures: int = 0
    """Attempts that failed on end."""
    interval_seconds: float = 60.0
    trouble: str = ""
    asked: int = 0
    """Times that a person asked for a check-in and it came to an end."""
    collected: dict[str, int] = {}
    """How often each document was collected since the start: what a busy trigger costs shows here."""


class Agent:
    """What is due, and when. ``step`` never sleeps; ``run`` does, between steps."""

    def __init__(
        self,
        *,
        device_id: str,
        link: Link,
        sampler: Sampler,
        plan: facts.FactsPlan,
        clock: Clock,
        limits: Limits,
        start_collection: Callable[[Sequence[str], dict[str, bytes]], Child],
        start_jobs: Callable[[Sequence[bytes], Sequence[bytes], Sequence[bytes]], Child],
        chance: Callable[[], float] = random.random,
        watch: Mapping[str, Callable[[bytes], None]] | None = None,
        spool_again: Callable[[], Spool] | None = None,
    ) -> None:
        self._link = link
        self._sampler = sampler
        self._plan = plan
        self._clock = clock
        self._limits = limits
        self._start_collection = start_collection
        self._start_jobs = start_jobs
        self._chance = chance
        self._watch = watch or {}
        """Who else hears of a document that has changed, by its name."""
        self._spool_again = spool_again
        self._deliveries = jobs.Deliveries(clock)
        # Each device has its own second of the minute, so that a fleet does not call all at once.
        self._phase = int.from_bytes(hashlib.sha256(device_id.encode()).digest()[:4], "big") / 2**32
        self._interval = limits.sample_seconds
        now = clock.monotonic()
        self._sample_at = self._check_in_at = now
        self._link_at = _NEVER
        self._collecting: Child | None = None
        self._collecting_names: set[str] = set()
        self._collecting_since = 0.0
        self._collect_again = False
        self._working: Child | None = None
        self._working_since = 0.0
        self._to_run: tuple[list[bytes], list[bytes]] | None = ([], [])
        self._to_settle: list[bytes] = []
        self._settled: set[bytes] = set()
        self._asked = False
        self._names: Sequence[str] = ()
        self._times: list[int] = []
        self._values = array("d")
        self._reports: list[facts.Found] = []
        self._affirmed: list[FactsAffirmed] = []
        self._clock_offset: float | None = None
        self.status = Status(pid=os.getpid(), started_at=clock.now(), interval_seconds=self._interval)
        kept = link.spool.meta("status")
        if kept:
            with contextlib.suppress(msgspec.DecodeError):  # of another version: begin anew
                before = msgspec.json.decode(kept, type=Status)
                self.status.asked = before.asked
                self.status.last_check_in_at = before.last_check_in_at
                self.status.last_refusal, self.status.last_refusal_at = before.last_refusal, before.last_refusal_at
        self._write_status()

    @property
    def children(self) -> list[Child]:
        """Children that work now: to be polled."""
        return [child for child in (self._collecting, self._working) if child is not None]

    # --- the loop -------------------------------------------------------------------------------------------

    def step(self) -> float:
        """Do all that is due. Seconds until something will be."""
        if self._clock.monotonic() >= self._sample_at:
            self._sample()
            self._collect()
        if self._clock.monotonic() >= self._check_in_at:
            self._check_in_at = self._next_tick(self._interval)
            self._spool_all(heartbeat=True)
            self._call()
        if self._clock.monotonic() >= self._link_at:
            self._talk()
        self._work()
        self._end_the_late()
        return max(0.0, min(self._sample_at, self._check_in_at, self._link_at) - self._clock.monotonic())

    def ask(self) -> None:
        """A person asks: collect what changed, and check in now."""
        self._asked = True
        self._sample()
        self._collect(at_once=True)
        if self._collecting is None:
            self._spool_all()
            self._call()

    def advance(self, child: Child) -> None:
        """A child has something to tell, or has ended."""
        ended = child.advance()
        if child is self._collecting:
            for message in child.messages():
                self._take_found(facts.found_read(message))
            if ended:
                self._collection_ended(child)
        elif child is self._working:
            self._take_results([jobs.signed_read(message) for message in child.messages()])
            if ended:
                self._working = None
                if child.error is not None:
                    say(f"running jobs failed: {child.error}")

    def stop(self) -> None:
        """Clean end. A job that runs is left to its end: its result is kept for the next agent."""
        if self._collecting is not None:
            self._collecting.end()
        self._spool_all()
        self._write_status()
        self._link.spool.close()

    def _next_tick(self, period: float) -> float:
        """The monotonic time of the next tick of the wall clock's grid of ``period`` seconds, moved by our phase."""
        wall = self._clock.now().timestamp() - self._phase * 60.0
        wait = period - wall % period
        # Woken a moment early, the same tick must not come twice.
        return self._clock.monotonic() + (wait if wait > period / 10 else wait + period)

    # --- samples and facts ----------------------------------------------------------------------------------

    def _sample(self) -> None:
        self._sample_at = self._next_tick(min(self._limits.sample_seconds, self._interval))
        self._watch_clock()
        now = round(self._clock.now().timestamp() * 1000)
        try:
            names, values = self._sampler.read()
        except Exception as error:  # noqa: BLE001 - facts, records and the heartbeat go on without samples
            say(f"samples could not be read: {type(error).__name__}: {error}")
            return
        if self._times and (names != self._names or now <= self._times[-1]):
            self._spool_all()
        self._names = names
        self._times.append(now)
        self._values.extend(values)

    def _watch_clock(self) -> None:
        offset = self._clock.now().timestamp() - self._clock.since_boot()
        before, self._clock_offset = self._clock_offset, offset
        if before is not None and abs(offset - before) > self._limits.clock_step_seconds:
            moved = timedelta(seconds=round(abs(offset - before)))
            detail = f"the clock was moved {'forward' if offset > before else 'back'} by {moved}"
            say(detail)
            try:
                self._add(self._link.draft(records=[self._link.notice("clock_stepped", detail)]))
            except (ApartError, OSError) as error:
                say(f"that could not be recorded: {error}")

    def _collect(self, *, at_once: bool = False) -> None:
        if self._collecting is not None:
            self._collect_again = self._collect_again or at_once
            return
        names = self._plan.due(at_once=at_once)
        if names:
            known = {name: digest for name, (digest, _) in self._link.spool.facts_said().items()}
            self._collecting_names = set(names)
            self._collecting_since = self._clock.monotonic()
            self._collecting = self._start_collection(names, known)

    def _collection_ended(self, child: Child) -> None:
        self._collecting = None
        if child.error is not None:
            say(f"collecting {', '.join(sorted(self._collecting_names))} failed: {child.error}")
        self._plan.lost(self._collecting_names)
        if self._reports or self._affirmed or self._asked:
            self._spool_all()
            self._call()
        again, self._collect_again = self._collect_again, False
        if again:
            self._collect(at_once=True)

    def _take_found(self, found: facts.Found) -> None:
        self._collecting_names.discard(found.name)
        asked = self._plan.done(found)
        self.status.collected[found.name] = self.status.collected.get(found.name, 0) + 1
        if found.error:
            say(f"collector {found.name} broke: {found.error}")
            return
        if found.report:
            self._reports.append(found)
            if found.name in self._watch:
                self._watch[found.name](found.report)
            return
        said = self._link.spool.facts_said().get(found.name)
        if said is None or said[0] != found.digest:
            # Forgotten while the child looked: the server does not hold it after all.
            self._plan.ask([found.name])
            self._collect_again = True
            return
        due = found.collected_at - said[1] >= timedelta(seconds=self._limits.affirm_seconds)
        if asked or due:
            self._affirmed.append(FactsAffirmed(name=found.name, collected_at=found.collected_at, digest=found.digest))

    # --- check-in -------------------------------------------------------------------------------------------

    def _spool_all(self, *, heartbeat: bool = False) -> None:
        """Put the samples and facts that were gathered into the spool; with nothing to say, at least a heartbeat."""
        block: SampleBlock | None = None
        names: list[str] | None = None
        if self._times:
            names = list(self._names)
            if sys.byteorder == "big":
                self._values.byteswap()
            block = SampleBlock(catalogue=catalogue_id(names), times=self._times, values=self._values.tobytes())
            self._times, self._values = [], array("d")
        affirmed, self._affirmed = self._affirmed, []
        while block is not None or self._reports or affirmed or heartbeat:
            reports = _first_of(self._reports, at_most=FACTS_BYTES)
            del self._reports[: len(reports)]
            self._add(
                self._link.draft(
                    samples=block,
                    facts=[msgspec.Raw(found.report) for found in reports],
                    documents=[found.name for found in reports],
                    affirmed=affirmed,
                ),
                names=names,
                digests=[
                    *((found.name, found.digest) for found in reports),
                    *((unchanged.name, unchanged.digest) for unchanged in affirmed),
                ],
            )
            block, names, affirmed, heartbeat = None, None, [], False

    def _call(self) -> None:
        """Check in now, unless attempts have failed: then a person alone makes us call before the wait is over."""
        if self._asked or not self.status.failures:
            self._link_at = self._clock.monotonic()

    def _add(
        self,
        draft: Draft,
        *,
        names: list[str] | None = None,
        digests: Iterable[tuple[str, bytes]] = (),
        results: Iterable[bytes] = (),
    ) -> None:
        self._try_the_disk_again()
        self._link.spool.add(draft, names=names, digests=digests, results=results)
        self._note_trouble(self._link.spool.trouble)

    def _try_the_disk_again(self) -> None:
        """The spool could not be opened at the start and lives in memory: move to the disk once all is said."""
        if self._spool_again is None or self._link.spool.depth:
            return
        with contextlib.suppress(SpoolError):
            self._link.use_spool(self._spool_again())
            self._spool_again = None

    def _talk(self) -> None:
        """One round with the server, and what follows from it."""
        self.status.last_attempt_at = self._clock.now()
        try:
            done = self._link.exchange()
        except (LinkError, ApartError, sqlite3.DatabaseError, OSError) as error:
            self._failed(error)
        else:
            self._took(done)
        if self._asked and self._collecting is None:
            self._asked = False
            self.status.asked += 1
        self._note_trouble(self._link.spool.trouble)
        self._write_status()

    def _failed(self, error: Exception) -> None:
        self.status.failures += 1
        wait = retry_seconds(failures=self.status.failures, chance=self._chance(), limits=self._limits)
        if is_barred(error):
            wait = self._limits.retry_barred_seconds
        self._link_at = self._clock.monotonic() + wait
        if self.status.failures == 1 or str(error) != self.status.last_refusal:
            say(f"check-in failed, {self._link.spool.depth} wait: {error}")
        self.status.last_refusal, self.status.last_refusal_at = str(error), self.status.last_attempt_at

    def _took(self, done: Exchange) -> None:
        if self.status.failures:
            say(f"checked in again after {self.status.failures} failed attempts")
        self.status.failures = 0
        if done.sent:
            self.status.last_check_in_at = self.status.last_attempt_at
            self._link_at = self._clock.monotonic() if self._link.spool.depth else _NEVER
        else:
            self._link_at = _NEVER
        if done.interval_seconds and done.interval_seconds != self._interval:
            self._interval = self.status.interval_seconds = float(min(max(done.interval_seconds, 1), 3600))
            self._check_in_at = self._next_tick(self._interval)
            self._sample_at = min(self._sample_at, self._check_in_at)
        if done.resend_facts:
            wanted = self._plan.ask_again(done.resend_facts)
            self._link.spool.forget_facts(wanted)
            if wanted:
                self._collect(at_once=True)
        if self._deliveries.are_new([*done.jobs, *done.documents]):
            self._to_run = (done.documents, done.jobs)

    # --- jobs -----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        if self._working is not None or (self._to_run is None and not self._to_settle):
            return
        documents, commands = self._to_run or ([], [])
        settled, self._to_run, self._to_settle = self._to_settle, None, []
        self._deliveries.handled([*documents, *commands])
        self._working_since = self._clock.monotonic()
        self._working = self._start_jobs(documents, commands, settled)

    def _take_results(self, results: Sequence[jobs.Signed]) -> None:
        new = [signed for signed in results if not self._link.spool.result_known(signed.digest)]
        for start in range(0, len(new), RECORDS_AT_ONCE):
            some = new[start : start + RECORDS_AT_ONCE]
            self._add(
                self._link.draft(records=[signed.envelope for signed in some]),
                results=[signed.digest for signed in some],
            )
        for signed in new:
            say(signed.summary)
            self._plan.ask(signed.collect_after)
        # Only what is on disk is settled: else the act state keeps it for the next time.
        for signed in results:
            if signed.digest not in self._settled and self._link.spool.result_known(signed.digest):
                self._settled.add(signed.digest)
                self._to_settle.append(signed.digest)
        if new:
            # A check may rest on samples as well as on facts: both are fresh before it is judged again.
            self._sample()
            self._spool_all()
            self._call()
            self._collect(at_once=True)

    def _end_the_late(self) -> None:
        now = self._clock.monotonic()
        if self._collecting is not None and now - self._collecting_since > self._limits.collect_timeout_seconds:
            self._collecting.end()
            self.advance(self._collecting)
        if self._working is not None and now - self._working_since > self._limits.job_most_seconds:
            say(f"a job is ended after {self._limits.job_most_seconds:g} s")
            self._working.end()
            self.advance(self._working)

    # --- what is said of it ---------------------------------------------------------------------------------

    def _note_trouble(self, trouble: str) -> None:
        if trouble != self.status.trouble:
            say(trouble or "the spool can be written again")
            self.status.trouble = trouble

    def _write_status(self) -> None:
        self._link.spool.meta_write("status", msgspec.json.encode(self.status))


def _first_of(reports: Sequence[facts.Found], *, at_most: int) -> list[facts.Found]:
    """As many of the first reports as fit; one at least, if there is one."""
    taken: list[facts.Found] = []
    size = 0
    for found in reports:
        size += len(found.report)
        if taken and size > at_most:
            break
        taken.append(found)
    return taken


# --- the process --------------------------------------------------------------------------------------------------


class Signals:
    """What signals asked for since the last look; ``fileno`` wakes the loop."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.stop = self.asked = False
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._note)
        signal.signal(signal.SIGINT, self._note)
        signal.signal(signal.SIGUSR1, self._note)

    def fileno(self) -> int:
        return self._reader

    def _note(self, number: int, _frame: object) -> None:
        if number == signal.SIGUSR1:
            self.asked = True
        else:
            self.stop = True

    def take_asked(self) -> bool:
        """Whether a check-in was asked for since the last call."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)
        asked, self.asked = self.asked, False
        return asked


def run(agent: Agent, signals: Signals) -> None:
    """The loop, until a signal ends it."""
    while not signals.stop:
        if signals.take_asked():
            agent.ask()
        wait = agent.step()
        children = agent.children
        polled = [signals.fileno(), *(child.fileno() for child in children)]
        ready, _, _ = select.select(polled, [], [], min(wait, 3600.0))
        for child in children:
            if child.fileno() in ready:
                agent.advance(child)
    agent.stop()


def lock_take(home: AgentHome) -> int:
    """Be the one agent of this folder; AgentError when another runs. The lock ends with the process."""
    import fcntl

    descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # A record lock, not flock(): forked children must not hold it on after an agent that was killed.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(descriptor, 20).decode(errors="replace").strip()
        os.close(descriptor)
        raise AgentError(f"an agent runs already in {home.folder} (process {pid})") from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, b"%d\n" % os.getpid())
    return descriptor


def make(home: AgentHome, *, limits: Limits, clock: Clock) -> Agent:
    """The agent of an enrolled device with all its parts. AgentError when something is missing or damaged."""
    from forestall.agent.collect import plugin_memory
    from forestall.agent.collect.host import LocalHost
    from forestall.agent.collect.registry import COLLECTORS
    from forestall.agent.collect.samples import SampleReader
    from forestall.agent.link.checkpoint import checkpoint_read, checkpoint_write
    from forestall.agent.link.session import Session
    from forestall.agent.link.transport import HttpsTransport, pinned_context
    from forestall.agent.link.vault import Vault, VaultApart, identity_check

    enrolment = enrolment_read(home)
    identity_check(home)
    spool_again: Callable[[], Spool] | None = None
    try:
        spool = Spool(home.spool, limits=limits)
    except SpoolError as error:
        # A full disk is when an agent is needed most: go on in memory.
        say(f"the spool cannot be opened, going on without: {error}")
        spool = Spool(IN_MEMORY, limits=limits)
        spool_again = lambda: Spool(home.spool, limits=limits)  # noqa: E731
    if spool.damaged:
        say(f"the spool was damaged; it is set aside as {spool.damaged} and a new one begun")
    vault = Vault(home, enrolment)
    signing = VaultApart(vault)
    transport = HttpsTransport(enrolment.server, context=pinned_context(enrolment.ca_pem), limits=limits)
    link = Link(
        transport=transport,
        session=Session(
            transport=transport,
            signing=signing,
            device_id=enrolment.device_id,
            limits=limits,
            monotonic=clock.monotonic,
        ),
        signing=signing,
        spool=spool,
        clock=clock,
        limits=limits,
        held=checkpoint_read(home),
        keep=lambda held: checkpoint_write(home, held),
        say=say,
    )
    host = LocalHost()
    return Agent(
        device_id=enrolment.device_id,
        link=link,
        sampler=SampleReader(plugins=plugin_memory.MEMORY.samples),
        plan=facts.FactsPlan(collectors=COLLECTORS, host=host, clock=clock),
        clock=clock,
        limits=limits,
        start_collection=lambda names, known: facts.collect_apart(names, known=known, host=host),
        start_jobs=lambda documents, commands, settled: jobs.act_apart(
            home, vault, documents=documents, jobs=commands, settled=settled, held=link.held, say=say
        ),
        watch={"plugins": plugin_memory.MEMORY.take},
        spool_again=spool_again,
    )


def main() -> int:
    """Run until SIGTERM. Exit code 2, with one line, for what a person must mend."""
    os.umask(0o077)
    home = current_home()
    try:
        enrolment = enrolment_read(home)
        lock_take(home)
        signals = Signals()
        agent = make(home, limits=Limits(), clock=SystemClock())
    except AgentError as error:
        sys.stderr.write(f"forestall agent: {error}\n")
        return 2
    say(f"version {VERSION}, device {enrolment.device_id}, checks in with {enrolment.server}")
    # What was loaded by now stays: no reason for the collector to look at it again and again.
    gc.collect()
    gc.freeze()
    run(agent, signals)
    say("ended")
    return 0


if __name__ == "__main__":
    sys.exit(main())
