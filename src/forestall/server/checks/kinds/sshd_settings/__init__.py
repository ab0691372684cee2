"""Check kind: weak settings of the SSH server."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.sshd_settings.rule import Policy, judge, levels
from forestall.server.checks.kinds.sshd_settings.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="sshd_settings",
    texts=TEXTS,
    risk=Risk.HIGH,
    rests_on=("sshd",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=3600,
    policy=Policy,
    judge=judge,
    levels=levels,
    acceptable=True,
)
