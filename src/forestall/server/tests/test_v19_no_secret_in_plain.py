"""V19: no secret stands in plain text in the database, a log, a backup, a report or in what leaves with a client.

An installation of its own is made by the product's own steps; secrets of every kind are planted through its own
services, and used, and misused, while everything is logged. Then every byte it wrote is searched for every secret.
"""

from __future__ import annotations

import base64
import json
import sqlite3
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest

from forestall.server.backup.tests.backup_world import environment
from forestall.server.home import Home

PLANT = """
import json, logging, os, secrets, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "forestall.server.settings"
import django; django.setup()
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.conf import settings
from django.test import Client as Browser
from forestall.server.alerts.routes import route_create, route_test
from forestall.server.backup.rules import Settings
from forestall.server.backup.services import backup_make
from forestall.server.checks.result import Risk
from forestall.server.clients.services import client_add, site_add
from forestall.server.evidence.log_key import log_key_read
from forestall.server.evidence.services import checkpoints_sign
from forestall.server.home import current_home
from forestall.server.inventory.models import Device
from forestall.server.inventory.services import enrolment_token_create
from forestall.server.metrics.store import open_store
from forestall.server.people.access_review import access_review_csv
from forestall.server.people.models import Person
from forestall.server.people.persons import password_show
from forestall.server.people.queries import scope_of
from forestall.server.people.roles import Role
from forestall.server.people import signin_policy
from forestall.server.people.scope import Scope
from forestall.server.people.signin_policy import provider_add
from forestall.server.people.services import person_create, token_create
from forestall.server.reports import services as reports
from forestall.server.tickets import services as tickets
from forestall.server.tickets.requests import ticket_open
from forestall.server.tickets.rules import Urgency
from forestall.server.transfer.leaving import client_export
from forestall.server.webhooks.services import deliveries_send, webhook_make, webhook_ping, webhook_rotate

signin_policy.discover = lambda issuer: {"issuer": issuer}
logging.getLogger().setLevel(logging.DEBUG)
settings.ALLOWED_HOSTS = ["*"]
many, home, now, scope = int(sys.argv[1]), current_home(), datetime.now(UTC), Scope.system("story")
found = {}

def plant(kind, value):
    found.setdefault(kind, []).append(value)
    return value

acme = client_add(name="Acme", timezone="UTC", scope=scope, now=now)
site = site_add(client=acme, name="Munich", scope=scope, now=now)
owner = person_create(username="ada", password=plant("password", secrets.token_urlsafe(16)), role=Role.OWNER)
for number in range(max(2, many // 8)):
    password = plant("password", secrets.token_urlsafe(16))
    person = person_create(username=f"p{number}", password=password, role=Role.OWNER)
    seed = plant("seed of an authenticator", generate_totp_secret())
    TOTP.activate(person, seed)
    codes = RecoveryCodes.activate(person)
    for code in codes.generate_codes():
        plant("recovery code", code)
    browser = Browser(raise_request_exception=False)
    browser.force_login(person)
    session = browser.session
    session["half done"] = plant("secret in a session", secrets.token_urlsafe(24))
    session.save()
    plant("key of a session", browser.cookies[settings.SESSION_COOKIE_NAME].value)
    browser.get("/account/")
    wrong = plant("password typed wrongly", secrets.token_urlsafe(16))
    Browser().post("/accounts/login/", {"login": f"p{number}", "password": wrong})
    Browser().post("/accounts/login/", {"login": f"p{number}", "password": password})
for number in range(many):
    token = plant("API token", token_create(person=owner, name=f"token {number}"))
    if number % 5 == 0:
        Browser(raise_request_exception=False).get("/api/v1/devices", headers={"authorization": f"Bearer {token}"})
        never = plant("API token that is none", "fst1." + secrets.token_urlsafe(32))
        Browser(raise_request_exception=False).get("/api/v1/devices", headers={"authorization": f"Bearer {never}"})
    enrolment = enrolment_token_create(
        site=site, scope=scope, now=now, ca_fingerprint="c" * 64, root_fingerprint="r" * 64
    )
    plant("enrolment token", enrolment.split(".")[1])
    secret = plant("password in a notification's address", secrets.token_urlsafe(16))
    address = f"json://told:{secret}@127.0.0.1:9/x"
    route = route_create(
        name=f"route {number}", url=address, minimum_risk=Risk.LOW, client=acme, scope=scope, now=now
    )
    if number % 10 == 0:
        route_test(route=route, scope=scope, now=now)
    if number < 20:
        provider_add(
            provider_id=f"p{number}", name=f"Provider {number}", issuer="https://login.example.org",
            client_id="forestall",
            secret=plant("secret of single sign-on", secrets.token_urlsafe(24)),
        )
        Browser(raise_request_exception=False).post(f"/accounts/oidc/p{number}/login/")
    if number < 30:
        inside = plant("password in a webhook's address", secrets.token_urlsafe(16))
        address = f"http://127.0.0.1:9/{inside}"
        hook, said = webhook_make(name=f"hook {number}", url=address, client=acme, scope=scope, now=now)
        plant("secret of a webhook", said)
        plant("secret of a webhook", webhook_rotate(webhook=hook, scope=scope, now=now)[1])
        webhook_ping(webhook=hook, scope=scope, now=now)
deliveries_send(now=now)
other = Person.objects.get(username="p1")
plant("password that was set for somebody", password_show(person=other, scope=scope_of(owner), now=now))
ticket = ticket_open(title="Printer", text="It burns", urgency=Urgency.ONE, site=site, scope=scope, now=now)
tickets.ticket_resolve(ticket=ticket, reason="Water", scope=scope, now=now)
report = reports.service_report_make(ticket=ticket, now=now)
log_key = log_key_read(home=home)
checkpoints_sign(now=now, log_key=log_key)
out = home.root.parent / "out"
out.mkdir()
(out / "report.pdf").write_bytes(bytes(report.pdf))
(out / "review.csv").write_text(access_review_csv(scope=scope, now=now))
client_export(client=acme, path=out / "acme.zip", scope=scope, now=now, log_key=log_key, store=open_store(home))
for name in ("secret_key", "session_secret", "log_key"):
    path = getattr(home, name)
    if path.exists():
        plant(f"bytes of {path.name}", path.read_bytes().hex())
for path in home.operator.rglob("*"):
    if path.is_file() and path.suffix == ".key":
        plant("bytes of an operator's key", path.read_bytes().hex())
made = backup_make(home=home, settings=Settings.read(os.environ, default_folder=home.backups), now=now)
print(json.dumps({"secrets": found, "backup": str(made.file), "said": str(made)}))
"""
MAIL_PASSWORD = "mail-secret-Kp7vTq2mXw"
# Files whose very content is a key: they are readable by the server alone, and are in no copy of the database.
KEYS = {"secret.key", "sessions.key", "log.key", "backup.key"}


def planted(folder: Path, many: int) -> tuple[Home, dict[str, list[str]], bytes, dict[str, str]]:
    home = Home(folder / "home")
    extra = {
        "FORESTALL_MAIL_URL": f"smtp://robot:{MAIL_PASSWORD}@127.0.0.1:9/?tls=none",
        "FORESTALL_MAIL_FROM": "desk@example.org",
    }
    log = b""
    for arguments in (["-m", "forestall.server.installation", "prepare"], ["-c", PLANT, str(many)]):
        done = subprocess.run(
            [sys.executable, *arguments],
            env=environment(home.root, **extra),
            capture_output=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        log += done.stderr
    answer = json.loads(done.stdout.decode().splitlines()[-1])
    secrets: dict[str, list[str]] = answer["secrets"]
    secrets["password of the mail server"] = [MAIL_PASSWORD]
    return home, secrets, log, answer


def forms(secret: str) -> list[bytes]:
    """How a secret could stand somewhere: as it is, as its bytes, in the usual codings."""
    plain = secret.encode()
    found = [plain, plain.hex().encode(), base64.b64encode(plain).rstrip(b"="), plain[::-1]]
    if len(secret) >= 64 and all(letter in "0123456789abcdef" for letter in secret):
        raw = bytes.fromhex(secret)
        found += [raw, base64.b64encode(raw).rstrip(b"="), base64.urlsafe_b64encode(raw).rstrip(b"=")]
    return found


def sinks(home: Home, log: bytes, answer: dict[str, str]) -> dict[str, bytes]:
    """Every place where a secret must not stand, by name."""
    found = {"the log": log, "what the backup said of itself": answer["said"].encode()}
    for path in sorted(home.root.rglob("*")):
        if path.is_file() and path.name not in KEYS and path.suffix != ".pem" and home.operator not in path.parents:
            found[str(path.relative_to(home.root))] = path.read_bytes()
    for name in ("forestall.sqlite3", "journal.sqlite3", "samples.sqlite3"):
        path = home.server / name
        if path.exists():
            connection = sqlite3.connect(path)
            found[f"dump of {name}"] = "\n".join(connection.iterdump()).encode(errors="replace")
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall():
                for row in connection.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - names of our own tables
                    for value in row:
                        if isinstance(value, bytes) and value[:1] == b"\x78":
                            with_inside = zlib.decompressobj()
                            try:
                                found[f"inside {table}"] = found.get(f"inside {table}", b"") + with_inside.decompress(
                                    value
                                )
                            except zlib.error:
                                continue
            connection.close()
    out = home.root.parent / "out"
    for path in out.iterdir():
        found[path.name] = path.read_bytes()
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                found |= {f"{path.name}: {name}": archive.read(name) for name in archive.namelist()}
    return found


def search(folder: Path, many: int) -> tuple[int, list[tuple[str, str]]]:
    home, secrets, log, answer = planted(folder, many)
    everything = sinks(home, log, answer)
    assert any(name.startswith("backups/") for name in everything), "the backup is searched too"
    assert len(log) > 1000, "the log is there to be searched"
    leaks = [
        (kind, where)
        for where, content in everything.items()
        for kind, values in secrets.items()
        for value in values
        if any(form in content for form in forms(value))
    ]
    return sum(map(len, secrets.values())), sorted(set(leaks))


def test_v19_of_the_planted_secrets_none_is_found(tmp_path):
    planted_count, leaks = search(tmp_path, 40)
    assert leaks == []
    assert planted_count > 200


@pytest.mark.soak
def test_v19_of_1000_planted_secrets_none_is_found(tmp_path):
    planted_count, leaks = search(tmp_path, 340)
    assert leaks == []
    assert planted_count >= 1000


def test_v19_the_search_finds_what_is_there(tmp_path):
    """Else it would prove nothing: a secret in a table, in the write-ahead log, in a packed cell."""
    home = Home(tmp_path / "home")
    home.server.mkdir(parents=True)
    (tmp_path / "out").mkdir()
    connection = sqlite3.connect(home.database)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t (a TEXT, b BLOB)")
    connection.execute("INSERT INTO t VALUES ('plain-secret', ?)", [zlib.compress(b"packed-secret" * 3)])
    connection.commit()
    found = sinks(home, b"", {"said": ""})
    connection.close()
    for secret in ("plain-secret", "packed-secret"):
        assert any(form in content for content in found.values() for form in forms(secret)), secret
