"""Messages come back as they went, versions mix, and every bound holds before the work it bounds."""

import zlib
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestall.wire import codec
from forestall.wire.checkin import MAX_LISTED, MAX_TIMES, CheckIn, CheckInReply, SampleBlock, SpoolGap
from forestall.wire.facts import DOCUMENT_BY_NAME, DOCUMENTS, Facts, Package, Software, System, to_plain
from forestall.wire.refusals import HTTP_STATUS, Refusal, RefusalCode
from forestall.wire.session import check_in_mac, check_in_message, enrol_message, session_message

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
NAMES = ["cpu.used_percent", "disk.used_percent{volume=/}"]


def block(**changes):
    return SampleBlock(
        **{
            "catalogue": codec.catalogue_id(NAMES),
            "times": [1_000, 61_000],
            "values": np.arange(4, dtype="<f8").tobytes(),
            "names": NAMES,
            **changes,
        }
    )


def check_in(**changes):
    return CheckIn(**{"sequence": 1, "made_at": NOW, "boot_id": "b", "agent_version": "1", **changes})


def refusal_of(act):
    with pytest.raises(codec.WireError) as caught:
        act()
    return caught.value


@given(
    st.integers(1, 2**63),
    st.datetimes(timezones=st.just(UTC)),
    st.lists(st.binary(max_size=40), max_size=MAX_LISTED),
    st.text(max_size=40),
)
def test_a_check_in_comes_back_as_it_went(sequence, made_at, records, text):
    message = check_in(
        sequence=sequence, made_at=made_at, records=records, boot_id=text, samples=block(),
        gap=SpoolGap(first=NOW, last=NOW + timedelta(hours=1), check_ins=60),
    )  # fmt: skip
    assert codec.decode_check_in(codec.expand(codec.pack(message))) == message


def test_replies_and_refusals_come_back_as_they_went():
    reply = CheckInReply(next_sequence=7, server_time=NOW, jobs=[b"j"], resend_facts=["system"])
    assert codec.decode_reply(codec.encode(reply)) == reply
    refusal = Refusal(code=RefusalCode.SEQUENCE_AHEAD, detail="d", next_sequence=3)
    assert codec.decode_refusal(codec.encode(refusal)) == refusal


def test_what_a_newer_agent_adds_is_left_out_and_what_an_older_leaves_out_has_its_default():
    newer = {**msgspec.to_builtins(check_in(), builtin_types=(datetime,)), "mood": {"deep": [1]}}
    assert codec.decode_check_in(msgspec.msgpack.encode(newer)) == check_in()


@given(st.binary(max_size=200))
def test_no_bytes_break_the_decoder(data):
    for act in (codec.expand, codec.decode_check_in):
        try:
            act(data)
        except codec.WireError as error:
            assert error.code in {RefusalCode.MALFORMED, RefusalCode.SHAPE_WRONG}  # noqa: PT017 - may also be taken


def test_bounds_hold_before_the_work():
    assert refusal_of(lambda: codec.expand(b"x" * (codec.MAX_BODY_BYTES + 1))).code == RefusalCode.TOO_LARGE
    bomb = zlib.compress(b"\0" * (codec.MAX_EXPANDED_BYTES + 1))
    assert refusal_of(lambda: codec.expand(bomb)).code == RefusalCode.EXPANDS_TOO_FAR
    assert len(codec.expand(zlib.compress(b"\0" * codec.MAX_EXPANDED_BYTES))) == codec.MAX_EXPANDED_BYTES
    assert refusal_of(lambda: codec.expand(zlib.compress(b"\0" * 100), 99)).code == RefusalCode.EXPANDS_TOO_FAR
    for many in (
        check_in(records=[b""] * (MAX_LISTED + 1)),
        check_in(samples=block(times=list(range(MAX_TIMES + 1)))),
    ):
        assert refusal_of(lambda many=many: codec.decode_check_in(codec.encode(many))).code == RefusalCode.MALFORMED


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"sequence": 0}, "$.sequence"),
        ({"samples": block(catalogue=b"short")}, "$.samples.catalogue"),
        ({"samples": block(times=[])}, "$.samples.times"),
        ({"samples": block(times=[2, 1])}, "$.samples.times"),
        ({"samples": block(times=[1, 1])}, "$.samples.times"),
        ({"samples": block(values=b"1234567")}, "$.samples.values"),
        ({"samples": block(values=b"\0" * 16)}, "$.samples.values"),
        ({"samples": block(names=NAMES[::-1])}, "$.samples.names"),
        ({"samples": block(names=["n"] * (codec.MAX_SERIES + 1))}, "$.samples.names"),
    ],
)
def test_a_refusal_points_at_the_bad_value(wrong, path):
    error = refusal_of(lambda: codec.decode_check_in(codec.encode(check_in(**wrong))))
    assert error.code == RefusalCode.SHAPE_WRONG
    assert path in error.detail


def test_a_time_without_zone_is_refused():
    error = refusal_of(lambda: codec.decode_check_in(codec.encode(check_in(made_at=NOW.replace(tzinfo=None)))))
    assert "timezone" in error.detail
    assert "$.made_at" in error.detail


def test_every_refusal_has_a_status():
    assert set(HTTP_STATUS) == set(RefusalCode)
    assert all(400 <= status < 600 for status in HTTP_STATUS.values())


def test_a_digest_follows_the_content():
    one = Software(manager="dpkg", packages=(Package(name="a", version="1"),))
    assert codec.facts_digest(one) == codec.facts_digest(
        msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=Software)
    )
    assert codec.facts_digest(one) != codec.facts_digest(Software(manager="dpkg"))
    assert codec.canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()


def test_what_is_signed_and_what_is_authenticated_name_their_purpose():
    """No bytes made for one purpose can be taken for another's."""
    messages = [
        enrol_message(token="t", public_key=b"k", hostname="h", machine_id="m"),
        session_message(device_id="t", challenge=b"k"),
        check_in_message(session="t", body=b"k"),
    ]
    assert len({message.split(b"\0")[0] for message in messages}) == 3
    right = check_in_mac(key=b"k" * 32, session="s", body=b"b")
    assert len(right) == 32
    assert right not in {
        check_in_mac(key=b"x" * 32, session="s", body=b"b"),
        check_in_mac(key=b"k" * 32, session="t", body=b"b"),
        check_in_mac(key=b"k" * 32, session="s", body=b"c"),
    }


def test_facts_are_found_by_name_and_shown_whole():
    software = Software(manager="dpkg")
    facts = Facts().with_document(software)
    assert facts.get("software") is software
    assert facts.get("system") is None
    with pytest.raises(ValueError, match="'weather'"):
        facts.get("weather")
    assert to_plain(software) == {"sources": [], "gaps": [], "manager": "dpkg", "packages": []}
    assert set(Facts.FIELDS) == set(DOCUMENT_BY_NAME) == {kind.name() for kind in DOCUMENTS}
    assert System.name() == "system"
