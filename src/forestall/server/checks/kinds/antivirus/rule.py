"""Antivirus: there, running, with current definitions, watching, and nothing it found left over."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from forestall.server.checks.kind import Level
from forestall.server.checks.result import Known, Result, Risk, Status
from forestall.server.checks.words import clock, count, listing, number
from forestall.wire.facts import AntivirusProduct

Answer = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Policy:
    definitions_days: float = 5
    """Fail when the definitions are older than this many days."""
    engine_days: float = 120
    """Warn when the engine or product is older than this many days, where that is known."""
    scan_days: float = 30
    """Warn when the last scan is older than this many days, where that is known."""
    not_watching_on_server: Answer = "warn"
    """Answer when a server's product does not watch files as they are used."""
    not_watching_on_endpoint: Answer = "fail"
    """Answer when an endpoint's does not."""
    absent_on_server: Answer = "warn"
    """Answer when a server has none: ``pass``, ``warn`` or ``fail``."""
    absent_on_endpoint: Answer = "fail"
    """Answer when an endpoint has none."""

    def __post_init__(self) -> None:
        for name in ("definitions_days", "engine_days", "scan_days"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: {getattr(self, name):g} must be above 0")


def judge(known: Known, policy: Policy, now: datetime, previous: Mapping[str, Status]) -> Sequence[Result]:
    """Results of each product: itself (age of its definitions in days), and what is known of its watching, its scans,
    its findings, its protection and its exclusions. One for the device when it has none."""
    document = known.facts.antivirus
    assert document is not None  # noqa: S101 - judge_kind sees to it
    products = {product.name: product for product in document.products}
    endpoint = known.role == "endpoint"
    if not products:
        status = Status(policy.absent_on_endpoint if endpoint else policy.absent_on_server)
        who = "an endpoint" if endpoint else f"a {known.role}"
        return [
            Result(
                status,
                f"No antivirus was found; for {who} the policy says {status}.",
                risk=Risk.HIGH if endpoint else Risk.LOW,
            )
        ]
    results: list[Result] = []
    for product in products.values():
        results.append(_judge_product(product, policy, now, previous.get(product.name)))
        results += _judge_aspects(product, policy, now, endpoint=endpoint)
    if previous.get("", Status.UNKNOWN) is not Status.UNKNOWN:
        results.insert(0, Result(Status.PASS, f"Antivirus is installed: {listing(list(products))}."))
    return results


_WITHOUT_DEFINITIONS = ("CrowdStrike Falcon", "SentinelOne", "Cortex XDR")
"""Products that recognise by behaviour and ask their vendor's cloud: a link to it takes the place of definitions."""


def _judge_product(product: AntivirusProduct, policy: Policy, now: datetime, previous: Status | None) -> Result:
    name = f"{product.name} {product.version}".strip()
    at = product.definitions_at
    days = max(0.0, (now - at).total_seconds() / 86400) if at else None
    age = f"definitions are {number(round(days, 1))} days old ({clock(at)})" if days is not None and at else ""
    value, unit = (round(days, 1), "days") if days is not None else (None, "")

    def result(status: Status, reason: str, remedy: str = "") -> Result:
        return Result(status, reason, target=product.name, value=value, unit=unit, remedy=remedy)

    if days is not None and days > policy.definitions_days:
        running = "" if product.running is not False else ", and it does not run"
        return result(Status.FAIL, f"{name}: its {age}{running}; fails above {policy.definitions_days:g} days.")
    tail = f"; its {age}" if age else ""
    if product.running is False:
        said = f" ({product.status})" if product.status else ""
        if previous is Status.PASS:
            remedy = "Find out who or what stopped it, then start it again (runbook `start-antivirus`)."
            return result(Status.FAIL, f"{name} ran before and has stopped{said}{tail}.", remedy)
        if product.enabled:
            return result(Status.FAIL, f"{name} starts with the system and yet does not run{said}{tail}.")
        return result(Status.FAIL, f"{name} is installed but does not run{said}{tail}.")
    if product.definitions_current is False:
        return result(Status.FAIL, f"{name} itself calls its definitions out of date{tail}.")
    if product.unknown_why:
        return result(Status.UNKNOWN, f"{name}: its state is unknown: {product.unknown_why}.")
    if product.name in _WITHOUT_DEFINITIONS:
        if product.managed is False:
            return result(Status.FAIL, f"{name} has no link to its console, and so learns of nothing new.")
        if product.running is None:
            return result(Status.UNKNOWN, f"{name}: whether it runs could not be told.")
        if product.status:
            return result(Status.WARN, f"{name} runs, but: {product.status}.")
        link = " and reaches its console" if product.managed else ""
        return result(Status.PASS, f"{name} runs{link}; it needs no definitions.")
    if days is None and not product.definitions_current:
        return result(Status.UNKNOWN, f"{name}: the age of its definitions could not be read.")
    if product.running is None:
        return result(Status.UNKNOWN, f"{name}: whether it runs could not be told{tail}.")
    if product.engine_at is not None and (now - product.engine_at).total_seconds() > policy.engine_days * 86400:
        return result(Status.WARN, f"{name} runs, but its engine is of {clock(product.engine_at)}{tail}.")
    if product.status:
        return result(Status.WARN, f"{name} runs, but: {product.status}{tail}.")
    return result(Status.PASS, f"{name} runs{tail or '; it calls its definitions current'}.")


def _judge_aspects(product: AntivirusProduct, policy: Policy, now: datetime, *, endpoint: bool) -> Iterable[Result]:
    """What else is known of it, each with a target of its own, so that a person can accept one and not the others."""
    name = product.name
    if product.real_time is not None and product.running is not False:
        if product.real_time:
            yield Result(Status.PASS, f"{name} watches files as they are used.", target=f"{name}: watching")
        else:
            answer = Status(policy.not_watching_on_endpoint if endpoint else policy.not_watching_on_server)
            yield Result(
                answer, f"{name} does not watch files as they are used: what comes in is found at the next scan.",
                target=f"{name}: watching", risk=Risk.HIGH if endpoint else Risk.MEDIUM,
                remedy="Switch its real-time protection on (ClamAV: clamonacc).",
            )  # fmt: skip
    if product.last_scan_at is not None:
        days = max(0.0, (now - product.last_scan_at).total_seconds() / 86400)
        old = days > policy.scan_days
        limit = f"; warns above {policy.scan_days:g} days" if old else ""
        yield Result(
            Status.WARN if old else Status.PASS,
            f"{name} last scanned {number(round(days, 1))} days ago ({clock(product.last_scan_at)}){limit}.",
            target=f"{name}: scan", value=round(days, 1), unit="days", risk=Risk.LOW,
            remedy="Let it scan (runbook `scan-for-malware`), and plan it.",
        )  # fmt: skip
    if product.detections:
        still = [each for each in product.detections if not each.handled]
        if still:
            texts = [f"{each.name} in {each.path}" if each.path else each.name for each in still]
            yield Result(
                Status.FAIL,
                f"{name} found {count(len(still), 'thing')} and nobody has dealt with it: {listing(texts)}.",
                target=f"{name}: findings", value=float(len(still)), unit="findings", risk=Risk.CRITICAL,
                remedy="Take the machine off the network, find out how it came in, then remove it.",
            )  # fmt: skip
        else:
            yield Result(
                Status.PASS, f"{name} found {count(len(product.detections), 'thing')}, all of it dealt with.",
                target=f"{name}: findings", value=0.0, unit="findings",
            )  # fmt: skip
    if product.tamper_protection is not None:
        yield Result(
            Status.PASS if product.tamper_protection else Status.WARN,
            f"{name} {'protects' if product.tamper_protection else 'does not protect'} itself from being switched off.",
            target=f"{name}: protection", risk=Risk.MEDIUM, remedy="Switch its tamper protection on.",
        )  # fmt: skip
    if product.exclusions is not None:
        risky = [f"{each} ({why})" for each in product.exclusions if (why := risk_of_exclusion(each))]
        some = f"; {count(len(product.exclusions), 'exclusion')} in all" if product.exclusions else ""
        yield Result(
            Status.WARN if risky else Status.PASS,
            f"{name} does not look at {listing(risky)}{some}." if risky else f"{name} leaves out nothing risky{some}.",
            target=f"{name}: exclusions", risk=Risk.HIGH, remedy="Narrow them down to single folders of one program.",
        )  # fmt: skip


_WHOLE = re.compile(r"^\^?(?:/|\.\*|\*|\*\.\*|/\*|[a-z]:|[a-z]:\\+\*?)/?\$?$")
_PEOPLE = re.compile(
    r"^\^?(?:/home|/root|/Users|[a-z]:\\+users|%userprofile%)(?:[/\\][^/\\]*)?[/\\*]*\$?$", re.IGNORECASE
)
_TEMPORARY = re.compile(
    r"^\^?(?:/tmp|/var/tmp|/dev/shm|[a-z]:\\+(?:windows\\+)?temp|%temp%|%tmp%)[/\\*]*\$?$|"
    r"\\(?:appdata\\(?:local|roaming)(?:\\temp)?|downloads)[\\*]*$", re.IGNORECASE
)  # fmt: skip
_SYSTEM = re.compile(
    r"^\^?(?:/usr|/bin|/etc|/var|/opt|/srv|/var/www|[a-z]:\\+(?:windows|programdata|program files(?: \(x86\))?|"
    r"windows\\+system32|inetpub))[/\\*]*\$?$", re.IGNORECASE
)  # fmt: skip
_PROGRAMS = re.compile(
    r"^\*?\.?(?:exe|dll|ps1|bat|cmd|vbs|js|jar|scr|msi|hta|com|sh|py|php|docm|xlsm|zip|iso|lnk)$", re.IGNORECASE
)
_SHELLS = re.compile(
    r"^process .*?(?:powershell|pwsh|cmd|wscript|cscript|mshta|rundll32|regsvr32|bash|python)(?:\.exe)?$",
    re.IGNORECASE,
)


def risk_of_exclusion(text: str) -> str:
    """Why leaving this out is risky; empty: it is not, as far as one can tell from its name."""
    bare = text.strip().strip('"')
    for rule, why in (
        (_WHOLE, "a whole disk"),
        (_PEOPLE, "people's files"),
        (_TEMPORARY, "where malware lands first"),
        (_SYSTEM, "a folder of programs"),
        (_PROGRAMS, "a kind of file that runs"),
        (_SHELLS, "a program that runs others"),
    ):
        if rule.match(bare.lower() if rule is _WHOLE else bare) or (rule is _TEMPORARY and rule.search(bare)):
            return why
    return ""


def levels(policy: Policy) -> Sequence[Level]:
    return []
