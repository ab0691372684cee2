"""Check kind: administrators that appeared after enrolment."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.new_administrator.rule import Policy, judge, levels
from forestall.server.checks.kinds.new_administrator.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="new_administrator",
    texts=TEXTS,
    risk=Risk.HIGH,
    rests_on=("access",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=900,
    policy=Policy,
    judge=judge,
    levels=levels,
    acceptable=True,
)
