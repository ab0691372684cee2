"""Monitoring plugins: the exit code is the answer, and no answer is no pass."""

import pytest

from forestall.server.checks.tests.story import FAIL, PASS, UNKNOWN, WARN, ago, judged, known_with
from forestall.wire.facts import Gap, PerformanceValue, PluginRun, Plugins


def run(exit_code=0, text="LOAD OK - 0.1", *, at=None, **others):
    return PluginRun(
        name="load", command="/usr/lib/nagios/plugins/check_load -w 5 -c 10", exit_code=exit_code, text=text,
        at=at or ago(minutes=2), **others,
    )  # fmt: skip


def plugins(*runs, gaps=(), previous=None, **policy):
    return judged("plugin", known_with(Plugins(runs=runs, gaps=gaps)), previous=previous, **policy)


@pytest.mark.parametrize(
    ("code", "status"), [(0, PASS), (1, WARN), (2, FAIL), (3, UNKNOWN), (4, UNKNOWN), (255, UNKNOWN)]
)
def test_the_exit_code_is_the_answer(code, status):
    assert plugins(run(code))["load"].status is status


def test_the_text_and_first_value_are_told_and_the_command_is_the_evidence():
    result = plugins(run(2, "LOAD CRITICAL - 12", performance=(PerformanceValue(label="load1", value=12.0),)))["load"]
    assert result.reason == "Critical: LOAD CRITICAL - 12"
    assert (result.value, result.evidence) == (12.0, ("/usr/lib/nagios/plugins/check_load -w 5 -c 10",))


def test_what_did_not_end_is_unknown_and_says_why():
    result = plugins(run(None, "", trouble="not done within 30 s"))["load"]
    assert (result.status, result.reason) == (UNKNOWN, "No answer: not done within 30 s.")


def test_an_old_answer_is_not_todays():
    result = plugins(run(0, at=ago(hours=2)))["load"]
    assert result.status is UNKNOWN
    assert result.reason.startswith("Last run 2 h ago")
    assert plugins(run(0, at=ago(hours=2), every_seconds=3600))["load"].status is PASS


def test_a_word_that_worries_makes_an_ok_a_warning():
    text = "RAID OK - array degraded, rebuilding"
    assert plugins(run(0, text))["load"].status is PASS
    assert plugins(run(0, text, warn_words=("Degraded",)))["load"].status is WARN
    assert plugins(run(0, text), warn_words=["degraded"])["load"].status is WARN


def test_refused_settings_make_all_unknown():
    gap = Gap(what="the plugins", why="/etc/forestall/plugins.toml may be written by others than its owner")
    results = plugins(gaps=(gap,), previous={"load": PASS, "mail": FAIL})
    assert {target: result.status for target, result in results.items()} == {
        "": UNKNOWN,
        "load": UNKNOWN,
        "mail": UNKNOWN,
    }


def test_one_that_was_not_reached_is_unknown():
    assert plugins(gaps=(Gap(what="plugin slow", why="not run"),))["slow"].status is UNKNOWN


def test_without_plugins_there_is_nothing_to_judge():
    assert plugins() == {}
    assert judged("plugin", known_with()) == {}


def test_policy_can_leave_one_out():
    assert plugins(run(2), ignore=["load"]) == {}
