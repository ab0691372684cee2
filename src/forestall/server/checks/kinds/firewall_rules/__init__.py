"""Check kind: firewall rules that let too much in, never match, or leave no trace."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.firewall_rules.rule import Policy, judge, levels
from forestall.server.checks.kinds.firewall_rules.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="firewall_rules",
    texts=TEXTS,
    risk=Risk.MEDIUM,
    rests_on=("firewall",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=3600,
    policy=Policy,
    judge=judge,
    levels=levels,
    also_reads=("system",),
    acceptable=True,
)
