"""The ``assessments`` document: what other auditing tools found."""

from __future__ import annotations

from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Assessments


def collect(host: Host) -> Assessments:
    notes = Notes(host)
    notes.used("/var/log/lynis-report.dat")
    return Assessments(sources=notes.sources, gaps=notes.gaps)
