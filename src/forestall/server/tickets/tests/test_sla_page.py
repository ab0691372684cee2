"""docs/sla.md says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from forestall.server.alerts import rules as alerts
from forestall.server.alerts.services import MOST_ATTEMPTS
from forestall.server.alerts.stages import ALERT_STAGES
from forestall.server.calendar.rules import DEFAULT_WEEK
from forestall.server.tickets.rules import DEFAULT_TARGETS, WARNINGS

ROOT = next((folder for folder in Path(__file__).parents if (folder / "docs" / "sla.md").exists()), None)
pytestmark = pytest.mark.skipif(ROOT is None, reason="needs the source tree")


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs" / "sla.md").read_text()


def test_it_lists_the_stages_in_their_order(page: str) -> None:
    listed = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert listed == [stage.__name__ for stage in ALERT_STAGES]


def test_it_names_the_targets(page: str) -> None:
    for priority, (response, resolution) in DEFAULT_TARGETS.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| {priority} |"))
        assert row.endswith(f"| {response // 60} h | {resolution // 60} h |")


def test_it_names_the_figures(page: str) -> None:
    text = " ".join(page.split())
    minutes = {name: int(getattr(alerts, name).total_seconds() // 60) for name in (
        "UNKNOWN_PERSISTS", "FLAPPING_SPAN", "FLAPPING_CALM", "FLAPPING_LONGEST")}  # fmt: skip
    assert f"only when that lasts {minutes['UNKNOWN_PERSISTS']} minutes" in text
    assert f"changed {alerts.FLAPPING_CHANGES} times in {minutes['FLAPPING_SPAN']} minutes" in text
    assert f"hold still for {minutes['FLAPPING_CALM']}; after {minutes['FLAPPING_LONGEST']} minutes" in text
    assert f"up to {MOST_ATTEMPTS} times" in text
    assert f"At {WARNINGS[0]}, {WARNINGS[1]} and {WARNINGS[2]} %" in text
    assert DEFAULT_WEEK.plain() == {
        day: [["09:00", "17:30"]] for day in ("monday", "tuesday", "wednesday", "thursday", "friday")
    }
    assert "Monday to Friday, 09:00 to 17:30" in text
