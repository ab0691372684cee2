"""dnf (the fourth and fifth generation): install, hold, roll back and repair.

Decided once, for every run:

- the signature of every package is checked, whatever a repository's own settings say, and repositories that are set
  not to check (``gpgcheck=0``) do not exist for Forestall;
- packages are named with version and architecture, so that dnf never takes another version than was decided on;
- nothing is removed to make room (no ``--allowerasing``): what needs that is left to a person;
- a hold is a name in ``excludepkgs`` of ``/etc/dnf/dnf.conf``, which every dnf understands. The plugin versionlock is
  not everywhere; what an administrator has locked with it is listed as held, and released by them.
"""

# ruff: noqa: E501 - a table of patterns keeps its lines
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.providers import PackageKey, Wanted, rpm_database
from forestall.agent.act.providers.calls import Failures, change, impossible_one_by_one, look, sentence
from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.providers import dnf as reader
from forestall.agent.collect.providers.rpm_database import read_all

NAME = "dnf"
CAN = reader.CAN

_CHECKED = ("--setopt=gpgcheck=1", "--setopt=*.gpgcheck=1", "--setopt=localpkg_gpgcheck=1")
_BUSY = r"Waiting for process with pid"
_FAILURES: Failures = (
    (r"is not signed|not correct: gpgcheck|GPG check FAILED|Public key for .* is not installed|signature.*(bad|failed)", "source_untrusted"),
    (r"(?i)filtered out by exclude|excluded", "held"),
    (r"(?i)no match for argument|unable to find a match|no package .* available|No packages marked", "version_not_offered"),
    (r"(?i)no space left|needs .* more space|insufficient (disk )?space", "no_space"),
    (r"(?i)cannot download|failed to download|error downloading|Curl error|Cannot prepare internal mirrorlist|checksum doesn't match", "download_failed"),
    (r"(?i)nothing provides|conflicting requests|Problem( \d+)?:|package .* requires", "unresolvable"),
    (r"(?i)can(no|')t (create|open|get) .*lock|locked by another", "manager_busy"),
)  # fmt: skip


def versions(host: Host, ctx: Context) -> Mapping[PackageKey, str]:
    return rpm_database.versions(host)


def refresh(host: Host, ctx: Context) -> str:
    return change(
        [_name(host), "makecache", "--refresh"], ctx, failures=_FAILURES, otherwise="download_failed", busy=_BUSY
    )


def impossible(wanted: Sequence[Wanted], host: Host, ctx: Context) -> Mapping[Wanted, str]:
    unchecked = _unchecked(host)
    untrusted = _only_from(unchecked, wanted, host) if unchecked else {}
    rest = [each for each in wanted if each not in untrusted]
    return {**untrusted, **impossible_one_by_one(rest, ctx, lambda some: _why_not(some, host))}


def download(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    return _run(["install", "--downloadonly"], wanted, host, ctx, otherwise="download_failed")


def install(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    return _run(["install"], wanted, host, ctx, otherwise="install_failed")


def roll_back(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    # dnf keeps no packages once they are installed: what the repositories no longer offer is not to be had.
    return _run(["downgrade"], wanted, host, ctx, otherwise="install_failed")


def hold(names: Sequence[str], host: Host, ctx: Context) -> str:
    present = reader.excluded(_config(host))
    return _write([*present, *(name for name in names if name not in present)], host, ctx)


def release(names: Sequence[str], host: Host, ctx: Context) -> str:
    locked = set(reader.parse_locks(_text(host, reader.LOCKS))) & set(names)
    if locked:
        raise ActionFailed(
            "held", f"locked by dnf's versionlock, which an administrator releases: {', '.join(sorted(locked))}"
        )
    kept = [name for name in reader.excluded(_config(host)) if name not in names]
    if still := [name for name in names if reader.is_held(name, kept)]:
        raise ActionFailed(
            "held", f"excluded by a pattern that an administrator wrote into {reader.CONFIG}: {', '.join(still)}"
        )
    return _write(kept, host, ctx)


def repair(host: Host, ctx: Context) -> str:
    return rpm_database.repair(host, ctx)


def with_excludes(config: str, names: Sequence[str]) -> str:
    """dnf's settings with exactly these names excluded in ``[main]``, everything else as it is."""
    lines: list[str] = []
    section, dropping = "", False
    for line in config.splitlines():
        if dropping and line[:1] in (" ", "\t") and line.strip():
            continue  # the value went on here
        dropping = False
        if found := re.match(r"\s*\[([^]]+)\]", line):
            section = found[1]
        elif section == "main" and re.match(r"(exclude|excludepkgs)\s*=", line):
            dropping = True
            continue
        lines.append(line)
    if names:
        if not any(re.match(r"\s*\[main\]", line) for line in lines):
            lines.insert(0, "[main]")
        at = next(number for number, line in enumerate(lines) if re.match(r"\s*\[main\]", line))
        lines.insert(at + 1, f"excludepkgs={' '.join(names)}")
    return "\n".join(lines) + "\n"


def _name(host: Host) -> str:
    path = reader.program(host)
    if path is None:
        raise ActionFailed("program_missing", "dnf is not installed")
    return path.rpartition("/")[2]


def _careful(host: Host) -> list[str]:
    return [*_CHECKED, *(f"--disablerepo={name}" for name in sorted(_unchecked(host)))]


def _run(command: Sequence[str], wanted: Sequence[Wanted], host: Host, ctx: Context, *, otherwise: str) -> str:
    argv = [_name(host), "--assumeyes", *_careful(host), *command, "--", *map(_spec, wanted)]
    return change(argv, ctx, failures=_FAILURES, otherwise=otherwise, busy=_BUSY)


def _why_not(wanted: Sequence[Wanted], host: Host) -> str:
    # Kept lists alone: whether it could be done must not depend on the network of this moment.
    argv = [_name(host), "-C", "--assumeno", *_careful(host), "install", "--", *map(_spec, wanted)]
    result = look(argv, host)
    if removed := re.search(r"^Removing(?: dependent packages)?:\n((?: .*\n)+)", result.stdout, re.MULTILINE):
        return f"would remove {', '.join(line.split()[0] for line in removed[1].splitlines())}"
    aborted = "Operation aborted" in result.stdout + result.stderr
    return "" if aborted or result.exit_code == 0 else sentence(result)


def _only_from(unchecked: set[str], wanted: Sequence[Wanted], host: Host) -> dict[Wanted, str]:
    """Those that no checked repository offers in that version."""
    argv = [
        _name(host),
        "-q",
        "-C",
        *_careful(host),
        "repoquery",
        "--queryformat=%{name}\t%{epoch}:%{version}-%{release}\t%{arch}\n",
    ]
    result = look([*argv, *map(_spec, wanted)], host)
    rows = [line.split("\t") for line in result.stdout.splitlines() if line.count("\t") == 2]
    offered = {(name, architecture, version.removeprefix("0:")) for name, version, architecture in rows}
    return {
        each: f"no source whose signatures are checked offers it (left out: {', '.join(sorted(unchecked))})"
        for each in wanted
        if (each.name, each.architecture, each.version) not in offered
    }


def _unchecked(host: Host) -> set[str]:
    return reader.unchecked_repositories(_config(host), read_all(host, reader.REPOSITORIES))


def _spec(wanted: Wanted) -> str:
    return f"{wanted.name}-{wanted.version}" + (f".{wanted.architecture}" if wanted.architecture else "")


def _config(host: Host) -> str:
    return _text(host, reader.CONFIG)


def _text(host: Host, path: str) -> str:
    try:
        return host.read_text(path)
    except HostError:
        return ""


def _write(names: Sequence[str], host: Host, ctx: Context) -> str:
    path = Path(ctx.places.root.rstrip("/") + reader.CONFIG)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.forestall")
    temporary.write_text(with_excludes(_config(host), names))
    temporary.chmod(0o644)
    temporary.replace(path)
    return f"{reader.CONFIG}: excludepkgs={' '.join(names)}" if names else f"{reader.CONFIG}: nothing is excluded"
