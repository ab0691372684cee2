"""What is wrong with a runbook somebody writes, and how it differs from the signed one. Decisions without I/O.

The words point at the value: ``$.steps[1].arguments.folder: …``. The last word has the device (``trust.authorise``);
what this finds would be refused there, or would fail at its first run.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from forestall.trust.authorise import Refused, require_sound_runbook, require_value
from forestall.trust.statements import Parameter, ParameterValue, RiskClass, Runbook, Step, UndoStep
from forestall.trust.words import ACTION_WORDS

MAX_TEXT = 262_144
"""Most characters of a draft."""
DESTRUCTIVE = frozenset({"script.run"})
"""Actions whose runbooks two operators sign."""
INTEGERS = frozenset(
    {"older_than_days", "older_than_hours", "least_free_mb", "warn_minutes", "most_mb", "rate_kb", "sample"}
)
BOOLEANS = frozenset({"allow_listening", "disable", "enable"})
"""Arguments of actions that are no text, by name; ``test_drafts`` holds them against the agent's."""
_PATH = re.compile(r" - at `(\$.*)`$")
_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Problem:
    path: str
    """Where: ``$.steps[0].action``."""
    what: str

    @property
    def sentence(self) -> str:
        return f"{self.path}: {self.what}"


def read_draft(text: str) -> Runbook:
    """The runbook that a draft says. ValueError, naming the path, when it says none."""
    if len(text) > MAX_TEXT:
        raise ValueError(f"it has {len(text)} characters, at most {MAX_TEXT}")
    try:
        return msgspec.json.decode(text.encode(), type=Runbook)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def draft_problems(
    text: str, *, slug: str, newest: int, documents: frozenset[str] = frozenset()
) -> tuple[Problem, ...]:
    """Everything that keeps a draft from being signed. ``newest``: version of the signed one, 0 when there is none;
    ``documents``: names of facts documents, empty: not asked."""
    try:
        runbook = read_draft(text)
    except ValueError as error:
        found = _PATH.search(str(error))
        return (Problem(found.group(1) if found else "$", _PATH.sub("", str(error))),)
    problems: list[Problem] = []

    def wrong(path: str, what: str) -> None:
        problems.append(Problem(path, what))

    if runbook.slug != slug:
        wrong("$.slug", f"{runbook.slug!r} is not the name of this draft, {slug!r}")
    if runbook.version != newest + 1:
        wrong("$.version", f"{runbook.version}, but the next one to sign is {newest + 1}")
    for field in ("title", "description", "undo"):
        if not getattr(runbook, field).strip():
            wrong(f"$.{field}", "empty; people read it before they sign")
    if runbook.risk is RiskClass.TRUST:
        wrong("$.risk", "'trust' is never signed by operators; use 'change' or 'destructive'")
    if runbook.risk is RiskClass.OBSERVE:
        wrong("$.risk", "'observe' is for what changes nothing, and every action may; use 'change'")
    parameters = {parameter.name: parameter for parameter in runbook.parameters}
    for number, parameter in enumerate(runbook.parameters):
        problems += _parameter_problems(f"$.parameters[{number}]", parameter)
    for number, step in enumerate(runbook.steps):
        path = f"$.steps[{number}]"
        problems += _act_problems(path, step, parameters, runbook.risk)
        if step.undo is not msgspec.UNSET:
            problems += _act_problems(f"{path}.undo", step.undo, parameters, runbook.risk)
    for number, document in enumerate(runbook.collect_after):
        if documents and document not in documents:
            wrong(f"$.collect_after[{number}]", f"no facts document is called {document!r}")
    if not problems:
        # What is left: names of steps, conditions, approvals. Its sentence names the step.
        try:
            require_sound_runbook(runbook)
        except Refused as refusal:
            wrong(_place_of(runbook, refusal.sentence), refusal.sentence.partition(": ")[2] or refusal.sentence)
    return tuple(problems)


def _parameter_problems(path: str, parameter: Parameter) -> list[Problem]:
    problems: list[Problem] = []
    try:
        re.compile(parameter.pattern)
    except re.error as error:
        problems.append(Problem(f"{path}.pattern", f"{parameter.pattern!r} is no regular expression: {error}"))
        return problems
    if parameter.default is None and not parameter.required:
        problems.append(Problem(f"{path}.default", "missing: a parameter that may be left out needs one"))
    if parameter.default is not None:
        try:
            require_value(parameter, parameter.default)
        except Refused as refusal:
            problems.append(Problem(f"{path}.default", refusal.sentence))
    if parameter.minimum is not None and parameter.maximum is not None and parameter.minimum > parameter.maximum:
        problems.append(Problem(f"{path}.minimum", f"{parameter.minimum} is above the maximum, {parameter.maximum}"))
    return problems


def _act_problems(
    path: str, act: Step | UndoStep, parameters: Mapping[str, Parameter], risk: RiskClass
) -> list[Problem]:
    problems: list[Problem] = []
    words = ACTION_WORDS.get(act.action)
    if words is None:
        near = difflib.get_close_matches(act.action, ACTION_WORDS, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(ACTION_WORDS))}"
        return [Problem(f"{path}.action", f"no action is called {act.action!r}{meant}")]
    if act.action in DESTRUCTIVE and risk is not RiskClass.DESTRUCTIVE:
        problems.append(Problem("$.risk", f"{risk.value!r}, but {act.action} needs 'destructive': two operators sign"))
    wanted = set(re.findall(r"\{(\w+)\}", words))
    for name in sorted(wanted - set(act.arguments)):
        problems.append(Problem(f"{path}.arguments", f"{name!r} is missing: {act.action} takes {_listed(wanted)}"))
    for name, value in act.arguments.items():
        if name not in wanted:
            problems.append(
                Problem(f"{path}.arguments.{name}", f"{act.action} does not take it; it takes {_listed(wanted)}")
            )
        found = _PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
        if found is not None and found.group(1) not in parameters:
            problems.append(
                Problem(f"{path}.arguments.{name}", f"{value!r} stands for a parameter that the runbook does not have")
            )
            continue
        kind = "integer" if name in INTEGERS else "boolean" if name in BOOLEANS else "text"
        given = _kind_of(value) if found is None else parameters[found.group(1)].kind
        if name in wanted and (given if given in ("integer", "boolean") else "text") != kind:
            problems.append(Problem(f"{path}.arguments.{name}", f"{value!r} is {given}, {act.action} takes {kind}"))
    return problems


def _kind_of(value: ParameterValue) -> str:
    return "boolean" if isinstance(value, bool) else "integer" if isinstance(value, int) else "text"


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _place_of(runbook: Runbook, sentence: str) -> str:
    """The step or parameter that a sentence of the device's rules is about."""
    for number, step in enumerate(runbook.steps):
        alone = msgspec.structs.replace(runbook, steps=runbook.steps[: number + 1])
        try:
            require_sound_runbook(alone)
        except Refused as refusal:
            return f"$.steps[{number}]" if refusal.sentence == sentence and "step " in sentence else "$"
        del step
    return "$"


def pretty(runbook: Runbook) -> str:
    """A runbook as people write it: indented JSON, what is not used left out."""
    plain = msgspec.to_builtins(runbook)
    for parameter in plain["parameters"]:
        for name, unused in (
            ("required", True),
            ("default", None),
            ("minimum", None),
            ("maximum", None),
            ("pattern", ""),
        ):
            if parameter.get(name, unused) == unused:
                parameter.pop(name, None)
    for step in plain["steps"]:
        if not step["go_on"]:
            del step["go_on"]
    return msgspec.json.format(msgspec.json.encode(plain), indent=2).decode() + "\n"


def difference(before: str, after: str, *, names: tuple[str, str] = ("signed", "draft")) -> list[str]:
    """Unified diff, line by line; empty when nothing differs."""
    return [
        line.rstrip("\n")
        for line in difflib.unified_diff(
            before.splitlines(), after.splitlines(), fromfile=names[0], tofile=names[1], lineterm=""
        )
    ]


EXAMPLE = Runbook(
    slug="my-runbook",
    version=1,
    title="My runbook",
    description="Says in a sentence what it does, and what it leaves alone.",
    risk=RiskClass.CHANGE,
    parameters=(Parameter(name="service", kind="service", description="The service it is about"),),
    steps=(Step(action="service.restart", arguments={"service": "{service}"}, timeout_seconds=120),),
    undo="Nothing to undo: it only restarts.",
    collect_after=("services",),
)
"""What a new draft begins with."""
