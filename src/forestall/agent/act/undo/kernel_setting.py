"""``kernel_setting``: a setting of the running kernel. ``name``, ``value`` before and ``now``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue

KIND = "kernel_setting"
LAST = False


def refuses(state: Mapping[str, ParameterValue], host: Host, ctx: Context) -> str:
    found = _value(ctx, str(state["name"]))
    if found in {str(state["now"]), str(state["value"])}:
        return ""
    return f"{state['name']} is {found} now: somebody has changed it since"


def undo(state: Mapping[str, ParameterValue], host: Host, ctx: Context) -> str:
    name, value = str(state["name"]), str(state["value"])
    found = _value(ctx, name)
    if found == value:
        return f"{name} is {value} already"
    ctx.changes.note(KIND, name=name, value=found, now=value)
    setting_write(ctx, name, value)
    return f"{name} is {value} again"


def setting_write(ctx: Context, name: str, value: str) -> None:
    """Give the running kernel a value. ActionFailed ``setting_refused`` when it does not take it."""
    path = Path(ctx.places.kernel_settings, *name.split("."))
    try:
        path.write_text(f"{value}\n", encoding="utf-8")
    except OSError as error:
        raise ActionFailed("setting_refused", f"{name} = {value}: {error.strerror}") from None
    if _value(ctx, name) != value:
        raise ActionFailed("setting_refused", f"{name} is {_value(ctx, name)} after it was set to {value}")


def _value(ctx: Context, name: str) -> str:
    try:
        return Path(ctx.places.kernel_settings, *name.split(".")).read_text(encoding="utf-8").strip()
    except OSError as error:
        return f"unreadable ({error.strerror})"
