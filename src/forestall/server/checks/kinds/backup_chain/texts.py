"""The kind ``backup_chain`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Backup chains",
    question="Can every backup be restored from what is kept, and can the next one run?",
    why=(
        "An incremental backup is worth nothing without the full one under it, and a lock that a killed run "
        "left stops every run after it, often in silence."
    ),
    remedy=(
        "Make a new full backup where a chain is broken. A lock whose process is gone can be taken away: the "
        "runbook 'unlock-backup' does so after looking. Set the clock right where times are wrong."
    ),
)
