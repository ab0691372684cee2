"""A feed file, opened just far enough to tell what it is, and decoded with errors that say where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeVar

import msgspec

from forestall.server.vulnerabilities.feeds.errors import FeedError

T = TypeVar("T")

# English, whatever the machine speaks.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MONTHS = {name: place for place, name in enumerate(_MONTHS, 1)}

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}


@dataclass(slots=True, frozen=True)
class Item:
    """One JSON value of a file, and where it stands there."""

    raw: msgspec.Raw | bytes
    where: str


@dataclass
class Document:
    """The bytes of one file (of an archive: of one member), decompressed."""

    name: str
    data: bytes = field(repr=False)

    @cached_property
    def start(self) -> str:
        """The first 4 KiB as text."""
        return self.data[:4096].decode("utf-8", "replace").lstrip("\ufeff \t\r\n")

    @cached_property
    def is_json(self) -> bool:
        return self.start.startswith("{") or (self.start.startswith("[") and self.start[1:].lstrip()[:1] in '{["]')

    @cached_property
    def keys(self) -> dict[str, msgspec.Raw]:
        """The members of a JSON object; of anything else none."""
        try:
            return _OBJECT.decode(self.data) if self.start.startswith("{") else {}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """The objects of the file: of a list, of a file with one a line, or the one. Raises FeedError."""
        if self.start.startswith("["):
            try:
                values = _LIST.decode(self.data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise FeedError(self.name, _clean(error), where=_line(self.data, error)) from error
            return tuple(Item(value, f"[{place}]") for place, value in enumerate(values))
        if self.keys:
            return (Item(self.data, ""),)
        lines = self.data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        try:
            _OBJECT.decode(lines[0])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # Not one object a line: say what is wrong with the whole.
            try:
                _OBJECT.decode(self.data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise FeedError(self.name, _clean(error), where=_line(self.data, error)) from error
            return (Item(self.data, ""),)
        return tuple(Item(line, f"line {place}") for place, line in enumerate(lines, 1) if line.strip())

    @cached_property
    def first(self) -> dict[str, msgspec.Raw]:
        """The members of the first object; none when there is none."""
        if self.keys:
            return self.keys
        try:
            return _OBJECT.decode(self.items[0].raw) if self.items else {}
        except (FeedError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}

    @property
    def text(self) -> str:
        try:
            return self.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = self.data.count(b"\n", 0, error.start) + 1
            raise FeedError(self.name, f"byte {error.start} is no UTF-8", where=f"line {line}") from error

    def each(self, type_: type[T]) -> Iterator[tuple[T, str]]:
        """Every object as ``type_``, and where it stands."""
        for item in self.items:
            yield self.decode(item.raw, type_, item.where), item.where

    def whole(self, type_: type[T]) -> T:
        """The file as one ``type_``."""
        return self.decode(self.data.removeprefix(b"\xef\xbb\xbf"), type_, "")

    def decode(self, raw: msgspec.Raw | bytes, type_: type[T], where: str) -> T:
        """Decode a part of the file; the error says the file, the place and the bad value's path."""
        decoder = _DECODERS.get(type_)
        if decoder is None:
            decoder = _DECODERS[type_] = msgspec.json.Decoder(type_)
        try:
            found: T = decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
            raise FeedError(self.name, _clean(error), where=where or _line(self.data, error)) from error
        return found

    def fail(self, why: str, where: str = "") -> FeedError:
        return FeedError(self.name, why, where=where)


def _clean(error: Exception) -> str:
    return str(error) or type(error).__name__


def _line(data: bytes, error: Exception) -> str:
    """``line 7``, where the decoder names the byte."""
    _, found, byte = str(error).partition("(byte ")
    digits = byte.partition(")")[0]
    return f"line {data.count(bytes((10,)), 0, int(digits)) + 1}" if found and digits.isdigit() else ""


def utc(moment: datetime | None) -> datetime | None:
    """Moments that name no time zone are meant in UTC."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
