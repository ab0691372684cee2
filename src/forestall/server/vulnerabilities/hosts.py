"""Hosts: as our own agents tell them, and as others export them.

Exported are: JSON of the vuls scanner, SBOMs (CycloneDX and SPDX as JSON), package lists and results of Trivy, queries
for OSV, and plain lists: ``dpkg -l``, ``dpkg-query --show``, dpkg's status file, ``apt list --installed``, ``rpm -qa``,
``apk info -v`` and ``apk list``. What a file is, its content says.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from forestall.server.vulnerabilities.feeds.document import utc
from forestall.server.vulnerabilities.feeds.ecosystems import SYSTEMS, canonical, ecosystem_of, normal_name
from forestall.server.vulnerabilities.feeds.errors import FeedError
from forestall.server.vulnerabilities.feeds.files import documents, unpacked
from forestall.server.vulnerabilities.index import UNKNOWN_EPOCH
from forestall.server.vulnerabilities.sbom_read import read_cyclonedx, read_spdx, read_trivy_report
from forestall.server.vulnerabilities.types import Host, Package
from forestall.server.vulnerabilities.windows import split_build
from forestall.wire.facts import Software, System

MANAGERS = {"pip": "PyPI", "npm": "npm", "gem": "RubyGems", "cargo": "crates.io"}
SYSTEM_MANAGERS = frozenset({"", "dpkg", "rpm", "apk", "pacman"})


class HostUnreadableError(Exception):
    """A file from which no host can be read."""


# --- our own -----------------------------------------------------------------------------------------------


def packages_of(system: System, software: Software) -> list[Package]:
    """Installed packages of a device, from its facts, named as advisories name them.

    Applications whose makers publish no advisories by package (flatpak, snap, winget) are not among them.
    """
    own = ecosystem_of(system.os_id, system.os_version)
    found = []
    for one in software.packages:
        manager = one.manager or software.manager
        ecosystem = own if manager in SYSTEM_MANAGERS else MANAGERS.get(manager, "")
        if ecosystem and ecosystem != "Windows":
            found.append(
                Package(
                    ecosystem,
                    normal_name(ecosystem, one.name),
                    one.version,
                    source=one.source,
                    source_version=one.source_version,
                    architecture=one.architecture,
                    module=one.module,
                )
            )
    return found


def host_of(system: System, software: Software) -> Host:
    """A device as a host, from its facts."""
    windows = system.os_id.lower() == "windows"
    build = next((one for one in (system.kernel, system.os_version) if split_build(one)), "") if windows else ""
    return Host(
        name=system.hostname,
        os_id=system.os_id,
        release=system.os_name if windows else system.os_version,
        packages=tuple(packages_of(system, software)),
        kernel_release="" if windows else system.kernel,
        kernel_version=build,
    )


# --- exported ----------------------------------------------------------------------------------------------


def read_host(path: Path, *, system: str = "") -> Host:
    """Read an exported host, plain or packed; the path ``-`` is standard input.

    ``system``: ``debian:12``, for lists that do not tell of which system they are. Raises HostUnreadableError.
    """
    name = "standard input" if str(path) == "-" else str(path)
    try:
        stdin = str(path) == "-"
        found = list(unpacked(name, io.BytesIO(sys.stdin.buffer.read())) if stdin else documents(path))
        data = found[0].data if found else b""
    except FeedError as error:
        raise HostUnreadableError(str(error)) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HostUnreadableError(f"{name}: byte {error.start} is no UTF-8") from error
    try:
        return parse_host(text, name="" if stdin else path.name.partition(".")[0], system=system)
    except HostUnreadableError as error:
        raise HostUnreadableError(f"{name}: {error}") from error


def parse_host(text: str, *, name: str = "", system: str = "") -> Host:
    """A host from the text of an export. Raises HostUnreadableError."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise HostUnreadableError(str(error)) from error
        try:
            return _from_json(value, name, system)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise HostUnreadableError(f"not as its format should be: {type(error).__name__}: {error}") from error
    return _from_list(text, name, system)


def _from_json(value: Any, name: str, system: str) -> Host:
    if isinstance(value, list) and value and {"Name", "Version"} <= value[0].keys():
        return _from_trivy_list(value, name, system)
    if isinstance(value, dict):
        if "family" in value and "packages" in value:
            return _from_vuls(value)
        if value.get("bomFormat") == "CycloneDX":
            return read_cyclonedx(value, name, system)
        if "spdxVersion" in value:
            return read_spdx(value, name, system)
        if "SchemaVersion" in value and "Results" in value:
            return read_trivy_report(value, name)
        if isinstance(value.get("queries"), list):
            return _from_queries(value["queries"], name)
    raise HostUnreadableError("JSON of no format that hosts are exported in")


def _from_vuls(value: dict[str, Any]) -> Host:
    family, release = value["family"], value["release"]
    windows = family == "windows"
    ecosystem = ecosystem_of(family, release)
    if not ecosystem:
        raise HostUnreadableError(f"no advisories are known for the system {family!r}")
    sources = {}
    for source in (value.get("SrcPackages") or {}).values():
        for binary in source.get("binaryNames") or ():
            sources[binary] = (source["name"], source["version"])
    packages, candidates = [], {}
    for key, one in value["packages"].items():
        version = _joined(one["version"], one.get("release") or "")
        candidate = _joined(one.get("newVersion") or "", one.get("newRelease") or "")
        if candidate and candidate != version:
            candidates[one["name"]] = candidate
        source, source_version = sources.get(one["name"], sources.get(key, ("", "")))
        if candidate and source_version and _without_rebuild(candidate) == source_version != version:
            # The export holds one version of each source: of what is newest installed. This one is behind it.
            source_version = _without_rebuild(version)
        if not windows:
            module = ":".join((one.get("modularitylabel") or "").split(":")[:2])
            packages.append(
                Package(ecosystem, one["name"], version, source, source_version, one.get("arch") or "", module)
            )
    kernel = value.get("runningKernel") or {}
    updates = value.get("windowsKB") or {}
    scanned = value.get("scannedAt")
    return Host(
        name=value.get("serverName") or "",
        os_id=family,
        release=release,
        packages=tuple(packages),
        kernel_release=kernel.get("release") or "",
        kernel_version=kernel.get("version") or "",
        kbs_applied=frozenset(f"KB{number}" for number in updates.get("applied") or ()),
        kbs_offered=frozenset(f"KB{number}" for number in updates.get("unapplied") or ()),
        candidates=candidates,
        scanned_at=utc(_moment(scanned)) if scanned else None,
    )


def _without_rebuild(version: str) -> str:
    return re.sub(r"\+b[0-9]+$", "", version)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", text))


def _joined(version: str, release: str) -> str:
    return f"{version}-{release}" if release else version


def _from_queries(queries: list[dict[str, Any]], name: str) -> Host:
    packages = []
    for query in queries:
        ecosystem = canonical(query["package"]["ecosystem"])
        packages.append(Package(ecosystem, normal_name(ecosystem, query["package"]["name"]), query["version"]))
    system, _, release = next((one.ecosystem for one in packages if ":" in one.ecosystem), "").partition(":")
    return Host(name=name, os_id=system.lower(), release=release, packages=tuple(dict.fromkeys(packages)))


def _from_trivy_list(values: list[dict[str, Any]], name: str, system: str) -> Host:
    rows = []
    for one in values:
        version = _evr(one.get("Epoch"), one["Version"], one.get("Release"))
        source_version = _evr(one.get("SrcEpoch"), one.get("SrcVersion") or "", one.get("SrcRelease"))
        rows.append((one["Name"], version, one.get("SrcName") or "", source_version, one.get("Arch") or "", ""))
    return _listed(rows, name, system)


def _evr(epoch: Any, version: str, release: Any) -> str:
    joined = _joined(version, release or "")
    return f"{epoch}:{joined}" if epoch else joined


# --- plain lists -------------------------------------------------------------------------------------------

Row = tuple[str, str, str, str, str, str]
"""Name, version, source, version of the source, architecture, module."""

DPKG_L = re.compile(r"[uirph][ncHUFWti][ R]? +(\S+) +(\S+) +(\S+)(?: .*)?")
DPKG_SHOW = re.compile(
    r"(?:[uirph][ncHUFWti][ R]?\t)?([a-z0-9][a-z0-9+.-]+(?::[a-z0-9]+)?)[\t ]+([0-9]\S*)((?:[\t ]+\S+)*)\s*"
)
APT_LIST = re.compile(r"([a-z0-9][a-z0-9+.-]+)/\S+\s+(\S+)\s+(\S+)\s+\[.*installed.*\]")
RPM_QA = re.compile(
    r"([A-Za-z0-9_][\w.+-]*)-(?:([0-9]+):)?([^-\s:]+)-([^-\s]+?)\.(x86_64|noarch|i[3-6]86|aarch64|ppc64le|s390x|armv7hl|riscv64|src|\(none\))"
)
RPM_QF = re.compile(
    r"(\S+)[\t ]+((?:[0-9]+|\(none\)):)?([^\s:]+-\S+?)(?:[\t ]+(\S+))?"
    r"(?:[\t ]+(\S+\.src\.rpm|\(none\)))?(?:[\t ]+(\S+:\S+|\(none\)))?\s*"
)
APK = re.compile(r"([a-z0-9][\w.+-]*)-([0-9][^-\s]*-r[0-9]+)(?:\s+(\S+)\s+\{(\S+)\}.*)?")
HEADING = re.compile(r"(?:Desired=|\| Status=|\|/ Err\?=|\|\|/ |\+\+\+-|Listing\.\.\.|WARNING: )")


def _from_list(text: str, name: str, system: str) -> Host:
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not HEADING.match(line)]
    if not lines:
        raise HostUnreadableError("holds no package")
    if lines[0].startswith("Package: "):
        return _listed(list(_from_status(text)), name, system)
    for reader in (_dpkg_l, _apt_list, _apk, _rpm_qa, _dpkg_show, _rpm_qf):
        if reader(lines[0]) is not None:
            break
    else:
        raise HostUnreadableError(f"{lines[0][:100]!r} is no line of a package list that is known")
    rows = []
    for place, line in enumerate(lines, 1):
        row = reader(line)
        if row is None:
            raise HostUnreadableError(f"line {place}: {line[:100]!r} is no line of such a list as the first")
        if row[0] and row[0] != "gpg-pubkey":
            rows.append(row)
    return _listed(rows, name, system)


GONE: Row = ("", "", "", "", "", "")
"""A line of a package that is not installed any more."""


def _dpkg_l(line: str) -> Row | None:
    found = DPKG_L.fullmatch(line)
    if found is None:
        return None
    if line[1] in "nc":
        return GONE
    return (found[1].partition(":")[0], found[2], "", "", found[3], "")


def _dpkg_show(line: str) -> Row | None:
    found = DPKG_SHOW.fullmatch(line)
    if found is None:
        return None
    name, _, architecture = found[1].partition(":")
    more = found[3].split()
    if len(more) == 3:  # architecture, source, its version
        architecture, more = more[0], more[1:]
    source, source_version = (more[0], more[1]) if len(more) == 2 else (more[0] if more else "", "")
    return (name, found[2], source if source != name else "", source_version, architecture, "")


def _apt_list(line: str) -> Row | None:
    found = APT_LIST.fullmatch(line)
    return (found[1], found[2], "", "", found[3], "") if found else None


def _apk(line: str) -> Row | None:
    found = APK.fullmatch(line)
    return (found[1], found[2], found[4] or "", "", found[3] or "", "") if found else None


def _rpm_qa(line: str) -> Row | None:
    found = RPM_QA.fullmatch(line)
    if found is None:
        if line.startswith("gpg-pubkey-"):
            return GONE
        return None
    name, epoch, version, release, architecture = found.groups()
    prefix = UNKNOWN_EPOCH if epoch is None else "" if epoch == "0" else f"{epoch}:"
    return (name, f"{prefix}{version}-{release}", "", "", "" if architecture == "(none)" else architecture, "")


def _rpm_qf(line: str) -> Row | None:
    found = RPM_QF.fullmatch(line)
    if found is None:
        return GONE if line.startswith("gpg-pubkey") else None
    name, epoch, version, architecture, source_rpm, module = found.groups()
    prefix = "" if epoch in ("(none):", "0:") else UNKNOWN_EPOCH if epoch is None else epoch
    source = source_version = ""
    if source_rpm and source_rpm != "(none)":
        parts = source_rpm.removesuffix(".src.rpm").rsplit("-", 2)
        if len(parts) == 3:
            source, source_version = parts[0], f"{parts[1]}-{parts[2]}"
    label = ":".join(module.split(":")[:2]) if module and module != "(none)" else ""
    return (name, f"{prefix}{version}", source if source != name else "", source_version, architecture or "", label)


def _from_status(text: str) -> Iterator[Row]:
    for paragraph in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([A-Za-z-]+): *(.*)$", paragraph, re.MULTILINE))
        if "Package" in fields and "Version" in fields and " not-installed" not in fields.get("Status", ""):
            if "config-files" in fields.get("Status", ""):
                continue
            source = re.fullmatch(r"(\S+)(?: \((.*)\))?", fields.get("Source", "").strip())
            yield (
                fields["Package"],
                fields["Version"],
                source[1] if source else "",
                (source[2] or "") if source else "",
                fields.get("Architecture", ""),
                "",
            )


def _listed(rows: list[Row], name: str, system: str) -> Host:
    os_id, release = _system_named(system) if system else _system_of(rows)
    ecosystem = ecosystem_of(os_id, release)
    if not ecosystem:
        raise HostUnreadableError("the list does not tell of which system it is: say it, as in --os debian:12")
    packages = tuple(
        Package(ecosystem, name_, version, source if source != name_ else "", source_version, architecture, module)
        for name_, version, source, source_version, architecture, module in rows
    )
    return Host(name=name, os_id=os_id, release=release, packages=packages)


def _system_named(system: str) -> tuple[str, str]:
    os_id, _, release = system.partition(":")
    if os_id.lower() not in SYSTEMS:
        raise HostUnreadableError(f"{os_id!r} is no system that is known: {', '.join(sorted(SYSTEMS))}")
    return os_id.lower(), release


_UBUNTU_BASE_FILES = {
    "10.1": "18.04",
    "11": "20.04",
    "12": "22.04",
    "13": "24.04",
    "14": "26.04",
}
_RELEASE_PACKAGES: tuple[tuple[str, str], ...] = (
    ("almalinux-release", "almalinux"),
    ("rocky-release", "rocky"),
    ("redhat-release", "rhel"),
    ("redhat-release-server", "rhel"),
    ("centos-release", "centos"),
    ("centos-linux-release", "centos"),
    ("oraclelinux-release", "ol"),
    ("fedora-release-common", "fedora"),
    ("fedora-release", "fedora"),
    ("openSUSE-release", "opensuse-leap"),
    ("alpine-release", "alpine"),
    ("alpine-base", "alpine"),
)


def _system_of(rows: list[Row]) -> tuple[str, str]:
    """System and release, by the package that names them. Empty: none does."""
    versions = {name: version for name, version, *_ in rows}
    if "base-files" in versions and "dpkg" in versions:
        version = versions["base-files"]
        if "ubuntu" in version:
            number = version.partition("ubuntu")[0]
            return "ubuntu", _UBUNTU_BASE_FILES.get(number, "")
        return "debian", re.split(r"[.+~]", version)[0]
    for package, os_id in _RELEASE_PACKAGES:
        if package in versions:
            return os_id, versions[package].removeprefix(UNKNOWN_EPOCH).rpartition(":")[2].partition("-")[0]
    if "system-release" in versions and any(".amzn" in version for version in versions.values()):
        return "amzn", versions["system-release"].removeprefix(UNKNOWN_EPOCH).partition("-")[0]
    if "alpine-baselayout" in versions:
        return "alpine", ""
    return "", ""
