"""The collectors: one list, in the order in which documents are made.

Importing this is cheap: a collector's module is imported when it is called, which the agent does in a short-lived
child process, so that its own memory stays small.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import msgspec

from forestall.agent.collect import triggers
from forestall.agent.collect.host import Host
from forestall.wire.facts import AnyDocument, Document, Facts

MINUTE, HOUR, DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True)
class Collector:
    """How one document is made and when it is made again."""

    name: str
    """The document's name."""
    module: str
    every_seconds: int
    """Collect again after this time even though the trigger has not changed."""
    trigger: Callable[[Host], str]
    """A cheap fingerprint: when it changes, collect again at once."""

    def collect(self, host: Host) -> Document:
        """Look, and make the document."""
        document: Document = import_module(f"forestall.agent.collect.{self.module}").collect(host)
        return document


COLLECTORS: tuple[Collector, ...] = (
    Collector("system", "system", DAY, triggers.system),
    Collector("network", "network", HOUR, triggers.network),
    Collector("volumes", "volumes", HOUR, triggers.volumes),
    Collector("disks", "disks", 6 * HOUR, triggers.disks),
    Collector("arrays", "arrays", HOUR, triggers.disks),
    Collector("software", "software", DAY, triggers.software),
    Collector("updates", "updates", DAY, triggers.updates),
    Collector("restarts", "restarts", HOUR, triggers.restarts),
    Collector("readiness", "readiness", HOUR, triggers.never),
    Collector("services", "services", HOUR, triggers.services),
    Collector("scheduled", "scheduled", DAY, triggers.scheduled),
    Collector("access", "access", DAY, triggers.access),
    Collector("sshd", "sshd", DAY, triggers.sshd),
    Collector("firewall", "firewall", HOUR, triggers.firewall),
    Collector("hardening", "hardening", 6 * HOUR, triggers.hardening),
    Collector("assessments", "assessments", DAY, triggers.assessments),
    Collector("plugins", "plugins", 5 * MINUTE, triggers.plugins),
    Collector("backups", "backups", 15 * MINUTE, triggers.backups),
    Collector("antivirus", "antivirus", HOUR, triggers.antivirus),
    Collector("certificates", "certificates", 6 * HOUR, triggers.certificates),
    Collector("time", "clock", HOUR, triggers.never),
)

COLLECTOR_BY_NAME: dict[str, Collector] = {collector.name: collector for collector in COLLECTORS}


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """A collector begins."""

    name: str


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """A collector has made its document."""

    name: str
    seconds: float
    document: AnyDocument


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """A collector broke, which none should: its document is absent, and this says so by name."""

    name: str
    seconds: float
    error: str
    """Type and message of the exception."""
    trace: str = ""


class Collection(msgspec.Struct, frozen=True, kw_only=True):
    """What ``python -m forestall.agent.collect`` prints: the documents made, and the collectors that broke."""

    documents: list[AnyDocument]
    failures: list[Failed] = []


Progress = Callable[[Started | Collected | Failed], None]


def collect_one(name: str, host: Host) -> Document:
    """The document called ``name``; ValueError when no collector is called so."""
    if name not in COLLECTOR_BY_NAME:
        raise ValueError(f"no collector is called {name!r}; known: {', '.join(COLLECTOR_BY_NAME)}")
    return COLLECTOR_BY_NAME[name].collect(host)


def collect_each(names: list[str], host: Host, on_progress: Progress | None = None) -> Collection:
    """The documents called ``names``. A collector that breaks loses only its own document."""
    tell = on_progress or (lambda _outcome: None)
    documents: list[AnyDocument] = []
    failures: list[Failed] = []
    for name in names:
        tell(Started(name=name))
        began = time.perf_counter()
        try:
            document = collect_one(name, host)
        except Exception as error:  # noqa: BLE001 - a bug in one collector must not cost the other documents
            from traceback import format_exception

            failed = Failed(
                name=name,
                seconds=time.perf_counter() - began,
                error=f"{type(error).__name__}: {error}",
                trace="".join(format_exception(error)),
            )
            sys.stderr.write(f"collector {name} broke:\n{failed.trace}")
            failures.append(failed)
            tell(failed)
            continue
        documents.append(document)  # type: ignore[arg-type]
        tell(Collected(name=name, seconds=time.perf_counter() - began, document=document))  # type: ignore[arg-type]
    return Collection(documents=documents, failures=failures)


def collect_all(host: Host, on_progress: Progress | None = None) -> Facts:
    """Every document. One whose collector broke is None; ``on_progress`` is told of it, and so is standard error."""
    facts = Facts()
    for document in collect_each([collector.name for collector in COLLECTORS], host, on_progress).documents:
        facts = facts.with_document(document)
    return facts


def decode_collection(data: bytes) -> Collection:
    """What the child process printed; msgspec.DecodeError when it is not that."""
    return msgspec.msgpack.decode(data, type=Collection)
