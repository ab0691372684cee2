"""What to do first: a score from what is known of a vulnerability, of the device that has it, and of its fix.

The score of a vulnerability, the same on every device (0 to 190):

=====================================================  ======
known to be exploited (CISA's catalogue)                  100
… and used for ransomware                                 +10
… and its due date is past, or within 14 days             +10
likely to be exploited: EPSS probability                 0–40
severity critical, high, medium, low, unrated   30 20 10 3 10
=====================================================  ======

A device adds 20 when the package itself listens beyond the machine, and 10 when there is a fix: of two equal risks, the
one that can be ended today comes first. Unrated counts as medium: nobody has said that it is harmless.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

EXPLOITED, RANSOMWARE, DUE, LIKELY = 100, 10, 10, 40
SEVERITY = {"critical": 30, "high": 20, "medium": 10, "low": 3, "": 10}
EXPOSED, FIXABLE = 20, 10
DUE_SOON = timedelta(days=14)
SEVERITIES = ("critical", "high", "medium", "low", "")
LIKELY_FROM = 0.1
"""EPSS from which we say "likely" in words: about one in twenty vulnerabilities."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a rank rests on."""

    severity: str = ""
    cvss: float | None = None
    epss: float | None = None
    kev_added_on: date | None = None
    kev_due_on: date | None = None
    ransomware: bool = False

    @property
    def exploited(self) -> bool:
        return self.kev_added_on is not None


def severity_of_cvss(cvss: float) -> str:
    """In the words of CVSS; empty for 0."""
    for least, word in ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low")):
        if cvss >= least:
            return word
    return ""


def worst_of(severities: list[str]) -> str:
    """The worst word there is; empty: none is rated."""
    rated = [one for one in severities if one]
    return min(rated, key=SEVERITIES.index, default="")


def score_of(facts: Facts, today: date) -> int:
    """The score of the table above."""
    return sum(points for _, points in sum_of(facts, today))


def why_of(
    facts: Facts, today: date, *, exposed: str = "", fix: str = "", only_running: bool = False, devices: int = 0
) -> list[str]:
    """The rank in words, weightiest first."""
    said: list[str] = []
    if facts.kev_added_on is not None:
        text = f"known to be exploited since {facts.kev_added_on}"
        if facts.ransomware:
            text += ", also for ransomware"
        said.append(text)
        if facts.kev_due_on is not None:
            left = (facts.kev_due_on - today).days
            when = f"{-left} days ago" if left < 0 else "today" if left == 0 else f"in {left} days"
            said.append(f"CISA's due date {'was' if left < 0 else 'is'} {facts.kev_due_on} ({when})")
    if facts.epss is not None and facts.epss >= LIKELY_FROM:
        said.append(f"likely to be exploited within 30 days: {facts.epss:.0%} (EPSS)")
    rated = facts.severity or "unrated, counted as medium"
    said.append(f"severity {rated}" + (f" (CVSS {facts.cvss:g})" if facts.cvss is not None else ""))
    if exposed:
        said.append(f"exposed: {exposed}")
    if only_running:
        said.append("the fix is installed and does not run yet")
    elif fix:
        said.append(f"fixed in {fix}")
    else:
        said.append("no fix yet")
    if devices > 1:
        said.append(f"on {devices:,} devices")
    return said


def sum_of(facts: Facts, today: date) -> list[tuple[str, int]]:
    """The score as a sum: what is said, and the points for it. They add up to ``score_of``."""
    due = facts.exploited and facts.kev_due_on is not None and facts.kev_due_on <= today + DUE_SOON
    return [
        (f"known to be exploited since {facts.kev_added_on}", EXPLOITED * facts.exploited),
        ("used for ransomware", RANSOMWARE * (facts.exploited and facts.ransomware)),
        (f"CISA's due date {facts.kev_due_on} is past or near", DUE * due),
        (f"likely to be exploited within 30 days: {facts.epss or 0:.1%}", round(LIKELY * (facts.epss or 0.0))),
        (f"severity {facts.severity or 'unrated, counted as medium'}", SEVERITY.get(facts.severity, SEVERITY[""])),
    ]
