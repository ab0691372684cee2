"""``forestall sign``: the local signer.

It shows what the *bytes* say that are about to be signed, in words it makes itself from runbooks whose catalogue
signature it checks itself. What the server says about a job is not shown: a server that was taken over can lie.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from forestall.cli.client import Api, ApiError
from forestall.cli.desk import everything, find_job
from forestall.cli.errors import CommandError
from forestall.cli.operator import folder_option, open_folder
from forestall.cli.show import console
from forestall.server.runbooks.operator import OperatorError, OperatorFolder
from forestall.trust.authorise import Refused, operators_needed, read_runbook
from forestall.trust.sign import sign_job
from forestall.trust.statements import Job, Runbook, read_statement, statement_bytes
from forestall.trust.words import describe, harmless

TRIES = 3
"""How often a job that was numbered anew while it was read is read and shown again."""


@click.command()
@click.argument("job_id", required=False)
@click.option("--all", "every", is_flag=True, help="Go through every job that waits for a signature.")
@click.option("--yes", is_flag=True, help="Sign without asking. What is signed is still shown.")
@folder_option
def sign(*, job_id: str | None, every: bool, yes: bool, folder: Path) -> int:
    """Read, in plain words, and sign jobs that wait for an operator.

    Exit code 0 when everything that was asked for is signed, 1 when something was left unsigned.
    """
    if bool(job_id) == every:
        raise CommandError("name one JOB_ID, or --all")
    operator = open_folder(folder)
    keys = _keys(operator)
    api = Api.connect()
    waiting = [find_job(api, job_id)] if job_id else everything(api, "/jobs", state="awaiting_signature")
    screen = console()
    if not waiting:
        screen.print("No job waits for a signature.")
        return 0
    unsigned = 0
    for listed in reversed(waiting):
        # Read again one by one: each that is signed numbers those behind it anew.
        job = api.get(f"/jobs/{listed['id']}")
        unsigned += not sign_one(api, operator, keys, job, screen=screen, yes=yes)
    return 1 if unsigned else 0


def sign_one(
    api: Api,
    operator: OperatorFolder,
    keys: list[bytes],
    job: Mapping[str, Any],
    *,
    screen: Console,
    yes: bool,
) -> bool:
    """Show one job, ask, sign and hand it in; whether it was signed. CommandError when it must not be signed."""
    job_id = str(job["id"])
    for _ in range(TRIES):
        if job["state"] != "awaiting_signature":
            raise CommandError(f"job {harmless(job_id)} does not wait for a signature: {harmless(job['state'])}")
        statement = statement_of(job)
        runbook = runbook_of(api, operator, statement)
        screen.print(words_panel(operator, statement, runbook, job))
        if not yes and not click.confirm("Sign this?"):
            screen.print("Not signed.")
            return False
        envelope = sign_job(statement_bytes(statement), keys)
        try:
            answer = api.post(f"/jobs/{job_id}/signature", {"envelope": base64.b64encode(envelope).decode()})
        except ApiError:
            # Another job of this device may have gone first: then this one has a new number, and new bytes.
            now = api.get(f"/jobs/{job_id}")
            if now["statement"] == job["statement"]:
                raise
            screen.print("[yellow]▲ It changed while you were reading. Read it again.[/yellow]")
            job = now
            continue
        state = harmless(str(answer["state"]).replace("_", " "))
        screen.print(Text(f"● Signed: {state}.", style="green"))
        return True
    raise CommandError(f"job {harmless(job_id)} changed {TRIES} times while it was read; try again later")


def statement_of(job: Mapping[str, Any]) -> Job:
    """The statement that would be signed. CommandError when it is none, or another job's."""
    try:
        statement = read_statement(base64.b64decode(job["statement"], validate=True), Job)
    except (ValueError, binascii.Error) as error:
        raise CommandError(f"the server offers something to sign that is not a job: {harmless(str(error))}") from None
    if statement.job_id != str(job["id"]):
        other, asked = harmless(statement.job_id), harmless(str(job["id"]))
        raise CommandError(f"the server offers the statement of job {other} under the id {asked}. Do not sign it.")
    return statement


def runbook_of(api: Api, operator: OperatorFolder, statement: Job) -> Runbook:
    """The runbook that the statement names, signed by the catalogue role of this folder. CommandError if not."""
    if statement.runbook in operator.runbooks:
        return operator.runbooks[statement.runbook]
    for offered in everything(api, "/runbooks"):
        try:
            envelope = base64.b64decode(offered["envelope"], validate=True)
            runbook, digest = read_runbook(root=operator.root, envelope=envelope)
        except (Refused, binascii.Error, ValueError):
            continue  # not signed by our catalogue: as good as absent
        if digest == statement.runbook:
            return runbook
    raise CommandError(
        f"the job names runbook {statement.runbook[:16]}…, which your catalogue has not signed. Do not sign it."
    )


def words_panel(operator: OperatorFolder, statement: Job, runbook: Runbook, job: Mapping[str, Any]) -> Panel:
    """What signing would cause, made from the statement and the runbook alone."""
    if runbook.risk != statement.risk:
        raise CommandError(f"the job says {statement.risk}, its runbook {runbook.risk}. Do not sign it.")
    try:
        needed = operators_needed(operator.root, statement.risk)
        # The name is the server's word: shown beside the id that counts.
        names = dict.fromkeys(statement.devices, f"{job['device']['name']}, as the server calls it")
        lines = describe(statement, runbook=runbook, device_names=names)
    except Refused as refusal:
        raise CommandError(f"devices would refuse this job: {refusal.sentence}") from None
    now = datetime.now(UTC)
    if now >= statement.expires_at:
        lines.append("It has expired already.")
    lines.append(f"Client {harmless(statement.client_id)}; needs {needed} signature{'s' if needed != 1 else ''}")
    text = Text("\n".join(lines))
    return Panel(text, title=f"Job {harmless(statement.job_id)}", title_align="left", border_style="cyan")


def _keys(operator: OperatorFolder) -> list[bytes]:
    try:
        return operator.operator_keys()
    except OperatorError as error:
        raise CommandError(str(error)) from None
