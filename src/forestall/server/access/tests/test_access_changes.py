"""An account changes on a device: a ticket tells the difference, and somebody says whether it is right."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestall.server.access import changes, rules
from forestall.server.access.models import AccessChange
from forestall.server.access.tests.house import ADA, BOB, DAEMON, KEY, ROOT, SYSTEM, account
from forestall.server.evidence.models import Entry
from forestall.server.outbox.models import OutboxEvent
from forestall.server.people.scope import NotAllowedError, Permission, Scope
from forestall.wire.facts import Access, Share, SudoRule

pytestmark = pytest.mark.django_db

EVE = account("eve", 1002, administrator=True, administrator_because=("group sudo",), groups=("eve", "sudo"))


def with_(one, **changed):
    return msgspec.structs.replace(one, **changed)


def test_the_first_document_is_what_later_ones_are_compared_with(house):
    house.report(ROOT, ADA)
    assert house.changes() == []


def test_a_new_administrator_is_a_ticket_with_the_difference(house):
    house.report(ROOT, ADA, BOB)
    house.report(ROOT, ADA, BOB, EVE)
    assert house.changes() == [("account eve is new (administrator by group sudo)", "open")]
    ticket = house.ticket(changes.KIND)
    assert ticket.title == "Access changed on web-01: account eve is new (administrator by group sudo)"
    assert (ticket.risk, ticket.state) == ("high", "open")
    entry = Entry.objects.visible_to(SYSTEM).filter(kind="access:changed").get()
    assert entry.reference == AccessChange.objects.visible_to(SYSTEM).get().evidence_reference


def test_more_changes_join_the_ticket_that_is_open(house):
    house.report(ROOT, ADA, BOB)
    house.report(ROOT, ADA, BOB, EVE)
    house.report(ROOT, ADA, with_(BOB, keys=(KEY,), ssh_keys=1), EVE)
    assert house.changes()[1] == ("bob got the SSH key ssh-ed25519 256 SHA256:abc bob@laptop", "open")
    texts = [event.text for event in house.ticket(changes.KIND).events.all()]
    assert any("Bob got the SSH key" in text and "Account eve is new" in text for text in texts)


def test_what_is_taken_back_settles_itself_and_the_ticket(house):
    house.report(ROOT, ADA, BOB)
    house.report(ROOT, ADA, with_(BOB, administrator=True, administrator_because=("group sudo",)))
    house.report(ROOT, ADA, BOB)
    assert [state for _, state in house.changes()] == ["undone", "undone"]
    assert house.ticket(changes.KIND).verified_at is not None


def test_accepting_all_of_it_finishes_the_ticket_and_is_on_record(house):
    house.report(ROOT, ADA)
    house.report(ROOT, ADA, BOB)
    (change,) = AccessChange.objects.visible_to(SYSTEM)
    changes.changes_accept(
        scope=house.office.scope,
        device_id=house.device.pk,
        change_ids=[change.pk],
        reason="new colleague",
        now=house.now,
    )
    assert house.changes() == [("account bob is new", "accepted")]
    assert house.ticket(changes.KIND).verified_at is not None
    with pytest.raises(changes.AccessError, match="accepted already"):
        changes.changes_accept(
            scope=house.office.scope, device_id=house.device.pk, change_ids=[change.pk], reason="x", now=house.now
        )


def test_accepting_needs_the_permission_and_a_reason(house):
    house.report(ROOT, ADA)
    house.report(ROOT, ADA, BOB)
    (change,) = AccessChange.objects.visible_to(SYSTEM)
    reader = Scope.at("rea", None, [Permission.DEVICE_VIEW])
    ask = {"device_id": house.device.pk, "change_ids": [change.pk], "now": house.now}
    with pytest.raises(NotAllowedError):
        changes.changes_accept(scope=reader, reason="x", **ask)
    with pytest.raises(changes.AccessError, match="reason"):
        changes.changes_accept(scope=house.office.scope, reason=" ", **ask)


def test_an_account_of_the_system_is_on_record_without_a_ticket(house):
    house.report(ROOT, ADA)
    house.report(ROOT, ADA, DAEMON)
    assert house.changes() == [("account daemon is new", "noted")]
    assert not OutboxEvent.objects.filter(name="ticket.opened").exists()


def test_what_could_not_be_seen_for_a_while_is_compared_when_it_is_seen_again(house):
    key = with_(BOB, keys=(KEY,), ssh_keys=1)
    house.report(ROOT, ADA, BOB)
    hidden = [with_(one, ssh_keys=None, password="unknown", disabled=None) for one in (ROOT, ADA, BOB)]
    house.report(*hidden, sudo_rules=None)
    assert house.changes() == []
    house.report(ROOT, ADA, key)
    assert [words for words, _ in house.changes()] == ["bob got the SSH key ssh-ed25519 256 SHA256:abc bob@laptop"]


def test_a_permission_of_sudo_and_a_share_are_told(house):
    rule = SudoRule(who="bob", run_as="ALL", commands=("ALL",), no_password=True, line="bob ALL=(ALL) NOPASSWD: ALL")
    house.report(ROOT, ADA, BOB)
    share = Share(name="all", path="/srv", kind="smb", guest=True, writable=True)
    house.report(ROOT, ADA, BOB, sudo=[rule], shares=(share,))
    assert [words for words, _ in house.changes()] == [
        "shared folder smb/all: /srv, anybody, may write",
        "sudo: bob may run ALL as ALL without a password",
    ]
    house.report(ROOT, ADA, BOB, shares=(share,))
    assert [state for words, state in house.changes() if "sudo" in words] == ["undone", "undone"]


def test_an_older_agent_that_told_less_made_nothing_new(house):
    shape = rules.shape_of(Access(accounts=(with_(BOB, ssh_keys=2),), sudo_rules=("bob ALL=ALL",)))
    rule = SudoRule(who="bob", commands=("ALL",), line="bob ALL=ALL")
    newer = rules.shape_of(
        Access(
            accounts=(with_(BOB, ssh_keys=1, keys=(KEY,)),), sudo_rules=("bob ALL=ALL",), sudo=(rule,),
            shares=(Share(name="x", path="/x", kind="nfs"),),
        )
    )  # fmt: skip
    assert rules.differences(shape, newer) == []


names = st.sampled_from(["ada", "bob", "eve"])
accounts = st.builds(
    account,
    names,
    st.integers(0, 3),
    login=st.booleans(),
    password=st.sampled_from(["set", "locked", "empty", "unknown"]),
    groups=st.sampled_from([(), ("sudo",), ("docker", "x")]),
    administrator_because=st.sampled_from([(), ("uid 0",)]),
    keys=st.sampled_from([(), (KEY,)]),
    expires_at=st.sampled_from([None, datetime(2026, 1, 1, tzinfo=UTC)]),
)


@given(st.lists(accounts, min_size=1), st.lists(accounts, min_size=1))
def test_a_document_differs_never_from_itself_and_what_was_merged_hides_nothing(old, new):
    before, after = (rules.shape_of(Access(accounts=tuple(each))) for each in (old, new))
    assert rules.differences(before, before) == []
    assert rules.differences(rules.merged(before, after), after) == []
    assert len(rules.differences(before, after)) == len(rules.differences(before, rules.merged(before, after)))
