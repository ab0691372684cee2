"""The kind ``silent_checks`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Silent checks",
    question="Does everything that should arrive still arrive?",
    why="A check that gets no input finds no trouble: silence must not look like health.",
    remedy=(
        "Look at the agent's log on the device: a collector may fail, or a right be missing. `forestall"
        " agent check-in` collects anew."
    ),
)
