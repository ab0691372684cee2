"""Samples: counted as df and the kernel count, rates only from two readings that belong together."""

# ruff: noqa: E501 - recorded outputs and tables of cases keep their lines
from __future__ import annotations

import math
import shutil
import time

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestall.agent.collect.samples import SampleReader, used_share
from forestall.wire.series import parse_series

NET = "Inter-|   Receive  |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed\n"


class Machine:
    """A folder that looks like /proc and /sys, and a clock to move by hand."""

    def __init__(self, root):
        self.root, self.now = root, 1000.0
        (root / "sys/block/vda").mkdir(parents=True)
        self.write("sys/class/hwmon/hwmon0/name", "coretemp\n")
        self.write("sys/class/hwmon/hwmon0/temp1_label", "Package id 0\n")
        self.write("sys/class/hwmon/hwmon0/temp1_input", "47500\n")
        self.write("proc/uptime", "3600.25 7000.00\n")
        self.write("proc/loadavg", "0.50 0.25 0.10 3/120 4242\n")
        self.write(
            "proc/meminfo",
            "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 250 kB\nSwapTotal: 200 kB\nSwapFree: 150 kB\n",
        )
        self.write("proc/self/mountinfo", "27 1 254:0 / / rw - ext4 /dev/vda rw\n")
        self.write("proc/net/snmp", "Tcp: RtoMin CurrEstab InSegs\nTcp: 200 7 99\n")
        self.write(
            "proc/net/sockstat", "sockets: used 9\nTCP: inuse 5 orphan 0 tw 3 alloc 6 mem 1\nUDP: inuse 2 mem 0\n"
        )
        self.write("proc/net/sockstat6", "TCP6: inuse 1\nUDP6: inuse 1\n")
        for pid in (1, 2, 30):
            (root / f"proc/{pid}").mkdir()
        self.cpu(0)
        self.disk(0, 0, 0)
        self.net(0, 0)
        self.reader = SampleReader(root=str(root), clock=lambda: self.now)

    def write(self, path, text):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def cpu(self, user, idle=0, iowait=0, steal=0):
        self.write(
            "proc/stat",
            f"cpu  {user} 0 0 {idle} {iowait} 0 0 {steal} 0 0\ncpu0 1 2 3\nbtime 1\nprocs_blocked 2\nsoftirq 1\n",
        )

    def disk(self, read, written, busy):
        self.write(
            "proc/diskstats",
            f" 254 0 vda 5 0 {read} 0 5 0 {written} 0 0 {busy} 0\n 254 1 vda1 5 0 1 0 5 0 1 0 0 1 0\n 7 0 loop0 5 0 1 0 5 0 1 0 0 1 0\n",
        )

    def net(self, received, errors):
        line = f"{received} 1 {errors} 0 0 0 0 0 500 1 0 0 0 0 0 0\n"
        self.write("proc/net/dev", f"{NET}    lo: {line}  eth0: {line}veth12: {line}")

    def read(self):
        names, values = self.reader.read()
        assert len(names) == len(values)
        return dict(zip(names, values, strict=True))


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_the_first_reading_has_every_series_and_no_rates(machine):
    first = machine.read()
    assert math.isnan(first["cpu.used_percent"])
    assert math.isnan(first["disk.read_bytes_per_second{disk=vda}"])
    assert first["load.5m"] == 0.25
    assert (first["memory.available_percent"], first["memory.used_percent"], first["swap.used_percent"]) == (25, 75, 25)
    assert (first["sockets.tcp_established"], first["sockets.tcp_time_wait"], first["sockets.udp"]) == (7, 3, 3)
    assert (first["processes.count"], first["processes.running"], first["processes.blocked"]) == (3, 3, 2)
    assert first["temperature.celsius{sensor=coretemp Package id 0}"] == 47.5
    assert first["uptime.seconds"] == 3600.25
    labels = [parse_series(name)[1] for name in first]
    assert {each["disk"] for each in labels if "disk" in each} == {"vda"}
    assert {each["interface"] for each in labels if "interface" in each} == {"eth0"}


def test_rates_are_what_passed_between_two_readings(machine):
    before = machine.read()
    machine.now += 60
    machine.cpu(user=30, idle=50, iowait=15, steal=5)
    machine.disk(read=120, written=240, busy=30_000)
    machine.net(received=6000, errors=3)
    after = machine.read()
    assert list(after) == list(before), "the catalogue stays as it is"
    assert after["cpu.used_percent"] == 35  # steal counts as used: the machine did not have it
    assert (after["cpu.iowait_percent"], after["cpu.steal_percent"]) == (15, 5)
    assert after["disk.read_bytes_per_second{disk=vda}"] == 120 * 512 / 60
    assert after["disk.write_bytes_per_second{disk=vda}"] == 240 * 512 / 60
    assert after["disk.busy_percent{disk=vda}"] == 50
    assert after["network.receive_bytes_per_second{interface=eth0}"] == 100
    assert after["network.receive_errors_per_second{interface=eth0}"] == 0.05
    assert after["network.send_bytes_per_second{interface=eth0}"] == 0


def test_a_counter_that_went_backwards_gives_no_rate_and_recovers(machine):
    machine.net(received=6000, errors=0)
    machine.cpu(user=500, idle=500)
    machine.read()
    machine.now += 60
    machine.net(received=10, errors=0)
    machine.cpu(user=1, idle=1)
    reset = machine.read()
    assert math.isnan(reset["network.receive_bytes_per_second{interface=eth0}"])
    assert math.isnan(reset["cpu.used_percent"])
    machine.now += 60
    machine.net(received=610, errors=0)
    assert machine.read()["network.receive_bytes_per_second{interface=eth0}"] == 10


def test_a_volume_that_comes_and_goes_changes_the_catalogue(machine):
    assert "disk.used_percent{volume=/data}" not in machine.read()
    (machine.root / "data").mkdir()
    machine.write(
        "proc/self/mountinfo", "27 1 254:0 / / rw - ext4 /dev/vda rw\n28 1 254:1 / /data rw - xfs /dev/vdb rw\n"
    )
    with_data = machine.read()
    assert with_data["disk.total_bytes{volume=/data}"] > 0
    assert "inodes.used_percent{volume=/data}" not in with_data, "xfs makes inodes as it needs them"
    shutil.rmtree(machine.root / "data")
    assert math.isnan(machine.read()["disk.used_percent{volume=/data}"])


def test_a_machine_without_these_files_has_numbers_that_are_not(tmp_path):
    (tmp_path / "proc").mkdir()
    names, values = SampleReader(root=str(tmp_path)).read()
    found = dict(zip(names, values, strict=True))
    assert math.isnan(found["memory.available_percent"])
    assert math.isnan(found["uptime.seconds"])
    assert not any(name.startswith("disk.") for name in names)


@given(st.integers(1, 10**12), st.floats(0, 1), st.floats(0, 1))
def test_the_share_used_is_that_of_df(blocks, free_share, available_share):
    free = int(blocks * free_share)
    available = int(free * available_share)
    share = used_share(blocks, free, available)
    if blocks - free + available == 0:
        assert math.isnan(share)
    else:
        assert 0 <= share <= 100
        assert (share == 100) is (available == 0)


def test_this_machine_is_counted_as_other_programs_count_it():
    reader = SampleReader()
    reader.read()
    time.sleep(0.3)
    names, values = reader.read()
    found = dict(zip(names, values, strict=True))
    root = psutil.disk_usage("/")
    assert found["disk.total_bytes{volume=/}"] == root.total
    assert found["disk.free_bytes{volume=/}"] == pytest.approx(root.free, rel=0.02)
    assert found["disk.used_percent{volume=/}"] == pytest.approx(root.percent, abs=1)
    assert found["memory.total_bytes"] == psutil.virtual_memory().total
    assert found["memory.available_bytes"] == pytest.approx(psutil.virtual_memory().available, rel=0.1)
    assert 0 <= found["cpu.used_percent"] <= 100
    assert found["processes.count"] == pytest.approx(len(psutil.pids()), abs=20)
    assert found["uptime.seconds"] == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=2)
    assert not any(math.isnan(value) for name, value in found.items() if not name.startswith("temperature"))


def test_a_reading_costs_next_to_nothing():
    reader = SampleReader()
    reader.read()
    began = time.process_time()
    for _ in range(20):
        reader.read()
    assert (time.process_time() - began) / 20 < 0.005, "one a minute, of 20 ms a minute for the whole agent"
