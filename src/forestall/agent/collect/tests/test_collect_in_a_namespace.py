"""Real mounts and a real service, in a mount namespace of their own: nothing of the machine changes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NEEDED = ("unshare", "mkfs.ext4", "mount", "start-stop-daemon", "setsid")
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        os.geteuid() != 0 or any(shutil.which(name) is None for name in NEEDED) or Path("/run/systemd/system").exists(),
        reason=f"needs root, {', '.join(NEEDED)}, and for its service a machine without systemd",
    ),
]

SERVICE = """\
#!/bin/sh
### BEGIN INIT INFO
# Provides: forestall-test-shop
# Default-Start: 2 3 4 5
# Default-Stop: 0 1 6
# Short-Description: Throw-away shop
### END INIT INFO
PIDFILE=/run/forestall-test-shop.pid
case "$1" in
  start) start-stop-daemon --start --background --make-pidfile --pidfile $PIDFILE --exec /bin/sleep -- 300 ;;
  stop) start-stop-daemon --stop --quiet --pidfile $PIDFILE --remove-pidfile ;;
  status) start-stop-daemon --status --pidfile $PIDFILE ;;
esac
"""


def in_namespace(script):
    """Run shell lines as root in a mount namespace; what they print is JSON, one document a line."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4]), "PYTHON": sys.executable}
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=60,
    )
    if done.returncode and "Operation not permitted" in done.stderr:
        pytest.skip(f"no mount namespaces here: {done.stderr.strip()[:200]}")
    assert done.returncode == 0, done.stderr
    return [json.loads(part) for part in done.stdout.split("---\n") if part.strip()]


def test_a_small_loop_mounted_volume_is_a_volume_and_its_bind_mount_is_none(tmp_path):
    before, after = in_namespace(f"""
        cd '{tmp_path}'
        dd if=/dev/zero of=image bs=1M count=16 status=none
        mkfs.ext4 -q image
        mkdir 'my data' again
        mount -o loop image 'my data'
        mount --bind 'my data' again
        look() {{ "$PYTHON" -m forestall.agent.collect --json volumes; echo ---; }}
        look
        mount -o remount,ro 'my data'
        look
        umount again 'my data'
    """)
    mine = [each for each in before["volumes"]["volumes"] if str(tmp_path) in each["mountpoint"]]
    assert [each["mountpoint"] for each in mine] == [f"{tmp_path}/again"], "the shortest mount point wins"
    assert (mine[0]["filesystem"], mine[0]["read_only"], mine[0]["total_inodes"]) == ("ext4", False, 4096)
    assert 12 * 2**20 < mine[0]["total_bytes"] < 16 * 2**20
    assert [each["read_only"] for each in after["volumes"]["volumes"] if str(tmp_path) in each["mountpoint"]] == [True]


def test_a_service_is_seen_stopped_running_and_killed(tmp_path):
    script = tmp_path / "service"
    script.write_text(SERVICE)
    script.chmod(0o755)
    documents = in_namespace(f"""
        mkdir '{tmp_path}/init.d'
        cp -a /etc/init.d/. '{tmp_path}/init.d/'
        cp '{script}' '{tmp_path}/init.d/forestall-test-shop'
        mount --bind '{tmp_path}/init.d' /etc/init.d
        mount -t tmpfs tmpfs /run
        look() {{ "$PYTHON" -m forestall.agent.collect --json services; echo ---; }}
        wait_for() {{ for _ in 1 2 3 4 5 6 7 8 9 10; do "$@" && break; sleep 0.1; done; }}
        look
        /etc/init.d/forestall-test-shop start >&2
        wait_for /etc/init.d/forestall-test-shop status
        look
        kill -9 "$(cat /run/forestall-test-shop.pid)"
        sleep 0.3
        look
    """)
    found = [
        next(each for each in document["services"]["services"] if each["name"] == "forestall-test-shop")
        for document in documents
    ]
    assert [each["state"] for each in found] == ["stopped", "running", "failed"]
    assert found[1]["pid"] > 0
    assert found[1]["since"] is not None
    assert "which does not run" in found[2]["detail"]
