"""Check kind: whether a taken-over device can take its backups with it."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.backup_exposure.rule import Policy, judge, levels
from forestall.server.checks.kinds.backup_exposure.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="backup_exposure",
    texts=TEXTS,
    risk=Risk.HIGH,
    rests_on=("backups",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=3600,
    policy=Policy,
    judge=judge,
    levels=levels,
    acceptable=True,
)
