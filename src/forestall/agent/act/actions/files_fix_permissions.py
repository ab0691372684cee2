"""``files.fix_permissions``: take away rights on the system's own files that nobody needs. It only ever takes away."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from forestall.agent.act.context import Context
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "files.fix_permissions"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {}
MOST: Mapping[str, int] = {
    "passwd": 0o644, "passwd-": 0o644, "group": 0o644, "group-": 0o644, "shadow": 0o640, "shadow-": 0o640,
    "gshadow": 0o640, "gshadow-": 0o640, "security/opasswd": 0o600, "ssh/sshd_config": 0o600, "crontab": 0o600,
    "cron.hourly": 0o700, "cron.daily": 0o700, "cron.weekly": 0o700, "cron.monthly": 0o700, "cron.d": 0o700,
}  # fmt: skip
"""Below /etc: the most rights it may have. Private host keys: 0640."""


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    found: list[tuple[str, int, int]] = []
    etc = Path(ctx.places.etc)
    for path, most in [
        *((etc / name, most) for name, most in MOST.items()),
        *((path, 0o640) for path in sorted(etc.glob("ssh/ssh_host_*_key"))),
    ]:
        try:
            now = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISLNK(now.st_mode):
            continue
        mode = stat.S_IMODE(now.st_mode)
        wanted = mode & most
        if mode != wanted or now.st_uid != 0:
            found.append((str(path), mode, wanted))
    if not found:
        return StepResult(action=NAME, ok=True, summary="permissions are as strict as they should be; nothing to do")
    output = "\n".join(f"{path}: {mode:04o} → {wanted:04o}" for path, mode, wanted in found)
    count = f"{len(found)} files and folders" if len(found) != 1 else "1 file or folder"
    if ctx.dry_run:
        return StepResult(action=NAME, ok=True, summary=f"would take rights from {count}", output=output)
    owner = 0 if os.geteuid() == 0 else None
    for name, _, wanted in found:
        ctx.changes.file_mode(name, wanted, uid=owner)
    return StepResult(
        action=NAME, ok=True, summary=f"took rights from {count}", output=output, changed={"files": len(found)}
    )
