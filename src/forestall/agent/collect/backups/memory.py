"""What the agent remembers of backups from one look to the next: which snapshots there were, and what was measured.

One small file in the agent's own folder. It is lost without harm: then the next look remembers anew. It is what shows
that snapshots are gone, and it spares the tools from measuring the same snapshot twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from forestall.agent.collect.backup_settings import Retention, agent_home
from forestall.agent.collect.backups.reading import Reading
from forestall.agent.collect.backups.traces import gone_against_the_rule
from forestall.agent.collect.host import FileMissing, HostError
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import BackupSnapshot, BackupWarning

FILE_NAME = "backup-memory.json"
MOST_SNAPSHOTS = 400
TOLD_FOR = timedelta(days=30)
"""A removal against the rule is told of for so long."""
READ_ANEW_AFTER = timedelta(hours=20)
REMOTE_READ_AFTER = timedelta(minutes=50)
"""A repository elsewhere is opened once an hour (half a second of CPU each time), and after a run on this device."""
FORGOTTEN_AFTER = timedelta(days=400)
"""What is remembered of a backup that is no more there."""


class Removal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Snapshots that went although the rule keeps them."""

    found_at: datetime
    detail: str
    newest: str = ""


class Remembered(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Of one backup. Adapters read and fill ``measured``."""

    seen_at: datetime | None = None
    present: dict[str, datetime] = {}
    """Snapshots there at the last look: id → time."""
    measured: dict[str, BackupSnapshot] = {}
    """What was found out about a snapshot with effort: id → with sizes, or without where it was too costly."""
    raw_bytes: dict[str, int] = {}
    """restic: a snapshot's own packed bytes, by which the next one's additions are told."""
    removals: list[Removal] = []
    fingerprint: str = ""
    """Of the repository's own files when it was last read whole, with success."""
    read_at: datetime | None = None
    reading: Reading | None = None
    """What that brought: a repository whose files are the same need not be opened again."""
    compressed: dict[str, float] = {}
    """borg: how far a whole archive could be compressed, 0 to 1."""
    renamed: dict[str, str] = {}
    """A sentence about a snapshot in which many files came back under another name."""
    protects: list[str] = []
    hosts: list[str] = []
    stored_bytes: int | None = None
    entropy: dict[str, float] = {}
    """Files: bits for each byte in the middle of one."""

    def same(self, fingerprint: str, now: datetime, *, within: timedelta = READ_ANEW_AFTER) -> Reading | None:
        """The last reading, where the repository's files are still the same; after a while it is read anew anyway."""
        if not fingerprint or fingerprint != self.fingerprint or self.read_at is None:
            return None
        return self.reading if timedelta() <= now - self.read_at < within else None

    def read_whole(self, fingerprint: str, reading: Reading, now: datetime) -> Reading:
        """Remember a reading that is complete."""
        self.fingerprint, self.reading, self.read_at = fingerprint, reading, now
        return reading

    def saw(
        self, snapshots: Iterable[BackupSnapshot], *, retention: Retention, now: datetime
    ) -> tuple[BackupWarning, ...]:
        """Note what is there now; what of it went against the rule, also lately."""
        there = {each.id: each.at for each in snapshots}
        why = gone_against_the_rule(self.present, there, retention=retention, now=now)
        if why:
            gone = sorted(set(self.present) - set(there), key=self.present.__getitem__)
            self.removals.append(Removal(found_at=now, detail=why, newest=gone[-1]))
        newest = sorted(there, key=there.__getitem__)[-MOST_SNAPSHOTS:]
        self.present = {each: there[each] for each in newest}
        for kept in (self.measured, self.raw_bytes, self.compressed, self.renamed, self.entropy):
            for gone_id in set(kept) - set(self.present):
                del kept[gone_id]
        self.removals = [each for each in self.removals if now - each.found_at < TOLD_FOR][-10:]
        self.seen_at = now
        return tuple(
            BackupWarning(kind="removed", detail=each.detail, snapshot=each.newest, at=each.found_at)
            for each in self.removals
        )


class Memory:
    """The file, read and written whole."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._path = f"{agent_home(notes.host)}/{FILE_NAME}"
        self._before = b""
        self._backups: dict[str, Remembered] = {}
        try:
            self._before = notes.host.read_bytes(self._path)
            self._backups = msgspec.json.decode(self._before, type=dict[str, Remembered])
        except FileMissing:
            pass
        except HostError as error:
            notes.gap("what was remembered of backups", error.why)
        except msgspec.DecodeError as error:
            notes.gap("what was remembered of backups", f"{self._path} is damaged: {error}")

    def of(self, key: str) -> Remembered:
        return self._backups.setdefault(key, Remembered())

    def save(self) -> None:
        """Write it, where something changed. What cannot be written is a gap: removals would not be seen."""
        now = self._notes.host.now()
        kept = {
            key: each
            for key, each in self._backups.items()
            if each.seen_at is not None and now - each.seen_at < FORGOTTEN_AFTER
        }
        # The time of the look alone is no reason to write.
        data = msgspec.json.encode(kept)
        if not kept or _without_times(data) == _without_times(self._before):
            return
        try:
            self._notes.host.keep(self._path, data)
        except HostError as error:
            self._notes.gap("what is remembered of backups", error.why)


def _without_times(data: bytes) -> dict[str, Remembered]:
    try:
        found = msgspec.json.decode(data, type=dict[str, Remembered])
    except msgspec.DecodeError:
        return {}
    for each in found.values():
        each.seen_at = None
    return found
