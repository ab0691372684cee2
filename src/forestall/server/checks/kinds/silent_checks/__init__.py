"""Check kind: documents and samples that stopped arriving."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.silent_checks.rule import Policy, judge, levels
from forestall.server.checks.kinds.silent_checks.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="silent_checks",
    texts=TEXTS,
    risk=Risk.MEDIUM,
    rests_on=(),
    metrics=("cpu.used_percent",),
    history_seconds=0,
    cadence_seconds=300,
    policy=Policy,
    judge=judge,
    levels=levels,
    about_link=True,
)
