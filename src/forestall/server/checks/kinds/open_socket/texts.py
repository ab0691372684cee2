"""The kind ``open_socket`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Open sockets",
    question="Is anything open to every network that need not be?",
    why="What listens on every interface is reachable from every network the device is ever in.",
    remedy=(
        "Let it listen on 127.0.0.1 or one inner address, or filter it with the firewall. Accept it in "
        "the console if it must be open."
    ),
)
