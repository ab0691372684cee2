"""Services that start at boot, or were started, and are down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import clock
from forestall.wire.facts import Service, Services


@dataclass(frozen=True, slots=True)
class Policy:
    ignore: tuple[str, ...] = ()
    """Names of services that may be down."""


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """One result for each service that is down or was, and one (no target) for all the others together.

    Not a row for each service that runs: a device has a hundred, and nobody asks about those one by one.
    """
    document = known.facts.services
    assert document is not None  # noqa: S101 - judge_kind sees to it
    results, down = [], 0
    starts_at_boot = not any("start at boot" in gap.what for gap in document.gaps)
    for service in {service.name: service for service in document.services}.values():
        status = (
            Status.PASS if service.name in policy.ignore else _status(service, document, starts_at_boot=starts_at_boot)
        )
        if status.is_problem:
            down += 1
            results.append(_down(service, status))
        elif service.name in previous:
            state = "may be down by policy" if service.name in policy.ignore else f"is {service.state}"
            why = "; it does not start at boot, so that was on purpose" if _on_purpose(service) else ""
            results.append(Result(Status.PASS, f"{service.name} {state}{why}.", target=service.name))
    if down and down == len(document.services):
        return results
    return [*results, _others(document, down, starts_at_boot=starts_at_boot)]


def _status(service: Service, document: Services, *, starts_at_boot: bool) -> Status:
    if service.state == "failed":
        # Enabled, or started by a timer or another unit (None). What was disabled after it failed is being dealt with.
        return Status.FAIL if service.enabled is not False else Status.PASS
    if service.state == "stopped" and service.enabled and starts_at_boot:
        # systemd: one that has no time of change never ran since boot, because a condition of its unit does not hold
        # (`systemd-pstore` without crash records) or because a socket starts it. Nobody stopped it.
        return Status.PASS if document.manager == "systemd" and service.since is None else Status.FAIL
    return Status.PASS


def _on_purpose(service: Service) -> bool:
    return service.state in {"stopped", "failed"} and service.enabled is False


def _down(service: Service, status: Status) -> Result:
    what = f" ({service.description})" if service.description else ""
    how = "has failed" if service.state == "failed" else "is stopped although it starts at boot"
    since = f" since {clock(service.since)}" if service.since else ""
    detail = f": {service.detail}" if service.detail else ""
    return Result(
        status,
        f"The service {service.name}{what} {how}{since}{detail.rstrip('.')}.",
        target=service.name,
        evidence=(f"systemctl status {service.name}",) if service.since else (),
        remedy="" if service.state == "failed" else f"Start {service.name} again; if it is not needed, disable it.",
    )


def _others(document: Services, down: int, *, starts_at_boot: bool) -> Result:
    names = {service.name for service in document.services}
    if not names:
        why = "; ".join(f"{gap.what}: {gap.why}" for gap in document.gaps) or "no service manager was found"
        return Result(Status.UNKNOWN, f"0 services are known ({why}).", value=0, unit="services")
    running = len({service.name for service in document.services if service.state in {"running", "starting"}})
    which = f"the other {len(names) - down}" if down else str(len(names))
    reason = f"{running} of {which} services run; the rest are one-shots or not started."
    if running == len(names) - down:
        reason = f"{'The other ' if down else 'All '}{running} services run."
        reason = f"The {'other ' if down else ''}service runs." if running == 1 else reason
    if not starts_at_boot:
        reason += " Nothing on this device starts services at boot, so a stopped one is not counted as down."
    return Result(Status.PASS, reason, value=running, unit="services", risk=Risk.LOW)


def levels(policy: Policy) -> Sequence[Level]:
    return []
