"""The life of one update on one device: what may follow what, and what a scan or a run says about it. No I/O.

An update is *verified* only by documents that were collected after it was installed: its version is there, it is
pending no more, its package manager has nothing unfinished, the machine was started again where that was needed, and
the services that ran before run again, with the new code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

OUTSIDE = "outside Forestall"
"""``installed_by`` of what a scan found installed without a run of ours."""


class State(StrEnum):
    """The states of ``models.DeploymentState``, for rules that need no database."""

    PLANNED = "planned"
    BLOCKED = "blocked"
    STAGED = "staged"
    INSTALLING = "installing"
    PENDING_REBOOT = "pending_reboot"
    INSTALLED = "installed"
    VERIFIED = "verified"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    SKIPPED = "skipped"
    REGRESSED = "regressed"
    WITHDRAWN = "withdrawn"


SETTLED = frozenset({State.VERIFIED, State.SUPERSEDED, State.WITHDRAWN, State.REGRESSED})
WAITING = frozenset({State.PLANNED, State.BLOCKED, State.STAGED, State.FAILED, State.SKIPPED})
"""Open, and nothing of it is installed as far as anybody knows."""
IN_PLACE = frozenset({State.INSTALLED, State.PENDING_REBOOT})
"""Installed, and not shown to work yet."""

MEANING: Mapping[State, str] = MappingProxyType(
    {
        State.PLANNED: "It is pending, and will be installed in the window it is planned for.",
        State.BLOCKED: "It is pending, and something keeps it from being installed; `why` says what, and who can "
        "change it.",
        State.STAGED: "A run downloaded it to the device and did not install it.",
        State.INSTALLING: "A run that installs it is queued for the device, or under way there.",
        State.PENDING_REBOOT: "It is installed; the machine has to be started again before it counts.",
        State.INSTALLED: "It is installed; the scan, the services or the processes do not show it at work yet.",
        State.VERIFIED: "Scanned after the installation, after the reboot where one was needed, with the services of "
        "before running again.",
        State.FAILED: "It was tried and is not installed, or its package manager left it half done; `why` is the "
        "cause, the log its last words.",
        State.SUPERSEDED: "A newer version took its place before it was verified.",
        State.SKIPPED: "Somebody deferred or excluded it: who, why and until when is on it.",
        State.REGRESSED: "It was verified, and a later scan finds the old version again.",
        State.WITHDRAWN: "It is offered no more, and it is not installed.",
    }
)

_WHEN_DECIDED = "somebody defers or excludes it"
_NEWER = "a scan offers a newer version, or finds one installed"
_GONE = "a scan offers it no more, and it is not installed"
_THERE = "a scan finds it installed, without a run of ours or after one that failed"
_BROKEN = "a scan finds that its package manager began it and did not end it"
_OPENED = "what kept it is gone: it has a window"
_KEPT = "something keeps it: no policy, no window, no approval, a hold, a ring, the device itself"
_RUN = "a run takes it up"

MOVES: Mapping[State, Mapping[State, str]] = MappingProxyType(
    {
        State.PLANNED: {
            State.BLOCKED: _KEPT,
            State.INSTALLING: _RUN,
            State.INSTALLED: _THERE,
            State.FAILED: _BROKEN,
            State.SKIPPED: _WHEN_DECIDED,
            State.SUPERSEDED: _NEWER,
            State.WITHDRAWN: _GONE,
        },
        State.BLOCKED: {
            State.PLANNED: _OPENED,
            State.STAGED: "what kept it is gone, and it was downloaded before",
            State.INSTALLING: _RUN,
            State.INSTALLED: _THERE,
            State.FAILED: _BROKEN,
            State.SKIPPED: _WHEN_DECIDED,
            State.SUPERSEDED: _NEWER,
            State.WITHDRAWN: _GONE,
        },
        State.STAGED: {
            State.BLOCKED: _KEPT,
            State.PLANNED: "what was downloaded is not counted on any more",
            State.INSTALLING: _RUN,
            State.INSTALLED: _THERE,
            State.FAILED: _BROKEN,
            State.SKIPPED: _WHEN_DECIDED,
            State.SUPERSEDED: _NEWER,
            State.WITHDRAWN: _GONE,
        },
        State.INSTALLING: {
            State.INSTALLED: "the run's own record shows the new version",
            State.PENDING_REBOOT: "the run's own record shows the new version, and it needs a reboot",
            State.FAILED: "the run failed, did not change it, or never answered",
            State.STAGED: "the run downloaded it and will try again",
            State.PLANNED: "the run was not delivered, or met a passing obstacle and will try again",
            State.BLOCKED: "the device refused the run, or its pre-checks did",
            State.SUPERSEDED: "the run installed a newer version than was known here",
        },
        State.INSTALLED: {
            State.PENDING_REBOOT: "a scan after it asks for a reboot",
            State.VERIFIED: "a fresh scan, the boot and the services say so",
            State.FAILED: "a scan after it does not show it installed, or finds it half done",
            State.SUPERSEDED: _NEWER,
            State.WITHDRAWN: "a scan after it finds the package gone",
        },
        State.PENDING_REBOOT: {
            State.INSTALLED: "the machine was started again; the rest of the proof is missing",
            State.VERIFIED: "the boot changed, and a scan and the services after it say so",
            State.FAILED: "a scan after it does not show it installed, or finds it half done",
            State.SUPERSEDED: _NEWER,
            State.WITHDRAWN: "a scan after it finds the package gone",
        },
        State.FAILED: {
            State.PLANNED: "a person or a repaired package manager lets it be tried again",
            State.BLOCKED: "it may be tried again, and something keeps it",
            State.INSTALLING: _RUN,
            State.INSTALLED: _THERE,
            State.SKIPPED: _WHEN_DECIDED,
            State.SUPERSEDED: _NEWER,
            State.WITHDRAWN: _GONE,
        },
        State.SKIPPED: {
            State.PLANNED: "the deferral ended, or the decision was taken back",
            State.BLOCKED: "the deferral ended, and something keeps it",
            State.INSTALLING: "a person installs it all the same",
            State.INSTALLED: _THERE,
            State.FAILED: _BROKEN,
            State.SUPERSEDED: _NEWER,
            State.WITHDRAWN: _GONE,
        },
        State.VERIFIED: {State.REGRESSED: "a later scan finds the old version again; a new deployment begins"},
        State.REGRESSED: {},
        State.SUPERSEDED: {},
        State.WITHDRAWN: {},
    }
)
"""State → states that may follow it, and why. Nothing else changes a deployment's state."""

FIRST = (State.PLANNED, State.BLOCKED, State.SKIPPED, State.FAILED, State.INSTALLED)
"""States in which a deployment begins: it is seen pending (or half done), or a run of ours installed it unannounced."""


class MoveError(ValueError):
    """A change of state that ``MOVES`` does not have."""


@dataclass(frozen=True, slots=True)
class Move:
    """What becomes of a deployment. ``to`` may be the state it is in: then only what is said about it changes."""

    to: State
    why: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the deployment that change with it."""


def move_check(was: State | str, to: State | str) -> None:
    """MoveError unless ``to`` may follow ``was`` (empty: none yet)."""
    if was == to:
        return
    allowed = frozenset(FIRST if not was else MOVES[State(was)])
    if State(to) not in allowed:
        raise MoveError(f"a deployment that is {was or 'new'} cannot become {to}")


# --- what a scan says -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A deployment as the rules see it."""

    state: State
    installed: str
    """Version that was there when it was first seen pending."""
    candidate: str
    installed_at: datetime | None = None
    verified_at: datetime | None = None
    boot_id_before: str = ""
    needs_reboot: bool | None = None
    services_before: tuple[str, ...] = ()
    outdated_before: tuple[str, ...] = ()
    installed_by: str = ""
    why: str = ""
    name: str = ""
    """Of the package."""
    tried_by: str = ""
    """The run that tried to install it last, where there was one."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a device's documents say about one update, and when each was last collected (None: never)."""

    updates_at: datetime | None
    listed: bool
    """It is pending, in this very version."""
    updates_since: datetime | None = None
    """Since when the list of updates is what it is."""
    newer: str = ""
    """Another version that is offered for the same package."""
    software_at: datetime | None = None
    versions: tuple[str, ...] | None = None
    """Installed versions of the package; None: the list of software does not have what this provider keeps."""
    unfinished: str = ""
    """What its package manager began with it and did not end."""
    unlisted_why: str = ""
    """Why the provider's updates could not be listed."""
    system_at: datetime | None = None
    boot_id: str = ""
    boot_since: datetime | None = None
    """When this boot began; where the device does not say: since when its document names this boot."""
    asks_reboot: bool | None = None
    """Whether the system asks for a reboot that this update may be the cause of."""
    services_at: datetime | None = None
    services: Mapping[str, str] = field(default_factory=dict)
    """Name of each service → its state."""
    restarts_at: datetime | None = None
    """None: the agent does not look for processes that still run old code."""
    outdated: tuple[str, ...] = ()
    """Services that run old code, with what they hold: ``ssh: /usr/lib/libssl.so.3``."""


REPAIR = "Run `repair-packages` on the device, or mend it by hand: no update of it is installed until then."


def after_scan(row: Row, scan: Scan) -> Move | None:
    """What the device's documents make of a deployment; None: nothing changes.

    An update that a run is installing is left to that run's own answer. What lets a waiting one be installed or keeps
    it is no question of the scan: see ``may_install_now``.
    """
    if row.state is State.VERIFIED:
        return _regressed(row, scan)
    if row.state in SETTLED or row.state is State.INSTALLING:
        return None
    if row.state in IN_PLACE:
        return _in_place(row, scan)
    return _waiting(row, scan)


def _regressed(row: Row, scan: Scan) -> Move | None:
    if scan.versions is None or row.candidate in scan.versions or not _later(scan.software_at, row.verified_at):
        return None
    if row.installed not in scan.versions or not row.installed:
        return None
    return Move(State.REGRESSED, f"Version {row.installed} is installed again.")


def _waiting(row: Row, scan: Scan) -> Move | None:
    if scan.unfinished:
        return _unless_said(row, Move(State.FAILED, f"{scan.unfinished}. {REPAIR}"))
    if row.state is State.FAILED and row.why.endswith(REPAIR) and not scan.unlisted_why:
        return Move(State.PLANNED, "Its package manager is in order again.")
    if scan.listed or scan.unlisted_why or scan.updates_at is None:
        return None
    if scan.versions and row.candidate in scan.versions:
        return Move(
            State.INSTALLED,
            "Found installed; waits for a scan after that.",
            {"installed_by": row.tried_by or OUTSIDE, "installed_at": scan.software_at, "boot_id_before": scan.boot_id},
        )
    if scan.newer:
        return Move(State.SUPERSEDED, f"Version {scan.newer} is offered instead.")
    if scan.versions is None:
        return Move(State.WITHDRAWN, "Offered no more; whether it was installed cannot be seen from here.")
    # The list of software may be older than the list of updates: then it does not know yet what became of it.
    if not _at_least(scan.software_at, scan.updates_since or scan.updates_at):
        return None
    if not scan.versions:
        return Move(State.WITHDRAWN, "Offered no more, and the package is not installed.")
    if row.installed in scan.versions:
        return Move(State.WITHDRAWN, f"Offered no more; version {row.installed} stays installed.")
    return Move(State.SUPERSEDED, f"Version {_listing(scan.versions)} is installed, and this one is offered no more.")


def _in_place(row: Row, scan: Scan) -> Move | None:
    if scan.unfinished and _later(scan.updates_at, row.installed_at):
        return Move(State.FAILED, f"{scan.unfinished}. {REPAIR}")
    if (
        scan.versions is not None
        and row.candidate not in scan.versions
        and _later(scan.software_at, row.installed_at)
        and _at_least(scan.software_at, scan.updates_since or scan.updates_at)
    ):
        if not scan.versions:
            return Move(State.WITHDRAWN, "The package is not installed any more.")
        if row.installed in scan.versions:
            return Move(State.FAILED, f"It was reported installed, and version {row.installed} is there.")
        return Move(State.SUPERSEDED, f"Version {_listing(scan.versions)} is installed by now.")
    changed: dict[str, Any] = {}
    needs = row.needs_reboot
    if _later(scan.system_at, row.installed_at):
        if not row.boot_id_before and scan.boot_id:
            changed["boot_id_before"] = scan.boot_id  # from here on another boot can be told
        if scan.asks_reboot and not rebooted(row, scan):
            needs = True
        elif needs is None:
            needs = False if scan.asks_reboot is not None else None
    if needs is not row.needs_reboot:
        changed["needs_reboot"] = needs
    known = replace(row, needs_reboot=needs)
    missing = missing_proof(known, scan)
    if not missing:
        return Move(State.VERIFIED, "", {**changed, "verified_at": _last_look(scan)})
    to = State.PENDING_REBOOT if needs and not rebooted(known, scan) else State.INSTALLED
    if to is row.state and missing == row.why and not changed:
        return None
    return Move(to, missing, changed)


def missing_proof(row: Row, scan: Scan) -> str:
    """The first thing that is missing before an installed update counts as verified, in words; empty: nothing."""
    since = row.installed_at
    if since is None:
        return "Nobody knows when it was installed."
    if row.needs_reboot:
        if not rebooted(row, scan):
            return "Installed; the machine has to be started again."
        # V22: after the restart *and* a rescan. What was collected before the boot says nothing about it.
        since = max(since, scan.boot_since or since)
    if not _later(scan.updates_at, since):
        return "Waits for a scan for updates after it."
    if scan.unlisted_why:
        return f"The updates could not be listed since: {scan.unlisted_why}."
    if scan.unfinished:
        return f"Not finished: {scan.unfinished}."
    if scan.listed:
        return "The scan after it still lists it as pending."
    if scan.versions is not None:
        if not _later(scan.software_at, since):
            return "Waits for a list of the installed software after it."
        if row.candidate not in scan.versions:
            return f"The list of software shows {_listing(scan.versions) or 'nothing of it'}."
    if not _later(scan.system_at, since):
        return "Waits for what the system says after it."
    if row.services_before:
        if not _later(scan.services_at, since):
            return "Waits for the list of services after it."
        down = [name for name in row.services_before if scan.services.get(name) != "running"]
        if down:
            return f"Ran before and does not run: {_listing(down)}."
    if scan.restarts_at is not None:
        if not _later(scan.restarts_at, since):
            return "Waits for a look at what still runs old code."
        old = sorted({one.partition(":")[0] for one in scan.outdated if one not in row.outdated_before})
        if old:
            return f"Still runs the old code, restart it: {_listing(old)}."
    return ""


def rebooted(row: Row, scan: Scan) -> bool:
    """Whether the machine was started again after the installation: another boot, and a later one."""
    if row.installed_at is None or not row.boot_id_before or not scan.boot_id:
        return False
    if scan.boot_id == row.boot_id_before:
        return False
    return scan.boot_since is None or scan.boot_since > row.installed_at


def reboot_is_for(
    *, name: str, asks: bool | None, reasons: Sequence[str], packages: Iterable[str], asked_before: bool
) -> bool | None:
    """Whether the reboot that a system asks for is one that this package needs. None: the system cannot say.

    ``reasons`` name packages where the system knows them (``libc6``), and say otherwise what it is about (``kernel
    6.1.0-9 runs, 6.1.0-40 installed``). A reason that names no package may be anybody's: then every package that was
    installed since needs it, unless the system had asked before already.
    """
    if not asks:
        return asks
    words = [one.split(" ", 1)[0].partition(":")[0] for one in reasons]
    if name in words:
        return True
    if any(word == "kernel" for word in words) and is_kernel(name):
        return True
    known = set(packages)
    anybodys = [word for word in words if word not in known and word != "kernel"]
    if not words:
        return not asked_before
    return bool(anybodys) and not asked_before


def is_kernel(name: str) -> bool:
    """Whether a package is an operating system's kernel, by the names that distributions give it."""
    return bool(
        re.match(
            r"(linux-(image|modules|generic|lts|zen|hardened|virt)|kernel(-core|-default|-modules)?$|linux$)", name
        )
    )


# --- what a run says --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunStep:
    action: str
    ok: bool
    summary: str
    output: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """What became of a job, as far as it concerns one package."""

    outcome: str
    """``succeeded``, ``failed``, ``refused`` (the device's answers), ``expired`` or ``cancelled`` (there was none)."""
    at: datetime
    by: str
    """Who or which policy."""
    code: str = ""
    detail: str = ""
    was_delivered: bool = True
    steps: tuple[RunStep, ...] = ()
    changed: tuple[str, str] | None = None
    """Version before and after, by the package manager's own records; None: the run did not change the package."""
    boot_id: str = ""
    """The device's boot when the run began."""


MOST_ATTEMPTS = 3
RETRY_FIRST = timedelta(minutes=10)
PRECHECK_AGAIN = timedelta(minutes=30)
"""After pre-checks that said no (somebody is signed in, the battery): when they are asked again."""

REFUSED_AGAIN = timedelta(hours=1)
"""After a run that the device refused, or that somebody took back."""

_PASSING = re.compile(
    r"(?i)\b(lock(ed)?|busy|another (process|package manager)|temporar|could not resolve|"
    r"failed to fetch|connection|unreachable|download|network|mirror|hash sum mismatch)\b"
)
_PASSING_CODES = frozenset({"manager_busy", "download_failed", "version_not_offered", "interrupted"})
_PRECHECKS = frozenset({"updates.check", "updates.snapshot"})


def after_run(row: Row, run: Run, *, attempts: int) -> Move:
    """What a finished run makes of a deployment it was to install. ``attempts``: runs that tried it, this one included.

    What counts is what the package manager's records say changed, not how the run ended: a run that failed at the
    third of five packages did install two.
    """
    fields: dict[str, Any] = {"log_excerpt": log_of(run), "attempts": attempts}
    failing = next((step for step in run.steps if not step.ok), None)
    if run.changed is not None and run.changed[1] and failing is not None and _names(failing, row.name):
        # The new version is unpacked and does not work: what the manager's record shows is no installation.
        return Move(State.FAILED, failing.summary, fields)
    if run.changed is not None and run.changed[1] and run.changed[1] == row.candidate:
        fields |= {
            "installed_at": run.at,
            "installed_by": run.by,
            "boot_id_before": run.boot_id or row.boot_id_before,
            "next_try_at": None,
        }
        if row.needs_reboot:
            return Move(State.PENDING_REBOOT, "Installed; the machine has to be started again.", fields)
        return Move(State.INSTALLED, "Installed; waits for a scan after it.", fields)
    if run.changed is not None and run.changed[1] and run.changed[1] != run.changed[0]:
        return Move(State.SUPERSEDED, f"Version {run.changed[1]} was installed, offered by then.", fields)
    if run.outcome == "cancelled" or (run.outcome == "expired" and not run.was_delivered):
        words = "cancelled" if run.outcome == "cancelled" else "not fetched by the device in time"
        again = {"attempts": attempts - 1, "log_excerpt": "", "next_try_at": run.at + REFUSED_AGAIN}
        return Move(State.PLANNED, f"Its run was {words}.", {**fields, **again})
    if run.outcome == "expired":
        return Move(State.FAILED, "Its run began and never answered; the next scan shows what is there.", fields)
    if run.outcome == "refused":
        cause = f"The device refused the run: {run.detail or run.code}."
        return Move(State.BLOCKED, cause, {**fields, "attempts": attempts - 1, "next_try_at": run.at + REFUSED_AGAIN})
    if run.outcome == "succeeded":
        return Move(State.FAILED, f"The run ended well and did not change it. {_last_words(run)}".strip(), fields)
    if failing is not None and failing.action in _PRECHECKS:
        again = {**fields, "attempts": attempts - 1, "next_try_at": run.at + PRECHECK_AGAIN}
        return Move(State.BLOCKED, f"Not fit to be updated: {failing.summary}", again)
    cause = (failing.summary if failing is not None else run.detail) or run.code or "no cause was given"
    if is_passing(run, failing) and attempts < MOST_ATTEMPTS:
        staged = any(step.action == "updates.download" and step.ok for step in run.steps)
        again = {**fields, "next_try_at": run.at + RETRY_FIRST * 2 ** (attempts - 1)}
        return Move(State.STAGED if staged else State.PLANNED, f"Attempt {attempts} failed: {cause}", again)
    return Move(State.FAILED, cause, fields)


def _names(step: RunStep, name: str) -> bool:
    """Whether a step that failed names this package as what its manager left half done (dpkg's words)."""
    words = rf"error processing package {re.escape(name)}(?![\w.+-])"
    return bool(name) and re.search(words, f"{step.summary}\n{step.output}") is not None


def is_passing(run: Run, failing: RunStep | None) -> bool:
    """Whether a failure may be gone by itself in some minutes: a lock, the network."""
    if run.code in _PASSING_CODES:
        return True
    text = f"{run.detail} {failing.summary if failing else ''}"
    return (failing is not None and failing.action == "updates.download") or bool(_PASSING.search(text))


LOG_LENGTH = 4000


def log_of(run: Run) -> str:
    """The end of what a run wrote, the failing step's last."""
    ordered = [step for step in run.steps if step.ok] + [step for step in run.steps if not step.ok]
    text = "\n".join(
        part for step in ordered for part in (f"{step.action}: {step.summary}", step.output.rstrip()) if part
    )
    return text[-LOG_LENGTH:]


def _last_words(run: Run) -> str:
    step = next((one for one in reversed(run.steps) if one.action == "updates.install"), None)
    return step.summary if step is not None else run.detail


# --- what may be installed now ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Terms:
    """What of a policy decides whether an update is installed."""

    choose: str = "security"
    """``security``, ``all`` or ``nothing``."""
    approval: str = "automatic"
    """``automatic`` or ``manual``."""
    defer_days: int = 0


@dataclass(frozen=True, slots=True)
class Decided:
    """A deferral or an exclusion that is in force."""

    why: str
    by: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that decides whether a pending update may be installed now."""

    state: State
    security: bool
    first_seen_at: datetime
    released_at: datetime | None = None
    due_at: datetime | None = None
    provider: str = ""
    can_install: bool = True
    """Its provider installs here, and does not only list."""
    held_on_device: bool = False
    decided: Decided | None = None
    held_for_all: str = ""
    """Why no client installs it for now."""
    terms: Terms | None = None
    """None: no patch policy covers the device."""
    approved: bool = False
    """By a person, or by the rollout that carries it: then the policy's own choice does not matter."""
    in_ring: bool = True
    ring_why: str = ""
    window: tuple[datetime, datetime] | None = None
    """The maintenance window that is open now, and until when."""
    next_window: datetime | None = None
    minutes_needed: int = 15
    next_try_at: datetime | None = None
    device_silent_since: datetime | None = None
    backup_why: str = ""
    """Why the last verified backup is not good enough; empty: it is, or the policy does not ask."""
    by_rings: bool = False
    """The policy installs ring by ring, and no rollout carries it yet."""
    test_why: str = ""
    """Why it may not be installed before a test on a named device, which an obligation asks for; empty: it may."""
    asked_by: str = ""
    """A person who asks for it to be installed now: no policy, approval, ring or window is needed then."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Install it now."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Nothing keeps it: it waits for its time."""

    at: datetime
    why: str = ""


@dataclass(frozen=True, slots=True)
class Blocked:
    why: str


@dataclass(frozen=True, slots=True)
class Skipped:
    decided: Decided


Answer = Ready | Planned | Blocked | Skipped


BY_RINGS = "Goes ring by ring: the next rollout of its client takes it along."


def may_install_now(case: Case, now: datetime) -> Answer:
    """Whether a pending update may be installed now; if not, when it will be, or what keeps it.

    In this order: what cannot be installed from here, what somebody decided, what is held everywhere, the test that has
    to come first, the policy and its approval, the ring, the window, the device.
    """
    if case.state in SETTLED or case.state in IN_PLACE or case.state is State.INSTALLING:
        return Blocked(f"It is {case.state.replace('_', ' ')}.")
    if not case.can_install:
        return Blocked(f"Forestall only lists the updates of {case.provider or 'this provider'}: install it by hand.")
    if case.decided is not None:
        return Skipped(case.decided)
    if case.held_on_device:
        return Blocked("Held on the device itself: its package manager does not change this package.")
    if case.held_for_all:
        return Blocked(f"Held for everyone: {case.held_for_all}")
    if case.test_why and not case.asked_by:
        return Blocked(case.test_why)
    answer = None if case.asked_by else _by_policy(case, now)
    if answer is not None:
        return answer
    if case.by_rings and not case.asked_by:
        return Blocked(BY_RINGS)
    if not case.in_ring and not case.asked_by:
        return Blocked(case.ring_why or "Its rollout has not come to this device yet.")
    if not case.asked_by:
        waits = _by_window(case, now)
        if waits is not None:
            return waits
    if case.next_try_at is not None and case.next_try_at > now and not case.asked_by:
        return Planned(case.next_try_at, "Tried again then.")
    if case.device_silent_since is not None:
        return Blocked(f"The device is silent since {case.device_silent_since:%Y-%m-%d %H:%M} UTC.")
    if case.backup_why:
        return Blocked(case.backup_why)
    return Ready()


def _by_policy(case: Case, now: datetime) -> Answer | None:
    if case.approved:
        return None
    if case.terms is None:
        return Blocked("No patch policy covers this device: nothing is installed by itself.")
    if case.terms.choose == "nothing":
        return Blocked("The patch policy installs nothing by itself.")
    if case.terms.choose == "security" and not case.security:
        return Blocked("The patch policy installs security fixes by itself, and this is none: approve it.")
    if case.terms.approval == "manual":
        return Blocked("Waits for approval.")
    return None


def _by_window(case: Case, now: datetime) -> Answer | None:
    ripe = ripe_at(case)
    start = case.next_window
    if case.window is not None:
        left = case.window[1] - now
        if ripe <= now and left >= timedelta(minutes=case.minutes_needed):
            return None
        if ripe <= now and start is None:
            return Blocked(f"{left.seconds // 60} minutes of the window are left, and no other is planned.")
    if start is None:
        return Blocked("No maintenance window is planned for this device.")
    if ripe > now and ripe > start:
        days = case.terms.defer_days if case.terms is not None else 0
        return Planned(ripe, f"The policy waits {days} days after its release.")
    return Planned(start)


def ripe_at(case: Case) -> datetime:
    """When a policy's days of waiting after the release are over; an obligation's deadline does not wait for them."""
    since = case.released_at or case.first_seen_at
    if case.terms is None or not case.terms.defer_days or case.approved:
        return since
    ripe = since + timedelta(days=case.terms.defer_days)
    if case.due_at is not None and (case.next_window or ripe) <= case.due_at < ripe:
        return since
    if case.due_at is not None and case.due_at < ripe:
        return since
    return ripe


# --- the clock of what is replaced ------------------------------------------------------------------------------

SEVERITIES = ("", "low", "medium", "high", "critical")


@dataclass(frozen=True, slots=True)
class Clock:
    """From when the obligations of an update count."""

    first_seen_at: datetime
    released_at: datetime | None
    security: bool
    severity: str = ""


def inherited(new: Clock, old: Clock) -> Clock:
    """The clock of an update that takes the place of one that was never installed: it goes on, and never starts anew.

    Otherwise a package that is released every week would never be late. Only a security fix that replaces an ordinary
    update begins its own.
    """
    if new.security and not old.security:
        return new
    released = min((at for at in (new.released_at, old.released_at) if at is not None), default=None)
    if old.released_at is None and released is not None:
        released = min(released, old.first_seen_at)
    return Clock(
        first_seen_at=min(new.first_seen_at, old.first_seen_at),
        released_at=released,
        security=new.security or old.security,
        severity=max(new.severity, old.severity, key=SEVERITIES.index),
    )


# --- helpers ----------------------------------------------------------------------------------------------------


def covers(*, pattern: str, name: str) -> bool:
    """Whether a decision's or exception's package pattern (``*`` at its end stands for anything) covers a package."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _later(at: datetime | None, than: datetime | None) -> bool:
    return at is not None and than is not None and at > than


def _at_least(at: datetime | None, than: datetime | None) -> bool:
    return at is not None and (than is None or at >= than)


def _last_look(scan: Scan) -> datetime | None:
    looks = (scan.updates_at, scan.software_at, scan.system_at, scan.services_at, scan.restarts_at)
    return max((at for at in looks if at is not None), default=None)


def _unless_said(row: Row, move: Move) -> Move | None:
    return None if row.state is move.to and row.why == move.why else move


def _listing(names: Iterable[str], most: int = 5) -> str:
    found = list(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def states_table() -> str:
    """The states, and what may follow each, as tables for the documents (which a test holds to it)."""
    lines = ["| state | means |", "|---|---|"]
    lines += [f"| **{spoken(state)}** | {MEANING[state]} |" for state in State]
    lines += ["", "| from | to | when |", "|---|---|---|"]
    lines += [f"| new | {spoken(to)} | {FIRST_BECAUSE[to]} |" for to in FIRST]
    lines += [f"| {spoken(was)} | {spoken(to)} | {why} |" for was in State for to, why in MOVES[was].items()]
    return "\n".join(lines)


FIRST_BECAUSE: Mapping[State, str] = MappingProxyType(
    {
        State.PLANNED: "a scan lists it as pending, and it has a window",
        State.BLOCKED: "a scan lists it as pending, and something keeps it",
        State.SKIPPED: "a scan lists it as pending, and it was deferred or excluded before",
        State.FAILED: "a scan finds that its package manager began it and did not end it",
        State.INSTALLED: "a run of ours installed it along with others",
    }
)
SPOKEN: Mapping[State, str] = MappingProxyType(
    {State.PENDING_REBOOT: "installed, pending reboot", State.INSTALLED: "installed, not verified yet"}
)


def spoken(state: State | str) -> str:
    """A state as people read it."""
    return SPOKEN.get(State(state), str(state))
