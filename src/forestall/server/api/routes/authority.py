"""Root, revoked keys, and what waits for the signatures of root keys. Signed elsewhere: this only passes on."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

from ninja import Field

from forestall.server.api.asking import PagingQuery, current_time
from forestall.server.api.paging import Page, page
from forestall.server.api.routes.jobs import EnvelopeIn, envelope_of
from forestall.server.api.routing import ApiRequest, Routes
from forestall.server.api.schema import Schema
from forestall.server.people.scope import Permission
from forestall.server.runbooks import queries, services
from forestall.server.runbooks.models import AuthorityProposal, ProposalState, RevocationRecord, RootRecord

router = Routes(tags=["authority"])


class RootOut(Schema):
    version: int
    digest: str
    envelope: str = Field(description="Base64 of the signed DSSE envelope.")
    installed_at: datetime
    installed_by: str
    expires_at: datetime


class RevocationOut(Schema):
    digest: str
    envelope: str = Field(description="Base64 of the signed DSSE envelope.")
    keys: list[str] = Field(description="Key ids of operators whose signatures count no more.")
    reason: str
    installed_at: datetime
    installed_by: str


class ProposalOut(Schema):
    digest: str
    kind: str = Field(description="`root` or `revocation`.")
    envelope: str = Field(description="Base64 of the DSSE envelope with the signatures that are there so far.")
    state: str
    missing: str = Field(description="Why it is not in force yet.")
    proposed_at: datetime
    proposed_by: str
    changed_at: datetime
    changed_by: str


@router.get(
    "/authority/roots",
    allow=Permission.RUNBOOK_VIEW,
    response=Page[RootOut],
    summary="List the root's versions, oldest first",
)
def root_list(request: ApiRequest, paging: PagingQuery) -> dict[str, Any]:
    found = queries.roots(scope=request.scope)
    return page(found, shape=_root, cursor=paging.cursor, limit=paging.limit, order=("version",))


@router.get(
    "/authority/revocations",
    allow=Permission.RUNBOOK_VIEW,
    response=Page[RevocationOut],
    summary="List revocations of operators' keys, oldest first",
)
def revocation_list(request: ApiRequest, paging: PagingQuery) -> dict[str, Any]:
    found = queries.revocations(scope=request.scope)
    return page(found, shape=_revocation, cursor=paging.cursor, limit=paging.limit, order=("installed_at", "pk"))


@router.get(
    "/authority/proposals",
    allow=Permission.AUTHORITY_CHANGE,
    response=Page[ProposalOut],
    summary="List new roots and revocations that wait for signatures, or did, newest first",
)
def proposal_list(request: ApiRequest, paging: PagingQuery, state: ProposalState | None = None) -> dict[str, Any]:
    found = queries.proposals(scope=request.scope)
    if state:
        found = found.filter(state=state)
    return page(found, shape=_proposal, cursor=paging.cursor, limit=paging.limit, order=("-proposed_at", "-pk"))


@router.get(
    "/authority/proposals/{digest}",
    allow=Permission.AUTHORITY_CHANGE,
    response=ProposalOut,
    summary="Show a proposal",
)
def proposal_show(request: ApiRequest, digest: str) -> dict[str, Any]:
    return _proposal(queries.proposals(scope=request.scope).get(digest=digest))


@router.post(
    "/authority/proposals",
    allow=Permission.AUTHORITY_CHANGE,
    response=ProposalOut,
    summary="Hand in a new root or a revocation of keys, signed: in force once enough root keys have signed",
)
def proposal_submit(request: ApiRequest, body: EnvelopeIn) -> dict[str, Any]:
    envelope = envelope_of(body)
    return _proposal(services.authority_submit(scope=request.scope, envelope=envelope, now=current_time()))


@router.post(
    "/authority/proposals/{digest}/withdraw",
    allow=Permission.AUTHORITY_CHANGE,
    response=ProposalOut,
    summary="Take a proposal off the table",
)
def proposal_withdraw(request: ApiRequest, digest: str) -> dict[str, Any]:
    return _proposal(services.proposal_withdraw(scope=request.scope, digest=digest, now=current_time()))


def _root(record: RootRecord) -> dict[str, Any]:
    fields = ("version", "digest", "installed_at", "installed_by", "expires_at")
    return {**{name: getattr(record, name) for name in fields}, "envelope": _text(record.envelope)}


def _revocation(record: RevocationRecord) -> dict[str, Any]:
    fields = ("digest", "keys", "reason", "installed_at", "installed_by")
    return {**{name: getattr(record, name) for name in fields}, "envelope": _text(record.envelope)}


def _proposal(record: AuthorityProposal) -> dict[str, Any]:
    fields = ("digest", "kind", "state", "missing", "proposed_at", "proposed_by", "changed_at", "changed_by")
    return {**{name: getattr(record, name) for name in fields}, "envelope": _text(record.envelope)}


def _text(envelope: bytes | memoryview) -> str:
    return base64.b64encode(bytes(envelope)).decode()
