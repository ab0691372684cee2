"""What an adapter is: how backups of one tool are found and read. One module each in this folder, all of this shape.

Reading must leave no trace in a repository: no lock, no cache, no rewritten file. What an adapter cannot tell stays
unset; what it could not read is said in ``unknown_why``. It never judges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from forestall.agent.collect.backup_settings import BackupSetting, Tool
from forestall.agent.collect.backups.memory import Remembered
from forestall.agent.collect.backups.reading import Reading
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import BackupSnapshot

MOST_HISTORY = 60
READ_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backup that somebody named, or that lies there."""

    tool: Tool
    location: str
    name: str = ""
    password_file: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    rerun: bool = False
    told: bool = False
    """Named in the device's backup settings."""
    setting: BackupSetting | None = None
    """All that its owner says of it; None: it was found."""

    @property
    def path(self) -> str:
        """Its folder, empty for a repository elsewhere."""
        path = self.location.removeprefix("local:")
        return path.rstrip("/") or "/" if path.startswith("/") else ""

    @property
    def protects(self) -> tuple[str, ...]:
        """What its owner says is in it."""
        if self.setting is None:
            return ()
        engine = {"pg_dump": "postgresql", "pg_basebackup": "postgresql", "mariadb_dump": "mariadb"}.get(self.tool)
        databases = (name if ":" in name else f"{engine or 'database'}:{name}" for name in self.setting.databases)
        return (*self.setting.paths, *databases)


def of_history(history: Sequence[BackupSnapshot]) -> dict[str, object]:
    """The fields that follow from what is kept, newest first."""
    newest = history[0] if history else None
    return {
        "last_success_at": newest.at if newest else None,
        "snapshots": len(history),
        "history": tuple(history[:MOST_HISTORY]),
        "size_bytes": newest.size_bytes if newest else None,
    }


def nothing(_notes: Notes) -> Iterator[Candidate]:
    """``find`` of an adapter whose backups must be named: lying around, they look like any other file."""
    return iter(())


@dataclass(frozen=True, slots=True)
class Adapter:
    """How one tool's backups are read. ``registry.ADAPTERS`` lists them."""

    name: Tool
    title: str
    """As people call it."""
    programs: tuple[str, ...]
    """Programs whose presence says that the tool is installed."""
    read: Callable[[Notes, Candidate, Remembered], Sequence[Reading]]
    """Several readings: the location holds several jobs, each named by its ``job``."""
    find: Callable[[Notes], Iterator[Candidate]] = nothing
    """Backups that nobody told of."""


__all__ = ["MOST_HISTORY", "READ_SECONDS", "Adapter", "Candidate", "Reading", "nothing", "of_history"]
