"""Check kind: errors that file systems themselves have counted."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.file_system_errors.rule import Policy, judge, levels
from forestall.server.checks.kinds.file_system_errors.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="file_system_errors",
    texts=TEXTS,
    risk=Risk.HIGH,
    rests_on=("volumes",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=3600,
    policy=Policy,
    judge=judge,
    levels=levels,
)
