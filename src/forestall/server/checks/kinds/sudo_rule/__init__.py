"""Check kind: permissions of sudo that go too far."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.sudo_rule.rule import Policy, judge, levels
from forestall.server.checks.kinds.sudo_rule.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="sudo_rule",
    texts=TEXTS,
    risk=Risk.MEDIUM,
    rests_on=("access",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=86400,
    policy=Policy,
    judge=judge,
    levels=levels,
    acceptable=True,
)
