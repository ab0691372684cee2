"""The kind ``open_path`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Open paths",
    question="Can only those change files who should, and does every setuid program belong here?",
    why=(
        "A program that anybody may change runs as whoever starts it next; a setuid program lends its owner's"
        " power to everybody."
    ),
    remedy=("Take away what is too much: `chmod o-w PATH`, `chmod u-s PATH`; give what belongs to nobody an owner."),
)
