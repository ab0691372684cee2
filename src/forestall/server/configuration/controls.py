"""Controls: what a device should be like, each judged on facts alone. The words and numbers are ``data/controls.toml``.

A control passes, fails, is unknown (nobody looked, or looking was refused: never a pass), or has no application here
(there is no SSH server, no such kernel setting).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from forestall.server.checks.kinds.firewall_rules.analysis import analyse
from forestall.server.checks.result import Risk
from forestall.wire.facts import Document, Facts, HardeningSetting

DATA = Path(__file__).parent / "data" / "controls.toml"
ROLES = ("server", "cloud", "endpoint")
"""Roles of devices that have a baseline; network equipment and printers have none."""
LEVELS = (1, 2)
DOCUMENTS = ("hardening", "services", "sshd", "firewall", "access", "time", "network")
"""Facts documents that controls rest on."""
ABSENT = "absent"


class Outcome(StrEnum):
    PASS = "pass"  # noqa: S105 - an answer, not a secret
    FAIL = "fail"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True, slots=True)
class Control:
    """One demand of a baseline."""

    id: str
    cis: str
    """Number of the recommendation in the CIS Debian Linux 12 Benchmark that asks for the same; empty: none does."""
    level: int
    """1: sensible everywhere; 2: for what needs more, and costs more."""
    risk: Risk
    title: str
    why: str
    remedy: str
    rule: Mapping[str, Any]
    runbook: str = ""
    """Slug of the runbook that sets it right."""
    roles: tuple[str, ...] = ROLES
    lynis: tuple[str, ...] = ()
    openscap: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of one control on one device."""

    control: str
    outcome: Outcome
    why: str
    """One sentence with the values in it."""


class ControlError(ValueError):
    """A control in the data that makes no sense, or a name that no control has."""


@cache
def controls() -> dict[str, Control]:
    """Every control by its id, in the order of the file. ControlError names what is wrong with it."""
    found: dict[str, Control] = {}
    for entry in tomllib.loads(DATA.read_text(encoding="utf-8"))["control"]:
        made = Control(
            **{
                **entry,
                "risk": Risk(entry["risk"]),
                "roles": tuple(entry.get("roles", ROLES)),
                "lynis": tuple(entry.get("lynis", ())),
                "openscap": tuple(entry.get("openscap", ())),
            }
        )
        if made.id in found:
            raise ControlError(f"control {made.id!r} is there twice")
        if made.level not in LEVELS or made.rule["kind"] not in _KINDS or not set(made.roles) <= set(ROLES):
            raise ControlError(f"control {made.id!r}: level, kind or roles are not known")
        found[made.id] = made
    return found


def baseline(role: str, level: int) -> list[Control]:
    """The controls that a device of this role has to meet at this level; none at level 0."""
    return [one for one in controls().values() if one.level <= level and role in one.roles]


def judge(facts: Facts, wanted: Sequence[Control]) -> list[Judged]:
    """Judge a device by controls, in their order."""
    return [_judge_one(facts, control) for control in wanted]


def _judge_one(facts: Facts, control: Control) -> Judged:
    outcome, why = _KINDS[control.rule["kind"]](facts, control.rule)
    return Judged(control.id, outcome, why)


Answer = tuple[Outcome, str]
PASS, FAIL, UNKNOWN, NOT_APPLICABLE = Outcome.PASS, Outcome.FAIL, Outcome.UNKNOWN, Outcome.NOT_APPLICABLE


def _gap(document: Document | None, name: str, *words: str) -> Answer:
    """Unknown, with the reason that the device gave for not having looked."""
    if document is None:
        return UNKNOWN, f"The device has not sent its {name} yet."
    for gap in document.gaps:
        if any(word in gap.what for word in words):
            return UNKNOWN, f"{gap.what}: {gap.why}."
    return UNKNOWN, f"It was not looked at: the device's {name} say nothing of {words[0] if words else 'it'}."


def _found(facts: Facts, area: str, name: str) -> HardeningSetting | None:
    document = facts.hardening
    if document is None:
        return None
    return next((one for one in document.settings if one.area == area and one.name == name), None)


def _worst(answers: Sequence[Answer]) -> Answer:
    """Several things that must all be so: one that is not decides, then one that is not known."""
    for outcome in (FAIL, UNKNOWN, PASS):
        of_it = [why for found, why in answers if found is outcome]
        if of_it:
            return outcome, " ".join(dict.fromkeys(of_it))
    return answers[0] if answers else (NOT_APPLICABLE, "There is nothing of the kind here.")


def _setting(facts: Facts, rule: Mapping[str, Any]) -> Answer:
    return _worst([_one_setting(facts, rule, name) for name in rule["names"]])


def _one_setting(facts: Facts, rule: Mapping[str, Any], name: str) -> Answer:
    found = _found(facts, rule["area"], name)
    if found is None:
        if rule["area"] in {"kernel", "process"} or facts.hardening is None:
            return _gap(facts.hardening, "settings", name)
        if any(name in gap.what for gap in facts.hardening.gaps):
            return _gap(facts.hardening, "settings", name)
        return NOT_APPLICABLE, f"{name} does not exist here."
    if found.value == ABSENT and "absent" in rule and rule["absent"] != "pass":
        return Outcome(rule["absent"]), f"{_said(name, 'not set')}." if " " in name else f"{name} does not exist here."
    if found.value == ABSENT and rule.get("absent") == "pass":
        return PASS, f"{name} does not exist here."
    if found.value in rule.get("not_applicable", ()):
        return NOT_APPLICABLE, f"{name} is {found.value}."
    outcome, why = _compare(name, found.value, rule)
    if outcome is PASS and found.configured and _compare(name, found.configured, rule)[0] is FAIL:
        return FAIL, f"{name} is {found.value} now, and {found.configured} after the next start."
    return outcome, why


def _said(name: str, value: str) -> str:
    # Names in words (``core dumps``) make no sentence with a value; those of the system (``fs.protected_symlinks``) do.
    return f"{name[0].upper()}{name[1:]}: {value}" if " " in name else f"{name} is {value}"


def _compare(name: str, value: str, rule: Mapping[str, Any]) -> Answer:
    """Whether a value is one that is wanted."""
    said = _said(name, value)
    if "at_least" in rule or "at_most" in rule:
        number = _number(value)
        if number is None:
            return FAIL, f"{said}, which is no number."
        if "at_least" in rule and number < rule["at_least"]:
            return FAIL, f"{said}; wanted: {rule['at_least']} or more."
        if "at_most" in rule and number > rule["at_most"]:
            return FAIL, f"{said}; wanted: {rule['at_most']} or less."
        return PASS, f"{said}."
    if rule.get("want") and value not in rule["want"]:
        return FAIL, f"{said}; wanted: {' or '.join(rule['want'])}."
    if "prefix" in rule and not value.startswith(tuple(rule["prefix"])):
        return FAIL, f"{said}; wanted: {' or '.join(rule['prefix'])}."
    if value in rule.get("not_want", ()):
        return FAIL, f"{said}."
    bad = [part for part in value.lstrip("+^").split(",") if any(weak in part for weak in rule.get("not_contains", ()))]
    if bad and not value.startswith("-"):
        return FAIL, f"{name} has {', '.join(bad[:4])}."
    return PASS, f"{said}."


def _number(value: str) -> float | None:
    """``60``, ``2m``, ``1h30m`` as sshd writes times."""
    if re.fullmatch(r"-?\d+", value):
        return float(value)
    parts = re.fullmatch(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", value)
    if not value or parts is None:
        return None
    return float(
        sum(int(part or 0) * unit for part, unit in zip(parts.groups(), (604800, 86400, 3600, 60, 1), strict=True))
    )


def _any_setting(facts: Facts, rule: Mapping[str, Any]) -> Answer:
    seen = []
    for area, name, value in rule["of"]:
        found = _found(facts, area, name)
        if found is not None and found.value == value:
            return PASS, f"{name} is {value}."
        if found is not None:
            seen.append(f"{name} is {found.value}")
    return (FAIL, f"{'; '.join(seen)}.") if seen else _gap(facts.hardening, "settings", "logging")


def _module(facts: Facts, rule: Mapping[str, Any]) -> Answer:
    answers: list[Answer] = []
    for name in rule["names"]:
        found = _found(facts, "module", name)
        if found is None:
            answers.append(_gap(facts.hardening, "settings", "kernel modules"))
        elif found.value in {"blocked", ABSENT}:
            answers.append((PASS, f"{name} is {found.value}."))
        elif found.value == "built in":
            answers.append((NOT_APPLICABLE, f"{name} is part of the kernel itself: it cannot be left out."))
        elif found.value == "loaded":
            later = " until the next start: it is blocked from then on" if found.configured == "blocked" else ""
            answers.append((FAIL, f"{name} is loaded{later}."))
        else:
            answers.append((FAIL, f"{name} can be loaded."))
    return _worst(answers)


def _separate(facts: Facts, rule: Mapping[str, Any]) -> Answer:
    found = _found(facts, "mount", rule["name"])
    if found is None:
        return _gap(facts.hardening, "settings", "mounted")
    if found.value == ABSENT:
        return FAIL, f"{rule['name']} is no file system of its own."
    return PASS, f"{rule['name']} is a file system of its own."


def _mount(facts: Facts, rule: Mapping[str, Any]) -> Answer:
    found = _found(facts, "mount", rule["name"])
    if found is None:
        return _gap(facts.hardening, "settings", "mounted")
    if found.value == ABSENT:
        return NOT_APPLICABLE, f"{rule['name']} is no file system of its own."
    lacking = [option for option in rule["options"] if option not in found.value.split(",")]
    if lacking:
        return FAIL, f"{rule['name']} is mounted without {', '.join(lacking)}."
    return PASS, f"{rule['name']} is mounted with {', '.join(rule['options'])}."


def _file(facts: Facts, rule: Mapping[str, Any]) -> Answer:
    document = facts.hardening
    if document is None:
        return _gap(None, "settings")
    pattern = rule["name"]
    for gap in document.gaps:
        if gap.what.startswith("permissions of ") and fnmatchcase(gap.what.removeprefix("permissions of "), pattern):
            return UNKNOWN, f"{gap.what}: {gap.why}."
    looked = any(one.area == "file" for one in document.settings)
    found = [one for one in document.settings if one.area == "file" and fnmatchcase(one.name, pattern)]
    if not found:
        return (
            (NOT_APPLICABLE, f"{pattern} does not exist here.") if looked else _gap(document, "settings", "permissions")
        )
    answers: list[Answer] = []
    for one in found:
        mode, _, names = one.value.partition(" ")
        owner, _, group = names.partition(":")
        too_much = int(mode, 8) & ~int(rule["mode"], 8)
        wrong = [
            f"its mode is {mode}, wanted: {rule['mode']} or stricter" if too_much else "",
            f"it belongs to {owner}" if owner != rule["owner"] else "",
            f"its group is {group}" if group not in rule["groups"] and int(mode, 8) & 0o070 and group != "?" else "",
        ]
        said = ", ".join(filter(None, wrong))
        answers.append((FAIL, f"{one.name}: {said}.") if said else (PASS, f"{one.name} is {one.value}."))
    return _worst(answers)


def _service_off(facts: Facts, rule: Mapping[str, Any]) -> Answer:
    document = facts.services
    if document is None:
        return _gap(None, "services")
    if not document.services and document.gaps:
        return _gap(document, "services", document.gaps[0].what)
    found = [one for one in document.services if one.name.removesuffix(".service") in rule["names"]]
    on = [one for one in found if one.state == "running" or one.enabled]
    if on:
        said = [
            f"{one.name} {'runs' if one.state == 'running' else 'starts with the system'}"
            + (" and starts with the system" if one.state == "running" and one.enabled else "")
            for one in on
        ]
        return FAIL, f"{'; '.join(said)}."
    return PASS, f"{rule['names'][0]} is {'disabled' if found else 'not there'}."


def _sshd(facts: Facts, rule: Mapping[str, Any]) -> Answer:
    document = facts.sshd
    if document is None:
        return _gap(None, "settings of SSH")
    if not document.installed:
        return NOT_APPLICABLE, "There is no SSH server."
    value = document.settings.get(rule["name"])
    if value is None:
        return _gap(document, "settings of SSH", "settings")
    if rule["name"] == "permitrootlogin" and value == "yes" and document.settings.get("passwordauthentication") == "no":
        return PASS, "permitrootlogin is yes, by key alone (passwordauthentication is no)."
    return _compare(rule["name"], value, rule)


def _firewall(facts: Facts, rule: Mapping[str, Any]) -> Answer:
    document = facts.firewall
    if document is None:
        return _gap(None, "firewall")
    if document.active is None:
        return _gap(document, "firewall", "firewall", "rules")
    if rule["ask"] == "active":
        if document.active:
            return PASS, f"{document.tool or 'A firewall'} filters what comes in."
        return FAIL, "Nothing filters what comes in."
    if not document.active:
        if rule["ask"] == "default":
            return FAIL, "Nothing filters what comes in."
        return NOT_APPLICABLE, "There is no firewall whose rules could be judged."
    if rule["ask"] == "default":
        if document.default_inbound == "unknown":
            return _gap(document, "firewall", "firewall", "rules")
        return (
            PASS if document.default_inbound == "drop" else FAIL
        ), f"The rest of what comes in: {document.default_inbound}."
    if not document.ruleset:
        return _gap(document, "firewall", "firewall rules")
    report = analyse(document)
    found = {"any_any": len(report.any_any), "shadowed": len(report.shadowed), "logged": len(report.unlogged)}[
        rule["ask"]
    ]
    words = {
        "any_any": ("No rule lets everything in.", f"{found} of {report.looked_at} rules let everything in."),
        "shadowed": ("Every rule can match.", f"{found} of {report.looked_at} rules never match."),
        "logged": ("What is dropped is written down.", "What is dropped is written down nowhere."),
    }[rule["ask"]]
    return (FAIL, words[1]) if found else (PASS, words[0])


def _access(facts: Facts, rule: Mapping[str, Any]) -> Answer:
    document = facts.access
    if document is None:
        return _gap(None, "accounts")
    ask = rule["ask"]
    if ask == "sudo_no_password":
        if document.sudo_rules is None:
            return _gap(document, "accounts", "sudo")
        open_rules = [one.who for one in document.sudo if one.no_password]
        open_rules += [line.split()[0] for line in document.sudo_rules if "NOPASSWD" in line and not document.sudo]
        if open_rules:
            return FAIL, f"sudo asks {', '.join(dict.fromkeys(open_rules))} for no password."
        return PASS, "sudo asks everybody for a password."
    if not document.accounts:
        return _gap(document, "accounts", "accounts")
    if ask == "uid_0":
        others = [one.name for one in document.accounts if one.uid == 0 and one.name != "root"]
        return (
            (FAIL, f"{', '.join(others)} has the number 0, too.") if others else (PASS, "Only root has the number 0.")
        )
    if ask == "empty_password":
        empty = [one.name for one in document.accounts if one.password == "empty"]  # noqa: S105 - a state
        unclear = all(one.password == "unknown" for one in document.accounts)  # noqa: S105
        if empty:
            return FAIL, f"{', '.join(empty)} has no password."
        return _gap(document, "accounts", "password") if unclear else (PASS, "No account is without a password.")
    if any("writable" in gap.what for gap in document.gaps):
        return _gap(document, "accounts", "writable")
    paths = [one.path for one in document.open_paths if one.kind == "world_writable"]
    if paths:
        return FAIL, f"{len(paths)} can be written by everybody: {', '.join(paths[:3])}."
    return PASS, "Nothing of the system can be written by everybody."


def _time(facts: Facts, rule: Mapping[str, Any]) -> Answer:
    document = facts.time
    if document is None:
        return _gap(None, "time")
    if document.synchronised is None and not document.daemon:
        return FAIL, "No program keeps the clock right."
    if document.synchronised is None:
        return _gap(document, "time", "synchron", "time")
    if document.synchronised:
        return PASS, f"{document.daemon or 'The machine'} keeps the clock right."
    return FAIL, f"{document.daemon or 'No program'} keeps the clock right: it is not synchronised."


_OLD_TLS = frozenset({"TLSv1", "TLSv1.0", "TLSv1.1", "SSLv3", "None"})


def _tls(facts: Facts, rule: Mapping[str, Any]) -> Answer:
    minimum, policy = _found(facts, "tls", "openssl MinProtocol"), _found(facts, "tls", "crypto policy")
    if policy is not None:
        weak = policy.value.startswith("LEGACY")
        return (FAIL if weak else PASS), f"The crypto policy is {policy.value}."
    if minimum is None:
        if facts.hardening is not None and any(one.area == "login" for one in facts.hardening.settings):
            return NOT_APPLICABLE, "There is no OpenSSL set up here."
        return _gap(facts.hardening, "settings", "openssl")
    if minimum.value in _OLD_TLS:
        return FAIL, f"OpenSSL's MinProtocol is {minimum.value}; wanted: TLSv1.2."
    ciphers = _found(facts, "tls", "openssl CipherString")
    if ciphers is not None and re.search(r"SECLEVEL=[01]\b", ciphers.value):
        return FAIL, f"OpenSSL's CipherString is {ciphers.value}: it lets weak keys and old versions in."
    if minimum.value == ABSENT:
        # OpenSSL 3 refuses TLS 1.0 and 1.1 at its default security level, as their signatures use SHA-1.
        return PASS, "OpenSSL is at its own defaults, which refuse what is older than TLS 1.2."
    return PASS, f"OpenSSL's MinProtocol is {minimum.value}."


def _listening(facts: Facts, rule: Mapping[str, Any]) -> Answer:
    document = facts.network
    if document is None:
        return _gap(None, "network")
    if any("socket" in gap.what or "listening" in gap.what for gap in document.gaps):
        unseen = [gap for gap in document.gaps if "socket" in gap.what or "listening" in gap.what]
        if not document.listening:
            return UNKNOWN, f"{unseen[0].what}: {unseen[0].why}."
    found = [one for one in document.listening if one.protocol == "tcp" and one.port in rule["ports"] and one.exposed]
    if found:
        said = ", ".join(f"{one.process or 'a program'} on port {one.port}" for one in found)
        return FAIL, f"{said} can be reached."
    return PASS, "Nothing of the kind listens."


_KINDS: dict[str, Callable[[Facts, Mapping[str, Any]], Answer]] = {
    "setting": _setting,
    "any_setting": _any_setting,
    "module": _module,
    "separate": _separate,
    "mount": _mount,
    "file": _file,
    "service_off": _service_off,
    "sshd": _sshd,
    "firewall": _firewall,
    "access": _access,
    "time": _time,
    "tls": _tls,
    "listening": _listening,
}
