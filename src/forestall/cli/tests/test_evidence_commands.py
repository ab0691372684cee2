"""``forestall evidence`` on a server's data folder, and ``forestall verify`` on what comes out."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FILL = """
from datetime import UTC, datetime
import django
django.setup()
from django.core.management import call_command
from django.db import transaction
from forestall.server.evidence.kinds import EvidenceKind
from forestall.server.evidence.services import evidence_append
from forestall.server.home import read_or_make_secret, write_private
from forestall.server.people.services import client_create
from forestall.server.settings import HOME

HOME.server.mkdir(parents=True)
write_private(HOME.log_key, bytes(range(32)))
read_or_make_secret(HOME.secret_key)
call_command("migrate", run_syncdb=True, verbosity=0)
for name, entries in (("Acme", 3), ("Bolt", 2), ("Quiet", 0)):
    client = client_create(name=name, timezone="UTC")
    for n in range(entries):
        with transaction.atomic():
            evidence_append(client=client, kind=EvidenceKind.TICKET_OPENED, payload={"n": n}, now=datetime.now(UTC))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evidence") / "home"
    done = python(folder, "-c", FILL)
    assert done.returncode == 0, done.stderr
    return folder


def python(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "FORESTALL_HOME": str(home),
        "DJANGO_SETTINGS_MODULE": "forestall.server.settings",
        "COLUMNS": "200",
    }
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def forestall(home: Path, *arguments: object) -> tuple[int, str]:
    done = python(home, "-m", "forestall.cli.main", *map(str, arguments))
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_export_verify_keep_and_compare(home: Path, tmp_path: Path) -> None:
    out, kept = tmp_path / "all.bundle", tmp_path / "kept"
    code, text = forestall(home, "evidence", "export", "--out", out)
    assert code == 0, text
    assert "Check it anywhere: forestall verify --log-key " in text
    fingerprint = text.split("--log-key ")[1].split()[0]
    code, text = forestall(home, "verify", "--log-key", fingerprint, out)
    assert code == 0, text
    assert "every client" in text
    assert "Acme" in text
    assert "Bolt" in text
    assert "Quiet" not in text
    assert forestall(home, "evidence", "checkpoint", "--out", kept)[0] == 0
    assert forestall(home, "verify", "--checkpoint", kept, out)[0] == 0
    code, text = forestall(home, "evidence", "list")
    assert code == 0
    assert fingerprint in text
    assert "Acme 3 3" in text


def test_one_client_alone(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "bolt.bundle"
    assert forestall(home, "evidence", "export", "--out", out, "--client", "bolt")[0] == 0
    code, text = forestall(home, "verify", out)
    assert code == 0
    assert "chosen clients" in text
    assert "Acme" not in text
    code, text = forestall(home, "evidence", "export", "--out", tmp_path / "x", "--client", "Nobody")
    assert (code, "there is no client 'Nobody'; known: Acme, Bolt, Quiet" in text) == (2, True)
    code, text = forestall(home, "evidence", "export", "--out", tmp_path / "x", "--client", "Quiet")
    assert (code, "this client has no evidence yet" in text) == (2, True)
    assert [file.name for file in tmp_path.iterdir()] == ["bolt.bundle"]


def test_nothing_is_overwritten_unasked(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "precious"
    out.write_text("mine")
    for command in ("export", "checkpoint"):
        code, text = forestall(home, "evidence", command, "--out", out)
        assert (code, "exists; pass --force to replace it" in text) == (2, True)
        assert out.read_text() == "mine"
        assert forestall(home, "evidence", command, "--out", out, "--force")[0] == 0
        out.write_text("mine")
    for place, what in ((tmp_path, "is a folder"), (tmp_path / "none" / "b", "is no folder")):
        code, text = forestall(home, "evidence", "export", "--out", place)
        assert (code, what in text) == (2, True)


def test_where_no_server_is_it_says_so(tmp_path: Path) -> None:
    code, text = forestall(tmp_path / "empty", "evidence", "list")
    assert code == 2
    assert "holds no server; run `forestall up` first" in text
    assert not (tmp_path / "empty").exists()


def test_a_key_that_can_not_be_read_is_named(home: Path, tmp_path: Path) -> None:
    key = home / "server" / "log.key"
    key.rename(key.with_suffix(".away"))
    try:
        code, text = forestall(home, "evidence", "export", "--out", tmp_path / "b")
        assert code == 2
        assert "log.key cannot be read: No such file" in text
    finally:
        key.with_suffix(".away").rename(key)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small volume needs root")
def test_on_a_full_disk_export_says_so_and_leaves_nothing(home: Path, tmp_path: Path) -> None:
    volume, out = tmp_path / "volume", tmp_path / "x.bundle"
    volume.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(volume)], check=True)
    try:
        shutil.copytree(home, volume / "home")
        with (volume / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(4096))
        assert shutil.disk_usage(volume).free == 0
        code, text = forestall(volume / "home", "evidence", "export", "--out", out)
    finally:
        subprocess.run(["umount", str(volume)], check=True)
    assert code == 2, text
    # In SQLite's words: full, or no room even for its shared memory.
    assert re.search(r"forestall\.sqlite3: (database or disk is full|disk I/O error); no bundle was written", text)
    assert "Traceback" not in text
    assert not out.exists()
