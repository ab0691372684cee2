"""Tables at the width of a plain terminal: what people copy stays whole, and numbers stay with their words."""

from __future__ import annotations

import json
import re

import pytest
from rich.text import Text

from forestall.cli.client import Api
from forestall.cli.desk import SHORT_ID, _counts, find_device, find_job
from forestall.cli.errors import CommandError
from forestall.cli.show import print_table

FIRST = "0cea3894-2d0c-4c56-bc73-6d803e281c37"
SECOND = "dc9f6dda-e10e-4cb4-9fdf-1274328f5fd0"
FILES = [{"id": FIRST, "name": "files"}, {"id": SECOND, "name": "files"}, {"id": SECOND[::-1], "name": "files-old"}]


class Server:
    """Answers every list with the same page, as the API shapes it."""

    def __init__(self, items: list[dict[str, str]]) -> None:
        self._items = items

    def get(self, _path: str, **_query: object) -> dict[str, object]:
        return {"items": self._items, "next_cursor": None}


def test_nothing_is_folded_that_has_room(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_table(("Line", "Which", "Why"), [("2", "Alder & Finch Solicitors · Leeds · web-01", "")], empty="")
    assert "Alder & Finch Solicitors · Leeds · web-01" in capsys.readouterr().out


def test_ids_and_states_are_never_folded(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rows = [("files", FIRST[:SHORT_ID], "A client with a long name", "approved", "a reason " * 20)]
    print_table(("Device", "Id", "Client", "State", "Why"), rows, empty="")
    shown = capsys.readouterr().out
    assert FIRST[:SHORT_ID] in shown
    assert "approved" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_each_count_of_checks_has_a_line_with_its_word() -> None:
    assert _counts({"pass": 13, "fail": 1, "unknown": 2}).plain.splitlines() == ["1 ■ fail", "2 ◌ unknown", "13 ● pass"]
    assert _counts({}).plain == "not judged yet"


def test_a_device_is_found_by_name_id_or_the_beginning_of_its_id() -> None:
    server = Server(FILES)
    assert find_device(server, FIRST)["id"] == FIRST  # type: ignore[arg-type]
    assert find_device(server, SECOND[:SHORT_ID])["id"] == SECOND  # type: ignore[arg-type]
    assert find_device(server, "files-old")["name"] == "files-old"  # type: ignore[arg-type]
    with pytest.raises(CommandError, match=rf"several devices are called 'files': files \({FIRST[:8]}\), files"):
        find_device(server, "files")  # type: ignore[arg-type]
    with pytest.raises(CommandError, match="no device is called"):
        find_device(server, FIRST[: SHORT_ID - 1])  # type: ignore[arg-type]


def test_a_job_is_found_by_the_beginning_of_its_id() -> None:
    server = Server(FILES[:2])
    assert find_job(server, FIRST[:4])["id"] == FIRST  # type: ignore[arg-type]
    with pytest.raises(CommandError, match="no job has an id that begins with 'zz'"):
        find_job(server, "zz")  # type: ignore[arg-type]
    with pytest.raises(CommandError, match="several jobs"):
        find_job(server, "")  # type: ignore[arg-type]


HOSTILE = (
    "\x1b[31mred\x1b[0m",
    "\x1b]0;another title\x07",
    "\x9b2Jgone",
    "a\rb",
    "\x08\x08",
    "\u202egnp.exe",
    "[bold]x[/bold]",
    "[/]",
    "[link=http://evil.example]x[/link]",
    "\u2066x\u2069",
    "\x7f",
)


def test_v17_a_table_sends_the_terminal_no_word_of_anybody_else(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["Device", "Why"], [[one, Text(one, style="red")] for one in HOSTILE], empty="none")
    shown = capsys.readouterr().out
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert shown.count("[bold]x[/bold]") == 2, "markup is shown as it was written"
    assert "␛[31mred" in shown


def test_v17_what_the_server_says_reaches_the_terminal_as_words(monkeypatch: pytest.MonkeyPatch) -> None:
    said = json.dumps({"name": list(HOSTILE), "text": "two\nlines\tand a tab"}).encode()
    monkeypatch.setattr(Api, "raw", lambda *_, **__: said)
    answer = Api(url="http://x", token="t").get("/devices")
    assert answer["text"] == "two\nlines\tand a tab"
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "".join(answer["name"]))
