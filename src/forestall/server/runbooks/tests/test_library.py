"""The built-in runbooks, and the pages that describe them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forestall.agent.act.actions import ACTIONS
from forestall.agent.act.execute import LEAST_RISK
from forestall.server.runbooks.library import read_library
from forestall.server.runbooks.rules import PARAMETER_OF_TRIGGER
from forestall.trust.authorise import RefusedBecause, filled_steps, require_actions
from forestall.trust.sign import new_order
from forestall.trust.words import describe
from forestall.wire.facts import DOCUMENT_BY_NAME

DOCS = Path(__file__).parents[5] / "docs"
LIBRARY = {runbook.slug: runbook for runbook in read_library()}
SAMPLES = {"path": "/srv", "service": "nginx", "text": "documents", "integer": 7, "boolean": True}


def test_the_three_runbooks_of_the_loop_are_there():
    assert {"free-disk-space", "restart-service", "rerun-backup"} <= set(LIBRARY)


@pytest.mark.parametrize("slug", LIBRARY)
def test_every_runbook_fits_the_agents_actions(slug):
    runbook = LIBRARY[slug]
    require_actions(runbook, LEAST_RISK)
    values = {parameter.name: SAMPLES[parameter.kind] for parameter in runbook.parameters}
    for step in filled_steps(runbook, values):
        wanted = ACTIONS[step.action].ARGUMENTS
        assert {name: type(value) for name, value in step.arguments.items()} == dict(wanted), step
    assert set(runbook.collect_after) <= set(DOCUMENT_BY_NAME)
    assert runbook.collect_after
    assert len(runbook.description) > 20
    assert runbook.undo.endswith(".")


def test_every_trigger_fills_a_parameter_that_some_runbook_has():
    parameters = {parameter.name for runbook in LIBRARY.values() for parameter in runbook.parameters}
    assert set(PARAMETER_OF_TRIGGER.values()) <= parameters


@pytest.mark.skipif(not DOCS.exists(), reason="installed without its docs")
def test_every_refusal_and_every_action_is_documented():
    authority = (DOCS / "protocol" / "authority.md").read_text()
    assert [code for code in RefusedBecause if f"| `{code}` |" not in authority] == []
    runbook = (DOCS / "extending" / "runbook.md").read_text()
    assert [name for name in ACTIONS if f"| `{name}` |" not in runbook] == []


def test_words_belong_to_the_runbook_they_are_made_from():
    order = new_order(
        runbook=LIBRARY["restart-service"],
        trigger="service_down",
        client_id="c",
        devices=["d"],
        allowed={},
        runs_per_day=1,
        life=timedelta(days=1),
        now=datetime(2026, 11, 23, tzinfo=UTC),
    )
    with pytest.raises(ValueError, match="not free-disk-space"):
        describe(order, runbook=LIBRARY["free-disk-space"])
    assert "where service has no value: this order cannot run" in describe(order, runbook=LIBRARY["restart-service"])
