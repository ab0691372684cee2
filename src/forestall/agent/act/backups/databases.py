"""Dumps in a private server: loaded, counted, queried."""

# ruff: noqa: S608 - names are quoted as each product wants them; asked is a server that knows only this backup

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from forestall.agent.act.backups import dumps
from forestall.agent.act.backups.content import Comparison, Flaw
from forestall.agent.act.backups.dumps import DumpText
from forestall.agent.act.backups.servers import Maria, Postgres, new_maria, new_postgres, postgres_programs
from forestall.agent.act.backups.trial import Trial
from forestall.agent.act.context import ActionFailed

SYSTEM = ("template0", "template1", "postgres", "information_schema", "mysql", "performance_schema", "sys")


class Server(Protocol):
    def ask(self, sql: str, database: str) -> list[list[str]]: ...
    def load(self, sql: Path, database: str) -> None: ...


def require_whole(trial: Trial, plain: Path) -> None:
    """Flaw unless the dump can be read to its end. ``plain``: decompressed."""
    if plain.stat().st_size == 0:
        raise Flaw(f"{plain.name} is empty")
    if not dumps.is_archive(plain):
        text = dumps.read_sql(plain, count=False)
        _require_of(trial, plain, text.database)
        return
    program = str(postgres_programs() / "pg_restore")
    done = trial.run([program, "--list", str(plain)])
    trial.require(done, f"pg_restore cannot read {plain.name}")
    listed = done.output.decode(errors="replace")
    named = next((line.partition("dbname:")[2].strip() for line in listed.splitlines() if "dbname:" in line), "")
    _require_of(trial, plain, named)
    done = trial.run([program, "--file=/dev/null", str(plain)])
    trial.require(done, f"pg_restore cannot read {plain.name} to its end")


def _require_of(trial: Trial, plain: Path, named: str) -> None:
    """Flaw when the dump names another database than those that the settings say."""
    wanted = trial.backup.databases
    if named and wanted and named not in wanted:
        raise Flaw(f"{plain.name} is a dump of {named}, not of {' or '.join(wanted)}")


@contextmanager
def loaded(trial: Trial, plain: Sequence[Path], comparison: Comparison) -> Iterator[Mapping[str, str]]:
    """Load decompressed dumps, compare the rows with what the dumps and the manifest say, and ask the query."""
    texts: list[tuple[Path, DumpText]] = []
    for path in plain:
        sql = path
        if dumps.is_archive(path):
            # As text: then the rows can be counted, and no owner need exist here.
            sql = trial.scratch.work / f"{path.name}.sql"
            argv = [
                str(postgres_programs() / "pg_restore"),
                "--no-owner",
                "--no-privileges",
                f"--file={sql}",
                str(path),
            ]
            trial.require(trial.run(argv, watched=True), f"pg_restore cannot read {path.name} to its end")
        texts.append((sql, dumps.read_sql(sql, count=True)))
    products = {text.product for _, text in texts}
    with ExitStack() as stack:
        environment: dict[str, str] = {}
        server: Postgres | Maria
        if products == {"postgresql"}:
            server = stack.enter_context(new_postgres(trial))
            port: Product = PostgresProduct(server)
        elif products == {"mariadb"}:
            server = stack.enter_context(new_maria(trial))
            port = MariaProduct(server)
        else:
            raise ActionFailed("settings_wrong", "dumps of PostgreSQL and MariaDB together cannot be loaded at once")
        environment |= server.environment
        with trial.restoring():
            names = [
                port.load(path, text, _name_of(trial, path, text, number)) for number, (path, text) in enumerate(texts)
            ]
        tables = 0
        for (path, text), name in zip(texts, names, strict=True):
            tables += _compare(trial, port, path, text, name, comparison)
        if not tables:
            raise Flaw("the dump was loaded and holds no table at all")
        compare_with_manifest(trial, port, comparison)
        ask_query(trial, port, names[0])
        trial.words.append(f"{tables} tables were loaded and counted")
        environment |= {"PGDATABASE": names[0], "FORESTALL_RESTORED_DATABASE": names[0]}
        yield environment


@contextmanager
def restored_dumps(trial: Trial, comparison: Comparison) -> Iterator[Mapping[str, str]]:
    """Load the dumps that lie among restored files, as a nightly dump lies in a backup of the whole machine."""
    patterns = ("*.sql", "*.sql.*", "*.dump", "*.dump.*", "*.pgdump")
    found = sorted(
        (path for pattern in patterns for path in trial.scratch.restored.rglob(pattern) if path.is_file()),
        key=lambda path: path.stat().st_mtime,
    )
    plain: list[Path] = []
    for name in trial.backup.databases:
        of = [path for path in found if name.casefold() in path.name.casefold()]
        if not of:
            raise Flaw(f"there is no dump of {name} among the restored files")
        source = of[-1]
        target = trial.scratch.work / dumps.stem(source)
        dumps.unpack(trial, source, target)
        require_whole(trial, target)
        plain.append(target)
    with loaded(trial, plain, comparison) as environment:
        yield environment


def _name_of(trial: Trial, path: Path, text: DumpText, number: int) -> str:
    """The database that a dump is of: by its own word, its file's name, or the settings."""
    wanted = trial.backup.databases
    if text.database and text.product == "mariadb":
        return text.database
    for name in wanted:
        if name.casefold() in path.name.casefold():
            return name
    return wanted[number] if number < len(wanted) else f"restored_{number}"


def _compare(trial: Trial, port: Product, path: Path, text: DumpText, name: str, comparison: Comparison) -> int:
    """Rows of the dump against rows of the database. How many tables there are."""
    for table, rows in text.rows.items():
        found = port.rows(table, name)
        if found != rows:
            comparison.differs(f"{path.name}: {table}", f"has {found} rows after loading, {rows} in the dump")
        comparison.compared += 1
    return len(port.tables(name))


def compare_with_manifest(trial: Trial, port: Product, comparison: Comparison) -> None:
    if trial.manifest is None:
        return
    for key, rows in trial.manifest.tables.items():
        database, _, table = key.partition("\t")
        found = port.rows_or_none(table, database)
        if found is None:
            comparison.differs(f"{database}: {table}", f"had {rows} rows at backup time and is not in the dump")
        elif found != rows:
            comparison.differs(f"{database}: {table}", f"has {found} rows, {rows} at backup time")
        comparison.compared += 1
        comparison.by_manifest += 1


def ask_query(trial: Trial, port: Product, database: str) -> None:
    """The owner's own question. Flaw unless its answer is the one that is expected."""
    if not trial.backup.query:
        return
    answer = port.server.ask(trial.backup.query, database)
    first = answer[0][0] if answer and answer[0] else ""
    if trial.backup.expect and first != trial.backup.expect:
        raise Flaw(f"the query answers {first[:100]!r}, expected is {trial.backup.expect[:100]!r}")
    if not answer:
        raise Flaw("the query has no answer")
    trial.words.append("the query was answered as expected" if trial.backup.expect else "the query was answered")


class Product(Protocol):
    """What differs between the two."""

    @property
    def server(self) -> Server: ...
    def load(self, sql: Path, text: DumpText, database: str) -> str: ...
    def rows(self, table: str, database: str) -> int: ...
    def rows_or_none(self, table: str, database: str) -> int | None: ...
    def tables(self, database: str) -> list[str]: ...


class PostgresProduct:
    def __init__(self, server: Postgres) -> None:
        self.server = server

    def load(self, sql: Path, text: DumpText, database: str) -> str:
        for role in sorted(text.roles):
            if role.strip('"') not in ("postgres", "PUBLIC", "public", "CURRENT_USER", "SESSION_USER", "DEFAULT"):
                known = self.server.ask(
                    f"select 1 from pg_roles where rolname = {_literal(role.strip(chr(34)))}", "postgres"
                )
                if not known:
                    self.server.ask(f"create role {_quoted(role.strip(chr(34)))}", "postgres")
        if text.database:
            self.server.load(sql, "postgres")  # it makes its database itself
            return text.database
        self.server.ask(f"create database {_quoted(database)} template template0", "postgres")
        self.server.load(sql, database)
        return database

    def rows(self, table: str, database: str) -> int:
        return int(self.server.ask(f"select count(*) from {table}", database)[0][0])

    def rows_or_none(self, table: str, database: str) -> int | None:
        if not self.server.ask(f"select 1 from pg_database where datname = {_literal(database)}", "postgres"):
            return None
        if self.server.ask(f"select to_regclass({_literal(table)})", database) in ([], [[""]]):
            return None
        return self.rows(table, database)

    def tables(self, database: str) -> list[str]:
        sql = "select relname from pg_class c join pg_namespace n on n.oid = relnamespace where relkind in ('r', 'p')"
        sql += " and nspname not in ('pg_catalog', 'information_schema') and nspname not like 'pg_toast%'"
        return [row[0] for row in self.server.ask(sql, database)]


class MariaProduct:
    def __init__(self, server: Maria) -> None:
        self.server = server

    def load(self, sql: Path, text: DumpText, database: str) -> str:
        self.server.ask(f"create database if not exists `{database.replace('`', '``')}`", "mysql")
        self.server.load(sql, database)
        return database

    def rows(self, table: str, database: str) -> int:
        return int(self.server.ask(f"select count(*) from {table}", database)[0][0])

    def rows_or_none(self, table: str, database: str) -> int | None:
        where = f"table_schema = {_literal(database)} and table_name = {_literal(table)}"
        if not self.server.ask(f"select 1 from information_schema.tables where {where}", "mysql"):
            return None
        return self.rows(f"`{table.replace('`', '``')}`", database)

    def tables(self, database: str) -> list[str]:
        names = ", ".join(_literal(each) for each in SYSTEM)
        sql = "select table_name from information_schema.tables where table_type = 'BASE TABLE'"
        sql += f" and table_schema not in ({names})"
        return [row[0] for row in self.server.ask(sql, "mysql")]


def _literal(text: str) -> str:
    if "\\" in text:  # read differently by the two
        raise Flaw(f"the name {text!r} cannot be asked for")
    return "'" + text.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
