"""A throw-away service that is killed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from forestall.drills.fault import DrillError, require_root, run

NAME = "forestall-drill"
SYSTEMD = Path("/run/systemd/system")

INIT_SCRIPT = f"""#!/bin/sh
### BEGIN INIT INFO
# Provides:          {NAME}
# Required-Start:    $local_fs
# Required-Stop:     $local_fs
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: Throw-away service of a Forestall drill
### END INIT INFO
# pidfile: /run/{NAME}.pid
PIDFILE=/run/{NAME}.pid
alive() {{ [ -f "$PIDFILE" ] && kill -0 "$(cat "$PIDFILE")" 2>/dev/null; }}
case "$1" in
  start)
    alive && exit 0
    start-stop-daemon --start --background --make-pidfile --pidfile "$PIDFILE" --exec /bin/sleep -- 86400 ;;
  stop)
    start-stop-daemon --stop --oknodo --quiet --remove-pidfile --pidfile "$PIDFILE" ;;
  restart|force-reload) "$0" stop; "$0" start ;;
  status)
    if alive; then echo "{NAME} is running"; exit 0; fi
    if [ -f "$PIDFILE" ]; then echo "{NAME} is dead but its pid file exists"; exit 1; fi
    echo "{NAME} is stopped"; exit 3 ;;
  *) echo "usage: $0 start|stop|restart|status" >&2; exit 2 ;;
esac
"""

UNIT = """[Unit]
Description=Throw-away service of a Forestall drill
[Service]
ExecStart=/bin/sleep 86400
[Install]
WantedBy=multi-user.target
"""


class ServiceFault:
    name = "service"
    kind = "service_down"
    runbook = "restart-service"
    parameter = "service"
    broken_words = "killed it with SIGKILL"

    def __init__(self) -> None:
        self._systemd = SYSTEMD.is_dir()
        self.target = f"{NAME}.service" if self._systemd else NAME
        manager = "systemd unit" if self._systemd else "init script"
        self.healthy_words = f"a throw-away {manager} called {self.target}, started and enabled"

    def require(self) -> None:
        require_root("installing a service")
        if not self._systemd and not Path("/etc/init.d").is_dir():
            raise DrillError("this machine has neither systemd nor /etc/init.d")

    def prepare(self) -> None:
        self.remove()
        if self._systemd:
            (SYSTEMD / self.target).write_text(UNIT)
            run(["systemctl", "daemon-reload"])
            run(["systemctl", "enable", "--runtime", "--now", self.target])
            return
        script = Path("/etc/init.d") / NAME
        script.write_text(INIT_SCRIPT)
        script.chmod(0o755)
        for level in "2345":
            folder = Path(f"/etc/rc{level}.d")
            folder.mkdir(exist_ok=True)
            (folder / f"S01{NAME}").symlink_to(f"../init.d/{NAME}")
        run([str(script), "start"])
        self._wait_for_pid()

    def damage(self) -> None:
        if self._systemd:
            run(["systemctl", "kill", "--signal=KILL", self.target])
        else:
            os.kill(self._wait_for_pid(), signal.SIGKILL)

    def remove(self) -> None:
        if self._systemd:
            run(["systemctl", "disable", "--runtime", "--now", self.target], check=False)
            run(["systemctl", "reset-failed", self.target], check=False)
            (SYSTEMD / self.target).unlink(missing_ok=True)
            run(["systemctl", "daemon-reload"])
            return
        script = Path("/etc/init.d") / NAME
        if script.exists():
            run([str(script), "stop"], check=False)
        for level in "2345":
            (Path(f"/etc/rc{level}.d") / f"S01{NAME}").unlink(missing_ok=True)
        script.unlink(missing_ok=True)
        Path(f"/run/{NAME}.pid").unlink(missing_ok=True)

    def _wait_for_pid(self) -> int:
        path = Path(f"/run/{NAME}.pid")
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            if path.exists() and (text := path.read_text().strip()):
                return int(text)
            time.sleep(0.05)
        raise DrillError(f"{path} was not written: the service did not start")
