"""Changing packages with the programs of this machine: one module for each, all of one shape (``Provider``).

The actions ``updates.*`` are neutral: they choose what is to be done from what the reader of the same name
(``agent/collect/providers``) lists, refuse what may not be done, and look up before and after in the manager's own
records what changed. A provider only carries it out. How to add one: ``docs/extending/update-provider.md``.

Rules for every provider (threat model: a taken-over server can at most make a device install what its own signed
sources offer for packages that it already has):

- programs that change only through ``programs.run_program`` (no shell, an end after the timeout), programs that look
  through ``host.run``, which keeps their whole output; names and versions were checked against the machine's own list
  and begin with no ``-``, and still ``--`` stands before them where the program knows it;
- never an option that takes unsigned packages or sources (``--allow-unauthenticated``, ``--nogpgcheck``);
- packages are never removed on the way; what cannot be installed without that fails with ``would_remove``;
- no questions are asked and none waited for: standing input is empty, and configuration files that were changed on
  this machine stay;
- a manager at work is waited for with ``ctx.seconds_left`` as the bound, never forced;
- a failure is ``ActionFailed`` with one of ``CODES`` and a sentence that says what to do, where that is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

from forestall.agent.act.context import Context
from forestall.agent.collect.host import Host

CODES: dict[str, str] = {
    "manager_unknown": "this agent has no provider of that name that can do this, or the machine has none",
    "not_installed": "a named package is not installed here, so nothing is installed in its name",
    "version_not_offered": "the machine's own sources do not offer that version (any more)",
    "held": "a named package is held",
    "would_remove": "it could only be done by removing other packages",
    "unresolvable": "the package manager finds no way to do it",
    "source_untrusted": "it would come from a source whose signatures are not checked",
    "download_failed": "a package could not be fetched whole",
    "unfinished": "an earlier installation was cut short and must be repaired first",
    "manager_busy": "another package manager was still at work when the time was over",
    "install_failed": "the package manager began and did not end well; the result says what changed",
    "no_space": "too little free space",
    "on_battery": "the machine runs on battery",
    "sessions_open": "people are signed in",
    "snapshot_impossible": "no snapshot can be taken here, and one was required",
    "snapshot_failed": "taking the snapshot failed",
    "repair_failed": "repairing did not end well; the result says what is still unfinished",
    "list_failed": "what is offered could not be read",
}
"""Codes with which the actions ``updates.*`` and their providers fail, beside those of every program
(``program_missing``, ``program_denied``, ``timed_out``) and ``argument_wrong``."""


WOULD_REMOVE = "would remove"
FROM_UNCHECKED = "would come from a source whose signatures are not checked"
"""How reasons of ``Provider.impossible`` begin that have a code of their own; all others are ``unresolvable``."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One package in exactly one version."""

    name: str
    architecture: str
    """As ``Update.architecture`` has it; may be empty where the manager knows none."""
    version: str

    def __str__(self) -> str:
        return f"{self.name}={self.version}"


PackageKey = tuple[str, str]
"""Name and architecture."""


class Provider(Protocol):
    """The shape of every module here. Functions that change are never called in a dry run.

    ``host`` looks (as in ``agent/collect``); ``ctx`` goes to ``run_program``. Functions return the end of the
    program's output, for people.
    """

    @property
    def NAME(self) -> str:  # noqa: N802 - a module's constant
        """That of the reader of the same program."""

    @property
    def CAN(self) -> tuple[str, ...]:  # noqa: N802
        """Of ``UpdateProvider.can``'s words, those whose functions work; the others are never called."""

    def versions(self, host: Host, ctx: Context) -> Mapping[PackageKey, str]:
        """Version of every package there, from the manager's own records. ActionFailed ``list_failed``.

        A package whose installation was cut short counts with the version its records give it.
        """

    def refresh(self, host: Host, ctx: Context) -> str:
        """Fetch the lists of what is offered. ActionFailed ``download_failed``: then the old lists still hold."""

    def impossible(self, wanted: Sequence[Wanted], host: Host, ctx: Context) -> Mapping[Wanted, str]:
        """Those that cannot be installed as things are, each with the reason in words: ``would remove foo``.

        Looks only (also in a dry run): a simulation where the manager has one. Empty where it has none.
        """

    def download(self, wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
        """Fetch these and what they need, install nothing. ``download``."""

    def install(self, wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
        """Install exactly these versions, and what they need. ``install``."""

    def hold(self, names: Sequence[str], host: Host, ctx: Context) -> str:
        """Keep these as they are until they are released. ``hold``."""

    def release(self, names: Sequence[str], host: Host, ctx: Context) -> str:
        """No longer keep these as they are. ``hold``."""

    def roll_back(self, wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
        """Bring these back to older versions, if they are still to be had here. ``roll_back``.

        ActionFailed ``version_not_offered`` when neither the sources nor the local cache have one.
        """

    def repair(self, host: Host, ctx: Context) -> str:
        """End what was begun and cut short. ``repair``. The caller looks afterwards what is still unfinished."""


_NAMES: tuple[str, ...] = ("apt", "dnf", "zypper", "pacman", "apk", "flatpak", "snap", "fwupd")
"""Modules of this package."""

PROVIDERS: dict[str, Provider] = {name: import_module(f"{__name__}.{name}") for name in _NAMES}
