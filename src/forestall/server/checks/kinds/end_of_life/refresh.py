"""Makes ``eol.json`` anew: ``python -m forestall.server.checks.kinds.end_of_life.refresh PRODUCTS DATE SOURCE``.

PRODUCTS is a JSON object (plain or gzip) of product → the front matter of that product's page on endoflife.date;
DATE is the day of that data (``2026-08-22``), SOURCE names repository and commit.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

PRODUCTS = {
    # os-release ID → (product there, name, name of the extended support, whether that is free)
    "debian": ("debian", "Debian", "Debian LTS", True),
    "ubuntu": ("ubuntu", "Ubuntu", "Ubuntu Pro (ESM)", False),
    "rhel": ("rhel", "Red Hat Enterprise Linux", "Extended Life Cycle Support", False),
    "almalinux": ("almalinux", "AlmaLinux", "", False),
    "rocky": ("rocky-linux", "Rocky Linux", "", False),
    "centos": ("centos", "CentOS", "", False),
    "ol": ("oracle-linux", "Oracle Linux", "Extended Support", False),
    "amzn": ("amazon-linux", "Amazon Linux", "", False),
    "fedora": ("fedora", "Fedora", "", False),
    "sles": ("sles", "SUSE Linux Enterprise Server", "LTSS", False),
    "alpine": ("alpine-linux", "Alpine Linux", "", False),
    "windows": ("windows", "Windows", "Extended Security Updates", False),
    "windows-server": ("windows-server", "Windows Server", "Extended Security Updates", False),
    "macos": ("macos", "macOS", "", False),
}


def refreshed(products: dict[str, Any], *, date: str, source: str) -> dict[str, Any]:
    """The content of ``eol.json``. KeyError for a product that the data does not have."""
    return {
        "data_date": date,
        "source": source,
        "licence": "MIT",
        "products": {
            os_id: {
                "name": name,
                "extended": extended,
                "extended_free": free,
                "releases": [_release(release) for release in products[product]["releases"]],
            }
            for os_id, (product, name, extended, free) in PRODUCTS.items()
        },
    }


def _release(release: dict[str, Any]) -> dict[str, Any]:
    kept = {
        "cycle": str(release["releaseCycle"]),
        "codename": release.get("codename", ""),
        "released": release["releaseDate"],
        "ends": release["eol"] or None,
        "extended_ends": release.get("eoes") or None,
        "build": release.get("latest", "") if str(release.get("latest", "")).count(".") >= 2 else "",
    }
    return {key: value for key, value in kept.items() if value not in ("", None)}


def main() -> None:
    path, date, source = sys.argv[1:4]
    raw = Path(path).read_bytes()
    products = json.loads(gzip.decompress(raw) if path.endswith(".gz") else raw)
    target = Path(__file__).with_name("eol.json")
    lines = json.dumps(refreshed(products, date=date, source=source), ensure_ascii=False, indent=1)
    target.write_text(lines + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
