"""A data folder, the real intake process on it, and the rest of the server beside it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from client import Client

HERE = Path(__file__).parent


class World:
    """One installation's intake."""

    def __init__(self, home):
        self.home = Path(home)
        self.log_path = self.home / "intake.log"
        self.address = ("127.0.0.1", _free_port())
        self.environment = {
            **os.environ,
            "FORESTALL_HOME": str(self.home),
            "FORESTALL_INTAKE": f"127.0.0.1:{self.address[1]}",
        }
        self.intake = None
        self.far_side = subprocess.Popen(
            [sys.executable, str(HERE / "far_side.py")],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ca_pem = self.do("setup")

    def do(self, act, **arguments):
        """Have the rest of the server do something."""
        self.far_side.stdin.write(json.dumps({"do": act, **arguments}) + "\n")
        self.far_side.stdin.flush()
        answer = json.loads(self.far_side.stdout.readline())
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["answer"]

    def start(self):
        with self.log_path.open("ab") as log:
            self.intake = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-m", "forestall.server.intake"],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(self.address, timeout=1):
                return
            if self.intake.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"intake did not start:\n{self.log()}")

    def kill(self):
        self.intake.send_signal(signal.SIGKILL)
        self.intake.wait()

    def stop(self):
        if self.intake is not None and self.intake.poll() is None:
            self.intake.terminate()
            self.intake.wait(15)

    def close(self):
        self.stop()
        self.far_side.stdin.close()
        self.far_side.wait(15)
        self.far_side.stdout.close()

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def client(self, **more):
        return Client(self.address, self.ca_pem, **more)

    def device(self, *, client="Acme", hostname="reception-pc", approved=True):
        """An enrolled device with an open session."""
        one = self.client()
        one.enrol(self.do("token", client=client), hostname=hostname)
        if approved:
            self.do("approve", device_id=one.device_id)
            self.wait_until_known(one)
        one.open()
        return one

    def wait_until_known(self, one, status="approved"):
        """Until intake has seen the device's state: a second at most."""
        deadline = time.monotonic() + 10
        while one.open().status != status:
            assert time.monotonic() < deadline, f"{one.device_id} is still not {status}"
            time.sleep(0.05)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
