"""The data folder and the listen addresses: where everything that is kept is kept.

``FORESTALL_HOME`` is the only thing a person sets; every path below it is named here and nowhere else.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class AddressError(ValueError):
    """A listen address that is none."""


@dataclass(frozen=True, slots=True)
class Address:
    """A listen address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str, *, name: str) -> Address:
        """``127.0.0.1:8420`` or ``[::1]:8420``; AddressError names the setting and the bad value."""
        host, separator, port = text.rpartition(":")
        if not separator or not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise AddressError(f"{name}={text!r} is not host:port")
        return cls(host=host.strip("[]"), port=int(port))


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below the data folder."""

    root: Path

    @property
    def first_run(self) -> Path:
        return self.root / "first-run.json"

    @property
    def server(self) -> Path:
        return self.root / "server"

    @property
    def database(self) -> Path:
        return self.server / "forestall.sqlite3"

    @property
    def database_url(self) -> Path:
        """Address of the PostgreSQL database that ``forestall db move`` went to; absent: SQLite."""
        return self.server / "database.url"

    @property
    def database_roles(self) -> Path:
        """Passwords of the PostgreSQL roles of console, intake and worker."""
        return self.server / "database-roles.json"

    @property
    def journal(self) -> Path:
        """Check-ins as they arrived; written by intake alone."""
        return self.server / "journal.sqlite3"

    @property
    def samples(self) -> Path:
        """Samples packed into frames; written by the worker alone."""
        return self.server / "samples.sqlite3"

    @property
    def vulnerabilities(self) -> Path:
        """Feeds of advisories as they came, and what was made of them; written by the worker, uploads apart."""
        return self.server / "vulnerabilities"

    @property
    def secret_key(self) -> Path:
        return self.server / "secret.key"

    @property
    def session_secret(self) -> Path:
        """From which intake derives session keys."""
        return self.server / "sessions.key"

    @property
    def log_key(self) -> Path:
        """Private key of the evidence log."""
        return self.server / "log.key"

    @property
    def tls(self) -> Path:
        return self.server / "tls"

    @property
    def ca_file(self) -> Path:
        return self.tls / "ca.pem"

    @property
    def backups(self) -> Path:
        """Forestall's own backups, unless FORESTALL_BACKUP_TO names another folder."""
        return self.root / "backups"

    @property
    def backup_key(self) -> Path:
        """Private key that reads the backups. Its place is off the server, like the operator's keys."""
        return self.root / "backup.key"

    @property
    def backup_recipients(self) -> Path:
        """Public keys for which backups are encrypted, one a line."""
        return self.server / "backup.recipients"

    @property
    def agent(self) -> Path:
        return self.root / "agent"

    @property
    def operator(self) -> Path:
        """Root, catalogue and operator keys. In real life this folder lives off the server."""
        return self.root / "operator"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Process ids and sockets of what is running now."""
        return self.root / "run"


def current_home(environment: Mapping[str, str] = os.environ) -> Home:
    """The data folder of ``FORESTALL_HOME``, or the default below the user's own."""
    named = environment.get("FORESTALL_HOME")
    if named:
        return Home(Path(named).expanduser().absolute())
    data = environment.get("XDG_DATA_HOME") or "~/.local/share"
    return Home((Path(data) / "forestall").expanduser().absolute())


def console_address(environment: Mapping[str, str] = os.environ) -> Address:
    return Address.parse(environment.get("FORESTALL_CONSOLE") or "127.0.0.1:8420", name="FORESTALL_CONSOLE")


def intake_address(environment: Mapping[str, str] = os.environ) -> Address:
    return Address.parse(environment.get("FORESTALL_INTAKE") or "127.0.0.1:8421", name="FORESTALL_INTAKE")


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def read_or_make_secret(path: Path, *, size: int = 32) -> bytes:
    """The secret in ``path``; made at random when there is none yet."""
    if not path.exists():
        write_private(path, secrets.token_bytes(size))
    return path.read_bytes()
