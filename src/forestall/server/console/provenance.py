"""Where a page's facts come from, how old they are, and what the device could not see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from forestall.wire.facts import Document, Facts


@dataclass(frozen=True, slots=True)
class Provenance:
    """One document, for the line under what was made of it."""

    name: str
    sources: tuple[str, ...]
    gaps: tuple[tuple[str, str], ...]
    """What could not be seen, and why."""
    collected_at: datetime | None
    changed_at: datetime | None
    received: bool


def provenance(facts: Facts, meta: Mapping[str, tuple[datetime, datetime]], *names: str) -> list[Provenance]:
    """The documents ``names``, in this order; one that never came says so."""
    found = []
    for name in names:
        document: Document | None = facts.get(name)
        collected, changed = meta.get(name, (None, None))
        found.append(
            Provenance(
                name=name,
                sources=document.sources if document else (),
                gaps=tuple((gap.what, gap.why) for gap in document.gaps) if document else (),
                collected_at=collected,
                changed_at=changed,
                received=document is not None,
            )
        )
    return found
