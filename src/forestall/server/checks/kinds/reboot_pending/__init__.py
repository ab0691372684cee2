"""Check kind: a reboot that updates are waiting for."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.reboot_pending.rule import Policy, judge, levels
from forestall.server.checks.kinds.reboot_pending.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="reboot_pending",
    texts=TEXTS,
    risk=Risk.MEDIUM,
    rests_on=("system",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=3600,
    policy=Policy,
    judge=judge,
    levels=levels,
)
