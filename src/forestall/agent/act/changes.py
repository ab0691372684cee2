"""The undo journal: what a job changed, with what was there before, so that it can be put back.

Kept in the agent's folder, one folder a job (``changes/<job id>/``), readable by nobody else: ``journal.json`` lists
the changes in their order, and the former contents of files lie beside it under their SHA-256. An entry is on stable
storage *before* the change is made: after a crash there may be an entry too many, which undoing finds out, and never
one too few.

An action changes files through ``ctx.changes.file_replace``, ``.file_remove`` and ``.file_mode``, and notes whatever
else it changes with ``ctx.changes.note(kind, ...)``, where ``kind`` is a module of ``agent.act.undo``. The action
``changes.undo`` reads the journal backwards. It puts back everything or nothing: when one thing was changed since by
somebody else, it says which and leaves all as it is.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from forestall.agent.act.failure import ActionFailed
from forestall.agent.config import file_write
from forestall.trust.statements import ParameterValue

FOLDER = "changes"
JOURNAL = "journal.json"
MAX_FILE = 4 * 1024 * 1024
"""Largest file that is changed through the journal, in bytes: settings, not data."""
MAX_JOURNALS = 200
"""Jobs whose journals are kept; the oldest go first."""
MAX_TOTAL = 256 * 1024 * 1024
"""Bytes of all journals together."""
_JOB = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_MAX_LINKS = 40


class FileState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A file at a moment."""

    mode: int
    uid: int
    gid: int
    digest: str = ""
    """SHA-256 of its content; empty where only mode and owner count."""


class FileChange(msgspec.Struct, frozen=True, kw_only=True, tag="file", omit_defaults=True):
    """A file before and after; None: it was not there, or is gone."""

    step: int
    at: datetime
    path: str
    before: FileState | None
    after: FileState | None


class Noted(msgspec.Struct, frozen=True, kw_only=True, tag="note", omit_defaults=True):
    """A change that is no file's: ``kind`` names the module of ``agent.act.undo`` that knows how to undo it."""

    step: int
    at: datetime
    kind: str
    state: dict[str, ParameterValue]


Entry = FileChange | Noted


class Journal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one job changed, in its order."""

    job_id: str
    entries: tuple[Entry, ...] = ()
    continues: str = ""
    """The job whose later steps this one runs: undoing this undoes that one too."""
    undone_by: str = ""
    """The job that put everything back; empty: it stands."""


class Changes:
    """The journal of one job, and the only way in which actions change files that can be put back."""

    @staticmethod
    def name_for(job_id: str) -> str:
        """The id under which a run's journal is kept: its own, or a digest of one that is no name for a folder."""
        return job_id if _JOB.fullmatch(job_id) else hashlib.sha256(job_id.encode()).hexdigest()

    def __init__(self, home: Path, job_id: str, *, step: int = 0, dry_run: bool = False) -> None:
        if _JOB.fullmatch(job_id) is None:
            raise ActionFailed("argument_wrong", f"job: {job_id!r} is not the id of a job")
        self.job_id = job_id
        self._home = home
        self._folder = home / FOLDER / job_id
        self._step = step
        self._dry_run = dry_run

    # --- changing ---

    def file_replace(
        self, path: str, data: bytes, mode: int | None = None, *, uid: int | None = None, gid: int | None = None
    ) -> bool:
        """Make ``path`` hold ``data``, whole or not at all; False when it does already.

        ``mode``, ``uid``, ``gid``: of the file from now on; None: as they are, 0644 and ours for a new one. Extended
        attributes stay. The folder must be there. ActionFailed for a symbolic link, a folder, a larger file than
        ``MAX_FILE``.
        """
        if len(data) > MAX_FILE:
            raise ActionFailed("file_too_large", f"{path}: {len(data)} bytes, at most {MAX_FILE}")
        with _parent(path) as (folder, name):
            before, content = _look(folder, name, path)
            wanted = FileState(
                mode=mode if mode is not None else 0o644 if before is None else before.mode,
                uid=uid if uid is not None else os.geteuid() if before is None else before.uid,
                gid=gid if gid is not None else os.getegid() if before is None else before.gid,
                digest=hashlib.sha256(data).hexdigest(),
            )
            if before == wanted:
                return False
            self._note_file(path, before, wanted, content)
            _write(folder, name, data, wanted, path)
        return True

    def file_remove(self, path: str) -> bool:
        """Remove a file; False when it is not there. ActionFailed as ``file_replace``."""
        with _parent(path) as (folder, name):
            before, content = _look(folder, name, path)
            if before is None:
                return False
            self._note_file(path, before, None, content)
            os.unlink(name, dir_fd=folder)
            os.fsync(folder)
        return True

    def file_mode(self, path: str, mode: int, *, uid: int | None = None, gid: int | None = None) -> bool:
        """Give a file or folder another mode (and owner); False when it has them. ActionFailed for a link."""
        with _parent(path) as (folder, name):
            descriptor = _open(folder, name, path)
            if descriptor is None:
                raise ActionFailed("file_missing", f"{path} is not there")
            try:
                found = os.fstat(descriptor)
                before = FileState(mode=stat.S_IMODE(found.st_mode), uid=found.st_uid, gid=found.st_gid)
                wanted = FileState(
                    mode=mode, uid=before.uid if uid is None else uid, gid=before.gid if gid is None else gid
                )
                if before == wanted:
                    return False
                self._note_file(path, before, wanted, b"")
                _give(descriptor, wanted)
            finally:
                os.close(descriptor)
        return True

    def note(self, kind: str, **state: ParameterValue) -> None:
        """Note a change of another kind *before* it is made, with what its undoing needs to know."""
        self._require_wet(kind)
        self._append(Noted(step=self._step, at=datetime.now(UTC), kind=kind, state=dict(state)), None)

    # --- reading ---

    def journal(self) -> Journal:
        """What the job changed so far; an empty one when nothing is kept of it. ActionFailed when it is damaged."""
        try:
            return msgspec.json.decode((self._folder / JOURNAL).read_bytes(), type=Journal)
        except FileNotFoundError:
            return Journal(job_id=self.job_id)
        except (OSError, msgspec.DecodeError) as error:
            raise ActionFailed("journal_damaged", f"what job {self.job_id} changed cannot be read: {error}") from None

    def count(self, step: int | None = None) -> int:
        """How many changes are noted, of the job or of one of its steps."""
        return sum(step is None or entry.step == step for entry in self.journal().entries)

    def has_any(self) -> bool:
        """Whether something is kept of this job or of one it continues, or may be: a damaged journal counts."""
        try:
            journal = self.journal()
        except ActionFailed:
            return True
        return bool(journal.entries) or bool(journal.continues and self.of(journal.continues).has_any())

    def undoable(self, step: int) -> int:
        """``count`` of a step for its result: none where the journal is damaged, for then nothing can be undone."""
        try:
            return self.count(step)
        except ActionFailed:
            return 0

    def content(self, state: FileState) -> bytes:
        """The former content of a file. ActionFailed when it is not what was kept."""
        try:
            data = (self._folder / state.digest).read_bytes()
        except OSError as error:
            raise ActionFailed("journal_damaged", f"a former content cannot be read: {error}") from None
        if hashlib.sha256(data).hexdigest() != state.digest:
            raise ActionFailed("journal_damaged", f"a former content of job {self.job_id} is damaged: {state.digest}")
        return data

    def of(self, job_id: str) -> Changes:
        """The journal of another job."""
        return Changes(self._home, job_id)

    # --- keeping ---

    def continue_from(self, job_id: str) -> None:
        """Note that this job runs the later steps of another."""
        self._keep(msgspec.structs.replace(self.journal(), continues=job_id))

    def mark_undone(self, by: str) -> None:
        """Note that everything was put back."""
        self._keep(msgspec.structs.replace(self.journal(), undone_by=by))

    def _note_file(self, path: str, before: FileState | None, after: FileState | None, content: bytes) -> None:
        self._require_wet(path)
        entry = FileChange(step=self._step, at=datetime.now(UTC), path=path, before=before, after=after)
        self._append(entry, content if before is not None and before.digest else None)

    def _append(self, entry: Entry, content: bytes | None) -> None:
        journal = self.journal()
        if not journal.entries:
            self._make_room()
        if content is not None:
            kept = self._folder / hashlib.sha256(content).hexdigest()
            if not kept.exists():
                file_write(str(kept), content)
        # Undone once and changed again: what stands now is open to undoing.
        self._keep(msgspec.structs.replace(journal, entries=(*journal.entries, entry), undone_by=""))

    def _keep(self, journal: Journal) -> None:
        file_write(str(self._folder / JOURNAL), msgspec.json.encode(journal))

    def _require_wet(self, what: str) -> None:
        if self._dry_run:
            raise ActionFailed("dry_run_stopped", f"this is a dry run: {what} was not changed")

    def _make_room(self) -> None:
        """Let the oldest journals go when there are too many, or when they are too large together."""
        try:
            folders = [Path(found.path) for found in os.scandir(self._home / FOLDER) if found.is_dir()]
        except FileNotFoundError:
            return
        folders.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
        total = 0
        for number, folder in enumerate(folders, start=1):
            total += sum(file.stat().st_size for file in folder.iterdir())
            if number >= MAX_JOURNALS or total > MAX_TOTAL:
                shutil.rmtree(folder)


def file_state(path: str, *, content: bool) -> FileState | None:
    """A file as it is now; None when it is not there. ``content``: with the digest of its content."""
    with _parent(path) as (folder, name):
        if content:
            return _look(folder, name, path)[0]
        descriptor = _open(folder, name, path)
        if descriptor is None:
            return None
        try:
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        return FileState(mode=stat.S_IMODE(found.st_mode), uid=found.st_uid, gid=found.st_gid)


# --- files, without following what others may have put in the way ---


@contextmanager
def _parent(path: str) -> Iterator[tuple[int, str]]:
    """The open folder of ``path`` and the name in it.

    Symbolic links on the way are followed only when they belong to root or to ourselves: a person who may write to a
    folder on the way must not choose what is changed in root's name.
    """
    if not path.startswith("/") or os.path.normpath(path) != path or path == "/":
        raise ActionFailed("argument_wrong", f"{path!r} is not an absolute path in its shortest form")
    *parts, name = path.strip("/").split("/")
    ahead = parts[::-1]
    links = 0
    folder = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while ahead:
            part = ahead.pop()
            try:
                found = os.lstat(part, dir_fd=folder)
                if stat.S_ISLNK(found.st_mode):
                    links += 1
                    if found.st_uid not in (0, os.geteuid()) or links > _MAX_LINKS:
                        raise ActionFailed("not_a_file", f"{path}: {part!r} on the way is somebody's symbolic link")
                    target = os.readlink(part, dir_fd=folder)
                    ahead += [step for step in target.split("/") if step not in ("", ".")][::-1]
                    if not target.startswith("/"):
                        continue
                    following = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                else:
                    following = os.open(
                        part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder
                    )
            except OSError as error:
                raise ActionFailed("file_missing", f"{path}: {part!r} on the way: {error.strerror}") from None
            os.close(folder)
            folder = following
        yield folder, name
    except OSError as error:
        raise ActionFailed("file_denied", f"{path}: {error.strerror}") from None
    finally:
        os.close(folder)


def _open(folder: int, name: str, path: str) -> int | None:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ActionFailed("not_a_file", f"{path} is not a file that can be changed: {error.strerror}") from None


def _look(folder: int, name: str, path: str) -> tuple[FileState | None, bytes]:
    """The file and its content; None and nothing when it is not there."""
    descriptor = _open(folder, name, path)
    if descriptor is None:
        return None, b""
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ActionFailed("not_a_file", f"{path} is not a regular file")
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise ActionFailed("file_too_large", f"{path} is larger than {MAX_FILE} bytes")
    state = FileState(
        mode=stat.S_IMODE(found.st_mode),
        uid=found.st_uid,
        gid=found.st_gid,
        digest=hashlib.sha256(data).hexdigest(),
    )
    return state, data


def _write(folder: int, name: str, data: bytes, wanted: FileState, path: str) -> None:
    beside = f".{name}.{os.getpid()}.forestall"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(beside, flags, 0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            _keep_attributes(folder, name, descriptor)
            _give(descriptor, wanted)
            file.flush()
            os.fsync(descriptor)
        os.replace(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(beside, dir_fd=folder)
        raise
    os.fsync(folder)


def _give(descriptor: int, wanted: FileState) -> None:
    found = os.fstat(descriptor)
    if (found.st_uid, found.st_gid) != (wanted.uid, wanted.gid):
        os.fchown(descriptor, wanted.uid, wanted.gid)
    # After the owner: a change of owner takes the set-user-id bit away.
    os.fchmod(descriptor, wanted.mode)


def _keep_attributes(folder: int, name: str, descriptor: int) -> None:
    """Give the new file the extended attributes (SELinux label, ACL) of the one it replaces."""
    try:
        former = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return
    try:
        for attribute in os.listxattr(former):
            os.setxattr(descriptor, attribute, os.getxattr(former, attribute))
    except OSError:
        # A file system without them, or one that a label is not for: mode and owner are kept all the same.
        return
    finally:
        os.close(former)
