"""Check kind: what monitoring plugins on the device answer."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.plugin.rule import Policy, judge, levels
from forestall.server.checks.kinds.plugin.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="plugin",
    texts=TEXTS,
    risk=Risk.MEDIUM,
    rests_on=(),
    # Most devices have no plugins: without the document there is nothing to judge, and nothing missing.
    also_reads=("plugins",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=900,
    policy=Policy,
    judge=judge,
    levels=levels,
    acceptable=True,
)
