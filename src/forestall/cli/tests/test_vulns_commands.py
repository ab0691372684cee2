"""``forestall vulns``: bring a feed, look, say what does not count, take a bill of materials."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from forestall.cli import vulns_desk
from forestall.server.home import current_home
from forestall.server.vulnerabilities import taking, upkeep
from forestall.server.vulnerabilities.indexing import index_make
from forestall.server.vulnerabilities.tests.story import ALMA, ALMA_HOST, OPENSSL, SUDO, report, settle


@pytest.fixture
def said(forestall, monkeypatch, tmp_path):
    monkeypatch.setenv("FORESTALL_HOME", str(tmp_path / "home"))

    def work(_seconds: float) -> None:
        # The worker's rounds, while the command waits for them.
        now = datetime.now(UTC)
        taking.feeds_tick(home=current_home(), now=now, make=index_make, downloads=False)
        upkeep.upkeep(home=current_home(), now=now)

    monkeypatch.setattr(vulns_desk.time, "sleep", work)

    def run(*arguments: str) -> str:
        done = forestall("vulns", *arguments)
        assert done.exception is None, (done.exception, done.output)
        return done.output

    return run


def test_ada_brings_a_feed_looks_and_says_what_does_not_count(said, forestall, device, tmp_path) -> None:
    assert "No feed yet" in said("feeds")
    report(device, *ALMA_HOST, at=datetime.now(UTC))
    assert "Is there a feed?" in said("list")
    assert "file-almalinux9: 5 records are in force." in said("import", str(ALMA))
    settle(current_home(), datetime.now(UTC))
    assert "in force" in said("feeds")
    assert "Upgrade sudo to 1.9.5p2-15.el9_7 on 1 device" in said("actions")
    assert SUDO in said("list", "--severity", "high")
    assert OPENSSL not in said("list", "--find", "sudo")
    assert "No device" not in said("show", SUDO)
    accepted = said("accept", SUDO, "--device", "web-01", "--until", "30d", "--reason", "two doors")
    assert f"{SUDO} is accepted on web-01 until" in accepted
    assert SUDO not in said("list")
    said(
        "mark", OPENSSL, "not-applicable", "--client", "Acme Ltd", "--reason", "no such server", "--package", "openssl"
    )
    marks = json.loads(said("marks", "--json"))
    assert [one["mark"] for one in marks] == ["not_applicable", "accepted"]
    assert "counts again" in said("unmark", str(marks[1]["id"]))
    assert SUDO in said("list")
    assert json.loads(said("list", "--at", "2020-01-01", "--json")) == []
    bill = tmp_path / "bill.json"
    said("sbom", "web-01", "--vex", "-o", str(bill))
    assert SUDO in {one["id"] for one in json.loads(bill.read_bytes())["vulnerabilities"]}
    assert "off" in said("feeds", "--off", "file-almalinux9")
    assert "is forgotten" in said("feeds", "--remove", "file-almalinux9")


def test_a_bad_file_is_refused_with_its_reason(said, forestall, device, tmp_path) -> None:
    folder = tmp_path / "advisories"
    folder.mkdir()
    (folder / "page.html").write_text("<html>")
    done = forestall("vulns", "import", str(folder))
    assert done.return_value == 1
    assert "Not taken: no feed that is known" in done.output
    for wrong in (
        ("accept", SUDO, "--device", "web-01", "--until", "30d", "--reason", "x"),
        ("show", "CVE-2020-1"),
        ("list", "--at", "yesterday"),
        ("accept", SUDO, "--until", "30d", "--reason", "x"),
        ("feeds", "--refresh", "nothing"),
    ):
        assert forestall("vulns", *wrong).exception is not None
