"""The one exception of intake: a message that is refused, with the code its sender is told."""

from __future__ import annotations

from forestall.wire.refusals import RefusalCode


class RefusedError(Exception):
    """Refuse this message."""

    def __init__(self, code: RefusalCode, detail: str, *, device: bytes | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.device = device
        """Id of the device that certainly spoke (16 bytes); None: it could be anyone."""
        self.next_sequence: int | None = None
        """Told to a device that is certain: where the server stands."""
