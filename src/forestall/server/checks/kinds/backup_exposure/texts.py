"""The kind ``backup_exposure`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Backup exposure",
    question="Would a backup be left if this device were taken over?",
    why=(
        "An attacker with the rights of this device deletes what it can write. A backup that only this "
        "device's good will keeps is none against ransomware."
    ),
    remedy=(
        "Keep one copy that this device cannot delete: an append-only server (restic's rest-server, borg "
        "serve --append-only), object storage with a lock, snapshots on the backup server, or a medium that "
        "is taken away. Where that is so and cannot be seen from here, say it in backups.toml (`immutable`, "
        "`offline`). Encrypt what leaves the device."
    ),
)
