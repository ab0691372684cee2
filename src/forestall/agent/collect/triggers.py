"""Fingerprints that tell, for the cost of a few ``stat`` calls, whether a document may have changed.

The agent asks these every minute in its own process, so nothing here runs a program or imports a collector. A
trigger need not notice everything: a collector also runs when its ``every_seconds`` are over.
"""

from __future__ import annotations

from collections.abc import Iterable

from forestall.agent.collect.host import Host, HostError


def never(_host: Host) -> str:
    """For documents whose changes only time brings to light."""
    return ""


def system(host: Host) -> str:
    return _joined(
        [*_stamps(host, ("/etc/os-release", "/etc/debian_version", "/etc/localtime", "/run/reboot-required", "/boot"))],
        [_value(host, "/proc/sys/kernel/hostname")],
    )


def network(host: Host) -> str:
    return _joined(_listening(host), [_value(host, "/proc/net/route"), *_stamps(host, ("/etc/resolv.conf",))])


def volumes(host: Host) -> str:
    return _value(host, "/proc/self/mountinfo")


def disks(host: Host) -> str:
    return _joined(_names(host, "/sys/block"))


_OTHER_MANAGERS = (
    *("/var/lib/rpm", "/usr/lib/sysimage/rpm", "/var/lib/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/rpmdb.sqlite"),
    *("/etc/yum.repos.d", "/etc/dnf/dnf.conf", "/var/cache/dnf", "/var/cache/libdnf5"),
    *("/etc/zypp/repos.d", "/etc/zypp/locks", "/var/cache/zypp/solv"),
    *("/var/lib/pacman/local", "/var/lib/pacman/sync", "/var/lib/pacman/db.lck", "/etc/pacman.conf"),
    *("/lib/apk/db/installed", "/etc/apk/world", "/var/cache/apk"),
    *("/var/lib/flatpak/.changed", "/var/lib/flatpak/repo/config", "/var/lib/snapd/snaps"),
    *("/usr/local/lib/node_modules", "/usr/lib/node_modules", "/var/cache/fwupd"),
)
"""Where the others keep what is installed and what is offered."""


def software(host: Host) -> str:
    return _joined(_stamps(host, ("/var/lib/dpkg/status", *_OTHER_MANAGERS)))


def restarts(host: Host) -> str:
    """Packages change what a process should run, and a restarted service is no longer outdated."""
    return f"{software(host)}\n{services(host)}"


def updates(host: Host) -> str:
    # dpkg's journal: what a killed dpkg leaves there has not reached its status file.
    paths = ["/var/lib/dpkg/status", "/var/lib/dpkg/updates"]
    paths += ["/var/lib/apt/lists", "/etc/apt/sources.list", "/etc/apt/sources.list.d", "/etc/apt/preferences.d"]
    paths += ["/var/lib/apt/periodic/update-success-stamp"]
    paths += _OTHER_MANAGERS
    # A list that is fetched again and has not changed leaves the folder as it was, and only its own inode changes.
    paths += [*host.glob("/var/lib/apt/lists/*_InRelease"), *host.glob("/var/lib/apt/lists/*_Release")]
    return _joined(_stamps(host, paths))


def services(host: Host) -> str:
    """Units and scripts, and who of them lives: systemd's control groups, or the pid files and their processes."""
    if host.glob("/run/systemd/system"):
        folders = (
            "/etc/systemd/system",
            "/run/systemd/system",
            "/usr/lib/systemd/system",
            "/run/systemd/generator.late",
        )
        return _joined(_stamps(host, folders), _groups(host))
    alive = []
    for path in [*host.glob("/run/*.pid"), *host.glob("/run/*/*.pid"), *host.glob("/run/*/pid")]:
        pid = _value(host, path).split()[:1]
        state = _value(host, f"/proc/{pid[0]}/stat").rpartition(")")[2].split()[:1] if pid and pid[0].isdigit() else []
        alive.append(f"{path}={pid}{bool(state) and state != ['Z']}")
    links = [f"/etc/rc{level}.d" for level in "2345S"]
    return _joined(_stamps(host, ["/etc/init.d", *links]), alive)


def scheduled(host: Host) -> str:
    folders = ["/etc/crontab", "/etc/anacrontab", "/etc/cron.d", "/var/spool/cron", "/var/spool/cron/crontabs"]
    folders += [f"/etc/cron.{period}" for period in ("hourly", "daily", "weekly", "monthly")]
    return _joined(_stamps(host, [*folders, *host.glob("/etc/cron.d/*"), "/etc/systemd/system"]))


def access(host: Host) -> str:
    # Not /var/log/lastlog: sign-ins are told daily, or each of them would set off a walk over the file systems.
    files = ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/sudoers", "/etc/sudoers.d", "/etc/login.defs"]
    files += ["/etc/samba/smb.conf", "/etc/exports", "/etc/pam.d/common-password", "/etc/pam.d/system-auth"]
    keys = [*host.glob("/root/.ssh/authorized_keys*"), *host.glob("/home/*/.ssh/authorized_keys*")]
    return _joined(_stamps(host, [*files, *host.glob("/etc/sudoers.d/*"), *keys]))


def sshd(host: Host) -> str:
    files = ["/etc/ssh", "/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d", *host.glob("/etc/ssh/sshd_config.d/*")]
    return _joined(_stamps(host, [*files, "/usr/sbin/sshd", "/run/sshd.pid"]))


def firewall(host: Host) -> str:
    files = ("/etc/ufw/ufw.conf", "/etc/ufw/user.rules", "/etc/nftables.conf", "/etc/firewalld", "/etc/firewalld/zones")
    return _joined(_stamps(host, files), [_value(host, "/proc/net/ip_tables_names")])


def hardening(host: Host) -> str:
    files = ["/etc/sysctl.conf", "/etc/sysctl.d", "/etc/modprobe.d", "/etc/login.defs", "/etc/security/limits.conf"]
    files += [
        "/etc/passwd",
        "/etc/shadow",
        "/etc/gshadow",
        "/etc/group",
        "/etc/ssh/sshd_config",
        "/etc/ssl/openssl.cnf",
    ]
    files += [
        "/etc/issue",
        "/etc/issue.net",
        "/etc/motd",
        "/etc/pam.d/su",
        "/etc/systemd/journald.conf",
        "/etc/crontab",
    ]
    files += [*host.glob("/etc/sysctl.d/*.conf"), *host.glob("/etc/modprobe.d/*.conf")]
    values = ("net/ipv4/ip_forward", "kernel/randomize_va_space", "net/ipv4/conf/all/accept_redirects")
    return _joined(_stamps(host, files), [_value(host, f"/proc/sys/{name}") for name in values])


def assessments(host: Host) -> str:
    return _joined(_stamps(host, ["/var/log/lynis-report.dat", *host.glob("/var/log/openscap/*.xml")]))


def backups(host: Host) -> str:
    # The same folder as backup_settings.agent_home, which is not imported here: it needs a TOML reader.
    base = host.environment("FORESTALL_HOME") or f"{host.environment('HOME') or ''}/.local/share/forestall"
    home = host.environment("FORESTALL_AGENT_HOME") or f"{base}/agent"
    told = (f"{home}/backups.toml", f"{home}/backup-runs.json", "/etc/forestall/backups.toml")
    return _joined(_stamps(host, (*told, f"{base}/server/backup-status.json")))


def plugins(host: Host) -> str:
    base = host.environment("FORESTALL_HOME") or f"{host.environment('HOME') or ''}/.local/share/forestall"
    home = host.environment("FORESTALL_AGENT_HOME") or f"{base}/agent"
    return _joined(_stamps(host, (f"{home}/plugins.toml", "/etc/forestall/plugins.toml")))


def antivirus(host: Host) -> str:
    files = ["/var/lib/clamav", "/usr/bin/clamscan", "/usr/sbin/clamd", "/etc/clamav/clamd.conf"]
    files += [
        "/opt/microsoft/mdatp",
        "/opt/eset",
        "/opt/bitdefender-security-tools",
        "/opt/sentinelone",
        "/opt/CrowdStrike",
    ]
    files += ["/opt/sophos-av", "/opt/sophos-spl", "/opt/traps"]
    # A daemon that was killed leaves its pid file and its socket: only the process itself shows that it is gone.
    alive = []
    for path in ("/run/clamav/clamd.pid", "/var/run/clamd.scan/clamd.pid"):
        pid = _value(host, path).split()[:1]
        alive.append(f"{path}={bool(pid) and bool(host.glob(f'/proc/{pid[0]}/comm'))}")
    return _joined(_stamps(host, [*files, "/run/clamav/clamd.ctl"]), alive)


def certificates(host: Host) -> str:
    return _joined(_listening(host))


def _stamps(host: Host, paths: Iterable[str]) -> list[str]:
    found = []
    for path in paths:
        try:
            status = host.status(path)
        except HostError:
            continue
        found.append(f"{path}:{status.changed_ns}:{status.size}:{status.inode}")
    return found


def _listening(host: Host) -> list[str]:
    """The listening TCP sockets; one that is opened anew counts as another."""
    try:
        return host.listening_tcp()
    except HostError:
        return []  # then the collector runs by the clock alone


def _groups(host: Host) -> list[str]:
    """Control groups of systemd's services with their inode numbers: a restarted service has a new group."""
    found = []
    for root in ("/sys/fs/cgroup/system.slice", "/sys/fs/cgroup/systemd/system.slice"):
        for name in _names(host, root):
            if name.endswith(".service"):
                found += _stamps(host, (f"{root}/{name}/cgroup.procs",))
    # A change of state without a change of group (failed, stopped) removes the group.
    return found


def _names(host: Host, folder: str) -> list[str]:
    try:
        return host.list_dir(folder)
    except HostError:
        return []


def _value(host: Host, path: str) -> str:
    try:
        return host.read_text(path).strip("\x00 \t\n")
    except HostError:
        return ""


def _joined(*parts: Iterable[str]) -> str:
    return "\n".join(line for part in parts for line in part)
