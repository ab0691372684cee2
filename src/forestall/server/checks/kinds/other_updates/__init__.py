"""Check kind: other updates past their cadence."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.other_updates.rule import Policy, judge, levels
from forestall.server.checks.kinds.other_updates.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="other_updates",
    texts=TEXTS,
    risk=Risk.LOW,
    rests_on=("updates",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=3600,
    policy=Policy,
    judge=judge,
    levels=levels,
)
