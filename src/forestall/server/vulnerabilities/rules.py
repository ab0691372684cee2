"""Decisions about marks: what may be said of a vulnerability, and whether it counts at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

ACCEPTED, FALSE_POSITIVE, NOT_APPLICABLE = "accepted", "false_positive", "not_applicable"
MARKS = {
    ACCEPTED: "accepted",
    FALSE_POSITIVE: "false positive",
    NOT_APPLICABLE: "not applicable",
}
"""What can be said → in words."""
LONGEST_ACCEPTANCE = timedelta(days=366)
"""A risk is looked at again at least once a year."""
MOST_REASON = 2000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._+-]{1,59}")
"""Of a vulnerability: ``CVE-2026-23667``, ``ALSA-2026:1234``."""


BESIDE_THE_KERNEL = re.compile(
    r"linux-(libc-dev|api-headers|perf|cpupower|bpf-dev|(headers|kbuild|compiler|source|doc|config|support|tools)(-.*)?)"
    r"|bpftool|usbip|rtla|hyperv-daemons|libcpupower.*|perf|python3-perf"
    r"|kernel-(headers|doc|tools(-.*)?|(.*-)?devel(-.*)?)"
)


def is_beside_the_kernel(package: str) -> bool:
    """Whether an installed package is made from a kernel's source and holds nothing of the kernel that runs: headers,
    and tools that look at it.

    Advisories of a kernel speak of its source package, from which these are made too: a machine without any kernel of
    its own (a container) would seem open to thousands of holes that nothing on it has.
    """
    return BESIDE_THE_KERNEL.fullmatch(package) is not None


class MarkError(ValueError):
    """A mark that cannot be made; names the bad value."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark as far as counting goes."""

    client: UUID
    device: UUID | None
    """None: every device of the client."""
    vulnerability: str
    package: str
    """Empty: in every package."""
    at: datetime
    expires_at: datetime | None
    ended_at: datetime | None

    def holds(self, when: datetime) -> bool:
        """Whether it was in force: made, not expired, not taken back. What has expired counts again by itself."""
        return (
            self.at <= when
            and (self.expires_at is None or when < self.expires_at)
            and (self.ended_at is None or when < self.ended_at)
        )


def mark_check(*, mark: str, name: str, reason: str, expires_at: datetime | None, now: datetime) -> None:
    """MarkError names what is wrong with a mark that somebody wants to make."""
    if mark not in MARKS:
        raise MarkError(f"mark: {mark[:40]!r} is none of {', '.join(MARKS)}")
    if not NAME.fullmatch(name):
        raise MarkError(f"vulnerability: {name[:60]!r} is no name of one, such as CVE-2026-23667")
    if not reason.strip():
        raise MarkError("reason: empty; whoever reads it in a year must learn why")
    if len(reason) > MOST_REASON:
        raise MarkError(f"reason: {len(reason):,} characters; {MOST_REASON:,} are kept at most")
    if expires_at is not None and expires_at <= now:
        raise MarkError(f"expires_at: {expires_at:%Y-%m-%d %H:%M} is past")
    if mark == ACCEPTED:
        if expires_at is None:
            raise MarkError("expires_at: an accepted risk ends at a day, when it is looked at again")
        if expires_at > now + LONGEST_ACCEPTANCE:
            raise MarkError(
                f"expires_at: {expires_at:%Y-%m-%d} is more than {LONGEST_ACCEPTANCE.days} days away; a risk is looked"
                " at again within a year"
            )
