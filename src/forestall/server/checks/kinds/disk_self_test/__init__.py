"""Check kind: what disks found when they tested themselves."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.disk_self_test.rule import Policy, judge, levels
from forestall.server.checks.kinds.disk_self_test.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="disk_self_test",
    texts=TEXTS,
    risk=Risk.HIGH,
    rests_on=("disks",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=3600,
    policy=Policy,
    judge=judge,
    levels=levels,
    remedies=("test-disk",),
)
