"""The agents' door. Who, which bytes, what do they say, safe, answered: in that order.

One check-in, in the order of the code: session → body → MAC → device's state → expand → decode → sequence → times →
records → levels → journal → reply. Every step either passes or refuses with a code; nothing has an effect before the
journal's commit, and nothing is acknowledged before it is on stable storage.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

import msgspec

from forestall.server.intake.catalogues import Catalogues
from forestall.server.intake.journal import Entry, EntryKind, Journal, StorageError
from forestall.server.intake.known import Delivery, KnownDevice, Watch
from forestall.server.intake.levels import CatalogueLevels, Crossings
from forestall.server.intake.records import records_check
from forestall.server.intake.refused import RefusedError
from forestall.server.intake.serving import Request
from forestall.server.intake.sessions import Session, Sessions
from forestall.trust.keys import signature_holds
from forestall.wire import codec
from forestall.wire.checkin import CheckIn, CheckInReply
from forestall.wire.refusals import HTTP_STATUS, Refusal, RefusalCode
from forestall.wire.session import (
    ChallengeReply,
    EnrolReply,
    EnrolRequest,
    SessionReply,
    SessionRequest,
    check_in_mac,
    session_message,
)

log = logging.getLogger(__name__)

R = TypeVar("R", bound=msgspec.Struct)

AHEAD_MS = 5 * 60 * 1000
"""A device's clock may be this far ahead."""
OLDEST_MS = 8 * 24 * 3600 * 1000
"""A spool holds seven days; the eighth is for one that could not be sent on the last."""
SMALL_BODY = 16 * 1024
SMALL_EXPANDED = 128 * 1024
"""A body within both is expanded and decoded on the event loop (well under a millisecond); others in a thread."""
SMALL_MESSAGE = 16 * 1024
"""Size of an enrolment or a session request."""
PICTURE_TOO_OLD_SECONDS = 60.0
REFUSALS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much intake takes on at once. Beyond: ``overloaded``, and the agent keeps its spool."""

    requests: int = 1024
    """Requests being served."""
    held_bytes: int = 64 * 1024 * 1024
    """Bodies being received, decoded or waiting for their commit."""
    evidence_bytes: int = 32 * 1024 * 1024
    """Of these, kept free for check-ins that carry signed records: evidence goes before samples."""


class Intake:
    """``serving.Application``, and its state."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        journal: Journal,
        catalogues: Catalogues,
        watch: Watch,
        authority: bytes,
        enrol: Callable[[EnrolRequest, datetime], EnrolReply],
        refresh: Callable[[], Awaitable[None]],
        bounds: Bounds | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions = sessions
        self._journal = journal
        self._catalogues = catalogues
        self._watch = watch
        self._authority = authority
        self._enrol_device = enrol
        self._enrolling = ThreadPoolExecutor(1, thread_name_prefix="enrol")
        self._refresh = refresh
        self._bounds = bounds or Bounds()
        self._clock = clock
        self._monotonic = monotonic
        self._large = ThreadPoolExecutor(1, thread_name_prefix="large")
        self.crossings = Crossings()
        self._requests = 0
        self._held = 0
        self._refusals: dict[tuple[bytes, RefusalCode], RefusalCount] = {}
        self._strangers: dict[RefusalCode, int] = {}
        self._delivered: set[tuple[bytes, str]] = set()
        self._routes: dict[str, tuple[frozenset[str], Callable[[Request], Awaitable[bytes]]]] = {
            codec.CHECK_IN_PATH: (frozenset({"POST"}), self._check_in),
            codec.SESSION_PATH: (frozenset({"POST"}), self._session),
            codec.CHALLENGE_PATH: (frozenset({"GET", "POST"}), self._challenge),
            codec.ENROL_PATH: (frozenset({"POST"}), self._enrol),
            codec.AUTHORITY_PATH: (frozenset({"GET"}), self._authority_certificate),
        }

    # --- the server's side ------------------------------------------------------------------------------------------

    def body_limit(self, path: str) -> int:
        return codec.MAX_BODY_BYTES if path == codec.CHECK_IN_PATH else SMALL_MESSAGE

    def hold(self, count: int) -> None:
        self._held += count
        if self._held + self._journal.pending_bytes > self._bounds.held_bytes:
            raise RefusedError(RefusalCode.OVERLOADED, "too much waits to be stored")

    def release(self, count: int) -> None:
        self._held -= count

    async def respond(self, request: Request) -> tuple[int, bytes]:
        self._requests += 1
        try:
            return 200, await self._answer(request)
        except RefusedError as refused:
            return self.refuse(refused)
        finally:
            self._requests -= 1

    def refuse(self, refused: RefusedError) -> tuple[int, bytes]:
        self._count(refused)
        return HTTP_STATUS[refused.code], codec.encode(
            Refusal(code=refused.code, detail=refused.detail, next_sequence=refused.next_sequence)
        )

    async def _answer(self, request: Request) -> bytes:
        route = self._routes.get(request.path)
        if route is None:
            raise RefusedError(RefusalCode.NOT_FOUND, f"no such path: {request.path:.80}")
        methods, handle = route
        if request.method not in methods:
            expected = " or ".join(sorted(methods))
            raise RefusedError(RefusalCode.METHOD_WRONG, f"{request.method:.20} {request.path}, expected {expected}")
        if self._requests > self._bounds.requests:
            raise RefusedError(RefusalCode.OVERLOADED, "too many requests at once")
        return await handle(request)

    # --- opening a session ----------------------------------------------------------------------------------

    async def _authority_certificate(self, request: Request) -> bytes:
        return self._authority

    async def _challenge(self, request: Request) -> bytes:
        now = self._clock()
        return codec.encode(
            ChallengeReply(
                challenge=self._sessions.challenge_make(now=now), server_time=datetime.fromtimestamp(now, UTC)
            )
        )

    async def _session(self, request: Request) -> bytes:
        asked = _decode(_session_decoder, request.body)
        now = self._clock()
        self._sessions.challenge_check(challenge=asked.challenge, now=now)
        device = self._device_named(asked.device_id)
        message = session_message(device_id=asked.device_id, challenge=asked.challenge)
        if not signature_holds(public=device.public_key, signature=asked.signature, message=message):
            raise RefusedError(RefusalCode.SIGNATURE_WRONG, "$.signature: not by this device's key")
        self._sessions.challenge_use(challenge=asked.challenge, now=now)
        if device.status == "revoked":
            raise RefusedError(RefusalCode.DEVICE_REVOKED, "this device was revoked", device=device.device_id.bytes)
        session = self._sessions.session_make(device_id=device.device_id, now=now)
        return codec.encode(
            SessionReply(
                session=session.token,
                key=session.key,
                expires_at=session.expires_at,
                next_sequence=self._journal.expected(session.device),
                status=device.status,
            )
        )

    def _device_named(self, text: str) -> KnownDevice:
        self._require_picture()
        try:
            device = self._watch.picture.devices.get(UUID(text).bytes)
        except ValueError:
            device = None
        if device is None:
            raise RefusedError(RefusalCode.DEVICE_UNKNOWN, f"$.device_id: {text:.40}")
        return device

    async def _enrol(self, request: Request) -> bytes:
        asked = _decode(_enrol_decoder, request.body)
        now = datetime.fromtimestamp(self._clock(), UTC)
        loop = asyncio.get_running_loop()
        reply = await loop.run_in_executor(self._enrolling, self._enrol_device, asked, now)
        # The device asks for a session next: it must be in the picture by then.
        await self._refresh()
        return codec.encode(reply)

    # --- a check-in -----------------------------------------------------------------------------------------

    async def _check_in(self, request: Request) -> bytes:
        headers = request.headers
        token, mac = headers.get(_SESSION_HEADER), headers.get(_MAC_HEADER)
        if not token or not mac:
            raise RefusedError(RefusalCode.SESSION_MISSING, "the session or MAC header is missing")
        now = self._clock()
        session = self._sessions.session_read(token=token.decode("latin-1"), now=now)
        try:
            sent = _milliseconds(headers.get(_SENT_AT_HEADER, b""))
            return await self._take(session, request.body, mac, int(now * 1000), sent)
        except RefusedError as refused:
            if refused.device is None:
                refused.device = session.device
            if refused.code is not RefusalCode.MAC_WRONG:
                refused.next_sequence = self._journal.expected(session.device)
            raise

    async def _take(self, session: Session, body: bytes, mac: bytes, received: int, sent: int | None) -> bytes:
        right = check_in_mac(key=session.key, session=session.token, body=body)
        if not hmac.compare_digest(right.hex().encode(), mac.lower()):
            raise RefusedError(RefusalCode.MAC_WRONG, "the MAC is not of this session and body")
        device = self._device_of(session)
        message = await self._decode(body)
        # From here to the journal nothing waits: the sequence rule holds for what it was checked against.
        expected = self._journal.expected_now(session.device)
        if message.sequence > expected:
            raise RefusedError(RefusalCode.SEQUENCE_AHEAD, f"$.sequence: {message.sequence}, expected {expected}")
        if message.sequence < expected:
            if message.sequence >= self._journal.expected(session.device):
                await _safe(self._journal.settled())
            return self._reply(session, device, message, received)
        _times_check(message, received)
        names, new_catalogue = self._catalogue(message)
        if message.records:
            records_check(message.records, device)
        elif self._held + self._journal.pending_bytes > self._bounds.held_bytes - self._bounds.evidence_bytes:
            raise RefusedError(RefusalCode.OVERLOADED, "too much waits to be stored")
        crossed: list[str] = []
        sides: tuple[CatalogueLevels, bytes] | None = None
        block = message.samples
        if block is not None:
            crossed, sides = self.crossings.compare(
                device=session.device,
                catalogue=block.catalogue,
                names=names,
                rows=len(block.times),
                values=block.values,
            )
        entry = Entry(
            kind=EntryKind.CHECK_IN,
            device=session.device,
            sequence=message.sequence,
            received_at=received,
            sent_at=sent,
            crossed="\n".join(crossed),
            body=body,
            done=None,
        )
        await _safe(self._journal.append(entry, catalogue=new_catalogue))
        if block is not None and sides is not None:
            self._catalogues.add(block.catalogue, names)
            self.crossings.settle(device=session.device, sides=sides)
        return self._reply(session, device, message, received)

    def _device_of(self, session: Session) -> KnownDevice:
        self._require_picture()
        device = self._watch.picture.devices.get(session.device)
        if device is None:
            raise RefusedError(RefusalCode.DEVICE_UNKNOWN, "this device is not known")
        if not device.is_approved:
            if device.status == "pending":
                raise RefusedError(RefusalCode.DEVICE_PENDING, "this device waits for approval")
            raise RefusedError(RefusalCode.DEVICE_REVOKED, "this device was revoked")
        return device

    def _require_picture(self) -> None:
        # Who may check in is decided by the main database; when it cannot be read for long, nobody may.
        if self._monotonic() - self._watch.picture.at > PICTURE_TOO_OLD_SECONDS:
            raise RefusedError(RefusalCode.STORAGE_FAILED, "the main database cannot be read")

    async def _decode(self, body: bytes) -> CheckIn:
        try:
            if len(body) <= SMALL_BODY:
                try:
                    return codec.decode_check_in(codec.expand(body, SMALL_EXPANDED))
                except codec.WireError as error:
                    if error.code is not RefusalCode.EXPANDS_TOO_FAR:
                        raise
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                self._large, lambda: codec.decode_check_in(codec.expand(body, codec.MAX_EXPANDED_BYTES))
            )
        except codec.WireError as error:
            raise RefusedError(error.code, error.detail) from None

    def _catalogue(self, message: CheckIn) -> tuple[tuple[str, ...], tuple[bytes, str] | None]:
        """Names of the block's series, and the catalogue to be stored when it is new."""
        block = message.samples
        if block is None:
            return (), None
        names = self._catalogues.get(block.catalogue)
        if names is None:
            if block.names is None:
                raise RefusedError(RefusalCode.CATALOGUE_UNKNOWN, f"$.samples.catalogue: {block.catalogue.hex()}")
            return tuple(block.names), (block.catalogue, "\n".join(block.names))
        if len(block.values) != 8 * len(block.times) * len(names):
            raise RefusedError(
                RefusalCode.SHAPE_WRONG,
                f"$.samples.values: {len(block.values)} bytes, expected {8 * len(block.times) * len(names)}",
            )
        return names, None

    def _reply(self, session: Session, device: KnownDevice, message: CheckIn, received: int) -> bytes:
        picture = self._watch.picture
        delivery = picture.deliveries.get(session.device)
        if delivery is not None:
            self._note_delivery(session.device, delivery, received)
        checkpoint = self._watch.checkpoint_for(
            device=session.device, client=device.client, held=message.checkpoint_size
        )
        held = message.checkpoint_size
        if checkpoint is not None:
            held = picture.checkpoints[device.client][0]
        self._watch.checkpoint_noted(device=session.device, size=held)
        return codec.encode(
            CheckInReply(
                next_sequence=self._journal.expected(session.device),
                server_time=datetime.fromtimestamp(received / 1000, UTC),
                jobs=delivery.jobs if delivery else [],
                documents=delivery.documents if delivery else [],
                checkpoint=checkpoint,
                resend_facts=picture.wanted.get(session.device, []),
            )
        )

    def _note_delivery(self, device: bytes, delivery: Delivery, received: int) -> None:
        new = [one for one in delivery.job_ids if (device, one) not in self._delivered]
        if not new:
            return
        self._delivered.update((device, one) for one in new)
        done = self._journal.append(
            Entry(EntryKind.DELIVERED, device, 0, received, None, "", msgspec.msgpack.encode(new), None)
        )
        done.add_done_callback(lambda future: self._delivery_stored(future, device, new))

    def _delivery_stored(self, future: asyncio.Future[None], device: bytes, jobs: Iterable[str]) -> None:
        if future.exception() is not None:
            # Not on record: the next reply carries the jobs again, and records them again.
            self._delivered.difference_update((device, one) for one in jobs)

    # --- once a second --------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Once a second: hand refusal counts to the journal."""
        if self._refusals:
            counts, self._refusals = list(self._refusals.values()), {}
            self._journal.append(
                Entry(
                    EntryKind.REFUSALS,
                    b"",
                    0,
                    int(self._clock() * 1000),
                    None,
                    "",
                    msgspec.msgpack.encode(counts),
                    None,
                )
            ).add_done_callback(lambda future: self._refusals_stored(future, counts))

    def tell_of_strangers(self) -> None:
        """Once a minute: log what was refused without it being certain which device spoke."""
        if self._strangers:
            counts, self._strangers = self._strangers, {}
            log.warning(
                "refused in the last minute, of no certain device: %s",
                ", ".join(f"{count} {code}" for code, count in sorted(counts.items())),
            )

    def _refusals_stored(self, future: asyncio.Future[None], counts: Iterable[RefusalCount]) -> None:
        if future.exception() is not None:
            for count in counts:
                self._add(count)

    def _count(self, refused: RefusedError) -> None:
        if refused.device is None:
            self._strangers[refused.code] = self._strangers.get(refused.code, 0) + 1
            return
        self._add(
            RefusalCount(
                device=refused.device, code=refused.code, detail=refused.detail, count=1, at=int(self._clock() * 1000)
            )
        )

    def _add(self, new: RefusalCount) -> None:
        key = (new.device, new.code)
        before = self._refusals.get(key)
        if before is None:
            if len(self._refusals) < REFUSALS_KEPT:
                self._refusals[key] = new
            return
        latest = max(before, new, key=lambda one: one.at)
        self._refusals[key] = msgspec.structs.replace(latest, count=before.count + new.count)


class RefusalCount(msgspec.Struct, frozen=True, array_like=True):
    """Refusals of one device and code since they were last handed to the journal."""

    device: bytes
    code: RefusalCode
    detail: str
    """Of the latest."""
    count: int
    at: int
    """Of the latest: Unix milliseconds."""


_SESSION_HEADER = codec.SESSION_HEADER.encode()
_MAC_HEADER = codec.MAC_HEADER.encode()
_SENT_AT_HEADER = codec.SENT_AT_HEADER.encode()
_session_decoder = msgspec.msgpack.Decoder(SessionRequest)
_enrol_decoder = msgspec.msgpack.Decoder(EnrolRequest)


def _decode(decoder: msgspec.msgpack.Decoder[R], body: bytes) -> R:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(RefusalCode.MALFORMED, str(error)) from None


def _milliseconds(header: bytes) -> int | None:
    """The sender's clock; None when it did not say, or not as a number that can be a time."""
    return int(header) if header.isdigit() and len(header) <= 15 else None


def _times_check(message: CheckIn, received: int) -> None:
    times = [("$.made_at", int(message.made_at.timestamp() * 1000))]
    if message.samples is not None:
        times += [
            ("$.samples.times[0]", message.samples.times[0]),
            ("$.samples.times[-1]", message.samples.times[-1]),
        ]
    for path, moment in times:
        if moment > received + AHEAD_MS:
            raise RefusedError(
                RefusalCode.FROM_THE_FUTURE, f"{path}: {(moment - received) // 1000} s ahead of the server"
            )
        if moment < received - OLDEST_MS:
            raise RefusedError(RefusalCode.TOO_OLD, f"{path}: {(received - moment) // 86_400_000} days old, at most 8")


async def _safe(done: asyncio.Future[None]) -> None:
    try:
        await done
    except StorageError as error:
        raise RefusedError(RefusalCode.STORAGE_FAILED, f"not stored: {error}") from None
