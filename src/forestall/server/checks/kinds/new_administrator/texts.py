"""The kind ``new_administrator`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="New administrator",
    question="Has anyone become an administrator since enrolment?",
    why="A new administrator is either a change somebody should know of, or an intruder's way to stay.",
    remedy=(
        "Ask who made this account an administrator. Accept it in the console if it is right, else "
        "remove its rights and look for what else changed."
    ),
)
