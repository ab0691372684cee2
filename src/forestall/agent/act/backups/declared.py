"""A backup that only its owner knows how to restore: proven by the command that the settings name."""

from __future__ import annotations

from collections.abc import Sequence

from forestall.agent.act.backups.content import Comparison, Entry, Snapshot
from forestall.agent.act.backups.trial import Kit, Trial


class _Declared(Kit):
    levels = ("application",)
    is_of_files = False

    def newest(self, trial: Trial) -> Snapshot:
        return Snapshot(id="", at=trial.last_run_at or trial.now)

    def integrity(self, trial: Trial, snapshot: Snapshot) -> None:
        trial.words.append("restored and checked by the owner's own command")

    def contents(self, trial: Trial, snapshot: Snapshot) -> list[Entry]:
        return [Entry("", 0)]

    def restore(self, trial: Trial, snapshot: Snapshot, entries: Sequence[Entry] | None) -> None:
        """The command does it, in the scratch folder."""

    def compare(self, trial: Trial, snapshot: Snapshot, comparison: Comparison, entries: Sequence[Entry]) -> None:
        """The command does it."""


KIT = _Declared()
