"""The ``system`` document: operating system, hardware, and whether a reboot is due."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime

from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.notes import Notes
from forestall.agent.collect.software import package_manager
from forestall.wire.facts import System

_PLACEHOLDERS = {"", "none", "not specified", "default string", "to be filled by o.e.m.", "system serial number", "0"}
_VIRTUAL_MAKERS = {
    "qemu": "kvm",
    "kvm": "kvm",
    "vmware": "vmware",
    "innotek gmbh": "oracle",
    "xen": "xen",
    "microsoft corporation": "microsoft",
    "amazon ec2": "amazon",
    "google": "google",
    "parallels": "parallels",
    "openstack": "kvm",
}
"""Start of the DMI maker in lower case, and the word ``systemd-detect-virt`` has for it."""


def collect(host: Host) -> System:
    notes = Notes(host)
    release = parse_os_release(_os_release(notes))
    kernel = notes.value("/proc/sys/kernel/osrelease")
    booted_at = parse_boot_time(notes.read("/proc/stat") or "")
    cpu_model, cpu_count = parse_cpuinfo(notes.read("/proc/cpuinfo") or "")
    manufacturer, model, serial = _hardware(notes)
    reboot_required, reboot_reasons = _reboot(notes, kernel=kernel, booted_at=booted_at)
    return System(
        hostname=notes.value("/proc/sys/kernel/hostname"),
        os_id=release.get("ID", "linux"),
        os_name=release.get("PRETTY_NAME", "Linux"),
        os_version=_exact_version(notes, release),
        os_codename=release.get("VERSION_CODENAME", ""),
        kernel=kernel,
        architecture=_architecture(notes),
        manufacturer=manufacturer,
        model=model,
        serial=serial,
        cpu_model=cpu_model,
        cpu_count=cpu_count,
        memory_bytes=parse_memory_total(notes.read("/proc/meminfo") or ""),
        virtualisation=_virtualisation(notes, manufacturer),
        boot_id=notes.value("/proc/sys/kernel/random/boot_id"),
        booted_at=booted_at,
        init=notes.value("/proc/1/comm"),
        timezone=_timezone(notes),
        reboot_required=reboot_required,
        reboot_reasons=reboot_reasons,
        sources=notes.sources,
        gaps=notes.gaps,
    )


def parse_os_release(text: str) -> dict[str, str]:
    """The variables of os-release(5)."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            try:
                found[name] = "".join(shlex.split(value)) if not value.startswith(("'", '"')) else shlex.split(value)[0]
            except (ValueError, IndexError):
                found[name] = value.strip("'\"")
    return found


def parse_boot_time(stat: str) -> datetime | None:
    """``btime`` of /proc/stat: it moves only when the clock is set, not with every reading."""
    found = re.search(r"^btime (\d+)$", stat, re.MULTILINE)
    return datetime.fromtimestamp(int(found[1]), UTC) if found else None


def parse_cpuinfo(text: str) -> tuple[str, int]:
    """Model name and number of logical processors of /proc/cpuinfo."""
    count = len(re.findall(r"^processor\s*:", text, re.MULTILINE))
    model = re.search(r"^(?:model name|Model|cpu model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    return (" ".join(model[1].split()) if model else ""), count


def parse_memory_total(meminfo: str) -> int:
    """``MemTotal`` of /proc/meminfo, in bytes."""
    found = re.search(r"^MemTotal:\s*(\d+) kB", meminfo, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def newest_kernel(running: str, installed: Sequence[str]) -> str | None:
    """The newest of the installed kernel releases of the running one's flavour.

    None when the running kernel is not among them: then the kernel comes from elsewhere (a container's host, a
    virtual machine's monitor) and the installed ones say nothing about a reboot.
    """
    if running not in installed:
        return None
    flavour = _flavour(running)
    return max((each for each in installed if _flavour(each) == flavour), key=_version_key)


def _flavour(release: str) -> str:
    # 6.1.0-40-amd64 -> amd64, 5.15.0-91-generic -> generic, 5.14.0-427.el9.x86_64 -> el9.x86_64
    found = re.search(r"[.-]([a-z][\w.+-]*)$", re.sub(r"_\d+(?=\.)", "", release))
    return found[1] if found else ""


def _version_key(release: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", release)]


def _os_release(notes: Notes) -> str:
    text = notes.read("/etc/os-release")
    return text if text is not None else notes.read("/usr/lib/os-release", what="operating system") or ""


def _exact_version(notes: Notes, release: dict[str, str]) -> str:
    version = release.get("VERSION_ID", "")
    candidates = [version, release.get("VERSION", "").split(" ")[0]]
    if release.get("ID") == "debian":
        candidates.append((notes.read("/etc/debian_version") or "").strip())
    exact = [each for each in candidates if each == version or each.startswith(f"{version}.")]
    return max(exact, key=len, default=version) or release.get("VERSION_CODENAME", "")


def _architecture(notes: Notes) -> str:
    known = notes.value("/proc/sys/kernel/arch")  # since Linux 6.1
    if known:
        return known
    result = notes.run(["uname", "-m"], what="architecture")
    return result.stdout.strip() if result else ""


def _hardware(notes: Notes) -> tuple[str, str, str]:
    folder = "/sys/class/dmi/id"
    try:
        notes.host.list_dir(folder)
    except HostError:
        tree = notes.value("/proc/device-tree/model")
        if tree:
            notes.used("/proc/device-tree/model")
            return "", tree, notes.value("/proc/device-tree/serial-number")
        notes.gap("maker, model and serial number", "the machine's firmware has no DMI table")
        return "", "", ""
    notes.used(folder)
    values = {name: notes.value(f"{folder}/{name}") for name in ("sys_vendor", "product_name")}
    maker, model = (value if value.lower() not in _PLACEHOLDERS else "" for value in values.values())
    serial = ""
    try:
        serial = notes.host.read_text(f"{folder}/product_serial").strip()
    except HostError as error:
        notes.gap("serial number", error.why)
    return maker, model, serial if serial.lower() not in _PLACEHOLDERS else ""


def _virtualisation(notes: Notes, manufacturer: str) -> str:
    # Process 2 of the initial process namespace is kthreadd: whoever sees it is in no container, whatever traces
    # of one (/.dockerenv) the file system was made with.
    in_container = notes.value("/proc/2/comm") != "kthreadd"
    if notes.value("/sys/firmware/acpi/tables/FACP")[10:16] == "FIRECK":
        notes.used("/sys/firmware/acpi/tables/FACP")
        return "firecracker"
    result = notes.run(["systemd-detect-virt", *(() if in_container else ("--vm",))])
    word = result.stdout.strip() if result else ""
    if word:
        return word
    if in_container and notes.host.glob("/.dockerenv"):
        return "docker"
    lower = manufacturer.lower()
    for start, name in _VIRTUAL_MAKERS.items():
        if lower.startswith(start):
            return name
    hypervisor = notes.value("/sys/hypervisor/type")
    if hypervisor:
        return hypervisor
    flags = re.search(r"^flags\s*:(.*)$", notes.value("/proc/cpuinfo"), re.MULTILINE)
    if flags is None:
        notes.gap("virtualisation", "neither systemd-detect-virt nor the processor's flags tell")
        return ""
    return "vm-other" if "hypervisor" in flags[1].split() else "none"


def _timezone(notes: Notes) -> str:
    try:
        target = notes.host.read_link("/etc/localtime")
    except HostError:
        return (notes.read("/etc/timezone") or "").strip()
    notes.used("/etc/localtime")
    return target.partition("zoneinfo/")[2]


def _reboot(notes: Notes, *, kernel: str, booted_at: datetime | None) -> tuple[bool | None, tuple[str, ...]]:
    host = notes.host
    reasons: list[str] = []
    flagged = host.glob("/run/reboot-required") or host.glob("/var/run/reboot-required")
    if flagged:
        notes.used(flagged[0])
        packages = notes.read(f"{flagged[0]}.pkgs") or ""
        reasons += sorted({line.strip() for line in packages.splitlines() if line.strip()})
    if wished := host.glob("/run/reboot-needed"):  # libzypp's, after a patch that asks for it
        notes.used(wished[0])
        flagged += wished
    images = {path.removeprefix("/boot/vmlinuz-"): path for path in host.glob("/boot/vmlinuz-*")}
    newest = newest_kernel(kernel, list(images))
    if newest is not None:
        notes.used("/boot/vmlinuz-*")
        if newest != kernel:
            reasons.append(f"kernel {kernel} runs, {newest} installed")
        elif booted_at and host.status(images[kernel]).changed_ns > booted_at.timestamp() * 1_000_000_000:
            # A security update may keep the release and replace the file. Packages set the modification time to
            # that of their build, so it is the change of the inode that tells when the file came here.
            reasons.append(f"kernel {kernel} was replaced after the start")
    manager = package_manager(host)
    if newest is None and manager in ("pacman", "apk"):
        newest = _kernel_in_its_place(notes, kernel)
        if newest not in (None, kernel):
            reasons.append(f"kernel {kernel} runs, {newest} installed")
    renewed = _renewed_core(notes, booted_at) if manager == "rpm" else None
    reasons += renewed or []
    if flagged or reasons:
        return True, tuple(reasons)
    if newest is not None or renewed is not None:
        return False, ()
    notes.gap(
        "whether a reboot is due", "no installed kernel is the running one, and nothing else here keeps such a flag"
    )
    return None, ()


_CORE = (
    *("glibc", "linux-firmware", "systemd", "udev", "openssl-libs", "gnutls", "dbus", "dbus-daemon", "dbus-broker"),
    "microcode_ctl",
)
"""Packages that only take effect everywhere with a start, as ``dnf needs-restarting --reboothint`` counts them.

Of kernels that are not the running one's the kernel's own rule tells: several may be there, and older ones come too.
"""


def _renewed_core(notes: Notes, booted_at: datetime | None) -> list[str] | None:
    """Of an rpm system's core those that came after the start; None when it cannot be told."""
    if booted_at is None:
        return None
    argv = ["rpm", "--query", "--queryformat=%{NAME}\t%{VERSION}-%{RELEASE}\t%{INSTALLTIME}\n", *_CORE]
    result = notes.run(argv, source="rpm --query (installation times)")
    rows = [line.split("\t") for line in result.stdout.splitlines()] if result else []
    known = [row for row in rows if len(row) == 3 and row[2].isdigit()]
    if not known:
        return None
    late = [(name, version) for name, version, at in known if int(at) > booted_at.timestamp()]
    return [f"{name} {version} came after the start" for name, version in sorted(set(late))]


def _kernel_in_its_place(notes: Notes, kernel: str) -> str | None:
    """The installed kernel where a new one takes the old one's place (Arch, Alpine): its modules' folder has its name.

    None when no installed kernel is of the running one's kind: then it is not this system's to change.
    """
    releases = {path.split("/")[-2] for path in notes.host.glob("/usr/lib/modules/*/vmlinuz")}
    releases |= {path.split("/")[-2] for path in notes.host.glob("/lib/modules/*/modules.dep")}

    def kind(release: str) -> str:
        return re.sub(r"\d+", "", _flavour(release))

    alike = [each for each in releases if kind(each) == kind(kernel)]
    if not alike:
        return None
    notes.used("/usr/lib/modules")
    return kernel if kernel in alike else max(alike, key=_version_key)
