"""Access reviews: they begin when due, people decide every account, and facts show whether it was done."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import Max, Min, Q

from forestall.server.access import queries, rules
from forestall.server.access.changes import AccessError, account_accept, changes_follow, said
from forestall.server.access.models import (
    AccessReview,
    AccessSeen,
    Decision,
    ReviewDevice,
    ReviewItem,
    ReviewPlan,
    ReviewState,
)
from forestall.server.access.queries import Plans, Unit
from forestall.server.checks.result import Risk
from forestall.server.checks.words import count, day, listing
from forestall.server.evidence.changes import change_record
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import evidence_append
from forestall.server.inventory.models import Device, DeviceStatus
from forestall.server.inventory.queries import documents_of
from forestall.server.people.models import Client, Person, Site
from forestall.server.people.queries import holders
from forestall.server.people.scope import Permission, Scope
from forestall.server.runbooks.models import RunbookRecord
from forestall.server.runbooks.queries import NoAuthorityError
from forestall.server.runbooks.services import RunbooksError, job_prepare
from forestall.server.tickets.mail import mail_is_set
from forestall.server.tickets.models import Ticket
from forestall.server.tickets.services import condition_found, condition_gone
from forestall.wire.facts import Access

log = logging.getLogger(__name__)

KIND = "access_review"
"""The condition of tickets about accounts that a review wants gone or changed."""
BY_PLAN = "plan"
REMIND_BEFORE = timedelta(days=3)
REMIND_AGAIN = timedelta(days=3)
AFTER_ENDED = timedelta(days=30)
"""A review that was ended without sign-off begins again by itself no sooner."""
_SELF = Scope.system("access")


# --- following the facts -----------------------------------------------------------------------------------------


def device_follow_by_id(*, device_id: UUID | str, documents: Iterable[str], now: datetime) -> None:
    """A device told new documents: note what changed of its access, and bring open reviews up to date."""
    if Access.name() not in documents:
        return
    device = Device.objects.visible_to(_SELF).select_related("client", "site").filter(pk=device_id).first()
    if device is None:
        return
    document = documents_of(scope=_SELF, kind=Access, devices=[device.pk]).get(device.pk)
    if document is None:
        return
    changes_follow(device=device, document=document, now=now)
    if document.accounts:
        reviews_follow(device=device, document=document, now=now)


def reviews_follow(*, device: Device, document: Access, now: datetime) -> None:
    """Bring the accounts of a device in reviews up to date with its facts.

    In an open review a new account is asked about, and one whose rights changed after it was decided is asked again.
    In any review, what was to be removed or changed is done when the facts say so.
    """
    asked = rules.asked_accounts(document)
    names = {one.name for one in document.accounts}
    rows = ReviewItem.objects.visible_to(_SELF).select_related("review").filter(device=device)
    live = rows.filter(Q(review__state=ReviewState.OPEN) | Q(decision__in=["remove", "change"], done_at=None))
    known: dict[int, set[str]] = defaultdict(set)
    for item in live.select_for_update(of=("self",)):
        known[item.review_id].add(item.account)
        _follow_item(item, asked.get(item.account), there=item.account in names, document=document, now=now)
    for entry in ReviewDevice.objects.visible_to(_SELF).filter(device=device, review__state=ReviewState.OPEN):
        _add_items(entry.review_id, device, {k: v for k, v in asked.items() if k not in known[entry.review_id]}, now)
        if entry.accounts != len(document.accounts):
            entry.accounts = len(document.accounts)
            entry.save(update_fields=["accounts"])
    review = _open_review_of(device)
    if review is not None and not ReviewDevice.objects.visible_to(_SELF).filter(review=review, device=device).exists():
        # Its accounts were not known when the review began, or it came later.
        ReviewDevice.objects.create(review=review, device=device, accounts=len(document.accounts))
        _add_items(review.pk, device, asked, now)
        if device.name in review.not_known:
            review.not_known = [name for name in review.not_known if name != device.name]
            review.save(update_fields=["not_known"])
    follow_up(device=device, now=now)


def _open_review_of(device: Device) -> AccessReview | None:
    """The review that a device belongs to now: one of its site, else the client's, unless its site has its own plan."""
    plans = Plans(ReviewPlan.objects.visible_to(_SELF).filter(client=device.client_id))
    rows = list(AccessReview.objects.visible_to(_SELF).filter(state=ReviewState.OPEN, client=device.client_id))
    found = next((one for one in rows if one.site_id == device.site_id), None)
    if found is None and device.site_id not in plans.sites_of(device.client_id):
        found = next((one for one in rows if one.site_id is None), None)
    return found


def _add_items(review_id: int, device: Device, asked: Mapping[str, dict[str, Any]], now: datetime) -> None:
    before = _kept_before([device.pk], review_id)
    ReviewItem.objects.bulk_create(
        [_new_item(review_id, device, name, facts, before) for name, facts in sorted(asked.items())]
    )


def _new_item(
    review_id: int,
    device: Device,
    name: str,
    facts: dict[str, Any],
    before: Mapping[tuple[UUID, str], tuple[str, datetime]],
) -> ReviewItem:
    mark = rules.mark_of(facts)
    last = before.get((device.pk, name))
    return ReviewItem(
        client_id=device.client_id,
        site_id=device.site_id,
        review_id=review_id,
        device=device,
        account=name[:200],
        facts=facts,
        mark=mark,
        unchanged=last is not None and last[0] == mark,
        last_kept_at=last[1] if last else None,
    )


def _kept_before(device_ids: Iterable[UUID], review_id: int | None) -> dict[tuple[UUID, str], tuple[str, datetime]]:
    """The rights with which each account was last kept at a sign-off, and when: (device, account) → (mark, time)."""
    ids = list(device_ids)
    entries = ReviewDevice.objects.visible_to(_SELF).filter(device__in=ids, signed_at__isnull=False)
    latest = dict(entries.values("device").annotate(at=Max("signed_at")).values_list("device", "at"))
    rows = ReviewItem.objects.visible_to(_SELF).filter(
        device__in=list(latest),
        review__state=ReviewState.SIGNED,
        review__ended_at__in=set(latest.values()),
        gone_at=None,
    )
    if review_id is not None:
        rows = rows.exclude(review=review_id)
    found = {}
    for device_id, account, mark, decision, ended_at in rows.order_by("review__ended_at").values_list(
        "device_id", "account", "mark", "decision", "review__ended_at"
    ):
        if decision == Decision.KEEP and latest[device_id] == ended_at:
            found[device_id, account] = (mark, ended_at)
    return found


def _follow_item(
    item: ReviewItem, facts: dict[str, Any] | None, *, there: bool, document: Access, now: datetime
) -> None:
    if facts is None and there:
        # Nobody gets in by it any more, and so it is not asked about; its facts are still told.
        facts = rules.facts_of(document, item.account)
    is_open = item.review.state == ReviewState.OPEN
    was, item.facts = item.facts, facts if facts is not None else item.facts
    item.gone_at = (item.gone_at or now) if facts is None else None
    mark = rules.mark_of(item.facts)
    moved = mark != item.mark
    if item.decision in (Decision.REMOVE, Decision.CHANGE):
        removed = rules.is_removed(facts)
        if item.done_at is None and (removed or (item.decision == Decision.CHANGE and moved)):
            item.done_at = now
        elif is_open and moved and not removed and item.done_at is None:
            _ask_again(item, rules.what_changed(was, item.facts))
    elif item.decision == Decision.KEEP and is_open and moved and facts is not None:
        _ask_again(item, rules.what_changed(was, item.facts))
    if moved and is_open:
        item.mark, item.unchanged = mark, False
    item.save()


def _ask_again(item: ReviewItem, changed: str) -> None:
    told = f"{item.get_decision_display()} was decided by {item.decided_by}; after that it changed: {changed}"
    item.asked_again = told[:700]
    item.decision, item.decided_at, item.decided_by, item.reason = Decision.NONE, None, "", ""


def follow_up(*, device: Device, now: datetime) -> Ticket | None:
    """Keep the ticket about what signed reviews want gone or changed on a device, until the facts show it done."""
    rows = ReviewItem.objects.visible_to(_SELF).filter(device=device, review__state=ReviewState.SIGNED)
    wanted = rows.filter(decision__in=["remove", "change"])
    standing = list(wanted.filter(done_at=None).order_by("account"))
    if standing:
        words = [
            f"{one.account}: {one.get_decision_display()}, decided by {one.decided_by}: {one.reason}"
            for one in standing
        ]
        administers = any(one.facts.get("administrator") for one in standing)
        return condition_found(
            device=device,
            kind=KIND,
            title=f"{count(len(standing), 'account')} of {device.name} to remove or change",
            reason="\n".join(words[:30]),
            risk=Risk.HIGH if administers else Risk.MEDIUM,
            actor=KIND,
            now=now,
        )
    last: Ticket | None = None
    for ticket in (
        Ticket.objects.visible_to(_SELF).filter(device=device, kind=KIND, verified_at=None).exclude(state="closed")
    ):
        done = list(wanted.filter(done_at__gte=ticket.opened_at).order_by("account"))
        last = condition_gone(
            ticket=ticket,
            reason=f"the facts show it done: {listing([one.account for one in done], most=10)}"
            if done
            else "decided anew",
            proved=bool(done),
            evidence=sorted({one.evidence_reference for one in done if one.evidence_reference}),
            now=now,
        )
    return last


# --- plans -------------------------------------------------------------------------------------------------------


@transaction.atomic
def plan_set(
    *,
    client: Client,
    site: Site | None,
    every_months: int,
    answer_days: int,
    assigned_to: Person | None,
    scope: Scope,
    now: datetime,
) -> ReviewPlan:
    """Say how often access is reviewed at a client, or at one site of it on its own, and by whom."""
    scope.require(Permission.ACCESS_REVIEW, on=site or client)
    if not 1 <= every_months <= 24:
        raise AccessError(f"every_months: {every_months} is not between 1 and 24")
    if not 1 <= answer_days <= 90:
        raise AccessError(f"answer_days: {answer_days} is not between 1 and 90")
    if site is not None and site.client_id != client.pk:
        raise AccessError(f"site: {site.name} is not a site of {client.name}")
    if assigned_to is not None:
        _require_reviewer(assigned_to, client, site, now)
    row = ReviewPlan.objects.visible_to(scope).select_for_update().filter(client=client, site=site).first()
    before = _plain_plan(row) if row else None
    row = row or ReviewPlan(client=client, site=site)
    row.every_months, row.answer_days, row.assigned_to = every_months, answer_days, assigned_to
    row.changed_at, row.changed_by = now, scope.who
    row.save()
    change_record(
        client=client, kind=EvidenceKind.REVIEW_CHANGED, what="plan of access reviews",
        name=site.name if site else client.name, before=before, after=_plain_plan(row), by=scope.who, now=now,
        site_id=site.pk if site else None,
    )  # fmt: skip
    return row


@transaction.atomic
def plan_delete(*, plan: ReviewPlan, scope: Scope, now: datetime) -> None:
    """Take a plan back: the client's plan holds again, or the default."""
    scope.require(Permission.ACCESS_REVIEW, on=plan.site or plan.client)
    change_record(
        client=plan.client, kind=EvidenceKind.REVIEW_CHANGED, what="plan of access reviews",
        name=plan.site.name if plan.site else plan.client.name, before=_plain_plan(plan), after=None, by=scope.who,
        now=now, site_id=plan.site_id,
    )  # fmt: skip
    ReviewPlan.objects.visible_to(scope).filter(pk=plan.pk).delete()


def _plain_plan(row: ReviewPlan) -> dict[str, Any]:
    return {
        "every_months": row.every_months,
        "answer_days": row.answer_days,
        "assigned_to": row.assigned_to.username if row.assigned_to else "",
    }


def _require_reviewer(person: Person, client: Client, site: Site | None, now: datetime) -> None:
    able = holders(permission=Permission.ACCESS_REVIEW, client=client.pk, site=site.pk if site else None, now=now)
    if person.pk not in {one.pk for one in able}:
        raise AccessError(f"assigned_to: {person.username} may not review access at {site or client}")


# --- reviews -----------------------------------------------------------------------------------------------------


def review_begin(
    *, client: Client, site: Site | None = None, assigned_to: Person | None = None, scope: Scope, now: datetime
) -> AccessReview:
    """Begin a review of a client (but for sites with a plan of their own) or of one site.

    AccessError while one is open there, or when no device there tells its accounts.
    """
    scope.require(Permission.ACCESS_REVIEW, on=site or client)
    if site is not None and site.client_id != client.pk:
        raise AccessError(f"site: {site.name} is not a site of {client.name}")
    if assigned_to is not None:
        _require_reviewer(assigned_to, client, site, now)
    plans = Plans(ReviewPlan.objects.visible_to(_SELF).filter(client=client))
    plan = plans.of(client_id=client.pk, site_id=site.pk if site else None)
    unit = Unit(client, site, plan, frozenset() if site else plans.sites_of(client.pk))
    return _begin(unit, assigned_to=assigned_to, by=scope.who, due_at=now + timedelta(days=plan.answer_days), now=now)


@transaction.atomic
def _begin(unit: Unit, *, assigned_to: Person | None, by: str, due_at: datetime, now: datetime) -> AccessReview:
    client, site = unit.client, unit.site
    Client.objects.visible_to(_SELF).select_for_update(no_key=True).get(pk=client.pk)
    if AccessReview.objects.visible_to(_SELF).filter(state=ReviewState.OPEN, client=client, site=site).exists():
        raise AccessError(f"an access review of {site or client} is open already")
    rows = Device.objects.visible_to(_SELF).filter(client=client, status=DeviceStatus.APPROVED)
    devices = [one for one in rows.select_related("client", "site").order_by("name") if unit.holds(one)]
    documents = documents_of(scope=_SELF, kind=Access, devices=[one.pk for one in devices])
    known = [one for one in devices if one.pk in documents and documents[one.pk].accounts]
    if not known:
        raise AccessError(f"no device of {site or client} tells its accounts yet")
    review: AccessReview = AccessReview.objects.create(
        client=client,
        site=site,
        begun_at=now,
        begun_by=by,
        due_at=due_at,
        assigned_to=assigned_to or _reviewer(unit, now),
        not_known=[one.name for one in devices if one not in known],
    )
    before = _kept_before([one.pk for one in known], review.pk)
    ReviewDevice.objects.bulk_create(
        [ReviewDevice(review=review, device=one, accounts=len(documents[one.pk].accounts)) for one in known]
    )
    items = [
        _new_item(review.pk, one, name, facts, before)
        for one in known
        for name, facts in sorted(rules.asked_accounts(documents[one.pk]).items())
    ]
    ReviewItem.objects.bulk_create(items, batch_size=500)
    entry = evidence_append(
        client=client,
        kind=EvidenceKind.REVIEW_CHANGED,
        payload={
            "what": "access review", "act": "begun", "review": review.pk, "by": by, "site": site.name if site else "",
            "due_at": due_at.isoformat(), "assigned_to": review.assigned_to.username if review.assigned_to else "",
            "devices": [one.name for one in known], "not_known": review.not_known, "accounts": len(items),
        },
        now=now,
        site_id=site.pk if site else None,
    )  # fmt: skip
    AccessReview.objects.visible_to(_SELF).filter(pk=review.pk).update(evidence_reference=entry.reference)
    review.evidence_reference = entry.reference
    return review


def _reviewer(unit: Unit, now: datetime) -> Person | None:
    """Who the plan names, as long as they may; else the first who may; None: nobody."""
    able = holders(
        permission=Permission.ACCESS_REVIEW, client=unit.client.pk, site=unit.site.pk if unit.site else None, now=now
    )
    named = unit.plan.own.assigned_to_id if unit.plan.own else None
    return next((one for one in able if one.pk == named), able[0] if able else None)


@transaction.atomic
def review_assign(*, review: AccessReview, assigned_to: Person, scope: Scope, now: datetime) -> AccessReview:
    """Give a review to somebody who may decide in it."""
    review = _open(review, scope)
    _require_reviewer(assigned_to, review.client, review.site, now)
    before = review.assigned_to.username if review.assigned_to else ""
    review.assigned_to, review.reminded_at = assigned_to, None
    review.save(update_fields=["assigned_to", "reminded_at"])
    _review_record(review, {"act": "assigned", "assigned_to": assigned_to.username, "before": before}, scope.who, now)
    return review


@transaction.atomic
def items_decide(
    *,
    review: AccessReview,
    item_ids: Iterable[int],
    decision: str,
    reason: str = "",
    prepare: bool = True,
    scope: Scope,
    now: datetime,
) -> list[ReviewItem]:
    """Decide accounts of a review: ``keep``, ``remove`` or ``change``. Each decision is on record by itself.

    What is removed or changed needs a reason. ``prepare``: of what is to be removed, a run of ``lock-account`` is
    prepared for an operator to sign, where this person may; where it cannot be, the account says why.
    """
    review = _open(review, scope)
    if decision not in (Decision.KEEP, Decision.REMOVE, Decision.CHANGE):
        raise AccessError(f"decision: {decision!r} is not keep, remove or change")
    if decision != Decision.KEEP:
        reason = said("reason", reason, f"say why it is to be {decision}d")
    reason = reason.strip()[:2000]
    wanted = set(item_ids)
    if not wanted:
        raise AccessError("accounts: none was chosen")
    rows = ReviewItem.objects.visible_to(scope).select_for_update(of=("self",)).filter(review=review, pk__in=wanted)
    items = list(rows.select_related("device__client", "device__site", "client").order_by("device__name", "account"))
    missing = wanted - {one.pk for one in items}
    if missing:
        raise AccessError(f"accounts: {min(missing)} is not in this review")
    for item in items:
        item.decision, item.reason, item.decided_at, item.decided_by = decision, reason, now, scope.who
        item.asked_again, item.done_at, item.job_note = "", None, ""
        if decision == Decision.REMOVE and item.gone_at is not None:
            item.done_at = now
        entry = evidence_append(
            client=item.client,
            kind=EvidenceKind.ACCESS_REVIEWED,
            payload={
                "review": review.pk, "device": item.device.name, "account": item.account, "decision": str(decision),
                "reason": reason, "by": scope.who, "rights": item.facts, "mark": item.mark,
            },
            now=now,
            device_id=item.device_id,
            site_id=item.site_id,
        )  # fmt: skip
        item.evidence_reference = entry.reference
        if decision == Decision.KEEP:
            account_accept(
                device=item.device, account=item.account, by=scope.who, now=now,
                reason=f"kept in access review {review.pk}{f': {reason}' if reason else ''}",
            )  # fmt: skip
        elif prepare and item.done_at is None:
            runbook = rules.runbook_for(decision, item.facts)
            if runbook:
                _prepare(item, runbook, {"account": item.account}, scope, now)
    fields = ["decision", "reason", "decided_at", "decided_by", "asked_again", "done_at", "job_id", "job_note"]
    fields.append("evidence_reference")
    ReviewItem.objects.visible_to(_SELF).bulk_update(items, fields, batch_size=200)
    return items


def items_keep_unchanged(*, review: AccessReview, reason: str = "", scope: Scope, now: datetime) -> list[ReviewItem]:
    """Keep every account that is undecided and has the same rights as when it was last kept at a sign-off."""
    scope.require(Permission.ACCESS_REVIEW, on=review)
    rows = ReviewItem.objects.visible_to(scope).filter(review=review, decision="", unchanged=True, gone_at=None)
    wanted = list(rows.values_list("pk", flat=True))
    if not wanted:
        raise AccessError("accounts: none is undecided and unchanged since the last review")
    return items_decide(
        review=review, item_ids=wanted, decision=Decision.KEEP, reason=reason or "unchanged since the last review",
        scope=scope, now=now,
    )  # fmt: skip


@transaction.atomic
def item_prepare(
    *, item: ReviewItem, runbook: str, parameters: Mapping[str, str], scope: Scope, now: datetime
) -> ReviewItem:
    """Prepare a run that does what was decided of an account; an operator still has to sign it."""
    scope.require(Permission.ACCESS_REVIEW, on=item)
    if runbook not in ("lock-account", "remove-ssh-key", "expire-password"):
        raise AccessError(f"runbook: {runbook!r} is not lock-account, remove-ssh-key or expire-password")
    rows = ReviewItem.objects.visible_to(scope).select_for_update(of=("self",))
    row: ReviewItem = rows.select_related("device__client", "device__site", "review").get(pk=item.pk)
    scope.require(Permission.ACCESS_REVIEW, on=row)
    if row.decision not in (Decision.REMOVE, Decision.CHANGE):
        raise AccessError(f"{row.account}: {row.get_decision_display()}; only what is to be removed or changed is run")
    if row.done_at is not None:
        raise AccessError(f"{row.account}: the facts show it done already")
    _prepare(row, runbook, {"account": row.account, **parameters}, scope, now)
    if row.job_note:
        raise AccessError(f"{runbook}: {row.job_note}")
    row.save(update_fields=["job_id", "job_note"])
    return row


def _prepare(item: ReviewItem, runbook: str, parameters: Mapping[str, str], scope: Scope, now: datetime) -> None:
    """Prepare a run, or keep the words why there is none: a decision never fails for want of a run."""
    item.job_note = ""
    if not scope.may(Permission.JOB_PREPARE, on=item.device):
        item.job_note = f"{scope.who} may not prepare jobs"
        return
    try:
        with transaction.atomic():
            job = job_prepare(
                scope=scope,
                runbook=runbook,
                device=item.device,
                parameters=parameters,
                reason=f"access review {item.review_id}: {item.reason}"[:500],
                now=now,
            )
    except (RunbooksError, NoAuthorityError, RunbookRecord.DoesNotExist) as error:
        item.job_note = str(error)[:500]
        return
    item.job_id = job.pk


@transaction.atomic
def review_sign(*, review: AccessReview, note: str = "", scope: Scope, now: datetime) -> AccessReview:
    """Sign a review off: every account is decided. Its devices count as reviewed from now on.

    AccessError names the accounts that are not decided.
    """
    review = _open(review, scope)
    rows = ReviewItem.objects.visible_to(_SELF).filter(review=review)
    left = list(rows.filter(decision="", gone_at=None).select_related("device").order_by("device__name", "account")[:6])
    if left:
        names = listing([f"{one.account} on {one.device.name}" for one in left], most=5)
        raise AccessError(
            f"{count(rows.filter(decision='', gone_at=None).count(), 'account')} not decided yet: {names}"
        )
    review.state, review.ended_at, review.ended_by = ReviewState.SIGNED, now, scope.who
    review.note = note.strip()[:2000]
    ReviewDevice.objects.visible_to(_SELF).filter(review=review).update(signed_at=now)
    listed = [
        {
            "device": name,
            "account": account,
            "decision": decision or "gone before it was decided",
            "by": by,
            "record": record,
        }
        for name, account, decision, by, record in rows.order_by("device__name", "account").values_list(
            "device__name", "account", "decision", "decided_by", "evidence_reference"
        )
    ]
    entry = _review_record(review, {"act": "signed off", "note": review.note, "accounts": listed}, scope.who, now)
    review.evidence_reference = entry
    review.save()
    _settle_earlier(review, now)
    wanting = rows.filter(decision__in=["remove", "change"], done_at=None)
    for device in (
        Device.objects.visible_to(_SELF)
        .filter(pk__in=ReviewDevice.objects.visible_to(_SELF).filter(review=review).values("device"))
        .filter(Q(pk__in=wanting.values("device")) | Q(tickets__kind=KIND, tickets__verified_at=None))
        .distinct()
    ):
        follow_up(device=device, now=now)
    return review


def _settle_earlier(review: AccessReview, now: datetime) -> None:
    """What earlier reviews wanted of an account that this one decided counts no more: this decision does."""
    decided = set(
        ReviewItem.objects.visible_to(_SELF)
        .filter(review=review)
        .exclude(decision="")
        .values_list("device_id", "account")
    )
    earlier = queries.undone(scope=_SELF).filter(
        review__state=ReviewState.SIGNED, device__in={device for device, _ in decided}
    ).exclude(review=review)  # fmt: skip
    for item in earlier:
        if (item.device_id, item.account) in decided:
            item.done_at, item.job_note = now, f"decided anew in review {review.pk}"
            item.save(update_fields=["done_at", "job_note"])


@transaction.atomic
def review_end(*, review: AccessReview, reason: str, scope: Scope, now: datetime) -> AccessReview:
    """End a review without signing it off. Nothing counts as reviewed by it."""
    review = _open(review, scope)
    reason = said("reason", reason, "say why it ends without a sign-off")
    review.state, review.ended_at, review.ended_by, review.note = ReviewState.ENDED, now, scope.who, reason
    review.evidence_reference = _review_record(
        review, {"act": "ended without sign-off", "reason": reason}, scope.who, now
    )
    review.save()
    return review


def _review_record(review: AccessReview, payload: Mapping[str, Any], by: str, now: datetime) -> str:
    entry = evidence_append(
        client=review.client,
        kind=EvidenceKind.REVIEW_CHANGED,
        payload={
            "what": "access review",
            "review": review.pk,
            "site": review.site.name if review.site else "",
            "by": by,
            **payload,
        },
        now=now,
        site_id=review.site_id,
    )
    return str(entry.reference)


def _open(review: AccessReview, scope: Scope) -> AccessReview:
    """The review, locked; AccessError when it is over."""
    rows = AccessReview.objects.visible_to(scope).select_for_update(of=("self",))
    row: AccessReview = rows.select_related("client", "site", "assigned_to").get(pk=review.pk)
    scope.require(Permission.ACCESS_REVIEW, on=row)
    if row.state != ReviewState.OPEN:
        raise AccessError(f"review {row.pk} was {row.get_state_display()} on {day(row.ended_at or row.begun_at)}")
    return row


# --- by the clock ------------------------------------------------------------------------------------------------


def reviews_tick(*, now: datetime) -> int:
    """Begin reviews that are due and remind of those that wait; how many of both."""
    done = 0
    for unit, due_at in due_units(now=now):
        try:
            _begin(unit, assigned_to=None, by=BY_PLAN, due_at=due_at, now=now)
        except AccessError as reason:
            log.info("no access review begins: %s", reason)
        else:
            done += 1
    waiting = AccessReview.objects.visible_to(_SELF).filter(
        Q(reminded_at=None) | Q(reminded_at__lte=now - REMIND_AGAIN),
        state=ReviewState.OPEN, due_at__lte=now + REMIND_BEFORE, assigned_to__isnull=False,
    )  # fmt: skip
    for review in list(waiting.select_related("client", "site", "assigned_to")) if mail_is_set() else ():
        claimed = AccessReview.objects.visible_to(_SELF).filter(pk=review.pk, reminded_at=review.reminded_at)
        if claimed.update(reminded_at=now) == 1:
            done += _remind(review, now)
    return done


def due_units(*, now: datetime) -> list[tuple[Unit, datetime]]:
    """Where a review is due and none is open, and by when it is to be signed off.

    It begins early enough to be answered in time: so many days before the time since the last sign-off (or since
    accounts were first known) is over.
    """
    plans = Plans(ReviewPlan.objects.visible_to(_SELF).select_related("assigned_to"))
    first: dict[tuple[UUID, UUID], datetime] = {
        (client, site): at
        for client, site, at in AccessSeen.objects.visible_to(_SELF)
        .filter(device__status=DeviceStatus.APPROVED, device__client__removed_at=None)
        .values("device__client", "device__site")
        .annotate(at=Min("first_at"))
        .values_list("device__client", "device__site", "at")
    }
    begins: dict[tuple[UUID, UUID | None], datetime] = {}
    for (client_id, site_id), at in first.items():
        own = site_id if site_id in plans.sites_of(client_id) else None
        key = (client_id, own)
        begins[key] = min(begins.get(key, at), at)
    rows = AccessReview.objects.visible_to(_SELF).values_list("client_id", "site_id", "state", "ended_at", "begun_at")
    busy: set[tuple[UUID, UUID | None]] = set()
    for client_id, site_id, state, ended_at, _ in rows.order_by("begun_at"):
        key = (client_id, site_id)
        if state == ReviewState.SIGNED and key in begins:
            begins[key] = max(begins[key], ended_at)
        elif state == ReviewState.OPEN or now - ended_at < AFTER_ENDED:
            busy.add(key)
    found = []
    clients = {one.pk: one for one in Client.objects.visible_to(_SELF).filter(pk__in={key[0] for key in begins})}
    sites = {one.pk: one for one in Site.objects.visible_to(_SELF).filter(pk__in={key[1] for key in begins if key[1]})}
    for (client_id, own), at in sorted(begins.items(), key=lambda one: (one[1], str(one[0]))):
        plan = plans.of(client_id=client_id, site_id=own)
        due, answer = rules.months_later(at, plan.every_months), timedelta(days=plan.answer_days)
        if (client_id, own) in busy or now < due - answer:
            continue
        without = frozenset() if own else plans.sites_of(client_id)
        found.append((Unit(clients[client_id], sites[own] if own else None, plan, without), max(due, now + answer)))
    return found


def _remind(review: AccessReview, now: datetime) -> int:
    person = review.assigned_to
    if person is None or not person.email:
        return 0
    left = ReviewItem.objects.visible_to(_SELF).filter(review=review, decision="", gone_at=None).count()
    late = "was" if review.due_at <= now else "is"
    text = (
        f"The access review of {review.site or review.client} {late} to be signed off by {day(review.due_at)}. "
        f"{count(left, 'account')} {'waits' if left == 1 else 'wait'} for a decision.\n"
    )
    mail = EmailMessage(subject=f"Access review of {review.site or review.client}", body=text, to=[person.email])
    try:
        return int(mail.send())
    except OSError as error:
        # The next tick after REMIND_AGAIN tries again; the review itself is shown as late all the while.
        log.warning("reminder of access review %s was not sent: %s", review.pk, error)
        return 0
