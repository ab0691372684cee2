"""``forestall vulns match``: Ada audits a machine whose export and a folder of feeds are all she has."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from forestall.cli.main import cli

HOST = {
    "jsonVersion": 4,
    "serverName": "web-01",
    "family": "alma",
    "release": "9.4",
    "scannedAt": "2026-03-07T06:11:24Z",
    "runningKernel": {"release": "5.14.0-70.el9.x86_64", "version": ""},
    "packages": {
        "curl": {"name": "curl", "version": "7.76.1", "release": "23.el9", "arch": "x86_64"},
        "sudo": {"name": "sudo", "version": "1.9.5p2", "release": "9.el9", "arch": "x86_64"},
        "vim": {"name": "vim", "version": "9", "release": "1.el9", "arch": "x86_64"},
    },
}


def osv(id_, name, fixed, published, *cves, summary="Important: a security update"):
    span = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}
    affected = [{"package": {"ecosystem": "AlmaLinux:9", "name": name}, "ranges": [span]}]
    return {
        "id": id_,
        "modified": "2026-05-01T00:00:00Z",
        "published": f"{published}T00:00:00Z",
        "summary": summary,
        "related": list(cves),
        "affected": affected,
    }


@pytest.fixture
def desk(tmp_path):
    (tmp_path / "web-01.json").write_text(json.dumps(HOST))
    feeds = tmp_path / "feeds"
    (feeds / "alma").mkdir(parents=True)
    advisories = [
        osv("ALSA-2026:2", "curl", "7.76.1-30.el9", "2026-03-02", "CVE-2026-0003", "CVE-2026-0001"),
        osv("ALSA-2026:1", "curl", "7.76.1-29.el9", "2026-02-01", "CVE-2026-0002", summary="Low: curl security update"),
        osv("ALSA-2026:9", "sudo", "1.9.5p2-10.el9", "2026-04-01", "CVE-2026-0009"),
    ]
    (feeds / "alma" / "all.jsonl").write_text("".join(json.dumps(one) + "\n" for one in advisories))
    kev = [{"cveID": "CVE-2026-0003", "dateAdded": "2026-03-03", "dueDate": "2026-03-24"}]
    (feeds / "kev.json").write_text(json.dumps({"catalogVersion": "1", "vulnerabilities": kev}))
    (feeds / "README.md").write_text("# Feeds\n")
    return tmp_path


def run(*arguments, **more):
    return CliRunner().invoke(cli, ["vulns", "match", *map(str, arguments)], standalone_mode=False, **more)


CURL = [
    {
        "package": "curl",
        "installed": "7.76.1-23.el9",
        "fixed": "7.76.1-29.el9",
        "advisory": "ALSA-2026:1",
        "cves": ["CVE-2026-0002"],
        "severity": "low",
        "known_exploited": False,
    },
    {
        "package": "curl",
        "installed": "7.76.1-23.el9",
        "fixed": "7.76.1-30.el9",
        "advisory": "ALSA-2026:2",
        "cves": ["CVE-2026-0001", "CVE-2026-0003"],
        "severity": "high",
        "known_exploited": True,
    },
]
SUDO = {
    "package": "sudo",
    "installed": "1.9.5p2-9.el9",
    "fixed": "1.9.5p2-10.el9",
    "advisory": "ALSA-2026:9",
    "cves": ["CVE-2026-0009"],
    "severity": "high",
    "known_exploited": False,
}


def test_findings_are_written_as_sorted_json(desk):
    result = run("--host", desk / "web-01.json", "--feeds", desk / "feeds", "--json", desk / "out.json")
    assert result.return_value == 0, result.output
    assert json.loads((desk / "out.json").read_text()) == [*CURL, SUDO]
    assert result.stdout == ""
    assert "Read 1 × kev, 1 × osv." in result.stderr
    assert "No feed: 1 × of no format that is known." in result.stderr
    assert "web-01: 2 of 3 packages open to 3 advisories with 4 vulnerabilities; 1 findings known" in result.stderr
    assert sorted(one.name for one in desk.iterdir()) == ["feeds", "out.json", "web-01.json"]  # nothing is left


def test_standard_output_and_input(desk):
    result = run("--host", "-", "--feeds", desk / "feeds", "--json", "-", input=json.dumps(HOST))
    assert json.loads(result.stdout) == [*CURL, SUDO]


@pytest.mark.parametrize(
    ("as_of", "found"),
    [("scan", CURL), ("2026-02-01", CURL[:1]), ("2026-01-31", []), ("2026-04-01T00:00:00Z", [*CURL, SUDO])],
)
def test_only_what_was_published_by_then(desk, as_of, found):
    result = run("--host", desk / "web-01.json", "--feeds", desk / "feeds", "--json", "-", "--as-of", as_of)
    assert json.loads(result.stdout) == found


def test_people_get_a_table_with_the_exploited_first(desk):
    result = run("--host", desk / "web-01.json", "--feeds", desk / "feeds")
    lines = [line for line in result.stdout.splitlines() if line.strip()]
    assert "Package" in lines[0]
    body = "\n".join(lines)
    assert body.index("curl") < body.index("sudo")
    assert "exploited" in body
    clean = {**HOST, "packages": {"vim": HOST["packages"]["vim"]}}
    result = run("--host", "-", "--feeds", desk / "feeds", input=json.dumps(clean))
    assert "Nothing that these feeds know of is open." in result.stdout


def test_a_plain_list_and_the_system_said_by_hand(desk):
    lines = "curl-7.76.1-23.el9.x86_64\nsudo-1.9.5p2-9.el9.x86_64\nvim-9-1.el9.x86_64\n"
    result = run("--host", "-", "--feeds", desk / "feeds", "--json", "-", "--os", "almalinux:9", input=lines)
    assert json.loads(result.stdout) == [*CURL, SUDO]
    result = run("--host", "-", "--feeds", desk / "feeds", "--json", "-", input=lines)
    assert "the list does not tell of which system it is: say it, as in --os debian:12" in str(result.exception)


def test_a_feed_that_is_wrong_is_named_the_others_count_and_the_answer_says_it_is_partial(desk):
    (desk / "feeds" / "bad.json").write_text('{"id": "ALSA-1", "modified": 5, "affected": []}')
    result = run("--host", desk / "web-01.json", "--feeds", desk / "feeds", "--json", desk / "out.json")
    assert result.return_value == 1
    assert "bad.json: Expected `datetime`" in result.stderr
    assert "$.modified" in result.stderr
    assert json.loads((desk / "out.json").read_text()) == [*CURL, SUDO]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--host", "missing.json", "--feeds", "feeds"), "missing.json: No such file"),
        (("--host", "web-01.json", "--feeds", "empty"), "empty: no feed that can be read is there"),
        (("--host", "web-01.json", "--feeds", "feeds", "--as-of", "soon"), "--as-of 'soon' is neither a date"),
        (("--host", "feeds/kev.json", "--feeds", "feeds"), "JSON of no format that hosts are exported in"),
    ],
)
def test_what_the_user_can_mend_is_said(desk, monkeypatch, arguments, says):
    (desk / "empty").mkdir()
    monkeypatch.chdir(desk)
    result = run(*arguments)
    assert says in str(result.exception), result.exception


def test_a_system_of_which_no_feed_speaks_is_not_called_clean(desk):
    rocky = {**HOST, "family": "rocky"}
    result = run("--host", "-", "--feeds", desk / "feeds", "--json", "-", input=json.dumps(rocky))
    assert json.loads(result.stdout) == []
    assert "No feed there speaks of Rocky Linux:9: what of it is open, nobody knows." in result.stderr


def test_without_a_scan_day_scan_is_no_day(desk):
    lines = "curl-7.76.1-23.el9.x86_64\n"
    result = run("--host", "-", "--feeds", desk / "feeds", "--as-of", "scan", "--os", "almalinux:9", input=lines)
    assert "name the day" in str(result.exception)


def test_it_runs_without_django(desk):
    script = (
        "import sys; from forestall.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as stop: code = stop.code\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] == 'django'], 'django is loaded'\n"
        "sys.exit(code)\n"
    )
    arguments = ["vulns", "match", "--host", desk / "web-01.json", "--feeds", desk / "feeds", "--json", "-"]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 3
