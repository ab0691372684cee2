"""What goes wrong on the machine is said in one line that names it, never as a traceback."""

from __future__ import annotations

import os
import signal
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


def test_one_address_for_both(tmp_path: Path) -> None:
    address = "127.0.0.1:18420"
    done = forestall("up", FORESTALL_HOME=str(tmp_path / "h"), FORESTALL_CONSOLE=address, FORESTALL_INTAKE=address)
    assert (done.returncode, done.stderr) == (2, f"Error: FORESTALL_CONSOLE and FORESTALL_INTAKE are both {address}\n")


@pytest.mark.parametrize("arguments", [("up",), ("up", "--detach")])
def test_a_taken_address_is_said_in_one_line_before_anything_is_made(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as another:
        free = f"127.0.0.1:{another.getsockname()[1]}"
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        done = forestall(*arguments, FORESTALL_HOME=str(tmp_path), FORESTALL_CONSOLE=taken, FORESTALL_INTAKE=free)
    assert done.returncode == 2
    assert (
        done.stderr
        == f"Error: console: {taken} is taken by another program; set FORESTALL_CONSOLE to another address\n"
    )
    assert not (tmp_path / "server").exists()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small volume needs root")
def test_a_volume_without_room_is_said_before_anything_is_made(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=True)
    try:
        done = forestall("up", FORESTALL_HOME=str(tmp_path / "home"))
        assert list(tmp_path.rglob("*")) == [tmp_path / "home"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert done.returncode == 2
    assert "KiB free; 16,384 KiB are needed" in done.stderr


def test_interrupted_in_its_first_minute_it_stops_in_a_word(tmp_path: Path) -> None:
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as one:
            ports.append(one.getsockname()[1])
    process = subprocess.Popen(
        [sys.executable, "-m", "forestall.cli.main", "up"],
        env={
            **os.environ,
            "FORESTALL_HOME": str(tmp_path),
            "FORESTALL_CONSOLE": f"127.0.0.1:{ports[0]}",
            "FORESTALL_INTAKE": f"127.0.0.1:{ports[1]}",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert process.stdout
    assert "Keys of this server" in process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, told = process.communicate(timeout=30)
    assert (process.returncode, told) == (130, "Stopped.\n")
    assert "does not run" in forestall("status", FORESTALL_HOME=str(tmp_path)).stdout


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
