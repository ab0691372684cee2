"""``updates.snapshot``: keep the system's volume as it is now, where its file system or volume manager can."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.programs import run_program
from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.readiness import SnapshotMeans, snapshot_means
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "updates.snapshot"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"when": str}
WHEN = ("never", "when_possible", "required")
KEPT = 2
"""Snapshots of our own that stay: the newest ones. Each holds the space of what was changed since."""
_OURS = re.compile(r"forestall-\d{8}T\d{6}Z")


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """``when``: ``never``, ``when_possible`` or ``required``. Going back to a snapshot is a person's decision."""
    when = str(args["when"])
    if when not in WHEN:
        raise ActionFailed("argument_wrong", f"when: {when!r} is none of {', '.join(WHEN)}")
    if when == "never":
        return StepResult(action=NAME, ok=True, summary="no snapshot was asked for")
    volume = ctx.places.system_volume
    means = next(iter(snapshot_means(Notes(host), volume)), None)
    if means is None:
        if when == "required":
            raise ActionFailed("snapshot_impossible", f"neither btrfs, LVM nor ZFS can take a snapshot of {volume}")
        return StepResult(action=NAME, ok=True, summary=f"no snapshot: none can be taken of {volume}")
    name = f"forestall-{host.now():%Y%m%dT%H%M%SZ}"
    if ctx.dry_run:
        return StepResult(action=NAME, ok=True, summary=f"would take the {means.kind} snapshot {name} of {volume}")
    removed = _TAKERS[means.kind](means, name, ctx)
    words = f"; removed {', '.join(removed)}" if removed else ""
    return StepResult(
        action=NAME,
        ok=True,
        summary=f"took the {means.kind} snapshot {name} of {volume}{words}",
        changed={"snapshots": 1, "snapshots_removed": len(removed)},
    )


def _btrfs(means: SnapshotMeans, name: str, ctx: Context) -> list[str]:
    folder = Path(means.volume) / ".forestall-snapshots"
    folder.mkdir(mode=0o700, exist_ok=True)
    _do(["btrfs", "subvolume", "snapshot", "-r", means.volume, f"{folder}/{name}"], ctx)
    old = _older([path.name for path in folder.iterdir()])
    for each in old:
        _do(["btrfs", "subvolume", "delete", f"{folder}/{each}"], ctx)
    return old


def _lvm(means: SnapshotMeans, name: str, ctx: Context) -> list[str]:
    group = means.volume.partition("/")[0]
    asked = _do(["lvs", "--noheadings", "--options", "lv_name", group], ctx, looks_only=True)
    old = _older([*asked.split(), name])
    # First the old ones: a thick snapshot needs the space they hold.
    for each in old:
        _do(["lvremove", "--yes", f"{group}/{each}"], ctx)
    space = [] if means.thin else ["--extents", "50%FREE"]
    _do(["lvcreate", "--yes", "--snapshot", *space, "--name", name, means.volume], ctx)
    return old


def _zfs(means: SnapshotMeans, name: str, ctx: Context) -> list[str]:
    _do(["zfs", "snapshot", f"{means.volume}@{name}"], ctx)
    listing = ["zfs", "list", "-H", "-t", "snapshot", "-o", "name", "-d", "1", means.volume]
    names = [line.rpartition("@")[2] for line in _do(listing, ctx, looks_only=True).splitlines()]
    old = _older(names)
    for each in old:
        _do(["zfs", "destroy", f"{means.volume}@{each}"], ctx)
    return old


_TAKERS = {"btrfs": _btrfs, "lvm": _lvm, "zfs": _zfs}


def _older(names: list[str]) -> list[str]:
    """Of our own, all but the newest."""
    return sorted(name for name in names if _OURS.fullmatch(name))[:-KEPT]


def _do(argv: list[str], ctx: Context, *, looks_only: bool = False) -> str:
    ran = run_program(argv, ctx, looks_only=looks_only)
    if ran.exit_code != 0:
        raise ActionFailed("snapshot_failed", f"{argv[0]} ended with {ran.exit_code}", output=ran.output)
    return ran.output
