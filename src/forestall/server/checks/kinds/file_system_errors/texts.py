"""The kind ``file_system_errors`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="File system errors",
    question="Do file systems count errors of their own, or ask to be checked?",
    why="A file system with errors loses files quietly, and turns read-only when it notices.",
    remedy=(
        "Make sure of a backup, look at the disk below, then check the file system unmounted (`fsck`, `btrfs scrub`)."
    ),
)
