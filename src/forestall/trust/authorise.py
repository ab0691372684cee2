"""What a device checks before anything above *observe* runs (threat model: D1, D2; invariants V1 to V4).

Pure rules: no file, clock or network. The caller hands in what the device knows of itself (``Situation``), the
documents it has accepted and the command as it arrived; the answer is an ``Authorised`` run, or ``Refused`` with a
code and a sentence. The server asks the same rules for early errors, but its answer counts for nothing: only the
device's own does.

Roles and succession follow The Update Framework (TUF 1.0.33, sections 5.3 and 6.1): a new root is signed by the
threshold of the old one and by its own, and its version is exactly one higher.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NoReturn, TypeVar

import msgspec

from forestall.trust.dsse import EnvelopeError, decode, signers
from forestall.trust.keys import key_id
from forestall.trust.statements import (
    OPERATOR_SIGNATURES,
    Invocation,
    Job,
    Outcome,
    Parameter,
    ParameterValue,
    Revocation,
    RiskClass,
    RoleKeys,
    Root,
    Runbook,
    StandingOrder,
    Statement,
    Step,
    UndoStep,
    read_statement,
    statement_digest,
)

MAX_JOB_LIFE = timedelta(hours=24)
MAX_ORDER_LIFE = timedelta(days=30)
MAX_TEXT = 4096
"""Most characters of a text parameter."""
MAX_STEP_SECONDS = 86_400
MAX_SCRIPT = 65_536
"""Most characters of an argument that stands in a runbook itself, such as a script."""
MAX_APPROVAL_WAIT = timedelta(days=7)
"""How long a run waits for its approval. What it found before it stopped is no basis for longer."""
MAX_COUNTER_JUMP = 1_000_000
"""Furthest an invocation may move the counter. It is unsigned: whoever holds the server could else use them all up."""


class RefusedBecause(StrEnum):
    """Every reason for which a command or document is refused. Codes are part of the protocol: never renamed."""

    MALFORMED = "malformed"
    WRONG_TYPE = "wrong_type"
    SIGNATURES_MISSING = "signatures_missing"
    KEY_REVOKED = "key_revoked"
    BEYOND_LIMITS = "beyond_limits"
    LIMITS_UNSOUND = "limits_unsound"
    THRESHOLD_INVALID = "threshold_invalid"
    TWIN_KEYS = "twin_keys"
    KEY_MISNAMED = "key_misnamed"
    ROOT_MISSING = "root_missing"
    ROOT_NOT_PINNED = "root_not_pinned"
    ROOT_VERSION_WRONG = "root_version_wrong"
    ROOT_EXPIRED = "root_expired"
    RUNBOOK_UNSOUND = "runbook_unsound"
    RUNBOOK_UNKNOWN = "runbook_unknown"
    RUNBOOK_ALTERED = "runbook_altered"
    RISK_MISMATCH = "risk_mismatch"
    RISK_NOT_FOR_OPERATORS = "risk_not_for_operators"
    CLIENT_WRONG = "client_wrong"
    DEVICE_NOT_NAMED = "device_not_named"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    LIFE_TOO_LONG = "life_too_long"
    COUNTER_PASSED = "counter_passed"
    COUNTER_JUMPS = "counter_jumps"
    PARAMETER_UNKNOWN = "parameter_unknown"
    PARAMETER_MISSING = "parameter_missing"
    PARAMETER_WRONG_TYPE = "parameter_wrong_type"
    PARAMETER_OUT_OF_BOUNDS = "parameter_out_of_bounds"
    PARAMETER_NOT_ALLOWED = "parameter_not_allowed"
    ORDER_UNKNOWN = "order_unknown"
    ORDER_UNSOUND = "order_unsound"
    ORDER_REVOKED = "order_revoked"
    RATE_LIMIT = "rate_limit"
    ACTION_UNKNOWN = "action_unknown"
    ACTION_ABOVE_RISK = "action_above_risk"
    VETO_UNREADABLE = "veto_unreadable"
    VETO_RISK = "veto_risk"
    VETO_RUNBOOK = "veto_runbook"
    VETO_ACTION = "veto_action"
    VETO_HOURS = "veto_hours"
    APPROVAL_UNKNOWN = "approval_unknown"
    APPROVAL_MISMATCH = "approval_mismatch"
    APPROVAL_EXPIRED = "approval_expired"
    CHECK_FAILED = "check_failed"
    """The check itself broke: fail closed."""


class Refused(Exception):  # noqa: N818 - read as a sentence: except Refused
    """A command or document that may not take effect."""

    def __init__(self, because: RefusedBecause, sentence: str) -> None:
        super().__init__(f"{because}: {sentence}")
        self.because = because
        self.sentence = sentence


_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"(?:([a-z]{3})(?:-([a-z]{3}))? )?(\d\d):(\d\d)-(\d\d):(\d\d)")


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours of some days of the week, on the device's wall clock. Past midnight they belong to the day they began."""

    days: frozenset[int]
    """0 is Monday."""
    start: int
    """Minutes after midnight."""
    end: int
    """Minutes after midnight; not after ``start``: of the next day."""

    @classmethod
    def parse(cls, text: str) -> Hours:
        """``22:00-06:00``, ``Sat-Sun 00:00-24:00``, ``Fri 18:00-20:00``; ValueError names what is wrong."""
        found = _HOURS.fullmatch(text.lower())
        if found is None:
            raise ValueError(f"{text!r} is not hours such as '22:00-06:00' or 'Sat-Sun 00:00-24:00'")
        first, last, *numbers = found.groups()
        for day in (first, last):
            if day is not None and day not in _DAYS:
                raise ValueError(f"{text!r}: {day!r} is not a day ({', '.join(_DAYS)})")
        start_hour, start_minute, end_hour, end_minute = map(int, numbers)
        start, end = 60 * start_hour + start_minute, 60 * end_hour + end_minute
        if start_minute > 59 or end_minute > 59 or start >= 1440 or end > 1440 or start == end:
            raise ValueError(f"{text!r}: not hours of a day")
        begin = _DAYS.index(first) if first else 0
        count = (_DAYS.index(last or first) - begin) % 7 + 1 if first else 7
        return cls(days=frozenset((begin + step) % 7 for step in range(count)), start=start, end=end)

    def cover(self, local: datetime) -> bool:
        """Whether the wall clock time ``local`` is inside."""
        minute = 60 * local.hour + local.minute
        today, yesterday = local.weekday(), (local.weekday() - 1) % 7
        if self.start < self.end:
            return today in self.days and self.start <= minute < self.end
        return (today in self.days and minute >= self.start) or (yesterday in self.days and minute < self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Veto:
    """The customer's own policy on the device. No signature overrides it (D2)."""

    forbid_risk: frozenset[RiskClass] = frozenset()
    forbid_runbooks: frozenset[str] = frozenset()
    """Slugs."""
    forbid_actions: frozenset[str] = frozenset()
    """Names of actions (``service.restart``), or of a family of them (``script.*``)."""
    allowed_hours: tuple[Hours, ...] = ()
    """Empty: any hour."""
    unreadable: str = ""
    """Why the policy could not be read. Then nothing runs: what it would have forbidden is not known."""


class Suspended(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run that stopped before a step which needs an approval, as the device remembers it."""

    job_id: str
    runbook: str
    """Digest."""
    parameters: dict[str, ParameterValue]
    step: int
    """Number of the step that comes next, from 0."""
    result: str
    """``result_digest`` of the result that was given."""
    stopped_at: datetime
    outcomes: dict[str, tuple[Outcome, ...]] = {}
    """Name of a step → what became of it."""
    ran: tuple[int, ...] = ()
    """Numbers of the steps that were run, skipped ones left out."""
    code: str = "done"
    """Or the code of the first step that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a device knows of itself when a command arrives."""

    device_id: str
    client_id: str
    now: datetime
    """UTC, by the device's clock."""
    local: datetime
    """The same moment on the device's wall clock."""
    last_counter: int
    """Of the last command it accepted."""
    veto: Veto = field(default_factory=Veto)
    revoked_orders: Collection[str] = ()
    """Digests."""
    revoked_keys: Collection[str] = ()
    """Key ids of operators whose signatures count no more."""
    runs: Mapping[str, int] = field(default_factory=dict)
    """Digest of a standing order → its runs here in the last 24 hours."""
    suspended: Mapping[str, Suspended] = field(default_factory=dict)
    """Id of a job that stopped for an approval → where it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorised:
    """A run that may take place, exactly so."""

    job_id: str
    counter: int
    runbook: Runbook
    digest: str
    """Of the runbook."""
    parameters: dict[str, ParameterValue]
    """Complete: defaults filled in."""
    steps: tuple[Step, ...]
    """With the parameters in place."""
    order: str
    """Digest of the standing order; empty: operators signed this very run."""
    signers: frozenset[str]
    """Key ids of the operators whose authority it is."""
    expires_at: datetime
    dry_run: bool = False
    """Nothing may be changed: only say what would be."""
    continues: Suspended | None = None
    """The run that goes on; None: it begins at the first step."""


def _refuse(because: RefusedBecause, sentence: str) -> NoReturn:
    raise Refused(because, sentence)


S = TypeVar("S", bound=Statement)


def _read(envelope: bytes, kind: type[S], keys: Mapping[str, bytes]) -> tuple[S, frozenset[str]]:
    """The statement in an envelope and who of ``keys`` signed it."""
    try:
        decoded = decode(envelope)
        if decoded.payloadType != kind.PAYLOAD_TYPE:
            _refuse(
                RefusedBecause.WRONG_TYPE, f"expected {kind.PAYLOAD_TYPE}, the envelope holds {decoded.payloadType!r}"
            )
        body, signed_by = signers(envelope, kind.PAYLOAD_TYPE, keys)
        statement = read_statement(body, kind)
    except (EnvelopeError, ValueError) as error:
        raise Refused(RefusedBecause.MALFORMED, str(error)) from None
    for name in statement.__struct_fields__:
        value = getattr(statement, name)
        # A time without zone is no moment: it could be read as valid in one place and expired in another.
        if isinstance(value, datetime) and value.utcoffset() is None:
            _refuse(RefusedBecause.MALFORMED, f"$.{name}: {value.isoformat()} has no time zone")
    return statement, signed_by


def _role_keys(name: str, role: RoleKeys) -> dict[str, bytes]:
    """The keys of a sound role; Refused when it could be satisfied by fewer signers than it says."""
    keys: dict[str, bytes] = {}
    for identifier, text in role.keys.items():
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raise Refused(RefusedBecause.KEY_MISNAMED, f"the {name} role: key {identifier[:16]} is not hex") from None
        if raw in keys.values():
            _refuse(RefusedBecause.TWIN_KEYS, f"the {name} role names one key twice: {identifier[:16]}")
        keys[identifier] = raw
    for identifier, raw in keys.items():
        if len(raw) != 32 or key_id(raw) != identifier:
            _refuse(RefusedBecause.KEY_MISNAMED, f"the {name} role: key {identifier[:16]} is not the key of that name")
    if not 1 <= role.threshold <= len(keys):
        _refuse(
            RefusedBecause.THRESHOLD_INVALID,
            f"the {name} role asks for {role.threshold} signatures of {len(keys)} keys",
        )
    return keys


def _require_signers(signed_by: frozenset[str], needed: int, role: str) -> None:
    if len(signed_by) < needed:
        _refuse(RefusedBecause.SIGNATURES_MISSING, f"{len(signed_by)} valid {role} signatures, {needed} needed")


def _require_live_root(root: Root, now: datetime) -> None:
    if now >= root.expires_at:
        _refuse(
            RefusedBecause.ROOT_EXPIRED,
            f"root version {root.version} expired at {root.expires_at.isoformat()}",
        )


# --- the root and what rests on it ------------------------------------------------------------------------------


def accept_root(*, current: Root | None, pinned_key_id: str, envelope: bytes, now: datetime) -> Root:
    """The root to trust from now on.

    Without a ``current`` one, the envelope must be signed by the key that was pinned at enrolment and by the
    threshold of its own root role. Else it must be the root held (which changes nothing) or the next version,
    signed by the thresholds of both.
    """
    return accept_roots(current=current, pinned_key_id=pinned_key_id, envelopes=(envelope,), now=now)


def accept_roots(*, current: Root | None, pinned_key_id: str, envelopes: Iterable[bytes], now: datetime) -> Root:
    """The same for a chain, oldest first. Only the last must be alive: a device that was away long may catch up."""
    for envelope in envelopes:
        current = _succeed(current, pinned_key_id, envelope)
    if current is None:
        raise Refused(RefusedBecause.ROOT_MISSING, "no root statement")
    _require_live_root(current, now)
    return current


def _succeed(current: Root | None, pinned_key_id: str, envelope: bytes) -> Root:
    claimed, _ = _read(envelope, Root, {})
    own_keys = _role_keys("root", claimed.root)
    _role_keys("operator", claimed.operator)
    _role_keys("catalogue", claimed.catalogue)
    _require_sound_limits(claimed)
    _, signed_by_own = _read(envelope, Root, own_keys)
    _require_signers(signed_by_own, claimed.root.threshold, "root")
    if current is None:
        if pinned_key_id not in signed_by_own:
            _refuse(RefusedBecause.ROOT_NOT_PINNED, f"not signed by the pinned root key {pinned_key_id[:16]}")
        if claimed.version < 1:
            _refuse(RefusedBecause.ROOT_VERSION_WRONG, f"root version {claimed.version}, expected 1 or more")
        return claimed
    if claimed == current:
        return current
    if claimed.version != current.version + 1:
        _refuse(
            RefusedBecause.ROOT_VERSION_WRONG,
            f"root version {claimed.version}, expected {current.version + 1}",
        )
    _, signed_by_old = _read(envelope, Root, _role_keys("root", current.root))
    _require_signers(signed_by_old, current.root.threshold, "previous root")
    return claimed


def _require_sound_limits(root: Root) -> None:
    """Refused for limits that bind nobody, or that no statement could keep."""

    def unsound(what: str) -> NoReturn:
        _refuse(RefusedBecause.LIMITS_UNSOUND, f"root version {root.version}: {what}")

    for identifier, limits in root.limits.items():
        if identifier not in root.operator.keys:
            unsound(f"limits for {identifier[:16]}, which is no operator's key")
        if RiskClass.TRUST in limits.risk:
            unsound(f"operator {identifier[:16]} may not be given the class trust")
        if limits.most_devices is not None and limits.most_devices < 1:
            unsound(f"operator {identifier[:16]} may reach {limits.most_devices} devices")
    if root.single_signature_devices is not None and root.single_signature_devices < 1:
        unsound(f"one signature may cover {root.single_signature_devices} devices")


def read_runbook(*, root: Root, envelope: bytes) -> tuple[Runbook, str]:
    """A runbook signed by the catalogue role, found sound, and its digest."""
    runbook, signed_by = _read(envelope, Runbook, _role_keys("catalogue", root.catalogue))
    _require_signers(signed_by, root.catalogue.threshold, "catalogue")
    require_sound_runbook(runbook)
    return runbook, statement_digest(runbook)


def read_revocation(
    *, root: Root, envelope: bytes, revoked_keys: Collection[str] = (), client_id: str | None = None
) -> Revocation:
    """A revocation of standing orders signed by any one operator: to stop must never need more hands than to start.

    One that names keys is signed by the threshold of the root role. ``client_id``: whose orders are to end, so that
    an operator who is limited to other clients does not count; None when that is not known.
    """
    claimed, signed_by = _read(envelope, Revocation, _role_keys("operator", root.operator))
    if claimed.keys:
        _, signed_by_root = _read(envelope, Revocation, _role_keys("root", root.root))
        _require_signers(signed_by_root, root.root.threshold, "root")
        return claimed
    clients = {key: root.limits[key].clients for key in signed_by if key in root.limits}
    foreign = {key for key, own in clients.items() if own and client_id is not None and client_id not in own}
    _require_counted(signed_by, 1, revoked=signed_by & frozenset(revoked_keys), beyond=foreign)
    return claimed


_NAME = re.compile(r"[a-z][a-z0-9_]*")
_STEP_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_SLUG = re.compile(r"[a-z][a-z0-9-]*")
_SERVICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9@_.:\\-]{0,199}")
_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")


def require_sound_runbook(runbook: Runbook) -> None:
    """Refused unless the runbook can be carried out as it is written, whatever its parameters."""

    def unsound(what: str) -> NoReturn:
        _refuse(RefusedBecause.RUNBOOK_UNSOUND, f"runbook {runbook.slug!r}: {what}")

    if _SLUG.fullmatch(runbook.slug) is None:
        unsound("the slug is not lower-case words with hyphens")
    names: set[str] = set()
    for parameter in runbook.parameters:
        if _NAME.fullmatch(parameter.name) is None or parameter.name in names:
            unsound(f"parameter {parameter.name!r} is misnamed or named twice")
        names.add(parameter.name)
        try:
            re.compile(parameter.pattern)
        except re.error as error:
            unsound(f"the pattern of parameter {parameter.name!r} is no regular expression: {error}")
        if parameter.default is None and not parameter.required:
            unsound(f"parameter {parameter.name!r} may be left out and has no default")
        if parameter.default is not None:
            require_value(parameter, parameter.default)
    if not runbook.steps:
        unsound("it has no steps")

    def require_sound_act(act: Step | UndoStep) -> None:
        if not 1 <= act.timeout_seconds <= MAX_STEP_SECONDS:
            unsound(f"step {act.action!r} has a timeout of {act.timeout_seconds} s")
        for value in act.arguments.values():
            if isinstance(value, str) and len(value) > MAX_SCRIPT:
                unsound(f"step {act.action!r} has an argument of {len(value)} characters, at most {MAX_SCRIPT}")
            placeholder = _placeholder(value)
            if placeholder is not None and placeholder not in names:
                unsound(f"step {act.action!r} uses the parameter {placeholder!r}, which it does not have")

    earlier: dict[str, Step] = {}
    for step in runbook.steps:
        require_sound_act(step)
        if step.undo is not msgspec.UNSET:
            require_sound_act(step.undo)
        if step.approval is not msgspec.UNSET and (
            not step.approval.strip() or len(step.approval) > MAX_TEXT or _CONTROL.search(step.approval)
        ):
            unsound(f"step {step.action!r} waits for an approval without a line that says of what")
        if step.when is not msgspec.UNSET:
            before = earlier.get(step.when.step)
            if before is None:
                unsound(f"step {step.action!r} asks for the step {step.when.step!r}, and no earlier one has that name")
            if step.when.outcome == "failed" and not before.go_on:
                unsound(f"step {step.action!r} never runs: the run ends when {step.when.step!r} fails (go_on)")
        if step.name is not msgspec.UNSET:
            if _STEP_NAME.fullmatch(step.name) is None or step.name in earlier:
                unsound(f"step {step.name!r} is misnamed or named twice")
            earlier[step.name] = step


def _placeholder(value: ParameterValue) -> str | None:
    found = _PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    return found.group(1) if found else None


# --- parameters -------------------------------------------------------------------------------------------------


def require_value(parameter: Parameter, value: ParameterValue) -> None:
    """Refused unless ``value`` is of the parameter's kind and within its bounds and pattern."""
    expected = {"integer": int, "boolean": bool}.get(parameter.kind, str)
    # type(), not isinstance(): True is an int to Python.
    if type(value) is not expected:
        _refuse(
            RefusedBecause.PARAMETER_WRONG_TYPE,
            f"parameter {parameter.name}: {value!r} is not of kind {parameter.kind}",
        )

    def out_of_bounds(why: str) -> NoReturn:
        _refuse(RefusedBecause.PARAMETER_OUT_OF_BOUNDS, f"parameter {parameter.name}: {value!r} {why}")

    if isinstance(value, str):
        if len(value) > MAX_TEXT or _CONTROL.search(value):
            out_of_bounds(f"is longer than {MAX_TEXT} characters or holds control characters")
        if parameter.kind == "path" and (
            not value.startswith("/") or value.startswith("//") or posixpath.normpath(value) != value
        ):
            out_of_bounds("is not an absolute path in its shortest form")
        if parameter.kind == "service" and _SERVICE.fullmatch(value) is None:
            out_of_bounds("is not the name of a service")
        if parameter.pattern and re.fullmatch(parameter.pattern, value) is None:
            out_of_bounds(f"does not match {parameter.pattern}")
    elif parameter.kind == "integer":
        if parameter.minimum is not None and value < parameter.minimum:
            out_of_bounds(f"is below {parameter.minimum}")
        if parameter.maximum is not None and value > parameter.maximum:
            out_of_bounds(f"is above {parameter.maximum}")


def complete_parameters(runbook: Runbook, given: Mapping[str, ParameterValue]) -> dict[str, ParameterValue]:
    """The parameters of a run, defaults filled in; Refused for one too many, too few, or a wrong value."""
    known = {parameter.name: parameter for parameter in runbook.parameters}
    for name in given:
        if name not in known:
            _refuse(RefusedBecause.PARAMETER_UNKNOWN, f"runbook {runbook.slug} has no parameter {name!r}")
    complete: dict[str, ParameterValue] = {}
    for name, parameter in known.items():
        value = given.get(name, parameter.default)
        if value is None:
            _refuse(RefusedBecause.PARAMETER_MISSING, f"parameter {name} of runbook {runbook.slug} is missing")
        require_value(parameter, value)
        complete[name] = value
    return complete


ANY = "*"
"""What an order lists for a parameter that may take any value: this alone."""


def takes_any(parameter: Parameter, listed: Sequence[ParameterValue]) -> bool:
    """Whether an order leaves a parameter to whoever invokes it, within the runbook's own bounds.

    Only for text with a pattern, and only where the pattern would refuse ``*`` itself: so that no order that lists
    ``*`` as a value says more than it did.
    """
    return (
        tuple(listed) == (ANY,)
        and parameter.kind == "text"
        and parameter.pattern != ""
        and re.fullmatch(parameter.pattern, ANY) is None
    )


def order_parameters(
    order: StandingOrder, runbook: Runbook, given: Mapping[str, ParameterValue]
) -> dict[str, ParameterValue]:
    """The parameters of a run under a standing order: each given one takes a value the order lists, or its default.

    One for which the order lists ``*`` alone takes what the runbook lets it take (``takes_any``).
    """
    complete = complete_parameters(runbook, given)
    known = {parameter.name: parameter for parameter in runbook.parameters}
    for name, value in complete.items():
        listed = order.allowed.get(name, ())
        if takes_any(known[name], listed):
            continue
        # Equal values of another type (True and 1) are told apart.
        permitted = listed or (known[name].default,)
        if not any(type(value) is type(choice) and value == choice for choice in permitted):
            _refuse(RefusedBecause.PARAMETER_NOT_ALLOWED, f"the order does not allow {name} = {value!r}")
    return complete


def filled_steps(runbook: Runbook, parameters: Mapping[str, ParameterValue]) -> tuple[Step, ...]:
    """The steps with every ``"{name}"`` argument replaced by the parameter's value. Nothing else is expanded."""
    return tuple(
        msgspec.structs.replace(
            step,
            arguments=_filled(step.arguments, parameters),
            undo=step.undo
            if step.undo is msgspec.UNSET
            else msgspec.structs.replace(step.undo, arguments=_filled(step.undo.arguments, parameters)),
        )
        for step in runbook.steps
    )


def _filled(
    arguments: Mapping[str, ParameterValue], parameters: Mapping[str, ParameterValue]
) -> dict[str, ParameterValue]:
    return {
        name: value if (placeholder := _placeholder(value)) is None else parameters[placeholder]
        for name, value in arguments.items()
    }


def acts_of(runbook: Runbook) -> list[Step | UndoStep]:
    """Everything a runbook may do: its steps, and what undoes them."""
    return [*runbook.steps, *(step.undo for step in runbook.steps if step.undo is not msgspec.UNSET)]


def holds(step: Step, outcomes: Mapping[str, Collection[Outcome]]) -> bool:
    """Whether a step's condition is met. ``outcomes``: name of an earlier step → what became of it."""
    return step.when is msgspec.UNSET or step.when.outcome in outcomes.get(step.when.step, ())


# --- commands ---------------------------------------------------------------------------------------------------


def authorise_command(
    *,
    root: Root,
    runbooks: Mapping[str, Runbook],
    orders: Mapping[str, bytes],
    envelope: bytes,
    situation: Situation,
) -> Authorised:
    """The run that a delivered envelope asks for: a job or an invocation of a standing order."""
    try:
        payload_type = decode(envelope).payloadType
    except EnvelopeError as error:
        raise Refused(RefusedBecause.MALFORMED, str(error)) from None
    if payload_type == Invocation.PAYLOAD_TYPE:
        return authorise_invocation(root=root, runbooks=runbooks, orders=orders, envelope=envelope, situation=situation)
    return authorise_job(root=root, runbooks=runbooks, envelope=envelope, situation=situation)


def authorise_job(*, root: Root, runbooks: Mapping[str, Runbook], envelope: bytes, situation: Situation) -> Authorised:
    """A run that operators signed. ``runbooks``: digest → runbook accepted by ``read_runbook``."""
    _require_live_root(root, situation.now)
    job, signed_by = _read(envelope, Job, _role_keys("operator", root.operator))
    counted = _require_operators(
        root, job.risk, signed_by, client_id=job.client_id, devices=len(job.devices), situation=situation
    )
    if job.client_id != situation.client_id:
        _refuse(RefusedBecause.CLIENT_WRONG, f"job {job.job_id} is for client {job.client_id}, not for this device's")
    if situation.device_id not in job.devices:
        _refuse(RefusedBecause.DEVICE_NOT_NAMED, f"job {job.job_id} does not name this device")
    _require_life(f"job {job.job_id}", job.not_before, job.expires_at, MAX_JOB_LIFE, situation.now)
    counter = job.devices[situation.device_id]
    _require_counter(counter, situation.last_counter)
    runbook = _known_runbook(runbooks, job.runbook, job.risk)
    parameters = complete_parameters(runbook, job.parameters)
    _require_no_veto(situation, runbook)
    continues = None if job.continues is None else _continued(job, runbook, parameters, situation)
    return Authorised(
        job_id=job.job_id,
        counter=counter,
        runbook=runbook,
        digest=job.runbook,
        parameters=parameters,
        steps=filled_steps(runbook, parameters),
        order="",
        signers=counted,
        expires_at=job.expires_at,
        dry_run=job.dry_run,
        continues=continues,
    )


def _continued(job: Job, runbook: Runbook, parameters: Mapping[str, ParameterValue], situation: Situation) -> Suspended:
    """The stopped run that a job approves. Refused unless it is that very run, exactly as it stopped.

    The device goes by what it remembers itself: the job only names it. A run that went on is remembered no more, so
    one approval continues one run once.
    """
    named = job.continues
    if named is None or named.job not in situation.suspended:
        raise Refused(RefusedBecause.APPROVAL_UNKNOWN, f"no run waits here for the approval that job {job.job_id} is")
    stopped = situation.suspended[named.job]

    def mismatch(what: str) -> NoReturn:
        _refuse(RefusedBecause.APPROVAL_MISMATCH, f"job {job.job_id} continues {named.job} with another {what}")

    if named.job != stopped.job_id or named.result != stopped.result:
        mismatch("result than the one it stopped with")
    if job.runbook != stopped.runbook:
        mismatch("runbook")
    # Equal values of another type (True and 1) are told apart.
    if {name: (type(value), value) for name, value in parameters.items()} != {
        name: (type(value), value) for name, value in stopped.parameters.items()
    }:
        mismatch("parameter")
    if named.step != stopped.step or not 0 <= stopped.step < len(runbook.steps):
        mismatch("step than the one it stopped before")
    if job.dry_run:
        mismatch("purpose: a dry run continues nothing")
    # Either way: a clock that was set back by a second must not end a run, one set back by a month must.
    if abs(situation.now - stopped.stopped_at) > MAX_APPROVAL_WAIT:
        _refuse(
            RefusedBecause.APPROVAL_EXPIRED,
            f"the run {named.job} stopped at {stopped.stopped_at.isoformat()}: an approval is due within "
            f"{MAX_APPROVAL_WAIT.days} days",
        )
    return stopped


def authorise_order(
    *, root: Root, runbooks: Mapping[str, Runbook], envelope: bytes, situation: Situation
) -> tuple[StandingOrder, str, frozenset[str]]:
    """A standing order in force on this device, its digest, and who signed it.

    Checked when it arrives and again at every run: a key that was taken from the operator role or revoked, or a
    revocation of the order, ends it at once.
    """
    _require_live_root(root, situation.now)
    order, signed_by = _read(envelope, StandingOrder, _role_keys("operator", root.operator))
    digest = statement_digest(order)
    counted = _require_operators(
        root, order.risk, signed_by, client_id=order.client_id, devices=len(set(order.devices)), situation=situation
    )
    if order.client_id != situation.client_id:
        _refuse(RefusedBecause.CLIENT_WRONG, f"order {order.order_id} is for client {order.client_id}")
    if situation.device_id not in order.devices:
        _refuse(RefusedBecause.DEVICE_NOT_NAMED, f"order {order.order_id} does not name this device")
    if digest in situation.revoked_orders:
        _refuse(RefusedBecause.ORDER_REVOKED, f"order {order.order_id} was revoked")
    _require_life(f"order {order.order_id}", order.not_before, order.expires_at, MAX_ORDER_LIFE, situation.now)
    runbook = _known_runbook(runbooks, order.runbook, order.risk)
    if order.runs_per_day < 1:
        _refuse(RefusedBecause.ORDER_UNSOUND, f"order {order.order_id} allows {order.runs_per_day} runs a day")
    if order.devices_per_hour is not msgspec.UNSET and order.devices_per_hour < 1:
        _refuse(RefusedBecause.ORDER_UNSOUND, f"order {order.order_id} allows {order.devices_per_hour} devices an hour")
    known = {parameter.name: parameter for parameter in runbook.parameters}
    for name, values in order.allowed.items():
        if name not in known:
            _refuse(RefusedBecause.PARAMETER_UNKNOWN, f"runbook {runbook.slug} has no parameter {name!r}")
        for value in () if takes_any(known[name], values) else values:
            require_value(known[name], value)
    return order, digest, counted


def authorise_invocation(
    *,
    root: Root,
    runbooks: Mapping[str, Runbook],
    orders: Mapping[str, bytes],
    envelope: bytes,
    situation: Situation,
) -> Authorised:
    """A run under a standing order. ``orders``: digest → the order's envelope.

    The invocation carries no authority: it can only pick, within what the order allows, and the device counts the
    runs itself.
    """
    invocation, _ = _read(envelope, Invocation, {})
    if invocation.device_id != situation.device_id:
        _refuse(RefusedBecause.DEVICE_NOT_NAMED, f"job {invocation.job_id} is for device {invocation.device_id}")
    if invocation.order not in orders:
        _refuse(RefusedBecause.ORDER_UNKNOWN, f"no standing order {invocation.order[:16]} is known here")
    order, digest, signed_by = authorise_order(
        root=root, runbooks=runbooks, envelope=orders[invocation.order], situation=situation
    )
    if digest != invocation.order:
        _refuse(RefusedBecause.ORDER_UNKNOWN, f"the order kept as {invocation.order[:16]} is another one")
    if situation.now >= invocation.expires_at:
        _refuse(RefusedBecause.EXPIRED, f"job {invocation.job_id} expired at {invocation.expires_at.isoformat()}")
    if invocation.expires_at - situation.now > MAX_JOB_LIFE:
        _refuse(RefusedBecause.LIFE_TOO_LONG, f"job {invocation.job_id} lives longer than 24 hours")
    _require_counter(invocation.counter, situation.last_counter)
    if invocation.counter - situation.last_counter > MAX_COUNTER_JUMP:
        _refuse(
            RefusedBecause.COUNTER_JUMPS,
            f"counter {invocation.counter} is too far beyond the last, {situation.last_counter}",
        )
    runbook = runbooks[order.runbook]
    parameters = order_parameters(order, runbook, invocation.parameters)
    runs = situation.runs.get(digest, 0)
    if runs >= order.runs_per_day:
        _refuse(
            RefusedBecause.RATE_LIMIT,
            f"order {order.order_id} ran {runs} times here in 24 hours, at most {order.runs_per_day}",
        )
    _require_no_veto(situation, runbook)
    return Authorised(
        job_id=invocation.job_id,
        counter=invocation.counter,
        runbook=runbook,
        digest=order.runbook,
        parameters=parameters,
        steps=filled_steps(runbook, parameters),
        order=digest,
        signers=signed_by,
        expires_at=invocation.expires_at,
    )


def operators_needed(root: Root, risk: RiskClass, devices: int = 1) -> int:
    """How many operators must sign for a risk class and a number of devices.

    The class's own number, or the role's threshold if that is more; two at least for more devices than the root lets
    one signature cover.
    """
    needed = OPERATOR_SIGNATURES[risk]
    if needed is None:
        raise Refused(RefusedBecause.RISK_NOT_FOR_OPERATORS, f"operators cannot authorise {risk}")
    if needed == 0:
        return 0
    covers = root.single_signature_devices
    wide = covers is not None and devices > covers
    return max(needed, root.operator.threshold, 2 if wide else 1)


def operators_counted(
    *,
    root: Root,
    signed_by: Collection[str],
    risk: RiskClass,
    client_id: str,
    devices: int,
    revoked_keys: Collection[str] = (),
) -> frozenset[str]:
    """Those of ``signed_by`` whose signature reaches that far: not revoked, and within their own limits."""
    revoked, beyond = _not_counted(root, signed_by, risk, client_id, devices, revoked_keys)
    return frozenset(signed_by) - revoked - beyond


def _not_counted(
    root: Root, signed_by: Collection[str], risk: RiskClass, client_id: str, devices: int, revoked_keys: Collection[str]
) -> tuple[frozenset[str], frozenset[str]]:
    revoked = frozenset(signed_by) & frozenset(revoked_keys)
    limited = {key: root.limits[key] for key in signed_by if key in root.limits}
    beyond = frozenset(
        key
        for key, limits in limited.items()
        if (limits.risk and risk not in limits.risk)
        or (limits.clients and client_id not in limits.clients)
        or (limits.most_devices is not None and devices > limits.most_devices)
    )
    return revoked, beyond - revoked


def _require_operators(
    root: Root, risk: RiskClass, signed_by: frozenset[str], *, client_id: str, devices: int, situation: Situation
) -> frozenset[str]:
    """The operators who count; Refused when they are too few."""
    needed = operators_needed(root, risk, devices)
    revoked, beyond = _not_counted(root, signed_by, risk, client_id, devices, situation.revoked_keys)
    return _require_counted(signed_by, needed, revoked=revoked, beyond=beyond)


def _require_counted(
    signed_by: frozenset[str], needed: int, *, revoked: Collection[str], beyond: Collection[str]
) -> frozenset[str]:
    counted = signed_by - frozenset(revoked) - frozenset(beyond)
    # The code names what was lost: a key that was taken away is another story than one that never signed.
    if len(counted) < needed <= len(counted) + len(revoked):
        _refuse(RefusedBecause.KEY_REVOKED, f"signed with the revoked key {min(revoked)[:16]}, {needed} others needed")
    if len(counted) < needed <= len(counted) + len(beyond):
        _refuse(
            RefusedBecause.BEYOND_LIMITS,
            f"beyond the limits of operator {min(beyond)[:16]}: its signature does not count here, {needed} needed",
        )
    _require_signers(counted, needed, "operator")
    return counted


def _known_runbook(runbooks: Mapping[str, Runbook], digest: str, risk: RiskClass) -> Runbook:
    runbook = runbooks.get(digest)
    if runbook is None:
        raise Refused(RefusedBecause.RUNBOOK_UNKNOWN, f"no runbook {digest[:16]} is known here")
    if statement_digest(runbook) != digest:
        _refuse(RefusedBecause.RUNBOOK_ALTERED, f"the runbook kept as {digest[:16]} is another one")
    if runbook.risk != risk:
        _refuse(RefusedBecause.RISK_MISMATCH, f"signed as {risk}, but the runbook {runbook.slug} is {runbook.risk}")
    return runbook


def _require_life(what: str, not_before: datetime, expires_at: datetime, longest: timedelta, now: datetime) -> None:
    if expires_at - not_before > longest:
        _refuse(RefusedBecause.LIFE_TOO_LONG, f"{what} lives {expires_at - not_before}, at most {longest}")
    if now < not_before:
        _refuse(RefusedBecause.NOT_YET_VALID, f"{what} is valid from {not_before.isoformat()} on")
    if now >= expires_at:
        _refuse(RefusedBecause.EXPIRED, f"{what} expired at {expires_at.isoformat()}")


def _require_counter(counter: int, last: int) -> None:
    if counter <= last:
        _refuse(RefusedBecause.COUNTER_PASSED, f"counter {counter}, but {last} was accepted here already")


def _require_no_veto(situation: Situation, runbook: Runbook) -> None:
    veto = situation.veto
    if veto.unreadable:
        _refuse(RefusedBecause.VETO_UNREADABLE, f"the customer's policy cannot be read: {veto.unreadable}")
    if runbook.risk in veto.forbid_risk:
        _refuse(RefusedBecause.VETO_RISK, f"the customer's policy forbids {runbook.risk}")
    if runbook.slug in veto.forbid_runbooks:
        _refuse(RefusedBecause.VETO_RUNBOOK, f"the customer's policy forbids the runbook {runbook.slug}")
    for act in acts_of(runbook):
        if {act.action, f"{act.action.partition('.')[0]}.*"} & veto.forbid_actions:
            _refuse(RefusedBecause.VETO_ACTION, f"the customer's policy forbids the action {act.action}")
    if veto.allowed_hours and not any(hours.cover(situation.local) for hours in veto.allowed_hours):
        _refuse(
            RefusedBecause.VETO_HOURS,
            f"the customer's policy allows no changes at {situation.local:%A %H:%M}",
        )


def require_actions(runbook: Runbook, known: Mapping[str, RiskClass]) -> None:
    """Refused unless each step is an action of this agent that the runbook's risk class covers.

    ``known``: action → the least risk class a runbook that uses it must have. So that a catalogue signature under
    *observe*, which needs no operator, can never reach an action that changes something.
    """
    ranks: Sequence[RiskClass] = list(RiskClass)
    for act in acts_of(runbook):
        least = known.get(act.action)
        if least is None:
            raise Refused(RefusedBecause.ACTION_UNKNOWN, f"this agent has no action {act.action!r}")
        if ranks.index(runbook.risk) < ranks.index(least):
            _refuse(
                RefusedBecause.ACTION_ABOVE_RISK,
                f"{act.action} is {least}, but the runbook {runbook.slug} is signed as {runbook.risk}",
            )
