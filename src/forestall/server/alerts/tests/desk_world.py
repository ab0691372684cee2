"""One small world for the desk's tests: Acme in Munich with two devices, Bolt in Leeds with one, and a clock that the
story sets. Checks change as the judging package changes them; everything after that is the product's own code."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import transaction

from forestall.server.alerts import services as alerts
from forestall.server.alerts.models import Alert, AlertState, Notification, NotificationRoute
from forestall.server.alerts.routes import route_create
from forestall.server.checks.models import GONE, Check, CheckChange
from forestall.server.checks.result import Risk, Status
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.outbox.events import Event
from forestall.server.outbox.models import OutboxEvent
from forestall.server.outbox.services import event_record, events_route
from forestall.server.people.models import Client, Site
from forestall.server.people.scope import Scope

SYSTEM = Scope.system("story")
MONDAY = "2026-11-23"


class World:
    """``world.at("09:00").report("fail")`` and what came of it."""

    def __init__(self) -> None:
        self.zone = ZoneInfo("Europe/Berlin")
        self.now = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
        self.acme = Client.objects.create(name="Acme", timezone="Europe/Berlin", country="DE", region="BY")
        self.bolt = Client.objects.create(name="Bolt", timezone="Europe/London", country="GB", region="ENG")
        self.munich = Site.objects.create(client=self.acme, name="Munich")
        self.leeds = Site.objects.create(client=self.bolt, name="Leeds")
        self.web = self._device("web-01", self.munich, "server")
        self.reception = self._device("reception-pc", self.munich, "endpoint")
        self.leeds_box = self._device("leeds-01", self.leeds, "server")
        self.sent: list[tuple[str, str, str]] = []
        self.heard: list[str] = []

    def _device(self, name: str, site: Site, role: str) -> Device:
        return Device.objects.create(
            client=site.client, site=site, name=name, role=role, status=DeviceStatus.APPROVED,
            public_key=hashlib.sha256(name.encode()).digest(), enrolled_at=self.now, approved_at=self.now,
        )  # fmt: skip

    def at(self, text: str) -> World:
        """Set the clock: ``09:00`` (that day), or ``2026-11-24 09:00``; the client's wall clock. Time passes as in
        life: everything that runs on a schedule has run."""
        day = f"{self.now.astimezone(self.zone):%Y-%m-%d}" if len(text) <= 8 else ""
        self.now = datetime.fromisoformat(f"{day} {text}".strip()).replace(tzinfo=self.zone).astimezone(UTC)
        self.tick()
        return self

    def after(self, **span: float) -> World:
        self.now += timedelta(**span)
        self.tick()
        return self

    def tick(self) -> None:
        alerts.alerts_tick(now=self.now)
        self.route()

    def report(
        self,
        status: str,
        reason: str = "",
        *,
        kind: str = "disk_space",
        target: str = "/",
        device: Device | None = None,
        risk: str = "high",
        value: float | None = None,
        unit: str = "",
        late: float = 0,
    ) -> Check:
        """A judgement, as the judging package writes it; a change goes to the outbox, which is read ``late`` seconds
        after."""
        device = device or self.web
        status, reason = Status(status), reason or f"{kind} {target} is {status}"
        with transaction.atomic():
            check = Check.objects.visible_to(SYSTEM).filter(device=device, kind=kind, target=target).first()
            old = check.status if check else ""
            if check is None:
                check = Check(device=device, kind=kind, target=target, since=self.now)
            check.status, check.reason, check.risk, check.value, check.unit = status, reason, risk, value, unit
            if old != status:
                check.since = self.now
            if status is Status.PASS:
                check.problem_since = None
            elif status.is_problem:
                check.problem_since = check.problem_since or self.now
            check.judged_at, check.due_at = self.now, self.now + timedelta(minutes=1)
            check.evidence = ["df -B1"]
            if status in {Status.PASS, Status.WARN, Status.FAIL}:
                check.answered = status
            check.save()
            if old != status:
                change = CheckChange.objects.create(
                    check_row=check, old=old, new=status, reason=reason, value=value, at=self.now
                )
                event_record(
                    event=Event.CHECK_CHANGED, subject=change.pk, at=self.now, detail={"old": old, "new": status},
                )  # fmt: skip
        self.now += timedelta(seconds=late)
        self.route()
        return check

    def vanish(self, *, kind: str = "disk_space", target: str = "/") -> None:
        """The target is no longer on the device: the judging package closes its check so."""
        with transaction.atomic():
            check = Check.objects.visible_to(SYSTEM).get(device=self.web, kind=kind, target=target)
            old, check.status, check.gone_at = check.status, Status.PASS, self.now
            check.reason, check.judged_at = f"No longer on the device: {target}.", self.now
            check.save()
            change = CheckChange.objects.create(check_row=check, old=old, new=GONE, reason=check.reason, at=self.now)
            event_record(event=Event.CHECK_CHANGED, subject=change.pk, at=self.now, detail={"old": old, "new": GONE})
        self.route()

    def table(self) -> dict:
        def check_changed(event: OutboxEvent, now: datetime) -> None:
            alerts.alert_follow_by_id(change_id=event.subject, now=now)

        def hear(event: OutboxEvent, now: datetime) -> None:
            self.heard.append(event.name)

        # What other packages' events do is not this story's business.
        table = {event: [hear] for event in Event}
        table[Event.CHECK_CHANGED] = [check_changed]
        return table

    def route(self) -> None:
        while OutboxEvent.objects.exists():
            done = events_route(table=self.table(), now=self.now)
            failed = OutboxEvent.objects.exclude(last_error="").first()
            assert failed is None, failed.last_error
            assert done, "events that nobody handles"

    def alert(self, kind: str = "disk_space", target: str = "/", device: Device | None = None) -> Alert | None:
        """The newest alert of a condition."""
        found = Alert.objects.visible_to(SYSTEM).filter(device=device or self.web, kind=kind, target=target)
        return found.order_by("-pk").first()

    def state(self, kind: str = "disk_space", target: str = "/", device: Device | None = None) -> str:
        alert = self.alert(kind, target, device)
        return alert.state if alert else "none"

    def telephone(
        self, minimum: Risk = Risk.LOW, client: Client | None = None, name: str = "on call"
    ) -> NotificationRoute:
        return route_create(
            name=name, url="json://user:hunter2secret@localhost:9/hook", minimum_risk=minimum, client=client,
            scope=SYSTEM, now=self.now,
        )  # fmt: skip

    def send(self) -> list[str]:
        """Send what waits; the titles."""
        self.sent.clear()

        def catch(url: str, title: str, text: str) -> bool:
            self.sent.append((url, title, text))
            return True

        alerts.notifications_send(now=self.now, send=catch)
        return [title for _url, title, _text in self.sent]

    def notifications(self) -> list[Notification]:
        return list(Notification.objects.visible_to(SYSTEM).order_by("pk"))


OPEN, MUTED, CLEARED = AlertState.OPEN, AlertState.MUTED, AlertState.CLEARED
