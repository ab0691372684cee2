"""Everything that must not get in: refused with its code, without effect, by the real process over real TLS.

Each test ends as it began: the device's next honest check-in is taken, and only honest ones are ever stored.
"""

import http.client
import os
import socket
import ssl
import struct
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from client import NAMES, RefusedError
from intake_world import World

from forestall.trust.keys import new_key
from forestall.wire import codec
from forestall.wire.checkin import FactsReport, SampleBlock
from forestall.wire.facts import Package, Software
from forestall.wire.refusals import HTTP_STATUS, RefusalCode


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("home"))
    world.start()
    yield world
    world.close()
    assert "Traceback" not in world.log(), world.log()


@pytest.fixture(scope="module")
def ada(world):
    """An honest device of Acme."""
    one = world.device(hostname="ada-pc")
    one.check_in(values=(1.0, 1.0, 1.0))
    return one


@pytest.fixture
def unharmed(world, ada):
    """After the test, ada checks in as ever, and nothing else was stored for her."""
    world.do("apply")
    before = world.do("samples", device_id=ada.device_id, name="cpu.used_percent")
    expected = ada.sequence
    yield
    ada.open()
    assert ada.sequence == expected
    ada.check_in(values=(2.0, 2.0, 2.0))
    world.do("apply")
    assert world.do("samples", device_id=ada.device_id, name="cpu.used_percent") == [*before, 2.0]
    assert world.do("state", device_id=ada.device_id)["set_aside"] == []


def refused(act, code):
    with pytest.raises(RefusedError) as caught:
        act()
    assert caught.value.code == code, caught.value
    assert caught.value.status == HTTP_STATUS[RefusalCode(code)]
    return caught.value


def packed(value):
    return zlib.compress(msgspec.msgpack.encode(value))


def deep(levels):
    return zlib.compress(b"\x81\xa7unknown" + b"\x91" * levels + b"\x90")


MALFORMED = {
    "empty": b"",
    "not zlib": b"hello, intake",
    "zlib of nothing": zlib.compress(b""),
    "not MessagePack": zlib.compress(b"\xc1\xc1\xc1"),
    "a list": packed([1, 2, 3]),
    "no fields": packed({}),
    "sequence is text": packed({"sequence": "one", "made_at": datetime.now(UTC), "boot_id": "", "agent_version": ""}),
    "a time without zone": packed(
        {"sequence": 2, "made_at": "2026-11-23T09:00:00", "boot_id": "", "agent_version": ""}
    ),
    "a time out of this world": packed(
        {
            "sequence": 2,
            "made_at": msgspec.msgpack.Ext(-1, struct.pack(">Iq", 0, 2**62)),
            "boot_id": "",
            "agent_version": "",
        }
    ),
    "nested too deep": deep(200_000),
    "cut short": packed({"sequence": 2, "made_at": datetime.now(UTC), "boot_id": "", "agent_version": ""})[:-6],
    "something after it": packed({"sequence": 2, "made_at": datetime.now(UTC), "boot_id": "", "agent_version": ""})
    + b"x",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_check_in_is_malformed(ada, unharmed, body):
    answer = refused(lambda: ada.send(body), "malformed")
    assert answer.next_sequence == ada.sequence


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_check_in_with_a_few_wrong_bytes_never_breaks_intake(ada, data):
    """Not one of these may be an unhandled error; what is taken by chance has the sequence of a repeat."""
    raw = bytearray(codec.encode(ada.make(sequence=1)))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        body = zlib.compress(bytes(raw))
        ada.ask("POST", codec.CHECK_IN_PATH, body, ada.headers(body))
    except RefusedError as error:
        if error.code not in {"malformed", "shape_wrong", "sequence_ahead"}:
            raise


SHAPES = {
    "sequence 0": {"sequence": 0},
    "a value too few": {"values": (1.0, 2.0)},
    "times that fall": {"times": [1000, 900], "values": (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)},
    "no times": {"times": []},
    "a time twice": {"times": [1000, 1000], "values": (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)},
}


@pytest.mark.parametrize("what", SHAPES.values(), ids=SHAPES.keys())
def test_samples_of_the_wrong_shape_are_refused(ada, unharmed, what):
    message = ada.make(**{"values": (1.0, 2.0, 3.0), **what})
    if what.get("times") == []:
        message = msgspec.structs.replace(message, samples=msgspec.structs.replace(message.samples, times=[]))
    refused(lambda: ada.send(codec.pack(message)), "shape_wrong")


def test_names_that_are_not_those_of_the_catalogue_are_refused(ada, unharmed):
    block = ada.make().samples
    forged = msgspec.structs.replace(block, catalogue=codec.catalogue_id(["cpu.used_percent"]))
    refused(lambda: ada.send(codec.pack(_with(ada, forged))), "shape_wrong")


def _with(one, block):
    return msgspec.structs.replace(one.make(), samples=block)


def test_values_that_do_not_fit_a_known_catalogue_are_refused(ada, unharmed):
    block = SampleBlock(
        catalogue=codec.catalogue_id(NAMES), times=[int(time.time() * 1000)], values=np.zeros(4).tobytes()
    )
    refused(lambda: ada.send(codec.pack(_with(ada, block))), "shape_wrong")


def test_a_catalogue_nobody_sent_is_asked_for(ada, unharmed):
    names = ("cpu.used_percent", "load.1m")
    refused(lambda: ada.check_in(names=names, values=(1.0, 1.0), with_names=False), "catalogue_unknown")


def test_a_body_larger_than_the_bound_is_refused_before_it_is_read(ada, unharmed):
    with (
        socket.create_connection((ada.host, ada.port)) as plain,
        ada.context.wrap_socket(plain, server_hostname=ada.host) as connection,
    ):
        headers = "".join(f"{name}: {value}\r\n" for name, value in ada.headers(b"").items())
        connection.sendall(
            f"POST {codec.CHECK_IN_PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 900000000\r\n{headers}\r\n".encode()
        )
        connection.settimeout(5)
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_body_larger_than_the_bound_without_saying_so_is_refused_too(ada, unharmed):
    body = os.urandom(codec.MAX_BODY_BYTES + 1)
    connection = http.client.HTTPSConnection(ada.host, ada.port, context=ada.context, timeout=10)
    parts = (body[at : at + 65536] for at in range(0, len(body), 65536))
    connection.request("POST", codec.CHECK_IN_PATH, body=parts, headers=ada.headers(body), encode_chunked=True)
    answer = connection.getresponse()
    assert (answer.status, codec.decode_refusal(answer.read()).code) == (413, "too_large")
    connection.close()


def resident_bytes(process):
    pages = Path(f"/proc/{process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_a_bomb_is_refused_before_it_goes_off(world, ada, unharmed):
    bomb = zlib.compress(b"\0" * (900 * 1024 * 1024), 9)
    assert len(bomb) < codec.MAX_BODY_BYTES
    before = resident_bytes(world.intake)
    refused(lambda: ada.send(bomb), "expands_too_far")
    assert resident_bytes(world.intake) - before < 16 * 1024 * 1024


def test_a_message_of_many_tiny_things_takes_little_memory(world, ada, unharmed):
    """Within the byte bound, but a million list items: the bound on lists comes before the list."""
    raw = msgspec.msgpack.encode({"sequence": 2, "made_at": datetime.now(UTC), "boot_id": "", "agent_version": ""})
    raw = bytes([raw[0] + 1]) + raw[1:] + b"\xa7records\xdd" + struct.pack(">I", 3_000_000) + b"\xc4\x00" * 1_900_000
    before = resident_bytes(world.intake)
    refused(lambda: ada.send(zlib.compress(raw)), "malformed")
    assert resident_bytes(world.intake) - before < 16 * 1024 * 1024


def test_without_session_or_mac_nothing_is_read(ada, unharmed):
    body = codec.pack(ada.make())
    for missing in (codec.SESSION_HEADER, codec.MAC_HEADER):
        headers = {name: value for name, value in ada.headers(body).items() if name != missing}
        refused(lambda headers=headers: ada.ask("POST", codec.CHECK_IN_PATH, body, headers), "session_missing")


@pytest.mark.parametrize("token", ["x", "A" * 72, "é" * 10, "A" * 5000])
def test_a_session_of_another_server_is_unknown(ada, unharmed, token):
    body = codec.pack(ada.make())
    headers = {**ada.headers(body), codec.SESSION_HEADER: token.encode()}
    refused(lambda: ada.ask("POST", codec.CHECK_IN_PATH, body, headers), "session_unknown")


def test_a_wrong_mac_is_refused_and_counted_for_people_to_see(world, ada, unharmed):
    body = codec.pack(ada.make())
    for headers in (
        ada.headers(body, key=bytes(32)),
        ada.headers(body + b"x"),
        {**ada.headers(body), codec.MAC_HEADER: "00"},
    ):
        refused(lambda headers=headers: ada.ask("POST", codec.CHECK_IN_PATH, body, headers), "mac_wrong")
    deadline = time.monotonic() + 10
    while world.do("state", device_id=ada.device_id)["refusals"].get("mac_wrong") != 3:
        assert time.monotonic() < deadline
        time.sleep(0.2)
        world.do("apply")


def test_one_devices_mac_does_not_open_anothers_session(world, ada, unharmed):
    bob = world.device(client="Globex", hostname="bob-pc")
    body = codec.pack(ada.make())
    stolen = {**bob.headers(body), codec.SESSION_HEADER: ada.session.session}
    refused(lambda: bob.ask("POST", codec.CHECK_IN_PATH, body, stolen), "mac_wrong")


def test_a_repeat_is_acknowledged_and_changes_nothing(world, ada, unharmed):
    replies = [ada.check_in(sequence=1, values=(99.0, 99.0, 99.0)) for _ in range(3)]
    assert {reply.next_sequence for reply in replies} == {ada.sequence}
    assert world.do("apply") == 0


def test_a_number_ahead_is_refused_with_where_the_server_stands(ada, unharmed):
    answer = refused(lambda: ada.check_in(sequence=ada.sequence + 1), "sequence_ahead")
    assert answer.next_sequence == ada.sequence


def test_a_check_in_from_the_future_is_refused(ada, unharmed):
    soon = datetime.now(UTC) + timedelta(minutes=6)
    refused(lambda: ada.check_in(made_at=soon), "from_the_future")
    refused(lambda: ada.check_in(times=[int(soon.timestamp() * 1000)]), "from_the_future")
    refused(lambda: ada.check_in(times=[2**62]), "from_the_future")


def test_a_check_in_older_than_any_spool_is_refused(ada, unharmed):
    old = datetime.now(UTC) - timedelta(days=9)
    refused(lambda: ada.check_in(made_at=old), "too_old")
    refused(lambda: ada.check_in(times=[int(old.timestamp() * 1000)]), "too_old")
    refused(lambda: ada.check_in(times=[-(2**62)]), "too_old")


def test_records_of_another_device_or_hand_are_refused(world, ada, unharmed):
    bob = world.device(client="Globex", hostname="eve-pc")
    refused(lambda: ada.check_in(records=[bob.notice()]), "record_foreign")
    refused(lambda: ada.check_in(records=[ada.notice(device_id=bob.device_id)]), "record_foreign")
    refused(lambda: ada.check_in(records=[ada.notice(client_id=bob.client_id)]), "record_foreign")
    refused(lambda: ada.check_in(records=[ada.notice(), ada.notice(signer=new_key())]), "signature_wrong")
    refused(lambda: ada.check_in(records=[b"not an envelope"]), "malformed")
    refused(lambda: ada.check_in(records=[ada.notice()] * 65), "malformed")


def test_a_pending_device_holds_a_session_but_may_not_check_in(world):
    one = world.device(hostname="pending-pc", approved=False)
    assert one.session.status == "pending"
    refused(one.check_in, "device_pending")
    world.do("approve", device_id=one.device_id)
    deadline = time.monotonic() + 1.5
    while True:
        try:
            one.check_in()
            break
        except RefusedError as error:
            if error.code != "device_pending" or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_a_revoked_device_is_shut_out_within_a_second_even_in_an_open_session(world):
    one = world.device(hostname="stolen-pc")
    one.check_in()
    world.do("revoke", device_id=one.device_id)
    time.sleep(1.5)
    refused(one.check_in, "device_revoked")
    refused(one.open, "device_revoked")
    world.do("apply")
    assert len(world.do("samples", device_id=one.device_id, name="cpu.used_percent")) == 1


# --- enrolment and sessions --------------------------------------------------------------------------------------


def test_a_token_enrols_one_device_once(world):
    token = world.do("token")
    first = world.client()
    reply = first.enrol(token, hostname="first-pc")
    assert reply.status == "pending"
    assert (reply.client, reply.site) == ("Acme", "Main site")
    again = first.enrol(token)
    assert again.device_id == reply.device_id, "an agent whose answer was lost asks again"
    refused(lambda: world.client().enrol(token), "token_unusable")
    refused(lambda: world.client().enrol("guess"), "token_unusable")
    refused(lambda: world.client().enrol(world.do("token", hours=-1)), "token_unusable")


def test_of_many_devices_with_one_token_at_once_one_gets_in(world):
    token = world.do("token")

    def attempt(number):
        try:
            return world.client().enrol(token, hostname=f"rival-{number}").device_id
        except RefusedError as error:
            return error.code

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(attempt, range(8)))
    assert sorted(answers).count("token_unusable") == 7


def test_an_enrolment_without_the_key_it_names_is_refused(world):
    token = world.do("token")
    refused(lambda: world.client().enrol(token, signer=new_key()), "signature_wrong")
    world.client().enrol(token)


def test_a_session_needs_the_devices_signature_over_a_fresh_challenge(world, ada):
    refused(lambda: ada.open(signer=new_key()), "signature_wrong")
    challenge = ada.challenge()
    ada.open(challenge=challenge)
    refused(lambda: ada.open(challenge=challenge), "challenge_stale")
    refused(lambda: ada.open(challenge=b"x" * len(challenge)), "challenge_stale")
    refused(lambda: ada.open(challenge=b""), "challenge_stale")
    stranger = world.client()
    stranger.device_id = "5a4c0000-0000-4000-8000-000000000001"
    refused(stranger.open, "device_unknown")
    stranger.device_id = "'; DROP TABLE inventory_device; --"
    refused(stranger.open, "device_unknown")


@pytest.mark.parametrize("path", [codec.ENROL_PATH, codec.SESSION_PATH])
@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x91" * 10_000, msgspec.msgpack.encode({"token": 1})])
def test_requests_that_are_none_are_malformed(ada, path, body):
    refused(lambda: ada.ask("POST", path, body), "malformed")


def test_other_paths_and_methods_are_none_of_this_protocol(ada):
    refused(lambda: ada.ask("GET", "/"), "not_found")
    refused(lambda: ada.ask("GET", "/v1/../admin"), "not_found")
    refused(lambda: ada.ask("GET", codec.CHECK_IN_PATH), "method_wrong")
    refused(lambda: ada.ask("DELETE", codec.SESSION_PATH), "method_wrong")
    refused(lambda: ada.ask("POST", codec.ENROL_PATH, b"x" * 20_000), "too_large")


# --- TLS -----------------------------------------------------------------------------------------------------------


def test_nothing_older_than_tls_1_3_is_spoken(world):
    context = ssl.create_default_context(cadata=world.ca_pem)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(world.address) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="127.0.0.1")
    context = ssl.create_default_context(cadata=world.ca_pem)
    for name in ("127.0.0.1", "localhost", socket.gethostname()):
        with (
            socket.create_connection(world.address) as plain,
            context.wrap_socket(plain, server_hostname=name) as connection,
        ):
            assert connection.version() == "TLSv1.3"


def test_plain_text_gets_no_answer(world):
    with socket.create_connection(world.address) as plain:
        plain.settimeout(5)
        plain.sendall(b"GET /v1/challenge HTTP/1.1\r\nhost: x\r\n\r\n")
        try:
            answer = plain.recv(1000)
        except ConnectionResetError:
            answer = b""
        assert b"HTTP/1.1" not in answer


def test_the_authority_is_served_for_pinning(world, ada):
    assert ada.ask("GET", codec.AUTHORITY_PATH).decode() == world.ca_pem


# --- what is taken ---------------------------------------------------------------------------------------------------


def test_a_whole_check_in_arrives_where_it_belongs(world):
    grace = world.device(hostname="grace-pc")
    software = Software(manager="dpkg", packages=(Package(name="libc6", version="2.36-9"),))
    newer = Software(manager="dpkg", packages=(Package(name="libc6", version="2.36-10"),))
    now = datetime.now(UTC)
    for document in (software, newer):
        report = FactsReport(collected_at=now, digest=codec.facts_digest(document), document=document)
        grace.check_in(facts=[report], sent_at=int((time.time() + 7) * 1000))
    grace.check_in(records=[grace.notice()], values=(1.0, 60.0, 10.0))
    grace.check_in(values=(99.0, 60.0, 99.0), with_names=False)
    assert world.do("apply") >= 4
    state = world.do("state", device_id=grace.device_id)
    assert state["facts"] == ["software"]
    assert state["changes"] == ["1 package changed version: libc6 2.36-10"]
    assert abs(state["clock_offset_seconds"] - 7) < 1
    assert state["boot_id"] == "boot-1"
    assert state["evidence"].count("facts:changed") == 2
    assert state["evidence"][-1] == "device:notice"
    crossed = [detail for subject, detail in world.do("events", name="samples.crossed") if subject == grace.device_id]
    assert crossed
    assert set(crossed[-1]["metrics"]) == {"cpu.used_percent", "disk.used_percent"}


def test_a_large_document_is_decoded_beside_the_loop_and_taken(world, ada, unharmed):
    packages = tuple(Package(name=f"package-{number}", version=os.urandom(8).hex()) for number in range(20_000))
    document = Software(manager="dpkg", packages=packages)
    report = FactsReport(collected_at=datetime.now(UTC), digest=codec.facts_digest(document), document=document)
    one = world.device(hostname="large-pc")
    one.check_in(facts=[report])
    world.do("apply")
    assert world.do("state", device_id=one.device_id)["facts"] == ["software"]
