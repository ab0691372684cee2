"""The SLA clock of the tickets package as the part the pages show."""

from __future__ import annotations

from forestall.server.console import parts, words
from forestall.server.tickets.rules import AT_RISK_PERCENT, ClockKind, ClockState, ClockView

_STATES = {
    ClockState.RESTING: "paused",
    ClockState.PAUSED: "paused",
    ClockState.BREACHED: "breached",
    ClockState.KEPT: "done",
    ClockState.MISSED: "breached",
}
WARN_PERCENT = 75
"""From here on the bar is drawn as a warning; half the time gone is normal work."""


def clock_part(view: ClockView, *, large: bool = False) -> parts.Clock:
    state = _STATES.get(view.state, "warn" if view.percent >= WARN_PERCENT else "running")
    if state == "paused" and view.percent >= WARN_PERCENT:
        state = "warn"
    what = "Response" if view.kind is ClockKind.RESPONSE else "Resolution"
    hours = words.quantity(round(view.total_seconds / 3600, 1), "working h")
    title = f"{what} within {hours}"
    if view.due_at is not None:
        title += f", by {words.exact(view.due_at)}"
    if view.note:
        title += f". {view.note}"
    return parts.Clock(
        spent=view.percent / 100,
        words=f"{what.lower()}: {view.text}" if large else view.text,
        state=state,
        title=title,
        large=large,
    )


def is_at_risk(view: ClockView) -> bool:
    return view.percent >= AT_RISK_PERCENT and view.state is not ClockState.PAUSED
