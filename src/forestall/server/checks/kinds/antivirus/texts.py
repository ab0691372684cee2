"""The kind ``antivirus`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Antivirus",
    question="Is there antivirus, does it run, and are its definitions current?",
    why="Old definitions miss what goes round now; many contracts and insurers ask for current ones.",
    remedy=(
        "Install antivirus, start it and let it update its definitions (ClamAV: `clamav-daemon` and "
        "`clamav-freshclam`)."
    ),
)
