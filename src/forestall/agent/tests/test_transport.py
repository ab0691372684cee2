"""The way to the server, over real sockets."""

from __future__ import annotations

import socket
import ssl
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestall.agent.config import Limits
from forestall.agent.link.transport import (
    HttpsTransport,
    LinkError,
    ProtocolError,
    RefusedError,
    UnreachableError,
    certificate_fingerprint,
    pinned_context,
    read_head,
    refusal_of,
    split_url,
)
from forestall.agent.tests.standin import StandIn, SystemTime, TlsDoor, authority_make
from forestall.wire.codec import encode
from forestall.wire.refusals import Refusal, RefusalCode

QUICK = Limits(connect_seconds=2, answer_seconds=1)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return authority_make(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def door(authority):
    door = TlsDoor(StandIn(clock=SystemTime()), authority)
    yield door
    door.close()


def transport_to(door, authority):
    return HttpsTransport(door.url, context=pinned_context(authority.ca_pem.decode()), limits=QUICK)


def test_one_connection_serves_many_requests(door, authority):
    transport = transport_to(door, authority)
    for _ in range(5):
        assert certificate_fingerprint(transport.request("GET", "/v1/authority").decode()) == authority.fingerprint
    assert door.connections == 1


def test_a_connection_that_the_server_closed_while_idle_is_made_anew(door, authority):
    transport = transport_to(door, authority)
    door.hang_up = True
    for _ in range(3):
        transport.request("GET", "/v1/authority")
    assert door.connections == 3


def test_a_refusal_carries_its_code(door, authority):
    with pytest.raises(RefusedError) as refused:
        transport_to(door, authority).request("POST", "/v1/nonsense")
    assert refused.value.code is RefusalCode.NOT_FOUND


def test_a_code_of_a_later_version_is_kept_as_it_is():
    body = encode(Refusal(code=RefusalCode.TOO_OLD, detail="x")).replace(b"too_old", b"too_new")
    error = refusal_of(400, body)
    assert isinstance(error, RefusedError)
    assert error.code == "too_new"


def test_a_server_of_another_authority_is_refused(door, tmp_path):
    other = authority_make(tmp_path)
    with pytest.raises(UnreachableError, match="pinned authority did not sign"):
        transport_to(door, other).request("GET", "/v1/authority")


def test_a_certificate_for_another_name_is_refused(door, authority):
    context = pinned_context(authority.ca_pem.decode())
    transport = HttpsTransport(door.url.replace("127.0.0.1", "localhost"), context=context, limits=QUICK)
    with pytest.raises(UnreachableError, match="localhost"):
        transport.request("GET", "/v1/authority")


def test_a_server_that_speaks_only_tls_1_2_is_refused(authority):
    door = TlsDoor(StandIn(clock=SystemTime()), authority, newest=ssl.TLSVersion.TLSv1_2)
    try:
        with pytest.raises(UnreachableError):
            transport_to(door, authority).request("GET", "/v1/authority")
    finally:
        door.close()


def test_nobody_listening_is_said_so(authority):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    transport = HttpsTransport(
        f"https://127.0.0.1:{port}", context=pinned_context(authority.ca_pem.decode()), limits=QUICK
    )
    with pytest.raises(UnreachableError, match=str(port)):
        transport.request("GET", "/")


class Mute:
    """A TLS server that answers every connection with the same bytes, or with silence."""

    def __init__(self, authority, answer, *, close=True):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.chain, authority.key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._kept = []

        def serve():
            while True:
                try:
                    plain, _ = self._listener.accept()
                except OSError:
                    return
                try:
                    connection = context.wrap_socket(plain, server_side=True)
                    connection.recv(65536)
                    connection.sendall(answer)
                except OSError:
                    continue  # the agent hung up: its right
                if close:
                    connection.close()
                else:
                    self._kept.append(connection)

        threading.Thread(target=serve, daemon=True).start()

    def close(self):
        self._listener.close()
        for connection in self._kept:
            connection.close()


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (b"", UnreachableError, "without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", ProtocolError, "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\n\r\n", ProtocolError, "without Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", ProtocolError, "'-5' bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", ProtocolError, "99999999999"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", ProtocolError, "5 of 10"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nlong", ProtocolError, "2 bytes after"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ProtocolError, "chunked"),
        (b"HTTP/1.1 502 Bad\r\nContent-Length: 5\r\n\r\nhello", ProtocolError, "502"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000, ProtocolError, "of headers"),
        (b"HTTP/1.1 200 OK\r\nCont", ProtocolError, "within its headers"),
    ],
)
def test_an_answer_that_is_none_is_a_protocol_error(authority, answer, error, says):
    server = Mute(authority, answer)
    try:
        transport = HttpsTransport(server.url, context=pinned_context(authority.ca_pem.decode()), limits=QUICK)
        with pytest.raises(error, match=says):
            transport.request("GET", "/")
    finally:
        server.close()


def test_a_silent_server_is_given_up_in_time(authority):
    server = Mute(authority, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", close=False)
    try:
        transport = HttpsTransport(server.url, context=pinned_context(authority.ca_pem.decode()), limits=QUICK)
        with pytest.raises(UnreachableError, match="in time"):
            transport.request("GET", "/")
    finally:
        server.close()


@given(st.binary(max_size=300))
def test_any_head_is_read_or_refused(head):
    try:
        status, length, _ = read_head(b"HTTP/1.1 " + head)
    except LinkError:
        return
    assert 0 <= status <= 999
    assert length >= 0


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://127.0.0.1:8421", ("127.0.0.1", 8421)),
        ("https://intake.example.org", ("intake.example.org", 443)),
        ("https://[::1]:8421/", ("::1", 8421)),
        ("https://[::1]", ("::1", 443)),
    ],
)
def test_addresses_of_servers(url, parts):
    assert split_url(url) == parts


@pytest.mark.parametrize(
    "url", ["http://a:1", "a:1", "https://", "https://a:0", "https://a:x", "https://a/b", "https://a:70000"]
)
def test_other_addresses_are_refused_by_name(url):
    with pytest.raises(ValueError, match=r"https|port"):
        split_url(url)
