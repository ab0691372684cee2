"""The page of all kinds of check, made from the kinds: ``python -m forestall.server.checks.docs > docs/checks.md``."""

from __future__ import annotations

import sys

from forestall.server.checks.kind import CheckKind
from forestall.server.checks.kinds import CHECK_KINDS
from forestall.server.checks.rules import settings_of
from forestall.server.checks.words import span

HEAD = """\
# Checks

A check judges one thing about a device: a *kind* applied to a target (a volume, a service, a certificate, or the
device itself). Its result is one of five words:

| result | meaning |
|---|---|
| ● pass | looked at, and well |
| ▲ warn | will need somebody |
| ■ fail | needs somebody now |
| ◌ unknown | could not be judged, and says why. It is never shown as pass |
| ◍ stale | the input is too old: nothing heard for twice the cadence, or a document not affirmed for two days |

Agents report facts and samples; the server judges them. A rule is a pure function of what is known, the policy, the
time and the results before, so that a changed policy needs no change on any device. Judged is at least once a cadence,
and at once when a document it rests on changes or a sample crosses a threshold.

**Thresholds have hysteresis**: a status is entered at its threshold and left only a band beyond it. Ages (of a backup,
of definitions, of a certificate) need none: they change in one direction, and back only by an event.

**A target that vanishes** (a volume unmounted, a service removed) closes its check with a change called `gone`. When a
whole document or all of its content cannot be seen any more, nothing is closed: every target is unknown.

**Accepting**: where it says so, a person may accept a target as it is, with a reason. It passes from then on, and says
that it was accepted.

**Policies** are set for a client, a site or a device; the narrower one wins, setting by setting. A value that cannot
be is refused, naming the setting and the value. Every kind has the setting `every_minutes` besides its own: how often
it is judged at least, in place of the cadence named here. Set them with `forestall checks policy`, or on the page
*Policies* of Checks.

**A new kind** is a folder in `src/forestall/server/checks/kinds/` with the same files as the others (`__init__.py`
with its `KIND`, `rule.py`, `texts.py`, `tests/`) and a line in `kinds/__init__.py`. Then make this page anew:
`python -m forestall.server.checks.docs > docs/checks.md`.
"""


def render() -> str:
    """The whole page, in Markdown."""
    contents = "\n".join(
        f"- [{kind.texts.title}](#{kind.slug}): {kind.texts.question}" for kind in CHECK_KINDS.values()
    )
    return "\n".join([HEAD, contents, "", *(_kind(kind) for kind in CHECK_KINDS.values())])


def _kind(kind: CheckKind) -> str:
    rests = [f"`{name}`" for name in kind.rests_on] + [f"samples `{name}`" for name in kind.metrics]
    also = [f"`{name}`" for name in kind.also_reads]
    lines = [
        f'<a id="{kind.slug}"></a>',
        "",
        f"## {kind.texts.title}",
        "",
        f"`{kind.slug}`. {kind.texts.question} {kind.texts.why}",
        "",
        f"- Rests on: {', '.join(rests) or 'what intake knows of the connection'}"
        + (f"; looks also at {', '.join(also)}" if also else ""),
        f"- Cadence: {span(kind.cadence_seconds)}; risk while it fails, unless the case says otherwise: {kind.risk}",
    ]
    if kind.history_seconds:
        lines.append(f"- Looks back {span(kind.history_seconds)}")
    if kind.remedies:
        lines.append(f"- Runbooks that may repair it: {', '.join(f'`{slug}`' for slug in kind.remedies)}")
    if kind.acceptable:
        lines.append("- A target can be accepted as it is")
    if kind.about_link:
        lines.append("- Judges the connection with the device, so the audit without a server leaves it out")
    lines += [f"- Remedy: {kind.texts.remedy}", ""]
    settings = settings_of(kind)
    if settings:
        lines += ["| setting | default | |", "|---|---|---|"]
        lines += [f"| `{each.name}` | `{_default(each.default)}` | {each.text} |" for each in settings]
        lines.append("")
    return "\n".join(lines)


def _default(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "[]" if value == () else f"{value:g}" if isinstance(value, float) else str(value)


def main() -> None:
    sys.stdout.write(render())


if __name__ == "__main__":
    main()
