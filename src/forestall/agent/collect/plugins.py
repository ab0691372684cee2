"""The ``plugins`` document: monitoring plugins and their answers."""

from __future__ import annotations

from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Plugins


def collect(host: Host) -> Plugins:
    notes = Notes(host)
    notes.used("plugins.toml")
    return Plugins(sources=notes.sources, gaps=notes.gaps)
