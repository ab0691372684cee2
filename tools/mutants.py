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
from queue import SimpleQueue

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
    cosmetic = [part for node in ast.walk(tree) for part in (node, *annotations(node)) if is_cosmetic(part, node)]
    spared = {id(inner) for node in cosmetic for inner in ast.walk(node)}
    for index, node in enumerate(ast.walk(tree)):
        if id(node) in spared:
            continue
        for what, change in changes(node):
            mutated = copy.deepcopy(tree)
            target = next(found for number, found in enumerate(ast.walk(mutated)) if number == index)
            change(target)
            yield Mutant(path, getattr(node, "lineno", 0), what, ast.unparse(ast.fix_missing_locations(mutated)))


def annotations(node: ast.AST) -> list[ast.AST]:
    """The types written at a node."""
    found = [getattr(node, "returns", None), getattr(node, "annotation", None)]
    return [one for one in found if one is not None]


def is_cosmetic(part: ast.AST, node: ast.AST) -> bool:
    """What no behaviour hangs on: the wording of messages, types, and how a class may be constructed."""
    keyword = isinstance(part, ast.keyword) and part.arg in {"kw_only", "slots"}
    return keyword or isinstance(part, ast.JoinedStr) or part is not node


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


def copied(place: Path) -> Path:
    """A copy of the sources."""
    ignored = shutil.ignore_patterns("__pycache__", "static", "bundle")
    shutil.copytree(ROOT / "src", place / "src", ignore=ignored)
    shutil.copytree(ROOT / "docs", place / "docs", ignore=shutil.ignore_patterns("images"))
    shutil.copy(ROOT / "pyproject.toml", place / "pyproject.toml")
    return place


def killed(mutant: Mutant, tests: tuple[str, ...], places: SimpleQueue[Path]) -> bool:
    """Whether a test fails on it, in one of the copies."""
    place = places.get()
    genuine = (place / mutant.path).read_text()
    try:
        (place / mutant.path).write_text(mutant.source)
        return tests_fail(place, tests)
    finally:
        (place / mutant.path).write_text(genuine)
        places.put(place)


def tests_fail(place: Path, tests: tuple[str, ...]) -> bool:
    """Whether a test fails in this copy; RuntimeError when they cannot be run."""
    options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-m", "not soak"]
    environment = {**os.environ, "PYTHONPATH": str(place / "src")}
    command = [sys.executable, "-B", "-m", "pytest", *options, *tests]
    try:
        ran = subprocess.run(
            command, cwd=place, env=environment, capture_output=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return True  # it hangs: somebody would notice
    if ran.returncode not in (0, 1, 2, 4):  # 2 and 4: not even imported
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
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        places: SimpleQueue[Path] = SimpleQueue()
        for worker in range(given.workers):
            places.put(copied(Path(folder) / str(worker)))
        for name in given.packages or PACKAGES:
            modules, tests = PACKAGES[name]
            if tests_fail(Path(folder) / "0", tests):
                raise RuntimeError(f"the tests of {name} fail without any mutant")
            found = [mutant for path in modules for mutant in mutants(path)]
            chosen = randomness.sample(found, min(given.sample, len(found))) if given.sample else found
            with ThreadPoolExecutor(given.workers) as pool:
                verdicts = list(pool.map(lambda mutant, tests=tests: killed(mutant, tests, places), chosen))
            for mutant, verdict in zip(chosen, verdicts, strict=True):
                if not verdict:
                    print(f"survived: {mutant.path}:{mutant.line}: {mutant.what}", flush=True)
            total, dead = total + len(chosen), dead + sum(verdicts)
            print(f"{name}: {sum(verdicts)} of {len(chosen)} killed, {len(found)} there are", flush=True)
    print(f"{dead} of {total} killed: {100 * dead / max(1, total):.1f} %")
    return 0 if dead >= LEAST_KILLED * total else 1


if __name__ == "__main__":
    raise SystemExit(main())
