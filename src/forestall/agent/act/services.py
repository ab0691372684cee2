"""Services of the machine for actions: systemd's units where systemd runs, init scripts elsewhere."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Protocol

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.programs import run_program
from forestall.agent.collect.host import Host

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9@_.:\\-]*")
_LINK = re.compile(r"[SK]\d\d(.+)")


class Service(Protocol):
    """One service. Its methods raise ActionFailed ``service_failed`` with what the service manager said."""

    @property
    def name(self) -> str: ...

    def runs(self) -> bool: ...
    def is_enabled(self) -> bool:
        """Whether it starts with the machine."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def reload(self) -> None:
        """Let it read its settings again; restarted where it cannot do that while it runs."""

    def enable(self) -> None: ...
    def disable(self) -> None: ...


def find_service(name: str, host: Host, ctx: Context) -> Service:
    """``name`` as systemd names the unit (with or without ``.service``), or the init script's name.

    ActionFailed ``service_unknown`` when there is none.
    """
    name = name.removesuffix(".service")
    if NAME.fullmatch(name) is None:
        raise ActionFailed("argument_wrong", f"service: {name!r} is not the name of a service")
    systemctl = host.find_program("systemctl")
    if systemctl is not None and Path(ctx.places.systemd).is_dir():
        unit = f"{name}.service"
        loaded = run_program([systemctl, "show", "--property=LoadState", "--value", unit], ctx, looks_only=True)
        if loaded.output.strip() in {"not-found", "masked"}:
            raise ActionFailed("service_unknown", f"{unit}: {loaded.output.strip()}")
        return _Unit(systemctl, unit, ctx)
    script = Path(ctx.places.init_scripts, name)
    try:
        found = script.stat()
    except OSError:
        raise ActionFailed("service_unknown", f"there is no service called {name}") from None
    if not stat.S_ISREG(found.st_mode) or not found.st_mode & stat.S_IXUSR:
        raise ActionFailed("service_unknown", f"{script} is not an init script")
    return _Script(name, script, host, ctx)


class _Unit:
    def __init__(self, systemctl: str, unit: str, ctx: Context) -> None:
        self._systemctl, self.name, self._ctx = systemctl, unit, ctx

    def runs(self) -> bool:
        return self._property("ActiveState") in {"active", "reloading", "activating"}

    def is_enabled(self) -> bool:
        return self._property("UnitFileState") in {"enabled", "enabled-runtime"}

    def start(self) -> None:
        self._do("start")

    def stop(self) -> None:
        self._do("stop")

    def reload(self) -> None:
        self._do("reload-or-restart")

    def enable(self) -> None:
        self._do("enable")

    def disable(self) -> None:
        self._do("disable")

    def _property(self, name: str) -> str:
        ran = run_program(
            [self._systemctl, "show", f"--property={name}", "--value", self.name], self._ctx, looks_only=True
        )
        return ran.output.strip()

    def _do(self, verb: str) -> None:
        ran = run_program([self._systemctl, verb, self.name], self._ctx)
        if ran.exit_code != 0:
            raise ActionFailed(
                "service_failed", f"systemctl {verb} {self.name} ended with {ran.exit_code}", output=ran.output
            )


class _Script:
    def __init__(self, name: str, script: Path, host: Host, ctx: Context) -> None:
        self.name, self._script, self._host, self._ctx = name, script, host, ctx

    def runs(self) -> bool:
        # LSB 5.0, "Init Script Actions": 0 runs. Asked in a dry run, too: reading a status is what the word is for.
        return run_program([str(self._script), "status"], self._ctx, looks_only=True).exit_code == 0

    def is_enabled(self) -> bool:
        folders = self._script.parent.parent.glob("rc[2-5].d")
        links = [found.name for folder in folders for found in folder.glob("S[0-9][0-9]*")]
        return any((named := _LINK.fullmatch(link)) is not None and named.group(1) == self.name for link in links)

    def start(self) -> None:
        self._do("start")

    def stop(self) -> None:
        self._do("stop")

    def reload(self) -> None:
        ran = run_program([str(self._script), "reload"], self._ctx)
        if ran.exit_code != 0:
            self._do("restart")

    def enable(self) -> None:
        self._links("enable")

    def disable(self) -> None:
        self._links("disable")

    def _links(self, verb: str) -> None:
        program = self._host.find_program("update-rc.d")
        if program is None:
            raise ActionFailed("program_missing", "update-rc.d is not installed")
        ran = run_program([program, self.name, verb], self._ctx)
        if ran.exit_code != 0:
            raise ActionFailed(
                "service_failed", f"update-rc.d {self.name} {verb} ended with {ran.exit_code}", output=ran.output
            )

    def _do(self, verb: str) -> None:
        ran = run_program([str(self._script), verb], self._ctx)
        if ran.exit_code != 0:
            raise ActionFailed("service_failed", f"{self.name}: {verb} ended with {ran.exit_code}", output=ran.output)
