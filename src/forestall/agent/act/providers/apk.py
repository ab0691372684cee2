"""apk of Alpine.

Packages are upgraded with ``apk fix --upgrade``, which leaves the list of what was asked for (``/etc/apk/world``) as
it is. A hold is a version in that list (``curl=8.5.0-r0``), which apk honours; a package that was only a dependency is
asked for by that, and stays so after its release. Alpine's repositories keep the newest version alone, so there is no
rolling back, and without a cache set up on the machine nothing is fetched ahead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.providers import PackageKey, Wanted
from forestall.agent.act.providers.calls import Failures, change, impossible_one_by_one, look, sentence
from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.providers import apk as reader

NAME = "apk"
CAN = reader.CAN

_LOCK_SECONDS = "300"
_FAILURES: Failures = (
    (r"(?i)unable to lock database", "manager_busy"),
    (r"(?i)UNTRUSTED signature|BAD signature", "source_untrusted"),
    (r"(?i)no space left", "no_space"),
    (r"(?i)temporary error|network error|connection|DNS|remote server returned error|I/O error", "download_failed"),
    (r"(?i)unable to select packages|unsatisfiable", "unresolvable"),
)


def versions(host: Host, ctx: Context) -> Mapping[PackageKey, str]:
    try:
        return reader.parse_versions(host.read_text(reader.DATABASE))
    except HostError as error:
        raise ActionFailed("list_failed", f"{reader.DATABASE}: {error.why}") from None


def refresh(host: Host, ctx: Context) -> str:
    return _apk(["update"], ctx, otherwise="download_failed")


def impossible(wanted: Sequence[Wanted], host: Host, ctx: Context) -> Mapping[Wanted, str]:
    return impossible_one_by_one(wanted, ctx, lambda some: _why_not(some, host))


def download(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    raise ActionFailed("manager_unknown", "apk fetches nothing ahead")


def install(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    offered = {
        each.name: each.candidate for each in reader.find_updates(look(["apk", "version", "-l", "<"], host).stdout)
    }
    for each in wanted:
        if offered.get(each.name) != each.version:
            raise ActionFailed(
                "version_not_offered", f"{each}: the lists have {offered.get(each.name, 'nothing newer')}"
            )
    return _apk(["fix", "--upgrade", *(each.name for each in wanted)], ctx, otherwise="install_failed")


def hold(names: Sequence[str], host: Host, ctx: Context) -> str:
    there = {name: version for (name, _), version in versions(host, ctx).items()}
    return _apk(["add", *(f"{name}={there[name]}" for name in names if name in there)], ctx, otherwise="install_failed")


def release(names: Sequence[str], host: Host, ctx: Context) -> str:
    return _apk(["add", *names], ctx, otherwise="install_failed")


def roll_back(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    raise ActionFailed("manager_unknown", "Alpine's repositories keep no older versions")


def repair(host: Host, ctx: Context) -> str:
    return _apk(["fix"], ctx, otherwise="repair_failed")


def _apk(arguments: Sequence[str], ctx: Context, *, otherwise: str) -> str:
    argv = ["apk", "--no-interactive", "--wait", _LOCK_SECONDS, *arguments]
    return change(argv, ctx, failures=_FAILURES, otherwise=otherwise)


def _why_not(wanted: Sequence[Wanted], host: Host) -> str:
    argv = ["apk", "--no-interactive", "fix", "--simulate", "--upgrade", *(each.name for each in wanted)]
    result = look(argv, host)
    if removed := re.findall(r"^\(\d+/\d+\) Purging (\S+)", result.stdout, re.MULTILINE):
        return f"would remove {', '.join(removed)}"
    return "" if result.exit_code == 0 else sentence(result)
