"""Antivirus products as actions see them: which is here, how it is updated, started, and made to scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forestall.agent.act.context import ActionFailed
from forestall.agent.collect.host import Host
from forestall.wire.facts import AntivirusProduct

CLAMSCAN_OPTIONS: Sequence[str] = ()
"""More words for clamscan: a test's own database."""
FRESHCLAM_OPTIONS: Sequence[str] = ()
"""More words for freshclam: a test's own settings."""


@dataclass(frozen=True, slots=True)
class Tool:
    """The programs of one product; empty: it has none for that."""

    update: tuple[str, ...] = ()
    scan: tuple[str, ...] = ()
    """Before the folder."""
    services: tuple[str, ...] = ()
    """The first that is there is started."""


TOOLS: dict[str, Tool] = {
    "ClamAV": Tool(
        update=("freshclam", "--stdout"),
        scan=("clamscan", "--recursive", "--infected", "--cross-fs=no", "--follow-dir-symlinks=0",
              "--follow-file-symlinks=0"),
        services=("clamav-daemon", "clamd@scan", "clamd", "clamav-clamd"),
    ),
    "Microsoft Defender": Tool(
        update=("mdatp", "definitions", "update"),
        scan=("mdatp", "scan", "custom", "--path"),
        services=("mdatp",),
    ),
    "Sophos Anti-Virus": Tool(
        update=("/opt/sophos-av/bin/savupdate",), scan=("/opt/sophos-av/bin/savscan",), services=("sav-protect",)
    ),
    "Sophos Protection for Linux": Tool(services=("sophos-spl",)),
    "ESET": Tool(
        update=("/opt/eset/efs/bin/upd", "--update"), scan=("/opt/eset/efs/bin/odscan", "--scan", "--profile=@In-depth "
              "scan", "--target"), services=("efs", "eea"),
    ),
    "Bitdefender Endpoint Security Tools": Tool(
        update=("/opt/bitdefender-security-tools/bin/bduitool", "update"),
        scan=("/opt/bitdefender-security-tools/bin/bduitool", "scan", "-s", "custom"), services=("bdsec",),
    ),
    "SentinelOne": Tool(services=("sentinelone",)),
    "CrowdStrike Falcon": Tool(services=("falcon-sensor",)),
    "Cortex XDR": Tool(services=("traps_pmd",)),
}  # fmt: skip
"""As the ``antivirus`` document names them."""


def tool_of(name: str) -> Tool:
    """ActionFailed ``product_unknown`` for a name that is none of ``TOOLS``."""
    if name not in TOOLS:
        raise ActionFailed("product_unknown", f"product: {name!r} is none of {', '.join(TOOLS)}")
    return TOOLS[name]


def product_now(name: str, host: Host) -> AntivirusProduct:
    """The product as the agent sees it now. ActionFailed ``product_missing`` when it is not here."""
    from forestall.agent.collect.antivirus import collect

    product = next((each for each in collect(host).products if each.name == name), None)
    if product is None:
        raise ActionFailed("product_missing", f"{name} is not installed here")
    return product
