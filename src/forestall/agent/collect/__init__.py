"""Reading the machine: one module for each facts document, and the samples.

Flow: ``registry.COLLECTORS`` names the collectors; each reads through a ``Host`` (``host.py``), notes what it used and
what it could not see (``notes.py``), and returns its document. ``triggers.py`` says cheaply when to look again.
``samples.py`` reads numbers. Nothing in this package changes the machine: what does is in ``agent/act``.
"""

from forestall.agent.collect.host import Host, LocalHost
from forestall.agent.collect.registry import (
    COLLECTOR_BY_NAME,
    COLLECTORS,
    Collected,
    Collection,
    Collector,
    Failed,
    Started,
    collect_all,
    collect_each,
    collect_one,
    decode_collection,
)

__all__ = [
    "COLLECTORS",
    "COLLECTOR_BY_NAME",
    "Collected",
    "Collection",
    "Collector",
    "Failed",
    "Host",
    "LocalHost",
    "Started",
    "collect_all",
    "collect_each",
    "collect_one",
    "decode_collection",
]
