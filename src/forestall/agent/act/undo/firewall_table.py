"""``firewall_table``: a table of nftables that was loaded. ``table``: family and name."""

from __future__ import annotations

from collections.abc import Mapping

from forestall.agent.act.context import ActionFailed, Context
from forestall.agent.act.programs import run_program
from forestall.agent.collect.host import Host
from forestall.trust.statements import ParameterValue

KIND = "firewall_table"
LAST = False


def refuses(state: Mapping[str, ParameterValue], host: Host, ctx: Context) -> str:
    return "" if host.find_program("nft") else "nft is not installed any more"


def undo(state: Mapping[str, ParameterValue], host: Host, ctx: Context) -> str:
    table = str(state["table"])
    argv = ["nft", "list", "table", *table.split()]
    if run_program(argv, ctx, looks_only=True).exit_code != 0:
        return f"the firewall's table {table} is gone already"
    ran = run_program(["nft", "delete", "table", *table.split()], ctx)
    if ran.exit_code != 0:
        raise ActionFailed("rules_wrong", f"nft did not remove the table {table}", output=ran.output)
    return f"the firewall's table {table} is removed"
