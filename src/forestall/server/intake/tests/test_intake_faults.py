"""Intake killed, its disk full: what was acknowledged is there, once; what is not certain is not acknowledged."""

import contextlib
import http.client
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from client import RefusedError
from intake_world import World

KILLS = int(os.environ.get("FORESTALL_KILLS", "12"))


@pytest.mark.serial
def test_killed_at_any_moment_intake_loses_nothing_and_doubles_nothing(tmp_path):
    """Devices post without pause while intake is killed again and again; each check-in carries its own number."""
    world = World(tmp_path)
    world.start()
    devices = [world.device(hostname=f"pc-{number}") for number in range(4)]
    acknowledged = [0] * len(devices)
    stop = threading.Event()

    def post(index):
        one = devices[index]
        while not stop.is_set():
            try:
                if one.session is None:
                    one.open()
                number = one.sequence
                one.check_in(values=(float(number), 60.0, 40.0), times=[1000 * (BASE + number)])
                acknowledged[index] = one.sequence - 1
            except (OSError, http.client.HTTPException):
                one.session = None
                time.sleep(0.01)

    threads = [threading.Thread(target=post, args=(index,)) for index in range(len(devices))]
    for thread in threads:
        thread.start()
    try:
        for kill in range(KILLS):
            time.sleep(0.15 + 0.07 * (kill % 5))
            world.kill()
            down = time.monotonic()
            world.start()
            before = list(acknowledged)
            while not all(now > then for now, then in zip(acknowledged, before, strict=True)):
                assert time.monotonic() - down < 5, "everything is back within five seconds"
                time.sleep(0.01)
            world.do("apply")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    world.do("apply")
    for one, count in zip(devices, acknowledged, strict=True):
        stored = world.do("samples", device_id=one.device_id, name="cpu.used_percent")
        assert stored[:count] == [float(number) for number in range(1, count + 1)]
        # One more may be stored than was acknowledged: the answer was lost with the process.
        assert len(stored) - count in {0, 1}
        assert world.do("state", device_id=one.device_id)["set_aside"] == []
    assert sum(acknowledged) > KILLS * len(devices)
    world.close()


BASE = int(time.time()) - 7 * 24 * 3600
"""Sample times: a second apart from a week ago, so that none is from the future."""


@pytest.fixture
def small_volume(tmp_path):
    """A real ext4 of 48 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a volume needs root rights")
    image, folder = tmp_path / "volume.img", tmp_path / "volume"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(48 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    mounted = subprocess.run(
        ["mount", "-o", "loop", str(image), str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no loop mount here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(path, *, leave=0):
    """Fill the volume of ``path`` up to its last ``leave`` bytes."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while (free := shutil.disk_usage(path.parent).free) > leave:
            if not file.write(os.urandom(min(65536, free - leave))):
                break
        while not leave:
            file.write(b"x" * 512)


@pytest.mark.root
@pytest.mark.serial
@pytest.mark.parametrize("leave", [0, 600_000], ids=["to the last byte", "below the reserve"])
def test_a_full_disk_is_never_acknowledged_and_needs_no_repair(small_volume, leave):
    world = World(small_volume)
    try:
        world.start()
        ada = world.device()
        ada.check_in(values=(1.0, 60.0, 40.0))
        assert world.do("apply") == 1
        filler = small_volume / "filler"
        fill(filler, leave=leave)
        for _ in range(20):
            with pytest.raises(RefusedError) as caught:
                ada.check_in(values=(2.0, 60.0, 40.0))
            assert (caught.value.code, caught.value.status, caught.value.next_sequence) == ("storage_failed", 503, 2)
        assert "storage failed, check-ins are refused until it works again" in world.log()
        assert world.log().count("storage failed") < 5, "said once, not with every check-in"
        assert world.do("samples", device_id=ada.device_id, name="cpu.used_percent") == [1.0]
        filler.unlink()
        deadline = time.monotonic() + 5
        while True:
            try:
                ada.check_in(values=(2.0, 60.0, 40.0))
                break
            except RefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        assert ada.sequence == 3
        assert "storage works again" in world.log()
        world.do("apply")
        assert world.do("samples", device_id=ada.device_id, name="cpu.used_percent") == [1.0, 2.0]
        assert world.intake.poll() is None, "the same process all along"
    finally:
        world.close()
