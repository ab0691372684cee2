"""Locking an account, asking for a new password, taking out a key: tried with the system's own programs.

They run in a root of the test's own: its ``/etc`` and ``/home`` are the test's, ``/usr`` is the machine's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from forestall.agent.act.accounts import find_account
from forestall.agent.collect.access.keys import parse_keys

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("usermod") is None, reason="usermod is not installed"),
]
PASSWD = (
    "root:x:0:0:root:/root:/bin/bash\nada:x:1000:1000:Ada:/home/ada:/bin/bash\nbob:x:1001:1001::/home/bob:/bin/bash\n"
)
SHADOW = "root:*:20000:0:99999:7:::\nada:$6$abc$def:20400:0:99999:7:::\nbob:!:20000:0:99999:7:::\n"


@pytest.fixture
def rooted(machine, tmp_path):
    """The machine with a root of its own in which accounts can be changed."""
    root = tmp_path / "root"
    for folder in ("etc", "home/ada/.ssh", "usr", "var", "dev", "proc"):
        (root / folder).mkdir(parents=True)
    for link in ("bin", "sbin", "lib", "lib64"):
        if Path(f"/{link}").is_symlink():
            (root / link).symlink_to(f"usr/{link}")
    (root / "etc/passwd").write_text(PASSWD)
    (root / "etc/shadow").write_text(SHADOW)
    (root / "etc/shadow").chmod(0o640)
    (root / "etc/group").write_text("root:x:0:\nada:x:1000:\nbob:x:1001:\n")
    (root / "etc/login.defs").write_text("UID_MIN 1000\n")
    (root / "dev/null").touch()
    mounted = subprocess.run(["mount", "--bind", "-o", "ro", "/usr", str(root / "usr")], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"/usr cannot be mounted here: {mounted.stderr.strip()}")
    machine.places = replace(machine.places, root=str(root))
    yield root
    subprocess.run(["umount", str(root / "usr")], check=True)


def shadow(root: Path, name: str) -> list[str]:
    return next(line for line in (root / "etc/shadow").read_text().splitlines() if line.startswith(f"{name}:")).split(
        ":"
    )


@pytest.mark.runbook("lock-account")
def test_an_account_is_locked_and_its_undoing_opens_it_again(machine, rooted):
    assert machine.run_library("lock-account", dry_run=True, account="ada").detail.startswith("would lock ada")
    before = shadow(rooted, "ada")
    done = machine.run_library("lock-account", account="ada")
    assert done.outcome == "succeeded", done
    locked = shadow(rooted, "ada")
    assert (locked[1], locked[7]) == ("!$6$abc$def", "1")
    assert machine.run_library("lock-account", account="ada").detail == "ada is locked already; nothing to do"
    undone = machine.run_library("undo-change", job=done.job_id)
    assert (undone.outcome, shadow(rooted, "ada")) == ("succeeded", before)


def test_an_account_that_has_only_keys_is_closed_to_them(machine, rooted):
    done = machine.run_library("lock-account", account="bob")
    assert (done.outcome, shadow(rooted, "bob")[7]) == ("succeeded", "1")
    machine.run_library("undo-change", job=done.job_id)
    assert shadow(rooted, "bob")[7] == ""


def test_root_and_accounts_that_are_not_there_are_refused(machine, rooted):
    assert machine.run_library("lock-account", account="root").code == "account_protected"
    assert machine.run_library("expire-password", account="root").code == "account_protected"
    assert machine.run_library("lock-account", account="carol").code == "account_unknown"
    assert (rooted / "etc/shadow").read_text() == SHADOW


def test_an_account_without_a_password_is_not_opened_to_all_by_undoing(machine, rooted):
    (rooted / "etc/shadow").write_text(SHADOW.replace("bob:!:", "bob::"))
    done = machine.run_library("lock-account", account="bob")
    assert done.outcome == "succeeded"
    refused = machine.run_library("undo-change", job=done.job_id)
    assert refused.outcome == "failed"
    assert find_account("bob", machine.context()).expires == "1"


@pytest.mark.runbook("expire-password")
def test_a_new_password_is_asked_for_and_its_undoing_keeps_the_old_one(machine, rooted):
    assert machine.run_library("expire-password", dry_run=True, account="ada").outcome == "succeeded"
    done = machine.run_library("expire-password", account="ada")
    assert (done.outcome, shadow(rooted, "ada")[2]) == ("succeeded", "0")
    machine.run_library("undo-change", job=done.job_id)
    assert shadow(rooted, "ada")[2] == "20400"
    assert machine.run_library("expire-password", account="bob").code == "account_without_password"


def test_a_password_that_was_set_since_is_left_alone(machine, rooted):
    done = machine.run_library("expire-password", account="ada")
    changed = (rooted / "etc/shadow").read_text().replace("ada:$6$abc$def:0:", "ada:$6$new$new:20500:")
    (rooted / "etc/shadow").write_text(changed)
    assert machine.run_library("undo-change", job=done.job_id).outcome == "failed"
    assert (rooted / "etc/shadow").read_text() == changed


def key(comment: str) -> str:
    public = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return f"{public.decode()} {comment}\n"


@pytest.mark.runbook("remove-ssh-key")
def test_one_key_is_taken_out_and_every_other_line_stays(machine, rooted):
    file = rooted / "home/ada/.ssh/authorized_keys"
    old, new = key("old laptop"), key("new laptop")
    text = f'# mine\nfrom="192.0.2.1" {old}\n{new}'
    file.write_text(text)
    os.chown(file, 1000, 1000)
    file.chmod(0o600)
    (gone,) = parse_keys(old)
    tried = machine.run_library("remove-ssh-key", dry_run=True, account="ada", fingerprint=gone.fingerprint)
    assert tried.detail.startswith("would take the key")
    assert file.read_text() == text
    done = machine.run_library("remove-ssh-key", account="ada", fingerprint=gone.fingerprint)
    assert done.detail.endswith("of ada; 1 other stays")
    assert file.read_text() == f"# mine\n\n{new}"
    assert (file.stat().st_uid, file.stat().st_mode & 0o777) == (1000, 0o600)
    again = machine.run_library("remove-ssh-key", account="ada", fingerprint=gone.fingerprint)
    assert again.detail.endswith("opens ada; nothing to do")
    machine.run_library("undo-change", job=done.job_id)
    assert file.read_text() == text


def test_a_link_that_the_owner_laid_is_never_followed(machine, rooted):
    secret = rooted / "etc/secret"
    secret.write_text(key("root's own"))
    (fingerprint,) = [one.fingerprint for one in parse_keys(secret.read_text())]
    (rooted / "home/ada/.ssh/authorized_keys").symlink_to(secret)
    failed = machine.run_library("remove-ssh-key", account="ada", fingerprint=fingerprint)
    assert (failed.outcome, "root's own" in secret.read_text()) == ("failed", True)
