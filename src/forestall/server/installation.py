"""What ``forestall up`` does before and after the parts start: keys, database, first person, this machine's device.

Runs in a process of its own (``python -m forestall.server.installation prepare|enrol``), so that the supervisor
stays small. Every step looks at what is there and does only what is missing: it may be run, or killed, at any time.
Progress goes to stdout, a line a step.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import django
from django.core.management import call_command
from django.db import OperationalError

from forestall.server.database.url import DatabaseUrlError
from forestall.server.home import (
    Home,
    console_address,
    current_home,
    intake_address,
    read_or_make_secret,
    write_private,
)

BASELINE_SECONDS = 90
INTAKE_LOOKS_SECONDS = 1.2
FIRST_CLIENT = "My organisation"
FIRST_SITE = "Main site"
FIRST_USERNAME = "admin"


class InstallationError(RuntimeError):
    """A step that cannot be done; the message says why and what to do."""


def say(text: str) -> None:
    """One line of progress."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def first_person_file(home: Home) -> Path:
    """How the first person signs in: what first-run.json is written from at every start."""
    return home.server / "first-person.json"


def prepare(home: Home) -> None:
    """Keys, database, certificates, runbooks, first client, site and person."""
    from forestall.server.certificates import certificates_ensure
    from forestall.trust.keys import new_key, private_bytes

    for folder in (home.root, home.server, home.server / "static", home.logs, home.run, home.agent):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    read_or_make_secret(home.secret_key)
    read_or_make_secret(home.session_secret)
    if not home.log_key.exists():
        write_private(home.log_key, private_bytes(new_key()))
    say("Keys of this server")
    say(_database(home))
    certificates_ensure(home=home, address=intake_address(), now=datetime.now(UTC))
    say("Certificates")
    _operator(home)
    say("Operator's keys and signed runbooks")
    _first_person(home)
    say("First client, site and person")


def _database(home: Home) -> str:
    """Migrate; on PostgreSQL also roles, grants and walls, anew at every start: a new version brings new tables."""
    from forestall.server.database.url import NO_ROLES, SWITCH, database_url

    call_command("migrate", interactive=False, verbosity=0)
    url = database_url(home)
    if url is None:
        return "Database"
    switch = os.environ.get(SWITCH, "")
    if switch not in ("", NO_ROLES):
        raise InstallationError(f"{SWITCH}={switch!r} is not {NO_ROLES!r}")
    if switch == NO_ROLES:
        return "Database (PostgreSQL; no roles, no row-level security)"
    from forestall.server.database.roles import RolesError, connect, roles_ensure, secure

    try:
        roles = roles_ensure(url=url, home=home)
        with connect(url) as owner:
            secure(owner, roles=roles)
    except RolesError as error:
        raise InstallationError(str(error)) from None
    return "Database (PostgreSQL; a role for each part, row-level security)"


def _operator(home: Home) -> None:
    from forestall.server.runbooks.operator import operator_init
    from forestall.server.runbooks.queries import authority_is_installed
    from forestall.server.runbooks.services import authority_install

    # Made here only for a first try on one machine: once it was moved to the operator's own, it stays away.
    if home.operator.exists() or not authority_is_installed():
        authority_install(bundle=operator_init(folder=home.operator, now=datetime.now(UTC)), now=datetime.now(UTC))


def _first_person(home: Home) -> None:
    from django.db import transaction

    from forestall.server.people.models import Person
    from forestall.server.people.queries import sites
    from forestall.server.people.roles import Role
    from forestall.server.people.scope import Scope
    from forestall.server.people.services import client_create, person_create, site_create, token_create

    if Person.objects.exists():
        return
    password = secrets.token_urlsafe(15)
    with transaction.atomic():
        if not sites(scope=Scope.system("installation")).exists():
            site_create(client=client_create(name=FIRST_CLIENT, timezone=system_timezone()), name=FIRST_SITE)
        person = person_create(username=FIRST_USERNAME, password=password, role=Role.OWNER)
        token = token_create(person=person, name="first run")
        content = {"username": FIRST_USERNAME, "password": password, "api_token": token}
        # Written before the commit: a password that nobody was told would lock the owner out for good.
        write_private(first_person_file(home), json.dumps(content).encode())


def system_timezone() -> str:
    """This machine's IANA time zone; UTC when it does not say."""
    if Path("/etc/timezone").exists():
        name = Path("/etc/timezone").read_text().strip()
    else:
        target = os.path.realpath("/etc/localtime")
        name = target.partition("zoneinfo/")[2]
    return name if name and name not in {"Etc/UTC", "Etc/UCT"} else "UTC"


def enrol(home: Home) -> None:
    """Enrol and approve this machine as the first device."""
    from forestall.server.certificates import ca_fingerprint
    from forestall.server.inventory.queries import devices
    from forestall.server.inventory.services import device_approve, enrolment_token_create
    from forestall.server.people.queries import sites
    from forestall.server.people.scope import Scope
    from forestall.server.runbooks.queries import root_key_id

    scope = Scope.system("forestall up")
    enrolment = home.agent / "enrolment.json"
    now = datetime.now(UTC)
    if not enrolment.exists():
        token = enrolment_token_create(
            site=sites(scope=scope)[0],
            scope=scope,
            now=now,
            ca_fingerprint=ca_fingerprint(home),
            root_fingerprint=root_key_id(),
        )
        # The token goes through the environment: command lines can be read by every user of a machine.
        done = subprocess.run(
            [sys.executable, "-m", "forestall.cli.main", "agent", "enrol", "--server", f"https://{intake_address()}"],
            env={**os.environ, "FORESTALL_ENROLMENT_TOKEN": token},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise InstallationError(f"this machine could not be enrolled: {(done.stderr or done.stdout).strip()}")
    device_id = UUID(json.loads(enrolment.read_text())["device_id"])
    device = devices(scope=scope).filter(pk=device_id).first()
    if device is None:
        raise InstallationError(
            f"{enrolment} names device {device_id}, which this server does not know; "
            f"move {home.agent} away to enrol this machine anew"
        )
    if device.status == "pending":
        device_approve(device=device, scope=scope, now=now)
        # Intake reads the devices anew each second; an agent that comes before that is told to wait.
        time.sleep(INTAKE_LOOKS_SECONDS)
    say(f"This machine enrolled as {device.name}")


def baseline(home: Home) -> None:
    """Wait for this machine's first facts and their judgement, then say in one line what was found."""
    from forestall.server.checks.queries import checks
    from forestall.server.inventory.queries import devices, facts_meta
    from forestall.server.outbox.models import OutboxEvent
    from forestall.server.people.scope import Scope
    from forestall.wire.facts import DOCUMENT_BY_NAME

    scope = Scope.system("forestall up")
    device_id = UUID(json.loads((home.agent / "enrolment.json").read_text())["device_id"])
    deadline = time.monotonic() + BASELINE_SECONDS
    device = devices(scope=scope).get(pk=device_id)
    while True:
        missing = set(DOCUMENT_BY_NAME) - set(facts_meta(scope=scope, device=device))
        # What arrived is judged once nobody is left to be told of it.
        waiting = OutboxEvent.objects.filter(subject=str(device_id)).exists()
        if not missing and not waiting:
            break
        if time.monotonic() > deadline:
            what = (
                f"these facts did not arrive: {', '.join(sorted(missing))}" if missing else "the facts were not judged"
            )
            raise InstallationError(
                f"no baseline within {BASELINE_SECONDS} s: {what}; see {home.logs}/agent.log and worker.log"
            )
        time.sleep(0.2)
    counts: dict[str, int] = {}
    for status in checks(scope=scope).filter(device=device).values_list("status", flat=True):
        counts[status] = counts.get(status, 0) + 1
    problems = counts.get("fail", 0) + counts.get("warn", 0)
    unseen = counts.get("unknown", 0) + counts.get("stale", 0)
    say(f"Baseline: {problems} need attention, {counts.get('pass', 0)} pass, {unseen} could not be seen")
    announce(home, device_id)


def announce(home: Home, device_id: UUID | None = None) -> None:
    """Write first-run.json: everything is ready."""
    content = {
        **json.loads(first_person_file(home).read_text()),
        "console_url": f"http://{console_address()}",
        "intake_url": f"https://{intake_address()}",
        "ca_file": str(home.ca_file),
        "device_id": None if device_id is None else str(device_id),
    }
    write_private(home.first_run, json.dumps(content, indent=2).encode() + b"\n")


def main(arguments: list[str]) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "forestall.server.settings")
    home = current_home()
    if arguments == ["prepare"]:
        # Before Django reads its settings: the key must be there.
        home.server.mkdir(mode=0o700, parents=True, exist_ok=True)
        read_or_make_secret(home.secret_key)
    try:
        django.setup()
    except DatabaseUrlError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    logging.getLogger().setLevel(logging.WARNING)
    steps = {"prepare": prepare, "enrol": enrol, "baseline": baseline, "announce": announce}
    try:
        for name in arguments:
            steps[name](home)
    except InstallationError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (OSError, OperationalError) as error:
        # A full disk, above all, or a database server that is not there. Every step may be run again.
        sys.stderr.write(f"{home.root}: {' '.join(str(error).split())}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
