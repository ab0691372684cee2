"""The kind ``security_updates`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Security updates",
    question="Is every known security fix installed within its obligation?",
    why="Most break-ins use holes for which a fix had been published.",
    remedy="Install them in the next maintenance window: `apt-get update && apt-get upgrade`.",
)
