"""``ssh.harden``: stricter settings of the SSH server, tested before and after, that never lock anybody out.

Ports and addresses stay as they are. It refuses when nobody who can sign in now could do so afterwards, and puts the
file back when the server would not take it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.programs import run_program
from forestall.agent.act.services import find_service
from forestall.agent.collect.host import Host
from forestall.agent.collect.sshd import parse_sshd_t
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "ssh.harden"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"passwords": str}
WANTED = {
    "PermitRootLogin": "prohibit-password", "PermitEmptyPasswords": "no", "MaxAuthTries": "4", "LoginGraceTime": "60",
    "X11Forwarding": "no", "HostbasedAuthentication": "no", "IgnoreRhosts": "yes", "PermitUserEnvironment": "no",
    "ClientAliveInterval": "300",
}  # fmt: skip
PASSWORDS_OFF = {"PasswordAuthentication": "no", "KbdInteractiveAuthentication": "no"}
BEGIN, END = "# --- by Forestall: first come, first served ---", "# --- end of what Forestall set ---"
_BLOCK = re.compile(rf"{re.escape(BEGIN)}\n.*?{re.escape(END)}\n", re.DOTALL)
_NO_SHELL = ("/nologin", "/false", "/sync", "")


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """``passwords``: ``keep``, or ``off`` (keys alone open from then on)."""
    passwords = str(args["passwords"])
    if passwords not in {"keep", "off"}:
        raise ActionFailed("argument_wrong", f"passwords: {passwords!r} is neither keep nor off")
    sshd = host.find_program("sshd")
    if sshd is None:
        raise ActionFailed("program_missing", "there is no SSH server here")
    path = f"{ctx.places.etc}/ssh/sshd_config"
    try:
        before_text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ActionFailed("file_missing", f"{path}: {error.strerror}") from None
    before = _effective(sshd, path, ctx)
    wanted = {**WANTED, **(PASSWORDS_OFF if passwords == "off" else {})}
    if before.get("permitrootlogin") == "no":
        wanted.pop("PermitRootLogin")  # stricter already
    changes = {name: value for name, value in wanted.items() if before.get(name.lower()) != value}
    if not changes:
        return StepResult(action=NAME, ok=True, summary="the SSH server is set up so already; nothing to do")
    after = {**before, **{name.lower(): value for name, value in wanted.items()}}
    ways = ways_in(after, f"{ctx.places.etc}")
    if not ways:
        raise ActionFailed("no_way_in", "nobody could sign in by SSH any more: no account has a key or a password left")
    told = ", ".join(f"{name} {value}" for name, value in sorted(changes.items()))
    if ctx.dry_run:
        return StepResult(action=NAME, ok=True, summary=f"would set {told}; {ways[0]} still gets in")
    # In sshd_config(5) the first value of a keyword wins, so the block stands in front of everything, includes too.
    lines = "".join(f"{name} {value}\n" for name, value in sorted(wanted.items()))
    text = f"{BEGIN}\n{lines}{END}\n{_BLOCK.sub('', before_text)}"
    ctx.changes.file_replace(path, text.encode())
    try:
        got = _effective(sshd, path, ctx)
        wrong = [name for name, value in wanted.items() if got.get(name.lower()) != value]
        moved = [name for name in ("port", "listenaddress", "addressfamily") if got.get(name) != before.get(name)]
        if wrong or moved:
            raise ActionFailed("settings_not_taken", f"the server would not take {', '.join([*wrong, *moved])}")
    except ActionFailed:
        ctx.changes.file_replace(path, before_text.encode())
        raise
    reloaded = _reload(host, ctx)
    return StepResult(
        action=NAME,
        ok=True,
        summary=f"set {told}; {ways[0]} still gets in{reloaded}",
        changed={"settings": len(changes)},
    )


def _effective(sshd: str, path: str, ctx: Context) -> dict[str, str]:
    """What ``sshd -T`` makes of the file. ActionFailed ``settings_broken`` when it does not take it."""
    tested = run_program([sshd, "-t", "-f", path], ctx, looks_only=True)
    if tested.exit_code != 0:
        raise ActionFailed("settings_broken", f"sshd -t refuses {path}", output=tested.output)
    told = run_program([sshd, "-T", "-f", path], ctx, looks_only=True)
    if told.exit_code != 0:
        raise ActionFailed("settings_broken", f"sshd -T refuses {path}", output=told.output)
    return parse_sshd_t(told.output)


def ways_in(settings: Mapping[str, str], etc: str) -> list[str]:
    """Accounts that can sign in under these settings and how: ``ada by key``. People before root."""
    found: list[str] = []
    hashes = {}
    for line in _lines(f"{etc}/shadow"):
        name, _, rest = line.partition(":")
        hashes[name] = rest.partition(":")[0]
    with_password = settings.get("passwordauthentication") == "yes"
    with_key = settings.get("pubkeyauthentication") != "no"
    for line in _lines(f"{etc}/passwd"):
        parts = line.split(":")
        if len(parts) < 7 or parts[6].endswith(_NO_SHELL[:3]) or not parts[6]:
            continue
        name, home = parts[0], parts[5]
        root = parts[2] == "0"
        if root and settings.get("permitrootlogin") == "no":
            continue
        files = settings.get("authorizedkeysfile", ".ssh/authorized_keys").split()
        keys = [file.replace("%h", home).replace("%u", name).replace("%%", "%") for file in files]
        keys = [file if file.startswith("/") else f"{home}/{file}" for file in keys]
        if with_key and any(line.strip() and not line.startswith("#") for file in keys for line in _lines(file)):
            found.append(f"{name} by key")
        elif (
            with_password
            and hashes.get(name, "").startswith("$")
            and not (root and settings.get("permitrootlogin") != "yes")
        ):
            found.append(f"{name} by password")
    return sorted(found, key=lambda way: way.startswith("root "))


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _reload(host: Host, ctx: Context) -> str:
    for name in ("ssh", "sshd"):
        try:
            service = find_service(name, host, ctx)
        except ActionFailed:
            continue
        if service.runs():
            ctx.changes.note("service_reload", service=service.name)
            service.reload()
            return f"; {service.name} has read it"
    return "; it holds when the server starts"
