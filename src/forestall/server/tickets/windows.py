"""Telling people of maintenance windows: the client that one waits for its answer, the desk what the answer was."""

from __future__ import annotations

from datetime import datetime

from forestall.server.alerts.services import notify
from forestall.server.calendar.models import MaintenanceWindow
from forestall.server.calendar.recurrence import recurrence_words
from forestall.server.checks.result import Risk
from forestall.server.people.scope import Scope
from forestall.server.tickets.mail import tell_of_window

_TOLD = Scope.system("desk")


def window_proposed_by_id(*, window_id: int | str, now: datetime) -> None:
    """Write to those who approve for the client, unless it was answered or ended meanwhile."""
    window = _window(window_id)
    if window is None or window.answer or window.ended_at is not None or not window.needs_approval:
        return
    tell_of_window(
        site=window.site,
        subject=f"Your approval is asked for: {window.name}",
        text=f"We would like to work at {window.site.name} in this time, and need your approval:\n\n{in_words(window)}",
        now=now,
    )


def window_answered_by_id(*, window_id: int | str, now: datetime) -> None:
    """Tell the desk, by the routes it set."""
    window = _window(window_id)
    if window is None or not window.answer:
        return
    notify(
        client=window.site.client,
        risk=Risk.LOW,
        title=f"The client has {window.answer}: {window.name}",
        text=f"{in_words(window)}\n{window.answer_reason}".strip(),
        now=now,
        about=f"window {window.pk}",
    )


def in_words(window: MaintenanceWindow) -> str:
    """What and when, as people read it."""
    when = recurrence_words(window.rrule, window.starts_on)
    lines = [
        f"{window.name} ({window.site.name})",
        f"{when}, from {window.starts_at:%H:%M}, {window.minutes} minutes ({window.site.zone})",
    ]
    return "\n".join([*lines, window.purpose] if window.purpose else lines)


def _window(window_id: int | str) -> MaintenanceWindow | None:
    found: MaintenanceWindow | None = (
        MaintenanceWindow.objects.visible_to(_TOLD).select_related("site__client").filter(pk=window_id).first()
    )
    return found
