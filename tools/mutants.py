"""Mutation testing of what authority and evidence rest on: change one thing in the code, and some test must fail.

    python tools/mutants.py [--sample N] [--seed N] [PACKAGE ...]

Works on a copy of the sources, so nothing here is touched. Prints the mutants that survived; exit code 1 when fewer
than 95 % were killed.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEAST_KILLED = 0.95
TIMEOUT_SECONDS = 180
ACT = "src/forestall/agent/act"
# Package → its modules, and the tests that have to notice.
PACKAGES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "trust": (
        tuple(
            f"src/forestall/trust/{name}.py"
            for name in ("authorise", "dsse", "keyfile", "keys", "sign", "statements", "succession")
        ),
        ("src/forestall/trust/tests",),
    ),
    "ledger": (
        tuple(f"src/forestall/ledger/{name}.py" for name in ("bundle", "merkle", "records", "signed")),
        ("src/forestall/ledger/tests", "src/forestall/verify/tests"),
    ),
    "verify": (("src/forestall/verify/bundle.py",), ("src/forestall/verify/tests",)),
    "act": (
        tuple(f"{ACT}/{name}.py" for name in ("execute", "policy", "state")),
        (
            f"{ACT}/tests/test_act_authority.py",
            f"{ACT}/tests/test_act_execute.py",
            f"{ACT}/tests/test_revocation_interleavings.py",
        ),
    ),
}
COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
COUNTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change."""

    path: str
    line: int
    what: str
    source: str


def mutants(path: str) -> Iterator[Mutant]:
    """Every mutant of a module."""
    tree = ast.parse((ROOT / path).read_text())
    for index, node in enumerate(ast.walk(tree)):
        for what, change in changes(node):
            mutated = copy.deepcopy(tree)
            target = next(found for number, found in enumerate(ast.walk(mutated)) if number == index)
            change(target)
            yield Mutant(path, getattr(node, "lineno", 0), what, ast.unparse(ast.fix_missing_locations(mutated)))


def changes(node: ast.AST) -> Iterator[tuple[str, object]]:
    """What may be changed in a node: in words, and the function that does it to the same node of a copy."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARED:
        swapped = COMPARED[type(node.ops[0])]
        yield f"{type(node.ops[0]).__name__} becomes {swapped.__name__}", lambda it: it.ops.__setitem__(0, swapped())
    if isinstance(node, ast.BoolOp):
        other = ast.And if isinstance(node.op, ast.Or) else ast.Or
        yield f"{type(node.op).__name__} becomes {other.__name__}", lambda it: setattr(it, "op", other())
    if isinstance(node, ast.BinOp) and type(node.op) in COUNTED:
        counted = COUNTED[type(node.op)]
        yield f"{type(node.op).__name__} becomes {counted.__name__}", lambda it: setattr(it, "op", counted())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield (
            "not is taken away",
            lambda it: (
                setattr(it, "op", ast.UAdd())
                or setattr(it, "operand", ast.Call(ast.Name("bool", ast.Load()), [it.operand], []))
            ),
        )
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield f"{node.value} becomes {node.value + 1}", lambda it: setattr(it, "value", it.value + 1)
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        yield f"{node.value} becomes {not node.value}", lambda it: setattr(it, "value", not it.value)
    if isinstance(node, ast.If):
        yield "the condition always holds", lambda it: setattr(it, "test", ast.Constant(value=True))
        yield "the condition never holds", lambda it: setattr(it, "test", ast.Constant(value=False))
    if isinstance(node, ast.Raise):
        yield "the error is swallowed", as_pass
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "the call is left out", lambda it: setattr(it, "value", ast.Constant(value=None))


def as_pass(node: ast.AST) -> None:
    """A raise that raises nothing."""
    node.__class__ = ast.Pass  # type: ignore[assignment]


def killed(mutant: Mutant, tests: tuple[str, ...]) -> bool:
    """Whether a test fails on it, in a copy of the sources of its own."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        place = Path(folder)
        for name in ("src", "pyproject.toml"):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__", "static", "bundle"))
            else:
                shutil.copy(source, place / name)
        (place / mutant.path).write_text(mutant.source)
        command = [
            sys.executable,
            "-B",
            "-m",
            "pytest",
            "-x",
            "-q",
            "-n",
            "0",
            "-p",
            "no:cacheprovider",
            "-m",
            "not soak",
        ]
        environment = {**os.environ, "PYTHONPATH": str(place / "src")}
        try:
            ran = subprocess.run(
                [*command, *tests],
                cwd=place,
                env=environment,
                capture_output=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return True
        if ran.returncode not in (0, 1, 2):
            raise RuntimeError(ran.stdout.decode()[-2000:])
        return ran.returncode != 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="*", choices=[*PACKAGES, []], help="default: all")
    parser.add_argument("--sample", type=int, default=0, help="this many of each package, by chance; 0: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    randomness, total, dead = random.Random(given.seed), 0, 0  # noqa: S311 - a sample, no secret
    for name in given.packages or PACKAGES:
        modules, tests = PACKAGES[name]
        found = [mutant for path in modules for mutant in mutants(path)]
        chosen = randomness.sample(found, min(given.sample, len(found))) if given.sample else found
        with ThreadPoolExecutor(given.workers) as pool:
            verdicts = list(pool.map(lambda mutant, tests=tests: killed(mutant, tests), chosen))
        for mutant, verdict in zip(chosen, verdicts, strict=True):
            if not verdict:
                print(f"survived: {mutant.path}:{mutant.line}: {mutant.what}", flush=True)
        total, dead = total + len(chosen), dead + sum(verdicts)
        print(f"{name}: {sum(verdicts)} of {len(chosen)} killed, {len(found)} there are", flush=True)
    print(f"{dead} of {total} killed: {100 * dead / max(1, total):.1f} %")
    return 0 if dead >= LEAST_KILLED * total else 1


if __name__ == "__main__":
    raise SystemExit(main())
