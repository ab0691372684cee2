"""``ssh_key.remove``: take one key out of an account's authorized keys, and leave every other line as it is."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from forestall.agent.act.accounts import find_account, home_path
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect.access.keys import parse_keys
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "ssh_key.remove"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"account": str, "fingerprint": str}
FILES = (".ssh/authorized_keys", ".ssh/authorized_keys2")
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_MOST_BYTES = 1024 * 1024


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """``fingerprint`` as `ssh-keygen -l` shows it: ``SHA256:`` and 43 letters."""
    fingerprint = str(args["fingerprint"])
    if _FINGERPRINT.fullmatch(fingerprint) is None:
        raise ActionFailed("argument_wrong", f"fingerprint: {fingerprint!r} is not SHA256: and 43 letters")
    account = find_account(str(args["account"]), ctx)
    name = account.entry.name
    done, left = [], 0
    for file in FILES:
        path = home_path(account, ctx, file)
        text = _read(path)
        if text is None:
            continue
        lines = text.splitlines(keepends=True)
        kept = [line for line in lines if not any(key.fingerprint == fingerprint for key in parse_keys(line))]
        left += sum(len(parse_keys(line)) for line in kept)
        if len(kept) == len(lines):
            continue
        done.append(file)
        if not ctx.dry_run:
            ctx.changes.file_replace(path, "".join(kept).encode("utf-8", "surrogateescape"))
    if not done:
        return StepResult(action=NAME, ok=True, summary=f"no key {fingerprint} opens {name}; nothing to do")
    others = f"{left} other{'' if left == 1 else 's'} {'stays' if left == 1 else 'stay'}"
    if ctx.dry_run:
        said = f"would take the key {fingerprint} out of {' and '.join(done)} of {name}; {others}"
        return StepResult(action=NAME, ok=True, summary=said)
    return StepResult(
        action=NAME, ok=True, changed={"keys": len(done)},
        summary=f"took the key {fingerprint} out of {' and '.join(done)} of {name}; {others}",
    )  # fmt: skip


def _read(path: str) -> str | None:
    """A file of an account, whose folder is that account's own: no link is followed at its end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ActionFailed("file_unreadable", f"{path}: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ActionFailed("file_too_large", f"{path}: more than {_MOST_BYTES} bytes")
    return data.decode("utf-8", "surrogateescape")
