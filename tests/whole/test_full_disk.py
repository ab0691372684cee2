"""The data folder's disk is full: nothing is acknowledged, everything says why, and free space alone repairs it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from installation import Installation, eventually

pytestmark = [
    pytest.mark.serial,
    pytest.mark.root,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small volume needs root"),
]

VOLUME_BYTES = 160 * 1024 * 1024


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    image, volume = tmp_path / "volume.img", tmp_path / "volume"
    with image.open("wb") as file:
        file.truncate(VOLUME_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    volume.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(volume)], check=True)
    yield volume
    subprocess.run(["umount", "-l", str(volume)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        size = 1024 * 1024
        while size >= 512:
            try:
                file.write(b"\0" * size)
            except OSError:
                size //= 2


def test_a_full_disk_stops_acknowledgements_and_free_space_repairs_it(small_volume: Path) -> None:
    installed = Installation(home=small_volume / "home")
    installed.start()
    try:
        _story(installed, small_volume)
    finally:
        installed.stop()


def last_check_in(installed: Installation) -> datetime:
    return datetime.fromisoformat(installed.device()["last_check_in_at"])


def _story(installed: Installation, volume: Path) -> None:
    checked_in = installed.forestall("agent", "check-in", check=False)
    assert checked_in.returncode == 0, checked_in.stderr

    ballast = volume / "ballast"
    fill(ballast)
    # What was acknowledged before may still be applied now; nothing may be taken from here on.
    full_at = datetime.now(UTC)
    refused = installed.forestall("agent", "check-in", "--timeout", "10", check=False)
    assert refused.returncode == 2
    assert "no space is left on the disk" in refused.stderr
    assert last_check_in(installed) < full_at, "the console answers, and nothing was taken"
    assert all(Path(f"/proc/{pid}").exists() for pid in installed.parts().values())

    ballast.unlink()
    eventually(
        lambda: installed.forestall("agent", "check-in", "--timeout", "20", check=False).returncode == 0,
        seconds=60,
        what="a check-in is acknowledged again",
        every=1,
    )
    eventually(lambda: last_check_in(installed) > full_at, seconds=20, what="and applied")
    status = json.loads(installed.forestall("agent", "status", "--json").stdout)
    assert status["trouble"] is None
    assert "storage_failed" in status["last_refusal"]
    bundle = installed.home / "evidence.bundle"
    installed.forestall("evidence", "export", "--out", str(bundle))
    assert installed.forestall("verify", str(bundle), check=False).returncode == 0
