"""Changes that people make: marks on vulnerabilities, and which feeds are used, from where."""

from __future__ import annotations

import os
import re
from datetime import datetime
from uuid import UUID

from django.db import transaction

from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import evidence_append
from forestall.server.home import Home
from forestall.server.inventory import queries as inventory
from forestall.server.inventory.models import Device
from forestall.server.people.models import Client
from forestall.server.people.scope import Permission, Scope
from forestall.server.vulnerabilities import rules, taking, upkeep
from forestall.server.vulnerabilities.definitions import DEFINITIONS
from forestall.server.vulnerabilities.downloads import DownloadError, url_check
from forestall.server.vulnerabilities.models import Feed, VulnerabilityMark
from forestall.server.vulnerabilities.rules import MarkError

PART_BYTES = 8 << 20
"""Of one part of an upload."""
SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
MOST_FEEDS = 200


class FeedChangeError(ValueError):
    """A change of a feed, or an upload, that cannot be; names the bad value."""


# --- marks ----------------------------------------------------------------------------------------------------------


@transaction.atomic
def vulnerability_mark(
    *,
    client: Client,
    device: Device | None = None,
    vulnerability: str,
    package: str = "",
    mark: str,
    reason: str,
    expires_at: datetime | None = None,
    scope: Scope,
    now: datetime,
) -> VulnerabilityMark:
    """Say of a vulnerability at a client (``device`` None: on all its devices) that it is accepted until a day, a
    false positive, or not applicable. Of the same place an earlier mark of it ends with that.

    NotAllowedError without ``risk.accept`` there; MarkError names what is wrong.
    """
    if device is not None:
        device = inventory.devices(scope=scope).get(pk=device.pk)
        if device.client_id != client.pk:
            raise MarkError(f"device: {device.name} is not of {client.name}")
    scope.require(Permission.RISK_ACCEPT, on=client if device is None else device)
    rules.mark_check(mark=mark, name=vulnerability, reason=reason, expires_at=expires_at, now=now)
    if len(package) > 200:
        raise MarkError("package: a name has at most 200 characters")
    same = VulnerabilityMark.objects.visible_to(scope, by=Permission.RISK_ACCEPT).filter(
        client=client,
        device_id=None if device is None else device.pk,
        vulnerability=vulnerability,
        package=package,
        ended_at=None,
    )
    same.update(ended_at=now, ended_by=scope.who)
    row: VulnerabilityMark = VulnerabilityMark.objects.create(
        client=client,
        device_id=None if device is None else device.pk,
        vulnerability=vulnerability,
        package=package,
        mark=mark,
        reason=reason.strip(),
        expires_at=expires_at,
        at=now,
        by=scope.who,
    )
    _recorded(row, device, "made", scope, now)
    return row


@transaction.atomic
def vulnerability_unmark(*, mark: VulnerabilityMark, scope: Scope, now: datetime) -> VulnerabilityMark:
    """Take a mark back: the vulnerability counts again from now. MarkError when it has ended already."""
    device = None if mark.device_id is None else inventory.devices(scope=scope).get(pk=mark.device_id)
    scope.require(Permission.RISK_ACCEPT, on=mark.client if device is None else device)
    rows = VulnerabilityMark.objects.visible_to(scope).filter(pk=mark.pk)
    if rows.filter(ended_at=None).update(ended_at=now, ended_by=scope.who) != 1:
        raise MarkError(f"mark: it was taken back already, by {mark.ended_by}")
    row: VulnerabilityMark = rows.select_related("client").get()
    _recorded(row, device, "taken back", scope, now)
    return row


def _recorded(row: VulnerabilityMark, device: Device | None, act: str, scope: Scope, now: datetime) -> None:
    evidence_append(
        client=row.client,
        kind=EvidenceKind.VULNERABILITY_MARKED,
        payload={
            "act": act,
            "vulnerability": row.vulnerability,
            "package": row.package,
            "device": None if device is None else device.name,
            "mark": row.mark,
            "reason": row.reason,
            "expires_at": row.expires_at,
            "by": scope.who,
        },
        now=now,
        device_id=row.device_id,
        site_id=None if device is None else device.site_id,
    )


# --- feeds ----------------------------------------------------------------------------------------------------------


@transaction.atomic
def feed_change(
    *,
    feed: Feed,
    enabled: bool | None = None,
    url: str | None = None,
    every_hours: int | None = None,
    scope: Scope,
    now: datetime,
) -> Feed:
    """Use a feed or not, fetch it from elsewhere (a mirror of one's own; empty: only from files), or at another pace.

    NotAllowedError unless the scope may change the installation's settings; FeedChangeError names the bad value.
    """
    scope.require_everywhere(Permission.SETTINGS_CHANGE)
    row = Feed.objects.select_for_update().get(pk=feed.pk)
    if url is not None and url != row.url:
        if url:
            try:
                url_check(url)
            except DownloadError as error:
                raise FeedChangeError(str(error)) from None
        row.url, row.etag, row.last_modified, row.asked_at = url[:500], "", "", now
    if every_hours is not None:
        if not 1 <= every_hours <= 24 * 31:
            raise FeedChangeError(f"every_hours: {every_hours} is not between 1 and 744")
        row.every_hours = every_hours
    if enabled is not None:
        row.enabled = enabled
    row.save()
    return row


@transaction.atomic
def feed_refresh(*, feed: Feed, scope: Scope, now: datetime) -> Feed:
    """Fetch it with the next round. FeedChangeError where it comes from files alone, or is not used."""
    scope.require_everywhere(Permission.SETTINGS_CHANGE)
    row = Feed.objects.select_for_update().get(pk=feed.pk)
    if not row.enabled:
        raise FeedChangeError(f"feed: {row.slug} is switched off")
    if not row.url:
        raise FeedChangeError(f"feed: {row.slug} has no address; it comes from files")
    if not taking.downloads_are_on():
        raise FeedChangeError(f"feed: {taking.SWITCH}=off, nothing is fetched; import a file")
    row.asked_at = now
    row.save(update_fields=["asked_at"])
    return row


@transaction.atomic
def feed_remove(*, feed: Feed, scope: Scope, now: datetime) -> None:
    """Forget a feed: what it alone said is taken back. One that a device needs comes again, empty, by itself."""
    scope.require_everywhere(Permission.SETTINGS_CHANGE)
    Feed.objects.filter(pk=feed.pk).delete()


@transaction.atomic
def feed_for_file(*, slug: str, title: str = "", scope: Scope) -> Feed:
    """The feed of that name, to upload a file of it; made when there is none. FeedChangeError names the bad value."""
    scope.require_everywhere(Permission.SETTINGS_CHANGE)
    if not SLUG.fullmatch(slug):
        raise FeedChangeError(f"feed: {slug[:60]!r} is no name: small letters, digits and hyphens, at most 60")
    known = Feed.objects.filter(slug=slug).first()
    if known is not None:
        return known
    if Feed.objects.count() >= MOST_FEEDS:
        raise FeedChangeError(f"feed: there are {MOST_FEEDS}; remove one first")
    defined = next((one for one in DEFINITIONS if one.slug == slug), None)
    if defined is not None:
        return Feed.objects.create(
            slug=slug, title=defined.title, format=defined.format, url=defined.url, ecosystem=defined.ecosystem,
            built_in=True, every_hours=defined.every_hours,
        )  # fmt: skip
    return Feed.objects.create(slug=slug, title=(title or f"From files: {slug}")[:200], format="", url="")


def feed_upload(*, home: Home, feed: Feed, offset: int, part: bytes, last: bool, scope: Scope) -> int:
    """Take a part of a file for a feed; how many bytes are there. With the ``last`` one the file waits for the worker.

    Parts come one after the other; ``offset`` 0 begins anew. FeedChangeError for a part that does not fit.
    """
    scope.require_everywhere(Permission.SETTINGS_CHANGE)
    folder = taking.inbox(home)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f".{feed.slug}.part"
    have = path.stat().st_size if path.exists() and offset else 0
    if offset != have:
        raise FeedChangeError(f"offset: {offset:,}; {have:,} bytes are here. Begin again at 0, or go on from there")
    if len(part) > PART_BYTES or have + len(part) > taking.MOST_BYTES:
        raise FeedChangeError(
            f"content: a part has at most {PART_BYTES:,} bytes, a file {taking.MOST_BYTES:,}; these are too many"
        )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | (os.O_APPEND if offset else os.O_TRUNC), 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(part)
        if last:
            file.flush()
            os.fsync(file.fileno())
    if last:
        path.replace(folder / feed.slug)
    return have + len(part)


def feed_waits(*, home: Home, feed: Feed) -> bool:
    """Whether an uploaded file waits to be taken."""
    return (taking.inbox(home) / feed.slug).exists()


def slug_of(name: str) -> str:
    """A feed's name for a file: ``almalinux9.jsonl.xz`` is ``file-almalinux9``."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower().partition(".")[0]).strip("-") or "feed"
    return f"file-{plain}"[:60].rstrip("-")


# --- what the loop calls ----------------------------------------------------------------------------------------------


def device_note_by_id(*, device_id: str | UUID, documents: list[str], now: datetime) -> None:
    """A device sent documents: its software is looked at again."""
    upkeep.device_note(device_id=device_id, documents=documents, now=now)


def feeds_tick(*, home: Home, now: datetime) -> int:
    """Take what was uploaded, fetch what is due."""
    return taking.feeds_tick(home=home, now=now)


def vulnerabilities_tick(*, home: Home, now: datetime) -> int:
    """Bring versions and devices in line with what feeds and scans say."""
    return upkeep.upkeep(home=home, now=now)
