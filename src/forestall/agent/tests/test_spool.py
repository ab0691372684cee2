"""The spool: what is in it survives, in order, once."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forestall.agent.config import Limits
from forestall.agent.link.spool import Draft, Spool, SpoolError
from forestall.agent.tests.standin import START
from forestall.wire.checkin import SampleBlock
from forestall.wire.codec import catalogue_id

NAMES = ["load.1m"]


def draft(number, *, size=8, records=()):
    block = SampleBlock(catalogue=catalogue_id(NAMES), times=[number], values=b"\0" * size)
    return Draft(
        made_at=START + timedelta(seconds=number),
        boot_id="b",
        agent_version="1",
        samples=block,
        records=list(records),
    )


def drain(spool, next_sequence=None):
    """Send everything as a server that takes it; (sequence, what) in order."""
    if next_sequence is not None:
        assert spool.server_stands(next_sequence)
    sent = []
    while (numbered := spool.next()) is not None:
        sent.append((numbered.sequence, numbered.draft.samples.times[0] if numbered.draft.samples else None))
        spool.acknowledge(numbered.sequence + 1)
    return sent


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "agent" / "spool.sqlite3")


def test_what_was_added_first_is_sent_first(path):
    spool = Spool(path)
    for number in range(5):
        spool.add(draft(number), names=NAMES)
    assert drain(spool, 1) == [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4)]
    assert spool.depth == 0
    assert spool.bytes_waiting == 0


def test_nothing_is_numbered_before_the_server_has_said_where_it_stands(path):
    spool = Spool(path)
    spool.add(draft(1), names=NAMES)
    with pytest.raises(RuntimeError):
        spool.next()


def test_the_file_is_readable_by_its_owner_alone(path):
    Spool(path).close()
    assert Path(path).stat().st_mode & 0o777 == 0o600


def test_a_check_in_whose_answer_was_lost_keeps_its_number(path):
    spool = Spool(path)
    spool.server_stands(1)
    spool.add(draft(1), names=NAMES)
    first = spool.next()
    spool.add(draft(2), names=NAMES)
    spool.close()
    spool = Spool(path)
    spool.server_stands(1)  # it never arrived
    assert spool.next().sequence == first.sequence == 1
    assert spool.next().draft.samples.times == [1]
    spool.close()
    spool = Spool(path)
    assert drain(spool, 2) == [(2, 2)]  # it had arrived


def test_a_spool_that_was_deleted_goes_on_where_the_server_stands(path):
    spool = Spool(path)
    spool.add(draft(1), names=NAMES)
    assert drain(spool, 71) == [(71, 1)]


def test_a_server_that_lost_what_it_acknowledged_is_noticed(path):
    spool = Spool(path)
    for number in range(3):
        spool.add(draft(number), names=NAMES)
    drain(spool, 1)
    spool.add(draft(9), names=NAMES)
    assert spool.server_stands(3) is False
    spool.number_anew(3)
    assert drain(spool) == [(3, 9)]


def test_a_damaged_file_is_set_aside_and_a_new_spool_begun(path):
    spool = Spool(path)
    spool.add(draft(1), names=NAMES)
    spool.close()
    with Path(path).open("r+b") as file:
        file.write(b"not a database at all")
    spool = Spool(path)
    assert Path(spool.damaged).exists()
    spool.add(draft(2), names=NAMES)
    assert drain(spool, 2) == [(2, 2)]


def test_a_folder_that_cannot_be_written_is_a_spool_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError):
        Spool(str(tmp_path / "file" / "spool.sqlite3"))


def make_full(spool):
    """As a full disk: SQLite's own error, from SQLite's own limit."""
    pages = spool._db.execute("PRAGMA page_count").fetchone()[0]
    spool._db.execute(f"PRAGMA max_page_count={pages}")


def make_room(spool):
    spool._db.execute("PRAGMA max_page_count=1000000")


def test_a_full_disk_stops_nothing_and_is_said(path):
    spool = Spool(path)
    spool.server_stands(1)
    make_full(spool)
    sent = []
    for number in range(40):
        spool.add(draft(number, size=8000), names=NAMES)
        numbered = spool.next()
        sent.append((numbered.sequence, numbered.draft.samples.times[0]))
        spool.acknowledge(numbered.sequence + 1)
    assert sent == [(number + 1, number) for number in range(40)]
    assert spool.trouble
    make_room(spool)
    spool.add(draft(40), names=NAMES)
    assert spool.trouble == ""
    assert drain(spool) == [(41, 40)]


def test_what_was_held_in_memory_is_written_when_there_is_room_again(path):
    spool = Spool(path)
    make_full(spool)
    for number in range(10):
        spool.add(draft(number, size=8000), names=NAMES)
    assert spool.trouble
    assert spool.depth == 10
    make_room(spool)
    spool.add(draft(10), names=NAMES)
    spool.close()
    assert drain(Spool(path), 1) == [(number + 1, number) for number in range(11)]


def test_memory_is_bounded_too_and_what_falls_out_is_a_gap(path):
    spool = Spool(path, limits=Limits(unsaved_check_ins=5))
    make_full(spool)
    spool.add(draft(0, size=8000, records=[b"evidence"]), names=NAMES)
    for number in range(1, 10):
        spool.add(draft(number, size=8000), names=NAMES)
    assert spool.depth <= 6
    make_room(spool)
    spool.add(draft(10), names=NAMES)
    assert spool.gap.check_ins >= 4
    sent = drain(spool, 1)
    assert sent[0] == (1, 0)  # the one with evidence
    assert sent[-1][1] == 10
    assert [sequence for sequence, _ in sent] == list(range(1, len(sent) + 1))


def fill(file):
    while True:
        file.write(b"x" * 4096)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_disk_that_is_really_full(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(tmp_path)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        spool = Spool(str(tmp_path / "spool.sqlite3"))
        spool.server_stands(1)
        filler = tmp_path / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            fill(file)
        sent = []
        for number in range(30):
            spool.add(draft(number, size=20_000), names=NAMES)
            numbered = spool.next()
            sent.append((numbered.sequence, numbered.draft.samples.times[0]))
            spool.acknowledge(numbered.sequence + 1)
        assert sent == [(number + 1, number) for number in range(30)]
        assert "full" in spool.trouble
        spool.add(draft(30, size=20_000), names=NAMES)
        filler.unlink()
        spool.add(draft(31), names=NAMES)
        assert spool.trouble == ""
        assert drain(spool) == [(31, 30), (32, 31)]
        spool.close()
        assert drain(Spool(str(tmp_path / "spool.sqlite3")), 33) == []
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


_CHILD = """
import sys
from forestall.agent.tests.test_spool import NAMES, draft
from forestall.agent.link.spool import Spool
spool = Spool(sys.argv[1])
number = int(sys.argv[2])
while True:
    number += 1
    spool.add(draft(number), names=NAMES)
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_killed_at_any_moment_what_was_added_is_there_once_in_order(path):
    last = 0
    for round_ in range(10):
        process = subprocess.Popen([sys.executable, "-c", _CHILD, path, str(last)], stdout=subprocess.PIPE, text=True)
        for _ in range(3 + round_):
            last = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
        process.wait()
        last = int(rest[-1]) if rest else last
        # The last one may be in the spool although its line was not printed any more.
        spool = Spool(path)
        times = [
            Spool._draft_at(spool._db, place).samples.times[0]
            for (place,) in spool._db.execute("SELECT place FROM check_ins ORDER BY place")
        ]
        spool.close()
        assert times in (list(range(1, last + 1)), list(range(1, last + 2)))
        last = times[-1]


act = st.one_of(
    st.tuples(st.just("add"), st.booleans()),
    st.tuples(st.just("deliver"), st.sampled_from(["taken", "lost", "answer lost"])),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(st.just("session"), st.none()),
    st.tuples(st.just("full"), st.booleans()),
    st.tuples(st.just("crash while full"), st.none()),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(act, max_size=40))
def test_against_a_server_that_loses_anything_every_check_in_arrives_once_in_order(tmp_path_factory, acts):
    path = str(tmp_path_factory.mktemp("spool") / "spool.sqlite3")
    spool, stands, full = Spool(path), False, False
    server, added, in_memory = [], [], set()

    def session():
        nonlocal stands
        assert spool.server_stands(len(server) + 1)
        stands = True

    def deliver(how):
        if not stands:
            session()
        numbered = spool.next()
        if numbered is None or how == "lost":
            return numbered is not None
        if numbered.sequence == len(server) + 1:
            server.append(numbered.draft.samples.times[0])
        assert numbered.sequence <= len(server)
        if how == "taken":
            spool.acknowledge(len(server) + 1)
        return True

    for what, value in acts:
        if what == "add":
            number = len(added)
            spool.add(draft(number, size=6000 if value else 8), names=NAMES)
            added.append(number)
            if spool.trouble:
                in_memory.add(number)
            else:
                in_memory.clear()
        elif what == "deliver":
            try:
                deliver(value)
            except sqlite3.DatabaseError:
                assert full  # its number could not be kept, so it was not sent
        elif what == "session":
            session()
        elif what == "full":
            (make_full if value else make_room)(spool)
            full = value
        elif what in {"restart", "crash while full"}:
            if what == "restart" and spool.trouble:
                continue
            spool.close()
            spool, stands, full = Spool(path), False, False
            # Only what a full disk kept in memory is gone with the process, unless it was sent.
            added = [number for number in added if number not in in_memory or number in server]
            in_memory.clear()
    make_room(spool)
    session()
    while deliver("taken"):
        pass
    assert server == added
