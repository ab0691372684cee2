"""A small agent for tests: real TLS, real bytes, no spool."""

import http.client
import ssl
import time
from datetime import UTC, datetime

import msgspec
import numpy as np

from forestall.trust.keys import new_key, public_bytes
from forestall.trust.statements import DeviceNotice, JobResult
from forestall.wire import codec
from forestall.wire.checkin import CheckIn, SampleBlock
from forestall.wire.refusals import Refusal
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

NAMES = ("cpu.used_percent", "memory.available_percent", "disk.used_percent{volume=/}")


class RefusedError(Exception):
    """The server refused."""

    def __init__(self, status, refusal):
        super().__init__(f"{status} {refusal.code}: {refusal.detail}")
        self.status = status
        self.code = str(refusal.code)
        self.detail = refusal.detail
        self.next_sequence = refusal.next_sequence


class Client:
    """A device: its key, its session, its sequence number."""

    def __init__(self, address, ca_pem, *, key=None):
        self.host, self.port = address
        self.context = ssl.create_default_context(cadata=ca_pem)
        self.key = key or new_key()
        self.connection = None
        self.device_id = ""
        self.client_id = ""
        self.session = None
        self.sequence = 1

    @property
    def public_key(self):
        return public_bytes(self.key)

    def request(self, method, path, body=b"", headers=None):
        """Status and body; connects when needed."""
        if self.connection is None:
            self.connection = http.client.HTTPSConnection(self.host, self.port, context=self.context, timeout=20)
        try:
            self.connection.request(method, path, body=body, headers=headers or {})
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def ask(self, method, path, body=b"", headers=None):
        """The body of a success; RefusedError otherwise."""
        status, answer = self.request(method, path, body, headers)
        if status != 200:
            raise RefusedError(status, msgspec.msgpack.decode(answer, type=Refusal))
        return answer

    def enrol(self, token, *, hostname="reception-pc", signer=None):
        secret = token.split(".")[1] if token.startswith("fse1.") else token
        message = enrol_message(token=secret, public_key=self.public_key, hostname=hostname, machine_id="m-1")
        request = EnrolRequest(
            token=secret,
            public_key=self.public_key,
            hostname=hostname,
            machine_id="m-1",
            agent_version="1.0",
            signature=(signer or self.key).sign(message),
        )
        answer = self.ask("POST", codec.ENROL_PATH, codec.encode(request))
        reply = msgspec.msgpack.decode(answer, type=EnrolReply)
        self.device_id, self.client_id = reply.device_id, reply.client_id
        return reply

    def challenge(self):
        return msgspec.msgpack.decode(self.ask("GET", codec.CHALLENGE_PATH), type=ChallengeReply).challenge

    def open(self, *, challenge=None, signer=None):
        challenge = self.challenge() if challenge is None else challenge
        message = session_message(device_id=self.device_id, challenge=challenge)
        request = SessionRequest(
            device_id=self.device_id, challenge=challenge, signature=(signer or self.key).sign(message)
        )
        answer = self.ask("POST", codec.SESSION_PATH, codec.encode(request))
        self.session = msgspec.msgpack.decode(answer, type=SessionReply)
        self.sequence = self.session.next_sequence
        return self.session

    def make(
        self,
        *,
        sequence=None,
        values=(10.0, 60.0, 40.0),
        names=NAMES,
        made_at=None,
        times=None,
        with_names=True,
        **more,
    ):
        """A check-in of one row of samples; ``values=None``: without samples."""
        now = time.time()
        block = None
        if values is not None:
            block = SampleBlock(
                catalogue=codec.catalogue_id(names),
                times=times or [int(now * 1000)],
                values=np.array(values, dtype="<f8").tobytes(),
                names=list(names) if with_names else None,
            )
        return CheckIn(
            sequence=self.sequence if sequence is None else sequence,
            made_at=made_at or datetime.fromtimestamp(now, UTC),
            boot_id="boot-1",
            agent_version="1.0",
            samples=block,
            **more,
        )

    def headers(self, body, *, key=None, sent_at=None):
        mac = check_in_mac(key=key or self.session.key, session=self.session.session, body=body)
        headers = {codec.SESSION_HEADER: self.session.session, codec.MAC_HEADER: mac.hex()}
        if sent_at is not None:
            headers[codec.SENT_AT_HEADER] = str(sent_at)
        return headers

    def send(self, body, *, sent_at=None):
        """Send these bytes as a check-in, properly authenticated."""
        answer = self.ask("POST", codec.CHECK_IN_PATH, body, self.headers(body, sent_at=sent_at))
        reply = codec.decode_reply(answer)
        self.sequence = reply.next_sequence
        return reply

    def check_in(self, *, sent_at=None, **what):
        return self.send(codec.pack(self.make(**what)), sent_at=sent_at)

    def notice(self, detail="clock went back", *, device_id=None, client_id=None, signer=None):
        """A signed notice of this device."""
        from forestall.trust.dsse import sign
        from forestall.trust.statements import statement_bytes

        statement = DeviceNotice(
            device_id=device_id or self.device_id,
            client_id=client_id or self.client_id,
            at=datetime.now(UTC),
            event="clock_stepped",
            detail=detail,
        )
        return sign(statement_bytes(statement), DeviceNotice.PAYLOAD_TYPE, [signer or self.key])

    def result(self, job_id="0" * 8, *, outcome="refused"):
        """A signed job result of this device."""
        from forestall.trust.dsse import sign
        from forestall.trust.statements import statement_bytes

        now = datetime.now(UTC)
        statement = JobResult(
            job_id=job_id,
            device_id=self.device_id,
            client_id=self.client_id,
            outcome=outcome,
            code="expired",
            detail="the job had expired",
            runbook="0" * 64,
            started_at=now,
            finished_at=now,
            steps=(),
        )
        return sign(statement_bytes(statement), JobResult.PAYLOAD_TYPE, [self.key])
