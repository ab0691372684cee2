"""Damaged backups: is every fault found at the level it should be, and does no healthy backup fail?

``python -m bench.backup_faults`` makes real backups with real tools, damages one after the other in the ways listed in
``FAULTS``, and puts each to the proof with the product's own restore test (``forestall.agent.act.backups.prove``),
level by level from the weakest, until one finds the fault. It prints a table fault × tool × level found, and how long a
restore took. Then as many healthy backups of the same tools are proven to their highest level.

A fault counts as found only when the proof says that the backup failed: a test that could not be held is neither. And
it must be found again at the tool's highest level, so that no higher proof passes what a lower one refuses.
"""

# ruff: noqa: S608 - of databases made here

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from forestall.agent.act.actions.backup_rerun import run_scheduled
from forestall.agent.act.backups.prove import prove
from forestall.agent.act.backups.scratch import scratch_folder
from forestall.agent.act.backups.servers import Maria, Postgres, new_maria, new_postgres
from forestall.agent.act.backups.tools import KITS
from forestall.agent.act.backups.trial import Trial
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect.backup_settings import BackupSetting
from forestall.agent.collect.host import LocalHost
from forestall.agent.collect.tests import quick_restic
from forestall.trust.proofs import PROOF_LEVELS, ProofLevel, RestoreProof

PASSWORD = "correct horse battery staple"  # noqa: S105 - of throw-away repositories
NAME = "nightly"
NAMES = ("orders.csv", "a b.txt", "größe.ini", "brackets[1]*?.txt", "deep/er/still/log", "deep/photo.jpg", "empty.txt")


@dataclass
class World:
    """One machine with something to protect, and a backup of it."""

    folder: Path
    tool: str
    chance: random.Random
    live: Live
    settings: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for each in (self.home, self.source, self.store):
            each.mkdir(parents=True, exist_ok=True)
        self.home.chmod(0o700)

    @property
    def home(self) -> Path:
        return self.folder / "agent"

    @property
    def source(self) -> Path:
        return self.folder / "srv" / "shop"

    @property
    def store(self) -> Path:
        """Where backups are kept."""
        return self.folder / "store"

    @property
    def password_file(self) -> Path:
        return self.folder / "password"

    @property
    def repository(self) -> Path:
        return self.store / "repository" if self.tool in ("restic", "borg") else self.store

    @property
    def database(self) -> str:
        return str(self.settings["databases"][0])  # type: ignore[index]

    # --- making ---

    def fill(self) -> None:
        """Files of several kinds and sizes, with names that are awkward."""
        names = [*NAMES, *(f"customers/{self.chance.randrange(10**9)}.json" for _ in range(8))]
        for name in names:
            path = self.source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            size = 0 if name == "empty.txt" else self.chance.choice((40, 3_000, 20_000, 150_000))
            path.write_bytes(self.chance.randbytes(size))
        (self.source / "link").symlink_to("orders.csv")

    def say(self, **settings: object) -> None:
        """Write backups.toml."""
        self.settings = {
            "name": NAME,
            "tool": self.tool,
            "repository": str(self.repository),
            "paths": [str(self.source)],
            "manifest": True,
            **self.settings,
            **settings,
        }
        if self.tool in ("restic", "borg"):
            self.password_file.write_text(PASSWORD + "\n")
            self.password_file.chmod(0o600)
            self.settings["password_file"] = str(self.password_file)
        lines = [f"{key} = {toml(value)}" for key, value in self.settings.items()]
        path = self.home / "backups.toml"
        path.write_text("[[backup]]\n" + "\n".join(lines) + "\n")
        path.chmod(0o600)

    def script(self, text: str) -> None:
        """The backup's own command."""
        path = self.folder / "backup.sh"
        path.write_text("#!/bin/sh\nset -e\n" + text)
        path.chmod(0o700)
        self.say(run=[str(path)])

    def back_up(self) -> None:
        """Run it as its schedule does, with hashes taken."""
        run_scheduled(NAME, LocalHost(), self.context())

    def context(self) -> Context:
        return Context(agent_home=self.home, timeout_seconds=120, environment=self.environment)

    @property
    def environment(self) -> dict[str, str]:
        return {"BORG_BASE_DIR": str(self.folder / "borg"), "RESTIC_CACHE_DIR": str(self.folder / "cache")}

    # --- tools by hand ---

    def call(self, *argv: str, given: str | None = None, folder: Path | None = None) -> str:
        variables = {
            **os.environ,
            **self.environment,
            "RESTIC_REPOSITORY": str(self.repository),
            "RESTIC_PASSWORD": PASSWORD,
            "BORG_REPO": str(self.repository),
            "BORG_PASSPHRASE": PASSWORD,
        }
        done = subprocess.run(
            argv, env=variables, input=given, capture_output=True, text=True, cwd=folder or self.folder, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv)}: {done.stdout}{done.stderr}")
        return done.stdout

    def prove(self, level: ProofLevel, *, most_mb: int = 2000) -> RestoreProof:
        return prove(NAME, level, LocalHost(), self.context(), most_mb=most_mb, sample=6, chance=self.chance)


def toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


# --- healthy backups, one maker a tool -------------------------------------------------------------------------


def healthy_restic(world: World) -> None:
    world.fill()
    quick_restic.init(world.repository, PASSWORD)
    world.script(f'exec restic --quiet backup "{world.source}" $EXTRA\n')
    world.back_up()
    (world.source / "later.txt").write_bytes(world.chance.randbytes(5_000))
    world.back_up()


def healthy_tar(world: World) -> None:
    world.fill()
    world.script(f'exec tar -czf "{world.store}/shop-$(date +%s%N).tar.gz" -C / "{str(world.source)[1:]}" $EXTRA\n')
    world.back_up()


def healthy_plain_tar(world: World) -> None:
    world.fill()
    world.script(f'cd "{world.source}" && exec tar -cf "{world.store}/shop-$(date +%s%N).tar" . $EXTRA\n')
    world.back_up()


def healthy_borg(world: World) -> None:
    world.fill()
    world.call("borg", "init", "--encryption=repokey")
    world.script(f'cd / && exec borg create $EXTRA "::shop-$(date +%s%N)" "{str(world.source)[1:]}"\n')
    world.back_up()
    (world.source / "later.txt").write_bytes(world.chance.randbytes(5_000))
    world.back_up()


def healthy_rsync(world: World) -> None:
    world.fill()
    world.script(f'exec rsync -a --delete $EXTRA "{world.source}" "{world.store}/"\n')
    world.back_up()


def healthy_rsnapshot(world: World) -> None:
    world.fill()
    configuration = world.folder / "rsnapshot.conf"
    lines = [
        ("config_version", "1.2"), ("snapshot_root", f"{world.store}/"), ("cmd_rsync", "/usr/bin/rsync"),
        ("cmd_cp", "/bin/cp"), ("cmd_rm", "/bin/rm"), ("no_create_root", "1"), ("retain", "daily", "3"),
        ("backup", f"{world.source}/", "localhost/"),
    ]  # fmt: skip
    configuration.write_text("".join("\t".join(line) + "\n" for line in lines))
    world.script(f'exec rsnapshot -c "{configuration}" $EXTRA daily\n')
    world.back_up()
    (world.source / "later.txt").write_bytes(world.chance.randbytes(5_000))
    world.back_up()


# --- live databases, one server of each product for the whole campaign ---------------------------------------------


class Live:
    """Servers that are backed up. Each is started when it is first asked for, and shared by all worlds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._postgres: Postgres | None = None
        self._maria: Maria | None = None
        self._databases = 0

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def new_name(self) -> str:
        self._databases += 1
        return f"shop{self._databases}"

    def _trial(self, name: str) -> Trial:
        scratch = self._stack.enter_context(scratch_folder(self._folder, name=name, most_bytes=10**10))
        return Trial(
            backup=BackupSetting(name=name, tool="pg_dump", repository="/"),
            host=LocalHost(),
            ctx=Context(agent_home=self._folder, timeout_seconds=24 * 3600),
            scratch=scratch,
            level="whole",
            now=datetime.now(UTC),
            environment={},
            sample=1,
            bytes_per_second=0,
            chance=random.Random(0),
        )

    @property
    def postgres(self) -> Postgres:
        if self._postgres is None:
            self._postgres = self._stack.enter_context(new_postgres(self._trial("postgresql")))
            access = self._postgres.place.folder / "pg_hba.conf"
            access.write_text("local all all trust\nlocal replication all trust\n")
            self._postgres.ask("select pg_reload_conf()", "postgres")
        return self._postgres

    @property
    def maria(self) -> Maria:
        if self._maria is None:
            self._maria = self._stack.enter_context(new_maria(self._trial("mariadb")))
        return self._maria


SCHEMA = (
    "create table customers (id integer primary key, name varchar(80) not null, note text)",
    "create table orders (id integer primary key, customer integer not null, total numeric(10, 2), words text)",
    "create table nothing_yet (id integer)",
)


def rows_of(chance: random.Random) -> Iterator[str]:
    for number in range(60):
        word = chance.choice(("O''Brien", "Größe (xxl)", "a, b); c", "tab\tstop", "plain"))
        yield f"insert into customers values ({number}, '{word}', null)"
        yield f"insert into orders values ({number}, {number}, {chance.randrange(1, 99999) / 100}, '{word * 40}')"


def healthy_pg_dump(world: World, *, form: str = "--format=custom") -> None:
    server = world.live.postgres
    name = world.settings.setdefault("databases", [world.live.new_name()])[0]
    server.ask(f"create database {name}", "postgres")
    server.ask(";".join((*SCHEMA, *rows_of(world.chance))), name)
    environment = {"PGHOST": str(server.place.socket_folder), "PGUSER": "postgres"}
    world.say(environment=environment, query="select count(*) from orders", expect="60", paths=[])
    end = "sql" if form == "--format=plain" else "dump"
    world.script(f'exec pg_dump {form} ${{OF:-{name}}} $EXTRA > "{world.store}/{name}-$(date +%s%N).{end}"\n')
    world.back_up()


def healthy_plain_pg_dump(world: World) -> None:
    healthy_pg_dump(world, form="--format=plain")


def healthy_gz_pg_dump(world: World) -> None:
    healthy_pg_dump(world, form="--format=plain")
    world.script(
        f'pg_dump --format=plain {world.database} | gzip > "{world.store}/{world.database}-$(date +%s%N).sql.gz"\n'
    )
    world.back_up()


def healthy_pg_basebackup(world: World, *, form: str = "plain") -> None:
    server = world.live.postgres
    name = world.settings.setdefault("databases", [world.live.new_name()])[0]
    server.ask(f"create database {name}", "postgres")
    server.ask(";".join((*SCHEMA, *rows_of(world.chance))), name)
    environment = {"PGHOST": str(server.place.socket_folder), "PGUSER": "postgres"}
    world.say(environment=environment, query="select count(*) from orders", expect="60", paths=[])
    world.script(
        f"exec pg_basebackup --format={form} --wal-method=stream --checkpoint=fast --no-sync $EXTRA "
        f'--pgdata="{world.store}/base-$(date +%s%N)"\n'
    )
    world.back_up()


def healthy_tar_basebackup(world: World) -> None:
    healthy_pg_basebackup(world, form="tar")


def healthy_mariadb_dump(world: World) -> None:
    server = world.live.maria
    name = world.settings.setdefault("databases", [world.live.new_name()])[0]
    server.ask(f"create database {name}", "mysql")
    server.ask(";".join((*SCHEMA, *rows_of(world.chance))), name)
    config = world.folder / "my.cnf"
    config.write_text(f"[client]\nuser = root\nsocket = {server.socket}\n")
    world.say(environment={"MYSQL_HOME": str(world.folder)}, query="select count(*) from orders", expect="60", paths=[])
    world.script(f'exec mariadb-dump $EXTRA ${{OF:-{name}}} > "{world.store}/{name}-$(date +%s%N).sql"\n')
    world.back_up()


MAKERS: dict[str, tuple[str, Callable[[World], None]]] = {
    "restic": ("restic", healthy_restic),
    "tar": ("tar", healthy_tar),
    "plain tar": ("tar", healthy_plain_tar),
    "borg": ("borg", healthy_borg),
    "rsync": ("rsync", healthy_rsync),
    "rsnapshot": ("rsnapshot", healthy_rsnapshot),
    "pg_dump": ("pg_dump", healthy_pg_dump),
    "pg_dump in SQL": ("pg_dump", healthy_plain_pg_dump),
    "pg_dump, gzip": ("pg_dump", healthy_gz_pg_dump),
    "pg_basebackup": ("pg_basebackup", healthy_pg_basebackup),
    "pg_basebackup in tar": ("pg_basebackup", healthy_tar_basebackup),
    "mariadb_dump": ("mariadb_dump", healthy_mariadb_dump),
}
"""Kind of backup → tool, and what makes a healthy one."""


# --- faults ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """One way in which a backup goes bad, and the level at which it must be found."""

    name: str
    kind: str
    """Of backup: a key of ``MAKERS``."""
    level: ProofLevel
    inject: Callable[[World], None]


def files_below(folder: Path, *, least: int = 1) -> list[Path]:
    if folder.is_file():
        return [folder]
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size >= least)


def flip(world: World, path: Path, *, among: tuple[float, float] = (0.3, 0.9), count: int = 3) -> None:
    """Change some bytes of a file, and nothing of its times."""
    status = path.stat()
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    for _ in range(count):
        at = world.chance.randrange(int(len(data) * among[0]), max(int(len(data) * among[1]), 1))
        data[at] ^= 1 << world.chance.randrange(8)
    path.write_bytes(data)
    keep_times(path, status)


def cut(path: Path, share: float = 0.6) -> None:
    status = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.truncate(int(status.st_size * share))
    keep_times(path, status)


def zero(path: Path) -> None:
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    keep_times(path, status)


def keep_times(path: Path, status: os.stat_result) -> None:
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def largest(folder: Path) -> Path:
    return max(files_below(folder), key=lambda path: path.stat().st_size)


def newest(world: World) -> Path:
    """The newest file or folder in the store."""
    return max(world.store.iterdir(), key=lambda path: path.stat().st_mtime_ns)


def again(world: World, extra: str = "", **variables: str) -> None:
    """Another run of the backup's own command, by hand: no hashes are taken, and nobody looks at the outcome."""
    environment = {
        **os.environ, **world.environment, **variables, **_variables(world), "EXTRA": extra,
        "RESTIC_REPOSITORY": str(world.repository), "RESTIC_PASSWORD": PASSWORD, "BORG_REPO": str(world.repository),
        "BORG_PASSPHRASE": PASSWORD,
    }  # fmt: skip
    subprocess.run([str(world.folder / "backup.sh")], env=environment, check=True, capture_output=True)


def _variables(world: World) -> dict[str, str]:
    found = world.settings.get("environment", {})
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def in_place_of_the_last(world: World, do: Callable[[], None]) -> None:
    """Let the newest backup be one that ``do`` makes; the one before with its content goes."""
    before = {path: path.stat() for path in world.store.iterdir()}
    if world.tool == "restic":
        last = json.loads(world.call("restic", "snapshots", "--json"))[-1]["id"]
        do()
        world.call("restic", "forget", last)
    elif world.tool == "borg":
        last = json.loads(world.call("borg", "list", "--json"))["archives"][-1]["name"]
        do()
        world.call("borg", "delete", f"::{last}")
    else:
        do()
        for path in before:
            if path in world.store.iterdir() and len(list(world.store.iterdir())) > 1:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def dropped(world: World) -> None:
    """Files that the backup left out without a word."""
    names = [path for path in files_below(world.source) if path.name.endswith(".json")][:2]
    hidden = world.folder / "hidden"
    hidden.mkdir()

    def run() -> None:
        moved = [(path, hidden / path.name) for path in names]
        for path, aside in moved:
            path.rename(aside)
        again(world)
        for path, aside in moved:
            aside.rename(path)

    in_place_of_the_last(world, run)


def zeroed(world: World) -> None:
    """A file that was read as zeros, of the right size and time."""
    path = next(
        path for path in files_below(world.source, least=3_000) if "orders" in path.name or path.suffix == ".json"
    )
    content, status = path.read_bytes(), path.stat()

    def run() -> None:
        path.write_bytes(bytes(len(content)))
        keep_times(path, status)
        again(world, "--force" if world.tool == "restic" else "")
        path.write_bytes(content)
        keep_times(path, status)

    in_place_of_the_last(world, run)


def other_content(world: World) -> None:
    """A file that came in with another content, of the same size and time."""
    path = largest(world.source)
    content, status = path.read_bytes(), path.stat()

    def run() -> None:
        path.write_bytes(world.chance.randbytes(len(content)))
        keep_times(path, status)
        again(world, "--force" if world.tool == "restic" else "")
        path.write_bytes(content)
        keep_times(path, status)

    in_place_of_the_last(world, run)


def empty_source(world: World) -> None:
    """What was to be protected was not mounted."""
    aside = world.folder / "aside"

    def run() -> None:
        world.source.rename(aside)
        world.source.mkdir()
        again(world)
        world.source.rmdir()
        aside.rename(world.source)

    in_place_of_the_last(world, run)


def gone(world: World) -> None:
    shutil.rmtree(world.repository)


def nothing_new(world: World) -> None:
    """The run reports success and stores nothing; the newest backup is of yesterday."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    if world.tool == "restic":
        ids = [one["id"] for one in json.loads(world.call("restic", "snapshots", "--json"))]
        world.call("restic", "backup", "--quiet", f"--time={yesterday:%Y-%m-%d %H:%M:%S}", str(world.source))
        world.call("restic", "forget", *ids)
    elif world.tool == "borg":
        names = [one["name"] for one in json.loads(world.call("borg", "list", "--json"))["archives"]]
        again(world, f"--timestamp={yesterday:%Y-%m-%dT%H:%M:%S}")
        for name in names:
            world.call("borg", "delete", f"::{name}")
    else:
        date_to(world, yesterday)


def in_the_future(world: World) -> None:
    ahead = datetime.now(UTC) + timedelta(days=400)
    if world.tool == "restic":
        world.call("restic", "backup", "--quiet", f"--time={ahead:%Y-%m-%d %H:%M:%S}", str(world.source))
    elif world.tool == "borg":
        again(world, f"--timestamp={ahead:%Y-%m-%dT%H:%M:%S}")
    else:
        date_to(world, ahead)


def date_to(world: World, at: datetime) -> None:
    for path in world.store.iterdir():
        for each in (path, *(path.glob("backup_*") if path.is_dir() else ())):
            os.utime(each, (at.timestamp(), at.timestamp()))


def wrong_key(world: World) -> None:
    world.password_file.write_text("not this one\n")


def key_gone(world: World) -> None:
    world.password_file.unlink()


def ended_process() -> int:
    """Number of a process that has just ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def lock_left(world: World) -> None:
    """A program that held the repository was killed."""
    if world.tool == "restic":
        process = subprocess.Popen(
            ["restic", "backup", "--quiet", "--stdin"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={
                **os.environ,
                **world.environment,
                "RESTIC_REPOSITORY": str(world.repository),
                "RESTIC_PASSWORD": PASSWORD,
            },
        )
        until = time.monotonic() + 20
        while not files_below(world.repository / "locks") and time.monotonic() < until:
            time.sleep(0.05)
        process.kill()
        process.wait()
    else:
        import platform

        folder = world.repository / "lock.exclusive"
        folder.mkdir()
        process_id = ended_process()
        (folder / f"{platform.node()}@123.{process_id}-0").touch()
        roster = {"exclusive": [[f"{platform.node()}@123", process_id, 0]]}
        (world.repository / "lock.roster").write_text(json.dumps(roster))


def of_another_machine(world: World) -> None:
    """Only snapshots of other folders are in it."""
    ids = [one["id"] for one in json.loads(world.call("restic", "snapshots", "--json"))]
    world.call("restic", "backup", "--quiet", str(world.folder / "backup.sh"))
    world.call("restic", "forget", *ids)


def only(
    do: Callable[[Path], None], part: str, pick: Callable[[list[Path]], Path] | None = None
) -> Callable[[World], None]:
    """Do something to a file in a part of the repository."""

    def inject(world: World) -> None:
        found = files_below(world.repository / part)
        do((pick or (lambda paths: max(paths, key=lambda path: path.stat().st_size)))(found))

    return inject


def flip_in(part: str, *, among: tuple[float, float] = (0.3, 0.9)) -> Callable[[World], None]:
    return lambda world: flip(world, largest(world.repository / part), among=among)


def in_newest(do: Callable[[World, Path], object]) -> Callable[[World], None]:
    return lambda world: do(world, newest(world)) and None


def empty_file(world: World) -> None:
    path = newest(world)
    status = path.stat()
    path.write_bytes(b"")
    keep_times(path, status)


def forget_hashes(world: World) -> None:
    shutil.rmtree(world.home / "backup-manifests", ignore_errors=True)


def without_hashes(inject: Callable[[World], None]) -> Callable[[World], None]:
    """The same fault where nobody took hashes at backup time."""

    def do(world: World) -> None:
        inject(world)
        forget_hashes(world)

    return do


def renewed(do: Callable[[World], None]) -> Callable[[World], None]:
    """The last backup is one that ``do`` makes, at the time of the true one."""

    def inject(world: World) -> None:
        last = newest(world)
        status = last.stat()
        do(world)
        made = newest(world)
        if made != last and last.exists():
            shutil.rmtree(last) if last.is_dir() else last.unlink()
        keep_times(made, status)

    return inject


def rows_lost(world: World) -> None:
    """Rows that were there when the hashes were taken are not in the dump."""
    server = world.live.maria if world.tool == "mariadb_dump" else world.live.postgres
    server.ask("delete from customers where id > 40", world.database)
    renewed(again)(world)


def query_wrong(world: World) -> None:
    server = world.live.maria if world.tool == "mariadb_dump" else world.live.postgres
    server.ask("delete from orders where id > 40", world.database)
    renewed(again)(world)
    forget_hashes(world)


def no_tables(world: World) -> None:
    """The database had been emptied, and its dump looks as good as any."""
    server = world.live.maria if world.tool == "mariadb_dump" else world.live.postgres
    server.ask("drop table orders; drop table customers; drop table nothing_yet", world.database)
    renewed(again)(world)
    forget_hashes(world)


def schema_only(world: World) -> None:
    extra = "--no-data" if world.tool == "mariadb_dump" else "--schema-only"
    renewed(lambda one: again(one, extra))(world)
    forget_hashes(world)


def other_database(world: World) -> None:
    """A dump of another database under the name of this one."""
    name = world.live.new_name()
    if world.tool == "mariadb_dump":
        world.live.maria.ask(f"create database {name}", "mysql")
        world.live.maria.ask("create table others (id integer)", name)
    else:
        world.live.postgres.ask(f"create database {name}", "postgres")
        world.live.postgres.ask("create table others (id integer)", name)
    renewed(lambda one: again(one, OF=name))(world)
    forget_hashes(world)


def cut_at_a_row(world: World) -> None:
    """A dump in SQL that ends in the middle of its rows, as on a full disk."""
    cut(newest(world), 0.5)
    forget_hashes(world)


def no_log(world: World) -> None:
    folder = newest(world)
    for path in files_below(folder / "pg_wal"):
        path.unlink()


def table_file(world: World) -> Path:
    """The file of a table with rows, in a base backup as a folder."""
    place = world.live.postgres.ask("select pg_relation_filepath('orders')", world.database)[0][0]
    return newest(world) / place


def end_cut(world: World) -> None:
    """A plain archive that ends exactly between two of its files: every tar reads it without a word."""
    path = newest(world)
    status = path.stat()
    offset = 0
    ends: list[int] = []
    data = path.read_bytes()
    while data[offset : offset + 1] not in (b"\0", b""):
        size = int(data[offset + 124 : offset + 136].strip(b"\0 ") or b"0", 8)
        offset += 512 + (size + 511) // 512 * 512
        ends.append(offset)
    path.write_bytes(data[: ends[len(ends) // 2]])
    keep_times(path, status)
    forget_hashes(world)


REPOSITORY_FAULTS: tuple[tuple[str, ProofLevel, Callable[[World], None]], ...] = (
    ("wrong key", "integrity", wrong_key),
    ("key file gone", "integrity", key_gone),
    ("lock left", "integrity", lock_left),
    ("clock wrong: of the future", "integrity", in_the_future),
    ("run well, nothing stored", "integrity", nothing_new),
    ("empty source", "integrity", empty_source),
    ("repository gone", "integrity", gone),
    ("files silently dropped", "sample", dropped),
    ("zeroed file", "whole", zeroed),
    ("other content", "whole", other_content),
)
ARCHIVE_FAULTS: tuple[tuple[str, ProofLevel, Callable[[World], None]], ...] = (
    ("truncated", "integrity", in_newest(lambda _, path: cut(path))),
    ("truncated, no hashes", "integrity", without_hashes(in_newest(lambda _, path: cut(path)))),
    ("flipped bytes", "integrity", in_newest(flip)),
    ("empty file", "integrity", empty_file),
    ("only zeros", "integrity", without_hashes(in_newest(lambda _, path: zero(path)))),
    ("clock wrong: of the future", "integrity", in_the_future),
    ("run well, nothing stored", "integrity", nothing_new),
    ("gone", "integrity", gone),
)
SOURCE_FAULTS: tuple[tuple[str, ProofLevel, Callable[[World], None]], ...] = (
    ("empty source", "integrity", renewed(empty_source)),
    ("files silently dropped", "sample", renewed(dropped)),
    ("zeroed file", "whole", renewed(zeroed)),
    ("other content", "whole", renewed(other_content)),
)
TREE_FAULTS: tuple[tuple[str, ProofLevel, Callable[[World], None]], ...] = (
    ("flipped bytes", "whole", lambda world: flip(world, largest(world.store))),
    ("truncated file", "sample", lambda world: cut(largest(world.store))),
    ("zeroed file", "whole", lambda world: zero(largest(world.store))),
    ("file removed", "sample", lambda world: largest(world.store).unlink()),
    ("file replaced by a folder", "sample", lambda world: _to_folder(largest(world.store))),
    ("gone", "integrity", gone),
    ("emptied", "integrity", lambda world: [path.unlink() for path in files_below(world.store, least=0)] and None),
)
DUMP_FAULTS: tuple[tuple[str, ProofLevel, Callable[[World], None]], ...] = (
    ("rows lost", "database", rows_lost),
    ("wrong content, by the query", "database", query_wrong),
    ("no tables", "database", no_tables),
    ("schema without rows", "database", schema_only),
)


def _to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def faults() -> list[Fault]:
    """Every fault of every kind of backup."""
    found: list[Fault] = []

    def add(kind: str, *more: tuple[str, ProofLevel, Callable[[World], None]]) -> None:
        found.extend(Fault(name, kind, level, inject) for name, level, inject in more)

    add("restic", *REPOSITORY_FAULTS)
    add(
        "restic",
        ("flipped bytes in data", "integrity", flip_in("data")),
        ("flipped bytes in an index", "integrity", flip_in("index")),
        ("flipped bytes in a snapshot", "integrity", flip_in("snapshots")),
        ("missing pack", "integrity", only(Path.unlink, "data")),
        ("truncated pack", "integrity", only(cut, "data")),
        ("missing index", "integrity", only(Path.unlink, "index")),
        ("only others' snapshots", "integrity", of_another_machine),
    )
    add("borg", *REPOSITORY_FAULTS)
    add(
        "borg",
        ("flipped bytes in data", "integrity", flip_in("data", among=(0.05, 0.9))),
        ("missing segment", "integrity", only(Path.unlink, "data")),
        ("truncated segment", "integrity", only(cut, "data")),
        ("flipped bytes in the configuration", "integrity", flip_in("config")),
        ("zeroed segment", "integrity", only(zero, "data")),
    )
    add("tar", *ARCHIVE_FAULTS, *SOURCE_FAULTS)
    add("tar", ("flipped bytes, no hashes", "integrity", without_hashes(in_newest(flip))))
    add("plain tar", *ARCHIVE_FAULTS, *SOURCE_FAULTS)
    add("plain tar", ("cut between two files", "integrity", end_cut))
    add("rsync", *TREE_FAULTS)
    add("rsnapshot", *TREE_FAULTS, ("clock wrong: of the future", "integrity", in_the_future))
    add("pg_dump", *ARCHIVE_FAULTS, *DUMP_FAULTS, ("dump of the wrong database", "integrity", other_database))
    add("pg_dump in SQL", *ARCHIVE_FAULTS, *DUMP_FAULTS, ("dump of the wrong database", "database", other_database))
    add("pg_dump in SQL", ("cut in its rows", "integrity", cut_at_a_row))
    add("mariadb_dump", *ARCHIVE_FAULTS, *DUMP_FAULTS, ("dump of the wrong database", "integrity", other_database))
    add("mariadb_dump", ("cut in its rows", "integrity", cut_at_a_row))
    add(
        "pg_basebackup",
        ("flipped bytes in a table", "integrity", lambda world: flip(world, table_file(world))),
        ("missing file", "integrity", lambda world: table_file(world).unlink()),
        ("truncated file", "integrity", lambda world: cut(table_file(world))),
        ("transaction log missing", "integrity", no_log),
        ("manifest missing", "integrity", lambda world: (newest(world) / "backup_manifest").unlink()),
        ("manifest truncated", "integrity", lambda world: cut(newest(world) / "backup_manifest")),
        ("clock wrong: of the future", "integrity", in_the_future),
        ("gone", "integrity", gone),
        ("rows lost", "database", rows_lost),
    )
    add(
        "pg_basebackup in tar",
        ("truncated", "integrity", lambda world: cut(newest(world) / "base.tar")),
        ("flipped bytes", "whole", lambda world: flip(world, newest(world) / "base.tar", count=20)),
        ("base.tar missing", "integrity", lambda world: (newest(world) / "base.tar").unlink()),
        ("transaction log missing", "whole", lambda world: (newest(world) / "pg_wal.tar").unlink()),
    )
    return found


# --- the campaign ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What became of one backup that was put to the proof."""

    kind: str
    fault: str
    """Empty: a healthy one."""
    stated: str
    """Level at which the fault must be found; of a healthy one the highest that was tried."""
    found: str
    """Level at which it was found; empty: passed at every level."""
    detail: str
    seconds: float
    """Of the restore at the highest level."""
    is_right: bool
    left_behind: int = 0
    """Folders in the scratch place afterwards."""


def levels_of(tool: str) -> list[ProofLevel]:
    """Levels that are tried of a tool, weakest first."""
    levels = [level for level in PROOF_LEVELS if level in KITS[tool].levels and level != "application"]
    return levels if KITS[tool].is_database else [level for level in levels if level != "database"]


@contextmanager
def world_of(kind: str, seed: int, live: Live) -> Iterator[World]:
    """A machine with a healthy backup of this kind; removed afterwards."""
    tool, make = MAKERS[kind]
    folder = Path(tempfile.mkdtemp(prefix="forestall-faults-"))
    try:
        world = World(folder, tool, random.Random(seed), live)
        make(world)
        yield world
        # Or every base backup would hold the databases of all worlds before.
        for name in world.settings.get("databases", []):  # type: ignore[attr-defined]
            server = live.maria if tool == "mariadb_dump" else live.postgres
            server.ask(f"drop database {name}", "mysql" if tool == "mariadb_dump" else "postgres")
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=False)
        shutil.rmtree(folder)


def try_fault(fault: Fault, seed: int, live: Live) -> Outcome:
    """Damage a backup and put it to the proof, level by level. Right: it fails at the stated level and the highest."""
    with world_of(fault.kind, seed, live) as world:
        fault.inject(world)
        found = ""
        detail = ""
        levels = levels_of(world.tool)
        for level in levels:
            proof = attempt(world, level)
            if isinstance(proof, RestoreProof) and not proof.ok:
                found, detail = level, proof.detail
                break
            if not isinstance(proof, RestoreProof):
                detail = str(proof)
        # Found by the luck of a sample, it must still be found where it must; and no stronger proof may pass it.
        also = dict.fromkeys([fault.level, levels[-1]]) if found else {}
        passed = [level for level in also if level != found and not has_failed(attempt(world, level))]
        if passed:
            detail = f"NOT FOUND at {', '.join(passed)}: {detail}"
        is_right = bool(found) and not passed and found in levels[: levels.index(fault.level) + 1]
        return Outcome(fault.kind, fault.name, fault.level, found, detail, 0.0, is_right, left_behind(world))


def has_failed(answer: RestoreProof | ActionFailed) -> bool:
    return isinstance(answer, RestoreProof) and not answer.ok


def try_healthy(kind: str, seed: int, live: Live) -> Outcome:
    """A healthy backup at the highest level of its tool."""
    with world_of(kind, seed, live) as world:
        level = levels_of(world.tool)[-1]
        proof = attempt(world, level)
        if not isinstance(proof, RestoreProof):
            return Outcome(
                kind, "", level, "not tried", str(proof), 0.0, is_right=False, left_behind=left_behind(world)
            )
        found = "" if proof.ok else level
        return Outcome(kind, "", level, found, proof.detail, proof.seconds, proof.ok, left_behind(world))


def attempt(world: World, level: ProofLevel) -> RestoreProof | ActionFailed:
    try:
        return world.prove(level)
    except ActionFailed as error:
        return error


def left_behind(world: World) -> int:
    folder = world.home / "restore-tests"
    return len(list(folder.iterdir())) if folder.exists() else 0


def campaign(
    *,
    healthy: int,
    seed: int,
    only: str = "",
    most: int | None = None,
    kinds: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> list[Outcome]:
    """Every fault (or ``most`` of them, by chance), then this many healthy backups, of these kinds (or all) in turn."""
    chance = random.Random(seed)
    chosen = [fault for fault in faults() if not only or only == fault.kind]
    if most is not None:
        chosen = chance.sample(chosen, min(most, len(chosen)))
    kinds = kinds or [kind for kind in MAKERS if not only or only == kind]
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="forestall-live-") as folder, Live(Path(folder)) as live:
        for number, fault in enumerate(chosen):
            outcomes.append(try_fault(fault, seed * 1000 + number, live))
            say(line_of(outcomes[-1]))
        for number in range(healthy):
            outcomes.append(try_healthy(kinds[number % len(kinds)], seed * 1000 + 500 + number, live))
            say(line_of(outcomes[-1]))
    return outcomes


def line_of(outcome: Outcome) -> str:
    mark = "ok   " if outcome.is_right else "WRONG"
    what = f"{outcome.fault} (stated {outcome.stated})" if outcome.fault else f"healthy, {outcome.stated}"
    where = f"found at {outcome.found}" if outcome.found else "passed"
    left = f"; {outcome.left_behind} folders left" if outcome.left_behind else ""
    return f"{mark} {outcome.kind}: {what}: {where}{left}: {outcome.detail[:160]}"


def table_of(outcomes: Sequence[Outcome]) -> str:
    """Fault × kind of backup, with the level at which it was found."""
    kinds = [kind for kind in MAKERS if any(each.kind == kind for each in outcomes)]
    names = list(dict.fromkeys(each.fault for each in outcomes if each.fault))
    cells = {(each.fault, each.kind): each for each in outcomes if each.fault}
    lines = ["|fault|" + "|".join(kinds) + "|", "|---|" + "---|" * len(kinds)]
    for name in names:
        row = [cells.get((name, kind)) for kind in kinds]
        words = [
            "" if each is None else (each.found or "not found") + ("" if each.is_right else " (!)") for each in row
        ]
        lines.append(f"|{name}|" + "|".join(words) + "|")
    return "\n".join(lines)


def summary_of(outcomes: Sequence[Outcome]) -> str:
    injected = [each for each in outcomes if each.fault]
    healthy = [each for each in outcomes if not each.fault]
    lines = [
        f"{len(injected)} faults injected: {sum(each.is_right for each in injected)} found at the stated level, "
        f"{sum(bool(each.found) for each in injected)} found at all, {sum(not each.found for each in injected)} passed",
        f"{len(healthy)} healthy backups: {sum(not each.is_right for each in healthy)} failed",
        f"scratch folders left behind: {sum(each.left_behind for each in outcomes)}",
    ]
    by_level = Counter(each.found for each in injected)
    early = sum(bool(each.found) and each.found != each.stated for each in injected)
    lines.append(f"found below the stated level already, by the luck of a sample: {early}")
    lines.append("found at: " + ", ".join(f"{level} {by_level[level]}" for level in PROOF_LEVELS if by_level[level]))
    for kind in MAKERS:
        took = [each.seconds for each in healthy if each.kind == kind and each.is_right]
        if took:
            lines.append(f"{kind}: restored {len(took)} times in {sum(took) / len(took):.1f} s on average")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--healthy", type=int, default=100)
    parser.add_argument("--faults", type=int, default=None, help="so many, by chance; else all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", choices=["", *MAKERS])
    arguments = parser.parse_args()
    begun = time.monotonic()
    outcomes = campaign(
        healthy=arguments.healthy,
        seed=arguments.seed,
        only=arguments.only,
        most=arguments.faults,
        say=lambda line: print(line, flush=True),
    )
    print(table_of(outcomes))
    print(summary_of(outcomes))
    print(f"took {time.monotonic() - begun:.0f} s")
    sys.exit(not all(each.is_right for each in outcomes))


if __name__ == "__main__":
    main()
