"""Statements: one byte string each, unknown fields refused, everything signed under a type of its own."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from forestall.trust import statements
from forestall.trust.statements import (
    OPERATOR_SIGNATURES,
    Checkpoint,
    CheckpointRef,
    DeviceNotice,
    RiskClass,
    Statement,
    plain,
    read_statement,
    statement_bytes,
    statement_digest,
)

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CHECKPOINT = Checkpoint(client_id="acme", size=3, root="ab" * 32, at=AT)


def every_statement() -> list[type[Statement]]:
    found = vars(statements).values()
    return [kind for kind in found if isinstance(kind, type) and issubclass(kind, Statement) and kind is not Statement]


def test_a_statement_comes_back_from_its_bytes() -> None:
    notice = DeviceNotice(
        device_id="pc",
        client_id="acme",
        at=AT,
        event="spool_gap",
        detail="é",
        checkpoint=CheckpointRef(size=3, root="r"),
    )
    for statement in (CHECKPOINT, notice):
        assert read_statement(statement_bytes(statement), type(statement)) == statement


def test_a_statement_has_one_byte_string() -> None:
    body = statement_bytes(CHECKPOINT)
    assert body == b'{"client_id":"acme","size":3,"root":"' + b"ab" * 32 + b'","at":"2026-03-02T09:00:00Z"}'
    for other in (
        body.replace(b":3", b": 3"),
        body + b"\n",
        body.replace(b"Z", b"+00:00"),
        body.replace(b"acme", b"\\u0061cme"),
        json.dumps(json.loads(body), sort_keys=True, separators=(",", ":")).encode(),
        body.replace(b'"size":3', b'"size":2,"size":3'),
    ):
        assert other != body
        with pytest.raises(ValueError, match="the Checkpoint statement is not in canonical JSON"):
            read_statement(other, Checkpoint)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "truncated"),
        (b"\xff", "not a Checkpoint statement"),
        (b"[" * 9000, "not a Checkpoint statement"),
        (statement_bytes(CHECKPOINT).replace(b"}", b',"also":"this"}'), "unknown field `also`"),
        (statement_bytes(CHECKPOINT).replace(b":3,", b':"3",'), r"Expected `int`, got `str` - at `\$\.size`"),
        (b"{}", "missing required field"),
    ],
)
def test_what_is_no_such_statement_is_refused_by_name(body: bytes, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        read_statement(body, Checkpoint)


def test_a_statement_is_never_read_as_another() -> None:
    with pytest.raises(ValueError, match="not a DeviceNotice statement"):
        read_statement(statement_bytes(CHECKPOINT), DeviceNotice)


def test_the_digest_follows_every_field() -> None:
    assert statement_digest(CHECKPOINT) != statement_digest(Checkpoint(client_id="acme", size=4, root="ab" * 32, at=AT))
    assert len(statement_digest(CHECKPOINT)) == 64


def test_plain_values_are_those_of_the_json() -> None:
    assert plain(CHECKPOINT) == json.loads(statement_bytes(CHECKPOINT))


def test_each_kind_of_statement_has_a_payload_type_of_its_own_and_refuses_what_it_does_not_know() -> None:
    kinds = every_statement()
    assert len(kinds) >= 8
    assert len({kind.PAYLOAD_TYPE for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert kind.PAYLOAD_TYPE.startswith("application/vnd.forestall.")
        with pytest.raises(ValueError, match="unknown field"):
            read_statement(b'{"never heard of":1}', kind)


def test_every_risk_class_says_how_many_operators_must_sign() -> None:
    assert set(OPERATOR_SIGNATURES) == set(RiskClass)
    assert OPERATOR_SIGNATURES[RiskClass.TRUST] is None
