"""``forestall operator``: the operators' keys, the root that names them, and the end of a key.

Several people have a folder each. Nothing here needs another person's private key: a new root goes from hand to hand,
over the server or as a file, and each holder of a root key adds a signature after reading what it changes.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import click
from rich.panel import Panel
from rich.text import Text

from forestall.cli.client import Api
from forestall.cli.errors import CommandError
from forestall.cli.show import console, print_table
from forestall.server.home import current_home, write_private
from forestall.server.runbooks.operator import (
    PASSPHRASE_VARIABLE,
    OperatorError,
    OperatorFolder,
    fingerprints,
    folder_join,
    is_protected,
    key_new,
    key_protect,
    operator_init,
    read_public,
)
from forestall.trust.authorise import Refused, accept_root, read_revocation
from forestall.trust.dsse import EnvelopeError, decode, merge, sign, signers
from forestall.trust.keys import key_id, private_key, public_bytes
from forestall.trust.statements import (
    OperatorLimits,
    Revocation,
    RiskClass,
    Root,
    Statement,
    read_statement,
    statement_bytes,
)
from forestall.trust.succession import (
    ROLES,
    UNCHANGED,
    Change,
    ChangeError,
    RoleName,
    change_words,
    limits_words,
    named,
    next_root,
    revocation_words,
    single_signature_words,
)
from forestall.trust.words import harmless


def default_folder() -> Path:
    """``FORESTALL_OPERATOR``, else the folder that ``forestall up`` made."""
    chosen = os.environ.get("FORESTALL_OPERATOR")
    return Path(chosen).expanduser() if chosen else current_home().operator


def folder_option(command: Any) -> Any:
    """``--folder``: where the operator's keys are."""
    return click.option(
        "--folder",
        type=click.Path(file_okay=False, path_type=Path),
        default=default_folder,
        show_default="FORESTALL_OPERATOR, else the one `forestall up` made",
        help="The operator's folder.",
    )(command)


def open_folder(folder: Path) -> OperatorFolder:
    """CommandError when it is not an operator's folder."""
    try:
        return OperatorFolder.open(folder)
    except OperatorError as error:
        raise CommandError(str(error)) from None


def ask_passphrase(path: Path) -> str:
    """Ask the person at the terminal."""
    return str(click.prompt(f"Passphrase of {path.name}", hide_input=True))


def new_passphrase(*, plain: bool) -> str | None:
    """A new passphrase, asked twice or from the environment; None for a plain key."""
    if plain:
        return None
    chosen = os.environ.get(PASSPHRASE_VARIABLE)
    return chosen or str(click.prompt("New passphrase", hide_input=True, confirmation_prompt=True))


@click.group()
def operator() -> None:
    """Make, show and end keys; sign the root that names them."""


@operator.command()
@folder_option
def init(*, folder: Path) -> int:
    """Make root, catalogue and operator keys, and sign the built-in runbooks. A folder that is there stays as it is."""
    try:
        bundle = operator_init(folder=folder, now=datetime.now(UTC))
    except OperatorError as error:
        raise CommandError(str(error)) from None
    click.echo(f"{folder} holds the keys and {len(bundle.runbooks)} signed runbooks. Read its README.txt.")
    click.echo(f"Root key {bundle.root_key_id}")
    return 0


@operator.command()
@folder_option
def show(*, folder: Path) -> int:
    """Show the roles, the keys, what each operator may sign, and the signed runbooks."""
    opened = open_folder(folder)
    try:
        held = {identifier: name for name, identifier in fingerprints(folder).items()}
        names = opened.names()
    except OperatorError as error:
        raise CommandError(str(error)) from None
    rows = [
        (
            role,
            f"{keys.threshold} of {len(keys.keys)}",
            identifier[:16],
            names.get(identifier, "") if identifier not in held else held[identifier],
            _kept(folder, held.get(identifier)),
            limits_words(opened.root.limits.get(identifier)) if role == "operator" else "",
        )
        for role, keys in ((name, getattr(opened.root, name)) for name in ROLES)
        for identifier in keys.keys
    ]
    click.echo(f"Root version {opened.root.version}, valid until {opened.root.expires_at:%Y-%m-%d}")
    click.echo(single_signature_words(opened.root))
    print_table(("Role", "Needed", "Key", "Name", "Kept", "Limits"), rows, empty="The root names no keys.")
    books = sorted(opened.runbooks.items(), key=lambda item: (item[1].slug, item[1].version))
    runbooks = [(book.slug, str(book.version), str(book.risk), digest[:16]) for digest, book in books]
    print_table(("Runbook", "Version", "Risk", "Digest"), runbooks, empty="No runbook is signed.")
    return 0


def _kept(folder: Path, file: str | None) -> str:
    if file is None:
        return "not in this folder"
    return "under a passphrase" if is_protected(folder / file) else "plain"


# --- keys ---


@operator.group()
def key() -> None:
    """Make keys and put them under a passphrase."""


@key.command("new")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="operator", show_default=True, help="What it is meant for.")
@click.option("--plain", is_flag=True, help="Without a passphrase: whoever reads the file has the key.")
@folder_option
def key_new_command(*, name: str, role: str, plain: bool, folder: Path) -> int:
    """Make a key called NAME. It may do nothing before a root names it: give its .pub to a holder of a root key."""
    try:
        public = key_new(folder=folder, role=cast(RoleName, role), name=name, passphrase=new_passphrase(plain=plain))
        identifier = key_id(read_public(public).raw)
    except OperatorError as error:
        raise CommandError(str(error)) from None
    click.echo(f"{public.with_suffix('.key')} is the private key: it stays here.")
    click.echo(f"{public} is for a holder of a root key, who runs")
    click.echo(f"  forestall operator root propose --add {public.name}")
    click.echo(f"Tell them by voice that it begins with {identifier[:16]}.")
    return 0


@key.command("protect")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--plain", is_flag=True, help="Take the passphrase off.")
def key_protect_command(*, file: Path, plain: bool) -> int:
    """Put the private key FILE under a (new) passphrase."""
    try:
        key_protect(path=file, passphrase=new_passphrase(plain=plain), ask=ask_passphrase)
    except OperatorError as error:
        raise CommandError(str(error)) from None
    click.echo(
        f"{file} is {'plain now' if plain else 'under the new passphrase'}. Copies made before are as they were."
    )
    return 0


# --- root ---


@operator.group("root")
def root_group() -> None:
    """Propose, sign and fetch the root: which keys hold which role."""


@root_group.command("propose")
@click.option("--add", "added", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              metavar="FILE.pub", help="Give the role in this file to the key in it. May be repeated.")  # fmt: skip
@click.option("--drop", "dropped", multiple=True, metavar="ROLE:KEY", help="Take a role from a key. May be repeated.")
@click.option("--threshold", "thresholds", multiple=True, metavar="ROLE:N", help="How many keys of a role must sign.")
@click.option("--limit", "limited", multiple=True, metavar="KEY:WHAT", help=(
    "Limit an operator: risk=change, clients=ID+ID, devices=N, with commas between; KEY:none lifts its limits."
))  # fmt: skip
@click.option("--one-signature", metavar="N|any", help="Most devices a statement with one signature may name.")
@click.option("--years", default=5, show_default=True, type=click.IntRange(1, 10), help="How long it lives.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it to a file; tell no server.")
@click.option("--yes", is_flag=True, help="Sign without asking. What changes is still shown.")
@folder_option
def root_propose(
    *,
    added: tuple[Path, ...],
    dropped: tuple[str, ...],
    thresholds: tuple[str, ...],
    limited: tuple[str, ...],
    one_signature: str | None,
    years: int,
    out: Path | None,
    yes: bool,
    folder: Path,
) -> int:
    """Make the next root, show what it changes, sign it with this folder's root keys, and hand it in.

    Without any change it renews the root's date. Exit code 1 when it is not signed.
    """
    opened = open_folder(folder)
    try:
        change = Change(
            add=_added(added),
            drop=_by_role(dropped),
            threshold={role: _number(f"--threshold {role}", value[0]) for role, value in _by_role(thresholds).items()},
            limits=dict(_limit(one) for one in limited),
            single_signature_devices=_one_signature(one_signature),
            life=timedelta(days=365 * years),
        )
        statement = next_root(opened.root, change, now=datetime.now(UTC).replace(microsecond=0))
    except (ChangeError, OperatorError) as error:
        raise CommandError(str(error)) from None
    for path in added:
        if not (folder / path.name).exists():
            write_private(folder / path.name, path.read_bytes())  # so that the key keeps its name here
    names = {**opened.names(), **{key_id(read_public(path).raw): read_public(path).name for path in added}}
    return _sign_and_pass_on(opened, statement, None, names=names, out=out, yes=yes)


@root_group.command("sign")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--send", is_flag=True, help="With FILE: hand it in to the server afterwards.")
@click.option("--yes", is_flag=True, help="Sign without asking. What changes is still shown.")
@folder_option
def root_sign(*, file: Path | None, send: bool, yes: bool, folder: Path) -> int:
    """Read, in plain words, and sign a new root or a revocation: from FILE, else each that waits on the server.

    FILE is written anew with the signature in it. Exit code 1 when something was left unsigned.
    """
    opened = open_folder(folder)
    if file is not None:
        envelope = file.read_bytes()
        return _sign_and_pass_on(
            opened, _proposed(envelope), envelope, names=opened.names(), out=None if send else file, yes=yes
        )
    waiting = list(_items(Api.connect(), "/authority/proposals?state=waiting"))
    if not waiting:
        console().print("Nothing waits for a root key.")
        return 0
    unsigned = 0
    for one in waiting:
        envelope = _envelope(one)
        statement = _proposed(envelope)
        unsigned += _sign_and_pass_on(opened, statement, envelope, names=opened.names(), out=None, yes=yes)
    return 1 if unsigned else 0


@root_group.command("send")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@folder_option
def root_send(*, file: Path, folder: Path) -> int:
    """Hand a signed root or revocation in to the server, as it is. Exit code 1 when signatures are missing."""
    return 0 if _send(open_folder(folder), file.read_bytes()) else 1


@root_group.command("fetch")
@click.option("--root-key", default="", metavar="KEY", help="For a new folder: the root key's id, told by a person.")
@folder_option
def root_fetch(*, root_key: str, folder: Path) -> int:
    """Bring this folder to the root in force, step by step; what is no proper successor is refused."""
    api = Api.connect()
    if not (folder / "root.json").exists() and len(root_key) != 64:
        raise CommandError("a new folder needs --root-key with all 64 digits: whoever made the root key reads them out")
    roots = [_envelope(one) for one in _items(api, "/authority/roots")]
    runbooks = [_envelope(one) for one in _items(api, "/runbooks")]
    try:
        opened = folder_join(folder=folder, roots=roots, runbooks=runbooks, root_key_id=root_key, now=datetime.now(UTC))
    except OperatorError as error:
        raise CommandError(str(error)) from None
    click.echo(f"{folder} holds root version {opened.root.version} and {len(opened.runbooks)} runbooks.")
    return 0


# --- the end of a key ---


@operator.command()
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@click.option("--reason", required=True, help="Why; goes into the evidence.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it to a file; tell no server.")
@click.option("--yes", is_flag=True, help="Sign without asking. What it ends is still shown.")
@folder_option
def revoke(*, keys: tuple[str, ...], reason: str, out: Path | None, yes: bool, folder: Path) -> int:
    """End operators' keys for good: KEY is a name this folder knows, or how the key's id begins.

    It needs the root role's signatures. Devices never forget it, whatever a later root says.
    """
    opened = open_folder(folder)
    names = opened.names()
    statement = Revocation(
        issued_at=datetime.now(UTC).replace(microsecond=0),
        orders=(),
        keys=tuple(_operator_key(opened, names, key) for key in keys),
        reason=reason,
    )
    return _sign_and_pass_on(opened, statement, None, names=names, out=out, yes=yes)


def _operator_key(opened: OperatorFolder, names: dict[str, str], wanted: str) -> str:
    holders = opened.root.operator.keys
    spoken = {wanted, f"operator-{wanted}"}
    found = [key for key in holders if names.get(key) in spoken or (len(wanted) >= 8 and key.startswith(wanted))]
    if len(found) != 1:
        raise CommandError(f"{len(found)} operators' keys are called {wanted!r} or begin so (8 digits or more)")
    return found[0]


# --- shared ---


def _proposed(envelope: bytes) -> Root | Revocation:
    """The root or revocation in an envelope; CommandError for anything else."""
    try:
        decoded = decode(envelope)
        if decoded.payloadType == Root.PAYLOAD_TYPE:
            return read_statement(decoded.body(), Root)
        if decoded.payloadType == Revocation.PAYLOAD_TYPE:
            return read_statement(decoded.body(), Revocation)
    except ValueError as error:  # EnvelopeError is one
        raise CommandError(f"this is no root and no revocation: {harmless(str(error))}") from None
    raise CommandError(f"this is no root and no revocation, but {harmless(decoded.payloadType)}")


def _sign_and_pass_on(
    opened: OperatorFolder,
    statement: Root | Revocation,
    envelope: bytes | None,
    *,
    names: dict[str, str],
    out: Path | None,
    yes: bool,
) -> int:
    """Show, ask, sign, and write to ``out`` or hand in. 0 when signed, 1 when not."""
    screen = console()
    if isinstance(statement, Root):
        if statement.version != opened.root.version + 1:
            raise CommandError(
                f"root version {statement.version} does not follow this folder's, {opened.root.version}: "
                "forestall operator root fetch"
            )
        lines, title = change_words(opened.root, statement, names=names), "New root"
    else:
        lines, title = revocation_words(statement, opened.root, names=names), "Revocation"
    lines += _signed_words(opened.root, statement, envelope, names)
    screen.print(Panel(Text("\n".join(lines)), title=title, title_align="left", border_style="yellow"))
    if not yes and not click.confirm("Sign this?"):
        screen.print("Not signed.")
        return 1
    try:
        raw_keys = opened.root_keys(ask_passphrase)
    except OperatorError as error:
        raise CommandError(str(error)) from None
    concerned = _concerned(opened.root, statement)
    own = [private_key(raw) for raw in raw_keys if key_id(public_bytes(private_key(raw))) in concerned]
    if not own:
        raise CommandError(f"no root key in {opened.folder} is one that this root or the next names")
    signed = sign(statement_bytes(statement), statement.PAYLOAD_TYPE, own)
    signed = signed if envelope is None else merge(signed, envelope)
    if out is not None:
        write_private(out, signed)
        screen.print(Text(f"● Signed: {out}. {_still_missing(opened.root, statement, signed)}", style="green"))
        return 0
    _send(opened, signed)
    return 0


def _send(opened: OperatorFolder, envelope: bytes) -> bool:
    """Hand in; whether it is in force now. A root in force is taken into the folder too."""
    statement = _proposed(envelope)
    answer = Api.connect().post("/authority/proposals", {"envelope": base64.b64encode(envelope).decode()})
    if answer["state"] != "installed":
        waiting = harmless(str(answer["missing"] or answer["state"]))
        console().print(Text(f"● Handed in; not in force yet: {waiting}.", style="yellow"))
        return False
    if isinstance(statement, Root) and statement.version == opened.root.version + 1:
        try:
            opened.take_root(_envelope(answer), now=datetime.now(UTC))
        except OperatorError as error:
            raise CommandError(str(error)) from None
    console().print(Text("● In force. Devices are told at their next check-in.", style="green"))
    return True


def _concerned(root: Root, statement: Statement) -> dict[str, bytes]:
    """Keys whose signature counts: of the root role as it is, and as it will be."""
    keys = {**root.root.keys, **(statement.root.keys if isinstance(statement, Root) else {})}
    return {identifier: bytes.fromhex(public) for identifier, public in keys.items()}


def _signed_words(
    root: Root, statement: Root | Revocation, envelope: bytes | None, names: dict[str, str]
) -> Sequence[str]:
    if envelope is None:
        return []
    try:
        _, found = signers(envelope, statement.PAYLOAD_TYPE, _concerned(root, statement))
    except (EnvelopeError, ValueError) as error:
        raise CommandError(harmless(str(error))) from None
    return ["Signed already by " + (" and ".join(named(key, names) for key in sorted(found)) or "nobody")]


def _still_missing(root: Root, statement: Root | Revocation, envelope: bytes) -> str:
    try:
        if isinstance(statement, Root):
            accept_root(current=root, pinned_key_id="", envelope=envelope, now=datetime.now(UTC))
        else:
            read_revocation(root=root, envelope=envelope)
    except Refused as refusal:
        return f"Not in force yet: {refusal.sentence}."
    return "It has all its signatures: forestall operator root send FILE"


def _items(api: Api, path: str) -> Sequence[dict[str, Any]]:
    """Every item of a list, page by page."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    query = dict([path.partition("?")[2].split("=")]) if "?" in path else {}
    while True:
        answer = api.get(path.partition("?")[0], cursor=cursor, **query)
        found += answer["items"]
        cursor = answer["next_cursor"]
        if not cursor:
            return found


def _envelope(answer: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(answer["envelope"], validate=True)
    except (binascii.Error, TypeError) as error:
        raise CommandError(f"the server's answer holds no envelope: {error}") from None


def _added(paths: Sequence[Path]) -> dict[RoleName, list[bytes]]:
    found: dict[RoleName, list[bytes]] = {}
    for path in paths:
        given = read_public(path)
        found.setdefault(given.role, []).append(given.raw)
    return found


def _by_role(pairs: Sequence[str]) -> dict[RoleName, list[str]]:
    """``operator:1f2e`` … by role."""
    found: dict[RoleName, list[str]] = {}
    for pair in pairs:
        role, _, value = pair.partition(":")
        if role not in ROLES or not value:
            raise CommandError(f"{pair!r}: expected ROLE:VALUE with ROLE one of {', '.join(ROLES)}")
        found.setdefault(role, []).append(value)
    return found


def _number(what: str, text: str) -> int:
    if not text.isdecimal():
        raise CommandError(f"{what}: {text!r} is not a number")
    return int(text)


def _one_signature(text: str | None) -> int | None:
    if text is None:
        return UNCHANGED
    return None if text == "any" else _number("--one-signature", text)


def _limit(text: str) -> tuple[str, OperatorLimits]:
    """``1f2e3d4c:risk=change,clients=ID+ID,devices=20``."""
    identifier, _, rest = text.partition(":")
    if rest == "none":
        return identifier, OperatorLimits()
    given = dict(part.partition("=")[::2] for part in rest.split(","))
    unknown = set(given) - {"risk", "clients", "devices"}
    if unknown or not all(given.values()):
        raise CommandError(f"--limit {text!r}: expected KEY:risk=CLASS,clients=ID+ID,devices=N or KEY:none")
    classes = [risk.value for risk in RiskClass if risk is not RiskClass.TRUST]
    risks = given["risk"].split("+") if "risk" in given else []
    for risk in risks:
        if risk not in classes:
            raise CommandError(f"--limit {text!r}: {risk!r} is no risk class; known: {', '.join(classes)}")
    return identifier, OperatorLimits(
        risk=tuple(RiskClass(risk) for risk in risks),
        clients=tuple(given["clients"].split("+")) if "clients" in given else (),
        most_devices=_number("devices", given["devices"]) if "devices" in given else None,
    )
