"""Feeds as they come: fetched or uploaded, checked, made into an index, and only then in force.

Whatever is wrong with what came (cut off, garbage, half of what there was), the last good stays in force and the feed
says why. The folder of a feed: ``data`` (in force), ``new`` (being fetched), ``index-<digest>`` (made of ``data``).
An index that is gone, damaged or of another version's layout is made again of ``data``.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from django.db import transaction
from django.db.models import Q

from forestall.server.home import Home
from forestall.server.outbox.events import Event
from forestall.server.outbox.services import event_record
from forestall.server.vulnerabilities.definitions import DEFINITIONS, MIB, wanted
from forestall.server.vulnerabilities.downloads import DownloadError, Fetched, fetch
from forestall.server.vulnerabilities.index import Index, IndexUnreadableError
from forestall.server.vulnerabilities.indexing import Made, RefusedError, index_make_apart
from forestall.server.vulnerabilities.models import Feed, PackageVersion

log = logging.getLogger(__name__)

SWITCH = "FORESTALL_FEEDS"
"""``off``: nothing is ever fetched; feeds come from files alone."""
MOST_BYTES = 1024 * MIB
"""Of feeds that nobody has defined."""
RETRY = timedelta(hours=1)
"""After a failure, unless the feed comes round sooner."""
SHRUNK = 0.5
"""A feed that lost more than this share of its records at once is taken for broken, not for news."""
SMALL = 50
"""Below this many records a feed may shrink as it likes."""

Fetch = Callable[..., Fetched]


class Make(Protocol):
    def __call__(self, *, file: Path, folder: Path) -> Made: ...


def downloads_are_on() -> bool:
    return os.environ.get(SWITCH, "").lower() != "off"


def folder_of(home: Home, feed: Feed) -> Path:
    return home.vulnerabilities / "feeds" / feed.slug


def inbox(home: Home) -> Path:
    """Where uploads wait to be taken: one file a feed, named by its slug."""
    return home.vulnerabilities / "inbox"


def index_folder(home: Home, feed: Feed) -> Path | None:
    """The index in force of a feed; None: there is none (never taken, lost with the data folder, damaged, or in the
    layout of another version)."""
    if not feed.index:
        return None
    folder = folder_of(home, feed) / f"index-{feed.index[:16]}"
    return folder if _is_index(folder) else None


def _is_index(folder: Path) -> bool:
    try:
        Index.open(folder)
    except (FileNotFoundError, NotADirectoryError, IndexUnreadableError):
        return False
    return True


def feeds_tick(
    *,
    home: Home,
    now: datetime,
    fetch: Fetch = fetch,
    make: Make = index_make_apart,
    downloads: bool | None = None,
) -> int:
    """Take what was uploaded, and fetch what is due; how many feeds were looked at."""
    done = 0
    waiting = sorted(inbox(home).glob("*")) if inbox(home).is_dir() else []
    for path in waiting:
        if path.name.startswith("."):
            continue  # still being written
        feed = Feed.objects.filter(slug=path.name).first()
        if feed is None:
            path.unlink()
            continue
        feed_take(home=home, feed=feed, file=path, now=now, make=make)
        path.unlink(missing_ok=True)
        done += 1
    for feed in feeds_to_remake(home):
        _remake(home, feed, make, now)
        done += 1
    feeds_ensure()
    if downloads_are_on() if downloads is None else downloads:
        for feed in Feed.objects.filter(enabled=True).exclude(url=""):
            if is_due(feed, home=home, now=now):
                feed_fetch(home=home, feed=feed, now=now, fetch=fetch, make=make)
                done += 1
    return done


def feeds_ensure() -> int:
    """Rows for the feeds that the devices' software needs; how many were made."""
    used = PackageVersion.objects.order_by().values_list("ecosystem", flat=True).distinct()
    made = 0
    known = set(Feed.objects.values_list("slug", flat=True))
    for one in wanted(set(used)):
        if one.slug not in known:
            Feed.objects.get_or_create(
                slug=one.slug,
                defaults={
                    "title": one.title, "format": one.definition.format, "url": one.url, "ecosystem": one.ecosystem,
                    "built_in": True, "every_hours": one.definition.every_hours,
                },
            )  # fmt: skip
            made += 1
    return made


def is_due(feed: Feed, *, home: Home, now: datetime) -> bool:
    """Whether a feed is to be fetched now: asked for, never tried, its time has come, or its index is lost."""
    if feed.asked_at is not None or feed.tried_at is None:
        return True
    every = timedelta(hours=feed.every_hours)
    if feed.error or (feed.index and index_folder(home, feed) is None):
        return now >= feed.tried_at + min(RETRY, every)
    return now >= feed.tried_at + every


def feed_fetch(*, home: Home, feed: Feed, now: datetime, fetch: Fetch = fetch, make: Make = index_make_apart) -> bool:
    """Fetch a feed and take it; whether something new is in force. What went wrong is in its ``error``."""
    folder = folder_of(home, feed)
    # Without its index the same file is wanted once more.
    whole = index_folder(home, feed) is None
    try:
        got = fetch(
            url=feed.url,
            into=folder / "new",
            etag="" if whole else feed.etag,
            last_modified="" if whole else feed.last_modified,
            most_bytes=_most_bytes(feed),
        )
    except DownloadError as error:
        _failed(feed, str(error), now)
        return False
    if got.path is None:
        Feed.objects.filter(pk=feed.pk).update(tried_at=now, good_at=now, asked_at=None, error="")
        return False
    return feed_take(
        home=home, feed=feed, file=got.path, now=now, make=make, etag=got.etag, last_modified=got.last_modified
    )


def feed_take(
    *,
    home: Home,
    feed: Feed,
    file: Path,
    now: datetime,
    make: Make = index_make_apart,
    etag: str = "",
    last_modified: str = "",
) -> bool:
    """Put ``file`` in force as ``feed``; whether that changed anything. Of a bad file the reason is kept, and the
    last good stays in force."""
    marks: dict[str, Any] = {
        "tried_at": now, "good_at": now, "asked_at": None, "error": "", "etag": etag, "last_modified": last_modified,
    }  # fmt: skip
    digest = _digest(file)
    if digest == feed.digest and index_folder(home, feed) is not None:
        Feed.objects.filter(pk=feed.pk).update(**marks)
        return False
    folder = folder_of(home, feed)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = folder / "index-new"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        made = make(file=file, folder=fresh)
        _require_fitting(feed, made)
    except RefusedError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        _failed(feed, f"Not taken: {error}", now)
        return False
    place = _put(fresh, folder, made)
    size = file.stat().st_size
    # A folder may lie on another file system than the upload.
    beside = folder / "data.new"
    shutil.copyfile(file, beside)
    beside.replace(folder / "data")
    (folder / "data.refused").unlink(missing_ok=True)
    with transaction.atomic():
        changed = made.digest != feed.index
        Feed.objects.filter(pk=feed.pk).update(
            **marks,
            digest=digest,
            index=made.digest,
            bytes=size,
            advisories=made.records,
            format=feed.format or (made.formats[0] if made.formats else ""),
            data_at=datetime.fromisoformat(made.data_at) if made.data_at else None,
        )
        if changed:
            event_record(
                event=Event.FEED_CHANGED, subject=feed.slug, at=now, detail={"state": f"{made.records} records"}
            )
    feed.refresh_from_db()
    _drop_others(place)
    file.unlink(missing_ok=True)
    return changed


def feeds_to_remake(home: Home) -> list[Feed]:
    """Feeds that count, and whose index is lost while the file it was made of is still here."""
    rows = Feed.objects.filter(~Q(index=""), enabled=True).order_by("slug")
    return [feed for feed in rows if index_folder(home, feed) is None and (folder_of(home, feed) / "data").is_file()]


def _remake(home: Home, feed: Feed, make: Make, now: datetime) -> None:
    """Make a lost index again of the file in force. It is no news: when it was fetched stays as it was."""
    folder = folder_of(home, feed)
    fresh = folder / "index-new"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        made = make(file=folder / "data", folder=fresh)
    except RefusedError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        # Not tried again and again; until another file comes the feed does not count.
        (folder / "data").replace(folder / "data.refused")
        _failed(feed, f"Its index was lost, and the file that was kept gives no other: {error}", now)
        return
    place = _put(fresh, folder, made)
    Feed.objects.filter(pk=feed.pk).update(index=made.digest, advisories=made.records)
    _drop_others(place)
    log.info("feed %s: its index was lost, and is made again of the file that was kept", feed.slug)


def _put(fresh: Path, folder: Path, made: Made) -> Path:
    """Where a new index lies from now: its folder's name is its content's digest."""
    place = folder / f"index-{made.digest[:16]}"
    if _is_index(place):
        shutil.rmtree(fresh)
        return place
    if place.exists():
        shutil.rmtree(place)
    fresh.replace(place)
    return place


def _drop_others(place: Path) -> None:
    for old in place.parent.glob("index-*"):
        if old != place:
            shutil.rmtree(old, ignore_errors=True)


def _require_fitting(feed: Feed, made: Made) -> None:
    """RefusedError for a file that is something else than this feed, or only part of it."""
    if feed.format and feed.built_in and made.formats and feed.format not in made.formats:
        raise RefusedError(f"it is {' and '.join(made.formats)}, and {feed.slug} is {feed.format}")
    if feed.advisories >= SMALL and made.records < feed.advisories * SHRUNK:
        raise RefusedError(
            f"it has {made.records:,} records where there were {feed.advisories:,}: that looks cut off. If it is meant,"
            " remove the feed and take it anew"
        )


def _failed(feed: Feed, why: str, now: datetime) -> None:
    log.warning("feed %s: %s", feed.slug, why)
    Feed.objects.filter(pk=feed.pk).update(tried_at=now, asked_at=None, error=why[:1000])
    feed.refresh_from_db()


def _most_bytes(feed: Feed) -> int:
    fitting = [one for one in DEFINITIONS if feed.slug == one.slug or feed.slug.startswith(f"{one.slug}-")]
    return fitting[0].most_bytes if feed.built_in and fitting else MOST_BYTES


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def feeds_in_force(home: Home) -> list[tuple[Feed, Path]]:
    """Feeds that count now, with the folders of their indexes."""
    rows = Feed.objects.filter(~Q(index=""), enabled=True).order_by("slug")
    return [(feed, folder) for feed in rows if (folder := index_folder(home, feed)) is not None]
