"""What may be asked of a device, and when a standing order applies. Decisions without I/O.

The server's own checks are good manners and early errors: the device decides again, by itself (``trust.authorise``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from forestall.trust.authorise import Refused, order_parameters
from forestall.trust.statements import ParameterValue, Runbook, StandingOrder

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far a device's clock may be behind the server's and still take a new job at once."""
JOB_LIFE = timedelta(hours=23, minutes=55)
"""From preparation to expiry. With the tolerance before it: just the 24 hours that devices allow at most."""
INVOCATION_LIFE = timedelta(hours=1)
"""A remedy that comes later than this comes too late: the device was away, and the check is judged afresh first."""
ANSWER_GRACE = timedelta(hours=1)
"""How long after its expiry a delivered job may still be running; after that it is given up."""
ANNOUNCED = timedelta(hours=1)
"""How long a new standing order goes with every reply to its devices."""
DAY = timedelta(hours=24)
HOUR = timedelta(hours=1)
UNDO_CHANGE = "undo-change"
"""The runbook that puts back what a job changed; its parameter ``job`` names it."""

FEW = 5
"""Devices that one operator's signature may cover at any client, however small."""
TENTH = 10


@dataclass(frozen=True, slots=True)
class Reach:
    """How many of a client's devices the live authority of single operators covers for one runbook."""

    covered: int
    """Devices, the new ones included."""
    client_devices: int
    """Approved devices of the client."""
    limit: int
    """Most that one signature may cover."""
    needed: int
    """Operators who must sign."""

    @property
    def is_wide(self) -> bool:
        return self.covered > self.limit

    @property
    def percent(self) -> float:
        """Of the client's devices; a device that is not approved any more may make it more than 100."""
        return 100 * self.covered / max(1, self.client_devices)


def single_signature_limit(client_devices: int) -> int:
    """Most devices of a client that one operator's signature may cover: a tenth, but at least ``FEW``."""
    return max(FEW, client_devices // TENTH)


def reach(*, covered: int, client_devices: int, needed: int) -> Reach:
    """The reach, and how many operators it takes: two beyond the limit, if the risk class does not ask for more."""
    limit = single_signature_limit(client_devices)
    wide = covered > limit and needed > 0
    return Reach(covered=covered, client_devices=client_devices, limit=limit, needed=max(needed, 2 if wide else needed))


PARAMETER_OF_TRIGGER: dict[str, str] = {
    "disk_space": "volume",
    "inodes": "volume",
    "service_down": "service",
    "backup_age": "backup",
    "backup_chain": "backup",
    "antivirus": "product",
    "disk_self_test": "device",
}
"""Check kind → the runbook's parameter that the check's target goes into."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A check that fails, as far as a standing order looks at it."""

    kind: str
    target: str
    status: str
    reason: str


def parameters_for(*, order: StandingOrder, runbook: Runbook, trigger: Trigger) -> dict[str, ParameterValue] | None:
    """The parameters with which the order answers this check; None when it does not apply.

    The check's target goes into the parameter of ``PARAMETER_OF_TRIGGER`` where the runbook has it; a parameter for
    which the order lists one value takes that; the others keep their defaults.
    """
    if trigger.status != "fail" or trigger.kind != order.trigger:
        return None
    names = {parameter.name for parameter in runbook.parameters}
    given: dict[str, ParameterValue] = {
        name: values[0] for name, values in order.allowed.items() if len(values) == 1 and name in names
    }
    derived = PARAMETER_OF_TRIGGER.get(trigger.kind)
    if derived in names:
        given[derived] = trigger.target
    try:
        order_parameters(order, runbook, given)
    except Refused:
        return None
    return given


def order_refuses(
    *, order: StandingOrder, runbook: Runbook, parameters: Mapping[str, ParameterValue], runs: int, now: datetime
) -> str:
    """Why an order does not allow this run on a device that had ``runs`` in the last 24 hours; empty: it does."""
    if not is_in_force(order=order, now=now):
        return (
            f"the standing order holds from {order.not_before:%Y-%m-%d %H:%M} to {order.expires_at:%Y-%m-%d %H:%M} UTC"
        )
    if not runs_left(order=order, runs=runs):
        return f"the standing order has no runs left on this device today: it allows {order.runs_per_day}"
    try:
        order_parameters(order, runbook, parameters)
    except Refused as refusal:
        return f"the standing order does not fit: {refusal.sentence}"
    return ""


def budget_refuses(*, order: StandingOrder, devices_this_hour: int) -> str:
    """Why an order may not reach one more device now; empty: it may. ``devices_this_hour``: others, in the last 60
    minutes."""
    most = order.devices_per_hour
    if most is msgspec.UNSET or devices_this_hour < most:
        return ""
    return (
        f"the standing order's budget is used up: it ran on {devices_this_hour} "
        f"device{'s' * (devices_this_hour != 1)} in the last hour, at most {most}"
    )


def runs_left(*, order: StandingOrder, runs: int) -> bool:
    """Whether the order allows one more run on a device that had ``runs`` in the last 24 hours."""
    return runs < order.runs_per_day


def is_in_force(*, order: StandingOrder, now: datetime) -> bool:
    return order.not_before <= now < order.expires_at
