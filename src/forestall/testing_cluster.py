"""A PostgreSQL of the tests' own: made in a temporary folder, reached by a socket in it, gone with whoever started it.

``python -m forestall.testing_cluster`` is the guardian: it makes and runs the cluster, says its address on stdout, and
ends it, folder and all, when its stdin closes. The kernel closes that, too, when the tests are killed.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

OWNER = "forestall_tests"
SUPERUSER = "postgres"
START_SECONDS = 60.0
SETTINGS = {
    # What is lost with the power is lost: the folder goes at the end anyway.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "listen_addresses": "",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "log_min_messages": "fatal",
    "autovacuum": "off",
    # A test that waits for a lock that never comes must fail, not hang.
    "lock_timeout": "60s",
}


class ClusterUnavailableError(RuntimeError):
    """There is no PostgreSQL to start here; the message says why."""


def programs() -> Path | None:
    """Folder of ``initdb`` and ``postgres``: of the PATH, or the newest of Debian's."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    versions = [one for one in Path("/usr/lib/postgresql").glob("*/bin") if (one / "initdb").exists()]
    return max(versions, key=lambda one: int(one.parent.name), default=None)


class Cluster:
    """A running cluster, from the tests' side."""

    def __init__(self) -> None:
        if programs() is None:
            raise ClusterUnavailableError(
                "PostgreSQL's programs (initdb, postgres) are not here; on Debian: apt-get install postgresql"
            )
        self._guardian = subprocess.Popen(
            [sys.executable, "-m", "forestall.testing_cluster"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Ctrl-C at the terminal ends the tests; the guardian ends after them, by its stdin.
            start_new_session=True,
        )
        if self._guardian.stdout is None:
            raise ClusterUnavailableError("the guardian has no output")
        self.url = self._guardian.stdout.readline().strip()
        if not self.url:
            _, problem = self._guardian.communicate()
            raise ClusterUnavailableError(f"PostgreSQL did not start: {problem.strip()[-2000:]}")

    def stop(self) -> None:
        """End the cluster and remove its folder."""
        if self._guardian.stdin is not None:
            self._guardian.stdin.close()
        self._guardian.wait(30)


def _identity() -> dict[str, Any]:
    """Arguments of Popen: PostgreSQL refuses to run as root, so root runs it as somebody with less rights."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    raise ClusterUnavailableError("root cannot run PostgreSQL, and there is neither a user postgres nor a user nobody")


def guard() -> int:
    """Make and run a cluster until stdin closes."""
    bin_folder = programs()
    if bin_folder is None:
        raise ClusterUnavailableError("no initdb")
    # A short path: the socket's has 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="forestall-pg-", dir="/tmp"))
    server: subprocess.Popen[bytes] | None = None
    # Ended by a signal, too, it cleans up.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    try:
        identity = _identity()
        if identity:
            os.chown(folder, identity["user"], identity["group"])
        password = secrets.token_hex(12)
        password_file = folder / "password"
        password_file.write_text(password)
        password_file.chmod(0o600)
        if identity:
            os.chown(password_file, identity["user"], identity["group"])
        data = folder / "data"
        subprocess.run(
            [bin_folder / "initdb", "-D", data, "-U", SUPERUSER, "--auth=scram-sha-256", f"--pwfile={password_file}",
             "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"],
            check=True, stdout=subprocess.DEVNULL, cwd="/", **identity,
        )  # fmt: skip
        options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        server = subprocess.Popen(
            [bin_folder / "postgres", "-D", data, "-k", folder, *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd="/", **identity,
        )  # fmt: skip
        owner_password = _make_owner(folder, password, server)
        sys.stdout.write(f"postgresql://{OWNER}:{owner_password}@/postgres?host={folder}\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        if server is not None:
            # At once, without a last checkpoint.
            server.send_signal(signal.SIGQUIT)
            server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _make_owner(folder: Path, password: str, server: subprocess.Popen[bytes]) -> str:
    """Wait for the server, and make the role that owns the tests' databases: what an operator would give Forestall."""
    import psycopg
    from psycopg import sql

    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            connection = psycopg.connect(
                host=str(folder), user=SUPERUSER, password=password, dbname="postgres", autocommit=True
            )
            break
        except psycopg.OperationalError:
            if time.monotonic() > deadline or server.poll() is not None:
                raise
            time.sleep(0.05)
    owner_password = secrets.token_hex(12)
    with connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN CREATEDB CREATEROLE PASSWORD {}").format(
                sql.Identifier(OWNER), sql.Literal(owner_password)
            )
        )
        # To drop the database of an installation that a failed test left running.
        connection.execute(sql.SQL("GRANT pg_signal_backend TO {}").format(sql.Identifier(OWNER)))
    return owner_password


if __name__ == "__main__":
    sys.exit(guard())
