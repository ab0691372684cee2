"""The kind ``inodes`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Inodes",
    question="Can every volume still hold more files?",
    why=("A volume without free inodes takes no new file, even while it has space: it fails like a full one."),
    remedy=(
        "Find the folder with very many files (`du -x --inodes MOUNTPOINT | sort -n | tail`): mostly "
        "sessions, caches or a mail queue. Remove what is not needed and stop what makes them."
    ),
)
