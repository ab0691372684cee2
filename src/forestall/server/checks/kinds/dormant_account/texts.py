"""The kind ``dormant_account`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Dormant accounts",
    question="Is every account that lets a person in still used?",
    why=(
        "Nobody misses a forgotten account, and nobody notices who uses it now: leavers' accounts are a "
        "favourite way in."
    ),
    remedy=(
        "Ask whose account it is. Lock it with the runbook lock-account when nobody needs it, or accept it "
        "with the reason."
    ),
)
