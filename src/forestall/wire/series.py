"""Names of series: ``disk.used_percent{volume=/}``.

A metric is lower-case words joined by dots, its unit in the last word (``_percent``, ``_bytes``, ``_per_second``,
``celsius``, ``seconds``; none for a bare count). Labels stand in braces, sorted by name, ``name=value`` joined by
commas. In a value, backslash, comma, equals sign and both braces are written with a backslash before them, and a
line break as ``\\n``: mount points and sensors may be called anything. One series has one name, and one name is
one series: ``parse_series(series_name(metric, **labels)) == (metric, labels)``.
"""

from __future__ import annotations

import re

_METRIC = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9][a-z0-9_]*)*")
_LABEL = re.compile(r"[a-z][a-z0-9_]*")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_TO_ESCAPE = re.compile(r"[\\,={}]")
_PAIR = re.compile(r"([a-z][a-z0-9_]*)=((?:[^\\,={}\n]|\\[\\,={}n])*)(,|$)")


def series_name(metric: str, /, **labels: str) -> str:
    """The name of a series. ValueError for a metric or label name that is not lower-case words."""
    if not _METRIC.fullmatch(metric):
        raise ValueError(f"not a metric name: {metric!r}")
    if not labels:
        return metric
    for label in labels:
        if not _LABEL.fullmatch(label):
            raise ValueError(f"not a label name: {label!r}")
    return metric + "{" + ",".join(f"{label}={_escape(labels[label])}" for label in sorted(labels)) + "}"


def parse_series(name: str) -> tuple[str, dict[str, str]]:
    """Metric and labels of a series name. ValueError when it is not one, or not written the one way it can be."""
    metric, brace, rest = name.partition("{")
    if not _METRIC.fullmatch(metric):
        raise ValueError(f"not a series name: {name!r}")
    if not brace:
        return metric, {}
    if not rest.endswith("}") or rest == "}":
        raise ValueError(f"not a series name: {name!r}")
    labels: dict[str, str] = {}
    body, position = rest[:-1], 0
    while position < len(body):
        pair = _PAIR.match(body, position)
        if pair is None or (pair[3] == "," and pair.end() == len(body)):
            raise ValueError(f"not a series name: {name!r}")
        if labels and pair[1] <= next(reversed(labels)):
            raise ValueError(f"labels of a series name must rise: {name!r}")
        labels[pair[1]] = _ESCAPED.sub(lambda match: "\n" if match[1] == "n" else match[1], pair[2])
        position = pair.end()
    return metric, labels


def _escape(value: str) -> str:
    return _TO_ESCAPE.sub(r"\\\g<0>", value).replace("\n", "\\n")
