"""What dnf and zypper have in common: looking up versions, and ending an upgrade that was cut short."""

from __future__ import annotations

from collections.abc import Mapping

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.providers import PackageKey
from forestall.agent.act.providers.calls import change, look
from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import complaint
from forestall.agent.collect.providers import rpm_database as reader


def installed(host: Host) -> tuple[reader.Installed, ...]:
    result = look(reader.ARGV, host)
    if result.exit_code != 0:
        raise ActionFailed("list_failed", f"rpm: {complaint(result)}")
    return reader.parse(result.stdout)


def versions(host: Host) -> Mapping[PackageKey, str]:
    """The newest version of each: of a kernel several are there, and the newest is the one that will start."""
    return reader.newest(installed(host))


def repair(host: Host, ctx: Context) -> str:
    """Rebuild the database when it cannot be read, and remove the old half of packages that are there twice.

    rpm writes a new version into its database when all its files are in place, and takes the old one out afterwards:
    of two, the newer is whole, and what is left is to take the old one out, which is what the upgrade would have done.
    """
    output = []
    if look(reader.ARGV, host).exit_code != 0:
        output.append(change(["rpm", "--rebuilddb"], ctx, failures=(), otherwise="repair_failed"))
    for (name, architecture), several in reader.doubled(installed(host)).items():
        for version in several[:-1]:
            which = f"{name}-{reader.without_epoch(version)}" + (f".{architecture}" if architecture else "")
            # Dependencies are not asked: the newer one of the same name stays.
            output.append(change(["rpm", "--erase", "--nodeps", which], ctx, failures=(), otherwise="repair_failed"))
            output.append(f"removed what was left of {which}")
    return "\n".join(part for part in output if part)
