"""What goes wrong on the machine is said in one line that names it, never as a traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from forestall.server.home import Address
from forestall.server.supervisor import Part, PartFailedError, require_address


def forestall(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FORESTALL_")}
    return subprocess.run(
        [sys.executable, "-m", "forestall.cli.main", *arguments],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", [("up",), ("status",), ("down",), ("devices",), ("agent", "status")])
def test_a_data_folder_that_is_a_file(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "file").touch()
    done = forestall(*command, FORESTALL_HOME=str(tmp_path / "file"))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert str(tmp_path / "file") in done.stderr


@pytest.mark.parametrize("setting", ["FORESTALL_CONSOLE", "FORESTALL_INTAKE"])
@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999", ":8420"])
def test_an_address_that_is_none_is_named_before_anything_is_made(tmp_path: Path, setting: str, address: str) -> None:
    done = forestall("up", FORESTALL_HOME=str(tmp_path / "home"), **{setting: address})
    assert done.returncode == 2
    assert f"{setting}='{address}'" in done.stderr
    assert not (tmp_path / "home").exists()


def test_an_address_that_another_program_has() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        host, port = other.getsockname()
        console = Part("console", (), Address(host, port))
        with pytest.raises(PartFailedError, match=f"{port} is taken by another program; set FORESTALL_CONSOLE"):
            require_address(console)
    require_address(console)


@pytest.mark.parametrize("host", ["192.0.2.77", "no-such-host.invalid"])
def test_an_address_that_this_machine_does_not_have(host: str) -> None:
    with pytest.raises(PartFailedError, match=rf"{host}:8421 cannot be listened on \(.+\); set FORESTALL_INTAKE"):
        require_address(Part("intake", (), Address(host, 8421)))


def test_a_part_without_an_address_needs_none() -> None:
    require_address(Part("worker", ()))
