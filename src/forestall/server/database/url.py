"""``FORESTALL_DATABASE_URL``: read, checked, and turned into Django's settings. No I/O but the data folder's files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from forestall.server.home import Home

VARIABLE = "FORESTALL_DATABASE_URL"
SWITCH = "FORESTALL_DATABASE_ROLES"
"""``none``: every part connects as the address says, without roles and without the second wall."""
NO_ROLES = "none"
PARTS = ("console", "intake", "worker")
"""The parts that have a role of their own."""
MAX_NAME = 63
"""Bytes PostgreSQL keeps of a name."""
_SCHEMES = ("postgresql", "postgres")
_OPTIONS = frozenset(
    {"sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "application_name", "target_session_attrs",
     "channel_binding", "gssencmode", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"}
)  # fmt: skip


class DatabaseUrlError(ValueError):
    """A database address that cannot be used; the text names what is wrong and never a password."""


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """A PostgreSQL database and who connects to it."""

    name: str
    host: str = ""
    """Name, address, or folder of the server's socket; empty: libpq's own default."""
    port: str = ""
    user: str = ""
    password: str = ""
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str, *, source: str = VARIABLE) -> DatabaseUrl:
        """``postgresql://user:password@host:port/name`` or ``postgresql://user@/name?host=/run/postgresql``.

        DatabaseUrlError names ``source`` and the part that is wrong.
        """
        try:
            parts = urlsplit(text.strip())
            port = parts.port
        except ValueError as error:
            # The library's own words may repeat a piece of the address, and with it of a password that has a "/".
            why = "the port is no number from 1 to 65535" if "port" in str(error).lower() else "it is no address"
            raise DatabaseUrlError(f"{source}: {why}; {_WANTED}") from None
        if parts.scheme not in _SCHEMES:
            scheme = parts.scheme if re.fullmatch(r"[a-z0-9+.-]{1,20}", parts.scheme) else ""
            raise DatabaseUrlError(f"{source}: {scheme!r} is not a scheme it knows; {_WANTED}")
        name = unquote(parts.path.removeprefix("/"))
        if not name or "/" in name:
            raise DatabaseUrlError(f"{source}: {name!r} is not the name of a database; {_WANTED}")
        if len(name.encode()) > MAX_NAME:
            raise DatabaseUrlError(f"{source}: the database's name has {len(name.encode())} bytes, at most {MAX_NAME}")
        host, port_text, options = unquote(parts.hostname or ""), "" if port is None else str(port), []
        for key, value in parse_qsl(parts.query, keep_blank_values=True):
            if key == "host":
                host = value
            elif key == "port":
                port_text = value
            elif key in _OPTIONS:
                options.append((key, value))
            else:
                known = ", ".join(sorted(_OPTIONS | {"host", "port"}))
                raise DatabaseUrlError(f"{source}: {key!r} is not an option it knows; known: {known}")
        if port_text and not (port_text.isdecimal() and 0 < int(port_text) < 65536):
            raise DatabaseUrlError(f"{source}: port {port_text!r} is no number from 1 to 65535")
        if parts.fragment:
            raise DatabaseUrlError(f"{source}: write # in a password as %23")
        return cls(
            name=name,
            host=host,
            port=port_text,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            options=tuple(options),
        )

    def __str__(self) -> str:
        """Where it is, without the password: for people and logs."""
        user = f"{self.user}@" if self.user else ""
        if self.host.startswith("/"):
            return f"postgresql://{user}/{self.name}?host={self.host}" + (f"&port={self.port}" if self.port else "")
        return f"postgresql://{user}{self.host}{':' + self.port if self.port else ''}/{self.name}"

    __repr__ = __str__

    @property
    def secret(self) -> str:
        """The whole address, with the password: for the environment of a process or a private file, never for a log."""
        login = quote(self.user, safe="") + (f":{quote(self.password, safe='')}" if self.password else "")
        options = [("host", self.host)] if self.host else []
        options += [("port", self.port)] if self.port else []
        query = urlencode([*options, *self.options])
        return f"postgresql://{login}{'@' if login else ''}/{quote(self.name, safe='')}{'?' if query else ''}{query}"

    def as_user(self, user: str, password: str) -> DatabaseUrl:
        return replace(self, user=user, password=password)

    def role(self, part: str) -> str:
        """The role with which a part connects: ``forestall_console`` on a database named ``forestall``. Roles belong to
        a whole cluster, so they carry the database's name."""
        return f"{self.name[: MAX_NAME - len(part) - 1]}_{part}"

    def settings(self) -> dict[str, Any]:
        """An entry of Django's ``DATABASES``."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": self.name,
            "USER": self.user,
            "PASSWORD": self.password,
            "HOST": self.host,
            "PORT": self.port,
            "OPTIONS": {"connect_timeout": "10", "application_name": "forestall", **dict(self.options)},
            # Kept as long as it works: a check-in or a page must not pay for a handshake and a password's rounds.
            "CONN_MAX_AGE": None,
            "CONN_HEALTH_CHECKS": True,
            # The order of names must not depend on the cluster's language in tests; SQLite's is that of code points.
            "TEST": {"TEMPLATE": "template0"},
        }


_WANTED = (
    "it looks like postgresql://user:password@host:port/name or postgresql://user:password@/name?host=/socket/folder"
)


def database_url(home: Home, environment: Mapping[str, str] = os.environ) -> DatabaseUrl | None:
    """The PostgreSQL database of this installation, as its owner; None: SQLite in the data folder.

    The variable goes before the file that ``forestall db move`` leaves. DatabaseUrlError names which of them is wrong.
    """
    if named := environment.get(VARIABLE):
        return DatabaseUrl.parse(named)
    if home.database_url.exists():
        return DatabaseUrl.parse(home.database_url.read_text(), source=str(home.database_url))
    return None


def part_passwords(home: Home) -> dict[str, str]:
    """Role → password of the parts' roles, as ``forestall up`` made them; empty when it has not."""
    if not home.database_roles.exists():
        return {}
    found: dict[str, str] = json.loads(home.database_roles.read_text())
    return found


def database_settings(home: Home, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Django's ``DATABASES["default"]`` for this process: as the address says, or SQLite without one."""
    url = database_url(home, environment)
    return sqlite_settings(home) if url is None else url.settings()


def part_environment(home: Home, part: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment in which a part starts: with the address of its own role, and never the owner's.

    Without roles (``FORESTALL_DATABASE_ROLES=none``, or SQLite) as it was.
    """
    url = database_url(home, environment)
    own = {name: value for name, value in environment.items() if name != VARIABLE}
    if url is None or part not in PARTS:
        return own
    if environment.get(SWITCH) == NO_ROLES:
        return {**own, VARIABLE: url.secret}
    role = url.role(part)
    return {**own, VARIABLE: url.as_user(role, part_passwords(home)[role]).secret}


def sqlite_settings(home: Home) -> dict[str, Any]:
    """The embedded default: one file in the data folder."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": home.database,
        "OPTIONS": {
            # IMMEDIATE: a transaction that will write takes its turn at the start, instead of failing in the middle.
            "transaction_mode": "IMMEDIATE",
            "timeout": 30,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-32000;",
        },
        "CONN_MAX_AGE": None,
        # A file like the real one: in memory, SQLite locks whole tables and waits for nobody.
        "TEST": {"NAME": home.server / "test.sqlite3"},
    }
