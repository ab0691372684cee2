"""What every tool's module is given for one restore test, and the shape of these modules."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, ClassVar

from forestall.agent.act.backups.content import Comparison, Entry, Flaw, Snapshot
from forestall.agent.act.backups.manifest import Manifest
from forestall.agent.act.backups.running import Done, Pace, run
from forestall.agent.act.backups.scratch import Scratch
from forestall.agent.act.backups.source import complaint, environment_of
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect.backup_settings import BackupSetting
from forestall.agent.collect.host import Host
from forestall.trust.proofs import ProofLevel


@dataclass(slots=True)
class Trial:
    """One test of one backup."""

    backup: BackupSetting
    host: Host
    ctx: Context
    scratch: Scratch
    level: ProofLevel
    now: datetime
    environment: Mapping[str, str]
    """For the tool: repository and password, never in its arguments."""
    sample: int
    bytes_per_second: int
    """0: no limit."""
    chance: random.Random
    manifest: Manifest | None = None
    last_run_at: datetime | None = None
    """End of the last run that ended well, where this device made it."""
    seconds: float = 0.0
    """Of restoring alone."""
    words: list[str] = field(default_factory=list)
    """What was done, for the proof's detail."""

    def run(
        self,
        argv: Sequence[str],
        *,
        folder: Path | None = None,
        output: IO[bytes] | None = None,
        given: Path | None = None,
        environment: Mapping[str, str] | None = None,
        watched: bool = False,
    ) -> Done:
        """Run a tool at the rate that is allowed. ``watched``: it writes into the scratch folder."""
        return run(
            argv,
            self.ctx,
            environment={**self.environment, **(environment or {})},
            folder=str(folder or "/"),
            output=output,
            given=given,
            pace=Pace(self.bytes_per_second, self.scratch.watch if watched else None),
        )

    def require(self, done: Done, what: str) -> Done:
        """Flaw with the tool's own words unless it ended well."""
        if done.exit_code != 0:
            raise Flaw(f"{what}: {complaint(done.words, done.exit_code, self.ctx.secrets)}")
        return done

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Measures what is done inside as time of the restore."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds += time.monotonic() - begun

    def copy(self, source: Path, target: Path) -> int:
        """Copy a file at the rate that is allowed; its bytes. Flaw when it cannot be read."""
        return Copier(self).copy(source, target)


def bare_trial(backup: BackupSetting, host: Host, ctx: Context, scratch: Scratch) -> Trial:
    """For asking a tool something without restoring."""
    return Trial(
        backup=backup,
        host=host,
        ctx=ctx,
        scratch=scratch,
        level="integrity",
        now=host.now(),
        environment=environment_of(backup),
        sample=1,
        bytes_per_second=0,
        chance=random.Random(),  # noqa: S311 - nothing is drawn
    )


@dataclass(slots=True)
class Copier:
    """Copies files under the test's bounds, all of them together."""

    trial: Trial
    copied: int = 0
    begun: float = field(default_factory=time.monotonic)

    def copy(self, source: Path, target: Path) -> int:
        size = 0
        try:
            with source.open("rb") as reader, target.open("wb") as writer:
                while part := reader.read(1024 * 1024):
                    writer.write(part)
                    size += len(part)
                    self.copied += len(part)
                    self._keep_bounds()
        except OSError as error:
            if error.filename == str(target) or error.filename is None:
                raise ActionFailed("scratch_wrong", f"{target}: {error.strerror}") from None
            raise Flaw(f"{source} cannot be read: {error.strerror}") from None
        return size

    def _keep_bounds(self) -> None:
        self.trial.ctx.require_time()
        self.trial.scratch.watch(self.copied)
        if self.trial.bytes_per_second:
            ahead = self.copied / self.trial.bytes_per_second - (time.monotonic() - self.begun)
            if ahead > 0:
                time.sleep(min(ahead, self.trial.ctx.seconds_left))


class Kit:
    """What every tool's module has one of, as ``KIT``."""

    levels: ClassVar[tuple[ProofLevel, ...]]
    """Levels that it can show, weakest first."""
    is_of_files: ClassVar[bool] = True
    """Whether it holds files of this machine as such; False: a database, or what only its owner knows."""
    is_database: ClassVar[bool] = False
    """Whether it is a database's own backup, whatever the settings say of databases."""

    def newest(self, trial: Trial) -> Snapshot:
        """The newest backup. Flaw when there is none or it cannot be opened; ActionFailed while another uses it."""
        raise NotImplementedError

    def integrity(self, trial: Trial, snapshot: Snapshot) -> None:
        """The tool's own check: all of it at the level ``integrity``, its structure at higher ones. Flaw when it
        finds something."""
        raise NotImplementedError

    def contents(self, trial: Trial, snapshot: Snapshot) -> list[Entry]:
        """The plain files in it, with their places on this machine."""
        raise NotImplementedError

    def size(self, trial: Trial, snapshot: Snapshot, entries: Sequence[Entry]) -> int:
        """Bytes that a whole restore takes in the scratch folder."""
        return sum(entry.size for entry in entries)

    def restore(self, trial: Trial, snapshot: Snapshot, entries: Sequence[Entry] | None) -> None:
        """Restore these files, or all, below ``trial.scratch.restored``."""
        raise NotImplementedError

    def compare(self, trial: Trial, snapshot: Snapshot, comparison: Comparison, entries: Sequence[Entry]) -> None:
        """Compare what came back."""
        comparison.files_in(trial.scratch.restored, entries, trial.ctx)

    def database(
        self, trial: Trial, snapshot: Snapshot, comparison: Comparison
    ) -> AbstractContextManager[Mapping[str, str]]:
        """Start the database from what was restored and query it. Gives variables with which a check finds it.

        Here: of the dumps among the restored files (``pattern``, or the usual names), the newest of each database.
        """
        from forestall.agent.act.backups.databases import restored_dumps

        return restored_dumps(trial, comparison)
