"""Back a running installation up, lose it, restore it elsewhere: tickets, evidence and devices go on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import Installation, eventually

from forestall.server.intake.tests.client import Client, RefusedError

VOLUME_BYTES = 160 * 1024 * 1024

pytestmark = [pytest.mark.serial, pytest.mark.timeout(300)]


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Installation]:
    one = Installation(home=tmp_path / "old")
    one.start()
    yield one
    one.stop()


class Desk(threading.Thread):
    """A device that checks in on end."""

    def __init__(self, client: Client) -> None:
        super().__init__(daemon=True)
        self.client, self.stop = client, threading.Event()

    def run(self) -> None:
        while not self.stop.wait(0.02):
            try:
                self.client.check_in(values=(float(self.client.sequence),), names=("test.sequence",))
            except RefusedError as refused:
                if refused.code != "device_pending":  # intake learns of an approval within a second
                    raise


def test_backed_up_while_devices_check_in_restored_elsewhere_and_all_goes_on(old: Installation, tmp_path: Path) -> None:
    site = old.api.get("/sites")["items"][0]["id"]
    host, _, port = old.intake.rpartition(":")
    ca = Path(old.first_run["ca_file"]).read_text()
    desks = []
    for number in range(5):
        client = Client((host, int(port)), ca)
        client.enrol(old.api.post("/enrolment-tokens", {"site": site})["token"], hostname=f"desk-{number}")
        old.api.post(f"/devices/{client.device_id}/approve")
        client.open()
        desks.append(Desk(client))
    for desk in desks:
        desk.start()
    eventually(lambda: all(desk.client.sequence > 3 for desk in desks), seconds=30, what="every desk checks in")
    eventually(lambda: old.api.get("/tickets")["items"], seconds=30, what="a ticket of the baseline")

    made = json.loads(old.forestall("backup", "--json").stdout)
    assert "are equal" in made["proof"]
    reached = {desk.client.device_id: desk.client.sequence for desk in desks}
    for desk in desks:
        desk.stop.set()
        desk.join(10)
    tickets = {one["number"]: one["title"] for one in old.api.get("/tickets")["items"]}
    # What the device hears after the backup, and the restored server will not know.
    assert old.forestall("agent", "check-in").returncode == 0
    old.stop()

    new = Installation(home=tmp_path / "new")
    key = old.home / "backup.key"
    restored = new.forestall("restore", made["file"], "--home", str(new.home), "--key-file", str(key))
    assert "restored as of" in restored.stdout
    # The agent's own folder is the device's: it is moved, never copied out of a backup. Only its server's port is new.
    shutil.copytree(old.home / "agent", new.home / "agent")
    enrolment = new.home / "agent" / "enrolment.json"
    enrolment.write_text(enrolment.read_text().replace(old.intake, new.intake))
    new.start()
    try:
        assert new.first_run["device_id"] == json.loads(enrolment.read_text())["device_id"], "nothing enrolled anew"
        assert {one["number"]: one["title"] for one in new.api.get("/tickets")["items"]}.items() <= tickets.items()
        assert len(new.api.get("/devices")["items"]) == 6
        before = new.device()["last_check_in_at"]
        assert new.forestall("agent", "check-in").returncode == 0
        eventually(
            lambda: new.device()["last_check_in_at"] > before, seconds=20, what="the agent's check-in is applied"
        )
        for desk in desks:
            # With the key it enrolled with; the server says where it stands, at or before where it was.
            desk.client.close()
            desk.client.port = int(new.intake.rpartition(":")[2])
            desk.client.open()
            assert 1 < desk.client.sequence <= reached[desk.client.device_id] + 200
            desk.client.check_in(values=(0.0,), names=("test.sequence",))
        bundle = new.home / "evidence.bundle"
        new.forestall("evidence", "export", "--out", str(bundle))
        verdict = new.forestall("verify", str(bundle), check=False)
        assert verdict.returncode == 0, verdict.stdout + verdict.stderr
        assert b"server:restored" in bundle.read_bytes()
        again = json.loads(new.forestall("backup", "--json").stdout)
        assert new.forestall("backup", "verify", again["file"], "--key-file", str(key)).returncode == 0
    finally:
        new.stop()


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


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small volume needs root")
def test_a_volume_too_full_for_a_backup_is_left_to_the_product_and_the_check_says_so(small_volume: Path) -> None:
    installed = Installation(home=small_volume / "home")
    installed.start()
    try:
        # Enough for check-ins, which need 2 %, and not for a backup, which leaves 5 %.
        room = os.statvfs(small_volume)
        ballast = small_volume / "ballast"
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - int(VOLUME_BYTES * 0.05))
        refused = installed.forestall("backup", check=False)
        assert refused.returncode == 2
        assert "stay free for the rest" in refused.stderr
        assert [one.name for one in (installed.home / "backups").iterdir()] == []
        assert installed.forestall("agent", "check-in").returncode == 0, "check-ins are still taken"
        asked = ("checks", "--kind", "backup_age", "--json")

        def told() -> str:
            found = json.loads(installed.forestall(*asked).stdout)
            return next((one["reason"] for one in found if one["target"] == "forestall"), "")

        eventually(lambda: "stay free for the rest" in told(), seconds=30, what="the check says why", every=1)
        ballast.unlink()
        assert installed.forestall("backup").returncode == 0
    finally:
        installed.stop()
