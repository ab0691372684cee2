"""V17: whatever a device or a person wrote is text on the page and nothing else; rendering touches only its input."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import forestall
from forestall.server.reports.body import body_plain, body_read
from forestall.server.reports.render import MOST_INPUT, render
from forestall.server.reports.rules import MOST_EVIDENCE, amount, long_span, page_of
from forestall.server.reports.services import RenderError, render_apart
from forestall.server.reports.tests.report_bodies import awkward, ordinary

PAYLOADS = [
    '#read("/etc/passwd")',
    '#image("/etc/hostname")',
    '#import "@preview/cetz:0.3.0": canvas',
    '#include "/etc/passwd"',
    "#panic()",
    '#eval("1+1")',
    "$x^2$ *bold* _under_ `raw` <label> @ref = heading",
    ']} #link("http://127.0.0.1:9/")[x]',
    "http://127.0.0.1:9/ https://127.0.0.1:9/a",
    '"}, "page": {"x": "',
    "</script><script>alert(1)</script>",
    "{{ settings.SECRET_KEY }} {% load x %}",
    "\u202egnp.exe\u202c \u2066x\u2069",
    "\x00\x07\x1b[31mred\x1b[0m",
    "日本語 العربية 😀 \ue000 \ufdfa \U0010ffff",
    "\ud800",
    "line\nbreak\ttab\r\nand \u2028 more",
    "\\" * 40 + "/" * 40,
    "%s %n ${jndi:ldap://127.0.0.1:9/x} `id` $(id)",
]

needs_pdftotext = pytest.mark.skipif(not shutil.which("pdftotext"), reason="needs pdftotext of poppler-utils")


def text_of(pdf: bytes) -> str:
    done = subprocess.run(["pdftotext", "-layout", "-", "-"], input=pdf, capture_output=True, check=True)
    return done.stdout.decode()


def inside(pdf: bytes) -> bytes:
    """The file with its compressed streams unpacked, to look for what must not be there."""
    streams = []
    for match in re.finditer(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL):
        try:
            streams.append(zlib.decompress(match.group(1)))
        except zlib.error:
            continue
    assert streams
    return pdf + b"\n".join(streams)


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_v17_text_in_every_field_is_inert(payload) -> None:
    body = awkward(payload)
    pdf = render(page_of(body), made_at=body.made_at)
    whole = inside(pdf)
    for active in (b"/URI", b"/Launch", b"/JavaScript", b"/JS", b"/EmbeddedFile", b"/GoToR", b"/SubmitForm"):
        assert active not in whole
    assert b"root:x:0:0" not in whole


@needs_pdftotext
@pytest.mark.parametrize("payload", ['#read("/etc/passwd")', "$x^2$ *bold* <label>", "{{ secret }}"])
def test_markup_is_shown_as_it_was_written(payload) -> None:
    body = awkward(payload)
    assert payload in text_of(render(page_of(body), made_at=body.made_at))


@needs_pdftotext
def test_characters_that_mislead_or_have_no_glyph_are_written_out() -> None:
    body = awkward("a\u202eb \x07 日 😀 é Ж →")
    shown = text_of(render(page_of(body), made_at=body.made_at))
    assert "a‹U+202E›b ‹U+0007› ‹U+65E5› ‹U+1F600› é Ж →" in shown


@needs_pdftotext
def test_the_page_says_what_was_seen_done_and_verified() -> None:
    body = ordinary()
    shown = re.sub(r"\s+", " ", text_of(render_apart(page_of(body), body.made_at)))
    for sentence in [
        "Service report SR-000017",
        "Resolved on 23 Nov 2026, 09:09:12 CET, 4 min after it was first seen.",
        "A check has verified it. The SLA was kept.",
        "/var is 93 % full (fails at 90 %); 1.4 GB free.",
        "packages.clean_cache emptied the package cache 1.3 GB, 214 files",
        "standing order 3f2a9c01b7de… for disk_space, signed by operator 9c01aa77e213…",
        "/var is 61 % full; 8.2 GB free.",
        "3 min (1 %) Mon 23 Nov 13:06 kept Mon 23 Nov 09:09, resolved by the check",
        "All of them are under the signed checkpoint over 121 records",
        "Page 1 of 1",
    ]:
        assert sentence in shown, sentence


@needs_pdftotext
def test_an_unverified_resolution_says_so_before_anything_else() -> None:
    body = awkward()
    shown = re.sub(r"\s+", " ", text_of(render(page_of(body), made_at=body.made_at)))
    assert "No check has verified it yet. The SLA was missed: response and resolution." in shown
    assert shown.index("Not verified.") < shown.index("What was seen")
    assert "takes the place of SR-000016" in shown
    assert "3 more steps are on the job's page" in shown
    assert "The records up to 12 are under the signed checkpoint" in shown


def test_it_is_an_archive_with_tags_and_the_same_every_time() -> None:
    body = ordinary()
    pdf = render(page_of(body), made_at=body.made_at)
    whole = inside(pdf)
    assert b"pdfaid:part>2<" in whole
    assert b"pdfaid:conformance>B<" in whole
    assert b"/StructTreeRoot" in whole
    assert render(page_of(body), made_at=body.made_at) == pdf


def test_the_process_apart_makes_the_same_pdf() -> None:
    body = ordinary()
    assert render_apart(page_of(body), body.made_at) == render(page_of(body), made_at=body.made_at)


def test_a_page_that_cannot_be_rendered_is_an_error_with_words() -> None:
    with pytest.raises(RenderError, match=r"exit code 2.*does not contain key"):
        render_apart({"number": "SR-1"}, ordinary().made_at)


@pytest.mark.parametrize(
    "garbage", [b"", b"[]", b"{", b'{"page": {}, "made_at": "yesterday"}', b"x" * (MOST_INPUT + 1), b"[" * 100_000]
)
def test_garbage_is_refused(garbage) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-m", "forestall.server.reports.render"], input=garbage, capture_output=True, env={}
    )
    assert done.returncode == 2
    assert done.stdout == b""
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_v17_rendering_opens_no_socket_and_no_foreign_file(tmp_path) -> None:
    body = awkward("".join(PAYLOADS[:9]))
    log = tmp_path / "calls"
    done = subprocess.run(
        ["strace", "-f", "-o", str(log), "-e", "trace=%network,open,openat,creat", sys.executable, "-I", "-m",
         "forestall.server.reports.render"],
        input=json.dumps({"page": page_of(body), "made_at": body.made_at.isoformat()}).encode(),
        capture_output=True, env={"HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    if b"ptrace" in done.stderr and done.returncode:
        pytest.skip("this machine does not let a process be traced")
    assert done.returncode == 0, done.stderr
    calls = log.read_text()
    assert not re.search(r"\b(socket|connect|sendto)\(", calls)
    opened = set(re.findall(r'open(?:at)?\((?:AT_FDCWD, )?"([^"]+)"[^\n]*\) = \d', calls))
    package = str(Path(forestall.__file__).parent.parent)
    system = ("/usr/", "/lib", "/proc/", "/sys/", "/etc/ld.so", "/etc/localtime", "/dev/")
    programs = (sys.prefix, sys.base_prefix, package, str(tmp_path), *system)
    assert not {path for path in opened if not path.startswith(programs)}


def test_what_does_not_fit_is_counted_and_the_devices_words_stay() -> None:
    page = page_of(awkward())
    assert len(page["evidence"]) == MOST_EVIDENCE
    assert sum("signed by the device" in entry["what"] for entry in page["evidence"]) == 20
    assert page["evidence_left_out"] == "16 more records are in the evidence log."
    assert page["sla"][0]["left_out"] == "3 more stretches are on the ticket."


def test_a_body_survives_being_stored() -> None:
    for body in (ordinary(), awkward()):
        assert body_read(json.loads(json.dumps(body_plain(body)))) == body


@pytest.mark.parametrize(
    ("name", "count", "words"),
    [
        ("files", 214, "214 files"),
        ("bytes", 1288490188, "1.3 GB"),
        ("bytes", 12, "12 bytes"),
        ("jobs_done", 3, "3 jobs done"),
        ("services", 1, "1 service"),
    ],
)
def test_effects_in_words(name, count, words) -> None:
    assert amount(name, count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "5 s"), (60, "1 min"), (7800, "2 h 10 min"), (86400, "1 day"), (2 * 86400 + 3 * 3600, "2 days 3 h")],
)
def test_elapsed_time_in_words(seconds, words) -> None:
    assert long_span(seconds) == words
