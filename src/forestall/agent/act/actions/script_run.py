"""``script.run``: run a script that stands in the signed runbook itself. Nothing is ever put into its text.

The text is what the catalogue signed, to the byte. The runbook's typed parameters are in its environment as
``FORESTALL_<NAME>``, so a value can be read and never be code. It runs as ``nobody``, who can gain no rights (no
``sudo``), unless the runbook says ``root``; in an empty folder of its own that is deleted afterwards; its whole process
group ends with the step's timeout. The customer's ``forbid_shells`` refuses it whoever signs.

A script says what it changed by a line ``forestall: changed THING NUMBER`` in its output, which conditions of later
steps (``when``) and the result go by.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.programs import MAX_OUTPUT
from forestall.agent.collect.host import PROGRAM_PATH, Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "script.run"
RISK = RiskClass.DESTRUCTIVE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"interpreter": str, "script": str, "run_as": str}
INTERPRETERS: Mapping[str, tuple[str, ...]] = {
    "sh": (),
    "bash": ("--noprofile", "--norc"),
    "python3": ("-I",),
    "pwsh": ("-NoLogo", "-NoProfile", "-NonInteractive", "-File"),
}
"""Interpreter → what it is told so that no file of the machine's users changes what the script does."""
SUFFIX: Mapping[str, str] = {"pwsh": ".ps1", "python3": ".py"}
USERS = ("nobody", "root")
MAX_WRITTEN = 16 * 1024 * 1024
"""Most bytes of output: a script that writes more is ended. The last 8 kB are kept."""
POLL_SECONDS = 0.05
_NO_NEW_PRIVILEGES = 38  # prctl(2): PR_SET_NO_NEW_PRIVS
_CHANGED = re.compile(r"^forestall: changed ([a-z][a-z0-9_]{0,39}) (\d{1,12})$", re.MULTILINE)
_libc = ctypes.CDLL(None, use_errno=True)


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """``interpreter`` one of ``INTERPRETERS``, ``run_as`` one of ``USERS``."""
    interpreter, script, user = str(args["interpreter"]), str(args["script"]), str(args["run_as"])
    if interpreter not in INTERPRETERS:
        raise ActionFailed("argument_wrong", f"interpreter: {interpreter!r} is none of {', '.join(INTERPRETERS)}")
    if user not in USERS:
        raise ActionFailed("argument_wrong", f"run_as: {user!r} is none of {', '.join(USERS)}")
    if not script.strip() or "\0" in script:
        raise ActionFailed("argument_wrong", "script: it is empty, or holds a NUL character")
    program = host.find_program(interpreter)
    if program is None:
        raise ActionFailed("program_missing", f"{interpreter} is not installed")
    lines = script.count("\n") + (not script.endswith("\n"))
    what = f"a {interpreter} script of {lines} line{'s' * (lines != 1)} as {user}"
    if ctx.dry_run:
        return StepResult(action=NAME, ok=True, summary=f"would run {what}")
    if os.geteuid() != 0:
        raise ActionFailed("not_root", "scripts run only where the agent is root: else they could read its keys")
    folder = Path(tempfile.mkdtemp(prefix="forestall-script-"))
    try:
        output, exit_code = _run(program, interpreter, script, user, folder, ctx)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    changed = {name: int(number) for name, number in _CHANGED.findall(output)}
    if exit_code != 0:
        last = next((line for line in reversed(output.splitlines()) if line.strip()), "no output")
        raise ActionFailed("script_failed", f"{what} ended with {exit_code}: {last}", output=output, changed=changed)
    return StepResult(action=NAME, ok=True, summary=f"ran {what}", output=output, changed=changed)


def _run(program: str, interpreter: str, script: str, user: str, folder: Path, ctx: Context) -> tuple[str, int]:
    """The end of the output and the exit code. ActionFailed ``timed_out``, ``output_too_large``, ``program_denied``."""
    account = pwd.getpwnam(user)
    file, work = folder / f"script{SUFFIX.get(interpreter, '')}", folder / "work"
    file.write_bytes(script.encode())
    file.chmod(0o400)
    work.mkdir(mode=0o700)
    for path in (file, work, folder):
        os.chown(path, account.pw_uid, account.pw_gid)
    variables = {
        "PATH": PROGRAM_PATH,
        "LC_ALL": "C.UTF-8",
        "HOME": str(work),
        "TMPDIR": str(work),
        **ctx.environment,
        **{f"FORESTALL_{name.upper()}": _as_text(value) for name, value in ctx.parameters.items()},
    }
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                [program, *INTERPRETERS[interpreter], str(file)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=variables,
                cwd=work,
                user=account.pw_uid,
                group=account.pw_gid,
                extra_groups=(),
                umask=0o077,
                start_new_session=True,  # so that what it starts ends with it
                preexec_fn=_no_new_privileges if user != "root" else None,
            )
        except OSError as error:
            raise ActionFailed("program_denied", f"{program} cannot be run: {error.strerror}") from None
        try:
            why = _wait(process, output.fileno(), ctx)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        text = _tail(output.fileno())
        if why:
            sentence = {
                "timed_out": f"the script was ended after {ctx.timeout_seconds:g} s",
                "output_too_large": f"the script was ended: it wrote more than {MAX_WRITTEN} bytes",
            }[why]
            raise ActionFailed(why, sentence, output=text)
        return text, process.returncode


def _wait(process: subprocess.Popen[bytes], output: int, ctx: Context) -> str:
    """Wait for the end; the code of why it may not go on, or empty."""
    while process.poll() is None:
        if ctx.seconds_left <= 0:
            return "timed_out"
        if os.fstat(output).st_size > MAX_WRITTEN:
            return "output_too_large"
        time.sleep(POLL_SECONDS)
    return ""


def _tail(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, MAX_OUTPUT, max(0, size - MAX_OUTPUT)).decode(errors="replace")


def _as_text(value: ParameterValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _no_new_privileges() -> None:
    if _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no new privileges")
