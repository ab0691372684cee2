"""The kind ``backup_size`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Backup sizes",
    question="Is every backup about as large as those before it?",
    why=(
        "A job may report success and save next to nothing: a folder that was not mounted, a database that "
        "was empty, a list of paths that was cut."
    ),
    remedy=(
        "See what the newest backup holds and what it misses. If the data really shrank, the finding ends by "
        "itself with the next backups."
    ),
)
