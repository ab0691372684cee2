"""The encodings of leaf, content and lines: one byte string for one value, whatever goes in."""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestall.ledger import bundle, records

AT = datetime(2026, 3, 2, 9, 0, 3, 120_000, tzinfo=UTC)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_the_leaf_is_written_as_the_docs_say() -> None:
    leaf = records.leaf_bytes(index=17, at=AT, kind="ticket:opened", client="c", commitment=b"\xab" * 32)
    plain = {
        "at": "2026-03-02T09:00:03.120000Z",
        "client": "c",
        "commitment": "ab" * 32,
        "index": 17,
        "kind": "ticket:opened",
    }
    assert leaf == json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
    assert records.leaf_read(leaf).index == 17


def test_a_leaf_tells_its_time_in_utc() -> None:
    berlin = AT.astimezone(timezone(timedelta(hours=1)))
    args = {"index": 0, "kind": "a:b", "client": "c", "commitment": bytes(32)}
    assert records.leaf_bytes(at=berlin, **args) == records.leaf_bytes(at=AT, **args)


def test_the_commitment_is_what_the_docs_say() -> None:
    """An auditor's own computation, in four lines."""
    salt, content, envelope, signer = b"\x01" * 32, b'{"a":1}', b"{}", b"\x02" * 32
    digests = b"".join(hashlib.sha256(part).digest() for part in (content, envelope, signer))
    expected = hashlib.sha256(b"forestall evidence 1\n" + salt + digests).digest()
    assert records.commitment_of(salt=salt, content=content, envelope=envelope, signer=signer) == expected


@given(st.lists(st.binary(max_size=6), min_size=3, max_size=3), st.lists(st.binary(max_size=6), min_size=3, max_size=3))
def test_the_parts_of_a_commitment_do_not_run_into_each_other(one: list[bytes], other: list[bytes]) -> None:
    def commit(parts: list[bytes]) -> bytes:
        return records.commitment_of(salt=bytes(32), content=parts[0], envelope=parts[1], signer=parts[2])

    assert (commit(one) == commit(other)) == (one == other)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_a_payload_comes_back_as_it_went_in(payload: dict[str, object]) -> None:
    data = records.content_bytes(payload=payload, device=None, site=None, ticket=None, job="")
    content = records.content_read(data)
    assert content.payload == payload
    again = records.content_bytes(payload=content.payload, device=None, site=None, ticket=None, job="")
    assert again == data


def test_times_and_ids_in_a_payload_become_text() -> None:
    number = uuid.UUID(int=5)
    data = records.content_bytes(payload={"at": AT, "id": number}, device="d", site="s", ticket=3, job="j")
    assert json.loads(data) == {
        "device": "d",
        "job": "j",
        "payload": {"at": "2026-03-02T09:00:03.120000Z", "id": str(number)},
        "site": "s",
        "ticket": 3,
    }


@pytest.mark.parametrize("value", [object(), "\ud800", {("a",): 1}, 1j])
def test_a_payload_that_json_can_not_carry_is_refused(value: object) -> None:
    with pytest.raises(records.RecordError, match="cannot be written as JSON"):
        records.content_bytes(payload={"value": value}, device=None, site=None, ticket=None, job="")


def test_a_payload_without_bottom_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(records.RecordError, match="cannot be written as JSON"):
        records.content_bytes(payload={"value": endless}, device=None, site=None, ticket=None, job="")
    deep = b'{"device":null,"job":"","payload":{"a":' + b"[" * 9000 + b"]" * 9000 + b'},"site":null,"ticket":null}'
    with pytest.raises(records.RecordError, match="is not that of a record"):
        records.content_read(deep)


@pytest.mark.parametrize(
    "text", ["", "AB" * 32, "ab" * 31, "ab" * 33, " " + "ab" * 32, "ab " * 32, "zz" * 32, "é" * 64]
)
def test_hexadecimal_has_one_spelling(text: str) -> None:
    assert records.hex_bytes(text, 32) is None
    assert records.hex_bytes("ab" * 32, 32) == b"\xab" * 32


def test_lines_come_back_as_they_went_out_and_in_one_spelling() -> None:
    line = bundle.EntryLine(leaf="{}", salt=None, content=None, envelope=None, signer=None, proof=("ab",))
    data = bundle.line_bytes(line)
    assert data.startswith(b'{"record":"entry",')
    assert bundle.line_read(data) == line
    for other in (
        data[:-1],
        data + b"\n",
        data.replace(b"null", b"null ", 1),
        data.replace(b"entry", b"\\u0065ntry"),
        data.replace(b'"salt":null,', b""),
        data.replace(b"}\n", b',"more":1}\n'),
        data.replace(b'"leaf":"{}"', b'"leaf":"{}","leaf":"{}"'),
        data.replace(b"entry", b"story"),
        b"[" * 9000,
        b"\xff\n",
        b"",
    ):
        with pytest.raises(bundle.LineError):
            bundle.line_read(other)
