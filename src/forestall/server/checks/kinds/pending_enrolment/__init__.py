"""Check kind: a device that waits for approval."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.pending_enrolment.rule import Policy, judge, levels
from forestall.server.checks.kinds.pending_enrolment.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="pending_enrolment",
    texts=TEXTS,
    risk=Risk.MEDIUM,
    rests_on=(),
    metrics=(),
    history_seconds=0,
    cadence_seconds=300,
    policy=Policy,
    judge=judge,
    levels=levels,
    about_link=True,
)
