"""Check kind: the device no longer checks in."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.offline.rule import Policy, judge, levels
from forestall.server.checks.kinds.offline.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="offline",
    texts=TEXTS,
    risk=Risk.CRITICAL,
    rests_on=(),
    metrics=(),
    history_seconds=0,
    cadence_seconds=60,
    policy=Policy,
    judge=judge,
    levels=levels,
    about_link=True,
)
