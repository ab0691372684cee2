"""Reads of rollouts, their rings and devices, and of held updates; and the gate that every installation passes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.apps import apps
from django.db.models import QuerySet

from forestall.server.database.binding import everywhere
from forestall.server.patching.models import Rollout, RolloutDevice, RolloutState, UpdateHold
from forestall.server.people.scope import Permission, Scope

_GATE = Scope.system("rollouts")

LIVE = (
    RolloutState.PLANNED,
    RolloutState.RUNNING,
    RolloutState.AWAITING_PROMOTION,
    RolloutState.PAUSED,
    RolloutState.HALTED,
)
"""States in which a rollout still decides who installs its updates. Finished and cancelled ones decide nothing."""

OPEN = (RolloutState.RUNNING, RolloutState.AWAITING_PROMOTION)
"""States in which the rings that were opened so far may be touched."""

Update = tuple[str, str, str]
"""Provider, package and version: ``("apt", "openssl", "3.0.18-1")``."""


class Allowed(NamedTuple):
    """Whether an update may be installed on a device now, as far as rings and holds go."""

    ok: bool
    why: str = ""
    """In words, for everybody who sees the device; empty when it may. It never names a client."""


def rollouts(*, scope: Scope) -> QuerySet[Rollout]:
    """Rollouts that ``scope`` sees, newest first. Those across clients are seen by who sees every client."""
    found: QuerySet[Rollout] = Rollout.objects.visible_to(scope).select_related("client")
    # A rollout of another place's devices says more than its rows: who sees one site sees its own devices in it.
    return found if scope.everywhere(Permission.DEVICE_VIEW) else found.exclude(client=None)


def holds_open(*, scope: Scope) -> QuerySet[UpdateHold]:
    """Updates that no client installs for now. NotAllowedError without ``device.view`` anywhere."""
    scope.require(Permission.DEVICE_VIEW)
    return UpdateHold.objects.filter(ended_at=None)


class Gate:
    """The question "may this update be installed on this device now?" for many devices, from a few queries.

    It looks beyond the scope of whoever asks: rings and holds bind everybody. It only reads; a run that is made is
    claimed by ``rollouts.device_claim`` in its own transaction.
    """

    def __init__(self, *, now: datetime, device_ids: Iterable[UUID] | None = None) -> None:
        with everywhere():
            self._holds: dict[Update, UpdateHold] = {
                (hold.manager, hold.name, hold.candidate): hold for hold in UpdateHold.objects.filter(ended_at=None)
            }
            self._overridden = _overrides([hold.pk for hold in self._holds.values()])
            live = Rollout.objects.visible_to(_GATE).filter(state__in=LIVE)
            self._rollouts: dict[UUID, Rollout] = {rollout.pk: rollout for rollout in live}
            members = RolloutDevice.objects.visible_to(_GATE).filter(rollout__in=list(self._rollouts))
            if device_ids is not None:
                members = members.filter(device__in=list(device_ids))
            self._members: dict[tuple[UUID, UUID], tuple[int, str, str]] = (
                {
                    (rollout, device): (ring, state, why)
                    for rollout, device, ring, state, why in members.values_list(
                        "rollout_id", "device_id", "ring", "state", "why"
                    )
                }
                if self._rollouts
                else {}
            )
        self._carried: dict[Update, list[Rollout]] = {}
        for rollout in self._rollouts.values():
            for update in updates_of(rollout):
                self._carried.setdefault(update, []).append(rollout)
        self.now = now

    def held(self, client_id: UUID, update: Update) -> str:
        """Why no client installs it for now, in words; empty when it is not held, or this client does all the same."""
        hold = self._holds.get(update)
        return "" if hold is None or (client_id, hold.pk) in self._overridden else f"held: {hold.why}"

    def allowed(self, *, device_id: UUID, client_id: UUID, manager: str, name: str, candidate: str) -> Allowed:
        """Whether the update may be installed on the device now, and if not, why."""
        update = (manager, name, candidate)
        held = self.held(client_id, update)
        if held:
            return Allowed(ok=False, why=held)
        for rollout in self._carried.get(update, ()):
            if not concerns(rollout, client_id):
                continue
            answer = _in_its_ring(rollout, self._members.get((rollout.pk, device_id)))
            if not answer.ok:
                return answer
        return Allowed(ok=True)

    def rollouts_of(self, *, device_id: UUID, update: Update) -> list[Rollout]:
        """Live rollouts that bring this update to this device."""
        return [one for one in self._carried.get(update, ()) if (one.pk, device_id) in self._members]


def updates_of(rollout: Rollout) -> list[Update]:
    """The updates that a rollout carries, as they were fixed when it was started."""
    return [(manager, name, candidate) for manager, name, candidate in rollout.what.get("updates", ())]


def concerns(rollout: Rollout, client_id: UUID) -> bool:
    """Whether a rollout decides for this client's devices."""
    if rollout.client_id is not None:
        return bool(rollout.client_id == client_id)
    named = rollout.what.get("clients") or ()
    return not named or str(client_id) in named


def _in_its_ring(rollout: Rollout, member: tuple[int, str, str] | None) -> Allowed:
    title = f"rollout “{rollout.name}”"
    if rollout.state == RolloutState.HALTED:
        return Allowed(ok=False, why=f"{title} was halted")
    if rollout.state == RolloutState.PAUSED:
        return Allowed(ok=False, why=f"{title} is paused")
    if member is None:
        return Allowed(ok=False, why=f"{title} carries this update, and this device is not in it yet")
    ring, state, why = member
    if state == "left out":
        return Allowed(ok=False, why=f"left out of {title}: {why}")
    if rollout.state not in OPEN or ring > rollout.ring:
        return Allowed(ok=False, why=f"waits for ring {ring} of {title}; ring {rollout.ring} is under way")
    return Allowed(ok=True)


def _overrides(holds: list[int]) -> frozenset[tuple[UUID, int]]:
    """(client, hold) of clients that install a held update all the same."""
    if not holds or "holdoverride" not in apps.get_app_config("patching").models:
        return frozenset()
    overrides = apps.get_model("patching", "HoldOverride").objects.visible_to(_GATE)
    return frozenset(overrides.filter(hold__in=holds).values_list("client_id", "hold_id"))


def by_ring(members: Iterable[RolloutDevice]) -> Mapping[int, list[RolloutDevice]]:
    """Devices of a rollout by the ring they are in."""
    found: dict[int, list[RolloutDevice]] = {}
    for member in members:
        found.setdefault(member.ring, []).append(member)
    return found
