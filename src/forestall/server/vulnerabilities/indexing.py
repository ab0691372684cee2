"""Making an index of one feed file, in a process of its own: a file that eats memory or crashes its reader hurts
nothing else, and what it took is given back.

``python -m forestall.server.vulnerabilities.indexing FILE FOLDER`` writes the index to FOLDER and says on standard
output, as JSON, what it is; or ``{"error": …}``.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from forestall.server.vulnerabilities.downloads import ArchiveError, archive_check
from forestall.server.vulnerabilities.feeds import Advisory, FeedError, read_file
from forestall.server.vulnerabilities.index import Index

MOST_SECONDS = 1800
MOST_MEMORY = 8 << 30


class RefusedError(Exception):
    """A file that is not taken as this feed; says why."""


@dataclass(frozen=True, slots=True)
class Made:
    """An index that was made."""

    digest: str
    records: int
    formats: tuple[str, ...]
    """Slugs of what was in the file."""
    data_at: str = ""
    """When the newest advisory was published: RFC 3339; empty: none says."""


def index_make(*, file: Path, folder: Path) -> Made:
    """Read a feed file and write its index to ``folder``. RefusedError says why it is not taken."""
    try:
        archive_check(file)
        found = read_file(file)
    except ArchiveError as error:
        raise RefusedError(str(error)) from None
    except FeedError as error:
        raise RefusedError(_said(error, file)) from None
    if found.errors:
        more = f" (and {len(found.errors) - 1} more files)" if len(found.errors) > 1 else ""
        raise RefusedError(f"{_said(found.errors[0], file)}{more}"[:500])
    if not found.records:
        why = next(iter(found.skipped.values()), "it holds no advisory")
        raise RefusedError(f"no feed that is known: {why}"[:500])
    times = [one.published_at for one in found.records if isinstance(one, Advisory) and one.published_at is not None]
    newest: datetime | None = max(times, default=None)
    index = Index.build(found.records)
    folder.mkdir(parents=True, exist_ok=True)
    index.save(folder)
    return Made(
        digest=index.digest,
        records=len(found.records),
        formats=tuple(sorted(set(found.files.values()))),
        data_at=newest.isoformat() if newest is not None and newest.tzinfo is not None else "",
    )


def _said(error: FeedError, file: Path) -> str:
    """What is wrong and where; the file's own name, which is ours, says nothing to anybody."""
    inner = error.file.removeprefix(str(file)).lstrip("/!: ")
    return ": ".join(part for part in (inner, error.where, error.why) if part)


def index_make_apart(*, file: Path, folder: Path) -> Made:
    """``index_make`` in a process of its own."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(file), str(folder)],
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RefusedError(f"reading it took longer than {MOST_SECONDS // 60} min") from None
    try:
        said = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"])[-1]
        raise RefusedError(f"its reader failed: {last}"[:500]) from None
    if "error" in said:
        raise RefusedError(said["error"])
    return Made(said["digest"], said["records"], tuple(said["formats"]), said["data_at"])


def main(arguments: list[str]) -> int:
    file, folder = map(Path, arguments)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    try:
        made: dict[str, object] = asdict(index_make(file=file, folder=folder))
    except RefusedError as error:
        made = {"error": str(error)}
    except MemoryError:
        made = {"error": f"reading it takes more than {MOST_MEMORY >> 30} GiB of memory"}
    sys.stdout.write(json.dumps(made) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
