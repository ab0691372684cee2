"""Everything that is ever signed, declared once: what is said, by which role, in which DSSE payload type.

The body of each statement is canonical JSON (``statement_bytes``). Times are UTC datetimes. A *digest* is the
SHA-256 of a body in hex: runbooks and standing orders are named by it, so that what was approved is what runs.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal, TypeVar

import msgspec

from forestall.trust.proofs import RestoreProof

_encoder = msgspec.json.Encoder(order="deterministic")

ParameterValue = str | int | bool


class RiskClass(StrEnum):
    """How much harm an act can do; decides how many operators must sign (threat model, D1)."""

    OBSERVE = "observe"
    CHANGE = "change"
    DESTRUCTIVE = "destructive"
    TRUST = "trust"


OPERATOR_SIGNATURES: dict[RiskClass, int | None] = {
    RiskClass.OBSERVE: 0,
    RiskClass.CHANGE: 1,
    RiskClass.DESTRUCTIVE: 2,
    RiskClass.TRUST: None,  # never by operators
}


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all signed statements. Unknown fields are refused: nobody can be made to sign what is not read."""

    PAYLOAD_TYPE: ClassVar[str]


class RoleKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of a role and how many of them must sign."""

    keys: dict[str, str]
    """Key id → raw public key in hex."""
    threshold: int


class OperatorLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How far one operator's signature reaches. Beyond that it counts as if it were not there."""

    risk: tuple[RiskClass, ...] = ()
    """Risk classes; empty: every one that operators may sign."""
    clients: tuple[str, ...] = ()
    """Client ids; empty: every client."""
    most_devices: int | None = None
    """Most devices that one statement may name (the device cap); None: any number."""


class Root(Statement, frozen=True, kw_only=True, omit_defaults=True):
    """The root of authority: which keys hold which role, and how far each operator reaches. Signed by the root role.

    The fields with defaults came later. They are left out of the bytes while they hold them, so that older roots
    keep theirs, and agents that do not know the fields read every root that does not use them.
    """

    PAYLOAD_TYPE: ClassVar[str] = "application/vnd.forestall.root+json"

    version: int
    issued_at: datetime
    expires_at: datetime
    root: RoleKeys
    operator: RoleKeys
    catalogue: RoleKeys
    limits: dict[str, OperatorLimits] = {}
    """Key id of an operator → its limits; one that is not listed has none."""
    single_signature_devices: int | None = None
    """Most devices that a statement with one operator's signature may name; above that two sign. None: any number."""


class Parameter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A typed parameter of a runbook."""

    name: str
    kind: Literal["text", "path", "service", "integer", "boolean"]
    description: str
    required: bool = True
    default: ParameterValue | None = None
    minimum: int | None = None
    maximum: int | None = None
    pattern: str = ""
    """Regular expression the whole of a text value must match."""


Outcome = Literal["succeeded", "failed", "skipped", "changed", "unchanged"]
"""What became of a step, as a later step's condition may ask. ``changed``: it succeeded and counted an effect."""


class When(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A condition: run only if an earlier step ended so."""

    step: str
    """Name of an earlier step."""
    outcome: Outcome


class UndoStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An action that undoes a step where the agent's undo journal cannot: it starts again what the step stopped."""

    action: str
    arguments: dict[str, ParameterValue] = {}
    timeout_seconds: int = 300


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One built-in action of the agent with its arguments. ``"{name}"`` as a whole argument stands for a parameter."""

    action: str
    """``files.delete_older``, ``service.restart`` …: see ``forestall.agent.act``."""
    arguments: dict[str, ParameterValue] = {}
    timeout_seconds: int = 300
    go_on: bool = False
    """Whether the next steps run even when this one fails. The run counts as failed all the same."""
    # Unset where it is not used: the bytes of runbooks from before these fields stay what they were.
    name: str | msgspec.UnsetType = msgspec.UNSET
    """By which conditions of later steps name it."""
    when: When | msgspec.UnsetType = msgspec.UNSET
    """Else the step is skipped."""
    approval: str | msgspec.UnsetType = msgspec.UNSET
    """Before this step the run stops, until operators sign a job that continues it. What they should look at."""
    undo: UndoStep | msgspec.UnsetType = msgspec.UNSET
    """Run when the runbook undoes itself (``undo_on_failure``) after this step was run."""


class Runbook(Statement, frozen=True, kw_only=True):
    """A procedure. Signed by the catalogue role; named by its digest."""

    PAYLOAD_TYPE: ClassVar[str] = "application/vnd.forestall.runbook+json"

    slug: str
    version: int
    title: str
    description: str
    risk: RiskClass
    parameters: tuple[Parameter, ...]
    steps: tuple[Step, ...]
    undo: str
    """How to undo it, in words; says so plainly when it cannot be undone."""
    collect_after: tuple[str, ...] = ()
    """Facts documents to collect again after the run, so that its effect is judged at once."""
    undo_on_failure: bool | msgspec.UnsetType = msgspec.UNSET
    """Whether a run that fails puts back by itself what its steps changed."""


class Continuation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The approval of a run that stopped: which one, where it goes on, and on the strength of which result."""

    job: str
    """Id of the job that stopped."""
    step: int
    """Number of the step before which it stopped, from 0."""
    result: str
    """Digest (``result_digest``) of the result that said so: what the operators saw is what is continued."""


class Job(Statement, frozen=True, kw_only=True, omit_defaults=True):
    """One run of a runbook, signed by operators."""

    PAYLOAD_TYPE: ClassVar[str] = "application/vnd.forestall.job+json"

    job_id: str
    runbook: str
    """Digest of the runbook."""
    parameters: dict[str, ParameterValue]
    client_id: str
    devices: dict[str, int]
    """Device id → counter: larger than the last counter that device accepted (replay protection)."""
    not_before: datetime
    expires_at: datetime
    """At most 24 hours after ``not_before``."""
    risk: RiskClass
    reason: str
    dry_run: bool = False
    """Only say what would be done. It needs the same signatures: it looks where it is told to."""
    continues: Continuation | None = None
    """The run that goes on after its approval; None: a run of its own."""


class StandingOrder(Statement, frozen=True, kw_only=True):
    """Permission to run a runbook unattended, signed by operators."""

    PAYLOAD_TYPE: ClassVar[str] = "application/vnd.forestall.standing-order+json"

    order_id: str
    runbook: str
    trigger: str
    """What may run it: a check kind (``service_down``), when that check fails; or ``patching``, in windows."""
    client_id: str
    devices: tuple[str, ...]
    allowed: dict[str, tuple[ParameterValue, ...]]
    """Parameter → values it may take; a parameter that is not listed keeps the runbook's default. ``("*",)`` for a
    text with a pattern: any value that the runbook itself takes."""
    runs_per_day: int
    """Most runs on one device in any 24 hours; the device itself counts."""
    not_before: datetime
    expires_at: datetime
    """At most 30 days after ``not_before``."""
    risk: RiskClass
    devices_per_hour: int | msgspec.UnsetType = msgspec.UNSET
    """Most devices on which it runs in any hour: the blast radius of a remedy that turns out to be none. The server
    keeps to it; a device cannot count the others. Unset: as many as there are."""


class Invocation(Statement, frozen=True, kw_only=True):
    """A run under a standing order. Not signed by an operator: the order is the authority, this only names the case."""

    PAYLOAD_TYPE: ClassVar[str] = "application/vnd.forestall.invocation+json"

    job_id: str
    order: str
    """Digest of the standing order."""
    device_id: str
    counter: int
    parameters: dict[str, ParameterValue]
    because: str
    """The check and its reason."""
    expires_at: datetime


class Revocation(Statement, frozen=True, kw_only=True, omit_defaults=True):
    """Ends standing orders and operator keys before their time.

    Signed by any one operator, or, when it names keys, by the root role. A revoked key never counts again.
    """

    PAYLOAD_TYPE: ClassVar[str] = "application/vnd.forestall.revocation+json"

    issued_at: datetime
    orders: tuple[str, ...]
    """Digests of standing orders."""
    reason: str
    keys: tuple[str, ...] = ()
    """Key ids of operators."""


class CheckpointRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last checkpoint the agent had accepted when it signed: a forked log convicts itself."""

    size: int
    root: str


class JobResult(Statement, frozen=True, kw_only=True):
    """What became of a job on a device. Signed by the device."""

    PAYLOAD_TYPE: ClassVar[str] = "application/vnd.forestall.job-result+json"

    job_id: str
    device_id: str
    client_id: str
    outcome: Literal["succeeded", "failed", "refused", "awaiting_approval"]
    """``awaiting_approval``: it stopped before a step that operators have to approve; a job that continues it goes on.
    """
    code: str
    """``done``, a ``RefusedBecause`` value, or the failing action's error code."""
    detail: str
    runbook: str
    started_at: datetime
    finished_at: datetime
    steps: tuple[StepResult, ...]
    checkpoint: CheckpointRef | None = None


class PackageChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One package before and after a step, as the package manager's own records have it."""

    manager: str
    name: str
    architecture: str
    before: str
    """Version; empty: it was not there."""
    after: str
    """Version; empty: it is gone."""


class StepResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    action: str
    ok: bool
    summary: str
    """One line for people: ``deleted 214 files, 1.2 GB``."""
    output: str = ""
    """Last 8 kB of output."""
    changed: dict[str, int] = {}
    """Counted effects: ``{"files": 214, "bytes": 1288490188}``."""
    packages: tuple[PackageChange, ...] | msgspec.UnsetType = msgspec.UNSET
    """What changed, looked up before and after. Unset where a step changes no packages: the bytes of results from
    before this field stay what they were."""
    proof: RestoreProof | msgspec.UnsetType = msgspec.UNSET
    """What the step showed a backup to be worth. Unset where it proves none."""
    part: Literal["skipped", "approval", "undo"] | msgspec.UnsetType = msgspec.UNSET
    """Unset for a step that ran. ``skipped``: its condition did not hold. ``approval``: the run stopped before it.
    ``undo``: not a step of the runbook, but what was put back after one had failed."""


class DeviceNotice(Statement, frozen=True, kw_only=True):
    """Something the device wants on record: a lost spool, a forked checkpoint. Signed by the device."""

    PAYLOAD_TYPE: ClassVar[str] = "application/vnd.forestall.device-notice+json"

    device_id: str
    client_id: str
    at: datetime
    event: Literal["spool_gap", "checkpoint_refused", "clock_stepped", "counter_reset"]
    detail: str
    checkpoint: CheckpointRef | None = None


class Checkpoint(Statement, frozen=True, kw_only=True):
    """The signed root of a client's evidence log. Signed by the log key."""

    PAYLOAD_TYPE: ClassVar[str] = "application/vnd.forestall.checkpoint+json"

    client_id: str
    size: int
    root: str
    """RFC 6962 Merkle tree hash of the first ``size`` leaves, in hex."""
    at: datetime


S = TypeVar("S", bound=Statement)


def statement_bytes(statement: Statement) -> bytes:
    """The canonical JSON of a statement: what is signed and hashed."""
    return _encoder.encode(statement)


def statement_digest(statement: Statement) -> str:
    """The statement's name: SHA-256 of its canonical JSON, in hex."""
    return hashlib.sha256(statement_bytes(statement)).hexdigest()


def result_digest(result: JobResult) -> str:
    """The name of what a result says, whichever checkpoint it was signed with."""
    return statement_digest(msgspec.structs.replace(result, checkpoint=None))


def read_statement(body: bytes, kind: type[S]) -> S:
    """The statement in ``body``; ValueError (naming the path) when it is another, or not in canonical JSON."""
    try:
        statement: S = msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not a {kind.__name__} statement: {error}") from None
    if statement_bytes(statement) != body:
        raise ValueError(f"the {kind.__name__} statement is not in canonical JSON")
    return statement


def plain(statement: Statement) -> dict[str, Any]:
    """The statement as plain JSON values."""
    value: dict[str, Any] = msgspec.to_builtins(statement)
    return value
