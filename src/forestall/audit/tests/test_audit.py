"""The audit: what it finds, how it ranks, and that what a device says stays inert wherever it is shown (V17)."""

from __future__ import annotations

import html.parser
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from forestall.audit.inert import inert
from forestall.audit.page import page
from forestall.audit.pdf import pdf
from forestall.audit.plain import as_json
from forestall.audit.report import Report, report_of
from forestall.audit.terminal import show
from forestall.cli.audit import audit
from forestall.server.checks.result import Series
from forestall.wire import facts as wire

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SOURCE = Path(__file__).resolve().parents[3]

EVIL = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><style>*{display:none}</style>",
    "{{7*7}} {% debug %} ${7*7}",
    '#panic() #read("/etc/passwd") $x^2$ *bold* @ref <label> `raw` // comment',
    "[bold red]markup[/bold red] [link=http://x]y[/link]",
    "\x1b[2J\x1b]0;owned\x07\x1b[31mred\x9b31m",
    "\u202egnp.exe\u202c\u200b\ufeff\u2066",
    "line\nbreak\r\tand tab",
    "\ud800 lone surrogate",
    "a" * 9000,
)


def _down(text: str) -> wire.Service:
    return wire.Service(name=text, state="failed", enabled=True, detail=text)


def report(*documents: wire.Document, as_root: bool = True, failures=None, **samples: float) -> Report:
    found = wire.Facts()
    for document in documents:
        found = found.with_document(document)
    names = {"root": "disk.used_percent{volume=/}", "cpu": "cpu.used_percent", "memory": "memory.available_percent"}
    return report_of(
        facts=found, samples={names[key]: Series.of([NOW.timestamp()], [value]) for key, value in samples.items()},
        failures=failures or {}, now=NOW, seconds=1.3, user="root" if as_root else "ada", as_root=as_root,
    )  # fmt: skip


def world(text: str = "web-01") -> Report:
    """A machine with trouble of every risk, that says ``text`` wherever it can say anything."""
    return report(
        wire.System(
            hostname=text, os_id="debian", os_name=text, os_version="12.11", kernel=text, virtualisation=text,
            manufacturer=text, model=text, cpu_model=text, cpu_count=4, memory_bytes=8 * 10**9, reboot_required=True,
            reboot_reasons=(text,), sources=(text,), gaps=(wire.Gap(what=text, why="needs root"),),
        ),
        wire.Network(
            interfaces=(wire.Interface(name=text, addresses=(text,)),),
            listening=(wire.Socket(protocol="tcp", address="::", port=6379, process=text),),
        ),
        wire.Volumes(volumes=(wire.Volume(mountpoint="/", device=text, filesystem="ext4", total_bytes=10**11),)),
        wire.Services(manager="systemd", services=(_down(text),)),
        wire.Updates(
            manager="apt", lists_refreshed_at=NOW, security_sources=True,
            pending=(wire.Update(name=text, installed="1", candidate=text, security=True),),
        ),
        wire.Access(accounts=(wire.Account(name=text, uid=0, administrator=True, administrator_because=(text,)),)),
        wire.Backups(repositories=(wire.BackupRepository(name=text, tool="restic", location=text, unknown_why=text),)),
        wire.Certificates(
            certificates=(
                wire.Certificate(
                    address="127.0.0.1", port=443, subject=text, process=text, not_after=NOW - timedelta(days=1)
                ),
            )
        ),
        as_root=False, root=93, cpu=12, memory=60,
    )  # fmt: skip


def in_terminal(shown: Report, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system="truecolor")
    show(shown, console)
    return console.file.getvalue()


# --- what it says -------------------------------------------------------------------------------------------


def test_findings_are_ranked_by_risk_and_a_failure_comes_before_a_warning():
    shown = world()
    ranks = [(finding.risk.rank, finding.result.status != "fail") for finding in shown.problems]
    assert ranks == sorted(ranks)
    assert [finding.title for finding in shown.problems][:2] == [
        "Open sockets: tcp/6379",
        "Certificates: 127.0.0.1:443",
    ]


def test_the_sentence_counts_what_needs_attention_what_passes_and_what_could_not_be_judged():
    shown = world()
    problems, critical = len(shown.problems), sum(finding.risk == "critical" for finding in shown.problems)
    assert shown.sentence.startswith(f"{problems} things need attention, {critical} of them critical; ")
    assert f"{len(shown.passed)} checks pass; {len(shown.unknowns)} could not be judged." in shown.sentence
    assert report(wire.Firewall(active=True, rules=3)).sentence.startswith("Nothing needs attention; 1 check passes; ")


def test_a_collector_that_broke_is_unknown_and_named():
    shown = report(failures={"updates": "ValueError: no such list"})
    finding = next(finding for finding in shown.unknowns if finding.kind.slug == "security_updates")
    assert "collecting updates broke: ValueError: no such list" in finding.result.reason
    assert ("the document updates", "ValueError: no such list") in [(each.what, each.why) for each in shown.not_seen]


def test_stale_package_lists_are_said_to_be_stale():
    lists = wire.Updates(manager="apt", security_sources=True, lists_refreshed_at=NOW - timedelta(days=6))
    (finding,) = [each for each in report(lists).findings if each.kind.slug == "security_updates"]
    assert "cannot be known: the package lists are 6 days old" in finding.result.reason
    assert "apt-get update" in finding.remedy


def test_without_root_it_says_what_root_would_see():
    assert "sudo forestall audit" in in_terminal(world())
    assert "sudo forestall audit" in page(world())
    assert "sudo forestall audit" not in in_terminal(report(wire.Firewall(active=True)))


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(width):
    plain = re.sub(r"\x1b\[[0-9;]*m", "", in_terminal(world(), width))
    assert max(len(line) for line in plain.splitlines()) <= width


# --- the JSON -----------------------------------------------------------------------------------------------


def test_json_holds_device_facts_findings_and_passes():
    data = json.loads(as_json(world()))
    assert data["device"]["hostname"] == "web-01"
    assert data["device"]["os_version"] == "12.11"
    assert data["audited_at"] == "2026-11-23T09:00:00Z"
    assert data["as_root"] is False
    update = data["facts"]["updates"]["pending"][0]
    assert {key: update[key] for key in ("name", "installed", "candidate", "security")} == {
        "name": "web-01", "installed": "1", "candidate": "web-01", "security": True,
    }  # fmt: skip
    finding = data["findings"][0]
    assert {"check", "result", "risk", "title", "reason", "evidence", "remedy", "target", "value", "unit"} <= set(
        finding
    )
    assert all(finding["reason"] and finding["remedy"] for finding in data["findings"])
    assert {finding["result"] for finding in data["findings"]} <= {"warn", "fail", "unknown"}
    assert {finding["result"] for finding in data["passed"]} == {"pass"}


# --- inert --------------------------------------------------------------------------------------------------


class Tags(html.parser.HTMLParser):
    """Every tag and attribute of a page, as a browser would find them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found.append(f"{tag} {sorted(name for name, _ in attrs)}")


def tags(text: str) -> list[str]:
    parser = Tags()
    parser.feed(text)
    return parser.found


@pytest.mark.parametrize("evil", EVIL, ids=range(len(EVIL)))
def test_v17_what_a_device_says_adds_no_markup_to_the_page(evil):
    assert tags(page(world(evil)).replace("`", "")) == tags(page(world("x")).replace("`", ""))
    assert "\x1b" not in page(world(evil))


@given(st.text(max_size=60))
def test_v17_no_text_at_all_adds_markup_to_the_page(text):
    said = text.replace("`", "")
    assert set(tags(page(world(said)))) <= set(tags(page(world("x"))))


@pytest.mark.parametrize("evil", EVIL, ids=range(len(EVIL)))
def test_v17_what_a_device_says_cannot_command_the_terminal(evil):
    shown = in_terminal(world(evil))
    left = re.sub(r"\x1b\[[0-9;]*m", "", shown)  # our own colours
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ufeff]", left)


def test_v17_markup_of_the_terminal_library_is_shown_as_it_is():
    plain = re.sub(r"\x1b\[[0-9;]*m", "", in_terminal(world(EVIL[5]), 120))
    assert "[bold red]markup[/bold red]" in plain


def test_v17_markup_of_the_typesetter_is_shown_as_it_is(tmp_path):
    made = pdf(world(EVIL[4]))
    assert made.startswith(b"%PDF")
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed")
    (tmp_path / "a.pdf").write_bytes(made)
    text = subprocess.run(["pdftotext", tmp_path / "a.pdf", "-"], capture_output=True, text=True, check=True).stdout
    assert '#read("/etc/passwd")' in text.replace("\n", " ")
    assert "root:x:0" not in text


@pytest.mark.parametrize("evil", EVIL, ids=range(len(EVIL)))
def test_v17_a_pdf_is_made_of_anything(evil):
    assert pdf(world(evil)).startswith(b"%PDF")


def test_the_template_of_the_pdf_can_read_no_file_beside_it(tmp_path, monkeypatch):
    import forestall.audit.pdf as module

    template = tmp_path / "evil.typ"
    for path in ("/etc/passwd", "../../etc/passwd", f"../{tmp_path.name}/secret.txt", "secret.txt"):
        template.write_text(f'#read("{path}")')
        monkeypatch.setattr(module, "_TEMPLATE", template)
        (tmp_path / "secret.txt").write_text("secret")
        with pytest.raises(Exception, match=r"would escape the project root|file not found"):
            pdf(world())


@given(st.text())
def test_inert_text_holds_nothing_that_is_obeyed(text):
    said = inert(text)
    assert inert(said) == said or len(text) > 2000
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", said)


def test_ordinary_text_of_any_language_is_left_alone():
    for text in ("Zürich, Łódź", "日本語サーバー", "/srv/données (1)", "naïve café – 50 %"):
        assert inert(text) == text


# --- the command, on this machine -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    wanted = {kind: folder / f"audit.{kind}" for kind in ("json", "html", "pdf")}
    began = time.monotonic()
    arguments = [part for kind, path in wanted.items() for part in (f"--{kind}", str(path))]
    result = CliRunner().invoke(audit, arguments, standalone_mode=False)
    return result, wanted, time.monotonic() - began


def test_this_machine_is_audited_within_fifteen_seconds(files):
    result, wanted, seconds = files
    assert result.exception is None
    assert result.return_value == 0
    assert seconds < 15
    data = json.loads(wanted["json"].read_bytes())
    assert data["device"]["hostname"] == os.uname().nodename
    assert set(data["facts"]) == set(wire.DOCUMENT_BY_NAME)
    judged = {each["check"] for each in (*data["findings"], *data["passed"])}
    assert {"disk_space", "security_updates", "end_of_life", "backup_age", "firewall"} <= judged
    assert data["summary"] in " ".join(result.stdout.split())
    assert wanted["html"].read_text().startswith("<!doctype html>")
    assert wanted["pdf"].read_bytes().startswith(b"%PDF")


def test_the_facts_in_the_json_are_documents_of_the_wire(files):
    data = json.loads(files[1]["json"].read_bytes())
    for name, document in data["facts"].items():
        msgspec.convert({"document": name, **document}, wire.DOCUMENT_BY_NAME[name])


def run(*arguments, **others):
    return subprocess.run(
        [sys.executable, "-m", "forestall.cli.main", "audit", *arguments], capture_output=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(SOURCE)}, **others,
    )  # fmt: skip


def test_json_to_standard_output_is_json_alone():
    done = run("--json", "-")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["findings"]


def test_it_needs_neither_django_nor_numpy():
    code = (
        "import sys; sys.modules['django'] = sys.modules['numpy'] = None\n"
        "from forestall.cli.audit import audit\n"
        "audit(['--json', '-', '--quiet'], standalone_mode=False)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=60, check=False, cwd="/",
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["facts"]


def test_fail_on_turns_findings_into_an_exit_code():
    risks = ["critical", "high", "medium", "low"]
    found = [each for each in json.loads(run("--json", "-").stdout)["findings"] if each["result"] != "unknown"]
    worst = min((risks.index(each["risk"]) for each in found), default=4)
    assert run("--quiet", "--fail-on", "low").returncode == (1 if worst < 4 else 0)
    assert run("--quiet", "--fail-on", "critical").returncode == (1 if worst == 0 else 0)


def test_a_file_that_cannot_be_written_is_named_before_anything_is_looked_at():
    done = run("--json", "/nowhere/at/all.json")
    assert done.returncode == 2
    assert b"cannot write /nowhere/at/all.json: there is no folder /nowhere/at" in done.stderr


def test_only_one_report_fits_into_standard_output():
    assert b"only one of --json, --html and --pdf" in run("--json", "-", "--html", "-").stderr


def test_a_pdf_without_typst_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "typst", None)
    result = CliRunner().invoke(audit, ["--pdf", "a.pdf"])
    assert "pip install 'forestall[server]'" in result.output


AS_NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")


def _python_for_nobody() -> str | None:
    """An interpreter of this version that a user without rights may run."""
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        asks = [*AS_NOBODY, python, "-c", "import sys; print(sys.version_info[:2])"]
        try:
            done = subprocess.run(asks, capture_output=True, text=True, check=False, cwd="/")
        except OSError:
            return None
        if done.stdout.strip() == str(sys.version_info[:2]):
            return python
    return None


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody without rights")
def test_it_works_without_root_and_says_so():
    python = _python_for_nobody()
    if python is None:
        pytest.skip("no interpreter here that another user may run")
    path = [str(SOURCE), *(each for each in sys.path if "site-packages" in each)]
    done = subprocess.run(
        [*AS_NOBODY, python, "-m", "forestall.cli.main", "audit", "--json", "-"], capture_output=True, timeout=60,
        check=False, cwd="/", env={"PYTHONPATH": ":".join(path), "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert data["as_root"] is False
    assert any(each["needs_root"] for each in data["not_seen"])
