"""The machine as collectors see it: one small interface, and the real one behind it.

Collectors touch the outside through a ``Host`` alone, so that every one of them runs in a test on recorded files
and outputs. Nothing here changes the machine: files are opened for reading, programs run without a shell, without
standing input, in the C locale and in UTC.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

DEFAULT_TIMEOUT_SECONDS = 20.0
MAX_TEXT_BYTES = 32 * 1024 * 1024
"""Most of one file that is ever read."""
_PIECE_BYTES = 256 * 1024
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _DUMP_REQUEST, _TCP_LISTEN = 4, 20, 0x301, 10
"""Of linux/netlink.h, linux/sock_diag.h and net/tcp_states.h; 0x301 is NLM_F_REQUEST | NLM_F_DUMP."""
PROGRAM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for: people's own PATH often lacks the sbin folders."""


class HostError(Exception):
    """Something of the machine could not be had. ``why`` says so in words fit for a document's gap."""

    def __init__(self, subject: str, why: str) -> None:
        super().__init__(f"{subject}: {why}")
        self.subject = subject
        self.why = why


class ProgramMissing(HostError):  # noqa: N818 - read as sentences: except ProgramMissing
    """The program is not installed."""

    def __init__(self, program: str) -> None:
        super().__init__(program, f"{program} is not installed")


class TimedOut(HostError):  # noqa: N818
    """The program or the server did not answer in time."""

    def __init__(self, subject: str, seconds: float) -> None:
        super().__init__(subject, f"no answer within {seconds:g} s")


class Denied(HostError):  # noqa: N818
    """The system refused; ``why`` is ``needs root`` unless we are root already."""

    def __init__(self, subject: str, *, is_root: bool) -> None:
        super().__init__(subject, "refused by the system, even to root" if is_root else "needs root")


class FileMissing(HostError):  # noqa: N818
    """There is no such file."""

    def __init__(self, path: str) -> None:
        super().__init__(path, f"{path} does not exist")


class Unreadable(HostError):  # noqa: N818
    """The file or address is there and yet cannot be read (an I/O error, a folder, no TLS …)."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a program that ran to its end left behind. Output is decoded as UTF-8, wrong bytes replaced."""

    stdout: str
    stderr: str
    exit_code: int
    """Negative: ended by that signal."""


@dataclass(frozen=True, slots=True)
class PathStatus:
    """What ``stat`` says of a path, links followed. Times in nanoseconds since 1970."""

    modified_ns: int
    changed_ns: int
    size: int
    inode: int
    mode: int
    uid: int
    is_dir: bool
    is_file: bool
    gid: int = -1
    """-1: not asked."""


@dataclass(frozen=True, slots=True)
class Space:
    """Space of a file system in bytes and inodes, as ``statvfs`` gives it."""

    total_bytes: int
    free_bytes: int
    """Free for root."""
    available_bytes: int
    """Free for others: what is left once the reserve is kept."""
    total_inodes: int
    free_inodes: int


class Host(Protocol):
    """All that a collector may ask of a machine. Every method may raise a ``HostError``."""

    @property
    def is_root(self) -> bool: ...

    def now(self) -> datetime:
        """The time, in UTC."""

    def environment(self, name: str) -> str | None:
        """An environment variable of the agent."""

    def find_program(self, name: str) -> str | None:
        """Full path of an installed program, None when there is none."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        environment: Mapping[str, str] | None = None,
        most_bytes: int | None = None,
    ) -> CommandResult:
        """Run a program to its end. ProgramMissing, Denied, or TimedOut (the program is ended then).

        ``most_bytes``: keep so much of each output and throw the rest away; None: all of it.
        """

    def read_bytes(self, path: str, *, offset: int = 0, limit: int = MAX_TEXT_BYTES) -> bytes:
        """At most ``limit`` bytes of a file, from ``offset``. FileMissing, Denied, Unreadable."""

    def read_text(self, path: str) -> str:
        """A file as UTF-8, wrong bytes replaced. FileMissing, Denied, Unreadable."""

    def read_link(self, path: str) -> str:
        """What a symbolic link names. FileMissing, Denied, Unreadable (not a link)."""

    def list_dir(self, path: str) -> list[str]:
        """Names in a folder, sorted. FileMissing, Denied, Unreadable."""

    def glob(self, pattern: str) -> list[str]:
        """Paths that match, sorted; none where a folder cannot be read."""

    def status(self, path: str) -> PathStatus:
        """FileMissing, Denied, Unreadable."""

    def keep(self, path: str, data: bytes) -> None:
        """Replace a small file of the agent's own, by which a collector remembers. Denied, Unreadable.

        The one thing that a collector writes; where the file's folder is not there, nothing is kept.
        """

    def space(self, path: str) -> Space:
        """Space of the file system mounted at ``path``."""

    def addresses(self) -> dict[str, list[str]]:
        """Addresses with prefix length by interface name."""

    def listening_tcp(self) -> list[str]:
        """A line for each listening TCP socket, sorted: for telling whether they changed, not what they are."""

    def kernel_clock_synchronised(self) -> bool | None:
        """Whether the kernel counts its clock as synchronised; None when it cannot be asked."""

    def local_to_utc(self, local: datetime) -> datetime:
        """A time without zone, as this machine's clock on the wall reads it, in UTC."""

    def server_certificate(self, address: str, port: int, *, timeout: float) -> bytes:
        """The certificate (DER) that a TLS server presents. TimedOut, Unreadable (speaks no TLS)."""


class LocalHost:
    """This machine. Heavier modules are imported by the method that needs them: the agent stays small."""

    def __init__(self) -> None:
        self.is_root = os.geteuid() == 0

    def now(self) -> datetime:
        from datetime import UTC

        return datetime.now(UTC)

    def environment(self, name: str) -> str | None:
        return os.environ.get(name)

    def find_program(self, name: str) -> str | None:
        for folder in PROGRAM_PATH.split(":"):
            path = f"{folder}/{name}"
            if os.access(path, os.X_OK):
                return path
        return None

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        environment: Mapping[str, str] | None = None,
        most_bytes: int | None = None,
    ) -> CommandResult:
        import signal
        import subprocess

        program = argv[0] if argv[0].startswith("/") else self.find_program(argv[0])
        if program is None:
            raise ProgramMissing(argv[0])
        variables = {
            "PATH": PROGRAM_PATH,
            "LC_ALL": "C",
            "LANG": "C",
            "TZ": "UTC",
            "HOME": os.environ.get("HOME", "/"),
            **(environment or {}),
        }
        try:
            process = subprocess.Popen(
                [program, *argv[1:]],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=variables,
                cwd="/",
                start_new_session=True,  # so that on timeout its children end with it
            )
        except FileNotFoundError:
            raise ProgramMissing(argv[0]) from None
        except PermissionError:
            raise Denied(argv[0], is_root=self.is_root) from None
        except OSError as error:
            raise Unreadable(argv[0], f"cannot be run: {error.strerror}") from error
        with process:
            try:
                if most_bytes is None:
                    stdout, stderr = process.communicate(timeout=timeout)
                else:
                    stdout, stderr = _communicate_within(process, timeout=timeout, most=most_bytes)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                raise TimedOut(argv[0], timeout) from None
        return CommandResult(
            stdout=stdout.decode(errors="replace"),
            stderr=stderr.decode(errors="replace"),
            exit_code=process.returncode,
        )

    def read_bytes(self, path: str, *, offset: int = 0, limit: int = MAX_TEXT_BYTES) -> bytes:
        try:
            with open(path, "rb") as file:  # noqa: PTH123 - called by the hundred: no Path object per file
                if offset:
                    file.seek(offset)
                # In pieces: the kernel refuses to serve /proc/sys with a buffer of megabytes.
                parts = []
                while limit > 0 and (part := file.read(min(limit, _PIECE_BYTES))):
                    parts.append(part)
                    limit -= len(part)
                return b"".join(parts)
        except OSError as error:
            raise self._error(path, error) from None

    def read_text(self, path: str) -> str:
        return self.read_bytes(path).decode(errors="replace")

    def read_link(self, path: str) -> str:
        try:
            return os.readlink(path)  # noqa: PTH115
        except OSError as error:
            raise self._error(path, error) from None

    def list_dir(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(path))  # noqa: PTH208
        except OSError as error:
            raise self._error(path, error) from None

    def glob(self, pattern: str) -> list[str]:
        from glob import glob

        return sorted(glob(pattern))  # noqa: PTH207

    def status(self, path: str) -> PathStatus:
        import stat

        try:
            found = os.stat(path)  # noqa: PTH116
        except OSError as error:
            raise self._error(path, error) from None
        return PathStatus(
            modified_ns=found.st_mtime_ns,
            changed_ns=found.st_ctime_ns,
            size=found.st_size,
            inode=found.st_ino,
            mode=found.st_mode,
            uid=found.st_uid,
            gid=found.st_gid,
            is_dir=stat.S_ISDIR(found.st_mode),
            is_file=stat.S_ISREG(found.st_mode),
        )

    def keep(self, path: str, data: bytes) -> None:
        if not os.path.isdir(os.path.dirname(path)):  # noqa: PTH112, PTH120 - as the rest of this module
            return
        beside = f"{path}.{os.getpid()}.new"
        try:
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
            os.replace(beside, path)  # noqa: PTH105
        except OSError as error:
            raise self._error(path, error) from None

    def space(self, path: str) -> Space:
        try:
            found = os.statvfs(path)
        except OSError as error:
            raise self._error(path, error) from None
        return Space(
            total_bytes=found.f_blocks * found.f_frsize,
            free_bytes=found.f_bfree * found.f_frsize,
            available_bytes=found.f_bavail * found.f_frsize,
            total_inodes=found.f_files,
            free_inodes=found.f_ffree,
        )

    def addresses(self) -> dict[str, list[str]]:
        import socket
        from ipaddress import ip_network

        import psutil

        found: dict[str, list[str]] = {}
        for name, entries in psutil.net_if_addrs().items():
            for entry in entries:
                if entry.family not in (socket.AF_INET, socket.AF_INET6):
                    continue
                prefix = ""
                if entry.netmask and entry.family == socket.AF_INET:
                    prefix = f"/{ip_network(f'0.0.0.0/{entry.netmask}').prefixlen}"
                elif entry.netmask:
                    bits = int.from_bytes(socket.inet_pton(socket.AF_INET6, entry.netmask), "big").bit_count()
                    prefix = f"/{bits}"
                found.setdefault(name, []).append(entry.address.split("%")[0] + prefix)
        return found

    def listening_tcp(self) -> list[str]:
        import socket
        from struct import pack, unpack_from

        # sock_diag(7) asks for listening sockets alone: 0.1 ms, where /proc/net/tcp walks the table of all
        # connections and takes 7 ms on a machine with much memory.
        lines: list[str] = []
        try:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
                netlink.settimeout(1.0)
                for family in (socket.AF_INET, socket.AF_INET6):
                    request = pack("=BBBxI48x", family, socket.IPPROTO_TCP, 0, 1 << _TCP_LISTEN)
                    netlink.send(pack("=IHHII", 16 + len(request), _SOCK_DIAG_BY_FAMILY, _DUMP_REQUEST, 1, 0) + request)
                    done = False
                    while not done:
                        data, offset = netlink.recv(65536), 0
                        while offset + 16 <= len(data):
                            length, kind = unpack_from("=IH", data, offset)
                            if kind != _SOCK_DIAG_BY_FAMILY:  # the end of the dump, or an error
                                done = True
                                break
                            # struct inet_diag_msg behind the header of 16 bytes: own port at 4, own address at 8,
                            # inode at 68
                            port, address = unpack_from("!H2x16s", data, offset + 20)
                            (inode,) = unpack_from("=I", data, offset + 84)
                            lines.append(f"{family} {port} {address.hex()} {inode}")
                            offset += (length + 3) & ~3
        except OSError as error:
            raise Unreadable("listening sockets", f"cannot be asked for: {error.strerror}") from None
        return sorted(lines)

    def kernel_clock_synchronised(self) -> bool | None:
        import ctypes

        # adjtimex(2) with modes 0 only reads. It answers TIME_ERROR (5) while the clock is unsynchronised.
        buffer = ctypes.create_string_buffer(512)  # struct timex is about 208 bytes; modes is its first word
        try:
            answer = int(ctypes.CDLL(None, use_errno=True).adjtimex(buffer))
        except (OSError, AttributeError):
            return None
        return None if answer < 0 else answer != 5

    def local_to_utc(self, local: datetime) -> datetime:
        from datetime import UTC

        return local.astimezone(UTC)

    def server_certificate(self, address: str, port: int, *, timeout: float) -> bytes:
        import socket
        import ssl

        # We look at the certificate, we do not rely on it: whatever is presented must be seen, however weak.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        subject = f"{address} port {port}"
        try:
            with (
                socket.create_connection((address, port), timeout=timeout) as connection,
                context.wrap_socket(connection) as wrapped,
            ):
                certificate = wrapped.getpeercert(binary_form=True)
        except TimeoutError:
            raise TimedOut(subject, timeout) from None
        except OSError as error:  # ssl.SSLError is one
            raise Unreadable(subject, f"speaks no TLS: {error}") from None
        if certificate is None:
            raise Unreadable(subject, "presents no certificate")
        return certificate

    def _error(self, path: str, error: OSError) -> HostError:
        if isinstance(error, FileNotFoundError | NotADirectoryError | ProcessLookupError):
            return FileMissing(path)
        if isinstance(error, PermissionError):
            return Denied(path, is_root=self.is_root)
        return Unreadable(path, f"cannot be read: {error.strerror}")


def _communicate_within(process: Any, *, timeout: float, most: int) -> tuple[bytes, bytes]:
    """As ``communicate``, keeping ``most`` bytes of each output: the rest is read and thrown away."""
    import selectors
    import subprocess
    import time

    deadline = time.monotonic() + timeout
    kept: dict[Any, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as waiting:
        for pipe in kept:
            waiting.register(pipe, selectors.EVENT_READ)
        while waiting.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(process.args, timeout)
            for key, _ in waiting.select(left):
                part = os.read(key.fd, _PIECE_BYTES)
                if not part:
                    waiting.unregister(key.fileobj)
                room = most - len(kept[key.fileobj])
                kept[key.fileobj] += part[: max(0, room)]
    process.wait(timeout=max(0.0, deadline - time.monotonic()))
    return bytes(kept[process.stdout]), bytes(kept[process.stderr])
