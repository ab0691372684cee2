"""The kind ``sudo_rule`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Sudo permissions",
    question="Do sudo's rules give no more than they seem to?",
    why=(
        "Who may run everything, or an editor as root, is root; without a password whoever borrows the session is, too."
    ),
    remedy=(
        "Name the commands with their full paths and arguments in the rule, ask for the password, and check "
        "with `visudo -c`."
    ),
)
