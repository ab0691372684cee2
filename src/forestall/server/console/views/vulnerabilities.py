"""Vulnerabilities: what to do first, what is open where, what was said of it, and the feeds all that rests on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect, QueryDict
from django.middleware.csrf import get_token
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Fact, Row, Tab, Table
from forestall.server.console.shell import render_page
from forestall.server.home import current_home
from forestall.server.inventory import queries as inventory
from forestall.server.inventory.models import Device
from forestall.server.patching.old_releases import old_releases
from forestall.server.people import queries as people
from forestall.server.people.scope import Permission
from forestall.server.vulnerabilities import queries, ranking, services
from forestall.server.vulnerabilities.documents import sbom_text
from forestall.server.vulnerabilities.models import Feed, Vulnerability
from forestall.server.vulnerabilities.queries import FeedsState, Picture, Place, Summary, Wish
from forestall.server.vulnerabilities.rules import ACCEPTED, MARKS, MarkError
from forestall.server.vulnerabilities.sbom import MEDIA_TYPE
from forestall.server.vulnerabilities.taking import downloads_are_on

SECTION = "vulnerabilities"
A_PAGE = 50
DEVICES_SHOWN = 100
HISTORY_DAYS = 90
STALE_AFTER = timedelta(days=3)
"""A feed that was not seen to be current for so long is said to be old."""
BY = (("action", "By action"), ("vulnerability", "By vulnerability"), ("device", "By device"))
SEVERITY_STATUS = {"critical": "fail", "high": "fail", "medium": "warn", "low": "pass", "": "unknown"}
SEVERITIES = [("", "Every severity"), *((one or "unrated", one or "unrated") for one in ranking.SEVERITIES)]
SHOWS = [
    ("", "Everything"),
    ("exploited", "Known exploited"),
    ("fixable", "With a fix"),
    ("unfixable", "Without a fix"),
]
FEED_ACTS = ("refresh", "on", "off", "remove")
UNTIL = (("30", "for 30 days"), ("90", "for 90 days"), ("180", "for half a year"), ("365", "for a year"))


# --- the page -------------------------------------------------------------------------------------------------------


@page(permission=Permission.DEVICE_VIEW)
def vulnerabilities(request: PageRequest) -> HttpResponse:
    scope, now, asked = request.scope, timezone.now(), request.GET
    by = asked.get("by", "") if asked.get("by", "") in dict(BY) else "action"
    client, at, wish = _uuid(asked.get("client", "")), _day(asked.get("at", ""), now), _wish(asked)
    found = queries.picture(scope=scope, now=now, at=at, client=client)
    whole = queries.summary(found)
    state = queries.feeds_state()
    shown = queries.narrowed(found, wish)
    if by == "vulnerability":
        table = _by_vulnerability(request, shown, state, now)
    elif by == "device":
        table = _by_device(request, shown, state)
    else:
        table = _by_action(request, shown, state, now, client, past=at is not None or not wish.is_empty)
    choices = [("", "All clients"), *((str(one.pk), one.name) for one in people.clients(scope=scope))]
    filters = parts.Filters(
        choices=[
            *([parts.choice("client", "Client", choices, str(client or ""))] if len(choices) > 2 else []),
            parts.choice("show", "Which", SHOWS, asked.get("show", "")),
            parts.choice("severity", "Severity", SEVERITIES, asked.get("severity", "")),
        ],
        search=asked.get("q", ""),
        placeholder="Filter packages and vulnerabilities",
        keep=[(name, asked[name]) for name in ("by", "at", "package", "ecosystem") if asked.get(name)],
    )
    context = {
        "sentence": _sentence(found, whole, state, now, at),
        "filters": filters,
        "tabs": [
            Tab(title, parts.address(asked, by=None if slug == "action" else slug, page=None), slug == by)
            for slug, title in BY
        ],
        "table": table,
        "notes": _notes(asked, state, found, now),
        "at": asked.get("at", ""),
        "today": now.date().isoformat(),
        "keep": [(name, value) for name, value in asked.items() if name not in {"at", "page"} and value],
        "actions": format_html('<a class="button" href="{}">Feeds</a>', reverse("console:vulnerability_feeds")),
    }
    return render_page(
        request, SECTION, context, section=SECTION, title="Vulnerabilities", data_at=at or state.newest, live=at is None
    )


def _sentence(found: Picture, whole: Summary, state: FeedsState, now: datetime, at: datetime | None) -> parts.Html:
    if not whole.known:
        return "No device has reported its software yet, so nothing can be said of its vulnerabilities."
    if not state.in_force:
        why = "none could be fetched yet" if state.feeds else "none is there"
        return format_html(
            "The software of {} is known, but no feed of advisories is in force: {}. "
            '<a href="/vulnerabilities/feeds/">See the feeds.</a>',
            words.plural(whole.known, "device"), why,
        )  # fmt: skip
    when = f"At the end of {at.astimezone(UTC):%-d %B %Y}" if at is not None else ""
    if not whole.vulnerabilities:
        quiet = f"Nothing is known to be open on {words.plural(whole.known, 'device')}."
        return f"{when}: {quiet[:1].lower()}{quiet[1:]}" if when else quiet
    total = format_html(
        "{} {} open on {}",
        words.plural(whole.vulnerabilities, "vulnerability", "vulnerabilities"),
        words.does(whole.vulnerabilities, "are"),
        words.plural(whole.devices, "device"),
    )
    if not whole.exploited:
        return format_html("{}{}; none of them is known to be exploited.", f"{when}: " if when else "", total)
    first = next(iter(queries.actions(queries.narrowed(found, Wish(exploited=True, fixable=True)))), None)
    said = format_html(
        '<a href="?show=exploited&by=vulnerability"><b>{} known-exploited {}</b></a> on {}',
        whole.exploited,
        "vulnerability" if whole.exploited == 1 else "vulnerabilities",
        words.plural(whole.exploited_devices, "device"),
    )
    if first is not None and whole.exploited_fixable:
        fixed = "have a fix" if whole.exploited_fixable == whole.exploited > 1 else (
            "has a fix" if whole.exploited == 1 else f"({whole.exploited_fixable} with a fix)"
        )  # fmt: skip
        said = format_html("{} {}: first {}", said, fixed, f"{first.sentence[:1].lower()}{first.sentence[1:]}")
    else:
        said = format_html("{} {} no fix yet", said, words.does(whole.exploited, "have"))
    return format_html("{}{}. {} in all.", f"{when}: " if when else "", said, total)


def _notes(asked: QueryDict, state: FeedsState, found: Picture, now: datetime) -> list[parts.Html]:
    """What one must know to read the page rightly."""
    said: list[parts.Html] = []
    if state.in_force and state.failing:
        said.append(
            format_html(
                '<a href="/vulnerabilities/feeds/">{} not fetched</a>: what {} said last still counts.',
                words.plural(state.failing, "feed is", "feeds are"), "it" if state.failing == 1 else "they",
            )
        )  # fmt: skip
    if state.oldest is not None and now - state.oldest > STALE_AFTER:
        said.append(
            f"The oldest feed was last seen to be current {words.ago(state.oldest, now)}: what is newer is missing."
        )
    if found.marked:
        said.append(f"{words.plural(found.marked, 'finding')} left out because somebody accepted or marked it.")
    if asked.get("package"):
        said.append(format_html('Only {}. <a href="?">Show everything</a>', asked["package"]))
    return said


# --- three ways of seeing it ----------------------------------------------------------------------------------------


def _by_action(
    request: PageRequest, found: Picture, state: FeedsState, now: datetime, client: UUID | None, *, past: bool
) -> Table:
    old = [] if past else old_releases(scope=request.scope, client=client)
    listed = queries.actions(found, old_releases=old)
    pages, stretch = parts.pages_of(request.GET, len(listed), A_PAGE)
    shown = listed[stretch]
    rows = queries.names_of({pk for one in shown for pk in one.first})
    names = _device_names(request, {device for one in shown for device in one.devices[:3]})
    return Table(
        caption="What to do, what removes most risk first",
        columns=[Column("What to do", "lead"), Column("Removes", "second"), Column("Why here", "wide"), Column("Where"),
                 Column("Rank", "num")],
        rows=[
            Row(
                key=f"action-{one.kind}-{one.ecosystem}-{one.package}",
                group=_group(one),
                cells=[
                    parts.text(_action_link(one), _system(one)),
                    _effect(one),
                    _why_action(one, rows, now),
                    _where(one, names),
                    str(one.score),
                ],
            )
            for one in shown
        ],
        empty=_empty(request.GET, state, found),
        pages=pages,
    )  # fmt: skip


_GROUPS = {queries.RELEASE: "Systems that get no more fixes"}


def _group(one: queries.Action) -> str:
    if one.kind == queries.MITIGATE and not one.exploited:
        return "No fix yet: mitigate, or accept until there is one"
    return "To be done, what matters most first"


def _action_link(one: queries.Action) -> SafeString:
    if one.kind == queries.RELEASE:
        return format_html('<a href="/checks/?kind=end_of_life">{}</a>', one.sentence)
    query = QueryDict(mutable=True)
    query.update({"by": "device", "package": one.package, "ecosystem": one.ecosystem})
    return format_html('<a href="?{}">{}</a>', query.urlencode(safe=":"), one.sentence)


def _system(one: queries.Action) -> str:
    return "end of life" if one.kind == queries.RELEASE else one.ecosystem.replace(":", " ")


def _effect(one: queries.Action) -> parts.Html:
    if one.kind == queries.RELEASE:
        return parts.none("how many are in what nobody mends any more, no feed says", "unknown")
    said = words.plural(one.vulnerabilities, "vulnerability", "vulnerabilities")
    if one.kind == queries.MITIGATE:
        said += " stay open" if one.vulnerabilities != 1 else " stays open"
    marks = [parts.status("fail", f"{one.exploited} known exploited")] if one.exploited else []
    marks += [parts.tag(f"{one.critical} critical", "fail")] if one.critical else []
    return parts.text(said, parts.joined(marks, SafeString(" "))) if marks else said


def _why_action(one: queries.Action, rows: dict[int, Vulnerability], now: datetime) -> parts.Html:
    if one.kind == queries.RELEASE or not one.first:
        return one.why
    gravest = rows[one.first[0]]
    tail = f"; listens beyond the machine on {one.exposed} of these" if one.exposed else ""
    return format_html(
        '<a href="/vulnerabilities/{}/">{}</a> {}{}',
        gravest.name, gravest.name, ", ".join(queries.why(gravest, now)[:3]), tail,
    )  # fmt: skip


def _where(one: queries.Action, names: dict[UUID, str]) -> parts.Html:
    shown = [
        format_html('<a href="/devices/{}/vulnerabilities/">{}</a>', device, names[device])
        for device in one.devices[:3]
        if device in names
    ]
    more = len(one.devices) - len(shown)
    return parts.joined([*shown, *([f"{more:,} more"] if more > 0 else [])], ", ")


def _by_vulnerability(request: PageRequest, found: Picture, state: FeedsState, now: datetime) -> Table:
    listed = queries.vulnerabilities(found)
    pages, stretch = parts.pages_of(request.GET, len(listed), A_PAGE)
    shown = queries.counted(found, listed[stretch])
    rows = queries.names_of([one.pk for one in shown])
    return Table(
        caption="Open vulnerabilities, what matters most first",
        columns=[Column("Vulnerability", "lead"), Column("Severity", "second"), Column("Why here", "wide"),
                 Column("Fix"), Column("Devices", "num"), Column("Rank", "num")],
        rows=[
            Row(
                key=f"vulnerability-{one.pk}",
                cells=[
                    parts.link(f"/vulnerabilities/{rows[one.pk].name}/", rows[one.pk].name, rows[one.pk].title[:120]),
                    severity(rows[one.pk].severity),
                    "; ".join(queries.why(rows[one.pk], now, one)),
                    "restart" if one.only_running else "yes" if one.fixable
                    else parts.none("no vendor of these packages has one yet", "none yet"),
                    f"{one.devices:,}",
                    str(one.score),
                ],
            )
            for one in shown
        ],
        empty=_empty(request.GET, state, found),
        pages=pages,
    )  # fmt: skip


def _by_device(request: PageRequest, found: Picture, state: FeedsState) -> Table:
    listed = queries.devices(found)
    pages, stretch = parts.pages_of(request.GET, len(listed), A_PAGE)
    shown = listed[stretch]
    rows = {one.pk: one for one in inventory.devices(scope=request.scope).filter(pk__in=[one.device for one in shown])}
    return Table(
        caption="Devices with open vulnerabilities, what matters most first",
        columns=[Column("Device", "lead"), Column("Open", "second num"), Column("Known exploited", "num"),
                 Column("Critical", "num"), Column("With a fix", "num"), Column("Packages", "num"),
                 Column("Rank", "num")],
        rows=[
            Row(
                key=f"device-{one.device}",
                cells=[
                    parts.link(
                        f"/devices/{one.device}/vulnerabilities/",
                        rows[one.device].name,
                        f"{rows[one.device].client.name} · {rows[one.device].os_name}",
                    ),
                    f"{one.vulnerabilities:,}",
                    parts.status("fail", f"{one.exploited}") if one.exploited else "0",
                    f"{one.critical:,}",
                    f"{one.fixable:,}",
                    f"{one.packages:,}",
                    str(one.score),
                ],
            )
            for one in shown
            if one.device in rows
        ],
        empty=_empty(request.GET, state, found),
        pages=pages,
    )  # fmt: skip


def severity(word: str) -> SafeString:
    return parts.status(SEVERITY_STATUS.get(word, "unknown"), word or "unrated")


def _empty(asked: QueryDict, state: FeedsState, found: Picture) -> Empty:
    if any(asked.get(name) for name in ("q", "show", "severity", "client", "package", "ecosystem")):
        return Empty("Nothing fits", "No open vulnerability is what was asked for.", href="?", action="Show everything")
    if not found.known:
        return Empty(
            "No software known yet",
            "Vulnerabilities are found by comparing what is installed with what vendors publish. A device sends its "
            "software with its first check-in after approval.",
            href="/devices/enrol",
            action="Enrol a device",
        )
    if not state.in_force:
        if downloads_are_on():
            return Empty(
                "No feed of advisories yet",
                "The feeds that your devices' systems need are fetched by themselves from their publishers. If this "
                "server has no way to the internet, import their files.",
                command="forestall vulns import FILE",
                href="/vulnerabilities/feeds/",
                action="See the feeds",
            )
        return Empty(
            "No feed of advisories yet",
            "Nothing is fetched here (FORESTALL_FEEDS=off): feeds come from files that you bring.",
            command="forestall vulns import FILE",
        )
    return Empty(
        "Nothing is open that we know of",
        f"The software of {words.plural(found.known, 'device')} was compared with every feed in force. What no feed "
        "is about is not among it.",
        href="/vulnerabilities/feeds/",
        action="See the feeds",
    )


# --- one vulnerability ----------------------------------------------------------------------------------------------


@page(permission=Permission.DEVICE_VIEW)
def vulnerability(request: PageRequest, vulnerability_name: str) -> HttpResponse:
    scope, now = request.scope, timezone.now()
    row = queries.vulnerability(scope=scope, name=vulnerability_name)
    places = queries.places_of(scope=scope, found=row, now=now)
    open_ = [one for one in places if one.gone_at is None]
    counting = [one for one in open_ if one.mark is None]
    marks = list(queries.marks(scope=scope, name=row.name))
    names = _device_names(request, {one.device_id for one in marks if one.device_id})
    clients = {one.device.client_id: one.device.client for one in places}
    devices = {one.device.pk: one.device for one in open_}
    context = {
        "crumbs": format_html(
            '<a href="/vulnerabilities/">Vulnerabilities</a> › <a href="/vulnerabilities/?by=vulnerability">By '
            "vulnerability</a> › {}", row.name,
        ),
        "sentence": _about(row, places, counting, now),
        "vulnerability": row,
        "facts": _facts(row, now),
        "why": _why(row, counting, now),
        "table": _places_table(request, places, now),
        "strip": parts.history_strip(
            _history(places, now), start=now - timedelta(days=HISTORY_DAYS), end=now
        ),
        "days": HISTORY_DAYS,
        "marks": _marks_table(request, marks, names, now),
        "marked": bool(marks),
        "clients": [one for one in clients.values() if scope.may(Permission.RISK_ACCEPT, on=one)],
        "devices": [one for one in devices.values() if scope.may(Permission.RISK_ACCEPT, on=one)][:DEVICES_SHOWN],
        "packages": sorted({one.package.name for one in places}),
        "kinds": list(MARKS.items()),
        "until": UNTIL,
    }  # fmt: skip
    return render_page(request, "vulnerability", context, section=SECTION, title=row.name, data_at=now, live=False)


def _about(row: Vulnerability, places: Sequence[Place], counting: Sequence[Place], now: datetime) -> parts.Html:
    devices = {one.device.pk for one in counting}
    fixes = sorted({f"{one.package.name} {one.fixed}" for one in counting if one.fixed and not one.only_running})
    if not devices:
        marked = any(one.gone_at is None for one in places)
        gone = max((one.gone_at for one in places if one.gone_at), default=None)
        if marked:
            return "It is open, and everywhere somebody has said why it does not count."
        return (
            f"No device has it any more; the last was rid of it {words.ago(gone, now)}."
            if gone
            else "No device has it."
        )
    said = f"Open on {words.plural(len(devices), 'device')}"
    if row.kev_added_on is not None:
        said = f"Known to be exploited, and open on {words.plural(len(devices), 'device')}"
    if any(one.only_running for one in counting):
        return f"{said}; a fix is installed where it only runs on: restart, or reboot."
    return f"{said}; upgrade to {words.listing(fixes)}." if fixes else f"{said}; there is no fix yet."


def _facts(row: Vulnerability, now: datetime) -> list[Fact]:
    unknown = parts.none("no feed in force says it", "unknown")
    return [
        Fact("Severity", severity(row.severity)),
        Fact("CVSS", parts.text(f"{row.cvss:g}", row.cvss_vector) if row.cvss is not None else unknown),
        Fact(
            "Exploited",
            parts.status("fail", f"known since {row.kev_added_on}") if row.kev_added_on else "not known to be",
        ),
        Fact("CISA's due date", str(row.kev_due_on) if row.kev_due_on else parts.none("it is not in the catalogue")),
        Fact("Ransomware", "used for it" if row.ransomware else "not known to be used for it"),
        Fact(
            "Likely within 30 days",
            parts.text(f"{row.epss:.1%}", f"more than {row.epss_percentile:.0%} of all" if row.epss_percentile else "")
            if row.epss is not None
            else unknown,
        ),
        Fact("Published", parts.moment(row.published_at, now, "unknown")),
    ]


def _why(row: Vulnerability, counting: Sequence[Place], now: datetime) -> list[tuple[str, int]]:
    """The rank as a sum: what is said → its points."""
    facts = ranking.Facts(row.severity, row.cvss, row.epss, row.kev_added_on, row.kev_due_on, row.ransomware)
    sums = [(words_, points) for words_, points in ranking.sum_of(facts, now.date()) if points]
    exposed = sorted({one.exposed for one in counting if one.exposed})
    if exposed:
        sums.append((f"exposed: {words.listing(exposed)}", ranking.EXPOSED))
    if any(one.fixed for one in counting):
        sums.append(("there is a fix: it can be ended today", ranking.FIXABLE))
    return sums


def _places_table(request: PageRequest, places: Sequence[Place], now: datetime) -> Table:
    pages, stretch = parts.pages_of(request.GET, len(places), A_PAGE)
    return Table(
        caption="Devices that have it or had it",
        columns=[Column("Device", "lead"), Column("State", "second"), Column("Package"), Column("Fixed in"),
                 Column("Exposed"), Column("Since")],
        rows=[
            Row(
                key=f"place-{one.device.pk}-{one.package.pk}-{one.only_running}",
                group="Open" if one.gone_at is None else "Gone",
                cells=[
                    parts.link(
                        f"/devices/{one.device.pk}/vulnerabilities/", one.device.name, one.device.client.name
                    ),
                    _place_state(one, now),
                    parts.text(f"{one.package.name} {one.package.version}", ", ".join(one.binaries[:6])),
                    parts.text(one.fixed, one.advisory) if one.fixed
                    else parts.text(parts.none("the vendor has none", "none yet"), one.advisory),
                    one.exposed or parts.none("no process of this package listens beyond the machine", "not seen"),
                    parts.moment(one.since, now),
                ],
            )
            for one in places[stretch]
        ],
        empty=Empty("No device has it", "None of those that you may see."),
        pages=pages,
    )  # fmt: skip


def _place_state(one: Place, now: datetime) -> parts.Html:
    if one.gone_at is not None:
        return parts.text(parts.status("pass", "gone"), parts.moment(one.gone_at, now))
    if one.mark is not None:
        return parts.text(parts.status("unknown", MARKS[one.mark.mark]), one.mark.reason[:80])
    return parts.status("warn", "runs until the restart") if one.only_running else parts.status("fail", "open")


def _history(places: Sequence[Place], now: datetime) -> list[tuple[datetime, str]]:
    """When some device had it: a strip of open and gone."""
    turns: list[tuple[datetime, int]] = []
    for one in places:
        turns.append((one.since, 1))
        if one.gone_at is not None:
            turns.append((one.gone_at, -1))
    changes: list[tuple[datetime, str]] = []
    number = 0
    for at, step in sorted(turns, key=lambda one: one[0]):
        number += step
        changes.append((at, "fail" if number else "pass"))
    return changes or [(now, "pass")]


def _marks_table(request: PageRequest, marks: Sequence[Any], names: dict[UUID, str], now: datetime) -> Table:
    scope = request.scope

    def end(one: Any) -> parts.Html:
        if one.ended_at is not None:
            return parts.text("taken back", f"by {one.ended_by}")
        if one.expires_at is not None and one.expires_at <= now:
            return parts.status("warn", "expired: it counts again")
        if not scope.may(Permission.RISK_ACCEPT, on=one.client):
            return ""
        return _button(request, reverse("console:vulnerability_mark_end", args=[one.pk]), "Take back")

    return Table(
        caption="What was said of it",
        columns=[Column("Said", "lead"), Column("Until", "second"), Column("Where"), Column("Why", "wide"),
                 Column("By"), Column("")],
        rows=[
            Row(
                key=f"mark-{one.pk}",
                cells=[
                    MARKS[one.mark],
                    f"{one.expires_at:%-d %b %Y}" if one.expires_at else "no end",
                    parts.text(
                        names.get(one.device_id, "one device") if one.device_id else f"all of {one.client.name}",
                        one.package,
                    ),
                    one.reason,
                    parts.text(one.by, parts.moment(one.at, now)),
                    end(one),
                ],
            )
            for one in marks
        ],
        empty=Empty("Nothing was said of it", "Accept it until a day, or mark it as false or not applicable, below."),
    )  # fmt: skip


@page(permission=Permission.DEVICE_VIEW, methods=("POST",), change=Permission.RISK_ACCEPT)
def vulnerability_mark(request: PageRequest, vulnerability_name: str) -> HttpResponse:
    scope, now, said = request.scope, timezone.now(), request.POST
    row = queries.vulnerability(scope=scope, name=vulnerability_name)
    try:
        kind, _, place = said.get("place", "").partition(":")
        pk = _uuid(place)
        if pk is None or kind not in {"client", "device"}:
            raise MarkError("place: choose a client or a device")
        device = inventory.devices(scope=scope).get(pk=pk) if kind == "device" else None
        client = device.client if device is not None else people.clients(scope=scope).get(pk=pk)
        mark = said.get("mark", "")
        days = parts.number_typed(said.get("days", ""))
        expires = now + timedelta(days=days) if days and mark == ACCEPTED else None
        services.vulnerability_mark(
            client=client, device=device, vulnerability=row.name, package=said.get("package", ""), mark=mark,
            reason=said.get("reason", ""), expires_at=expires, scope=scope, now=now,
        )  # fmt: skip
        ends = f" until {expires:%-d %B %Y}; then it counts again" if expires else ""
        messages.success(request, f"{row.name} is {MARKS[mark]} there{ends}.")
    except MarkError as refusal:
        messages.error(request, f"{str(refusal)[:1].upper()}{str(refusal)[1:]}.")
    return HttpResponseRedirect(reverse("console:vulnerability", args=[row.name]))


@page(permission=Permission.DEVICE_VIEW, methods=("POST",), change=Permission.RISK_ACCEPT)
def vulnerability_mark_end(request: PageRequest, mark_id: int) -> HttpResponse:
    row = queries.marks(scope=request.scope).get(pk=mark_id)
    try:
        services.vulnerability_unmark(mark=row, scope=request.scope, now=timezone.now())
        messages.success(request, f"{row.vulnerability} counts again.")
    except MarkError as refusal:
        messages.error(request, f"{str(refusal)[:1].upper()}{str(refusal)[1:]}.")
    return HttpResponseRedirect(reverse("console:vulnerability", args=[row.vulnerability]))


# --- a device's tab -------------------------------------------------------------------------------------------------


def device_tab(request: PageRequest, found: Device, now: datetime) -> dict[str, Any]:
    """What is open on one device."""
    scope = request.scope
    listed = queries.findings_of(scope=scope, device=found, now=now)
    wanted = request.GET.get("q", "").strip().lower()
    fitting = [
        one for one in listed if wanted in one.vulnerability.name.lower() or wanted in one.row.package.name.lower()
    ]
    state = queries.feeds_state()
    shown = queries.picture(scope=scope, now=now, device=found.pk)
    todo = queries.actions(shown)[:5]
    pages, stretch = parts.pages_of(request.GET, len(fitting), A_PAGE)
    counting = [one for one in listed if one.mark is None]
    rows = queries.names_of({pk for one in todo for pk in one.first})
    table = Table(
        caption="Open on this device, what matters most first",
        columns=[Column("Vulnerability", "lead"), Column("Severity", "second"), Column("Package"), Column("Fixed in"),
                 Column("Why here", "wide"), Column("Since")],
        rows=[
            Row(
                key=f"finding-{one.vulnerability.pk}-{one.row.pk}",
                group=_counts(one) if len(counting) < len(listed) else "",
                cells=[
                    parts.link(f"/vulnerabilities/{one.vulnerability.name}/", one.vulnerability.name,
                               one.vulnerability.title[:100]),
                    severity(one.vulnerability.severity),
                    parts.text(f"{one.row.package.name} {one.row.package.version}", ", ".join(one.row.binaries[:4])),
                    "restart" if one.row.only_running else one.fixed or parts.none("the vendor has none", "none yet"),
                    f"{MARKS[one.mark.mark]}: {one.mark.reason}" if one.mark is not None
                    else "; ".join(
                        ranking.why_of(
                            ranking.Facts(
                                one.vulnerability.severity, one.vulnerability.cvss, one.vulnerability.epss,
                                one.vulnerability.kev_added_on, one.vulnerability.kev_due_on,
                                one.vulnerability.ransomware,
                            ),
                            now.date(), exposed=one.row.exposed, fix=one.fixed, only_running=one.row.only_running,
                        )
                    ),
                    parts.moment(one.row.first_seen_at, now),
                ],
            )
            for one in fitting[stretch]
        ],
        empty=Empty(f"Nothing is called “{wanted}”", "Try a part of its name.", href="?", action="Show all")
        if wanted
        else _empty(QueryDict(), state, shown),
        pages=pages,
    )  # fmt: skip
    return {
        "sections_first": [(one.sentence, one.effect, "; ".join(queries.action_why(one, rows, now))) for one in todo],
        "table": table,
        "filters": parts.Filters([], search=request.GET.get("q", ""), placeholder="Filter") if listed else None,
        "counting": len(counting),
        "sbom": reverse("console:device_sbom", args=[found.pk]),
        "has_software": bool(shown.known),
    }


def _counts(one: queries.Finding) -> str:
    return "Counts" if one.mark is None else "Marked: does not count"


@page(permission=Permission.DEVICE_VIEW)
def device_sbom(request: PageRequest, device_id: UUID) -> HttpResponse:
    """The device's software as CycloneDX; ``?vex=1``: and what is open."""
    found = inventory.devices(scope=request.scope).get(pk=device_id)
    text = sbom_text(
        scope=request.scope, device=found, now=timezone.now(), vulnerabilities=request.GET.get("vex") == "1"
    )
    name = "".join(c if c.isalnum() else "-" for c in found.name).strip("-") or "device"
    return HttpResponse(
        text,
        content_type=MEDIA_TYPE,
        headers={"Content-Disposition": f'attachment; filename="{name}.cdx.json"', "Cache-Control": "no-store"},
    )


# --- feeds ----------------------------------------------------------------------------------------------------------


@page(permission=Permission.DEVICE_VIEW)
def feeds(request: PageRequest) -> HttpResponse:
    now, scope = timezone.now(), request.scope
    rows = list(queries.feeds())
    may = scope.everywhere(Permission.SETTINGS_CHANGE)
    failing = [one for one in rows if one.error and one.enabled]
    good = [one for one in rows if one.index and one.enabled]
    context = {
        "crumbs": format_html('<a href="{}">Vulnerabilities</a> › Feeds', reverse("console:vulnerabilities")),
        "sentence": _feeds_sentence(rows, good, failing, now),
        "table": Table(
            caption="Feeds of advisories",
            columns=[Column("Feed", "lead"), Column("State", "second"), Column("Records", "num"),
                     Column("Newest in it"), Column("Checked"), Column("Why", "wide"), Column("")],
            rows=[
                Row(
                    key=f"feed-{one.slug}",
                    cells=[
                        parts.text(one.title, parts.joined([one.slug, one.url or "only from files"])),
                        _feed_state(one),
                        f"{one.advisories:,}" if one.index else parts.none("nothing is in force", "–"),
                        parts.moment(one.data_at, now, "it does not say") if one.index else "",
                        parts.moment(one.good_at, now),
                        one.error,
                        _feed_acts(request, one) if may else "",
                    ],
                )
                for one in rows
            ],
            empty=Empty(
                "No feed yet",
                "The feeds that a device's system needs appear here when it has reported its software, and are fetched "
                "from their publishers. Without a way to the internet, import their files.",
                command="forestall vulns import FILE",
            ),
        ),
        "may": may,
        "downloads": downloads_are_on(),
    }  # fmt: skip
    newest = max((one.good_at for one in good if one.good_at), default=None)
    return render_page(request, "vulnerability_feeds", context, section=SECTION, title="Feeds", data_at=newest)


def _feeds_sentence(rows: Sequence[Feed], good: Sequence[Feed], failing: Sequence[Feed], now: datetime) -> str:
    if not rows:
        return "No feed of advisories is known here yet."
    said = f"{len(good)} of {words.plural(len(rows), 'feed')} {words.does(len(good), 'are')} in force"
    if failing:
        names = words.listing([one.title for one in failing])
        return f"{said}; {names} could not be fetched, and what was said last counts."
    oldest = min((one.good_at for one in good if one.good_at), default=None)
    return f"{said}, the oldest checked {words.ago(oldest, now)}." if oldest else f"{said}."


def _feed_state(one: Feed) -> SafeString:
    if not one.enabled:
        return parts.status("unknown", "switched off")
    if one.asked_at is not None or services.feed_waits(home=current_home(), feed=one):
        return parts.status("stale", "on its way")
    if one.error:
        return parts.status("warn", "failing; last good in force") if one.index else parts.status("fail", "failing")
    return parts.status("pass", "in force") if one.index else parts.status("unknown", "not here yet")


def _feed_acts(request: PageRequest, one: Feed) -> SafeString:
    acts = [("refresh", "Fetch now")] if one.url and one.enabled and downloads_are_on() else []
    acts.append(("off", "Switch off") if one.enabled else ("on", "Use it"))
    if not one.url:
        acts.append(("remove", "Forget"))
    return parts.joined(
        (_button(request, reverse(f"console:vulnerability_feed_{act}", args=[one.slug]), title) for act, title in acts),
        SafeString(" "),
    )


@page(permission=Permission.DEVICE_VIEW, methods=("POST",), change=Permission.SETTINGS_CHANGE)
def feed_act(request: PageRequest, feed_slug: str, act: str) -> HttpResponse:
    scope, now = request.scope, timezone.now()
    row = queries.feeds().get(slug=feed_slug)
    done: dict[str, Callable[[], object]] = {
        "refresh": lambda: services.feed_refresh(feed=row, scope=scope, now=now),
        "on": lambda: services.feed_change(feed=row, enabled=True, scope=scope, now=now),
        "off": lambda: services.feed_change(feed=row, enabled=False, scope=scope, now=now),
        "remove": lambda: services.feed_remove(feed=row, scope=scope, now=now),
    }
    said = {
        "refresh": f"{row.title} is fetched within a minute.",
        "on": f"{row.title} counts again with the next round of matching.",
        "off": f"{row.title} no longer counts.",
        "remove": f"{row.title} is forgotten.",
    }
    try:
        done[act]()
        messages.success(request, said[act])
    except services.FeedChangeError as refusal:
        messages.error(request, str(refusal))
    return HttpResponseRedirect(reverse("console:vulnerability_feeds"))


@page(permission=Permission.DEVICE_VIEW, methods=("POST",), change=Permission.SETTINGS_CHANGE)
def feed_import(request: PageRequest) -> HttpResponse:
    """Take a file of a feed from the browser."""
    scope = request.scope
    scope.require_everywhere(Permission.SETTINGS_CHANGE)
    file = request.FILES.get("file")
    try:
        if file is None:
            raise services.FeedChangeError("file: choose one")
        slug = request.POST.get("feed", "").strip() or services.slug_of(str(file.name))
        row = services.feed_for_file(slug=slug, title=f"From files: {str(file.name)[:150]}", scope=scope)
        offset, size = 0, file.size or 0
        for part in file.chunks(services.PART_BYTES):
            last = offset + len(part) >= size
            offset = services.feed_upload(
                home=current_home(), feed=row, offset=offset, part=part, last=last, scope=scope
            )
        messages.success(request, f"{file.name} was received as {row.slug} and is being read.")
    except services.FeedChangeError as refusal:
        messages.error(request, str(refusal))
    return HttpResponseRedirect(reverse("console:vulnerability_feeds"))


# --- small things ---------------------------------------------------------------------------------------------------


def _button(request: PageRequest, action: str, title: str) -> SafeString:
    return format_html(
        '<form method="post" action="{}" class="inline"><input type="hidden" name="csrfmiddlewaretoken" value="{}">'
        '<button class="small">{}</button></form>',
        action,
        get_token(request),
        title,
    )


def _wish(asked: QueryDict) -> Wish:
    word = asked.get("severity", "")
    severities = frozenset({"" if word == "unrated" else word}) if word in dict(SEVERITIES) and word else frozenset()
    show = asked.get("show", "")
    return Wish(
        severities=severities,
        exploited=show == "exploited",
        fixable={"fixable": True, "unfixable": False}.get(show),
        q=asked.get("q", "")[:100],
        package=asked.get("package", "")[:200],
        ecosystem=asked.get("ecosystem", "")[:60],
    )


def _device_names(request: PageRequest, wanted: set[UUID]) -> dict[UUID, str]:
    if not wanted:
        return {}
    return dict(inventory.devices(scope=request.scope).filter(pk__in=wanted).order_by().values_list("pk", "name"))


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _day(text: str, now: datetime) -> datetime | None:
    """The end of a past day; None for today and for what is no day."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    if day.year < 2000:
        return None
    end = datetime.combine(day, time(23, 59, 59), UTC)
    return end if end < now else None
