"""Work in a forked child: memory that a moment needs is given back, and a crash stays the child's.

The agent has one thread, so a fork is safe; it takes 1 ms where a new interpreter with its imports takes 60.
The child tells its messages through a pipe and leaves without cleaning up: connections and database of the agent,
which it inherited, are not its own to close.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable

_CHUNK = 65536
_TOLD, _FAILED = 0, 1
_readers: set[int] = set()
"""Reading ends of all children. A child closes them: one that outlives its agent must find its pipe broken."""
Tell = Callable[[bytes], None]


class ApartError(Exception):
    """The work failed in the child; the text is the child's error."""


class Apart:
    """One run of ``work`` in a child, which may tell any number of messages.

    Poll ``fileno()``; when it is readable, ``advance()``; take what came with ``messages()``. Once ``advance()`` is
    true the child has ended, and ``error`` says why when it failed.
    """

    def __init__(self, work: Callable[[Tell], None], *, niceness: int = 0) -> None:
        sys.stderr.flush()
        self._reader, writer = os.pipe()
        _readers.add(self._reader)
        self._buffer = bytearray()
        self._messages: list[bytes] = []
        self._ended = False
        self.error: ApartError | None = None
        self.started = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            _child(work, writer, niceness)
        os.close(writer)

    def fileno(self) -> int:
        return self._reader

    def messages(self) -> list[bytes]:
        """What the child has told since the last call."""
        told, self._messages = self._messages, []
        return told

    def advance(self) -> bool:
        """Take what the child has written; true once it has ended. Blocks while there is nothing to take."""
        if self._ended:
            return True
        part = os.read(self._reader, _CHUNK)
        if part:
            self._buffer += part
            self._cut()
            return False
        os.close(self._reader)
        _readers.discard(self._reader)
        self._ended = True
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if status and self.error is None:
            self.error = ApartError(f"ended by signal {-status}" if status < 0 else "ended early")
        return True

    def end(self) -> None:
        """End the child and all it started, now."""
        if not self._ended:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                # Not yet the leader of its own group.
                os.kill(self.pid, signal.SIGKILL)
            while not self.advance():
                pass

    def _cut(self) -> None:
        while len(self._buffer) >= 5:
            kind, size = self._buffer[0], int.from_bytes(self._buffer[1:5], "big")
            if len(self._buffer) < 5 + size:
                return
            message = bytes(self._buffer[5 : 5 + size])
            del self._buffer[: 5 + size]
            if kind == _FAILED:
                self.error = ApartError(message.decode(errors="replace"))
            else:
                self._messages.append(message)


def run_apart(work: Callable[[], bytes], *, timeout: float) -> bytes:
    """Run ``work`` in a child and wait for its answer. ApartError when it fails or takes longer than ``timeout`` s."""
    child = Apart(lambda tell: tell(work()))
    deadline = child.started + timeout
    while True:
        if not select.select([child], [], [], max(0.0, deadline - time.monotonic()))[0]:
            child.end()
            raise ApartError(f"no answer within {timeout:g} s")
        if child.advance():
            break
    if child.error is not None:
        raise child.error
    return child.messages()[0]


def _child(work: Callable[[Tell], None], writer: int, niceness: int) -> None:
    def tell(message: bytes, kind: int = _TOLD) -> None:
        left = bytes([kind]) + len(message).to_bytes(4, "big") + message
        while left:
            left = left[os.write(writer, left) :]

    status = 1
    try:
        for reader in _readers:
            os.close(reader)
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        if niceness:
            os.nice(niceness)
        work(tell)
        status = 0
    except BaseException as error:  # noqa: BLE001 - whatever it was, the parent hears it
        tell(f"{type(error).__name__}: {error}".encode(), _FAILED)
    finally:
        os._exit(status)
