"""``forestall checks policy`` against a real server."""

from __future__ import annotations

import json

import pytest

from forestall.cli.tests.conftest import ADA
from forestall.server.checks import queries

pytestmark = pytest.mark.django_db(transaction=True)


def test_ada_sets_a_cadence_sees_it_and_takes_it_back(forestall):
    assert "judged by its defaults" in forestall("checks", "policy").output
    made = forestall(
        "checks", "policy", "set", "disk_space", "warn_percent=85", "--every", "30", "--client", "Acme Ltd",
        "--reason", "a build farm",
    )  # fmt: skip
    assert "disk_space, client Acme Ltd: warn_percent=85, every_minutes=30" in made.output, made.exception
    (policy,) = json.loads(forestall("checks", "policy", "list", "--kind", "disk_space", "--json").output)
    assert policy["values"] == {"warn_percent": 85, "every_minutes": 30}
    history = forestall("checks", "policy", "history").output
    assert "a build farm" in history
    change = queries.policy_changes(scope=ADA).get()
    assert "Nothing is set there" in forestall("checks", "policy", "undo", str(change.pk)).output
    assert not queries.policy_list(scope=ADA).exists()


def test_a_site_and_a_device_have_their_own_and_what_cannot_be_is_named(forestall):
    site = forestall(
        "checks", "policy", "set", "plugin", 'ignore=["load"]', "--site", "Acme Ltd/Head office", "--reason", "noise"
    )
    assert "site Acme Ltd/Head office" in site.output, site.exception
    device = forestall("checks", "policy", "set", "cpu", "--every", "5", "--device", "web-01", "--reason", "watch it")
    assert "device web-01" in device.output, device.exception
    assert (
        "Nothing is set" in forestall("checks", "policy", "remove", "cpu", "--device", "web-01", "--reason", "x").output
    )
    wrong = forestall("checks", "policy", "set", "cpu", "colour=red", "--client", "Acme Ltd", "--reason", "x")
    assert "'colour' is no setting of this kind" in str(wrong.exception)
    assert "exactly one" in str(forestall("checks", "policy", "set", "cpu", "--every", "5", "--reason", "x").exception)
