"""What a monitoring plugin prints: text, long text and performance data.

The form is that of the Monitoring Plugins Development Guidelines: one line of text, after the first ``|`` values
(``'label'=value[unit];[warn];[critical];[min];[max]``); further lines are long text until one has a ``|``, from where
on everything is values again. Nothing here raises: what is no value is told as such, and the others are kept.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from forestall.wire.facts import PerformanceValue

MOST_TEXT = 500
MOST_LONG_TEXT = 4000
MOST_VALUES = 64
"""Of one plugin; more are counted, not kept."""

_NUMBER = r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?"
_VALUE = re.compile(rf"(?P<number>{_NUMBER}|U)(?P<unit>[^\d;\s'=][^;\s'=]*)?")
_RANGE = re.compile(rf"@?(?:(?:~|{_NUMBER})?:)?(?:{_NUMBER})?")


@dataclass(frozen=True, slots=True)
class PluginOutput:
    """A plugin's output in its parts."""

    text: str
    long_text: str
    performance: tuple[PerformanceValue, ...]
    unread: tuple[str, ...]
    """Words among the performance data that are no value, and how many values were too many."""


def parse_output(output: str) -> PluginOutput:
    """The parts of what a plugin printed. Control characters become blanks."""
    lines = [_clean(line) for line in output.replace("\r\n", "\n").split("\n")]
    text, _, data = lines[0].partition("|")
    long_lines: list[str] = []
    pieces = [data]
    in_data = False
    for line in lines[1:]:
        if in_data:
            pieces.append(line)
            continue
        before, bar, after = line.partition("|")
        long_lines.append(before.rstrip())
        if bar:
            in_data = True
            pieces.append(after)
    values, unread = parse_performance(" ".join(pieces))
    return PluginOutput(
        text=text.strip()[:MOST_TEXT],
        long_text="\n".join(long_lines).strip()[:MOST_LONG_TEXT],
        performance=values,
        unread=unread,
    )


def parse_performance(data: str) -> tuple[tuple[PerformanceValue, ...], tuple[str, ...]]:
    """The values in performance data, each label once (the first counts), and the words that are none."""
    found: dict[str, PerformanceValue] = {}
    unread: list[str] = []
    left = 0
    for word in _words(data):
        value = _value(word)
        if value is None:
            unread.append(word[:100])
        elif value.label in found:
            unread.append(f"{word[:80]} (the label is there twice)")
        elif len(found) >= MOST_VALUES:
            left += 1
        else:
            found[value.label] = value
    if left:
        unread.append(f"{left} more than the {MOST_VALUES} values that are kept")
    return tuple(found.values()), tuple(unread[:20])


def format_value(value: PerformanceValue) -> str:
    """``value`` as a plugin would write it; ``parse_performance`` reads it back."""
    label = value.label.replace("'", "''")
    number = "U" if value.value is None else repr(value.value)
    rest = [value.warn, value.critical, *("" if end is None else repr(end) for end in (value.minimum, value.maximum))]
    return f"'{label}'={number}{value.unit};{';'.join(rest)}".rstrip(";")


def _words(data: str) -> list[str]:
    """Split at blanks that stand outside of quotes."""
    words, word, quoted = [], "", False
    for sign in data:
        if sign == "'":
            quoted = not quoted
        if sign.isspace() and not quoted:
            if word:
                words.append(word)
            word = ""
        else:
            word += sign
    if word:
        words.append(word)
    return words


def _value(word: str) -> PerformanceValue | None:
    if word.startswith("'"):
        # A quote inside of a label is written twice.
        end = 1
        while end < len(word):
            if word[end] != "'":
                end += 1
            elif word[end + 1 : end + 2] == "'":
                end += 2
            else:
                break
        label, rest = word[1:end].replace("''", "'"), word[end + 1 :]
        if not rest.startswith("="):
            return None
        rest = rest[1:]
    else:
        label, equals, rest = word.partition("=")
        if not equals:
            return None
    label = label.strip()
    fields = rest.split(";")
    match = _VALUE.fullmatch(fields[0])
    if not label or match is None or len(fields) > 5 + 1 or any(fields[5:]):
        return None
    warn, critical, low, high = (*fields[1:5], "", "", "", "")[:4]
    if not (_RANGE.fullmatch(warn) and _RANGE.fullmatch(critical)):
        return None
    ends = [_number(low), _number(high)]
    if (low and ends[0] is None) or (high and ends[1] is None):
        return None
    number = None if match["number"] == "U" else _number(match["number"])
    if number is None and match["number"] != "U":
        return None
    return PerformanceValue(
        label=label[:100], value=number, unit=(match["unit"] or "")[:20], warn=warn[:40], critical=critical[:40],
        minimum=ends[0], maximum=ends[1],
    )  # fmt: skip


def _number(text: str) -> float | None:
    """A finite number, also with a decimal comma; None for anything else."""
    if not re.fullmatch(_NUMBER, text):
        return None
    value = float(text.replace(",", "."))
    return value if math.isfinite(value) else None


def _clean(line: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in line)
