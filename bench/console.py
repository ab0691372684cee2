"""Server time of each page of the console with 500 devices, and how many SQL queries it takes.

A fleet is built in a temporary data folder through the product's own services, then each page is asked for through the
whole Django stack (middleware, session, permission, template), without network. Median and worst of several runs after
one to warm up; the aim is at most 100 ms a page (docs/using.md says what each page shows).

    python -m bench.console [--devices 500] [--runs 9]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
AIM_MS = 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--devices", type=int, default=500)
    parser.add_argument("--runs", type=int, default=9)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="forestall-bench-") as home:
        os.environ["FORESTALL_HOME"] = home
        os.environ["DJANGO_SETTINGS_MODULE"] = "forestall.server.settings"
        Path(home, "server", "static").mkdir(parents=True)
        Path(home, "server", "log.key").write_bytes(os.urandom(32))
        rows = measure(asked.devices, asked.runs)
    print(f"{asked.devices} devices, median and worst of {asked.runs} runs\n")
    print(f"{'page':<34}{'median ms':>10}{'worst ms':>10}{'queries':>9}{'kB':>7}")
    for row in rows:
        over = "" if row["median_ms"] <= AIM_MS else f"  over the aim of {AIM_MS} ms"
        print(
            f"{row['page']:<34}{row['median_ms']:>10.1f}{row['worst_ms']:>10.1f}{row['queries']:>9}{row['kb']:>7.0f}{over}"
        )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "console.json").write_text(json.dumps({"devices": asked.devices, "pages": rows}, indent=2) + "\n")
    return 0


def measure(devices: int, runs: int) -> list[dict[str, float | int | str]]:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from forestall.server.console.tests.fleet import build
    from forestall.server.people.scope import Scope
    from forestall.server.tickets.queries import tickets_open

    call_command("migrate", verbosity=0)
    began = time.perf_counter()
    fleet = build(devices, now=datetime.now(UTC))
    print(f"fleet built in {time.perf_counter() - began:.0f} s")
    browser = Client(SERVER_NAME="localhost")
    browser.force_login(fleet.person, backend="allauth.account.auth_backends.AuthenticationBackend")
    device = f"/devices/{fleet.devices[0].pk}/"
    ticket = tickets_open(scope=Scope.system("bench")).order_by("number").values_list("number", flat=True)[0]
    pages = [
        "/", "/devices/", "/checks/", "/tickets/", f"/tickets/{ticket}/", "/updates/", "/runbooks/", "/jobs/",
        "/evidence/", "/reports/", device, *(f"{device}{tab}/" for tab in tabs()),
    ]  # fmt: skip
    rows: list[dict[str, float | int | str]] = []
    for page in pages:
        with CaptureQueriesContext(connection) as captured:
            answer = browser.get(page)
        queries = len(captured)
        if answer.status_code != 200:
            raise SystemExit(f"{page} answered {answer.status_code}")
        times = []
        for _ in range(runs):
            started = time.perf_counter()
            browser.get(page)
            times.append((time.perf_counter() - started) * 1000)
        rows.append(
            {
                "page": page.replace(str(fleet.devices[0].pk), "…"),
                "median_ms": round(statistics.median(times), 1),
                "worst_ms": round(max(times), 1),
                "queries": queries,
                "kb": round(len(answer.content) / 1000, 1),
            }
        )
    return rows


def tabs() -> list[str]:
    from forestall.server.console.views.device import TABS

    return [slug for slug, _ in TABS if slug]


if __name__ == "__main__":
    sys.exit(main())
