"""The kind ``disk_health`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Disk health",
    question="Do the disks themselves report trouble?",
    why="Disks mostly announce their death: sectors that cannot be read, spares running out.",
    remedy="Make sure of a good backup now, then replace the disk.",
)
