"""What antivirus products say of themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from forestall.agent.collect import windows_storage
from forestall.agent.collect.antivirus import (
    bitdefender,
    clamav,
    cortex,
    crowdstrike,
    defender,
    eset,
    sentinelone,
    sophos,
)
from forestall.agent.collect.antivirus.common import fields_of, moment
from forestall.agent.collect.captures.capture import (
    Capture,
    CapturedFile,
    CaptureError,
    Parsed,
    Reading,
    Unread,
    read_each,
)
from forestall.wire.facts import Antivirus, AntivirusProduct, Detection

_EMPTY: tuple[Any, ...] = (None, "", (), [])


def _together(products: list[AntivirusProduct]) -> Antivirus:
    """One product a name: what several outputs say of it, put together; the first that says something wins."""
    found: dict[str, AntivirusProduct] = {}
    for product in products:
        before = found.get(product.name)
        if before is None:
            found[product.name] = product
            continue
        more = {
            field: getattr(product, field)
            for field in product.__struct_fields__
            if getattr(before, field) in _EMPTY and getattr(product, field) not in _EMPTY
        }
        found[product.name] = msgspec.structs.replace(before, **more)
    return Antivirus(products=tuple(found.values()))


def _text(read: Callable[[Reading], AntivirusProduct | None], what: str) -> Callable[[Sequence[CapturedFile]], Parsed]:
    def one(file: CapturedFile) -> tuple[list[AntivirusProduct], Sequence[Unread]]:
        reading = Reading(file)
        product = read(reading)
        if product is None:
            raise CaptureError(file.name, 0, f"is no output of {what}")
        return [product], reading.unread()

    return lambda files: read_each(files, one, _together)


def _clamav(file: CapturedFile) -> tuple[list[AntivirusProduct], Sequence[Unread]]:
    if file.data.startswith(b"ClamAV-VDB:"):
        try:
            number, header = clamav.parse_definitions_header(file.data)
        except ValueError as error:
            raise CaptureError(file.name, 1, str(error)) from None
        return [AntivirusProduct(name=clamav.NAME, definitions_version=number, definitions_at=header)], ()
    reading = Reading(file)
    text = "\n".join(line.text for line in reading)
    version = clamav.parse_version(text)
    dated = [path for path in text.splitlines()[:1] if version and path.count("/") >= 2]
    end = clamav.parse_scan_end(text)
    found = clamav.parse_log(text)
    settings = clamav.parse_settings(text) if "DatabaseDirectory " in text or "ExcludePath " in text else []
    if not (version or end or found or settings or "SCAN SUMMARY" in text or "clamd daemon" in text):
        raise CaptureError(file.name, 0, "is no database, version, log or clamd.conf of ClamAV")
    for line in reading:
        if settings or line.text.startswith(
            ("ClamAV ", "---", "Known viruses", "Engine version", "Scanned ", "Infected files", "Data ", "Time:",
             "Start Date", "End Date", "Total errors")
        ) or line.text.endswith((" OK", " FOUND", ": Empty file", ": Excluded")) or " -> " in line.text or (
            ": moved to" in line.text or line.text.endswith(": Removed.")
        ):  # fmt: skip
            reading.take(line)
    built: datetime | None = None
    number = ""
    if dated:
        number, _, stamp = dated[0].partition("/")[2].partition("/")
        built = moment(stamp)
    product = AntivirusProduct(
        name=clamav.NAME,
        version=version,
        definitions_version=number,
        definitions_at=built,
        last_scan_at=end.replace(tzinfo=UTC) if end else None,
        exclusions=tuple(value for name, value in settings if "ExcludePath" in name) if settings else None,
        detections=tuple(
            Detection(name=name, path=path, at=at.replace(tzinfo=UTC) if at else None, action="found")
            for path, name, at in reversed(found)
        )[:50],
    )
    return [product], reading.unread()


def _defender(file: CapturedFile) -> tuple[list[AntivirusProduct], Sequence[Unread]]:
    unread: Sequence[Unread] = ()
    rows: list[Any]
    if file.text().lstrip().startswith(("{", "[")):
        value = file.json()
        rows = value if isinstance(value, list) else [value]
    else:
        reading = Reading(file)
        rows = [fields_of(reading)]
        if "AMEngineVersion" not in rows[0] and "engine_version" not in rows[0]:
            rows = list(windows_storage.properties(Reading(file)))
        unread = reading.unread()
    for row in rows:
        product = defender.of_health(row) or defender.of_computer_status(row)
        if product is not None:
            return [product], unread
        exclusions = defender.exclusions_of(row)
        if exclusions is not None:
            return [AntivirusProduct(name=defender.NAME, exclusions=exclusions)], unread
    detections = defender.of_threats(rows if len(rows) != 1 else rows[0])
    if detections:
        return [AntivirusProduct(name=defender.NAME, detections=detections)], unread
    raise CaptureError(file.name, 0, "is no output of mdatp health, Get-MpComputerStatus or its sisters")


def _security_center(file: CapturedFile) -> tuple[list[AntivirusProduct], Sequence[Unread]]:
    unread: Sequence[Unread] = ()
    if file.text().lstrip().startswith(("{", "[")):
        rows: Sequence[Any] = windows_storage.rows_of(file.json())
    else:
        reading = Reading(file)
        rows = windows_storage.properties(reading)
        unread = reading.unread()
    products = []
    for row in rows:
        name, state = str(row.get("displayName") or ""), str(row.get("productState") or "")
        if not name or not state.isdigit():
            continue
        number = int(state)
        # Second byte: 0x10 and 0x11 on, 0x00 and 0x01 off, 0x20 and 0x21 snoozed; third byte: 0x10 out of date.
        on, old = number >> 8 & 0xFF, number & 0xFF
        products.append(
            AntivirusProduct(
                name=name, running=on & 0x10 != 0, real_time=on & 0x10 != 0, definitions_current=old == 0,
                status="snoozed" if on & 0x20 else "",
            )
        )  # fmt: skip
    if not products:
        raise CaptureError(file.name, 0, "has no AntiVirusProduct of Windows' Security Center")
    return products, unread


CAPTURES: tuple[Capture, ...] = (
    Capture(
        name="clamav",
        title="ClamAV",
        document=Antivirus,
        files="output of `clamscan --version`, a log of clamscan or clamd, clamd.conf, or a database (daily.cvd)",
        read=lambda files: read_each(files, _clamav, _together),
    ),
    Capture(
        name="defender",
        title="Microsoft Defender",
        document=Antivirus,
        files="output of `mdatp health --output json`, `Get-MpComputerStatus | ConvertTo-Json`, `Get-MpPreference`, "
        "`Get-MpThreatDetection`",
        read=lambda files: read_each(files, _defender, _together),
    ),
    Capture(
        name="windows-security-center",
        title="Antivirus as Windows lists it",
        document=Antivirus,
        files="output of `wmic /namespace:\\\\root\\SecurityCenter2 path AntiVirusProduct get /value`, or JSON",
        read=lambda files: read_each(files, _security_center, _together),
    ),
    Capture(
        name="sophos", title="Sophos Anti-Virus", document=Antivirus,
        files="output of `savdstatus` and `savdstatus --version`", read=_text(sophos.read, "savdstatus"),
    ),
    Capture(
        name="eset", title="ESET for Linux", document=Antivirus,
        files="output of `/opt/eset/efs/bin/upd --list-modules`", read=_text(eset.read, "ESET's upd"),
    ),
    Capture(
        name="bitdefender", title="Bitdefender Endpoint Security Tools", document=Antivirus,
        files="output of `bduitool get ps`", read=_text(bitdefender.read, "bduitool"),
    ),
    Capture(
        name="sentinelone", title="SentinelOne", document=Antivirus,
        files="outputs of `sentinelctl version`, `engines status`, `control status`, `management status`, or `status`",
        read=_text(sentinelone.read, "sentinelctl"),
    ),
    Capture(
        name="crowdstrike", title="CrowdStrike Falcon", document=Antivirus,
        files="output of `falconctl -g --aid --version --rfm-state --rfm-reason`, or `falconctl stats`",
        read=_text(crowdstrike.read, "falconctl"),
    ),
    Capture(
        name="cortex", title="Cortex XDR", document=Antivirus,
        files="outputs of `cytool runtime query` and `cytool info query`", read=_text(cortex.read, "cytool"),
    ),
)  # fmt: skip
