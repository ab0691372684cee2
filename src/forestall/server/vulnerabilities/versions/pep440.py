"""Python versions (PEP 440)."""

from __future__ import annotations

import re

from forestall.server.vulnerabilities.versions import generic
from forestall.server.vulnerabilities.versions.numbers import number

WHOLE = re.compile(
    r"""v?(?:(?P<epoch>[0-9]+)!)?(?P<release>[0-9]+(?:\.[0-9]+)*)
    (?:[-_.]?(?P<pre>alpha|a|beta|b|preview|pre|c|rc)[-_.]?(?P<pre_n>[0-9]*))?
    (?P<post>-(?P<post_n1>[0-9]+)|[-_.]?(?:post|rev|r)[-_.]?(?P<post_n2>[0-9]*))?
    (?P<dev>[-_.]?dev[-_.]?(?P<dev_n>[0-9]*))?
    (?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?""",
    re.VERBOSE,
)
PRE = {"a": b"\x02", "alpha": b"\x02", "b": b"\x03", "beta": b"\x03"}


def key(version: str) -> bytes:
    """The version as bytes that sort as PEP 440 says."""
    version = version.strip().lower()
    found = WHOLE.fullmatch(version)
    if found is None:
        return b"\x00" + generic.key(version)
    parts = found["release"].split(".")
    while len(parts) > 1 and not parts[-1].strip("0"):
        parts.pop()
    out = [b"\x01", number(found["epoch"] or ""), *(b"\x02" + number(part) for part in parts), b"\x01"]
    if found["pre"]:
        out.append(PRE.get(found["pre"], b"\x04") + number(found["pre_n"]))
    elif found["dev"] and not found["post"]:
        out.append(b"\x01")  # 1.0.dev1 is before 1.0a1
    else:
        out.append(b"\x05")
    out.append(b"\x02" + number(found["post_n1"] or found["post_n2"] or "") if found["post"] else b"\x01")
    out.append(b"\x01" + number(found["dev_n"] or "") if found["dev"] else b"\x02")
    if found["local"]:
        for part in re.split(r"[-_.]", found["local"]):
            out.append(b"\x03" + number(part) if part.isdigit() else b"\x02" + part.encode() + b"\x00")
    out.append(b"\x01")
    return b"".join(out)
