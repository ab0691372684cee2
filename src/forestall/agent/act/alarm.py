"""Signs of a freeze: a server that shows this device only what is old (threat model, V2).

What a frozen device holds stays true until it expires, so only the clock can tell. The alarm is raised on the device,
for whoever looks after it there: the server is the one that might hold things back.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from forestall.trust.statements import Root

ROOT_ENDS_SOON = timedelta(days=60)
CHECKPOINT_OLD = timedelta(days=7)


def freeze_alarms(
    *, root: Root, checkpoint_at: datetime | None, last_check_in_at: datetime | None, now: datetime
) -> list[str]:
    """In words, what has not come although it should have; empty when all is well.

    ``checkpoint_at``: of the last checkpoint of the evidence log that was accepted; ``last_check_in_at``: the last time
    the server answered. A device that does not reach its server is offline, which is another alarm's business.
    """
    alarms: list[str] = []
    ends = f"{root.expires_at:%Y-%m-%d} and no newer one has come"
    if now >= root.expires_at:
        alarms.append(f"root version {root.version} ended on {ends}: nothing runs here")
    elif root.expires_at - now < ROOT_ENDS_SOON:
        alarms.append(f"root version {root.version} ends on {ends}: from then on nothing runs here")
    if checkpoint_at is not None and last_check_in_at is not None and last_check_in_at - checkpoint_at > CHECKPOINT_OLD:
        alarms.append(
            f"the server answers, but the last checkpoint of the evidence log that came is of {checkpoint_at:%Y-%m-%d}"
        )
    return alarms
