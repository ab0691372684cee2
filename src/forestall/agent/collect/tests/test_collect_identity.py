"""System, network, volumes: what a machine is, told from its own files."""

# ruff: noqa: E501, S104 - recorded outputs and tables of cases keep their lines; nothing is bound here
from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forestall.agent.collect import network, system, volumes
from forestall.agent.collect.host import Space
from forestall.agent.collect.tests.recorded_host import RecordedHost, process
from forestall.wire.facts import Socket

OS_RELEASE = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nVERSION="12 (bookworm)"\nVERSION_CODENAME=bookworm\nID=debian\n'
UBUNTU = 'PRETTY_NAME="Ubuntu 22.04.4 LTS"\nVERSION_ID="22.04"\nVERSION="22.04.4 LTS (Jammy Jellyfish)"\nID=ubuntu\n'
ALMA = (
    'ID="almalinux"\nVERSION_ID="9.4"\nVERSION="9.4 (Seafoam Ocelot)"\nPRETTY_NAME="AlmaLinux 9.4 (Seafoam Ocelot)"\n'
)
STAT = "cpu  1 2 3 4 5 6 7 8 0 0\nbtime 1795456878\nprocesses 5000\nprocs_blocked 0\n"
BASE = {"/proc/stat": STAT, "/proc/2/comm": "kthreadd\n", "/proc/1/comm": "systemd\n"}


def machine(**more):
    files = {**BASE, "/etc/os-release": OS_RELEASE, **more.pop("files", {})}
    return RecordedHost(files=files, outputs={"uname -m": "x86_64\n", **more.pop("outputs", {})}, **more)


@pytest.mark.parametrize(
    ("release", "debian_version", "version"),
    [
        (OS_RELEASE, "12.11\n", "12.11"),
        (OS_RELEASE, "trixie/sid\n", "12"),
        (UBUNTU, "bookworm/sid\n", "22.04.4"),
        (ALMA, "", "9.4"),
    ],
)
def test_the_version_is_the_most_exact_one_known(release, debian_version, version):
    host = machine(files={"/etc/os-release": release, "/etc/debian_version": debian_version})
    assert system.collect(host).os_version == version


def test_a_flag_of_the_packages_asks_for_a_reboot_and_names_them():
    host = machine(
        files={"/run/reboot-required": "*** restart\n", "/run/reboot-required.pkgs": "linux-base\nlibc6\nlibc6\n"}
    )
    document = system.collect(host)
    assert document.reboot_required is True
    assert document.reboot_reasons == ("libc6", "linux-base")


def kernels(running, *installed, changed=None):
    files = {"/proc/sys/kernel/osrelease": f"{running}\n"} | {f"/boot/vmlinuz-{each}": "k" for each in installed}
    return system.collect(machine(files=files, changed=changed or {}))


def test_a_newer_kernel_of_the_same_flavour_asks_for_a_reboot():
    document = kernels("6.1.0-9-amd64", "6.1.0-9-amd64", "6.1.0-40-amd64", "6.12.0-1-rt-amd64")
    assert document.reboot_required is True
    assert document.reboot_reasons == ("kernel 6.1.0-9-amd64 runs, 6.1.0-40-amd64 installed",)


def test_the_newest_kernel_asks_for_none():
    assert kernels("5.15.0-91-generic", "5.15.0-88-generic", "5.15.0-91-generic").reboot_required is False


def test_a_kernel_replaced_since_the_start_asks_for_a_reboot():
    after_boot = datetime(2026, 12, 1, tzinfo=UTC)
    document = kernels("6.1.0-9-amd64", "6.1.0-9-amd64", changed={"/boot/vmlinuz-6.1.0-9-amd64": after_boot})
    assert document.reboot_reasons == ("kernel 6.1.0-9-amd64 was replaced after the start",)


def test_a_kernel_from_elsewhere_leaves_the_question_open_and_says_so():
    document = kernels("6.18.44-fc", "6.1.0-40-amd64")
    assert document.reboot_required is None
    assert [gap.what for gap in document.gaps if "reboot" in gap.what] == ["whether a reboot is due"]


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=1, unique=True))
def test_the_newest_kernel_is_the_one_with_the_highest_numbers(numbers):
    releases = [f"6.{minor}.0-{build}-amd64" for minor, build in numbers]
    expected = max(numbers)
    assert system.newest_kernel(releases[0], releases) == f"6.{expected[0]}.0-{expected[1]}-amd64"


def test_a_trace_of_docker_in_the_image_does_not_make_a_machine_a_container():
    host = machine(
        files={"/.dockerenv": ""}, outputs={"systemd-detect-virt": "docker\n", "systemd-detect-virt --vm": "kvm\n"}
    )
    assert system.collect(host).virtualisation == "kvm"


def test_inside_a_container_the_container_is_named():
    host = machine(files={"/.dockerenv": "", "/proc/2/comm": "sh\n"}, outputs={"systemd-detect-virt": "docker\n"})
    assert system.collect(host).virtualisation == "docker"


def test_hardware_is_named_and_placeholders_are_not():
    dmi = {"sys_vendor": "Dell Inc.", "product_name": "PowerEdge R640", "product_serial": "To Be Filled By O.E.M."}
    document = system.collect(machine(files={f"/sys/class/dmi/id/{name}": f"{text}\n" for name, text in dmi.items()}))
    assert (document.manufacturer, document.model, document.serial) == ("Dell Inc.", "PowerEdge R640", "")


# --- network ------------------------------------------------------------------------------------------------

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 4711 1 0000 100 0 0 10 0
   1: 00000000:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1106 1 0000 100 0 0 10 0
   2: 0200000A:0016 0100000A:C001 01 00000000:00000000 00:00000000 00000000     0        0 99 1 0000 100 0 0 10 0
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000    33        0 5000 1 0000 100 0 0 10 0
   1: 0000000000000000FFFF00000100007F:0051 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000    33        0 5001 1 0000 100 0 0 10 0
"""
UDP = """\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  100: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 6000 2 0000 0
  200: 00000000:D431 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 6001 2 0000 0
"""


def test_listening_sockets_are_named_with_their_processes():
    files = {
        "/proc/net/tcp": TCP, "/proc/net/tcp6": TCP6, "/proc/net/udp": UDP,
        "/etc/passwd": "root:x:0:0::/root:/bin/sh\npostgres:x:101:104::/:/bin/sh\nwww-data:x:33:33::/:/bin/sh\n",
        **process(812, "postgres"), **process(900, "nginx: master process"), **process(901, "nginx: worker process"),
    }  # fmt: skip
    links = {
        "/proc/812/fd/3": "socket:[4711]", "/proc/900/fd/6": "socket:[5000]",
        "/proc/901/fd/6": "socket:[5000]", "/proc/901/fd/7": "socket:[5001]",
    }  # fmt: skip
    document = network.collect(RecordedHost(files=files, links=links))
    assert document.listening == (
        Socket(protocol="tcp", address="::", port=80, process="nginx: master p", pid=900, user="www-data"),
        Socket(protocol="tcp", address="127.0.0.1", port=81, process="nginx: worker p", pid=901, user="www-data"),
        Socket(protocol="tcp", address="0.0.0.0", port=2024, user="root"),
        Socket(protocol="tcp", address="127.0.0.1", port=5432, process="postgres", pid=812, user="postgres"),
        Socket(protocol="udp", address="0.0.0.0", port=68, user="root"),
    )  # fmt: skip
    assert ("process behind 2 of 5 listening sockets", "refused by the system, even to root") in [
        (gap.what, gap.why) for gap in document.gaps
    ]


def test_default_routes_are_read_and_unreachable_ones_are_not():
    four = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\nwg0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\neth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n"
    zero = "0" * 32
    six = (
        f"{zero} 00 {zero} 00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n"
        f"{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n"
    )
    assert network.parse_routes(four) == ("192.0.2.1 via eth0",)
    assert network.parse_routes6(six) == ("fd00::1 via eth0",)


def test_the_real_name_servers_stand_behind_the_local_stub():
    files = {
        "/etc/resolv.conf": "nameserver 127.0.0.53\n",
        "/run/systemd/resolve/resolv.conf": "nameserver 192.0.2.53\n",
    }
    assert network.collect(RecordedHost(files=files)).nameservers == ("192.0.2.53",)


# --- volumes ------------------------------------------------------------------------------------------------

MOUNTINFO = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
28 27 0:25 / /mnt/tools ro,nosuid - tmpfs none ro,size=4k
42 27 254:0 /run/netns /run/netns rw,relatime shared:1 - ext4 /dev/vda rw,discard
50 27 7:3 / /var/lib/my\\040data rw,noatime - ext4 /dev/loop3 ro,errors=remount-ro
51 27 7:4 / /snap/core/1 ro,nodev - squashfs /dev/loop4 ro
52 27 0:60 / /srv/share rw - nfs4 nas:/share rw
53 27 0:61 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw
54 27 0:62 /@home /home rw - btrfs /dev/vdb rw,subvol=/@home
55 27 0:63 /@ /data/btrfs rw - btrfs /dev/vdb rw,subvol=/@
56 27 254:1 /hosts /etc/hosts rw - ext4 /dev/vdc rw
"""
SPACE = Space(
    total_bytes=10 * 2**30, free_bytes=5 * 2**30, available_bytes=4 * 2**30, total_inodes=655360, free_inodes=600000
)


def test_volumes_are_the_file_systems_that_hold_this_machines_data():
    spaces = dict.fromkeys(("/", "/var/lib/my data", "/home"), SPACE)
    files = {"/proc/self/mountinfo": MOUNTINFO, "/var/lib/my data/x": "", "/home/a/x": "", "/etc/hosts": "127.0.0.1"}
    document = volumes.collect(RecordedHost(files=files, spaces=spaces))
    assert [(each.mountpoint, each.filesystem, each.read_only, each.total_inodes) for each in document.volumes] == [
        ("/", "ext4", False, 655360),
        ("/home", "btrfs", False, 0),
        ("/var/lib/my data", "ext4", True, 655360),
    ]
    assert [(gap.what, gap.why) for gap in document.gaps] == [("space of /srv/share", "nfs4 share of another machine")]


def test_a_containers_root_counts_and_a_mount_hidden_by_another_does_not():
    text = "1 0 0:50 / / rw - overlay overlay rw\n2 1 8:1 / /data rw - xfs /dev/sda1 rw\n3 1 8:2 / /data rw - ext4 /dev/sdb1 rw\n"
    mounts = volumes.data_mounts(volumes.parse_mountinfo(text))
    assert [(mount.mountpoint, mount.device) for mount in mounts] == [("/", "overlay"), ("/data", "/dev/sdb1")]


@given(st.text(max_size=300))
def test_no_text_breaks_the_parsers(text):
    volumes.data_mounts(volumes.parse_mountinfo(text))
    system.parse_os_release(text)
    system.parse_cpuinfo(text)
    network.parse_nameservers(text)


def rpm_machine(*installed, **files):
    rows = "".join(f"{name}\t1-1\t{at}\n" for name, at in installed)
    return machine(
        files={"/var/lib/rpm/rpmdb.sqlite": "x", **files},
        outputs={"rpm --query --queryformat": f"{rows}package gnutls is not installed\n"},
        programs=["rpm"],
    )


def test_an_rpm_systems_core_that_came_after_the_start_asks_for_a_reboot():
    # The machine was started at 1795456878.
    document = system.collect(rpm_machine(("glibc", 1795456900), ("systemd", 1795400000)))
    assert document.reboot_required is True
    assert document.reboot_reasons == ("glibc 1-1 came after the start",)
    assert system.collect(rpm_machine(("glibc", 1795400000))).reboot_required is False


def test_the_wish_of_a_patch_for_a_reboot_is_heard():
    host = machine(files={"/run/reboot-needed": ""})
    assert (system.collect(host).reboot_required, system.collect(host).reboot_reasons) == (True, ())


@pytest.mark.parametrize(
    ("installed", "required"), [("6.6.2-arch1-1", True), ("6.6.1-arch1-1", False), ("6.6.2-zen1-1", None)]
)
def test_where_a_new_kernel_takes_the_old_ones_place_its_modules_tell(installed, required):
    host = machine(
        files={
            "/proc/sys/kernel/osrelease": "6.6.1-arch1-1\n",
            "/boot/vmlinuz-linux": "x",
            "/var/lib/pacman/local/linux-6.6.2.arch1-1/desc": "x",
            f"/usr/lib/modules/{installed}/vmlinuz": "x",
        },
        programs=["pacman"],
    )
    document = system.collect(host)
    assert document.reboot_required is required
    if required:
        assert document.reboot_reasons == ("kernel 6.6.1-arch1-1 runs, 6.6.2-arch1-1 installed",)
