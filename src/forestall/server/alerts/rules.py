"""When a check's answer becomes an alert. No I/O."""

from __future__ import annotations

from datetime import datetime, timedelta

from forestall.server.checks.kinds import CHECK_KINDS
from forestall.server.checks.result import Risk, Status

OFFLINE_KIND = "offline"

JUDGED_ABOUT_THE_LINK = frozenset({OFFLINE_KIND, "pending_enrolment"})
"""Kinds that stay true while a device is offline: they are about the link itself or about the server's own records."""

ONE_PIECE_OF_WORK = frozenset(
    {
        "certificate_expiry",
        "firewall",
        "new_administrator",
        "open_socket",
        "other_updates",
        "pending_enrolment",
        "security_updates",
        "silent_checks",
        "sshd_settings",
    }
)
"""Kinds of which several targets on one device are one piece of work (a technician closes five sockets in one
sitting). Of every other kind a target is a fault of its own: two full volumes are two tickets."""

UNKNOWN_PERSISTS = timedelta(minutes=60)
"""How long a check that used to pass may answer unknown before that is an alert itself."""

FLAPPING_SPAN = timedelta(minutes=30)
FLAPPING_CHANGES = 6
"""This many changes between passing and not, within the span, and the check is flapping."""
FLAPPING_CALM = timedelta(minutes=5)
"""A flapping check has to hold still this long before its new answer counts."""
FLAPPING_LONGEST = timedelta(minutes=30)
"""A check that flaps longer than this is an alert, still or not."""

QUIET_IN_GROUP = timedelta(minutes=10)
"""A further alert of a group of which someone was told this recently is not sent again."""

_SEVERITY = {Status.UNKNOWN: 0, Status.WARN: 1, Status.FAIL: 2}


def is_trouble(*, status: Status, passed_before: bool) -> bool:
    """Whether this answer is reason for an alert.

    - ``warn`` and ``fail``: yes.
    - ``unknown``: only when the check used to pass, for then a proof was lost (and only if it persists, see
      ``UNKNOWN_PERSISTS``). A check that never passed (no SMART on a virtual disk) stays visible on its page.
    - ``stale``: no. That a device or a collector fell silent is what the kinds ``offline`` and ``silent_checks``
      say, once, instead of each of its checks.
    """
    if status.is_problem:
        return True
    return status is Status.UNKNOWN and passed_before


def is_worse(*, now: Status, before: Status) -> bool:
    """Whether an open alert got worse: from unknown or warn up to warn or fail."""
    return _SEVERITY.get(now, -1) > _SEVERITY.get(before, -1)


def group_of(*, device_id: object, kind: str, target: str) -> str:
    """The group of a condition on a device: alerts of one group are one notification and one ticket."""
    return f"{device_id}/{condition_of(kind=kind, target=target)}"


def condition_of(*, kind: str, target: str) -> str:
    """``disk_space:/var``, ``open_socket``: what is one piece of work on a device."""
    return kind if kind in ONE_PIECE_OF_WORK or not target else f"{kind}:{target}"


def subject_of(*, kind: str, target: str) -> str:
    """A condition in words, for titles: ``Disk space: /var``."""
    known = CHECK_KINDS.get(kind)
    title = known.texts.title if known else kind.replace("_", " ").capitalize()
    return f"{title}: {target}" if target else title


def flapping_until(*, changes: int, first_seen_at: datetime, now: datetime) -> datetime | None:
    """Until when to wait for the check to hold still; None when it is not flapping, or has been for too long."""
    if changes < FLAPPING_CHANGES:
        return None
    until = min(now + FLAPPING_CALM, first_seen_at + FLAPPING_LONGEST)
    return until if until > now else None


def is_sent(*, risk: Risk, minimum: Risk) -> bool:
    """Whether a route that wants ``minimum`` and above takes something of ``risk``."""
    return risk.rank <= minimum.rank
