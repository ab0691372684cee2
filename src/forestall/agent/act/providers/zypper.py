"""zypper: install, hold, roll back and repair.

Decided once, for every run:

- ``--no-gpg-checks`` and ``--allow-unsigned-rpm`` are never given, keys are not taken by themselves, and repositories
  of which neither lists nor packages are checked are left out (only the others are named with ``--repo``);
- packages are named with their version; recommended packages are not added; licences count as agreed, as in every
  unattended upgrade;
- where zypper would ask to remove something, or finds a lock in the way, it gives up instead (``--non-interactive``).
"""

# ruff: noqa: E501 - a table of patterns keeps its lines
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.providers import PackageKey, Wanted, rpm_database
from forestall.agent.act.providers.calls import Failures, change, impossible_one_by_one, look, sentence
from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.providers import zypper as reader
from forestall.agent.collect.providers.rpm_database import ini_sections, read_all

NAME = "zypper"
CAN = reader.CAN

_DONE = (0, 100, 101, 102, 103)
"""100 and 101: updates or patches are there; 102: a start of the machine is asked for; 103: zypper itself was updated."""
_LOCK_SECONDS = "120"
_BUSY = r"System management is locked"
_FAILURES: Failures = (
    (r"System management is locked", "manager_busy"),
    (r"(?i)signature verification failed|is not signed|unsigned|unknown (gpg )?key", "source_untrusted"),
    (r"(?i)remove lock to allow", "held"),
    (r"(?i)not found in package names|No provider of", "version_not_offered"),
    (r"(?i)no space left|not enough (free )?space|needs .* more space", "no_space"),
    (r"(?i)deinstallation of|going to be REMOVED", "would_remove"),
    (r"(?i)download .*failed|Retrieving .*error|can't access|Timeout exceeded|connection failed|File '.*' not found on medium", "download_failed"),
    (r"(?i)nothing provides|conflicts with|Problem:", "unresolvable"),
)  # fmt: skip


def versions(host: Host, ctx: Context) -> Mapping[PackageKey, str]:
    return rpm_database.versions(host)


def refresh(host: Host, ctx: Context) -> str:
    return _zypper(["refresh"], ctx, otherwise="download_failed")


def impossible(wanted: Sequence[Wanted], host: Host, ctx: Context) -> Mapping[Wanted, str]:
    return impossible_one_by_one(wanted, ctx, lambda some: _why_not(some, host))


def download(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    return _install(["--download-only"], wanted, host, ctx, otherwise="download_failed")


def install(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    return _install([], wanted, host, ctx, otherwise="install_failed")


def roll_back(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    return _install(["--oldpackage"], wanted, host, ctx, otherwise="install_failed")


def hold(names: Sequence[str], host: Host, ctx: Context) -> str:
    return _zypper(["addlock", "--", *names], ctx, otherwise="install_failed")


def release(names: Sequence[str], host: Host, ctx: Context) -> str:
    return _zypper(["removelock", "--", *names], ctx, otherwise="install_failed")


def repair(host: Host, ctx: Context) -> str:
    output = rpm_database.repair(host, ctx)
    # verify would also remove what stands in the way; without a person it gives up there.
    return "\n".join(
        part for part in (output, _zypper(["verify", "--no-recommends"], ctx, otherwise="repair_failed")) if part
    )


def _zypper(arguments: Sequence[str], ctx: Context, *, otherwise: str) -> str:
    return change(
        ["zypper", "--non-interactive", *arguments],
        ctx,
        failures=_FAILURES,
        otherwise=otherwise,
        good=_DONE,
        busy=_BUSY,
        environment={"ZYPP_LOCK_TIMEOUT": _LOCK_SECONDS},
    )


def _arguments(options: Sequence[str], wanted: Sequence[Wanted], host: Host) -> list[str]:
    careful = ["--no-recommends", "--auto-agree-with-licenses", *_checked_only(host)]
    return ["--no-refresh", "install", *careful, *options, "--", *map(_spec, wanted)]


def _install(options: Sequence[str], wanted: Sequence[Wanted], host: Host, ctx: Context, *, otherwise: str) -> str:
    return _zypper(_arguments(options, wanted, host), ctx, otherwise=otherwise)


def _why_not(wanted: Sequence[Wanted], host: Host) -> str:
    result = look(["zypper", "--non-interactive", *_arguments(["--dry-run"], wanted, host)], host)
    if removed := re.search(r"going to be REMOVED:\n((?: .*\n)+)", result.stdout):
        return f"would remove {', '.join(removed[1].split())}"
    if result.exit_code in _DONE:
        return ""
    if "remove lock to allow" in result.stdout:
        return "it is locked"
    if removed := re.search(r"deinstallation of (\S+)", result.stdout):
        return f"would remove {removed[1]}"
    if result.exit_code == 104 and (unchecked := _unchecked(host)):
        return f"no source whose signatures are checked offers it (left out: {', '.join(sorted(unchecked))})"
    return sentence(result)


def _checked_only(host: Host) -> list[str]:
    """Options that leave the unchecked repositories out; none where there are none."""
    unchecked = _unchecked(host)
    if not unchecked:
        return []
    checked = [name for name in ini_sections(read_all(host, reader.REPOSITORIES)) if name not in unchecked]
    if not checked:
        raise ActionFailed("source_untrusted", f"no source's signatures are checked: {', '.join(sorted(unchecked))}")
    return [part for name in checked for part in ("--repo", name)]


def _unchecked(host: Host) -> set[str]:
    try:
        settings = host.read_text(reader.SETTINGS)
    except HostError:
        settings = ""
    return reader.unchecked_repositories(settings, read_all(host, reader.REPOSITORIES))


def _spec(wanted: Wanted) -> str:
    return (f"{wanted.name}.{wanted.architecture}" if wanted.architecture else wanted.name) + f"={wanted.version}"
