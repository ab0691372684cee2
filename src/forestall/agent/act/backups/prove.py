"""Putting one backup to the proof: find the newest, check it, restore it, compare, start it, and clean up.

Every level rests on those below: the newest backup must be there, of the past and not empty; the tool's own check must
pass; then a sample or the whole is restored and compared, the database started, the application checked. What could
not be tried (no room, in use, a program missing) is neither a pass nor a failure: ``ActionFailed``, and no proof.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from forestall.agent.act.backups import manifest as manifests
from forestall.agent.act.backups.content import Comparison, Flaw, Snapshot, readable
from forestall.agent.act.backups.running import run
from forestall.agent.act.backups.scratch import scratch_folder
from forestall.agent.act.backups.source import complaint, environment_of, find_backup, secrets_of
from forestall.agent.act.backups.tools import kit_of, place_of
from forestall.agent.act.backups.trial import Kit, Trial
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.sweep import size_in_words
from forestall.agent.collect.backup_proofs import PROOFS_FILE_NAME, Proofs, read_proofs
from forestall.agent.collect.backup_settings import RUNS_FILE_NAME, BackupRun, BackupSetting, SettingsError
from forestall.agent.collect.host import Host
from forestall.agent.collect.redaction import HIDDEN, redact
from forestall.agent.config import file_write
from forestall.trust.proofs import PROOF_LEVELS, ProofLevel, RestoreProof
from forestall.wire.facts import BackupProof

CLOCK_SLACK = timedelta(minutes=10)
"""A backup may be stamped by another machine's clock."""
RESTORED_FOLDER = "FORESTALL_RESTORED_FOLDER"
"""Variable in which an application's check finds the folder that was restored."""


def prove(
    name: str,
    level: ProofLevel,
    host: Host,
    ctx: Context,
    *,
    most_mb: int,
    rate_kb: int = 0,
    sample: int = 20,
    chance: random.Random | None = None,
) -> RestoreProof:
    """Try to show that the backup called ``name`` is worth ``level``; the outcome is also kept for the collector.

    ``most_mb``: most megabytes that the restore may take; ``rate_kb``: most kilobytes a second, 0 for no limit;
    ``sample``: files at the level ``sample``. ActionFailed when it could not be tried.
    """
    backup = find_backup(name, host, ctx)
    ctx.secrets.update(secrets_of(backup))
    kit = kit_of(backup)
    tried = level_to_try(backup, kit, level)
    if ctx.dry_run:
        raise ActionFailed("dry_run_stopped", "this is a dry run: nothing was restored")
    with scratch_folder(place_of(backup, ctx), name=name, most_bytes=most_mb * 1_000_000) as scratch:
        trial = Trial(
            backup=backup,
            host=host,
            ctx=ctx,
            scratch=scratch,
            level=tried,
            now=host.now(),
            environment=environment_of(backup),
            sample=sample,
            bytes_per_second=rate_kb * 1000,
            chance=chance or random.Random(),  # noqa: S311 - which files are looked at, nothing secret
            last_run_at=_last_good_run(ctx.agent_home, name),
        )
        proof = _try(trial, kit)
    proof = _without_secrets(proof, ctx.secrets)
    _record(ctx.agent_home, proof)
    return proof


def _without_secrets(proof: RestoreProof, secrets: set[str]) -> RestoreProof:
    """What leaves the device, and what is kept for it, holds no password that a tool may have printed."""

    def clean(text: str) -> str:
        # The longest first: one secret may be part of another.
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return redact(readable(text))

    return msgspec.structs.replace(proof, detail=clean(proof.detail), differences=tuple(map(clean, proof.differences)))


def level_to_try(backup: BackupSetting, kit: Kit, level: ProofLevel) -> ProofLevel:
    """The level itself, or the next above it that this tool knows. ActionFailed ``level_wrong`` when there is none."""
    if level == "reported":
        raise ActionFailed("level_wrong", "that a job reported success is not proven by a restore test")
    if level == "application" and not backup.check:
        raise ActionFailed("level_wrong", f"backup {backup.name} names no check of its application (check = [...])")
    above = PROOF_LEVELS[PROOF_LEVELS.index(level) :]
    tried = next((each for each in above if each in kit.levels), None)
    if tried is None or (tried == "application" and not backup.check):
        known = ", ".join(kit.levels)
        raise ActionFailed("level_wrong", f"{level} cannot be shown of {backup.tool}; it knows {known}")
    return tried


def _try(trial: Trial, kit: Kit) -> RestoreProof:
    snapshot: Snapshot | None = None
    comparison = Comparison(manifest=None, snapshot_at=trial.now)
    ok, detail = True, ""
    differences: tuple[str, ...] = ()
    try:
        snapshot = kit.newest(trial)
        comparison.snapshot_at = snapshot.at
        _require_plausible_time(trial, snapshot)
        comparison.manifest = trial.manifest = manifests.of_snapshot(
            trial.ctx.agent_home, trial.backup.name, snapshot.at
        )
        _climb(trial, kit, snapshot, comparison)
    except Flaw as flaw:
        ok, detail, differences = False, flaw.sentence, flaw.differences
    if ok:
        detail = _praise(trial, comparison)
    return RestoreProof(
        backup=trial.backup.name,
        tool=trial.backup.tool,
        level=trial.level,
        ok=ok,
        snapshot=readable(snapshot.id) if snapshot else "",
        snapshot_at=snapshot.at if snapshot else None,
        started_at=trial.now,
        seconds=round(trial.seconds, 3),
        files=comparison.files,
        compared=comparison.compared,
        bytes=comparison.bytes,
        detail=detail[:1000],
        differences=differences or tuple(comparison.differences),
    )


def _climb(trial: Trial, kit: Kit, snapshot: Snapshot, comparison: Comparison) -> None:
    """All levels up to the one that is tried; Flaw at the first that does not hold."""
    kit.integrity(trial, snapshot)
    entries = kit.contents(trial, snapshot)
    if not entries:
        raise Flaw("the newest backup holds no file at all")
    if trial.level == "integrity":
        return
    if kit.is_of_files:
        comparison.names(entries, trial.backup.paths, trial.backup.exclude)
    if trial.level == "sample":
        chosen = comparison.sample(entries, trial.sample, trial.scratch.most_bytes, trial.chance)
        trial.scratch.require(sum(entry.size for entry in chosen))
        with trial.restoring():
            kit.restore(trial, snapshot, chosen)
        kit.compare(trial, snapshot, comparison, chosen)
    else:
        trial.scratch.require(kit.size(trial, snapshot, entries))
        with trial.restoring():
            kit.restore(trial, snapshot, None)
        kit.compare(trial, snapshot, comparison, entries)
    _require_same(comparison)
    if trial.level in ("sample", "whole") and not comparison.compared:
        raise ActionFailed(
            "nothing_to_compare",
            f"{_count(comparison.files, 'file')} came back and none could be compared: there are no hashes of that "
            "time (manifest = true) and no live file is unchanged since",
        )
    if trial.level in ("database", "application") and "database" in kit.levels and _has_database(trial, kit):
        with kit.database(trial, snapshot, comparison) as environment:
            _require_same(comparison)
            if trial.level == "application":
                _check_application(trial, environment)
    elif trial.level == "application":
        _check_application(trial, {})
    elif trial.level == "database":
        raise ActionFailed("level_wrong", f"backup {trial.backup.name} names no database (databases = [...])")


def _has_database(trial: Trial, kit: Kit) -> bool:
    return kit.is_database or bool(trial.backup.databases)


def _check_application(trial: Trial, environment: Mapping[str, str]) -> None:
    """The owner's own check of what was restored. Flaw unless it ends with 0."""
    restored = trial.scratch.restored
    argv = [restored.as_posix() if word == "{folder}" else word for word in trial.backup.check]
    done = run(
        argv,
        trial.ctx,
        environment={**trial.backup.environment, **environment, RESTORED_FOLDER: str(restored)},
        folder=str(restored),
    )
    if done.exit_code != 0:
        said = complaint(done.words, done.exit_code, trial.ctx.secrets)
        raise Flaw(f"the application's check {Path(argv[0]).name} failed: {said}")
    trial.words.append(f"the application's check {Path(argv[0]).name} passed")


def _require_plausible_time(trial: Trial, snapshot: Snapshot) -> None:
    """Flaw when the newest backup is of the future, or older than the run that is said to have made it."""
    if snapshot.at > trial.now + CLOCK_SLACK:
        raise Flaw(
            f"the newest backup is of {snapshot.at:%Y-%m-%d %H:%M} UTC, which is still to come: a clock was wrong, "
            "and which backup is the newest cannot be told"
        )
    noted = manifests.newest(trial.ctx.agent_home, trial.backup.name)
    began = noted.began_at if noted is not None else None
    if began is not None and snapshot.at < began - manifests.SLACK:
        raise Flaw(
            f"the run of {began:%Y-%m-%d %H:%M} UTC ended well, yet the newest backup is of "
            f"{snapshot.at:%Y-%m-%d %H:%M} UTC: nothing new arrived, or a clock was wrong"
        )


def _require_same(comparison: Comparison) -> None:
    if comparison.differing:
        rest = comparison.differing - 1
        first = comparison.differences[0]
        raise Flaw(f"{first}{f'; {rest} more differ' if rest else ''}", comparison.differences)


def _praise(trial: Trial, comparison: Comparison) -> str:
    words = list(trial.words)
    if comparison.files:
        words.append(
            f"{_count(comparison.files, 'file')} ({size_in_words(comparison.bytes)}) came back in "
            f"{trial.seconds:.1f} s, {comparison.compared} compared "
            f"({comparison.by_manifest} with what was noted at backup time)"
        )
    return "; ".join(words)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _last_good_run(agent_home: Path, name: str) -> datetime | None:
    try:
        runs = msgspec.json.decode((agent_home / RUNS_FILE_NAME).read_bytes(), type=dict[str, BackupRun])
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    last = runs.get(name)
    return last.at if last is not None and last.ok else None


def _record(agent_home: Path, proof: RestoreProof) -> None:
    """Keep it as the newest attempt at its level, and as what the last restore test showed."""
    path = agent_home / PROOFS_FILE_NAME
    proofs: Proofs = {}
    # A damaged record of past proofs must not stop the next from being kept.
    with contextlib.suppress(FileNotFoundError, SettingsError):
        proofs = read_proofs(path.read_bytes(), str(path))
    proofs.setdefault(proof.backup, {})[proof.level] = BackupProof(
        level=proof.level,
        at=proof.started_at,
        ok=proof.ok,
        snapshot=proof.snapshot,
        snapshot_at=proof.snapshot_at,
        seconds=proof.seconds,
        files=proof.files,
        compared=proof.compared,
        bytes=proof.bytes,
        detail=proof.detail[:500],
    )
    file_write(str(path), msgspec.json.encode(proofs))
