"""The one schedule table: everything the server does without being asked, and how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from forestall.server.access.services import reviews_tick
from forestall.server.alerts.services import alerts_tick, notifications_send
from forestall.server.api.once import answers_forget
from forestall.server.backup.schedule import backup_tick
from forestall.server.checks.services import checks_judge_due
from forestall.server.configuration.services import deviations_expire
from forestall.server.evidence.services import checkpoints_sign
from forestall.server.health.services import health_tick
from forestall.server.home import Home
from forestall.server.intake.apply import journal_apply
from forestall.server.loop import HANDLERS
from forestall.server.metrics.store import Store
from forestall.server.outbox.services import events_route
from forestall.server.patching.installing import deployments_deploy
from forestall.server.patching.obligation_services import obligations_refresh
from forestall.server.patching.rollouts import rollouts_tick
from forestall.server.patching.services import deployments_tick
from forestall.server.recovery.services import recovery_tick, restore_tests_schedule
from forestall.server.runbooks.services import jobs_expire, orders_consider_waiting
from forestall.server.tickets.mail import client_mails_send
from forestall.server.tickets.services import tickets_tick
from forestall.server.tickets.windows import window_notices_send
from forestall.server.transfer.leaving import samples_forget
from forestall.server.vulnerabilities.services import feeds_tick, vulnerabilities_tick
from forestall.server.webhooks.services import deliveries_forget, deliveries_send
from forestall.trust.keys import private_key


@dataclass(frozen=True, slots=True)
class Context:
    """What scheduled work needs from outside."""

    home: Home
    store: Store


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    every_seconds: float
    run: Callable[[Context, datetime], object]


def forget(context: Context, now: datetime) -> int:
    return deliveries_forget(now=now) + answers_forget(now=now)


def sign_checkpoints(context: Context, now: datetime) -> int:
    return checkpoints_sign(now=now, log_key=private_key(context.home.log_key.read_bytes()))


SCHEDULE: tuple[Line, ...] = (
    Line("apply check-ins", 0.3, lambda c, now: journal_apply(home=c.home, store=c.store, now=now)),
    Line("route events", 0.3, lambda c, now: events_route(table=HANDLERS, now=now)),
    Line("judge what is due", 5, lambda c, now: checks_judge_due(now=now)),
    Line("raise and clear alerts that waited", 5, lambda c, now: alerts_tick(now=now)),
    Line("send notifications", 5, lambda c, now: notifications_send(now=now)),
    Line("send mail to clients' people", 5, lambda c, now: client_mails_send(now=now)),
    Line("tell clients' people of planned work", 60, lambda c, now: window_notices_send(now=now)),
    Line("keep tickets' clocks", 15, lambda c, now: tickets_tick(now=now)),
    Line("consider standing orders again", 15, lambda c, now: orders_consider_waiting(now=now)),
    Line("deploy in open windows", 15, lambda c, now: deployments_deploy(now=now)),
    Line("follow deployments", 15, lambda c, now: deployments_tick(now=now)),
    Line("follow rollouts", 30, lambda c, now: rollouts_tick(now=now)),
    Line("keep the clocks of obligations", 300, lambda c, now: obligations_refresh(now=now)),
    Line("test restores in open windows", 60, lambda c, now: restore_tests_schedule(now=now)),
    Line("follow protected systems", 300, lambda c, now: recovery_tick(now=now)),
    Line("begin access reviews and remind of them", 300, lambda c, now: reviews_tick(now=now)),
    Line("run the health of clients whose morning has come", 60, lambda c, now: health_tick(now=now)),
    Line("count again where deviations ended", 300, lambda c, now: deviations_expire(now=now)),
    Line("expire jobs", 30, lambda c, now: jobs_expire(now=now)),
    Line("tell other programs", 1, lambda c, now: deliveries_send(now=now)),
    Line("forget what was told and answered long ago", 3600, forget),
    Line("sign checkpoints", 20, sign_checkpoints),
    Line("take feeds of advisories", 15, lambda c, now: feeds_tick(home=c.home, now=now)),
    Line("match software with advisories", 5, lambda c, now: vulnerabilities_tick(home=c.home, now=now)),
    Line("back up", 30, lambda c, now: backup_tick(home=c.home, now=now)),
    Line("forget removed clients' samples", 300, lambda c, now: samples_forget(store=c.store)),
    Line("compact samples", 300, lambda c, now: c.store.compact(now=now)),
)
