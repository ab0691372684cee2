"""The kind ``pending_enrolment`` in words."""

from forestall.server.checks.kind import Texts

TEXTS = Texts(
    title="Pending enrolment",
    question="Does an enrolled device wait for approval?",
    why="Until somebody approves it, the device is neither watched nor maintained.",
    remedy="Compare its host name and key with the device in front of you, then approve or revoke it.",
)
