"""macOS: ``softwareupdate --list``, in the form of today and in that before macOS 10.15.

There is no agent for macOS yet: this has read outputs written after Apple's form, and never ran on macOS.
"""

from __future__ import annotations

import re
from typing import Literal

from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.providers import Reading
from forestall.wire.facts import Update, UpdateProvider

NAME = "softwareupdate"
KIND: Literal["system"] = "system"
CAN = ("list",)
_ARGV = ("softwareupdate", "--list", "--no-scan")
_UNITS = {"K": 1024, "KiB": 1024, "M": 1024**2, "MiB": 1024**2}


def present(host: Host) -> bool:
    return bool(host.find_program("softwareupdate"))


def read(notes: Notes) -> Reading:
    # --no-scan: what macOS found when it last looked by itself.
    result = notes.run(_ARGV, what="updates of macOS", source="softwareupdate --list", timeout=120)
    if result is None or result.exit_code != 0:
        why = complaint(result) if result else "softwareupdate did not answer"
        notes.gap("updates of macOS", why)
        return Reading(UpdateProvider(name=NAME, can=CAN, unknown_why=why))
    return Reading(UpdateProvider(name=NAME, can=CAN, security_sources=False), find_updates(result.stdout))


def find_updates(text: str) -> tuple[Update, ...]:
    """Apple does not say in it which updates fix security; its releases of the system and of Safari do as a rule."""
    found = []
    pairs = re.findall(r"^\s*\* (?:Label: )?(.+?)\s*\n\s+(.+?)\s*$", text, re.MULTILINE)
    for label, line in pairs:
        # Title: Safari, Version: 17.4, Size: 150000KiB, Recommended: YES, Action: restart,
        fields = dict(re.findall(r"(\w+): ([^,]*?)(?:,|$)\s*", line))
        version, size = fields.get("Version", ""), fields.get("Size", "")
        restart = fields.get("Action", "") in {"restart", "shut down"}
        if not fields:
            # iTunes (12.8.2), 273614K [recommended] [restart]
            old = re.match(r"(.+) \(\s*([^)]*?)\s*\), (\d+K)((?: \[\w+\])*)$", line)
            if old is None:
                continue
            version, size, restart = old[2], old[3], "[restart]" in old[4]
        found.append(
            Update(
                name=label,
                installed="",
                candidate=version or label,
                security=False,
                origin=fields.get("Title", ""),
                size_bytes=_bytes(size),
                restart="reboot" if restart else "none",
            )
        )
    return tuple(sorted(found, key=lambda update: update.name))


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+)\s*(\w+)", text)
    return int(found[1]) * _UNITS.get(found[2], 0) if found else 0
