"""Check kind: age and last result of each backup."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.backup_age.rule import Policy, judge, levels
from forestall.server.checks.kinds.backup_age.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="backup_age",
    texts=TEXTS,
    risk=Risk.HIGH,
    rests_on=("backups",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=900,
    policy=Policy,
    judge=judge,
    levels=levels,
    remedies=("rerun-backup",),
)
