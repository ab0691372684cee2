"""Check kind: RAID arrays, volume groups and pools."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.array_health.rule import Policy, judge, levels
from forestall.server.checks.kinds.array_health.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="array_health",
    texts=TEXTS,
    risk=Risk.CRITICAL,
    rests_on=("arrays",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=900,
    policy=Policy,
    judge=judge,
    levels=levels,
)
