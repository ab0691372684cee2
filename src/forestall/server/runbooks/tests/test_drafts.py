"""Ada writes a runbook: what is wrong is named with its place, every version stays, and only the key publishes it."""

from __future__ import annotations

import json

import pytest

from forestall.agent.act.actions import ACTIONS
from forestall.server.evidence.models import Entry
from forestall.server.runbooks import draft_services as drafts
from forestall.server.runbooks import drafting, queries, services
from forestall.server.runbooks.library import read_library
from forestall.server.runbooks.models import DraftState, RunbookDraft
from forestall.server.runbooks.operator import runbooks_sign
from forestall.trust.statements import RiskClass

EXAMPLE = json.loads(drafting.pretty(drafting.EXAMPLE))


def text(**changes) -> str:
    return json.dumps({**EXAMPLE, **changes})


def step(**changes):
    return {"action": "service.restart", "arguments": {"service": "{service}"}, **changes}


def problems(content: str, newest: int = 0) -> list[str]:
    found = drafting.draft_problems(
        content, slug="my-runbook", newest=newest, documents=frozenset({"services", "volumes"})
    )
    return [problem.sentence for problem in found]


def test_the_example_is_sound():
    assert problems(text()) == []


def test_every_built_in_runbook_is_a_sound_draft():
    for runbook in read_library():
        written = drafting.pretty(runbook)
        assert drafting.read_draft(written) == runbook
        assert drafting.draft_problems(written, slug=runbook.slug, newest=runbook.version - 1) == (), runbook.slug


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "$: Input data was truncated"),
        (text(version="2"), "$.version: Expected `int`, got `str`"),
        (text(steps=[step(timeout="5")]), "$.steps[0]: Object contains unknown field `timeout`"),
        (text(risk="harmless"), "$.risk: Invalid enum value 'harmless'"),
        (text(slug="another"), "$.slug: 'another' is not the name of this draft, 'my-runbook'"),
        (text(version=7), "$.version: 7, but the next one to sign is 1"),
        (text(title=" "), "$.title: empty; people read it before they sign"),
        (text(risk="trust"), "$.risk: 'trust' is never signed by operators; use 'change' or 'destructive'"),
        (text(risk="observe"), "$.risk: 'observe' is for what changes nothing, and every action may; use 'change'"),
        (text(steps=[step(action="service.restrat")]),
         "$.steps[0].action: no action is called 'service.restrat'; did you mean 'service.restart'?"),
        (text(steps=[step(arguments={"service": "{nobody}"})]),
         "$.steps[0].arguments.service: '{nobody}' stands for a parameter that the runbook does not have"),
        (text(steps=[step(arguments={})]),
         "$.steps[0].arguments: 'service' is missing: service.restart takes service"),
        (text(steps=[step(arguments={"service": "x", "force": True})]),
         "$.steps[0].arguments.force: service.restart does not take it; it takes service"),
        (text(steps=[step(arguments={"service": 5})]),
         "$.steps[0].arguments.service: 5 is integer, service.restart takes text"),
        (text(parameters=[{"name": "service", "kind": "boolean", "description": ""}]),
         "$.steps[0].arguments.service: '{service}' is boolean, service.restart takes text"),
        (text(steps=[step(undo={"action": "x.y", "arguments": {}})]),
         "$.steps[0].undo.action: no action is called 'x.y'"),
        (text(steps=[step(timeout_seconds=0)]), "$.steps[0]: step 'service.restart' has a timeout of 0 s"),
        (text(steps=[step(), step(when={"step": "first", "outcome": "failed"})]),
         "$.steps[1]: step 'service.restart' asks for the step 'first', and no earlier one has that name"),
        (text(steps=[]), "$: it has no steps"),
        (text(parameters=[{"name": "service", "kind": "service", "description": "", "pattern": "("}]),
         "$.parameters[0].pattern: '(' is no regular expression"),
        (text(parameters=[{"name": "service", "kind": "integer", "description": "", "default": 9, "maximum": 5}]),
         "$.parameters[0].default: parameter service: 9 is above 5"),
        (text(parameters=[{"name": "service", "kind": "service", "description": "", "required": False}]),
         "$.parameters[0].default: missing"),
        (text(parameters=[{"name": "service", "kind": "integer", "description": "", "minimum": 9, "maximum": 5}]),
         "$.parameters[0].minimum: 9 is above the maximum, 5"),
        (text(collect_after=["weather"]), "$.collect_after[0]: no facts document is called 'weather'"),
        (text(steps=[{"action": "script.run",
                      "arguments": {"interpreter": "sh", "script": "true", "run_as": "nobody"}}]),
         "$.risk: 'change', but script.run needs 'destructive': two operators sign"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(content, said):
    assert any(sentence.startswith(said) for sentence in problems(content)), problems(content)


def test_several_things_are_said_at_once():
    assert len(problems(text(title="", undo="", steps=[step(action="x.y")]))) == 3


def test_what_needs_two_operators_is_what_the_agent_says():
    assert {name for name, action in ACTIONS.items() if action.RISK is RiskClass.DESTRUCTIVE} == set(
        drafting.DESTRUCTIVE
    )


def test_kinds_of_arguments_are_what_the_agent_says():
    for name, action in ACTIONS.items():
        for argument, kind in action.ARGUMENTS.items():
            wanted = int if argument in drafting.INTEGERS else bool if argument in drafting.BOOLEANS else str
            assert kind is wanted, (name, argument)


def test_a_draft_from_the_signed_version_to_the_next_signed_one(office):
    now = office.now
    draft = drafts.draft_create(scope=office.scope, slug="restart-service", now=now)
    signed = queries.runbook(scope=office.scope, slug="restart-service")
    assert draft.base == signed
    [first] = draft.versions.all()
    assert (first.number, first.problems, first.note) == (1, [], f"from version {signed.version}")

    content = json.loads(first.text)
    content["description"] = "Restarts a service of ours."
    second = drafts.draft_save(
        scope=office.scope, slug="restart-service", text=json.dumps(content, indent=2), note="ours", expected=1, now=now
    )
    assert second.problems == []
    changed = queries.draft_difference(draft=draft)
    assert '+  "description": "Restarts a service of ours.",' in changed
    with pytest.raises(services.RunbooksError, match="version 2 was saved by ada since you read version 1"):
        drafts.draft_save(scope=office.scope, slug="restart-service", text="{}", expected=1, now=now)
    third = drafts.draft_save(scope=office.scope, slug="restart-service", text="{", now=now)
    assert third.problems
    back = drafts.draft_undo(scope=office.scope, slug="restart-service", now=now)
    assert (back.number, back.text, back.note) == (4, second.text, "back to version 2")
    assert drafts.draft_undo(scope=office.scope, slug="restart-service", to=1, now=now).text == first.text
    assert drafts.draft_undo(scope=office.scope, slug="restart-service", to=4, now=now).text == second.text

    # Nothing of it can run: the server has no key. Ada signs it where the catalogue's key is.
    runbook = drafting.read_draft(second.text)
    [path] = runbooks_sign(folder=office.operator.folder, runbooks=[runbook])
    try:
        record = services.runbook_publish(scope=office.scope, envelope=path.read_bytes(), now=now)
    finally:
        path.unlink()
    assert record.version == signed.version + 1
    draft.refresh_from_db()
    assert draft.state == DraftState.SIGNED
    kinds = Entry.objects.visible_to(office.scope).filter(client=office.client).values_list("kind", flat=True)
    assert "runbook:drafted" in set(kinds)
    with pytest.raises(services.RunbooksError, match="begin it anew"):
        drafts.draft_save(scope=office.scope, slug="restart-service", text="{}", now=now)
    again = drafts.draft_create(scope=office.scope, slug="restart-service", now=now)
    assert again.pk == draft.pk
    assert json.loads(again.versions.first().text)["version"] == signed.version + 2


def test_another_runbook_of_that_name_leaves_the_draft_open(office):
    drafts.draft_create(scope=office.scope, slug="my-runbook", now=office.now)
    other = drafting.read_draft(text(title="Another"))
    [path] = runbooks_sign(folder=office.operator.folder, runbooks=[other])
    try:
        services.runbook_publish(scope=office.scope, envelope=path.read_bytes(), now=office.now)
    finally:
        path.unlink()
    assert queries.draft(scope=office.scope, slug="my-runbook").state == DraftState.OPEN


def test_a_draft_is_dropped_and_taken_up_again(office):
    drafts.draft_create(scope=office.scope, slug="my-runbook", now=office.now)
    with pytest.raises(services.RunbooksError, match="is open already, by ada"):
        drafts.draft_create(scope=office.scope, slug="my-runbook", now=office.now)
    with pytest.raises(services.RunbooksError, match="no earlier version"):
        drafts.draft_undo(scope=office.scope, slug="my-runbook", now=office.now)
    with pytest.raises(services.RunbooksError, match="no version 9"):
        drafts.draft_undo(scope=office.scope, slug="my-runbook", to=9, now=office.now)
    assert drafts.draft_drop(scope=office.scope, slug="my-runbook", now=office.now).state == DraftState.DROPPED
    drafts.draft_create(scope=office.scope, slug="my-runbook", text="{}", now=office.now)
    assert RunbookDraft.objects.get(slug="my-runbook").versions.count() == 2


def test_bad_names_and_sizes_are_said(office):
    with pytest.raises(services.RunbooksError, match="slug: 'My Runbook' is not lower-case words"):
        drafts.draft_create(scope=office.scope, slug="My Runbook", now=office.now)
    drafts.draft_create(scope=office.scope, slug="my-runbook", now=office.now)
    with pytest.raises(services.RunbooksError, match="262145 characters, at most 262144"):
        drafts.draft_save(scope=office.scope, slug="my-runbook", text="x" * 262_145, now=office.now)
    same = drafts.draft_save(
        scope=office.scope, slug="my-runbook",
        text=RunbookDraft.objects.get(slug="my-runbook").versions.first().text, now=office.now,
    )  # fmt: skip
    assert same.number == 1
    assert problems("x" * 262_145)[0].startswith("$: it has 262145 characters")
