"""Making and signing statements: for the operator's side, which holds the private keys. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forestall.trust.dsse import sign
from forestall.trust.keys import key_id, private_key, public_bytes
from forestall.trust.statements import (
    Invocation,
    Job,
    OperatorLimits,
    ParameterValue,
    Revocation,
    RoleKeys,
    Root,
    Runbook,
    StandingOrder,
    Statement,
    read_statement,
    statement_bytes,
    statement_digest,
)

ROOT_LIFE = timedelta(days=5 * 365)
CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far a device's clock may be behind the operator's and still take a new order at once."""


def sign_statement(statement: Statement, keys: Sequence[Ed25519PrivateKey]) -> bytes:
    """The envelope of a statement, signed with every key."""
    return sign(statement_bytes(statement), statement.PAYLOAD_TYPE, keys)


def role_of(keys: Sequence[Ed25519PrivateKey], threshold: int = 1) -> RoleKeys:
    """A role held by the public halves of ``keys``."""
    public = [public_bytes(key) for key in keys]
    return RoleKeys(keys={key_id(raw): raw.hex() for raw in public}, threshold=threshold)


def new_root(
    *,
    root: RoleKeys,
    operator: RoleKeys,
    catalogue: RoleKeys,
    now: datetime,
    version: int = 1,
    limits: Mapping[str, OperatorLimits] | None = None,
    single_signature_devices: int | None = None,
) -> Root:
    """A root statement that lives for five years."""
    return Root(
        version=version,
        issued_at=now,
        expires_at=now + ROOT_LIFE,
        root=root,
        operator=operator,
        catalogue=catalogue,
        limits=dict(limits or {}),
        single_signature_devices=single_signature_devices,
    )


def sign_job(body: bytes, keys: Sequence[bytes]) -> bytes:
    """The envelope of a prepared job: exactly these bytes, signed. ValueError when they are not a job statement.

    ``keys`` are raw private keys: 32 bytes each.
    """
    read_statement(body, Job)
    return sign(body, Job.PAYLOAD_TYPE, [private_key(raw) for raw in keys])


def new_order(
    *,
    runbook: Runbook,
    trigger: str,
    client_id: str,
    devices: Sequence[str],
    allowed: Mapping[str, Sequence[ParameterValue]],
    runs_per_day: int,
    life: timedelta,
    now: datetime,
    devices_per_hour: int | None = None,
) -> StandingOrder:
    """A standing order for ``runbook``, in force from ``now`` on; not signed yet.

    ``devices_per_hour``: most devices on which it runs in any hour; None: as many as it names.
    """
    return StandingOrder(
        order_id=str(uuid4()),
        runbook=statement_digest(runbook),
        trigger=trigger,
        client_id=client_id,
        devices=tuple(devices),
        allowed={name: tuple(values) for name, values in allowed.items()},
        runs_per_day=runs_per_day,
        not_before=now - CLOCK_TOLERANCE,
        expires_at=now - CLOCK_TOLERANCE + life,
        risk=runbook.risk,
        devices_per_hour=msgspec.UNSET if devices_per_hour is None else devices_per_hour,
    )


def sign_order(*, keys: Sequence[bytes], **order: Any) -> bytes:
    """The envelope of ``new_order(**order)``, signed. ``keys`` are raw private keys."""
    return sign_statement(new_order(**order), [private_key(raw) for raw in keys])


def sign_revocation(*, orders: Sequence[str], reason: str, now: datetime, keys: Sequence[bytes]) -> bytes:
    """The envelope of a revocation of standing orders, named by digest."""
    revocation = Revocation(issued_at=now, orders=tuple(orders), reason=reason)
    return sign_statement(revocation, [private_key(raw) for raw in keys])


def wrap_invocation(invocation: Invocation) -> bytes:
    """The envelope of an invocation: without signatures, for the standing order is the authority."""
    return sign_statement(invocation, [])
