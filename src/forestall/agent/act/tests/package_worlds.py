"""Small systems for the package managers: a folder that plays the root, repositories of signed packages, and the real
programs of this machine, called through wrappers that point them at the folder.

The providers know nothing of it: they call ``dnf``, and find ours first on the path.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from forestall.agent.act.context import Context, Places
from forestall.agent.collect.host import MAX_TEXT_BYTES, PROGRAM_PATH, LocalHost, PathStatus

SIGNER = "packages@contoso.example"


class RootedHost(LocalHost):
    """This machine, with another folder as its root, and programs that are looked for in ``programs`` first."""

    def __init__(self, root: Path, programs: Path) -> None:
        super().__init__()
        self.root = str(root)
        self.programs = programs

    def _there(self, path: str) -> str:
        return path if path.startswith(("/proc", "/sys")) else self.root + path

    def find_program(self, name: str) -> str | None:
        ours = self.programs / name
        return str(ours) if ours.exists() else None

    def read_bytes(self, path: str, *, offset: int = 0, limit: int = MAX_TEXT_BYTES) -> bytes:
        return super().read_bytes(self._there(path), offset=offset, limit=limit)

    def read_link(self, path: str) -> str:
        return super().read_link(self._there(path))

    def list_dir(self, path: str) -> list[str]:
        return super().list_dir(self._there(path))

    def glob(self, pattern: str) -> list[str]:
        found = super().glob(self._there(pattern))
        return [path.removeprefix(self.root) for path in found]

    def status(self, path: str) -> PathStatus:
        return super().status(self._there(path))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the class above it
        del format, args


class World:
    """A root, its programs, and a key with which its vendor signs."""

    NEEDS: tuple[str, ...] = ()
    """Programs without which it cannot be built."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server: ThreadingHTTPServer | None = None
        self.root = folder / "root"
        self.programs = folder / "programs"
        self.home = folder / "home"
        self.repository = folder / "repository"
        for each in (self.root, self.programs, self.home, self.repository):
            each.mkdir()
        # The agent of the keys listens on a socket in its folder, whose path must be short.
        self.keys = Path(tempfile.mkdtemp(prefix="fk", dir="/tmp"))
        self.gpg("--passphrase", "", "--quick-generate-key", f"Contoso Linux <{SIGNER}>", "rsa2048", "sign", "never")
        self.key = folder / "contoso.asc"
        self.key.write_text(self.gpg("--armor", "--export", SIGNER))
        # The product starts programs in another root by chroot; ours is in the root by its options.
        self.wrap("chroot", 'shift; exec "$@"')
        self.host = RootedHost(self.root, self.programs)

    def close(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
        subprocess.run(["gpgconf", "--homedir", str(self.keys), "--kill", "all"], check=False, capture_output=True)
        shutil.rmtree(self.keys, ignore_errors=True)

    def serve(self) -> str:
        """Serve the repository over HTTP, and return its address: what is on disk would not be fetched at all."""
        handler = partial(Quiet, directory=str(self.repository))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def wrap(self, name: str, script: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def write(self, path: str, text: str) -> None:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def context(self, *, dry_run: bool = False) -> Context:
        return Context(
            agent_home=self.home,
            timeout_seconds=120,
            places=Places(root=str(self.root)),
            environment={"PATH": f"{self.programs}:{PROGRAM_PATH}"},
            dry_run=dry_run,
        )

    def gpg(self, *arguments: str) -> str:
        return self.run(["gpg", "--homedir", str(self.keys), "--batch", "--yes", *arguments])

    def run(self, argv: Sequence[str], *, environment: Mapping[str, str] | None = None) -> str:
        done = subprocess.run(
            list(argv),
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(self.home), **(environment or {})},
        )
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout


class RpmWorld(World):
    """A repository of rpm packages with updateinfo, and a root that dnf or zypper looks after."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (self.home / ".rpmmacros").write_text(
            f"%_dbpath /var/lib/rpm\n%__gpg /usr/bin/gpg\n%_gpg_path {self.keys}\n%_gpg_name {SIGNER}\n"
        )
        self.wrap("rpm", f'export HOME={self.home}\nexec /usr/bin/rpm --root {self.root} "$@"')
        self.write("/etc/os-release", "ID=contoso\nVERSION_ID=9\n")

    def publish(
        self,
        *packages: tuple[str, str],
        requires: Mapping[str, str] | None = None,
        conflicts: Mapping[str, str] | None = None,
        after: Mapping[str, str] | None = None,
        signed: bool = True,
    ) -> None:
        """Build packages (name, ``version-release``) and the lists. ``after``: Lua that runs once it is there."""
        for name, full in packages:
            version, _, release = full.rpartition("-")
            spec = self.folder / f"{name}.spec"
            needs = [f"Requires: {each}" for each in (requires or {}).get(name, "").split()]
            needs += [f"Conflicts: {each}" for each in (conflicts or {}).get(name, "").split()]
            spec.write_text(
                f"Name: {name}\nVersion: {version}\nRelease: {release}\nSummary: a test\nLicense: none\n"
                "BuildArch: noarch\n" + "".join(f"{line}\n" for line in needs) + "%description\na test\n"
                f"%install\nmkdir -p %{{buildroot}}/opt/{name}\necho {full} > %{{buildroot}}/opt/{name}/version\n"
                f"%files\n/opt/{name}/version\n"
                + (f"%post -p <lua>\n{after[name]}\n" if after and name in after else "")
            )
            place = ["--define", f"_topdir {self.folder}/build", "--define", f"_rpmdir {self.repository}"]
            self.run(["rpmbuild", "-bb", "--quiet", *place, str(spec)])
            if signed:
                self.run(["rpmsign", "--addsign", str(self.repository / "noarch" / f"{name}-{full}.noarch.rpm")])
        self.lists()

    def lists(self, updateinfo: str = "") -> None:
        """The lists anew, signed; with advisories once they were given."""
        if updateinfo:
            (self.folder / "updateinfo.xml").write_text(updateinfo)
        self.run(["createrepo_c", "--quiet", str(self.repository)])
        if (self.folder / "updateinfo.xml").exists():
            self.run(["modifyrepo_c", str(self.folder / "updateinfo.xml"), str(self.repository / "repodata")])
        self.gpg("--armor", "--detach-sign", str(self.repository / "repodata/repomd.xml"))
        shutil.copy(self.key, self.repository / "repodata/repomd.xml.key")

    def version_on_disk(self, name: str) -> str:
        """What the package's own file says: no database is asked."""
        return (self.root / f"opt/{name}/version").read_text().strip()


class DnfWorld(RpmWorld):
    NEEDS = ("dnf", "rpmbuild", "rpmsign", "createrepo_c", "modifyrepo_c", "gpg")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.write("/etc/dnf/dnf.conf", "[main]\ngpgcheck=1\nkeepcache=0\n# kept by hand\n")
        self.address = self.serve()
        self.source(checked=True)
        options = f"--installroot={self.root} --releasever=9 --config={self.root}/etc/dnf/dnf.conf --noplugins"
        self.wrap("dnf", f'export HOME={self.home}\nexec /usr/bin/dnf {options} "$@"')

    def source(self, *, checked: bool) -> None:
        self.write(
            "/etc/yum.repos.d/contoso.repo",
            f"[contoso-base]\nname=Contoso\nbaseurl={self.address}\nenabled=1\ngpgkey=file://{self.key}\n"
            f"gpgcheck={int(checked)}\n",
        )

    def install(self, *names: str) -> None:
        self.run([str(self.programs / "dnf"), "--quiet", "--assumeyes", "install", *names])

    def fetch_lists(self) -> None:
        self.run([str(self.programs / "dnf"), "--quiet", "makecache", "--refresh"])


class ZypperWorld(RpmWorld):
    NEEDS = ("zypper", "rpmbuild", "rpmsign", "createrepo_c", "modifyrepo_c", "gpg")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.address = self.serve()
        self.source(checked=True)
        self.wrap("zypper", f'export HOME={self.home}\nexec /usr/bin/zypper --root {self.root} "$@"')

    def source(self, *, checked: bool) -> None:
        self.write(
            "/etc/zypp/repos.d/contoso-base.repo",
            f"[contoso-base]\nname=Contoso\nbaseurl={self.address}\nenabled=1\nautorefresh=1\n"
            f"gpgcheck={int(checked)}\n",
        )

    def install(self, *names: str) -> None:
        options = ["--non-interactive", "--no-refresh", "install", "--no-recommends", "--oldpackage"]
        self.run([str(self.programs / "zypper"), *options, *names])

    def fetch_lists(self) -> None:
        self.run([str(self.programs / "zypper"), "--non-interactive", "--gpg-auto-import-keys", "refresh", "--force"])


class PacmanWorld(World):
    NEEDS = ("pacman", "repo-add", "pacman-conf", "bsdtar", "gpg")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for each in ("var/lib/pacman", "var/cache/pacman/pkg", "var/log", "etc"):
            (self.root / each).mkdir(parents=True)
        self.trusted = Path(tempfile.mkdtemp(prefix="fp", dir="/tmp"))
        (self.trusted / "pubring.gpg").touch()  # the form in which pacman looks for it
        self.run(["gpg", "--homedir", str(self.trusted), "--batch", "--import", str(self.key)])
        fields = self.gpg("--with-colons", "--list-keys")
        fingerprint = next(line.split(":")[9] for line in fields.splitlines() if line.startswith("fpr"))
        (self.folder / "trust").write_text(f"{fingerprint}:6:\n")
        self.run(["gpg", "--homedir", str(self.trusted), "--batch", "--import-ownertrust", str(self.folder / "trust")])
        self.source("Required DatabaseOptional")
        options = (
            f"--root {self.root} --dbpath {self.root}/var/lib/pacman --cachedir {self.root}/var/cache/pacman/pkg "
            f"--config {self.root}/etc/pacman.conf --gpgdir {self.trusted} --logfile {self.root}/var/log/pacman.log"
        )
        # Archives are named as the root sees them; this pacman stands outside of it.
        here = f"{self.root}/var/cache"
        self.wrap(
            "pacman",
            f'for each; do shift; case $each in /var/cache/*) each="{here}${{each#/var/cache}}";; esac; '
            f'set -- "$@" "$each"; done\nexec /usr/bin/pacman {options} "$@"',
        )
        self.wrap("pacman-conf", f'exec /usr/bin/pacman-conf --config {self.root}/etc/pacman.conf "$@"')

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.trusted), "--kill", "all"], check=False, capture_output=True)
        shutil.rmtree(self.trusted, ignore_errors=True)
        super().close()

    def source(self, levels: str) -> None:
        self.write(
            "/etc/pacman.conf",
            f"[options]\n# kept by hand\nHoldPkg = pacman\nArchitecture = auto\nSigLevel = {levels}\n"
            f"[contoso]\nServer = file://{self.repository}\n",
        )

    def publish(
        self, *packages: tuple[str, str], requires: Mapping[str, str] | None = None, signed: bool = True
    ) -> None:
        for name, version in packages:
            place = self.folder / "build" / f"{name}-{version}"
            (place / "opt" / name).mkdir(parents=True)
            (place / "opt" / name / "version").write_text(f"{version}\n")
            needs = f"depend = {requires[name]}\n" if requires and name in requires else ""
            (place / ".PKGINFO").write_text(
                f"pkgname = {name}\npkgbase = {name}\npkgver = {version}\npkgdesc = a test\narch = any\nsize = 10\n"
                f"builddate = 1790000000\n{needs}"
            )
            archive = self.repository / f"{name}-{version}-any.pkg.tar.gz"
            self.run(["tar", "-C", str(place), "-czf", str(archive), ".PKGINFO", "opt"])
            if signed:
                self.gpg("--no-armor", "--detach-sign", str(archive))
            self.run(["repo-add", "--quiet", str(self.repository / "contoso.db.tar.gz"), str(archive)])

    def fetch_lists(self) -> None:
        self.run([str(self.programs / "pacman"), "-Syy"])

    def install(self, *names: str) -> None:
        self.run([str(self.programs / "pacman"), "-S", "--noconfirm", *names])

    def version_on_disk(self, name: str) -> str:
        return (self.root / f"opt/{name}/version").read_text().strip()


class FlatpakWorld(World):
    """A remote with one application and its runtime, and a system installation of its own."""

    NEEDS = ("flatpak", "ostree", "gpg")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.address = self.serve()
        place = self.root / "var/lib/flatpak"
        place.mkdir(parents=True)
        self.wrap(
            "flatpak",
            f"export HOME={self.home} FLATPAK_SYSTEM_DIR={place} XDG_CACHE_HOME={self.home}/cache\n"
            'exec /usr/bin/flatpak "$@"',
        )
        self.run(["ostree", f"--repo={self.repository}", "init", "--mode=archive"])
        (self.folder / "runtime/usr").mkdir(parents=True)
        (self.folder / "runtime/files").mkdir()
        (self.folder / "runtime/metadata").write_text(
            "[Runtime]\nname=org.contoso.Platform\nruntime=org.contoso.Platform/x86_64/1\n"
        )
        self._export("-r", str(self.folder / "runtime"), "1")

    def publish(self, text: str) -> None:
        """The application anew, with other contents."""
        place = self.folder / "notes"
        for each in ("files", "export"):
            (place / each).mkdir(parents=True, exist_ok=True)
        (place / "metadata").write_text(
            "[Application]\nname=org.contoso.Notes\nruntime=org.contoso.Platform/x86_64/1\n"
            "sdk=org.contoso.Sdk/x86_64/1\ncommand=notes\n"
        )
        (place / "files/text").write_text(text)
        self._export(str(place), "stable")

    def remote(self, *, checked: bool) -> None:
        how = f"--gpg-import={self.key}" if checked else "--no-gpg-verify"
        self.flatpak("remote-add", "--system", how, "contoso", self.address)

    def flatpak(self, *arguments: str) -> str:
        return self.run([str(self.programs / "flatpak"), *arguments])

    def _export(self, *arguments: str) -> None:
        *options, place, branch = arguments
        signing = [f"--gpg-sign={SIGNER}", f"--gpg-homedir={self.keys}"]
        self.run(["flatpak", "build-export", "--arch=x86_64", *options, *signing, str(self.repository), place, branch])
        self.run(["flatpak", "build-update-repo", *signing, str(self.repository)])

    def text_on_disk(self) -> str:
        (found,) = (self.root / "var/lib/flatpak/app/org.contoso.Notes").glob("current/active/files/text")
        return found.read_text()


def missing(world: type[World]) -> str:
    """Why the world cannot be built here; empty: it can."""
    if os.geteuid() != 0:
        return "needs root: the package managers change another root"
    absent = [name for name in world.NEEDS if shutil.which(name, path=PROGRAM_PATH) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""
