"""A small Debian for tests: an apt and dpkg root of its own, and signed repositories with packages made for the case.

Nothing of the machine is touched and root is not needed: the real apt and dpkg work in a folder (``APT_CONFIG``,
``DPKG_ROOT``), on packages built here, from a server on this machine that can be cut off.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from forestall.agent.act.context import Context, Places
from forestall.agent.collect.host import DEFAULT_TIMEOUT_SECONDS, MAX_TEXT_BYTES, CommandResult, LocalHost, PathStatus

NEEDED = ("apt-get", "apt-ftparchive", "dpkg-deb", "dpkg", "gpg")
MISSING = [program for program in NEEDED if shutil.which(program) is None]
_OURS = ("/var/lib/dpkg", "/var/lib/apt", "/var/cache/apt", "/etc/apt", "/run/reboot-required")


FOLDERS = (
    "etc/apt/sources.list.d", "etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/lib/apt/lists/partial",
    "var/cache/apt/archives/partial", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers",
    "var/lib/dpkg/parts", "var/log/apt", "tmp", "run",
)  # fmt: skip


@dataclass(frozen=True)
class Deb:
    """A package to be built."""

    name: str
    version: str
    architecture: str = "all"
    fields: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    conffiles: Sequence[str] = ()
    scripts: Mapping[str, str] = field(default_factory=dict)
    """``postinst`` … → the lines of a shell script."""

    def build(self, folder: Path) -> Path:
        target = folder / f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"
        with tempfile.TemporaryDirectory() as made:
            tree = Path(made)
            (tree / "DEBIAN").mkdir()
            tree.chmod(0o755)
            control = {
                "Package": self.name,
                "Version": self.version,
                "Architecture": self.architecture,
                "Maintainer": "Ada <ada@example.org>",
                **self.fields,
                "Description": f"{self.name} of the tests",
            }
            (tree / "DEBIAN/control").write_text("".join(f"{key}: {value}\n" for key, value in control.items()))
            files = {f"usr/share/{self.name}/version": f"{self.version}\n", **self.files}
            for path, text in files.items():
                (tree / path).parent.mkdir(parents=True, exist_ok=True)
                (tree / path).write_text(text)
            if self.conffiles:
                (tree / "DEBIAN/conffiles").write_text("".join(f"{path}\n" for path in self.conffiles))
            for script, lines in self.scripts.items():
                (tree / "DEBIAN" / script).write_text(f"#!/bin/sh\n{lines}\n")
                (tree / "DEBIAN" / script).chmod(0o755)
            _run(["dpkg-deb", "-Zgzip", "-z1", "--build", str(tree), str(target)])
        return target


RELEASED = (
    Deb("dpkg", "1.21.22", "native"),
    Deb("apt", "2.6.1", "native"),
    Deb("lib-a", "1.0-1"),
    Deb("app", "1.0-1", fields={"Depends": "lib-a (>= 1.0-1)"}),
    Deb("tool", "1:1.0-1"),
    Deb("confy", "1.0-1", files={"etc/confy.conf": "colour = blue\n"}, conffiles=("/etc/confy.conf",)),
    Deb("failing", "1.0-1"),
    Deb("hanging", "1.0-1"),
    Deb("asking", "1.0-1"),
    Deb("greedy", "1.0-1"),
)
SECURITY = (
    Deb("lib-a", "1.0-1+sec1"),
    Deb("confy", "1.0-1+sec1", files={"etc/confy.conf": "colour = red\n# new\n"}, conffiles=("/etc/confy.conf",)),
    Deb("asking", "1.0-1+sec1", scripts={"postinst": "read answer\nexit 0"}),
)
UPDATES = (
    Deb("app", "2.0-1", fields={"Depends": "lib-a (>= 1.0-1), new-part"}),
    Deb("new-part", "2.0-1"),
    Deb("tool", "1:1.5-1"),
    Deb("greedy", "2.0-1", fields={"Conflicts": "tool"}),
)
BROKEN = (
    Deb("failing", "1.0-1+sec1", scripts={"postinst": 'echo "the database does not answer" >&2\nexit 3'}),
    Deb("hanging", "1.0-1+sec1", scripts={"postinst": "sleep 600"}),
)


class _Server(ThreadingHTTPServer):
    cut = False
    daemon_threads = True


class _Handler(SimpleHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        if self.server.cut:
            self.close_connection = True  # no answer at all
            return
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


class Repositories:
    """``release`` (what was installed), ``security``, ``updates`` and ``broken``, signed, behind a local server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.architecture = _run(["dpkg", "--print-architecture"]).strip()
        self.keys = folder / "keys"
        self.keys.mkdir(mode=0o700, parents=True)
        # gpg's agent wants a short path for its socket.
        self._gpg_home = tempfile.mkdtemp(prefix="g", dir="/tmp")
        self._gpg("--quick-generate-key", "Tests <tests@example.org>", "ed25519", "sign", "never")
        (self.keys / "tests.asc").write_text(self._gpg("--armor", "--export"))
        self.publish("release", RELEASED, label="Tests", suite="stable")
        self.publish("security", SECURITY, label="Debian-Security", suite="stable-security")
        self.publish("updates", UPDATES, label="Tests", suite="stable-updates")
        self.publish("broken", BROKEN, label="Debian-Security", suite="stable-security")
        self.server = _Server(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def publish(self, name: str, debs: Sequence[Deb], *, label: str, suite: str, signed: bool = True) -> None:
        """Add packages to a repository, and write and sign its lists anew."""
        place = self.folder / name
        place.mkdir(exist_ok=True)
        for deb in debs:
            own = self.architecture if deb.architecture == "native" else deb.architecture
            Deb(**{**vars(deb), "architecture": own}).build(place)
        packages = _run(["apt-ftparchive", "packages", "."], cwd=place)
        (place / "Packages").write_text(packages)
        fields = {"Origin": "Tests", "Label": label, "Suite": suite, "Version": "12", "Codename": suite}
        options = [part for key, value in fields.items() for part in ("-o", f"APT::FTPArchive::Release::{key}={value}")]
        for old in ("Release", "InRelease"):
            (place / old).unlink(missing_ok=True)
        release = _run(["apt-ftparchive", *options, "release", "."], cwd=place)
        (place / "Release").write_text(release)
        if signed:
            self._gpg("--clearsign", "--output", str(place / "InRelease"), str(place / "Release"))

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        subprocess.run(["gpgconf", "--homedir", self._gpg_home, "--kill", "all"], capture_output=True, check=False)
        shutil.rmtree(self._gpg_home, ignore_errors=True)

    def _gpg(self, *arguments: str) -> str:
        return _run(["gpg", "--homedir", self._gpg_home, "--batch", "--quiet", "--passphrase", "", *arguments])


class PrivateHost(LocalHost):
    """This machine, where apt's and dpkg's files are those of a folder. Everything else is real."""

    def __init__(self, root: Path, environment: Mapping[str, str]) -> None:
        super().__init__()
        self.root = str(root)
        self.variables = dict(environment)

    def inside(self, path: str) -> str:
        return f"{self.root}{path}" if path.startswith(_OURS) else path

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        environment: Mapping[str, str] | None = None,
        most_bytes: int | None = None,
    ) -> CommandResult:
        variables = {**(environment or {}), **self.variables}
        return super().run(argv, timeout=timeout, environment=variables, most_bytes=most_bytes)

    def read_bytes(self, path: str, *, offset: int = 0, limit: int = MAX_TEXT_BYTES) -> bytes:
        return super().read_bytes(self.inside(path), offset=offset, limit=limit)

    def list_dir(self, path: str) -> list[str]:
        return super().list_dir(self.inside(path))

    def glob(self, pattern: str) -> list[str]:
        found = super().glob(self.inside(pattern))
        return [path.removeprefix(self.root) for path in found] if pattern.startswith(_OURS) else found

    def status(self, path: str) -> PathStatus:
        return super().status(self.inside(path))


class AptWorld:
    """A machine with the released packages installed and its lists fetched."""

    def __init__(self, folder: Path, repositories: Repositories, *, of: AptWorld | None = None) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.repositories = repositories
        if of is None:
            for name in FOLDERS:
                (self.root / name).mkdir(parents=True)
            for name in ("status", "available"):
                (self.root / "var/lib/dpkg" / name).touch()
        else:
            shutil.copytree(of.root, self.root, symlinks=True)
        (folder / "agent").mkdir(exist_ok=True)
        config = folder / "apt.conf"
        config.write_text(
            f'Dir "{self.root}/";\nDir::Bin::methods "/usr/lib/apt/methods";\n'
            f'Dir::State::status "{self.root}/var/lib/dpkg/status";\n'
            f'APT::Sandbox::User "";\nAPT::Architecture "{repositories.architecture}";\n'
            'Acquire::Languages "none";\nAPT::Keep-Downloaded-Packages "true";\n'
            'Acquire::http::Proxy "DIRECT";\nAcquire::Retries "0";\n'
        )
        # Else dpkg would write into this machine's own log, wherever its root is.
        (folder / ".dpkg.cfg").write_text(f"log {self.root}/var/log/dpkg.log\n")
        self.environment = {
            "HOME": str(folder),
            "APT_CONFIG": str(config),
            "DPKG_ROOT": str(self.root),
            "DPKG_FORCE": "script-chrootless,not-root,bad-path,unsafe-io,downgrade",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        self.host = PrivateHost(self.root, self.environment)

    def prepare(self) -> AptWorld:
        """Install the released packages; the lists are of that repository alone."""
        debs = [str(path) for path in sorted((self.repositories.folder / "release").glob("*.deb"))]
        self.run("dpkg", "--install", *debs)
        self.sources("release")
        self.run("apt-get", "update")
        return self

    def copy(self, folder: Path) -> AptWorld:
        return AptWorld(folder, self.repositories, of=self)

    def sources(self, *names: str, options: str = "") -> None:
        """Which repositories this machine knows."""
        known = f"signed-by={self.repositories.keys}/tests.asc"
        lines = [f"deb [{known}{options}] {self.repositories.address}/{name} ./\n" for name in names]
        (self.root / "etc/apt/sources.list").write_text("".join(lines))

    def offer(self, *names: str, options: str = "") -> None:
        """These repositories beside the released one, with their lists fetched."""
        self.sources("release", *names, options=options)
        self.run("apt-get", "update")

    def context(self, **changes: object) -> Context:
        given: dict[str, object] = {
            "agent_home": self.folder / "agent",
            "timeout_seconds": 60,
            "environment": self.environment,
            "places": Places(systemd=str(self.folder / "no-systemd"), init_scripts=str(self.folder / "init.d")),
        }
        return Context(**{**given, **changes})  # type: ignore[arg-type]

    @contextlib.contextmanager
    def network_cut(self):  # type: ignore[no-untyped-def]
        self.repositories.server.cut = True
        try:
            yield
        finally:
            self.repositories.server.cut = False

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, env={**os.environ, **self.environment, "LC_ALL": "C"}
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def installed(self) -> dict[str, str]:
        """``dpkg -l`` in short: name → version, with the state where it is not ``ii``."""
        said = self.run("dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev} ${Version}\n").stdout
        found = {}
        for line in said.splitlines():
            name, state, version = (*line.split(), "")[:3]
            found[name] = version if state == "ii" else f"{state} {version}"
        return found


def _run(argv: Sequence[str], *, cwd: Path | None = None) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode != 0:
        raise RuntimeError(f"{argv}: {done.stdout}{done.stderr}")
    return done.stdout
