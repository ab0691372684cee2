"""Who may say so, on the server: new roots, revoked keys, and how much one signature covers."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.models import Entry
from forestall.server.people.scope import NotAllowedError, Permission, Scope
from forestall.server.runbooks import queries, rules, services
from forestall.server.runbooks.models import (
    AuthorityProposal,
    Job,
    JobState,
    OrderRecord,
    OrderState,
    ProposalState,
    RevocationRecord,
    RootRecord,
)
from forestall.server.runbooks.services import RefusedError, RunbooksError
from forestall.trust import dsse
from forestall.trust.authorise import RefusedBecause
from forestall.trust.keys import key_id, new_key, private_bytes, private_key, public_bytes
from forestall.trust.sign import role_of, sign_revocation, sign_statement
from forestall.trust.statements import Job as JobStatement
from forestall.trust.statements import OperatorLimits, Revocation, RoleKeys, read_statement

ALL = Scope.system("test")
replace = msgspec.structs.replace


def name(key) -> str:
    return key_id(public_bytes(key))


@pytest.fixture
def root_key(office):
    return private_key(bytes.fromhex((office.operator.folder / "root.key").read_text()))


@pytest.fixture
def ada(office):
    return private_key(office.operator.operator_keys()[0])


@pytest.fixture
def grace():
    return new_key()


def with_key(role: RoleKeys, key, threshold: int | None = None) -> RoleKeys:
    keys = {**role.keys, name(key): public_bytes(key).hex()}
    return RoleKeys(keys=keys, threshold=threshold or role.threshold)


def successor(*keys, **changes) -> bytes:
    current = queries.root_newest()
    return sign_statement(replace(current, version=current.version + 1, **changes), keys)


def submit(office, envelope):
    return services.authority_submit(scope=office.scope, envelope=envelope, now=office.now)


def revocation(office, *keys) -> Revocation:
    return Revocation(issued_at=office.now, orders=(), keys=tuple(map(name, keys)), reason="stolen laptop")


def state(job) -> str:
    return str(Job.objects.visible_to(ALL).get(pk=job.pk).state)


def kinds(office) -> list[str]:
    return list(Entry.objects.visible_to(ALL).filter(client=office.client).values_list("kind", flat=True))


# --- succession ---


def test_a_second_operator_joins_by_a_root_that_the_root_signs(office, root_key, grace):
    root = queries.root_newest()
    proposal = submit(office, successor(root_key, operator=with_key(root.operator, grace)))
    assert proposal.state == ProposalState.INSTALLED
    assert queries.root_newest().version == 2
    assert name(grace) in queries.root_newest().operator.keys
    assert kinds(office).count(EvidenceKind.ROOT_INSTALLED) == 2
    # Every device hears of it with its next check-in, though nothing waits for it; a week later only with a command.
    _, documents = office.deliveries()
    assert len(documents) == 2
    found = queries.deliveries_for(device_ids=[office.device.pk], now=office.now + timedelta(days=8))
    assert found == {}
    job = office.prepare()
    office.submit(office.sign(job, keys=[private_bytes(grace)]))
    found = queries.deliveries_for(device_ids=[office.device.pk], now=office.now + timedelta(days=8))
    assert len(found[office.device.pk][1]) == 3


def test_two_of_three_sign_a_new_root_one_after_the_other(office, root_key):
    """The ceremony for three: the server keeps what is signed so far, and installs at the threshold."""
    root = queries.root_newest()
    second, third = new_key(), new_key()
    role = with_key(with_key(root.root, second), third, threshold=2)
    started = submit(office, successor(root_key, root=role))
    assert started.state == ProposalState.WAITING
    assert "1 valid root signatures, 2 needed" in started.missing
    assert queries.root_newest().version == 1
    statement = dsse.decode(bytes(started.envelope)).body()
    ended = submit(office, dsse.sign(statement, root.PAYLOAD_TYPE, [second]))
    assert ended.pk == started.pk
    assert ended.state == ProposalState.INSTALLED
    assert queries.root_newest().root.threshold == 2
    # From now on one of them alone changes nothing.
    alone = submit(office, successor(second, operator=role_of([new_key()])))
    assert alone.state == ProposalState.WAITING
    assert submit(office, bytes(ended.envelope)).state == ProposalState.INSTALLED  # the same again


def test_proposals_that_lead_nowhere_are_refused(office, root_key, grace):
    root = queries.root_newest()
    with pytest.raises(RunbooksError, match="no holder of a root key"):
        submit(office, successor(grace))
    with pytest.raises(RunbooksError, match="root version 3, expected 2"):
        submit(office, sign_statement(replace(root, version=3), [root_key]))
    with pytest.raises(RunbooksError, match="neither a root nor a revocation"):
        submit(office, office.sign(office.prepare()))
    with pytest.raises(RunbooksError, match="not a signed root"):
        submit(office, b"junk")
    with pytest.raises(RefusedError) as caught:
        submit(office, successor(root_key, limits={"0" * 64: OperatorLimits()}))
    assert caught.value.because == RefusedBecause.LIMITS_UNSOUND
    bad = RoleKeys(keys={**root.root.keys, "x": "not hex"}, threshold=1)
    with pytest.raises(RunbooksError, match="not hex"):
        submit(office, successor(root_key, root=bad))
    assert not AuthorityProposal.objects.exists()


def test_a_proposal_can_be_withdrawn_and_is_superseded_by_the_next_root(office, root_key):
    root = queries.root_newest()
    role = with_key(root.root, new_key(), threshold=2)
    first, second = (
        submit(office, successor(root_key, root=role)),
        submit(office, successor(root_key, root=with_key(root.root, new_key(), threshold=2))),
    )
    services.proposal_withdraw(scope=office.scope, digest=first.digest, now=office.now)
    with pytest.raises(RunbooksError, match="cannot be withdrawn"):
        services.proposal_withdraw(scope=office.scope, digest=first.digest, now=office.now)
    assert submit(office, bytes(first.envelope)).state == ProposalState.WITHDRAWN
    submit(office, successor(root_key, operator=role_of([new_key()])))
    second.refresh_from_db()
    assert second.state == ProposalState.SUPERSEDED
    assert [one.kind for one in queries.proposals(scope=ALL)] == ["root"] * 3


def test_authority_is_passed_on_by_those_alone_who_may_change_it(office, root_key):
    technician = Scope.at("bo", 1, [Permission.JOB_PREPARE, Permission.RUNBOOK_VIEW])
    at_one_client = Scope.at("cy", 1, [Permission.AUTHORITY_CHANGE], clients=[office.client.pk])
    for scope in (technician, at_one_client):
        for call in (
            lambda scope=scope: services.authority_submit(scope=scope, envelope=b"", now=office.now),
            lambda scope=scope: services.keys_revoke(scope=scope, envelope=b"", now=office.now),
            lambda scope=scope: services.proposal_withdraw(scope=scope, digest="", now=office.now),
            lambda scope=scope: queries.proposals(scope=scope),
        ):
            with pytest.raises(NotAllowedError):
                call()
    assert queries.roots(scope=technician).count() == 1
    assert queries.revocations(scope=technician).count() == 0


# --- revoked keys ---


def test_v3_what_a_revoked_key_started_is_stopped(office, root_key, ada, grace):
    """Ada's laptop is stolen: her queued jobs are cancelled, her orders end, her half signatures are void."""
    root = queries.root_newest()
    submit(office, successor(root_key, operator=with_key(root.operator, grace)))
    order = office.install(office.order(keys=[private_bytes(ada)]))
    kept = office.install(office.order("restart-service", "service_down", {"service": ["nginx"]},
                                       keys=[private_bytes(grace)]))  # fmt: skip
    queued = office.submit(office.sign(office.prepare(volume="/srv"), keys=[private_bytes(ada)]))
    by_both = office.prepare(volume="/var")
    by_both = office.submit(office.sign(by_both, keys=[private_bytes(ada), private_bytes(grace)]))
    ticket = office.failing()[1]
    invoked = services.orders_consider_by_id(ticket_id=ticket.pk, now=office.now)
    assert invoked is not None
    submitted = submit(office, sign_statement(revocation(office, ada), [root_key]))
    assert submitted.state == ProposalState.INSTALLED
    assert queries.revoked_keys() == {name(ada)}
    assert (state(queued), state(by_both), state(invoked)) == (JobState.CANCELLED, JobState.QUEUED, JobState.CANCELLED)
    states = dict(OrderRecord.objects.visible_to(ALL).values_list("digest", "state"))
    assert states == {order.digest: OrderState.REVOKED, kept.digest: OrderState.IN_FORCE}
    assert EvidenceKind.KEY_REVOKED in kinds(office)
    # Nothing new with her key, here as on the device.
    for attempt in (
        lambda: office.submit(office.sign(office.prepare(volume="/home"), keys=[private_bytes(ada)])),
        lambda: office.install(office.order(keys=[private_bytes(ada)])),
        lambda: services.order_revoke(
            scope=office.scope, now=office.now,
            envelope=sign_revocation(orders=[kept.digest], reason="x", now=office.now, keys=[private_bytes(ada)]),
        ),
    ):  # fmt: skip
        with pytest.raises(RefusedError) as caught:
            attempt()
        assert caught.value.because == RefusedBecause.KEY_REVOKED
    with pytest.raises(RunbooksError, match="was revoked for good"):
        submit(office, successor(root_key))
    # The same again changes nothing.
    services.keys_revoke(
        scope=office.scope, envelope=sign_statement(revocation(office, ada), [root_key]), now=office.now
    )
    assert RevocationRecord.objects.count() == 1
    assert "1 keys" in str(RevocationRecord.objects.get())


def test_a_revocation_names_keys_and_is_signed_by_the_root(office, root_key, ada):
    with pytest.raises(RefusedError) as caught:
        services.keys_revoke(
            scope=office.scope, envelope=sign_statement(revocation(office, ada), [ada]), now=office.now
        )
    assert caught.value.because == RefusedBecause.SIGNATURES_MISSING
    mixed = replace(revocation(office, ada), orders=("a" * 64,))
    with pytest.raises(RunbooksError, match="names keys, and no standing orders"):
        services.keys_revoke(scope=office.scope, envelope=sign_statement(mixed, [root_key]), now=office.now)


def test_half_a_signature_of_a_revoked_key_is_void(office, root_key, ada, grace):
    root = queries.root_newest()
    submit(office, successor(root_key, operator=with_key(root.operator, grace, threshold=2)))
    job = office.prepare()
    half = office.submit(office.sign(job, keys=[private_bytes(ada)]))
    assert half.signed_by == [name(ada)]
    submit(office, sign_statement(revocation(office, ada), [root_key]))
    half.refresh_from_db()
    assert (half.state, half.signed_by, bytes(half.envelope)) == (JobState.AWAITING_SIGNATURE, [], b"")


def test_limits_bind_on_the_server_too(office, root_key, ada):
    limits = {name(ada): OperatorLimits(clients=("another",))}
    submit(office, successor(root_key, limits=limits))
    with pytest.raises(RefusedError) as caught:
        office.submit(office.sign(office.prepare()))
    assert caught.value.because == RefusedBecause.BEYOND_LIMITS


# --- one signature covers few ---


@pytest.mark.parametrize(
    ("devices", "limit"), [(0, 5), (1, 5), (8, 5), (50, 5), (59, 5), (60, 6), (99, 9), (100, 10), (1000, 100)]
)
def test_a_tenth_of_a_client_but_at_least_five(devices, limit):
    assert rules.single_signature_limit(devices) == limit
    given = {"client_devices": devices, "needed": 1}
    assert rules.reach(covered=limit, **given).needed == 1
    assert rules.reach(covered=limit + 1, **given).needed == 2
    assert rules.reach(covered=limit + 1, client_devices=devices, needed=0).needed == 0
    assert rules.reach(covered=1, client_devices=devices, needed=2).needed == 2


def test_v1_the_sixth_device_of_a_small_client_needs_a_second_operator(office, root_key, ada, grace):
    root = queries.root_newest()
    submit(office, successor(root_key, operator=with_key(root.operator, grace)))
    devices = [office.device, *(office.new_device(f"web-{number:02}")[0] for number in range(2, 9))]
    jobs = [office.prepare(device=device) for device in devices]
    for job in jobs[:5]:
        assert office.submit(office.sign(job, keys=[private_bytes(ada)])).state == JobState.QUEUED
    reach = queries.job_reach(scope=office.scope, job=jobs[5], now=office.now)
    assert (reach.covered, reach.client_devices, reach.limit, reach.needed, reach.percent) == (6, 8, 5, 2, 75.0)
    sixth = office.submit(office.sign(jobs[5], keys=[private_bytes(ada)]))
    assert sixth.state == JobState.AWAITING_SIGNATURE
    said = sixth.events.last().text
    assert said == (
        "1 of 2 operators have signed; with it one runbook reaches 6 of the client's 8 devices, and one signature "
        "covers 5."
    )
    sixth = office.submit(office.sign(sixth, keys=[private_bytes(grace)]))
    assert sixth.state == JobState.QUEUED
    assert len(sixth.signed_by) == 2
    # What two have signed is nobody's sole doing; a dry run counts nobody; a day later it begins anew.
    assert queries.job_reach(scope=office.scope, job=jobs[6], now=office.now).covered == 6
    dry = services.job_prepare(
        scope=office.scope, runbook="restart-service", device=devices[7], parameters={"service": "nginx"},
        reason="look first", dry_run=True, now=office.now,
    )  # fmt: skip
    assert queries.job_reach(scope=office.scope, job=dry, now=office.now).covered == 1
    assert read_statement(bytes(dry.statement), JobStatement).dry_run
    assert queries.job_reach(scope=office.scope, job=jobs[6], now=office.now + timedelta(days=1)).needed == 1
    # Another runbook is another matter.
    other = office.prepare("restart-service", device=devices[6], service="nginx")
    assert queries.job_reach(scope=office.scope, job=other, now=office.now).covered == 1


def test_v1_a_wide_standing_order_needs_two_operators(office, root_key, ada, grace):
    root = queries.root_newest()
    submit(office, successor(root_key, operator=with_key(root.operator, grace)))
    devices = [office.device, *(office.new_device(f"web-{number:02}")[0] for number in range(2, 8))]
    keys = {"keys": [private_bytes(ada)]}
    office.install(office.order(devices=devices[:3], **keys))
    with pytest.raises(RunbooksError, match="1 of 2 operators have signed; with it one runbook reaches 6 of the"):
        office.install(office.order(devices=devices[3:6], **keys))
    assert office.install(office.order(devices=devices[3:5], **keys))
    assert office.install(office.order(devices=devices, keys=[private_bytes(ada), private_bytes(grace)]))


def test_a_dry_run_is_told_as_one(office):
    job = services.job_prepare(
        scope=office.scope, runbook="free-disk-space", device=office.device, parameters={"volume": "/"},
        reason="look first", dry_run=True, now=office.now,
    )  # fmt: skip
    assert queries.job_words(scope=ALL, job=job)[1].startswith("A DRY RUN")
    office.submit(office.sign(job))
    done = office.receive(office.answer(job.pk, code="dry_run", detail="would delete 214 files, 1.2 GB"))
    assert done.events.last().text == "Dry run: succeeded on web-01: would delete 214 files, 1.2 GB"
    changed = services.job_prepare(
        scope=office.scope, runbook="free-disk-space", device=office.device, parameters={"volume": "/"},
        reason="look first", dry_run=True, now=office.now,
    )  # fmt: skip
    changed = services.job_change(
        job=changed, scope=office.scope, parameters={"volume": "/srv"}, reason="there", now=office.now
    )
    assert read_statement(bytes(changed.statement), JobStatement).dry_run
    assert str(RootRecord.objects.get()) == "root version 1"


def test_a_dry_run_stands_in_nobodys_way(office):
    """Beside it the real job can be prepared, and a standing order acts as if it were not there."""
    check, ticket = office.failing()
    given = {"scope": office.scope, "runbook": "free-disk-space", "device": office.device, "now": office.now}
    dry = services.job_prepare(parameters={"volume": "/"}, reason="look", ticket_id=ticket.pk, dry_run=True, **given)
    with pytest.raises(RunbooksError, match="the same job is awaiting signature already"):
        services.job_prepare(parameters={"volume": "/"}, reason="look again", dry_run=True, **given)
    office.install(office.order())
    invoked = services.orders_consider(ticket=ticket, check=check, now=office.now)
    assert invoked is not None
    assert invoked.pk != dry.pk
