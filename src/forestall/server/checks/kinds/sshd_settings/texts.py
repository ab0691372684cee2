"""The kind ``sshd_settings`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="SSH settings",
    question="Is the SSH server set up safely?",
    why="SSH is the door administrators use, and the one that is tried by strangers all day.",
    remedy=(
        "Change the setting in /etc/ssh/sshd_config, test with `sshd -t`, and reload the service. Keep "
        "a second session open meanwhile."
    ),
)
