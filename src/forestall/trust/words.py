"""What a statement would do, in words made from the signed bytes alone. No I/O.

The signer shows these words before an operator signs (threat model, D1: server pages can lie), and the console shows
the same. Values from outside are made harmless for a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

import msgspec

from forestall.trust.authorise import complete_parameters, takes_any
from forestall.trust.statements import (
    Continuation,
    Invocation,
    Job,
    Outcome,
    ParameterValue,
    Runbook,
    StandingOrder,
    Step,
    UndoStep,
    statement_digest,
)

ACTION_WORDS: dict[str, str] = {
    "apt.clean": "Deletes the downloaded package files of apt when they lie on {volume}.",
    "journal.vacuum": "Deletes archived journals and rotated logs older than {older_than_days} days on {volume}.",
    "files.delete_older": "Deletes files older than {older_than_days} days named {pattern} below {folder}.",
    "temporary.delete_older": (
        "Deletes temporary files older than {older_than_days} days on {volume}: what was not read, changed or put "
        "there since, below /tmp, /var/tmp and the folders of the device's own policy."
    ),
    "ssh.harden": (
        "Makes the SSH server's settings stricter, tests them, and never locks everybody out; passwords: {passwords}."
    ),
    "kernel.harden": "Makes the kernel's settings safer, now and after each start, but for: {keep}.",
    "usb.block_storage": "Keeps the kernel from loading the drivers of USB sticks and disks.",
    "files.fix_permissions": "Takes away rights on the system's own files below /etc that nobody needs.",
    "firewall.enable": (
        "Turns on a firewall where none is: lets in {allow} and SSH, what listens now as well: {allow_listening}; "
        "drops the rest."
    ),
    "service.restart": "Restarts the service {service} and waits until it runs.",
    "backup.rerun": "Runs the backup {backup} again, with the command that the device's own settings name.",
    "backup.prove": "Restores the backup {backup} into a scratch folder to show the level {level}, and removes it: "
    "at most {most_mb} MB, {rate_kb} kB a second (0: no limit), {sample} files for a sample.",
    "backup.unlock": "Removes an abandoned lock from the backup {backup}: its process is gone, or it is older than "
    "{older_than_hours} hours.",
    "updates.check": (
        "Goes on only if the machine is fit to be updated by {manager}: {least_free_mb} MB free, no other package "
        "manager at work. On battery: {on_battery}. While people are signed in: {sessions}."
    ),
    "updates.snapshot": "Takes a snapshot of the system's volume: {when}.",
    "updates.download": (
        "Fetches updates of {manager}: {choose}, named [{packages}], without [{exclude}]. Installs nothing yet."
    ),
    "updates.install": (
        "Installs updates that the device's own signed sources offer to {manager}: {choose}, named [{packages}], "
        "without [{exclude}]. Removes no package."
    ),
    "updates.hold": "Makes {manager} keep these packages as they are: {packages}.",
    "updates.release": "Lets {manager} change these packages again: {packages}.",
    "updates.roll_back": "Brings packages of {manager} back to these versions: {packages}.",
    "updates.repair": "Ends what {manager} has begun and not ended.",
    "services.restart_outdated": (
        "Restarts the services that still run code from before an update, without [{exclude}] and those whose restart "
        "would cut people or the network off."
    ),
    "antivirus.update": "Lets {product} fetch its newest definitions.",
    "antivirus.start": "Starts the service of {product} when it does not run, and waits until it does.",
    "antivirus.scan": "Lets {product} look through {folder}. Nothing that it finds is removed.",
    "disk.self_test": "Lets the disk {device} test itself ({kind}); it works on meanwhile.",
    "system.reboot": "RESTARTS THE MACHINE after a warning of {warn_minutes} minutes, because: {reason}.",
    "system.reboot_when_needed": (
        "RESTARTS THE MACHINE if an update asks for it and this says when_needed: {reboot}. Warning: {warn_minutes} "
        "minutes."
    ),
    "changes.undo": (
        "Puts back what job {job} changed, as the device's own undo journal has it. Puts nothing back when one of "
        "these things was changed since."
    ),
    "account.lock": "Locks the account {account}: neither its password nor its keys let anybody in any more.",
    "account.expire_password": "Asks for a new password of the account {account} at its next sign-in.",
    "ssh_key.remove": "Takes the key {fingerprint} out of the keys that open the account {account}.",
    "service.stop": "Stops the service {service}; keeps it from starting with the machine: {disable}.",
    "service.start": "Starts the service {service}; lets it start with the machine from now on: {enable}.",
    "logs.rotate": "Rotates logs now, as the machine's own logrotate settings say, of: {name} (nothing named: all).",
    "diagnostics.collect": (
        "Looks at {about} with the machine's own programs and reports what they say; changes nothing."
    ),
    "script.run": (
        "Runs a script of your own with {interpreter} as the user {run_as}; the runbook's parameters are in its "
        "environment as FORESTALL_<NAME>:{script}"
    ),
}
"""One sentence for each action of the agent, with its arguments."""

SCRIPTS = frozenset({("script.run", "script")})
"""Arguments of several lines: shown whole, one line below the other."""

PATCHING = "patching"
"""Trigger of an order that no check runs, but a patch policy in maintenance windows."""

RESTORE_TEST = "restore_test"
"""Trigger of an order that the schedule of restore tests runs, in maintenance windows."""

WHEN: dict[str, str] = {
    PATCHING: "Whenever a patch policy has updates to install, as a rule in maintenance windows",
    RESTORE_TEST: "Whenever a protected system's next restore test is due, in maintenance windows",
}
"""When an order runs whose trigger is no check."""

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def harmless(text: str) -> str:
    """``text`` on one line, without control characters or marks that turn the direction of writing."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)


def describe(
    statement: Job | StandingOrder | Invocation, *, runbook: Runbook, device_names: Mapping[str, str] | None = None
) -> list[str]:
    """Lines for people: what runs, where, with which effect, until when, and whether it can be undone.

    ``device_names``: device id → name. Names come from the server and are shown beside the id, never instead of it.
    ValueError when ``runbook`` is not the one the statement names; ``trust.authorise.Refused`` when the parameters
    do not fit it.
    """
    names = device_names or {}
    if not isinstance(statement, Invocation) and statement_digest(runbook) != statement.runbook:
        raise ValueError(f"the statement names runbook {statement.runbook}, not {runbook.slug}")
    lines = [f"{harmless(runbook.title)}: runbook {runbook.slug}, version {runbook.version}, {runbook.risk}"]
    if isinstance(statement, StandingOrder):
        return lines + _order_lines(statement, runbook, names)
    devices = (statement.device_id,) if isinstance(statement, Invocation) else tuple(statement.devices)
    if isinstance(statement, Job) and statement.dry_run:
        lines.append("A DRY RUN: it only says what it would do, and changes nothing. Without that, it would do this:")
    lines += [f"On {_device(device, names)}" for device in devices]
    if isinstance(statement, Job) and statement.continues is not None:
        lines += _continuation_lines(statement.continues, runbook)
    lines += step_words(runbook, complete_parameters(runbook, statement.parameters))
    lines += _undo_lines(runbook)
    if isinstance(statement, Invocation):
        lines.append(f"Because: {harmless(statement.because)}")
    else:
        lines += [f"Because: {harmless(statement.reason)}", f"Valid from {_at(statement.not_before)}"]
    lines.append(f"Valid until {_at(statement.expires_at)}")
    return lines


def _undo_lines(runbook: Runbook) -> list[str]:
    own = (
        ["When a step fails, it puts back by itself what its steps changed."] if runbook.undo_on_failure is True else []
    )
    return [*own, harmless(runbook.undo)]


def _continuation_lines(continued: Continuation, runbook: Runbook) -> list[str]:
    step = runbook.steps[continued.step] if 0 <= continued.step < len(runbook.steps) else None
    if step is None or step.approval is msgspec.UNSET:
        raise ValueError(f"the runbook {runbook.slug} waits for no approval before step {continued.step + 1}")
    return [
        f"APPROVES what job {harmless(continued.job)} waits for: {harmless(step.approval)}",
        f"It rests on the result {harmless(continued.result[:16])}. The steps before step {continued.step + 1} have "
        "run and do not run again:",
    ]


def _order_lines(order: StandingOrder, runbook: Runbook, names: Mapping[str, str]) -> list[str]:
    values: dict[str, ParameterValue] = {}
    choices: list[str] = []
    for parameter in runbook.parameters:
        name, default = parameter.name, parameter.default
        listed = order.allowed.get(name, ())
        if takes_any(parameter, listed):
            choices.append(f"{name} is whatever the server chooses at that time: {harmless(parameter.description)}")
            values[name] = f"<{name}>"
            continue
        if len(listed) > 1:
            choices.append(f"{name} is one of: {', '.join(map(_value, listed))}")
        elif not listed and default is None:
            choices.append(f"{name} has no value: this order cannot run")
        if len(listed) == 1:
            values[name] = listed[0]
        elif not listed and default is not None:
            values[name] = default
        else:
            values[name] = f"<{name}>"
    return [
        WHEN.get(order.trigger, f"Whenever the check {harmless(order.trigger)} fails") + ", without asking anyone",
        f"At most {order.runs_per_day} times a day on each device",
        *(
            ()
            if order.devices_per_hour is msgspec.UNSET
            else (f"On at most {order.devices_per_hour} devices in any hour; the server keeps to that",)
        ),
        *(f"On {_device(device, names)}" for device in order.devices),
        *step_words(runbook, values),
        *(f"where {choice}" for choice in choices),
        *_undo_lines(runbook),
        f"Valid from {_at(order.not_before)}",
        f"Valid until {_at(order.expires_at)}",
    ]


def step_words(runbook: Runbook, values: Mapping[str, ParameterValue]) -> list[str]:
    """One sentence a step, with the parameters' values in it; a script stands below it, line by line."""
    return [_step_words(step, values) for step in runbook.steps]


_OUTCOME_WORDS: dict[Outcome, str] = {
    "succeeded": "succeeded",
    "failed": "failed",
    "skipped": "was skipped",
    "changed": "changed something",
    "unchanged": "succeeded and changed nothing",
}


def _step_words(step: Step, values: Mapping[str, ParameterValue]) -> str:
    words = ""
    if step.name is not msgspec.UNSET:
        words += f"[{harmless(step.name)}] "
    if step.approval is not msgspec.UNSET:
        words += f"WAITS FOR AN OPERATOR'S APPROVAL ({harmless(step.approval)}), then: "
    if step.when is not msgspec.UNSET:
        words += f"Only if {harmless(step.when.step)} {_OUTCOME_WORDS[step.when.outcome]}: "
    words += _act_words(step, values)
    if step.undo is not msgspec.UNSET:
        words += f" Undone by: {_act_words(step.undo, values)}"
    return words


def _act_words(step: Step | UndoStep, values: Mapping[str, ParameterValue]) -> str:
    arguments: dict[str, str] = {}
    for name, value in step.arguments.items():
        if isinstance(value, str) and value.startswith("{") and value.endswith("}"):
            value = values.get(value[1:-1], value)
        if (step.action, name) in SCRIPTS:
            arguments[name] = "".join(f"\n    {harmless(line)}" for line in str(value).split("\n")).rstrip()
            continue
        arguments[name] = _value(value)
    template = ACTION_WORDS.get(step.action)
    if template is not None and set(re.findall(r"\{(\w+)\}", template)) == set(arguments):
        return template.format_map(arguments)
    given = ", ".join(f"{name} = {value}" for name, value in arguments.items()) or "no arguments"
    return f"Does {harmless(step.action)!r} with {given}: an action this program has no words for."


def _value(value: ParameterValue) -> str:
    return harmless(str(value))


def _device(device: str, names: Mapping[str, str]) -> str:
    return f"{harmless(names[device])} (device {harmless(device)})" if device in names else f"device {harmless(device)}"


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
