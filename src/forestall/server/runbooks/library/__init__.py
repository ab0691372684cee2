"""The built-in runbooks as data files, one JSON document each: what the catalogue key signs at ``forestall up``."""

from __future__ import annotations

from importlib import resources

import msgspec

from forestall.trust.authorise import require_sound_runbook
from forestall.trust.statements import Runbook


def read_library() -> list[Runbook]:
    """Every built-in runbook, by slug. ``trust.authorise.Refused`` or msgspec's error for one that is not sound."""
    runbooks: list[Runbook] = []
    for file in sorted(resources.files(__name__).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".json"):
            runbook = msgspec.json.decode(file.read_bytes(), type=Runbook)
            require_sound_runbook(runbook)
            runbooks.append(runbook)
    return runbooks
