"""CrowdStrike Falcon: ``falconctl -g --aid --version --rfm-state --rfm-reason``, and ``falconctl stats`` on macOS."""

from __future__ import annotations

import re

from forestall.agent.collect.antivirus.common import fields_of, installed, reading_of, whole_text, yes
from forestall.agent.collect.captures.capture import Reading
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.processes import processes, runs
from forestall.wire.facts import AntivirusProduct

NAME = "CrowdStrike Falcon"
PROGRAM = "/opt/CrowdStrike/falconctl"


def find(notes: Notes) -> AntivirusProduct | None:
    program = installed(notes, PROGRAM, "falconctl")
    if program is None:
        return None
    text = whole_text(
        notes, [program, "-g", "--aid", "--version", "--rfm-state", "--rfm-reason"], "state of CrowdStrike Falcon"
    )
    product = read(reading_of("falconctl", text)) if text else None
    if product is None:
        product = AntivirusProduct(name=NAME, service="falcon-sensor", unknown_why="falconctl does not answer")
    import msgspec

    return msgspec.structs.replace(product, running=runs(notes.host, list(processes(notes.host)), "falcon-sensor"))


def read(reading: Reading) -> AntivirusProduct | None:
    """The answer of falconctl; None when it is none. It does not say whether the sensor runs, except on macOS."""
    text = "\n".join(line.text for line in reading)
    pairs = dict(
        re.findall(
            r"\b(cid|aid|version|rfm-state|rfm-reason|backend|tags)\s*=\s*\"?([^\",\n]*?)\"?[.,]?\s*(?=[,\n]|$)", text
        )
    )
    fields: dict[str, str] = {}
    if pairs:
        for line in reading:
            if re.search(r"\b(cid|aid|version|rfm-state|rfm-reason|backend|tags)\b", line.text):
                reading.take(line)
    else:
        fields = fields_of(reading)
        for line in reading:
            if re.match(r"^=== .* ===$", line.text.strip()):
                reading.take(line)
    version = pairs.get("version") or (fields.get("version", "") if "agentID" in fields else "")
    if not version and "aid" not in pairs:
        return None
    reduced = yes(pairs.get("rfm-state", ""))
    operational = yes(fields.get("Sensor operational", "")) if fields else None
    cloud = fields.get("State", "") or fields.get("Cloud State", "")
    return AntivirusProduct(
        name=NAME,
        version=version.strip(),
        running=operational,
        real_time=operational if reduced is None else not reduced,
        service="falcon-sensor",
        managed=yes(cloud) if cloud else bool(pairs.get("aid", "").strip()) if "aid" in pairs else None,
        status=f"reduced functionality: {pairs.get('rfm-reason', '') or 'the kernel is not supported'}"
        if reduced
        else "",
    )
