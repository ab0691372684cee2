"""A device's life, as its server sees it."""

from __future__ import annotations

import itertools
from datetime import timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forestall.agent.config import Limits
from forestall.agent.tests.standin import CLIENT, DEVICE, signed
from forestall.agent.tests.world import World, job_signed
from forestall.trust.keys import private_key
from forestall.trust.statements import JobResult
from forestall.wire.facts import Sshd, System
from forestall.wire.refusals import RefusalCode


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "agent")


def exactly_once(world):
    """Every sample that was read arrived once, in the order in which it was read."""
    return world.server.sample_times == world.machine.read_at


def numbered_without_holes(world):
    return [message.sequence for message in world.server.taken] == list(range(1, world.server.expected))


def test_a_new_device_checks_in_at_once_with_samples_and_all_facts(world):
    world.settle()
    assert sorted(world.server.documents_taken) == ["scheduled", "sshd", "system"]
    assert exactly_once(world)
    assert world.spool.depth == 0


def test_it_samples_and_checks_in_once_a_minute(world):
    world.run(3600)
    assert 60 <= len(world.machine.read_at) <= 62
    assert exactly_once(world)
    assert len(world.server.taken) <= 63


def test_devices_call_in_different_seconds_of_the_minute(tmp_path):
    world = World(tmp_path / "a")
    world.run(600)
    seconds = {(time // 1000) % 60 for time in world.machine.read_at[1:]}
    assert len(seconds) == 1  # always the same second, which the device's id decides


def test_names_of_series_travel_once_a_session(world):
    world.run(1800)
    assert sum(1 for message in world.server.taken if message.samples and message.samples.names) == 1
    world.run(3600)
    assert sum(1 for message in world.server.taken if message.samples and message.samples.names) == 2


def test_a_long_check_in_interval_gathers_samples_of_each_minute(world):
    world.server.interval = 300
    world.run(3600)
    blocks = [message.samples for message in world.server.taken if message.samples]
    assert max(len(block.times) for block in blocks) == 5
    world.agent.ask()
    world.settle()
    assert exactly_once(world)


def test_a_volume_that_appears_makes_a_new_catalogue(world):
    world.server.interval = 300
    world.run(400)
    world.machine.names = (*world.machine.names, "disk.used_percent{volume=/backup}")
    world.run(1200)
    world.agent.ask()
    world.settle()
    assert exactly_once(world)
    assert len({message.samples.catalogue for message in world.server.taken if message.samples}) == 2


@pytest.fixture
def unhurried(tmp_path):
    """A device that checks in every five minutes: days of it take seconds."""
    world = World(tmp_path / "agent", limits=Limits(sample_seconds=300))
    world.server.interval = 300
    return world


def test_offline_for_five_days_everything_arrives_in_order_once(unhurried):
    world = unhurried
    world.run(300)
    world.server.fault = "down"
    world.run(5 * 86400)
    assert world.spool.depth > 1400
    world.server.fault = ""
    world.run(300)
    assert world.spool.depth == 0
    assert exactly_once(world)
    assert numbered_without_holes(world)


def test_offline_for_ten_days_the_gap_is_on_record_and_the_rest_arrives(unhurried):
    world = unhurried
    world.run(300)
    world.server.fault = "down"
    world.machine.documents["sshd"] = Sshd(settings={"port": "2222"})
    world.run(10 * 86400)
    world.server.fault = ""
    world.run(600)
    assert numbered_without_holes(world)
    assert {notice.event for notice in world.server.notices} == {"spool_gap"}
    # The check-in that was under way when the line broke had its number: it is refused as too old, the rest dropped.
    gaps = [message.gap for message in world.server.taken if message.gap]
    lost = [time for time in world.machine.read_at if time not in set(world.server.sample_times)]
    assert sum(gap.check_ins for gap in gaps) == len(lost) >= 3 * 288 - 10
    assert min(round(gap.first.timestamp() * 1000) for gap in gaps) == min(lost)
    assert max(round(gap.last.timestamp() * 1000) for gap in gaps) == max(lost)
    # The changed document is not lost with the samples beside which it was spooled.
    assert world.server.documents_taken.count("sshd") == 2


def test_a_full_spool_drops_samples_and_keeps_records(tmp_path):
    world = World(tmp_path / "agent", limits=Limits(spool_bytes=60_000))
    world.run(120)
    world.server.fault = "down"
    result = result_of("job-1")
    world.do_jobs = lambda documents, commands, settled, tell: tell(job_signed(b"r" * 32, result))
    world.agent._to_run = ([], [])
    world.run(86400)
    assert world.spool.bytes_waiting <= 60_000
    world.server.fault = ""
    world.run(600)
    assert [one.job_id for one in world.server.results] == ["job-1"]
    assert [notice.event for notice in world.server.notices] == ["spool_gap"]
    assert numbered_without_holes(world)


def result_of(job_id):
    from forestall.agent.tests.standin import START
    from forestall.agent.tests.world import KEY

    return signed(
        JobResult(
            job_id=job_id,
            device_id=DEVICE,
            client_id=CLIENT,
            outcome="succeeded",
            code="done",
            detail="",
            runbook="",
            started_at=START,
            finished_at=START,
            steps=(),
        ),
        private_key(KEY),
    )


def test_a_changed_document_goes_out_within_a_minute_and_an_unchanged_one_does_not(world):
    world.run(600)
    world.machine.documents["sshd"] = Sshd(settings={"permitrootlogin": "yes"})
    world.run(61)
    assert world.server.documents_taken.count("sshd") == 2
    assert world.server.documents_taken.count("system") == 1
    assert not [one for message in world.server.taken for one in message.affirmed]


def test_unchanged_facts_are_affirmed_daily(world):
    world.run(3 * 86400)
    affirmed = [one.name for message in world.server.taken for one in message.affirmed]
    assert {name: affirmed.count(name) for name in set(affirmed)} == {"system": 2, "sshd": 2, "scheduled": 2}
    assert world.server.documents_taken.count("system") == 1


def test_a_broken_collector_loses_only_its_own_document(world):
    world.machine.broken = {"sshd"}
    world.run(120)
    assert sorted(world.server.documents_taken) == ["scheduled", "system"]
    world.machine.broken = set()
    world.run(700)
    assert "sshd" not in world.server.documents_taken  # tried again, but not every minute
    world.run(300)
    assert "sshd" in world.server.documents_taken


def test_a_document_that_the_server_lost_is_sent_whole_again_once(world):
    world.run(120)
    world.server.resend_facts = ["system", "of_a_later_version"]
    world.run(180)
    world.server.resend_facts = []
    world.run(600)
    assert world.server.documents_taken.count("system") == 2


def test_a_trigger_that_never_rests_is_followed_a_few_times_and_then_rarely(world, monkeypatch):
    from forestall.agent import facts

    # Collecting takes no time here: let it count as one that takes 0.1 s.
    original = facts.FactsPlan.done
    monkeypatch.setattr(
        facts.FactsPlan, "done", lambda self, found: original(self, msgspec.structs.replace(found, seconds=0.1))
    )
    world.run(30)
    for port in range(120):
        world.machine.documents["sshd"] = Sshd(settings={"port": str(port)})
        world.run(60)
    # Two hours, one time in ten minutes, and the burst at the beginning.
    assert 11 <= world.machine.looked.count("sshd") <= 16
    world.run(3600)
    world.machine.documents["sshd"] = Sshd(settings={"port": "quiet again"})
    before = world.machine.looked.count("sshd")
    world.run(61)
    assert world.machine.looked.count("sshd") == before + 1


def test_a_pending_device_keeps_what_it_has_seen_until_it_is_approved(world):
    world.server.status = "pending"
    world.run(3600)
    assert world.server.taken == []
    world.server.status = "approved"
    world.run(180)
    assert exactly_once(world)


def test_a_revoked_device_calls_rarely(world):
    world.run(60)
    world.server.status = "revoked"
    before = len(world.server.requests)
    world.run(3600)
    assert len(world.server.requests) - before <= 12
    assert "device_revoked" in world.agent.status.last_refusal


def test_while_the_server_is_down_attempts_become_rarer_but_never_rarer_than_two_minutes(world):
    world.run(60)
    tries = []
    world.server.fault = "down"
    original = world.server.request
    world.server.request = lambda *a, **k: (tries.append(world.clock.seconds), original(*a, **k))[1]
    world.run(7200)
    waits = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert max(waits) <= 120
    assert waits[-1] >= 60
    assert waits[0] < 10


def test_a_session_is_renewed_before_it_ends(world):
    world.run(4 * 3600)
    assert world.server.refused == []
    assert world.server.requests.count("/v1/session") == 5


def test_a_server_that_forgot_its_sessions_is_met_with_a_new_one(world):
    world.run(120)
    world.server.forget_sessions()
    world.run(120)
    assert world.server.refused == [RefusalCode.SESSION_UNKNOWN]
    assert exactly_once(world)


def test_a_server_that_forgot_the_names_is_told_them_again(world):
    world.run(120)
    world.server.forget_catalogues()
    world.run(120)
    assert world.server.refused == [RefusalCode.CATALOGUE_UNKNOWN]
    assert exactly_once(world)


def test_a_server_restored_from_a_backup_is_followed_and_that_is_on_record(world):
    world.run(1200)
    world.server.restore(expected=5)
    world.run(300)
    assert numbered_without_holes(world)
    assert [notice.event for notice in world.server.notices] == ["counter_reset"]
    # All facts are sent whole again: the restored server may not hold them.
    assert world.server.documents_taken.count("system") in {1, 2}
    assert world.machine.read_at[-1] in world.server.sample_times


def test_a_server_that_is_behind_within_a_session_is_followed_too(world):
    world.run(600)
    world.server.expected = 3
    world.server.taken = world.server.taken[:2]
    world.run(300)
    assert RefusalCode.SEQUENCE_AHEAD in world.server.refused
    assert [notice.event for notice in world.server.notices] == ["counter_reset"]
    assert numbered_without_holes(world)


def test_what_the_server_will_never_take_is_set_aside_and_does_not_block_the_rest(world):
    world.run(300)
    world.server.fault = "down"
    world.run(300)
    bad = world.machine.read_at[-3]
    world.server.refuse = lambda message: (
        RefusalCode.MALFORMED if message.samples and bad in message.samples.times else None
    )
    world.server.fault = ""
    world.run(300)
    assert world.server.sample_times == [time for time in world.machine.read_at if time != bad]
    (notice,) = world.server.notices
    assert notice.event == "spool_gap"
    assert "malformed" in notice.detail
    assert world.spool.set_aside_count() == 1
    assert numbered_without_holes(world)


def test_records_of_a_check_in_that_is_set_aside_still_arrive(world):
    world.run(120)
    world.server.fault = "down"
    world.agent._add(world.link.draft(records=[result_of("job-7")], affirmed=[], gap=None, documents=["sshd"]))
    draft = world.link.draft(
        records=[result_of("job-8")],
        samples=None,
        gap=None,
        affirmed=[],
    )
    world.spool.add(draft)
    world.server.refuse = lambda message: RefusalCode.TOO_LARGE if message.facts else None
    world.server.fault = ""
    world.run(300)
    assert [one.job_id for one in world.server.results] == ["job-7", "job-8"]


def test_a_foreign_record_is_set_aside_for_good_and_nothing_wedges(world):
    from forestall.trust.keys import new_key

    world.run(120)
    foreign = signed(world.server.read_record(result_of("x")), new_key())
    world.spool.add(world.link.draft(records=[foreign, result_of("mine")]))
    world.run(300)
    assert world.spool.depth == 0
    assert exactly_once(world)
    assert numbered_without_holes(world)
    assert world.spool.set_aside_count() >= 1


def test_a_server_that_takes_nothing_at_all_is_waited_for(world):
    world.run(120)
    world.server.refuse = lambda _message: RefusalCode.MALFORMED
    world.run(7200)
    world.server.refuse = lambda _message: None
    world.run(300)
    assert world.spool.depth == 0
    assert numbered_without_holes(world)
    assert world.machine.read_at[-1] == world.server.sample_times[-1]


def test_check_ins_older_than_the_server_takes_lose_their_samples_but_not_their_records(world):
    world.run(120)
    world.server.fault = "down"
    world.spool.add(world.link.draft(records=[result_of("job-9")]))
    world.machine.documents["sshd"] = Sshd(settings={"port": "99"})
    world.run(120)
    world.spool.close()
    world.clock.advance(9 * 86400)  # switched off
    world.agent = world._start()
    world.server.fault = ""
    world.run(300)
    assert [one.job_id for one in world.server.results] == ["job-9"]
    assert world.server.documents_taken.count("sshd") == 2
    assert numbered_without_holes(world)
    assert world.spool.depth == 0


def test_a_clock_that_is_ahead_delays_and_one_set_right_again_mends(world):
    world.run(300)
    right = world.clock.now()
    world.clock.set(right + timedelta(hours=2))
    server_clock = type("C", (), {"now": lambda _self: world.clock.now() - timedelta(hours=2)})()
    world.server.clock = server_clock
    world.run(600)
    assert set(world.server.refused) == {RefusalCode.FROM_THE_FUTURE}
    world.clock.set(right + timedelta(seconds=600))
    world.server.clock = world.clock
    world.run(600)
    assert world.spool.depth == 0
    events = [notice.event for notice in world.server.notices]
    assert events.count("clock_stepped") >= 1
    assert "spool_gap" in events
    assert world.machine.read_at[-1] == world.server.sample_times[-1]


def test_a_job_is_started_once_however_often_it_is_delivered(world):
    world.server.jobs, world.server.documents = [b"job"], [b"runbook"]
    world.run(300)
    started = [commands for _, commands, _ in world.commands if commands]
    assert started == [[b"job"]]
    world.run(900)
    assert len([commands for _, commands, _ in world.commands if commands]) == 2


def test_a_result_is_sent_once_and_settled_after_it_is_in_the_spool(world):
    waiting = {b"r" * 32: result_of("job-1")}

    def work(documents, commands, settled, tell):
        for digest in settled:
            waiting.pop(digest, None)
        for digest, envelope in waiting.items():
            tell(job_signed(digest, envelope, ["sshd"]))

    world.do_jobs = work
    world.settle()
    assert [one.job_id for one in world.server.results] == ["job-1"]
    assert waiting == {}
    # What the runbook changes is collected again at once, and affirmed even though it is the same.
    assert "sshd" in [one.name for message in world.server.taken for one in message.affirmed]
    world.run(300)
    assert len(world.server.results) == 1


def test_a_result_told_again_after_a_crash_is_not_sent_again(world):
    world.do_jobs = lambda documents, commands, settled, tell: tell(job_signed(b"r" * 32, result_of("job-1")))
    world.settle()
    world.restart()
    world.run(120)
    assert len(world.server.results) == 1


def test_a_person_who_asks_gets_a_check_in_at_once_even_while_attempts_are_paused(world):
    world.run(90)
    world.server.fault = "down"
    world.run(3600)
    world.server.fault = ""
    asked = world.agent.status.asked
    world.machine.documents["sshd"] = Sshd(settings={"port": "1"})
    world.agent.ask()
    world.settle()
    assert world.agent.status.asked == asked + 1
    assert world.agent.status.failures == 0
    assert world.server.documents_taken.count("sshd") == 2


def test_a_person_who_asks_in_vain_is_told_why(world):
    world.run(90)
    world.server.fault = "down"
    world.agent.ask()
    world.settle()
    assert world.agent.status.asked == 1
    assert "down" in world.agent.status.last_refusal


def test_samples_that_cannot_be_read_leave_the_heartbeat(world):
    def broken():
        raise OSError("no /proc")

    world.machine.read = broken
    world.run(600)
    assert len(world.server.taken) >= 10


step = st.one_of(
    st.tuples(st.just("run"), st.floats(1, 400)),
    st.tuples(st.just("fault"), st.sampled_from(["", "down", "lose_request", "lose_answer"])),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(st.just("forget_sessions"), st.none()),
    st.tuples(st.just("forget_catalogues"), st.none()),
    st.tuples(st.just("volume"), st.integers(0, 3)),
    st.tuples(st.just("sshd"), st.integers(0, 3)),
    st.tuples(st.just("overload"), st.booleans()),
    st.tuples(st.just("stop"), st.none()),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(step, max_size=25))
def test_whatever_fails_and_whenever_it_restarts_nothing_is_lost_or_doubled(tmp_path_factory, steps):
    world = World(tmp_path_factory.mktemp("world") / "agent")
    for what, value in steps:
        if what == "run":
            world.run(value)
        elif what == "fault":
            world.server.fault = value
        elif what == "restart":
            # What was read but not yet in the spool is lost with the power: a sample is in the spool at once
            # here, because each is followed by its check-in.
            world.settle()
            world.restart()
        elif what == "stop":
            world.agent.stop()
            world.clock.advance(1)
            world.agent = world._start()
        elif what == "forget_sessions":
            world.server.forget_sessions()
        elif what == "forget_catalogues":
            world.server.forget_catalogues()
        elif what == "volume":
            world.machine.names = ("load.1m", *(f"disk.used_percent{{volume=/{n}}}" for n in range(value)))
        elif what == "sshd":
            world.machine.documents["sshd"] = Sshd(settings={"port": str(value)})
        elif what == "overload":
            world.server.refuse = lambda _message, on=value: RefusalCode.OVERLOADED if on else None
    world.server.fault = ""
    world.server.refuse = lambda _message: None
    world.run(400)
    assert exactly_once(world)
    assert numbered_without_holes(world)
    assert world.spool.depth == 0
    last = {}
    for message in world.server.taken:
        for report in message.facts:
            last[report.document.name()] = report.document
    assert last == world.machine.documents


def test_the_system_document_is_the_one_that_was_collected(world):
    world.settle()
    (report,) = [one for message in world.server.taken for one in message.facts if one.document.name() == "system"]
    assert isinstance(report.document, System)
    assert report.document.hostname == "till"
