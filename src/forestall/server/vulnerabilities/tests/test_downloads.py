"""Fetching feeds from a server that misbehaves: it cuts off, forgets, lies about sizes, and leads astray."""

from __future__ import annotations

import gzip
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from forestall.server.vulnerabilities.downloads import ArchiveError, DownloadError, archive_check, fetch

FEED = bytes(range(256)) * 400  # 102,400 bytes


class Publisher:
    """A publisher's server on this machine; what it does next is said beforehand."""

    def __init__(self) -> None:
        self.content, self.etag = FEED, '"one"'
        self.cut_after: list[int] = []
        """Bytes after which it hangs up, one for each answer to come."""
        self.status = 0
        self.location = ""
        self.says_length = True
        self.asked: list[dict[str, str]] = []
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/feed.json"

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        asked = {name.lower(): value for name, value in to.headers.items()}
        self.asked.append(asked)
        if self.location:
            to.send_response(302)
            to.send_header("Location", self.location)
            to.end_headers()
            return
        if self.status:
            to.send_error(self.status)
            return
        if asked.get("if-none-match") == self.etag:
            to.send_response(304)
            to.end_headers()
            return
        begin = 0
        if "range" in asked and asked.get("if-range") == self.etag:
            begin = int(asked["range"].removeprefix("bytes=").rstrip("-"))
            if begin >= len(self.content):
                to.send_error(416)
                return
            to.send_response(206)
            to.send_header("Content-Range", f"bytes {begin}-{len(self.content) - 1}/{len(self.content)}")
        else:
            to.send_response(200)
        body = self.content[begin:]
        to.send_header("ETag", self.etag)
        if self.says_length:
            to.send_header("Content-Length", str(len(body)))
        to.end_headers()
        to.wfile.write(body[: self.cut_after.pop(0)] if self.cut_after else body)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    made = Publisher()
    yield made
    made.server.shutdown()
    made.server.server_close()


def get(publisher: Publisher, folder, **more):
    asked = {"url": publisher.url, "into": folder / "feed", "most_bytes": 1_000_000, "pause": lambda _: None, **more}
    return fetch(**asked)


def test_a_feed_is_fetched_whole_and_the_second_time_not_at_all(publisher, tmp_path):
    first = get(publisher, tmp_path)
    assert first.path.read_bytes() == FEED
    again = get(publisher, tmp_path, etag=first.etag)
    assert again.path is None
    assert again.etag == first.etag
    assert publisher.asked[1]["if-none-match"] == '"one"'


def test_a_download_that_breaks_off_goes_on_from_there(publisher, tmp_path):
    publisher.cut_after = [40_000, 20_000]
    assert get(publisher, tmp_path).path.read_bytes() == FEED
    assert [asked.get("range", "") for asked in publisher.asked] == ["", "bytes=40000-", "bytes=60000-"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["feed"]


def test_what_was_fetched_is_kept_for_the_next_day_when_the_line_stays_bad(publisher, tmp_path):
    publisher.cut_after = [10_000, 10_000, 10_000, 10_000]
    with pytest.raises(DownloadError, match="the first 40,000 bytes are kept"):
        get(publisher, tmp_path)
    assert not (tmp_path / "feed").exists()
    assert get(publisher, tmp_path).path.read_bytes() == FEED
    assert publisher.asked[-1]["range"] == "bytes=40000-"


def test_halves_of_two_states_are_never_put_together(publisher, tmp_path):
    publisher.cut_after = [50_000] + [0] * 3
    with pytest.raises(DownloadError):
        get(publisher, tmp_path)
    publisher.content, publisher.etag = FEED[::-1], '"two"'
    assert get(publisher, tmp_path).path.read_bytes() == FEED[::-1]


def test_a_part_without_a_mark_of_its_state_is_fetched_anew(publisher, tmp_path):
    (tmp_path / "feed.part").write_bytes(b"x" * 500)
    assert get(publisher, tmp_path).path.read_bytes() == FEED
    assert "range" not in publisher.asked[0]


def test_a_feed_that_became_shorter_than_its_part_is_fetched_anew(publisher, tmp_path):
    publisher.cut_after = [90_000] + [0] * 3
    with pytest.raises(DownloadError):
        get(publisher, tmp_path)
    publisher.content = FEED[:1000]
    assert get(publisher, tmp_path).path.read_bytes() == FEED[:1000]


@pytest.mark.parametrize("says_length", [True, False])
def test_more_than_agreed_is_not_taken(publisher, tmp_path, says_length):
    publisher.says_length = says_length
    with pytest.raises(DownloadError, match="50,000"):
        get(publisher, tmp_path, most_bytes=50_000)
    assert not (tmp_path / "feed").exists()


def test_a_refusal_is_said_in_words_and_not_tried_again(publisher, tmp_path):
    publisher.status = 403
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 answered HTTP 403"):
        get(publisher, tmp_path)
    assert len(publisher.asked) == 1


def test_nobody_there_is_said_in_words(publisher, tmp_path):
    publisher.server.shutdown()
    publisher.server.server_close()
    with pytest.raises(DownloadError, match="nothing listens at"):
        get(publisher, tmp_path)


@pytest.mark.parametrize("astray", ["file:///etc/passwd", "ftp://example.org/feed", "http://169.254.169.254/latest"])
def test_a_publisher_leads_nowhere_else(publisher, tmp_path, astray):
    publisher.location = astray
    with pytest.raises((DownloadError, OSError)):
        get(publisher, tmp_path)
    with pytest.raises(DownloadError):
        fetch(url=astray, into=tmp_path / "feed", most_bytes=10)


def test_an_address_with_a_password_is_refused(tmp_path):
    with pytest.raises(DownloadError, match="password"):
        fetch(url="https://ada:secret@example.org/feed", into=tmp_path / "feed", most_bytes=10)


def test_a_cut_off_archive_is_seen(tmp_path):
    whole = gzip.compress(FEED)
    path = tmp_path / "feed.gz"
    path.write_bytes(whole)
    archive_check(path)
    path.write_bytes(whole[:-20])
    with pytest.raises(ArchiveError, match="cut off"):
        archive_check(path)
    path.write_bytes(whole[:200] + b"\0" * 50 + whole[250:])
    with pytest.raises(ArchiveError):
        archive_check(path)


def test_an_archive_that_unpacks_to_a_mountain_is_not_taken(tmp_path):
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(b"\0" * 5_000_000))
    with pytest.raises(ArchiveError, match="unpacks to more than"):
        archive_check(bomb, most_unpacked=1_000_000)
    zipped = tmp_path / "bomb.zip"
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", b"0" * 5_000_000)
    with pytest.raises(ArchiveError, match="unpacks to more than"):
        archive_check(zipped, most_unpacked=1_000_000)
    archive_check(zipped)
    zipped.write_bytes(zipped.read_bytes()[:-30])
    with pytest.raises(ArchiveError, match="damaged or cut off"):
        archive_check(zipped)


def test_what_is_no_archive_is_left_to_its_reader(tmp_path):
    path = tmp_path / "feed.json"
    path.write_bytes(b"{}")
    archive_check(path)
