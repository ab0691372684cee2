"""The ``hardening`` document: how the system is set up."""

from __future__ import annotations

from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Hardening


def collect(host: Host) -> Hardening:
    notes = Notes(host)
    notes.used("/proc/sys")
    return Hardening(sources=notes.sources, gaps=notes.gaps)
