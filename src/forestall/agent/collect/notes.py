"""What a collector used and what it could not see, gathered while it looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forestall.agent.collect.host import DEFAULT_TIMEOUT_SECONDS, CommandResult, Host, HostError
from forestall.wire.facts import Gap


class Notes:
    """Reads through a host and keeps the ``sources`` and ``gaps`` of the document that is being made."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._sources: dict[str, None] = {}
        self._gaps: dict[Gap, None] = {}

    @property
    def sources(self) -> tuple[str, ...]:
        """In the order in which they were first used."""
        return tuple(self._sources)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        return tuple(self._gaps)

    def used(self, source: str) -> None:
        """Note a source, once."""
        self._sources.setdefault(source)

    def gap(self, what: str, why: str) -> None:
        """Note that ``what`` could not be seen, and why."""
        self._gaps.setdefault(Gap(what=what, why=why))

    def read(self, path: str, *, what: str = "", source: str = "") -> str | None:
        """A file's text, or None when it cannot be read; that is a gap only where ``what`` names the loss."""
        try:
            text = self.host.read_text(path)
        except HostError as error:
            if what:
                self.gap(what, error.why)
            return None
        self.used(source or path)
        return text

    def value(self, path: str) -> str:
        """The single value in a small kernel file, stripped; empty when there is none. Not noted as a source."""
        try:
            return self.host.read_text(path).strip("\x00 \t\n")
        except HostError:
            return ""

    def run(
        self,
        argv: Sequence[str],
        *,
        what: str = "",
        source: str = "",
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        environment: Mapping[str, str] | None = None,
    ) -> CommandResult | None:
        """A program's result, or None when it could not run; that is a gap only where ``what`` names the loss."""
        try:
            result = self.host.run(argv, timeout=timeout, environment=environment)
        except HostError as error:
            if what:
                self.gap(what, error.why)
            return None
        self.used(source or " ".join(argv))
        return result


def complaint(result: CommandResult) -> str:
    """The first line with which a failed program complains, shortened; its exit code when it says nothing."""
    for line in (*result.stderr.splitlines(), *result.stdout.splitlines()):
        if line.strip():
            return line.strip()[:200]
    return f"exit code {result.exit_code}"
