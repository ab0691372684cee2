"""Saved outputs that can be read into facts documents: ``forestall facts kinds`` and ``forestall facts parse``.

A support case, a machine without an agent, a system we have never run on: what its own tools print is enough to see
what the agent would have seen. Each module here has a tuple ``CAPTURES``; a new one is a file and its name in
``MODULES`` (docs/extending/capture.md). Only the command line and tests import this: nothing the agent does in its own
process.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from forestall.agent.collect.captures.capture import Capture

MODULES: tuple[str, ...] = (
    "accounts",
    "backup_tools",
    "antivirus",
    "firewalls",
    "hardening",
    "nagios",
    "smartctl",
    "storage",
)  # fmt: skip
"""One line a module, by subject."""


@cache
def captures() -> dict[str, Capture]:
    """Every kind by its name, in the order of ``MODULES``. ValueError when two have one name."""
    found: dict[str, Capture] = {}
    for module in MODULES:
        for capture in import_module(f"forestall.agent.collect.captures.{module}").CAPTURES:
            if capture.name in found:
                raise ValueError(f"two captures are called {capture.name!r}; the second is in {module}")
            found[capture.name] = capture
    return found
