"""fwupd: firmware, placed by ``fwupdmgr`` for the next start of the machine where the device asks for one.

fwupd itself checks the vendor's signature of every archive, refuses on a low battery, and starts nothing by itself
(``--no-reboot-check``): a reboot is a step of its own. A version only counts when the device itself reports it, which
many do only after that start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.providers import PackageKey, Wanted
from forestall.agent.act.providers.calls import Failures, change, look
from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import complaint
from forestall.agent.collect.providers import fwupd as reader

NAME = "fwupd"
CAN = reader.CAN

EFFECTIVE_AFTER_START = True
"""What was installed may show its version only after the machine was started anew."""
_FAILURES: Failures = (
    (r"(?i)battery|AC power|power source", "on_battery"),
    (r"(?i)signature|not trusted|untrusted", "source_untrusted"),
    (r"(?i)no releases|no upgrades|not found|version .* not", "version_not_offered"),
    (r"(?i)no space left|not enough (free )?space", "no_space"),
    (r"(?i)failed to download|could not resolve|network", "download_failed"),
    (r"(?i)already .*pending|needs reboot", "manager_busy"),
)
_QUIET = ("--no-reboot-check", "--no-unreported-check", "--no-metadata-check", "--assume-yes")


def versions(host: Host, ctx: Context) -> Mapping[PackageKey, str]:
    return {(name, ""): version for name, (version, _) in _devices(host).items()}


def refresh(host: Host, ctx: Context) -> str:
    return change(["fwupdmgr", "refresh", "--force"], ctx, failures=_FAILURES, otherwise="download_failed", good=(0, 2))


def impossible(wanted: Sequence[Wanted], host: Host, ctx: Context) -> Mapping[Wanted, str]:
    return {}


def download(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    raise ActionFailed("manager_unknown", "fwupd fetches an archive when it places it, not ahead")


def install(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    return _install([], wanted, host, ctx)


def hold(names: Sequence[str], host: Host, ctx: Context) -> str:
    raise ActionFailed("manager_unknown", "fwupd holds no single device back: leave it out where updates are decided")


def release(names: Sequence[str], host: Host, ctx: Context) -> str:
    raise ActionFailed("manager_unknown", "fwupd holds no single device back")


def roll_back(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    return _install(["--allow-older"], wanted, host, ctx)


def repair(host: Host, ctx: Context) -> str:
    raise ActionFailed("manager_unknown", "firmware that was cut short is a matter for a person")


def _devices(host: Host) -> Mapping[str, tuple[str, str]]:
    result = look(reader.DEVICES, host)
    error = reader.parse_error(result.stdout)
    if error and not reader.is_nothing(error):
        raise ActionFailed("list_failed", f"fwupdmgr: {error}")
    if result.exit_code not in (0, 2):
        raise ActionFailed("list_failed", f"fwupdmgr: {complaint(result)}")
    return reader.parse_versions(result.stdout)


def _install(options: Sequence[str], wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    devices = _devices(host)
    output = []
    for each in wanted:
        _, identity = devices.get(each.name, ("", ""))
        if not identity:
            raise ActionFailed("not_installed", f"there is no device {each.name} any more")
        argv = ["fwupdmgr", "install", *_QUIET, *options, identity, each.version]
        output.append(change(argv, ctx, failures=_FAILURES, otherwise="install_failed", good=(0, 2)))
    return "\n".join(output)
