"""What holds for every kind of check, whatever its rule says."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestall.server.checks.judging import judge_kind
from forestall.server.checks.kinds import CHECK_KINDS
from forestall.server.checks.result import Known, Result, Status
from forestall.server.checks.rules import PolicyError, policy_of, settings_of
from forestall.server.checks.tests.story import (
    ENROLLED,
    FAIL,
    NOW,
    PASS,
    STALE,
    UNKNOWN,
    WARN,
    ago,
    judged,
    known_with,
    series,
)  # fmt: skip
from forestall.wire.facts import DOCUMENT_BY_NAME, Gap, Volume, Volumes

EVERY = pytest.mark.parametrize("kind", CHECK_KINDS.values(), ids=lambda kind: kind.slug)
OF_DOCUMENTS = pytest.mark.parametrize(
    "kind", [kind for kind in CHECK_KINDS.values() if kind.rests_on], ids=lambda kind: kind.slug
)
ROOT = Volumes(volumes=(Volume(mountpoint="/", device="/dev/sda1", filesystem="ext4", total_bytes=10**11),))


def of_disk(used: float, **others):
    return known_with(ROOT, samples={"disk.used_percent{volume=/}": series(used)}, **others)


@EVERY
def test_nothing_known_never_passes(kind):
    results = judge_kind(kind, Known(enrolled_at=ENROLLED), kind.policy(), NOW, {})
    allowed_without_input = {"pending_enrolment"}  # it judges the approval, and that is known
    assert kind.slug in allowed_without_input or all(result.status is not PASS for result in results)


@OF_DOCUMENTS
def test_a_document_that_never_came_is_named(kind):
    (result,) = judge_kind(kind, known_with(), kind.policy(), NOW, {})
    assert result.status is UNKNOWN
    assert result.reason == f"Not collected yet: the {kind.rests_on[0]} document has not been received."


@OF_DOCUMENTS
def test_a_document_that_is_lost_makes_every_target_unknown_and_none_vanish(kind):
    previous = {"a": FAIL, "b": PASS}
    results = judge_kind(kind, known_with(), kind.policy(), NOW, previous)
    assert {result.target: result.status for result in results} == {"a": UNKNOWN, "b": UNKNOWN}


@EVERY
def test_kind_names_only_what_exists(kind):
    assert {*kind.rests_on, *kind.also_reads} <= set(DOCUMENT_BY_NAME)
    assert kind.slug == kind.judge.__module__.split(".")[-2]
    assert kind.cadence_seconds >= 60
    assert all(level.metric in kind.metrics for level in kind.levels(kind.policy()))
    for text in (kind.texts.title, kind.texts.question, kind.texts.why, kind.texts.remedy):
        assert text.strip() == text
        assert text


@EVERY
def test_every_setting_has_a_default_and_a_docstring(kind):
    for setting in settings_of(kind):
        assert setting.text, f"{kind.slug}.{setting.name} says nothing"
    assert policy_of(kind) == kind.policy()


@OF_DOCUMENTS
def test_a_document_in_which_nothing_could_be_seen_never_passes(kind):
    gap = Gap(what="listening sockets, and all else", why="needs root")
    documents = []
    for name in kind.rests_on:
        given = {"hostname": "x", "os_id": "", "os_name": "", "os_version": ""} if name == "system" else {}
        documents.append(DOCUMENT_BY_NAME[name](gaps=(gap,), **given))
    results = judge_kind(kind, known_with(*documents), kind.policy(), NOW, {})
    assert all(result.status is not PASS for result in results)


def test_silence_of_the_device_makes_its_checks_stale_but_keeps_what_was_said():
    result = judged("disk_space", of_disk(93, last_check_in_at=ago(minutes=40)))["/"]
    assert result.status is STALE
    assert result.reason.startswith(
        "Nothing heard from the device for 40 min (since 2026-11-23 08:20 UTC). Then: / is 93 %"
    )
    assert result.value == 93


def test_a_document_that_is_no_longer_affirmed_is_stale_though_the_device_checks_in():
    known = of_disk(20, collected_at={"volumes": ago(hours=49)})
    assert judged("disk_space", known)["/"].status is STALE
    assert judged("disk_space", replace(known, collected_at={"volumes": ago(hours=47)}))["/"].status is PASS


def test_samples_that_stop_are_stale_though_the_device_checks_in():
    known = known_with(ROOT, samples={"disk.used_percent{volume=/}": series(20, end=ago(minutes=11))})
    result = judged("disk_space", known)["/"]
    assert result.status is STALE
    assert "newest sample is 11 min old" in result.reason


def test_a_rule_that_breaks_is_unknown_and_logged(caplog):
    def broken(known, policy, now, previous):
        raise KeyError("sector 7")

    kind = replace(CHECK_KINDS["cpu"], judge=broken)
    with caplog.at_level(logging.ERROR):
        results = judge_kind(kind, known_with(), kind.policy(), NOW, {"": PASS})
    assert [(result.status, result.reason) for result in results] == [
        (UNKNOWN, "Could not be judged: KeyError: 'sector 7'")
    ]
    assert "check kind cpu could not judge" in caplog.text


def test_two_results_for_one_target_are_a_defect_that_never_passes():
    kind = replace(CHECK_KINDS["cpu"], judge=lambda *_: [Result(PASS, "1"), Result(PASS, "2")])
    (result,) = judge_kind(kind, known_with(), kind.policy(), NOW, {})
    assert result.status is UNKNOWN
    assert "two results for the target ''" in result.reason


def test_when_only_unknowns_are_left_what_was_judged_before_is_unknown_and_not_gone():
    kind = replace(CHECK_KINDS["disk_health"], judge=lambda *_: [Result(UNKNOWN, "No disk could be seen.")])
    known = known_with(*[DOCUMENT_BY_NAME["disks"]()])
    results = judge_kind(kind, known, kind.policy(), NOW, {"/dev/sda": FAIL})
    assert {result.target: result.status for result in results} == {"": UNKNOWN, "/dev/sda": UNKNOWN}


def test_a_value_that_is_no_number_is_unknown():
    known = known_with(ROOT, samples={"disk.used_percent{volume=/}": series(float("nan"))})
    (result,) = judged("disk_space", known).values()
    assert result.status is UNKNOWN
    assert "NaN" in result.reason


@given(st.floats(min_value=0, max_value=100), st.sampled_from([PASS, WARN, FAIL, UNKNOWN, STALE]))
def test_the_reason_contains_the_value(used, previous):
    result = judged("disk_space", of_disk(used), previous={"/": previous})["/"]
    shown = f"{used:.1f}".rstrip("0").rstrip(".")
    assert f"{'0' if shown == '-0' else shown} %" in result.reason


def test_evidence_falls_back_to_the_sources_of_the_documents():
    document = DOCUMENT_BY_NAME["firewall"](sources=("nft list ruleset",), active=False)
    assert judged("firewall", known_with(document))[""].evidence == ("nft list ruleset",)


@pytest.mark.parametrize(
    ("kind", "values", "says"),
    [
        (
            "disk_space",
            {"warn_percent": "high"},
            "warn_percent: 'high' cannot be: Expected `float`, got `str`",
        ),
        (
            "disk_space",
            {"warn": 5},
            "disk_space: 'warn' is no setting of this kind; there are warn_p",
        ),
        ("disk_space", {"warn_percent": 95}, "warn_percent: 95 must be above 0 and at most fail_percent (90)"),
        ("antivirus", {"absent_on_server": "maybe"}, "absent_on_server: 'maybe' cannot be: Invalid enum value"),
        ("open_socket", {"expected": ["tcp/99999"]}, "expected: 'tcp/99999' is not a protocol and port"),
        ("offline", {"warn_minutes": 0}, "warn_minutes: 0 must be above 0"),
    ],
)
def test_a_policy_that_cannot_be_names_the_setting_and_the_value(kind, values, says):
    with pytest.raises(PolicyError) as caught:
        policy_of(CHECK_KINDS[kind], [values])
    assert says in str(caught.value)


def test_a_narrower_policy_wins_and_leaves_the_rest():
    policy = policy_of(CHECK_KINDS["disk_space"], [{"warn_percent": 70, "fail_percent": 85}, {"fail_percent": 95}])
    assert (policy.warn_percent, policy.fail_percent, policy.fail_days) == (70, 95, 7)


@given(st.integers(min_value=0, max_value=100_000))
def test_word_of_a_device_is_never_fresher_than_it_is(seconds):
    known = of_disk(50, last_check_in_at=NOW - timedelta(seconds=seconds))
    status = judged("disk_space", known)["/"].status
    assert (status is STALE) == (seconds > 600)


def test_statuses_have_one_word_each():
    assert [status.value for status in Status] == ["pass", "warn", "fail", "unknown", "stale"]
