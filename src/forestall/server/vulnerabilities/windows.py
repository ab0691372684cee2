"""Windows' branches and builds."""

from __future__ import annotations

import re

# Branches that share one update: the second number of the build is the same in all of them.
FAMILIES = (
    ("19041", "19042", "19043", "19044", "19045"),
    ("22621", "22631"),
    ("26100", "26200"),
)
# How feeds call a system → its branch.
BRANCHES = {
    "windows server 2012": "9200",
    "windows server 2012 r2": "9600",
    "windows server 2016": "14393",
    "windows server 2019": "17763",
    "windows server 2022": "20348",
    "windows server 2022, 23h2 edition": "25398",
    "windows server 2025": "26100",
    "windows 10 version 1607": "14393",
    "windows 10 version 1809": "17763",
    "windows 10 version 20h2": "19042",
    "windows 10 version 21h1": "19043",
    "windows 10 version 21h2": "19044",
    "windows 10 version 22h2": "19045",
    "windows 11 version 21h2": "22000",
    "windows 11 version 22h2": "22621",
    "windows 11 version 23h2": "22631",
    "windows 11 version 24h2": "26100",
    "windows 11 version 25h2": "26200",
}
BUILD = re.compile(r"(?:(?:10\.0|6\.[0-3])\.)?([0-9]{4,5})\.([0-9]+)")


def split_build(version: str) -> tuple[str, str] | None:
    """Branch and build of a version: ``10.0.20348.4648`` is 20348 and 20348.4648; None: not a build of Windows."""
    found = BUILD.fullmatch(version.strip())
    return (found[1], f"{found[1]}.{found[2]}") if found else None


def branches_of(system: str, build: str) -> tuple[tuple[str, str], ...]:
    """Branches that an update is for, each with the build that has it.

    Feeds name a system and a build, and now and then the two are of different branches of one family (Windows 10 22H2
    with 19044.6093): then it is for both, the second number being the same. What is no Windows build (.NET) has none.
    """
    found = split_build(build)
    if found is None:
        return ()
    branch, whole = found
    name = re.sub(r" for \S+ systems| \(server core installation\)", "", system.lower()).strip()
    named = BRANCHES.get(name, branch)
    if named == branch or not any({named, branch} <= set(family) for family in FAMILIES):
        return ((branch, whole),)
    return ((branch, whole), (named, f"{named}.{whole.partition('.')[2]}"))
