"""``updates.check``: whether the machine may be updated now. It changes nothing; it waits for a manager at work."""

from __future__ import annotations

from collections.abc import Mapping

from forestall.agent.act import packages
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.sweep import size_in_words
from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.readiness import power, sessions
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "updates.check"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"manager": str, "least_free_mb": int, "on_battery": str, "sessions": str}
FOLDERS = ("/", "/usr", "/var", "/var/cache", "/boot")
"""Where an update writes. Each file system below them counts once."""
BOOT_MB = 100
"""Enough on a /boot of its own, which is small and holds kernels alone: one kernel and its first file system."""
PATTERNS = {"on_battery": ("block", "allow"), "sessions": ("ignore", "block")}


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """``on_battery``: ``block`` or ``allow``; ``sessions``: ``block`` or ``ignore`` people who are signed in.

    Needs no network. What cannot be told (no battery's state, no list of sessions) blocks nothing.
    """
    for name, known in PATTERNS.items():
        if args[name] not in known:
            raise ActionFailed("argument_wrong", f"{name}: {args[name]!r} is none of {', '.join(known)}")
    notes = Notes(host)
    _, reader = packages.manager_of(str(args["manager"]), "install", host)
    waited = packages.wait_until_free(host, ctx)
    packages.require_finished(packages.reading_of(reader, host))
    spaces = _require_space(int(args["least_free_mb"]), host)
    battery, level = power(notes)
    if battery and args["on_battery"] == "block":
        raise ActionFailed("on_battery", f"the machine runs on battery ({level:g} %)" if level else "runs on battery")
    people = sessions(notes)
    if people and args["sessions"] == "block":
        raise ActionFailed("sessions_open", f"signed in: {packages.some(people)}")
    told = [f"fit to be updated: {spaces}", "on battery" if battery else "", waited]
    told.append(f"signed in: {packages.some(people)}" if people else "")
    return StepResult(action=NAME, ok=True, summary="; ".join(part for part in told if part))


def _require_space(least_mb: int, host: Host) -> str:
    if least_mb < 0:
        raise ActionFailed("argument_wrong", f"least_free_mb: {least_mb}, expected 0 or more")
    told: dict[tuple[int, int, int], str] = {}
    for folder in FOLDERS:
        try:
            space = host.space(folder)
        except HostError:
            continue  # not there: it is no file system of its own
        key = (space.total_bytes, space.free_bytes, space.total_inodes)
        if key in told:
            continue
        needed = min(least_mb, BOOT_MB) if folder == "/boot" else least_mb
        told[key] = f"{size_in_words(space.free_bytes)} free on {folder}"
        if space.free_bytes < needed * 1_000_000:
            raise ActionFailed("no_space", f"{told[key]}, {needed} MB are needed")
    return ", ".join(told.values())
