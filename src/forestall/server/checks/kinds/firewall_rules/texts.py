"""The kind ``firewall_rules`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Firewall rules",
    question="Do the firewall's rules do what they seem to?",
    why="A rule that lets everything in, or that never decides, makes a firewall look stricter than it is.",
    remedy="Read the rules named here in their order, and remove or narrow them; keep a second way in meanwhile.",
)
