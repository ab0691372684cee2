"""SBOMs: CycloneDX and SPDX as JSON, and Trivy's reports, whose packages carry purls."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from forestall.server.vulnerabilities.feeds.ecosystems import LANGUAGES, SYSTEMS, ecosystem_of, normal_name
from forestall.server.vulnerabilities.types import Host, Package

PURL = re.compile(r"pkg:([a-z]+)/(?:(.+)/)?([^/@?#]+)(?:@([^?#]*))?(?:\?([^#]*))?(?:#.*)?")
NAMESPACES = {"redhat": "rhel", "opensuse": "opensuse-leap", "oraclelinux": "ol"}
TRIVY_TYPES = {
    "pip": "PyPI",
    "pipenv": "PyPI",
    "poetry": "PyPI",
    "python-pkg": "PyPI",
    "npm": "npm",
    "yarn": "npm",
    "node-pkg": "npm",
    "gomod": "Go",
    "gobinary": "Go",
    "cargo": "crates.io",
    "pom": "Maven",
    "jar": "Maven",
    "bundler": "RubyGems",
    "gemspec": "RubyGems",
    "composer": "Packagist",
    "nuget": "NuGet",
    "dotnet-core": "NuGet",
}


def read_cyclonedx(value: dict[str, Any], name: str, system: str) -> Host:
    """Components with a purl, those inside others too; the operating system as the SBOM says."""
    components = list(_components(value.get("components") or ()))
    subject = (value.get("metadata") or {}).get("component") or {}
    os_id, _, release = system.partition(":")
    for one in [*components, subject]:
        if not os_id and one.get("type") == "operating-system":
            os_id, release = one.get("name", "").lower(), str(one.get("version") or "")
    packages = []
    for one in components:
        if one.get("purl"):
            properties = {each.get("name"): each.get("value") for each in one.get("properties") or ()}
            packages += _package(one["purl"], os_id, release, properties)
    return _host(packages, subject.get("name") or name, os_id, release)


def _components(components: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    waiting = list(components)
    while waiting:
        one = waiting.pop(0)
        yield one
        waiting += one.get("components") or ()


def read_spdx(value: dict[str, Any], name: str, system: str) -> Host:
    """Packages with a purl among their external references."""
    os_id, _, release = system.partition(":")
    packages = []
    for one in value.get("packages") or ():
        if not os_id and one.get("primaryPackagePurpose") == "OPERATING-SYSTEM":
            os_id, release = one.get("name", "").lower(), str(one.get("versionInfo") or "")
    for one in value.get("packages") or ():
        for reference in one.get("externalRefs") or ():
            if reference.get("referenceType") == "purl":
                packages += _package(reference["referenceLocator"], os_id, release, {})
    return _host(packages, value.get("name") or name, os_id, release)


def read_trivy_report(value: dict[str, Any], name: str) -> Host:
    """A report of Trivy that lists all packages (``--list-all-pkgs``)."""
    system = (value.get("Metadata") or {}).get("OS") or {}
    os_id, release = system.get("Family", ""), system.get("Name", "")
    packages = []
    for result in value.get("Results") or ():
        for one in result.get("Packages") or ():
            purl = (one.get("Identifier") or {}).get("PURL")
            if purl:
                source = {f"trivy:{key}": one.get(key) for key in ("SrcName", "SrcVersion", "SrcRelease", "SrcEpoch")}
                packages += _package(purl, os_id, release, source)
            elif result.get("Type") in TRIVY_TYPES:
                ecosystem = TRIVY_TYPES[result["Type"]]
                packages.append(Package(ecosystem, normal_name(ecosystem, one["Name"]), one["Version"]))
    return _host(packages, name, os_id, release)


def _host(packages: list[Package], name: str, os_id: str, release: str) -> Host:
    return Host(name=name, os_id=os_id, release=release, packages=tuple(dict.fromkeys(packages)))


def _package(purl: str, os_id: str, release: str, properties: dict[Any, Any]) -> list[Package]:
    """The package of a purl; none when it is of a kind that no advisories are about."""
    found = PURL.fullmatch(purl)
    if found is None or not found[4]:
        return []
    kind, namespace, name, version = found[1], unquote(found[2] or ""), unquote(found[3]), unquote(found[4])
    extra = dict(part.split("=", 1) for part in unquote(found[5] or "").split("&") if "=" in part)
    if kind in LANGUAGES:
        ecosystem = LANGUAGES[kind]
        if namespace:
            name = f"{namespace}:{name}" if kind == "maven" else f"{namespace}/{name}"
        return [Package(ecosystem, normal_name(ecosystem, name), version)]
    if kind not in {"deb", "rpm", "apk"}:
        return []
    ecosystem = _distribution(namespace, extra.get("distro", ""), os_id, release)
    if not ecosystem:
        return []
    if kind == "rpm" and extra.get("epoch", "0") != "0" and ":" not in version:
        version = f"{extra['epoch']}:{version}"
    source, source_version = _source(extra.get("upstream", ""), properties)
    module = ":".join(extra.get("modularity", extra.get("rpmmod", "")).split(":")[:2])
    return [
        Package(
            ecosystem, name, version, "" if source == name else source, source_version, extra.get("arch", ""), module
        )
    ]


def _distribution(namespace: str, distro: str, os_id: str, release: str) -> str:
    """The ecosystem by the purl's ``distro`` (``debian-12.5``, ``bookworm``), else by the SBOM's operating system."""
    system = NAMESPACES.get(namespace.lower(), namespace.lower())
    word, dash, version = distro.rpartition("-")
    if dash and re.match(r"[0-9v]", version):
        return ecosystem_of(word if word.lower() in SYSTEMS else system or os_id, version)
    if distro:
        return ecosystem_of(system or os_id, distro.removeprefix("rhel-"))
    return ecosystem_of(os_id or system, release)


def _source(upstream: str, properties: dict[Any, Any]) -> tuple[str, str]:
    """Source package and its version, as syft (``upstream``) or Trivy (properties) tell them."""
    if upstream:
        if upstream.endswith(".src.rpm"):
            parts = upstream.removesuffix(".src.rpm").rsplit("-", 2)
            return (parts[0], f"{parts[1]}-{parts[2]}") if len(parts) == 3 else ("", "")
        name, _, version = upstream.partition("@")
        return name, version
    told = {str(key).rpartition(":")[2]: value for key, value in properties.items() if value not in (None, "")}
    if "SrcName" not in told:
        return "", ""
    version = str(told.get("SrcVersion", ""))
    if told.get("SrcRelease"):
        version += f"-{told['SrcRelease']}"
    if told.get("SrcEpoch"):
        version = f"{told['SrcEpoch']}:{version}"
    return str(told["SrcName"]), version
