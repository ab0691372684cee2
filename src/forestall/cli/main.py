"""The command line. Each command lives in a module of its own that is imported only when it is used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem

from forestall import __version__
from forestall.cli.errors import report_errors

# name → (module, attribute, one line of help). One list, in the order people meet them.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "up": ("forestall.cli.up", "up", "Set up and run Forestall on this machine."),
    "status": ("forestall.cli.up", "status", "Say what of Forestall runs here."),
    "down": ("forestall.cli.up", "down", "Stop what `up` started."),
    "audit": ("forestall.cli.audit", "audit", "Baseline audit of this machine; needs no server."),
    "facts": ("forestall.cli.facts", "facts", "Read saved outputs of other tools as the agent would."),
    "today": ("forestall.cli.desk", "today", "What needs a person now, and what will break next."),
    "clients": ("forestall.cli.clients", "clients", "List clients; take on, show or change one."),
    "sites": ("forestall.cli.clients", "sites", "List the sites of clients; add or change one."),
    "contacts": ("forestall.cli.clients", "contacts", "Whom to call at a client."),
    "hours": ("forestall.cli.clients", "hours", "When a client works: hours, closed days, holidays."),
    "windows": ("forestall.cli.clients", "windows", "When maintenance windows are open; plan, change or end one."),
    "calendar": ("forestall.cli.calendar", "calendar", "When windows open; blackouts; the calendar in other programs."),
    "sla": ("forestall.cli.clients", "sla", "SLA tiers, and what was agreed with one client."),
    "routes": ("forestall.cli.clients", "routes", "Where notifications go; try one for real."),
    "routing": ("forestall.cli.clients", "routing", "Who gets which ticket, and why."),
    "people": ("forestall.cli.people", "people", "See and change people and what they may do."),
    "grants": ("forestall.cli.people", "grants", "List who may what; save an access review."),
    "roles": ("forestall.cli.roles", "roles", "See what roles may do; make roles of your own."),
    "import": ("forestall.cli.transfer", "import_list", "Import lists of clients, sites, people, assets."),
    "export": ("forestall.cli.transfer", "export_client", "Everything kept of a client, as a ZIP."),
    "remove-client": ("forestall.cli.transfer", "remove_client", "Remove a client for good; its proofs stay."),
    "devices": ("forestall.cli.desk", "devices", "List devices; show or approve one."),
    "tags": ("forestall.cli.labels", "tags", "List tags; put them on devices."),
    "groups": ("forestall.cli.labels", "groups", "List and change groups of devices."),
    "assets": ("forestall.cli.labels", "assets", "List and change what clients own, watched or not."),
    "checks": ("forestall.cli.desk", "checks", "List checks and their results."),
    "coverage": ("forestall.cli.health", "coverage", "Who is covered by what; gaps by risk; exceptions."),
    "health": ("forestall.cli.health", "health", "Scores and the checks behind them; the morning's run."),
    "alerts": ("forestall.cli.desk", "alerts", "List alerts."),
    "configuration": ("forestall.cli.configuration", "configuration", "How devices are set up, and what drifted."),
    "vulns": ("forestall.cli.vulns", "vulns", "What installed software is open to, and what to do first."),
    "updates": ("forestall.cli.updates", "updates", "What waits, by when it must be in, and whether it was."),
    "deploy": ("forestall.cli.deploy", "deploy", "What became of updates; install now; patch policies."),
    "rollout": ("forestall.cli.rollout", "rollout", "Updates ring by ring: start, watch, promote, pause."),
    "recovery": ("forestall.cli.recovery", "recovery", "What must be recoverable; restore tests and proofs."),
    "access": ("forestall.cli.access", "access", "Who may get in where; what changed; access reviews."),
    "tickets": ("forestall.cli.desk", "tickets", "List and work tickets."),
    "jobs": ("forestall.cli.desk", "jobs", "List jobs; show or prepare one."),
    "portal": ("forestall.cli.portal", "portal", "For a client's people: devices, tickets, planned work."),
    "reports": ("forestall.cli.desk", "reports", "List service reports; save one as PDF."),
    "enrol": ("forestall.cli.desk", "enrol", "Make a token with which one device can enrol."),
    "sign": ("forestall.cli.sign", "sign", "Read, in plain words, and sign jobs that wait for an operator."),
    "order": ("forestall.cli.order", "order", "Sign, list and revoke standing orders."),
    "runbook": ("forestall.cli.runbook", "runbook", "See, write and sign runbooks: what may be done at all."),
    "operator": ("forestall.cli.operator", "operator", "Make and show the operator's keys."),
    "evidence": ("forestall.cli.evidence", "evidence", "List and export the evidence log."),
    "verify": ("forestall.cli.verify", "verify", "Check an evidence bundle, offline."),
    "person": ("forestall.cli.person", "person", "Make people, set passwords, switch off and on; on the server."),
    "signin": ("forestall.cli.signin", "signin", "Second factors, single sign-on, mail; on the server."),
    "backup": ("forestall.cli.backup", "backup", "Back this installation up; list and prove backups."),
    "restore": ("forestall.cli.restore", "restore", "Restore an installation from a backup."),
    "token": ("forestall.cli.token", "token", "List, make and revoke API tokens of yours."),
    "webhooks": ("forestall.cli.webhooks", "webhooks", "Tell other programs of what happens; see what arrived."),
    "api": ("forestall.cli.api", "api", "Any route of the API: whatever has no command of its own."),
    "profile": ("forestall.cli.profile", "profile", "Several servers or tokens, each under a name."),
    "completion": ("forestall.cli.completion", "completion", "Complete commands by the Tab key."),
    "agent": ("forestall.cli.agent", "agent", "Enrol, run and look at this machine's agent."),
    "db": ("forestall.cli.db", "db", "Look at the database; move it to PostgreSQL."),
    "drill": ("forestall.cli.drill", "drill", "Make a real, bounded fault and watch the loop repair it."),
}


class LazyGroup(click.Group):
    """A group that knows its commands' names and help without importing them: `forestall agent` stays light."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = [
            CompletionItem(name, help=line) for name, (_, _, line) in COMMANDS.items() if name.startswith(incomplete)
        ]
        # Options as click has them; its own list of commands would import every one of them.
        return found + [one for one in click.Command.shell_complete(self, ctx, incomplete) if one.value not in COMMANDS]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, _, help_line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="forestall")
@click.option("--profile", metavar="NAME", help="Which server and token: see `forestall profile`.")
def cli(*, profile: str | None) -> None:
    """Forestall: measure, see trouble coming, fix it, prove it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; exit 2 with one clear line for what the user can mend."""
    sys.exit(report_errors(lambda: cli.main(args=arguments, prog_name="forestall", standalone_mode=False)))


if __name__ == "__main__":
    main()
