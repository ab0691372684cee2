"""Devices come by a token, are let in by a person, and what they report is kept, compared and put on record."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from forestall.server.evidence.queries import entries
from forestall.server.inventory import queries, services
from forestall.server.inventory.models import Device
from forestall.server.outbox.models import OutboxEvent
from forestall.server.people.models import Site
from forestall.server.people.scope import NotAllowedError, Permission, Scope
from forestall.server.people.services import client_create, site_create
from forestall.trust.keys import new_key, public_bytes
from forestall.wire.checkin import FactsAffirmed, FactsReport, SpoolGap
from forestall.wire.codec import facts_digest
from forestall.wire.facts import Access, Account, System, Update, Updates

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
SYSTEM = Scope.system("test")


@pytest.fixture
def acme():
    return site_create(client=client_create(name="Acme", timezone="UTC"), name="Main site")


@pytest.fixture
def globex():
    return site_create(client=client_create(name="Globex", timezone="UTC"), name="Main site")


def scope_of(site, *permissions):
    return Scope.at("ada", 1, permissions, sites={site.pk: site.client_id})


def token(site, scope=SYSTEM, **more):
    text = services.enrolment_token_create(
        site=site, scope=scope, now=NOW, ca_fingerprint="c" * 64, root_fingerprint="r" * 64, **more
    )
    version, secret, ca, root = text.split(".")
    assert (version, ca, root) == ("fse1", "c" * 64, "r" * 64)
    return secret


def enrol(secret, *, key=None, now=NOW, hostname="reception-pc"):
    return services.device_enrol(
        token_secret=secret,
        public_key=public_bytes(key or new_key()),
        hostname=hostname,
        machine_id="m",
        agent_version="1.0",
        now=now,
    )


def kinds(device):
    return [entry.kind for entry in entries(scope=SYSTEM).filter(device_id=device.pk).order_by("index")]


def report(document, at=NOW):
    return FactsReport(collected_at=at, digest=facts_digest(document), document=document)


# --- enrolment ----------------------------------------------------------------------------------------------------


def test_a_device_waits_at_its_tokens_site_until_it_is_approved(acme):
    device = enrol(token(acme))
    assert (device.status, device.client, device.site) == ("pending", acme.client, acme)
    services.device_approve(device=device, scope=SYSTEM, now=NOW)
    assert (device.status, device.approved_by) == ("approved", "test")
    assert kinds(device) == ["device:enrolled", "device:approved"]
    events = OutboxEvent.objects.values_list("name", "subject")
    assert list(events) == [("device.enrolled", str(device.pk)), ("device.approved", str(device.pk))]


def test_a_token_lets_one_device_in_within_its_life(acme):
    secret = token(acme)
    key = new_key()
    first = enrol(secret, key=key)
    assert enrol(secret, key=key, now=NOW + timedelta(days=2)).pk == first.pk, "the lost answer is given again"
    messages = set()
    for act in (
        lambda: enrol(secret),
        lambda: enrol("guess"),
        lambda: enrol(token(acme), now=NOW + timedelta(hours=24)),
    ):
        with pytest.raises(services.TokenUnusableError) as caught:
            act()
        messages.add(str(caught.value))
    assert len(messages) == 1, "a guesser learns nothing"
    assert Device.objects.visible_to(SYSTEM).count() == 1


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_length_is_refused_by_name(acme, size):
    with pytest.raises(ValueError, match=f"public_key: {size} bytes, expected 32"):
        services.device_enrol(
            token_secret=token(acme), public_key=b"k" * size, hostname="h", machine_id="m", agent_version="1", now=NOW
        )


def test_a_host_name_is_shown_only_as_far_as_it_can_be(acme):
    assert enrol(token(acme), hostname="re\x1b[31mcep\ntion\u202e-pc" + "x" * 300).name.startswith("re[31mception-pcx")
    assert enrol(token(acme), hostname="\x00\n").name == "unnamed device"


def test_tokens_and_approvals_stay_within_scope_and_permission(acme, globex):
    ada = scope_of(acme, Permission.DEVICE_VIEW, Permission.DEVICE_APPROVE)
    with pytest.raises(Site.DoesNotExist):
        token(globex, scope=ada)
    with pytest.raises(NotAllowedError):
        token(acme, scope=scope_of(acme, Permission.DEVICE_VIEW))
    hers, others = enrol(token(acme, scope=ada)), enrol(token(globex))
    with pytest.raises(Device.DoesNotExist):
        services.device_approve(device=others, scope=ada, now=NOW)
    with pytest.raises(NotAllowedError):
        services.device_approve(device=hers, scope=scope_of(acme, Permission.DEVICE_VIEW), now=NOW)
    services.device_approve(device=hers, scope=ada, now=NOW)
    with pytest.raises(services.DeviceStateError, match="is approved"):
        services.device_approve(device=hers, scope=ada, now=NOW)
    assert list(queries.devices(scope=ada)) == [hers]


def test_a_revocation_says_why_and_is_for_good(acme):
    device = enrol(token(acme))
    with pytest.raises(ValueError, match="reason: empty"):
        services.device_revoke(device=device, scope=SYSTEM, reason=" ", now=NOW)
    services.device_revoke(device=device, scope=SYSTEM, reason="stolen", now=NOW)
    for act in (
        lambda: services.device_revoke(device=device, scope=SYSTEM, reason="again", now=NOW),
        lambda: services.device_approve(device=device, scope=SYSTEM, now=NOW),
    ):
        with pytest.raises(services.DeviceStateError):
            act()
    assert kinds(device)[-1] == "device:revoked"


# --- facts --------------------------------------------------------------------------------------------------------


@pytest.fixture
def device(acme):
    return enrol(token(acme))


SYSTEM_DOCUMENT = System(hostname="frontdesk", os_id="debian", os_name="Debian 12", os_version="12.11", boot_id="b1")


def test_a_document_is_kept_and_its_change_told(device):
    first = Updates(manager="apt", pending=(Update(name="openssl", installed="1", candidate="2", security=True),))
    assert services.facts_receive(device=device, report=report(first), now=NOW)
    later = NOW + timedelta(hours=1)
    assert not services.facts_receive(device=device, report=report(first, later), now=later)
    assert queries.facts_of(scope=SYSTEM, device=device).updates == first
    assert queries.facts_meta(scope=SYSTEM, device=device) == {"updates": (later, NOW)}
    assert services.facts_receive(device=device, report=report(Updates(manager="apt"), later), now=later)
    changes = [row.summary for row in queries.facts_changes(scope=SYSTEM, device=device)]
    assert changes == ["1 update no longer pending: openssl"]
    assert kinds(device).count("facts:changed") == 2
    told = OutboxEvent.objects.filter(name="facts.changed")
    assert [event.detail for event in told] == [{"documents": ["updates"]}] * 2


def test_the_system_document_names_the_device_until_a_person_does(device):
    services.facts_receive(device=device, report=report(SYSTEM_DOCUMENT), now=NOW)
    device.refresh_from_db()
    assert (device.name, device.os_name, device.boot_id) == ("frontdesk", "Debian 12", "b1")
    Device.objects.visible_to(SYSTEM).filter(pk=device.pk).update(name="Reception")
    device.refresh_from_db()
    renamed = System(hostname="other", os_id="debian", os_name="Debian 12", os_version="12.11")
    services.facts_receive(device=device, report=report(renamed), now=NOW)
    device.refresh_from_db()
    assert (device.name, device.hostname) == ("Reception", "other")


def test_an_affirmation_moves_the_time_and_a_wrong_one_asks_for_the_document(device):
    services.facts_receive(device=device, report=report(SYSTEM_DOCUMENT), now=NOW)
    later = NOW + timedelta(days=1)
    right = FactsAffirmed(name="system", collected_at=later, digest=facts_digest(SYSTEM_DOCUMENT))
    assert services.facts_affirm(device=device, affirmed=right, now=later)
    assert queries.facts_meta(scope=SYSTEM, device=device)["system"] == (later, NOW)
    for name in ("system", "software", "of a newer agent"):
        wrong = FactsAffirmed(name=name, collected_at=later, digest=b"x" * 32)
        assert not services.facts_affirm(device=device, affirmed=wrong, now=later)
    assert sorted(device.facts_wanted.values_list("name", flat=True)) == ["software", "system"]
    services.facts_receive(device=device, report=report(SYSTEM_DOCUMENT), now=later)
    assert list(device.facts_wanted.values_list("name", flat=True)) == ["software"]


def test_what_is_there_without_a_break_is_remembered_from_its_first_day(device):
    def updates(*names):
        return Updates(pending=tuple(Update(name=one, installed="1", candidate="2", security=False) for one in names))

    def on(day, document):
        at = NOW + timedelta(days=day)
        services.facts_receive(device=device, report=report(document, at), now=at)

    on(0, updates("curl", "vim"))
    on(1, updates("curl", "git"))
    on(2, updates("curl", "vim"))
    on(2, Access(accounts=(Account(name="ada", uid=0, administrator=True), Account(name="bob", uid=7))))
    assert queries.first_seen(scope=SYSTEM, device=device) == {
        "updates:curl=2": NOW,
        "updates:vim=2": NOW + timedelta(days=2),
        "access:ada": NOW + timedelta(days=2),
    }


@pytest.mark.parametrize("claimed", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)])
def test_a_wrong_clock_does_not_move_an_obligation(device, claimed):
    pending = Updates(pending=(Update(name="curl", installed="1", candidate="2", security=True),))
    services.facts_receive(device=device, report=report(pending, claimed), now=NOW)
    seen = queries.first_seen(scope=SYSTEM, device=device)["updates:curl=2"]
    assert NOW - timedelta(days=8) <= seen <= NOW


def test_facts_of_another_client_look_like_no_facts(device, globex):
    services.facts_receive(device=device, report=report(SYSTEM_DOCUMENT), now=NOW)
    bob = scope_of(globex, *Permission)
    absent = uuid4()
    for read in (queries.facts_of, queries.facts_meta, queries.first_seen):
        assert read(scope=bob, device=device) == read(scope=bob, device=absent)
    assert queries.documents_of(scope=bob, kind=System) == {}
    assert queries.documents_of(scope=SYSTEM, kind=System) == {device.pk: SYSTEM_DOCUMENT}
    for read in (queries.facts_changes, queries.refusals, queries.set_aside, queries.enrolment_tokens):
        assert not read(scope=bob).exists()


def test_a_flood_of_refusals_is_one_row_an_hour(device):
    for minute in (0, 1, 59, 60):
        services.refusals_note(
            device_id=device.pk,
            code="mac_wrong",
            detail=f"at {minute}",
            count=1000,
            at=NOW + timedelta(minutes=minute),
        )
    services.refusals_note(device_id=uuid4(), code="mac_wrong", detail="", count=1, at=NOW)
    rows = queries.refusals(scope=SYSTEM, device=device)
    assert [(row.count, row.last_detail) for row in rows] == [(1000, "at 60"), (3000, "at 59")]


def test_a_gap_of_the_spool_shows_on_the_timeline(device):
    gap = SpoolGap(first=NOW - timedelta(days=2), last=NOW - timedelta(days=1), check_ins=1440)
    services.spool_gap_note(device=device, gap=gap, now=NOW)
    (row,) = queries.facts_changes(scope=SYSTEM, device=device)
    assert row.summary == "1440 check-ins dropped by a full spool: 2026-11-21 09:00 to 22 09:00 UTC"
