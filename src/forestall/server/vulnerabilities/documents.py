"""Documents about a device for others: its bill of materials."""

from __future__ import annotations

from datetime import datetime

import msgspec
from django.core.exceptions import ObjectDoesNotExist

from forestall.server.inventory import queries as inventory
from forestall.server.inventory.models import Device
from forestall.server.people.scope import Scope
from forestall.server.vulnerabilities import queries, sbom


class NotReportedError(ObjectDoesNotExist):
    """The device has not reported its software yet: there is nothing to list."""


def sbom_text(*, scope: Scope, device: Device, now: datetime, vulnerabilities: bool = False) -> bytes:
    """CycloneDX JSON of a device's software. NotReportedError before its first report."""
    facts = inventory.facts_of(scope=scope, device=device)
    if facts.system is None or facts.software is None:
        raise NotReportedError(f"{device.name} has not reported its software yet")
    collected_at, _ = inventory.facts_meta(scope=scope, device=device)["software"]
    found = []
    if vulnerabilities:
        for one in queries.findings_of(scope=scope, device=device, now=now):
            about = one.vulnerability
            found.append(
                sbom.Open(
                    name=about.name, binaries=one.row.binaries, severity=about.severity, cvss=about.cvss,
                    vector=about.cvss_vector, advisory=one.advisory, fixed=one.fixed,
                    mark=one.mark.mark if one.mark else "", reason=one.mark.reason if one.mark else "",
                )
            )  # fmt: skip
    document = sbom.sbom_of(
        device_id=device.pk,
        name=device.name,
        system=facts.system,
        software=facts.software,
        collected_at=collected_at,
        found=found,
    )
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"
