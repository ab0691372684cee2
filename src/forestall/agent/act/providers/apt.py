"""apt: install, hold, roll back and repair with ``apt-get``, ``apt-mark`` and ``dpkg``.

Decided once, for every run:

- ``--no-remove``: an update that needs another package removed is left to a person;
- configuration files that were changed on this machine stay, the others are renewed (``--force-confdef``,
  ``--force-confold``): what a prompt would offer as the default, without the prompt;
- packages and sources without checked signatures do not exist: apt is told so on its command line, whatever its own
  configuration says, and sources that are marked ``trusted=yes`` (or ``allow-insecure`` and the like) are hidden
  from it, because that mark cannot be overruled otherwise;
- names are given with ``=VERSION``, so that apt never takes another version than the one that was decided on;
- needrestart, apt-listchanges and debconf ask nothing; what must be restarted is a step of its own.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.programs import Ran, run_program
from forestall.agent.act.providers import FROM_UNCHECKED, WOULD_REMOVE, PackageKey, Wanted
from forestall.agent.collect.host import CommandResult, Host, HostError
from forestall.agent.collect.notes import complaint
from forestall.agent.collect.providers import apt as reader

NAME = "apt"
CAN = reader.CAN
ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBIAN_PRIORITY": "critical",
    "APT_LISTCHANGES_FRONTEND": "none",
    "APT_LISTBUGS_FRONTEND": "none",
    "NEEDRESTART_MODE": "l",
    "NEEDRESTART_SUSPEND": "1",
    "UCF_FORCE_CONFFOLD": "1",
}
LOOK_SECONDS = 300.0
"""For a simulation, on a slow machine."""
_SIGNED_ONLY = (
    "APT::Get::AllowUnauthenticated=false",
    "Acquire::AllowInsecureRepositories=false",
    "Acquire::AllowWeakRepositories=false",
    "Acquire::AllowDowngradeToInsecureRepositories=false",
)
_CAREFUL = (
    "APT::Get::Remove=false",
    "APT::Get::AutomaticRemove=false",
    "APT::Get::allow-change-held-packages=false",
    "Dpkg::Use-Pty=0",  # else dpkg gets a session of its own, and a run that is ended leaves it behind
    "Dpkg::Options::=--force-confdef",
    "Dpkg::Options::=--force-confold",
    "Acquire::Retries=2",
    "Acquire::http::Timeout=30",
    "Acquire::https::Timeout=30",
)
_DPKG_FORMAT = "${db:Status-Status}\t${Package}\t${Architecture}\t${Version}\n"
_MOST_SINGLE_SIMULATIONS = 200
_CONFIGURE = ("dpkg", "--force-confdef", "--force-confold", "--configure", "--pending")

_FAILURES: tuple[tuple[str, str], ...] = (
    (r"Could not get lock|Unable to (acquire|lock)|locked by another process", "manager_busy"),
    (r"dpkg was interrupted|--fix-broken install|needs to be reinstalled, but", "unfinished"),
    (r"Packages need to be removed but remove is disabled", "would_remove"),
    (r"unauthenticated packages|cannot be authenticated|is not signed", "source_untrusted"),
    (r"Version .* was not found|Unable to locate package|has no installation candidate", "version_not_offered"),
    (r"Held packages were changed", "held"),
    (r"enough free space|No space left on device", "no_space"),
    (r"Failed to fetch|Unable to fetch|Could not resolve|Hash Sum mismatch|Could not connect", "download_failed"),
    (r"Sub-process .* returned an error code|error processing (package|archive)", "install_failed"),
    (r"unmet dependencies|held broken packages", "unresolvable"),
)


def versions(host: Host, ctx: Context) -> Mapping[PackageKey, str]:
    result = _look(["dpkg-query", "--show", f"--showformat={_DPKG_FORMAT}"], host)
    if result.exit_code != 0:
        raise ActionFailed("list_failed", f"dpkg-query: {complaint(result)}")
    found: dict[PackageKey, str] = {}
    for line in result.stdout.splitlines():
        state, name, architecture, version = (*line.split("\t"), "", "", "", "")[:4]
        if state not in ("not-installed", "config-files") and name:
            found[name, architecture] = version
    return found


def refresh(host: Host, ctx: Context) -> str:
    ran = _apt(["update"], host, ctx)
    if ran.exit_code != 0:
        code = _code(ran.output, "download_failed")
        raise ActionFailed(code, f"apt-get update: {_sentence(ran)}", output=ran.output)
    return ran.output


def impossible(wanted: Sequence[Wanted], host: Host, ctx: Context) -> Mapping[Wanted, str]:
    if not wanted:
        return {}
    native = _native(host, ctx)
    if not _why_not(wanted, native, host, ctx):
        return {}
    # Something stands in the way. What a plain upgrade would do goes together; the rest is tried one by one.
    plain = _look(
        [*_argv(["--simulate", "-o", "Dir::Log::Planner=/dev/null", "--with-new-pkgs", "upgrade"], host, ctx)], host
    ).stdout
    upgraded = set(re.findall(r"^Inst (\S+) ", plain, re.MULTILINE))
    good = [each for each in wanted if _name(each, native) in upgraded]
    if good and _why_not(good, native, host, ctx):
        good = []
    doubtful = [each for each in wanted if each not in good]
    found: dict[Wanted, str] = {}
    for number, each in enumerate(doubtful):
        ctx.require_time()
        if number >= _MOST_SINGLE_SIMULATIONS:
            found[each] = "too many packages stand in each other's way to try them one by one"
            continue
        if why := _why_not([*good, each], native, host, ctx):
            found[each] = why
        else:
            good.append(each)
    return found


def download(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    return _install(["--download-only"], wanted, host, ctx, else_code="download_failed")


def install(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    try:
        return _install([], wanted, host, ctx, else_code="install_failed")
    except ActionFailed as failed:
        if failed.code == "install_failed" and "Sub-process" in failed.output:
            # One package that fails stops apt, and leaves others unpacked that could well be configured.
            failed.output += run_program([*_CONFIGURE], ctx, environment=ENVIRONMENT).output
        raise


def hold(names: Sequence[str], host: Host, ctx: Context) -> str:
    return _mark("hold", names, ctx)


def release(names: Sequence[str], host: Host, ctx: Context) -> str:
    return _mark("unhold", names, ctx)


def roll_back(wanted: Sequence[Wanted], host: Host, ctx: Context) -> str:
    native = _native(host, ctx)
    arguments: list[Wanted | str] = []
    for each in wanted:
        policy = _look([*_argv(["policy", _name(each, native)], host, ctx, program="apt-cache")], host)
        offered = [version for found in reader.parse_policy(policy.stdout) for version in found.versions]
        if any(version.version == each.version and version.archives for version in offered):
            arguments.append(each)
            continue
        arguments.append(_cached(each, native, host, ctx))
    return _install(["--allow-downgrades"], arguments, host, ctx, else_code="install_failed")


def repair(host: Host, ctx: Context) -> str:
    configured = run_program([*_CONFIGURE], ctx, environment=ENVIRONMENT)
    if _code(configured.output, "") == "manager_busy":
        raise ActionFailed("manager_busy", _sentence(configured), output=configured.output)
    # A package whose unpacking was cut short cannot be configured, and apt would try nothing else with it: it is
    # unpacked anew, in the version that dpkg has on record, else in the one that is offered.
    outputs = [configured.output]
    if torn := _torn(host):
        anew = _apt(
            ["--yes", "--reinstall", "install", "--", *(f"{each.name}={each.version}" for each in torn)], host, ctx
        )
        outputs.append(anew.output)
        if anew.exit_code != 0:
            outputs.append(
                _apt(["--yes", "--reinstall", "install", "--", *(each.name for each in torn)], host, ctx).output
            )
    # What dpkg could not configure may lack a dependency: apt's part.
    fixed = _apt(["--yes", "--fix-broken", "install"], host, ctx)
    again = run_program([*_CONFIGURE], ctx, environment=ENVIRONMENT)
    output = "\n".join(text for text in (*outputs, fixed.output, again.output) if text)
    if fixed.exit_code != 0 or again.exit_code != 0:
        bad = fixed if fixed.exit_code != 0 else again
        code = _code(bad.output, "repair_failed")
        raise ActionFailed(
            code if code in ("download_failed", "manager_busy", "no_space") else "repair_failed",
            _sentence(bad),
            output=output,
        )
    return output


def _torn(host: Host) -> list[reader.InstalledPackage]:
    """Packages whose files are partly of one version and partly of another."""
    result = _look(["dpkg-query", "--show", f"--showformat={reader.DPKG_FORMAT}"], host)
    found = reader.parse_installed(result.stdout).values()
    return [each for each in found if each.reinstall or each.state == "half-installed"]


# --- how apt is called -------------------------------------------------------------------------------------


def _argv(arguments: Sequence[str], host: Host, ctx: Context, *, program: str = "apt-get") -> list[str]:
    options = [*_SIGNED_ONLY, *_CAREFUL, *_signed_sources(host, ctx)]
    options.append(f"DPkg::Lock::Timeout={max(0, min(600, int(ctx.seconds_left) - 30))}")
    return [program, *(part for option in options for part in ("-o", option)), *arguments]


def _apt(arguments: Sequence[str], host: Host, ctx: Context) -> Ran:
    return run_program(_argv(arguments, host, ctx), ctx, environment=ENVIRONMENT)


def _install(
    options: Sequence[str], wanted: Sequence[Wanted | str], host: Host, ctx: Context, *, else_code: str
) -> str:
    native = _native(host, ctx)
    arguments = [each if isinstance(each, str) else f"{_name(each, native)}={each.version}" for each in wanted]
    downloads_only = "--download-only" in options
    automatic = set() if downloads_only else set(_look(["apt-mark", "showauto"], host).stdout.split())
    ran = _apt(["--yes", *options, "install", "--", *arguments], host, ctx)
    names = {_name(each, native) for each in wanted if isinstance(each, Wanted)}
    if came_along := sorted(names & automatic):
        # apt takes a package that is named for one that somebody wants, and would never offer to remove it again.
        run_program(["apt-mark", "auto", "--", *came_along], ctx, environment=ENVIRONMENT)
    if ran.exit_code != 0:
        raise ActionFailed(_code(ran.output, else_code), _sentence(ran), output=ran.output)
    return ran.output


def _why_not(wanted: Sequence[Wanted], native: str, host: Host, ctx: Context) -> str:
    """Why these cannot be installed together without removing anything; empty: they can."""
    arguments = [f"{_name(each, native)}={each.version}" for each in wanted]
    # The planner's log is the one file that a simulation would write.
    options = ["-o", "APT::Get::Remove=true", "-o", "Dir::Log::Planner=/dev/null"]
    command = ["--simulate", "--yes", *options, "install", "--", *arguments]
    result = _look(_argv(command, host, ctx), host)
    if removed := re.findall(r"^Remv (\S+) ", result.stdout, re.MULTILINE):
        return f"{WOULD_REMOVE} {', '.join(removed)}"
    if result.exit_code != 0:
        why = _sentence(Ran(result.exit_code, result.stdout + result.stderr))
        unchecked = "was not found" in why and _signed_sources(host, ctx)
        return f"{FROM_UNCHECKED} ({why})" if unchecked else why
    return ""


def _mark(what: str, names: Sequence[str], ctx: Context) -> str:
    ran = run_program(["apt-mark", what, "--", *names], ctx, environment=ENVIRONMENT)
    if ran.exit_code != 0:
        raise ActionFailed(_code(ran.output, "install_failed"), f"apt-mark {what}: {_sentence(ran)}", output=ran.output)
    return ran.output


def _look(argv: Sequence[str], host: Host) -> CommandResult:
    try:
        return host.run(argv, timeout=LOOK_SECONDS, environment=ENVIRONMENT)
    except HostError as error:
        raise ActionFailed("list_failed", f"{argv[0]}: {error.why}") from None


def _native(host: Host, ctx: Context) -> str:
    return next((architecture for name, architecture in versions(host, ctx) if name == "dpkg"), "")


def _name(wanted: Wanted, native: str) -> str:
    """As apt prints and takes it: with the architecture only where that is a foreign one."""
    return f"{wanted.name}:{wanted.architecture}" if wanted.architecture not in ("", "all", native) else wanted.name


def _code(output: str, otherwise: str) -> str:
    return next((code for pattern, code in _FAILURES if re.search(pattern, output)), otherwise)


def _sentence(ran: Ran) -> str:
    """The lines in which apt and dpkg complain, one after the other."""
    if ran.exit_code < 0:
        return f"ended by signal {-ran.exit_code} before it was done"
    said: list[str] = []
    lines = ran.output.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("dpkg: error processing"):
            # The reason stands in the next line, indented.
            said.append(f"{line.rstrip(':')}: {following.strip()}")
        elif line.startswith(("E: ", "dpkg: ")) or re.match(r" ?\S+ : (Depends|Breaks|Conflicts):", line):
            said.append(line.strip())
    return "; ".join(dict.fromkeys(said))[:600] or f"ended with {ran.exit_code}"


# --- the cache, and sources that are not checked -----------------------------------------------------------


def _cached(wanted: Wanted, native: str, host: Host, ctx: Context) -> str:
    """Path of the archive of this version that apt once fetched (and checked), as the system to be changed sees it."""
    asked = _look(_argv(["shell", "FOLDER", "Dir::Cache::archives/d"], host, ctx, program="apt-config"), host)
    folder = asked.stdout.partition("=")[2].strip().strip("'").rstrip("/")
    version = wanted.version.replace(":", "%3a")
    for architecture in dict.fromkeys((wanted.architecture, native, "all")):
        path = f"{folder}/{wanted.name}_{version}_{architecture}.deb"
        try:
            found = host.status(path)
        except HostError:
            continue
        # Whoever else could write it could make us install anything.
        if found.is_file and found.uid in (0, _own_uid()) and not found.mode & (stat.S_IWGRP | stat.S_IWOTH):
            fields = _look(["dpkg-deb", "--field", path, "Package", "Version"], host).stdout
            if {f"Package: {wanted.name}", f"Version: {wanted.version}"} <= set(fields.splitlines()):
                return path
    raise ActionFailed(
        "version_not_offered",
        f"{wanted}: neither the machine's sources nor its cache ({folder}) have this version any more",
    )


def _own_uid() -> int:
    import os

    return os.geteuid()


_UNCHECKED = ("trusted", "allow-insecure", "allow-weak", "allow-downgrade-to-insecure")
_NO = ("no", "false", "without", "off", "disable", "0")


def is_unchecked(entry: str) -> bool:
    """Whether a line of a sources.list, or a stanza of a ``.sources`` file, takes packages without a signature."""
    options = re.search(r"^\s*deb(?:-src)?\s+\[([^\]]*)\]", entry)
    pairs = [option.partition("=")[::2] for option in options[1].split()] if options else []
    pairs += re.findall(r"^([\w-]+):[ \t]*(.*?)[ \t]*$", entry, re.MULTILINE)
    return any(name.lower().rstrip("+-") in _UNCHECKED and value.lower() not in _NO for name, value in pairs)


def checked_sources(path: str, text: str) -> str:
    """A sources file without its unchecked entries."""
    if path.endswith(".sources"):
        stanzas = re.split(r"\n[ \t]*(?=\n)", text)
        return "\n".join(stanza for stanza in stanzas if not is_unchecked(stanza))
    return "".join(line for line in text.splitlines(keepends=True) if not is_unchecked(line))


def _signed_sources(host: Host, ctx: Context) -> list[str]:
    """Options that hide unchecked sources from apt; none where there are no such sources."""
    texts: dict[str, str] = {}
    for path in ("/etc/apt/sources.list", *host.glob("/etc/apt/sources.list.d/*")):
        if path.endswith((".list", ".sources")):
            try:
                texts[path] = host.read_text(path)
            except HostError:
                continue  # apt itself will complain where it matters
    kept = {path: checked_sources(path, text) for path, text in texts.items()}
    if kept == texts:
        return []
    inside = "/run/forestall/apt-sources" if ctx.places.root != "/" else f"{ctx.agent_home}/apt-sources"
    folder = Path(ctx.places.root + inside) if ctx.places.root != "/" else Path(inside)
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for path, text in kept.items():
        (folder / Path(path).name).write_text(text)
    return [
        "Dir::Etc::sourcelist=/dev/null",
        f"Dir::Etc::sourceparts={inside}",
        "APT::Get::List-Cleanup=false",  # the lists of the hidden sources are others' to keep
        "Dir::Cache::pkgcache=",
        "Dir::Cache::srcpkgcache=",
    ]
