"""Check kind: whether a backup was restored to see that it works, and when."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.backup_restore_verified.rule import Policy, judge, levels
from forestall.server.checks.kinds.backup_restore_verified.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="backup_restore_verified",
    texts=TEXTS,
    risk=Risk.HIGH,
    rests_on=("backups",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=3600,
    policy=Policy,
    judge=judge,
    levels=levels,
)
