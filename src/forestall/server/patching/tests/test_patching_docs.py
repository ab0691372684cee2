"""The states in the documents are those of the rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from forestall.server.patching.rules import states_table

PAGE = Path(__file__).resolve().parents[5] / "docs" / "patching.md"
BEGIN, END = "<!-- states -->", "<!-- end of states -->"


@pytest.mark.skipif(not PAGE.is_file(), reason="installed without the docs")
def test_the_documents_have_the_states_as_the_rules_have_them() -> None:
    said = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()
    assert said == states_table(), "put between the marks what states_table() says"
