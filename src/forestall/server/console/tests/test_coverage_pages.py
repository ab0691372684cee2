"""Coverage and health in the console: what is missing, one click from its fix, and the check behind every point."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from forestall.server.health import queries
from forestall.server.health.models import CoverageException, HealthRun
from forestall.server.people.scope import Scope

SYSTEM = Scope.system("test")


def text(browser, address):
    answer = browser.get(address)
    assert answer.status_code == 200, f"{address}: {answer.status_code}"
    return answer.content.decode()


def words(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_the_sentence_says_what_is_missing_and_each_gap_leads_to_its_fix(ada, fleet):
    html = text(ada, "/coverage/")
    number = len(queries.gaps(queries.coverage(scope=SYSTEM, now=datetime.now(UTC))))
    assert f"{number:,} gaps" in words(html)
    assert "Say what must be recoverable" in html
    for address in set(re.findall(r'<td[^>]*><a href="(/[^"?]*)[^"]*" title="', html)):
        assert ada.get(address).status_code == 200, address


def test_the_matrix_is_filtered_by_the_address(ada, fleet):
    name = fleet.devices[0].name

    def rows(question):
        return re.findall(r'<th scope="row"><a href="[^"]+" title="([^"]+)"', text(ada, f"/coverage/?{question}"))

    assert len(rows("")) == 12
    assert rows(f"q={name}") == [name]
    assert rows("show=systems") == []
    assert set(rows("column=antivirus")) <= set(rows("show=gaps"))
    assert rows("q=nothing-is-called-so") == []


def test_a_gap_is_accepted_until_a_day_and_ended_again(ada, fleet):
    device = fleet.devices[0]
    form = text(ada, f"/coverage/exceptions/?place=device:{device.pk}&column=recovery")
    assert f"device {device.name}" in form
    until = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
    typed = {"place": f"device:{device.pk}", "column": "recovery", "until": until, "reason": "a kiosk"}
    assert "on record" in ada.post("/coverage/exceptions/", typed, follow=True).content.decode()
    assert "excepted" in words(text(ada, f"/coverage/?q={device.name}"))
    made = CoverageException.objects.visible_to(SYSTEM).get()
    ended = ada.post(f"/coverage/exceptions/{made.pk}/end", follow=True).content.decode()
    assert "counts again" in ended
    for wrong in ({"until": "soon"}, {"reason": " "}, {"column": "nonsense"}, {"place": "nowhere"}):
        answer = ada.post("/coverage/exceptions/", {**typed, **wrong}, follow=True)
        assert answer.status_code == 200
    assert CoverageException.objects.visible_to(SYSTEM).count() == 1


def test_an_auditor_reads_and_is_offered_no_form(auditor, fleet):
    assert "Accept it until then" not in text(auditor, "/coverage/exceptions/")
    assert "now</button>" not in text(auditor, f"/health/?client={fleet.clients[0].pk}")
    assert auditor.post(f"/health/clients/{fleet.clients[0].pk}/run").status_code == 403


def test_the_matrix_can_be_taken_along(ada, fleet):
    answer = ada.get("/coverage/coverage.csv")
    assert answer["Content-Type"].startswith("text/csv")
    lines = answer.content.decode().splitlines()
    assert lines[0].startswith("client,site,thing,name,role,column,status,why")
    assert len(lines) > 12 * 6


def test_every_lost_point_opens_to_its_check(ada, fleet):
    (client, *_) = queries.health(scope=SYSTEM)
    one = client.devices[0]
    html = text(ada, f"/health/devices/{one.device_id}/")
    assert f"{one.score.value} of 100" in words(html)
    for lost in one.score.lost:
        assert f"/devices/{one.device_id}/?check={lost.check.check_id}" in html
        assert f"−{lost.points:.1f}" in html


def test_ada_runs_the_health_of_a_client_and_sees_it_kept(ada, fleet):
    client = fleet.clients[0]
    assert "No run yet" in text(ada, f"/health/?client={client.pk}")
    told = ada.post(f"/health/clients/{client.pk}/run", follow=True).content.decode()
    assert "were judged just now" in told
    run = HealthRun.objects.visible_to(SYSTEM).get()
    assert (run.client_id, run.by) == (client.pk, "ada")
    assert "asked for by ada" in words(text(ada, f"/health/?client={client.pk}"))
    assert "gaps of coverage" in words(text(ada, "/")), "Today tells of it"


def test_a_client_that_is_not_there_shows_nothing_of_another(ada, fleet):
    assert "Nothing has a score yet" in text(ada, "/health/?client=00000000-0000-0000-0000-000000000001")
    assert fleet.devices[0].name not in text(ada, "/coverage/?client=00000000-0000-0000-0000-000000000001")
