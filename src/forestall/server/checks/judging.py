"""Judging one kind: the rule, and around it what holds for all rules."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.result import Known, Result, Status
from forestall.server.checks.words import clock, span

log = logging.getLogger(__name__)

AFFIRMED_WITHIN = timedelta(days=2)
"""Agents re-affirm each document daily; twice that, and it counts as no longer collected."""


def judge_kind(
    kind: CheckKind, known: Known, policy: Any, now: datetime, previous: Mapping[str, Status]
) -> list[Result]:
    """The results of ``kind``, in the rule's order, one a target.

    - A document that was never received: unknown, naming it.
    - Input older than twice the cadence: the rule's results, each turned stale, with what was so then.
    - An exception in the rule: unknown with the error, and the log has the rest. Fail closed: what could not be
      judged never passes.
    - Nothing but unknowns: every target judged before is unknown too. That a volume or socket cannot be seen any more
      does not mean that it is gone.
    - A target that a person accepted passes, and says what was accepted.
    """
    missing = [name for name in kind.rests_on if known.facts.get(name) is None]
    if missing:
        what = " and ".join(f"the {name} document" for name in missing)
        return _unknown(f"Not collected yet: {what} has not been received.", previous)
    try:
        results = list(kind.judge(known, policy, now, previous))
        _require_unique_targets(kind, results)
    except Exception as error:
        log.exception("check kind %s could not judge", kind.slug)
        return _unknown(f"Could not be judged: {type(error).__name__}: {error}", previous)
    if results and all(result.status is Status.UNKNOWN for result in results):
        seen = {result.target for result in results}
        # The empty target was the place of "not collected yet"; once there are targets it has had its time.
        results += [replace(results[0], target=target) for target in previous if target and target not in seen]
    results = [_with_sources(kind, known, result) for result in results]
    why = None if kind.about_link else _stale_because(kind, known, now)
    if why:
        if not results:
            results = [Result(Status.STALE, "", target=target) for target in previous]
        return [_stale(result, why) for result in results]
    return [_accepted(kind, known, result) for result in results]


def _unknown(reason: str, previous: Mapping[str, Status]) -> list[Result]:
    return [Result(Status.UNKNOWN, reason, target=target) for target in previous or ("",)]


def _require_unique_targets(kind: CheckKind, results: Sequence[Result]) -> None:
    targets = [result.target for result in results]
    twice = next((target for target in targets if targets.count(target) > 1), None)
    if twice is not None:
        raise ValueError(f"two results for the target {twice!r} of {kind.slug}")


def _with_sources(kind: CheckKind, known: Known, result: Result) -> Result:
    """Evidence of a result that names none itself: the sources of the documents it rests on."""
    if result.evidence:
        return result
    sources: dict[str, None] = {}
    for name in kind.rests_on:
        document = known.facts.get(name)
        sources.update(dict.fromkeys(document.sources if document else ()))
    return replace(result, evidence=(*sources, *kind.metrics))


def _stale_because(kind: CheckKind, known: Known, now: datetime) -> str | None:
    limit = timedelta(seconds=2 * kind.cadence_seconds)
    if known.last_check_in_at is not None and now - known.last_check_in_at > limit:
        return (
            f"Nothing heard from the device for {span(now - known.last_check_in_at)} "
            f"(since {clock(known.last_check_in_at)})."
        )
    for name in kind.rests_on:
        collected = known.collected_at.get(name)
        if collected is not None and now - collected > max(limit, AFFIRMED_WITHIN):
            return f"The {name} document was last collected {span(now - collected)} ago ({clock(collected)})."
    if kind.metrics:
        newest = max((series.last_at for name, series in known.samples.items() if series.last_at is not None
                      and name.partition("{")[0] in kind.metrics), default=None)  # fmt: skip
        if newest is not None and now.timestamp() - newest > limit.total_seconds():
            return f"The newest sample is {span(now.timestamp() - newest)} old."
    return None


def _stale(result: Result, why: str) -> Result:
    then = f" Then: {result.reason}" if result.reason else ""
    return replace(result, status=Status.STALE, reason=why + then)


def _accepted(kind: CheckKind, known: Known, result: Result) -> Result:
    if kind.acceptable and result.status.is_problem and f"{kind.slug}:{result.target}" in known.accepted:
        return replace(result, status=Status.PASS, reason=f"Accepted as it is: {result.reason}", remedy="")
    return result
