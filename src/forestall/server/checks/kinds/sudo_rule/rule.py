"""What sudo lets people do, and what that amounts to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import count, listing
from forestall.wire.facts import SudoRule

ESCAPES = frozenset({
    "ash", "awk", "bash", "busybox", "csh", "dash", "docker", "ed", "emacs", "env", "expect", "find", "gawk", "gdb",
    "git", "ksh", "less", "lua", "man", "mawk", "more", "mount", "nano", "nmap", "node", "nsenter", "perl", "php",
    "pip", "python", "python3", "rsync", "ruby", "screen", "sed", "sh", "ssh", "strace", "su", "tar", "tee", "tmux",
    "unshare", "vi", "view", "vim", "watch", "xargs", "zip", "zsh",
})  # fmt: skip
"""Programs that start others or write any file: who runs one as root is root."""


@dataclass(frozen=True, slots=True)
class Policy:
    allow_no_password: bool = False
    """Everything without a password is meant (say, for automation whose keys are guarded elsewhere)."""


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result for each rule that goes too far (or did), and one (no target) for the others together."""
    document = known.facts.access
    assert document is not None  # noqa: S101 - judge_kind sees to it
    if document.sudo_rules is None:
        why = next((gap.why for gap in document.gaps if "sudo" in gap.what), "they could not be read")
        return [Result(Status.UNKNOWN, f"Sudo's rules cannot be told: {why}.", remedy="Reading them needs root.")]
    results: dict[str, Result] = {}
    sound = 0
    for rule in document.sudo:
        target = f"{rule.who}: {', '.join(rule.commands)}"[:200]
        found = _far(rule, policy)
        if found is None:
            sound += 1
            if target in previous:
                results.setdefault(target, Result(Status.PASS, f"{_said(rule)}.", target=target))
            continue
        status, risk, why = found
        evidence = (rule.source, rule.line) if rule.source else (rule.line,)
        results[target] = Result(status, f"{_said(rule)}: {why}", target=target, risk=risk, evidence=evidence)
    for gap in document.gaps:
        if gap.what.startswith("sudo rules in"):
            results[gap.what] = Result(Status.UNKNOWN, f"The {gap.what} could not be read: {gap.why}.", target=gap.what)
    found_all = list(results.values())
    if sound:
        gives, seems = ("gives", "it seems") if sound == 1 else ("give", "they seem")
        said = f"{count(sound, 'permission')} of sudo {gives} what {seems} to."
        found_all.append(Result(Status.PASS, said, value=sound, unit="permissions"))
    return found_all


def _said(rule: SudoRule) -> str:
    free = " without a password" if rule.no_password else ""
    as_whom = f" as {rule.run_as}" if rule.run_as not in ("", "root") else ""
    return f"{rule.who} may run {listing(rule.commands)}{as_whom}{free}"


def _far(rule: SudoRule, policy: Policy) -> tuple[Status, Risk, str] | None:
    as_root = rule.run_as == "" or any(one.strip() in ("ALL", "root", "#0") for one in rule.run_as.split(","))
    if rule.who in ("root", "#0") or not as_root:
        return None
    everything = "ALL" in rule.commands
    if rule.who == "ALL" and everything:
        return Status.FAIL, Risk.CRITICAL, "every account is an administrator."
    if everything:
        if rule.no_password and not policy.allow_no_password:
            return Status.WARN, Risk.MEDIUM, "whoever gets hold of the session is root."
        return None
    ways = [one for one in rule.commands if not one.startswith("!") and _escapes(one)]
    if ways:
        return Status.WARN, Risk.MEDIUM, f"{listing(ways)} {'leads' if len(ways) == 1 else 'lead'} to a shell as root."
    if any(one.startswith("!") for one in rule.commands):
        return Status.WARN, Risk.LOW, "what is taken away by ! is easily got round by a copy of the program."
    return None


def _escapes(command: str) -> bool:
    program, _, arguments = command.partition(" ")
    name = program.rpartition("/")[2]
    if "*" in program or program.endswith("/"):
        return True
    # With fixed arguments, too: an editor of one file still starts a shell, an interpreter runs what is written there.
    return (
        name.rstrip("0123456789.") in ESCAPES or name in ESCAPES or (name == "systemctl" and arguments.strip() == "*")
    )


def levels(policy: Policy) -> Sequence[Level]:
    return []
