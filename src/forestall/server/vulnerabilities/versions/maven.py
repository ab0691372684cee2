"""Maven versions, as ``ComparableVersion`` has them.

Split at ``.``, ``-`` and between digits and letters; ``alpha`` < ``beta`` < ``milestone`` < ``rc`` < ``snapshot`` <
nothing (``ga``, ``final``, ``release``) < ``sp`` < other words < lists < numbers. A hyphen, or a step between digits
and letters, begins a list of its own; what is nothing at the end of a list does not count. Where one version is at its
end, the other's next item is compared with nothing: that cannot be written as bytes, hence a class.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering
from itertools import zip_longest

TOKENS = re.compile(r"([.-]?)([0-9]+|[^0-9.-]+)")
QUALIFIERS = {
    "alpha": 1,
    "beta": 2,
    "milestone": 3,
    "rc": 4,
    "cr": 4,
    "snapshot": 5,
    "": 6,
    "ga": 6,
    "final": 6,
    "release": 6,
    "sp": 7,
}
NOTHING = 6
OTHER_WORD = 8
SHORT = {"a": "alpha", "b": "beta", "m": "milestone"}

Item = int | tuple[int, str] | list["Item"]


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class MavenKey:
    """A version, taken apart; compares as Maven does."""

    items: list[Item]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MavenKey) and _compare(self.items, other.items) == 0

    def __lt__(self, other: MavenKey) -> bool:
        return _compare(self.items, other.items) < 0

    def __hash__(self) -> int:
        return hash(str(self.items))


def key(version: str) -> MavenKey:
    """The version, comparable."""
    lists: list[list[Item]] = [[]]
    last_digits = False
    matches = list(TOKENS.finditer(version.strip().lower()))
    for place, found in enumerate(matches):
        separator, token = found.groups()
        digits = token[0].isascii() and token[0].isdigit()
        if place and (separator == "-" or (not separator and digits != last_digits)):
            fresh: list[Item] = []
            lists[-1].append(fresh)
            lists.append(fresh)
        if digits:
            lists[-1].append(int(token[:400]))
        else:
            following = matches[place + 1] if place + 1 < len(matches) else None
            if following is not None and not following[1]:
                token = SHORT.get(token, token)
            rank = QUALIFIERS.get(token)
            lists[-1].append((OTHER_WORD, token) if rank is None else (rank, ""))
        last_digits = digits
    for items in reversed(lists):  # the inner ones first
        _trim(items)
    return MavenKey(lists[0])


def _trim(items: list[Item]) -> None:
    for place in range(len(items) - 1, -1, -1):
        item = items[place]
        if item in (0, (NOTHING, ""), []):
            del items[place]
        elif not isinstance(item, list):
            break


def _compare(one: list[Item], other: list[Item]) -> int:
    for a, b in zip_longest(one, other):
        result = -_against(b, None) if a is None else _against(a, b)
        if result:
            return result
    return 0


def _against(a: Item, b: Item | None) -> int:
    if b is None:
        if isinstance(a, int):
            return int(a > 0)
        if isinstance(a, tuple):
            return (a[0] > NOTHING) - (a[0] < NOTHING)
        return next((result for item in a if (result := _against(item, None))), 0)
    if isinstance(a, int) and isinstance(b, int):
        return (a > b) - (a < b)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return (a > b) - (a < b)
    if isinstance(a, list) and isinstance(b, list):
        return _compare(a, b)
    return (_kind(a) > _kind(b)) - (_kind(a) < _kind(b))


def _kind(item: Item) -> int:
    return 2 if isinstance(item, int) else 0 if isinstance(item, tuple) else 1
