"""Verify an evidence bundle, line by line, in memory that does not grow with its entries.

The order of the checks is that of the file, so that the first wrong line is the one named. Nothing here trusts the
file: it is signed by a server that is assumed to be taken over one day (docs/protocol/evidence.md says what that
server can and cannot do).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TypeVar

from forestall.ledger import bundle as lines
from forestall.ledger import merkle, records
from forestall.ledger.signed import SignedError, signed_read
from forestall.trust import dsse
from forestall.trust.keys import key_id
from forestall.trust.statements import Checkpoint, Root, read_statement
from forestall.verify.verdict import ClientVerdict, DeviceVerdict, Problem, Verdict

L = TypeVar("L", bound=lines.Line)

MAGIC = b'{"record":"'
"""How every line of every bundle begins."""

MAX_KEPT_BYTES = 64 * 1024 * 1024
"""Largest file of kept checkpoints: about 100,000 clients."""

LATEST = datetime.max.replace(tzinfo=UTC)
EARLIEST = datetime.min.replace(tzinfo=UTC)


class WrongFileError(ValueError):
    """The file is no evidence bundle (or no kept checkpoints), so there is nothing to be said of it."""


def verify_bundle(path: Path, *, pinned_log_key: str | None = None, kept: Path | None = None) -> Verdict:
    """Whether the bundle in ``path`` holds; the first thing that is wrong when it does not.

    ``pinned_log_key`` is the fingerprint of the log's key that the customer was given (64 hexadecimal digits).
    ``kept`` is what the customer kept from earlier: a checkpoint file, or an earlier bundle. The log must then begin
    with exactly the entries it had at that time.

    WrongFileError when a file is of another type; ValueError for a pinned key that is no fingerprint; OSError when a
    file cannot be read. A file that is a bundle but does not hold is an answer, never an error.
    """
    if pinned_log_key is not None and records.hex_bytes(pinned_log_key, 32) is None:
        raise ValueError(f"{pinned_log_key!r} is not a key's fingerprint: 64 hexadecimal digits")
    memory = None if kept is None else _kept(kept)
    with path.open("rb") as file:
        return _Verification(file, path=path, pinned=pinned_log_key, kept=memory).run()


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the customer kept: the log key's fingerprint; for each client, size and root of its log at that time."""

    log_key: str
    logs: Mapping[str, tuple[int, str]]


def _kept(path: Path) -> _Kept:
    with path.open("rb") as file:
        data = file.read(MAX_KEPT_BYTES + 1)
    if data.startswith(MAGIC):
        verdict = verify_bundle(path)
        if verdict.problem is not None:
            raise WrongFileError(f"{path}: the earlier bundle does not hold: {verdict.problem}")
        return _Kept(log_key=verdict.log_key, logs={log.id: (log.entries, log.root) for log in verdict.clients})
    try:
        file_of = lines.kept_read(data)
        key = records.hex_bytes(file_of.log_key, 32)
        if key is None:
            raise WrongFileError(f"{path}: log_key is not a public key: 64 hexadecimal digits")
        logs: dict[str, tuple[int, str]] = {}
        for envelope in file_of.checkpoints:
            checkpoint = signed_read(envelope.encode(), Checkpoint, key=key, whose="the log's key")
            if checkpoint.size < 1 or checkpoint.client_id in logs:
                raise WrongFileError(f"{path}: not one checkpoint for client {inert(checkpoint.client_id)}")
            logs[checkpoint.client_id] = (checkpoint.size, checkpoint.root)
    except lines.LineError as error:
        raise WrongFileError(f"{path} is neither a checkpoint file nor a bundle: it {error}") from None
    except SignedError as error:
        raise WrongFileError(f"{path}: {error}") from None
    return _Kept(log_key=key_id(key), logs=logs)


def inert(text: str) -> str:
    """Text of the file as a terminal may show it: nothing in it can move the cursor, colour, or reverse the line."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[:400])


class _Wrong(Exception):  # noqa: N818 - not an error of the program: the answer, on its way out
    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


@contextmanager
def _judged() -> Iterator[None]:
    """What a reader of some part refuses is what is wrong with the bundle."""
    try:
        yield
    except (records.RecordError, SignedError) as error:
        raise _Wrong(str(error)) from None


@dataclass(slots=True)
class _Place:
    """Where the verification stands, for the problem's name."""

    line: int = 0
    record: str = "header"
    kind: str = ""
    index: int | None = None
    client: str = ""


@dataclass(frozen=True, slots=True)
class _Mark:
    """What is remembered of a checkpoint."""

    size: int
    root: bytes
    at: datetime


@dataclass(slots=True)
class _Section:
    """The log of one client while it is being read."""

    client: lines.BundleClient
    kept: tuple[int, str] | None
    frontier: merkle.Frontier = merkle.EMPTY
    marks: list[_Mark] = field(default_factory=list)
    roots: dict[int, str] = field(default_factory=dict)
    """Size → root in hex, of every checkpoint."""
    reached: int = 0
    """How many of the checkpoints the entries read so far have filled."""
    keys: dict[str, bytes] = field(default_factory=dict)
    """Device → the key that its enrolment bound."""
    signed: dict[str, int] = field(default_factory=dict)
    vouches: dict[str, int] = field(default_factory=dict)
    erased: dict[int, tuple[int, str]] = field(default_factory=dict)
    """Erased entries that no later entry has owned up to yet: index → line and kind."""
    erased_count: int = 0
    first_at: datetime = LATEST
    last_at: datetime = EARLIEST
    waiting_since: datetime = LATEST
    """Time of the oldest entry that no checkpoint read so far covers."""
    slowest: float = 0.0

    def verdict(self) -> ClientVerdict:
        last = self.marks[-1]
        return ClientVerdict(
            id=self.client.id,
            name=inert(self.client.name),
            entries=self.client.entries,
            erased=self.erased_count,
            first_at=self.first_at,
            last_at=self.last_at,
            device_signed=sum(self.signed.values()),
            devices=tuple(
                DeviceVerdict(
                    id=inert(device),
                    key=key_id(key),
                    signed=self.signed.get(device, 0),
                    vouches_for=self.vouches.get(device, 0),
                )
                for device, key in self.keys.items()
            ),
            checkpoints=len(self.marks),
            root=last.root.hex(),
            checkpoint_at=last.at,
            slowest_checkpoint_seconds=self.slowest,
            kept_size=None if self.kept is None else self.kept[0],
        )


class _Verification:
    def __init__(self, file: IO[bytes], *, path: Path, pinned: str | None, kept: _Kept | None) -> None:
        self.file = file
        self.path = path
        self.pinned = pinned
        self.kept = kept
        self.digest = hashlib.sha256()
        self.place = _Place()
        self.log_key = b""
        self.header: lines.BundleHeader | None = None
        self.root_version: int | None = None
        self.not_compared: tuple[str, ...] = ()
        self.done: list[ClientVerdict] = []

    def run(self) -> Verdict:
        problem: Problem | None = None
        try:
            for client in self._header().clients:
                self.done.append(self._section(client))
            self._seal()
        except _Wrong as wrong:
            place = self.place
            problem = Problem(
                line=place.line,
                record=place.record,
                kind=place.kind,
                index=place.index,
                client=inert(place.client),
                what=inert(wrong.what),
            )
        fingerprint = key_id(self.log_key) if self.log_key else ""
        header = self.header
        return Verdict(
            valid=problem is None,
            problem=problem,
            log_key=fingerprint,
            pinned=bool(fingerprint) and fingerprint == self.pinned,
            exported_at=header.exported_at if header else None,
            exported_by=inert(header.exported_by) if header else "",
            covers=header.covers if header else "",
            root_version=self.root_version,
            lines=self.place.line,
            clients=tuple(self.done),
            not_compared=self.not_compared,
        )

    def _next(self, kind: type[L], *, client: str = "") -> tuple[bytes, L]:
        """The next line, which must be of this kind: its bytes and what they say."""
        self.place = _Place(line=self.place.line + 1, record=str(kind.__struct_config__.tag), client=client)
        data = self.file.readline(lines.MAX_LINE_BYTES + 1)
        if self.place.line == 1 and not data.startswith(MAGIC):
            raise WrongFileError(f"{self.path} is not an evidence bundle: it does not begin like one")
        if not data:
            raise _Wrong("the bundle ends before this line")
        if len(data) > lines.MAX_LINE_BYTES:
            raise _Wrong(f"the line is longer than {lines.MAX_LINE_BYTES} bytes")
        try:
            line = lines.line_read(data)
        except lines.LineError as error:
            raise _Wrong(f"the line {error}") from None
        if not isinstance(line, kind):
            raise _Wrong(f"here stands a line of another kind: {line.__struct_config__.tag}")
        return data, line

    def _header(self) -> lines.BundleHeader:
        data, line = self._next(lines.HeaderLine)
        if line.format != lines.FORMAT:
            raise WrongFileError(
                f"{self.path} has the format {inert(line.format)!r}; this verifier reads {lines.FORMAT!r}"
            )
        self.digest.update(data)
        key = records.hex_bytes(line.log_key, 32)
        if key is None:
            raise _Wrong("log_key is not a public key: 64 hexadecimal digits")
        self.log_key = key
        if self.pinned is not None and self.pinned != key_id(key):
            raise _Wrong(f"the log's key has the fingerprint {key_id(key)}, not the pinned {self.pinned}")
        with _judged():
            header = signed_read(line.envelope.encode(), lines.BundleHeader, key=key, whose="the log's key")
        if not header.clients:
            raise _Wrong("the bundle names no client")
        if len({client.id for client in header.clients}) != len(header.clients):
            raise _Wrong("the bundle names a client twice")
        if header.root is not None:
            self._root(header.root.encode())
        self.header = header
        self._compare_with_kept(header)
        return header

    def _root(self, envelope: bytes) -> None:
        """The root of authority must be signed by its own threshold; whose keys those are is for people to know."""
        try:
            root = read_statement(dsse.decode(envelope).body(), Root)
            keys = {name: bytes.fromhex(key) for name, key in root.root.keys.items()}
            _, signed = dsse.signers(envelope, Root.PAYLOAD_TYPE, keys)
        except ValueError as error:
            raise _Wrong(f"the root of authority: {error}") from None
        if not 1 <= root.root.threshold <= len(signed):
            raise _Wrong(f"the root of authority has {len(signed)} of its {root.root.threshold} signatures")
        self.root_version = root.version

    def _compare_with_kept(self, header: lines.BundleHeader) -> None:
        if self.kept is None:
            return
        if self.kept.log_key != key_id(self.log_key):
            raise _Wrong("the log's key is another than that of the checkpoint you kept")
        here = {client.id for client in header.clients}
        missing = sorted(set(self.kept.logs) - here)
        if missing and header.covers == "every client":
            raise _Wrong(f"you kept a checkpoint of client {missing[0]}, which a bundle of every client lacks")
        if not here & set(self.kept.logs):
            raise _Wrong("the checkpoint you kept is of none of this bundle's clients")
        self.not_compared = tuple(inert(client) for client in missing)

    def _section(self, client: lines.BundleClient) -> ClientVerdict:
        section = _Section(client=client, kept=self.kept.logs.get(client.id) if self.kept else None)
        for _ in range(client.checkpoints):
            self._checkpoint(section)
        covered = section.marks[-1].size if section.marks else 0
        if covered < 1 or covered != client.entries:
            raise _Wrong(f"the last checkpoint is over {covered} entries, the header names {client.entries}")
        if section.kept is not None and section.kept[0] > covered:
            raise _Wrong(f"the log has {covered} entries; the checkpoint you kept is over {section.kept[0]}")
        for index in range(client.entries):
            self._entry(section, index)
        for index, (line, kind) in section.erased.items():
            self.place = _Place(line=line, record="entry", kind=kind, index=index, client=client.name)
            raise _Wrong("the content was erased, and no later entry says so")
        return section.verdict()

    def _checkpoint(self, section: _Section) -> None:
        data, line = self._next(lines.CheckpointLine, client=section.client.name)
        self.digest.update(data)
        with _judged():
            checkpoint = signed_read(line.envelope.encode(), Checkpoint, key=self.log_key, whose="the log's key")
        if checkpoint.client_id != section.client.id:
            raise _Wrong(f"the checkpoint is of client {checkpoint.client_id}")
        if checkpoint.at.tzinfo is None:
            raise _Wrong("the checkpoint's time names no time zone")
        mark = _Mark(size=checkpoint.size, root=_hash(checkpoint.root), at=checkpoint.at)
        before = section.marks[-1] if section.marks else _Mark(size=0, root=merkle.EMPTY_ROOT, at=EARLIEST)
        if mark.size <= before.size:
            raise _Wrong(f"a checkpoint over {mark.size} entries does not follow one over {before.size}")
        if not merkle.consistency_holds(
            old_size=before.size,
            old_root=before.root,
            new_size=mark.size,
            new_root=mark.root,
            proof=[_hash(piece) for piece in line.consistency],
        ):
            raise _Wrong("the consistency proof does not lead from the checkpoint before to this one")
        section.marks.append(mark)
        section.roots[mark.size] = checkpoint.root

    def _entry(self, section: _Section, index: int) -> None:
        data, line = self._next(lines.EntryLine, client=section.client.name)
        self.digest.update(data)
        with _judged():
            leaf = records.leaf_read(line.leaf.encode())
        self.place.kind, self.place.index = leaf.kind, leaf.index
        if leaf.index != index:
            raise _Wrong(f"entry #{leaf.index} stands where #{index} belongs")
        if leaf.client != section.client.id:
            raise _Wrong(f"the entry is of client {leaf.client}")
        digest = merkle.leaf_hash(line.leaf.encode())
        if not merkle.inclusion_holds(
            leaf=digest,
            index=index,
            size=section.client.entries,
            proof=[_hash(piece) for piece in line.proof],
            root=section.marks[-1].root,
        ):
            raise _Wrong("the inclusion proof does not lead to the last checkpoint's root")
        if line.content is None:
            self._without_content(section, line, leaf)
        else:
            self._content(section, line, leaf, line.content)
        section.frontier, _ = section.frontier.append(digest)
        section.first_at = min(section.first_at, leaf.at)
        section.last_at = max(section.last_at, leaf.at)
        section.waiting_since = min(section.waiting_since, leaf.at)
        self._compare_roots(section)

    def _without_content(self, section: _Section, line: lines.EntryLine, leaf: records.Leaf) -> None:
        if line.salt is not None or line.envelope is not None or line.signer is not None:
            raise _Wrong("the content is missing, but not all that belongs to it")
        if leaf.kind in records.LASTING_KINDS:
            raise _Wrong(f"a {leaf.kind} record cannot be erased: others rest on it")
        section.erased[leaf.index] = (self.place.line, leaf.kind)
        section.erased_count += 1

    def _content(self, section: _Section, line: lines.EntryLine, leaf: records.Leaf, text: str) -> None:
        salt = records.hex_bytes(line.salt or "", records.SALT_BYTES)
        if salt is None:
            raise _Wrong("the salt is not 64 hexadecimal digits")
        signer = b"" if line.signer is None else records.hex_bytes(line.signer, 32)
        if signer is None:
            raise _Wrong("the signer is not a public key: 64 hexadecimal digits")
        # An empty text and none at all commit to the same: only one of them may stand in a bundle.
        if line.envelope == "":
            raise _Wrong("the envelope is empty")
        envelope = (line.envelope or "").encode()
        commitment = records.commitment_of(salt=salt, content=text.encode(), envelope=envelope, signer=signer)
        if commitment.hex() != leaf.commitment:
            raise _Wrong("the content is not what the leaf commits to")
        with _judged():
            content = records.content_read(text.encode())
            if leaf.kind == records.ENROLLED:
                _enrolled(section, content)
            if leaf.kind == records.ERASED:
                section.erased.pop(records.erased_index(content, before=leaf.index), None)
            self._device_signed(section, leaf, content, envelope=envelope, signer=signer)

    def _device_signed(
        self, section: _Section, leaf: records.Leaf, content: records.Content, *, envelope: bytes, signer: bytes
    ) -> None:
        statement = records.device_statement(
            kind=leaf.kind, envelope=envelope, signer=signer, content=content, client=leaf.client
        )
        if statement is None:
            return
        device = statement.device_id
        if section.keys.get(device) != signer:
            raise _Wrong(f"the signer {key_id(signer)[:16]}… is not the key that device {device} enrolled with")
        section.signed[device] = section.signed.get(device, 0) + 1
        seen = statement.checkpoint
        if seen is None:
            return
        # The device names the last checkpoint it had accepted: if the log was rewritten since, this convicts it.
        if section.roots.get(seen.size) != seen.root:
            raise _Wrong(
                f"device {device} signed that it had seen a checkpoint over {seen.size} entries with the root "
                f"{seen.root[:16]}…, which this log never had: it was rewritten, or the device lies"
            )
        section.vouches[device] = max(section.vouches.get(device, 0), seen.size)

    def _compare_roots(self, section: _Section) -> None:
        """Where a checkpoint or the customer's memory of one stands, the entries so far must make its root."""
        size = section.frontier.size
        mark = section.marks[section.reached]
        if mark.size == size:
            if section.frontier.root() != mark.root:
                raise _Wrong(f"the entries up to here do not make the root of the checkpoint over {size}")
            section.slowest = max(section.slowest, (mark.at - section.waiting_since).total_seconds())
            section.waiting_since = LATEST
            section.reached += 1
        if section.kept is not None and section.kept[0] == size and section.kept[1] != section.frontier.root().hex():
            raise _Wrong(f"the log up to here is not the one whose checkpoint you kept ({size} entries)")

    def _seal(self) -> None:
        before = self.place.line
        _, line = self._next(lines.SealLine)
        with _judged():
            seal = signed_read(line.envelope.encode(), lines.BundleSeal, key=self.log_key, whose="the log's key")
        if seal.lines != before:
            raise _Wrong(f"the seal is over {seal.lines} lines, {before} stand before it")
        if seal.digest != self.digest.hexdigest():
            raise _Wrong("the seal is not that of the lines before it")
        if self.file.read(1):
            self.place = _Place(line=self.place.line + 1, record="end")
            raise _Wrong("the bundle goes on after its seal")


def _enrolled(section: _Section, content: records.Content) -> None:
    key = records.enrolment_key(content)
    bound = section.keys.setdefault(str(content.device), key)
    if bound != key:
        # Whoever holds the log's key could otherwise bind a key of their own to a device and speak for it.
        raise _Wrong(f"device {content.device} is already bound to the key {key_id(bound)[:16]}…")


def _hash(text: str) -> bytes:
    raw = records.hex_bytes(text, merkle.HASH_BYTES)
    if raw is None:
        raise _Wrong(f"{text[:80]!r} is not a hash: 64 hexadecimal digits")
    return raw
