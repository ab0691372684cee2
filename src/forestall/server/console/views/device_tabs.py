"""The tabs of a device that show its facts. Each takes what is known and gives tables; none touches the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import QueryDict
from django.utils.html import format_html

from forestall.server.console import parts, words
from forestall.server.console.parts import Column, Empty, Fact, Row, Table
from forestall.server.console.provenance import provenance
from forestall.wire.facts import Account, BackupJob, BackupRepository, Disk, Facts, Service, Volume
from forestall.wire.series import series_name

PACKAGES_A_PAGE = 200


@dataclass(frozen=True, slots=True)
class Known:
    """What a tab is made of."""

    facts: Facts
    meta: Mapping[str, tuple[datetime, datetime]]
    latest: Mapping[str, float]
    """Series name → newest sample."""
    first_seen: Mapping[str, datetime]
    query: QueryDict
    now: datetime


def _not_reported(document: str) -> Empty:
    return Empty(
        title="Not reported yet",
        why=f"The agent sends its {document} with the first check-in after enrolment, and again whenever they change.",
        command="forestall agent check-in",
    )


# --- updates -------------------------------------------------------------------------------------------------


def updates(known: Known) -> dict[str, Any]:
    document = known.facts.updates
    pending = sorted(document.pending if document else (), key=lambda u: (not u.security, u.name))
    rows = [
        Row(
            cells=[
                parts.text(update.name, f"{update.installed} → {update.candidate}"),
                parts.tag("security", "fail") if update.security else parts.none("not a security fix", "other"),
                update.origin or parts.none("the package list does not say", "unknown"),
                parts.moment(known.first_seen.get(f"updates:{update.name}={update.candidate}"), known.now, "just now"),
                parts.tag("held", "warn") if update.held else "",
            ]
        )
        for update in pending
    ]
    security = sum(update.security for update in pending)
    table = Table(
        caption="Pending updates",
        columns=[
            Column("Package", "lead"),
            Column("Kind", "second"),
            Column("Origin"),
            Column("Pending since"),
            Column("Held"),
        ],
        rows=rows,
        empty=Empty(
            "No update is pending",
            f"As of the package lists fetched {words.ago(document.lists_refreshed_at, known.now)}."
            if document.lists_refreshed_at
            else "But the device does not know when its package lists were last fetched.",
        )
        if document
        else _not_reported("updates"),
    )
    facts = []
    if document:
        facts = [
            Fact("Security", format_html("{}", words.plural(security, "update"))),
            Fact("Other", words.plural(len(pending) - security, "update")),
            Fact("Package lists", parts.moment(document.lists_refreshed_at, known.now, "never fetched")),
            Fact(
                "Security archive",
                _known(document.security_sources, "set up", "not set up: no fix can be known as one"),
            ),
            Fact("Package manager", document.manager or parts.none("none that the agent knows", "none")),
        ]
    return {
        "sections": [Section("", table)],
        "facts": facts,
        "provenance": provenance(known.facts, known.meta, "updates"),
    }


# --- software ------------------------------------------------------------------------------------------------


def software(known: Known) -> dict[str, Any]:
    document, antivirus = known.facts.software, known.facts.antivirus
    wanted = known.query.get("q", "").strip().lower()
    packages = [p for p in (document.packages if document else ()) if wanted in p.name.lower()]
    pages, stretch = parts.pages_of(known.query, len(packages), PACKAGES_A_PAGE)
    table = Table(
        caption="Installed packages",
        columns=[Column("Package", "lead"), Column("Version", "second"), Column("Architecture"), Column("Source")],
        rows=[
            Row(cells=[p.name, p.version, p.architecture, p.source or parts.none("named as the package", "same")])
            for p in packages[stretch]
        ],
        empty=Empty(f"No package is named like “{wanted}”", "Try a part of its name.", href="?", action="Show all")
        if wanted
        else _not_reported("software")
        if document is None
        else Empty("No packages", "The agent found no package manager that it knows on this device."),
        pages=pages,
    )
    products = Table(
        caption="Antivirus",
        columns=[Column("Antivirus", "lead"), Column("Running", "second"), Column("Real time"), Column("Definitions")],
        rows=[
            Row(
                cells=[
                    parts.text(product.name, product.version),
                    _known(product.running, "running", "not running"),
                    _known(product.real_time, "on", "off"),
                    parts.moment(product.definitions_at, known.now, "age unknown"),
                ]
            )
            for product in (antivirus.products if antivirus else ())
        ],
        empty=Empty("No antivirus found", "The agent looks for ClamAV.") if antivirus else _not_reported("antivirus"),
    )
    return {
        "sections": [
            Section(f"{words.plural(len(packages), 'package')}", table),
            Section("Antivirus", products),
        ],
        "filters": parts.Filters(choices=[], search=known.query.get("q", ""), placeholder="Filter packages"),
        "facts": [],
        "provenance": provenance(known.facts, known.meta, "software", "antivirus"),
    }


# --- services ------------------------------------------------------------------------------------------------

_SERVICE_ORDER = {"failed": 0, "stopped": 1, "starting": 2, "unknown": 3, "running": 4, "exited": 5}


def _service_rank(service: Service) -> tuple[int, str]:
    # Stopped and not wanted at boot is how most services rest: no reason to come first.
    stopped_by_choice = service.state == "stopped" and not service.enabled
    return (6 if stopped_by_choice else _SERVICE_ORDER[service.state], service.name)


def services(known: Known) -> dict[str, Any]:
    document, network = known.facts.services, known.facts.network
    table = Table(
        caption="Services",
        columns=[
            Column("Service", "lead"),
            Column("State", "second"),
            Column("At boot"),
            Column("Since"),
            Column("Detail"),
        ],
        rows=[
            Row(
                cells=[
                    parts.text(service.name, service.description),
                    parts.status("fail", "failed") if service.state == "failed" else service.state,
                    _known(service.enabled, "starts", "does not start"),
                    parts.moment(service.since, known.now, "–"),
                    service.detail,
                ]
            )
            for service in sorted(document.services if document else (), key=_service_rank)
        ],
        empty=_not_reported("services")
        if document is None
        else Empty("No services", "The agent found no service manager that it knows on this device."),
    )
    sockets = Table(
        caption="Listening sockets",
        columns=[Column("Socket", "lead"), Column("Reach", "second"), Column("Process"), Column("User")],
        rows=[
            Row(
                cells=[
                    f"{socket.protocol}/{socket.port}",
                    "every interface" if socket.exposed else socket.address,
                    socket.process or parts.none("the agent may not see whose it is", "unknown"),
                    socket.user or parts.none("the agent may not see whose it is", "unknown"),
                ]
            )
            for socket in sorted(
                network.listening if network else (), key=lambda s: (not s.exposed, s.port, s.protocol)
            )
        ],
        empty=_not_reported("network")
        if network is None
        else Empty("Nothing listens", "No socket waits for connections."),
    )
    return {
        "sections": [
            Section("Services", table),
            Section("Listening sockets", sockets),
            Section("Certificates", _certificates(known)),
        ],
        "facts": [],
        "provenance": provenance(known.facts, known.meta, "services", "network", "certificates"),
    }


def _certificates(known: Known) -> Table:
    document = known.facts.certificates
    return Table(
        caption="Certificates of TLS servers on this device",
        columns=[Column("Certificate", "lead"), Column("Expires", "second"), Column("Issuer"), Column("Served at")],
        rows=[
            Row(
                cells=[
                    parts.text(certificate.subject, words.listing(certificate.names)),
                    parts.moment(certificate.not_after, known.now, "unknown"),
                    "self-signed" if certificate.self_signed else certificate.issuer,
                    f"{certificate.address}:{certificate.port}",
                ]
            )
            for certificate in (document.certificates if document else ())
        ],
        empty=Empty("No certificates", "No TLS server answered on the sockets of this device.")
        if document
        else _not_reported("certificates"),
    )


# --- storage -------------------------------------------------------------------------------------------------


def storage(known: Known) -> dict[str, Any]:
    volumes, disks = known.facts.volumes, known.facts.disks
    table = Table(
        caption="Volumes",
        columns=[
            Column("Volume", "lead"),
            Column("Used", "second num"),
            Column("Free", "num"),
            Column("Size", "num"),
            Column("Inodes used", "num"),
            Column("File system"),
        ],
        rows=[Row(cells=_volume(volume, known.latest)) for volume in (volumes.volumes if volumes else ())],
        empty=Empty("No volumes", "No mounted file system holds data.") if volumes else _not_reported("volumes"),
    )
    health = Table(
        caption="Disks",
        columns=[
            Column("Disk", "lead"),
            Column("Health", "second"),
            Column("Size", "num"),
            Column("Temperature", "num"),
            Column("Powered on", "num"),
            Column("Wear", "num"),
            Column("Bad sectors", "num"),
        ],
        rows=[Row(cells=_disk(disk)) for disk in (disks.disks if disks else ())],
        empty=Empty("No disks", "The device names no disk of its own.") if disks else _not_reported("disks"),
    )
    return {
        "sections": [Section("Volumes", table), Section("Disks", health)],
        "facts": [],
        "provenance": provenance(known.facts, known.meta, "volumes", "disks"),
    }


def _volume(volume: Volume, latest: Mapping[str, float]) -> Sequence[parts.Html]:
    def sample(metric: str) -> float | None:
        return latest.get(series_name(metric, volume=volume.mountpoint))

    used, free, inodes = sample("disk.used_percent"), sample("disk.free_bytes"), sample("inodes.used_percent")
    unknown = parts.none("no sample has come yet", "unknown")
    return [
        parts.text(volume.mountpoint, volume.device),
        unknown if used is None else f"{used:.1f} %",
        unknown if free is None else words.size(free),
        words.size(volume.total_bytes),
        parts.none("this file system has no fixed number of inodes", "n/a")
        if not volume.total_inodes
        else unknown
        if inodes is None
        else f"{inodes:.1f} %",
        volume.filesystem + (", read-only" if volume.read_only else ""),
    ]


def _disk(disk: Disk) -> Sequence[parts.Html]:
    why = disk.unknown_why or "the disk does not say"
    unknown = parts.none(why, "unknown")
    if disk.smart_passed is None:
        health: parts.Html = parts.text(parts.status("unknown"), why)
    else:
        health = parts.status("pass", "healthy") if disk.smart_passed else parts.status("fail", "failing")
    bad = [n for n in (disk.reallocated_sectors, disk.pending_sectors, disk.uncorrectable_sectors) if n is not None]
    return [
        parts.text(disk.device, " ".join(filter(None, (disk.model, disk.kind)))),
        health,
        words.size(disk.size_bytes),
        unknown if disk.temperature_celsius is None else f"{disk.temperature_celsius:.0f} °C",
        unknown if disk.power_on_hours is None else f"{disk.power_on_hours:,} h",
        unknown if disk.wear_percent is None else f"{disk.wear_percent:.0f} %",
        f"{sum(bad):,}" if bad else unknown,
    ]


# --- access --------------------------------------------------------------------------------------------------


def access(known: Known) -> dict[str, Any]:
    document, sshd, firewall = known.facts.access, known.facts.sshd, known.facts.firewall
    accounts = sorted(document.accounts if document else (), key=lambda a: (not a.administrator, not a.login, a.uid))
    people = [account for account in accounts if account.administrator or account.login]
    table = Table(
        caption="Accounts that can sign in or administer",
        columns=[
            Column("Account", "lead"),
            Column("Rights", "second"),
            Column("Password"),
            Column("SSH keys", "num"),
            Column("Last sign-in"),
        ],
        rows=[Row(cells=_account(account, known)) for account in people],
        empty=Empty("Nobody can sign in", "No account has a shell or administrator rights.")
        if document
        else _not_reported("access"),
    )
    settings = Table(
        caption="Settings of the SSH server",
        columns=[Column("Setting", "lead"), Column("Value", "second")],
        rows=[Row(cells=[name, value]) for name, value in sorted((sshd.settings if sshd else {}).items())],
        empty=_not_reported("sshd")
        if sshd is None
        else Empty("No SSH server", "sshd is not installed on this device.")
        if not sshd.installed
        else Empty("Settings unknown", "The agent could not read them."),
        keep=True,
    )
    facts = []
    if document:
        rules = document.sudo_rules
        facts.append(
            Fact(
                "Sudo rules", parts.none("reading sudoers needs root", "unknown") if rules is None else f"{len(rules)}"
            )
        )
        facts.append(Fact("System accounts", f"{len(accounts) - len(people)} without sign-in"))
    if firewall:
        facts.append(
            Fact("Firewall", _known(firewall.active, f"{firewall.tool} filters inbound", "nothing filters inbound"))
        )
        facts.append(Fact("Inbound by default", firewall.default_inbound))
    sections = [Section("Accounts", table)]
    if document and document.sudo_rules:
        sections.append(
            Section(
                "Sudo rules",
                Table(
                    "Sudo rules", [Column("Rule", "lead")], [Row([rule]) for rule in document.sudo_rules], table.empty
                ),
            )
        )
    return {
        "sections": [*sections, Section("SSH server", settings)],
        "facts": facts,
        "provenance": provenance(known.facts, known.meta, "access", "sshd", "firewall"),
    }


def _account(account: Account, known: Known) -> Sequence[parts.Html]:
    rights = parts.text("administrator", ", ".join(account.administrator_because)) if account.administrator else "user"
    return [
        parts.text(account.name, f"uid {account.uid}"),
        rights,
        parts.tag("empty", "fail") if account.password == "empty" else account.password,  # noqa: S105 - a state
        parts.none("reading other people's keys needs root", "unknown")
        if account.ssh_keys is None
        else str(account.ssh_keys),
        parts.moment(account.last_login, known.now, "never seen"),
    ]


# --- backups -------------------------------------------------------------------------------------------------


def backups(known: Known) -> dict[str, Any]:
    document = known.facts.backups
    rows = []
    every: tuple[BackupRepository | BackupJob, ...] = (*document.repositories, *document.jobs) if document else ()
    for repository in every:
        unknown = parts.none(repository.unknown_why or "the tool does not say", "unknown")
        ran = repository.last_run_ok
        rows.append(
            Row(
                cells=[
                    parts.text(repository.name, repository.location),
                    parts.moment(
                        repository.last_success_at, known.now, "never" if not repository.unknown_why else "unknown"
                    ),
                    unknown
                    if ran is None
                    else parts.status("pass", "ran well")
                    if ran
                    else parts.text(parts.status("fail", "failed"), repository.last_run_detail),
                    parts.moment(repository.last_run_at, known.now, "unknown"),
                    unknown if repository.snapshots is None else f"{repository.snapshots:,}",
                    _backup_size(repository),
                    _backup_place(repository),
                    repository.tool,
                ]
            )
        )
    table = Table(
        caption="Backup repositories",
        columns=[
            Column("Repository", "lead"),
            Column("Last good backup", "second"),
            Column("Last run"),
            Column("Ran"),
            Column("Snapshots", "num"),
            Column("Size", "num"),
            Column("Where it lies"),
            Column("Tool"),
        ],
        rows=rows,
        empty=Empty(
            "No backup was found",
            "The agent looks for restic, borg and rsnapshot, and for backups named in backups.toml in its state "
            "folder. A device without a known backup has no proof that its data can come back.",
        )
        if document
        else _not_reported("backups"),
    )
    facts = []
    if document:
        facts.append(
            Fact(
                "Tools",
                words.listing(document.tools) if document.tools else parts.none("none of those that are known", "none"),
            )
        )
    return {
        "sections": [Section("", table)],
        "facts": facts,
        "provenance": provenance(known.facts, known.meta, "backups"),
    }


def _backup_size(backup: BackupRepository | BackupJob) -> parts.Html:
    if not isinstance(backup, BackupRepository) or backup.size_bytes is None:
        return parts.none("the tool does not say", "unknown")
    return words.size(backup.size_bytes)


def _backup_place(backup: BackupRepository | BackupJob) -> parts.Html:
    """Where it is kept, and who can reach it, as far as that is known."""
    if not isinstance(backup, BackupRepository):
        return parts.none("nobody has said", "unknown")
    said = [
        "" if backup.remote is None else "elsewhere" if backup.remote else "on this device",
        "offline" if backup.offline else "",
        "immutable" if backup.immutable else "",
        "encrypted" if backup.encrypted else "",
    ]
    return ", ".join(one for one in said if one) or parts.none("nobody has said", "unknown")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and a table."""

    title: str
    table: Table


def _known(value: bool | None, yes: str, no: str) -> parts.Html:  # noqa: FBT001 - three states read from a fact
    if value is None:
        return parts.none("the device could not tell", "unknown")
    return yes if value else no


FACTS_TABS: dict[str, tuple[str, Callable[[Known], dict[str, Any]]]] = {
    "updates": ("Updates", updates),
    "software": ("Software", software),
    "services": ("Services", services),
    "storage": ("Storage", storage),
    "access": ("Access", access),
    "backups": ("Backups", backups),
}
