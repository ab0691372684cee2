"""The kind ``reboot_pending`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Reboot pending",
    question="Do installed updates wait for a reboot?",
    why="A kernel or library that was updated protects only once the old one no longer runs.",
    remedy="Reboot the device in its maintenance window.",
)
