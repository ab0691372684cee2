"""fwupd: firmware of this machine and its devices, as ``fwupdmgr --json`` tells it from the metadata that is kept.

A name is the device's with the first digits of fwupd's identity behind it, since two disks of one model are two
devices. Every release lists what it mends (``Issues``) in newer metadata; its urgency is the vendor's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.providers import Reading
from forestall.wire.facts import Update, UpdateProvider

NAME = "fwupd"
KIND: Literal["firmware"] = "firmware"
CAN = ("list", "install", "security_only", "chosen", "roll_back")

METADATA = "/var/lib/fwupd/metadata/*/*"
METADATA_OF_2 = "/var/cache/fwupd/metadata/*/*"
DEVICES = ("fwupdmgr", "--json", "--no-unreported-check", "get-devices")
UPDATES = ("fwupdmgr", "--json", "--no-unreported-check", "--no-metadata-check", "get-updates")
_NOTHING_TO_DO = 2
_ENVIRONMENT = {"NO_COLOR": "1"}
_URGENCY: Mapping[str, Literal["", "low", "medium", "high", "critical"]] = {
    "low": "low",
    "medium": "medium",
    "high": "high",
    "critical": "critical",
}
_NOT_PLACED = ("needs-reboot", "needs-shutdown", "needs-bootloader")


def present(host: Host) -> bool:
    # A machine in the cloud may have the program; without firmware tables there is nothing for it to look after.
    return bool(host.find_program("fwupdmgr")) and bool(
        host.glob("/sys/firmware/efi") + host.glob("/sys/class/dmi/id/bios_version")
    )


def read(notes: Notes) -> Reading:
    host = notes.host
    refreshed_at = _refreshed_at(host)
    result = notes.run(
        UPDATES, what="firmware updates", source="fwupdmgr get-updates", timeout=60, environment=_ENVIRONMENT
    )
    why = ""
    pending: tuple[Update, ...] = ()
    if result is None:
        why = "fwupdmgr did not answer"
    else:
        error = parse_error(result.stdout)
        if error or result.exit_code not in (0, _NOTHING_TO_DO):
            why = "" if is_nothing(error) else error or complaint(result)
        if not why:
            pending = parse_updates(result.stdout)
    if why:
        notes.gap("firmware updates", why)
    return Reading(
        UpdateProvider(
            name=NAME,
            can=CAN,
            lists_refreshed_at=refreshed_at,
            # A release says what it mends, and its urgency; nothing tells which releases mend nothing.
            security_sources=True,
            unknown_why=why,
        ),
        pending,
    )


def parse_error(text: str) -> str:
    """The message with which fwupdmgr answers instead of devices; empty when it has none."""
    error = _decoded(text).get("Error")
    return str(error.get("Message", "")) if isinstance(error, dict) else ""


def is_nothing(message: str) -> bool:
    """Whether a message says that there is nothing to update, rather than that it could not be told."""
    return bool(re.search(r"(?i)no detected devices|no updat\w* |no upgrades|nothing to do", message))


def parse_updates(text: str) -> tuple[Update, ...]:
    """``fwupdmgr get-updates --json``: the newest release of each device, which is the first that is listed."""
    found = []
    for device in _devices(text):
        releases = [each for each in device.get("Releases", []) if isinstance(each, dict)]
        if not releases:
            continue
        newest = releases[0]
        issues = [str(issue) for release in releases for issue in release.get("Issues", [])]
        cves = tuple(dict.fromkeys(issue for issue in issues if issue.startswith("CVE-")))
        urgency = _URGENCY.get(str(newest.get("Urgency", "")).lower(), "")
        flags = [str(each) for each in device.get("Flags", [])]
        found.append(
            Update(
                name=device_name(device),
                installed=str(device.get("Version", "")),
                candidate=str(newest.get("Version", "")),
                security=bool(cves) or urgency == "critical",
                origin=str(newest.get("RemoteId", "")),
                severity=urgency,
                cves=cves,
                released_at=_time(newest.get("Created")),
                size_bytes=int(newest.get("Size", 0) or 0),
                restart="reboot" if any(flag in flags for flag in _NOT_PLACED) else "none",
            )
        )
    return tuple(sorted(found, key=lambda update: update.name))


def parse_versions(text: str) -> dict[str, tuple[str, str]]:
    """``fwupdmgr get-devices --json``: version and whole identity of each device, by our name of it."""
    return {
        device_name(device): (str(device["Version"]), str(device.get("DeviceId", "")))
        for device in _devices(text)
        if device.get("Version")
    }


def device_name(device: Mapping[str, Any]) -> str:
    """``System-Firmware@123fd414``: one word, so that it can be named in a command."""
    words = re.sub(r"[^A-Za-z0-9._+-]+", "-", str(device.get("Name", "") or "device")).strip("-")
    return f"{words}@{str(device.get('DeviceId', ''))[:8]}"


def _devices(text: str) -> Iterable[dict[str, Any]]:
    listed = _decoded(text).get("Devices", [])
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def _decoded(text: str) -> dict[str, Any]:
    try:
        plain = msgspec.json.decode(text[text.index("{") :].encode())
    except (ValueError, msgspec.DecodeError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _time(seconds: object) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int) and seconds > 0 else None


def _refreshed_at(host: Host) -> datetime | None:
    times = []
    for path in [*host.glob(METADATA), *host.glob(METADATA_OF_2)]:
        try:
            times.append(host.status(path).changed_ns)
        except HostError:
            continue
    return datetime.fromtimestamp(max(times) // 1_000_000_000, UTC) if times else None
