"""Check kind: certificates that expire."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.certificate_expiry.rule import Policy, judge, levels
from forestall.server.checks.kinds.certificate_expiry.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="certificate_expiry",
    texts=TEXTS,
    risk=Risk.HIGH,
    rests_on=("certificates",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=3600,
    policy=Policy,
    judge=judge,
    levels=levels,
)
