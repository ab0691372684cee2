"""Devices are judged, what changes is kept and told on, and everything stays inside its scope."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from forestall.server.checks import queries, services
from forestall.server.checks.kinds import CHECK_KINDS
from forestall.server.checks.models import Check, CheckChange, DeviceSchedule, PolicyOverride
from forestall.server.checks.rules import KindError, PolicyError
from forestall.server.checks.tests.story import FAIL, PASS, STALE, UNKNOWN, WARN
from forestall.server.evidence import queries as evidence
from forestall.server.home import current_home
from forestall.server.inventory.models import Device, DeviceStatus, FactsDocument, FirstSeen
from forestall.server.metrics.store import Batch, open_store
from forestall.server.outbox.models import OutboxEvent
from forestall.server.people.models import Client, Site
from forestall.server.people.roles import ROLE_PERMISSIONS, Role
from forestall.server.people.scope import NotAllowedError, Scope
from forestall.wire import facts as wire
from forestall.wire.codec import facts_digest, pack

SYSTEM = Scope.system("story")
MORNING = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
QUERIES_A_DEVICE = 8
"""Judging one device that is due, on top of what a round costs once."""

pytestmark = pytest.mark.django_db

VOLUMES = wire.Volumes(
    volumes=(
        wire.Volume(mountpoint="/", device="/dev/sda1", filesystem="ext4", total_bytes=10**11),
        wire.Volume(mountpoint="/data", device="/dev/sdb1", filesystem="ext4", total_bytes=10**12),
    )
)
NETWORK = wire.Network(listening=(wire.Socket(protocol="tcp", address="::", port=5432, process="postgres"),))


class World:
    """Acme in Munich with web-01; Bolt in Leeds; a clock that the story sets."""

    def __init__(self) -> None:
        self.now = MORNING
        self.acme, self.bolt = (Client.objects.create(name=name) for name in ("Acme", "Bolt"))
        self.munich = Site.objects.create(client=self.acme, name="Munich")
        self.leeds = Site.objects.create(client=self.bolt, name="Leeds")
        self.web = self.device("web-01", self.munich)
        self.store = open_store(current_home())

    def device(self, name: str, site: Site, status: str = DeviceStatus.APPROVED) -> Device:
        return Device.objects.create(
            client=site.client, site=site, name=name, hostname=name, status=status, enrolled_at=self.now,
            public_key=hashlib.sha256(name.encode()).digest(), last_check_in_at=self.now,
            approved_at=self.now if status == DeviceStatus.APPROVED else None,
        )  # fmt: skip

    def after(self, **span: float) -> World:
        self.now += timedelta(**span)
        return self

    def checks_in(self, device: Device, *documents: wire.Document, **samples: float) -> World:
        """The device checks in now, with these documents, and samples named ``disk_root`` or ``cpu``."""
        device.last_check_in_at = self.now
        device.save(update_fields=["last_check_in_at"])
        own = FactsDocument.objects.visible_to(SYSTEM).filter(device=device)
        own.update(collected_at=self.now)
        for document in documents:
            FactsDocument.objects.visible_to(SYSTEM).update_or_create(
                device=device, name=document.name(),
                defaults={
                    "digest": facts_digest(document), "body": pack(document), "collected_at": self.now,
                    "changed_at": self.now,
                },
            )  # fmt: skip
        names = {
            "root": "disk.used_percent{volume=/}", "data": "disk.used_percent{volume=/data}", "cpu": "cpu.used_percent",
        }  # fmt: skip
        if samples:
            self.store.append(
                [
                    Batch(
                        device_id=device.pk,
                        names=tuple(names[name] for name in samples),
                        times_ms=[int(self.now.timestamp() * 1000)],
                        values=np.array([list(samples.values())]),
                    )
                ]
            )
        return self

    def judge(self, device: Device | None = None, *kinds: str) -> list[Check]:
        device = Device.objects.visible_to(SYSTEM).select_related("client", "site").get(pk=(device or self.web).pk)
        return services.device_judge(device=device, kinds=kinds or None, now=self.now)

    def check(self, kind: str, target: str = "", device: Device | None = None) -> Check:
        return Check.objects.visible_to(SYSTEM).get(device=device or self.web, kind=kind, target=target)

    def changes(self, kind: str, target: str = "") -> list[tuple[str, str]]:
        own = CheckChange.objects.visible_to(SYSTEM).filter(check_row__kind=kind, check_row__target=target)
        return list(own.order_by("pk").values_list("old", "new"))


@pytest.fixture
def world(tmp_path, monkeypatch) -> World:
    monkeypatch.setenv("FORESTALL_HOME", str(tmp_path))
    (tmp_path / "server").mkdir()
    return World()


def test_a_volume_fills_up_and_is_cleaned(world):
    world.checks_in(world.web, VOLUMES, root=50, data=20).judge()
    assert world.check("disk_space", "/").status == PASS
    world.after(minutes=1).checks_in(world.web, root=93, data=20).judge()
    failing = world.check("disk_space", "/")
    assert (failing.status, failing.value, failing.since, failing.problem_since) == (FAIL, 93, world.now, world.now)
    failed_at = world.now
    world.after(minutes=1).checks_in(world.web, root=89, data=20).judge()
    assert world.check("disk_space", "/").status == FAIL, "inside the band it stays"
    assert world.check("disk_space", "/").since == failed_at
    world.after(minutes=1).checks_in(world.web, root=40, data=20).judge()
    assert world.check("disk_space", "/").problem_since is None
    assert world.changes("disk_space", "/") == [("", PASS), (PASS, FAIL), (FAIL, PASS)]


def test_each_change_is_evidence_and_an_event_in_the_same_transaction(world):
    world.checks_in(world.web, VOLUMES, root=50, data=20).judge()
    entries = evidence.entries(scope=SYSTEM).count()
    events = OutboxEvent.objects.filter(name="check.changed")
    events.delete()
    world.after(minutes=1).checks_in(world.web, root=93, data=20).judge(None, "disk_space")
    (event,) = events
    change = CheckChange.objects.visible_to(SYSTEM).get(pk=event.subject)
    assert event.detail == {
        "check": change.check_row_id, "device": str(world.web.pk), "old": "pass", "new": "fail",
    }  # fmt: skip
    assert evidence.entries(scope=SYSTEM).count() == entries + 1
    newest = evidence.entries(scope=SYSTEM).order_by("-index").first()
    assert newest.kind == "check:changed"
    assert newest.payload["reason"] == change.reason
    assert "93 %" in change.reason


def test_the_first_judgement_is_one_record_and_only_what_does_not_pass_is_told_on(world):
    world.checks_in(world.web, VOLUMES, root=95, data=20).judge(None, "disk_space")
    (record,) = evidence.entries(scope=SYSTEM).filter(kind="check:changed")
    assert [each["target"] for each in record.payload["first_judged"]] == ["/", "/data"]
    assert [event.detail["new"] for event in OutboxEvent.objects.filter(name="check.changed")] == ["fail"]


def test_nothing_is_kept_when_the_transaction_fails(world, monkeypatch):
    world.checks_in(world.web, VOLUMES, root=50, data=20).judge()
    before = (evidence.entries(scope=SYSTEM).count(), CheckChange.objects.visible_to(SYSTEM).count())
    world.after(minutes=1).checks_in(world.web, root=93, data=20)

    def broken(**_):
        raise OSError("disk full")

    monkeypatch.setattr(services, "event_record", broken)
    with pytest.raises(OSError, match="disk full"):
        world.judge()
    assert world.check("disk_space", "/").status == PASS
    assert (evidence.entries(scope=SYSTEM).count(), CheckChange.objects.visible_to(SYSTEM).count()) == before


def test_judging_the_same_again_writes_only_that_it_was_judged(world):
    world.checks_in(world.web, VOLUMES, root=50, data=20).judge()
    changes = CheckChange.objects.visible_to(SYSTEM).count()
    old = world.check("disk_space", "/")
    assert world.after(seconds=30).judge() == []
    new = world.check("disk_space", "/")
    assert CheckChange.objects.visible_to(SYSTEM).count() == changes
    assert (new.judged_at, new.due_at) == (world.now, world.now + timedelta(seconds=300))
    assert (new.since, new.reason) == (old.since, old.reason)


def test_a_volume_that_is_unmounted_is_closed_and_not_left_red(world):
    world.checks_in(world.web, VOLUMES, root=50, data=95).judge()
    assert world.check("disk_space", "/data").status == FAIL
    alone = msgspec.structs.replace(VOLUMES, volumes=VOLUMES.volumes[:1])
    world.after(minutes=1).checks_in(world.web, alone, root=50, data=95).judge()
    gone = world.check("disk_space", "/data")
    assert (gone.gone_at, gone.status, gone.reason) == (world.now, PASS, "No longer on the device: /data.")
    assert world.changes("disk_space", "/data") == [("", FAIL), (FAIL, "gone")]
    assert not queries.checks(scope=SYSTEM).filter(target="/data").exists()
    world.after(minutes=1).checks_in(world.web, VOLUMES, root=50, data=96).judge()
    back = world.check("disk_space", "/data")
    assert (back.gone_at, back.status) == (None, FAIL)
    assert world.changes("disk_space", "/data")[-1] == ("gone", FAIL)


def test_silence_makes_checks_stale_and_hysteresis_remembers_across_it(world):
    world.checks_in(world.web, VOLUMES, root=93, data=20).judge()
    world.after(hours=1).judge()
    stale = world.check("disk_space", "/")
    assert (stale.status, stale.answered) == (STALE, FAIL)
    assert world.check("offline").status == FAIL
    world.after(minutes=1).checks_in(world.web, root=89, data=20).judge()
    assert world.check("disk_space", "/").status == FAIL
    assert world.check("offline").status == PASS


def test_a_pending_device_is_judged_by_its_enrolment_alone_and_a_revoked_one_not_at_all(world):
    laptop = world.device("laptop", world.munich, DeviceStatus.PENDING)
    world.judge(laptop)
    assert [(row.kind, row.status) for row in queries.checks(scope=SYSTEM).filter(device=laptop)] == [
        ("pending_enrolment", WARN)
    ]
    Device.objects.visible_to(SYSTEM).filter(pk=laptop.pk).update(
        status=DeviceStatus.REVOKED, revoked_at=world.now, revoked_reason="lost"
    )
    services.checks_judge_due(now=world.after(hours=1).now)
    assert not queries.checks(scope=SYSTEM).filter(device=laptop).exists()
    assert not DeviceSchedule.objects.filter(device=laptop).exists()


def test_documents_and_metrics_choose_the_kinds(world):
    world.checks_in(world.web, VOLUMES, NETWORK, root=50, data=20)
    services.device_judge_by_id(device_id=str(world.web.pk), documents=["network"], now=world.now)
    kinds = set(Check.objects.visible_to(SYSTEM).values_list("kind", flat=True))
    assert kinds == {"open_socket"}
    services.device_judge_by_id(device_id=world.web.pk, metrics=["disk.used_percent{volume=/}"], now=world.now)
    assert set(Check.objects.visible_to(SYSTEM).values_list("kind", flat=True)) == {"open_socket", "disk_space"}
    absent = "00000000-0000-4000-8000-000000000000"
    assert services.device_judge_by_id(device_id=absent, now=world.now) == []
    with pytest.raises(KindError, match="kind: 'weather' is no kind of check"):
        services.device_judge(device=world.web, kinds=["weather"], now=world.now)


def test_due_devices_are_judged_once_however_many_workers_there_are(world):
    world.after(minutes=20).checks_in(world.web)
    assert services.checks_judge_due(now=world.now) == 1
    assert services.checks_judge_due(now=world.now) == 0
    schedule = DeviceSchedule.objects.get(device=world.web)
    assert schedule.due_at == world.now + timedelta(seconds=60), "offline is judged each minute"
    # Another worker holds it: its lease lies in the future, until it runs out.
    DeviceSchedule.objects.update(due_at=world.now + services.LEASE)
    assert services.checks_judge_due(now=world.after(seconds=90).now) == 0
    assert services.checks_judge_due(now=world.after(seconds=31).now) == 1


def test_only_the_kinds_that_are_due_are_judged_again(world):
    world.checks_in(world.web, VOLUMES, root=50, data=20)
    services.checks_judge_due(now=world.now)
    judged = world.now
    services.checks_judge_due(now=world.after(seconds=61).now)
    assert world.check("offline").judged_at == world.now
    assert world.check("disk_space", "/").judged_at == judged


def test_a_first_document_does_not_put_off_the_other_kinds(world):
    world.checks_in(world.web, NETWORK)
    services.device_judge_by_id(device_id=world.web.pk, documents=["network"], now=world.now)
    assert services.checks_judge_due(now=world.now) == 1
    assert world.check("offline").status == PASS


def test_what_is_unknown_of_a_new_device_is_looked_at_again_within_seconds(world):
    services.checks_judge_due(now=world.now)
    assert world.check("cpu").status == UNKNOWN
    world.after(seconds=11).checks_in(world.web, cpu=12)
    services.checks_judge_due(now=world.now)
    assert world.check("cpu").status == PASS
    assert world.check("memory").due_at == world.now + services.AGAIN_WHILE_SETTLING
    world.after(minutes=11)
    services.checks_judge_due(now=world.now)
    assert world.check("memory").due_at == world.now + timedelta(seconds=120)


def test_one_device_that_cannot_be_judged_does_not_keep_the_others_waiting(world, monkeypatch, caplog):
    other = world.device("web-02", world.munich)
    real = queries.known_of

    def known_of(**arguments):
        if arguments["device"].pk == world.web.pk:
            raise RuntimeError("its samples cannot be read")
        return real(**arguments)

    monkeypatch.setattr(queries, "known_of", known_of)
    assert services.checks_judge_due(now=world.now) == 1
    assert "its samples cannot be read" in caplog.text
    assert world.check("offline", device=other).status == PASS


def test_accepting_an_open_socket_makes_it_pass_with_who_and_why(world):
    world.checks_in(world.web, NETWORK).judge()
    row = world.check("open_socket", "tcp/5432")
    assert row.status == FAIL
    ada = Scope.at("ada", 1, ROLE_PERMISSIONS[Role.TECHNICIAN])
    accepted = services.target_accept(check=row, scope=ada, reason="replica in the other site", now=world.now)
    assert (accepted.status, accepted.accepted_by) == (PASS, "ada")
    assert accepted.reason.startswith("Accepted as it is: PostgreSQL (postgres) listens")
    record = evidence.entries(scope=SYSTEM).filter(kind="check:accepted").get()
    assert record.payload["reason"] == "replica in the other site"
    assert services.target_reject(check=row, scope=ada, now=world.now).status == FAIL


def test_a_full_disk_cannot_be_accepted_nor_anything_without_a_reason_or_by_an_auditor(world):
    world.checks_in(world.web, VOLUMES, NETWORK, root=95, data=20).judge()
    with pytest.raises(services.NotAcceptableError, match="disk_space: only these can be accepted"):
        services.target_accept(check=world.check("disk_space", "/"), scope=SYSTEM, reason="fine", now=world.now)
    socket = world.check("open_socket", "tcp/5432")
    with pytest.raises(services.NotAcceptableError, match="reason: say why"):
        services.target_accept(check=socket, scope=SYSTEM, reason="  ", now=world.now)
    auditor = Scope.at("olga", 2, ROLE_PERMISSIONS[Role.AUDITOR])
    with pytest.raises(NotAllowedError):
        services.target_accept(check=socket, scope=auditor, reason="fine", now=world.now)


def test_policies_are_narrowed_from_client_to_site_to_device(world):
    world.checks_in(world.web, VOLUMES, root=85, data=20).judge()
    assert world.check("disk_space", "/").status == WARN
    services.policy_set(
        kind="disk_space",
        values={"warn_percent": 86, "fail_percent": 95},
        scope=SYSTEM,
        now=world.now,
        client=world.acme,
    )
    services.checks_judge_due(now=world.after(seconds=1).now)
    assert world.check("disk_space", "/").status == WARN, "inside the band of the new threshold"
    services.policy_set(kind="disk_space", values={"warn_percent": 90}, scope=SYSTEM, now=world.now, device=world.web)
    services.checks_judge_due(now=world.after(seconds=1).now)
    assert world.check("disk_space", "/").status == PASS
    policy = queries.policies(scope=SYSTEM, device=world.web)["disk_space"]
    assert (policy.warn_percent, policy.fail_percent) == (90, 95)
    assert 95 in services.levels_for_intake()["disk.used_percent"]
    assert services.policy_set(kind="disk_space", values={}, scope=SYSTEM, now=world.now, device=world.web) is None
    assert PolicyOverride.objects.visible_to(SYSTEM).count() == 1


def test_a_policy_that_cannot_be_changes_nothing(world):
    for values, says in (({"warn_percent": 95}, "warn_percent: 95"), ({"nonsense": 1}, "'nonsense' is no setting")):
        with pytest.raises(PolicyError, match=says):
            services.policy_set(kind="disk_space", values=values, scope=SYSTEM, now=world.now, client=world.acme)
    with pytest.raises(PolicyError, match="exactly one of client, site and device"):
        services.policy_set(kind="disk_space", values={}, scope=SYSTEM, now=world.now)
    assert not PolicyOverride.objects.visible_to(SYSTEM).exists()


def test_a_cadence_of_its_own_judges_less_often_and_is_stale_later(world):
    services.policy_set(
        kind="cpu", values={"every_minutes": 240}, scope=SYSTEM, now=world.now, client=world.acme, reason="a lab"
    )
    world.checks_in(world.web, VOLUMES, cpu=5).judge()
    assert world.check("cpu").due_at == world.now + timedelta(hours=4)
    world.after(hours=7).judge()
    assert world.check("cpu").status != STALE
    world.after(hours=2).judge()
    assert world.check("cpu").status == STALE
    services.policy_set(
        kind="cpu",
        values={"every_minutes": 60},
        scope=SYSTEM,
        now=world.now,
        device=world.web,
        reason="no lab any more",
    )
    world.judge()
    assert world.check("cpu").due_at == world.now + timedelta(hours=1), "the narrower one wins"


@pytest.mark.parametrize("minutes", [0, -5, 1.5, "5", True, None, 10**6])
def test_a_cadence_that_cannot_be_is_refused_by_name(world, minutes):
    with pytest.raises(PolicyError, match="every_minutes"):
        services.policy_set(
            kind="disk_space", values={"every_minutes": minutes}, scope=SYSTEM, now=world.now, client=world.acme
        )


def test_a_policy_has_a_history_with_reasons_and_the_newest_change_can_be_undone(world):
    for percent, why in ((85, "small volumes"), (88, "smaller still")):
        services.policy_set(
            kind="disk_space", values={"fail_percent": percent + 5, "warn_percent": percent}, scope=SYSTEM,
            now=world.now, site=world.munich, reason=why,
        )  # fmt: skip
        world.after(hours=1)
    second, first = queries.policy_changes(scope=SYSTEM)
    assert (first.old, first.reason, second.old["warn_percent"], second.reason) == (
        {},
        "small volumes",
        85,
        "smaller still",
    )
    with pytest.raises(PolicyError, match=f"undo change {second.pk} first"):
        services.policy_undo(change=first, scope=SYSTEM, now=world.now)
    services.policy_undo(change=second, scope=SYSTEM, now=world.now)
    (policy,) = queries.policy_list(scope=SYSTEM)
    assert (policy.values["warn_percent"], policy.reason) == (85, f"Undo of change {second.pk}.")
    assert evidence.entries(scope=SYSTEM).filter(kind="check_policy:changed").count() == 3


def test_setting_the_same_again_is_no_change(world):
    for _ in range(2):
        services.policy_set(kind="cpu", values={"every_minutes": 5}, scope=SYSTEM, now=world.now, client=world.acme)
    assert queries.policy_changes(scope=SYSTEM).count() == 1


def test_levels_for_intake_hold_every_threshold_and_where_it_is_left():
    levels = services.levels_for_intake()
    assert levels["disk.used_percent"] == [78, 80, 88, 90]
    assert levels["memory.available_percent"] == [10, 12]
    assert levels["cpu.used_percent"] == [85, 90]


def test_bolts_technician_sees_nothing_of_acme(world):
    world.checks_in(world.web, VOLUMES, root=95, data=20).judge()
    leeds = world.device("leeds-01", world.leeds)
    world.judge(leeds)
    bolt = Scope.at("ben", 3, ROLE_PERMISSIONS[Role.TECHNICIAN], clients=[world.bolt.pk])
    assert {check.device_id for check in queries.checks(scope=bolt)} == {leeds.pk}
    assert [row.device.name for row in queries.matrix(scope=bolt)] == ["leeds-01"]
    assert not queries.changes(scope=bolt, device=world.web).exists()
    assert queries.known_of(scope=bolt, device=world.web, now=world.now).facts.volumes is None
    with pytest.raises(Check.DoesNotExist):
        services.target_accept(check=world.check("disk_space", "/"), scope=bolt, reason="x", now=world.now)
    with pytest.raises(Client.DoesNotExist):
        services.policy_set(kind="cpu", values={"minutes": 3}, scope=bolt, now=world.now, client=world.acme)


def test_the_matrix_shows_the_worst_of_each_kind_in_two_queries(world, django_assert_num_queries):
    world.checks_in(world.web, VOLUMES, root=85, data=95).judge()
    world.device("web-02", world.munich)
    with django_assert_num_queries(2):
        rows = queries.matrix(scope=SYSTEM)
    cell = rows[0].cells["disk_space"]
    assert (cell.status, cell.target, cell.count, cell.not_passing) == (FAIL, "/data", 2, 2)
    assert rows[0].status == FAIL
    assert rows[1].cells == {}


def test_a_device_costs_few_queries(world):
    lists = wire.Updates(manager="apt", security_sources=True, lists_refreshed_at=MORNING + timedelta(days=1))
    world.checks_in(world.web, VOLUMES, NETWORK, lists, root=50, data=20, cpu=5)
    FirstSeen.objects.create(device=world.web, key="access:root", at=MORNING)
    services.checks_judge_due(now=world.now)
    world.after(hours=25).checks_in(world.web, root=51, data=21, cpu=6)
    services.checks_judge_due(now=world.now)  # changes of the long silence
    world.after(hours=25).checks_in(world.web, root=52, data=22, cpu=7)
    with CaptureQueriesContext(connection) as round_of_one:
        assert services.checks_judge_due(now=world.now) == 1
    counted = [each["sql"] for each in round_of_one if "SAVEPOINT" not in each["sql"]]
    once = 4  # devices without a schedule, due devices, their rows, their client's policies
    assert len(counted) - once <= QUERIES_A_DEVICE, "\n".join(sql[:150] for sql in counted)


def test_the_database_holds_the_rules(world):
    world.judge()
    row = Check.objects.visible_to(SYSTEM).first()
    for values in ({"status": "fine"}, {"risk": "huge"}, {"gone_at": MORNING, "status": "fail"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Check.objects.visible_to(SYSTEM).filter(pk=row.pk).update(**values)


def test_unknown_until_the_first_document_and_every_kind_is_judged(world):
    world.judge()
    rows = {row.kind: row.status for row in queries.checks(scope=SYSTEM)}
    only_where_there_are_any = {
        slug for slug, kind in CHECK_KINDS.items() if kind.also_reads and not kind.rests_on and not kind.metrics
    }
    assert set(rows) == set(CHECK_KINDS) - only_where_there_are_any
    assert {kind for kind, status in rows.items() if status == PASS} == {"offline", "pending_enrolment"}
    assert set(rows.values()) == {PASS, UNKNOWN}
