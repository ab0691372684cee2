"""``forestall sign``: the local signer.

It shows what the *bytes* say that are about to be signed, in words it makes itself from runbooks whose catalogue
signature it checks itself. What the server says about a job is not shown as the job's: a server that was taken over
can lie. What only the server can know (names, how many devices a client has) stands there as the server's word.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from forestall.cli.client import Api, ApiError
from forestall.cli.desk import everything, find_job
from forestall.cli.errors import CommandError
from forestall.cli.operator import ask_passphrase, folder_option, open_folder
from forestall.cli.show import console
from forestall.server.runbooks.journal import covered_devices, journal_add
from forestall.server.runbooks.operator import OperatorError, OperatorFolder
from forestall.server.runbooks.rules import single_signature_limit
from forestall.trust.authorise import Refused, operators_counted, operators_needed, read_runbook
from forestall.trust.dsse import EnvelopeError, signers
from forestall.trust.keys import key_id, private_key, public_bytes
from forestall.trust.sign import sign_job
from forestall.trust.statements import Job, Runbook, read_statement, statement_bytes
from forestall.trust.succession import named
from forestall.trust.words import describe, harmless

TRIES = 3
"""How often a job that was numbered anew while it was read is read and shown again."""
ROOT_ENDS_SOON = timedelta(days=60)


@click.command()
@click.argument("job_id", required=False)
@click.option("--all", "every", is_flag=True, help="Go through every job that waits for a signature.")
@click.option("--yes", is_flag=True, help="Sign without asking, but for what reaches far. It is still shown.")
@click.option("--dry-run", is_flag=True, help="Show everything; sign nothing. Needs no private key.")
@folder_option
def sign(*, job_id: str | None, every: bool, yes: bool, dry_run: bool, folder: Path) -> int:
    """Read, in plain words, and sign jobs that wait for an operator.

    Exit code 0 when everything that was asked for is signed (or, in a dry run, could be), 1 when something was left
    unsigned.
    """
    if bool(job_id) == every:
        raise CommandError("name one JOB_ID, or --all")
    operator = open_folder(folder)
    keys = [] if dry_run else _keys(operator)
    api = Api.connect()
    waiting = [find_job(api, job_id)] if job_id else everything(api, "/jobs", state="awaiting_signature")
    screen = console()
    warn_of_root(operator, screen)
    if not waiting:
        screen.print("No job waits for a signature.")
        return 0
    unsigned = 0
    for listed in reversed(waiting):
        # Read again one by one: each that is signed numbers those behind it anew.
        job = api.get(f"/jobs/{listed['id']}")
        unsigned += not sign_one(api, operator, keys, job, screen=screen, yes=yes, dry_run=dry_run)
    return 1 if unsigned else 0


def sign_one(
    api: Api,
    operator: OperatorFolder,
    keys: list[bytes],
    job: Mapping[str, Any],
    *,
    screen: Console,
    yes: bool,
    dry_run: bool = False,
) -> bool:
    """Show one job, ask, sign and hand it in; whether it was signed. CommandError when it must not be signed."""
    job_id = str(job["id"])
    for _ in range(TRIES):
        if job["state"] != "awaiting_signature":
            raise CommandError(f"job {harmless(job_id)} does not wait for a signature: {harmless(job['state'])}")
        statement = statement_of(job)
        runbook = runbook_of(api, operator, statement)
        standing = standing_of(api, operator, statement, runbook, job)
        screen.print(words_panel(operator, statement, runbook, job, standing))
        if dry_run:
            screen.print("A dry run: not signed.")
            return True
        require_within_limits(operator, keys, statement)
        if standing.is_wide and yes:
            screen.print("[yellow]▲ Not signed: it reaches far, and --yes does not cover that.[/yellow]")
            return False
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
        journal_add(operator.folder, statement=statement, slug=runbook.slug, now=datetime.now(UTC))
        state = harmless(str(answer["state"]).replace("_", " "))
        if answer["state"] == "awaiting_signature":
            state = f"another operator's signature is needed ({standing.needed} in all)"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a job reaches, and who has signed it."""

    client_devices: int
    """As the server says."""
    covered: int
    """Devices that one operator's signatures reach with this runbook in 24 hours, this job's included."""
    limit: int
    needed: int
    signed_by: frozenset[str]
    """Key ids whose signature was verified here."""
    vetoes: tuple[str, ...] = ()
    """What the device's own policy refused before, as the server says."""

    @property
    def is_wide(self) -> bool:
        return self.covered > self.limit


def standing_of(
    api: Api, operator: OperatorFolder, statement: Job, runbook: Runbook, job: Mapping[str, Any]
) -> Standing:
    """From the server's numbers, and from this folder's own journal: the larger reach counts.

    A server that was taken over could hand out a hundred small jobs one by one; what was signed here is known here.
    """
    reach = api.get(f"/jobs/{job['id']}/reach")
    now = datetime.now(UTC)
    own = covered_devices(operator.folder, client_id=statement.client_id, slug=runbook.slug, now=now)
    covered = len(statement.devices)
    if not statement.dry_run:
        covered = max(covered, int(reach["covered"]), len(own | set(statement.devices)))
    limit = single_signature_limit(int(reach["client_devices"]))
    try:
        needed = operators_needed(operator.root, statement.risk, len(statement.devices))
    except Refused as refusal:
        raise CommandError(f"devices would refuse this job: {refusal.sentence}") from None
    refused = everything(api, "/jobs", device=str(job["device"]["id"]), state="refused")
    vetoes = {f"{harmless(one['detail'])}" for one in refused if str(one["code"]).startswith("veto_")}
    return Standing(
        client_devices=int(reach["client_devices"]),
        covered=covered,
        limit=limit,
        needed=max(needed, 2 if covered > limit and needed else needed),
        signed_by=signed_already(operator, statement, str(job.get("envelope", ""))),
        vetoes=tuple(sorted(vetoes)),
    )


def signed_already(operator: OperatorFolder, statement: Job, envelope: str) -> frozenset[str]:
    """Operators whose signatures over this very statement are in the envelope the server keeps; verified here."""
    keys = {identifier: bytes.fromhex(public) for identifier, public in operator.root.operator.keys.items()}
    try:
        body, found = signers(base64.b64decode(envelope, validate=True), Job.PAYLOAD_TYPE, keys)
    except (EnvelopeError, binascii.Error):
        return frozenset()
    return found if body == statement_bytes(statement) else frozenset()


def require_within_limits(operator: OperatorFolder, keys: list[bytes], statement: Job) -> None:
    """CommandError when none of the folder's own signatures would count on the device."""
    own = {key_id(public_bytes(private_key(raw))) for raw in keys}
    holders = own & set(operator.root.operator.keys)
    counted = operators_counted(
        root=operator.root,
        signed_by=holders,
        risk=statement.risk,
        client_id=statement.client_id,
        devices=len(statement.devices),
    )
    if not counted:
        why = "is beyond the limits of your key" if holders else "needs an operator's key that this root names"
        raise CommandError(f"this job {why}: devices would not count your signature (forestall operator show)")


def words_panel(
    operator: OperatorFolder, statement: Job, runbook: Runbook, job: Mapping[str, Any], standing: Standing
) -> Panel:
    """What signing would cause, made from the statement and the runbook alone; then how far it reaches."""
    if runbook.risk != statement.risk:
        raise CommandError(f"the job says {statement.risk}, its runbook {runbook.risk}. Do not sign it.")
    try:
        # The name is the server's word: shown beside the id that counts.
        names = dict.fromkeys(statement.devices, f"{job['device']['name']}, as the server calls it")
        lines = describe(statement, runbook=runbook, device_names=names)
    except Refused as refusal:
        raise CommandError(f"devices would refuse this job: {refusal.sentence}") from None
    except ValueError as error:  # an approval of a step that asks for none
        raise CommandError(f"{harmless(str(error))}. Do not sign it.") from None
    if datetime.now(UTC) >= statement.expires_at:
        lines.append("It has expired already.")
    lines.append(f"Client {harmless(statement.client_id)} ({harmless(job['client']['name'])}, as the server calls it)")
    lines += standing_words(operator, standing)
    style = "yellow" if standing.is_wide else "cyan"
    return Panel(
        Text("\n".join(lines)), title=f"Job {harmless(statement.job_id)}", title_align="left", border_style=style
    )


def standing_words(operator: OperatorFolder, standing: Standing) -> list[str]:
    """How far it reaches, who signed, how many are needed, and what the customer's veto said before."""
    percent = 100 * standing.covered / max(1, standing.client_devices)
    devices = f"{standing.covered} device{'s' * (standing.covered != 1)}"
    reach = f"Reaches {devices}, {percent:.0f} % of the {standing.client_devices} that the server counts"
    if standing.is_wide:
        reach += f": more than the {standing.limit} that one signature covers in 24 hours"
    lines = [reach]
    names = operator.names()
    if standing.signed_by:
        lines.append("Signed already by " + " and ".join(named(key, names) for key in sorted(standing.signed_by)))
    count = f"{standing.needed} signature{'s' * (standing.needed != 1)}"
    lines.append(f"Needs {count}; has {len(standing.signed_by)}")
    lines += [f"The customer's policy refused before, as the server says: {veto}" for veto in standing.vetoes]
    return lines


def warn_of_root(operator: OperatorFolder, screen: Console) -> None:
    """A root that ends takes all authority with it: say so in time."""
    left = operator.root.expires_at - datetime.now(UTC)
    if left < ROOT_ENDS_SOON:
        ends = f"▲ Root version {operator.root.version} ends on {operator.root.expires_at:%Y-%m-%d}"
        screen.print(
            f"[yellow]{ends}: then devices run nothing. Sign the next: forestall operator root propose[/yellow]"
        )


def _keys(operator: OperatorFolder) -> list[bytes]:
    try:
        return operator.operator_keys(ask_passphrase)
    except OperatorError as error:
        raise CommandError(str(error)) from None
