"""Disks: SMART reports of real disks, and what is said where there is none."""

# ruff: noqa: E501 - recorded outputs and tables of cases keep their lines
from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestall.agent.collect import disks
from forestall.agent.collect.host import CommandResult
from forestall.agent.collect.tests.recorded_host import RecordedHost

FIXTURES = Path(__file__).parent / "fixtures/smart"
REPORTS = sorted((Path(__file__).parents[6] / "shared/data/smart/smartctl-json").glob("*.json"))


def parsed(name):
    return disks.parse_smartctl((FIXTURES / name).read_text(), "/dev/x")


def test_an_nvme_disk_tells_wear_and_media_errors():
    disk = parsed("nvme_worn.json")
    assert (disk.kind, disk.smart_passed, disk.wear_percent, disk.media_errors) == ("nvme", True, 73.0, 0)
    assert (disk.temperature_celsius, disk.power_on_hours, disk.reallocated_sectors) == (35.0, 8832, None)


def test_a_hard_disk_tells_its_reallocated_sectors():
    disk = parsed("sata_hdd_reallocated.json")
    assert (disk.kind, disk.reallocated_sectors, disk.pending_sectors, disk.wear_percent) == ("hdd", 304, 0, None)


def test_a_sas_disk_tells_its_grown_defects_and_uncorrected_errors():
    disk = parsed("scsi_hdd.json")
    assert (disk.reallocated_sectors, disk.media_errors) == (260, 536)


def test_a_sata_ssd_tells_wear():
    disk = parsed("sata_ssd.json")
    assert (disk.kind, disk.wear_percent, disk.reallocated_sectors) == ("ssd", 0.0, 1)


def test_a_failed_self_assessment_is_told():
    report = json.loads((FIXTURES / "sata_ssd.json").read_text())
    report["smart_status"]["passed"] = False
    disk = disks.parse_smartctl(json.dumps(report), "/dev/sda")
    assert (disk.smart_available, disk.smart_passed, disk.unknown_why) == (True, False, "")


@pytest.mark.skipif(not REPORTS, reason="the recorded reports are not here")
def test_every_recorded_report_is_understood():
    for path in REPORTS:
        report = json.loads(path.read_text())
        disk = disks.parse_smartctl(path.read_text(), "/dev/x")
        assert disk.smart_passed is report["smart_status"]["passed"], path.name
        size = report["user_capacity"]["bytes"] if "user_capacity" in report else report["nvme_total_capacity"]
        assert disk.size_bytes == size > 0, path.name
        assert disk.model, path.name
        assert disk.serial == report["serial_number"], path.name
        assert disk.temperature_celsius is not None, path.name
        assert abs(disk.temperature_celsius - report["temperature"]["current"]) <= 2.5, path.name
        if "power_on_time" in report:
            assert 0 <= report["power_on_time"]["hours"] - disk.power_on_hours < 24, path.name
        assert (disk.kind == "nvme") is (report["device"]["protocol"] == "NVMe"), path.name
        assert disk.wear_percent is None or 0 <= disk.wear_percent <= 100, path.name
        if disk.kind in ("ssd", "nvme"):
            assert disk.wear_percent is not None, path.name
        if report["device"]["protocol"] == "ATA" and disk.kind == "hdd":
            assert disk.reallocated_sectors is not None, path.name


BLOCK = {
    "/sys/block/sda/size": "1000215216\n", "/sys/block/sda/device/model": "KINGSTON SKC400S371T\n",
    "/sys/block/sda/queue/rotational": "0\n",
    "/sys/block/vda/size": "20971520\n", "/sys/block/vda/queue/rotational": "1\n",
    "/sys/block/loop0/size": "100\n", "/sys/block/dm-0/size": "100\n", "/sys/block/nbd0/size": "0\n",
}  # fmt: skip


def test_physical_disks_are_asked_and_virtual_ones_send_to_their_host():
    report = (FIXTURES / "sata_ssd.json").read_text()
    document = disks.collect(RecordedHost(files=BLOCK, outputs={"smartctl --json --all /dev/sda": report}))
    sda, vda = document.disks
    assert (sda.device, sda.smart_passed, sda.kind) == ("/dev/sda", True, "ssd")
    assert (vda.kind, vda.smart_available, vda.size_bytes) == ("virtual", False, 20971520 * 512)
    assert vda.unknown_why == "a virtual disk; ask its host"
    assert document.gaps == ()


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({}, "smartctl is not installed"),
        ({"programs": ["smartctl"], "is_root": False}, "needs root"),
        (
            {"outputs": {"smartctl": CommandResult('{"smartctl": {"messages": [{"string": "/dev/sda: Unable to detect device type", "severity": "error"}], "exit_status": 1}}', "", 1)}},
            "/dev/sda: Unable to detect device type",
        ),
        ({"outputs": {"smartctl": CommandResult("", "smartctl: not JSON\n", 1)}}, "smartctl: not JSON"),
    ],
)  # fmt: skip
def test_where_health_is_unknown_the_document_says_why(more, why):
    document = disks.collect(RecordedHost(files=BLOCK, **more))
    sda = document.disks[0]
    assert (sda.smart_available, sda.smart_passed, sda.unknown_why) == (None, None, why)
    assert sda.model == "KINGSTON SKC400S371T"
    assert [(gap.what, gap.why) for gap in document.gaps] == [("health of /dev/sda", why)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**60) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["device", "protocol", "smart_status", "passed", "temperature", "current", "table", "ata_smart_attributes", "raw", "value",
         "smartctl", "messages", "string", "severity", "scsi_error_counter_log", "read"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(
    ["device", "smart_status", "temperature", "ata_smart_attributes", "smartctl", "rotation_rate", "user_capacity",
     "nvme_smart_health_information_log", "scsi_error_counter_log", "endurance_used", "smart_support"]), json_values))  # fmt: skip
def test_an_odd_report_does_not_break_the_parser(report):
    assert disks.parse_smartctl(json.dumps(report), "/dev/x").device == "/dev/x"


@pytest.mark.parametrize("text", ["", "smartctl 7.3", "[]", "null"])
def test_what_is_no_report_is_refused_with_the_disks_name(text):
    with pytest.raises(ValueError, match="/dev/x"):
        disks.parse_smartctl(text, "/dev/x")
