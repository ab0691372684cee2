"""The kind ``memory`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Memory",
    question="Is there memory left for programs?",
    why="Without available memory the system swaps, stalls, and at last ends programs by force.",
    remedy=("See who holds it (`ps -eo rss,comm --sort=-rss | head`). Restart what leaks; else the device needs more."),
)
