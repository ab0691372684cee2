"""What dnf and zypper have in common: the packages in rpm's database, and which of two versions is the newer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cmp_to_key

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes, complaint

FORMAT = "%{NAME}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\t%{ARCH}\t%{INSTALLTIME}\n"
SOURCE = "rpm --query --all"
ARGV = ("rpm", "--query", "--all", f"--queryformat={FORMAT}")
_SEVERAL_AT_ONCE = re.compile(r"kernel(-.*)?|gpg-pubkey|kmod-.*|.*-kmp-.*")
"""Packages of which several versions may be there side by side (dnf's ``installonlypkgs``, zypper's multiversion)."""
_SEVERITIES = {"critical": "critical", "important": "high", "high": "high", "moderate": "medium", "medium": "medium"}


@dataclass(frozen=True, slots=True)
class Installed:
    """One package in rpm's database."""

    name: str
    version: str
    """``[epoch:]version-release``, without an epoch of 0."""
    architecture: str


def read(notes: Notes) -> tuple[Installed, ...]:
    """Every package there; empty, with a gap, when rpm does not tell."""
    result = notes.run(ARGV, what="installed packages", source=SOURCE)
    if result is not None and result.exit_code != 0:
        notes.gap("installed packages", complaint(result))
    return parse(result.stdout) if result else ()


def parse(text: str) -> tuple[Installed, ...]:
    """The output of ``rpm --query --all`` with our format. Imported signing keys are no packages."""
    rows = [line.split("\t") for line in text.splitlines()]
    return tuple(
        Installed(name=row[0], version=row[1].removeprefix("0:"), architecture=row[2] if row[2] != "(none)" else "")
        for row in rows
        if len(row) == 4 and row[0] != "gpg-pubkey"
    )


def newest(packages: Iterable[Installed]) -> dict[tuple[str, str], str]:
    """The newest version of each package by name and architecture."""
    found: dict[tuple[str, str], str] = {}
    for package in packages:
        key = (package.name, package.architecture)
        if key not in found or compare(package.version, found[key]) > 0:
            found[key] = package.version
    return found


def doubled(packages: Iterable[Installed]) -> dict[tuple[str, str], list[str]]:
    """Packages that are there in two versions and should not be, oldest first: an upgrade that was cut short."""
    versions: dict[tuple[str, str], list[str]] = {}
    for package in packages:
        versions.setdefault((package.name, package.architecture), []).append(package.version)
    return {
        key: sorted(several, key=version_key)
        for key, several in versions.items()
        if len(several) > 1 and not _SEVERAL_AT_ONCE.fullmatch(key[0])
    }


def unfinished(packages: Iterable[Installed]) -> tuple[str, ...]:
    """In words for ``UpdateProvider.unfinished``."""
    return tuple(
        f"{name}: {' and '.join(versions)} are both installed"
        for (name, _), versions in sorted(doubled(packages).items())
    )


def compare(left: str, right: str) -> int:
    """Below 0, 0 or above 0, as rpm orders ``[epoch:]version[-release]`` (rpmvercmp)."""
    (left_epoch, left_version, left_release), (right_epoch, right_version, right_release) = map(_parts, (left, right))
    if left_epoch != right_epoch:
        return left_epoch - right_epoch
    return _compare_part(left_version, right_version) or _compare_part(left_release, right_release)


version_key = cmp_to_key(compare)


def severity(word: str) -> str:
    """A vendor's word of severity as ``facts.Update.severity`` has it; empty for none and for unknown ones."""
    return _SEVERITIES.get(word.strip().lower(), "low" if word.strip().lower() == "low" else "")


def split_nevra(text: str) -> tuple[str, str, str] | None:
    """``openssl-libs-1:3.0.7-27.el9.x86_64[.rpm]`` as name, version and architecture; None when it is none."""
    head, dot, architecture = text.removesuffix(".rpm").rpartition(".")
    parts = head.rsplit("-", 2)
    if not dot or len(parts) != 3 or not all(parts):
        return None
    name, version, release = parts
    return name, f"{version}-{release}".removeprefix("0:"), architecture


def without_epoch(version: str) -> str:
    return version.rpartition(":")[2]


def ini_lists(text: str, *, section: str, keys: Iterable[str]) -> tuple[str, ...]:
    """The words of list settings in one section of an ini file as yum and dnf write them, continued lines included."""
    words: list[str] = []
    now, taking = "", False
    for line in text.splitlines():
        if found := re.match(r"\s*\[([^]]+)\]", line):
            now, taking = found[1], False
        elif found := re.match(r"(\w+)\s*=(.*)", line):
            taking = now == section and found[1] in keys
            words += re.split(r"[\s,]+", found[2].strip()) if taking else []
        elif taking and line[:1] in " \t" and not line.lstrip().startswith(("#", ";")):
            words += re.split(r"[\s,]+", line.strip())
    return tuple(word for word in words if word)


def ini_values(text: str, key: str) -> dict[str, str]:
    """The value of ``key`` in each section of an ini file that sets it."""
    values: dict[str, str] = {}
    now = ""
    for line in text.splitlines():
        if found := re.match(r"\s*\[([^]]+)\]", line):
            now = found[1]
        elif found := re.match(rf"{key}\s*=\s*(.*)", line):
            values[now] = found[1].strip()
    return values


def ini_sections(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"^\s*\[([^]]+)\]", text, re.MULTILINE))


def read_all(host: Host, pattern: str) -> str:
    """The files that match, joined; those that cannot be read are left out."""
    texts = []
    for path in host.glob(pattern):
        try:
            texts.append(host.read_text(path))
        except HostError:
            continue
    return "\n".join(texts)


def _parts(version: str) -> tuple[int, str, str]:
    epoch, colon, rest = version.partition(":")
    if not colon or not epoch.isdigit():
        epoch, rest = "0", version
    upstream, _, release = rest.partition("-")
    return int(epoch), upstream, release


def _compare_part(left: str, right: str) -> int:
    # rpm compares runs of digits as numbers and runs of letters as text; digits beat letters, "~" sorts before
    # everything, "^" after the end of the other and before anything that goes on.
    if left == right:
        return 0
    pieces = re.compile(r"\d+|[a-zA-Z]+|~|\^")
    left_pieces, right_pieces = pieces.findall(left), pieces.findall(right)
    for mine, other in zip(left_pieces, right_pieces, strict=False):
        if mine == other:
            continue
        for mark in "~^":
            if mark in (mine, other):
                return -1 if mine == mark else 1
        if mine.isdigit() != other.isdigit():
            return 1 if mine.isdigit() else -1
        if mine.isdigit() and int(mine) != int(other):
            return int(mine) - int(other)
        if not mine.isdigit():
            return -1 if mine < other else 1
    length = len(left_pieces) - len(right_pieces)
    if length == 0:
        return 0
    following = (left_pieces if length > 0 else right_pieces)[min(len(left_pieces), len(right_pieces))]
    return -length if following == "~" else length
