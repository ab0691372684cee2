"""A device with its authority state, Ada's keys, and folders of its own to clean."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from forestall.agent.act import ActState, execute, sweep
from forestall.agent.act.context import Context, Places
from forestall.agent.collect.host import LocalHost
from forestall.trust.keys import key_id, new_key, public_bytes
from forestall.trust.sign import new_root, role_of, sign_statement, wrap_invocation
from forestall.trust.statements import (
    Invocation,
    Job,
    Parameter,
    RiskClass,
    Runbook,
    StandingOrder,
    Step,
    statement_digest,
)

LIBRARY = Path(__file__).parents[3] / "server" / "runbooks" / "library"
CLIENT, DEVICE = str(uuid4()), str(uuid4())


@dataclass
class Machine:
    """A device, and the operators who may command it."""

    folder: Path
    """The agent's own."""
    temporary: Path
    """What this machine has for /tmp."""

    def __post_init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.host = LocalHost()
        self.root_key, self.ada, self.catalogue, self.eve = new_key(), new_key(), new_key(), new_key()
        self.grace = new_key()
        # The second operator, for what two must sign.
        self.root = new_root(
            root=role_of([self.root_key]),
            operator=role_of([self.ada, self.grace]),
            catalogue=role_of([self.catalogue]),
            now=self.now,
        )
        self.places = Places(
            temporary=(str(self.temporary),),
            logs=str(self.temporary.parent / "log"),
            journals=(str(self.temporary.parent / "log" / "journal"),),
            cache=str(self.temporary.parent / "cache"),
            init_scripts=str(self.temporary.parent / "init.d"),
            systemd=str(self.temporary.parent / "no-systemd"),
            logrotate=str(self.temporary.parent / "etc"),
        )
        self.state = ActState.create(
            self.folder,
            device_id=DEVICE,
            client_id=CLIENT,
            pinned_key_id=key_id(public_bytes(self.root_key)),
            root=sign_statement(self.root, [self.root_key]),
            now=self.now,
        )
        self.counter = 0
        self.environment: dict[str, str] = {}

    def runbook(self, *steps: Step, parameters: tuple[Parameter, ...] = (), **changes) -> Runbook:
        given = {
            "slug": "tidy-up",
            "version": 1,
            "title": "Tidy up",
            "description": "",
            "risk": RiskClass.CHANGE,
            "parameters": parameters,
            "steps": steps
            or (
                Step(
                    action="files.delete_older",
                    arguments={"folder": str(self.temporary), "older_than_days": 7, "pattern": "*"},
                ),
            ),
            "undo": "Cannot be undone.",
            "collect_after": ("volumes",),
        }
        return Runbook(**{**given, **changes})

    def know(self, *runbooks: Runbook) -> None:
        refused = self.state.accept_documents(
            [sign_statement(runbook, [self.catalogue]) for runbook in runbooks], now=self.now
        )
        assert refused == []

    def job(self, runbook: Runbook, **changes) -> Job:
        self.counter += 1
        given = {
            "job_id": str(uuid4()),
            "runbook": statement_digest(runbook),
            "parameters": {},
            "client_id": CLIENT,
            "devices": {DEVICE: self.counter},
            "not_before": self.now - timedelta(minutes=5),
            "expires_at": self.now + timedelta(hours=1),
            "risk": runbook.risk,
            "reason": "the disk is full",
        }
        return Job(**{**given, **changes})

    def order(self, runbook: Runbook, **changes) -> StandingOrder:
        given = {
            "order_id": str(uuid4()),
            "runbook": statement_digest(runbook),
            "trigger": "disk_space",
            "client_id": CLIENT,
            "devices": (DEVICE,),
            "allowed": {},
            "runs_per_day": 2,
            "not_before": self.now - timedelta(hours=1),
            "expires_at": self.now + timedelta(days=1),
            "risk": runbook.risk,
        }
        return StandingOrder(**{**given, **changes})

    def invocation(self, order: StandingOrder, **changes) -> bytes:
        self.counter += 1
        given = {
            "job_id": str(uuid4()),
            "order": statement_digest(order),
            "device_id": DEVICE,
            "counter": self.counter,
            "parameters": {},
            "because": "disk_space /: 93 % full",
            "expires_at": self.now + timedelta(hours=1),
        }
        return wrap_invocation(Invocation(**{**given, **changes}))

    def signed(self, statement, *keys) -> bytes:
        return sign_statement(statement, keys or [self.ada])

    def execute(self, envelope: bytes, **changes):
        given = {"places": self.places, "environment": self.environment}
        return execute(envelope, self.state, self.host, self.now, **{**given, **changes})

    def run(self, *steps: Step, **changes):
        """Run these steps as a job that Ada signed."""
        runbook = self.runbook(*steps, slug=f"test-{self.counter}", **changes)
        self.know(runbook)
        return self.execute(self.signed(self.job(runbook)))

    def library(self, slug: str) -> Runbook:
        """A built-in runbook as it is published, known here."""
        runbook = msgspec.json.decode((LIBRARY / f"{slug}.json").read_bytes(), type=Runbook)
        self.know(runbook)
        return runbook

    def run_library(self, slug: str, *, dry_run: bool = False, **parameters):
        """Run a built-in runbook as a job that Ada signed."""
        runbook = self.library(slug)
        return self.execute(self.signed(self.job(runbook, parameters=parameters, dry_run=dry_run)))

    def context(self, **changes) -> Context:
        given = {
            "agent_home": self.folder,
            "timeout_seconds": 60,
            "places": self.places,
            "environment": self.environment,
        }
        return Context(**{**given, **changes})

    def reopen(self) -> ActState:
        self.state = ActState.open(self.folder, now=self.now)
        return self.state

    def file(self, name: str, *, days: float = 30, size: int = 10, below: Path | None = None) -> Path:
        """A file that was last used ``days`` ago."""
        path = (below or self.temporary) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
        age(path, days)
        return path


@pytest.fixture(autouse=True)
def settable_times(request, monkeypatch):
    """A test can set when a file was read and changed, not when it was put there: that has a test of its own."""
    if "real_change_times" not in request.keywords:
        monkeypatch.setattr(sweep, "_last_touched", lambda found: max(found.st_mtime, found.st_atime))


def age(path: Path, days: float) -> None:
    at = time.time() - days * 86_400
    os.utime(path, (at, at), follow_symlinks=False)


@pytest.fixture
def machine(tmp_path) -> Machine:
    # Below an allowed root of its own, and never the machine's real folders.
    real = tmp_path.resolve()
    for name in ("tmp", "log", "cache", "init.d"):
        (real / name).mkdir()
    return Machine(folder=real / "agent", temporary=real / "tmp")
