"""The ``assessments`` document: what other auditing tools found on this device, as they left it.

Lynis leaves its report in /var/log; OpenSCAP's results are looked for where people keep them. They are further
evidence: no check of ours rests on them. XML is read here, never on the server, by a parser that refuses document types
and entities and is bounded in size, depth and number.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal
from xml.parsers import expat

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Assessment, AssessmentFinding, Assessments

LYNIS = "/var/log/lynis-report.dat"
OPENSCAP = ("/var/log/openscap/*.xml", "/var/lib/openscap/*.xml", "/var/tmp/openscap/*.xml")  # noqa: S108 - reads only
MAX_XML_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 100
MOST_FINDINGS = 3000
MAX_TEXT = 300

Outcome = Literal["pass", "fail", "warning", "suggestion", "error", "unknown", "not_applicable", "not_checked"]
OUTCOMES: dict[str, Outcome] = {
    "pass": "pass", "fixed": "pass", "fail": "fail", "error": "error", "unknown": "unknown",
    "notapplicable": "not_applicable", "notchecked": "not_checked", "notselected": "not_checked",
    "informational": "suggestion",
}  # fmt: skip
"""XCCDF's results (NISTIR 7275, table 26) in our words."""


class AssessmentError(ValueError):
    """A report that cannot be read. ``line`` 0: the file as a whole."""

    def __init__(self, why: str, line: int = 0) -> None:
        super().__init__(why)
        self.why = why
        self.line = line


def collect(host: Host) -> Assessments:
    notes = Notes(host)
    found: list[Assessment] = []
    notes.used(LYNIS)
    try:
        text = host.read_text(LYNIS)
    except HostError as error:
        if not error.why.endswith("does not exist"):
            notes.gap("report of Lynis", error.why)
    else:
        _keep(notes, found, LYNIS, lambda: parse_lynis(text))
    for pattern in OPENSCAP:
        for path in host.glob(pattern):
            try:
                data = host.read_bytes(path, limit=MAX_XML_BYTES + 1)
            except HostError as error:
                notes.gap(f"results in {path}", error.why)
                continue
            notes.used(path)
            _keep(notes, found, path, lambda data=data: parse_xccdf(data))  # type: ignore[misc]
    return Assessments(assessments=newest(found), sources=notes.sources, gaps=notes.gaps)


def _keep(notes: Notes, found: list[Assessment], path: str, read: Callable[[], Assessment]) -> None:
    try:
        found.append(read())
    except AssessmentError as error:
        notes.gap(f"results in {path}", error.why)


def newest(found: list[Assessment]) -> tuple[Assessment, ...]:
    """The last run of each tool and profile."""
    last: dict[tuple[str, str], Assessment] = {}
    never = datetime.min.replace(tzinfo=UTC)
    for one in found:
        key = (one.tool, one.profile)
        if key not in last or (one.at or never) >= (last[key].at or never):
            last[key] = one
    return tuple(last[key] for key in sorted(last))


def parse_lynis(text: str) -> Assessment:
    """Lynis' ``lynis-report.dat``. AssessmentError when it is not that.

    It lists what was wrong and the tests that ran; a test that ran and is not complained of passed.
    """
    values: dict[str, str] = {}
    findings: dict[str, AssessmentFinding] = {}
    details: dict[str, list[str]] = {}
    executed: list[str] = []
    skipped: list[str] = []
    for raw in text.splitlines():
        name, equals, value = raw.partition("=")
        if not equals:
            continue
        if name in {"warning[]", "suggestion[]"}:
            parts = [*value.split("|"), "", "", ""]
            outcome: Outcome = "warning" if name.startswith("warning") else "suggestion"
            more = " ".join(part for part in parts[2:4] if part not in {"", "-"}).removeprefix("text:")
            key = f"{parts[0]} {parts[1]}"
            findings[key] = AssessmentFinding(
                id=parts[0][:100], title=parts[1][:MAX_TEXT], result=outcome, detail=more[:MAX_TEXT]
            )
        elif name == "details[]":
            # KRNL-6000|sysctl|desc:sysctl key kernel.core_uses_pid …;field:…;prefval:1;value:0;|
            parts = value.split("|")
            if len(parts) >= 3:
                fields = dict(pair.split(":", 1) for pair in parts[2].split(";") if ":" in pair)
                said = fields.get("field") or fields.get("desc", "")
                wanted = (
                    f" is {fields['value']}, wanted {fields['prefval']}"
                    if {"value", "prefval"} <= fields.keys()
                    else ""
                )
                details.setdefault(parts[0], []).append(f"{said}{wanted}")
        elif name == "tests_executed":
            executed = [one for one in value.split("|") if one]
        elif name == "tests_skipped":
            skipped = [one for one in value.split("|") if one]
        else:
            values.setdefault(name, value)
    if "lynis_version" not in values:
        raise AssessmentError("is no report of Lynis: it has no lynis_version")
    for key, one in list(findings.items()):
        if one.id in details:
            told = "; ".join(details[one.id])
            findings[key] = AssessmentFinding(id=one.id, title=one.title, result=one.result, detail=told[:2000])
    complained = {one.id for one in findings.values()}
    listed = list(findings.values())
    listed += [AssessmentFinding(id=one, result="pass") for one in executed if one not in complained]
    listed += [AssessmentFinding(id=one, result="not_applicable") for one in skipped if one not in complained]
    index = values.get("hardening_index", "")
    return Assessment(
        tool="lynis",
        version=values["lynis_version"],
        at=_lynis_time(values.get("report_datetime_end") or values.get("report_datetime_start", "")),
        score=float(index) if re.fullmatch(r"\d{1,3}", index) else None,
        findings=tuple(listed[:MOST_FINDINGS]),
    )


def _lynis_time(text: str) -> datetime | None:
    try:
        # Lynis writes local time without its zone; agents run it in UTC, and so it is taken.
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


class _Xccdf:
    """Handlers of expat: rules with their titles, then the (last) test result."""

    def __init__(self) -> None:
        self.depth = 0
        self.rule = ""
        self.rule_depth = 0
        self.titles: dict[str, str] = {}
        self.severities: dict[str, str] = {}
        self.text: list[str] | None = None
        self.taking = ""
        self.result: tuple[str, str] | None = None
        self.findings: dict[str, tuple[str, str]] = {}
        self.profile = ""
        self.at = ""
        self.version = ""
        self.score = ""
        self.in_test = False
        self.seen_test = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise AssessmentError("is nested too deeply")
        local = name.rpartition("}")[2]
        if local == "Rule":
            self.rule, self.rule_depth = attributes.get("id", ""), self.depth
            self.severities[self.rule] = attributes.get("severity", "")
        elif local == "title" and self.rule and self.depth == self.rule_depth + 1:
            self.text, self.taking = [], "title"
        elif local == "TestResult":
            self.in_test = self.seen_test = True
            self.findings, self.score = {}, ""
            self.at = attributes.get("end-time") or attributes.get("start-time", "")
            self.version = attributes.get("test-system", "")
        elif self.in_test and local == "profile":
            self.profile = attributes.get("idref", "")
        elif self.in_test and local == "rule-result":
            self.result = (attributes.get("idref", ""), attributes.get("severity", ""))
        elif self.result is not None and local == "result":
            self.text, self.taking = [], "result"
        elif self.in_test and local == "score":
            self.text, self.taking = [], "score"

    def characters(self, data: str) -> None:
        if self.text is not None and len(self.text) < 1000:
            self.text.append(data)

    def end(self, name: str) -> None:
        local = name.rpartition("}")[2]
        if self.text is not None and local == self.taking:
            said = " ".join("".join(self.text).split())
            if self.taking == "title":
                self.titles.setdefault(self.rule, said[:MAX_TEXT])
            elif self.taking == "result" and self.result is not None:
                self.findings[self.result[0]] = (said, self.result[1])
            elif self.taking == "score":
                self.score = self.score or said
            self.text = None
        if local == "Rule" and self.depth == self.rule_depth:
            self.rule = ""
        elif local == "rule-result":
            self.result = None
        elif local == "TestResult":
            self.in_test = False
        self.depth -= 1


def parse_xccdf(data: bytes) -> Assessment:
    """Results of OpenSCAP: XCCDF 1.2 (``--results``) or ARF (``--results-arf``). AssessmentError when it is not that,
    when it declares a document type or an entity, and beyond the bounds."""
    if len(data) > MAX_XML_BYTES:
        raise AssessmentError(f"is larger than {MAX_XML_BYTES:,} bytes")
    reading = _Xccdf()
    parser = expat.ParserCreate(namespace_separator="}")

    def refuse(*_: Any) -> Any:
        raise AssessmentError("declares a document type or an entity, which no results do", parser.CurrentLineNumber)

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    parser.StartElementHandler = reading.start
    parser.EndElementHandler = reading.end
    parser.CharacterDataHandler = reading.characters
    try:
        parser.Parse(data, True)  # noqa: FBT003 - expat has no name for it
    except expat.ExpatError as error:
        raise AssessmentError(f"is not whole XML: {error}", error.lineno) from None
    if not reading.seen_test:
        raise AssessmentError("holds no results: there is no TestResult in it")
    findings = [
        AssessmentFinding(
            id=rule[:200],
            title=reading.titles.get(rule, "")[:MAX_TEXT],
            result=OUTCOMES.get(result, "unknown"),
            severity=severity or reading.severities.get(rule, ""),
        )
        for rule, (result, severity) in reading.findings.items()
        if result != "notselected"
    ]
    return Assessment(
        tool="openscap",
        version=reading.version.rpartition(":")[2],
        profile=reading.profile,
        at=_time(reading.at),
        score=_number(reading.score),
        findings=tuple(findings[:MOST_FINDINGS]),
    )


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if 0 <= found <= 100 else None
