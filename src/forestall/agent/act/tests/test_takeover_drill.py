"""The takeover drill: Eve holds the server, its database and all its online keys. She has no operator's key.

2,000 forgeries: nothing runs, every one is answered. (`soak` runs 10,000.)
"""

from __future__ import annotations

import base64
import random
from datetime import timedelta
from uuid import uuid4

import msgspec
import pytest

from forestall.trust import dsse
from forestall.trust.authorise import RefusedBecause
from forestall.trust.keys import key_id, new_key, public_bytes
from forestall.trust.sign import new_root, role_of, sign_statement, wrap_invocation
from forestall.trust.statements import (
    Invocation,
    Job,
    Parameter,
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
        self.precious = machine.file("precious", days=3650)
        self.forgeries = [
            self.unsigned, self.signed_by_online_keys, self.transplanted, self.other_device, self.other_client,
            self.expired_job, self.replayed, self.replayed_respelled, self.counter_rolled_back, self.altered_parameters,
            self.altered_runbook, self.own_runbook, self.root_swap, self.threshold_zero, self.twin_keys,
            self.succession_by_eve, self.own_order, self.widened_order, self.order_used_up, self.beyond_the_order,
            self.observe_disguise, self.wrong_type, self.one_signature_for_two, self.garbage,
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

    def garbage(self):
        genuine = bytearray(self.genuine_envelope)
        for _ in range(self.random.randint(1, 5)):
            genuine[self.random.randrange(len(genuine))] = self.random.randrange(256)
        return [], bytes(genuine[: self.random.randint(0, len(genuine))])


def drill(machine, count: int) -> None:
    randomness = random.Random(20261123)
    eve = Eve(machine, randomness)
    for result in machine.state.results_waiting():
        machine.state.result_spooled(result)
    root, counter = machine.state.root, machine.state.last_counter
    ran, silent, codes = 0, 0, set()
    for number in range(count):
        forge = eve.forgeries[number % len(eve.forgeries)]
        documents, command = forge()
        machine.state.accept_documents(documents, now=machine.now)
        known_already = machine.state.was_answered(command)
        result = machine.execute(command)
        if result is None:
            # The only silence: this very command was answered before.
            assert known_already, forge.__name__
            silent += 1
            continue
        ran += result.outcome != "refused"
        codes.add(result.code)
        assert machine.state.results_waiting() == (result,), "every forgery is answered"
        machine.state.result_spooled(result)
    assert ran == 0
    assert silent < count / 12, "replays of the same bytes alone"
    assert eve.precious.exists()
    assert machine.state.root == root
    assert machine.state.last_counter == counter
    assert machine.reopen().last_counter == counter
    assert codes >= {
        RefusedBecause.SIGNATURES_MISSING, RefusedBecause.DEVICE_NOT_NAMED, RefusedBecause.CLIENT_WRONG,
        RefusedBecause.EXPIRED, RefusedBecause.COUNTER_PASSED,
        RefusedBecause.RATE_LIMIT, RefusedBecause.ORDER_UNKNOWN, RefusedBecause.PARAMETER_NOT_ALLOWED,
        RefusedBecause.COUNTER_JUMPS, RefusedBecause.LIFE_TOO_LONG, RefusedBecause.MALFORMED, RefusedBecause.WRONG_TYPE,
        RefusedBecause.RISK_MISMATCH,
    }  # fmt: skip
    # Ada's own next job still runs: the attack has used nothing up.
    job = machine.job(eve.runbook, parameters={"folder": str(machine.temporary), "days": 300})
    assert read_statement(dsse.decode(machine.signed(job)).body(), Job) == job
    assert machine.execute(machine.signed(job)).outcome == "succeeded"
    assert not eve.precious.exists()


def test_v1_takeover_drill_2000_forgeries_0_run(machine):
    drill(machine, 2_000)


@pytest.mark.soak
def test_v1_takeover_drill_10000_forgeries_0_run(machine):
    drill(machine, 10_000)
