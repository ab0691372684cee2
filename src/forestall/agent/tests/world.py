"""An agent with its own folder, a stand-in server, and clocks that move when told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from forestall.agent import facts, jobs
from forestall.agent.apart import ApartError
from forestall.agent.config import AgentHome, Enrolment, Limits, file_write
from forestall.agent.link.checkin import Link
from forestall.agent.link.checkpoint import checkpoint_read, checkpoint_write
from forestall.agent.link.session import Session
from forestall.agent.link.spool import Spool
from forestall.agent.link.vault import Vault
from forestall.agent.main import Agent
from forestall.agent.tests.standin import CLIENT, DEVICE, ManualClock, StandIn
from forestall.trust.keys import new_key, private_bytes, private_key, public_bytes
from forestall.wire.facts import Document, Scheduled, Sshd, System

KEY = private_bytes(new_key())


class Inline:
    """Work done at once, behind the interface of a child."""

    def __init__(self, work: Callable[[Callable[[bytes], None]], None]) -> None:
        self.error: ApartError | None = None
        self._messages: list[bytes] = []
        try:
            work(self._messages.append)
        except Exception as error:  # noqa: BLE001 - as in a real child, the parent hears it
            self.error = ApartError(f"{type(error).__name__}: {error}")

    def fileno(self) -> int:
        raise AssertionError("nobody polls this")

    def messages(self) -> list[bytes]:
        told, self._messages = self._messages, []
        return told

    def advance(self) -> bool:
        return True

    def end(self) -> None:
        pass


class Machine:
    """The machine the agent looks at: samples and documents that a test sets."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.names: tuple[str, ...] = ("cpu.used_percent", "load.1m")
        self.documents: dict[str, Document] = {
            "system": System(hostname="till", os_id="debian", os_name="Debian", os_version="12"),
            "sshd": Sshd(),
            "scheduled": Scheduled(),
        }
        self.looked: list[str] = []
        self.broken: set[str] = set()
        self.read_at: list[int] = []
        self.on_look: Callable[[str], None] = lambda _name: None

    def read(self) -> tuple[Sequence[str], Sequence[float]]:
        self.read_at.append(round(self._clock.now().timestamp() * 1000))
        return self.names, [float(len(self.read_at))] * len(self.names)

    def look(self, name: str, _host: object) -> Document:
        self.looked.append(name)
        self.on_look(name)
        if name in self.broken:
            raise RuntimeError(f"{name} is broken")
        return self.documents[name]

    def now(self):  # type: ignore[no-untyped-def]  # the one method of a Host that collecting itself uses
        return self._clock.now()


class Trigger(msgspec.Struct):
    """A collector whose trigger is the document itself."""

    name: str
    machine: Machine
    every_seconds: int = 86400

    def trigger(self, _host: object) -> str:
        return repr(self.machine.documents[self.name])


class World:
    """Everything of one device. ``restart`` ends the agent as a power cut would and starts it again."""

    def __init__(self, folder: Path, *, limits: Limits | None = None, server: StandIn | None = None) -> None:
        self.home = AgentHome(str(folder))
        self.clock = ManualClock()
        self.limits = limits or Limits()
        self.server = server or StandIn(clock=self.clock)
        self.server.public_key = public_bytes(private_key(KEY))
        self.machine = Machine(self.clock)
        self.commands: list[tuple[list[bytes], list[bytes], list[bytes]]] = []
        self.do_jobs: Callable[..., None] | None = None
        file_write(self.home.identity_key, KEY)
        self.enrolment = Enrolment(
            server="https://127.0.0.1:1",
            device_id=DEVICE,
            client_id=CLIENT,
            client="Bakery",
            site="Main",
            ca_pem="",
            root_key_id="",
            root=b"",
            log_key=public_bytes(self.server.log_key),
            enrolled_at=self.clock.now(),
        )
        self.vault = Vault(self.home, self.enrolment)
        self.said: list[str] = []
        self.agent = self._start()

    def _start(self) -> Agent:
        spool = Spool(self.home.spool, limits=self.limits)
        self.link = Link(
            transport=self.server,
            session=Session(
                transport=self.server,
                signing=self.vault,
                device_id=DEVICE,
                limits=self.limits,
                monotonic=self.clock.monotonic,
            ),
            signing=self.vault,
            spool=spool,
            clock=self.clock,
            limits=self.limits,
            held=checkpoint_read(self.home),
            keep=lambda held: checkpoint_write(self.home, held),
            say=self.said.append,
        )
        collectors = [Trigger(name, self.machine) for name in self.machine.documents]
        return Agent(
            device_id=DEVICE,
            link=self.link,
            sampler=self.machine,
            plan=facts.FactsPlan(collectors=collectors, host=self.machine, clock=self.clock),
            clock=self.clock,
            limits=self.limits,
            start_collection=self._collect,
            start_jobs=self._work,
            chance=lambda: 0.5,
        )

    def _collect(self, names: Sequence[str], known: dict[str, bytes]) -> Inline:
        return Inline(
            lambda tell: facts.collect(names, known=known, host=self.machine, tell=tell, look=self.machine.look)
        )

    def _work(self, documents: Sequence[bytes], commands: Sequence[bytes], settled: Sequence[bytes]) -> Inline:
        self.commands.append((list(documents), list(commands), list(settled)))
        if self.do_jobs is None:
            return Inline(lambda _tell: None)
        return Inline(lambda tell: self.do_jobs(documents, commands, settled, tell))

    @property
    def spool(self) -> Spool:
        return self.link.spool

    def restart(self) -> None:
        """Power off and on: nothing but what is on disk is left."""
        self.spool.close()
        self.clock.advance(1)
        self.agent = self._start()

    def settle(self) -> None:
        """Let everything that is due now happen."""
        for _ in range(10_000):
            wait = self.agent.step()
            children = self.agent.children
            for child in children:
                self.agent.advance(child)
            if wait > 0 and not children:
                return
        raise AssertionError("the agent never rests")

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.clock.seconds + seconds
        while True:
            wait = self.agent.step()
            for child in self.agent.children:
                self.agent.advance(child)
                wait = 0
            if wait <= 0:
                continue
            if self.clock.seconds + wait > end:
                self.clock.advance(max(0.0, end - self.clock.seconds))
                return
            self.clock.advance(wait)


def job_signed(digest: bytes, envelope: bytes, collect_after: Sequence[str] = ()) -> bytes:
    """What a job's child tells."""
    return msgspec.msgpack.encode(
        jobs.Signed(digest=digest, envelope=envelope, collect_after=list(collect_after), summary="job done")
    )
