"""``forestall person`` and ``forestall signin`` on the server itself."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from django.test import Client as Browser

from forestall.cli import local
from forestall.cli.errors import report_errors
from forestall.cli.person import person
from forestall.cli.signin import signin
from forestall.server.home import current_home, read_or_make_secret, write_private
from forestall.server.people.models import Person, RolePolicy
from forestall.server.people.roles import Role
from forestall.server.people.services import client_create, person_create, site_create, token_create
from forestall.server.people.signin_limits import count_try
from forestall.trust.keys import new_key, private_bytes

PASSWORD = "correct horse battery"


@pytest.fixture
def server(tmp_path, monkeypatch, db):
    monkeypatch.setenv("FORESTALL_HOME", str(tmp_path))
    home = current_home()
    home.server.mkdir(parents=True)
    read_or_make_secret(home.secret_key)
    write_private(home.log_key, private_bytes(new_key()))
    site_create(client=client_create(name="Ashdown Dental", timezone="UTC"), name="Leeds")
    person_create(username="ada", password=PASSWORD, role=Role.OWNER)
    return home


def run(command, *arguments: str, said: str = ""):
    """Exit code and all that was printed."""
    return CliRunner().invoke(command, list(arguments), input=said)


def test_a_person_is_made_with_a_password_from_standard_input(server):
    done = run(
        person, "create", "grace", "--role", "technician", "--client", "Ashdown Dental", "--site", "Leeds",
        "--email", "grace@example.org", said=f"{PASSWORD}\n",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    grace = Person.objects.get(username="grace")
    assert grace.check_password(PASSWORD)
    assert [(grant.role, str(grant.site)) for grant in grace.grants.all()] == [("technician", "Leeds")]
    listed = json.loads(run(person, "list", "--json").output)
    assert [one["username"] for one in listed] == ["ada", "grace"]
    assert listed[1]["roles"] == ["technician (Ashdown Dental · Leeds)"]
    assert "grace" in run(person, "list").output


@pytest.mark.parametrize(
    ("arguments", "said", "why"),
    [
        (("grace", "--role", "king"), PASSWORD, "'king' is none; known: owner"),
        (("grace", "--role", "owner", "--client", "Nobody"), PASSWORD, "no client is called 'Nobody'"),
        (("grace", "--role", "technician", "--site", "Leeds"), PASSWORD, "name its client too"),
        (("grace", "--role", "owner"), "short", "too short"),
        (("grace", "--role", "owner"), "passwordpassword1", ""),
        (("ada", "--role", "owner"), PASSWORD, "ada"),
        (("grace", "--role", "owner"), "", "nothing came on standard input"),
    ],
)
def test_what_is_wrong_is_named_and_nobody_made(server, arguments, said, why):
    done = run(person, "create", *arguments, said=f"{said}\n" if said else "")
    if why:
        assert done.exit_code != 0
        assert why in done.output
        assert Person.objects.count() == 1


def test_no_password_is_an_argument(server):
    assert not [
        option
        for command in person.commands.values()
        for parameter in command.params
        for option in parameter.opts
        if "pass" in option
    ]


def test_a_new_password_signs_out_everywhere(server):
    browser = Browser()
    browser.force_login(Person.objects.get(username="ada"))
    assert browser.get("/keys").status_code == 200
    assert run(person, "passwd", "ada", said="another good one here\n").exit_code == 0
    assert browser.get("/keys").status_code == 302
    assert Person.objects.get(username="ada").check_password("another good one here")
    assert "too short" in run(person, "passwd", "ada", said="short\n").output


def test_somebody_is_switched_off_and_on(server):
    grace = person_create(username="grace", password=PASSWORD, role=Role.TECHNICIAN)
    token = token_create(person=grace, name="program")
    headers = {"Authorization": f"Bearer {token}"}
    assert Browser().get("/api/v1/devices", headers=headers).status_code == 200
    assert run(person, "disable", "grace").exit_code == 0
    assert Browser().get("/api/v1/devices", headers=headers).status_code == 401
    assert run(person, "enable", "grace").exit_code == 0
    assert Browser().get("/api/v1/devices", headers=headers).status_code == 200
    last = run(person, "disable", "ada")
    assert last.exit_code != 0
    assert "owner" in last.output
    assert Person.objects.get(username="ada").is_active


def test_a_locked_person_is_let_try_again(server, rf):
    request = rf.post("/accounts/login/")
    for _ in range(5):
        count_try(request=request, name="ada")
    assert run(person, "unlock", "ada").exit_code == 0
    count_try(request=request, name="ada")


def test_somebody_who_is_not_there_is_named_with_those_who_are(server):
    done = run(person, "mfa-reset", "grcae")
    assert "nobody here is called 'grcae'; there are: ada" in done.output


def test_sessions_are_shown_and_ended(server):
    browser = Browser(headers={"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"})
    browser.post("/accounts/login/", {"login": "ada", "password": PASSWORD})
    shown = json.loads(run(person, "sessions", "ada", "--json").output)
    assert [one["browser"] for one in shown["sessions"]] == ["Firefox on Linux"]
    assert shown["events"][0]["kind"] == "signin:in"
    assert "Firefox on Linux" in run(person, "sessions", "ada").output
    run(person, "sessions", "ada", "--end")
    assert browser.get("/keys").status_code == 302
    assert "signed in nowhere" in run(person, "sessions", "ada").output


def test_a_role_is_made_to_need_a_second_factor(server):
    done = run(signin, "require-mfa", "owner")
    assert "These have none yet and are asked to set one up first: ada" in done.output
    assert RolePolicy.objects.get(role="owner").mfa_required
    assert json.loads(run(signin, "show", "--json").output)["second_factor_needed_by"] == ["owner"]
    run(signin, "require-mfa", "owner", "--off")
    assert "no role" in run(signin, "show").output
    assert "'king' is none" in run(signin, "require-mfa", "king").output


def test_a_provider_that_does_not_answer_is_not_set_up(server):
    done = run(signin, "oidc", "add", "acme", "--issuer", "http://127.0.0.1:9", "--client-id", "x", said="secret\n")
    assert "cannot be read" in done.output
    assert "'acme' is not set up" in run(signin, "oidc", "remove", "acme").output
    short = run(signin, "oidc", "add", "Ac/me", "--issuer", "http://127.0.0.1:9", "--client-id", "x", said="secret\n")
    assert "no short name" in short.output


def test_the_mail_server_is_tried(server, settings):
    assert "FORESTALL_MAIL_URL is not set" in run(signin, "mail", "test", "ada@example.org").output
    settings.MAIL_IS_SET = True
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    assert "127.0.0.1:9 did not take the mail" in run(signin, "mail", "test", "ada@example.org").output


def test_without_an_installation_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FORESTALL_HOME", str(tmp_path))
    assert report_errors(local.open_installation) == 2
    assert "there is no Forestall server in" in capsys.readouterr().err
