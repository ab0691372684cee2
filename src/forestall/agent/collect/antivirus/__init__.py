"""The ``antivirus`` document: which products are here, whether they run, and how fresh what they know is.

One module a product, each with ``find(notes) -> AntivirusProduct | None``. What the agent reads here and what
``forestall facts parse`` reads from a saved output goes through the same functions.
"""

from __future__ import annotations

from forestall.agent.collect.antivirus import (
    bitdefender,
    clamav,
    cortex,
    crowdstrike,
    defender,
    eset,
    sentinelone,
    sophos,
)
from forestall.agent.collect.antivirus.clamav import parse_definitions_header, parse_scan_end, parse_version
from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Antivirus

PRODUCTS = (clamav, defender, sophos, eset, bitdefender, sentinelone, crowdstrike, cortex)


def collect(host: Host) -> Antivirus:
    notes = Notes(host)
    products = tuple(product for module in PRODUCTS if (product := module.find(notes)) is not None)
    if not products:
        notes.used(
            "programs of ClamAV, Defender, Sophos, ESET, Bitdefender, SentinelOne, CrowdStrike, Cortex: none here"
        )
    return Antivirus(products=products, sources=notes.sources, gaps=notes.gaps)


__all__ = ["PRODUCTS", "collect", "parse_definitions_header", "parse_scan_end", "parse_version"]
