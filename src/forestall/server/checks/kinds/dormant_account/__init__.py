"""Check kind: accounts that nobody has used for long."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.dormant_account.rule import Policy, judge, levels
from forestall.server.checks.kinds.dormant_account.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="dormant_account",
    texts=TEXTS,
    risk=Risk.MEDIUM,
    rests_on=("access",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=86400,
    policy=Policy,
    judge=judge,
    levels=levels,
    remedies=("lock-account",),
    acceptable=True,
)
