"""Who is covered by what, what is accepted for a while, and the run of every morning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from forestall.server.checks.models import Check
from forestall.server.checks.result import Risk, Status
from forestall.server.console.tests import fleet as fleets
from forestall.server.console.tests.conftest import house  # noqa: F401 - a fixture
from forestall.server.evidence import queries as evidence
from forestall.server.health import queries, services
from forestall.server.health.models import HealthRun
from forestall.server.health.rules import Column
from forestall.server.inventory.assets import asset_create
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.outbox.models import OutboxEvent
from forestall.server.patching.planning import policy_set
from forestall.server.people.models import Client, Person, Site
from forestall.server.people.roles import ROLE_PERMISSIONS, Role
from forestall.server.people.scope import NotAllowedError, Scope
from forestall.server.people.services import person_create
from forestall.server.tickets.models import ClientMail

SYSTEM = Scope.system("story")
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
QUERIES = 19
"""The whole matrix, however many devices."""

pytestmark = pytest.mark.django_db


class Story:
    """Acme in Leeds and York; web-01 well looked after, pc-07 not."""

    def __init__(self) -> None:
        self.acme = Client.objects.create(name="Acme", timezone="Europe/London")
        self.leeds = Site.objects.create(client=self.acme, name="Leeds")
        self.york = Site.objects.create(client=self.acme, name="York")
        self.web = self.device("web-01", self.leeds, role="server")
        self.pc = self.device("pc-07", self.york, role="endpoint")

    def device(self, name: str, site: Site, *, role: str, status: str = DeviceStatus.APPROVED) -> Device:
        return Device.objects.create(
            client=site.client, site=site, name=name, hostname=name, status=status, role=role, enrolled_at=NOW,
            public_key=name.encode().ljust(32), last_check_in_at=NOW,
            approved_at=NOW if status == DeviceStatus.APPROVED else None,
        )  # fmt: skip

    def check(self, device: Device, kind: str, status: Status = Status.PASS, **values) -> Check:
        defaults = {
            "reason": f"{kind} {status}", "risk": Risk.HIGH, "since": NOW, "judged_at": NOW, "due_at": NOW,
            "answered": status.value if status in {Status.PASS, Status.WARN, Status.FAIL} else "",
        }  # fmt: skip
        return Check.objects.create(device=device, kind=kind, status=status, **{**defaults, **values})

    def line(self, name: str, **place) -> queries.Line:
        lines = queries.coverage(scope=SYSTEM, now=NOW, **place)
        return next(line for line in lines if line.subject.name == name)


@pytest.fixture
def story(tmp_path, monkeypatch) -> Story:
    monkeypatch.setenv("FORESTALL_HOME", str(tmp_path))
    (tmp_path / "server").mkdir()
    return Story()


def test_every_column_says_what_is_there_and_what_is_missing(story):
    story.check(story.web, "antivirus")
    story.check(story.web, "disk_health", Status.FAIL, reason="/dev/sda has 12 reallocated sectors.")
    story.check(story.web, "backup_age")
    cells = story.line("web-01").cells
    assert list(cells) == list(Column)
    assert (cells[Column.AGENT].status, cells[Column.ANTIVIRUS].status) == (Status.PASS, Status.PASS)
    assert cells[Column.DISKS].why == "/dev/sda has 12 reallocated sectors."
    assert cells[Column.DISKS].href.startswith(f"/devices/{story.web.pk}/?check=")
    assert cells[Column.PATCHING].why == "No patch policy covers it: nothing is installed by itself."
    assert cells[Column.PATCHING].href == f"/clients/{story.acme.pk}/updates/"
    assert (cells[Column.BACKUP].status, cells[Column.RECOVERY].status) == (Status.PASS, Status.FAIL)
    assert "Nobody has said what must be recoverable" in cells[Column.RECOVERY].why


def test_what_is_not_known_is_a_gap_and_never_a_pass(story):
    cells = story.line("pc-07").cells
    assert {cells[column].status for column in (Column.BACKUP, Column.ANTIVIRUS, Column.DISKS)} == {Status.UNKNOWN}
    assert all(cell.is_gap for column, cell in cells.items() if column is not Column.AGENT)
    assert all(cell.href and cell.fix for cell in cells.values()), "one click from the fix"


def test_a_patch_policy_covers_and_then_its_checks_count(story):
    policy_set(client=story.acme, site=story.leeds, scope=SYSTEM, now=NOW)
    story.check(story.web, "security_updates", Status.WARN, reason="3 security updates wait.")
    cell = story.line("web-01").cells[Column.PATCHING]
    assert (cell.status, cell.why) == (Status.WARN, "3 security updates wait.")
    assert story.line("pc-07").cells[Column.PATCHING].status is Status.FAIL, "York has none"


def test_a_machine_on_the_list_without_an_agent_is_a_row_of_its_own(story):
    asset_create(site=story.leeds, values={"name": "old-nas", "role": "server"}, scope=SYSTEM, now=NOW)
    cell = story.line("old-nas").cells[Column.AGENT]
    assert (cell.status, cell.href) == (Status.FAIL, "/devices/enrol")


def test_what_does_not_apply_is_neither_gap_nor_pass(story):
    story.device("print-1", story.leeds, role="printer")
    cells = story.line("print-1").cells
    assert cells[Column.ANTIVIRUS].status is None
    assert not cells[Column.ANTIVIRUS].is_gap


def test_gaps_are_ranked_by_what_they_put_at_risk(story):
    found = queries.gaps(queries.coverage(scope=SYSTEM, now=NOW))
    assert [gap.points for gap in found] == sorted((gap.points for gap in found), reverse=True)
    assert found[0].subject.name == "web-01"
    assert found[0].risk is Risk.CRITICAL


def test_an_exception_has_reason_and_end_and_then_the_gap_counts_again(story):
    made = services.coverage_except(
        column="antivirus", device=story.pc, reason="kiosk without network", expires_at=NOW + timedelta(days=30),
        scope=SYSTEM, now=NOW,
    )  # fmt: skip
    cell = story.line("pc-07").cells[Column.ANTIVIRUS]
    assert not cell.is_gap
    assert (cell.status, cell.exception_reason) == (Status.UNKNOWN, "kiosk without network")
    later = queries.coverage(scope=SYSTEM, now=NOW + timedelta(days=31))
    assert next(line for line in later if line.subject.name == "pc-07").cells[Column.ANTIVIRUS].is_gap
    services.coverage_exception_end(exception=made, scope=SYSTEM, now=NOW + timedelta(days=1))
    assert story.line("pc-07").cells[Column.ANTIVIRUS].is_gap
    with pytest.raises(services.CoverageError, match="ended by"):
        services.coverage_exception_end(exception=made, scope=SYSTEM, now=NOW + timedelta(days=2))
    assert evidence.entries(scope=SYSTEM).filter(kind="coverage:excepted").count() == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"reason": "  "}, "say why"),
        ({"column": "nonsense"}, "'nonsense' is none"),
        ({"expires_at": NOW}, "not within a year"),
        ({"expires_at": NOW + timedelta(days=400)}, "not within a year"),
        ({"reason": "x" * 501}, "501 characters"),
    ],
)
def test_an_exception_that_cannot_be_is_refused_by_name(story, changes, says):
    values = {"column": "backup", "reason": "x", "expires_at": NOW + timedelta(days=3), **changes}
    with pytest.raises(services.CoverageError, match=says):
        services.coverage_except(site=story.leeds, scope=SYSTEM, now=NOW, **values)


def test_a_technician_cannot_except_and_sees_only_her_site(story):
    york = Scope.at("tess", 5, ROLE_PERMISSIONS[Role.TECHNICIAN], sites={story.york.pk: story.acme.pk})
    assert [line.subject.name for line in queries.coverage(scope=york, now=NOW)] == ["pc-07"]
    values = {"column": "backup", "reason": "x", "expires_at": NOW + timedelta(days=3), "scope": york, "now": NOW}
    with pytest.raises(NotAllowedError):
        services.coverage_except(device=story.pc, **values)
    with pytest.raises(Device.DoesNotExist):
        services.coverage_except(device=story.web, **values)


def test_a_spreadsheet_takes_no_cell_for_a_formula(story):
    Device.objects.visible_to(SYSTEM).filter(pk=story.pc.pk).update(name="=cmd|' /C calc'!A0")
    text = queries.csv_of(queries.coverage(scope=SYSTEM, now=NOW))
    assert "'=cmd" in text
    assert text.splitlines()[0].startswith("client,site,thing,name")


def test_the_matrix_of_five_hundred_costs_as_many_questions_as_that_of_twelve(house):  # noqa: F811 - the fixture
    counted = []
    for number in (12, 500):
        fleets.build(number, now=datetime.now(UTC), days=1)
        with CaptureQueriesContext(
            connection,
        ) as asked:
            lines = queries.coverage(scope=SYSTEM, now=datetime.now(UTC))
        counted.append(len(asked))
        assert len(lines) >= number
    assert counted[0] == counted[1] <= QUERIES


# --- health -----------------------------------------------------------------------------------------------------


def test_every_point_of_a_device_opens_to_a_check(story):
    bad = story.check(story.web, "disk_space", Status.FAIL, target="/")
    story.check(story.web, "disk_space", Status.WARN, target="/data")
    story.check(story.web, "cpu")
    (client,) = queries.health(scope=SYSTEM)
    web = next(one for one in client.devices if one.name == "web-01")
    assert web.score.value == 80
    (lost,) = web.score.lost
    assert (lost.check.check_id, lost.points, [each.target for each in lost.others]) == (
        bad.pk,
        pytest.approx(20),
        ["/data"],
    )
    assert client.value == 53, "pc-07 was never judged, and the server counts twice"


def test_the_morning_run_is_once_a_day_and_told_to_who_owns_the_tickets(story, settings):
    settings.MAIL_IS_SET = True
    ada = person_create(username="ada", password="correct horse battery", role=Role.OWNER)
    Person.objects.filter(pk=ada.pk).update(email="ada@example.org")
    story.check(story.web, "disk_space", Status.FAIL, target="/")
    assert services.health_tick(now=datetime(2026, 11, 23, 5, 30, tzinfo=UTC)) == 0, "06:00 has not come in London"
    morning = datetime(2026, 11, 23, 6, 5, tzinfo=UTC)
    assert services.health_tick(now=morning) == 1
    assert services.health_tick(now=morning + timedelta(minutes=1)) == 0
    run = HealthRun.objects.visible_to(SYSTEM).get()
    assert (run.devices, run.judged, run.scheduled) == (2, 2, True)
    mail = ClientMail.objects.visible_to(SYSTEM).get()
    assert mail.address == "ada@example.org"
    assert "Acme stands at" in mail.subject
    assert "web-01 (Leeds)" in mail.text
    assert run.told[0]["person"] == "ada"
    assert evidence.entries(scope=SYSTEM).filter(kind="health:run").count() == 1
    assert OutboxEvent.objects.filter(name="health.run_done").count() == 1
    assert services.health_tick(now=morning + timedelta(days=1)) == 1
    assert "it was" in HealthRun.objects.visible_to(SYSTEM).order_by("-at").first().summary[0]


def test_a_client_far_away_has_its_own_morning(story):
    story.acme.timezone = "Pacific/Auckland"
    story.acme.save()
    assert services.health_tick(now=datetime(2026, 11, 23, 6, 5, tzinfo=UTC)) == 0, "evening there"
    assert services.health_tick(now=datetime(2026, 11, 23, 17, 5, tzinfo=UTC)) == 1
    assert HealthRun.objects.visible_to(SYSTEM).get().day.isoformat() == "2026-11-24"


def test_who_owns_one_site_is_told_of_that_site_alone(story, settings):
    settings.MAIL_IS_SET = True
    tess = person_create(username="tess", password="correct horse battery", role=Role.OWNER, site=story.york)
    Person.objects.filter(pk=tess.pk).update(email="tess@example.org")
    story.check(story.web, "disk_space", Status.FAIL, target="/")
    services.health_tick(now=datetime(2026, 11, 23, 6, 5, tzinfo=UTC))
    mail = ClientMail.objects.visible_to(SYSTEM).get()
    assert "pc-07" in mail.text
    assert "web-01" not in mail.text


def test_somebody_may_ask_for_a_run_and_an_auditor_may_not(story):
    run = services.health_run(client=story.acme, scope=SYSTEM, now=NOW)
    assert (run.scheduled, run.told, run.by) == (False, [], SYSTEM.who)
    auditor = Scope.at("ines", 6, ROLE_PERMISSIONS[Role.AUDITOR], clients=[story.acme.pk])
    with pytest.raises(NotAllowedError):
        services.health_run(client=story.acme, scope=auditor, now=NOW)
    assert queries.runs(scope=auditor).count() == 1
    york = Scope.at("tess", 5, ROLE_PERMISSIONS[Role.TECHNICIAN], sites={story.york.pk: story.acme.pk})
    assert not queries.runs(scope=york).exists(), "a run counts every site"
