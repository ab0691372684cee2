"""The ``software`` document: installed packages of dpkg or rpm."""

from __future__ import annotations

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.wire.facts import Package, Software

DPKG_STATUS = "/var/lib/dpkg/status"
_DPKG_FORMAT = "${db:Status-Abbrev}\t${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n"
_RPM_FORMAT = "%{NAME}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\t%{ARCH}\t%{SOURCERPM}\n"
_NOT_THERE = ("n", "c")
"""Second letter of dpkg's state: not installed, only configuration files left."""


def collect(host: Host) -> Software:
    notes = Notes(host)
    manager = package_manager(host)
    packages: tuple[Package, ...] = ()
    if manager == "dpkg":
        result = notes.run(
            ["dpkg-query", "--show", f"--showformat={_DPKG_FORMAT}"], what="packages", source="dpkg-query --show"
        )
        packages = parse_dpkg_query(result.stdout) if result else ()
    elif manager == "rpm":
        result = notes.run(
            ["rpm", "--query", "--all", f"--queryformat={_RPM_FORMAT}"], what="packages", source="rpm --query --all"
        )
        packages = parse_rpm_query(result.stdout) if result else ()
    else:
        result = None
        notes.gap("packages", "neither dpkg nor rpm keeps this system's packages")
    if result is not None and result.exit_code != 0:
        notes.gap("packages", complaint(result))
    return Software(manager=manager, packages=packages, sources=notes.sources, gaps=notes.gaps)


def package_manager(host: Host) -> str:
    """``dpkg``, ``rpm`` or empty: who keeps the system's own packages (either program may be there as a guest)."""
    try:
        if host.status(DPKG_STATUS).size > 0 and host.find_program("dpkg-query"):
            return "dpkg"
    except HostError:
        pass  # no such database: try the other
    return (
        "rpm" if host.find_program("rpm") and host.glob("/var/lib/rpm/*") + host.glob("/usr/lib/sysimage/rpm/*") else ""
    )


def parse_dpkg_query(text: str) -> tuple[Package, ...]:
    """Packages in the output of dpkg-query with our format, sorted. Those with only configuration left are none."""
    found = []
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) != 6 or fields[0][1:2] in _NOT_THERE or not fields[2]:
            continue
        _, name, version, architecture, source, source_version = fields
        found.append(
            Package(
                name=name,
                version=version,
                architecture=architecture,
                source=source if source != name else "",
                source_version=source_version if source_version != version else "",
            )
        )
    return tuple(sorted(found, key=lambda each: (each.name, each.architecture)))


def parse_rpm_query(text: str) -> tuple[Package, ...]:
    """Packages in the output of rpm with our format, sorted. Imported signing keys are no packages."""
    found = []
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) != 4 or fields[0] == "gpg-pubkey":
            continue
        name, version, architecture, source_rpm = fields
        version = version.removeprefix("0:")
        # glibc-2.34-100.el9.src.rpm: name, version, release
        parts = source_rpm.removesuffix(".rpm").rpartition(".")[0].rsplit("-", 2)
        source, source_version = (parts[0], f"{parts[1]}-{parts[2]}") if len(parts) == 3 else ("", "")
        found.append(
            Package(
                name=name,
                version=version,
                architecture=architecture if architecture != "(none)" else "",
                source=source if source != name else "",
                source_version=source_version
                if source_version != version.partition(":")[2] and source_version != version
                else "",
            )
        )
    return tuple(sorted(found, key=lambda each: (each.name, each.version, each.architecture)))
