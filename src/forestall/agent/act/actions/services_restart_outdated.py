"""``services.restart_outdated``: restart services that still run code from before an update, and report the rest."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from forestall.agent.act import packages
from forestall.agent.act.actions import service_restart
from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect import restarts
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "services.restart_outdated"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"exclude": str}
LEFT_ALONE = re.compile(
    r"dbus.*|systemd-logind|user@.*|.*getty@?.*|(gdm3?|sddm|lightdm|lxdm|kdm|nodm|slim|xdm|display-manager)"
    r"|NetworkManager|networking|network|wpa_supplicant|ModemManager|openvpn.*|wg-quick@.*"
    r"|docker|containerd|libvirtd|lxc.*|forestall.*"
)
"""Services whose restart would throw people out, cut the network, or end what runs inside them: a person's decision
(or a reboot's). sshd is not among them: sessions outlive it."""


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """``exclude``: names of services separated by blanks."""
    excluded = set(str(args["exclude"]).split())
    outdated = restarts.collect(host).processes
    own = restarts.service_of_process(host, os.getpid())
    services = sorted({each.service for each in outdated if each.service})
    kept = [name for name in services if name in excluded or name == own or LEFT_ALONE.fullmatch(name)]
    due = [name for name in services if name not in kept]
    loose = sorted({each.name for each in outdated if not each.service})
    if ctx.dry_run:
        would = f"would restart {packages.some(due)}" if due else "would restart nothing"
        return StepResult(action=NAME, ok=True, summary=f"{would}{_left(kept, loose)}")
    done, failed, output = [], [], ""
    for name in due:
        try:
            output += service_restart.run({"service": name}, host, ctx).output
            done.append(name)
        except ActionFailed as error:
            failed.append(f"{name} ({error.sentence})")
            output += error.output
    still = {each.service for each in restarts.collect(host).processes} if done else set()
    again = [name for name in done if name in still]
    told = f"restarted {packages.some(done)}" if done else "no service had to be restarted"
    told += f"; still from before after the restart: {packages.some(again)}" if again else ""
    told += _left(kept, loose)
    if failed:
        raise ActionFailed(
            "restart_failed",
            f"did not restart: {packages.some(failed)}; {told}",
            output=output,
            changed={"services": len(done)},
        )
    return StepResult(action=NAME, ok=True, summary=told, output=output, changed={"services": len(done)})


def _left(kept: list[str], loose: list[str]) -> str:
    words = f"; left alone: {packages.some(kept)}" if kept else ""
    return words + (f"; belong to no service: {packages.some(loose)}" if loose else "")
