"""V6: any edit, loss, insertion, reorder or fork of evidence is found offline; honest logs pass."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forestall.trust.keys import key_id, public_bytes
from forestall.verify import WrongFileError, verify_bundle
from forestall.verify.tests.workbench import Workbench, honest, write

HONEST = honest(2026)
BUNDLE = HONEST.bundle()
LINES = BUNDLE.splitlines(keepends=True)
OTHER = honest(2027).bundle().splitlines(keepends=True)
FIXED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


def found(folder: Path, content: bytes) -> bool:
    """Whether the verifier refuses this content, as a bundle that does not hold or as no bundle at all."""
    path = write(folder, content)
    try:
        verdict = verify_bundle(path)
    except WrongFileError:
        return True
    assert verdict.valid == (verdict.problem is None)
    return not verdict.valid


def test_v6_a_hundred_honest_logs_pass(tmp_path: Path) -> None:
    for seed in range(100):
        bench = honest(seed, steps=seed % 40, clients=1 + seed % 3)
        fingerprint = key_id(public_bytes(bench.log_key))
        verdict = verify_bundle(write(tmp_path, bench.bundle()), pinned_log_key=fingerprint)
        assert verdict.problem is None, seed
        assert verdict.pinned
        assert [client.entries for client in verdict.clients] == [len(log.records) for log in bench.logs]


@pytest.mark.soak
def test_v6_a_thousand_honest_logs_pass(tmp_path: Path) -> None:
    for seed in range(1000, 2000):
        bench = honest(seed, steps=seed % 60, clients=1 + seed % 4)
        assert verify_bundle(write(tmp_path, bench.bundle())).problem is None, seed


# Each tampering takes the bundle's lines and a source of chance, and gives back other bytes.


def flip_a_bit(chance: random.Random) -> bytes:
    at = chance.randrange(len(BUNDLE))
    return BUNDLE[:at] + bytes([BUNDLE[at] ^ (1 << chance.randrange(8))]) + BUNDLE[at + 1 :]


def change_a_letter(chance: random.Random) -> bytes:
    at = chance.randrange(len(BUNDLE))
    return BUNDLE[:at] + chance.choice(b'0123456789abcdefABCDEFxyz+/="\\{} \n').to_bytes(1, "big") + BUNDLE[at + 1 :]


def lose_some_bytes(chance: random.Random) -> bytes:
    at = chance.randrange(len(BUNDLE))
    return BUNDLE[:at] + BUNDLE[at + chance.randint(1, 40) :]


def add_some_bytes(chance: random.Random) -> bytes:
    at = chance.randrange(len(BUNDLE) + 1)
    return BUNDLE[:at] + chance.choice([b" ", b"\n", b"\r", b"0", b"\x00", b"{}", b"null"]) + BUNDLE[at:]


def drop_a_line(chance: random.Random) -> bytes:
    at = chance.randrange(len(LINES))
    return b"".join(LINES[:at] + LINES[at + 1 :])


def double_a_line(chance: random.Random) -> bytes:
    at = chance.randrange(len(LINES))
    return b"".join([*LINES[: at + 1], *LINES[at:]])


def move_a_line(chance: random.Random) -> bytes:
    lines = list(LINES)
    lines.insert(chance.randrange(len(lines)), lines.pop(chance.randrange(len(lines))))
    return b"".join(lines)


def swap_two_lines(chance: random.Random) -> bytes:
    lines = list(LINES)
    one, other = chance.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def insert_a_line(chance: random.Random) -> bytes:
    at = chance.randrange(len(LINES) + 1)
    return b"".join([*LINES[:at], chance.choice(LINES + OTHER), *LINES[at:]])


def put_a_foreign_line(chance: random.Random) -> bytes:
    lines = list(LINES)
    lines[chance.randrange(len(lines))] = chance.choice(OTHER)
    return b"".join(lines)


def cut_the_end(chance: random.Random) -> bytes:
    return BUNDLE[: chance.randrange(len(BUNDLE))]


def cut_whole_lines(chance: random.Random) -> bytes:
    return b"".join(LINES[: chance.randrange(len(LINES))])


def respell_a_line(chance: random.Random) -> bytes:
    """The same values, spelt otherwise: spaces, sorted keys, escaped letters, another line end."""
    at = chance.randrange(len(LINES))
    value = json.loads(LINES[at])
    text = chance.choice(
        [
            json.dumps(value, ensure_ascii=False) + "\n",
            json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n",
            json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\r\n",
            json.dumps(value, separators=(",", ":"), ensure_ascii=False) + " \n",
            LINES[at].decode().replace("e", "\\u0065", 1),
            LINES[at].decode().replace("{", '{"record":"entry",', 1),
        ]
    )
    return b"".join([*LINES[:at], text.encode(), *LINES[at + 1 :]])


def swap_a_field(chance: random.Random) -> bytes:
    """Two lines of one kind exchange one field."""
    parsed = [json.loads(line) for line in LINES]
    kind = chance.choice(["entry", "checkpoint"])
    one, other = chance.sample([n for n, line in enumerate(parsed) if line["record"] == kind], 2)
    name = chance.choice([name for name in parsed[one] if name != "record"])
    parsed[one][name], parsed[other][name] = parsed[other][name], parsed[one][name]
    texts = (json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n" for line in parsed)
    return "".join(texts).encode()


TAMPERINGS: list[Callable[[random.Random], bytes]] = [
    flip_a_bit,
    change_a_letter,
    lose_some_bytes,
    add_some_bytes,
    drop_a_line,
    double_a_line,
    move_a_line,
    swap_two_lines,
    insert_a_line,
    put_a_foreign_line,
    cut_the_end,
    cut_whole_lines,
    respell_a_line,
    swap_a_field,
]


def test_the_bundle_to_be_tampered_with_is_rich_and_holds(tmp_path: Path) -> None:
    assert not found(tmp_path, BUNDLE)
    verdict = verify_bundle(write(tmp_path, BUNDLE))
    assert verdict.device_signed >= 3
    assert sum(client.erased for client in verdict.clients) >= 1
    assert sum(client.checkpoints for client in verdict.clients) >= 4


def test_v6_a_thousand_tamperings_are_found(tmp_path: Path) -> None:
    chance = random.Random(6)
    done = dict.fromkeys(TAMPERINGS, 0)
    while sum(done.values()) < 1000:
        tamper = TAMPERINGS[sum(done.values()) % len(TAMPERINGS)]
        content = tamper(chance)
        if content == BUNDLE:
            continue  # by chance nothing was changed
        done[tamper] += 1
        assert found(tmp_path, content), f"{tamper.__name__} number {done[tamper]} was not found"
    assert min(done.values()) >= 71


@pytest.mark.soak
def test_v6_ten_thousand_tamperings_are_found(tmp_path: Path) -> None:
    chance = random.Random(10_000)
    for number in range(10_000):
        tamper = chance.choice(TAMPERINGS)
        content = tamper(chance)
        assert content == BUNDLE or found(tmp_path, content), f"{tamper.__name__} number {number} was not found"


def test_every_single_byte_of_a_small_bundle_matters(tmp_path: Path) -> None:
    """Not by chance: each byte in turn is flipped in its lowest bit, and each is deleted."""
    bench = Workbench(5)
    log = bench.client("Acme")
    log.result(log.enrol())
    log.checkpoint()
    small = bench.bundle()
    assert not found(tmp_path, small)
    for at in range(len(small)):
        assert found(tmp_path, small[:at] + bytes([small[at] ^ 1]) + small[at + 1 :]), f"byte {at} flipped"
    for at in range(0, len(small), 7):
        assert found(tmp_path, small[:at] + small[at + 1 :]), f"byte {at} lost"


@FIXED
@given(st.integers(0, len(BUNDLE) - 1), st.integers(0, 60), st.binary(max_size=60))
def test_any_other_bytes_anywhere_are_found(tmp_path: Path, at: int, length: int, put: bytes) -> None:
    content = BUNDLE[:at] + put + BUNDLE[at + length :]
    assert content == BUNDLE or found(tmp_path, content)


@FIXED
@given(st.lists(st.sampled_from(LINES), max_size=len(LINES) + 2))
def test_any_other_choice_of_the_lines_is_found(tmp_path: Path, chosen: list[bytes]) -> None:
    content = b"".join([LINES[0], *chosen])
    assert content == BUNDLE or found(tmp_path, content)


@FIXED
@given(st.binary(max_size=300))
def test_no_bytes_at_all_crash_the_verifier(tmp_path: Path, content: bytes) -> None:
    assert found(tmp_path, content)
    assert found(tmp_path, b'{"record":"' + content)
    assert found(tmp_path, LINES[0] + content)
