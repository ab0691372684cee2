"""Advisories, laid out so that one package version finds its own at once; in memory or opened from a folder.

Each ecosystem is one run of bytes and a directory: package → where its entries stand. Opening a folder maps the files
and reads directories; entries of a package are decoded when it is first asked for, and kept. An entry holds the keys of
its versions. Those that only say "fixed in" (nearly all) stand in the order of their fixes: one bisection finds all
that a version is open to.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec

from forestall.server.vulnerabilities.feeds import severity as ratings_of
from forestall.server.vulnerabilities.feeds.ecosystems import normal_name
from forestall.server.vulnerabilities.feeds.records import (
    Advisory,
    Affected,
    Likelihood,
    MadeFrom,
    Rating,
    Record,
    SameAs,
    Span,
)
from forestall.server.vulnerabilities.types import Exploited
from forestall.server.vulnerabilities.versions import Key, key_of, scheme_of

LAYOUT = 2
"""Of the files; another number: build again."""
CATALOGUE = "index.msgpack"
UNKNOWN_EPOCH = "?:"
"""Before a version whose epoch is not known (``rpm -qa`` leaves it out): that of the fix is taken."""


@dataclass(frozen=True, slots=True)
class VersionFinding:
    """An advisory that one version of a package is open to."""

    advisory: str
    cves: tuple[str, ...]
    fixed: str
    """Version with the fix; empty: there is none."""
    severity: str
    published_at: datetime | None
    known_exploited: bool = False
    title: str = ""


class IndexUnreadableError(Exception):
    """A folder that holds no index, or one of another layout."""


class Note(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """An advisory without its packages."""

    id: str
    cves: tuple[str, ...]
    severity: str
    published: float | None
    title: str
    exploited: bool


class Entry(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """One span of versions of one package that one advisory is about."""

    note: int
    introduced: str
    fixed: str
    last: str
    keys: tuple[bytes, bytes, bytes]
    """Of the three, where keys are bytes and the version is named."""
    versions: tuple[str, ...] = ()
    module: str = ""
    architectures: tuple[str, ...] = ()
    severity: str = ""
    cves: tuple[str, ...] = ()


class Entries(msgspec.Struct, array_like=True):
    """Of one package."""

    ordered: int
    """So many of the first only say "fixed in", and stand in the order of their fixes."""
    simple: bool
    """No entry is for some module or architecture alone, and none of an advisory that has another entry here."""
    entries: list[Entry]


_ENTRIES = msgspec.msgpack.Decoder(Entries)
_NOTE = msgspec.msgpack.Decoder(Note)
_ENCODER = msgspec.msgpack.Encoder()


class Directory(msgspec.Struct, array_like=True):
    """Of one ecosystem."""

    names: dict[str, tuple[int, int, str]]
    """Package → begin and end of its entries, and a digest of what they say."""
    notes: bytes
    """Where each advisory begins, and the end of the last: little-endian uint64."""
    made_from: dict[str, str]
    """Package → its source package, where a feed tells."""


class Catalogue(msgspec.Struct, array_like=True):
    layout: int
    digest: str
    ecosystems: dict[str, tuple[str, str]]
    """Ecosystem → files of its directory and of its entries."""
    exploited: dict[str, tuple[date, date | None, bool, str]]
    others: str
    """File of the likelihoods and ratings."""


class Others(msgspec.Struct, array_like=True):
    likelihoods: dict[str, tuple[float, float]]
    ratings: dict[str, tuple[str, float | None, str, str, datetime | None]]


@dataclass(slots=True)
class _Package:
    """The entries of a package, ready to be asked."""

    fixes: list[Any]
    """Keys of the fixed versions of the entries that stand in order."""
    entries: list[Entry]
    simple: bool
    findings: dict[int, VersionFinding]
    """Place of an entry → what it says. Made when first said: of most, nobody ever asks."""


@dataclass
class _Ecosystem:
    """One ecosystem's advisories."""

    name: str
    directory: Directory
    data: bytes | mmap.mmap = field(repr=False)
    exploited: dict[str, Exploited] = field(repr=False)
    packages: dict[str, _Package | None] = field(default_factory=dict, repr=False)
    notes: dict[int, Note] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.key: Key = key_of(self.name)
        self.by_modules = scheme_of(self.name) == "rpm"
        self.places = memoryview(self.directory.notes).cast("Q")

    def note(self, place: int) -> Note:
        found = self.notes.get(place)
        if found is None:
            begin, end = self.places[place], self.places[place + 1]
            found = self.notes[place] = _NOTE.decode(self.data[begin:end])
        return found

    def package(self, name: str) -> _Package | None:
        if name in self.packages:
            return self.packages[name]
        place = self.directory.names.get(name)
        made = None
        if place is not None:
            made = self._ready(_ENTRIES.decode(self.data[place[0] : place[1]]))
        self.packages[name] = made
        return made

    def _ready(self, said: Entries) -> _Package:
        ordered = said.entries[: said.ordered]
        return _Package([entry.keys[1] or self.key(entry.fixed) for entry in ordered], said.entries, said.simple, {})

    def _finding(self, entry: Entry) -> VersionFinding:
        note = self.note(entry.note)
        cves = entry.cves or note.cves
        return VersionFinding(
            advisory=note.id,
            cves=cves,
            fixed=entry.fixed,
            severity=entry.severity or note.severity,
            published_at=None if note.published is None else datetime.fromtimestamp(note.published, UTC),
            known_exploited=note.exploited or any(cve in self.exploited for cve in cves),
            title=note.title,
        )

    def findings_of(self, name: str, version: str, module: str, architecture: str) -> tuple[VersionFinding, ...]:
        package = self.package(name)
        if package is None:
            return ()
        entries = package.entries
        if version.startswith(UNKNOWN_EPOCH):
            version = version.removeprefix(UNKNOWN_EPOCH)
            places: Iterable[int] = (
                place for place, entry in enumerate(entries) if self._holds(entry, _with_epoch_of(entry, version))
            )
        else:
            key, ordered = self.key(version), len(package.fixes)
            found = list(range(bisect_right(package.fixes, key), ordered))
            found += [place for place in range(ordered, len(entries)) if self._holds(entries[place], version, key)]
            places = found
        if package.simple:
            return tuple([self._said(package, place) for place in places])
        by_advisory: dict[str, VersionFinding] = {}
        for place in places:
            entry = entries[place]
            if entry.architectures and architecture and architecture not in (*entry.architectures, "noarch"):
                continue
            if self.by_modules and not _same_stream(entry, version, module):
                continue
            finding = self._said(package, place)
            by_advisory.setdefault(finding.advisory, finding)
        return tuple(by_advisory.values())

    def _said(self, package: _Package, place: int) -> VersionFinding:
        finding = package.findings.get(place)
        if finding is None:
            finding = package.findings[place] = self._finding(package.entries[place])
        return finding

    def _holds(self, entry: Entry, version: str, key: Any = None) -> bool:
        if entry.versions:
            return version in entry.versions
        if key is None:
            key = self.key(version)
        introduced, fixed, last = entry.keys
        if entry.introduced and key < (introduced or self.key(entry.introduced)):
            return False
        if entry.fixed and key >= (fixed or self.key(entry.fixed)):
            return False
        return not entry.last or bool(key <= (last or self.key(entry.last)))


def _with_epoch_of(entry: Entry, version: str) -> str:
    epoch, colon, _ = (entry.fixed or entry.last or entry.introduced).partition(":")
    return f"{epoch}:{version}" if colon else version


def _same_stream(entry: Entry, version: str, module: str) -> bool:
    """Whether the entry is about the stream that the installed package is of.

    Modular packages carry ``.module`` in their release. A host that does not tell the stream is taken by the number:
    18.14 is of the stream 18.
    """
    modular = bool(module) or ".module" in version
    if entry.fixed and (bool(entry.module) or ".module" in entry.fixed) != modular:
        return False
    if not entry.module:
        return True
    name, _, stream = entry.module.partition(":")
    if module:
        parts = module.split(":")
        return parts[0] == name and (len(parts) < 2 or not stream or parts[1] == stream)
    upstream = version.partition(":")[2] or version
    return not stream[:1].isdigit() or upstream == stream or upstream.startswith((f"{stream}.", f"{stream}-"))


class Index:
    """All advisories by ecosystem and package name. Immutable; threads that only read may share it."""

    def __init__(
        self,
        ecosystems: dict[str, _Ecosystem],
        exploited: dict[str, Exploited],
        others: Others | None,
        digest: str,
        folder: Path | None = None,
        waiting: dict[str, tuple[str, str]] | None = None,
        others_file: str = "",
    ) -> None:
        self._ecosystems = ecosystems
        self._exploited = exploited
        self._others = others
        self._folder = folder
        self._waiting = waiting or {}
        self._others_file = others_file
        self.digest = digest
        """Of everything in it."""

    @classmethod
    def build(cls, records: Iterable[Record]) -> Index:
        """An index in memory of everything that feeds said."""
        return _Builder().take(records).index()

    @classmethod
    def open(cls, folder: Path) -> Index:
        """What ``save`` left in a folder. Raises FileNotFoundError, or IndexUnreadableError for another layout."""
        try:
            catalogue = msgspec.msgpack.decode((folder / CATALOGUE).read_bytes(), type=Catalogue)
        except msgspec.DecodeError as error:
            raise IndexUnreadableError(f"{folder / CATALOGUE}: {error}") from error
        if catalogue.layout != LAYOUT:
            raise IndexUnreadableError(f"{folder / CATALOGUE}: layout {catalogue.layout}, {LAYOUT} is understood")
        exploited = {cve: Exploited(cve, *rest) for cve, rest in catalogue.exploited.items()}
        return cls({}, exploited, None, catalogue.digest, folder, dict(catalogue.ecosystems), catalogue.others)

    def save(self, folder: Path) -> None:
        """Keep the index in a folder; whoever has the former one open keeps it, whoever opens sees old or new whole."""
        folder.mkdir(parents=True, exist_ok=True)
        stem = self.digest[:16]
        files: dict[str, tuple[str, str]] = {}
        for place, name in enumerate(sorted(self.ecosystems)):
            ecosystem = self._ecosystem(name)
            assert ecosystem is not None  # noqa: S101 - it is one of ours
            files[name] = (f"{stem}-{place}.names", f"{stem}-{place}.data")
            _write(folder / files[name][0], _ENCODER.encode(ecosystem.directory))
            _write(folder / files[name][1], bytes(ecosystem.data[:]))
        others = f"{stem}.others"
        _write(folder / others, _ENCODER.encode(self._load_others()))
        kept = {cve: (one.added_on, one.due_on, one.ransomware, one.title) for cve, one in self._exploited.items()}
        _write(folder / CATALOGUE, _ENCODER.encode(Catalogue(LAYOUT, self.digest, files, kept, others)))
        for stale in folder.iterdir():
            if stale.suffix in {".names", ".data", ".others"} and not stale.name.startswith(stem):
                stale.unlink()

    def _ecosystem(self, name: str) -> _Ecosystem | None:
        found = self._ecosystems.get(name)
        if found is None and name in self._waiting and self._folder is not None:
            names, data = self._waiting[name]
            directory = msgspec.msgpack.decode((self._folder / names).read_bytes(), type=Directory)
            with (self._folder / data).open("rb") as stream:
                empty = os.fstat(stream.fileno()).st_size == 0
                mapped = b"" if empty else mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            found = self._ecosystems[name] = _Ecosystem(name, directory, mapped, self._exploited)
        return found

    def _load_others(self) -> Others:
        if self._others is None:
            if self._folder is None:
                self._others = Others({}, {})
            else:
                self._others = msgspec.msgpack.decode((self._folder / self._others_file).read_bytes(), type=Others)
        return self._others

    @property
    def ecosystems(self) -> frozenset[str]:
        """Those that some advisory is about."""
        return frozenset(self._ecosystems) | frozenset(self._waiting)

    def findings_of(
        self, ecosystem: str, name: str, version: str, module: str = "", *, architecture: str = ""
    ) -> tuple[VersionFinding, ...]:
        """What version ``version`` of ``name`` is open to. Withdrawn advisories and bug fixes are not among it."""
        found = self._ecosystem(ecosystem)
        return () if found is None else found.findings_of(name, version, module, architecture)

    def names_of(self, ecosystem: str) -> frozenset[str]:
        """Packages of the ecosystem that some advisory is about."""
        found = self._ecosystem(ecosystem)
        return frozenset() if found is None else frozenset(found.directory.names)

    def digest_of(self, ecosystem: str, name: str) -> str:
        """Digest of what is known of one package; empty: nothing. Equal digests give equal findings."""
        found = self._ecosystem(ecosystem)
        return "" if found is None else found.directory.names.get(name, (0, 0, ""))[2]

    def source_of(self, ecosystem: str, name: str) -> str:
        """Source package that a package is made from, where a feed tells; empty: none does."""
        for place in (ecosystem, ecosystem.partition(":")[0]):
            found = self._ecosystem(place)
            if found is not None and name in found.directory.made_from:
                return found.directory.made_from[name]
        return ""

    @property
    def exploited(self) -> dict[str, Exploited]:
        """Known exploited vulnerabilities."""
        return self._exploited

    @property
    def likelihoods(self) -> dict[str, Likelihood]:
        """EPSS of each vulnerability; made anew at each call."""
        return {cve: Likelihood(cve, *rest) for cve, rest in self._load_others().likelihoods.items()}

    @property
    def ratings(self) -> dict[str, Rating]:
        """What is known of each vulnerability itself; made anew at each call."""
        return {cve: Rating(cve, *rest) for cve, rest in self._load_others().ratings.items()}


@dataclass(slots=True)
class _Gathered:
    """An advisory, while its parts come in."""

    cves: set[str] = field(default_factory=set)
    severity: str = ""
    published_at: datetime | None = None
    title: str = ""
    exploited: bool = False
    affected: dict[tuple[str, str, str, Span, tuple[str, ...], tuple[str, ...]], tuple[set[str], str]] = field(
        default_factory=dict
    )
    """(ecosystem, name, module, span, versions, architectures) → CVEs, severity."""


class _Builder:
    def __init__(self) -> None:
        self.latest: dict[str, Advisory] = {}
        self.parts: dict[str, list[Advisory]] = {}
        self.exploited: dict[str, Exploited] = {}
        self.others = Others({}, {})
        self.made_from: dict[str, dict[str, str]] = {}
        self.same: dict[str, str] = {}

    def take(self, records: Iterable[Record]) -> _Builder:
        for record in records:
            match record:
                case Advisory():
                    self._advisory(record)
                case Exploited(cve=cve):
                    known = self.exploited.get(cve)
                    # The catalogue's own line says more than a list that only names it.
                    if known is None or known.due_on is None:
                        self.exploited[cve] = record
                case Likelihood(cve=cve, probability=probability, percentile=percentile):
                    self.others.likelihoods[cve] = (probability, percentile)
                case Rating():
                    self._rating(record)
                case MadeFrom(system=system, binary=binary, source=source):
                    self.made_from.setdefault(system, {})[binary] = source
                case SameAs(number=number, ecosystem=ecosystem):
                    self.same[number] = ecosystem
        return self

    def _advisory(self, advisory: Advisory) -> None:
        if advisory.modified_at is None:
            self.parts.setdefault(advisory.id, []).append(advisory)
            return
        known = self.latest.get(advisory.id)
        if known is None or known.modified_at is None or known.modified_at <= advisory.modified_at:
            self.latest[advisory.id] = advisory

    def _rating(self, rating: Rating) -> None:
        old = self.others.ratings.get(rating.cve, ("", None, "", "", None))
        new = (rating.severity, rating.cvss, rating.vector, rating.title, rating.published_at)
        merged = tuple(mine or theirs for mine, theirs in zip(old, new, strict=True))
        self.others.ratings[rating.cve] = merged  # type: ignore[assignment]

    def _gathered(self) -> Iterator[tuple[str, _Gathered]]:
        self._drop_fallbacks()
        for id_ in sorted(self.latest.keys() | self.parts.keys()):
            one = _Gathered()
            for part in [*([self.latest[id_]] if id_ in self.latest else ()), *self.parts.get(id_, ())]:
                if part.withdrawn_at is None:
                    self._join(one, part)
            if one.affected:
                yield id_, one

    def _drop_fallbacks(self) -> None:
        """Leave out what counts only where nothing else is said."""
        every = [*self.latest.values(), *(one for parts in self.parts.values() for one in parts)]
        if not any(one.fallback for one in every):
            return
        said = {
            (self.same.get(affected.ecosystem, affected.ecosystem), affected.name)
            for one in every
            if not one.fallback
            for affected in one.affected
        }
        for id_, parts in list(self.parts.items()):
            kept = [
                one
                for one in parts
                if not one.fallback or not any((place.ecosystem, place.name) in said for place in one.affected)
            ]
            self.parts[id_] = kept

    def _join(self, one: _Gathered, part: Advisory) -> None:
        one.cves |= set(part.cves)
        one.severity = ratings_of.worst((one.severity, part.severity))
        one.title = one.title or part.title
        one.exploited = one.exploited or part.exploited
        if part.published_at is not None:
            one.published_at = min(filter(None, (one.published_at, part.published_at)))
        for affected in part.affected:
            ecosystem = self.same.get(affected.ecosystem, affected.ecosystem)
            if affected.binaries:
                made = self.made_from.setdefault(ecosystem, {})
                for binary in affected.binaries:
                    made[binary] = affected.name
            cves = set(affected.cves or part.cves)
            for span, versions in _spans(affected):
                key = (ecosystem, affected.name, affected.module, span, versions, affected.architectures)
                known, rated = one.affected.get(key, (set(), ""))
                one.affected[key] = (known | cves, ratings_of.worst((rated, affected.severity)))

    def index(self) -> Index:
        notes: dict[str, list[Note]] = {}
        entries: dict[str, dict[str, list[Entry]]] = {}
        for id_, one in self._gathered():
            every = tuple(sorted(one.cves))
            rated = one.severity or ratings_of.worst(
                self.others.ratings[cve][0] for cve in every if cve in self.others.ratings
            )
            published = None if one.published_at is None else one.published_at.timestamp()
            note = Note(id_, every, rated, published, one.title, one.exploited)
            for (ecosystem, name, module, span, versions, architectures), (cves, severity) in one.affected.items():
                mine = notes.setdefault(ecosystem, [])
                if not mine or mine[-1] is not note:
                    mine.append(note)
                mine_cves = tuple(sorted(cves))
                entry = Entry(
                    len(mine) - 1,
                    span.introduced,
                    span.fixed,
                    span.last,
                    _keys(ecosystem, span),
                    versions,
                    module,
                    architectures,
                    severity,
                    () if mine_cves == every else mine_cves,
                )
                entries.setdefault(ecosystem, {}).setdefault(name, []).append(entry)
        ecosystems = {}
        whole = hashlib.sha256()
        for name in sorted(entries.keys() | self.made_from.keys()):
            made = self._lay_out(name, notes.get(name, []), entries.get(name, {}))
            ecosystems[name] = made
            whole.update(name.encode() + b"\x00")
            for package in sorted(made.directory.names):
                whole.update(f"{package}\x00{made.directory.names[package][2]}\n".encode())
            whole.update(repr(sorted(made.directory.made_from.items())).encode())
        whole.update(repr(sorted(self.exploited.items())).encode())
        whole.update(msgspec.msgpack.encode(self.others, order="sorted"))
        return Index(ecosystems, self.exploited, self.others, whole.hexdigest())

    def _lay_out(self, ecosystem: str, notes: list[Note], packages: dict[str, list[Entry]]) -> _Ecosystem:
        data = bytearray()
        places = array("Q")
        for note in notes:
            places.append(len(data))
            data += _ENCODER.encode(note)
        places.append(len(data))
        if sys.byteorder == "big":
            places.byteswap()
        names = {}
        key = key_of(ecosystem)
        for name in sorted(packages):
            listed = packages[name]
            # By the fixed version; what a bisection cannot find comes after and keeps its order.
            listed.sort(key=lambda entry: (notes[entry.note].id, entry.fixed))
            simple = [entry for entry in listed if entry.fixed and not entry.introduced and not entry.versions]
            simple.sort(key=lambda entry: entry.keys[1] or key(entry.fixed))
            odd = [entry for entry in listed if not (entry.fixed and not entry.introduced and not entry.versions)]
            begin = len(data)
            plain = not any(entry.module or entry.architectures or ".module" in entry.fixed for entry in listed)
            once = len({entry.note for entry in listed}) == len(listed)
            data += _ENCODER.encode(Entries(len(simple), plain and once, simple + odd))
            said = hashlib.sha256()
            for entry in simple + odd:
                said.update(_ENCODER.encode((notes[entry.note], msgspec.structs.replace(entry, note=0))))
            names[name] = (begin, len(data), said.hexdigest()[:32])
        return _Ecosystem(
            ecosystem,
            Directory(names, places.tobytes(), self.made_from.get(ecosystem, {})),
            bytes(data),
            self.exploited,
        )


def _spans(affected: Affected) -> Iterator[tuple[Span, tuple[str, ...]]]:
    for span in affected.spans:
        yield span, ()
    if affected.versions:
        yield Span(), affected.versions


def _keys(ecosystem: str, span: Span) -> tuple[bytes, bytes, bytes]:
    key = key_of(ecosystem)
    made = tuple(key(version) if version else b"" for version in (span.introduced, span.fixed, span.last))
    one, two, three = (part if isinstance(part, bytes) else b"" for part in made)
    return one, two, three


def _write(path: Path, data: bytes) -> None:
    """The whole file or none of it."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(data)
    fresh.replace(path)


__all__ = ["Index", "IndexUnreadableError", "VersionFinding", "normal_name"]
