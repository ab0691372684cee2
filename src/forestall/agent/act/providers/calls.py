"""How the providers call their programs: looking, changing, and what a failed program's words mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.programs import Ran, run_program
from forestall.agent.act.providers import Wanted
from forestall.agent.collect.host import CommandResult, Host, HostError

LOOK_SECONDS = 300.0
"""For a simulation, on a slow machine."""
MOST_SINGLE_SIMULATIONS = 60

Failures = tuple[tuple[str, str], ...]
"""Pattern in a program's output → code, the most telling first."""


def look(argv: Sequence[str], host: Host, environment: Mapping[str, str] | None = None) -> CommandResult:
    """Run what changes nothing. ActionFailed ``list_failed`` when it cannot run."""
    try:
        return host.run(argv, timeout=LOOK_SECONDS, environment=environment)
    except HostError as error:
        raise ActionFailed("list_failed", f"{argv[0]}: {error.why}") from None


def change(
    argv: Sequence[str],
    ctx: Context,
    *,
    failures: Failures,
    otherwise: str,
    good: Sequence[int] = (0,),
    busy: str = "",
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run what changes packages, and return the end of its output. ActionFailed when it did not end with ``good``.

    ``busy``: a pattern of what the program says while it waits for another's lock; a run that timed out so is
    ``manager_busy``.
    """
    try:
        ran = run_program(argv, ctx, environment=environment)
    except ActionFailed as failed:
        if failed.code == "timed_out" and busy and re.search(busy, failed.output[-2000:]):
            raise ActionFailed(
                "manager_busy", f"{argv[0]} waited for another package manager", output=failed.output
            ) from None
        raise
    if ran.exit_code not in good:
        code = next((code for pattern, code in failures if re.search(pattern, ran.output)), otherwise)
        raise ActionFailed(code, f"{argv[0]}: {sentence(ran)}", output=ran.output)
    return ran.output


def sentence(ran: Ran | CommandResult) -> str:
    """The lines in which a program complains, one after the other; its last line when none looks like a complaint."""
    text = ran.output if isinstance(ran, Ran) else f"{ran.stdout}\n{ran.stderr}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if re.match(r"(?i)(error|problem|fatal|warning: failed|no provider|failed)\b", line)]
    return "; ".join(dict.fromkeys(said or lines[-1:]))[:600] or f"ended with {ran.exit_code}"


def impossible_one_by_one(
    wanted: Sequence[Wanted], ctx: Context, why_not: Callable[[Sequence[Wanted]], str]
) -> dict[Wanted, str]:
    """Those that cannot be installed: all together are tried first, then each with those that were found good."""
    if not wanted or not why_not(wanted):
        return {}
    good: list[Wanted] = []
    found: dict[Wanted, str] = {}
    for number, each in enumerate(wanted):
        ctx.require_time()
        if number >= MOST_SINGLE_SIMULATIONS:
            found[each] = "too many packages stand in each other's way to try them one by one"
        elif why := why_not([*good, each]):
            found[each] = why
        else:
            good.append(each)
    return found
