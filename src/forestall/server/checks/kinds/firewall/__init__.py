"""Check kind: nothing filters inbound traffic."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.firewall.rule import Policy, judge, levels
from forestall.server.checks.kinds.firewall.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="firewall",
    texts=TEXTS,
    risk=Risk.MEDIUM,
    rests_on=("firewall",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=3600,
    policy=Policy,
    judge=judge,
    levels=levels,
    acceptable=True,
)
