"""The ``arrays`` document: RAID arrays, volume groups and pools."""

from __future__ import annotations

from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Arrays


def collect(host: Host) -> Arrays:
    notes = Notes(host)
    notes.used("/proc/mdstat")
    return Arrays(sources=notes.sources, gaps=notes.gaps)
