"""Ada keeps two servers apart, makes a token for a script, tells a chat program, and asks what has no command."""

from __future__ import annotations

import json
import stat

import click
import pytest
from click.testing import CliRunner

from forestall.cli.errors import CommandError
from forestall.cli.main import COMMANDS, cli
from forestall.cli.profile import profiles_file


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("FORESTALL_PROFILE", raising=False)
    return tmp_path / "config"


def said(done) -> str:
    assert done.exception is None, done.exception
    return done.output


def refused(done) -> str:
    assert isinstance(done.exception, click.ClickException), done.output
    return done.exception.format_message()


# --- profiles ------------------------------------------------------------------------------------------------------


def test_two_servers_are_kept_apart(forestall, config, monkeypatch, live_server):
    import os

    token = os.environ["FORESTALL_TOKEN"]
    monkeypatch.delenv("FORESTALL_TOKEN")
    monkeypatch.delenv("FORESTALL_URL")
    out = said(forestall("profile", "add", "work", "--url", f"{live_server.url}/", "--token", "-", answer=f"{token}\n"))
    assert "used by default" in out
    assert token not in out
    said(forestall("profile", "add", "far", "--url", "https://far.example.org", "--token", "x", "--unchecked"))
    assert stat.S_IMODE(profiles_file().stat().st_mode) == 0o600
    assert [one["name"] for one in json.loads(said(forestall("profile", "list", "--json")))] == ["far", "work"]
    assert token not in said(forestall("profile", "list"))
    assert "web-01" in said(forestall("devices"))
    assert "no profile is called 'fra'; known: far, work" in refused(forestall("--profile", "fra", "devices"))
    monkeypatch.setenv("FORESTALL_PROFILE", "far")
    assert "far.example.org does not answer" in refused(forestall("devices"))
    assert "web-01" in said(forestall("--profile", "work", "devices")), "what is said now counts more"
    monkeypatch.delenv("FORESTALL_PROFILE")
    said(forestall("profile", "use", "far"))
    monkeypatch.setenv("FORESTALL_URL", live_server.url)
    monkeypatch.setenv("FORESTALL_TOKEN", token)
    assert "web-01" in said(forestall("devices")), "the environment counts more than the default"
    said(forestall("profile", "remove", "far"))
    assert "no profile is called 'far'" in refused(forestall("profile", "use", "far"))


def test_a_profile_that_is_no_good_is_not_kept(forestall, config, live_server):
    wrong = forestall("profile", "add", "work", "--url", live_server.url, "--token", "fsp_wrong")
    assert "unknown or expired" in refused(wrong)
    assert not profiles_file().exists()
    for name, url in (("a b", live_server.url), ("", live_server.url), ("x", "far.example.org")):
        assert refused(forestall("profile", "add", name, "--url", url, "--token", "x", "--unchecked"))


def test_a_file_that_others_can_read_is_not_used(config):
    profiles_file().parent.mkdir(parents=True)
    profiles_file().write_text('{"profiles": {}}')
    profiles_file().chmod(0o644)
    run = CliRunner().invoke(cli, ["profile", "list"], standalone_mode=False)
    assert isinstance(run.exception, CommandError)
    assert "chmod 600" in str(run.exception)
    profiles_file().chmod(0o600)
    profiles_file().write_text("[")
    run = CliRunner().invoke(cli, ["profile", "list"], standalone_mode=False)
    assert "is not what `forestall profile` wrote" in str(run.exception)


# --- any route -----------------------------------------------------------------------------------------------------


def test_any_route_can_be_asked(forestall, device):
    found = json.loads(said(forestall("api", "GET", "/devices", "-f", "status=approved", "-f", "limit=1", "--json")))
    assert found["items"][0]["name"] == "web-01"
    assert [one["name"] for one in json.loads(said(forestall("api", "get", "/api/v1/devices?limit=1", "--all")))] == [
        "web-01"
    ]
    made = json.loads(said(forestall("api", "POST", "/tokens", "-f", "name=script", "--key", "once")))
    again = json.loads(
        said(forestall("api", "POST", "/tokens", "-i", "-", "--key", "once", answer='{"name": "script"}'))
    )
    assert again == made
    assert said(forestall("api", "DELETE", f"/tokens/{made['id']}")) == ""
    assert "unknown field 'nmae'" in refused(forestall("api", "POST", "/tokens", "-f", "nmae=x"))
    assert "HTTP 404" in refused(forestall("api", "GET", "/nothing"))
    assert "no longer as you have seen it" in refused(
        forestall("api", "POST", f"/devices/{device.pk}/approve", "--if-match", '"x"')
    )
    for wrong in (["GET", "devices"], ["POST", "/tokens", "-f", "x"], ["GET", "/checks/kinds", "--all"]):
        assert refused(forestall("api", *wrong))


# --- tokens and webhooks -------------------------------------------------------------------------------------------


def test_a_token_for_a_script(forestall, monkeypatch):
    made = forestall("token", "make", "nightly", "--may", "device.view", "--client", "Acme Ltd", "--ends", "30d")
    token = next(line for line in said(made).splitlines() if line.startswith("fsp_"))
    assert "shown only now" in made.output
    assert "nightly" in said(forestall("token", "list"))
    row = next(one for one in json.loads(said(forestall("token", "list", "--json"))) if one["name"] == "nightly")
    assert row["client"]["name"] == "Acme Ltd"
    assert "expected a span" in refused(forestall("token", "make", "x", "--ends", "soon"))
    assert "no client is called 'Bolt'" in refused(forestall("token", "make", "x", "--client", "Bolt"))
    monkeypatch.setenv("FORESTALL_TOKEN", token)
    assert "web-01" in said(forestall("devices"))
    assert "ticket.view" in refused(forestall("tickets"))
    said(forestall("token", "revoke", str(row["id"])))
    assert "unknown or expired" in refused(forestall("devices"))


def test_a_webhook_is_made_tried_and_removed(forestall):
    assert "No program is told" in said(forestall("webhooks", "list"))
    made = said(forestall("webhooks", "make", "chat", "--url", "http://127.0.0.1:1/x", "--event", "ticket.opened"))
    assert made.startswith("fsw_")
    assert "chat" in said(forestall("webhooks", "list"))
    assert "test message" in said(forestall("webhooks", "ping", "chat"))
    sent = json.loads(said(forestall("webhooks", "log", "chat", "--json")))
    assert [one["event"] for one in sent] == ["webhook.ping"]
    assert "webhook.ping" in said(forestall("webhooks", "log", "chat"))
    assert "still waits" in refused(forestall("webhooks", "repeat", "chat", sent[0]["id"][:8]))
    assert said(forestall("webhooks", "rotate", "chat")).startswith("fsw_")
    assert "nothing for the time" in said(forestall("webhooks", "pause", "chat"))
    assert "from now on" in said(forestall("webhooks", "resume", "chat"))
    assert "known: chat" in refused(forestall("webhooks", "ping", "chta")).replace("called 'chta': ", "known: ")
    assert "is not taken" in refused(forestall("webhooks", "make", "x", "--url", "ftp://example.org/"))
    said(forestall("webhooks", "remove", "chat"))


# --- completion ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_lines_for_a_shell(shell):
    done = CliRunner().invoke(cli, ["completion", shell], standalone_mode=False)
    assert "_FORESTALL_COMPLETE" in said(done)
    assert f"{shell}_complete" in done.output


def complete(words: str, number: int) -> set[str]:
    run = CliRunner().invoke(
        cli,
        [],
        prog_name="forestall",
        env={"_FORESTALL_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(number)},
    )
    return {line.partition(",")[2] for line in run.output.splitlines()}


def test_tab_completes_commands_and_what_belongs_to_them():
    assert complete("forestall ", 1) == set(COMMANDS)
    assert complete("forestall tok", 1) == {"token"}
    assert complete("forestall --prof", 1) == {"--profile"}
    assert complete("forestall webhooks re", 2) == {"repeat", "resume", "remove"}
    assert complete("forestall tickets --js", 2) == {"--json"}
