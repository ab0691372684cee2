"""Reads of rollouts, their rings and devices, and of held updates; and the gate that every installation passes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db.models import Case, Count, F, QuerySet, Value, When

from forestall.server.database.binding import everywhere
from forestall.server.patching.models import HoldOverride, Rollout, RolloutDevice, RolloutRing, RolloutState, UpdateHold
from forestall.server.patching.rings import needed_healthy, terms_read
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


def title_of(rollout: Rollout) -> str:
    """What a rollout is called before everybody whose devices are in it. One across clients keeps its name."""
    return f"rollout “{rollout.name}”" if rollout.client_id is not None else "a rollout across clients"


def _in_its_ring(rollout: Rollout, member: tuple[int, str, str] | None) -> Allowed:
    title = title_of(rollout)
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
    if not holds:
        return frozenset()
    overrides = HoldOverride.objects.visible_to(_GATE).filter(hold__in=holds)
    return frozenset(overrides.values_list("client_id", "hold_id"))


@dataclass(frozen=True, slots=True)
class RingCount:
    """One ring of a rollout, counted."""

    ring: RolloutRing
    soak_minutes: int
    members: int
    states: Mapping[str, int]
    """State of a device → how many of the ring are in it."""
    needed: int
    """Healthy devices that it takes before the next ring may begin."""

    @property
    def touched(self) -> int:
        return sum(count for state, count in self.states.items() if state not in ("waiting", "left out"))


def rollout(*, scope: Scope, number: UUID | str) -> Rollout:
    """One rollout. Rollout.DoesNotExist when there is none that the scope sees."""
    return rollouts(scope=scope).get(pk=number)


def members(*, scope: Scope, rollout: Rollout) -> QuerySet[RolloutDevice]:
    """Devices of a rollout that the scope sees, those that went wrong first, then by ring."""
    found: QuerySet[RolloutDevice] = RolloutDevice.objects.visible_to(scope).filter(rollout=rollout)
    worst = Case(*(When(state=state, then=Value(rank)) for rank, state in enumerate(WORST_FIRST)), default=Value(9))
    return found.annotate(rank=worst).select_related("device", "site", "client").order_by("rank", "ring", "pk")


WORST_FIRST = ("failed", "silent", "running", "waiting", "left out", "healthy")
"""States of a device, as a list of devices shows them."""


def ring_counts(*, scope: Scope, rollout: Rollout) -> list[RingCount]:
    """The rings of a rollout with how many devices are in which state: two queries, however many devices.

    Devices of sites that the scope does not see are not counted.
    """
    terms = terms_read(rollout.terms)
    states: dict[int, dict[str, int]] = {}
    own = RolloutDevice.objects.visible_to(scope).filter(rollout=rollout).order_by()
    for number, state, count in own.values_list("ring", "state").annotate(count=Count("pk")):
        states.setdefault(number, {})[state] = count
    found = []
    rings = RolloutRing.objects.visible_to(scope).filter(rollout=rollout).order_by("number")
    for ring, said in zip(rings, terms.rings, strict=True):
        counted = states.get(ring.number, {})
        total = sum(counted.values())
        found.append(
            RingCount(
                ring=ring,
                soak_minutes=said.soak_minutes,
                members=total,
                states=counted,
                needed=needed_healthy(said, total - counted.get("left out", 0)),
            )
        )
    return found


def holds(*, scope: Scope) -> QuerySet[UpdateHold]:
    """Held updates, those that hold first. NotAllowedError without ``device.view`` anywhere."""
    scope.require(Permission.DEVICE_VIEW)
    return UpdateHold.objects.order_by(F("ended_at").desc(nulls_first=True), "-since", "-pk")


def overrides(*, scope: Scope) -> QuerySet[HoldOverride]:
    """Clients in scope that install a held update all the same."""
    found: QuerySet[HoldOverride] = HoldOverride.objects.visible_to(scope).select_related("client", "hold")
    return found
