"""Palo Alto Cortex XDR: ``cytool runtime query`` and ``cytool info query``."""

from __future__ import annotations

import re

from forestall.agent.collect.antivirus.common import fields_of, installed, reading_of
from forestall.agent.collect.captures.capture import Reading
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import AntivirusProduct

NAME = "Cortex XDR"
PROGRAM = "/opt/traps/bin/cytool"
_ROW = re.compile(r"^\s*(\S.*?)\s+(\d+)\s+(\S+)\s+(Running|Stopped|Loaded|Unloaded|Not Running|Error)\s+(\S.*?)?\s*$")


def find(notes: Notes) -> AntivirusProduct | None:
    program = installed(notes, PROGRAM, "cytool")
    if program is None:
        return None
    text = ""
    for words in (["runtime", "query"], ["info", "query"]):
        result = notes.run([program, *words], timeout=30)
        text += f"{result.stdout}\n" if result is not None else ""
    product = read(reading_of("cytool", text))
    return product or AntivirusProduct(name=NAME, service="traps_pmd", unknown_why="cytool does not answer")


def read(reading: Reading) -> AntivirusProduct | None:
    """Outputs of cytool, one after another; None when there is none."""
    rows: dict[str, str] = {}
    for line in [*reading]:
        if match := _ROW.match(line.text):
            rows[match[1].strip()] = match[4].lower()
            reading.take(line)
        elif re.match(r"^\s*Name\s+PID\s+User\s+Status", line.text):
            reading.take(line)
    fields = fields_of(reading)
    content = fields.get("Content Version", "")
    if not rows and not content:
        return None
    bad = [name for name, state in rows.items() if state not in ("running", "loaded")]
    main = rows.get("pmd")
    return AntivirusProduct(
        name=NAME,
        running=main == "running" if main is not None else None,
        real_time=not bad if rows else None,
        definitions_version=content,
        service="traps_pmd",
        status=f"does not run: {', '.join(bad)}" if bad else "",
    )
