"""The kind ``certificate_expiry`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Certificates",
    question="Does any certificate expire soon?",
    why="On the day a certificate expires, everyone who uses the service sees an error.",
    remedy="Renew it now, install it and reload the service; then see why it was not renewed by itself.",
)
