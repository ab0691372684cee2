"""The takeover drill: Eve holds the server, its database and all its online keys; and more.

She has Bob's operator key, which the root has revoked, and Carol's, whose limits end at another client. She lacks
Ada's. What she sends goes the way a reply of the server goes on a device: documents, then commands, results signed
with the device's key. 480 forgeries: nothing runs, every one is answered. (`soak` runs 10,000.)
"""

from __future__ import annotations

import base64
import random
import sys
from datetime import timedelta
from uuid import uuid4

import msgspec
import pytest

from forestall.agent import jobs
from forestall.agent.act import ActState
from forestall.agent.config import AgentHome
from forestall.agent.link.vault import Vault, identity_make, identity_public
from forestall.trust import dsse
from forestall.trust.authorise import RefusedBecause
from forestall.trust.keys import key_id, new_key, public_bytes
from forestall.trust.sign import new_root, role_of, sign_statement, wrap_invocation
from forestall.trust.statements import (
    Invocation,
    Job,
    JobResult,
    OperatorLimits,
    Parameter,
    Revocation,
    RiskClass,
    RoleKeys,
    Root,
    Runbook,
    StandingOrder,
    Step,
    read_statement,
    statement_bytes,
    statement_digest,
)

replace = msgspec.structs.replace


def name(key) -> str:
    return key_id(public_bytes(key))


def respelled(envelope: bytes, statement) -> bytes:
    """The genuine signatures over another statement."""

    genuine = dsse.decode(envelope)
    return msgspec.json.encode(
        replace(genuine, payload=base64.b64encode(statement_bytes(statement)).decode()), order="deterministic"
    )


class Eve:
    """What the server knows: every document and command that ever went through it, and its own keys."""

    def __init__(self, machine, randomness: random.Random) -> None:
        self.machine, self.random = machine, randomness
        self.log_key, self.session_key, self.own = new_key(), new_key(), new_key()
        self.bob, self.carol = new_key(), new_key()
        self.first_root = sign_statement(machine.root, [machine.root_key])
        machine.root = replace(
            machine.root,
            version=2,
            operator=role_of([machine.ada, self.bob, self.carol]),
            limits={name(self.carol): OperatorLimits(clients=("another client",), most_devices=1)},
            single_signature_devices=3,
        )
        stolen = Revocation(issued_at=machine.now, orders=(), keys=(name(self.bob),), reason="Bob's laptop is gone")
        self.genuine_documents = [
            self.first_root,
            sign_statement(machine.root, [machine.root_key]),
            sign_statement(stolen, [machine.root_key]),
        ]
        assert machine.state.accept_documents(self.genuine_documents, now=machine.now) == []
        folder = str(machine.temporary)
        self.runbook = machine.runbook(
            Step(
                action="files.delete_older",
                arguments={"folder": "{folder}", "older_than_days": "{days}", "pattern": "*"},
            ),
            parameters=(
                Parameter(name="folder", kind="path", description=""),
                Parameter(name="days", kind="integer", description="", default=365, minimum=300, maximum=3650),
            ),
        )
        machine.know(self.runbook)
        self.runbook_envelope = sign_statement(self.runbook, [machine.catalogue])
        self.order = machine.order(self.runbook, allowed={"folder": (folder,)}, runs_per_day=1)
        self.order_envelope = machine.signed(self.order)
        machine.state.accept_documents([self.order_envelope], now=machine.now)
        # A day of honest work, seen by the server: a job that ran, one for another device, an order that is used up.
        self.genuine = machine.job(self.runbook, parameters={"folder": folder})
        self.genuine_envelope = machine.signed(self.genuine)
        assert machine.execute(self.genuine_envelope).outcome == "succeeded"
        used_up = machine.invocation(self.order, parameters={"folder": folder})
        assert machine.execute(used_up).outcome == "succeeded"
        self.rehearsal = machine.signed(machine.job(self.runbook, parameters={"folder": folder}, dry_run=True))
        assert machine.execute(self.rehearsal).code == "dry_run"
        wide = {machine.state.device_id: 10**6, **{str(uuid4()): 1 for _ in range(3)}}
        # Half of two: the server keeps it until a second operator signs.
        self.half = machine.signed(machine.job(self.runbook, parameters={"folder": folder, "days": 300}, devices=wide))
        self.precious = machine.file("precious", days=3650)
        self.forgeries = [
            self.unsigned, self.signed_by_online_keys, self.transplanted, self.other_device, self.other_client,
            self.expired_job, self.replayed, self.replayed_respelled, self.counter_rolled_back, self.altered_parameters,
            self.altered_runbook, self.own_runbook, self.root_swap, self.threshold_zero, self.twin_keys,
            self.succession_by_eve, self.own_order, self.widened_order, self.order_used_up, self.beyond_the_order,
            self.observe_disguise, self.wrong_type, self.one_signature_for_two, self.garbage,
            self.revoked_key, self.revoked_keys_order, self.rolled_back_before_the_revocation, self.unrevoked,
            self.beyond_carols_limits, self.limits_lifted, self.half_of_two, self.half_and_a_revoked_half,
            self.mix_and_match, self.pieces_of_others, self.dry_run_made_real, self.adas_key_revoked_by_eve,
        ]  # fmt: skip

    # Each returns (documents to plant, command to deliver).

    def fresh(self, **changes) -> Job:
        given = {"job_id": str(uuid4()), "devices": {self.machine.state.device_id: self.random.randint(1, 2**40)}}
        return replace(self.genuine, **{**given, "parameters": {"folder": str(self.machine.temporary)}, **changes})

    def some_key(self):
        return self.random.choice([self.own, self.log_key, self.session_key])

    def unsigned(self):
        return [], sign_statement(self.fresh(), [])

    def signed_by_online_keys(self):
        return [], sign_statement(self.fresh(), [self.own, self.log_key, self.session_key])

    def transplanted(self):
        return [], respelled(self.genuine_envelope, self.fresh())

    def other_device(self):
        # What Ada signed for another device.
        return [], self.machine.signed(self.fresh(devices={str(uuid4()): 999}))

    def other_client(self):
        return [], self.machine.signed(self.fresh(client_id=str(uuid4())))  # genuine, but another client's

    def expired_job(self):
        hours = self.random.randint(1, 500)
        ended = self.machine.now - timedelta(hours=hours)
        return [], self.machine.signed(self.fresh(not_before=ended - timedelta(hours=20), expires_at=ended))

    def replayed(self):
        return [], self.genuine_envelope

    def replayed_respelled(self):
        genuine = dsse.decode(self.genuine_envelope)
        more = dsse.Signature(keyid=uuid4().hex, sig="AAAA")
        altered = replace(genuine, signatures=(*genuine.signatures, more))
        return [], msgspec.json.encode(altered, order="deterministic")

    def counter_rolled_back(self):
        counter = self.random.randint(-5, self.machine.state.last_counter)
        return [], self.machine.signed(self.fresh(devices={self.machine.state.device_id: counter}))

    def altered_parameters(self):
        return [], respelled(
            self.genuine_envelope,
            replace(self.genuine, parameters={"folder": "/", "days": self.random.randint(300, 3650)}),
        )

    def altered_runbook(self):
        altered = replace(self.runbook, version=self.random.randint(2, 999), undo=uuid4().hex)
        document = respelled(self.runbook_envelope, altered)
        return [document], respelled(self.genuine_envelope, self.fresh(runbook=statement_digest(altered)))

    def own_runbook(self):
        own = replace(self.runbook, slug="eves", risk=RiskClass.OBSERVE, undo=uuid4().hex)
        return [sign_statement(own, [self.some_key()])], sign_statement(
            self.fresh(runbook=statement_digest(own), risk=RiskClass.OBSERVE), []
        )

    def eves_root(self, **changes) -> Root:
        role = role_of([self.own])
        root = new_root(root=role, operator=role, catalogue=role, now=self.machine.now, version=2)
        return replace(root, **changes)

    def root_swap(self):
        root = self.eves_root(version=self.random.randint(1, 5))
        return [sign_statement(root, [self.own])], sign_statement(self.fresh(), [self.own])

    def threshold_zero(self):
        nobody = RoleKeys(keys=self.random.choice([{}, dict(self.machine.root.root.keys)]), threshold=0)
        root = self.eves_root(root=nobody, operator=nobody)
        return [sign_statement(root, [self.own])], sign_statement(self.fresh(), [])

    def twin_keys(self):
        public = public_bytes(self.own)
        twins = RoleKeys(keys={key_id(public): public.hex(), uuid4().hex: public.hex()}, threshold=2)
        root = self.eves_root(operator=twins)
        return [sign_statement(root, [self.own])], sign_statement(self.fresh(), [self.own, self.own])

    def succession_by_eve(self):
        root = replace(self.machine.root, version=2, operator=role_of([self.own]))
        genuine = sign_statement(self.machine.root, [self.machine.root_key])
        return [respelled(genuine, root), sign_statement(root, [self.own])], sign_statement(self.fresh(), [self.own])

    def own_order(self):
        order = replace(self.order, order_id=str(uuid4()), runs_per_day=10**6)
        return [sign_statement(order, [self.some_key()])], self.invocation(order)

    def widened_order(self):
        order = replace(self.order, runs_per_day=10**6, expires_at=self.order.expires_at + timedelta(days=5))
        return [respelled(self.order_envelope, order)], self.invocation(order)

    def invocation(self, order: StandingOrder, **changes) -> bytes:
        given = {
            "job_id": str(uuid4()),
            "order": statement_digest(order),
            "device_id": self.machine.state.device_id,
            "counter": self.machine.state.last_counter + self.random.randint(1, 1000),
            "parameters": {"folder": str(self.machine.temporary)},
            "because": "Eve",
            "expires_at": self.machine.now + timedelta(hours=1),
        }
        return wrap_invocation(Invocation(**{**given, **changes}))

    def order_used_up(self):
        return [self.order_envelope], self.invocation(self.order)

    def beyond_the_order(self):
        beyond = self.random.choice(
            [
                {"parameters": {"folder": "/"}},
                {"parameters": {"folder": str(self.machine.temporary), "days": 300}},
                {"device_id": str(uuid4())},
                {"counter": 2**40},
                {"expires_at": self.machine.now + timedelta(days=30)},
                {"expires_at": self.machine.now - timedelta(days=1)},
            ]
        )
        return [], self.invocation(self.order, **beyond)

    def observe_disguise(self):
        return [], sign_statement(self.fresh(risk=RiskClass.OBSERVE), [])

    def wrong_type(self):
        body = statement_bytes(self.fresh())
        kind = self.random.choice([Root.PAYLOAD_TYPE, Runbook.PAYLOAD_TYPE, "text/plain", ""])
        return [], dsse.sign(body, kind, [self.own])

    def one_signature_for_two(self):
        """Ada's signature on what needs two operators, given twice."""
        fierce = replace(self.runbook, risk=RiskClass.DESTRUCTIVE, undo=uuid4().hex)
        job = self.fresh(runbook=statement_digest(fierce), risk=RiskClass.DESTRUCTIVE)
        return [sign_statement(fierce, [self.machine.catalogue])], self.machine.signed(
            job, self.machine.ada, self.machine.ada
        )

    def revoked_key(self):
        return [], self.machine.signed(self.fresh(), self.bob)

    def revoked_keys_order(self):
        order = replace(self.order, order_id=str(uuid4()), runs_per_day=10**6)
        return [self.machine.signed(order, self.bob)], self.invocation(order)

    def rolled_back_before_the_revocation(self):
        """The documents of the day before Bob's laptop was stolen."""
        return self.genuine_documents[: self.random.randint(1, 2)], self.machine.signed(self.fresh(), self.bob)

    def unrevoked(self):
        root = replace(self.machine.root, version=3, operator=role_of([self.bob]), limits={})
        return [self.machine.signed(root, self.bob, self.carol, self.own)], self.machine.signed(self.fresh(), self.bob)

    def beyond_carols_limits(self):
        return [], self.machine.signed(self.fresh(), self.carol, *self.random.choice([[], [self.bob]]))

    def limits_lifted(self):
        root = replace(self.machine.root, version=self.random.choice([2, 3]), limits={})
        return [respelled(self.genuine_documents[1], root)], self.machine.signed(self.fresh(), self.carol)

    def half_of_two(self):
        half = dsse.decode(self.half)
        more = tuple(dsse.Signature(keyid=uuid4().hex, sig="AAAA") for _ in range(self.random.randint(0, 3)))
        # The same signature again is the same operator.
        twice = replace(half, signatures=half.signatures * 2 + more)
        return [], msgspec.json.encode(twice, order="deterministic")

    def half_and_a_revoked_half(self):
        body, kind = dsse.decode(self.half).body(), Job.PAYLOAD_TYPE
        keys = [key for key in (self.bob, self.carol, self.own) if self.random.random() < 0.7]
        return [], dsse.merge(dsse.sign(body, kind, keys), self.half)

    def mix_and_match(self):
        """Genuine signatures, each over something else."""
        pieces = [self.genuine_envelope, self.order_envelope, self.runbook_envelope, self.half, self.rehearsal]
        pieces += self.genuine_documents
        one, other = map(dsse.decode, self.random.sample(pieces, 2))
        mixed = replace(self.random.choice([one, other]), payload=one.payload, signatures=other.signatures)
        return [msgspec.json.encode(mixed, order="deterministic")], msgspec.json.encode(
            replace(mixed, payloadType=Job.PAYLOAD_TYPE), order="deterministic"
        )

    def pieces_of_others(self):
        """A genuine document where a command belongs."""
        document = self.random.choice([*self.genuine_documents, self.runbook_envelope, self.order_envelope])
        spaced = document.replace(b":", b": ", self.random.randint(0, 2))
        return [spaced], spaced + b" " * self.random.randint(0, 50)

    def dry_run_made_real(self):
        rehearsed = read_statement(dsse.decode(self.rehearsal).body(), Job)
        real = replace(rehearsed, dry_run=False, job_id=str(uuid4()), devices={self.machine.state.device_id: 10**7})
        return [], respelled(self.rehearsal, real)

    def adas_key_revoked_by_eve(self):
        """So that nobody can command any more: as bad as commanding."""
        revocation = Revocation(
            issued_at=self.machine.now, orders=(), keys=(name(self.machine.ada),), reason=uuid4().hex
        )
        keys = [self.bob, self.carol, self.own, self.log_key]
        return [self.machine.signed(revocation, *keys)], self.machine.signed(self.fresh(), self.carol)

    def garbage(self):
        genuine = bytearray(self.genuine_envelope)
        for _ in range(self.random.randint(1, 5)):
            genuine[self.random.randrange(len(genuine))] = self.random.randrange(256)
        return [], bytes(genuine[: self.random.randint(0, len(genuine))])


class Device:
    """The way of a reply on the device: the child that takes documents and runs commands."""

    def __init__(self, machine, monkeypatch) -> None:
        self.machine = machine
        self.home = AgentHome(str(machine.folder))
        identity_make(self.home)
        self.vault = Vault(self.home, None)
        public = identity_public(self.home)
        self.keys = {key_id(public): public}
        self.settled: list[bytes] = []
        self.said: list[str] = []
        module = sys.modules["forestall.agent.act.execute"]  # the package has a function of the same name
        monkeypatch.setattr(module, "Places", lambda: machine.places)
        monkeypatch.setattr("os.fsync", lambda _: None)  # power cuts are another test's story

    def deliver(self, documents, commands) -> list[JobResult]:
        """The results that the device signs for the server."""
        told: list[bytes] = []
        jobs.act(
            self.home, self.vault, documents=documents, jobs=commands, settled=self.settled, held=None,
            say=self.said.append, tell=told.append,
        )  # fmt: skip
        results = []
        for message in told:
            signed = jobs.signed_read(message)
            body, signed_by = dsse.signers(signed.envelope, JobResult.PAYLOAD_TYPE, self.keys)
            assert signed_by, "the device signs every answer"
            self.settled.append(signed.digest)
            results.append(read_statement(body, JobResult))
        self.machine.reopen()
        return results


def drill(machine, monkeypatch, count: int) -> None:
    randomness = random.Random(20261123)
    eve = Eve(machine, randomness)
    for result in machine.state.results_waiting():
        machine.state.result_spooled(result)
    root, counter, revoked = machine.state.root, machine.state.last_counter, machine.state.revoked_keys
    device = Device(machine, monkeypatch)
    silent, codes = 0, {}
    for number in range(0, count, 8):
        forged = [eve.forgeries[one % len(eve.forgeries)]() for one in range(number, min(number + 8, count))]
        documents = [document for planted, _ in forged for document in planted]
        commands = [command for _, command in forged]
        known = sum(machine.state.was_answered(command) for command in set(commands))
        results = device.deliver(documents, commands)
        # The only silence: this very command was answered before. (One that slips out of the device's memory of the
        # last 1,000 meanwhile is answered again.)
        silent += len(commands) - len(results)
        assert len(results) >= len(set(commands)) - known, "every forgery is answered"
        for result in results:
            assert result.outcome == "refused", result
            codes[result.code] = codes.get(result.code, 0) + 1
    print(f"{count} forgeries, 0 run, {sum(codes.values())} reported, {silent} repeats: {codes}")  # noqa: T201
    assert silent < count / 12, "replays of the same bytes alone"
    assert eve.precious.exists()
    assert (machine.state.root, machine.state.last_counter, machine.state.revoked_keys) == (root, counter, revoked)
    assert set(codes) >= {
        RefusedBecause.SIGNATURES_MISSING, RefusedBecause.DEVICE_NOT_NAMED, RefusedBecause.CLIENT_WRONG,
        RefusedBecause.EXPIRED, RefusedBecause.COUNTER_PASSED,
        RefusedBecause.RATE_LIMIT, RefusedBecause.ORDER_UNKNOWN, RefusedBecause.PARAMETER_NOT_ALLOWED,
        RefusedBecause.COUNTER_JUMPS, RefusedBecause.LIFE_TOO_LONG, RefusedBecause.MALFORMED, RefusedBecause.WRONG_TYPE,
        RefusedBecause.RISK_MISMATCH, RefusedBecause.KEY_REVOKED, RefusedBecause.BEYOND_LIMITS,
    }  # fmt: skip
    assert device.said, "refused documents are in the agent's log"
    # Ada's own next job still runs: the attack has used nothing up.
    machine.counter = 10**6
    job = machine.job(eve.runbook, parameters={"folder": str(machine.temporary), "days": 300})
    (done,) = device.deliver([], [machine.signed(job)])
    assert done.outcome == "succeeded"
    assert not eve.precious.exists()


def test_v1_v2_takeover_drill_480_forgeries_0_run(machine, monkeypatch):
    drill(machine, monkeypatch, 480)


@pytest.mark.soak
def test_v1_v2_takeover_drill_10000_forgeries_0_run(machine, monkeypatch):
    drill(machine, monkeypatch, 10_000)


def test_v2_a_frozen_device_runs_nothing_and_says_so(machine, monkeypatch):
    """Eve withholds every new root. When the one the device holds ends, so does what Ada signs under it."""
    past = machine.now - timedelta(days=6 * 365)
    machine.root = replace(machine.root, issued_at=past, expires_at=past + timedelta(days=5 * 365))
    runbook = machine.runbook()
    machine.state = ActState.create(
        machine.folder,
        device_id=machine.state.device_id,
        client_id=machine.state.client_id,
        pinned_key_id=name(machine.root_key),
        root=sign_statement(machine.root, [machine.root_key]),
        now=past,
    )
    device = Device(machine, monkeypatch)
    precious = machine.file("precious")
    documents = [sign_statement(machine.root, [machine.root_key]), sign_statement(runbook, [machine.catalogue])]
    (answer,) = device.deliver(documents, [machine.signed(machine.job(runbook))])
    assert (answer.outcome, answer.code) == ("refused", RefusedBecause.ROOT_EXPIRED)
    assert [said for said in device.said if said.startswith("ALARM: root version 1 ended on")]
    assert precious.exists()
    # The next root thaws it.
    fresh = replace(machine.root, version=2, expires_at=machine.now + timedelta(days=365))
    machine.counter += 1
    (answer,) = device.deliver([sign_statement(fresh, [machine.root_key])], [machine.signed(machine.job(runbook))])
    assert answer.outcome == "succeeded"
