"""Check kind: passwords that are empty, weakly kept or weakly demanded."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.password_policy.rule import Policy, judge, levels
from forestall.server.checks.kinds.password_policy.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="password_policy",
    texts=TEXTS,
    risk=Risk.MEDIUM,
    rests_on=("access",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=86400,
    policy=Policy,
    judge=judge,
    levels=levels,
    remedies=("lock-account", "expire-password"),
    acceptable=True,
)
