"""What goes wrong with a feed."""

from __future__ import annotations


class FeedError(Exception):
    """A feed file that cannot be taken: which file, where in it, and what is wrong there. Nothing of it counts."""

    def __init__(self, file: str, why: str, *, where: str = "") -> None:
        self.file, self.where, self.why = file, where, why
        super().__init__(f"{file}: {where}: {why}" if where else f"{file}: {why}")
