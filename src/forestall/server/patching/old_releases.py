"""Systems that get no more fixes: no update mends them, only another release does."""

from __future__ import annotations

from uuid import UUID

from forestall.server.checks import queries as checks
from forestall.server.checks.result import Status
from forestall.server.people.scope import Scope
from forestall.server.vulnerabilities.queries import OldRelease

KIND = "end_of_life"


def old_releases(
    *, scope: Scope, client: UUID | None = None, site: UUID | None = None, device: UUID | None = None
) -> list[OldRelease]:
    """The devices whose support has ended or ends soon, by what the check says of them."""
    rows = checks.checks(scope=scope).filter(kind=KIND, status__in=(Status.FAIL, Status.WARN))
    wanted = {"device__client": client, "device__site": site, "device": device}
    rows = rows.filter(**{name: value for name, value in wanted.items() if value is not None}).order_by()
    return [
        OldRelease(one[0], one[1] or "an unknown system", one[2], one[3] == Status.FAIL)
        for one in rows.values_list("device_id", "device__os_name", "reason", "status")
    ]
