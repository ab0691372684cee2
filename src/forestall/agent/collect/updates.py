"""The ``updates`` document: what every provider on this machine offers, joined.

Each provider is read by a module of ``providers/``. The document's own ``manager``, ``lists_refreshed_at`` and
``security_sources`` are those of the system's package manager, the first one present of kind ``system``.
"""

from __future__ import annotations

import msgspec

from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.providers import Reader, present_readers
from forestall.wire.facts import Update, UpdateProvider, Updates


def collect(host: Host) -> Updates:
    notes = Notes(host)
    readers = present_readers(host)
    main = next((reader for reader in readers if reader.KIND == "system"), None)
    if main is None:
        notes.gap("updates", "no package manager whose updates the agent can read")
    providers: list[UpdateProvider] = []
    pending: list[Update] = []
    for reader in readers:
        reading = reader.read(notes)
        providers.append(reading.provider)
        pending += [_named(update, reader, main) for update in reading.pending]
    own = next((each for each in providers if main is not None and each.name == main.NAME), None)
    return Updates(
        manager=main.NAME if main else "",
        pending=tuple(pending),
        lists_refreshed_at=own.lists_refreshed_at if own else None,
        security_sources=own.security_sources if own else None,
        providers=tuple(providers),
        sources=notes.sources,
        gaps=notes.gaps,
    )


def _named(update: Update, reader: Reader, main: Reader | None) -> Update:
    """With its kind, and its manager where that is not the document's own (``facts.Update.manager``)."""
    manager = "" if reader is main else reader.NAME
    if (update.manager, update.kind) == (manager, reader.KIND):
        return update
    return msgspec.structs.replace(update, manager=manager, kind=reader.KIND)
