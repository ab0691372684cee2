"""Check kind: whether what a backup builds on is there, and nothing blocks it."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.backup_chain.rule import Policy, judge, levels
from forestall.server.checks.kinds.backup_chain.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="backup_chain",
    texts=TEXTS,
    risk=Risk.HIGH,
    rests_on=("backups",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=3600,
    policy=Policy,
    judge=judge,
    levels=levels,
    remedies=("unlock-backup",),
)
