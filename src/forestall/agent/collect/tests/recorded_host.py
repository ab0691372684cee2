"""A machine in memory behind the same interface as the real one: files, folders, links and recorded outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from forestall.agent.collect.host import (
    DEFAULT_TIMEOUT_SECONDS,
    MAX_TEXT_BYTES,
    CommandResult,
    Denied,
    FileMissing,
    HostError,
    PathStatus,
    ProgramMissing,
    Space,
    TimedOut,
    Unreadable,
)


class RecordedHost:
    """``files`` by path; ``outputs`` by command line, a str for standard output or a CommandResult or a HostError."""

    def __init__(
        self,
        *,
        files: Mapping[str, str | bytes] | None = None,
        outputs: Mapping[str, str | CommandResult | HostError] | None = None,
        programs: Sequence[str] = (),
        denied: Sequence[str] = (),
        links: Mapping[str, str] | None = None,
        modes: Mapping[str, int] | None = None,
        owners: Mapping[str, int] | None = None,
        changed: Mapping[str, datetime] | None = None,
        spaces: Mapping[str, Space] | None = None,
        addresses: Mapping[str, list[str]] | None = None,
        environment: Mapping[str, str] | None = None,
        certificates: Mapping[int, bytes] | None = None,
        clock_synchronised: bool | None = None,
        is_root: bool = True,
        now: datetime = datetime(2026, 11, 23, 18, 0, tzinfo=UTC),
    ) -> None:
        self.files = {path: text.encode() if isinstance(text, str) else text for path, text in (files or {}).items()}
        self.outputs = dict(outputs or {})
        self.programs = {*programs, *(line.split(" ")[0] for line in self.outputs)}
        self.denied = set(denied)
        self.links = dict(links or {})
        self.modes = dict(modes or {})
        self.owners = dict(owners or {})
        self.changed = dict(changed or {})
        self.spaces = dict(spaces or {})
        self._addresses = {name: list(each) for name, each in (addresses or {}).items()}
        self._environment = dict(environment or {})
        self._certificates = dict(certificates or {})
        self._clock_synchronised = clock_synchronised
        self.is_root = is_root
        self._now = now
        self.ran: list[tuple[list[str], dict[str, str]]] = []

    def now(self) -> datetime:
        return self._now

    def environment(self, name: str) -> str | None:
        return self._environment.get(name)

    def find_program(self, name: str) -> str | None:
        return f"/usr/bin/{name}" if name in self.programs else None

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        environment: Mapping[str, str] | None = None,
        most_bytes: int | None = None,
    ) -> CommandResult:
        self.ran.append((list(argv), dict(environment or {})))
        line = " ".join(argv)
        # The longest recorded beginning wins, so that a test need not spell out long formats.
        known = max((each for each in self.outputs if line == each or line.startswith(each)), key=len, default=None)
        if known is None:
            raise ProgramMissing(argv[0])
        output = self.outputs[known]
        if isinstance(output, HostError):
            raise output
        return output if isinstance(output, CommandResult) else CommandResult(output, "", 0)

    def read_bytes(self, path: str, *, offset: int = 0, limit: int = MAX_TEXT_BYTES) -> bytes:
        self._check(path)
        if path in self.files:
            return self.files[path][offset : offset + limit]
        if self._is_dir(path):
            raise Unreadable(path, "cannot be read: Is a directory")
        raise FileMissing(path)

    def read_text(self, path: str) -> str:
        return self.read_bytes(path).decode(errors="replace")

    def read_link(self, path: str) -> str:
        self._check(path)
        if path not in self.links:
            raise FileMissing(path)
        return self.links[path]

    def list_dir(self, path: str) -> list[str]:
        self._check(path)
        if not self._is_dir(path):
            raise FileMissing(path)
        start = path.rstrip("/") + "/"
        return sorted({each[len(start) :].split("/")[0] for each in self._paths() if each.startswith(start)})

    def glob(self, pattern: str) -> list[str]:
        parts = pattern.split("/")
        found = set()
        for path in self._paths():
            pieces = path.split("/")
            if len(pieces) >= len(parts) and all(map(fnmatchcase, pieces, parts)):
                found.add("/".join(pieces[: len(parts)]))
        return sorted(found)

    def status(self, path: str) -> PathStatus:
        self._check(path)
        is_dir = self._is_dir(path)
        if path not in self.files and not is_dir:
            raise FileMissing(path)
        at = int(self.changed.get(path, datetime(2026, 11, 1, tzinfo=UTC)).timestamp()) * 1_000_000_000
        default_mode = 0o755 if is_dir or path.startswith("/etc/init.d/") else 0o644
        return PathStatus(
            modified_ns=at,
            changed_ns=at,
            size=len(self.files.get(path, b"")),
            inode=1,
            mode=self.modes.get(path, default_mode),
            uid=self.owners.get(path, 0),
            gid=0,
            is_dir=is_dir,
            is_file=path in self.files,
        )

    def keep(self, path: str, data: bytes) -> None:
        self._check(path)
        self.files[path] = data

    def space(self, path: str) -> Space:
        if path not in self.spaces:
            raise FileMissing(path)
        return self.spaces[path]

    def addresses(self) -> dict[str, list[str]]:
        return self._addresses

    def listening_tcp(self) -> list[str]:
        return []

    def kernel_clock_synchronised(self) -> bool | None:
        return self._clock_synchronised

    def local_to_utc(self, local: datetime) -> datetime:
        return local.replace(tzinfo=UTC)

    def server_certificate(self, address: str, port: int, *, timeout: float) -> bytes:
        if port not in self._certificates:
            raise TimedOut(f"{address} port {port}", timeout)
        return self._certificates[port]

    def _paths(self) -> list[str]:
        return [*self.files, *self.links, *self.denied]

    def _is_dir(self, path: str) -> bool:
        return path == "/proc" or any(each.startswith(path.rstrip("/") + "/") for each in self._paths())

    def _check(self, path: str) -> None:
        if any(path == each or path.startswith(f"{each}/") for each in self.denied):
            raise Denied(path, is_root=self.is_root)


def process(pid: int, *arguments: str, started_ticks: int = 100) -> dict[str, str]:
    """The files in /proc of one process."""
    name = arguments[0].rpartition("/")[2][:15]
    after = " ".join(["S", "1", *["0"] * 17, str(started_ticks), "0"])
    return {
        f"/proc/{pid}/comm": f"{name}\n",
        f"/proc/{pid}/cmdline": "\x00".join(arguments) + "\x00",
        f"/proc/{pid}/stat": f"{pid} ({name}) {after}\n",
    }
