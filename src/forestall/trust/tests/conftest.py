"""A small world of authority: Ada the operator, her offline keys, one client, two devices. Eve has none of the keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forestall.trust.authorise import Situation
from forestall.trust.keys import new_key
from forestall.trust.sign import new_root, role_of, sign_statement
from forestall.trust.statements import (
    Invocation,
    Job,
    Parameter,
    RiskClass,
    Root,
    Runbook,
    StandingOrder,
    Step,
    statement_digest,
)

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
CLIENT = "0b7a52b2-5e8c-4c4e-9d3f-111111111111"
DEVICE = "5a4c0000-0000-4000-8000-000000000001"
OTHER_DEVICE = "5a4c0000-0000-4000-8000-000000000002"

RUNBOOK = Runbook(
    slug="tidy-up",
    version=1,
    title="Tidy up",
    description="Deletes old files.",
    risk=RiskClass.CHANGE,
    parameters=(
        Parameter(name="folder", kind="path", description="Where", pattern="/var/tmp(/.*)?"),
        Parameter(name="days", kind="integer", description="How old", default=7, minimum=1, maximum=365),
        Parameter(name="pattern", kind="text", description="Which", default="*"),
        Parameter(name="deep", kind="boolean", description="Folders too", default=False),
        Parameter(name="service", kind="service", description="Whose", default="nginx"),
    ),
    steps=(
        Step(
            action="files.delete_older",
            arguments={"folder": "{folder}", "older_than_days": "{days}", "pattern": "{pattern}"},
        ),
    ),
    undo="Cannot be undone.",
    collect_after=("volumes",),
)


@dataclass
class World:
    root_key: Ed25519PrivateKey = field(default_factory=new_key)
    ada: Ed25519PrivateKey = field(default_factory=new_key)
    grace: Ed25519PrivateKey = field(default_factory=new_key)
    catalogue: Ed25519PrivateKey = field(default_factory=new_key)
    eve: Ed25519PrivateKey = field(default_factory=new_key)

    @property
    def root(self) -> Root:
        return new_root(
            root=role_of([self.root_key]),
            operator=role_of([self.ada, self.grace]),
            catalogue=role_of([self.catalogue]),
            now=NOW,
        )

    @property
    def runbooks(self) -> dict[str, Runbook]:
        return {statement_digest(RUNBOOK): RUNBOOK}

    def job(self, **changes) -> Job:
        job = Job(
            job_id="6d9e0000-0000-4000-8000-000000000001",
            runbook=statement_digest(RUNBOOK),
            parameters={"folder": "/var/tmp/reports", "days": 30},
            client_id=CLIENT,
            devices={DEVICE: 5},
            not_before=NOW - timedelta(minutes=5),
            expires_at=NOW + timedelta(hours=8),
            risk=RiskClass.CHANGE,
            reason="Ada: / is 93 % full",
        )
        return msgspec.structs.replace(job, **changes)

    def order(self, **changes) -> StandingOrder:
        order = StandingOrder(
            order_id="7f9e0000-0000-4000-8000-000000000001",
            runbook=statement_digest(RUNBOOK),
            trigger="disk_space",
            client_id=CLIENT,
            devices=(DEVICE,),
            allowed={"folder": ("/var/tmp/reports", "/var/tmp/scans"), "days": (7, 30)},
            runs_per_day=2,
            not_before=NOW - timedelta(days=1),
            expires_at=NOW + timedelta(days=20),
            risk=RiskClass.CHANGE,
        )
        return msgspec.structs.replace(order, **changes)

    def invocation(self, of: StandingOrder, **changes) -> Invocation:
        invocation = Invocation(
            job_id="8d9e0000-0000-4000-8000-000000000001",
            order=statement_digest(of),
            device_id=DEVICE,
            counter=5,
            parameters={"folder": "/var/tmp/reports"},
            because="disk_space of /: 93 % full",
            expires_at=NOW + timedelta(hours=1),
        )
        return msgspec.structs.replace(invocation, **changes)

    def signed(self, statement, *keys) -> bytes:
        return sign_statement(statement, keys)

    def situation(self, **changes) -> Situation:
        given = {
            "device_id": DEVICE,
            "client_id": CLIENT,
            "now": NOW,
            "local": NOW,
            "last_counter": 4,
        }
        return Situation(**{**given, **changes})


@pytest.fixture(scope="session")
def world() -> World:
    return World()
