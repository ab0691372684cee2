"""The ``plugins`` document: monitoring plugins (exit code, text, performance data) and their answers.

Any program that keeps to the Monitoring Plugins' form is run unchanged: without a shell, without standing input, in
the C locale, for as long as its settings allow, and only so much of its output is read.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from forestall.agent.collect.host import Denied, Host, HostError, ProgramMissing, TimedOut
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.plugin_memory import MEMORY
from forestall.agent.collect.plugin_output import parse_output
from forestall.agent.collect.plugin_settings import (
    PluginSetting,
    PluginSettingsError,
    load_settings,
    settings_file,
    written_by_others,
)
from forestall.agent.collect.redaction import redact
from forestall.wire.facts import PluginRun, Plugins

ROUND_SECONDS = 180.0
"""Most that one round of all plugins may take; those left over come first in the next."""
SLACK = timedelta(seconds=30)
"""A round comes every five minutes, never to the second."""
MOST_OUTPUT_BYTES = 64 * 1024


def collect(host: Host, before: Mapping[str, Mapping[str, Any]] | None = None) -> Plugins:
    """Run what is due. ``before``: how they last answered (None: as this agent remembers)."""
    notes = Notes(host)
    try:
        path = settings_file(host)
        settings = load_settings(host)
    except (PluginSettingsError, HostError) as error:
        notes.gap("the plugins", str(error))
        return Plugins(sources=notes.sources, gaps=notes.gaps)
    if path is None:
        return Plugins(sources=("plugins.toml: none on this device",))
    notes.used(path)
    last = {name: msgspec.convert(dict(run), PluginRun) for name, run in (before or MEMORY.runs).items()}
    ran: dict[str, PluginRun] = {}
    began = time.monotonic()
    for setting in sorted(settings, key=lambda each: last[each.name].at.timestamp() if each.name in last else 0.0):
        old = last.get(setting.name)
        if old is not None and not _due(setting, old, host):
            ran[setting.name] = old
        elif time.monotonic() - began + setting.timeout > ROUND_SECONDS + setting.timeout:
            notes.gap(
                f"plugin {setting.name}", f"not run: the others took {ROUND_SECONDS:g} s; it comes first next time"
            )
            if old is not None:
                ran[setting.name] = old
        else:
            ran[setting.name] = run_plugin(setting, host)
    runs = tuple(ran[setting.name] for setting in settings if setting.name in ran)
    return Plugins(runs=runs, sources=notes.sources, gaps=notes.gaps)


def _due(setting: PluginSetting, old: PluginRun, host: Host) -> bool:
    changed = old.command != _command(setting) or old.warn_words != setting.warn_words
    age = host.now() - old.at
    return changed or age < timedelta(0) or age + SLACK >= timedelta(minutes=setting.every)


def run_plugin(setting: PluginSetting, host: Host) -> PluginRun:
    """Run one plugin to its end, or until its time is over."""
    at = host.now()
    began = time.monotonic()
    exit_code: int | None = None
    output = trouble = ""
    try:
        why = written_by_others(host, setting.command[0])
        if why:
            trouble = f"{setting.command[0]} {why}"
        else:
            result = host.run(setting.command, timeout=setting.timeout, most_bytes=MOST_OUTPUT_BYTES)
            output = result.stdout if result.stdout.strip() else result.stderr
            if result.exit_code < 0:
                trouble = f"ended by signal {-result.exit_code}"
            else:
                exit_code = result.exit_code
    except TimedOut:
        trouble = f"not done within {setting.timeout:g} s"
    except ProgramMissing:
        trouble = f"not found: {setting.command[0]}"
    except Denied as error:
        trouble = f"could not be run: {error.why}"
    except HostError as error:
        trouble = error.why
    parsed = parse_output(redact(output))
    if parsed.unread and not trouble:
        trouble = f"performance data not read: {', '.join(parsed.unread)}"[:300]
    return PluginRun(
        name=setting.name, command=_command(setting), exit_code=exit_code, text=parsed.text,
        long_text=parsed.long_text, performance=parsed.performance, at=at,
        seconds=round(time.monotonic() - began, 2), trouble=trouble, every_seconds=setting.every * 60,
        warn_words=setting.warn_words,
    )  # fmt: skip


def _command(setting: PluginSetting) -> str:
    return redact(" ".join(setting.command))[:500]
