"""Ada writes a runbook on the command line, and signs it where the catalogue's key is."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from forestall.server.people.scope import Scope
from forestall.server.runbooks import drafting, queries, services
from forestall.server.runbooks.models import DraftState, Job, RunbookDraft

ADA = Scope.system("ada")


@pytest.fixture
def written(tmp_path):
    """A runbook in a file, as somebody wrote it."""
    content = json.loads(drafting.pretty(drafting.EXAMPLE))
    content |= {"slug": "restart-print", "title": "Restart printing"}

    def write(**changes):
        path = tmp_path / "restart-print.json"
        path.write_text(json.dumps(content | changes, indent=2))
        return path

    return write


def test_from_a_file_to_a_published_runbook(forestall, device, written, tmp_path):
    done = forestall("runbook", "new", "restart-print", "--file", str(written(title="")))
    assert done.return_value == 1
    assert "■ $.title: empty; people read it before they sign" in done.output
    with_error = forestall("runbook", "sign", "restart-print", "--yes")
    assert "cannot be signed yet" in str(with_error.exception)

    done = forestall("runbook", "edit", "restart-print", "--file", str(written()), "--note", "a title")
    assert done.return_value == 0, done.output
    assert "● Saved: version 2." in done.output
    assert "a title" in forestall("runbook", "history", "restart-print").output
    shown = forestall("runbook", "show", "restart-print", "--draft").output
    assert '+  "title": "Restart printing",' in shown

    assert forestall("runbook", "sign", "restart-print", answer="n\n").return_value == 1
    done = forestall("runbook", "sign", "restart-print", answer="y\n")
    assert done.return_value == 0, done.output
    assert "1. Restarts the service <service> and waits until it runs." in done.output
    assert "● Published: restart-print, version 1" in done.output
    assert RunbookDraft.objects.get(slug="restart-print").state == DraftState.SIGNED
    assert "restart-print" in forestall("runbook", "list").output
    assert "Restarts the service <service>" in forestall("runbook", "show", "restart-print").output

    out = tmp_path / "out.json"
    assert forestall("runbook", "export", "restart-print", "--out", str(out)).return_value == 0
    assert drafting.read_draft(out.read_text()) == drafting.read_draft(written().read_text())
    assert forestall("runbook", "check", str(out)).output == "● Nothing is wrong with it.\n"


def test_a_wrong_step_is_named_with_its_place_and_without_a_server(forestall, written):
    path = written(steps=[{"action": "service.restrat", "arguments": {}}])
    done = forestall("runbook", "check", str(path))
    assert done.return_value == 1
    assert "$.steps[0].action: no action is called 'service.restrat'; did you mean" in done.output
    path.write_text("{")
    assert forestall("runbook", "check", str(path)).return_value == 1


def test_going_back_and_putting_away(forestall, device, written):
    forestall("runbook", "new", "restart-service")
    path = written(slug="restart-service", version=2)
    forestall("runbook", "edit", "restart-service", "--file", str(path))
    assert "Version 3: back to version 1." in forestall("runbook", "undo", "restart-service").output
    assert "Version 4: back to version 2." in forestall("runbook", "undo", "restart-service", "--to", "2").output
    assert "put away" in forestall("runbook", "drop", "restart-service").output
    assert "no runbook is called 'nothing'" in str(forestall("runbook", "show", "nothing").exception)


def test_a_job_is_undone_by_its_id(forestall, device):
    job = services.job_prepare(
        scope=ADA, runbook="stop-service", device=device, parameters={"service": "cups"}, reason="unused",
        now=datetime.now(UTC),
    )  # fmt: skip
    assert forestall("sign", str(job.pk), "--yes").return_value == 0
    steps = [{"action": "service.stop", "ok": True, "summary": "stopped", "changed": {"services": 1, "undoable": 1}}]
    Job.objects.visible_to(ADA).filter(pk=job.pk).update(state="succeeded", result_steps=steps, result_envelope=b"x")
    done = forestall("jobs", str(job.pk)[:8], "--undo", "--reason", "it was needed")
    assert done.return_value == 0, done.output
    assert "Prepared undo-change on web-01" in done.output
    prepared = queries.jobs(scope=ADA).get(runbook__slug="undo-change")
    assert prepared.parameters == {"job": str(job.pk)}
    assert forestall("jobs", str(job.pk)[:8], "--undo").return_value != 0


def test_an_order_says_how_many_devices_an_hour(forestall, device):
    done = forestall(
        "order", "sign", "restart-service", "--device", "web-01", "--trigger", "service_down",
        "--allow", "service=nginx", "--days", "7", "--devices-per-hour", "3", "--yes",
    )  # fmt: skip
    assert done.return_value == 0, done.output
    assert "On at most 3 devices in any hour; the server keeps to that" in done.output
