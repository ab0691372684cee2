"""Work in forked children."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

import pytest

from forestall.agent.apart import Apart, ApartError, run_apart


def all_of(child):
    messages = []
    while not child.advance():
        messages += child.messages()
    return messages + child.messages()


def test_messages_arrive_one_by_one_and_whole():
    def work(tell):
        for size in (0, 1, 100_000, 3):
            tell(b"x" * size)

    child = Apart(work)
    assert [len(message) for message in all_of(child)] == [0, 1, 100_000, 3]
    assert child.error is None


def test_what_was_told_before_a_failure_is_kept():
    def work(tell):
        tell(b"first")
        raise ValueError("broken")

    child = Apart(work)
    assert all_of(child) == [b"first"]
    assert str(child.error) == "ValueError: broken"


def test_a_killed_child_is_an_error():
    child = Apart(lambda _tell: os.kill(os.getpid(), 9))
    assert all_of(child) == []
    assert "signal 9" in str(child.error)


def test_a_child_can_be_ended_with_what_it_started():
    def work(tell):
        import subprocess

        subprocess.Popen(["sleep", "1000"])
        tell(b"started")
        time.sleep(1000)

    child = Apart(work)
    select.select([child], [], [])
    child.advance()
    child.end()
    assert child.advance()
    assert child.error is not None


def test_an_answer_or_its_error_comes_back():
    assert run_apart(lambda: b"answer", timeout=10) == b"answer"
    with pytest.raises(ApartError, match="KeyError"):
        run_apart(lambda: {}["x"], timeout=10)
    with pytest.raises(ApartError, match=r"within 0\.2 s"):
        run_apart(lambda: time.sleep(100) or b"", timeout=0.2)


def test_no_descriptor_and_no_zombie_is_left():
    run_apart(lambda: b"", timeout=10)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        run_apart(lambda: b"", timeout=10)
    # Fewer is fine: what earlier tests left behind may be collected meanwhile.
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_child_whose_agent_is_killed_does_not_linger(tmp_path):
    import sys

    script = (
        "import os, signal, time\n"
        "from forestall.agent.apart import Apart\n"
        "def work(tell):\n"
        f"    open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "    while True:\n"
        "        tell(b'x' * 100_000)\n"
        "other = Apart(lambda tell: time.sleep(3))\n"
        "child = Apart(work)\n"
        "time.sleep(0.3)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    import subprocess

    subprocess.run([sys.executable, "-c", script], check=False, timeout=30)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    # A zombie has ended: whether process 1 collects it is not ours to say.
    stat = Path(f"/proc/{pid}/stat")
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.02)
