"""The ``restarts`` document: what still runs from before an update."""

from __future__ import annotations

from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Restarts


def collect(host: Host) -> Restarts:
    notes = Notes(host)
    notes.gap("outdated processes", "not looked for yet")
    return Restarts(sources=notes.sources, gaps=notes.gaps)
