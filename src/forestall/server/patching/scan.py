"""A device's documents, as the rules of patching look at them: one load, one query. No changes here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from forestall.server.inventory.models import Device, FactsDocument
from forestall.server.inventory.queries import decode_document
from forestall.server.patching import rules
from forestall.server.patching.models import Deployment
from forestall.server.patching.policies import Terms
from forestall.server.people.scope import Scope
from forestall.wire.facts import Backups, Restarts, Services, Software, System, Update, UpdateProvider, Updates

DOCUMENTS = ("updates", "software", "system", "services", "restarts", "backups")

PACKAGES_OF = {"apt": "dpkg", "dnf": "rpm", "yum": "rpm", "zypper": "rpm"}
"""Provider → how the list of software calls the records that it writes, where that is another word."""

SEEN_IN_SOFTWARE = frozenset(
    {"apt", "dnf", "yum", "zypper", "pacman", "apk", "flatpak", "snap", "pip", "npm", "winget", "homebrew"}
)
"""Providers of which the list of software has the versions. Of others only what is pending shows."""

ACTS = frozenset({"install", "chosen"})
"""What a provider can when single updates of it may be installed from here."""

Key = tuple[str, str, str]
"""Provider, package, architecture."""


def key_of(one: Deployment) -> Key:
    return (one.manager, one.name, one.architecture)


@dataclass(frozen=True, slots=True)
class When:
    collected: datetime
    changed: datetime


class Looked:
    """What a device's newest documents say."""

    def __init__(self, documents: dict[str, tuple[Any, When]]) -> None:
        self.when = {name: when for name, (_, when) in documents.items()}
        updates, software, system, services, restarts, backups = (
            documents.get(name, (None, None))[0] for name in DOCUMENTS
        )
        self.updates: Updates | None = updates
        self.software: Software | None = software
        self.system: System | None = system
        self.services: Services | None = services
        self.restarts: Restarts | None = restarts
        self.backups: Backups | None = backups
        self.providers: dict[str, UpdateProvider] = (
            {} if updates is None else {one.name: one for one in updates.providers}
        )
        self.offered: dict[Key, list[Update]] = defaultdict(list)
        for one in () if updates is None else updates.pending:
            self.offered[self.key(one)].append(one)
        self._versions: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        for package in () if software is None else software.packages:
            manager = package.manager or (software.manager if software is not None else "")
            self._versions[manager, package.name].append((package.architecture, package.version))
        self._names = {name for _, name in self._versions}
        self._states = {one.name: one.state for one in services.services} if services is not None else {}
        self._outdated = tuple(sorted(set(outdated_of(restarts))))

    def key(self, one: Update) -> Key:
        manager = one.manager or (self.updates.manager if self.updates is not None else "")
        return (manager[:20], one.name[:200], one.architecture[:20])

    def versions(self, key: Key) -> tuple[str, ...] | None:
        manager, name, architecture = key
        if self.software is None or manager not in SEEN_IN_SOFTWARE:
            return None
        kept_as = PACKAGES_OF.get(manager, manager)
        if manager not in PACKAGES_OF and (kept_as, name) not in self._versions and kept_as != self.software.manager:
            listed = {where for where, _ in self._versions}
            if kept_as not in listed:
                return None  # this agent's list of software does not have this provider's packages
        fits = {architecture, "all", "noarch", "any", ""}
        return tuple(version for where, version in self._versions[kept_as, name] if not architecture or where in fits)

    def can_install(self, manager: str) -> bool:
        provider = self.providers.get(manager)
        return provider is not None and set(provider.can) >= ACTS

    def held(self, key: Key) -> bool:
        provider = self.providers.get(key[0])
        return any(one.held for one in self.offered.get(key, ())) or (provider is not None and key[1] in provider.held)

    def unfinished(self, manager: str, name: str) -> str:
        provider = self.providers.get(manager)
        for one in () if provider is None else provider.unfinished:
            if one.partition(":")[0].strip() == name:
                return one
        return ""

    def scan(self, row: Deployment) -> rules.Scan:
        """What the documents say about one deployment."""
        key = key_of(row)
        offered = self.offered.get(key, [])
        listed = any(one.candidate == row.candidate for one in offered)
        updates, software, system = (self.when.get(name) for name in ("updates", "software", "system"))
        services, restarts = self.when.get("services"), self.when.get("restarts")
        said = self.system
        return rules.Scan(
            updates_at=None if updates is None else updates.collected,
            updates_since=None if updates is None else updates.changed,
            listed=listed,
            newer="" if listed or not offered else offered[0].candidate,
            software_at=None if software is None else software.collected,
            versions=self.versions(key),
            unfinished=self.unfinished(row.manager, row.name),
            unlisted_why=self._unlisted(row.manager),
            system_at=None if system is None else system.collected,
            boot_id="" if said is None else said.boot_id,
            boot_since=self._boot_since(),
            asks_reboot=self._asks_reboot(row),
            services_at=None if services is None else services.collected,
            services=self._states,
            restarts_at=None if restarts is None else restarts.collected,
            outdated=self._outdated,
        )

    def _unlisted(self, manager: str) -> str:
        provider = self.providers.get(manager)
        if provider is None:
            # An agent that names no providers lists those of the system's own; else the provider is not there now.
            own = self.updates is not None and not self.providers and self.updates.manager == manager
            return "" if own else f"{manager} is not there any more, or was not looked at"
        return provider.unknown_why

    def _boot_since(self) -> datetime | None:
        if self.system is not None and self.system.booted_at is not None:
            return self.system.booted_at
        when = self.when.get("system")
        return None if when is None else when.changed

    def _asks_reboot(self, row: Deployment) -> bool | None:
        if self.system is None:
            return None
        kernel = self.restarts is not None and bool(self.restarts.kernel_newest) and rules.is_kernel(row.name)
        if kernel and self.restarts is not None and self.restarts.kernel_newest != self.restarts.kernel_running:
            return True
        return rules.reboot_is_for(
            name=row.name,
            asks=self.system.reboot_required,
            reasons=self.system.reboot_reasons,
            packages=self._names,
            asked_before=False,
        )

    def services_running(self) -> list[str]:
        """Services that have to run again after an installation: they run now, and are not merely started on demand."""
        if self.services is None:
            return []
        return [
            one.name
            for one in self.services.services
            if one.state == "running" and one.enabled is not False and not one.name.startswith("user@")
        ]

    def outdated(self) -> list[str]:
        return list(self._outdated)

    def backup_why(self, terms: Terms, now: datetime) -> str:
        """Why the device's last backup is not good enough for these terms; empty: it is, or nobody asks."""
        if terms.backup == "ignore":
            return ""
        repositories = () if self.backups is None else self.backups.repositories
        if not repositories:
            return "No backup of this device is known."
        good = max((one.last_success_at for one in repositories if one.last_success_at is not None), default=None)
        if good is None or (now - good).total_seconds() > terms.backup_hours * 3600:
            seen = "there is none" if good is None else f"it is of {good:%Y-%m-%d %H:%M} UTC"
            return f"The last good backup may be {terms.backup_hours} hours old, and {seen}."
        if terms.backup_restored_days:
            proved = [one.restored_at for one in repositories if one.restored_at is not None and one.restored_ok]
            proof = max(proved, default=None)
            if proof is None or (now - proof).days > terms.backup_restored_days:
                seen = "nobody has tried" if proof is None else f"it was on {proof:%Y-%m-%d}"
                return f"A restore has to be proved within {terms.backup_restored_days} days, and {seen}."
        return ""


def outdated_of(restarts: Restarts | None) -> Iterable[str]:
    """Services that run old code with what they hold; people's own sessions are no service."""
    for process in () if restarts is None else restarts.processes:
        if process.service and not process.service.startswith("user@"):
            for held in process.files or ("",):
                yield f"{process.service}: {held}"


def look(*, scope: Scope, devices: Iterable[Device | UUID]) -> dict[UUID, Looked]:
    """The documents of devices, in one query."""
    rows = FactsDocument.objects.visible_to(scope).filter(device__in=list(devices), name__in=DOCUMENTS)
    found: dict[UUID, dict[str, tuple[Any, When]]] = defaultdict(dict)
    for device_id, name, body, collected, changed in rows.values_list(
        "device_id", "name", "body", "collected_at", "changed_at"
    ):
        found[device_id][name] = (decode_document(name=name, body=body), When(collected, changed))
    return {device_id: Looked(documents) for device_id, documents in found.items()}


def row_of(one: Deployment) -> rules.Row:
    """A deployment as the rules see it."""
    return rules.Row(
        state=rules.State(one.state),
        installed=one.installed,
        candidate=one.candidate,
        installed_at=one.installed_at,
        verified_at=one.verified_at,
        boot_id_before=one.boot_id_before,
        needs_reboot=one.needs_reboot,
        services_before=tuple(one.services_before),
        outdated_before=tuple(one.outdated_before),
        installed_by=one.installed_by,
        why=one.why,
        name=one.name,
        tried_by=f"run {one.job_id}" if one.job_id is not None and one.attempts else "",
    )
