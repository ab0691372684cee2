"""Check kind: a clock that is wrong, or that nothing keeps right."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.clock_drift.rule import Policy, judge, levels
from forestall.server.checks.kinds.clock_drift.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="clock_drift",
    texts=TEXTS,
    risk=Risk.MEDIUM,
    rests_on=("time",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=900,
    policy=Policy,
    judge=judge,
    levels=levels,
    also_reads=("system",),
)
