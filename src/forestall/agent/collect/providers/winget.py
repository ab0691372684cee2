"""winget: the table of ``winget upgrade``, which is made for people: widths and words change with every system.

Its columns are found by their order and by where the heading's words begin, not by the words, which are translated;
characters that take two places on a screen count as two. There is no agent for Windows yet: this has read outputs
written after those that people published, and never ran on Windows.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes, complaint
from forestall.agent.collect.providers import Reading
from forestall.wire.facts import Update, UpdateProvider

NAME = "winget"
KIND: Literal["application"] = "application"
CAN = ("list",)
_ARGV = ("winget.exe", "upgrade", "--include-unknown", "--accept-source-agreements", "--disable-interactivity")


def present(host: Host) -> bool:
    return bool(host.find_program("winget.exe"))


def read(notes: Notes) -> Reading:
    result = notes.run(_ARGV, what="updates of winget", source="winget upgrade", timeout=120)
    if result is None or (result.exit_code != 0 and not result.stdout.strip()):
        why = complaint(result) if result else "winget did not answer"
        notes.gap("updates of winget", why)
        return Reading(UpdateProvider(name=NAME, can=CAN, unknown_why=why))
    return Reading(UpdateProvider(name=NAME, can=CAN, security_sources=False), find_updates(result.stdout))


def find_updates(text: str) -> tuple[Update, ...]:
    """Rows of every table in the output; the same package in two rows (two installations) is one update."""
    found: dict[str, Update] = {}
    starts: list[int] = []
    heading = ""
    # A progress bar is drawn over itself with carriage returns: only what was drawn last counts.
    for line in (each.rstrip("\r").rpartition("\r")[2] for each in text.split("\n")):
        if re.fullmatch(r"\s*-{10,}\s*", line):
            starts = [_width(heading[: each.start()]) for each in re.finditer(r"\S+", heading)]
        elif len(starts) >= 4 and line.strip():
            cells = _cells(line, starts)
            _, identity, version, available = cells[:4]
            if not identity or " " in identity or not re.match(r"\S*\d", available):
                starts = []  # "6 upgrades available." and the sentences behind it
            elif identity not in found:
                found[identity] = Update(
                    name=identity,
                    installed=version.removeprefix("< ").removeprefix("> "),
                    candidate=available,
                    security=False,
                    origin=cells[4] if len(cells) > 4 else "",
                )
        else:
            starts = starts if line.strip() else []
            heading = line
    return tuple(found[identity] for identity in sorted(found, key=str.lower))


def _cells(line: str, starts: list[int]) -> list[str]:
    cells = []
    for number, start in enumerate(starts):
        end = starts[number + 1] if number + 1 < len(starts) else None
        cells.append(_between(line, start, end).strip())
    return cells


def _between(line: str, start: int, end: int | None) -> str:
    at, text = 0, ""
    for character in line:
        if at >= start and (end is None or at < end):
            text += character
        at += _width(character)
    return text


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else not unicodedata.combining(each) for each in text)
