"""Check kind: antivirus present, running and current."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.antivirus.rule import Policy, judge, levels
from forestall.server.checks.kinds.antivirus.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="antivirus",
    texts=TEXTS,
    risk=Risk.HIGH,
    rests_on=("antivirus",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=3600,
    policy=Policy,
    judge=judge,
    levels=levels,
    remedies=("update-antivirus-definitions", "start-antivirus", "scan-for-malware"),
    acceptable=True,
)
