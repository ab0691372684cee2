"""Intake's application on a real journal, called without sockets: for stories with thousands of turns."""

import sqlite3
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import numpy as np

from forestall.server.intake.app import Bounds, Intake
from forestall.server.intake.catalogues import Catalogues
from forestall.server.intake.journal import Journal, JournalFile
from forestall.server.intake.known import KnownDevice, Picture, Watch
from forestall.server.intake.refused import RefusedError
from forestall.server.intake.serving import Request
from forestall.server.intake.sessions import Sessions
from forestall.trust.keys import new_key, public_bytes
from forestall.wire import codec
from forestall.wire.checkin import CheckIn, SampleBlock
from forestall.wire.refusals import Refusal
from forestall.wire.session import check_in_mac

NAMES = ("cpu.used_percent", "disk.used_percent{volume=/}")
LEVELS = {"cpu.used_percent": [90.0], "disk.used_percent": [80.0, 90.0]}
CLIENT = UUID(int=0xAC3E)


class NearIntake:
    """The application, its journal file and some approved devices."""

    def __init__(self, path, *, devices=3, file=None, bounds=None):
        self.path = path
        self.file = file or JournalFile(path)
        expected = self.file.open()
        self.keys = [new_key() for _ in range(devices)]
        self.devices = [UUID(int=number + 1) for number in range(devices)]
        self.sessions = Sessions(b"s" * 32)
        self.opened = [self.sessions.session_make(device_id=one, now=time.time()) for one in self.devices]
        self.watch = Watch(clock=time.monotonic)
        self.watch.picture = Picture(
            at=time.monotonic(),
            devices={
                one.bytes: KnownDevice(one, "approved", public_bytes(key), CLIENT)
                for one, key in zip(self.devices, self.keys, strict=True)
            },
        )
        self.journal = Journal(self.file, expected=expected)
        self.app = Intake(
            sessions=self.sessions,
            journal=self.journal,
            catalogues=Catalogues(self.file.catalogues()),
            watch=self.watch,
            authority=b"",
            enrol=lambda request, now: None,
            refresh=self._refresh,
            bounds=bounds or Bounds(),
        )
        self.app.crossings.levels_set(LEVELS)

    async def _refresh(self):
        pass

    @asynccontextmanager
    async def running(self):
        self.journal.start()
        try:
            yield self
        finally:
            await self.journal.stop()

    def message(self, sequence, *, value=10.0, with_names=True, **more):
        now = time.time()
        block = SampleBlock(
            catalogue=codec.catalogue_id(NAMES),
            times=[int(now * 1000) + sequence],  # two in one millisecond would be one sample
            values=np.array([value, value], dtype="<f8").tobytes(),
            names=list(NAMES) if with_names else None,
        )
        return CheckIn(
            sequence=sequence,
            made_at=datetime.fromtimestamp(now, UTC),
            boot_id="b",
            agent_version="1",
            samples=block,
            **more,
        )

    async def post(self, device, body):
        """Status and answer (reply or refusal) of a check-in."""
        session = self.opened[device]
        mac = check_in_mac(key=session.key, session=session.token, body=body).hex().encode()
        headers = {codec.SESSION_HEADER.encode(): session.token.encode(), codec.MAC_HEADER.encode(): mac}
        try:
            self.app.hold(len(body))
            status, answer = await self.app.respond(Request("POST", codec.CHECK_IN_PATH, headers, body))
        except RefusedError as refused:
            status, answer = self.app.refuse(refused)
        finally:
            self.app.release(len(body))
        if status == 200:
            return status, codec.decode_reply(answer)
        return status, msgspec.msgpack.decode(answer, type=Refusal)

    async def check_in(self, device, sequence, **what):
        return await self.post(device, codec.pack(self.message(sequence, **what)))

    def stored(self):
        """Device number → sequence numbers in the journal, in the order of its rows."""
        found = {number: [] for number in range(len(self.devices))}
        connection = sqlite3.connect(self.path)
        for device, sequence in connection.execute("SELECT device, sequence FROM entry WHERE kind = 0 ORDER BY row"):
            found[self.devices.index(UUID(bytes=device))].append(sequence)
        connection.close()
        return found

    def crossed(self):
        connection = sqlite3.connect(self.path)
        found = [text.split("\n") if text else [] for (text,) in connection.execute("SELECT crossed FROM entry")]
        connection.close()
        return found
