"""The ``software`` document: installed packages of the system, and of what keeps packages beside it.

The system's own manager is dpkg, rpm, pacman or apk. Flatpak, snap, pip, npm and fwupd (firmware) keep packages of
their own, which carry their manager's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.wire.facts import Package, Software

DPKG_STATUS = "/var/lib/dpkg/status"
PACMAN_DATABASE = "/var/lib/pacman/local"
APK_DATABASE = "/lib/apk/db/installed"
MOST_LANGUAGE_PACKAGES = 2000
"""Most of pip's and of npm's that are read: a machine with more is a build machine, and says so as a gap."""
_DPKG_FORMAT = "${db:Status-Abbrev}\t${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n"
_RPM_FORMAT = "%{NAME}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\t%{ARCH}\t%{SOURCERPM}\t%{MODULARITYLABEL}\n"
_OLD_RPM_FORMAT = "%{NAME}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\t%{ARCH}\t%{SOURCERPM}\n"
"""rpm before 4.14 knows no modules, and refuses a format that names them."""
_NOT_THERE = ("n", "c")
"""Second letter of dpkg's state: not installed, only configuration files left."""


def collect(host: Host) -> Software:
    notes = Notes(host)
    manager = package_manager(host)
    if manager:
        packages = _OWN[manager](notes)
    else:
        packages = ()
        notes.gap("packages", "neither dpkg nor rpm, pacman or apk keeps this system's packages")
    beside = [*_flatpak(notes), *_snap(notes), *_pip(notes), *_npm(notes), *_firmware(notes)]
    return Software(manager=manager, packages=(*packages, *_sorted(beside)), sources=notes.sources, gaps=notes.gaps)


def package_manager(host: Host) -> str:
    """``dpkg``, ``rpm``, ``pacman``, ``apk`` or empty: who keeps the system's own packages.

    Any of the programs may be there as a guest: the first that has a database and its program is the host.
    """
    try:
        if host.status(DPKG_STATUS).size > 0 and host.find_program("dpkg-query"):
            return "dpkg"
    except HostError:
        pass  # no such database: try the others
    if host.find_program("rpm") and host.glob("/var/lib/rpm/*") + host.glob("/usr/lib/sysimage/rpm/*"):
        return "rpm"
    if host.find_program("pacman") and host.glob(f"{PACMAN_DATABASE}/*/desc"):
        return "pacman"
    return "apk" if host.find_program("apk") and host.glob(APK_DATABASE) else ""


def _dpkg(notes: Notes) -> tuple[Package, ...]:
    result = notes.run(
        ["dpkg-query", "--show", f"--showformat={_DPKG_FORMAT}"], what="packages", source="dpkg-query --show"
    )
    if result is not None and result.exit_code != 0:
        notes.gap("packages", complaint(result))
    return parse_dpkg_query(result.stdout) if result else ()


def _rpm(notes: Notes) -> tuple[Package, ...]:
    argv = ["rpm", "--query", "--all"]
    result = notes.run([*argv, f"--queryformat={_RPM_FORMAT}"], what="packages", source="rpm --query --all")
    if result is not None and result.exit_code != 0 and "unknown tag" in result.stderr:
        result = notes.run([*argv, f"--queryformat={_OLD_RPM_FORMAT}"], what="packages", source="rpm --query --all")
    if result is not None and result.exit_code != 0:
        notes.gap("packages", complaint(result))
    return parse_rpm_query(result.stdout) if result else ()


def _pacman(notes: Notes) -> tuple[Package, ...]:
    texts = []
    for path in notes.host.glob(f"{PACMAN_DATABASE}/*/desc"):
        try:
            texts.append(notes.host.read_text(path))
        except HostError as error:
            notes.gap(f"package {path.split('/')[-2]}", error.why)
    notes.used(f"{PACMAN_DATABASE}/*/desc")
    return _sorted(package for package in map(parse_pacman_description, texts) if package)


def _apk(notes: Notes) -> tuple[Package, ...]:
    return parse_apk_database(notes.read(APK_DATABASE, what="packages") or "")


_OWN: dict[str, Callable[[Notes], tuple[Package, ...]]] = {"dpkg": _dpkg, "rpm": _rpm, "pacman": _pacman, "apk": _apk}


def _flatpak(notes: Notes) -> list[Package]:
    # The modules of the providers import this one: they are imported where they are needed.
    from forestall.agent.collect.providers import flatpak

    if not flatpak.present(notes.host):
        return []
    result = notes.run(flatpak.LIST, what="applications of flatpak", source="flatpak list", timeout=60)
    if result is not None and result.exit_code != 0:
        notes.gap("applications of flatpak", complaint(result))
    versions = flatpak.parse_list(result.stdout) if result else {}
    return [Package(name=name, version=version, manager="flatpak") for name, version in versions.items()]


def _snap(notes: Notes) -> list[Package]:
    from forestall.agent.collect.providers import snap

    if not snap.present(notes.host):
        return []
    result = notes.run(snap.LIST, what="snaps", source="snap list", timeout=30)
    if result is not None and result.exit_code != 0:
        notes.gap("snaps", complaint(result))
    versions = snap.parse_list(result.stdout)[0] if result else {}
    return [Package(name=name, version=version, manager="snap") for name, version in versions.items()]


def _firmware(notes: Notes) -> list[Package]:
    """Firmware by device, as fwupd reads it from the device itself: what an update came to shows here."""
    from forestall.agent.collect.providers import fwupd

    if not fwupd.present(notes.host):
        return []
    result = notes.run(fwupd.DEVICES, source="fwupdmgr get-devices", timeout=30)
    versions = fwupd.parse_versions(result.stdout) if result else {}
    return [Package(name=name, version=version, manager="fwupd") for name, (version, _) in versions.items()]


def _pip(notes: Notes) -> list[Package]:
    """Packages that pip (or a tool like it) put beside the system's own Pythons.

    Distributions put theirs into the same folders and mark them (``rpm``) or not at all (Debian): those are the
    system's packages already, and their fixes carry the distribution's versions.
    """
    from forestall.agent.collect.providers import pip

    host = notes.host
    found: dict[tuple[str, str], Package] = {}
    for folder in (each for pattern in pip.FOLDERS for each in host.glob(pattern)):
        named = re.fullmatch(r"(.+)-([^-]+)\.dist-info", folder.rpartition("/")[2])
        try:
            installer = host.read_text(f"{folder}/INSTALLER").strip()
        except HostError:
            continue
        if named is None or installer in {"", "rpm", "debian", "apk", "pacman"}:
            continue
        if len(found) >= MOST_LANGUAGE_PACKAGES:
            notes.gap("packages of pip", f"more than {MOST_LANGUAGE_PACKAGES}: the rest was not read")
            break
        found[named[1], named[2]] = Package(name=named[1], version=named[2], manager="pip")
    if found:
        notes.used("dist-info of the system's Pythons")
    return list(found.values())


def _npm(notes: Notes) -> list[Package]:
    """Packages that npm installed for the whole machine, without what these bring with them."""
    import msgspec

    from forestall.agent.collect.providers import npm

    found: dict[tuple[str, str], Package] = {}
    paths = [path for pattern in npm.FOLDERS for path in notes.host.glob(pattern)]
    for path in paths[:MOST_LANGUAGE_PACKAGES]:
        try:
            plain = msgspec.json.decode(notes.host.read_bytes(path))
        except (HostError, msgspec.DecodeError):
            continue
        name, version = (plain.get("name"), plain.get("version")) if isinstance(plain, dict) else (None, None)
        if isinstance(name, str) and isinstance(version, str):
            found[name, version] = Package(name=name, version=version, manager="npm")
    if len(paths) > MOST_LANGUAGE_PACKAGES:
        notes.gap("packages of npm", f"more than {MOST_LANGUAGE_PACKAGES}: the rest was not read")
    if found:
        notes.used("package.json of npm's global packages")
    return list(found.values())


def parse_pacman_description(text: str) -> Package | None:
    """One ``desc`` of pacman's local database: headings in ``%`` with values on the lines below. None: a half one."""
    fields = dict(re.findall(r"^%(NAME|VERSION|ARCH|BASE)%\n(.+)$", text, re.MULTILINE))
    if not {"NAME", "VERSION"} <= set(fields):
        return None
    base = fields.get("BASE", "")
    return Package(
        name=fields["NAME"],
        version=fields["VERSION"],
        architecture=fields.get("ARCH", ""),
        source=base if base != fields["NAME"] else "",
    )


def parse_apk_database(text: str) -> tuple[Package, ...]:
    """apk's installed database: stanzas of lines ``P:`` name, ``V:`` version, ``A:`` architecture, ``o:`` origin."""
    found = []
    for stanza in text.split("\n\n"):
        fields = dict(re.findall(r"^([PVAo]):(.+)$", stanza, re.MULTILINE))
        if "P" in fields and "V" in fields:
            origin = fields.get("o", "")
            found.append(
                Package(
                    name=fields["P"],
                    version=fields["V"],
                    architecture=fields.get("A", ""),
                    source=origin if origin != fields["P"] else "",
                )
            )
    return _sorted(found)


def module_of(label: str) -> str:
    """The stream of a modularity label (``nodejs:18:8060020220523160029:ad008a3a``): ``nodejs:18``."""
    return ":".join(label.split(":")[:2]) if label.count(":") >= 1 and label != "(none)" else ""


def _sorted(packages: Iterable[Package]) -> tuple[Package, ...]:
    return tuple(sorted(packages, key=lambda each: (each.manager, each.name, each.version, each.architecture)))


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
        if len(fields) not in (4, 5) or fields[0] == "gpg-pubkey":
            continue
        name, version, architecture, source_rpm = fields[:4]
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
                module=module_of(fields[4]) if len(fields) == 5 else "",
            )
        )
    return tuple(sorted(found, key=lambda each: (each.name, each.version, each.architecture)))
