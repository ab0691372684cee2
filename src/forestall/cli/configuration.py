"""``forestall configuration``: how devices meet their baseline, what drifted, what deviates with leave."""

from __future__ import annotations

from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from forestall.cli.client import Api
from forestall.cli.clients import confirmed
from forestall.cli.desk import everything, find_device
from forestall.cli.errors import CommandError
from forestall.cli.plain import plain
from forestall.cli.show import as_json_option, console, print_json, print_table
from forestall.cli.transfer import find_client

OUTCOMES = {
    "pass": ("●", "green"),
    "fail": ("■", "red"),
    "unknown": ("◇", "yellow"),
    "not_applicable": ("-", "dim"),
}


@click.group(invoke_without_command=True)
@click.pass_context
def configuration(context: click.Context) -> int:
    """How devices are set up: their baseline, drift from what was accepted, deviations with leave."""
    return list_() if context.invoked_subcommand is None else 0


def list_(*, client: str | None = None, drifted: bool = False, as_json: bool = False) -> int:
    api = Api.connect()
    owner = find_client(api, client)["id"] if client else None
    found = everything(api, "/configuration", client=owner, drifted="true" if drifted else None)
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Device", "Client", "Level", "Met", "Not met", "Not known", "Drift", "Accepted (UTC)", "By"),
        [
            (
                one["device_name"],
                one["client"]["name"],
                str(one["level"]),
                "" if one["percent"] is None else f"{one['percent']} %",
                str(one["failed"]),
                str(one["unknown"]),
                Text(f"▲ {one['drifted']}", style="yellow") if one["drifted"] else "",
                str(one["accepted_at"] or "")[:16].replace("T", " "),
                one["accepted_by"] or "found at first",
            )
            for one in sorted(found, key=lambda one: (-one["failed"], one["device_name"]))
        ],
        empty="No device has told yet how it is set up.",
    )
    return 0


@configuration.command("list")
@click.option("--client", help="Of this client.")
@click.option("--drifted", is_flag=True, help="Those that are not as they were accepted.")
@as_json_option
def list_command(*, client: str | None, drifted: bool, as_json: bool) -> int:
    """List devices, those that meet the fewest controls first."""
    return list_(client=client, drifted=drifted, as_json=as_json)


@configuration.command()
@click.argument("device")
@click.option("--all", "every", is_flag=True, help="The controls that are met, too.")
@as_json_option
def show(*, device: str, every: bool, as_json: bool) -> int:
    """Show a device's drift and the controls it does not meet. Exit code 1 when it drifted or does not meet one."""
    api = Api.connect()
    one = api.get(f"/configuration/{find_device(api, device)['id']}")
    bad = bool(one["failed"] or one["drifted"])
    if as_json:
        print_json(one)
        return int(bad)
    screen = console()
    screen.print(
        Text(f"{plain(one['device_name'])}: level {one['level']} ({one['level_because']}), ")
        + Text(f"{one['passed']} met, {one['failed']} not met, {one['deviating']} deviate with leave, ")
        + Text(f"{one['unknown']} not known")
    )
    if one["drift"]:
        print_table(
            ("Drift", "Area", "What", "Accepted", "Now"),
            [
                (str(each["id"]), each["area"], each["name"], each["before"][:60] or "-", each["after"][:60] or "-")
                for each in one["drift"]
            ],
            empty="",
        )
    shown = [each for each in one["results"] if every or each["outcome"] in {"fail", "unknown"}]
    print_table(
        ("", "Control", "CIS", "Why", "Runbook"),
        [
            (
                Text(OUTCOMES[each["outcome"]][0], style=OUTCOMES[each["outcome"]][1]),
                each["control"],
                each["cis"],
                each["why"] + (f" (deviates until {each['deviates_until'][:10]})" if each["deviates_until"] else ""),
                each["runbook"],
            )
            for each in shown
        ],
        empty="It meets every control that applies.",
    )
    return int(bad)


@configuration.command("controls")
@click.option("--role", default="", help="Of this role: server, cloud, endpoint.")
@click.option("--level", default=2, type=click.IntRange(1, 2), help="Up to this level.", show_default=True)
@as_json_option
def controls_command(*, role: str, level: int, as_json: bool) -> int:
    """List the controls of the baselines, with the numbers of the CIS benchmark."""
    found = Api.connect().get("/controls", role=role, level=level)
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Control", "CIS", "Level", "Risk", "What", "Runbook"),
        [(one["id"], one["cis"], str(one["level"]), one["risk"], one["title"], one["runbook"]) for one in found],
        empty="No control is for that role.",
    )
    return 0


@configuration.command("assign")
@click.argument("level", type=click.IntRange(0, 2))
@click.option("--client", help="For this client's devices.")
@click.option("--role", default="", help="With --client: for its devices of this role.")
@click.option("--device", help="For this device.")
@click.option("--reason", required=True, help="Why; goes on record.")
def assign_command(*, level: int, client: str | None, role: str, device: str | None, reason: str) -> int:
    """Choose the baseline's LEVEL (0: none, 1, 2) for a client, a role or a device."""
    if bool(client) == bool(device):
        raise click.UsageError("name --client or --device")
    api = Api.connect()
    found = find_device(api, device) if device else None
    owner = found["client"]["id"] if found else find_client(api, client or "")["id"]
    body = {"client": owner, "device": found["id"] if found else None, "role": role, "level": level, "reason": reason}
    api.post("/baselines", body)
    console().print(Text(f"● Level {level} holds from now on.", style="green"))
    return 0


@configuration.command("drift")
@click.option("--device", help="Of this device.")
@click.option("--client", help="Of this client.")
@click.option("--settled", is_flag=True, help="What was accepted or set back, too.")
@as_json_option
def drift_command(*, device: str | None, client: str | None, settled: bool, as_json: bool) -> int:
    """List what differs from what was accepted, the newest first. Exit code 1 when anything does."""
    api = Api.connect()
    found = everything(
        api,
        "/drift",
        device=find_device(api, device)["id"] if device else None,
        client=find_client(api, client)["id"] if client else None,
        open="false" if settled else None,
    )
    live = any(not one["settled_at"] for one in found)
    if as_json:
        print_json(found)
        return int(live)
    print_table(
        ("Id", "Device", "Area", "What", "Accepted", "Now", "Since (UTC)", "Settled"),
        [
            (
                str(one["id"]),
                one["device_name"],
                one["area"],
                one["name"],
                one["before"][:40] or "-",
                one["after"][:40] or "-",
                one["seen_at"][:16].replace("T", " "),
                f"{one['settled']} {one['settled_by']}".strip(),
            )
            for one in found
        ],
        empty="Every device is set up as it was accepted.",
    )
    return int(live)


@configuration.command("accept")
@click.argument("device")
@click.option("--drift", "drift_ids", type=int, multiple=True, help="This one alone. May be repeated.")
@click.option("--reason", required=True, help="Why it is meant to be so; goes on record.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def accept_command(*, device: str, drift_ids: tuple[int, ...], reason: str, yes: bool) -> int:
    """Accept what drifted on DEVICE as how it is meant to be from now on."""
    api = Api.connect()
    number = find_device(api, device)["id"]
    if not drift_ids:
        confirmed(f"Accept everything that drifted on {device}?", yes=yes)
    done = api.post(
        f"/configuration/{number}/accept", {"reason": reason, "drift": list(drift_ids) if drift_ids else None}
    )
    console().print(Text(f"● {done['accepted']} accepted.", style="green"))
    return 0


@configuration.command("deviations")
@click.option("--client", help="Of this client.")
@click.option("--all", "every", is_flag=True, help="Those that are over, too.")
@as_json_option
def deviations_command(*, client: str | None, every: bool, as_json: bool) -> int:
    """List controls that need not be met for a while."""
    api = Api.connect()
    owner = find_client(api, client)["id"] if client else None
    found = everything(api, "/deviations", client=owner, in_force=None if every else "true")
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Id", "Control", "Client", "Device", "Until", "Why", "By"),
        [
            (
                str(one["id"]),
                one["control"],
                one["client"]["name"],
                (one["device"] or "every device")[:12],
                (one["ended_at"] or one["ends_at"])[:10],
                one["reason"],
                one["accepted_by"],
            )
            for one in found
        ],
        empty="No deviation is in force: every control counts.",
    )
    return 0


@configuration.command("deviate")
@click.argument("control")
@click.option("--client", help="On every device of this client.")
@click.option("--device", help="On this device.")
@click.option("--until", required=True, type=click.DateTime(["%Y-%m-%d"]), help="Last day, at most a year from now.")
@click.option("--reason", required=True, help="Why; goes on record.")
def deviate_command(*, control: str, client: str | None, device: str | None, until: datetime, reason: str) -> int:
    """Give leave not to meet CONTROL until a day."""
    if bool(client) == bool(device):
        raise click.UsageError("name --client or --device")
    api = Api.connect()
    found = find_device(api, device) if device else None
    made = api.post(
        "/deviations",
        {
            "client": found["client"]["id"] if found else find_client(api, client or "")["id"],
            "device": found["id"] if found else None,
            "control": control,
            "reason": reason,
            "ends_at": datetime.combine(until.date(), time(23, 59), UTC).isoformat(),
        },
    )
    console().print(Text(f"● It may deviate; deviation {made['id']}.", style="green"))
    return 0


@configuration.command("end-deviation")
@click.argument("number", type=int)
def end_deviation_command(*, number: int) -> int:
    """End deviation NUMBER before its time."""
    Api.connect().post(f"/deviations/{number}/end", {})
    console().print(Text("● It has ended: the control counts again.", style="green"))
    return 0


@configuration.command("assessments")
@click.option("--device", help="Of this device.")
@as_json_option
def assessments_command(*, device: str | None, as_json: bool) -> int:
    """List runs of Lynis and OpenSCAP, the newest first."""
    api = Api.connect()
    found = everything(api, "/assessments", device=find_device(api, device)["id"] if device else None)
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Id", "Device", "Tool", "Ran (UTC)", "Score", "Findings", "Came by"),
        [
            (
                str(one["id"]),
                one["device_name"],
                f"{one['tool']} {one['version']}",
                one["at"][:16].replace("T", " "),
                "" if one["score"] is None else f"{one['score']:g}",
                str(one["failed"]),
                one["imported_by"] or one["came_by"],
            )
            for one in found
        ],
        empty="No other tool has looked yet.",
    )
    return 0


@configuration.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--device", required=True, help="On which it ran.")
def import_command(*, file: Path, device: str) -> int:
    """Bring FILE, a report of Lynis or results of OpenSCAP. It is read here: the server reads no XML."""
    from forestall.agent.collect.assessments import AssessmentError, parse_lynis, parse_xccdf

    data = file.read_bytes()
    try:
        xml = data.lstrip()[:1] == b"<"
        found = parse_xccdf(data) if xml else parse_lynis(data.decode(errors="replace"))
    except AssessmentError as error:
        raise CommandError(f"{file}: {error.why}") from None
    api = Api.connect()
    body: dict[str, Any] = {
        "device": find_device(api, device)["id"],
        "tool": found.tool,
        "version": found.version,
        "profile": found.profile,
        "at": found.at.isoformat() if found.at else None,
        "score": found.score,
        "findings": [
            {name: getattr(one, name) for name in ("id", "title", "result", "severity", "detail")}
            for one in found.findings
        ],
    }
    made = api.post("/assessments", body)
    console().print(Text(f"● {made['tool']}: {made['passed']} passed, {made['failed']} findings.", style="green"))
    shown = api.get(f"/assessments/{made['id']}")["overlap"]
    if shown:
        console().print(
            Text(
                f"  Both find fault with {len(shown['agree'])} controls; it alone with {len(shown['only_there'])}, "
                f"we alone with {len(shown['only_here'])}; {len(shown['no_counterpart'])} of its findings are about "
                "what no control asks."
            )
        )
    return 0
