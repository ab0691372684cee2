"""Check kind: sockets open to every interface without need."""

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds.open_socket.rule import Policy, judge, levels
from forestall.server.checks.kinds.open_socket.texts import TEXTS
from forestall.server.checks.result import Risk

KIND = CheckKind(
    slug="open_socket",
    texts=TEXTS,
    risk=Risk.MEDIUM,
    rests_on=("network",),
    metrics=(),
    history_seconds=0,
    cadence_seconds=900,
    policy=Policy,
    judge=judge,
    levels=levels,
    also_reads=("firewall",),
    acceptable=True,
)
