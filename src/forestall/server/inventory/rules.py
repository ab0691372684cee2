"""Decisions about devices and their facts. No I/O."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from forestall.wire.facts import (
    Access,
    Antivirus,
    Arrays,
    Assessments,
    BackupJob,
    BackupRepository,
    Backups,
    Certificates,
    Disks,
    Document,
    Firewall,
    Hardening,
    Network,
    Plugins,
    Readiness,
    Restarts,
    Scheduled,
    Services,
    Software,
    Sshd,
    System,
    Time,
    Updates,
    Volumes,
)

NAMED_AT_MOST = 4
"""Things named in one summary; the rest is counted."""
SUMMARY_LENGTH = 500
KEY_LENGTH = 400
OLDEST_BELIEVED = timedelta(days=8)
"""A spool holds seven days; a document that claims to be older comes from a wrong clock."""
TOKEN_VERSION = "fse1"  # noqa: S105 - a recognisable beginning, for secret scanners

T = TypeVar("T")


def token_text(*, secret: str, ca_fingerprint: str, root_fingerprint: str) -> str:
    """An enrolment token as a person copies it: secret, authority to pin, operator root to pin."""
    return ".".join((TOKEN_VERSION, secret, ca_fingerprint, root_fingerprint))


def clean_name(hostname: str, *, otherwise: str) -> str:
    """A host name fit to be shown: printable, one line, at most 200 characters; ``otherwise`` when nothing is left."""
    shown = "".join(letter for letter in hostname if not unicodedata.category(letter).startswith("C")).strip()
    return shown[:200] or otherwise


def believed_time(*, claimed: datetime, received: datetime) -> datetime:
    """When something was seen, by a device's clock, kept within what can be true at ``received``."""
    return min(max(claimed, received - OLDEST_BELIEVED), received)


def first_seen_keys(document: Document) -> frozenset[str] | None:
    """What in ``document`` is remembered by its first appearance; None: nothing in this kind of document.

    Pending updates (``updates:NAME=CANDIDATE``: a newer candidate is a new obligation) and administrators
    (``access:NAME``).
    """
    if isinstance(document, Updates):
        return frozenset(f"updates:{one.name}={one.candidate}"[:KEY_LENGTH] for one in document.pending)
    if isinstance(document, Access):
        return frozenset(f"access:{one.name}"[:KEY_LENGTH] for one in document.accounts if one.administrator)
    return None


def summarise_change(old: Document, new: Document) -> str:
    """What changed between two documents of one kind, in words; empty when nothing a person would call a change.

    >>> summarise_change(Software(packages=()), Software(packages=()))
    ''
    """
    if type(old) is not type(new):
        raise ValueError(f"two documents of one kind expected: {old.name()!r} and {new.name()!r}")
    text = "; ".join(part for part in _SUMMARISERS[type(new)](old, new) if part)
    return text if len(text) <= SUMMARY_LENGTH else text[: SUMMARY_LENGTH - 1] + "…"


def _listing(noun: str, what: str, names: Iterable[str], *, plural: str = "") -> str:
    """``3 packages upgraded: libc6, …``: counted, the first few named; empty when there is none."""
    listed = list(dict.fromkeys(names))
    if not listed:
        return ""
    more = f" and {len(listed) - NAMED_AT_MOST} more" if len(listed) > NAMED_AT_MOST else ""
    counted = f"1 {noun}" if len(listed) == 1 else f"{len(listed)} {plural or noun + 's'}"
    return f"{counted} {what}: {', '.join(listed[:NAMED_AT_MOST])}{more}"


def _sides(
    old: Sequence[T], new: Sequence[T], key: Callable[[T], Any]
) -> tuple[dict[Any, T], dict[Any, T], list[Any], list[Any], list[Any]]:
    """Both sides by key, and the keys added, removed and kept, in the order of their side."""
    before, after = {key(one): one for one in old}, {key(one): one for one in new}
    return (
        before,
        after,
        [one for one in after if one not in before],
        [one for one in before if one not in after],
        [one for one in after if one in before],
    )


def _system(old: System, new: System) -> list[str]:
    words = {
        "hostname": "host name", "os_name": "operating system", "os_version": "version", "kernel": "running kernel",
        "cpu_model": "processor", "cpu_count": "processors", "memory_bytes": "memory", "serial": "serial number",
        "virtualisation": "virtualisation", "timezone": "time zone", "init": "init",
    }  # fmt: skip
    parts = [
        f"{word} {_shown(getattr(old, field))} → {_shown(getattr(new, field))}"
        for field, word in words.items()
        if getattr(old, field) != getattr(new, field)
    ]
    if old.boot_id and new.boot_id and old.boot_id != new.boot_id:
        parts.insert(0, "restarted")
    if new.reboot_required and not old.reboot_required:
        reasons = f": {', '.join(new.reboot_reasons[:NAMED_AT_MOST])}" if new.reboot_reasons else ""
        parts.append(f"asks for a restart{reasons}")
    if old.reboot_required and new.reboot_required is False:
        parts.append("no longer asks for a restart")
    return parts


def _shown(value: object) -> str:
    return str(value) if value not in ("", None) else "unknown"


def _network(old: Network, new: Network) -> list[str]:
    before, after, added, removed, kept = _sides(old.interfaces, new.interfaces, lambda one: one.name)
    readdressed = [
        f"{name} {', '.join(after[name].addresses) or 'no address'}"
        for name in kept
        if before[name].addresses != after[name].addresses
    ]
    turned = [f"{name} {'up' if after[name].up else 'down'}" for name in kept if before[name].up != after[name].up]
    _, sockets, opened, closed, _ = _sides(
        old.listening, new.listening, lambda one: (one.protocol, one.address, one.port)
    )
    old_sockets = {(one.protocol, one.address, one.port): one for one in old.listening}
    return [
        _listing("socket", "opened", (_socket(sockets[one]) for one in opened)),
        _listing("socket", "closed", (_socket(old_sockets[one]) for one in closed)),
        _listing("interface", "added", added),
        _listing("interface", "removed", removed),
        _listing("interface", "with new addresses", readdressed),
        f"{', '.join(turned)}" if turned else "",
        _became("default route", old.default_routes, new.default_routes),
        _became("name server", old.nameservers, new.nameservers),
    ]


def _socket(socket: Any) -> str:
    address = f"[{socket.address}]" if ":" in socket.address else socket.address
    return f"{socket.protocol} {address}:{socket.port}" + (f" ({socket.process})" if socket.process else "")


def _became(word: str, old: Sequence[str], new: Sequence[str]) -> str:
    return f"{word} now {', '.join(new) or 'none'}" if list(old) != list(new) else ""


def _volumes(old: Volumes, new: Volumes) -> list[str]:
    before, after, added, removed, kept = _sides(old.volumes, new.volumes, lambda one: one.mountpoint)
    return [
        _listing("volume", "mounted", added),
        _listing("volume", "gone", removed),
        _listing(
            "volume",
            "resized",
            (
                f"{name} {_gigabytes(before[name].total_bytes)} → {_gigabytes(after[name].total_bytes)}"
                for name in kept
                if before[name].total_bytes != after[name].total_bytes
            ),
        ),
        _listing(
            "volume",
            "with new errors",
            (
                f"{name} ({after[name].errors})"
                for name in kept
                if (after[name].errors or 0) > (before[name].errors or 0)
            ),
            plural="volumes",
        ),
        _listing(
            "volume", "now read-only", (name for name in kept if after[name].read_only and not before[name].read_only)
        ),
        _listing(
            "volume", "writable again", (name for name in kept if before[name].read_only and not after[name].read_only)
        ),
    ]


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def _disks(old: Disks, new: Disks) -> list[str]:
    before, after, added, removed, kept = _sides(old.disks, new.disks, lambda one: one.serial or one.device)
    worse = []
    for key in kept:
        was, now = before[key], after[key]
        if was.smart_passed is not False and now.smart_passed is False:
            worse.append(f"{now.device}: SMART says it is failing")
        if now.state and was.state and now.state != was.state:
            worse.append(f"{now.device}: {now.state}, was {was.state}")
        if now.self_tests and now.self_tests[0] not in was.self_tests and now.self_tests[0].passed is False:
            worse.append(f"{now.device}: its self test failed")
        for field, word in (
            ("reallocated_sectors", "reallocated sectors"),
            ("pending_sectors", "pending sectors"),
            ("uncorrectable_sectors", "uncorrectable sectors"),
            ("media_errors", "media errors"),
        ):
            if (getattr(now, field) or 0) > (getattr(was, field) or 0):
                worse.append(f"{now.device}: {getattr(now, field)} {word}, were {getattr(was, field) or 0}")
    return [
        _listing("disk", "added", (after[key].device for key in added)),
        _listing("disk", "removed", (before[key].device for key in removed)),
        *worse,
    ]


def _arrays(old: Arrays, new: Arrays) -> list[str]:
    before, after, added, removed, kept = _sides(old.arrays, new.arrays, lambda one: one.name)
    return [
        _listing("array", "found", added),
        _listing("array", "gone", removed),
        _listing(
            "array",
            "changed",
            (f"{name} now {after[name].state}" for name in kept if before[name].state != after[name].state),
        ),
    ]


def _software(old: Software, new: Software) -> list[str]:
    before, after, added, removed, kept = _sides(
        old.packages, new.packages, lambda one: (one.name, one.architecture, _instance(one.name, one.version))
    )
    changed = [key for key in kept if before[key].version != after[key].version]
    return [
        _listing("package", "changed version", (f"{after[key].name} {after[key].version}" for key in changed)),
        _listing("package", "installed", (after[key].name for key in added)),
        _listing("package", "removed", (before[key].name for key in removed)),
    ]


def _instance(name: str, version: str) -> str:
    # rpm keeps several kernels side by side under one name: each version is a package of its own.
    return version if name in {"kernel", "kernel-core", "kernel-modules", "kernel-devel", "gpg-pubkey"} else ""


def _updates(old: Updates, new: Updates) -> list[str]:
    before, after, added, removed, _ = _sides(old.pending, new.pending, lambda one: (one.name, one.candidate))
    return [
        _listing("security update", "pending", (after[key].name for key in added if after[key].security)),
        _listing("update", "pending", (after[key].name for key in added if not after[key].security)),
        _listing("update", "no longer pending", (before[key].name for key in removed)),
        "no security archive is configured" if old.security_sources and new.security_sources is False else "",
    ]


def _services(old: Services, new: Services) -> list[str]:
    before, after, added, removed, kept = _sides(old.services, new.services, lambda one: one.name)
    changed = [
        f"{name} {before[name].state} → {after[name].state}" for name in kept if before[name].state != after[name].state
    ]
    switched = [
        f"{name} {'starts' if after[name].enabled else 'no longer starts'} at boot"
        for name in kept
        if before[name].enabled != after[name].enabled and after[name].enabled is not None
    ]
    restarted = [
        name
        for name in kept
        if before[name].state == after[name].state == "running"
        and before[name].pid
        and after[name].pid
        and before[name].pid != after[name].pid
    ]
    return [
        _listing("service", "changed state", changed),
        _listing("service", "restarted", restarted),
        _listing("service", "added", added),
        _listing("service", "removed", removed),
        _listing("service", "changed", switched),
    ]


def _scheduled(old: Scheduled, new: Scheduled) -> list[str]:
    _, _, added, removed, _ = _sides(old.jobs, new.jobs, lambda one: (one.source, one.schedule, one.command, one.user))
    return [
        _listing("scheduled job", "added", (f"{command} ({source})" for source, _, command, _ in added)),
        _listing("scheduled job", "removed", (f"{command} ({source})" for source, _, command, _ in removed)),
    ]


def _access(old: Access, new: Access) -> list[str]:
    before, after, added, removed, kept = _sides(old.accounts, new.accounts, lambda one: one.name)
    were = {name for name, account in before.items() if account.administrator}
    are = {name for name, account in after.items() if account.administrator}
    password = [
        f"{name} {before[name].password} → {after[name].password}"
        for name in kept
        if before[name].password != after[name].password
    ]
    keys = [name for name in kept if (after[name].ssh_keys or 0) > (before[name].ssh_keys or 0)]
    return [
        _listing("administrator", "added", sorted(are - were)),
        _listing("administrator", "removed", sorted(were - are)),
        _listing("account", "added", (name for name in added if name not in are)),
        _listing("account", "removed", (name for name in removed if name not in were)),
        _listing("account", "with more SSH keys", keys),
        _listing("account", "with another password state", password),
        "sudo rules changed"
        if None not in (old.sudo_rules, new.sudo_rules) and old.sudo_rules != new.sudo_rules
        else "",
    ]


def _sshd(old: Sshd, new: Sshd) -> list[str]:
    if old.installed != new.installed:
        return ["SSH server installed" if new.installed else "SSH server removed"]
    changed = [
        f"{key} {old.settings.get(key, 'unset')} → {new.settings.get(key, 'unset')}"
        for key in sorted(old.settings.keys() | new.settings.keys())
        if old.settings.get(key) != new.settings.get(key)
    ]
    running = f"SSH server {'started' if new.running else 'stopped'}" if None not in (old.running, new.running) else ""
    return [running if old.running != new.running else "", _listing("SSH setting", "changed", changed)]


def _hardening(old: Hardening, new: Hardening) -> list[str]:
    before = {(one.area, one.name): one.value for one in old.settings}
    after = {(one.area, one.name): one.value for one in new.settings}
    changed = [
        f"{name} {before.get((area, name), 'not read')} → {after.get((area, name), 'not read')}"
        for area, name in sorted(before.keys() | after.keys())
        if before.get((area, name)) != after.get((area, name))
    ]
    return [_listing("setting of the system", "changed", changed, plural="settings of the system")]


def _assessments(old: Assessments, new: Assessments) -> list[str]:
    before = {(one.tool, one.profile): one.at for one in old.assessments}
    fresh = [
        f"{one.tool}{f' {one.score:g} of 100' if one.score is not None else ''}"
        for one in new.assessments
        if before.get((one.tool, one.profile)) != one.at or (one.tool, one.profile) not in before
    ]
    return [_listing("audit", "by another tool", fresh)]


def _firewall(old: Firewall, new: Firewall) -> list[str]:
    return [
        f"firewall {'on' if new.active else 'off'}" if old.active != new.active and new.active is not None else "",
        f"inbound by default: {old.default_inbound} → {new.default_inbound}"
        if old.default_inbound != new.default_inbound
        else "",
        f"{old.rules} → {new.rules} rules" if old.rules != new.rules else "",
    ]


def _both(
    old: Sequence[BackupRepository], new: Sequence[BackupRepository]
) -> Iterator[tuple[BackupRepository, BackupRepository]]:
    """Those that were there before, as they were and as they are."""
    before = {one.name: one for one in old}
    return ((before[one.name], one) for one in new if one.name in before)


def _backups(old: Backups, new: Backups) -> list[str]:
    was: tuple[BackupRepository | BackupJob, ...] = (*old.repositories, *old.jobs)
    now: tuple[BackupRepository | BackupJob, ...] = (*new.repositories, *new.jobs)
    before, after, added, removed, kept = _sides(was, now, lambda one: one.name)
    return [
        _listing("backup", "found", added, plural="backups"),
        _listing("backup", "gone", removed, plural="backups"),
        _listing(
            "backup",
            "succeeded",
            (
                name
                for name in kept
                if after[name].last_success_at and before[name].last_success_at != after[name].last_success_at
            ),
        ),
        _listing(
            "backup",
            "failed",
            (
                name + (f" ({after[name].last_run_detail})" if after[name].last_run_detail else "")
                for name in kept
                if after[name].last_run_ok is False and before[name].last_run_at != after[name].last_run_at
            ),
        ),
        *(
            f"backup {two.name}: {warning.detail}"
            for one, two in _both(old.repositories, new.repositories)
            for warning in two.warnings
            if warning not in one.warnings
        ),
        _listing(
            "backup",
            "locked",
            (two.name for one, two in _both(old.repositories, new.repositories) if two.locks and not one.locks),
        ),
    ]


def _antivirus(old: Antivirus, new: Antivirus) -> list[str]:
    before, after, added, removed, kept = _sides(old.products, new.products, lambda one: one.name)
    return [
        _listing("antivirus", "found", added, plural="antivirus products"),
        _listing("antivirus", "gone", removed, plural="antivirus products"),
        _listing(
            "antivirus",
            "changed",
            (
                f"{name} {'running' if after[name].running else 'stopped'}"
                for name in kept
                if before[name].running != after[name].running and after[name].running is not None
            ),
            plural="antivirus products",
        ),
        _listing(
            "definition set",
            "updated",
            (
                f"{name} {after[name].definitions_version}".strip()
                for name in kept
                if (before[name].definitions_version, before[name].definitions_at)
                != (after[name].definitions_version, after[name].definitions_at)
            ),
        ),
    ]


def _certificates(old: Certificates, new: Certificates) -> list[str]:
    before, after, added, removed, kept = _sides(
        old.certificates, new.certificates, lambda one: (one.address, one.port, one.subject)
    )
    return [
        _listing("certificate", "found", (f"{after[key].subject} on port {key[1]}" for key in added)),
        _listing("certificate", "gone", (f"{before[key].subject} on port {key[1]}" for key in removed)),
        _listing(
            "certificate",
            "renewed",
            (
                f"{after[key].subject} on port {key[1]}"
                for key in kept
                if before[key].fingerprint_sha256 != after[key].fingerprint_sha256
            ),
        ),
    ]


def _time(old: Time, new: Time) -> list[str]:
    return [
        f"time daemon {old.daemon or 'none'} → {new.daemon or 'none'}" if old.daemon != new.daemon else "",
        f"clock {'synchronised' if new.synchronised else 'no longer synchronised'}"
        if old.synchronised != new.synchronised and new.synchronised is not None
        else "",
    ]


def _restarts(old: Restarts, new: Restarts) -> list[str]:
    _, _, added, removed, _ = _sides(old.processes, new.processes, lambda one: one.service or one.name)
    return [
        _listing("program", "outdated until restarted", added),
        _listing("program", "no longer outdated", removed),
        f"kernel {new.kernel_newest} installed, {new.kernel_running} runs"
        if new.kernel_newest and new.kernel_newest not in (old.kernel_newest, new.kernel_running)
        else "",
    ]


def _readiness(old: Readiness, new: Readiness) -> list[str]:
    if old.on_battery == new.on_battery or None in (old.on_battery, new.on_battery):
        return []
    return ["runs on battery" if new.on_battery else "runs on mains power"]


def _plugins(old: Plugins, new: Plugins) -> list[str]:
    before, after, added, removed, kept = _sides(old.runs, new.runs, lambda one: one.name)
    answers: dict[int | None, str] = {None: "no answer", 0: "OK", 1: "a warning", 2: "critical", 3: "unknown"}
    changed = [
        f"plugin {name}: {answers.get(after[name].exit_code, 'no answer')}"
        for name in kept
        if before[name].exit_code != after[name].exit_code
    ]
    return [
        _listing("plugin", "added", added),
        _listing("plugin", "removed", removed),
        *changed[:NAMED_AT_MOST],
    ]


_SUMMARISERS: Mapping[type[Document], Callable[[Any, Any], list[str]]] = {
    System: _system,
    Network: _network,
    Volumes: _volumes,
    Disks: _disks,
    Arrays: _arrays,
    Software: _software,
    Updates: _updates,
    Restarts: _restarts,
    Readiness: _readiness,
    Services: _services,
    Scheduled: _scheduled,
    Access: _access,
    Sshd: _sshd,
    Firewall: _firewall,
    Hardening: _hardening,
    Assessments: _assessments,
    Plugins: _plugins,
    Backups: _backups,
    Antivirus: _antivirus,
    Certificates: _certificates,
    Time: _time,
}
