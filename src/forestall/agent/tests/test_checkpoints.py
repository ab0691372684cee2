"""An agent is a witness of its client's evidence log."""

from __future__ import annotations

import itertools
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestall.agent.config import AgentError
from forestall.agent.link.checkpoint import CheckpointRefusedError, checkpoint_accept, checkpoint_read
from forestall.agent.tests.standin import CLIENT, START, signed
from forestall.agent.tests.world import World
from forestall.ledger.merkle import EMPTY, consistency_proof, leaf_hash, root_of
from forestall.trust.keys import new_key, public_bytes
from forestall.trust.statements import Checkpoint
from forestall.wire.checkin import CheckpointUpdate

LOG_KEY = new_key()


class Log:
    """A log of numbered leaves; ``fork`` at a leaf makes another history."""

    def __init__(self, size, fork=None):
        self.leaves = [leaf_hash(b"%d%s" % (i, b"'" if fork is not None and i >= fork else b"")) for i in range(size)]
        self._nodes = {}
        frontier = EMPTY
        for leaf in self.leaves:
            frontier, done = frontier.append(leaf)
            self._nodes.update({(node.level, node.index): node.hash for node in done})

    def update(self, size, held, *, key=LOG_KEY, client=CLIENT):
        proof = consistency_proof(
            old_size=min(held, size), new_size=size, node=lambda level, index: self._nodes[level, index]
        )
        root = root_of(self.leaves[:size]).hex()
        statement = Checkpoint(client_id=client, size=size, root=root, at=START + timedelta(seconds=size))
        return CheckpointUpdate(envelope=signed(statement, key), consistency=proof)


def accept(update, held=None):
    return checkpoint_accept(held=held, update=update, client_id=CLIENT, log_key=public_bytes(LOG_KEY))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_a_log_that_only_grows_is_followed(steps):
    log, held = Log(300), None
    for size in [sum(steps[: i + 1]) for i in range(len(steps))]:
        held = accept(log.update(size, held.size if held else 0), held)
        assert held.size == size


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 29))
def test_a_log_with_another_history_is_refused(size, more, fork):
    held = accept(Log(60).update(size, 0))
    update = Log(60, fork=min(fork, size - 1)).update(size + more, size)
    with pytest.raises(CheckpointRefusedError, match="not shown to begin"):
        accept(update, held)


def test_what_else_is_refused():
    log = Log(20)
    held = accept(log.update(10, 0))
    with pytest.raises(CheckpointRefusedError, match="pinned log key"):
        accept(log.update(12, 10, key=new_key()), held)
    with pytest.raises(CheckpointRefusedError, match="of client"):
        accept(log.update(12, 10, client="another"), held)
    with pytest.raises(CheckpointRefusedError, match="shrank"):
        accept(log.update(9, 9), held)
    with pytest.raises(CheckpointRefusedError, match="not shown"):
        accept(CheckpointUpdate(envelope=log.update(12, 10).envelope, consistency=[]), held)
    with pytest.raises(CheckpointRefusedError):
        accept(CheckpointUpdate(envelope=b"nonsense", consistency=[]), held)
    with pytest.raises(CheckpointRefusedError, match="not shown"):
        accept(Log(20, fork=3).update(10, 10), held)


def test_the_agent_keeps_the_checkpoint_and_says_which_it_holds(tmp_path):
    world = World(tmp_path / "agent")
    log = Log(50)
    world.server.offer = lambda held: log.update(20, held, key=world.server.log_key) if held < 20 else None
    world.run(120)
    assert checkpoint_read(world.home).size == 20
    assert world.server.taken[-1].checkpoint_size == 20
    world.restart()
    world.run(120)
    assert world.server.taken[-1].checkpoint_size == 20


def test_a_forked_log_is_put_on_record_once_and_the_old_checkpoint_stays(tmp_path):
    world = World(tmp_path / "agent")
    log, forked = Log(50), Log(50, fork=5)
    world.server.offer = lambda held: log.update(20, held, key=world.server.log_key) if held < 20 else None
    world.run(120)
    world.server.offer = lambda held: forked.update(30, held, key=world.server.log_key)
    world.run(3600)
    world.restart()
    world.run(3600)
    assert checkpoint_read(world.home).size == 20
    (notice,) = world.server.notices
    assert notice.event == "checkpoint_refused"
    # The device signs what it holds itself: the fork convicts its author.
    assert (notice.checkpoint.size, notice.checkpoint.root) == (20, root_of(log.leaves[:20]).hex())


def test_a_forked_log_that_goes_on_growing_is_put_on_record_once_a_day(tmp_path):
    world = World(tmp_path / "agent")
    log, forked = Log(50), Log(80, fork=5)
    world.server.offer = lambda held: log.update(20, held, key=world.server.log_key) if held < 20 else None
    world.run(120)
    offered = itertools.cycle(range(30, 80))
    world.server.offer = lambda held: forked.update(next(offered), held, key=world.server.log_key)
    world.run(3600)
    assert len(world.server.notices) == 1
    world.run(24 * 3600)
    assert [notice.event for notice in world.server.notices] == ["checkpoint_refused"] * 2


def test_a_damaged_checkpoint_is_not_taken_for_none(tmp_path):
    world = World(tmp_path / "agent")
    Path(world.home.checkpoint).write_text("{")
    with pytest.raises(AgentError, match="damaged"):
        checkpoint_read(world.home)
