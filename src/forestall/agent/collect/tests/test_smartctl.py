"""What smartctl prints, as text and as JSON: attributes, self tests, wear, limits."""

# ruff: noqa: E501 - recorded outputs keep their lines
from __future__ import annotations

import json
from pathlib import Path

import pytest

from forestall.agent.collect import disks
from forestall.agent.collect.captures import captures
from forestall.agent.collect.captures.capture import CapturedFile
from forestall.agent.collect.smartctl import disk_of, passed_of, steady
from forestall.agent.collect.tests.recorded_host import RecordedHost
from forestall.wire.facts import SelfTest

SHARED = Path(__file__).parents[6] / "shared/data/smart"
GOLDEN = sorted((SHARED / "pysmart/singletests").glob("*/device.json"))

ATA = """\
# smartctl -a /dev/sdc
smartctl 7.3 2022-02-28 r5338 [x86_64-linux-6.1.0-18-amd64] (local build)
Copyright (C) 2002-22, Bruce Allen, Christian Franke, www.smartmontools.org

=== START OF INFORMATION SECTION ===
Device Model:     EXAMPLE DISK 4000
Serial Number:    SN-1
Firmware Version: FW09
User Capacity:    4.000.787.030.016 bytes [4,00 TB]
Sector Sizes:     512 bytes logical, 4096 bytes physical
Rotation Rate:    5400 rpm
SMART support is: Available - device has SMART capability.
SMART support is: Enabled

=== START OF READ SMART DATA SECTION ===
SMART overall-health self-assessment test result: FAILED!
Drive failure expected in less than 24 hours. SAVE ALL DATA.

General SMART Values:
Offline data collection status:  (0x82) Offline data collection activity
                                        was completed without error.

SMART Attributes Data Structure revision number: 16
Vendor Specific SMART Attributes with Thresholds:
ID# ATTRIBUTE_NAME          FLAG     VALUE WORST THRESH TYPE      UPDATED  WHEN_FAILED RAW_VALUE
  5 Reallocated_Sector_Ct   0x0033   001   001   010    Pre-fail  Always   FAILING_NOW 65392
  9 Power_On_Hours          0x0032   041   041   000    Old_age   Always       -       43501 (12 3 0)
184 End-to-End_Error        0x0032   098   098   099    Old_age   Always   In_the_past 2
187 Reported_Uncorrect      0x0032   088   088   000    Old_age   Always       -       12
188 Command_Timeout         0x0032   100   099   000    Old_age   Always       -       21475164165
194 Temperature_Celsius     0x0022   034   045   000    Old_age   Always       -       34 (Min/Max 11/45)
197 Current_Pending_Sector  0x0012   100   100   000    Old_age   Always       -       8
198 Offline_Uncorrectable   0x0010   100   100   000    Old_age   Offline      -       7
241 Total_LBAs_Written      0x0000   100   253   000    Old_age   Offline      -       1000000
250 Sideways_Count          0x0000   100   253   000    Old_age   Offline      -       many

SMART Error Log Version: 1
ATA Error Count: 31 (device log contains only the most recent five errors)
\tCR = Command Register [HEX]

Error 31 occurred at disk power-on lifetime: 43499 hours (1812 days + 11 hours)

SMART Self-test log structure revision number 1
Num  Test_Description    Status                  Remaining  LifeTime(hours)  LBA_of_first_error
# 1  Extended offline    Completed: read failure       90%     43480         7814035
# 2  Short offline       Completed without error       00%     43001         -
#10  Conveyance offline  Aborted by host               10%     42001         -

SMART Selective self-test log data structure revision number 1
 SPAN  MIN_LBA  MAX_LBA  CURRENT_TEST_STATUS
    1        0        0  Not_testing
If Selective self-test is pending on power-up, resume after 0 minute delay.
Something that no version has printed yet
"""


def parsed(text, name="disk.txt"):
    return captures()["smartctl"].parse([CapturedFile(name, text.encode())])


def test_a_dying_disk_in_text_is_read_to_the_last_line():
    result = parsed(ATA)
    (disk,) = result.document.disks
    assert (disk.device, disk.model, disk.serial, disk.firmware) == ("/dev/sdc", "EXAMPLE DISK 4000", "SN-1", "FW09")
    assert (disk.size_bytes, disk.kind, disk.interface, disk.rotation_rpm) == (4_000_787_030_016, "hdd", "sata", 5400)
    assert (disk.smart_available, disk.smart_passed, disk.error_log_count) == (True, False, 31)
    assert (disk.reallocated_sectors, disk.pending_sectors, disk.uncorrectable_sectors) == (65392, 8, 7)
    assert (disk.media_errors, disk.command_timeouts, disk.written_bytes) == (12, 5, 512_000_000)
    assert (disk.temperature_celsius, disk.power_on_hours) == (34.0, 43501)
    assert [(each.id, each.failed, each.prefail) for each in disk.attributes if each.failed] == [
        (5, "now", True),
        (184, "past", False),
    ]
    assert disk.self_tests[0] == SelfTest(
        kind="Extended offline",
        status="Completed: read failure",
        passed=False,
        hours=43480,
        first_error="7814035",
        remaining_percent=90,
    )
    assert [each.passed for each in disk.self_tests] == [False, True, None]
    assert [(one.line, one.why) for one in result.unread] == [
        (35, "its raw value begins with no number"),
        (53, "not understood"),
    ]


def test_blanks_folded_by_a_mail_program_cost_nothing():
    folded = "\n".join(" ".join(line.split()) for line in ATA.splitlines())
    assert parsed(folded).document.disks == parsed(ATA).document.disks


def test_brief_attributes_of_smartctl_x_are_read():
    text = ATA.replace(
        "187 Reported_Uncorrect      0x0032   088   088   000    Old_age   Always       -       12",
        "187 Reported_Uncorrect      -O--CK   088   088   000    NOW  12",
    )
    attribute = next(each for each in parsed(text).document.disks[0].attributes if each.id == 187)
    assert (attribute.value, attribute.raw, attribute.failed) == (88, 12, "now")


NVME = """\
smartctl 7.4 2023-08-01 r5530 [x86_64-linux-6.8.0] (local build)
=== START OF INFORMATION SECTION ===
Model Number:                       EXAMPLE NVME
Serial Number:                      N-1
Total NVM Capacity:                 1,000,204,886,016 [1.00 TB]
Warning  Comp. Temp. Threshold:     82 Celsius

=== START OF SMART DATA SECTION ===
SMART overall-health self-assessment test result: FAILED!
- available spare has fallen below threshold
SMART/Health Information (NVMe Log 0x02)
Critical Warning:                   0x01
Temperature:                        61 Celsius
Available Spare:                    4%
Available Spare Threshold:          10%
Percentage Used:                    117%
Data Units Written:                 2,000,000 [1.02 TB]
Power On Hours:                     9,001
Media and Data Integrity Errors:    3
Error Information Log Entries:      44

Self-test Log (NVMe Log 0x06)
Self-test status: Short self-test in progress (40% completed)
Num  Test_Description  Status                       Power_on_Hours  Failing_LBA  NSID Seg SCT Code
 0   Extended          Completed: failed segments            8800         12345     1   7   -    -
"""


def test_an_nvme_disk_that_is_worn_out():
    (disk,) = parsed(NVME, "nvme0n1.txt").document.disks
    assert (disk.device, disk.kind, disk.interface) == ("/dev/nvme0n1", "nvme", "nvme")
    assert (disk.critical_warning, disk.spare_percent, disk.spare_threshold_percent) == (1, 4.0, 10.0)
    assert (disk.wear_percent, disk.media_errors, disk.temperature_limit_celsius) == (117.0, 3, 82.0)
    assert (disk.written_bytes, disk.power_on_hours) == (1_024_000_000_000, 9001)
    assert [(each.kind, each.passed, each.remaining_percent) for each in disk.self_tests] == [
        ("Short", None, 60),
        ("Extended", False, None),
    ]


SCSI = """\
smartctl 6.6 2017-11-05 r4594 [x86_64-linux-4.18.0] (local build)
Vendor:               EXAMPLE
Product:              SAS9000
Revision:             0004
User Capacity:        600 127 266 816 bytes [600 GB]
Rotation Rate:        10000 rpm
Serial number:        S-1
Transport protocol:   SAS (SPL-3)
=== START OF READ SMART DATA SECTION ===
SMART Health Status: DATA CHANNEL IMPENDING FAILURE DATA ERROR RATE TOO HIGH [asc=5d, ascq=32]
Current Drive Temperature:     41 C
Drive Trip Temperature:        65 C
Elements in grown defect list: 77
Error counter log:
read:   1234        0         0      1234       1234       9999.500           5
write:     0        0         0         0          0       1000.250           1
    Accumulated power on time, hours:minutes 41220:13 [2473213 minutes]
SMART Self-test log
# 1  Background long   Failed in segment -->         5   41000             8675309 [0x3 0x11 0x0]
# 2  Background short  Completed                     -     349                 - [-   -    -]
# 3  Background short  Aborted (by user command)     -     300                 - [-   -    -]
"""


def test_a_sas_disk_that_predicts_its_failure():
    (disk,) = parsed(SCSI).document.disks
    assert (disk.model, disk.firmware, disk.interface, disk.smart_passed) == ("SAS9000", "0004", "sas", False)
    assert (disk.reallocated_sectors, disk.media_errors, disk.temperature_limit_celsius) == (77, 6, 65.0)
    assert (disk.power_on_hours, disk.written_bytes) == (41220, 1_000_250_000_000)
    assert [(each.passed, each.hours) for each in disk.self_tests] == [(False, 41000), (True, 349), (None, 300)]


@pytest.mark.parametrize(
    ("status", "passed"),
    [
        ("Completed without error", True), ("Completed", True), ("Completed: read failure", False),
        ("Completed: servo/seek failure", False), ("Fatal or unknown error", False), ("Interrupted (host reset)", None),
        ("Aborted by host", None), ("Self-test routine in progress", None), ("Completed, segment failed", False),
        ("Self test in progress ...", None), ("Unknown status", None), ("Aborted: Self-test command", None),
    ],
)  # fmt: skip
def test_how_a_self_test_ended(status, passed):
    assert passed_of(status) is passed


def test_the_json_of_newer_smartctl_tells_self_tests_too():
    report = {
        "smartctl": {"version": [7, 4]}, "device": {"name": "/dev/sda", "type": "sat+megaraid,3", "protocol": "ATA"},
        "rotation_rate": 7200, "smart_status": {"passed": True}, "power_on_time": {"hours": 100},
        "ata_smart_self_test_log": {"extended": {"table": [
            {"type": {"string": "Short offline"}, "status": {"value": 121, "string": "Completed: read failure", "remaining_percent": 90, "passed": False}, "lifetime_hours": 99, "lba": 77}]}},
        "ata_smart_error_log": {"extended": {"count": 4}}, "temperature": {"current": 30, "op_limit_max": 60},
    }  # fmt: skip
    disk = disk_of(report, "/dev/sda")
    assert disk.self_tests == (
        SelfTest(
            kind="Short offline",
            status="Completed: read failure",
            passed=False,
            hours=99,
            first_error="77",
            remaining_percent=90,
        ),
    )
    assert (disk.behind, disk.error_log_count, disk.temperature_limit_celsius) == ("megaraid,3", 4, 60.0)


def test_what_moves_at_every_look_does_not_leave_the_device():
    first = parsed(ATA).document.disks[0]
    later = parsed(
        ATA.replace("34 (Min", "36 (Min")
        .replace("43501 (12 3 0)", "43510 (12 9 0)")
        .replace("-       1000000", "-       1000900")
    ).document.disks[0]
    assert first != later
    assert steady(first) == steady(later)
    worse = parsed(ATA.replace("-       8\n", "-       9\n")).document.disks[0]
    assert steady(worse) != steady(first)


def test_disks_behind_a_raid_controller_are_asked_through_it():
    scan = {"devices": [
        {"name": "/dev/sda", "type": "scsi", "protocol": "SCSI"},
        {"name": "/dev/bus/0", "type": "sat+megaraid,16", "protocol": "ATA"},
    ]}  # fmt: skip
    report = (Path(__file__).parent / "fixtures/smart/sata_ssd.json").read_text()
    document = disks.collect(
        RecordedHost(
            files={
                "/sys/block/sda/size": "1000\n",
                "/sys/block/sda/device/model": "MR9361\n",
                "/sys/block/sda/queue/rotational": "1\n",
            },
            outputs={
                "smartctl --json --all /dev/sda": json.dumps({"smart_support": {"available": False}}),
                "smartctl --scan --json": json.dumps(scan),
                "smartctl --json --all -d sat+megaraid,16 /dev/bus/0": report,
            },
        )
    )
    array, behind = document.disks
    assert array.unknown_why == "the disk has no SMART"
    assert (behind.device, behind.behind, behind.smart_passed) == ("/dev/bus/0 megaraid,16", "megaraid,16", True)
    assert disks.parse_scan("[]") == disks.parse_scan("no JSON") == []


NOT_ITS_MODEL = {"sata_ssd_1_issue_72": "pySMART calls a disk by its additional product id"}


@pytest.mark.skipif(not GOLDEN, reason="pySMART's recordings are not here")
def test_recorded_texts_have_the_values_that_pysmart_expects():
    for expected in GOLDEN:
        wanted = json.loads(expected.read_text())["values"]
        file = next(each for each in expected.parent.glob("_*") if "all" in each.name)
        result = captures()["smartctl"].parse([CapturedFile(file.name, file.read_bytes())])
        where = expected.parent.name
        assert result.unread == (), where
        (disk,) = result.document.disks
        assert disk.smart_passed is {"PASS": True, "FAIL": False, "WARN": True, None: None}[wanted["assessment"]], where
        assert (disk.size_bytes, disk.serial, disk.firmware) == (wanted["size"], wanted["serial"], wanted["firmware"])
        assert disk.model == wanted["model"] or where in NOT_ITS_MODEL, where
        assert (disk.temperature_celsius or 0) == (wanted["temperature"] or 0), where
        assert (disk.rotation_rpm or 0) == (wanted["rotation_rate"] or 0), where
        assert (disk.kind in ("ssd", "nvme")) is wanted["is_ssd"], where
        rows = [each for each in wanted["attributes"] or [] if each]
        assert [(one.id, one.name, one.value, one.worst, one.threshold, one.raw) for one in disk.attributes] == [
            (each["num"], each["name"], each["value_int"], each["worst"], each["thresh"], each["raw_int"])
            for each in rows
        ], where
        tests = [(each["type"], int(each["hours"])) for each in wanted["tests"]]
        assert [(one.kind, one.hours) for one in disk.self_tests] == tests, where
