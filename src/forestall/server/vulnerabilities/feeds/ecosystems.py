"""Names of ecosystems, in one spelling: OSV's, without what does not tell releases apart."""

from __future__ import annotations

import re
from functools import lru_cache

DEBIAN_CODENAMES = {
    "hamm": "2",
    "slink": "2.1",
    "potato": "2.2",
    "woody": "3.0",
    "sarge": "3.1",
    "etch": "4",
    "lenny": "5",
    "squeeze": "6",
    "wheezy": "7",
    "jessie": "8",
    "stretch": "9",
    "buster": "10",
    "bullseye": "11",
    "bookworm": "12",
    "trixie": "13",
    "forky": "14",
    "duke": "15",
    "sid": "unstable",
}
UBUNTU_CODENAMES = {
    "precise": "12.04",
    "trusty": "14.04",
    "xenial": "16.04",
    "bionic": "18.04",
    "focal": "20.04",
    "jammy": "22.04",
    "noble": "24.04",
    "oracular": "24.10",
    "plucky": "25.04",
    "questing": "25.10",
    "resolute": "26.04",
}
# os-release's ID (and the words other tools use) → ecosystem, and how much of the version tells releases apart.
SYSTEMS: dict[str, tuple[str, int]] = {
    "debian": ("Debian", 1),
    "raspbian": ("Debian", 1),
    "ubuntu": ("Ubuntu", 2),
    "almalinux": ("AlmaLinux", 1),
    "alma": ("AlmaLinux", 1),
    "rocky": ("Rocky Linux", 1),
    "rhel": ("Red Hat", 1),
    "redhat": ("Red Hat", 1),
    "centos": ("Red Hat", 1),
    "ol": ("Oracle Linux", 1),
    "oracle": ("Oracle Linux", 1),
    "oraclelinux": ("Oracle Linux", 1),
    "amzn": ("Amazon Linux", 1),
    "amazon": ("Amazon Linux", 1),
    "fedora": ("Fedora", 1),
    "alpine": ("Alpine", 2),
    "wolfi": ("Wolfi", 0),
    "chainguard": ("Chainguard", 0),
    "opensuse-leap": ("openSUSE:Leap", 2),
    "opensuse.leap": ("openSUSE:Leap", 2),
    "opensuse-tumbleweed": ("openSUSE:Tumbleweed", 0),
    "sles": ("SUSE:Linux Enterprise Server", 2),
    "suse.linux.enterprise.server": ("SUSE:Linux Enterprise Server", 2),
    "azurelinux": ("Azure Linux", 1),
    "mariner": ("Azure Linux", 1),
    "photon": ("Photon OS", 2),
    "windows": ("Windows", 0),
}

# In these, advisories name the source package; in the others the installed one.
BY_SOURCE = frozenset({"Debian", "Ubuntu", "Alpine", "Rocky Linux", "Wolfi", "Chainguard"})
# purl type → ecosystem, for packages that languages bring.
LANGUAGES = {
    "pypi": "PyPI",
    "npm": "npm",
    "golang": "Go",
    "cargo": "crates.io",
    "maven": "Maven",
    "gem": "RubyGems",
    "composer": "Packagist",
    "nuget": "NuGet",
    "hex": "Hex",
    "pub": "Pub",
    "swift": "SwiftURL",
}


@lru_cache(maxsize=4096)
def canonical(ecosystem: str) -> str:
    """An ecosystem as OSV writes it, in our spelling: ``Ubuntu:22.04:LTS`` is ``Ubuntu:22.04``.

    ``Ubuntu:Pro:18.04:LTS`` stays apart as ``Ubuntu:Pro:18.04``; the repository behind a Red Hat release goes.
    """
    first, _, rest = ecosystem.partition(":")
    if first == "Ubuntu":
        return "Ubuntu:" + rest.removesuffix(":LTS") if rest else "Ubuntu"
    if first == "Red Hat":
        found = re.match(r"enterprise_linux:([0-9]+)(?![.0-9])", rest)
        if found:
            return f"Red Hat:{found[1]}"
        found = re.match(r"rhel_(eus|aus|tus|e4s|els):([0-9.]+)", rest)
        if found:
            return f"Red Hat:{found[2]}-{found[1].upper()}"
    if first in {"AlmaLinux", "Rocky Linux", "Oracle Linux"}:
        return f"{first}:{rest.partition('.')[0]}"
    if first == "openSUSE":
        return "openSUSE:" + rest.replace("Leap ", "Leap:")
    if first == "SUSE":
        found = re.match(r"Linux Enterprise Server ([0-9]+)(?: SP([0-9]+))?", rest)
        if found:
            return f"SUSE:Linux Enterprise Server:{found[1]}.{found[2] or 0}"
    return ecosystem


def ecosystem_of(system: str, release: str) -> str:
    """The ecosystem of an operating system (``ID`` and ``VERSION_ID`` of os-release); empty: none that we know."""
    known = SYSTEMS.get(system.lower())
    if known is None:
        return ""
    name, parts = known
    if not parts:
        return name
    digits = re.findall(r"[0-9]+", release)
    if not digits:
        codename = {**DEBIAN_CODENAMES, **UBUNTU_CODENAMES}.get(release.strip().lower(), "")
        return f"{name}:{codename}" if codename else name
    version = ".".join(digits[:parts])
    return f"{name}:v{version}" if name == "Alpine" else f"{name}:{version}"


def by_source(ecosystem: str) -> bool:
    """Whether the advisories of this ecosystem name source packages."""
    return ecosystem.partition(":")[0] in BY_SOURCE


def normal_name(ecosystem: str, name: str) -> str:
    """A package's name as it is compared: Python's and NuGet's names do not tell case, nor ``-``, ``_`` and ``.``."""
    if ecosystem == "PyPI":
        return re.sub(r"[-_.]+", "-", name).lower()
    if ecosystem in {"NuGet", "Packagist"}:
        return name.lower()
    return name
