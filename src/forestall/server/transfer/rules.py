"""What a list may look like: kinds, columns, and how a file of lines is read. No I/O."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

MOST_BYTES = 2_000_000
MOST_LINES = 2_000
"""Preview and import are one transaction: a longer list comes in parts."""
DELIMITERS = ",;\t|"


class TableError(ValueError):
    """A file that cannot be read as a list; the text says where and why."""


def _text(value: str) -> str:
    return value


def _date(value: str) -> date:
    for form in ("%Y-%m-%d", "%d.%m.%Y"):
        try:
            return datetime.strptime(value, form).date()  # noqa: DTZ007 - a day of a calendar has no zone
        except ValueError:
            continue
    raise ValueError(f"{value!r} is not a date such as 2026-11-23 or 23.11.2026")


def _yes_or_no(value: str) -> bool:
    if value.lower() in {"yes", "y", "true", "1", "x"}:
        return True
    if value.lower() in {"no", "n", "false", "0"}:
        return False
    raise ValueError(f"{value!r} is neither yes nor no")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list. An empty cell leaves what is there as it is."""

    name: str
    words: str
    """What stands in it, for people."""
    required: bool = False
    also: Sequence[str] = ()
    """Other headings it is known by."""
    read: Callable[[str], Any] = _text


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of list."""

    slug: str
    title: str
    words: str
    columns: Sequence[Column]
    example: Sequence[str]
    """A line, in the order of the columns."""


KINDS: Mapping[str, Kind] = {
    kind.slug: kind
    for kind in (
        Kind(
            slug="clients",
            title="Clients",
            words="One client a line. A client that is there already, by name, is changed.",
            columns=(
                Column("name", "what it is called", required=True, also=("client", "company", "customer")),
                Column("timezone", "IANA name", also=("time zone", "tz")),
                Column("country", "two letters, for public holidays"),
                Column("region", "as the holidays know it: BY, ENG", also=("state", "province")),
                Column("reference", "your own number for it", also=("number", "customer number", "id")),
                Column("operating_model", "outsourced, co_managed, in_house, hourly", also=("operating model",)),
                Column("sla_tier", "slug of a tier", also=("sla", "sla tier", "tier")),
                Column("notes", "anything", also=("remarks", "comment")),
            ),
            example=("Acme Bakery", "Europe/Berlin", "DE", "BY", "K-1001", "outsourced", "standard", ""),
        ),
        Kind(
            slug="sites",
            title="Sites",
            words="One site a line; its client must be there. A site that is there already is changed.",
            columns=(
                Column("client", "name or number of its client", required=True, also=("company", "customer")),
                Column("name", "what it is called", required=True, also=("site", "location")),
                Column("timezone", "only if it differs from the client's", also=("time zone", "tz")),
                Column("country", "only if it differs from the client's"),
                Column("region", "only if it differs from the client's", also=("state", "province")),
                Column("address", "where it is"),
            ),
            example=("Acme Bakery", "Munich", "", "", "", "Marienplatz 1, 80331 Munich"),
        ),
        Kind(
            slug="contacts",
            title="Contacts",
            words="Whom to call, one a line. Somebody of that name at that client is changed.",
            columns=(
                Column("client", "name or number of the client", required=True, also=("company", "customer")),
                Column("name", "of the person", required=True, also=("contact", "full name")),
                Column("site", "only if they belong to one site", also=("location",)),
                Column("email", "e-mail address", also=("e-mail", "mail", "email address")),
                Column("phone", "telephone", also=("telephone", "mobile", "tel")),
                Column("duty", "what for", also=("role", "title", "function")),
                Column("primary", "yes for the first one to call", also=("is primary",), read=_yes_or_no),
            ),
            example=("Acme Bakery", "Carla Conti", "Munich", "carla@acme.example", "+49 89 1", "IT contact", "yes"),
        ),
        Kind(
            slug="people",
            title="People",
            words="Those who sign in, one a line, without a password: each chooses one by a link. Nobody is changed.",
            columns=(
                Column("username", "with which they sign in", required=True, also=("user", "login", "user name")),
                Column("name", "as others see it", also=("display name", "display_name", "full name")),
                Column("email", "e-mail address", also=("e-mail", "mail", "email address")),
                Column("role", "technician, client_user, … or a role of your own", required=True),
                Column("client", "where the role counts; empty: everywhere", also=("company", "customer")),
                Column("site", "only if it counts at one site", also=("location",)),
            ),
            example=("carla", "Carla Conti", "carla@acme.example", "client_manager", "Acme Bakery", ""),
        ),
        Kind(
            slug="assets",
            title="Assets",
            words="What a client owns, one a line. What is there already, by serial number or name, is changed.",
            columns=(
                Column("client", "name or number of the client", required=True, also=("company", "customer")),
                Column("site", "where it stands", required=True, also=("branch",)),
                Column("name", "what it is called", required=True, also=("asset", "hostname", "device", "computer")),
                Column("role", "server, endpoint, network, printer, cloud, other", also=("type", "kind", "category")),
                Column("manufacturer", "who made it", also=("vendor", "brand", "make")),
                Column("model", "which one", also=("product",)),
                Column("serial", "serial number", also=("serial number", "serial_number", "sn", "service tag")),
                Column("location", "room, rack", also=("room",)),
                Column("bought_on", "day", also=("bought on", "purchased", "purchase date"), read=_date),
                Column("warranty_until", "day", also=("warranty until", "warranty", "warranty end"), read=_date),
                Column("notes", "anything", also=("remarks", "comment")),
            ),
            example=(
                "Acme Bakery", "Munich", "till-01", "endpoint", "Lenovo", "M70q", "PF3X1", "shop floor",
                "2024-03-01", "2027-02-28", "",
            ),
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a list."""

    number: int
    """In the file, from 1; the heading is line 1."""
    values: Mapping[str, Any]
    """Column → value; empty cells are left out."""
    errors: Sequence[str] = field(default_factory=tuple)


def kind_of(slug: str) -> Kind:
    """TableError when there is no such kind of list."""
    if slug not in KINDS:
        raise TableError(f"kind: {slug[:80]!r} is none of {', '.join(KINDS)}")
    return KINDS[slug]


def template(kind: Kind) -> str:
    """An example file: heading and one line."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([column.name for column in kind.columns])
    writer.writerow(kind.example)
    return out.getvalue()


def read_lines(content: bytes, kind: Kind) -> list[Line]:
    """The lines of a CSV file with a heading. Commas, semicolons, tabs or bars; UTF-8 or Windows-1252.

    TableError for a file that cannot be read at all; what is wrong in one line stands in that line.
    """
    if len(content) > MOST_BYTES:
        raise TableError(f"the file has {len(content):,} bytes, at most {MOST_BYTES:,}")
    text = decode(content)
    if "\0" in text:
        raise TableError("this is no text file: it holds zero bytes")
    first = next((line for line in text.splitlines() if line.strip()), "")
    if not first:
        raise TableError("the file is empty")
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines: list[Line] = []
    columns: list[Column | None] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not columns:
                columns = _columns(cells, kind)
                continue
            if len(lines) == MOST_LINES:
                raise TableError(f"more than {MOST_LINES:,} lines: split the file")
            lines.append(_line(reader.line_num, cells, columns, kind))
    except csv.Error as error:
        raise TableError(f"line {reader.line_num}: {error}") from None
    if not lines:
        raise TableError("there is a heading and no line under it")
    return lines


def decode(content: bytes) -> str:
    """The text of a file: UTF-8, or what spreadsheets on Windows write. TableError when it is neither."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            return content.decode("cp1252")
        except UnicodeDecodeError as error:
            raise TableError(f"byte {error.start}: neither UTF-8 nor Windows-1252") from None


def _columns(heading: Sequence[str], kind: Kind) -> list[Column | None]:
    known = {_plain(name): column for column in kind.columns for name in (column.name, *column.also)}
    columns: list[Column | None] = []
    for cell in heading:
        column = known.get(_plain(cell))
        if column is None and cell.strip():
            names = ", ".join(column.name for column in kind.columns)
            raise TableError(f"column {cell.strip()[:80]!r} is not known here; known: {names}")
        if column is not None and column in columns:
            raise TableError(f"column {cell.strip()[:80]!r} is there twice")
        columns.append(column)
    missing = [column.name for column in kind.columns if column.required and column not in columns]
    if missing:
        raise TableError(f"column {missing[0]!r} is missing in the first line")
    return columns


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().lower()


def _line(number: int, cells: Sequence[str], columns: Sequence[Column | None], kind: Kind) -> Line:
    values: dict[str, Any] = {}
    errors: list[str] = []
    beyond = [cell for cell in cells[len(columns) :] if cell.strip()]
    if beyond:
        errors.append(f"{beyond[0].strip()[:80]!r} stands beyond the last column")
    for column, cell in zip(columns, cells, strict=False):
        value = cell.strip()
        if column is None:
            if value:
                errors.append(f"{value[:80]!r} stands under no heading")
            continue
        if not value:
            continue
        try:
            values[column.name] = column.read(value)
        except ValueError as error:
            errors.append(f"{column.name}: {error}")
    errors += [
        f"{column.name}: missing" for column in kind.columns if column.required and column.name not in values
        and not any(one.startswith(f"{column.name}:") for one in errors)
    ]  # fmt: skip
    return Line(number=number, values=values, errors=tuple(errors))
