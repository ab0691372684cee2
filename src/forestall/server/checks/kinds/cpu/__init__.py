"""Check kind: CPU use that lasts."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.cpu.rule import USED, Policy, judge, levels
from forestall.server.checks.kinds.cpu.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="cpu",
    texts=TEXTS,
    risk=Risk.MEDIUM,
    rests_on=(),
    metrics=(USED,),
    history_seconds=900,
    cadence_seconds=120,
    policy=Policy,
    judge=judge,
    levels=levels,
)
