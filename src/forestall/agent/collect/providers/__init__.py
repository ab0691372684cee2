"""Reading what each program that installs updates offers: one module for each, all of one shape (``Reader``).

``READERS`` names them in the order in which they appear in the document, the system's own package managers first.
``collect/updates.py`` asks those that are present and joins their readings. What *changes* packages is in
``agent/act/providers``. How to add one: ``docs/extending/update-provider.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Literal, Protocol

from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Update, UpdateProvider

Kind = Literal["system", "application", "firmware", "language"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader saw."""

    provider: UpdateProvider
    """Its name, version and what it can; ``unknown_why`` when the list could not be had."""
    pending: tuple[Update, ...] = ()
    """``manager`` and ``kind`` may be left out: the document fills them in from the reader."""


class Reader(Protocol):
    """The shape of every module here. It looks and changes nothing, needs no network, and should not need root."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a module's constant
        """As ``UpdateProvider.name`` and ``Update.manager`` have it, and runbooks' parameter ``manager``: ``apt``."""

    @property
    def KIND(self) -> Kind:  # noqa: N802
        """Of every update it offers."""

    def present(self, host: Host) -> bool:
        """Whether this machine has it *and it keeps something here*: dnf as a guest on Debian is not present.

        Cheap: ``find_program`` and file look-ups, no program is run.
        """

    def read(self, notes: Notes) -> Reading:
        """What it offers now, through ``notes.host``; called only when ``present``.

        Raises nothing for what a machine may be like: what could not be seen is a gap in ``notes`` (and
        ``unknown_why`` when it is the whole list). Sources used are noted by ``notes`` itself.
        """


_NAMES: tuple[str, ...] = (
    *("apt", "dnf", "zypper", "pacman", "apk", "windows_update", "softwareupdate"),
    *("flatpak", "snap", "winget", "homebrew", "fwupd", "pip", "npm"),
)
"""Modules of this package, in order."""

READERS: tuple[Reader, ...] = tuple(import_module(f"{__name__}.{name}") for name in _NAMES)
READER_BY_NAME: dict[str, Reader] = {reader.NAME: reader for reader in READERS}


def present_readers(host: Host) -> tuple[Reader, ...]:
    """The readers that have something to say on this machine."""
    return tuple(reader for reader in READERS if reader.present(host))
