"""Check kind: whether backups are as large as they should be."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.backup_size.rule import Policy, judge, levels
from forestall.server.checks.kinds.backup_size.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="backup_size",
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
