"""Clocks of updates on devices; exceptions; clients' own rules; windows in an emergency."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from forestall.server.calendar.models import MaintenanceWindow
from forestall.server.calendar.services import window_create
from forestall.server.evidence.models import Entry
from forestall.server.inventory.models import Device
from forestall.server.patching.models import Deployment, PatchPolicy, UpdateDecision
from forestall.server.patching.obligation_queries import obligations_of
from forestall.server.patching.obligation_services import (
    emergency_start,
    emergency_window,
    exception_end,
    exception_grant,
    obligation_rule_end,
    obligation_rule_set,
    obligations_refresh,
)
from forestall.server.patching.obligations import ObligationError
from forestall.server.people.models import Client, Site
from forestall.server.people.roles import ROLE_PERMISSIONS, Role
from forestall.server.people.scope import NotAllowedError, Scope
from forestall.server.people.services import client_create, site_create
from forestall.server.vulnerabilities.models import Vulnerability

SYSTEM = Scope.system("tests")
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
"""A Monday."""
DAY, HOUR = timedelta(days=1), timedelta(hours=1)

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme() -> Client:
    return client_create(name="Acme Ltd", timezone="Europe/London")


@pytest.fixture
def leeds(acme: Client) -> Site:
    return site_create(client=acme, name="Leeds")


def device_at(site: Site, name: str = "web") -> Device:
    return Device.objects.create(
        client=site.client, site=site, name=name, status="approved", enrolled_at=NOW - 90 * DAY,
        approved_at=NOW - 90 * DAY, public_key=uuid4().bytes * 2, last_check_in_at=NOW,
    )  # fmt: skip


def pending(device: Device, name: str = "openssl", **said: Any) -> Deployment:
    values: dict[str, Any] = {
        "manager": "apt", "name": name, "candidate": "3.0.17-1", "security": True, "severity": "critical",
        "first_seen_at": NOW, "released_at": NOW, "state": "planned", "state_since": NOW,
    } | said  # fmt: skip
    made: Deployment = Deployment.objects.create(
        client_id=device.client_id, site_id=device.site_id, device=device, **values
    )
    return made


def policy(client: Client, **said: Any) -> PatchPolicy:
    made: PatchPolicy = PatchPolicy.objects.create(
        client=client, created_at=NOW, created_by="ada", changed_at=NOW, changed_by="ada", **said
    )
    return made


def nightly(site: Site, **said: Any) -> MaintenanceWindow:
    values: dict[str, Any] = {
        "name": "Night", "starts_on": date(2026, 11, 23), "starts_at": "22:00", "minutes": 60, "rrule": "FREQ=DAILY",
    } | said  # fmt: skip
    return window_create(site=site, scope=SYSTEM, now=NOW, **values)


def fresh(one: Deployment) -> Deployment:
    found: Deployment = Deployment.objects.visible_to(SYSTEM).get(pk=one.pk)
    return found


def refreshed(one: Deployment, now: datetime = NOW) -> Deployment:
    obligations_refresh(device_ids=[one.device_id], now=now)
    return fresh(one)


def test_a_critical_fix_is_due_in_72_hours_and_a_nightly_window_meets_it(acme: Client, leeds: Site) -> None:
    policy(acme)
    nightly(leeds)
    found = refreshed(pending(device_at(leeds)))
    assert (found.due_at, found.bound_by, found.misses) == (NOW + 72 * HOUR, "contract", False)
    assert obligations_refresh(now=NOW) == 0, "nothing changes when nothing changed"


@pytest.mark.parametrize(
    "window",
    [None, {"starts_on": date(2026, 11, 29), "rrule": "FREQ=WEEKLY;BYDAY=SU"}, {"minutes": 10}],
    ids=["no window", "Sunday is too late", "ten minutes are too short"],
)
def test_the_next_window_misses_it(acme: Client, leeds: Site, window: dict[str, Any] | None) -> None:
    policy(acme)
    if window is not None:
        nightly(leeds, **window)
    assert refreshed(pending(device_at(leeds))).misses


def test_a_window_of_its_own_saves_one_device_of_the_site(acme: Client, leeds: Site) -> None:
    policy(acme)
    web, db = device_at(leeds), device_at(leeds, "db")
    nightly(leeds, device_id=web.pk)
    saved, missed = pending(web), pending(db)
    obligations_refresh(now=NOW)
    assert (fresh(saved).misses, fresh(missed).misses) == (False, True)


def test_nothing_installs_it_without_a_policy_or_before_it_is_approved(acme: Client, leeds: Site) -> None:
    nightly(leeds)
    one = pending(device_at(leeds))
    assert refreshed(one).misses, "no policy covers the device"
    policy(acme, approval="manual")
    assert refreshed(one).misses, "it waits for approval"
    UpdateDecision.objects.create(client=acme, name="open*", decision="approve", at=NOW, by="ada")
    assert not refreshed(one).misses


def test_what_is_deferred_beyond_its_deadline_or_held_for_all_misses_it(acme: Client, leeds: Site) -> None:
    policy(acme)
    nightly(leeds)
    web = device_at(leeds)
    skip = {"state": "skipped", "why": "The ERP needs the old one.", "skip_by": "ada"}
    assert refreshed(pending(web, "deferred", skip_until=NOW + 10 * DAY, **skip)).misses
    assert not refreshed(pending(web, "shortly", skip_until=NOW + DAY, **skip)).misses
    assert refreshed(pending(web, "excluded", **skip)).misses
    assert refreshed(pending(web, "held", state="blocked", why="Held for everyone: it broke sign-in.")).misses
    assert not refreshed(pending(web, "silent", state="blocked", why="The device is silent since 09:00.")).misses


def test_what_is_known_of_its_vulnerabilities_tightens_the_clock_later(acme: Client, leeds: Site) -> None:
    one = pending(device_at(leeds), severity="", cves=["CVE-2026-7"])
    assert refreshed(one).bound_by == "cyber-essentials"
    known = Vulnerability.objects.create(name="CVE-2026-7", severity="critical", changed_at=NOW)
    assert refreshed(one).bound_by == "contract"
    known.kev_added_on, known.kev_due_on = date(2026, 11, 23), date(2026, 11, 24)
    known.save()
    found = refreshed(one)
    assert (found.bound_by, found.due_at) == ("kev", datetime(2026, 11, 25, tzinfo=UTC))


def test_an_older_version_that_was_never_installed_keeps_its_clock_until_one_is(acme: Client, leeds: Site) -> None:
    web = device_at(leeds)
    early = NOW - 10 * DAY
    pending(web, candidate="3.0.16", state="superseded", released_at=early, first_seen_at=early, settled_at=NOW - DAY)
    one = pending(web)
    assert refreshed(one).due_at == early + 72 * HOUR
    pending(web, candidate="3.0.16-2", state="verified", settled_at=NOW, verified_at=NOW)
    assert refreshed(one).due_at == NOW + 72 * HOUR


def test_firmware_waits_for_the_test_on_the_clients_named_device(acme: Client, leeds: Site) -> None:
    policy(acme, choose="all")
    nightly(leeds)
    spare, web = device_at(leeds, "spare"), device_at(leeds)
    firmware = {"manager": "fwupd", "kind": "firmware", "security": False, "severity": ""}
    one, test = pending(web, "BIOS", **firmware), pending(spare, "BIOS", **firmware)
    assert refreshed(one).misses, "no test device is named"
    obligation_rule_set(
        client=acme, slug="firmware-quarterly", terms={"test_device": str(spare.pk)}, reason="The spare is alike.",
        scope=SYSTEM, now=NOW,
    )  # fmt: skip
    assert fresh(one).misses, "not verified there yet"
    assert not fresh(test).misses, "the test device itself may"
    test.state, test.verified_at, test.settled_at = "verified", NOW, NOW
    test.save()
    assert not refreshed(one).misses


# --- exceptions -------------------------------------------------------------------------------------------------


def test_an_exception_moves_its_obligation_until_it_expires_and_is_evidence(acme: Client, leeds: Site) -> None:
    web = device_at(leeds)
    one = pending(web)
    granted = exception_grant(
        client=acme, device_id=web.pk, name="openssl", obligation="contract", reason="The vendor must approve.",
        compensating_control="The port is shut in the firewall.", expires_at=NOW + 10 * DAY, scope=SYSTEM, now=NOW,
    )  # fmt: skip
    assert (fresh(one).due_at, fresh(one).bound_by) == (NOW + 10 * DAY, "contract")
    entry = Entry.objects.visible_to(SYSTEM).filter(kind="exception:changed").latest("pk")
    assert entry.payload["after"]["reason"] == "The vendor must approve."
    assert entry.payload["act"] == "made"
    exception_end(exception=granted, scope=SYSTEM, now=NOW + DAY)
    assert refreshed(one, NOW + DAY).due_at == NOW + 72 * HOUR
    with pytest.raises(ObligationError, match="ended by tests already"):
        exception_end(exception=granted, scope=SYSTEM, now=NOW + DAY)
    assert Entry.objects.visible_to(SYSTEM).filter(kind="exception:changed").count() == 2


def test_one_obligation_excepted_leaves_the_next_strictest(acme: Client, leeds: Site) -> None:
    one = pending(device_at(leeds))
    exception_grant(
        client=acme, obligation="contract", reason="r", compensating_control="c", expires_at=NOW + 90 * DAY,
        scope=SYSTEM, now=NOW,
    )  # fmt: skip
    assert (fresh(one).bound_by, fresh(one).due_at) == ("cyber-essentials", NOW + 14 * DAY)


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ({"reason": " "}, "reason"),
        ({"compensating_control": ""}, "compensating_control"),
        ({"expires_at": NOW}, "expires_at: 2026-11-23 09:00"),
        ({"expires_at": NOW + 400 * DAY}, "expires_at"),
        ({"obligation": "gdpr"}, "obligation: 'gdpr'"),
        ({"device_id": uuid4()}, "is not a device of Acme Ltd"),
        ({"name": "x" * 201}, "name: 201 characters"),
    ],
)
def test_an_exception_without_reason_control_or_end_is_refused(acme: Client, said: dict[str, Any], names: str) -> None:
    values = {"reason": "r", "compensating_control": "c", "expires_at": NOW + DAY} | said
    with pytest.raises(ObligationError, match=names):
        exception_grant(client=acme, scope=SYSTEM, now=NOW, **values)


def test_a_technician_plans_updates_and_accepts_no_risk(acme: Client) -> None:
    tina = Scope.at("tina", 1, ROLE_PERMISSIONS[Role.TECHNICIAN], clients=[acme.pk])
    with pytest.raises(NotAllowedError):
        exception_grant(client=acme, reason="r", compensating_control="c", expires_at=NOW + DAY, scope=tina, now=NOW)
    with pytest.raises(NotAllowedError):
        obligation_rule_set(client=acme, slug="contract", terms={"off": True}, reason="r", scope=tina, now=NOW)


# --- rules of one's own -----------------------------------------------------------------------------------------


def test_a_clients_rule_is_replaced_and_what_held_then_is_kept(acme: Client, leeds: Site) -> None:
    one = pending(device_at(leeds))
    first = obligation_rule_set(
        client=acme, slug="contract", terms={"deadline": {"kind": "after", "hours": 24}}, reason="Agreed on 20 Nov.",
        scope=SYSTEM, now=NOW,
    )  # fmt: skip
    assert fresh(one).due_at == NOW + 24 * HOUR
    second = obligation_rule_set(
        client=acme, slug="contract", terms={"severities": ["critical", "high"]}, reason="And high ones.",
        scope=SYSTEM, now=NOW + DAY,
    )  # fmt: skip
    first.refresh_from_db()
    assert (first.in_force_until, first.ended_by) == (NOW + DAY, "tests")
    assert second.terms["deadline"]["hours"] == 24, "what was not named stays"
    then = {rule.slug: rule.terms for rule in obligations_of(scope=SYSTEM, client=acme, at=NOW + HOUR)}
    assert then["contract"].severities == ("critical",)
    obligation_rule_end(rule=second, scope=SYSTEM, now=NOW + 2 * DAY)
    assert fresh(one).due_at == NOW + 72 * HOUR
    assert Entry.objects.visible_to(SYSTEM).filter(kind="obligation:changed").count() == 3


def test_an_obligation_is_switched_off_with_a_reason(acme: Client, leeds: Site) -> None:
    one = pending(device_at(leeds), severity="high")
    with pytest.raises(ObligationError, match="reason"):
        obligation_rule_set(client=acme, slug="cyber-essentials", terms={"off": True}, reason="", scope=SYSTEM, now=NOW)
    obligation_rule_set(
        client=acme, slug="cyber-essentials", terms={"off": True}, reason="Not certified.", scope=SYSTEM, now=NOW
    )
    assert fresh(one).bound_by == "routine-monthly"
    for slug, names in (("nothing-of-that", "is not in force"), ("Not A Slug", "expected small letters")):
        with pytest.raises(ObligationError, match=names):
            obligation_rule_set(client=acme, slug=slug, terms={"off": True}, reason="r", scope=SYSTEM, now=NOW)


# --- emergency windows ------------------------------------------------------------------------------------------


def test_an_emergency_window_now_saves_the_deadline(acme: Client, leeds: Site) -> None:
    policy(acme)
    one = pending(device_at(leeds))
    assert refreshed(one).misses
    made = emergency_window(site=leeds, scope=SYSTEM, now=NOW, reason="openssl before Thursday")
    assert (made.starts_on, f"{made.starts_at:%H:%M}", made.minutes) == (date(2026, 11, 23), "09:00", 120)
    assert not fresh(one).misses
    with pytest.raises(ObligationError, match="is over already"):
        emergency_window(site=leeds, scope=SYSTEM, now=NOW, starts_at=NOW - DAY)


def test_the_evening_is_proposed_where_the_deadline_leaves_one() -> None:
    assert emergency_start(due_at=NOW + DAY, now=NOW, timezone="Europe/Berlin") == NOW.replace(hour=21)
    assert emergency_start(due_at=NOW + 3 * HOUR, now=NOW, timezone="Europe/Berlin") == NOW
    assert emergency_start(due_at=NOW - HOUR, now=NOW, timezone="Europe/Berlin") == NOW
    assert emergency_start(due_at=None, now=NOW, timezone="UTC") == NOW


def test_ten_thousand_clocks_take_few_questions(acme: Client, leeds: Site, django_assert_max_num_queries: Any) -> None:
    """As many questions for 300 updates on 30 devices as for one on one, but for the writing."""
    policy(acme)
    nightly(leeds)
    for number in range(30):
        web = device_at(leeds, f"web-{number}")
        for package in range(10):
            pending(web, f"lib-{package}", cves=[f"CVE-2026-{package}"])
    with django_assert_max_num_queries(14):
        assert obligations_refresh(now=NOW) == 300
