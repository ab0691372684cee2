"""``forestall coverage`` and ``forestall health`` against a real server."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta

import pytest

from forestall.cli.tests.conftest import ADA
from forestall.server.checks.models import Check
from forestall.server.health import queries
from forestall.server.inventory.models import Device

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def web(forestall, device):
    now = datetime.now(UTC)
    Device.objects.visible_to(ADA).filter(pk=device.pk).update(last_check_in_at=now, role="server")
    Check.objects.create(
        device=device, kind="disk_space", target="/", status="fail", answered="fail", risk="high",
        reason="/ is 97 % full.", since=now, judged_at=now, due_at=now,
    )  # fmt: skip
    return device


def test_ada_sees_who_is_covered_and_what_matters_most(forestall, web):
    matrix = forestall("coverage")
    assert "web-01" in matrix.output, matrix.exception
    assert "■ fail" in matrix.output
    gaps = forestall("coverage", "gaps").output
    assert "critical" in gaps
    assert "Nobody has said what must be recoverable" in gaps
    found = json.loads(forestall("coverage", "gaps", "--client", "Acme Ltd", "--json").output)
    assert found[0]["points"] >= found[-1]["points"]


def test_ada_accepts_a_gap_for_a_while_and_takes_it_back(forestall, web):
    assert "every one counts" in forestall("coverage", "exceptions").output
    made = forestall(
        "coverage", "except", "antivirus", "--device", "web-01", "--until", "90d", "--reason", "an appliance"
    )
    assert "antivirus, device web-01" in made.output, made.exception
    assert "an appliance" in forestall("coverage", "exceptions").output
    (one,) = queries.exceptions(scope=ADA)
    assert one.expires_at > datetime.now(UTC) + timedelta(days=89)
    assert "counts again" in forestall("coverage", "end", str(one.pk)).output
    assert "no date" in str(
        forestall("coverage", "except", "antivirus", "--device", "web-01", "--until", "soon", "--reason", "x").exception
    )


def test_ada_takes_the_matrix_along(forestall, web, tmp_path):
    file = tmp_path / "coverage.csv"
    assert "cells in" in forestall("coverage", "csv", str(file)).output
    rows = list(csv.DictReader(file.open(encoding="utf-8")))
    assert {row["column"] for row in rows} >= {"agent", "backup", "access"}


def test_every_lost_point_names_its_check(forestall, web):
    shown = forestall("health", "show", "web-01")
    assert "web-01 stands at 80 of 100" in shown.output, shown.exception
    assert "-20.0" in shown.output
    assert "/ is 97 % full." in shown.output
    assert "Acme Ltd" in forestall("health").output
    (client,) = json.loads(forestall("health", "show", "--client", "Acme Ltd", "--json").output)
    assert client["score"] == 80


def test_ada_runs_the_health_now_and_it_is_kept(forestall, web):
    assert "No run yet" in forestall("health", "history").output
    run = forestall("health", "run", "--client", "Acme Ltd")
    assert "Acme Ltd stands at" in run.output, run.exception
    assert "1 of 1 devices judged" in run.output
    assert "asked for by ada" in forestall("health", "history").output
