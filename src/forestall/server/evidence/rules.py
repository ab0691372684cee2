"""What may be appended to a log: only what the verifier will accept. Decisions without I/O."""

from __future__ import annotations

from collections.abc import Callable

from forestall.ledger import records
from forestall.trust.keys import key_id


class EvidenceError(ValueError):
    """A record that cannot go into the log: a bundle that holds it would not verify."""


class ForeignCheckpointError(EvidenceError):
    """A device signed that it had seen a checkpoint that this log never had.

    Either this server's log was rolled back (a restored backup), or the device lies. Taking the record would let one
    lying device spoil the proof of all of its client's evidence, so it is refused where it is shown to people.
    """


def record_check(
    *,
    kind: str,
    content: records.Content,
    client: str,
    index: int,
    envelope: bytes,
    signer: bytes,
    bound_key: Callable[[str], bytes | None],
    checkpoint_root: Callable[[int], str | None],
) -> None:
    """EvidenceError unless the verifier will accept this record at ``index`` of the client's log.

    ``bound_key(device)`` is the key that the device's enrolment in this log bound, ``checkpoint_root(size)`` the root
    in hex of the log's checkpoint of that size; each None when there is none.
    """
    try:
        if kind == records.ENROLLED:
            key, before = records.enrolment_key(content), bound_key(str(content.device))
            if before not in (None, key):
                raise EvidenceError(f"device {content.device} is already bound to another key in this log")
        if kind == records.ERASED:
            records.erased_index(content, before=index)
        statement = records.device_statement(
            kind=kind, envelope=envelope, signer=signer, content=content, client=client
        )
    except records.RecordError as error:
        raise EvidenceError(f"{kind}: {error}") from error
    if statement is None:
        return
    if bound_key(statement.device_id) != signer:
        raise EvidenceError(
            f"{kind}: the signer {key_id(signer)[:16]}… is not the key bound by a device:enrolled record "
            f"of device {statement.device_id} in this client's log"
        )
    seen = statement.checkpoint
    if seen is not None and checkpoint_root(seen.size) != seen.root:
        raise ForeignCheckpointError(
            f"{kind}: device {statement.device_id} names a checkpoint over {seen.size} entries "
            f"with the root {seen.root[:16]}…, which this log never had"
        )
