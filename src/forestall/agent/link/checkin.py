"""The check-in: sends what waits in the spool, in order, and deals with every answer the server may give.

A refusal is met by what it says: a session that is not known is opened anew; unknown names are sent; a server that
stands elsewhere is followed; what the server will never take is set aside and a signed record goes in its place, so
that the spool never wedges. All other refusals are the caller's: wait, and try again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec

from forestall.agent.clock import Clock
from forestall.agent.config import VERSION, Limits
from forestall.agent.link.checkpoint import CheckpointRefusedError, Held
from forestall.agent.link.session import Session
from forestall.agent.link.spool import Draft, Numbered, Spool
from forestall.agent.link.transport import ProtocolError, RefusedError, Transport
from forestall.agent.link.vault import NoticeEvent, Signing
from forestall.wire.checkin import CheckIn, CheckInReply, CheckpointUpdate, SpoolGap
from forestall.wire.codec import CHECK_IN_PATH, SENT_AT_HEADER, decode_reply, pack
from forestall.wire.refusals import RefusalCode

SESSION_CODES = frozenset({RefusalCode.SESSION_MISSING, RefusalCode.SESSION_UNKNOWN, RefusalCode.MAC_WRONG})
NEVER_CODES = frozenset(
    {
        RefusalCode.TOO_LARGE,
        RefusalCode.EXPANDS_TOO_FAR,
        RefusalCode.MALFORMED,
        RefusalCode.SHAPE_WRONG,
        RefusalCode.TOO_OLD,
        RefusalCode.RECORD_FOREIGN,
        RefusalCode.SIGNATURE_WRONG,
    }
)
"""The same bytes will be refused for ever."""
CLOCK_AHEAD = timedelta(minutes=5)
"""How far ahead of it the server lets a device's clock be."""
OLD_ENOUGH = timedelta(days=7)
"""What is younger by our own clock cannot be too old for the server, unless that clock is wrong."""
MENDS_PER_ROUND = 10
"""Refusals that one round deals with; more of them, and the server is not to be understood now."""


class Exchange(msgspec.Struct, kw_only=True):
    """What one round with the server brought."""

    sent: int = 0
    jobs: list[bytes] = []
    documents: list[bytes] = []
    resend_facts: list[str] = []
    interval_seconds: int = 0
    """0: nothing was sent, so nothing was said about it."""


class Link:
    """The check-in side of one enrolled device."""

    def __init__(
        self,
        *,
        transport: Transport,
        session: Session,
        signing: Signing,
        spool: Spool,
        clock: Clock,
        limits: Limits,
        held: Held | None,
        keep: Callable[[Held], None],
        say: Callable[[str], None],
    ) -> None:
        self.spool = spool
        self.held = held
        """The last checkpoint accepted."""
        self._transport = transport
        self._session = session
        self._signing = signing
        self._clock = clock
        self._limits = limits
        self._keep = keep
        self._say = say
        self._told_names: set[bytes] = set()
        """Catalogues whose names this session has sent."""
        self._checkpoint_at = float("-inf")
        self._reopened = False
        """Whether this round has opened a session anew because the server did not know the last."""

    def use_spool(self, spool: Spool) -> None:
        """Go on with another spool: the server says anew where it stands."""
        self.spool.close()
        self.spool = spool
        self._session.forget()

    def exchange(self) -> Exchange:
        """Send what waits, at most ``check_ins_per_round``. A LinkError when the server cannot be reached or refuses
        for now; sqlite3.DatabaseError when the spool cannot be written where it must be."""
        done = Exchange()
        mends = 0
        self._reopened = False
        if not self._session.is_open:
            self._open_session()
        self._record_gap()
        while done.sent < self._limits.check_ins_per_round:
            numbered = self.spool.next()
            if numbered is None:
                break
            try:
                reply = self._send(numbered)
            except RefusedError as refusal:
                mends += 1
                if mends > MENDS_PER_ROUND or not self._mend(numbered, refusal, done):
                    raise
                continue
            self.spool.acknowledge(reply.next_sequence)
            done.sent += 1
            done.jobs, done.documents = list(reply.jobs), list(reply.documents)
            done.resend_facts = [*done.resend_facts, *reply.resend_facts]
            done.interval_seconds = reply.interval_seconds
            if reply.checkpoint is not None:
                self._consider(reply.checkpoint)
        return done

    def notice(self, event: NoticeEvent, detail: str) -> bytes:
        """A signed record of something the device wants known."""
        return self._signing.notice(event=event, detail=detail, at=self._clock.now(), held=self.held)

    def draft(self, **parts: Any) -> Draft:
        """A check-in made now."""
        return Draft(made_at=self._clock.now(), boot_id=boot_id(), agent_version=VERSION, **parts)

    # --- sending --------------------------------------------------------------------------------------------

    def _send(self, numbered: Numbered) -> CheckInReply:
        draft = numbered.draft
        block = draft.samples
        if block is not None and block.catalogue not in self._told_names:
            block = msgspec.structs.replace(block, names=self.spool.names(block.catalogue))
        message = CheckIn(
            sequence=numbered.sequence,
            made_at=draft.made_at,
            boot_id=draft.boot_id,
            agent_version=draft.agent_version,
            samples=block,
            facts=draft.facts,  # type: ignore[arg-type]  # encoded already: the encoder copies them as they are
            affirmed=draft.affirmed,
            records=draft.records,
            gap=draft.gap,
            checkpoint_size=self.held.size if self.held else 0,
        )
        body = pack(message)
        headers = {
            **self._session.headers(body),
            SENT_AT_HEADER: str(round(self._clock.now().timestamp() * 1000)),
        }
        answer = self._transport.request("POST", CHECK_IN_PATH, body=body, headers=headers)
        try:
            reply = decode_reply(answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProtocolError(f"an answer to a check-in that cannot be read: {error}") from None
        if reply.next_sequence <= numbered.sequence:
            raise ProtocolError(
                f"check-in {numbered.sequence} was answered as taken, and {reply.next_sequence} expected next"
            )
        if block is not None:
            self._told_names.add(block.catalogue)
        return reply

    def _open_session(self) -> None:
        reply = self._session.open()
        self._told_names.clear()
        if not self.spool.server_stands(reply.next_sequence):
            self._follow(reply.next_sequence)

    def _follow(self, next_sequence: int) -> None:
        """The server lost what it had acknowledged (a restored backup): number from where it stands, and say so."""
        detail = (
            f"the server expects check-in {next_sequence}; this device had numbered up to {self.spool.last_sequence}"
        )
        self._say(f"{detail}: numbering anew, and sending all facts again")
        self.spool.number_anew(next_sequence)
        self.spool.add(self.draft(records=[self.notice("counter_reset", detail)]))

    def _record_gap(self) -> None:
        gap = self.spool.gap
        if gap is not None:
            span = f"from {gap.first:%Y-%m-%d %H:%M} to {gap.last:%Y-%m-%d %H:%M} UTC"
            detail = f"samples of {gap.check_ins} check-ins {span} were dropped: the spool was full"
            self._say(detail)
            self.spool.gap_recorded(self.draft(gap=gap, records=[self.notice("spool_gap", detail)]))

    # --- refusals -------------------------------------------------------------------------------------------

    def _mend(self, numbered: Numbered, refusal: RefusedError, done: Exchange) -> bool:
        """Deal with a refusal of a check-in; false when waiting is all there is to do."""
        code = refusal.code
        block = numbered.draft.samples
        if code in SESSION_CODES:
            self._session.forget()
            if self._reopened:
                return False
            self._reopened = True
            self._open_session()
            return True
        if code == RefusalCode.SEQUENCE_AHEAD and refusal.next_sequence is not None:
            self._follow(refusal.next_sequence)
            return True
        if code == RefusalCode.CATALOGUE_UNKNOWN and block is not None and block.catalogue in self._told_names:
            self._told_names.discard(block.catalogue)
            return True
        future = code == RefusalCode.FROM_THE_FUTURE
        age = self._clock.now() - numbered.draft.made_at
        if (future and age >= -CLOCK_AHEAD) or (code == RefusalCode.TOO_OLD and age < OLD_ENOUGH):
            # It is this device's clock that is wrong: what would go in its place would be refused as well.
            return False
        if code in NEVER_CODES or future or code == RefusalCode.CATALOGUE_UNKNOWN:
            return self._set_aside(numbered, refusal, done)
        return False

    def _set_aside(self, numbered: Numbered, refusal: RefusedError, done: Exchange) -> bool:
        """Put a record in the place of what is never taken: with the other records first, then alone, then nothing."""
        draft = numbered.draft
        has_more = bool(draft.samples or draft.facts or draft.affirmed or draft.gap)
        if not has_more and not draft.records:
            return False
        self._say(f"check-in {numbered.sequence} is set aside, the server will never take it: {refusal}")
        detail = f"check-in of {draft.made_at:%Y-%m-%d %H:%M} UTC was refused and set aside: {refusal}"[:1000]
        records: list[bytes] = []
        if has_more:
            records = [*draft.records, self.notice("spool_gap", detail)]
        elif refusal.code == RefusalCode.TOO_OLD:
            records = draft.records  # sound, only late: they go out with a check-in of today
        elif len(draft.records) > 1:
            records = [self.notice("spool_gap", detail)]
        gap = SpoolGap(first=draft.made_at, last=draft.made_at, check_ins=1) if has_more and draft.samples else None
        self.spool.set_aside(
            numbered,
            self.draft(records=records, gap=gap),
            code=str(refusal.code),
            detail=refusal.detail,
            at=self._clock.now(),
            records_lost=len(records) < len(draft.records),
        )
        if refusal.code == RefusalCode.TOO_OLD:
            # The facts were sound, only late. (Of unsound ones the next regular report is soon enough.)
            done.resend_facts = [*done.resend_facts, *draft.documents]
        return True

    # --- checkpoints ----------------------------------------------------------------------------------------

    def _consider(self, update: CheckpointUpdate) -> None:
        now = self._clock.monotonic()
        if now - self._checkpoint_at < self._limits.checkpoint_seconds:
            return
        self._checkpoint_at = now
        try:
            held = self._signing.checkpoint(held=self.held, update=update)
        except CheckpointRefusedError as refused:
            # Once a day for as long as the same one is held: a log that was restored from a backup goes on growing,
            # and each of its checkpoints is refused.
            held_root = self.held.root if self.held else ""
            known = f"{held_root} {self._clock.now():%Y-%m-%d}".encode()
            if self.spool.meta("checkpoint_refused") == known:
                return
            self._say(f"checkpoint refused: {refused}")
            self.spool.add(self.draft(records=[self.notice("checkpoint_refused", str(refused))]))
            self.spool.meta_write("checkpoint_refused", known)
            return
        self._keep(held)
        self.held = held


def boot_id() -> str:
    """Which start of this machine this is; empty where the system does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123
            return file.read().strip()
    except OSError:
        return ""


def retry_seconds(*, failures: int, chance: float, limits: Limits) -> float:
    """How long to wait after the given number of failures on end; ``chance`` is a random number from 0 to 1."""
    longest = min(limits.retry_most_seconds, limits.retry_first_seconds * 2.0 ** min(failures - 1, 30))
    return longest * (0.5 + chance / 2)


def is_barred(error: Exception) -> bool:
    """Whether the server says that this device may not check in at all."""
    return isinstance(error, RefusedError) and error.code in {RefusalCode.DEVICE_REVOKED, RefusalCode.DEVICE_UNKNOWN}
