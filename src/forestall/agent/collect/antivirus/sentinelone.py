"""SentinelOne: ``sentinelctl version``, ``engines status``, ``control status``, ``management status``; ``status``."""

from __future__ import annotations

import re

from forestall.agent.collect.antivirus.common import fields_of, installed, reading_of, yes
from forestall.agent.collect.captures.capture import Reading
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import AntivirusProduct

NAME = "SentinelOne"
PROGRAM = "/opt/sentinelone/bin/sentinelctl"
_COLUMNS = re.compile(r"^\s*(\S[^:]*?)(?:\s{2,}|\t)(\S.*?)\s*$")
_HEADINGS = re.compile(
    r"^\s*(Agent|Command|Daemons|Services|Integrity|Launchd|Management|Assets|Global assets|Missing Auth.*:)\s*$"
)
_VERSION = re.compile(r"^SentinelOne (\d+(?:\.\d+)+)\s*$")


def find(notes: Notes) -> AntivirusProduct | None:
    program = installed(notes, PROGRAM, "sentinelctl")
    if program is None:
        return None
    text = ""
    for words in (["version"], ["engines", "status"], ["control", "status"], ["management", "status"]):
        result = notes.run([program, *words], timeout=30)
        text += f"{result.stdout}\n" if result is not None else ""
    product = read(reading_of("sentinelctl", text))
    return product or AntivirusProduct(name=NAME, service="sentinelone", unknown_why="sentinelctl does not answer")


def read(reading: Reading) -> AntivirusProduct | None:
    """Outputs of sentinelctl, one after another; None when there is none."""
    fields: dict[str, str] = {}
    version = ""
    for line in [*reading]:
        text = line.text
        if match := _VERSION.match(text.strip()):
            version = match[1]
            reading.take(line)
        elif (match := _COLUMNS.match(text)) and not re.match(r"^\s*[^:]{2,40}:\s", text):
            fields.setdefault(match[1].strip(), match[2].strip())
            reading.take(line)
        elif _HEADINGS.match(text):
            reading.take(line)
    for name, value in fields_of(reading).items():
        fields.setdefault(name, value)
    version = fields.get("Agent version") or fields.get("Version") or version
    known = ("Agent version", "Agent state", "SentinelCTL version", "Agent Operational State", "Anti Tamper")
    if not version or not (any(name in fields for name in known) or _only_version(reading)):
        return None
    state = fields.get("Agent state") or fields.get("Agent Operational State") or ""
    infected = yes(fields.get("Infected", ""))
    connected = yes(fields.get("Connectivity", fields.get("Connected", "")))
    protection = yes(fields.get("Protection", "")) if "Protection" in fields else yes(state)
    return AntivirusProduct(
        name=NAME,
        version=version,
        running=yes(state) if state else None,
        real_time=protection,
        engine_version=fields.get("DFI library version", ""),
        service="sentinelone",
        tamper_protection=yes(fields.get("Anti Tamper", "")) if "Anti Tamper" in fields
        else yes(fields.get("Authentication", "")),
        managed=connected,
        status="it calls this machine infected" if infected else "",
    )  # fmt: skip


def _only_version(reading: Reading) -> bool:
    return any(_VERSION.match(line.text.strip()) for line in reading)
