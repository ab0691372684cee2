"""The kind ``password_policy`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Passwords",
    question="Do passwords protect the accounts that have one?",
    why=(
        "An empty password is an open door, an old hash is broken in hours, and where any password goes, "
        "somebody takes a bad one."
    ),
    remedy=(
        "Set a new password or lock the account; demand length and lock out guessing with pam_pwquality and "
        "pam_faillock."
    ),
)
