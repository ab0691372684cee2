"""Sophos Anti-Virus for Linux: ``savdstatus`` and ``savdstatus --version``."""

from __future__ import annotations

from forestall.agent.collect.antivirus.common import fields_of, installed, moment, reading_of
from forestall.agent.collect.captures.capture import Reading
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import AntivirusProduct

NAME = "Sophos Anti-Virus"
PROGRAM = "/opt/sophos-av/bin/savdstatus"
NEWER = "/opt/sophos-spl"


def find(notes: Notes) -> AntivirusProduct | None:
    program = installed(notes, PROGRAM, "savdstatus")
    if program is None:
        if not notes.host.glob(NEWER):
            return None
        # The newer product has no program that tells its state to others.
        from forestall.agent.collect.processes import processes, runs

        return AntivirusProduct(
            name="Sophos Protection for Linux", service="sophos-spl",
            running=runs(notes.host, list(processes(notes.host)), "sophos_managementagent", "sophos_watchdog"),
            unknown_why="it tells its state to Sophos Central alone",
        )  # fmt: skip
    text = ""
    for words in ([], ["--version"]):
        result = notes.run([program, *words], timeout=30)
        text += f"{result.stdout}\n" if result is not None else ""
    product = read(reading_of("savdstatus", text))
    return product or AntivirusProduct(name=NAME, service="sav-protect", unknown_why="savdstatus does not answer")


def read(reading: Reading) -> AntivirusProduct | None:
    """What savdstatus says; None when it is none."""
    running: bool | None = None
    on_access: bool | None = None
    for line in [*reading]:
        text = line.text.strip()
        if text.startswith("On-access scanning is "):
            on_access = "not" not in text and "running" in text
            reading.take(line)
        elif text.startswith("Sophos Anti-Virus is "):
            running = "not" not in text and "inactive" not in text and "active" in text
            reading.take(line)
        elif text.startswith("Copyright"):
            reading.take(line)
    fields = fields_of(reading)
    version = fields.get("Sophos Anti-Virus", "")
    if running is None and on_access is None and not version:
        return None
    return AntivirusProduct(
        name=NAME,
        version=version,
        running=running,
        # "active" means that on-access scanning is on; newer builds say it in a line of its own.
        real_time=on_access if on_access is not None else running,
        definitions_version=fields.get("Threat data", ""),
        definitions_at=moment(fields.get("Last update", "")) or moment(fields.get("Threat data release", "")),
        engine_version=fields.get("Threat detection engine", ""),
        service="sav-protect",
    )
