"""Making, proving, keeping and restoring backups of this installation.

A backup gets its name only after it was restored and compared: whatever interrupts the work, a file that is called a
backup is one.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import IO, Any

import msgspec
from dateutil.tz import tzlocal

from forestall import __version__
from forestall.server.backup import archive, rules, snapshot
from forestall.server.backup.age import AgeError, DamagedError, FileKey, Identity, KeyTextError, Passphrase, Recipient
from forestall.server.backup.engines import for_proof, for_restoration, main_database
from forestall.server.backup.errors import BackupError, BusyError, NoRoomError, NotEmptyError, NotProvedError
from forestall.server.backup.evidence import Settled
from forestall.server.backup.proof import Proof, ask, prove
from forestall.server.backup.rules import Settings
from forestall.server.backup.snapshot import Manifest, SnapshotError
from forestall.server.backup.status import status_read, status_write
from forestall.server.home import Home, write_private

log = logging.getLogger(__name__)

LOOK_EVERY_BYTES = 16 * 1024 * 1024
"""Free space is looked at again after this many bytes."""
FAILED = ".failed"
WORK = ".work-"
PARTIAL = ".partial"
RESTORING = ".restoring"

Progress = Callable[[str, int, int], None]
"""Called with the step in words, and bytes done and in all."""
FreeBytes = Callable[[Path], tuple[int, int]]
"""Free and total bytes of the volume a folder is on."""


def free_bytes(folder: Path) -> tuple[int, int]:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize


def no_progress(_step: str, _done: int, _total: int) -> None:
    """For who does not look."""


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that was made and proved."""

    file: Path
    size: int
    seconds: float
    proof: Proof
    pruned: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Restored:
    """An installation that was restored."""

    made_at: datetime
    proof: Proof
    settled: Settled
    log_key: str
    """Fingerprint of the evidence log's key: the one customers were given."""


# --- keys ---------------------------------------------------------------------------------------------------------


def recipients_ensure(home: Home) -> tuple[list[Recipient], bool]:
    """For whom backups are encrypted, and whether the key was made just now. KeyTextError names a line that is none.

    The private key is written to ``backup.key`` in the data folder once, to be kept elsewhere.
    """
    if not home.backup_recipients.exists():
        identity = Identity.new()
        text = (
            "# This key reads Forestall's backups. Keep a copy away from this server: without it none can be read.\n"
            "# Once you have it elsewhere, remove it here; backups go on being made without it.\n"
            f"# public key: {identity.recipient}\n{identity}\n"
        )
        # The private one first: backups that nobody could ever read must not be made.
        write_private(home.backup_key, text.encode())
        write_private(home.backup_recipients, f"# Backups are encrypted for:\n{identity.recipient}\n".encode())
        return [identity.recipient], True
    return _recipients(home), False


def _recipients(home: Home) -> list[Recipient]:
    found = []
    for number, line in enumerate(home.backup_recipients.read_text().splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                found.append(Recipient.parse(line))
            except KeyTextError as error:
                raise BackupError(f"{home.backup_recipients}, line {number}: {error}") from None
    if not found:
        raise BackupError(f"{home.backup_recipients} names no key: nobody could read a backup")
    return found


# --- making -------------------------------------------------------------------------------------------------------


def backup_make(
    *,
    home: Home,
    settings: Settings,
    now: datetime,
    to: Path | None = None,
    passphrase: Passphrase | None = None,
    progress: Progress = no_progress,
    free: FreeBytes = free_bytes,
) -> Made:
    """Make a backup, prove it, and drop what is no longer kept.

    ``to``: another folder than the settings', in which nothing is dropped. BackupError of some kind when there is none
    then: BusyError, NoRoomError, NotProvedError (the file is kept aside).
    """
    if not home.secret_key.exists():
        raise BackupError(f"there is no installation in {home.root}")
    with backup_lock(home):
        folder = to or settings.folder
        _status_change(home, folder=str(settings.folder), last_run_at=now, last_run_ok=None, last_run_detail="")
        try:
            made = _make(home, settings, folder, now, passphrase, progress, free, prunes=to is None)
        except (BackupError, SnapshotError, AgeError, OSError) as error:
            said = {"last_run_ok": False, "last_run_detail": _sentence(error)}
            if isinstance(error, NotProvedError):
                said |= {"verified_at": now, "verified_ok": False, "verified_detail": _sentence(error)}
            _status_change(home, **said)
            log.error("no backup was made: %s", error)  # noqa: TRY400 - the reason is the sentence
            if isinstance(error, BackupError):
                raise
            raise BackupError(_sentence(error)) from error
        _status_change(
            home,
            last_run_ok=True,
            last_run_detail="",
            last_success_at=now,
            last_file=str(made.file),
            last_bytes=made.size,
            last_seconds=round(made.seconds, 1),
            kept=len(backups(folder)),
            verified_at=datetime.now(UTC),
            verified_ok=True,
            verified_detail=str(made.proof),
        )
        log.info("%s: %s bytes in %.1f s; restored to prove it: %s", made.file, made.size, made.seconds, made.proof)
        return made


def _make(
    home: Home,
    settings: Settings,
    folder: Path,
    now: datetime,
    passphrase: Passphrase | None,
    progress: Progress,
    free: FreeBytes,
    *,
    prunes: bool,
) -> Made:
    began = time.monotonic()
    _folder_ensure(home, folder)
    _sweep(home.backups, folder)
    to = passphrase or recipients_ensure(home)[0]
    main = main_database(home)
    total = snapshot.total_size(home, main)
    # At most at once: the copy and the encrypted file, then the encrypted file and what is restored from it.
    room = _Room({home.backups: total, folder: total}, free)
    room.require()
    partial = folder / f".{rules.file_name(now)}{PARTIAL}"
    with _work(home.backups) as work:
        manifest = snapshot.take(
            home=home,
            main=main,
            to=work,
            made_at=now.astimezone(UTC).isoformat(timespec="seconds"),
            version=__version__,
            tick=room.ticker("Copying", total, progress),
        )
        try:
            with _private(partial) as file:
                tick = room.ticker("Encrypting", manifest.size, progress)
                key = archive.write(manifest=manifest, folder=work, file=file, to=to, tick=tick)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    target = folder / rules.file_name(now)
    try:
        proof = _prove_file(home, partial, key, home.root, progress, room)
    except (NotProvedError, AgeError) as error:
        aside = target.with_name(target.name + FAILED)
        partial.replace(aside)
        raise NotProvedError(f"{_sentence(error)}; the file is kept as {aside}", kept_as=aside) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    partial.replace(target)
    _flush(folder)
    gone = prune(folder, settings) if prunes else []
    return Made(target, target.stat().st_size, time.monotonic() - began, proof, tuple(gone))


def _prove_file(
    home: Home,
    file: Path,
    secret: Identity | Passphrase | FileKey,
    origin: Path | None,
    progress: Progress,
    room: _Room,
) -> Proof:
    began = time.monotonic()
    with _work(home.backups) as work:
        manifest = _unpack(file, secret, work, progress, room)
        progress("Comparing", 0, 0)
        main = for_proof(home, work, manifest)
        with main.opened as restored:
            proof = prove(folder=work, manifest=manifest, main=restored, main_path=main.path, origin=origin)
    return replace(proof, seconds=time.monotonic() - began)


def _unpack(file: Path, secret: Identity | Passphrase | FileKey, to: Path, progress: Progress, room: _Room) -> Manifest:
    with file.open("rb") as content:
        size = os.fstat(content.fileno()).st_size

        def tick(_count: int) -> None:
            room.look()
            progress("Restoring", content.tell(), size)

        return archive.read(
            file=content, secret=secret, folder=to, tick=tick, room=lambda bytes_: room.need(to, bytes_)
        )


def backup_verify(
    *,
    home: Home,
    file: Path,
    secret: Identity | Passphrase,
    now: datetime,
    progress: Progress = no_progress,
    free: FreeBytes = free_bytes,
) -> Proof:
    """Restore a backup into a scratch folder and compare it with what it says it holds. WrongKeyError; NotProvedError
    when it does not hold: a backup in this installation's folder is then kept aside under another name."""
    if not file.is_file():
        raise BackupError(f"{file} is not there")
    with backup_lock(home):
        _folder_ensure(home, home.backups)
        _sweep(home.backups)
        ours = (
            rules.made_at(file.name) is not None and file.parent.resolve() == Path(status_read(home).folder).resolve()
        )
        try:
            proof = _prove_file(home, file, secret, None, progress, _Room({}, free))
        except (NotProvedError, DamagedError) as error:
            aside = file.with_name(file.name + FAILED)
            if ours:
                file.replace(aside)
                _status_change(home, verified_at=now, verified_ok=False, verified_detail=f"{file.name}: {error}")
            log.error("%s does not hold: %s", file, error)  # noqa: TRY400 - the reason is the sentence
            raise NotProvedError(
                f"{file} does not hold: {error}" + (f"; it is kept as {aside}" if ours else ""),
                kept_as=aside if ours else None,
            ) from error
        if ours:
            _status_change(home, verified_at=now, verified_ok=True, verified_detail=str(proof))
        log.info("%s was restored to prove it: %s", file, proof)
        return proof


# --- keeping ------------------------------------------------------------------------------------------------------


def backups(folder: Path) -> list[Path]:
    """The backups in a folder, newest first. Each was restored and compared when it was made."""
    if not folder.is_dir():
        return []
    found = [one for one in folder.iterdir() if rules.made_at(one.name) is not None]
    return sorted(found, key=lambda one: one.name, reverse=True)


def prune(folder: Path, settings: Settings) -> list[str]:
    """Delete the backups that are no longer kept; their names."""
    gone = rules.to_prune([one.name for one in backups(folder)], settings, zone=_zone())
    for name in gone:
        (folder / name).unlink(missing_ok=True)
    return gone


def due_at(*, home: Home, settings: Settings) -> datetime | None:
    """When the next scheduled backup is to begin; None: never, or there is no installation yet."""
    if not home.secret_key.exists():
        return None
    installed = datetime.fromtimestamp(home.secret_key.stat().st_mtime, UTC)
    return rules.next_due(status_read(home), settings, installed_at=installed, zone=_zone())


def schedule_note(*, home: Home, settings: Settings) -> None:
    """Write into the status what the schedule is, when that is not what it says."""
    status = status_read(home)
    due = due_at(home=home, settings=settings)
    first = due if status.last_run_at is None else status.first_due_at
    told = msgspec.structs.replace(
        status, scheduled=settings.at is not None, folder=str(settings.folder), first_due_at=first
    )
    if told != status:
        status_write(home, told)


def _zone() -> tzinfo:
    """The server's own time zone."""
    try:
        # dateutil's, because zoneinfo knows zones by name alone and a machine need not say the name of its own.
        return tzlocal()
    except (OSError, ValueError):
        return UTC


# --- restoring ----------------------------------------------------------------------------------------------------


def restore(
    *,
    file: Path,
    home: Home,
    secret: Identity | Passphrase,
    progress: Progress = no_progress,
    free: FreeBytes = free_bytes,
) -> Restored:
    """Restore a backup into an empty data folder, prove it, and make it fit to take up its work.

    NotEmptyError when there is something already; WrongKeyError, NotProvedError. On any error nothing is left behind.
    """
    if not file.is_file():
        raise BackupError(f"{file} is not there")
    work = home.root / RESTORING
    if home.root.exists():
        if not home.root.is_dir():
            raise NotEmptyError(f"{home.root} is a file")
        shutil.rmtree(work, ignore_errors=True)  # of a restoration that was killed
        there = sorted(one.name for one in home.root.iterdir() if one.name != "lost+found")
        if there:
            more = f" and {len(there) - 3} more" if len(there) > 3 else ""
            raise NotEmptyError(
                f"{home.root} is not empty ({', '.join(there[:3])}{more}); restore into an empty folder"
            )
    home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    began = time.monotonic()
    work.mkdir(mode=0o700)
    try:
        manifest = _unpack(file, secret, work, progress, _Room({}, free))
        progress("Comparing", 0, 0)
        main = for_restoration(work, manifest)
        with main.opened as restored:
            proof = prove(folder=work, manifest=manifest, main=restored, main_path=main.path, origin=None)
            answer = ask(work, restored.environment(), "settle", manifest.made_at)
            settled = msgspec.json.decode(answer, type=Settled)
            log_key = _log_key(work)
            if manifest.engine != "sqlite":
                (work / main.path).unlink()
            (work / "server").replace(home.server)
            _flush(home.root)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    proof = replace(proof, seconds=time.monotonic() - began)
    return Restored(datetime.fromisoformat(manifest.made_at), proof, settled, log_key)


def _log_key(folder: Path) -> str:
    from forestall.trust.keys import key_id, private_key, public_bytes

    return key_id(public_bytes(private_key(Home(folder).log_key.read_bytes())))


# --- room, locks, files -------------------------------------------------------------------------------------------


class _Room:
    """Free space: asked for before, and looked at while bytes are written."""

    def __init__(self, needs: dict[Path, int], free: FreeBytes) -> None:
        self._free = free
        self._needs = needs
        self._seen = 0
        self._folders = list(needs)

    def require(self) -> None:
        """NoRoomError unless every volume can take what is to be written there, and keeps its reserve."""
        volumes: dict[int, tuple[Path, int]] = {}
        for folder, needed in self._needs.items():
            device = folder.stat().st_dev
            known = volumes.get(device, (folder, 0))
            volumes[device] = (known[0], known[1] + needed)
        for folder, needed in volumes.values():
            self._require(folder, needed)

    def need(self, folder: Path, needed: int) -> None:
        """The same for one folder, which is looked at from now on."""
        self._require(folder, needed)
        self._folders.append(folder)

    def look(self) -> None:
        """NoRoomError when a volume has less than its reserve left."""
        for folder in self._folders:
            if folder.exists():
                self._require(folder, 0)

    def ticker(self, step: str, total: int, progress: Progress) -> snapshot.Tick:
        done = 0

        def tick(count: int) -> None:
            nonlocal done
            done += count
            self._seen += count
            if self._seen >= LOOK_EVERY_BYTES:
                self._seen = 0
                self.look()
            progress(step, min(done, total), total)

        return tick

    def _require(self, folder: Path, needed: int) -> None:
        free, total = self._free(folder)
        reserve = rules.reserve(total)
        if free < needed + reserve:
            raise NoRoomError(
                f"{folder} has {_mib(free)} free; {_mib(needed)} are needed, and {_mib(reserve)} stay free for the rest"
            )


def _mib(count: int) -> str:
    return f"{count / 1024 / 1024:,.0f} MiB"


@contextmanager
def backup_lock(home: Home) -> Iterator[None]:
    """Only one backup, or proof of one, at a time. BusyError."""
    home.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home.run / "backup.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError("another backup is being made or verified; wait until it is done") from None
        yield


@contextmanager
def _work(beside: Path) -> Iterator[Path]:
    """A private folder that is gone afterwards."""
    work = beside / f"{WORK}{secrets.token_hex(4)}"
    work.mkdir(mode=0o700)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _private(path: Path) -> Iterator[IO[bytes]]:
    """A new file only its owner can read, on stable storage at the end."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _folder_ensure(home: Home, folder: Path) -> None:
    home.backups.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A folder that somebody named is not made: it may be the empty place where a volume should be mounted.
    if not folder.is_dir():
        raise BackupError(f"{folder} is not a folder; is its volume mounted?")
    if not os.access(folder, os.W_OK):
        raise BackupError(f"{folder} cannot be written by this user")


def _sweep(*folders: Path) -> None:
    """Remove what a killed backup left: nobody else is at work, the lock is held."""
    for folder in dict.fromkeys(folders):
        for left in folder.iterdir():
            if left.name.startswith(WORK) and left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            elif left.name.endswith(PARTIAL) and rules.made_at(left.name[1 : -len(PARTIAL)]) is not None:
                left.unlink(missing_ok=True)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _status_change(home: Home, **fields: Any) -> None:
    status_write(home, msgspec.structs.replace(status_read(home), **fields))
