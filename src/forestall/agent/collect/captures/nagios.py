"""Outputs of monitoring plugins, and the status files of Nagios and Icinga 1 that hold many of them.

A plugin's own output says nothing of its exit code; its first word does by custom (``LOAD OK - …``), and where it does
not, there is no exit code.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from forestall.agent.collect.captures.capture import (
    Capture,
    CapturedFile,
    CaptureError,
    Parsed,
    Reading,
    Unread,
    read_each,
)
from forestall.agent.collect.plugin_output import parse_output, parse_performance
from forestall.agent.collect.redaction import redact
from forestall.wire.facts import PluginRun, Plugins

STATES = {"OK": 0, "UP": 0, "WARNING": 1, "CRITICAL": 2, "DOWN": 2, "UNREACHABLE": 2, "UNKNOWN": 3}
_WORD = re.compile(r"\b(OK|WARNING|CRITICAL|UNKNOWN)\b")
_ENTRY = re.compile(r"\[(\d+)\] (SERVICE|HOST|PROGRAM);(.*)")
_UNTIMED = datetime(1970, 1, 1, tzinfo=UTC)
"""A saved output does not say when it was made."""


def _read(file: CapturedFile) -> tuple[Sequence[PluginRun], Sequence[Unread]]:
    reading = Reading(file)
    first = next((line.text.strip() for line in reading if line.text.strip()), "")
    if not first:
        raise CaptureError(file.name, 0, "is empty")
    if any(_ENTRY.match(line.text) for line in reading):
        return _status_log(reading)
    if any(re.match(r"\s*(service|host)status\s*\{", line.text) for line in reading):
        return _status_dat(reading)
    return _plain(reading)


def _plain(reading: Reading) -> tuple[Sequence[PluginRun], Sequence[Unread]]:
    """One plugin's output: as it is printed, whole."""
    parsed = parse_output("\n".join(line.text for line in reading).strip("\n"))
    match = _WORD.search(parsed.text)
    if match is None and not parsed.performance:
        raise CaptureError(
            reading.file.name, 1, "is no plugin's output: no OK, WARNING, CRITICAL or UNKNOWN and no performance data"
        )
    run = PluginRun(
        name=reading.file.name.rpartition("/")[2],
        exit_code=STATES[match[1]] if match else None,
        text=redact(parsed.text),
        long_text=redact(parsed.long_text), performance=parsed.performance, at=_UNTIMED,
        trouble="" if match else "the saved output does not say how the plugin ended",
    )  # fmt: skip
    odd = tuple(
        Unread(reading.file.name, _line_of(reading, word), word, "no performance value") for word in parsed.unread
    )
    return [run], odd


def _line_of(reading: Reading, word: str) -> int:
    return next((line.number for line in reading if word in line.text), 0)


def _status_log(reading: Reading) -> tuple[Sequence[PluginRun], Sequence[Unread]]:
    """``status.log`` of Nagios 1: fields divided by semicolons, the plugin's text last."""
    runs = []
    for line in reading:
        if not line.text.strip() or line.text.startswith("#"):
            reading.take(line)
            continue
        match = _ENTRY.match(line.text)
        if match is None:
            continue
        kind, fields = match[2], match[3].split(";")
        if kind == "PROGRAM":
            reading.take(line)
            continue
        least = 31 if kind == "SERVICE" else 20
        if len(fields) < least:
            reading.odd(line, f"{len(fields)} fields where a {kind.lower()} has {least}")
            continue
        reading.take(line)
        service = kind == "SERVICE"
        name = f"{fields[0]}/{fields[1]}" if service else fields[0]
        state, checked = (fields[2], fields[5]) if service else (fields[1], fields[2])
        text = ";".join(fields[least - 1 :])
        runs.append(_run(name, STATES.get(state), state, checked, text, "", ""))
    return runs, reading.unread("no line of a status log")


def _status_dat(reading: Reading) -> tuple[Sequence[PluginRun], Sequence[Unread]]:
    """``status.dat`` of Nagios 3 and 4 and of Icinga 1: blocks of ``name=value``."""
    runs: list[PluginRun] = []
    block = ""
    values: dict[str, str] = {}
    for line in reading:
        text = line.text.strip()
        if not text or text.startswith("#"):
            reading.take(line)
        elif text.endswith("{"):
            block, values = text[:-1].strip(), {}
            reading.take(line)
        elif text == "}":
            reading.take(line)
            if block in {"servicestatus", "hoststatus"}:
                name = "/".join(values[key] for key in ("host_name", "service_description") if values.get(key))
                state = values.get("current_state", "")
                code = int(state) if state in {"0", "1", "2", "3"} else None
                if block == "hoststatus" and code is not None:
                    code = 2 if code else 0
                if not name:
                    reading.odd(line, "a block without host_name")
                else:
                    runs.append(
                        _run(
                            name, code if values.get("has_been_checked", "1") == "1" else None, state,
                            values.get("last_check", ""), values.get("plugin_output", ""),
                            values.get("long_plugin_output", ""), values.get("performance_data", ""),
                            command=values.get("check_command", ""), seconds=values.get("check_execution_time", ""),
                        )
                    )  # fmt: skip
            block = ""
        elif block and "=" in text:
            key, _, value = text.partition("=")
            values[key] = value
            reading.take(line)
    return runs, reading.unread("no line of a status file")


def _run(
    name: str, exit_code: int | None, state: str, checked: str, text: str, long_text: str, performance: str, *,
    command: str = "", seconds: str = "",
) -> PluginRun:  # fmt: skip
    at = datetime.fromtimestamp(int(checked), UTC) if re.fullmatch(r"\d{1,11}", checked) else _UNTIMED
    parsed = parse_output(text)
    values = parsed.performance or parse_performance(performance)[0]
    return PluginRun(
        name=name, command=redact(command), exit_code=exit_code, text=redact(parsed.text),
        long_text=redact(long_text.replace("\\n", "\n")), performance=values, at=at,
        seconds=float(seconds) if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", seconds) else 0.0,
        trouble="" if exit_code is not None else f"state {state or 'not named'}: not checked yet",
    )  # fmt: skip


def _plugins(files: Sequence[CapturedFile]) -> Parsed:
    return read_each(files, _read, lambda runs: Plugins(runs=tuple(runs)))


CAPTURES: tuple[Capture, ...] = (
    Capture(
        name="nagios",
        title="Monitoring plugins",
        document=Plugins,
        files="the output of a plugin (`check_load -w 5 -c 10`), or `status.log` or `status.dat` of Nagios or Icinga 1",
        read=_plugins,
    ),
)
