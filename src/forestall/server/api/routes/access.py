"""Access: who may get in where, what changed of it, and the reviews that sign every account off."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.db.models import Q
from ninja import Field

from forestall.server.access import changes as changing
from forestall.server.access import queries, services
from forestall.server.access.models import AccessChange, AccessReview, ReviewItem, ReviewPlan
from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, page
from forestall.server.api.routes.devices import Named
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.clients.queries import sites_served
from forestall.server.inventory import queries as inventory
from forestall.server.people import queries as people
from forestall.server.people.models import Person
from forestall.server.people.scope import Permission, Scope

router = Routes(tags=["access"])

MOST_DEVICES = 500


class AccountOut(Schema):
    device: UUID
    device_name: str
    name: str
    full_name: str
    uid: int
    kind: str = Field(description="`person`, `service`, `system`; empty: not known.")
    source: str
    administrator: bool
    administrator_because: list[str]
    groups: list[str]
    login: bool
    password: str
    password_hash: str
    password_changed_at: datetime | None
    password_expires: bool | None
    expires_at: datetime | None
    disabled: bool | None
    last_login: datetime | None
    ssh_keys: int | None
    keys: list[str]
    asked: bool = Field(description="Whether reviews ask about it.")


class AccessChangeOut(Schema):
    id: int
    client: Named
    device: UUID
    device_name: str
    at: datetime
    about: str = Field(description="`account:eve`, `sudo:eve`, `share:smb/public`.")
    field: str
    was: str
    now: str
    words: str
    risk: str
    state: str = Field(description="`open`, `accepted`, `undone`, `noted`.")
    settled_at: datetime | None
    settled_by: str
    reason: str
    ticket_id: int | None
    evidence_reference: str


class AccessAcceptIn(Schema):
    device: UUID
    changes: list[int] = Field(min_length=1, max_length=500)
    reason: str = Field(min_length=1, max_length=2000)


class ReviewStandingOut(Schema):
    device_id: UUID
    site_id: UUID
    client_id: UUID
    reviewed_at: datetime | None
    due_at: datetime | None
    status: str
    why: str
    href: str


class ReviewPlanIn(Schema):
    client: UUID
    site: UUID | None = Field(None, description="Null: every site that has no plan of its own.")
    every_months: int = Field(3, ge=1, le=24)
    answer_days: int = Field(14, ge=1, le=90, description="A review is to be signed off so many days after it began.")
    assigned_to: int | None = Field(None, description="Person; null: whoever may.")


class ReviewPlanOut(Schema):
    id: int
    client: Named
    site: UUID | None
    every_months: int
    answer_days: int
    assigned_to: str
    changed_at: datetime
    changed_by: str


class AccessReviewIn(Schema):
    client: UUID
    site: UUID | None = Field(None, description="Null: the client, but for sites with a plan of their own.")
    assigned_to: int | None = None


class AccessReviewOut(Schema):
    id: int
    client: Named
    site: UUID | None
    site_name: str
    state: str = Field(description="`open`, `signed`, `ended`.")
    begun_at: datetime
    begun_by: str
    due_at: datetime
    assigned_to: str
    ended_at: datetime | None
    ended_by: str
    note: str
    not_known: list[str] = Field(description="Devices whose accounts are not known.")
    accounts: int
    undecided: int
    removals: int = Field(description="Decided to be removed or changed.")
    undone: int = Field(description="Of these, so many are as before.")
    evidence_reference: str


class ReviewItemOut(Schema):
    id: int
    device: UUID
    device_name: str
    account: str
    facts: dict[str, Any] = Field(description="What is known of the account, as its reviewer sees it.")
    unchanged: bool = Field(description="The same rights as when it was last kept at a sign-off.")
    last_kept_at: datetime | None
    decision: str = Field(description="Empty: not decided; `keep`, `remove`, `change`.")
    reason: str
    decided_at: datetime | None
    decided_by: str
    asked_again: str
    gone_at: datetime | None
    job_id: UUID | None
    job_note: str
    done_at: datetime | None
    evidence_reference: str


class DecideIn(Schema):
    items: list[int] = Field(min_length=1, max_length=5000)
    decision: Literal["keep", "remove", "change"]
    reason: str = Field("", max_length=2000, description="Needed for remove and change.")
    prepare: bool = Field(default=True, description="Prepare a run of `lock-account` for what is to be removed.")


class KeepUnchangedIn(Schema):
    reason: str = Field("", max_length=2000)


class ReviewSignIn(Schema):
    note: str = Field("", max_length=2000)


class ReviewEndIn(Schema):
    reason: str = Field(min_length=1, max_length=2000)


class ReviewAssignIn(Schema):
    assigned_to: int


class ItemPrepareIn(Schema):
    runbook: Literal["lock-account", "remove-ssh-key", "expire-password"] = "lock-account"
    fingerprint: str = Field("", max_length=200, description="Of `remove-ssh-key`: `SHA256:…`.")


@router.get(
    "/accounts",
    allow=Permission.DEVICE_VIEW,
    response=list[AccountOut],
    summary="Accounts of devices, of at most 500 devices at a time",
)
def account_list(
    request: ApiRequest,
    client: UUID | None = None,
    device: UUID | None = None,
    name: str = "",
    administrators: bool = False,  # noqa: FBT001, FBT002 - a query parameter
    everything: bool = False,  # noqa: FBT001, FBT002
) -> list[dict[str, Any]]:
    devices = inventory.devices(scope=request.scope).order_by("client__name", "name", "pk")
    devices = devices.filter(client=client) if client is not None else devices
    devices = devices.filter(pk=device) if device is not None else devices
    found = queries.accounts(scope=request.scope, devices=devices[:MOST_DEVICES], name=name)
    return [
        _account(one)
        for one in found
        if (one.asked or everything or name) and (one.account.administrator or not administrators)
    ]


@router.get(
    "/access-changes",
    allow=Permission.DEVICE_VIEW,
    response=Page[AccessChangeOut],
    summary="What changed of access, the newest first",
)
def access_change_list(
    request: ApiRequest,
    paging: PagingQuery,
    client: UUID | None = None,
    device: UUID | None = None,
    state: Literal["", "open", "accepted", "undone", "noted"] = "",
) -> dict[str, Any]:
    found = queries.changes(scope=request.scope)
    found = found.filter(client=client) if client is not None else found
    found = found.filter(device=device) if device is not None else found
    found = found.filter(state=state) if state else found
    return page(found, shape=_change, cursor=paging.cursor, limit=paging.limit)


@router.get(
    "/access-changes/{access_change_id}",
    allow=Permission.DEVICE_VIEW,
    response=AccessChangeOut,
    summary="Show one change of access",
)
def access_change_show(request: ApiRequest, access_change_id: int) -> dict[str, Any]:
    return _change(queries.changes(scope=request.scope).get(pk=access_change_id))


@router.post(
    "/access-changes/accept",
    allow=Permission.ACCESS_REVIEW,
    response=list[AccessChangeOut],
    summary="Say of a device's changes that they are known and right",
)
def access_change_accept(request: ApiRequest, body: AccessAcceptIn) -> list[dict[str, Any]]:
    found = changing.changes_accept(
        scope=request.scope, device_id=body.device, change_ids=body.changes, reason=body.reason, now=current_time()
    )
    rows = queries.changes(scope=request.scope).filter(pk__in=[one.pk for one in found])
    return [_change(one) for one in rows]


@router.get(
    "/access-standings",
    allow=Permission.DEVICE_VIEW,
    response=list[ReviewStandingOut],
    summary="How each device stands with its access reviews",
)
def access_standing_list(request: ApiRequest, client: UUID | None = None) -> list[queries.ReviewStanding]:
    found = queries.review_standings(scope=request.scope, now=current_time())
    return [one for one in found if client is None or one.client_id == client]


@router.get(
    "/review-plans",
    allow=Permission.DEVICE_VIEW,
    response=list[ReviewPlanOut],
    summary="How often access is reviewed, where it is not quarterly for the client as a whole",
)
def review_plan_list(request: ApiRequest, client: UUID | None = None) -> list[dict[str, Any]]:
    found = queries.plans(scope=request.scope)
    return [_plan(one) for one in (found.filter(client=client) if client is not None else found)]


@router.put(
    "/review-plans",
    allow=Permission.ACCESS_REVIEW,
    response=ReviewPlanOut,
    summary="Say how often access is reviewed at a client or site, and by whom",
)
def review_plan_set(request: ApiRequest, body: ReviewPlanIn) -> dict[str, Any]:
    scope = request.scope
    owner = people.clients(scope=scope).get(pk=body.client)
    site = sites_served(scope=scope).get(pk=body.site, client=owner) if body.site is not None else None
    made = services.plan_set(
        client=owner, site=site, every_months=body.every_months, answer_days=body.answer_days,
        assigned_to=_person(body.assigned_to, scope), scope=scope, now=current_time(),
    )  # fmt: skip
    return _plan(made)


@router.delete(
    "/review-plans/{review_plan_id}",
    allow=Permission.ACCESS_REVIEW,
    response={204: None},
    summary="Take a plan back: the client's holds again, or quarterly",
)
def review_plan_delete(request: ApiRequest, review_plan_id: int) -> tuple[int, None]:
    found = queries.plans(scope=request.scope).get(pk=review_plan_id)
    services.plan_delete(plan=found, scope=request.scope, now=current_time())
    return 204, None


@router.get(
    "/access-reviews",
    allow=Permission.DEVICE_VIEW,
    response=Page[AccessReviewOut],
    summary="Access reviews, the newest first",
)
def access_review_list(
    request: ApiRequest,
    paging: PagingQuery,
    client: UUID | None = None,
    state: Literal["", "open", "signed", "ended"] = "",
) -> dict[str, Any]:
    found = queries.reviews_counted(scope=request.scope)
    found = found.filter(client=client) if client is not None else found
    found = found.filter(state=state) if state else found
    return page(found, shape=_review, cursor=paging.cursor, limit=paging.limit)


@router.post(
    "/access-reviews",
    allow=Permission.ACCESS_REVIEW,
    response={201: AccessReviewOut},
    summary="Begin a review of a client or site now",
)
def access_review_begin(request: ApiRequest, body: AccessReviewIn) -> tuple[int, dict[str, Any]]:
    scope = request.scope
    owner = people.clients(scope=scope).get(pk=body.client)
    site = sites_served(scope=scope).get(pk=body.site, client=owner) if body.site is not None else None
    made = services.review_begin(
        client=owner, site=site, assigned_to=_person(body.assigned_to, scope), scope=scope, now=current_time()
    )
    return 201, _shown(made.pk, scope)


@router.get(
    "/access-reviews/{access_review_id}",
    allow=Permission.DEVICE_VIEW,
    response=AccessReviewOut,
    summary="Show a review",
)
def access_review_show(request: ApiRequest, access_review_id: int) -> dict[str, Any]:
    return _shown(access_review_id, request.scope)


@router.get(
    "/access-reviews/{access_review_id}/items",
    allow=Permission.DEVICE_VIEW,
    response=Page[ReviewItemOut],
    summary="The accounts of a review",
)
def review_item_list(
    request: ApiRequest,
    access_review_id: int,
    paging: PagingQuery,
    device: UUID | None = None,
    decision: Literal["", "undecided", "keep", "remove", "change"] = "",
    search: str = "",
) -> dict[str, Any]:
    review = queries.reviews(scope=request.scope).get(pk=access_review_id)
    found = queries.items(scope=request.scope, review=review)
    found = found.filter(device=device) if device is not None else found
    if decision:
        found = found.filter(decision="" if decision == "undecided" else decision)
    if search:
        found = found.filter(Q(account__icontains=search) | Q(device__name__icontains=search))
    return page(found, shape=_item, cursor=paging.cursor, limit=paging.limit, order=("pk",))


@router.post(
    "/access-reviews/{access_review_id}/decide",
    allow=Permission.ACCESS_REVIEW,
    response=list[ReviewItemOut],
    summary="Keep, remove or change accounts",
)
def access_review_decide(request: ApiRequest, access_review_id: int, body: DecideIn) -> list[dict[str, Any]]:
    review = queries.reviews(scope=request.scope).get(pk=access_review_id)
    found = services.items_decide(
        review=review, item_ids=body.items, decision=body.decision, reason=body.reason, prepare=body.prepare,
        scope=request.scope, now=current_time(),
    )  # fmt: skip
    return [_item(one) for one in found]


@router.post(
    "/access-reviews/{access_review_id}/keep-unchanged",
    allow=Permission.ACCESS_REVIEW,
    response=list[ReviewItemOut],
    summary="Keep every undecided account that has the same rights as when it was last kept",
)
def access_review_keep_unchanged(
    request: ApiRequest, access_review_id: int, body: KeepUnchangedIn
) -> list[dict[str, Any]]:
    review = queries.reviews(scope=request.scope).get(pk=access_review_id)
    found = services.items_keep_unchanged(review=review, reason=body.reason, scope=request.scope, now=current_time())
    return [_item(one) for one in found]


@router.post(
    "/access-reviews/{access_review_id}/sign",
    allow=Permission.ACCESS_REVIEW,
    response=AccessReviewOut,
    summary="Sign a review off: every account is decided",
)
def access_review_sign(request: ApiRequest, access_review_id: int, body: ReviewSignIn) -> dict[str, Any]:
    review = queries.reviews(scope=request.scope).get(pk=access_review_id)
    services.review_sign(review=review, note=body.note, scope=request.scope, now=current_time())
    return _shown(access_review_id, request.scope)


@router.post(
    "/access-reviews/{access_review_id}/end",
    allow=Permission.ACCESS_REVIEW,
    response=AccessReviewOut,
    summary="End a review without signing it off",
)
def access_review_end(request: ApiRequest, access_review_id: int, body: ReviewEndIn) -> dict[str, Any]:
    review = queries.reviews(scope=request.scope).get(pk=access_review_id)
    services.review_end(review=review, reason=body.reason, scope=request.scope, now=current_time())
    return _shown(access_review_id, request.scope)


@router.post(
    "/access-reviews/{access_review_id}/assign",
    allow=Permission.ACCESS_REVIEW,
    response=AccessReviewOut,
    summary="Give a review to somebody",
)
def access_review_assign(request: ApiRequest, access_review_id: int, body: ReviewAssignIn) -> dict[str, Any]:
    review = queries.reviews(scope=request.scope).get(pk=access_review_id)
    request.scope.require(Permission.ACCESS_REVIEW, on=review)
    person = _reviewer(body.assigned_to, request.scope)
    services.review_assign(review=review, assigned_to=person, scope=request.scope, now=current_time())
    return _shown(access_review_id, request.scope)


@router.get(
    "/review-items/{review_item_id}",
    allow=Permission.DEVICE_VIEW,
    response=ReviewItemOut,
    summary="Show one account of a review",
)
def review_item_show(request: ApiRequest, review_item_id: int) -> dict[str, Any]:
    return _item(queries.items(scope=request.scope).get(pk=review_item_id))


@router.post(
    "/review-items/{review_item_id}/prepare",
    allow=Permission.ACCESS_REVIEW,
    response=ReviewItemOut,
    summary="Prepare a run that does what was decided; an operator signs it",
)
def review_item_prepare(request: ApiRequest, review_item_id: int, body: ItemPrepareIn) -> dict[str, Any]:
    scope = request.scope
    found = queries.items(scope=scope).get(pk=review_item_id)
    parameters = {"fingerprint": body.fingerprint} if body.runbook == "remove-ssh-key" else {}
    services.item_prepare(item=found, runbook=body.runbook, parameters=parameters, scope=scope, now=current_time())
    return _item(queries.items(scope=scope).get(pk=review_item_id))


def _person(pk: int | None, scope: Scope) -> Person | None:
    return _reviewer(pk, scope) if pk is not None else None


def _reviewer(pk: int, scope: Scope) -> Person:
    found = people.persons(scope=scope).filter(pk=pk).first()
    if found is None:
        raise ValueError(f"assigned_to: {pk} is nobody that you can see")
    return found


def _shown(review_id: int, scope: Scope) -> dict[str, Any]:
    return _review(queries.reviews_counted(scope=scope).get(pk=review_id))


def _account(one: queries.KnownAccount) -> dict[str, Any]:
    plain = (
        "name", "full_name", "uid", "kind", "source", "administrator", "administrator_because", "groups", "login",
        "password", "password_hash", "password_changed_at", "password_expires", "expires_at", "disabled", "last_login",
        "ssh_keys",
    )  # fmt: skip
    told = {name: getattr(one.account, name) for name in plain}
    keys = [f"{key.type} {key.fingerprint} {key.comment}".strip() for key in one.account.keys]
    return {**told, "device": one.device.pk, "device_name": one.device.name, "keys": keys, "asked": one.asked}


def _change(one: AccessChange) -> dict[str, Any]:
    plain = (
        "client", "at", "about", "field", "was", "now", "words", "risk", "state", "settled_at", "settled_by", "reason",
        "ticket_id", "evidence_reference",
    )  # fmt: skip
    told = {name: getattr(one, name) for name in plain}
    return {"id": one.pk, "device": one.device_id, "device_name": one.device.name, **told}


def _plan(one: ReviewPlan) -> dict[str, Any]:
    plain = ("client", "every_months", "answer_days", "changed_at", "changed_by")
    assigned = one.assigned_to.username if one.assigned_to else ""
    return {"id": one.pk, "site": one.site_id, "assigned_to": assigned, **{name: getattr(one, name) for name in plain}}


def _review(one: AccessReview) -> dict[str, Any]:
    plain = (
        "client", "state", "begun_at", "begun_by", "due_at", "ended_at", "ended_by", "note", "not_known",
        "evidence_reference",
    )  # fmt: skip
    counted: Any = one
    return {
        "id": one.pk,
        "site": one.site_id,
        "site_name": one.site.name if one.site else "",
        "assigned_to": one.assigned_to.username if one.assigned_to else "",
        "accounts": counted.asked,
        "undecided": counted.open_items,
        "removals": counted.removals,
        "undone": counted.undone,
        **{name: getattr(one, name) for name in plain},
    }


def _item(one: ReviewItem) -> dict[str, Any]:
    plain = (
        "account", "facts", "unchanged", "last_kept_at", "decision", "reason", "decided_at", "decided_by",
        "asked_again", "gone_at", "job_id", "job_note", "done_at", "evidence_reference",
    )  # fmt: skip
    told = {name: getattr(one, name) for name in plain}
    return {"id": one.pk, "device": one.device_id, "device_name": one.device.name, **told}
