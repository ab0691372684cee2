"""Who may get in where: what changed, accounts across devices, and the reviews that sign every account off."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from forestall.server.access import changes as changing
from forestall.server.access import queries, services
from forestall.server.access.changes import AccessError
from forestall.server.access.models import AccessChange, AccessReview, ReviewItem, ReviewState
from forestall.server.checks.result import Status
from forestall.server.clients.queries import sites_served
from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Fact, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.inventory import queries as inventory
from forestall.server.people import queries as people
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, Scope
from forestall.server.plaintext import cell_inert

A_PAGE = 100
MOST_DEVICES = 500
MOST_PICKED = 2000
METHODS = ("GET", "HEAD", "POST")
CRUMBS = SafeString('<a href="/access/">Access</a>')
CHANGE_STATUS = {"open": "warn", "accepted": "pass", "undone": "pass", "noted": "unknown"}
CHANGE_WORD = {"open": "to answer", "accepted": "accepted", "undone": "undone", "noted": "on record"}
DECISION_STATUS = {"keep": "pass", "remove": "fail", "change": "warn"}
RISK_STATUS = {"critical": "fail", "high": "fail", "medium": "warn", "low": "unknown"}


def _uuid(typed: str) -> UUID | None:
    try:
        return UUID(typed)
    except ValueError:
        return None


# --- overview -----------------------------------------------------------------------------------------------------


@page(permission=Permission.DEVICE_VIEW)
def access(request: PageRequest) -> HttpResponse:
    """What needs an answer, which reviews there are, and how the devices stand."""
    scope, now, get = request.scope, timezone.now(), request.GET
    client = _uuid(get.get("client", ""))
    standings = [
        one for one in queries.review_standings(scope=scope, now=now) if client is None or one.client_id == client
    ]
    reviews = queries.reviews_counted(scope=scope)
    changes = queries.changes(scope=scope).filter(state="open")
    if client is not None:
        reviews, changes = reviews.filter(client=client), changes.filter(client=client)
    shown = list(reviews.order_by("-state", "due_at", "-pk").filter(state=ReviewState.OPEN)[:A_PAGE])
    shown += list(reviews.exclude(state=ReviewState.OPEN)[:20])
    newest = list(changes[:20])
    number = changes.count()
    clients = list(people.clients(scope=scope).order_by("name"))
    may = [one for one in clients if scope.may(Permission.ACCESS_REVIEW, on=one)]
    context = {
        "sentence": _in_words(standings, shown, number, now),
        "filters": parts.Filters([_client_choice(clients, client)]),
        "reviews": _reviews_table(shown, now),
        "changes": _changes_table(newest, now),
        "more_changes": max(0, number - len(newest)),
        "standings": _standings_table(standings, clients, get),
        "may": may,
        "sites": list(sites_served(scope=scope).filter(client__in=may).order_by("client__name", "name")[:300])
        if may
        else [],
        "plans": _plans_table(scope, client, now),
        "actions": format_html_join(
            "",
            '<a class="button" href="{}">{}</a>',
            (("/access/accounts/", "Accounts"), ("/access/changes/", "Changes")),
        ),
    }
    return render_page(request, "access", context, section="access", title="Access", live=False)


def _client_choice(clients: Sequence[Client], chosen: UUID | None) -> parts.Choice:
    options = [("", "All clients"), *((str(one.pk), one.name) for one in clients)]
    return parts.choice("client", "Client", options, str(chosen or ""))


def _in_words(
    standings: Sequence[queries.ReviewStanding], reviews: Sequence[Any], changes: int, now: datetime
) -> parts.Html:
    if not standings:
        return "No device is approved yet: who may get in is told by the agents of approved devices."
    counted = Counter(one.status for one in standings)
    signed = counted[Status.PASS] + counted[Status.WARN]
    said: list[parts.Html] = [
        format_html("{} of {} signed off in time", f"{signed:,}", words.plural(len(standings), "device"))
    ]
    live = [one for one in reviews if one.state == ReviewState.OPEN]
    late = sum(one.due_at <= now for one in live)
    if live:
        left = sum(one.open_items for one in live)
        more = f", {late} late" if late else ""
        said.append(
            f"{words.plural(len(live), 'review')} {words.does(len(live), 'are')} open{more} "
            f"with {words.plural(left, 'account')} to decide"
        )
    else:
        said.append("no review is open")
    said.append(
        format_html('<a href="#changes">{} of access to answer</a>', words.plural(changes, "change"))
        if changes
        else "every change of access was answered"
    )
    return format_html("{}.", parts.joined(said, separator="; "))


def _reviews_table(shown: Sequence[Any], now: datetime) -> Table:
    return Table(
        caption="Reviews",
        columns=[
            Column("Review", "lead"),
            Column("State", "second"),
            Column("Accounts", "num"),
            Column("To decide", "num"),
            Column("To remove or change"),
            Column("Due"),
            Column("Whose"),
        ],
        rows=[
            Row(
                key=f"review-{one.pk}",
                group="Open" if one.state == ReviewState.OPEN else "Done",
                cells=[
                    parts.link(
                        f"/access/reviews/{one.pk}/", str(one.site or one.client), f"#{one.pk} {one.client.name}"
                    ),
                    _review_status(one, now),
                    f"{one.asked:,}",
                    f"{one.open_items:,}",
                    _removals(one),
                    parts.moment(one.due_at if one.state == ReviewState.OPEN else one.ended_at, now),
                    one.assigned_to.shown_name if one.assigned_to else parts.none("nobody may review here", "nobody"),
                ],
            )
            for one in shown
        ],
        empty=Empty(
            "No review yet",
            "A review asks about every account by which somebody may get in: keep it, remove it, or change it. It "
            "begins by itself every quarter, counted from the day accounts were first known, or when you begin one.",
        ),
    )


def _review_status(one: AccessReview, now: datetime) -> parts.Html:
    if one.state == ReviewState.SIGNED:
        return parts.status("pass", "signed off")
    if one.state == ReviewState.ENDED:
        return parts.status("unknown", "ended")
    return parts.status("fail", "late") if one.due_at <= now else parts.status("warn", "open")


def _removals(one: Any) -> parts.Html:
    if not one.removals:
        return "0"
    if one.state == ReviewState.SIGNED and one.undone:
        return parts.status("warn", f"{one.undone} of {one.removals} still as before")
    return f"{one.removals:,}"


def _standings_table(standings: Sequence[queries.ReviewStanding], clients: Sequence[Client], get: Any) -> Table:
    by_client: dict[UUID, list[queries.ReviewStanding]] = defaultdict(list)
    for one in standings:
        by_client[one.client_id].append(one)
    names = {one.pk: one.name for one in clients}
    rows = []
    for pk, found in sorted(by_client.items(), key=lambda item: names.get(item[0], "")):
        due = min((one.due_at for one in found if one.due_at), default=None)
        worst = next((one for one in found if one.status is Status.FAIL), None)
        rows.append(
            Row(
                key=f"standing-{pk}",
                cells=[
                    parts.link(f"/access/?client={pk}", names.get(pk, "")),
                    parts.tally(list(Counter(str(one.status) for one in found).items())),
                    f"{len(found):,}",
                    f"{due:%-d %b %Y}" if due else parts.none("no accounts are known"),
                    worst.why if worst else "",
                ],
            )
        )
    return Table(
        caption="How devices stand",
        columns=[
            Column("Client", "lead"),
            Column("Devices", "second"),
            Column("All", "num"),
            Column("Next due"),
            Column("Worst", "wide"),
        ],
        rows=rows,
        empty=Empty("No device", "Approved devices stand here with the day of their last sign-off."),
        query=get,
    )


def _plans_table(scope: Scope, client: UUID | None, now: datetime) -> Table:
    found = queries.plans(scope=scope)
    found = found.filter(client=client) if client is not None else found
    return Table(
        caption="Plans",
        columns=[
            Column("Where", "lead"),
            Column("How often", "second"),
            Column("To answer in"),
            Column("Whose"),
            Column("Since"),
        ],
        rows=[
            Row(
                key=f"plan-{one.pk}",
                cells=[
                    parts.text(str(one.site or "every site"), one.client.name),
                    f"every {words.plural(one.every_months, 'month')}",
                    words.plural(one.answer_days, "day"),
                    one.assigned_to.shown_name if one.assigned_to else "whoever may",
                    parts.text(parts.moment(one.changed_at, now), one.changed_by),
                ],
            )
            for one in found[:A_PAGE]
        ],
        empty=Empty(
            "Quarterly everywhere", "No client or site has a plan of its own: every three months, 14 days to answer."
        ),
    )


@page(permission=Permission.DEVICE_VIEW, change=Permission.ACCESS_REVIEW, methods=("POST",))
def begin(request: PageRequest) -> HttpResponse:
    """Begin a review of a client or site, or keep a plan for it."""
    scope, post, now = request.scope, request.POST, timezone.now()
    kind, _, typed = post.get("place", "").partition(":")
    wanted = _uuid(typed)
    if wanted is None:
        raise Client.DoesNotExist
    site = sites_served(scope=scope).get(pk=wanted) if kind == "site" else None
    client = people.clients(scope=scope).get(pk=site.client_id if site else wanted)
    try:
        if post.get("act") == "plan":
            services.plan_set(
                client=client, site=site, every_months=parts.number_typed(post.get("months", "")) or 0,
                answer_days=parts.number_typed(post.get("days", "")) or 0, assigned_to=None, scope=scope, now=now,
            )  # fmt: skip
            messages.success(request, f"Kept: {site or client} is reviewed every {post.get('months')} months.")
            return HttpResponseRedirect("/access/#plans")
        made = services.review_begin(client=client, site=site, scope=scope, now=now)
    except AccessError as refusal:
        messages.error(request, str(refusal))
        return HttpResponseRedirect("/access/")
    return HttpResponseRedirect(f"/access/reviews/{made.pk}/")


# --- changes ------------------------------------------------------------------------------------------------------


@page(permission=Permission.DEVICE_VIEW)
def changes(request: PageRequest) -> HttpResponse:
    """What changed of access, and the form that says it is right."""
    scope, now, get = request.scope, timezone.now(), request.GET
    client, state = _uuid(get.get("client", "")), get.get("state", "open")
    found = queries.changes(scope=scope)
    found = found.filter(client=client) if client is not None else found
    found = found.filter(state=state) if state in CHANGE_WORD else found
    if get.get("q"):
        found = found.filter(Q(words__icontains=get["q"]) | Q(device__name__icontains=get["q"]))
    total = found.count()
    pages, stretch = parts.pages_of(get, total, A_PAGE)
    shown = list(found[stretch])
    may = scope.may(Permission.ACCESS_REVIEW) and any(one.state == "open" for one in shown)
    clients = list(people.clients(scope=scope).order_by("name"))
    context = {
        "crumbs": CRUMBS,
        "sentence": _changes_in_words(total, state),
        "filters": parts.Filters(
            [
                _client_choice(clients, client),
                parts.choice(
                    "state",
                    "State",
                    [
                        ("open", "To answer"),
                        ("all", "All"),
                        *((k, w.capitalize()) for k, w in CHANGE_WORD.items() if k != "open"),
                    ],
                    state,
                ),
            ],
            search=get.get("q", ""),
            placeholder="Account, key, share or device",
        ),
        "table": _changes_table(shown, now, pages=pages, pickable=may, query=get),
        "may": may,
    }
    return render_page(request, "access_changes", context, section="access", title="Changes of access", live=False)


def _changes_in_words(total: int, state: str) -> str:
    if state == "open":
        if not total:
            return "Every change of access was answered."
        wait = words.does(total, "wait")
        return f"{words.plural(total, 'change')} of access {wait} for somebody who knows whether it is right."
    return f"{words.plural(total, 'change')} of access."


def _changes_table(
    shown: Sequence[AccessChange],
    now: datetime,
    *,
    pages: parts.Pages | None = None,
    pickable: bool = False,
    query: Any = None,
) -> Table:
    more: dict[str, Any] = {"query": query} if query is not None else {}
    return Table(
        caption="Changes of access",
        columns=[
            Column("What changed", "lead"),
            Column("State", "second"),
            Column("Device"),
            Column("Risk"),
            Column("Seen"),
            Column("Ticket"),
            Column("Answer", "wide"),
        ],
        rows=[
            Row(
                key=f"change-{one.pk}",
                pick=str(one.pk) if pickable and one.state == "open" else "",
                pick_label=f"Accept: {one.words}",
                cells=[
                    one.words,
                    parts.status(CHANGE_STATUS[one.state], CHANGE_WORD[one.state]),
                    parts.link(f"/devices/{one.device_id}/access/", one.device.name, one.client.name),
                    parts.status(RISK_STATUS[one.risk], one.risk),
                    parts.moment(one.at, now),
                    parts.link(f"/tickets/{one.ticket_id}/", f"#{one.ticket_id}")
                    if one.ticket_id
                    else parts.none("none was opened"),
                    parts.text(one.reason, one.settled_by) if one.settled_by else "",
                ],
            )
            for one in shown
        ],
        empty=Empty(
            "No change",
            "A new account, key, right or shared folder appears here with a ticket, until somebody says that it is "
            "right or it is taken back.",
        ),
        pages=pages,
        pickable=pickable,
        **more,
    )


@page(permission=Permission.DEVICE_VIEW, change=Permission.ACCESS_REVIEW, methods=("POST",))
def changes_accept(request: PageRequest) -> HttpResponse:
    """Say of the picked changes that they are known and right."""
    scope, post = request.scope, request.POST
    picked = [number for one in post.getlist("pick")[:MOST_PICKED] if (number := parts.number_typed(one))]
    rows = list(queries.changes(scope=scope).filter(pk__in=picked))
    by_device: dict[UUID, list[int]] = defaultdict(list)
    for one in rows:
        by_device[one.device_id].append(one.pk)
    if picked and not rows:
        raise AccessChange.DoesNotExist
    try:
        if not rows:
            raise AccessError("Pick the changes first.")
        for device_id, numbers in by_device.items():
            changing.changes_accept(
                scope=scope, device_id=device_id, change_ids=numbers, reason=post.get("reason", ""), now=timezone.now()
            )
    except AccessError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, f"{words.plural(len(rows), 'change')} accepted; on record with your reason.")
    return HttpResponseRedirect("/access/changes/")


# --- accounts across devices --------------------------------------------------------------------------------------


@page(permission=Permission.DEVICE_VIEW)
def accounts(request: PageRequest) -> HttpResponse:
    """One line a name: on which devices, with what rights."""
    scope, now, get = request.scope, timezone.now(), request.GET
    client, show, search = _uuid(get.get("client", "")), get.get("show", ""), get.get("q", "").strip().lower()
    devices = inventory.devices(scope=scope).order_by("client__name", "name", "pk")
    devices = devices.filter(client=client) if client is not None else devices
    chosen = list(devices[:MOST_DEVICES])
    by_name: dict[str, list[queries.KnownAccount]] = defaultdict(list)
    for one in queries.accounts(scope=scope, devices=chosen):
        by_name[one.account.name].append(one)
    rows = []
    for name, found in sorted(
        by_name.items(), key=lambda item: (-sum(o.account.administrator for o in item[1]), item[0])
    ):
        asked = [one for one in found if one.asked]
        administers = [one for one in found if one.account.administrator]
        if (show == "" and not asked) or (show == "administrators" and not administers):
            continue
        full = next((one.account.full_name for one in found if one.account.full_name), "")
        if search and search not in name.lower() and search not in full.lower():
            continue
        rows.append(_account_row(name, full, found, administers, now))
    pages, stretch = parts.pages_of(get, len(rows), A_PAGE)
    clients = list(people.clients(scope=scope).order_by("name"))
    administrators = sum(any(one.account.administrator for one in found) for found in by_name.values())
    cut = f" (the first {MOST_DEVICES} devices)" if len(chosen) == MOST_DEVICES else ""
    context = {
        "crumbs": CRUMBS,
        "sentence": f"{words.plural(len(by_name), 'name')} on {words.plural(len(chosen), 'device')}{cut}; "
        f"{administrators} {words.does(administrators, 'are')} administrator somewhere."
        if by_name
        else "No device tells its accounts yet.",
        "filters": parts.Filters(
            [
                _client_choice(clients, client),
                parts.choice(
                    "show",
                    "Show",
                    [
                        ("", "Those that let somebody in"),
                        ("administrators", "Administrators"),
                        ("all", "The systems' own, too"),
                    ],
                    show,
                ),
            ],
            search=get.get("q", ""),
            placeholder="Account or person",
        ),
        "table": Table(
            caption="Accounts",
            columns=[
                Column("Account", "lead"),
                Column("Rights", "second"),
                Column("Devices", "wide"),
                Column("Keys", "num"),
                Column("Last sign-in"),
            ],
            rows=rows[stretch],
            empty=Empty(
                "No account", "None is called so, or no agent has told its accounts yet.", href="?", action="All"
            ),
            query=get,
            pages=pages,
        ),
    }
    return render_page(request, "listing", context, section="access", title="Accounts", live=False)


def _account_row(
    name: str, full: str, found: Sequence[queries.KnownAccount], administers: Sequence[Any], now: datetime
) -> Row:
    links = [format_html('<a href="/devices/{}/access/">{}</a>', one.device.pk, one.device.name) for one in found[:6]]
    more = format_html(" and {} more", len(found) - 6) if len(found) > 6 else ""
    last = max((one.account.last_login for one in found if one.account.last_login), default=None)
    kinds = Counter(one.account.kind for one in found if one.account.kind)
    return Row(
        key=f"account-{name}",
        cells=[
            parts.text(name, full or next(iter(kinds), "")),
            parts.status("warn", f"administrator of {len(administers)}")
            if administers
            else parts.tag("no administrator"),
            format_html("{}{}", parts.joined(links, separator=", "), more),
            f"{sum(one.account.ssh_keys or 0 for one in found):,}",
            parts.moment(last, now, "none known"),
        ],
    )


# --- one review ---------------------------------------------------------------------------------------------------


def _review(request: PageRequest, pk: int) -> Any:
    return queries.reviews_counted(scope=request.scope).get(pk=pk)


def _items(request: PageRequest, review: AccessReview) -> QuerySet[ReviewItem]:
    get = request.GET
    found = queries.items(scope=request.scope, review=review)
    show, device = get.get("show", ""), _uuid(get.get("device", ""))
    chosen = {
        "undecided": Q(decision="", gone_at=None), "unchanged": Q(unchanged=True), "keep": Q(decision="keep"),
        "remove": Q(decision__in=["remove", "change"]), "again": ~Q(asked_again=""),
        "new": Q(last_kept_at=None),
    }.get(show)  # fmt: skip
    found = found.filter(chosen) if chosen is not None else found
    found = found.filter(device=device) if device is not None else found
    if get.get("q"):
        text = get["q"]
        found = found.filter(
            Q(account__icontains=text) | Q(device__name__icontains=text) | Q(facts__full_name__icontains=text)
        )
    return found


@page(permission=Permission.DEVICE_VIEW)
def review(request: PageRequest, access_review_id: int) -> HttpResponse:
    """One review: every account with what is known of it, its decision, and the forms to decide."""
    scope, now, get = request.scope, timezone.now(), request.GET
    found = _review(request, access_review_id)
    is_open = found.state == ReviewState.OPEN
    may = is_open and scope.may(Permission.ACCESS_REVIEW, on=found)
    rows = _items(request, found)
    by_person = get.get("group", "") == "person"
    rows = rows.order_by("account", "device__name") if by_person else rows.order_by("device__name", "account")
    total = rows.count()
    pages, stretch = parts.pages_of(get, total, A_PAGE if not get.get("all") else 5000)
    shown = list(rows[stretch])
    everyone = queries.items(scope=scope, review=found)
    unchanged = everyone.filter(decision="", unchanged=True, gone_at=None).count() if may else 0
    left = found.open_items
    context = {
        "crumbs": CRUMBS,
        "review": found,
        "sentence": _review_in_words(found, left, now),
        "facts": _review_facts(found, now),
        "filters": parts.Filters(
            [
                parts.choice(
                    "show", "Show",
                    [
                        ("", "All accounts"), ("undecided", "To decide"), ("again", "Asked again"),
                        ("unchanged", "Unchanged since the last review"),
                        ("new", "Never kept before"), ("keep", "Kept"), ("remove", "To remove or change"),
                    ],
                    get.get("show", ""),
                ),
                parts.choice("group", "Group", [("", "By device"), ("person", "By person")], get.get("group", "")),
            ],
            search=get.get("q", ""),
            placeholder="Account, person or device",
            keep=[("device", get["device"])] if _uuid(get.get("device", "")) else (),
        ),
        "table": _items_table(shown, now, by_person=by_person, pickable=may, pages=pages, query=get),
        "may": may,
        "left": left,
        "unchanged": unchanged,
        "query": get.urlencode(),
        "todo": [
            (one, _fingerprints(one)) for one in shown if one.decision in ("remove", "change") and one.done_at is None
        ]
        if scope.may(Permission.ACCESS_REVIEW, on=found)
        else [],
        "actions": format_html(
            '<a class="button" href="/access/reviews/{}/accounts.csv">CSV</a>'
            '<a class="button" href="?all=1">All on one page</a>',
            found.pk,
        ),
    }  # fmt: skip
    title = f"Access review of {found.site or found.client}"
    return render_page(request, "access_review", context, section="access", title=title, live=False)


def _review_in_words(found: Any, left: int, now: datetime) -> parts.Html:
    if found.state == ReviewState.SIGNED:
        said = f"{found.ended_by} signed off {words.plural(found.asked, 'account')}"
        if found.undone:
            are = words.does(found.undone, "are")
            return f"{said}; {found.undone} of {found.removals} to be removed or changed {are} still as before."
        done = f"; all {found.removals} that were to be removed or changed are" if found.removals else ""
        return f"{said}{done}."
    if found.state == ReviewState.ENDED:
        return f"{found.ended_by} ended it without a sign-off: {found.note}."
    due = parts.moment(found.due_at, now)
    if not left:
        return format_html("Every account is decided: sign it off. Due {}.", due)
    return format_html(
        "<b>{}</b> of {} still to decide; to be signed off {}.", f"{left:,}", words.plural(found.asked, "account"), due
    )


def _review_facts(found: AccessReview, now: datetime) -> list[Fact]:
    facts = [
        Fact(
            "Begun",
            parts.text(
                parts.moment(found.begun_at, now),
                "by the plan" if found.begun_by == services.BY_PLAN else found.begun_by,
            ),
        ),
        Fact(
            "Whose",
            found.assigned_to.shown_name if found.assigned_to else parts.none("nobody may review here", "nobody"),
        ),
    ]
    if found.ended_at:
        facts.append(Fact("Ended", parts.text(parts.moment(found.ended_at, now), found.ended_by)))
    if found.note:
        facts.append(Fact("Note", found.note))
    if found.not_known:
        named = ", ".join(found.not_known[:10])
        missing = f"{words.plural(len(found.not_known), 'device')} whose accounts are not known: {named}"
        facts.append(Fact("Not signed off", parts.status("unknown", missing)))
    if found.evidence_reference:
        facts.append(Fact("On record", found.evidence_reference))
    return facts


def _items_table(
    shown: Sequence[ReviewItem],
    now: datetime,
    *,
    by_person: bool,
    pickable: bool,
    pages: parts.Pages | None,
    query: Any,
) -> Table:
    return Table(
        caption="Accounts",
        columns=[
            Column("Device" if by_person else "Account", "lead"),
            Column("Decision", "second"),
            Column("Rights"),
            Column("Opens by"),
            Column("Last sign-in"),
            Column("Why", "wide"),
        ],
        rows=[
            Row(
                key=f"item-{one.pk}",
                pick=str(one.pk) if pickable else "",
                pick_label=f"{one.account} on {one.device.name}",
                group=_person(one) if by_person else one.device.name,
                cells=[
                    parts.link(f"/devices/{one.device_id}/access/", one.device.name, one.account)
                    if by_person
                    else parts.text(one.account, one.facts.get("full_name") or one.facts.get("kind", "")),
                    _decision(one, now),
                    _rights(one),
                    _opens_by(one),
                    parts.moment(_time(one.facts.get("last_login")), now, "none known"),
                    _why(one),
                ],
            )
            for one in shown
        ],
        empty=Empty(
            "No account here", "None of this review's accounts is asked for so.", href="?", action="All accounts"
        ),
        query=query,
        pages=pages,
        pickable=pickable,
    )


def _person(one: ReviewItem) -> str:
    full = one.facts.get("full_name", "")
    return f"{one.account} ({full})" if full else one.account


def _time(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if value else None
    except ValueError:
        return None


def _decision(one: ReviewItem, now: datetime) -> parts.Html:
    if one.gone_at is not None and not one.decision:
        return parts.text(parts.status("pass", "gone"), "before it was decided")
    if not one.decision:
        return parts.status("unknown", "asked again" if one.asked_again else "to decide")
    who = format_html("{}, {}", one.decided_by, parts.moment(one.decided_at, now))
    if one.decision == "keep":
        return parts.text(parts.status("pass", "keep"), who)
    if one.done_at is not None:
        return parts.text(parts.status("pass", f"{one.decision}: done"), parts.moment(one.done_at, now))
    return parts.text(parts.status(DECISION_STATUS[one.decision], one.decision), who)


def _rights(one: ReviewItem) -> parts.Html:
    because = one.facts.get("administrator") or []
    sudo = one.facts.get("sudo") or []
    groups = ", ".join((one.facts.get("groups") or [])[:5])
    if because:
        return parts.text(parts.status("warn", "administrator"), ", ".join(because[:3]))
    if sudo:
        return parts.text(parts.status("warn", "sudo"), sudo[0][:80])
    return parts.text("ordinary", groups)


def _opens_by(one: ReviewItem) -> parts.Html:
    facts = one.facts
    said = []
    if facts.get("password") in ("set", "empty"):
        said.append("password" if facts["password"] == "set" else "empty password")  # noqa: S105 - a state
    if facts.get("ssh_keys"):
        said.append(words.plural(facts["ssh_keys"], "key"))
    if facts.get("password") == "unknown" or facts.get("ssh_keys") is None:
        said.append("not all is known")
    keys = facts.get("keys") or []
    if facts.get("disabled"):
        return parts.text("ended", facts.get("expires_at", ""))
    named = [" ".join(key.split()[3:]) or _short(key) for key in keys[:3]]
    return parts.text(" and ".join(said) or "nothing", ", ".join(named)[:80])


def _short(key: str) -> str:
    """A key without a name by the beginning of its fingerprint."""
    return next((word[:16] + "…" for word in key.split() if word.startswith("SHA256:")), key[:20])


def _why(one: ReviewItem) -> parts.Html:
    if one.asked_again:
        return parts.text(parts.status("warn", "changed since"), one.asked_again)
    sub: parts.Html = ""
    if one.job_id:
        sub = format_html('<a href="/jobs/{}/">its run</a>', one.job_id)
    elif one.job_note:
        sub = f"no run: {one.job_note}"
    if one.reason or sub:
        return parts.text(one.reason, sub)
    if one.unchanged and one.last_kept_at:
        return format_html(
            '<span class="muted">unchanged since it was kept on {}</span>', f"{one.last_kept_at:%-d %b %Y}"
        )
    return ""


def _fingerprints(one: ReviewItem) -> list[tuple[str, str]]:
    """The keys of an account as its facts tell them: fingerprint and words."""
    return [
        (fingerprint, key[:80])
        for key in one.facts.get("keys") or []
        if (fingerprint := next((word for word in key.split() if word.startswith("SHA256:")), ""))
    ]


def _back(request: PageRequest, pk: int) -> HttpResponse:
    query = request.POST.get("query", "")
    return HttpResponseRedirect(f"/access/reviews/{pk}/{'?' + query if query and len(query) < 1000 else ''}")


@page(permission=Permission.DEVICE_VIEW, change=Permission.ACCESS_REVIEW, methods=("POST",))
def review_decide(request: PageRequest, access_review_id: int) -> HttpResponse:
    """Keep, remove or change the picked accounts; or keep those that are unchanged."""
    scope, post, now = request.scope, request.POST, timezone.now()
    found = queries.reviews(scope=scope).get(pk=access_review_id)
    try:
        if post.get("decision") == "unchanged":
            decided = services.items_keep_unchanged(review=found, reason=post.get("reason", ""), scope=scope, now=now)
        else:
            picked = [number for one in post.getlist("pick")[:MOST_PICKED] if (number := parts.number_typed(one))]
            decided = services.items_decide(
                review=found, item_ids=picked, decision=post.get("decision", ""), reason=post.get("reason", ""),
                scope=scope, now=now,
            )  # fmt: skip
    except AccessError as refusal:
        messages.error(request, str(refusal))
    else:
        runs = sum(one.job_id is not None and one.decision == "remove" for one in decided)
        more = (
            f" {words.plural(runs, 'run')} of lock-account {words.does(runs, 'wait')} for a signature." if runs else ""
        )
        messages.success(request, f"{words.plural(len(decided), 'account')} decided; on record.{more}")
    return _back(request, access_review_id)


@page(permission=Permission.DEVICE_VIEW, change=Permission.ACCESS_REVIEW, methods=("POST",))
def review_act(request: PageRequest, access_review_id: int, act: str) -> HttpResponse:
    """Sign a review off, or end it without."""
    scope, post, now = request.scope, request.POST, timezone.now()
    found = queries.reviews(scope=scope).get(pk=access_review_id)
    try:
        if act == "sign":
            services.review_sign(review=found, note=post.get("note", ""), scope=scope, now=now)
            messages.success(request, "Signed off; on record with every account.")
        else:
            services.review_end(review=found, reason=post.get("reason", ""), scope=scope, now=now)
            messages.success(request, "Ended. Nothing counts as reviewed by it.")
    except AccessError as refusal:
        messages.error(request, str(refusal))
    return _back(request, access_review_id)


@page(permission=Permission.DEVICE_VIEW, change=Permission.ACCESS_REVIEW, methods=("POST",))
def item_prepare(request: PageRequest, review_item_id: int) -> HttpResponse:
    """Prepare the run that does what was decided of an account."""
    found = queries.items(scope=request.scope).get(pk=review_item_id)
    runbook, _, fingerprint = request.POST.get("runbook", "").partition(" ")
    try:
        services.item_prepare(
            item=found, runbook=runbook, parameters={"fingerprint": fingerprint} if fingerprint else {},
            scope=request.scope, now=timezone.now(),
        )  # fmt: skip
    except AccessError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, "Prepared; an operator signs it.")
    return _back(request, found.review_id)


@page(permission=Permission.DEVICE_VIEW)
def review_csv(request: PageRequest, access_review_id: int) -> HttpResponse:
    """Every account of a review with its decision, for a spreadsheet."""
    found = queries.reviews(scope=request.scope).get(pk=access_review_id)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        ["client", "device", "account", "person", "kind", "administrator because", "groups", "sudo", "password",
         "ssh keys", "last sign-in", "decision", "reason", "decided by", "decided at", "done at", "record"]
    )  # fmt: skip
    for one in queries.items(scope=request.scope, review=found).order_by("device__name", "account"):
        facts = one.facts
        writer.writerow(
            [
                cell_inert(str(value))
                for value in (
                    found.client.name, one.device.name, one.account, facts.get("full_name", ""), facts.get("kind", ""),
                    "; ".join(facts.get("administrator") or []), "; ".join(facts.get("groups") or []),
                    "; ".join(facts.get("sudo") or []), facts.get("password", ""),
                    "not known" if facts.get("ssh_keys") is None else facts["ssh_keys"], facts.get("last_login", ""),
                    one.decision or ("gone" if one.gone_at else "not decided"), one.reason, one.decided_by,
                    one.decided_at.isoformat() if one.decided_at else "",
                    one.done_at.isoformat() if one.done_at else "",
                    one.evidence_reference,
                )
            ]
        )  # fmt: skip
    answer = HttpResponse(out.getvalue(), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="access-review-{found.pk}.csv"'
    return answer


# --- on a device's page -------------------------------------------------------------------------------------------


def device_tab(request: PageRequest, device: Any, now: datetime) -> dict[str, Any]:
    """What the tab Access shows above the facts: the standing, and the changes."""
    standings = queries.review_standings(scope=request.scope, now=now, devices=[device.pk])
    standing = standings[0] if standings else None
    found = list(queries.changes(scope=request.scope).filter(device=device)[:30])
    return {
        "standing": standing,
        "standing_shown": parts.status(str(standing.status), standing.why) if standing else "",
        "changes": _changes_table(found, now) if found else None,
    }
