"""What restore tests on this device have shown: ``backup-proofs.json`` in the agent's folder.

By name of the backup and level, the newest attempt at it: ``{"nightly": {"whole": {…}}}``. Restore tests write it
(``forestall.agent.act.backups``), the collector of backups reads it.
"""

from __future__ import annotations

import msgspec

from forestall.agent.collect.backup_settings import SettingsError, agent_home
from forestall.agent.collect.host import FileMissing, Host
from forestall.wire.facts import BackupProof

PROOFS_FILE_NAME = "backup-proofs.json"

Proofs = dict[str, dict[str, BackupProof]]
"""Name of a backup → level → the newest attempt at it."""


def load_proofs(host: Host) -> Proofs:
    """The newest proofs of each backup. SettingsError; a HostError when the file is there and cannot be read."""
    path = f"{agent_home(host)}/{PROOFS_FILE_NAME}"
    try:
        data = host.read_bytes(path)
    except FileMissing:
        return {}
    return read_proofs(data, path)


def read_proofs(data: bytes, path: str) -> Proofs:
    """SettingsError names what is wrong with the file."""
    try:
        return msgspec.json.decode(data, type=Proofs)
    except msgspec.DecodeError as error:
        raise SettingsError(f"{path}: {error}") from None
