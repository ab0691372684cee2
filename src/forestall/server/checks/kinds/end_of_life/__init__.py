"""Check kind: an operating system that gets no more fixes."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.end_of_life.rule import Policy, judge, levels
from forestall.server.checks.kinds.end_of_life.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="end_of_life",
    texts=TEXTS,
    risk=Risk.HIGH,
    rests_on=("system",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=86400,
    policy=Policy,
    judge=judge,
    levels=levels,
)
