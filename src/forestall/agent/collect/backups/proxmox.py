"""Proxmox Backup Server: what ``proxmox-backup-client snapshots`` lists of one repository.

The repository is that of the client (``USER@REALM!TOKEN@SERVER:STORE``); its password or token stands in
``password_file``. ``job`` narrows it to one group (``host/web-01``, ``vm/101``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from forestall.agent.collect.backup_settings import parse_retention
from forestall.agent.collect.backups import traces
from forestall.agent.collect.backups.adapter import Adapter, Candidate, Reading, of_history
from forestall.agent.collect.backups.common import time_of, whole
from forestall.agent.collect.backups.memory import Remembered
from forestall.agent.collect.host import HostError
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.redaction import redact
from forestall.wire.facts import BackupSnapshot

_FIRST_LINE = 200


class Group:
    """The snapshots of one machine."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.history: list[BackupSnapshot] = []
        self.failed: list[str] = []
        """Snapshots that the server has verified, and found damaged."""
        self.verified: list[str] = []
        self.plain = False
        """Something in it is not encrypted."""
        self.protected: list[str] = []


def parse_snapshots(text: str) -> list[Group]:
    """Output of ``proxmox-backup-client snapshots --output-format json``. ValueError when it is not that."""
    rows = json.loads(text)
    if not isinstance(rows, list):
        raise ValueError("is no list of snapshots")  # noqa: TRY004 - the text is wrong
    groups: dict[str, Group] = {}
    for row in sorted(rows, key=lambda each: each["backup-time"], reverse=True):
        name = f"{row['backup-type']}/{row['backup-id']}"
        group = groups.setdefault(name, Group(name))
        at = time_of(row["backup-time"])
        files = [each for each in row.get("files") or () if isinstance(each, dict)]
        size = whole(row.get("size")) or sum(whole(each.get("size")) or 0 for each in files) or None
        group.history.append(BackupSnapshot(id=f"{name}/{at:%Y-%m-%dT%H:%M:%SZ}", at=at, size_bytes=size))
        _note(group, row, files)
    return list(groups.values())


def _note(group: Group, row: Mapping[str, Any], files: Sequence[Mapping[str, Any]]) -> None:
    snapshot = group.history[-1].id
    verification = row.get("verification")
    state = verification.get("state") if isinstance(verification, dict) else None
    if state == "failed":
        group.failed.append(snapshot)
    elif state == "ok":
        group.verified.append(snapshot)
    if row.get("protected"):
        group.protected.append(snapshot)
    # The index and the client's log are signed, not encrypted, also where all data is.
    data = [each for each in files if not str(each.get("filename", "")).startswith(("index.json", "client.log"))]
    group.plain |= any(each.get("crypt-mode") != "encrypt" for each in data)


def read(notes: Notes, candidate: Candidate, remembered: Remembered) -> Sequence[Reading]:
    setting = candidate.setting
    environment = {"PBS_REPOSITORY": candidate.location, **candidate.environment}
    if candidate.password_file:
        environment["PBS_PASSWORD_FILE"] = candidate.password_file
    argv = ["proxmox-backup-client", "snapshots", *([setting.job] if setting and setting.job else [])]
    argv += ["--output-format", "json"]
    try:
        result = notes.host.run(argv, timeout=60, environment=environment)
    except HostError as error:
        return [Reading(unknown_why=error.why, remote=True)]
    notes.used(" ".join(argv))
    if result.exit_code != 0:
        said = next(filter(None, result.stderr.splitlines()), f"exit code {result.exit_code}")
        return [Reading(unknown_why=redact(said)[:_FIRST_LINE], remote=True)]
    try:
        groups = parse_snapshots(result.stdout)
    except (ValueError, KeyError, TypeError) as error:
        return [Reading(unknown_why=f"the client's answer cannot be read: {error}", remote=True)]
    now = notes.host.now()
    retention = parse_retention(setting.retention if setting else "")
    removed = remembered.saw((each for group in groups for each in group.history), retention=retention, now=now)
    return [reading(group, candidate, removed, traces.clock_wrong(group.history, now)) for group in groups] or [
        Reading(snapshots=0, remote=True)
    ]


def reading(group: Group, candidate: Candidate, removed: Sequence[Any], clock: Sequence[Any]) -> Reading:
    """One machine's backups."""
    kind, _, name = group.name.partition("/")
    newest = group.history[0].id
    detail = ""
    if group.failed:
        detail = f"the server's verification found {len(group.failed)} damaged ({group.failed[0]})"
    elif newest in group.verified:
        detail = f"the server has verified {newest}"
    own = [each for each in removed if not each.snapshot or each.snapshot.startswith(f"{group.name}/")]
    return Reading(
        **of_history(group.history),  # type: ignore[arg-type]
        job=group.name,
        protects=(f"vm:{name}",) if kind in ("vm", "ct") else (),
        hosts=(name,) if kind == "host" else (),
        chain_ok=False if group.failed else (True if newest in group.verified else None),
        chain_detail=detail,
        encrypted=not group.plain,
        remote=True,
        writable=None,
        immutable=None,
        immutable_detail=(
            f"{len(group.protected)} of {len(group.history)} snapshots are protected on the server"
            if group.protected
            else "only the server knows whether this device's account may delete"
        ),
        warnings=(*own, *clock),
    )


ADAPTER = Adapter(name="proxmox", title="Proxmox Backup Server", programs=("proxmox-backup-client",), read=read)
