"""The agent's log: lines on standard error, for the service manager to keep. ``logging`` would take 0.7 MiB."""

from __future__ import annotations

import sys
from datetime import UTC, datetime


def say(text: str) -> None:
    """One line with the time. Whoever took standard error away does not stop the agent."""
    try:
        sys.stderr.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} agent: {text}\n")
        sys.stderr.flush()
    except OSError:
        return  # a full disk or a closed pipe: what is said here is in the status too
