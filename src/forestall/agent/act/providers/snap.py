"""snap: refresh, hold and revert through snapd, which checks the store's signatures and keeps the last revision.

``snap refresh --revision`` takes exactly the revision that was decided on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.providers import PackageKey, Wanted
from forestall.agent.act.providers.calls import Failures, change, look, sentence
from forestall.agent.collect.host import Host
from forestall.agent.collect.providers import snap as reader

NAME = "snap"
CAN = reader.CAN

_FAILURES: Failures = (
    (r"(?i)has .*change in progress|in progress", "manager_busy"),
    (r"(?i)cannot (find|get) .*signatures|assertion|signature", "source_untrusted"),
    (r"(?i)no revision|not available|not found|no snap revision", "version_not_offered"),
    (r"(?i)no space left|not enough disk space|insufficient space", "no_space"),
    (r"(?i)cannot download|unable to contact|dial tcp|cannot refresh .*: Get", "download_failed"),
    (r"(?i)has running apps", "unresolvable"),
)


def versions(host: Host, ctx: Context) -> Mapping[PackageKey, str]:
    result = look(reader.LIST, host)
    if result.exit_code != 0:
        raise ActionFailed("list_failed", sentence(result))
    return {(name, ""): version for name, version in reader.parse_list(result.stdout)[0].items()}


def refresh(host: Host, ctx: Context) -> str:
    return change(reader.UPDATES, ctx, failures=_FAILURES, otherwise="download_failed")


def impossible(wanted: Sequence[Wanted], host: Host, ctx: Context) -> Mapping[Wanted, str]:
    return {}


def download(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    raise ActionFailed("manager_unknown", "snapd fetches a snap with its refresh, not ahead")


def install(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    output = []
    for each in wanted:
        argv = ["snap", "refresh", f"--revision={_revision(each)}", each.name]
        output.append(change(argv, ctx, failures=_FAILURES, otherwise="install_failed"))
    return "\n".join(output)


def hold(names: Sequence[str], host: Host, ctx: Context) -> str:
    return change(["snap", "refresh", "--hold", *names], ctx, failures=_FAILURES, otherwise="install_failed")


def release(names: Sequence[str], host: Host, ctx: Context) -> str:
    return change(["snap", "refresh", "--unhold", *names], ctx, failures=_FAILURES, otherwise="install_failed")


def roll_back(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    output = []
    for each in wanted:
        # Of the revisions that are still on the machine; data of the newer one is kept.
        argv = ["snap", "revert", f"--revision={_revision(each)}", each.name]
        output.append(change(argv, ctx, failures=_FAILURES, otherwise="version_not_offered"))
    return "\n".join(output)


def repair(host: Host, ctx: Context) -> str:
    raise ActionFailed("manager_unknown", "snapd undoes by itself what it could not end")


def _revision(wanted: Wanted) -> str:
    _, mark, revision = wanted.version.rpartition("+r")
    if not mark or not revision.removeprefix("x").isdigit():
        raise ActionFailed("version_not_offered", f"{wanted}: names no revision, as in 5.61.0+r32")
    return revision
