"""Changes of coverage and health: exceptions from the matrix, and the daily health run of each client."""

from __future__ import annotations

import logging
import time as clocks
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, time
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef

from forestall.server.checks.models import DeviceSchedule
from forestall.server.checks.queries import checks
from forestall.server.checks.result import Risk, Status
from forestall.server.checks.services import device_judge_by_id
from forestall.server.checks.words import count
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import evidence_append
from forestall.server.health import queries
from forestall.server.health.models import CoverageException, HealthRun
from forestall.server.health.queries import ClientHealth, Gap
from forestall.server.health.rules import LONGEST_EXCEPTION, Column
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.outbox.events import Event
from forestall.server.outbox.services import event_record
from forestall.server.people.models import Client, Person, Site
from forestall.server.people.queries import scope_of
from forestall.server.people.scope import Permission, Scope
from forestall.server.recovery.models import ProtectedSystem
from forestall.server.tickets.mail import tell_of_health
from forestall.server.tickets.routing import who_gets

log = logging.getLogger(__name__)

SELF = Scope.system("health")
MORNING = time(6, 0)
"""By the client's own clock: before people come, after the backups of the night."""
LATEST = time(12, 0)
"""A server that was down in the morning makes up for it until then; later it is the next morning's."""
JUDGE_SECONDS = 20.0
"""Most that one run spends on judging anew. What it does not reach counts as it was last judged."""
LONGEST_REASON = 500
WORST_TOLD = 5
SCHEDULED_BY = "schedule"


class CoverageError(ValueError):
    """An exception or a run that cannot be; the message names the bad value."""


# --- exceptions -------------------------------------------------------------------------------------------------


@transaction.atomic
def coverage_except(
    *,
    column: str,
    reason: str,
    expires_at: datetime,
    scope: Scope,
    now: datetime,
    client: Client | None = None,
    site: Site | None = None,
    device: Device | None = None,
    system: ProtectedSystem | None = None,
) -> CoverageException:
    """Accept a gap in one column until ``expires_at``, at most a year: of one device or protected system, or of all of
    a site or client. It stays in the matrix and says so; then it counts again. CoverageError, NotAllowedError."""
    if [client, site, device, system].count(None) != 3:
        raise CoverageError("name exactly one of client, site, device and system")
    if column not in set(Column):
        raise CoverageError(f"column: {column[:40]!r} is none; there are {', '.join(Column)}")
    if system is not None:
        system = ProtectedSystem.objects.visible_to(scope).select_related("client", "site").get(pk=system.pk)
        owner, place = system.client, system.site
        if Column(column) not in {Column.BACKUP, Column.RECOVERY}:
            raise CoverageError(f"column: {column!r} is of its device; a protected system has backup and recovery")
    elif device is not None:
        device = Device.objects.visible_to(scope).select_related("client", "site").get(pk=device.pk)
        owner, place = device.client, device.site
    elif site is not None:
        site = Site.objects.visible_to(scope).select_related("client").get(pk=site.pk)
        owner, place = site.client, site
    else:
        assert client is not None  # noqa: S101 - exactly one is named
        owner, place = Client.objects.visible_to(scope).get(pk=client.pk), None
    scope.require(Permission.RISK_ACCEPT, on=system or device or site or owner)
    said = reason.strip()
    if not said:
        raise CoverageError("reason: say why it need not be covered until then")
    if len(said) > LONGEST_REASON:
        raise CoverageError(f"reason: {len(said)} characters, at most {LONGEST_REASON}")
    if not now < expires_at <= now + LONGEST_EXCEPTION:
        raise CoverageError(f"expires_at: {expires_at:%Y-%m-%d %H:%M} is not within a year from now")
    made: CoverageException = CoverageException.objects.create(
        client=owner, site=place, device=device, system=system, column=column, reason=said, granted_at=now,
        granted_by=scope.who, expires_at=expires_at,
    )  # fmt: skip
    _recorded(made, scope, now, ended=False)
    return made


@transaction.atomic
def coverage_exception_end(*, exception: CoverageException, scope: Scope, now: datetime) -> CoverageException:
    """End an exception before its time: the gap counts again. CoverageError when it is over, NotAllowedError."""
    found: CoverageException = queries.exceptions(scope=scope).select_for_update(of=("self",)).get(pk=exception.pk)
    scope.require(Permission.RISK_ACCEPT, on=found.system or found.device or found.site or found.client)
    if found.ended_at is not None:
        raise CoverageError(f"exception {found.pk}: ended by {found.ended_by} already")
    if found.expires_at <= now:
        raise CoverageError(f"exception {found.pk}: expired {found.expires_at:%Y-%m-%d %H:%M} already")
    found.ended_at, found.ended_by = now, scope.who
    found.save(update_fields=["ended_at", "ended_by"])
    _recorded(found, scope, now, ended=True)
    return found


def _recorded(one: CoverageException, scope: Scope, now: datetime, *, ended: bool) -> None:
    evidence_append(
        client=one.client,
        kind=EvidenceKind.COVERAGE_EXCEPTED,
        payload={
            "exception": one.pk, "column": one.column, "where": where_of(one), "reason": one.reason,
            "expires_at": one.expires_at.isoformat(), "ended": ended, "by": scope.who,
        },
        now=now,
        device_id=one.device_id,
        site_id=one.site_id,
    )  # fmt: skip


def where_of(one: CoverageException) -> str:
    """What an exception is about: ``device web-01``."""
    if one.system is not None:
        return f"protected system {one.system.name}"
    if one.device is not None:
        return f"device {one.device.name}"
    return f"site {one.site.name}" if one.site is not None else f"client {one.client.name}"


# --- the daily run ----------------------------------------------------------------------------------------------


def health_tick(*, now: datetime, most: int = 5) -> int:
    """Run the health of each client whose morning has come and who has had no run today; how many were run.

    Clients without a device are left alone: there is nothing to say of them.
    """
    done = 0
    devices = Device.objects.visible_to(SELF).filter(client=OuterRef("pk"), status=DeviceStatus.APPROVED)
    clients = Client.objects.visible_to(SELF).filter(Exists(devices), removed_at=None).order_by("pk")
    had = set(
        HealthRun.objects.visible_to(SELF)
        .filter(scheduled=True, day__gte=now.date().fromordinal(now.date().toordinal() - 1))
        .values_list("client_id", "day")
    )
    for client in clients:
        local = now.astimezone(_zone(client))
        if not MORNING <= local.time() < LATEST or (client.pk, local.date()) in had:
            continue
        try:
            run(client=client, now=now, by=SCHEDULED_BY, scheduled=True)
        except IntegrityError:
            continue  # another worker was first
        except Exception:
            # One client must not keep the others from their morning. It is tried again at the next tick until noon.
            log.exception("health run of client %s", client.pk)
            continue
        done += 1
        if done >= most:
            break
    return done


def health_run(*, client: Client, scope: Scope, now: datetime) -> HealthRun:
    """Run the health of a client now, because somebody asks. NotAllowedError."""
    found = Client.objects.visible_to(scope).filter(removed_at=None).get(pk=client.pk)
    scope.require(Permission.CHECK_CHANGE, on=found)
    return run(client=found, now=now, by=scope.who, scheduled=False)


def run(*, client: Client, now: datetime, by: str, scheduled: bool) -> HealthRun:
    """Judge the client's devices, count, and tell whoever owns it. IntegrityError when the morning's run was made."""
    began = clocks.monotonic()
    day = now.astimezone(_zone(client)).date()
    judged = _judge(client, now)
    with transaction.atomic():
        (found,) = queries.health(scope=SELF, client=client.pk) or [ClientHealth(client.pk, client.name, None, ())]
        gaps = queries.gaps(queries.coverage(scope=SELF, now=now, client=client.pk))
        counts = _counts(client.pk)
        before = HealthRun.objects.visible_to(SELF).filter(client=client, at__lt=now).order_by("-at").first()
        summary = summary_of(found, counts=counts, gaps=gaps, before=None if before is None else before.score)
        made: HealthRun = HealthRun.objects.create(
            client=client, day=day, scheduled=scheduled, at=now, by=by, score=found.score, devices=len(found.devices),
            judged=judged, counts=counts, gaps=len(gaps), summary=summary,
            scores={str(one.device_id): round(one.score.exact, 1) for one in found.devices},
            seconds=round(clocks.monotonic() - began, 2),
        )  # fmt: skip
        # Whoever asked sees it; the morning's is told to those whose tickets these would be.
        made.told = _tell(client, made, now) if scheduled else []
        made.save(update_fields=["told"])
        evidence_append(
            client=client,
            kind=EvidenceKind.HEALTH_RUN,
            payload={
                "run": made.pk, "day": day.isoformat(), "by": by, "score": found.score, "devices": made.devices,
                "judged": judged, "counts": counts, "gaps": made.gaps, "scores": made.scores,
                "told": [one["person"] for one in made.told],
            },
            now=now,
        )  # fmt: skip
        event_record(
            event=Event.HEALTH_RUN_DONE, subject=made.pk, at=now,
            detail={"client": str(client.pk), "score": found.score, "gaps": made.gaps},
        )  # fmt: skip
    return made


def _judge(client: Client, now: datetime) -> int:
    """Judge devices by every kind, the longest unjudged first, until the time for it is over; how many were."""
    until = clocks.monotonic() + JUDGE_SECONDS
    rows = Device.objects.visible_to(SELF).filter(client=client, status=DeviceStatus.APPROVED)
    known = dict(DeviceSchedule.objects.filter(device__client=client).values_list("device_id", "due_at"))
    devices = sorted(rows.values_list("pk", flat=True), key=lambda pk: (known.get(pk, now), str(pk)))
    for number, pk in enumerate(devices):
        if clocks.monotonic() > until:
            return number
        device_judge_by_id(device_id=pk, now=now)
    return len(devices)


def _counts(client_id: UUID, scope: Scope = SELF) -> dict[str, int]:
    rows = checks(scope=scope).filter(device__client=client_id, device__status=DeviceStatus.APPROVED).order_by()
    return dict(sorted(Counter(rows.annotate(word=F("status")).values_list("word", flat=True)).items()))


def summary_of(found: ClientHealth, *, counts: dict[str, int], gaps: Sequence[Gap], before: float | None) -> list[str]:
    """What is told of a run, line by line: the answer first."""
    if found.score is None:
        return [f"{found.name} has no approved device: nothing was judged."]
    was = "" if before is None else f" (it was {int(before + 1e-9)} at the run before)"
    lines = [
        f"{found.name} stands at {found.value} of 100{was}: {count(len(found.devices), 'device')}, "
        f"{counts.get(Status.FAIL, 0)} checks fail, {counts.get(Status.WARN, 0)} warn, "
        f"{counts.get(Status.UNKNOWN, 0) + counts.get(Status.STALE, 0)} have no answer."
    ]
    for one in [each for each in found.devices if each.score.lost][:WORST_TOLD]:
        names = ", ".join(dict.fromkeys(lost.check.kind.replace("_", " ") for lost in one.score.lost[:3]))
        lines.append(f"{one.name} ({one.site}): {one.score.value}, for {names}.")
    grave = [gap for gap in gaps if gap.risk in {Risk.CRITICAL, Risk.HIGH}]
    lines.append(
        f"{count(len(gaps), 'gap')} of coverage, {len(grave)} of high or critical risk."
        if gaps
        else "Nothing is left uncovered."
    )
    lines += [f"{gap.subject.name}: {gap.column.heading.lower()}: {gap.cell.why}" for gap in gaps[:WORST_TOLD]]
    return lines


def _tell(client: Client, made: HealthRun, now: datetime) -> list[dict[str, Any]]:
    """A mail to everyone who gets tickets of the client's sites: by the same rules, for the same reasons."""
    people: dict[int, tuple[Person, Site, str]] = {}
    for site in Site.objects.visible_to(SELF).filter(client=client).select_related("client").order_by("name"):
        answer = who_gets(client=client, site=site, kind="", risk=Risk.HIGH)
        if answer.owner is not None:
            people.setdefault(answer.owner.pk, (answer.owner, site, answer.why))
    told: list[dict[str, Any]] = []
    for person, site, why in people.values():
        lines = _as_seen_by(person, client, made, now)
        if not lines:
            continue
        mails = tell_of_health(
            person=person,
            site=site,
            subject=f"{lines[0].partition(': ')[0]}",
            text="\n".join([lines[0], "", *(f"- {line}" for line in lines[1:])]),
            path=f"/health/?client={client.pk}",
            now=now,
        )
        told.append({"person": person.username, "why": why, "mail": mails[0].pk if mails else None})
    return told


def _as_seen_by(person: Person, client: Client, made: HealthRun, now: datetime) -> list[str]:
    """The summary for one person: of the client as a whole, or of the part that they may see; empty: of none."""
    scope = scope_of(person, now=now)
    place = scope.place(Permission.DEVICE_VIEW)
    if place.everywhere or client.pk in place.clients:
        return list(made.summary)
    part = queries.health(scope=scope, client=client.pk)
    if not part:
        return []
    gaps = queries.gaps(queries.coverage(scope=scope, now=now, client=client.pk))
    return summary_of(part[0], counts=_counts(client.pk, scope), gaps=gaps, before=None)


def _zone(client: Client) -> ZoneInfo:
    try:
        return ZoneInfo(client.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")
