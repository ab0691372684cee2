"""apk of Alpine: ``apk version`` on the lists that it keeps. Alpine's lists do not say what fixes security.

Alpine's own feed of fixed versions does, which the server matches against; here it is not known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.providers import Reading
from forestall.wire.facts import Update, UpdateProvider

NAME = "apk"
KIND: Literal["system"] = "system"
CAN = ("list", "install", "chosen", "hold", "repair")

DATABASE = "/lib/apk/db/installed"
WORLD = "/etc/apk/world"
LISTS = ("/var/cache/apk/APKINDEX.*.tar.gz", "/etc/apk/cache/APKINDEX.*.tar.gz")
_NAME_VERSION = re.compile(r"^(.+)-(\d[^-\s]*-r\d+)$")
_KERNEL = re.compile(r"linux-(lts|virt|edge|stable)")


def present(host: Host) -> bool:
    return bool(host.find_program("apk")) and bool(host.glob(DATABASE))


def read(notes: Notes) -> Reading:
    host = notes.host
    architectures = parse_architectures(notes.read(DATABASE, what="installed packages") or "")
    held = pinned(notes.read(WORLD) or "")
    refreshed_at = _refreshed_at(host)
    version = ""
    why = ""
    pending: tuple[Update, ...] = ()
    if refreshed_at is None:
        why = "the package lists were never fetched (apk update)"
        notes.gap("updates of apk", why)
    else:
        listed = notes.run(
            ["apk", "version", "-l", "<"], what="updates of apk", source="apk version -l '<'", timeout=60
        )
        if listed is None or listed.exit_code != 0:
            why = complaint(listed) if listed else "apk did not answer"
            notes.gap("updates of apk", why)
        else:
            pending = find_updates(listed.stdout, architectures, held)
    return Reading(
        UpdateProvider(
            name=NAME,
            version=version,
            can=CAN,
            lists_refreshed_at=refreshed_at,
            security_sources=False,
            held=tuple(held),
            unknown_why=why,
        ),
        pending,
    )


def find_updates(
    listed: str, architectures: Mapping[str, str] | None = None, held: Mapping[str, str] | None = None
) -> tuple[Update, ...]:
    """``apk version -l '<'``: ``busybox-1.36.1-r15   < 1.36.1-r19 @edge``."""
    found = []
    for line in listed.splitlines():
        match = re.match(r"(\S+)\s+< (\S+)(?: +@(\S+))?\s*$", line)
        package = _NAME_VERSION.match(match[1]) if match else None
        if match is None or package is None:
            continue
        found.append(
            Update(
                name=package[1],
                installed=package[2],
                candidate=match[2],
                security=False,
                origin=f"@{match[3]}" if match[3] else "",
                architecture=(architectures or {}).get(package[1], ""),
                held=package[1] in (held or {}),
                restart="reboot" if _KERNEL.fullmatch(package[1]) else "",
            )
        )
    return tuple(sorted(found, key=lambda update: update.name))


def parse_architectures(installed: str) -> dict[str, str]:
    """Architecture by name, of apk's own database: stanzas of ``P:name``, ``V:version``, ``A:architecture``."""
    found = {}
    for stanza in installed.split("\n\n"):
        name = re.search(r"^P:(.+)$", stanza, re.MULTILINE)
        architecture = re.search(r"^A:(.+)$", stanza, re.MULTILINE)
        if name and architecture:
            found[name[1]] = architecture[1]
    return found


def parse_versions(installed: str) -> dict[tuple[str, str], str]:
    """Version by name and architecture, of apk's own database."""
    found = {}
    for stanza in installed.split("\n\n"):
        fields = dict(re.findall(r"^([PVA]):(.+)$", stanza, re.MULTILINE))
        if "P" in fields and "V" in fields:
            found[fields["P"], fields.get("A", "")] = fields["V"]
    return found


def pinned(world: str) -> dict[str, str]:
    """Names that /etc/apk/world ties to one version (``curl=8.5.0-r0``), with that version."""
    found = {}
    for word in world.split():
        match = re.fullmatch(r"([^=<>~!@]+)=([^=<>~@]+)(@\S+)?", word)
        if match:
            found[match[1]] = match[2]
    return found


def _refreshed_at(host: Host) -> datetime | None:
    times = []
    for path in [each for pattern in LISTS for each in host.glob(pattern)]:
        try:
            times.append(host.status(path).changed_ns)
        except HostError:
            continue
    return datetime.fromtimestamp(max(times) // 1_000_000_000, UTC) if times else None
