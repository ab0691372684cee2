"""Jobs: Ada signs, Eve forges, devices answer."""

from __future__ import annotations

import random
from datetime import timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from forestall.server.evidence.models import Entry
from forestall.server.inventory.services import device_revoke
from forestall.server.outbox.models import OutboxEvent
from forestall.server.people.scope import NotAllowedError, Permission, Scope
from forestall.server.people.services import client_create, site_create
from forestall.server.runbooks import queries, services
from forestall.server.runbooks.library import read_library
from forestall.server.runbooks.models import Job, JobState, OrderState, RootRecord, RunbookRecord
from forestall.server.runbooks.operator import operator_init
from forestall.server.runbooks.services import RefusedError, ResultRefusedError, RunbooksError, StatementChangedError
from forestall.server.tickets.models import TicketEvent
from forestall.trust import dsse
from forestall.trust.authorise import RefusedBecause
from forestall.trust.keys import new_key, private_bytes, private_key
from forestall.trust.sign import role_of, sign_job, sign_revocation, sign_statement
from forestall.trust.statements import Job as JobStatement
from forestall.trust.statements import RiskClass, read_statement, statement_bytes, statement_digest

EVERYTHING = Scope.system("test")


def kinds(office):
    return list(Entry.objects.visible_to(EVERYTHING).filter(client=office.client).values_list("kind", flat=True))


def statement_of(job) -> JobStatement:
    return read_statement(bytes(job.statement), JobStatement)


def test_ada_signs_and_the_device_answers(office):
    _, ticket = office.failing()
    job = office.prepare(ticket=ticket)
    assert job.state == JobState.AWAITING_SIGNATURE
    assert office.deliveries() == ([], [])
    queued = office.submit(office.sign(job))
    assert (queued.state, queued.signed_by) == (JobState.QUEUED, sorted(office.operator.root.operator.keys))
    commands, documents = office.deliveries()
    assert commands == [office.sign(job)]
    assert [dsse.decode(document).payloadType.split(".")[-1] for document in documents] == ["root+json", "runbook+json"]
    services.job_delivered(job_id=str(job.pk), device=office.device, now=office.later(seconds=5))
    assert office.deliveries()[0] == [office.sign(job)], "delivered again until the answer is here"
    envelope = office.answer(job.pk)
    done = office.receive(envelope)
    assert (done.state, done.result_code) == (JobState.SUCCEEDED, "done")
    assert done.result_steps[0]["summary"] == "deleted 214 files"
    assert office.deliveries() == ([], [])
    assert kinds(office)[-3:] == ["job:queued", "job:delivered", "job:result"]
    entry = Entry.objects.visible_to(EVERYTHING).get(kind="job:result")
    assert bytes(entry.envelope) == envelope
    assert (entry.job_id, entry.ticket_id) == (str(job.pk), ticket.pk)
    assert done.evidence_reference == entry.reference
    event = OutboxEvent.objects.get(name="job.finished")
    assert (event.subject, event.detail["device"]) == (str(job.pk), str(office.device.pk))
    texts = [line.text for line in TicketEvent.objects.visible_to(EVERYTHING).filter(ticket=ticket)]
    assert texts[-1] == "Succeeded on web-01: deleted 214 files, 1.2 GB"
    assert [one.what for one in done.events.all()] == ["prepared", "queued", "delivered", "succeeded"]


def test_eves_signature_queues_nothing(office):
    job = office.prepare()
    with pytest.raises(RefusedError) as caught:
        office.submit(office.sign(job, keys=[private_bytes(new_key())]))
    assert caught.value.because == RefusedBecause.SIGNATURES_MISSING
    assert queries.jobs(scope=office.scope).get(pk=job.pk).state == JobState.AWAITING_SIGNATURE
    assert "job:queued" not in kinds(office)


def test_a_prepared_job_can_be_read_in_words_made_from_what_is_signed(office):
    job = office.prepare(volume="/srv", older_than_days=30)
    words = queries.job_words(scope=office.scope, job=job)
    assert words[0] == "Free disk space: runbook free-disk-space, version 1, change"
    assert f"On web-01 (device {office.device.pk})" in words
    assert any(line.startswith("Deletes temporary files older than 30 days on /srv: ") for line in words)
    assert any(line.startswith("Cannot be undone.") for line in words)
    Job.objects.visible_to(EVERYTHING).filter(pk=job.pk).update(parameters={"volume": "/harmless"}, reason="harmless")
    assert queries.job_words(scope=office.scope, job=job) == words


@pytest.mark.parametrize(
    ("parameters", "because"),
    [
        ({"volume": "srv"}, RefusedBecause.PARAMETER_OUT_OF_BOUNDS),
        ({"volume": "/", "older_than_days": 0}, RefusedBecause.PARAMETER_OUT_OF_BOUNDS),
        ({"volume": "/", "shell": "true"}, RefusedBecause.PARAMETER_UNKNOWN),
        ({"older_than_days": 7}, RefusedBecause.PARAMETER_MISSING),
    ],
)
def test_what_the_device_would_refuse_is_said_at_once(office, parameters, because):
    with pytest.raises(RefusedError) as caught:
        office.prepare(**parameters)
    assert caught.value.because == because


def test_the_same_job_is_not_open_twice(office):
    first = office.prepare()
    with pytest.raises(RunbooksError, match=str(first.pk)):
        office.prepare()
    office.prepare(volume="/srv")


def test_a_revoked_device_takes_no_jobs(office):
    device_revoke(device=office.device, scope=office.scope, reason="sold", now=office.now)
    with pytest.raises(RunbooksError, match="revoked"):
        office.prepare()


def test_who_may_not_prepare_may_not_and_who_may_not_see_finds_nothing(office):
    auditor = Scope.at("otto", None, {Permission.RUNBOOK_VIEW})
    job = office.prepare()
    with pytest.raises(NotAllowedError):
        services.job_cancel(job=job, scope=auditor, reason="", now=office.now)
    with pytest.raises(NotAllowedError):
        services.job_submit_signed(scope=auditor, envelope=office.sign(job), now=office.now)
    stranger = Scope.at("mallory", None, Permission, clients=())
    assert not queries.jobs(scope=stranger).exists()
    with pytest.raises(Job.DoesNotExist):
        services.job_submit_signed(scope=stranger, envelope=office.sign(job), now=office.now)
    with pytest.raises(type(office.device).DoesNotExist):
        services.job_prepare(
            scope=stranger,
            runbook=queries.runbook(scope=office.scope, slug="free-disk-space"),
            device=office.device,
            parameters={"volume": "/srv"},
            reason="mine",
            now=office.now,
        )


def test_counters_rise_and_what_waits_is_numbered_behind_what_was_sent(office):
    first, second = office.prepare(), office.prepare(volume="/srv")
    assert (first.counter, second.counter) == (1, 2)
    office.submit(office.sign(second))
    first.refresh_from_db()
    assert first.counter == 3
    assert statement_of(first).devices == {str(office.device.pk): 3}
    office.submit(office.sign(first))
    counters = [
        next(iter(read_statement(dsse.decode(command).body(), JobStatement).devices.values()))
        for command in office.deliveries()[0]
    ]
    assert counters == [2, 3]


def test_v4_a_job_changed_between_reading_and_signing_is_not_queued(office):
    job = office.prepare()
    signed = office.sign(job)
    services.job_change(
        job=job, scope=office.scope, parameters={"volume": "/srv"}, reason="another", now=office.later(seconds=1)
    )
    with pytest.raises(StatementChangedError):
        office.submit(signed)
    job.refresh_from_db()
    assert job.state == JobState.AWAITING_SIGNATURE
    assert office.submit(office.sign(job)).parameters == {"volume": "/srv"}
    with pytest.raises(RunbooksError, match="only an unsigned job"):
        services.job_change(job=job, scope=office.scope, parameters={"volume": "/"}, reason="x", now=office.now)


def test_a_destructive_job_waits_for_the_second_operator(office):
    grace = new_key()
    folder = office.operator
    root = msgspec.structs.replace(
        folder.root,
        version=2,
        operator=role_of(
            [*map(private_key, folder.operator_keys()), grace],
        ),
    )
    root_key = private_key(bytes.fromhex((folder.folder / "root.key").read_text()))
    services.root_install(scope=office.scope, envelope=sign_statement(root, [root_key]), now=office.now)
    catalogue = private_key(bytes.fromhex((folder.folder / "catalogue.key").read_text()))
    runbook = msgspec.structs.replace(
        folder.runbook_called("free-disk-space"), slug="scorch", risk=RiskClass.DESTRUCTIVE
    )
    services.runbook_publish(scope=office.scope, envelope=sign_statement(runbook, [catalogue]), now=office.now)
    job = office.prepare(slug="scorch", volume="/")
    waiting = office.submit(office.sign(job))
    assert waiting.state == JobState.AWAITING_SIGNATURE
    assert len(waiting.signed_by) == 1
    queued = office.submit(sign_job(bytes(job.statement), [private_bytes(grace)]))
    assert queued.state == JobState.QUEUED
    assert len(queued.signed_by) == 2


def test_a_cancelled_job_is_not_delivered(office):
    job = office.prepare()
    office.submit(office.sign(job))
    services.job_cancel(job=job, scope=office.scope, reason="wrong machine", now=office.now)
    assert office.deliveries() == ([], [])
    with pytest.raises(RunbooksError, match="no longer be cancelled"):
        services.job_cancel(job=job, scope=office.scope, reason="again", now=office.now)


def test_jobs_expire_each_with_its_reason(office):
    unsigned, queued, delivered = (office.prepare(volume=path) for path in ("/", "/srv", "/var"))
    for job in (queued, delivered):
        job.refresh_from_db()
        office.submit(office.sign(job))
    services.job_delivered(job_id=delivered.pk, device=office.device, now=office.now)
    assert services.jobs_expire(now=office.now + timedelta(hours=23)) == 0
    assert services.jobs_expire(now=office.later(hours=24)) == 2
    assert services.jobs_expire(now=office.later(hours=8)) == 1
    texts = {}
    for job in (unsigned, queued, delivered):
        job.refresh_from_db()
        assert job.state == JobState.EXPIRED
        texts[job.pk] = job.events.last().text
    assert "no operator" in texts[unsigned.pk]
    assert "did not check in" in texts[queued.pk]
    assert "not answered" in texts[delivered.pk]
    assert kinds(office).count("job:expired") == 3
    late = office.receive(office.answer(delivered.pk))
    assert late.state == JobState.SUCCEEDED, "a late answer counts"


def test_an_answer_must_be_the_devices_own(office):
    job = office.prepare()
    office.submit(office.sign(job))
    other, other_key = office.new_device("web-02")
    for envelope, device in (
        (office.answer(job.pk, key=new_key()), office.device),
        (office.answer(job.pk), other),
        (office.answer(job.pk, key=other_key, device_id=str(other.pk), client_id=str(uuid4())), other),
        (b"junk", office.device),
        (office.sign(job), office.device),
    ):
        with pytest.raises(ResultRefusedError):
            office.receive(envelope, device=device)
    # Another device's own, well-signed word about a job that is not its: on record, without effect on the job.
    assert office.receive(office.answer(job.pk, key=other_key, device_id=str(other.pk)), device=other) is None
    job.refresh_from_db()
    assert job.state == JobState.QUEUED


def test_a_second_answer_changes_nothing(office):
    job = office.prepare()
    office.submit(office.sign(job))
    office.receive(office.answer(job.pk))
    before = kinds(office)
    for envelope in (office.answer(job.pk), office.answer(job.pk, outcome="refused", code="counter_passed")):
        assert office.receive(envelope).state == JobState.SUCCEEDED
    assert kinds(office) == before


def test_a_refusal_of_a_command_the_server_never_gave_is_on_record(office):
    for job_id in (str(uuid4()), "", "not a uuid"):
        refusal = office.answer(job_id, outcome="refused", code="signatures_missing", steps=())
        assert office.receive(refusal) is None
    assert kinds(office).count("job:result") == 3
    # Nor does it touch a job that was prepared and never signed.
    job = office.prepare()
    assert office.receive(office.answer(job.pk, outcome="refused", code="signatures_missing", steps=())) is None
    job.refresh_from_db()
    assert job.state == JobState.AWAITING_SIGNATURE


def test_every_act_and_its_evidence_commit_together(office, monkeypatch):
    job = office.prepare()
    envelope = office.sign(job)

    def broken(**_):
        raise RuntimeError("disk full")

    monkeypatch.setattr(services, "evidence_append", broken)
    with pytest.raises(RuntimeError, match="disk full"):
        office.submit(envelope)
    job.refresh_from_db()
    assert (job.state, bytes(job.envelope)) == (JobState.AWAITING_SIGNATURE, b"")


# --- authority ---


def test_the_same_authority_again_changes_nothing_and_anothers_is_refused(office, tmp_path):
    before = RootRecord.objects.count(), RunbookRecord.objects.count(), len(kinds(office))
    services.authority_install(bundle=operator_init(folder=office.operator.folder, now=office.now), now=office.now)
    assert (RootRecord.objects.count(), RunbookRecord.objects.count(), len(kinds(office))) == before
    eves = operator_init(folder=tmp_path / "eve", now=office.now)
    with pytest.raises(RefusedError):
        services.authority_install(bundle=eves, now=office.now)
    with pytest.raises(RefusedError):
        services.runbook_publish(scope=office.scope, envelope=eves.runbooks[0], now=office.now)
    assert queries.root_key_id() == next(iter(office.operator.root.root.keys))


def test_each_clients_log_says_who_may_sign_what_before_anything_rests_on_it(office):
    assert kinds(office).count("root:installed") == 1
    assert kinds(office).count("runbook:published") == len(read_library())
    late = site_create(client=client_create(name="Late Ltd", timezone="UTC"), name="There")
    device, _ = office.new_device("late-01", site=late)
    office.submit(office.sign(office.prepare(device=device)))
    log = Entry.objects.visible_to(EVERYTHING).filter(client=late.client).order_by("index")
    assert list(log.values_list("kind", flat=True))[2:] == [
        "root:installed", *["runbook:published"] * len(read_library()), "job:queued",
    ]  # fmt: skip
    office.submit(office.sign(office.prepare(device=device, volume="/srv")))
    assert log.filter(kind="root:installed").count() == 1


def test_a_published_version_keeps_its_content(office):
    catalogue = private_key(bytes.fromhex((office.operator.folder / "catalogue.key").read_text()))
    altered = msgspec.structs.replace(office.operator.runbook_called("restart-service"), title="Another")
    with pytest.raises(RunbooksError, match="another content"):
        services.runbook_publish(scope=office.scope, envelope=sign_statement(altered, [catalogue]), now=office.now)


# --- standing orders ---


def test_a_failing_check_runs_what_ada_allowed(office):
    order = office.install(office.order())
    check, ticket = office.failing()
    job = services.orders_consider_by_id(ticket_id=ticket.pk, now=office.now)
    assert (job.state, job.order, job.parameters, job.ticket_id) == (
        JobState.QUEUED, order, {"volume": "/"}, ticket.pk,
    )  # fmt: skip
    assert job.signed_by == order.signed_by
    commands, documents = office.deliveries()
    assert len(commands) == 1
    assert bytes(order.envelope) in documents
    assert "disk_space" in queries.job_words(scope=office.scope, job=job)[-2]
    assert services.orders_consider(ticket=ticket, check=check, now=office.now) is None, "one at a time"


@pytest.mark.parametrize(
    "story",
    [
        {"failing": {"kind": "service_down", "target": "nginx"}},
        {"failing": {"status": "warn"}},
        {"failing": {"target": "/home"}},
        {"order": {"life": timedelta(hours=1)}, "later": {"hours": 2}},
        {"order": {"trigger": "service_down"}},
    ],
)
def test_an_order_answers_only_its_own_case(office, story):
    office.install(office.order(**story.get("order", {})))
    office.later(**story.get("later", {}))
    check, ticket = office.failing(**story.get("failing", {}))
    assert services.orders_consider(ticket=ticket, check=check, now=office.now) is None


def test_an_order_for_one_device_leaves_the_other_alone(office):
    other, _ = office.new_device("web-02")
    office.install(office.order())
    check, ticket = office.failing(device=other)
    assert services.orders_consider(ticket=ticket, check=check, now=office.now) is None


def test_service_and_backup_follow_from_the_checks_target(office):
    office.install(office.order(slug="restart-service", trigger="service_down", allowed={"service": ["nginx", "cron"]}))
    office.install(office.order(slug="rerun-backup", trigger="backup_age", allowed={"backup": ["documents"]}))
    for kind, target, parameters in (
        ("service_down", "nginx", {"service": "nginx"}),
        ("backup_age", "documents", {"backup": "documents"}),
    ):
        check, ticket = office.failing(kind=kind, target=target)
        assert services.orders_consider(ticket=ticket, check=check, now=office.now).parameters == parameters


def test_an_order_has_its_runs_a_day(office):
    office.install(office.order())
    check, ticket = office.failing()
    for _ in range(2):
        job = services.orders_consider(ticket=ticket, check=check, now=office.later(hours=1))
        office.receive(office.answer(job.pk, outcome="failed", code="timed_out"))
    assert services.orders_consider(ticket=ticket, check=check, now=office.later(hours=1)) is None
    assert services.orders_consider(ticket=ticket, check=check, now=office.later(hours=24)) is not None


def test_an_order_signed_after_the_ticket_opened_is_found(office):
    _, ticket = office.failing()
    assert services.orders_consider_waiting(now=office.now) == 0, "nobody allowed anything yet"
    office.install(office.order())
    assert services.orders_consider_waiting(now=office.later(minutes=1)) == 1
    job = queries.jobs(scope=office.scope).get(ticket_id=ticket.pk)
    assert services.orders_consider_waiting(now=office.later(minutes=1)) == 0, "one at a time"

    Job.objects.visible_to(office.scope).filter(pk=job.pk).update(state=JobState.EXPIRED)
    assert services.orders_consider_waiting(now=office.later(minutes=10)) == 0, "not again so soon"
    assert services.orders_consider_waiting(now=office.later(minutes=20)) == 1


def test_a_new_order_is_announced_and_a_revoked_one_until_it_would_have_ended(office):
    envelope = office.order()
    order = office.install(envelope)
    assert envelope in office.deliveries()[1]
    services.jobs_expire(now=office.later(hours=2))
    assert office.deliveries() == ([], [])
    revocation = sign_revocation(
        orders=[order.digest], reason="too eager", now=office.now, keys=office.operator.operator_keys()
    )
    check, ticket = office.failing()
    job = services.orders_consider(ticket=ticket, check=check, now=office.now)
    services.order_revoke(scope=office.scope, envelope=revocation, now=office.now)
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED
    assert revocation in office.deliveries()[1]
    assert services.orders_consider(ticket=ticket, check=check, now=office.now) is None
    services.jobs_expire(now=office.later(days=29))
    assert revocation in office.deliveries()[1]
    services.jobs_expire(now=office.later(days=2))
    assert office.deliveries() == ([], [])
    assert kinds(office).count("order:revoked") == 1


def test_orders_that_devices_would_refuse_are_refused_here(office):
    stranger = site_create(client=client_create(name="Other Ltd", timezone="UTC"), name="There")
    foreign, _ = office.new_device("db-01", site=stranger)
    for envelope in (
        office.order(keys=[private_bytes(new_key())]),
        office.order(life=timedelta(days=31)),
        office.order(allowed={"shell": ["rm"]}),
        office.order(devices=[office.device, foreign]),
    ):
        with pytest.raises(RunbooksError):
            office.install(envelope)
    scope = Scope.at("sam", None, Permission, sites={office.site.pk: office.client.pk})
    with pytest.raises(RunbooksError, match="not here"):
        services.order_install(scope=scope, envelope=office.order(devices=[foreign]), now=office.now)


def test_an_order_with_a_device_of_a_foreign_site_stays_hidden(office):
    branch = site_create(client=office.client, name="Branch")
    there, _ = office.new_device("branch-01", site=branch)
    both = office.install(office.order(devices=[office.device, there]))
    mine = office.install(office.order())
    sam = Scope.at("sam", None, Permission, sites={office.site.pk: office.client.pk})
    assert set(queries.orders(scope=office.scope)) == {both, mine}
    assert list(queries.orders(scope=sam)) == [mine]
    assert queries.order_words(scope=sam, order=mine)[1].startswith("Whenever the check disk_space fails")


def test_revoking_and_considering_interleaved_never_leaves_a_run_behind(office):
    """200 random acts on orders and jobs: a revoked order never has a job under way."""
    random.seed(7)
    orders: list = []
    check, ticket = office.failing()
    for _ in range(200):
        office.later(minutes=random.randint(1, 300))
        act = random.choice(["install", "consider", "consider", "revoke", "answer", "expire"])
        if act == "install" and len(orders) < 40:
            orders.append(office.install(office.order()))
        elif act == "consider":
            services.orders_consider(ticket=ticket, check=check, now=office.now)
        elif act == "revoke" and orders:
            services.order_revoke(
                scope=office.scope,
                envelope=sign_revocation(
                    orders=[random.choice(orders).digest],
                    reason="drill",
                    now=office.now,
                    keys=office.operator.operator_keys(),
                ),
                now=office.now,
            )
        elif act == "answer":
            for job in Job.objects.visible_to(EVERYTHING).filter(state=JobState.QUEUED):
                office.receive(office.answer(job.pk))
        else:
            services.jobs_expire(now=office.now)
        under_way = Job.objects.visible_to(EVERYTHING).filter(state__in=[JobState.QUEUED, JobState.DELIVERED])
        assert not under_way.filter(order__state=OrderState.REVOKED).exists()
        assert under_way.count() <= 1
    assert Job.objects.visible_to(EVERYTHING).count() > 10


def test_deliveries_cost_the_same_number_of_queries_however_many_devices(office, django_assert_num_queries):
    office.submit(office.sign(office.prepare()))
    with django_assert_num_queries(4):
        queries.deliveries_for(device_ids=[office.device.pk, *(UUID(int=number) for number in range(2_000))])


def test_a_statement_is_one_string_of_bytes(office):
    job = office.prepare()
    assert statement_bytes(statement_of(job)) == bytes(job.statement)
    assert statement_of(job).runbook == statement_digest(office.operator.runbook_called("free-disk-space"))
