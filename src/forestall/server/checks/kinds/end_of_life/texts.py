"""The kind ``end_of_life`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="End of life",
    question="Does the operating system still get fixes?",
    why="After its end of life no hole found in it is closed any more.",
    remedy="Plan the upgrade to a supported release, and set its date before the end of support.",
)
