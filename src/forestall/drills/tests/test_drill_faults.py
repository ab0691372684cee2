"""A drill leaves nothing behind, keeps out of everybody else's way, and says truly what it needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forestall.drills.backup import BackupFault
from forestall.drills.fault import (
    DrillError,
    NeedsRootError,
    make_folder,
    only_one_drill,
    own_folder,
    remove_folder,
    require_root,
)
from forestall.drills.watch import CHANGES_OF_A_DRILL, calm_from
from forestall.server.alerts.rules import flapping_until


@pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed")
def test_what_was_prepared_is_gone_after_removal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent, folder = tmp_path / "agent", tmp_path / "drill"
    agent.mkdir(mode=0o700)
    settings = agent / "backups.toml"
    settings.write_text('# my own\n[[backup]]\nname = "mine"\ntool = "restic"\nrepository = "/srv/backup"\n')
    before = settings.read_text()
    monkeypatch.setenv("FORESTALL_AGENT_HOME", str(agent))
    fault = BackupFault(agent, folder)
    fault.prepare()
    assert (folder / "backup" / "repository").is_dir()
    fault.remove()
    assert not folder.exists()
    assert settings.read_text() == before
    fault.remove()  # whatever state it is in


def test_a_folder_in_which_another_drill_has_something_stays(tmp_path: Path) -> None:
    folder = tmp_path / "drill"
    make_folder(folder)
    (folder / "volume.img").touch()
    remove_folder(folder)
    assert folder.exists()
    (folder / "volume.img").unlink()
    remove_folder(folder)
    assert not folder.exists()


def test_a_second_drill_waits_for_the_first() -> None:
    name = f"forestall-drill-test-{os.getpid()}"
    second = (
        f"from forestall.drills.fault import *\ntry:\n with only_one_drill({name!r}): print('ran')\n"
        "except DrillError as error: print(error)"
    )

    def told() -> str:
        return subprocess.run([sys.executable, "-c", second], capture_output=True, text=True, check=True).stdout

    with only_one_drill(name):
        assert "another drill is running" in told()
    assert told() == "ran\n"


def test_each_user_has_a_folder_of_their_own() -> None:
    assert own_folder(0) == Path("/var/tmp/forestall-drill")
    assert own_folder(1000) == Path("/var/tmp/forestall-drill-1000")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_user_is_told_that_the_repair_needs_root_too() -> None:
    require_root("mounting a volume")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            require_root("mounting a volume")
        except NeedsRootError as error:
            os.write(writing, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as told:
        assert told.read().startswith("mounting a volume needs root, and so does its repair: run Forestall itself")


def test_somebody_elses_folder_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "drill").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DrillError, match="belongs to another user"):
        make_folder(tmp_path / "drill")


def test_a_drill_that_would_make_its_check_flap_waits() -> None:
    """Six changes within half an hour are flapping (alerts/rules.py); a drill makes three."""
    newest = datetime(2026, 11, 23, 20, 30, tzinfo=UTC)
    changes = [newest - timedelta(minutes=n) for n in range(4)]
    assert calm_from([]) < newest
    assert calm_from(changes[:2]) < newest
    assert calm_from(changes[:3]) == changes[2] + timedelta(minutes=30)
    assert calm_from(changes) == changes[2] + timedelta(minutes=30)
    waits = flapping_until(changes=2 + CHANGES_OF_A_DRILL, first_seen_at=newest, now=newest)
    assert waits is None
    assert flapping_until(changes=3 + CHANGES_OF_A_DRILL, first_seen_at=newest, now=newest) is not None
