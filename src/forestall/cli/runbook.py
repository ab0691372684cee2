"""``forestall runbook``: what may run, and the drafts of what may run next; signed by the catalogue's key, here."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import msgspec
from rich.panel import Panel
from rich.text import Text

from forestall.cli.client import Api
from forestall.cli.desk import everything
from forestall.cli.errors import CommandError
from forestall.cli.operator import ask_passphrase, folder_option, open_folder
from forestall.cli.show import as_json_option, console, print_json, print_table
from forestall.server.runbooks import drafting
from forestall.server.runbooks.operator import OperatorError, runbooks_sign
from forestall.trust.dsse import decode
from forestall.trust.statements import OPERATOR_SIGNATURES, Runbook, read_statement, statement_digest
from forestall.trust.words import harmless, step_words
from forestall.wire.facts import DOCUMENT_BY_NAME

DRAFTS = "/runbook-drafts"


@click.group()
def runbook() -> None:
    """See, write and sign runbooks: what may be done to devices at all."""


@runbook.command("list")
@as_json_option
def list_command(*, as_json: bool) -> int:
    """List signed runbooks, newest version of each, and the drafts."""
    api = Api.connect()
    newest: dict[str, dict[str, Any]] = {}
    for one in everything(api, "/runbooks"):
        newest.setdefault(one["slug"], one)
    if as_json:
        print_json(list(newest.values()))
        return 0
    rows = [(one["slug"], str(one["version"]), one["risk"], one["title"]) for one in newest.values()]
    print_table(
        ("Runbook", "Version", "Risk", "What it does"), rows, empty="No runbook is signed: forestall operator init"
    )
    return 0


@runbook.command()
@click.argument("slug")
@click.option("--draft", is_flag=True, help="The draft, with what is wrong with it and how it differs.")
def show(*, slug: str, draft: bool) -> int:
    """Say what a runbook does, step by step."""
    api = Api.connect()
    screen = console()
    if draft:
        found = _draft(api, slug)
        lines = api.get(f"{DRAFTS}/{slug}/difference")["lines"]
        for line in lines or ["It says what is signed already."]:
            style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
            screen.print(Text(harmless(line), style=style))
        return _say_problems(found["newest"]["problems"])
    content = _signed(api, slug)
    screen.print(_panel(content))
    return 0


@runbook.command()
@click.argument("slug")
@click.option("--file", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Begin with this.")
def new(*, slug: str, file: Path | None) -> int:
    """Begin a draft: of the signed runbook of that name, of a FILE (JSON), else of an example."""
    body: dict[str, Any] = {"slug": slug}
    if file is not None:
        body |= {"text": _text(file), "note": f"from {file.name}"}
    made = Api.connect().post(DRAFTS, body)
    console().print(Text(f"● Begun: the draft of {slug}. Change it, and sign it once nothing is wrong:", style="green"))
    click.echo(f"  forestall runbook edit {slug}\n  forestall runbook sign {slug}")
    return _say_problems(made["newest"]["problems"])


@runbook.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def check(*, file: Path) -> int:
    """Say what is wrong with a runbook in FILE (JSON). Needs no server. Exit code 1 when something is."""
    text = _text(file)
    try:
        read = drafting.read_draft(text)
        slug, before = read.slug, read.version - 1
    except ValueError:
        slug, before = "", 0
    found = drafting.draft_problems(text, slug=slug, newest=before, documents=frozenset(DOCUMENT_BY_NAME))
    return _say_problems([{"path": problem.path, "what": problem.what} for problem in found])


@runbook.command()
@click.argument("slug")
@click.option("--file", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Save this instead.")
@click.option("--note", default="", help="What you changed; stands in the history.")
def edit(*, slug: str, file: Path | None, note: str) -> int:
    """Change a draft in your editor ($EDITOR), or save FILE as its next version. Exit code 1 while it is not sound."""
    api = Api.connect()
    found = _draft(api, slug)
    before = found["newest"]
    text = _text(file) if file is not None else click.edit(before["text"], extension=".json", require_save=True)
    if text is None or text == before["text"]:
        click.echo("Nothing changed.")
        return 0
    saved = _put(api, slug, {"text": text, "note": note, "expected": before["number"]})
    console().print(Text(f"● Saved: version {saved['newest']['number']}.", style="green"))
    return _say_problems(saved["newest"]["problems"])


@runbook.command()
@click.argument("slug")
@as_json_option
def history(*, slug: str, as_json: bool) -> int:
    """List the versions of a draft, newest first."""
    found = Api.connect().get(f"{DRAFTS}/{_part(slug)}/versions")
    if as_json:
        print_json(found)
        return 0
    rows = [
        (
            str(one["number"]),
            one["at"][:16].replace("T", " "),
            one["by"],
            f"{len(one['problems'])} to mend" if one["problems"] else "sound",
            one["note"],
        )
        for one in found
    ]
    print_table(("Version", "When (UTC)", "Who", "State", "Note"), rows, empty="No version.")
    return 0


@runbook.command()
@click.argument("slug")
@click.option("--to", type=click.IntRange(1), help="Go back to this version; else to the one before the newest.")
def undo(*, slug: str, to: int | None) -> int:
    """Go back to an earlier version of a draft, by saving it again: nothing is lost."""
    saved = Api.connect().post(f"{DRAFTS}/{_part(slug)}/undo", {"to": to})
    console().print(Text(f"● Version {saved['newest']['number']}: {saved['newest']['note']}.", style="green"))
    return _say_problems(saved["newest"]["problems"])


@runbook.command()
@click.argument("slug")
def drop(*, slug: str) -> int:
    """Put a draft away; its versions stay."""
    Api.connect().post(f"{DRAFTS}/{_part(slug)}/drop")
    click.echo(f"The draft of {slug} is put away.")
    return 0


@runbook.command()
@click.argument("slug")
@click.option("--draft", is_flag=True, help="The draft instead of what is signed.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Into this file instead of standard output."
)
def export(*, slug: str, draft: bool, out: Path | None) -> int:
    """Write a runbook as JSON, for `forestall runbook new NAME --file` elsewhere."""
    api = Api.connect()
    text = _draft(api, slug)["newest"]["text"] if draft else drafting.pretty(_signed(api, slug))
    if out is None:
        click.echo(text, nl=False)
        return 0
    out.write_text(text, encoding="utf-8")
    click.echo(f"Written: {out}")
    return 0


@runbook.command()
@click.argument("slug")
@click.option("--yes", is_flag=True, help="Sign without asking. What is signed is still shown.")
@folder_option
def sign(*, slug: str, yes: bool, folder: Path) -> int:
    """Read, sign and publish a draft with the catalogue's key of the operator's folder. Exit code 1 when not signed.

    What is shown is made here from the text that is signed. From then on operators can sign jobs of it.
    """
    operator = open_folder(folder)
    api = Api.connect()
    text = str(_draft(api, slug)["newest"]["text"])
    signed = [one for one in operator.runbooks.values() if one.slug == slug]
    before = max((one.version for one in signed), default=0)
    found = drafting.draft_problems(text, slug=slug, newest=before, documents=frozenset(DOCUMENT_BY_NAME))
    if found:
        _say_problems([{"path": problem.path, "what": problem.what} for problem in found])
        raise CommandError(f"the draft of {slug} cannot be signed yet")
    content = drafting.read_draft(text)
    screen = console()
    screen.print(_panel(content))
    if signed:
        former = drafting.pretty(max(signed, key=lambda one: one.version))
        for line in drafting.difference(former, drafting.pretty(content), names=(f"version {before}", "what you sign")):
            screen.print(Text(harmless(line), style={"+": "green", "-": "red"}.get(line[:1], "")))
    if not yes and not click.confirm("Sign and publish this?"):
        screen.print("Not signed.")
        return 1
    try:
        [path] = runbooks_sign(folder=operator.folder, runbooks=[content], ask=ask_passphrase)
    except OperatorError as error:
        raise CommandError(str(error)) from None
    except ValueError:
        raise CommandError(f"{slug} version {content.version} is signed in {operator.folder} already") from None
    answer = api.post("/runbooks", {"envelope": base64.b64encode(path.read_bytes()).decode()})
    digest = harmless(str(answer["digest"])[:16])
    screen.print(Text(f"● Published: {slug}, version {content.version} ({digest}).", style="green"))
    return 0


def _panel(content: Runbook) -> Panel:
    """What a runbook does, made from what would be signed alone."""
    values = {one.name: f"<{one.name}>" if one.default is None else one.default for one in content.parameters}
    signers = OPERATOR_SIGNATURES[content.risk]
    lines = [
        harmless(content.description),
        *(f"{number}. {words}" for number, words in enumerate(step_words(content, values), start=1)),
        *(f"{one.name} ({one.kind}): {harmless(one.description)}" for one in content.parameters),
        *(
            ["When a step fails, it puts back by itself what its steps changed."]
            if content.undo_on_failure is True
            else []
        ),
        harmless(content.undo),
        f"Every run needs {signers} operator's signature{'s' * (signers != 1)}",
        f"Digest {statement_digest(content)[:16]}",
    ]
    title = f"{harmless(content.title)}: {content.slug}, version {content.version}, {content.risk}"
    return Panel(Text("\n".join(lines)), title=title, title_align="left", border_style="cyan")


def _signed(api: Api, slug: str) -> Runbook:
    """The newest signed version of a runbook. CommandError names the ones there are."""
    every = everything(api, "/runbooks")
    versions = [one for one in every if one["slug"] == slug]
    if not versions:
        known = ", ".join(sorted({one["slug"] for one in every}))
        raise CommandError(f"no runbook is called {slug!r}; known: {known}")
    newest = max(versions, key=lambda one: int(one["version"]))
    try:
        return read_statement(decode(base64.b64decode(newest["envelope"])).body(), Runbook)
    except ValueError as error:
        raise CommandError(f"the server offers something else than a runbook: {harmless(str(error))}") from None


def _draft(api: Api, slug: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"{DRAFTS}/{_part(slug)}")
    return found


def _put(api: Api, slug: str, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = msgspec.json.decode(api.raw("PUT", f"{DRAFTS}/{_part(slug)}", body))
    return answer


def _part(slug: str) -> str:
    return quote(slug, safe="")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read: {error}") from None


def _say_problems(problems: list[dict[str, Any]]) -> int:
    screen = console()
    for problem in problems:
        screen.print(Text(f"■ {harmless(str(problem['path']))}: {harmless(str(problem['what']))}", style="red"))
    if not problems:
        screen.print(Text("● Nothing is wrong with it.", style="green"))
    return 1 if problems else 0
