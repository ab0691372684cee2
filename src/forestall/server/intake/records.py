"""Device-signed records inside a check-in: looked at before they are taken, because evidence never goes back."""

from __future__ import annotations

from typing import Any

from forestall.server.intake.known import KnownDevice
from forestall.server.intake.refused import RefusedError
from forestall.trust import dsse
from forestall.trust.keys import key_id
from forestall.trust.statements import DeviceNotice, JobResult, read_statement
from forestall.wire.refusals import RefusalCode

RECORD_KINDS: dict[str, type[JobResult] | type[DeviceNotice]] = {
    JobResult.PAYLOAD_TYPE: JobResult,
    DeviceNotice.PAYLOAD_TYPE: DeviceNotice,
}


def record_read(envelope: bytes, public_key: bytes) -> tuple[JobResult | DeviceNotice, bool]:
    """The statement inside a record, and whether ``public_key`` signed it. ValueError when it is none of a device's."""
    kind = dsse.decode(envelope).payloadType
    if kind not in RECORD_KINDS:
        raise ValueError(f"a device does not sign {kind:.80}")
    body, signers = dsse.signers(envelope, kind, {key_id(public_key): public_key})
    statement: Any = read_statement(body, RECORD_KINDS[kind])
    return statement, bool(signers)


def records_check(records: list[bytes], device: KnownDevice) -> None:
    """RefusedError unless every record is well formed, names this device and its client, and is signed by its key."""
    for index, envelope in enumerate(records):
        path = f"$.records[{index}]"
        try:
            statement, signed = record_read(envelope, device.public_key)
        except ValueError as error:
            raise RefusedError(RefusalCode.MALFORMED, f"{path}: {error}") from None
        if statement.device_id != str(device.device_id) or statement.client_id != str(device.client):
            raise RefusedError(
                RefusalCode.RECORD_FOREIGN,
                f"{path}: of device {statement.device_id:.40}, client {statement.client_id:.40}",
            )
        if not signed:
            raise RefusedError(RefusalCode.SIGNATURE_WRONG, f"{path}: not signed by this device's key")
