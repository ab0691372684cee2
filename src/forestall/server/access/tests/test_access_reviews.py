"""The quarterly review: it begins when due, every account is decided, facts show whether it was done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from forestall.server.access import changes, queries, rules, services
from forestall.server.access.changes import AccessError
from forestall.server.access.models import AccessReview, ReviewItem
from forestall.server.access.tests.house import ADA, BOB, DAEMON, KEY, ROOT, SYSTEM, account
from forestall.server.evidence.models import Entry
from forestall.server.people.scope import NotAllowedError, Permission, Scope

pytestmark = pytest.mark.django_db


def standing(house):
    (one,) = queries.review_standings(scope=SYSTEM, now=house.now)
    return one.status.value, one.why


def with_(one, **changed):
    return msgspec.structs.replace(one, **changed)


def test_every_account_that_lets_somebody_in_is_asked_about_and_no_other(house):
    house.report(ROOT, ADA, BOB, DAEMON)
    review = house.begin()
    assert [item.account for item in queries.items(scope=SYSTEM, review=review)] == ["ada", "bob", "root"]
    assert review.devices.get().accounts == 4


def test_a_review_is_signed_off_when_every_account_is_decided(house):
    house.report(ROOT, ADA, BOB)
    review = house.begin()
    house.decide(review, "keep", "root", "ada")
    with pytest.raises(AccessError, match="1 account not decided yet: bob on web-01"):
        house.sign(review)
    assert standing(house)[0] == "unknown"
    house.decide(review, "keep", "bob", reason="accounting")
    signed = house.sign(review)
    assert (signed.state, signed.ended_by) == ("signed", "ada")
    assert standing(house)[0] == "pass"
    entry = Entry.objects.visible_to(SYSTEM).filter(kind="review:changed").order_by("pk").last()
    assert entry.reference == signed.evidence_reference
    assert Entry.objects.visible_to(SYSTEM).filter(kind="access:reviewed").count() == 3, "one for every account"


def test_removing_needs_a_reason(house):
    house.report(ROOT, BOB)
    with pytest.raises(AccessError, match="say why it is to be removed"):
        house.decide(house.begin(), "remove", "bob")


def test_an_account_that_changes_after_its_decision_is_asked_again(house):
    house.report(ROOT, ADA, BOB)
    review = house.begin()
    house.decide(review, "keep", "root", "ada", "bob")
    house.report(ROOT, ADA, with_(BOB, administrator=True, administrator_because=("group sudo",)))
    bob = house.item("bob")
    assert bob.decision == ""
    assert bob.asked_again == "keep was decided by ada; after that it changed: administrator: none → group sudo"
    with pytest.raises(AccessError, match="bob on web-01"):
        house.sign(review)


def test_a_sign_in_is_no_change_of_rights(house):
    house.report(ROOT, BOB)
    review = house.begin()
    house.decide(review, "keep", "root", "bob")
    house.report(ROOT, with_(BOB, last_login=datetime(2026, 11, 1, tzinfo=UTC)))
    assert house.item("bob").decision == "keep"


def test_a_new_account_joins_the_open_review_and_one_that_goes_need_not_be_decided(house):
    house.report(ROOT, ADA, BOB)
    review = house.begin()
    house.report(ROOT, ADA, account("eve", 1003))
    assert (house.item("eve").review, house.item("bob").gone_at) == (review, house.now)
    house.decide(review, "keep", "root", "ada", "eve")
    assert house.sign(review).state == "signed"


def test_a_device_that_comes_later_joins_the_open_review(house):
    house.report(ROOT, BOB)
    late, _ = house.office.new_device("mail-01")
    review = house.begin()
    assert review.not_known == ["mail-01"]
    house.report(ROOT, account("carol", 1005), device=late)
    review.refresh_from_db()
    assert (review.not_known, house.item("carol").review) == ([], review)


def test_what_is_removed_is_followed_until_the_facts_show_it(house):
    house.report(ROOT, ADA, BOB)
    review = house.begin()
    house.decide(review, "keep", "root", "ada")
    house.decide(review, "remove", "bob", reason="left the company")
    house.sign(review)
    ticket = house.ticket(services.KIND)
    assert ticket.title == "1 account of web-01 to remove or change"
    assert standing(house)[0] == "warn"
    house.office.later(days=15)
    assert standing(house) == ("fail", "1 account that a review wants gone or changed is still as before.")
    gone = with_(BOB, password="locked", disabled=True, expires_at=datetime(1970, 1, 2, tzinfo=UTC))
    house.report(ROOT, ADA, gone)
    assert house.item("bob").done_at == house.now
    ticket.refresh_from_db()
    assert ticket.verification["reason"] == "the facts show it done: bob"
    assert standing(house)[0] == "pass"


def test_bulk_keep_takes_those_that_are_as_they_were_when_last_kept(house):
    house.report(ROOT, ADA, BOB)
    first = house.begin()
    with pytest.raises(AccessError, match="none is undecided and unchanged"):
        services.items_keep_unchanged(review=first, scope=house.office.scope, now=house.now)
    house.decide(first, "keep", "root", "ada", "bob")
    house.sign(first)
    house.office.later(days=80)
    house.report(ROOT, ADA, with_(BOB, keys=(KEY,), ssh_keys=1))
    second = house.begin()
    kept = services.items_keep_unchanged(review=second, scope=house.office.scope, now=house.now)
    assert [item.account for item in kept] == ["ada", "root"]
    assert not house.item("bob").unchanged


def test_keeping_an_account_says_that_its_open_changes_are_right(house):
    house.report(ROOT, ADA)
    house.report(ROOT, ADA, BOB)
    review = house.begin()
    house.decide(review, "keep", "bob", reason="new colleague")
    assert house.changes() == [("account bob is new", "accepted")]
    assert house.ticket(changes.KIND).verified_at is not None


def test_it_begins_by_itself_in_time_to_be_answered_before_it_is_due(house):
    house.report(ROOT, BOB)
    assert services.reviews_tick(now=house.now) == 0
    house.office.later(days=79)
    assert services.reviews_tick(now=house.now) == 1
    review = AccessReview.objects.visible_to(SYSTEM).get()
    assert (review.begun_by, review.due_at - house.now >= timedelta(days=13)) == ("plan", True)
    assert services.reviews_tick(now=house.now) == 0, "one at a time"
    house.decide(review, "keep", "root", "bob")
    house.sign(review)
    house.office.later(days=70)
    assert services.reviews_tick(now=house.now) == 0
    house.office.later(days=9)
    assert services.reviews_tick(now=house.now) == 1


def test_a_site_with_a_plan_of_its_own_is_reviewed_by_itself(house):
    from forestall.server.people.services import site_create

    branch = site_create(client=house.office.client, name="Branch")
    there, _ = house.office.new_device("branch-01", site=branch)
    house.report(ROOT, BOB)
    house.report(ROOT, account("carol", 1005), device=there)
    services.plan_set(
        client=house.office.client, site=branch, every_months=1, answer_days=7, assigned_to=None,
        scope=house.office.scope, now=house.now,
    )  # fmt: skip
    house.office.later(days=25)
    assert services.reviews_tick(now=house.now) == 1
    review = AccessReview.objects.visible_to(SYSTEM).get()
    assert (review.site, [item.account for item in review.items.order_by("account")]) == (branch, ["carol", "root"])
    whole = house.begin()
    assert {item.device.name for item in queries.items(scope=SYSTEM, review=whole)} == {"web-01"}


def test_an_ended_review_signs_nothing_off(house):
    house.report(ROOT, BOB)
    review = house.begin()
    services.review_end(review=review, reason="begun by mistake", scope=house.office.scope, now=house.now)
    assert standing(house)[0] == "unknown"
    with pytest.raises(AccessError, match="ended without sign-off"):
        house.decide(review, "keep", "bob")


def test_whoever_may_only_look_decides_nothing(house):
    house.report(ROOT, BOB)
    review = house.begin()
    reader = Scope.at("rea", None, [Permission.DEVICE_VIEW])
    with pytest.raises(NotAllowedError):
        services.items_decide(
            review=review, item_ids=[house.item("bob").pk], decision="keep", scope=reader, now=house.now
        )
    with pytest.raises(AccessReview.DoesNotExist):
        services.review_sign(review=review, scope=Scope.at("eve", None, [], clients=[]), now=house.now)


def test_what_an_earlier_review_wanted_counts_no_more_when_a_later_one_decides(house):
    house.report(ROOT, BOB)
    first = house.begin()
    house.decide(first, "keep", "root")
    house.decide(first, "remove", "bob", reason="left")
    house.sign(first)
    second = house.begin()
    house.decide(second, "keep", "root", "bob", reason="came back")
    house.sign(second)
    assert not queries.undone(scope=SYSTEM).exists()
    assert house.ticket(services.KIND).state == "closed"


def test_a_device_whose_accounts_are_not_known_is_unknown_and_never_pass(house):
    assert standing(house) == ("unknown", "Its accounts are not known.")


def test_no_device_with_accounts_no_review(house):
    with pytest.raises(AccessError, match="no device of Acme Ltd tells its accounts yet"):
        house.begin()


def test_four_hundred_accounts_are_decided_at_once(house):
    many = [account(f"user{number:03}", 2000 + number) for number in range(400)]
    house.report(ROOT, *many)
    review = house.begin()
    ids = list(ReviewItem.objects.visible_to(SYSTEM).filter(review=review).values_list("pk", flat=True))
    assert len(ids) == 401
    services.items_decide(review=review, item_ids=ids, decision="keep", scope=house.office.scope, now=house.now)
    assert house.sign(review).state == "signed"


def test_months_end_where_they_end():
    assert rules.months_later(datetime(2026, 11, 30, tzinfo=UTC), 3) == datetime(2027, 2, 28, tzinfo=UTC)
    assert rules.months_later(datetime(2026, 12, 15, tzinfo=UTC), 1) == datetime(2027, 1, 15, tzinfo=UTC)
