"""Arrays: what RAID tools print when a disk is missing, and what we make of it."""

# ruff: noqa: E101, E501 - recorded outputs keep their lines
from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from forestall.agent.collect import arrays, disks, volumes
from forestall.agent.collect.captures import captures
from forestall.agent.collect.captures.capture import CapturedFile
from forestall.agent.collect.host import LocalHost
from forestall.agent.collect.tests.recorded_host import RecordedHost

SHARED = Path(__file__).parents[6] / "shared/data"


def parse(kind, *texts):
    parsed = captures()[kind].parse([CapturedFile(f"{index}.txt", text.encode()) for index, text in enumerate(texts)])
    assert parsed.document is not None, parsed.unread
    return parsed


MDSTAT = """\
Personalities : [raid1] [raid6] [raid5] [raid4] [raid10]
md0 : active raid1 sdb1[1](F) sda1[0]
      1953381376 blocks super 1.2 [2/1] [U_]
      bitmap: 3/15 pages [12KB], 65536KB chunk

md1 : active raid5 sdf[4] sde[2] sdd[1] sdc[0] sdg[5](S)
      5860147200 blocks super 1.2 level 5, 512k chunk, algorithm 2 [4/3] [UUU_]
      [==>..................]  recovery = 12.6% (246156032/1953382400) finish=127.5min speed=223154K/sec

md2 : active (auto-read-only) raid1 sdh1[0] sdi1[1]
      1047552 blocks super 1.2 [2/2] [UU]
        resync=PENDING

md127 : inactive sdj[0](S)
      976631512 blocks super 1.2

unused devices: <none>
what is this
"""


def test_mdstat_with_every_kind_of_trouble():
    parsed = parse("mdadm", MDSTAT)
    md0, md1, md2, md127 = parsed.document.arrays
    assert (md0.state, md0.level, md0.detail, md0.size_bytes) == (
        "degraded",
        "raid1",
        "1 of 2 disks",
        1953381376 * 1024,
    )
    assert [(each.name, each.state, each.ok) for each in md0.members] == [
        ("sdb1", "failed", False),
        ("sda1", "active", True),
    ]
    assert (md1.state, md1.progress_percent, md1.spares) == ("rebuilding", 12.6, 1)
    assert (md2.state, md2.detail) == ("ok", "auto-read-only, resync waits")
    assert md127.state == "failed"
    assert [str(each) for each in parsed.unread] == ["0.txt:18: not understood: what is this"]


def test_the_agent_reads_mdstat_and_counts_differences_of_parity():
    host = RecordedHost(
        files={
            "/proc/mdstat": MDSTAT,
            "/sys/block/md1/md/mismatch_cnt": "8\n",
            "/sys/block/md0/md/mismatch_cnt": "128\n",
        }
    )
    document = arrays.collect(host)
    assert document.sources == ("/proc/mdstat",)
    assert [(each.name, each.errors) for each in document.arrays[:2]] == [("md0", None), ("md1", 8)]


def test_a_machine_without_any_says_where_it_looked():
    document = arrays.collect(RecordedHost())
    assert (document.arrays, document.gaps) == ((), ())
    assert document.sources


DETAIL = """\
/dev/md0:
           Version : 1.2
     Creation Time : Sat Mar  4 11:10:12 2023
        Raid Level : raid1
        Array Size : 1953381376 (1862.89 GiB 2000.26 GB)
      Raid Devices : 2
     Total Devices : 2
             State : clean, degraded, recovering
    Active Devices : 1
   Working Devices : 2
    Failed Devices : 0
     Spare Devices : 1
    Rebuild Status : 37% complete
              Name : nas:0  (local to host nas)

    Number   Major   Minor   RaidDevice State
       0       8        1        0      active sync   /dev/sda1
       2       8       17        1      spare rebuilding   /dev/sdb1
"""


def test_mdadm_detail_of_a_rebuild():
    (array,) = parse("mdadm", DETAIL).document.arrays
    assert (array.name, array.state, array.progress_percent) == ("md0", "rebuilding", 37.0)
    assert [(each.name, each.state) for each in array.members] == [("/dev/sda1", "active"), ("/dev/sdb1", "rebuilding")]
    removed = (
        DETAIL.replace(", recovering", "")
        .replace("    Rebuild Status : 37% complete\n", "")
        .replace(
            "       2       8       17        1      spare rebuilding   /dev/sdb1",
            "       -       0        0        1      removed",
        )
    )
    (array,) = parse("mdadm", removed).document.arrays
    assert (array.state, array.members[1].state, array.members[1].ok) == ("degraded", "missing", False)


LVM = [
    {"report": [{"vg": [{"vg_name": "vg0", "vg_attr": "wz-pn-", "vg_size": "1000", "vg_free": "250"}]}]},
    {"report": [{"lv": [
        {"vg_name": "vg0", "lv_name": "root", "lv_attr": "-wi-ao----", "lv_size": "500", "data_percent": ""},
        {"vg_name": "vg0", "lv_name": "thin", "lv_attr": "twi-aotz--", "lv_size": "400", "data_percent": "87.35", "metadata_percent": "12.99"},
        {"vg_name": "vg0", "lv_name": "safe", "lv_attr": "rwi-a-r-p-", "lv_size": "100", "copy_percent": "100.00", "lv_health_status": "partial"},
        {"vg_name": "vg0", "lv_name": "new", "lv_attr": "rwi-a-r---", "lv_size": "100", "copy_percent": "41.2"},
        {"vg_name": "vg0", "lv_name": "full", "lv_attr": "twi-aotzD-", "lv_size": "100", "data_percent": "100.00"},
    ]}]},
    {"report": [{"pv": [{"pv_name": "/dev/sda2", "vg_name": "vg0", "pv_attr": "a--"}, {"pv_name": "[unknown]", "vg_name": "vg0", "pv_attr": "a-m"}]}]},
]  # fmt: skip


def test_lvm_with_a_missing_disk_a_thin_pool_and_a_mirror_in_the_making():
    found = {each.name: each for each in parse("lvm", *map(json.dumps, LVM)).document.arrays}
    assert (found["vg0"].state, found["vg0"].used_percent) == ("degraded", 75.0)
    assert [(each.name, each.ok) for each in found["vg0"].members] == [("/dev/sda2", True), ("[unknown]", False)]
    thin = found["vg0/thin"]
    assert (thin.level, thin.state, thin.used_percent, thin.metadata_percent) == ("thin-pool", "ok", 87.0, 12.0)
    assert (found["vg0/safe"].state, found["vg0/new"].state, found["vg0/new"].progress_percent) == (
        "degraded",
        "rebuilding",
        41.2,
    )
    assert (found["vg0/full"].state, "vg0/root" in found) == ("failed", False)


def test_the_agent_asks_lvm_only_where_there_is_a_sign_of_it():
    outputs = {"vgs": json.dumps(LVM[0]), "lvs": json.dumps(LVM[1]), "pvs": json.dumps(LVM[2])}
    assert arrays.collect(RecordedHost(outputs=outputs)).arrays == ()
    host = RecordedHost(files={"/etc/lvm/backup/vg0": "x"}, outputs=outputs)
    assert len(arrays.collect(host).arrays) == 5
    refused = arrays.collect(RecordedHost(files={"/etc/lvm/backup/vg0": "x"}, outputs=outputs, is_root=False))
    assert [(gap.what, gap.why) for gap in refused.gaps] == [("volume groups", "needs root")]


def test_tables_of_lvm_as_people_send_them():
    text = "  VG  #PV #LV #SN Attr   VSize   VFree\n  vg0   1   3   0 wz--n- <99.00g 9.90g\n"
    volumes_ = "  LV   VG  Attr       LSize  Pool Origin Data%  Meta%  Move Log Cpy%Sync Convert\n  root vg0 -wi-ao---- 20.00g\n  pool vg0 twi-aotz-- 50.00g             91.50  40.10\n"
    parsed = parse("lvm", text, volumes_)
    assert parsed.unread == ()
    group, pool = parsed.document.arrays
    assert (group.used_percent, pool.name, pool.used_percent, pool.metadata_percent) == (90.0, "vg0/pool", 91.0, 40.0)


ZPOOL = """\
  pool: tank
 state: DEGRADED
status: One or more devices is currently being resilvered.  The pool will
	continue to function, possibly in a degraded state.
action: Wait for the resilver to complete.
  scan: resilver in progress since Sun Nov 22 10:00:01 2026
	1.20T scanned at 512M/s, 600G issued at 256M/s, 4.00T total
	300G resilvered, 15.00% done, 03:52:10 to go
config:

	NAME                        STATE     READ WRITE CKSUM
	tank                        DEGRADED     0     0     0
	  raidz2-0                  DEGRADED     0     0     0
	    ata-A                   ONLINE       0     0     0
	    replacing-1             DEGRADED     0     0     0
	      ata-B                 OFFLINE      0     0     0
	      ata-C                 ONLINE       0     0     0  (resilvering)
	    ata-D                   ONLINE       3     0  1.2K

errors: No known data errors

  pool: backup
 state: ONLINE
  scan: scrub repaired 0B in 02:11:43 with 0 errors on Sun Nov  8 02:35:44 2026
config:

	NAME        STATE     READ WRITE CKSUM
	backup      ONLINE       0     0     0
	  sdz       ONLINE       0     0     0

errors: 2 data errors, use '-v' for a list
"""


def test_zfs_while_it_resilvers_and_with_damage():
    parsed = parse("zpool", ZPOOL)
    assert parsed.unread == ()
    tank, backup = parsed.document.arrays
    assert (tank.state, tank.level, tank.progress_percent, tank.errors) == ("rebuilding", "raidz2", 15.0, 0)
    assert [(each.name, each.state, each.ok) for each in tank.members] == [
        ("ata-A", "online", True), ("ata-B", "offline", False), ("ata-C", "online", True), ("ata-D", "online", True)
    ]  # fmt: skip
    assert (tank.members[3].read_errors, tank.members[3].checksum_errors) == (3, 1200)
    assert (backup.state, backup.errors, backup.scrub_at) == ("ok", 2, datetime(2026, 11, 8, 2, 35, 44, tzinfo=UTC))


def test_the_agent_adds_how_full_pools_are():
    host = RecordedHost(
        files={"/proc/spl/kstat/zfs/arcstats": "x"},
        outputs={"zpool status": ZPOOL, "zpool list": "tank\t4000000000000\t81\nbackup\t1000\t5%\n"},
    )
    found = {each.name: each for each in arrays.collect(host).arrays}
    assert (found["tank"].used_percent, found["tank"].size_bytes, found["backup"].used_percent) == (
        81.0,
        4 * 10**12,
        5.0,
    )


STORCLI = {"Controllers": [{
    "Command Status": {"Controller": 0, "Status": "Success"},
    "Response Data": {
        "Basics": {"Model": "AVAGO MegaRAID SAS 9361-8i", "Serial Number": "SK1"}, "Version": {"Firmware Version": "4.680"},
        "Status": {"Controller Status": "Optimal"},
        "VD LIST": [{"DG/VD": "0/0", "TYPE": "RAID5", "State": "Dgrd", "Size": "10.914 TB", "Name": "data"}],
        "PD LIST": [
            {"EID:Slt": "252:0", "State": "Onln", "DG": 0, "Size": "3.637 TB", "Intf": "SATA", "Med": "HDD", "Model": "ST4000"},
            {"EID:Slt": "252:1", "State": "Rbld", "DG": 0, "Size": "3.637 TB", "Intf": "SATA", "Med": "HDD", "Model": "ST4000"},
            {"EID:Slt": "252:2", "State": "UBad", "DG": "-", "Size": "3.637 TB", "Intf": "SATA", "Med": "HDD", "Model": "ST4000"},
        ],
        "Cachevault_Info": [{"Model": "CVPM02", "State": "Failed"}],
    },
}]}  # fmt: skip
STORCLI_TEXT = """\
CLI Version = 007.1623.0000.0000 May 17, 2021
Operating system = Linux 5.10.0
Controller = 0
Status = Success
Product Name = PERC H730
Serial Number = 66A
FW Version = 4.300
VD LIST :
=======
---------------------------------------------------------------
DG/VD TYPE  State Access Consist Cache Cac sCC       Size Name
---------------------------------------------------------------
0/0   RAID1 Dgrd  RW     No      RWBD  -   OFF 446.625 GB system
---------------------------------------------------------------
PD LIST :
-----------------------------------------------------------------------------------
EID:Slt DID State DG       Size Intf Med SED PI SeSz Model                  Sp Type
-----------------------------------------------------------------------------------
32:0      0 Onln   0 446.625 GB SATA SSD N   N  512B INTEL SSDSC2KB480G8    U  -
32:1      1 Failed 0 446.625 GB SATA SSD N   N  512B INTEL SSDSC2KB480G8    U  -
"""


def test_storcli_in_both_its_ways():
    document = parse("storcli", json.dumps(STORCLI)).document
    (array,), (controller,) = document.arrays, document.controllers
    assert (array.name, array.level, array.state) == ("c0 vd0", "raid5", "degraded")
    assert [(each.name, each.state) for each in array.members] == [
        ("enclosure 252 slot 0", "online"),
        ("enclosure 252 slot 1", "rebuilding"),
    ]
    assert (controller.ok, controller.battery, controller.battery_ok) == (True, "Failed", False)
    behind = parse("storcli-disks", json.dumps(STORCLI)).document.disks
    assert [(each.device, each.state) for each in behind][2] == ("c0 enclosure 252 slot 2", "unconfigured bad")
    text = parse("storcli", STORCLI_TEXT)
    assert text.unread == ()
    assert (text.document.arrays[0].state, text.document.arrays[0].members[1].state) == ("degraded", "failed")


SSACLI = """\
Smart Array P440ar in Slot 0 (Embedded)   (sn: PDNLH0BRH9P1X2)
   Controller Status: OK
   Cache Status: Temporarily Disabled
   Battery/Capacitor Status: Failed (Replace Batteries)

   array A (SAS, Unused Space: 0  MB)

      logicaldrive 1 (558.7 GB, RAID 1, Interim Recovery Mode)

      physicaldrive 1I:1:1 (port 1I:box 1:bay 1, SAS, 600 GB, OK)
      physicaldrive 1I:1:2 (port 1I:box 1:bay 2, SAS, 600 GB, Failed)

   array B (SAS, Unused Space: 0  MB)

      logicaldrive 2 (2.2 TB, RAID 5, Recovering, 61% complete)

      physicaldrive 1I:1:3 (port 1I:box 1:bay 3, SAS HDD, 1.2 TB, Predictive Failure)
      physicaldrive 1I:1:4 (port 1I:box 1:bay 4, SAS HDD, 1.2 TB, OK, spare)
"""


def test_smart_array_with_failed_disks():
    parsed = parse("ssacli", SSACLI)
    assert parsed.unread == ()
    one, two = parsed.document.arrays
    assert (one.state, one.detail, one.members[1].ok) == ("degraded", "Interim Recovery Mode", False)
    assert (two.state, two.progress_percent, two.members[1].state) == ("rebuilding", 61.0, "spare")
    (controller,) = parsed.document.controllers
    assert (controller.ok, controller.battery_ok, controller.serial) == (True, False, "PDNLH0BRH9P1X2")
    assert [each.state for each in parse("ssacli-disks", SSACLI).document.disks] == [
        "ok",
        "failed",
        "predictive failure",
        "hot spare",
    ]


TW_CLI = """\
Unit  UnitType  Status         %RCmpl  %V/I/M  Stripe  Size(GB)  Cache  AVrfy
------------------------------------------------------------------------------
u0    RAID-5    REBUILDING     42%     -       64K     2793.94   ON     OFF
u1    RAID-1    DEGRADED       -       -       -       65.1826   ON     OFF

Port   Status           Unit   Size        Blocks        Serial
---------------------------------------------------------------
p0     OK               u1     69.25 GB    145226112     WD-1
p1     DEVICE-ERROR     u1     69.25 GB    145226112     WD-2
"""


def test_a_3ware_controller_with_a_failed_port():
    rebuilding, degraded = parse("tw-cli", TW_CLI).document.arrays
    assert (rebuilding.state, rebuilding.progress_percent) == ("rebuilding", 42.0)
    assert [(each.name, each.state, each.ok) for each in degraded.members] == [
        ("p0", "online", True),
        ("p1", "failed", False),
    ]


ARCCONF = """\
Controllers found: 1
----------------------------------------------------------------------
Controller information
----------------------------------------------------------------------
   Controller Status                        : Optimal
   Controller Model                         : Adaptec 6405E
   Controller Serial Number                 : 2A1
   --------------------------------------------------------
   Controller Battery Information
   --------------------------------------------------------
   Status                                   : Not Installed
----------------------------------------------------------------------
Logical device information
----------------------------------------------------------------------
Logical device number 0
   Logical device name                      : sys
   RAID level                               : 1
   Status of logical device                 : Degraded
   Size                                     : 953334 MB
   --------------------------------------------------------
   Logical device segment information
   --------------------------------------------------------
   Segment 0                                : Present (Controller:1,Connector:0,Device:0) S1
   Segment 1                                : Missing
----------------------------------------------------------------------
Physical Device information
----------------------------------------------------------------------
      Device #0
         Device is a Hard drive
         State                              : Online
         Reported Location                  : Connector 0, Device 0
         Model                              : ST1000
         Serial number                      : S1
         Size                               : 953869 MB
         S.M.A.R.T.                         : Yes
"""


def test_an_adaptec_controller():
    parsed = parse("arcconf", ARCCONF)
    assert parsed.unread == ()
    (array,) = parsed.document.arrays
    assert (array.level, array.state, [(each.state, each.ok) for each in array.members]) == (
        "raid1",
        "degraded",
        [("online", True), ("missing", False)],
    )
    (disk,) = parse("arcconf-disks", ARCCONF).document.disks
    assert (disk.device, disk.smart_passed, disk.state) == ("Connector 0, Device 0", False, "online")


def test_disks_behind_a_controller_are_told_by_its_tool_where_smartctl_cannot():
    host = RecordedHost(
        files={
            "/sys/block/sda/size": "1000\n",
            "/sys/block/sda/device/model": "PERC\n",
            "/sys/block/sda/queue/rotational": "1\n",
        },
        outputs={"storcli64 /call show all J": json.dumps(STORCLI)},
    )
    found = disks.collect(host).disks
    assert [(each.device, each.state) for each in found][1:] == [
        ("c0 enclosure 252 slot 0", "online"), ("c0 enclosure 252 slot 1", "rebuilding"), ("c0 enclosure 252 slot 2", "unconfigured bad")
    ]  # fmt: skip


def test_windows_storage():
    physical = [
        {"DeviceId": "0", "FriendlyName": "Samsung SSD", "SerialNumber": "S1", "MediaType": "SSD", "BusType": "NVMe", "Size": 512110190592, "HealthStatus": "Healthy"},
        {"DeviceId": "1", "FriendlyName": "WDC", "MediaType": 3, "BusType": 11, "Size": 4000787030016, "HealthStatus": "Warning"},
    ]  # fmt: skip
    one, two = parse("windows-disks", json.dumps(physical)).document.disks
    assert (one.kind, one.state, two.kind, two.state) == ("nvme", "healthy", "hdd", "unhealthy")
    pools = [
        {"FriendlyName": "Primordial", "IsPrimordial": True, "OperationalStatus": "OK"},
        {"FriendlyName": "Pool", "OperationalStatus": "Degraded", "HealthStatus": "Warning", "Size": 1000, "AllocatedSize": 900},
        {"FriendlyName": "Space", "ResiliencySettingName": "Mirror", "OperationalStatus": "In Service", "HealthStatus": "Warning", "Size": 500},
    ]  # fmt: skip
    pool, space = parse("windows-pools", json.dumps(pools)).document.arrays
    assert (pool.state, pool.used_percent, space.level, space.state) == ("degraded", 90.0, "mirror", "rebuilding")
    dirty = "DriveLetter=C:\r\nDriveType=3\r\nFileSystem=NTFS\r\nCapacity=1000\r\nDirtyBitSet=TRUE\r\n\r\nDriveLetter=D:\r\nDriveType=5\r\nFileSystem=\r\n"
    (volume,) = parse("windows-volumes", dirty).document.volumes
    assert (volume.mountpoint, volume.state, volume.total_bytes) == ("C:\\", "needs a check", 1000)


@pytest.mark.parametrize(
    "kind",
    [
        "mdadm",
        "zpool",
        "btrfs",
        "megacli",
        "storcli",
        "ssacli",
        "tw-cli",
        "arcconf",
        "lvm",
        "windows-disks",
        "windows-volumes",
        "windows-pools",
    ],
)
def test_a_shopping_list_is_none_of_them(kind):
    parsed = captures()[kind].parse([CapturedFile("list.txt", b"milk, eggs\nbread and butter\n")])
    assert parsed.document is None
    assert str(parsed.unread[0]).startswith("list.txt: has no")


# --- real file systems --------------------------------------------------------------------------------------

needs_loops = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("mkfs.btrfs") or not Path("/dev/loop-control").exists(),
    reason="needs root, loop devices and btrfs-progs",
)


def shell(*argv, check=True):
    return subprocess.run(argv, check=check, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def loops(tmp_path):
    """Two loop devices on files of 128 MB, and a folder to mount on."""
    devices, folder = [], tmp_path / "mounted"
    folder.mkdir()
    for name in ("a", "b"):
        file = tmp_path / name
        file.touch()
        os.truncate(file, 128 * 2**20)
        devices.append(shell("losetup", "-f", "--show", str(file)))
    yield devices, folder
    shell("umount", str(folder), check=False)
    for device in devices:
        shell("losetup", "-d", device, check=False)
    shell("btrfs", "device", "scan", "--forget", check=False)


@needs_loops
def test_a_real_btrfs_mirror_is_whole_scrubbed_and_then_loses_a_disk(loops):
    (first, second), folder = loops
    shell("mkfs.btrfs", "-q", "-d", "raid1", "-m", "raid1", first, second)
    shell("mount", first, str(folder))
    (folder / "accounts").write_bytes(os.urandom(2**20))
    shell("btrfs", "scrub", "start", "-B", str(folder))
    host = LocalHost()
    array = next(each for each in arrays.collect(host).arrays if each.name == str(folder))
    assert (array.kind, array.level, array.state, array.errors) == ("btrfs", "raid1", "ok", 0)
    assert [(each.name, each.ok, each.checksum_errors) for each in array.members] == [
        (first, True, 0),
        (second, True, 0),
    ]
    assert abs(array.scrub_at.timestamp() - time.time()) < 600
    assert next(each for each in volumes.collect(host).volumes if each.mountpoint == str(folder)).errors == 0

    shell("umount", str(folder))
    shell("losetup", "-d", second)
    shell("btrfs", "device", "scan", "--forget")
    shell("mount", "-o", "degraded", first, str(folder))
    array = next(each for each in arrays.collect(host).arrays if each.name == str(folder))
    assert (array.state, [each.ok for each in array.members]) == ("degraded", [True, False])


@needs_loops
def test_a_real_ext4_counts_its_errors(loops):
    (device, _), folder = loops
    shell("mkfs.ext4", "-q", "-F", device)
    shell("mount", "-o", "errors=remount-ro", device, str(folder))
    host = LocalHost()
    before = next(each for each in volumes.collect(host).volumes if each.mountpoint == str(folder))
    assert (before.errors, before.state) == (0, "")
    trigger = Path(f"/sys/fs/ext4/{device.rpartition('/')[2]}/trigger_fs_error")
    if not trigger.exists():
        pytest.skip("this kernel cannot be told to report an error")
    trigger.write_text("a test of Forestall")
    after = next(each for each in volumes.collect(host).volumes if each.mountpoint == str(folder))
    assert after.errors == 1
    assert abs(after.last_error_at.timestamp() - time.time()) < 600
    assert after.state == "turned read-only after errors"
