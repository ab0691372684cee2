"""Damaged backups: is every fault found at the level it should be, and does no healthy backup fail?

``python -m bench.backup_faults`` makes real backups with real tools, damages one after the other in the ways listed in
``FAULTS``, and puts each to the proof with the product's own restore test (``forestall.agent.act.backups.prove``),
level by level from the weakest, until one finds the fault. It prints a table fault × tool × level found, and how long a
restore took. Then as many healthy backups of the same tools are proven to their highest level.

A fault counts as found only when the proof says that the backup failed: a test that could not be held is neither. And
it must be found again at the tool's highest level, so that no higher proof passes what a lower one refuses.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from forestall.agent.act.actions.backup_rerun import run_scheduled
from forestall.agent.act.backups.prove import prove
from forestall.agent.act.context import Context
from forestall.agent.collect.host import LocalHost
from forestall.trust.proofs import ProofLevel, RestoreProof

PASSWORD = "correct horse battery staple"  # noqa: S105 - of throw-away repositories
NAME = "nightly"
NAMES = ("orders.csv", "a b.txt", "größe.ini", "brackets[1]*?.txt", "deep/er/still/log", "deep/photo.jpg", "empty.txt")


@dataclass
class World:
    """One machine with something to protect, and a backup of it."""

    folder: Path
    tool: str
    chance: random.Random
    settings: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for each in (self.home, self.source, self.store):
            each.mkdir(parents=True, exist_ok=True)
        self.home.chmod(0o700)

    @property
    def home(self) -> Path:
        return self.folder / "agent"

    @property
    def source(self) -> Path:
        return self.folder / "srv" / "shop"

    @property
    def store(self) -> Path:
        """Where backups are kept."""
        return self.folder / "store"

    @property
    def password_file(self) -> Path:
        return self.folder / "password"

    @property
    def repository(self) -> Path:
        return self.store / "repository" if self.tool in ("restic", "borg") else self.store

    # --- making ---

    def fill(self) -> None:
        """Files of several kinds and sizes, with names that are awkward."""
        names = [*NAMES, *(f"customers/{self.chance.randrange(10**9)}.json" for _ in range(8))]
        for name in names:
            path = self.source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            size = 0 if name == "empty.txt" else self.chance.choice((40, 3_000, 20_000, 150_000))
            path.write_bytes(self.chance.randbytes(size))
        (self.source / "link").symlink_to("orders.csv")

    def say(self, **settings: object) -> None:
        """Write backups.toml."""
        self.settings = {
            "name": NAME,
            "tool": self.tool,
            "repository": str(self.repository),
            "paths": [str(self.source)],
            "manifest": True,
            **self.settings,
            **settings,
        }
        if self.tool in ("restic", "borg"):
            self.password_file.write_text(PASSWORD + "\n")
            self.password_file.chmod(0o600)
            self.settings["password_file"] = str(self.password_file)
        lines = [f"{key} = {toml(value)}" for key, value in self.settings.items()]
        path = self.home / "backups.toml"
        path.write_text("[[backup]]\n" + "\n".join(lines) + "\n")
        path.chmod(0o600)

    def script(self, text: str) -> None:
        """The backup's own command."""
        path = self.folder / "backup.sh"
        path.write_text("#!/bin/sh\nset -e\n" + text)
        path.chmod(0o700)
        self.say(run=[str(path)])

    def back_up(self) -> None:
        """Run it as its schedule does, with hashes taken."""
        run_scheduled(NAME, LocalHost(), self.context())

    def context(self) -> Context:
        return Context(agent_home=self.home, timeout_seconds=120, environment=self.environment)

    @property
    def environment(self) -> dict[str, str]:
        return {"BORG_BASE_DIR": str(self.folder / "borg"), "RESTIC_CACHE_DIR": str(self.folder / "cache")}

    # --- tools by hand ---

    def call(self, *argv: str, given: str | None = None, folder: Path | None = None) -> str:
        variables = {
            **os.environ,
            **self.environment,
            "RESTIC_REPOSITORY": str(self.repository),
            "RESTIC_PASSWORD": PASSWORD,
            "BORG_REPO": str(self.repository),
            "BORG_PASSPHRASE": PASSWORD,
        }
        done = subprocess.run(
            argv, env=variables, input=given, capture_output=True, text=True, cwd=folder or self.folder, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv)}: {done.stdout}{done.stderr}")
        return done.stdout

    def prove(self, level: ProofLevel, *, most_mb: int = 500) -> RestoreProof:
        return prove(NAME, level, LocalHost(), self.context(), most_mb=most_mb, sample=6, chance=self.chance)


def toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


# --- healthy backups, one maker a tool -------------------------------------------------------------------------


def healthy_restic(world: World) -> None:
    world.fill()
    world.call("restic", "init", "--quiet")
    world.script(f'exec restic --quiet backup "{world.source}" $EXTRA\n')
    world.back_up()
    (world.source / "later.txt").write_bytes(world.chance.randbytes(5_000))
    world.back_up()


def healthy_tar(world: World) -> None:
    world.fill()
    world.script(f'exec tar -czf "{world.store}/shop-$(date +%s%N).tar.gz" -C / "{str(world.source)[1:]}" $EXTRA\n')
    world.back_up()


def healthy_plain_tar(world: World) -> None:
    world.fill()
    world.script(f'cd "{world.source}" && exec tar -cf "{world.store}/shop-$(date +%s%N).tar" . $EXTRA\n')
    world.back_up()


def healthy_borg(world: World) -> None:
    world.fill()
    world.call("borg", "init", "--encryption=repokey")
    world.script(f'cd / && exec borg create $EXTRA "::shop-$(date +%s%N)" "{str(world.source)[1:]}"\n')
    world.back_up()
    (world.source / "later.txt").write_bytes(world.chance.randbytes(5_000))
    world.back_up()


def healthy_rsync(world: World) -> None:
    world.fill()
    world.script(f'exec rsync -a --delete $EXTRA "{world.source}" "{world.store}/"\n')
    world.back_up()


def healthy_rsnapshot(world: World) -> None:
    world.fill()
    configuration = world.folder / "rsnapshot.conf"
    lines = [
        ("config_version", "1.2"), ("snapshot_root", f"{world.store}/"), ("cmd_rsync", "/usr/bin/rsync"),
        ("cmd_cp", "/bin/cp"), ("cmd_rm", "/bin/rm"), ("no_create_root", "1"), ("retain", "daily", "3"),
        ("backup", f"{world.source}/", "localhost/"),
    ]  # fmt: skip
    configuration.write_text("".join("\t".join(line) + "\n" for line in lines))
    world.script(f'exec rsnapshot -c "{configuration}" $EXTRA daily\n')
    world.back_up()
    (world.source / "later.txt").write_bytes(world.chance.randbytes(5_000))
    world.back_up()


MAKERS: dict[str, tuple[str, Callable[[World], None]]] = {
    "restic": ("restic", healthy_restic),
    "tar": ("tar", healthy_tar),
    "plain tar": ("tar", healthy_plain_tar),
    "borg": ("borg", healthy_borg),
    "rsync": ("rsync", healthy_rsync),
    "rsnapshot": ("rsnapshot", healthy_rsnapshot),
}
"""Kind of backup → tool, and what makes a healthy one."""
