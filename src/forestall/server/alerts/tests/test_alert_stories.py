"""What becomes of a check that changes, from 09:00 on."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from forestall.server.alerts import queries
from forestall.server.alerts.models import NotificationRoute
from forestall.server.alerts.tests.desk_world import CLEARED, MUTED, OPEN, SYSTEM, World
from forestall.server.calendar.services import window_create, window_end
from forestall.server.checks.result import Risk
from forestall.server.evidence.models import Entry

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(db) -> World:
    return World()


def test_a_failing_check_raises_and_its_pass_clears(world: World) -> None:
    world.at("09:00").report("pass")
    assert world.state() == "none"
    world.at("09:05").report("fail", "/ is 93 % full")
    alert = world.alert()
    assert (alert.state, alert.reason, alert.raised_at) == (OPEN, "/ is 93 % full", world.now)
    world.at("09:30").report("pass", "/ is 61 % full")
    alert = world.alert()
    assert (alert.state, alert.cleared_because) == (CLEARED, "/ is 61 % full")
    assert world.heard == ["alert.raised", "alert.cleared"]
    kinds = [entry.kind for entry in Entry.objects.visible_to(SYSTEM).order_by("index")]
    assert kinds == ["alert:raised", "alert:cleared"]


def test_the_same_answer_again_raises_nothing_more(world: World) -> None:
    world.at("09:00").report("fail", "93 %")
    world.at("09:01").report("fail", "94 %")
    assert world.heard == ["alert.raised"]


def test_a_first_answer_that_fails_raises(world: World) -> None:
    world.at("09:00").report("fail")
    assert world.state() == OPEN


def test_worse_is_told_again_and_better_is_not(world: World) -> None:
    world.telephone()
    world.at("09:00").report("warn", "82 %")
    assert world.send() == ["WARN: Disk space: / on web-01"]
    world.at("09:10").report("fail", "91 %")
    assert world.send() == ["Worse, FAIL: Disk space: / on web-01"]
    world.at("09:20").report("warn", "89 %")
    assert world.send() == []
    alert = world.alert()
    assert (alert.state, alert.reason, alert.status) == (OPEN, "89 %", "fail")


class TestUnknownAndStale:
    def test_unknown_that_never_passed_is_no_alert(self, world: World) -> None:
        world.at("09:00").report("unknown", "no SMART on a virtual disk", kind="disk_health", target="vda")
        world.at("18:00")
        assert world.state("disk_health", "vda") == "none"

    def test_unknown_after_a_pass_is_an_alert_once_it_persists(self, world: World) -> None:
        world.at("09:00").report("pass", kind="backup_age", target="restic")
        world.at("09:10").report("unknown", kind="backup_age", target="restic")
        assert world.state("backup_age", "restic") == MUTED
        assert world.at("10:09").state("backup_age", "restic") == MUTED
        assert world.at("10:10").state("backup_age", "restic") == OPEN

    def test_unknown_that_passes_within_the_hour_was_never_told(self, world: World) -> None:
        world.at("09:00").report("pass")
        world.at("09:10").report("unknown")
        world.at("09:40").report("pass")
        assert world.state() == CLEARED
        assert world.heard == []

    def test_unknown_is_no_pass_and_clears_nothing(self, world: World) -> None:
        world.at("09:00").report("fail")
        world.at("09:10").report("unknown")
        world.at("09:20").report("stale")
        assert world.state() == OPEN

    def test_stale_alone_raises_nothing(self, world: World) -> None:
        world.at("09:00").report("pass")
        world.at("09:10").report("stale")
        assert world.at("23:00").state() == "none"

    def test_a_muted_alert_that_goes_stale_waits_on(self, world: World) -> None:
        world.at("09:00").report("pass")
        world.at("09:10").report("unknown")
        world.at("09:30").report("stale")
        assert world.at("12:00").state() == MUTED
        world.at("12:30").report("fail")
        assert world.state() == OPEN


class TestMaintenanceWindow:
    def window(self, world: World, **more):
        return window_create(
            site=world.munich, name="Move", starts_on=date(2026, 11, 23), starts_at="09:00", minutes=60, scope=SYSTEM,
            now=world.now, **more,
        )  # fmt: skip

    def test_nobody_is_told_while_it_is_open_and_all_are_when_it_ends(self, world: World) -> None:
        self.window(world)
        world.at("09:05").report("fail")
        alert = world.alert()
        assert (alert.state, alert.muted_because) == (MUTED, "maintenance window: Move")
        assert world.heard == []
        assert world.at("09:59").state() == MUTED
        assert world.at("10:00").state() == OPEN
        assert world.alert().first_seen_at < world.alert().raised_at

    def test_what_passes_before_it_ends_was_never_an_alert(self, world: World) -> None:
        self.window(world)
        world.at("09:05").report("fail")
        world.at("09:50").report("pass")
        world.at("11:00")
        assert world.state() == CLEARED
        assert world.heard == []
        assert not Entry.objects.visible_to(SYSTEM).exclude(kind="window:changed").exists()

    def test_a_window_of_one_device_mutes_no_other(self, world: World) -> None:
        self.window(world, device_id=world.reception.pk)
        world.at("09:05").report("fail")
        assert world.state() == OPEN

    def test_ending_it_early_lets_the_next_failure_through(self, world: World) -> None:
        window = self.window(world)
        world.at("09:05")
        window_end(window=window, scope=SYSTEM, now=world.now)
        world.at("09:06").report("fail")
        assert world.state() == OPEN


class TestFlapping:
    def flap(self, world: World, times: int) -> None:
        for _ in range(times):
            world.after(minutes=1).report("fail")
            world.after(minutes=1).report("pass")

    def test_a_flapping_check_has_to_hold_still_before_it_clears(self, world: World) -> None:
        world.at("09:00").report("pass")
        self.flap(world, 2)
        world.after(minutes=1).report("fail")
        assert world.state() == OPEN
        world.after(minutes=1).report("pass")  # the sixth change
        assert world.state() == OPEN
        assert world.after(minutes=4).state() == OPEN
        assert world.after(minutes=1).state() == CLEARED

    def test_it_fails_again_while_it_should_hold_still(self, world: World) -> None:
        world.at("09:00").report("pass")
        self.flap(world, 3)
        assert world.state() == OPEN
        world.after(minutes=1).report("fail")
        assert world.after(minutes=10).state() == OPEN
        assert world.alert().clears_at is None

    def test_endless_flapping_is_an_alert_in_the_end(self, world: World) -> None:
        world.at("09:00").report("pass")
        states = set()
        for _ in range(40):
            world.after(minutes=2).report("fail")
            states.add(world.state())
            world.after(minutes=2).report("pass")
        assert OPEN in states
        told = world.heard.count("alert.raised")
        assert told <= 4, f"told {told} times of one flapping check"

    def test_a_few_changes_are_no_flapping(self, world: World) -> None:
        world.at("09:00").report("pass")
        self.flap(world, 2)
        assert world.state() == CLEARED


class TestOfflineDevice:
    def test_only_the_offline_alert_speaks(self, world: World) -> None:
        world.at("09:00").report("pass")
        world.report("fail", kind="offline", target="", risk="critical")
        world.at("09:05").report("fail", kind="antivirus", target="clamav")
        alert = world.alert("antivirus", "clamav")
        assert (alert.state, alert.muted_because, alert.muted_until) == (MUTED, "the device is offline", None)
        assert world.state("offline", "") == OPEN

    def test_what_is_still_wrong_when_it_is_back_is_told_then(self, world: World) -> None:
        world.at("09:00").report("fail", kind="offline", target="")
        world.at("09:05").report("fail", kind="antivirus", target="clamav")
        world.report("fail", kind="disk_space")
        world.at("12:00")
        assert world.state("antivirus", "clamav") == MUTED
        world.at("13:00").report("pass", kind="disk_space")
        world.report("pass", kind="offline", target="")
        assert world.state("antivirus", "clamav") == OPEN
        assert world.state() == CLEARED

    def test_another_device_is_not_muted(self, world: World) -> None:
        world.at("09:00").report("fail", kind="offline", target="")
        world.report("fail", device=world.reception)
        assert world.state(device=world.reception) == OPEN

    def test_what_was_raised_before_stays_raised(self, world: World) -> None:
        world.at("09:00").report("fail")
        world.at("09:05").report("fail", kind="offline", target="")
        assert world.state() == OPEN


class TestNotifications:
    def test_a_route_hears_of_its_client_and_risk_only(self, world: World) -> None:
        world.telephone(Risk.HIGH, name="all")
        world.telephone(Risk.LOW, client=world.bolt, name="bolt")
        world.at("09:00").report("fail", risk="medium")
        assert world.send() == []
        world.report("fail", device=world.leeds_box, risk="medium")
        assert [one.sent_to.split()[0] for one in world.notifications()] == ["bolt"]
        world.report("fail", kind="cpu", target="", risk="critical")
        assert [one.sent_to.split()[0] for one in world.notifications()] == ["bolt", "all"]

    def test_a_switched_off_route_hears_nothing(self, world: World) -> None:
        route = world.telephone()
        NotificationRoute.objects.visible_to(SYSTEM).filter(pk=route.pk).update(enabled=False)
        world.at("09:00").report("fail")
        assert world.notifications() == []

    def test_alerts_of_one_group_are_one_message(self, world: World) -> None:
        world.telephone()
        world.at("09:00").report("fail", kind="open_socket", target="tcp/3306")
        world.report("fail", kind="open_socket", target="tcp/6379")
        world.report("fail", kind="disk_space", target="/")
        world.report("fail", kind="disk_space", target="/var")
        assert len(world.send()) == 3  # the sockets are one piece of work, the volumes are two
        world.at("09:30").report("fail", kind="open_socket", target="tcp/9200")
        assert len(world.send()) == 1  # half an hour later it is news again

    def test_cleared_is_told_to_those_who_heard_it_begin(self, world: World) -> None:
        world.at("09:00").report("fail")
        world.telephone()
        world.at("09:10").report("pass")
        assert world.send() == []
        world.at("10:00").report("fail", "95 %")
        world.at("10:20").report("pass", "50 %")
        assert world.send() == ["FAIL: Disk space: / on web-01", "Cleared: Disk space: / on web-01"]
        assert world.sent[1][2] == "50 %"

    def test_nothing_is_sent_twice(self, world: World) -> None:
        world.telephone()
        world.at("09:00").report("fail")
        assert len(world.send()) == 1
        assert world.send() == []
        assert world.notifications()[0].result == "delivered"


def test_what_one_may_see(world: World) -> None:
    world.at("09:00").report("fail")
    world.report("fail", device=world.leeds_box)
    world.telephone(client=world.acme, name="acme")
    leeds = world.leeds
    charlie = SYSTEM.at("charlie", 3, SYSTEM.permissions, sites={leeds.pk: leeds.client_id})
    assert [alert.device.name for alert in queries.alerts_open(scope=charlie)] == ["leeds-01"]
    assert not queries.alerts_muted(scope=charlie).exists()
    assert not queries.routes(scope=charlie).exists()
    assert not queries.notifications(scope=charlie).exists()


def test_the_change_and_all_that_follows_commit_together(world: World, monkeypatch) -> None:
    """V7: a failure at the last step leaves no alert behind."""

    def refuse(**_anything) -> None:
        raise RuntimeError("the log is full")

    monkeypatch.setattr("forestall.server.alerts.stages.evidence_append", refuse)
    world.telephone()
    with pytest.raises(AssertionError, match="the log is full"):
        world.at("09:00").report("fail")
    assert world.state() == "none"
    assert world.notifications() == []


def test_a_late_event_follows_the_check_as_it_is(world: World) -> None:
    from forestall.server.alerts.services import alert_follow
    from forestall.server.checks.models import CheckChange

    world.at("09:00").report("fail")
    world.after(seconds=30).report("pass")
    first = CheckChange.objects.visible_to(SYSTEM).order_by("pk").first()
    assert alert_follow(change=first, now=world.now + timedelta(minutes=1)) is None
    assert world.state() == CLEARED
