"""kill -9 of every part at random moments, while devices check in: nothing acknowledged is lost or doubled."""

from __future__ import annotations

import http.client
import logging
import os
import random
import signal
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from installation import Installation, eventually

from forestall.cli.errors import CommandError
from forestall.server.intake.tests.client import Client, RefusedError

log = logging.getLogger(__name__)

KILLS = 200
DEVICES = 5
SEED = 20261123
PARTS = ("intake", "worker", "agent", "console")
SERIES = "test.sequence"


class Reporter(threading.Thread):
    """A device that checks in on end; each check-in carries its own number, so that what is stored can be compared."""

    def __init__(self, client: Client, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.client = client
        self.stop = stop
        self.acknowledged: set[int] = set()
        self.attempted: set[int] = set()
        self.failures = 0

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                if self.client.session is None:
                    self.client.open()
                sequence = self.client.sequence
                self.attempted.add(sequence)
                self.client.check_in(values=(float(sequence),), names=(SERIES,))
                self.acknowledged.update(range(sequence, self.client.sequence))
                time.sleep(0.05)
            except RefusedError as refused:
                if refused.code in {
                    "session_unknown",
                    "mac_wrong",
                    "device_unknown",
                    "device_pending",
                    "session_missing",
                }:
                    self.client.session = None
                elif refused.code not in {"storage_failed", "overloaded"}:
                    raise
                self.failures += 1
                time.sleep(0.1)
            except (OSError, http.client.HTTPException):
                # It was killed under us: like the agent, ask again with the same number.
                self.failures += 1
                time.sleep(0.1)


@pytest.mark.serial
@pytest.mark.timeout(900)
def test_two_hundred_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    installed = Installation(home=tmp_path / "home")
    installed.start()
    try:
        _campaign(installed)
    finally:
        installed.stop()


def _campaign(installed: Installation) -> None:
    api = installed.api
    site = api.get("/sites")["items"][0]["id"]
    host, _, port = installed.intake.rpartition(":")
    ca = Path(installed.first_run["ca_file"]).read_text()
    stop = threading.Event()
    reporters = []
    for number in range(DEVICES):
        client = Client((host, int(port)), ca)
        client.enrol(api.post("/enrolment-tokens", {"site": site})["token"], hostname=f"desk-{number}")
        api.post(f"/devices/{client.device_id}/approve")
        reporters.append(Reporter(client, stop))
    for reporter in reporters:
        reporter.start()

    chance = random.Random(SEED)
    killed: Counter[str] = Counter()
    while sum(killed.values()) < KILLS:
        part = chance.choice(PARTS)
        try:
            os.kill(installed.parts()[part], signal.SIGKILL)
        except ProcessLookupError:
            time.sleep(0.05)  # killed already, and not yet started again
            continue
        killed[part] += 1
        time.sleep(chance.uniform(0.05, 1.0))
    assert min(killed.values()) > KILLS // 10, killed

    ended = time.monotonic()
    before = {reporter: len(reporter.acknowledged) for reporter in reporters}
    eventually(lambda: _all_answer(installed, reporters, before), seconds=30, what="every part is back")
    back = time.monotonic() - ended
    stop.set()
    for reporter in reporters:
        reporter.join(30)
        assert not reporter.is_alive()
    log.info("everything was back after %.1f s", back)  # a figure, not a verdict: the machine may be busy
    assert sum(reporter.failures for reporter in reporters) > 0, (
        "no check-in ever met a killed part: this tested nothing"
    )

    for reporter in reporters:
        stored = eventually(
            lambda reporter=reporter: _stored(installed, reporter),
            seconds=20,
            what=f"what was acknowledged to {reporter.client.device_id} is applied",
        )
        assert set(stored) >= reporter.acknowledged, "acknowledged and lost"
        assert set(stored) <= reporter.attempted, "stored and never sent"
        assert max(stored.values()) == 1, "stored twice"

    bundle = installed.home / "evidence.bundle"
    installed.forestall("evidence", "export", "--out", str(bundle))
    verdict = installed.forestall("verify", str(bundle), check=False)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


def _all_answer(installed: Installation, reporters: list[Reporter], before: dict[Reporter, int]) -> bool:
    try:
        installed.api.get("/devices")
    except CommandError:
        return False
    alive = all(Path(f"/proc/{pid}").exists() for pid in installed.parts().values())
    return alive and all(len(reporter.acknowledged) > before[reporter] for reporter in reporters)


def _stored(installed: Installation, reporter: Reporter) -> Counter[int] | None:
    """Every check-in's number as often as it is stored; None until the last acknowledged one is there."""
    from forestall.server.home import Home
    from forestall.server.metrics.store import open_store

    now = datetime.now(UTC)
    span = {"start": now - timedelta(hours=1), "end": now + timedelta(minutes=1)}
    points = open_store(Home(installed.home)).range(device_id=UUID(reporter.client.device_id), names=[SERIES], **span)
    found = Counter(int(value) for value in points[SERIES].mean) if points else Counter()
    return found if found and max(reporter.acknowledged) in found else None
