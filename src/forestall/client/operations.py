# ruff: noqa - made by tools/client.py from the API's description; do not edit
"""Every shape and operation of the API. Made by ``tools/client.py`` from the API's own description: do not edit."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Any, Literal
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType, field
from msgspec.json import decode

from forestall.client.core import Pages, Transport, segment

__all__ = ["Client"]


class AccessAcceptIn(Struct, kw_only=True):
    """See the operations that use it."""

    device: UUID
    changes: list[int]
    reason: str


class AccessChangeOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    client: Named
    device: UUID
    device_name: str
    at: datetime
    about: str
    """`account:eve`, `sudo:eve`, `share:smb/public`."""
    field: str
    was: str
    now: str
    words: str
    risk: str
    state: str
    """`open`, `accepted`, `undone`, `noted`."""
    settled_at: datetime | None
    settled_by: str
    reason: str
    ticket_id: int | None
    evidence_reference: str


class AccessReviewIn(Struct, kw_only=True):
    """See the operations that use it."""

    client: UUID
    site: UUID | None | UnsetType = UNSET
    """Null: the client, but for sites with a plan of their own."""
    assigned_to: int | None | UnsetType = UNSET


class AccessReviewOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    client: Named
    site: UUID | None
    site_name: str
    state: str
    """`open`, `signed`, `ended`."""
    begun_at: datetime
    begun_by: str
    due_at: datetime
    assigned_to: str
    ended_at: datetime | None
    ended_by: str
    note: str
    not_known: list[str]
    """Devices whose accounts are not known."""
    accounts: int
    undecided: int
    removals: int
    """Decided to be removed or changed."""
    undone: int
    """Of these, so many are as before."""
    evidence_reference: str


class AccountOut(Struct, kw_only=True):
    """See the operations that use it."""

    device: UUID
    device_name: str
    name: str
    full_name: str
    uid: int
    kind: str
    """`person`, `service`, `system`; empty: not known."""
    source: str
    administrator: bool
    administrator_because: list[str]
    groups: list[str]
    login: bool
    password: str
    password_hash: str
    password_changed_at: datetime | None
    password_expires: bool | None
    expires_at: datetime | None
    disabled: bool | None
    last_login: datetime | None
    ssh_keys: int | None
    keys: list[str]
    asked: bool
    """Whether reviews ask about it."""


class ActionOut(Struct, kw_only=True):
    """See the operations that use it."""

    kind: str
    """`upgrade`, `restart`, `mitigate` (no fix yet) or `release` (end of life)."""
    sentence: str
    effect: str
    package: str
    ecosystem: str
    fix: str
    """The version that has every fix there is."""
    score: int
    """What to do first: see docs/using.md."""
    why: list[str]
    vulnerabilities: int
    known_exploited: int
    critical: int
    findings: int
    """Vulnerabilities times devices."""
    exposed: int
    """Devices on which the package itself listens beyond the machine."""
    device_count: int
    devices: list[Named]
    """The first 50."""
    gravest: list[str]


class AffectedOut(Struct, kw_only=True):
    """See the operations that use it."""

    device: Named
    client: Named
    package: str
    version: str
    fixed: str
    advisory: str
    installed: list[str]
    only_running: bool
    exposed: str
    since: datetime
    gone_at: datetime | None
    mark: str


class AlertOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    device: Named
    check: int | None
    kind: str
    target: str
    status: str
    risk: str
    reason: str
    state: str
    """`open`, `muted` or `cleared`."""
    first_seen_at: datetime
    raised_at: datetime | None
    cleared_at: datetime | None
    cleared_because: str
    muted_because: str
    ticket: int | None


class AnswerOut(Struct, kw_only=True):
    """See the operations that use it."""

    owner: str | None
    """Null: nobody; somebody must take it."""
    rule: int | None
    """Null: no rule fits."""
    why: str


class ApprovalIn(Struct, kw_only=True):
    """See the operations that use it."""

    question: str
    what_happens: str
    """What is done once it is approved."""
    cost: str | UnsetType = UNSET
    """Money and time, as a note."""
    answer_by: datetime | None | UnsetType = UNSET
    """After this it lapses. Null: no end."""


class ApprovalOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    ticket: int
    question: str
    what_happens: str
    cost: str
    state: str
    asked_at: datetime
    asked_by: str
    answer_by: datetime | None
    answered_at: datetime | None
    answered_by: str
    reason: str
    reference: str
    """Evidence record of the answer: `client/#index`."""


class AssessmentDetailOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    device: UUID
    device_name: str
    tool: str
    version: str
    profile: str
    at: datetime
    score: float | None
    passed: int
    failed: int
    came_by: str
    """`device`: its agent found it; `person`: somebody brought it."""
    imported_by: str
    findings: list[AssessmentFindingSchema]
    overlap: OverlapOut | None
    """Null: the device was not judged by a baseline yet."""


class AssessmentFindingSchema(Struct, kw_only=True):
    """See the operations that use it."""

    id: str
    result: Literal["pass", "fail", "warning", "suggestion", "error", "unknown", "not_applicable", "not_checked"]
    title: str | UnsetType = UNSET
    severity: str | UnsetType = UNSET
    detail: str | UnsetType = UNSET


class AssessmentIn(Struct, kw_only=True):
    """What `forestall facts parse lynis` and `… openscap` make of a report: the server reads no XML."""

    device: UUID
    tool: Literal["lynis", "openscap"]
    findings: list[AssessmentFindingSchema]
    version: str | UnsetType = UNSET
    profile: str | UnsetType = UNSET
    at: datetime | None | UnsetType = UNSET
    score: float | None | UnsetType = UNSET


class AssessmentOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    device: UUID
    device_name: str
    tool: str
    version: str
    profile: str
    at: datetime
    score: float | None
    passed: int
    failed: int
    came_by: str
    """`device`: its agent found it; `person`: somebody brought it."""
    imported_by: str


class AssetChangeIn(Struct, kw_only=True):
    """What is not named stays as it is; null empties a date and ends being a device."""

    name: str | UnsetType = UNSET
    role: Literal["server", "endpoint", "network", "printer", "cloud", "other"] | UnsetType = UNSET
    manufacturer: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    serial: str | UnsetType = UNSET
    location: str | UnsetType = UNSET
    bought_on: date | None | UnsetType = UNSET
    warranty_until: date | None | UnsetType = UNSET
    notes: str | UnsetType = UNSET
    device: UUID | None | UnsetType = UNSET


class AssetIn(Struct, kw_only=True):
    """See the operations that use it."""

    site: UUID
    name: str
    role: Literal["server", "endpoint", "network", "printer", "cloud", "other"] | UnsetType = UNSET
    manufacturer: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    serial: str | UnsetType = UNSET
    location: str | UnsetType = UNSET
    bought_on: date | None | UnsetType = UNSET
    warranty_until: date | None | UnsetType = UNSET
    notes: str | UnsetType = UNSET


class AssetOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    client: Named
    site: Named
    name: str
    role: str
    manufacturer: str
    model: str
    serial: str
    location: str
    bought_on: date | None
    warranty_until: date | None
    notes: str
    device: Named | None
    """Null: no agent watches it."""


class AttachmentIn(Struct, kw_only=True):
    """See the operations that use it."""

    name: str
    content: str
    """Base64; 5 MB at most."""


class BaselineIn(Struct, kw_only=True):
    """See the operations that use it."""

    client: UUID
    level: int
    reason: str
    device: UUID | None | UnsetType = UNSET
    """Null: the client's devices (of `role`)."""
    role: Literal["", "server", "cloud", "endpoint"] | UnsetType = UNSET


class BaselineOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    client: Named
    device: UUID | None
    role: str
    """Empty: every role."""
    level: int
    """0: none; 1; 2."""
    reason: str
    assigned_at: datetime
    assigned_by: str
    ended_at: datetime | None
    ended_by: str


class BlackoutIn(Struct, kw_only=True):
    """See the operations that use it."""

    why: str
    """Shown wherever a window stays shut."""
    starts_on: date
    ends_on: date
    client: UUID | None | UnsetType = UNSET
    """Null, with no site: every client."""
    site: UUID | None | UnsetType = UNSET
    starts_at: str | UnsetType = UNSET
    """The wall clock of each site."""
    ends_at: str | UnsetType = UNSET
    """From here on windows open again."""
    yearly: bool | UnsetType = UNSET
    """The same days every year."""


class BlackoutOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    why: str
    client: Named | None
    """Null: every client."""
    site: Named | None
    """Null: every site."""
    starts_on: date
    starts_at: str
    ends_on: date
    ends_at: str
    yearly: bool
    words: str
    """`from 20 December 18:00 until 3 January 08:00, every year from 2026`."""
    created_at: datetime
    created_by: str
    ended_at: datetime | None
    ended_by: str


class BulkIn(Struct, kw_only=True):
    """See the operations that use it."""

    steps: list[BulkStepIn]
    stop_on_error: bool | UnsetType = UNSET
    """Leave out what comes after the first refusal."""


class BulkOut(Struct, kw_only=True):
    """See the operations that use it."""

    results: list[BulkStepOut]
    """One for each step, in order."""
    refused: int
    """How many were refused or left out."""


class BulkStepIn(Struct, kw_only=True):
    """See the operations that use it."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    """Below `/api/v1`, with its query."""
    body: Any = UNSET
    if_match_: str | None | UnsetType = field(default=UNSET, name="if_match")
    """As the header `If-Match`."""
    idempotency_key_: str | None | UnsetType = field(default=UNSET, name="idempotency_key")
    """As the header `Idempotency-Key`."""


class BulkStepOut(Struct, kw_only=True):
    """See the operations that use it."""

    status: int
    """HTTP status; 0: left out after a refusal."""
    body: Any
    etag: str | None


class CalendarFeedIn(Struct, kw_only=True):
    """See the operations that use it."""

    name: str
    """Which program reads it."""
    portal: bool | UnsetType = UNSET
    """What the portal shows, as to the client's own people."""
    client: UUID | None | UnsetType = UNSET
    """Only there."""
    site: UUID | None | UnsetType = UNSET
    """Only there."""


class CalendarFeedOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    name: str
    portal: bool
    """Whether it shows what the portal shows."""
    client: Named | None
    """Null: wherever its person may."""
    site: Named | None
    created_at: datetime
    expires_at: datetime | None
    """With the token that made it; null: never."""
    last_used_at: datetime | None
    """To within five minutes."""
    revoked_at: datetime | None


class ChangeOut(Struct, kw_only=True):
    """See the operations that use it."""

    old: str
    new: str
    value: float | None
    reason: str
    at: datetime


class ChangedOut(Struct, kw_only=True):
    """See the operations that use it."""

    changed: int
    """How many devices are different now."""


class CheckOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    device: Named
    kind: str
    title: str
    target: str
    """What on the device: a volume, a service; empty: the device itself."""
    status: str
    """`pass`, `warn`, `fail`, `unknown` or `stale`."""
    value: float | None
    unit: str
    reason: str
    evidence: list[str]
    """Commands, files and series the result rests on."""
    risk: str
    remedy: str
    forecast_at: datetime | None
    """When it will fail if nothing changes."""
    since: datetime
    judged_at: datetime
    due_at: datetime
    accepted_by: str
    accepted_reason: str


class CheckPolicyChangeOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    kind: str
    client: Named
    site: Named | None
    device: Named | None
    old: dict[str, Any]
    new: dict[str, Any]
    reason: str
    by: str
    at: datetime


class CheckPolicyIn(Struct, kw_only=True):
    """See the operations that use it."""

    kind: str
    reason: str
    client: UUID | None | UnsetType = UNSET
    """Exactly one of client, site and device."""
    site: UUID | None | UnsetType = UNSET
    device: UUID | None | UnsetType = UNSET
    values: dict[str, Any] | UnsetType = UNSET
    """In place of all that was set here; empty takes it back."""


class CheckPolicyOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    kind: str
    client: Named
    site: Named | None
    """Null: the client as a whole."""
    device: Named | None
    """Null: every device there."""
    values: dict[str, Any]
    """Settings that differ, and `every_minutes`, how often it is judged."""
    reason: str
    set_by: str
    set_at: datetime


class CheckPolicySetOut(Struct, kw_only=True):
    """See the operations that use it."""

    policy: CheckPolicyOut | None
    """Null: none is set here any more."""


class ClientChangeIn(Struct, kw_only=True):
    """What is not named stays as it is."""

    name: str | None | UnsetType = UNSET
    timezone: str | None | UnsetType = UNSET
    """IANA name: `Europe/Berlin`."""
    country: str | None | UnsetType = UNSET
    """ISO 3166-1 alpha-2; empty: no public holidays."""
    region: str | None | UnsetType = UNSET
    """As the holidays library names it: `BY`, `ENG`."""
    reference: str | None | UnsetType = UNSET
    operating_model: Literal["outsourced", "co_managed", "in_house", "hourly"] | None | UnsetType = UNSET
    sla_tier: str | None | UnsetType = UNSET
    notes: str | None | UnsetType = UNSET


class ClientHealthOut(Struct, kw_only=True):
    """See the operations that use it."""

    client: Named
    score: int | None
    """0 to 100; null: no approved device."""
    devices: list[DeviceHealthOut]
    """The least healthy first."""


class ClientIn(Struct, kw_only=True):
    """See the operations that use it."""

    name: str
    timezone: str
    """IANA name: `Europe/Berlin`."""
    country: str | UnsetType = UNSET
    """ISO 3166-1 alpha-2; empty: no public holidays."""
    region: str | UnsetType = UNSET
    """As the holidays library names it: `BY`, `ENG`."""
    reference: str | UnsetType = UNSET
    operating_model: Literal["outsourced", "co_managed", "in_house", "hourly"] | UnsetType = UNSET
    sla_tier: str | UnsetType = UNSET
    notes: str | UnsetType = UNSET


class ClientOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: UUID
    name: str
    reference: str
    """The provider's own number for it."""
    timezone: str
    """IANA name: `Europe/Berlin`."""
    country: str
    """ISO 3166-1 alpha-2; empty: no public holidays."""
    region: str
    """As the holidays library names it: `BY`, `ENG`."""
    operating_model: Literal["outsourced", "co_managed", "in_house", "hourly"]
    sla_tier: str
    """Slug of its tier; see `/sla-tiers`."""
    notes: str


class ClientOverviewOut(Struct, kw_only=True):
    """See the operations that use it."""

    client: Named
    sites: int
    devices: int
    health: dict[str, int]
    """Status → number of devices whose worst check says so."""
    worst: str | None
    """Null: nothing was judged yet."""
    open_tickets: int
    at_risk: int
    """Of the open tickets: half their time used or more."""
    next_window: NextWindowOut | None
    contact: PrimaryContactOut | None


class ClientSlaOut(Struct, kw_only=True):
    """See the operations that use it."""

    tier: str
    targets: dict[str, TargetOut]
    """What holds for tickets opened now."""


class ClockOut(Struct, kw_only=True):
    """See the operations that use it."""

    kind: str
    """`response` until somebody acknowledged, then `resolution`."""
    state: str
    used_seconds: float
    """Working time."""
    total_seconds: int
    percent: float
    due_at: datetime | None
    resumes_at: datetime | None
    text: str


class ClosedDayIn(Struct, kw_only=True):
    """See the operations that use it."""

    day: date
    why: str


class ClosedDayOut(Struct, kw_only=True):
    """See the operations that use it."""

    day: date
    why: str


class ColumnOut(Struct, kw_only=True):
    """See the operations that use it."""

    name: str
    words: str
    required: bool
    also: list[str]
    """Other headings it is known by."""


class CommentIn(Struct, kw_only=True):
    """See the operations that use it."""

    text: str
    to_client: bool | UnsetType = UNSET
    """The client reads it, and is told by mail; else it is a note."""


class ComplianceOut(Struct, kw_only=True):
    """See the operations that use it."""

    at: datetime
    days: int
    """What was met longer before `at` is not counted."""
    total: ComplianceTallyOut
    """Each update once, by its strictest obligation."""
    clients: list[CompliancePartOut]
    devices: list[CompliancePartOut]
    severities: list[CompliancePartOut]
    obligations: list[CompliancePartOut]
    """Each obligation by itself, also where another binds."""


class CompliancePartOut(Struct, kw_only=True):
    """See the operations that use it."""

    due: int
    """Those whose time was up, and those met before: what the percentage is of."""
    met: int
    met_late: int
    late: int
    """Open, and past the deadline."""
    open: int
    """Open, and in time."""
    excepted: int
    percent: float | None
    """Met in time, of those that were due; null while none was."""
    part: str
    """Slug, severity, or name."""
    id: UUID | None


class ComplianceRowOut(Struct, kw_only=True):
    """See the operations that use it."""

    deployment: int
    device: UUID
    device_name: str
    client: UUID
    client_name: str
    manager: str
    name: str
    candidate: str
    severity: str
    """As it counts: a security update that nobody rated counts as high."""
    obligation: str
    binds: bool
    """The strictest of the update's obligations."""
    counted_from: datetime
    due_at: datetime
    outcome: str
    done_at: datetime | None
    """When it was verified."""
    why: str
    """Of late ones: why."""


class ComplianceTallyOut(Struct, kw_only=True):
    """See the operations that use it."""

    due: int
    """Those whose time was up, and those met before: what the percentage is of."""
    met: int
    met_late: int
    late: int
    """Open, and past the deadline."""
    open: int
    """Open, and in time."""
    excepted: int
    percent: float | None
    """Met in time, of those that were due; null while none was."""


class ConfigurationDetailOut(Struct, kw_only=True):
    """See the operations that use it."""

    device: UUID
    device_name: str
    client: Named
    level: int
    judged_at: datetime
    percent: int | None
    """Of what applies; unknown counts against it."""
    passed: int
    failed: int
    deviating: int
    unknown: int
    not_applicable: int
    drifted: int
    """Open differences from what was accepted."""
    accepted_at: datetime | None
    accepted_by: str
    """Empty: nobody yet, it is what was found at first."""
    accepted_reason: str
    level_because: str
    results: list[ControlResultOut]
    drift: list[DriftOut]


class ConfigurationOut(Struct, kw_only=True):
    """See the operations that use it."""

    device: UUID
    device_name: str
    client: Named
    level: int
    judged_at: datetime
    percent: int | None
    """Of what applies; unknown counts against it."""
    passed: int
    failed: int
    deviating: int
    unknown: int
    not_applicable: int
    drifted: int
    """Open differences from what was accepted."""
    accepted_at: datetime | None
    accepted_by: str
    """Empty: nobody yet, it is what was found at first."""
    accepted_reason: str


class ContactChangeIn(Struct, kw_only=True):
    """What is not named stays as it is; null of site and person means none."""

    name: str | None | UnsetType = UNSET
    email: str | None | UnsetType = UNSET
    phone: str | None | UnsetType = UNSET
    duty: str | None | UnsetType = UNSET
    is_primary: bool | None | UnsetType = UNSET
    site: UUID | None | UnsetType = UNSET
    person: int | None | UnsetType = UNSET


class ContactIn(Struct, kw_only=True):
    """See the operations that use it."""

    name: str
    email: str | UnsetType = UNSET
    phone: str | UnsetType = UNSET
    duty: str | UnsetType = UNSET
    is_primary: bool | UnsetType = UNSET
    """The first one is, and a new one takes the place of the old."""
    site: UUID | None | UnsetType = UNSET
    person: int | None | UnsetType = UNSET
    """Number of somebody who signs in."""


class ContactOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    client: Named
    site: Named | None
    """Null: of the client as a whole."""
    name: str
    email: str
    phone: str
    duty: str
    """`approves work`, `has the key` …"""
    is_primary: bool
    """One of a client is."""
    person: str | None
    """User name, when it is somebody who signs in."""


class ContentmentOut(Struct, kw_only=True):
    """See the operations that use it."""

    client: Named
    count: int
    average: float


class ControlOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: str
    cis: str
    """Number of the recommendation of the CIS Debian Linux 12 Benchmark; empty: none."""
    level: int
    risk: str
    title: str
    why: str
    remedy: str
    runbook: str
    """Slug of the runbook that sets it right; empty: none does."""
    roles: list[str]


class ControlResultOut(Struct, kw_only=True):
    """See the operations that use it."""

    control: str
    title: str
    cis: str
    level: int
    risk: str
    outcome: str
    """`pass`, `fail`, `unknown`, `not_applicable`."""
    why: str
    remedy: str
    runbook: str
    deviates_until: datetime | None


class CountOut(Struct, kw_only=True):
    """See the operations that use it."""

    number: int


class CoverageCellOut(Struct, kw_only=True):
    """See the operations that use it."""

    column: str
    """`agent`, `monitoring`, `patching`, `backup`, `recovery`, `antivirus` …"""
    status: str | None
    """Null: does not apply."""
    why: str
    at: datetime | None
    """When it was last seen to be so."""
    check: int | None
    """The check behind it."""
    href: str
    """Where it is fixed, in the console."""
    risk: str | None
    """Of a gap; null: it is none."""
    excepted_until: datetime | None
    exception_reason: str


class CoverageExceptionIn(Struct, kw_only=True):
    """See the operations that use it."""

    column: Literal["agent", "monitoring", "patching", "backup", "recovery", "antivirus", "disks", "access"]
    reason: str
    expires_at: datetime
    """Within a year from now."""
    client: UUID | None | UnsetType = UNSET
    """Exactly one of client, site, device and system."""
    site: UUID | None | UnsetType = UNSET
    device: UUID | None | UnsetType = UNSET
    system: int | None | UnsetType = UNSET


class CoverageExceptionOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    column: str
    client: Named
    site: Named | None
    device: Named | None
    system: int | None
    """The protected system."""
    reason: str
    granted_at: datetime
    granted_by: str
    expires_at: datetime
    ended_at: datetime | None
    ended_by: str


class CoverageLineOut(Struct, kw_only=True):
    """See the operations that use it."""

    sort: str
    """`device`, `asset` (a machine on the list that nobody watches) or `system`."""
    id: str
    name: str
    client: Named
    site: Named
    role: str
    importance: str
    """Of a protected system."""
    gaps: int
    cells: list[CoverageCellOut]


class CoveringOut(Struct, kw_only=True):
    """See the operations that use it."""

    device: Named
    backup: str
    """In words where its device is not yours to see."""
    tool: str
    cover: Literal["whole", "part", "unsaid"]
    why: str
    last_success_at: datetime | None
    last_run_ok: bool | None
    remote: bool | None
    offline: bool | None
    immutable: bool | None


class DayOut(Struct, kw_only=True):
    """See the operations that use it."""

    day: date
    words: str
    """`09:00 to 17:30`, `public holiday: Christmas Day`, `closed: move`, `weekend`."""


class DeadlineIn(Struct, kw_only=True):
    """See the operations that use it."""

    kind: Literal["after", "kev", "month_end", "quarter_end", "weekday"]
    hours: int | UnsetType = UNSET
    """Of `after`."""
    least_days: int | UnsetType = UNSET
    """Of calendar ends: at least so many days after."""
    nth: int | UnsetType = UNSET
    """Of `weekday`: 1 to 4; -1: the month's last."""
    weekday: int | UnsetType = UNSET
    """Of `weekday`: 0 is Monday."""
    counts_from: Literal["release", "first_seen"] | UnsetType = UNSET


class DeadlineOut(Struct, kw_only=True):
    """See the operations that use it."""

    kind: str
    """`after`, `kev`, `month_end`, `quarter_end`, `weekday`."""
    hours: int
    least_days: int
    nth: int
    weekday: int
    counts_from: str
    words: str
    """`72 h after vendor release`."""


class DecideIn(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[int]
    decision: Literal["keep", "remove", "change"]
    reason: str | UnsetType = UNSET
    """Needed for remove and change."""
    prepare: bool | UnsetType = UNSET
    """Prepare a run of `lock-account` for what is to be removed."""


class DecisionIn(Struct, kw_only=True):
    """See the operations that use it."""

    name: str
    """Package; `*` at its end stands for anything."""
    decision: Literal["approve", "defer", "exclude"]
    client: UUID | None | UnsetType = UNSET
    """Null: that of the device."""
    device: UUID | None | UnsetType = UNSET
    """Null: every device of the client."""
    manager: str | UnsetType = UNSET
    candidate: str | UnsetType = UNSET
    until: datetime | None | UnsetType = UNSET
    """A deferral needs one."""
    reason: str | UnsetType = UNSET


class DecisionOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    client: Named
    device: UUID | None
    """Null: every device of the client."""
    manager: str
    name: str
    candidate: str
    """Empty: every version."""
    decision: str
    until: datetime | None
    reason: str
    at: datetime
    by: str
    ended_at: datetime | None
    ended_by: str


class DeliveryOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: UUID
    event: str
    state: str
    """`waiting`, `done` or `failed`."""
    made_at: datetime
    attempts: int
    next_at: datetime | None
    """When it is tried again."""
    tried_at: datetime | None
    status: int | None
    """HTTP status of the latest answer; null: none came."""
    milliseconds: int | None
    error: str
    again_of: UUID | None


class DeployIn(Struct, kw_only=True):
    """See the operations that use it."""

    choose: Literal["security", "all", "chosen"] | UnsetType = UNSET
    packages: list[str] | UnsetType = UNSET
    """With `chosen`: names, or `name=version`."""
    reason: str | UnsetType = UNSET


class DeployOut(Struct, kw_only=True):
    """See the operations that use it."""

    jobs: list[UUID]
    """Prepared for a signature, or queued under a standing order."""
    awaiting_signature: bool
    updates: int
    left: list[DeploymentLeftOut]
    """Asked for and not taken, with why."""


class DeploymentChangeOut(Struct, kw_only=True):
    """See the operations that use it."""

    at: datetime
    was: str
    """Empty: the first."""
    state: str
    why: str
    actor: str


class DeploymentLeftOut(Struct, kw_only=True):
    """See the operations that use it."""

    name: str
    why: str


class DeploymentOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    client: Named
    site: Named
    device: Named
    manager: str
    """The provider: `apt`, `dnf`, `winget` …"""
    name: str
    architecture: str
    installed: str
    """Version that was there when it was first seen pending."""
    candidate: str
    kind: str
    """`system`, `application`, `firmware`, `language`."""
    security: bool
    severity: str
    cves: list[str]
    advisories: list[str]
    released_at: datetime | None
    first_seen_at: datetime
    state: str
    """See `docs/patching.md`."""
    state_since: datetime
    why: str
    """Of blocked, failed, skipped, installed …: the cause, in words."""
    planned_for: datetime | None
    job: UUID | None
    """The run that installs it, or did so last."""
    attempts: int
    needs_reboot: bool | None
    """Null: not known."""
    installed_at: datetime | None
    installed_by: str
    verified_at: datetime | None
    settled_at: datetime | None
    skip_until: datetime | None
    skip_by: str
    due_at: datetime | None
    """Earliest deadline of the obligations in force."""
    bound_by: str
    """The obligation behind it."""
    misses: bool
    """Whether the next window already misses it."""
    ticket: int | None
    evidence: str


class DeploymentShownOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    client: Named
    site: Named
    device: Named
    manager: str
    """The provider: `apt`, `dnf`, `winget` …"""
    name: str
    architecture: str
    installed: str
    """Version that was there when it was first seen pending."""
    candidate: str
    kind: str
    """`system`, `application`, `firmware`, `language`."""
    security: bool
    severity: str
    cves: list[str]
    advisories: list[str]
    released_at: datetime | None
    first_seen_at: datetime
    state: str
    """See `docs/patching.md`."""
    state_since: datetime
    why: str
    """Of blocked, failed, skipped, installed …: the cause, in words."""
    planned_for: datetime | None
    job: UUID | None
    """The run that installs it, or did so last."""
    attempts: int
    needs_reboot: bool | None
    """Null: not known."""
    installed_at: datetime | None
    installed_by: str
    verified_at: datetime | None
    settled_at: datetime | None
    skip_until: datetime | None
    skip_by: str
    due_at: datetime | None
    """Earliest deadline of the obligations in force."""
    bound_by: str
    """The obligation behind it."""
    misses: bool
    """Whether the next window already misses it."""
    ticket: int | None
    evidence: str
    log_excerpt: str
    """The end of what the run wrote."""
    services_before: list[str]
    """Services that ran before it was installed."""
    changes: list[DeploymentChangeOut]
    """Its history, oldest first."""


class DescribedOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: UUID
    name: str
    role: str
    tags: list[str]


class DescriptionIn(Struct, kw_only=True):
    """What is not named stays as it is."""

    name: str | None | UnsetType = UNSET
    role: Literal["server", "endpoint", "network", "printer", "cloud"] | None | UnsetType = UNSET


class DeviationIn(Struct, kw_only=True):
    """See the operations that use it."""

    client: UUID
    control: str
    reason: str
    ends_at: datetime
    """At most a year from now."""
    device: UUID | None | UnsetType = UNSET
    """Null: every device of the client."""


class DeviationOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    client: Named
    device: UUID | None
    control: str
    reason: str
    accepted_at: datetime
    accepted_by: str
    ends_at: datetime
    ended_at: datetime | None
    ended_by: str


class DeviceHealthOut(Struct, kw_only=True):
    """See the operations that use it."""

    device: Named
    site: str
    role: str
    score: int
    """0 to 100."""
    exact: float
    checks: int
    lost: list[LostOut]
    """Every lost point, by the check behind it."""


class DeviceOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: UUID
    name: str
    hostname: str
    client: Named
    site: Named
    role: str
    status: str
    """`pending`, `approved` or `revoked`."""
    os_name: str
    agent_version: str
    boot_id: str
    enrolled_at: datetime
    approved_at: datetime | None
    approved_by: str
    last_check_in_at: datetime | None
    clock_offset_seconds: float | None
    checks: dict[str, int]
    """Status → number of checks."""


class DraftDifferenceOut(Struct, kw_only=True):
    """See the operations that use it."""

    lines: list[str]
    """Unified diff to the signed runbook; empty when nothing differs."""


class DraftNewIn(Struct, kw_only=True):
    """See the operations that use it."""

    slug: str
    text: str | None | UnsetType = UNSET
    """JSON; null: of the signed runbook of that name, or an example."""
    note: str | UnsetType = UNSET


class DraftOut(Struct, kw_only=True):
    """See the operations that use it."""

    slug: str
    state: str
    base_version: int | None
    """The signed version it was begun from; null: a new runbook."""
    created_at: datetime
    created_by: str
    changed_at: datetime
    changed_by: str
    newest: DraftVersionOut


class DraftProblemOut(Struct, kw_only=True):
    """See the operations that use it."""

    path: str
    """Where: `$.steps[0].action`."""
    what: str


class DraftSaveIn(Struct, kw_only=True):
    """See the operations that use it."""

    text: str
    note: str | UnsetType = UNSET
    expected: int | None | UnsetType = UNSET
    """The version that was read before; another is refused."""


class DraftUndoIn(Struct, kw_only=True):
    """See the operations that use it."""

    to: int | None | UnsetType = UNSET
    """Go back to this version; null: to the one before the newest."""


class DraftVersionOut(Struct, kw_only=True):
    """See the operations that use it."""

    number: int
    text: str
    """JSON as it was written, sound or not."""
    problems: list[DraftProblemOut]
    """Empty: it can be signed."""
    note: str
    at: datetime
    by: str


class DriftAcceptIn(Struct, kw_only=True):
    """See the operations that use it."""

    reason: str
    drift: list[int] | None | UnsetType = UNSET
    """Null: all that is open."""


class DriftAcceptedOut(Struct, kw_only=True):
    """See the operations that use it."""

    accepted: int


class DriftOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    device: UUID
    device_name: str
    area: str
    name: str
    before: str
    """Empty: it was not there."""
    after: str
    """Empty: it is not there."""
    seen_at: datetime
    settled_at: datetime | None
    settled: str
    """`accepted`, `gone`; empty: open."""
    settled_by: str
    reason: str


class EmergencyWindowIn(Struct, kw_only=True):
    """See the operations that use it."""

    site: UUID
    device: UUID | None | UnsetType = UNSET
    """Null: every device of the site."""
    starts_at: datetime | None | UnsetType = UNSET
    """Null: now."""
    minutes: int | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class EmergencyWindowOut(Struct, kw_only=True):
    """See the operations that use it."""

    window: int
    name: str
    start: datetime
    end: datetime


class EnrolmentTokenIn(Struct, kw_only=True):
    """See the operations that use it."""

    site: UUID


class EnrolmentTokenOut(Struct, kw_only=True):
    """See the operations that use it."""

    token: str
    """Shown once."""
    expires_at: datetime
    command: str
    """What to run on the device."""


class EntryOut(Struct, kw_only=True):
    """See the operations that use it."""

    reference: str
    """By which reports name it: `client/#index`."""
    client: Named
    index: int
    kind: str
    at: datetime
    device: UUID | None
    ticket: int | None
    job: str
    leaf_hash: str
    signed_by_device: bool
    erased: bool
    payload: dict[str, Any]


class EnvelopeIn(Struct, kw_only=True):
    """See the operations that use it."""

    envelope: str
    """Base64 of a signed DSSE envelope."""


class FactsDocumentOut(Struct, kw_only=True):
    """See the operations that use it."""

    name: str
    collected_at: datetime
    changed_at: datetime
    document: dict[str, Any]
    """As the device reported it; see docs/protocol/check-in.md."""


class FeedChangeIn(Struct, kw_only=True):
    """See the operations that use it."""

    enabled: bool | None | UnsetType = UNSET
    url: str | None | UnsetType = UNSET
    """A mirror of your own; empty: only from files."""
    every_hours: int | None | UnsetType = UNSET


class FeedIn(Struct, kw_only=True):
    """See the operations that use it."""

    slug: str
    """Small letters, digits and hyphens."""
    title: str | UnsetType = UNSET


class FeedOut(Struct, kw_only=True):
    """See the operations that use it."""

    slug: str
    title: str
    format: str
    ecosystem: str
    url: str
    enabled: bool
    every_hours: int
    in_force: bool
    records: int
    data_at: datetime | None
    """How new the feed says it is."""
    good_at: datetime | None
    """When what is in force was last seen to be current."""
    tried_at: datetime | None
    error: str
    waiting: bool
    """It is about to be fetched or taken."""


class FeedPartIn(Struct, kw_only=True):
    """See the operations that use it."""

    offset: int
    """Where this part begins; 0 begins anew."""
    content: str
    """Base64."""
    last: bool | UnsetType = UNSET
    """With it the file is whole and waits to be taken."""


class FeedPartOut(Struct, kw_only=True):
    """See the operations that use it."""

    bytes: int
    waiting: bool


class GapOut(Struct, kw_only=True):
    """See the operations that use it."""

    risk: str
    points: float
    """By which gaps are ranked: column x thing x status."""
    column: str
    sort: str
    id: str
    name: str
    client: Named
    site: Named
    status: str
    why: str
    at: datetime | None
    fix: str
    href: str


class GrantOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    person: WhoOut
    role: str
    """Slug of a built-in role, number of one of the provider's own."""
    role_name: str
    client: Named | None
    """Null: everywhere."""
    site: Named | None
    """Null: the client as a whole."""
    granted_by: str
    granted_at: datetime
    until: datetime | None
    """When it ends by itself."""
    counts_now: bool


class GroupChangeIn(Struct, kw_only=True):
    """What is not named stays as it is."""

    name: str | None | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    devices: list[UUID] | None | UnsetType = UNSET
    rule: GroupRuleIn | None | UnsetType = UNSET


class GroupIn(Struct, kw_only=True):
    """See the operations that use it."""

    name: str
    description: str | UnsetType = UNSET
    client: UUID | None | UnsetType = UNSET
    """Null: across clients."""
    devices: list[UUID] | UnsetType = UNSET
    rule: GroupRuleIn | UnsetType = UNSET


class GroupOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    name: str
    description: str
    client: Named | None
    rule: GroupRuleIn
    rule_in_words: str
    devices: int
    """How many of the devices you may see belong to it."""
    created_at: datetime
    created_by: str


class GroupRuleIn(Struct, kw_only=True):
    """Everything that is set must hold; nothing set: only what is chosen one by one."""

    roles: list[Literal["server", "endpoint", "network", "printer", "cloud"]] | UnsetType = UNSET
    """One of these."""
    tags: list[str] | UnsetType = UNSET
    """All of these."""
    system: str | UnsetType = UNSET
    """Part of the operating system's name."""


class HealthRunIn(Struct, kw_only=True):
    """See the operations that use it."""

    client: UUID


class HealthRunOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    client: Named
    day: date
    scheduled: bool
    at: datetime
    seconds: float
    by: str
    score: float | None
    devices: int
    judged: int
    counts: dict[str, int]
    gaps: int
    scores: dict[str, float]
    summary: list[str]
    told: list[str]
    """Who was told."""


class HoldOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    manager: str
    name: str
    candidate: str
    why: str
    since: datetime
    ended_at: datetime | None
    ended_by: str
    ended_why: str
    overridden_by: list[Named]
    """Clients you see that install it all the same."""


class HolidayOut(Struct, kw_only=True):
    """See the operations that use it."""

    day: date
    name: str


class ImportOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    kind: str
    filename: str
    at: datetime
    by: str
    created: int
    changed: int
    same: int
    undone_at: datetime | None
    undone_by: str


class ItemPrepareIn(Struct, kw_only=True):
    """See the operations that use it."""

    runbook: Literal["lock-account", "remove-ssh-key", "expire-password"] | UnsetType = UNSET
    fingerprint: str | UnsetType = UNSET
    """Of `remove-ssh-key`: `SHA256:…`."""


class JobEventOut(Struct, kw_only=True):
    """See the operations that use it."""

    at: datetime
    what: str
    actor: str
    text: str


class JobIn(Struct, kw_only=True):
    """See the operations that use it."""

    runbook: str
    """Slug."""
    device: UUID
    reason: str
    parameters: dict[str, str | int | bool] | UnsetType = UNSET
    ticket: int | None | UnsetType = UNSET
    dry_run: bool | UnsetType = UNSET
    """Only say what it would do. It needs the same signatures."""


class JobOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: UUID
    runbook: str
    runbook_digest: str
    device: Named
    client: Named
    parameters: dict[str, str | int | bool]
    reason: str
    state: str
    order: str
    """Digest of the standing order it runs under; empty: signed by itself."""
    ticket: int | None
    created_at: datetime
    created_by: str
    expires_at: datetime
    delivered_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    code: str
    detail: str
    steps: list[StepOut]
    evidence: str
    statement: str
    """Base64 of the exact bytes that are signed."""
    dry_run: bool
    """It only says what it would do."""
    signed_by: list[str]
    """Key ids of the operators who have signed."""
    envelope: str
    """Base64 of the envelope as signed so far; empty when nobody has."""
    continues: UUID | None
    """The job that stopped for the approval that this one is."""
    undoable: int
    """Changes that its device's undo journal has of it."""


class JobUndoIn(Struct, kw_only=True):
    """See the operations that use it."""

    reason: str


class KeepUnchangedIn(Struct, kw_only=True):
    """See the operations that use it."""

    reason: str | UnsetType = UNSET


class KindOut(Struct, kw_only=True):
    """See the operations that use it."""

    slug: str
    title: str
    question: str
    why: str
    remedy: str
    risk: str
    cadence_seconds: int
    runbooks: list[str]


class LeaveIn(Struct, kw_only=True):
    """See the operations that use it."""

    successor: str | None | UnsetType = UNSET
    """User name of who takes over their open tickets."""


class LeftOut(Struct, kw_only=True):
    """See the operations that use it."""

    person: PersonOut
    tickets_given: int


class LineOut(Struct, kw_only=True):
    """See the operations that use it."""

    at: datetime
    source: str
    kind: str
    actor: str
    text: str
    reference: str
    """Evidence record: `client/#index`."""
    job_id: str
    has_signature: bool
    visibility: Literal["internal", "client"]
    """Whether the client reads a line of it."""
    for_client: str
    """As the client reads it; empty: not at all."""
    by_client: bool


class ListIn(Struct, kw_only=True):
    """See the operations that use it."""

    kind: Literal["clients", "sites", "contacts", "people", "assets"]
    content: str
    """CSV with a heading."""
    filename: str | UnsetType = UNSET


class ListKindOut(Struct, kw_only=True):
    """See the operations that use it."""

    slug: str
    title: str
    words: str
    columns: list[ColumnOut]
    template: str
    """An example as CSV."""


class ListLineOut(Struct, kw_only=True):
    """See the operations that use it."""

    line: int
    act: Literal["create", "change", "same", "error"]
    name: str
    changes: dict[str, list[Any]]
    """Field → what it was and what it becomes."""
    error: str


class LogOut(Struct, kw_only=True):
    """See the operations that use it."""

    client: Named
    entries: int
    checkpoint_size: int
    """Entries under the newest signed checkpoint."""
    checkpoint_root: str
    checkpoint_at: datetime | None


class LostOut(Struct, kw_only=True):
    """See the operations that use it."""

    points: float
    check: int
    kind: str
    target: str
    status: str
    risk: str
    reason: str
    others: list[int]
    """More checks of this kind that do not pass."""


class MarkIn(Struct, kw_only=True):
    """See the operations that use it."""

    mark: Literal["accepted", "false_positive", "not_applicable"]
    reason: str
    client: UUID | None | UnsetType = UNSET
    """On every device of it. Or name a device."""
    device: UUID | None | UnsetType = UNSET
    package: str | UnsetType = UNSET
    """Empty: in every package."""
    expires_at: datetime | None | UnsetType = UNSET
    """An accepted risk needs one, within a year."""


class MarkOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    client: Named
    device: UUID | None
    vulnerability: str
    package: str
    mark: str
    reason: str
    expires_at: datetime | None
    at: datetime
    by: str
    ended_at: datetime | None
    ended_by: str


class Named(Struct, kw_only=True):
    """A client or a site, where another thing mentions it."""

    id: UUID
    name: str


class NamedBackup(Struct, kw_only=True):
    """See the operations that use it."""

    device: UUID
    backup: str


class NewFeedOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    name: str
    portal: bool
    """Whether it shows what the portal shows."""
    client: Named | None
    """Null: wherever its person may."""
    site: Named | None
    created_at: datetime
    expires_at: datetime | None
    """With the token that made it; null: never."""
    last_used_at: datetime | None
    """To within five minutes."""
    revoked_at: datetime | None
    address: str
    """Shown once. Whoever has it reads the calendar."""


class NewTokenOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    name: str
    permissions: list[str]
    """Empty: all that its person has."""
    client: Named | None
    """Null: wherever its person may."""
    site: Named | None
    created_at: datetime
    expires_at: datetime | None
    """Null: never."""
    last_used_at: datetime | None
    """To within five minutes."""
    revoked_at: datetime | None
    is_this: bool
    """Whether it is the token that asks."""
    token: str
    """Shown once."""


class NewWebhookOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: UUID
    name: str
    host: str
    """Scheme, name and port of its address; the rest is shown to nobody."""
    client: Named | None
    """Null: of all clients."""
    events: list[str]
    """Empty: all."""
    state: str
    """`active`, `paused`, or `disabled` after days of failure."""
    disabled_because: str
    failing_since: datetime | None
    last_success_at: datetime | None
    created_at: datetime
    created_by: str
    secret: str
    """Key of its signatures. Shown once."""


class NextWindowOut(Struct, kw_only=True):
    """See the operations that use it."""

    window: int
    name: str
    site: Named
    start: datetime
    end: datetime


class ObligationExceptionIn(Struct, kw_only=True):
    """See the operations that use it."""

    client: UUID
    reason: str
    compensating_control: str
    """What is done instead, until then."""
    expires_at: datetime
    """At most a year from now."""
    device: UUID | None | UnsetType = UNSET
    """Null: every device of the client."""
    manager: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    """Package; `*` at its end stands for anything; empty: every one."""
    candidate: str | UnsetType = UNSET
    obligation: str | UnsetType = UNSET
    """Empty: whichever binds."""


class ObligationExceptionOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    client: Named
    device: UUID | None
    manager: str
    name: str
    candidate: str
    obligation: str
    reason: str
    compensating_control: str
    granted_at: datetime
    granted_by: str
    expires_at: datetime
    ended_at: datetime | None
    ended_by: str


class ObligationOut(Struct, kw_only=True):
    """See the operations that use it."""

    slug: str
    title: str
    source: str
    """Who demands it."""
    clause: str
    """What it says."""
    about: str
    """Which updates it is about, in words."""
    deadline: DeadlineOut
    security: bool
    exploited: bool
    kinds: list[str]
    severities: list[str]
    cvss_at_least: float | None
    unrated: bool
    needs_test: bool
    test_device: str
    own: bool
    """The client's own, or its own terms of a built-in one."""


class ObligationRuleIn(Struct, kw_only=True):
    """See the operations that use it."""

    client: UUID
    slug: str
    """Of the built-in it replaces, or of the client's own."""
    terms: ObligationTermsIn
    reason: str


class ObligationRuleOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    client: Named
    slug: str
    terms: dict[str, Any]
    """As kept; `{"off": true}`: it is switched off."""
    reason: str
    in_force_from: datetime
    in_force_until: datetime | None
    created_by: str
    ended_by: str


class ObligationTermsIn(Struct, kw_only=True):
    """What is not named stays as it is in force now."""

    off: bool | None | UnsetType = UNSET
    """Switch the obligation off; nothing else then."""
    title: str | None | UnsetType = UNSET
    source: str | None | UnsetType = UNSET
    clause: str | None | UnsetType = UNSET
    deadline: DeadlineIn | None | UnsetType = UNSET
    security: bool | None | UnsetType = UNSET
    exploited: bool | None | UnsetType = UNSET
    kinds: list[Literal["system", "application", "firmware", "language"]] | None | UnsetType = UNSET
    severities: list[Literal["critical", "high", "medium", "low"]] | None | UnsetType = UNSET
    cvss_at_least: float | None | UnsetType = UNSET
    unrated: bool | None | UnsetType = UNSET
    needs_test: bool | None | UnsetType = UNSET
    test_device: str | None | UnsetType = UNSET


class OrderOut(Struct, kw_only=True):
    """See the operations that use it."""

    digest: str
    runbook: str
    trigger: str
    client: Named
    devices: list[Named]
    allowed: dict[str, list[str | int | bool]]
    runs_per_day: int
    devices_per_hour: int | None
    """Most devices on which it runs in any hour; null: no bound."""
    not_before: datetime
    expires_at: datetime
    state: str
    installed_by: str


class OverlapOut(Struct, kw_only=True):
    """See the operations that use it."""

    agree: list[list[str]]
    """Control and test of the tool: both find fault."""
    only_here: list[str]
    """Controls that fail where the tool's tests find nothing wrong."""
    only_there: list[list[str]]
    """Control that does not fail, and test that finds fault."""
    no_counterpart: list[str]
    """Tests that find fault and that no control looks at."""
    not_known_there: list[str]
    """Controls that fail and that the tool does not look at."""


class OverrideIn(Struct, kw_only=True):
    """See the operations that use it."""

    client: UUID
    hold: int
    reason: str


class OwnTokenIn(Struct, kw_only=True):
    """See the operations that use it."""

    name: str
    """What it is for."""
    permissions: (
        list[
            Literal[
                "device.view",
                "device.approve",
                "device.change",
                "check.change",
                "ticket.view",
                "ticket.work",
                "runbook.view",
                "job.prepare",
                "authority.change",
                "window.change",
                "patch.change",
                "risk.accept",
                "recovery.change",
                "access.review",
                "baseline.change",
                "runbook.change",
                "evidence.view",
                "evidence.erase",
                "report.view",
                "client.view",
                "client.change",
                "client.export",
                "client.remove",
                "people.view",
                "people.change",
                "settings.change",
                "portal.view",
                "portal.ticket",
                "portal.approve",
                "portal.report",
            ]
        ]
        | UnsetType
    ) = UNSET
    """None: all of yours."""
    client: UUID | None | UnsetType = UNSET
    """Only there."""
    site: UUID | None | UnsetType = UNSET
    """Only there."""
    expires_at: datetime | None | UnsetType = UNSET
    """Left out: in 90 days. Null: never."""


class OwnTokenOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    name: str
    permissions: list[str]
    """Empty: all that its person has."""
    client: Named | None
    """Null: wherever its person may."""
    site: Named | None
    created_at: datetime
    expires_at: datetime | None
    """Null: never."""
    last_used_at: datetime | None
    """To within five minutes."""
    revoked_at: datetime | None
    is_this: bool
    """Whether it is the token that asks."""


class OwnerIn(Struct, kw_only=True):
    """See the operations that use it."""

    owner: str
    """User name."""


class Page_AccessChangeOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[AccessChangeOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_AccessReviewOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[AccessReviewOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_ActionOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[ActionOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_AlertOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[AlertOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_AssessmentOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[AssessmentOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_AssetOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[AssetOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_BaselineOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[BaselineOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_BlackoutOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[BlackoutOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_CalendarFeedOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[CalendarFeedOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_ChangeOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[ChangeOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_CheckOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[CheckOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_CheckPolicyChangeOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[CheckPolicyChangeOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_CheckPolicyOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[CheckPolicyOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_ClientOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[ClientOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_ConfigurationOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[ConfigurationOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_ContactOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[ContactOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_CoverageExceptionOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[CoverageExceptionOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_DecisionOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[DecisionOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_DeliveryOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[DeliveryOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_DeploymentOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[DeploymentOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_DeviationOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[DeviationOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_DeviceOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[DeviceOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_DraftOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[DraftOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_DriftOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[DriftOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_EntryOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[EntryOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_GrantOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[GrantOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_GroupOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[GroupOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_HealthRunOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[HealthRunOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_HoldOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[HoldOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_ImportOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[ImportOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_JobOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[JobOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_MarkOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[MarkOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_Named(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[Named]
    next_cursor: str | None | UnsetType = UNSET


class Page_ObligationExceptionOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[ObligationExceptionOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_ObligationRuleOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[ObligationRuleOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_OrderOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[OrderOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_OwnTokenOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[OwnTokenOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_PatchPolicyOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[PatchPolicyOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_PersonOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[PersonOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_PortalReportOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[PortalReportOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_PortalTicketOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[PortalTicketOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_ProofOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[ProofOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_ProposalOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[ProposalOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_ProtectedSystemOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[ProtectedSystemOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_RatingOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[RatingOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_ReportOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[ReportOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_ReviewItemOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[ReviewItemOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_RevocationOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[RevocationOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_RolloutDeviceOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[RolloutDeviceOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_RolloutOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[RolloutOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_RootOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[RootOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_RouteOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[RouteOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_RuleOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[RuleOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_RunbookOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[RunbookOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_SiteOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[SiteOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_TicketOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[TicketOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_VulnerabilityOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[VulnerabilityOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_WebhookOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[WebhookOut]
    next_cursor: str | None | UnsetType = UNSET


class Page_WindowOut(Struct, kw_only=True):
    """See the operations that use it."""

    items: list[WindowOut]
    next_cursor: str | None | UnsetType = UNSET


class PasswordIn(Struct, kw_only=True):
    """See the operations that use it."""

    how: Literal["link", "shown"] | UnsetType = UNSET
    """A link, good once and for an hour; or a new password."""


class PasswordOut(Struct, kw_only=True):
    """Shown once, kept by nobody."""

    url: str | UnsetType = UNSET
    password: str | UnsetType = UNSET


class PatchPolicyIn(Struct, kw_only=True):
    """See the operations that use it."""

    client: UUID | None | UnsetType = UNSET
    """Null: that of the site."""
    site: UUID | None | UnsetType = UNSET
    """Null: the client as a whole."""
    choose: Literal["security", "all", "nothing"] | UnsetType = UNSET
    """What is installed in windows without being asked for."""
    approval: Literal["automatic", "manual"] | UnsetType = UNSET
    defer_days: int | UnsetType = UNSET
    """So long after its release an update waits."""
    terms: TermsModel | None | UnsetType = UNSET
    """Null: the usual ones."""


class PatchPolicyOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    client: Named
    site: Named | None
    """Null: every site that has none of its own."""
    choose: str
    approval: str
    defer_days: int
    terms: TermsModel
    changed_at: datetime
    changed_by: str


class PermissionOut(Struct, kw_only=True):
    """See the operations that use it."""

    permission: str
    words: str
    is_portal: bool
    """For clients' own people; never in one role with the others."""


class PersonChangeIn(Struct, kw_only=True):
    """See the operations that use it."""

    display_name: str | None | UnsetType = UNSET
    email: str | None | UnsetType = UNSET


class PersonIn(Struct, kw_only=True):
    """See the operations that use it."""

    username: str
    display_name: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    home_client: UUID | None | UnsetType = UNSET
    """For a client's own person, who can only have portal roles."""
    grants: list[RoleAtIn] | UnsetType = UNSET
    without_grant: bool | UnsetType = UNSET
    """Somebody who may nothing yet is meant."""


class PersonOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    username: str
    display_name: str
    email: str
    home_client: Named | None
    """The client whose own person it is; null: of the provider."""
    is_active: bool
    has_second_factor: bool
    last_sign_in_at: datetime | None
    grants: list[GrantOut]
    """Those that count now, at places where you see people."""
    may_be_changed: bool
    """Whether you may change them: only who may no more than you do."""


class PlaceIn(Struct, kw_only=True):
    """See the operations that use it."""

    timezone: str
    """IANA name: `Europe/Berlin`."""
    country: str | UnsetType = UNSET
    """ISO 3166-1 alpha-2; empty: no public holidays."""
    region: str | UnsetType = UNSET
    """As the holidays library names it: `BY`, `ENG`."""


class PlannedWorkOut(Struct, kw_only=True):
    """See the operations that use it."""

    window: int
    name: str
    starts_at: datetime
    minutes: int
    planned_at: datetime
    planned_by: str
    still_open: bool
    """False: the window was moved, ended or shut since."""


class PolicyIn(Struct, kw_only=True):
    """See the operations that use it."""

    mfa_required: bool


class PolicyOut(Struct, kw_only=True):
    """See the operations that use it."""

    role: str
    name: str
    mfa_required: bool


class PortalAnswerIn(Struct, kw_only=True):
    """See the operations that use it."""

    answer: Literal["approve", "decline"]
    reason: str | UnsetType = UNSET
    """Needed when you decline."""


class PortalApprovalOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    ticket: int
    question: str
    what_happens: str
    cost: str
    state: str
    asked_at: datetime
    answer_by: datetime | None
    answered_at: datetime | None
    answered_by: str
    reason: str


class PortalDeviceOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: UUID
    name: str
    site: Named
    health: str
    """`well`, `needs attention`, `has a fault`, `not seen`, `not judged yet`."""
    last_seen_at: datetime | None
    troubles: list[PortalTroubleOut]
    unanswered: int
    """Checks that could not look lately."""


class PortalLineOut(Struct, kw_only=True):
    """See the operations that use it."""

    at: datetime
    kind: str
    who: str
    text: str
    by_client: bool


class PortalRatingIn(Struct, kw_only=True):
    """See the operations that use it."""

    score: int
    """1 (bad) to 5 (very good)."""
    comment: str | UnsetType = UNSET


class PortalRatingOut(Struct, kw_only=True):
    """See the operations that use it."""

    ticket: int
    score: int
    comment: str
    given_by: str
    given_at: datetime
    changed_at: datetime | None


class PortalReportOut(Struct, kw_only=True):
    """See the operations that use it."""

    number: str
    title: str
    ticket: int
    made_at: datetime
    pdf_sha256: str


class PortalRequestIn(Struct, kw_only=True):
    """See the operations that use it."""

    title: str
    text: str | UnsetType = UNSET
    urgency: Literal["everybody", "one", "hindered", "question"] | UnsetType = UNSET
    site: UUID | None | UnsetType = UNSET
    """Null: the device's, or the only one."""
    device: UUID | None | UnsetType = UNSET


class PortalTextIn(Struct, kw_only=True):
    """See the operations that use it."""

    text: str


class PortalTicketOut(Struct, kw_only=True):
    """See the operations that use it."""

    number: int
    title: str
    text: str
    client: Named
    site: Named
    device: Named | None
    is_request: bool
    urgency: str
    state: str
    words: str
    """The state as the client reads it: `being worked on`."""
    promise: str
    """By when we answer or want to be done, in words; empty when it is done."""
    requested_by: str
    owner: str
    """Name to show of who looks after it."""
    opened_at: datetime
    done_at: datetime | None
    verified_at: datetime | None


class PortalTroubleOut(Struct, kw_only=True):
    """See the operations that use it."""

    what: str
    status: str
    since: datetime
    ticket: int | None
    """If it is yours to see."""
    in_hand: bool
    """The service desk works on it."""


class PortalWindowOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    name: str
    purpose: str
    site: Named
    words: str
    starts_on: date
    starts_at: str
    minutes: int
    timezone: str
    needs_approval: bool
    answer: str
    """`approved`, `declined`; empty: none yet."""
    answered_at: datetime | None
    answer_reason: str


class PreviewLeft(Struct, kw_only=True):
    """See the operations that use it."""

    device: str
    why: str


class PreviewOut(Struct, kw_only=True):
    """See the operations that use it."""

    sentence: str
    created: int
    changed: int
    same: int
    errors: int
    lines: list[ListLineOut]


class PreviewRing(Struct, kw_only=True):
    """See the operations that use it."""

    number: int
    cap: int
    devices: int
    names: list[str]
    """The first 50."""


class PrimaryContactOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    name: str
    email: str
    phone: str
    duty: str


class ProofAttestIn(Struct, kw_only=True):
    """See the operations that use it."""

    level: Literal["reported", "integrity", "sample", "whole", "database", "application"]
    detail: str
    """What was restored, where to, how compared."""
    ok: bool | UnsetType = UNSET
    at: datetime | None | UnsetType = UNSET
    """When it was tested; null: now."""
    seconds: float | None | UnsetType = UNSET
    """How long the restore took."""
    attachment: AttachmentIn | None | UnsetType = UNSET


class ProofOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    client: Named
    device: Named
    system: int | None
    """Of an attested proof."""
    backup: str
    tool: str
    level: Literal["reported", "integrity", "sample", "whole", "database", "application"]
    ok: bool
    at: datetime
    source: Literal["signed", "reported", "attested"]
    snapshot: str
    snapshot_at: datetime | None
    seconds: float | None
    files: int
    compared: int
    bytes: int
    detail: str
    differences: list[str]
    job: UUID | None
    by: str
    attachment_name: str
    attachment_sha256: str
    evidence: str
    withdrawn_at: datetime | None
    withdrawn_by: str
    withdrawn_why: str


class ProposalOut(Struct, kw_only=True):
    """See the operations that use it."""

    digest: str
    kind: str
    """`root` or `revocation`."""
    envelope: str
    """Base64 of the DSSE envelope with the signatures that are there so far."""
    state: str
    missing: str
    """Why it is not in force yet."""
    proposed_at: datetime
    proposed_by: str
    changed_at: datetime
    changed_by: str


class ProtectedSystemChangeIn(Struct, kw_only=True):
    """What is not named stays; `rto_minutes: null` takes the objective away."""

    importance: Literal["critical", "high", "medium", "low"] | None | UnsetType = UNSET
    rpo_minutes: int | None | UnsetType = UNSET
    """Recovery point objective."""
    rto_minutes: int | None | UnsetType = UNSET
    """Recovery time objective."""
    retention_days: int | None | UnsetType = UNSET
    copies: int | None | UnsetType = UNSET
    """The live one included."""
    off_site: bool | None | UnsetType = UNSET
    offline: bool | None | UnsetType = UNSET
    wanted_level: Literal["reported", "integrity", "sample", "whole", "database", "application"] | None | UnsetType = (
        UNSET
    )
    test_every_days: int | None | UnsetType = UNSET
    test_by_itself: bool | None | UnsetType = UNSET
    test_most_mb: int | None | UnsetType = UNSET
    test_rate_kb: int | None | UnsetType = UNSET
    """0: no bound."""
    test_sample: int | None | UnsetType = UNSET
    backups: list[NamedBackup] | None | UnsetType = UNSET
    """Empty: found by what is in them."""
    note: str | None | UnsetType = UNSET
    name: str | None | UnsetType = UNSET


class ProtectedSystemEndIn(Struct, kw_only=True):
    """See the operations that use it."""

    why: str


class ProtectedSystemIn(Struct, kw_only=True):
    """See the operations that use it."""

    device: UUID
    importance: Literal["critical", "high", "medium", "low"] | None | UnsetType = UNSET
    rpo_minutes: int | None | UnsetType = UNSET
    """Recovery point objective."""
    rto_minutes: int | None | UnsetType = UNSET
    """Recovery time objective."""
    retention_days: int | None | UnsetType = UNSET
    copies: int | None | UnsetType = UNSET
    """The live one included."""
    off_site: bool | None | UnsetType = UNSET
    offline: bool | None | UnsetType = UNSET
    wanted_level: Literal["reported", "integrity", "sample", "whole", "database", "application"] | None | UnsetType = (
        UNSET
    )
    test_every_days: int | None | UnsetType = UNSET
    test_by_itself: bool | None | UnsetType = UNSET
    test_most_mb: int | None | UnsetType = UNSET
    test_rate_kb: int | None | UnsetType = UNSET
    """0: no bound."""
    test_sample: int | None | UnsetType = UNSET
    backups: list[NamedBackup] | None | UnsetType = UNSET
    """Empty: found by what is in them."""
    note: str | None | UnsetType = UNSET
    kind: Literal["machine", "folder", "database"] | UnsetType = UNSET
    what: str | UnsetType = UNSET
    """Path of a folder; `postgresql:shop` of a database."""
    name: str | UnsetType = UNSET


class ProtectedSystemOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    client: Named
    site: Named
    device: Named
    kind: Literal["machine", "folder", "database"]
    what: str
    name: str
    importance: Literal["critical", "high", "medium", "low"]
    status: Literal["pass", "warn", "fail", "unknown", "stale"]
    why: str
    bring_back: Literal["yes", "perhaps", "no"]
    """Whether it could be brought back today: `yes` only when a restore is proved and counts."""
    covered: bool
    backup_at: datetime | None
    """Newest good backup that holds all of it."""
    level: Literal["reported", "integrity", "sample", "whole", "database", "application"] | None
    """The strongest level that is proved and has not lapsed."""
    proved_at: datetime | None
    proved_by: str
    lapses_at: datetime | None
    """When the wanted level is proved no more; null: it is not now."""
    verified_at: datetime | None
    """When it was last brought back, however long ago."""
    verified_level: Literal["reported", "integrity", "sample", "whole", "database", "application"] | None
    recovery_seconds: float | None
    recovery_measured: bool | None
    """False: worked out from a sample."""
    copies_found: int
    off_site_found: bool | None
    offline_found: bool | None
    gaps: list[RecoveryGapOut]
    rpo_minutes: int
    rto_minutes: int | None
    retention_days: int
    copies: int
    off_site: bool
    offline: bool
    wanted_level: Literal["reported", "integrity", "sample", "whole", "database", "application"]
    test_every_days: int
    test_by_itself: bool
    test_most_mb: int
    test_rate_kb: int
    test_sample: int
    backups: list[NamedBackup]
    note: str
    ticket: int | None
    created_at: datetime
    created_by: str
    archived_at: datetime | None
    archived_why: str


class ProtectedSystemWholeOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    client: Named
    site: Named
    device: Named
    kind: Literal["machine", "folder", "database"]
    what: str
    name: str
    importance: Literal["critical", "high", "medium", "low"]
    status: Literal["pass", "warn", "fail", "unknown", "stale"]
    why: str
    bring_back: Literal["yes", "perhaps", "no"]
    """Whether it could be brought back today: `yes` only when a restore is proved and counts."""
    covered: bool
    backup_at: datetime | None
    """Newest good backup that holds all of it."""
    level: Literal["reported", "integrity", "sample", "whole", "database", "application"] | None
    """The strongest level that is proved and has not lapsed."""
    proved_at: datetime | None
    proved_by: str
    lapses_at: datetime | None
    """When the wanted level is proved no more; null: it is not now."""
    verified_at: datetime | None
    """When it was last brought back, however long ago."""
    verified_level: Literal["reported", "integrity", "sample", "whole", "database", "application"] | None
    recovery_seconds: float | None
    recovery_measured: bool | None
    """False: worked out from a sample."""
    copies_found: int
    off_site_found: bool | None
    offline_found: bool | None
    gaps: list[RecoveryGapOut]
    rpo_minutes: int
    rto_minutes: int | None
    retention_days: int
    copies: int
    off_site: bool
    offline: bool
    wanted_level: Literal["reported", "integrity", "sample", "whole", "database", "application"]
    test_every_days: int
    test_by_itself: bool
    test_most_mb: int
    test_rate_kb: int
    test_sample: int
    backups: list[NamedBackup]
    note: str
    ticket: int | None
    created_at: datetime
    created_by: str
    archived_at: datetime | None
    archived_why: str
    rungs: list[RungOut]
    covering: list[CoveringOut]
    test_due_at: datetime | None
    test_why_not: str
    """Why no restore test can run; empty: one can."""


class RatingOut(Struct, kw_only=True):
    """See the operations that use it."""

    ticket: int
    client: Named
    score: int
    """1 (bad) to 5 (very good)."""
    comment: str
    given_by: str
    given_at: datetime
    changed_at: datetime | None


class ReachOut(Struct, kw_only=True):
    """How far a job reaches, with the others of its runbook that single operators signed in these 24 hours."""

    covered: int
    """Devices, this job's included."""
    client_devices: int
    """Approved devices of the client."""
    limit: int
    """Most devices that one signature may cover: a tenth of the client, 5 at least."""
    needed: int
    """Operators who must sign."""


class ReasonIn(Struct, kw_only=True):
    """See the operations that use it."""

    reason: str


class RecoveryGapOfSystemOut(Struct, kw_only=True):
    """See the operations that use it."""

    code: str
    status: Literal["pass", "warn", "fail", "unknown", "stale"]
    sentence: str
    fix: str
    system: int
    name: str
    client: Named
    device: Named
    importance: Literal["critical", "high", "medium", "low"]


class RecoveryGapOut(Struct, kw_only=True):
    """See the operations that use it."""

    code: str
    status: Literal["pass", "warn", "fail", "unknown", "stale"]
    sentence: str
    fix: str


class RemovalIn(Struct, kw_only=True):
    """See the operations that use it."""

    confirm: str
    """The client's name, letter by letter."""
    reason: str


class RemovalOut(Struct, kw_only=True):
    """What a removal would delete. Evidence and service reports stay."""

    deleted: dict[str, int]


class RemovedOut(Struct, kw_only=True):
    """See the operations that use it."""

    deleted: dict[str, int]
    reference: str
    """The evidence record of it."""


class ReportOut(Struct, kw_only=True):
    """See the operations that use it."""

    number: str
    ticket: int
    client: Named
    made_at: datetime


class RestoreTestIn(Struct, kw_only=True):
    """See the operations that use it."""

    level: Literal["", "integrity", "sample", "whole", "database", "application"] | UnsetType = UNSET
    """Empty: the wanted one."""


class RestoreTestOut(Struct, kw_only=True):
    """See the operations that use it."""

    job: UUID
    state: str
    """`queued` under a standing order, or `awaiting_signature`."""
    device: Named
    parameters: dict[str, Any]


class ReviewAssignIn(Struct, kw_only=True):
    """See the operations that use it."""

    assigned_to: int


class ReviewEndIn(Struct, kw_only=True):
    """See the operations that use it."""

    reason: str


class ReviewItemOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    device: UUID
    device_name: str
    account: str
    facts: dict[str, Any]
    """What is known of the account, as its reviewer sees it."""
    unchanged: bool
    """The same rights as when it was last kept at a sign-off."""
    last_kept_at: datetime | None
    decision: str
    """Empty: not decided; `keep`, `remove`, `change`."""
    reason: str
    decided_at: datetime | None
    decided_by: str
    asked_again: str
    gone_at: datetime | None
    job_id: UUID | None
    job_note: str
    done_at: datetime | None
    evidence_reference: str


class ReviewPlanIn(Struct, kw_only=True):
    """See the operations that use it."""

    client: UUID
    site: UUID | None | UnsetType = UNSET
    """Null: every site that has no plan of its own."""
    every_months: int | UnsetType = UNSET
    answer_days: int | UnsetType = UNSET
    """A review is to be signed off so many days after it began."""
    assigned_to: int | None | UnsetType = UNSET
    """Person; null: whoever may."""


class ReviewPlanOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    client: Named
    site: UUID | None
    every_months: int
    answer_days: int
    assigned_to: str
    changed_at: datetime
    changed_by: str


class ReviewSignIn(Struct, kw_only=True):
    """See the operations that use it."""

    note: str | UnsetType = UNSET


class ReviewStandingOut(Struct, kw_only=True):
    """See the operations that use it."""

    device_id: UUID
    site_id: UUID
    client_id: UUID
    reviewed_at: datetime | None
    due_at: datetime | None
    status: str
    why: str
    href: str


class RevocationOut(Struct, kw_only=True):
    """See the operations that use it."""

    digest: str
    envelope: str
    """Base64 of the signed DSSE envelope."""
    keys: list[str]
    """Key ids of operators whose signatures count no more."""
    reason: str
    installed_at: datetime
    installed_by: str


class RingOut(Struct, kw_only=True):
    """See the operations that use it."""

    number: int
    cap: int
    """Most devices touched when it is done, the earlier rings' included."""
    devices: int
    touched: int
    states: dict[str, int]
    """State of a device → how many."""
    needed: int
    """Healthy devices that it takes before the next ring begins."""
    soak_minutes: int
    started_at: datetime | None
    judged_at: datetime | None
    verdict: str
    """`healthy`, `failed`; empty: under way or not begun."""
    why: str
    results_root: str
    """Merkle root (RFC 6962) of its device-signed results."""
    promoted_by: str
    promoted_at: datetime | None


class RoleAtIn(Struct, kw_only=True):
    """See the operations that use it."""

    role: str
    """Slug, number or name of a role."""
    client: UUID | None | UnsetType = UNSET
    """Without it: everywhere."""
    site: UUID | None | UnsetType = UNSET
    until: datetime | None | UnsetType = UNSET


class RoleChangeIn(Struct, kw_only=True):
    """See the operations that use it."""

    name: str | None | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    permissions: (
        list[
            Literal[
                "device.view",
                "device.approve",
                "device.change",
                "check.change",
                "ticket.view",
                "ticket.work",
                "runbook.view",
                "job.prepare",
                "authority.change",
                "window.change",
                "patch.change",
                "risk.accept",
                "recovery.change",
                "access.review",
                "baseline.change",
                "runbook.change",
                "evidence.view",
                "evidence.erase",
                "report.view",
                "client.view",
                "client.change",
                "client.export",
                "client.remove",
                "people.view",
                "people.change",
                "settings.change",
                "portal.view",
                "portal.ticket",
                "portal.approve",
                "portal.report",
            ]
        ]
        | None
        | UnsetType
    ) = UNSET


class RoleIn(Struct, kw_only=True):
    """See the operations that use it."""

    name: str
    permissions: list[
        Literal[
            "device.view",
            "device.approve",
            "device.change",
            "check.change",
            "ticket.view",
            "ticket.work",
            "runbook.view",
            "job.prepare",
            "authority.change",
            "window.change",
            "patch.change",
            "risk.accept",
            "recovery.change",
            "access.review",
            "baseline.change",
            "runbook.change",
            "evidence.view",
            "evidence.erase",
            "report.view",
            "client.view",
            "client.change",
            "client.export",
            "client.remove",
            "people.view",
            "people.change",
            "settings.change",
            "portal.view",
            "portal.ticket",
            "portal.approve",
            "portal.report",
        ]
    ]
    description: str | UnsetType = UNSET


class RoleOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: str
    """Slug of a built-in role, number of one of the provider's own."""
    name: str
    description: str
    is_built_in: bool
    permissions: list[str]
    people: int
    """How many of the people you see hold it now."""
    mfa_required: bool


class RolloutDeviceOut(Struct, kw_only=True):
    """See the operations that use it."""

    device: Named
    site: Named
    client: Named
    ring: int
    state: str
    """`waiting`, `running`, `healthy`, `failed`, `silent`, `left out`."""
    why: str
    job: UUID | None
    touched_at: datetime | None
    judged_at: datetime | None


class RolloutIn(Struct, kw_only=True):
    """See the operations that use it."""

    client: UUID | None | UnsetType = UNSET
    """Null: across clients; for who may plan everywhere."""
    name: str | UnsetType = UNSET
    choose: Literal["security", "all", "chosen"] | UnsetType = UNSET
    packages: list[str] | UnsetType = UNSET
    """With `chosen`: names (`*` at the end), `name=version`."""
    pilots: list[UUID] | UnsetType = UNSET
    """Devices that go first."""
    terms: dict[str, Any] | UnsetType = UNSET
    """What differs from the usual terms."""


class RolloutOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: UUID
    client: Named | None
    """Null: across clients."""
    name: str
    state: str
    """`running`, `awaiting_promotion`, `paused`, `halted`, `finished`, `cancelled`."""
    why: str
    """What it waits for, or why it stopped."""
    ring: int
    """Number of the ring under way."""
    created_at: datetime
    created_by: str
    ended_at: datetime | None


class RolloutPreviewOut(Struct, kw_only=True):
    """See the operations that use it."""

    updates: list[str]
    held: list[str]
    """Updates of it that nobody installs for now."""
    rings: list[PreviewRing]
    left_out: list[PreviewLeft]
    """The first 50."""
    devices: int


class RolloutReasonIn(Struct, kw_only=True):
    """See the operations that use it."""

    reason: str | UnsetType = UNSET


class RolloutShownOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: UUID
    client: Named | None
    """Null: across clients."""
    name: str
    state: str
    """`running`, `awaiting_promotion`, `paused`, `halted`, `finished`, `cancelled`."""
    why: str
    """What it waits for, or why it stopped."""
    ring: int
    """Number of the ring under way."""
    created_at: datetime
    created_by: str
    ended_at: datetime | None
    updates: list[str]
    """`provider package version`."""
    terms: dict[str, Any]
    """Rings, soak times and what counts as failure."""
    rings: list[RingOut]


class RootOut(Struct, kw_only=True):
    """See the operations that use it."""

    version: int
    digest: str
    envelope: str
    """Base64 of the signed DSSE envelope."""
    installed_at: datetime
    installed_by: str
    expires_at: datetime


class RouteChangeIn(Struct, kw_only=True):
    """What is not named stays as it is."""

    name: str | None | UnsetType = UNSET
    address: str | None | UnsetType = UNSET
    """An address that apprise understands: `mailtos://…`, `msteams://…`. Sealed, and never shown whole again."""
    minimum_risk: Literal["critical", "high", "medium", "low"] | None | UnsetType = UNSET
    enabled: bool | None | UnsetType = UNSET


class RouteIn(Struct, kw_only=True):
    """See the operations that use it."""

    name: str
    address: str
    """An address that apprise understands: `mailtos://…`, `msteams://…`. Sealed, and never shown whole again."""
    client: UUID | None | UnsetType = UNSET
    """Null: every client."""
    minimum_risk: Literal["critical", "high", "medium", "low"] | UnsetType = UNSET


class RouteOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    name: str
    client: Named | None
    """Null: every client."""
    address: str
    """Without its secrets."""
    minimum_risk: Literal["critical", "high", "medium", "low"]
    """Nothing below this is sent."""
    enabled: bool
    created_at: datetime
    created_by: str


class RuleFields(Struct, kw_only=True):
    """See the operations that use it."""

    owner: str
    """User name of somebody who may work tickets there."""
    kind: str | UnsetType = UNSET
    minimum_risk: Literal["critical", "high", "medium", "low"] | None | UnsetType = UNSET
    order: int | UnsetType = UNSET


class RuleIn(Struct, kw_only=True):
    """See the operations that use it."""

    owner: str
    """User name of somebody who may work tickets there."""
    kind: str | UnsetType = UNSET
    minimum_risk: Literal["critical", "high", "medium", "low"] | None | UnsetType = UNSET
    order: int | UnsetType = UNSET
    client: UUID | None | UnsetType = UNSET
    """Null: every client."""
    site: UUID | None | UnsetType = UNSET
    """A site says its client."""


class RuleOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    client: Named | None
    """Null: every client."""
    site: Named | None
    """Null: every site."""
    kind: str
    """Slug of a kind of check, or `request`; empty: everything."""
    minimum_risk: Literal["critical", "high", "medium", "low"] | None
    """Null: any risk."""
    owner: str
    """User name of who gets the ticket."""
    order: int
    """Decides between rules that are equally particular; lower first."""
    words: str


class RunbookOut(Struct, kw_only=True):
    """See the operations that use it."""

    slug: str
    version: int
    digest: str
    title: str
    risk: str
    envelope: str
    """Base64 of the signed DSSE envelope."""


class RungOut(Struct, kw_only=True):
    """See the operations that use it."""

    level: Literal["reported", "integrity", "sample", "whole", "database", "application"]
    state: Literal["proved", "lapsed", "failed", "never"]
    at: datetime | None
    until: datetime | None
    source: str
    """`signed` or `reported` by the device, or `attested` by a person."""
    wanted: bool


class SampleSeries(Struct, kw_only=True):
    """Columns of one length. Null: no sample in that step."""

    times: list[float]
    """Unix seconds."""
    mean: list[float | None]
    min: list[float | None]
    max: list[float | None]


class SegmentOut(Struct, kw_only=True):
    """See the operations that use it."""

    start: datetime
    end: datetime
    counted: bool
    why: str


class SessionOut(Struct, kw_only=True):
    """See the operations that use it."""

    ip: str
    user_agent: str
    created_at: datetime
    last_seen_at: datetime


class SignInOut(Struct, kw_only=True):
    """See the operations that use it."""

    at: datetime
    kind: str
    detail: str
    address: str


class SiteChangeIn(Struct, kw_only=True):
    """What is not named stays as it is."""

    name: str | None | UnsetType = UNSET
    timezone: str | None | UnsetType = UNSET
    """IANA name: `Europe/Berlin`. Empty: the client's."""
    country: str | None | UnsetType = UNSET
    """ISO 3166-1 alpha-2; empty: no public holidays. Empty: the client's."""
    region: str | None | UnsetType = UNSET
    """As the holidays library names it: `BY`, `ENG`."""
    address: str | None | UnsetType = UNSET
    client: UUID | None | UnsetType = UNSET
    """Another than its own is refused: a site stays with its client."""


class SiteIn(Struct, kw_only=True):
    """See the operations that use it."""

    name: str
    timezone: str | UnsetType = UNSET
    """IANA name: `Europe/Berlin`. Empty: the client's."""
    country: str | UnsetType = UNSET
    """ISO 3166-1 alpha-2; empty: no public holidays. Empty: the client's."""
    region: str | UnsetType = UNSET
    """As the holidays library names it: `BY`, `ENG`."""
    address: str | UnsetType = UNSET


class SiteOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: UUID
    name: str
    client: Named
    timezone: str
    """IANA name: `Europe/Berlin`. In force: its own, else the client's."""
    own_timezone: str
    """IANA name: `Europe/Berlin`. Empty: the client's."""
    country: str
    """ISO 3166-1 alpha-2. Empty: the client's."""
    region: str
    """As the holidays library names it: `BY`, `ENG`."""
    address: str


class StepOut(Struct, kw_only=True):
    """See the operations that use it."""

    action: str
    ok: bool
    summary: str
    output: str
    changed: dict[str, int]
    part: str | UnsetType = UNSET
    """Empty: it ran. skipped: its condition did not hold. approval: the run stopped before it. undo: what was put back
    after a step had failed.
    """


class SuggestionOut(Struct, kw_only=True):
    """See the operations that use it."""

    client: Named
    device: Named
    kind: Literal["machine", "folder", "database"]
    what: str
    name: str
    why: str


class TagOut(Struct, kw_only=True):
    """See the operations that use it."""

    name: str
    devices: int
    """On how many of the devices you may see."""


class TagsIn(Struct, kw_only=True):
    """See the operations that use it."""

    devices: list[UUID]
    add: list[str] | UnsetType = UNSET
    remove: list[str] | UnsetType = UNSET


class TargetIn(Struct, kw_only=True):
    """See the operations that use it."""

    response_minutes: int
    """Working minutes."""
    resolution_minutes: int
    """Working minutes."""


class TargetOut(Struct, kw_only=True):
    """See the operations that use it."""

    response_minutes: int
    """Working minutes."""
    resolution_minutes: int
    """Working minutes."""
    own: bool
    """Agreed with this client instead of its tier's."""


class TermsModel(Struct, kw_only=True):
    """See the operations that use it."""

    reboot: Literal["never", "when_needed", "next_window"] | UnsetType = UNSET
    """`when_needed`: at the end of the run; `next_window`: put off until the window after it."""
    warn_minutes: int | UnsetType = UNSET
    """From the warning to a restart."""
    least_free_mb: int | UnsetType = UNSET
    """Free space that must be left, in megabytes."""
    on_battery: Literal["block", "allow"] | UnsetType = UNSET
    sessions: Literal["ignore", "block"] | UnsetType = UNSET
    """Whether people who are signed in block it."""
    snapshot: Literal["never", "when_possible", "required"] | UnsetType = UNSET
    backup: Literal["ignore", "warn", "block"] | UnsetType = UNSET
    """What a backup that is too old means."""
    backup_hours: int | UnsetType = UNSET
    """How old the last good backup may be."""
    backup_restored_days: int | UnsetType = UNSET
    """How old a proved restore may be; 0: not asked."""
    minutes_needed: int | UnsetType = UNSET
    """A window with less left is not begun with."""
    rings: bool | UnsetType = UNSET
    """Whether it goes ring by ring."""


class TextIn(Struct, kw_only=True):
    """See the operations that use it."""

    text: str


class TicketIn(Struct, kw_only=True):
    """See the operations that use it."""

    title: str
    """The client reads it."""
    text: str | UnsetType = UNSET
    """The client reads it."""
    urgency: Literal["everybody", "one", "hindered", "question"] | UnsetType = UNSET
    site: UUID | None | UnsetType = UNSET
    """Null: the device's."""
    device: UUID | None | UnsetType = UNSET
    """Null: about no one device."""
    requested_by: str | None | UnsetType = UNSET
    """User name of the client's person whose request it is."""


class TicketOut(Struct, kw_only=True):
    """See the operations that use it."""

    number: int
    title: str
    client: Named
    site: Named
    device: Named | None
    """Null: a request about no one device."""
    kind: str
    """Slug of the check that opened it, or `request`."""
    target: str
    risk: str
    priority: str
    state: str
    owner: str | None
    first_seen_at: datetime
    opened_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str
    resolved_at: datetime | None
    resolved_by: str
    close_reason: str
    resolution: str
    verified_at: datetime | None
    reopened: int
    text: str
    """Of a request: what is asked for. The client reads it."""
    urgency: str
    """Of a request: how bad it is, as who asked sees it."""
    opened_by: str
    """User name; empty: a check."""
    requested_by: str | None
    """User name of the client's person whose request it is."""
    clock: ClockOut


class TicketWindowIn(Struct, kw_only=True):
    """See the operations that use it."""

    window: int
    minutes: int
    """How long the work takes; no longer than the window is open."""
    starts_at: datetime | None | UnsetType = UNSET
    """Start of one of its times; left out: the next."""


class TicketWindowOut(Struct, kw_only=True):
    """See the operations that use it."""

    planned: PlannedWorkOut | None
    next_times: list[WindowTimeOut]
    """When windows of its device or site open next."""


class TierChangeIn(Struct, kw_only=True):
    """What is not named stays as it is."""

    name: str | None | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    targets: dict[str, TargetIn] | None | UnsetType = UNSET


class TierIn(Struct, kw_only=True):
    """See the operations that use it."""

    slug: str
    """Small letters, digits, hyphens. Never changed: clients name it."""
    name: str
    targets: dict[str, TargetIn]
    """A priority that is not named has the default of the field."""
    description: str | UnsetType = UNSET


class TierOut(Struct, kw_only=True):
    """See the operations that use it."""

    slug: str
    name: str
    description: str
    targets: dict[str, TargetIn]
    """Priority → working minutes."""


class TokenOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    name: str
    permissions: list[str]
    """Empty: all that its person has."""
    client: Named | None
    site: Named | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class TriedOut(Struct, kw_only=True):
    """See the operations that use it."""

    delivered: bool
    words: str


class UntilIn(Struct, kw_only=True):
    """See the operations that use it."""

    until: datetime | None
    """When it ends by itself; null: never."""


class VulnerabilityOut(Struct, kw_only=True):
    """See the operations that use it."""

    name: str
    title: str
    severity: str
    score: int
    cvss: float | None
    epss: float | None
    known_exploited: bool
    kev_due_on: date | None
    ransomware: bool
    device_count: int
    fixable: bool
    exposed: bool
    only_running: bool
    """Everywhere the fix is installed and does not run yet."""
    why: list[str]


class WaitingUpdateOut(Struct, kw_only=True):
    """See the operations that use it."""

    manager: str
    name: str
    candidate: str
    devices: int
    late: int
    misses: int
    """On so many devices the next window misses the deadline."""
    security: bool
    severity: str
    """The worst known; `unrated`: a security update that nobody rated."""
    earliest_due_at: datetime | None
    states: dict[str, int]


class WebhookChangeIn(Struct, kw_only=True):
    """See the operations that use it."""

    name: str | None | UnsetType = UNSET
    url: str | None | UnsetType = UNSET
    events: (
        list[
            Literal[
                "device.enrolled",
                "device.approved",
                "facts.changed",
                "samples.crossed",
                "check.changed",
                "alert.raised",
                "alert.cleared",
                "ticket.opened",
                "ticket.resolved",
                "job.finished",
                "window.proposed",
                "window.answered",
                "deployment.changed",
                "rollout.changed",
                "vulnerability.found",
                "feed.changed",
                "proof.recorded",
                "access.changed",
                "baseline.drifted",
                "health.run_done",
            ]
        ]
        | None
        | UnsetType
    ) = UNSET
    """Empty: all."""


class WebhookIn(Struct, kw_only=True):
    """See the operations that use it."""

    name: str
    """Who listens."""
    url: str
    """https, or http inside your own network."""
    client: UUID | None | UnsetType = UNSET
    """Null: of all clients, which takes `settings.change` everywhere."""
    events: (
        list[
            Literal[
                "device.enrolled",
                "device.approved",
                "facts.changed",
                "samples.crossed",
                "check.changed",
                "alert.raised",
                "alert.cleared",
                "ticket.opened",
                "ticket.resolved",
                "job.finished",
                "window.proposed",
                "window.answered",
                "deployment.changed",
                "rollout.changed",
                "vulnerability.found",
                "feed.changed",
                "proof.recorded",
                "access.changed",
                "baseline.drifted",
                "health.run_done",
            ]
        ]
        | UnsetType
    ) = UNSET
    """None: all."""


class WebhookOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: UUID
    name: str
    host: str
    """Scheme, name and port of its address; the rest is shown to nobody."""
    client: Named | None
    """Null: of all clients."""
    events: list[str]
    """Empty: all."""
    state: str
    """`active`, `paused`, or `disabled` after days of failure."""
    disabled_because: str
    failing_since: datetime | None
    last_success_at: datetime | None
    created_at: datetime
    created_by: str


class WhoOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    username: str


class WholeDeliveryOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: UUID
    event: str
    state: str
    """`waiting`, `done` or `failed`."""
    made_at: datetime
    attempts: int
    next_at: datetime | None
    """When it is tried again."""
    tried_at: datetime | None
    status: int | None
    """HTTP status of the latest answer; null: none came."""
    milliseconds: int | None
    error: str
    again_of: UUID | None
    body: str
    """The very text that is signed and sent."""


class WholeReportOut(Struct, kw_only=True):
    """See the operations that use it."""

    number: str
    ticket: int
    client: Named
    made_at: datetime
    body: dict[str, Any]


class WholeVulnerabilityOut(Struct, kw_only=True):
    """See the operations that use it."""

    name: str
    title: str
    severity: str
    score: int
    cvss: float | None
    epss: float | None
    known_exploited: bool
    kev_due_on: date | None
    ransomware: bool
    device_count: int
    fixable: bool
    exposed: bool
    only_running: bool
    """Everywhere the fix is installed and does not run yet."""
    why: list[str]
    cvss_vector: str
    epss_percentile: float | None
    kev_added_on: date | None
    published_at: datetime | None
    affected: list[AffectedOut]
    marks: list[MarkOut]


class WhyLineOut(Struct, kw_only=True):
    """See the operations that use it."""

    grant: GrantOut
    gives: bool
    why: str


class WhyOut(Struct, kw_only=True):
    """See the operations that use it."""

    may: bool
    why: str
    reasons: list[WhyLineOut]


class WindowChangeIn(Struct, kw_only=True):
    """What is not named stays as it is."""

    name: str | None | UnsetType = UNSET
    purpose: str | None | UnsetType = UNSET
    starts_on: date | None | UnsetType = UNSET
    starts_at: str | None | UnsetType = UNSET
    minutes: int | None | UnsetType = UNSET
    rrule: str | None | UnsetType = UNSET
    """RFC 5545 RRULE value on the site's wall clock, such as `FREQ=WEEKLY;BYDAY=SU`; empty: once."""
    notice_hours: int | None | UnsetType = UNSET
    notice_first_only: bool | None | UnsetType = UNSET
    catch_up_hours: int | None | UnsetType = UNSET
    needs_approval: bool | None | UnsetType = UNSET


class WindowIn(Struct, kw_only=True):
    """See the operations that use it."""

    site: UUID
    name: str
    starts_on: date
    starts_at: str
    """`22:00`, the site's wall clock."""
    minutes: int
    """Length in elapsed minutes."""
    purpose: str | UnsetType = UNSET
    """What is done in it."""
    rrule: str | UnsetType = UNSET
    """RFC 5545 RRULE value on the site's wall clock, such as `FREQ=WEEKLY;BYDAY=SU`; empty: once."""
    notice_hours: int | UnsetType = UNSET
    notice_first_only: bool | UnsetType = UNSET
    catch_up_hours: int | UnsetType = UNSET
    needs_approval: bool | UnsetType = UNSET
    """The client's people have to approve it first."""
    device: UUID | None | UnsetType = UNSET
    """Null: every device of the site."""


class WindowLimitIn(Struct, kw_only=True):
    """See the operations that use it."""

    longest_minutes: int | None | UnsetType = UNSET
    """Null: no limit any more."""
    site: UUID | None | UnsetType = UNSET


class WindowLimitOut(Struct, kw_only=True):
    """See the operations that use it."""

    client: Named
    site: Named | None
    """Null: every site that has none of its own."""
    longest_minutes: int
    set_at: datetime
    set_by: str


class WindowOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    name: str
    purpose: str
    client: Named
    site: Named
    device: UUID | None
    """Null: every device of the site."""
    timezone: str
    """The site's: start and rule are on its wall clock."""
    starts_on: date
    starts_at: str
    minutes: int
    rrule: str
    """RFC 5545 RRULE value on the site's wall clock, such as `FREQ=WEEKLY;BYDAY=SU`; empty: once."""
    words: str
    """The rule in words: `every Sunday`."""
    notice_hours: int
    """How long before each time the client's people are told by mail; 0: never."""
    notice_first_only: bool
    """They are told of its first time alone."""
    missed: str
    """What becomes of work whose device missed it: `next` time, or `catch_up`."""
    catch_up_hours: int
    """So many hours after it a device that missed it may be worked on."""
    needs_approval: bool
    """Only proposed, and no window, until the client's people approve it."""
    answer: str
    """The client's: `approved`, `declined`; empty: none yet, or changed since."""
    answered_at: datetime | None
    answered_by: str
    answer_reason: str
    created_at: datetime
    created_by: str
    ended_at: datetime | None
    ended_by: str
    next_start: datetime | None
    """When it opens next; null: never again."""
    next_end: datetime | None


class WindowShownOut(Struct, kw_only=True):
    """See the operations that use it."""

    id: int
    name: str
    purpose: str
    client: Named
    site: Named
    device: UUID | None
    """Null: every device of the site."""
    timezone: str
    """The site's: start and rule are on its wall clock."""
    starts_on: date
    starts_at: str
    minutes: int
    rrule: str
    """RFC 5545 RRULE value on the site's wall clock, such as `FREQ=WEEKLY;BYDAY=SU`; empty: once."""
    words: str
    """The rule in words: `every Sunday`."""
    notice_hours: int
    """How long before each time the client's people are told by mail; 0: never."""
    notice_first_only: bool
    """They are told of its first time alone."""
    missed: str
    """What becomes of work whose device missed it: `next` time, or `catch_up`."""
    catch_up_hours: int
    """So many hours after it a device that missed it may be worked on."""
    needs_approval: bool
    """Only proposed, and no window, until the client's people approve it."""
    answer: str
    """The client's: `approved`, `declined`; empty: none yet, or changed since."""
    answered_at: datetime | None
    answered_by: str
    answer_reason: str
    created_at: datetime
    created_by: str
    ended_at: datetime | None
    ended_by: str
    next_start: datetime | None
    """When it opens next; null: never again."""
    next_end: datetime | None
    clock_changes: list[str]
    """Where a clock change meets it within 400 days, in words."""
    blackouts: list[str]
    """Where a blackout keeps it shut, or cuts it, within 400 days, in words."""


class WindowTimeOut(Struct, kw_only=True):
    """See the operations that use it."""

    window: int
    name: str
    client: Named
    site: Named
    device: UUID | None
    timezone: str
    start: datetime
    end: datetime
    cut: str
    """The blackout that closes it early; empty: none does."""


class WorkingHoursIn(Struct, kw_only=True):
    """See the operations that use it."""

    hours: dict[str, list[list[str]]]
    """`{"monday": [["09:00", "12:30"], ["13:00", "17:30"]], …}`, wall clock of each site."""


class WorkingHoursOut(Struct, kw_only=True):
    """See the operations that use it."""

    hours: dict[str, list[list[str]]]
    """Weekday → spans; a weekday that is not named is free."""
    is_usual: bool
    """Nobody has set any: Monday to Friday 09:00–17:30."""
    timezone: str
    note: str
    """What is missing from the calendar; empty when nothing is."""
    next_days: list[DayOut]
    """Today and six more, in words."""


class Client(Transport):
    """Forestall, as one token sees it."""

    def access_change_accept(
        self,
        *,
        device: UUID,
        changes: list[int],
        reason: str,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> list[AccessChangeOut]:
        """Say of a device's changes that they are known and right."""
        return decode(
            self.request(
                "POST",
                "/access-changes/accept",
                body={"device": device, "changes": changes, "reason": reason},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=list[AccessChangeOut],
        )

    def access_change_list(
        self,
        *,
        client: UUID | None = None,
        device: UUID | None = None,
        state: Literal["", "open", "accepted", "undone", "noted"] | None = None,
        limit: int = 100,
    ) -> Pages[AccessChangeOut]:
        """What changed of access, the newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/access-changes",
                query={"client": client, "device": device, "state": state, "limit": limit, "cursor": cursor},
            )

        return Pages(ask, Page_AccessChangeOut)

    def access_change_show(self, access_change_id: int) -> AccessChangeOut:
        """Show one change of access."""
        return decode(self.request("GET", f"/access-changes/{segment(access_change_id)}"), type=AccessChangeOut)

    def access_review_assign(
        self,
        access_review_id: int,
        *,
        assigned_to: int,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> AccessReviewOut:
        """Give a review to somebody."""
        return decode(
            self.request(
                "POST",
                f"/access-reviews/{segment(access_review_id)}/assign",
                body={"assigned_to": assigned_to},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=AccessReviewOut,
        )

    def access_review_begin(
        self,
        *,
        client: UUID,
        site: UUID | None | UnsetType = UNSET,
        assigned_to: int | None | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> AccessReviewOut:
        """Begin a review of a client or site now."""
        return decode(
            self.request(
                "POST",
                "/access-reviews",
                body={"client": client, "site": site, "assigned_to": assigned_to},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=AccessReviewOut,
        )

    def access_review_decide(
        self,
        access_review_id: int,
        *,
        items: list[int],
        decision: Literal["keep", "remove", "change"],
        reason: str | UnsetType = UNSET,
        prepare: bool | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> list[ReviewItemOut]:
        """Keep, remove or change accounts."""
        return decode(
            self.request(
                "POST",
                f"/access-reviews/{segment(access_review_id)}/decide",
                body={"items": items, "decision": decision, "reason": reason, "prepare": prepare},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=list[ReviewItemOut],
        )

    def access_review_end(
        self, access_review_id: int, *, reason: str, if_match: str | None = None, idempotency_key: str | None = None
    ) -> AccessReviewOut:
        """End a review without signing it off."""
        return decode(
            self.request(
                "POST",
                f"/access-reviews/{segment(access_review_id)}/end",
                body={"reason": reason},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=AccessReviewOut,
        )

    def access_review_keep_unchanged(
        self,
        access_review_id: int,
        *,
        reason: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> list[ReviewItemOut]:
        """Keep every undecided account that has the same rights as when it was last kept."""
        return decode(
            self.request(
                "POST",
                f"/access-reviews/{segment(access_review_id)}/keep-unchanged",
                body={"reason": reason},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=list[ReviewItemOut],
        )

    def access_review_list(
        self,
        *,
        client: UUID | None = None,
        state: Literal["", "open", "signed", "ended"] | None = None,
        limit: int = 100,
    ) -> Pages[AccessReviewOut]:
        """Access reviews, the newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET", "/access-reviews", query={"client": client, "state": state, "limit": limit, "cursor": cursor}
            )

        return Pages(ask, Page_AccessReviewOut)

    def access_review_show(self, access_review_id: int) -> AccessReviewOut:
        """Show a review."""
        return decode(self.request("GET", f"/access-reviews/{segment(access_review_id)}"), type=AccessReviewOut)

    def access_review_sign(
        self,
        access_review_id: int,
        *,
        note: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> AccessReviewOut:
        """Sign a review off: every account is decided."""
        return decode(
            self.request(
                "POST",
                f"/access-reviews/{segment(access_review_id)}/sign",
                body={"note": note},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=AccessReviewOut,
        )

    def access_standing_list(self, *, client: UUID | None = None) -> list[ReviewStandingOut]:
        """How each device stands with its access reviews."""
        return decode(self.request("GET", "/access-standings", query={"client": client}), type=list[ReviewStandingOut])

    def account_list(
        self,
        *,
        client: UUID | None = None,
        device: UUID | None = None,
        name: str | None = None,
        administrators: bool | None = None,
        everything: bool | None = None,
    ) -> list[AccountOut]:
        """Accounts of devices, of at most 500 devices at a time."""
        return decode(
            self.request(
                "GET",
                "/accounts",
                query={
                    "client": client,
                    "device": device,
                    "name": name,
                    "administrators": administrators,
                    "everything": everything,
                },
            ),
            type=list[AccountOut],
        )

    def alert_list(
        self,
        *,
        state: Literal["muted", "open", "cleared"] | None = None,
        client: UUID | None = None,
        device: UUID | None = None,
        kind: str | None = None,
        risk: Literal["critical", "high", "medium", "low"] | None = None,
        ordering: Literal["-id", "id", "-first_seen_at", "first_seen_at"] | None = None,
        limit: int = 100,
    ) -> Pages[AlertOut]:
        """List alerts, newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/alerts",
                query={
                    "state": state,
                    "client": client,
                    "device": device,
                    "kind": kind,
                    "risk": risk,
                    "ordering": ordering,
                    "limit": limit,
                    "cursor": cursor,
                },
            )

        return Pages(ask, Page_AlertOut)

    def assessment_import(
        self,
        *,
        device: UUID,
        tool: Literal["lynis", "openscap"],
        findings: list[AssessmentFindingSchema],
        version: str | UnsetType = UNSET,
        profile: str | UnsetType = UNSET,
        at: datetime | None | UnsetType = UNSET,
        score: float | None | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> AssessmentOut:
        """Bring what another tool found on a device."""
        return decode(
            self.request(
                "POST",
                "/assessments",
                body={
                    "device": device,
                    "tool": tool,
                    "findings": findings,
                    "version": version,
                    "profile": profile,
                    "at": at,
                    "score": score,
                },
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=AssessmentOut,
        )

    def assessment_list(self, *, device: UUID | None = None, limit: int = 100) -> Pages[AssessmentOut]:
        """Runs of Lynis and OpenSCAP, the newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request("GET", "/assessments", query={"device": device, "limit": limit, "cursor": cursor})

        return Pages(ask, Page_AssessmentOut)

    def assessment_show(self, assessment_id: int) -> AssessmentDetailOut:
        """What another tool found, and how that meets the controls."""
        return decode(self.request("GET", f"/assessments/{segment(assessment_id)}"), type=AssessmentDetailOut)

    def asset_change(
        self,
        asset_id: int,
        *,
        name: str | UnsetType = UNSET,
        role: Literal["server", "endpoint", "network", "printer", "cloud", "other"] | UnsetType = UNSET,
        manufacturer: str | UnsetType = UNSET,
        model: str | UnsetType = UNSET,
        serial: str | UnsetType = UNSET,
        location: str | UnsetType = UNSET,
        bought_on: date | None | UnsetType = UNSET,
        warranty_until: date | None | UnsetType = UNSET,
        notes: str | UnsetType = UNSET,
        device: UUID | None | UnsetType = UNSET,
        if_match: str | None = None,
    ) -> AssetOut:
        """Change an asset."""
        return decode(
            self.request(
                "PATCH",
                f"/assets/{segment(asset_id)}",
                body={
                    "name": name,
                    "role": role,
                    "manufacturer": manufacturer,
                    "model": model,
                    "serial": serial,
                    "location": location,
                    "bought_on": bought_on,
                    "warranty_until": warranty_until,
                    "notes": notes,
                    "device": device,
                },
                if_match=if_match,
            ),
            type=AssetOut,
        )

    def asset_create(
        self,
        *,
        site: UUID,
        name: str,
        role: Literal["server", "endpoint", "network", "printer", "cloud", "other"] | UnsetType = UNSET,
        manufacturer: str | UnsetType = UNSET,
        model: str | UnsetType = UNSET,
        serial: str | UnsetType = UNSET,
        location: str | UnsetType = UNSET,
        bought_on: date | None | UnsetType = UNSET,
        warranty_until: date | None | UnsetType = UNSET,
        notes: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> AssetOut:
        """Put an asset on the list."""
        return decode(
            self.request(
                "POST",
                "/assets",
                body={
                    "site": site,
                    "name": name,
                    "role": role,
                    "manufacturer": manufacturer,
                    "model": model,
                    "serial": serial,
                    "location": location,
                    "bought_on": bought_on,
                    "warranty_until": warranty_until,
                    "notes": notes,
                },
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=AssetOut,
        )

    def asset_delete(self, asset_id: int, *, if_match: str | None = None) -> None:
        """Take an asset off the list."""
        self.request("DELETE", f"/assets/{segment(asset_id)}", if_match=if_match)

    def asset_list(
        self,
        *,
        client: UUID | None = None,
        site: UUID | None = None,
        watched: bool | None = None,
        search: str | None = None,
        ordering: Literal["name", "-name", "warranty_until", "-warranty_until"] | None = None,
        limit: int = 100,
    ) -> Pages[AssetOut]:
        """List assets.

        ``watched=false``: what no agent watches. ``search`` looks into names, serial numbers, makers and models.
        """

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/assets",
                query={
                    "client": client,
                    "site": site,
                    "watched": watched,
                    "search": search,
                    "ordering": ordering,
                    "limit": limit,
                    "cursor": cursor,
                },
            )

        return Pages(ask, Page_AssetOut)

    def asset_show(self, asset_id: int) -> AssetOut:
        """Show an asset."""
        return decode(self.request("GET", f"/assets/{segment(asset_id)}"), type=AssetOut)

    def baseline_assign(
        self,
        *,
        client: UUID,
        level: int,
        reason: str,
        device: UUID | None | UnsetType = UNSET,
        role: Literal["", "server", "cloud", "endpoint"] | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> BaselineOut:
        """Choose a level for a client, a role of its devices, or one device."""
        return decode(
            self.request(
                "POST",
                "/baselines",
                body={"client": client, "level": level, "reason": reason, "device": device, "role": role},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=BaselineOut,
        )

    def baseline_list(
        self, *, client: UUID | None = None, in_force: bool | None = None, limit: int = 100
    ) -> Pages[BaselineOut]:
        """Levels that were chosen, the newest first; without a choice level 1 holds."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET", "/baselines", query={"client": client, "in_force": in_force, "limit": limit, "cursor": cursor}
            )

        return Pages(ask, Page_BaselineOut)

    def blackout_create(
        self,
        *,
        why: str,
        starts_on: date,
        ends_on: date,
        client: UUID | None | UnsetType = UNSET,
        site: UUID | None | UnsetType = UNSET,
        starts_at: str | UnsetType = UNSET,
        ends_at: str | UnsetType = UNSET,
        yearly: bool | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> BlackoutOut:
        """Open no window for a time."""
        return decode(
            self.request(
                "POST",
                "/blackouts",
                body={
                    "why": why,
                    "starts_on": starts_on,
                    "ends_on": ends_on,
                    "client": client,
                    "site": site,
                    "starts_at": starts_at,
                    "ends_at": ends_at,
                    "yearly": yearly,
                },
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=BlackoutOut,
        )

    def blackout_end(
        self, blackout_id: int, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> BlackoutOut:
        """Take a blackout back from now on."""
        return decode(
            self.request(
                "POST", f"/blackouts/{segment(blackout_id)}/end", if_match=if_match, idempotency_key=idempotency_key
            ),
            type=BlackoutOut,
        )

    def blackout_list(
        self, *, client: UUID | None = None, ended: bool | None = None, limit: int = 100
    ) -> Pages[BlackoutOut]:
        """List the blackouts that count where you see windows."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET", "/blackouts", query={"client": client, "ended": ended, "limit": limit, "cursor": cursor}
            )

        return Pages(ask, Page_BlackoutOut)

    def bulk_do(
        self,
        *,
        steps: list[BulkStepIn],
        stop_on_error: bool | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> BulkOut:
        """Do up to 100 requests, one after the other.

        Each step is a request of its own: what one changes stays when another is refused. Files and `/bulk` itself
        are not answered here.
        """
        return decode(
            self.request(
                "POST",
                "/bulk",
                body={"steps": steps, "stop_on_error": stop_on_error},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=BulkOut,
        )

    def bundle_download(self, *, client: UUID | None = None) -> bytes:
        """The evidence as a bundle: check it with `forestall verify`."""
        return self.request("GET", "/evidence/bundle", query={"client": client})

    def calendar_download(self) -> bytes:
        """Windows, blackouts and closed days as a calendar file (RFC 5545)."""
        return self.request("GET", "/calendar.ics")

    def calendar_feed_create(
        self,
        *,
        name: str,
        portal: bool | UnsetType = UNSET,
        client: UUID | None | UnsetType = UNSET,
        site: UUID | None | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> NewFeedOut:
        """Make a secret address of your calendar for another program: shown this once."""
        return decode(
            self.request(
                "POST",
                "/calendar-feeds",
                body={"name": name, "portal": portal, "client": client, "site": site},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=NewFeedOut,
        )

    def calendar_feed_list(self, *, limit: int = 100) -> Pages[CalendarFeedOut]:
        """List the secret addresses of your calendar, newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request("GET", "/calendar-feeds", query={"limit": limit, "cursor": cursor})

        return Pages(ask, Page_CalendarFeedOut)

    def calendar_feed_revoke(self, feed_id: int, *, if_match: str | None = None) -> None:
        """Revoke an address of your calendar."""
        self.request("DELETE", f"/calendar-feeds/{segment(feed_id)}", if_match=if_match)

    def change_list(self, check_id: int, *, limit: int = 100) -> Pages[ChangeOut]:
        """How a check changed, newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request("GET", f"/checks/{segment(check_id)}/changes", query={"limit": limit, "cursor": cursor})

        return Pages(ask, Page_ChangeOut)

    def check_accept(
        self, check_id: int, *, reason: str, if_match: str | None = None, idempotency_key: str | None = None
    ) -> CheckOut:
        """Accept a target as it is, with the reason."""
        return decode(
            self.request(
                "POST",
                f"/checks/{segment(check_id)}/accept",
                body={"reason": reason},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=CheckOut,
        )

    def check_list(
        self,
        *,
        client: UUID | None = None,
        site: UUID | None = None,
        device: UUID | None = None,
        kind: str | None = None,
        status: Literal["pass", "warn", "fail", "unknown", "stale"] | None = None,
        target: str | None = None,
        risk: Literal["critical", "high", "medium", "low"] | None = None,
        ordering: Literal["device__name", "-device__name", "since", "-since", "due_at", "-due_at"] | None = None,
        limit: int = 100,
    ) -> Pages[CheckOut]:
        """List checks."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/checks",
                query={
                    "client": client,
                    "site": site,
                    "device": device,
                    "kind": kind,
                    "status": status,
                    "target": target,
                    "risk": risk,
                    "ordering": ordering,
                    "limit": limit,
                    "cursor": cursor,
                },
            )

        return Pages(ask, Page_CheckOut)

    def check_policy_change_list(
        self, *, client: UUID | None = None, kind: str | None = None, limit: int = 100
    ) -> Pages[CheckPolicyChangeOut]:
        """Who changed which policy of checks and why, newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET", "/check-policy-changes", query={"client": client, "kind": kind, "limit": limit, "cursor": cursor}
            )

        return Pages(ask, Page_CheckPolicyChangeOut)

    def check_policy_list(
        self, *, client: UUID | None = None, kind: str | None = None, limit: int = 100
    ) -> Pages[CheckPolicyOut]:
        """List policies of checks."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET", "/check-policies", query={"client": client, "kind": kind, "limit": limit, "cursor": cursor}
            )

        return Pages(ask, Page_CheckPolicyOut)

    def check_policy_set(
        self,
        *,
        kind: str,
        reason: str,
        client: UUID | None | UnsetType = UNSET,
        site: UUID | None | UnsetType = UNSET,
        device: UUID | None | UnsetType = UNSET,
        values: dict[str, Any] | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> CheckPolicySetOut:
        """Set the policy of a kind for a client, site or device, in place of the one before."""
        return decode(
            self.request(
                "POST",
                "/check-policies",
                body={
                    "kind": kind,
                    "reason": reason,
                    "client": client,
                    "site": site,
                    "device": device,
                    "values": values,
                },
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=CheckPolicySetOut,
        )

    def check_policy_undo(
        self, check_policy_change_id: int, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> CheckPolicySetOut:
        """Set a policy back to what it was before its newest change."""
        return decode(
            self.request(
                "POST",
                f"/check-policy-changes/{segment(check_policy_change_id)}/undo",
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=CheckPolicySetOut,
        )

    def check_reject(
        self, check_id: int, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> CheckOut:
        """Take an acceptance back."""
        return decode(
            self.request(
                "POST", f"/checks/{segment(check_id)}/reject", if_match=if_match, idempotency_key=idempotency_key
            ),
            type=CheckOut,
        )

    def check_show(self, check_id: int) -> CheckOut:
        """Show a check."""
        return decode(self.request("GET", f"/checks/{segment(check_id)}"), type=CheckOut)

    def client_change(
        self,
        client_id: UUID,
        *,
        name: str | None | UnsetType = UNSET,
        timezone: str | None | UnsetType = UNSET,
        country: str | None | UnsetType = UNSET,
        region: str | None | UnsetType = UNSET,
        reference: str | None | UnsetType = UNSET,
        operating_model: Literal["outsourced", "co_managed", "in_house", "hourly"] | None | UnsetType = UNSET,
        sla_tier: str | None | UnsetType = UNSET,
        notes: str | None | UnsetType = UNSET,
        if_match: str | None = None,
    ) -> ClientOut:
        """Change a client."""
        return decode(
            self.request(
                "PATCH",
                f"/clients/{segment(client_id)}",
                body={
                    "name": name,
                    "timezone": timezone,
                    "country": country,
                    "region": region,
                    "reference": reference,
                    "operating_model": operating_model,
                    "sla_tier": sla_tier,
                    "notes": notes,
                },
                if_match=if_match,
            ),
            type=ClientOut,
        )

    def client_create(
        self,
        *,
        name: str,
        timezone: str,
        country: str | UnsetType = UNSET,
        region: str | UnsetType = UNSET,
        reference: str | UnsetType = UNSET,
        operating_model: Literal["outsourced", "co_managed", "in_house", "hourly"] | UnsetType = UNSET,
        sla_tier: str | UnsetType = UNSET,
        notes: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> ClientOut:
        """Take on a client."""
        return decode(
            self.request(
                "POST",
                "/clients",
                body={
                    "name": name,
                    "timezone": timezone,
                    "country": country,
                    "region": region,
                    "reference": reference,
                    "operating_model": operating_model,
                    "sla_tier": sla_tier,
                    "notes": notes,
                },
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=ClientOut,
        )

    def client_export(
        self, client_id: UUID, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> bytes:
        """Everything kept of a client, as a ZIP."""
        return self.request(
            "POST", f"/clients/{segment(client_id)}/export", if_match=if_match, idempotency_key=idempotency_key
        )

    def client_list(
        self,
        *,
        search: str | None = None,
        operating_model: Literal["outsourced", "co_managed", "in_house", "hourly"] | None = None,
        sla_tier: str | None = None,
        country: str | None = None,
        ordering: Literal["name", "-name", "created_at", "-created_at"] | None = None,
        limit: int = 100,
    ) -> Pages[ClientOut]:
        """List clients.

        ``search`` looks into names and references.
        """

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/clients",
                query={
                    "search": search,
                    "operating_model": operating_model,
                    "sla_tier": sla_tier,
                    "country": country,
                    "ordering": ordering,
                    "limit": limit,
                    "cursor": cursor,
                },
            )

        return Pages(ask, Page_ClientOut)

    def client_overview(self, client_id: UUID) -> ClientOverviewOut:
        """A client in one line: health, tickets, next window, whom to call."""
        return decode(self.request("GET", f"/clients/{segment(client_id)}/overview"), type=ClientOverviewOut)

    def client_overviews(self) -> list[ClientOverviewOut]:
        """Every client in one line, by name."""
        return decode(self.request("GET", "/client-overviews"), type=list[ClientOverviewOut])

    def client_place(
        self,
        client_id: UUID,
        *,
        timezone: str,
        country: str | UnsetType = UNSET,
        region: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> ClientOut:
        """Say where a client is: its clocks count by it."""
        return decode(
            self.request(
                "POST",
                f"/clients/{segment(client_id)}/place",
                body={"timezone": timezone, "country": country, "region": region},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=ClientOut,
        )

    def client_removal(self, client_id: UUID) -> RemovalOut:
        """What removing a client would delete."""
        return decode(self.request("GET", f"/clients/{segment(client_id)}/removal"), type=RemovalOut)

    def client_remove(
        self,
        client_id: UUID,
        *,
        confirm: str,
        reason: str,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> RemovedOut:
        """Remove a client for good; its proofs stay."""
        return decode(
            self.request(
                "POST",
                f"/clients/{segment(client_id)}/remove",
                body={"confirm": confirm, "reason": reason},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=RemovedOut,
        )

    def client_show(self, client_id: UUID) -> ClientOut:
        """Show a client."""
        return decode(self.request("GET", f"/clients/{segment(client_id)}"), type=ClientOut)

    def client_site_list(self, client_id: UUID, *, limit: int = 100) -> Pages[SiteOut]:
        """List a client's sites."""

        def ask(cursor: str | None) -> bytes:
            return self.request("GET", f"/clients/{segment(client_id)}/sites", query={"limit": limit, "cursor": cursor})

        return Pages(ask, Page_SiteOut)

    def client_sla_delete(
        self, client_id: UUID, priority: Literal["urgent", "standard", "low"], *, if_match: str | None = None
    ) -> None:
        """Go back to the tier's times."""
        self.request("DELETE", f"/clients/{segment(client_id)}/sla/{segment(priority)}", if_match=if_match)

    def client_sla_set(
        self,
        client_id: UUID,
        priority: Literal["urgent", "standard", "low"],
        *,
        response_minutes: int,
        resolution_minutes: int,
        if_match: str | None = None,
    ) -> ClientSlaOut:
        """Agree with a client on other times than its tier's."""
        return decode(
            self.request(
                "PUT",
                f"/clients/{segment(client_id)}/sla/{segment(priority)}",
                body={"response_minutes": response_minutes, "resolution_minutes": resolution_minutes},
                if_match=if_match,
            ),
            type=ClientSlaOut,
        )

    def client_sla_show(self, client_id: UUID) -> ClientSlaOut:
        """The times that hold for a client's tickets opened now."""
        return decode(self.request("GET", f"/clients/{segment(client_id)}/sla"), type=ClientSlaOut)

    def closed_day_create(
        self, client_id: UUID, *, day: date, why: str, if_match: str | None = None, idempotency_key: str | None = None
    ) -> ClosedDayOut:
        """Close a client for a day."""
        return decode(
            self.request(
                "POST",
                f"/clients/{segment(client_id)}/closed-days",
                body={"day": day, "why": why},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=ClosedDayOut,
        )

    def closed_day_delete(self, client_id: UUID, day: date, *, if_match: str | None = None) -> None:
        """Open that day again."""
        self.request("DELETE", f"/clients/{segment(client_id)}/closed-days/{segment(day)}", if_match=if_match)

    def closed_day_list(self, client_id: UUID, *, since: date | None = None) -> list[ClosedDayOut]:
        """The days on which a client is closed besides public holidays, earliest first."""
        return decode(
            self.request("GET", f"/clients/{segment(client_id)}/closed-days", query={"since": since}),
            type=list[ClosedDayOut],
        )

    def configuration_list(
        self, *, client: UUID | None = None, drifted: bool | None = None, limit: int = 100
    ) -> Pages[ConfigurationOut]:
        """How devices meet their baseline."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET", "/configuration", query={"client": client, "drifted": drifted, "limit": limit, "cursor": cursor}
            )

        return Pages(ask, Page_ConfigurationOut)

    def configuration_show(self, device_id: UUID) -> ConfigurationDetailOut:
        """Each control on a device, and how it differs from what was accepted."""
        return decode(self.request("GET", f"/configuration/{segment(device_id)}"), type=ConfigurationDetailOut)

    def contact_change(
        self,
        contact_id: int,
        *,
        name: str | None | UnsetType = UNSET,
        email: str | None | UnsetType = UNSET,
        phone: str | None | UnsetType = UNSET,
        duty: str | None | UnsetType = UNSET,
        is_primary: bool | None | UnsetType = UNSET,
        site: UUID | None | UnsetType = UNSET,
        person: int | None | UnsetType = UNSET,
        if_match: str | None = None,
    ) -> ContactOut:
        """Change a contact."""
        return decode(
            self.request(
                "PATCH",
                f"/contacts/{segment(contact_id)}",
                body={
                    "name": name,
                    "email": email,
                    "phone": phone,
                    "duty": duty,
                    "is_primary": is_primary,
                    "site": site,
                    "person": person,
                },
                if_match=if_match,
            ),
            type=ContactOut,
        )

    def contact_create(
        self,
        client_id: UUID,
        *,
        name: str,
        email: str | UnsetType = UNSET,
        phone: str | UnsetType = UNSET,
        duty: str | UnsetType = UNSET,
        is_primary: bool | UnsetType = UNSET,
        site: UUID | None | UnsetType = UNSET,
        person: int | None | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> ContactOut:
        """Add a contact."""
        return decode(
            self.request(
                "POST",
                f"/clients/{segment(client_id)}/contacts",
                body={
                    "name": name,
                    "email": email,
                    "phone": phone,
                    "duty": duty,
                    "is_primary": is_primary,
                    "site": site,
                    "person": person,
                },
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=ContactOut,
        )

    def contact_delete(self, contact_id: int, *, if_match: str | None = None) -> None:
        """Forget a contact."""
        self.request("DELETE", f"/contacts/{segment(contact_id)}", if_match=if_match)

    def contact_list(
        self, *, client: UUID | None = None, primary: bool | None = None, search: str | None = None, limit: int = 100
    ) -> Pages[ContactOut]:
        """List contacts."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/contacts",
                query={"client": client, "primary": primary, "search": search, "limit": limit, "cursor": cursor},
            )

        return Pages(ask, Page_ContactOut)

    def contact_show(self, contact_id: int) -> ContactOut:
        """Show a contact."""
        return decode(self.request("GET", f"/contacts/{segment(contact_id)}"), type=ContactOut)

    def contentment_list(self, *, since: datetime | None = None) -> list[ContentmentOut]:
        """What ratings add up to, by client."""
        return decode(self.request("GET", "/contentment", query={"since": since}), type=list[ContentmentOut])

    def control_list(self, *, role: str | None = None, level: int | None = None) -> list[ControlOut]:
        """Controls of the baselines; of a role and level, or all."""
        return decode(self.request("GET", "/controls", query={"role": role, "level": level}), type=list[ControlOut])

    def coverage_exception_end(
        self, coverage_exception_id: int, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> CoverageExceptionOut:
        """End an exception from coverage: the gap counts again."""
        return decode(
            self.request(
                "POST",
                f"/coverage-exceptions/{segment(coverage_exception_id)}/end",
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=CoverageExceptionOut,
        )

    def coverage_exception_grant(
        self,
        *,
        column: Literal["agent", "monitoring", "patching", "backup", "recovery", "antivirus", "disks", "access"],
        reason: str,
        expires_at: datetime,
        client: UUID | None | UnsetType = UNSET,
        site: UUID | None | UnsetType = UNSET,
        device: UUID | None | UnsetType = UNSET,
        system: int | None | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> CoverageExceptionOut:
        """Accept a gap of coverage until a date, with the reason."""
        return decode(
            self.request(
                "POST",
                "/coverage-exceptions",
                body={
                    "column": column,
                    "reason": reason,
                    "expires_at": expires_at,
                    "client": client,
                    "site": site,
                    "device": device,
                    "system": system,
                },
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=CoverageExceptionOut,
        )

    def coverage_exception_list(
        self, *, client: UUID | None = None, ended: bool | None = None, limit: int = 100
    ) -> Pages[CoverageExceptionOut]:
        """List exceptions from coverage, newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/coverage-exceptions",
                query={"client": client, "ended": ended, "limit": limit, "cursor": cursor},
            )

        return Pages(ask, Page_CoverageExceptionOut)

    def coverage_gaps(self, *, client: UUID | None = None) -> list[GapOut]:
        """What is not covered, by risk."""
        return decode(self.request("GET", "/coverage/gaps", query={"client": client}), type=list[GapOut])

    def coverage_show(self, *, client: UUID | None = None) -> list[CoverageLineOut]:
        """Who is covered by what: every device, unwatched machine and protected system."""
        return decode(self.request("GET", "/coverage", query={"client": client}), type=list[CoverageLineOut])

    def delivery_list(
        self,
        webhook_id: UUID,
        *,
        state: Literal["waiting", "done", "failed"] | None = None,
        event: str | None = None,
        limit: int = 100,
    ) -> Pages[DeliveryOut]:
        """A webhook's log of the last thirty days, newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                f"/webhooks/{segment(webhook_id)}/deliveries",
                query={"state": state, "event": event, "limit": limit, "cursor": cursor},
            )

        return Pages(ask, Page_DeliveryOut)

    def delivery_repeat(
        self, webhook_id: UUID, delivery_id: UUID, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> DeliveryOut:
        """Send the same message again, under the id it had."""
        return decode(
            self.request(
                "POST",
                f"/webhooks/{segment(webhook_id)}/deliveries/{segment(delivery_id)}/repeat",
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=DeliveryOut,
        )

    def delivery_show(self, webhook_id: UUID, delivery_id: UUID) -> WholeDeliveryOut:
        """Show a message with its text."""
        return decode(
            self.request("GET", f"/webhooks/{segment(webhook_id)}/deliveries/{segment(delivery_id)}"),
            type=WholeDeliveryOut,
        )

    def deployment_list(
        self,
        *,
        client: UUID | None = None,
        device: UUID | None = None,
        state: str | None = None,
        name: str | None = None,
        late: bool | None = None,
        settled: bool | None = None,
        job: UUID | None = None,
        limit: int = 100,
    ) -> Pages[DeploymentOut]:
        """List deployments."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/deployments",
                query={
                    "client": client,
                    "device": device,
                    "state": state,
                    "name": name,
                    "late": late,
                    "settled": settled,
                    "job": job,
                    "limit": limit,
                    "cursor": cursor,
                },
            )

        return Pages(ask, Page_DeploymentOut)

    def deployment_show(self, deployment_id: int) -> DeploymentShownOut:
        """Show a deployment with its history."""
        return decode(self.request("GET", f"/deployments/{segment(deployment_id)}"), type=DeploymentShownOut)

    def deviation_accept(
        self,
        *,
        client: UUID,
        control: str,
        reason: str,
        ends_at: datetime,
        device: UUID | None | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> DeviationOut:
        """Give leave not to meet a control for a while."""
        return decode(
            self.request(
                "POST",
                "/deviations",
                body={"client": client, "control": control, "reason": reason, "ends_at": ends_at, "device": device},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=DeviationOut,
        )

    def deviation_end(
        self, deviation_id: int, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> DeviationOut:
        """End a deviation before its time."""
        return decode(
            self.request(
                "POST", f"/deviations/{segment(deviation_id)}/end", if_match=if_match, idempotency_key=idempotency_key
            ),
            type=DeviationOut,
        )

    def deviation_list(
        self, *, client: UUID | None = None, in_force: bool | None = None, limit: int = 100
    ) -> Pages[DeviationOut]:
        """Controls that need not be met for a while, the newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET", "/deviations", query={"client": client, "in_force": in_force, "limit": limit, "cursor": cursor}
            )

        return Pages(ask, Page_DeviationOut)

    def device_approve(
        self, device_id: UUID, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> DeviceOut:
        """Approve a pending device."""
        return decode(
            self.request(
                "POST", f"/devices/{segment(device_id)}/approve", if_match=if_match, idempotency_key=idempotency_key
            ),
            type=DeviceOut,
        )

    def device_deploy(
        self,
        device_id: UUID,
        *,
        choose: Literal["security", "all", "chosen"] | UnsetType = UNSET,
        packages: list[str] | UnsetType = UNSET,
        reason: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> DeployOut:
        """Install updates on a device now: prepares the run, for a signature or under a standing order."""
        return decode(
            self.request(
                "POST",
                f"/devices/{segment(device_id)}/deploy",
                body={"choose": choose, "packages": packages, "reason": reason},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=DeployOut,
        )

    def device_describe(
        self,
        device_id: UUID,
        *,
        name: str | None | UnsetType = UNSET,
        role: Literal["server", "endpoint", "network", "printer", "cloud"] | None | UnsetType = UNSET,
        if_match: str | None = None,
    ) -> DescribedOut:
        """Give a device a name or a role."""
        return decode(
            self.request(
                "PATCH", f"/devices/{segment(device_id)}", body={"name": name, "role": role}, if_match=if_match
            ),
            type=DescribedOut,
        )

    def device_group_change(
        self,
        group_id: int,
        *,
        name: str | None | UnsetType = UNSET,
        description: str | None | UnsetType = UNSET,
        devices: list[UUID] | None | UnsetType = UNSET,
        rule: GroupRuleIn | None | UnsetType = UNSET,
        if_match: str | None = None,
    ) -> GroupOut:
        """Change a group of devices."""
        return decode(
            self.request(
                "PATCH",
                f"/device-groups/{segment(group_id)}",
                body={"name": name, "description": description, "devices": devices, "rule": rule},
                if_match=if_match,
            ),
            type=GroupOut,
        )

    def device_group_create(
        self,
        *,
        name: str,
        description: str | UnsetType = UNSET,
        client: UUID | None | UnsetType = UNSET,
        devices: list[UUID] | UnsetType = UNSET,
        rule: GroupRuleIn | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> GroupOut:
        """Make a group of devices."""
        return decode(
            self.request(
                "POST",
                "/device-groups",
                body={"name": name, "description": description, "client": client, "devices": devices, "rule": rule},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=GroupOut,
        )

    def device_group_delete(self, group_id: int, *, if_match: str | None = None) -> None:
        """Delete a group; its devices stay."""
        self.request("DELETE", f"/device-groups/{segment(group_id)}", if_match=if_match)

    def device_group_devices(self, group_id: int, *, limit: int = 100) -> Pages[Named]:
        """List the devices of a group."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET", f"/device-groups/{segment(group_id)}/devices", query={"limit": limit, "cursor": cursor}
            )

        return Pages(ask, Page_Named)

    def device_group_list(self, *, client: UUID | None = None, limit: int = 100) -> Pages[GroupOut]:
        """List groups of devices."""

        def ask(cursor: str | None) -> bytes:
            return self.request("GET", "/device-groups", query={"client": client, "limit": limit, "cursor": cursor})

        return Pages(ask, Page_GroupOut)

    def device_group_show(self, group_id: int) -> GroupOut:
        """Show a group of devices."""
        return decode(self.request("GET", f"/device-groups/{segment(group_id)}"), type=GroupOut)

    def device_list(
        self,
        *,
        client: UUID | None = None,
        site: UUID | None = None,
        status: Literal["pending", "approved", "revoked"] | None = None,
        search: str | None = None,
        ordering: Literal["name", "-name", "enrolled_at", "-enrolled_at"] | None = None,
        limit: int = 100,
    ) -> Pages[DeviceOut]:
        """List devices."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/devices",
                query={
                    "client": client,
                    "site": site,
                    "status": status,
                    "search": search,
                    "ordering": ordering,
                    "limit": limit,
                    "cursor": cursor,
                },
            )

        return Pages(ask, Page_DeviceOut)

    def device_revoke(
        self, device_id: UUID, *, reason: str, if_match: str | None = None, idempotency_key: str | None = None
    ) -> DeviceOut:
        """End a device's access for good."""
        return decode(
            self.request(
                "POST",
                f"/devices/{segment(device_id)}/revoke",
                body={"reason": reason},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=DeviceOut,
        )

    def device_sbom(self, device_id: UUID, *, vulnerabilities: bool | None = None) -> bytes:
        """The device's software as CycloneDX 1.6, with purls; `vulnerabilities=true`: and what is open (VEX)."""
        return self.request("GET", f"/devices/{segment(device_id)}/sbom", query={"vulnerabilities": vulnerabilities})

    def device_show(self, device_id: UUID) -> DeviceOut:
        """Show a device."""
        return decode(self.request("GET", f"/devices/{segment(device_id)}"), type=DeviceOut)

    def device_tag_change(
        self,
        *,
        devices: list[UUID],
        add: list[str] | UnsetType = UNSET,
        remove: list[str] | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> ChangedOut:
        """Put tags on devices and take others off, all or none."""
        return decode(
            self.request(
                "POST",
                "/device-tags",
                body={"devices": devices, "add": add, "remove": remove},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=ChangedOut,
        )

    def device_tag_list(self) -> list[TagOut]:
        """List the tags in use."""
        return decode(self.request("GET", "/device-tags"), type=list[TagOut])

    def drift_accept(
        self,
        device_id: UUID,
        *,
        reason: str,
        drift: list[int] | None | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> DriftAcceptedOut:
        """Accept what drifted as how it is meant to be from now on."""
        return decode(
            self.request(
                "POST",
                f"/configuration/{segment(device_id)}/accept",
                body={"reason": reason, "drift": drift},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=DriftAcceptedOut,
        )

    def drift_list(
        self, *, device: UUID | None = None, client: UUID | None = None, open: bool | None = None, limit: int = 100
    ) -> Pages[DriftOut]:
        """Differences from what was accepted, the newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/drift",
                query={"device": device, "client": client, "open": open, "limit": limit, "cursor": cursor},
            )

        return Pages(ask, Page_DriftOut)

    def emergency_window_open(
        self,
        *,
        site: UUID,
        device: UUID | None | UnsetType = UNSET,
        starts_at: datetime | None | UnsetType = UNSET,
        minutes: int | UnsetType = UNSET,
        reason: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> EmergencyWindowOut:
        """A window now, or at a time, for what would miss its obligation."""
        return decode(
            self.request(
                "POST",
                "/emergency-windows",
                body={"site": site, "device": device, "starts_at": starts_at, "minutes": minutes, "reason": reason},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=EmergencyWindowOut,
        )

    def entry_list(
        self,
        *,
        client: UUID | None = None,
        device: UUID | None = None,
        ticket: int | None = None,
        kind: Literal[
            "device:enrolled",
            "device:approved",
            "device:revoked",
            "device:changed",
            "device:notice",
            "device:forked",
            "facts:changed",
            "check:changed",
            "check:accepted",
            "alert:raised",
            "alert:cleared",
            "ticket:opened",
            "ticket:acknowledged",
            "ticket:commented",
            "ticket:assigned",
            "ticket:resolved",
            "ticket:reopened",
            "root:installed",
            "runbook:published",
            "order:installed",
            "order:revoked",
            "job:queued",
            "job:delivered",
            "job:result",
            "job:expired",
            "report:issued",
            "operator:signed_in",
            "client:changed",
            "client:exported",
            "client:removed",
            "calendar:changed",
            "window:changed",
            "window:answered",
            "grant:changed",
            "token:changed",
            "ticket:answered",
            "ticket:rated",
            "import:done",
            "import:undone",
            "key:revoked",
            "deployment:changed",
            "update:decided",
            "patch_policy:changed",
            "rollout:changed",
            "obligation:changed",
            "exception:changed",
            "vulnerability:marked",
            "recovery:changed",
            "proof:recorded",
            "proof:attested",
            "review:changed",
            "access:reviewed",
            "access:changed",
            "baseline:changed",
            "drift:found",
            "drift:accepted",
            "assessment:imported",
            "check_policy:changed",
            "coverage:excepted",
            "health:run",
            "runbook:drafted",
            "server:restored",
            "evidence:erased",
        ]
        | None = None,
        limit: int = 100,
    ) -> Pages[EntryOut]:
        """List evidence, newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/evidence",
                query={
                    "client": client,
                    "device": device,
                    "ticket": ticket,
                    "kind": kind,
                    "limit": limit,
                    "cursor": cursor,
                },
            )

        return Pages(ask, Page_EntryOut)

    def exception_end(
        self, exception_id: int, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> ObligationExceptionOut:
        """End an exception before its time."""
        return decode(
            self.request(
                "POST", f"/exceptions/{segment(exception_id)}/end", if_match=if_match, idempotency_key=idempotency_key
            ),
            type=ObligationExceptionOut,
        )

    def exception_grant(
        self,
        *,
        client: UUID,
        reason: str,
        compensating_control: str,
        expires_at: datetime,
        device: UUID | None | UnsetType = UNSET,
        manager: str | UnsetType = UNSET,
        name: str | UnsetType = UNSET,
        candidate: str | UnsetType = UNSET,
        obligation: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> ObligationExceptionOut:
        """Grant leave to miss an obligation for a while."""
        return decode(
            self.request(
                "POST",
                "/exceptions",
                body={
                    "client": client,
                    "reason": reason,
                    "compensating_control": compensating_control,
                    "expires_at": expires_at,
                    "device": device,
                    "manager": manager,
                    "name": name,
                    "candidate": candidate,
                    "obligation": obligation,
                },
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=ObligationExceptionOut,
        )

    def exception_list(
        self, *, client: UUID | None = None, in_force: bool | None = None, limit: int = 100
    ) -> Pages[ObligationExceptionOut]:
        """Exceptions from obligations, the newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET", "/exceptions", query={"client": client, "in_force": in_force, "limit": limit, "cursor": cursor}
            )

        return Pages(ask, Page_ObligationExceptionOut)

    def exception_show(self, exception_id: int) -> ObligationExceptionOut:
        """Show an exception."""
        return decode(self.request("GET", f"/exceptions/{segment(exception_id)}"), type=ObligationExceptionOut)

    def facts_list(self, device_id: UUID) -> list[FactsDocumentOut]:
        """Show what is known of a device."""
        return decode(self.request("GET", f"/devices/{segment(device_id)}/facts"), type=list[FactsDocumentOut])

    def grant_change(self, grant_id: int, *, until: datetime | None, if_match: str | None = None) -> GrantOut:
        """Move the end of a grant."""
        return decode(
            self.request("PATCH", f"/grants/{segment(grant_id)}", body={"until": until}, if_match=if_match),
            type=GrantOut,
        )

    def grant_create(
        self,
        person_id: int,
        *,
        role: str,
        client: UUID | None | UnsetType = UNSET,
        site: UUID | None | UnsetType = UNSET,
        until: datetime | None | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> GrantOut:
        """Give a person a role; nobody gives what they do not hold."""
        return decode(
            self.request(
                "POST",
                f"/people/{segment(person_id)}/grants",
                body={"role": role, "client": client, "site": site, "until": until},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=GrantOut,
        )

    def grant_delete(self, grant_id: int, *, if_match: str | None = None) -> None:
        """Take a role away."""
        self.request("DELETE", f"/grants/{segment(grant_id)}", if_match=if_match)

    def grant_export(self) -> bytes:
        """Access review: every grant, one line each, as CSV."""
        return self.request("GET", "/grants.csv")

    def grant_list(
        self, *, person: int | None = None, client: UUID | None = None, ended: bool | None = None, limit: int = 100
    ) -> Pages[GrantOut]:
        """List who may what, newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/grants",
                query={"person": person, "client": client, "ended": ended, "limit": limit, "cursor": cursor},
            )

        return Pages(ask, Page_GrantOut)

    def grant_show(self, grant_id: int) -> GrantOut:
        """Show a grant."""
        return decode(self.request("GET", f"/grants/{segment(grant_id)}"), type=GrantOut)

    def health_run_list(self, *, client: UUID | None = None, limit: int = 100) -> Pages[HealthRunOut]:
        """List health runs, newest first; for those who see the client as a whole."""

        def ask(cursor: str | None) -> bytes:
            return self.request("GET", "/health-runs", query={"client": client, "limit": limit, "cursor": cursor})

        return Pages(ask, Page_HealthRunOut)

    def health_run_start(
        self, *, client: UUID, if_match: str | None = None, idempotency_key: str | None = None
    ) -> HealthRunOut:
        """Judge all devices of a client now, and keep how it stands."""
        return decode(
            self.request(
                "POST", "/health-runs", body={"client": client}, if_match=if_match, idempotency_key=idempotency_key
            ),
            type=HealthRunOut,
        )

    def health_show(self, *, client: UUID | None = None, device: UUID | None = None) -> list[ClientHealthOut]:
        """How healthy clients and devices are, with the check behind every lost point."""
        return decode(
            self.request("GET", "/health", query={"client": client, "device": device}), type=list[ClientHealthOut]
        )

    def hold_end(
        self,
        hold_id: int,
        *,
        reason: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> HoldOut:
        """Let every client install a held update again; for who may plan everywhere."""
        return decode(
            self.request(
                "POST",
                f"/update-holds/{segment(hold_id)}/end",
                body={"reason": reason},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=HoldOut,
        )

    def hold_list(self, *, ended: bool | None = None, limit: int = 100) -> Pages[HoldOut]:
        """Updates that no client installs for now, because they went wrong somewhere."""

        def ask(cursor: str | None) -> bytes:
            return self.request("GET", "/update-holds", query={"ended": ended, "limit": limit, "cursor": cursor})

        return Pages(ask, Page_HoldOut)

    def hold_override(
        self, *, client: UUID, hold: int, reason: str, if_match: str | None = None, idempotency_key: str | None = None
    ) -> HoldOut:
        """Install a held update at one client all the same."""
        return decode(
            self.request(
                "POST",
                "/update-holds/override",
                body={"client": client, "hold": hold, "reason": reason},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=HoldOut,
        )

    def holiday_list(self, client_id: UUID, *, year: int | None = None, site: UUID | None = None) -> list[HolidayOut]:
        """Public holidays of a client, or of one site of it, in a year."""
        return decode(
            self.request("GET", f"/clients/{segment(client_id)}/holidays", query={"year": year, "site": site}),
            type=list[HolidayOut],
        )

    def import_create(
        self,
        *,
        kind: Literal["clients", "sites", "contacts", "people", "assets"],
        content: str,
        filename: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> ImportOut:
        """Import a list: all of it or nothing."""
        return decode(
            self.request(
                "POST",
                "/imports",
                body={"kind": kind, "content": content, "filename": filename},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=ImportOut,
        )

    def import_kinds(self) -> list[ListKindOut]:
        """What lists can be imported."""
        return decode(self.request("GET", "/imports/kinds"), type=list[ListKindOut])

    def import_list(self, *, limit: int = 100) -> Pages[ImportOut]:
        """List imports, newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request("GET", "/imports", query={"limit": limit, "cursor": cursor})

        return Pages(ask, Page_ImportOut)

    def import_preview(
        self,
        *,
        kind: Literal["clients", "sites", "contacts", "people", "assets"],
        content: str,
        filename: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> PreviewOut:
        """What importing a list would do, line by line."""
        return decode(
            self.request(
                "POST",
                "/imports/preview",
                body={"kind": kind, "content": content, "filename": filename},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=PreviewOut,
        )

    def import_show(self, import_id: int) -> ImportOut:
        """Show an import."""
        return decode(self.request("GET", f"/imports/{segment(import_id)}"), type=ImportOut)

    def import_undo(
        self, import_id: int, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> ImportOut:
        """Take an import back: all of it or nothing."""
        return decode(
            self.request(
                "POST", f"/imports/{segment(import_id)}/undo", if_match=if_match, idempotency_key=idempotency_key
            ),
            type=ImportOut,
        )

    def job_approval(self, job_id: UUID, *, if_match: str | None = None, idempotency_key: str | None = None) -> JobOut:
        """Prepare the approval of a job that stopped for one again, after the first has expired."""
        return decode(
            self.request(
                "POST", f"/jobs/{segment(job_id)}/approval", if_match=if_match, idempotency_key=idempotency_key
            ),
            type=JobOut,
        )

    def job_cancel(self, job_id: UUID, *, if_match: str | None = None, idempotency_key: str | None = None) -> JobOut:
        """Cancel a job that has not been delivered."""
        return decode(
            self.request("POST", f"/jobs/{segment(job_id)}/cancel", if_match=if_match, idempotency_key=idempotency_key),
            type=JobOut,
        )

    def job_events(self, job_id: UUID) -> list[JobEventOut]:
        """What happened to a job, oldest first."""
        return decode(self.request("GET", f"/jobs/{segment(job_id)}/events"), type=list[JobEventOut])

    def job_list(
        self,
        *,
        state: Literal[
            "awaiting_signature",
            "queued",
            "delivered",
            "succeeded",
            "failed",
            "refused",
            "awaiting_approval",
            "continued",
            "expired",
            "cancelled",
        ]
        | None = None,
        device: UUID | None = None,
        client: UUID | None = None,
        ticket: int | None = None,
        ordering: Literal["-created_at", "created_at"] | None = None,
        limit: int = 100,
    ) -> Pages[JobOut]:
        """List jobs, newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/jobs",
                query={
                    "state": state,
                    "device": device,
                    "client": client,
                    "ticket": ticket,
                    "ordering": ordering,
                    "limit": limit,
                    "cursor": cursor,
                },
            )

        return Pages(ask, Page_JobOut)

    def job_prepare(
        self,
        *,
        runbook: str,
        device: UUID,
        reason: str,
        parameters: dict[str, str | int | bool] | UnsetType = UNSET,
        ticket: int | None | UnsetType = UNSET,
        dry_run: bool | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> JobOut:
        """Prepare a job: it waits for an operator's signature."""
        return decode(
            self.request(
                "POST",
                "/jobs",
                body={
                    "runbook": runbook,
                    "device": device,
                    "reason": reason,
                    "parameters": parameters,
                    "ticket": ticket,
                    "dry_run": dry_run,
                },
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=JobOut,
        )

    def job_reach(self, job_id: UUID) -> ReachOut:
        """How many devices one runbook reaches with this job, and how many operators that takes."""
        return decode(self.request("GET", f"/jobs/{segment(job_id)}/reach"), type=ReachOut)

    def job_show(self, job_id: UUID) -> JobOut:
        """Show a job."""
        return decode(self.request("GET", f"/jobs/{segment(job_id)}"), type=JobOut)

    def job_sign(
        self, job_id: UUID, *, envelope: str, if_match: str | None = None, idempotency_key: str | None = None
    ) -> JobOut:
        """Hand in the signed job: it goes to the device."""
        return decode(
            self.request(
                "POST",
                f"/jobs/{segment(job_id)}/signature",
                body={"envelope": envelope},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=JobOut,
        )

    def job_undo(
        self, job_id: UUID, *, reason: str, if_match: str | None = None, idempotency_key: str | None = None
    ) -> JobOut:
        """Prepare the job that puts back what this one changed."""
        return decode(
            self.request(
                "POST",
                f"/jobs/{segment(job_id)}/undo",
                body={"reason": reason},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=JobOut,
        )

    def kind_list(self) -> list[KindOut]:
        """Every kind of check, in words."""
        return decode(self.request("GET", "/checks/kinds"), type=list[KindOut])

    def log_list(self) -> list[LogOut]:
        """Each client's log and its newest checkpoint."""
        return decode(self.request("GET", "/evidence/logs"), type=list[LogOut])

    def notification_route_change(
        self,
        route_id: int,
        *,
        name: str | None | UnsetType = UNSET,
        address: str | None | UnsetType = UNSET,
        minimum_risk: Literal["critical", "high", "medium", "low"] | None | UnsetType = UNSET,
        enabled: bool | None | UnsetType = UNSET,
        if_match: str | None = None,
    ) -> RouteOut:
        """Change a notification route, or switch it on or off."""
        return decode(
            self.request(
                "PATCH",
                f"/notification-routes/{segment(route_id)}",
                body={"name": name, "address": address, "minimum_risk": minimum_risk, "enabled": enabled},
                if_match=if_match,
            ),
            type=RouteOut,
        )

    def notification_route_create(
        self,
        *,
        name: str,
        address: str,
        client: UUID | None | UnsetType = UNSET,
        minimum_risk: Literal["critical", "high", "medium", "low"] | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> RouteOut:
        """Add a place to send notifications to."""
        return decode(
            self.request(
                "POST",
                "/notification-routes",
                body={"name": name, "address": address, "client": client, "minimum_risk": minimum_risk},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=RouteOut,
        )

    def notification_route_delete(self, route_id: int, *, if_match: str | None = None) -> None:
        """Remove a notification route."""
        self.request("DELETE", f"/notification-routes/{segment(route_id)}", if_match=if_match)

    def notification_route_list(self, *, client: UUID | None = None, limit: int = 100) -> Pages[RouteOut]:
        """List where notifications go."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET", "/notification-routes", query={"client": client, "limit": limit, "cursor": cursor}
            )

        return Pages(ask, Page_RouteOut)

    def notification_route_show(self, route_id: int) -> RouteOut:
        """Show a notification route."""
        return decode(self.request("GET", f"/notification-routes/{segment(route_id)}"), type=RouteOut)

    def notification_route_test(
        self, route_id: int, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> TriedOut:
        """Really send a test message."""
        return decode(
            self.request(
                "POST",
                f"/notification-routes/{segment(route_id)}/test",
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=TriedOut,
        )

    def obligation_list(self, *, client: UUID | None = None, at: datetime | None = None) -> list[ObligationOut]:
        """Obligations in force: of a client, now or then; without one the built-in ones."""
        return decode(self.request("GET", "/obligations", query={"client": client, "at": at}), type=list[ObligationOut])

    def obligation_rule_end(
        self, obligation_rule_id: int, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> ObligationRuleOut:
        """End a client's own rule: the built-in one holds again."""
        return decode(
            self.request(
                "POST",
                f"/obligation-rules/{segment(obligation_rule_id)}/end",
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=ObligationRuleOut,
        )

    def obligation_rule_list(
        self, *, client: UUID | None = None, slug: str | None = None, limit: int = 100
    ) -> Pages[ObligationRuleOut]:
        """Clients' own rules, ended ones too, the newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET", "/obligation-rules", query={"client": client, "slug": slug, "limit": limit, "cursor": cursor}
            )

        return Pages(ask, Page_ObligationRuleOut)

    def obligation_rule_set(
        self,
        *,
        client: UUID,
        slug: str,
        terms: ObligationTermsIn,
        reason: str,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> ObligationRuleOut:
        """Give a client its own terms of an obligation, from now on."""
        return decode(
            self.request(
                "POST",
                "/obligation-rules",
                body={"client": client, "slug": slug, "terms": terms, "reason": reason},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=ObligationRuleOut,
        )

    def obligation_rule_show(self, obligation_rule_id: int) -> ObligationRuleOut:
        """Show a client's own rule."""
        return decode(self.request("GET", f"/obligation-rules/{segment(obligation_rule_id)}"), type=ObligationRuleOut)

    def order_install(
        self, *, envelope: str, if_match: str | None = None, idempotency_key: str | None = None
    ) -> OrderOut:
        """Install a signed standing order."""
        return decode(
            self.request(
                "POST", "/orders", body={"envelope": envelope}, if_match=if_match, idempotency_key=idempotency_key
            ),
            type=OrderOut,
        )

    def order_list(
        self, *, state: Literal["in_force", "revoked", "expired"] | None = None, limit: int = 100
    ) -> Pages[OrderOut]:
        """List standing orders, newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request("GET", "/orders", query={"state": state, "limit": limit, "cursor": cursor})

        return Pages(ask, Page_OrderOut)

    def order_revoke(
        self, *, envelope: str, if_match: str | None = None, idempotency_key: str | None = None
    ) -> list[OrderOut]:
        """Revoke standing orders by a signed revocation."""
        return decode(
            self.request(
                "POST",
                "/orders/revocations",
                body={"envelope": envelope},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=list[OrderOut],
        )

    def patch_compliance(
        self,
        *,
        at: datetime | None = None,
        days: int | None = None,
        client: UUID | None = None,
        device: UUID | None = None,
    ) -> ComplianceOut:
        """How many updates were due at a date, and how many were in in time."""
        return decode(
            self.request(
                "GET", "/patch-compliance", query={"at": at, "days": days, "client": client, "device": device}
            ),
            type=ComplianceOut,
        )

    def patch_compliance_export(
        self,
        *,
        at: datetime | None = None,
        days: int | None = None,
        client: UUID | None = None,
        device: UUID | None = None,
        outcome: Literal["", "met", "met_late", "late", "open", "excepted"] | None = None,
        obligation: str | None = None,
    ) -> bytes:
        """The updates behind the numbers as CSV, for audits."""
        return self.request(
            "GET",
            "/patch-compliance.csv",
            query={
                "at": at,
                "days": days,
                "client": client,
                "device": device,
                "outcome": outcome,
                "obligation": obligation,
            },
        )

    def patch_compliance_rows(
        self,
        *,
        at: datetime | None = None,
        days: int | None = None,
        client: UUID | None = None,
        device: UUID | None = None,
        outcome: Literal["", "met", "met_late", "late", "open", "excepted"] | None = None,
        obligation: str | None = None,
    ) -> list[ComplianceRowOut]:
        """The updates behind the numbers, with why late ones are late."""
        return decode(
            self.request(
                "GET",
                "/patch-compliance/rows",
                query={
                    "at": at,
                    "days": days,
                    "client": client,
                    "device": device,
                    "outcome": outcome,
                    "obligation": obligation,
                },
            ),
            type=list[ComplianceRowOut],
        )

    def patch_policy_list(self, *, client: UUID | None = None, limit: int = 100) -> Pages[PatchPolicyOut]:
        """List patch policies."""

        def ask(cursor: str | None) -> bytes:
            return self.request("GET", "/patch-policies", query={"client": client, "limit": limit, "cursor": cursor})

        return Pages(ask, Page_PatchPolicyOut)

    def patch_policy_remove(self, patch_policy_id: int, *, if_match: str | None = None) -> None:
        """Take a patch policy away: nothing is installed by itself there any more."""
        self.request("DELETE", f"/patch-policies/{segment(patch_policy_id)}", if_match=if_match)

    def patch_policy_set(
        self,
        *,
        client: UUID | None | UnsetType = UNSET,
        site: UUID | None | UnsetType = UNSET,
        choose: Literal["security", "all", "nothing"] | UnsetType = UNSET,
        approval: Literal["automatic", "manual"] | UnsetType = UNSET,
        defer_days: int | UnsetType = UNSET,
        terms: TermsModel | None | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> PatchPolicyOut:
        """Set the patch policy of a client or site, in place of the one before."""
        return decode(
            self.request(
                "POST",
                "/patch-policies",
                body={
                    "client": client,
                    "site": site,
                    "choose": choose,
                    "approval": approval,
                    "defer_days": defer_days,
                    "terms": terms,
                },
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=PatchPolicyOut,
        )

    def permission_list(self) -> list[PermissionOut]:
        """Everything a role can be allowed to do."""
        return decode(self.request("GET", "/permissions"), type=list[PermissionOut])

    def person_activate(
        self, person_id: int, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> PersonOut:
        """Switch a person on."""
        return decode(
            self.request(
                "POST", f"/people/{segment(person_id)}/activate", if_match=if_match, idempotency_key=idempotency_key
            ),
            type=PersonOut,
        )

    def person_change(
        self,
        person_id: int,
        *,
        display_name: str | None | UnsetType = UNSET,
        email: str | None | UnsetType = UNSET,
        if_match: str | None = None,
    ) -> PersonOut:
        """Change a person."""
        return decode(
            self.request(
                "PATCH",
                f"/people/{segment(person_id)}",
                body={"display_name": display_name, "email": email},
                if_match=if_match,
            ),
            type=PersonOut,
        )

    def person_create(
        self,
        *,
        username: str,
        display_name: str | UnsetType = UNSET,
        email: str | UnsetType = UNSET,
        home_client: UUID | None | UnsetType = UNSET,
        grants: list[RoleAtIn] | UnsetType = UNSET,
        without_grant: bool | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> PersonOut:
        """Make a person.

        They cannot sign in before they have a password: see ``/people/{person_id}/password``.
        """
        return decode(
            self.request(
                "POST",
                "/people",
                body={
                    "username": username,
                    "display_name": display_name,
                    "email": email,
                    "home_client": home_client,
                    "grants": grants,
                    "without_grant": without_grant,
                },
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=PersonOut,
        )

    def person_deactivate(
        self,
        person_id: int,
        *,
        successor: str | None | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> LeftOut:
        """Switch a person off; their next request is refused."""
        return decode(
            self.request(
                "POST",
                f"/people/{segment(person_id)}/deactivate",
                body={"successor": successor},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=LeftOut,
        )

    def person_end_sessions(
        self, person_id: int, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> CountOut:
        """End every session of a person."""
        return decode(
            self.request(
                "POST", f"/people/{segment(person_id)}/end-sessions", if_match=if_match, idempotency_key=idempotency_key
            ),
            type=CountOut,
        )

    def person_grants(self, person_id: int) -> list[GrantOut]:
        """A person's roles, those that have ended included."""
        return decode(self.request("GET", f"/people/{segment(person_id)}/grants"), type=list[GrantOut])

    def person_list(
        self,
        *,
        q: str | None = None,
        role: str | None = None,
        client: UUID | None = None,
        state: Literal["active", "inactive"] | None = None,
        second_factor: bool | None = None,
        signed_in_before: datetime | None = None,
        limit: int = 100,
    ) -> Pages[PersonOut]:
        """List people, by user name.

        ``role`` and ``client`` find who holds a role now, so named or at that client. ``signed_in_before`` also
        finds who never signed in.
        """

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/people",
                query={
                    "q": q,
                    "role": role,
                    "client": client,
                    "state": state,
                    "second_factor": second_factor,
                    "signed_in_before": signed_in_before,
                    "limit": limit,
                    "cursor": cursor,
                },
            )

        return Pages(ask, Page_PersonOut)

    def person_password(
        self,
        person_id: int,
        *,
        how: Literal["link", "shown"] | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> PasswordOut:
        """A link by which they choose a password, or a new password, shown once."""
        return decode(
            self.request(
                "POST",
                f"/people/{segment(person_id)}/password",
                body={"how": how},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=PasswordOut,
        )

    def person_reset_factors(
        self, person_id: int, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> CountOut:
        """Take away lost second factors."""
        return decode(
            self.request(
                "POST",
                f"/people/{segment(person_id)}/reset-factors",
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=CountOut,
        )

    def person_sessions(self, person_id: int) -> list[SessionOut]:
        """A person's open sessions, the last used first."""
        return decode(self.request("GET", f"/people/{segment(person_id)}/sessions"), type=list[SessionOut])

    def person_show(self, person_id: int) -> PersonOut:
        """Show a person."""
        return decode(self.request("GET", f"/people/{segment(person_id)}"), type=PersonOut)

    def person_signins(self, person_id: int) -> list[SignInOut]:
        """What happened to a person's sign-in, newest first."""
        return decode(self.request("GET", f"/people/{segment(person_id)}/signins"), type=list[SignInOut])

    def person_token_revoke(self, person_id: int, token_id: int, *, if_match: str | None = None) -> None:
        """Revoke a person's API token."""
        self.request("DELETE", f"/people/{segment(person_id)}/tokens/{segment(token_id)}", if_match=if_match)

    def person_tokens(self, person_id: int) -> list[TokenOut]:
        """A person's API tokens; never the tokens themselves."""
        return decode(self.request("GET", f"/people/{segment(person_id)}/tokens"), type=list[TokenOut])

    def person_why(
        self,
        person_id: int,
        *,
        permission: Literal[
            "device.view",
            "device.approve",
            "device.change",
            "check.change",
            "ticket.view",
            "ticket.work",
            "runbook.view",
            "job.prepare",
            "authority.change",
            "window.change",
            "patch.change",
            "risk.accept",
            "recovery.change",
            "access.review",
            "baseline.change",
            "runbook.change",
            "evidence.view",
            "evidence.erase",
            "report.view",
            "client.view",
            "client.change",
            "client.export",
            "client.remove",
            "people.view",
            "people.change",
            "settings.change",
            "portal.view",
            "portal.ticket",
            "portal.approve",
            "portal.report",
        ],
        client: UUID,
        site: UUID | None = None,
    ) -> WhyOut:
        """Why a person may, or may not, do something at a place."""
        return decode(
            self.request(
                "GET",
                f"/people/{segment(person_id)}/why",
                query={"permission": permission, "client": client, "site": site},
            ),
            type=WhyOut,
        )

    def portal_approval_answer(
        self,
        approval_id: int,
        *,
        answer: Literal["approve", "decline"],
        reason: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> PortalApprovalOut:
        """Approve or decline, on record with your name."""
        return decode(
            self.request(
                "POST",
                f"/portal/approvals/{segment(approval_id)}/answer",
                body={"answer": answer, "reason": reason},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=PortalApprovalOut,
        )

    def portal_approval_list(self) -> list[PortalApprovalOut]:
        """What waits for your approval."""
        return decode(self.request("GET", "/portal/approvals"), type=list[PortalApprovalOut])

    def portal_device_list(self) -> list[PortalDeviceOut]:
        """How your devices are, the worst first."""
        return decode(self.request("GET", "/portal/devices"), type=list[PortalDeviceOut])

    def portal_report_list(self, *, limit: int = 100) -> Pages[PortalReportOut]:
        """List your service reports, newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request("GET", "/portal/reports", query={"limit": limit, "cursor": cursor})

        return Pages(ask, Page_PortalReportOut)

    def portal_report_pdf(self, report_number: str) -> bytes:
        """One of your service reports as PDF."""
        return self.request("GET", f"/portal/reports/{segment(report_number)}/pdf")

    def portal_site_list(self) -> list[Named]:
        """Where you may ask for something."""
        return decode(self.request("GET", "/portal/sites"), type=list[Named])

    def portal_ticket_approvals(self, number: int) -> list[PortalApprovalOut]:
        """What you were asked to approve on it, oldest first."""
        return decode(self.request("GET", f"/portal/tickets/{segment(number)}/approvals"), type=list[PortalApprovalOut])

    def portal_ticket_comment(
        self, number: int, *, text: str, if_match: str | None = None, idempotency_key: str | None = None
    ) -> PortalTicketOut:
        """Write on one of your tickets; one that waits for you goes on."""
        return decode(
            self.request(
                "POST",
                f"/portal/tickets/{segment(number)}/comment",
                body={"text": text},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=PortalTicketOut,
        )

    def portal_ticket_list(
        self, *, state: Literal["open", "done"] | None = None, limit: int = 100
    ) -> Pages[PortalTicketOut]:
        """List your tickets.

        A client's manager sees every ticket of their places, a client's user their own requests.
        """

        def ask(cursor: str | None) -> bytes:
            return self.request("GET", "/portal/tickets", query={"state": state, "limit": limit, "cursor": cursor})

        return Pages(ask, Page_PortalTicketOut)

    def portal_ticket_open(
        self,
        *,
        title: str,
        text: str | UnsetType = UNSET,
        urgency: Literal["everybody", "one", "hindered", "question"] | UnsetType = UNSET,
        site: UUID | None | UnsetType = UNSET,
        device: UUID | None | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> PortalTicketOut:
        """Ask for something."""
        return decode(
            self.request(
                "POST",
                "/portal/tickets",
                body={"title": title, "text": text, "urgency": urgency, "site": site, "device": device},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=PortalTicketOut,
        )

    def portal_ticket_rate(
        self,
        number: int,
        *,
        score: int,
        comment: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> PortalRatingOut:
        """Rate one of your tickets that is done; for 14 days you can change it."""
        return decode(
            self.request(
                "POST",
                f"/portal/tickets/{segment(number)}/rate",
                body={"score": score, "comment": comment},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=PortalRatingOut,
        )

    def portal_ticket_reopen(
        self, number: int, *, text: str, if_match: str | None = None, idempotency_key: str | None = None
    ) -> PortalTicketOut:
        """Say that your request is not done."""
        return decode(
            self.request(
                "POST",
                f"/portal/tickets/{segment(number)}/reopen",
                body={"text": text},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=PortalTicketOut,
        )

    def portal_ticket_show(self, number: int) -> PortalTicketOut:
        """Show one of your tickets."""
        return decode(self.request("GET", f"/portal/tickets/{segment(number)}"), type=PortalTicketOut)

    def portal_ticket_timeline(self, number: int) -> list[PortalLineOut]:
        """Its story as it was written for you, oldest first."""
        return decode(self.request("GET", f"/portal/tickets/{segment(number)}/timeline"), type=list[PortalLineOut])

    def portal_window_answer(
        self,
        window_id: int,
        *,
        answer: Literal["approve", "decline"],
        reason: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> PortalWindowOut:
        """Approve or decline a proposed window, on record with your name."""
        return decode(
            self.request(
                "POST",
                f"/portal/windows/{segment(window_id)}/answer",
                body={"answer": answer, "reason": reason},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=PortalWindowOut,
        )

    def portal_window_list(self) -> list[PortalWindowOut]:
        """Work that is planned or proposed at your sites."""
        return decode(self.request("GET", "/portal/windows"), type=list[PortalWindowOut])

    def proof_attachment(self, proof_id: int) -> bytes:
        """The file that was handed in with an attested proof."""
        return self.request("GET", f"/proofs/{segment(proof_id)}/attachment")

    def proof_attest(
        self,
        protected_system_id: int,
        *,
        level: Literal["reported", "integrity", "sample", "whole", "database", "application"],
        detail: str,
        ok: bool | UnsetType = UNSET,
        at: datetime | None | UnsetType = UNSET,
        seconds: float | None | UnsetType = UNSET,
        attachment: AttachmentIn | None | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> ProofOut:
        """Put a restore test done by hand on record."""
        return decode(
            self.request(
                "POST",
                f"/protected-systems/{segment(protected_system_id)}/attest",
                body={
                    "level": level,
                    "detail": detail,
                    "ok": ok,
                    "at": at,
                    "seconds": seconds,
                    "attachment": attachment,
                },
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=ProofOut,
        )

    def proof_list(
        self,
        *,
        client: UUID | None = None,
        device: UUID | None = None,
        system: int | None = None,
        backup: str | None = None,
        level: str | None = None,
        limit: int = 100,
    ) -> Pages[ProofOut]:
        """Proofs, the newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/proofs",
                query={
                    "client": client,
                    "device": device,
                    "system": system,
                    "backup": backup,
                    "level": level,
                    "limit": limit,
                    "cursor": cursor,
                },
            )

        return Pages(ask, Page_ProofOut)

    def proof_show(self, proof_id: int) -> ProofOut:
        """Show a proof."""
        return decode(self.request("GET", f"/proofs/{segment(proof_id)}"), type=ProofOut)

    def proof_withdraw(
        self, proof_id: int, *, why: str, if_match: str | None = None, idempotency_key: str | None = None
    ) -> ProofOut:
        """Take an attested proof back: it counts no more."""
        return decode(
            self.request(
                "POST",
                f"/proofs/{segment(proof_id)}/withdraw",
                body={"why": why},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=ProofOut,
        )

    def proposal_list(
        self, *, state: Literal["waiting", "installed", "superseded", "withdrawn"] | None = None, limit: int = 100
    ) -> Pages[ProposalOut]:
        """List new roots and revocations that wait for signatures, or did, newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request("GET", "/authority/proposals", query={"state": state, "limit": limit, "cursor": cursor})

        return Pages(ask, Page_ProposalOut)

    def proposal_show(self, digest: str) -> ProposalOut:
        """Show a proposal."""
        return decode(self.request("GET", f"/authority/proposals/{segment(digest)}"), type=ProposalOut)

    def proposal_submit(
        self, *, envelope: str, if_match: str | None = None, idempotency_key: str | None = None
    ) -> ProposalOut:
        """Hand in a new root or a revocation of keys, signed: in force once enough root keys have signed."""
        return decode(
            self.request(
                "POST",
                "/authority/proposals",
                body={"envelope": envelope},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=ProposalOut,
        )

    def proposal_withdraw(
        self, digest: str, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> ProposalOut:
        """Take a proposal off the table."""
        return decode(
            self.request(
                "POST",
                f"/authority/proposals/{segment(digest)}/withdraw",
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=ProposalOut,
        )

    def protected_system_add(
        self,
        *,
        device: UUID,
        importance: Literal["critical", "high", "medium", "low"] | None | UnsetType = UNSET,
        rpo_minutes: int | None | UnsetType = UNSET,
        rto_minutes: int | None | UnsetType = UNSET,
        retention_days: int | None | UnsetType = UNSET,
        copies: int | None | UnsetType = UNSET,
        off_site: bool | None | UnsetType = UNSET,
        offline: bool | None | UnsetType = UNSET,
        wanted_level: Literal["reported", "integrity", "sample", "whole", "database", "application"]
        | None
        | UnsetType = UNSET,
        test_every_days: int | None | UnsetType = UNSET,
        test_by_itself: bool | None | UnsetType = UNSET,
        test_most_mb: int | None | UnsetType = UNSET,
        test_rate_kb: int | None | UnsetType = UNSET,
        test_sample: int | None | UnsetType = UNSET,
        backups: list[NamedBackup] | None | UnsetType = UNSET,
        note: str | None | UnsetType = UNSET,
        kind: Literal["machine", "folder", "database"] | UnsetType = UNSET,
        what: str | UnsetType = UNSET,
        name: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> ProtectedSystemWholeOut:
        """Name something that must be recoverable."""
        return decode(
            self.request(
                "POST",
                "/protected-systems",
                body={
                    "device": device,
                    "importance": importance,
                    "rpo_minutes": rpo_minutes,
                    "rto_minutes": rto_minutes,
                    "retention_days": retention_days,
                    "copies": copies,
                    "off_site": off_site,
                    "offline": offline,
                    "wanted_level": wanted_level,
                    "test_every_days": test_every_days,
                    "test_by_itself": test_by_itself,
                    "test_most_mb": test_most_mb,
                    "test_rate_kb": test_rate_kb,
                    "test_sample": test_sample,
                    "backups": backups,
                    "note": note,
                    "kind": kind,
                    "what": what,
                    "name": name,
                },
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=ProtectedSystemWholeOut,
        )

    def protected_system_archive(
        self, protected_system_id: int, *, why: str, if_match: str | None = None, idempotency_key: str | None = None
    ) -> ProtectedSystemWholeOut:
        """Say that it need not be recoverable any more."""
        return decode(
            self.request(
                "POST",
                f"/protected-systems/{segment(protected_system_id)}/archive",
                body={"why": why},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=ProtectedSystemWholeOut,
        )

    def protected_system_change(
        self,
        protected_system_id: int,
        *,
        importance: Literal["critical", "high", "medium", "low"] | None | UnsetType = UNSET,
        rpo_minutes: int | None | UnsetType = UNSET,
        rto_minutes: int | None | UnsetType = UNSET,
        retention_days: int | None | UnsetType = UNSET,
        copies: int | None | UnsetType = UNSET,
        off_site: bool | None | UnsetType = UNSET,
        offline: bool | None | UnsetType = UNSET,
        wanted_level: Literal["reported", "integrity", "sample", "whole", "database", "application"]
        | None
        | UnsetType = UNSET,
        test_every_days: int | None | UnsetType = UNSET,
        test_by_itself: bool | None | UnsetType = UNSET,
        test_most_mb: int | None | UnsetType = UNSET,
        test_rate_kb: int | None | UnsetType = UNSET,
        test_sample: int | None | UnsetType = UNSET,
        backups: list[NamedBackup] | None | UnsetType = UNSET,
        note: str | None | UnsetType = UNSET,
        name: str | None | UnsetType = UNSET,
        if_match: str | None = None,
    ) -> ProtectedSystemWholeOut:
        """Change what is demanded of a protected system."""
        return decode(
            self.request(
                "PATCH",
                f"/protected-systems/{segment(protected_system_id)}",
                body={
                    "importance": importance,
                    "rpo_minutes": rpo_minutes,
                    "rto_minutes": rto_minutes,
                    "retention_days": retention_days,
                    "copies": copies,
                    "off_site": off_site,
                    "offline": offline,
                    "wanted_level": wanted_level,
                    "test_every_days": test_every_days,
                    "test_by_itself": test_by_itself,
                    "test_most_mb": test_most_mb,
                    "test_rate_kb": test_rate_kb,
                    "test_sample": test_sample,
                    "backups": backups,
                    "note": note,
                    "name": name,
                },
                if_match=if_match,
            ),
            type=ProtectedSystemWholeOut,
        )

    def protected_system_gaps(self, *, client: UUID | None = None) -> list[RecoveryGapOfSystemOut]:
        """Everything that is missing, the worst of the most important first."""
        return decode(
            self.request("GET", "/protected-systems/gaps", query={"client": client}), type=list[RecoveryGapOfSystemOut]
        )

    def protected_system_list(
        self, *, client: UUID | None = None, device: UUID | None = None, archived: bool | None = None, limit: int = 100
    ) -> Pages[ProtectedSystemOut]:
        """What must be recoverable, and how each stands now."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/protected-systems",
                query={"client": client, "device": device, "archived": archived, "limit": limit, "cursor": cursor},
            )

        return Pages(ask, Page_ProtectedSystemOut)

    def protected_system_restore(
        self, protected_system_id: int, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> ProtectedSystemWholeOut:
        """Take an archived system back."""
        return decode(
            self.request(
                "POST",
                f"/protected-systems/{segment(protected_system_id)}/restore",
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=ProtectedSystemWholeOut,
        )

    def protected_system_show(self, protected_system_id: int) -> ProtectedSystemWholeOut:
        """Show a protected system: its ladder of proofs and what covers it."""
        return decode(
            self.request("GET", f"/protected-systems/{segment(protected_system_id)}"), type=ProtectedSystemWholeOut
        )

    def protected_system_suggest(self, *, client: UUID | None = None) -> list[SuggestionOut]:
        """Devices and databases that look as if they had to be recoverable, and that nobody has named."""
        return decode(
            self.request("GET", "/protected-systems/suggestions", query={"client": client}), type=list[SuggestionOut]
        )

    def protected_system_test(
        self,
        protected_system_id: int,
        *,
        level: Literal["", "integrity", "sample", "whole", "database", "application"] | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> RestoreTestOut:
        """Begin a restore test now."""
        return decode(
            self.request(
                "POST",
                f"/protected-systems/{segment(protected_system_id)}/test",
                body={"level": level},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=RestoreTestOut,
        )

    def rating_list(self, *, client: UUID | None = None, limit: int = 100) -> Pages[RatingOut]:
        """List clients' ratings, newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request("GET", "/ratings", query={"client": client, "limit": limit, "cursor": cursor})

        return Pages(ask, Page_RatingOut)

    def report_list(
        self,
        *,
        client: UUID | None = None,
        ticket: int | None = None,
        ordering: Literal["-made_at", "made_at"] | None = None,
        limit: int = 100,
    ) -> Pages[ReportOut]:
        """List service reports, newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/reports",
                query={"client": client, "ticket": ticket, "ordering": ordering, "limit": limit, "cursor": cursor},
            )

        return Pages(ask, Page_ReportOut)

    def report_pdf(self, report_number: str) -> bytes:
        """A service report as PDF."""
        return self.request("GET", f"/reports/{segment(report_number)}/pdf")

    def report_show(self, report_number: str) -> WholeReportOut:
        """Show a service report."""
        return decode(self.request("GET", f"/reports/{segment(report_number)}"), type=WholeReportOut)

    def review_item_list(
        self,
        access_review_id: int,
        *,
        device: UUID | None = None,
        decision: Literal["", "undecided", "keep", "remove", "change"] | None = None,
        search: str | None = None,
        limit: int = 100,
    ) -> Pages[ReviewItemOut]:
        """The accounts of a review."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                f"/access-reviews/{segment(access_review_id)}/items",
                query={"device": device, "decision": decision, "search": search, "limit": limit, "cursor": cursor},
            )

        return Pages(ask, Page_ReviewItemOut)

    def review_item_prepare(
        self,
        review_item_id: int,
        *,
        runbook: Literal["lock-account", "remove-ssh-key", "expire-password"] | UnsetType = UNSET,
        fingerprint: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> ReviewItemOut:
        """Prepare a run that does what was decided; an operator signs it."""
        return decode(
            self.request(
                "POST",
                f"/review-items/{segment(review_item_id)}/prepare",
                body={"runbook": runbook, "fingerprint": fingerprint},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=ReviewItemOut,
        )

    def review_item_show(self, review_item_id: int) -> ReviewItemOut:
        """Show one account of a review."""
        return decode(self.request("GET", f"/review-items/{segment(review_item_id)}"), type=ReviewItemOut)

    def review_plan_delete(self, review_plan_id: int, *, if_match: str | None = None) -> None:
        """Take a plan back: the client's holds again, or quarterly."""
        self.request("DELETE", f"/review-plans/{segment(review_plan_id)}", if_match=if_match)

    def review_plan_list(self, *, client: UUID | None = None) -> list[ReviewPlanOut]:
        """How often access is reviewed, where it is not quarterly for the client as a whole."""
        return decode(self.request("GET", "/review-plans", query={"client": client}), type=list[ReviewPlanOut])

    def review_plan_set(
        self,
        *,
        client: UUID,
        site: UUID | None | UnsetType = UNSET,
        every_months: int | UnsetType = UNSET,
        answer_days: int | UnsetType = UNSET,
        assigned_to: int | None | UnsetType = UNSET,
        if_match: str | None = None,
    ) -> ReviewPlanOut:
        """Say how often access is reviewed at a client or site, and by whom."""
        return decode(
            self.request(
                "PUT",
                "/review-plans",
                body={
                    "client": client,
                    "site": site,
                    "every_months": every_months,
                    "answer_days": answer_days,
                    "assigned_to": assigned_to,
                },
                if_match=if_match,
            ),
            type=ReviewPlanOut,
        )

    def revocation_list(self, *, limit: int = 100) -> Pages[RevocationOut]:
        """List revocations of operators' keys, oldest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request("GET", "/authority/revocations", query={"limit": limit, "cursor": cursor})

        return Pages(ask, Page_RevocationOut)

    def role_change(
        self,
        role_id: str,
        *,
        name: str | None | UnsetType = UNSET,
        description: str | None | UnsetType = UNSET,
        permissions: list[
            Literal[
                "device.view",
                "device.approve",
                "device.change",
                "check.change",
                "ticket.view",
                "ticket.work",
                "runbook.view",
                "job.prepare",
                "authority.change",
                "window.change",
                "patch.change",
                "risk.accept",
                "recovery.change",
                "access.review",
                "baseline.change",
                "runbook.change",
                "evidence.view",
                "evidence.erase",
                "report.view",
                "client.view",
                "client.change",
                "client.export",
                "client.remove",
                "people.view",
                "people.change",
                "settings.change",
                "portal.view",
                "portal.ticket",
                "portal.approve",
                "portal.report",
            ]
        ]
        | None
        | UnsetType = UNSET,
        if_match: str | None = None,
    ) -> RoleOut:
        """Change a role of your own; it binds the next request of whoever holds it."""
        return decode(
            self.request(
                "PATCH",
                f"/roles/{segment(role_id)}",
                body={"name": name, "description": description, "permissions": permissions},
                if_match=if_match,
            ),
            type=RoleOut,
        )

    def role_create(
        self,
        *,
        name: str,
        permissions: list[
            Literal[
                "device.view",
                "device.approve",
                "device.change",
                "check.change",
                "ticket.view",
                "ticket.work",
                "runbook.view",
                "job.prepare",
                "authority.change",
                "window.change",
                "patch.change",
                "risk.accept",
                "recovery.change",
                "access.review",
                "baseline.change",
                "runbook.change",
                "evidence.view",
                "evidence.erase",
                "report.view",
                "client.view",
                "client.change",
                "client.export",
                "client.remove",
                "people.view",
                "people.change",
                "settings.change",
                "portal.view",
                "portal.ticket",
                "portal.approve",
                "portal.report",
            ]
        ],
        description: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> RoleOut:
        """Make a role of your own."""
        return decode(
            self.request(
                "POST",
                "/roles",
                body={"name": name, "permissions": permissions, "description": description},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=RoleOut,
        )

    def role_delete(self, role_id: str, *, if_match: str | None = None) -> None:
        """Delete a role that nobody holds."""
        self.request("DELETE", f"/roles/{segment(role_id)}", if_match=if_match)

    def role_list(self) -> list[RoleOut]:
        """List roles, built-in ones first."""
        return decode(self.request("GET", "/roles"), type=list[RoleOut])

    def role_policy_list(self) -> list[PolicyOut]:
        """What is asked of each role."""
        return decode(self.request("GET", "/role-policies"), type=list[PolicyOut])

    def role_policy_set(self, role_id: str, *, mfa_required: bool, if_match: str | None = None) -> PolicyOut:
        """Ask a second factor of everybody who holds a role, or no longer."""
        return decode(
            self.request(
                "PUT", f"/role-policies/{segment(role_id)}", body={"mfa_required": mfa_required}, if_match=if_match
            ),
            type=PolicyOut,
        )

    def role_show(self, role_id: str) -> RoleOut:
        """Show a role."""
        return decode(self.request("GET", f"/roles/{segment(role_id)}"), type=RoleOut)

    def rollout_cancel(
        self,
        rollout_id: UUID,
        *,
        reason: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> RolloutShownOut:
        """End it where it is; what is installed stays."""
        return decode(
            self.request(
                "POST",
                f"/rollouts/{segment(rollout_id)}/cancel",
                body={"reason": reason},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=RolloutShownOut,
        )

    def rollout_devices(
        self, rollout_id: UUID, *, ring: int | None = None, state: str | None = None, limit: int = 100
    ) -> Pages[RolloutDeviceOut]:
        """List the devices of a rollout."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                f"/rollouts/{segment(rollout_id)}/devices",
                query={"ring": ring, "state": state, "limit": limit, "cursor": cursor},
            )

        return Pages(ask, Page_RolloutDeviceOut)

    def rollout_list(
        self, *, client: UUID | None = None, state: str | None = None, limit: int = 100
    ) -> Pages[RolloutOut]:
        """List rollouts, newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET", "/rollouts", query={"client": client, "state": state, "limit": limit, "cursor": cursor}
            )

        return Pages(ask, Page_RolloutOut)

    def rollout_pause(
        self,
        rollout_id: UUID,
        *,
        reason: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> RolloutShownOut:
        """Touch nothing more until it is resumed."""
        return decode(
            self.request(
                "POST",
                f"/rollouts/{segment(rollout_id)}/pause",
                body={"reason": reason},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=RolloutShownOut,
        )

    def rollout_preview(
        self,
        *,
        client: UUID | None | UnsetType = UNSET,
        name: str | UnsetType = UNSET,
        choose: Literal["security", "all", "chosen"] | UnsetType = UNSET,
        packages: list[str] | UnsetType = UNSET,
        pilots: list[UUID] | UnsetType = UNSET,
        terms: dict[str, Any] | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> RolloutPreviewOut:
        """Which device would be in which ring; nothing is started."""
        return decode(
            self.request(
                "POST",
                "/rollouts/preview",
                body={
                    "client": client,
                    "name": name,
                    "choose": choose,
                    "packages": packages,
                    "pilots": pilots,
                    "terms": terms,
                },
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=RolloutPreviewOut,
        )

    def rollout_promote(
        self, rollout_id: UUID, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> RolloutShownOut:
        """Let the next ring begin, once this one is healthy."""
        return decode(
            self.request(
                "POST", f"/rollouts/{segment(rollout_id)}/promote", if_match=if_match, idempotency_key=idempotency_key
            ),
            type=RolloutShownOut,
        )

    def rollout_resume(
        self,
        rollout_id: UUID,
        *,
        reason: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> RolloutShownOut:
        """Go on after a pause; after a halt with a reason, and without the devices that failed."""
        return decode(
            self.request(
                "POST",
                f"/rollouts/{segment(rollout_id)}/resume",
                body={"reason": reason},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=RolloutShownOut,
        )

    def rollout_show(self, rollout_id: UUID) -> RolloutShownOut:
        """Show a rollout, ring by ring."""
        return decode(self.request("GET", f"/rollouts/{segment(rollout_id)}"), type=RolloutShownOut)

    def rollout_start(
        self,
        *,
        client: UUID | None | UnsetType = UNSET,
        name: str | UnsetType = UNSET,
        choose: Literal["security", "all", "chosen"] | UnsetType = UNSET,
        packages: list[str] | UnsetType = UNSET,
        pilots: list[UUID] | UnsetType = UNSET,
        terms: dict[str, Any] | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> RolloutShownOut:
        """Start a rollout; ring 1 opens."""
        return decode(
            self.request(
                "POST",
                "/rollouts",
                body={
                    "client": client,
                    "name": name,
                    "choose": choose,
                    "packages": packages,
                    "pilots": pilots,
                    "terms": terms,
                },
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=RolloutShownOut,
        )

    def root_list(self, *, limit: int = 100) -> Pages[RootOut]:
        """List the root's versions, oldest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request("GET", "/authority/roots", query={"limit": limit, "cursor": cursor})

        return Pages(ask, Page_RootOut)

    def routing_answer(
        self, *, site: UUID, kind: str, risk: Literal["critical", "high", "medium", "low"] | None = None
    ) -> AnswerOut:
        """Who would get a ticket of a kind and risk at a site, and why."""
        return decode(
            self.request("GET", "/routing-answer", query={"site": site, "kind": kind, "risk": risk}), type=AnswerOut
        )

    def routing_rule_change(
        self,
        rule_id: int,
        *,
        owner: str,
        kind: str | UnsetType = UNSET,
        minimum_risk: Literal["critical", "high", "medium", "low"] | None | UnsetType = UNSET,
        order: int | UnsetType = UNSET,
        if_match: str | None = None,
    ) -> RuleOut:
        """Change a rule.

        Its place stays: remove it and add another.
        """
        return decode(
            self.request(
                "PUT",
                f"/routing-rules/{segment(rule_id)}",
                body={"owner": owner, "kind": kind, "minimum_risk": minimum_risk, "order": order},
                if_match=if_match,
            ),
            type=RuleOut,
        )

    def routing_rule_create(
        self,
        *,
        owner: str,
        kind: str | UnsetType = UNSET,
        minimum_risk: Literal["critical", "high", "medium", "low"] | None | UnsetType = UNSET,
        order: int | UnsetType = UNSET,
        client: UUID | None | UnsetType = UNSET,
        site: UUID | None | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> RuleOut:
        """Say who gets which ticket."""
        return decode(
            self.request(
                "POST",
                "/routing-rules",
                body={
                    "owner": owner,
                    "kind": kind,
                    "minimum_risk": minimum_risk,
                    "order": order,
                    "client": client,
                    "site": site,
                },
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=RuleOut,
        )

    def routing_rule_delete(self, rule_id: int, *, if_match: str | None = None) -> None:
        """Remove a routing rule."""
        self.request("DELETE", f"/routing-rules/{segment(rule_id)}", if_match=if_match)

    def routing_rule_list(self, *, client: UUID | None = None, limit: int = 100) -> Pages[RuleOut]:
        """List who gets which ticket."""

        def ask(cursor: str | None) -> bytes:
            return self.request("GET", "/routing-rules", query={"client": client, "limit": limit, "cursor": cursor})

        return Pages(ask, Page_RuleOut)

    def routing_rule_show(self, rule_id: int) -> RuleOut:
        """Show a routing rule."""
        return decode(self.request("GET", f"/routing-rules/{segment(rule_id)}"), type=RuleOut)

    def runbook_draft_create(
        self,
        *,
        slug: str,
        text: str | None | UnsetType = UNSET,
        note: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> DraftOut:
        """Begin a draft of a runbook."""
        return decode(
            self.request(
                "POST",
                "/runbook-drafts",
                body={"slug": slug, "text": text, "note": note},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=DraftOut,
        )

    def runbook_draft_difference(self, draft_slug: str) -> DraftDifferenceOut:
        """How a draft differs from the signed runbook."""
        return decode(self.request("GET", f"/runbook-drafts/{segment(draft_slug)}/difference"), type=DraftDifferenceOut)

    def runbook_draft_drop(
        self, draft_slug: str, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> DraftOut:
        """Put a draft away; its versions stay."""
        return decode(
            self.request(
                "POST",
                f"/runbook-drafts/{segment(draft_slug)}/drop",
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=DraftOut,
        )

    def runbook_draft_list(self, *, limit: int = 100) -> Pages[DraftOut]:
        """List drafts of runbooks."""

        def ask(cursor: str | None) -> bytes:
            return self.request("GET", "/runbook-drafts", query={"limit": limit, "cursor": cursor})

        return Pages(ask, Page_DraftOut)

    def runbook_draft_save(
        self,
        draft_slug: str,
        *,
        text: str,
        note: str | UnsetType = UNSET,
        expected: int | None | UnsetType = UNSET,
        if_match: str | None = None,
    ) -> DraftOut:
        """Save one more version of a draft; what is wrong with it is in the answer."""
        return decode(
            self.request(
                "PUT",
                f"/runbook-drafts/{segment(draft_slug)}",
                body={"text": text, "note": note, "expected": expected},
                if_match=if_match,
            ),
            type=DraftOut,
        )

    def runbook_draft_show(self, draft_slug: str) -> DraftOut:
        """Show a draft."""
        return decode(self.request("GET", f"/runbook-drafts/{segment(draft_slug)}"), type=DraftOut)

    def runbook_draft_undo(
        self,
        draft_slug: str,
        *,
        to: int | None | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> DraftOut:
        """Go back to an earlier version of a draft."""
        return decode(
            self.request(
                "POST",
                f"/runbook-drafts/{segment(draft_slug)}/undo",
                body={"to": to},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=DraftOut,
        )

    def runbook_draft_versions(self, draft_slug: str) -> list[DraftVersionOut]:
        """Every version of a draft, newest first."""
        return decode(
            self.request("GET", f"/runbook-drafts/{segment(draft_slug)}/versions"), type=list[DraftVersionOut]
        )

    def runbook_list(self, *, slug: str | None = None, limit: int = 100) -> Pages[RunbookOut]:
        """List runbooks, the newest version of each first."""

        def ask(cursor: str | None) -> bytes:
            return self.request("GET", "/runbooks", query={"slug": slug, "limit": limit, "cursor": cursor})

        return Pages(ask, Page_RunbookOut)

    def runbook_publish(
        self, *, envelope: str, if_match: str | None = None, idempotency_key: str | None = None
    ) -> RunbookOut:
        """Publish a runbook that the catalogue role signed."""
        return decode(
            self.request(
                "POST", "/runbooks", body={"envelope": envelope}, if_match=if_match, idempotency_key=idempotency_key
            ),
            type=RunbookOut,
        )

    def samples_list(
        self,
        device_id: UUID,
        *,
        series: str,
        start: datetime | None = None,
        end: datetime | None = None,
        step_seconds: int | None = None,
    ) -> dict[str, SampleSeries]:
        """Samples of a device.

        ``series``: a name as in ``samples/latest``, such as ``disk.used_percent{volume=/}``. Default: the last
        hour.
        """
        return decode(
            self.request(
                "GET",
                f"/devices/{segment(device_id)}/samples",
                query={"series": series, "start": start, "end": end, "step_seconds": step_seconds},
            ),
            type=dict[str, SampleSeries],
        )

    def samples_newest(self, device_id: UUID) -> dict[str, float]:
        """Newest sample of each series."""
        return decode(self.request("GET", f"/devices/{segment(device_id)}/samples/latest"), type=dict[str, float])

    def site_change(
        self,
        site_id: UUID,
        *,
        name: str | None | UnsetType = UNSET,
        timezone: str | None | UnsetType = UNSET,
        country: str | None | UnsetType = UNSET,
        region: str | None | UnsetType = UNSET,
        address: str | None | UnsetType = UNSET,
        client: UUID | None | UnsetType = UNSET,
        if_match: str | None = None,
    ) -> SiteOut:
        """Change a site."""
        return decode(
            self.request(
                "PATCH",
                f"/sites/{segment(site_id)}",
                body={
                    "name": name,
                    "timezone": timezone,
                    "country": country,
                    "region": region,
                    "address": address,
                    "client": client,
                },
                if_match=if_match,
            ),
            type=SiteOut,
        )

    def site_create(
        self,
        client_id: UUID,
        *,
        name: str,
        timezone: str | UnsetType = UNSET,
        country: str | UnsetType = UNSET,
        region: str | UnsetType = UNSET,
        address: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> SiteOut:
        """Add a site."""
        return decode(
            self.request(
                "POST",
                f"/clients/{segment(client_id)}/sites",
                body={"name": name, "timezone": timezone, "country": country, "region": region, "address": address},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=SiteOut,
        )

    def site_list(self, *, client: UUID | None = None, search: str | None = None, limit: int = 100) -> Pages[SiteOut]:
        """List sites."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET", "/sites", query={"client": client, "search": search, "limit": limit, "cursor": cursor}
            )

        return Pages(ask, Page_SiteOut)

    def site_show(self, site_id: UUID) -> SiteOut:
        """Show a site."""
        return decode(self.request("GET", f"/sites/{segment(site_id)}"), type=SiteOut)

    def sla_tier_change(
        self,
        tier_slug: str,
        *,
        name: str | None | UnsetType = UNSET,
        description: str | None | UnsetType = UNSET,
        targets: dict[str, TargetIn] | None | UnsetType = UNSET,
        if_match: str | None = None,
    ) -> TierOut:
        """Change an SLA tier.

        Holds for tickets opened from now on; on record at every client that has it.
        """
        return decode(
            self.request(
                "PATCH",
                f"/sla-tiers/{segment(tier_slug)}",
                body={"name": name, "description": description, "targets": targets},
                if_match=if_match,
            ),
            type=TierOut,
        )

    def sla_tier_create(
        self,
        *,
        slug: str,
        name: str,
        targets: dict[str, TargetIn],
        description: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> TierOut:
        """Make an SLA tier."""
        return decode(
            self.request(
                "POST",
                "/sla-tiers",
                body={"slug": slug, "name": name, "targets": targets, "description": description},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=TierOut,
        )

    def sla_tier_delete(self, tier_slug: str, *, if_match: str | None = None) -> None:
        """Remove an SLA tier nobody has."""
        self.request("DELETE", f"/sla-tiers/{segment(tier_slug)}", if_match=if_match)

    def sla_tier_list(self) -> list[TierOut]:
        """List SLA tiers."""
        return decode(self.request("GET", "/sla-tiers"), type=list[TierOut])

    def sla_tier_show(self, tier_slug: str) -> TierOut:
        """Show an SLA tier."""
        return decode(self.request("GET", f"/sla-tiers/{segment(tier_slug)}"), type=TierOut)

    def ticket_acknowledge(
        self, number: int, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> TicketOut:
        """Take a ticket."""
        return decode(
            self.request(
                "POST", f"/tickets/{segment(number)}/acknowledge", if_match=if_match, idempotency_key=idempotency_key
            ),
            type=TicketOut,
        )

    def ticket_approvals(self, number: int) -> list[ApprovalOut]:
        """What the client was asked to approve, oldest first."""
        return decode(self.request("GET", f"/tickets/{segment(number)}/approvals"), type=list[ApprovalOut])

    def ticket_ask(
        self,
        number: int,
        *,
        question: str,
        what_happens: str,
        cost: str | UnsetType = UNSET,
        answer_by: datetime | None | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> ApprovalOut:
        """Ask the client to approve something: the ticket waits for it."""
        return decode(
            self.request(
                "POST",
                f"/tickets/{segment(number)}/ask",
                body={"question": question, "what_happens": what_happens, "cost": cost, "answer_by": answer_by},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=ApprovalOut,
        )

    def ticket_assign(
        self, number: int, *, owner: str, if_match: str | None = None, idempotency_key: str | None = None
    ) -> TicketOut:
        """Give a ticket an owner."""
        return decode(
            self.request(
                "POST",
                f"/tickets/{segment(number)}/assign",
                body={"owner": owner},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=TicketOut,
        )

    def ticket_clock(self, number: int, *, kind: Literal["response", "resolution"] | None = None) -> list[SegmentOut]:
        """Why each minute counted or did not."""
        return decode(
            self.request("GET", f"/tickets/{segment(number)}/clock", query={"kind": kind}), type=list[SegmentOut]
        )

    def ticket_comment(
        self,
        number: int,
        *,
        text: str,
        to_client: bool | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> LineOut:
        """Write a comment."""
        return decode(
            self.request(
                "POST",
                f"/tickets/{segment(number)}/comment",
                body={"text": text, "to_client": to_client},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=LineOut,
        )

    def ticket_list(
        self,
        *,
        state: Literal["open", "acknowledged", "in_progress", "waiting", "resolved", "closed"] | None = None,
        device: UUID | None = None,
        kind: str | None = None,
        target: str | None = None,
        priority: Literal["urgent", "standard", "low"] | None = None,
        client: UUID | None = None,
        site: UUID | None = None,
        owner: str | None = None,
        ordering: Literal["-number", "number", "-opened_at", "opened_at"] | None = None,
        limit: int = 100,
    ) -> Pages[TicketOut]:
        """List tickets, newest first.

        ``state=open`` lists everything that is not done, whatever its step.
        """

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/tickets",
                query={
                    "state": state,
                    "device": device,
                    "kind": kind,
                    "target": target,
                    "priority": priority,
                    "client": client,
                    "site": site,
                    "owner": owner,
                    "ordering": ordering,
                    "limit": limit,
                    "cursor": cursor,
                },
            )

        return Pages(ask, Page_TicketOut)

    def ticket_open(
        self,
        *,
        title: str,
        text: str | UnsetType = UNSET,
        urgency: Literal["everybody", "one", "hindered", "question"] | UnsetType = UNSET,
        site: UUID | None | UnsetType = UNSET,
        device: UUID | None | UnsetType = UNSET,
        requested_by: str | None | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> TicketOut:
        """Open a ticket by hand."""
        return decode(
            self.request(
                "POST",
                "/tickets",
                body={
                    "title": title,
                    "text": text,
                    "urgency": urgency,
                    "site": site,
                    "device": device,
                    "requested_by": requested_by,
                },
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=TicketOut,
        )

    def ticket_reopen(
        self, number: int, *, text: str, if_match: str | None = None, idempotency_key: str | None = None
    ) -> TicketOut:
        """Open a resolved ticket again."""
        return decode(
            self.request(
                "POST",
                f"/tickets/{segment(number)}/reopen",
                body={"text": text},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=TicketOut,
        )

    def ticket_resolve(
        self, number: int, *, text: str, if_match: str | None = None, idempotency_key: str | None = None
    ) -> TicketOut:
        """Resolve by hand: says so if the check still fails."""
        return decode(
            self.request(
                "POST",
                f"/tickets/{segment(number)}/resolve",
                body={"text": text},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=TicketOut,
        )

    def ticket_resume(
        self, number: int, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> TicketOut:
        """Go on after waiting."""
        return decode(
            self.request(
                "POST", f"/tickets/{segment(number)}/resume", if_match=if_match, idempotency_key=idempotency_key
            ),
            type=TicketOut,
        )

    def ticket_show(self, number: int) -> TicketOut:
        """Show a ticket."""
        return decode(self.request("GET", f"/tickets/{segment(number)}"), type=TicketOut)

    def ticket_start(
        self, number: int, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> TicketOut:
        """Begin to work on a ticket."""
        return decode(
            self.request(
                "POST", f"/tickets/{segment(number)}/start", if_match=if_match, idempotency_key=idempotency_key
            ),
            type=TicketOut,
        )

    def ticket_timeline(self, number: int) -> list[LineOut]:
        """A ticket's story, oldest first."""
        return decode(self.request("GET", f"/tickets/{segment(number)}/timeline"), type=list[LineOut])

    def ticket_wait(
        self, number: int, *, text: str, if_match: str | None = None, idempotency_key: str | None = None
    ) -> TicketOut:
        """Wait for the client: the resolution clock stops."""
        return decode(
            self.request(
                "POST",
                f"/tickets/{segment(number)}/wait",
                body={"text": text},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=TicketOut,
        )

    def ticket_window_plan(
        self,
        number: int,
        *,
        window: int,
        minutes: int,
        starts_at: datetime | None | UnsetType = UNSET,
        if_match: str | None = None,
    ) -> TicketWindowOut:
        """Plan work on a ticket into a window; its SLA clocks go on."""
        return decode(
            self.request(
                "PUT",
                f"/tickets/{segment(number)}/window",
                body={"window": window, "minutes": minutes, "starts_at": starts_at},
                if_match=if_match,
            ),
            type=TicketWindowOut,
        )

    def ticket_window_show(self, number: int) -> TicketWindowOut:
        """When work on a ticket is planned, and when its windows open next."""
        return decode(self.request("GET", f"/tickets/{segment(number)}/window"), type=TicketWindowOut)

    def ticket_window_unplan(self, number: int, *, if_match: str | None = None) -> None:
        """Take back what is planned."""
        self.request("DELETE", f"/tickets/{segment(number)}/window", if_match=if_match)

    def ticket_withdraw(
        self, number: int, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> ApprovalOut:
        """Withdraw the question that is open."""
        return decode(
            self.request(
                "POST", f"/tickets/{segment(number)}/withdraw", if_match=if_match, idempotency_key=idempotency_key
            ),
            type=ApprovalOut,
        )

    def token_create(
        self, *, site: UUID, if_match: str | None = None, idempotency_key: str | None = None
    ) -> EnrolmentTokenOut:
        """Make a token with which one device can enrol."""
        return decode(
            self.request(
                "POST", "/enrolment-tokens", body={"site": site}, if_match=if_match, idempotency_key=idempotency_key
            ),
            type=EnrolmentTokenOut,
        )

    def token_list(self, *, limit: int = 100) -> Pages[OwnTokenOut]:
        """List your tokens, newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request("GET", "/tokens", query={"limit": limit, "cursor": cursor})

        return Pages(ask, Page_OwnTokenOut)

    def token_make_own(
        self,
        *,
        name: str,
        permissions: list[
            Literal[
                "device.view",
                "device.approve",
                "device.change",
                "check.change",
                "ticket.view",
                "ticket.work",
                "runbook.view",
                "job.prepare",
                "authority.change",
                "window.change",
                "patch.change",
                "risk.accept",
                "recovery.change",
                "access.review",
                "baseline.change",
                "runbook.change",
                "evidence.view",
                "evidence.erase",
                "report.view",
                "client.view",
                "client.change",
                "client.export",
                "client.remove",
                "people.view",
                "people.change",
                "settings.change",
                "portal.view",
                "portal.ticket",
                "portal.approve",
                "portal.report",
            ]
        ]
        | UnsetType = UNSET,
        client: UUID | None | UnsetType = UNSET,
        site: UUID | None | UnsetType = UNSET,
        expires_at: datetime | None | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> NewTokenOut:
        """Make a token: shown this once."""
        return decode(
            self.request(
                "POST",
                "/tokens",
                body={
                    "name": name,
                    "permissions": permissions,
                    "client": client,
                    "site": site,
                    "expires_at": expires_at,
                },
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=NewTokenOut,
        )

    def token_remove(self, token_id: int, *, if_match: str | None = None) -> None:
        """Revoke a token of yours."""
        self.request("DELETE", f"/tokens/{segment(token_id)}", if_match=if_match)

    def token_show(self, token_id: int) -> OwnTokenOut:
        """Show a token of yours."""
        return decode(self.request("GET", f"/tokens/{segment(token_id)}"), type=OwnTokenOut)

    def update_decide(
        self,
        *,
        name: str,
        decision: Literal["approve", "defer", "exclude"],
        client: UUID | None | UnsetType = UNSET,
        device: UUID | None | UnsetType = UNSET,
        manager: str | UnsetType = UNSET,
        candidate: str | UnsetType = UNSET,
        until: datetime | None | UnsetType = UNSET,
        reason: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> DecisionOut:
        """Approve, defer or exclude an update at a client or on a device."""
        return decode(
            self.request(
                "POST",
                "/update-decisions",
                body={
                    "name": name,
                    "decision": decision,
                    "client": client,
                    "device": device,
                    "manager": manager,
                    "candidate": candidate,
                    "until": until,
                    "reason": reason,
                },
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=DecisionOut,
        )

    def update_decision_end(
        self, update_decision_id: int, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> DecisionOut:
        """Take a decision about an update back."""
        return decode(
            self.request(
                "POST",
                f"/update-decisions/{segment(update_decision_id)}/end",
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=DecisionOut,
        )

    def update_decision_list(
        self, *, client: UUID | None = None, ended: bool | None = None, limit: int = 100
    ) -> Pages[DecisionOut]:
        """List what was decided about updates, newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET", "/update-decisions", query={"client": client, "ended": ended, "limit": limit, "cursor": cursor}
            )

        return Pages(ask, Page_DecisionOut)

    def update_list(
        self,
        *,
        client: UUID | None = None,
        device: UUID | None = None,
        security: bool | None = None,
        show: Literal["", "late", "misses"] | None = None,
        state: str | None = None,
        provider: str | None = None,
        obligation: str | None = None,
        search: str | None = None,
    ) -> list[WaitingUpdateOut]:
        """Updates that wait, one row for each version of a package, the earliest due first."""
        return decode(
            self.request(
                "GET",
                "/updates",
                query={
                    "client": client,
                    "device": device,
                    "security": security,
                    "show": show,
                    "state": state,
                    "provider": provider,
                    "obligation": obligation,
                    "search": search,
                },
            ),
            type=list[WaitingUpdateOut],
        )

    def vulnerability_actions(
        self,
        *,
        client: UUID | None = None,
        site: UUID | None = None,
        device: UUID | None = None,
        severity: Literal["critical", "high", "medium", "low", "unrated"] | None = None,
        exploited: bool | None = None,
        fixable: bool | None = None,
        q: str | None = None,
        package: str | None = None,
        at: datetime | None = None,
        limit: int = 100,
    ) -> Pages[ActionOut]:
        """What to do, what removes most risk first."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/vulnerabilities/actions",
                query={
                    "client": client,
                    "site": site,
                    "device": device,
                    "severity": severity,
                    "exploited": exploited,
                    "fixable": fixable,
                    "q": q,
                    "package": package,
                    "at": at,
                    "limit": limit,
                    "cursor": cursor,
                },
            )

        return Pages(ask, Page_ActionOut)

    def vulnerability_feed_change(
        self,
        feed_slug: str,
        *,
        enabled: bool | None | UnsetType = UNSET,
        url: str | None | UnsetType = UNSET,
        every_hours: int | None | UnsetType = UNSET,
        if_match: str | None = None,
    ) -> FeedOut:
        """Use a feed or not, or fetch it from elsewhere."""
        return decode(
            self.request(
                "PATCH",
                f"/vulnerability-feeds/{segment(feed_slug)}",
                body={"enabled": enabled, "url": url, "every_hours": every_hours},
                if_match=if_match,
            ),
            type=FeedOut,
        )

    def vulnerability_feed_list(self) -> list[FeedOut]:
        """The feeds of advisories: how new they are, and what went wrong."""
        return decode(self.request("GET", "/vulnerability-feeds"), type=list[FeedOut])

    def vulnerability_feed_make(
        self,
        *,
        slug: str,
        title: str | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> FeedOut:
        """Make a feed that comes from files; one that is there already is shown."""
        return decode(
            self.request(
                "POST",
                "/vulnerability-feeds",
                body={"slug": slug, "title": title},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=FeedOut,
        )

    def vulnerability_feed_refresh(
        self, feed_slug: str, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> FeedOut:
        """Fetch a feed now."""
        return decode(
            self.request(
                "POST",
                f"/vulnerability-feeds/{segment(feed_slug)}/refresh",
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=FeedOut,
        )

    def vulnerability_feed_remove(self, feed_slug: str, *, if_match: str | None = None) -> None:
        """Forget a feed."""
        self.request("DELETE", f"/vulnerability-feeds/{segment(feed_slug)}", if_match=if_match)

    def vulnerability_feed_show(self, feed_slug: str) -> FeedOut:
        """Show a feed."""
        return decode(self.request("GET", f"/vulnerability-feeds/{segment(feed_slug)}"), type=FeedOut)

    def vulnerability_feed_upload(
        self, feed_slug: str, *, offset: int, content: str, last: bool | UnsetType = UNSET, if_match: str | None = None
    ) -> FeedPartOut:
        """Upload a file of a feed, part by part."""
        return decode(
            self.request(
                "PUT",
                f"/vulnerability-feeds/{segment(feed_slug)}/file",
                body={"offset": offset, "content": content, "last": last},
                if_match=if_match,
            ),
            type=FeedPartOut,
        )

    def vulnerability_list(
        self,
        *,
        client: UUID | None = None,
        site: UUID | None = None,
        device: UUID | None = None,
        severity: Literal["critical", "high", "medium", "low", "unrated"] | None = None,
        exploited: bool | None = None,
        fixable: bool | None = None,
        q: str | None = None,
        package: str | None = None,
        at: datetime | None = None,
        limit: int = 100,
    ) -> Pages[VulnerabilityOut]:
        """List open vulnerabilities, what matters most first."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/vulnerabilities",
                query={
                    "client": client,
                    "site": site,
                    "device": device,
                    "severity": severity,
                    "exploited": exploited,
                    "fixable": fixable,
                    "q": q,
                    "package": package,
                    "at": at,
                    "limit": limit,
                    "cursor": cursor,
                },
            )

        return Pages(ask, Page_VulnerabilityOut)

    def vulnerability_mark(
        self,
        vulnerability_name: str,
        *,
        mark: Literal["accepted", "false_positive", "not_applicable"],
        reason: str,
        client: UUID | None | UnsetType = UNSET,
        device: UUID | None | UnsetType = UNSET,
        package: str | UnsetType = UNSET,
        expires_at: datetime | None | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> MarkOut:
        """Accept a vulnerability until a day, or mark it as false or not applicable."""
        return decode(
            self.request(
                "POST",
                f"/vulnerabilities/{segment(vulnerability_name)}/marks",
                body={
                    "mark": mark,
                    "reason": reason,
                    "client": client,
                    "device": device,
                    "package": package,
                    "expires_at": expires_at,
                },
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=MarkOut,
        )

    def vulnerability_mark_list(
        self,
        *,
        client: UUID | None = None,
        vulnerability: str | None = None,
        in_force: bool | None = None,
        limit: int = 100,
    ) -> Pages[MarkOut]:
        """List what was said of vulnerabilities, newest first."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/vulnerability-marks",
                query={
                    "client": client,
                    "vulnerability": vulnerability,
                    "in_force": in_force,
                    "limit": limit,
                    "cursor": cursor,
                },
            )

        return Pages(ask, Page_MarkOut)

    def vulnerability_show(self, vulnerability_name: str) -> WholeVulnerabilityOut:
        """Show a vulnerability: why its rank, which devices have or had it, what was said of it."""
        return decode(
            self.request("GET", f"/vulnerabilities/{segment(vulnerability_name)}"), type=WholeVulnerabilityOut
        )

    def vulnerability_unmark(
        self, mark_id: int, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> MarkOut:
        """Take a mark back: the vulnerability counts again."""
        return decode(
            self.request(
                "POST",
                f"/vulnerability-marks/{segment(mark_id)}/end",
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=MarkOut,
        )

    def webhook_change(
        self,
        webhook_id: UUID,
        *,
        name: str | None | UnsetType = UNSET,
        url: str | None | UnsetType = UNSET,
        events: list[
            Literal[
                "device.enrolled",
                "device.approved",
                "facts.changed",
                "samples.crossed",
                "check.changed",
                "alert.raised",
                "alert.cleared",
                "ticket.opened",
                "ticket.resolved",
                "job.finished",
                "window.proposed",
                "window.answered",
                "deployment.changed",
                "rollout.changed",
                "vulnerability.found",
                "feed.changed",
                "proof.recorded",
                "access.changed",
                "baseline.drifted",
                "health.run_done",
            ]
        ]
        | None
        | UnsetType = UNSET,
        if_match: str | None = None,
    ) -> WebhookOut:
        """Change a webhook."""
        return decode(
            self.request(
                "PATCH",
                f"/webhooks/{segment(webhook_id)}",
                body={"name": name, "url": url, "events": events},
                if_match=if_match,
            ),
            type=WebhookOut,
        )

    def webhook_list(
        self,
        *,
        client: UUID | None = None,
        state: Literal["active", "paused", "disabled"] | None = None,
        ordering: Literal["name", "-name", "created_at", "-created_at"] | None = None,
        limit: int = 100,
    ) -> Pages[WebhookOut]:
        """List webhooks."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/webhooks",
                query={"client": client, "state": state, "ordering": ordering, "limit": limit, "cursor": cursor},
            )

        return Pages(ask, Page_WebhookOut)

    def webhook_make(
        self,
        *,
        name: str,
        url: str,
        client: UUID | None | UnsetType = UNSET,
        events: list[
            Literal[
                "device.enrolled",
                "device.approved",
                "facts.changed",
                "samples.crossed",
                "check.changed",
                "alert.raised",
                "alert.cleared",
                "ticket.opened",
                "ticket.resolved",
                "job.finished",
                "window.proposed",
                "window.answered",
                "deployment.changed",
                "rollout.changed",
                "vulnerability.found",
                "feed.changed",
                "proof.recorded",
                "access.changed",
                "baseline.drifted",
                "health.run_done",
            ]
        ]
        | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> NewWebhookOut:
        """Make a webhook: secret once."""
        return decode(
            self.request(
                "POST",
                "/webhooks",
                body={"name": name, "url": url, "client": client, "events": events},
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=NewWebhookOut,
        )

    def webhook_pause(
        self, webhook_id: UUID, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> WebhookOut:
        """Tell a webhook nothing for the time being."""
        return decode(
            self.request(
                "POST", f"/webhooks/{segment(webhook_id)}/pause", if_match=if_match, idempotency_key=idempotency_key
            ),
            type=WebhookOut,
        )

    def webhook_ping(
        self, webhook_id: UUID, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> DeliveryOut:
        """Send a message that says nothing, as a test."""
        return decode(
            self.request(
                "POST", f"/webhooks/{segment(webhook_id)}/ping", if_match=if_match, idempotency_key=idempotency_key
            ),
            type=DeliveryOut,
        )

    def webhook_remove(self, webhook_id: UUID, *, if_match: str | None = None) -> None:
        """Remove a webhook with its log."""
        self.request("DELETE", f"/webhooks/{segment(webhook_id)}", if_match=if_match)

    def webhook_resume(
        self, webhook_id: UUID, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> WebhookOut:
        """Tell a paused or disabled webhook of what happens from now on."""
        return decode(
            self.request(
                "POST", f"/webhooks/{segment(webhook_id)}/resume", if_match=if_match, idempotency_key=idempotency_key
            ),
            type=WebhookOut,
        )

    def webhook_rotate(
        self, webhook_id: UUID, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> NewWebhookOut:
        """Change the secret of its signatures: shown once."""
        return decode(
            self.request(
                "POST", f"/webhooks/{segment(webhook_id)}/rotate", if_match=if_match, idempotency_key=idempotency_key
            ),
            type=NewWebhookOut,
        )

    def webhook_show(self, webhook_id: UUID) -> WebhookOut:
        """Show a webhook."""
        return decode(self.request("GET", f"/webhooks/{segment(webhook_id)}"), type=WebhookOut)

    def window_change(
        self,
        window_id: int,
        *,
        name: str | None | UnsetType = UNSET,
        purpose: str | None | UnsetType = UNSET,
        starts_on: date | None | UnsetType = UNSET,
        starts_at: str | None | UnsetType = UNSET,
        minutes: int | None | UnsetType = UNSET,
        rrule: str | None | UnsetType = UNSET,
        notice_hours: int | None | UnsetType = UNSET,
        notice_first_only: bool | None | UnsetType = UNSET,
        catch_up_hours: int | None | UnsetType = UNSET,
        needs_approval: bool | None | UnsetType = UNSET,
        if_match: str | None = None,
    ) -> WindowShownOut:
        """Change a maintenance window."""
        return decode(
            self.request(
                "PATCH",
                f"/windows/{segment(window_id)}",
                body={
                    "name": name,
                    "purpose": purpose,
                    "starts_on": starts_on,
                    "starts_at": starts_at,
                    "minutes": minutes,
                    "rrule": rrule,
                    "notice_hours": notice_hours,
                    "notice_first_only": notice_first_only,
                    "catch_up_hours": catch_up_hours,
                    "needs_approval": needs_approval,
                },
                if_match=if_match,
            ),
            type=WindowShownOut,
        )

    def window_create(
        self,
        *,
        site: UUID,
        name: str,
        starts_on: date,
        starts_at: str,
        minutes: int,
        purpose: str | UnsetType = UNSET,
        rrule: str | UnsetType = UNSET,
        notice_hours: int | UnsetType = UNSET,
        notice_first_only: bool | UnsetType = UNSET,
        catch_up_hours: int | UnsetType = UNSET,
        needs_approval: bool | UnsetType = UNSET,
        device: UUID | None | UnsetType = UNSET,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> WindowShownOut:
        """Plan a maintenance window."""
        return decode(
            self.request(
                "POST",
                "/windows",
                body={
                    "site": site,
                    "name": name,
                    "starts_on": starts_on,
                    "starts_at": starts_at,
                    "minutes": minutes,
                    "purpose": purpose,
                    "rrule": rrule,
                    "notice_hours": notice_hours,
                    "notice_first_only": notice_first_only,
                    "catch_up_hours": catch_up_hours,
                    "needs_approval": needs_approval,
                    "device": device,
                },
                if_match=if_match,
                idempotency_key=idempotency_key,
            ),
            type=WindowShownOut,
        )

    def window_end(
        self, window_id: int, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> WindowShownOut:
        """End a window for good; if it is open, now."""
        return decode(
            self.request(
                "POST", f"/windows/{segment(window_id)}/end", if_match=if_match, idempotency_key=idempotency_key
            ),
            type=WindowShownOut,
        )

    def window_limit_list(self, client_id: UUID) -> list[WindowLimitOut]:
        """How long windows of a client may be at most."""
        return decode(self.request("GET", f"/clients/{segment(client_id)}/window-limits"), type=list[WindowLimitOut])

    def window_limit_set(
        self,
        client_id: UUID,
        *,
        longest_minutes: int | None | UnsetType = UNSET,
        site: UUID | None | UnsetType = UNSET,
        if_match: str | None = None,
    ) -> list[WindowLimitOut]:
        """Agree how long windows of a client, or of one site, may be at most."""
        return decode(
            self.request(
                "PUT",
                f"/clients/{segment(client_id)}/window-limits",
                body={"longest_minutes": longest_minutes, "site": site},
                if_match=if_match,
            ),
            type=list[WindowLimitOut],
        )

    def window_list(
        self,
        *,
        client: UUID | None = None,
        site: UUID | None = None,
        device: UUID | None = None,
        ended: bool | None = None,
        limit: int = 100,
    ) -> Pages[WindowOut]:
        """List maintenance windows."""

        def ask(cursor: str | None) -> bytes:
            return self.request(
                "GET",
                "/windows",
                query={
                    "client": client,
                    "site": site,
                    "device": device,
                    "ended": ended,
                    "limit": limit,
                    "cursor": cursor,
                },
            )

        return Pages(ask, Page_WindowOut)

    def window_show(self, window_id: int) -> WindowShownOut:
        """Show a maintenance window."""
        return decode(self.request("GET", f"/windows/{segment(window_id)}"), type=WindowShownOut)

    def window_times(
        self, *, days: int | None = None, client: UUID | None = None, site: UUID | None = None
    ) -> list[WindowTimeOut]:
        """When windows are open in the next days, earliest first."""
        return decode(
            self.request("GET", "/window-times", query={"days": days, "client": client, "site": site}),
            type=list[WindowTimeOut],
        )

    def working_hours_set(
        self, client_id: UUID, *, hours: dict[str, list[list[str]]], if_match: str | None = None
    ) -> WorkingHoursOut:
        """Set a client's working hours."""
        return decode(
            self.request(
                "PUT", f"/clients/{segment(client_id)}/working-hours", body={"hours": hours}, if_match=if_match
            ),
            type=WorkingHoursOut,
        )

    def working_hours_show(self, client_id: UUID) -> WorkingHoursOut:
        """A client's working hours, and its next seven days in words."""
        return decode(self.request("GET", f"/clients/{segment(client_id)}/working-hours"), type=WorkingHoursOut)
