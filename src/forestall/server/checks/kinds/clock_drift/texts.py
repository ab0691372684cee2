"""The kind ``clock_drift`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Clock",
    question="Is the clock right, and does something keep it right?",
    why="With a wrong clock, logins and certificates fail, and logs cannot be compared.",
    remedy="Install and start a time daemon: `apt-get install chrony`.",
)
