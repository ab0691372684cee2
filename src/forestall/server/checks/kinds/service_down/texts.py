"""The kind ``service_down`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Services",
    question="Does every service run that should?",
    why="A service that is down is work that nobody can do: mail, logins, a shop, a backup.",
    remedy=(
        "Read why it stopped (`systemctl status NAME`, `journalctl -u NAME`), then start it again. If "
        "it is not needed, stop and disable it: it then passes."
    ),
)
