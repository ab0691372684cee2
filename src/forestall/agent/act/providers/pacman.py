"""pacman: whole upgrades, holds, older packages from the cache, and repair.

Decided once, for every run:

- an upgrade is a whole one (``-Su``): with parts of one Arch does not promise to work, so a choice that leaves out
  what is not held fails as ``unresolvable``, and says what to do;
- lists are fetched (``-Sy``) by ``refresh`` alone, which an upgrade follows;
- repositories whose ``SigLevel`` does not require signed packages are not installed from;
- a hold is a name in ``IgnorePkg`` of ``/etc/pacman.conf``;
- rolling back takes the archive that pacman keeps in its cache, with its signature beside it.
"""

# ruff: noqa: E501 - a table of patterns keeps its lines
from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.providers import PackageKey, Wanted
from forestall.agent.act.providers.calls import Failures, change, look, sentence
from forestall.agent.collect.host import Host, HostError
from forestall.agent.collect.providers import pacman as reader
from forestall.agent.collect.readiness import PACMAN_LOCK, pacman_at_work

NAME = "pacman"
CAN = reader.CAN

CACHE = "/var/cache/pacman/pkg"
_FAILURES: Failures = (
    (r"unable to lock database", "manager_busy"),
    (r"(?i)missing required signature|invalid or corrupted package|signature from .* is|unknown trust|is marginal trust|missing PGP", "source_untrusted"),
    # The package came and its signature is not there at all.
    (r"(?s)\A(?!.*failed retrieving file '[^']*(?<!\.sig)').*failed retrieving file '[^']*\.sig'", "source_untrusted"),
    (r"target not found", "version_not_offered"),
    (r"(?i)not enough free disk space|no space left|Partition .* too full", "no_space"),
    (r"(?i)failed retrieving file|failed to synchronize|failed to retrieve", "download_failed"),
    (r"(?i)unresolvable package conflicts|are in conflict|unable to satisfy dependency|breaks dependency|could not satisfy", "unresolvable"),
    (r"duplicated database entry", "unfinished"),
    (r"(?i)conflicting files", "unresolvable"),
)  # fmt: skip


def versions(host: Host, ctx: Context) -> Mapping[PackageKey, str]:
    result = look(["pacman", "-Q"], host)
    if result.exit_code != 0 and not result.stdout:
        raise ActionFailed("list_failed", sentence(result))
    rows = [line.split() for line in result.stdout.splitlines()]
    return {(row[0], ""): row[1] for row in rows if len(row) == 2}


def refresh(host: Host, ctx: Context) -> str:
    return _pacman(["-Sy"], ctx, otherwise="download_failed")


def impossible(wanted: Sequence[Wanted], host: Host, ctx: Context) -> Mapping[Wanted, str]:
    if why := _why_not(wanted, host):
        return dict.fromkeys(wanted, why)
    return {}


def download(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    _require(wanted, host)
    return _pacman(["-Suw", "--noconfirm"], ctx, otherwise="download_failed")


def install(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    _require(wanted, host)
    return _pacman(["-Su", "--noconfirm"], ctx, otherwise="install_failed")


def roll_back(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    paths = [_cached(each, host, ctx) for each in wanted]
    return _pacman(["-U", "--noconfirm", "--", *paths], ctx, otherwise="install_failed")


def hold(names: Sequence[str], host: Host, ctx: Context) -> str:
    present = reader.ignored(_config(host))
    return _write([*present, *(name for name in names if name not in present)], host, ctx)


def release(names: Sequence[str], host: Host, ctx: Context) -> str:
    kept = [name for name in reader.ignored(_config(host)) if name not in names]
    if still := [name for name in names if any(fnmatchcase(name, each) for each in kept)]:
        raise ActionFailed(
            "held", f"ignored by a pattern that an administrator wrote into {reader.CONFIG}: {', '.join(still)}"
        )
    return _write(kept, host, ctx)


def repair(host: Host, ctx: Context) -> str:
    """Take away a lock that nobody holds, the entries of halves, and install again what they belonged to."""
    output = []
    root = ctx.places.root.rstrip("/")
    if host.glob(PACMAN_LOCK):
        if running := pacman_at_work(host):
            raise ActionFailed("manager_busy", f"pacman is at work (process {running})")
        Path(root + PACMAN_LOCK).unlink(missing_ok=True)
        output.append(f"removed {PACMAN_LOCK}, which no pacman held")
    again: list[str] = []
    for folder, name in _halves(host):
        place = Path(root + reader.DATABASE) / folder
        for file in sorted(place.iterdir()):
            file.unlink()
        place.rmdir()
        again.append(name)
        output.append(f"removed the entry {folder} from the local database")
    if again:
        names = sorted(set(again))
        # Their files are there without an entry, and would count as strangers' in the way.
        output.append(_pacman(["-S", "--noconfirm", "--overwrite", "*", "--", *names], ctx, otherwise="repair_failed"))
    checked = look(["pacman", "-Dk"], host)
    if checked.exit_code != 0:
        raise ActionFailed("repair_failed", sentence(checked), output="\n".join(output))
    return "\n".join(part for part in output if part)


def with_ignored(config: str, names: Sequence[str]) -> str:
    """pacman.conf with exactly these names in ``IgnorePkg`` of ``[options]``, everything else as it is."""
    lines = [line for line in config.splitlines() if not re.match(r"\s*IgnorePkg\s*=", line)]
    if names:
        at = next((number for number, line in enumerate(lines) if re.match(r"\s*\[options\]", line)), None)
        if at is None:
            lines.insert(0, "[options]")
            at = 0
        lines.insert(at + 1, f"IgnorePkg = {' '.join(names)}")
    return "\n".join(lines) + "\n"


def _pacman(arguments: Sequence[str], ctx: Context, *, otherwise: str) -> str:
    return change(["pacman", *arguments], ctx, failures=_FAILURES, otherwise=otherwise)


def _require(wanted: Sequence[Wanted], host: Host) -> None:
    if why := _why_not(wanted, host):
        code = "source_untrusted" if "signed" in why else "version_not_offered" if "offers" in why else "unresolvable"
        raise ActionFailed(code, why)


def _why_not(wanted: Sequence[Wanted], host: Host) -> str:
    """Why the whole upgrade is not what is wanted, or cannot be; empty: it is, and can."""
    offered = {each.name: each for each in reader.find_updates(look(["pacman", "-Qu"], host).stdout) if not each.held}
    for each in wanted:
        if each.name not in offered or offered[each.name].candidate != each.version:
            has = offered[each.name].candidate if each.name in offered else "nothing newer"
            return f"{each}: the lists have {has}; nobody offers this version"
    if left := sorted(set(offered) - {each.name for each in wanted}):
        return (
            "Arch supports whole upgrades only, and this would leave out "
            f"{', '.join(left[:10])}{' …' if len(left) > 10 else ''}: hold what must stay, or upgrade everything"
        )
    if unsigned := _unsigned(host):
        return f"signed packages are not required from {', '.join(unsigned)} (SigLevel in /etc/pacman.conf)"
    planned = look(["pacman", "-Sup", "--print-format", "%n %v"], host)
    return "" if planned.exit_code == 0 else sentence(planned)


def _unsigned(host: Host) -> list[str]:
    """Repositories from which pacman would take unsigned packages."""
    whole = look(["pacman-conf", "SigLevel"], host).stdout.split()
    names = look(["pacman-conf", "--repo-list"], host).stdout.split()
    found = []
    for name in names:
        own = look(["pacman-conf", f"--repo={name}", "SigLevel"], host).stdout.split() or whole
        if "PackageRequired" not in own or "PackageTrustAll" in own:
            found.append(name)
    return found


def _cached(wanted: Wanted, host: Host, ctx: Context) -> str:
    for path in host.glob(f"{CACHE}/{wanted.name}-{wanted.version}-*.pkg.tar*"):
        if path.endswith(".sig"):
            continue
        found = host.status(path)
        # Whoever else could write it could make us install anything; pacman checks the signature beside it besides.
        safe = found.is_file and found.uid in (0, os.geteuid()) and not found.mode & (stat.S_IWGRP | stat.S_IWOTH)
        if safe and host.glob(f"{path}.sig"):
            return path
    raise ActionFailed(
        "version_not_offered", f"{wanted}: pacman's cache ({CACHE}) has no signed archive of this version"
    )


def _halves(host: Host) -> list[tuple[str, str]]:
    """Folders of the local database to take away, with the package's name: empty ones, and the older of two."""
    folders = [(folder, found) for folder in host.list_dir(reader.DATABASE) if (found := reader.split_folder(folder))]
    named: dict[str, list[str]] = {}
    for folder, (name, _) in folders:
        named.setdefault(name, []).append(folder)
    halves = []
    for name, several in named.items():
        empty = [each for each in several if not host.glob(f"{reader.DATABASE}/{each}/desc")]
        whole = [each for each in several if each not in empty]
        # pacman takes the old entry away before it writes the new one; of two whole ones the older was left behind.
        by_age = sorted(whole, key=lambda each: host.status(f"{reader.DATABASE}/{each}/desc").changed_ns)
        halves += [(each, name) for each in [*empty, *by_age[:-1]]]
    return halves


def _config(host: Host) -> str:
    try:
        return host.read_text(reader.CONFIG)
    except HostError as error:
        raise ActionFailed("list_failed", f"{reader.CONFIG}: {error.why}") from None


def _write(names: Sequence[str], host: Host, ctx: Context) -> str:
    path = Path(ctx.places.root.rstrip("/") + reader.CONFIG)
    temporary = path.with_name(f".{path.name}.forestall")
    temporary.write_text(with_ignored(_config(host), names))
    temporary.chmod(0o644)
    temporary.replace(path)
    return f"{reader.CONFIG}: IgnorePkg = {' '.join(names)}"
