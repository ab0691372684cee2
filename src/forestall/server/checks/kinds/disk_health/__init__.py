"""Check kind: what disks say of their own health."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.disk_health.rule import Policy, judge, levels
from forestall.server.checks.kinds.disk_health.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="disk_health",
    texts=TEXTS,
    risk=Risk.CRITICAL,
    rests_on=("disks",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=3600,
    policy=Policy,
    judge=judge,
    levels=levels,
)
