"""Check kind: inodes of each volume."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.inodes.rule import USED, Policy, judge, levels
from forestall.server.checks.kinds.inodes.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="inodes",
    texts=TEXTS,
    risk=Risk.HIGH,
    rests_on=("volumes",),
    metrics=(USED,),
    history_seconds=0,
    cadence_seconds=300,
    policy=Policy,
    judge=judge,
    levels=levels,
    remedies=("free-disk-space",),
)
