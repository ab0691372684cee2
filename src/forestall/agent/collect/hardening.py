"""The ``hardening`` document: how the system is set up, setting by setting.

It reads files below /proc, /sys and /etc and runs nothing. What each setting should be is the server's business. Names
of kernel modules and settings are what the agent looks for, not what every system has: a setting that is absent has
the value ``absent``, and one that could not be read is a gap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from forestall.agent.collect.host import FileMissing, Host, HostError
from forestall.agent.collect.notes import Notes
from forestall.wire.facts import Hardening, HardeningSetting

KERNEL = (
    "kernel.randomize_va_space", "kernel.yama.ptrace_scope", "kernel.kptr_restrict", "kernel.dmesg_restrict",
    "kernel.sysrq", "kernel.unprivileged_bpf_disabled", "kernel.perf_event_paranoid", "kernel.core_uses_pid",
    "kernel.kexec_load_disabled", "kernel.modules_disabled", "net.core.bpf_jit_harden",
    "fs.suid_dumpable", "fs.protected_hardlinks", "fs.protected_symlinks", "fs.protected_fifos", "fs.protected_regular",
    "dev.tty.ldisc_autoload",
    "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding",
    "net.ipv4.conf.all.send_redirects", "net.ipv4.conf.default.send_redirects",
    "net.ipv4.conf.all.accept_redirects", "net.ipv4.conf.default.accept_redirects",
    "net.ipv6.conf.all.accept_redirects", "net.ipv6.conf.default.accept_redirects",
    "net.ipv4.conf.all.secure_redirects", "net.ipv4.conf.default.secure_redirects",
    "net.ipv4.conf.all.accept_source_route", "net.ipv4.conf.default.accept_source_route",
    "net.ipv6.conf.all.accept_source_route", "net.ipv6.conf.default.accept_source_route",
    "net.ipv4.conf.all.rp_filter", "net.ipv4.conf.default.rp_filter",
    "net.ipv4.conf.all.log_martians", "net.ipv4.conf.default.log_martians",
    "net.ipv4.icmp_echo_ignore_broadcasts", "net.ipv4.icmp_ignore_bogus_error_responses", "net.ipv4.tcp_syncookies",
    "net.ipv6.conf.all.accept_ra", "net.ipv6.conf.default.accept_ra",
)  # fmt: skip
MOUNTS = ("/tmp", "/var", "/var/tmp", "/var/log", "/var/log/audit", "/home", "/dev/shm", "/boot", "/proc")  # noqa: S108
MODULES = (
    "cramfs", "freevxfs", "hfs", "hfsplus", "jffs2", "squashfs", "udf", "usb-storage", "uas", "firewire-ohci", "dccp",
    "tipc", "rds", "sctp", "bluetooth",
)  # fmt: skip
FILES = (
    "/etc/passwd", "/etc/passwd-", "/etc/group", "/etc/group-", "/etc/shadow", "/etc/shadow-", "/etc/gshadow",
    "/etc/gshadow-", "/etc/shells", "/etc/security/opasswd", "/etc/ssh/sshd_config", "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg", "/etc/crontab", "/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly",
    "/etc/cron.monthly", "/etc/cron.d", "/etc/motd", "/etc/issue", "/etc/issue.net", "/etc/sudoers", "/root",
)  # fmt: skip
ABSENT = "absent"
_SYSCTL_FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
_MODPROBE = ("/etc/modprobe.d/*.conf", "/run/modprobe.d/*.conf", "/usr/lib/modprobe.d/*.conf", "/lib/modprobe.d/*.conf")
_LOGIN_DEFS = ("PASS_MAX_DAYS", "PASS_MIN_DAYS", "PASS_WARN_AGE", "UMASK", "ENCRYPT_METHOD", "SHA_CRYPT_MIN_ROUNDS")
_BANNER_TELLS = re.compile(r"\\[mrsv]|debian|ubuntu|red hat|alma|rocky|fedora|suse", re.IGNORECASE)


def collect(host: Host) -> Hardening:
    """Every setting that could be seen."""
    notes = Notes(host)
    settings: list[HardeningSetting] = []
    for part in (_kernel, _mounts, _modules, _files, _boot, _encryption, _usb, _logging, _tls, _login, _process):
        settings += part(notes)
    return Hardening(settings=tuple(settings), sources=notes.sources, gaps=notes.gaps)


# --- kernel -----------------------------------------------------------------------------------------------------


def _kernel(notes: Notes) -> Iterator[HardeningSetting]:
    configured = sysctl_configured(notes)
    notes.used("/proc/sys")
    for name in KERNEL:
        path = "/proc/sys/" + name.replace(".", "/")
        try:
            value = " ".join(notes.host.read_text(path).split())
        except FileMissing:
            yield HardeningSetting(area="kernel", name=name, value=ABSENT, source="/proc/sys")
            continue
        except HostError as error:
            notes.gap(f"kernel setting {name}", error.why)
            continue
        later = configured.get(name, "")
        yield HardeningSetting(
            area="kernel", name=name, value=value, configured=later if later != value else "", source="/proc/sys"
        )


def parse_sysctl(text: str) -> dict[str, str]:
    """Lines of sysctl.conf(5), or of ``sysctl -a``: name to value, the last one wins."""
    found: dict[str, str] = {}
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith(("#", ";")) or "=" not in line:
            continue
        name, _, value = line.removeprefix("-").partition("=")
        # Slashes for dots, when the first separator is a slash: net/ipv4/conf/eth0.100/rp_filter.
        name = name.strip()
        first = re.search(r"[./]", name)
        name = name.translate(str.maketrans("./", "/.")) if first and first[0] == "/" else name
        found[name] = " ".join(value.split())
    return found


def sysctl_configured(notes: Notes) -> dict[str, str]:
    """What the files will set at the next start, by the order of systemd-sysctl(8) and of Debian's procps."""
    files: dict[str, str] = {}
    for folder in reversed(_SYSCTL_FOLDERS):
        for path in notes.host.glob(f"{folder}/*.conf"):
            files[path.rpartition("/")[2]] = path  # a file of the same name in /etc takes the place of the other
    found: dict[str, str] = {}
    for name in sorted(files):
        found |= parse_sysctl(notes.read(files[name], source="/etc/sysctl.d") or "")
    if "/etc/sysctl.conf" not in {_target(notes.host, path) for path in files.values()}:
        found |= parse_sysctl(notes.read("/etc/sysctl.conf") or "")
    return found


def _target(host: Host, path: str) -> str:
    try:
        link = host.read_link(path)
    except HostError:
        return path
    return "/etc/sysctl.conf" if link.endswith("../sysctl.conf") or link == "/etc/sysctl.conf" else path


# --- mounts and modules -----------------------------------------------------------------------------------------


def _mounts(notes: Notes) -> Iterator[HardeningSetting]:
    text = notes.read("/proc/self/mounts", what="mounted file systems")
    if text is None:
        return
    mounted = {
        parts[1].replace("\\040", " "): parts[3] for line in text.splitlines() if len(parts := line.split()) >= 4
    }
    for path in MOUNTS:
        yield HardeningSetting(area="mount", name=path, value=mounted.get(path, ABSENT), source="/proc/self/mounts")


def _modules(notes: Notes) -> Iterator[HardeningSetting]:
    table = notes.read("/proc/modules")
    loaded = {line.split(" ")[0] for line in (table or "").splitlines()}
    file_systems = {line.split()[-1] for line in (notes.read("/proc/filesystems") or "").splitlines() if line.split()}
    release = notes.value("/proc/sys/kernel/osrelease")
    index = notes.read(f"/lib/modules/{release}/modules.dep", source="/lib/modules")
    builtin = notes.read(f"/lib/modules/{release}/modules.builtin", source="/lib/modules") or ""
    if index is None and table is not None:
        notes.gap("kernel modules that could be loaded", f"/lib/modules/{release}/modules.dep is not there")
    there = {_module(line.partition(":")[0]) for line in (index or "").splitlines()}
    inside = {_module(line) for line in builtin.splitlines()} | file_systems
    blocked = _blocked(notes)
    for name in MODULES:
        plain = name.replace("-", "_")
        if plain in loaded:
            value = "loaded"
        elif plain in inside:
            value = "built in"
        elif plain in blocked:
            value = "blocked"
        elif index is None and table is not None:
            continue  # which modules there are is not known
        else:
            # A kernel without /proc/modules loads none at all.
            value = "available" if plain in there else ABSENT
        yield HardeningSetting(
            area="module",
            name=name,
            value=value,
            source="/proc/modules, /etc/modprobe.d",
            configured="blocked" if value == "loaded" and plain in blocked else "",
        )


def _module(path: str) -> str:
    return re.sub(r"\.ko(\.\w+)?$", "", path.strip().rpartition("/")[2]).replace("-", "_")


def _blocked(notes: Notes) -> set[str]:
    """Modules that cannot be loaded by name: ``install NAME /bin/false`` (or true). A blacklist alone stops only what
    would load them by their hardware."""
    found = set()
    for pattern in _MODPROBE:
        for path in notes.host.glob(pattern):
            for line in (notes.read(path, source="/etc/modprobe.d") or "").splitlines():
                if match := re.match(r"\s*install\s+(\S+)\s+(?:/usr)?/s?bin/(?:false|true)\b", line):
                    found.add(match[1].replace("-", "_"))
    return found


# --- files ------------------------------------------------------------------------------------------------------


def _files(notes: Notes) -> Iterator[HardeningSetting]:
    users, groups = _names(notes, "/etc/passwd"), _names(notes, "/etc/group")
    keys = sorted(notes.host.glob("/etc/ssh/ssh_host_*_key"))
    for path in (*FILES, *keys):
        try:
            status = notes.host.status(path)
        except FileMissing:
            continue
        except HostError as error:
            notes.gap(f"permissions of {path}", error.why)
            continue
        owner = users.get(status.uid, str(status.uid))
        group = groups.get(status.gid, str(status.gid)) if status.gid >= 0 else "?"
        yield HardeningSetting(
            area="file", name=path, value=f"{status.mode & 0o7777:04o} {owner}:{group}", source=f"stat {path}"
        )


def _names(notes: Notes, path: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for line in (notes.read(path) or "").splitlines():
        parts = line.split(":")
        if len(parts) > 2 and parts[2].isdecimal():
            found.setdefault(int(parts[2]), parts[0])
    return found


# --- start, encryption, USB --------------------------------------------------------------------------------------


def _boot(notes: Notes) -> Iterator[HardeningSetting]:
    uefi = bool(notes.host.glob("/sys/firmware/efi"))
    yield HardeningSetting(
        area="boot", name="firmware", value="uefi" if uefi else "bios or none", source="/sys/firmware"
    )
    variable = next(iter(notes.host.glob("/sys/firmware/efi/efivars/SecureBoot-*")), "")
    state = "off"
    if variable:
        try:
            # Four bytes of attributes, then one that is 1 while secure boot is on.
            state = "on" if notes.host.read_bytes(variable)[4:5] == b"\x01" else "off"
        except HostError as error:
            notes.gap("secure boot", error.why)
            state = ""
    if state:
        yield HardeningSetting(
            area="boot", name="secure_boot", value=state if uefi else ABSENT, source=variable or "/sys/firmware/efi"
        )
    lockdown = re.search(r"\[(\w+)\]", notes.value("/sys/kernel/security/lockdown"))
    if lockdown:
        yield HardeningSetting(area="boot", name="lockdown", value=lockdown[1], source="/sys/kernel/security/lockdown")
    for path in ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"):
        text = notes.read(path)
        if text is not None:
            protected = "password_pbkdf2" in text and "superusers" in text
            yield HardeningSetting(
                area="boot", name="loader_password", value="set" if protected else "none", source=path
            )
            break
    command = notes.value("/proc/cmdline").split()
    for name in ("audit", "mitigations", "apparmor", "selinux"):
        value = next((word.partition("=")[2] for word in command if word.startswith(f"{name}=")), "")
        if value:
            yield HardeningSetting(area="boot", name=f"cmdline {name}", value=value, source="/proc/cmdline")


def _encryption(notes: Notes) -> Iterator[HardeningSetting]:
    """Whether what is mounted lies on an encrypted device, by the maps of the device mapper below it."""
    text = notes.read("/proc/self/mounts")
    if text is None:
        return
    for line in text.splitlines():
        parts = line.split()
        if len(parts) < 4 or parts[1] not in {"/", "/home", "/var"}:
            continue
        source = parts[0]
        if not source.startswith("/dev/"):
            if parts[1] == "/" and parts[2] in {"overlay", "tmpfs", "nfs", "nfs4", "9p", "virtiofs"}:
                yield HardeningSetting(area="encryption", name="/", value="not a disk", source="/proc/self/mounts")
            continue
        yield HardeningSetting(
            area="encryption", name=parts[1], value=_encrypted(notes, source), source="/sys/block/*/dm/uuid"
        )
    for line in (notes.read("/proc/swaps") or "").splitlines()[1:]:
        device = line.split()[0]
        if device.startswith("/dev/") and "zram" not in device:
            yield HardeningSetting(
                area="encryption", name=f"swap {device}", value=_encrypted(notes, device), source="/proc/swaps"
            )


def _encrypted(notes: Notes, device: str) -> str:
    host = notes.host
    name = device.rpartition("/")[2]
    if device.startswith("/dev/mapper/"):
        for path in host.glob("/sys/block/dm-*/dm/name"):
            if notes.value(path) == name:
                name = path.split("/")[3]
    waiting, seen = [name], set()
    while waiting:
        one = waiting.pop()
        seen.add(one)
        if notes.value(f"/sys/block/{one}/dm/uuid").startswith("CRYPT-"):
            return "encrypted"
        below = [path.rpartition("/")[2] for path in host.glob(f"/sys/block/{one}/slaves/*")]
        waiting += [each for each in below if each not in seen]
    return "plain"


def _usb(notes: Notes) -> Iterator[HardeningSetting]:
    buses = notes.host.glob("/sys/bus/usb/devices/usb*/authorized_default")
    values = {notes.value(path) for path in buses}
    if values:
        said = "not authorized" if values == {"0"} else "authorized"
        yield HardeningSetting(area="usb", name="new devices", value=said, source="/sys/bus/usb/devices/usb*")
    elif not notes.host.glob("/sys/bus/usb"):
        yield HardeningSetting(area="usb", name="new devices", value=ABSENT, source="/sys/bus/usb")
    guard = notes.host.find_program("usbguard-daemon")
    yield HardeningSetting(
        area="usb", name="usbguard", value="installed" if guard else ABSENT, source="usbguard-daemon"
    )


# --- logging, TLS, sign-in, processes ----------------------------------------------------------------------------


def _logging(notes: Notes) -> Iterator[HardeningSetting]:
    host = notes.host
    journal = _ini(notes, "/etc/systemd/journald.conf", "/etc/systemd/journald.conf.d/*.conf")
    if host.find_program("journalctl"):
        storage = journal.get("storage", "auto")
        kept = storage == "persistent" or (storage == "auto" and bool(host.glob("/var/log/journal")))
        yield HardeningSetting(
            area="logging",
            name="journal",
            value="persistent" if kept else "volatile",
            source="/etc/systemd/journald.conf",
        )
        yield HardeningSetting(
            area="logging",
            name="journal compressed",
            value=journal.get("compress", "yes"),
            source="/etc/systemd/journald.conf",
        )
        yield HardeningSetting(
            area="logging",
            name="journal to syslog",
            value=journal.get("forwardtosyslog", "no"),
            source="/etc/systemd/journald.conf",
        )
    for program in ("rsyslogd", "syslog-ng", "auditd", "logrotate"):
        yield HardeningSetting(
            area="logging", name=program, value="installed" if host.find_program(program) else ABSENT, source=program
        )
    text = "\n".join(notes.read(path) or "" for path in ("/etc/rsyslog.conf", *host.glob("/etc/rsyslog.d/*.conf")))
    if host.find_program("rsyslogd"):
        remote = re.search(r"^[^#\n]*(@@?[\w.\[]|omfwd|omrelp)", text, re.MULTILINE)
        yield HardeningSetting(
            area="logging", name="remote", value="sent" if remote else "kept here", source="/etc/rsyslog.conf"
        )


def _ini(notes: Notes, *patterns: str) -> dict[str, str]:
    """Settings of systemd's kind of file, names in lower case; later files win."""
    found: dict[str, str] = {}
    for pattern in patterns:
        for path in notes.host.glob(pattern) if "*" in pattern else (pattern,):
            for line in (notes.read(path) or "").splitlines():
                name, equals, value = line.strip().partition("=")
                if equals and not name.startswith(("#", ";")):
                    found[name.strip().lower()] = value.strip()
    return found


def _tls(notes: Notes) -> Iterator[HardeningSetting]:
    text = notes.read("/etc/ssl/openssl.cnf")
    if text is not None:
        found = parse_openssl(text)
        for name in ("MinProtocol", "CipherString", "MaxProtocol", "Options"):
            yield HardeningSetting(
                area="tls", name=f"openssl {name}", value=found.get(name, ABSENT), source="/etc/ssl/openssl.cnf"
            )
    policy = notes.value("/etc/crypto-policies/state/current")
    if policy:
        yield HardeningSetting(
            area="tls", name="crypto policy", value=policy, source="/etc/crypto-policies/state/current"
        )


def parse_openssl(text: str) -> dict[str, str]:
    """The defaults that openssl.cnf(5) gives every TLS connection: ``openssl_conf`` → ``ssl_conf`` →
    ``system_default``."""
    sections: dict[str, dict[str, str]] = {"": {}}
    section = ""
    for raw in text.splitlines():
        line = raw.split("#", 1)[0].strip()
        if head := re.fullmatch(r"\[\s*(\S+)\s*\]", line):
            section = head[1]
            sections.setdefault(section, {})
        elif "=" in line:
            name, _, value = line.partition("=")
            sections[section][name.strip()] = value.strip()
    first = sections.get(sections[""].get("openssl_conf", ""), {})
    ssl = sections.get(first.get("ssl_conf", ""), {})
    return sections.get(ssl.get("system_default", ""), {})


def _login(notes: Notes) -> Iterator[HardeningSetting]:
    text = notes.read("/etc/login.defs")
    if text is not None:
        values = {parts[0]: parts[1] for line in text.splitlines() if len(parts := line.split()) >= 2}
        for name in _LOGIN_DEFS:
            yield HardeningSetting(area="login", name=name, value=values.get(name, ABSENT), source="/etc/login.defs")
    shells = [
        notes.read(path) or ""
        for path in ("/etc/profile", "/etc/bash.bashrc", "/etc/bashrc", *notes.host.glob("/etc/profile.d/*.sh"))
    ]
    timeouts = [int(found) for part in shells for found in re.findall(r"^[^#\n]*\bTMOUT=(\d+)", part, re.MULTILINE)]
    yield HardeningSetting(
        area="login", name="shell timeout", value=str(max(timeouts)) if timeouts else ABSENT, source="/etc/profile"
    )
    for path in ("/etc/issue", "/etc/issue.net", "/etc/motd"):
        banner = notes.read(path)
        if banner is not None:
            told = "tells the system" if _BANNER_TELLS.search(banner) else "empty" if not banner.strip() else "set"
            yield HardeningSetting(area="login", name=f"banner {path}", value=told, source=path)
    for path in ("/etc/cron.allow", "/etc/cron.deny", "/etc/at.allow"):
        yield HardeningSetting(area="login", name=path, value="there" if notes.host.glob(path) else ABSENT, source=path)
    pam = "\n".join(notes.read(path) or "" for path in ("/etc/pam.d/su",))
    if pam:
        limited = re.search(r"^\s*auth\s+(required|requisite)\s+pam_wheel\.so", pam, re.MULTILINE)
        yield HardeningSetting(
            area="login", name="su", value="limited to a group" if limited else "open", source="/etc/pam.d/su"
        )


def _process(notes: Notes) -> Iterator[HardeningSetting]:
    limits = "\n".join(
        notes.read(path) or ""
        for path in ("/etc/security/limits.conf", *notes.host.glob("/etc/security/limits.d/*.conf"))
    )
    none = re.search(r"^\s*\*\s+(hard|-)\s+core\s+0\b", limits, re.MULTILINE)
    yield HardeningSetting(
        area="process", name="core dumps", value="off" if none else "on", source="/etc/security/limits.conf"
    )
    state = "none"
    if notes.value("/sys/fs/selinux/enforce"):
        state = "selinux enforcing" if notes.value("/sys/fs/selinux/enforce") == "1" else "selinux permissive"
    elif notes.value("/sys/module/apparmor/parameters/enabled") == "Y":
        state = "apparmor"
        try:
            profiles = notes.host.read_text("/sys/kernel/security/apparmor/profiles").splitlines()
            enforced = sum(line.endswith("(enforce)") for line in profiles)
            state = f"apparmor: {enforced} of {len(profiles)} profiles enforced"
        except HostError as error:
            notes.gap("AppArmor profiles", error.why)
    yield HardeningSetting(
        area="process", name="access control", value=state, source="/sys/fs/selinux, /sys/module/apparmor"
    )
    for program in ("aide", "tripwire", "samhain"):
        if notes.host.find_program(program):
            yield HardeningSetting(area="process", name="file integrity", value=program, source=program)
            break
    else:
        yield HardeningSetting(area="process", name="file integrity", value=ABSENT, source="aide, tripwire, samhain")
    for program in ("gcc", "cc", "clang"):
        path = notes.host.find_program(program)
        if path:
            try:
                everybody = notes.host.status(path).mode & 0o001
            except HostError:
                continue
            yield HardeningSetting(
                area="process", name="compiler", value="open to all" if everybody else "limited", source=path
            )
            break
    else:
        yield HardeningSetting(area="process", name="compiler", value=ABSENT, source="gcc, cc, clang")
