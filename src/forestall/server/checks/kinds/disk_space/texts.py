"""The kind ``disk_space`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Disk space",
    question="Does every volume have room, and will it still next week?",
    why="A full volume stops databases, mail, backups and logging, often all at once.",
    remedy=(
        "Find what grows (`du -xh --max-depth=2 MOUNTPOINT | sort -h | tail`), remove what is not "
        'needed or enlarge the volume. The runbook "free disk space" clears package caches, old '
        "journals and old temporary files."
    ),
)
