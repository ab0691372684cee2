"""The ``access`` document: accounts, who among them administers, and sudo's rules."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from forestall.agent.collect.host import Denied, FileMissing, Host, HostError
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.redaction import redact
from forestall.wire.facts import Access, Account

Password = Literal["set", "locked", "empty", "unknown"]

ADMINISTRATOR_GROUPS = frozenset({"sudo", "wheel", "admin"})
"""Groups that sudo, su or polkit treat as administrators on Debian, Red Hat, SUSE, Arch and older Ubuntu."""
_NO_LOGIN_SHELLS = frozenset({"nologin", "false", "true", "sync", "halt", "shutdown"})
_LASTLOG_BYTES = 292
"""struct lastlog of glibc on Linux: 32-bit time, 32 bytes of line, 256 of host; the record's index is the uid."""
_UTMP_BYTES = 384
_UTMP_USER_PROCESS = 7
_WTMP_TAIL_BYTES = _UTMP_BYTES * 20_000
_SUDOERS_DEPTH = 8


@dataclass(frozen=True, slots=True)
class PasswdEntry:
    name: str
    password: str
    uid: int
    gid: int
    home: str
    shell: str


def collect(host: Host) -> Access:
    notes = Notes(host)
    entries = parse_passwd(notes.read("/etc/passwd", what="accounts") or "")
    groups = parse_group(notes.read("/etc/group", what="groups") or "")
    shadow_text = notes.read("/etc/shadow", what="state of passwords")
    shadow = parse_shadow(shadow_text) if shadow_text is not None else None
    rules = _sudo_rules(notes)
    logins = _last_logins(notes)
    hidden_keys = []
    accounts = []
    for entry in entries:
        member_of = groups_of(entry, groups)
        keys = _ssh_keys(notes, entry)
        if keys is None:
            hidden_keys.append(entry.name)
        reasons = administrator_because(entry, member_of, rules or ())
        accounts.append(
            Account(
                name=entry.name,
                uid=entry.uid,
                groups=member_of,
                shell=entry.shell,
                login=lets_in(entry.shell),
                administrator=bool(reasons),
                administrator_because=reasons,
                password=password_state(entry, shadow),
                last_login=logins.get(entry.name) or logins.get(str(entry.uid)),
                ssh_keys=keys,
            )
        )
    if hidden_keys:
        why = "refused by the system, even to root" if host.is_root else "needs root"
        notes.gap(f"authorized keys of {', '.join(sorted(hidden_keys))}", why)
    return Access(
        accounts=tuple(sorted(accounts, key=lambda account: (account.uid, account.name))),
        sudo_rules=rules,
        sources=notes.sources,
        gaps=notes.gaps,
    )


def parse_passwd(text: str) -> list[PasswdEntry]:
    """The lines of passwd(5) that are whole."""
    found = []
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) == 7 and fields[2].isdigit() and fields[3].isdigit():
            name, password, uid, gid, _, home, shell = fields
            found.append(PasswdEntry(name, password, int(uid), int(gid), home, shell))
    return found


def parse_group(text: str) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Number and members by group name, from group(5)."""
    found = {}
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) == 4 and fields[2].isdigit():
            found[fields[0]] = (int(fields[2]), tuple(member for member in fields[3].split(",") if member))
    return found


def parse_shadow(text: str) -> dict[str, str]:
    """The password field by name, from shadow(5)."""
    return {fields[0]: fields[1] for fields in (line.split(":") for line in text.splitlines()) if len(fields) > 2}


def groups_of(entry: PasswdEntry, groups: Mapping[str, tuple[int, tuple[str, ...]]]) -> tuple[str, ...]:
    """Names of an account's groups: its own first, the others sorted."""
    own = [name for name, (gid, _) in groups.items() if gid == entry.gid]
    others = sorted(name for name, (_, members) in groups.items() if entry.name in members and name not in own)
    return (*own, *others)


def lets_in(shell: str) -> bool:
    """Whether a login shell lets a person in. An empty one means /bin/sh (passwd(5))."""
    return shell.rpartition("/")[2] not in _NO_LOGIN_SHELLS


def password_state(entry: PasswdEntry, shadow: Mapping[str, str] | None) -> Password:
    """What the password field says, without looking at the hash itself."""
    if entry.password == "x":  # noqa: S105 - means: see shadow
        if shadow is None:
            return "unknown"
        field = shadow.get(entry.name, "*")
    else:
        field = entry.password
    if not field:
        return "empty"
    # "!", "*", "!!" and "!hash" cannot be matched by any password (shadow(5)); real hashes begin otherwise.
    return "locked" if field[0] in "!*" else "set"


def administrator_because(entry: PasswdEntry, member_of: tuple[str, ...], rules: tuple[str, ...]) -> tuple[str, ...]:
    """The reasons why an account administers the machine; none for an ordinary one."""
    reasons = ["uid 0"] if entry.uid == 0 else []
    reasons += [f"group {group}" for group in member_of if group in ADMINISTRATOR_GROUPS]
    for who in granted_all(rules):
        if who in (entry.name, f"#{entry.uid}", "ALL"):
            reasons.append("sudoers: ALL")
        elif who.startswith("%") and who[1:] in member_of and who[1:] not in ADMINISTRATOR_GROUPS:
            reasons.append(f"sudoers: ALL for group {who[1:]}")
    return tuple(dict.fromkeys(reasons))


def granted_all(rules: tuple[str, ...]) -> Iterator[str]:
    """Whom sudo's rules let run everything: ``alice``, ``%staff``, ``#1000``, ``ALL``. User aliases are resolved."""
    aliases: dict[str, list[str]] = {}
    for rule in rules:
        if rule.startswith("User_Alias"):
            for definition in rule.removeprefix("User_Alias").split(":"):
                name, _, members = definition.partition("=")
                aliases[name.strip()] = [member.strip() for member in members.split(",")]
    for rule in rules:
        if re.match(r"(Defaults|(User|Runas|Host|Cmnd|Cmd)_Alias)\b", rule):
            continue
        users, equals, grant = rule.partition("=")
        if not equals:
            continue
        commands = re.sub(r"\([^)]*\)|\b[A-Z_]{4,}:", " ", grant)  # without (run as) and tags such as NOPASSWD:
        if "ALL" not in [command.strip() for command in commands.split(",")]:
            continue
        # "alice, %staff  ALL": the users, then the hosts they may do it on.
        names = re.sub(r"\s*,\s*", ",", users.strip()).split()[0]
        for name in names.split(","):
            yield from aliases.get(name, [name])


def parse_sudoers(text: str) -> Iterator[str]:
    """Lines of sudoers(5) that have effect: continued ones joined, comments dropped, blanks made one."""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if re.match(r"\s*#(?!include|\d)", line):
            continue
        effective = re.sub(r"(?<!\S)#(?!include|\d).*", "", line)
        if effective.strip():
            yield " ".join(effective.split())


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


def count_keys(text: str) -> int:
    """Keys in an authorized_keys file: lines that are neither blank nor comments."""
    return sum(1 for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def _last_logins(notes: Notes) -> dict[str, datetime]:
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


def _ssh_keys(notes: Notes, entry: PasswdEntry) -> int | None:
    count = 0
    for name in ("authorized_keys", "authorized_keys2"):
        try:
            count += count_keys(notes.host.read_text(f"{entry.home.rstrip('/')}/.ssh/{name}"))
        except FileMissing:
            continue
        except HostError:
            return None
        notes.used("~/.ssh/authorized_keys")
    return count


def _sudo_rules(notes: Notes) -> tuple[str, ...] | None:
    try:
        lines = list(_sudoers_lines(notes, "/etc/sudoers", _SUDOERS_DEPTH))
    except FileMissing:
        return ()  # sudo is not installed
    except HostError as error:
        notes.gap("sudo rules", error.why)
        return None
    return tuple(redact(line) for line in lines)


def _sudoers_lines(notes: Notes, path: str, depth: int) -> Iterator[str]:
    text = notes.host.read_text(path)
    notes.used(path)
    for line in parse_sudoers(text):
        include = re.match(r"[@#](include|includedir)\s+(\S+)$", line)
        if include is None:
            yield line
            continue
        target = include[2] if include[2].startswith("/") else f"{path.rpartition('/')[0]}/{include[2]}"
        paths = [target]
        if include[1] == "includedir":
            try:
                # sudo passes over names that hold a dot or end in a tilde (sudoers(5)).
                names = [name for name in notes.host.list_dir(target) if "." not in name and not name.endswith("~")]
            except FileMissing:
                continue
            paths = [f"{target}/{name}" for name in names]
        for each in paths if depth else ():
            try:
                yield from _sudoers_lines(notes, each, depth - 1)
            except Denied:
                raise
            except HostError as error:
                notes.gap(f"sudo rules in {each}", error.why)
