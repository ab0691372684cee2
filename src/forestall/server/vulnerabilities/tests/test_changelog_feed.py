"""Debian changelogs as a feed of last resort. The text below is written after Debian Policy 4.4; no real package."""

from __future__ import annotations

import io
import json
import lzma
import tarfile
from pathlib import Path

import pytest

from forestall.server.vulnerabilities.feeds import read_file
from forestall.server.vulnerabilities.feeds.records import Advisory, Affected, Span
from forestall.server.vulnerabilities.hosts import read_host
from forestall.server.vulnerabilities.index import Index
from forestall.server.vulnerabilities.matching import match_host

CHANGELOG = """\
kettle (1.2-3+deb12u2) bookworm-security; urgency=high

  * Whistle no more than asked (cve-2026-10001, CVE-2026-10002).

 -- Ada Example <ada@example.org>  Sat, 05 Sep 2026 19:08:11 +0200

kettle (1.2-3+deb12u1) bookworm; urgency=medium

  * New spout.

 -- Ada Example <ada@example.org>  Mon, 02 Mar 2026 10:00:00 +0100

kettle (1.2-3) unstable; urgency=low

  * Fix CVE-2025-9999.

 -- Ada Example <ada@example.org>  Xyz, 99 Foo 2025 10:00:00 +0100
"""
NAME = "changelog kettle 1.2-3+deb12u2"
SHARED = Path(__file__).parents[6] / "shared" / "data" / "vuln-feeds"


def test_each_entry_that_names_a_cve_is_a_fix_in_the_release_of_the_newest(tmp_path):
    (tmp_path / "changelog.Debian").write_text(CHANGELOG)
    read = read_file(tmp_path / "changelog.Debian")
    assert not read.errors
    newest, oldest = read.records
    assert isinstance(newest, Advisory)
    assert isinstance(oldest, Advisory)
    assert newest.id == NAME
    assert newest.cves == ("CVE-2026-10001", "CVE-2026-10002")
    assert newest.affected == (Affected("Debian:12", "kettle", (Span(fixed="1.2-3+deb12u2"),)),)
    assert newest.published_at is not None
    assert newest.published_at.isoformat() == "2026-09-05T19:08:11+02:00"
    assert (oldest.id, oldest.affected[0].ecosystem, oldest.published_at) == (
        "changelog kettle 1.2-3",
        "Debian:12",
        None,
    )


def test_a_changelog_for_no_stable_release_says_nothing(tmp_path):
    (tmp_path / "changelog").write_text(CHANGELOG.replace("bookworm-security", "experimental"))
    assert read_file(tmp_path / "changelog").records == []


def test_many_come_in_one_archive(tmp_path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in ("kettle", "teapot"):
            text = CHANGELOG.replace("kettle", name).encode()
            member = tarfile.TarInfo(f"{name}.changelog")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    path = tmp_path / "changelogs.tar.xz"
    path.write_bytes(lzma.compress(packed.getvalue()))
    read = read_file(path)
    assert len(read.records) == 4
    assert set(read.files) == {f"{path}/kettle.changelog", f"{path}/teapot.changelog"}


def test_a_broken_archive_is_named(tmp_path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("kettle.changelog")
        member.size = 100_000
        archive.addfile(member, io.BytesIO(bytes(100_000)))
    path = tmp_path / "broken.tar"
    path.write_bytes(packed.getvalue()[:5_000])
    read = read_file(path)
    assert [error.file for error in read.errors] == [str(path)]


@pytest.mark.parametrize(("about", "found"), [("kettle", ["DSA-1-1"]), ("teapot", [NAME, "DSA-1-1"])])
def test_it_counts_only_where_nobody_else_speaks_of_the_package(tmp_path, about, found):
    (tmp_path / "changelog").write_text(CHANGELOG)
    other = Advisory(
        "DSA-1-1", (Affected("Debian:12", about, (Span(fixed="9"),)),), ("CVE-2026-10001",), severity="high"
    )
    index = Index.build([*read_file(tmp_path / "changelog").records, other])
    said = [one.advisory for name in ("kettle", "teapot") for one in index.findings_of("Debian:12", name, "1.2-3")]
    assert sorted(said) == sorted(found)


@pytest.mark.skipif(not SHARED.exists(), reason="the recorded changelogs are not beside this folder")
def test_a_real_host_is_open_to_all_that_its_maintainers_mended_since():
    """The list was made by others, from the same changelogs: 3,965 ids. It takes the kernel's version as 6.1.123,
    without its revision, and so counts the 42 of 6.1.123-1, which is what is installed."""
    changelogs = read_file(SHARED / "debian-bookworm" / "changelogs.tar.xz")
    host = read_host(SHARED / "hosts" / "debian_12.json.gz")
    found = {cve for one in match_host(Index.build(changelogs.records), host) for cve in one.cves}
    listed = json.loads((SHARED / "debian-bookworm" / "fixes_from_changelogs.json").read_text())
    entries = [(one["source"], entry) for one in listed for entry in one.get("entries", [])]
    mended = {cve for _, entry in entries for cve in entry["cves"]}
    installed = {
        cve
        for source, entry in entries
        if (source, entry["version"]) == ("linux", "6.1.123-1")
        for cve in entry["cves"]
    }
    elsewhere = {
        cve
        for source, entry in entries
        if (source, entry["version"]) != ("linux", "6.1.123-1")
        for cve in entry["cves"]
    }
    assert len(mended) == 3965
    assert mended - found == installed - elsewhere
    assert len(mended - found) == 42
    assert found <= mended
