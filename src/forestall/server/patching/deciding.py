"""Everything that decides whether updates may be installed, loaded once for many devices. It changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q

from forestall.server.calendar.queries import WindowBook
from forestall.server.inventory.models import Device
from forestall.server.patching import rules
from forestall.server.patching.models import Deployment, PatchPolicy, UpdateDecision
from forestall.server.patching.obligation_queries import test_waits
from forestall.server.patching.policies import Terms, read_terms
from forestall.server.patching.rollout_queries import Gate
from forestall.server.patching.rules import Answer, Case, Decided, Move, State
from forestall.server.patching.scan import Looked, key_of, look
from forestall.server.people.scope import Scope
from forestall.server.runbooks.models import Job

SELF = Scope.system("patching")
SILENT_AFTER = timedelta(minutes=10)
"""A device that has not checked in for so long gets no run: it would come when the window may be over."""
RUNBOOK = "install-updates"
FIRMWARE = "firmware"


class Desk:
    """What is known of some devices for deciding about their updates: about ten queries, however many devices."""

    def __init__(self, *, devices: Sequence[Device], now: datetime, looked: dict[UUID, Looked] | None = None) -> None:
        self.now = now
        ids = [device.pk for device in devices]
        clients, sites = {device.client_id for device in devices}, {device.site_id for device in devices}
        self._devices = {device.pk: device for device in devices}
        self.looked = look(scope=SELF, devices=ids) if looked is None else looked
        self._policies: dict[tuple[UUID, UUID | None], PatchPolicy] = {
            (policy.client_id, policy.site_id): policy
            for policy in PatchPolicy.objects.visible_to(SELF).filter(client__in=clients)
        }
        self._decisions: dict[UUID, list[UpdateDecision]] = defaultdict(list)
        standing = UpdateDecision.objects.visible_to(SELF).filter(
            Q(until=None) | Q(until__gt=now), client__in=clients, ended_at=None
        )
        for one in standing:
            self._decisions[one.client_id].append(one)
        self._gate = Gate(now=now, device_ids=ids)
        self._windows = WindowBook.load(scope=SELF, since=now - timedelta(days=8), sites=sites)
        self._window_of: dict[UUID, tuple[tuple[datetime, datetime, str] | None, datetime | None]] = {}
        self._terms: dict[int, Terms] = {}

    def policy(self, device: Device) -> PatchPolicy | None:
        """The patch policy of a device: its site's, else its client's."""
        own = self._policies.get((device.client_id, device.site_id))
        return own or self._policies.get((device.client_id, None))

    def terms(self, device: Device) -> Terms:
        """Its policy's terms; the usual ones without a policy."""
        policy = self.policy(device)
        if policy is None:
            return Terms()
        if policy.pk not in self._terms:
            self._terms[policy.pk] = read_terms(policy.terms)
        return self._terms[policy.pk]

    def window(self, device: Device) -> tuple[tuple[datetime, datetime, str] | None, datetime | None]:
        """The window in which work on the device is allowed now (start, end, name), and the start of the next one."""
        if device.pk not in self._window_of:
            allowed = self._windows.allowed(device.site_id, device.pk, self.now)
            if allowed is not None and allowed.caught_up and self._worked_since(device, allowed.start):
                allowed = None
            following = self._windows.next(device.site_id, device.pk, self.now)
            self._window_of[device.pk] = (
                None if allowed is None else (allowed.start, allowed.until, allowed.window),
                None if following is None else following.start,
            )
        return self._window_of[device.pk]

    def _worked_since(self, device: Device, since: datetime) -> bool:
        jobs = Job.objects.visible_to(SELF).filter(device=device, runbook__slug=RUNBOOK, dry_run=False)
        return bool(jobs.filter(delivered_at__gte=since).exists())

    def decided(self, row: Deployment, decision: Iterable[str]) -> UpdateDecision | None:
        """The standing decision of one of these kinds that covers an update; of several the newest."""
        wanted = set(decision)
        for one in self._decisions.get(row.client_id, ()):  # newest first
            if one.decision in wanted and decision_covers(one, row):
                return one
        return None

    def answer(self, row: Deployment, *, asked_by: str = "") -> Answer:
        """Whether a pending update may be installed now; if not, when, or what keeps it."""
        device = self._devices[row.device_id]
        looked, policy, terms = self.looked.get(device.pk), self.policy(device), self.terms(device)
        newest = self.decided(row, ("approve", "defer", "exclude"))
        against = newest if newest is not None and newest.decision != "approve" else None
        carried = row.rollout_id is not None
        held = self._gate.held(row.client_id, (row.manager, row.name, row.candidate))
        allowed = self._gate.allowed(
            device_id=device.pk,
            client_id=row.client_id,
            manager=row.manager,
            name=row.name,
            candidate=row.candidate,
        )
        window, following = self.window(device)
        seen = device.last_check_in_at
        backup = looked.backup_why(terms, self.now) if looked is not None and terms.backup == "block" else ""
        return rules.may_install_now(
            Case(
                state=State(row.state) if row.pk is not None else State.PLANNED,
                security=row.security,
                first_seen_at=row.first_seen_at,
                released_at=row.released_at,
                due_at=row.due_at,
                provider=row.manager,
                can_install=looked is not None and looked.can_install(row.manager),
                held_on_device=looked is not None and looked.held(key_of(row)),
                decided=None if against is None else Decided(why=against.reason, by=against.by, until=against.until),
                held_for_all=held.removeprefix("held: "),
                terms=None if policy is None else rules.Terms(policy.choose, policy.approval, policy.defer_days),
                approved=carried or (newest is not None and newest.decision == "approve"),
                in_ring=allowed.ok,
                ring_why=_sentence(allowed.why),
                window=None if window is None else window[:2],
                next_window=following,
                minutes_needed=terms.minutes_needed,
                next_try_at=row.next_try_at,
                device_silent_since=None if seen is None or self.now - seen <= SILENT_AFTER else seen,
                backup_why=backup,
                by_rings=policy is not None and terms.rings and not carried,
                test_why=self._test_why(row),
                asked_by=asked_by,
            ),
            self.now,
        )

    def _test_why(self, row: Deployment) -> str:
        """Firmware alone: only for that an obligation may ask for a test first, and there is little of it."""
        if row.kind != FIRMWARE or row.pk is None:
            return ""
        return _sentence(test_waits(scope=SELF, deployments=[row], now=self.now).get(row.pk, ""))

    def move(self, row: Deployment, answer: Answer) -> Move | None:
        """What an answer makes of a waiting update; None: it stays as it is. A failed one stays failed."""
        was = State(row.state) if row.pk is not None else None
        if was is State.FAILED and not isinstance(answer, rules.Skipped):
            return None
        if isinstance(answer, rules.Planned) and row.next_try_at is not None and answer.at == row.next_try_at:
            return None  # why it was not done is what it says, until it is tried again
        _, following = self.window(self._devices[row.device_id])
        move = _move(row, answer, self.window(self._devices[row.device_id])[0], following)
        if was is State.STAGED and move.to is State.PLANNED:
            move = Move(State.STAGED, row.why, move.fields)
        if was is move.to and row.why == move.why and all(getattr(row, k) == v for k, v in move.fields.items()):
            return None
        return move


def _move(
    row: Deployment, answer: Answer, window: tuple[datetime, datetime, str] | None, following: datetime | None
) -> Move:
    match answer:
        case rules.Ready():
            return Move(State.PLANNED, "", {"planned_for": window[0] if window is not None else following})
        case rules.Planned(at=at, why=why):
            return Move(State.PLANNED, why, {"planned_for": at})
        case rules.Blocked(why=why):
            return Move(State.BLOCKED, why, {"planned_for": None})
        case rules.Skipped(decided=decided):
            return Move(
                State.SKIPPED,
                decided.why,
                {"skip_by": decided.by, "skip_until": decided.until, "planned_for": None},
            )


def decision_covers(decision: UpdateDecision, row: Deployment) -> bool:
    """Whether a decision is about this update on this device."""
    return (
        decision.client_id == row.client_id
        and decision.device_id in (None, row.device_id)
        and decision.manager in ("", row.manager)
        and decision.candidate in ("", row.candidate)
        and rules.covers(pattern=decision.name, name=row.name)
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if not text or text.endswith(".") else ".")
