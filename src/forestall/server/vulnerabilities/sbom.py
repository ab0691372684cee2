"""The software of a device as CycloneDX 1.6: every package with its purl, and, if wanted, what is open and what was
said of it (VEX). Made of facts alone: the same facts give the same document, letter by letter."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from forestall import __version__
from forestall.server.vulnerabilities import rules
from forestall.wire.facts import Package, Software, System

MEDIA_TYPE = "application/vnd.cyclonedx+json"
SPEC = "1.6"
_SPACE = uuid.UUID("6f9c2d1e-52a5-5c0e-9a55-0f5d6c5c7a10")
"""Of serial numbers made from content."""

TYPES = {"dpkg": "deb", "rpm": "rpm", "apk": "apk", "pacman": "alpm", "pip": "pypi", "npm": "npm", "gem": "gem"}
"""Package manager → type of purl. Others have none of their own: ``generic``."""
ANALYSIS = {
    rules.FALSE_POSITIVE: ("false_positive", None),
    rules.NOT_APPLICABLE: ("not_affected", "code_not_reachable"),
    rules.ACCEPTED: ("exploitable", None),
}
"""Mark → state and justification in CycloneDX's words."""


@dataclass(frozen=True, slots=True)
class Open:
    """A vulnerability that a package has."""

    name: str
    """Of the vulnerability."""
    binaries: Sequence[str]
    severity: str = ""
    cvss: float | None = None
    vector: str = ""
    advisory: str = ""
    fixed: str = ""
    mark: str = ""
    reason: str = ""
    source: str = field(default="")


def purl(package: Package, *, manager: str, system: System) -> str:
    """Package URL, as its specification has it: ``pkg:deb/debian/openssl@3.0.17-1?arch=amd64&distro=debian-12``."""
    kind = TYPES.get(package.manager or manager, "generic")
    distro = kind in {"deb", "rpm", "apk", "alpm"}
    name = package.name.lower() if kind in {"deb", "apk", "alpm", "pypi"} else package.name
    if kind == "pypi":
        name = name.replace("_", "-")
    version, epoch = package.version, ""
    if kind == "rpm" and ":" in version:
        epoch, _, version = version.partition(":")
    parts = ["pkg:", kind, "/"]
    if distro and system.os_id:
        parts += [_quoted(system.os_id.lower()), "/"]
    elif kind == "npm" and name.startswith("@") and "/" in name:
        scope, _, name = name.partition("/")
        parts += [_quoted(scope), "/"]
    parts += [_quoted(name), "@", _quoted(version)]
    qualifiers = {
        "arch": package.architecture if distro else "",
        "distro": f"{system.os_id.lower()}-{system.os_version}" if distro and system.os_version else "",
        "epoch": epoch if epoch not in {"", "0"} else "",
        "upstream": _upstream(package) if distro else "",
    }
    said = "&".join(f"{key}={_quoted(value)}" for key, value in sorted(qualifiers.items()) if value)
    return "".join(parts) + (f"?{said}" if said else "")


def _upstream(package: Package) -> str:
    if not package.source or package.source == package.name:
        return ""
    return package.source + (f"@{package.source_version}" if package.source_version else "")


def _quoted(text: str) -> str:
    return quote(text, safe=":")


def sbom_of(
    *,
    device_id: uuid.UUID,
    name: str,
    system: System,
    software: Software,
    collected_at: datetime,
    found: Iterable[Open] = (),
) -> dict[str, Any]:
    """The document, as plain JSON."""
    root = f"device:{device_id}"
    components: dict[str, dict[str, Any]] = {}
    by_name: dict[str, list[str]] = {}
    for package in software.packages:
        own = purl(package, manager=software.manager, system=system)
        component: dict[str, Any] = {
            "type": "library", "bom-ref": own, "name": package.name, "version": package.version, "purl": own,
        }  # fmt: skip
        about = [
            ("source", package.source), ("source_version", package.source_version), ("module", package.module),
            ("manager", package.manager),
        ]  # fmt: skip
        properties = [{"name": f"forestall:{key}", "value": value} for key, value in about if value]
        if properties:
            component["properties"] = properties
        components.setdefault(own, component)
        by_name.setdefault(package.name, []).append(own)
    system_ref = f"os:{system.os_id}-{system.os_version}"
    components[system_ref] = {
        "type": "operating-system", "bom-ref": system_ref, "name": system.os_id or "unknown",
        "version": system.os_version, "description": system.os_name,
    }  # fmt: skip
    listed = sorted(components.values(), key=lambda one: str(one["bom-ref"]))
    vulnerabilities = _vulnerabilities(found, by_name)
    content = f"{device_id} {collected_at.isoformat()} {[one['bom-ref'] for one in listed]} {vulnerabilities}"
    document: dict[str, Any] = {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "serialNumber": f"urn:uuid:{uuid.uuid5(_SPACE, content)}",
        "version": 1,
        "metadata": {
            "timestamp": collected_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "tools": {"components": [{"type": "application", "name": "Forestall", "version": __version__}]},
            "component": {"type": "device", "bom-ref": root, "name": name},
            "lifecycles": [{"phase": "operations"}],
        },
        "components": listed,
        "dependencies": [{"ref": root, "dependsOn": [str(one["bom-ref"]) for one in listed]}],
    }
    if vulnerabilities:
        document["vulnerabilities"] = vulnerabilities
    return document


def _vulnerabilities(found: Iterable[Open], by_name: dict[str, list[str]]) -> list[dict[str, Any]]:
    listed = []
    for one in found:
        refs = sorted({ref for name in one.binaries for ref in by_name.get(name, ())})
        if not refs:
            continue
        entry: dict[str, Any] = {
            "bom-ref": f"{one.name}:{one.advisory}:{refs[0]}", "id": one.name, "affects": [{"ref": r} for r in refs],
        }  # fmt: skip
        if one.advisory and one.advisory != one.name:
            entry["advisories"] = [{"title": one.advisory, "url": f"urn:advisory:{quote(one.advisory)}"}]
        rating: dict[str, Any] = {"severity": one.severity or "unknown"}
        if one.cvss is not None:
            rating["score"] = one.cvss
        if one.vector:
            rating["vector"] = one.vector
        entry["ratings"] = [rating]
        if one.fixed:
            entry["recommendation"] = f"Upgrade to {one.fixed}."
        if one.mark in ANALYSIS:
            state, justification = ANALYSIS[one.mark]
            analysis: dict[str, Any] = {"state": state, "detail": one.reason}
            if justification:
                analysis["justification"] = justification
            if one.mark == rules.ACCEPTED:
                analysis["response"] = ["will_not_fix"]
            entry["analysis"] = analysis
        listed.append(entry)
    listed.sort(key=lambda each: (each["id"], each["bom-ref"]))
    return listed
