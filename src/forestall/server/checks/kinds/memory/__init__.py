"""Check kind: available memory that stays low."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.memory.rule import AVAILABLE, Policy, judge, levels
from forestall.server.checks.kinds.memory.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="memory",
    texts=TEXTS,
    risk=Risk.MEDIUM,
    rests_on=(),
    metrics=(AVAILABLE,),
    history_seconds=900,
    cadence_seconds=120,
    policy=Policy,
    judge=judge,
    levels=levels,
    also_reads=("system",),
)
