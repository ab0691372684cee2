"""ESET Server Security and Endpoint Antivirus for Linux: ``upd --list-modules``."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from forestall.agent.collect.antivirus.common import installed, reading_of, whole_text
from forestall.agent.collect.captures.capture import Reading
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.processes import processes, runs
from forestall.wire.facts import AntivirusProduct

NAME = "ESET"
PROGRAMS = ("/opt/eset/efs/bin/upd", "/opt/eset/eea/bin/upd", "/opt/eset/esets/sbin/esets_update")
_MODULE = re.compile(r"^\s*(EM\d{3}(?:_\w+)?)\s+([\w.]+)\s+\((\d{8})\)\s*(.*?)\s*$")
_VERSION = re.compile(r"\((efs|eea)\)\s+(\d+(?:\.\d+)+)|^(?:ESET [A-Za-z ]+?)\s+(\d+(?:\.\d+)+)")


def find(notes: Notes) -> AntivirusProduct | None:
    program = installed(notes, *PROGRAMS)
    if program is None:
        return None
    text = whole_text(notes, [program, "--list-modules"], "modules of ESET") or ""
    product = read(reading_of("upd", text)) or AntivirusProduct(
        name=NAME, unknown_why="its update tool does not answer"
    )
    import msgspec

    running = list(processes(notes.host))
    return msgspec.structs.replace(
        product, running=runs(notes.host, running, "startd", "scand"), real_time=runs(notes.host, running, "oaeventd"),
        service="eea" if "/eea/" in program else "efs",
    )  # fmt: skip


def read(reading: Reading) -> AntivirusProduct | None:
    """The list of modules; None when it is none. Whether ESET runs is not in it."""
    modules: dict[str, tuple[str, str]] = {}
    version = ""
    for line in [*reading]:
        if match := _MODULE.match(line.text):
            modules[match[4] or match[1]] = (match[2], match[3])
            reading.take(line)
        elif match := _VERSION.search(line.text):
            version = match[2] or match[3]
            reading.take(line)
    if not modules:
        return None
    engine = next((each for name, each in modules.items() if "detection engine" in name.lower()), None)
    scanner = next((each for name, each in modules.items() if "antivirus and antispyware scanner" in name.lower()
                    or "scanner" in name.lower()), None)  # fmt: skip
    return AntivirusProduct(
        name=NAME,
        version=version,
        definitions_version=engine[0] if engine else "",
        definitions_at=_day(engine[1]) if engine else None,
        engine_version=scanner[0] if scanner else "",
        engine_at=_day(scanner[1]) if scanner else None,
        service="efs",
    )


def _day(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return None
