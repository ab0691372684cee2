"""The kind ``backup_restore_verified`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Restore tests",
    question="Was every backup that says so restored lately, and did that work?",
    why="A backup that was never restored is a hope: damage and lost keys show on the day it is needed.",
    remedy=(
        "Restore the backup to another place, compare what comes back, repair what failed, and have the test write its "
        "outcome where the agent finds it. For Forestall's own: `forestall backup`."
    ),
)
