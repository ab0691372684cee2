"""Vulnerabilities: what to do first, what is open where, what was said of it, and the feeds all that rests on."""

from __future__ import annotations

import base64
import binascii
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import HttpResponse
from ninja import Field, Query

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, page, page_of
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.home import current_home
from forestall.server.inventory import queries as inventory
from forestall.server.inventory.models import Device
from forestall.server.patching.old_releases import old_releases
from forestall.server.people.queries import clients
from forestall.server.people.scope import Permission, Scope
from forestall.server.vulnerabilities import queries, ranking, services
from forestall.server.vulnerabilities.documents import sbom_text
from forestall.server.vulnerabilities.models import Feed, Vulnerability, VulnerabilityMark
from forestall.server.vulnerabilities.queries import Picture, Wish
from forestall.server.vulnerabilities.sbom import MEDIA_TYPE

router = Routes(tags=["vulnerabilities"])

Severity = Literal["critical", "high", "medium", "low", "unrated"]
UPLOAD_BYTES = 2 * services.PART_BYTES
"""Of a request with a part of a file in it."""
DEVICES_SHOWN = 50


class FindingFilters(Schema):
    client: UUID | None = None
    site: UUID | None = None
    device: UUID | None = None
    severity: Severity | None = Field(None, description="In the worst rating of the vendors concerned.")
    exploited: bool = Field(default=False, description="Only those known to be exploited.")
    fixable: bool | None = Field(None, description="With a fix, or without.")
    q: str = Field("", max_length=100, description="Part of a package's or a vulnerability's name.")
    package: str = Field("", max_length=200, description="Name of a package, or of its source.")
    at: datetime | None = Field(None, description="As it was, and was known, at that past moment.")


Filters = Annotated[FindingFilters, Query(...)]


class ActionOut(Schema):
    kind: str = Field(description="`upgrade`, `restart`, `mitigate` (no fix yet) or `release` (end of life).")
    sentence: str
    effect: str
    package: str
    ecosystem: str
    fix: str = Field(description="The version that has every fix there is.")
    score: int = Field(description="What to do first: see docs/using.md.")
    why: list[str]
    vulnerabilities: int
    known_exploited: int
    critical: int
    findings: int = Field(description="Vulnerabilities times devices.")
    exposed: int = Field(description="Devices on which the package itself listens beyond the machine.")
    device_count: int
    devices: list[Named] = Field(description=f"The first {DEVICES_SHOWN}.")
    gravest: list[str]


class VulnerabilityOut(Schema):
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
    only_running: bool = Field(description="Everywhere the fix is installed and does not run yet.")
    why: list[str]


class AffectedOut(Schema):
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


class MarkOut(Schema):
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


class WholeVulnerabilityOut(VulnerabilityOut):
    cvss_vector: str
    epss_percentile: float | None
    kev_added_on: date | None
    published_at: datetime | None
    affected: list[AffectedOut]
    marks: list[MarkOut]


class MarkIn(Schema):
    client: UUID | None = Field(None, description="On every device of it. Or name a device.")
    device: UUID | None = None
    package: str = Field("", max_length=200, description="Empty: in every package.")
    mark: Literal["accepted", "false_positive", "not_applicable"]
    reason: str = Field(min_length=1, max_length=2000)
    expires_at: datetime | None = Field(None, description="An accepted risk needs one, within a year.")


class FeedOut(Schema):
    slug: str
    title: str
    format: str
    ecosystem: str
    url: str
    enabled: bool
    every_hours: int
    in_force: bool
    records: int
    data_at: datetime | None = Field(description="How new the feed says it is.")
    good_at: datetime | None = Field(description="When what is in force was last seen to be current.")
    tried_at: datetime | None
    error: str
    waiting: bool = Field(description="It is about to be fetched or taken.")


class FeedIn(Schema):
    slug: str = Field(min_length=1, max_length=60, description="Small letters, digits and hyphens.")
    title: str = Field("", max_length=200)


class FeedChangeIn(Schema):
    enabled: bool | None = None
    url: str | None = Field(None, max_length=500, description="A mirror of your own; empty: only from files.")
    every_hours: int | None = Field(None, ge=1, le=744)


class FeedPartIn(Schema):
    offset: int = Field(ge=0, description="Where this part begins; 0 begins anew.")
    content: str = Field(max_length=UPLOAD_BYTES, description="Base64.")
    last: bool = Field(default=False, description="With it the file is whole and waits to be taken.")


class FeedPartOut(Schema):
    bytes: int
    waiting: bool


@router.get(
    "/vulnerabilities",
    allow=Permission.DEVICE_VIEW,
    response=Page[VulnerabilityOut],
    summary="List open vulnerabilities, what matters most first",
)
def vulnerability_list(request: ApiRequest, filters: Filters, paging: PagingQuery) -> dict[str, Any]:
    now = current_time()
    found = _picture(request.scope, filters, now)
    ranked, cursor = page_of(queries.vulnerabilities(found), cursor=paging.cursor, limit=paging.limit, order="rank")
    counted = queries.counted(found, ranked)
    rows = queries.names_of([one.pk for one in counted])
    return {"items": [_ranked(rows[one.pk], one, now) for one in counted], "next_cursor": cursor}


@router.get(
    "/vulnerabilities/actions",
    allow=Permission.DEVICE_VIEW,
    response=Page[ActionOut],
    summary="What to do, what removes most risk first",
)
def vulnerability_actions(request: ApiRequest, filters: Filters, paging: PagingQuery) -> dict[str, Any]:
    now = current_time()
    found = _picture(request.scope, filters, now)
    old: list[queries.OldRelease] = []
    if _wish(filters).is_empty and filters.at is None:
        old = old_releases(scope=request.scope, client=filters.client, site=filters.site, device=filters.device)
    listed, cursor = page_of(
        queries.actions(found, old_releases=old), cursor=paging.cursor, limit=paging.limit, order="rank"
    )
    rows = queries.names_of({pk for one in listed for pk in one.first})
    shown = {device for one in listed for device in one.devices[:DEVICES_SHOWN]}
    names = {one.pk: one for one in inventory.devices(scope=request.scope).filter(pk__in=shown)}
    return {
        "items": [
            {
                "kind": one.kind, "sentence": one.sentence, "effect": one.effect, "package": one.package,
                "ecosystem": one.ecosystem, "fix": one.fix, "score": one.score,
                "why": queries.action_why(one, rows, now), "vulnerabilities": one.vulnerabilities,
                "known_exploited": one.exploited, "critical": one.critical, "findings": one.findings,
                "exposed": one.exposed, "device_count": len(one.devices),
                "devices": [names[device] for device in one.devices[:DEVICES_SHOWN] if device in names],
                "gravest": [rows[pk].name for pk in one.first],
            }
            for one in listed
        ],
        "next_cursor": cursor,
    }  # fmt: skip


@router.get(
    "/vulnerabilities/{vulnerability_name}",
    allow=Permission.DEVICE_VIEW,
    response=WholeVulnerabilityOut,
    summary="Show a vulnerability: why its rank, which devices have or had it, what was said of it",
)
def vulnerability_show(request: ApiRequest, vulnerability_name: str) -> dict[str, Any]:
    now = current_time()
    row = queries.vulnerability(scope=request.scope, name=vulnerability_name)
    places = queries.places_of(scope=request.scope, found=row, now=now)
    open_ = [one for one in places if one.gone_at is None]
    own = queries.Rank(
        row.pk,
        row.score
        + ranking.EXPOSED * any(one.exposed for one in open_)
        + ranking.FIXABLE * any(one.fixed for one in open_),
        len({one.device.pk for one in open_}),
        any(one.fixed for one in open_),
        any(one.exposed for one in open_),
        bool(open_) and all(one.only_running for one in open_),
    )
    return {
        **_ranked(row, own, now),
        "cvss_vector": row.cvss_vector,
        "epss_percentile": row.epss_percentile,
        "kev_added_on": row.kev_added_on,
        "published_at": row.published_at,
        "affected": [
            {
                "device": one.device, "client": one.device.client, "package": one.package.name,
                "version": one.package.version, "fixed": one.fixed, "advisory": one.advisory,
                "installed": list(one.binaries), "only_running": one.only_running, "exposed": one.exposed,
                "since": one.since, "gone_at": one.gone_at, "mark": one.mark.mark if one.mark else "",
            }
            for one in places
        ],
        "marks": [_mark(one) for one in queries.marks(scope=request.scope, name=row.name)],
    }  # fmt: skip


@router.post(
    "/vulnerabilities/{vulnerability_name}/marks",
    allow=Permission.RISK_ACCEPT,
    response={201: MarkOut},
    summary="Accept a vulnerability until a day, or mark it as false or not applicable",
)
def vulnerability_mark(request: ApiRequest, vulnerability_name: str, body: MarkIn) -> dict[str, Any]:
    scope = request.scope
    row = queries.vulnerability(scope=scope, name=vulnerability_name)
    device: Device | None = None
    if body.device is not None and body.client is None:
        device = inventory.devices(scope=scope).get(pk=body.device)
        client = device.client
    elif body.client is not None and body.device is None:
        client = clients(scope=scope).get(pk=body.client)
    else:
        raise ValueError("client, device: name one of the two")
    made = services.vulnerability_mark(
        client=client, device=device, vulnerability=row.name, package=body.package, mark=body.mark,
        reason=body.reason, expires_at=body.expires_at, scope=scope, now=current_time(),
    )  # fmt: skip
    return _mark(made)


@router.get(
    "/vulnerability-marks",
    allow=Permission.DEVICE_VIEW,
    response=Page[MarkOut],
    summary="List what was said of vulnerabilities, newest first",
)
def vulnerability_mark_list(
    request: ApiRequest,
    paging: PagingQuery,
    client: UUID | None = None,
    vulnerability: str = "",
    in_force: bool | None = None,  # noqa: FBT001 - a query parameter
) -> dict[str, Any]:
    found = queries.marks(scope=request.scope, name=vulnerability, in_force_at=current_time() if in_force else None)
    if client is not None:
        found = found.filter(client=client)
    return page(found, shape=_mark, cursor=paging.cursor, limit=paging.limit, order=("-at", "-pk"))


@router.post(
    "/vulnerability-marks/{mark_id}/end",
    allow=Permission.RISK_ACCEPT,
    response=MarkOut,
    summary="Take a mark back: the vulnerability counts again",
)
def vulnerability_unmark(request: ApiRequest, mark_id: int) -> dict[str, Any]:
    row = queries.marks(scope=request.scope).get(pk=mark_id)
    return _mark(services.vulnerability_unmark(mark=row, scope=request.scope, now=current_time()))


@router.get(
    "/devices/{device_id}/sbom",
    allow=Permission.DEVICE_VIEW,
    files=MEDIA_TYPE,
    summary="The device's software as CycloneDX 1.6, with purls; `vulnerabilities=true`: and what is open (VEX)",
)
def device_sbom(
    request: ApiRequest,
    device_id: UUID,
    vulnerabilities: bool = False,  # noqa: FBT001, FBT002 - a query parameter
) -> HttpResponse:
    device = inventory.devices(scope=request.scope).get(pk=device_id)
    text = sbom_text(scope=request.scope, device=device, now=current_time(), vulnerabilities=vulnerabilities)
    answer = HttpResponse(text, content_type=MEDIA_TYPE)
    answer["Content-Disposition"] = f'attachment; filename="{device.pk}.cdx.json"'
    return answer


# --- feeds ----------------------------------------------------------------------------------------------------------


@router.get(
    "/vulnerability-feeds",
    allow=Permission.DEVICE_VIEW,
    response=list[FeedOut],
    summary="The feeds of advisories: how new they are, and what went wrong",
)
def vulnerability_feed_list(request: ApiRequest) -> list[dict[str, Any]]:
    return [_feed(one) for one in queries.feeds()]


@router.post(
    "/vulnerability-feeds",
    allow=Permission.SETTINGS_CHANGE,
    response=FeedOut,
    summary="Make a feed that comes from files; one that is there already is shown",
)
def vulnerability_feed_make(request: ApiRequest, body: FeedIn) -> dict[str, Any]:
    return _feed(services.feed_for_file(slug=body.slug, title=body.title, scope=request.scope))


@router.get(
    "/vulnerability-feeds/{feed_slug}",
    allow=Permission.DEVICE_VIEW,
    response=FeedOut,
    summary="Show a feed",
    volatile={"tried_at", "good_at", "waiting"},
)
def vulnerability_feed_show(request: ApiRequest, feed_slug: str) -> dict[str, Any]:
    return _feed(queries.feeds().get(slug=feed_slug))


@router.patch(
    "/vulnerability-feeds/{feed_slug}",
    allow=Permission.SETTINGS_CHANGE,
    response=FeedOut,
    summary="Use a feed or not, or fetch it from elsewhere",
)
def vulnerability_feed_change(request: ApiRequest, feed_slug: str, body: FeedChangeIn) -> dict[str, Any]:
    row = queries.feeds().get(slug=feed_slug)
    changed = services.feed_change(
        feed=row, enabled=body.enabled, url=body.url, every_hours=body.every_hours, scope=request.scope,
        now=current_time(),
    )  # fmt: skip
    return _feed(changed)


@router.delete("/vulnerability-feeds/{feed_slug}", allow=Permission.SETTINGS_CHANGE, summary="Forget a feed")
def vulnerability_feed_remove(request: ApiRequest, feed_slug: str) -> None:
    services.feed_remove(feed=queries.feeds().get(slug=feed_slug), scope=request.scope, now=current_time())


@router.post(
    "/vulnerability-feeds/{feed_slug}/refresh",
    allow=Permission.SETTINGS_CHANGE,
    response=FeedOut,
    summary="Fetch a feed now",
)
def vulnerability_feed_refresh(request: ApiRequest, feed_slug: str) -> dict[str, Any]:
    row = queries.feeds().get(slug=feed_slug)
    return _feed(services.feed_refresh(feed=row, scope=request.scope, now=current_time()))


@router.put(
    "/vulnerability-feeds/{feed_slug}/file",
    allow=Permission.SETTINGS_CHANGE,
    response=FeedPartOut,
    body_bytes=UPLOAD_BYTES,
    summary="Upload a file of a feed, part by part",
)
def vulnerability_feed_upload(request: ApiRequest, feed_slug: str, body: FeedPartIn) -> dict[str, Any]:
    row = queries.feeds().get(slug=feed_slug)
    try:
        part = base64.b64decode(body.content, validate=True)
    except binascii.Error:
        raise ValueError("content: not base64") from None
    size = services.feed_upload(
        home=current_home(), feed=row, offset=body.offset, part=part, last=body.last, scope=request.scope
    )
    return {"bytes": size, "waiting": body.last}


# --- shapes ---------------------------------------------------------------------------------------------------------


def _wish(filters: FindingFilters) -> Wish:
    word = "" if filters.severity == "unrated" else filters.severity
    return Wish(
        severities=frozenset() if word is None else frozenset({word}),
        exploited=filters.exploited,
        fixable=filters.fixable,
        q=filters.q,
        package=filters.package,
    )


def _picture(scope: Scope, filters: FindingFilters, now: datetime) -> Picture:
    if filters.at is not None and filters.at.tzinfo is None:
        raise ValueError(f"at: {filters.at} names no time zone")
    at = None if filters.at is None or filters.at >= now else filters.at
    found = queries.picture(
        scope=scope, now=now, at=at, client=filters.client, site=filters.site, device=filters.device
    )
    return queries.narrowed(found, _wish(filters))


def _ranked(row: Vulnerability, own: queries.Rank, now: datetime) -> dict[str, Any]:
    return {
        "name": row.name, "title": row.title, "severity": row.severity, "score": own.score, "cvss": row.cvss,
        "epss": row.epss, "known_exploited": row.kev_added_on is not None, "kev_due_on": row.kev_due_on,
        "ransomware": row.ransomware, "device_count": own.devices, "fixable": own.fixable, "exposed": own.exposed,
        "only_running": own.only_running, "why": queries.why(row, now, own),
    }  # fmt: skip


def _mark(row: VulnerabilityMark) -> dict[str, Any]:
    return {
        "id": row.pk, "client": row.client, "device": row.device_id, "vulnerability": row.vulnerability,
        "package": row.package, "mark": row.mark, "reason": row.reason, "expires_at": row.expires_at, "at": row.at,
        "by": row.by, "ended_at": row.ended_at, "ended_by": row.ended_by,
    }  # fmt: skip


def _feed(row: Feed) -> dict[str, Any]:
    return {
        "slug": row.slug, "title": row.title, "format": row.format, "ecosystem": row.ecosystem, "url": row.url,
        "enabled": row.enabled, "every_hours": row.every_hours, "in_force": bool(row.index) and row.enabled,
        "records": row.advisories, "data_at": row.data_at, "good_at": row.good_at, "tried_at": row.tried_at,
        "error": row.error,
        "waiting": row.asked_at is not None or services.feed_waits(home=current_home(), feed=row),
    }  # fmt: skip
