"""The built-in runbooks, and the pages that describe them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forestall.agent.act.actions import ACTIONS
from forestall.agent.act.execute import LEAST_RISK
from forestall.server.runbooks.docs import page
from forestall.server.runbooks.library import read_library
from forestall.server.runbooks.rules import PARAMETER_OF_TRIGGER
from forestall.trust.authorise import Refused, RefusedBecause, complete_parameters, filled_steps, require_actions
from forestall.trust.sign import new_order
from forestall.trust.words import describe, step_words
from forestall.wire.facts import DOCUMENT_BY_NAME

DOCS = Path(__file__).parents[5] / "docs"
SOURCE = Path(__file__).parents[3]
LIBRARY = {runbook.slug: runbook for runbook in read_library()}
SAMPLES = {"path": "/srv", "service": "nginx", "text": "documents", "integer": 7, "boolean": True}

SAMPLES_OF = {
    "undo-change": {"job": "11111111-1111-4111-8111-111111111111"},
    "lock-account": {"account": "ada"},
    "expire-password": {"account": "ada"},
    "remove-ssh-key": {"account": "ada", "fingerprint": f"SHA256:{'a' * 43}"},
    "test-disk": {"device": "/dev/sda"},
    "roll-back-packages": {"packages": "openssl=3.0.11-1 libc6:i386=1:2.36-9"},
}


def test_the_three_runbooks_of_the_loop_are_there():
    assert {"free-disk-space", "restart-service", "rerun-backup"} <= set(LIBRARY)


@pytest.mark.parametrize("slug", LIBRARY)
def test_every_runbook_fits_the_agents_actions(slug):
    runbook = LIBRARY[slug]
    require_actions(runbook, LEAST_RISK)
    given = {parameter.name: SAMPLES[parameter.kind] for parameter in runbook.parameters if parameter.default is None}
    values = complete_parameters(runbook, {**given, **SAMPLES_OF.get(slug, {})})
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


def test_every_step_has_words_for_the_operator_who_signs():
    for runbook in LIBRARY.values():
        given = {each.name: SAMPLES[each.kind] for each in runbook.parameters if each.default is None}
        values = complete_parameters(runbook, {**given, **SAMPLES_OF.get(runbook.slug, {})})
        assert [words for words in step_words(runbook, values) if "no words for" in words] == []


@pytest.mark.parametrize(
    ("slug", "parameters"),
    [
        ("install-updates", {"packages": "openssl=3.0.11-1 --allow-unauthenticated"}),
        ("install-updates", {"packages": "-oDir::Etc=/tmp=1"}),
        ("install-updates", {"packages": "openssl"}),
        ("install-updates", {"exclude": "-y"}),
        ("install-updates", {"exclude": "openssl;id"}),
        ("install-updates", {"choose": "everything"}),
        ("install-updates", {"manager": "../sh"}),
        ("install-updates", {"packages": "./evil.deb=1"}),
        ("install-updates", {"packages": "/tmp/evil.deb=1"}),
        ("install-updates", {"packages": "http://198.51.100.7/evil.deb=1"}),
        ("hold-packages", {"packages": "--all"}),
        ("hold-packages", {"packages": ""}),
        ("roll-back-packages", {"packages": "openssl"}),
        ("reboot", {"warn_minutes": 100_000}),
        ("reboot", {"reason": "line\nline"}),
        ("restart-outdated-services", {"exclude": "$(id)"}),
    ],
)
def test_patch_runbooks_take_nothing_that_is_an_option_or_a_path(slug, parameters):
    with pytest.raises(Refused):
        complete_parameters(LIBRARY[slug], parameters)


def test_patch_runbooks_take_what_package_managers_call_things():
    text = (
        "openssl=3.0.11-1~deb12u2 libc6:i386=2.36-9+deb12u14 libstdc++6=12.2.0-14 vim=2:9.0.1378-2 Microsoft.Edge=1.2"
    )
    values = complete_parameters(LIBRARY["install-updates"], {"choose": "chosen", "packages": text})
    assert values["manager"] == "apt"
    assert values["reboot"] == "never"
    long = " ".join(f"package-{number}=1:{number}.0-1" for number in range(160))
    assert len(long) <= 4096
    complete_parameters(LIBRARY["install-updates"], {"packages": long})


def test_there_are_twenty_runbooks_at_least():
    assert len(LIBRARY) >= 20


def test_every_runbook_has_a_test_that_runs_it_on_the_real_thing():
    """By the marker ``runbook("slug")``, in any test of the agent or the server."""
    tests = (SOURCE / "agent").rglob("test_*.py"), (SOURCE / "server").rglob("test_*.py")
    marked = {
        slug
        for folder in tests
        for file in folder
        for slug in re.findall(r'mark\.runbook\("([a-z0-9-]+)"\)', file.read_text(encoding="utf-8"))
    }
    assert set(LIBRARY) - marked == set()
    assert marked - set(LIBRARY) == set()


@pytest.mark.skipif(not DOCS.exists(), reason="installed without its docs")
def test_the_page_of_the_library_is_made_from_it():
    written = (DOCS / "runbooks.md").read_text()
    assert written == page(), "python -m forestall.server.runbooks.docs > docs/runbooks.md"
