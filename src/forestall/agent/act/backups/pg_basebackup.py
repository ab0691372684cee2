"""Base backups of PostgreSQL, as folders or as tar files: verified with the manifest that PostgreSQL itself wrote, then
started as a private server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from forestall.agent.act.backups.content import Comparison, Entry, Flaw, Snapshot
from forestall.agent.act.backups.databases import PostgresProduct, ask_query, compare_with_manifest
from forestall.agent.act.backups.files import candidates
from forestall.agent.act.backups.servers import Place, Postgres, postgres_programs, run_postgres, server_place
from forestall.agent.act.backups.source import complaint
from forestall.agent.act.backups.trial import Copier, Kit, Trial

MANIFEST, LABEL = "backup_manifest", "backup_label"
_TARS = (".tar", ".tar.gz", ".tar.zst", ".tar.lz4", ".tar.bz2", ".tar.xz")


class _BaseBackup(Kit):
    levels = ("integrity", "whole", "database", "application")
    is_of_files = False
    is_database = True

    def newest(self, trial: Trial) -> Snapshot:
        top = Path(trial.backup.repository)
        try:
            folders = [top] if _is_backup(top) else []
            if not folders:
                folders = [each for each in candidates(trial.backup, ("*",), folders=True) if _is_backup(each)]
        except OSError as error:
            raise Flaw(f"{error.filename} cannot be looked into: {error.strerror}") from None
        if not folders:
            raise Flaw(f"there is no base backup in {top}")
        newest = max(folders, key=_made_at)
        at = datetime.fromtimestamp(_made_at(newest), UTC)
        return Snapshot(id=newest.name, at=at, places=(newest,))

    def integrity(self, trial: Trial, snapshot: Snapshot) -> None:
        (folder,) = snapshot.places
        if not (folder / MANIFEST).is_file():
            raise Flaw(f"{MANIFEST} is missing: nothing says which files belong to the base backup")
        try:
            listed = json.loads((folder / MANIFEST).read_bytes())
        except ValueError as error:
            raise Flaw(f"{MANIFEST} cannot be read: {error}") from None
        if not listed.get("Manifest-Checksum"):
            raise Flaw(f"{MANIFEST} was cut off: its own checksum is missing")
        if is_plain(folder):
            if trial.level == "integrity":
                verify(trial, folder)
            return
        for archive in archives(folder):
            trial.require(
                trial.run(["tar", "--list", f"--file={archive}"]), f"{archive.name} cannot be read to its end"
            )
        trial.words.append("its tar files were read to their ends")

    def contents(self, trial: Trial, snapshot: Snapshot) -> list[Entry]:
        listed = json.loads((snapshot.places[0] / MANIFEST).read_bytes())
        files = [each for each in listed.get("Files", []) if "Path" in each]
        return [Entry(each["Path"], int(each.get("Size", 0))) for each in files]

    def size(self, trial: Trial, snapshot: Snapshot, entries: Sequence[Entry]) -> int:
        files = sum(entry.size for entry in entries)
        if is_plain(snapshot.places[0]):
            files = max(files, sum(path.stat().st_size for path in snapshot.places[0].rglob("*") if path.is_file()))
        # To be started it is recovered, which writes a little of its own.
        return files + 64 * 1024 * 1024

    def restore(self, trial: Trial, snapshot: Snapshot, entries: Sequence[Entry] | None) -> None:
        (folder,) = snapshot.places
        data = trial.scratch.restored
        if is_plain(folder):
            copier = Copier(trial)
            for top, folders, files in os.walk(folder):
                inside = Path(top).relative_to(folder)
                for name in folders:
                    (data / inside / name).mkdir(mode=0o700, exist_ok=True)
                    if Path(top, name).is_symlink():  # a tablespace, or the folder of the log
                        for source in Path(top, name).rglob("*"):
                            target = data / inside / name / source.relative_to(Path(top, name))
                            if source.is_dir():
                                target.mkdir(mode=0o700, parents=True, exist_ok=True)
                            else:
                                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                                copier.copy(source, target)
                for name in files:
                    copier.copy(Path(top, name), data / inside / name)
            return
        for archive in archives(folder):
            name = archive.name.partition(".tar")[0]
            target = {"base": data, "pg_wal": data / "pg_wal"}.get(name, data.parent / "tablespaces" / name)
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
            argv = ["tar", "--extract", "--no-same-owner", f"--file={archive}", f"--directory={target}"]
            trial.require(trial.run(argv, watched=True), f"{archive.name} cannot be unpacked")
        Copier(trial).copy(folder / MANIFEST, data / MANIFEST)
        _keep_tablespaces_here(data, data.parent / "tablespaces")

    def compare(self, trial: Trial, snapshot: Snapshot, comparison: Comparison, entries: Sequence[Entry]) -> None:
        """With the checksums that PostgreSQL took of every file while it made the base backup."""
        restored = trial.scratch.restored
        verify(trial, restored)
        comparison.files = len(entries)
        comparison.bytes = sum(entry.size for entry in entries)
        comparison.compared = comparison.by_manifest = len(entries)

    @contextmanager
    def database(self, trial: Trial, snapshot: Snapshot, comparison: Comparison) -> Iterator[Mapping[str, str]]:
        data = trial.scratch.restored
        version = (data / "PG_VERSION").read_text(encoding="ascii").strip()
        programs = postgres_programs(version)
        for name in ("standby.signal", "recovery.signal", "postmaster.pid"):
            (data / name).unlink(missing_ok=True)
        with server_place(trial, "postgresql") as place, _lent(place, data):
            with trial.restoring():
                running = run_postgres(place, programs, data, fresh=False)
                server = running.__enter__()
            try:
                name = _ask(trial, server, comparison)
                yield {**server.environment, "PGDATABASE": name, "FORESTALL_RESTORED_DATABASE": name}
            finally:
                running.__exit__(None, None, None)


KIT = _BaseBackup()


def is_plain(folder: Path) -> bool:
    return (folder / "PG_VERSION").is_file()


def archives(folder: Path) -> list[Path]:
    """Its tar files, the main one first. Flaw when that is missing."""
    found = sorted(each for each in folder.iterdir() if each.name.endswith(_TARS))
    if not any(each.name.startswith("base.tar") for each in found):
        raise Flaw("base.tar is missing")
    return sorted(found, key=lambda each: not each.name.startswith("base."))


def verify(trial: Trial, folder: Path) -> None:
    """Flaw when a file is missing, added or changed against the base backup's own manifest."""
    program = postgres_programs() / "pg_verifybackup"
    # The log is parsed by the server itself when it starts.
    done = trial.run([str(program), "--no-parse-wal", "--quiet", str(folder)])
    if done.exit_code != 0:
        said = complaint(done.words, done.exit_code, trial.ctx.secrets)
        raise Flaw(f"pg_verifybackup finds it damaged: {said}")
    if not any((folder / "pg_wal").glob("0*")):
        raise Flaw("the transaction log that it needs to start is missing (pg_wal)")
    trial.words.append("pg_verifybackup found every file as it was")


@contextmanager
def _lent(place: Place, data: Path) -> Iterator[None]:
    """Let the server's user have the restored files for as long as it runs."""
    data.chmod(0o700)
    place.own(data)
    tablespaces = data.parent / "tablespaces"
    if tablespaces.exists():
        place.own(tablespaces)
    yield


def _keep_tablespaces_here(data: Path, tablespaces: Path) -> None:
    """A base backup names the places of its tablespaces: on this machine those may be the live ones."""
    table = data / "tablespace_map"
    if table.exists():
        lines = [line.partition(" ")[0] for line in table.read_text(encoding="utf-8").splitlines() if line.strip()]
        # Beside the data folder, wherever the server sees that.
        table.write_text("".join(f"{number} ../../../tablespaces/{number}\n" for number in lines), encoding="utf-8")


def _ask(trial: Trial, server: Postgres, comparison: Comparison) -> str:
    """Read every table of every database; ask the query. Name of the (first) database."""
    there = [
        row[0]
        for row in server.ask("select datname from pg_database where datallowconn and not datistemplate", "postgres")
    ]
    wanted = list(trial.backup.databases)
    for name in wanted:
        if name not in there:
            raise Flaw(f"database {name} is not in the base backup ({', '.join(there)})")
    tables = 0
    sql = "select format('%I.%I', nspname, relname) from pg_class c join pg_namespace n on n.oid = relnamespace"
    sql += " where relkind = 'r' and nspname not in ('pg_catalog', 'information_schema')"
    product = PostgresProduct(server)
    for name in wanted or there:
        for (table,) in server.ask(sql, name):
            product.rows(table, name)
            tables += 1
    if not tables:
        raise Flaw("PostgreSQL started from the base backup and holds no table at all")
    compare_with_manifest(trial, product, comparison)
    database = wanted[0] if wanted else next((name for name in there if name != "postgres"), "postgres")
    ask_query(trial, product, database)
    trial.words.append(f"{tables} tables were read")
    return database


def _is_backup(folder: Path) -> bool:
    names = set(os.listdir(folder)) if folder.is_dir() else set()  # noqa: PTH208
    return MANIFEST in names or LABEL in names or any(name.startswith("base.tar") for name in names)


def _made_at(folder: Path) -> float:
    for name in (MANIFEST, LABEL):
        if (folder / name).exists():
            return (folder / name).stat().st_mtime
    return folder.stat().st_mtime
