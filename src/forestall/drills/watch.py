"""Watching the loop from outside, through the API, step by step as it happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from forestall.cli.client import Api
from forestall.drills.fault import DrillError, Fault
from forestall.server.alerts.rules import FLAPPING_CHANGES, FLAPPING_SPAN

STEP_SECONDS = 90
LOOK_SECONDS = 0.25
CHANGES_OF_A_DRILL = 3
"""Its check comes to pass, fails, and passes again."""
PASSING = frozenset({"pass", "gone"})


@dataclass(frozen=True, slots=True)
class Step:
    """Something the loop did."""

    name: str
    """``Detected``, ``Ticket`` …"""
    words: str
    seconds: float
    """Since the fault was made; below 0 before it."""


@dataclass(frozen=True, slots=True)
class Watcher:
    """Follows one fault on one device."""

    api: Api
    device_id: str
    fault: Fault
    check_in: Callable[[], None]
    """Have the local agent look and check in now, instead of within a minute."""

    def prepare(self) -> Iterator[Step]:
        """Make the healthy thing and wait until its check passes.

        DrillError when the check changed so often lately that the desk would take it for flapping."""
        self._require_calm()
        self.fault.prepare()
        yield Step("Prepared", self.fault.healthy_words, -1)
        made = datetime.now(UTC)
        self.check_in()
        # Not what was said before it was there.
        check = self._eventually("its check passes", lambda: self._check("pass", since=made))
        yield Step("Healthy", check["reason"], -1)

    def damage_and_follow(self) -> Iterator[Step]:
        """Make the fault, and tell what the loop does about it until the service report is there."""
        before = {ticket["number"] for ticket in self._tickets()}
        self.fault.damage()
        began = time.monotonic()

        def step(name: str, words: str) -> Step:
            return Step(name, words, time.monotonic() - began)

        yield step("Fault", self.fault.broken_words)
        self.check_in()
        check = self._eventually("its check fails", lambda: self._check("fail"))
        yield step("Detected", check["reason"])
        ticket = self._eventually(
            "a ticket is opened", lambda: next((one for one in self._tickets() if one["number"] not in before), None)
        )
        yield step("Ticket", f"#{ticket['number']} {ticket['priority']}, {_owner(ticket)}; {ticket['clock']['text']}")
        job = self._eventually("a standing order starts a job", lambda: next(iter(self._jobs(ticket)), None))
        yield step("Job", f"{job['runbook']} {self.fault.target}, under standing order {job['order'][:12]}")
        job = self._eventually("the device reports its result", lambda: self._finished(job["id"]))
        if job["state"] != "succeeded":
            raise DrillError(f"job {job['id']} {job['state']}: {job['detail']}")
        summary = "; ".join(done["summary"] for done in job["steps"] if done["changed"]) or job["detail"]
        yield step("Repaired", f"{summary} (result signed by the device)")
        check = self._eventually("a fresh check passes", lambda: self._check("pass"))
        yield step("Verified", check["reason"])
        ticket = self._eventually("the ticket is resolved", lambda: self._resolved(ticket["number"]))
        yield step("Resolved", ticket["close_reason"])
        report = self._eventually("the service report is made", lambda: next(iter(self._reports(ticket)), None))
        yield step("Report", f"{report['number']}: forestall reports --save {report['number']}")

    def _require_calm(self) -> None:
        target = {"device": self.device_id, "kind": self.fault.kind, "target": self.fault.target}
        changes = [
            datetime.fromisoformat(change["at"])
            for check in self.api.get("/checks", **target)["items"]
            for change in self.api.get(f"/checks/{check['id']}/changes")["items"]
            if change["old"] and (change["old"] in PASSING) != (change["new"] in PASSING)
        ]
        calm_at = calm_from(changes)
        if calm_at > datetime.now(UTC):
            raise DrillError(
                f"it ran a moment ago: once more, and the changes of its check would count as flapping, whose ticket "
                f"waits until the check holds still. Run it again after {calm_at:%H:%M} UTC"
            )

    def _check(self, status: str, *, since: datetime | None = None) -> dict[str, Any] | None:
        """The check of the fault's target with that status. A kind that has nothing to say of a healthy target (a
        service among many) says it of the device as a whole."""
        rows = self.api.get("/checks", device=self.device_id, kind=self.fault.kind)["items"]
        named = {row["target"]: row for row in rows}
        found: dict[str, Any] | None = named.get(self.fault.target) or named.get("")
        if found is None or found["status"] != status:
            return None
        return found if since is None or datetime.fromisoformat(found["judged_at"]) >= since else None

    def _tickets(self) -> list[dict[str, Any]]:
        query = {"device": self.device_id, "kind": self.fault.kind, "target": self.fault.target}
        found: list[dict[str, Any]] = self.api.get("/tickets", **query)["items"]
        return found

    def _jobs(self, ticket: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api.get("/jobs", ticket=ticket["number"])["items"]
        return found

    def _finished(self, job_id: str) -> dict[str, Any] | None:
        job: dict[str, Any] = self.api.get(f"/jobs/{job_id}")
        if job["state"] == "queued":
            # It travels with the answer to a check-in, once intake has seen it.
            self.check_in()
        return job if job["finished_at"] else None

    def _resolved(self, number: int) -> dict[str, Any] | None:
        ticket: dict[str, Any] = self.api.get(f"/tickets/{number}")
        return ticket if ticket["state"] in {"resolved", "closed"} else None

    def _reports(self, ticket: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api.get("/reports", ticket=ticket["number"])["items"]
        return found

    def _eventually(self, what: str, look: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
        deadline = time.monotonic() + STEP_SECONDS
        while time.monotonic() < deadline:
            found = look()
            if found is not None:
                return found
            time.sleep(LOOK_SECONDS)
        raise DrillError(f"not within {STEP_SECONDS} s: {what}")


def calm_from(changes: Sequence[datetime]) -> datetime:
    """From when on a drill may change a check that changed at these times (newest first) and not make it flap."""
    left = FLAPPING_CHANGES - 1 - CHANGES_OF_A_DRILL
    return changes[left] + FLAPPING_SPAN if len(changes) > left else datetime.min.replace(tzinfo=UTC)


def _owner(ticket: dict[str, Any]) -> str:
    return f"owner {ticket['owner']}" if ticket["owner"] else "without an owner"
