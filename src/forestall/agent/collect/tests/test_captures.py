"""Saved outputs: whoever sends a file that is damaged, cut or something else is told so, file and line."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from forestall.agent.collect.captures import captures
from forestall.agent.collect.captures.capture import (
    MAX_FILE_BYTES,
    MAX_UNREAD,
    Capture,
    CapturedFile,
    CaptureError,
    Parsed,
    Reading,
    Unread,
)
from forestall.cli.facts import facts
from forestall.cli.main import main
from forestall.wire.facts import DOCUMENTS, Disks

FIXTURES = Path(__file__).parent / "fixtures"
NVME = FIXTURES / "smart/nvme_worn.json"


def run(*arguments, stdin=None):
    return CliRunner().invoke(facts, [str(argument) for argument in arguments], input=stdin)


def test_every_kind_says_what_to_give_it():
    for name, capture in captures().items():
        assert capture.name == name
        assert name == name.lower()
        assert " " not in name
        assert capture.document in DOCUMENTS
        assert len(capture.files) > 10
        assert capture.title


def test_kinds_are_listed_for_people_and_for_programs():
    assert "smartctl" in run("kinds").stdout
    listed = json.loads(run("kinds", "--json").stdout)
    assert [each["name"] for each in listed] == list(captures())
    assert listed[0].keys() == {"name", "title", "document", "files"}


def test_ada_replays_a_support_case_and_gets_the_document_the_agent_would_have_sent():
    result = run("parse", "smartctl", NVME)
    assert (result.exit_code, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    assert (document["document"], document["sources"]) == ("disks", [str(NVME)])
    assert document["disks"][0]["wear_percent"] == 73.0


def test_a_foreign_file_among_good_ones_is_named_and_costs_nothing_else(tmp_path):
    foreign = tmp_path / "notes.txt"
    foreign.write_text("call Bob\n")
    result = run("parse", "smartctl", NVME, foreign)
    assert result.exit_code == 0
    assert result.stderr.startswith(f"{foreign}:")
    document = json.loads(result.stdout)
    assert document["sources"] == [str(NVME)]
    assert document["gaps"] == [{"what": "captured output", "why": "not understood: 1 line"}]


def test_from_standard_input():
    result = run("parse", "smartctl", "-", stdin=NVME.read_bytes())
    assert json.loads(result.stdout)["sources"] == ["standard input"]


def test_what_cannot_be_read_at_all_ends_with_1_and_one_sentence(tmp_path):
    cut = tmp_path / "cut.json"
    cut.write_text(NVME.read_text()[:1000])
    result = run("parse", "smartctl", cut)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert f"{cut}:{cut.read_text().count(chr(10)) + 1}: is not JSON" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nosuch", str(NVME)], "no captured output is called 'nosuch'; there are "),
        (["smartctl", "/nonexistent"], "cannot read /nonexistent: No such file or directory"),
        (["smartctl", str(FIXTURES)], "is a folder"),
    ],
)
def test_wrong_use_ends_with_2_and_names_the_bad_value(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["facts", "parse", *arguments])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_nothing_in_a_file_can_act_on_the_terminal(tmp_path):
    evil = json.loads(NVME.read_text())
    evil["model_name"] = "\x1b]0;owned\x07 \u202edisk"
    file = tmp_path / "evil.json"
    file.write_text(json.dumps(evil, ensure_ascii=False))
    printed = run("parse", "smartctl", file)
    assert "\x1b" not in printed.stdout
    assert "\u202e" not in printed.stdout
    assert json.loads(printed.stdout)["disks"][0]["model"] == "\x1b]0;owned\x07 \u202edisk"
    file.write_text("\x1b[2J\n")
    assert "\x1b" not in run("parse", "smartctl", file).stderr


def test_text_is_read_as_windows_and_linux_save_it():
    assert CapturedFile("a", "Größe".encode("utf-16")).text() == "Größe"
    assert CapturedFile("a", "Größe".encode("cp1252")).text() == "Größe"
    assert CapturedFile("a", b"\xef\xbb\xbfone\r\ntwo\rthree").lines()[2].text == "three"
    with pytest.raises(CaptureError, match="a:2: holds zero bytes"):
        CapturedFile("a", b"one\ntw\x00o").text()
    with pytest.raises(CaptureError, match="damaged"):
        CapturedFile("a", b"\xff\xfe\x00\xd8").text()
    assert CapturedFile("a.gz", gzip.compress(b"packed")).text() == "packed"
    with pytest.raises(CaptureError, match="begins as gzip and is damaged"):
        CapturedFile("a.gz", b"\x1f\x8b\x08\x00 nonsense").text()
    with pytest.raises(CaptureError, match="the most that are read"):
        CapturedFile("bomb.gz", gzip.compress(bytes(MAX_FILE_BYTES + 2), compresslevel=1)).text()
    with pytest.raises(CaptureError, match="nested too deeply"):
        CapturedFile("a", b"[" * 200_000).json()


def test_lines_nobody_took_are_unread_and_their_number_is_bounded():
    reading = Reading(CapturedFile("log", b"good\n\nodd 1\n" + b"what\n" * (MAX_UNREAD + 5)))
    for line in reading:
        if line.text.startswith(("good", "odd")):
            reading.take(line)
        if line.text.startswith("odd"):
            reading.odd(line, "no number")
    unread = reading.unread()
    assert unread[0] == Unread("log", 3, "odd 1", "no number")
    assert str(unread[1]) == "log:4: not understood: what"
    assert len(unread) == MAX_UNREAD + 1
    assert str(unread[-1]) == "log: 6 lines more not understood"


def test_a_parser_that_stumbles_is_told_as_our_mistake():
    def stumbles(_files) -> Parsed:
        raise KeyError("colour")

    parsed = Capture(name="x", title="X", document=Disks, files="something", read=stumbles).parse(
        [CapturedFile("a.txt", b"")]
    )
    assert parsed.document is None
    assert str(parsed.unread[0]) == "a.txt: the parser stumbled (KeyError: 'colour'); please report it with the file"
    assert captures()["smartctl"].parse([]).document is None


SAMPLES = sorted(path for path in FIXTURES.rglob("*") if path.is_file() and path.stat().st_size < 60_000)


@pytest.mark.parametrize("name", captures())
def test_no_damage_makes_a_parser_stumble(name):
    """Every recorded output that we have, whole, cut and with wrong bytes, given to every kind."""
    chance = random.Random(name)
    capture = captures()[name]
    for path in [*chance.sample(SAMPLES, min(len(SAMPLES), 25))]:
        data = path.read_bytes()
        cut = data[: chance.randrange(len(data) + 1)]
        wrong = bytearray(data)
        for _ in range(min(len(wrong), 8)):
            wrong[chance.randrange(len(wrong))] = chance.choice(b'\n :,{}[]"09-xZ\xff')
        for each in (data, cut, bytes(wrong)):
            parsed = capture.parse([CapturedFile(path.name, each)])
            stumbled = [str(one) for one in parsed.unread if "stumbled" in one.why]
            assert not stumbled, f"{path.name}: {stumbled[0]}"
