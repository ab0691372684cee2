"""``diagnostics.collect``: what a person would look at first on a machine that is in trouble. Changes nothing.

A job and not a check, because lists of processes and lines of logs are more than a server should have of every machine
every day: it is asked for, signed, and on record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.programs import run_program
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "diagnostics.collect"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"about": str}
MOST_LINES = 25
"""Of one program's output."""
LOOKS: Mapping[str, Sequence[tuple[str, ...]]] = {
    "load": (("uptime",), ("ps", "-eo", "pid,user,pcpu,pmem,etime,comm", "--sort=-pcpu")),
    "memory": (("free", "-m"), ("ps", "-eo", "pid,user,pmem,rss,etime,comm", "--sort=-rss")),
    "disk": (("df", "-hPT"), ("df", "-iP"), ("findmnt", "--df", "--real")),
    "network": (("ip", "-brief", "address"), ("ip", "route"), ("ss", "-tulnH")),
    "log": (("journalctl", "--no-pager", "-p", "err", "-n", "25"), ("dmesg", "--level=emerg,alert,crit,err")),
}
"""Subject → programs that look, with options that show names of programs and never their arguments."""


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """``about``: one of ``LOOKS``, or ``all``."""
    about = str(args["about"])
    if about != "all" and about not in LOOKS:
        raise ActionFailed("argument_wrong", f"about: {about!r} is none of all, {', '.join(LOOKS)}")
    subjects = list(LOOKS) if about == "all" else [about]
    parts: list[str] = []
    missing: list[str] = []
    for subject in subjects:
        for name, *options in LOOKS[subject]:
            program = host.find_program(name)
            if program is None:
                missing.append(name)
                continue
            ran = run_program([program, *options], ctx, looks_only=True)
            lines = ran.output.splitlines()
            more = [f"… {len(lines) - MOST_LINES} more lines"] if len(lines) > MOST_LINES else []
            parts.append("\n".join([f"$ {name} {' '.join(options)}".rstrip(), *lines[:MOST_LINES], *more]))
    if not parts:
        raise ActionFailed("program_missing", f"none of these is installed: {', '.join(missing)}")
    left_out = f"; not installed: {', '.join(sorted(set(missing)))}" if missing else ""
    return StepResult(
        action=NAME,
        ok=True,
        summary=f"looked at {', '.join(subjects)} with {len(parts)} programs{left_out}",
        output="\n\n".join(parts),
    )
