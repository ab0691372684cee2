"""Every page of the console and the portal × every caller × own, sibling site, other client, absent.

The pages are walked from the table of addresses; what is expected is made from what each declares with ``@page``. A
new page is tried by itself; one whose address holds a thing that the world has not fails the matrix.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.test import Client as Browser
from django.urls import URLPattern, reverse

from forestall.server.console.access import DECLARATION, Declared, Staff
from forestall.server.console.shell import LIVE_HEADER
from forestall.server.console.urls import urlpatterns
from forestall.server.console.views.client_tabs import _TABS as CLIENT_TABS
from forestall.server.console.views.device import TABS as DEVICE_TABS
from forestall.server.evidence.models import Entry
from forestall.server.people.roles import Role
from forestall.server.people.scope import Permission, Scope
from forestall.server.people.signin_urls import urlpatterns as signin_patterns
from forestall.server.people.voice import is_staff
from forestall.server.tests.matrix_world import CALLERS, INTERNAL, MIXED, NOBODY, Caller, Matrix, Thing, caller
from forestall.server.tests.test_matrix_api import world  # noqa: F401 - the fixture
from forestall.server.transfer.rules import KINDS

pytestmark = pytest.mark.django_db

RELATIONS = ("own", "sibling", "other")
WRITERS = ("owner everywhere", "technician site", "auditor client", "client_manager client", MIXED, NOBODY)
"""Those who also send every form; every caller opens every page."""

THINGS: dict[str, dict[str, str]] = {
    # What a parameter stands for, where its name alone does not say it.
    "check_panel": {"pk": "check_id"}, "check_accept": {"pk": "check_id"},
    "portal_window_answer": {"pk": "window_id"},
    "report": {"number": "report_number"}, "report_pdf": {"number": "report_number"},
    "portal_report_pdf": {"number": "report_number"},
    "own_token_revoke": {"pk": "token_id"}, "account_session_end": {"pk": "session_id"},
}  # fmt: skip
CHOICES: dict[str, dict[str, list[str]]] = {
    # Parameters that choose a part of a page and are no thing.
    "device_tab": {"tab": [slug for slug, _ in DEVICE_TABS if slug]},
    "client_tab": {"tab": list(CLIENT_TABS)},
    "import_try": {"slug": list(KINDS)},
    "import_template": {"slug": list(KINDS)},
    "runbook": {"slug": ["free-disk-space"]},
    "prepare": {"slug": ["free-disk-space"]},
}
FORMS: dict[str, dict[str, str]] = {
    # What a form must say before the page asks who may.
    "approve": {"pick": "{device_id}"},
    "device_tag": {"pick": "{device_id}", "tags": "x"},
    "enrol": {"site": "{site_id}"},
    "device_describe": {"name": "x", "role": "server"},
    "group_change": {"name": "x"},
    "asset": {"name": "x", "role": "server"},
    "window": {"act": "end"},
    "blackout_new": {
        "place": "site:{site_id}",
        "why": "x",
        "starts_on": "2026-12-24",
        "starts_at": "00:00",
        "ends_on": "2026-12-25",
        "ends_at": "00:00",
    },
    "check_policies": {
        "place": "device:{device_id}",
        "kind": "disk_space",
        "set-every_minutes": "5",
        "reason": "because",
    },
    "recovery_new": {"device": "{device_id}", "kind": "folder", "what": "/srv/another"},
    "recovery_attest": {"level": "whole"},
    "recovery_archive": {"why": "because"},
    "proof_withdraw": {"why": "because"},
    "coverage_exceptions": {
        "place": "device:{device_id}",
        "column": "backup",
        "reason": "because",
        "until": (datetime.now(UTC) + timedelta(days=30)).date().isoformat(),
    },
    "access_begin": {"place": "site:{site_id}", "act": "plan", "months": "3", "days": "14"},
    "configuration_accept": {"reason": "because"},
    "configuration_deviate": {"control": "shell-timeout", "reason": "because", "until": "2026-12-31"},
    "configuration_assign": {"level": "2", "where": "device", "reason": "because"},
    "access_changes_accept": {"pick": "{access_change_id}", "reason": "because"},
    "access_review_decide": {"pick": "{review_item_id}", "decision": "keep"},
    "access_review_end": {"reason": "because"},
    "access_item_prepare": {"runbook": "lock-account"},
    "rollout_new": {"client": "{client_id}"},
    "hold_override": {"client": "{client_id}", "hold": "1", "reason": "because"},
    "update_except": {"reason": "because", "instead": "a wall", "until": "2031-01-01"},
    "updates_act": {"pick": "apt|openssl|1", "act": "approve"},
    "obligations": {"client": "{client_id}", "slug": "contract", "what": "hours", "number": "24", "reason": "because"},
    "vulnerability_mark": {"place": "device:{device_id}", "mark": "false_positive", "reason": "because"},
    "draft_new": {"name": "another"},
    "draft_save": {"text": "x"},
}
ONES_OWN = frozenset({"own_token_revoke", "account_session_end", "calendar_feed_revoke"})
"""Pages that know one's own things alone, whatever one's roles."""
WHOLE_INSTALLATION = frozenset(
    {"client_new", "routing", "role_factor", "role_new", "role_change", "vulnerability_feed_import", "draft_new"}
)
"""Pages that concern every client."""
WHOLE_CLIENT = frozenset({"client_change", "client_export", "client_remove"})
"""Pages that only those open who may what they offer at the client as a whole."""
WHOLE_TO_SEE = {"bundle": Permission.EVIDENCE_VIEW}
"""Pages that are not there for those who see part of a client: a log has no part."""
NEEDS_SAMPLES = frozenset({"series_json", "series_csv"})
"""Pages of one chart: not there without a chart of that name, and the world has none."""
PARTS = {
    # (page, part) → what the part asks besides, and the answer to whoever lacks it.
    ("client_tab", "people"): (Permission.PEOPLE_VIEW, "absent"),
    ("device_tab", "evidence"): (Permission.EVIDENCE_VIEW, "refused"),
}
WORDS_FIRST = frozenset(
    {"ticket_assign", "portal_ticket_answer", "portal_ticket_rate", "portal_ticket_new", "portal_window_answer"}
)
"""Forms that may say what else is wrong before they say who may: they change nothing either way."""
QUESTIONS = {"person_why": "?permission=device.view&place=site:{site_id}"}
"""What a page cannot be opened without."""
QUERIES: dict[str, list[str]] = {
    "person_why": ["&place=site:{site_id}"],
    "device": ["?check={check_id}"], "checks": ["?check={check_id}"],
    "search": ["?q=branch", "?q=canary&palette=1", "?q=branch&palette=results"],
}  # fmt: skip
FILTERS = ("?q=branch", "?client={client_id}")
"""Questions every list is asked besides: what another client's name in an address brings."""


@dataclass(frozen=True)
class Page:
    name: str
    declared: Declared
    parameters: tuple[str, ...]
    fixed: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {' '.join(value for _, value in self.fixed)}".strip()

    @property
    def is_portal(self) -> bool:
        return isinstance(self.declared.permission, Permission) and self.declared.permission.is_portal

    def thing(self, parameter: str) -> str:
        known = THINGS.get(self.name, {}).get(parameter, parameter)
        return "role_id" if known == "role" else known

    def address(self, values: dict[str, object]) -> str:
        given = {one: values[self.thing(one)] for one in self.parameters}
        question = QUESTIONS.get(self.name, "").format(**values)
        return reverse(f"console:{self.name}", kwargs={**given, **dict(self.fixed)}) + question


def pages() -> list[Page]:
    found = []
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        name = str(pattern.name)
        choices = CHOICES.get(name, {})
        parameters = tuple(one for one in re.findall(r"<\w+:(\w+)>", str(pattern.pattern)) if one not in choices)
        parts: list[tuple[tuple[str, str], ...]] = [((one, value),) for one in choices for value in choices[one]]
        declared = getattr(pattern.callback, DECLARATION)
        found += [Page(name, declared, parameters, part) for part in parts or [()]]
    return found


def things_of(page: Page, world: Matrix, relation: str) -> dict[str, Thing]:  # noqa: F811
    names = [page.thing(one) for one in page.parameters]
    form = FORMS.get(page.name, {})
    names += re.findall(r"{(\w+)}", " ".join(form.values()) + QUESTIONS.get(page.name, ""))
    found = {}
    for name in names:
        if name in {"order_id", "session_id"}:
            continue
        thing = world.shared.get(name) or world.things[relation][name]
        if page.name in ONES_OWN:
            thing = replace(thing, private=True)
        if page.name in WHOLE_TO_SEE:
            thing = replace(thing, view=WHOLE_TO_SEE[page.name], whole=True)
        found[name] = thing
    return found


def values_of(page: Page, world: Matrix, relation: str) -> dict[str, object]:  # noqa: F811
    values: dict[str, object] = {name: thing.value for name, thing in world.shared.items()}
    values |= {name: thing.value for name, thing in world.things[relation].items()}
    return values | {"order_id": uuid4(), "session_id": 987_654_321}


def absent_values(page: Page, world: Matrix, values: dict[str, object]) -> dict[str, object]:  # noqa: F811
    known = {**world.shared, **world.things["own"]}
    return {name: world.absent(name) if name in known else value for name, value in values.items()}


def expected(page: Page, things: dict[str, Thing], who: Caller, method: str) -> str:
    """From the declaration, the places and the roles alone."""
    declared, scope = page.declared, who.scope
    if method not in declared.methods:
        return "wrong method"
    permission = declared.permission if isinstance(declared.permission, Permission) else None
    if permission is not None and scope.place(permission).is_empty:
        return "refused"
    if isinstance(declared.permission, Staff) and not is_staff(scope):
        return "absent"
    changes = method == "POST"
    if changes and declared.change is not None and scope.place(declared.change).is_empty:
        return "refused"
    needed = declared.change if changes and declared.change is not None else permission
    if page.name in WHOLE_INSTALLATION and needed is not None and not scope.everywhere(needed):
        return "refused"
    if page.is_portal:
        things = {name: replace(thing, view=_portal_view(page, who, name)) for name, thing in things.items()}
    if page.name in NEEDS_SAMPLES or {"session_id", "order_id"} & {page.thing(one) for one in page.parameters}:
        return "absent"
    if not all(thing.seen_by(scope) for thing in things.values()):
        return "absent"
    for part in page.fixed:
        asks, lacking = PARTS.get((page.name, part[1]), (None, ""))
        if asks is None:
            continue
        there = [scope.place(asks).touches(thing.client) for thing in things.values() if thing.client is not None]
        if scope.place(asks).is_empty or (lacking == "absent" and not all(there)):
            return lacking
    if page.is_portal and changes and is_staff(scope):
        return "refused"
    reads = not changes and page.name not in WHOLE_CLIENT
    asked = [thing for name, thing in things.items() if name not in QUESTIONS.get(page.name, "")]
    return "allowed" if all(thing.allowed_to(scope, needed, reads=reads) for thing in asked) else "refused"


def _portal_view(page: Page, who: Caller, name: str) -> Permission:
    if name == "number" and not is_staff(who.scope):
        return Permission.PORTAL_APPROVE
    return page.declared.permission  # type: ignore[return-value]


def answered(status: int) -> str:
    return {403: "refused", 404: "absent", 405: "wrong method"}.get(status, "allowed" if status < 500 else "broken")


def changes_nothing(browser: Browser, path: str, form: dict[str, Any]) -> bool:
    """Whether a form leaves no evidence: whatever changes something at a client does."""
    with transaction.atomic():
        before = Entry.objects.visible_to(Scope.system("matrix")).count()
        browser.post(path, form)
        after: int = Entry.objects.visible_to(Scope.system("matrix")).count()
        transaction.set_rollback(True)
    return before == after


def tried(browser: Browser, method: str, path: str, form: dict[str, Any] | None = None, **headers: str) -> Any:
    """The answer; whatever it changed is taken back."""
    with transaction.atomic():
        answer = browser.generic(
            method, path, data="&".join(f"{name}={value}" for name, value in (form or {}).items()),
            content_type="application/x-www-form-urlencoded", headers=headers,
        )  # fmt: skip
        content = b"".join(answer.streaming_content) if answer.streaming else answer.content
        transaction.set_rollback(True)
    return answer.status_code, content, sorted(answer.headers.items()), answer.get("Location", "")


def signed_in(who: Caller) -> Caller:
    """In their browser, having just proved who they are."""
    who.browser.force_login(who.person)
    session = who.browser.session
    session["account_authentication_methods"] = [{"method": "password", "at": time.time()}]
    session["account_authentication_methods_user"] = session["_auth_user_id"]
    session.save()
    return who


def test_every_parameter_of_every_page_is_in_the_world(world):  # noqa: F811
    known = set(world.things["own"]) | set(world.shared) | {"order_id", "session_id"}
    assert {page.thing(one) for page in pages() for one in page.parameters} - known == set()


def test_v8_whoever_is_not_signed_in_is_sent_to_sign_in_whatever_the_page(world, django_db_blocker):  # noqa: F811
    with django_db_blocker.unblock():
        for page in pages():
            values = values_of(page, world, "own")
            for method in ("GET", "POST") if "POST" in page.declared.methods else ("GET",):
                there = tried(Browser(), method, page.address(values))
                gone = tried(Browser(), method, page.address(absent_values(page, world, values)))
                assert (there[0], there[3].partition("?")[0]) == (302, "/accounts/login/"), page
                assert (gone[0], gone[1]) == (there[0], there[1]), page


@pytest.mark.parametrize("name", CALLERS)
def test_v8_each_page_answers_each_person_as_their_roles_and_places_say(world, name, django_db_blocker):  # noqa: F811
    """Also V9: no page holds a word of a place that its reader does not see, nor what staff tell each other."""
    with django_db_blocker.unblock():
        who = signed_in(caller(world, name))
        wrong, cases = walk(world, who, ("GET", "POST") if name in WRITERS else ("GET",))
        who.person.delete()
    assert not wrong, "\n".join(map(str, wrong))
    assert cases > 150


def walk(world: Matrix, who: Caller, methods: tuple[str, ...]) -> tuple[list[Any], int]:  # noqa: F811
    wrong: list[Any] = []
    cases = 0
    may_read = who.sees()
    hidden = [canary for canary in who.canaries if canary not in may_read]
    if not is_staff(who.scope):
        hidden.append(INTERNAL)

    def tell(page: Page, method: str, more: str, *said: object) -> None:
        wrong.append((str(page), method, more, *said))

    # Who has no single site sees a client's sites all alike.
    relations = RELATIONS if who.scope.place().sites or len(methods) > 1 else ("own", "other")
    for page in pages():
        for method in methods:
            if method not in page.declared.methods:
                continue
            form = FORMS.get(page.name, {}) if method == "POST" else {}
            gone = None
            for relation in relations if page.parameters or form else ("own",):
                things = things_of(page, world, relation)
                values = values_of(page, world, relation)
                filled = {name: value.format(**values) for name, value in form.items()}
                want = expected(page, things, who, method)
                answer = tried(who.browser, method, page.address(values), filled)
                cases += 1
                got = answered(answer[0])
                if want == "refused" and got == "allowed" and page.name in WORDS_FIRST and method == "POST":
                    got = want if changes_nothing(who.browser, page.address(values), filled) else got
                if got != want:
                    tell(page, method, relation, want, answer[0], said(answer[1]))
                elif want == "absent" and gone is None:
                    nothing = absent_values(page, world, values)
                    filled = {name: value.format(**nothing) for name, value in form.items()}
                    gone = tried(who.browser, method, page.address(nothing), filled)
                    cases += 1
                if want == "absent" and gone is not None and answer != gone:
                    tell(page, method, relation, "differs from absent", answer[:1], gone[:1])
                _leaks(tell, page, method, relation, answer[1], hidden)
        if not hidden:
            continue
        if "GET" in page.declared.methods and not page.parameters:
            for question in (*QUERIES.get(page.name, ()), *FILTERS):
                values = values_of(page, world, "other")
                path = page.address(values) + question.format(**values)
                answer = tried(who.browser, "GET", path, **{LIVE_HEADER: "0"})
                cases += 1
                if answer[0] >= 500:
                    tell(page, "GET", question, answer[0])
                _leaks(tell, page, "GET", question, answer[1], hidden)
        elif page.name in QUERIES and "GET" in page.declared.methods:
            own, other = values_of(page, world, "own"), values_of(page, world, "other")
            for question in QUERIES[page.name]:
                # A thing one sees, asked about another that one may not.
                answer = tried(who.browser, "GET", page.address(own) + question.format(**other))
                cases += 1
                _leaks(tell, page, "GET", question, answer[1], hidden)
    return wrong, cases


def _leaks(tell: Any, page: Page, method: str, more: str, content: bytes, hidden: list[str]) -> None:
    if content[:2] == b"PK" or content[:4] == b"%PDF":
        content = content[:0] if content[:2] == b"PK" else content
    low = content.lower()
    for canary in hidden:
        if canary.lower().encode() in low:
            at = low.index(canary.lower().encode())
            tell(page, method, more, "leaks", canary, content[max(0, at - 80) : at + 40])


def said(content: bytes) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", content.decode(errors="replace")))[:120]


def test_the_addresses_of_sign_in_say_nothing_of_any_client(world, django_db_blocker):  # noqa: F811
    """They know a person and their own factors: nobody else's."""
    with django_db_blocker.unblock():
        who = signed_in(caller(world, f"{Role.CLIENT_MANAGER.value} site"))
        for browser in (Browser(), who.browser):
            for pattern in signin_patterns:
                kinds = re.findall(r"<(?:\w+:)?(\w+)>", str(pattern.pattern))
                given = {one: {"pk": 987_654_321, "provider_id": "none", "uidb36": "a1"}.get(one, "x") for one in kinds}
                for method in ("GET", "POST"):
                    if str(pattern.name) == "account_logout" and method == "POST":
                        continue
                    status, content, _, _ = tried(browser, method, reverse(str(pattern.name), kwargs=given))
                    assert status < 500, pattern
                    assert not re.search(rb"(?i)branch|canary", content), pattern
        who.person.delete()
