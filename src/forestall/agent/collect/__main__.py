"""``python -m forestall.agent.collect [--json] [--times] NAME... | all``: look at this machine and print what is seen.

Prints MessagePack (``registry.Collection``) for the agent, or JSON for people. Exit code 1 when a collector broke.
"""

from __future__ import annotations

import argparse
import sys

import msgspec

from forestall.agent.collect.host import LocalHost
from forestall.agent.collect.registry import (
    COLLECTOR_BY_NAME,
    COLLECTORS,
    Collected,
    Failed,
    Started,
    collect_each,
)
from forestall.wire.facts import to_plain


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m forestall.agent.collect", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"all, or: {', '.join(COLLECTOR_BY_NAME)}")
    parser.add_argument("--json", action="store_true", help="print JSON with every field, for people")
    parser.add_argument("--times", action="store_true", help="print the seconds of each collector on standard error")
    options = parser.parse_args(arguments)
    names = [each.name for each in COLLECTORS] if "all" in options.names else list(options.names)
    unknown = [name for name in names if name not in COLLECTOR_BY_NAME]
    if unknown:
        parser.error(f"no collector is called {unknown[0]!r}; known: {', '.join(COLLECTOR_BY_NAME)}")

    def tell(outcome: Started | Collected | Failed) -> None:
        if options.times and not isinstance(outcome, Started):
            size = (
                f"{len(msgspec.msgpack.encode(outcome.document)):>8} bytes"
                if isinstance(outcome, Collected)
                else "broke"
            )
            sys.stderr.write(f"{outcome.name:<14} {outcome.seconds:7.3f} s {size}\n")

    collection = collect_each(names, LocalHost(), tell)
    if options.json:
        plain = {document.name(): to_plain(document) for document in collection.documents}
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n")
    else:
        sys.stdout.buffer.write(msgspec.msgpack.encode(collection))
    return 1 if collection.failures else 0


if __name__ == "__main__":
    sys.exit(main())
