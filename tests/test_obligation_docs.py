"""The table of built-in obligations in the docs is what the product does."""

from __future__ import annotations

from pathlib import Path

import pytest

from forestall.server.checks.kinds.security_updates.rule import Policy
from forestall.server.patching.obligations import BUILT_IN

PAGE = Path(__file__).resolve().parents[1] / "docs" / "obligations.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="installed without the docs")


def test_the_table_of_built_in_obligations_is_what_the_product_does() -> None:
    told = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert told == [
        f"| `{slug}` {terms.title} | {terms.about}{', tested on a named device first' if terms.needs_test else ''} | "
        f"{terms.deadline.words} | {terms.source} |"
        for slug, terms in BUILT_IN.items()
    ]


def test_the_check_and_the_contract_share_their_hours() -> None:
    assert Policy().obligation_hours == BUILT_IN["contract"].deadline.hours
