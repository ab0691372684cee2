"""Hardening for real: the real sshd and nft, files and settings in folders and namespaces of their own; undone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from forestall.agent.act.actions import ACTIONS
from forestall.agent.act.context import ActionFailed
from forestall.agent.collect.host import LocalHost
from forestall.agent.collect.tests.recorded_host import RecordedHost

pytestmark = pytest.mark.root


@pytest.fixture
def etc(tmp_path):
    folder = tmp_path.resolve() / "etc"
    for name in ("ssh", "sysctl.d", "modprobe.d", "cron.d", "security"):
        (folder / name).mkdir(parents=True)
    return folder


class Bench:
    """One machine whose /etc is a folder, and the journal of what was done to it."""

    def __init__(self, machine, etc, tmp_path):
        self.machine, self.etc, self.home = machine, etc, tmp_path.resolve() / "agent-home"
        self.home.mkdir()
        self.sys = tmp_path.resolve() / "sys"
        self.places = replace(machine.places, etc=str(etc), kernel_settings=str(self.sys))
        self.job = ""

    def context(self, *, dry_run=False):
        self.job = str(uuid4())
        return self.machine.context(agent_home=self.home, job_id=self.job, places=self.places, dry_run=dry_run)

    def run(self, name, host=None, *, dry_run=False, **arguments):
        return ACTIONS[name].run(arguments, host or LocalHost(), self.context(dry_run=dry_run))

    def undo(self, host=None):
        job = self.job
        return ACTIONS["changes.undo"].run({"job": job}, host or LocalHost(), self.context())


@pytest.fixture
def bench(machine, etc, tmp_path):
    return Bench(machine, etc, tmp_path)


def fails(code):
    return pytest.raises(ActionFailed, match=f"^{code}: ")


# --- ssh ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def sshd(bench, tmp_path):
    if shutil.which("sshd", path="/usr/sbin:/usr/bin") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("the SSH server is not installed")
    made = not Path("/run/sshd").exists()
    Path("/run/sshd").mkdir(exist_ok=True, mode=0o755)
    key = bench.etc / "ssh/ssh_host_ed25519_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    bench.config = bench.etc / "ssh/sshd_config"
    bench.config.write_text(
        f"Port 2222\nHostKey {key}\nPermitRootLogin yes\nX11Forwarding yes\nMaxAuthTries 9\n"
        "Match User guest\n  X11Forwarding no\n"
    )
    bench.ada = tmp_path.resolve() / "ada"
    (bench.ada / ".ssh").mkdir(parents=True)
    (bench.etc / "passwd").write_text(
        f"root:x:0:0::/nowhere:/bin/bash\nada:x:1000:1000::{bench.ada}:/bin/bash\nd:x:1:1::/:/usr/sbin/nologin\n"
    )
    (bench.etc / "shadow").write_text("root:*:1:\nada:$y$abc:1:\n")
    yield bench
    if made:
        Path("/run/sshd").rmdir()


def effective(bench):
    program = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    said = subprocess.run([program, "-T", "-f", str(bench.config)], capture_output=True, text=True, check=True).stdout
    return dict(line.split(" ", 1) for line in said.splitlines() if " " in line)


@pytest.mark.runbook("harden-ssh")
def test_ssh_is_hardened_keeps_its_port_and_is_undone(sshd):
    before = sshd.config.read_text()
    assert "would set" in sshd.run("ssh.harden", dry_run=True, passwords="keep").summary
    assert sshd.config.read_text() == before
    result = sshd.run("ssh.harden", passwords="keep")
    assert "ada by password still gets in" in result.summary
    found = effective(sshd)
    assert (found["port"], found["maxauthtries"], found["x11forwarding"]) == ("2222", "4", "no")
    assert found["permitrootlogin"] in {"prohibit-password", "without-password"}
    assert found["passwordauthentication"] == "yes"
    assert "Match User guest" in sshd.config.read_text()
    sshd.undo()
    assert sshd.config.read_text() == before
    sshd.run("ssh.harden", passwords="keep")
    assert "nothing to do" in sshd.run("ssh.harden", passwords="keep").summary


def test_ssh_never_locks_everybody_out(sshd):
    before = sshd.config.read_text()
    with fails("no_way_in"):
        sshd.run("ssh.harden", passwords="off")
    assert sshd.config.read_text() == before
    (sshd.ada / ".ssh/authorized_keys").write_text("# only a comment\n")
    with fails("no_way_in"):
        sshd.run("ssh.harden", passwords="off")
    (sshd.ada / ".ssh/authorized_keys").write_text("ssh-ed25519 AAAA ada\n")
    assert "ada by key" in sshd.run("ssh.harden", passwords="off").summary
    assert effective(sshd)["passwordauthentication"] == "no"


def test_a_broken_file_is_left_alone(sshd):
    sshd.config.write_text("Port 2222\nNonsense yes\n")
    with fails("settings_broken"):
        sshd.run("ssh.harden", passwords="keep")
    assert sshd.config.read_text() == "Port 2222\nNonsense yes\n"
    with fails("argument_wrong"):
        sshd.run("ssh.harden", passwords="maybe")


# --- kernel, USB, files ------------------------------------------------------------------------------------------


@pytest.mark.runbook("harden-kernel")
def test_kernel_settings_are_set_now_and_later_and_undone(bench):
    for name, value in {"kernel.randomize_va_space": "0", "net.ipv4.conf.all.rp_filter": "1", "fs.suid_dumpable": "2",
                        "net.ipv4.conf.all.accept_redirects": "1"}.items():  # fmt: skip
        path = bench.sys.joinpath(*name.split("."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    result = bench.run("kernel.harden", keep="fs.suid_dumpable")
    assert result.summary == "set 2 kernel settings, now and after each start"
    assert (bench.sys / "kernel/randomize_va_space").read_text() == "2\n"
    assert (bench.sys / "fs/suid_dumpable").read_text() == "2\n"
    written = (bench.etc / "sysctl.d/99-forestall.conf").read_text()
    assert "net.ipv4.conf.all.rp_filter = 1" in written, "what is good already stays as it is"
    bench.undo()
    assert (bench.sys / "kernel/randomize_va_space").read_text() == "0\n"
    assert not (bench.etc / "sysctl.d/99-forestall.conf").exists()
    with fails("argument_wrong"):
        bench.run("kernel.harden", keep="kernel.nonsense")


@pytest.mark.runbook("block-usb-storage")
def test_usb_storage_is_blocked_unless_in_use_and_undone(bench):
    file = bench.etc / "modprobe.d/forestall-usb-storage.conf"
    assert "would write" in bench.run("usb.block_storage", RecordedHost(), dry_run=True).summary
    bench.run("usb.block_storage", RecordedHost())
    assert "install usb-storage /bin/false" in file.read_text()
    job = bench.job
    assert "already" in bench.run("usb.block_storage", RecordedHost()).summary
    bench.job = job
    bench.undo()
    assert not file.exists()
    with fails("in_use"):
        bench.run("usb.block_storage", RecordedHost(files={"/sys/bus/usb/drivers/usb-storage/1-1:1.0": ""}))


@pytest.mark.runbook("fix-file-permissions")
def test_rights_are_only_taken_and_come_back(bench):
    shadow, passwd, cron = bench.etc / "shadow", bench.etc / "passwd", bench.etc / "cron.d"
    for path, mode in ((shadow, 0o666), (passwd, 0o600)):
        path.write_text("x")
        path.chmod(mode)
    cron.chmod(0o755)
    (bench.etc / "group").symlink_to("/etc/passwd")
    mode = lambda path: path.stat().st_mode & 0o777  # noqa: E731
    result = bench.run("files.fix_permissions")
    assert result.summary == "took rights from 2 files and folders"
    assert (mode(shadow), mode(passwd), mode(cron)) == (0o640, 0o600, 0o700)
    job = bench.job
    assert "nothing to do" in bench.run("files.fix_permissions").summary
    bench.job = job
    bench.undo()
    assert (mode(shadow), mode(cron)) == (0o666, 0o755)


# --- firewall ----------------------------------------------------------------------------------------------------

SCRIPT = """
import json, socket, subprocess, sys
from pathlib import Path
from forestall.agent.act.actions import ACTIONS
from forestall.agent.act.context import ActionFailed, Context, Places
from forestall.agent.collect.host import LocalHost

home, etc = Path(sys.argv[1]), sys.argv[2]
places = Places(etc=etc, init_scripts=etc + "/init.d", systemd=etc + "/no-systemd")
def act(name, done_by, **arguments):
    ctx = Context(agent_home=home, timeout_seconds=60, places=places, job_id=done_by)
    try:
        return ACTIONS[name].run(arguments, LocalHost(), ctx).summary
    except ActionFailed as error:
        return str(error)
server = socket.create_server(("0.0.0.0", 4242))
said = [act("firewall.enable", "job-1", allow="443/tcp 60000-61000/udp", allow_listening=True)]
said.append(subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout)
said.append(act("firewall.enable", "job-2", allow="443/tcp", allow_listening=False))
said.append(act("changes.undo", "job-3", job="job-1"))
said.append(subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout)
own = "add table inet own; add chain inet own input { type filter hook input priority 0; policy drop; }"
subprocess.run(["nft", own])
said.append(act("firewall.enable", "job-4", allow="443/tcp", allow_listening=False))
print(json.dumps(said))
"""


@pytest.mark.runbook("enable-firewall")
def test_a_firewall_lets_in_what_is_offered_and_is_undone(tmp_path, etc):
    if shutil.which("nft", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("nft is not installed")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    home = tmp_path.resolve() / "home"
    home.mkdir()
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", SCRIPT, str(home), str(etc)],
        capture_output=True, text=True, check=False, env=environment, timeout=120,
    )  # fmt: skip
    if "Operation not permitted" in done.stderr and done.returncode:
        pytest.skip(f"no network namespaces here: {done.stderr.strip()[:200]}")
    assert done.returncode == 0, done.stderr
    first, rules, again, undone, after, refused = json.loads(done.stdout)
    assert first.startswith("let in 443/tcp, 4242/tcp, 60000-61000/udp, drops the rest"), first
    assert "policy drop" in rules
    assert "ct state established,related accept" in rules
    assert "4242" in rules
    assert again.startswith("firewall_there: Forestall's firewall is on"), again
    assert "inet forestall" not in after, (undone, after)
    assert refused.startswith("firewall_there"), refused


def test_ports_that_are_none_are_refused(bench):
    if shutil.which("nft", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("nft is not installed")
    host = RecordedHost(outputs={"nft list ruleset": "", "nft -j list": '{"nftables": []}'})
    for wrong in ("22", "99999/tcp", "ssh/tcp"):
        with fails("argument_wrong"):
            bench.run("firewall.enable", host, allow=wrong, allow_listening=False)
    with fails("nothing_allowed"):
        bench.run("firewall.enable", host, allow="", allow_listening=False)


@pytest.mark.runbook("disable-service")
def test_a_service_is_disabled_by_the_action_that_stops_it():
    from forestall.server.runbooks.library import __path__ as folder

    book = json.loads((Path(next(iter(folder))) / "disable-service.json").read_text())
    assert book["steps"][0]["arguments"] == {"service": "{service}", "disable": True}
    assert {"service": str, "disable": bool} == ACTIONS["service.stop"].ARGUMENTS
