"""Bitdefender Endpoint Security Tools: ``bduitool get ps``."""

from __future__ import annotations

from forestall.agent.collect.antivirus.common import fields_of, installed, moment, reading_of, whole_text, yes
from forestall.agent.collect.captures.capture import Reading
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import AntivirusProduct

NAME = "Bitdefender Endpoint Security Tools"
PROGRAM = "/opt/bitdefender-security-tools/bin/bduitool"


def find(notes: Notes) -> AntivirusProduct | None:
    program = installed(notes, PROGRAM, "bduitool")
    if program is None:
        return None
    text = whole_text(notes, [program, "get", "ps"], "state of Bitdefender")
    product = read(reading_of("bduitool", text)) if text else None
    return product or AntivirusProduct(name=NAME, service="bdsec", unknown_why="bduitool does not answer")


def read(reading: Reading) -> AntivirusProduct | None:
    """The answer of ``bduitool get ps``; None when it is none."""
    fields = fields_of(reading)
    if "Product version" not in fields or "Engines version" not in fields:
        return None
    for line in reading:
        if line.text.strip() == "Features:":
            reading.take(line)
    newer = yes(fields.get("New security content available", ""))
    watching = yes(fields.get("Antimalware status", ""))
    return AntivirusProduct(
        name=NAME,
        version=fields["Product version"],
        running=watching,
        real_time=watching,
        definitions_version=fields["Engines version"],
        definitions_at=moment(fields.get("Last security content update", "")),
        engine_version=fields["Engines version"],
        engine_at=moment(fields.get("Last product update", "")),
        service="bdsec",
        definitions_current=None if newer is None else not newer,
    )
