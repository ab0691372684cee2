"""The parts that every page is made of. Each has one template in ``templates/parts``, one section in the stylesheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.http import QueryDict
from django.template.loader import render_to_string
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from forestall.server.checks.result import Status
from forestall.server.console import words

Html = SafeString | str
"""Text is escaped where it is shown; a SafeString was built by ``format_html``."""


# --- cells ---------------------------------------------------------------------------------------------------


def link(href: str, text: str, sub: Html = "") -> SafeString:
    """A link with a quieter line under it."""
    if sub:
        return format_html('<a href="{}">{}</a><span class="sub">{}</span>', href, text, sub)
    return format_html('<a href="{}">{}</a>', href, text)


def text(value: Html, sub: Html = "") -> SafeString:
    if sub:
        return format_html('{}<span class="sub">{}</span>', value, sub)
    return format_html("{}", value)


def status(value: str, word: str = "") -> SafeString:
    """Shape, word and colour of a check's answer. ``word`` says more than the status does: ``2 checks fail``."""
    return format_html('<span class="status status-{}">{}</span>', value, word or value)


def shape(value: str) -> SafeString:
    """The shape alone; the word is there for those who listen."""
    return format_html('<span class="shape shape-{}"><span class="visually-hidden">{}</span></span>', value, value)


def tag(word: str, kind: str = "") -> SafeString:
    return format_html('<span class="tag{}">{}</span>', f" tag-{kind}" if kind else "", word)


def none(why: str, word: str = "none") -> SafeString:
    """Nothing there; says why on hover. Not the same as zero, which is written 0."""
    return format_html('<span class="none" title="{}">{}</span>', why, word)


def moment(at: datetime | None, now: datetime, never: str = "never") -> SafeString:
    """How long ago, with the exact time on hover; the browser keeps it true."""
    if at is None:
        return format_html('<span class="none">{}</span>', never)
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>',
        at.isoformat(timespec="seconds"),
        words.exact(at),
        words.ago(at, now),
    )


def exact_moment(at: datetime, shown: str) -> SafeString:
    """A time written as ``shown`` (``Mon 09:00``), with the exact time on hover."""
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', at.isoformat(timespec="seconds"), words.exact(at), shown
    )


def joined(items: Iterable[Html], separator: str = " · ") -> SafeString:
    return format_html_join(separator, "{}", ((item,) for item in items if item))


# --- clock ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Clock:
    """The SLA clock as a bar. It counts working time, so its words say when it counts again."""

    spent: float
    """Share of the allowance used: 0 to 1, and beyond when it is breached."""
    words: str
    """``2 h 10 min left, resumes Mon 09:00``."""
    state: str
    """``running``, ``warn``, ``breached``, ``paused``, ``done``."""
    title: str = ""
    """What it measures, for hover: ``Response within 4 working hours, by Mon 23 Nov 15:40``."""
    large: bool = False

    @property
    def width(self) -> str:
        return f"{100 * min(max(self.spent, 0), 1):.1f}"


def clock(value: Clock | None) -> SafeString:
    if value is None:
        return none("no promise applies", "no clock")
    marks = SafeString('<path class="mark" d="M50 0V6M75 0V6M90 0V6"/>')
    return format_html(
        '<span class="clock clock-{}{}" title="{}"><svg viewBox="0 0 100 6" preserveAspectRatio="none" '
        'aria-hidden="true"><rect class="track" width="100" height="6" rx="1"/>'
        '<rect class="spent" width="{}" height="6" rx="1"/>{}</svg><span class="words">{}</span></span>',
        value.state,
        " clock-large" if value.large else "",
        value.title,
        value.width,
        marks,
        value.words,
    )


# --- table ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Empty:
    """What an empty page teaches: what would be here, why it is not, and what brings it."""

    title: str
    why: str
    command: str = ""
    href: str = ""
    action: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column. On a phone only ``lead`` and ``second`` stay."""

    title: str
    css: str = ""
    """``lead``, ``second``, ``num``, ``wide``."""
    sort: str = ""
    """Name in the address's ``sort``; empty: not sortable."""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    cells: Sequence[Html]
    key: str = ""
    """Identity on the page: keeps the cursor on it when the page updates in place."""
    pick: str = ""
    """Value of its tick box; empty: it cannot be picked."""
    pick_label: str = ""
    group: str = ""
    """Rows that follow each other with the same group stand under one heading."""


@dataclass(frozen=True, slots=True)
class Head:
    title: str
    css: str
    href: str
    sorted: str
    hint: str


@dataclass(frozen=True, slots=True)
class Pages:
    """Which stretch of the rows is shown."""

    first: int
    last: int
    total: int
    previous: str
    next: str
    all: str


@dataclass(frozen=True, slots=True)
class Table:
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    empty: Empty
    query: QueryDict = field(default_factory=QueryDict)
    sort: str = ""
    pages: Pages | None = None
    pickable: bool = False
    keep: bool = False
    """Two narrow columns already: stays a table on a phone."""

    @property
    def heads(self) -> list[Head]:
        heads = []
        for column in self.columns:
            descending, ascending = self.sort == f"-{column.sort}", self.sort == column.sort
            told = ("descending" if descending else "ascending" if ascending else "") if column.sort else ""
            # Numbers and times are asked for from the top; a second press turns the order round.
            down_first = "num" in column.css or column.hint == "newest"
            other = f"-{column.sort}" if ascending or (down_first and not descending) else column.sort
            href = address(self.query, sort=other, page=None) if column.sort else ""
            heads.append(Head(column.title, column.css, href, told, column.hint))
        return heads

    @property
    def lines(self) -> list[tuple[str, Row, list[tuple[str, Html]]]]:
        """Rows with the heading that stands before each ("" for none) and their cells with classes."""
        group, lines = "", []
        for row in self.rows:
            heading = row.group if row.group != group else ""
            group = row.group
            cells = [(column.css, cell) for column, cell in zip(self.columns, row.cells, strict=True)]
            lines.append((heading, row, cells))
        return lines

    @property
    def width(self) -> int:
        return len(self.columns) + self.pickable

    def __html__(self) -> str:
        return render_to_string("parts/table.html", {"table": self})

    __str__ = __html__


def address(query: QueryDict, **changes: str | None) -> str:
    """This page's address with some of its question changed; None takes a part away."""
    changed = query.copy()
    for key, value in changes.items():
        if value is None:
            changed.pop(key, None)
        else:
            changed[key] = value
    encoded = changed.urlencode(safe="/:,")
    return f"?{encoded}" if encoded else "?"


def number_typed(text: str) -> int | None:
    """A whole number out of an address or a form; None for what is none, or longer than any of ours."""
    return int(text) if text.isdecimal() and len(text) <= 18 else None


def pages_of(query: QueryDict, total: int, size: int) -> tuple[Pages | None, slice]:
    """The stretch of ``total`` rows that the address asks for (``page``, counted from 1), and the way to the others."""
    last_page = max(1, -(-total // size))
    number = min(max(number_typed(query.get("page", "1")) or 1, 1), last_page)
    start, stop = (number - 1) * size, min(number * size, total)
    if total <= size:
        return None, slice(0, total)
    return (
        Pages(
            first=start + 1,
            last=stop,
            total=total,
            previous=address(query, page=str(number - 1)) if number > 1 else "",
            next=address(query, page=str(number + 1)) if number < last_page else "",
            all="",
        ),
        slice(start, stop),
    )


# --- timeline ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of a timeline."""

    at: datetime
    what: Html
    who: str = ""
    status: str = ""
    """A check's answer: gives the line its shape."""
    note: Html = ""
    quote: str = ""
    """What a person wrote, or a program printed."""
    href: str = ""


def timeline_of(happenings: Iterable[Happening], *, newest_first: bool = True) -> list[Happening]:
    return sorted(happenings, key=lambda each: each.at, reverse=newest_first)


# --- other parts ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Option:
    value: str
    title: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice in a filter bar."""

    name: str
    title: str
    options: Sequence[Option]


def choice(name: str, title: str, options: Iterable[tuple[str, str]], chosen: str) -> Choice:
    return Choice(name, title, [Option(value, shown, value == chosen) for value, shown in options])


@dataclass(frozen=True, slots=True)
class Filters:
    """A filter bar. What it asks is the page's address, so it can be kept, shared and gone back to."""

    choices: Sequence[Choice]
    search: str | None = None
    """What is searched for; None: this list has no search."""
    placeholder: str = "Filter"
    keep: Sequence[tuple[str, str]] = ()
    """Parts of the address that stay as they are: the sort order."""

    @property
    def active(self) -> bool:
        return bool(self.search) or any(option.chosen and option.value for c in self.choices for option in c.options)


@dataclass(frozen=True, slots=True)
class Tab:
    title: str
    href: str
    current: bool
    count: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    name: str
    value: Html


def tally(counts: Iterable[tuple[str, int]]) -> SafeString:
    """``■ 2 fail ▲ 1 warn``: the statuses that occur, worst first."""
    order = [Status.FAIL, Status.WARN, Status.UNKNOWN, Status.STALE, Status.PASS]
    known = {key: number for key, number in counts if number}
    return format_html(
        '<span class="tally">{}</span>',
        joined((status(s, f"{known[s]:,} {s}") for s in order if s in known), separator=SafeString("")),
    )


def history_strip(changes: Sequence[tuple[datetime, str]], *, start: datetime, end: datetime) -> SafeString:
    """The answers of a check over time. ``changes``: when it became what; the first may lie before ``start``."""
    span = (end - start).total_seconds()
    bars: list[str] = []
    for number, (at, value) in enumerate(changes):
        until = changes[number + 1][0] if number + 1 < len(changes) else end
        left = max((at - start) / timedelta(seconds=span), 0.0) * 300
        right = min((until - start) / timedelta(seconds=span), 1.0) * 300
        if right > left:
            bars.append(
                f'<rect class="{Status(value)}" x="{left:.1f}" width="{max(right - left, 0.8):.1f}" height="20">'
                f"<title>{Status(value)} from {words.exact(at)}</title></rect>"
            )
    return SafeString(
        '<svg class="strip" viewBox="0 0 300 20" preserveAspectRatio="none" role="img" '
        f'aria-label="answers of the last {int(span // 86400)} days">'
        f'<rect width="300" height="20"/>{"".join(bars)}</svg>'
    )
