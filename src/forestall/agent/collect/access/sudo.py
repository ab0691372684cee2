"""Sudo's rules: the lines with effect, and each permission in them with its aliases resolved."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from forestall.agent.collect.host import Denied, FileMissing, HostError
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.redaction import redact
from forestall.wire.facts import SudoRule

_DEPTH = 8
_ALIAS = re.compile(r"(User|Runas|Host|Cmnd|Cmd)_Alias\s+(.*)")
_NOT_A_RULE = re.compile(r"(Defaults|(User|Runas|Host|Cmnd|Cmd)_Alias)\b")
_TAG = re.compile(r"([A-Z_]{4,}):\s*")
_OPTION = r"(?:ROLE|TYPE|CWD|CHROOT|TIMEOUT|NOTBEFORE|NOTAFTER|PRIVS|LIMITPRIVS)="
_NEXT_HOSTS = re.compile(rf"(?<!\\):(?!\s*{_OPTION})(?=\s*[A-Za-z0-9_.!, ]+\s*=)")
"""``web1 = /a : db1 = /b``: the colon before another list of hosts, not that of a tag."""
_MOST_COMMANDS = 50


@dataclass(frozen=True, slots=True)
class SudoLine:
    text: str
    source: str = ""
    """``/etc/sudoers.d/90-cloud:3``."""


@dataclass(slots=True)
class _Aliases:
    users: dict[str, list[str]] = field(default_factory=dict)
    runas: dict[str, list[str]] = field(default_factory=dict)
    hosts: dict[str, list[str]] = field(default_factory=dict)
    commands: dict[str, list[str]] = field(default_factory=dict)

    def of(self, kind: str) -> dict[str, list[str]]:
        return {"User": self.users, "Runas": self.runas, "Host": self.hosts}.get(kind, self.commands)


def parse_sudoers(text: str) -> Iterator[str]:
    """Lines of sudoers(5) that have effect: continued ones joined, comments dropped, blanks made one."""
    for _, line in numbered_lines(text):
        yield line


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines of ``parse_sudoers`` with the number at which each begins."""
    number = 1
    whole = ""
    begun = 0
    lines = text.splitlines()
    for index, physical in enumerate(lines, start=1):
        begun = begun or index
        if physical.endswith("\\") and index < len(lines):
            whole += physical[:-1] + " "
            continue
        whole += physical
        number, line = begun, whole
        begun, whole = 0, ""
        if re.match(r"\s*#(?!include|\d)", line):
            continue
        effective = re.sub(r"(?<!\S)#(?!include|\d).*", "", line)
        if effective.strip():
            yield number, " ".join(effective.split())


def sudo_lines(notes: Notes) -> tuple[SudoLine, ...] | None:
    """The effective lines of this machine, included files too; None: they could not be read."""
    try:
        return tuple(_lines(notes, "/etc/sudoers", _DEPTH))
    except FileMissing:
        return ()  # sudo is not installed
    except HostError as error:
        notes.gap("sudo rules", error.why)
        return None


def _lines(notes: Notes, path: str, depth: int) -> Iterator[SudoLine]:
    text = notes.host.read_text(path)
    notes.used(path)
    for number, line in numbered_lines(text):
        include = re.match(r"[@#](include|includedir)\s+(\S+)$", line)
        if include is None:
            yield SudoLine(line, f"{path}:{number}")
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
                yield from _lines(notes, each, depth - 1)
            except Denied:
                raise
            except HostError as error:
                notes.gap(f"sudo rules in {each}", error.why)


def granted_all(rules: tuple[str, ...]) -> Iterator[str]:
    """Whom sudo's rules let run everything: ``alice``, ``%staff``, ``#1000``, ``ALL``. User aliases are resolved."""
    for rule in permissions([SudoLine(rule) for rule in rules]):
        if "ALL" in rule.commands:
            yield rule.who


def permissions(lines: Iterable[SudoLine]) -> Iterator[SudoRule]:
    """Each permission: who, as whom, which commands, asked for a password or not. Aliases are resolved as far as known.

    A line that mixes commands with and without a password becomes two. ``Defaults !authenticate`` counts.
    """
    kept = list(lines)
    aliases = _aliases(kept)
    free = {each for line in kept for each in _unasked(line.text, aliases)}
    for line in kept:
        if _NOT_A_RULE.match(line.text):
            continue
        for users, grant in _specifications(line.text):
            for name in users:
                for who in _resolved(name, aliases.users):
                    for run_as, no_password, commands in _grants(grant, aliases):
                        yield SudoRule(
                            who=who,
                            run_as=run_as,
                            commands=tuple(redact(each) for each in commands[:_MOST_COMMANDS]),
                            no_password=no_password or bool(free & {"ALL", who}),
                            line=redact(line.text)[:1000],
                            source=line.source,
                        )


def _aliases(lines: Iterable[SudoLine]) -> _Aliases:
    found = _Aliases()
    for line in lines:
        match = _ALIAS.match(line.text)
        if match is None:
            continue
        # "OPS = ada, bob : DEV = eve": a colon between definitions; commands may hold one only escaped.
        for definition in re.split(r"(?<!\\):(?=\s*[A-Z][A-Z0-9_]*\s*=)", match[2]):
            name, equals, members = definition.partition("=")
            if equals:
                found.of(match[1])[name.strip()] = _parts(members)
    return found


def _parts(text: str) -> list[str]:
    return [each.strip() for each in re.split(r"(?<!\\),", text) if each.strip()]


def _resolved(name: str, known: Mapping[str, list[str]], depth: int = _DEPTH) -> list[str]:
    """Members of an alias, those of aliases in it too; the name itself when it is none."""
    negated = "!" if name.startswith("!") else ""
    members = known.get(name.lstrip("! "))
    if members is None or not depth:
        return [name]
    return [negated + each for member in members for each in _resolved(member, known, depth - 1)]


def _unasked(line: str, aliases: _Aliases) -> Iterator[str]:
    """Whom a ``Defaults`` line frees from giving a password."""
    match = re.match(r"Defaults(?::(\S+))?\s+(.*)", line)
    if match and "!authenticate" in _parts(match[2]):
        for name in _parts(match[1] or "ALL"):
            yield from _resolved(name, aliases.users)


def _specifications(line: str) -> Iterator[tuple[list[str], str]]:
    """``ada, %ops  web1 = … : web2 = …`` → the users, and what each set of hosts is granted."""
    users, equals, rest = line.partition("=")
    if not equals:
        return
    names = re.sub(r"\s*,\s*", ",", users.strip()).split()
    if not names:
        return
    for index, grant in enumerate(_NEXT_HOSTS.split(rest)):
        # The first grant has lost its hosts above; later ones carry theirs.
        yield names[0].split(","), grant.partition("=")[2] if index else grant


def _grants(grant: str, aliases: _Aliases) -> list[tuple[str, bool, list[str]]]:
    """``(root) NOPASSWD: /a, PASSWD: /b`` → run as, without a password, commands; tags hold on until another comes."""
    found: list[tuple[str, bool, list[str]]] = []
    run_as, no_password = "", False
    for part in _parts(_shielded(grant)):
        command = part.replace("\0", ",")
        match = re.match(r"\(([^)]*)\)\s*", command)
        if match:
            users = _parts(match[1].partition(":")[0])
            known = [each for name in users for each in _resolved(name, aliases.runas)]
            run_as = ", ".join(known) or match[1].strip()
            command = command[match.end() :]
        while tag := _TAG.match(command):
            if tag[1] in ("NOPASSWD", "PASSWD"):
                no_password = tag[1] == "NOPASSWD"
            command = command[tag.end() :]
        # Options such as ROLE=, TYPE=, CWD=, TIMEOUT= stand before the command.
        command = re.sub(rf"^(?:{_OPTION}\S+\s+)+", "", command)
        if not command.strip():
            continue
        commands = _resolved(command.strip(), aliases.commands)
        if found and found[-1][:2] == (run_as, no_password):
            found[-1][2].extend(commands)
        else:
            found.append((run_as, no_password, commands))
    return found


def _shielded(grant: str) -> str:
    """Commas inside ``(alice, bob)`` do not part commands."""
    return re.sub(r"\([^)]*\)", lambda match: match[0].replace(",", "\0"), grant)
