"""V5: a failing ring never promotes. Fault models of simulated fleets, and the rules of a ring one by one."""

from __future__ import annotations

import msgspec
import pytest
from bench.rollout import Rollout, bad_tasks, campaign, fault_models, good_tasks
from hypothesis import given
from hypothesis import strategies as st

from forestall.server.patching.rings import (
    DAY,
    HOUR,
    MINUTE,
    Candidate,
    Finish,
    Halt,
    Observation,
    Promote,
    Tally,
    Terms,
    Wait,
    assign,
    binomial_tail,
    caps,
    judge_device,
    may_touch,
    next_step,
    places_free,
    poisson_tail,
    terms_read,
    too_many,
)

TERMS = Terms()
NOON = 1_800_000_000.0


# --- the campaign ---


@pytest.mark.parametrize("index", range(0, 500, 25))
def test_a_bad_update_halts_before_it_is_past_the_ring_where_it_can_be_seen(index):
    fault = fault_models(500, seed=7, devices=2000)[index]
    outcome = Rollout(fault=fault, seed=f"sample {index}", devices=2000).run()
    assert outcome.halted, outcome
    assert outcome.over_cap <= 0, outcome
    assert outcome.missed == 0, outcome
    assert outcome.touched <= outcome.cap


def test_a_good_update_goes_through_noise_and_all():
    outcomes = [Rollout(fault=None, seed=f"good {index}", devices=1000).run() for index in (1, 2, 3)]
    assert [outcome.halted for outcome in outcomes] == [False, False, False]
    assert all(outcome.ring == 5 and outcome.over_cap <= 0 for outcome in outcomes)


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_500_fault_models_of_10000_devices():
    outcomes = campaign(bad_tasks())
    assert [each for each in outcomes if not each.halted or each.missed or each.over_cap > 0] == []


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_of_500_good_updates_at_most_1_in_100_is_halted():
    outcomes = campaign(good_tasks())
    assert sum(each.halted for each in outcomes) <= 5
    assert all(each.over_cap <= 0 for each in outcomes)


# --- caps and places ---


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (0, []),
        (1, [1]),
        (3, [1, 3]),
        (20, [1, 5, 10, 20]),
        (600, [1, 6, 60, 300, 600]),
        (999, [1, 9, 99, 499, 999]),
        (10_000, [1, 100, 1000, 5000, 10_000]),
    ],
)
def test_a_rings_cap_is_its_share_rounded_down_and_at_least_five(devices, expected):
    assert [ring.most for ring in caps(devices, TERMS)] == expected


@given(st.integers(1, 3000), st.integers(0, 5))
def test_no_ring_holds_more_than_its_cap(total, pilots):
    devices = [Candidate(id=str(index), pilot=index < pilots, groups=(f"site:{index % 7}",)) for index in range(total)]
    placed = assign(devices, TERMS, "seed")
    assert len(placed) == total
    for ring in caps(total, TERMS):
        assert sum(number <= ring.number for number in placed.values()) == ring.most


def test_named_pilots_go_first_then_what_is_always_on_spread_over_sites_and_models():
    devices = [
        Candidate(
            id=str(index),
            pilot=index == 777,
            steady=index % 2 == 0,
            groups=(f"site:{index % 10}", f"model:{'rare' if index in (500, 502) else 'usual'}"),
        )
        for index in range(1000)
    ]
    placed = assign(devices, TERMS, "seed")
    assert placed["777"] == 1
    second = [device for device in devices if placed[device.id] == 2]
    assert all(device.steady for device in second)
    assert len({device.groups[0] for device in second}) == 5, "every site that has a device that is always on"
    assert any("model:rare" in device.groups for device in second)


def test_the_same_devices_in_another_order_get_the_same_rings():
    devices = [Candidate(id=str(index), groups=(f"site:{index % 3}",)) for index in range(200)]
    assert assign(devices, TERMS, "a") == assign(devices[::-1], TERMS, "a")
    assert assign(devices, TERMS, "a") != assign(devices, TERMS, "b")


def test_only_a_member_of_an_open_ring_of_a_running_rollout_is_touched():
    assert may_touch(member_ring=2, open_ring=2, running=True)
    assert not may_touch(member_ring=3, open_ring=2, running=True)
    assert not may_touch(member_ring=1, open_ring=2, running=False)
    assert not may_touch(member_ring=None, open_ring=5, running=True)


def test_a_device_left_out_of_a_strict_ring_makes_room_for_another():
    rings = caps(1000, TERMS)
    assert places_free(rings, 1, {1: Tally(members=1, left_out=1)}, TERMS) == 1
    assert places_free(rings, 2, {2: Tally(members=9, left_out=0)}, TERMS) == 0
    assert places_free(rings, 3, {3: Tally(members=90, left_out=9)}, TERMS) == 0


# --- terms ---


def test_terms_say_which_value_is_bad():
    with pytest.raises(ValueError, match="must not fall"):
        terms_read({"rings": [{"percent": 50}, {"percent": 10}, {"percent": 100}]})
    with pytest.raises(ValueError, match="last ring is 50 %"):
        terms_read({"rings": [{"percent": 1}, {"percent": 50}]})
    with pytest.raises(ValueError, match="silence_minutes"):
        terms_read({"silence_minutes": -1})
    with pytest.raises(ValueError, match="strict_rings"):
        terms_read({"rings": [{"percent": 100}]})
    assert terms_read(msgspec.to_builtins(TERMS)) == TERMS


# --- one device ---


def taken(**known):
    return Observation(**{"touched_at": NOON, "delivered_at": NOON, "last_heard_at": NOON, **known})


def verdict(seen, minutes):
    return judge_device(seen, TERMS, 60, NOON + minutes * MINUTE)


def test_what_was_not_touched_waits_and_what_was_not_taken_has_not_failed():
    assert judge_device(Observation(), TERMS, 60, NOON).state == "waiting"
    assert judge_device(Observation(touched_at=NOON), TERMS, 60, NOON + 9 * DAY).state == "sent"


def test_a_run_that_failed_is_a_failure_and_one_that_changed_nothing_is_left_out():
    assert verdict(taken(outcome="failed", answered_at=NOON), 1).state == "failed"
    assert verdict(taken(outcome="blocked", answered_at=NOON, outcome_why="on battery"), 1).why == "on battery"
    assert verdict(taken(outcome="blocked", answered_at=NOON), 1).state == "left out"


def test_silence_is_failure_of_a_server_and_absence_of_a_notebook():
    assert verdict(taken(), 89).state == "running"
    assert verdict(taken(), 90).state == "silent"
    assert verdict(taken(steady=False), 90).state == "away"
    assert verdict(taken(site_is_silent=True), 90).state == "doubtful", "the line is down for all of the site"


def test_a_notebook_that_came_back_well_may_be_closed():
    seen = taken(steady=False, outcome="done", answered_at=NOON, verified_at=NOON + 10 * MINUTE)
    assert verdict(seen, 2000).state == "soaking", "it was not heard of since, so nobody knows"
    seen.last_heard_at = NOON + 71 * MINUTE
    assert verdict(seen, 2000).state == "healthy"
    assert verdict(seen, 71 + 4320).state == "away", "three days, weekend and all"


def test_no_answer_no_reboot_and_no_scan_are_failures_in_the_end():
    here = {"last_heard_at": NOON + 30 * DAY}
    assert verdict(taken(**here), 180).why == "its run has had no answer for 3 h"
    seen = taken(outcome="done", answered_at=NOON, needs_reboot=True, **here)
    assert (verdict(seen, 1439).state, verdict(seen, 1440).state) == ("running", "failed")
    seen = taken(outcome="done", answered_at=NOON, **here)
    assert (verdict(seen, 239).state, verdict(seen, 240).state) == ("running", "failed")
    seen.steady = False
    assert verdict(seen, 240).state == "running", "a notebook gets three days more"
    assert verdict(seen, 240 + 4320).state == "failed"


def test_a_check_that_got_worse_holds_the_ring_until_it_is_sure():
    seen = taken(outcome="done", answered_at=NOON, worse_since=NOON, worse_why="nginx does not run")
    assert verdict(seen, 59).state == "doubtful"
    assert verdict(seen, 60).state == "failed"
    assert verdict(seen, 60).why == "nginx does not run"


def test_a_device_is_healthy_once_verified_watched_and_heard_of_again():
    seen = taken(outcome="done", answered_at=NOON, verified_at=NOON + 5 * MINUTE, last_heard_at=NOON + 64 * MINUTE)
    assert verdict(seen, 64).state == "soaking"
    assert verdict(seen, 66).state == "soaking"
    seen.last_heard_at = NOON + 66 * MINUTE
    assert verdict(seen, 66).state == "healthy"


# --- the rollout ---

RINGS = caps(10_000, TERMS)


def step(ring, tallies, groups=None, now=NOON + DAY):
    return next_step(terms=TERMS, rings=RINGS, ring=ring, tallies=tallies, groups=groups or {}, now=now)


def tally(members, **counts):
    return Tally(members=members, touched=members, touched_sum=members * NOON, **counts)


@pytest.mark.parametrize("state", ["failed", "silent"])
@pytest.mark.parametrize("ring", [1, 2])
def test_one_failure_halts_a_strict_ring_however_many_are_healthy(ring, state):
    found = step(ring, {ring: tally(100, healthy=99, **{state: 1})})
    assert isinstance(found, Halt)


def test_the_first_device_that_is_away_halts():
    assert isinstance(step(1, {1: tally(1, away=1, carried=1)}), Halt)


def test_a_healthy_ring_promotes_and_the_last_one_finishes():
    assert step(1, {1: tally(1, healthy=1)}) == Promote(2, "1 of 1 devices healthy (1 needed), none of them in doubt")
    assert isinstance(step(5, {5: tally(10, healthy=9, left_out=1)}), Finish)


def test_a_strict_ring_waits_for_everybody_who_took_the_run():
    assert isinstance(step(2, {2: tally(99, healthy=98, running=1)}), Wait)
    assert isinstance(step(2, {2: tally(99, healthy=98, soaking=1)}), Wait)
    assert isinstance(step(2, {2: tally(99, healthy=90, sent=9)}), Promote)
    assert isinstance(step(2, {2: tally(99, healthy=98, doubtful=1)}), Wait)


def test_a_ring_that_was_not_observed_enough_waits():
    assert isinstance(step(3, {3: tally(900, healthy=539, sent=361)}), Wait)
    assert isinstance(step(3, {3: tally(900, healthy=540, sent=360)}), Promote)
    assert isinstance(step(1, {1: tally(1, left_out=1)}), Wait)


def test_a_later_ring_takes_what_chance_brings_and_no_more():
    # 900 devices for a day, 2 failures expected per 1,000 and day: 1.8.
    assert isinstance(step(3, {3: tally(900, healthy=892, failed=8)}), Promote)
    assert isinstance(step(3, {3: tally(900, healthy=890, failed=10)}), Halt)


def test_a_late_failure_of_an_earlier_ring_halts_the_later_one():
    earlier = {1: tally(1, healthy=1), 2: tally(99, healthy=89, failed=10)}
    found = step(3, {**earlier, 3: tally(900, waiting=900)})
    assert isinstance(found, Halt)
    assert "10 devices of 1000 failed" in found.why


def test_a_fault_of_one_model_is_seen_among_many_well_devices():
    tallies = {3: tally(900, healthy=895, failed=5, why="does not boot")}
    model = {"model:rare": tally(12, healthy=7, failed=5, why="does not boot")}
    assert isinstance(step(3, tallies, {f"model:{index}": tally(9) for index in range(60)}), Promote)
    found = step(3, tallies, {f"model:{index}": tally(9) for index in range(60)} | model)
    assert isinstance(found, Halt)
    assert "model rare" in found.why


def test_more_notebooks_away_than_on_any_day_halt():
    assert not isinstance(step(3, {3: tally(900, healthy=700, away=80, carried=700)}), Halt)
    assert isinstance(step(3, {3: tally(900, healthy=600, away=120, carried=700)}), Halt)


def test_a_device_left_out_was_not_touched_and_is_not_needed():
    assert isinstance(step(2, {2: tally(99, healthy=72, left_out=9, sent=18)}), Promote)


@given(st.integers(0, 200), st.floats(0.01, 100))
def test_the_poisson_tail_is_the_sum_it_stands_for(count, mean):
    exact = poisson_tail(count, mean)
    assert 0 <= exact <= 1
    assert poisson_tail(count + 1, mean) <= exact + 1e-12
    if count > mean:
        total, term = 0.0, 1.0
        import math

        for k in range(count):
            term = math.exp(k * math.log(mean) - mean - math.lgamma(k + 1))
            total += term
        assert exact == pytest.approx(1 - total, abs=1e-6)


def test_tails_at_their_ends():
    assert poisson_tail(0, 5) == 1
    assert poisson_tail(3, 0) == 0
    assert binomial_tail(0, 5, 0.1) == 1
    assert binomial_tail(6, 5, 0.1) == 0
    assert binomial_tail(1, 5, 0) == 0
    assert binomial_tail(5, 5, 0.1) == pytest.approx(1e-5)
    assert not too_many(TERMS, Tally(failed=2, touched=2, touched_sum=2 * NOON), NOON + HOUR, 1e-4)
