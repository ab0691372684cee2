"""apk, snap and fwupd against scripts that answer as the programs do: none of the three runs on the test machines."""

from __future__ import annotations

import pytest

from forestall.agent.act import packages
from forestall.agent.act.actions import (
    updates_hold,
    updates_install,
    updates_release,
    updates_repair,
    updates_roll_back,
)
from forestall.agent.act.context import ActionFailed, Context, Places
from forestall.agent.act.providers import apk, calls, fwupd, snap
from forestall.agent.act.tests.package_worlds import RootedHost
from forestall.agent.collect.host import PROGRAM_PATH


class Scripted:
    """A root and a folder of scripts, each of which writes down how it was called."""

    def __init__(self, folder):
        self.folder, self.root, self.programs = folder, folder / "root", folder / "programs"
        for each in (self.root, self.programs):
            each.mkdir()
        self.script("chroot", 'shift; exec "$@"')
        self.host = RootedHost(self.root, self.programs)

    def script(self, name, text):
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def write(self, path, text):
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def context(self):
        environment = {"PATH": f"{self.programs}:{PROGRAM_PATH}"}
        places = Places(root=str(self.root))
        return Context(agent_home=self.folder, timeout_seconds=30, places=places, environment=environment)

    def calls(self):
        log = self.folder / "calls"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "busy", lambda _notes: ())
    return Scripted(tmp_path)


def install(machine, manager, choose="all", chosen=""):
    arguments = {"manager": manager, "choose": choose, "packages": chosen, "exclude": ""}
    return updates_install.run(arguments, machine.host, machine.context())


def failing(call):
    with pytest.raises(ActionFailed) as failed:
        call()
    return failed.value


# --- apk ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def alpine(machine):
    machine.write("/lib/apk/db/installed", "P:busybox\nV:1.36.1-r15\nA:x86_64\n\nP:curl\nV:8.5.0-r0\nA:x86_64\n")
    machine.write("/etc/apk/world", "alpine-base\n")
    machine.write("/var/cache/apk/APKINDEX.1.tar.gz", "x")
    database = machine.root / "lib/apk/db/installed"
    world = machine.root / "etc/apk/world"
    machine.script(
        "apk",
        f'echo "$*" >> {machine.folder}/calls\n'
        'case "$*" in\n'
        '*"version -l <"*) echo "Installed: Available:";'
        f' grep -q "1.36.1-r15" {database} && echo "busybox-1.36.1-r15 < 1.36.1-r19";'
        ' echo "curl-8.5.0-r0 < 8.9.1-r0";;\n'
        # curl's new version needs something else gone.
        '*"--simulate"*curl*) echo "(1/2) Purging libidn (1.41-r0)"; echo "OK: 8 MiB in 12 packages";;\n'
        '*"--simulate"*) echo "(1/1) Upgrading busybox (1.36.1-r15 -> 1.36.1-r19)";;\n'
        f'*"fix --upgrade busybox"*) sed -i s/1.36.1-r15/1.36.1-r19/ {database};;\n'
        f'*"add curl=8.5.0-r0"*) echo curl=8.5.0-r0 >> {world};;\n'
        f'*"add curl"*) sed -i "s/^curl=.*/curl/" {world};;\n'
        '*"fix") echo OK;;\n'
        'esac',
    )  # fmt: skip
    return machine


def test_apk_upgrades_what_it_can_without_removing_and_says_what_changed(alpine):
    result = install(alpine, "apk")
    assert [(c.name, c.before, c.after) for c in result.packages] == [("busybox", "1.36.1-r15", "1.36.1-r19")]
    assert "curl=8.9.1-r0 (would remove libidn)" in result.summary
    # World stays as it was: an upgrade asks for nothing new.
    assert (alpine.root / "etc/apk/world").read_text() == "alpine-base\n"
    assert not any("allow-untrusted" in call for call in alpine.calls())


def test_apk_holds_by_version_and_releases(alpine):
    updates_hold.run({"manager": "apk", "packages": "curl"}, alpine.host, alpine.context())
    assert "curl=8.5.0-r0" in (alpine.root / "etc/apk/world").read_text()
    assert "curl (it is held)" in install(alpine, "apk").summary
    updates_release.run({"manager": "apk", "packages": "curl"}, alpine.host, alpine.context())
    assert (alpine.root / "etc/apk/world").read_text().endswith("\ncurl\n")
    assert updates_repair.run({"manager": "apk"}, alpine.host, alpine.context()).ok


def test_apk_has_nothing_to_roll_back_to(alpine):
    arguments = {"manager": "apk", "packages": "curl=8.4.0-r0"}
    failed = failing(lambda: updates_roll_back.run(arguments, alpine.host, alpine.context()))
    assert (failed.code, failed.sentence) == ("manager_unknown", "apk cannot roll back")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("ERROR: Unable to lock database: temporarily unavailable", "manager_busy"),
        ("ERROR: contoso: UNTRUSTED signature", "source_untrusted"),
        ("ERROR: unable to select packages:", "unresolvable"),
        ("WARNING: fetching https://x: temporary error (try again later)", "download_failed"),
        ("something else", "install_failed"),
    ],
)
def test_what_apk_complains_of_becomes_a_code(machine, said, code):
    machine.script("apk", f'echo "{said}"; exit 1')
    failed = failing(
        lambda: calls.change(["apk"], machine.context(), failures=apk._FAILURES, otherwise="install_failed")
    )
    assert failed.code == code
    assert said in failed.output


# --- snap --------------------------------------------------------------------------------------------------------


@pytest.fixture
def ubuntu(machine):
    machine.write("/var/lib/snapd/snaps/phone_174.snap", "x")
    state = machine.folder / "revision"
    state.write_text("174")
    machine.script(
        "snap",
        f'echo "$*" >> {machine.folder}/calls\n'
        f'R=$(cat {state}); V=v1.10; [ "$R" = 180 ] && V=v1.11\n'
        'case "$*" in\n'
        'list*) echo "Name Version Rev Tracking Publisher Notes"; echo "phone $V $R stable ada -";;\n'
        '"refresh --list"*)'
        ' [ "$R" = 174 ] && echo "phone v1.11 180 60MB ada -" || echo "All snaps up to date.";;\n'
        f'"refresh --revision=180 phone"|"revert --revision=174 phone") N=${{2#*=}}; echo $N > {state};;\n'
        '*) echo "error: snap has no revision"; exit 1;;\n'
        'esac',
    )  # fmt: skip
    return machine


def test_snap_takes_the_revision_that_was_decided_on_and_reverts(ubuntu):
    result = install(ubuntu, "snap", "chosen", "phone=v1.11+r180")
    assert [(c.name, c.before, c.after) for c in result.packages] == [("phone", "v1.10+r174", "v1.11+r180")]
    arguments = {"manager": "snap", "packages": "phone=v1.10+r174"}
    assert updates_roll_back.run(arguments, ubuntu.host, ubuntu.context()).ok
    gone = {"manager": "snap", "packages": "phone=v1.9+r150"}
    failed = failing(lambda: updates_roll_back.run(gone, ubuntu.host, ubuntu.context()))
    assert failed.code == "version_not_offered"


def test_a_snap_without_a_revision_is_no_version(ubuntu):
    from forestall.agent.act.providers import Wanted

    failed = failing(lambda: snap.install([Wanted("phone", "", "v1.11")], ubuntu.host, ubuntu.context()))
    assert failed.code == "version_not_offered"
    assert ubuntu.calls() == []


# --- fwupd -------------------------------------------------------------------------------------------------------

DEVICE = '"Name": "System Firmware", "DeviceId": "123fd4143619569d", "Version": "1.33.0", "Flags": ["needs-reboot"]'


@pytest.fixture
def laptop(machine):
    machine.write("/var/lib/fwupd/metadata/lvfs/firmware.xml.zst", "x")
    machine.script(
        "fwupdmgr",
        f'echo "$*" >> {machine.folder}/calls\n'
        'case "$*" in\n'
        f"*get-devices*) echo '{{\"Devices\": [{{{DEVICE}}}]}}';;\n"
        f"*get-updates*) echo '{{\"Devices\": [{{{DEVICE}, \"Releases\": [{{\"Version\": \"1.34.3\"}}]}}]}}';;\n"
        f'*install*) [ -e {machine.folder}/battery ] && echo "requires AC power" && exit 1; echo placed;;\n'
        'esac',
    )  # fmt: skip
    return machine


@pytest.fixture
def with_firmware(monkeypatch):
    monkeypatch.setattr(packages.READER_BY_NAME["fwupd"], "present", lambda _host: True)


@pytest.mark.usefixtures("with_firmware")
def test_firmware_is_placed_by_device_and_version_and_counts_after_the_start(laptop):
    result = install(laptop, "fwupd", "chosen", "System-Firmware@123fd414=1.34.3")
    # The device still reports the old version: nothing has changed yet, and nothing is claimed.
    assert (result.ok, result.packages) == (True, ())
    assert "counts after the next start" in result.summary
    (placed,) = [call for call in laptop.calls() if call.startswith("install")]
    assert "--no-reboot-check" in placed
    assert placed.endswith("123fd4143619569d 1.34.3")


@pytest.mark.usefixtures("with_firmware")
def test_firmware_is_not_placed_on_battery(laptop):
    (laptop.folder / "battery").touch()
    failed = failing(lambda: install(laptop, "fwupd"))
    assert (failed.code, failed.packages) == ("on_battery", ())


@pytest.mark.usefixtures("with_firmware")
def test_firmware_is_held_back_by_deciding_and_not_by_fwupd(laptop):
    arguments = {"manager": "fwupd", "packages": "System-Firmware@123fd414"}
    assert failing(lambda: updates_hold.run(arguments, laptop.host, laptop.context())).code == "manager_unknown"
    assert fwupd.CAN == ("list", "install", "security_only", "chosen", "roll_back")
