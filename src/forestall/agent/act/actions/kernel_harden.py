"""``kernel.harden``: safer kernel settings, now and after each start. Forwarding stays: it may be a router."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.undo.kernel_setting import setting_write
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "kernel.harden"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"keep": str}
FILE = "sysctl.d/99-forestall.conf"
_CONF = ("net.ipv4.conf.all", "net.ipv4.conf.default")
WANTED: Mapping[str, str] = {
    "kernel.randomize_va_space": "2", "kernel.yama.ptrace_scope": "1", "kernel.kptr_restrict": "1",
    "kernel.dmesg_restrict": "1", "fs.suid_dumpable": "0", "fs.protected_hardlinks": "1", "fs.protected_symlinks": "1",
    "fs.protected_fifos": "1", "fs.protected_regular": "2",
    **{f"{conf}.send_redirects": "0" for conf in _CONF}, **{f"{conf}.accept_redirects": "0" for conf in _CONF},
    **{f"{conf}.secure_redirects": "0" for conf in _CONF}, **{f"{conf}.accept_source_route": "0" for conf in _CONF},
    **{f"{conf}.rp_filter": "2" for conf in _CONF}, **{f"{conf}.log_martians": "1" for conf in _CONF},
    "net.ipv6.conf.all.accept_redirects": "0", "net.ipv6.conf.default.accept_redirects": "0",
    "net.ipv6.conf.all.accept_source_route": "0", "net.ipv6.conf.default.accept_source_route": "0",
    "net.ipv4.icmp_echo_ignore_broadcasts": "1", "net.ipv4.icmp_ignore_bogus_error_responses": "1",
    "net.ipv4.tcp_syncookies": "1",
}  # fmt: skip
"""rp_filter 2 (loose) drops senders that cannot be reached at all, and leaves machines with several ways alone."""
_STRICTER = {"kernel.yama.ptrace_scope": 1, "kernel.kptr_restrict": 1, "fs.protected_fifos": 1}


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """``keep``: names of settings that stay as they are, separated by blanks."""
    keep = set(str(args["keep"]).split())
    if unknown := keep - set(WANTED):
        raise ActionFailed("argument_wrong", f"keep: {', '.join(sorted(unknown))} is none of the settings")
    there: dict[str, str] = {}
    for name in WANTED:
        try:
            there[name] = _place(ctx, name).read_text(encoding="utf-8").strip()
        except OSError:
            continue  # this kernel has none of that name
    wanted = {name: value for name, value in WANTED.items() if name in there and name not in keep}
    changes = {name: value for name, value in wanted.items() if not _good(name, there[name], value)}
    path = f"{ctx.places.etc}/{FILE}"
    lines = "".join(f"{name} = {there[name] if name not in changes else value}\n" for name, value in wanted.items())
    text = f"# By Forestall; undone by the runbook undo-change.\n{lines}".encode()
    same = _read(path) == text
    if not changes and same:
        return StepResult(action=NAME, ok=True, summary="the kernel is set up so already; nothing to do")
    told = f"{len(changes)} kernel settings" if len(changes) != 1 else "1 kernel setting"
    listed = ", ".join(f"{name} {there[name]} → {value}" for name, value in sorted(changes.items()))
    if ctx.dry_run:
        return StepResult(action=NAME, ok=True, summary=f"would set {told}", output=listed)
    ctx.changes.file_replace(path, text, 0o644)
    for name, value in changes.items():
        ctx.changes.note("kernel_setting", name=name, value=there[name], now=value)
        setting_write(ctx, name, value)
    return StepResult(
        action=NAME, ok=True, summary=f"set {told}, now and after each start", output=listed,
        changed={"settings": len(changes)},
    )  # fmt: skip


def _good(name: str, value: str, wanted: str) -> bool:
    if name in _STRICTER and value.isdecimal():
        return int(value) >= _STRICTER[name]
    return value == wanted or (name.endswith("rp_filter") and value in {"1", "2"})


def _place(ctx: Context, name: str) -> Path:
    return Path(ctx.places.kernel_settings, *name.split("."))


def _read(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except OSError:
        return None
