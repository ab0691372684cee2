"""``forestall vulns match``: a host and a folder of feeds in, findings out. Offline; needs no server and no Django."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import click

from forestall.cli.errors import CommandError
from forestall.server.vulnerabilities.feeds import Advisory, Feeds, Record, read_feeds
from forestall.server.vulnerabilities.hosts import HostUnreadableError, read_host
from forestall.server.vulnerabilities.index import Index
from forestall.server.vulnerabilities.matching import kernels_without_running, match_host, sources_unknown
from forestall.server.vulnerabilities.types import Finding, Host

WORST_FIRST = ("critical", "high", "medium", "low", "")


@click.command()
@click.option(
    "--host",
    "host_file",
    required=True,
    metavar="FILE",
    help="An exported host, an SBOM or a list of packages; `-`: standard input.",
)
@click.option(
    "--feeds",
    "folders",
    required=True,
    multiple=True,
    metavar="DIR",
    type=click.Path(exists=True, path_type=Path),
    help="Folder of feed files, searched through; or one file. Repeatable.",
)
@click.option("--json", "out", metavar="OUT", help="Write the findings there as JSON; `-`: standard output.")
@click.option("--as-of", metavar="DATE|scan", help="Only advisories published by then; `scan`: when the host was.")
@click.option("--os", "system", default="", metavar="NAME:RELEASE", help="For lists that do not tell: debian:12.")
def match(*, host_file: str, folders: tuple[Path, ...], out: str | None, as_of: str | None, system: str) -> int:
    """What an exported host is open to, by feeds on this machine. Needs no server.

    \b
    forestall vulns match --host web-01.json.gz --feeds feeds/ --json findings.json
    dpkg-query --show | forestall vulns match --host - --feeds feeds/
    """
    try:
        host = read_host(Path(host_file), system=system)
    except HostUnreadableError as error:
        raise CommandError(str(error)) from error
    until = _moment(as_of, host)
    feeds = read_feeds(folders)
    _say_what_was_read(feeds)
    if not feeds.files:
        raise CommandError(f"{', '.join(map(str, folders))}: no feed that can be read is there")
    index = Index.build(_published_by(feeds.records, until))
    found = match_host(index, host)
    for silent in sorted(_ecosystems(host) - index.ecosystems):
        click.echo(f"No feed there speaks of {silent}: what of it is open, nobody knows.", err=True)
    if kernels_without_running(host):
        click.echo(
            f"{host.name or 'The host'}: it is not told which kernel runs; the newest installed is taken.", err=True
        )
    if sources_unknown(host):
        click.echo(
            "The list does not tell from which source each package is made, and advisories name sources: packages are "
            "taken for their own source unless a feed tells. `dpkg-query --show --showformat="
            "'${Package}\\t${Version}\\t${Architecture}\\t${source:Package}\\t${source:Version}\\n'` tells more.",
            err=True,
        )
    if out is None:
        _show(host, found)
    else:
        _write(out, [_plain(one) for one in found])
        click.echo(_summary(host, found), err=True)
    return 1 if feeds.errors else 0


def _ecosystems(host: Host) -> set[str]:
    return {one.ecosystem for one in host.packages} or ({"Windows"} if host.os_id.lower() == "windows" else set())


def _moment(as_of: str | None, host: Host) -> datetime | None:
    if as_of is None:
        return None
    if as_of == "scan":
        if host.scanned_at is None:
            raise CommandError("--as-of scan: the host does not tell when it was scanned; name the day")
        return host.scanned_at
    try:
        if len(as_of) == len("2026-05-07"):
            return datetime.combine(date.fromisoformat(as_of) + timedelta(days=1), time(), UTC) - timedelta(
                microseconds=1
            )
        moment = datetime.fromisoformat(as_of)
    except ValueError as error:
        raise CommandError(f"--as-of {as_of!r} is neither a date (2026-05-07) nor a moment nor `scan`") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _published_by(records: list[Record], until: datetime | None) -> list[Record]:
    """Without what was published later. What was withdrawn later still stood; what tells no date stays."""
    if until is None:
        return records
    kept: list[Record] = []
    for one in records:
        if isinstance(one, Advisory):
            if one.published_at is not None and one.published_at > until:
                continue
            if one.withdrawn_at is not None and one.withdrawn_at > until:
                one = replace(one, withdrawn_at=None)
        kept.append(one)
    return kept


def _say_what_was_read(feeds: Feeds) -> None:
    formats = Counter(feeds.files.values())
    if formats:
        click.echo("Read " + ", ".join(f"{count} × {name}" for name, count in sorted(formats.items())) + ".", err=True)
    if feeds.skipped:
        kinds = Counter(feeds.skipped.values())
        click.echo(
            "No feed: " + ", ".join(f"{count} × {what}" for what, count in sorted(kinds.items())) + ".", err=True
        )
    for error in feeds.errors:
        click.echo(f"Not taken: {error}", err=True)


def _plain(finding: Finding) -> dict[str, Any]:
    return {
        "package": finding.package,
        "installed": finding.installed,
        "fixed": finding.fixed,
        "advisory": finding.advisory,
        "cves": list(finding.cves),
        "severity": finding.severity,
        "known_exploited": finding.known_exploited,
    }


def _write(out: str, findings: list[dict[str, Any]]) -> None:
    text = json.dumps(findings, indent=1, ensure_ascii=False) + "\n"
    if out == "-":
        click.echo(text, nl=False)
        return
    path = Path(out)
    if path.exists() and not path.is_file():  # /dev/stdout, a pipe
        path.write_text(text)
        return
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    fresh.write_text(text)
    fresh.replace(path)


def _summary(host: Host, findings: list[Finding]) -> str:
    packages = len({one.package for one in findings})
    advisories = len({one.advisory for one in findings})
    cves = {cve for one in findings for cve in one.cves}
    exploited = {cve for one in findings if one.known_exploited for cve in one.cves}
    line = (
        f"{host.name or 'The host'}: {packages} of {len(host.packages) or 1} packages open to "
        f"{advisories} advisories with {len(cves)} vulnerabilities"
    )
    waiting = sum(one.only_running for one in findings)
    if exploited:
        line += f"; {sum(one.known_exploited for one in findings)} findings known to be exploited"
    if waiting:
        line += f"; {waiting} findings only wait for a restart"
    return line + "."


def _show(host: Host, findings: list[Finding]) -> None:
    from forestall.cli.show import console, print_table

    by_package: dict[tuple[str, str], list[Finding]] = {}
    for one in findings:
        by_package.setdefault((one.package, one.installed), []).append(one)
    rows = []
    for (package, installed), mine in sorted(by_package.items(), key=_worst_first):
        worst = min((one.severity for one in mine), key=WORST_FIRST.index)
        unfixed = sum(not one.fixed for one in mine)
        rows.append(
            (
                package,
                installed,
                worst or "unrated",
                "exploited" if any(one.known_exploited for one in mine) else "",
                str(len({cve for one in mine for cve in one.cves})),
                str(len(mine)) + (f", {unfixed} without a fix" if unfixed else ""),
            )
        )
    print_table(
        ("Package", "Installed", "Worst", "", "CVEs", "Advisories"),
        rows,
        empty="Nothing that these feeds know of is open.",
    )
    console().print(_summary(host, findings), style="bold", markup=False)


def _worst_first(item: tuple[tuple[str, str], list[Finding]]) -> tuple[bool, int, int, str]:
    (package, _), mine = item
    exploited = any(one.known_exploited for one in mine)
    worst = min(WORST_FIRST.index(one.severity) for one in mine)
    return (not exploited, worst, -len(mine), package)
