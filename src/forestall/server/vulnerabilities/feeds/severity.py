"""Ratings: many vendors' words and CVSS vectors in, our four words out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

WORDS = {
    "critical": "critical",
    "important": "high",
    "high": "high",
    "moderate": "medium",
    "medium": "medium",
    "low": "low",
    "minor": "low",
    "negligible": "low",
    "unimportant": "low",
}
ORDER = ("", "low", "medium", "high", "critical")

_V3 = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "UI": {"N": 0.85, "R": 0.62},
    "C": {"H": 0.56, "L": 0.22, "N": 0.0},
    "I": {"H": 0.56, "L": 0.22, "N": 0.0},
    "A": {"H": 0.56, "L": 0.22, "N": 0.0},
}
_PR = {False: {"N": 0.85, "L": 0.62, "H": 0.27}, True: {"N": 0.85, "L": 0.68, "H": 0.5}}
_V2 = {
    "AV": {"L": 0.395, "A": 0.646, "N": 1.0},
    "AC": {"H": 0.35, "M": 0.61, "L": 0.71},
    "Au": {"M": 0.45, "S": 0.56, "N": 0.704},
    "C": {"N": 0.0, "P": 0.275, "C": 0.66},
    "I": {"N": 0.0, "P": 0.275, "C": 0.66},
    "A": {"N": 0.0, "P": 0.275, "C": 0.66},
}


def word(text: str) -> str:
    """A vendor's word (``Important``, ``not yet assigned``) as ours; empty: it rates nothing."""
    return WORDS.get(text.strip().strip("*").lower(), "")


def of_score(score: float) -> str:
    """The word for a CVSS score of 0 to 10; 0 rates nothing."""
    if score >= 9:
        return "critical"
    if score >= 7:
        return "high"
    if score >= 4:
        return "medium"
    return "low" if score > 0 else ""


def worst(words: Iterable[str]) -> str:
    """The worst of several ratings."""
    return max(words, key=ORDER.index, default="")


def score(vector: str) -> float | None:
    """Base score of a CVSS vector of version 2, 3.0 or 3.1; None: of another version, or incomplete."""
    parts = dict(part.split(":", 1) for part in vector.split("/") if ":" in part)
    try:
        if vector.startswith("CVSS:3"):
            return _score_3(parts)
        if not vector.startswith("CVSS:"):
            return _score_2(parts)
    except KeyError:
        return None
    return None


def _score_3(parts: dict[str, str]) -> float:
    changed = {"U": False, "C": True}[parts["S"]]
    impact_base = 1 - math.prod(1 - _V3[one][parts[one]] for one in "CIA")
    impact = 7.52 * (impact_base - 0.029) - 3.25 * (impact_base - 0.02) ** 15 if changed else 6.42 * impact_base
    if impact <= 0:
        return 0.0
    ease = 8.22 * _V3["AV"][parts["AV"]] * _V3["AC"][parts["AC"]] * _PR[changed][parts["PR"]] * _V3["UI"][parts["UI"]]
    total = min((1.08 if changed else 1.0) * (impact + ease), 10)
    return math.ceil(round(total * 100_000) / 10_000) / 10


def _score_2(parts: dict[str, str]) -> float:
    impact = 10.41 * (1 - math.prod(1 - _V2[one][parts[one]] for one in "CIA"))
    ease = 20 * math.prod(_V2[one][parts[one]] for one in ("AV", "AC", "Au"))
    return round(((0.6 * impact) + (0.4 * ease) - 1.5) * (1.176 if impact else 0), 1)


def of_summary(summary: str) -> str:
    """The rating that AlmaLinux, Rocky and Red Hat write before the title: ``Important: kernel security update``."""
    found = re.match(r"(\w+): ", summary)
    return word(found[1]) if found else ""
