"""Check kind: SSH keys that are weak, old or nobody's."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.ssh_key.rule import Policy, judge, levels
from forestall.server.checks.kinds.ssh_key.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="ssh_key",
    texts=TEXTS,
    risk=Risk.MEDIUM,
    rests_on=("access",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=86400,
    policy=Policy,
    judge=judge,
    levels=levels,
    remedies=("remove-ssh-key",),
    acceptable=True,
)
