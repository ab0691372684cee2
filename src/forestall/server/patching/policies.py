"""What a patch policy may say, as plain values that are checked where they come in. No I/O."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from forestall.trust.statements import ParameterValue

Choose = Literal["security", "all", "nothing"]
Approval = Literal["automatic", "manual"]


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pre-checks and reboots of a patch policy (``PatchPolicy.terms``)."""

    reboot: Literal["never", "when_needed", "next_window"] = "never"
    """``when_needed``: at the end of the run that installed; ``next_window``: in the window after that, with the
    runbook ``reboot``; ``never``: a person starts the machine again."""
    warn_minutes: int = 5
    """How long people who are signed in are warned before a reboot, 0 to 1,440."""
    least_free_mb: int = 500
    """Free space that must be left, in megabytes."""
    on_battery: Literal["block", "allow"] = "block"
    sessions: Literal["ignore", "block"] = "ignore"
    """Whether people who are signed in keep updates from being installed."""
    snapshot: Literal["never", "when_possible", "required"] = "never"
    backup: Literal["ignore", "warn", "block"] = "warn"
    """What it means when the last backup that was proved by a restore, or made well, is older than ``backup_hours``."""
    backup_hours: int = 48
    backup_restored_days: int = 0
    """How old the last proved restore may be; 0: a good run of the backup is enough."""
    minutes_needed: int = 15
    """A window with less than that left is not begun with."""
    rings: bool = True
    """Whether what the policy installs goes ring by ring: rollouts start by themselves (``rollouts.policies_roll_out``)
    and halt by themselves. If not, each device installs in its own window."""

    def __post_init__(self) -> None:
        bounds = {
            "warn_minutes": (0, 1440),
            "least_free_mb": (0, 1_000_000),
            "backup_hours": (1, 24 * 366),
            "backup_restored_days": (0, 3660),
            "minutes_needed": (1, 24 * 60),
        }
        for name, (least, most) in bounds.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name}: {value} is not between {least} and {most:,}")


def read_terms(values: dict[str, Any]) -> Terms:
    """The terms in plain values; ValueError names the field that does not fit."""
    try:
        return msgspec.convert(values, Terms)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


def plain_terms(terms: Terms) -> dict[str, Any]:
    """Terms as they are kept."""
    found: dict[str, Any] = msgspec.to_builtins(terms)
    return found


MOST_PACKAGES = 4096
"""Characters of packages in one run."""


def run_parameters(*, terms: Terms, manager: str, packages: str) -> dict[str, ParameterValue]:
    """Parameters of ``install-updates`` for chosen packages under a policy's terms."""
    return {
        "manager": manager,
        "choose": "chosen",
        "packages": packages,
        "reboot": "when_needed" if terms.reboot == "when_needed" else "never",
        "warn_minutes": terms.warn_minutes,
        "least_free_mb": terms.least_free_mb,
        "on_battery": terms.on_battery,
        "sessions": terms.sessions,
        "snapshot": terms.snapshot,
    }


def packed(items: list[str], most: int = MOST_PACKAGES) -> list[list[int]]:
    """Indexes of ``items`` in as few runs as their order gives, each with at most ``most`` characters."""
    runs: list[list[int]] = []
    length = 0
    for index, item in enumerate(items):
        if not runs or length + 1 + len(item) > most:
            runs.append([])
            length = -1
        runs[-1].append(index)
        length += 1 + len(item)
    return runs
