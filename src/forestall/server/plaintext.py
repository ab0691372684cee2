"""Text of others, written where it could be taken for something else: a cell of a spreadsheet, a line of a log."""

from __future__ import annotations

import logging
import re
from types import TracebackType

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_LAYOUT = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Controls, ends of lines of every kind, and what turns the direction of reading round."""


def cell_inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: such text gets a leading apostrophe."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def on_one_line(text: str) -> str:
    """Everything that would end a line, move a cursor or turn the reading round, written out: ``\\n``, ``\\x1b``."""
    return _LAYOUT.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class OneLineFormatter(logging.Formatter):
    """A record is one line, whatever its words are; a traceback follows indented, so that no line of it looks like a
    record of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        record.message = on_one_line(record.message)
        return super().formatMessage(record)

    def formatException(  # noqa: N802 - the library's name
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        return "\n".join(f"  {on_one_line(line)}" for line in super().formatException(ei).splitlines())
