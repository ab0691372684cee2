"""Profiles: several servers, or several tokens of one, each under a name."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from forestall.cli.errors import CommandError
from forestall.cli.show import as_json_option, print_json, print_table

VARIABLE = "FORESTALL_PROFILE"
NAME = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"


@dataclass(frozen=True, slots=True)
class Profile:
    """One server and one token."""

    url: str
    token: str


def profiles_file() -> Path:
    """Where profiles are kept, mode 600: ``profiles.json`` in the user's own configuration folder."""
    folder = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(folder) / "forestall" / "profiles.json"


def profile_named() -> str:
    """What ``--profile`` or FORESTALL_PROFILE says; empty: nothing."""
    context = click.get_current_context(silent=True)
    asked = context.find_root().params.get("profile") if context is not None else None
    return str(asked or os.environ.get(VARIABLE, ""))


def profile_chosen() -> Profile | None:
    """The profile of ``--profile`` or FORESTALL_PROFILE, else the one that is used by default; None: neither."""
    name = profile_named()
    kept = _read()
    if not name:
        name = kept["use"]
        if not name:
            return None
    found = kept["profiles"].get(name)
    if found is None:
        known = ", ".join(sorted(kept["profiles"])) or "none; make one with `forestall profile add`"
        raise CommandError(f"no profile is called {name!r}; known: {known}")
    return Profile(url=str(found["url"]), token=str(found["token"]))


@click.group()
def profile() -> None:
    """Servers and tokens under names: `--profile NAME` before any command, or `forestall profile use NAME`."""


@profile.command("add")
@click.argument("name")
@click.option("--url", required=True, help="Where the console is: https://forestall.example.org.")
@click.option("--token", help="A token of yours; `-`: from standard input. Left out: it is asked for, unseen.")
@click.option("--unchecked", is_flag=True, help="Keep it without asking the server whether it is good.")
@click.option("--use", "use_it", is_flag=True, help="Use it whenever no other is named.")
def profile_add(*, name: str, url: str, token: str | None, unchecked: bool, use_it: bool) -> int:
    """Keep a server and a token under NAME, and use them if they are the first."""
    if not name or len(name) > 40 or set(name) - set(NAME):
        raise CommandError(f"{name[:60]!r} cannot name a profile: up to 40 letters, digits and . _ -")
    url = url.rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise CommandError(f"--url {url[:80]!r} is no address like https://forestall.example.org")
    if token == "-":  # noqa: S105 - standard input, as everywhere
        token = sys.stdin.readline().strip()
    token = token or click.prompt("Token", hide_input=True, err=True)
    if not unchecked:
        from forestall.cli.client import Api

        Api(url=url, token=token).get("/tokens", limit=1)
    kept = _read()
    kept["profiles"][name] = {"url": url, "token": token}
    if use_it or len(kept["profiles"]) == 1:
        kept["use"] = name
    _write(kept)
    click.echo(f"{name} is kept in {profiles_file()}{' and used by default' if kept['use'] == name else ''}.")
    return 0


@profile.command("list")
@as_json_option
def profile_list(*, as_json: bool) -> int:
    """List profiles, without their tokens."""
    kept = _read()
    rows = [
        {"name": name, "url": one["url"], "is_used": name == kept["use"]}
        for name, one in sorted(kept["profiles"].items())
    ]
    if as_json:
        print_json(rows)
        return 0
    print_table(
        ("Profile", "Server", "Used"),
        [(str(one["name"]), str(one["url"]), "by default" if one["is_used"] else "") for one in rows],
        empty="No profile yet. Make one with: forestall profile add NAME --url https://…",
    )
    return 0


@profile.command("use")
@click.argument("name")
def profile_use(*, name: str) -> int:
    """Use NAME whenever no other profile is named; `-`: none, but FORESTALL_URL or this machine's own server."""
    kept = _read()
    if name != "-" and name not in kept["profiles"]:
        raise CommandError(f"no profile is called {name!r}; known: {', '.join(sorted(kept['profiles'])) or 'none'}")
    kept["use"] = "" if name == "-" else name
    _write(kept)
    click.echo("No profile is used by default." if name == "-" else f"{name} is used by default.")
    return 0


@profile.command("remove")
@click.argument("name")
def profile_remove(*, name: str) -> int:
    """Forget NAME. Its token stays good: revoke it with `forestall token revoke` if nothing else uses it."""
    kept = _read()
    if kept["profiles"].pop(name, None) is None:
        raise CommandError(f"no profile is called {name!r}; known: {', '.join(sorted(kept['profiles'])) or 'none'}")
    if kept["use"] == name:
        kept["use"] = ""
    _write(kept)
    click.echo(f"{name} is forgotten.")
    return 0


def _read() -> dict[str, Any]:
    path = profiles_file()
    try:
        if path.stat().st_mode & 0o077:
            raise CommandError(f"{path} can be read by others, and it holds tokens: chmod 600 {path}")
        kept = json.loads(path.read_text())
        return {"use": str(kept.get("use", "")), "profiles": dict(kept.get("profiles", {}))}
    except FileNotFoundError:
        return {"use": "", "profiles": {}}
    except (json.JSONDecodeError, AttributeError, TypeError, ValueError) as error:
        raise CommandError(f"{path} is not what `forestall profile` wrote: {error}") from None


def _write(kept: dict[str, Any]) -> None:
    path = profiles_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    # Made with its mode, not given it afterwards: at no time may others read a token.
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(kept, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
