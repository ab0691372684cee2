"""``forestall up``: starts console, intake, worker and the local agent, and starts again what dies.

This process stays small and does nothing else. It holds a lock on the data folder, so that two never run on one
home; its parts are told to stop by the kernel when it is killed, so that none is left behind.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from forestall.server.database.url import part_environment
from forestall.server.home import Address, Home, console_address, intake_address, write_private

FIRST_WAIT_SECONDS = 0.1
LAST_WAIT_SECONDS = 3.0
STEADY_AFTER_SECONDS = 5.0
"""A part that ran this long before it died starts again at once."""
STOP_SECONDS = 10.0
START_SECONDS = 60.0
LOG_BYTES = 5 * 1024 * 1024

PR_SET_PDEATHSIG = 1


class AlreadyRunningError(RuntimeError):
    """Another ``forestall up`` holds this data folder."""


class PartFailedError(RuntimeError):
    """A part did not become ready; carries the end of its log."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the product."""

    name: str
    argv: tuple[str, ...]
    address: Address | None = None
    """Ready when something answers there; None: ready when it has started."""


def parts(*, console: Address, intake: Address) -> dict[str, Part]:
    """The parts of an installation on one machine, in the order they start."""
    python = sys.executable
    granian = (
        python, "-m", "granian", "--interface", "wsgi", "--host", console.host, "--port", str(console.port),
        "--workers", "1", "--blocking-threads", "4", "--no-ws", "--log-level", "warning",
        "forestall.server.wsgi:application",
    )  # fmt: skip
    return {
        "intake": Part("intake", (python, "-m", "forestall.server.intake"), intake),
        "console": Part("console", granian, console),
        "worker": Part("worker", (python, "-m", "forestall.server.worker")),
        "agent": Part("agent", (python, "-m", "forestall.agent.main")),
    }


@dataclass
class _Running:
    part: Part
    process: subprocess.Popen[bytes]
    started: float
    quick_deaths: int = 0
    restarts: int = 0


@dataclass
class Supervisor:
    """Keeps parts running until told to stop."""

    home: Home
    environment: Mapping[str, str]
    say: Callable[[str], None]
    _running: dict[str, _Running] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def start(self, part: Part) -> None:
        """Start a part; PartFailedError when it is not ready within a minute."""
        require_address(part)
        with self._lock:
            self._running[part.name] = _Running(part, self._spawn(part), time.monotonic())
            self._write_state()
        threading.Thread(target=self._keep, args=(part.name,), daemon=True, name=f"keep-{part.name}").start()
        self._wait_until_ready(part)

    def stop(self) -> None:
        """Stop all parts, the agent first and intake last, so that nothing said is lost."""
        self._stopping.set()
        with self._lock:
            running = list(self._running.values())[::-1]
        for one in running:
            if one.process.poll() is None:
                one.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for one in running:
            try:
                one.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.say(f"{one.part.name} did not stop within {STOP_SECONDS:.0f} s and was killed")
                one.process.kill()
                one.process.wait()
        self.home.run.joinpath("parts.json").unlink(missing_ok=True)

    def wait(self) -> None:
        """Until ``stop`` is called from a signal handler."""
        while not self._stopping.is_set():
            # A bounded wait: signals are delivered to the main thread between two of them.
            self._stopping.wait(1.0)

    def request_stop(self) -> None:
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def _spawn(self, part: Part) -> subprocess.Popen[bytes]:
        log = self.home.logs / f"{part.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as file:
            return subprocess.Popen(
                part.argv,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=part_environment(self.home, part.name, self.environment),
                preexec_fn=_die_with_parent,
            )

    def _keep(self, name: str) -> None:
        while not self._stopping.is_set():
            with self._lock:
                one = self._running[name]
            code = one.process.wait()
            if self._stopping.is_set():
                return
            lived = time.monotonic() - one.started
            quick = one.quick_deaths + 1 if lived < STEADY_AFTER_SECONDS else 0
            wait = min(FIRST_WAIT_SECONDS * 2**quick, LAST_WAIT_SECONDS)
            self.say(f"{name} ended ({_ending(code)}) after {lived:.0f} s; starting it again in {wait:.1f} s")
            if self._stopping.wait(wait):
                return
            with self._lock:
                self._running[name] = _Running(
                    one.part, self._spawn(one.part), time.monotonic(), quick, one.restarts + 1
                )
                self._write_state()

    def _wait_until_ready(self, part: Part) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and not self._stopping.is_set():
            with self._lock:
                restarts = self._running[part.name].restarts
            if restarts >= 3:
                break
            if part.address is None or _answers(part.address):
                return
            time.sleep(0.05)
        if not self._stopping.is_set():
            raise PartFailedError(f"{part.name} did not start:\n{_log_end(self.home.logs / f'{part.name}.log')}")

    def _write_state(self) -> None:
        state = {name: {"pid": one.process.pid, "restarts": one.restarts} for name, one in self._running.items()}
        state["supervisor"] = {"pid": os.getpid(), "restarts": 0}
        write_private(self.home.run / "parts.json", json.dumps(state).encode())


def require_address(part: Part) -> None:
    """PartFailedError, naming the setting, when nothing could listen at the part's address."""
    if part.address is None:
        return
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            part.address.host, part.address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as trial:
            # As servers do: an address that was in use a moment ago is free.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        why = "is taken by another program" if taken else f"cannot be listened on ({error.strerror})"
        raise PartFailedError(
            f"{part.name}: {part.address} {why}; set FORESTALL_{part.name.upper()} to another address"
        ) from None


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _ending(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _answers(address: Address) -> bool:
    try:
        with socket.create_connection((address.host, address.port), timeout=1):
            return True
    except OSError:
        return False


def _log_end(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else "(no log)"


@contextmanager
def hold(home: Home) -> Iterator[None]:
    """Hold the data folder; AlreadyRunningError when another supervisor does."""
    home.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock: IO[str] = (home.run / "supervisor.lock").open("a+")
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(str(home.root)) from None
        yield
    finally:
        lock.close()


def running_parts(home: Home) -> dict[str, int]:
    """Name → process id of what runs on this home now; empty when nothing does."""
    try:
        with hold(home):
            return {}
    except AlreadyRunningError:
        try:
            state = json.loads((home.run / "parts.json").read_text())
        except FileNotFoundError:
            return {}
        return {name: int(one["pid"]) for name, one in state.items()}


def supervised_parts() -> dict[str, Part]:
    """The parts at the addresses the environment names."""
    return parts(console=console_address(), intake=intake_address())
