"""borg: ``borg check`` reads the repository, ``borg extract`` brings an archive back. Nothing is locked or cached."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from forestall.agent.act.backups.content import Entry, Flaw, Snapshot, place_origins
from forestall.agent.act.backups.restic import is_alive
from forestall.agent.act.backups.running import Done
from forestall.agent.act.backups.trial import Kit, Trial
from forestall.agent.act.context import ActionFailed

_PARTIAL_SECONDS = 1800
"""Of ``borg check`` on a repository that is larger than may be read."""


class _Borg(Kit):
    levels = ("integrity", "sample", "whole", "database", "application")

    def newest(self, trial: Trial) -> Snapshot:
        require_no_lock(trial)
        done = trial.require(borg(trial, "list", "--json", trial.backup.repository), "the repository cannot be opened")
        archives = json.loads(done.output).get("archives") or []
        if not archives:
            raise Flaw("the repository holds no archive")
        # Its times may be whole seconds; of the same second, the last in the list is the newest.
        found = sorted(archives, key=lambda one: _time(one.get("time") or one["start"]))[-1]
        return Snapshot(id=str(found["name"]), at=_time(found.get("time") or found["start"]))

    def integrity(self, trial: Trial, snapshot: Snapshot) -> None:
        repository = trial.backup.repository
        checks: list[tuple[str, ...]] = [("--archives-only", "--last", "1")]
        if trial.level == "integrity":
            size = _size(repository)
            if size is not None and size <= trial.scratch.most_bytes:
                checks = [("--verify-data",)]
                trial.words.append("borg check verified all data")
            else:
                # No larger part may be read than a restore could take: the segments' own checksums, for a time.
                checks.insert(0, ("--repository-only", "--max-duration", str(_PARTIAL_SECONDS)))
                trial.words.append("borg check passed, its data read in part")
        else:
            trial.words.append("borg check found the archive's list whole")
        for options in checks:
            done = borg(trial, "check", *options, repository)
            trial.require(done, "borg check finds the repository damaged")

    def contents(self, trial: Trial, snapshot: Snapshot) -> list[Entry]:
        name = f"{trial.backup.repository}::{snapshot.id}"
        done = trial.require(borg(trial, "list", "--json-lines", name), "the list of files cannot be read")
        entries = []
        sizes: dict[str, int] = {}
        for line in done.output.splitlines():
            item = json.loads(line)
            if item.get("type") not in ("-", "h"):
                continue
            if not item.get("healthy", True):
                raise Flaw(f"borg says that {item['path']} is damaged")
            # A hard link names the file that holds its content.
            size = sizes.get(item.get("source") or "", item.get("size", 0))
            sizes[item["path"]] = size
            modified = _time(item["mtime"])
            entries.append(Entry(item["path"].lstrip("/"), size, int(modified.timestamp()) * 1_000_000_000))
        place_origins(entries, trial.backup.paths)
        return entries

    def restore(self, trial: Trial, snapshot: Snapshot, entries: Sequence[Entry] | None) -> None:
        argv = ["extract", "--noflags", f"{trial.backup.repository}::{snapshot.id}"]
        argv += [f"pp:{entry.path}" for entry in entries or ()]
        trial.require(
            borg(trial, *argv, folder=trial.scratch.restored, watched=True), "borg cannot bring the archive back"
        )


KIT = _Borg()


def borg(trial: Trial, command: str, *arguments: str, folder: Path | None = None, watched: bool = False) -> Done:
    work = trial.scratch.work
    environment = {
        "BORG_CACHE_DIR": f"{work}/borg-cache",
        "BORG_SECURITY_DIR": f"{work}/borg-security",
        # A throw-away security folder knows no repository; borg would ask whether we really mean it.
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        "BORG_DISPLAY_PASSPHRASE": "no",
    }
    own_lock = [] if command == "break-lock" else ["--bypass-lock"]
    argv = ["borg", command, *own_lock, *arguments]
    return trial.run(argv, folder=folder, environment=environment, watched=watched)


def lock_holder(repository: str) -> tuple[str, int, bool] | None:
    """Who holds a local repository's lock: ``host``, process, and whether that is known to be gone. None: nobody."""
    top = Path(repository)
    try:
        names = os.listdir(top / "lock.exclusive")  # noqa: PTH208
    except OSError:
        names = []
    holders: list[tuple[str, int]] = []
    for name in names:
        host, _, rest = name.rpartition(".")  # host@id.process-thread
        number = rest.partition("-")[0]
        if number.isdigit():
            holders.append((host, int(number)))
    try:
        roster: Mapping[str, list[list[object]]] = json.loads((top / "lock.roster").read_bytes())
    except (OSError, ValueError):
        roster = {}
    holders += [(str(one[0]), int(str(one[1]))) for each in roster.values() for one in each if len(one) > 1]
    for host, process in holders:
        here = host.partition("@")[0].partition(".")[0] == platform.node().partition(".")[0]
        return host.partition("@")[0], process, here and not is_alive(process)
    return None


def require_no_lock(trial: Trial) -> None:
    """Flaw when a lock was left behind, ActionFailed ``backup_busy`` when somebody holds one."""
    found = lock_holder(trial.backup.repository)
    if found is None:
        return
    who = f"{found[0]}, process {found[1]}"
    if found[2]:
        raise Flaw(f"a lock was left behind by {who}: every backup waits for it until it is taken away (unlock-backup)")
    raise ActionFailed("backup_busy", f"the repository is in use by {who}; try again later")


def _size(repository: str) -> int | None:
    """Bytes of a local repository's data; None: it is elsewhere."""
    data = Path(repository) / "data"
    if not data.is_dir():
        return None
    return sum(each.stat().st_size for each in data.rglob("*") if each.is_file())


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    # borg writes local times without a zone; it runs in UTC here.
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
