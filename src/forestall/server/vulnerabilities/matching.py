"""Which advisories a host is open to.

Each installed package is looked up under the name that its ecosystem's advisories use: the source package in Debian,
Ubuntu, Alpine and Rocky, the installed one elsewhere. Of kernels counts the one that runs and the newest installed,
not the older ones that wait to be removed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from forestall.server.vulnerabilities.feeds.csaf import SOURCE
from forestall.server.vulnerabilities.feeds.ecosystems import by_source
from forestall.server.vulnerabilities.index import UNKNOWN_EPOCH, Index
from forestall.server.vulnerabilities.types import Finding, Host, Package
from forestall.server.vulnerabilities.versions import key_of, rpm, scheme_of
from forestall.server.vulnerabilities.windows import split_build

SourceOf = Callable[[str, str], str]
"""(ecosystem, package) → its source package; empty: not known."""

DEB_KERNEL = re.compile(
    r"linux-(image|image-unsigned|image-extra|modules|modules-extra|headers|buildinfo|tools|cloud-tools)"
    r"-([0-9]+\.[0-9]+[0-9.]*-[0-9]+)(?:-(.+))?"
)
RPM_KERNEL = re.compile(
    r"kernel(?:-(?:rt|uek|64k|default|lts|azure|ml|lt))?(?:-debug)?"
    r"(?:-(?:core|modules|modules-core|modules-extra|modules-internal|devel|devel-matched))?"
)
UBUNTU_FLAVOURS = frozenset({"aws", "azure", "gcp", "gke", "ibm", "kvm", "oracle", "raspi", "lowlatency", "nvidia"})
SIGNED = re.compile(r"([0-9][0-9.]*(?:~rc[0-9]+)?)\+(.*)")


@dataclass(frozen=True, slots=True)
class Lookup:
    """What of a package is asked of the index, and how the answer is meant."""

    package: Package
    ecosystem: str
    name: str
    version: str
    module: str = ""
    only_running: bool = False
    """It runs, but another version of it is what the next start takes."""


def lookups(host: Host, source_of: SourceOf | None = None) -> list[Lookup]:
    """What to ask of the index for a host: package versions under the names that advisories use.

    ``source_of`` says what a package is made from, for lists that do not (``dpkg -l``).
    """
    asked: dict[Lookup, None] = {}
    build = split_build(host.kernel_version) if host.os_id.lower() == "windows" else None
    if build is not None:
        package = Package("Windows", host.release or "Windows", host.kernel_version)
        asked[Lookup(package, "Windows", build[0], build[1])] = None
    for package, only_running in _installed(host):
        for name, version in _names(package, source_of):
            asked[Lookup(package, package.ecosystem, name, version, package.module, only_running)] = None
    return list(asked)


def match_host(index: Index, host: Host) -> list[Finding]:
    """Everything a host is open to, sorted by package and advisory; each (package, advisory) once."""
    found: dict[tuple[str, str], Finding] = {}
    for asked in lookups(host, index.source_of):
        package = asked.package
        for one in index.findings_of(
            asked.ecosystem, asked.name, asked.version, asked.module, architecture=package.architecture
        ):
            # A KB that is installed while its build does not run yet waits for the restart.
            waiting = asked.only_running or one.advisory in host.kbs_applied
            finding = Finding(
                package=package.name,
                installed=package.version.removeprefix(UNKNOWN_EPOCH),
                fixed=one.fixed,
                advisory=one.advisory,
                cves=one.cves,
                severity=one.severity,
                known_exploited=one.known_exploited,
                source=asked.name if asked.name != package.name else "",
                ecosystem=package.ecosystem,
                only_running=waiting,
                published_at=one.published_at,
            )
            place = (package.name, one.advisory)
            if place not in found or (found[place].only_running and not waiting):
                found[place] = finding
    return [found[place] for place in sorted(found)]


def _names(package: Package, source_of: SourceOf | None) -> Iterator[tuple[str, str]]:
    """The names under which advisories would speak of a package, each with the version to compare."""
    ecosystem = package.ecosystem
    if by_source(ecosystem):
        source, version = package.source, package.source_version or package.version
        if not source:
            source = (
                (source_of(ecosystem, package.name) if source_of else "") or _kernel_source(package) or package.name
            )
        if scheme_of(ecosystem) == "deb":
            if not package.source_version and "+b" in version:
                version = re.sub(r"\+b[0-9]+$", "", version)
            if source.startswith(("linux-signed", "grub-efi-")):
                source, version = _unsigned(source, version, package.version)
        else:
            version = _with_epoch(version, package.version)
        yield source, version
        if source != package.name and scheme_of(ecosystem) == "rpm":
            yield package.name, package.version
    else:
        yield package.name, package.version
        if ecosystem.startswith("Red Hat:"):
            source = package.source or package.name
            version = _with_epoch(package.source_version or package.version, package.version)
            yield SOURCE + source, version


def _kernel_source(package: Package) -> str:
    """The source of a kernel's package whose list does not tell it; empty: not a kernel's package."""
    found = DEB_KERNEL.fullmatch(package.name) if scheme_of(package.ecosystem) == "deb" else None
    if found is None:
        return ""
    flavour = found[3] or ""
    return f"linux-{flavour}" if flavour in UBUNTU_FLAVOURS and package.ecosystem.startswith("Ubuntu") else "linux"


def _with_epoch(source_version: str, version: str) -> str:
    """The version of an rpm source package: its file's name leaves the epoch out, which is the installed package's."""
    epoch = rpm.split(version.removeprefix(UNKNOWN_EPOCH))[0]
    if version.startswith(UNKNOWN_EPOCH) and not source_version.startswith(UNKNOWN_EPOCH):
        return UNKNOWN_EPOCH + source_version
    return f"{epoch}:{source_version}" if epoch and ":" not in source_version else source_version


def _unsigned(source: str, version: str, binary_version: str) -> tuple[str, str]:
    """The source package that a signed one is made from: advisories name ``linux``, not ``linux-signed-amd64``."""
    if source.startswith("linux-signed"):
        rest = source.removeprefix("linux-signed")
        debian = re.fullmatch(r"-(?:amd64|arm64|i386|armhf|ppc64el|s390x|riscv64|loong64)", rest)
        found = SIGNED.fullmatch(version)
        if debian:
            return "linux", f"{found[1]}-{found[2]}" if found else binary_version
        return "linux" + rest, version
    if re.fullmatch(r"grub-efi-\w+-signed", source):
        found = re.fullmatch(r"[0-9]+\+([^+]+)\+(.*)", version)
        if found:
            return "grub2", f"{found[1]}-{found[2]}"
    return source, version


# --- kernels -----------------------------------------------------------------------------------------------


def _installed(host: Host) -> Iterator[tuple[Package, bool]]:
    """Packages that count, and whether each only runs while a newer one is installed."""
    kernels: list[Package] = []
    for package in host.packages:
        if _is_kernel(package):
            kernels.append(package)
        else:
            yield package, False
    if not kernels:
        return
    yield from (_deb_kernels if scheme_of(kernels[0].ecosystem) == "deb" else _rpm_kernels)(kernels, host)


def _is_kernel(package: Package) -> bool:
    scheme = scheme_of(package.ecosystem)
    if scheme == "deb":
        return DEB_KERNEL.fullmatch(package.name) is not None
    return scheme == "rpm" and RPM_KERNEL.fullmatch(package.name) is not None


def _deb_kernels(kernels: list[Package], host: Host) -> Iterator[tuple[Package, bool]]:
    """Each kernel is a package of its own name there: ``linux-image-6.1.0-29-amd64``."""
    running = _abi(host.kernel_release)
    key = key_of(kernels[0].ecosystem)
    by_abi: dict[str, list[Package]] = {}
    images: dict[str, str] = {}
    for package in kernels:
        found = DEB_KERNEL.fullmatch(package.name)
        assert found is not None  # noqa: S101 - the caller sorted them
        by_abi.setdefault(found[2], []).append(package)
        if found[1].startswith("image"):
            images[found[2]] = max(images.get(found[2], ""), package.version, key=key)
    newest = max(images or by_abi, key=lambda abi: key(images.get(abi) or by_abi[abi][0].version))
    for abi, packages in by_abi.items():
        if abi == newest or (abi == running and abi in images) or (running and not images):
            for package in packages:
                yield package, abi != newest
    if running and images and running not in images and host.kernel_version:
        # Removed while it runs.
        yield (
            replace(
                next(one for one in by_abi[newest] if "image" in one.name),
                name=f"linux-image-{host.kernel_release}",
                version=host.kernel_version,
                source="linux",
                source_version=host.kernel_version,
            ),
            True,
        )


def _abi(release: str) -> str:
    """``6.1.0-29`` of the kernel release ``6.1.0-29-amd64``."""
    found = re.match(r"[0-9]+\.[0-9]+[0-9.]*-[0-9]+", release)
    return found[0] if found else ""


def _rpm_kernels(kernels: list[Package], host: Host) -> Iterator[tuple[Package, bool]]:
    """Several versions of one name may be installed there: ``kernel-core``."""
    key = key_of(kernels[0].ecosystem)
    by_name: dict[str, list[Package]] = {}
    for package in kernels:
        by_name.setdefault(package.name, []).append(package)
    some_runs = False
    for packages in by_name.values():
        newest = max(packages, key=lambda one: key(one.version.removeprefix(UNKNOWN_EPOCH)))
        for package in packages:
            runs = _runs(package, host.kernel_release)
            some_runs = some_runs or runs
            if package is newest:
                yield package, False
            elif runs:
                yield package, True
    found = re.fullmatch(r"([^-]+-.+)\.(x86_64|aarch64|ppc64le|s390x)(?:\+.*)?", host.kernel_release)
    if host.kernel_release and not some_runs and found and _same_flavour(found[1], kernels):
        name = "kernel-core" if "kernel-core" in by_name else kernels[0].name
        yield replace(by_name[name][0] if name in by_name else kernels[0], name=name, version=found[1]), True


def _runs(package: Package, release: str) -> bool:
    version = package.version.removeprefix(UNKNOWN_EPOCH).rpartition(":")[2]
    return bool(release) and (release == version or release.startswith((f"{version}.", f"{version}+")))


def _same_flavour(version: str, kernels: list[Package]) -> bool:
    """Whether a running kernel that is not installed may be an older one of those that are: by its release's words."""
    words = set(re.findall(r"el[0-9]+|uek|amzn[0-9]+|fc[0-9]+", version))
    return any(words and words <= set(re.findall(r"el[0-9]+|uek|amzn[0-9]+|fc[0-9]+", one.version)) for one in kernels)


def sources_unknown(host: Host) -> bool:
    """Whether advisories name source packages, and the host tells of no package what it is made from."""
    named = [one for one in host.packages if by_source(one.ecosystem)]
    return len(named) > 1 and not any(one.source or one.source_version for one in named) and not _from_queries(named)


def _from_queries(packages: list[Package]) -> bool:
    """Lists of source packages themselves hold no architectures."""
    return not any(one.architecture for one in packages)


def kernels_without_running(host: Host) -> bool:
    """Whether several versions of a kernel are installed and it is not told which runs: older ones are not matched."""
    kernels = [one for one in host.packages if _is_kernel(one)]
    return not host.kernel_release and len({one.version for one in kernels}) > 1
