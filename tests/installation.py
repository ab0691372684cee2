"""A whole Forestall on free ports and a data folder of its own, started as a person starts it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from forestall.cli.client import Api

START_SECONDS = 120
T = TypeVar("T")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def eventually(look: Callable[[], T], *, seconds: float, what: str, every: float = 0.1) -> T:
    """What ``look`` returns once that is true; AssertionError naming what did not come."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what} (last: {found!r})")
        time.sleep(every)


@dataclass
class Installation:
    """``forestall up`` in a process group of its own."""

    home: Path
    console: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    intake: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    extra: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("FORESTALL_", "PYTEST_"))
        }
        return {
            **inherited,
            "FORESTALL_HOME": str(self.home),
            "FORESTALL_CONSOLE": self.console,
            "FORESTALL_INTAKE": self.intake,
            "FORESTALL_FEEDS": "off",
            **self.extra,
        }

    @property
    def first_run(self) -> dict[str, str]:
        content: dict[str, str] = json.loads((self.home / "first-run.json").read_text())
        return content

    @property
    def api(self) -> Api:
        return Api(url=self.first_run["console_url"], token=self.first_run["api_token"])

    def start(self, *arguments: str) -> None:
        """Start it and wait until it says that it is ready."""
        self.home.mkdir(parents=True, exist_ok=True)
        log = self.home / "up.log"
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "forestall.cli.main", "up", *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        process = self.process

        def ready() -> bool:
            assert process.poll() is None, f"forestall up ended with {process.returncode}:\n{log.read_text()}"
            return (self.home / "first-run.json").exists()

        try:
            eventually(ready, seconds=START_SECONDS, what="first-run.json")
        except AssertionError:
            self.stop()
            logs = "\n".join(f"--- {one.name}\n{one.read_text()[-2000:]}" for one in (self.home / "logs").glob("*.log"))
            raise AssertionError(f"forestall up is not ready:\n{log.read_text()}\n{logs}") from None

    def parts(self) -> dict[str, int]:
        """Name → process id of every part, as the supervisor last wrote it."""
        state = json.loads((self.home / "run" / "parts.json").read_text())
        return {name: one["pid"] for name, one in state.items()}

    def forestall(self, *arguments: str, timeout: float = 120, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of the CLI against this installation."""
        done = subprocess.run(
            [sys.executable, "-m", "forestall.cli.main", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0 or not check, f"forestall {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done

    def device(self) -> dict[str, Any]:
        device: dict[str, Any] = self.api.get(f"/devices/{self.first_run['device_id']}")
        return device

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise AssertionError("forestall up did not stop within 20 s of SIGTERM") from None
