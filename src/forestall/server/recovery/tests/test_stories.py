"""Stories of Acme's backups: Ada runs the desk, Mia works for Acme's head office alone, web-01 keeps the shop."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from forestall.server.checks.result import Status
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.models import Entry
from forestall.server.people.scope import NotAllowedError, Permission, Scope
from forestall.server.people.services import client_create, site_create
from forestall.server.recovery import queries, services
from forestall.server.recovery.models import Attachment, KnownBackup, Proof, ProtectedSystem
from forestall.server.recovery.services import RecoveryError
from forestall.server.tickets.models import TicketState
from forestall.wire.facts import BackupRepository, BackupSnapshot, Network, Socket

SYSTEM = Scope.system("tests")


def entries(kind: EvidenceKind) -> list[Entry]:
    return list(Entry.objects.visible_to(SYSTEM).filter(kind=kind).order_by("index"))


def test_what_nobody_backs_up_is_a_gap_from_the_first_minute_and_a_ticket(vault) -> None:
    vault.backup(protects=("/etc",))
    vault.report()
    mail = vault.add("folder", "/srv/mail/", name="Mail")
    assert mail.what == "/srv/mail"
    assert vault.gaps(mail) == ["no_backup"]
    assert vault.standing(mail).judged.bring_back == "no"
    [ticket] = vault.tickets()
    assert ticket.title == "Mail may not be recoverable"
    assert entries(EvidenceKind.RECOVERY_CHANGED)[-1].job_id == ""

    # The backup takes the folder in, and Ada restores it by hand: the ticket ends verified, with the record behind it.
    vault.backup(protects=("/etc", "/srv"))
    vault.report(hours=20)
    vault.attest(mail, level="sample", seconds=30.0)
    ticket.refresh_from_db()
    assert ticket.state in {TicketState.RESOLVED, TicketState.CLOSED}
    assert vault.standing(mail).judged.bring_back == "yes"


def test_a_ticket_is_not_told_the_same_every_five_minutes(vault) -> None:
    vault.add("folder", "/srv/mail")
    [ticket] = vault.tickets()
    told = ticket.events.count()
    for _ in range(3):
        vault.report(hours=1)
    assert ticket.events.count() == told
    # Something else goes wrong on the same device: the one ticket hears of it.
    vault.add("database", "postgresql:shop")
    assert len(vault.tickets()) == 1
    assert ticket.events.count() == told + 1


def test_the_schedule_tests_a_restore_in_the_window_and_the_signed_result_proves_it(vault) -> None:
    vault.backup()
    vault.report()
    shop = vault.add(wanted_level="whole", rto_minutes=60, test_rate_kb=500)
    vault.order(level=["whole"], rate_kb=[500])
    vault.window()
    vault.report()
    assert vault.jobs() == [], "not before the window opens"

    vault.backup()
    vault.report(hours=1)
    [job] = vault.jobs()
    assert job.state == "queued"
    assert job.parameters == {"backup": "nightly", "level": "whole", "most_mb": 2000, "rate_kb": 500, "sample": 20}
    assert job.reason == "restore test of web-01 at level whole, scheduled"
    vault.turn()
    assert len(vault.jobs()) == 1, "one test at a time"

    vault.answers(job, level="whole", seconds=1500.0, files=9000, compared=8990, bytes=10_000_000_000)
    [proof] = vault.proofs()
    assert (proof.source, proof.level, proof.ok, proof.seconds) == ("signed", "whole", True, 1500)
    assert entries(EvidenceKind.PROOF_RECORDED)[-1].reference == proof.evidence_reference
    standing = vault.standing(shop)
    assert standing.status is Status.PASS
    assert standing.judged.recovery is not None
    assert standing.judged.recovery.within is True
    assert standing.judged.lapses_at == proof.at + timedelta(days=90)
    shop.refresh_from_db()
    assert shop.lapses_at == standing.judged.lapses_at

    # Nothing more is tested for weeks, and then before the proof lapses.
    vault.office.later(days=73)
    vault.nightly(2)
    assert len(vault.jobs()) == 1
    vault.nightly(2)
    assert len(vault.jobs()) == 2
    assert vault.standing(shop).status is Status.PASS


def test_without_a_standing_order_a_job_waits_for_a_signature_and_ends_with_the_window(vault) -> None:
    vault.backup()
    vault.report()
    vault.add()
    window = vault.window()
    vault.report(hours=1, minutes=5)
    [job] = vault.jobs()
    assert job.state == "awaiting_signature"
    assert "no standing order lets prove-backup run on web-01 for restore_test" in job.reason
    assert job.expires_at <= job.created_at + timedelta(minutes=window.minutes)


def test_a_restore_that_differs_opens_a_ticket_and_a_good_one_ends_it(vault) -> None:
    vault.backup()
    vault.report()
    system = vault.add()
    vault.order()
    job = services.restore_test_prepare(system=system, scope=vault.office.scope, now=vault.now)
    vault.answers(job, ok=False, detail="2 of 20 files differ", differences=("/srv/a: hash",))
    [ticket] = vault.tickets()
    opened = ticket.events.order_by("pk").first().text
    assert "The proof of nightly at level sample failed" in opened
    assert "2 of 20 files differ" in opened
    assert vault.standing(system).judged.bring_back == "no"

    vault.backup(last_success_at=vault.now)
    vault.report(hours=1)
    again = services.restore_test_prepare(system=system, scope=vault.office.scope, now=vault.now)
    vault.answers(again)
    ticket.refresh_from_db()
    assert ticket.state in {TicketState.RESOLVED, TicketState.CLOSED}
    assert ticket.verified_at is not None


def test_what_a_device_only_reports_is_not_shown_as_signed_and_not_counted_twice(vault) -> None:
    vault.backup(proofs=(vault.seen(at=vault.now - timedelta(days=1)),))
    vault.report()
    system = vault.add()
    vault.report()
    [proof] = vault.proofs()
    assert proof.source == "reported"
    assert vault.standing(system).judged.proved_by == "reported"
    # The test runs under an order; the device reports it in its facts before its signed answer is here.
    vault.order()
    job = services.restore_test_prepare(system=system, scope=vault.office.scope, now=vault.now)
    vault.backup(proofs=(vault.seen(at=vault.now + timedelta(minutes=1)),))
    vault.report()
    assert [one.source for one in vault.proofs()] == ["reported", "reported"]
    vault.answers(job)
    assert [one.source for one in vault.proofs()] == ["reported", "signed"]
    vault.backup(proofs=(vault.seen(at=vault.now),), snapshots=2)
    vault.report()
    assert [one.source for one in vault.proofs()] == ["reported", "signed"]
    assert vault.standing(system).judged.proved_by == "signed"


def test_a_proof_from_the_future_does_not_count_longer(vault) -> None:
    vault.backup(proofs=(vault.seen(at=vault.now + timedelta(days=300)),))
    vault.report()
    [proof] = vault.proofs()
    assert proof.at <= vault.now


def test_ada_attests_a_restore_with_its_protocol_and_takes_it_back(vault) -> None:
    vault.backup(told=False)
    vault.report()
    system = vault.add(test_by_itself=False)
    with pytest.raises(RecoveryError, match="the agent does not know how to restore it"):
        services.restore_test_prepare(system=system, scope=vault.office.scope, now=vault.now)
    proof = vault.attest(system, seconds=5400.0, attachment=("../../Protocol\n<b>.pdf", b"%PDF-1.7 protocol"))
    assert proof.attachment_name == "Protocol_b_.pdf"
    twice = vault.attest(system, attachment=("again.pdf", b"%PDF-1.7 protocol"))
    assert twice.attachment_id == proof.attachment_id, "the same content is kept once"
    assert Attachment.objects.visible_to(SYSTEM).count() == 1
    payload = entries(EvidenceKind.PROOF_ATTESTED)[0].content
    assert proof.attachment.sha256 in payload
    assert vault.standing(system).judged.level == "whole"
    for one in (proof, twice):
        services.proof_withdraw(proof=one, why="It was the wrong server.", scope=vault.office.scope, now=vault.now)
    assert vault.standing(system).judged.level == "reported"
    assert Proof.objects.visible_to(SYSTEM).count() == 2, "it stays on record"
    with pytest.raises(RecoveryError, match="withdrawn by ada already"):
        services.proof_withdraw(proof=proof, why="Again.", scope=vault.office.scope, now=vault.now)


def test_a_device_proof_cannot_be_withdrawn_nor_too_much_attached(vault) -> None:
    vault.backup(proofs=(vault.seen(ok=False),))
    vault.report()
    system = vault.add()
    with pytest.raises(RecoveryError, match="only a person's word can be taken back"):
        services.proof_withdraw(proof=vault.proofs()[0], why="No.", scope=vault.office.scope, now=vault.now)
    with pytest.raises(RecoveryError, match="5,000,001 bytes, at most 5,000,000"):
        vault.attest(system, attachment=("big.bin", b"x" * 5_000_001))
    with pytest.raises(RecoveryError, match="level: 'database' is not for a machine"):
        vault.attest(system, level="database")
    with pytest.raises(RecoveryError, match="is not within the last ten years"):
        vault.attest(system, at=vault.now + timedelta(hours=1))


def test_a_backup_server_holds_another_machine_and_counts_as_off_site(vault) -> None:
    nas, _ = vault.office.new_device("nas-01")
    vault.backup("all-machines", device=nas, hosts=("web-01",), protects=("/",), remote=False)
    vault.report(device=nas)
    system = vault.add()
    standing = vault.standing(system)
    assert standing.covered
    assert standing.judged.off_site is True
    assert standing.judged.covering[0].holding.device == nas.pk
    # Its test runs where the backup is.
    job = services.restore_test_prepare(system=system, scope=vault.office.scope, now=vault.now)
    assert job.device_id == nas.pk


def test_namesakes_at_two_sites_are_not_taken_for_each_other(vault) -> None:
    branch = site_create(client=vault.office.client, name="Branch")
    twin, _ = vault.office.new_device("web-01", site=branch)
    nas, _ = vault.office.new_device("nas-01")
    vault.backup("all", device=nas, hosts=("web-01",))
    vault.report(device=nas)
    here, there = vault.add(), vault.add(device=twin)
    assert vault.standing(here).covered
    assert not vault.standing(there).covered


def test_mia_sees_her_site_alone_and_no_names_of_another(vault) -> None:
    branch = site_create(client=vault.office.client, name="Branch")
    nas, _ = vault.office.new_device("secret-nas", site=branch)
    vault.backup("secret-tapes", device=nas, hosts=("web-01",))
    vault.report(device=nas)
    system = vault.add()
    mia = Scope.at("mia", 7, [Permission.DEVICE_VIEW], sites={vault.office.site.pk: vault.office.client.pk})
    standing = vault.standing(system, scope=mia)
    assert standing.covered, "how it stands is one truth, whoever asks"
    said = repr([(gap.sentence, gap.fix) for gap in standing.judged.gaps]) + standing.why
    said += " ".join(one.holding.shown + one.holding.device_name for one in standing.judged.covering)
    assert "secret" not in said
    with pytest.raises(NotAllowedError):
        services.system_change(system=system, values={"copies": 1}, scope=mia, now=vault.now)
    other = client_create(name="Bolt", timezone="Europe/London")
    bob = Scope.at("bob", 8, [Permission.DEVICE_VIEW, Permission.RECOVERY_CHANGE], clients=[other.pk])
    assert queries.standings(scope=bob, now=vault.now) == []
    with pytest.raises(ProtectedSystem.DoesNotExist):
        services.system_change(system=system, values={"copies": 1}, scope=bob, now=vault.now)
    for ticket in vault.tickets():
        assert all("secret" not in event.text for event in ticket.events.all())


def test_archived_is_asked_for_no_more_and_comes_back(vault) -> None:
    system = vault.add("folder", "/srv/old")
    [ticket] = vault.tickets()
    with pytest.raises(RecoveryError, match="why: empty"):
        services.system_archive(system=system, why=" ", scope=vault.office.scope, now=vault.now)
    services.system_archive(system=system, why="The project is over.", scope=vault.office.scope, now=vault.now)
    ticket.refresh_from_db()
    assert ticket.state in {TicketState.RESOLVED, TicketState.CLOSED}
    assert queries.standings(scope=SYSTEM, now=vault.now) == []
    vault.add("folder", "/srv/old")
    with pytest.raises(RecoveryError, match="is named for the same thing now"):
        services.system_restore(system=system, scope=vault.office.scope, now=vault.now)
    other = queries.systems(scope=SYSTEM).get()
    services.system_archive(system=other, why="Twice.", scope=vault.office.scope, now=vault.now)
    services.system_restore(system=system, scope=vault.office.scope, now=vault.now)
    assert [one.system.pk for one in queries.standings(scope=SYSTEM, now=vault.now)] == [system.pk]


@pytest.mark.parametrize(
    ("kind", "what", "terms", "why"),
    [
        ("server", "", {}, "kind: 'server' is not machine, folder or database"),
        ("machine", "/srv", {}, "what: '/srv': of a machine nothing is named"),
        ("folder", "srv/data", {}, "what: 'srv/data' is no whole path"),
        ("database", "shop", {}, "what: 'shop' is no database"),
        ("machine", "", {"rpo_minutes": 0}, "rpo_minutes: 0 is not a whole number from 1"),
        ("machine", "", {"rpo_minutes": True}, "rpo_minutes: True"),
        ("machine", "", {"wanted_level": "database"}, "wanted_level: 'database' is not for a machine"),
        ("machine", "", {"importance": "huge"}, "importance: 'huge'"),
        ("machine", "", {"colour": "red"}, "colour: no such term"),
        ("machine", "", {"backups": [{"device": "x"}]}, "names no device and backup"),
        ("machine", "", {"backups": [{"device": str(uuid4()), "backup": "x"}]}, "no device of this client tells"),
    ],
)
def test_what_does_not_fit_is_named(vault, kind, what, terms, why) -> None:
    with pytest.raises(RecoveryError, match=why):
        vault.add(kind, what, **terms)


def test_one_thing_is_named_once_however_it_is_written(vault) -> None:
    vault.add("database", "postgres:shop")
    with pytest.raises(RecoveryError, match="is protected system"):
        vault.add("database", "postgresql:shop")
    vault.add("folder", "C:\\Data\\")
    with pytest.raises(RecoveryError, match="is protected system"):
        vault.add("folder", "C:\\Data")
    assert vault.add("folder", "/").what == "/"


def test_ada_names_the_backup_and_it_counts_as_whole(vault) -> None:
    vault.backup(protects=("/etc", "/home"))
    vault.report()
    system = vault.add()
    assert vault.gaps(system) == ["part"]
    named = [{"device": str(vault.device.pk), "backup": "nightly"}]
    services.system_change(system=system, values={"backups": named}, scope=vault.office.scope, now=vault.now)
    assert "part" not in vault.gaps(system)
    assert vault.standing(system).covered
    vault.drop("nightly")
    vault.report()
    assert vault.standing(system).why.startswith("No job covers it: nightly, named for it, is told of by no device")
    assert KnownBackup.objects.visible_to(SYSTEM).get().gone_at is not None


def test_a_backup_that_reaches_back_too_little(vault) -> None:
    def kept(days: int) -> tuple[BackupSnapshot, ...]:
        return tuple(BackupSnapshot(id=str(n), at=vault.now - timedelta(days=n)) for n in range(days))

    vault.backup(history=kept(7), snapshots=7)
    vault.report()
    system = vault.add(retention_days=30)
    assert "retention" not in vault.gaps(system), "it is young: it cannot reach back further yet"
    vault.office.later(days=40)
    vault.backup(history=kept(7), snapshots=7)
    vault.report()
    assert "retention" in vault.gaps(system)
    vault.backup(history=kept(60), snapshots=600)
    vault.report()
    assert "retention" not in vault.gaps(system), "not all of them are listed: nothing is said"


def test_devices_and_databases_that_nobody_named_are_suggested(vault) -> None:
    vault.backup("dump", tool="pg_dump", protects=("postgresql:shop",))
    listening = (Socket(protocol="tcp", address="127.0.0.1", port=3306),)
    vault.report(Network(listening=listening))
    found = {(one.kind, one.what) for one in queries.suggestions(scope=SYSTEM)}
    assert found == {("machine", ""), ("database", "postgresql:shop"), ("database", "mariadb:*")}
    vault.add()
    vault.add("database", "postgresql:shop")
    gone = vault.add("database", "mariadb:*")
    services.system_archive(system=gone, why="A test database.", scope=vault.office.scope, now=vault.now)
    assert queries.suggestions(scope=SYSTEM) == []


def test_what_was_told_before_is_read_once_after_an_upgrade(vault) -> None:
    vault.backup()
    vault.report()
    KnownBackup.objects.visible_to(SYSTEM).delete()
    assert services.backups_catch_up(now=vault.now) == 1
    assert services.backups_catch_up(now=vault.now) == 0
    assert KnownBackup.objects.visible_to(SYSTEM).count() == 1


def test_all_that_a_hostile_device_says_is_bounded(vault) -> None:
    vault.told[vault.device.pk] = {
        "x": BackupRepository(
            name="n" * 5000, tool="t" * 300, location="l" * 5000, protects=("/",) * 3000,
            last_success_at=vault.now, proofs=(vault.seen(files=-5, seconds=-1.0, detail="d" * 9000),),
        )
    }  # fmt: skip
    vault.report()
    kept = KnownBackup.objects.visible_to(SYSTEM).get()
    assert len(kept.name) == 200
    assert len(kept.state["protects"]) == 200
    [proof] = vault.proofs()
    assert (proof.files, proof.seconds, len(proof.detail)) == (0, None, 2000)
    assert vault.standing(vault.add()).covered
