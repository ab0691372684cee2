"""What a service report says, as data. ``ServiceReport.body`` holds ``ReportBody`` as plain JSON values; the page and
the PDF are two ways to show it. All times are ISO 8601 in UTC, all durations seconds of working time."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec


class Party(msgspec.Struct, frozen=True):
    """A client, site or device by id and name."""

    id: str
    name: str


class Seen(msgspec.Struct, frozen=True):
    """What a check saw."""

    kind: str
    """Slug of the check: ``disk_space``."""
    target: str
    status: str
    """The worst it said: ``warn``, ``fail``, ``unknown``."""
    risk: str
    reason: str
    """What it said when it was worst, in one sentence."""
    value: float | None
    unit: str
    first_seen_at: datetime
    raised_at: datetime | None
    cleared_at: datetime | None


class Step(msgspec.Struct, frozen=True):
    """A step of a job, as the device reported it."""

    action: str
    ok: bool
    summary: str
    changed: dict[str, int]
    """Counted effects: ``{"files": 214, "bytes": 1288490188}``."""


class Done(msgspec.Struct, frozen=True):
    """Something that was done."""

    at: datetime
    who: str
    """A person's user name, ``check``, or the device."""
    authority: str
    """Why it was allowed: ``standing order 3f2a… (disk_space)``, ``signed by operator 9c01…``; empty for a person's
    own act."""
    text: str
    job_id: str = ""
    outcome: str = ""
    """Of a job: ``succeeded``, ``failed``, ``refused`` …"""
    steps: list[Step] = []
    reference: str = ""


class Verification(msgspec.Struct, frozen=True):
    """Whether a check has shown that it is fixed."""

    state: Literal["verified", "unverified", "by_hand"]
    """``by_hand``: of a request, which no check judges."""
    at: datetime | None
    status: str
    reason: str
    value: float | None
    unit: str
    evidence: list[str]
    """What the check rested on: commands, files, series names."""


class Stretch(msgspec.Struct, frozen=True):
    """A stretch of time on the SLA clock."""

    start: datetime
    end: datetime
    counted: bool
    why: str


class SlaClock(msgspec.Struct, frozen=True):
    """An SLA clock at the end."""

    kind: Literal["response", "resolution"]
    state: str
    """``kept``, ``missed`` or (report made before it stopped) ``running``, ``breached`` …"""
    used_seconds: float
    total_seconds: int
    started_at: datetime
    stopped_at: datetime | None
    stopped_by: str
    due_at: datetime | None
    stretches: list[Stretch]
    """Every stretch from start to stop, with why it counted or not."""


class Evidence(msgspec.Struct, frozen=True):
    """A record of the client's evidence log."""

    reference: str
    """``client/#index``."""
    index: int
    kind: str
    at: datetime
    leaf_hash: str
    """RFC 6962 leaf hash, in hex."""
    signed_by_device: bool


class CheckpointOf(msgspec.Struct, frozen=True):
    """The signed checkpoint that covers the evidence."""

    size: int
    root: str
    at: datetime


class ReportBody(msgspec.Struct, frozen=True, kw_only=True):
    """A service report."""

    number: str
    """``SR-000001``."""
    made_at: datetime
    timezone: str
    """The client's: times are shown in it."""
    supersedes: str
    """Number of the earlier report of the same ticket; empty: none."""
    client: Party
    site: Party
    device: Party | None
    """None: a request that is about no one device."""
    device_role: str
    device_os: str
    ticket: int
    title: str
    state: Literal["resolved", "closed"]
    risk: str
    priority: str
    owner: str
    first_seen_at: datetime
    opened_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str
    resolved_at: datetime
    resolved_by: str
    close_reason: str
    resolution: str
    """What a person wrote about what was done; empty when none did."""
    seen: list[Seen]
    done: list[Done]
    verification: Verification
    sla: list[SlaClock]
    calendar_note: str
    """What is missing from the calendar the clocks count by; empty when nothing is."""
    evidence: list[Evidence]
    checkpoint: CheckpointOf | None
    request: str = ""
    """What was asked for, in the words of who asked; empty: a check opened the ticket."""
    requested_by: str = ""


def body_plain(body: ReportBody) -> dict[str, Any]:
    """The body as plain JSON values."""
    plain: dict[str, Any] = msgspec.to_builtins(body)
    return plain


def body_read(plain: dict[str, Any]) -> ReportBody:
    """The body in these values; msgspec.ValidationError names the bad place."""
    return msgspec.convert(plain, type=ReportBody, strict=False)
