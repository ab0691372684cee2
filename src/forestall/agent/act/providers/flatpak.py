"""flatpak: applications and runtimes of the whole system.

An update takes what the remote has at that moment; that it is the commit that was decided on is asked before, and
looked up afterwards. Remotes whose commits are not checked against a key are not installed from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.providers import PackageKey, Wanted
from forestall.agent.act.providers.calls import Failures, change, look, sentence
from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.providers import flatpak as reader

NAME = "flatpak"
CAN = reader.CAN

_ASK = ("flatpak", "remote-ls", "--system", "--updates", "--columns=ref")
_FAILURES: Failures = (
    (r"GPG verification|GPG signatures found|untrusted|Can't check signature", "source_untrusted"),
    (r"not installed|No such ref|Nothing matches|No such commit", "version_not_offered"),
    (r"(?i)no space left|not enough (disk )?space|min-free-space", "no_space"),
    (r"While fetching|Couldn't (connect|resolve)|Unable to (load|fetch)|While pulling", "download_failed"),
)


def versions(host: Host, ctx: Context) -> Mapping[PackageKey, str]:
    result = look(reader.LIST, host)
    if result.exit_code != 0:
        raise ActionFailed("list_failed", sentence(result))
    return {(name, ""): version for name, version in reader.parse_list(result.stdout).items()}


def refresh(host: Host, ctx: Context) -> str:
    # Asking the remotes what they have keeps their summaries for the reader.
    return _flatpak(_ASK[1:], ctx, otherwise="download_failed")


def impossible(wanted: Sequence[Wanted], host: Host, ctx: Context) -> Mapping[Wanted, str]:
    unchecked = reader.unchecked_remotes(_config(host))
    if not unchecked:
        return {}
    result = look(reader.LIST, host)
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    origins = {row[0]: row[3] for row in rows if len(row) >= 4}
    return {
        each: f"commits of its remote are not checked against a key: {origins[each.name]}"
        for each in wanted
        if origins.get(each.name) in unchecked
    }


def download(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    return _update(["--no-deploy"], wanted, host, ctx, otherwise="download_failed")


def install(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    return _update([], wanted, host, ctx, otherwise="install_failed")


def hold(names: Sequence[str], host: Host, ctx: Context) -> str:
    return "\n".join(_flatpak(["mask", "--system", "--", name], ctx, otherwise="install_failed") for name in names)


def release(names: Sequence[str], host: Host, ctx: Context) -> str:
    argv = ["mask", "--system", "--remove", "--"]
    return "\n".join(_flatpak([*argv, name], ctx, otherwise="install_failed") for name in names)


def roll_back(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    """To an older commit that the remote still has, of which the first 12 digits are known."""
    _require_checked(wanted, host, ctx)
    result = look(reader.LIST, host)
    origins = {row[0]: row[3] for row in (line.split("\t") for line in result.stdout.splitlines()) if len(row) >= 4}
    commits = {}
    for each in wanted:
        log = look(["flatpak", "remote-info", "--system", "--log", origins.get(each.name, ""), each.name], host)
        known = re.findall(r"Commit: ([0-9a-f]{64})", log.stdout)
        short = reader.commit(each.version)
        found = [full for full in known if full.startswith(short)] if len(short) >= 7 else []
        if len(set(found)) != 1:
            raise ActionFailed("version_not_offered", f"{each}: its remote has no such commit any more")
        commits[each.name] = found[0]
    argv = ["update", "--system", "--noninteractive", "--assumeyes"]
    output = [
        _flatpak([*argv, f"--commit={commit}", "--", name], ctx, otherwise="install_failed")
        for name, commit in commits.items()
    ]
    _keep_summaries(host)
    return "\n".join(output)


def repair(host: Host, ctx: Context) -> str:
    return _flatpak(["repair", "--system"], ctx, otherwise="repair_failed")


def _flatpak(arguments: Sequence[str], ctx: Context, *, otherwise: str) -> str:
    return change(["flatpak", *arguments], ctx, failures=_FAILURES, otherwise=otherwise)


def _update(options: Sequence[str], wanted: Sequence[Wanted], host: Host, ctx: Context, *, otherwise: str) -> str:
    _require_checked(wanted, host, ctx)
    names = [each.name for each in wanted]
    argv = ["update", "--system", "--noninteractive", "--assumeyes", *options, "--", *names]
    output = _flatpak(argv, ctx, otherwise=otherwise)
    _keep_summaries(host)
    return output


def _keep_summaries(host: Host) -> None:
    # Flatpak may drop its kept summaries with an update, and then nothing could be listed until they are fetched.
    with suppress(ActionFailed):
        look(_ASK, host)


def _require_checked(wanted: Sequence[Wanted], host: Host, ctx: Context) -> None:
    for each, why in impossible(wanted, host, ctx).items():
        raise ActionFailed("source_untrusted", f"{each}: {why}")


def _config(host: Host) -> str:
    try:
        return host.read_text(reader.CONFIG)
    except HostError as error:
        raise ActionFailed("list_failed", f"{reader.CONFIG}: {error.why}") from None
