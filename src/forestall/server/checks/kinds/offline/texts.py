"""The kind ``offline`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Offline",
    question="Does the device still check in?",
    why="A device that is silent is not watched: it may be down, cut off, or its agent may have stopped.",
    remedy=(
        "See whether the device has power and network. If it runs, look at its agent: `forestall agent status` there."
    ),
)
