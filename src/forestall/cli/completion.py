"""Completion of commands and options by the Tab key."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(*, shell: str) -> int:
    """Print the lines that teach SHELL to complete `forestall`.

    \b
    bash: forestall completion bash > ~/.local/share/bash-completion/completions/forestall
    zsh:  forestall completion zsh > a folder of your fpath, as _forestall
    fish: forestall completion fish > ~/.config/fish/completions/forestall.fish
    """
    from forestall.cli.main import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"{shell} is not known")
    maker = kind(cli, {}, "forestall", "_FORESTALL_COMPLETE")
    # Not `source()`: for bash it would start one to see how old it is, and the script may be for another machine.
    click.echo(maker.source_template % maker.source_vars())
    return 0
