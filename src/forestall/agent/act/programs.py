"""Running a program for an action: no shell, no input, output into a file, an end after the timeout.

Output goes into a file and not through a pipe, because a service that an init script starts keeps the script's
output open: a pipe would only end with the service.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect.host import PROGRAM_PATH

_START_SECONDS = 1.0
"""A program that has not ended by then is at work."""
MAX_OUTPUT = 8 * 1024
"""Bytes of output kept: the last ones, where programs say what went wrong."""


@dataclass(frozen=True, slots=True)
class Ran:
    exit_code: int
    output: str
    """The end of what it wrote to standard output and standard error, in order."""


def run_program(
    argv: Sequence[str], ctx: Context, *, environment: Mapping[str, str] | None = None, looks_only: bool = False
) -> Ran:
    """Run a program to its end. ActionFailed ``program_missing``, ``program_denied`` or ``timed_out``.

    ``looks_only``: it changes nothing. In a dry run no other program is started: ActionFailed ``dry_run_stopped``.
    """
    if ctx.dry_run and not looks_only:
        raise ActionFailed("dry_run_stopped", f"this is a dry run: {argv[0]} was not started")
    variables = {
        "PATH": PROGRAM_PATH,
        "LC_ALL": "C.UTF-8",
        "HOME": os.environ.get("HOME", "/"),
        **ctx.environment,
        **(environment or {}),
    }
    if ctx.places.root != "/":
        argv = ["chroot", ctx.places.root, *argv]
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=variables,
                cwd="/",
                start_new_session=True,  # so that on timeout its children end with it
            )
        except FileNotFoundError:
            raise ActionFailed("program_missing", f"{argv[0]} is not installed") from None
        except OSError as error:
            raise ActionFailed("program_denied", f"{argv[0]} cannot be run: {error.strerror}") from None
        try:
            process.wait(timeout=ctx.seconds_left)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise ActionFailed(
                "timed_out", f"{argv[0]} was ended after {ctx.timeout_seconds:g} s", output=_tail(output.fileno())
            ) from None
        return Ran(exit_code=process.returncode, output=_tail(output.fileno()))


def start_program(argv: Sequence[str], ctx: Context) -> None:
    """Start a program that goes on after the run. ActionFailed as ``run_program``, or when it ends badly at once."""
    if ctx.dry_run:
        raise ActionFailed("dry_run_stopped", f"this is a dry run: {argv[0]} was not started")
    variables = {"PATH": PROGRAM_PATH, "LC_ALL": "C.UTF-8", **ctx.environment}
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=variables,
            cwd="/",
            start_new_session=True,
        )
    except FileNotFoundError:
        raise ActionFailed("program_missing", f"{argv[0]} is not installed") from None
    except OSError as error:
        raise ActionFailed("program_denied", f"{argv[0]} cannot be run: {error.strerror}") from None
    try:
        exit_code = process.wait(timeout=_START_SECONDS)
    except subprocess.TimeoutExpired:
        return
    if exit_code != 0:
        raise ActionFailed("program_failed", f"{argv[0]} ended with {exit_code}")


def _tail(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, MAX_OUTPUT, max(0, size - MAX_OUTPUT)).decode(errors="replace")
