"""What a capture is: an output that was saved to a file, read into a facts document.

A capture never guesses: a line that it does not understand is *unread* and told with its number, and a file that is
damaged or something else altogether is refused in one sentence. Files come from anywhere (a support case, another
system, a log that was cut), so everything here is bounded and no input may bring a traceback.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from forestall.wire.facts import Document, Gap

T = TypeVar("T")

MAX_FILE_BYTES = 64 * 1024 * 1024
"""Most of one captured file that is read."""
MAX_UNREAD = 1000
"""Unread lines told for one file; what is beyond is counted."""
_SHOWN_CHARACTERS = 200


class CaptureError(ValueError):
    """A file that is not what it is said to be, or damaged. ``line`` 0: the file as a whole."""

    def __init__(self, file: str, line: int, why: str) -> None:
        super().__init__(f"{file}:{line}: {why}" if line else f"{file}: {why}")
        self.file = file
        self.line = line
        self.why = why


@dataclass(frozen=True, slots=True)
class CapturedFile:
    """A saved output and what the person calls it. The name is for messages, and for tools that print none."""

    name: str
    data: bytes

    def text(self) -> str:
        """As text: UTF-8, UTF-16 with its mark (as Windows PowerShell saves), or Windows' Latin; unpacked from gzip.

        CaptureError for what is no text, and for more than ``MAX_FILE_BYTES``.
        """
        data = self.data
        if data.startswith(b"\x1f\x8b"):
            data = self._unpacked()
        if len(data) > MAX_FILE_BYTES:
            raise CaptureError(self.name, 0, f"more than {MAX_FILE_BYTES:,} bytes, the most that are read")
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            try:
                return data.decode("utf-16")
            except UnicodeDecodeError as error:
                raise CaptureError(self.name, 0, f"begins as UTF-16 and is damaged: {error.reason}") from None
        if b"\x00" in data:
            line = data.count(b"\n", 0, data.index(b"\x00")) + 1
            raise CaptureError(self.name, line, "holds zero bytes: it is no text, or damaged")
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            return data.decode("cp1252", errors="replace")

    def _unpacked(self) -> bytes:
        import zlib

        unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            # One byte more than is read, so that a bomb is known as too large and never unpacked.
            return unpacking.decompress(self.data, MAX_FILE_BYTES + 1)
        except zlib.error as error:
            raise CaptureError(self.name, 0, f"begins as gzip and is damaged: {error}") from None

    def lines(self) -> list[Line]:
        """Its lines, numbered from 1, without their ends. CaptureError as for ``text``."""
        # Not splitlines(): it also splits at form feeds and the like, and editors would count differently.
        text = self.text().replace("\r\n", "\n").replace("\r", "\n")
        return [Line(number, line) for number, line in enumerate(text.split("\n"), 1)]

    def json(self) -> Any:
        """Its JSON value. CaptureError with the line where it stops being JSON."""
        text = self.text()
        if not text.strip():
            raise CaptureError(self.name, 0, "is empty")
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise CaptureError(self.name, error.lineno, f"is not JSON: {error.msg} (column {error.colno})") from None
        except RecursionError:
            raise CaptureError(self.name, 0, "is JSON nested too deeply to be read") from None

    def json_object(self) -> dict[str, Any]:
        """Its JSON object. CaptureError when it is another value."""
        value = self.json()
        if not isinstance(value, dict):
            raise CaptureError(self.name, 1, f"is JSON, yet no object (it is a {type(value).__name__})")
        return value

    def line_of(self, fragment: str) -> int:
        """Number of the first line that holds ``fragment``: where to point in JSON; 0 when none does."""
        at = self.data.find(fragment.encode())
        return 0 if at < 0 else self.data.count(b"\n", 0, at) + 1


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Unread:
    """Something in a file that was not understood. ``line`` 0: the file as a whole."""

    file: str
    line: int
    text: str
    why: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.why}" + (f": {self.text}" if self.text else "")


@dataclass(frozen=True, slots=True)
class Parsed:
    """What came of a set of files. ``document`` None: nothing in them could be read."""

    document: Document | None
    unread: tuple[Unread, ...] = ()


@dataclass(frozen=True, slots=True)
class Capture:
    """One kind of saved output. ``captures/__init__.py`` lists the modules that define them."""

    name: str
    """As in ``forestall facts parse NAME FILE…``: ``smartctl``, ``mdadm``."""
    title: str
    """``Disk health by smartctl``."""
    document: type[Document]
    """The facts document it makes."""
    files: str
    """What to give, in words with the command: ``output of `smartctl --json --all DEVICE`, one file a disk``."""
    read: Callable[[Sequence[CapturedFile]], Parsed]
    """Files → document. Raises CaptureError when nothing in them can be read; ``parse`` calls it."""

    def parse(self, files: Sequence[CapturedFile]) -> Parsed:
        """The document of these files and what in them was not understood. Never raises.

        A file that cannot be read at all is named in ``unread``; when that is true of all, there is no document.
        """
        if not files:
            return Parsed(None, (Unread("", 0, "", f"no file was given; {self.name} needs {self.files}"),))
        try:
            parsed = self.read(files)
        except CaptureError as error:
            return Parsed(None, (Unread(error.file, error.line, "", error.why),))
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            # A parser that stumbles is our mistake, and the file is the one thing that shows it.
            why = f"the parser stumbled ({type(error).__name__}: {str(error)[:_SHOWN_CHARACTERS]}); please report it"
            return Parsed(None, (Unread(files[0].name, 0, "", f"{why} with the file"),))
        if parsed.document is None:
            return parsed
        sources = parsed.document.sources or tuple(file.name for file in files)
        gaps = parsed.document.gaps
        if parsed.unread and not gaps:
            gaps = (Gap(what="captured output", why=f"not understood: {_amount(len(parsed.unread))}"),)
        document: Document = msgspec.structs.replace(parsed.document, sources=sources, gaps=gaps)
        return Parsed(document, parsed.unread)


def _amount(count: int) -> str:
    return "1 line" if count == 1 else f"{count} lines"


class Reading:
    """A text file that is read line by line; what nobody took is unread.

    ``for line in reading: if …: reading.take(line)``; then ``reading.unread("no line of an mdstat file")``.
    """

    def __init__(self, file: CapturedFile) -> None:
        self.file = file
        self.lines = file.lines()
        self._taken: set[int] = set()
        self._odd: dict[int, str] = {}

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)

    def take(self, *lines: Line) -> None:
        """These lines are understood, or of no interest."""
        self._taken.update(line.number for line in lines)

    def odd(self, line: Line, why: str) -> None:
        """This line is of a known kind and yet cannot be read: ``why`` says what is wrong with it."""
        self._odd.setdefault(line.number, why)

    @property
    def took_any(self) -> bool:
        return bool(self._taken)

    def error(self, line: Line | None, why: str) -> CaptureError:
        """To be raised: the file cannot be read, because of this line or as a whole."""
        return CaptureError(self.file.name, line.number if line else 0, why)

    def unread(self, why: str = "not understood") -> tuple[Unread, ...]:
        """Every line with something on it that was not taken, and every odd one; at most ``MAX_UNREAD``."""
        found = [
            Unread(self.file.name, line.number, line.text.strip()[:_SHOWN_CHARACTERS], self._odd.get(line.number, why))
            for line in self.lines
            if line.text.strip() and (line.number not in self._taken or line.number in self._odd)
        ]
        if len(found) > MAX_UNREAD:
            rest = len(found) - MAX_UNREAD
            found = [*found[:MAX_UNREAD], Unread(self.file.name, 0, "", f"{_amount(rest)} more not understood")]
        return tuple(found)


def read_each(
    files: Sequence[CapturedFile],
    read: Callable[[CapturedFile], tuple[Sequence[T], Sequence[Unread]]],
    make: Callable[[list[T]], Document],
) -> Parsed:
    """Read files one by one and make a document of what they hold together.

    A file that ``read`` refuses (CaptureError) is named and does not cost the others; when it refuses all, there is
    no document.
    """
    items: list[T] = []
    unread: list[Unread] = []
    good: list[str] = []
    for file in files:
        try:
            found, odd = read(file)
        except CaptureError as error:
            unread.append(Unread(error.file, error.line, "", error.why))
            continue
        good.append(file.name)
        items.extend(found)
        unread.extend(odd)
    if not good:
        return Parsed(None, tuple(unread))
    document = make(items)
    return Parsed(msgspec.structs.replace(document, sources=document.sources or tuple(good)), tuple(unread))
