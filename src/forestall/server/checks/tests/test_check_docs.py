"""docs/checks.md says what the code does."""

from pathlib import Path

import pytest

from forestall.server.checks.docs import render
from forestall.server.checks.kinds import CHECK_KINDS

PAGE = Path(__file__).resolve().parents[5] / "docs" / "checks.md"


@pytest.mark.skipif(not PAGE.parent.is_dir(), reason="installed without the docs")
def test_the_page_is_made_from_the_kinds():
    again = "python -m forestall.server.checks.docs > docs/checks.md"
    assert PAGE.read_text(encoding="utf-8") == render(), f"make it anew: {again}"


def test_every_kind_is_on_the_page():
    page = render()
    assert all(f"`{slug}`. {kind.texts.question}" in page for slug, kind in CHECK_KINDS.items())


def test_every_kind_has_the_same_files():
    folder = Path(__file__).resolve().parents[1] / "kinds"
    kinds = {path.name for path in folder.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert kinds == set(CHECK_KINDS)
    for slug in kinds:
        for name in ("__init__.py", "rule.py", "texts.py", f"tests/test_{slug}.py"):
            assert (folder / slug / name).is_file(), f"{slug} has no {name}"
