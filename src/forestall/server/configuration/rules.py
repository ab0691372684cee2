"""Decisions about baselines without I/O: which level holds, how results add up, how they meet other tools'."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from forestall.server.configuration.controls import ROLES, Control, Judged, Outcome

LEVEL_BY_ITSELF = 1
"""Level of a device for which nobody chose one."""


class ConfigurationError(ValueError):
    """A change that makes no sense; the message names the value."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The level that holds for a device, and on whose word."""

    level: int
    why: str


def level_of(*, role: str, device: str, assigned: Iterable[tuple[str, str, int]]) -> Chosen:
    """The level for a device of this role: what was chosen for the device itself, else for its role at the client, else
    for the client. ``assigned``: role, device id, level of what is in force at its client."""
    if role not in ROLES:
        return Chosen(0, f"there is no baseline for the role {role}")
    best: tuple[int, int, str] | None = None
    for its_role, its_device, level in assigned:
        if its_device:
            rank, why = (3, "chosen for this device") if its_device == device else (0, "")
        elif its_role:
            rank, why = (2, f"chosen for the role {role}") if its_role == role else (0, "")
        else:
            rank, why = 1, "chosen for the client"
        if rank and (best is None or rank > best[0]):
            best = (rank, level, why)
    return Chosen(best[1], best[2]) if best else Chosen(LEVEL_BY_ITSELF, "holds until somebody chooses")


@dataclass(frozen=True, slots=True)
class Tally:
    passed: int
    failed: int
    deviating: int
    unknown: int
    not_applicable: int

    @property
    def percent(self) -> int | None:
        """Share of what applies that passes or deviates with leave, rounded down; unknown counts against it."""
        of = self.passed + self.failed + self.deviating + self.unknown
        return None if not of else (self.passed + self.deviating) * 100 // of


def tally(results: Iterable[Judged], deviations: Collection[str]) -> Tally:
    """How many of each; ``deviations``: controls whose failure is accepted."""
    counts = dict.fromkeys(("passed", "failed", "deviating", "unknown", "not_applicable"), 0)
    for one in results:
        if one.outcome is Outcome.FAIL:
            counts["deviating" if one.control in deviations else "failed"] += 1
        else:
            counts["passed" if one.outcome is Outcome.PASS else one.outcome.value] += 1
    return Tally(**counts)


BAD = frozenset({"fail", "warning", "suggestion"})


@dataclass(frozen=True, slots=True)
class Overlap:
    """How the findings of another tool and the controls meet on one device."""

    agree: tuple[tuple[str, str], ...]
    """Control and test of the tool: both find fault."""
    only_here: tuple[str, ...]
    """Controls that fail and whose tests in the tool ran and found nothing wrong."""
    only_there: tuple[tuple[str, str], ...]
    """Control that passes (or has no application), and test that finds fault all the same."""
    no_counterpart: tuple[str, ...]
    """Tests that found fault and that no control looks at."""
    not_known_there: tuple[str, ...]
    """Controls that fail and that no test of the tool looked at."""


def overlap(
    *, tool: str, findings: Sequence[Mapping[str, str]], results: Sequence[Judged], known: Mapping[str, Control]
) -> Overlap:
    """Compare what another tool found with the controls' results."""
    bad = {_short(tool, one["id"]) for one in findings if one["result"] in BAD}
    ran = {_short(tool, one["id"]) for one in findings if one["result"] in {*BAD, "pass"}}
    agree: list[tuple[str, str]] = []
    only_here: list[str] = []
    only_there: list[tuple[str, str]] = []
    not_known: list[str] = []
    covered: set[str] = set()
    for one in results:
        if one.control not in known:
            continue
        tests = known[one.control].lynis if tool == "lynis" else known[one.control].openscap
        hits = [test for test in tests if test in bad]
        covered.update(hits)
        if one.outcome is Outcome.FAIL and hits:
            agree.append((one.control, hits[0]))
        elif one.outcome is Outcome.FAIL and ran.intersection(tests):
            only_here.append(one.control)
        elif one.outcome is Outcome.FAIL:
            not_known.append(one.control)
        elif hits:
            only_there.append((one.control, hits[0]))
    agreeing = {test for _, test in agree}
    return Overlap(
        agree=tuple(agree),
        only_here=tuple(only_here),
        # A test that looks at many things and is shared with a control that fails is right about that one.
        only_there=tuple(pair for pair in only_there if pair[1] not in agreeing),
        no_counterpart=tuple(sorted(bad - covered)),
        not_known_there=tuple(not_known),
    )


def _short(tool: str, test: str) -> str:
    return test.removeprefix("xccdf_org.ssgproject.content_rule_") if tool == "openscap" else test
