"""Following checks with alerts, and sending what people are to be told."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q

from forestall.server.alerts.models import Alert, AlertState, Notification, NotificationRoute, NotificationState
from forestall.server.alerts.routes import Sender, send_by_apprise
from forestall.server.alerts.rules import FLAPPING_SPAN, OFFLINE_KIND, group_of, is_sent
from forestall.server.alerts.stages import Case, run
from forestall.server.calendar.queries import window_now
from forestall.server.checks.models import GONE, Check, CheckChange
from forestall.server.checks.result import Risk, Status
from forestall.server.inventory.models import Device
from forestall.server.people.models import Client
from forestall.server.people.scope import Scope

log = logging.getLogger(__name__)

ALERTS = Scope.system("alerts")

SEND_LEASE = timedelta(minutes=2)
FIRST_RETRY = timedelta(seconds=30)
MOST_ATTEMPTS = 6


@transaction.atomic
def alert_follow(*, change: CheckChange, now: datetime) -> Alert | None:
    """Take what a check says now through the stages. The alert it made or moved; None when there is nothing to do.

    Follows the check as it is, not as it was at the change: when events come late, the newest answer counts.
    """
    # The check's row is the lock: an event and the clock may look at the same alert at once.
    checks = Check.objects.visible_to(ALERTS).select_for_update(of=("self",), no_key=True)
    check = checks.select_related("device__client", "device__site").get(pk=change.check_row_id)
    alert = _follow(check, now, look_again=False)
    if check.kind == OFFLINE_KIND and Status(check.status) is Status.PASS:
        _release_after_offline(check.device, now)
    return alert


def alert_follow_by_id(*, change_id: int | str, now: datetime) -> Alert | None:
    """``alert_follow`` for the change with this primary key, as events name it."""
    return alert_follow(change=CheckChange.objects.visible_to(ALERTS).get(pk=change_id), now=now)


def alerts_tick(*, now: datetime, most: int = 200) -> int:
    """Look again at what waits: mutes that ended, flapping that calmed down. How many moved."""
    due = (
        Alert.objects.visible_to(ALERTS)
        .exclude(state=AlertState.CLEARED)
        .filter(Q(state=AlertState.MUTED, muted_until__lte=now, clears_at=None) | Q(clears_at__lte=now))
        .order_by("pk")
        .values_list("pk", flat=True)[:most]
    )
    moved = 0
    for pk in list(due):
        with transaction.atomic():
            moved += _look_again(pk, now)
    return moved


def notify(
    *, client: Client, risk: Risk, title: str, text: str, now: datetime, about: str = "", alert: Alert | None = None
) -> list[Notification]:
    """Have everyone told who wants to hear of this client and risk; sent by ``notifications_send`` after the commit."""
    made = []
    for one in _routes_of(client):
        if is_sent(risk=risk, minimum=Risk(one.minimum_risk)):
            made.append(
                Notification.objects.create(
                    client=client,
                    route=one,
                    sent_to=f"{one.name} ({one.shown_url})",
                    alert=alert,
                    about=about,
                    title=title[:250],
                    text=text,
                    made_at=now,
                    not_before=now,
                )
            )
    return made


def notifications_send(*, now: datetime, most: int = 20, send: Sender = send_by_apprise) -> int:
    """Send what waits, outside any transaction; how many arrived. Claimed by conditional update, so that several
    workers never send one twice; a worker that dies leaves its claim to run out."""
    waiting = (
        Notification.objects.visible_to(ALERTS)
        .filter(state__in=[NotificationState.WAITING, NotificationState.SENDING], not_before__lte=now)
        .order_by("not_before", "pk")
        .values_list("pk", flat=True)[:most]
    )
    sent = 0
    for pk in list(waiting):
        mine = (
            Notification.objects.visible_to(ALERTS)
            .filter(pk=pk, not_before__lte=now)
            .exclude(state__in=[NotificationState.SENT, NotificationState.FAILED])
        )
        if not mine.update(state=NotificationState.SENDING, not_before=now + SEND_LEASE, attempts=F("attempts") + 1):
            continue  # another worker has it
        sent += _send_one(Notification.objects.visible_to(ALERTS).select_related("route").get(pk=pk), now, send)
    return sent


def _follow(check: Check, now: datetime, *, look_again: bool) -> Alert | None:
    return run(_case(check, now, look_again=look_again)).alert


def _case(check: Check, now: datetime, *, look_again: bool) -> Case:
    device = check.device
    alert = (
        Alert.objects.visible_to(ALERTS)
        .filter(device=device, kind=check.kind, target=check.target)
        .exclude(state=AlertState.CLEARED)
        .first()
    )
    return Case(
        check=check,
        now=now,
        alert=alert,
        passed_before=check.answered == Status.PASS,
        changes=_changes(check, now),
        window=window_now(scope=ALERTS, site_id=device.site_id, device_id=device.pk, now=now),
        device_is_offline=_is_offline(device),
        group_told_at=_group_told_at(check),
        possible_routes=tuple(_routes_of(device.client)),
        look_again=look_again,
    )


def _changes(check: Check, now: datetime) -> int:
    """How often the check changed between passing and not, lately. Its first judgement is no change."""
    changes = CheckChange.objects.visible_to(ALERTS).filter(check_row=check, at__gt=now - FLAPPING_SPAN).exclude(old="")
    passing = [Status.PASS.value, GONE]
    return int(changes.filter(Q(old__in=passing) ^ Q(new__in=passing)).count())


def _is_offline(device: Device) -> bool:
    problems = [status.value for status in Status if status.is_problem]
    offline = Check.objects.visible_to(ALERTS).filter(device=device, kind=OFFLINE_KIND, status__in=problems)
    return bool(offline.exists())


def _group_told_at(check: Check) -> datetime | None:
    group = group_of(device_id=check.device_id, kind=check.kind, target=check.target)
    told = (
        Notification.objects.visible_to(ALERTS)
        .filter(alert__group=group, alert__state=AlertState.OPEN)
        .order_by("-made_at")
        .values_list("made_at", flat=True)
        .first()
    )
    found: datetime | None = told
    return found


def _routes_of(client: Client) -> list[NotificationRoute]:
    return list(
        NotificationRoute.objects.visible_to(ALERTS)
        .filter(Q(client=None) | Q(client=client), enabled=True)
        .order_by("pk")
    )


def _release_after_offline(device: Device, now: datetime) -> None:
    """Look again at what was muted because the device was offline."""
    waiting = Alert.objects.visible_to(ALERTS).filter(device=device, state=AlertState.MUTED, muted_until=None)
    for alert in waiting.select_related("check_row__device__client", "check_row__device__site"):
        _follow(alert.check_row, now, look_again=True)


def _look_again(pk: int, now: datetime) -> bool:
    alert = (
        Alert.objects.visible_to(ALERTS)
        .exclude(state=AlertState.CLEARED)
        .select_related("check_row__device__client", "check_row__device__site", "device__client")
        .select_for_update(of=("check_row",), no_key=True)
        .filter(pk=pk)
        .first()
    )
    if alert is None:
        return False  # it cleared since it was listed
    state = alert.state
    after = _follow(alert.check_row, now, look_again=True)
    return after is not None and after.state != state


def _send_one(notification: Notification, now: datetime, send: Sender) -> bool:
    problem = ""
    try:
        if notification.route is None:
            problem = "the route was removed"
        elif not send(notification.route.url, notification.title, notification.text):
            problem = "not delivered: the service refused it or could not be reached"
    except Exception as error:  # noqa: BLE001 - recorded, shown and tried again
        # Whatever a notification service throws: the alert stands, the failure is shown, and the next one is sent.
        # Only the type is kept, for the message may hold the address and with it a secret.
        log.warning("notification %s: %s", notification.pk, type(error).__name__)
        problem = f"not delivered: {type(error).__name__}"
    if not problem:
        notification.state, notification.sent_at, notification.result = NotificationState.SENT, now, "delivered"
    elif notification.attempts >= MOST_ATTEMPTS or notification.route is None:
        notification.state, notification.result = NotificationState.FAILED, problem
    else:
        notification.state, notification.result = NotificationState.WAITING, problem
        notification.not_before = now + FIRST_RETRY * 2 ** (notification.attempts - 1)
    notification.save(update_fields=["state", "sent_at", "result", "not_before"])
    return not problem
