"""docs/agent.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
