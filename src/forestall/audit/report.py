"""Collect, judge, rank: one report of what is true of this machine now."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import forestall
from forestall.agent.collect import COLLECTORS, Collected, Failed, Host, Started, collect_all
from forestall.agent.collect.samples import SampleReader
from forestall.server.checks.judging import judge_kind
from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds import CHECK_KINDS
from forestall.server.checks.result import Known, Result, Risk, Series, Status
from forestall.server.checks.words import count, size
from forestall.wire.facts import Facts

SAMPLE_SECONDS = 1.0
"""Between the two readings that make rates: long enough for a meaningful share of CPU time."""
STEPS = len(COLLECTORS) + 1
"""Collectors, and the second reading of samples."""

Progress = Callable[[str, int], None]
"""Takes what is looked at now, and how many steps are done."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A judgement of the audit, with the words of its kind."""

    kind: CheckKind
    result: Result

    @property
    def risk(self) -> Risk:
        return self.result.risk or self.kind.risk

    @property
    def title(self) -> str:
        """``Disk space: /var``."""
        return f"{self.kind.texts.title}: {self.result.target}" if self.result.target else self.kind.texts.title

    @property
    def remedy(self) -> str:
        return self.result.remedy or self.kind.texts.remedy


@dataclass(frozen=True, slots=True)
class NotSeen:
    """Something the audit could not look at."""

    what: str
    why: str

    @property
    def needs_root(self) -> bool:
        return "needs root" in self.why


@dataclass(frozen=True, slots=True)
class Report:
    """The audit of one machine."""

    facts: Facts
    findings: tuple[Finding, ...]
    """Problems, worst first; then what could not be judged."""
    passed: tuple[Finding, ...]
    not_seen: tuple[NotSeen, ...]
    """Every gap the collectors name, whether or not a check depends on it."""
    audited_at: datetime
    seconds: float
    user: str
    as_root: bool
    version: str

    @property
    def problems(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.result.status.is_problem)

    @property
    def unknowns(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if not finding.result.status.is_problem)

    @property
    def hostname(self) -> str:
        return self.facts.system.hostname if self.facts.system else "this machine"

    @property
    def os_name(self) -> str:
        return self.facts.system.os_name if self.facts.system else "operating system unknown"

    def worst_first(self) -> list[tuple[Risk, list[Finding]]]:
        """Problems by risk; risks without any are left out."""
        groups = [(risk, [finding for finding in self.problems if finding.risk is risk]) for risk in Risk]
        return [(risk, group) for risk, group in groups if group]

    @property
    def sentence(self) -> str:
        """``4 things need attention, 1 of them critical; 12 checks pass; 3 could not be seen.``"""
        problems, unknowns = len(self.problems), len(self.unknowns)
        if problems:
            needs = f"{count(problems, 'thing')} {'needs' if problems == 1 else 'need'} attention"
            worst, group = self.worst_first()[0]
            if worst in {Risk.CRITICAL, Risk.HIGH}:
                risk = worst if worst is Risk.CRITICAL else f"{worst} risk"
                needs += f", {len(group)} of them {risk}" if problems > 1 else f", and it is {risk}"
        else:
            needs = "Nothing needs attention"
        passes = f"{count(len(self.passed), 'check')} {'passes' if len(self.passed) == 1 else 'pass'}"
        unseen = f"; {unknowns} could not be judged" if unknowns else ""
        return f"{needs}; {passes}{unseen}."

    def machine(self) -> list[tuple[str, str]]:
        """What the machine is, as pairs of label and text, for the head of the page and the PDF."""
        system, network, software = self.facts.system, self.facts.network, self.facts.software
        pairs: list[tuple[str, str]] = []
        if system:
            hardware = " ".join(part for part in (system.manufacturer, system.model) if part)
            virtual = system.virtualisation if system.virtualisation not in {"", "none"} else ""
            pairs += [
                ("Operating system", f"{system.os_name} ({system.os_version})"),
                ("Kernel", f"{system.kernel} {system.architecture}".strip()),
                ("Hardware", ", ".join(part for part in (hardware, f"virtual ({virtual})" if virtual else "") if part)),
                ("Processor", f"{count(system.cpu_count, 'CPU')}, {system.cpu_model}".rstrip(", ")),
                ("Memory", size(system.memory_bytes) if system.memory_bytes else ""),
                ("Started", f"{system.booted_at:%Y-%m-%d %H:%M} UTC" if system.booted_at else ""),
            ]
        if network:
            addresses = [
                address
                for interface in network.interfaces
                for address in interface.addresses
                if not address.startswith(("127.", "::1", "fe80"))
            ]
            pairs.append(("Addresses", ", ".join(addresses)))
        if software and software.manager:
            pairs.append(("Software", f"{len(software.packages):,} packages ({software.manager})"))
        return [(label, text) for label, text in pairs if text]


def report_make(*, host: Host, now: Callable[[], datetime], on_progress: Progress | None = None) -> Report:
    """Audit the machine behind ``host``. Samples are read from this machine itself, twice."""
    tell = on_progress or (lambda _what, _done: None)
    began = time.monotonic()
    reader = SampleReader()
    reader.read()
    first_read = time.monotonic()
    failures: dict[str, str] = {}
    done = 0

    def follow(step: Started | Collected | Failed) -> None:
        nonlocal done
        if isinstance(step, Started):
            tell(step.name, done)
            return
        done += 1
        if isinstance(step, Failed):
            failures[step.name] = step.error

    facts = collect_all(host, follow)
    tell("samples", done)
    time.sleep(max(0.0, SAMPLE_SECONDS - (time.monotonic() - first_read)))
    names, values = reader.read()
    tell("samples", STEPS)
    moment = now()
    samples = {name: Series.of([moment.timestamp()], [value]) for name, value in zip(names, values, strict=True)}
    return report_of(
        facts=facts, samples=samples, failures=failures, now=moment, seconds=time.monotonic() - began,
        user=_user(), as_root=host.is_root,
    )  # fmt: skip


def report_of(
    *, facts: Facts, samples: dict[str, Series], failures: dict[str, str], now: datetime, seconds: float, user: str,
    as_root: bool,
) -> Report:  # fmt: skip
    """The report on what was collected. ``failures``: document → error of its collector."""
    known = Known(facts=facts, samples=samples)
    problems: list[Finding] = []
    unknowns: list[Finding] = []
    passed: list[Finding] = []
    for kind in CHECK_KINDS.values():
        if kind.about_link:
            continue
        for result in _judged(kind, known, failures, now):
            finding = Finding(kind, result)
            if result.status.is_problem:
                problems.append(finding)
            else:
                (passed if result.status is Status.PASS else unknowns).append(finding)
    problems.sort(key=lambda finding: (finding.risk.rank, finding.result.status is not Status.FAIL))
    unknowns.sort(key=lambda finding: finding.risk.rank)
    return Report(
        facts=facts,
        findings=(*problems, *unknowns),
        passed=tuple(passed),
        not_seen=tuple(_not_seen(facts, failures)),
        audited_at=now,
        seconds=seconds,
        user=user,
        as_root=as_root,
        version=forestall.__version__,
    )


def _judged(kind: CheckKind, known: Known, failures: dict[str, str], now: datetime) -> Sequence[Result]:
    broken = [name for name in kind.rests_on if name in failures]
    if broken:
        why = "; ".join(f"collecting {name} broke: {failures[name]}" for name in broken)
        return [Result(Status.UNKNOWN, f"Could not be judged: {why}.", remedy="Report this as a defect of Forestall.")]
    return judge_kind(kind, known, kind.policy(), now, {})


def _not_seen(facts: Facts, failures: dict[str, str]) -> Iterable[NotSeen]:
    seen: set[tuple[str, str]] = set()
    for name in Facts.FIELDS:
        document = facts.get(name)
        for gap in document.gaps if document else ():
            if (gap.what, gap.why) not in seen:
                seen.add((gap.what, gap.why))
                yield NotSeen(gap.what, gap.why)
    for name, error in failures.items():
        yield NotSeen(f"the document {name}", error)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"  # a user without an entry in passwd
