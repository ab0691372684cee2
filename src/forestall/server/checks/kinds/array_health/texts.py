"""The kind ``array_health`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="RAID and pools",
    question="Are all disks of every array there, and has it room and a recent scrub?",
    why="A degraded array still works: nobody notices until the next disk fails and takes the data along.",
    remedy="Replace the failed disk and watch the rebuild; make sure of a backup now.",
)
