"""A device's check-ins are stored in order, each once, whatever the network and the disk do meanwhile."""

import asyncio
import logging
import os
import random
import sqlite3
import sys
import tempfile
import threading
import zlib
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from near_intake import NearIntake

from forestall.server.intake.app import Bounds
from forestall.server.intake.journal import JournalFile, JournalInUseError, NoRoomError, StorageError, journal_lock
from forestall.trust.dsse import sign
from forestall.trust.statements import DeviceNotice, statement_bytes
from forestall.wire import codec


class Troubled(JournalFile):
    """A journal whose commits fail when told to: before anything was written, or after everything was."""

    def __init__(self, path, trouble):
        super().__init__(path)
        self.trouble = trouble

    def commit(self, group):
        kind = next(self.trouble, "none")
        if kind == "full":
            raise NoRoomError("no space")
        if kind == "before":
            raise StorageError("disk I/O error")
        super().commit(group)
        if kind == "after":
            raise StorageError("disk I/O error")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.integers(0, 2**32),
    st.lists(st.sampled_from(["none", "none", "full", "before", "after"]), max_size=30),
    st.integers(1, 12),
)
def test_shuffled_repeated_and_lost_messages_are_stored_exactly_once(seed, trouble, count):
    """Three devices send all they have, several at a time, in any order, with losses, until all is acknowledged."""

    async def story(near):
        shuffle = random.Random(seed)
        acknowledged = [0] * 3

        async def one(device, sequence):
            status, answer = await near.check_in(device, sequence, value=float(sequence))
            if status == 200:
                # Nothing may be called safe that the file does not hold.
                held = near.stored()[device]
                assert held[: answer.next_sequence - 1] == list(range(1, answer.next_sequence))
                if shuffle.random() < 0.8:  # otherwise the answer is lost on its way
                    acknowledged[device] = max(acknowledged[device], answer.next_sequence - 1)
            else:
                assert answer.code in {"sequence_ahead", "storage_failed"}, answer

        for _ in range(500):
            left = [device for device in range(3) if acknowledged[device] < count]
            if not left:
                return
            turn = [
                (device, sequence)
                for device in left
                for sequence in range(max(1, acknowledged[device] - 1), min(count, acknowledged[device] + 3) + 1)
                for _ in range(shuffle.randint(0, 2))
            ]
            shuffle.shuffle(turn)
            await asyncio.gather(*(one(device, sequence) for device, sequence in turn))
        raise AssertionError(f"not done after 500 turns: {acknowledged}")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite3"
        near = NearIntake(path, file=Troubled(path, iter(trouble)))

        async def run():
            async with near.running():
                await story(near)

        asyncio.run(run())
        assert near.stored() == {device: list(range(1, count + 1)) for device in range(3)}


def test_a_repeat_of_what_is_in_flight_waits_for_it(tmp_path):
    """Acknowledging the repeat before the first is safe would be acknowledging what may yet be lost."""
    gate = threading.Event()

    class Slow(JournalFile):
        def commit(self, group):
            gate.wait(5)
            super().commit(group)

    near = NearIntake(tmp_path / "journal.sqlite3", file=Slow(tmp_path / "journal.sqlite3"))

    async def run():
        async with near.running():
            first = asyncio.create_task(near.check_in(0, 1))
            await asyncio.sleep(0.05)
            repeat = asyncio.create_task(near.check_in(0, 1))
            await asyncio.sleep(0.05)
            assert not first.done()
            assert not repeat.done()
            gate.set()
            for status, answer in await asyncio.gather(first, repeat):
                assert (status, answer.next_sequence) == (200, 2)

    asyncio.run(run())
    assert near.stored()[0] == [1]


def test_a_crossing_is_found_once_and_not_used_up_by_a_failed_commit(tmp_path):
    path = tmp_path / "journal.sqlite3"
    near = NearIntake(path, file=Troubled(path, iter(["none", "full"])))

    async def run():
        async with near.running():
            assert (await near.check_in(0, 1, value=10.0))[0] == 200
            assert (await near.check_in(0, 2, value=85.0))[0] == 503
            assert (await near.check_in(0, 2, value=85.0))[0] == 200
            assert (await near.check_in(0, 3, value=86.0))[0] == 200
            assert (await near.check_in(0, 4, value=float("nan")))[0] == 200
            assert (await near.check_in(0, 5, value=95.0))[0] == 200
            assert (await near.check_in(0, 6, value=10.0))[0] == 200

    asyncio.run(run())
    both = ["cpu.used_percent", "disk.used_percent"]
    assert near.crossed() == [[], ["disk.used_percent"], [], [], both, both]


def test_overload_refuses_samples_first_and_evidence_last(tmp_path):
    near = NearIntake(
        tmp_path / "journal.sqlite3",
        file=Held(tmp_path / "journal.sqlite3"),
        devices=60,
        bounds=Bounds(held_bytes=12_000, evidence_bytes=6_000),
    )

    async def run():
        async with near.running():
            flood = [asyncio.create_task(near.post(number, padded(near, 1))) for number in range(40)]
            await asyncio.sleep(0.1)
            refused = [task.result() for task in flood if task.done()]
            assert refused
            assert {(status, str(answer.code)) for status, answer in refused} == {(503, "overloaded")}
            record = codec.pack(near.message(1, records=[notice(near, 50)]))
            evidence = asyncio.create_task(near.post(50, record))
            await asyncio.sleep(0.05)
            assert not evidence.done(), "evidence is taken while samples are refused"
            near.file.gate.set()
            assert (await evidence)[0] == 200
            await asyncio.gather(*flood)
            assert (await near.post(59, padded(near, 1)))[0] == 200, "and everything is taken again afterwards"

    asyncio.run(run())


class Held(JournalFile):
    """A journal that commits nothing until its gate is opened."""

    def __init__(self, path):
        super().__init__(path)
        self.gate = threading.Event()

    def commit(self, group):
        self.gate.wait(10)
        super().commit(group)


def padded(near, sequence):
    """A check-in of about 600 bytes."""
    return codec.pack(msgspec.structs.replace(near.message(sequence), boot_id=os.urandom(300).hex()))


def notice(near, device):
    statement = DeviceNotice(
        device_id=str(near.devices[device]),
        client_id=str(near.watch.picture.devices[near.devices[device].bytes].client),
        at=datetime.now(UTC),
        event="clock_stepped",
        detail="d" * 400,
    )
    return sign(statement_bytes(statement), DeviceNotice.PAYLOAD_TYPE, [near.keys[device]])


def test_no_message_holds_the_event_loop_for_50_ms(tmp_path, caplog):
    """asyncio's own detector: it logs every callback that took longer. The worst bodies the bounds let through."""
    near = NearIntake(tmp_path / "journal.sqlite3")
    signed = [notice(near, 0)] * 64
    worst = {
        "64 signed records": codec.pack(near.message(1, records=signed)),
        "all bytes allowed": os.urandom(codec.MAX_BODY_BYTES),
        "a bomb": zlib.compress(b"\0" * 300_000_000, 9),
        "4 MiB of nested lists": zlib.compress(b"\x91" * (codec.MAX_EXPANDED_BYTES - 10)),
        "a string of 4 MiB": zlib.compress(b"\x81\xdb\x00\x3f\xff\x00" + b"a" * 0x3FFF00),
        "20,000 new series": codec.pack(wide(near, 2)),
    }

    async def run():
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 0.05
        async with near.running():
            for body in worst.values():
                await near.post(0, body)
                await asyncio.sleep(0)

    slow = []
    for _attempt in range(3):
        # The machine itself may pause any process; three times in a row it does not.
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="asyncio"):
            asyncio.run(run(), debug=True)
        slow = [record.getMessage() for record in caplog.records if "Executing" in record.getMessage()]
        if not slow:
            break
        near = NearIntake(tmp_path / f"journal-{_attempt}.sqlite3")
    assert slow == []


def wide(near, sequence):
    names = [f"disk.used_percent{{volume=/srv/{number}}}" for number in range(codec.MAX_SERIES)]
    message = near.message(sequence)
    block = msgspec.structs.replace(
        message.samples,
        catalogue=codec.catalogue_id(names),
        names=names,
        values=np.zeros(len(names), dtype="<f8").tobytes(),
    )
    return msgspec.structs.replace(message, samples=block)


def test_two_intakes_never_write_one_journal(tmp_path):
    path = tmp_path / "journal.sqlite3"
    with journal_lock(path), pytest.raises(JournalInUseError, match="another intake writes"), journal_lock(path):
        pass
    with journal_lock(path):
        pass


def test_applied_rows_are_trimmed_and_the_file_gives_its_space_back(tmp_path):
    near = NearIntake(tmp_path / "journal.sqlite3")

    async def run():
        async with near.running():
            for sequence in range(1, 200):
                assert (await near.post(0, padded(near, sequence)))[0] == 200
            unused = {codec.catalogue_id(("gone",))}
            near.journal.trim(to=150, catalogues=unused)
            await near.journal.settled()
            assert near.stored()[0] == list(range(151, 200))
            assert unused, "an entry may still need it"
            near.journal.trim(to=199, catalogues=unused)
            await near.journal.settled()
            assert near.stored()[0] == []
            assert not unused
            assert (await near.check_in(0, 200))[0] == 200

    asyncio.run(run())
    connection = sqlite3.connect(near.path)
    assert connection.execute("PRAGMA freelist_count").fetchone()[0] == 0
    assert connection.execute("SELECT max(row) FROM entry").fetchone()[0] == 200, "row numbers are never used twice"
    connection.close()
    assert NearIntake(near.path).journal.expected(near.devices[0].bytes) == 201
