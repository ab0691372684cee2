"""Check kind: room on each volume, now and by forecast."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.disk_space.rule import FREE, USED, Policy, judge, levels
from forestall.server.checks.kinds.disk_space.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="disk_space",
    texts=TEXTS,
    risk=Risk.HIGH,
    rests_on=("volumes",),
    metrics=(USED, FREE),
    history_seconds=14 * 86400,
    cadence_seconds=300,
    policy=Policy,
    judge=judge,
    levels=levels,
    remedies=("free-disk-space",),
)
