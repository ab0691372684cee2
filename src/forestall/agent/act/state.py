"""What the agent keeps about authority, in one file, replaced whole: ``trust.json``.

It holds the pinned root, the documents that were accepted under it, the counter of the last command, the runs of
each standing order, and the results that the spool does not have yet. A command's counter is on stable storage
before its first step runs: whatever happens then, that command never runs again.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from forestall.agent.act.policy import Policy, read_policy
from forestall.agent.act.suspended import forget, read_suspended, suspend
from forestall.agent.config import file_write
from forestall.trust.authorise import (
    Authorised,
    Refused,
    RefusedBecause,
    Situation,
    Suspended,
    accept_root,
    accept_roots,
    authorise_command,
    authorise_order,
    read_revocation,
    read_runbook,
)
from forestall.trust.dsse import EnvelopeError, decode
from forestall.trust.statements import (
    JobResult,
    Revocation,
    Root,
    Runbook,
    StandingOrder,
    read_statement,
)

STATE_FILE = "trust.json"
MAX_ANSWERED = 1_000
"""Commands remembered as answered. Older ones are refused by their counter."""
MAX_WAITING = 1_000
"""Results kept for the spool. When it takes none for that long, the oldest refusals go first, results of runs never."""
DAY = timedelta(hours=24)


class StateError(Exception):
    """``trust.json`` is missing or damaged."""


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """The command whose steps run now."""

    job_id: str
    runbook: str
    started_at: datetime


class Kept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The content of the file. Envelopes are kept as they arrived, so that they can be verified again.

    A field that is not used is left out: an older agent reads the file as long as it knows all that is in force. One
    that does not know of revoked keys must not go on without them; it finds an unknown field and runs nothing.
    """

    format: int
    device_id: str
    client_id: str
    pinned_key_id: str
    root: bytes
    last_counter: int = 0
    runbooks: dict[str, bytes] = {}
    orders: dict[str, bytes] = {}
    revoked: list[str] = []
    """Digests of standing orders."""
    revoked_keys: list[str] = []
    """Key ids of operators. None ever leaves this list, whatever a later root says."""
    runs: dict[str, list[datetime]] = {}
    running: Running | None = None
    answered: list[str] = []
    """SHA-256 of the envelopes that were run or refused, oldest first."""
    waiting: list[JobResult] = []


class ActState:
    """The agent's authority state. Every change is on stable storage when the method returns, or did not happen."""

    def __init__(self, folder: Path, kept: Kept) -> None:
        self.folder = folder
        self._kept = kept
        self._lock = threading.RLock()
        self._root = read_statement(decode(kept.root).body(), Root)
        self._runbooks = self._verified_runbooks(self._root, kept.runbooks)

    # --- opening ---

    @classmethod
    def create(
        cls, folder: Path, *, device_id: str, client_id: str, pinned_key_id: str, root: bytes, now: datetime
    ) -> ActState:
        """The state of a newly enrolled device. ``trust.authorise.Refused`` when the root is not the pinned one."""
        accept_root(current=None, pinned_key_id=pinned_key_id, envelope=root, now=now)
        kept = Kept(format=1, device_id=device_id, client_id=client_id, pinned_key_id=pinned_key_id, root=root)
        file_write(str(folder / STATE_FILE), msgspec.json.encode(kept))
        return cls(folder, kept)

    @classmethod
    def open(cls, folder: Path, *, now: datetime) -> ActState:
        """The state as it was left. A run that was under way becomes a failed result."""
        path = folder / STATE_FILE
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=Kept)
            state = cls(folder, kept)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, EnvelopeError, ValueError) as error:
            raise StateError(f"{path}: {error}") from error
        if kept.running is not None:
            state.finish(
                JobResult(
                    job_id=kept.running.job_id,
                    device_id=kept.device_id,
                    client_id=kept.client_id,
                    outcome="failed",
                    code="interrupted",
                    detail="The agent was stopped while this ran; it is not known how far it came.",
                    runbook=kept.running.runbook,
                    started_at=kept.running.started_at,
                    finished_at=now,
                    steps=(),
                )
            )
        return state

    # --- reading ---

    @property
    def device_id(self) -> str:
        return self._kept.device_id

    @property
    def client_id(self) -> str:
        return self._kept.client_id

    @property
    def root(self) -> Root:
        return self._root

    @property
    def last_counter(self) -> int:
        return self._kept.last_counter

    @property
    def revoked_keys(self) -> frozenset[str]:
        """Key ids of operators whose signatures count no more."""
        return frozenset(self._kept.revoked_keys)

    @property
    def orders(self) -> tuple[str, ...]:
        """Digests of the standing orders kept."""
        return tuple(self._kept.orders)

    def policy(self) -> Policy:
        """The customer's policy as it is now: read anew each time, so that a change binds the next command."""
        return read_policy(self.folder)

    def runbook(self, digest: str) -> Runbook | None:
        return self._runbooks.get(digest)

    def was_answered(self, envelope: bytes) -> bool:
        """Whether this very command was run or refused before."""
        return _digest(envelope) in self._kept.answered

    def results_waiting(self) -> tuple[JobResult, ...]:
        """Results that the spool does not have yet, oldest first."""
        return tuple(self._kept.waiting)

    def authorise(self, envelope: bytes, *, now: datetime, local: datetime, policy: Policy) -> Authorised:
        """The run that a command asks for; ``Refused`` says why there is none."""
        with self._lock:
            return authorise_command(
                root=self._root,
                runbooks=self._runbooks,
                orders=self._kept.orders,
                envelope=envelope,
                situation=self._situation(now=now, local=local, policy=policy),
            )

    def _situation(self, *, now: datetime, local: datetime, policy: Policy) -> Situation:
        kept = self._kept
        return Situation(
            device_id=kept.device_id,
            client_id=kept.client_id,
            now=now,
            local=local,
            last_counter=kept.last_counter,
            veto=policy.veto,
            revoked_orders=frozenset(kept.revoked),
            revoked_keys=frozenset(kept.revoked_keys),
            suspended=read_suspended(self.folder),
            # A run noted in the future (the clock was set back) counts: when in doubt, fewer runs.
            runs={order: sum(now - at < DAY for at in times) for order, times in kept.runs.items()},
        )

    # --- changing ---

    def accept_documents(self, envelopes: Iterable[bytes], *, now: datetime) -> list[Refused]:
        """Keep roots, runbooks, standing orders and revocations that verify; the reasons for which others did not.

        They may come in any order: they are taken by kind, roots first and by version. Revocations are asked of every
        root on the way: one that an earlier root role signed still ends what it names.
        """
        refused: list[Refused] = []
        with self._lock:
            before = self._kept
            by_type: dict[str, list[bytes]] = {}
            for envelope in envelopes:
                try:
                    by_type.setdefault(decode(envelope).payloadType, []).append(envelope)
                except EnvelopeError as error:
                    refused.append(Refused(RefusedBecause.MALFORMED, str(error)))
            revocations = by_type.pop(Revocation.PAYLOAD_TYPE, [])
            revocations, _ = _taken(revocations, self._accept_revocation, now)
            passed: list[bytes] = []
            for envelope in sorted(by_type.pop(Root.PAYLOAD_TYPE, ()), key=lambda one: _version_of(one) or 0):
                try:
                    self._accept_root(envelope, passed, now)
                except Refused as error:
                    if error.because is RefusedBecause.ROOT_EXPIRED:
                        passed.append(envelope)  # its successor may be alive
                    refused.append(error)
                else:
                    refused = [one for one in refused if one.because is not RefusedBecause.ROOT_EXPIRED]
                    revocations, _ = _taken(revocations, self._accept_revocation, now)
            for envelopes_of, accept in (
                (by_type.pop(Runbook.PAYLOAD_TYPE, []), self._accept_runbook),
                (revocations, self._accept_revocation),
                (by_type.pop(StandingOrder.PAYLOAD_TYPE, []), self._accept_order),
            ):
                _, reasons = _taken(envelopes_of, accept, now)
                refused += reasons
            refused += [Refused(RefusedBecause.WRONG_TYPE, f"{other!r} is no document") for other in by_type]
            if self._kept != before:
                try:
                    self._write(self._kept)
                except OSError:
                    self._kept = before
                    self._root = read_statement(decode(before.root).body(), Root)
                    self._runbooks = self._verified_runbooks(self._root, before.runbooks)
                    raise
        return refused

    def _accept_root(self, envelope: bytes, passed: list[bytes], now: datetime) -> None:
        claimed = _version_of(envelope)
        if claimed is not None and claimed < self._root.version:
            return  # the server sends the whole chain; what was passed is passed
        root = accept_roots(
            current=self._root, pinned_key_id=self._kept.pinned_key_id, envelopes=[*passed, envelope], now=now
        )
        if root != self._root:
            self._root = root
            self._kept = msgspec.structs.replace(self._kept, root=envelope)
            self._runbooks = self._verified_runbooks(root, self._kept.runbooks)

    def _accept_runbook(self, envelope: bytes, now: datetime) -> None:
        runbook, digest = read_runbook(root=self._root, envelope=envelope)
        self._runbooks = {**self._runbooks, digest: runbook}
        self._kept = msgspec.structs.replace(self._kept, runbooks={**self._kept.runbooks, digest: envelope})

    def _accept_revocation(self, envelope: bytes, now: datetime) -> None:
        kept = self._kept
        claimed = _claimed_revocation(envelope)
        if (
            claimed is not None
            and set(claimed.orders) <= set(kept.revoked)
            and set(claimed.keys) <= set(kept.revoked_keys)
        ):
            return  # the server sends it again and again; who signed it may hold no role any more
        revocation = read_revocation(
            root=self._root, envelope=envelope, revoked_keys=kept.revoked_keys, client_id=kept.client_id
        )
        new = [order for order in revocation.orders if order not in kept.revoked]
        new_keys = [key for key in revocation.keys if key not in kept.revoked_keys]
        # The order itself stays until it expires: an attempt to use it is then refused as revoked, not as unknown.
        self._kept = msgspec.structs.replace(
            kept, revoked=[*kept.revoked, *new], revoked_keys=[*kept.revoked_keys, *new_keys]
        )

    def _accept_order(self, envelope: bytes, now: datetime) -> None:
        _, digest, _ = authorise_order(
            root=self._root,
            runbooks=self._runbooks,
            envelope=envelope,
            situation=self._situation(now=now, local=now, policy=Policy()),
        )
        alive = {
            known: kept
            for known, kept in self._kept.orders.items()
            if read_statement(decode(kept).body(), StandingOrder).expires_at > now - DAY
        }
        self._kept = msgspec.structs.replace(self._kept, orders={**alive, digest: envelope})

    def begin(self, envelope: bytes, authorised: Authorised, *, now: datetime) -> None:
        """Note that a run begins: from here on this command, and every one before it, never runs (again)."""
        with self._lock:
            if authorised.continues is not None:
                forget(self.folder, authorised.continues.job_id)
            runs = {
                order: [at for at in times if now - at < DAY]
                for order, times in self._kept.runs.items()
                if order in self._kept.orders
            }
            if authorised.order:
                runs[authorised.order] = [*runs.get(authorised.order, []), now]
            self._commit(
                msgspec.structs.replace(
                    self._kept,
                    last_counter=authorised.counter,
                    runs=runs,
                    running=Running(job_id=authorised.job_id, runbook=authorised.digest, started_at=now),
                    answered=[*self._kept.answered, _digest(envelope)][-MAX_ANSWERED:],
                )
            )

    def finish(self, result: JobResult, *, stopped: Suspended | None = None) -> None:
        """Note what became of the run that was begun. ``stopped``: where it waits for an approval."""
        with self._lock:
            if stopped is not None:
                suspend(self.folder, stopped, now=result.finished_at)
            self._commit(msgspec.structs.replace(self._kept, running=None, waiting=[*self._kept.waiting, result]))

    def refuse(self, envelope: bytes, result: JobResult) -> None:
        """Note that a command was refused, so that it is reported once however often it is delivered."""
        with self._lock:
            waiting = [*self._kept.waiting, result]
            if len(waiting) > MAX_WAITING:
                oldest = next(kept for kept in waiting if kept.outcome == "refused")
                waiting.remove(oldest)
            self._commit(
                msgspec.structs.replace(
                    self._kept,
                    waiting=waiting,
                    answered=[*self._kept.answered, _digest(envelope)][-MAX_ANSWERED:],
                )
            )

    def result_spooled(self, result: JobResult) -> None:
        """Forget a result that the spool now has. One that is not waiting: nothing to do."""
        with self._lock:
            if result in self._kept.waiting:
                waiting = list(self._kept.waiting)
                waiting.remove(result)
                self._commit(msgspec.structs.replace(self._kept, waiting=waiting))

    def _commit(self, kept: Kept) -> None:
        self._write(kept)
        self._kept = kept

    def _write(self, kept: Kept) -> None:
        file_write(str(self.folder / STATE_FILE), msgspec.json.encode(kept))

    @staticmethod
    def _verified_runbooks(root: Root, envelopes: dict[str, bytes]) -> dict[str, Runbook]:
        # Under a new root some may no longer hold; they stay in the file, where the next root may want them.
        verified: dict[str, Runbook] = {}
        for envelope in envelopes.values():
            try:
                runbook, digest = read_runbook(root=root, envelope=envelope)
            except Refused:
                continue
            verified[digest] = runbook
        return verified


def root_held(folder: Path) -> tuple[Root, int] | None:
    """The root that a device holds, and how many keys it knows as revoked, read beside the running agent; None before
    it is enrolled. StateError when the state is damaged."""
    path = folder / STATE_FILE
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=Kept)
        return read_statement(decode(kept.root).body(), Root), len(kept.revoked_keys)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # msgspec's and the envelope's errors are ValueErrors
        raise StateError(f"{path}: {error}") from error


def _taken(
    envelopes: list[bytes], accept: Callable[[bytes, datetime], None], now: datetime
) -> tuple[list[bytes], list[Refused]]:
    """Offer documents one by one: those that were refused, and why."""
    left: list[bytes] = []
    reasons: list[Refused] = []
    for envelope in envelopes:
        try:
            accept(envelope, now)
        except Refused as error:
            left.append(envelope)
            reasons.append(error)
    return left, reasons


def _claimed_revocation(envelope: bytes) -> Revocation | None:
    try:
        return read_statement(decode(envelope).body(), Revocation)
    except ValueError:  # EnvelopeError is one; read_revocation says what is wrong with it
        return None


def _version_of(envelope: bytes) -> int | None:
    try:
        return read_statement(decode(envelope).body(), Root).version
    except ValueError:  # EnvelopeError is one; accept_root says what is wrong with it
        return None


def _digest(envelope: bytes) -> str:
    return hashlib.sha256(envelope).hexdigest()
