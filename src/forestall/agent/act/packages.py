"""What the actions ``updates.*`` share: choosing what is to be done, refusing what may not be, telling what changed.

Choosing rests on what the machine's own reader lists now (``agent/collect/providers``), never on what a command says:
a command only narrows it. So a taken-over server can at most have installed, for packages that are there, what the
machine's own sources offer as their update.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.providers import FROM_UNCHECKED, PROVIDERS, WOULD_REMOVE, PackageKey, Provider, Wanted
from forestall.agent.collect.host import Host
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.providers import READER_BY_NAME, Reader, Reading
from forestall.agent.collect.readiness import busy
from forestall.trust.statements import PackageChange, StepResult
from forestall.wire.facts import Update

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9+._@/~^{}-]{0,199}(?::[a-z0-9-]+)?"
VERSION_PATTERN = r"[A-Za-z0-9][A-Za-z0-9.+~:^_-]{0,199}"
CHOICES = ("security", "all", "chosen")
POLL_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 600.0
"""For another package manager at work."""
_NAME = re.compile(NAME_PATTERN)
_VERSION = re.compile(VERSION_PATTERN)
_CODE_OF_REASON = {WOULD_REMOVE: "would_remove", FROM_UNCHECKED: "source_untrusted"}
_MOST_NAMED = 20
"""Packages that a summary names."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One package as a command names it."""

    name: str
    architecture: str = ""
    """Empty: whichever is there."""
    version: str = ""

    def __str__(self) -> str:
        name = f"{self.name}:{self.architecture}" if self.architecture else self.name
        return f"{name}={self.version}" if self.version else name

    def means(self, name: str, architecture: str) -> bool:
        return self.name == name and self.architecture in ("", architecture)


@dataclass(slots=True)
class Plan:
    """What is to be installed, and what of the asked is left out and why."""

    wanted: list[Wanted] = field(default_factory=list)
    left_out: list[tuple[str, str, str]] = field(default_factory=list)
    """Package, code, reason. With ``chosen`` each of them makes the run a failed one."""
    settled: list[str] = field(default_factory=list)
    """Chosen, and there already."""


# --- the manager ---------------------------------------------------------------------------------------------


def manager_of(name: str, needs: str, host: Host) -> tuple[Provider, Reader]:
    """Provider and reader called ``name``; ActionFailed ``manager_unknown`` unless both are here and can ``needs``."""
    provider, reader = PROVIDERS.get(name), READER_BY_NAME.get(name)
    if provider is None or reader is None:
        known = ", ".join(sorted(PROVIDERS))
        raise ActionFailed("manager_unknown", f"manager: {name!r} changes no packages here; known: {known}")
    if needs not in provider.CAN:
        raise ActionFailed("manager_unknown", f"{name} cannot {needs.replace('_', ' ')}")
    if not reader.present(host):
        raise ActionFailed("manager_unknown", f"this machine does not use {name}")
    return provider, reader


def reading_of(reader: Reader, host: Host) -> Reading:
    """What the manager offers now; ActionFailed ``list_failed`` when that cannot be told."""
    reading = reader.read(Notes(host))
    if reading.provider.unknown_why:
        raise ActionFailed("list_failed", f"what {reader.NAME} offers is unknown: {reading.provider.unknown_why}")
    return reading


def require_finished(reading: Reading, *, but: Iterable[str] = ()) -> None:
    """ActionFailed ``unfinished`` when an earlier installation was cut short, of other packages than ``but``."""
    names = set(but)
    unfinished = [each for each in reading.provider.unfinished if each.partition(":")[0] not in names]
    if unfinished:
        raise ActionFailed(
            "unfinished",
            f"{reading.provider.name} has not ended an earlier run ({some(unfinished)}): run repair-packages first",
        )


def wait_until_free(host: Host, ctx: Context) -> str:
    """Wait for package managers at work, at most ten minutes and not beyond the step's time; what was waited for.

    ActionFailed ``manager_busy`` when one is still at work then. A dry run does not wait.
    """
    began = time.monotonic()
    last: tuple[str, ...] = ()
    while found := busy(Notes(host)):
        last = found
        waited = time.monotonic() - began
        if ctx.dry_run or waited >= LONGEST_WAIT_SECONDS or ctx.seconds_left <= POLL_SECONDS:
            raise ActionFailed("manager_busy", f"at work for {waited:.0f} s and still not done: {', '.join(found)}")
        time.sleep(POLL_SECONDS)
    return f"waited {time.monotonic() - began:.0f} s for {', '.join(last)}" if last else ""


# --- choosing ------------------------------------------------------------------------------------------------


def asked_names(text: str, *, argument: str) -> list[Asked]:
    """Names separated by blanks. ActionFailed ``argument_wrong`` names the bad one: one beginning with ``-`` is bad."""
    found = []
    for word in text.split():
        if _NAME.fullmatch(word) is None:
            raise ActionFailed("argument_wrong", f"{argument}: {word!r} is not the name of a package")
        name, _, architecture = word.partition(":")
        found.append(Asked(name, architecture))
    return found


def asked_versions(text: str, *, argument: str) -> list[Asked]:
    """``name[:arch]=version`` separated by blanks. ActionFailed ``argument_wrong`` names the bad one."""
    found = []
    for word in text.split():
        package, equals, version = word.partition("=")
        if not equals or _NAME.fullmatch(package) is None or _VERSION.fullmatch(version) is None:
            raise ActionFailed("argument_wrong", f"{argument}: {word!r} is not of the form name=version")
        name, _, architecture = package.partition(":")
        found.append(Asked(name, architecture, version))
    if not found:
        raise ActionFailed("argument_wrong", f"{argument}: names no package")
    return found


def require_installed(asked: Iterable[Asked], versions: Mapping[PackageKey, str]) -> None:
    """ActionFailed ``not_installed`` names those that are not there."""
    names: dict[str, set[str]] = {}
    for name, architecture in versions:
        names.setdefault(name, set()).add(architecture)
    missing = [
        str(each)
        for each in asked
        if each.name not in names or (each.architecture and each.architecture not in names[each.name])
    ]
    if missing:
        raise ActionFailed("not_installed", f"not installed here, so nothing is done: {some(missing)}")


def plan(*, choose: str, packages: str, exclude: str, reading: Reading, versions: Mapping[PackageKey, str]) -> Plan:
    """What a command's words come to on this machine. No I/O. ActionFailed ``argument_wrong``, ``not_installed``."""
    if choose not in CHOICES:
        raise ActionFailed("argument_wrong", f"choose: {choose!r} is none of {', '.join(CHOICES)}")
    if choose != "chosen" and packages.strip():
        raise ActionFailed("argument_wrong", f"packages: {packages!r} is only for choose = chosen")
    excluded = asked_names(exclude, argument="exclude")
    made = Plan()
    if choose == "chosen":
        asked = asked_versions(packages, argument="packages")
        offered_anew = {update.name for update in reading.pending if not update.installed}
        require_installed([each for each in asked if each.name not in offered_anew], versions)
        for package in asked:
            _plan_chosen(package, made, reading.pending, versions)
    else:
        for update in reading.pending:
            if choose == "security" and not update.security:
                continue
            if update.held:
                made.left_out.append((update.name, "held", "it is held"))
            else:
                made.wanted.append(Wanted(update.name, update.architecture, update.candidate))
    kept = []
    for each in made.wanted:
        if any(one.means(each.name, each.architecture) for one in excluded):
            made.left_out.append((each.name, "excluded", "it is excluded"))
        else:
            kept.append(each)
    made.wanted = kept
    return made


def _plan_chosen(asked: Asked, made: Plan, pending: Sequence[Update], versions: Mapping[PackageKey, str]) -> None:
    offers = [update for update in pending if asked.means(update.name, update.architecture)]
    found = False
    for update in offers:
        if update.candidate != asked.version:
            continue
        found = True
        if update.held:
            made.left_out.append((str(asked), "held", "it is held"))
        else:
            made.wanted.append(Wanted(update.name, update.architecture, update.candidate))
    if found:
        return
    if any(asked.means(*key) and version == asked.version for key, version in versions.items()):
        made.settled.append(str(asked))
        return
    now = ", ".join(update.candidate for update in offers)
    why = f"{now} is offered now" if now else "nothing newer is offered"
    made.left_out.append((str(asked), "version_not_offered", why))


def without_impossible(made: Plan, provider: Provider, host: Host, ctx: Context) -> None:
    """Leave out what the manager would only do by removing packages, or not at all."""
    for each, why in provider.impossible(made.wanted, host, ctx).items():
        made.wanted.remove(each)
        code = next((code for start, code in _CODE_OF_REASON.items() if why.startswith(start)), "unresolvable")
        made.left_out.append((str(each), code, why))


# --- changing, and telling what changed ----------------------------------------------------------------------


def changes(
    manager: str, before: Mapping[PackageKey, str], after: Mapping[PackageKey, str]
) -> tuple[PackageChange, ...]:
    """What differs, sorted by name."""
    return tuple(
        PackageChange(
            manager=manager, name=key[0], architecture=key[1], before=before.get(key, ""), after=after.get(key, "")
        )
        for key in sorted({*before, *after})
        if before.get(key, "") != after.get(key, "")
    )


def changing(
    provider: Provider, host: Host, ctx: Context, work: Callable[[], str]
) -> tuple[str, tuple[PackageChange, ...]]:
    """Do ``work``; its output, and what it changed by the manager's own records.

    A failure carries what was changed until then: a run that ends badly tells the truth about it as well.
    """
    before = provider.versions(host, ctx)
    try:
        output = work()
    except ActionFailed as failed:
        failed.packages = changes(provider.NAME, before, provider.versions(host, ctx))
        failed.changed = {"packages": len(failed.packages)}
        if failed.packages:
            failed.sentence = f"{failed.sentence} (until then: {change_words(failed.packages)})"
        raise
    return output, changes(provider.NAME, before, provider.versions(host, ctx))


def end_chosen(action: str, result: StepResult, made: Plan, *, strict: bool) -> StepResult:
    """``result``, or (where every package was asked for by name) ActionFailed when some were left out."""
    if not strict or not made.left_out:
        return result
    raise ActionFailed(
        made.left_out[0][1],
        result.summary,
        output=result.output,
        changed=result.changed,
        packages=result.packages if isinstance(result.packages, tuple) else None,
    )


def left_words(made: Plan) -> str:
    """``; left out: foo (it is held)``, empty when nothing is."""
    words = f"; left out: {some([f'{name} ({why})' for name, _, why in made.left_out])}" if made.left_out else ""
    return f"; there already: {some(made.settled)}{words}" if made.settled else words


def change_words(found: Sequence[PackageChange]) -> str:
    """``openssl 3.0.11 → 3.0.13, new linux-image-6.1.0-40-amd64 6.1.153``."""
    return some(
        [
            f"{each.name} {each.before} → {each.after}"
            if each.before and each.after
            else f"new {each.name} {each.after}"
            if each.after
            else f"gone {each.name} {each.before}"
            for each in found
        ]
    )


def some(words: Sequence[str]) -> str:
    """The first of many, and how many more there are."""
    more = len(words) - _MOST_NAMED
    return ", ".join(words[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
