"""Patches: which updates wait where, since when, and which of them are late."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.http import HttpResponse
from django.utils.html import format_html

from forestall.server.checks import queries as checks
from forestall.server.checks.result import Status
from forestall.server.console import parts, words
from forestall.server.console.access import PageRequest, page
from forestall.server.console.parts import Column, Empty, Row, Table
from forestall.server.console.shell import render_page
from forestall.server.console.views.checks import WORST
from forestall.server.people.scope import Permission

KINDS = ("security_updates", "other_updates", "reboot_pending", "end_of_life")
A_PAGE = 100
COLUMNS = (
    "device_id", "device__name", "device__client__name", "device__os_name",
    "kind", "status", "value", "unit", "reason", "judged_at",
)  # fmt: skip


class Answer(NamedTuple):
    """What this page needs of a check: thousands are read at once."""

    device_id: UUID
    device: str
    client: str
    os_name: str
    kind: str
    status: str
    value: float | None
    unit: str
    reason: str
    judged_at: datetime


@page(permission=Permission.DEVICE_VIEW)
def patches(request: PageRequest) -> HttpResponse:
    scope = request.scope
    by_device: dict[UUID, dict[str, Answer]] = defaultdict(dict)
    for row in checks.checks(scope=scope).filter(kind__in=KINDS).order_by().values_list(*COLUMNS):
        answer = Answer(*row)
        by_device[answer.device_id][answer.kind] = answer
    rows = [own for own in by_device.values() if any(_waits(check) for check in own.values())]
    rows.sort(key=_rank)
    shown = request.GET.get("show", "")
    if shown == "late":
        rows = [own for own in rows if any(check.status == Status.FAIL for check in own.values())]
    pages, stretch = parts.pages_of(request.GET, len(rows), A_PAGE)
    table = Table(
        caption="Devices with updates waiting",
        columns=[
            Column("Device", "lead"),
            Column("Security", "second"),
            Column("Why", "wide"),
            Column("Other"),
            Column("Reboot"),
        ],
        rows=[
            Row(
                key=f"patch-{next(iter(own.values())).device_id}",
                cells=_cells(own),
            )
            for own in rows[stretch]
        ],
        empty=Empty("Nothing is late", "No device has an update past its time.", href="?", action="Show all that wait")
        if shown
        else Empty(
            "No update waits",
            "Every device that has reported its updates has none pending. They are reported as they change.",
            href="/devices/",
            action="Devices",
        ),
        pages=pages,
    )
    filters = parts.Filters(
        [parts.choice("show", "Show", [("", "Everything that waits"), ("late", "What is late")], shown)]
    )
    newest = max((check.judged_at for own in by_device.values() for check in own.values()), default=None)
    return render_page(
        request,
        "patches",
        {"sentence": _sentence(by_device), "table": table, "filters": filters},
        section="patches",
        title="Patches",
        data_at=newest,
    )


def _waits(check: Answer) -> bool:
    return bool(check.value) if check.unit == "updates" else check.status in {Status.FAIL, Status.WARN}


def _rank(own: dict[str, Answer]) -> tuple[int, float, str]:
    worst = min(WORST[Status(check.status)] for check in own.values())
    security = own.get("security_updates")
    return (worst, -(security.value or 0) if security else 0, next(iter(own.values())).device)


def _sentence(by_device: dict[UUID, dict[str, Answer]]) -> parts.Html:
    security = [own["security_updates"] for own in by_device.values() if "security_updates" in own]
    pending = [check for check in security if check.value]
    late = sum(check.status == Status.FAIL for check in security)
    blind = sum(check.status in {Status.UNKNOWN, Status.STALE} for check in security)
    reboots = sum(
        "reboot_pending" in own and own["reboot_pending"].status in {Status.FAIL, Status.WARN}
        for own in by_device.values()
    )
    if not by_device:
        return "No device has reported its updates yet."
    number = int(sum(check.value or 0 for check in pending))
    said = [
        format_html(
            "<b>{}</b> {} on {}",
            words.plural(number, "security fix", "security fixes"),
            words.does(number, "wait"),
            words.plural(len(pending), "device"),
        )
        if pending
        else "No security fix is known to wait"
    ]
    if late:
        said.append(
            format_html('<a href="?show=late">{} {} late</a>', words.plural(late, "device"), words.does(late, "are"))
        )
    if reboots:
        said.append(f"{words.plural(reboots, 'device')} {words.does(reboots, 'need')} a reboot")
    if blind:
        said.append(f"of {words.plural(blind, 'device')} we cannot know")
    return format_html("{}.", parts.joined(said, separator="; "))


def _cells(own: dict[str, Answer]) -> list[parts.Html]:
    first = next(iter(own.values()))
    security, other, reboot = own.get("security_updates"), own.get("other_updates"), own.get("reboot_pending")
    unknown = parts.none("not judged yet", "unknown")
    late = own.get("end_of_life")
    waits = security is not None and (security.value or security.status != Status.PASS)
    why = security.reason if security and waits else other.reason if other else ""
    if late is not None and late.status in {Status.FAIL, Status.WARN}:
        why = f"{why} {late.reason}".strip()
    return [
        parts.link(f"/devices/{first.device_id}/updates/", first.device, f"{first.client} · {first.os_name}"),
        _security(security) if security else unknown,
        why,
        f"{int(other.value)}" if other and other.value is not None else unknown,
        parts.status(reboot.status, "needed" if reboot.status in {Status.FAIL, Status.WARN} else "not needed")
        if reboot and reboot.status not in {Status.UNKNOWN, Status.STALE}
        else unknown,
    ]


def _security(check: Answer) -> parts.Html:
    """How many wait. Zero is written 0 only when somebody looked; unknown and stale are said in words."""
    if check.status in {Status.UNKNOWN, Status.STALE}:
        return parts.status(check.status)
    return parts.status(check.status, f"{int(check.value)} pending") if check.value else "0"
