"""Accounts: passwd, group and shadow, what kind of account one is, and when it last signed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from forestall.agent.collect.host import FileMissing, HostError
from forestall.agent.collect.notes import Notes

Password = Literal["set", "locked", "empty", "unknown"]
Kind = Literal["", "person", "service", "system"]

_NO_LOGIN_SHELLS = frozenset({"nologin", "false", "true", "sync", "halt", "shutdown"})
_LASTLOG_BYTES = 292
"""struct lastlog of glibc on Linux: 32-bit time, 32 bytes of line, 256 of host; the record's index is the uid."""
_UTMP_BYTES = 384
_UTMP_USER_PROCESS = 7
_WTMP_TAIL_BYTES = _UTMP_BYTES * 20_000
_NOBODY = 65534
_NEVER_DAYS = 99_999
"""What useradd writes for "the password need not be changed" (login.defs(5) of most distributions)."""
_HASHES = {
    "y": "yescrypt", "gy": "gost-yescrypt", "7": "scrypt", "2a": "bcrypt", "2b": "bcrypt", "2x": "bcrypt",
    "2y": "bcrypt", "6": "sha512crypt", "5": "sha256crypt", "1": "md5crypt", "3": "nt", "md5": "sunmd5",
    "sha1": "sha1crypt",
}  # fmt: skip
"""Prefix of a hash (crypt(5)) → algorithm."""


@dataclass(frozen=True, slots=True)
class PasswdEntry:
    name: str
    password: str
    uid: int
    gid: int
    home: str
    shell: str
    full_name: str = ""


@dataclass(frozen=True, slots=True)
class ShadowEntry:
    """A line of shadow(5). The hash stays in this process: what leaves it is the algorithm's name."""

    password: str
    changed_at: datetime | None = None
    max_days: int | None = None
    expires_at: datetime | None = None


def parse_passwd(text: str) -> list[PasswdEntry]:
    """The lines of passwd(5) that are whole."""
    found = []
    for line in text.splitlines():
        fields = line.split(":")
        # BSD and macOS number "nobody" -2.
        if len(fields) == 7 and fields[2].lstrip("-").isdigit() and fields[3].lstrip("-").isdigit():
            name, password, uid, gid, gecos, home, shell = fields
            found.append(PasswdEntry(name, password, int(uid), int(gid), home, shell, gecos.split(",")[0].strip()))
    return found


def parse_group(text: str) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Number and members by group name, from group(5)."""
    found = {}
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) == 4 and fields[2].lstrip("-").isdigit():
            found[fields[0]] = (int(fields[2]), tuple(member for member in fields[3].split(",") if member))
    return found


def parse_shadow(text: str) -> dict[str, ShadowEntry]:
    """What shadow(5) says, by name."""
    found = {}
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) > 2:
            fields += [""] * (9 - len(fields))
            found[fields[0]] = ShadowEntry(
                password=fields[1],
                changed_at=_day(fields[2]),
                max_days=int(fields[4]) if fields[4].isdigit() and int(fields[4]) < _NEVER_DAYS else None,
                expires_at=_day(fields[7]),
            )
    return found


def _day(field: str) -> datetime | None:
    """Days since 1970 as a time. 0 as a day of change means "must be changed at the next sign-in": no date."""
    if not field.isdigit() or not 0 < int(field) < 2_900_000:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=int(field))


def groups_of(entry: PasswdEntry, groups: Mapping[str, tuple[int, tuple[str, ...]]]) -> tuple[str, ...]:
    """Names of an account's groups: its own first, the others sorted."""
    own = [name for name, (gid, _) in groups.items() if gid == entry.gid]
    others = sorted(name for name, (_, members) in groups.items() if entry.name in members and name not in own)
    return (*own, *others)


def lets_in(shell: str) -> bool:
    """Whether a login shell lets a person in. An empty one means /bin/sh (passwd(5))."""
    return shell.rpartition("/")[2] not in _NO_LOGIN_SHELLS


def password_field(entry: PasswdEntry, shadow: Mapping[str, ShadowEntry] | None) -> str | None:
    """The password field, wherever it is kept; None: it could not be read."""
    if entry.password == "x":  # noqa: S105 - means: see shadow
        if shadow is None:
            return None
        return shadow[entry.name].password if entry.name in shadow else "*"
    return entry.password


def password_state(field: str | None) -> Password:
    """What a password field says, without looking at the hash itself."""
    if field is None:
        return "unknown"
    if not field:
        return "empty"
    # "!", "*", "!!" and "!hash" cannot be matched by any password (shadow(5)); real hashes begin otherwise.
    return "locked" if field[0] in "!*" else "set"


def password_hash(field: str | None) -> str:
    """The algorithm of the hash in a password field (crypt(5)), locked or not; empty: there is none, or unknown."""
    field = (field or "").lstrip("!*")
    if field.startswith("$"):
        return _HASHES.get(field[1:].split("$")[0].split(",")[0], "")
    if field.startswith("_") and len(field) == 20:
        return "bsdicrypt"
    return "des" if len(field) == 13 else ""


def kind_of(entry: PasswdEntry, *, uid_min: int, password: Password, keys: int | None) -> Kind:
    """Whether an account is a person's, a program's that may sign in or own work, or the system's own.

    Told from the number (below ``UID_MIN`` of login.defs the system's), the shell, the home, and whether a password
    or key opens it.
    """
    if entry.uid == 0 or entry.uid in (_NOBODY, -2):
        return "system"
    opens = lets_in(entry.shell) and (password in ("set", "empty") or bool(keys))
    if entry.uid < uid_min:
        return "service" if opens else "system"
    at_home = entry.home.startswith(("/home/", "/Users/", "/export/home/", "/root"))
    return "person" if lets_in(entry.shell) and at_home else "service"


def parse_lastlog(data: bytes, uid: int) -> datetime | None:
    """Last login of a uid in the bytes of /var/log/lastlog; None: never."""
    record = data[uid * _LASTLOG_BYTES : uid * _LASTLOG_BYTES + 4]
    seconds = int.from_bytes(record, "little")
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def parse_wtmp(data: bytes) -> dict[str, datetime]:
    """Last login by account name in the records of utmp(5)."""
    found: dict[str, datetime] = {}
    for start in range(0, len(data) - _UTMP_BYTES + 1, _UTMP_BYTES):
        record = data[start : start + _UTMP_BYTES]
        if int.from_bytes(record[0:2], "little") == _UTMP_USER_PROCESS:
            name = record[44:76].split(b"\0", 1)[0].decode(errors="replace")
            at = datetime.fromtimestamp(int.from_bytes(record[340:344], "little"), UTC)
            found[name] = max(at, found.get(name, at))
    return found


def last_logins(notes: Notes) -> dict[str, datetime]:
    """Last login by account name (wtmp) or by uid as text (lastlog)."""
    host = notes.host
    found: dict[str, datetime] = {}
    seen = False
    try:
        size = host.status("/var/log/wtmp").size
        start = max(0, size - _WTMP_TAIL_BYTES) // _UTMP_BYTES * _UTMP_BYTES
        found = parse_wtmp(host.read_bytes("/var/log/wtmp", offset=start))
        notes.used("/var/log/wtmp")
        seen = True
    except FileMissing:
        pass
    except HostError as error:
        notes.gap("logins in /var/log/wtmp", error.why)
    try:
        # The file is as long as the highest uid that ever logged in, and mostly holes.
        data = host.read_bytes("/var/log/lastlog")
        notes.used("/var/log/lastlog")
        seen = True
        for uid in range(len(data) // _LASTLOG_BYTES):
            at = parse_lastlog(data, uid)
            if at is not None:
                found[str(uid)] = at
    except FileMissing:
        pass
    except HostError as error:
        notes.gap("last logins in /var/log/lastlog", error.why)
    if not seen:
        notes.gap("last logins", "this system keeps neither /var/log/lastlog nor /var/log/wtmp")
    return found


def directory_services(nsswitch: str) -> tuple[str, ...]:
    """The directories that nsswitch.conf(5) asks for accounts beside the machine's own files: ``sss``, ``ldap``."""
    for line in nsswitch.splitlines():
        database, colon, services = line.partition("#")[0].partition(":")
        if colon and database.strip() == "passwd":
            return tuple(each for each in services.split() if each in ("sss", "ldap", "winbind", "nis", "nisplus"))
    return ()
