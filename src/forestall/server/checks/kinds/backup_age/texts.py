"""The kind ``backup_age`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Backups",
    question="Was everything backed up within a day, and did the last run succeed?",
    why="Without a recent backup, a dead disk or a ransom note costs days of work, or all of it.",
    remedy=(
        "Read the log of the last run, repair its cause and run the backup again. The runbook 're-run "
        "backup' does the latter."
    ),
)
