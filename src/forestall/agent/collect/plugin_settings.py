"""The device's own monitoring plugins: what its owner lets the agent run, and how often.

``plugins.toml`` stands in the agent's folder, else in /etc/forestall::

    [[plugin]]
    name = "load"                                                        # short, unique on the device
    command = ["/usr/lib/nagios/plugins/check_load", "-w", "5", "-c", "10"]   # program with its full path
    every = 5                                                            # optional: minutes, 5 to 1440
    timeout = 30                                                         # optional: seconds, 1 to 120
    warn_words = ["degraded"]                                            # optional: an OK with these words warns

The commands run with the agent's rights and without a shell, so a file that others may write is refused, and so is a
program that others may write.
"""

from __future__ import annotations

import re

import msgspec

from forestall.agent.collect.backup_settings import agent_home, first_file
from forestall.agent.collect.host import Host

SYSTEM_FILE = "/etc/forestall/plugins.toml"
FILE_NAME = "plugins.toml"
MOST_PLUGINS = 100
LEAST_MINUTES, MOST_MINUTES = 5, 1440
MOST_TIMEOUT = 120
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,59}")


class PluginSetting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One plugin that the device's owner names."""

    name: str
    command: tuple[str, ...]
    every: int = 5
    """Minutes."""
    timeout: float = 30.0
    """Seconds."""
    warn_words: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    plugin: tuple[PluginSetting, ...] = ()


class PluginSettingsError(ValueError):
    """The settings cannot be taken; says which value of which file is wrong."""


def settings_file(host: Host) -> str | None:
    """The settings file that counts; None when there is none."""
    return first_file(host, (f"{agent_home(host)}/{FILE_NAME}", SYSTEM_FILE))


def load_settings(host: Host) -> tuple[PluginSetting, ...]:
    """The plugins named in the settings. PluginSettingsError; a HostError when the file cannot be read."""
    path = settings_file(host)
    if path is None:
        return ()
    why = written_by_others(host, path)
    if why:
        raise PluginSettingsError(f"{path} {why}; its commands would run with the agent's rights")
    return parse_settings(host.read_text(path), path)


def written_by_others(host: Host, path: str) -> str:
    """Why somebody else than the agent's owner could have written a file; empty: nobody could."""
    status = host.status(path)
    if status.mode & 0o022:
        return "may be written by others than its owner (chmod go-w)"
    if host.is_root and status.uid != 0:
        return f"belongs to user {status.uid} and not to root (chown root)"
    return ""


def parse_settings(text: str, path: str) -> tuple[PluginSetting, ...]:
    """The plugins in a settings file. PluginSettingsError names the bad value."""
    try:
        found = msgspec.toml.decode(text, type=_File).plugin
    except msgspec.DecodeError as error:  # covers wrong types and values, with their path
        raise PluginSettingsError(f"{path}: {error}") from None
    if len(found) > MOST_PLUGINS:
        raise PluginSettingsError(f"{path}: $.plugin: {len(found)} plugins; at most {MOST_PLUGINS} are run")
    names = [each.name for each in found]
    for number, each in enumerate(found):
        at = f"{path}: $.plugin[{number}]"
        if not _NAME.fullmatch(each.name):
            raise PluginSettingsError(f"{at}.name: {each.name!r}: 1 to 60 letters, digits, blanks or . _ / -")
        if names.index(each.name) != number:
            raise PluginSettingsError(f"{at}.name: {each.name!r} is there twice")
        if not each.command or not each.command[0].startswith("/"):
            raise PluginSettingsError(f"{at}.command: {list(each.command)!r}: begin with the program's full path")
        if not LEAST_MINUTES <= each.every <= MOST_MINUTES:
            raise PluginSettingsError(f"{at}.every: {each.every}: minutes from {LEAST_MINUTES} to {MOST_MINUTES}")
        if not 1 <= each.timeout <= MOST_TIMEOUT:
            raise PluginSettingsError(f"{at}.timeout: {each.timeout:g}: seconds from 1 to {MOST_TIMEOUT}")
    return found
