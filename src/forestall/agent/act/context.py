"""What an action is given beside its arguments."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from forestall.agent.act.changes import Changes
from forestall.agent.act.failure import ActionFailed
from forestall.agent.collect.host import Host
from forestall.trust.authorise import Hours
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

__all__ = ["Action", "ActionFailed", "Context", "Places"]


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are on this machine. Arguments, so that a test can name its own."""

    root: str = "/"
    """The system whose packages are changed. Another folder: programs are started by ``chroot`` into it."""
    system_volume: str = "/"
    """Where the volume is mounted of which a snapshot is taken."""
    temporary: tuple[str, ...] = ("/tmp", "/var/tmp")  # noqa: S108 - what is cleaned, nothing is made there
    logs: str = "/var/log"
    journals: tuple[str, ...] = ("/var/log/journal", "/run/log/journal")
    cache: str = "/var/cache"
    init_scripts: str = "/etc/init.d"
    logrotate: str = "/etc"
    """Folder of ``logrotate.conf`` and ``logrotate.d``."""
    etc: str = "/etc"
    kernel_settings: str = "/proc/sys"
    systemd: str = "/run/systemd/system"
    """There while systemd is process 1 (sd_booted(3))."""


@dataclass(slots=True)
class Context:
    """One step's surroundings."""

    agent_home: Path
    """Folder of ``backups.toml`` and ``backup-runs.json``."""
    timeout_seconds: float
    delete_below: tuple[str, ...] = ()
    """From the customer's policy."""
    places: Places = field(default_factory=Places)
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables for every program an action runs."""
    reboot_hours: tuple[Hours, ...] = ()
    """From the customer's policy: a reboot is postponed to these. Empty: at any hour."""
    dry_run: bool = False
    """Change nothing: only say what would be done. ``programs`` and ``sweep`` hold to it whatever an action does."""
    secrets: set[str] = field(default_factory=set)
    """Values an action has read that must not leave the device: masked in everything it reports."""
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    """Of the run, complete: what a script finds in its environment."""
    job_id: str = "by-hand"
    """Of the run this step belongs to."""
    step: int = 0
    """Its number in the runbook, from 0."""
    _deadline: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._deadline = time.monotonic() + self.timeout_seconds

    @property
    def changes(self) -> Changes:
        """The undo journal of this run: files that can be put back are changed through it."""
        return Changes(self.agent_home, self.job_id, step=self.step, dry_run=self.dry_run)

    @property
    def seconds_left(self) -> float:
        """Until the step's timeout; never below 0."""
        return max(0.0, self._deadline - time.monotonic())

    def require_time(self, changed: Mapping[str, int] | None = None) -> None:
        """ActionFailed once the step's time is over."""
        if self.seconds_left <= 0:
            raise ActionFailed("timed_out", f"not done within {self.timeout_seconds:g} s", changed=changed)


class Action(Protocol):
    """The shape of every module in ``actions/``."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a module's constant
        """As runbooks name it."""

    @property
    def RISK(self) -> RiskClass:  # noqa: N802
        """Least risk class of a runbook that may use it."""

    @property
    def DRY_RUN(self) -> bool:  # noqa: N802
        """Whether ``run`` can say what it would do when ``ctx.dry_run`` is set. If not, it is never called then."""

    @property
    def ARGUMENTS(self) -> Mapping[str, type]:  # noqa: N802
        """Name → type; all must be given."""

    def run(self, args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
        """Do it. ActionFailed when it could not be done, with what was changed until then."""
