"""The ``readiness`` document: whether the machine is fit to be updated now."""

from __future__ import annotations

from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Readiness


def collect(host: Host) -> Readiness:
    notes = Notes(host)
    notes.gap("readiness", "not looked for yet")
    return Readiness(sources=notes.sources, gaps=notes.gaps)
