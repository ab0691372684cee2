"""The kind ``cpu`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="CPU",
    question="Has the processor been busy without pause?",
    why="A processor that is never idle makes everything slow; often one process has run away.",
    remedy=(
        "See which process it is (`top -o %CPU`). End or restart what has run away; else the device needs more CPU."
    ),
)
