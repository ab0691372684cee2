"""Feeds as they come: the good ones count, of the bad ones the reason is kept, and nothing that counts is lost."""

from __future__ import annotations

import gzip
import shutil
import sys
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from forestall.server.home import Home
from forestall.server.outbox.models import OutboxEvent
from forestall.server.people.scope import NotAllowedError, Permission, Scope
from forestall.server.people.services import client_create, site_create
from forestall.server.vulnerabilities import services, taking, upkeep
from forestall.server.vulnerabilities.definitions import DEFINITIONS, wanted
from forestall.server.vulnerabilities.downloads import DownloadError, Fetched, url_check
from forestall.server.vulnerabilities.feeds import FORMATS
from forestall.server.vulnerabilities.index import CATALOGUE, LAYOUT, Index, IndexUnreadableError
from forestall.server.vulnerabilities.indexing import RefusedError, index_make, index_make_apart
from forestall.server.vulnerabilities.models import DeviceVulnerability, Feed, PackageVulnerability
from forestall.server.vulnerabilities.services import FeedChangeError
from forestall.server.vulnerabilities.tests.story import (
    ALMA,
    ALMA_HOST,
    NOW,
    SUDO,
    SYSTEM,
    deb,
    device,
    kev,
    report,
    settle,
    take,
    tracker,
)

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
KEV_URL, ALMA_URL, EPSS_URL, DEBIAN_URL = (
    next(one.url for one in DEFINITIONS if one.slug == slug) for slug in ("kev", "almalinux", "epss", "debian-tracker")
)
MANY = [f"CVE-2026-{number}" for number in range(10_000, 10_060)]
EPSS = "#model_version:v2025.03.14,score_date:2026-11-22T00:00:00+0000\ncve,epss,percentile\nCVE-2025-32462,0.5,0.9\n"


class Publisher:
    """All publishers at once, behind the real interface: what lies where, and whether the line is up."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.down = ""
        """What is wrong with the line."""
        self.asked: list[tuple[str, str]] = []
        """Address and mark of each call."""

    def fetch(self, *, url: str, into: Path, etag: str, last_modified: str, most_bytes: int) -> Fetched:
        self.asked.append((url, etag))
        if self.down:
            raise DownloadError(self.down)
        content = self.files.get(url)
        if content is None:
            raise DownloadError("it answered HTTP 404 Not Found")
        mark = f'"{hash(content)}"'
        if mark == etag:
            return Fetched(None, etag, last_modified)
        assert len(content) <= most_bytes
        into.parent.mkdir(parents=True, exist_ok=True)
        into.write_bytes(content)
        return Fetched(into, mark, "")

    def addresses(self) -> list[str]:
        """Where somebody asked since the last time this was."""
        asked, self.asked = sorted(url for url, _ in self.asked), []
        return asked


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def publisher() -> Publisher:
    made = Publisher()
    made.files = {
        KEV_URL: kev(SUDO).encode(), ALMA_URL: ALMA.read_bytes(), EPSS_URL: gzip.compress(EPSS.encode()),
        DEBIAN_URL: tracker(curl={"CVE-2026-1": ("8-1", "high")}).encode(),
    }  # fmt: skip
    return made


@pytest.fixture
def acme():
    return site_create(client=client_create(name="Acme", timezone="UTC"), name="Main site")


@pytest.fixture
def tick(publisher):
    """A round of the worker, with the publishers of this story."""

    def round_(home: Home, now: datetime, *, downloads: bool = True) -> int:
        return taking.feeds_tick(home=home, now=now, fetch=publisher.fetch, make=index_make, downloads=downloads)

    return round_


def kev_feed(**more: object) -> Feed:
    return Feed.objects.create(
        **{"slug": "kev", "title": "KEV", "format": "kev", "url": KEV_URL, "built_in": True, "every_hours": 6, **more}
    )


def told() -> list[str]:
    return [one.subject for one in OutboxEvent.objects.filter(name="feed.changed").order_by("pk")]


def in_force(home: Home) -> list[str]:
    return [feed.slug for feed, _ in taking.feeds_in_force(home)]


def exploited(home: Home) -> set[str]:
    """What counts as exploited now."""
    return {cve for _, folder in taking.feeds_in_force(home) for cve in Index.open(folder).exploited}


# --- what comes -----------------------------------------------------------------------------------------------------


def test_a_good_feed_is_in_force_and_told_once(home, publisher, tick):
    feed = kev_feed()
    assert tick(home, NOW) == 1
    feed.refresh_from_db()
    assert (feed.error, feed.advisories, feed.tried_at, feed.good_at) == ("", 1, NOW, NOW)
    assert feed.bytes == len(publisher.files[KEV_URL])
    assert exploited(home) == {SUDO}
    assert told() == ["kev"]
    # Before its time it is left alone; when it comes round unchanged, or only written otherwise, nobody is told.
    assert tick(home, NOW + 5 * HOUR) == 0
    assert tick(home, NOW + 6 * HOUR) == 1
    assert publisher.asked[-1][1] == feed.etag != ""
    publisher.files[KEV_URL] += b"\n"
    tick(home, NOW + 12 * HOUR)
    feed.refresh_from_db()
    assert feed.good_at == NOW + 12 * HOUR
    assert told() == ["kev"]
    publisher.files[KEV_URL] = kev(SUDO, "CVE-2026-1").encode()
    tick(home, NOW + 18 * HOUR)
    assert exploited(home) == {SUDO, "CVE-2026-1"}
    assert told() == ["kev", "kev"]
    # One folder in force, nothing left over of those before.
    assert len(list((home.vulnerabilities / "feeds" / "kev").iterdir())) == 2


GOOD = kev(SUDO).encode()
GARBAGE = {
    "a page of a captive portal": (b"<!DOCTYPE html><html><body>Please sign in</body></html>", "no feed that is known"),
    "nothing at all": (b"", "no feed that is known"),
    "a cut-off gzip": (gzip.compress(GOOD)[:-9], "cut off"),
    "a damaged gzip": (gzip.compress(GOOD)[:30] + b"\0" * 20 + gzip.compress(GOOD)[50:], "damaged or cut off"),
    "a cut-off zip": (b"PK\x03\x04" + GOOD[:40], "damaged or cut off"),
    "a truncated json": (GOOD[:-40], ""),
    "noise": (bytes(range(256)) * 8, ""),
    "an empty object": (b"{}", "no feed that is known"),
    "an error in JSON": (b'{"error": "rate limit exceeded"}', "no feed that is known"),
    "a catalogue of nothing": (kev().encode(), "no feed that is known"),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_leaves_the_last_good_in_force_and_says_why(home, publisher, tick, kind):
    feed = kev_feed()
    tick(home, NOW)
    content, why = GARBAGE[kind]
    publisher.files[KEV_URL] = content
    tick(home, NOW + 6 * HOUR)
    feed.refresh_from_db()
    assert feed.error.startswith("Not taken: ")
    assert why in feed.error
    assert len(feed.error) > len("Not taken: ")
    assert str(home.root) not in feed.error
    assert (feed.tried_at, feed.good_at, feed.advisories) == (NOW + 6 * HOUR, NOW, 1)
    assert exploited(home) == {SUDO}
    assert told() == ["kev"]
    # Its publisher mends it: an hour later it is taken, and the complaint is gone.
    publisher.files[KEV_URL] = kev(SUDO, "CVE-2026-1").encode()
    assert tick(home, NOW + 6 * HOUR + HOUR / 2) == 0
    tick(home, NOW + 7 * HOUR)
    feed.refresh_from_db()
    assert feed.error == ""
    assert exploited(home) == {SUDO, "CVE-2026-1"}


def test_garbage_for_a_feed_that_never_was_leaves_it_without_any(home, publisher, tick):
    feed = kev_feed()
    publisher.files[KEV_URL] = b"<html>"
    tick(home, NOW)
    feed.refresh_from_db()
    assert (feed.index, feed.good_at) == ("", None)
    assert feed.error
    assert in_force(home) == told() == []


def test_a_feed_that_lost_most_of_itself_is_taken_for_broken(home, publisher, tick):
    feed = kev_feed()
    publisher.files[KEV_URL] = kev(*MANY).encode()
    tick(home, NOW)
    publisher.files[KEV_URL] = kev(*MANY[:29]).encode()
    tick(home, NOW + DAY)
    feed.refresh_from_db()
    assert "29 records where there were 60" in feed.error
    assert exploited(home) == set(MANY)
    # Half of it may go, and of a small feed anything.
    publisher.files[KEV_URL] = kev(*MANY[:30]).encode()
    tick(home, NOW + 2 * DAY)
    assert exploited(home) == set(MANY[:30])
    publisher.files[KEV_URL] = kev(*MANY[:1]).encode()
    tick(home, NOW + 3 * DAY)
    feed.refresh_from_db()
    assert feed.error == ""
    assert exploited(home) == set(MANY[:1])


def test_a_feed_of_another_kind_is_not_taken_in_its_place(home, publisher, tick):
    feed = kev_feed()
    tick(home, NOW)
    publisher.files[KEV_URL] = publisher.files[DEBIAN_URL]
    tick(home, NOW + DAY)
    feed.refresh_from_db()
    assert feed.error == "Not taken: it is debian-tracker, and kev is kev"
    assert exploited(home) == {SUDO}
    # A feed of somebody's own files is whatever is in them.
    own = take(home, "file-own", ALMA)
    assert (own.error, own.format) == ("", "osv")


# --- the reader -----------------------------------------------------------------------------------------------------


def test_a_reader_that_dies_takes_nothing_with_it(home, tmp_path, monkeypatch):
    feed = kev_feed()
    file = tmp_path / "kev.json"
    for death, words in (("kill -9 $$", "ended with status -9"), ("echo 'out of luck' >&2; exit 3", "out of luck")):
        take(home, "kev", kev(SUDO))
        reader = tmp_path / "reader"
        reader.write_text(f"#!/bin/sh\n{death}\n")
        reader.chmod(0o700)
        file.write_text(kev(SUDO, "CVE-2026-1"))
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(reader))
            assert not taking.feed_take(home=home, feed=feed, file=file, now=NOW + DAY, make=index_make_apart)
        feed.refresh_from_db()
        assert feed.error == f"Not taken: its reader failed: {words}"
        assert exploited(home) == {SUDO}


def test_the_reader_is_a_process_of_its_own_and_says_what_it_made(tmp_path):
    file = tmp_path / "kev.json"
    file.write_text(kev(SUDO))
    made = index_make_apart(file=file, folder=tmp_path / "apart")
    assert made == index_make(file=file, folder=tmp_path / "here")
    assert (made.records, made.formats) == (1, ("kev",))
    assert Index.open(tmp_path / "apart").digest == made.digest
    file.write_bytes(GARBAGE["a page of a captive portal"][0])
    with pytest.raises(RefusedError, match="no feed that is known"):
        index_make_apart(file=file, folder=tmp_path / "not")
    assert not (tmp_path / "not").exists()


# --- which ones, and when -------------------------------------------------------------------------------------------


def test_only_what_the_devices_need_is_fetched(home, acme, publisher, tick):
    tick(home, NOW)
    assert publisher.addresses() == []
    report(device(acme, "web"), *ALMA_HOST)
    settle(home)
    tick(home, NOW)
    assert publisher.addresses() == sorted([KEV_URL, EPSS_URL, ALMA_URL])
    assert in_force(home) == ["almalinux", "epss", "kev"]
    # The catalogues and the errata of a release that only a new device has come when it does.
    report(device(acme, "db"), deb("curl", "7-1"), os_id="debian", version="12")
    settle(home)
    tick(home, NOW + HOUR)
    assert publisher.addresses() == [DEBIAN_URL]


def test_there_is_a_feed_for_each_release_in_use():
    found = {one.slug: one.url for one in wanted({"Ubuntu:22.04", "Ubuntu:23.10", "Alpine:v3.20"})}
    assert set(found) == {
        "kev", "epss", "ubuntu-22-04", "ubuntu-23-10", "alpine-main-v3-20", "alpine-community-v3-20"
    }  # fmt: skip
    assert found["ubuntu-22-04"].endswith("/Ubuntu:22.04:LTS/all.zip")
    assert found["ubuntu-23-10"].endswith("/Ubuntu:23.10/all.zip")
    assert found["alpine-main-v3-20"].endswith("/v3.20/main.json")


def test_every_feed_we_know_has_a_format_we_read():
    assert {one.format for one in DEFINITIONS} <= set(FORMATS)
    assert len({one.slug for one in DEFINITIONS}) == len(DEFINITIONS)
    for one in DEFINITIONS:
        assert services.SLUG.fullmatch(one.slug)
        assert one.url.startswith("https:")
        url_check(one.url)
        assert one.each_release == ("{ecosystem}" in one.url or "{release}" in one.url)
        assert 1 <= one.every_hours <= 24 * 31


def test_a_line_that_is_down_is_said_and_the_last_good_counts(home, publisher, tick):
    feed = kev_feed()
    tick(home, NOW)
    publisher.down = "the name www.cisa.gov leads nowhere: is this server allowed out to the internet?"
    publisher.addresses()
    for hours in (6, 6.5, 7, 7.5):
        tick(home, NOW + hours * HOUR)
    assert len(publisher.addresses()) == 2  # at its time, and an hour after: nobody is pestered
    feed.refresh_from_db()
    assert feed.error == publisher.down
    assert (feed.tried_at, feed.good_at) == (NOW + 7 * HOUR, NOW)
    assert exploited(home) == {SUDO}
    publisher.down = ""
    tick(home, NOW + 8 * HOUR)
    feed.refresh_from_db()
    # Unchanged since, and so good as of now.
    assert (feed.error, feed.good_at) == ("", NOW + 8 * HOUR)
    assert told() == ["kev"]


def test_where_downloads_are_off_nothing_is_fetched(home, publisher, tick, monkeypatch):
    kev_feed()
    assert tick(home, NOW, downloads=False) == 0
    monkeypatch.setenv(taking.SWITCH, "OFF")
    assert taking.feeds_tick(home=home, now=NOW, fetch=publisher.fetch, make=index_make) == 0
    assert publisher.asked == []
    monkeypatch.delenv(taking.SWITCH)
    assert taking.feeds_tick(home=home, now=NOW, fetch=publisher.fetch, make=index_make) == 1


# --- an index that is lost ------------------------------------------------------------------------------------------


def lose(folder: Path) -> None:
    shutil.rmtree(folder)


def change_layout(folder: Path) -> None:
    said = msgspec.msgpack.decode((folder / CATALOGUE).read_bytes())
    (folder / CATALOGUE).write_bytes(msgspec.msgpack.encode([LAYOUT - 1, *said[1:]]))
    with pytest.raises(IndexUnreadableError, match="layout"):
        Index.open(folder)


def cut_off(folder: Path) -> None:
    (folder / CATALOGUE).write_bytes((folder / CATALOGUE).read_bytes()[:-3])


def empty(folder: Path) -> None:
    (folder / CATALOGUE).unlink()


@pytest.mark.parametrize("harm", [lose, change_layout, cut_off, empty])
def test_an_index_that_was_lost_is_made_again_of_the_file_that_was_kept(home, acme, publisher, tick, harm):
    report(device(acme, "web"), *ALMA_HOST)
    take(home, "almalinux", ALMA)
    settle(home)
    feed = Feed.objects.get(slug="almalinux")
    rows = sorted(PackageVulnerability.objects.values_list("pk", "known_at", "gone_at"))
    assert rows
    folder = taking.index_folder(home, feed)
    harm(folder)
    upkeep._open.clear()  # as after a restart
    assert taking.index_folder(home, feed) is None
    # Until it is there again nothing is matched, nothing taken back, and nothing raised.
    report(device(acme, "db"), *ALMA_HOST)
    later = NOW + DAY
    assert upkeep.upkeep(home=home, now=later) == 0
    assert tick(home, later, downloads=False) == 1
    assert Index.open(folder).digest == feed.index
    assert tick(home, later, downloads=False) == 0
    settle(home, later)
    assert sorted(PackageVulnerability.objects.values_list("pk", "known_at", "gone_at")) == rows
    assert DeviceVulnerability.objects.visible_to(SYSTEM).filter(package__name="sudo", gone_at=None).count() == 2
    feed.refresh_from_db()
    assert (feed.error, feed.good_at) == ("", NOW)
    assert told() == ["almalinux"]
    assert publisher.asked == []


@pytest.mark.parametrize("harm", [lose, change_layout])
def test_an_index_that_was_lost_with_its_file_is_fetched_again_whole(home, publisher, tick, harm):
    feed = kev_feed()
    tick(home, NOW)
    feed.refresh_from_db()
    harm(taking.index_folder(home, feed))
    (taking.folder_of(home, feed) / "data").unlink()
    upkeep.upkeep(home=home, now=NOW)
    tick(home, NOW + HOUR / 2)
    assert exploited(home) == set()
    tick(home, NOW + HOUR)
    assert [etag for _, etag in publisher.asked] == ["", ""]
    assert exploited(home) == {SUDO}
    assert told() == ["kev"]


def test_a_file_that_gives_no_index_any_more_is_said_and_put_aside(home, acme, publisher, tick):
    report(device(acme, "web"), *ALMA_HOST)
    feed = take(home, "almalinux", ALMA)
    settle(home)
    lose(taking.index_folder(home, feed))
    kept = taking.folder_of(home, feed) / "data"
    kept.write_bytes(b"\0" * 100)
    assert upkeep.upkeep(home=home, now=NOW) == 0
    tick(home, NOW, downloads=False)
    feed.refresh_from_db()
    assert feed.error.startswith("Its index was lost, and the file that was kept gives no other: ")
    assert tick(home, NOW, downloads=False) == 0
    # What it said does not hold up the rest.
    settle(home)
    assert not PackageVulnerability.objects.filter(gone_at=None).exists()
    take(home, "almalinux", ALMA)
    settle(home)
    assert in_force(home) == ["almalinux"]
    assert not kept.with_name("data.refused").exists()


def test_the_same_file_makes_an_index_of_another_layout_good_again(home):
    feed = take(home, "kev", kev(SUDO))
    change_layout(taking.index_folder(home, feed))
    take(home, "kev", kev(SUDO))
    assert exploited(home) == {SUDO}
    assert told() == ["kev"]


# --- from files -----------------------------------------------------------------------------------------------------


def test_an_upload_comes_in_parts_and_is_taken_by_the_worker(home, tick):
    content = ALMA.read_bytes()
    feed = services.feed_for_file(slug=services.slug_of("AlmaLinux 9.jsonl.xz"), scope=SYSTEM)
    assert (feed.slug, feed.url) == ("file-almalinux-9", "")
    middle = len(content) // 2
    put = {"home": home, "feed": feed, "scope": SYSTEM}
    assert services.feed_upload(offset=0, part=b"begun once before", last=False, **put) == 17
    assert services.feed_upload(offset=0, part=content[:middle], last=False, **put) == middle
    assert not services.feed_waits(home=home, feed=feed)
    assert tick(home, NOW) == 0  # half a file is not looked at
    with pytest.raises(FeedChangeError, match=rf"offset: 7; {middle:,} bytes are here"):
        services.feed_upload(offset=7, part=b"x", last=True, **put)
    assert services.feed_upload(offset=middle, part=content[middle:], last=True, **put) == len(content)
    assert services.feed_waits(home=home, feed=feed)
    assert tick(home, NOW, downloads=False) == 1
    assert not services.feed_waits(home=home, feed=feed)
    feed.refresh_from_db()
    assert (feed.error, feed.format, feed.bytes) == ("", "osv", len(content))
    assert in_force(home) == ["file-almalinux-9"]
    assert list(taking.inbox(home).iterdir()) == []


def test_a_bad_upload_is_said_and_does_not_wait_for_ever(home, tick):
    feed = take(home, "kev", kev(SUDO))
    services.feed_upload(home=home, feed=feed, offset=0, part=b"<html>", last=True, scope=SYSTEM)
    tick(home, NOW, downloads=False)
    feed.refresh_from_db()
    assert feed.error.startswith("Not taken: ")
    assert exploited(home) == {SUDO}
    assert not services.feed_waits(home=home, feed=feed)
    # A file of a feed that was removed meanwhile belongs to nobody.
    services.feed_upload(home=home, feed=feed, offset=0, part=b"x", last=True, scope=SYSTEM)
    services.feed_remove(feed=feed, scope=SYSTEM, now=NOW)
    assert tick(home, NOW, downloads=False) == 0
    assert list(taking.inbox(home).iterdir()) == []


def test_an_upload_has_its_bounds(home, monkeypatch):
    feed = kev_feed()
    monkeypatch.setattr(services, "PART_BYTES", 10)
    monkeypatch.setattr(taking, "MOST_BYTES", 15)
    put = {"home": home, "feed": feed, "last": False, "scope": SYSTEM}
    with pytest.raises(FeedChangeError, match="at most 10 bytes"):
        services.feed_upload(offset=0, part=b"x" * 11, **put)
    services.feed_upload(offset=0, part=b"x" * 10, **put)
    with pytest.raises(FeedChangeError, match="a file 15"):
        services.feed_upload(offset=10, part=b"x" * 6, **put)
    with pytest.raises(FeedChangeError, match=r"feed: '\.\./kev' is no name"):
        services.feed_for_file(slug="../kev", scope=SYSTEM)


# --- people ---------------------------------------------------------------------------------------------------------


def test_feeds_are_changed_by_those_alone_who_look_after_the_installation(home, acme):
    feed = kev_feed()
    everything = list(Permission)
    ben = Scope.at("ben", 2, [one for one in everything if one is not Permission.SETTINGS_CHANGE])
    carla = Scope.at("carla", 3, everything, clients=[acme.client_id])
    for scope in (ben, carla):
        for forbidden in (
            lambda scope=scope: services.feed_change(feed=feed, enabled=False, scope=scope, now=NOW),
            lambda scope=scope: services.feed_refresh(feed=feed, scope=scope, now=NOW),
            lambda scope=scope: services.feed_remove(feed=feed, scope=scope, now=NOW),
            lambda scope=scope: services.feed_for_file(slug="file-own", scope=scope),
            lambda scope=scope: services.feed_upload(home=home, feed=feed, offset=0, part=b"x", last=True, scope=scope),
        ):
            with pytest.raises(NotAllowedError):
                forbidden()
    assert Feed.objects.get().enabled
    assert not taking.inbox(home).exists()
    ada = Scope.at("ada", 1, [Permission.SETTINGS_CHANGE])
    mirror = "https://mirror.example.org/kev.json"
    changed = services.feed_change(feed=feed, url=mirror, every_hours=2, scope=ada, now=NOW)
    assert (changed.url, changed.every_hours, changed.asked_at) == (mirror, 2, NOW)
    for bad, words in (
        ({"url": "file:///etc/passwd"}, "is no http or https address"),
        ({"url": "http://169.254.169.254/latest"}, "link-local"),
        ({"every_hours": 0}, "every_hours: 0"),
        ({"every_hours": 745}, "every_hours: 745"),
    ):
        with pytest.raises(FeedChangeError, match=words):
            services.feed_change(feed=feed, scope=ada, now=NOW, **bad)
    services.feed_remove(feed=feed, scope=ada, now=NOW)
    assert not Feed.objects.exists()


def test_a_feed_from_elsewhere_is_fetched_at_once_and_whole(home, publisher, tick):
    feed = kev_feed()
    tick(home, NOW)
    mirror = "https://mirror.example.org/kev.json"
    publisher.files[mirror] = kev("CVE-2026-1").encode()
    publisher.asked = []
    services.feed_change(feed=feed, url=mirror, scope=SYSTEM, now=NOW)
    tick(home, NOW)
    assert publisher.asked == [(mirror, "")]
    assert exploited(home) == {"CVE-2026-1"}
    # Without an address it only comes from files.
    services.feed_change(feed=feed, url="", scope=SYSTEM, now=NOW)
    assert tick(home, NOW + DAY) == 0


def test_whoever_cannot_wait_asks_for_a_feed_now(home, publisher, tick, monkeypatch):
    monkeypatch.delenv(taking.SWITCH, raising=False)
    feed = kev_feed()
    tick(home, NOW)
    services.feed_refresh(feed=feed, scope=SYSTEM, now=NOW)
    assert tick(home, NOW) == 1
    assert tick(home, NOW) == 0
    monkeypatch.setenv(taking.SWITCH, "off")
    with pytest.raises(FeedChangeError, match="nothing is fetched; import a file"):
        services.feed_refresh(feed=feed, scope=SYSTEM, now=NOW)
    services.feed_change(feed=feed, url="", scope=SYSTEM, now=NOW)
    with pytest.raises(FeedChangeError, match="it comes from files"):
        services.feed_refresh(feed=feed, scope=SYSTEM, now=NOW)
    services.feed_change(feed=feed, enabled=False, scope=SYSTEM, now=NOW)
    with pytest.raises(FeedChangeError, match="switched off"):
        services.feed_refresh(feed=feed, scope=SYSTEM, now=NOW)


def test_a_feed_that_is_switched_off_no_longer_counts(home, acme, publisher, tick):
    report(device(acme, "web"), *ALMA_HOST)
    settle(home)
    tick(home, NOW)
    settle(home)
    open_ = PackageVulnerability.objects.filter(gone_at=None)
    assert open_.exists()
    feed = Feed.objects.get(slug="almalinux")
    services.feed_change(feed=feed, enabled=False, scope=SYSTEM, now=NOW)
    settle(home)
    assert in_force(home) == ["epss", "kev"]
    assert not open_.exists()
    publisher.addresses()
    tick(home, NOW + DAY)
    assert ALMA_URL not in publisher.addresses()
    # Switched on again it counts at once: its index is still here.
    services.feed_change(feed=feed, enabled=True, scope=SYSTEM, now=NOW + DAY)
    settle(home, NOW + DAY)
    assert open_.exists()


def test_a_feed_that_was_removed_comes_again_while_a_device_needs_it(home, acme, publisher, tick):
    report(device(acme, "web"), *ALMA_HOST)
    settle(home)
    tick(home, NOW)
    services.feed_remove(feed=Feed.objects.get(slug="almalinux"), scope=SYSTEM, now=NOW)
    assert in_force(home) == ["epss", "kev"]
    tick(home, NOW)
    assert in_force(home) == ["almalinux", "epss", "kev"]
    assert told().count("almalinux") == 2
