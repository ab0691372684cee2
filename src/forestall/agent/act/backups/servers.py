"""Private database servers for what a backup holds: on a socket in the scratch folder, as a user without rights.

What a dump holds is a program: it can run commands, write files and call out. So neither server nor client is root or
the user of the real server; where it can be had they have no network at all, and nothing outlives the test.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from forestall.agent.act.backups.content import Flaw
from forestall.agent.act.backups.running import SHOWN_AT, Done, Pace, User, can_cut_off, run, started, unprivileged_user
from forestall.agent.act.backups.source import complaint
from forestall.agent.act.backups.trial import Trial
from forestall.agent.act.context import ActionFailed
from forestall.agent.collect.host import PROGRAM_PATH

START_SECONDS = 120.0
_POSTGRES_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql*/bin")


@dataclass(slots=True)
class Place:
    """A folder of a server, and as whom it runs."""

    trial: Trial
    folder: Path
    user: User | None
    cut_off: bool
    socket_folder: Path

    def inside(self, path: Path) -> str:
        """A path below the scratch folder, as the server sees it."""
        if self.user is None or not self.cut_off:
            return str(path)
        return f"{SHOWN_AT}/{path.relative_to(self.trial.scratch.folder)}"

    def run(
        self, argv: Sequence[str], *, given: Path | None = None, watched: bool = False, asks_only: bool = False
    ) -> Done:
        """Run a program as the server's user. ``asks_only``: it sends our own words and needs no cutting off, which
        takes the kernel some time."""
        return run(
            argv,
            self.trial.ctx,
            user=self.user,
            cut_off=self.cut_off and not asks_only,
            shown=None if asks_only else self.shown,
            given=given,
            pace=Pace(0, self.trial.scratch.watch) if watched else None,
        )

    @property
    def shown(self) -> Path | None:
        return self.trial.scratch.folder if self.user is not None and self.cut_off else None

    def own(self, path: Path) -> None:
        """Give a file or folder, with all below it, to the server's user."""
        if self.user is None:
            return
        os.chown(path, self.user.uid, self.user.gid, follow_symlinks=False)
        if path.is_dir() and not path.is_symlink():
            for top, folders, files in os.walk(path):
                for name in (*folders, *files):
                    os.chown(Path(top, name), self.user.uid, self.user.gid, follow_symlinks=False)


@contextmanager
def server_place(trial: Trial, name: str) -> Iterator[Place]:
    """A folder for a server below the scratch folder. ActionFailed ``scratch_wrong`` when its user cannot get there."""
    user = unprivileged_user()
    cut_off = can_cut_off()
    folder = trial.scratch.folder / name
    folder.mkdir(mode=0o700)
    if user is not None and not cut_off:
        closed = next((each for each in folder.parents if not each.stat().st_mode & 0o001), None)
        if closed is not None:
            raise ActionFailed(
                "scratch_wrong",
                f"{user.name} cannot reach {folder}, for {closed} is closed to others; name a folder for restore tests "
                "that is not (scratch = ...)",
            )
    if not cut_off:
        trial.words.append("the private server could not be cut off from the network")
    # A socket's path must be short, and the same for whoever checks the application.
    sockets = Path(tempfile.mkdtemp(prefix="forestall-sql-"))
    trial.scratch.note_folder(sockets)
    place = Place(trial, folder, user, cut_off, sockets)
    place.own(folder)
    place.own(sockets)
    try:
        yield place
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


# --- PostgreSQL -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Postgres:
    """A running private server."""

    place: Place
    programs: Path
    superuser: str

    @property
    def environment(self) -> dict[str, str]:
        """For a check of the application: where it finds the server."""
        return {"PGHOST": str(self.place.socket_folder), "PGUSER": self.superuser, "PGPORT": "5432"}

    def ask(self, sql: str, database: str) -> list[list[str]]:
        """Rows of a query. Flaw when it fails."""
        argv = [*self.psql(database), "--tuples-only", "--no-align", "--field-separator=\x1f", f"--command={sql}"]
        done = self.place.run(argv, asks_only=True)
        if done.exit_code != 0:
            raise Flaw(f"the restored database {database} cannot be asked: {self._said(done)}")
        return [line.split("\x1f") for line in done.output.decode(errors="replace").splitlines() if line]

    def load(self, sql: Path, database: str) -> None:
        """Run a dump. Flaw at its first error."""
        argv = [*self.psql(database), "--set=ON_ERROR_STOP=1", "--output=/dev/null"]
        done = self.place.run(argv, given=sql, watched=True)
        if done.exit_code != 0:
            raise Flaw(f"the dump cannot be loaded: {self._said(done)}")

    def psql(self, database: str) -> list[str]:
        return [
            str(self.programs / "psql"), "--no-psqlrc", "--quiet", f"--host={self.place.socket_folder}",
            f"--username={self.superuser}", f"--dbname={database}", "--no-password",
        ]  # fmt: skip

    def _said(self, done: Done) -> str:
        return complaint(done.words, done.exit_code, self.place.trial.ctx.secrets)


def postgres_programs(version: str = "") -> Path:
    """Folder of a PostgreSQL server's programs, of this major version if one is named, else the newest.

    ActionFailed ``program_missing``.
    """
    from glob import glob

    found: list[tuple[float, Path]] = []
    for pattern in _POSTGRES_FOLDERS:
        for name in glob(pattern):  # noqa: PTH207
            number = re.search(r"(\d+(?:\.\d+)?)/bin$", name)
            if (Path(name) / "postgres").exists() and (Path(name) / "initdb").exists():
                found.append((float(number[1]) if number else 0.0, Path(name)))
    for folder in PROGRAM_PATH.split(":"):
        if (Path(folder) / "postgres").exists() and (Path(folder) / "initdb").exists():
            found.append((0.0, Path(folder)))
    if version:
        found = [each for each in found if f"{each[0]:g}" == version or each[0] == 0.0]
    if not found:
        of = f" {version}" if version else ""
        raise ActionFailed("program_missing", f"PostgreSQL{of} is not installed here: the database cannot be started")
    return max(found)[1]


@contextmanager
def new_postgres(trial: Trial) -> Iterator[Postgres]:
    """An empty private server."""
    programs = postgres_programs()
    with server_place(trial, "postgresql") as place:
        data = place.folder / "data"
        argv = [
            str(programs / "initdb"), f"--pgdata={place.inside(data)}", "--username=postgres", "--auth=trust",
            "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8",
        ]  # fmt: skip
        done = place.run(argv, watched=True)
        if done.exit_code != 0:
            said = complaint(done.words, done.exit_code, trial.ctx.secrets)
            raise ActionFailed("server_failed", f"no private PostgreSQL could be made: {said}")
        with run_postgres(place, programs, data, fresh=True) as server:
            yield server


@contextmanager
def run_postgres(place: Place, programs: Path, data: Path, *, fresh: bool) -> Iterator[Postgres]:
    """Start a server on ``data``. Flaw when a restored one does not come up."""
    trial = place.trial
    config, access = place.folder / "postgresql.conf", place.folder / "pg_hba.conf"
    config.write_text("", encoding="ascii")
    access.write_text("local all all trust\n", encoding="ascii")
    log = place.folder / "log"
    for path in (config, access):
        place.own(path)
    settings = {
        "config_file": place.inside(config), "hba_file": place.inside(access),
        "ident_file": place.inside(config), "listen_addresses": "",
        "unix_socket_directories": str(place.socket_folder), "port": "5432", "fsync": "off",
        "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "32MB", "max_wal_size": "256MB",
        "archive_mode": "off", "shared_preload_libraries": "", "session_preload_libraries": "", "ssl": "off",
        "logging_collector": "off", "log_destination": "stderr", "restore_command": "", "primary_conninfo": "",
        "max_logical_replication_workers": "0", "max_worker_processes": "4",
    }  # fmt: skip
    argv = [str(programs / "postgres"), "-D", place.inside(data)]
    for name, value in settings.items():
        argv += ["-c", f"{name}={value}"]
    with (
        log.open("w+b") as output,
        started(
            argv, trial.ctx, user=place.user, cut_off=place.cut_off, shown=place.shown, output=output, errors=output
        ) as process,
    ):  # fmt: skip
        trial.scratch.note_process(process.pid)
        users = (
            ["postgres"] if fresh else list(dict.fromkeys(["postgres", trial.environment.get("PGUSER", "postgres")]))
        )
        said = ""
        until = time.monotonic() + min(START_SECONDS, trial.ctx.seconds_left)
        try:
            while True:
                for user in users:
                    server = Postgres(place, programs, user)
                    done = place.run([*server.psql("postgres"), "--command=select 1"], asks_only=True)
                    if done.exit_code == 0:
                        trial.words.append("a private PostgreSQL started" + ("" if fresh else " from the base backup"))
                        yield server
                        return
                    said = done.words
                if process.poll() is not None or time.monotonic() > until:
                    output.seek(0)
                    wrote = output.read().decode(errors="replace")
                    why = complaint(f"{wrote}\n{said}", process.returncode or 0, trial.ctx.secrets)
                    if fresh:
                        raise ActionFailed("server_failed", f"no private PostgreSQL could be started: {why}")
                    raise Flaw(f"PostgreSQL does not start from the base backup: {why}")
                trial.ctx.require_time()
                time.sleep(0.1)
        finally:
            # Immediate shutdown: its processes end with it, and nothing is to be saved.
            if process.poll() is None:
                process.send_signal(signal.SIGQUIT)
                _wait(process)


# --- MariaDB and MySQL ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Maria:
    """A running private server."""

    place: Place
    client: str
    socket: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"MYSQL_UNIX_PORT": str(self.socket), "MYSQL_HOST": "localhost"}

    def ask(self, sql: str, database: str) -> list[list[str]]:
        argv = [*self.argv(), "--skip-column-names", "--batch", f"--execute={sql}", database]
        done = self.place.run(argv, asks_only=True)
        if done.exit_code != 0:
            raise Flaw(f"the restored database {database} cannot be asked: {self._said(done)}")
        return [line.split("\t") for line in done.output.decode(errors="replace").splitlines() if line]

    def load(self, sql: Path, database: str) -> None:
        done = self.place.run([*self.argv(), "--batch", database], given=sql, watched=True)
        if done.exit_code != 0:
            raise Flaw(f"the dump cannot be loaded: {self._said(done)}")

    def argv(self) -> list[str]:
        return [self.client, "--no-defaults", f"--socket={self.socket}", "--user=root", "--max-allowed-packet=1G"]

    def _said(self, done: Done) -> str:
        return complaint(done.words, done.exit_code, self.place.trial.ctx.secrets)


@contextmanager
def new_maria(trial: Trial) -> Iterator[Maria]:
    """An empty private server."""
    daemon = _first(trial, "mariadbd", "mysqld")
    client = _first(trial, "mariadb", "mysql")
    with server_place(trial, "mariadb") as place:
        data, socket = place.folder / "data", place.socket_folder / "sql.sock"
        log = place.folder / "log"
        sparing = ["--innodb-log-file-size=16M", "--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0"]
        maker = trial.host.find_program("mariadb-install-db") or trial.host.find_program("mysql_install_db")
        if maker:
            argv = [
                maker,
                "--no-defaults",
                f"--datadir={place.inside(data)}",
                "--auth-root-authentication-method=normal",
            ]
            argv += ["--skip-test-db", *sparing]
        else:
            argv = [daemon, "--no-defaults", "--initialize-insecure", f"--datadir={place.inside(data)}"]
        if place.user is None:
            argv.append(f"--user={_own_name()}")
        done = place.run(argv, watched=True)
        if done.exit_code != 0:
            said = complaint(done.words, done.exit_code, trial.ctx.secrets)
            raise ActionFailed("server_failed", f"no private MariaDB could be made: {said}")
        own = place.inside(place.folder)
        argv = [
            daemon, "--no-defaults", f"--datadir={place.inside(data)}", f"--socket={socket}", f"--pid-file={own}/pid",
            "--skip-networking", "--event-scheduler=OFF", f"--secure-file-priv={own}", "--skip-log-bin",
            "--max-allowed-packet=1G", f"--tmpdir={own}", *sparing,
        ]  # fmt: skip
        with (
            log.open("w+b") as output,
            started(
                argv, trial.ctx, user=place.user, cut_off=place.cut_off, shown=place.shown, output=output,
                errors=output,
            ) as process,
        ):  # fmt: skip
            trial.scratch.note_process(process.pid)
            server = Maria(place, client, socket)
            until = time.monotonic() + min(START_SECONDS, trial.ctx.seconds_left)
            while place.run([*server.argv(), "--execute=select 1"], asks_only=True).exit_code != 0:
                if process.poll() is not None or time.monotonic() > until:
                    output.seek(0)
                    why = complaint(output.read().decode(errors="replace"), process.returncode or 0, set())
                    raise ActionFailed("server_failed", f"no private MariaDB could be started: {why}")
                time.sleep(0.1)
            trial.words.append("a private MariaDB started")
            try:
                yield server
            finally:
                if process.poll() is None:
                    process.kill()
                    _wait(process)


def _first(trial: Trial, *names: str) -> str:
    for name in names:
        path = trial.host.find_program(name)
        if path:
            return path
    raise ActionFailed("program_missing", f"{names[0]} is not installed here: the database cannot be started")


def _own_name() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
