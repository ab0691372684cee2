"""The log's key: it signs checkpoints and bundles. Customers and agents know it by its fingerprint."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forestall.server.home import Home
from forestall.trust.keys import private_key


def log_key_read(*, home: Home) -> Ed25519PrivateKey:
    """The log's private key, which `forestall up` made; OSError when it cannot be read."""
    return private_key(home.log_key.read_bytes())
