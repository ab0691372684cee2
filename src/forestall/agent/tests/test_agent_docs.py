"""docs/agent.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from forestall.agent.collect.providers import READERS
from forestall.agent.collect.registry import COLLECTORS
from forestall.agent.config import Limits
from forestall.agent.link.checkin import NEVER_CODES

PAGE = Path(__file__).parents[4] / "docs" / "agent.md"
SECONDS = {"minute": 60, "hour": 3600, "day": 86400}

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="installed without the docs")


def test_every_document_is_there_with_the_time_after_which_it_is_collected_again():
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (\d+) (minute|hour|day)s? \|$", PAGE.read_text(), re.MULTILINE)
    said = {name: int(count) * SECONDS[unit] for name, count, unit in rows}
    assert said == {collector.name: collector.every_seconds for collector in COLLECTORS}


def test_the_bounds_of_the_spool_are_the_ones_in_the_code():
    limits, text = Limits(), PAGE.read_text()
    assert f"{limits.spool_days:g} days and {limits.spool_bytes // 2**20} MiB" in text
    assert f"at most {limits.retry_most_seconds:g}" in text
    assert f"every {limits.retry_barred_seconds / 60:g} minutes" in text
    assert f"({limits.unsaved_check_ins // 60} hours)" in text


def test_every_code_that_sets_a_check_in_aside_is_named():
    (row,) = [line for line in PAGE.read_text().splitlines() if line.endswith("sets that check-in aside |")]
    assert set(re.findall(r"`(\w+)`", row)) == {str(code) for code in NEVER_CODES}


def test_the_table_of_update_providers_says_what_each_can():
    words = ("list", "download", "install", "security_only", "chosen", "hold", "roll_back", "repair")
    section = PAGE.read_text().partition("## Update providers")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \| ([^|]+) \|$", section, re.MULTILINE)
    said = {
        name: {word for word, cell in zip(words, cells.split(" | "), strict=True) if cell == "yes"}
        for name, cells, _ in rows
    }
    assert said == {reader.NAME: set(reader.CAN) for reader in READERS}
    heading = next(line for line in section.splitlines() if line.startswith("| provider |"))
    assert [each.strip().replace(" ", "_") for each in heading.split("|")[2:-2]] == list(words)
    # Every one says how it was tested.
    assert all(tested.strip() for _, _, tested in rows)
