"""The commands of ``forestall vulns`` that ask the server: what to do first, what is open, what was said, feeds."""

from __future__ import annotations

import base64
import re
import tempfile
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from forestall.cli.client import Api
from forestall.cli.desk import everything, find_device
from forestall.cli.errors import CommandError
from forestall.cli.show import ago, as_json_option, console, print_json, print_table
from forestall.cli.transfer import find_client

PART = 4 << 20
"""Of a file that is sent, in bytes."""
WAIT_SECONDS = 1900
STYLE = {"critical": "bold red", "high": "red", "medium": "yellow"}
NO_FEED = "Nothing is open that we know of. Is there a feed? See: forestall vulns feeds"


def where_options(command: Any) -> Any:
    """The filters that lists share."""
    for option in (
        click.option("--client", help="Name or id."),
        click.option("--device", help="Name or id."),
        click.option("--severity", type=click.Choice(["critical", "high", "medium", "low", "unrated"])),
        click.option("--exploited", is_flag=True, help="Only those known to be exploited."),
        click.option("--fixable/--no-fix", default=None, help="Only those with a fix, or without one."),
        click.option("--find", "q", help="Part of a package's or a vulnerability's name."),
        click.option("--at", "at", metavar="DATE", help="As it was, and was known, at a past day or moment."),
    ):
        command = option(command)
    return command


@click.command("list")
@where_options
@click.option("--most", default=50, show_default=True, help="So many lines.")
@as_json_option
def vulns_list(*, most: int, as_json: bool, **asked: Any) -> int:
    """Open vulnerabilities, what matters most first."""
    api = Api.connect()
    found = _some(api, "/vulnerabilities", most, as_json=as_json, **_question(api, asked))
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Vulnerability", "Severity", "Exploited", "Devices", "Fix", "Why"),
        [
            (
                one["name"],
                _severity(one["severity"]),
                Text("known", style="bold red") if one["known_exploited"] else _likely(one["epss"]),
                str(one["device_count"]),
                "restart" if one["only_running"] else "yes" if one["fixable"] else "none yet",
                "; ".join(one["why"]),
            )
            for one in found
        ],
        empty=NO_FEED,
    )
    return 0


@click.command("actions")
@where_options
@click.option("--most", default=20, show_default=True, help="So many lines.")
@as_json_option
def vulns_actions(*, most: int, as_json: bool, **asked: Any) -> int:
    """What to do, what removes most risk first."""
    api = Api.connect()
    found = _some(api, "/vulnerabilities/actions", most, as_json=as_json, **_question(api, asked))
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("", "What to do", "Where", "Why"),
        [
            (
                f"{number}",
                Text(f"{one['sentence']}\n{one['effect']}", style="red" if one["known_exploited"] else ""),
                _names(one),
                "; ".join(one["why"]),
            )
            for number, one in enumerate(found, 1)
        ],
        empty=NO_FEED,
    )
    return 0


@click.command("show")
@click.argument("name", metavar="CVE")
@as_json_option
def vulns_show(*, name: str, as_json: bool) -> int:
    """One vulnerability: why its rank, which devices have or had it, what was said of it."""
    found = Api.connect().get(f"/vulnerabilities/{name}")
    if as_json:
        print_json(found)
        return 0
    click.echo(f"{found['name']}  {found['title']}".rstrip())
    for why in found["why"]:
        click.echo(f"  · {why}")
    print_table(
        ("Device", "Client", "Package", "Version", "Fixed in", "Advisory", "Since", "State"),
        [
            (
                one["device"]["name"],
                one["client"]["name"],
                one["package"],
                one["version"],
                one["fixed"] or "none yet",
                one["advisory"],
                ago(one["since"]),
                f"gone {ago(one['gone_at'])}"
                if one["gone_at"]
                else one["mark"].replace("_", " ") or ("runs still" if one["only_running"] else "open"),
            )
            for one in found["affected"]
        ],
        empty="No device has it.",
    )
    if found["marks"]:
        click.echo()
        _print_marks(found["marks"])
    return 0


def mark_options(command: Any) -> Any:
    """What every mark says."""
    for option in (
        click.option("--client", help="On every device of this client: name or id."),
        click.option("--device", help="On this device alone: name or id."),
        click.option("--package", default="", help="In this package alone."),
        click.option("--reason", required=True, help="Why; whoever reads it in a year must learn it."),
        as_json_option,
    ):
        command = option(command)
    return command


@click.command("accept")
@click.argument("vulnerability", metavar="CVE")
@mark_options
@click.option("--until", required=True, help="Day (2027-03-31) or span (90d) after which it counts again.")
def vulns_accept(**said: Any) -> int:
    """Accept a risk until a day; then it counts again."""
    return _mark(mark="accepted", **said)


@click.command("mark")
@click.argument("vulnerability", metavar="CVE")
@click.argument("mark", type=click.Choice(["false-positive", "not-applicable"]))
@mark_options
@click.option("--until", help="Day (2027-03-31) or span (90d) after which it counts again.")
def vulns_mark(*, mark: str, **said: Any) -> int:
    """Mark a vulnerability as false, or as not applicable here."""
    return _mark(mark=mark.replace("-", "_"), **said)


def _mark(
    *,
    mark: str,
    vulnerability: str,
    client: str | None,
    device: str | None,
    package: str,
    reason: str,
    until: str | None,
    as_json: bool,
) -> int:
    if (client is None) == (device is None):
        raise click.UsageError("name either --client or --device")
    api = Api.connect()
    body: dict[str, Any] = {"mark": mark, "reason": reason, "package": package}
    if device is not None:
        body["device"] = find_device(api, device)["id"]
    else:
        body["client"] = find_client(api, str(client))["id"]
    if until:
        body["expires_at"] = _moment(until, forward=True).isoformat()
    made = api.post(f"/vulnerabilities/{vulnerability}/marks", body)
    if as_json:
        print_json(made)
        return 0
    ends = f" until {made['expires_at'][:10]}" if made["expires_at"] else ""
    where = device or made["client"]["name"]
    click.echo(f"{made['vulnerability']} is {made['mark'].replace('_', ' ')} on {where}{ends} (mark {made['id']}).")
    return 0


@click.command("unmark")
@click.argument("mark", type=int)
@as_json_option
def vulns_unmark(*, mark: int, as_json: bool) -> int:
    """Take the mark of this number back: the vulnerability counts again."""
    done = Api.connect().post(f"/vulnerability-marks/{mark}/end")
    if as_json:
        print_json(done)
    else:
        click.echo(f"{done['vulnerability']} counts again.")
    return 0


@click.command("marks")
@click.option("--client", help="Name or id.")
@click.option("--all", "ended_too", is_flag=True, help="Those that ended or were taken back, too.")
@as_json_option
def vulns_marks(*, client: str | None, ended_too: bool, as_json: bool) -> int:
    """What was said of vulnerabilities: accepted, false, not applicable."""
    api = Api.connect()
    question = {"client": find_client(api, client)["id"] if client else None, "in_force": None if ended_too else "true"}
    found = everything(api, "/vulnerability-marks", **question)
    if as_json:
        print_json(found)
    else:
        _print_marks(found)
    return 0


@click.command("sbom")
@click.argument("device")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File; left out: the terminal.")
@click.option("--vex", is_flag=True, help="With what is open and what was said of it.")
def vulns_sbom(*, device: str, output: Path | None, vex: bool) -> int:
    """The software of DEVICE as CycloneDX 1.6, with package URLs."""
    api = Api.connect()
    found = find_device(api, device)
    text = api.raw("GET", f"/devices/{found['id']}/sbom" + ("?vulnerabilities=true" if vex else ""))
    if output is None:
        click.echo(text.decode(), nl=False)
    else:
        output.write_bytes(text)
        click.echo(f"{output}: {len(text):,} bytes", err=True)
    return 0


# --- feeds ----------------------------------------------------------------------------------------------------------


@click.command("feeds")
@click.option("--refresh", metavar="FEED", help="Fetch this one now and wait for it; `all`: every one.")
@click.option("--off", metavar="FEED", help="Do not use this one any more.")
@click.option("--on", metavar="FEED", help="Use this one again.")
@click.option("--remove", metavar="FEED", help="Forget this one.")
@as_json_option
def vulns_feeds(*, refresh: str | None, off: str | None, on: str | None, remove: str | None, as_json: bool) -> int:
    """The feeds of advisories: how new they are, what went wrong; fetch, switch off, forget one."""
    api = Api.connect()
    if remove:
        api.delete(f"/vulnerability-feeds/{remove}")
        click.echo(f"{remove} is forgotten.")
        return 0
    for slug, enabled in ((off, False), (on, True)):
        if slug:
            api.patch(f"/vulnerability-feeds/{slug}", {"enabled": enabled})
    if refresh:
        every = [one["slug"] for one in api.get("/vulnerability-feeds") if one["enabled"] and one["url"]]
        wanted = every if refresh == "all" else [refresh]
        for slug in wanted:
            api.post(f"/vulnerability-feeds/{slug}/refresh")
        with console().status("") as status:
            _wait(api, wanted, lambda left: status.update(f"Fetching {', '.join(left)}…"))
    found = api.get("/vulnerability-feeds")
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("Feed", "What", "State", "Records", "Checked", "Why"),
        [
            (
                one["slug"],
                one["title"],
                _state(one),
                f"{one['records']:,}",
                ago(one["good_at"]),
                one["error"],
            )
            for one in found
        ],
        empty="No feed yet. The first appears when a device has reported its software; or import one: "
        "forestall vulns import FILE",
    )
    return 1 if refresh and any(one["error"] for one in found) else 0


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="FILE|DIR…")
@click.option("--feed", help="Name of the feed it is; left out: made from the file's name.")
def vulns_import(*, files: tuple[Path, ...], feed: str | None) -> int:
    """Take feeds from files, for servers without internet. What is in a folder is one feed.

    A publisher's own file takes the place of what would be fetched when it is named as that feed:
    forestall vulns import --feed debian-tracker debian.json
    """
    if feed and len(files) > 1:
        raise click.UsageError("--feed names one feed: give one file or folder")
    api = Api.connect()
    slugs = []
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(), transient=True) as progress:
        for path in files:
            slug = feed or _slug(path)
            if path.is_dir():
                with tempfile.NamedTemporaryFile(suffix=".zip") as packed:
                    _pack(path, Path(packed.name))
                    _send(api, slug, Path(packed.name), progress)
            else:
                _send(api, slug, path, progress)
            slugs.append(slug)
    with console().status("") as status:
        done = _wait(api, slugs, lambda left: status.update(f"Reading {', '.join(left)}…"))
    failed = 0
    for one in done:
        if one["error"]:
            failed = 1
            click.echo(f"{one['slug']}: {one['error']}", err=True)
        else:
            click.echo(f"{one['slug']}: {one['records']:,} records are in force.")
    return failed


def _pack(folder: Path, into: Path) -> None:
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())


def _send(api: Api, slug: str, path: Path, progress: Progress) -> None:
    api.post("/vulnerability-feeds", {"slug": slug, "title": f"From files: {path.name}"[:200]})
    size = path.stat().st_size
    task = progress.add_task(slug, total=size)
    with path.open("rb") as file:
        offset = 0
        while True:
            part = file.read(PART)
            last = offset + len(part) >= size
            body = {"offset": offset, "content": base64.b64encode(part).decode(), "last": last}
            api.raw("PUT", f"/vulnerability-feeds/{slug}/file", body)
            offset += len(part)
            progress.update(task, completed=offset)
            if last:
                return


def _wait(api: Api, slugs: list[str], tell: Callable[[list[str]], None]) -> list[dict[str, Any]]:
    """Wait until the worker has taken these feeds."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        found = [one for one in api.get("/vulnerability-feeds") if one["slug"] in slugs]
        left = [one["slug"] for one in found if one["waiting"]]
        if not left:
            return found
        if time.monotonic() > until:
            raise CommandError(f"{', '.join(left)}: not taken yet; does the worker run? Try: forestall status")
        tell(left)
        time.sleep(0.5)


def _slug(path: Path) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", path.name.lower().partition(".")[0]).strip("-") or "feed"
    return f"file-{plain}"[:60].rstrip("-")


def _state(one: dict[str, Any]) -> str:
    if not one["enabled"]:
        return "off"
    if one["waiting"]:
        return "on its way"
    if one["error"]:
        return "failing, last good in force" if one["in_force"] else "failing"
    return "in force" if one["in_force"] else "not here yet"


# --- words ----------------------------------------------------------------------------------------------------------


def _question(api: Api, asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "client": find_client(api, asked["client"])["id"] if asked["client"] else None,
        "device": find_device(api, asked["device"])["id"] if asked["device"] else None,
        "severity": asked["severity"],
        "exploited": "true" if asked["exploited"] else None,
        "fixable": None if asked["fixable"] is None else str(asked["fixable"]).lower(),
        "q": asked["q"],
        "at": _moment(asked["at"]).isoformat() if asked["at"] else None,
    }


def _some(api: Api, path: str, most: int, *, as_json: bool, **question: Any) -> list[dict[str, Any]]:
    with console().status("Looking…"):
        if as_json and most == 0:
            return everything(api, path, **question)
        found: list[dict[str, Any]] = api.get(path, limit=min(most, 500), **question)["items"]
        return found


def _moment(text: str, *, forward: bool = False) -> datetime:
    """A day (its end, in UTC), a moment, or with ``forward`` a span from now."""
    try:
        if forward and re.fullmatch(r"\d{1,4}d", text):
            return datetime.now(UTC) + timedelta(days=int(text[:-1]))
        found = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is no date, such as 2027-03-31{' or 90d' if forward else ''}") from None
    if len(text) == len("2027-03-31"):
        found += timedelta(hours=23, minutes=59, seconds=59)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _severity(word: str) -> Text:
    return Text(word or "unrated", style=STYLE.get(word, ""))


def _likely(epss: float | None) -> str:
    return "not known" if epss is None else f"{epss:.0%} likely"


def _names(one: dict[str, Any]) -> str:
    names = [device["name"] for device in one["devices"]]
    more = one["device_count"] - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")


def _print_marks(found: list[dict[str, Any]]) -> None:
    print_table(
        ("#", "Vulnerability", "Mark", "Client", "Package", "Until", "By", "Why"),
        [
            (
                str(one["id"]),
                one["vulnerability"],
                one["mark"].replace("_", " ") + (" (ended)" if one["ended_at"] else ""),
                one["client"]["name"] + (" (one device)" if one["device"] else ""),
                one["package"] or "every",
                (one["expires_at"] or "no end")[:10],
                one["by"],
                one["reason"],
            )
            for one in found
        ],
        empty="Nothing was said of any.",
    )


COMMANDS = (
    vulns_list, vulns_actions, vulns_show, vulns_accept, vulns_mark, vulns_unmark, vulns_marks, vulns_sbom,
    vulns_feeds, vulns_import,
)  # fmt: skip
