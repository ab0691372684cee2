"""V3: a stolen operator's key stays within class, clients and cap, and ends on revocation, or at expiry.

Stories made by chance: jobs and orders signed by Ada, by Bob whose key is stolen, and by Carol who is limited, reach a
device in any order with new roots, revocations, replays, rollbacks, restarts and days that pass. A model of ten lines
says what may run; the device must agree each time, and nothing of Bob's may run after his key ended.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

import msgspec
import pytest

from forestall.agent.act.actions import ACTIONS
from forestall.trust.keys import key_id, new_key, public_bytes
from forestall.trust.sign import role_of, sign_revocation, sign_statement
from forestall.trust.statements import (
    Invocation,
    OperatorLimits,
    Revocation,
    RiskClass,
    Step,
    StepResult,
    statement_digest,
)

replace = msgspec.structs.replace
DAY = timedelta(days=1)


def name(key) -> str:
    return key_id(public_bytes(key))


class Noted:
    """An action that changes nothing but a list."""

    NAME, RISK, ARGUMENTS, DRY_RUN = "test.note", RiskClass.CHANGE, {}, False

    def __init__(self) -> None:
        self.runs = 0

    def run(self, *_):
        self.runs += 1
        return StepResult(action=self.NAME, ok=True, summary="noted")


@dataclass
class Command:
    """A job, or an order, as the model sees it."""

    signers: frozenset[str]
    needed: int
    devices: int
    risk: RiskClass
    from_: object
    until: object
    envelope: bytes
    counter: int = 0
    digest: str = ""
    """Of an order."""


@dataclass
class Model:
    """What the device has been told."""

    version: int
    operators: frozenset[str]
    limits: dict
    single: int | None
    root_ends: object
    revoked: set[str] = field(default_factory=set)
    ended_orders: set[str] = field(default_factory=set)
    counter: int = 0
    answered: set[bytes] = field(default_factory=set)

    def counted(self, command: Command) -> int:
        return sum(
            key in self.operators
            and key not in self.revoked
            and (
                key not in self.limits
                or (
                    (not self.limits[key].risk or command.risk in self.limits[key].risk)
                    and (self.limits[key].most_devices or 99) >= command.devices
                )
            )
            for key in command.signers
        )

    def enough(self, command: Command) -> bool:
        wide = self.single is not None and command.devices > self.single
        return self.counted(command) >= max(command.needed, 2 if wide else 1)

    def allows(self, command: Command, now) -> bool:
        return now < self.root_ends and self.enough(command) and command.from_ <= now < command.until


class Story:
    def __init__(self, machine, monkeypatch, seed: int) -> None:
        self.machine, self.random = machine, random.Random(seed)
        self.action = Noted()
        monkeypatch.setitem(ACTIONS, "test.note", self.action)
        monkeypatch.setitem(sys.modules["forestall.agent.act.execute"].LEAST_RISK, "test.note", RiskClass.CHANGE)
        monkeypatch.setattr("os.fsync", lambda _: None)
        self.people = {"ada": machine.ada, "bob": new_key(), "carol": new_key()}
        self.roots: list[bytes] = []
        self.root = machine.root
        self.notices: list[bytes] = []
        self.jobs: list[Command] = []
        self.orders: list[Command] = []
        self.books = {
            risk: machine.runbook(Step(action="test.note"), slug=f"note-{risk}", risk=risk)
            for risk in (RiskClass.CHANGE, RiskClass.DESTRUCTIVE)
        }
        self.model = Model(1, frozenset({name(machine.ada)}), {}, None, self.root.expires_at)
        self.take(*(sign_statement(book, [machine.catalogue]) for book in self.books.values()))
        self.new_root(everybody=True)
        self.deliver_roots()
        self.ran = self.refused = self.of_the_dead = 0

    # --- what people do ---

    def new_root(self, *, everybody: bool = False) -> None:
        chosen = list(self.people) if everybody else self.random.sample(list(self.people), self.random.randint(2, 3))
        keys = [self.people[one] for one in chosen]
        carol = name(self.people["carol"])
        limits = {carol: OperatorLimits(risk=(RiskClass.CHANGE,), most_devices=2)} if "carol" in chosen else {}
        self.root = replace(
            self.root,
            version=self.root.version + 1,
            operator=role_of(keys),
            limits=limits,
            single_signature_devices=self.random.choice([None, 3]),
            expires_at=self.machine.now + timedelta(days=400),
        )
        self.roots.append(sign_statement(self.root, [self.machine.root_key]))

    def sign_job(self) -> None:
        risk = self.random.choice(list(self.books))
        who = self.random.sample(list(self.people), self.random.randint(1, 2))
        devices = self.random.choice([1, 1, 2, 3, 5])
        self.machine.counter += 1
        named = {str(uuid4()): 1 for _ in range(devices - 1)} | {self.machine.state.device_id: self.machine.counter}
        life = timedelta(hours=self.random.randint(1, 24))
        job = self.machine.job(
            self.books[risk], devices=named, not_before=self.machine.now, expires_at=self.machine.now + life
        )
        self.machine.counter -= 1  # job() took one of its own
        self.jobs.append(self.command(job, who, devices, counter=named[self.machine.state.device_id]))

    def sign_order(self) -> None:
        risk = self.random.choice(list(self.books))
        who = self.random.sample(list(self.people), self.random.randint(1, 2))
        devices = self.random.choice([1, 2, 5])
        order = self.machine.order(
            self.books[risk],
            devices=(self.machine.state.device_id, *(str(uuid4()) for _ in range(devices - 1))),
            runs_per_day=1000,
            not_before=self.machine.now,
            expires_at=self.machine.now + timedelta(days=self.random.randint(1, 30)),
        )
        self.orders.append(self.command(order, who, devices, digest=statement_digest(order)))

    def command(self, statement, who, devices: int, **more) -> Command:
        keys = [self.people[one] for one in who]
        return Command(
            signers=frozenset(map(name, keys)),
            needed=2 if statement.risk == RiskClass.DESTRUCTIVE else 1,
            devices=devices,
            risk=statement.risk,
            from_=statement.not_before,
            until=statement.expires_at,
            envelope=sign_statement(statement, keys),
            **more,
        )

    def revoke_bob(self) -> None:
        notice = Revocation(
            issued_at=self.machine.now, orders=(), keys=(name(self.people["bob"]),), reason="stolen laptop"
        )
        self.notices.append(sign_statement(notice, [self.machine.root_key]))

    # --- what reaches the device ---

    def take(self, *envelopes: bytes) -> None:
        self.machine.state.accept_documents(envelopes, now=self.machine.now)

    def deliver_roots(self) -> None:
        """Some of the chain: a server may withhold the newest, or send only what is old."""
        upto = self.random.randint(1, len(self.roots))
        self.take(*self.roots[:upto])
        for number, envelope in enumerate(self.roots[:upto], start=2):
            if number == self.model.version + 1:
                root = msgspec.json.decode(
                    __import__("base64").b64decode(msgspec.json.decode(envelope)["payload"]), type=type(self.root)
                )
                self.model.version, self.model.operators = number, frozenset(root.operator.keys)
                self.model.limits, self.model.single = root.limits, root.single_signature_devices
                self.model.root_ends = root.expires_at

    def deliver_notice(self) -> None:
        if self.notices:
            self.take(self.random.choice(self.notices))
            self.model.revoked.add(name(self.people["bob"]))

    def forged_notice(self) -> None:
        """Bob's thief says that Ada's key is the stolen one."""
        notice = Revocation(issued_at=self.machine.now, orders=(), keys=(name(self.machine.ada),), reason="x")
        self.take(sign_statement(notice, [self.people["bob"], self.people["carol"]]))

    def end_order(self) -> None:
        if self.orders:
            who, order = self.random.choice(list(self.people.values())), self.random.choice(self.orders)
            self.take(
                sign_revocation(orders=[order.digest], reason="x", now=self.machine.now, keys=[who.private_bytes_raw()])
            )
            if name(who) in self.model.operators and name(who) not in self.model.revoked:
                self.model.ended_orders.add(order.digest)

    def deliver_job(self) -> None:
        if not self.jobs:
            return
        job = self.random.choice(self.jobs)
        repeat = job.envelope in self.model.answered
        may = not repeat and self.model.allows(job, self.machine.now) and job.counter > self.model.counter
        self.expect(job, job.envelope, may=may, repeat=repeat)
        if may:
            self.model.counter = job.counter

    def invoke(self) -> None:
        if not self.orders:
            return
        order = self.random.choice(self.orders)
        now = self.machine.now
        self.take(order.envelope)
        kept = order.digest in self.machine.state.orders
        counter = max(self.machine.counter, self.model.counter) + 1
        self.machine.counter = counter
        envelope = sign_statement(
            Invocation(
                job_id=str(uuid4()),
                order=order.digest,
                device_id=self.machine.state.device_id,
                counter=counter,
                parameters={},
                because="x",
                expires_at=now + timedelta(hours=1),
            ),
            [],
        )
        may = self.model.allows(order, now) and order.digest not in self.model.ended_orders
        assert kept or not may
        self.expect(order, envelope, may=may, repeat=False)
        if may:
            self.model.counter = counter

    def expect(self, command: Command, envelope: bytes, *, may: bool, repeat: bool) -> None:
        before = self.action.runs
        result = self.machine.execute(envelope)
        ran = self.action.runs - before
        assert (result is None) == repeat
        assert ran == (1 if may else 0), (result, command, self.model)
        if result is None:
            return
        assert (result.outcome == "succeeded") == may
        self.model.answered.add(envelope)
        self.machine.state.result_spooled(result)
        self.ran += ran
        self.refused += not ran
        only_bobs = command.signers == {name(self.people["bob"])}
        if only_bobs and name(self.people["bob"]) in self.model.revoked:
            self.of_the_dead += 1
            assert not ran, "a revoked key has authorised something"
        if only_bobs and command.digest == "" and self.machine.now >= command.from_ + DAY:
            assert not ran, "a withheld revocation outlived 24 hours"
        if only_bobs and self.machine.now >= command.from_ + 30 * DAY:
            assert not ran, "a withheld revocation outlived 30 days"

    def restart(self) -> None:
        self.machine.reopen()

    def time_passes(self) -> None:
        self.machine.now += self.random.choice([timedelta(minutes=10), timedelta(hours=7), DAY, 9 * DAY])

    def tell(self, events: int) -> None:
        acts = [
            self.sign_job, self.sign_job, self.sign_order, self.deliver_job, self.deliver_job, self.deliver_job,
            self.invoke, self.invoke, self.deliver_notice, self.forged_notice, self.end_order, self.new_root,
            self.deliver_roots, self.restart, self.time_passes,
        ]  # fmt: skip
        stolen_at = self.random.randrange(events)
        for number in range(events):
            if number == stolen_at:
                self.revoke_bob()
            self.random.choice(acts)()
        assert name(self.machine.ada) not in self.machine.state.revoked_keys
        assert self.model.revoked == self.machine.state.revoked_keys
        assert self.model.version == self.machine.state.root.version


def tell(tmp_path, monkeypatch, seeds: range) -> None:
    from forestall.agent.act.tests.conftest import Machine

    told = []
    for seed in seeds:
        place = tmp_path.resolve() / str(seed)
        (place / "tmp").mkdir(parents=True)
        story = Story(Machine(folder=place / "agent", temporary=place / "tmp"), monkeypatch, seed)
        story.tell(events=60)
        told.append(story)
    ran, refused, dead = (sum(getattr(one, what) for one in told) for what in ("ran", "refused", "of_the_dead"))
    print(f"{len(told)} interleavings: {ran} ran, {refused} refused, {dead} with a revoked key, 0 of them ran")  # noqa: T201
    assert ran > len(told)
    assert refused > len(told)
    assert dead > len(told) / 10


def test_v3_100_revocation_interleavings(tmp_path, monkeypatch):
    tell(tmp_path, monkeypatch, range(100))


@pytest.mark.soak
def test_v3_1000_revocation_interleavings(tmp_path, monkeypatch):
    tell(tmp_path, monkeypatch, range(1_000, 2_000))
