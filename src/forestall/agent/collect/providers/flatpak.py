"""flatpak: applications and runtimes of the whole system, and what its remotes' kept summaries offer (``--cached``).

A name is a ref without its kind (``org.gnome.Platform/x86_64/45``), because several branches of one runtime may be
there; a version is the vendor's with the commit behind it, because most updates keep the vendor's version. What people
install for themselves (``--user``) is theirs and not read. Flatpak does not say what fixes security.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.providers import Reading
from forestall.wire.facts import Update, UpdateProvider

NAME = "flatpak"
KIND: Literal["application"] = "application"
CAN = ("list", "download", "install", "chosen", "hold", "roll_back", "repair")

CONFIG = "/var/lib/flatpak/repo/config"
SUMMARIES = "/var/lib/flatpak/repo/tmp/cache/summaries/*"
LIST = ("flatpak", "list", "--system", "--columns=ref,version,active,origin")
UPDATES = ("flatpak", "remote-ls", "--system", "--updates", "--columns=ref,version,commit,origin,download-size")
_UNITS = {"bytes": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4}


def present(host: Host) -> bool:
    return bool(host.find_program("flatpak")) and bool(
        host.glob("/var/lib/flatpak/app/*") + host.glob("/var/lib/flatpak/runtime/*")
    )


def read(notes: Notes) -> Reading:
    host = notes.host
    config = notes.read(CONFIG) or ""
    held = masked(config)
    refreshed_at = _refreshed_at(host)
    installed: dict[str, str] = {}
    offered: Sequence[Offer] = ()
    why = ""
    listed = notes.run(LIST, what="applications of flatpak", source="flatpak list", timeout=60)
    if listed is None or listed.exit_code != 0:
        why = complaint(listed) if listed else "flatpak did not answer"
    else:
        installed = parse_list(listed.stdout)
        # Kept summaries alone: the agent asks no remote for anything by itself.
        result = notes.run([*UPDATES, "--cached"], what="updates of flatpak", source="flatpak remote-ls", timeout=60)
        if result is None or result.exit_code != 0:
            why = complaint(result) if result else "flatpak did not answer"
        else:
            offered = parse_offers(result.stdout)
    if "No cached summary" in why:
        why = "the remotes' summaries were never fetched (flatpak update)"
    if why:
        notes.gap("updates of flatpak", why)
    return Reading(
        UpdateProvider(
            name=NAME,
            can=CAN,
            lists_refreshed_at=refreshed_at,
            security_sources=False,
            held=held,
            unknown_why=why,
        ),
        find_updates(offered, installed, held),
    )


Offer = tuple[str, str, str, int]
"""Name, version, remote, bytes to fetch."""


def parse_list(text: str) -> dict[str, str]:
    """Version by name in the output of ``flatpak list`` with our columns."""
    rows = [line.split("\t") for line in text.splitlines()]
    return {_name(row[0]): _version(row[1], row[2]) for row in rows if len(row) >= 3 and "/" in row[0]}


def parse_offers(text: str) -> list[Offer]:
    """The output of ``flatpak remote-ls --updates`` with our columns."""
    rows = [line.split("\t") for line in text.splitlines()]
    return [(_name(row[0]), _version(row[1], row[2]), row[3], _bytes(row[4])) for row in rows if len(row) == 5]


def find_updates(offers: Sequence[Offer], installed: Mapping[str, str], held: Sequence[str] = ()) -> tuple[Update, ...]:
    """What is offered for what is there, sorted by name."""
    return tuple(
        Update(
            name=name,
            installed=installed[name],
            candidate=version,
            security=False,
            origin=origin,
            held=is_masked(name, held),
            size_bytes=size,
            restart="none",
        )
        for name, version, origin, size in sorted(offers)
        if name in installed and commit(installed[name]) != commit(version)
    )


def commit(version: str) -> str:
    """The commit in a version as we write it: ``27.2.1+c9c3405212b0``."""
    return version.rpartition("+")[2]


def masked(config: str) -> tuple[str, ...]:
    """Patterns that ``flatpak mask`` keeps from being updated."""
    found = re.search(r"^xa\.masked=(.*)$", config, re.MULTILINE)
    return tuple(part for part in found[1].split(";") if part) if found else ()


def is_masked(name: str, patterns: Sequence[str]) -> bool:
    """Whether a mask covers a name: ``[KIND/]ID[/ARCH[/BRANCH]]``, where a part may be empty or hold ``*``."""
    parts = name.split("/")
    for pattern in patterns:
        wanted = pattern.removeprefix("app/").removeprefix("runtime/").split("/")
        tests = [(part or "*").replace("*", "\x00") for part in wanted]
        if all(
            re.fullmatch(".*".join(map(re.escape, test.split("\x00"))), part)
            for test, part in zip(tests, parts, strict=False)
        ):
            return True
    return False


def unchecked_remotes(config: str) -> set[str]:
    """Remotes whose commits are not checked against a key."""
    found = set()
    for section in re.split(r"^(?=\[)", config, flags=re.MULTILINE):
        remote = re.match(r'\[remote "([^"]+)"\]', section)
        if remote and not re.search(r"^gpg-verify=true\s*$", section, re.MULTILINE):
            found.add(remote[1])
    return found


def _name(ref: str) -> str:
    return ref.removeprefix("app/").removeprefix("runtime/")


def _version(version: str, commit: str) -> str:
    # What is no version in the eyes of the actions (blanks, brackets) is left out: the commit is what counts.
    plain = re.sub(r"[^A-Za-z0-9.+~:^_-]", "", version)
    return f"{plain}+{commit}" if plain and plain[0].isalnum() else commit


def _bytes(text: str) -> int:
    found = re.fullmatch(r"([\d.,]+)\s*(\w+)", text.strip().replace("\u00a0", " "))
    return int(float(found[1].replace(",", ".")) * _UNITS.get(found[2], 0)) if found else 0


def _refreshed_at(host: Host) -> datetime | None:
    times = []
    for path in host.glob(SUMMARIES):
        try:
            times.append(host.status(path).changed_ns)
        except HostError:
            continue
    return datetime.fromtimestamp(max(times) // 1_000_000_000, UTC) if times else None
