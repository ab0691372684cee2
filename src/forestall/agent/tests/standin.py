"""One good stand-in for the server: in memory, behind the agent's own transport interface, as strict as the real one.

It verifies signatures, MACs, sequences, catalogues, times and records; it can lose requests and answers, forget what
it acknowledged, and refuse on demand. ``TlsDoor`` puts it behind a real TLS 1.3 socket.
"""

from __future__ import annotations

import hmac
import http.server
import ipaddress
import json
import secrets
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from forestall.agent.link.transport import RefusedError, UnreachableError
from forestall.trust import dsse
from forestall.trust.keys import key_id, new_key, public_bytes, signature_holds
from forestall.trust.statements import (
    DeviceNotice,
    JobResult,
    RoleKeys,
    Root,
    Statement,
    read_statement,
    statement_bytes,
)
from forestall.wire import codec
from forestall.wire.checkin import CheckIn, CheckInReply, CheckpointUpdate
from forestall.wire.refusals import HTTP_STATUS, Refusal, RefusalCode
from forestall.wire.session import (
    ChallengeReply,
    EnrolReply,
    EnrolRequest,
    SessionReply,
    SessionRequest,
    check_in_mac,
    enrol_message,
    session_message,
)

DEVICE = "5a0c7f7e-9d1b-4b39-9c1f-0d9d6c7a1b11"
CLIENT = "0f6d2c63-60c5-4c0c-8a3e-3f0a4c9d2e22"
START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


class ManualClock:
    """Three clocks that move when told."""

    def __init__(self, start: datetime = START) -> None:
        self.wall = start
        self.seconds = 1000.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.seconds

    def since_boot(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.seconds += seconds

    def set(self, wall: datetime) -> None:
        """Somebody sets the wall clock."""
        self.wall = wall


class SystemTime:
    """The machine's own time, for tests with real processes."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass
class StandIn:
    """The server. ``request`` is the agent's ``Transport.request``."""

    clock: ManualClock | SystemTime
    public_key: bytes | None = None
    status: str = "approved"
    interval: int = 60
    session_lifetime: timedelta = timedelta(hours=1)
    taken: list[CheckIn] = field(default_factory=list)
    """Check-ins on stable storage, in the order they were taken."""
    refused: list[RefusalCode] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    jobs: list[bytes] = field(default_factory=list)
    documents: list[bytes] = field(default_factory=list)
    resend_facts: list[str] = field(default_factory=list)
    offer: Callable[[int], CheckpointUpdate | None] = lambda _held: None
    refuse: Callable[[CheckIn], RefusalCode | None] = lambda _message: None
    """A further reason to refuse a check-in."""
    fault: str = ""
    """``down``, ``lose_request``, ``lose_answer``: what happens to everything sent."""
    log_key: Ed25519PrivateKey = field(default_factory=new_key)
    root_key: Ed25519PrivateKey = field(default_factory=new_key)
    token: str = "the-secret"
    authority: bytes = b""
    expected: int = 1
    _challenges: set[bytes] = field(default_factory=set)
    _sessions: dict[str, tuple[bytes, datetime]] = field(default_factory=dict)
    _catalogues: dict[bytes, list[str]] = field(default_factory=dict)

    # --- the transport's side ---

    def request(self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
        if self.fault in {"down", "lose_request"}:
            raise UnreachableError(f"127.0.0.1: {self.fault}")
        status, answer = self.answer(method, path, body, headers or {})
        if self.fault == "lose_answer":
            raise UnreachableError("127.0.0.1: lose_answer")
        if status == 200:
            return answer
        refusal = codec.decode_refusal(answer)
        raise RefusedError(refusal.code, refusal.detail, next_sequence=refusal.next_sequence)

    def close(self) -> None:
        pass

    # --- the server's side ---

    def answer(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        self.requests.append(path)
        try:
            if (method, path) == ("GET", codec.AUTHORITY_PATH):
                return 200, self.authority
            if (method, path) == ("POST", codec.ENROL_PATH):
                return 200, self._enrol(msgspec.msgpack.decode(body, type=EnrolRequest))
            if (method, path) == ("POST", codec.CHALLENGE_PATH):
                challenge = secrets.token_bytes(32)
                self._challenges.add(challenge)
                return 200, codec.encode(ChallengeReply(challenge=challenge, server_time=self.clock.now()))
            if (method, path) == ("POST", codec.SESSION_PATH):
                return 200, self._session(msgspec.msgpack.decode(body, type=SessionRequest))
            if (method, path) == ("POST", codec.CHECK_IN_PATH):
                return 200, self._check_in(body, {name.lower(): value for name, value in headers.items()})
            raise codec.WireError(RefusalCode.NOT_FOUND, path)
        except codec.WireError as error:
            self.refused.append(error.code)
            return HTTP_STATUS[error.code], codec.encode(
                Refusal(code=error.code, detail=error.detail, next_sequence=self.expected)
            )

    def forget_sessions(self) -> None:
        """As after a restart with another secret."""
        self._sessions.clear()

    def forget_catalogues(self) -> None:
        self._catalogues.clear()

    def restore(self, expected: int) -> None:
        """A backup is restored: what was acknowledged since is lost."""
        self.taken = [message for message in self.taken if message.sequence < expected]
        self.expected = expected
        self.forget_sessions()

    def _enrol(self, request: EnrolRequest) -> bytes:
        message = enrol_message(
            token=request.token,
            public_key=request.public_key,
            hostname=request.hostname,
            machine_id=request.machine_id,
        )
        if not signature_holds(public=request.public_key, signature=request.signature, message=message):
            raise codec.WireError(RefusalCode.SIGNATURE_WRONG, "$.signature")
        if request.token != self.token or (self.public_key not in {None, request.public_key}):
            raise codec.WireError(RefusalCode.TOKEN_UNUSABLE, "unknown, used or expired")
        self.public_key = request.public_key
        return codec.encode(
            EnrolReply(
                device_id=DEVICE,
                client_id=CLIENT,
                client="Bakery",
                site="Main",
                status=self.status,
                root=self.root(),
                log_key=public_bytes(self.log_key),
            )
        )

    def root(self) -> bytes:
        public = public_bytes(self.root_key)
        role = RoleKeys(keys={key_id(public): public.hex()}, threshold=1)
        now = self.clock.now()
        return signed(
            Root(
                version=1,
                issued_at=now,
                expires_at=now + timedelta(days=365),
                root=role,
                operator=role,
                catalogue=role,
            ),
            self.root_key,
        )

    def _session(self, request: SessionRequest) -> bytes:
        if request.challenge not in self._challenges:
            raise codec.WireError(RefusalCode.CHALLENGE_STALE, "$.challenge")
        self._challenges.discard(request.challenge)
        if request.device_id != DEVICE or self.public_key is None:
            raise codec.WireError(RefusalCode.DEVICE_UNKNOWN, request.device_id)
        message = session_message(device_id=DEVICE, challenge=request.challenge)
        if not signature_holds(public=self.public_key, signature=request.signature, message=message):
            raise codec.WireError(RefusalCode.SIGNATURE_WRONG, "$.signature")
        if self.status == "revoked":
            raise codec.WireError(RefusalCode.DEVICE_REVOKED, "revoked")
        session, key = secrets.token_hex(8), secrets.token_bytes(32)
        ends = self.clock.now() + self.session_lifetime
        self._sessions[session] = (key, ends)
        return codec.encode(
            SessionReply(session=session, key=key, expires_at=ends, next_sequence=self.expected, status=self.status)
        )

    def _check_in(self, body: bytes, headers: Mapping[str, str]) -> bytes:
        session = headers.get(codec.SESSION_HEADER, "")
        key, ends = self._sessions.get(session, (b"", None))
        if ends is None or ends <= self.clock.now():
            raise codec.WireError(RefusalCode.SESSION_UNKNOWN, session)
        mac = check_in_mac(key=key, session=session, body=body).hex()
        if not hmac.compare_digest(mac, headers.get(codec.MAC_HEADER, "")):
            raise codec.WireError(RefusalCode.MAC_WRONG, "mac")
        if self.status != "approved":
            code = RefusalCode.DEVICE_PENDING if self.status == "pending" else RefusalCode.DEVICE_REVOKED
            raise codec.WireError(code, self.status)
        message = codec.decode_check_in(codec.expand(body))
        if message.sequence > self.expected:
            raise codec.WireError(RefusalCode.SEQUENCE_AHEAD, f"$.sequence: {message.sequence}")
        if message.sequence == self.expected:
            self._take(message)
        return codec.encode(
            CheckInReply(
                next_sequence=self.expected,
                server_time=self.clock.now(),
                interval_seconds=self.interval,
                jobs=self.jobs,
                documents=self.documents,
                checkpoint=self.offer(message.checkpoint_size),
                resend_facts=self.resend_facts,
            )
        )

    def _take(self, message: CheckIn) -> None:
        now = self.clock.now()
        moments = [message.made_at]
        block = message.samples
        if block is not None:
            moments += [datetime.fromtimestamp(each / 1000, UTC) for each in block.times]
        if max(moments) > now + timedelta(minutes=5):
            raise codec.WireError(RefusalCode.FROM_THE_FUTURE, "$.made_at")
        if min(moments) < now - timedelta(days=8):
            raise codec.WireError(RefusalCode.TOO_OLD, "$.made_at")
        if (code := self.refuse(message)) is not None:
            raise codec.WireError(code, "on demand")
        for envelope in message.records:
            self.read_record(envelope)
        if block is not None:
            names = block.names or self._catalogues.get(block.catalogue)
            if names is None:
                raise codec.WireError(RefusalCode.CATALOGUE_UNKNOWN, block.catalogue.hex())
            if len(block.values) != 8 * len(block.times) * len(names):
                raise codec.WireError(RefusalCode.SHAPE_WRONG, "$.samples.values")
            self._catalogues[block.catalogue] = names
        self.taken.append(message)
        self.expected += 1

    def read_record(self, envelope: bytes) -> JobResult | DeviceNotice:
        """The statement of a record, which this device must have signed."""
        assert self.public_key is not None
        kinds = {JobResult.PAYLOAD_TYPE: JobResult, DeviceNotice.PAYLOAD_TYPE: DeviceNotice}
        kind = kinds[dsse.decode(envelope).payloadType]
        body, signed_by = dsse.signers(envelope, kind.PAYLOAD_TYPE, {key_id(self.public_key): self.public_key})
        if not signed_by:
            raise codec.WireError(RefusalCode.SIGNATURE_WRONG, "$.records")
        statement = read_statement(body, kind)
        if statement.device_id != DEVICE:
            raise codec.WireError(RefusalCode.RECORD_FOREIGN, statement.device_id)
        return statement

    # --- what the tests ask of it ---

    @property
    def notices(self) -> list[DeviceNotice]:
        records = [self.read_record(envelope) for message in self.taken for envelope in message.records]
        return [record for record in records if isinstance(record, DeviceNotice)]

    @property
    def results(self) -> list[JobResult]:
        records = [self.read_record(envelope) for message in self.taken for envelope in message.records]
        return [record for record in records if isinstance(record, JobResult)]

    @property
    def sample_times(self) -> list[int]:
        """Times of all samples taken, in the order in which they arrived."""
        return [each for message in self.taken if message.samples for each in message.samples.times]

    @property
    def documents_taken(self) -> list[str]:
        return [report.document.name() for message in self.taken for report in message.facts]


def signed(statement: Statement, *keys: Ed25519PrivateKey) -> bytes:
    return dsse.sign(statement_bytes(statement), statement.PAYLOAD_TYPE, keys)


# --- the same behind TLS ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Authority:
    """A certificate authority, and a server certificate of it for 127.0.0.1."""

    ca_pem: bytes
    fingerprint: str
    chain: Path
    key: Path


def authority_make(folder: Path) -> Authority:
    now = datetime.now(UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])

    def certificate(subject: x509.Name, public: ec.EllipticCurvePublicKey, *, is_ca: bool) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if not is_ca:
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(ca_key, hashes.SHA256())

    ca = certificate(ca_name, ca_key.public_key(), is_ca=True)
    server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test intake")])
    server = certificate(server_name, key.public_key(), is_ca=False)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "server.pem").write_bytes(server.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return Authority(
        ca_pem=ca.public_bytes(serialization.Encoding.PEM),
        fingerprint=ca.fingerprint(hashes.SHA256()).hex(),
        chain=folder / "server.pem",
        key=folder / "server.key",
    )


class TlsDoor:
    """Serves a stand-in over TLS on a port of 127.0.0.1 that the system chooses."""

    def __init__(self, standin: StandIn, authority: Authority, *, newest: ssl.TLSVersion | None = None) -> None:
        standin.authority = authority.ca_pem
        self.connections = 0
        door = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def setup(self) -> None:
                door.connections += 1
                super().setup()

            def answer_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                with door.lock:
                    status, answer = standin.answer(self.command, self.path, body, dict(self.headers))
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                if door.hang_up:
                    self.close_connection = True

            do_GET = do_POST = answer_one  # noqa: N815 - the library's names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.lock = threading.Lock()
        self.hang_up = False
        """Close the connection after each answer, without saying so in it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.chain, authority.key)
        if newest is not None:
            context.maximum_version = newest
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def main() -> None:
    """``python -m forestall.agent.tests.standin FOLDER``: serve until killed; says where in FOLDER/door.json."""
    import sys
    import time

    folder = Path(sys.argv[1])
    authority = authority_make(folder)
    standin = StandIn(clock=SystemTime())  # type: ignore[arg-type]
    door = TlsDoor(standin, authority)
    public = public_bytes(standin.root_key)
    token = f"fse1.{standin.token}.{authority.fingerprint}.{key_id(public)}"
    (folder / "door.json.new").write_text(json.dumps({"url": door.url, "token": token}))
    (folder / "door.json.new").rename(folder / "door.json")
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
