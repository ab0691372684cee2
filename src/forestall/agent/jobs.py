"""Jobs, run one after the other in a child beside the check-ins, and their results signed.

The act state (``trust.json``) keeps counters, documents and results; it is opened by one child at a time, held by a
lock, because a child outlives an agent that is killed: the next agent's child waits until the run is over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import msgspec

from forestall.agent.apart import Apart, Tell
from forestall.agent.clock import Clock
from forestall.agent.config import AgentHome
from forestall.agent.link.checkpoint import Held
from forestall.agent.link.vault import Vault

HANDLED_SECONDS = 600.0
"""The server delivers a job until it has its result; what was handled is looked at again only after this long."""


class Signed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A result; the child tells one for each, and again in every run until it is settled."""

    digest: bytes
    """Of the result as the act state keeps it: the same however often it is signed."""
    envelope: bytes
    collect_after: list[str] = []
    summary: str = ""


_signed_decoder = msgspec.msgpack.Decoder(Signed)


def signed_read(message: bytes) -> Signed:
    return _signed_decoder.decode(message)


class Deliveries:
    """Remembers what was delivered, so that the same jobs do not start a child every minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._handled: dict[bytes, float] = {}

    def are_new(self, envelopes: Sequence[bytes]) -> bool:
        """Whether any of these was not handled in the last minutes."""
        now = self._clock.monotonic()
        self._handled = {known: at for known, at in self._handled.items() if now - at < HANDLED_SECONDS}
        return any(hashlib.sha256(envelope).digest() not in self._handled for envelope in envelopes)

    def handled(self, envelopes: Sequence[bytes]) -> None:
        now = self._clock.monotonic()
        for envelope in envelopes:
            self._handled.setdefault(hashlib.sha256(envelope).digest(), now)


def act_apart(
    home: AgentHome,
    vault: Vault,
    *,
    documents: Sequence[bytes],
    jobs: Sequence[bytes],
    settled: Sequence[bytes],
    held: Held | None,
    say: Callable[[str], None],
) -> Apart:
    """Take documents, run jobs, and tell a ``Signed`` for every result that waits, in a child."""

    def work(tell: Tell) -> None:
        act(home, vault, documents=documents, jobs=jobs, settled=settled, held=held, say=say, tell=tell)

    return Apart(work)


def act(
    home: AgentHome,
    vault: Vault,
    *,
    documents: Sequence[bytes],
    jobs: Sequence[bytes],
    settled: Sequence[bytes],
    held: Held | None,
    say: Callable[[str], None],
    tell: Tell,
) -> None:
    """The same, here. ``settled``: digests of results that the spool has."""
    import fcntl
    from pathlib import Path

    from forestall.agent.act import ActState, collect_after, execute
    from forestall.agent.act.alarm import freeze_alarms
    from forestall.agent.act.backups.scratch import FOLDER_NAME, sweep_leftovers
    from forestall.agent.collect.host import LocalHost
    from forestall.trust.statements import CheckpointRef, statement_digest

    host = LocalHost()
    with open(f"{home.folder}/act.lock", "wb") as lock:  # noqa: PTH123
        fcntl.flock(lock, fcntl.LOCK_EX)
        # A restore test that was killed with the agent must not keep the disk full until the next one.
        sweep_leftovers(Path(home.folder) / FOLDER_NAME)
        state = ActState.open(Path(home.folder), now=host.now())
        done = set(settled)
        told: set[bytes] = set()

        def tell_results() -> None:
            for result in state.results_waiting():
                digest = bytes.fromhex(statement_digest(result))
                if digest in done:
                    state.result_spooled(result)
                    continue
                if digest in told:
                    continue
                told.add(digest)
                checkpoint = CheckpointRef(size=held.size, root=held.root) if held else None
                envelope = vault.sign_statement(msgspec.structs.replace(result, checkpoint=checkpoint))
                summary = f"job {result.job_id}: {result.outcome} ({result.code}): {result.detail}"
                after = list(collect_after(state, result))
                tell(
                    msgspec.msgpack.encode(
                        Signed(digest=digest, envelope=envelope, collect_after=after, summary=summary)
                    )
                )

        for refused in state.accept_documents(documents, now=host.now()):
            say(f"document refused: {refused}")
        alarms = freeze_alarms(
            root=state.root, checkpoint_at=held.at if held else None, last_check_in_at=host.now(), now=host.now()
        )
        for alarm in alarms:
            say(f"ALARM: {alarm}")
        tell_results()
        for envelope in jobs:
            execute(envelope, state, host, now=host.now())
            tell_results()
