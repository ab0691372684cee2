"""``disk.self_test``: let a disk test itself (SMART). It goes on in the background; the next look says how it ended."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.programs import run_program
from forestall.agent.collect.host import Host, HostError
from forestall.trust.statements import ParameterValue, RiskClass, StepResult

NAME = "disk.self_test"
RISK = RiskClass.CHANGE
DRY_RUN = True
ARGUMENTS: Mapping[str, type] = {"device": str, "kind": str}
_DEVICE = re.compile(r"(/dev/[A-Za-z0-9/_-]{1,60})(?: ((?:megaraid|cciss|3ware|aacraid|areca|sssraid),[\d,/]{1,20}))?")
KINDS = ("short", "long")


def run(args: Mapping[str, ParameterValue], host: Host, ctx: Context) -> StepResult:
    """``device`` as the ``disks`` document names it; ``kind`` short (minutes) or long (hours, the whole surface)."""
    device, kind = str(args["device"]), str(args["kind"])
    named = _DEVICE.fullmatch(device)
    if named is None or ".." in device:
        raise ActionFailed("argument_wrong", f"device: {device!r} is not the name of a disk")
    if kind not in KINDS:
        raise ActionFailed("argument_wrong", f"kind: {kind!r} is neither short nor long")
    place = [*(["-d", named[2]] if named[2] else []), named[1]]
    minutes = _require_able(place, device, kind, host)
    if ctx.dry_run:
        return StepResult(action=NAME, ok=True, summary=f"would let {device} run its {kind} test{minutes}")
    ran = run_program(["smartctl", "--json", "-t", kind, *place], ctx)
    # Bits 0 to 2: wrong use, no such disk, the disk refused. The others tell of its health, not of this.
    if ran.exit_code & 7:
        raise ActionFailed("test_refused", f"{device} does not begin a test: {_said(ran.output)}", output=ran.output)
    return StepResult(
        action=NAME, ok=True, summary=f"{device} runs its {kind} test{minutes}", output=ran.output, changed={"tests": 1}
    )


def _require_able(place: list[str], device: str, kind: str, host: Host) -> str:
    """How long it will take, in words. ActionFailed when the disk cannot, or is at a test already."""
    try:
        answer = host.run(["smartctl", "--json", "--capabilities", "--log=selftest", *place], timeout=30)
        report = json.loads(answer.stdout)
    except HostError as error:
        raise ActionFailed("program_missing", f"{device}: {error.why}") from None
    except json.JSONDecodeError:
        raise ActionFailed("test_refused", f"{device}: smartctl does not say what the disk can") from None
    report = report if isinstance(report, dict) else {}
    data = report.get("ata_smart_data")
    test = data.get("self_test") if isinstance(data, dict) else None
    status = test.get("status") if isinstance(test, dict) else None
    if isinstance(status, dict) and isinstance(status.get("value"), int) and status["value"] >> 4 == 15:
        raise ActionFailed("test_runs", f"{device} is at a test already: {status.get('string', '')}")
    minutes = test.get("polling_minutes") if isinstance(test, dict) else None
    needed = minutes.get("extended" if kind == "long" else "short") if isinstance(minutes, dict) else None
    if not report.get("device") and answer.exit_code & 3:
        raise ActionFailed("test_refused", f"{device}: {_said(answer.stdout)}", output=answer.stdout[:2000])
    return f", about {needed} minutes" if isinstance(needed, int) else ""


def _said(output: str) -> str:
    try:
        report = json.loads(output)
        messages = report["smartctl"]["messages"]
        return str(messages[0]["string"])[:200]
    except (ValueError, LookupError, TypeError):
        return "smartctl gives no reason"
