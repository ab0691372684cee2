"""A drill's own standing order: signed for its target alone, installed, and revoked at the end."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

from forestall.cli.client import Api
from forestall.drills.fault import DrillError, Fault
from forestall.server.runbooks.operator import OperatorError, OperatorFolder
from forestall.trust.keys import private_key
from forestall.trust.sign import new_order, sign_revocation, sign_statement

LIFE = timedelta(hours=1)
RUNS_PER_DAY = 3


def sign_order(*, api: Api, folder: Path, fault: Fault, device_id: str) -> str:
    """Sign and install a standing order that lets ``fault``'s runbook act on its target; the order's digest."""
    try:
        operator = OperatorFolder.open(folder)
        runbook, keys = operator.runbook_called(fault.runbook), operator.operator_keys()
    except OperatorError as error:
        raise DrillError(str(error)) from None
    order = new_order(
        runbook=runbook,
        trigger=fault.kind,
        client_id=api.get(f"/devices/{device_id}")["client"]["id"],
        devices=[device_id],
        allowed={fault.parameter: [fault.target]},
        runs_per_day=RUNS_PER_DAY,
        life=LIFE,
        now=datetime.now(UTC),
    )
    envelope = sign_statement(order, [private_key(raw) for raw in keys])
    installed = api.post("/orders", {"envelope": base64.b64encode(envelope).decode()})
    return str(installed["digest"])


def revoke_order(*, api: Api, folder: Path, digest: str) -> None:
    """Revoke it: the device forgets it at its next check-in."""
    keys = OperatorFolder.open(folder).operator_keys()
    envelope = sign_revocation(orders=[digest], reason="the drill is over", now=datetime.now(UTC), keys=keys)
    api.post("/orders/revocations", {"envelope": base64.b64encode(envelope).decode()})
