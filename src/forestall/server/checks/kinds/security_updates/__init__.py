"""Check kind: security updates past their obligation."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.security_updates.rule import Policy, judge, levels
from forestall.server.checks.kinds.security_updates.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="security_updates",
    texts=TEXTS,
    risk=Risk.HIGH,
    rests_on=("updates",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=900,
    policy=Policy,
    judge=judge,
    levels=levels,
)
