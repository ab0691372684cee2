"""Check kind: traces that an attack on backups, or on what they hold, leaves."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.backup_tampering.rule import Policy, judge, levels
from forestall.server.checks.kinds.backup_tampering.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="backup_tampering",
    texts=TEXTS,
    risk=Risk.CRITICAL,
    rests_on=("backups",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=3600,
    policy=Policy,
    judge=judge,
    levels=levels,
    acceptable=True,
)
