"""The kind ``backup_tampering`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Backup tampering",
    question="Does any backup show traces of an attack?",
    why=(
        "Whoever encrypts a company's files deletes its backups first, or waits until every backup holds "
        "encrypted files only. Both leave traces in the backups days before the note."
    ),
    remedy=(
        "Treat it as an attack until it is explained: keep the older snapshots out of reach, stop pruning, "
        "look at what changed on the device, and restore to another place what was there before. If somebody "
        "did it on purpose, accept the finding with the reason."
    ),
)
