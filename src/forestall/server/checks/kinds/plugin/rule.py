"""Monitoring plugins: their exit code is the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Status
from forestall.server.checks.words import clock, span
from forestall.wire.facts import PluginRun

ANSWERS = {0: Status.PASS, 1: Status.WARN, 2: Status.FAIL, 3: Status.UNKNOWN}
WORDS = {0: "OK", 1: "a warning", 2: "critical", 3: "unknown"}
LATE_ROUNDS = 3
"""An answer older than so many rounds says nothing about now."""
LATE_LEAST = timedelta(minutes=20)


@dataclass(frozen=True, slots=True)
class Policy:
    ignore: tuple[str, ...] = ()
    """Names of plugins that are not judged."""
    warn_words: tuple[str, ...] = ()
    """An OK whose text has one of these words (in any case) warns, as with those the owner named on the device."""


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result a plugin. No document, or one without plugins and gaps: there is nothing of this kind."""
    document = known.facts.plugins
    if document is None:
        return []
    results = {run.name: _result(run, policy, now) for run in document.runs if run.name not in policy.ignore}
    for gap in document.gaps:
        if gap.what == "the plugins":
            # Their settings were refused: whatever was judged before is not known any more, and nothing passes.
            return [Result(Status.UNKNOWN, f"The plugins could not be run: {gap.why}.")]
        name = gap.what.removeprefix("plugin ")
        if name not in policy.ignore:
            results.setdefault(name, Result(Status.UNKNOWN, f"{name}: {gap.why}.", target=name))
    return list(results.values())


def _result(run: PluginRun, policy: Policy, now: datetime) -> Result:
    evidence = (run.command,) if run.command else ()
    late = max(LATE_LEAST, LATE_ROUNDS * timedelta(seconds=run.every_seconds))
    said = run.text or "(no text)"
    first = run.performance[0] if run.performance else None
    value, unit = (first.value, first.unit) if first is not None else (None, "")
    if now - run.at > late:
        reason = f"Last run {span(now - run.at)} ago ({clock(run.at)}); then it said: {said}"
        return Result(Status.UNKNOWN, reason, target=run.name, evidence=evidence)
    if run.exit_code is None:
        reason = f"No answer: {run.trouble or 'it did not end'}."
        return Result(Status.UNKNOWN, reason, target=run.name, evidence=evidence)
    status = ANSWERS.get(run.exit_code, Status.UNKNOWN)
    if run.exit_code not in ANSWERS:
        reason = f"Exit code {run.exit_code} is none of a plugin (0 to 3): {said}"
        return Result(status, reason, target=run.name, evidence=evidence)
    reason = f"{WORDS[run.exit_code].capitalize() if run.exit_code else 'OK'}: {said}"
    if status is Status.PASS:
        word = next(
            (word for word in (*run.warn_words, *policy.warn_words) if word and word.lower() in run.text.lower()), None
        )
        if word is not None:
            status, reason = Status.WARN, f"OK, but the text has the word {word!r}: {said}"
    return Result(status, reason, target=run.name, value=value, unit=unit[:20], evidence=evidence)


def levels(policy: Policy) -> Sequence[Level]:
    return []
