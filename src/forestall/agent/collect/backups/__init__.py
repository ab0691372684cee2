"""The ``backups`` document: backups told of or found, how they stand and what is kept; and on the machine of a server,
how Forestall's own backup stands.

Told of: ``backups.toml`` (see ``backup_settings``). Found: repositories of restic and borg (see ``finding``), and what
other adapters find. Every tool has its module here; ``registry.ADAPTERS`` lists them, ``adapter`` says what one is.
Nothing is locked, cached or written in a repository.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import asdict

from forestall.agent.collect.backup_proofs import Proofs, load_proofs
from forestall.agent.collect.backup_settings import BackupRun, SettingsError, load_runs, load_settings, settings_file
from forestall.agent.collect.backups.adapter import Candidate, Reading
from forestall.agent.collect.backups.finding import lying_around, named_elsewhere, unique
from forestall.agent.collect.backups.memory import Memory
from forestall.agent.collect.backups.own import own_backup
from forestall.agent.collect.backups.registry import ADAPTERS, EVERYWHERE, OTHER_PROGRAMS
from forestall.agent.collect.backups.schedule import runs_around
from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.redaction import redact
from forestall.wire.facts import BackupRepository, Backups

MOST_REPOSITORIES = 32


def collect(host: Host) -> Backups:
    notes = Notes(host)
    told = _told(notes)
    found = [candidate for adapter in ADAPTERS.values() for candidate in adapter.find(notes)]
    candidates = unique([*told, *found, *named_elsewhere(notes), *lying_around(notes)])
    if len(candidates) > MOST_REPOSITORIES:
        notes.gap(f"{len(candidates) - MOST_REPOSITORIES} repositories", f"only {MOST_REPOSITORIES} are read")
    runs, proofs = _runs(notes), _proofs(notes)
    memory = Memory(notes)
    repositories: list[BackupRepository] = []
    for candidate in candidates[:MOST_REPOSITORIES]:
        remembered = memory.of(f"{candidate.tool} {candidate.name} {redact(candidate.location)}")
        readings = ADAPTERS[candidate.tool].read(notes, candidate, remembered)
        for reading in readings:
            name = candidate.name
            if len(readings) > 1:
                name = _free(f"{name}-{reading.job}", {one.name for one in repositories})
            if reading.unknown_why:
                notes.gap(f"backup {name}", reading.unknown_why)
            repositories.append(_repository(notes, candidate, reading, name, runs, proofs))
    memory.save()
    own = own_backup(notes, taken={one.name for one in repositories})
    programs = dict.fromkeys(
        program for adapter in ADAPTERS.values() if adapter.name not in EVERYWHERE for program in adapter.programs
    )
    return Backups(
        tools=tuple(name for name in (*programs, *OTHER_PROGRAMS) if host.find_program(name)),
        repositories=tuple(repositories),
        jobs=() if own is None else (own,),
        sources=notes.sources,
        gaps=notes.gaps,
    )


def _repository(
    notes: Notes,
    candidate: Candidate,
    reading: Reading,
    name: str,
    runs: dict[str, BackupRun],
    proofs: Proofs,
) -> BackupRepository:
    """What was read, over it what the device's owner and the agent's own runs know."""
    fields = asdict(reading)
    run = runs.get(name)
    if run is not None and (reading.last_run_at is None or run.at >= reading.last_run_at):
        fields |= {"last_run_at": run.at, "last_run_ok": run.ok, "last_run_detail": run.detail}
    if run is not None:
        fields |= {
            "restored_at": run.restored_at,
            "restored_ok": run.restored_ok,
            "restored_detail": run.restored_detail,
        }
    setting = candidate.setting
    if setting is not None:
        protects = reading.protects or setting.paths
        databases = (one for one in candidate.protects if one not in setting.paths and one not in protects)
        fields["protects"] = (*protects, *databases)
        for field in ("remote", "offline", "immutable"):
            told = getattr(setting, field)
            if told is not None:
                fields[field] = told
        if setting.immutable is not None:
            fields["immutable_detail"] = "as its owner says"
        if setting.schedule:
            try:
                last, following = runs_around(notes.host, setting.schedule, notes.host.now())
                fields |= {"last_due_at": last, "next_run_at": following}
            except ValueError as error:
                notes.gap(f"next run of backup {name}", str(error))
    return BackupRepository(
        name=name,
        tool=candidate.tool,
        location=redact(candidate.location),
        rerun=candidate.rerun,
        told=candidate.told,
        proofs=tuple(proofs.get(name, {}).values()),
        **fields,
    )


def _free(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def _runs(notes: Notes) -> dict[str, BackupRun]:
    try:
        return load_runs(notes.host)
    except (HostError, SettingsError) as error:
        notes.gap("last runs of backups", str(error))
        return {}


def _proofs(notes: Notes) -> Proofs:
    try:
        return load_proofs(notes.host)
    except (HostError, SettingsError) as error:
        notes.gap("proofs of backups", str(error))
        return {}


def _told(notes: Notes) -> Sequence[Candidate]:
    try:
        settings = load_settings(notes.host)
    except (HostError, SettingsError) as error:
        notes.gap("backup settings", str(error))
        return []
    path = settings_file(notes.host)
    if path:
        notes.used(path)
    return [
        Candidate(
            each.tool,
            each.repository,
            name=each.name,
            password_file=each.password_file,
            environment=each.environment,
            rerun=bool(each.rerun),
            told=True,
            setting=each,
        )
        for each in settings
    ]
