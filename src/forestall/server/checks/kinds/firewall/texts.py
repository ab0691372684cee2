"""The kind ``firewall`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Firewall",
    question="Does anything filter what comes in?",
    why="Without a filter, each program that opens a port, by plan or by mistake, is reachable at once.",
    remedy=(
        "Turn on a firewall that drops inbound traffic except for what is offered (`ufw enable` after "
        "allowing SSH, or nftables)."
    ),
)
