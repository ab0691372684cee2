"""restic: ``restic check`` reads the repository, ``restic restore`` brings it back. Nothing is locked or cached."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from forestall.agent.act.backups.content import Entry, Flaw, Snapshot, place_origins
from forestall.agent.act.backups.trial import Kit, Trial
from forestall.agent.act.context import ActionFailed

STALE = timedelta(minutes=30)
"""restic renews its locks every 5 minutes, and counts those as left behind that are older than this."""
_PATTERN_CHARACTERS = re.compile(r"([\\*?\[\]])")


class _Restic(Kit):
    levels = ("integrity", "sample", "whole", "database", "application")

    def newest(self, trial: Trial) -> Snapshot:
        done = trial.require(
            trial.run(["restic", "snapshots", "--json", "--no-lock", "--no-cache"]), "the repository cannot be opened"
        )
        snapshots = json.loads(done.output or b"null") or []
        if not snapshots:
            raise Flaw("the repository holds no snapshot")
        require_no_lock(trial, locks(trial))
        here = platform.node()
        # A repository may hold other machines' snapshots beside ours.
        ours = [one for one in snapshots if one.get("hostname") == here] or snapshots
        if trial.backup.paths:
            covering = [one for one in ours if _covers(one.get("paths") or [], trial.backup.paths)]
            if not covering:
                raise Flaw(f"no snapshot holds {', '.join(trial.backup.paths)}")
            ours = covering
        found = max(ours, key=lambda one: _time(one["time"]))
        return Snapshot(id=found["id"], at=_time(found["time"]), paths=tuple(found.get("paths") or ()))

    def integrity(self, trial: Trial, snapshot: Snapshot) -> None:
        argv = ["restic", "check", "--no-lock", "--no-cache"]
        if trial.level == "integrity":
            argv.append(f"--read-data-subset={max(1, trial.scratch.most_bytes // 1_048_576)}M")
        done = trial.require(trial.run(argv), "restic check finds the repository damaged")
        if "error" in done.words.lower().replace("no errors", ""):
            raise Flaw(f"restic check complains: {done.words.strip()[-300:]}")
        read = re.search(r"read (all data|group|.*data packs?.*)", done.words)
        trial.words.append(
            f"restic check found no error ({read[0].strip()})" if read else "restic check found no error"
        )

    def contents(self, trial: Trial, snapshot: Snapshot) -> list[Entry]:
        done = trial.require(
            trial.run(["restic", "ls", "--json", "--no-lock", "--no-cache", snapshot.id]),
            "the list of files cannot be read",
        )
        entries = []
        for line in done.output.splitlines():
            node = json.loads(line)
            if node.get("struct_type") == "node" and node.get("type") == "file":
                modified = _time(node["mtime"])
                entries.append(
                    Entry(
                        path=node["path"].lstrip("/"),
                        size=node.get("size", 0),
                        modified_ns=int(modified.timestamp()) * 1_000_000_000,
                    )
                )
        place_origins(entries, snapshot.paths or trial.backup.paths)
        return entries

    def restore(self, trial: Trial, snapshot: Snapshot, entries: Sequence[Entry] | None) -> None:
        argv = ["restic", "restore", "--no-lock", "--no-cache", f"--target={trial.scratch.restored}"]
        if trial.bytes_per_second:
            argv.append(f"--limit-download={max(1, trial.bytes_per_second // 1024)}")
        argv += [f"--include={escaped(f'/{entry.path}')}" for entry in entries or ()]
        done = trial.run([*argv, snapshot.id], watched=True)
        trial.require(done, "restic cannot restore it")
        if re.search(r"There were \d+ errors|ignoring error", done.words):
            raise Flaw(f"restic restored it with errors: {done.words.strip()[-300:]}")


KIT = _Restic()


def locks(trial: Trial) -> list[tuple[str, dict[str, object]]]:
    """Id and content of every lock in the repository."""
    done = trial.require(trial.run(["restic", "list", "locks", "--no-lock", "--no-cache", "--quiet"]), "its locks")
    found = []
    for name in re.findall(r"^[0-9a-f]{64}$", done.output.decode(errors="replace"), re.MULTILINE):
        content = trial.run(["restic", "cat", "lock", name, "--no-lock", "--no-cache", "--quiet"])
        if content.exit_code != 0:
            raise Flaw(f"a lock cannot be read: {name[:8]}")
        found.append((name, json.loads(content.output)))
    return found


def require_no_lock(trial: Trial, found: list[tuple[str, dict[str, object]]]) -> None:
    """Flaw when a lock was left behind, ActionFailed ``backup_busy`` when somebody holds one."""
    for name, lock in found:
        who = f"{lock.get('username', '?')}@{lock.get('hostname', '?')}, process {lock.get('pid', '?')}"
        since = _time(str(lock["time"]))
        if is_stale(lock, now=trial.now):
            raise Flaw(
                f"a lock was left behind by {who} at {since:%Y-%m-%d %H:%M} UTC ({name[:8]}): "
                "old snapshots cannot be removed, and a check cannot run, until it is taken away (unlock-backup)"
            )
        raise ActionFailed("backup_busy", f"the repository is in use by {who} since {since:%H:%M} UTC; try again later")


def is_stale(lock: dict[str, object], *, now: datetime, age: timedelta = STALE) -> bool:
    """Whether whoever made it is gone: its process on this machine, or it was not renewed for so long."""
    if lock.get("hostname") == platform.node() and not is_alive(int(str(lock.get("pid", 0)))):
        return True
    return now - _time(str(lock["time"])) > age


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def escaped(path: str) -> str:
    """The pattern that means this very path."""
    return _PATTERN_CHARACTERS.sub(r"\\\1", path)


def _covers(held: Sequence[str], wanted: Sequence[str]) -> bool:
    def above(path: str) -> Iterator[str]:
        while path not in ("", "/"):
            yield path
            path = path.rpartition("/")[0]
        yield "/"

    have = {os.path.normpath(path) for path in held}
    return all(have & set(above(os.path.normpath(path))) for path in wanted)


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
