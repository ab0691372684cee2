"""The kind ``ssh_key`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="SSH keys",
    question="Is every key that opens an account strong, and known to be somebody's?",
    why=(
        "A key opens an account for as long as it stands there, whatever became of its owner and the laptop "
        "it was made on."
    ),
    remedy=(
        "Ask whose key it is. Replace weak ones by an Ed25519 key; take out what nobody needs with the "
        "runbook remove-ssh-key."
    ),
)
