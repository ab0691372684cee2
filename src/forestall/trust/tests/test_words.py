"""The words that Ada reads before she signs, made from the signed bytes alone."""

from __future__ import annotations

import msgspec
import pytest

from forestall.trust import dsse
from forestall.trust.keys import key_id, public_bytes
from forestall.trust.statements import Job, Step
from forestall.trust.tests.conftest import DEVICE, OTHER_DEVICE, RUNBOOK
from forestall.trust.words import describe, harmless, step_words

replace = msgspec.structs.replace


def test_a_job_in_words(world):
    lines = describe(world.job(), runbook=RUNBOOK, device_names={DEVICE: "web-01"})
    assert lines == [
        "Tidy up: runbook tidy-up, version 1, change",
        f"On web-01 (device {DEVICE})",
        "Deletes files older than 30 days named * below /var/tmp/reports.",
        "Cannot be undone.",
        "Because: Ada: / is 93 % full",
        "Valid from 2026-11-23 08:55 UTC",
        "Valid until 2026-11-23 17:00 UTC",
    ]


def test_a_dry_run_says_so_first(world):
    lines = describe(world.job(dry_run=True), runbook=RUNBOOK)
    assert lines[1].startswith("A DRY RUN: it only says what it would do")
    assert lines[2] == f"On device {DEVICE}"


def test_an_order_in_words(world):
    lines = describe(world.order(devices=(DEVICE, OTHER_DEVICE)), runbook=RUNBOOK)
    for words in (
        "Whenever the check disk_space fails, without asking anyone",
        "At most 2 times a day on each device",
        f"On device {OTHER_DEVICE}",
        "Deletes files older than <days> days named * below <folder>.",
        "where folder is one of: /var/tmp/reports, /var/tmp/scans",
        "where days is one of: 7, 30",
        "Valid until 2026-12-13 09:00 UTC",
    ):
        assert words in lines, words
    one = describe(world.order(allowed={"folder": ("/var/tmp/reports",)}), runbook=RUNBOOK)
    assert "Deletes files older than 7 days named * below /var/tmp/reports." in one
    none = describe(world.order(allowed={}), runbook=RUNBOOK)
    assert "where folder has no value: this order cannot run" in none


def test_an_invocation_says_why(world):
    lines = describe(world.invocation(world.order()), runbook=RUNBOOK)
    assert "Because: disk_space of /: 93 % full" in lines
    assert not [line for line in lines if line.startswith("Valid from")]


def test_the_words_are_of_the_runbook_that_is_named(world):
    with pytest.raises(ValueError, match="names runbook"):
        describe(world.job(), runbook=replace(RUNBOOK, title="Harmless"))


def test_an_action_without_words_is_said_to_have_none(world):
    runbook = replace(
        RUNBOOK, steps=(Step(action="disk.wipe\x07"), Step(action="apt.clean", arguments={"folder": "/"}))
    )
    words = step_words(runbook, {})
    assert words[0] == (
        "Does 'disk.wipe\N{REPLACEMENT CHARACTER}' with no arguments: an action this program has no words for."
    )
    assert words[1] == "Does 'apt.clean' with folder = /: an action this program has no words for."
    assert harmless("a\u202eb\nc") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"
    unknown = replace(RUNBOOK, steps=(Step(action="service.restart", arguments={"service": "{absent}"}),))
    assert step_words(unknown, {}) == ["Restarts the service {absent} and waits until it runs."]


# --- signatures that come one after the other ---


def test_two_signatures_over_the_same_become_one_envelope(world):
    job = world.job()
    ada, grace = world.signed(job, world.ada), world.signed(job, world.grace)
    both = dsse.merge(ada, grace)
    keys = {key_id(public_bytes(key)): public_bytes(key) for key in (world.ada, world.grace)}
    assert dsse.signers(both, Job.PAYLOAD_TYPE, keys)[1] == set(keys)
    assert dsse.merge(both, ada) == dsse.merge(grace, ada) == both
    with pytest.raises(dsse.EnvelopeError, match="hold different things"):
        dsse.merge(ada, world.signed(world.job(reason="another"), world.grace))
