"""The kind ``disk_self_test`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Disk self tests",
    question="Do the disks test their whole surface, and what did the last tests say?",
    why="A sector that is never read is only found bad when its data is needed.",
    remedy="Let the disk test itself (runbook `test-disk`); replace one whose test failed.",
)
