"""A real Debian in a folder, made by debootstrap from the mirror that this machine itself uses.

Only the release pocket at first: updates are what the security pocket offers on top. Made once and kept in the user's
cache; each test gets a copy-on-write layer over it (overlayfs, in a mount of its own), so that a copy costs nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from forestall.agent.act.context import Context, Places
from forestall.agent.collect.host import DEFAULT_TIMEOUT_SECONDS, MAX_TEXT_BYTES, CommandResult, LocalHost, PathStatus

PACKAGES = "ca-certificates,jq,openssl,unzip,xz-utils,zip"
"""Beside the smallest system: small ones with a history of security updates."""
_REAL = ("/proc", "/sys", "/dev")
_VARIABLES = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/root"}


@dataclass(frozen=True)
class Mirror:
    address: str
    suite: str
    security: str
    """Address of the security archive."""


def mirror() -> Mirror | None:
    """Where this machine gets its Debian from, by its own apt sources; None when it is no Debian."""
    text = ""
    for path in [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]:
        if path.suffix in (".list", ".sources") and path.is_file():
            text += path.read_text() + "\n\n"
    found: dict[str, str] = {}
    for stanza in text.split("\n\n"):
        addresses = re.findall(r"^URIs:\s*(\S+)", stanza, re.MULTILINE)
        suites = re.findall(r"^Suites:\s*(.+)$", stanza, re.MULTILINE)
        if addresses and suites:
            found |= dict.fromkeys(suites[0].split(), addresses[0])
    for address, suite in re.findall(r"^deb (?:\[[^]]*\] )?(\S+) (\S+) main\b", text, re.MULTILINE):
        found.setdefault(suite, address)
    for suite, address in found.items():
        security = found.get(f"{suite}-security")
        if security and re.fullmatch(r"[a-z]+", suite):
            return Mirror(address, suite, security)
    return None


def why_not() -> str:
    """Why no such Debian can be had here; empty when it can."""
    if os.geteuid() != 0:
        return "needs root"
    if shutil.which("debootstrap") is None:
        return "debootstrap is not installed"
    if mirror() is None:
        return "this machine's apt sources name no Debian with its security archive"
    return ""


def base_system() -> Path:
    """The folder of the Debian that is kept; made when it is not there (about a minute)."""
    source = mirror()
    assert source is not None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "forestall-tests"
    base = cache / f"debian-{source.suite}-1"
    if base.is_dir():
        return base
    cache.mkdir(parents=True, exist_ok=True)
    partial = cache / f"{base.name}.{os.getpid()}"
    options = ["--variant=minbase", f"--include={PACKAGES}"]
    argv = ["debootstrap", *options, source.suite, str(partial), source.address]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(partial, ignore_errors=True)
        raise RuntimeError(f"debootstrap: {done.stdout[-2000:]}{done.stderr[-500:]}")
    # Packages in a chroot start no services.
    (partial / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (partial / "usr/sbin/policy-rc.d").chmod(0o755)
    for archive in (partial / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()
    with contextlib.suppress(OSError):  # another process was quicker
        partial.rename(base)
    shutil.rmtree(partial, ignore_errors=True)
    return base


class ChrootHost(LocalHost):
    """The system in a folder: its files, and its programs by ``chroot``. Processes are this machine's."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = str(root)

    def inside(self, path: str) -> str:
        return path if path.startswith((*_REAL, self.root)) else f"{self.root}{path}"

    def find_program(self, name: str) -> str | None:
        folders = _VARIABLES["PATH"].split(":")
        return next((f"{each}/{name}" for each in folders if os.access(f"{self.root}{each}/{name}", os.X_OK)), None)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        environment: Mapping[str, str] | None = None,
        most_bytes: int | None = None,
    ) -> CommandResult:
        argv = ["chroot", self.root, *argv]
        return super().run(argv, timeout=timeout, environment=environment, most_bytes=most_bytes)

    def read_bytes(self, path: str, *, offset: int = 0, limit: int = MAX_TEXT_BYTES) -> bytes:
        return super().read_bytes(self.inside(path), offset=offset, limit=limit)

    def list_dir(self, path: str) -> list[str]:
        return super().list_dir(self.inside(path))

    def glob(self, pattern: str) -> list[str]:
        return [path.removeprefix(self.root) for path in super().glob(self.inside(pattern))]

    def status(self, path: str) -> PathStatus:
        return super().status(self.inside(path))


class Debian:
    """One copy of the system, to be changed."""

    def __init__(self, root: Path, agent_home: Path) -> None:
        self.root = root
        self.agent_home = agent_home
        self.host = ChrootHost(root)

    def context(self, **changes: object) -> Context:
        given: dict[str, object] = {
            "agent_home": self.agent_home,
            "timeout_seconds": 300,
            "places": Places(root=str(self.root), systemd=f"{self.root}/no-systemd"),
        }
        return Context(**{**given, **changes})  # type: ignore[arg-type]

    def offer_security(self) -> None:
        """Add the security pocket of this machine's own mirror, and fetch its lists."""
        source = mirror()
        assert source is not None
        line = f"deb {source.security} {source.suite}-security main\n"
        (self.root / "etc/apt/sources.list.d/security.list").write_text(line)
        self.run("apt-get", "update")

    def run(self, *argv: str, check: bool = True) -> str:
        done = subprocess.run(
            ["chroot", str(self.root), *argv], capture_output=True, text=True, check=False, env=_VARIABLES
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def installed(self) -> dict[str, tuple[str, str]]:
        """Package → dpkg's two letters of its state, and its version."""
        said = self.run("dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev} ${Version}\n")
        rows = [line.split() for line in said.splitlines()]
        return {row[0]: (row[1], row[2] if len(row) > 2 else "") for row in rows}


@contextlib.contextmanager
def layer(lower: str, folder: Path) -> Iterator[Path]:
    """A copy-on-write layer over ``lower`` (folders with ``:`` between, the upper first), mounted below ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    # In memory: dpkg flushes each file to disk, which here would only cost time.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g", "tmpfs", str(folder)], check=True)
    for name in ("upper", "work", "root"):
        (folder / name).mkdir()
    options = f"lowerdir={lower},upperdir={folder}/upper,workdir={folder}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(folder / "root")], check=True)
    try:
        subprocess.run(["mount", "--bind", "/dev", str(folder / "root/dev")], check=True)
        yield folder / "root"
    finally:
        for name in ("root/dev", "root", "."):
            subprocess.run(["umount", "--lazy", str(folder / name)], capture_output=True, check=False)


@contextlib.contextmanager
def debian(folder: Path, *, lower: str = "") -> Iterator[Debian]:
    """A copy of the Debian, as it is or on top of ``lower``: folders of its kind, the upper first."""
    with layer(lower or str(base_system()), folder) as root:
        (folder / "agent").mkdir()
        yield Debian(root, folder / "agent")
