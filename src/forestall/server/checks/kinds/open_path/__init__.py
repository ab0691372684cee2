"""Check kind: paths that anybody may change, and unexpected setuid programs."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.open_path.rule import Policy, judge, levels
from forestall.server.checks.kinds.open_path.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="open_path",
    texts=TEXTS,
    risk=Risk.HIGH,
    rests_on=("access",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=86400,
    policy=Policy,
    judge=judge,
    levels=levels,
    acceptable=True,
)
