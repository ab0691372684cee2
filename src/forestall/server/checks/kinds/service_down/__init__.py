"""Check kind: services that should run and do not."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.service_down.rule import Policy, judge, levels
from forestall.server.checks.kinds.service_down.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="service_down",
    texts=TEXTS,
    risk=Risk.HIGH,
    rests_on=("services",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=900,
    policy=Policy,
    judge=judge,
    levels=levels,
    remedies=("restart-service",),
)
