"""Marks: a risk that somebody accepts until a day, a false alarm, a thing that cannot be reached."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from forestall.server.evidence.models import Entry
from forestall.server.home import Home
from forestall.server.people.scope import NotAllowedError, Permission, Scope
from forestall.server.people.services import client_create, site_create
from forestall.server.vulnerabilities import queries, ranking, services
from forestall.server.vulnerabilities.models import Vulnerability
from forestall.server.vulnerabilities.rules import MarkError
from forestall.server.vulnerabilities.tests.story import (
    ALMA,
    NOW,
    OLD_SUDO,
    SUDO,
    SYSTEM,
    device,
    report,
    rpm,
    settle,
    take,
)

pytestmark = pytest.mark.django_db
MONTH = NOW + timedelta(days=30)


@pytest.fixture
def world(tmp_path):
    home = Home(tmp_path / "home")
    take(home, "almalinux", ALMA)
    acme, bolt = (
        site_create(client=client_create(name=name, timezone="UTC"), name="Main") for name in ("Acme", "Bolt")
    )
    own = [device(acme, "web"), device(acme, "db"), device(bolt, "till")]
    for one in own:
        report(one, rpm("sudo", OLD_SUDO))
    settle(home)
    return own


def having(at=NOW, scope=SYSTEM) -> set[str]:
    """Devices on which sudo's hole counts."""
    past = {"at": at} if at != NOW else {}
    found = queries.narrowed(queries.picture(scope=scope, now=NOW, **past), queries.Wish(q=SUDO))
    names = {one.pk: one.name for one in queries.Device.objects.visible_to(SYSTEM)}
    return {names[one.device] for one in queries.devices(found)}


def mark(device, *, whole=False, kind="accepted", scope=SYSTEM, now=NOW, **more):
    asked = {"expires_at": MONTH if kind == "accepted" else None, "reason": "behind two doors", **more}
    return services.vulnerability_mark(
        client=device.client, device=None if whole else device, vulnerability=SUDO, mark=kind, scope=scope, now=now,
        **asked,
    )  # fmt: skip


def test_an_accepted_risk_no_longer_counts_there_and_counts_elsewhere(world):
    web, db, _ = world
    assert having() == {"web", "db", "till"}
    mark(web)
    assert having() == {"db", "till"}
    mark(db, whole=True)
    assert having() == {"till"}
    assert queries.picture(scope=SYSTEM, now=NOW).marked >= 2
    # Marked again: nothing of it is lost on the page that shows it.
    places = queries.places_of(scope=SYSTEM, found=Vulnerability.objects.get(name=SUDO), now=NOW)
    assert sorted(one.device.name for one in places if one.mark is not None) == ["db", "web"]


def test_an_acceptance_that_ran_out_counts_again_by_itself(world):
    web, _, _ = world
    mark(web)
    later = queries.picture(scope=SYSTEM, now=MONTH + timedelta(seconds=1))
    assert len(queries.devices(queries.narrowed(later, queries.Wish(q=SUDO)))) == 3


def test_a_mark_taken_back_counts_again_and_the_past_remembers_it(world):
    web, _, _ = world
    row = mark(web, kind="false_positive", now=NOW - timedelta(days=2))
    assert "web" not in having()
    services.vulnerability_unmark(mark=row, scope=SYSTEM, now=NOW - timedelta(hours=1))
    assert "web" in having()
    with pytest.raises(MarkError, match="taken back already"):
        services.vulnerability_unmark(mark=row, scope=SYSTEM, now=NOW)


def test_a_mark_on_one_package_says_nothing_of_another(world):
    web, _, _ = world
    mark(web, package="openssl")
    assert "web" in having()
    mark(web, package="sudo")
    assert "web" not in having()


def test_every_mark_is_evidence(world):
    web, _, _ = world
    services.vulnerability_unmark(mark=mark(web), scope=SYSTEM, now=NOW)
    assert Entry.objects.visible_to(SYSTEM).filter(kind="vulnerability:marked", device_id=web.pk).count() == 2


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"reason": "  "}, "reason: empty"),
        ({"expires_at": None}, "ends at a day"),
        ({"expires_at": NOW - timedelta(days=1)}, "is past"),
        ({"expires_at": NOW + timedelta(days=400)}, "looked at again within a year"),
        ({"kind": "wontfix"}, "is none of"),
        ({"reason": "x" * 3000}, "characters"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_reason(world, wrong, why):
    with pytest.raises(MarkError, match=why):
        mark(world[0], **wrong)


def test_only_who_may_accept_risks_there_does(world):
    web, _, till = world
    ada = Scope.at("ada", 1, [Permission.DEVICE_VIEW, Permission.RISK_ACCEPT], sites={web.site_id: web.client_id})
    mark(web, scope=ada)
    with pytest.raises(NotAllowedError):
        mark(web, whole=True, scope=ada)
    with pytest.raises(queries.Device.DoesNotExist):
        mark(till, scope=ada)
    looks = Scope.at("bob", 2, [Permission.DEVICE_VIEW], clients=[web.client_id])
    with pytest.raises(NotAllowedError):
        mark(web, scope=looks)


def test_what_another_client_has_is_not_there_for_us(world):
    web, _, _ = world
    ours = Scope.at("ada", 1, [Permission.DEVICE_VIEW], clients=[web.client_id])
    assert queries.vulnerability(scope=ours, name=SUDO).name == SUDO
    nobody = Scope.at("eve", 3, [Permission.DEVICE_VIEW], clients=[])
    with pytest.raises(Vulnerability.DoesNotExist):
        queries.vulnerability(scope=nobody, name=SUDO)


def test_the_rank_is_the_sum_that_is_shown():
    facts = ranking.Facts("high", 7.8, 0.42, date(2026, 11, 1), date(2026, 11, 25), ransomware=True)
    today = date(2026, 11, 23)
    assert ranking.score_of(facts, today) == 100 + 10 + 10 + 17 + 20
    assert sum(points for _, points in ranking.sum_of(facts, today)) == ranking.score_of(facts, today)
    said = ranking.why_of(facts, today, exposed="nginx on tcp/443", fix="2.0")
    assert said[0].startswith("known to be exploited since 2026-11-01, also for ransomware")
    assert "exposed: nginx on tcp/443" in said
    assert ranking.score_of(ranking.Facts(), today) == ranking.SEVERITY["medium"]
    assert ranking.score_of(ranking.Facts("low", epss=0.01), today) < ranking.score_of(ranking.Facts(), today)
