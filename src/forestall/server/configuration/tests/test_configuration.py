"""Ada's machines: judged by their baseline, followed when they drift, and what she decides about it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from forestall.server.configuration import queries, services
from forestall.server.configuration.models import Drift, ImportedAssessment
from forestall.server.configuration.rules import ConfigurationError
from forestall.server.configuration.tests.workshop import SOUND, SYSTEM, hardening
from forestall.server.evidence.models import Entry
from forestall.server.people.scope import NotAllowedError, Permission, Scope
from forestall.server.tickets.models import Ticket
from forestall.wire.facts import Assessment, AssessmentFinding, Assessments, Gap, Sshd

pytestmark = pytest.mark.django_db
ADA = Scope.at("ada", None, list(Permission))


def sshd(**changed):
    return Sshd(installed=True, running=True, settings={**SOUND, **changed}, effective=True)


def evidence(kind):
    return list(Entry.objects.visible_to(SYSTEM).filter(kind=kind).order_by("pk"))


def tickets():
    return list(Ticket.objects.visible_to(SYSTEM).filter(kind="configuration").order_by("number"))


def accept(workshop, reason="The new gateway.", **more):
    return services.drift_accept(device=workshop.device, reason=reason, scope=ADA, now=workshop.now, **more)


def test_a_device_is_judged_as_soon_as_it_tells_how_it_is_set_up(workshop):
    workshop.settle(more={("kernel", "net.ipv4.ip_forward"): "1"})
    assert workshop.row.level == 1
    assert workshop.result("no-forwarding")[0] == "fail"
    assert workshop.result("ssh-no-root") == ("pass", "permitrootlogin is no.")
    assert workshop.result("firewall-on")[0] == "unknown"
    assert workshop.row.failed >= 1
    assert workshop.drift == [], "what is seen for the first time has not drifted"


def test_what_changes_drifts_opens_a_ticket_and_goes_when_it_is_set_back(workshop):
    workshop.settle()
    workshop.report(sshd(permitrootlogin="yes"))
    assert workshop.drift == [("sshd", "permitrootlogin", "no", "yes")]
    assert workshop.row.drifted == 1
    (ticket,) = tickets()
    assert ticket.title.endswith("is not set up as it was accepted")
    told = ticket.events.order_by("pk").first()
    assert told.text == "SSH server: permitrootlogin no → yes"
    (found,) = evidence("drift:found")
    assert found.payload["differences"] == [{"area": "sshd", "name": "permitrootlogin", "before": "no", "after": "yes"}]
    workshop.report(sshd())
    assert workshop.drift == []
    assert Drift.objects.visible_to(SYSTEM).get().settled == "gone"
    assert tickets()[0].state in {"resolved", "closed"}


def test_the_same_drift_is_told_once_and_another_value_is_another_drift(workshop):
    workshop.settle()
    workshop.report(sshd(maxauthtries="9"))
    workshop.report(sshd(maxauthtries="9", port="22"), hardening())
    assert len(evidence("drift:found")) == 1
    workshop.report(sshd(maxauthtries="99"))
    assert workshop.drift == [("sshd", "maxauthtries", "4", "99")]
    assert len(evidence("drift:found")) == 2


def test_ada_accepts_what_was_meant_with_her_reason(workshop):
    workshop.settle()
    workshop.report(sshd(port="2222"), hardening(more={("kernel", "net.ipv4.ip_forward"): "1"}))
    port = Drift.objects.visible_to(SYSTEM).get(area="sshd", settled_at=None)
    assert accept(workshop, reason="Port moved with ticket 7.", drift_ids=[port.pk]) == 1
    assert [one[0] for one in workshop.drift] == ["kernel"]
    assert workshop.row.accepted_by == "ada"
    (entry,) = evidence("drift:accepted")
    assert entry is not None
    assert len(tickets()) == 1
    assert accept(workshop) == 1
    assert workshop.row.drifted == 0
    assert workshop.result("no-forwarding")[0] == "fail", "accepted is not the same as good"
    assert tickets()[0].state in {"resolved", "closed"}
    workshop.report(sshd())
    assert workshop.drift == [("sshd", "port", "2222", "22")], "from now on this is what it is compared with"


def test_nothing_to_accept_and_no_reason_are_refused(workshop):
    workshop.settle()
    with pytest.raises(ConfigurationError, match="nothing has drifted"):
        accept(workshop)
    workshop.report(sshd(port="2222"))
    with pytest.raises(ConfigurationError, match="reason"):
        accept(workshop, reason=" ")
    with pytest.raises(ConfigurationError, match="99999 is not open"):
        accept(workshop, drift_ids=[99999])
    with pytest.raises(NotAllowedError):
        services.drift_accept(
            device=workshop.device, reason="x", scope=Scope.at("bob", None, [Permission.DEVICE_VIEW]), now=workshop.now
        )


def test_what_can_no_longer_be_seen_neither_drifts_nor_is_forgotten(workshop):
    workshop.settle()
    workshop.report(Sshd(installed=True, settings={}, gaps=(Gap(what="settings", why="needs root"),)))
    assert workshop.drift == []
    assert workshop.result("ssh-no-root") == ("unknown", "settings: needs root.")
    workshop.report(sshd(permitrootlogin="yes"))
    assert [one[1] for one in workshop.drift] == ["permitrootlogin"]


def test_a_level_is_chosen_with_a_reason_and_judged_at_once(workshop):
    workshop.settle()
    before = len(workshop.row.results)
    made = services.baseline_assign(
        client=workshop.device.client, level=2, reason="Payment data.", device_id=workshop.device.pk, scope=ADA,
        now=workshop.now,
    )  # fmt: skip
    assert workshop.row.level == 2
    assert len(workshop.row.results) > before
    again = services.baseline_assign(
        client=workshop.device.client, level=0, reason="It goes.", device_id=workshop.device.pk, scope=ADA,
        now=workshop.now,
    )  # fmt: skip
    made.refresh_from_db()
    assert (made.ended_by, again.level, workshop.row.results) == ("ada", 0, [])
    assert len(evidence("baseline:changed")) == 2
    for wrong in ({"level": 3}, {"level": 1, "role": "printer"}, {"level": 1, "reason": ""}):
        with pytest.raises(ConfigurationError):
            services.baseline_assign(
                **{"client": workshop.device.client, "reason": "x", "scope": ADA, "now": workshop.now, **wrong}
            )


def test_leave_to_deviate_ends_by_itself_or_by_a_person(workshop):
    workshop.settle(more={("login", "UMASK"): "022"})
    failed = workshop.row.failed
    leave = services.deviation_accept(
        client=workshop.device.client, control="umask", reason="A shared folder needs it.", scope=ADA, now=workshop.now,
        ends_at=workshop.now + timedelta(days=30), device_id=workshop.device.pk,
    )  # fmt: skip
    assert (workshop.row.failed, workshop.row.deviating) == (failed - 1, 1)
    with pytest.raises(ConfigurationError, match="already"):
        services.deviation_accept(
            client=workshop.device.client, control="umask", reason="x", scope=ADA, now=workshop.now,
            ends_at=workshop.now + timedelta(days=30), device_id=workshop.device.pk,
        )  # fmt: skip
    workshop.office.later(days=31)
    assert services.deviations_expire(now=workshop.now) == 1
    assert (workshop.row.failed, workshop.row.deviating) == (failed, 0)
    with pytest.raises(ConfigurationError, match="over"):
        services.deviation_end(deviation=leave, scope=ADA, now=workshop.now)
    other = services.deviation_accept(
        client=workshop.device.client, control="umask", reason="Again.", scope=ADA, now=workshop.now,
        ends_at=workshop.now + timedelta(days=30),
    )  # fmt: skip
    assert workshop.row.deviating == 1
    services.deviation_end(deviation=other, scope=ADA, now=workshop.now)
    assert workshop.row.deviating == 0
    for wrong in ({"control": "nonsense"}, {"ends_at": workshop.now}, {"ends_at": workshop.now + timedelta(days=400)}):
        with pytest.raises(ConfigurationError):
            services.deviation_accept(
                **{"client": workshop.device.client, "control": "umask", "reason": "x", "scope": ADA,
                   "now": workshop.now, "ends_at": workshop.now + timedelta(days=3), **wrong}
            )  # fmt: skip


LYNIS = Assessment(
    tool="lynis", version="3.0.8", score=59.0,
    findings=(AssessmentFinding(id="AUTH-9328", result="suggestion"), AssessmentFinding(id="A-1", result="pass")),
)  # fmt: skip


def test_what_lynis_found_comes_with_the_device_and_by_hand(workshop):
    at = workshop.now - timedelta(hours=1)
    found = Assessment(**{name: getattr(LYNIS, name) for name in LYNIS.__struct_fields__ if name != "at"}, at=at)
    workshop.settle()
    workshop.report(Assessments(assessments=(found,)))
    workshop.report(Assessments(assessments=(found,), sources=("again",)))
    (kept,) = ImportedAssessment.objects.visible_to(SYSTEM)
    assert (kept.came_by, kept.score, kept.failed, kept.passed) == ("device", 59.0, 1, 1)
    assert evidence("assessment:imported") == []
    brought = services.assessment_import(device=workshop.device, assessment=LYNIS, scope=ADA, now=workshop.now)
    assert (brought.came_by, brought.imported_by) == ("person", "ada")
    assert len(evidence("assessment:imported")) == 1
    with pytest.raises(ConfigurationError, match="already"):
        services.assessment_import(device=workshop.device, assessment=found, scope=ADA, now=workshop.now)
    with pytest.raises(ConfigurationError, match="holds none"):
        services.assessment_import(
            device=workshop.device, assessment=Assessment(tool="lynis"), scope=ADA, now=workshop.now
        )
    assert queries.latest_assessments(scope=SYSTEM, device=workshop.device)[0].pk == brought.pk


def test_another_client_sees_nothing_of_it(workshop):
    workshop.settle()
    workshop.report(sshd(port="2222"))
    stranger = Scope.at("eve", None, list(Permission), clients=[])
    for found in (queries.configurations, queries.drifts, queries.assignments, queries.deviations, queries.assessments):
        assert not list(found(scope=stranger))
    assert queries.configuration_of(scope=stranger, device=workshop.device) is None
