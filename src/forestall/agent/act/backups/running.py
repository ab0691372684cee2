"""Programs of a restore test: paced, watched, ended with whoever started them, and never given a password in words.

Unlike ``act.programs`` it keeps standard output apart, slows a program down to a rate, and can run it as another user
without a network: what a dump holds is somebody else's program.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import pwd
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect.host import PROGRAM_PATH

MAX_OUTPUT = 256 * 1024 * 1024
"""Bytes of standard output that are read: a list of a million files."""
MAX_ERRORS = 16 * 1024
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWNS, _CLONE_NEWNET, _CLONE_NEWIPC = 0x00020000, 0x40000000, 0x08000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
SHOWN_AT = "/mnt"
"""Where a program that is cut off sees the scratch folder: the agent's own folder is closed to its user."""
_LOOK_SECONDS = 0.02
_MOST_LOOK_SECONDS = 0.25
USERS = ("forestall-restore", "nobody")
"""Whom a private database server runs as when the agent is root: the first that exists. Never the user of the real
server, whose files what a dump brings along could then reach."""


@dataclass(frozen=True, slots=True)
class User:
    uid: int
    gid: int
    name: str


@dataclass(frozen=True, slots=True)
class Done:
    """What a program left behind."""

    exit_code: int
    output: bytes
    errors: str
    """The end of its standard error."""

    @property
    def words(self) -> str:
        """Both, as text: what it complained of may stand in either."""
        return f"{self.errors}\n{self.output[-MAX_ERRORS:].decode(errors='replace')}"


@dataclass(slots=True)
class Pace:
    """How fast a program may read or write, and how much it may write."""

    bytes_per_second: int = 0
    """0: as fast as it can."""
    watch: Callable[[int], None] | None = None
    """Called with the bytes written so far, a few times a second; raises to end the program."""


def unprivileged_user() -> User | None:
    """Whom a private server runs as; None: this process is no root and the server runs as itself."""
    if os.geteuid() != 0:
        return None
    for name in USERS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return User(uid=found.pw_uid, gid=found.pw_gid, name=name)
    raise ActionFailed("user_missing", f"no user to run a database as ({' or '.join(USERS)}): root may not")


def run(
    argv: Sequence[str],
    ctx: Context,
    *,
    environment: Mapping[str, str] | None = None,
    folder: str = "/",
    user: User | None = None,
    cut_off: bool = False,
    shown: Path | None = None,
    given: Path | None = None,
    output: IO[bytes] | None = None,
    pace: Pace | None = None,
) -> Done:
    """Run a program to its end. ActionFailed ``program_missing``, ``program_denied`` or ``timed_out``.

    ``cut_off``: without a network; ``shown``: a folder that it then sees at ``SHOWN_AT``. ``given``: a file for its
    standard input. ``output``: a file for its standard output, which is then not in the answer.
    """
    with tempfile.TemporaryFile() as kept, tempfile.TemporaryFile() as errors:
        with started(
            argv,
            ctx,
            environment=environment,
            folder=folder,
            user=user,
            cut_off=cut_off,
            shown=shown,
            given=given,
            output=output or kept,
            errors=errors,
        ) as process:
            _wait(process, ctx, pace or Pace(), argv[0])
        kept.seek(0)
        return Done(process.returncode, kept.read(MAX_OUTPUT), _tail(errors))


@contextmanager
def started(
    argv: Sequence[str],
    ctx: Context,
    *,
    environment: Mapping[str, str] | None = None,
    folder: str = "/",
    user: User | None = None,
    cut_off: bool = False,
    shown: Path | None = None,
    given: Path | None = None,
    output: IO[bytes] | None = None,
    errors: IO[bytes] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs; when the block is left, however it is left, the program and its group are ended."""
    variables = {
        "PATH": PROGRAM_PATH,
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "HOME": os.environ.get("HOME", "/") if user is None else "/nonexistent",
        **ctx.environment,
        **(environment or {}),
    }
    entrance: IO[bytes] | int = given.open("rb") if given is not None else subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=entrance,
            stdout=output if output is not None else subprocess.DEVNULL,
            stderr=errors if errors is not None else subprocess.DEVNULL,
            env=variables,
            cwd=folder,
            start_new_session=True,
            preexec_fn=_prepare(user, cut_off=cut_off, shown=shown),
        )
    except FileNotFoundError:
        raise ActionFailed("program_missing", f"{argv[0]} is not installed") from None
    except OSError as error:
        raise ActionFailed("program_denied", f"{argv[0]} cannot be run: {error.strerror}") from None
    finally:
        if not isinstance(entrance, int):
            entrance.close()
    try:
        yield process
    finally:
        _end(process)


@functools.cache
def can_cut_off() -> bool:
    """Whether a program can be started without any network: root outside a narrow container."""
    if os.geteuid() != 0:
        return False
    try:
        subprocess.run(["true"], preexec_fn=_prepare(None, cut_off=True, shown=Path("/")), check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _prepare(user: User | None, *, cut_off: bool, shown: Path | None) -> Callable[[], None]:
    """What a program's process does before it becomes the program."""
    libc = ctypes.CDLL(None, use_errno=True)

    def must(answer: int, what: str) -> None:
        if answer != 0:
            raise OSError(ctypes.get_errno(), what)

    def prepare() -> None:
        if cut_off:
            must(libc.unshare(_CLONE_NEWNET | _CLONE_NEWIPC), "unshare")
        if cut_off and shown is not None:
            must(libc.unshare(_CLONE_NEWNS), "unshare")
            must(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "mount")
            must(libc.mount(os.fsencode(shown), SHOWN_AT.encode(), None, _MS_BIND, None), "mount")
        if user is not None:
            os.setgroups([])
            os.setresgid(user.gid, user.gid, user.gid)
            os.setresuid(user.uid, user.uid, user.uid)
            libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        # After the change of user, which takes it back: whoever started the program must not leave it behind.
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    return prepare


def _wait(process: subprocess.Popen[bytes], ctx: Context, pace: Pace, name: str) -> None:
    """Until it has ended by itself; ActionFailed ``timed_out``, or what the watch raises."""
    begun = time.monotonic()
    look = _LOOK_SECONDS
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=min(look, max(0.001, ctx.seconds_left)))
            break
        look = min(look * 1.5, _MOST_LOOK_SECONDS)
        if ctx.seconds_left <= 0:
            raise ActionFailed("timed_out", f"{name} was ended after {ctx.timeout_seconds:g} s")
        read, written = _moved(process.pid)
        if pace.watch is not None:
            pace.watch(written)
        if pace.bytes_per_second:
            ahead = max(read, written) / pace.bytes_per_second - (time.monotonic() - begun)
            if ahead > _LOOK_SECONDS:
                _hold(process, min(ahead, ctx.seconds_left, 5.0))


def _hold(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Let the program stand still for a while."""
    try:
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(seconds)
    finally:
        os.killpg(process.pid, signal.SIGCONT)


def _moved(pid: int) -> tuple[int, int]:
    """Bytes that a process has read and written so far, in files and connections; 0 where that cannot be told."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0, 0  # it has just ended, or there is no such file: the space is watched all the same
    counted = dict(line.split(": ") for line in lines)
    return int(counted.get("rchar", 0)), int(counted.get("wchar", 0))


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        for signal_, seconds in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 10.0)):
            try:
                os.killpg(process.pid, signal.SIGCONT)
                os.killpg(process.pid, signal_)
                process.wait(timeout=seconds)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
            break
        process.wait()
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing is left
        os.killpg(process.pid, signal.SIGKILL)  # what it started and left behind


def _tail(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - MAX_ERRORS))
    return file.read().decode(errors="replace")
