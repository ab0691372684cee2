"""The page of the built-in runbooks: ``python -m forestall.server.runbooks.docs > docs/runbooks.md``."""

from __future__ import annotations

import sys

import msgspec

from forestall.server.runbooks.library import read_library
from forestall.trust.statements import OPERATOR_SIGNATURES, Parameter, Runbook
from forestall.trust.words import step_words

HEAD = """\
# Runbooks

A runbook is the only thing that can change a device: steps of built-in actions with typed parameters, signed by the
catalogue's key. A run of it is a *job*, signed by operators for named devices; a *standing order* lets it answer a
failing check by itself, within what was signed. Below are the {count} that come with Forestall. Each has a test of what
it does on the real thing (of `reboot` up to the order to the machine). See `forestall runbook list`, and the page
*Runbooks* of the console.

## How runs are kept safe

- **Dry run**: `forestall jobs --prepare … --dry-run` says what a run would do and changes nothing; what it said stands
  beside the job before anybody signs it.
- **Conditions**: a step may run only if an earlier one succeeded, failed, was skipped, changed something or nothing.
- **Approval**: a run may stop before a step and wait. Its approval is prepared by itself, as a job that names the very
  result it rests on; `forestall sign` shows it, and the device goes on only then, once, within 7 days.
- **Time-outs**: every step ends after its own; a script with everything it started.
- **Undo**: what a step changes in files, services and the like is written into the device's undo journal before it is
  changed. `forestall jobs JOB --undo --reason WHY` (or the button on the job's page) prepares `undo-change`, which puts
  everything back, or nothing when something was changed since, and says what. A runbook with `undo_on_failure` does so
  by itself when a step fails. The journal keeps the last 200 jobs, in the agent's folder, readable by nobody else.
- **Blast radius**: `forestall order sign … --devices-per-hour N` lets a standing order reach at most N devices in any
  hour; the page of the order shows how many it reached. Together with `--runs-per-day`, which the device counts itself.
- **Which remedy**: where several orders answer one check, the one that was tried least for the ticket goes first. A
  fresh check decides; what did not help stays a ticket that says what was tried.
- **The customer's veto**: `policy.toml` on the device forbids risks, runbooks, actions, hours, or all scripts
  (`forbid_shells = true`), whoever signs.

## Writing your own

1. `forestall runbook new my-runbook` begins a draft (of a signed runbook of that name, of `--file FILE`, or of an
   example). The page *Runbooks › Drafts* is the same in the browser.
2. `forestall runbook edit my-runbook` opens it in your editor; every save is a version. What is wrong is named with its
   place: `$.steps[1].arguments.service: …`. `forestall runbook check FILE` needs no server.
3. `forestall runbook show my-runbook --draft` shows how it differs from what is signed; `forestall runbook history
   my-runbook` lists its versions; `forestall runbook undo my-runbook` goes back; `forestall runbook drop my-runbook`
   puts it away.
4. `forestall runbook sign my-runbook`, where the catalogue's key is: it shows what the text does, signs and publishes.
   The server cannot: it has no key. `forestall runbook export my-runbook --out FILE` takes it elsewhere.

A step with a script of your own:

```json
{
  "action": "script.run",
  "arguments": { "interpreter": "sh", "run_as": "nobody", "script": "df -P \\"$FORESTALL_{parameter}\\"\\n" },
  "timeout_seconds": 60
}
```

`interpreter` is `sh`, `bash`, `python3` or `pwsh`. The text is what was signed, to the byte: parameters are never put
into it, they are in the environment as `FORESTALL_<NAME>` (`true` and `false` for booleans). It runs as `nobody`, who
can gain no rights, or as `root` where the runbook says so, in an empty folder that is deleted afterwards; output is
bounded. A line `forestall: changed files 3` in its output says what it changed. Such a runbook is *destructive*: two
operators sign each run. All fields: docs/extending/runbook.md; what is signed: docs/protocol/authority.md.

## The library

| runbook | what it does | signatures |
|---|---|---|
"""


def page() -> str:
    """The whole page, as Markdown."""
    library = read_library()
    rows = [f"| [`{one.slug}`](#{one.slug}) | {one.title} | {OPERATOR_SIGNATURES[one.risk]} |" for one in library]
    return (
        HEAD.replace("{count}", str(len(library))).replace("{parameter}", "FOLDER")
        + "\n".join(rows)
        + "\n\n"
        + "\n".join(map(_section, library))
    )


def _section(runbook: Runbook) -> str:
    values = {one.name: f"<{one.name}>" if one.default is None else one.default for one in runbook.parameters}
    lines = [f"### {runbook.slug}", "", runbook.description, ""]
    lines += [f"{number}. {words}" for number, words in enumerate(step_words(runbook, values), start=1)]
    if runbook.parameters:
        lines += ["", *(_parameter(one) for one in runbook.parameters)]
    if runbook.undo_on_failure is not msgspec.UNSET and runbook.undo_on_failure:
        lines += ["", "When a step fails, it puts back by itself what its steps changed."]
    lines += ["", f"Undo: {runbook.undo}", ""]
    return "\n".join(lines)


def _parameter(parameter: Parameter) -> str:
    default = "must be given" if parameter.default is None else f"default `{parameter.default}`"
    return f"- `{parameter.name}` ({parameter.kind}, {default}): {parameter.description}"


if __name__ == "__main__":
    sys.stdout.write(page())
