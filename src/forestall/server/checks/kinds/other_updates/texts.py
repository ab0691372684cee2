"""The kind ``other_updates`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Other updates",
    question="Are other updates installed at least monthly?",
    why="Old software piles up defects, and the longer the wait, the bigger and riskier the jump.",
    remedy="Install them in the next maintenance window: `apt-get upgrade`.",
)
